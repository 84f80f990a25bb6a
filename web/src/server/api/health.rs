//! Is all well? The lights of the dashboard, for programs.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::operation::Operation;
use super::problem::{Kind, Problem};
use super::schema::{list, maybe_moment, object, one_of, text, up_to};
use crate::server::App;
use crate::server::dashboard::{health as health_of, look};
use crate::server::token::Right;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(
            ["getHealth", "/health", "A light for each part of the recorder, its drives, its alarms"],
            health,
        )
        .right(Right::Status)
        .or(&[Kind::NoRecorder, Kind::Failed])
        .gives(object([
            ("since", maybe_moment("When the recorder was started")),
            (
                "components",
                list(object([
                    ("light", one_of("How it is", ["good", "warn", "bad", "off"])),
                    ("name", text("Which part")),
                    ("state", text("The same in words")),
                    ("more", text("What else there is to say; may be empty")),
                ])),
            ),
            (
                "drives",
                list(object([
                    ("name", text("Which drive")),
                    ("words", text("How full it is")),
                    ("used_percent", up_to("How much of it is used", 0, 100)),
                ])),
            ),
            ("alarms", list(text("A condition that needs somebody's attention"))),
        ])),
    ]
}

/// `GET /health`.
async fn health(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let status = app.live()?.status();
    let machine = look(&app).await?;
    Ok(Json(health_of(&status, machine.as_ref(), app.now())))
}
