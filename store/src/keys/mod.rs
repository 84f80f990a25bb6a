//! The archive's keys: which there are, where they lie, and which opens what.
//!
//! An Ed25519 pair (RFC 8032) signs recordings. A recording's data key is wrapped to the X25519 key of its *month*, and the
//! month's private half to the archive's X25519 key and to each recipient. A box that only records needs no private
//! X25519 key at all: it makes a month's pair, seals the private half and forgets it. Why there are months: once a month's
//! key is destroyed, what was wrapped to it opens nowhere, not from a backup either (`docs/keys.md`).
//!
//! Here is what recording and playing need. Administering keys is [`manage`]'s, replacing all of them [`rotation`]'s.

mod files;
pub(crate) mod manage;
mod month;
mod passphrase;
pub(crate) mod rotation;
pub(crate) mod sheet;
pub(crate) mod signing;
mod wrapping;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use decode::Timestamp;
use ed25519_dalek::{SigningKey, VerifyingKey};

use self::files::{Found, Public, PublicFile};
pub(crate) use self::files::{
    PUBLIC_KEYS, SEALED_KEY, SEALED_KEY_NEXT, SIGN_KEY, UNWRAP_KEY, UNWRAP_KEY_NEXT, shred,
};
pub use self::files::{Recipient, public_key};
use self::month::{FORMER_DIR, KeyFile, MONTHS_DIR};
pub use self::passphrase::Passphrase;
use self::passphrase::{LockKey, SealedKey};
use self::rotation::Rotation;
use self::wrapping::Private;
pub(crate) use self::wrapping::{DataKey, KeyId, WRAPPED_LEN, Wrap, random};
use crate::bytes::hex;
use crate::disk::{Disk, locked, read_whole};
use crate::{Error, RecordingId};

pub(crate) const KEYS_DIR: &str = "keys";
/// Opened key-encryption keys kept in memory: twenty years of months.
const OPENED_MAX: usize = 256;

/// What an archive holds of its keys. Its `Debug` names the public parts only.
pub(crate) struct Keys {
    sign_public: VerifyingKey,
    sign_id: KeyId,
    sign: Option<SigningKey>,
    ring: RwLock<Ring>,
    /// Key-encryption keys that have been opened.
    opened: Mutex<BTreeMap<KeyId, Private>>,
    /// Held for reading while a recording begins; a rotation changes the keys between two beginnings.
    turn: RwLock<()>,
}

/// The X25519 side, which changes while an archive is open.
struct Ring {
    /// The archive's own key.
    archive: Public,
    recipients: Vec<Recipient>,
    /// Private keys that are here and can open months: the archive's, a recipient's, while rotating the former one too.
    privates: Vec<Private>,
    /// Private keys that wait for their passphrase.
    sealed: Vec<(&'static str, SealedKey)>,
    /// What the passphrase became.
    lock: Option<LockKey>,
    /// Months' keys and former archive keys.
    files: BTreeMap<KeyId, KeyFile>,
    /// A private key that lies here and opens nothing of this archive.
    stranger: Option<KeyId>,
    /// Files of keys that cannot be read.
    troubles: Vec<(String, Error)>,
    rotation: Option<Rotation>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let wrap = hex(&self.ring().archive.0);
        f.debug_struct("Keys").field("wrap", &wrap).field("sign", &hex(&self.sign_id)).finish()
    }
}

/// A key-encryption key that was made because a month had none yet.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) id: KeyId,
    pub(crate) month: String,
}

/// The UTC month of a recording: `YYYY-MM`.
pub(crate) fn month_of(at: Timestamp) -> String {
    let (year, month, _) = at.date();
    format!("{year:04}-{month:02}")
}

impl Ring {
    /// Everybody to whom a month's key is sealed.
    fn recipients(&self) -> Vec<Public> {
        let others = self.recipients.iter().filter_map(Recipient::public);
        std::iter::once(self.archive).chain(others).collect()
    }

    /// The key that new recordings of a month are wrapped to.
    fn month(&self, month: &str) -> Option<&KeyFile> {
        let retired = |id: &KeyId| self.rotation.as_ref().is_some_and(|rotation| rotation.retires(id));
        self.files.values().rfind(|file| file.month.as_deref() == Some(month) && !retired(&file.id))
    }

    /// Why `what` cannot be opened here.
    fn no_private(&self, what: &str) -> Error {
        if let Some((path, _)) = self.sealed.first() {
            return Error::KeyLocked { path: (*path).into() };
        }
        match &self.stranger {
            Some(found) => Error::WrongKey {
                what: what.to_owned(),
                needed: hex(&self.archive.0),
                found: hex(found),
                path: UNWRAP_KEY.into(),
            },
            None => Error::KeyMissing { path: UNWRAP_KEY.into() },
        }
    }

    /// Is this one of the archive's keys (whether or not it can be opened here)?
    fn knows(&self, id: &KeyId) -> bool {
        let former = self.rotation.as_ref().is_some_and(|rotation| rotation.from() == *id);
        self.archive.0 == *id || former || self.files.contains_key(id)
    }

    /// Opens a key-encryption key with whichever private key is here for it.
    fn open(&self, file: &KeyFile) -> Result<Private, Error> {
        for private in &self.privates {
            if let Some(kek) = file.open(private)? {
                return Ok(kek);
            }
        }
        let Some(private) = self.privates.first() else { return Err(self.no_private(&file.path())) };
        let (needed, found) = (hex(&self.archive.0), hex(&private.id));
        Err(Error::WrongKey { what: file.path(), needed, found, path: UNWRAP_KEY.into() })
    }
}

impl Keys {
    /// Makes what keys are missing; never replaces one, so that a creation cut off in the middle goes on.
    pub(crate) fn create(disk: &dyn Disk) -> Result<(), Error> {
        disk.create_dir(KEYS_DIR).map_err(|e| Error::io(KEYS_DIR, e))?;
        let make = |path: &str| {
            if let Some(key) = files::read_private(disk, path)? {
                return Ok(key);
            }
            let key = random::<32>();
            disk.replace(path, files::private_line(&key).as_bytes(), true).map_err(|e| Error::io(path, e))?;
            Ok::<_, Error>(key)
        };
        let sign = SigningKey::from_bytes(&*make(SIGN_KEY)?);
        let archive = Private::new(&*make(UNWRAP_KEY)?);
        PublicFile::new(&archive.public, sign.verifying_key().as_bytes(), Vec::new()).write(disk)
    }

    /// Reads the public keys, which must be there, what private ones are here, and the months' keys.
    pub(crate) fn open(disk: &dyn Disk) -> Result<Keys, Error> {
        let (public, archive) = PublicFile::read(disk)?;
        let sign_public = month::array(&public.ed25519).and_then(|key| VerifyingKey::from_bytes(&key).ok());
        let sign_public = sign_public.ok_or_else(|| Error::damaged(PUBLIC_KEYS, "not an Ed25519 key"))?;
        let sign = files::read_private(disk, SIGN_KEY)?.map(|key| SigningKey::from_bytes(&key));
        let rotation = Rotation::read(disk)?;
        let ring = Ring {
            // From the moment that a rotation is written down its key counts, whatever the file of public keys says.
            archive: rotation.as_ref().map_or(archive, Rotation::to),
            recipients: public.recipients,
            privates: Vec::new(),
            sealed: Vec::new(),
            lock: None,
            stranger: None,
            files: BTreeMap::new(),
            troubles: Vec::new(),
            rotation,
        };
        let mut keys = Keys {
            sign_id: wrapping::key_id(sign_public.as_bytes()),
            sign_public,
            sign,
            ring: RwLock::new(ring),
            opened: Mutex::default(),
            turn: RwLock::default(),
        };
        keys.read_private(disk)?;
        keys.read_files(disk)?;
        Ok(keys)
    }

    /// Takes in the private keys that this archive has a use for.
    fn read_private(&mut self, disk: &dyn Disk) -> Result<(), Error> {
        let Found { plain, sealed, unreadable } = files::find_private(disk)?;
        let ring = self.ring.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut wanted: Vec<KeyId> = ring.recipients().into_iter().map(|(id, _)| id).collect();
        wanted.extend(ring.rotation.as_ref().map(Rotation::from));
        for (path, private) in plain {
            if wanted.contains(&private.id) {
                ring.privates.push(private);
            } else if path == UNWRAP_KEY {
                ring.stranger = Some(private.id);
            }
        }
        // The archive's own key first: it opens everything that any other does.
        ring.privates.sort_by_key(|private| private.id != ring.archive.0);
        ring.privates.dedup_by_key(|private| private.id);
        ring.sealed = sealed.into_iter().filter(|(_, sealed)| wanted.contains(&sealed.id)).collect();
        let whole = !ring.privates.is_empty() || !ring.sealed.is_empty() || ring.stranger.is_some();
        for (path, error) in unreadable {
            if !whole && [UNWRAP_KEY, SEALED_KEY].contains(&path) {
                return Err(error);
            }
            // A rotation overwrites the old one when the new one is in its place.
            if ring.rotation.is_none() {
                ring.troubles.push((path.into(), error));
            }
        }
        Ok(())
    }

    /// Reads the months' keys and the former archive keys. One that cannot be read keeps its recordings from playing,
    /// not the archive from opening.
    fn read_files(&mut self, disk: &dyn Disk) -> Result<(), Error> {
        for folder in [MONTHS_DIR, FORMER_DIR] {
            for entry in disk.list(folder).map_err(|e| Error::io(folder, e))? {
                let path = format!("{folder}/{}", entry.name);
                // What a crash left of writing one.
                if entry.name.ends_with(".new") {
                    continue;
                }
                let json = read_whole(disk, &path, month::FILE_MAX).map_err(|e| Error::io(&path, e));
                let parse = |json: Option<Vec<u8>>| {
                    KeyFile::parse(&json.unwrap_or_default(), &path, &|message, signature| {
                        self.verifies_bytes(message, signature)
                    })
                };
                let file = json.and_then(parse);
                let ring = self.ring.get_mut().unwrap_or_else(PoisonError::into_inner);
                match file {
                    Ok(file) => drop(ring.files.insert(file.id, file)),
                    // Half destroyed, which the rotation finishes.
                    Err(_) if ring.rotation.as_ref().is_some_and(|rotation| rotation.destroys(&path)) => {}
                    Err(e) => {
                        tracing::error!(file = path, error = %e, "the recordings of this key cannot be opened");
                        ring.troubles.push((path, e));
                    }
                }
            }
        }
        Ok(())
    }

    fn ring(&self) -> RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring_mut(&self) -> RwLockWriteGuard<'_, Ring> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// While this is held, no rotation changes the keys that recordings begin with.
    pub(crate) fn stay(&self) -> RwLockReadGuard<'_, ()> {
        self.turn.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Can recordings be opened on this machine, now?
    pub(crate) fn can_unwrap(&self) -> bool {
        !self.ring().privates.is_empty()
    }

    /// Is a private key here that waits for its passphrase?
    pub(crate) fn is_locked(&self) -> bool {
        let ring = self.ring();
        ring.privates.is_empty() && !ring.sealed.is_empty()
    }

    /// Opens the private keys that are sealed with a passphrase.
    pub(crate) fn unlock(&self, passphrase: &Passphrase) -> Result<(), Error> {
        let sealed = self.ring().sealed.clone();
        let mut opened = Vec::new();
        for (path, sealed) in &sealed {
            opened.push(sealed.open(passphrase, path)?);
        }
        let mut ring = self.ring_mut();
        for (private, lock) in opened {
            if ring.privates.iter().all(|other| other.id != private.id) {
                ring.privates.push(private);
            }
            ring.lock = Some(lock);
        }
        let archive = ring.archive.0;
        ring.privates.sort_by_key(|private| private.id != archive);
        Ok(())
    }

    /// Wraps a data key to the key of its recording's month. A month without one gets it now, on disk before this
    /// returns.
    pub(crate) fn wrap(
        &self,
        disk: &dyn Disk,
        id: RecordingId,
        key: &DataKey,
    ) -> Result<(Wrap, Option<Made>), Error> {
        let ((to, public), made) = self.month_key(disk, &month_of(id.started()))?;
        Ok((key.wrap(id, to, &public), made))
    }

    /// The key of a month, made if there is none.
    fn month_key(&self, disk: &dyn Disk, month: &str) -> Result<(Public, Option<Made>), Error> {
        if let Some(file) = self.ring().month(month) {
            return Ok(((file.id, file.public), None));
        }
        let mut ring = self.ring_mut();
        if let Some(file) = ring.month(month) {
            return Ok(((file.id, file.public), None));
        }
        let kek = Private::random();
        let recipients = ring.recipients();
        let file = KeyFile::seal(Some(month), &kek, recipients.iter().map(|(id, public)| (*id, public)));
        disk.create_dir(MONTHS_DIR).map_err(|e| Error::io(MONTHS_DIR, e))?;
        self.write_file(disk, &file)?;
        ring.files.insert(file.id, file);
        let made = Made { id: kek.id, month: month.to_owned() };
        Ok(((kek.id, kek.public), Some(made)))
    }

    /// Puts a key's file in place, durably.
    fn write_file(&self, disk: &dyn Disk, file: &KeyFile) -> Result<(), Error> {
        let (path, json) = (file.path(), file.to_json(&|message| self.sign_bytes(message))?);
        disk.replace(&path, &json, true).map_err(|e| Error::io(&path, e))
    }

    /// Does this archive know the key (whether or not it can be opened here)?
    pub(crate) fn knows(&self, id: &KeyId) -> bool {
        self.ring().knows(id)
    }

    /// Opens a wrapped data key; `path` is the recording's file, for the error.
    pub(crate) fn unwrap(&self, id: RecordingId, wrap: &Wrap, path: &str) -> Result<DataKey, Error> {
        let kek = self.kek(&wrap.key_id, path)?;
        DataKey::unwrap(id, wrap, &kek).ok_or_else(|| Error::tampered(path, "the wrapped key does not open"))
    }

    /// The private key that opens what is wrapped to `id`.
    fn kek(&self, id: &KeyId, path: &str) -> Result<Private, Error> {
        if let Some(kek) = locked(&self.opened).get(id) {
            return Ok(kek.clone());
        }
        let ring = self.ring();
        if let Some(private) = ring.privates.iter().find(|private| private.id == *id) {
            return Ok(private.clone());
        }
        let Some(file) = ring.files.get(id) else {
            if ring.knows(id) {
                return Err(ring.no_private(path));
            }
            return Err(Error::KeyUnknown { path: path.into(), key: hex(id) });
        };
        let kek = ring.open(file)?;
        let mut opened = locked(&self.opened);
        if opened.len() >= OPENED_MAX {
            opened.pop_first();
        }
        opened.insert(*id, kek.clone());
        Ok(kek)
    }
}

#[cfg(test)]
pub(crate) use self::manage::FOLDERS;
#[cfg(test)]
pub(crate) use self::passphrase::cheap_passphrase_for_test;
#[cfg(test)]
mod tests;
