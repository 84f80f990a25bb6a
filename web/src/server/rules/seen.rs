//! `/rules/extensions`: the extensions that calls have shown, and which of them the list of recorded devices names.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use decode::Timestamp;
use policy::Permission;

use crate::rules::{SeenExtension, SeenExtensions};
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::form::Form;
use crate::server::frame::{Frame, Page, page};
use crate::server::refusal::Refusal;
use crate::server::zone::Moment;

/// Extensions on the page; a field finds others.
const SHOWN_MAX: usize = 500;
/// Times that can be asked for: days, and how they are called.
const DAYS: [(i64, &str); 4] = [(1, "1 day"), (7, "7 days"), (30, "30 days"), (365, "1 year")];
const DAY_MS: i64 = 86_400_000;

struct Row {
    extension: String,
    calls: u64,
    recorded: u64,
    last: Option<Moment>,
    ip: String,
    mac: String,
    entry: Option<String>,
    is_listed: bool,
    /// Where it is entered.
    href: String,
}

#[derive(askama::Template)]
#[template(path = "rules_extensions.html")]
struct Shown {
    frame: Frame,
    days: Vec<(i64, &'static str, bool)>,
    find: String,
    only_unlisted: bool,
    /// How many calls there were is told to who may see all of them.
    has_figures: bool,
    rows: Vec<Row>,
    more: usize,
    left_out: u64,
    none_listed: usize,
}

impl App {
    /// The extensions of the calls that began then or later.
    pub(in crate::server) async fn seen_extensions(
        &self,
        since: Timestamp,
    ) -> Result<SeenExtensions, Refusal> {
        let rules = self.rules()?.clone();
        self.read(move |archive| Ok(rules.seen(archive, Some(since))?)).await
    }
}

/// `GET /rules/extensions`.
pub(in crate::server) async fn extensions(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    asker.need(Permission::PhoneSystems)?;
    let form = Form::parse(&query.unwrap_or_default());
    let asked = form.text("days").parse().ok();
    let days = DAYS.map(|(days, _)| days).into_iter().find(|days| asked == Some(*days)).unwrap_or(7);
    let find = form.text("find").to_owned();
    let only_unlisted = !form.text("unlisted").is_empty();
    let SeenExtensions { list, left_out } =
        app.seen_extensions(app.now().plus_millis(-days * DAY_MS)).await?;
    let none_listed = list.iter().filter(|seen| !seen.listed).count();
    let mut found: Vec<SeenExtension> = list
        .into_iter()
        .filter(|seen| seen.extension.contains(&find) && !(only_unlisted && seen.listed))
        .collect();
    let more = found.len().saturating_sub(SHOWN_MAX);
    found.truncate(SHOWN_MAX);
    let words = |all: Vec<String>| all.join(" ");
    let query = |pairs: [(&str, &String); 1]| {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    };
    let row = |seen: SeenExtension| Row {
        calls: seen.calls,
        recorded: seen.recorded,
        last: seen.last.map(|at| app.zone().moment(at)),
        ip: words(seen.ip.iter().map(ToString::to_string).collect()),
        mac: words(seen.mac.iter().map(ToString::to_string).collect()),
        entry: seen.entry,
        is_listed: seen.listed,
        href: format!("/rules/device?{}", query([("number", &seen.extension)])),
        extension: seen.extension,
    };
    page(&Shown {
        frame: app.frame(&asker, Page::At("/rules"), "Extensions seen"),
        days: DAYS.iter().map(|(each, label)| (*each, *label, *each == days)).collect(),
        find,
        only_unlisted,
        has_figures: asker.sees_all_calls(),
        rows: found.into_iter().map(row).collect(),
        more,
        left_out,
        none_listed,
    })
}
