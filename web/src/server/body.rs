//! Bodies that are made while they are sent: what comes from a thread that works becomes what a connection takes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

use super::App;
use super::caller::Asker;

/// How often it is asked whether somebody is still let in.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Taking audio is a use of the session, as asking for a page is; and it ends with the session, and with the account.
#[derive(Debug)]
pub(super) struct Use {
    app: App,
    asker: Asker,
    looked: Instant,
}

impl Use {
    pub(super) fn new(app: &App, asker: &Asker) -> Use {
        Use { app: app.clone(), asker: asker.clone(), looked: Instant::now() }
    }

    /// # Errors
    /// When who takes it is not let in any more; looked at once a second.
    fn go_on(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if now.saturating_duration_since(self.looked) < LOOK_EVERY {
            return Ok(());
        }
        self.looked = now;
        match self.app.goes_on(&self.asker, now) {
            true => Ok(()),
            false => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }
}

/// Exactly as many bytes as announced, or an error that ends the connection.
#[derive(Debug)]
pub(super) struct Exactly {
    chunks: mpsc::Receiver<Bytes>,
    left: u64,
    used: Use,
}

impl Exactly {
    pub(super) fn new(chunks: mpsc::Receiver<Bytes>, left: u64, used: Use) -> Exactly {
        Exactly { chunks, left, used }
    }
}

impl http_body::Body for Exactly {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(match ready!(self.chunks.poll_recv(context)) {
            Some(chunk) => {
                self.left = self.left.saturating_sub(chunk.len() as u64);
                let goes_on = self.used.go_on();
                if goes_on.is_err() {
                    self.left = 0;
                }
                goes_on.map(|()| Frame::data(chunk))
            }
            None => {
                self.left = 0;
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// As many bytes as come; an error among them ends the connection before its end, so that nobody takes them for whole.
#[derive(Debug)]
pub(super) struct Chunks {
    chunks: mpsc::Receiver<Result<Bytes, io::Error>>,
    used: Use,
}

impl Chunks {
    pub(super) fn new(chunks: mpsc::Receiver<Result<Bytes, io::Error>>, used: Use) -> Chunks {
        Chunks { chunks, used }
    }
}

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let chunk = ready!(self.chunks.poll_recv(context));
        let goes_on = self.used.go_on();
        Poll::Ready(chunk.map(|chunk| goes_on.and(chunk).map(Frame::data)))
    }
}
