//! The pages by which people use the recorder, and its API.
//!
//! One [`Router`], one state ([`App`]), thin handlers: archive work runs on threads that may wait (`App::read`), failures
//! become statuses in `refusal`, what every request must show and every reply must carry is `guard`'s, who asks and may
//! what is `caller`'s. Pages are templates (`web/templates`); their style and script are built from `web/ui`.

mod accounts;
mod alerts;
mod api;
mod assets;
mod assign;
mod audio;
mod audit;
mod body;
mod caller;
mod calls;
mod certificate;
mod dashboard;
mod deletion;
mod escape;
mod filters;
mod form;
mod frame;
mod guard;
mod holds;
mod keys;
mod letter;
mod limited;
mod listen;
mod live;
mod locations;
mod logs;
mod mailing;
mod mine;
mod monitoring;
mod once;
mod orders;
mod pages;
mod peaks;
mod people;
mod programs;
mod range;
mod reached;
mod recording;
mod recordings;
mod refusal;
mod retention;
mod rules;
mod save;
mod serving;
mod session;
mod set_up;
mod sip;
mod timeline;
mod token;
mod tokens;
mod usage;
mod users;
mod webhooks;
mod website;
mod zone;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Redirect, Response};
use decode::Timestamp;
use jiff::tz::TimeZone;
use store::Archive;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::accounts::Pending;
pub(crate) use self::api::told_call;
use self::audit::Plays;
use self::caller::CONSOLE;
pub use self::certificate::{Certificate, CertificateError, Made};
pub use self::dashboard::{Look, health};
use self::guard::ENTRANCE;
pub use self::monitoring::Monitoring;
pub use self::reached::Reached;
use self::refusal::Refusal;
pub use self::serving::{Place, Running, Server};
use self::session::Door;
pub use self::token::{Right, Token, TokenError, Tokens};
use self::zone::Zone;
use crate::alerts::Alerts;
use crate::live::Live;
use crate::machine::Machinery;
use crate::mail::Post;
use crate::rules::RuleBook;
use crate::set_up::{Heard, SetUp};
use crate::webhooks::Webhooks;

/// Recordings played at once; one browser asks for six at most.
const PLAYBACKS_MAX: usize = 16;

/// Bytes of a form; a rule book is the longest one.
const BODY_MAX: usize = 1024 * 1024;
/// Accounts whose last search is remembered.
const SEARCHES_MAX: usize = 2_000;

/// Hears the address of the entrance whenever a new one is made.
type Announce = Box<dyn Fn(&str) + Send + Sync>;

/// What stands beside the pages.
#[derive(Clone)]
pub struct Beside {
    /// A recorder that runs, for what is live.
    pub live: Option<Arc<dyn Live>>,
    /// Programs that may use the API.
    pub tokens: Arc<Tokens>,
    /// The clock.
    pub now: fn() -> Timestamp,
    /// The zone that times are written in.
    pub zone: TimeZone,
    /// A look at the machine, for the dashboard.
    pub machine: Option<Look>,
    /// A recorder that may wait to be told what to record.
    pub set_up: Option<Arc<dyn SetUp>>,
    /// What the texts of rules mean.
    pub rules: Option<Arc<dyn RuleBook>>,
    /// What is kept of alarms.
    pub alerts: Option<Arc<dyn Alerts>>,
    /// What the program tells of itself and its machine.
    pub machinery: Option<Arc<dyn Machinery>>,
    /// Whoever tells programs what happens.
    pub webhooks: Option<Arc<dyn Webhooks>>,
    /// Whoever brings letters to a mail server.
    pub mail: Option<Arc<dyn Post>>,
}

impl Beside {
    /// Nothing but a clock; times are UTC.
    #[must_use]
    pub fn new(now: fn() -> Timestamp) -> Beside {
        Beside {
            live: None,
            tokens: Arc::default(),
            now,
            zone: TimeZone::UTC,
            machine: None,
            set_up: None,
            rules: None,
            alerts: None,
            machinery: None,
            webhooks: None,
            mail: None,
        }
    }
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Beside { live, tokens, zone, .. } = self;
        f.debug_struct("Beside")
            .field("live", &live.is_some())
            .field("tokens", tokens)
            .field("zone", zone)
            .finish_non_exhaustive()
    }
}

/// Nothing records beside these pages.
struct NoRecorder;

/// What every handler works with.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    archive: Arc<Archive>,
    live: Option<Arc<dyn Live>>,
    tokens: Arc<Tokens>,
    machine: Option<Look>,
    set_up: Option<Arc<dyn SetUp>>,
    /// Whoever set it up has typed a line of the recovery sheet.
    is_on_paper: AtomicBool,
    rules: Option<Arc<dyn RuleBook>>,
    alerts: Option<Arc<dyn Alerts>>,
    machinery: Option<Arc<dyn Machinery>>,
    webhooks: Option<Arc<dyn Webhooks>>,
    mail: Option<Arc<dyn Post>>,
    /// Of the archive key of this name, when its recovery sheet was last shown to be on paper; none before it was looked up.
    proven: Mutex<Option<(String, Option<Timestamp>)>>,
    reached: Reached,
    zone: Zone,
    now: fn() -> Timestamp,
    door: Door,
    announce: Announce,
    playbacks: Arc<Semaphore>,
    listeners: Arc<Semaphore>,
    pending: Pending,
    plays: Plays,
    /// The last search of each account.
    searches: Mutex<BTreeMap<String, String>>,
    links: once::Links,
    sending: mailing::Sending,
    peaks: peaks::Cache,
    keys: api::Keys,
    watch: api::Watch,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("reached", &self.0.reached).finish_non_exhaustive()
    }
}

impl App {
    /// Pages over `archive`, as browsers reach them. `announce` is given the address of the entrance, which works once: now, and
    /// again whenever the session behind it has ended by itself.
    pub fn new(
        archive: impl Into<Arc<Archive>>,
        reached: Reached,
        beside: Beside,
        announce: impl Fn(&str) + Send + Sync + 'static,
    ) -> App {
        let (door, token) = Door::new();
        let playbacks = Arc::new(Semaphore::new(PLAYBACKS_MAX));
        let Beside { live, tokens, now, zone, machine, set_up, rules, alerts, machinery, webhooks, mail } =
            beside;
        let (announce, archive, zone) = (Box::new(announce), archive.into(), Zone::new(zone));
        let app = App(Arc::new(Inner {
            archive,
            live,
            tokens,
            machine,
            set_up,
            is_on_paper: AtomicBool::new(false),
            rules,
            alerts,
            machinery,
            webhooks,
            mail,
            proven: Mutex::default(),
            reached,
            zone,
            now,
            door,
            announce,
            playbacks,
            listeners: Arc::new(Semaphore::new(listen::LISTENERS_MAX)),
            pending: Pending::default(),
            plays: Plays::default(),
            searches: Mutex::default(),
            links: once::Links::default(),
            sending: mailing::Sending::default(),
            peaks: peaks::Cache::default(),
            keys: api::Keys::default(),
            watch: api::Watch::new(now()),
        }));
        app.announce(&token);
        app
    }

    fn announce(&self, token: &str) {
        (self.0.announce)(&format!("{}{ENTRANCE}{token}", self.0.reached.origin()));
    }

    fn address(&self) -> SocketAddr {
        self.0.reached.address
    }

    fn reached(&self) -> &Reached {
        &self.0.reached
    }

    fn archive(&self) -> &Archive {
        &self.0.archive
    }

    fn door(&self) -> &Door {
        &self.0.door
    }

    fn machine(&self) -> Option<&Look> {
        self.0.machine.as_ref()
    }

    fn set_up(&self) -> Option<&Arc<dyn SetUp>> {
        self.0.set_up.as_ref()
    }

    /// What was heard so far, while the recorder waits to be told what to record.
    fn waiting(&self) -> Option<Arc<Heard>> {
        self.set_up()?.heard()
    }

    fn is_on_paper(&self) -> bool {
        self.0.is_on_paper.load(Ordering::Relaxed)
    }

    fn put_on_paper(&self) {
        self.0.is_on_paper.store(true, Ordering::Relaxed);
    }

    /// What the texts of rules mean.
    ///
    /// # Errors
    /// [`Refusal::NoPage`] where nobody knows that.
    fn rules(&self) -> Result<&Arc<dyn RuleBook>, Refusal> {
        self.0.rules.as_ref().ok_or(Refusal::NoPage)
    }

    fn pending(&self) -> &Pending {
        &self.0.pending
    }

    fn plays(&self) -> &Plays {
        &self.0.plays
    }

    fn links(&self) -> &once::Links {
        &self.0.links
    }

    fn keys(&self) -> &api::Keys {
        &self.0.keys
    }

    fn watch(&self) -> &api::Watch {
        &self.0.watch
    }

    fn zone(&self) -> &Zone {
        &self.0.zone
    }

    fn now(&self) -> Timestamp {
        (self.0.now)()
    }

    /// The recorder beside; there is none while an archive is only served.
    fn live(&self) -> Result<&Arc<dyn Live>, NoRecorder> {
        self.0.live.as_ref().ok_or(NoRecorder)
    }

    /// Over HTTPS no other server of this machine can set a cookie of this name; over HTTP another one gets ours and could
    /// replace it: at least two of us do not.
    fn cookie_name(&self) -> String {
        if self.0.reached.is_secure {
            return "__Host-earwitness".to_owned();
        }
        format!("earwitness-{}", self.address().port())
    }

    /// What sets the cookie of a session; without a value, what takes it away.
    fn cookie(&self, value: Option<&str>) -> Result<HeaderValue, Refusal> {
        let secure = if self.0.reached.is_secure { "; Secure" } else { "" };
        let age = if value.is_some() { "" } else { "; Max-Age=0" };
        let (name, value) = (self.cookie_name(), value.unwrap_or_default());
        let field = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{age}");
        HeaderValue::try_from(field).map_err(|_| Refusal::BrokeOff)
    }

    fn renew(&self, now: Instant) {
        if let Some(token) = self.0.door.renew(now) {
            self.announce(&token);
        }
    }

    fn playback_permit(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.0.playbacks).try_acquire_owned().map_err(|_| Refusal::Busy)
    }

    fn last_search(&self, name: &str) -> Option<String> {
        self.searches().get(name).cloned()
    }

    fn remember_search(&self, name: &str, address: String) {
        let mut searches = self.searches();
        if searches.len() < SEARCHES_MAX || searches.contains_key(name) {
            searches.insert(name.to_owned(), address);
        }
    }

    fn searches(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.searches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the archive, on a thread that may wait for the disk.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Archive) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let app = self.clone();
        let done = tokio::task::spawn_blocking(move || work(app.archive())).await;
        done.map_err(|_| Refusal::BrokeOff)?
    }
}

/// All pages.
pub fn router(app: App) -> Router {
    pages::pages()
        .router()
        .fallback(async || Refusal::NoPage)
        .method_not_allowed_fallback(async || Refusal::WrongMethod)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn_with_state(app.clone(), guard::guard))
        // Behind the layer: who asks the API has a token and no session.
        .nest("/api/v1", api::router(&app))
        .with_state(app)
}

/// `GET /enter/{token}`: the session begins. A HEAD, as a preview of a link sends it, does not use the token up.
async fn enter(
    State(app): State<App>,
    method: Method,
    guard::From(peer): guard::From,
    Path(token): Path<String>,
) -> Result<Response, Refusal> {
    let cookie = match method {
        Method::GET => app.0.door.enter(&token, Instant::now()),
        _ => None,
    };
    let cookie = cookie.ok_or(Refusal::WrongToken)?;
    let now = app.now();
    app.read(move |archive| {
        archive.note_entered(CONSOLE, peer, now);
        Ok(())
    })
    .await?;
    let mut response = Redirect::to("/").into_response();
    response.headers_mut().insert(header::SET_COOKIE, app.cookie(Some(&cookie))?);
    Ok(response)
}
