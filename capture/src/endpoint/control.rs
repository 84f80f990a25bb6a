//! How other threads have the endpoint join conversations and leave them.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use decode::endpoint::JoinError;

/// Wishes that may wait for the endpoint's thread; one more is refused.
const WISHES_MAX: usize = 256;
/// How long an answer is waited for. The thread looks for wishes every 20 ms.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is wished for.
#[derive(Debug)]
pub(super) enum Wish {
    /// Calls are to be taken.
    Open,
    /// To join the conversation at a URI for an extension.
    Join { uri: String, extension: String, answer: Sender<Result<(), JoinError>> },
    /// To leave it; answered with whether we were there.
    Leave { uri: String, answer: Sender<bool> },
}

/// The side of those who wish. Clones reach the same endpoint.
#[derive(Clone, Debug)]
pub struct EndpointControl(Sender<Wish>);

/// The endpoint does not answer, or has too much to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointBusy;

pub(super) fn wishes() -> (EndpointControl, Receiver<Wish>) {
    let (sender, receiver) = bounded(WISHES_MAX);
    (EndpointControl(sender), receiver)
}

impl EndpointControl {
    /// Joins the conversation at this URI for an extension; the inner error says why not.
    ///
    /// # Errors
    ///
    /// [`EndpointBusy`].
    pub fn join(&self, uri: &str, extension: &str) -> Result<Result<(), JoinError>, EndpointBusy> {
        let (answer, answered) = bounded(1);
        self.wish(Wish::Join { uri: uri.to_owned(), extension: extension.to_owned(), answer })?;
        answered.recv_timeout(PATIENCE).map_err(|_| EndpointBusy)
    }

    /// Leaves it again; false when we are not there.
    ///
    /// # Errors
    ///
    /// [`EndpointBusy`].
    pub fn leave(&self, uri: &str) -> Result<bool, EndpointBusy> {
        let (answer, answered) = bounded(1);
        self.wish(Wish::Leave { uri: uri.to_owned(), answer })?;
        answered.recv_timeout(PATIENCE).map_err(|_| EndpointBusy)
    }

    /// What is received is recorded from now on: an endpoint that opens later takes calls, and registers.
    ///
    /// # Errors
    ///
    /// [`EndpointBusy`].
    pub fn open(&self) -> Result<(), EndpointBusy> {
        self.wish(Wish::Open)
    }

    fn wish(&self, wish: Wish) -> Result<(), EndpointBusy> {
        self.0.try_send(wish).map_err(|_| EndpointBusy)
    }
}
