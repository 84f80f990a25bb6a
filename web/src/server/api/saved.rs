//! `/saved-filters`: saved filters of recordings: the account's own, shared ones, and those that are built in.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use store::SAVED_QUERY_MAX;

use super::operation::{Needs, Operation};
use super::problem::{Kind, Problem};
use super::read;
use super::schema::{list, maybe_moment, maybe_text, name, object, of, one_of, open, short, text};
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::recordings::saved::{BUILT_IN, written};
use crate::server::recordings::search::Search;
use crate::server::refusal::Refusal;
use crate::server::token::Right;

/// The longest name, in characters.
const NAME_MAX: usize = 100;
/// Whose a filter is, in an address.
const OWN: &str = "own";
const SHARED: &str = "shared";

pub(super) fn operations() -> Vec<Operation> {
    let filters = |operation: Operation| operation.right(Right::Recordings).needs(Needs::Account);
    let one = |operation: Operation| {
        filters(operation)
            .path("whose", one_of("The account's own, or shared: that takes its permission", [OWN, SHARED]))
            .path("name", name("The filter", NAME_MAX))
            .or(&[Kind::NoSuchName])
            .gives_nothing()
    };
    vec![
        filters(Operation::get(["listSavedFilters", "/saved-filters", "Saved filters of recordings"], all))
            .gives(object([("filters", list(of("SavedFilter")))])),
        one(Operation::put(
            ["putSavedFilter", "/saved-filters/{whose}/{name}", "Saves a filter, or replaces one"],
            put,
        )
        .takes(object([(
            "query",
            short(
                "What it asks for, as the query of `listRecordings`; its time does not count",
                1,
                SAVED_QUERY_MAX,
            ),
        )]))),
        one(Operation::delete(
            ["removeSavedFilter", "/saved-filters/{whose}/{name}", "Removes a filter"],
            remove,
        )),
    ]
}

pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    vec![(
        "SavedFilter",
        open([
            ("filter", text("How `listRecordings` names it")),
            ("whose", one_of("Whose it is", [OWN, SHARED, "built-in"])),
            ("name", text("What people call it")),
            ("query", text("What it asks for")),
            ("by", maybe_text("Who saved it; null for a built-in one")),
            ("at", maybe_moment("When")),
        ]),
    )]
}

/// `GET /saved-filters`.
async fn all(State(app): State<App>, asker: Asker) -> Json<Value> {
    let saved = app.filters_of(&asker).into_iter().map(|filter| {
        let whose = if filter.owner.is_some() { OWN } else { SHARED };
        json!({
            "filter": written(&filter), "whose": whose, "name": filter.name, "query": filter.query, "by": filter.by,
            "at": filter.at,
        })
    });
    let built_in = BUILT_IN.iter().map(|one| {
        json!({
            "filter": format!("built-in:{}", one.key), "whose": "built-in", "name": one.label, "query": one.query,
            "by": null, "at": null,
        })
    });
    Json(json!({ "filters": saved.chain(built_in).collect::<Vec<_>>() }))
}

#[derive(Deserialize)]
struct Asks {
    query: String,
}

/// `PUT /saved-filters/{whose}/{name}`.
async fn put(
    State(app): State<App>,
    asker: Asker,
    Path((whose, name)): Path<(String, String)>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let Asks { query } = read(&body)?;
    let saved = app.save_filter(&asker, &name, is_shared(&whose)?, &Search::parse(&query)).await;
    saved.map(|_| StatusCode::NO_CONTENT).map_err(no_name)
}

/// `DELETE /saved-filters/{whose}/{name}`.
async fn remove(
    State(app): State<App>,
    asker: Asker,
    Path((whose, name)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let removed = app.remove_filter(&asker, &name, is_shared(&whose)?).await;
    removed.map(|()| StatusCode::NO_CONTENT).map_err(no_name)
}

fn is_shared(whose: &str) -> Result<bool, Problem> {
    match whose {
        OWN => Ok(false),
        SHARED => Ok(true),
        _ => Err(Problem::Nothing(Kind::NoSuchName)),
    }
}

/// What is not there, and what is not theirs to change, look alike.
fn no_name(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::NoPage => Problem::Nothing(Kind::NoSuchName),
        refusal => refusal.into(),
    }
}
