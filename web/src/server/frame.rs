//! What stands around every page: who is there, and the pages that they may open.

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use policy::Permission;

use super::App;
use super::caller::Asker;
use super::refusal::Refusal;
use super::rules::OF_BOOK;
use super::session::{IDLE_MAX, Who};

/// A page of the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Recordings,
    Live,
    Calls,
    Mine,
    Dashboard,
    /// One of administration, by its address.
    At(&'static str),
    /// One that stands in no list.
    Other,
}

/// A link of the navigation.
#[derive(Clone, Copy)]
pub(super) struct Link {
    pub(super) href: &'static str,
    pub(super) label: &'static str,
    pub(super) count: Option<usize>,
    pub(super) is_current: bool,
    /// Other paths that belong to it.
    pub(super) section: &'static str,
}

/// See the module's text.
pub(super) struct Frame {
    pub(super) title: String,
    pub(super) links: Vec<Link>,
    /// The pages of administration that they may open.
    pub(super) administration: Vec<Link>,
    pub(super) user: String,
    pub(super) has_settings: bool,
    pub(super) zone: String,
    pub(super) zone_words: String,
    pub(super) idle_s: u64,
}

/// Pages of administration: their addresses, what they are called, and of which permissions one opens them.
const ADMINISTRATION: [(&str, &str, &[Permission]); 14] = [
    ("/rules", "Rules", &OF_BOOK),
    ("/people", "Users and units", &[Permission::People]),
    ("/retention", "Retention", &[Permission::Retention]),
    ("/holds", "Legal holds", &[Permission::Holds]),
    ("/users", "Accounts", &[Permission::Security]),
    ("/roles", "Roles and permissions", &[Permission::Security]),
    ("/tokens", "API tokens", &[Permission::Security]),
    ("/webhooks", "Webhooks", &[Permission::Security]),
    ("/website", "Sign-in and website", &[Permission::Security]),
    ("/alerts", "Alerts", &[Permission::Dashboard]),
    ("/locations", "Archive locations", &[Permission::Servers]),
    ("/keys", "Keys", &[Permission::Servers]),
    ("/logs", "Log", &[Permission::Servers]),
    ("/audit", "Audit trail", &[Permission::AuditTrail]),
];
const ADMINISTRATION_PATHS: &str = "/rules /people /retention /holds /alerts /locations /keys /logs /users /roles /tokens /webhooks /website /audit";

impl App {
    /// The frame of a page for whoever asks for it.
    pub(super) fn frame(&self, asker: &Asker, page: Page, title: impl Into<String>) -> Frame {
        let caller = &asker.caller;
        let link =
            |href, label, of: Page| Link { href, label, count: None, is_current: page == of, section: "" };
        let mut links = Vec::new();
        if asker.sees_recordings() {
            links.push(link("/recordings", "Recordings", Page::Recordings));
        }
        if let Ok(live) = self.live()
            && asker.sees_recordings()
            && caller.may(Permission::LiveView)
        {
            let running = self.seen_live(&live.status(), asker).count();
            links.push(Link { count: Some(running), ..link("/live", "Live", Page::Live) });
        }
        if asker.sees_all_calls() {
            links.push(link("/calls", "Calls", Page::Calls));
        }
        if caller.person().is_some() && self.live().is_ok() {
            links.push(link("/mine", "My calls", Page::Mine));
        }
        if caller.may(Permission::Dashboard) && self.live().is_ok() {
            links.push(link("/dashboard", "Dashboard", Page::Dashboard));
        }
        // What the texts of rules mean is not known everywhere.
        let is_there = |href: &str| match href {
            "/rules" | "/people" | "/retention" => self.rules().is_ok(),
            "/alerts" => self.alerts().is_ok(),
            "/logs" => self.machinery().is_ok(),
            _ => true,
        };
        let is_theirs = |entry: &&(&str, &str, &[Permission])| {
            entry.2.iter().any(|permission| caller.may(*permission)) && is_there(entry.0)
        };
        let administration: Vec<Link> = ADMINISTRATION
            .iter()
            .filter(is_theirs)
            .map(|(href, label, _)| link(href, label, Page::At(href)))
            .collect();
        if let Some(first) = administration.first() {
            let is_current = matches!(page, Page::At(_));
            links.push(Link { label: "Administration", section: ADMINISTRATION_PATHS, is_current, ..*first });
        }
        if asker.who == Who::Console {
            links.push(link("/set-up", "Set-up", Page::Other));
        }
        Frame {
            title: title.into(),
            links,
            administration,
            user: caller.name().to_owned(),
            has_settings: matches!(asker.who, Who::Account(_)),
            zone: self.zone().name().to_owned(),
            zone_words: self.zone().words(self.now()),
            idle_s: IDLE_MAX.as_secs(),
        }
    }
}

/// A template as a page.
///
/// # Errors
/// [`Refusal::BrokeOff`] when it cannot be written, which a `String` does not do.
pub(super) fn page(template: &impl askama::Template) -> Result<Response, Refusal> {
    page_with(StatusCode::OK, template)
}

/// The same with another status.
///
/// # Errors
/// As [`page`].
pub(super) fn page_with(status: StatusCode, template: &impl askama::Template) -> Result<Response, Refusal> {
    let text = template.render().map_err(|error| {
        tracing::error!(%error, "a page could not be written");
        Refusal::BrokeOff
    })?;
    Ok((status, Html(text)).into_response())
}
