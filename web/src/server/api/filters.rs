//! `/filters`: access filters, which grant or deny beside a scope. Checked and written down by `store`, tried as on the page.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use policy::Field;
use policy::access::{AccessFilter, CONDITIONS_MAX, FilterMode, Lengths};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{AccountChange, Accounts};

use super::accounts::{administers, changes};
use super::operation::Operation;
use super::problem::{Kind, Problem};
use super::read;
use super::schema::{count, list, list_up_to, object, of, one_of, open, short, text};
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::filters::{Tried, filter, lines};

/// Characters of a name.
const TEXT_MAX: usize = 100;
/// Characters of a pattern; what else it must be is `policy`'s.
const PATTERN_MAX: usize = 2_000;

fn condition() -> Value {
    object([
        ("field", one_of("Which fact", Field::ALL.map(Field::name))),
        ("pattern", short("What it must match (docs/search.md)", 0, PATTERN_MAX)),
    ])
}

fn described() -> Value {
    object([
        ("mode", one_of("What it does with what it matches", ["grant", "deny"])),
        ("conditions", list_up_to(condition(), 0, CONDITIONS_MAX)),
        (
            "lengths?",
            object([
                ("min_s", count("The shortest, in seconds")),
                ("max_s", count("The longest, in seconds")),
            ]),
        ),
    ])
}

pub(super) fn operations() -> Vec<Operation> {
    let name = || short("The name", 1, TEXT_MAX);
    vec![
        administers(Operation::get(
            ["listFilters", "/filters", "Access filters, and the roles that have them"],
            all,
        ))
        .gives(object([("filters", list(of("AccessFilter")))])),
        changes(Operation::put(
            [
                "putFilter",
                "/filters/{name}",
                "Makes an access filter, or other contents of one that is there",
            ],
            put,
        ))
        .path("name", name())
        .takes(described())
        .gives(of("AccessFilter")),
        changes(Operation::delete(
            ["removeFilter", "/filters/{name}", "Removes an access filter that no role has"],
            remove,
        ))
        .path("name", name())
        .hides(Kind::NoSuchName)
        .gives_nothing(),
        changes(Operation::post(
            [
                "tryFilter",
                "/filters/{name}/try",
                "What an access filter would match of the last 1,000 recordings; it changes nothing",
            ],
            try_one,
        ))
        .path("name", name())
        .takes(described())
        .gives(object([
            ("looked", count("Recordings that were looked at")),
            ("matched", count("Those that it would hide, or show")),
        ])),
    ]
}

pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    let lengths = json!({ "type": ["object", "null"], "description": "The lengths that it is about" });
    vec![(
        "AccessFilter",
        open([
            ("name", text("Its name")),
            ("mode", one_of("What it does with what it matches", ["grant", "deny"])),
            ("conditions", list(condition())),
            ("lengths", lengths),
            ("roles", list(text("A role that has it"))),
        ]),
    )]
}

fn told(accounts: &Accounts, filter: &AccessFilter) -> Value {
    let conditions: Vec<Value> = filter
        .conditions()
        .iter()
        .map(|(field, pattern)| json!({ "field": field.name(), "pattern": pattern.to_string() }))
        .collect();
    let line = lines(accounts).into_iter().find(|line| line.name == filter.name());
    let roles: Vec<String> = line.map_or(Vec::new(), |line| line.roles);
    json!({
        "name": filter.name(), "mode": filter.mode().key(), "conditions": conditions, "lengths": filter.lengths(), "roles": roles,
    })
}

#[derive(Deserialize)]
struct Described {
    mode: FilterMode,
    conditions: Vec<Condition>,
    lengths: Option<Lengths>,
}

#[derive(Deserialize)]
struct Condition {
    field: String,
    pattern: String,
}

fn asked(name: &str, body: &[u8]) -> Result<AccessFilter, Problem> {
    let Described { mode, conditions, lengths } = read(body)?;
    let read = |Condition { field, pattern }: Condition| {
        Ok::<_, String>((field.parse::<Field>().map_err(|e| e.to_string())?, pattern))
    };
    let conditions =
        conditions.into_iter().map(read).collect::<Result<Vec<_>, String>>().map_err(Problem::Wrong)?;
    filter(name, mode, &conditions, lengths).map_err(Problem::Wrong)
}

/// `GET /filters`.
async fn all(State(app): State<App>) -> Json<Value> {
    let accounts = app.archive().accounts();
    let filters: Vec<Value> = accounts.filters().iter().map(|filter| told(&accounts, filter)).collect();
    Json(json!({ "filters": filters }))
}

/// `PUT /filters/{name}`.
async fn put(
    State(app): State<App>,
    asker: Asker,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let filter = asked(&name, &body)?;
    app.change(&asker, AccountChange::PutFilter(filter)).await?.map_err(Problem::Refused)?;
    let accounts = app.archive().accounts();
    let filter = accounts.filter(&name).ok_or(Problem::Nothing(Kind::NoSuchName))?;
    Ok(Json(told(&accounts, filter)))
}

/// `DELETE /filters/{name}`.
async fn remove(
    State(app): State<App>,
    asker: Asker,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    if app.archive().accounts().filter(&name).is_none() {
        return Err(Problem::Nothing(Kind::NoSuchName));
    }
    app.change(&asker, AccountChange::RemoveFilter { name }).await?.map_err(Problem::Refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /filters/{name}/try`.
async fn try_one(
    State(app): State<App>,
    asker: Asker,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let Tried { looked, matched } = app.try_filter(&asker, asked(&name, &body)?).await?;
    Ok(Json(json!({ "looked": looked, "matched": matched })))
}
