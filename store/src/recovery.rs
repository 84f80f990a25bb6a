//! What opening an archive mends before anything else happens: the journal is done again, recordings without an end are
//! closed, the index catches up.
//!
//! Each step can be cut by the next crash and done again: journals are dropped only after everything that they hold is
//! on disk, and a recording that has an end is not ended twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::archive_copy::{self, Lacking};
use crate::bytes::{from_hex, hex};
use crate::closing::Ending;
use crate::disk::{Disk, ReadAt};
use crate::event::{Event, What};
use crate::journal::{self, COLD_DIR, JOURNAL_DIR, Part, Replayed, Transaction};
use crate::layout::{End, Layout, file_digest};
use crate::ledger::{self, LEDGER_DIR, Lines, Logged, RecordingLine};
use crate::locations::copies::{CopyKept, CopyLine};
use crate::locations::stub::{Stub, home_of, recording_at, stub_id, stub_path};
use crate::log::{self, Log};
use crate::settle::sync_files;
use crate::shared::Shared;
use crate::verify::signed_lines;
use crate::wave::{RECORDINGS_DIR, WRAP_END, digest_text, id_of, path_of, peek_wrap};
use crate::{CallRow, Error, Rebuilt, RecordingId, Recovery, Row, SignatureState};

/// How far back the beginning of a torn last line is looked for, in bytes.
const LAST_LINE_MAX: u64 = 2 * 1024 * 1024;
/// Rows put into a new index at once: some hundred kilobytes.
const ROWS_AT_ONCE: usize = 128;

/// What the disk thread goes on with.
pub(crate) struct Recovered {
    pub(crate) recovery: Recovery,
    /// The number of the next journal file.
    pub(crate) journal: u64,
    pub(crate) log: Log,
}

/// Does all of it.
pub(crate) fn recover(
    shared: &Shared,
    index_is_new: bool,
    is_copy: bool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Recovered, Error> {
    let disk = &*shared.disk;
    if is_copy {
        // A backup leaves out the journal, and some leave out empty folders.
        for folder in [JOURNAL_DIR, LEDGER_DIR, RECORDINGS_DIR] {
            disk.create_dir(folder).map_err(|e| Error::io(folder, e))?;
        }
    }
    let mut recovery = Recovery::default();
    let numbers = journal::numbers(disk)?;
    let mut replayed = Replayed::default();
    for &number in &numbers {
        journal::replay(disk, number, &mut replayed)?;
    }
    recovery.replayed_entries = replayed.entries;
    recovery.torn_journals = replayed.torn;
    for file in ledger::all(disk)? {
        mend_tail(disk, &file)?;
    }
    let mut lacking = if is_copy { archive_copy::complete_log(shared)? } else { None };
    if let Some(lacking) = &mut lacking {
        archive_copy::remove_destroyed(shared, lacking)?;
    }
    let number = numbers.last().map_or(1, |last| last + 1);
    let mut redo = Redo::new(shared, number)?;
    if let Some(event) = log::begin::event(shared, &redo.log)? {
        redo.push(Transaction::new(), &ledger::month(ledger::EVENTS, event.at), &ledger::line(&event)?)?;
    }
    end_open(shared, &replayed, &mut redo, &mut recovery)?;
    for (&key, (ledger, line)) in &replayed.pending {
        // Settled in the same entry: the next replay must not find it once more.
        let entry = Transaction::new().push(&Part::Pending { path: ledger, key, line: &[] });
        redo.push(entry, ledger, line)?;
    }
    if let Some(lacking) = &mut lacking {
        archive_copy::mend_recordings(shared, lacking, &mut redo, &mut recovery)?;
    }
    if let Some(event) = lacking.map(Lacking::event) {
        redo.push(Transaction::new(), &ledger::month(ledger::EVENTS, event.at), &ledger::line(&event)?)?;
        recovery.copy = Some(event.what);
    }
    tell_calls(&replayed, &mut recovery);
    let (log, journals) = redo.write(&mut replayed.paths)?;
    sync_files(shared, replayed.paths.iter())?;
    crate::archive::upgrade(disk)?;
    if index_is_new {
        rebuild(shared, Reads::Ends, progress)?;
        recovery.rebuilt_index = true;
    } else {
        recovery.indexed = catch_up(shared)?;
        for id in replayed.rewrapped.iter().filter_map(|path| recording_at(path)) {
            shared.index.forget_digest(id)?;
            shared.index.make_copies_stale(id)?;
        }
    }
    shared.index.flush()?;
    for number in numbers.into_iter().chain(journals.clone()) {
        let path = journal::path_of(number);
        disk.remove(&path).map_err(|e| Error::io(&path, e))?;
        disk.sync_dir(JOURNAL_DIR).map_err(|e| Error::io(JOURNAL_DIR, e))?;
    }
    sweep(disk)?;
    Ok(Recovered { recovery, journal: journals.end, log })
}

/// What still waits after the journal was done again was never to take anything's place.
fn sweep(disk: &dyn Disk) -> Result<(), Error> {
    for entry in disk.list(COLD_DIR).map_err(|e| Error::io(COLD_DIR, e))? {
        let path = format!("{COLD_DIR}/{}", entry.name);
        disk.remove(&path).map_err(|e| Error::io(&path, e))?;
    }
    Ok(())
}

/// Counts the calls whose lines were kept in the journal, and names the interrupted recordings that none of them names.
fn tell_calls(replayed: &Replayed, recovery: &mut Recovery) {
    let mut named = BTreeSet::new();
    for (ledger, line) in replayed.pending.values() {
        match serde_json::from_slice::<CallRow>(line) {
            Ok(row) if ledger != ledger::RUNS => {
                recovery.calls += 1;
                named.extend(row.recordings);
            }
            _ => {}
        }
    }
    let without = recovery.interrupted.iter().filter(|id| !named.contains(id));
    recovery.without_call = without.copied().collect();
}

/// What recovery itself has to write: journal first too, so that the next crash finds it whole or not at all.
pub(crate) struct Redo<'a> {
    shared: &'a Shared,
    log: Log,
    number: u64,
    /// Whole journal entries.
    entries: Vec<u8>,
    /// Where the ledger files that it adds to will end.
    ends: BTreeMap<String, u64>,
}

impl<'a> Redo<'a> {
    fn new(shared: &'a Shared, number: u64) -> Result<Self, Error> {
        let log = Log::open(&*shared.disk, &shared.keys, &shared.id)?;
        Ok(Redo { shared, log, number, entries: Vec::new(), ends: BTreeMap::new() })
    }

    /// Adds an entry with a line of the ledger.
    pub(crate) fn push(&mut self, entry: Transaction, ledger: &str, line: &[u8]) -> Result<(), Error> {
        let at = match self.ends.get(ledger) {
            Some(end) => *end,
            None => self.shared.disk.len(ledger).map_err(|e| Error::io(ledger, e))?.unwrap_or_default(),
        };
        let numbered = self.log.number(ledger, line);
        self.entries.extend_from_slice(&numbered.push_to(entry, ledger, at).finish());
        self.ends.insert(ledger.to_owned(), at + numbered.line.len() as u64);
        self.log.accept(&numbered);
        Ok(())
    }

    /// Brings the journal to disk and does what it says; adds the files that it names to `paths`. Gives the journals that
    /// are there now: one, or none when there was nothing to write.
    fn write(self, paths: &mut BTreeSet<String>) -> Result<(Log, std::ops::Range<u64>), Error> {
        if self.entries.is_empty() {
            return Ok((self.log, self.number..self.number));
        }
        let (disk, path) = (&*self.shared.disk, journal::path_of(self.number));
        disk.write_at(&path, 0, &self.entries)
            .and_then(|()| disk.sync(&path))
            .and_then(|()| disk.sync_dir(JOURNAL_DIR))
            .map_err(|e| Error::io(&path, e))?;
        let mut done = Replayed::default();
        journal::replay(disk, self.number, &mut done)?;
        paths.append(&mut done.paths);
        Ok((self.log, self.number..self.number + 1))
    }
}

/// Ends the recordings that the journal names and that have no end.
fn end_open(
    shared: &Shared,
    replayed: &Replayed,
    redo: &mut Redo<'_>,
    recovery: &mut Recovery,
) -> Result<(), Error> {
    let disk = &*shared.disk;
    for path in replayed.paths.iter().filter(|path| path.starts_with(RECORDINGS_DIR)) {
        let Some(id) = id_of(path) else { continue };
        let ending = match Layout::read(disk, path) {
            Ok(layout) if layout.end.is_none() => {
                let facts =
                    replayed.known.get(path).map(|known| layout.parsed.head.facts.clone().knowing(known));
                Ending::interrupted(disk, &shared.keys, &layout, facts)
            }
            Ok(_) | Err(Error::NotFound { .. }) => continue,
            Err(e) => Err(e),
        };
        match ending {
            Ok(ending) => {
                let ledger = ledger::month(ledger::RECORDINGS, id.started());
                redo.push(ending.entry(path), &ledger, &ledger::line(&ending.line())?)?;
                recovery.interrupted.push(id);
            }
            Err(e @ Error::Io { .. }) => return Err(e),
            // A copy of the archive without its signing key can still be listed and played. A damaged recording is named
            // by verification and must not keep the archive from opening.
            Err(e) => {
                tracing::error!(file = path, error = %e, "a recording cannot be ended");
                recovery.not_ended.push(id);
            }
        }
    }
    Ok(())
}

/// Ends one file at its last whole chunk, durably.
pub(crate) fn end_file(shared: &Shared, layout: &Layout) -> Result<Ending, Error> {
    let (disk, path) = (&*shared.disk, &layout.path);
    let ending = Ending::interrupted(disk, &shared.keys, layout, None)?;
    let parts = ending.parts(path);
    let (last, before) = parts.split_last().expect("an ending has four parts");
    for part in before {
        part.apply(disk).map_err(|e| Error::io(path, e))?;
    }
    // The size of `data` is what says that the file is finished, so the footer must be there before it.
    disk.sync(path)
        .and_then(|()| last.apply(disk))
        .and_then(|()| disk.sync(path))
        .map_err(|e| Error::io(path, e))?;
    Ok(ending)
}

/// A ledger file ends with a whole line: a torn one, which only somebody else can have left, is cut off (the log still has its
/// hash, so verification names it); a whole one without its newline, as an editor leaves it, gets one.
fn mend_tail(disk: &dyn Disk, file: &str) -> Result<(), Error> {
    let io = |e| Error::io(file, e);
    let len = disk.len(file).map_err(io)?.unwrap_or_default();
    let from = len.saturating_sub(LAST_LINE_MAX);
    let mut tail = vec![0; usize::try_from(len - from).unwrap_or_default()];
    if len == 0 || disk.read_at(file, from, &mut tail).map_err(io)? < tail.len() || tail.ends_with(b"\n") {
        return Ok(());
    }
    let line_at = tail.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
    let line = tail.get(line_at..).unwrap_or_default();
    if serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok() || (line_at == 0 && from > 0) {
        disk.write_at(file, len, b"\n").map_err(io)?;
    } else {
        disk.set_len(file, from + line_at as u64).map_err(io)?;
    }
    disk.sync(file).map_err(io)
}

/// Takes those ledger lines into the index that it does not have yet.
fn catch_up(shared: &Shared) -> Result<u64, Error> {
    let (mut rows, mut gone) = (0, Vec::new());
    for file in ledger::months(&*shared.disk, ledger::RECORDINGS)? {
        let len = shared.disk.len(&file).map_err(|e| Error::io(&file, e))?.unwrap_or_default();
        let cursor = shared.index.cursor(&file)?;
        if cursor == len {
            continue;
        }
        // A ledger that is shorter than it was: somebody put an older one there. All of it is taken in again.
        let from = if cursor > len { 0 } else { cursor };
        for line in Lines::<RecordingLine>::new(Arc::clone(&shared.disk), file.clone(), from) {
            match line {
                Ok(line) if line.fate.is_gone() => {
                    index_end(shared, &line)?;
                    gone.push(line.id);
                }
                Ok(line) => rows += u64::from(index_file(shared, line.id)?),
                Err(e @ Error::Io { .. }) => return Err(e),
                Err(e) => tracing::warn!(error = %e, "a line of the ledger is not readable"),
            }
        }
        shared.index.set_cursor(&file, len)?;
    }
    catch_up_events(shared)?;
    // Copies of them that were told after that.
    gone.into_iter().try_for_each(|id| shared.index.make_copies_gone(id).map(|_| ()))?;
    Ok(rows)
}

/// Takes those events into the index that it does not have yet.
fn catch_up_events(shared: &Shared) -> Result<(), Error> {
    for file in ledger::months(&*shared.disk, ledger::EVENTS)? {
        let len = shared.disk.len(&file).map_err(|e| Error::io(&file, e))?.unwrap_or_default();
        let cursor = shared.index.cursor(&file)?;
        let from = if cursor > len { 0 } else { cursor };
        for line in Lines::<Logged<Event>>::new(Arc::clone(&shared.disk), file.clone(), from) {
            match line {
                Ok(Logged { leaf, value }) => take_event(shared, leaf.unwrap_or_default(), &value)?,
                Err(e @ Error::Io { .. }) => return Err(e),
                Err(e) => tracing::warn!(error = %e, "an event of the ledger is not readable"),
            }
        }
        shared.index.set_cursor(&file, len)?;
    }
    Ok(())
}

/// Takes an event of the ledger into the index.
pub(crate) fn take_event(shared: &Shared, leaf: u64, event: &Event) -> Result<(), Error> {
    let index = &shared.index;
    match &event.what {
        What::Copied { location, copies } => copies.iter().try_for_each(|copy| {
            let CopyLine { id, bytes, sha256, key } = copy.clone();
            let kept = CopyKept { at: event.at, bytes, sha256, key, stale: false, gone: false };
            index.take_copy(leaf, location, id, Some(kept))
        }),
        What::CopiesRemoved { location, ids } => {
            ids.iter().try_for_each(|id| index.take_copy(leaf, location, *id, None))
        }
        What::Moved { recordings, .. } => recordings.iter().try_for_each(|moved| {
            // What lies there now counts: it may have been brought back, or deleted since.
            let is_moved = home_of(&*shared.disk, moved.id)? == Some(stub_path(moved.id));
            match index.bare_row(moved.id)? {
                Some(row) if row.moved == is_moved || row.deleted.is_some() => Ok(()),
                Some(row) => index.put(&Row { moved: is_moved, ..row }),
                None => index_file(shared, moved.id).map(|_| ()),
            }
        }),
        _ => index.take_event(leaf, event),
    }
}

/// What the index keeps of a recording that is gone: its facts, where they were to stay.
pub(crate) fn index_end(shared: &Shared, line: &RecordingLine) -> Result<(), Error> {
    match line.husk() {
        Some(row) => shared.index.put(&row)?,
        None => shared.index.remove(line.id)?,
    }
    shared.index.make_copies_gone(line.id).map(|_| ())
}

/// Puts the row of one file, if it is there and can be read.
fn index_file(shared: &Shared, id: RecordingId) -> Result<bool, Error> {
    let home = home_of(&*shared.disk, id)?;
    match row_of(shared, &home.unwrap_or_else(|| path_of(id))) {
        Ok(row) => {
            shared.index.put(&row)?;
            compare_copies(shared, id)?;
            Ok(true)
        }
        Err(e @ Error::Io { .. }) => Err(e),
        Err(e) => {
            tracing::warn!(recording = %id, error = %e, "a recording in the ledger cannot be listed");
            Ok(false)
        }
    }
}

/// The row of a finished file, from the file alone; or of a moved one, from its stub.
pub(crate) fn row_of(shared: &Shared, path: &str) -> Result<Row, Error> {
    let disk = &*shared.disk;
    if let Some(id) = stub_id(path) {
        let signed = signed_lines(shared, &BTreeSet::from([id]))?;
        return moved_row(shared, id, &signed);
    }
    let layout = Layout::read(disk, path)?;
    let signature = layout.signature(disk, &shared.keys.signer())?;
    let sha256 = digest_text(&file_digest(disk, path)?);
    let facts = layout.end.map_or(layout.parsed.head.facts, |end| end.footer.facts);
    Ok(Row { sha256, ..Row::of(facts, layout.len, signature) })
}

/// The row of a finished file as a new index takes it in, from its beginning and its end alone: its signature is held against the digest that
/// the ledger keeps, and its hash is told later, when the whole of it is read. What the ledger does not know is read at once.
fn listed_row(shared: &Shared, path: &str, digest: Option<&[u8; 32]>) -> Result<Row, Error> {
    let layout = Layout::read(&*shared.disk, path)?;
    let Some(End { footer, .. }) = &layout.end else { return row_of(shared, path) };
    match digest {
        Some(digest) if shared.keys.signer().verifies(digest, &footer.signature) => {
            Ok(Row::of(footer.facts.clone(), layout.len, SignatureState::Valid))
        }
        _ => row_of(shared, path),
    }
}

/// The digests that were signed, of the recordings that began in one month.
#[derive(Default)]
struct Signed {
    month: String,
    digests: BTreeMap<RecordingId, [u8; 32]>,
}

impl Signed {
    /// That of a recording; those of a whole month are read for the first of it.
    fn of(&mut self, disk: &Arc<dyn Disk>, id: RecordingId) -> Result<Option<&[u8; 32]>, Error> {
        let month = ledger::month(ledger::RECORDINGS, id.started());
        if month != self.month {
            self.digests.clear();
            let is_there = disk.len(&month).map_err(|e| Error::io(&month, e))?.is_some();
            if is_there {
                let lines = Lines::<RecordingLine>::new(Arc::clone(disk), month.clone(), 0).flatten();
                let lines = lines.filter(|line| !line.fate.is_gone());
                self.digests.extend(lines.filter_map(|line| Some((line.id, from_hex(&line.signed)?))));
            }
            self.month = month;
        }
        Ok(self.digests.get(&id))
    }
}

/// The row of a recording that was moved. Its hash is that of its copies, which the index knows; its signature is held against the
/// digest that the ledger keeps.
fn moved_row(
    shared: &Shared,
    id: RecordingId,
    signed: &BTreeMap<RecordingId, (String, u64)>,
) -> Result<Row, Error> {
    let Stub { layout, .. } = Stub::read(&*shared.disk, id)?;
    let Some(End { footer, .. }) = layout.end else {
        return Err(Error::tampered(stub_path(id), "its end is missing"));
    };
    let digest = signed.get(&id).and_then(|(signed, _)| from_hex::<32>(signed));
    let holds = digest.is_some_and(|digest| shared.keys.signer().verifies(&digest, &footer.signature));
    let signature = if holds { SignatureState::Valid } else { SignatureState::Invalid };
    let copy = shared.index.copies(id)?.iter().next().map(|(_, copy)| copy.sha256.clone());
    Ok(Row { moved: true, sha256: copy.unwrap_or_default(), ..Row::of(footer.facts, layout.len, signature) })
}

/// Copies that are not what their recording is now are to be made again.
fn compare_all(shared: &Shared) -> Result<(), Error> {
    shared.index.all_copies().try_for_each(|entry| compare_copies(shared, entry?.0))
}

/// The same for one recording. A file that is here is compared by its hash, which also tells that it was re-encoded.
pub(crate) fn compare_copies(shared: &Shared, id: RecordingId) -> Result<(), Error> {
    let copies = shared.index.copies(id)?;
    let (Some(home), Some(row)) = (home_of(&*shared.disk, id)?, shared.index.bare_row(id)?) else {
        return Ok(());
    };
    let differs = if row.moved {
        let key = wrap_key_at(&*shared.disk, &home)?;
        copies.iter().any(|(_, copy)| Some(&copy.key) != key.as_ref())
    } else {
        // One whose hash is not known yet is compared when it is.
        !row.sha256.is_empty() && copies.iter().any(|(_, copy)| copy.sha256 != row.sha256)
    };
    if differs {
        shared.index.make_copies_stale(id)?;
    }
    Ok(())
}

/// The key that a recording's data key is wrapped to, in hexadecimal, by its file or stub; none when it has no header of one.
pub(crate) fn wrap_key_at(disk: &dyn ReadAt, path: &str) -> Result<Option<String>, Error> {
    let mut head = [0; WRAP_END];
    let read = disk.read_at(path, 0, &mut head).map_err(|e| Error::io(path, e))?;
    Ok(peek_wrap(head.get(..read).unwrap_or_default()).map(|(_, _, wrap)| hex(&wrap.key_id)))
}

/// All files under `recordings/`, in the order of their names.
pub(crate) fn files(disk: &dyn Disk) -> Result<Vec<String>, Error> {
    let mut files = Vec::new();
    let mut folders = vec![RECORDINGS_DIR.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in disk.list(&folder).map_err(|e| Error::io(&folder, e))? {
            let path = format!("{folder}/{}", entry.name);
            if entry.is_dir { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

/// How much of a recording is read for its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// All of it.
    Whole,
    /// Its beginning and its end: recording waits for it.
    Ends,
}

/// Builds the index from the files. `progress` is told how many of how many files are done.
pub(crate) fn rebuild(
    shared: &Shared,
    reads: Reads,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Rebuilt, Error> {
    let mut rebuilt = Rebuilt::default();
    // Taken before the files are read: what is finished meanwhile is taken in twice rather than not at all.
    let mut ends = Vec::new();
    for file in ledger::months(&*shared.disk, ledger::RECORDINGS)? {
        let len = shared.disk.len(&file).map_err(|e| Error::io(&file, e))?.unwrap_or_default();
        ends.push((file, len));
    }
    shared.index.clear()?;
    // In the order of names, which the index takes in best.
    let files = files(&*shared.disk)?;
    // Read once for all: the ledger is long.
    let moved = signed_lines(shared, &files.iter().filter_map(|path| stub_id(path)).collect())?;
    let (mut rows, mut signed) = (Vec::new(), Signed::default());
    progress(0, files.len() as u64);
    for (i, path) in files.iter().enumerate() {
        let running = recording_at(path).is_some_and(|id| shared.is_running(id));
        let row = match (id_of(path), stub_id(path)) {
            (Some(_), _) if reads == Reads::Whole => row_of(shared, path),
            (Some(id), _) => listed_row(shared, path, signed.of(&shared.disk, id)?),
            (None, Some(id)) => moved_row(shared, id, &moved),
            (None, None) => Err(Error::damaged(path, "a stray file")),
        };
        match row {
            _ if running => {}
            Ok(row) => rows.push(row),
            Err(e) => rebuilt.damaged.push((path.into(), e.to_string())),
        }
        if rows.len() >= ROWS_AT_ONCE || i + 1 == files.len() {
            // What was deleted since it was read is not put back.
            rows.retain(|row| matches!(home_of(&*shared.disk, row.facts.id), Ok(Some(_))));
            shared.index.put_all(&rows)?;
            let unread = rows.iter().filter(|row| row.sha256.is_empty() && !row.moved);
            unread.into_iter().try_for_each(|row| shared.index.hash_later(row.facts.id))?;
            rebuilt.rows += rows.len() as u64;
            rows.clear();
        }
        progress(i as u64 + 1, files.len() as u64);
    }
    catch_up_events(shared)?;
    // After the events: what they say of copies of recordings that were destroyed is not to be believed.
    for (file, len) in ends {
        for line in Lines::<RecordingLine>::new(Arc::clone(&shared.disk), file.clone(), 0).flatten() {
            if line.fate == ledger::Fate::Deleted {
                index_end(shared, &line)?;
            }
        }
        shared.index.set_cursor(&file, len)?;
    }
    compare_all(shared)?;
    shared.index.mark_built()?;
    Ok(rebuilt)
}
