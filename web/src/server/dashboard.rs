//! `/dashboard`: is all well? One light for each part, with the words beside it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use decode::Timestamp;
use policy::Permission;
use serde::Serialize;
use serde_json::{Value, json};
use store::Space;

use super::App;
use super::caller::Asker;
use super::escape::brief;
use super::frame::{Frame, Page, page};
use super::recordings::columns::short_length;
use super::refusal::Refusal;
use crate::live::{FactSource, Port, Status};
use crate::metrics::Machine;
use crate::words;

/// A look at the machine; may take a moment.
pub type Look = Arc<dyn Fn() -> Machine + Send + Sync>;

/// A way in from which nothing has come for so long is worth a look.
const QUIET_MS: u64 = 60_000;
/// Free room, in percent, under which a drive is worth a look, and under which it needs one.
const ROOM_WARN: u64 = 20;
const ROOM_BAD: u64 = 5;

/// A light: `good`, `warn`, `bad` or `off` (requirement row DSH-05).
#[derive(Serialize)]
pub(super) struct Component {
    light: &'static str,
    name: String,
    state: &'static str,
    more: String,
}

#[derive(Serialize)]
pub(super) struct Drive {
    pub(super) name: String,
    pub(super) words: String,
    pub(super) used_percent: u64,
}

struct Tile {
    name: &'static str,
    figure: String,
    small: String,
    more: String,
}

#[derive(askama::Template)]
#[template(path = "dashboard.html")]
struct Dashboard {
    frame: Frame,
    host: String,
    up: String,
    tiles: Vec<Tile>,
    components: Vec<Component>,
    drives: Vec<Drive>,
    alarms: Vec<String>,
    has_alerts: bool,
    outcomes: Vec<(String, u64)>,
}

/// `GET /dashboard`.
pub(super) async fn dashboard(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    asker.need(Permission::Dashboard)?;
    let status = app.live().map_err(|_| Refusal::NoRecorder)?.status();
    let (machine, now) = (look(&app).await?, app.now());
    let alarms = machine.as_ref().map_or(&[][..], |machine| &machine.alarms);
    page(&Dashboard {
        frame: app.frame(&asker, Page::Dashboard, "Dashboard"),
        host: app.reached().host(),
        up: status.since.map_or(String::new(), |since| short_length(now.millis_since(since))),
        tiles: tiles(&status),
        components: components(&status, machine.as_ref(), now),
        drives: machine.as_ref().map_or(Vec::new(), |machine| machine.drives.iter().map(drive).collect()),
        alarms: alarms.iter().map(|alarm| alarm.replace('_', " ")).collect(),
        has_alerts: app.alerts().is_ok(),
        outcomes: status.outcomes.iter().map(|(key, count)| (key.replace('_', " "), *count)).collect(),
    })
}

/// The machine as it is now, where it can be looked at.
pub(super) async fn look(app: &App) -> Result<Option<Machine>, Refusal> {
    let Some(look) = app.machine().cloned() else { return Ok(None) };
    tokio::task::spawn_blocking(move || look()).await.map(Some).map_err(|_| Refusal::BrokeOff)
}

fn tiles(status: &Status) -> Vec<Tile> {
    let paused = status.calls.iter().filter(|call| call.is_paused()).count();
    let recorded: u64 =
        status.outcomes.iter().filter(|(key, _)| *key == "recorded").map(|(_, count)| count).sum();
    let seen: u64 = status.outcomes.iter().map(|(_, count)| count).sum();
    let counters = &status.counters;
    vec![
        Tile {
            name: "Recording now",
            figure: status.calls.len().to_string(),
            small: status.channels.map_or(String::new(), |channels| {
                format!("{} of {channels} channels", status.channels_in_use)
            }),
            more: if paused > 0 { format!("{paused} paused") } else { String::new() },
        },
        Tile {
            name: "Recorded since the start",
            figure: recorded.to_string(),
            small: format!("of {seen} calls that ended"),
            more: String::new(),
        },
        Tile {
            name: "Packets lost by this recorder",
            figure: status.dropped().to_string(),
            small: format!("of {}", counters.packets_seen),
            more: format!(
                "kernel {}, ring {}",
                counters.packets_dropped_kernel, counters.packets_dropped_ring
            ),
        },
    ]
}

/// How all of it does, as programs are told.
#[must_use]
pub fn health(status: &Status, machine: Option<&Machine>, now: Timestamp) -> Value {
    let drives: Vec<Drive> = machine.map_or(Vec::new(), |machine| machine.drives.iter().map(drive).collect());
    let alarms = machine.map_or(&[][..], |machine| &machine.alarms);
    json!({
        "since": status.since, "components": components(status, machine, now), "drives": drives, "alarms": alarms,
    })
}

fn components(status: &Status, machine: Option<&Machine>, now: Timestamp) -> Vec<Component> {
    let mut components: Vec<Component> = status.ports.iter().map(|port| way_in(port, now)).collect();
    components.extend(status.facts.iter().map(|source| facts_from(source, now)));
    components.push(match &status.failure {
        Some(failure) => Component {
            light: "bad",
            name: "Archive".into(),
            state: "does not record",
            more: brief(failure).into_owned(),
        },
        None => Component {
            light: "good",
            name: "Archive".into(),
            state: "takes what is recorded",
            more: String::new(),
        },
    });
    if let Some(space) = machine.and_then(|machine| machine.space) {
        components.push(Component {
            light: light_of(space),
            name: "Room for recordings".into(),
            state: if light_of(space) == "good" { "enough" } else { "little" },
            more: format!("{} free, {} %", words::size(space.free), space.percent()),
        });
    }
    components.push(match &status.record_a_call {
        Some(_) => Component {
            light: "good",
            name: "Record-A-Call".into(),
            state: "takes calls",
            more: String::new(),
        },
        None => {
            Component { light: "off", name: "Record-A-Call".into(), state: "not set up", more: String::new() }
        }
    });
    components.push(match machine.and_then(|machine| machine.canary) {
        None => {
            Component { light: "off", name: "Canary call".into(), state: "not set up", more: String::new() }
        }
        Some(canary) => Component {
            light: if canary.failures > 0 { "warn" } else { "good" },
            name: "Canary call".into(),
            state: if canary.failures > 0 { "was not always heard" } else { "is heard" },
            more: format!("{} made, {} not heard", canary.calls, canary.failures),
        },
    });
    components
}

fn way_in(port: &Port, now: Timestamp) -> Component {
    let quiet = port.last_frame.map(|last| now.millis_since(last)).filter(|ms| *ms > QUIET_MS);
    let (light, state) = match (port.up, quiet, port.last_frame) {
        (false, ..) => ("bad", "is not there"),
        (true, None, None) => ("warn", "nothing has come yet"),
        (true, Some(_), _) => ("warn", "is quiet"),
        (true, None, Some(_)) if port.dropped_kernel + port.dropped_interface + port.dropped_ring > 0 => {
            ("warn", "has lost packets")
        }
        (true, None, Some(_)) => ("good", "running"),
    };
    let dropped =
        port.dropped_kernel.saturating_add(port.dropped_interface).saturating_add(port.dropped_ring);
    let last = quiet.map_or(String::new(), |ms| format!(", the last one {} ago", short_length(ms)));
    Component {
        light,
        name: format!("Capture {}", brief(&port.name)),
        state,
        more: format!("{} packets, {dropped} dropped{last}", port.frames),
    }
}

fn facts_from(source: &FactSource, now: Timestamp) -> Component {
    let ago = |at: Timestamp| short_length(now.millis_since(at));
    let (light, state) = match (source.stale_since, source.last_heard) {
        (Some(_), _) => ("bad", "are stale"),
        (None, None) => ("off", "have not come yet"),
        (None, Some(_)) => ("good", "are told"),
    };
    let there = if source.up { "connected" } else { "not connected" };
    let heard = source.last_heard.map_or(String::new(), |at| format!(", heard {} ago", ago(at)));
    let stale = source.stale_since.map_or(String::new(), |since| format!(", stale for {}", ago(since)));
    Component {
        light,
        name: format!("Facts from {}", brief(&source.name)),
        state,
        more: format!("{there}{heard}{stale}"),
    }
}

fn light_of(space: Space) -> &'static str {
    match space.percent() {
        percent if percent < ROOM_BAD => "bad",
        percent if percent < ROOM_WARN => "warn",
        _ => "good",
    }
}

pub(super) fn drive((name, space, full_in_h): &(String, Space, Option<u64>)) -> Drive {
    let used = space.total.saturating_sub(space.free);
    let full = match full_in_h {
        Some(hours) if *hours >= 48 => format!(", full in {} days at this rate", hours / 24),
        Some(hours) => format!(", full in {hours} hours at this rate"),
        None => String::new(),
    };
    Drive {
        name: brief(name).into_owned(),
        words: format!("{} of {} used{full}", words::size(used), words::size(space.total)),
        used_percent: 100 - space.percent().min(100),
    }
}
