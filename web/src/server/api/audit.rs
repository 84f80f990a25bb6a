//! The audit trail: who heard, took along and changed what.

use axum::Json;
use axum::extract::{RawQuery, State};
use policy::Permission;
use serde_json::{Value, json};

use super::operation::{Needs, Operation};
use super::paging::{address, cut, limit};
use super::problem::Problem;
use super::schema::{list, maybe_text, moment, object, of, one_of, open, text, up_to};
use crate::server::App;
use crate::server::audit::{Asked, KINDS, asked};
use crate::server::caller::Asker;
use crate::server::token::Right;

/// Lines in one answer, unless fewer are asked for.
const LIMIT: usize = 200;
const PATH: &str = "/audit";

pub(super) fn operations() -> Vec<Operation> {
    let kinds = KINDS.iter().map(|(key, ..)| *key).filter(|key| !key.is_empty());
    vec![
        Operation::get(["listAudit", PATH, "Lines of the audit trail, the newest first"], all)
            .right(Right::Audit)
            .needs(Needs::Permission(Permission::AuditTrail))
            .query("who", text("Only what this user did, capitals or not"))
            .query("kind", one_of("Only lines of this group", kinds))
            .query("recording", text("Only what was done with this recording"))
            .query("from", text("At this moment or later"))
            .query("to", text("Before this moment"))
            .query("limit", up_to("Lines in one answer", 1, LIMIT as u64))
            .query("before", text("Where the page begins, as `next` has it"))
            .gives(object([
                ("entries", list(of("AuditEntry"))),
                ("next", maybe_text("The address of what comes behind; null at the end")),
                ("checkpoint", maybe_text("The newest signed state of the log, to be kept elsewhere")),
            ])),
    ]
}

pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    vec![(
        "AuditEntry",
        open([
            ("at", moment("When")),
            ("who", text("The user, or earwitness for what nobody asked for")),
            ("event", text("What was done; all else is told by name")),
        ]),
    )]
}

/// `GET /audit`.
async fn all(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let Asked { form, filter, wrong } = asked(&app, &query.unwrap_or_default());
    if let Some(wrong) = wrong {
        return Err(Problem::Wrong(wrong));
    }
    if !form.text("before").is_empty() && filter.before.is_none() {
        return Err(Problem::Wrong("before: no place in this list".to_owned()));
    }
    let limit = limit(&form, LIMIT);
    let (mut found, checkpoint) = app.trail(&asker, filter, limit + 1).await?;
    let is_more = cut(&mut found, limit);
    let next = found.last().filter(|_| is_more).map(|(place, _)| address(PATH, &form, &place.to_string()));
    let entries: Vec<_> = found.iter().map(|(_, event)| event).collect();
    Ok(Json(json!({ "entries": entries, "next": next, "checkpoint": checkpoint })))
}
