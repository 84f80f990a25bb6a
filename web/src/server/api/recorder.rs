//! What the recorder is doing, what is asked of an extension's or an agent's calls, and what other systems say of calls.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use policy::feed::{BATCH_MAX, NAME_LEN_MAX};
use policy::gate::{Reply, Request, Whom};
use policy::modes::orders::Whose;
use policy::modes::{Ask, Mode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::operation::{Operation, Program};
use super::problem::{Kind, Problem};
use super::read;
use super::schema::{
    count, list, list_up_to, maybe_moment, maybe_name, maybe_text, moment, name, object, of, one_of, open,
    text, yes,
};
use crate::live::{LiveCall, LiveOrder, Status};
use crate::server::App;
pub(super) use crate::server::orders::NAME_MAX;
use crate::server::orders::{lasting_of, named as of_whom, wrong_name};
use crate::server::token::{Right, Token};

/// Windows of a desk; the recorder has its own limits of their texts.
const WINDOWS_MAX: usize = 1_000;

/// The operations on what runs.
pub(super) fn operations() -> Vec<Operation> {
    let number = || name("The extension's number", NAME_MAX);
    let agent = || name("The agent's number", NAME_MAX);
    let ask = || one_of("What is asked", Ask::ALL.map(Ask::key));
    let by = || object([("by?", maybe_name("The person in whose name the program asks", NAME_MAX))]);
    let order = || {
        let what = one_of("What holds for all calls from now on", ["start", "stop", "pause"]);
        object([
            ("order", what),
            ("by?", maybe_name("The person in whose name the program gives it", NAME_MAX)),
        ])
    };
    let given = || object([("order", one_of("What holds now", ["start", "stop", "pause"]))]);
    let withdrawn = || object([("withdrawn", yes("There was one"))]);
    let taken = || object([("taken", yes("It counts from now on"))]);
    let asked =
        |operation: Operation| operation.right(Right::Requests).or(&[Kind::NoRecorder, Kind::Unavailable]);
    let said =
        |operation: Operation| operation.right(Right::Events).or(&[Kind::NoRecorder, Kind::Unavailable]);
    let look = |operation: Operation| operation.right(Right::Status).or(&[Kind::NoRecorder]);
    vec![
        look(Operation::get(["getStatus", "/status", "Counters, ways in, channels, outcomes"], status))
            .gives(of("Status")),
        look(Operation::get(["listCalls", "/calls", "The recordings that run"], calls)).gives(object([
            ("at", maybe_moment("When this was so")),
            ("calls", list(of("LiveCall"))),
            ("waiting", list(of("WaitingCall"))),
        ])),
        look(Operation::get(
            ["getExtension", "/extensions/{number}", "Is an extension on a call, and is it being recorded?"],
            extension,
        ))
        .path("number", number())
        .gives(object([
            ("at", maybe_moment("When this was so")),
            ("extension", text("Its number")),
            ("state", one_of("What it does", EXTENSION_STATES)),
            ("calls", list(of("LiveCall"))),
            ("waiting", list(of("WaitingCall"))),
        ])),
        look(Operation::get(
            ["listOrders", "/orders", "What holds for all calls of an agent or an extension"],
            orders,
        ))
        .or(&[Kind::Unavailable])
        .gives(object([("orders", list(of("Order"))), ("ended", list(of("EndedOrder")))])),
        asked(Operation::put(
            ["orderExtension", "/orders/extensions/{number}", "An order for all calls of an extension"],
            order_extension,
        ))
        .path("number", number())
        .takes(order())
        .or(&[Kind::Full])
        .gives(given()),
        asked(Operation::delete(
            ["withdrawExtensionOrder", "/orders/extensions/{number}", "Takes an extension's order back"],
            withdraw_extension,
        ))
        .path("number", number())
        .gives(withdrawn()),
        asked(Operation::put(
            [
                "orderAgent",
                "/orders/agents/{agent}",
                "An order for all calls of an agent, until the agent logs off",
            ],
            order_agent,
        ))
        .path("agent", agent())
        .takes(order())
        .or(&[Kind::Full])
        .gives(given()),
        asked(Operation::delete(
            ["withdrawAgentOrder", "/orders/agents/{agent}", "Takes an agent's order back"],
            withdraw_agent,
        ))
        .path("agent", agent())
        .gives(withdrawn()),
        asked(Operation::post(
            [
                "askExtension",
                "/extensions/{number}/{ask}",
                "Asks something of all running calls of an extension",
            ],
            ask_extension,
        ))
        .path("number", number())
        .path("ask", ask())
        .may_take(by())
        .or(&[Kind::NoSuchPlace, Kind::NoSuchCall, Kind::Refused])
        .gives(of("Reply")),
        asked(Operation::post(
            ["askAgent", "/agents/{agent}/{ask}", "Asks something of all running calls of an agent"],
            ask_agent,
        ))
        .path("agent", agent())
        .path("ask", ask())
        .may_take(by())
        .or(&[Kind::NoSuchPlace, Kind::NoSuchCall, Kind::Refused])
        .gives(of("Reply")),
        said(Operation::post(
            ["reportEvents", "/events", "Facts of calls: one report, or up to 100 (docs/feed.md)"],
            events,
        ))
        .takes(json!({ "anyOf": [of("Report"), list_up_to(of("Report"), 1, BATCH_MAX)] }))
        .adds()
        .or(&[Kind::Full])
        .gives(object([("reports", list(of("Told")))])),
        said(Operation::put(
            ["putClient", "/clients/{client}", "What a desk shows now, for rules that pause (docs/pause.md)"],
            windows,
        ))
        .path("client", name("The desk's name", NAME_MAX))
        .takes(object([
            ("extension", name("Whose desk it is", NAME_MAX)),
            ("windows", list_up_to(text("A heading, an address or a tab's name"), 0, WINDOWS_MAX)),
        ]))
        .or(&[Kind::Full])
        .gives(taken()),
        said(Operation::delete(["removeClient", "/clients/{client}", "A desk is gone"], client_gone))
            .path("client", name("The desk's name", NAME_MAX))
            .gives(taken()),
    ]
}

/// What they give.
pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    vec![
        (
            "Status",
            open([
                ("at", maybe_moment("When this was so; none before the first look")),
                ("since", maybe_moment("When the recorder was started")),
                ("calls", count("Recordings that run")),
                ("waiting", count("Calls of which nothing is recorded although the rules want them")),
                (
                    "outcomes",
                    json!({ "type": "object", "additionalProperties": count("Calls that ended so") }),
                ),
                ("counters", json!({ "type": "object", "additionalProperties": count("What was counted") })),
                ("ports", list(json!({ "type": "object", "description": "A way in" }))),
                (
                    "facts",
                    list(open([
                        (
                            "name",
                            text("A system that says facts of calls: the feed's name for it, or an address"),
                        ),
                        ("up", yes("It is connected")),
                        ("last_heard?", moment("When it was last heard")),
                        ("stale_since?", moment("What it has said may not be so any more: since when")),
                    ])),
                ),
                ("channels_in_use", count("Channels in use")),
                ("channels?", count("Channels there are; not there without a limit")),
                ("failure?", text("The archive does not take what is recorded: why")),
            ]),
        ),
        (
            "WaitingCall",
            open([
                ("call", text("The call")),
                ("extension", text("The extension that has it")),
                ("other_party", text("The other side's number")),
                (
                    "direction",
                    one_of("Which way the call goes", ["inbound", "outbound", "internal", "unknown"]),
                ),
                ("started", moment("When its audio began")),
                (
                    "no_channel",
                    yes("No channel was free; else nobody has asked for it, or an order stops it"),
                ),
                ("mode", one_of("Its recording mode", Mode::ALL.map(Mode::key))),
            ]),
        ),
        (
            "LiveCall",
            open([
                ("recording", text("The recording that runs")),
                ("call", text("The call")),
                ("segment", count("Which segment of it, from 1")),
                ("extension", text("The recorded extension")),
                ("other_party", text("The other side's number")),
                (
                    "direction",
                    one_of("Which way the call goes", ["inbound", "outbound", "internal", "unknown"]),
                ),
                ("started", moment("When the recording began")),
                ("paused_since?", moment("Nothing is kept at this moment: since when")),
                ("paused_by?", list(text("Who or what holds the pause"))),
                ("stopped", yes("Nothing is kept because it was stopped, and not because of a pause")),
                ("pause_forgotten", yes("The pause has lasted so long that it may have been forgotten")),
                ("pause_ends?", moment("When the pause ends by itself, where the rules have it end")),
                (
                    "stale?",
                    list(text("A fact of it that may not be so any more: who has said it is not heard")),
                ),
                ("mode", one_of("Its recording mode", Mode::ALL.map(Mode::key))),
                ("taking", yes("Its mode takes what is said, as far as nothing holds it")),
                ("keep", yes("It is kept at its end")),
            ]),
        ),
        (
            "Order",
            object([
                ("agent?", text("Whose calls")),
                ("extension?", text("Whose calls")),
                ("order", one_of("What holds", ["start", "stop", "pause"])),
                ("by", text("Who gave it")),
                ("at", moment("Since when")),
            ]),
        ),
        (
            "EndedOrder",
            object([
                ("agent?", text("Whose calls")),
                ("extension?", text("Whose calls")),
                ("order", one_of("What held", ["start", "stop", "pause"])),
                ("by", text("Who gave it")),
                ("at", moment("Since when")),
                ("ended", moment("Until when")),
                ("how", text("How it ended, in words")),
            ]),
        ),
        (
            "Reply",
            object([
                ("done", count("Recordings that changed")),
                ("already", count("Those that were so already")),
                ("refused", count("Those that may not")),
            ]),
        ),
        ("Report", report()),
        (
            "Told",
            object([
                ("running", count("Running calls that it is about")),
                ("over", count("Calls that are over")),
                ("waits", yes("It waits for its call")),
                ("refused", maybe_text("Why it is not taken")),
            ]),
        ),
    ]
}

/// What can be said of a call; `docs/feed.md` says how it is meant.
fn report() -> Value {
    let fact =
        |about: &str| json!({ "type": ["string", "null"], "maxLength": NAME_LEN_MAX, "description": about });
    let tags = |about: &str| json!({ "anyOf": [text(about), list(text(about))] });
    object([
        ("call_id?", fact("The SIP Call-ID of any leg of the call")),
        ("extension?", fact("The extension whose call is meant")),
        ("agent?", fact("The agent whose call is meant; beside one of these, who sat there")),
        ("at?", maybe_moment("When it was so; without it, when the report came")),
        ("account_code?", fact("Digits that charge the call")),
        ("business_unit?", fact("The unit that it counts for")),
        ("contact?", fact("Whose the outside number is")),
        ("ddi?", fact("The number that was dialled from outside")),
        ("ddi_name?", fact("What the telephone system calls that number")),
        ("direction?", one_of("Which way the call goes", ["inbound", "outbound", "internal", "unknown"])),
        ("hunt_group?", fact("The group that the call came through")),
        ("outside_number?", fact("The number outside")),
        ("tag?", tags("A tag, or several")),
        ("transferred_from?", fact("The extension that passed the call on")),
        ("trunk?", fact("The line to the public network")),
        ("untag?", tags("A tag, or several, to be taken off")),
        ("tag1?", fact("What stands in the first of the five fields")),
        ("tag2?", fact("In the second")),
        ("tag3?", fact("In the third")),
        ("tag4?", fact("In the fourth")),
        ("tag5?", fact("In the fifth")),
        ("event?", one_of("What happened", ["logon", "logoff", "established", "cleared"])),
        ("uri?", fact("Where a conversation can be heard")),
    ])
}

/// `GET /status`: counters, ways in, channels.
async fn status(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let status = app.live()?.status();
    let mut value = serde_json::to_value(&*status).map_err(|error| Problem::Wrong(error.to_string()))?;
    // Calls have an address of their own.
    value["calls"] = json!(status.calls.len());
    value["waiting"] = json!(status.waiting.len());
    value["outcomes"] = status.outcomes.iter().map(|&(key, n)| (key.to_owned(), json!(n))).collect();
    Ok(Json(value))
}

/// `GET /calls`: the recordings that run.
async fn calls(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let status = app.live()?.status();
    Ok(Json(json!({ "at": status.at, "calls": status.calls, "waiting": status.waiting })))
}

/// `GET /extensions/{number}`: is it being recorded?
async fn extension(State(app): State<App>, Path(number): Path<String>) -> Result<Json<Value>, Problem> {
    let number = named("extension", number)?;
    let status = app.live()?.status();
    Ok(Json(told_extension(&status, &number)))
}

/// What an extension can be doing.
pub(super) const EXTENSION_STATES: [&str; 4] = ["idle", "not_recorded", "recording", "paused"];

pub(super) fn told_extension(status: &Status, number: &str) -> Value {
    let of = |calls: &'_ [LiveCall]| -> Vec<Value> {
        calls.iter().filter(|call| call.extension == number).map(|call| json!(call)).collect()
    };
    let recorded: Vec<&LiveCall> = status.calls.iter().filter(|call| call.extension == number).collect();
    let state = match &recorded[..] {
        [] if status.speaking.contains(number) => "not_recorded",
        [] => "idle",
        calls if calls.iter().all(|call| call.paused_since.is_some()) => "paused",
        _ => "recording",
    };
    json!({
        "at": status.at, "extension": number, "state": state, "calls": of(&status.calls),
        "waiting": of(&status.waiting),
    })
}

/// `GET /orders`: what holds for all calls of an agent or an extension.
async fn orders(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let orders = app.ask(|live| live.orders()).await?;
    Ok(Json(told_orders(orders.iter())))
}

/// Those that stand, and those that have ended.
pub(super) fn told_orders<'o>(orders: impl Iterator<Item = &'o LiveOrder>) -> Value {
    let (mut standing, mut ended) = (Vec::new(), Vec::new());
    for LiveOrder { whose, order, end, .. } in orders {
        let (kind, number) = of_whom(whose);
        let (what, by, at) = (order.what.ask(), &order.name, order.at);
        match end {
            None => standing.push(json!({ kind: number, "order": what, "by": by, "at": at })),
            Some((how, until)) => ended
                .push(json!({ kind: number, "order": what, "by": by, "at": at, "ended": until, "how": how })),
        }
    }
    json!({ "orders": standing, "ended": ended })
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
    Program(token): Program,
    Path(number): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    order(&app, &token, Whose::Extension(named("extension", number)?), &body).await
}

/// `PUT /orders/agents/{agent}`.
async fn order_agent(
    State(app): State<App>,
    Program(token): Program,
    Path(agent): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    order(&app, &token, Whose::Agent(named("agent", agent)?), &body).await
}

async fn order(app: &App, token: &Token, whose: Whose, body: &[u8]) -> Result<Json<Value>, Problem> {
    let Given { order, by } = read(body)?;
    let lasting = lasting_of(order.key());
    let lasting = lasting.ok_or_else(|| Problem::Wrong("order: start, stop or pause".into()))?;
    let (role, name) = (token.role(), in_whose_name(token, by)?);
    app.ask(move |live| live.order(whose, lasting, role, name)).await?;
    Ok(Json(json!({ "order": order })))
}

/// `DELETE /orders/extensions/{number}`.
async fn withdraw_extension(
    State(app): State<App>,
    Program(token): Program,
    Path(number): Path<String>,
) -> Result<Json<Value>, Problem> {
    withdraw(&app, &token, Whose::Extension(named("extension", number)?)).await
}

/// `DELETE /orders/agents/{agent}`.
async fn withdraw_agent(
    State(app): State<App>,
    Program(token): Program,
    Path(agent): Path<String>,
) -> Result<Json<Value>, Problem> {
    withdraw(&app, &token, Whose::Agent(named("agent", agent)?)).await
}

async fn withdraw(app: &App, token: &Token, whose: Whose) -> Result<Json<Value>, Problem> {
    let by = token.name().to_owned();
    let withdrawn = app.ask(move |live| live.withdraw(whose, by)).await?;
    Ok(Json(json!({ "withdrawn": withdrawn })))
}

/// `POST /events`: one report or several (`docs/feed.md`).
async fn events(
    State(app): State<App>,
    Program(token): Program,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
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
    Program(token): Program,
    Path(client): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let client = format!("{} of {}", named("client", client)?, token.name());
    let Desk { extension, windows } = read(&body)?;
    let extension = named("extension", extension)?;
    app.ask(move |live| live.windows(client, extension, windows)).await?;
    Ok(Json(json!({ "taken": true })))
}

/// `DELETE /clients/{client}`: it is gone.
async fn client_gone(
    State(app): State<App>,
    Program(token): Program,
    Path(client): Path<String>,
) -> Result<Json<Value>, Problem> {
    let client = format!("{} of {}", named("client", client)?, token.name());
    app.ask(move |live| live.client_gone(client)).await?;
    Ok(Json(json!({ "taken": true })))
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
    Program(token): Program,
    Path((number, ask)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    request(&app, &token, Whom::Extension(named("extension", number)?), &ask, &body).await
}

/// `POST /agents/{agent}/{ask}`.
async fn ask_agent(
    State(app): State<App>,
    Program(token): Program,
    Path((agent, ask)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    request(&app, &token, Whom::Agent(named("agent", agent)?), &ask, &body).await
}

async fn request(
    app: &App,
    token: &Token,
    whom: Whom,
    ask: &str,
    body: &[u8],
) -> Result<Json<Value>, Problem> {
    let ask = Ask::ALL.into_iter().find(|one| one.key() == ask).ok_or(Problem::Nothing(Kind::NoSuchPlace))?;
    let said = if body.trim_ascii().is_empty() { Said::default() } else { read::<Said>(body)? };
    let name = in_whose_name(token, said.by)?;
    let request = Request { whom, ask, role: token.role(), name };
    let reply = app.ask(move |live| live.request(request)).await?;
    match reply {
        Reply { done: 0, already: 0, refused: 0, .. } => Err(Problem::Nothing(Kind::NoSuchCall)),
        Reply { done: 0, already: 0, why, .. } => {
            Err(Problem::Refused(why.unwrap_or("the recording mode does not allow it").to_owned()))
        }
        Reply { done, already, refused, .. } => {
            Ok(Json(json!({ "done": done, "already": already, "refused": refused })))
        }
    }
}

/// A number or a name from a program: not empty, not endless, no control characters.
pub(super) fn named(what: &str, text: String) -> Result<String, Problem> {
    match wrong_name(what, &text) {
        Some(why) => Err(Problem::Wrong(why)),
        None => Ok(text),
    }
}
