//! The second thread: everything that takes time and must not keep sealed chunks waiting.
//!
//! It reads finished files back for the hash that lists show, puts rows into the index, and brings whole files to disk
//! before their journal is dropped. If it falls behind, journals pile up and nothing is lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};

use crate::disk::{locked, parent};
use crate::event::{Event, What};
use crate::journal::{self, JOURNAL_DIR};
use crate::layout::{Layout, file_digest};
use crate::ledger::RecordingLine;
use crate::recovery::{compare_copies, index_end, take_event};
use crate::shared::Shared;
use crate::unrecorded;
use crate::verify::is_destroyed;
use crate::wave::{RECORDINGS_DIR, digest_text, path_of};
use crate::{CopyLine, Error, RecordingId, Row};

/// Up to so many files are synced one by one; of more, the whole file system at once.
const SINGLE_SYNCS_MAX: usize = 64;

/// What the disk thread hands on.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    /// A recording was finished; its journal entry is on disk. The ledger names it up to `end`.
    Index { row: Box<Row>, path: String, ledger: String, end: u64 },
    /// Something was done to a recording; its journal entry is on disk. The ledger names it up to `end`, as line `leaf`.
    Event { event: Box<Event>, leaf: u64, ledger: String, end: u64 },
    /// A finished recording was destroyed.
    Deleted { line: Box<RecordingLine>, ledger: String, end: u64 },
    /// A line came into this file of the balance sheet.
    Call { ledger: String },
    /// The keys of these recordings were wrapped anew: the hashes of their files are others now.
    Rewrapped(Vec<RecordingId>),
    /// Bring these files to disk, then drop the journals up to this one.
    Checkpoint { upto: u64, files: Vec<String> },
    /// Answer when everything before is done and the index is on disk.
    Sync(Sender<Result<(), Error>>),
}

/// Starts the thread; it ends when the sender is dropped. Its queue has no bound: a slow index must not hold up
/// recording, and a task is small and comes once per recording or per journal file.
pub(crate) fn spawn(shared: Arc<Shared>) -> std::io::Result<(Sender<Task>, JoinHandle<()>)> {
    let (sender, tasks) = crossbeam_channel::unbounded();
    let thread =
        std::thread::Builder::new().name("archive-settle".into()).spawn(move || run(&shared, &tasks))?;
    Ok((sender, thread))
}

fn run(shared: &Shared, tasks: &Receiver<Task>) {
    let (mut unhashed, mut hashed) = (true, None);
    // Ledger files of which the index lacks something: their cursors stay, so that the next opening takes it in.
    let mut behind = BTreeSet::new();
    loop {
        let task = match tasks.try_recv() {
            Ok(task) => task,
            Err(TryRecvError::Disconnected) => return,
            // Nothing else to do: one of the hashes that a rotation of keys has made void, or that a new index lacks.
            Err(TryRecvError::Empty) if unhashed => {
                let begun = Instant::now();
                hashed = hash_next(shared, hashed);
                unhashed = hashed.is_some();
                // The disk is everybody's: half of its time at most.
                match tasks.recv_timeout(begun.elapsed()) {
                    Ok(task) => task,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            Err(TryRecvError::Empty) => match tasks.recv() {
                Ok(task) => task,
                Err(_) => return,
            },
        };
        match task {
            Task::Rewrapped(ids) => {
                (unhashed, hashed) = (true, None);
                let forget = |id: &RecordingId| {
                    shared.index.forget_digest(*id)?;
                    if shared.index.make_copies_stale(*id)? {
                        shared.locations.tell(*id);
                    }
                    Ok(())
                };
                if let Err(e) = ids.iter().try_for_each(forget) {
                    // A list that shows a hash that is none would be worse than no list.
                    shared.failed.set(e);
                }
            }
            Task::Index { row, path, ledger, end } => {
                let id = row.facts.id;
                // The row stays in memory when this fails.
                let cursor = (!behind.contains(&ledger)).then_some(end);
                match put(shared, *row, &path, &ledger, cursor) {
                    Ok(()) => {
                        locked(&shared.live).remove(&id);
                        shared.locations.tell(id);
                    }
                    Err(e) => {
                        tracing::error!(recording = %id, error = %e, "a recording is not in the index");
                        behind.insert(ledger);
                    }
                }
            }
            Task::Event { event, leaf, ledger, end } => {
                let taken = take_event(shared, leaf, &event);
                let taken = taken.and_then(|()| move_cursor(shared, &behind, &ledger, end));
                if let Err(e) = taken {
                    behind.insert(ledger);
                    tracing::error!(error = %e, "an event is not in the index");
                }
                // A recording can have been deleted while its copy was made.
                if let What::Copied { copies, .. } = &event.what {
                    for CopyLine { id, .. } in copies {
                        if let Err(e) = mark_destroyed(shared, *id) {
                            tracing::error!(recording = %id, error = %e, "a copy cannot be judged");
                        }
                        shared.locations.tell(*id);
                    }
                }
            }
            Task::Deleted { line, ledger, end } => {
                let gone = index_end(shared, &line);
                shared.locations.tell(line.id);
                let gone = gone.and_then(|()| move_cursor(shared, &behind, &ledger, end));
                if let Err(e) = gone {
                    behind.insert(ledger);
                    tracing::error!(recording = %line.id, error = %e, "a deletion is not in the index");
                }
            }
            Task::Call { ledger } => {
                // Whoever asks for such calls has them taken in before, and is told if that cannot be.
                if let Err(e) = unrecorded::take_in_some(shared, &ledger) {
                    tracing::warn!(file = ledger, error = %e, "calls without a recording are not in the index");
                }
            }
            Task::Checkpoint { upto, files } => {
                if let Err(e) = checkpoint(shared, upto, &files) {
                    tracing::error!(error = %e, "the archive cannot bring its files to disk");
                    shared.failed.set(e);
                }
            }
            Task::Sync(answer) => {
                let result = shared.failed.check().and_then(|()| shared.index.flush());
                // Whoever asked may have stopped waiting.
                let _ = answer.send(result);
            }
        }
    }
}

/// A copy of a recording that was destroyed while it was made is to go.
fn mark_destroyed(shared: &Shared, id: RecordingId) -> Result<(), Error> {
    if !shared.is_live(id) && shared.index.bare_row(id)?.is_none() && is_destroyed(shared, id)? {
        shared.index.make_copies_gone(id)?;
    }
    Ok(())
}

/// Makes good the hash of a file whose wrap has changed, or that was listed without being read, and holds its signature against all of it.
fn hash(shared: &Shared, id: RecordingId) -> Result<(), Error> {
    let (disk, path) = (&*shared.disk, path_of(id));
    let read = || {
        let signature = Layout::read(disk, &path)?.signature(disk, &shared.keys.signer())?;
        Ok::<_, Error>((signature, digest_text(&file_digest(disk, &path)?)))
    };
    match (shared.index.bare_row(id)?, read()) {
        (Some(row), Ok((signature, sha256))) => {
            shared.index.put(&Row { sha256, signature, ..row })?;
            compare_copies(shared, id)
        }
        // The disk may read it another time.
        (Some(_), Err(e @ Error::Io { .. })) => Err(e),
        // Gone, or no recording any more: verification tells.
        _ => shared.index.forget_unhashed(id),
    }
}

/// Makes good the next hash behind this one; none when there is none left.
fn hash_next(shared: &Shared, after: Option<RecordingId>) -> Option<RecordingId> {
    let told = |e: Error| tracing::error!(error = %e, "the hash of a recording's file cannot be told");
    let id = shared.index.unhashed(after).unwrap_or_else(|e| {
        told(e);
        None
    })?;
    hash(shared, id).unwrap_or_else(told);
    Some(id)
}

fn put(shared: &Shared, mut row: Row, path: &str, ledger: &str, cursor: Option<u64>) -> Result<(), Error> {
    if shared.disk.len(path).map_err(|e| Error::io(path, e))? != Some(row.bytes) {
        return Err(Error::damaged(path, "its file is not written yet; opening the archive again does"));
    }
    row.sha256 = digest_text(&file_digest(&*shared.disk, path)?);
    shared.index.put(&row)?;
    if row.facts.recoded.is_some() {
        shared.index.make_copies_stale(row.facts.id)?;
    }
    cursor.map_or(Ok(()), |end| shared.index.set_cursor(ledger, end))
}

fn move_cursor(shared: &Shared, behind: &BTreeSet<String>, ledger: &str, end: u64) -> Result<(), Error> {
    if behind.contains(ledger) { Ok(()) } else { shared.index.set_cursor(ledger, end) }
}

/// Brings files and the names in their folders to disk; afterwards their journal is not needed.
pub(crate) fn sync_files<'a>(
    shared: &Shared,
    files: impl ExactSizeIterator<Item = &'a String>,
) -> Result<(), Error> {
    if files.len() > SINGLE_SYNCS_MAX {
        return shared.disk.sync_everything().map_err(|e| Error::io("", e));
    }
    let mut folders = BTreeSet::new();
    for path in files {
        let there = shared.disk.len(path).map_err(|e| Error::io(path, e))?.is_some();
        match shared.disk.sync(path) {
            // Discarded since.
            Err(e) if !there || e.kind() == std::io::ErrorKind::NotFound => {}
            result => result.map_err(|e| Error::io(path, e))?,
        }
        folders.insert(parent(path));
    }
    folders.iter().try_for_each(|folder| shared.disk.sync_dir(folder).map_err(|e| Error::io(folder, e)))
}

fn checkpoint(shared: &Shared, upto: u64, files: &[String]) -> Result<(), Error> {
    // After a failure the journal is the only copy that can be believed.
    shared.failed.check()?;
    sync_files(shared, files.iter())?;
    shared.index.flush()?;
    // One by one, oldest first: a journal that a power cut brings back is harmless only as long as all later ones are
    // there too.
    for number in journal::numbers(&*shared.disk)?.into_iter().filter(|&number| number <= upto) {
        let path = journal::path_of(number);
        shared.disk.remove(&path).map_err(|e| Error::io(&path, e))?;
        shared.disk.sync_dir(JOURNAL_DIR).map_err(|e| Error::io(JOURNAL_DIR, e))?;
        shared.journals_gone.store(number, Ordering::Release);
    }
    let running: BTreeSet<String> = locked(&shared.live).keys().map(|&id| path_of(id)).collect();
    // The ledger's files are written all the time; they are few.
    let is_over = |path: &&String| path.starts_with(RECORDINGS_DIR) && !running.contains(*path);
    files.iter().filter(is_over).for_each(|path| shared.disk.rest(path));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::Archive;
    use crate::archive::Place;
    use crate::crash::{append, facts};
    use crate::shared::Tuning;

    /// Files of recordings in this archive that this process has open.
    fn open_recordings(archive: &Path) -> usize {
        let folder = std::fs::canonicalize(archive).expect("it is there").join("recordings");
        let files = std::fs::read_dir("/proc/self/fd").expect("Linux").flatten();
        files.filter(|file| std::fs::read_link(file.path()).is_ok_and(|at| at.starts_with(&folder))).count()
    }

    #[test]
    fn no_file_stays_open_of_recordings_that_are_over_and_one_that_runs_goes_on() {
        let dir = tempfile::tempdir().expect("a folder");
        let (archive, _) = Archive::open_or_create(dir.path()).expect("made");
        archive.close().expect("closed");
        let (disk, lock) = Archive::lock_folder(dir.path()).expect("its lock");
        let index = dir.path().join("index");
        let place = Place { root: dir.path(), index: &index, is_copy: false };
        // Short journals: the first is settled while the last recording runs.
        let tuning = Tuning { journal_max: 20_000, rest: Duration::ZERO, ..Tuning::default() };
        let archive = Archive::open_on(Arc::new(disk), lock, &place, tuning, &mut |_, _| {}).expect("opened");
        let mut last = archive.create(facts(9)).expect("begun");
        append(&mut last, 9, 0).expect("taken");
        for n in 1..=8 {
            let mut writer = archive.create(facts(n)).expect("begun");
            (0..60).for_each(|i| append(&mut writer, n, i).expect("taken"));
            writer.finish(facts(n)).expect("finished");
        }
        let begun = Instant::now();
        let mut packets = 1;
        while open_recordings(dir.path()) > 1 {
            append(&mut last, 9, packets).expect("taken");
            packets += 1;
            archive.sync().expect("settled");
            assert!(begun.elapsed() < Duration::from_secs(60), "those that are over are open");
        }
        last.finish(facts(9)).expect("finished");
        while open_recordings(dir.path()) > 0 {
            archive.sync().expect("settled");
            assert!(begun.elapsed() < Duration::from_secs(120), "nothing runs, and a file is open");
        }
        archive.close().expect("closed");
    }
}
