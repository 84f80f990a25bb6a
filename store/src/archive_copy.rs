//! Opening a copy of an archive: one that a backup made, file by file, while calls were recorded.
//!
//! Such a copy is of no moment: a ledger file is older than the recordings that it should name, the log longer or shorter than
//! the ledger, a recording cut where it stood, a file there that was deleted before the ledger was copied, or that was moved to
//! archive locations or re-encoded between the two. Everything that the copy has is made usable, and what it lacks is told by an
//! event of the ledger, so that verification can tell "not in this copy" from "taken out". No line is rewritten and no number given twice.
//!
//! A copy is told by its missing lock file: a backup leaves it out, and [`crate::restore`] does. With that file the folder is
//! taken for the archive itself, in which nothing may be missing: there is no softer word for what somebody took out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use crate::closing::Ending;
use crate::disk::{Disk, parent, read_whole};
use crate::event::{Event, What};
use crate::journal::Transaction;
use crate::layout::Layout;
use crate::ledger::{self, Lines, RecordingLine};
use crate::locations::stub::{Stub, home_of, recording_at, stub_id, stub_path};
use crate::log::checkpoint::{NOTE_MAX, Note};
use crate::log::tree::{Hash, leaf_hash};
use crate::log::{CHECKPOINT, HASH_LEN, LEAVES};
use crate::recovery::{Redo, files};
use crate::shared::{Shared, wall_clock};
use crate::verify::{moved, named};
use crate::wave::{WRAP_AT, WRAP_LEN, digest_text, id_of};
use crate::{Error, Recoded, RecordingFacts, RecordingId, Recovery};

/// Runs of lines, and recordings, that one event names; more are told as a number.
const NAMED_MAX: usize = 10_000;
/// Lines that may have been written while the copy was made, and are not in it.
const GAP_MAX: u64 = 1_000_000;
/// A hash that nobody knows.
pub(crate) const UNKNOWN: Hash = [0; 32];

/// Is this archive a copy that was not opened yet? Asked before the lock is taken, which makes the file.
pub(crate) fn is_copy(lock: &Path) -> bool {
    !lock.exists()
}

/// What a copy lacks, and what was made of it.
#[derive(Debug, Default)]
pub(crate) struct Lacking {
    /// Lines that the log of the copy had, those that are lacking too. What the original wrote after these is not here.
    log: u64,
    /// Numbers of the log that no line of the copy has, in runs.
    lines: Vec<(u64, u64)>,
    /// Recordings that the ledger names, and that are not in the copy.
    recordings: Vec<RecordingId>,
    /// Recordings of which the copy has the file of one moment and the lines of another.
    of_two_moments: Vec<RecordingId>,
    /// Recordings that were finished after the ledger was copied.
    taken_in: u64,
    /// Recordings that were deleted before the ledger was copied.
    removed: u64,
    /// Recordings that were running: ended at what was copied of them.
    ended: u64,
}

/// What the beginning of a line says.
#[derive(Deserialize)]
struct Start {
    leaf: Option<u64>,
}

/// Makes the log as long as the ledger says, and as its checkpoint says: hashes of lines that are there, and none for those that
/// are not. Must come before the log is taken up.
pub(crate) fn complete_log(shared: &Shared) -> Result<Option<Lacking>, Error> {
    let disk = &shared.disk;
    let len = disk.len(LEAVES).map_err(|e| Error::io(LEAVES, e))?;
    let mut lacking = Lacking::default();
    let mut known: BTreeMap<u64, Hash> = BTreeMap::new();
    for file in ledger::all(&**disk)? {
        let mut lines = Lines::<Start>::new(Arc::clone(disk), file.clone(), 0);
        loop {
            match lines.next_raw() {
                Ok(None) => break,
                Ok(Some((_, line))) => {
                    if let Ok(Start { leaf: Some(leaf) }) = serde_json::from_slice(line) {
                        known.insert(leaf, leaf_hash(&file, line));
                    }
                }
                Err(e @ Error::Io { .. }) => return Err(e),
                // Verification names it.
                Err(_) => break,
            }
        }
    }
    if len.is_none() && known.is_empty() {
        // From before there was a log.
        return Ok(None);
    }
    let note = read_whole(&**disk, CHECKPOINT, NOTE_MAX as u64).map_err(|e| Error::io(CHECKPOINT, e))?;
    let note = note.and_then(|note| String::from_utf8(note).ok());
    let said = note.as_deref().and_then(Note::parse).filter(|note| shared.keys.has_signed(note));
    let said = said.map_or(0, |note| note.checkpoint.size);
    let have = len.unwrap_or_default() / HASH_LEN;
    // A number that is far off is no number of ours: verification names the line.
    let highest = known.keys().next_back().map_or(0, |leaf| leaf.saturating_add(1));
    let size = highest.min(have + known.len() as u64 + said + GAP_MAX).max(have).max(said);
    let mut more = Vec::new();
    for leaf in have..size {
        more.extend_from_slice(known.get(&leaf).unwrap_or(&UNKNOWN));
    }
    if !more.is_empty() {
        let written = disk.write_at(LEAVES, have * HASH_LEN, &more).and_then(|()| disk.sync(LEAVES));
        written.map_err(|e| Error::io(LEAVES, e))?;
    }
    for leaf in (0..size).filter(|leaf| !known.contains_key(leaf)) {
        match lacking.lines.last_mut() {
            Some((_, last)) if *last + 1 == leaf => *last = leaf,
            _ => lacking.lines.push((leaf, leaf)),
        }
    }
    lacking.log = size;
    Ok(Some(lacking))
}

/// Removes what the ledger of the copy says was destroyed: it was copied before, or the journal brought it back; and one of two
/// where a recording lies there in both its forms. Must come before anything is ended.
pub(crate) fn remove_destroyed(shared: &Shared, lacking: &mut Lacking) -> Result<(), Error> {
    let disk = &*shared.disk;
    for line in named(shared)?.lines.into_values().filter(|line| line.fate.is_gone()) {
        // Copied at two moments, a recording that was moved between them lies there twice.
        while let Some(path) = home_of(disk, line.id)? {
            remove(disk, &path)?;
            lacking.removed += 1;
        }
    }
    keep_one_of_two(shared)
}

/// A recording that was moved to archive locations while it was copied lies there twice: its file, copied before, and its stub,
/// copied after. The file has everything that the stub has, and the audio: it stays, if it is whole.
fn keep_one_of_two(shared: &Shared) -> Result<(), Error> {
    let disk = &*shared.disk;
    let paths = files(disk)?;
    let with_stub: BTreeSet<RecordingId> = paths.iter().filter_map(|path| stub_id(path)).collect();
    for path in &paths {
        let Some(id) = id_of(path).filter(|id| with_stub.contains(id)) else { continue };
        let stub = stub_path(id);
        let layout = Layout::read(disk, path);
        let away = match layout.and_then(|layout| layout.verify(disk, &shared.keys.signer())) {
            Ok(_) => &stub,
            Err(e @ Error::Io { .. }) => return Err(e),
            // What is cut goes only where the stub is one: its audio is elsewhere.
            Err(_) if Stub::read(disk, id).is_ok() => path,
            // Verification names both.
            Err(_) => continue,
        };
        disk.remove(away).and_then(|()| disk.sync_dir(parent(away))).map_err(|e| Error::io(away, e))?;
    }
    Ok(())
}

/// Goes through the recordings of the copy: those without an end get one, those that the ledger does not name yet are
/// entered. `redo` gets the lines.
pub(crate) fn mend_recordings(
    shared: &Shared,
    lacking: &mut Lacking,
    redo: &mut Redo<'_>,
    recovery: &mut Recovery,
) -> Result<(), Error> {
    let disk = &*shared.disk;
    let mut lines = named(shared)?.lines;
    let paths = files(disk)?;
    let has_stubs = paths.iter().any(|path| stub_id(path).is_some());
    let moved = if has_stubs { moved(shared)? } else { BTreeMap::new() };
    for path in paths {
        let Some(id) = recording_at(&path) else { continue };
        let line = lines.remove(&id);
        if stub_id(&path).is_some() {
            // Its audio is in archive locations. Verification holds it against two lines, of the recording and of its move, and must
            // know which of them came after the ledger was copied.
            let is_named = Stub::read(disk, id).is_ok_and(|stub| {
                let recoded = stub.layout.end.as_ref().map(|end| &end.footer.facts.recoded);
                moved.get(&id) == Some(&stub.digest) && line.as_ref().map(|line| &line.recoded) == recoded
            });
            if !is_named {
                lacking.of_two_moments.push(id);
            }
            continue;
        }
        if recovery.interrupted.contains(&id) || recovery.not_ended.contains(&id) {
            continue;
        }
        match mend(shared, &path, line.as_ref(), redo) {
            Ok(Mended::Whole) => {}
            Ok(Mended::Former) => lacking.of_two_moments.push(id),
            Ok(Mended::TakenIn { unlinked }) => {
                lacking.taken_in += 1;
                lacking.of_two_moments.extend(unlinked.then_some(id));
            }
            Ok(Mended::Ended) => {
                lacking.ended += 1;
                recovery.interrupted.push(id);
            }
            Err(e @ Error::Io { .. }) => return Err(e),
            // Verification names it.
            Err(e) => {
                tracing::error!(file = path, error = %e, "a recording of the copy cannot be ended");
                recovery.not_ended.push(id);
            }
        }
    }
    lacking.recordings =
        lines.into_values().filter(|line| !line.fate.is_gone()).map(|line| line.id).collect();
    Ok(())
}

enum Mended {
    /// There was nothing to do.
    Whole,
    /// It is whole, and not the one that the ledger names: that one was re-encoded from it, and is not in the copy.
    Former,
    /// The ledger did not name it yet; `unlinked` where it does not name what it was re-encoded from either.
    TakenIn { unlinked: bool },
    /// It had no end.
    Ended,
}

fn mend(
    shared: &Shared,
    path: &str,
    line: Option<&RecordingLine>,
    redo: &mut Redo<'_>,
) -> Result<Mended, Error> {
    let disk = &*shared.disk;
    let layout = match Layout::read(disk, path) {
        Err(e @ Error::Tampered { .. }) => Layout::read_cut(disk, path)?.ok_or(e)?,
        layout => layout?,
    };
    let ledger = ledger::month(ledger::RECORDINGS, layout.parsed.head.id.started());
    let Some(end) = &layout.end else {
        let ending = Ending::interrupted(disk, &shared.keys, &layout, None)?;
        redo.push(ending.entry(path), &ledger, &ledger::line(&ending.line())?)?;
        return Ok(Mended::Ended);
    };
    let facts: &RecordingFacts = &end.footer.facts;
    // Only a file that may be another than the ledger's is read as a whole.
    if line.is_some_and(|line| line.recoded == facts.recoded) {
        return Ok(Mended::Whole);
    }
    let signed = match (layout.verify(disk, &shared.keys.signer()), line) {
        (Err(Error::Tampered { .. } | Error::Damaged { .. }), None) => {
            return Err(Error::damaged(path, "the ledger does not name it, and it is not whole"));
        }
        // Verification names it.
        (Err(Error::Tampered { .. } | Error::Damaged { .. }), Some(_)) => return Ok(Mended::Whole),
        (signed, _) => signed?,
    };
    if let Some(line) = line {
        let is_this =
            |from: &Recoded, signed: &str, bytes: u64| from.from_signed == signed && from.from_bytes == bytes;
        let was = line.recoded.as_ref();
        if was.is_some_and(|from| is_this(from, &digest_text(&signed), layout.len)) {
            return Ok(Mended::Former);
        }
        let from = facts.recoded.as_deref();
        if !from.is_some_and(|from| is_this(from, &line.signed, line.bytes)) {
            return Ok(Mended::Whole);
        }
    }
    let unlinked = line.is_none() && facts.recoded.is_some();
    let line = RecordingLine::finished(facts, layout.len, &signed);
    redo.push(Transaction::new(), &ledger, &ledger::line(&line)?)?;
    Ok(Mended::TakenIn { unlinked })
}

/// A copy must not bring back what was destroyed.
fn remove(disk: &dyn Disk, path: &str) -> Result<(), Error> {
    let whole = disk.len(path).map_err(|e| Error::io(path, e))?.unwrap_or_default();
    let mut gone = Ok(());
    if whole >= WRAP_AT + WRAP_LEN as u64 {
        gone = disk.write_at(path, WRAP_AT, &[0; WRAP_LEN]).and_then(|()| disk.sync(path));
    }
    gone.and_then(|()| disk.remove(path))
        .and_then(|()| disk.sync_dir(parent(path)))
        .map_err(|e| Error::io(path, e))
}

impl Lacking {
    /// The event that tells it.
    pub(crate) fn event(self) -> Event {
        let Lacking { log, mut lines, mut recordings, mut of_two_moments, taken_in, removed, ended } = self;
        let beyond = |len: usize| len.saturating_sub(NAMED_MAX) as u64;
        let left_out = beyond(lines.len()) + beyond(recordings.len()) + beyond(of_two_moments.len());
        lines.truncate(NAMED_MAX);
        recordings.truncate(NAMED_MAX);
        of_two_moments.truncate(NAMED_MAX);
        let what =
            What::CopyOpened { log, lines, recordings, of_two_moments, taken_in, removed, ended, left_out };
        Event::by_itself(wall_clock(), what)
    }
}
