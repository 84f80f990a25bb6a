//! `/tokens`: which programs use the API. Everything is checked and written down by `store`, as for the page; what a program shows is given out
//! once, where it is made. A program gives others no right that it has not got itself.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use policy::access::Right;
use policy::modes;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{AccountChange, ApiToken, TOKEN_NAME_MAX, USER_NAME_MAX};

use super::accounts::{administers, changes};
use super::idempotency::told_once;
use super::operation::{Operation, Program};
use super::problem::{Kind, Problem};
use super::schema::{list, list_up_to, maybe_moment, maybe_text, object, of, one_of, open, short, text, yes};
use super::{moment, read};
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::token::Token;
use crate::server::tokens::{AskedToken, state};

const PATH: &str = "/tokens";
const AS: [&str; 2] = [modes::Role::Agent.key(), modes::Role::Supervisor.key()];

pub(super) fn operations() -> Vec<Operation> {
    let right = || one_of("What it may", Right::ALL.map(Right::key));
    vec![
        administers(Operation::get(["listTokens", PATH, "The tokens that programs show"], all))
            .gives(object([("tokens", list(of("Token")))])),
        changes(Operation::post(["addToken", PATH, "A new token, told this once"], add))
            .takes(object([
                ("name", short("Its name", 1, TOKEN_NAME_MAX)),
                ("account", short("Whose rights it has", 1, USER_NAME_MAX)),
                ("rights", list_up_to(right(), 1, Right::ALL.len())),
                ("asks_as?", one_of("As whom its program asks; agent unless it is said", AS)),
                ("expires?", maybe_moment("From when on it counts no more; never when absent")),
            ]))
            .adds()
            .gives_as(
                201,
                "application/json",
                object([
                    ("token", of("Token")),
                    (
                        "secret",
                        maybe_text("What the program shows; told this once, null when it is asked again"),
                    ),
                ]),
            ),
        changes(Operation::delete(
            ["removeToken", "/tokens/{name}", "Takes a token away: its program is out at once"],
            remove,
        ))
        .path("name", short("Its name", 1, TOKEN_NAME_MAX))
        .hides(Kind::NoSuchName)
        .gives_nothing(),
    ]
}

pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    vec![(
        "Token",
        open([
            ("name", text("Its name")),
            ("account", maybe_text("Whose rights it has")),
            ("rights", list(one_of("What it may, as far as the account may", Right::ALL.map(Right::key)))),
            ("asks_as", one_of("As whom its program asks", AS)),
            (
                "kept",
                yes("It was made here; else it is a file that the configuration names, and changed there"),
            ),
            ("state", maybe_text("In words; null where the configuration names it")),
            ("made", maybe_moment("When it was made")),
            ("by", maybe_text("By whom")),
            ("expires", maybe_moment("From when on it counts no more; null for never")),
            ("last_used", maybe_moment("The beginning of the day, UTC, on which it was last used")),
        ]),
    )]
}

fn told(app: &App, token: &ApiToken) -> Value {
    json!({
        "name": token.name, "account": token.account, "rights": token.rights, "asks_as": token.asks_as.key(), "kept": true,
        "state": state(app, token).0, "made": token.made, "by": token.by, "expires": token.expires, "last_used": token.last_used,
    })
}

fn told_configured(token: &Token) -> Value {
    json!({
        "name": token.name(), "account": token.account(), "rights": token.rights(), "asks_as": token.role().key(), "kept": false,
        "state": null, "made": null, "by": null, "expires": null, "last_used": null,
    })
}

/// `GET /tokens`.
async fn all(State(app): State<App>) -> Json<Value> {
    let accounts = app.archive().accounts();
    let kept = accounts.tokens().iter().map(|token| told(&app, token));
    let configured = app.0.tokens.all();
    let tokens: Vec<Value> = kept.chain(configured.iter().map(told_configured)).collect();
    Json(json!({ "tokens": tokens }))
}

#[derive(Deserialize)]
struct Added {
    name: String,
    account: String,
    rights: Vec<Right>,
    asks_as: Option<modes::Role>,
    expires: Option<String>,
}

/// `POST /tokens`.
async fn add(
    State(app): State<App>,
    Program(program): Program,
    asker: Asker,
    body: Bytes,
) -> Result<Response, Problem> {
    let Added { name, account, rights, asks_as, expires } = read(&body)?;
    if let Some(right) = rights.iter().find(|right| !program.may(**right)) {
        return Err(Problem::Refused(format!(
            "the token that asks has not got the right {right} itself: a person makes such a token, on the page or by `earwitness token add`"
        )));
    }
    let expires = moment(&app, "expires", expires.as_deref().unwrap_or_default())?;
    let asks_as = asks_as.unwrap_or(modes::Role::Agent);
    if asks_as > program.role() {
        return Err(Problem::Refused(
            "the token that asks is an agent's: it makes no supervisor's".to_owned(),
        ));
    }
    let asked = AskedToken { name: name.clone(), account, rights, asks_as, expires };
    let secret = app.make_token(&asker, asked).await?.map_err(Problem::Refused)?;
    let accounts = app.archive().accounts();
    let token = told(&app, accounts.token(&name).ok_or(Problem::Nothing(Kind::NoSuchName))?);
    let answer = told_once(("token", &token), ("secret", Some(secret.text())));
    Ok((StatusCode::CREATED, answer).into_response())
}

/// `DELETE /tokens/{name}`.
async fn remove(
    State(app): State<App>,
    asker: Asker,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    if app.archive().accounts().token(&name).is_none() {
        return Err(Problem::Nothing(Kind::NoSuchName));
    }
    app.change(&asker, AccountChange::RemoveToken { name }).await?.map_err(Problem::Refused)?;
    Ok(StatusCode::NO_CONTENT)
}
