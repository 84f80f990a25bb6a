//! Calls of which there is no recording, as the page of recordings lists them.

use axum::Json;
use axum::extract::{RawQuery, State};
use policy::access::Segment;
use serde_json::{Value, json};
use store::{CallPlace, Direction, Field, Outcome, Unrecorded};

use super::operation::{Needs, Operation};
use super::paging::{address, before, limit};
use super::problem::Problem;
use super::recordings::asks;
use super::schema::{count, list, maybe_moment, maybe_text, moment, object, of, one_of, open, text};
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::form::Form;
use crate::server::recordings::search::{Search, Wrong};
use crate::server::token::Right;

/// Calls in one answer, unless fewer are asked for.
const LIMIT: usize = 200;
const PATH: &str = "/unrecorded-calls";

pub(super) fn operations() -> Vec<Operation> {
    let finds =
        Operation::get(["listUnrecordedCalls", PATH, "Finds calls of which there is no recording"], all)
            .right(Right::Recordings)
            .needs(Needs::Account)
            .query("outcome", one_of("Only those that came to this", Outcome::ALL.map(Outcome::key)));
    vec![asks(finds, LIMIT).gives(object([
        ("calls", list(of("UnrecordedCall"))),
        ("next", maybe_text("The address of what comes behind; null at the end")),
    ]))]
}

pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    vec![(
        "UnrecordedCall",
        open([
            ("place", text("Where it stands in the list")),
            ("call", text("The call")),
            ("started", moment("First seen")),
            ("answered", maybe_moment("Answered")),
            ("ended", maybe_moment("Ended")),
            ("duration_ms", count("Its length, from the answer on")),
            (
                "extension",
                text("The extension whose part it is; who was called where no extension took part"),
            ),
            ("extension_name", maybe_text("Its name")),
            ("other_party", text("The other side, likewise who called")),
            ("outside_number", maybe_text("The number outside")),
            ("direction", one_of("Which way the call went", Direction::ALL.map(Direction::key))),
            ("user", maybe_text("Whom it counts for")),
            ("user_name", maybe_text("The user's name")),
            ("business_unit", maybe_text("The business unit")),
            ("outcome", one_of("What became of it", Outcome::ALL.map(Outcome::key))),
            ("reason", maybe_text("Why, in words; null where that is said of another part of the call, too")),
            ("why", list(text("A step of how this part was judged"))),
        ]),
    )]
}

/// `GET /unrecorded-calls`: the search of the page's address.
async fn all(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let written = query.unwrap_or_default();
    let form = Form::parse(&written);
    let search = Search::parse(&written);
    let outcome = super::outcome(&form)?;
    let (limit, before) = (limit(&form, LIMIT), before::<CallPlace>(&form)?);
    let wrong = |wrong: Wrong| Problem::Wrong(format!("{}: {}", wrong.name, wrong.why));
    let query = app.query(&asker, &search).map_err(wrong)?;
    let (calls, is_more) =
        app.read(move |archive| Ok(archive.unrecorded(&query, outcome, before, limit)?)).await?;
    let next = calls.last().filter(|_| is_more).map(|call| address(PATH, &form, &call.place.to_string()));
    let told: Vec<Value> = calls.iter().map(|call| told(&asker, call)).collect();
    Ok(Json(json!({ "calls": told, "next": next })))
}

fn told(asker: &Asker, call: &Unrecorded) -> Value {
    let maybe = |field: Field| Some(call.value(field)).filter(|text| !text.is_empty());
    let row = &call.call;
    json!({
        "place": call.place.to_string(), "call": row.call, "started": row.started, "answered": row.answered,
        "ended": row.ended, "duration_ms": call.duration_ms(), "extension": call.value(Field::Extension),
        "extension_name": maybe(Field::ExtensionName), "other_party": call.value(Field::OtherParty),
        "outside_number": maybe(Field::OutsideNumber), "direction": call.value(Field::Direction),
        "user": maybe(Field::User), "user_name": maybe(Field::UserName), "business_unit": call.units().next(),
        "outcome": call.outcome(), "reason": asker.reason_of(call),
        "why": call.why().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
