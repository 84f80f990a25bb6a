//! `GET /live/events`: what happens to running recordings, as server-sent events that can be taken up again where they broke off.
//!
//! One task looks at the recorder's status each second, from the first program that listens on, and keeps what has changed since the last
//! look: so much and no more, whoever listens. Each program is given of it what its account may see, asked anew for each round; what it
//! missed beyond that is told, too.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use decode::Timestamp;
use futures_core::Stream;
use policy::Permission;
use serde_json::{Value, json};
use store::RecordingId;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::time::{Interval, interval};

use super::operation::{Needs, Operation, Program};
use super::problem::{Kind, Problem};
use crate::live::LiveCall;
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::refusal::Refusal;
use crate::server::token::{Right, Token};

/// How often is looked.
const EVERY: Duration = if cfg!(test) { Duration::from_millis(5) } else { Duration::from_secs(1) };
/// Events that are kept for who was away: some 2 MiB.
const KEPT_MAX: usize = 2_000;
/// Events that wait for one program; the next ones wait in what is kept.
const WAITING_MAX: usize = 100;
/// Programs that listen at once.
const LISTENERS_MAX: usize = 32;
const LAST: &str = "last-event-id";
const RIGHT: Right = Right::Recordings;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(
            ["streamEvents", "/live/events", "What happens to running recordings, as it happens"],
            listen,
        )
        .right(RIGHT)
        .needs(Needs::Permission(Permission::LiveView))
        .or(&[Kind::NoRecorder])
        .streams(),
    ]
}

/// How the document tells where to go on.
pub(super) fn parameter() -> Value {
    json!({
        "name": "Last-Event-ID", "in": "header", "required": false,
        "description": "The id of the last event that was taken: those behind it come first.",
        "schema": { "type": "string", "maxLength": 64, "pattern": "^[0-9a-z-]*$" },
    })
}

/// Something that happened to a running recording.
#[derive(Debug)]
struct Happened {
    number: u64,
    /// `began`, `paused`, `resumed` or `ended`.
    what: &'static str,
    /// The call as it was then.
    call: Arc<LiveCall>,
}

/// What has happened.
#[derive(Debug)]
pub(in crate::server) struct Watch {
    /// Tells the numbers of this run of the program from those of another.
    run: String,
    kept: Mutex<Kept>,
    listeners: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Kept {
    is_looking: bool,
    next: u64,
    happened: VecDeque<Happened>,
    /// The calls at the last look.
    calls: BTreeMap<RecordingId, Arc<LiveCall>>,
}

/// Running recordings by their id.
fn by_recording(calls: &[LiveCall]) -> BTreeMap<RecordingId, Arc<LiveCall>> {
    calls.iter().filter_map(|call| Some((call.recording?, Arc::new(call.clone())))).collect()
}

impl Kept {
    /// Compares with the last look.
    fn look(&mut self, calls: &[LiveCall]) {
        let now: BTreeMap<RecordingId, Arc<LiveCall>> = by_recording(calls);
        let before = std::mem::replace(&mut self.calls, now.clone());
        for (id, call) in &now {
            let was_paused = before.get(id).map(|call| call.paused_since.is_some());
            if was_paused.is_none() {
                self.push("began", call);
            }
            match (was_paused.unwrap_or(false), call.paused_since.is_some()) {
                (false, true) => self.push("paused", call),
                (true, false) => self.push("resumed", call),
                _ => {}
            }
        }
        for (_, call) in before.iter().filter(|(id, _)| !now.contains_key(*id)) {
            self.push("ended", call);
        }
    }

    fn push(&mut self, what: &'static str, call: &Arc<LiveCall>) {
        self.happened.push_back(Happened { number: self.next, what, call: Arc::clone(call) });
        self.next += 1;
        if self.happened.len() > KEPT_MAX {
            self.happened.pop_front();
        }
    }
}

impl Watch {
    pub(in crate::server) fn new(now: Timestamp) -> Watch {
        let listeners = Arc::new(Semaphore::new(LISTENERS_MAX));
        Watch { run: format!("{:x}", now.as_millis()), kept: Mutex::default(), listeners }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where somebody goes on who has taken the event of this id; and has something been missed for certain?
    fn behind(&self, last: Option<&str>) -> (u64, bool) {
        let next = self.lock().next;
        let Some(last) = last else { return (next, false) };
        let number =
            last.strip_prefix(&*self.run).and_then(|rest| rest.strip_prefix('-')?.parse::<u64>().ok());
        match number {
            Some(number) if number < next => (number + 1, false),
            _ => (next, true),
        }
    }
}

impl App {
    /// Begins to look, if nobody has yet. Ends with the pages.
    fn look_on(&self) -> Result<(), Problem> {
        let status = self.live()?.status();
        let mut kept = self.watch().lock();
        if std::mem::replace(&mut kept.is_looking, true) {
            return Ok(());
        }
        // What runs already has begun before anybody listened.
        kept.calls = by_recording(&status.calls);
        drop(kept);
        let pages = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            let (mut tick, mut last) = (interval(EVERY), status);
            loop {
                tick.tick().await;
                let Some(inner) = pages.upgrade() else { return };
                let Some(live) = inner.live.as_ref() else { return };
                let status = live.status();
                if !Arc::ptr_eq(&status, &last) {
                    inner.watch.lock().look(&status.calls);
                    last = status;
                }
            }
        });
        Ok(())
    }
}

/// `GET /live/events`.
async fn listen(
    State(app): State<App>,
    Program(token): Program,
    asker: Asker,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.look_on()?;
    let place = Arc::clone(&app.watch().listeners).try_acquire_owned();
    let place = place.map_err(|_| Problem::from(Refusal::Busy))?;
    let last = headers.get(LAST).map(|last| last.to_str().unwrap_or_default());
    let (next, has_missed) = app.watch().behind(last.filter(|last| !last.is_empty()));
    let waiting = if has_missed { VecDeque::from([missed()]) } else { VecDeque::new() };
    let listener =
        Listener { app, token, peer: asker.peer, next, waiting, tick: interval(EVERY), _place: place };
    Ok(Sse::new(listener).keep_alive(KeepAlive::default()).into_response())
}

/// Something happened that is not kept any more.
fn missed() -> SseEvent {
    SseEvent::default().event("missed").data("{}")
}

/// One program that listens.
struct Listener {
    app: App,
    token: Token,
    peer: IpAddr,
    /// The number of the event that it has not been given yet.
    next: u64,
    waiting: VecDeque<SseEvent>,
    tick: Interval,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    /// Takes what has happened meanwhile; false when it may not hear more.
    fn look(&mut self) -> bool {
        let asker = self.app.still_program(&self.token, RIGHT, self.peer);
        let Some(asker) = asker.filter(|asker| asker.caller.may(Permission::LiveView)) else { return false };
        let watch = self.app.watch();
        let happened: Vec<(u64, &'static str, Arc<LiveCall>)> = {
            let kept = watch.lock();
            let oldest = kept.happened.front().map_or(kept.next, |oldest| oldest.number);
            if self.next < oldest {
                self.waiting.push_back(missed());
                self.next = oldest;
            }
            let new = kept.happened.iter().filter(|happened| happened.number >= self.next).take(WAITING_MAX);
            new.map(|happened| (happened.number, happened.what, Arc::clone(&happened.call))).collect()
        };
        for (number, what, call) in happened {
            self.next = number + 1;
            // What is known of it now decides, and what the recorder said where nothing is.
            let row = call.recording.and_then(|id| self.app.archive().row(id).ok());
            let is_theirs = row.map_or_else(|| asker.caller.admits(&*call), |row| asker.caller.admits(&row));
            if is_theirs {
                let event = SseEvent::default().event(what).id(format!("{}-{number}", watch.run));
                self.waiting.push_back(event.data(json!(*call).to_string()));
            }
        }
        true
    }
}

impl Stream for Listener {
    type Item = Result<SseEvent, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            ready!(self.tick.poll_tick(context));
            if !self.look() {
                return Poll::Ready(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::site::call;
    use super::*;

    fn told(kept: &Kept) -> Vec<(u64, &'static str)> {
        kept.happened.iter().map(|happened| (happened.number, happened.what)).collect()
    }

    #[test]
    fn what_changed_since_the_last_look_has_happened() {
        let mut kept = Kept::default();
        let (one, two) = (call(1), call(2));
        let paused = LiveCall { paused_since: Some(one.started), ..one.clone() };
        kept.look(std::slice::from_ref(&one));
        kept.look(&[paused.clone(), two.clone()]);
        kept.look(&[paused, two.clone()]);
        kept.look(&[one, two]);
        kept.look(&[]);
        let all = ["began", "paused", "began", "resumed", "ended", "ended"];
        assert_eq!(told(&kept), (0..).zip(all).collect::<Vec<_>>());
    }

    #[test]
    fn so_much_is_kept_and_who_was_away_longer_is_told() {
        let watch = Watch::new(Timestamp::from_millis(255));
        for _ in 0..KEPT_MAX {
            watch.lock().look(&[call(1)]);
            watch.lock().look(&[]);
        }
        let next = 2 * KEPT_MAX as u64;
        assert_eq!(watch.lock().happened.len(), KEPT_MAX);
        assert_eq!(watch.behind(None), (next, false), "from now on");
        assert_eq!(watch.behind(Some("ff-7")), (8, false));
        for other in ["fe-7", "ff-", "ff", "x", "ff-99999999"] {
            assert_eq!(watch.behind(Some(other)), (next, true), "{other}");
        }
    }
}
