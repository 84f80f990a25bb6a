//! The disk thread: the only writer of an open archive.
//!
//! Journal first, then the file. Writers hand in sealed chunks over a bounded channel; the journal is written at once
//! and synced for all calls together at most [`SYNC_INTERVAL`] later. A write that fails ends its recording; a sync
//! that fails ends the session, because nothing that the kernel says after it can be believed. When the disk is full,
//! a reserve is given up so that running recordings can be ended. What takes long is [`crate::settle`]'s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::closing::Ending;
use crate::disk::{locked, parent};
use crate::journal::{self, JOURNAL_DIR, Part, Transaction};
use crate::layout::Layout;
use crate::ledger::{self, Fate, RecordingLine};
use crate::settle::{self, Task};
use crate::shared::{Open, Shared};
use crate::wave::{WRAP_AT, WRAP_LEN};
use crate::{Error, RecordingFacts, RecordingId};

/// The longest that a written journal entry waits for its sync.
const SYNC_INTERVAL: Duration = Duration::from_millis(200);
/// How often room for the reserve is looked for while the disk is full.
const FULL_RETRY: Duration = Duration::from_secs(5);
/// The longest that the key of a discarded recording stays in a journal.
const SHRED_INTERVAL: Duration = Duration::from_secs(5);
/// Sealed chunks that may wait for the disk, counted in commands; then writers wait.
const COMMANDS_MAX: usize = 1024;
/// Chunk buffers kept for reuse.
const POOL_MAX: usize = 256;
/// Room kept aside for the ends of recordings.
pub(crate) const RESERVE: &str = "journal/reserve";

/// What the disk thread is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Begin a file: a journal entry whose data, from `data_from` on, is the header.
    Create { open: Arc<Open>, entry: Vec<u8>, data_from: usize },
    /// Append a sealed chunk: a journal entry likewise, for `offset` of the file.
    Chunk { open: Arc<Open>, entry: Vec<u8>, data_from: usize, offset: u64 },
    /// End a recording in order.
    Finish { open: Arc<Open>, ending: Box<Ending> },
    /// End a recording at what is on disk.
    Abandon { open: Arc<Open>, facts: Option<Box<RecordingFacts>> },
    /// Destroy a recording: the key, then the file.
    Discard { open: Arc<Open>, line: Box<RecordingLine>, answer: Sender<Result<(), Error>> },
    /// Append a line to a ledger file.
    Line { ledger: String, line: Vec<u8> },
    /// Answer when everything before has been written to the files.
    Flush(Sender<Result<(), Error>>),
    /// Answer when everything before is on disk, the index too.
    Sync(Sender<Result<(), Error>>),
    /// End all recordings, bring everything to disk, stop.
    Close(Sender<Result<(), Error>>),
}

/// The ends of the disk thread that writers and the archive hold.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) commands: Sender<Command>,
    /// Buffers of written chunks, for reuse.
    pub(crate) pool: Receiver<Vec<u8>>,
    pub(crate) thread: JoinHandle<()>,
}

/// Starts the disk thread (and the one behind it) on journal file `number`, which must not be there yet.
pub(crate) fn spawn(shared: Arc<Shared>, number: u64) -> Result<Handle, Error> {
    let io = |e| Error::io(&shared.root, e);
    let (commands, inbox) = crossbeam_channel::bounded(COMMANDS_MAX);
    let (pool_in, pool) = crossbeam_channel::bounded(POOL_MAX);
    let (tasks, settle) = settle::spawn(Arc::clone(&shared)).map_err(io)?;
    let mut scribe = Scribe {
        shared: Arc::clone(&shared),
        journal: Journal { number, len: 0, unsynced: None },
        running: BTreeMap::new(),
        touched: BTreeSet::new(),
        ledger_ends: BTreeMap::new(),
        indexable: Vec::new(),
        tasks,
        pool: pool_in,
        shred_due: None,
        full_since: None,
        keep_journals: false,
    };
    scribe.begin_journal(number)?;
    scribe.take_reserve();
    let run = move || {
        let answer = scribe.run(&inbox);
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
    Ok(Handle { commands, pool, thread: thread.map_err(|e| Error::io("", e))? })
}

/// The journal file being written.
#[derive(Debug)]
struct Journal {
    number: u64,
    /// Bytes of whole entries.
    len: u64,
    /// When the oldest entry that is not synced was written.
    unsynced: Option<Instant>,
}

/// A recording that is being written.
#[derive(Debug)]
struct Running {
    open: Arc<Open>,
    /// Bytes of its file so far.
    len: u64,
    /// The newest journal that holds something of it.
    journal: u64,
}

struct Scribe {
    shared: Arc<Shared>,
    journal: Journal,
    running: BTreeMap<RecordingId, Running>,
    /// Files other than those of running recordings that the journal holds something of.
    touched: BTreeSet<String>,
    /// Lengths of ledger files, as journaled.
    ledger_ends: BTreeMap<String, u64>,
    /// Finished recordings whose journal entry is not synced yet.
    indexable: Vec<Task>,
    tasks: Sender<Task>,
    pool: Sender<Vec<u8>>,
    /// When the journals that hold the key of a discarded recording must go.
    shred_due: Option<Instant>,
    /// Since when the disk is full.
    full_since: Option<Instant>,
    /// Something that the journal holds could not be written to its file: only a replay mends that.
    keep_journals: bool,
}

impl Scribe {
    /// Works until it is told to close (then gives where to answer) or until everybody has left.
    fn run(&mut self, inbox: &Receiver<Command>) -> Option<Sender<Result<(), Error>>> {
        loop {
            let deadline =
                [self.journal.unsynced.map(|at| at + SYNC_INTERVAL), self.shred_due, self.full_retry()];
            let command = match deadline.into_iter().flatten().min() {
                Some(deadline) => inbox.recv_deadline(deadline),
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match command {
                Ok(Command::Close(answer)) => return Some(answer),
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
        if self.journal.unsynced.is_some_and(|at| now >= at + SYNC_INTERVAL) {
            // The failure is kept in `shared`, where the next call of every writer finds it.
            let _ = self.sync_journal();
        }
        let long = self.journal.len >= self.shared.tuning.journal_max;
        if long || self.shred_due.is_some_and(|due| now >= due) {
            self.shred_due = None;
            let _ = self.rotate();
        }
        if self.full_retry().is_some_and(|at| now >= at) {
            self.take_reserve();
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Create { open, entry, data_from } => self.create(open, &entry, data_from),
            Command::Chunk { open, entry, data_from, offset } => {
                self.chunk(&open, &entry, data_from, offset);
                // A full pool lets the buffer go.
                let _ = self.pool.try_send(entry);
            }
            Command::Finish { open, ending } => self.finish(&open, *ending),
            Command::Abandon { open, facts } => self.interrupt(&open, facts.map(|facts| *facts)),
            Command::Discard { open, line, answer } => {
                let _ = answer.send(self.discard(&open, &line));
            }
            Command::Line { ledger, line } => {
                if let Err(e) = self.line(&ledger, &line) {
                    tracing::error!(file = ledger, error = %e, "a line of the ledger is not written");
                }
            }
            Command::Flush(answer) => {
                let _ = answer.send(self.shared.failed.check());
            }
            Command::Sync(answer) => self.sync(answer),
            Command::Close(answer) => {
                let _ = answer.send(Err(Error::Closed));
            }
        }
    }

    fn create(&mut self, open: Arc<Open>, entry: &[u8], data_from: usize) {
        let made = self
            .shared
            .disk
            .create_dir(parent(&open.path))
            .map_err(|e| Error::io(&open.path, e))
            .and_then(|()| self.commit(entry))
            .and_then(|()| self.write(&open.path, 0, &entry[data_from..]));
        match made {
            Ok(()) => {
                let (len, journal) = ((entry.len() - data_from) as u64, self.journal.number);
                self.running.insert(open.id, Running { open, len, journal });
            }
            Err(e) => self.fail(&open, e),
        }
    }

    fn chunk(&mut self, open: &Arc<Open>, entry: &[u8], data_from: usize, offset: u64) {
        let known = self.running.get(&open.id).map(|running| running.len);
        if known != Some(offset) || open.failed.is_set() {
            // An earlier write of this recording failed; what comes after it would leave a hole.
            return;
        }
        let data = &entry[data_from..];
        let written = self.commit(entry).and_then(|()| self.write(&open.path, offset, data));
        match (written, self.running.get_mut(&open.id)) {
            (Ok(()), Some(running)) => {
                running.len = offset + data.len() as u64;
                running.journal = self.journal.number;
            }
            (Err(e), _) => self.fail(open, e),
            (Ok(()), None) => {}
        }
    }

    /// The recording cannot be written any more; its writer finds out at its next call.
    fn fail(&self, open: &Open, error: Error) {
        tracing::error!(recording = %open.id, error = %error, "the recording cannot go on");
        open.failed.set(error);
    }

    fn finish(&mut self, open: &Arc<Open>, ending: Ending) {
        let whole = self.running.get(&open.id).is_some_and(|running| running.len == ending.at);
        if !whole || open.failed.is_set() {
            return self.interrupt(open, Some(ending.facts));
        }
        if let Err(e) = self.end(open, &ending) {
            self.fail(open, e);
        }
    }

    /// Ends a recording at what is in its file.
    fn interrupt(&mut self, open: &Arc<Open>, facts: Option<RecordingFacts>) {
        if !self.running.contains_key(&open.id) {
            // Not even its header could be written.
            locked(&self.shared.live).remove(&open.id);
            return;
        }
        let disk = &*self.shared.disk;
        let ended = Layout::read(disk, &open.path)
            .and_then(|layout| Ending::interrupted(disk, &self.shared.keys, &layout, facts))
            .and_then(|ending| self.end(open, &ending));
        if let Err(e) = ended {
            // It stays among the running ones, so that each new journal names it and the next opening ends it.
            self.fail(open, e);
        }
    }

    /// Writes a recording's end: in the journal one entry, so that all of it is there after a crash, or none.
    fn end(&mut self, open: &Arc<Open>, ending: &Ending) -> Result<(), Error> {
        let ledger = ledger::month(ledger::RECORDINGS, open.id.started());
        let line = ledger::line(&ending.line())?;
        let at = self.ledger_end(&ledger)?;
        self.commit(&ending.entry(&open.path, &ledger, at, &line))?;
        let end = at + line.len() as u64;
        self.ledger_ends.insert(ledger.clone(), end);
        self.running.remove(&open.id);
        self.touched.insert(open.path.clone());
        let row = ending.row();
        locked(&self.shared.live).insert(open.id, row.clone());
        for part in ending.parts(&open.path) {
            self.apply(&part);
        }
        self.apply(&Part::Write { path: &ledger, offset: at, bytes: &line });
        self.indexable.push(Task::Index { row: Box::new(row), path: open.path.clone(), ledger, end });
        Ok(())
    }

    fn discard(&mut self, open: &Arc<Open>, line: &RecordingLine) -> Result<(), Error> {
        locked(&self.shared.live).remove(&open.id);
        if self.running.remove(&open.id).is_none() {
            // Not even its header could be written: there is nothing to destroy.
            return Ok(());
        }
        debug_assert_eq!(line.fate, Fate::Discarded);
        let ledger = ledger::month(ledger::RECORDINGS, open.id.started());
        let (line, at) = (ledger::line(line)?, self.ledger_end(&ledger)?);
        let no_key = [0; WRAP_LEN];
        let parts = [
            Part::Write { path: &open.path, offset: WRAP_AT, bytes: &no_key },
            Part::Remove { path: &open.path },
            Part::Write { path: &ledger, offset: at, bytes: &line },
        ];
        let entry = parts.iter().fold(Transaction::new(), Transaction::push).finish();
        // On disk before the file is touched: a power cut must not bring the recording back.
        self.commit(&entry).and_then(|()| self.sync_journal())?;
        self.ledger_ends.insert(ledger.clone(), at + line.len() as u64);
        self.touched.extend([open.path.clone(), ledger.clone()]);
        let [key, file, line] = parts;
        self.apply(&key);
        self.shared.disk.sync(&open.path).map_err(|e| Error::io(&open.path, e))?;
        self.apply(&file);
        self.apply(&line);
        // The header, key and all, also stands in a journal.
        self.shred_due.get_or_insert_with(|| Instant::now() + SHRED_INTERVAL);
        Ok(())
    }

    fn line(&mut self, ledger: &str, line: &[u8]) -> Result<(), Error> {
        let offset = self.ledger_end(ledger)?;
        let part = Part::Write { path: ledger, offset, bytes: line };
        self.commit(&Transaction::new().push(&part).finish())?;
        self.ledger_ends.insert(ledger.to_owned(), offset + line.len() as u64);
        self.apply(&part);
        Ok(())
    }

    /// Where the next line of a ledger file goes; also remembers that the file is touched.
    fn ledger_end(&mut self, ledger: &str) -> Result<u64, Error> {
        if !self.touched.contains(ledger) {
            self.touched.insert(ledger.to_owned());
        }
        if let Some(end) = self.ledger_ends.get(ledger) {
            return Ok(*end);
        }
        let len = self.shared.disk.len(ledger).map_err(|e| Error::io(ledger, e))?.unwrap_or_default();
        self.ledger_ends.insert(ledger.to_owned(), len);
        Ok(len)
    }

    /// Appends an entry to the journal.
    fn commit(&mut self, entry: &[u8]) -> Result<(), Error> {
        self.shared.failed.check()?;
        let path = journal::path_of(self.journal.number);
        match self.write(&path, self.journal.len, entry) {
            Ok(()) => {
                self.journal.len += entry.len() as u64;
                self.journal.unsynced.get_or_insert_with(Instant::now);
                Ok(())
            }
            Err(e @ Error::Full { .. }) => Err(e),
            Err(e) => {
                self.shared.failed.set(e.again());
                Err(e)
            }
        }
    }

    /// Writes to a file; on a full disk once more after giving up the reserve.
    fn write(&mut self, path: &str, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        match self.shared.disk.write_at(path, offset, bytes).map_err(|e| Error::io(path, e)) {
            Err(Error::Full { .. }) => {
                self.give_reserve();
                self.shared.disk.write_at(path, offset, bytes).map_err(|e| Error::io(path, e))
            }
            result => result,
        }
    }

    /// Does to the files what the journal already holds. A failure keeps the journal, whose replay does it again.
    fn apply(&mut self, part: &Part<'_>) {
        let done = match *part {
            Part::Write { path, offset, bytes } => self.write(path, offset, bytes),
            _ => part.apply(&*self.shared.disk).map_err(|e| Error::io(part.path(), e)),
        };
        if let Err(e) = done {
            tracing::error!(file = part.path(), error = %e, "written to the journal only: open the archive again");
            self.keep_journals = true;
        }
    }

    fn sync_journal(&mut self) -> Result<(), Error> {
        self.shared.failed.check()?;
        if self.journal.unsynced.take().is_some() {
            let path = journal::path_of(self.journal.number);
            self.shared.disk.sync(&path).map_err(|e| {
                tracing::error!(error = %e, "the journal cannot be brought to disk: the archive stops");
                self.shared.failed.set(Error::io(&path, e));
                self.shared.failed.check().err().unwrap_or(Error::Closed)
            })?;
        }
        for task in self.indexable.drain(..) {
            // The second thread ends only after this one.
            let _ = self.tasks.send(task);
        }
        Ok(())
    }

    fn sync(&mut self, answer: Sender<Result<(), Error>>) {
        match self.sync_journal() {
            Ok(()) => drop(self.tasks.send(Task::Sync(answer))),
            Err(e) => drop(answer.send(Err(e))),
        }
    }

    /// Goes on in a new journal file and has the old one settled.
    fn rotate(&mut self) -> Result<(), Error> {
        self.sync_journal()?;
        if self.keep_journals {
            return Ok(());
        }
        let (old, next) = (self.journal.number, self.journal.number + 1);
        self.begin_journal(next)?;
        let running = self.running.values().filter(|running| running.journal == old);
        let mut files: Vec<String> = running.map(|running| running.open.path.clone()).collect();
        files.extend(std::mem::take(&mut self.touched));
        let _ = self.tasks.send(Task::Checkpoint { upto: old, files });
        Ok(())
    }

    /// Makes a journal file that names the recordings still running.
    fn begin_journal(&mut self, number: u64) -> Result<(), Error> {
        let entry = self.running.values().fold(Transaction::new(), |entry, running| {
            entry.push(&Part::Running { path: &running.open.path })
        });
        let (path, entry) = (journal::path_of(number), entry.finish());
        self.write(&path, 0, &entry)?;
        let synced = self.shared.disk.sync(&path).and_then(|()| self.shared.disk.sync_dir(JOURNAL_DIR));
        if let Err(e) = synced {
            self.shared.failed.set(Error::io(&path, e));
            return self.shared.failed.check();
        }
        self.journal = Journal { number, len: entry.len() as u64, unsynced: None };
        Ok(())
    }

    fn give_reserve(&mut self) {
        if self.full_since.is_none() {
            tracing::error!(archive = %self.shared.root.display(), "the disk is full: running recordings are ended");
        }
        self.shared.full.store(true, Ordering::Release);
        self.full_since = Some(Instant::now());
        if let Err(e) = self.shared.disk.remove(RESERVE) {
            tracing::error!(error = %e, "the reserve cannot be given up");
        }
    }

    /// Sets room aside; if there is any, the disk is not full (any more).
    fn take_reserve(&mut self) {
        let disk = &*self.shared.disk;
        let have = disk.len(RESERVE).ok().flatten().unwrap_or_default();
        let block = vec![0; 1 << 20];
        let mut at = have;
        while at < self.shared.tuning.reserve {
            let len = (self.shared.tuning.reserve - at).min(block.len() as u64);
            if let Err(e) = disk.write_at(RESERVE, at, &block[..len as usize]) {
                tracing::warn!(error = %e, "no room to set aside");
                let _ = disk.remove(RESERVE);
                self.full_since = Some(Instant::now());
                self.shared.full.store(true, Ordering::Release);
                return;
            }
            at += len;
        }
        if self.full_since.take().is_some() {
            tracing::info!("there is room again: recording goes on");
        }
        self.shared.full.store(false, Ordering::Release);
    }

    /// Ends what still runs and leaves no journal behind, if everything went well.
    fn close(&mut self) -> Result<(), Error> {
        let left: Vec<_> = self.running.values().map(|running| Arc::clone(&running.open)).collect();
        for open in left {
            self.interrupt(&open, None);
        }
        self.sync_journal()?;
        if self.keep_journals || !self.running.is_empty() {
            return Ok(());
        }
        let files = std::mem::take(&mut self.touched).into_iter().collect();
        let _ = self.tasks.send(Task::Checkpoint { upto: self.journal.number, files });
        Ok(())
    }
}
