//! What the archive, its writers and its two threads share.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use decode::Timestamp;

use crate::book::Newest;
use crate::disk::{Disk, Lock, locked};
use crate::index::Index;
use crate::keys::Keys;
use crate::listen::Tail;
use crate::locations::Locations;
use crate::log::witness::Witnesses;
use crate::space::{Space, SpaceAlert};
use crate::trouble::Board;
use crate::{Error, RecordingId, Row};

/// The wall clock, for what people did and for checkpoints; recordings have the time of their capture.
pub(crate) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Alerts kept for whoever asks; older ones are in the log of the process.
const ALERTS_MAX: usize = 100;

/// Bytes of a disk of which a larger reserve is no loss: 16 GiB.
const ROOMY: u64 = 16 << 30;

/// What can be set for tests; [`Tuning::on`] is what ships.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    /// Bytes of journal after which a new one is begun and the files are brought to disk.
    pub(crate) journal_max: u64,
    /// Bytes kept aside so that running recordings can be ended when the disk is full: what is journaled and not yet in
    /// the files (`waiting_max`, and what comes within a sync interval), and some kilobytes for each end.
    pub(crate) reserve: u64,
    /// Chunks of one recording that are worth a write to its file, in bytes. Until then the journal alone has them.
    pub(crate) write_from: u64,
    /// The most of these, of all recordings, in bytes; then all of it is written.
    pub(crate) waiting_max: u64,
    /// How long nothing runs before the journal is settled all the same, and no file of a recording stays open.
    pub(crate) rest: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning {
            journal_max: 64 << 20,
            reserve: 24 << 20,
            // 3.6 s of G.711 both ways.
            write_from: 64 << 10,
            waiting_max: 8 << 20,
            rest: Duration::from_secs(30),
        }
    }
}

impl Tuning {
    /// What ships, for an archive on this disk: a small one is not taken up by its reserve, and has not thousands of calls.
    pub(crate) fn on(space: Option<Space>) -> Tuning {
        let small = Tuning::default();
        match space {
            Some(space) if space.total >= ROOMY => {
                Tuning { reserve: 64 << 20, waiting_max: 32 << 20, ..small }
            }
            _ => small,
        }
    }
}

/// The first failure of something that stays failed; cheap to ask.
#[derive(Debug, Default)]
pub(crate) struct Latch {
    set: AtomicBool,
    error: Mutex<Option<Error>>,
}

impl Latch {
    /// The first call wins.
    pub(crate) fn set(&self, error: Error) {
        let mut first = locked(&self.error);
        if first.is_none() {
            *first = Some(error);
            self.set.store(true, Ordering::Release);
        }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if !self.is_set() {
            return Ok(());
        }
        Err(locked(&self.error).as_ref().map_or(Error::Closed, Error::again))
    }
}

/// A recording that is being written, as its writer and the disk thread see it.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) id: RecordingId,
    /// Its file.
    pub(crate) path: String,
    /// Why it can no longer be written.
    pub(crate) failed: Latch,
}

/// What the archive, its writers and its threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    /// The archive's name for ever, from `archive.json`.
    pub(crate) id: String,
    /// The archive's folder, for messages.
    pub(crate) root: PathBuf,
    pub(crate) keys: Keys,
    pub(crate) index: Index,
    pub(crate) tuning: Tuning,
    /// Recordings that the index does not have yet: running ones, and finished ones until their row is put.
    pub(crate) live: Mutex<BTreeMap<RecordingId, Arc<Row>>>,
    /// Where running recordings can be listened to.
    pub(crate) tails: Mutex<BTreeMap<RecordingId, Arc<Tail>>>,
    /// A journal write or an fsync failed: nothing can be promised any more until the archive is opened again.
    pub(crate) failed: Latch,
    /// What stands in the way of the archive's own threads.
    pub(crate) board: Arc<Board>,
    /// The disk is full; only ends of recordings are written.
    pub(crate) full: AtomicBool,
    /// What was noticed about the room on the disk, newest last; at most [`ALERTS_MAX`].
    pub(crate) alerts: Mutex<VecDeque<(Timestamp, SpaceAlert)>>,
    /// Held while it is decided about a recording, so that a hold cannot come between looking and deleting.
    pub(crate) decisions: Mutex<()>,
    /// One at a time keeps what the watch over the clock has seen.
    pub(crate) clock_watch: Mutex<()>,
    /// The number of the newest journal of which nothing is left on disk.
    pub(crate) journals_gone: AtomicU64,
    /// How long the chunks of recordings that begin now may span, in milliseconds of capture time.
    pub(crate) chunk_span_ms: AtomicI64,
    /// Who may sign in.
    pub(crate) accounts: crate::accounts::Kept,
    /// Filters under names.
    pub(crate) saved: crate::saved::Saved,
    /// The newest version of the rule book.
    pub(crate) book: Newest,
    /// Where copies of recordings go.
    pub(crate) locations: Locations,
    /// Who keeps copies of checkpoints elsewhere.
    pub(crate) witnesses: Witnesses,
    /// Dropped last: the index must be closed before another process may open it.
    pub(crate) _lock: Lock,
}

impl Shared {
    /// Keeps an alert, and logs it.
    pub(crate) fn alert(&self, alert: SpaceAlert) {
        let archive = self.root.display();
        match alert {
            SpaceAlert::Again => tracing::info!(%archive, "{alert}"),
            SpaceAlert::Full => tracing::error!(%archive, "{alert}"),
            _ => tracing::warn!(%archive, "{alert}"),
        }
        let mut alerts = locked(&self.alerts);
        alerts.push_back((wall_clock(), alert));
        while alerts.len() > ALERTS_MAX {
            alerts.pop_front();
        }
    }

    /// Can something new be written now?
    pub(crate) fn ready(&self) -> Result<(), Error> {
        self.failed.check()?;
        if self.full.load(Ordering::Acquire) {
            return Err(Error::Full { path: self.root.clone() });
        }
        Ok(())
    }

    /// Is it running, or finished and not yet in the index?
    pub(crate) fn is_live(&self, id: RecordingId) -> bool {
        locked(&self.live).contains_key(&id)
    }

    /// Is the recording still being written?
    pub(crate) fn is_running(&self, id: RecordingId) -> bool {
        locked(&self.live).get(&id).is_some_and(|row| row.facts.state == crate::State::Recording)
    }
}
