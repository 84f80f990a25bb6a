//! Every page, and the operations of the API that do the same for programs.
//!
//! There is no other way to put up a page than [`Pages::get`] and [`Pages::post`], and both ask by which operations a program does what
//! the page does. A test looks whether the document has them.

use axum::Router;
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::routing::{get, post};

use super::caller::Asker;
use super::{
    App, accounts, alerts, assets, assign, audio, audit, calls, dashboard, deletion, enter, filters, holds,
    keys, listen, live, locations, logs, mailing, mine, once, orders, peaks, people, recording, recordings,
    retention, rules, save, set_up, sip, timeline, tokens, usage, users, webhooks, website,
};

/// How a program does what a page does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Alike {
    /// By these operations.
    By(&'static [&'static str]),
    /// Not at all: why it has no need to.
    Not(&'static str),
}

use Alike::{By, Not};

/// Pages that are being put up.
#[derive(Default)]
pub(super) struct Pages {
    router: Router<App>,
    /// Method, path, and how a program does the same.
    pub(super) alike: Vec<(&'static str, &'static str, Alike)>,
}

impl Pages {
    fn get<H: Handler<T, App>, T: 'static>(mut self, path: &'static str, how: H, alike: Alike) -> Pages {
        self.alike.push(("GET", path, alike));
        Pages { router: self.router.route(path, get(how)), ..self }
    }

    fn post<H: Handler<T, App>, T: 'static>(mut self, path: &'static str, how: H, alike: Alike) -> Pages {
        self.alike.push(("POST", path, alike));
        Pages { router: self.router.route(path, post(how)), ..self }
    }

    /// The router of them.
    pub(super) fn router(self) -> Router<App> {
        self.router
    }
}

/// Programs show a token with each request.
const SESSION: Alike = Not("of a session, which programs have none of");
/// What people set about themselves they confirm with their password; an administrator's program has users' operations.
const OWN: Alike = By(&["getUser", "changeUser", "setPassword", "removeSecondFactor"]);
/// A form that changes nothing.
const FORM: Alike = Not("an empty form");

/// The first start is a person's, by the link that works once; no token is known before it.
const SET_UP: Alike = Not("of the first start, which comes before any token");

/// A letter's link is for whoever has it.
const ONCE: Alike = Not("of a link in a letter, which is its own token; a program takes getFile");

/// All pages.
pub(super) fn pages() -> Pages {
    Pages::default()
        .get("/", recordings::start, Not("leads to the first page of somebody's"))
        .get("/recordings", recordings::recordings, By(&["listRecordings", "listUnrecordedCalls", "listUnits"]))
        .post("/recordings/columns", recordings::choose_columns, Not("how one browser shows the list"))
        .get("/recordings/filters", recordings::saved::filters, By(&["listSavedFilters"]))
        .post("/recordings/filters", recordings::saved::change, By(&["putSavedFilter", "removeSavedFilter"]))
        .post("/recordings/selected", save::selected, By(&["zipRecordings", "putTag", "assignUser", "emailRecordings"]))
        .post("/recordings/zip", save::zip, By(&["zipRecordings"]))
        .post("/recordings/email", mailing::send, By(&["emailRecordings"]))
        .get("/recordings/{id}", recording::recording, By(&["getRecording", "getWhy", "verifyRecording", "getSip"]))
        .get("/recordings/{id}/audio.wav", audio::audio, By(&["getAudio"]))
        .post("/recordings/{id}/delete", deletion::delete, By(&["deleteRecording"]))
        .post("/recordings/{id}/facts", recording::set_facts, By(&["putTag", "removeTag", "putField", "rate"]))
        .get("/recordings/{id}/email", mailing::form_of, FORM)
        .post("/recordings/{id}/holds", holds::change_of, By(&["putHold", "releaseHold"]))
        .post("/recordings/{id}/notes", recording::add_note, By(&["addNote"]))
        .post("/recordings/{id}/user", assign::set, By(&["assignUser", "takeUserBack"]))
        .get("/recordings/{id}/save", save::save, By(&["getFile"]))
        .get("/recordings/{id}/peaks", peaks::peaks, By(&["getPeaks"]))
        .get("/recordings/{id}/timeline.json", timeline::timeline, By(&["getTimeline"]))
        .get("/recordings/{id}/sip.pcapng", sip::capture, By(&["getSip"]))
        .get("/usage", usage::usage, By(&["getUsage"]))
        .get("/live", live::live, By(&["listLive", "listLiveOrders"]))
        .get("/live/events", live::events, By(&["streamEvents"]))
        .post("/live/extensions", live::ask_extension, By(&["askLiveExtension"]))
        .post(
            "/live/orders",
            orders::change,
            By(&["orderExtension", "orderAgent", "endLiveExtensionOrder", "endLiveAgentOrder"]),
        )
        .get("/live/{id}", live::call, By(&["getLive"]))
        .post("/live/{id}", live::ask, By(&["askLive"]))
        .get(
            "/live/{id}/listen",
            listen::listen,
            Not("heard in a browser, over a socket of its page; a program takes getAudio of what was said so far"),
        )
        .get("/dashboard", dashboard::dashboard, By(&["getHealth", "getStatus"]))
        .get("/mine", mine::mine, By(&["listLive", "listRecordings"]))
        .post("/mine/{id}", mine::ask, By(&["askLive", "addNote", "putTag"]))
        .get("/calls", calls::calls, By(&["getBalanceSheet"]))
        .get("/calls.csv", calls::csv, By(&["getBalanceSheet"]))
        .get("/session", async |_: Asker| StatusCode::NO_CONTENT, SESSION)
        .get("/sign-in", accounts::sign_in, SESSION)
        .post("/sign-in", accounts::try_sign_in, SESSION)
        .post("/sign-in/code", accounts::try_code, SESSION)
        .post("/sign-out", accounts::sign_out, SESSION)
        .get("/me", accounts::me, OWN)
        .post("/me", accounts::set_me, OWN)
        .get("/me/password", accounts::password, FORM)
        .post("/me/password", accounts::set_password, OWN)
        .post(
            "/me/totp",
            accounts::set_totp,
            Not("a second factor is shown to the person who will have it, and confirmed by a code of theirs"),
        )
        .get("/users", users::users, By(&["listUsers"]))
        .post("/users", users::add, By(&["addUser"]))
        .get("/users/new", users::new, FORM)
        .get("/users/{name}", users::user, By(&["getUser"]))
        .post(
            "/users/{name}",
            users::change,
            By(&["changeUser", "askUser", "setPassword", "removeSecondFactor", "removeUser"]),
        )
        .get("/roles", users::roles, By(&["listRoles", "listProfiles"]))
        .post("/roles", users::change_roles, By(&["putRole", "removeRole", "putProfile", "removeProfile"]))
        .post("/roles/filters", filters::change, By(&["listFilters", "putFilter", "removeFilter", "tryFilter"]))
        .get("/website", website::website, By(&["getPasswordPolicy"]))
        .post("/website", website::change, By(&["putPasswordPolicy", "renewPasswords"]))
        .get("/locations", locations::locations, By(&["listLocations"]))
        .get("/keys", keys::keys, By(&["getKeys"]))
        .post("/keys", keys::prove, Not("a person has the paper, and reads from it"))
        .get("/keys/public.json", keys::public, By(&["getPublicKeys"]))
        .get("/keys/checkpoint", keys::checkpoint, By(&["getCheckpoint"]))
        .get("/logs", logs::logs, By(&["getLog"]))
        .get("/support-bundle.zip", logs::bundle, By(&["getSupportBundle"]))
        .get("/alerts", alerts::alerts, By(&["listAlerts"]))
        .post("/alerts", alerts::acknowledge, By(&["acknowledgeAlert"]))
        .get("/tokens", tokens::tokens, By(&["listTokens"]))
        .post("/tokens", tokens::change, By(&["addToken", "removeToken"]))
        .get("/webhooks", webhooks::webhooks, By(&["listWebhooks"]))
        .post("/webhooks", webhooks::change, By(&["addWebhook", "testWebhook", "removeWebhook"]))
        .get("/set-up", set_up::set_up, SET_UP)
        .get("/set-up/administrator", set_up::administrator, SET_UP)
        .post("/set-up/administrator", set_up::add_administrator, SET_UP)
        .get("/set-up/connection", set_up::connection, SET_UP)
        .get("/set-up/key", set_up::key, SET_UP)
        .post("/set-up/key", set_up::prove_key, SET_UP)
        .get("/set-up/heard", set_up::heard, SET_UP)
        .post("/set-up/heard", set_up::begin, SET_UP)
        .get("/set-up/events", set_up::events, SET_UP)
        .get("/set-up/first", set_up::first, SET_UP)
        .get("/rules", rules::rules, By(&["getRuleBook", "listPortPresets"]))
        .get("/rules/device", rules::device, FORM)
        .get("/rules/values", rules::values, FORM)
        .get("/rules/entry", rules::entry, FORM)
        .get("/rules/extensions", rules::extensions, By(&["listExtensions"]))
        .get("/rules/review", rules::back, FORM)
        .post("/rules/review", rules::review, By(&["checkRules", "tryRules", "putRuleBook", "setModes"]))
        .get("/rules/text", rules::text, By(&["getRuleBook"]))
        .get("/rules/try", rules::ask, By(&["askRules"]))
        .get("/rules/versions", rules::versions, By(&["listRuleVersions"]))
        .get("/rules/versions/{number}", rules::version, By(&["getRuleVersion"]))
        .get("/people", people::people, By(&["getRuleBook", "listPeople"]))
        .get("/people/user", people::user, FORM)
        .get("/retention", retention::retention, By(&["getRetention"]))
        .post("/retention", retention::act, By(&["pruneRetention", "confirmClock"]))
        .get("/holds", holds::holds, By(&["listHolds"]))
        .post("/holds", holds::change, By(&["putHold", "releaseHold"]))
        .get("/audit", audit::audit, By(&["listAudit"]))
        .get("/audit.csv", audit::csv, By(&["listAudit"]))
        .get("/assets/{name}", assets::asset, Not("style and script"))
        .get("/enter/{token}", enter, SESSION)
        .get("/once/{secret}", once::look, ONCE)
        .post("/once/{secret}", once::fetch, ONCE)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::server::api;

    #[test]
    fn whatever_a_page_does_a_program_can_do_too() {
        let document = api::document();
        let paths = document["paths"].as_object().expect("paths");
        let operations: BTreeSet<&str> = paths
            .values()
            .flat_map(|path| path.as_object().expect("operations").values())
            .filter_map(|operation| operation["operationId"].as_str())
            .collect();
        let alike = pages().alike;
        assert!(alike.len() > 40, "{}", alike.len());
        for (method, path, alike) in alike {
            match alike {
                By(names) => {
                    assert!(!names.is_empty(), "{method} {path}");
                    for name in names {
                        assert!(operations.contains(name), "{method} {path}: no operation {name}");
                    }
                }
                Not(why) => assert!(why.len() > 10, "{method} {path}: {why:?} is no reason"),
            }
        }
    }
}
