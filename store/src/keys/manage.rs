//! Administering keys: who can open the archive, where its private key lies, what is the matter with either.

use decode::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::files::{self, PublicFile, RECIPIENTS_MAX, Recipient, private_line};
use super::wrapping::{KeyId, Private, seal_kek};
use super::{
    FORMER_DIR, KeyFile, Keys, LockKey, MONTHS_DIR, Made, PUBLIC_KEYS, Passphrase, SEALED_KEY,
    SEALED_KEY_NEXT, SIGN_KEY, UNWRAP_KEY, UNWRAP_KEY_NEXT,
};
use crate::archive::Archive;
use crate::bytes::hex;
use crate::disk::Disk;
use crate::shared::wall_clock;
use crate::{Error, ledger};

/// One line of `ledger/keys.jsonl`: what happened to a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyLine {
    at: Timestamp,
    what: String,
    key_id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    month: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
}

impl KeyLine {
    pub(crate) fn new(what: &str, key_id: &str) -> KeyLine {
        let (month, name) = (String::new(), String::new());
        KeyLine { at: wall_clock(), what: what.into(), key_id: key_id.into(), month, name }
    }

    /// A month's key was made.
    pub(crate) fn month(made: &Made) -> KeyLine {
        KeyLine { month: made.month.clone(), ..KeyLine::new("month key made", &hex(&made.id)) }
    }

    fn named(self, name: &str) -> KeyLine {
        KeyLine { name: name.to_owned(), ..self }
    }
}

/// How the private key is kept on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protection {
    /// In a file that only its owner can read.
    File,
    /// Sealed with a passphrase.
    Passphrase,
    /// It is not here: this machine records, and cannot open what it recorded.
    Absent,
}

/// A month's key, or a former archive key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyFileStatus {
    /// `YYYY-MM`; empty for a former archive key.
    pub month: String,
    /// Its identity.
    pub key_id: String,
    /// The identities of the keys that open it.
    pub sealed_to: Vec<String>,
    /// A rotation that is not finished will destroy it.
    pub retired: bool,
    /// Does it open with the private key that is here? None when there is no such key, or it waits for its passphrase.
    pub opens: Option<bool>,
}

/// What there is of keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyStatus {
    /// The archive's own key.
    pub key_id: String,
    /// The key that signs.
    pub sign_key_id: String,
    /// Can this machine sign, and so record?
    pub signs: bool,
    /// How the private key is kept.
    pub private: Protection,
    /// The private keys that are open here: the archive's or a recipient's.
    pub open: Vec<String>,
    /// Who else can open the archive.
    pub recipients: Vec<Recipient>,
    /// The months' keys, oldest month first.
    pub months: Vec<KeyFileStatus>,
    /// Former archive keys, which recordings of format 1 need.
    pub former: Vec<KeyFileStatus>,
    /// A rotation was interrupted: ask for it again.
    pub rotating: bool,
    /// Files of keys that cannot be read, with the reason.
    pub troubles: Vec<(String, String)>,
}

impl Keys {
    pub(crate) fn status(&self, disk: &dyn Disk) -> Result<KeyStatus, Error> {
        let there = |path: &str| Ok::<_, Error>(disk.len(path).map_err(|e| Error::io(path, e))?.is_some());
        let private = if there(UNWRAP_KEY)? || there(UNWRAP_KEY_NEXT)? {
            Protection::File
        } else if there(SEALED_KEY)? || there(SEALED_KEY_NEXT)? {
            Protection::Passphrase
        } else {
            Protection::Absent
        };
        let troubles = self.troubles();
        let ring = self.ring();
        let status = |file: &KeyFile| KeyFileStatus {
            month: file.month.clone().unwrap_or_default(),
            key_id: hex(&file.id),
            sealed_to: file.sealed.iter().map(|(to, _)| hex(to)).collect(),
            retired: ring.rotation.as_ref().is_some_and(|rotation| rotation.retires(&file.id)),
            opens: (!ring.privates.is_empty()).then(|| ring.open(file).is_ok()),
        };
        let mut months: Vec<_> =
            ring.files.values().filter(|file| file.month.is_some()).map(status).collect();
        months.sort_by(|a, b| (&a.month, &a.key_id).cmp(&(&b.month, &b.key_id)));
        Ok(KeyStatus {
            key_id: hex(&ring.archive.0),
            sign_key_id: hex(&self.sign_id),
            signs: self.signing().is_ok(),
            private,
            open: ring.privates.iter().map(|private| hex(&private.id)).collect(),
            recipients: ring.recipients.clone(),
            months,
            former: ring.files.values().filter(|file| file.month.is_none()).map(status).collect(),
            rotating: ring.rotation.is_some(),
            troubles,
        })
    }

    /// Private keys that are here but do not belong to the public ones.
    pub(crate) fn strangers(&self) -> Vec<&'static str> {
        let sign = self.sign.as_ref().is_some_and(|key| key.verifying_key() != self.sign_public);
        let unwrap = self.ring().stranger.is_some();
        [(sign, SIGN_KEY), (unwrap, UNWRAP_KEY)]
            .into_iter()
            .filter(|(wrong, _)| *wrong)
            .map(|(_, path)| path)
            .collect()
    }

    /// Files of keys that cannot be read, with the reason.
    pub(crate) fn troubles(&self) -> Vec<(String, String)> {
        self.ring().troubles.iter().map(|(path, e)| (path.clone(), e.to_string())).collect()
    }

    /// Does this file surely hold a key of this archive, so that another copy of it is not needed?
    pub(crate) fn is_spare(&self, disk: &dyn Disk, path: &str) -> Result<bool, Error> {
        let found = files::find_private(disk)?;
        let archive = self.ring().archive.0;
        let plain = found.plain.iter().any(|(at, private)| *at == path && private.id == archive);
        Ok(plain || found.sealed.iter().any(|(at, sealed)| *at == path && sealed.id == archive))
    }

    /// Is a rotation not finished?
    pub(crate) fn is_rotating(&self) -> bool {
        self.ring().rotation.is_some()
    }

    /// Keys that open months here and are not among those that the months are sealed to.
    pub(crate) fn not_sealed_to(&self) -> Vec<(String, String)> {
        let ring = self.ring();
        let recipients = ring.recipients();
        let retired = |id: &KeyId| ring.rotation.as_ref().is_some_and(|rotation| rotation.retires(id));
        let mut missing = Vec::new();
        for file in ring.files.values().filter(|file| !retired(&file.id)) {
            for (id, _) in &recipients {
                if file.sealed.iter().all(|(to, _)| to != id) {
                    missing.push((file.path(), hex(id)));
                }
            }
        }
        missing
    }

    /// No rotation is under way.
    fn settled(&self) -> Result<(), Error> {
        if self.is_rotating() {
            let what = "a rotation is not finished: `earwitness archive key rotate --yes` goes on with it";
            return Err(Error::KeyRefused { what: what.into() });
        }
        Ok(())
    }

    fn public_file(&self) -> PublicFile {
        let ring = self.ring();
        PublicFile::new(&ring.archive.1, self.sign_public.as_bytes(), ring.recipients.clone())
    }

    /// Seals all months to one key more. Asked for twice it completes what was cut off.
    pub(super) fn add(&self, disk: &dyn Disk, recipient: Recipient) -> Result<(), Error> {
        self.settled()?;
        self.signing()?;
        let refused = |what: &str| Err(Error::KeyRefused { what: what.into() });
        let Some((to, public)) = recipient.public() else { return refused("this is no X25519 key") };
        let mut ring = self.ring_mut();
        if to == ring.archive.0 {
            return refused("this is the archive's own key");
        }
        // Opened before anything is written, so that this is all done or not begun.
        let mut sealed = Vec::new();
        for file in ring.files.values().filter(|file| file.sealed.iter().all(|(other, _)| *other != to)) {
            sealed.push((file.id, ring.open(file)?));
        }
        if ring.recipients.iter().all(|other| other.key_id != recipient.key_id) {
            if ring.recipients.len() >= RECIPIENTS_MAX {
                return refused(&format!("there are {RECIPIENTS_MAX} recipients already: remove one"));
            }
            ring.recipients.push(recipient);
            // First, so that a month that begins after a crash has the new one.
            PublicFile::new(&ring.archive.1, self.sign_public.as_bytes(), ring.recipients.clone())
                .write(disk)?;
        }
        for (id, kek) in sealed {
            let Some(mut file) = ring.files.get(&id).cloned() else { continue };
            let name = [&id[..], &to, file.month.as_deref().unwrap_or_default().as_bytes()].concat();
            file.sealed.push((to, seal_kek(&public, &name, &kek)));
            self.write_file(disk, &file)?;
            ring.files.insert(id, file);
        }
        Ok(())
    }

    /// Takes a recipient's copy out of all months' files.
    pub(super) fn remove(&self, disk: &dyn Disk, to: &KeyId) -> Result<(), Error> {
        self.settled()?;
        self.signing()?;
        let mut ring = self.ring_mut();
        ring.recipients.retain(|recipient| recipient.key_id != hex(to));
        PublicFile::new(&ring.archive.1, self.sign_public.as_bytes(), ring.recipients.clone()).write(disk)?;
        let with: Vec<_> =
            ring.files.values().filter(|file| file.sealed.iter().any(|(id, _)| id == to)).cloned().collect();
        for mut file in with {
            file.sealed.retain(|(id, _)| id != to);
            self.write_file(disk, &file)?;
            ring.files.insert(file.id, file);
        }
        Ok(())
    }

    /// Seals the private key with a passphrase, or (without one) puts it into a file.
    fn protect(&self, disk: &dyn Disk, passphrase: Option<&Passphrase>) -> Result<KeyId, Error> {
        self.settled()?;
        let mut ring = self.ring_mut();
        let Some(private) = ring.privates.first().cloned() else {
            return Err(ring.no_private("the archive"));
        };
        match passphrase {
            Some(passphrase) => {
                let lock = LockKey::new(passphrase)?;
                let sealed = lock.seal(&private);
                files::put_secret(disk, SEALED_KEY, SEALED_KEY_NEXT, &sealed.to_json(SEALED_KEY)?)?;
                files::shred(disk, UNWRAP_KEY)?;
                // What a change that was cut off may have left.
                files::shred(disk, UNWRAP_KEY_NEXT)?;
                ring.sealed = vec![(SEALED_KEY, sealed)];
                ring.lock = Some(lock);
            }
            None => {
                let line = private_line(private.secret.as_bytes());
                files::put_secret(disk, UNWRAP_KEY, UNWRAP_KEY_NEXT, line.as_bytes())?;
                files::shred(disk, SEALED_KEY)?;
                ring.sealed.clear();
                ring.lock = None;
            }
        }
        files::shred_leftovers(disk)?;
        ring.troubles.retain(|(path, _)| !files::PRIVATE.contains(&path.as_str()));
        Ok(private.id)
    }

    /// The private key that is here, for a recovery sheet.
    pub(crate) fn private(&self) -> Result<Private, Error> {
        let ring = self.ring();
        ring.privates.first().cloned().ok_or_else(|| ring.no_private("the archive"))
    }

    #[cfg(test)]
    pub(crate) fn private_for_test(&self) -> [u8; 32] {
        self.private().expect("here").secret.to_bytes()
    }
}

impl Archive {
    /// Is the private key here, but sealed with a passphrase that has not been given?
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.shared.keys.is_locked()
    }

    /// Opens the private key with its passphrase. Takes a moment, and 64 MiB of memory, on purpose.
    ///
    /// # Errors
    /// [`Error::WrongPassphrase`].
    pub fn unlock(&self, passphrase: &Passphrase) -> Result<(), Error> {
        self.shared.keys.unlock(passphrase).map_err(|e| e.under(&self.shared.root))
    }

    /// What there is of keys.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn key_status(&self) -> Result<KeyStatus, Error> {
        self.shared.keys.status(&*self.shared.disk).map_err(|e| e.under(&self.shared.root))
    }

    /// The public keys, as another archive's [`Archive::add_recipient`] reads them.
    ///
    /// # Errors
    /// None in practice: JSON of four fields.
    pub fn public_keys(&self) -> Result<String, Error> {
        let public = PublicFile { recipients: Vec::new(), ..self.shared.keys.public_file() };
        files::to_json(&public, PUBLIC_KEYS).map(|json| String::from_utf8_lossy(&json).into_owned())
    }

    /// Lets one more key open everything, past and future: `json` is what `export-public` printed, from `path`.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is no public key; [`Error::KeyMissing`] and the like when the private key is not here to open the
    /// months that there are; [`Error::KeyRefused`] while a rotation is not finished.
    pub fn add_recipient(&self, json: &[u8], path: &str, name: &str) -> Result<Recipient, Error> {
        let (public, _) = PublicFile::parse(json, path)?;
        let recipient = public.into_recipient(name, wall_clock())?;
        let add = self.shared.keys.add(&*self.shared.disk, recipient.clone());
        add.map_err(|e| e.under(&self.shared.root))?;
        self.append_key_line(&KeyLine::new("recipient added", &recipient.key_id).named(name))?;
        self.sync()?;
        Ok(recipient)
    }

    /// The recipient whose id begins with `prefix`.
    ///
    /// # Errors
    /// [`Error::KeyRefused`] when there is none, or several; and for the archive's own key.
    pub fn recipient(&self, prefix: &str) -> Result<Recipient, Error> {
        let prefix = prefix.to_ascii_lowercase();
        let ring = self.shared.keys.ring();
        if !prefix.is_empty() && hex(&ring.archive.0).starts_with(&prefix) {
            let what = "this is the archive's own key, without which nothing opens: `earwitness archive key rotate` replaces it";
            return Err(Error::KeyRefused { what: what.into() });
        }
        let found: Vec<_> =
            ring.recipients.iter().filter(|recipient| recipient.key_id.starts_with(&prefix)).collect();
        match found.as_slice() {
            [] => {
                let what = format!(
                    "no recipient's key begins with {prefix}: `earwitness archive key status` lists them"
                );
                Err(Error::KeyRefused { what })
            }
            [recipient] => Ok((*recipient).clone()),
            _ => {
                let what = format!("{} recipients' keys begin with {prefix}: write more of it", found.len());
                Err(Error::KeyRefused { what })
            }
        }
    }

    /// Closes the archive to a recipient. He may have kept copies of the months' keys that he could open: a rotation makes
    /// them worthless for the future.
    ///
    /// # Errors
    /// As [`Archive::recipient`]; [`Error::KeyMissing`] without the signing key; [`Error::KeyRefused`] while a rotation is not finished.
    pub fn remove_recipient(&self, key_id: &str) -> Result<Recipient, Error> {
        let recipient = self.recipient(key_id)?;
        if let Some((id, _)) = recipient.public() {
            self.shared.keys.remove(&*self.shared.disk, &id).map_err(|e| e.under(&self.shared.root))?;
        }
        self.append_key_line(&KeyLine::new("recipient removed", &recipient.key_id).named(&recipient.name))?;
        self.sync()?;
        Ok(recipient)
    }

    /// Seals the private key with a passphrase, in place of the file or the passphrase before; without one, puts it into a
    /// file again.
    ///
    /// # Errors
    /// [`Error::KeyMissing`] or [`Error::KeyLocked`] when the private key is not here or not open.
    pub fn set_passphrase(&self, passphrase: Option<&Passphrase>) -> Result<(), Error> {
        let id = self.shared.keys.protect(&*self.shared.disk, passphrase);
        let id = id.map_err(|e| e.under(&self.shared.root))?;
        let what = if passphrase.is_some() { "passphrase set" } else { "passphrase removed" };
        self.append_key_line(&KeyLine::new(what, &hex(&id)))?;
        self.sync()
    }

    /// Enters what happened to a key into the ledger.
    pub(crate) fn append_key_line(&self, line: &KeyLine) -> Result<(), Error> {
        self.append(ledger::KEYS.to_owned(), ledger::line(line)?, None)
    }

    /// An archive whose ledger does not speak of keys yet: new, or of a version that kept no such list.
    pub(crate) fn note_first_key(&self) -> Result<(), Error> {
        let there = self.shared.disk.len(ledger::KEYS).map_err(|e| Error::io(ledger::KEYS, e))?;
        if there.is_some() {
            return Ok(());
        }
        self.append_key_line(&KeyLine::new("archive key", &hex(&self.shared.keys.ring().archive.0)))
    }
}

/// A new key pair, for somebody who is to open an archive: the private key as the line that `keys/unwrap.key` holds, and
/// the public one as [`Archive::add_recipient`] reads it.
///
/// # Errors
/// None in practice.
pub fn new_key_pair() -> Result<(Zeroizing<String>, String), Error> {
    let private = Private::random();
    let public =
        PublicFile { ed25519: String::new(), ..PublicFile::new(&private.public, &[0; 32], Vec::new()) };
    let json = files::to_json(&public, PUBLIC_KEYS)?;
    Ok((private_line(private.secret.as_bytes()), String::from_utf8_lossy(&json).into_owned()))
}

/// Folders of files of keys.
pub(crate) const FOLDERS: [&str; 2] = [MONTHS_DIR, FORMER_DIR];
