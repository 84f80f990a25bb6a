//! What the archive's Ed25519 key signs: recordings, files of keys, receipts of deletions, checkpoints of the log.
//!
//! Each statement begins with words that no other one begins with, so that none can be taken for another.

use ed25519_dalek::{Signature, Signer, SigningKey};

use super::wrapping::key_id;
use super::{KeyId, Keys, PUBLIC_KEYS, SIGN_KEY};
use crate::Error;
use crate::bytes::{from_hex, hex};
use crate::log::checkpoint::Note;

/// What the signature of a recording says before the digest.
const SIGNED_PREFIX: &[u8] = b"earwitness recording v1\0";

impl Keys {
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

    /// Is this the signature of this archive's key over the digest?
    pub(crate) fn verifies(&self, digest: &[u8; 32], signature: &[u8; 64]) -> bool {
        self.verifies_bytes(&[SIGNED_PREFIX, digest].concat(), signature)
    }

    /// Signs the receipt of a deletion.
    pub(crate) fn sign_receipt(&self, text: &[u8]) -> Result<String, Error> {
        Ok(hex(&self.sign_bytes(text)?))
    }

    /// Is this the receipt of a deletion that this archive signed?
    pub(crate) fn verifies_receipt(&self, text: &[u8], receipt: &str) -> bool {
        from_hex(receipt).is_some_and(|signature| self.verifies_bytes(text, &signature))
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
