//! `/mine`: the own calls of somebody who speaks, with one big button that pauses.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use decode::Timestamp;
use policy::modes::{Ask, Role};
use policy::{Caller, Permission};
use store::{Event, Field, RecordingId, What};

use super::App;
use super::caller::Asker;
use super::escape::brief;
use super::form::Form;
use super::frame::{Frame, Page, page};
use super::recordings::columns::{short_length, way_of};
use super::refusal::Refusal;
use super::save::check_tag;
use super::zone::{Moment, Range};
use crate::live::{LiveCall, Status};
use crate::numbers;

/// Earlier calls on the page.
const EARLIER_MAX: usize = 50;

struct Now {
    id: RecordingId,
    other: String,
    way: &'static str,
    since: Moment,
    is_paused: bool,
    is_stopped: bool,
    paused_by: String,
    /// When the pause ends by itself, and the server's time when it says so.
    ends: Option<(Moment, Moment)>,
}

struct Earlier {
    id: RecordingId,
    at: Moment,
    icon: &'static str,
    way: &'static str,
    other: String,
    length: String,
}

#[derive(askama::Template)]
#[template(path = "mine.html")]
struct Mine {
    frame: Frame,
    calls: Vec<Now>,
    may_pause: bool,
    may_change: bool,
    may_play: bool,
    earlier: Vec<Earlier>,
}

/// The running calls that are somebody's own.
fn own<'s>(status: &'s Status, caller: &'s Caller) -> impl Iterator<Item = &'s LiveCall> {
    let person = caller.person().map(str::to_owned);
    status
        .calls
        .iter()
        .filter(move |call| person.is_some() && call.who.user == person && caller.admits(*call))
}

/// `GET /mine`.
pub(super) async fn mine(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    let person = asker.caller.person().ok_or(Refusal::NoPage)?.to_owned();
    let status = app.live().map_err(|_| Refusal::NoRecorder)?.status();
    let calls = own(&status, &asker.caller)
        .filter_map(|call| {
            Some(Now {
                id: call.recording?,
                other: brief(&numbers::shown(call.other())).into_owned(),
                way: way_of(call.direction).1,
                since: app.zone().moment(call.started),
                is_paused: call.is_paused(),
                is_stopped: call.stopped,
                paused_by: brief(&call.paused_by.join(", ")).into_owned(),
                ends: call.pause_ends.map(|at| (app.zone().moment(at), app.zone().moment(app.now()))),
            })
        })
        .collect();
    let earlier =
        if asker.sees_recordings() { earlier(&app, &asker, &person, app.now()).await? } else { Vec::new() };
    page(&Mine {
        frame: app.frame(&asker, Page::Mine, "My calls"),
        calls,
        may_pause: asker.caller.may(Permission::Pause),
        may_change: asker.caller.may(Permission::ModifyDetails),
        may_play: asker.caller.may(Permission::Play),
        earlier,
    })
}

async fn earlier(app: &App, asker: &Asker, person: &str, now: Timestamp) -> Result<Vec<Earlier>, Refusal> {
    let mut query = store::Query::default();
    query.seen_by = Some(asker.caller.clone());
    (query.since, query.until) = Range::Today.bounds(now, app.zone());
    query.limit = Some(EARLIER_MAX);
    // Signs of the filters' grammar mean themselves nowhere: a person whose id has one is found by the pages of recordings.
    query.filter(Field::User, person).map_err(|_| Refusal::NoPage)?;
    super::recordings::search::leave_running_out(&mut query);
    let rows = app.read(move |archive| Ok(archive.search(&query).collect::<Result<Vec<_>, _>>()?)).await?;
    let earlier = rows.iter().map(|row| {
        let (icon, way) = way_of(row.facts.direction);
        Earlier {
            id: row.facts.id,
            at: app.zone().moment(row.facts.started),
            icon,
            way,
            other: brief(&numbers::shown(numbers::other_party(&row.facts))).into_owned(),
            length: short_length(row.facts.duration_ms),
        }
    });
    Ok(earlier.collect())
}

/// `POST /mine/{recording}`: pause, resume, a tag, or a note at this moment.
pub(super) async fn ask(
    State(app): State<App>,
    asker: Asker,
    axum::extract::Path(id): axum::extract::Path<String>,
    form: Form,
) -> Result<Response, Refusal> {
    let id: RecordingId = id.parse().map_err(|_| Refusal::NoPage)?;
    let status = app.live().map_err(|_| Refusal::NoRecorder)?.status();
    let call =
        own(&status, &asker.caller).find(|call| call.recording == Some(id)).ok_or(Refusal::NoSuchCall)?;
    let ask = match form.text("do") {
        "pause" => Ask::Pause,
        "resume" => Ask::Resume,
        "note" => return note(&app, &asker, call, id, form.text("note")).await,
        "tag" => return tag(&app, &asker, id, form.text("tag")).await,
        _ => return Err(Refusal::WrongQuery),
    };
    asker.need(Permission::Pause)?;
    let reply = app.control_call(&asker, &status, call, ask, Role::Agent).await?;
    super::live::without_effect(call, ask, &reply)?;
    Ok(Redirect::to("/mine").into_response())
}

async fn note(
    app: &App,
    asker: &Asker,
    call: &LiveCall,
    id: RecordingId,
    text: &str,
) -> Result<Response, Refusal> {
    asker.need(Permission::ModifyDetails)?;
    if text.is_empty() {
        return Err(Refusal::Wrong("A note needs some text.".to_owned()));
    }
    let at_ms = Some(app.now().millis_since(call.started));
    put(app, asker, What::Noted { id, text: text.to_owned(), at_ms }).await
}

async fn tag(app: &App, asker: &Asker, id: RecordingId, tag: &str) -> Result<Response, Refusal> {
    asker.need(Permission::ModifyDetails)?;
    check_tag(tag)?;
    put(app, asker, What::Tagged { id, tag: tag.to_owned() }).await
}

async fn put(app: &App, asker: &Asker, what: What) -> Result<Response, Refusal> {
    let event = Event { at: app.now(), who: asker.caller.name().to_owned(), what };
    app.read(move |archive| Ok(archive.edit(event)?)).await?;
    Ok(Redirect::to("/mine").into_response())
}
