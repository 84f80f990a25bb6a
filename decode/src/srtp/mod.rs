//! SRTP and SRTCP with keys from session descriptions (RFC 3711; RFC 4568 for the keys).
//!
//! Opens what a sender protected; protects nothing itself. [`sdes`] reads keys out of `a=crypto` lines, [`session`] derives session
//! keys and opens packets at a known place in the stream, [`receiver`] finds that place: a listener on the wire joins late and is told
//! neither the roll-over counter nor which of several keys is in use. The authentication tag decides: what does not authenticate is
//! not decrypted.
//!
//! Transforms: AES-CM with 128, 192 and 256 bits and HMAC-SHA1 (RFC 3711, RFC 6188), AES-GCM with 128 and 256 bits (RFC 7714), each
//! without encryption or authentication where the session parameters say so (RFC 4568, 6.3). Not F8, and no encrypted header
//! extensions (RFC 6904): they are left as they are.

pub mod receiver;
pub mod sdes;
pub mod session;

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

pub use receiver::Receiver;
pub use session::{ControlSession, Session};

/// Longest master key, in bytes.
pub const KEY_BYTES_MAX: usize = 32;
/// Longest master salt, in bytes; those of AES-GCM are two bytes shorter.
pub const SALT_BYTES_MAX: usize = 14;
/// Longest master key identifier (RFC 4568, 6.1: 128 bytes).
pub const MKI_BYTES_MAX: usize = 128;
/// Largest exponent of a key derivation rate (RFC 3711, 4.3.1).
pub const KDR_EXPONENT_MAX: u8 = 24;

/// How packets are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// AES in counter mode, authenticated by HMAC-SHA1.
    AesCm,
    /// AES-GCM, which authenticates by itself.
    AesGcm,
}

/// A crypto suite: cipher and lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suite {
    /// The cipher.
    pub cipher: Cipher,
    /// Bytes of the master and the session key: 16, 24 or 32.
    pub key_len: usize,
    /// Bytes of the authentication tag of an RTP packet.
    pub tag_len: usize,
}

impl Suite {
    /// By its name in the registry of SRTP crypto suites; also the names that were in use before RFC 6188.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Suite> {
        let name = name.to_ascii_uppercase();
        let cm = |key_len, tag_len| Suite { cipher: Cipher::AesCm, key_len, tag_len };
        let gcm = |key_len| Suite { cipher: Cipher::AesGcm, key_len, tag_len: session::GCM_TAG_LEN };
        Some(match &name[..] {
            b"AES_CM_128_HMAC_SHA1_80" => cm(16, 10),
            b"AES_CM_128_HMAC_SHA1_32" => cm(16, 4),
            b"AES_192_CM_HMAC_SHA1_80" | b"AES_CM_192_HMAC_SHA1_80" => cm(24, 10),
            b"AES_192_CM_HMAC_SHA1_32" | b"AES_CM_192_HMAC_SHA1_32" => cm(24, 4),
            b"AES_256_CM_HMAC_SHA1_80" | b"AES_CM_256_HMAC_SHA1_80" => cm(32, 10),
            b"AES_256_CM_HMAC_SHA1_32" | b"AES_CM_256_HMAC_SHA1_32" => cm(32, 4),
            b"AEAD_AES_128_GCM" => gcm(16),
            b"AEAD_AES_256_GCM" => gcm(32),
            _ => return None,
        })
    }

    /// Bytes of the master salt.
    #[must_use]
    pub fn salt_len(self) -> usize {
        match self.cipher {
            Cipher::AesCm => SALT_BYTES_MAX,
            Cipher::AesGcm => 12,
        }
    }
}

/// A master key identifier, which packets carry before their tag (RFC 3711, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mki {
    /// Its value, as far as it fits; `None` when it does not.
    pub value: Option<u128>,
    /// Bytes that it takes in a packet.
    pub len: usize,
}

/// What the session parameters of a crypto line change (RFC 4568, 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// RTP packets are not encrypted.
    pub unencrypted_srtp: bool,
    /// RTCP packets are not encrypted.
    pub unencrypted_srtcp: bool,
    /// RTP packets carry no authentication tag.
    pub unauthenticated_srtp: bool,
    /// Session keys are derived anew each 2^n packets.
    pub kdr_exponent: Option<u8>,
}

/// A master key with everything that belongs to it. Wiped when dropped; its `Debug` is blank.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Key {
    #[zeroize(skip)]
    suite: Suite,
    #[zeroize(skip)]
    parameters: Parameters,
    #[zeroize(skip)]
    mki: Option<Mki>,
    /// Bytes of `key` that session keys are derived with.
    #[zeroize(skip)]
    master_len: usize,
    key: [u8; KEY_BYTES_MAX],
    salt: [u8; SALT_BYTES_MAX],
}

impl Key {
    /// From the key and salt of a crypto line, one behind the other; `None` when their length is not the suite's.
    #[must_use]
    pub fn new(suite: Suite, key_and_salt: &[u8], mki: Option<Mki>, parameters: Parameters) -> Option<Key> {
        let (key, salt) = key_and_salt.split_at_checked(suite.key_len)?;
        if salt.len() != suite.salt_len() || mki.is_some_and(|mki| mki.len > MKI_BYTES_MAX) {
            return None;
        }
        let mut made = Key {
            suite,
            parameters,
            mki,
            master_len: suite.key_len,
            key: [0; KEY_BYTES_MAX],
            salt: [0; SALT_BYTES_MAX],
        };
        made.key.get_mut(..key.len())?.copy_from_slice(key);
        // The shorter salt of AES-GCM is padded on the right (RFC 7714, 11).
        made.salt.get_mut(..salt.len())?.copy_from_slice(salt);
        Some(made)
    }

    /// The same key as libsrtp before 2.8 derives session keys with it, where that is not as RFC 6188, 3 has it: key and salt of
    /// AES-192 lie one behind the other where those of AES-256 would, with zeros behind, and the derivation is that of AES-256. Many
    /// telephones and relays are built on it. `None` where both agree, and where nothing would tell which of the two is meant.
    #[must_use]
    pub fn as_libsrtp_derives(&self) -> Option<Key> {
        const KEY_LEN: usize = 24;
        if self.suite.cipher != Cipher::AesCm || self.suite.key_len != KEY_LEN || !self.authenticates() {
            return None;
        }
        let mut made = self.clone();
        made.master_len = KEY_BYTES_MAX;
        let (_, behind_key) = made.key.split_at_mut(KEY_LEN);
        let (of_key, of_salt) = self.salt.split_at(behind_key.len());
        behind_key.copy_from_slice(of_key);
        made.salt = [0; SALT_BYTES_MAX];
        made.salt.iter_mut().zip(of_salt).for_each(|(to, from)| *to = *from);
        Some(made)
    }

    /// Its suite.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Can a packet show that it was made with this key?
    #[must_use]
    pub fn authenticates(&self) -> bool {
        self.suite.cipher == Cipher::AesGcm || !self.parameters.unauthenticated_srtp
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
pub(crate) mod tests;
