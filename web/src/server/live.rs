//! `/live`: the calls that are being recorded now, and what may be asked of them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Redirect, Response};
use decode::Timestamp;
use futures_core::Stream;
use policy::Permission;
use policy::gate::{Reply, Request, Whom};
use policy::modes::{Ask, Mode, Role};
use store::RecordingId;

use super::App;
use super::caller::Asker;
use super::escape::brief;
use super::form::Form;
use super::frame::{Frame, Page, page, page_with};
use super::orders::{OrderForm, OrderRow};
use super::recordings::columns::{short_length, way_of};
use super::refusal::Refusal;
use super::zone::Moment;
use crate::live::{FactSource, LiveCall, Status};
use crate::numbers;
use crate::words;

/// How often browsers hear of what has changed.
const EVERY: Duration = Duration::from_secs(1);

struct Row {
    /// None of a call of which nothing is recorded.
    id: Option<RecordingId>,
    is_paused: bool,
    is_stopped: bool,
    /// What its mode lets this person ask of it now, beside a pause.
    offers: Vec<Offer>,
    note: String,
    since: Moment,
    running: String,
    icon: &'static str,
    way: &'static str,
    /// The extension's number to the letter, as a form sends it.
    number: String,
    extension: String,
    extension_name: String,
    other: String,
    title: String,
    agent: String,
    /// It may not be so any more: who has said it is not heard.
    is_agent_stale: bool,
}

/// A button.
struct Offer {
    word: &'static str,
    label: &'static str,
    icon: &'static str,
}

/// The rows alone, as events carry them.
#[derive(Template)]
#[template(path = "live_rows.html")]
struct Rows {
    /// Systems whose facts are stale, in words.
    stale: Vec<String>,
    rows: Vec<Row>,
    may_listen: bool,
    may_pause: bool,
}

#[derive(Template)]
#[template(path = "live.html")]
struct Shown {
    frame: Frame,
    stale: Vec<String>,
    orders: Vec<OrderRow>,
    /// For who may give one.
    order_form: Option<OrderForm>,
    rows: Vec<Row>,
    may_listen: bool,
    may_pause: bool,
    failure: String,
    channels: String,
}

#[derive(Template)]
#[template(path = "live_call.html")]
struct One {
    frame: Frame,
    id: RecordingId,
    row: Row,
    may_play: bool,
    may_listen: bool,
    position_ms: u64,
}

impl App {
    /// The running recordings that somebody sees.
    pub(super) fn seen_live<'s>(
        &self,
        status: &'s Status,
        asker: &Asker,
    ) -> impl Iterator<Item = &'s LiveCall> {
        status.calls.iter().filter(|call| asker.caller.admits(*call))
    }

    /// The calls that somebody sees and of which nothing is recorded although it could be.
    pub(super) fn seen_waiting<'s>(
        &self,
        status: &'s Status,
        asker: &Asker,
    ) -> impl Iterator<Item = &'s LiveCall> {
        status.waiting.iter().filter(|call| asker.caller.admits(*call))
    }

    /// What is asked of an extension is asked of all its running calls: one may do so who sees them all.
    fn need_all_of(&self, status: &Status, asker: &Asker, extension: &str) -> Result<(), Refusal> {
        let all = status.calls.iter().chain(&status.waiting);
        let mut others = all.filter(|call| call.extension == extension);
        if others.all(|call| asker.caller.admits(call)) {
            return Ok(());
        }
        Err(Refusal::Declined(
            "The extension has another call that you may not see, and it would be asked the same. Ask somebody who sees both.".to_owned(),
        ))
    }

    fn live_rows(&self, asker: &Asker, status: &Status) -> Rows {
        let seen = self.seen_live(status, asker).chain(self.seen_waiting(status, asker));
        let rows = seen.map(|call| self.live_row(call, asker)).collect();
        let may = |permission| asker.caller.may(permission);
        let stale = status.stale().map(|(source, since)| self.stale_words(source, since)).collect();
        Rows { stale, rows, may_listen: may(Permission::Monitor), may_pause: may(Permission::Pause) }
    }

    /// That what a system has said may not be so any more.
    pub(super) fn stale_words(&self, source: &FactSource, since: Timestamp) -> String {
        let why = if source.up { "it says nothing" } else { "it is not connected" };
        format!(
            "Facts from {} are stale since {}: {why}.",
            brief(&source.name),
            self.zone().moment(since).short
        )
    }

    fn live_row(&self, call: &LiveCall, asker: &Asker) -> Row {
        let (icon, way) = way_of(call.direction);
        let extension = words::named(&call.extension, call.extension_name.as_deref());
        let running = self.now().millis_since(call.started);
        let other = numbers::shown(call.other());
        Row {
            id: call.recording,
            is_paused: call.is_paused(),
            is_stopped: call.stopped,
            offers: match asker.caller.may(Permission::Control) {
                true => offers(call, role_at(call, asker)),
                false => Vec::new(),
            },
            note: note(call),
            since: self.zone().moment(call.started),
            running: short_length(running),
            icon,
            way,
            number: call.extension.clone(),
            extension: brief(&call.extension).into_owned(),
            extension_name: brief(
                call.extension_name.as_deref().filter(|name| *name != call.extension).unwrap_or_default(),
            )
            .into_owned(),
            title: format!("{}, {}", brief(&extension), brief(&other)),
            other: brief(&other).into_owned(),
            agent: brief(call.agent.as_deref().unwrap_or_default()).into_owned(),
            is_agent_stale: call.agent.is_some() && call.stale.contains(&"agent"),
        }
    }
}

/// As whom somebody asks something of a call: whose own it is asks as an agent.
fn role_at(call: &LiveCall, asker: &Asker) -> Role {
    let is_own = asker.caller.person().is_some_and(|person| call.who.user.as_deref() == Some(person));
    if is_own { Role::Agent } else { Role::Supervisor }
}

/// What its mode would change if it were asked. Keeping is a question where a mode discards, or lets somebody.
fn offers(call: &LiveCall, role: Role) -> Vec<Offer> {
    let offer = |word: Ask, label, icon| Offer { word: word.key(), label, icon };
    let mut offers = Vec::new();
    let is_out = call.stopped || call.recording.is_none();
    if call.machine.offers(Ask::Stop, role) && !is_out {
        offers.push(offer(Ask::Stop, "Stop", "i-stop"));
    }
    // One that has lost its channel is asked for anew, too.
    let can_begin = call.machine.offers(Ask::Start, role) || call.machine.offers(Ask::Stop, role);
    if is_out && can_begin {
        offers.push(offer(Ask::Start, "Start", "i-record"));
    }
    if call.recording.is_none() {
        return offers;
    }
    if matches!(call.machine.mode(), Mode::SaveByDefault | Mode::DiscardByDefault) {
        if call.machine.offers(Ask::Keep, role) {
            offers.push(offer(Ask::Keep, "Keep", "i-check"));
        }
        if call.machine.offers(Ask::Discard, role) {
            offers.push(offer(Ask::Discard, "Discard", "i-trash"));
        }
    }
    offers
}

/// Who or what holds it, and that it will be destroyed at its end; of what is not recorded, why.
fn note(call: &LiveCall) -> String {
    if call.recording.is_none() {
        return match call.machine.mode() {
            _ if call.no_channel => "no channel was free".to_owned(),
            Mode::OnDemand => "on demand, not started".to_owned(),
            _ => "stopped before it began".to_owned(),
        };
    }
    let mut words: Vec<String> = call.paused_by.iter().map(|by| brief(by).into_owned()).collect();
    if !call.machine.is_kept() {
        words.push("not kept at its end".to_owned());
    }
    words.join(", ")
}

/// What is told of a request that changed nothing; nothing where the page shows it.
pub(super) fn without_effect(call: &LiveCall, ask: Ask, reply: &Reply) -> Result<(), Refusal> {
    if ask != Ask::Resume || reply.done > 0 {
        return Ok(());
    }
    let why = match &call.paused_by[..] {
        _ if call.stopped => "It was stopped, and not paused by you: start it instead.".to_owned(),
        [] => "It is not paused any more.".to_owned(),
        by => format!(
            "The pause is not yours: {} holds it. It goes on when whoever paused it lets go.",
            by.iter().map(|by| brief(by)).collect::<Vec<_>>().join(", ")
        ),
    };
    Err(Refusal::Declined(why))
}

/// The recorder's state, for somebody who may see it.
pub(super) fn status(app: &App, asker: &Asker) -> Result<Arc<Status>, Refusal> {
    asker.need(Permission::LiveView)?;
    Ok(app.live().map_err(|_| Refusal::NoRecorder)?.status())
}

/// `GET /live`.
pub(super) async fn live(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    app.live_page(&asker, &Form::parse(""), None)
}

impl App {
    /// The page, with what the form of an order has, and what is wrong with that.
    pub(super) fn live_page(
        &self,
        asker: &Asker,
        form: &Form,
        wrong: Option<String>,
    ) -> Result<Response, Refusal> {
        let status = status(self, asker)?;
        let channels = match status.channels {
            Some(channels) => format!("{} of {channels} channels in use", status.channels_in_use),
            None => String::new(),
        };
        let Rows { stale, rows, may_listen, may_pause } = self.live_rows(asker, &status);
        page_with(
            if wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK },
            &Shown {
                frame: self.frame(asker, Page::Live, "Live"),
                stale,
                orders: self.live_orders(asker, &status).orders,
                order_form: self.order_form(asker, form, wrong),
                rows,
                may_listen,
                may_pause,
                failure: status.failure.clone().unwrap_or_default(),
                channels,
            },
        )
    }
}

/// `GET /live/events`: the rows whenever they have changed, for as long as one may see them.
pub(super) async fn events(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    status(&app, &asker)?;
    let stream = Rounds {
        app,
        asker,
        tick: tokio::time::interval(EVERY),
        last: [String::new(), String::new()],
        next: None,
    };
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()).into_response())
}

/// A stream of events that ends with the right to them.
struct Rounds {
    app: App,
    asker: Asker,
    tick: tokio::time::Interval,
    /// What was said last of calls, and of orders.
    last: [String; 2],
    /// What is to be said right behind the event before.
    next: Option<SseEvent>,
}

impl Rounds {
    /// What there is to say now, of calls and of orders; none when they may not hear more.
    fn look(&mut self) -> Option<[Option<SseEvent>; 2]> {
        // Who they are is asked anew, without using the session: a page that is left open does not keep it alive.
        self.asker = self.app.still(&self.asker, Instant::now())?;
        let status = status(&self.app, &self.asker).ok()?;
        let now = [
            self.app.live_rows(&self.asker, &status).render().ok()?,
            self.app.live_orders(&self.asker, &status).render().ok()?,
        ];
        let mut events = [None, None];
        for (n, name) in ["calls", "orders"].into_iter().enumerate() {
            if now[n] != self.last[n] {
                let rows = now[n].replace(['\r', '\n'], " ");
                events[n] = Some(SseEvent::default().event(name).data(rows));
            }
        }
        self.last = now;
        Some(events)
    }
}

impl Stream for Rounds {
    type Item = Result<SseEvent, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.next.take() {
                return std::task::Poll::Ready(Some(Ok(event)));
            }
            std::task::ready!(self.tick.poll_tick(context));
            match self.look() {
                None => return std::task::Poll::Ready(None),
                Some([first, second]) => {
                    self.next = second;
                    if let Some(event) = first {
                        return std::task::Poll::Ready(Some(Ok(event)));
                    }
                }
            }
        }
    }
}

/// `GET /live/{recording}`: listen in, and hear what was so far.
pub(super) async fn call(
    State(app): State<App>,
    asker: Asker,
    id: Result<Path<RecordingId>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path(id) = id.map_err(|_| Refusal::NoPage)?;
    let status = status(&app, &asker)?;
    let Some(call) = app.seen_live(&status, &asker).find(|call| call.recording == Some(id)) else {
        // It has ended meanwhile: its page is another one.
        return Ok(Redirect::to(&format!("/recordings/{id}")).into_response());
    };
    let row = app.live_row(call, &asker);
    let position_ms = app.now().millis_since(call.started);
    page(&One {
        frame: app.frame(&asker, Page::Live, format!("Listening to {}", row.extension)),
        may_play: asker.caller.may(Permission::Play),
        may_listen: asker.caller.may(Permission::Monitor),
        id,
        row,
        position_ms,
    })
}

/// `POST /live/{recording}`: start, stop, pause, resume, keep or discard.
pub(super) async fn ask(
    State(app): State<App>,
    asker: Asker,
    id: Result<Path<RecordingId>, PathRejection>,
    body: String,
) -> Result<Response, Refusal> {
    let Path(id) = id.map_err(|_| Refusal::NoPage)?;
    let ask = asked(&Form::parse(&body))?;
    let reply = app.control(&asker, id, ask).await?;
    if let Some(call) = status(&app, &asker)?.calls.iter().find(|call| call.recording == Some(id)) {
        without_effect(call, ask, &reply)?;
    }
    Ok(Redirect::to("/live").into_response())
}

/// What a button asks.
fn asked(form: &Form) -> Result<Ask, Refusal> {
    Ask::ALL.into_iter().find(|ask| ask.key() == form.text("do")).ok_or(Refusal::WrongQuery)
}

/// `POST /live/extensions`: start, and all else, of an extension's calls, of which nothing may be recorded yet.
pub(super) async fn ask_extension(
    State(app): State<App>,
    asker: Asker,
    form: Form,
) -> Result<Response, Refusal> {
    let ask = asked(&form)?;
    app.control_extension(&asker, form.raw("extension"), ask).await?;
    Ok(Redirect::to("/live").into_response())
}

/// What asking takes.
fn permission_of(ask: Ask) -> Permission {
    match ask {
        Ask::Pause | Ask::Resume => Permission::Pause,
        Ask::Start | Ask::Stop | Ask::Keep | Ask::Discard => Permission::Control,
    }
}

impl App {
    /// Asks something of an extension's calls, recorded or not, that somebody sees all.
    ///
    /// # Errors
    /// As [`App::control`].
    pub(super) async fn control_extension(
        &self,
        asker: &Asker,
        extension: &str,
        ask: Ask,
    ) -> Result<Reply, Refusal> {
        asker.need(permission_of(ask))?;
        let status = status(self, asker)?;
        let seen = self.seen_live(&status, asker).chain(self.seen_waiting(&status, asker));
        let call = seen.into_iter().find(|call| call.extension == extension).ok_or(Refusal::NoSuchCall)?;
        self.control_call(asker, &status, call, ask, role_at(call, asker)).await
    }

    /// Asks something of a running recording that somebody sees, with the permission that it takes.
    ///
    /// # Errors
    /// [`Refusal::NoSuchCall`] also for one that is not theirs to see; [`Refusal::Declined`] where its mode does not allow it.
    pub(super) async fn control(&self, asker: &Asker, id: RecordingId, ask: Ask) -> Result<Reply, Refusal> {
        asker.need(permission_of(ask))?;
        let status = status(self, asker)?;
        let call = self.seen_live(&status, asker).find(|call| call.recording == Some(id));
        let call = call.ok_or(Refusal::NoSuchCall)?;
        self.control_call(asker, &status, call, ask, role_at(call, asker)).await
    }

    /// Asks it of the extension's calls, which they must see all, and writes down that they did.
    ///
    /// # Errors
    /// As [`App::control`].
    pub(super) async fn control_call(
        &self,
        asker: &Asker,
        status: &Status,
        call: &LiveCall,
        ask: Ask,
        role: Role,
    ) -> Result<Reply, Refusal> {
        self.need_all_of(status, asker, &call.extension)?;
        let whom = Whom::Extension(call.extension.clone());
        let request = Request { whom, ask, role, name: asker.caller.name().to_owned() };
        self.note_controlled(asker, call.recording, ask).await?;
        let live = Arc::clone(self.live().map_err(|_| Refusal::NoRecorder)?);
        let reply = tokio::task::spawn_blocking(move || live.request(request)).await;
        match reply.map_err(|_| Refusal::BrokeOff)?.map_err(|_| Refusal::Unavailable)? {
            Reply { done: 0, already: 0, refused: 0, .. } => Err(Refusal::NoSuchCall),
            Reply { done: 0, already: 0, why, .. } => {
                Err(Refusal::Declined(why.unwrap_or("The recording mode does not allow it.").to_owned()))
            }
            reply => Ok(reply),
        }
    }
}

#[cfg(test)]
mod tests {
    use policy::modes::Machine;

    use super::*;
    use crate::server::api::tests::site;

    fn call(mode: Mode, asked: &[Ask]) -> LiveCall {
        let mut machine = Machine::new(mode);
        for &ask in asked {
            machine.handle(ask, Role::Supervisor);
        }
        let call = site::call(1);
        let stopped = !machine.is_taking();
        LiveCall { machine, stopped, paused_since: stopped.then_some(call.started), ..call }
    }

    /// One of which nothing is recorded.
    fn waiting(mode: Mode, asked: &[Ask], no_channel: bool) -> LiveCall {
        LiveCall { recording: None, stopped: false, paused_since: None, no_channel, ..call(mode, asked) }
    }

    #[test]
    fn what_is_not_recorded_says_why_and_offers_to_start_where_that_would_change_something() {
        for (mode, asked, no_channel, told, labels) in [
            (Mode::OnDemand, &[][..], false, "on demand, not started", "Start"),
            (Mode::AlwaysWithStop, &[Ask::Stop], false, "stopped before it began", "Start"),
            (Mode::DiscardByDefault, &[Ask::Stop], false, "stopped before it began", "Start"),
            (Mode::OnDemand, &[Ask::Start], true, "no channel was free", "Start"),
            (Mode::Always, &[], true, "no channel was free", ""),
        ] {
            let call = waiting(mode, asked, no_channel);
            let offered: Vec<&str> = offers(&call, Role::Agent).iter().map(|offer| offer.label).collect();
            assert_eq!(
                (note(&call).as_str(), offered.join(" ").as_str()),
                (told, labels),
                "{mode:?} {asked:?}"
            );
        }
    }

    #[test]
    fn buttons_are_what_the_mode_lets_be_changed() {
        let labels = |call: &LiveCall, role| -> String {
            let offers: Vec<&str> = offers(call, role).iter().map(|offer| offer.label).collect();
            offers.join(" ")
        };
        for (mode, asked, supervisor, agent) in [
            (Mode::Always, &[][..], "", ""),
            (Mode::AlwaysWithStop, &[], "Stop", "Stop"),
            (Mode::AlwaysWithStop, &[Ask::Stop], "Start", "Start"),
            (Mode::OnDemand, &[Ask::Start], "Stop", "Stop"),
            (Mode::SaveByDefault, &[], "Discard", ""),
            (Mode::SaveByDefault, &[Ask::Discard], "Keep", ""),
            (Mode::DiscardByDefault, &[], "Stop Keep", "Stop Keep"),
            (Mode::DiscardByDefault, &[Ask::Keep], "Stop Discard", "Stop Discard"),
            (Mode::DiscardByDefault, &[Ask::Stop], "Start Keep", "Start Keep"),
        ] {
            let call = call(mode, asked);
            let shown = (labels(&call, Role::Supervisor), labels(&call, Role::Agent));
            assert_eq!(shown, (supervisor.to_owned(), agent.to_owned()), "{mode:?} {asked:?}");
            let is_kept = mode != Mode::DiscardByDefault && !asked.contains(&Ask::Discard);
            assert_eq!(note(&call).is_empty(), is_kept || asked.contains(&Ask::Keep), "{mode:?} {asked:?}");
        }
    }

    #[test]
    fn what_a_source_has_said_that_is_not_heard_any_more_is_marked() {
        let source =
            |name: &str, stale_since| FactSource { name: name.into(), stale_since, ..FactSource::default() };
        let told_by = [("agent", "feed pbx1".to_owned()), ("trunk", "smdr 192.0.2.10".to_owned())].into();
        let mut call = LiveCall { agent: Some("1021".into()), told_by, ..site::call(1) };
        let since = Some(call.started);
        call.mark_stale(&[source("feed pbx1", since), source("smdr 192.0.2.10", None)]);
        assert_eq!(call.stale, ["agent"]);
        let status = Status { facts: vec![source("feed pbx1", since)], ..Status::default() };
        assert_eq!(status.stale().map(|(source, _)| source.name.as_str()).collect::<Vec<_>>(), ["feed pbx1"]);
        let json = serde_json::to_value(&call).expect("JSON");
        assert_eq!((json["stale"].clone(), json.get("told_by")), (serde_json::json!(["agent"]), None));
        let rows = |agent_is_stale, stale: &[&str]| {
            let row = Row {
                id: call.recording,
                number: "2001".into(),
                is_paused: false,
                is_stopped: false,
                offers: Vec::new(),
                note: String::new(),
                since: Moment { iso: String::new(), short: String::new(), full: String::new() },
                running: String::new(),
                icon: "",
                way: "",
                extension: String::new(),
                extension_name: String::new(),
                other: String::new(),
                title: String::new(),
                agent: "1021".into(),
                is_agent_stale: agent_is_stale,
            };
            let stale = stale.iter().map(|&words| words.to_owned()).collect();
            Rows { stale, rows: vec![row], may_listen: false, may_pause: false }.render().expect("rows")
        };
        let shown = rows(true, &["Facts from feed pbx1 are stale since 09:00: it says nothing."]);
        assert!(
            shown.contains("(stale)") && shown.contains("Facts from feed pbx1 are stale since 09:00"),
            "{shown}"
        );
        assert!(!rows(false, &[]).contains("stale"));
        call.mark_stale(&[source("feed pbx1", None)]);
        assert_eq!(call.stale, [] as [&str; 0]);
    }

    #[test]
    fn who_resumes_what_somebody_else_holds_is_told_so() {
        let already = Reply { already: 1, ..Reply::default() };
        let told = |call: &LiveCall| match without_effect(call, Ask::Resume, &already) {
            Err(Refusal::Declined(why)) => why,
            _ => panic!("told nothing"),
        };
        let paused = LiveCall {
            paused_since: Some(site::call(1).started),
            paused_by: vec!["key code card".into()],
            ..site::call(1)
        };
        assert!(told(&paused).contains("key code card"));
        assert!(told(&call(Mode::AlwaysWithStop, &[Ask::Stop])).contains("start it"));
        let done = Reply { done: 1, ..Reply::default() };
        assert!(without_effect(&paused, Ask::Resume, &done).is_ok());
        assert!(without_effect(&paused, Ask::Pause, &already).is_ok());
    }
}
