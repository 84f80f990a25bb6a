//! Running recordings as the token's account sees them, and what may be asked of one: what the pages Live and My calls do.

use axum::Json;
use axum::extract::{Path, State};
use policy::Permission;
use policy::modes::Ask;
use serde_json::{Value, json};

use super::operation::{Id, Needs, Operation};
use super::problem::{Kind, Problem};
use super::schema::{list, maybe_moment, object, of, one_of, text};
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
    vec![
        sees(Operation::get(["listLive", "/live", "The running recordings that the account sees"], all))
            .gives(object([("at", maybe_moment("When this was so")), ("calls", list(of("LiveCall")))])),
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
    Ok(Json(json!({ "at": status.at, "calls": calls })))
}

/// `GET /live/{id}`.
async fn one(State(app): State<App>, asker: Asker, Id(id): Id) -> Result<Json<LiveCall>, Problem> {
    let status = status(&app, &asker)?;
    let call = app.seen_live(&status, &asker).find(|call| call.recording == id);
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
    let reply = app.control(&asker, id, ask).await.map_err(|refusal| match refusal {
        // Without the permission, too.
        Refusal::NoPage => Problem::Nothing(Kind::NoSuchCall),
        refusal => refusal.into(),
    })?;
    Ok(Json(json!({ "done": reply.done, "already": reply.already, "refused": reply.refused })))
}
