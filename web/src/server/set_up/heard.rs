//! `/set-up/heard`: what each adapter hears, and which of it is to be recorded.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use askama::Template;
use axum::extract::State;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Redirect, Response};
use futures_core::Stream;
use policy::Pattern;

use super::{Around, Step, need_console, show, status_of};
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::escape::brief;
use crate::server::form::Form;
use crate::server::refusal::Refusal;
use crate::set_up::{Choice, Heard, HeardAdapter};

/// How often browsers hear of what has changed.
const EVERY: Duration = Duration::from_secs(1);
/// So long a mirror is listened to before it is judged.
const JUDGED_AFTER_S: u64 = 10;

/// An adapter's row.
struct AdapterRow {
    name: String,
    about: String,
    is_open: bool,
    is_ticked: bool,
    figures: Figures,
    verdict: Verdict,
}

/// What an adapter hears, in figures.
#[derive(Template)]
#[template(path = "set_up_figures.html")]
struct Figures {
    frames: u64,
    sip: u64,
    rtp: u64,
    calls: u64,
    vlans: String,
}

/// What that means.
#[derive(Template)]
#[template(path = "set_up_verdict.html")]
struct Verdict {
    /// `good`, `warn`, `bad`, or nothing while it is too early.
    light: &'static str,
    icon: &'static str,
    words: String,
    more: Vec<String>,
}

/// A tick box.
struct Tick {
    value: String,
    label: String,
    about: String,
    is_ticked: bool,
}

#[derive(Template)]
#[template(path = "set_up_heard.html")]
struct HeardPage {
    around: Around,
    /// It listens; else it records already.
    is_listening: bool,
    adapters: Vec<AdapterRow>,
    /// Ways in that are recorded from.
    ways_in: Vec<String>,
    systems: Vec<Tick>,
    extensions: Vec<Tick>,
    has_more: bool,
    codecs: String,
    only_ticked: bool,
    seen: Seen,
}

/// How much of telephony was seen.
#[derive(Template)]
#[template(path = "set_up_seen.html")]
struct Seen {
    extensions: usize,
    systems: usize,
    seconds: u64,
}

impl From<&Heard> for Seen {
    fn from(heard: &Heard) -> Seen {
        let Heard { extensions, pbx, seconds, .. } = heard;
        Seen { extensions: extensions.len(), systems: pbx.len(), seconds: *seconds }
    }
}

impl From<&HeardAdapter> for Figures {
    fn from(adapter: &HeardAdapter) -> Figures {
        let &HeardAdapter { frames, sip, rtp, calls, ref vlans, .. } = adapter;
        let vlans = vlans.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        Figures { frames, sip, rtp, calls, vlans }
    }
}

impl Verdict {
    fn new(light: &'static str, words: impl Into<String>, more: Vec<String>) -> Verdict {
        let icon = match light {
            "good" => "i-check",
            "warn" => "i-warning",
            "bad" => "i-cross",
            _ => "",
        };
        Verdict { light, icon, words: words.into(), more }
    }

    fn of(adapter: &HeardAdapter, seconds: u64) -> Verdict {
        if let Some(failure) = &adapter.failure {
            return Verdict::new("bad", "Cannot be listened at", vec![brief(failure).into_owned()]);
        }
        if let Some(other) = &adapter.same_as {
            let more = vec![format!("Record from {other}; this one may stay plugged in.")];
            return Verdict::new("warn", format!("Same packets as {other}"), more);
        }
        let more = adapter.findings.iter().map(|(_, words)| words.clone()).collect();
        let is_serious = adapter.findings.iter().any(|(is_serious, _)| *is_serious);
        match (adapter.hears_calls(), is_serious) {
            (false, _) if seconds < JUDGED_AFTER_S => Verdict::new("", "Listening …", Vec::new()),
            (true, false) => Verdict::new("good", "Both directions of calls", more),
            (true, true) => Verdict::new("warn", "Calls, and something is missing", more),
            (false, true) => Verdict::new("bad", "No telephony", more),
            (false, false) => Verdict::new("", "No telephony", more),
        }
    }
}

/// What was ticked, or is ticked to begin with.
enum Ticked<'f> {
    /// By a form that was refused.
    Form(&'f Form),
    /// Adapters that hear calls, and all systems.
    ByItself,
}

impl Ticked<'_> {
    fn has(&self, name: &str, value: &str, by_itself: bool) -> bool {
        match self {
            Ticked::Form(form) => form.all(name).any(|given| given == value),
            Ticked::ByItself => by_itself,
        }
    }
}

impl App {
    fn show_heard(&self, ticked: &Ticked<'_>, wrong: Option<String>) -> Result<Response, Refusal> {
        let status = status_of(&wrong);
        let around = self.around(Step::Heard, wrong);
        let heard = self.waiting();
        let is_listening = heard.is_some();
        let heard = heard.unwrap_or_default();
        let ports = self.live().map(|live| live.status().ports.clone()).unwrap_or_default();
        let adapter = |adapter: &HeardAdapter| AdapterRow {
            name: adapter.name.clone(),
            about: brief(&adapter.about).into_owned(),
            is_open: adapter.failure.is_none(),
            is_ticked: ticked.has(
                "adapter",
                &adapter.name,
                adapter.hears_calls() && adapter.same_as.is_none(),
            ),
            figures: adapter.into(),
            verdict: Verdict::of(adapter, heard.seconds),
        };
        let systems = heard.pbx.iter().map(|system| Tick {
            value: system.address.to_string(),
            label: system.address.to_string(),
            about: format!("{} calls, {} extensions", system.calls, system.extensions),
            is_ticked: ticked.has("pbx", &system.address.to_string(), system.extensions > 0),
        });
        let extensions = heard.extensions.iter().map(|extension| Tick {
            value: extension.number.clone(),
            label: extension.number.clone(),
            about: brief(&extension.name).into_owned(),
            is_ticked: ticked.has("extension", &extension.number, false),
        });
        show(
            status,
            &HeardPage {
                around,
                is_listening,
                adapters: heard.adapters.iter().map(adapter).collect(),
                ways_in: ports.iter().map(|port| brief(&port.name).into_owned()).collect(),
                systems: systems.collect(),
                extensions: extensions.collect(),
                has_more: heard.has_more,
                codecs: heard.codecs.join(", "),
                only_ticked: ticked.has("which", "ticked", false),
                seen: (&*heard).into(),
            },
        )
    }

    /// What a page that is open shows anew, by the names of its parts.
    fn parts(&self) -> BTreeMap<String, String> {
        let mut parts = BTreeMap::new();
        let mut put = |name: String, part: askama::Result<String>| {
            if let Ok(part) = part {
                parts.insert(name, part.replace(['\r', '\n'], " "));
            }
        };
        if let Some(heard) = self.waiting() {
            for (place, adapter) in heard.adapters.iter().enumerate() {
                put(format!("figures-{place}"), Figures::from(adapter).render());
                put(format!("verdict-{place}"), Verdict::of(adapter, heard.seconds).render());
            }
            put("seen".into(), Seen::from(&*heard).render());
        }
        put("first".into(), self.first_part().render());
        parts
    }
}

/// `GET /set-up/heard`.
pub(in crate::server) async fn heard(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    need_console(&asker)?;
    app.show_heard(&Ticked::ByItself, None)
}

/// `POST /set-up/heard`: from now on it records.
pub(in crate::server) async fn begin(
    State(app): State<App>,
    asker: Asker,
    form: Form,
) -> Result<Response, Refusal> {
    need_console(&asker)?;
    let set_up = Arc::clone(app.set_up().ok_or(Refusal::NoRecorder)?);
    let refused = |why: String| app.show_heard(&Ticked::Form(&form), Some(why));
    let pbx: Result<Vec<IpAddr>, _> = form.all("pbx").map(str::parse).collect();
    let Ok(pbx) = pbx else { return Err(Refusal::WrongQuery) };
    let extensions = match form.text("which") {
        "ticked" => {
            let ticked: Vec<&str> =
                form.all("extension").chain([form.text("more")]).filter(|one| !one.is_empty()).collect();
            if ticked.is_empty() {
                return refused("Tick an extension, or record every one.".into());
            }
            match ticked.join(",").parse::<Pattern>() {
                Ok(pattern) => Some(pattern),
                Err(error) => return refused(format!("Extensions: {error}")),
            }
        }
        _ => None,
    };
    let adapters = form.all("adapter").map(str::to_owned).collect();
    let choice = Choice { adapters, pbx, extensions, who: asker.caller.name().to_owned() };
    let begun = tokio::task::spawn_blocking(move || set_up.begin(choice)).await;
    match begun.map_err(|_| Refusal::BrokeOff)? {
        Err(why) => refused(why),
        Ok(()) => Ok(Redirect::to(Step::First.path()).into_response()),
    }
}

/// `GET /set-up/events`: the parts of the open page that have changed.
pub(in crate::server) async fn events(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    need_console(&asker)?;
    let tick = tokio::time::interval(EVERY);
    let stream = Rounds { app, asker, tick, last: BTreeMap::new(), waiting: VecDeque::new() };
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()).into_response())
}

/// A stream of events that ends with the session.
struct Rounds {
    app: App,
    asker: Asker,
    tick: tokio::time::Interval,
    last: BTreeMap<String, String>,
    waiting: VecDeque<SseEvent>,
}

impl Stream for Rounds {
    type Item = Result<SseEvent, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            ready!(self.tick.poll_tick(context));
            let Some(asker) = self.app.still(&self.asker, Instant::now()) else { return Poll::Ready(None) };
            self.asker = asker;
            let parts = self.app.parts();
            for (name, part) in &parts {
                if self.last.get(name) != Some(part) {
                    let event = SseEvent::default().event(name).data(part);
                    self.waiting.push_back(event);
                }
            }
            self.last = parts;
        }
    }
}
