//! SRTP as a sender makes it: AES_CM_128_HMAC_SHA1_80 (RFC 3711), the key in a crypto line (RFC 4568). Seals only; nothing is read.

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use hmac::{Hmac, Mac};
use sha1::Sha1;

use crate::rng::Rng;

/// Bytes of master key and master salt.
const SECRET_LEN: usize = 30;
const KEY_LEN: usize = 16;
const TAG_LEN: usize = 10;
/// Bytes of an RTP header without sources and extension, which is the only one that is sealed here.
const HEADER_LEN: usize = 12;

/// A master key and salt, made up.
#[derive(Clone, Copy)]
pub struct Secret([u8; SECRET_LEN]);

impl Secret {
    /// One of its own for each `(seed, stream)`.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Secret {
        let mut rng = Rng::new(seed, stream);
        Secret(std::array::from_fn(|_| rng.next() as u8))
    }

    /// The attribute that tells it.
    #[must_use]
    pub fn crypto_line(&self) -> String {
        format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{}\r\n", base64(&self.0))
    }
}

/// Protects one party's packets, in sending order.
pub struct Sender {
    cipher: Aes128,
    mac: Hmac<Sha1>,
    salt: u128,
    /// Source, roll-over counter and sequence number of the latest packet.
    latest: Option<(u32, u32, u16)>,
}

impl Sender {
    /// With the session keys of `secret`.
    #[must_use]
    pub fn new(secret: &Secret) -> Sender {
        let (key, salt) = secret.0.split_at(KEY_LEN);
        let master = Aes128::new_from_slice(key).expect("16 bytes");
        let salt = wide(salt);
        let derive = |label: u128, len| keystream(&master, (salt ^ label << 48) << 16, len);
        let key = |bytes: Vec<u8>| Aes128::new_from_slice(&bytes).expect("16 bytes");
        Sender {
            cipher: key(derive(0, KEY_LEN)),
            mac: Hmac::new_from_slice(&derive(1, 20)).expect("a key of any length"),
            salt: wide(&derive(2, SECRET_LEN - KEY_LEN)),
            latest: None,
        }
    }

    /// An RTP packet with a plain header as it goes out.
    pub fn seal(&mut self, packet: &[u8]) -> Vec<u8> {
        let (header, payload) = packet.split_at(HEADER_LEN);
        let sequence = wide(&header[2..4]) as u16;
        let ssrc = wide(&header[8..12]) as u32;
        let roc = match self.latest {
            Some((before, roc, last)) if before == ssrc => roc + u32::from(sequence < last),
            _ => 0,
        };
        self.latest = Some((ssrc, roc, sequence));
        let index = u128::from(roc) << 16 | u128::from(sequence);
        let counter = self.salt << 16 ^ u128::from(ssrc) << 64 ^ index << 16;
        let stream = keystream(&self.cipher, counter, payload.len());
        let mut sealed = header.to_vec();
        sealed.extend(payload.iter().zip(stream).map(|(byte, key)| byte ^ key));
        let mac = self.mac.clone().chain_update(&sealed).chain_update(roc.to_be_bytes());
        sealed.extend(&mac.finalize().into_bytes()[..TAG_LEN]);
        sealed
    }
}

/// A big-endian number.
fn wide(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u128::from(byte))
}

fn keystream(cipher: &Aes128, counter: u128, len: usize) -> Vec<u8> {
    let blocks = (0..len.div_ceil(KEY_LEN) as u128).flat_map(|n| {
        let mut block = (counter + n).to_be_bytes().into();
        cipher.encrypt_block(&mut block);
        <[u8; KEY_LEN]>::from(block)
    });
    blocks.take(len).collect()
}

/// RFC 4648, 4; the length is a multiple of three.
fn base64(bytes: &[u8]) -> String {
    const SYMBOLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let symbols = |three: &[u8]| [18, 12, 6, 0].map(|shift| SYMBOLS[(wide(three) >> shift) as usize % 64]);
    bytes.chunks_exact(3).flat_map(symbols).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What libsrtp 2.5.0 made of the same packets with the same key.
    #[test]
    fn packets_are_sealed_as_another_implementation_seals_them() {
        let mut sender = Sender::new(&Secret(std::array::from_fn(|n| (7 * n + 3) as u8)));
        let mut seal = |header: u128| {
            let mut packet = header.to_be_bytes()[4..].to_vec();
            packet.extend(0..20);
            hex(&sender.seal(&packet)[HEADER_LEN..])
        };
        assert_eq!(
            seal(0x8000_fffe_009f_fec0_deca_fbad),
            "8d0b62c49d2fead2f5dbb9da1294c6c0f9a3b2b401340bbf0bd3cace9589"
        );
        seal(0x8000_ffff_009f_ff60_deca_fbad);
        seal(0x8000_0000_0000_0000_deca_fbad);
        assert_eq!(
            seal(0x8000_0001_0000_00a0_deca_fbad),
            "fe84c3ae8875e36166619069fe8963e4172bc2b79f44258473c1da08ae6f"
        );
    }

    #[test]
    fn the_line_holds_the_secret() {
        assert_eq!(base64(b"wDfvg&T+)xG7@fb5jU,RaA}\\|p0%*#"), "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj");
    }
}
