//! The machine: its log, the support bundle, archive locations, keys. What the pages show, for programs of whoever looks after it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use policy::Permission;
use serde_json::{Map, Value, json};
use store::CopyStatus;

use super::operation::{Needs, Operation};
use super::problem::{Kind, Problem};
use super::schema::{count, list, maybe_moment, moment, object, one_of, open, text, up_to, yes};
use crate::machine::Severity;
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::form::Form;
use crate::server::keys::private;
use crate::server::locations::state;
use crate::server::logs::{level, lines};
use crate::server::token::Right;

/// Lines in one answer.
const LINES_MAX: u64 = 2_000;

fn of_machine(operation: Operation) -> Operation {
    operation.right(Right::Servers).needs(Needs::Permission(Permission::Servers))
}

pub(super) fn operations() -> Vec<Operation> {
    let maybe_failure = json!({ "type": ["object", "null"], "description": "What went wrong last, since the start", "properties": {
        "at": moment("When"), "why": text("What"),
    } });
    vec![
        of_machine(Operation::get(
            ["getLog", "/log", "The last lines of the recorder's own log, the newest first"],
            log,
        ))
        .query("level", one_of("This severity and worse; all without it", Severity::ALL.map(Severity::key)))
        .query("limit", up_to("Lines in the answer", 1, LINES_MAX))
        .gives(object([(
            "lines",
            list(open([
                ("at", moment("When")),
                ("severity", one_of("How much it matters", Severity::ALL.map(Severity::key))),
                ("part", text("The part of the program")),
                ("what", text("What happened")),
                ("fields", json!({ "type": "object", "additionalProperties": { "type": "string" } })),
            ])),
        )])),
        of_machine(Operation::get(
            [
                "getSupportBundle",
                "/support-bundle",
                "What somebody who helps needs to know, as a ZIP without calls, numbers, names and keys",
            ],
            bundle,
        ))
        .gives_as(200, "application/zip", json!({})),
        of_machine(Operation::get(
            ["listLocations", "/locations", "How the archive locations do"],
            locations,
        ))
        .gives(object([
            ("recordings", count("Finished recordings")),
            ("moved", count("Those whose original is in the locations alone")),
            (
                "locations",
                list(open([
                    ("name", text("Its name")),
                    ("place", text("Where it is")),
                    ("light", one_of("How it does", ["good", "warn", "bad", "off"])),
                    ("state", text("The same in words")),
                    ("copies", count("Copies that were read back and compared")),
                    ("bytes", count("Their length")),
                    ("missing", count("Recordings without a copy, those that are not due yet among them")),
                    ("stale", count("Copies that are to be removed or made again")),
                    ("last_copied", maybe_moment("When a copy was last made, since the start")),
                    ("last_failed", maybe_failure),
                ])),
            ),
        ])),
        of_machine(Operation::get(
            ["getKeys", "/keys", "Which keys there are, and whether the recovery sheet is on paper"],
            keys,
        ))
        .gives(open([
            ("key_id", text("The archive's own key")),
            ("sign_key_id", text("The key that signs")),
            ("signs", yes("This machine can sign, and so record")),
            ("private", text("How the private key is kept, in words")),
            ("recipients", list(json!({ "type": "object" }))),
            ("months", list(json!({ "type": "object" }))),
            ("rotating", yes("A rotation was interrupted")),
            ("sheet_proven", maybe_moment("When somebody last typed a line of this key's recovery sheet")),
        ])),
        of_machine(Operation::get(
            ["getPublicKeys", "/keys/public", "The public keys, which signatures are verified by"],
            public,
        ))
        .gives(json!({ "type": "object" })),
        of_machine(Operation::get(
            ["getCheckpoint", "/keys/checkpoint", "The signed state of the log, to be kept elsewhere"],
            checkpoint,
        ))
        .or(&[Kind::Failed])
        .gives_as(200, "text/plain; charset=utf-8", json!({ "type": "string" })),
    ]
}

/// `GET /log`.
async fn log(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let form = Form::parse(&query.unwrap_or_default());
    let most = form.text("limit").parse().unwrap_or(LINES_MAX as usize);
    let machinery = Arc::clone(app.machinery().map_err(|_| Problem::Nothing(Kind::NoSuchPlace))?);
    let told: Vec<Value> = lines(&*machinery, level(form.text("level")))
        .take(most)
        .map(|line| {
            let fields: Map<String, Value> =
                line.fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            json!({
                "at": line.at, "severity": line.severity.key(), "part": line.part, "what": line.what, "fields": fields,
            })
        })
        .collect();
    Ok(Json(json!({ "lines": told })))
}

/// `GET /support-bundle`.
async fn bundle(State(app): State<App>, asker: Asker) -> Result<Response, Problem> {
    app.machinery().map_err(|_| Problem::Nothing(Kind::NoSuchPlace))?;
    let bundle = app.support_bundle(&asker).await?;
    Ok(([(header::CONTENT_TYPE, "application/zip")], bundle).into_response())
}

/// `GET /locations`.
async fn locations(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let CopyStatus { locations, recordings, moved } = app.copies().await?;
    let told: Vec<Value> = locations
        .iter()
        .map(|status| {
            let (light, words) = state(status);
            let failed = status.last_failed.as_ref().map(|(at, why)| json!({ "at": at, "why": why }));
            json!({
                "name": status.name, "place": status.place, "light": light, "state": words, "copies": status.copies,
                "bytes": status.bytes, "missing": status.missing, "stale": status.stale, "space": status.space,
                "last_copied": status.last_copied, "last_failed": failed,
            })
        })
        .collect();
    Ok(Json(json!({ "recordings": recordings, "moved": moved, "locations": told })))
}

/// `GET /keys`.
async fn keys(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let (status, proven) = app.key_status().await?;
    let words = private(&status).1;
    let mut told = serde_json::to_value(&status).unwrap_or_default();
    if let Some(members) = told.as_object_mut() {
        members.insert("private".to_owned(), json!(words));
        members.insert("sheet_proven".to_owned(), json!(proven));
    }
    Ok(Json(told))
}

/// `GET /keys/public`.
async fn public(State(app): State<App>) -> Result<Response, Problem> {
    let text = app.read(|archive| Ok(archive.public_keys()?)).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// `GET /keys/checkpoint`.
async fn checkpoint(State(app): State<App>) -> Result<Response, Problem> {
    let text = app.read(|archive| Ok(archive.checkpoint()?)).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}
