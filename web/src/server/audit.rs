//! Who saw, played, listened, took along and changed what: written down before it is done, and shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use policy::modes::Ask;
use policy::{Caller, Permission};
use serde_json::Value;
use sha2::{Digest, Sha256};
use store::{AccessEvent, Archive, AuditFilter, Event, RecordingId, TRAIL_IDS_MAX, TrailPlace, What};

use super::App;
use super::caller::Asker;
use super::calls::quoted;
use super::escape::brief;
use super::form::Form;
use super::frame::{Frame, Page, page};
use super::refusal::Refusal;
use super::zone::Moment;

/// Entries on one page.
const ROWS: usize = 200;
/// Entries in a file.
const FILE_MAX: usize = 100_000;
/// Plays that are known at the same time.
const PLAYS_MAX: usize = 10_000;
/// A range that is asked for so long after the last one begins a new play.
const PLAY_GAP: Duration = Duration::from_secs(30 * 60);

/// Plays under way: one line of the trail each, however many ranges they are fetched in.
#[derive(Debug, Default)]
pub(super) struct Plays(Mutex<BTreeMap<(String, RecordingId), (Instant, u64)>>);

impl Plays {
    fn forget(&self, key: &str, id: RecordingId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(key.to_owned(), id));
    }

    /// The name of a play that begins with this range; none for one that goes on. `key` names the session.
    fn begins(&self, key: &str, id: RecordingId, now: Instant) -> Option<u64> {
        let mut plays = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if plays.len() >= PLAYS_MAX {
            plays.retain(|_, (used, _)| now.saturating_duration_since(*used) < PLAY_GAP);
        }
        let number = plays.values().map(|(_, number)| number + 1).max().unwrap_or(1);
        match plays.get_mut(&(key.to_owned(), id)) {
            Some((used, _)) if now.saturating_duration_since(*used) < PLAY_GAP => {
                *used = now;
                None
            }
            _ => {
                // Where there is no room, each range is a line: too many rather than none.
                if plays.len() < PLAYS_MAX {
                    plays.insert((key.to_owned(), id), (now, number));
                }
                Some(number)
            }
        }
    }
}

/// A session in the trail: its cookie opens it, so that only a digest of that is written.
fn session(cookie: &str) -> String {
    Sha256::digest(cookie).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

impl App {
    /// Writes down what somebody does. On disk when this returns.
    pub(super) async fn note(&self, asker: &Asker, what: AccessEvent) -> Result<(), Refusal> {
        let (who, from, at) = (asker.caller.name().to_owned(), asker.peer, self.now());
        self.read(move |archive| Ok(archive.note_access(&who, Some(from), at, what)?)).await
    }

    /// Somebody plays a recording: noted once for a play.
    pub(super) async fn note_played(&self, asker: &Asker, id: RecordingId) -> Result<(), Refusal> {
        let key = session(&asker.cookie);
        let Some(number) = self.plays().begins(&key, id, Instant::now()) else { return Ok(()) };
        let noted = self.note(asker, AccessEvent::Played { id, session: format!("{key}-{number}") }).await;
        if noted.is_err() {
            // What is not written down has not begun.
            self.plays().forget(&key, id);
        }
        noted
    }

    /// Somebody looks at a recording's page: noted once for a while of looking.
    pub(super) async fn note_viewed(&self, asker: &Asker, id: RecordingId) -> Result<(), Refusal> {
        let key = format!("view {}", session(&asker.cookie));
        if self.plays().begins(&key, id, Instant::now()).is_none() {
            return Ok(());
        }
        let noted = self.note(asker, AccessEvent::Viewed { id }).await;
        if noted.is_err() {
            self.plays().forget(&key, id);
        }
        noted
    }

    /// Somebody listens to a running call.
    pub(super) async fn note_listened(&self, asker: &Asker, id: RecordingId) -> Result<(), Refusal> {
        self.note(asker, AccessEvent::Listened { id, session: session(&asker.cookie) }).await
    }

    /// Somebody asks something of a running recording.
    pub(super) async fn note_controlled(
        &self,
        asker: &Asker,
        id: Option<RecordingId>,
        ask: Ask,
    ) -> Result<(), Refusal> {
        self.note(asker, AccessEvent::Controlled { id, action: ask.key().to_owned() }).await
    }

    /// Somebody takes a table of so many lines along.
    pub(super) async fn note_table(&self, asker: &Asker, name: &str, count: u64) -> Result<(), Refusal> {
        self.note(asker, AccessEvent::Exported { ids: Vec::new(), count, format: name.to_owned() }).await
    }

    /// Somebody takes recordings along.
    pub(super) async fn note_saved(
        &self,
        asker: &Asker,
        ids: &[RecordingId],
        format: &str,
    ) -> Result<(), Refusal> {
        // A line names so many and no more.
        for some in ids.chunks(TRAIL_IDS_MAX) {
            self.note(asker, AccessEvent::exported(some, format)).await?;
        }
        Ok(())
    }
}

struct Entry {
    at: Moment,
    who: String,
    from: String,
    did: String,
    is_refusal: bool,
    id: String,
    more: String,
}

struct Kind {
    key: &'static str,
    label: &'static str,
    is_chosen: bool,
}

#[derive(askama::Template)]
#[template(path = "audit.html")]
struct Trail {
    frame: Frame,
    who: String,
    from: String,
    to: String,
    recording: String,
    kinds: Vec<Kind>,
    wrong: Option<String>,
    entries: Vec<Entry>,
    more: Option<String>,
    csv: String,
    checkpoint: Option<String>,
}

/// Groups of kinds that people ask for.
pub(super) const KINDS: [(&str, &str, &[&str]); 7] = [
    ("", "Everything", &[]),
    ("sign-in", "Signed in, out or refused", &["signed-in", "sign-in-refused", "signed-out"]),
    ("heard", "Played or listened", &["played", "listened"]),
    ("saved", "Saved or mailed", &["exported", "sip-downloaded", "mailed", "not-mailed", "link-used"]),
    (
        "marked",
        "Tags, notes, ratings, users, holds",
        &["tagged", "untagged", "noted", "rated", "field-set", "reassigned", "held", "released"],
    ),
    ("deleted", "Deleted", &["deleted", "pruned", "erased"]),
    (
        "changed",
        "Settings, rules and accounts",
        &[
            "accounts-changed",
            "settings-changed",
            "book-changed",
            "retention-set",
            "clock-confirmed",
            "controlled",
            "acknowledged",
        ],
    ),
];

/// What an address asks for.
pub(super) struct Asked {
    pub(super) form: Form,
    pub(super) filter: AuditFilter,
    pub(super) wrong: Option<String>,
}

pub(super) fn asked(app: &App, query: &str) -> Asked {
    let form = Form::parse(query);
    let mut filter = AuditFilter::default();
    let mut wrong = None;
    let some = |name: &str| Some(form.text(name).to_owned()).filter(|text| !text.is_empty());
    filter.who = some("who");
    let kinds = KINDS.iter().find(|(key, ..)| *key == form.text("kind")).map_or(&[][..], |(.., kinds)| kinds);
    filter.kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
    for (name, to) in [("from", &mut filter.since), ("to", &mut filter.until)] {
        if let Some(text) = some(name) {
            *to = app.zone().read(&text);
            if to.is_none() {
                wrong = Some(format!("{text:?} is no time: write it as 2026-11-30 09:00."));
            }
        }
    }
    if let Some(text) = some("recording") {
        filter.recording = text.parse().ok();
        if filter.recording.is_none() {
            wrong = Some("A recording is named by all 26 letters of its number.".to_owned());
        }
    }
    filter.before = some("before").and_then(|place| place.parse::<TrailPlace>().ok());
    Asked { form, filter, wrong }
}

/// `GET /audit`.
pub(super) async fn audit(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    asker.need(Permission::AuditTrail)?;
    let query = query.unwrap_or_default();
    let Asked { form, filter, wrong } = asked(&app, &query);
    let (found, checkpoint) =
        if wrong.is_some() { (Vec::new(), None) } else { app.trail(&asker, filter, ROWS + 1).await? };
    let more = (found.len() > ROWS)
        .then(|| found.get(ROWS - 1))
        .flatten()
        .map(|(place, _)| address("/audit", &form, Some(&place.to_string())));
    page(&Trail {
        frame: app.frame(&asker, Page::At("/audit"), "Audit trail"),
        who: form.text("who").to_owned(),
        from: form.text("from").to_owned(),
        to: form.text("to").to_owned(),
        recording: form.text("recording").to_owned(),
        kinds: KINDS
            .iter()
            .map(|(key, label, _)| Kind { key, label, is_chosen: *key == form.text("kind") })
            .collect(),
        wrong,
        entries: found.iter().take(ROWS).map(|(_, event)| entry(&app, event)).collect(),
        more,
        csv: address("/audit.csv", &form, None),
        checkpoint,
    })
}

impl App {
    /// The newest lines that somebody may see, at most so many, and the newest checkpoint.
    pub(super) async fn trail(
        &self,
        asker: &Asker,
        filter: AuditFilter,
        most: usize,
    ) -> Result<(Vec<(TrailPlace, Event)>, Option<String>), Refusal> {
        let caller = asker.caller.clone();
        self.read(move |archive| {
            let seen = archive.audit_trail(&filter)?.filter_map(|found| shown_to(&caller, archive, found));
            Ok((seen.take(most).collect(), archive.checkpoint().ok()))
        })
        .await
    }
}

/// A line as this caller may see it: of recordings that scope and filters keep from them nothing is told, not even that they are. A line
/// that cannot be read is what `archive verify` is for; those behind it are shown.
fn shown_to(
    caller: &Caller,
    archive: &Archive,
    found: Result<(TrailPlace, Event), store::Error>,
) -> Option<(TrailPlace, Event)> {
    let (place, mut event) = found
        .inspect_err(|error| tracing::error!(%error, "a line of the audit trail cannot be read"))
        .ok()?;
    if caller.sees_all() {
        return Some((place, event));
    }
    // What is gone altogether is shown to those who see all.
    let admits = |id: RecordingId| archive.row(id).is_ok_and(|row| caller.admits(&row));
    let about = match &mut event.what {
        What::Accessed { access, .. } => {
            if let Some(ids) = access.several() {
                ids.retain(|id| admits(*id));
                return (!ids.is_empty()).then_some((place, event));
            }
            access.recording()
        }
        _ => event.recording(),
    };
    about.is_none_or(admits).then_some((place, event))
}

/// The same search, from a place on.
fn address(path: &str, form: &Form, before: Option<&str>) -> String {
    let mut written = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form.iter().filter(|(name, value)| *name != "before" && !value.is_empty()) {
        written.append_pair(name, value);
    }
    if let Some(before) = before {
        written.append_pair("before", before);
    }
    format!("{path}?{}", written.finish())
}

/// An event, as a line for people: all that it says, by name, whatever kind it is.
fn entry(app: &App, event: &Event) -> Entry {
    let (did, from, id, more) = told(event);
    Entry {
        at: app.zone().moment(event.at),
        who: brief(&event.who).into_owned(),
        from,
        is_refusal: did == "sign-in refused",
        did,
        id,
        more: brief(&more).into_owned(),
    }
}

/// What was done, from where, with which recording, and all else that is known.
fn told(event: &Event) -> (String, String, String, String) {
    let value = serde_json::to_value(event).unwrap_or_default();
    let Value::Object(mut fields) = value else { return Default::default() };
    let mut take = |name: &str| match fields.remove(name) {
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let (kind, access) = (take("event"), take("access"));
    let did = if access.is_empty() { kind } else { access }.replace('-', " ");
    let did = if did == "sign in refused" { "sign-in refused".to_owned() } else { did };
    let (from, id, recording) = (take("from"), take("id"), take("recording"));
    let id = if id.is_empty() { recording } else { id };
    let (_, _) = (take("at"), take("who"));
    let mut more = String::new();
    for (name, value) in fields {
        let text = match value {
            Value::Null => continue,
            Value::String(text) if text.is_empty() => continue,
            Value::String(text) => text,
            other => other.to_string(),
        };
        let separator = if more.is_empty() { "" } else { "; " };
        // A String takes everything.
        let _ = write!(more, "{separator}{}: {text}", name.replace('_', " "));
    }
    (did, from, id, more)
}

/// `GET /audit.csv`.
pub(super) async fn csv(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    asker.need(Permission::AuditTrail)?;
    let Asked { filter, wrong, .. } = asked(&app, &query.unwrap_or_default());
    if let Some(wrong) = wrong {
        return Err(Refusal::Wrong(wrong));
    }
    let who = asker.clone();
    let (text, count) = app
        .read(move |archive| {
            let mut count = 0;
            let mut text = "when,who,from,did,recording,more\r\n".to_owned();
            let seen =
                archive.audit_trail(&filter)?.filter_map(|found| shown_to(&who.caller, archive, found));
            for (_, event) in seen.take(FILE_MAX) {
                let (did, from, id, more) = told(&event);
                let cells = [event.at.to_string(), event.who.clone(), from, did, id, more];
                text.push_str(&cells.map(|cell| quoted(&cell)).join(","));
                text.push_str("\r\n");
                count += 1;
            }
            Ok((text, count))
        })
        .await?;
    app.note_table(&asker, "audit.csv", count).await?;
    let fields = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"audit.csv\""),
    ];
    Ok((fields, text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_play_is_noted_once_however_many_ranges_it_is_fetched_in() {
        let (plays, start) = (Plays::default(), Instant::now());
        let (one, two) = (RecordingId::from_bytes([1; 16]), RecordingId::from_bytes([2; 16]));
        assert_eq!(plays.begins("s", one, start), Some(1));
        assert_eq!(plays.begins("s", one, start + Duration::from_secs(60)), None);
        assert_eq!(plays.begins("s", two, start), Some(2));
        assert_eq!(plays.begins("t", one, start), Some(3), "somebody else's");
        let later = start + Duration::from_secs(60) + PLAY_GAP;
        assert!(plays.begins("s", one, later).is_some(), "another time");
    }

    #[test]
    fn the_trail_names_a_session_without_opening_it() {
        let name = session("0123456789abcdef0123456789abcdef");
        assert!(name.len() == 8 && !"0123456789abcdef0123456789abcdef".contains(&name));
    }
}
