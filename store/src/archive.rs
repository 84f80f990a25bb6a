//! The archive as its users see it: opening, recording, listing, reading.
//!
//! Puts the parts together and decides nothing about bytes. Files are the truth: what is listed comes from the index,
//! what is played or verified from the files.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use decode::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::accounts;
use crate::archive_copy;
use crate::disk::{Disk, Lock, RealDisk, locked, read_whole};
use crate::index::Index;
use crate::journal::JOURNAL_DIR;
use crate::keys::{KEYS_DIR, Keys};
use crate::ledger::{self, LEDGER_DIR, Lines};
use crate::locations::Locations;
use crate::recovery::{Reads, Recovered};
use crate::report::Summand;
use crate::retention::WATCH;
use crate::saved::Saved;
use crate::scribe::{self, Command, Commands, Handle, RESERVE};
use crate::scrub::{SCRUB, Scrubber};
use crate::seal::Sealers;
use crate::search::hits::Hits;
use crate::search::sorted;
use crate::shared::{Latch, Shared, Tuning, wall_clock};
use crate::stamp::Stamper;
use crate::wave::{RECORDINGS_DIR, make_sayable, path_of};
use crate::writer::CHUNK_SPAN_MS;
use crate::{
    CallRow, Cost, Created, Error, Order, Problem, Query, Reader, Rebuilt, RecordingFacts, RecordingId,
    Recovery, Row, RunRow, SignatureState, Space, SpaceAlert, State, Stats, Writer,
};

/// Names the archive and its format.
pub(crate) const ARCHIVE_FILE: &str = "archive.json";
/// The newest format that this program reads, and the one that it writes. From 2 on the ledger's lines are leaves of a log, and
/// recordings have format 2. An archive of an older one is given this number when it is opened, so that a program which
/// knows nothing of either refuses it.
const FORMAT: u32 = 2;
pub(crate) const LOCK_FILE: &str = "lock";
pub(crate) const INDEX_DIR: &str = "index";
/// The key under which a run's counters are expected; legs are numbered from 0.
const RUN_KEY: u64 = u64::MAX;
/// What may lie in a folder that becomes an archive: ours, from a creation that was cut off, and a file system's.
const NAMES: [&str; 10] = [
    LOCK_FILE,
    KEYS_DIR,
    RECORDINGS_DIR,
    JOURNAL_DIR,
    LEDGER_DIR,
    INDEX_DIR,
    WATCH,
    SCRUB,
    "archive.json.new",
    "lost+found",
];
/// `archive.json` is a few lines; a longer one is not ours.
const ARCHIVE_FILE_MAX: u64 = 64 * 1024;

/// `archive.json`. Later formats keep the field `format`, so that this program can say what it met.
#[derive(Debug, Serialize, Deserialize)]
struct ArchiveFile {
    format: u32,
    id: String,
    created: Timestamp,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

/// Where an archive lies.
pub(crate) struct Place<'a> {
    pub(crate) root: &'a Path,
    /// Its index, always a folder of the operating system.
    pub(crate) index: &'a Path,
    /// It was copied here file by file, and not opened since.
    pub(crate) is_copy: bool,
}

/// An open archive. One process at a time has it; its methods can be called from any thread.
#[derive(Debug)]
pub struct Archive {
    pub(crate) shared: Arc<Shared>,
    pub(crate) handle: Option<Handle>,
    /// Has checkpoints stamped.
    pub(crate) stamper: Mutex<Option<Stamper>>,
    /// Reads everything, again and again.
    pub(crate) scrubber: Mutex<Option<Scrubber>>,
    recovery: Recovery,
}

impl Archive {
    /// Opens an archive and mends what a crash left, which [`Archive::recovered`] then tells.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Locked`], [`Error::NewerFormat`]; [`Error::KeyMissing`] when not even the public
    /// keys are there; [`Error::Full`] or [`Error::Io`] when recovery cannot write.
    pub fn open(dir: &Path) -> Result<Archive, Error> {
        Archive::open_watched(dir, &mut |_, _| {})
    }

    /// The same. An index that must be built anew takes as long as reading all recordings: `progress` is called with the
    /// recordings read and recordings in all.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn open_watched(dir: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Archive, Error> {
        let is_copy = archive_copy::is_copy(&dir.join(LOCK_FILE));
        let (disk, lock) = Archive::lock_folder(dir)?;
        Archive::open_home(Arc::new(disk), lock, dir, is_copy, progress)
    }

    /// Opens an archive, or makes one with new keys in a folder that is empty or not there.
    ///
    /// # Errors
    /// As [`Archive::open`], and [`Error::Refused`] for a folder that holds something else.
    pub fn open_or_create(dir: &Path) -> Result<(Archive, Created), Error> {
        Archive::open_or_create_watched(dir, &mut |_, _| {})
    }

    /// The same, with progress as [`Archive::open_watched`] tells it.
    ///
    /// # Errors
    /// As [`Archive::open_or_create`].
    pub fn open_or_create_watched(
        dir: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Archive, Created), Error> {
        // For its owner alone: names and numbers stand in clear in it.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| Error::io(dir, e))?;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir).map_err(|e| Error::io(dir, e))?);
        if !dir.join(ARCHIVE_FILE).is_file() {
            refuse_strangers(&*disk, dir)?;
        }
        let is_copy = archive_copy::is_copy(&dir.join(LOCK_FILE)) && dir.join(ARCHIVE_FILE).is_file();
        let lock = take_lock(&*disk, dir)?;
        let created = if dir.join(ARCHIVE_FILE).is_file() {
            Created::Existing
        } else {
            make(&*disk).map_err(|e| e.under(dir))?;
            Created::New { keys_dir: dir.join(KEYS_DIR) }
        };
        Ok((Archive::open_home(disk, lock, dir, is_copy, progress)?, created))
    }

    /// Opens an archive where it lies.
    fn open_home(
        disk: Arc<dyn Disk>,
        lock: Lock,
        dir: &Path,
        is_copy: bool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Archive, Error> {
        let index = dir.join(INDEX_DIR);
        if is_copy {
            // Copied while it was written: what sled makes of it nobody knows.
            crate::index::remove(&index)?;
        }
        let place = Place { root: dir, index: &index, is_copy };
        let tuning = Tuning::on(disk.space());
        Archive::open_on(disk, lock, &place, tuning, progress)
    }

    /// An archive's folder under its lock, without opening what is in it.
    pub(crate) fn lock_folder(dir: &Path) -> Result<(RealDisk, Lock), Error> {
        if !dir.join(ARCHIVE_FILE).is_file() {
            return Err(Error::Missing { path: dir.to_owned() });
        }
        let disk = RealDisk::new(dir).map_err(|e| Error::io(dir, e))?;
        let lock = take_lock(&disk, dir)?;
        Ok((disk, lock))
    }

    /// Opens an archive on any disk; the index is always a folder of the operating system.
    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        lock: Lock,
        place: &Place<'_>,
        tuning: Tuning,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Archive, Error> {
        let &Place { root, index: index_dir, is_copy } = place;
        let open = || {
            let id = read_archive_file(&*disk)?.id;
            let keys = Keys::open(&*disk)?;
            let (index, index_is_new) = Index::open(index_dir)?;
            let accounts = accounts::Kept::open(&*disk);
            let saved = Saved::open(&*disk);
            let shared = Arc::new(Shared {
                disk,
                id,
                root: root.to_owned(),
                keys,
                index,
                tuning,
                live: Default::default(),
                tails: Default::default(),
                failed: Latch::default(),
                board: Arc::default(),
                full: AtomicBool::new(false),
                accounts,
                saved,
                book: Default::default(),
                locations: Locations::default(),
                witnesses: Default::default(),
                journals_gone: AtomicU64::new(0),
                chunk_span_ms: AtomicI64::new(CHUNK_SPAN_MS),
                alerts: Default::default(),
                decisions: Default::default(),
                clock_watch: Default::default(),
                _lock: lock,
            });
            let recovered = match crate::recovery::recover(&shared, index_is_new, is_copy, progress) {
                Err(Error::Full { path }) => {
                    tracing::warn!(file = %path.display(), "the disk is full: the reserve is given up to mend the archive");
                    shared.disk.remove(RESERVE).map_err(|e| Error::io(RESERVE, e))?;
                    crate::recovery::recover(&shared, index_is_new, is_copy, progress)
                }
                result => result,
            };
            let Recovered { recovery, journal, log } = recovered?;
            let handle = Some(scribe::spawn(Arc::clone(&shared), journal, log)?);
            let archive =
                Archive { shared, handle, stamper: Mutex::default(), scrubber: Mutex::default(), recovery };
            archive.note_first_key()?;
            if let Err(error) = archive.tell_untold(accounts::Untold::Perhaps) {
                tracing::error!(%error, "the audit trail lacks the last change of accounts; the next opening tries again");
            }
            Ok(archive)
        };
        open().map_err(|e: Error| e.under(root))
    }

    /// What opening had to mend.
    #[must_use]
    pub fn recovered(&self) -> &Recovery {
        &self.recovery
    }

    /// Its name for ever, from `archive.json`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.shared.root
    }

    /// What is recorded from now on comes from files, which are still there after a crash and can wait: chunks span up to
    /// [`CHUNK_SPAN_FILE_MS`](crate::CHUNK_SPAN_FILE_MS) of capture time, and few of them wait for the disk.
    pub fn record_files(&self) {
        self.shared.chunk_span_ms.store(crate::CHUNK_SPAN_FILE_MS, Ordering::Relaxed);
        if let Some(handle) = &self.handle {
            handle.commands.hold_little();
        }
    }

    /// Recordings that begin from now on are sealed by so many threads, each by one of them. Without that their writers seal them. The
    /// threads are under the same restrictions as the one that asks for them, and touch no file. To be called once.
    ///
    /// # Errors
    /// [`Error::Io`] when the system gives no more threads; [`Error::Closed`]; [`Error::Refused`] the second time.
    pub fn seal_on_threads(&self, threads: usize) -> Result<(), Error> {
        let handle = self.handle.as_ref().ok_or(Error::Closed)?;
        let sealers = Sealers::start(threads).map_err(|e| Error::io(&self.shared.root, e))?;
        let again = |_| Error::Refused { what: "sealing threads a second time".into() };
        handle.sealers.set(sealers).map_err(again)
    }

    /// Can this machine open what is recorded (is a private X25519 key here, and open)?
    #[must_use]
    pub fn can_read(&self) -> bool {
        self.shared.keys.can_unwrap()
    }

    /// Begins a recording. Its facts stand in the file's header as they are now.
    ///
    /// # Errors
    /// [`Error::Full`] while the disk is full, [`Error::KeyMissing`] or [`Error::WrongKey`] without the signing key,
    /// [`Error::Refused`] when the name is taken, [`Error::Io`] after a failed sync.
    pub fn create(&self, mut facts: RecordingFacts) -> Result<Writer, Error> {
        let shared = &self.shared;
        let id = facts.id;
        let begin = || {
            shared.ready()?;
            shared.keys.signing()?;
            let path = path_of(id);
            let taken = locked(&shared.live).contains_key(&id)
                || shared.disk.len(&path).map_err(|e| Error::io(&path, e))?.is_some();
            if taken {
                return Err(Error::Refused { what: format!("a second recording of the name {id}") });
            }
            facts.state = State::Recording;
            make_sayable(&mut facts);
            let row = Arc::new(Row::of(facts, 0, SignatureState::Missing));
            locked(&shared.live).insert(id, Arc::clone(&row));
            let handle = self.handle.as_ref().ok_or(Error::Closed)?;
            Writer::begin(shared, handle, row).inspect_err(|_| drop(locked(&shared.live).remove(&id)))
        };
        begin().map_err(|e: Error| e.under(&shared.root))
    }

    /// Keeps a call that runs in the journal: if the recorder is stopped before [`Archive::settle_call`], this row is its
    /// line of the balance sheet, as it stands. A later row of the same key replaces it. Keys are the caller's, and
    /// count within one opening of the archive.
    ///
    /// # Errors
    /// [`Error::Closed`]; [`Error::Refused`] for a row that is too long.
    pub fn expect_call(&self, key: u64, row: &CallRow) -> Result<(), Error> {
        self.expect(key, ledger::month(ledger::CALLS, row.started), ledger::line(row)?)
    }

    /// Adds the line of a call that was expected under this key.
    ///
    /// # Errors
    /// As [`Archive::append_call`].
    pub fn settle_call(&self, key: u64, row: &CallRow) -> Result<(), Error> {
        self.append(ledger::month(ledger::CALLS, row.started), ledger::line(row)?, Some(key))
    }

    /// Keeps what a run has counted so far, in case that it is stopped before [`Archive::append_run`].
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn expect_run(&self, row: &RunRow) -> Result<(), Error> {
        self.expect(RUN_KEY, ledger::RUNS.to_owned(), ledger::line(row)?)
    }

    fn expect(&self, key: u64, ledger: String, line: Vec<u8>) -> Result<(), Error> {
        self.send(Command::Expect { key, ledger, line })
    }

    /// Adds a line to the balance sheet.
    ///
    /// # Errors
    /// [`Error::Io`] after a failed write or sync; [`Error::Closed`].
    pub fn append_call(&self, row: &CallRow) -> Result<(), Error> {
        self.append(ledger::month(ledger::CALLS, row.started), ledger::line(row)?, None)
    }

    /// Adds what a run of the recorder counted.
    ///
    /// # Errors
    /// As [`Archive::append_call`].
    pub fn append_run(&self, row: &RunRow) -> Result<(), Error> {
        self.append(ledger::RUNS.to_owned(), ledger::line(row)?, Some(RUN_KEY))
    }

    pub(crate) fn append(&self, ledger: String, line: Vec<u8>, settles: Option<u64>) -> Result<(), Error> {
        self.shared.failed.check().map_err(|e| e.under(&self.shared.root))?;
        self.send(Command::Line { ledger, line, settles })
    }

    /// The balance sheet: oldest month first, in a month as written. A call whose recordings were all excluded after its end
    /// ([`Archive::exclude`]) has that outcome. A line that cannot be read is an error among the
    /// items; the ones after it still come.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be read.
    pub fn calls(&self) -> Result<impl Iterator<Item = Result<CallRow, Error>> + '_, Error> {
        Ok(self.calls_begun(None, None)?.map(|row| row.map(|(_, row)| row)))
    }

    /// The part of the balance sheet about calls that began at `since` or later and before `until`, each with the number of its
    /// line in the file of its month. Other months are not read, and of other calls in these nothing but when they began. Otherwise
    /// as [`Archive::calls`].
    ///
    /// # Errors
    /// As there.
    pub fn calls_begun(
        &self,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<impl Iterator<Item = Result<(u64, CallRow), Error>> + '_, Error> {
        self.ask(Command::Flush)?;
        let (disk, root) = (&self.shared.disk, &self.shared.root);
        let mut months = ledger::months(&**disk, ledger::CALLS).map_err(|e| e.under(root))?;
        let [first, last] = [since, until].map(|at| at.map(|at| ledger::month(ledger::CALLS, at)));
        months.retain(|month| {
            first.as_ref().is_none_or(|first| month >= first)
                && last.as_ref().is_none_or(|last| month <= last)
        });
        // A recording begins with its call or later.
        let excluded = ledger::late_exclusions(disk, since).map_err(|e| e.under(root))?;
        let meant = move |began: Timestamp| {
            since.is_none_or(|since| began >= since) && until.is_none_or(|until| began < until)
        };
        let rows = months.into_iter().flat_map(move |path| {
            let mut lines = Lines::<CallRow>::new(Arc::clone(disk), path, 0);
            std::iter::from_fn(move || lines.next_if(|line| ledger::began(line).is_none_or(meant)))
        });
        // What its line says itself is what counts.
        let rows = rows.filter(move |row| row.as_ref().map_or(true, |(_, row)| meant(row.started)));
        Ok(rows.map(move |row| match row {
            Ok((number, row)) => Ok((number, ledger::with_exclusions(row, &excluded))),
            Err(e) => Err(e.under(root)),
        }))
    }

    /// The runs, in the order written.
    ///
    /// # Errors
    /// As [`Archive::calls`].
    pub fn runs(&self) -> Result<impl Iterator<Item = Result<RunRow, Error>> + '_, Error> {
        self.ask(Command::Flush)?;
        let there =
            self.shared.disk.len(ledger::RUNS).map_err(|e| Error::io(self.dir().join(ledger::RUNS), e))?;
        Ok(there.into_iter().flat_map(|_| self.lines(ledger::RUNS.to_owned())))
    }

    pub(crate) fn lines<T: DeserializeOwned + 'static>(
        &self,
        path: String,
    ) -> impl Iterator<Item = Result<T, Error>> + '_ {
        let root = &self.shared.root;
        Lines::new(Arc::clone(&self.shared.disk), path, 0).map(|line| line.map_err(|e| e.under(root)))
    }

    /// All recordings, as [`Archive::search`] gives them.
    pub fn rows(&self) -> impl Iterator<Item = Result<Row, Error>> + use<'_> {
        self.search(&Query::default())
    }

    /// The recordings that are asked for, newest first by their names, running ones too. A finished one may lack its
    /// `sha256` for a moment; [`Archive::sync`] waits for it. Rows are read one by one as they are taken.
    pub fn search(&self, query: &Query) -> impl Iterator<Item = Result<Row, Error>> + use<'_> {
        let hits = Hits::new(&self.shared, query, |_| ());
        // One that is deleted between being found and being read is left out.
        let row = |hit: Result<_, Error>| match hit.and_then(|(id, ())| self.row(id)) {
            Err(Error::NotFound { .. }) => None,
            row => Some(row),
        };
        hits.filter_map(row).take(query.limit.unwrap_or(usize::MAX))
    }

    /// A page of the recordings that are asked for, in another order: up to `limit` rows behind `after`, and where the next page begins if
    /// there is one. What `query` says of a place and a limit is not looked at. Looks through the whole search for each page.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Damaged`] when the index cannot be read.
    pub fn sorted(
        &self,
        query: &Query,
        order: Order,
        after: Option<&sorted::Cursor>,
        limit: usize,
    ) -> Result<(Vec<Row>, Option<sorted::Cursor>), Error> {
        let mut query = query.clone();
        (query.before, query.limit) = (None, None);
        let (ids, next) = sorted::page(&self.shared, &query, order, after, limit)?;
        let row = |id| match self.row(id) {
            Err(Error::NotFound { .. }) => None,
            row => Some(row),
        };
        Ok((ids.into_iter().filter_map(row).collect::<Result<_, _>>()?, next))
    }

    /// The names of the recordings that are asked for, newest first.
    pub fn find(&self, query: &Query) -> impl Iterator<Item = Result<RecordingId, Error>> + use<'_> {
        let hits = Hits::new(&self.shared, query, |_| ());
        hits.map(|hit| hit.map(|(id, ())| id)).take(query.limit.unwrap_or(usize::MAX))
    }

    /// One recording.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn row(&self, id: RecordingId) -> Result<Row, Error> {
        let live = locked(&self.shared.live).get(&id).cloned();
        if let Some(row) = live {
            return self.shared.index.with_edits(Row::clone(&row));
        }
        self.shared.index.row(id)?.ok_or_else(|| Error::NotFound { what: id.to_string() })
    }

    /// The recording whose name begins with `prefix`, in either case.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`].
    pub fn resolve(&self, prefix: &str) -> Result<RecordingId, Error> {
        let not_found = || Error::NotFound { what: prefix.to_owned() };
        let (low, high) = RecordingId::range_of_prefix(prefix).ok_or_else(not_found)?;
        let mut count = 0;
        let mut only = None;
        for hit in Hits::between(&self.shared, low, high) {
            only = Some(hit?.0);
            count += 1;
        }
        match (only, count) {
            (None, _) => Err(not_found()),
            (Some(id), 1) => Ok(id),
            (Some(_), count) => Err(Error::Ambiguous { prefix: prefix.to_owned(), count }),
        }
    }

    /// The facts that a finished recording was sealed with: without what became known of it later. It is verified as a whole; no key
    /// is needed.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Tampered`] or [`Error::Damaged`] when it is not what was sealed.
    pub fn sealed_facts(&self, id: RecordingId) -> Result<RecordingFacts, Error> {
        self.ask(Command::Flush)?;
        Reader::sealed_facts(&self.shared, id).map_err(|e| e.under(&self.shared.root))
    }

    /// Opens a recording for playing. A finished one is verified as a whole first; of a running one, what is sealed so
    /// far can be read.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::KeyMissing`] or [`Error::WrongKey`] when this machine cannot open it;
    /// [`Error::Tampered`] or [`Error::Damaged`] when it is not what was sealed.
    pub fn read(&self, id: RecordingId) -> Result<Reader, Error> {
        let running = self.shared.is_running(id);
        if running {
            // Where the disk takes no more, what is in its file can still be heard.
            let _ = self.ask(|answer| Command::Bring { id, answer });
        }
        let open = || match Reader::open(&self.shared, id, running) {
            // Finished, but not yet written by the disk thread.
            Err(Error::Tampered { .. } | Error::NotFound { .. } | Error::Damaged { .. })
                if locked(&self.shared.live).contains_key(&id) =>
            {
                self.ask(Command::Flush)?;
                Reader::open(&self.shared, id, self.shared.is_running(id))
            }
            result => result,
        };
        open().map_err(|e| match e {
            Error::NotFound { .. } => Error::NotFound { what: id.to_string() },
            e => e.under(&self.shared.root),
        })
    }

    /// Looks the archive over: folders, keys and their permissions, files against ledger and index. Does not hash;
    /// [`Archive::verify`] does.
    ///
    /// # Errors
    /// [`Error::Io`] when a folder cannot be read.
    pub fn check(&self, repair: bool) -> Result<Vec<Problem>, Error> {
        self.check_at(Cost::Headers, repair, &mut |_, _| {})
    }

    /// The same at this cost. `progress` is called with recordings looked at and recordings in all.
    ///
    /// # Errors
    /// As [`Archive::check`].
    pub fn check_at(
        &self,
        cost: Cost,
        repair: bool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Vec<Problem>, Error> {
        self.sync()?;
        let append = |ledger, line| self.append(ledger, line, None);
        let found = crate::check::check(&self.shared, cost, repair, &append, progress);
        found.map_err(|e| e.under(&self.shared.root))
    }

    /// Builds the index anew from the files, each of which is read whole. `progress` is called with files done and files in all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn rebuild(&self, mut progress: impl FnMut(u64, u64)) -> Result<Rebuilt, Error> {
        self.sync()?;
        let built = crate::recovery::rebuild(&self.shared, Reads::Whole, &mut progress);
        built.map_err(|e| e.under(&self.shared.root))
    }

    /// The room on the archive's disk; none when the file system does not say.
    #[must_use]
    pub fn space(&self) -> Option<Space> {
        self.shared.disk.space()
    }

    /// What was noticed about the room on the disk since the archive was opened, oldest first.
    #[must_use]
    pub fn alerts(&self) -> Vec<(Timestamp, SpaceAlert)> {
        locked(&self.shared.alerts).iter().copied().collect()
    }

    #[cfg(test)]
    pub(crate) fn sealers(&self) -> &Sealers {
        self.handle.as_ref().and_then(|handle| handle.sealers.get()).expect("they were started")
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Puts rows into the index that have no files, as indexing files would: for measuring what the index can do.
    ///
    /// # Errors
    /// [`Error::Io`].
    #[cfg(feature = "testing")]
    pub fn put_rows(&self, rows: &[Row]) -> Result<(), Error> {
        self.shared.index.put_all(rows)
    }

    /// Sums over the recordings that are asked for.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Damaged`] when the index cannot be read.
    pub fn stats(&self, query: &Query) -> Result<Stats, Error> {
        let mut stats = Stats::default();
        let hits = Hits::new(&self.shared, query, Summand::of).map(|hit| hit.map(|(_, summand)| summand));
        for summand in hits.take(query.limit.unwrap_or(usize::MAX)) {
            stats.add(summand?);
        }
        Ok(stats)
    }

    /// Waits until everything handed in so far survives a power cut and is in the index.
    ///
    /// # Errors
    /// [`Error::Io`] when a sync has failed: the archive takes nothing any more and must be opened again.
    pub fn sync(&self) -> Result<(), Error> {
        self.ask(Command::Sync)
    }

    /// Ends in order: recordings that still run are closed as interrupted, everything is brought to disk. The lock is
    /// released when the last [`Writer`] of this archive is gone.
    ///
    /// # Errors
    /// [`Error::Io`] when something could not be brought to disk; the next opening mends it from the journal.
    pub fn close(mut self) -> Result<(), Error> {
        self.shut()
    }

    fn shut(&mut self) -> Result<(), Error> {
        if self.handle.is_none() {
            return Ok(());
        }
        self.shared.end_tails();
        // What they still have to say goes into the ledger before it closes.
        self.shared.locations.close();
        if let Some(stamper) = locked(&self.stamper).take() {
            stamper.close();
        }
        if let Some(scrubber) = locked(&self.scrubber).take() {
            scrubber.close();
        }
        let result = self.ask(Command::Close);
        if let Some(handle) = self.handle.take() {
            drop(handle.sealers);
            drop(handle.commands);
            handle.thread.join().map_err(|_| Error::Closed)?;
        }
        self.shared.witnesses.close();
        result
    }

    /// The way to the disk thread, for threads of the archive's own.
    pub(crate) fn commands(&self) -> Result<Commands, Error> {
        self.handle.as_ref().map(|handle| handle.commands.clone()).ok_or(Error::Closed)
    }

    fn send(&self, command: Command) -> Result<(), Error> {
        let handle = self.handle.as_ref().ok_or(Error::Closed)?;
        handle.commands.send(command)
    }

    /// Sends a command that answers, behind all chunks that writers have handed over, and waits for the answer.
    pub(crate) fn ask<T>(
        &self,
        command: impl FnOnce(crossbeam_channel::Sender<Result<T, Error>>) -> Command,
    ) -> Result<T, Error> {
        let (answer, result) = crossbeam_channel::bounded(1);
        let handle = self.handle.as_ref().ok_or(Error::Closed)?;
        if let Some(sealers) = handle.sealers.get() {
            sealers.settle();
        }
        handle.commands.send(command(answer))?;
        result.recv().map_err(|_| Error::Closed)?.map_err(|e| e.under(&self.shared.root))
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        if let Err(e) = self.shut() {
            tracing::error!(archive = %self.shared.root.display(), error = %e, "the archive did not end in order");
        }
    }
}

fn take_lock(disk: &dyn Disk, dir: &Path) -> Result<Lock, Error> {
    let lock = disk.lock(LOCK_FILE).map_err(|e| Error::io(dir.join(LOCK_FILE), e))?;
    lock.ok_or_else(|| Error::Locked { path: dir.to_owned() })
}

/// Makes an archive. `archive.json` comes last: until it is there, the next call goes on where this one stopped.
pub(crate) fn make(disk: &dyn Disk) -> Result<(), Error> {
    for folder in [RECORDINGS_DIR, JOURNAL_DIR, LEDGER_DIR] {
        disk.create_dir(folder).map_err(|e| Error::io(folder, e))?;
    }
    Keys::create(disk)?;
    let created = wall_clock();
    let file = ArchiveFile { format: FORMAT, id: RecordingId::new(created).to_string(), created };
    write_archive_file(disk, &file)
}

fn write_archive_file(disk: &dyn Disk, file: &ArchiveFile) -> Result<(), Error> {
    let mut json =
        serde_json::to_vec_pretty(file).map_err(|e| Error::damaged(ARCHIVE_FILE, e.to_string()))?;
    json.push(b'\n');
    disk.replace(ARCHIVE_FILE, &json, false).map_err(|e| Error::io(ARCHIVE_FILE, e))
}

/// The format that the archive has on disk.
pub(crate) fn format(disk: &dyn Disk) -> Result<u32, Error> {
    Ok(read_archive_file(disk)?.format)
}

/// Everything that the newest format has is there now.
pub(crate) fn upgrade(disk: &dyn Disk) -> Result<(), Error> {
    let file = read_archive_file(disk)?;
    if file.format == FORMAT {
        return Ok(());
    }
    write_archive_file(disk, &ArchiveFile { format: FORMAT, ..file })
}

/// Somebody's home folder does not become an archive by a slip.
fn refuse_strangers(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
    let entries = disk.list("").map_err(|e| Error::io(dir, e))?;
    let stranger = entries.iter().find(|e| !NAMES.contains(&e.name.as_str()) && !e.name.starts_with('.'));
    stranger.map_or(Ok(()), |entry| {
        let what = format!(
            "{} holds {} and is no archive: name an empty or a new folder",
            dir.display(),
            entry.name
        );
        Err(Error::Refused { what })
    })
}

fn read_archive_file(disk: &dyn Disk) -> Result<ArchiveFile, Error> {
    let json = read_whole(disk, ARCHIVE_FILE, ARCHIVE_FILE_MAX).map_err(|e| Error::io(ARCHIVE_FILE, e))?;
    let json = json.ok_or_else(|| Error::Missing { path: PathBuf::new() })?;
    let damaged = |e: serde_json::Error| Error::damaged(ARCHIVE_FILE, e.to_string());
    let FormatOnly { format } = serde_json::from_slice(&json).map_err(damaged)?;
    if format > FORMAT {
        return Err(Error::NewerFormat { path: ARCHIVE_FILE.into(), found: format, known: FORMAT });
    }
    serde_json::from_slice(&json).map_err(damaged)
}
