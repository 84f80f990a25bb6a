//! The redo log: what is about to be written to the archive's files, so that a crash leaves no half-written one.
//!
//! A journal file is a row of entries. An entry is a list of file operations under one checksum: all of it happened or
//! none of it. Entries hold what goes to disk anyway (sealed chunks, headers, footers), never plaintext. This file owns
//! the bytes of an entry and reading them back; when entries are written and synced is [`crate::scribe`]'s.
//!
//! The checksum (CRC-32) finds torn writes. It guards against nobody: what an attacker could write into a journal he
//! could write into the files, where signature and ledger show it.

use std::collections::BTreeSet;

use crate::Error;
use crate::bytes::Cursor;
use crate::disk::{Disk, ReadAt, parent};
use crate::wave::{COMMITMENT_AT, COMMITMENT_LEN, WRAP_AT, WRAP_LEN, id_of};

/// The folder of the journal.
pub(crate) const JOURNAL_DIR: &str = "journal";
/// The folder of files that are to take the place of others. What an opening finds there is no recording yet, or no more.
pub(crate) const COLD_DIR: &str = "cold";
/// First bytes of each entry.
const MAGIC: [u8; 4] = *b"EWJ1";
/// Magic, length, checksum.
const ENTRY_HEADER_LEN: usize = 12;
/// Kind, length of the path, offset, length of the data.
const PART_HEADER_LEN: usize = 1 + 2 + 8 + 4;
/// The longest entry that is believed, in bytes: a footer of the longest facts, and its chunk.
pub(crate) const ENTRY_MAX: usize = 16 * 1024 * 1024;

const WRITE: u8 = 1;
const REMOVE: u8 = 2;
const SET_LEN: u8 = 3;
const RUNNING: u8 = 4;
const SYNC: u8 = 5;
const PENDING: u8 = 6;
const SWAP: u8 = 7;
const KNOWN: u8 = 8;

/// The path of journal file `number`.
pub(crate) fn path_of(number: u64) -> String {
    format!("{JOURNAL_DIR}/{number:012}.journal")
}

/// The numbers of the journal files that are there, in order.
pub(crate) fn numbers(disk: &dyn Disk) -> Result<Vec<u64>, Error> {
    let entries = disk.list(JOURNAL_DIR).map_err(|e| Error::io(JOURNAL_DIR, e))?;
    let mut numbers: Vec<u64> =
        entries.iter().filter_map(|entry| entry.name.strip_suffix(".journal")?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// One file operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// Bytes at an offset; makes the file.
    Write { path: &'a str, offset: u64, bytes: &'a [u8] },
    /// The file goes.
    Remove { path: &'a str },
    /// The file is cut or lengthened.
    SetLen { path: &'a str, len: u64 },
    /// What the file holds is brought to disk, before the next operation.
    Sync { path: &'a str },
    /// Nothing to do; this recording was still running.
    Running { path: &'a str },
    /// Nothing to do; what is known of this running recording, in JSON: it goes into its end if nothing more is heard of it.
    Known { path: &'a str, facts: &'a [u8] },
    /// Nothing to do; the line that the ledger gets if nothing more is heard of this key. An empty one: it is settled.
    Pending { path: &'a str, key: u64, line: &'a [u8] },
    /// The file that waits in [`COLD_DIR`] and has this key commitment takes the place of this one, whose key is destroyed first.
    /// No earlier operation on the file may stand in any journal: done again, it would be done to the new one.
    Swap { path: &'a str, commitment: &'a [u8] },
}

/// Where the file waits that is to take the place of this recording's.
pub(crate) fn waiting_for(path: &str) -> String {
    format!("{COLD_DIR}/{}", path.rsplit('/').next().unwrap_or_default())
}

/// Does this file have this key commitment?
pub(crate) fn is_committed(disk: &dyn ReadAt, path: &str, commitment: &[u8]) -> std::io::Result<bool> {
    let mut found = [0; COMMITMENT_LEN];
    match disk.read_at(path, COMMITMENT_AT, &mut found) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        read => Ok(read? == COMMITMENT_LEN && found == commitment),
    }
}

/// Each step leaves either file whole under a name, whichever of them the disk forgets.
fn swap(disk: &dyn Disk, path: &str, commitment: &[u8]) -> std::io::Result<()> {
    let fresh = waiting_for(path);
    if is_committed(disk, path, commitment)? {
        disk.remove(&fresh)?;
    } else if is_committed(disk, &fresh, commitment)? {
        if disk.len(path)?.is_some() {
            disk.write_at(path, WRAP_AT, &[0; WRAP_LEN])?;
            disk.sync(path)?;
        }
        disk.rename(&fresh, path)?;
    } else {
        // It was put in place, and deleted later.
        return Ok(());
    }
    disk.sync_dir(parent(path))?;
    disk.sync_dir(COLD_DIR)
}

impl<'a> Part<'a> {
    pub(crate) fn path(&self) -> &'a str {
        match *self {
            Part::Write { path, .. }
            | Part::Remove { path }
            | Part::SetLen { path, .. }
            | Part::Sync { path }
            | Part::Running { path }
            | Part::Known { path, .. }
            | Part::Pending { path, .. }
            | Part::Swap { path, .. } => path,
        }
    }

    /// Does it to the files. Doing it twice does no harm.
    pub(crate) fn apply(&self, disk: &dyn Disk) -> std::io::Result<()> {
        match *self {
            Part::Write { path, offset, bytes } => disk.write_at(path, offset, bytes),
            Part::Remove { path } => disk.remove(path),
            Part::SetLen { path, len } => disk.set_len(path, len),
            Part::Sync { path } => disk.sync(path),
            Part::Swap { path, commitment } => swap(disk, path, commitment),
            Part::Running { .. } | Part::Known { .. } | Part::Pending { .. } => Ok(()),
        }
    }
}

/// Bytes before the data of an entry that is a single write to `path`.
pub(crate) const fn single_prefix_len(path: &str) -> usize {
    ENTRY_HEADER_LEN + PART_HEADER_LEN + path.len()
}

/// Begins an entry that is a single write, in place: the data is appended to `buf` by the caller, without a copy.
pub(crate) fn begin_single(buf: &mut Vec<u8>, path: &str) {
    buf.clear();
    buf.resize(ENTRY_HEADER_LEN, 0);
    put_part_header(buf, WRITE, path, 0, 0);
}

/// Completes what [`begin_single`] began: the data now stands behind the prefix, and goes to `offset` of the file.
pub(crate) fn finish_single(buf: &mut [u8], path: &str, offset: u64) {
    let prefix = single_prefix_len(path);
    let data_len = (buf.len() - prefix) as u32;
    let at = ENTRY_HEADER_LEN + 3;
    buf[at..at + 8].copy_from_slice(&offset.to_le_bytes());
    buf[at + 8..at + 12].copy_from_slice(&data_len.to_le_bytes());
    close(buf);
}

fn put_part_header(buf: &mut Vec<u8>, kind: u8, path: &str, offset: u64, data_len: u32) {
    buf.push(kind);
    buf.extend_from_slice(&(path.len() as u16).to_le_bytes());
    buf.extend_from_slice(&offset.to_le_bytes());
    buf.extend_from_slice(&data_len.to_le_bytes());
    buf.extend_from_slice(path.as_bytes());
}

/// Fills in magic, length and checksum.
fn close(buf: &mut [u8]) {
    let body_len = ((buf.len() - ENTRY_HEADER_LEN) as u32).to_le_bytes();
    let (header, body) = buf.split_at_mut(ENTRY_HEADER_LEN);
    header[..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&body_len);
    header[8..].copy_from_slice(&checksum(&body_len, body).to_le_bytes());
}

fn checksum(body_len: &[u8; 4], body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(body_len);
    crc.update(body);
    crc.finalize()
}

/// Builds an entry of several operations.
#[derive(Debug)]
pub(crate) struct Transaction {
    buf: Vec<u8>,
}

impl Transaction {
    pub(crate) fn new() -> Self {
        Transaction { buf: vec![0; ENTRY_HEADER_LEN] }
    }

    pub(crate) fn push(mut self, part: &Part<'_>) -> Self {
        let path = part.path();
        match *part {
            Part::Write { offset, bytes, .. } => {
                put_part_header(&mut self.buf, WRITE, path, offset, bytes.len() as u32);
                self.buf.extend_from_slice(bytes);
            }
            Part::Remove { .. } => put_part_header(&mut self.buf, REMOVE, path, 0, 0),
            Part::SetLen { len, .. } => put_part_header(&mut self.buf, SET_LEN, path, len, 0),
            Part::Sync { .. } => put_part_header(&mut self.buf, SYNC, path, 0, 0),
            Part::Running { .. } => put_part_header(&mut self.buf, RUNNING, path, 0, 0),
            Part::Known { facts, .. } => {
                put_part_header(&mut self.buf, KNOWN, path, 0, facts.len() as u32);
                self.buf.extend_from_slice(facts);
            }
            Part::Pending { key, line, .. } => {
                put_part_header(&mut self.buf, PENDING, path, key, line.len() as u32);
                self.buf.extend_from_slice(line);
            }
            Part::Swap { commitment, .. } => {
                put_part_header(&mut self.buf, SWAP, path, 0, commitment.len() as u32);
                self.buf.extend_from_slice(commitment);
            }
        }
        self
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.buf.len()
    }

    /// The bytes to append to the journal.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        close(&mut self.buf);
        self.buf
    }
}

/// The operations of an entry's bytes, as they were built or read.
pub(crate) fn parts(entry: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let mut cursor = Cursor::new(entry.get(ENTRY_HEADER_LEN..).unwrap_or_default());
    std::iter::from_fn(move || part(&mut cursor))
}

fn part<'a>(cursor: &mut Cursor<'a>) -> Option<Part<'a>> {
    let (kind, path_len) = (cursor.u8()?, cursor.u16()?);
    let (offset, data_len) = (cursor.u64()?, cursor.u32()?);
    let path = std::str::from_utf8(cursor.take(usize::from(path_len))?).ok()?;
    let bytes = cursor.take(usize::try_from(data_len).ok()?)?;
    match kind {
        WRITE => Some(Part::Write { path, offset, bytes }),
        REMOVE => Some(Part::Remove { path }),
        SET_LEN => Some(Part::SetLen { path, len: offset }),
        SYNC => Some(Part::Sync { path }),
        RUNNING => Some(Part::Running { path }),
        KNOWN => Some(Part::Known { path, facts: bytes }),
        PENDING => Some(Part::Pending { path, key: offset, line: bytes }),
        SWAP => Some(Part::Swap { path, commitment: bytes }),
        _ => None,
    }
}

/// May a journal touch this file? Only recordings and the ledger are written through it.
fn is_ours(path: &str) -> bool {
    let below = path.starts_with("recordings/") || path.starts_with("ledger/");
    below && path.split('/').all(|name| !name.is_empty() && !name.starts_with('.')) && !path.contains('\0')
}

/// May recovery add this line to this file? Only calls and runs are kept for the case of a crash, each as a JSON object.
fn is_expected(path: &str, line: &[u8]) -> bool {
    let is_kind =
        path.strip_prefix("ledger/").is_some_and(|name| name.starts_with("calls-") || name == "runs.jsonl");
    is_kind && serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line).is_ok()
}

/// What a replay came across.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    /// Files that entries name, in order of appearance, each once.
    pub(crate) paths: BTreeSet<String>,
    /// What was known last of recordings, by their files.
    pub(crate) known: std::collections::BTreeMap<String, Vec<u8>>,
    /// Lines of the ledger that nobody settled, by key: the file and the line.
    pub(crate) pending: std::collections::BTreeMap<u64, (String, Vec<u8>)>,
    /// Recordings whose key was wrapped anew: their files hash to something else.
    pub(crate) rewrapped: BTreeSet<String>,
    /// Entries done again.
    pub(crate) entries: u64,
    /// Journal files whose end was torn.
    pub(crate) torn: u64,
}

/// Does all entries of journal file `number` again, up to the first that is not whole.
pub(crate) fn replay(disk: &dyn Disk, number: u64, replayed: &mut Replayed) -> Result<(), Error> {
    replay_those(disk, number, |_| true, replayed)
}

/// The same for these files alone.
pub(crate) fn replay_of(
    disk: &dyn Disk,
    number: u64,
    files: &BTreeSet<String>,
    replayed: &mut Replayed,
) -> Result<(), Error> {
    replay_those(disk, number, |path| files.contains(path), replayed)
}

fn replay_those(
    disk: &dyn Disk,
    number: u64,
    is_meant: impl Fn(&str) -> bool,
    replayed: &mut Replayed,
) -> Result<(), Error> {
    let journal = path_of(number);
    let io = |e| Error::io(&journal, e);
    let len = disk.len(&journal).map_err(io)?.unwrap_or_default();
    let (mut at, mut entry) = (0, Vec::new());
    while at < len {
        if !read_entry(disk, &journal, at, &mut entry).map_err(io)? {
            replayed.torn += 1;
            break;
        }
        for part in parts(&entry).filter(|part| is_ours(part.path()) && is_meant(part.path())) {
            let path = part.path();
            let fail = |e| Error::io(path, e);
            match part {
                Part::Pending { key, line: [], .. } => {
                    replayed.pending.remove(&key);
                    continue;
                }
                Part::Pending { key, line, .. } => {
                    if is_expected(path, line) {
                        replayed.pending.insert(key, (path.to_owned(), line.to_owned()));
                    }
                    continue;
                }
                Part::Known { facts, .. } => {
                    replayed.known.insert(path.to_owned(), facts.to_owned());
                    continue;
                }
                // Nothing leaves a hole but a copy whose journal is younger than its files, and what is removed by a later
                // entry.
                Part::Write { offset, .. } if offset > disk.len(path).map_err(fail)?.unwrap_or_default() => {
                    continue;
                }
                Part::Write { .. } => disk.create_dir(parent(path)).map_err(fail)?,
                Part::Swap { .. } if id_of(path).is_none() => continue,
                // A file that a later entry removes: it is gone already.
                Part::SetLen { .. } | Part::Sync { .. } if disk.len(path).map_err(fail)?.is_none() => {
                    continue;
                }
                _ => {}
            }
            part.apply(disk).map_err(fail)?;
            if matches!(part, Part::Write { offset: WRAP_AT, bytes, .. } if bytes.len() == WRAP_LEN) {
                replayed.rewrapped.insert(path.to_owned());
            }
            if !replayed.paths.contains(path) {
                replayed.paths.insert(path.to_owned());
            }
        }
        replayed.entries += 1;
        at += entry.len() as u64;
    }
    Ok(())
}

/// Reads the entry at `at`; false when no whole one stands there.
fn read_entry(disk: &dyn Disk, journal: &str, at: u64, entry: &mut Vec<u8>) -> std::io::Result<bool> {
    entry.resize(ENTRY_HEADER_LEN, 0);
    if disk.read_at(journal, at, entry)? < ENTRY_HEADER_LEN {
        return Ok(false);
    }
    let mut cursor = Cursor::new(entry);
    let header = cursor.array::<4>().zip(cursor.array::<4>()).zip(cursor.u32());
    let Some(((MAGIC, body_len), crc)) = header else { return Ok(false) };
    let len = u32::from_le_bytes(body_len) as usize;
    if len > ENTRY_MAX {
        return Ok(false);
    }
    entry.resize(ENTRY_HEADER_LEN + len, 0);
    let body = &mut entry[ENTRY_HEADER_LEN..];
    let read = disk.read_at(journal, at + ENTRY_HEADER_LEN as u64, body)?;
    Ok(read == len && checksum(&body_len, body) == crc)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    fn contents(disk: &dyn Disk, path: &str) -> Vec<u8> {
        crate::disk::read_whole(disk, path, 1 << 20).expect("read").unwrap_or_default()
    }

    fn single(path: &str, offset: u64, bytes: &[u8]) -> Vec<u8> {
        let mut buf = Vec::new();
        begin_single(&mut buf, path);
        buf.extend_from_slice(bytes);
        finish_single(&mut buf, path, offset);
        buf
    }

    #[test]
    fn an_entry_built_in_place_is_the_same_as_a_transaction_of_one_write() {
        let part = Part::Write { path: "recordings/a", offset: 7, bytes: b"xyz" };
        let entry = Transaction::new().push(&part).finish();
        assert_eq!(single("recordings/a", 7, b"xyz"), entry);
        assert_eq!(parts(&entry).collect::<Vec<_>>(), [part]);
    }

    #[test]
    fn a_journal_cut_anywhere_replays_its_whole_entries_and_no_more() {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = RealDisk::new(dir.path()).expect("a disk");
        disk.create_dir(JOURNAL_DIR).expect("made");
        let first = single("recordings/a", 0, b"one");
        let both = [first.clone(), single("recordings/a", 3, b"two")].concat();
        for cut in 0..=both.len() {
            disk.remove(&path_of(1)).expect("removed");
            disk.remove("recordings/a").expect("removed");
            disk.write_at(&path_of(1), 0, &both[..cut]).expect("written");
            let mut replayed = Replayed::default();
            replay(&disk, 1, &mut replayed).expect("replayed");
            let whole = u64::from(cut >= first.len()) + u64::from(cut == both.len());
            assert_eq!(replayed.entries, whole, "cut at {cut}");
            assert_eq!(contents(&disk, "recordings/a"), &b"onetwo"[..3 * whole as usize], "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_replay() {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = RealDisk::new(dir.path()).expect("a disk");
        disk.create_dir(JOURNAL_DIR).expect("made");
        let entry = single("recordings/a", 0, b"one");
        for bit in 0..entry.len() * 8 {
            let mut bytes = entry.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            disk.write_at(&path_of(1), 0, &bytes).expect("written");
            let mut replayed = Replayed::default();
            replay(&disk, 1, &mut replayed).expect("replayed");
            assert_eq!((replayed.entries, replayed.torn), (0, 1), "bit {bit}");
        }
    }

    #[test]
    fn an_entry_that_points_outside_is_not_done() {
        for path in
            ["keys/sign.key", "recordings/../keys/sign.key", "/etc/passwd", "recordings//a", "archive.json"]
        {
            assert!(!is_ours(path), "{path}");
        }
        assert!(is_ours("recordings/2026/11/20/01ARZ3NDEKZZZZZZZZZZZZZZZZ.wav"));
        assert!(is_ours("ledger/calls-2026-11.jsonl"));
    }
}
