//! How other threads reach the recorder while it runs: jobs that it does between two frames.
//!
//! The recorder alone touches its tracker, gate and writers. Whoever wants something (the API, the feed, a page) hands a job
//! over and waits for its answer; a recorder that cannot keep up refuses jobs before they cost it packets.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use capture::EndpointControl;
use crossbeam_channel::{Receiver, Sender, bounded};
use decode::Timestamp;
use policy::feed::{Batch, Report, Word};
use policy::gate::{Refused, Reply, Request, Told};
use policy::modes::Role;
use policy::modes::orders::{Lasting, Order, Whose};
use web::live::{Live, LiveOrder, NotTaken, Status, Unavailable};

use crate::clock;
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
    /// Who joins conversations, where somebody does.
    endpoint: Option<EndpointControl>,
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
    (Control { jobs: sender, board: Arc::clone(&board), endpoint: None }, Desk { jobs: receiver, board })
}

impl Control {
    /// The same; this endpoint joins the conversations that reports tell of.
    pub(crate) fn joining(mut self, endpoint: Option<EndpointControl>) -> Control {
        self.endpoint = endpoint;
        self
    }

    /// Gives reports to whom they are for, in their order: the recorder, or of conversations the endpoint.
    ///
    /// # Errors
    /// [`Unavailable`], as [`ask`](Self::ask).
    pub(crate) fn take_reports(&self, reports: Vec<Report>) -> Result<Vec<Told>, Unavailable> {
        let mut told = Vec::with_capacity(reports.len());
        let mut waiting = Vec::new();
        for report in reports {
            let joined = match &report.word {
                Word::Join { uri, extension } => self.join(uri, extension)?,
                Word::Leave { uri } => self.leave(uri)?,
                _ => {
                    waiting.push(report);
                    continue;
                }
            };
            told.append(&mut self.hand_over(std::mem::take(&mut waiting))?);
            told.push(joined);
        }
        told.append(&mut self.hand_over(waiting)?);
        Ok(told)
    }

    fn hand_over(&self, reports: Vec<Report>) -> Result<Vec<Told>, Unavailable> {
        if reports.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(move |recorder, at| {
            reports.into_iter().map(|report| recorder.handle_report(report, at)).collect()
        })
    }

    fn join(&self, uri: &str, extension: &str) -> Result<Told, Unavailable> {
        let Some(endpoint) = &self.endpoint else { return Ok(refused(NO_ENDPOINT)) };
        match endpoint.join(uri, extension).map_err(|_| Unavailable)? {
            Ok(()) => Ok(Told { running: 1, ..Told::default() }),
            Err(error) => Ok(refused(error.words())),
        }
    }

    fn leave(&self, uri: &str) -> Result<Told, Unavailable> {
        let Some(endpoint) = &self.endpoint else { return Ok(refused(NO_ENDPOINT)) };
        let was_there = endpoint.leave(uri).map_err(|_| Unavailable)?;
        Ok(Told { running: u32::from(was_there), ..Told::default() })
    }

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

/// Why nothing is joined where no endpoint is configured.
const NO_ENDPOINT: &str = "no conversations are joined here: [record_a_call] listen and join are not set";

fn refused(why: &'static str) -> Told {
    Told { refused: Some(Refused::NotJoined(why)), ..Told::default() }
}

impl Live for Control {
    fn status(&self) -> Arc<Status> {
        Arc::clone(&self.board.lock())
    }

    fn request(&self, request: Request) -> Result<Reply, Unavailable> {
        self.ask(move |recorder, at| recorder.handle_request(&request, at))
    }

    fn orders(&self) -> Result<Vec<LiveOrder>, Unavailable> {
        self.ask(|recorder, at| recorder.orders(at))
    }

    fn order(&self, whose: Whose, what: Lasting, role: Role, name: String) -> Result<(), NotTaken> {
        let given = self.ask(move |recorder, at| recorder.order(whose, Order { what, role, name, at }))?;
        given.map_err(|full| NotTaken::Full(full.to_string()))
    }

    fn withdraw(&self, whose: Whose, by: String) -> Result<bool, Unavailable> {
        self.ask(move |recorder, at| recorder.withdraw(&whose, &by, at))
    }

    fn report(&self, json: &[u8], source: &str) -> Result<Vec<Told>, NotTaken> {
        let Batch(reports) =
            Batch::from_json(json, clock::now()).map_err(|error| NotTaken::Wrong(error.to_string()))?;
        let reports: Vec<Report> = reports.into_iter().map(|report| report.said_by(source)).collect();
        Ok(self.take_reports(reports)?)
    }

    fn windows(&self, client: String, extension: String, texts: Vec<String>) -> Result<(), NotTaken> {
        let taken = self.ask(move |recorder, at| recorder.windows(&client, &extension, &texts, at))?;
        taken.map_err(|full| NotTaken::Full(full.to_string()))
    }

    fn client_gone(&self, client: String) -> Result<(), Unavailable> {
        self.ask(move |recorder, _| recorder.client_gone(&client))
    }
}

impl Desk {
    /// Does what was asked for, as of now; says whether there was anything.
    pub(crate) fn serve(&self, recorder: &mut Recorder<'_>, now: Timestamp) -> bool {
        // Audio is judged by the tracker's time: a pause must be, too.
        let now = recorder.on_its_clock(now);
        let mut any = false;
        for job in self.jobs.try_iter().take(JOBS_AT_ONCE) {
            job(recorder, now);
            any = true;
        }
        any
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
