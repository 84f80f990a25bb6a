//! Pages to listen by, on this machine only: recordings, one recording with its player, and the balance sheet.
//!
//! One [`Router`], one state ([`App`]), thin handlers: archive work runs on threads that may wait (`App::read`), failures
//! become statuses in `refusal`, what every request must show and every reply must carry is `guard`'s. Nothing here
//! changes the archive. Users, permissions, TLS and the audit of who heard what are not here yet: that is why only
//! loopback addresses are served.

mod api;
mod audio;
mod guard;
mod html;
mod limited;
mod listen;
mod monitoring;
mod pages;
mod peaks;
mod range;
mod refusal;
mod session;
mod sip;
mod timeline;
mod token;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use store::Archive;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use self::guard::ENTRANCE;
use self::limited::Limited;
pub use self::monitoring::Monitoring;
use self::refusal::Refusal;
use self::session::Door;
pub use self::token::{Right, Token, TokenError, Tokens};
use crate::Error;
use crate::live::Live;

/// Recordings played at once; one browser asks for six at most.
const PLAYBACKS_MAX: usize = 16;
/// How long replies under way may take after the end was asked for. A player that pauses holds its reply open for ever.
const FAREWELL: Duration = Duration::from_millis(500);
/// Threads that answer; reading and decoding have threads of their own.
const WORKERS: usize = 2;

/// Hears the address of the entrance whenever a new one is made.
type Announce = Box<dyn Fn(&str) + Send + Sync>;

/// What stands beside the pages.
#[derive(Clone, Default)]
pub struct Beside {
    /// A recorder that runs, for what is live.
    pub live: Option<Arc<dyn Live>>,
    /// Who may use the API.
    pub tokens: Arc<Tokens>,
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Beside { live, tokens } = self;
        f.debug_struct("Beside").field("live", &live.is_some()).field("tokens", tokens).finish()
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
    address: SocketAddr,
    door: Door,
    announce: Announce,
    playbacks: Arc<Semaphore>,
    listeners: Arc<Semaphore>,
    peaks: peaks::Cache,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("address", &self.0.address).finish_non_exhaustive()
    }
}

impl App {
    /// Pages over `archive`, reached at `address`. `announce` is given the address of the entrance, which works once:
    /// now, and again whenever a session has ended by itself.
    pub fn new(
        archive: impl Into<Arc<Archive>>,
        address: SocketAddr,
        announce: impl Fn(&str) + Send + Sync + 'static,
    ) -> App {
        App::with(archive, address, Beside::default(), announce)
    }

    /// The same beside a recorder.
    pub fn with(
        archive: impl Into<Arc<Archive>>,
        address: SocketAddr,
        beside: Beside,
        announce: impl Fn(&str) + Send + Sync + 'static,
    ) -> App {
        let (door, token) = Door::new();
        let playbacks = Arc::new(Semaphore::new(PLAYBACKS_MAX));
        let listeners = Arc::new(Semaphore::new(listen::LISTENERS_MAX));
        let Beside { live, tokens } = beside;
        let announce = Box::new(announce);
        let archive = archive.into();
        let app = App(Arc::new(Inner {
            archive,
            live,
            tokens,
            address,
            door,
            announce,
            playbacks,
            listeners,
            peaks: peaks::Cache::default(),
        }));
        app.announce(&token);
        app
    }

    fn announce(&self, token: &str) {
        (self.0.announce)(&format!("http://{}{ENTRANCE}{token}", self.0.address));
    }

    fn address(&self) -> SocketAddr {
        self.0.address
    }

    fn archive(&self) -> &Archive {
        &self.0.archive
    }

    /// The recorder beside; there is none while an archive is only served.
    fn live(&self) -> Result<&Arc<dyn Live>, NoRecorder> {
        self.0.live.as_ref().ok_or(NoRecorder)
    }

    /// Another server on this machine gets our cookie and could replace it: at least two of us do not.
    fn cookie_name(&self) -> String {
        format!("earwitness-{}", self.0.address.port())
    }

    /// Do these headers carry the cookie of the running session?
    fn knows(&self, headers: &HeaderMap, now: Instant) -> bool {
        let name = self.cookie_name();
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
        cookies
            .flat_map(|field| field.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .any(|(given, value)| given == name && self.0.door.knows(value, now))
    }

    fn keep_open(&self, now: Instant) {
        self.0.door.keep_open(now);
    }

    fn renew(&self, now: Instant) {
        if let Some(token) = self.0.door.renew(now) {
            self.announce(&token);
        }
    }

    fn playback_permit(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.0.playbacks).try_acquire_owned().map_err(|_| Refusal::Busy)
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
    Router::new()
        .route("/", get(pages::recordings))
        .route("/recordings/{id}", get(pages::recording))
        .route("/recordings/{id}/audio.wav", get(audio::audio))
        .route("/recordings/{id}/peaks", get(peaks::peaks))
        .route("/recordings/{id}/timeline.json", get(timeline::timeline))
        .route("/recordings/{id}/sip.pcapng", get(sip::capture))
        .route("/live/{id}/listen", get(listen::listen))
        .route("/calls", get(pages::calls))
        .route("/style.css", get(style))
        .route("/enter/{token}", get(enter))
        .fallback(async || Refusal::NoPage)
        .method_not_allowed_fallback(async || Refusal::WrongMethod)
        .layer(from_fn_with_state(app.clone(), guard::guard))
        // Behind the layer: who asks the API has a token and no session.
        .nest("/api/v1", api::router(&app))
        .with_state(app)
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css")).into_response()
}

/// `GET /enter/{token}`: the session begins. A HEAD, as a preview of a link sends it, does not use the token up.
async fn enter(
    State(app): State<App>,
    method: Method,
    Path(token): Path<String>,
) -> Result<Response, Refusal> {
    let cookie = match method {
        Method::GET => app.0.door.enter(&token, Instant::now()),
        _ => None,
    };
    let cookie = cookie.ok_or(Refusal::WrongToken)?;
    let field = format!("{}={cookie}; Path=/; HttpOnly; SameSite=Strict", app.cookie_name());
    let field = HeaderValue::try_from(field).map_err(|_| Refusal::BrokeOff)?;
    let mut response = Redirect::to("/").into_response();
    response.headers_mut().insert(header::SET_COOKIE, field);
    Ok(response)
}

/// The pages on their port.
#[derive(Debug)]
pub struct Server {
    runtime: Runtime,
    listener: TcpListener,
    app: App,
}

impl Server {
    /// Takes the port; see [`App::new`] for `announce`. Port 0 takes any that is free.
    ///
    /// # Errors
    /// [`Error::NotLoopback`]; [`Error::Listen`] when the address cannot be had.
    pub fn bind(
        archive: impl Into<Arc<Archive>>,
        listen: SocketAddr,
        beside: Beside,
        announce: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Server, Error> {
        if !listen.ip().is_loopback() {
            return Err(Error::NotLoopback { address: listen });
        }
        let bind = || {
            let listener = TcpListener::bind(listen)?;
            listener.set_nonblocking(true)?;
            let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
            Ok((listener.local_addr()?, listener, runtime))
        };
        let (address, listener, runtime) =
            bind().map_err(|source: io::Error| Error::Listen { address: listen, source })?;
        Ok(Server { runtime, listener, app: App::with(archive, address, beside, announce) })
    }

    /// Where the pages are.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.app.address()
    }

    /// Answers until SIGINT or SIGTERM.
    ///
    /// # Errors
    /// As [`Server::run_until`].
    pub fn run(self) -> Result<(), Error> {
        let signals = {
            let _context = self.runtime.enter();
            signal(SignalKind::interrupt()).and_then(|int| Ok((int, signal(SignalKind::terminate())?)))
        };
        let (mut interrupt, mut terminate) = signals.map_err(|source| self.error(source))?;
        self.run_until(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
    }

    /// Answers until `stop`. Replies under way get a moment to end; the archive is its owner's to close.
    ///
    /// # Errors
    /// [`Error::Listen`] when the port fails.
    pub fn run_until(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
        let Server { runtime, listener, app } = self;
        let address = app.address();
        answer(runtime, listener, router(app), address, stop)
    }

    /// Answers on a thread of its own.
    ///
    /// # Errors
    /// [`Error::Listen`] when the system gives no thread.
    pub fn spawn(self) -> Result<Running, Error> {
        spawn("pages", self.address(), move |stop| self.run_until(stop))
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Listen { address: self.address(), source }
    }
}

/// Pages that are served by a thread of their own.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    quit: oneshot::Sender<()>,
    thread: JoinHandle<Result<(), Error>>,
}

impl Running {
    /// Where the pages are.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Have they ended by themselves?
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends them, and waits until nothing of them has the archive any more.
    ///
    /// # Errors
    /// As [`Server::run_until`].
    pub fn stop(self) -> Result<(), Error> {
        // They may have ended already.
        let _ = self.quit.send(());
        match self.thread.join() {
            Ok(served) => served,
            Err(_) => {
                Err(Error::Listen { address: self.address, source: io::Error::other("the pages broke off") })
            }
        }
    }
}

/// What ends a server that has a thread of its own.
type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Has a server answer on a thread of its own, until it is told to end.
fn spawn(
    name: &str,
    address: SocketAddr,
    run: impl FnOnce(Stop) -> Result<(), Error> + Send + 'static,
) -> Result<Running, Error> {
    let (quit, asked_to) = oneshot::channel();
    let stop: Stop = Box::pin(async {
        // Gone without a word is an end as well.
        let _ = asked_to.await;
    });
    let thread = std::thread::Builder::new().name(name.into()).spawn(move || run(stop));
    let thread = thread.map_err(|source| Error::Listen { address, source })?;
    Ok(Running { address, quit, thread })
}

/// Answers until `stop`. Replies under way get a moment to end.
fn answer(
    runtime: Runtime,
    listener: TcpListener,
    router: Router,
    address: SocketAddr,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let served = runtime.block_on(serve(listener, router, stop));
    // Connections end here, and with them the renderers that wait for a listener.
    runtime.shutdown_timeout(FAREWELL);
    served.map_err(|source| Error::Listen { address, source })
}

async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = Limited::new(tokio::net::TcpListener::from_std(listener)?);
    let (stopping, stopped) = oneshot::channel();
    let stop = async move {
        stop.await;
        // The other side waits for as long as there is a server.
        let _ = stopping.send(());
    };
    tokio::select! {
        served = axum::serve(listener, router).with_graceful_shutdown(stop) => served,
        () = async {
            let _ = stopped.await;
            tokio::time::sleep(FAREWELL).await;
        } => Ok(()),
    }
}
