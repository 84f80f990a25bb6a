//! A disk for tests that fails at the n-th operation, and forgets what was not synced when the power goes.
//!
//! Model: a write is lost, kept or torn per sector until its file is synced; a name made or removed in a folder is lost
//! or kept until the folder is synced. A file that was given another name may after a power cut have the new one, the old
//! one or both, until the folders of both are synced. Folders and `replace` are durable at once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};

use crate::disk::{Disk, Entry, Lock, ReadAt, locked, parent};
use crate::space::Space;

/// Bytes that reach the disk together or not at all.
const SECTOR_LEN: usize = 512;

/// What happens at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This operation is cut in the middle, every later one fails: the process is dead.
    Die,
    /// Writing operations fail with this error from here on, reading goes on.
    Writes(ErrorKind),
    /// This one operation fails, the next ones do not.
    Once(ErrorKind),
    /// As `Writes(StorageFull)`, until something is removed.
    Full,
    /// The next sync of a file fails, later ones do not.
    Sync,
}

#[derive(Clone, Debug, Default)]
struct File {
    data: Vec<u8>,
    /// What a power cut leaves at least.
    synced: Vec<u8>,
    /// Its name is on disk.
    linked: bool,
}

/// A file has another name, and the disk may not know it yet.
#[derive(Clone, Debug)]
struct Renamed {
    from: String,
    to: String,
    /// What had the new name before.
    before: Option<File>,
    /// The folders that were synced since: that of the new name, that of the old one.
    synced: [bool; 2],
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, File>,
    /// Removed, but the folder is not synced: a power cut may bring it back.
    removed: BTreeMap<String, File>,
    /// In the order of renaming.
    renamed: Vec<Renamed>,
    folders: BTreeSet<String>,
    /// Changing operations so far.
    operations: u64,
    fault: Option<(u64, Fault)>,
    /// Writes to this file are cut in the middle, and fail.
    refused: Option<String>,
    dead: bool,
    held: Arc<()>,
}

/// The disk.
#[derive(Debug, Default)]
pub(crate) struct SimDisk(Mutex<State>);

impl SimDisk {
    pub(crate) fn new() -> Arc<SimDisk> {
        Arc::default()
    }

    /// The `at`-th changing operation from now meets the fault.
    pub(crate) fn fail_at(&self, at: u64, fault: Fault) {
        let mut state = locked(&self.0);
        state.fault = Some((state.operations + at, fault));
    }

    /// From now on this file takes no writes; without a name each one does.
    pub(crate) fn refuse(&self, path: Option<&str>) {
        locked(&self.0).refused = path.map(str::to_owned);
    }

    pub(crate) fn operations(&self) -> u64 {
        locked(&self.0).operations
    }

    pub(crate) fn is_dead(&self) -> bool {
        locked(&self.0).dead
    }

    /// All files, for looking through.
    pub(crate) fn contents(&self) -> Vec<(String, Vec<u8>)> {
        locked(&self.0).files.iter().map(|(path, file)| (path.clone(), file.data.clone())).collect()
    }

    /// What is there after the process was killed.
    pub(crate) fn after_kill(&self) -> Arc<SimDisk> {
        let state = locked(&self.0);
        let (files, removed, folders) = (state.files.clone(), state.removed.clone(), state.folders.clone());
        let renamed = state.renamed.clone();
        Arc::new(SimDisk(Mutex::new(State { files, removed, renamed, folders, ..State::default() })))
    }

    /// What is there after a power cut; `seed` decides over what was not synced.
    pub(crate) fn after_power_cut(&self, seed: u64) -> Arc<SimDisk> {
        let (state, mut dice) = (locked(&self.0), Dice(seed | 1));
        let mut files = BTreeMap::new();
        for (path, file) in &state.removed {
            if dice.roll(2) == 0 {
                files.insert(path.clone(), file.clone());
            }
        }
        for (path, file) in &state.files {
            if file.linked || dice.roll(2) == 0 {
                let data = survive(file, &mut dice);
                files.insert(path.clone(), File { synced: data.clone(), data, linked: true });
            }
        }
        for Renamed { from, to, before, synced: [to_synced, from_synced] } in state.renamed.iter().rev() {
            let Some(file) = files.get(to).cloned() else { continue };
            let has_new = *to_synced || dice.roll(2) == 0;
            // A name that is gone for sure and another one that never came: so a file is lost.
            if !*from_synced && (!has_new || dice.roll(2) == 0) {
                files.insert(from.clone(), file);
            }
            if !has_new {
                match before {
                    Some(before) => drop(files.insert(to.clone(), before.clone())),
                    None => drop(files.remove(to)),
                }
            }
        }
        let folders = state.folders.clone();
        Arc::new(SimDisk(Mutex::new(State { files, folders, ..State::default() })))
    }
}

/// What a power cut leaves of a file: all, only what was synced, or a part of each.
fn survive(file: &File, dice: &mut Dice) -> Vec<u8> {
    match dice.roll(3) {
        0 => file.synced.clone(),
        1 => file.data.clone(),
        _ => {
            let mut data = file.synced.clone();
            data.resize(if dice.roll(2) == 0 { file.data.len() } else { file.synced.len() }, 0);
            for (old, new) in data.chunks_mut(SECTOR_LEN).zip(file.data.chunks(SECTOR_LEN)) {
                if dice.roll(2) == 0 {
                    let len = old.len().min(new.len());
                    old[..len].copy_from_slice(&new[..len]);
                }
            }
            data
        }
    }
}

/// xorshift: the same seed falls the same way.
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) % sides
    }
}

impl State {
    /// Counts a changing operation; the error that it meets, and whether half of it is done first.
    fn change(&mut self) -> Result<(), (io::Error, bool)> {
        if self.dead {
            return Err((io::Error::other("the process is dead"), false));
        }
        self.operations += 1;
        match self.fault {
            Some((at, fault)) if self.operations >= at => match fault {
                Fault::Die => {
                    self.dead = true;
                    Err((io::Error::other("the process dies here"), true))
                }
                Fault::Writes(kind) => Err((kind.into(), true)),
                Fault::Full => Err((ErrorKind::StorageFull.into(), true)),
                Fault::Sync => Ok(()),
                Fault::Once(kind) => {
                    self.fault = None;
                    Err((kind.into(), true))
                }
            },
            _ => Ok(()),
        }
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::other("the process is dead")) } else { Ok(()) }
    }

    fn file(&mut self, path: &str) -> io::Result<&mut File> {
        self.files.get_mut(path).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn write(&mut self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if !parent(path).is_empty() && !self.folders.contains(parent(path)) {
            return Err(ErrorKind::NotFound.into());
        }
        let file = self.files.entry(path.to_owned()).or_default();
        let at = offset as usize;
        if file.data.len() < at + bytes.len() {
            file.data.resize(at + bytes.len(), 0);
        }
        file.data[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

impl ReadAt for SimDisk {
    fn read_at(&self, path: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut state = locked(&self.0);
        state.alive()?;
        let data = &state.file(path)?.data;
        let rest = data.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn len(&self, path: &str) -> io::Result<Option<u64>> {
        let state = locked(&self.0);
        state.alive()?;
        Ok(state.files.get(path).map(|file| file.data.len() as u64))
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        let mut state = locked(&self.0);
        if path.is_empty() || state.folders.contains(path) {
            return state.alive();
        }
        state.change().map_err(|(e, _)| e)?;
        let mut path = path;
        while !path.is_empty() {
            state.folders.insert(path.to_owned());
            path = parent(path);
        }
        Ok(())
    }

    fn write_at(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = locked(&self.0);
        let is_refused = state.refused.as_deref() == Some(path);
        match state.change() {
            Ok(()) if is_refused => {
                let _ = state.write(path, offset, &bytes[..bytes.len() / 2]);
                Err(io::Error::other("a bad sector"))
            }
            Ok(()) => state.write(path, offset, bytes),
            Err((e, half)) => {
                if half {
                    let _ = state.write(path, offset, &bytes[..bytes.len() / 2]);
                }
                Err(e)
            }
        }
    }

    fn set_len(&self, path: &str, len: u64) -> io::Result<()> {
        let mut state = locked(&self.0);
        state.change().map_err(|(e, _)| e)?;
        state.file(path)?.data.resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self, path: &str) -> io::Result<()> {
        let mut state = locked(&self.0);
        state.change().map_err(|(e, _)| e)?;
        if matches!(state.fault, Some((_, Fault::Sync))) {
            state.fault = None;
            return Err(io::Error::other("the pages are lost"));
        }
        let file = state.file(path)?;
        file.synced = file.data.clone();
        Ok(())
    }

    fn sync_everything(&self) -> io::Result<()> {
        let mut state = locked(&self.0);
        state.change().map_err(|(e, _)| e)?;
        for file in state.files.values_mut() {
            file.synced = file.data.clone();
            file.linked = true;
        }
        state.removed.clear();
        state.renamed.clear();
        Ok(())
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let mut state = locked(&self.0);
        state.change().map_err(|(e, _)| e)?;
        state.removed.retain(|name, _| parent(name) != path);
        for (name, file) in &mut state.files {
            file.linked |= parent(name) == path;
        }
        for renamed in &mut state.renamed {
            renamed.synced[0] |= parent(&renamed.to) == path;
            renamed.synced[1] |= parent(&renamed.from) == path;
        }
        state.renamed.retain(|renamed| renamed.synced != [true, true]);
        Ok(())
    }

    fn replace(&self, path: &str, bytes: &[u8], _private: bool) -> io::Result<()> {
        let mut state = locked(&self.0);
        state.change().map_err(|(e, _)| e)?;
        let file = File { data: bytes.to_vec(), synced: bytes.to_vec(), linked: true };
        state.files.insert(path.to_owned(), file);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = locked(&self.0);
        state.change().map_err(|(e, _)| e)?;
        let file = state.files.remove(from).ok_or(ErrorKind::NotFound)?;
        let linked = file.linked;
        let before = state.files.insert(to.to_owned(), file);
        if linked {
            let (from, to) = (from.to_owned(), to.to_owned());
            state.renamed.push(Renamed { from, to, before, synced: [false, false] });
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = locked(&self.0);
        if matches!(state.fault, Some((at, Fault::Full)) if state.operations >= at) {
            state.fault = None;
        }
        state.change().map_err(|(e, _)| e)?;
        if let Some(file) = state.files.remove(path)
            && file.linked
        {
            state.removed.insert(path.to_owned(), file);
        }
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let state = locked(&self.0);
        state.alive()?;
        let below = |name: &&String| parent(name) == path && !name.is_empty();
        let name = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
        let files = state.files.keys().filter(below).map(|path| Entry { name: name(path), is_dir: false });
        let folders = state.folders.iter().filter(below).map(|path| Entry { name: name(path), is_dir: true });
        let mut entries: Vec<_> = files.chain(folders).collect();
        entries.sort();
        Ok(entries)
    }

    fn space(&self) -> Option<Space> {
        None
    }

    fn lock(&self, _path: &str) -> io::Result<Option<Lock>> {
        let state = locked(&self.0);
        let free = Arc::strong_count(&state.held) == 1;
        Ok(free.then(|| Lock::new(Arc::clone(&state.held))))
    }

    fn is_private(&self, _path: &str) -> io::Result<bool> {
        Ok(true)
    }

    fn make_private(&self, _path: &str) -> io::Result<()> {
        Ok(())
    }
}
