//! The disk thread: the only writer of an open archive.
//!
//! Journal first, then the file. Writers hand in sealed chunks over a bounded channel; the journal is written at once
//! and synced for all calls together at most [`SYNC_INTERVAL`] later; only then are the files written. So a file never
//! holds anything that the journal on disk does not, and what a crash leaves is what the journal says. Chunks of a recording that runs wait in
//! the journal alone until they are worth a write ([`chunks`]).
//!
//! A write to a recording's file that fails is made good from the journal; a sync of the journal that fails ends the session, because nothing
//! that the kernel says after it can be believed. When the disk is full, a reserve is given up so that running recordings can be ended. What takes
//! long is [`crate::settle`]'s.

mod behind;
mod changes;
mod chunks;
mod ends;
mod known;
mod queue;
mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use self::behind::Behind;
use self::chunks::Waiting;
pub(crate) use self::queue::Commands;
use self::queue::Inbox;
use crate::closing::Ending;
use crate::disk::parent;
use crate::event::Event;
use crate::journal::{self, JOURNAL_DIR, Part, Transaction};
use crate::ledger::{self, RecordingLine};
use crate::log::{LEAVES, Log};
use crate::seal::Sealers;
use crate::settle::{self, Task};
use crate::shared::{Open, Shared, wall_clock};
use crate::space::SpaceWatch;
use crate::wave::{COMMITMENT_LEN, RECORDINGS_DIR, WRAP_LEN};
use crate::{Error, RecordingFacts, RecordingId};

/// The longest that a written journal entry waits for its sync.
const SYNC_INTERVAL: Duration = Duration::from_millis(200);
/// How often room for the reserve is looked for while the disk is full.
const FULL_RETRY: Duration = Duration::from_secs(2);
/// How often the room on the disk is looked at.
const FIRST_SPACE_LOOK: Duration = Duration::from_secs(1);
const SPACE_LOOK: Duration = Duration::from_secs(10);
/// The longest that the key of a discarded recording stays in a journal.
const SHRED_INTERVAL: Duration = Duration::from_secs(5);
/// The least journal per running recording before a new one is begun, in bytes: eight seconds of G.711 both ways.
const JOURNAL_PER_CALL: u64 = 128 * 1024;
/// The longest that a line of the ledger waits for a checkpoint.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);
/// Bytes of entries other than chunks that may wait for the journal's sync; then it comes early.
const PENDING_BYTES_MAX: usize = 8 << 20;
/// Lines for the ledger kept in memory while the disk is full; one more ends the session.
const WAITING_LINES_MAX: usize = 100_000;
/// Bytes after which the list at the beginning of a journal goes on in another entry.
const FIRST_ENTRY_MAX: usize = 1 << 20;
/// Chunks that go into the journal in one write.
const CHUNKS_TOGETHER_MAX: usize = 256;
/// Chunk buffers kept for reuse: what comes in 50 ms of 3,000 calls, while the journal is synced.
const POOL_MAX: usize = 1024;
/// Larger ones are not kept.
const POOLED_BYTES_MAX: usize = 16 * 1024;
/// Room kept aside for the ends of recordings.
pub(crate) const RESERVE: &str = "journal/reserve";

/// What is put over a line of the ledger whose time is over.
#[derive(Debug)]
pub(crate) struct Blank {
    pub(crate) file: String,
    /// Where the line begins.
    pub(crate) at: u64,
    /// As long as the line.
    pub(crate) bytes: Vec<u8>,
}

/// What the disk thread is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Begin a file: a journal entry whose only write is the header, `len` bytes.
    Create { open: Arc<Open>, entry: Vec<u8>, len: u64 },
    /// Append a sealed chunk.
    Chunk(Chunk),
    /// Keep what is known of a running recording by now, in JSON, in case that its end does not come.
    Know { open: Arc<Open>, facts: Vec<u8> },
    /// End a recording in order.
    Finish { open: Arc<Open>, ending: Box<Ending> },
    /// End a recording at what is on disk.
    Abandon { open: Arc<Open>, facts: Option<Box<RecordingFacts>> },
    /// Destroy a recording: the key, then the file. Answers false, and nothing is done, while it is under a hold.
    Discard { open: Arc<Open>, line: Box<RecordingLine>, answer: Sender<Result<bool, Error>> },
    /// Destroy finished recordings: of each the key, then the file.
    Delete { lines: Vec<RecordingLine>, answer: Sender<Result<(), Error>> },
    /// Replace the line of a deleted recording by one that says less: its facts go too.
    Forget { lines: Vec<RecordingLine>, answer: Sender<Result<(), Error>> },
    /// Leave only the stubs of recordings here, and add the event that says so.
    Move { stubs: Vec<(RecordingId, Vec<u8>)>, event: Box<Event>, answer: Sender<Result<(), Error>> },
    /// Blank lines of the ledger, and add the event that says so.
    Erase { lines: Vec<Blank>, event: Box<Event>, answer: Sender<Result<(), Error>> },
    /// Append an event to the ledger.
    Event { event: Box<Event>, answer: Sender<Result<(), Error>> },
    /// Sign how far the ledger has come, now.
    Checkpoint(Sender<Result<(), Error>>),
    /// Append a line to a ledger file; nothing is to be expected of this key any more.
    Line { ledger: String, line: Vec<u8>, settles: Option<u64> },
    /// Keep the line that the ledger gets if nothing more is heard of this key.
    Expect { key: u64, ledger: String, line: Vec<u8> },
    /// Put new wraps into the headers of recordings. Answers when they are on their way.
    Rewrap { wraps: Vec<Rewrap>, answer: Sender<Result<(), Error>> },
    /// Put the file that waits for a finished recording in its place, and add the line that says so. Answers when it is there;
    /// false, and nothing is done, while a journal holds something of the file.
    Replace { ending: Box<Ending>, commitment: [u8; COMMITMENT_LEN], answer: Sender<Result<bool, Error>> },
    /// Begin a new journal. Answers when everything before is on disk and no journal holds it any more.
    NewJournal(Sender<Result<(), Error>>),
    /// Answer when everything before is in the journal, on disk, and written to the files, but for chunks of recordings that run.
    Flush(Sender<Result<(), Error>>),
    /// Answer when this recording's chunks are in its file, too, as far as the journal is on disk.
    Bring { id: RecordingId, answer: Sender<Result<(), Error>> },
    /// Answer when everything before is on disk, the index too.
    Sync(Sender<Result<(), Error>>),
    /// End all recordings, bring everything to disk, stop.
    Close(Sender<Result<(), Error>>),
}

/// A sealed chunk: a journal entry whose only write is the chunk, at `offset` and up to `end` of the file.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) open: Arc<Open>,
    pub(crate) entry: Vec<u8>,
    pub(crate) offset: u64,
    pub(crate) end: u64,
}

/// A data key that was wrapped anew.
#[derive(Debug)]
pub(crate) struct Rewrap {
    pub(crate) id: RecordingId,
    /// The recording's file.
    pub(crate) path: String,
    /// The new wrap.
    pub(crate) bytes: [u8; WRAP_LEN],
}

/// The ends of the disk thread that writers and the archive hold.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) commands: Commands,
    /// Buffers of written chunks, for reuse.
    pub(crate) pool: Receiver<Vec<u8>>,
    /// Who seals for the writers; they do it themselves while there is nobody.
    pub(crate) sealers: OnceLock<Sealers>,
    pub(crate) thread: JoinHandle<()>,
}

/// Starts the disk thread (and the one behind it) on journal file `number`, which must not be there yet.
pub(crate) fn spawn(shared: Arc<Shared>, number: u64, log: Log) -> Result<Handle, Error> {
    let io = |e| Error::io(&shared.root, e);
    let (commands, mut inbox) = queue::queue();
    let (pool_in, pool) = crossbeam_channel::bounded(POOL_MAX);
    let (tasks, settle) = settle::spawn(Arc::clone(&shared)).map_err(io)?;
    let mut scribe = Scribe {
        shared: Arc::clone(&shared),
        journal: Journal::default(),
        running: BTreeMap::new(),
        touched: BTreeSet::new(),
        journaled: BTreeMap::new(),
        ledger_ends: BTreeMap::new(),
        checkpoint_due: log.is_ahead().then(|| Instant::now() + CHECKPOINT_INTERVAL),
        log,
        waiting_lines: Vec::new(),
        expected: BTreeMap::new(),
        expected_behind: false,
        pending: Vec::new(),
        pending_bytes: 0,
        waiting: BTreeMap::new(),
        waiting_bytes: 0,
        scratch: Vec::new(),
        tasks,
        pool: pool_in,
        rotate_due: None,
        rest_due: None,
        full_since: None,
        space: SpaceWatch::default(),
        // Not at once: a command that lists something has no alerts to give.
        space_due: Instant::now() + FIRST_SPACE_LOOK,
        behind: None,
        left: Vec::new(),
        held: BTreeMap::new(),
    };
    scribe.begin_journal(number)?;
    scribe.take_reserve();
    let run = move || {
        let answer = scribe.run(&mut inbox);
        // What is still sent is refused.
        drop(inbox);
        let result = scribe.close();
        drop(scribe);
        // The second thread ends when its queue is empty and the sender gone.
        let settled = settle.join().map_err(|_| Error::Closed);
        if let Some(answer) = answer {
            // Whoever closed may have stopped waiting.
            let _ = answer.send(result.and(settled).and_then(|()| shared.failed.check()));
        }
    };
    let thread = std::thread::Builder::new().name("archive-disk".into()).spawn(run);
    let sealers = OnceLock::new();
    Ok(Handle { commands, pool, sealers, thread: thread.map_err(|e| Error::io("", e))? })
}

/// The journal file being written.
#[derive(Debug, Default)]
struct Journal {
    number: u64,
    path: String,
    /// Bytes of whole entries.
    len: u64,
    /// So many of them are on disk.
    synced: u64,
    /// When the oldest entry that is not synced was written.
    unsynced: Option<Instant>,
}

impl Journal {
    /// An entry of so many bytes was written.
    fn grow(&mut self, len: usize) {
        self.len += len as u64;
        self.unsynced.get_or_insert_with(Instant::now);
    }
}

/// A journal entry whose files are not written yet.
#[derive(Debug)]
struct Pending {
    entry: Vec<u8>,
    /// The recording that it belongs to; none for lines of the ledger.
    open: Option<Arc<Open>>,
    /// What the second thread is to do once the files are written.
    then: Option<Task>,
}

/// A recording that is being written.
#[derive(Debug)]
struct Running {
    open: Arc<Open>,
    /// Bytes of its file so far, as journaled.
    len: u64,
    /// The newest journal that holds something of it.
    journal: u64,
    /// What is known of it by now, in JSON, where that is more than its header says.
    known: Option<Vec<u8>>,
}

struct Scribe {
    shared: Arc<Shared>,
    journal: Journal,
    running: BTreeMap<RecordingId, Running>,
    /// Files other than those of running recordings that the journal holds something of.
    touched: BTreeSet<String>,
    /// Recordings that an earlier journal holds something of, with its number; those whose journal is gone are let go.
    journaled: BTreeMap<String, u64>,
    /// Lengths of ledger files, as journaled.
    ledger_ends: BTreeMap<String, u64>,
    /// The hash tree over the ledger, as journaled.
    log: Log,
    /// When the next checkpoint must be there: lines have come since the last one.
    checkpoint_due: Option<Instant>,
    /// Lines for the ledger that found no room.
    waiting_lines: Vec<(String, Vec<u8>, Option<u64>)>,
    /// Lines that the ledger gets if nothing more is heard of their key, with its file. Each new journal begins with them.
    expected: BTreeMap<u64, (String, Vec<u8>)>,
    /// Journaled, and waiting for the journal's sync.
    pending: Vec<Pending>,
    /// Their length.
    pending_bytes: usize,
    /// Chunks that are in the journal alone.
    waiting: BTreeMap<RecordingId, Waiting>,
    /// Their length.
    waiting_bytes: u64,
    /// What they are read back into.
    scratch: Vec<u8>,
    tasks: Sender<Task>,
    pool: Sender<Vec<u8>>,
    /// Some of them are not in the journal: the disk is full.
    expected_behind: bool,
    /// When the journal must go although it is not long: it holds the key of a discarded recording, or the disk is full.
    rotate_due: Option<Instant>,
    /// When the journal is settled because nothing runs any more; none while something does, or when there is nothing to settle.
    rest_due: Option<Instant>,
    /// Since when the disk is full.
    full_since: Option<Instant>,
    /// The room on the disk.
    space: SpaceWatch,
    space_due: Instant,
    /// Something that the journal holds could not be written to its file.
    behind: Option<Behind>,
    /// Recordings that could not be ended, with what their writers said of them.
    left: Vec<(Arc<Open>, Option<RecordingFacts>)>,
    /// Holds on recordings that run, by their names.
    held: BTreeMap<RecordingId, BTreeSet<String>>,
}

impl Scribe {
    /// Works until it is told to close (then gives where to answer) or until everybody has left.
    fn run(&mut self, inbox: &mut Inbox) -> Option<Sender<Result<(), Error>>> {
        loop {
            let sync_due = self.journal.unsynced.map(|at| at + SYNC_INTERVAL);
            let others = [
                self.rest_due,
                self.full_retry(),
                self.checkpoint_due,
                self.behind_due(),
                Some(self.space_due),
            ];
            let deadline = [sync_due, self.rotate_due].into_iter().chain(others);
            match inbox.next(deadline.flatten().min()) {
                Ok(Command::Close(answer)) => return Some(answer),
                Ok(Command::Chunk(first)) => {
                    // Those that are there already go into the journal together.
                    let mut chunks = vec![first];
                    let other = loop {
                        match inbox.take() {
                            Ok(Some(Command::Chunk(chunk))) => chunks.push(chunk),
                            Ok(other) => break other,
                            // The next look finds that again.
                            Err(_) => break None,
                        }
                        if chunks.len() >= CHUNKS_TOGETHER_MAX {
                            break None;
                        }
                    };
                    self.chunks(chunks);
                    match other {
                        Some(Command::Close(answer)) => return Some(answer),
                        Some(command) => self.handle(command),
                        None => {}
                    }
                }
                Ok(command) => self.handle(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
            self.keep_time();
        }
    }

    fn full_retry(&self) -> Option<Instant> {
        self.full_since.map(|at| at + FULL_RETRY)
    }

    /// Does what is due by the clock.
    fn keep_time(&mut self) {
        let now = Instant::now();
        let due = self.journal.unsynced.is_some_and(|at| now >= at + SYNC_INTERVAL);
        if due || self.pending_bytes >= PENDING_BYTES_MAX {
            // The failure is kept in `shared`, where the next call of every writer finds it.
            let _ = self.settle().map(|()| self.write_due());
        }
        // With many calls each journal is longer, so that a checkpoint is not all syncing.
        let long = self.shared.tuning.journal_max.max(self.running.len() as u64 * JOURNAL_PER_CALL);
        let long = self.journal.len >= long;
        if long || self.rotate_due.is_some_and(|due| now >= due) {
            let was_due = self.rotate_due.take().is_some();
            if (self.rotate().is_err() || self.is_behind()) && was_due {
                // A key that was destroyed still stands in it.
                self.rotate_due = Some(now + SHRED_INTERVAL);
            }
        }
        if self.behind_due().is_some_and(|due| now >= due) {
            self.catch_up();
        }
        if self.is_resting() {
            let due = *self.rest_due.get_or_insert(now + self.shared.tuning.rest);
            if now >= due {
                // Logged; tried again after as long.
                self.rest_due = None;
                let _ = self.rotate();
            }
        } else {
            self.rest_due = None;
        }
        if self.checkpoint_due.is_some_and(|at| now >= at) {
            // Logged, and tried again.
            let _ = self.checkpoint();
        }
        if self.full_retry().is_some_and(|at| now >= at) {
            self.take_reserve();
        }
        if now >= self.space_due {
            self.space_due = now + SPACE_LOOK;
            let looked = self.shared.disk.space().map(|space| self.space.look(wall_clock(), space));
            looked.into_iter().flatten().for_each(|alert| self.shared.alert(alert));
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Create { open, entry, len } => self.create(open, entry, len),
            Command::Chunk(chunk) => self.chunk(chunk),
            Command::Know { open, facts } => self.know(&open, facts),
            Command::Finish { open, ending } => self.finish(&open, *ending),
            Command::Abandon { open, facts } => self.interrupt(&open, facts.map(|facts| *facts)),
            Command::Discard { open, line, answer } => {
                let _ = answer.send(self.discard(&open, &line));
            }
            Command::Delete { lines, answer } => {
                let _ = answer.send(self.delete(lines));
            }
            Command::Forget { lines, answer } => {
                let _ = answer.send(lines.into_iter().try_for_each(|line| self.forget(line)));
            }
            Command::Move { stubs, event, answer } => {
                let _ = answer.send(self.move_out(&stubs, event));
            }
            Command::Erase { lines, event, answer } => {
                let _ = answer.send(self.erase(&lines, event));
            }
            Command::Event { event, answer } => {
                let _ = answer.send(self.event(event));
            }
            Command::Checkpoint(answer) => {
                let _ = answer.send(self.checkpoint());
            }
            Command::Line { ledger, line, settles } => {
                self.waiting_lines.push((ledger, line, settles));
                self.write_lines();
            }
            Command::Expect { key, ledger, line } => self.expect(key, ledger, line),
            Command::Rewrap { wraps, answer } => {
                let _ = answer.send(self.rewrap(&wraps));
            }
            Command::Replace { ending, commitment, answer } => {
                let _ = answer.send(self.replace(&ending, &commitment));
            }
            Command::NewJournal(answer) => self.new_journal(answer),
            Command::Flush(answer) => {
                let _ = answer.send(self.settle());
            }
            Command::Bring { id, answer } => {
                self.write_synced(id);
                let _ = answer.send(Ok(()));
            }
            Command::Sync(answer) => self.sync(answer),
            Command::Close(answer) => {
                let _ = answer.send(Err(Error::Closed));
            }
        }
    }

    fn create(&mut self, open: Arc<Open>, entry: Vec<u8>, len: u64) {
        match self.commit(entry, Some(&open), None) {
            Ok(()) => {
                let running =
                    Running { open: Arc::clone(&open), len, journal: self.journal.number, known: None };
                self.running.insert(open.id, running);
            }
            Err(e) => self.fail(&open, e),
        }
    }

    /// The recording cannot be written any more; its writer finds out at its next chunk.
    fn fail(&self, open: &Open, error: Error) {
        match error {
            // Told once, for all recordings.
            Error::Full { .. } => {
                tracing::debug!(recording = %open.id, "the recording ends: the disk is full")
            }
            _ => tracing::error!(recording = %open.id, error = %error, "the recording cannot go on"),
        }
        open.failed.set(error);
    }

    /// Begins a new journal and has the old ones settled and removed.
    fn new_journal(&mut self, answer: Sender<Result<(), Error>>) {
        self.write_lines();
        let kept =
            || Error::damaged(JOURNAL_DIR, "a file could not be written; opening the archive again mends it");
        match self.rotate() {
            Ok(()) if self.is_behind() => drop(answer.send(Err(kept()))),
            Ok(()) => drop(self.tasks.send(Task::Sync(answer))),
            Err(e) => drop(answer.send(Err(e))),
        }
    }

    /// Writes the lines that wait. On a full disk they go on waiting; any other failure ends the session, because the
    /// balance sheet must not lose a line.
    fn write_lines(&mut self) {
        for (ledger, line, settles) in std::mem::take(&mut self.waiting_lines) {
            match self.line(&ledger, &line, settles) {
                Ok(()) => {}
                Err(Error::Full { .. }) if self.waiting_lines.len() < WAITING_LINES_MAX => {
                    self.waiting_lines.push((ledger, line, settles));
                }
                Err(e) => {
                    tracing::error!(file = ledger, error = %e, "a line of the ledger is not written");
                    self.shared.failed.set(e);
                }
            }
        }
    }

    fn line(&mut self, ledger: &str, line: &[u8], settles: Option<u64>) -> Result<(), Error> {
        let mut entry = Transaction::new();
        if let Some(key) = settles {
            entry = entry.push(&Part::Pending { path: ledger, key, line: &[] });
        }
        let then = |_, _| ledger::is_of_calls(ledger).then(|| Task::Call { ledger: ledger.to_owned() });
        self.commit_line(entry, ledger, line, None, then)?;
        if let Some(key) = settles {
            self.expected.remove(&key);
        }
        Ok(())
    }

    /// Keeps a line for the case that the process dies. On a full disk it stays in memory until the next journal.
    fn expect(&mut self, key: u64, ledger: String, line: Vec<u8>) {
        let entry = Transaction::new().push(&Part::Pending { path: &ledger, key, line: &line }).finish();
        self.expected_behind |= self.commit(entry, None, None).is_err();
        self.expected.insert(key, (ledger, line));
    }

    /// Appends an entry to the journal that also adds a line to the ledger, and the line's hash to the log. `then` is told
    /// the line's number and where it will end in its file.
    fn commit_line(
        &mut self,
        entry: Transaction,
        ledger: &str,
        line: &[u8],
        open: Option<&Arc<Open>>,
        then: impl FnOnce(u64, u64) -> Option<Task>,
    ) -> Result<(), Error> {
        let at = self.ledger_end(ledger)?;
        let numbered = self.log.number(ledger, line);
        let end = at + numbered.line.len() as u64;
        let entry = numbered.push_to(entry, ledger, at).finish();
        self.commit(entry, open, then(self.log.size(), end))?;
        self.log.accept(&numbered);
        self.ledger_ends.insert(ledger.to_owned(), end);
        self.checkpoint_due.get_or_insert_with(|| Instant::now() + CHECKPOINT_INTERVAL);
        Ok(())
    }

    /// Where the next line of a ledger file goes; also remembers that the file is touched.
    fn ledger_end(&mut self, ledger: &str) -> Result<u64, Error> {
        for path in [ledger, LEAVES] {
            if !self.touched.contains(path) {
                self.touched.insert(path.to_owned());
            }
        }
        if let Some(end) = self.ledger_ends.get(ledger) {
            return Ok(*end);
        }
        let len = self.shared.disk.len(ledger).map_err(|e| Error::io(ledger, e))?.unwrap_or_default();
        self.ledger_ends.insert(ledger.to_owned(), len);
        Ok(len)
    }

    /// Appends an entry to the journal. Its files are written when the journal is on disk.
    fn commit(&mut self, entry: Vec<u8>, open: Option<&Arc<Open>>, then: Option<Task>) -> Result<(), Error> {
        self.append(&entry)?;
        self.pending_bytes += entry.len();
        self.pending.push(Pending { entry, open: open.cloned(), then });
        Ok(())
    }

    /// The same, and whoever calls it sees to the files. Gives where the entry begins.
    fn append(&mut self, entry: &[u8]) -> Result<u64, Error> {
        self.shared.failed.check()?;
        if entry.len() > journal::ENTRY_MAX {
            return Err(Error::Refused { what: format!("more than {} bytes at once", journal::ENTRY_MAX) });
        }
        let (path, at) = (self.journal.path.clone(), self.journal.len);
        match self.write(&path, at, entry) {
            Ok(()) => {}
            Err(e @ Error::Full { .. }) => return Err(e),
            Err(e) => {
                self.shared.failed.set(e.again());
                return Err(e);
            }
        }
        self.journal.grow(entry.len());
        Ok(at)
    }

    /// Writes to a file, making its folder when it is the first in it; on a full disk once more after giving up the
    /// reserve.
    fn write(&mut self, path: &str, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.write_run(path, offset, &[bytes])
    }

    /// The same of several pieces, one behind the other.
    fn write_run(&mut self, path: &str, offset: u64, pieces: &[&[u8]]) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let write = || match shared.disk.write_all_at(path, offset, pieces) {
            Err(e) if e.kind() == ErrorKind::NotFound => shared
                .disk
                .create_dir(parent(path))
                .and_then(|()| shared.disk.write_all_at(path, offset, pieces)),
            result => result,
        };
        match write().map_err(|e| Error::io(path, e)) {
            Err(Error::Full { .. }) => {
                self.give_reserve();
                write().map_err(|e| Error::io(path, e))
            }
            result => result,
        }
    }

    /// Brings the journal to disk, then writes the files, but for chunks of recordings that run.
    fn settle(&mut self) -> Result<(), Error> {
        self.shared.failed.check()?;
        if self.journal.unsynced.take().is_some() {
            let path = &self.journal.path;
            if let Err(e) = self.shared.disk.sync(path) {
                tracing::error!(error = %e, "the journal cannot be brought to disk: the archive stops");
                self.shared.failed.set(Error::io(path, e));
                return self.shared.failed.check();
            }
        }
        self.journal.synced = self.journal.len;
        self.pending_bytes = 0;
        for Pending { entry, open, then } in std::mem::take(&mut self.pending) {
            // What came before it of the same recording goes into its file first.
            if let Some(waiting) = open.as_ref().and_then(|open| self.waiting.remove(&open.id)) {
                self.write_chunks(&waiting);
            }
            match (self.apply(&entry, open.as_deref()), then) {
                // The second thread ends only after this one.
                (true, Some(task)) => drop(self.tasks.send(task)),
                (false, Some(task)) => self.put_off(task),
                (_, None) => {}
            }
            self.give_back(entry);
        }
        Ok(())
    }

    /// The same with these chunks, too.
    fn settle_all(&mut self) -> Result<(), Error> {
        self.settle()?;
        self.write_those(|_| true);
        Ok(())
    }

    /// Does to the files what the journal holds; false where one of them has to wait. A failure keeps the journal, from which it is done
    /// again.
    fn apply(&mut self, entry: &[u8], open: Option<&Open>) -> bool {
        let mut is_done = true;
        for part in journal::parts(entry) {
            let path = part.path();
            if self.waits(path, open.is_some()) {
                is_done = false;
                continue;
            }
            let done = match part {
                Part::Write { path, offset, bytes } => self.write(path, offset, bytes),
                _ => part.apply(&*self.shared.disk).map_err(|e| Error::io(path, e)),
            };
            if let Err(e) = done {
                self.left_to_replay(path, &e);
                is_done = false;
            }
        }
        is_done
    }

    fn sync(&mut self, answer: Sender<Result<(), Error>>) {
        self.write_lines();
        let full = || Error::Full { path: self.shared.root.clone() };
        let waiting = !self.waiting_lines.is_empty() || self.expected_behind;
        let waiting = if waiting { Err(full()) } else { Ok(()) };
        match self.settle().map(|()| self.write_due()).and(waiting) {
            Ok(()) => drop(self.tasks.send(Task::Sync(answer))),
            Err(e) => drop(answer.send(Err(e))),
        }
    }

    /// Does nothing run, and are there recordings that the journal still holds?
    fn is_resting(&self) -> bool {
        let mut from = self.touched.range::<str, _>((Bound::Included(RECORDINGS_DIR), Bound::Unbounded));
        self.running.is_empty() && from.next().is_some_and(|path| path.starts_with(RECORDINGS_DIR))
    }

    /// Goes on in a new journal file and has the old one settled.
    fn rotate(&mut self) -> Result<(), Error> {
        self.settle_all()?;
        if self.is_behind() {
            return Ok(());
        }
        let (old, next) = (self.journal.number, self.journal.number + 1);
        self.begin_journal(next)?;
        let running = self.running.values().filter(|running| running.journal == old);
        let mut files: Vec<String> = running.map(|running| running.open.path.clone()).collect();
        let gone = self.shared.journals_gone.load(Ordering::Acquire);
        self.journaled.retain(|_, number| *number > gone);
        let recordings = self.touched.iter().filter(|path| path.starts_with(RECORDINGS_DIR));
        self.journaled.extend(recordings.map(|path| (path.clone(), old)));
        files.extend(std::mem::take(&mut self.touched));
        let _ = self.tasks.send(Task::Checkpoint { upto: old, files });
        Ok(())
    }

    /// Makes a journal file that names the recordings still running.
    fn begin_journal(&mut self, number: u64) -> Result<(), Error> {
        let running = self.running.values().map(|running| Part::Running { path: &running.open.path });
        let expected = self.expected.iter().map(|(&key, (path, line))| Part::Pending { path, key, line });
        let (mut entries, mut entry) = (Vec::new(), Transaction::new());
        let known = self.running.values().filter_map(|running| {
            Some(Part::Known { path: &running.open.path, facts: running.known.as_deref()? })
        });
        for part in running.chain(known).chain(expected) {
            entry = entry.push(&part);
            if entry.len() >= FIRST_ENTRY_MAX {
                entries.push(std::mem::replace(&mut entry, Transaction::new()).finish());
            }
        }
        entries.push(entry.finish());
        let (path, mut len) = (journal::path_of(number), 0);
        for entry in entries {
            self.write(&path, len, &entry)?;
            len += entry.len() as u64;
        }
        let synced = self.shared.disk.sync(&path).and_then(|()| self.shared.disk.sync_dir(JOURNAL_DIR));
        if let Err(e) = synced {
            self.shared.failed.set(Error::io(&path, e));
            return self.shared.failed.check();
        }
        self.journal = Journal { number, path, len, synced: len, unsynced: None };
        self.expected_behind = false;
        Ok(())
    }

    /// Ends what still runs and leaves no journal behind, if everything went well.
    fn close(&mut self) -> Result<(), Error> {
        let left: Vec<_> = self.running.values().map(|running| Arc::clone(&running.open)).collect();
        for open in left {
            self.interrupt(&open, None);
        }
        // Nobody settled them: they are what is known.
        for (key, (ledger, line)) in self.expected.clone() {
            self.waiting_lines.push((ledger, line, Some(key)));
        }
        self.write_lines();
        self.settle_all()?;
        if self.is_behind() {
            self.catch_up();
        }
        // Logged; the next opening of the archive makes one.
        let _ = self.checkpoint();
        if !self.waiting_lines.is_empty() {
            return Err(Error::Full { path: self.shared.root.clone() });
        }
        if self.is_behind() || !self.running.is_empty() {
            return Ok(());
        }
        let files = std::mem::take(&mut self.touched).into_iter().collect();
        let _ = self.tasks.send(Task::Checkpoint { upto: self.journal.number, files });
        Ok(())
    }
}
