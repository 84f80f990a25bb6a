//! The private key sealed with a passphrase: argon2id (RFC 9106), then AES-256-GCM.
//!
//! The cost stands in the file, so that it can be raised without making old files unreadable; what a file may ask for is
//! bounded. Where a passphrase comes from is the program's business.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::month::{array, parse_id};
use super::wrapping::{KeyId, Private, WRAPPED_LEN, random};
use crate::Error;
use crate::bytes::hex;

/// The format of the file.
const FORMAT: u32 = 1;
const KDF: &str = "argon2id";
/// Memory of argon2id in KiB, passes over it, lanes: RFC 9106's second recommendation, one lane.
const COST: Cost = Cost { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
/// The most that a file may ask for: 1 GiB, 32 passes, 8 lanes.
const COST_MAX: Cost = Cost { memory_kib: 1024 * 1024, passes: 32, lanes: 8 };
/// First words of what is authenticated with the key.
const AAD_PREFIX: &[u8] = b"earwitness private key v1\0";
/// The longest passphrase, in bytes.
pub(crate) const PASSPHRASE_MAX: usize = 1024;

/// What a person types to open the private key. Blank in `Debug`, wiped when dropped.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase")
    }
}

impl Passphrase {
    /// Takes it as typed or as it stands in a file: line ends at its end are no part of it.
    ///
    /// # Errors
    /// [`Error::Refused`] for an empty one or one of more than 1,024 bytes.
    pub fn new(text: Zeroizing<String>) -> Result<Passphrase, Error> {
        let kept = text.trim_end_matches(['\r', '\n']);
        if kept.is_empty() || kept.len() > PASSPHRASE_MAX {
            return Err(Error::Refused {
                what: format!("a passphrase of 0 or more than {PASSPHRASE_MAX} bytes"),
            });
        }
        Ok(Passphrase(Zeroizing::new(kept.to_owned())))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// A key made of a passphrase, and how; kept while the archive is open, so that a rotation need not ask again.
#[derive(Clone)]
pub(crate) struct LockKey {
    key: Zeroizing<[u8; 32]>,
    salt: [u8; 16],
    cost: Cost,
}

impl std::fmt::Debug for LockKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LockKey")
    }
}

impl LockKey {
    /// A new one with a new salt.
    pub(crate) fn new(passphrase: &Passphrase) -> Result<LockKey, Error> {
        LockKey::derive(passphrase, *random::<16>(), COST)
    }

    fn derive(passphrase: &Passphrase, salt: [u8; 16], cost: Cost) -> Result<LockKey, Error> {
        let fail = |e: argon2::Error| Error::Refused { what: format!("argon2id: {e}") };
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(fail)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut key = Zeroizing::new([0; 32]);
        argon2.hash_password_into(passphrase.0.as_bytes(), &salt, &mut key[..]).map_err(fail)?;
        Ok(LockKey { key, salt, cost })
    }

    /// Seals a private key.
    pub(crate) fn seal(&self, private: &Private) -> SealedKey {
        let nonce = *random::<12>();
        let mut sealed =
            SealedKey { id: private.id, cost: self.cost, salt: self.salt, nonce, sealed: [0; WRAPPED_LEN] };
        let aad = sealed.aad();
        let (body, tag) = sealed.sealed.split_at_mut(32);
        body.copy_from_slice(private.secret.as_bytes());
        let made = Aes256Gcm::new(&(*self.key).into())
            .encrypt_inout_detached(&Nonce::from(nonce), &aad, body.into())
            .expect("32 bytes are within AES-GCM's limits");
        tag.copy_from_slice(&made);
        sealed
    }
}

/// A private key as `keys/unwrap.sealed.json` carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SealedKey {
    /// The key, by its public part.
    pub(crate) id: KeyId,
    cost: Cost,
    salt: [u8; 16],
    nonce: [u8; 12],
    sealed: [u8; WRAPPED_LEN],
}

#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    key_id: String,
    kdf: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
    nonce: String,
    sealed: String,
}

impl SealedKey {
    fn aad(&self) -> Vec<u8> {
        let mut aad = [AAD_PREFIX, &self.id, &self.salt].concat();
        for number in [self.cost.memory_kib, self.cost.passes, self.cost.lanes] {
            aad.extend_from_slice(&number.to_le_bytes());
        }
        aad
    }

    /// Opens it; [`Error::WrongPassphrase`] otherwise. Takes a while on purpose.
    pub(crate) fn open(&self, passphrase: &Passphrase, path: &str) -> Result<(Private, LockKey), Error> {
        let lock = LockKey::derive(passphrase, self.salt, self.cost)?;
        let mut secret = Zeroizing::new([0; 32]);
        let (body, tag) = self.sealed.split_at(32);
        secret.copy_from_slice(body);
        Aes256Gcm::new(&(*lock.key).into())
            .decrypt_inout_detached(
                &Nonce::from(self.nonce),
                &self.aad(),
                secret.as_mut_slice().into(),
                &Tag::try_from(tag).expect("48 bytes less 32 are a tag of 16"),
            )
            .map_err(|_| Error::WrongPassphrase { path: path.into() })?;
        let private = Private::new(&secret);
        if private.id != self.id {
            return Err(Error::tampered(path, "the key in it is not the one that it names"));
        }
        Ok((private, lock))
    }

    pub(crate) fn to_json(&self, path: &str) -> Result<Vec<u8>, Error> {
        let written = Written {
            format: FORMAT,
            key_id: hex(&self.id),
            kdf: KDF.into(),
            memory_kib: self.cost.memory_kib,
            passes: self.cost.passes,
            lanes: self.cost.lanes,
            salt: BASE64.encode(self.salt),
            nonce: BASE64.encode(self.nonce),
            sealed: BASE64.encode(self.sealed),
        };
        super::files::to_json(&written, path)
    }

    pub(crate) fn parse(json: &[u8], path: &str) -> Result<SealedKey, Error> {
        let written: Written =
            serde_json::from_slice(json).map_err(|e| Error::damaged(path, e.to_string()))?;
        if written.format > FORMAT {
            return Err(Error::NewerFormat { path: path.into(), found: written.format, known: FORMAT });
        }
        let cost = Cost { memory_kib: written.memory_kib, passes: written.passes, lanes: written.lanes };
        let bounded = cost.memory_kib <= COST_MAX.memory_kib
            && cost.passes <= COST_MAX.passes
            && cost.lanes <= COST_MAX.lanes;
        let read = || {
            let (salt, nonce, sealed) =
                (array(&written.salt)?, array(&written.nonce)?, array(&written.sealed)?);
            let known = written.format == FORMAT && written.kdf == KDF && bounded;
            known.then_some(SealedKey { id: parse_id(&written.key_id)?, cost, salt, nonce, sealed })
        };
        read().ok_or_else(|| Error::damaged(path, "its fields are not those of a sealed key"))
    }
}

/// Seals the private key of an archive that is closed, at a cost that a test can pay hundreds of times.
#[cfg(test)]
pub(crate) fn cheap_passphrase_for_test(disk: &dyn crate::disk::Disk, passphrase: &Passphrase) {
    use super::files::{SEALED_KEY, UNWRAP_KEY, read_private, shred};
    let private = Private::new(&read_private(disk, UNWRAP_KEY).expect("read").expect("there"));
    let lock = LockKey::derive(passphrase, [7; 16], Cost { memory_kib: 64, passes: 1, lanes: 1 });
    let json = lock.expect("derived").seal(&private).to_json(SEALED_KEY).expect("made");
    disk.replace(SEALED_KEY, &json, true).expect("put");
    shred(disk, UNWRAP_KEY).expect("gone");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.to_owned())).expect("a passphrase")
    }

    #[test]
    fn a_key_opens_with_its_passphrase_and_with_no_other() {
        let (private, right) = (Private::random(), passphrase("correct horse\n"));
        let sealed = LockKey::new(&right).expect("made").seal(&private);
        let read = SealedKey::parse(&sealed.to_json("f").expect("made"), "f").expect("read");
        assert_eq!(read, sealed);
        let (opened, lock) = read.open(&passphrase("correct horse"), "f").expect("opens");
        assert_eq!(opened.secret.as_bytes(), private.secret.as_bytes());
        assert!(matches!(read.open(&passphrase("Correct horse"), "f"), Err(Error::WrongPassphrase { .. })));
        // The next key is sealed with the same passphrase and never under the same nonce.
        let again = lock.seal(&private);
        assert_ne!(again.nonce, sealed.nonce);
        assert!(again.open(&right, "f").is_ok());
    }

    #[test]
    fn any_changed_field_of_a_sealed_key_is_refused() {
        let right = passphrase("p");
        // A cheap one, because each change costs a derivation.
        let cheap = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        let lock = LockKey::derive(&right, [1; 16], cheap).expect("derived");
        let sealed = lock.seal(&Private::random());
        let json = sealed.to_json("f").expect("made");
        assert!(SealedKey::parse(&json, "f").expect("read").open(&right, "f").is_ok());
        for at in 0..json.len() {
            let mut changed = json.clone();
            changed[at] ^= 1;
            let opened = SealedKey::parse(&changed, "f").and_then(|sealed| sealed.open(&right, "f"));
            assert!(opened.is_err(), "byte {at}: {}", String::from_utf8_lossy(&changed));
        }
    }

    #[test]
    fn a_file_cannot_ask_for_more_than_a_machine_has() {
        let lock = LockKey::derive(&passphrase("p"), [1; 16], Cost { memory_kib: 64, passes: 1, lanes: 1 });
        let json = lock.expect("derived").seal(&Private::random()).to_json("f").expect("made");
        let text = String::from_utf8(json).expect("text");
        for (field, value) in [("memory_kib", 64), ("passes", 1), ("lanes", 1)] {
            let greedy = text.replace(&format!("\"{field}\": {value}"), &format!("\"{field}\": 4000000000"));
            assert_ne!(greedy, text);
            assert!(
                matches!(SealedKey::parse(greedy.as_bytes(), "f"), Err(Error::Damaged { .. })),
                "{field}"
            );
        }
    }

    #[test]
    fn empty_and_endless_passphrases_are_refused() {
        for text in [String::new(), "\n".into(), "x".repeat(PASSPHRASE_MAX + 1)] {
            assert!(Passphrase::new(Zeroizing::new(text)).is_err());
        }
        assert_eq!(format!("{:?}", passphrase("secret")), "Passphrase");
    }
}
