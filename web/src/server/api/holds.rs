//! What keeps recordings and what ends them: legal holds, and deletion by hand. Both take a reason, which is kept.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use policy::Permission;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{Row, What};

use super::operation::{Id, Needs, Operation};
use super::problem::{Kind, Problem};
use super::read;
use super::recordings::of_one;
use super::schema::{count, list, moment, name, object, of, one_of, open, short, text};
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::form::Form;
use crate::server::holds::{NAME_MAX, WHY_MAX, sums, under};
use crate::server::refusal::Refusal;
use crate::server::token::Right;

pub(super) fn operations() -> Vec<Operation> {
    let holds = |operation: Operation| {
        of_one(operation, Needs::Permission(Permission::Holds)).path("hold", name("The hold", NAME_MAX))
    };
    let why = || short("Why: it is kept", 1, WHY_MAX);
    vec![
        Operation::get(["listHolds", "/holds", "Legal holds by name, on what the account sees"], all)
            .right(Right::Recordings)
            .needs(Needs::Permission(Permission::Holds))
            .query("name", text("Only this one, with the recordings that it lies on"))
            .gives(object([("holds", list(of("Hold")))])),
        holds(Operation::put(
            ["putHold", "/recordings/{id}/holds/{hold}", "Puts it under a legal hold: nothing deletes it"],
            put,
        ))
        .takes(object([("why", why())]))
        .or(&[Kind::Refused])
        .gives_nothing(),
        holds(Operation::delete(
            ["releaseHold", "/recordings/{id}/holds/{hold}", "Releases it from a legal hold"],
            release,
        ))
        .must_query("why", why())
        .or(&[Kind::NoSuchName])
        .gives_nothing(),
        of_one(
            Operation::delete(
                ["deleteRecording", "/recordings/{id}", "Destroys it by hand, unless a hold lies on it"],
                delete,
            ),
            Needs::Permission(Permission::Delete),
        )
        .must_query("why", why())
        .query("keep", one_of("What is known of it stays, and the audio goes", ["facts"]))
        .or(&[Kind::Refused])
        .gives_nothing(),
    ]
}

pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    let (why, who) = (|| text("Why it was put"), || text("By whom"));
    let on = open([
        ("recording", text("A recording, of the first ones")),
        ("why", why()),
        ("who", who()),
        ("since", moment("When it was put on this one")),
    ]);
    vec![(
        "Hold",
        open([
            ("name", text("Its name")),
            ("why", why()),
            ("who", who()),
            ("since", moment("When it was put first")),
            ("recordings", count("Recordings that it lies on")),
            ("on?", list(on)),
        ]),
    )]
}

/// `GET /holds`.
async fn all(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    // A hold is named to the letter.
    let wanted = Form::parse(&query.unwrap_or_default()).raw("name").to_owned();
    let named = wanted.clone();
    let (sums, rows) = app
        .read(move |archive| {
            let rows = if wanted.is_empty() { Vec::new() } else { under(archive, &asker, &wanted)?.0 };
            Ok((sums(archive, &asker)?, rows))
        })
        .await?;
    let holds = sums.into_iter().filter(|(name, _)| named.is_empty() || *name == named).map(|(name, sum)| {
        let mut told = json!({
            "name": name, "why": sum.why, "who": sum.who, "since": sum.since, "recordings": sum.recordings,
        });
        if let (false, Some(members)) = (named.is_empty(), told.as_object_mut()) {
            members.insert("on".to_owned(), rows.iter().filter_map(|row| told_held(row, &name)).collect());
        }
        told
    });
    Ok(Json(json!({ "holds": holds.collect::<Vec<_>>() })))
}

fn told_held(row: &Row, name: &str) -> Option<Value> {
    let hold = row.legal_holds.iter().find(|hold| hold.hold == name)?;
    Some(json!({ "recording": row.facts.id, "why": hold.why, "who": hold.who, "since": hold.at }))
}

#[derive(Deserialize)]
struct Why {
    why: String,
}

/// The reason that a query gives; the table has seen that there is one.
fn why(query: Option<String>) -> String {
    Form::parse(&query.unwrap_or_default()).text("why").to_owned()
}

/// `PUT /recordings/{id}/holds/{hold}`.
async fn put(
    State(app): State<App>,
    asker: Asker,
    Id(id): Id,
    Path((_, hold)): Path<(String, String)>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let Why { why } = read(&body)?;
    if hold.trim() != hold {
        return Err(Problem::Wrong("hold: no spaces around a name".to_owned()));
    }
    let what = What::Held { id, hold, why: why.trim().to_owned() };
    app.hold_or_release(&asker, id, what).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /recordings/{id}/holds/{hold}?why=`.
async fn release(
    State(app): State<App>,
    asker: Asker,
    Id(id): Id,
    Path((_, hold)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<StatusCode, Problem> {
    let what = What::Released { id, hold, why: why(query) };
    let is_released = app.hold_or_release(&asker, id, what).await?;
    is_released.then_some(StatusCode::NO_CONTENT).ok_or(Problem::Nothing(Kind::NoSuchName))
}

/// `DELETE /recordings/{id}?why=`.
async fn delete(
    State(app): State<App>,
    asker: Asker,
    Id(id): Id,
    RawQuery(query): RawQuery,
) -> Result<StatusCode, Problem> {
    let keep_facts = Form::parse(query.as_deref().unwrap_or_default()).text("keep") == "facts";
    app.delete_by_hand(&asker, id, why(query), keep_facts).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the archive does not do for what is there.
fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Failed(crate::Error::Store(
            store::Error::Refused { what } | store::Error::Guarded { why: what, .. },
        )) => Problem::Refused(what),
        refusal => refusal.into(),
    }
}
