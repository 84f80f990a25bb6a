//! `/units`: the business units that recordings can be asked for by.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::operation::{Needs, Operation};
use super::schema::{count, list, object, open, text};
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::recordings::units::seen;
use crate::server::token::Right;

pub(super) fn operations() -> Vec<Operation> {
    let unit = open([("name", text("Its name")), ("level", count("How many of these stand above it"))]);
    vec![
        Operation::get(["listUnits", "/units", "The business units whose calls the account may see"], all)
            .right(Right::Recordings)
            .needs(Needs::Account)
            .gives(object([("units", list(unit))])),
    ]
}

/// `GET /units`: each behind the one above it.
async fn all(State(app): State<App>, asker: Asker) -> Json<Value> {
    let units = seen(app.archive(), &asker);
    let units: Vec<Value> =
        units.iter().map(|unit| json!({ "name": unit.name, "level": unit.level })).collect();
    Json(json!({ "units": units }))
}
