//! The log: every line of the ledger is a leaf of one append-only hash tree, and signed checkpoints say how far it had come.
//!
//! A line carries its number among all lines, in the order written, and a random salt, so that a line whose time is over
//! can be blanked and its hash tells nobody what it said. The hashes stand in [`LEAVES`], one after the other. Whoever keeps
//! a copy of a checkpoint elsewhere can prove later that no line was changed, left out, put in or taken back.
//!
//! Numbering lines and continuing the tree is here; lines and hashes are written together, through the journal, by
//! [`crate::scribe`]; [`crate::audit`] checks them.

pub(crate) mod begin;
pub(crate) mod checkpoint;
pub(crate) mod proof;
pub(crate) mod tree;
pub(crate) mod witness;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::bytes::hex;
use crate::disk::{Disk, read_whole};
use crate::journal::{Part, Transaction};
use crate::keys::{Keys, random};
use tree::{Hash, Tree, leaf_hash};

/// The leaf hashes, 32 bytes each, in order.
pub(crate) const LEAVES: &str = "ledger/leaves";
/// The newest checkpoint: a signed note.
pub(crate) const CHECKPOINT: &str = "ledger/checkpoint";
/// The tree's subtrees at that checkpoint, so that opening need not hash everything again. A cache.
const PEAKS: &str = "ledger/peaks";
/// Bytes of a leaf hash.
pub(crate) const HASH_LEN: u64 = 32;
/// Leaf hashes read at a time, in bytes.
const BLOCK_LEN: usize = 64 * 1024;
/// Sixty-four subtrees in hexadecimal, and a number.
const PEAKS_MAX: u64 = 16 * 1024;

/// A line that has its number: what is to be written, and where.
#[derive(Debug)]
pub(crate) struct Numbered {
    /// The line, newline at its end.
    pub(crate) line: Vec<u8>,
    /// Its leaf hash.
    pub(crate) hash: Hash,
    /// Where the hash goes in [`LEAVES`].
    pub(crate) hash_at: u64,
}

impl Numbered {
    /// Adds line and hash to a journal entry; the line goes to `at` of its file.
    pub(crate) fn push_to(&self, entry: Transaction, path: &str, at: u64) -> Transaction {
        entry.push(&Part::Write { path, offset: at, bytes: &self.line }).push(&Part::Write {
            path: LEAVES,
            offset: self.hash_at,
            bytes: &self.hash,
        })
    }
}

/// The tree so far, to go on with.
#[derive(Debug, Default)]
pub(crate) struct Log {
    tree: Tree,
    /// Lines that the newest checkpoint covers.
    signed: u64,
}

/// [`PEAKS`].
#[derive(Serialize, Deserialize)]
struct PeaksFile {
    size: u64,
    peaks: Vec<String>,
}

impl Log {
    /// Takes up the tree where the leaves on disk end. A hash cut in its middle, which a journal replay cannot leave, is
    /// written over by the next line. Fewer leaves than the newest checkpoint says are a sign of tampering: the missing ones
    /// stay a hole, which verification names, and no number is given twice.
    pub(crate) fn open(disk: &dyn Disk, keys: &Keys, archive: &str) -> Result<Log, Error> {
        let len = disk.len(LEAVES).map_err(|e| Error::io(LEAVES, e))?.unwrap_or_default();
        let mut size = len / HASH_LEN;
        let checkpoint = read_checkpoint(disk, keys, archive)?;
        if let Some(said) = checkpoint.as_ref().map(|checkpoint| checkpoint.size).filter(|&said| said > size)
        {
            tracing::error!(
                lines = size,
                said,
                "the ledger is shorter than its own checkpoint says: run `archive verify`"
            );
            let hole = (said - 1) * HASH_LEN;
            disk.write_at(LEAVES, hole, &[0; HASH_LEN as usize]).map_err(|e| Error::io(LEAVES, e))?;
            size = said;
        }
        let signed = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
        let mut tree = checkpoint.and_then(|checkpoint| read_peaks(disk, &checkpoint)).unwrap_or_default();
        let from = tree.size();
        each_leaf(disk, from, size, |leaf| tree.push(leaf))?;
        Ok(Log { tree, signed })
    }

    /// Have lines come that no checkpoint covers?
    pub(crate) fn is_ahead(&self) -> bool {
        self.signed < self.size()
    }

    /// A checkpoint of all lines is on disk.
    pub(crate) fn mark_signed(&mut self) {
        self.signed = self.size();
    }

    /// Lines so far.
    pub(crate) fn size(&self) -> u64 {
        self.tree.size()
    }

    /// What they hash to.
    pub(crate) fn root(&self) -> Hash {
        self.tree.root()
    }

    /// Gives a line the next number. It counts only when it is [accepted](Log::accept). `line` is a JSON object and a
    /// newline; `path` the ledger file that it goes to.
    pub(crate) fn number(&self, path: &str, line: &[u8]) -> Numbered {
        let object = line.strip_prefix(b"{").expect("a line of the ledger is a JSON object");
        let mut numbered =
            format!("{{\"leaf\":{},\"salt\":\"{}\"", self.size(), hex(&random::<16>()[..])).into_bytes();
        if object.first() != Some(&b'}') {
            numbered.push(b',');
        }
        numbered.extend_from_slice(object);
        let hash = leaf_hash(path, numbered.trim_ascii_end());
        Numbered { line: numbered, hash, hash_at: self.size() * HASH_LEN }
    }

    /// The line is in the journal.
    pub(crate) fn accept(&mut self, numbered: &Numbered) {
        debug_assert_eq!(numbered.hash_at, self.size() * HASH_LEN, "numbered last");
        self.tree.push(numbered.hash);
    }

    /// Keeps the subtrees that belong to the checkpoint just written. Only a cache: a failure costs time at the next opening.
    pub(crate) fn keep_peaks(&self, disk: &dyn Disk) {
        let peaks = self.tree.peaks().iter().map(|peak| hex(peak)).collect();
        let json = serde_json::to_vec(&PeaksFile { size: self.size(), peaks });
        let kept = json.map_err(std::io::Error::other).and_then(|json| disk.replace(PEAKS, &json, false));
        if let Err(e) = kept {
            tracing::warn!(error = %e, "the hash tree's cache is not written");
        }
    }
}

/// Calls `each` with the leaf hashes `from..to`, which are there.
pub(crate) fn each_leaf(
    disk: &dyn Disk,
    from: u64,
    to: u64,
    mut each: impl FnMut(Hash),
) -> Result<(), Error> {
    let mut block = vec![0; BLOCK_LEN];
    let (mut at, end) = (from * HASH_LEN, to * HASH_LEN);
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(BLOCK_LEN).min(BLOCK_LEN);
        let read = disk.read_at(LEAVES, at, &mut block[..want]).map_err(|e| Error::io(LEAVES, e))?;
        if read < want {
            return Err(Error::damaged(LEAVES, "it became shorter while it was read"));
        }
        block[..want].as_chunks::<32>().0.iter().for_each(|leaf| each(*leaf));
        at += read as u64;
    }
    Ok(())
}

/// The newest checkpoint of this archive, if there is one that our key has signed.
fn read_checkpoint(
    disk: &dyn Disk,
    keys: &Keys,
    archive: &str,
) -> Result<Option<checkpoint::Checkpoint>, Error> {
    let note =
        read_whole(disk, CHECKPOINT, checkpoint::NOTE_MAX as u64).map_err(|e| Error::io(CHECKPOINT, e))?;
    let note = note.and_then(|note| String::from_utf8(note).ok());
    Ok(note.and_then(|note| {
        let note = checkpoint::Note::parse(&note)?;
        (note.checkpoint.archive == archive && keys.has_signed(&note)).then_some(note.checkpoint)
    }))
}

/// The cached subtrees, if they are those of the checkpoint.
fn read_peaks(disk: &dyn Disk, checkpoint: &checkpoint::Checkpoint) -> Option<Tree> {
    let json = read_whole(disk, PEAKS, PEAKS_MAX).ok().flatten()?;
    let file: PeaksFile = serde_json::from_slice(&json).ok()?;
    let peaks = file.peaks.iter().map(|peak| crate::bytes::from_hex(peak)).collect::<Option<Vec<Hash>>>()?;
    let tree = Tree::from_peaks(file.size, peaks)?;
    (tree.size() == checkpoint.size && tree.root() == checkpoint.root).then_some(tree)
}
