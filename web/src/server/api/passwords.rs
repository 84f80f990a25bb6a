//! `/password-policy`: what passwords must be and what failed tries come to. Checked and written down by `store`, as for the page.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use store::{AccountChange, PasswordPolicy, Strength};

use super::accounts::{administers, changes};
use super::operation::Operation;
use super::problem::Problem;
use super::read;
use super::schema::{count, object, of, one_of, yes};
use crate::server::App;
use crate::server::caller::Asker;

const PATH: &str = "/password-policy";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        administers(Operation::get(["getPasswordPolicy", PATH, "What passwords must be"], get))
            .gives(of("PasswordPolicy")),
        changes(Operation::put(["putPasswordPolicy", PATH, "What passwords must be from now on"], put))
            .takes(of("PasswordPolicy"))
            .gives(of("PasswordPolicy")),
        changes(Operation::post(
            [
                "renewPasswords",
                "/password-policy/renew",
                "Everybody must change the password at the next sign-in",
            ],
            renew,
        ))
        .gives_nothing(),
    ]
}

pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    let days = json!({
        "type": ["integer", "null"], "minimum": 1, "description": "Days after which a password must be changed; null for never",
    });
    vec![(
        "PasswordPolicy",
        object([
            ("strength", one_of("Which ones are taken (docs/accounts.md)", Strength::ALL.map(Strength::key))),
            ("expires_days", days),
            ("reuse", count("So many of an account's last passwords cannot be set again; 0: any can")),
            ("tries", count("Failed tries in a row that lock an account; 0: never")),
            ("locked_minutes", count("For so many minutes")),
            ("second_factor", yes("Everybody must have a second factor")),
        ]),
    )]
}

fn told(app: &App) -> Json<Value> {
    Json(json!(app.archive().accounts().password_policy()))
}

/// `GET /password-policy`.
async fn get(State(app): State<App>) -> Json<Value> {
    told(&app)
}

/// `PUT /password-policy`.
async fn put(State(app): State<App>, asker: Asker, body: Bytes) -> Result<Json<Value>, Problem> {
    let policy: PasswordPolicy = read(&body)?;
    app.change(&asker, AccountChange::SetPolicy(policy)).await?.map_err(Problem::Refused)?;
    Ok(told(&app))
}

/// `POST /password-policy/renew`.
async fn renew(State(app): State<App>, asker: Asker) -> Result<StatusCode, Problem> {
    app.change(&asker, AccountChange::MustChangeAll).await?.map_err(Problem::Refused)?;
    Ok(StatusCode::NO_CONTENT)
}
