//! `/api/v1`: everything that a page does, for programs. `docs/api.md` tells it to their authors, `/api/v1/openapi.json` to their tools.
//!
//! Who asks shows a token (RFC 6750) and has only its rights. Answers are JSON, refusals `application/problem+json` (RFC 9457). What can be
//! asked is one table ([`operations`]): the router and the document are made of it, and what an operation takes is asked by it.

mod accounts;
mod alerts;
mod audit;
mod balance;
mod document;
mod files;
mod filters;
mod health;
mod holds;
mod idempotency;
mod live;
mod machine;
mod mail;
mod operation;
mod paging;
mod passwords;
mod people;
mod problem;
mod recorder;
mod recordings;
mod retention;
mod roles;
mod rules;
mod saved;
mod schema;
mod stream;
mod tokens;
mod units;
mod unrecorded;
mod usage;
mod webhooks;

use axum::Router;
use axum::extract::Request;
use axum::http::header;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use decode::Timestamp;
use store::Outcome;

pub(crate) use self::balance::told as told_call;
pub(super) use self::idempotency::Keys;
use self::operation::Operation;
use self::problem::{Kind, Problem};
pub(super) use self::stream::Watch;
use super::App;
use super::form::Form;
use crate::live::{Live, Unavailable};

/// Where it is.
const PREFIX: &str = "/api/v1";

/// All that can be asked.
fn operations() -> Vec<Operation> {
    [
        document::operations(),
        recorder::operations(),
        health::operations(),
        alerts::operations(),
        machine::operations(),
        filters::operations(),
        passwords::operations(),
        live::operations(),
        stream::operations(),
        recordings::operations(),
        unrecorded::operations(),
        units::operations(),
        files::operations(),
        mail::operations(),
        saved::operations(),
        balance::operations(),
        accounts::operations(),
        roles::operations(),
        tokens::operations(),
        webhooks::operations(),
        usage::operations(),
        audit::operations(),
        rules::operations(),
        people::operations(),
        retention::operations(),
        holds::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The document of all of them.
#[cfg(test)]
pub(super) fn document() -> serde_json::Value {
    document::whole()
}

pub(super) fn router(app: &App) -> Router<App> {
    operations()
        .into_iter()
        .fold(Router::new(), |router, operation| operation.serve(router, app))
        .fallback(async || Problem::Nothing(Kind::NoSuchPlace))
        .method_not_allowed_fallback(async || Problem::WrongMethod)
        .layer(from_fn(dress))
}

/// What every answer carries.
async fn dress(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        response.headers_mut().insert(name, header::HeaderValue::from_static(value));
    }
    response
}

impl App {
    /// Asks the recorder, on a thread that may wait.
    async fn ask<T: Send + 'static, E: Into<Problem> + Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Live) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Problem> {
        let live = self.live()?.clone();
        let asked = tokio::task::spawn_blocking(move || ask(&*live)).await;
        asked.map_err(|_| Problem::Unavailable(Unavailable))?.map_err(Into::into)
    }
}

/// A body of JSON; the table has judged its shape.
fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::Wrong(format!("the body: {error}")))
}

/// A moment that a query names; none where it names none.
fn moment(app: &App, name: &str, text: &str) -> Result<Option<Timestamp>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || {
        Problem::Wrong(format!("{name}: write it as 2026-11-30T09:00:00Z, 2026-11-30 09:00 or 2026-11-30"))
    };
    app.zone().read(text).map(Some).ok_or_else(wrong)
}

/// What calls came to that a query names; none where it names nothing.
fn outcome(form: &Form) -> Result<Option<Outcome>, Problem> {
    match form.text("outcome") {
        "" => Ok(None),
        key => match Outcome::ALL.into_iter().find(|outcome| outcome.key() == key) {
            None => Err(Problem::Wrong("outcome: no such outcome".to_owned())),
            known => Ok(known),
        },
    }
}

#[cfg(test)]
pub(super) mod tests;
