//! Session keys of one master key, and opening single packets with them (RFC 3711, 3.3, 3.4, 4.1 and 4.3; RFC 7714, 8 and 9).
//!
//! Where in its stream a packet stands is an argument: [`super::Receiver`] guesses.

use aes::cipher::{InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use ctr::CtrCore;
use ctr::flavors::Ctr128BE;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use zeroize::Zeroizing;

use super::{Cipher, KEY_BYTES_MAX, Key, Mki, SALT_BYTES_MAX};

/// Bytes of the tag of AES-GCM (RFC 7714, 13.2).
pub const GCM_TAG_LEN: usize = 16;
/// Bytes of the tag of an RTCP packet, also where those of RTP packets have 4 (RFC 4568, 6.2.2).
const CONTROL_TAG_LEN: usize = 10;
/// Bytes of an RTCP packet that stay in clear: the first header and the sender's source.
const CONTROL_HEADER_LEN: usize = 8;
/// Bytes of a session key of HMAC-SHA1.
const MAC_KEY_LEN: usize = 20;
/// Numbers of the derived keys (RFC 3711, 4.3.1): the encryption key's; those of authentication and salt follow it.
const RTP_LABEL: u8 = 0;
const RTCP_LABEL: u8 = 3;

/// The keystream of AES in counter mode.
enum Keystream {
    Aes128(Aes128),
    Aes192(Aes192),
    Aes256(Aes256),
}

impl Keystream {
    fn new(key: &[u8]) -> Keystream {
        const FITS: &str = "keys are as long as their suite says: Key::new checks it";
        match key.len() {
            16 => Keystream::Aes128(Aes128::new_from_slice(key).expect(FITS)),
            24 => Keystream::Aes192(Aes192::new_from_slice(key).expect(FITS)),
            _ => Keystream::Aes256(Aes256::new_from_slice(key).expect(FITS)),
        }
    }

    fn apply(&self, iv: [u8; 16], bytes: &mut [u8]) {
        match self {
            Keystream::Aes128(block) => run(block, iv, bytes),
            Keystream::Aes192(block) => run(block, iv, bytes),
            Keystream::Aes256(block) => run(block, iv, bytes),
        }
    }
}

fn run<B>(block: &B, iv: [u8; 16], bytes: &mut [u8])
where
    B: aes::cipher::BlockCipherEncrypt + aes::cipher::BlockSizeUser<BlockSize = aes::cipher::consts::U16>,
{
    let core: CtrCore<&B, Ctr128BE> = CtrCore::inner_iv_init(block, &iv.into());
    StreamCipherCoreWrapper::from_core(core).apply_keystream(bytes);
}

type HmacSha1 = Hmac<Sha1>;

enum Crypt {
    Cm { keystream: Keystream, mac: HmacSha1 },
    Gcm128(Aes128Gcm),
    Gcm256(Aes256Gcm),
}

/// One set of session keys: RTP's or RTCP's.
struct Transform {
    crypt: Crypt,
    salt: [u8; SALT_BYTES_MAX],
}

impl Transform {
    /// The key derivation of RFC 3711, 4.3.1, in its `period`th period.
    fn derive(key: &Key, label: u8, period: u64) -> Box<Transform> {
        let suite = key.suite;
        let master = Keystream::new(key.key.get(..key.master_len).unwrap_or(&key.key));
        let derived = |label: u8, out: &mut [u8]| {
            let mut iv = [0; 16];
            let (salt, _) = iv.split_at_mut(SALT_BYTES_MAX);
            salt.copy_from_slice(&key.salt);
            let number = u64::from(label) << 48 | period;
            xor_right(salt, &number.to_be_bytes());
            master.apply(iv, out);
        };
        let mut session_key = Zeroizing::new([0; KEY_BYTES_MAX]);
        let (session_key, _) = session_key.split_at_mut(suite.key_len);
        derived(label, session_key);
        let mut salt = [0; SALT_BYTES_MAX];
        derived(label + 2, salt.split_at_mut(suite.salt_len()).0);
        const FITS: &str = "a suite of AES-GCM has keys of 16 or 32 bytes";
        let crypt = match (suite.cipher, suite.key_len) {
            (Cipher::AesCm, _) => {
                let mut mac_key = Zeroizing::new([0; MAC_KEY_LEN]);
                derived(label + 1, &mut *mac_key);
                Crypt::Cm {
                    keystream: Keystream::new(session_key),
                    mac: HmacSha1::new_from_slice(&*mac_key).expect("HMAC takes keys of any length"),
                }
            }
            (Cipher::AesGcm, 16) => Crypt::Gcm128(Aes128Gcm::new_from_slice(session_key).expect(FITS)),
            (Cipher::AesGcm, _) => Crypt::Gcm256(Aes256Gcm::new_from_slice(session_key).expect(FITS)),
        };
        Box::new(Transform { crypt, salt })
    }

    /// The counter block of a packet of AES-CM (RFC 3711, 4.1.1).
    fn counter(&self, ssrc: [u8; 4], index: u64) -> [u8; 16] {
        let mut iv = [0; 16];
        let (left, _) = iv.split_at_mut(SALT_BYTES_MAX);
        left.copy_from_slice(&self.salt);
        let (left, right) = left.split_at_mut(8);
        xor_right(left, &ssrc);
        xor_right(right, index.to_be_bytes().last_chunk::<6>().unwrap_or(&[0; 6]));
        iv
    }

    /// Decrypts `hidden` in place if `tag` fits it and `clear` (RFC 7714, 8 and 9: RTP's and RTCP's nonces are of one form).
    fn open_gcm(&self, ssrc: [u8; 4], index: u64, clear: &[u8], hidden: &mut [u8], tag: &[u8]) -> bool {
        let mut nonce = [0; 12];
        let (salt, _) = self.salt.split_at(12);
        nonce.copy_from_slice(salt);
        let (left, right) = nonce.split_at_mut(6);
        xor_right(left, &ssrc);
        xor_right(right, index.to_be_bytes().last_chunk::<6>().unwrap_or(&[0; 6]));
        let Ok(tag) = <[u8; GCM_TAG_LEN]>::try_from(tag) else { return false };
        let (nonce, tag) = (nonce.into(), tag.into());
        match &self.crypt {
            Crypt::Gcm128(aead) => aead.decrypt_inout_detached(&nonce, clear, hidden.into(), &tag).is_ok(),
            Crypt::Gcm256(aead) => aead.decrypt_inout_detached(&nonce, clear, hidden.into(), &tag).is_ok(),
            Crypt::Cm { .. } => false,
        }
    }
}

/// `bytes` onto the right end of `target`.
fn xor_right(target: &mut [u8], bytes: &[u8]) {
    target.iter_mut().rev().zip(bytes.iter().rev()).for_each(|(target, byte)| *target ^= byte);
}

/// Which session keys hold at an index (RFC 3711, 4.3.1).
fn period(key: &Key, index: u64) -> u64 {
    key.parameters.kdr_exponent.map_or(0, |n| index >> n)
}

fn mki_fits(mki: Mki, bytes: &[u8]) -> bool {
    let shown = bytes.iter().fold(0u128, |value, &byte| value << 8 | u128::from(byte));
    mki.value.is_none_or(|value| value == shown)
}

/// The end of a packet cut off: what stands before, and the identifier and tag of this key. `None` when it is too short or the
/// identifier is another key's.
fn split<'p>(key: &Key, packet: &'p [u8], tag_len: usize) -> Option<(&'p [u8], &'p [u8])> {
    let mki_len = key.mki.map_or(0, |mki| mki.len);
    let before = packet.len().checked_sub(mki_len + tag_len)?;
    let (front, back) = packet.split_at_checked(before)?;
    // The identifier stands before an HMAC and behind the tag of AES-GCM (RFC 3711, 3.1; RFC 7714, 8.2).
    let (identifier, tag) = match key.suite.cipher {
        Cipher::AesCm => back.split_at_checked(mki_len)?,
        Cipher::AesGcm => back.split_at_checked(tag_len).map(|(tag, identifier)| (identifier, tag))?,
    };
    key.mki.is_none_or(|mki| mki_fits(mki, identifier)).then_some((front, tag))
}

/// Opens RTP packets of one master key.
pub struct Session {
    key: Key,
    transform: Box<Transform>,
    period: u64,
}

impl Session {
    /// With the session keys of the beginning.
    #[must_use]
    pub fn new(key: &Key) -> Session {
        Session { key: key.clone(), transform: Transform::derive(key, RTP_LABEL, 0), period: 0 }
    }

    /// Can a packet show that it was made with this key?
    #[must_use]
    pub fn authenticates(&self) -> bool {
        self.key.authenticates()
    }

    /// Opens a packet: `out` becomes the RTP packet that was protected. Of the roll-over counters in `guesses` the first that
    /// authenticates is taken and given back; where the key does not authenticate, simply the first.
    pub fn open(
        &mut self,
        packet: &[u8],
        guesses: impl IntoIterator<Item = u32>,
        out: &mut Vec<u8>,
    ) -> Option<u32> {
        let header_len = header_len(packet)?;
        let tag_len = if self.authenticates() { self.key.suite.tag_len } else { 0 };
        let (front, tag) = split(&self.key, packet, tag_len)?;
        let sequence = u16::from_be_bytes(*packet.get(2..)?.first_chunk()?);
        let ssrc = *packet.get(8..)?.first_chunk()?;
        front.len().checked_sub(header_len)?;
        let mut absorbed: Option<(u64, HmacSha1)> = None;
        for roc in guesses {
            let index = u64::from(roc) << 16 | u64::from(sequence);
            self.enter(period(&self.key, index));
            if self.key.suite.cipher == Cipher::AesGcm {
                let clear_len = if self.key.parameters.unencrypted_srtp { front.len() } else { header_len };
                out.clear();
                out.extend_from_slice(front);
                let (clear, hidden) = out.split_at_mut_checked(clear_len)?;
                if self.transform.open_gcm(ssrc, index, clear, hidden, tag) {
                    return Some(roc);
                }
                continue;
            }
            if tag_len > 0 && !self.is_authentic(front, roc, tag, &mut absorbed) {
                continue;
            }
            out.clear();
            out.extend_from_slice(front);
            if !self.key.parameters.unencrypted_srtp
                && let Crypt::Cm { keystream, .. } = &self.transform.crypt
            {
                let counter = self.transform.counter(ssrc, index);
                keystream.apply(counter, out.get_mut(header_len..).unwrap_or_default());
            }
            return Some(roc);
        }
        None
    }

    fn enter(&mut self, period: u64) {
        if self.period != period {
            self.transform = Transform::derive(&self.key, RTP_LABEL, period);
            self.period = period;
        }
    }

    /// Does the tag fit (RFC 3711, 4.2)? What is the same for every guess is worked through once.
    fn is_authentic(
        &self,
        front: &[u8],
        roc: u32,
        tag: &[u8],
        absorbed: &mut Option<(u64, HmacSha1)>,
    ) -> bool {
        let Crypt::Cm { mac, .. } = &self.transform.crypt else { return false };
        let mac = match absorbed {
            Some((period, mac)) if *period == self.period => mac.clone(),
            _ => {
                let mac = mac.clone().chain_update(front);
                absorbed.insert((self.period, mac)).1.clone()
            }
        };
        mac.chain_update(roc.to_be_bytes()).verify_truncated_left(tag).is_ok()
    }
}

/// Opens RTCP packets of one master key; their place in the stream is written in them (RFC 3711, 3.4).
pub struct ControlSession {
    key: Key,
    transform: Box<Transform>,
    period: u64,
}

impl ControlSession {
    /// With the session keys of the beginning.
    #[must_use]
    pub fn new(key: &Key) -> ControlSession {
        ControlSession { key: key.clone(), transform: Transform::derive(key, RTCP_LABEL, 0), period: 0 }
    }

    /// Opens a compound packet if it is authentic: `out` becomes what was protected.
    pub fn open(&mut self, packet: &[u8], out: &mut Vec<u8>) -> bool {
        let tag_len = match self.key.suite.cipher {
            Cipher::AesCm => CONTROL_TAG_LEN,
            Cipher::AesGcm => GCM_TAG_LEN,
        };
        // Some implementations shorten these tags too.
        self.open_tagged(packet, tag_len, out).is_some()
            || self.open_tagged(packet, self.key.suite.tag_len, out).is_some()
    }

    fn open_tagged(&mut self, packet: &[u8], tag_len: usize, out: &mut Vec<u8>) -> Option<()> {
        // With AES-GCM, the word with the index stands behind the tag (RFC 7714, 9.2).
        let is_gcm = self.key.suite.cipher == Cipher::AesGcm;
        let mki_len = self.key.mki.map_or(0, |mki| mki.len);
        let moved: Vec<u8>;
        let packet = if is_gcm {
            let word_end = packet.len().checked_sub(mki_len)?;
            let (body, word) = packet.get(..word_end)?.split_last_chunk::<4>()?;
            let tag_at = body.len().checked_sub(tag_len)?;
            let (body, tag) = body.split_at_checked(tag_at)?;
            moved = [body, word, tag, packet.get(word_end..)?].concat();
            &moved
        } else {
            packet
        };
        let (front, tag) = split(&self.key, packet, tag_len)?;
        let (body, word) = front.split_last_chunk::<4>()?;
        let (is_encrypted, index) = (word[0] & 0x80 != 0, u64::from(u32::from_be_bytes(*word) & 0x7fff_ffff));
        let (header, _) = body.split_at_checked(CONTROL_HEADER_LEN)?;
        let ssrc = *header.last_chunk::<4>()?;
        let now = period(&self.key, index);
        if self.period != now {
            self.transform = Transform::derive(&self.key, RTCP_LABEL, now);
            self.period = now;
        }
        out.clear();
        out.extend_from_slice(body);
        let hidden_at = if is_encrypted { CONTROL_HEADER_LEN } else { body.len() };
        let (clear, hidden) = out.split_at_mut_checked(hidden_at)?;
        match &self.transform.crypt {
            Crypt::Cm { keystream, mac } => {
                mac.clone().chain_update(front).verify_truncated_left(tag).ok()?;
                keystream.apply(self.transform.counter(ssrc, index), hidden);
                Some(())
            }
            _ => {
                let header = [clear, &word[..]].concat();
                self.transform.open_gcm(ssrc, index, &header, hidden, tag).then_some(())
            }
        }
    }
}

/// Where the payload of an RTP packet begins: behind the list of sources and the header extension, which are not encrypted
/// (RFC 3711, 3.1).
fn header_len(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    let sources_end = 12 + 4 * usize::from(first & 0x0f);
    if first >> 6 != 2 || packet.len() < sources_end {
        return None;
    }
    if first & 0x10 == 0 {
        return Some(sources_end);
    }
    let words = u16::from_be_bytes(*packet.get(sources_end + 2..)?.first_chunk()?);
    let end = sources_end + 4 + 4 * usize::from(words);
    (end <= packet.len()).then_some(end)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::srtp::Suite;
    use crate::srtp::tests::{hex, key};

    /// What a sender makes of an RTP packet; no identifier.
    pub(crate) fn seal(key: &Key, roc: u32, packet: &[u8]) -> Vec<u8> {
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        let ssrc = packet[8..12].try_into().expect("4 bytes");
        let index = u64::from(roc) << 16 | u64::from(sequence);
        let transform = Transform::derive(key, RTP_LABEL, period(key, index));
        let mut sealed = packet.to_vec();
        let (header, payload) = sealed.split_at_mut(header_len(packet).expect("a header"));
        let tag = match &transform.crypt {
            Crypt::Cm { keystream, mac } => {
                keystream.apply(transform.counter(ssrc, index), payload);
                let mac = mac.clone().chain_update(&sealed).chain_update(roc.to_be_bytes());
                let tag_len = if key.authenticates() { key.suite.tag_len } else { 0 };
                mac.finalize().into_bytes()[..tag_len].to_vec()
            }
            Crypt::Gcm128(aead) => {
                let mut nonce = [0; 12];
                nonce[2..6].copy_from_slice(&ssrc);
                nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
                nonce.iter_mut().zip(&transform.salt).for_each(|(byte, salt)| *byte ^= salt);
                aead.encrypt_inout_detached(&nonce.into(), header, payload.into()).expect("short").to_vec()
            }
            Crypt::Gcm256(_) => panic!("no test seals with it"),
        };
        sealed.extend(tag);
        sealed
    }

    /// What a sender makes of a compound RTCP packet, with AES-CM.
    pub(crate) fn seal_control(key: &Key, index: u32, packet: &[u8]) -> Vec<u8> {
        let transform = Transform::derive(key, RTCP_LABEL, 0);
        let mut sealed = packet.to_vec();
        let ssrc = packet[4..8].try_into().expect("4 bytes");
        let Crypt::Cm { keystream, mac } = &transform.crypt else { panic!("no test seals with it") };
        keystream.apply(transform.counter(ssrc, u64::from(index)), &mut sealed[CONTROL_HEADER_LEN..]);
        sealed.extend((0x8000_0000 | index).to_be_bytes());
        let tag = mac.clone().chain_update(&sealed).finalize().into_bytes();
        sealed.extend(&tag[..CONTROL_TAG_LEN]);
        sealed
    }

    fn transform(suite: &str, master: &str) -> Box<Transform> {
        Transform::derive(&key(suite, master), RTP_LABEL, 0)
    }

    /// RFC 3711, B.2, and RFC 6188, 7.1: session key and salt, keystream from the first block on.
    #[test]
    fn the_keystream_is_that_of_the_standards() {
        for (key, expected) in [
            (
                "2b7e151628aed2a6abf7158809cf4f3c",
                "e03ead0935c95e80e166b16dd92b4eb4d23513162b02d0f72a43a2fe4a5f97ab41e95b3bb0a2e8dd477901e4fca894c0",
            ),
            (
                "57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98",
                "92bdd28a93c3f52511c677d08b5515a49da71b2378a854f67050756ded165bac63c4868b7096d88421b563b8c94c9a31",
            ),
        ] {
            let transform = Transform {
                crypt: Crypt::Cm {
                    keystream: Keystream::new(&hex(key)),
                    mac: HmacSha1::new_from_slice(b"").expect("any key"),
                },
                salt: hex("f0f1f2f3f4f5f6f7f8f9fafbfcfd").try_into().expect("14 bytes"),
            };
            let mut stream = [0; 48];
            let Crypt::Cm { keystream, .. } = &transform.crypt else { unreachable!() };
            keystream.apply(transform.counter([0; 4], 0), &mut stream);
            assert_eq!(stream[..], hex(expected)[..]);
        }
    }

    /// RFC 3711, B.3, and RFC 6188, 7.2 to 7.4: the salt is seen as it is, the cipher key by its keystream, the authentication key by
    /// the tag that it makes.
    #[test]
    fn the_derived_keys_are_those_of_the_standards() {
        for (suite, master, cipher_key, salt, mac_key) in [
            (
                "AES_CM_128_HMAC_SHA1_80",
                "e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6",
                "c61e7a93744f39ee10734afe3ff7a087",
                "30cbbc08863d8c85d49db34a9ae1",
                "cebe321f6ff7716b6fd4ab49af256a156d38baa4",
            ),
            (
                "AES_192_CM_HMAC_SHA1_80",
                "73edc66c4fa15776fb57f9505c17136550ffda71f3e8e5f1c8522f3acd4ce86d5add78edbb11",
                "31874736a8f1143870c26e4857d8a5b2c4a354407faadabb",
                "2372b82d639b6d8503a47adc0a6c",
                "355b10973cd95b9eacf4061c7e1a7151e7cfbfcb",
            ),
            (
                "AES_256_CM_HMAC_SHA1_80",
                "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b63b04803de51ee7c96423ab5b78d2",
                "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4",
                "fa31791685ca444a9e07c6c64e93",
                "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05",
            ),
        ] {
            let transform = transform(suite, master);
            assert_eq!(transform.salt[..], hex(salt)[..], "{suite}");
            let Crypt::Cm { keystream, mac } = &transform.crypt else { unreachable!() };
            let (mut ours, mut theirs) = ([0; 32], [0; 32]);
            keystream.apply([7; 16], &mut ours);
            Keystream::new(&hex(cipher_key)).apply([7; 16], &mut theirs);
            assert_eq!(ours, theirs, "{suite}");
            let theirs = HmacSha1::new_from_slice(&hex(mac_key)).expect("any key");
            let tag = |mac: &HmacSha1| mac.clone().chain_update(b"x").finalize().into_bytes();
            assert_eq!(tag(mac), tag(&theirs), "{suite}");
        }
    }

    /// RFC 7714, 16.1.1 and 16.2.1: session keys, an RTP packet, what is sent.
    #[test]
    fn packets_of_the_gcm_standard_are_opened() {
        let clear = hex(
            "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573",
        );
        let salt = hex("517569642070726f2071756f");
        for (name, key, sealed) in [
            (
                "AEAD_AES_128_GCM",
                "000102030405060708090a0b0c0d0e0f",
                "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
            ),
            (
                "AEAD_AES_256_GCM",
                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
                "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
            ),
        ] {
            let suite = Suite::from_name(name.as_bytes()).expect("known");
            let key = hex(key);
            let crypt = match key.len() {
                16 => Crypt::Gcm128(Aes128Gcm::new_from_slice(&key).expect("16 bytes")),
                _ => Crypt::Gcm256(Aes256Gcm::new_from_slice(&key).expect("32 bytes")),
            };
            let mut padded = [0; SALT_BYTES_MAX];
            padded[..12].copy_from_slice(&salt);
            let mut session = Session {
                key: Key::new(suite, &[&key[..], &salt].concat(), None, Default::default()).expect("fits"),
                transform: Box::new(Transform { crypt, salt: padded }),
                period: 0,
            };
            let mut packet = [&clear[..12], &hex(sealed)].concat();
            let mut out = Vec::new();
            assert_eq!(session.open(&packet, [1, 0], &mut out), Some(0), "{name}");
            assert_eq!(out, clear, "{name}");
            packet[1] ^= 0x80;
            assert_eq!(session.open(&packet, [0], &mut out), None, "{name}");
        }
    }
}
