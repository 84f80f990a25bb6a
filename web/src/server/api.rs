//! `/api/v1`: what programs ask of a recorder that runs. `docs/api.md` tells it to their authors.
//!
//! Who asks shows a token (RFC 6750) and has only its rights. Answers are JSON, refusals `application/problem+json` (RFC 9457).

mod recordings;

use std::fmt;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Request as HttpRequest, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use policy::gate::{Reply, Request, Whom};
use policy::modes::Ask;
use policy::modes::orders::{Lasting, Whose};
use serde::Deserialize;
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::token::{Right, Token};
use super::{App, NoRecorder};
use crate::live::{Live, LiveCall, NotTaken, Unavailable};

/// Bytes of a request's body.
const BODY_MAX: usize = 512 * 1024;
/// Characters of a name that a request gives, of a person or a number.
const NAME_MAX: usize = 128;

pub(super) fn router(_: &App) -> Router<App> {
    Router::new()
        .route("/status", get(status))
        .route("/calls", get(calls))
        .route("/orders", get(orders))
        .route("/orders/extensions/{number}", put(order_extension).delete(withdraw_extension))
        .route("/orders/agents/{agent}", put(order_agent).delete(withdraw_agent))
        .route("/events", post(events))
        .route("/clients/{client}", put(windows).delete(client_gone))
        .route("/extensions/{number}", get(extension))
        .route("/extensions/{number}/{ask}", post(ask_extension))
        .route("/agents/{agent}/{ask}", post(ask_agent))
        .merge(recordings::router())
        .fallback(async || Problem::NoSuchPlace)
        .method_not_allowed_fallback(async || Problem::WrongMethod)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn(dress))
}

/// What every answer carries.
async fn dress(request: HttpRequest, next: Next) -> Response {
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

/// Why a request is not served.
#[derive(Debug)]
pub(super) enum Problem {
    /// No token, or one that is not known.
    NoToken,
    /// The token does not let its program do this.
    NotAllowed(Right),
    /// Nothing is at this address.
    NoSuchPlace,
    /// Something is here, and not done this way.
    WrongMethod,
    /// The request's words are off: how.
    Wrong(String),
    /// No such call is running.
    NoSuchCall,
    /// There is no such recording, or not for the token's account.
    NoSuchRecording,
    /// The token names no account, or one that is gone or disabled.
    NoAccount,
    /// The recording could not be given.
    Failed(StatusCode, String),
    /// What runs does not allow it: why.
    Refused(String),
    /// There is no room for more: of what.
    Full(String),
    /// Nothing records beside these pages.
    NoRecorder,
    /// It does not answer.
    Unavailable(Unavailable),
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoPage => Problem::NoSuchRecording,
            Refusal::Wrong(what) => Problem::Wrong(what),
            refusal => Problem::Failed(refusal.status(), refusal.words()),
        }
    }
}

impl From<NoRecorder> for Problem {
    fn from(_: NoRecorder) -> Self {
        Problem::NoRecorder
    }
}

impl From<NotTaken> for Problem {
    fn from(error: NotTaken) -> Self {
        match error {
            NotTaken::Unavailable(unavailable) => Problem::Unavailable(unavailable),
            NotTaken::Wrong(what) => Problem::Wrong(what),
            NotTaken::Full(what) => Problem::Full(what),
        }
    }
}

impl From<Unavailable> for Problem {
    fn from(unavailable: Unavailable) -> Self {
        Problem::Unavailable(unavailable)
    }
}

impl Problem {
    fn status(&self) -> StatusCode {
        match self {
            Problem::NoToken => StatusCode::UNAUTHORIZED,
            Problem::NotAllowed(_) | Problem::NoAccount => StatusCode::FORBIDDEN,
            Problem::NoSuchPlace | Problem::NoSuchCall | Problem::NoSuchRecording => StatusCode::NOT_FOUND,
            Problem::Failed(status, _) => *status,
            Problem::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Problem::Wrong(_) => StatusCode::BAD_REQUEST,
            Problem::Refused(_) => StatusCode::CONFLICT,
            Problem::NoRecorder | Problem::Unavailable(_) | Problem::Full(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// A short name that programs can tell problems apart by.
    fn kind(&self) -> &'static str {
        match self {
            Problem::NoToken => "no-token",
            Problem::NotAllowed(_) => "not-allowed",
            Problem::NoSuchPlace => "no-such-place",
            Problem::WrongMethod => "wrong-method",
            Problem::Wrong(_) => "wrong-request",
            Problem::NoSuchCall => "no-such-call",
            Problem::NoSuchRecording => "no-such-recording",
            Problem::NoAccount => "no-account",
            Problem::Failed(..) => "failed",
            Problem::Refused(_) => "refused",
            Problem::Full(_) => "full",
            Problem::NoRecorder => "no-recorder",
            Problem::Unavailable(_) => "unavailable",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NoToken => f.write_str("send a token of [[api.token]] as Authorization: Bearer TOKEN"),
            Problem::NotAllowed(right) => {
                let right = serde_json::to_string(right).unwrap_or_default();
                write!(f, "the token does not have the right {right}")
            }
            Problem::NoSuchPlace => f.write_str("there is nothing at this address; docs/api.md has them all"),
            Problem::WrongMethod => f.write_str("this is not done with that method; docs/api.md tells which"),
            Problem::Wrong(what) | Problem::Refused(what) | Problem::Full(what) => f.write_str(what),
            Problem::NoSuchCall => f.write_str("no such call is running"),
            Problem::NoSuchRecording => {
                f.write_str("there is no such recording, or the token's account may not do this with it")
            }
            Problem::NoAccount => f.write_str(
                "the token has no account whose rights it could have: name one in [[api.token]] account that can sign in",
            ),
            Problem::Failed(_, what) => f.write_str(what),
            Problem::NoRecorder => {
                f.write_str("nothing records here: `earwitness run` serves this, not `serve`")
            }
            Problem::Unavailable(unavailable) => write!(f, "{unavailable}"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = json!({
            "type": format!("urn:earwitness:problem:{}", self.kind()), "title": status.canonical_reason(),
            "status": status.as_u16(), "detail": self.to_string(),
        });
        let mut response = (status, Json(body)).into_response();
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/problem+json"));
        match self {
            Problem::NoToken => {
                fields.insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
            }
            Problem::Unavailable(_) => {
                fields.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

impl App {
    /// The token of a request, if it has this right.
    fn token(&self, headers: &HeaderMap, right: Right) -> Result<Token, Problem> {
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else { return Err(Problem::NoToken) };
        let secret = field.to_str().ok().and_then(|field| {
            let (scheme, secret) = field.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(secret.trim())
        });
        let token = secret.and_then(|secret| self.0.tokens.find(secret)).ok_or(Problem::NoToken)?;
        if token.may(right) { Ok(token) } else { Err(Problem::NotAllowed(right)) }
    }

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

/// `GET /status`: counters, ways in, channels.
async fn status(State(app): State<App>, headers: HeaderMap) -> Result<Json<Value>, Problem> {
    app.token(&headers, Right::Status)?;
    let status = app.live()?.status();
    let mut value = serde_json::to_value(&*status).map_err(|error| Problem::Wrong(error.to_string()))?;
    // Calls have an address of their own.
    value["calls"] = json!(status.calls.len());
    value["outcomes"] = status.outcomes.iter().map(|&(key, n)| (key.to_owned(), json!(n))).collect();
    Ok(Json(value))
}

/// `GET /calls`: the recordings that run.
async fn calls(State(app): State<App>, headers: HeaderMap) -> Result<Json<Value>, Problem> {
    app.token(&headers, Right::Status)?;
    let status = app.live()?.status();
    Ok(Json(json!({ "at": status.at, "calls": status.calls })))
}

/// `GET /extensions/{number}`: is it being recorded?
async fn extension(
    State(app): State<App>,
    headers: HeaderMap,
    Path(number): Path<String>,
) -> Result<Json<Value>, Problem> {
    app.token(&headers, Right::Status)?;
    let number = named("extension", number)?;
    let status = app.live()?.status();
    let calls: Vec<&LiveCall> = status.calls.iter().filter(|call| call.extension == number).collect();
    let state = match &calls[..] {
        [] => "idle",
        calls if calls.iter().all(|call| call.paused_since.is_some()) => "paused",
        _ => "recording",
    };
    Ok(Json(json!({ "at": status.at, "extension": number, "state": state, "calls": calls })))
}

/// `GET /orders`: what holds for all calls of an agent or an extension.
async fn orders(State(app): State<App>, headers: HeaderMap) -> Result<Json<Value>, Problem> {
    app.token(&headers, Right::Status)?;
    let orders = app.ask(|live| live.orders()).await?;
    let order = |(whose, order): &(Whose, policy::modes::orders::Order)| {
        let (kind, number) = match whose {
            Whose::Agent(agent) => ("agent", agent),
            Whose::Extension(extension) => ("extension", extension),
        };
        json!({ kind: number, "order": order.what.ask(), "by": order.name, "at": order.at })
    };
    Ok(Json(json!({ "orders": orders.iter().map(order).collect::<Vec<_>>() })))
}

/// An order as a program gives it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    /// `start`, `stop` or `pause`.
    order: Ask,
    /// The person in whose name the program gives it.
    by: Option<String>,
}

/// `PUT /orders/extensions/{number}`.
async fn order_extension(
    State(app): State<App>,
    headers: HeaderMap,
    Path(number): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    order(&app, &headers, Whose::Extension(named("extension", number)?), &body).await
}

/// `PUT /orders/agents/{agent}`.
async fn order_agent(
    State(app): State<App>,
    headers: HeaderMap,
    Path(agent): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    order(&app, &headers, Whose::Agent(named("agent", agent)?), &body).await
}

async fn order(app: &App, headers: &HeaderMap, whose: Whose, body: &[u8]) -> Result<Json<Value>, Problem> {
    let token = app.token(headers, Right::Requests)?;
    let Given { order, by } = read(body)?;
    let lasting = [Lasting::Start, Lasting::Stop, Lasting::Pause].into_iter().find(|one| one.ask() == order);
    let lasting = lasting.ok_or_else(|| Problem::Wrong("order: start, stop or pause".into()))?;
    let (role, name) = (token.role(), in_whose_name(&token, by)?);
    app.ask(move |live| live.order(whose, lasting, role, name)).await?;
    Ok(Json(json!({ "order": order })))
}

/// `DELETE /orders/extensions/{number}`.
async fn withdraw_extension(
    State(app): State<App>,
    headers: HeaderMap,
    Path(number): Path<String>,
) -> Result<Json<Value>, Problem> {
    withdraw(&app, &headers, Whose::Extension(named("extension", number)?)).await
}

/// `DELETE /orders/agents/{agent}`.
async fn withdraw_agent(
    State(app): State<App>,
    headers: HeaderMap,
    Path(agent): Path<String>,
) -> Result<Json<Value>, Problem> {
    withdraw(&app, &headers, Whose::Agent(named("agent", agent)?)).await
}

async fn withdraw(app: &App, headers: &HeaderMap, whose: Whose) -> Result<Json<Value>, Problem> {
    app.token(headers, Right::Requests)?;
    let withdrawn = app.ask(move |live| live.withdraw(whose)).await?;
    Ok(Json(json!({ "withdrawn": withdrawn })))
}

/// `POST /events`: one report or several (`docs/feed.md`).
async fn events(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Json<Value>, Problem> {
    let token = app.token(&headers, Right::Events)?;
    let source = format!("api {}", token.name());
    let told = app.ask(move |live| live.report(&body, &source)).await?;
    let told: Vec<Value> = told
        .iter()
        .map(|told| {
            json!({
                "running": told.running, "over": told.over, "waits": told.waits,
                "refused": told.refused.map(|refused| refused.to_string()),
            })
        })
        .collect();
    Ok(Json(json!({ "reports": told })))
}

/// What a client at a desk shows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Desk {
    /// Whose desk it is.
    extension: String,
    /// All headings, addresses and tab names.
    windows: Vec<String>,
}

/// `PUT /clients/{client}`: what is shown at a desk now, for rules on windows (`docs/pause.md`).
async fn windows(
    State(app): State<App>,
    headers: HeaderMap,
    Path(client): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let token = app.token(&headers, Right::Events)?;
    let client = format!("{} of {}", named("client", client)?, token.name());
    let Desk { extension, windows } = read(&body)?;
    let extension = named("extension", extension)?;
    app.ask(move |live| live.windows(client, extension, windows)).await?;
    Ok(Json(json!({ "taken": true })))
}

/// `DELETE /clients/{client}`: it is gone.
async fn client_gone(
    State(app): State<App>,
    headers: HeaderMap,
    Path(client): Path<String>,
) -> Result<Json<Value>, Problem> {
    let token = app.token(&headers, Right::Events)?;
    let client = format!("{} of {}", named("client", client)?, token.name());
    app.ask(move |live| live.client_gone(client)).await?;
    Ok(Json(json!({ "taken": true })))
}

/// A body of JSON.
fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::Wrong(format!("the body: {error}")))
}

/// Who asks: a person, by way of a program, or the program itself.
fn in_whose_name(token: &Token, by: Option<String>) -> Result<String, Problem> {
    Ok(match by {
        Some(by) => format!("{} by {}", named("by", by)?, token.name()),
        None => token.name().to_owned(),
    })
}

/// What a request may say beside its address.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    /// The person in whose name the program asks.
    by: Option<String>,
}

/// `POST /extensions/{number}/{ask}`.
async fn ask_extension(
    State(app): State<App>,
    headers: HeaderMap,
    Path((number, ask)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    request(&app, &headers, Whom::Extension(named("extension", number)?), &ask, &body).await
}

/// `POST /agents/{agent}/{ask}`.
async fn ask_agent(
    State(app): State<App>,
    headers: HeaderMap,
    Path((agent, ask)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    request(&app, &headers, Whom::Agent(named("agent", agent)?), &ask, &body).await
}

async fn request(
    app: &App,
    headers: &HeaderMap,
    whom: Whom,
    ask: &str,
    body: &[u8],
) -> Result<Json<Value>, Problem> {
    let token = app.token(headers, Right::Requests)?;
    let ask = Ask::ALL.into_iter().find(|one| one.key() == ask).ok_or(Problem::NoSuchPlace)?;
    let said = if body.trim_ascii().is_empty() { Said::default() } else { read::<Said>(body)? };
    let name = in_whose_name(&token, said.by)?;
    let request = Request { whom, ask, role: token.role(), name };
    let reply = app.ask(move |live| live.request(request)).await?;
    match reply {
        Reply { done: 0, already: 0, refused: 0, .. } => Err(Problem::NoSuchCall),
        Reply { done: 0, already: 0, why, .. } => {
            Err(Problem::Refused(why.unwrap_or("the recording mode does not allow it").to_owned()))
        }
        Reply { done, already, refused, .. } => {
            Ok(Json(json!({ "done": done, "already": already, "refused": refused })))
        }
    }
}

/// A number or a name from a program: not empty, not endless, no control characters.
fn named(what: &str, text: String) -> Result<String, Problem> {
    let length = text.chars().count();
    if !(1..=NAME_MAX).contains(&length) || text.chars().any(char::is_control) {
        return Err(Problem::Wrong(format!("{what}: 1 to {NAME_MAX} characters, and no control characters")));
    }
    Ok(text)
}
