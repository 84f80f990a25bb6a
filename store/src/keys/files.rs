//! The files of private keys, and `keys/public.json`: reading, writing, destroying.
//!
//! A private key lies in its file as a line of base 64, or sealed with a passphrase ([`super::passphrase`]). It is never
//! replaced in place: its successor waits beside it as `….next` until the old one is overwritten, so that after a crash
//! at any operation one of the two can be read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use decode::Timestamp;
use serde::{Deserialize, Serialize};
use x25519_dalek::PublicKey;
use zeroize::Zeroizing;

use super::KEYS_DIR;
use super::month::{FORMER_DIR, MONTHS_DIR, array};
use super::passphrase::SealedKey;
use super::wrapping::{KeyId, Private, is_weak, key_id};
use crate::Error;
use crate::bytes::hex;
use crate::disk::{Disk, parent, read_whole};

pub(crate) const SIGN_KEY: &str = "keys/sign.key";
pub(crate) const UNWRAP_KEY: &str = "keys/unwrap.key";
/// The same sealed with a passphrase.
pub(crate) const SEALED_KEY: &str = "keys/unwrap.sealed.json";
pub(crate) const PUBLIC_KEYS: &str = "keys/public.json";
/// Where the successor of a private key waits.
pub(crate) const UNWRAP_KEY_NEXT: &str = "keys/unwrap.key.next";
pub(crate) const SEALED_KEY_NEXT: &str = "keys/unwrap.sealed.json.next";
/// All of these.
pub(crate) const PRIVATE: [&str; 4] = [UNWRAP_KEY, UNWRAP_KEY_NEXT, SEALED_KEY, SEALED_KEY_NEXT];
/// The format of `public.json`.
const PUBLIC_FORMAT: u32 = 1;
/// Key files are a few lines; longer ones are none.
pub(crate) const KEY_FILE_MAX: u64 = 64 * 1024;
/// How many may open an archive beside its own key.
pub(crate) const RECIPIENTS_MAX: usize = 32;
/// The longest name of a recipient, in bytes.
const NAME_MAX: usize = 128;
/// Bytes overwritten at a time.
const BLOCK_LEN: usize = 4096;

/// `keys/public.json`, also what `export-public` prints and `add` reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PublicFile {
    pub(crate) format: u32,
    pub(crate) key_id: String,
    pub(crate) x25519: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) ed25519: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) recipients: Vec<Recipient>,
}

/// Somebody beside the archive's own key who can open what is recorded: an escrow officer, a second box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// Identity of the key, in hexadecimal.
    pub key_id: String,
    /// The X25519 public key in base 64.
    pub x25519: String,
    /// Whose it is.
    pub name: String,
    /// When it was added.
    pub added: Timestamp,
}

/// A public key and its name.
pub(crate) type Public = (KeyId, PublicKey);

impl Recipient {
    pub(crate) fn public(&self) -> Option<Public> {
        public_of(&self.key_id, &self.x25519)
    }
}

/// A public key as files say it; none when the id is another one's, or everybody could open what is sealed to it.
fn public_of(id: &str, x25519: &str) -> Option<Public> {
    let bytes: [u8; 32] = array(x25519)?;
    let public = PublicKey::from(bytes);
    (hex(&key_id(&bytes)) == id && !is_weak(&public)).then_some((key_id(&bytes), public))
}

impl PublicFile {
    pub(crate) fn new(archive: &PublicKey, ed25519: &[u8; 32], recipients: Vec<Recipient>) -> PublicFile {
        PublicFile {
            format: PUBLIC_FORMAT,
            key_id: hex(&key_id(archive.as_bytes())),
            x25519: BASE64.encode(archive.as_bytes()),
            ed25519: BASE64.encode(ed25519),
            recipients,
        }
    }

    /// Reads it; `path` is for errors. The X25519 key comes with it.
    pub(crate) fn parse(json: &[u8], path: &str) -> Result<(PublicFile, Public), Error> {
        let file: PublicFile =
            serde_json::from_slice(json).map_err(|e| Error::damaged(path, e.to_string()))?;
        if file.format > PUBLIC_FORMAT {
            return Err(Error::NewerFormat { path: path.into(), found: file.format, known: PUBLIC_FORMAT });
        }
        let public = public_of(&file.key_id, &file.x25519);
        let public =
            public.ok_or_else(|| Error::damaged(path, "not an X25519 key of 32 bytes and its id"))?;
        if file.recipients.iter().any(|recipient| recipient.public().is_none()) {
            return Err(Error::damaged(path, "a recipient's key is not one of 32 bytes and its id"));
        }
        Ok((file, public))
    }

    pub(crate) fn read(disk: &dyn Disk) -> Result<(PublicFile, Public), Error> {
        let json = read_whole(disk, PUBLIC_KEYS, KEY_FILE_MAX).map_err(|e| Error::io(PUBLIC_KEYS, e))?;
        let json = json.ok_or_else(|| Error::KeyMissing { path: PUBLIC_KEYS.into() })?;
        PublicFile::parse(&json, PUBLIC_KEYS)
    }

    pub(crate) fn write(&self, disk: &dyn Disk) -> Result<(), Error> {
        disk.replace(PUBLIC_KEYS, &to_json(self, PUBLIC_KEYS)?, false).map_err(|e| Error::io(PUBLIC_KEYS, e))
    }

    /// This key as a recipient of another archive.
    pub(crate) fn into_recipient(self, name: &str, added: Timestamp) -> Result<Recipient, Error> {
        if name.len() > NAME_MAX || name.chars().any(char::is_control) {
            return Err(Error::Refused { what: format!("a name of more than {NAME_MAX} plain bytes") });
        }
        Ok(Recipient { key_id: self.key_id, x25519: self.x25519, name: name.to_owned(), added })
    }
}

/// The Ed25519 key in the text of a `keys/public.json`, to verify with; none when it is no such text.
#[must_use]
pub fn public_key(json: &str) -> Option<[u8; 32]> {
    let public: PublicFile = serde_json::from_str(json).ok()?;
    array(&public.ed25519)
}

/// JSON for people: indented, a newline at its end.
pub(crate) fn to_json(value: &impl Serialize, path: &str) -> Result<Vec<u8>, Error> {
    let mut json = serde_json::to_vec_pretty(value).map_err(|e| Error::damaged(path, e.to_string()))?;
    json.push(b'\n');
    Ok(json)
}

/// A private key as the line of its file.
pub(crate) fn private_line(key: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(BASE64.encode(key));
    text.push('\n');
    text
}

/// The private key in a file; none when there is no file.
pub(crate) fn read_private(disk: &dyn Disk, path: &str) -> Result<Option<Zeroizing<[u8; 32]>>, Error> {
    let Some(bytes) = read_whole(disk, path, KEY_FILE_MAX).map_err(|e| Error::io(path, e))? else {
        return Ok(None);
    };
    let bytes = Zeroizing::new(bytes);
    let key = std::str::from_utf8(&bytes).ok().and_then(parse_private);
    key.map(Some).ok_or_else(|| Error::KeyUnreadable { path: path.into() })
}

/// A private key from the line of its file.
pub(crate) fn parse_private(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(BASE64.decode(text.trim()).ok()?);
    let mut key = Zeroizing::new([0; 32]);
    (bytes.len() == key.len()).then(|| key.copy_from_slice(&bytes))?;
    Some(key)
}

/// What of private X25519 keys lies in `keys/`, successors too.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) plain: Vec<(&'static str, Private)>,
    pub(crate) sealed: Vec<(&'static str, SealedKey)>,
    /// Files that hold no key, as a crash in the middle of destroying leaves them.
    pub(crate) unreadable: Vec<(&'static str, Error)>,
}

/// Reads all of them.
pub(crate) fn find_private(disk: &dyn Disk) -> Result<Found, Error> {
    let mut found = Found::default();
    for path in [UNWRAP_KEY, UNWRAP_KEY_NEXT] {
        match read_private(disk, path) {
            Ok(None) => {}
            Ok(Some(key)) => found.plain.push((path, Private::new(&key))),
            Err(e @ Error::KeyUnreadable { .. }) => found.unreadable.push((path, e)),
            Err(e) => return Err(e),
        }
    }
    for path in [SEALED_KEY, SEALED_KEY_NEXT] {
        let json = read_whole(disk, path, KEY_FILE_MAX).map_err(|e| Error::io(path, e))?;
        match json.map(|json| SealedKey::parse(&json, path)) {
            None => {}
            Some(Ok(sealed)) => found.sealed.push((path, sealed)),
            Some(Err(e @ Error::NewerFormat { .. })) => return Err(e),
            Some(Err(e)) => found.unreadable.push((path, e)),
        }
    }
    Ok(found)
}

/// Overwrites a file, brings that to disk, removes it, brings that to disk. Well when there is none.
pub(crate) fn shred(disk: &dyn Disk, path: &str) -> Result<(), Error> {
    let io = |e| Error::io(path, e);
    let Some(len) = disk.len(path).map_err(io)? else { return Ok(()) };
    let zeros = [0; BLOCK_LEN];
    let mut at = 0;
    while at < len {
        let part = (len - at).min(BLOCK_LEN as u64);
        disk.write_at(path, at, &zeros[..part as usize]).map_err(io)?;
        at += part;
    }
    disk.sync(path).and_then(|()| disk.remove(path)).and_then(|()| disk.sync_dir(parent(path))).map_err(io)
}

/// Overwrites and removes what a crash in the middle of writing a file of keys has left.
pub(crate) fn shred_leftovers(disk: &dyn Disk) -> Result<(), Error> {
    for folder in [KEYS_DIR, MONTHS_DIR, FORMER_DIR] {
        for entry in disk.list(folder).map_err(|e| Error::io(folder, e))? {
            if !entry.is_dir && entry.name.ends_with(".new") {
                shred(disk, &format!("{folder}/{}", entry.name))?;
            }
        }
    }
    Ok(())
}

/// Puts a private key's file in place of an older one, which is overwritten.
pub(crate) fn put_secret(disk: &dyn Disk, path: &str, next: &str, bytes: &[u8]) -> Result<(), Error> {
    if disk.len(path).map_err(|e| Error::io(path, e))?.is_some() {
        disk.replace(next, bytes, true).map_err(|e| Error::io(next, e))?;
        shred(disk, path)?;
    }
    disk.replace(path, bytes, true).map_err(|e| Error::io(path, e))?;
    shred(disk, next)
}
