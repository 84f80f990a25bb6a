//! `/webhooks`: which programs are told what happens. Everything is checked and written down by `store`, as for the page; what messages are signed with
//! is given out once, where a webhook is made. A program has others told of nothing that it may not see itself.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use policy::access::Right;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{AccountChange, TOKEN_NAME_MAX, Topic, USER_NAME_MAX, WEBHOOK_ADDRESS_MAX, Webhook};

use super::accounts::{administers, changes};
use super::idempotency::told_once;
use super::operation::{Operation, Program};
use super::problem::{Kind, Problem};
use super::read;
use super::schema::{
    count, list, list_up_to, maybe_moment, maybe_text, moment, object, of, one_of, open, short, text, yes,
};
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::webhooks::AskedWebhook;

const PATH: &str = "/webhooks";

/// The right that a program must have to have others told of this.
fn right_of(topic: Topic) -> Right {
    match topic {
        Topic::CallEnded => Right::Calls,
        Topic::RecordingFinished
        | Topic::RecordingChanged
        | Topic::RecordingDeleted
        | Topic::RecordingDiscarded => Right::Recordings,
    }
}

pub(super) fn operations() -> Vec<Operation> {
    let topic = || one_of("What it is told of", Topic::ALL.map(Topic::key));
    let name = || short("Its name", 1, TOKEN_NAME_MAX);
    vec![
        administers(Operation::get(["listWebhooks", PATH, "Programs that are told what happens"], all))
            .gives(object([("webhooks", list(of("Webhook")))])),
        changes(Operation::post(
            ["addWebhook", PATH, "A new webhook; what its messages are signed with is told this once"],
            add,
        ))
        .takes(object([
            ("name", name()),
            (
                "address",
                short("Where it listens: https, or http on the machine itself", 1, WEBHOOK_ADDRESS_MAX),
            ),
            ("account", short("Whose rights it has", 1, USER_NAME_MAX)),
            ("topics", list_up_to(topic(), 1, Topic::ALL.len())),
        ]))
        .adds()
        .gives_as(
            201,
            "application/json",
            object([
                ("webhook", of("Webhook")),
                (
                    "secret",
                    maybe_text(
                        "What its messages are signed with; told this once, null when it is asked again",
                    ),
                ),
            ]),
        ),
        changes(Operation::delete(
            ["removeWebhook", "/webhooks/{name}", "Takes a webhook away: it is told nothing more"],
            remove,
        ))
        .path("name", name())
        .hides(Kind::NoSuchName)
        .gives_nothing(),
        changes(Operation::post(
            [
                "testWebhook",
                "/webhooks/{name}/test",
                "Tells it a message of no call, once, and waits for the answer",
            ],
            test,
        ))
        .path("name", name())
        .hides(Kind::NoSuchName)
        .or(&[Kind::NoRecorder])
        .gives(object([("status", up_to_status())])),
    ]
}

fn up_to_status() -> Value {
    json!({ "type": "integer", "minimum": 200, "maximum": 299, "description": "The status of its answer" })
}

pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    let state = json!({ "type": ["object", "null"], "description": "How it does; null where nothing is told", "properties": {
        "told": count("Messages that were taken since the start"),
        "given_up": count("Messages that were given up since the start, a day after the first try"),
        "last_told": maybe_moment("When one was last taken, since the start"),
        "last_failed": maybe_moment("When one was last not taken, since the start"),
        "why": maybe_text("Why it was not"),
        "waiting_since": maybe_moment("Since when one is tried; null when all is told"),
        "is_gone": yes("It said that it is gone for good, and is told nothing"),
    } });
    vec![(
        "Webhook",
        open([
            ("name", text("Its name")),
            ("address", text("Where it listens")),
            ("account", text("Whose rights it has")),
            ("topics", list(one_of("What it is told of", Topic::ALL.map(Topic::key)))),
            ("made", moment("When it was made")),
            ("by", text("By whom")),
            ("state", state),
        ]),
    )]
}

fn told(app: &App, webhook: &Webhook) -> Value {
    let state = app.webhooks().ok().map(|webhooks| webhooks.state(&webhook.name));
    let state = state.map(|state| {
        let (last_failed, why) = state.last_failed.unzip();
        json!({
            "told": state.told, "given_up": state.given_up, "last_told": state.last_told, "last_failed": last_failed,
            "why": why, "waiting_since": state.waiting_since, "is_gone": state.is_gone,
        })
    });
    json!({
        "name": webhook.name, "address": webhook.address, "account": webhook.account, "topics": webhook.topics,
        "made": webhook.made, "by": webhook.by, "state": state,
    })
}

/// `GET /webhooks`.
async fn all(State(app): State<App>) -> Json<Value> {
    let accounts = app.archive().accounts();
    let webhooks: Vec<Value> = accounts.webhooks().iter().map(|webhook| told(&app, webhook)).collect();
    Json(json!({ "webhooks": webhooks }))
}

#[derive(Deserialize)]
struct Added {
    name: String,
    address: String,
    account: String,
    topics: Vec<Topic>,
}

/// `POST /webhooks`.
async fn add(
    State(app): State<App>,
    Program(program): Program,
    asker: Asker,
    body: Bytes,
) -> Result<Response, Problem> {
    let Added { name, address, account, topics } = read(&body)?;
    if let Some(topic) = topics.iter().find(|topic| !program.may(right_of(**topic))) {
        return Err(Problem::Refused(format!(
            "the token that asks has not got the right {} itself, which {topic} takes: a person makes such a webhook, on the page",
            right_of(*topic)
        )));
    }
    let topics = topics.into_iter().collect();
    let asked = AskedWebhook { name: name.clone(), address, account, topics };
    let secret = app.make_webhook(&asker, asked).await?.map_err(Problem::Refused)?;
    let accounts = app.archive().accounts();
    let webhook = told(&app, accounts.webhook(&name).ok_or(Problem::Nothing(Kind::NoSuchName))?);
    let answer = told_once(("webhook", &webhook), ("secret", Some(&secret.text())));
    Ok((StatusCode::CREATED, answer).into_response())
}

/// `DELETE /webhooks/{name}`.
async fn remove(
    State(app): State<App>,
    asker: Asker,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    if app.archive().accounts().webhook(&name).is_none() {
        return Err(Problem::Nothing(Kind::NoSuchName));
    }
    app.change(&asker, AccountChange::RemoveWebhook { name }).await?.map_err(Problem::Refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /webhooks/{name}/test`.
async fn test(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    let webhooks = Arc::clone(app.webhooks()?);
    if app.archive().accounts().webhook(&name).is_none() {
        return Err(Problem::Nothing(Kind::NoSuchName));
    }
    let answered = app.read(move |_| Ok(webhooks.test(&name))).await?;
    let status = answered.map_err(Problem::Refused)?;
    Ok(Json(json!({ "status": status })))
}
