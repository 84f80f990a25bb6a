//! Verification: is every recording what was sealed, and is none missing?
//!
//! Needs the public keys only; with the private one it also opens every chunk. It looks at files and ledger, and takes
//! from the index nothing but names that should have a file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::bytes::hex;
use crate::event::{Event, What};
use crate::layout::Layout;
use crate::ledger::{self, Fate, Lines, Logged, RecordingLine};
use crate::locations::stub::{Stub, home_of, recording_at, stub_id};
use crate::reader::Reader;
use crate::shared::Shared;
use crate::source::Source;
use crate::wave::{digest_text, path_of};
use crate::{Error, Finding, MovedLine, RecordingId, Trusted, Verdict};

/// What the ledger says about recordings, each by its last line.
pub(crate) struct Named {
    pub(crate) lines: BTreeMap<RecordingId, RecordingLine>,
    /// Recordings that were re-encoded from another file than the one that the ledger named until then.
    pub(crate) unlinked: BTreeSet<RecordingId>,
    /// Lines that cannot be read, and files.
    pub(crate) unreadable: Vec<(String, Error)>,
}

/// Reads the ledger of recordings.
pub(crate) fn named(shared: &Shared) -> Result<Named, Error> {
    let mut named = Named { lines: BTreeMap::new(), unlinked: BTreeSet::new(), unreadable: Vec::new() };
    for file in ledger::months(&*shared.disk, ledger::RECORDINGS)? {
        for line in Lines::<RecordingLine>::new(Arc::clone(&shared.disk), file.clone(), 0) {
            match line {
                // Only what is being recorded can be discarded: such a line after an end is not believed.
                Ok(line) if line.fate == Fate::Discarded && named.lines.contains_key(&line.id) => {}
                Ok(line) => {
                    let (id, from) = (line.id, line.recoded.clone());
                    let before = named.lines.insert(id, line);
                    let fits = |before: &RecordingLine| {
                        from.as_ref().is_none_or(|from| {
                            (&before.signed, before.bytes) == (&from.from_signed, from.from_bytes)
                        })
                    };
                    if from.is_some() && !before.as_ref().is_some_and(fits) {
                        named.unlinked.insert(id);
                    }
                }
                Err(e) => named.unreadable.push((file.clone(), e)),
            }
        }
    }
    Ok(named)
}

/// What the ledger says of recordings that were finished: the digest that was signed, and the length.
pub(crate) fn signed_lines(
    shared: &Shared,
    ids: &BTreeSet<RecordingId>,
) -> Result<BTreeMap<RecordingId, (String, u64)>, Error> {
    let months: BTreeSet<String> =
        ids.iter().map(|id| ledger::month(ledger::RECORDINGS, id.started())).collect();
    let mut found = BTreeMap::new();
    for file in months {
        let mut lines = Lines::<RecordingLine>::new(Arc::clone(&shared.disk), file.clone(), 0);
        if shared.disk.len(&file).map_err(|e| Error::io(&file, e))?.is_none() {
            continue;
        }
        while let Some((_, line)) = lines.next_raw()? {
            // Most lines are of others: these are not read whole.
            if id_in(line).is_some_and(|id| ids.contains(&id))
                && let Ok(line) = serde_json::from_slice::<RecordingLine>(line)
                && !line.fate.is_gone()
            {
                found.insert(line.id, (line.signed, line.bytes));
            }
        }
    }
    Ok(found)
}

/// Does the ledger say that this recording was destroyed? Reads the file of its month.
pub(crate) fn is_destroyed(shared: &Shared, id: RecordingId) -> Result<bool, Error> {
    let file = ledger::month(ledger::RECORDINGS, id.started());
    if shared.disk.len(&file).map_err(|e| Error::io(&file, e))?.is_none() {
        return Ok(false);
    }
    let (mut lines, mut gone) = (Lines::<RecordingLine>::new(Arc::clone(&shared.disk), file, 0), false);
    while let Some((_, line)) = lines.next_raw()? {
        if id_in(line) == Some(id)
            && let Ok(line) = serde_json::from_slice::<RecordingLine>(line)
        {
            gone = line.fate.is_gone();
        }
    }
    Ok(gone)
}

/// The recording that a line of the ledger names first.
pub(crate) fn id_in(line: &[u8]) -> Option<RecordingId> {
    const NAME: &[u8] = b"\"id\":\"";
    let at = line.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    std::str::from_utf8(line.get(at..at + 26)?).ok()?.parse().ok()
}

/// The hashes of stubs by the events that moved their recordings, the last of each.
pub(crate) fn moved(shared: &Shared) -> Result<BTreeMap<RecordingId, String>, Error> {
    let mut last: BTreeMap<RecordingId, (Option<u64>, String)> = BTreeMap::new();
    for file in ledger::months(&*shared.disk, ledger::EVENTS)? {
        // A line that cannot be read is the audit's to name.
        for Logged { leaf, value } in Lines::<Logged<Event>>::new(Arc::clone(&shared.disk), file, 0).flatten()
        {
            let What::Moved { recordings, .. } = value.what else { continue };
            for MovedLine { id, stub } in recordings {
                if last.get(&id).is_none_or(|(known, _)| *known < leaf) {
                    last.insert(id, (leaf, stub));
                }
            }
        }
    }
    Ok(last.into_iter().map(|(id, (_, stub))| (id, stub)).collect())
}

/// The findings, one by one as files are read. `settled` is an error when the archive could not even be asked.
pub(crate) fn findings<'a>(
    shared: &'a Shared,
    ids: Option<&[RecordingId]>,
    trusted: &Trusted,
    settled: Result<(), Error>,
) -> impl Iterator<Item = Finding> + use<'a> {
    let prepared = settled.and_then(|()| prepare(shared, ids)).and_then(|(work, unreadable)| {
        let any = work.iter().any(|piece| stub_id(&piece.path).is_some());
        let moved = if any { moved(shared)? } else { BTreeMap::new() };
        Ok((work, unreadable, moved, lacked(shared)?))
    });
    let (work, mut first, moved, lacked) = match prepared {
        Ok(prepared) => prepared,
        Err(e) => (Vec::new(), vec![unreadable(None, "", &e)], BTreeMap::new(), Lacked::default()),
    };
    if ids.is_none() {
        first.append(&mut crate::audit::findings(shared, trusted));
    }
    first.into_iter().chain(work.into_iter().map(move |piece| {
        let stub = recording_at(&piece.path).and_then(|id| moved.get(&id));
        let finding = judge(shared, &piece, stub.map(String::as_str));
        of_a_copy(shared, &piece, finding, &lacked)
    }))
}

/// What is to be said of a recording that a copy of the archive lacked, or had of another moment than its ledger, when it was
/// opened. What is neither is what it was found to be.
fn of_a_copy(shared: &Shared, piece: &Piece, found: Finding, lacked: &Lacked) -> Finding {
    let not_copied = |what: &str| Verdict::NotCopied { what: what.into() };
    let is_in = |ids: &BTreeSet<RecordingId>| found.id.is_some_and(|id| ids.contains(&id));
    if found.verdict == Verdict::Missing && is_in(&lacked.files) {
        return Finding { verdict: not_copied("the file is not in this copy of the archive"), ..found };
    }
    // What was there when the copy was opened may not be missing now.
    if !is_in(&lacked.of_two_moments) {
        return found;
    }
    let is_stub = stub_id(&piece.path).is_some();
    let verdict = match &found.verdict {
        Verdict::Unlisted if is_stub => {
            not_copied("the ledger's line of it is not in this copy of the archive")
        }
        Verdict::Changed { .. } if is_stub && stub_fits(shared, piece) => not_copied(
            "its audio went to archive locations after the ledger was copied, of which the lines are not in this copy of the archive",
        ),
        Verdict::Changed { .. } if piece.unlinked && is_whole(shared, piece) => not_copied(
            "the line that names the file that it was re-encoded from is not in this copy of the archive",
        ),
        Verdict::Changed { .. } if !is_stub && is_former(shared, piece) => not_copied(
            "this is the recording as it was before it was re-encoded; the file that the ledger names is not in this copy of the archive",
        ),
        _ => return found,
    };
    Finding { verdict, ..found }
}

/// Is it a stub of the recording that the ledger names, and of its copy in an archive location, where one can be reached? Without
/// one only the length can be compared: whoever reads the audio then finds what is wrong.
fn stub_fits(shared: &Shared, piece: &Piece) -> bool {
    let Some(id) = stub_id(&piece.path) else { return false };
    let Ok(stub) = Stub::read(&*shared.disk, id) else { return false };
    let from = stub.layout.end.as_ref().and_then(|end| end.footer.facts.recoded.as_deref());
    let is_of = |line: &RecordingLine| {
        // Re-encoded and moved, both after the ledger was copied.
        let is_next =
            from.is_some_and(|from| (&from.from_signed, from.from_bytes) == (&line.signed, line.bytes));
        !line.fate.is_gone() && (line.bytes == stub.layout.len || is_next)
    };
    if !piece.line.as_ref().is_none_or(is_of) {
        return false;
    }
    match Source::find(shared, id) {
        Ok(source) => Stub::bytes_of(&*source.disk, &stub.layout)
            .and_then(|bytes| Stub::parse(&bytes, id, &piece.path))
            .is_ok_and(|copied| copied.digest == stub.digest),
        Err(Error::Away { .. }) => true,
        Err(_) => false,
    }
}

/// Is it the file that the ledger names, but for what it was re-encoded from?
fn is_whole(shared: &Shared, piece: &Piece) -> bool {
    let Some(id) = recording_at(&piece.path) else { return false };
    Source::find(shared, id)
        .and_then(|source| sealed(shared, &source, &piece.path, piece.line.as_ref(), false))
        .unwrap_or(false)
}

/// Is it whole, and the file from which the one that the ledger names was re-encoded?
fn is_former(shared: &Shared, piece: &Piece) -> bool {
    let Some(from) = piece.line.as_ref().and_then(|line| line.recoded.as_deref()) else { return false };
    let signed = Layout::read(&*shared.disk, &piece.path)
        .and_then(|layout| layout.verify(&*shared.disk, &shared.keys.signer()));
    signed.is_ok_and(|signed| digest_text(&signed) == from.from_signed)
}

/// What a copy of the archive lacked when it was opened.
#[derive(Default)]
struct Lacked {
    /// Recordings without a file.
    files: BTreeSet<RecordingId>,
    /// Recordings whose file is of another moment than their lines.
    of_two_moments: BTreeSet<RecordingId>,
}

fn lacked(shared: &Shared) -> Result<Lacked, Error> {
    let mut lacked = Lacked::default();
    for file in ledger::months(&*shared.disk, ledger::EVENTS)? {
        for event in Lines::<Event>::new(Arc::clone(&shared.disk), file, 0).flatten() {
            if let What::CopyOpened { recordings, of_two_moments, .. } = event.what {
                lacked.files.extend(recordings);
                lacked.of_two_moments.extend(of_two_moments);
            }
        }
    }
    Ok(lacked)
}

/// A file, and what the ledger says of it.
struct Piece {
    path: String,
    line: Option<RecordingLine>,
    /// The ledger does not name what it was re-encoded from.
    unlinked: bool,
}

type Work = Vec<Piece>;

/// Which files to look at, each with what the ledger says, in the order of their names.
fn prepare(shared: &Shared, ids: Option<&[RecordingId]>) -> Result<(Work, Vec<Finding>), Error> {
    let named = named(shared)?;
    // Of the whole ledger the audit names broken lines itself.
    let broken = named.unreadable.iter().filter(|_| ids.is_some());
    let broken = broken.map(|(file, e)| unreadable(None, file, e)).collect();
    let (lines, unlinked) = (named.lines, named.unlinked);
    let piece = |path: String, line: Option<RecordingLine>| {
        let unlinked = line.as_ref().is_some_and(|line| unlinked.contains(&line.id));
        Piece { path, line, unlinked }
    };
    let home = |id: RecordingId| Ok(home_of(&*shared.disk, id)?.unwrap_or_else(|| path_of(id)));
    if let Some(ids) = ids {
        let work = ids.iter().map(|id| Ok(piece(home(*id)?, lines.get(id).cloned())));
        return Ok((work.collect::<Result<_, Error>>()?, broken));
    }
    let mut work: BTreeMap<String, Option<RecordingLine>> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for path in crate::recovery::files(&*shared.disk)? {
        let id = recording_at(&path);
        found.extend(id);
        work.insert(path, id.and_then(|id| lines.get(&id).cloned()));
    }
    let without_file =
        lines.into_iter().filter(|(id, line)| line.fate != Fate::Discarded && !found.contains(id));
    work.extend(without_file.map(|(id, line)| (path_of(id), Some(line))));
    for id in shared.index.ids() {
        let id = id?;
        if !found.contains(&id) {
            work.entry(path_of(id)).or_default();
        }
    }
    Ok((work.into_iter().map(|(path, line)| piece(path, line)).collect(), broken))
}

fn judge(shared: &Shared, piece: &Piece, stub: Option<&str>) -> Finding {
    let path = &piece.path;
    let id = recording_at(path);
    Finding { id, path: path.into(), verdict: verdict(look(shared, piece, stub)) }
}

/// What an error says of a recording.
pub(crate) fn verdict(looked: Result<Verdict, Error>) -> Verdict {
    match looked {
        Ok(verdict) => verdict,
        Err(Error::Away { why, .. }) => Verdict::Away { what: why },
        Err(Error::NotFound { .. }) => Verdict::Missing,
        Err(Error::Tampered { what, .. } | Error::Damaged { what, .. }) => Verdict::Changed { what },
        Err(e) => unreadable(None, "", &e).verdict,
    }
}

fn unreadable(id: Option<RecordingId>, path: &str, error: &Error) -> Finding {
    let what = match error {
        Error::Io { source, .. } => source.to_string(),
        Error::Damaged { what, .. } => what.clone(),
        e => e.to_string(),
    };
    Finding { id, path: path.into(), verdict: Verdict::Unreadable { what } }
}

/// `moved` is the hash of the stub that the ledger knows, for a recording that was moved.
fn look(shared: &Shared, piece: &Piece, moved: Option<&str>) -> Result<Verdict, Error> {
    let (path, line) = (piece.path.as_str(), piece.line.as_ref());
    let id =
        recording_at(path).ok_or_else(|| Error::damaged(path, "not the name of a recording in its place"))?;
    if shared.is_running(id) {
        return Ok(Verdict::Recording);
    }
    let disk = &*shared.disk;
    if let Some(line) = line.filter(|line| line.fate == Fate::Deleted) {
        return deleted(shared, path, line);
    }
    if stub_id(path).is_some() && Some(Stub::read(disk, id)?.digest.as_str()) != moved {
        return Err(Error::tampered(path, "it is not the stub that the ledger names"));
    }
    let source = Source::find(shared, id)?;
    if !sealed(shared, &source, path, line, piece.unlinked)? {
        return Ok(Verdict::Unlisted);
    }
    let opened = open_all(shared, &source)?;
    listed(shared, &source.layout)?;
    Ok(Verdict::Intact { opened })
}

/// Is the file what was sealed? Reads every byte of it; true when it is also the one that the ledger names. `path` is where it, or
/// its stub, lies; `unlinked` says that the ledger does not name what it was re-encoded from.
pub(crate) fn sealed(
    shared: &Shared,
    source: &Source,
    path: &str,
    line: Option<&RecordingLine>,
    unlinked: bool,
) -> Result<bool, Error> {
    let layout = &source.layout;
    if Some(layout.parsed.head.id) != recording_at(path) {
        return Err(Error::tampered(path, "it is another recording's file"));
    }
    let signed = layout.verify(&*source.disk, &shared.keys.signer())?;
    let wrap = &layout.parsed.head.wrap;
    if !shared.keys.knows(&wrap.key_id) {
        // Told without any private key; what is signed is whole, but nobody can play it.
        return Err(Error::KeyUnknown { path: path.into(), key: hex(&wrap.key_id) });
    }
    match line {
        None => Ok(false),
        Some(line) if line.fate.is_gone() => Ok(false),
        Some(line)
            if line.recoded.as_ref().is_some_and(|recoded| recoded.from_signed == digest_text(&signed)) =>
        {
            Err(Error::tampered(
                path,
                "genuine, but the one that was re-encoded: it was put back, and the ledger names the new one",
            ))
        }
        Some(line) if line.signed != digest_text(&signed) => {
            Err(Error::tampered(path, "genuine, but not the one that the ledger names"))
        }
        Some(line) if layout.end.as_ref().is_none_or(|end| end.footer.facts.recoded != line.recoded) => {
            Err(Error::tampered(
                path,
                "what it says of the file that it was re-encoded from is not what the ledger says",
            ))
        }
        Some(_) if unlinked => {
            Err(Error::tampered(path, "the ledger does not name the file that it was re-encoded from"))
        }
        Some(_) => Ok(true),
    }
}

/// A recording that was deleted must be gone, and its receipt must be ours.
fn deleted(shared: &Shared, path: &str, line: &RecordingLine) -> Result<Verdict, Error> {
    if shared.disk.len(path).map_err(|e| Error::io(path, e))?.is_some() {
        return Ok(Verdict::Unlisted);
    }
    let deletion = line.deletion.as_ref();
    let signed = deletion.map(|deletion| Ok::<_, Error>((line.receipt_text(deletion)?, &deletion.receipt)));
    match signed.transpose()? {
        Some((text, receipt)) if shared.keys.verifies_receipt(&text, receipt) => Ok(Verdict::Deleted),
        _ => Err(Error::tampered(
            path,
            "it is gone, and the receipt of its deletion is not signed by this archive",
        )),
    }
}

/// Opens every chunk; false when the key to do so is not here.
fn open_all(shared: &Shared, source: &Source) -> Result<bool, Error> {
    let mut reader = match Reader::on(shared, source) {
        Err(Error::KeyMissing { .. } | Error::KeyLocked { .. } | Error::WrongKey { .. }) => return Ok(false),
        reader => reader?,
    };
    while let Some(chunk) = reader.next_chunk()? {
        chunk.records().try_for_each(|record| record.map(|_| ()))?;
    }
    Ok(true)
}

/// Does the index show what the file says? An index that lacks the recording shows nothing wrong.
fn listed(shared: &Shared, layout: &Layout) -> Result<(), Error> {
    let row = shared.index.bare_row(layout.parsed.head.id)?;
    let facts = layout.end.as_ref().map(|end| &end.footer.facts);
    if row.is_some_and(|row| Some(&row.facts) != facts || row.bytes != layout.len) {
        return Err(Error::tampered(
            &layout.path,
            "the file is as it was sealed, but the index shows something else; `earwitness archive rebuild` mends that",
        ));
    }
    Ok(())
}
