//! The beginning of a log: its first line. An archive of format 1 has lines that are no leaves; the first line says what
//! its files held then, so that they are as well kept from there on as the ones that come.

use serde::{Deserialize, Serialize};

use super::{LEAVES, Log};
use crate::bytes::hex;
use crate::event::{Event, What};
use crate::layout::file_digest;
use crate::shared::{Shared, wall_clock};
use crate::{Error, archive, ledger};

/// A ledger file as it was when the log began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    /// Its path in the archive.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of that, in hexadecimal.
    pub sha256: String,
}

/// The first line, when there is no log yet: in a new archive, and in one of format 1.
pub(crate) fn event(shared: &Shared, log: &Log) -> Result<Option<Event>, Error> {
    let disk = &*shared.disk;
    let files = ledger::all(disk)?;
    let begun = log.size() > 0 || disk.len(LEAVES).map_err(|e| Error::io(LEAVES, e))?.is_some();
    // Lines without a log in an archive that had one: somebody took it away. Verification says so of every line.
    if begun || (archive::format(disk)? >= 2 && !files.is_empty()) {
        return Ok(None);
    }
    let mut adopted = Vec::new();
    for file in files {
        let bytes = disk.len(&file).map_err(|e| Error::io(&file, e))?.unwrap_or_default();
        adopted.push(Adopted { bytes, sha256: hex(&file_digest(disk, &file)?), file });
    }
    let what = What::LogBegun { archive: shared.id.clone(), adopted };
    Ok(Some(Event::by_itself(wall_clock(), what)))
}
