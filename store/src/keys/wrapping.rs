//! Sealing 32 secret bytes to an X25519 key: data keys to a month's key, months' keys to the archive's.
//!
//! Ephemeral-static X25519 (RFC 7748), HKDF with SHA-256 (RFC 5869), AES-256-GCM; the layout is in `docs/format.md`. What
//! chunks are sealed with is derived here from the data key; the chunks are [`crate::chunk`]'s.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::RecordingId;

/// Bytes of a sealed secret: the secret and the GCM tag.
pub(crate) const WRAPPED_LEN: usize = 48;
/// What a sealed data key is for.
const DATA_KEY_INFO: &[u8] = b"earwitness wrap v1";
/// What a sealed key-encryption key is for.
const KEK_INFO: &[u8] = b"earwitness key wrap v1";

/// The identity of a key: the first eight bytes of SHA-256 of its public part.
pub(crate) type KeyId = [u8; 8];

pub(crate) fn key_id(public: &[u8; 32]) -> KeyId {
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

/// A private X25519 key with its public part and its name, which are costly to tell from it.
#[derive(Clone)]
pub(crate) struct Private {
    pub(crate) secret: StaticSecret,
    pub(crate) public: PublicKey,
    pub(crate) id: KeyId,
}

impl std::fmt::Debug for Private {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Private").field(&crate::bytes::hex(&self.id)).finish()
    }
}

impl Private {
    pub(crate) fn new(bytes: &[u8; 32]) -> Private {
        let secret = StaticSecret::from(*bytes);
        let public = PublicKey::from(&secret);
        Private { id: key_id(public.as_bytes()), public, secret }
    }

    pub(crate) fn random() -> Private {
        Private::new(&random::<32>())
    }
}

/// A public key that anybody can open what is sealed to: the points of low order (RFC 7748, 6.1).
pub(crate) fn is_weak(public: &PublicKey) -> bool {
    !StaticSecret::from(*random::<32>()).diffie_hellman(public).was_contributory()
}

/// A secret sealed to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// The ephemeral X25519 public key.
    pub(crate) ephemeral: [u8; 32],
    /// The secret under AES-256-GCM, tag last.
    pub(crate) sealed: [u8; WRAPPED_LEN],
}

/// The cipher of one sealed secret: used once, so its nonce may be zero.
fn cipher(
    info: &[u8],
    ours: &StaticSecret,
    theirs: &PublicKey,
    ephemeral: &PublicKey,
    to: &PublicKey,
) -> Aes256Gcm {
    let shared = ours.diffie_hellman(theirs);
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, shared.as_bytes())
        .expand_multi_info(&[info, ephemeral.as_bytes(), to.as_bytes()], &mut key[..])
        .expect("32 bytes are within HKDF's limit of 255 blocks");
    Aes256Gcm::new(&(*key).into())
}

fn seal(info: &[u8], to: &PublicKey, aad: &[u8], secret: &[u8; 32]) -> Sealed {
    let ephemeral = StaticSecret::from(*random::<32>());
    let public = PublicKey::from(&ephemeral);
    let mut sealed = [0; WRAPPED_LEN];
    let (body, tag) = sealed.split_at_mut(32);
    body.copy_from_slice(secret);
    let made = cipher(info, &ephemeral, to, &public, to)
        .encrypt_inout_detached(&Nonce::default(), aad, body.into())
        .expect("32 bytes are within AES-GCM's limits");
    tag.copy_from_slice(&made);
    Sealed { ephemeral: public.to_bytes(), sealed }
}

fn open(info: &[u8], with: &Private, aad: &[u8], sealed: &Sealed) -> Option<Zeroizing<[u8; 32]>> {
    let theirs = PublicKey::from(sealed.ephemeral);
    let mut secret = Zeroizing::new([0; 32]);
    let (body, tag) = sealed.sealed.split_at(32);
    secret.copy_from_slice(body);
    cipher(info, &with.secret, &theirs, &theirs, &with.public)
        .decrypt_inout_detached(
            &Nonce::default(),
            aad,
            secret.as_mut_slice().into(),
            &Tag::try_from(tag).expect("48 bytes less 32 are a tag of 16"),
        )
        .ok()?;
    Some(secret)
}

/// Seals the private half of a key-encryption key, named `name`, to somebody's key.
pub(crate) fn seal_kek(to: &PublicKey, name: &[u8], kek: &Private) -> Sealed {
    seal(KEK_INFO, to, name, kek.secret.as_bytes())
}

/// Opens what [`seal_kek`] made; none when the key or the name is another one, or a bit is flipped.
pub(crate) fn open_kek(with: &Private, name: &[u8], sealed: &Sealed) -> Option<Private> {
    open(KEK_INFO, with, name, sealed).map(|secret| Private::new(&secret))
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
    /// The key that opens it: a month's, or in files of format 1 the archive's.
    pub(crate) key_id: KeyId,
    /// The ephemeral X25519 public key.
    pub(crate) ephemeral: [u8; 32],
    /// The data key under AES-256-GCM, tag last.
    pub(crate) wrapped: [u8; WRAPPED_LEN],
}

impl Wrap {
    /// Its bytes in the header.
    pub(crate) fn to_bytes(&self) -> [u8; 8 + 32 + WRAPPED_LEN] {
        let mut bytes = [0; 8 + 32 + WRAPPED_LEN];
        bytes[..8].copy_from_slice(&self.key_id);
        bytes[8..40].copy_from_slice(&self.ephemeral);
        bytes[40..].copy_from_slice(&self.wrapped);
        bytes
    }
}

/// The random key of one recording. Blank in `Debug`, wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop, PartialEq)]
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

    /// Wraps it to a key.
    pub(crate) fn wrap(&self, id: RecordingId, key_id: KeyId, to: &PublicKey) -> Wrap {
        let Sealed { ephemeral, sealed } = seal(DATA_KEY_INFO, to, &wrap_aad(id, &key_id), &self.0);
        Wrap { key_id, ephemeral, wrapped: sealed }
    }

    /// Opens a wrapped one; none when it is not the recording's, or changed, or wrapped to another key.
    pub(crate) fn unwrap(id: RecordingId, wrap: &Wrap, with: &Private) -> Option<DataKey> {
        let sealed = Sealed { ephemeral: wrap.ephemeral, sealed: wrap.wrapped };
        open(DATA_KEY_INFO, with, &wrap_aad(id, &wrap.key_id), &sealed).map(|key| DataKey(*key))
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

    /// Its bytes, to look for them where they must not be.
    #[cfg(test)]
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use decode::Timestamp;

    fn id() -> RecordingId {
        RecordingId::new(Timestamp::from_millis(1))
    }

    #[test]
    fn a_wrapped_key_opens_for_its_recording_and_key_and_for_no_other() {
        let (id, key, month) = (id(), DataKey::random(), Private::random());
        let wrap = key.wrap(id, month.id, &month.public);
        assert_eq!(DataKey::unwrap(id, &wrap, &month), Some(DataKey(key.0)));
        assert_eq!(DataKey::unwrap(self::id(), &wrap, &month), None);
        assert_eq!(DataKey::unwrap(id, &wrap, &Private::random()), None);
    }

    #[test]
    fn any_flipped_bit_of_a_wrapped_key_is_refused() {
        let (id, month) = (id(), Private::random());
        let wrap = DataKey::random().wrap(id, month.id, &month.public);
        for bit in 0..wrap.to_bytes().len() * 8 {
            let mut changed = wrap.clone();
            let flip = 1 << (bit % 8);
            match bit / 8 {
                at @ 0..8 => changed.key_id[at] ^= flip,
                at @ 8..40 => changed.ephemeral[at - 8] ^= flip,
                at => changed.wrapped[at - 40] ^= flip,
            }
            // X25519 does not look at the highest bit of a point, but the key is derived from all of them.
            assert_eq!(DataKey::unwrap(id, &changed, &month), None, "bit {bit}");
        }
    }

    #[test]
    fn a_sealed_data_key_is_no_sealed_month_key() {
        let (to, kek) = (Private::random(), Private::random());
        let sealed = seal_kek(&to.public, b"name", &kek);
        assert_eq!(open_kek(&to, b"name", &sealed).map(|kek| kek.id), Some(kek.id));
        assert!(open_kek(&to, b"another", &sealed).is_none());
        assert!(open(DATA_KEY_INFO, &to, b"name", &sealed).is_none());
    }

    #[test]
    fn keys_that_everybody_can_open_are_known() {
        assert!(is_weak(&PublicKey::from([0; 32])));
        let mut one = [0; 32];
        one[0] = 1;
        assert!(is_weak(&PublicKey::from(one)));
        assert!(!is_weak(&Private::random().public));
    }

    #[test]
    fn debug_texts_hold_no_key() {
        assert_eq!(format!("{:?}", DataKey::random()), "DataKey");
        let private = Private::random();
        assert_eq!(format!("{private:?}"), format!("Private(\"{}\")", crate::bytes::hex(&private.id)));
    }
}
