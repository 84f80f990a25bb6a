//! Pages, API and metrics on their ports: the sockets, the runtime, and how they end.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use rustls::ServerConfig;
use store::Archive;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::certificate::Certificate;
use super::limited::{Limited, Peer};
use super::{App, Beside, Reached, router};
use crate::Error;

/// How long replies under way may take after the end was asked for. A player that pauses holds its reply open for ever.
const FAREWELL: Duration = Duration::from_millis(500);
/// Threads that answer; reading and decoding have threads of their own.
const WORKERS: usize = 2;

/// Where the pages are, and how they are reached.
#[derive(Debug)]
pub struct Place {
    /// Their address; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// With one they are served over HTTPS; without, over HTTP and to this machine alone.
    pub certificate: Option<Certificate>,
    /// Names by which browsers reach them, besides addresses and `localhost`.
    pub names: Vec<String>,
}

impl Place {
    /// Over HTTP, at this address.
    #[must_use]
    pub fn plain(listen: SocketAddr) -> Place {
        Place { listen, certificate: None, names: Vec::new() }
    }
}

/// The pages on their port.
#[derive(Debug)]
pub struct Server {
    runtime: Runtime,
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    app: App,
}

impl Server {
    /// Takes the port; see [`App::new`] for `announce`.
    ///
    /// # Errors
    /// [`Error::NotLoopback`] for other machines' eyes without a certificate; [`Error::Certificate`]; [`Error::Listen`] when the
    /// address cannot be had.
    pub fn bind(
        archive: impl Into<Arc<Archive>>,
        place: Place,
        beside: Beside,
        announce: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Server, Error> {
        let Place { listen, certificate, names } = place;
        if certificate.is_none() && !listen.ip().is_loopback() {
            return Err(Error::NotLoopback { address: listen });
        }
        let fingerprint = certificate.as_ref().map(Certificate::fingerprint);
        let tls = certificate.map(|certificate| certificate.config()).transpose()?;
        let bind = || {
            let listener = TcpListener::bind(listen)?;
            listener.set_nonblocking(true)?;
            let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
            Ok((listener.local_addr()?, listener, runtime))
        };
        let (address, listener, runtime) =
            bind().map_err(|source: io::Error| Error::Listen { address: listen, source })?;
        let reached = match fingerprint {
            Some(fingerprint) => Reached::secure(address, names, fingerprint),
            None => Reached::plain(address),
        };
        Ok(Server { runtime, listener, tls, app: App::new(archive, reached, beside, announce) })
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
        let Server { runtime, listener, tls, app } = self;
        let address = app.address();
        answer(runtime, listener, tls, router(app), address, stop)
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
pub(super) type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Has a server answer on a thread of its own, until it is told to end.
pub(super) fn spawn(
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
pub(super) fn answer(
    runtime: Runtime,
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    address: SocketAddr,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let served = runtime.block_on(serve(listener, tls, router, stop));
    // Connections end here, and with them the renderers that wait for a listener.
    runtime.shutdown_timeout(FAREWELL);
    served.map_err(|source| Error::Listen { address, source })
}

async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = Limited::new(tokio::net::TcpListener::from_std(listener)?, tls)?;
    let router = router.into_make_service_with_connect_info::<Peer>();
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
