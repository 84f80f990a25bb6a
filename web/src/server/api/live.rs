//! Running recordings as the token's account sees them, and what may be asked of one: what the pages Live and My calls do.

use axum::Json;
use axum::extract::{Path, State};
use policy::Permission;
use policy::gate::Reply;
use policy::modes::Ask;
use policy::modes::orders::Whose;
use serde_json::{Value, json};

use super::operation::{Id, Needs, Operation};
use super::problem::{Kind, Problem};
use super::recorder::{NAME_MAX, named, told_orders};
use super::schema::{list, maybe_moment, name, object, of, one_of, text, yes};
use crate::live::LiveCall;
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::live::status;
use crate::server::refusal::Refusal;
use crate::server::token::Right;

pub(super) fn operations() -> Vec<Operation> {
    let sees = |operation: Operation| {
        operation
            .right(Right::Recordings)
            .needs(Needs::Permission(Permission::LiveView))
            .or(&[Kind::NoRecorder])
    };
    let ends = |operation: Operation| {
        operation
            .right(Right::Requests)
            .needs(Needs::Permission(Permission::LiveView))
            .or(&[Kind::NoSuchPlace, Kind::Refused, Kind::NoRecorder, Kind::Unavailable])
            .gives(object([("withdrawn", yes("There was one that the account sees"))]))
    };
    vec![
        sees(Operation::get(["listLive", "/live", "The running recordings that the account sees"], all))
            .gives(object([
                ("at", maybe_moment("When this was so")),
                ("calls", list(of("LiveCall"))),
                ("waiting", list(of("WaitingCall"))),
            ])),
        sees(Operation::get(
            [
                "listLiveOrders",
                "/live/orders",
                "Orders for calls that the account sees, and how the last ones ended",
            ],
            orders,
        ))
        .or(&[Kind::Unavailable])
        .gives(object([("orders", list(of("Order"))), ("ended", list(of("EndedOrder")))])),
        ends(Operation::delete(
            [
                "endLiveExtensionOrder",
                "/live/orders/extensions/{number}",
                "Ends an extension's order, by the account's permissions",
            ],
            end_extension,
        ))
        .path("number", name("The extension's number", NAME_MAX)),
        ends(Operation::delete(
            [
                "endLiveAgentOrder",
                "/live/orders/agents/{agent}",
                "Ends an agent's order, by the account's permissions",
            ],
            end_agent,
        ))
        .path("agent", name("The agent's number", NAME_MAX)),
        Operation::post(
            [
                "askLiveExtension",
                "/live/extensions/{number}/{ask}",
                "Asks something of an extension's calls, recorded or not, by the account's permissions",
            ],
            ask_extension,
        )
        .right(Right::Requests)
        .needs(Needs::Permission(Permission::LiveView))
        .path("number", name("The extension's number", NAME_MAX))
        .path("ask", one_of("What is asked, as of a running recording", Ask::ALL.map(Ask::key)))
        .hides(Kind::NoSuchCall)
        .or(&[Kind::NoSuchPlace, Kind::Refused, Kind::NoRecorder, Kind::Unavailable])
        .gives(of("Reply")),
        sees(Operation::get(["getLive", "/live/{id}", "One running recording"], one))
            .path("id", text("The recording"))
            .hides(Kind::NoSuchCall)
            .gives(of("LiveCall")),
        Operation::post(
            [
                "askLive",
                "/live/{id}/{ask}",
                "Asks something of a running recording, by the account's permissions",
            ],
            ask,
        )
        .right(Right::Requests)
        .needs(Needs::Permission(Permission::LiveView))
        .path("id", text("The recording"))
        .path(
            "ask",
            one_of(
                "What is asked: to pause and resume takes Pause recordings, all else Control recordings",
                Ask::ALL.map(Ask::key),
            ),
        )
        .hides(Kind::NoSuchCall)
        .or(&[Kind::NoSuchPlace, Kind::Refused, Kind::NoRecorder, Kind::Unavailable])
        .gives(of("Reply")),
    ]
}

/// `GET /live`.
async fn all(State(app): State<App>, asker: Asker) -> Result<Json<Value>, Problem> {
    let status = status(&app, &asker)?;
    let calls: Vec<&LiveCall> = app.seen_live(&status, &asker).collect();
    let waiting: Vec<&LiveCall> = app.seen_waiting(&status, &asker).collect();
    Ok(Json(json!({ "at": status.at, "calls": calls, "waiting": waiting })))
}

/// `GET /live/orders`.
async fn orders(State(app): State<App>, asker: Asker) -> Result<Json<Value>, Problem> {
    // May they look at all?
    status(&app, &asker)?;
    let all = app.ask(|live| live.orders()).await?;
    Ok(Json(told_orders(app.seen_orders(&all, &asker))))
}

/// `DELETE /live/orders/extensions/{number}`.
async fn end_extension(
    State(app): State<App>,
    asker: Asker,
    Path(number): Path<String>,
) -> Result<Json<Value>, Problem> {
    end(&app, &asker, Whose::Extension(named("extension", number)?)).await
}

/// `DELETE /live/orders/agents/{agent}`.
async fn end_agent(
    State(app): State<App>,
    asker: Asker,
    Path(agent): Path<String>,
) -> Result<Json<Value>, Problem> {
    end(&app, &asker, Whose::Agent(named("agent", agent)?)).await
}

async fn end(app: &App, asker: &Asker, whose: Whose) -> Result<Json<Value>, Problem> {
    let withdrawn = app.end_order(asker, whose).await.map_err(|refusal| match refusal {
        // Without the permission, too.
        Refusal::NoPage => Problem::Nothing(Kind::NoSuchPlace),
        refusal => refusal.into(),
    })?;
    Ok(Json(json!({ "withdrawn": withdrawn })))
}

/// `POST /live/extensions/{number}/{ask}`.
async fn ask_extension(
    State(app): State<App>,
    asker: Asker,
    Path((number, ask)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let number = named("extension", number)?;
    let ask = Ask::ALL.into_iter().find(|one| one.key() == ask).ok_or(Problem::Nothing(Kind::NoSuchPlace))?;
    told_reply(app.control_extension(&asker, &number, ask).await)
}

/// `GET /live/{id}`.
async fn one(State(app): State<App>, asker: Asker, Id(id): Id) -> Result<Json<LiveCall>, Problem> {
    let status = status(&app, &asker)?;
    let call = app.seen_live(&status, &asker).find(|call| call.recording == Some(id));
    call.cloned().map(Json).ok_or(Problem::Nothing(Kind::NoSuchCall))
}

/// `POST /live/{id}/{ask}`.
async fn ask(
    State(app): State<App>,
    asker: Asker,
    Id(id): Id,
    Path((_, ask)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let ask = Ask::ALL.into_iter().find(|one| one.key() == ask).ok_or(Problem::Nothing(Kind::NoSuchPlace))?;
    told_reply(app.control(&asker, id, ask).await)
}

fn told_reply(reply: Result<Reply, Refusal>) -> Result<Json<Value>, Problem> {
    let reply = reply.map_err(|refusal| match refusal {
        // Without the permission, too.
        Refusal::NoPage => Problem::Nothing(Kind::NoSuchCall),
        refusal => refusal.into(),
    })?;
    Ok(Json(json!({ "done": reply.done, "already": reply.already, "refused": reply.refused })))
}
