//! The index: one row per finished recording, so that lists need not read files. A cache: files and ledger are the
//! truth, and it is built anew from them whenever it is missing or will not open.
//!
//! The only file that names sled. sled 0.34 can lose its newest writes in a power cut and refuses to open when it was
//! stopped while opening; the answers to both stand here: half-written snapshots are removed before opening, its file is
//! synced by a descriptor of our own, and a cursor into the ledger, written after each row, says where it fell behind.

use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::event::{Edits, Event};
use crate::{Error, RecordingId, Row};

/// Memory that sled may use, in bytes.
const CACHE_BYTES: u64 = 64 << 20;
/// The format of rows and cursors; another one is built anew.
const FORMAT: &[u8] = b"earwitness index 2";

/// The open index.
#[derive(Debug)]
pub(crate) struct Index {
    dir: PathBuf,
    db: sled::Db,
    /// As the files have them; what people added stands apart.
    rows: sled::Tree,
    /// What people added to a recording: [`Edits`] by its name.
    edits: sled::Tree,
    /// `format`, and the cursor of each ledger file by its path.
    marks: sled::Tree,
    /// Recordings whose row lacks the hash of their file, because their key was wrapped anew.
    unhashed: sled::Tree,
    /// sled's own file, to sync it: its `flush` does not.
    file: File,
}

impl Index {
    /// Opens the index; one that cannot be opened is thrown away. True when it is empty and must be built.
    pub(crate) fn open(dir: &Path) -> Result<(Index, bool), Error> {
        let index = match Index::try_open(dir) {
            Ok(index) => index,
            Err(e) => {
                tracing::warn!(dir = %dir.display(), error = %e, "the index does not open: it is built anew");
                remove(dir)?;
                Index::try_open(dir)?
            }
        };
        let usable = index.marks.get("format").map_err(|e| index.error(e))?;
        let usable = usable.is_some_and(|format| format == FORMAT);
        if !usable {
            index.clear()?;
        }
        Ok((index, !usable))
    }

    fn try_open(dir: &Path) -> Result<Index, Error> {
        remove_half_snapshots(dir);
        let io = |e: sled::Error| Error::io(dir, e.into());
        let open = || sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).open();
        // A damaged page makes sled panic; nothing of ours is touched inside, so nothing can be left half done.
        let db = catch_unwind(AssertUnwindSafe(open));
        let db = db.map_err(|_| Error::damaged(dir, "sled gave up on it"))?.map_err(io)?;
        let tree = |name| db.open_tree(name).map_err(io);
        let (rows, edits, marks, unhashed) =
            (tree("rows")?, tree("edits")?, tree("marks")?, tree("unhashed")?);
        let file = File::open(dir.join("db")).map_err(|e| Error::io(dir, e))?;
        Ok(Index { dir: dir.to_owned(), db, rows, edits, marks, unhashed, file })
    }

    fn error(&self, error: sled::Error) -> Error {
        Error::io(&self.dir, error.into())
    }

    /// Empties it, and leaves it marked as not built.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        let clear = || {
            self.marks.clear()?;
            self.edits.clear()?;
            self.unhashed.clear()?;
            self.rows.clear()
        };
        clear().map_err(|e| self.error(e))
    }

    /// From here on it counts as built.
    pub(crate) fn mark_built(&self) -> Result<(), Error> {
        self.marks.insert("format", FORMAT).map_err(|e| self.error(e))?;
        self.flush()
    }

    /// Puts a row, in place of an earlier one of the same recording.
    pub(crate) fn put(&self, row: &Row) -> Result<(), Error> {
        let json = serde_json::to_vec(row).map_err(|e| Error::damaged(&self.dir, e.to_string()))?;
        self.rows.insert(row.facts.id.as_bytes(), json).map_err(|e| self.error(e))?;
        if !row.sha256.is_empty() {
            self.forget_unhashed(row.facts.id)?;
        }
        Ok(())
    }

    /// The hash in a row is no longer its file's; [`Index::unhashed`] gives it until a row with a hash is put.
    pub(crate) fn forget_digest(&self, id: RecordingId) -> Result<(), Error> {
        let Some(row) = self.bare_row(id)?.filter(|row| !row.sha256.is_empty()) else { return Ok(()) };
        self.unhashed.insert(id.as_bytes(), &[]).map_err(|e| self.error(e))?;
        self.put(&Row { sha256: String::new(), ..row })
    }

    /// A recording whose row lacks its hash.
    pub(crate) fn unhashed(&self) -> Result<Option<RecordingId>, Error> {
        let first = self.unhashed.first().map_err(|e| self.error(e))?;
        Ok(first.and_then(|(key, _)| id_of(&key)))
    }

    /// Does the row of this recording lack its hash?
    pub(crate) fn is_unhashed(&self, id: RecordingId) -> Result<bool, Error> {
        self.unhashed.contains_key(id.as_bytes()).map_err(|e| self.error(e))
    }

    pub(crate) fn forget_unhashed(&self, id: RecordingId) -> Result<(), Error> {
        self.unhashed.remove(id.as_bytes()).map(|_| ()).map_err(|e| self.error(e))
    }

    /// Removes a row, and what people added.
    pub(crate) fn remove(&self, id: RecordingId) -> Result<(), Error> {
        let removed = self.edits.remove(id.as_bytes()).and_then(|_| self.rows.remove(id.as_bytes()));
        removed.map_err(|e| self.error(e))?;
        self.forget_unhashed(id)
    }

    /// One recording, with what people added.
    pub(crate) fn row(&self, id: RecordingId) -> Result<Option<Row>, Error> {
        let row = self.bare_row(id)?;
        row.map(|row| self.with_edits(row)).transpose()
    }

    /// One recording as its file has it.
    pub(crate) fn bare_row(&self, id: RecordingId) -> Result<Option<Row>, Error> {
        let value = self.rows.get(id.as_bytes()).map_err(|e| self.error(e))?;
        value.map(|value| self.parse(&value)).transpose()
    }

    /// Shows on a row what people added to its recording.
    pub(crate) fn with_edits(&self, mut row: Row) -> Result<Row, Error> {
        if let Some(edits) = self.edits(row.facts.id)? {
            edits.apply(&mut row);
        }
        Ok(row)
    }

    /// What people added to a recording.
    pub(crate) fn edits(&self, id: RecordingId) -> Result<Option<Edits>, Error> {
        let value = self.edits.get(id.as_bytes()).map_err(|e| self.error(e))?;
        let parse = |e| Error::damaged(&self.dir, format!("an edit: {e}"));
        value.map(|value| serde_json::from_slice(&value).map_err(parse)).transpose()
    }

    /// Takes in an event about a recording; `leaf` is the number of its line. One that is known changes nothing.
    pub(crate) fn take_event(&self, leaf: u64, event: &Event) -> Result<(), Error> {
        let Some(id) = event.recording() else { return Ok(()) };
        let mut edits = self.edits(id)?.unwrap_or_default();
        edits.take(leaf, event);
        let json = serde_json::to_vec(&edits).map_err(|e| Error::damaged(&self.dir, e.to_string()))?;
        self.edits.insert(id.as_bytes(), json).map(|_| ()).map_err(|e| self.error(e))
    }

    fn parse(&self, value: &[u8]) -> Result<Row, Error> {
        serde_json::from_slice(value).map_err(|e| Error::damaged(&self.dir, format!("a row: {e}")))
    }

    /// All rows, newest first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = (RecordingId, Result<Row, Error>)> + '_ {
        self.rows.iter().rev().filter_map(|item| match item {
            Ok((key, value)) => Some((id_of(&key)?, self.parse(&value).and_then(|row| self.with_edits(row)))),
            Err(e) => Some((RecordingId::from_bytes([0; 16]), Err(self.error(e)))),
        })
    }

    /// Names from `low` to `high`, both included, oldest first.
    pub(crate) fn ids(
        &self,
        low: RecordingId,
        high: RecordingId,
    ) -> impl Iterator<Item = Result<RecordingId, Error>> + '_ {
        let keys = self.rows.range(*low.as_bytes()..=*high.as_bytes()).keys();
        keys.filter_map(|key| key.map(|key| id_of(&key)).map_err(|e| self.error(e)).transpose())
    }

    /// Up to where the ledger file has been taken in, in bytes.
    pub(crate) fn cursor(&self, ledger: &str) -> Result<u64, Error> {
        let value = self.marks.get(ledger).map_err(|e| self.error(e))?;
        Ok(value.and_then(|value| value.as_ref().try_into().ok()).map_or(0, u64::from_le_bytes))
    }

    /// The ledger file has been taken in up to here. Written after the rows: sled keeps the order, so a cursor that is
    /// there says that the rows are.
    pub(crate) fn set_cursor(&self, ledger: &str, end: u64) -> Result<(), Error> {
        self.marks.insert(ledger, &end.to_le_bytes()).map(|_| ()).map_err(|e| self.error(e))
    }

    /// What was put so far survives a power cut.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        self.db.flush().map_err(|e| self.error(e))?;
        self.file.sync_data().map_err(|e| Error::io(&self.dir, e))
    }
}

fn id_of(key: &[u8]) -> Option<RecordingId> {
    key.try_into().ok().map(RecordingId::from_bytes)
}

/// A snapshot that sled was writing when it was stopped sorts last and is read first, and then nothing opens.
fn remove_half_snapshots(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.")
            && name.ends_with(".generating")
            && fs::remove_file(entry.path()).is_err()
        {
            tracing::warn!(file = %entry.path().display(), "cannot remove a half-written snapshot of the index");
        }
    }
}

/// Throws the whole index away.
fn remove(dir: &Path) -> Result<(), Error> {
    let result = if dir.is_dir() { fs::remove_dir_all(dir) } else { fs::remove_file(dir) };
    match result {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(dir, e)),
        _ => Ok(()),
    }
}
