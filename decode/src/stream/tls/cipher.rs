//! Record protection: keys out of secrets, and records opened with them (RFC 5246, 6.2.3 and 6.3; RFC 8446, 5.2 and 7).
//!
//! Keys are wiped when they go and never printed. Nothing is ever sealed here.

use std::fmt;

use aes::cipher::{BlockCipherDecrypt, KeyInit};
use aes::{Aes128, Aes256};
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use chacha20poly1305::ChaCha20Poly1305;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha384};
use zeroize::{Zeroize as _, Zeroizing};

use super::keylog::{Random, Secret};
use super::suite::{Hash, Protection, Suite};

/// Of every AEAD that is read.
const TAG_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
/// The part of a nonce that TLS 1.2 sends with each AES-GCM record (RFC 5288, 3).
const EXPLICIT_NONCE_BYTES: usize = 8;
const BLOCK_BYTES: usize = 16;
/// A record's head: type, version, length.
pub(super) const HEADER_BYTES: usize = 5;

/// A record's head as it was sent.
pub(super) type Header = [u8; HEADER_BYTES];

/// Opens the records of one direction under one key.
pub(super) struct Opener {
    cipher: Cipher,
    iv: Zeroizing<[u8; NONCE_BYTES]>,
    /// In TLS 1.3: what the key was made of, and how the next one is.
    secret: Option<(Suite, Secret)>,
    /// Number of the next record.
    sequence: u64,
}

enum Cipher {
    Aes128Gcm(Box<Aes128Gcm>),
    Aes256Gcm(Box<Aes256Gcm>),
    ChaCha20Poly1305(Box<ChaCha20Poly1305>),
    Cbc(Box<Cbc>),
}

struct Cbc {
    cipher: Aes,
    mac_key: Zeroizing<Vec<u8>>,
    mac: Hash,
    /// RFC 7366.
    encrypt_then_mac: bool,
}

enum Aes {
    Aes128(Aes128),
    Aes256(Aes256),
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl Opener {
    /// TLS 1.3: from a traffic secret (RFC 8446, 7.3).
    pub(super) fn tls13(suite: Suite, secret: &Secret) -> Option<Opener> {
        let mut key = Zeroizing::new([0; 32]);
        let key = key.get_mut(..suite.protection.key_bytes())?;
        let mut iv = Zeroizing::new([0; NONCE_BYTES]);
        expand_label(suite.hash, secret, b"key", key)?;
        expand_label(suite.hash, secret, b"iv", &mut *iv)?;
        let cipher = Cipher::new(suite.protection, key, &[], false)?;
        Some(Opener { cipher, iv, secret: Some((suite, secret.clone())), sequence: 0 })
    }

    /// The key after a KeyUpdate (RFC 8446, 7.2).
    pub(super) fn updated(&self) -> Option<Opener> {
        let (suite, secret) = self.secret.as_ref()?;
        let mut next = Zeroizing::new([0; 48]);
        let next = next.get_mut(..suite.hash.length())?;
        expand_label(suite.hash, secret, b"traffic upd", next)?;
        Opener::tls13(*suite, &Secret::new(next)?)
    }

    /// TLS 1.2: the client's and the server's, from the master secret (RFC 5246, 6.3).
    pub(super) fn tls12(
        suite: Suite,
        encrypt_then_mac: bool,
        master: &Secret,
        client: &Random,
        server: &Random,
    ) -> Option<[Opener; 2]> {
        let (mac_bytes, iv_bytes) = match suite.protection {
            Protection::Aes128Gcm | Protection::Aes256Gcm => (0, NONCE_BYTES - EXPLICIT_NONCE_BYTES),
            Protection::ChaCha20Poly1305 => (0, NONCE_BYTES),
            Protection::Cbc { mac, .. } => (mac.length(), 0),
        };
        let key_bytes = suite.protection.key_bytes();
        let block = prf(
            suite.hash,
            master.bytes(),
            &[b"key expansion", server, client],
            2 * (mac_bytes + key_bytes + iv_bytes),
        )?;
        let (macs, rest) = block.split_at_checked(2 * mac_bytes)?;
        let (keys, ivs) = rest.split_at_checked(2 * key_bytes)?;
        let opener = |number: usize| {
            let part = |block: &[u8], length: usize| {
                block.get(number * length..(number + 1) * length).map(|part| Zeroizing::new(part.to_vec()))
            };
            let mut iv = Zeroizing::new([0; NONCE_BYTES]);
            iv.get_mut(..iv_bytes)?.copy_from_slice(&part(ivs, iv_bytes)?);
            let (key, mac_key) = (part(keys, key_bytes)?, part(macs, mac_bytes)?);
            let cipher = Cipher::new(suite.protection, &key, &mac_key, encrypt_then_mac)?;
            Some(Opener { cipher, iv, secret: None, sequence: 0 })
        };
        Some([opener(0)?, opener(1)?])
    }

    /// Opens a record that is one of the next `window` ones (1 when none can be missing): its true type and its content.
    /// `None` when it is not what was sealed; then nothing changes.
    pub(super) fn open_from(&mut self, window: u64, header: &Header, body: &[u8]) -> Option<(u8, Vec<u8>)> {
        (0..window).find_map(|ahead| {
            let sequence = self.sequence.checked_add(ahead)?;
            let opened = self.open_at(sequence, header, body)?;
            self.sequence = sequence.saturating_add(1);
            Some(opened)
        })
    }

    /// Would [`Opener::open_from`] open it?
    pub(super) fn fits(&self, window: u64, header: &Header, body: &[u8]) -> bool {
        (0..window).any(|ahead| {
            self.sequence
                .checked_add(ahead)
                .is_some_and(|number| self.open_at(number, header, body).is_some())
        })
    }

    fn open_at(&self, sequence: u64, header: &Header, body: &[u8]) -> Option<(u8, Vec<u8>)> {
        if self.secret.is_some() {
            let mut content = self.cipher.open(&self.nonce(sequence), header, body)?;
            // The true type is the last byte that is not zero (RFC 8446, 5.2).
            let end = content.iter().rposition(|&byte| byte != 0)?;
            let kind = content.get(end).copied()?;
            content.truncate(end);
            return Some((kind, content));
        }
        let kind = *header.first()?;
        let content = match &self.cipher {
            Cipher::Cbc(cbc) => cbc.open(sequence, header, body)?,
            Cipher::ChaCha20Poly1305(_) => {
                let aad = associated(sequence, header, body.len().checked_sub(TAG_BYTES)?)?;
                self.cipher.open(&self.nonce(sequence), &aad, body)?
            }
            Cipher::Aes128Gcm(_) | Cipher::Aes256Gcm(_) => {
                let (explicit, body) = body.split_at_checked(EXPLICIT_NONCE_BYTES)?;
                let aad = associated(sequence, header, body.len().checked_sub(TAG_BYTES)?)?;
                let mut nonce = *self.iv;
                nonce.last_chunk_mut::<EXPLICIT_NONCE_BYTES>()?.copy_from_slice(explicit);
                self.cipher.open(&nonce, &aad, body)?
            }
        };
        Some((kind, content))
    }

    /// The fixed part with the record's number in it (RFC 8446, 5.3; RFC 7905, 2).
    fn nonce(&self, sequence: u64) -> [u8; NONCE_BYTES] {
        let mut nonce = *self.iv;
        for (byte, number) in nonce.iter_mut().rev().zip(sequence.to_le_bytes()) {
            *byte ^= number;
        }
        nonce
    }
}

impl Protection {
    fn key_bytes(self) -> usize {
        match self {
            Protection::Aes128Gcm => 16,
            Protection::Aes256Gcm | Protection::ChaCha20Poly1305 => 32,
            Protection::Cbc { key_bytes, .. } => key_bytes,
        }
    }
}

/// What TLS 1.2 authenticates beside the content (RFC 5246, 6.2.3.1 and 6.2.3.3).
fn associated(sequence: u64, header: &Header, length: usize) -> Option<[u8; 13]> {
    let mut bytes = [0; 13];
    bytes.first_chunk_mut::<8>()?.copy_from_slice(&sequence.to_be_bytes());
    bytes.get_mut(8..11)?.copy_from_slice(header.get(..3)?);
    bytes.last_chunk_mut::<2>()?.copy_from_slice(&u16::try_from(length).ok()?.to_be_bytes());
    Some(bytes)
}

impl Cipher {
    fn new(protection: Protection, key: &[u8], mac_key: &[u8], encrypt_then_mac: bool) -> Option<Cipher> {
        Some(match protection {
            Protection::Aes128Gcm => Cipher::Aes128Gcm(Box::new(Aes128Gcm::new_from_slice(key).ok()?)),
            Protection::Aes256Gcm => Cipher::Aes256Gcm(Box::new(Aes256Gcm::new_from_slice(key).ok()?)),
            Protection::ChaCha20Poly1305 => {
                Cipher::ChaCha20Poly1305(Box::new(ChaCha20Poly1305::new_from_slice(key).ok()?))
            }
            Protection::Cbc { key_bytes, mac } => {
                let cipher = if key_bytes == 16 {
                    Aes::Aes128(Aes128::new_from_slice(key).ok()?)
                } else {
                    Aes::Aes256(Aes256::new_from_slice(key).ok()?)
                };
                let mac_key = Zeroizing::new(mac_key.to_vec());
                Cipher::Cbc(Box::new(Cbc { cipher, mac_key, mac, encrypt_then_mac }))
            }
        })
    }

    /// Opens what an AEAD has sealed, tag at its end.
    fn open(&self, nonce: &[u8; NONCE_BYTES], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        match self {
            Cipher::Aes128Gcm(cipher) => open_aead(&**cipher, nonce, aad, sealed),
            Cipher::Aes256Gcm(cipher) => open_aead(&**cipher, nonce, aad, sealed),
            Cipher::ChaCha20Poly1305(cipher) => open_aead(&**cipher, nonce, aad, sealed),
            Cipher::Cbc(_) => None,
        }
    }
}

fn open_aead<A: AeadInOut>(
    cipher: &A,
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    sealed: &[u8],
) -> Option<Vec<u8>> {
    let (content, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG_BYTES)?)?;
    let nonce = nonce.as_slice().try_into().ok()?;
    let tag = tag.try_into().ok()?;
    let mut content = content.to_vec();
    cipher.decrypt_inout_detached(nonce, aad, content.as_mut_slice().into(), tag).ok()?;
    Some(content)
}

impl Cbc {
    /// RFC 5246, 6.2.3.2, and RFC 7366. Nobody can measure us, so the comparisons need not take the same time.
    fn open(&self, sequence: u64, header: &Header, body: &[u8]) -> Option<Vec<u8>> {
        let mac_bytes = self.mac.length();
        let sealed = if self.encrypt_then_mac {
            let (sealed, tag) = body.split_at_checked(body.len().checked_sub(mac_bytes)?)?;
            let aad = associated(sequence, header, sealed.len())?;
            (hmac(self.mac, &self.mac_key, &[&aad, sealed])? == tag).then_some(sealed)?
        } else {
            body
        };
        let mut content = self.decrypt(sealed)?;
        let padding = usize::from(*content.last()?);
        let end = content.len().checked_sub(padding + 1)?;
        if content.get(end..)?.iter().any(|&byte| usize::from(byte) != padding) {
            return None;
        }
        content.truncate(end);
        if !self.encrypt_then_mac {
            let length = end.checked_sub(mac_bytes)?;
            let (text, tag) = content.split_at_checked(length)?;
            let aad = associated(sequence, header, length)?;
            (hmac(self.mac, &self.mac_key, &[&aad, text])? == tag).then_some(())?;
            content.truncate(length);
        }
        Some(content)
    }

    /// The first block is the initialization vector.
    fn decrypt(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (blocks, rest) = sealed.as_chunks::<BLOCK_BYTES>();
        if !rest.is_empty() {
            return None;
        }
        let mut content = Vec::with_capacity(sealed.len());
        for pair in blocks.windows(2) {
            let &[before, block] = pair else { return None };
            let mut block = block.into();
            match &self.cipher {
                Aes::Aes128(cipher) => cipher.decrypt_block(&mut block),
                Aes::Aes256(cipher) => cipher.decrypt_block(&mut block),
            }
            content.extend(block.iter().zip(before).map(|(byte, mask)| byte ^ mask));
        }
        Some(content)
    }
}

/// HKDF-Expand-Label with an empty context (RFC 8446, 7.1).
fn expand_label(hash: Hash, secret: &Secret, label: &[u8], out: &mut [u8]) -> Option<()> {
    let mut info = Vec::with_capacity(32);
    info.extend(u16::try_from(out.len()).ok()?.to_be_bytes());
    info.push(u8::try_from(label.len() + 6).ok()?);
    info.extend(b"tls13 ");
    info.extend(label);
    info.push(0);
    match hash {
        Hash::Sha256 => Hkdf::<Sha256>::from_prk(secret.bytes()).ok()?.expand(&info, out).ok(),
        Hash::Sha384 => Hkdf::<Sha384>::from_prk(secret.bytes()).ok()?.expand(&info, out).ok(),
        Hash::Sha1 => None,
    }
}

/// The pseudorandom function of TLS 1.2 (RFC 5246, 5). `seed` is the label and what follows it.
fn prf(hash: Hash, secret: &[u8], seed: &[&[u8]], length: usize) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::with_capacity(length + hash.length()));
    let mut a = hmac(hash, secret, seed)?;
    while out.len() < length {
        let mut part = hmac(hash, secret, &[&[&a[..]], seed].concat())?;
        out.extend_from_slice(&part);
        part.zeroize();
        a = hmac(hash, secret, &[&a])?;
    }
    out.truncate(length);
    Some(out)
}

fn hmac(hash: Hash, key: &[u8], parts: &[&[u8]]) -> Option<Vec<u8>> {
    fn mac<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Option<Vec<u8>> {
        let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
        parts.iter().for_each(|part| mac.update(part));
        Some(mac.finalize().into_bytes().to_vec())
    }
    match hash {
        Hash::Sha1 => mac::<Hmac<Sha1>>(key, parts),
        Hash::Sha256 => mac::<Hmac<Sha256>>(key, parts),
        Hash::Sha384 => mac::<Hmac<Sha384>>(key, parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    #[test]
    fn the_keys_of_rfc_8448_come_out() {
        // RFC 8448, 3: the server's handshake traffic secret, and the key and iv made of it.
        let secret = bytes("b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38");
        let secret = Secret::new(&secret).expect("a secret");
        let (mut key, mut iv) = ([0; 16], [0; 12]);
        expand_label(Hash::Sha256, &secret, b"key", &mut key).expect("a key");
        expand_label(Hash::Sha256, &secret, b"iv", &mut iv).expect("an iv");
        assert_eq!(key.to_vec(), bytes("3fce516009c21727d0f2e4e86ee403bc"));
        assert_eq!(iv.to_vec(), bytes("5d313eb2671276ee13000b30"));
    }

    #[test]
    fn no_key_is_printed() {
        let suite = Suite::tls13(0x1301).expect("a suite");
        let opener = Opener::tls13(suite, &Secret::new(&[0xab; 32]).expect("a secret")).expect("an opener");
        assert_eq!(format!("{opener:?}"), "Opener { sequence: 0, .. }");
        assert!(opener.updated().is_some());
    }
}
