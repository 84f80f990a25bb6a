//! `/recordings`: finding them and marking them, as the pages of recordings do. A token has the rights of the account that it names: its
//! role's permissions, scope and filters decide, as they do for people, and the audit trail has the account's name.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use policy::{CustomField, Direction, Permission};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{Archive, Event, Field, NOTE_TEXT_MAX, RecordingId, Row, STARS_MAX, What};

use super::operation::{Id, Needs, Operation};
use super::paging::limit;
use super::problem::{Kind, Problem};
use super::schema::{
    count, list, maybe_moment, maybe_text, moment, object, of, one_of, open, short, text, up_to, yes,
};
use super::{PREFIX, read};
use crate::server::App;
use crate::server::assign::{To, give};
use crate::server::caller::Asker;
use crate::server::form::Form;
use crate::server::recordings::search::{Search, Wrong, cursor, leave_running_out};
use crate::server::refusal::Refusal;
use crate::server::token::Right;
use crate::server::zone::Range;
use crate::words;

/// Recordings in one answer, unless fewer are asked for.
const LIMIT: usize = 200;
/// Bytes of a tag, and of a field's value.
const TEXT_MAX: usize = 200;

/// An operation on one recording.
pub(super) fn of_one(operation: Operation, needs: Needs) -> Operation {
    operation
        .right(Right::Recordings)
        .needs(needs)
        .path("id", text("The recording"))
        .hides(Kind::NoSuchRecording)
}

pub(super) fn operations() -> Vec<Operation> {
    let marks = |operation: Operation| {
        of_one(operation, Needs::Permission(Permission::ModifyDetails)).or(&[Kind::Refused])
    };
    let tag = || json!({ "type": "string", "description": "The tag", "minLength": 1, "maxLength": TEXT_MAX, "pattern": "^[^,\\u0000-\\u001f\\u007f-\\u009f]+$" });
    let keys = CustomField::ALL.map(|field| Field::from(field).name());
    vec![
        searches(Operation::get(["listRecordings", "/recordings", "Finds recordings"], all))
            .gives(object([
                ("recordings", list(of("Recording"))),
                ("next", maybe_text("The address of what comes behind; null at the end")),
            ])),
        of_one(Operation::get(["getRecording", "/recordings/{id}", "One recording"], one), Needs::Account)
            .gives(of("Recording")),
        marks(Operation::put(["putTag", "/recordings/{id}/tags/{tag}", "Puts a tag on it"], put_tag))
            .path("tag", tag())
            .gives_nothing(),
        marks(Operation::delete(["removeTag", "/recordings/{id}/tags/{tag}", "Takes a tag off"], remove_tag))
            .path("tag", tag())
            .gives_nothing(),
        marks(Operation::put(["putField", "/recordings/{id}/fields/{field}", "Fills one of its five fields"], put_field))
            .path("field", one_of("The field; its name is taken, too", keys))
            .takes(object([("value", short("What is to stand in it; nothing empties it", 0, TEXT_MAX))]))
            .or(&[Kind::NoSuchPlace])
            .gives_nothing(),
        marks(Operation::put(["rate", "/recordings/{id}/rating", "Rates it"], rate))
            .takes(object([("stars", up_to("Stars; 0 takes the rating back", 0, STARS_MAX.into()))]))
            .gives_nothing(),
        marks(Operation::put(["assignUser", "/recordings/{id}/user", "Gives it to another user, or to nobody"], assign_user))
            .takes(object([("user", maybe_text("The user's id; null for nobody"))]))
            .gives_nothing(),
        marks(Operation::delete(["takeUserBack", "/recordings/{id}/user", "Has it count for whom the telephone system named"], take_user_back))
            .gives_nothing(),
        marks(Operation::post(["addNote", "/recordings/{id}/notes", "Adds a note"], add_note))
            .takes(object([
                ("text", short("What it says", 1, NOTE_TEXT_MAX)),
                ("at_ms?", json!({ "type": ["integer", "null"], "minimum": 0, "description": "The place that it is about, from the start" })),
            ]))
            .adds()
            .gives_nothing(),
    ]
}

/// The search of the page's address.
fn searches(operation: Operation) -> Operation {
    let by = ["started", "duration", "bytes"].into_iter().chain(Field::ALL.map(Field::name));
    let orders: Vec<String> = by.flat_map(|by| [by.to_owned(), format!("-{by}")]).collect();
    let operation = operation
        .right(Right::Recordings)
        .needs(Needs::Account)
        .query("show", one_of("Running ones, too", ["live"]))
        .query(
            "sort",
            one_of("The order; the newest first unless it is said", orders.iter().map(String::as_str)),
        );
    asks(operation, LIMIT)
}

/// What is asked alike of recordings and of calls without one, in pages.
pub(super) fn asks(operation: Operation, limit: usize) -> Operation {
    let ranges = Range::ALL.into_iter().filter(|range| *range != Range::Custom).map(Range::key);
    let operation = operation
        .query("range", one_of("Which time; the last 15 minutes unless it is said", ranges))
        .query(
            "from",
            text("Those that began at this moment or later (RFC 3339, or a date); in place of range"),
        )
        .query("to", text("Those that began before this moment"))
        .query("id", text("The number of a recording or a call, or its beginning; then nothing else counts"))
        .query(
            "filter",
            text("A saved filter, as `listSavedFilters` names it; what it asks for must hold, too"),
        )
        .query("least", count("Those of this length or longer, in seconds"))
        .query("most", count("Those of this length or shorter"))
        .query("notes", text("Words that must all stand in one of its notes; % for any note"))
        .query("limit", up_to("Entries in one answer", 1, limit as u64))
        .query("before", text("Where the page begins, as `next` has it"));
    Field::ALL.into_iter().fold(operation, |operation, field| {
        operation.query(field.name(), text("A pattern of this field (docs/search.md)"))
    })
}

pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    let note = open([
        ("at", moment("When")),
        ("who", text("Who")),
        ("text", text("What it says")),
        ("at_ms?", count("The place")),
    ]);
    vec![(
        "Recording",
        open([
            ("id", text("Its number")),
            ("call", text("The call")),
            ("segment", count("Which segment of it, from 1")),
            ("state", text("`recording` while it runs, then how it ended")),
            ("source", text("Where the audio came from")),
            ("extension", text("The recorded extension")),
            ("extension_name", maybe_text("Its name")),
            ("outside_number", maybe_text("The number outside")),
            ("other_party", maybe_text("The other side")),
            ("direction", one_of("Which way the call went", Direction::ALL.map(Direction::key))),
            ("started", moment("When it began")),
            ("answered", maybe_moment("When the call was answered")),
            ("ended", maybe_moment("When it ended")),
            ("duration_ms", count("Its length")),
            (
                "tracks",
                list(json!({ "type": "object", "description": "One party's audio, with what was lost" })),
            ),
            ("user", maybe_text("Whom it counts for")),
            (
                "reassigned?",
                json!({ "type": "object", "description": "It was given to this user: when, by whom, and whom the telephone system named" }),
            ),
            ("agent", maybe_text("Who was logged in")),
            ("tags", list(text("A tag"))),
            ("fields?", json!({ "type": "object", "additionalProperties": text("What stands in a field") })),
            ("held", yes("It is under a legal hold")),
            ("rule", text("The rule that had it recorded")),
            ("bytes", count("Length of its file")),
            ("sha256", text("Of its file, in hexadecimal; empty while it runs")),
            ("signature", text("What the index knows of its signature")),
            ("rating?", up_to("Stars", 0, STARS_MAX.into())),
            ("notes?", list(note)),
            (
                "deleted?",
                json!({ "type": "object", "description": "The audio is gone: when, by whom, by which rule" }),
            ),
        ]),
    )]
}

impl App {
    /// Does something with the row of a recording that the account sees.
    pub(super) async fn with_row<T: Send + 'static>(
        &self,
        asker: Asker,
        id: RecordingId,
        work: impl FnOnce(&Archive, Row) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Problem> {
        let done = self.read(move |archive| {
            let row = asker.row(archive, id)?;
            work(archive, row)
        });
        Ok(done.await?)
    }

    /// Gives a recording to somebody, as the account.
    async fn assign(&self, asker: Asker, id: RecordingId, to: To) -> Result<StatusCode, Problem> {
        let now = self.now();
        self.read(move |archive| give(archive, &asker, &[id], &to, now)).await?;
        Ok(StatusCode::NO_CONTENT)
    }

    /// Puts an event on a recording, as the account.
    async fn put(&self, asker: Asker, id: RecordingId, what: What) -> Result<StatusCode, Problem> {
        let (at, who) = (self.now(), asker.caller.name().to_owned());
        self.with_row(asker, id, move |archive, _| {
            archive.edit(Event { at, who, what })?;
            // Whoever asks for it next gets it as it is now.
            Ok(archive.sync()?)
        })
        .await?;
        Ok(StatusCode::NO_CONTENT)
    }
}

/// `GET /recordings`: the search of the page's address, and `limit`. `next` is the address of what comes behind.
async fn all(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let written = query.unwrap_or_default();
    let search = Search::parse(&written);
    let limit = limit(&Form::parse(&written), LIMIT);
    let wrong = |wrong: Wrong| Problem::Wrong(format!("{}: {}", wrong.name, wrong.why));
    let mut query = app.query(&asker, &search).map_err(wrong)?;
    if !search.live && search.id.is_empty() {
        leave_running_out(&mut query);
    }
    let after =
        search.before.as_deref().filter(|_| search.order.is_some()).map(cursor).transpose().map_err(wrong)?;
    if let (Some(before), None) = (&search.before, search.order) {
        query.before =
            Some(before.parse().map_err(|_| Problem::Wrong("before: no place in a list".to_owned()))?);
    }
    let order = search.order;
    let (rows, next) = app
        .read(move |archive| match order {
            Some(order) => {
                let (rows, next) = archive.sorted(&query, order, after.as_ref(), limit)?;
                Ok((rows, next.map(|next| next.to_string())))
            }
            None => {
                query.limit = Some(limit + 1);
                let mut rows: Vec<Row> = archive.search(&query).collect::<Result<_, _>>()?;
                let is_more = rows.len() > limit;
                rows.truncate(limit);
                let next = rows.last().filter(|_| is_more).map(|row| row.facts.id.to_string());
                Ok((rows, next))
            }
        })
        .await?;
    let next = next.map(|next| {
        let address = search.behind(next);
        let limited = if limit == LIMIT { String::new() } else { format!("&limit={limit}") };
        format!("{PREFIX}{address}{limited}")
    });
    Ok(Json(json!({ "recordings": rows, "next": next })))
}

/// `GET /recordings/{id}`.
async fn one(State(app): State<App>, asker: Asker, Id(id): Id) -> Result<Json<Row>, Problem> {
    app.with_row(asker, id, |_, row| Ok(row)).await.map(Json)
}

/// `PUT /recordings/{id}/tags/{tag}`.
async fn put_tag(
    State(app): State<App>,
    asker: Asker,
    Id(id): Id,
    Path((_, tag)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let tag = right_tag(tag)?;
    app.put(asker, id, What::Tagged { id, tag }).await
}

/// `DELETE /recordings/{id}/tags/{tag}`.
async fn remove_tag(
    State(app): State<App>,
    asker: Asker,
    Id(id): Id,
    Path((_, tag)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let tag = right_tag(tag)?;
    app.put(asker, id, What::Untagged { id, tag }).await
}

fn right_tag(tag: String) -> Result<String, Problem> {
    let is_right =
        !tag.is_empty() && tag.len() <= TEXT_MAX && !tag.contains(',') && !tag.chars().any(char::is_control);
    is_right
        .then_some(tag)
        .ok_or_else(|| Problem::Wrong(format!("tag: 1 to {TEXT_MAX} bytes, without commas")))
}

#[derive(Deserialize)]
struct FieldValue {
    value: String,
}

/// `PUT /recordings/{id}/fields/{field}`: one of the five, by `tag1` to `tag5` or its name.
async fn put_field(
    State(app): State<App>,
    asker: Asker,
    Id(id): Id,
    Path((_, name)): Path<(String, String)>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let by_key = || CustomField::ALL.into_iter().find(|field| Field::from(*field).name() == name);
    let field = words::field_named(&name).or_else(by_key).ok_or(Problem::Nothing(Kind::NoSuchPlace))?;
    let FieldValue { value } = read(&body)?;
    if value.len() > TEXT_MAX {
        return Err(Problem::Wrong(format!("value: at most {TEXT_MAX} bytes")));
    }
    app.put(asker, id, What::FieldSet { id, field, value, before: String::new() }).await
}

#[derive(Deserialize)]
struct Stars {
    stars: u8,
}

/// `PUT /recordings/{id}/rating`; 0 takes it back.
async fn rate(State(app): State<App>, asker: Asker, Id(id): Id, body: Bytes) -> Result<StatusCode, Problem> {
    let Stars { stars } = read(&body)?;
    app.put(asker, id, What::Rated { id, stars, before: 0 }).await
}

#[derive(Deserialize)]
struct ForUser {
    user: Option<String>,
}

/// `PUT /recordings/{id}/user`.
async fn assign_user(
    State(app): State<App>,
    asker: Asker,
    Id(id): Id,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let ForUser { user } = read(&body)?;
    app.assign(asker, id, user.map_or(To::Nobody, To::User)).await
}

/// `DELETE /recordings/{id}/user`.
async fn take_user_back(State(app): State<App>, asker: Asker, Id(id): Id) -> Result<StatusCode, Problem> {
    app.assign(asker, id, To::Reported).await
}

#[derive(Deserialize)]
struct NewNote {
    text: String,
    #[serde(default)]
    at_ms: Option<u64>,
}

/// `POST /recordings/{id}/notes`.
async fn add_note(
    State(app): State<App>,
    asker: Asker,
    Id(id): Id,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let NewNote { text, at_ms } = read(&body)?;
    if text.trim().is_empty() || text.len() > NOTE_TEXT_MAX {
        return Err(Problem::Wrong(format!("text: 1 to {NOTE_TEXT_MAX} bytes")));
    }
    app.put(asker, id, What::Noted { id, text, at_ms }).await
}
