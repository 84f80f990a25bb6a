//! The index: one row per finished recording, so that lists need not read files, and a short record of it to search by. A cache:
//! files and ledger are the truth, and it is built anew from them whenever it is missing or will not open.
//!
//! The only file that names sled. sled 0.34 can lose its newest writes in a power cut and refuses to open when it was
//! stopped while opening; the answers to both stand here: half-written snapshots are removed before opening, its file is
//! synced by a descriptor of our own, and a cursor into the ledger, written after each row, says where it fell behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::event::{Edits, Event};
use crate::locations::copies::{Copies, CopyKept};
use crate::search::blocks::{self, Change};
use crate::search::record::{self, Recorded};
use crate::search::{NoteWords, Reach};
use crate::{Error, RecordingId, Row};

/// Pages that sled keeps, in bytes as they stand on disk; in memory they take about three times as much.
const CACHE_BYTES: u64 = 48 << 20;
/// The format of rows and cursors; another one is built anew.
const FORMAT: &[u8] = b"earwitness index 6";
/// The mark of [`Reach`].
const REACH: &str = "reach";

/// The open index.
#[derive(Debug)]
pub(crate) struct Index {
    dir: PathBuf,
    db: sled::Db,
    /// As the files have them; what people added stands apart.
    rows: sled::Tree,
    /// What people added to a recording: [`Edits`] by its name.
    edits: sled::Tree,
    /// Copies in archive locations: [`Copies`] by the recording's name. A recording that is gone stays here until its copies are.
    copies: sled::Tree,
    /// Blocks of search records, which say all of a row and its edits that can be asked for.
    search: sled::Tree,
    /// The same of calls without a recording, by their places in the ledger: see [`crate::unrecorded`].
    calls: sled::Tree,
    /// One at a time takes lines of the balance sheet in, or erases some.
    pub(crate) calls_turn: Mutex<()>,
    /// `format`, and the cursor of each ledger file by its path.
    marks: sled::Tree,
    /// Recordings whose row lacks the hash of their file, because their key was wrapped anew.
    unhashed: sled::Tree,
    /// sled's own file, to sync it: its `flush` does not.
    file: File,
    /// Held for writing while something is changed, so that no change is lost to another one and nobody reads the blocks in
    /// the middle of it.
    reach: RwLock<Reach>,
}

/// A block of search records.
#[derive(Debug)]
pub(crate) struct Block {
    /// No recording in it is before this one; it holds all from here to the next block.
    pub(crate) first: RecordingId,
    bytes: sled::IVec,
}

impl std::ops::Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
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
        let (rows, edits, search, marks) = (tree("rows")?, tree("edits")?, tree("search")?, tree("marks")?);
        let (unhashed, copies, calls) = (tree("unhashed")?, tree("copies")?, tree("calls")?);
        let file = File::open(dir.join("db")).map_err(|e| Error::io(dir, e))?;
        let reach = marks.get(REACH).map_err(io)?.and_then(|value| Reach::from_bytes(&value));
        let reach = RwLock::new(reach.unwrap_or_default());
        let (dir, calls_turn) = (dir.to_owned(), Mutex::default());
        Ok(Index { dir, db, rows, edits, copies, search, calls, calls_turn, marks, unhashed, file, reach })
    }

    /// Nothing is left half done in memory by a thread that failed: the trees are the state.
    fn reading(&self) -> RwLockReadGuard<'_, Reach> {
        self.reach.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> RwLockWriteGuard<'_, Reach> {
        self.reach.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, error: sled::Error) -> Error {
        Error::io(&self.dir, error.into())
    }

    pub(crate) fn damaged(&self, what: &str) -> Error {
        Error::damaged(&self.dir, what)
    }

    /// Empties it, and leaves it marked as not built.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        let mut reach = self.writing();
        let clear = || {
            self.marks.clear()?;
            self.edits.clear()?;
            self.copies.clear()?;
            self.unhashed.clear()?;
            self.search.clear()?;
            self.calls.clear()?;
            self.rows.clear()
        };
        *reach = Reach::default();
        clear().map_err(|e| self.error(e))
    }

    /// From here on it counts as built.
    pub(crate) fn mark_built(&self) -> Result<(), Error> {
        self.marks.insert("format", FORMAT).map_err(|e| self.error(e))?;
        self.flush()
    }

    /// Puts a row, in place of an earlier one of the same recording.
    pub(crate) fn put(&self, row: &Row) -> Result<(), Error> {
        self.put_all(std::slice::from_ref(row))
    }

    /// Puts rows; many neighbours together cost much less than one after the other.
    pub(crate) fn put_all(&self, rows: &[Row]) -> Result<(), Error> {
        let mut reach = self.writing();
        let (mut batch, mut changes) = (sled::Batch::default(), BTreeMap::new());
        for row in rows {
            let json = serde_json::to_vec(row).map_err(|e| Error::damaged(&self.dir, e.to_string()))?;
            batch.insert(row.facts.id.as_bytes(), json);
            changes.insert(row.facts.id, Some(self.search_record(row)?));
        }
        self.widen(&mut reach, rows)?;
        self.rows.apply_batch(batch).map_err(|e| self.error(e))?;
        rows.iter()
            .filter(|row| !row.sha256.is_empty())
            .try_for_each(|row| self.forget_unhashed(row.facts.id))?;
        self.change_blocks(&changes.into_iter().collect::<Vec<_>>())
    }

    /// Widens what is known of times and names, before there is a record outside of it.
    fn widen(&self, reach: &mut Reach, rows: &[impl Recorded]) -> Result<(), Error> {
        let mut wider = *reach;
        rows.iter().for_each(|row| wider.take_in(row));
        if wider != *reach {
            self.marks.insert(REACH, &wider.to_bytes()).map_err(|e| self.error(e))?;
            *reach = wider;
        }
        Ok(())
    }

    /// Puts calls without a recording, or their parts; such as are there already are as they were.
    pub(crate) fn put_calls(&self, calls: &[impl Recorded]) -> Result<(), Error> {
        let mut reach = self.writing();
        self.widen(&mut reach, calls)?;
        let changes: BTreeMap<_, _> =
            calls.iter().map(|call| (call.name(), Some(record::encode(call)))).collect();
        self.change_blocks_in(&self.calls, &changes.into_iter().collect::<Vec<_>>())
    }

    /// Removes calls without a recording.
    pub(crate) fn remove_calls(&self, names: &BTreeSet<RecordingId>) -> Result<(), Error> {
        let _one_at_a_time = self.writing();
        let changes: Vec<Change> = names.iter().map(|name| (*name, None)).collect();
        self.change_blocks_in(&self.calls, &changes)
    }

    /// What is kept of the call without a recording of this name.
    pub(crate) fn call_record(&self, name: RecordingId) -> Result<Option<Vec<u8>>, Error> {
        let _unchanged = self.reading();
        let Some(block) = self.block_of(&self.calls, name)? else { return Ok(None) };
        let mut records = blocks::records(&block).flatten();
        Ok(records.find(|(other, _)| *other == name).map(|(_, record)| record.to_vec()))
    }

    /// As [`Index::blocks`], of calls without a recording.
    pub(crate) fn call_blocks(
        &self,
        low: RecordingId,
        below: Option<RecordingId>,
        count: usize,
    ) -> Result<Vec<Block>, Error> {
        self.blocks_in(&self.calls, low, below, count)
    }

    /// The hash in a row is no longer its file's; [`Index::unhashed`] gives it until a row with a hash is put.
    pub(crate) fn forget_digest(&self, id: RecordingId) -> Result<(), Error> {
        // Of one that was moved the hash is that of its copies.
        let has_hash = |row: &Row| !row.sha256.is_empty() && !row.moved;
        let Some(row) = self.bare_row(id)?.filter(has_hash) else { return Ok(()) };
        self.unhashed.insert(id.as_bytes(), &[]).map_err(|e| self.error(e))?;
        self.put(&Row { sha256: String::new(), ..row })
    }

    /// The row of this recording has no hash yet; [`Index::unhashed`] gives it until one with a hash is put.
    pub(crate) fn hash_later(&self, id: RecordingId) -> Result<(), Error> {
        self.unhashed.insert(id.as_bytes(), &[]).map(|_| ()).map_err(|e| self.error(e))
    }

    /// The next recording behind this one whose row lacks its hash.
    pub(crate) fn unhashed(&self, after: Option<RecordingId>) -> Result<Option<RecordingId>, Error> {
        let first = match after {
            Some(id) => self.unhashed.get_gt(id.as_bytes()),
            None => self.unhashed.first(),
        };
        Ok(first.map_err(|e| self.error(e))?.and_then(|(key, _)| id_of(&key)))
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
        let _one_at_a_time = self.writing();
        let removed = self.edits.remove(id.as_bytes()).and_then(|_| self.rows.remove(id.as_bytes()));
        removed.map_err(|e| self.error(e))?;
        self.forget_unhashed(id)?;
        self.change_blocks(&[(id, None)])
    }

    /// The search record that belongs to a row as its file has it.
    fn search_record(&self, bare: &Row) -> Result<Vec<u8>, Error> {
        Ok(match self.edits(bare.facts.id)? {
            None => record::encode(bare),
            Some(edits) => {
                let mut row = bare.clone();
                edits.apply(&mut row);
                record::encode(&row)
            }
        })
    }

    /// Changes search records, given in the order of names. Each block is changed at once or not at all.
    pub(crate) fn change_blocks(&self, changes: &[Change]) -> Result<(), Error> {
        self.change_blocks_in(&self.search, changes)
    }

    fn change_blocks_in(&self, tree: &sled::Tree, mut changes: &[Change]) -> Result<(), Error> {
        while let Some((id, _)) = changes.first() {
            let old = self.block_of(tree, *id)?;
            let next = tree.get_gt(old.as_ref().map_or(id, |block| &block.first).as_bytes());
            let next = next.map_err(|e| self.error(e))?.and_then(|(key, _)| id_of(&key));
            let here = changes.partition_point(|(id, _)| next.is_none_or(|next| *id < next));
            let (here, later) = changes.split_at(here);
            let bytes = old.as_ref().map_or(&[][..], |block| block);
            let mut batch = sled::Batch::default();
            let mut name = old.as_ref().map(|block| block.first);
            if let Some(name) = name {
                batch.remove(name.as_bytes());
            }
            for (first, block) in blocks::rewrite(bytes, here).map_err(|_| self.damaged("a block"))? {
                // The first one keeps the name: what is before its recordings must be found through it again.
                let name = name.take().map_or(first, |name| name.min(first));
                batch.insert(name.as_bytes(), block);
            }
            tree.apply_batch(batch).map_err(|e| self.error(e))?;
            changes = later;
        }
        Ok(())
    }

    /// The block that a recording stands in or would be put in; none while there is no block.
    fn block_of(&self, tree: &sled::Tree, id: RecordingId) -> Result<Option<Block>, Error> {
        let mut before = tree.range(..=*id.as_bytes());
        let item = before.next_back().or_else(|| tree.iter().next());
        Ok(item
            .transpose()
            .map_err(|e| self.error(e))?
            .and_then(|(key, bytes)| Some(Block { first: id_of(&key)?, bytes })))
    }

    /// Up to `count` blocks that hold recordings from `low` to before `below`, newest first.
    pub(crate) fn blocks(
        &self,
        low: RecordingId,
        below: Option<RecordingId>,
        count: usize,
    ) -> Result<Vec<Block>, Error> {
        self.blocks_in(&self.search, low, below, count)
    }

    fn blocks_in(
        &self,
        tree: &sled::Tree,
        low: RecordingId,
        below: Option<RecordingId>,
        count: usize,
    ) -> Result<Vec<Block>, Error> {
        let _unchanged = self.reading();
        let mut range = match below {
            Some(below) => tree.range(..*below.as_bytes()),
            None => tree.iter(),
        };
        let mut blocks: Vec<Block> = Vec::new();
        while blocks.len() < count && blocks.last().is_none_or(|block| block.first > low) {
            let Some(item) = range.next_back() else { break };
            let (key, bytes) = item.map_err(|e| self.error(e))?;
            blocks.extend(id_of(&key).map(|first| Block { first, bytes }));
        }
        Ok(blocks)
    }

    /// How far times may be from names.
    pub(crate) fn reach(&self) -> Reach {
        *self.reading()
    }

    /// Does the search find this recording by what its row says? `bare` is as its file has it.
    pub(crate) fn finds(&self, bare: &Row) -> Result<bool, Error> {
        let _unchanged = self.reading();
        let (id, wanted) = (bare.facts.id, self.search_record(bare)?);
        let Some(block) = self.block_of(&self.search, id)? else { return Ok(false) };
        let mut reach = *_unchanged;
        reach.take_in(bare);
        let same = blocks::records(&block).flatten().any(|(other, record)| other == id && record == wanted);
        Ok(same && reach == *_unchanged)
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

    /// Shows on a row what people added to its recording, and its copies.
    pub(crate) fn with_edits(&self, mut row: Row) -> Result<Row, Error> {
        row.copies = self.copies(row.facts.id)?.listed();
        if let Some(edits) = self.edits(row.facts.id)? {
            edits.apply(&mut row);
        }
        Ok(row)
    }

    /// Recordings from one name on, up to before another, whose notes say all of this.
    pub(crate) fn noted(
        &self,
        low: RecordingId,
        below: Option<RecordingId>,
        asked: &[NoteWords],
    ) -> Result<BTreeSet<RecordingId>, Error> {
        let (low, below) = (*low.as_bytes(), below.map(|below| *below.as_bytes()));
        let entries = match below {
            Some(below) if below <= low => return Ok(BTreeSet::new()),
            Some(below) => self.edits.range(low..below),
            None => self.edits.range(low..),
        };
        let mut noted = BTreeSet::new();
        for entry in entries {
            let (key, value) = entry.map_err(|e| self.error(e))?;
            let edits: Edits = serde_json::from_slice(&value)
                .map_err(|e| Error::damaged(&self.dir, format!("an edit: {e}")))?;
            if NoteWords::all_in(asked, edits.notes()) {
                let id: [u8; 16] = (*key).try_into().map_err(|_| self.damaged("the name of an edit"))?;
                noted.insert(RecordingId::from_bytes(id));
            }
        }
        Ok(noted)
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
        let _one_at_a_time = self.writing();
        let mut edits = self.edits(id)?.unwrap_or_default();
        edits.take(leaf, event);
        let json = serde_json::to_vec(&edits).map_err(|e| Error::damaged(&self.dir, e.to_string()))?;
        self.edits.insert(id.as_bytes(), json).map_err(|e| self.error(e))?;
        match self.bare_row(id)? {
            Some(row) => self.change_blocks(&[(id, Some(self.search_record(&row)?))]),
            // Still live, or gone.
            None => Ok(()),
        }
    }

    /// The copies of a recording.
    pub(crate) fn copies(&self, id: RecordingId) -> Result<Copies, Error> {
        let value = self.copies.get(id.as_bytes()).map_err(|e| self.error(e))?;
        value.map_or(Ok(Copies::default()), |value| self.parse_copies(&value))
    }

    fn parse_copies(&self, value: &[u8]) -> Result<Copies, Error> {
        serde_json::from_slice(value).map_err(|e| Error::damaged(&self.dir, format!("copies: {e}")))
    }

    fn put_copies(&self, id: RecordingId, copies: &Copies) -> Result<(), Error> {
        let json = serde_json::to_vec(copies).map_err(|e| Error::damaged(&self.dir, e.to_string()))?;
        self.copies.insert(id.as_bytes(), json).map(|_| ()).map_err(|e| self.error(e))
    }

    /// Takes in a line about a copy, none for one that was removed. A copy of a moved recording lends it its hash. That there is no
    /// row says nothing: the file may be damaged, and the copy all that is left.
    pub(crate) fn take_copy(
        &self,
        leaf: u64,
        location: &str,
        id: RecordingId,
        copy: Option<CopyKept>,
    ) -> Result<(), Error> {
        let _one_at_a_time = self.writing();
        let mut copies = self.copies(id)?;
        let row = self.bare_row(id)?;
        let gone = row.as_ref().is_some_and(|row| row.deleted.is_some());
        let copy = copy.map(|copy| CopyKept { gone, ..copy });
        let lends = row.filter(|row| row.moved && row.sha256.is_empty()).zip(copy.clone());
        if copies.take(leaf, location, copy) {
            self.put_copies(id, &copies)?;
        }
        let Some((row, copy)) = lends else { return Ok(()) };
        let row = Row { sha256: copy.sha256, ..row };
        let json = serde_json::to_vec(&row).map_err(|e| Error::damaged(&self.dir, e.to_string()))?;
        self.rows.insert(id.as_bytes(), json).map(|_| ()).map_err(|e| self.error(e))
    }

    /// The copies of a recording are to be made again: its key was wrapped anew, or it was re-encoded. True when there is one.
    pub(crate) fn make_copies_stale(&self, id: RecordingId) -> Result<bool, Error> {
        self.change_copies(id, Copies::make_stale)
    }

    /// The copies of a recording are to be removed: the ledger says that it was destroyed. True when there is one.
    pub(crate) fn make_copies_gone(&self, id: RecordingId) -> Result<bool, Error> {
        self.change_copies(id, Copies::make_gone)
    }

    fn change_copies(&self, id: RecordingId, change: impl Fn(&mut Copies) -> bool) -> Result<bool, Error> {
        let _one_at_a_time = self.writing();
        let mut copies = self.copies(id)?;
        let there = change(&mut copies);
        if there {
            self.put_copies(id, &copies)?;
        }
        Ok(there)
    }

    /// All recordings with copies, or with copies that were removed, oldest first.
    pub(crate) fn all_copies(&self) -> impl Iterator<Item = Result<(RecordingId, Copies), Error>> + '_ {
        self.copies.iter().filter_map(|item| {
            let parse = |(key, value): (sled::IVec, sled::IVec)| {
                id_of(&key).map(|id| self.parse_copies(&value).map(|copies| (id, copies)))
            };
            item.map_err(|e| self.error(e)).map(parse).transpose().map(Result::flatten)
        })
    }

    /// Names of rows after this one, oldest first; from the first when there is none.
    pub(crate) fn ids_after(
        &self,
        id: Option<RecordingId>,
    ) -> impl Iterator<Item = Result<RecordingId, Error>> + '_ {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = id.map_or(Unbounded, |id| Excluded(*id.as_bytes()));
        let keys = self.rows.range((from, Unbounded)).keys();
        keys.filter_map(|key| key.map(|key| id_of(&key)).map_err(|e| self.error(e)).transpose())
    }

    fn parse(&self, value: &[u8]) -> Result<Row, Error> {
        serde_json::from_slice(value).map_err(|e| Error::damaged(&self.dir, format!("a row: {e}")))
    }

    /// The names of all rows, oldest first.
    pub(crate) fn ids(&self) -> impl Iterator<Item = Result<RecordingId, Error>> + '_ {
        let rows = self.rows.iter().keys();
        rows.filter_map(|key| key.map(|key| id_of(&key)).map_err(|e| self.error(e)).transpose())
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
pub(crate) fn remove(dir: &Path) -> Result<(), Error> {
    let result = if dir.is_dir() { fs::remove_dir_all(dir) } else { fs::remove_file(dir) };
    match result {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(dir, e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_another_format_is_emptied_and_to_be_built() {
        let dir = tempfile::tempdir().expect("a folder");
        let dir = dir.path().join("index");
        let reopened = || Index::open(&dir).expect("opens");
        let (index, is_new) = reopened();
        assert!(is_new);
        index.rows.insert("a row", "of old").expect("put");
        index.mark_built().expect("marked");
        drop(index);
        let (index, is_new) = reopened();
        assert!(!is_new && !index.rows.is_empty());
        index.marks.insert("format", "earwitness index 2").expect("put");
        index.flush().expect("flushed");
        drop(index);
        let (index, is_new) = reopened();
        assert!(is_new && index.rows.is_empty());
    }
}
