//! Restoring a backup: its files into a new folder. What a copy lacks is found and mended when it is opened ([`crate::archive_copy`]).

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use decode::Timestamp;
use serde::Deserialize;

use crate::archive::{ARCHIVE_FILE, INDEX_DIR, LOCK_FILE};
use crate::disk::{Disk, RealDisk};
use crate::ledger::{self, Lines};
use crate::scribe::RESERVE;
use crate::{Archive, Error};

/// Folders inside folders that are followed: `recordings/YYYY/MM/DD`, and room to spare.
const DEPTH_MAX: usize = 8;

/// The time of a line of the ledger. What opening a copy adds does not count.
#[derive(Deserialize)]
struct Written {
    at: Timestamp,
    #[serde(default)]
    event: String,
}

/// Copies the files of a backup into a folder that is new or empty; `progress` is told files and bytes copied so far. The index,
/// the lock and the journal's reserve are left out, and whatever is no plain file. Opening the folder then mends it.
///
/// # Errors
/// [`Error::Missing`] when the backup holds no archive, [`Error::Refused`] when the new folder is there and not empty;
/// [`Error::Io`], [`Error::Full`].
pub fn restore(from: &Path, to: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<(), Error> {
    if !from.join(ARCHIVE_FILE).is_file() {
        return Err(Error::Missing { path: from.to_owned() });
    }
    let there = match fs::read_dir(to) {
        Err(e) if e.kind() == ErrorKind::NotFound => false,
        entries => entries.map_err(|e| Error::io(to, e))?.next().is_some(),
    };
    if there {
        let what = format!("a backup in {}: it is not empty; name a new folder", to.display());
        return Err(Error::Refused { what });
    }
    let mut done = (0, 0);
    copy_folder(from, to, "", DEPTH_MAX, &mut |bytes| {
        done = (done.0 + 1, done.1 + bytes);
        progress(done.0, done.1);
    })?;
    RealDisk::new(to).and_then(|disk| disk.sync_everything()).map_err(|e| Error::io(to, e))
}

/// `below` is the folder's path in the archive.
fn copy_folder(
    from: &Path,
    to: &Path,
    below: &str,
    depth: usize,
    copied: &mut dyn FnMut(u64),
) -> Result<(), Error> {
    let folder = to.join(below);
    let make = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    make.map_err(|e| Error::io(&folder, e))?;
    let entries = fs::read_dir(from.join(below)).map_err(|e| Error::io(from.join(below), e))?;
    for entry in entries {
        let entry = entry.map_err(|e| Error::io(from.join(below), e))?;
        let (name, kind) = (entry.file_name(), entry.file_type().map_err(|e| Error::io(entry.path(), e))?);
        let Some(name) = name.to_str() else { continue };
        let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        if [INDEX_DIR, LOCK_FILE, RESERVE].contains(&path.as_str()) {
            continue;
        }
        if kind.is_dir() && depth > 0 {
            copy_folder(from, to, &path, depth - 1, copied)?;
        } else if kind.is_file() {
            let bytes = fs::copy(entry.path(), to.join(&path)).map_err(|e| Error::io(to.join(&path), e))?;
            copied(bytes);
        }
    }
    Ok(())
}

impl Archive {
    /// The newest time in the ledger of recordings and events; of a copy, how far its ledger had come.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn newest_line(&self) -> Result<Option<Timestamp>, Error> {
        let disk = &self.shared.disk;
        let mut newest = None;
        for kind in [ledger::RECORDINGS, ledger::EVENTS] {
            for file in ledger::months(&**disk, kind).map_err(|e| e.under(self.dir()))? {
                let lines = Lines::<Written>::new(Arc::clone(disk), file, 0).flatten();
                let times = lines.filter(|line| line.event != "copy-opened").map(|line| line.at);
                newest = newest.max(times.max());
            }
        }
        Ok(newest)
    }
}
