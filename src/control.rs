//! How other threads reach the recorder while it runs: jobs that it does between two frames.
//!
//! The recorder alone touches its tracker, gate and writers. Whoever wants something (the API, the feed, a page) hands a job
//! over and waits for its answer; a recorder that cannot keep up refuses jobs before they cost it packets.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use decode::Timestamp;
use policy::gate::{Reply, Request};
use policy::modes::orders::{Order, Whose};
use web::live::{Live, Status, Unavailable};

use crate::recorder::Recorder;

/// Jobs that may wait for the recorder; one more is refused.
const JOBS_MAX: usize = 1_024;
/// Jobs done between two looks at the source, so that they do not keep frames waiting.
const JOBS_AT_ONCE: usize = 32;
/// How long an answer is waited for. The recorder looks for jobs every 50 ms.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is done with the recorder, at this time.
type Job = Box<dyn for<'r> FnOnce(&mut Recorder<'r>, Timestamp) + Send>;

/// The side of those who ask. Clones reach the same recorder.
#[derive(Clone)]
pub(crate) struct Control {
    jobs: Sender<Job>,
    board: Arc<Board>,
}

/// The recorder's side.
pub(crate) struct Desk {
    jobs: Receiver<Job>,
    board: Arc<Board>,
}

/// Where the recorder pins up what it is doing.
#[derive(Default)]
struct Board(Mutex<Arc<Status>>);

/// Both sides.
pub(crate) fn control() -> (Control, Desk) {
    let (sender, receiver) = bounded(JOBS_MAX);
    let board = Arc::new(Board::default());
    (Control { jobs: sender, board: Arc::clone(&board) }, Desk { jobs: receiver, board })
}

impl Control {
    /// Has something done with the recorder, and waits for what comes of it.
    ///
    /// # Errors
    /// [`Unavailable`]: there is no recorder any more, or it has too much to do. The job may then still be done.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        job: impl for<'r> FnOnce(&mut Recorder<'r>, Timestamp) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (answer, answered) = bounded(1);
        let job = move |recorder: &mut Recorder<'_>, at: Timestamp| {
            // Who asked may have given up.
            let _ = answer.send(job(recorder, at));
        };
        self.jobs.try_send(Box::new(job)).map_err(|_| Unavailable)?;
        answered.recv_timeout(PATIENCE).map_err(|_| Unavailable)
    }
}

impl Live for Control {
    fn status(&self) -> Arc<Status> {
        Arc::clone(&self.board.lock())
    }

    fn request(&self, request: Request) -> Result<Reply, Unavailable> {
        self.ask(move |recorder, at| recorder.handle_request(&request, at))
    }

    fn orders(&self) -> Result<Vec<(Whose, Order)>, Unavailable> {
        self.ask(|recorder, _| recorder.orders())
    }
}

impl Desk {
    /// Does what was asked for, as of now.
    pub(crate) fn serve(&self, recorder: &mut Recorder<'_>, now: Timestamp) {
        for job in self.jobs.try_iter().take(JOBS_AT_ONCE) {
            job(recorder, now);
        }
    }

    /// Shows what the recorder is doing.
    pub(crate) fn show(&self, status: Status) {
        *self.board.lock() = Arc::new(status);
    }
}

impl Board {
    /// It holds one pointer: nothing can be left half done.
    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<Status>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
