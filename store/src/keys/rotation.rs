//! Rotation: a new archive key, new months' keys, every data key wrapped to them, the old keys destroyed.
//!
//! The audio is not touched: of each recording the 88 bytes of its wrap are written, through the journal. What a crash
//! leaves at any operation opens:
//!
//! 1. The new private key is put beside the old one (`….next`). Nothing points at it yet.
//! 2. `keys/rotation.json` names it and the months' keys that retire. From here on the rotation only goes forward: a month's key
//!    that is needed from now on is a fresh one, sealed to the new key. `keys/public.json` follows.
//! 3. Former archive keys, which recordings of format 1 need, are sealed to the new key.
//! 4. Each recording is wrapped anew, in passes until one finds nothing to do. Old and new keys are both there.
//! 5. A checkpoint: all files are on disk, and no journal holds a header with an old wrap.
//! 6. Retired months' keys are overwritten and removed, then the old private key, then `keys/rotation.json`.
//!
//! What is interrupted goes on when it is asked for again. Recordings may begin, run and end meanwhile.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use decode::Timestamp;
use serde::{Deserialize, Serialize};
use x25519_dalek::PublicKey;
use zeroize::Zeroizing;

use super::files::{self, Public, PublicFile, private_line};
use super::manage::KeyLine;
use super::month::{array, parse_id};
use super::wrapping::{Private, key_id};
use super::{
    DataKey, FORMER_DIR, KEYS_DIR, KeyFile, KeyId, Keys, MONTHS_DIR, SEALED_KEY, SEALED_KEY_NEXT, SealedKey,
    UNWRAP_KEY, UNWRAP_KEY_NEXT,
};
use crate::archive::Archive;
use crate::bytes::hex;
use crate::disk::{Disk, locked, read_whole};
use crate::locations::stub::recording_at;
use crate::scribe::{Command, Rewrap};
use crate::shared::{Shared, wall_clock};
use crate::wave;
use crate::{Error, RecordingId};

/// What a rotation is about to do, until it is done.
pub(crate) const ROTATION: &str = "keys/rotation.json";
const FORMAT: u32 = 1;
/// Years of months, and more.
const FILE_MAX: u64 = 1024 * 1024;
/// Recordings wrapped anew under one journal entry; no more than the disk keeps files open, so that none is opened twice.
const BATCH_LEN: usize = 256;
/// One pass wraps, one finds nothing more; a third would have been cut off by a full disk.
const PASSES_MAX: usize = 4;
/// Recordings that could not be wrapped anew and are named; the others are counted.
const LEFT_MAX: usize = 1000;

/// A rotation that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rotation {
    from: KeyId,
    to: Public,
    retired: Vec<KeyId>,
    started: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    from: String,
    to: String,
    x25519: String,
    retired: Vec<String>,
    started: Timestamp,
}

impl Rotation {
    /// The archive key that goes.
    pub(crate) fn from(&self) -> KeyId {
        self.from
    }

    /// The archive key that comes.
    pub(crate) fn to(&self) -> Public {
        self.to
    }

    /// Is this month's key about to be destroyed?
    pub(crate) fn retires(&self, id: &KeyId) -> bool {
        self.retired.contains(id)
    }

    /// May this file be half destroyed already? A former archive key goes when no recording needs it.
    pub(crate) fn destroys(&self, path: &str) -> bool {
        path.starts_with(FORMER_DIR) || id_of_file(path).is_some_and(|id| self.retires(&id))
    }

    pub(crate) fn read(disk: &dyn Disk) -> Result<Option<Rotation>, Error> {
        let json = read_whole(disk, ROTATION, FILE_MAX).map_err(|e| Error::io(ROTATION, e))?;
        let Some(json) = json else { return Ok(None) };
        let written: Written =
            serde_json::from_slice(&json).map_err(|e| Error::damaged(ROTATION, e.to_string()))?;
        if written.format > FORMAT {
            let (found, known) = (written.format, FORMAT);
            return Err(Error::NewerFormat { path: ROTATION.into(), found, known });
        }
        let read = || {
            let public: [u8; 32] = array(&written.x25519)?;
            let id = key_id(&public);
            let retired = written.retired.iter().map(|id| parse_id(id)).collect::<Option<_>>()?;
            let to = (id, PublicKey::from(public));
            let rotation = Rotation { from: parse_id(&written.from)?, to, retired, started: written.started };
            (hex(&id) == written.to).then_some(rotation)
        };
        read().map(Some).ok_or_else(|| Error::damaged(ROTATION, "its fields are not those of a rotation"))
    }

    fn write(&self, disk: &dyn Disk) -> Result<(), Error> {
        let written = Written {
            format: FORMAT,
            from: hex(&self.from),
            to: hex(&self.to.0),
            x25519: BASE64.encode(self.to.1.as_bytes()),
            retired: self.retired.iter().map(|id| hex(id)).collect(),
            started: self.started,
        };
        disk.replace(ROTATION, &files::to_json(&written, ROTATION)?, false)
            .map_err(|e| Error::io(ROTATION, e))
    }
}

impl Keys {
    /// Steps 1 to 3. True when the rotation begins now, false when it goes on.
    fn begin_rotation(&self, disk: &dyn Disk) -> Result<bool, Error> {
        let _turn = self.turn.write().unwrap_or_else(PoisonError::into_inner);
        self.signing()?;
        let mut ring = self.ring_mut();
        let begins = ring.rotation.is_none();
        if begins {
            let archive = ring.archive.0;
            let old = ring.privates.iter().find(|private| private.id == archive);
            if old.is_none() {
                // A recipient opens everything, but the archive key is not his to replace.
                return Err(match ring.privates.first() {
                    None => ring.no_private("the archive"),
                    Some(other) => Error::WrongKey {
                        what: "the archive".into(),
                        needed: hex(&archive),
                        found: hex(&other.id),
                        path: UNWRAP_KEY.into(),
                    },
                });
            }
            for (path, next) in [(UNWRAP_KEY, UNWRAP_KEY_NEXT), (SEALED_KEY, SEALED_KEY_NEXT)] {
                settle_next(disk, path, next, &archive)?;
            }
            let new = Private::random();
            let (path, bytes) = match &ring.lock {
                Some(lock) => (SEALED_KEY_NEXT, Zeroizing::new(lock.seal(&new).to_json(SEALED_KEY_NEXT)?)),
                None => {
                    let line = private_line(new.secret.as_bytes());
                    (UNWRAP_KEY_NEXT, Zeroizing::new(line.as_bytes().to_vec()))
                }
            };
            disk.replace(path, &bytes, true).map_err(|e| Error::io(path, e))?;
            let retired = ring.files.values().filter(|file| file.month.is_some()).map(|file| file.id);
            let to = (new.id, new.public);
            let rotation = Rotation { from: archive, to, retired: retired.collect(), started: wall_clock() };
            rotation.write(disk)?;
            ring.archive = to;
            ring.privates.insert(0, new);
            ring.rotation = Some(rotation);
        } else if let Some(mut rotation) = ring.rotation.clone() {
            // Months' files that were put back since it began are sealed to the old key alone: they go like the others.
            let new = rotation.to.0;
            let is_late =
                |file: &&KeyFile| file.month.is_some() && !file.sealed.iter().any(|(to, _)| *to == new);
            let late: BTreeSet<KeyId> = ring.files.values().filter(is_late).map(|file| file.id).collect();
            if late.iter().any(|id| !rotation.retires(id)) {
                rotation.retired.extend(late);
                rotation.write(disk)?;
                ring.rotation = Some(rotation);
            }
        }
        PublicFile::new(&ring.archive.1, self.sign_public.as_bytes(), ring.recipients.clone()).write(disk)?;
        let recipients = ring.recipients();
        let to = recipients.iter().map(|(id, public)| (*id, public));
        let mut former = Vec::new();
        let from = ring.rotation.as_ref().map(Rotation::from);
        for file in ring.files.values().filter(|file| file.month.is_none()) {
            if !file.sealed.iter().any(|(to, _)| *to == ring.archive.0) {
                former.push(KeyFile::seal(None, &ring.open(file)?, to.clone()));
            }
        }
        if let Some(old) = ring.privates.iter().find(|private| Some(private.id) == from)
            && !ring.files.contains_key(&old.id)
        {
            former.push(KeyFile::seal(None, old, to));
        }
        if !former.is_empty() {
            disk.create_dir(FORMER_DIR).map_err(|e| Error::io(FORMER_DIR, e))?;
        }
        for file in former {
            self.write_file(disk, &file)?;
            ring.files.insert(file.id, file);
        }
        Ok(begins)
    }

    /// Will a former key still open when the old archive key is gone?
    fn will_open(&self, id: &KeyId) -> bool {
        let ring = self.ring();
        let sealed = |file: &KeyFile| file.sealed.iter().any(|(to, _)| *to == ring.archive.0);
        ring.files.get(id).is_some_and(sealed)
    }

    /// Step 6. `needed` are the archive keys that recordings of format 1 name.
    fn finish_rotation(&self, disk: &dyn Disk, needed: &BTreeSet<KeyId>) -> Result<Option<Rotation>, Error> {
        let mut ring = self.ring_mut();
        let Some(rotation) = ring.rotation.clone() else { return Ok(None) };
        // Everything is wrapped to the new key by now: it must be here before the old one goes.
        let mut is_here = false;
        for path in [UNWRAP_KEY, UNWRAP_KEY_NEXT, SEALED_KEY, SEALED_KEY_NEXT] {
            is_here |= read_key(disk, path, &rotation.to.0)?.is_some();
        }
        if !is_here {
            return Err(Error::KeyMissing { path: UNWRAP_KEY_NEXT.into() });
        }
        for (folder, goes) in [
            (MONTHS_DIR, &(|id: &KeyId| rotation.retires(id)) as &dyn Fn(&KeyId) -> bool),
            (FORMER_DIR, &|id| !needed.contains(id)),
        ] {
            for entry in disk.list(folder).map_err(|e| Error::io(folder, e))? {
                if id_of_file(&entry.name).is_some_and(|id| goes(&id)) {
                    files::shred(disk, &format!("{folder}/{}", entry.name))?;
                }
            }
        }
        promote(disk, UNWRAP_KEY, UNWRAP_KEY_NEXT, &rotation.to.0)?;
        promote(disk, SEALED_KEY, SEALED_KEY_NEXT, &rotation.to.0)?;
        files::shred_leftovers(disk)?;
        // Only now is the old private key gone; a crash before this line comes here again.
        disk.remove(ROTATION).and_then(|()| disk.sync_dir(KEYS_DIR)).map_err(|e| Error::io(ROTATION, e))?;
        ring.files.retain(|id, file| match file.month {
            Some(_) => !rotation.retires(id),
            None => needed.contains(id),
        });
        ring.privates.retain(|private| private.id != rotation.from);
        ring.troubles.clear();
        ring.rotation = None;
        locked(&self.opened).clear();
        Ok(Some(rotation))
    }
}

/// The key whose file has this name.
fn id_of_file(path: &str) -> Option<KeyId> {
    let name = path.rsplit('/').next()?;
    name.split('.').next()?.rsplit('-').next().and_then(parse_id)
}

/// The bytes of a private key's file, sealed or not, if it holds this key.
fn read_key(disk: &dyn Disk, path: &str, id: &KeyId) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let bytes = read_whole(disk, path, files::KEY_FILE_MAX).map_err(|e| Error::io(path, e))?;
    let holds = |bytes: &[u8]| {
        if let Ok(sealed) = SealedKey::parse(bytes, path) {
            return sealed.id == *id;
        }
        let private = std::str::from_utf8(bytes).ok().and_then(files::parse_private);
        private.is_some_and(|private| Private::new(&private).id == *id)
    };
    Ok(bytes.map(Zeroizing::new).filter(|bytes| holds(bytes)))
}

/// A change of passphrase that was cut off can have left the only copy of the private key where the next one is about to
/// be put.
fn settle_next(disk: &dyn Disk, path: &str, next: &str, id: &KeyId) -> Result<(), Error> {
    match (read_key(disk, path, id)?, read_key(disk, next, id)?) {
        (None, Some(bytes)) => files::put_secret(disk, path, next, &bytes),
        _ => Ok(()),
    }
}

/// Puts the waiting private key in place of the old one, which is overwritten.
fn promote(disk: &dyn Disk, path: &str, next: &str, to: &KeyId) -> Result<(), Error> {
    if read_key(disk, path, to)?.is_some() {
        return files::shred(disk, next);
    }
    match read_key(disk, next, to)? {
        Some(bytes) => files::put_secret(disk, path, next, &bytes),
        // This way of keeping it is not in use; what lies there is the old key, or a copy of it.
        None => files::shred(disk, path).and_then(|()| files::shred(disk, next)),
    }
}

/// What a rotation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    /// It went on with one that had been interrupted.
    pub resumed: bool,
    /// Recordings whose key was wrapped anew.
    pub rewrapped: u64,
    /// Recordings of format 1, which keep their wrap and with it the former archive key, sealed to the new one.
    pub format_1: u64,
    /// Months' keys destroyed.
    pub retired: u64,
    /// Recordings whose key could not be opened with the old keys (the first 1,000), with the reason.
    pub left: Vec<(PathBuf, String)>,
    /// The old keys are destroyed. False when recordings were left and were not to be: then nothing is lost, and the
    /// rotation goes on when it is asked for again.
    pub finished: bool,
}

/// What a pass over the files found.
#[derive(Debug, Default)]
struct Pass {
    rewrapped: u64,
    format_1: u64,
    needed: BTreeSet<KeyId>,
    left: Vec<(PathBuf, String)>,
    made: Vec<super::Made>,
}

/// What is to be done with one file.
enum Look {
    /// Its wrap is to be replaced.
    Wrap(Rewrap, Option<super::Made>),
    /// It has format 1 and names this key.
    Former(KeyId),
    /// Wrapped to a key that stays, or to none that this archive knows.
    Nothing,
    /// It should be wrapped anew, but cannot.
    Left(String),
}

impl Archive {
    /// Replaces all keys by which recordings can be opened: a new archive key, new months' keys, each recording's data key
    /// wrapped anew; then destroys the old ones. A backup made before then opens with the keys in that backup only.
    /// `progress` is called with recordings looked at and in all. Recordings may run meanwhile.
    ///
    /// With `leave`, recordings whose key does not open stay behind and are lost for good (they could not be played
    /// before either, but an older copy of the file could have been put back).
    ///
    /// # Errors
    /// [`Error::KeyMissing`], [`Error::KeyLocked`] or [`Error::WrongKey`] when the private archive key or the signing key
    /// is not here; [`Error::Io`], [`Error::Full`]: call it again when that is mended.
    pub fn rotate_keys(&self, leave: bool, progress: impl Fn(u64, u64) + Sync) -> Result<Rotated, Error> {
        self.rotate(leave, &progress).map_err(|e| e.under(&self.shared.root))
    }

    fn rotate(&self, leave: bool, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Rotated, Error> {
        let (shared, mut rotated) = (&self.shared, Rotated::default());
        self.sync()?;
        let disk = &*shared.disk;
        rotated.resumed = !shared.keys.begin_rotation(disk)?;
        let to = hex(&shared.keys.ring().archive.0);
        if !rotated.resumed {
            self.append_key_line(&KeyLine::new("rotation begun", &to))?;
        }
        let mut last = Pass::default();
        for pass in 1.. {
            // What began before the turn is in the files after this.
            self.ask(Command::Flush)?;
            last = rewrap_all(self, progress)?;
            for made in last.made.drain(..) {
                self.append_key_line(&KeyLine::month(&made))?;
            }
            rotated.rewrapped += last.rewrapped;
            if last.rewrapped == 0 {
                break;
            }
            if pass == PASSES_MAX {
                return Err(Error::damaged(
                    wave::RECORDINGS_DIR,
                    "recordings do not stay as they are written",
                ));
            }
        }
        (rotated.format_1, rotated.left) = (last.format_1, last.left);
        self.ask(Command::NewJournal)?;
        if !rotated.left.is_empty() && !leave {
            return Ok(rotated);
        }
        let rotation = shared.keys.finish_rotation(disk, &last.needed)?;
        rotated.retired = rotation.map_or(0, |rotation| rotation.retired.len() as u64);
        rotated.finished = true;
        self.append_key_line(&KeyLine::new("rotated", &to))?;
        self.sync()?;
        Ok(rotated)
    }
}

/// One pass over all files, on all processors; the disk thread does the writing.
fn rewrap_all(archive: &Archive, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Pass, Error> {
    let paths = crate::recovery::files(&*archive.shared.disk)?;
    let (next, done, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let pass = Mutex::new(Pass::default());
    let work = || -> Result<(), Error> {
        while !stop.load(Ordering::Relaxed) {
            let from = next.fetch_add(BATCH_LEN, Ordering::Relaxed);
            let Some(batch) = paths.get(from..paths.len().min(from + BATCH_LEN)).filter(|b| !b.is_empty())
            else {
                break;
            };
            let result = rewrap_batch(archive, batch, &pass);
            if let Err(e) = result {
                stop.store(true, Ordering::Relaxed);
                return Err(e);
            }
            let done = done.fetch_add(batch.len(), Ordering::Relaxed) + batch.len();
            progress(done as u64, paths.len() as u64);
        }
        Ok(())
    };
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| Error::Closed)?)
    })?;
    Ok(pass.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn rewrap_batch(archive: &Archive, batch: &[String], pass: &Mutex<Pass>) -> Result<(), Error> {
    let mut wraps = Vec::with_capacity(batch.len());
    for path in batch {
        match look(&archive.shared, path)? {
            Look::Nothing => {}
            Look::Wrap(wrap, made) => {
                wraps.push(wrap);
                locked(pass).made.extend(made);
            }
            Look::Former(id) => {
                let mut pass = locked(pass);
                pass.format_1 += 1;
                pass.needed.insert(id);
            }
            Look::Left(why) => {
                let mut pass = locked(pass);
                if pass.left.len() < LEFT_MAX {
                    pass.left.push((path.into(), why));
                }
            }
        }
    }
    if !wraps.is_empty() {
        locked(pass).rewrapped += wraps.len() as u64;
        archive.ask(|answer| Command::Rewrap { wraps, answer })?;
    }
    Ok(())
}

/// Reads a file's header and makes its new wrap.
fn look(shared: &Shared, path: &str) -> Result<Look, Error> {
    let Some(id) = recording_at(path) else { return Ok(Look::Nothing) };
    let mut head = [0; wave::WRAP_END];
    let read = match shared.disk.read_at(path, 0, &mut head) {
        // Discarded since the folder was read.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Look::Nothing),
        read => read.map_err(|e| Error::io(path, e))?,
    };
    let Some((format, written, wrap)) = wave::peek_wrap(head.get(..read).unwrap_or_default()) else {
        return Ok(Look::Left("it has no header of a recording".into()));
    };
    if format < wave::FORMAT_REWRAPPABLE {
        return Ok(match shared.keys.will_open(&wrap.key_id) {
            true => Look::Former(wrap.key_id),
            false => Look::Left(unknown_key(&wrap.key_id)),
        });
    }
    if !shared.keys.knows(&wrap.key_id) {
        // Its key's file is missing or unreadable: in a backup it is sealed to the key that is about to go.
        return Ok(Look::Left(unknown_key(&wrap.key_id)));
    }
    if !shared.keys.ring().rotation.as_ref().is_some_and(|rotation| rotation.retires(&wrap.key_id)) {
        return Ok(match shared.keys.will_open(&wrap.key_id) {
            true => Look::Nothing,
            false => Look::Left("its key is sealed to the old archive key alone".into()),
        });
    }
    if written != id {
        return Ok(Look::Left("it is another recording's file".into()));
    }
    match shared.keys.unwrap(id, &wrap, path) {
        Ok(key) => {
            let (wrap, made) = wrap_anew(shared, id, &key)?;
            Ok(Look::Wrap(Rewrap { id, path: path.to_owned(), bytes: wrap }, made))
        }
        Err(Error::Tampered { what, .. }) => Ok(Look::Left(what)),
        Err(e @ Error::KeyUnknown { .. }) => Ok(Look::Left(e.to_string())),
        Err(e) => Err(e),
    }
}

fn unknown_key(id: &KeyId) -> String {
    format!("its key {} is not in keys/, or cannot be read: put the file back from a backup first", hex(id))
}

fn wrap_anew(
    shared: &Shared,
    id: RecordingId,
    key: &DataKey,
) -> Result<([u8; wave::WRAP_LEN], Option<super::Made>), Error> {
    let (wrap, made) = shared.keys.wrap(&*shared.disk, id, key)?;
    Ok((wrap.to_bytes(), made))
}
