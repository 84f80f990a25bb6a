//! `/alerts`: what needs somebody's attention, and taking note of it, as on the page.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use policy::Permission;
use serde::Deserialize;
use serde_json::{Value, json};

use super::operation::{Needs, Operation};
use super::problem::{Kind, Problem};
use super::read;
use super::schema::{count, list, maybe_moment, moment, object, of, one_of, open, short, text, yes};
use crate::alerts::{ALERT_NOTE_MAX, NotAcknowledged};
use crate::server::App;
use crate::server::alerts::lights;
use crate::server::caller::Asker;
use crate::server::token::Right;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(["listAlerts", "/alerts", "What is up, what was, and a light for each alarm"], all)
            .right(Right::Servers)
            .needs(Needs::Permission(Permission::Dashboard))
            .or(&[Kind::NoRecorder])
            .gives(object([
                (
                    "lights",
                    list(object([
                        ("alarm", text("Which alarm, as metrics have it")),
                        ("label", text("What is wrong when it is up")),
                        ("light", one_of("How it is", ["good", "warn", "bad", "off"])),
                    ])),
                ),
                ("alerts", list(of("Alert"))),
            ])),
        Operation::post(
            [
                "acknowledgeAlert",
                "/alerts/{alert}/acknowledge",
                "Takes note of an alert: it is not told again until it changes",
            ],
            acknowledge,
        )
        .right(Right::Servers)
        .needs(Needs::All(&[Permission::Dashboard, Permission::Servers]))
        .path("alert", count("Its number"))
        .hides(Kind::NoSuchName)
        .or(&[Kind::NoRecorder, Kind::Refused])
        .may_take(object([("note?", short("What there is to say of it", 0, ALERT_NOTE_MAX))]))
        .gives_nothing(),
    ]
}

pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    let acknowledged = json!({ "type": ["object", "null"], "description": "Who took note of it", "properties": {
        "who": text("Who"), "at": moment("When"), "note": text("What they said"),
        "has_changed": yes("It reads otherwise since, and is told again"),
    } });
    vec![(
        "Alert",
        open([
            ("number", count("Its number; later ones have higher ones")),
            ("alarm", text("Which alarm")),
            ("place", text("The adapter or drive that it is about; empty where it is about the whole")),
            ("words", text("In words")),
            ("critical", yes("It costs recordings while it is up")),
            ("raised", moment("Since when")),
            ("told", moment("When it was last told")),
            ("told_to", list(text("Whom: log, syslog, web hook, mail"))),
            ("cleared", maybe_moment("Until when; null while it is up")),
            ("acknowledged", acknowledged),
        ]),
    )]
}

/// `GET /alerts`, the newest first.
async fn all(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let alerts = Arc::clone(app.alerts()?);
    let all = alerts.all();
    let lights: Vec<Value> = lights(&*alerts, &all)
        .into_iter()
        .map(|one| json!({ "alarm": one.watched.key, "label": one.watched.label, "light": one.light }))
        .collect();
    Ok(Json(json!({ "lights": lights, "alerts": all })))
}

#[derive(Default, Deserialize)]
struct Said {
    note: Option<String>,
}

/// `POST /alerts/{alert}/acknowledge`.
async fn acknowledge(
    State(app): State<App>,
    asker: Asker,
    Path(number): Path<String>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let said = if body.trim_ascii().is_empty() { Said::default() } else { read::<Said>(&body)? };
    let number = number.parse().map_err(|_| Problem::Nothing(Kind::NoSuchName))?;
    let note = said.note.unwrap_or_default();
    match app.acknowledge(&asker, number, note.trim()).await? {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(NotAcknowledged::NoSuch) => Err(Problem::Nothing(Kind::NoSuchName)),
        Err(why) => Err(Problem::Refused(why.to_string())),
    }
}
