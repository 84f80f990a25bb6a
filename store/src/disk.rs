//! All file access of the archive, behind one small trait, so that tests can put a disk there that dies.
//!
//! Paths are relative to the archive's folder, with `/` between names. The real disk keeps at most
//! [`OPEN_FILES_MAX`] descriptors open, and a half of what the process may have, however many recordings run. What is written when, and in which order, is not
//! decided here.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FallocateFlags, FlockOperation, flock};
use rustix::io::Errno;

use crate::space::Space;

/// Descriptors kept open at once, counted in files: one for each recording that runs spares opening it at each write.
const OPEN_FILES_MAX: usize = 16 * 1024;
/// So many at least, whatever the process may have.
const OPEN_FILES_MIN: usize = 64;
/// One in so many is closed when there are too many, those unused for longest.
const CLOSED_AT_ONCE: usize = 4;
/// Pieces handed to one system call.
const PIECES_MAX: usize = 512;
/// Bytes of zeros written at once.
const ZEROS_AT_ONCE: usize = 1 << 20;
/// Permissions of private keys.
const PRIVATE: u32 = 0o600;

/// A name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) is_dir: bool,
}

/// Held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _held: Box<dyn std::fmt::Debug + Send + Sync>,
}

impl Lock {
    pub(crate) fn new(held: impl std::fmt::Debug + Send + Sync + 'static) -> Self {
        Lock { _held: Box::new(held) }
    }
}

/// Where recordings are read from: the archive's own disk, or a copy in an archive location.
pub(crate) trait ReadAt: Send + Sync + std::fmt::Debug {
    /// Reads up to `buf.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, path: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
    /// Length in bytes; none when there is no such file.
    fn len(&self, path: &str) -> io::Result<Option<u64>>;
}

/// The operations that an archive needs from a file system.
pub(crate) trait Disk: ReadAt {
    /// Makes a folder and those above it, durably; well when it is there.
    fn create_dir(&self, path: &str) -> io::Result<()>;
    /// Writes all bytes at an offset; makes the file when there is none (its folder must be there).
    fn write_at(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Writes several pieces one behind the other, likewise.
    fn write_all_at(&self, path: &str, offset: u64, pieces: &[&[u8]]) -> io::Result<()> {
        let mut at = offset;
        for piece in pieces {
            self.write_at(path, at, piece)?;
            at += piece.len() as u64;
        }
        Ok(())
    }
    /// Cuts or lengthens a file.
    fn set_len(&self, path: &str, len: u64) -> io::Result<()>;
    /// Makes a file take so many bytes of the disk. What it holds is zeros.
    fn set_aside(&self, path: &str, len: u64) -> io::Result<()> {
        fill(self, path, len)
    }
    /// What was written to the file survives a power cut after this. An error is final: the kernel may have dropped the
    /// pages, so a second call that succeeds says nothing.
    fn sync(&self, path: &str) -> io::Result<()>;
    /// The same for everything written so far, names too, at one go: cheaper than many single syncs.
    fn sync_everything(&self) -> io::Result<()>;
    /// Names made in or removed from the folder survive a power cut after this.
    fn sync_dir(&self, path: &str) -> io::Result<()>;
    /// Puts a small file in place as a whole and durably: afterwards it is there complete, or as it was before.
    fn replace(&self, path: &str, bytes: &[u8], private: bool) -> io::Result<()>;
    /// Gives a file another name, in place of a file that has it. Durable when first the new name's folder is synced, then the
    /// old one's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file; well when there is none.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Names in a folder, in order; empty when there is no such folder.
    fn list(&self, path: &str) -> io::Result<Vec<Entry>>;
    /// Nobody reads or writes the file for now: what is held open of it is let go. It was synced before, so that no error of a write is
    /// missed.
    fn rest(&self, _path: &str) {}
    /// The room on it; none when the file system does not say.
    fn space(&self) -> Option<Space>;
    /// Takes the lock that only one process can hold; none when another holds it.
    fn lock(&self, path: &str) -> io::Result<Option<Lock>>;
    /// Can only the owner read the file?
    fn is_private(&self, path: &str) -> io::Result<bool>;
    /// Lets only the owner read the file.
    fn make_private(&self, path: &str) -> io::Result<()>;
}

/// The whole of a file that should be small; none when there is no such file.
pub(crate) fn read_whole(disk: &dyn ReadAt, path: &str, max: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(len) = disk.len(path)? else { return Ok(None) };
    if len > max {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("longer than {max} bytes")));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| ErrorKind::InvalidData)?];
    let read = disk.read_at(path, 0, &mut bytes)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Lengthens a file with zeros, up to `len`.
fn fill<D: Disk + ?Sized>(disk: &D, path: &str, len: u64) -> io::Result<()> {
    let block = vec![0; ZEROS_AT_ONCE];
    let mut at = disk.len(path)?.unwrap_or_default();
    while at < len {
        let zeros = usize::try_from(len - at).unwrap_or(usize::MAX).min(block.len());
        disk.write_at(path, at, block.get(..zeros).unwrap_or_default())?;
        at += zeros as u64;
    }
    Ok(())
}

/// The folder part of a relative path; empty for a name at the top.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A lock whose holder panicked is taken anyway: everything behind these locks is valid between any two statements.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder of the operating system.
#[derive(Debug)]
pub(crate) struct RealDisk {
    root: PathBuf,
    /// The archive's folder, held open from the start: `syncfs` reports the write errors since then (from Linux 5.8 on).
    folder: File,
    open: Mutex<OpenFiles>,
}

/// Open descriptors with the time of their last use, in uses.
#[derive(Debug)]
struct OpenFiles {
    files: HashMap<Box<str>, (Arc<File>, u64)>,
    uses: u64,
    max: usize,
}

impl OpenFiles {
    fn new() -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let half = limit.map_or(OPEN_FILES_MAX, |limit| usize::try_from(limit / 2).unwrap_or(OPEN_FILES_MAX));
        OpenFiles { files: HashMap::new(), uses: 0, max: half.clamp(OPEN_FILES_MIN, OPEN_FILES_MAX) }
    }

    /// Makes room for one more: many at once, so that not each further file costs a look at all of them.
    fn make_room(&mut self) {
        if self.files.len() < self.max {
            return;
        }
        let mut used: Vec<u64> = self.files.values().map(|(_, used)| *used).collect();
        let (_, &mut newest_closed, _) = used.select_nth_unstable(self.max / CLOSED_AT_ONCE);
        self.files.retain(|_, (_, used)| *used > newest_closed);
    }
}

impl RealDisk {
    /// The folder must be there.
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        Ok(RealDisk { root: root.to_owned(), folder: File::open(root)?, open: Mutex::new(OpenFiles::new()) })
    }

    fn full(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The open file; opened now when it is not, in place of the one unused for longest.
    fn file(&self, path: &str, create: bool) -> io::Result<Arc<File>> {
        let mut open = locked(&self.open);
        open.uses += 1;
        let uses = open.uses;
        if let Some((file, used)) = open.files.get_mut(path) {
            *used = uses;
            return Ok(Arc::clone(file));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(create);
        let file = match options.open(self.full(path)) {
            // An archive on a read-only medium can still be verified and played.
            Err(e)
                if !create
                    && matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) =>
            {
                File::open(self.full(path))?
            }
            other => other?,
        };
        open.make_room();
        let file = Arc::new(file);
        open.files.insert(path.into(), (Arc::clone(&file), uses));
        Ok(file)
    }

    fn forget(&self, path: &str) {
        locked(&self.open).files.remove(path);
    }
}

impl ReadAt for RealDisk {
    fn read_at(&self, path: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let file = self.file(path, false)?;
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn len(&self, path: &str) -> io::Result<Option<u64>> {
        match fs::metadata(self.full(path)) {
            Ok(meta) => Ok(Some(meta.len())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

impl Disk for RealDisk {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        if path.is_empty() || self.full(path).is_dir() {
            return Ok(());
        }
        let above = parent(path);
        self.create_dir(above)?;
        match fs::create_dir(self.full(path)) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        self.sync_dir(above)
    }

    fn write_at(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(path, true)?.write_all_at(bytes, offset)
    }

    fn write_all_at(&self, path: &str, offset: u64, pieces: &[&[u8]]) -> io::Result<()> {
        let file = self.file(path, true)?;
        let (mut at, mut pieces) = (offset, pieces);
        while let [first, ..] = pieces {
            let slices: Vec<IoSlice<'_>> =
                pieces.iter().take(PIECES_MAX).map(|piece| IoSlice::new(piece)).collect();
            let mut written = if slices.len() == 1 {
                0
            } else {
                rustix::io::retry_on_intr(|| rustix::io::pwritev(&file, &slices, at))?
            };
            if written < first.len() {
                // One piece, or a short write: the rest of the first piece the plain way.
                file.write_all_at(first.get(written..).unwrap_or_default(), at + written as u64)?;
                written = first.len();
            }
            // Pieces that were written whole; one that was cut is written again, from its beginning.
            let mut whole = 0;
            for piece in pieces {
                match written.checked_sub(piece.len()) {
                    Some(left) => written = left,
                    None => break,
                }
                at += piece.len() as u64;
                whole += 1;
            }
            pieces = pieces.get(whole..).unwrap_or_default();
        }
        Ok(())
    }

    fn set_aside(&self, path: &str, len: u64) -> io::Result<()> {
        let file = self.file(path, true)?;
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, len) {
            // This file system takes room by writing only.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => fill(self, path, len),
            done => Ok(done?),
        }
    }

    fn set_len(&self, path: &str, len: u64) -> io::Result<()> {
        self.file(path, false)?.set_len(len)
    }

    fn sync(&self, path: &str) -> io::Result<()> {
        self.file(path, false)?.sync_data()
    }

    fn sync_everything(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.folder)?)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        File::open(self.full(path))?.sync_all()
    }

    fn replace(&self, path: &str, bytes: &[u8], private: bool) -> io::Result<()> {
        let (target, fresh) = (self.full(path), self.full(&format!("{path}.new")));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        if private {
            options.mode(PRIVATE);
        }
        let file = options.open(&fresh)?;
        file.write_all_at(bytes, 0)?;
        file.sync_all()?;
        fs::rename(fresh, target)?;
        self.forget(path);
        self.sync_dir(parent(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.forget(from);
        self.forget(to);
        fs::rename(self.full(from), self.full(to))?;
        // Whoever opened it under its new name meanwhile has the old one.
        self.forget(to);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.forget(path);
        let removed = match fs::remove_file(self.full(path)) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        };
        // Whoever opened it meanwhile would keep its room taken.
        self.forget(path);
        removed
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let folder = match fs::read_dir(self.full(path)) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut entries = Vec::new();
        for entry in folder {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.push(Entry { name, is_dir: entry.file_type()?.is_dir() });
        }
        entries.sort();
        Ok(entries)
    }

    fn rest(&self, path: &str) {
        self.forget(path);
    }

    fn space(&self) -> Option<Space> {
        let stat = rustix::fs::fstatvfs(&self.folder).ok()?;
        // What root alone may use does not count.
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Some(Space { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks) })
    }

    fn lock(&self, path: &str) -> io::Result<Option<Lock>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(self.full(path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock::new(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn is_private(&self, path: &str) -> io::Result<bool> {
        Ok(fs::metadata(self.full(path))?.permissions().mode() & 0o077 == 0)
    }

    fn make_private(&self, path: &str) -> io::Result<()> {
        fs::set_permissions(self.full(path), fs::Permissions::from_mode(PRIVATE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_files_than_descriptors_can_be_written_in_turn() {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = RealDisk::new(dir.path()).expect("a disk");
        locked(&disk.open).max = 100;
        for round in 0..2_u64 {
            for file in 0..120 {
                disk.write_at(&format!("f{file}"), round, &[round as u8 + 1]).expect("written");
            }
        }
        assert!((75..=100).contains(&locked(&disk.open).files.len()));
        let mut bytes = [0; 4];
        assert_eq!(disk.read_at("f0", 0, &mut bytes).expect("read"), 2);
        assert_eq!(bytes, [1, 2, 0, 0]);
    }

    #[test]
    fn pieces_lie_one_behind_the_other_however_many_there_are() {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = RealDisk::new(dir.path()).expect("a disk");
        let pieces: Vec<Vec<u8>> = (0..PIECES_MAX + 9).map(|i| vec![i as u8; i % 7]).collect();
        for count in [0, 1, 2, PIECES_MAX, pieces.len()] {
            let slices: Vec<&[u8]> = pieces[..count].iter().map(Vec::as_slice).collect();
            let path = format!("f{count}");
            disk.write_at(&path, 0, b"abc").expect("written");
            disk.write_all_at(&path, 3, &slices).expect("written");
            let bytes = fs::read(dir.path().join(path)).expect("read");
            assert_eq!(bytes, [b"abc", &slices.concat()[..]].concat());
        }
    }

    #[test]
    fn a_private_file_can_be_read_by_its_owner_only() {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = RealDisk::new(dir.path()).expect("a disk");
        disk.create_dir("keys").expect("made");
        disk.replace("keys/k", b"x", true).expect("written");
        assert!(disk.is_private("keys/k").expect("read"));
        assert_eq!(disk.list("keys").expect("listed").len(), 1, "the temporary file is gone");
    }

    #[test]
    fn the_lock_is_held_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = RealDisk::new(dir.path()).expect("a disk");
        let held = disk.lock("lock").expect("asked");
        assert!(held.is_some());
        assert!(RealDisk::new(dir.path()).expect("a disk").lock("lock").expect("asked").is_none());
        drop(held);
        assert!(RealDisk::new(dir.path()).expect("a disk").lock("lock").expect("asked").is_some());
    }
}
