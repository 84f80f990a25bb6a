//! `/usage`: how many recordings ran at the same moment, as its page draws it.

use axum::Json;
use axum::extract::{RawQuery, State};
use policy::Permission;
use serde_json::{Value, json};

use super::operation::{Needs, Operation};
use super::problem::Problem;
use super::schema::{count, list, moment, object, one_of, yes};
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::form::Form;
use crate::server::refusal::Refusal;
use crate::server::token::Right;
use crate::server::usage::Span;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(
            ["getUsage", "/usage", "The most recordings at the same moment, of those that the account sees"],
            usage,
        )
        .right(Right::Recordings)
        .needs(Needs::Permission(Permission::LiveView))
        .query("span", one_of("How far back; a day unless it is said", Span::ALL.map(Span::key)))
        .gives(object([
            ("since", moment("When the first step begins")),
            ("step_ms", count("How long a step is, in milliseconds")),
            ("most", list(count("The most at the same moment, step by step"))),
            ("recordings", count("Recordings that were counted")),
            ("is_cut", yes("There were more, which began before these")),
        ])),
    ]
}

/// `GET /usage`.
async fn usage(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let span = Span::of(&Form::parse(&query.unwrap_or_default())).ok_or(Refusal::WrongQuery)?;
    let usage = app.usage(&asker, span).await?;
    Ok(Json(json!({
        "since": usage.since, "step_ms": usage.step_ms, "most": usage.most, "recordings": usage.recordings, "is_cut": usage.is_cut,
    })))
}
