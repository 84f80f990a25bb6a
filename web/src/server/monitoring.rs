//! `/metrics`, `/healthz`, `/readyz`: for whoever watches over the machine, on an address of its own and without a token.
//! They name no call and no number.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use decode::Timestamp;
use tokio::runtime::Builder;

use super::serving::{Running, answer, spawn};
use crate::Error;
use crate::live::{Live, Status};
use crate::metrics::{self, Machine};

/// A recorder that has given no sign of life for so long is not well.
const SILENCE_MS: u64 = 10_000;

/// What is told of.
pub struct Monitoring {
    /// The recorder.
    pub live: Arc<dyn Live>,
    /// A look at the machine; may take a moment.
    pub machine: Box<dyn Fn() -> Machine + Send + Sync>,
    /// The clock.
    pub now: fn() -> Timestamp,
}

impl std::fmt::Debug for Monitoring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitoring").finish_non_exhaustive()
    }
}

impl Monitoring {
    /// Answers at `listen` on a thread of its own.
    ///
    /// # Errors
    /// [`Error::Listen`] when the address cannot be had.
    pub fn spawn(self, listen: SocketAddr) -> Result<Running, Error> {
        let bind = || {
            let listener = TcpListener::bind(listen)?;
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener, Builder::new_current_thread().enable_all().build()?))
        };
        let (address, listener, runtime) =
            bind().map_err(|source| Error::Listen { address: listen, source })?;
        spawn("metrics", address, move |stop| answer(runtime, listener, None, self.router(), address, stop))
    }

    /// The three addresses.
    pub fn router(self) -> Router {
        Router::new()
            .route("/metrics", get(figures))
            .route("/healthz", get(health))
            .route("/readyz", get(readiness))
            .with_state(Arc::new(self))
    }

    /// Does the recorder's thread go round?
    fn is_alive(&self, status: &Status) -> bool {
        status.at.is_some_and(|at| (self.now)().millis_since(at) < SILENCE_MS)
    }
}

async fn figures(State(all): State<Arc<Monitoring>>) -> Response {
    let text = metrics::text(&all.live.status(), &(all.machine)(), (all.now)());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// `GET /healthz`: a supervisor that gets no 200 here should start the program anew.
async fn health(State(all): State<Arc<Monitoring>>) -> (StatusCode, &'static str) {
    if all.is_alive(&all.live.status()) {
        (StatusCode::OK, "alive\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the recorder gives no sign of life\n")
    }
}

/// `GET /readyz`: does it record?
async fn readiness(State(all): State<Arc<Monitoring>>) -> (StatusCode, String) {
    let status = all.live.status();
    let mut why = Vec::new();
    if !all.is_alive(&status) {
        why.push("the recorder gives no sign of life".to_owned());
    }
    if let Some(failure) = &status.failure {
        tracing::debug!(failure, "not ready");
        why.push("the archive does not take what is recorded; the log says why".to_owned());
    }
    why.extend(status.ports.iter().filter(|port| !port.up).map(|port| format!("{} is down", port.name)));
    if why.is_empty() {
        (StatusCode::OK, "recording\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, why.join("\n") + "\n")
    }
}
