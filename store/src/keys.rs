//! The archive's keys: which there are, where they lie, and how a recording's data key is wrapped to them.
//!
//! Two pairs: X25519 (RFC 7748) opens data keys, Ed25519 (RFC 8032) signs recordings. A box that only records may lack
//! the private X25519 key; then it cannot read what it wrote. A data key is wrapped by ephemeral-static X25519, HKDF
//! with SHA-256 (RFC 5869) and AES-256-GCM; the layout is in `docs/format.md`. Chunks are sealed in [`crate::chunk`].

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::bytes::hex;
use crate::disk::{Disk, read_whole};
use crate::log::checkpoint::Note;
use crate::{Error, RecordingId};

pub(crate) const KEYS_DIR: &str = "keys";
pub(crate) const SIGN_KEY: &str = "keys/sign.key";
pub(crate) const UNWRAP_KEY: &str = "keys/unwrap.key";
pub(crate) const PUBLIC_KEYS: &str = "keys/public.json";
/// The format of `public.json`.
const PUBLIC_FORMAT: u32 = 1;
/// Key files are a line of base 64; longer ones are no keys.
const KEY_FILE_MAX: u64 = 4096;
/// Bytes of a wrapped data key: the key and the GCM tag.
pub(crate) const WRAPPED_LEN: usize = 48;
/// What an Ed25519 signature of ours says before the digest, so that it can never be taken for another statement.
const SIGNED_PREFIX: &[u8] = b"earwitness recording v1\0";

/// The identity of a key: the first eight bytes of SHA-256 of its public part.
pub(crate) type KeyId = [u8; 8];

fn key_id(public: &[u8; 32]) -> KeyId {
    let digest: [u8; 32] = Sha256::digest(public).into();
    let mut id = KeyId::default();
    id.copy_from_slice(&digest[..8]);
    id
}

pub(crate) fn random<const N: usize>() -> Zeroizing<[u8; N]> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut bytes[..]).expect("the operating system gives random bytes");
    bytes
}

/// What an archive holds of its keys. Its `Debug` names the public parts only.
pub(crate) struct Keys {
    wrap_public: PublicKey,
    wrap_id: KeyId,
    sign_public: VerifyingKey,
    sign_id: KeyId,
    sign: Option<SigningKey>,
    unwrap: Option<StaticSecret>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("wrap", &hex(&self.wrap_id)).field("sign", &hex(&self.sign_id)).finish()
    }
}

/// `keys/public.json`.
#[derive(Serialize, Deserialize)]
struct PublicFile {
    format: u32,
    key_id: String,
    x25519: String,
    ed25519: String,
}

fn decode32(text: &str) -> Option<[u8; 32]> {
    let mut bytes = BASE64.decode(text.trim()).ok()?;
    let array = bytes.as_slice().try_into().ok();
    bytes.zeroize();
    array
}

/// The Ed25519 key in the text of a `keys/public.json`, to verify with; none when it is no such text.
#[must_use]
pub fn public_key(json: &str) -> Option<[u8; 32]> {
    let public: PublicFile = serde_json::from_str(json).ok()?;
    decode32(&public.ed25519)
}

impl Keys {
    /// Makes what keys are missing; never replaces one, so that a creation cut off in the middle goes on.
    pub(crate) fn create(disk: &dyn Disk) -> Result<(), Error> {
        disk.create_dir(KEYS_DIR).map_err(|e| Error::io(KEYS_DIR, e))?;
        let make = |path: &str| -> Result<Zeroizing<[u8; 32]>, Error> {
            if let Some(key) = read_private(disk, path)? {
                return Ok(key);
            }
            let key = random::<32>();
            let text = Zeroizing::new(format!("{}\n", BASE64.encode(&key[..])));
            disk.replace(path, text.as_bytes(), true).map_err(|e| Error::io(path, e))?;
            Ok(key)
        };
        let sign = SigningKey::from_bytes(&*make(SIGN_KEY)?);
        let wrap_public = PublicKey::from(&StaticSecret::from(*make(UNWRAP_KEY)?));
        let public = PublicFile {
            format: PUBLIC_FORMAT,
            key_id: hex(&key_id(wrap_public.as_bytes())),
            x25519: BASE64.encode(wrap_public.as_bytes()),
            ed25519: BASE64.encode(sign.verifying_key().as_bytes()),
        };
        let mut json =
            serde_json::to_vec_pretty(&public).map_err(|e| Error::damaged(PUBLIC_KEYS, e.to_string()))?;
        json.push(b'\n');
        disk.replace(PUBLIC_KEYS, &json, false).map_err(|e| Error::io(PUBLIC_KEYS, e))
    }

    /// Reads the public keys, which must be there, and what private ones are here.
    pub(crate) fn open(disk: &dyn Disk) -> Result<Keys, Error> {
        let json = read_whole(disk, PUBLIC_KEYS, KEY_FILE_MAX).map_err(|e| Error::io(PUBLIC_KEYS, e))?;
        let json = json.ok_or_else(|| Error::KeyMissing { path: PUBLIC_KEYS.into() })?;
        let public: PublicFile =
            serde_json::from_slice(&json).map_err(|e| Error::damaged(PUBLIC_KEYS, e.to_string()))?;
        if public.format > PUBLIC_FORMAT {
            let (found, known) = (public.format, PUBLIC_FORMAT);
            return Err(Error::NewerFormat { path: PUBLIC_KEYS.into(), found, known });
        }
        let keys = decode32(&public.x25519).zip(decode32(&public.ed25519));
        let (wrap, sign) =
            keys.ok_or_else(|| Error::damaged(PUBLIC_KEYS, "not two keys of 32 bytes in base 64"))?;
        let sign_public =
            VerifyingKey::from_bytes(&sign).map_err(|_| Error::damaged(PUBLIC_KEYS, "not an Ed25519 key"))?;
        Ok(Keys {
            wrap_public: PublicKey::from(wrap),
            wrap_id: key_id(&wrap),
            sign_public,
            sign_id: key_id(&sign),
            sign: read_private(disk, SIGN_KEY)?.map(|key| SigningKey::from_bytes(&key)),
            unwrap: read_private(disk, UNWRAP_KEY)?.map(|key| StaticSecret::from(*key)),
        })
    }

    /// Can recordings be opened on this machine?
    pub(crate) fn can_unwrap(&self) -> bool {
        self.unwrap.is_some()
    }

    /// What the key that signs is called.
    pub(crate) fn sign_id(&self) -> KeyId {
        self.sign_id
    }

    /// Private keys that are here but do not belong to the public ones.
    pub(crate) fn strangers(&self) -> Vec<&'static str> {
        let sign = self.sign.as_ref().is_some_and(|key| key.verifying_key() != self.sign_public);
        let unwrap = self.unwrap.as_ref().is_some_and(|key| PublicKey::from(key) != self.wrap_public);
        [(sign, SIGN_KEY), (unwrap, UNWRAP_KEY)]
            .into_iter()
            .filter(|(wrong, _)| *wrong)
            .map(|(_, p)| p)
            .collect()
    }

    /// The key that signs. A missing or a foreign one is an error: what it signed nobody could verify.
    pub(crate) fn signing(&self) -> Result<&SigningKey, Error> {
        let sign = self.sign.as_ref().ok_or_else(|| Error::KeyMissing { path: SIGN_KEY.into() })?;
        if sign.verifying_key() == self.sign_public {
            return Ok(sign);
        }
        Err(Error::WrongKey {
            what: PUBLIC_KEYS.into(),
            needed: hex(&self.sign_id),
            found: hex(&key_id(sign.verifying_key().as_bytes())),
            path: SIGN_KEY.into(),
        })
    }

    /// Signs the digest of a recording.
    pub(crate) fn sign(&self, digest: &[u8; 32]) -> Result<[u8; 64], Error> {
        Ok(self.signing()?.sign(&[SIGNED_PREFIX, digest].concat()).to_bytes())
    }

    /// Is this the signature of this archive's key over the digest?
    pub(crate) fn verifies(&self, digest: &[u8; 32], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        self.sign_public.verify_strict(&[SIGNED_PREFIX, digest].concat(), &signature).is_ok()
    }

    /// Signs the receipt of a deletion.
    pub(crate) fn sign_receipt(&self, text: &[u8]) -> Result<String, Error> {
        Ok(hex(&self.signing()?.sign(text).to_bytes()))
    }

    /// Is this the receipt of a deletion that this archive signed?
    pub(crate) fn verifies_receipt(&self, text: &[u8], receipt: &str) -> bool {
        let signature = crate::bytes::from_hex(receipt);
        signature.is_some_and(|signature| {
            self.sign_public.verify_strict(text, &Signature::from_bytes(&signature)).is_ok()
        })
    }

    /// Signs the text of a checkpoint. Its first line says what it is, so that it cannot be taken for another statement.
    pub(crate) fn sign_note(&self, text: &[u8]) -> Result<[u8; 64], Error> {
        Ok(self.signing()?.sign(text).to_bytes())
    }

    /// Has this archive's key signed the checkpoint?
    pub(crate) fn has_signed(&self, note: &Note<'_>) -> bool {
        note.is_signed(self.sign_public.as_bytes(), |text, signature| {
            self.sign_public.verify_strict(text, &Signature::from_bytes(signature)).is_ok()
        })
    }

    /// The public key that signatures are verified with.
    pub(crate) fn sign_public(&self) -> &[u8; 32] {
        self.sign_public.as_bytes()
    }

    /// Wraps a data key to the archive's public key.
    pub(crate) fn wrap(&self, id: RecordingId, key: &DataKey) -> Wrap {
        let ephemeral = StaticSecret::from(*random::<32>());
        let public = PublicKey::from(&ephemeral);
        let cipher = wrapping_cipher(&ephemeral, &self.wrap_public, &public, &self.wrap_public);
        let mut wrapped = [0; WRAPPED_LEN];
        let (body, tag) = wrapped.split_at_mut(32);
        body.copy_from_slice(&key.0);
        let sealed = cipher
            .encrypt_inout_detached(&Nonce::default(), &wrap_aad(id, &self.wrap_id), body.into())
            .expect("32 bytes are within AES-GCM's limits");
        tag.copy_from_slice(&sealed);
        Wrap { key_id: self.wrap_id, ephemeral: public.to_bytes(), wrapped }
    }

    /// Opens a wrapped data key; `path` is the recording's file, for the error.
    pub(crate) fn unwrap(&self, id: RecordingId, wrap: &Wrap, path: &str) -> Result<DataKey, Error> {
        let secret = self.unwrap.as_ref().ok_or_else(|| Error::KeyMissing { path: UNWRAP_KEY.into() })?;
        let public = PublicKey::from(secret);
        let found = key_id(public.as_bytes());
        if found != wrap.key_id {
            let (needed, found) = (hex(&wrap.key_id), hex(&found));
            return Err(Error::WrongKey { what: path.into(), needed, found, path: UNWRAP_KEY.into() });
        }
        let theirs = PublicKey::from(wrap.ephemeral);
        let cipher = wrapping_cipher(secret, &theirs, &theirs, &public);
        let mut key = Zeroizing::new([0; 32]);
        let (body, tag) = wrap.wrapped.split_at(32);
        key.copy_from_slice(body);
        let tag = Tag::try_from(tag).expect("48 bytes less 32 are a tag of 16");
        cipher
            .decrypt_inout_detached(
                &Nonce::default(),
                &wrap_aad(id, &wrap.key_id),
                key.as_mut_slice().into(),
                &tag,
            )
            .map_err(|_| Error::tampered(path, "the wrapped key does not open"))?;
        Ok(DataKey(*key))
    }
}

fn read_private(disk: &dyn Disk, path: &str) -> Result<Option<Zeroizing<[u8; 32]>>, Error> {
    let Some(bytes) = read_whole(disk, path, KEY_FILE_MAX).map_err(|e| Error::io(path, e))? else {
        return Ok(None);
    };
    let bytes = Zeroizing::new(bytes);
    let key = std::str::from_utf8(&bytes).ok().and_then(decode32);
    key.map(|key| Some(Zeroizing::new(key))).ok_or_else(|| Error::KeyUnreadable { path: path.into() })
}

/// The cipher under which one data key is wrapped: used once, so its nonce may be zero.
fn wrapping_cipher(
    ours: &StaticSecret,
    theirs: &PublicKey,
    ephemeral: &PublicKey,
    to: &PublicKey,
) -> Aes256Gcm {
    let shared = ours.diffie_hellman(theirs);
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, shared.as_bytes())
        .expand_multi_info(&[b"earwitness wrap v1", ephemeral.as_bytes(), to.as_bytes()], &mut key[..])
        .expect("32 bytes are within HKDF's limit of 255 blocks");
    Aes256Gcm::new(&(*key).into())
}

fn wrap_aad(id: RecordingId, key_id: &KeyId) -> [u8; 24] {
    let mut aad = [0; 24];
    aad[..16].copy_from_slice(id.as_bytes());
    aad[16..].copy_from_slice(key_id);
    aad
}

/// A data key as the recording's header carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrap {
    /// The archive key that opens it.
    pub(crate) key_id: KeyId,
    /// The ephemeral X25519 public key.
    pub(crate) ephemeral: [u8; 32],
    /// The data key under AES-256-GCM, tag last.
    pub(crate) wrapped: [u8; WRAPPED_LEN],
}

/// The random key of one recording. Blank in `Debug`, wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct DataKey([u8; 32]);

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey")
    }
}

impl DataKey {
    pub(crate) fn random() -> DataKey {
        DataKey(*random::<32>())
    }

    fn derive(&self, id: RecordingId, info: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut out = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(id.as_bytes()), &self.0)
            .expand(info, &mut out[..])
            .expect("32 bytes are within HKDF's limit of 255 blocks");
        out
    }

    /// The cipher of this recording's chunks.
    pub(crate) fn chunk_cipher(&self, id: RecordingId) -> Aes256Gcm {
        Aes256Gcm::new(&(*self.derive(id, b"earwitness chunk key v1")).into())
    }

    /// What the header commits to, so that no second key can be found that opens the file to something else.
    pub(crate) fn commitment(&self, id: RecordingId) -> [u8; 32] {
        *self.derive(id, b"earwitness key commitment v1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;
    use decode::Timestamp;

    fn keys() -> (tempfile::TempDir, Keys) {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = RealDisk::new(dir.path()).expect("a disk");
        Keys::create(&disk).expect("made");
        let keys = Keys::open(&disk).expect("read");
        (dir, keys)
    }

    #[test]
    fn a_wrapped_key_opens_for_its_recording_and_for_no_other() {
        let (_dir, keys) = keys();
        let id = RecordingId::new(Timestamp::from_millis(1));
        let key = DataKey::random();
        let wrap = keys.wrap(id, &key);
        assert_eq!(keys.unwrap(id, &wrap, "f").expect("opens").0, key.0);
        let other = RecordingId::new(Timestamp::from_millis(1));
        assert!(matches!(keys.unwrap(other, &wrap, "f"), Err(Error::Tampered { .. })));
    }

    #[test]
    fn a_key_of_another_archive_is_named_wrong_and_a_missing_one_missing() {
        let ((_a, ours), (_b, mut theirs)) = (keys(), keys());
        let id = RecordingId::new(Timestamp::from_millis(1));
        let wrap = ours.wrap(id, &DataKey::random());
        assert!(matches!(theirs.unwrap(id, &wrap, "f"), Err(Error::WrongKey { .. })));
        theirs.unwrap = None;
        assert!(matches!(theirs.unwrap(id, &wrap, "f"), Err(Error::KeyMissing { .. })));
    }

    #[test]
    fn any_flipped_bit_of_a_wrapped_key_is_refused() {
        let (_dir, keys) = keys();
        let id = RecordingId::new(Timestamp::from_millis(1));
        let wrap = keys.wrap(id, &DataKey::random());
        for bit in 0..WRAPPED_LEN * 8 {
            let mut changed = wrap.clone();
            changed.wrapped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(keys.unwrap(id, &changed, "f"), Err(Error::Tampered { .. })), "bit {bit}");
        }
    }

    #[test]
    fn creating_again_keeps_the_keys() {
        let (dir, keys) = keys();
        let disk = RealDisk::new(dir.path()).expect("a disk");
        Keys::create(&disk).expect("made again");
        let again = Keys::open(&disk).expect("read");
        assert_eq!((keys.wrap_id, keys.sign_id), (again.wrap_id, again.sign_id));
        for path in [SIGN_KEY, UNWRAP_KEY] {
            assert!(disk.is_private(path).expect("read"), "{path}");
        }
        assert_eq!(again.strangers(), Vec::<&str>::new());
    }

    #[test]
    fn a_signature_holds_for_its_digest_only() {
        let (_dir, keys) = keys();
        let signature = keys.sign(&[7; 32]).expect("signs");
        assert!(keys.verifies(&[7; 32], &signature));
        assert!(!keys.verifies(&[8; 32], &signature));
    }

    #[test]
    fn debug_texts_hold_no_key() {
        let (_dir, keys) = keys();
        assert_eq!(format!("{:?}", DataKey::random()), "DataKey");
        let text = format!("{keys:?}");
        assert!(text.len() < 80, "{text}");
    }
}
