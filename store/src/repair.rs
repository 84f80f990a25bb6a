//! Bringing a recording back from an archive location: its file is gone or is not what was sealed, and a copy is.
//!
//! A copy is believed when its signature is this archive's and the ledger names it by its digest. It is written beside the
//! recordings first, read back, and takes its place as a whole: a crash leaves what was there before, or the good file.

use std::sync::Arc;

use crate::Error;
use crate::disk::{Disk, ReadAt, locked, parent};
use crate::journal::{COLD_DIR, waiting_for};
use crate::layout::Layout;
use crate::ledger::RecordingLine;
use crate::recovery::row_of;
use crate::shared::Shared;
use crate::wave::{WRAP_AT, WRAP_END, digest_text, path_of, peek_wrap};

/// Bytes copied at a time.
const BLOCK_LEN: usize = 256 * 1024;

/// Brings a recording back that should be in the archive's folder. Gives the location that had it; none when no location has a good
/// copy, with what each said in the log.
pub(crate) fn from_location(shared: &Shared, line: &RecordingLine) -> Result<Option<String>, Error> {
    if line.fate.is_gone() {
        return Ok(None);
    }
    for (location, copy) in shared.locations.copies_of(shared, line.id, &[], None)? {
        match bring(shared, line, &copy) {
            Ok(()) => {
                tracing::info!(recording = %line.id, location, "a recording was brought back from its copy");
                return Ok(Some(location));
            }
            Err(e @ (Error::Full { .. } | Error::Closed)) => return Err(e),
            Err(e) => tracing::warn!(recording = %line.id, location, error = %e, "its copy does not mend it"),
        }
    }
    Ok(None)
}

fn bring(shared: &Shared, line: &RecordingLine, copy: &Arc<dyn ReadAt>) -> Result<(), Error> {
    let (disk, path) = (&*shared.disk, path_of(line.id));
    let waiting = waiting_for(&path);
    expect(&**copy, &path, shared, line)?;
    // While it is decided about a recording, and while keys are rotated, nothing is put anywhere.
    let _one_at_a_time = locked(&shared.decisions);
    let _turn = shared.keys.stay();
    let wrap = wrap_of(shared, line, copy, &path)?;
    let written = write(disk, &**copy, &path, &waiting, &wrap);
    let placed = written.and_then(|()| expect(disk, &waiting, shared, line)).and_then(|()| {
        let io = |e| Error::io(&path, e);
        disk.create_dir(parent(&path)).map_err(io)?;
        disk.rename(&waiting, &path).map_err(io)?;
        disk.sync_dir(parent(&path)).and_then(|()| disk.sync_dir(COLD_DIR)).map_err(io)
    });
    if placed.is_err() {
        // The next opening sweeps it away too.
        let _ = disk.remove(&waiting);
    }
    placed?;
    shared.index.put(&row_of(shared, &path)?)
}

/// It must be whole, ours, and the one that the ledger names.
fn expect(disk: &dyn ReadAt, path: &str, shared: &Shared, line: &RecordingLine) -> Result<(), Error> {
    let layout = Layout::read(disk, path)?;
    let signed = layout.verify(disk, &shared.keys.signer())?;
    if layout.parsed.head.id != line.id || digest_text(&signed) != line.signed {
        return Err(Error::tampered(path, "genuine, but not the one that the ledger names"));
    }
    Ok(())
}

/// The wrapped key that the file is to have: the one that is here, if it is of this recording and of a key that we have, else the
/// copy's.
fn wrap_of(
    shared: &Shared,
    line: &RecordingLine,
    copy: &Arc<dyn ReadAt>,
    path: &str,
) -> Result<Vec<u8>, Error> {
    for disk in [&*shared.disk as &dyn ReadAt, &**copy] {
        let mut head = [0; WRAP_END];
        let Ok(read) = disk.read_at(path, 0, &mut head) else { continue };
        let ours = peek_wrap(head.get(..read).unwrap_or_default())
            .filter(|(_, id, wrap)| *id == line.id && shared.keys.knows(&wrap.key_id));
        if ours.is_some() {
            return Ok(head[WRAP_AT as usize..].to_vec());
        }
    }
    Err(Error::tampered(path, "the copy is wrapped to a key that was destroyed"))
}

fn write(disk: &dyn Disk, copy: &dyn ReadAt, path: &str, waiting: &str, wrap: &[u8]) -> Result<(), Error> {
    let io = |e| Error::io(waiting, e);
    disk.create_dir(COLD_DIR).map_err(io)?;
    disk.remove(waiting).map_err(io)?;
    let (mut block, mut at) = (vec![0; BLOCK_LEN], 0);
    loop {
        let read = copy.read_at(path, at, &mut block).map_err(|e| Error::io(path, e))?;
        disk.write_at(waiting, at, &block[..read]).map_err(io)?;
        at += read as u64;
        if read < BLOCK_LEN {
            break;
        }
    }
    disk.write_at(waiting, WRAP_AT, wrap).and_then(|()| disk.sync(waiting)).map_err(io)
}
