//! What the archive's Ed25519 key signs: recordings, files of keys, receipts of deletions, checkpoints of the log.
//!
//! Each statement begins with words that no other one begins with, so that none can be taken for another.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::wrapping::key_id;
use super::{KeyId, Keys, PUBLIC_KEYS, SIGN_KEY};
use crate::Error;
use crate::bytes::{from_hex, hex};
use crate::log::checkpoint::Note;

/// What the signature of a recording says before the digest.
const SIGNED_PREFIX: &[u8] = b"earwitness recording v1\0";

/// What the signature of the manifest of an export says before it.
const MANIFEST_PREFIX: &[u8] = b"earwitness manifest v1\0";

/// The public key that recordings are signed with, as whoever verifies one needs it.
#[derive(Debug)]
pub(crate) struct Signer {
    public: VerifyingKey,
    id: KeyId,
}

impl Signer {
    /// From the 32 bytes of an Ed25519 public key; none when they are no such key.
    pub(crate) fn new(public: &[u8; 32]) -> Option<Signer> {
        Some(Signer { public: VerifyingKey::from_bytes(public).ok()?, id: key_id(public) })
    }

    /// What the key is called.
    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    /// Is this the key's signature over the digest of a recording?
    pub(crate) fn verifies(&self, digest: &[u8; 32], signature: &[u8; 64]) -> bool {
        self.holds(&[SIGNED_PREFIX, digest].concat(), signature)
    }

    fn holds(&self, text: &[u8], signature: &[u8; 64]) -> bool {
        self.public.verify_strict(text, &Signature::from_bytes(signature)).is_ok()
    }
}

/// The key that an archive signs with, as an export carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKeys {
    /// The [name](key_name) of the key.
    pub sign_id: String,
    /// The Ed25519 public key, in base 64, as in `keys/public.json`.
    pub ed25519: String,
}

impl PublicKeys {
    /// The 32 bytes of the key; none when the text is no key.
    #[must_use]
    pub fn signing(&self) -> Option<[u8; 32]> {
        BASE64.decode(&self.ed25519).ok()?.try_into().ok()
    }
}

/// The name of a public key: eight bytes of its hash, in hexadecimal.
#[must_use]
pub fn key_name(public: &[u8; 32]) -> String {
    hex(&key_id(public))
}

/// Has this Ed25519 key signed the manifest? `signature` is in hexadecimal; space around it does not count.
#[must_use]
pub fn manifest_is_signed(manifest: &[u8], signature: &str, public: &[u8; 32]) -> bool {
    Signer::new(public)
        .zip(from_hex(signature.trim()))
        .is_some_and(|(signer, signature)| signer.holds(&[MANIFEST_PREFIX, manifest].concat(), &signature))
}

impl Keys {
    /// The public key that recordings are signed with.
    pub(crate) fn signer(&self) -> Signer {
        Signer { public: self.sign_public, id: self.sign_id }
    }

    /// The same, for an export.
    pub(crate) fn public(&self) -> PublicKeys {
        PublicKeys { sign_id: hex(&self.sign_id), ed25519: BASE64.encode(self.sign_public.as_bytes()) }
    }

    /// Signs the manifest of an export; the signature in hexadecimal, for [`manifest_is_signed`].
    pub(crate) fn sign_manifest(&self, manifest: &[u8]) -> Result<String, Error> {
        Ok(hex(&self.sign_bytes(&[MANIFEST_PREFIX, manifest].concat())?))
    }

    /// What the key that signs is called.
    pub(crate) fn sign_id(&self) -> KeyId {
        self.sign_id
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

    pub(super) fn sign_bytes(&self, message: &[u8]) -> Result<[u8; 64], Error> {
        Ok(self.signing()?.sign(message).to_bytes())
    }

    pub(super) fn verifies_bytes(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.sign_public.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }

    /// Signs the digest of a recording.
    pub(crate) fn sign(&self, digest: &[u8; 32]) -> Result<[u8; 64], Error> {
        self.sign_bytes(&[SIGNED_PREFIX, digest].concat())
    }

    /// Signs the receipt of a deletion.
    pub(crate) fn sign_receipt(&self, text: &[u8]) -> Result<String, Error> {
        Ok(hex(&self.sign_bytes(text)?))
    }

    /// Is this the receipt of a deletion that this archive signed?
    pub(crate) fn verifies_receipt(&self, text: &[u8], receipt: &str) -> bool {
        from_hex(receipt).is_some_and(|signature| self.verifies_bytes(text, &signature))
    }

    /// Signs a text that says by its first bytes what it is.
    pub(crate) fn sign_statement(&self, text: &[u8]) -> Result<[u8; 64], Error> {
        self.sign_bytes(text)
    }

    /// Signs the text of a checkpoint. Its first line says what it is.
    pub(crate) fn sign_note(&self, text: &[u8]) -> Result<[u8; 64], Error> {
        self.sign_bytes(text)
    }

    /// Has this archive's key signed the checkpoint?
    pub(crate) fn has_signed(&self, note: &Note<'_>) -> bool {
        note.is_signed(self.sign_public.as_bytes(), |text, signature| self.verifies_bytes(text, signature))
    }

    /// The public key that signatures are verified with.
    pub(crate) fn sign_public(&self) -> &[u8; 32] {
        self.sign_public.as_bytes()
    }
}
