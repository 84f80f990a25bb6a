//! Verification: is every recording what was sealed, and is none missing?
//!
//! Needs the public keys only; with the private one it also opens every chunk. It looks at files and ledger, and takes
//! from the index nothing but names that should have a file.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::layout::Layout;
use crate::ledger::{self, Fate, Lines, RecordingLine};
use crate::reader::Reader;
use crate::shared::Shared;
use crate::wave::{digest_text, id_of, path_of};
use crate::{Error, Finding, RecordingId, Verdict};

/// What the ledger says about recordings, each by its last line.
pub(crate) struct Named {
    pub(crate) lines: BTreeMap<RecordingId, RecordingLine>,
    /// Lines that cannot be read, and files.
    pub(crate) unreadable: Vec<(String, Error)>,
}

/// Reads the ledger of recordings.
pub(crate) fn named(shared: &Shared) -> Result<Named, Error> {
    let mut named = Named { lines: BTreeMap::new(), unreadable: Vec::new() };
    for file in ledger::months(&*shared.disk, ledger::RECORDINGS)? {
        for line in Lines::<RecordingLine>::new(Arc::clone(&shared.disk), file.clone(), 0) {
            match line {
                Ok(line) => drop(named.lines.insert(line.id, line)),
                Err(e) => named.unreadable.push((file.clone(), e)),
            }
        }
    }
    Ok(named)
}

/// The findings, one by one as files are read. `settled` is an error when the archive could not even be asked.
pub(crate) fn findings<'a>(
    shared: &'a Shared,
    ids: Option<&[RecordingId]>,
    settled: Result<(), Error>,
) -> impl Iterator<Item = Finding> + use<'a> {
    let prepared = settled.and_then(|()| prepare(shared, ids));
    let (work, first) = match prepared {
        Ok((work, unreadable)) => (work, unreadable),
        Err(e) => (Vec::new(), vec![unreadable(None, "", &e)]),
    };
    first.into_iter().chain(work.into_iter().map(move |(path, line)| judge(shared, &path, line.as_ref())))
}

type Work = Vec<(String, Option<RecordingLine>)>;

/// Which files to look at, each with what the ledger says, in the order of their names.
fn prepare(shared: &Shared, ids: Option<&[RecordingId]>) -> Result<(Work, Vec<Finding>), Error> {
    let named = named(shared)?;
    let broken = named.unreadable.iter().map(|(file, e)| unreadable(None, file, e)).collect();
    let mut lines = named.lines;
    if let Some(ids) = ids {
        let work = ids.iter().map(|id| (path_of(*id), lines.get(id).cloned())).collect();
        return Ok((work, broken));
    }
    let mut work: BTreeMap<String, Option<RecordingLine>> = BTreeMap::new();
    for path in crate::recovery::files(&*shared.disk)? {
        let line = id_of(&path).and_then(|id| lines.remove(&id));
        work.insert(path, line);
    }
    for (id, line) in lines.into_iter().filter(|(_, line)| line.fate != Fate::Discarded) {
        work.insert(path_of(id), Some(line));
    }
    let (low, high) = (RecordingId::from_bytes([0; 16]), RecordingId::from_bytes([0xff; 16]));
    for id in shared.index.ids(low, high) {
        work.entry(path_of(id?)).or_default();
    }
    Ok((work.into_iter().collect(), broken))
}

fn judge(shared: &Shared, path: &str, line: Option<&RecordingLine>) -> Finding {
    let id = id_of(path);
    let verdict = match look(shared, path, line) {
        Ok(verdict) => verdict,
        Err(Error::NotFound { .. }) => Verdict::Missing,
        Err(Error::Tampered { what, .. } | Error::Damaged { what, .. }) => Verdict::Changed { what },
        Err(e) => return unreadable(id, path, &e),
    };
    Finding { id, path: path.into(), verdict }
}

fn unreadable(id: Option<RecordingId>, path: &str, error: &Error) -> Finding {
    let what = match error {
        Error::Io { source, .. } => source.to_string(),
        Error::Damaged { what, .. } => what.clone(),
        e => e.to_string(),
    };
    Finding { id, path: path.into(), verdict: Verdict::Unreadable { what } }
}

fn look(shared: &Shared, path: &str, line: Option<&RecordingLine>) -> Result<Verdict, Error> {
    let id = id_of(path).ok_or_else(|| Error::damaged(path, "not the name of a recording in its place"))?;
    if shared.is_running(id) {
        return Ok(Verdict::Recording);
    }
    let disk = &*shared.disk;
    let layout = match Layout::read(disk, path) {
        // Destroyed on purpose, and gone.
        Err(Error::NotFound { .. }) if line.is_some_and(|line| line.fate == Fate::Discarded) => {
            return Err(Error::NotFound { what: path.to_owned() });
        }
        layout => layout?,
    };
    if layout.parsed.head.id != id {
        return Err(Error::tampered(path, "it is another recording's file"));
    }
    let signed = layout.verify(disk, &shared.keys)?;
    match line {
        None => return Ok(Verdict::Unlisted),
        Some(line) if line.fate == Fate::Discarded => return Ok(Verdict::Unlisted),
        Some(line) if line.signed != digest_text(&signed) => {
            return Err(Error::tampered(path, "genuine, but not the one that the ledger names"));
        }
        Some(_) => {}
    }
    Ok(Verdict::Intact { opened: open_all(shared, &layout)? })
}

/// Opens every chunk; false when the key to do so is not here.
fn open_all(shared: &Shared, layout: &Layout) -> Result<bool, Error> {
    let mut reader = match Reader::on(shared, layout) {
        Err(Error::KeyMissing { .. } | Error::WrongKey { .. }) => return Ok(false),
        reader => reader?,
    };
    while let Some(chunk) = reader.next_chunk()? {
        chunk.records().try_for_each(|record| record.map(|_| ()))?;
    }
    Ok(true)
}
