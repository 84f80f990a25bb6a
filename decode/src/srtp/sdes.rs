//! `a=crypto` lines of session descriptions (RFC 4568, 9).
//!
//! Read leniently: what is not understood is passed over, since a key that does not fit will not authenticate anything. Which line of
//! an offer counts is the tracker's to say.

use zeroize::Zeroizing;

use super::{KDR_EXPONENT_MAX, KEY_BYTES_MAX, Key, MKI_BYTES_MAX, Mki, Parameters, SALT_BYTES_MAX, Suite};

/// Keys of one line that are read; more are passed over.
pub const KEYS_PER_LINE_MAX: usize = 8;
/// Longest text of a key and salt in base64 that is looked at, in bytes; the longest that is right has 64.
const BASE64_BYTES_MAX: usize = 96;

/// One `a=crypto` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crypto {
    /// Names the line: an answer repeats the tag of the line that it took (RFC 4568, 5.1.2).
    pub tag: u32,
    /// Its keys, those of AES-192 in both ways in which they are used: as RFC 6188 has it, then as libsrtp does. None when the suite
    /// is not known, or no key could be read.
    pub keys: Vec<Key>,
}

/// Reads what stands after `a=crypto:`. `None` when not even the tag can be read.
#[must_use]
pub fn parse(value: &[u8]) -> Option<Crypto> {
    let mut words = value.split(|&b| b == b' ' || b == b'\t').filter(|word| !word.is_empty());
    let tag = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    let suite = words.next().and_then(Suite::from_name);
    let key_parameters = words.next().unwrap_or_default();
    let parameters = words.fold(Parameters::default(), session_parameter);
    let keys = suite.map_or_else(Vec::new, |suite| {
        key_parameters
            .split(|&b| b == b';')
            .take(KEYS_PER_LINE_MAX)
            .filter_map(|text| key(suite, parameters, text))
            .flat_map(|key| {
                let libsrtp = key.as_libsrtp_derives();
                [Some(key), libsrtp].into_iter().flatten()
            })
            .collect()
    });
    Some(Crypto { tag, keys })
}

/// `KDR=n`, `UNENCRYPTED_SRTP` and so on (RFC 4568, 6.3). Forward error correction and the window size change nothing for us.
fn session_parameter(mut known: Parameters, word: &[u8]) -> Parameters {
    match word.to_ascii_uppercase().as_slice() {
        b"UNENCRYPTED_SRTP" => known.unencrypted_srtp = true,
        b"UNENCRYPTED_SRTCP" => known.unencrypted_srtcp = true,
        b"UNAUTHENTICATED_SRTP" => known.unauthenticated_srtp = true,
        other => {
            let exponent = other.strip_prefix(b"KDR=").and_then(number).and_then(|n| u8::try_from(n).ok());
            known.kdr_exponent = exponent.filter(|&n| n <= KDR_EXPONENT_MAX).or(known.kdr_exponent);
        }
    }
    known
}

/// `inline:<key and salt>[|lifetime][|MKI:length]` (RFC 4568, 6.1).
fn key(suite: Suite, parameters: Parameters, text: &[u8]) -> Option<Key> {
    let (method, info) = text.split_at_checked(b"inline:".len())?;
    if !method.eq_ignore_ascii_case(b"inline:") {
        return None;
    }
    let mut parts = info.split(|&b| b == b'|');
    let mut bytes = Zeroizing::new([0; KEY_BYTES_MAX + SALT_BYTES_MAX]);
    let len = base64(parts.next()?, &mut *bytes)?;
    let mut identifier = None;
    // The lifetime has no colon; what comes after it is not our concern.
    for part in parts.filter(|part| part.contains(&b':')) {
        identifier = Some(mki(part)?);
    }
    Key::new(suite, bytes.get(..len)?, identifier, parameters)
}

fn mki(text: &[u8]) -> Option<Mki> {
    let colon = text.iter().position(|&b| b == b':')?;
    let (value, len) = text.split_at_checked(colon)?;
    let len = usize::try_from(number(len.get(1..)?)?).ok().filter(|len| (1..=MKI_BYTES_MAX).contains(len))?;
    Some(Mki { value: number(value), len })
}

fn number(text: &[u8]) -> Option<u128> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Decodes base64 (RFC 4648, 4), with or without its padding, into `out`. Gives the number of bytes; `None` when it does not fit
/// or is no base64.
fn base64(text: &[u8], out: &mut [u8]) -> Option<usize> {
    let end = text.iter().position(|&b| b == b'=').unwrap_or(text.len());
    let (symbols, padding) = text.split_at_checked(end)?;
    if symbols.len() > BASE64_BYTES_MAX || padding.len() > 2 || padding.iter().any(|&b| b != b'=') {
        return None;
    }
    let (mut bits, mut held, mut len) = (0u32, 0u32, 0);
    for &symbol in symbols {
        let value = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            *out.get_mut(len)? = (bits >> held) as u8;
            len += 1;
        }
    }
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::Cipher;

    /// The example of RFC 4568, 6.1.
    const LINE: &[u8] =
        b"1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:4 FEC_ORDER=FEC_SRTP";

    #[test]
    fn a_line_with_lifetime_and_identifier_is_read() {
        let crypto = parse(LINE).expect("a line");
        assert_eq!((crypto.tag, crypto.keys.len()), (1, 1));
        let key = &crypto.keys[0];
        assert_eq!(key.suite(), Suite { cipher: Cipher::AesCm, key_len: 16, tag_len: 10 });
        assert_eq!(key.mki, Some(Mki { value: Some(1), len: 4 }));
        assert_eq!(&key.key[..16], b"wDfvg&T+)xG7@fb5");
        assert_eq!(&key.salt, b"jU,RaA}\\|p0%*#");
    }

    #[test]
    fn several_keys_and_parameters_of_a_line_are_read() {
        let line = b"2 AES_CM_128_HMAC_SHA1_32 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|1:2;\
            INLINE:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSok|1048576|2:2  KDR=3 UNENCRYPTED_SRTCP unauthenticated_srtp -X=1";
        let crypto = parse(line).expect("a line");
        let mkis: Vec<_> = crypto.keys.iter().map(|key| key.mki.and_then(|mki| mki.value)).collect();
        assert_eq!(mkis, [Some(1), Some(2)]);
        let expected = Parameters {
            unencrypted_srtp: false,
            unencrypted_srtcp: true,
            unauthenticated_srtp: true,
            kdr_exponent: Some(3),
        };
        assert!(crypto.keys.iter().all(|key| key.parameters == expected && !key.authenticates()));
    }

    #[test]
    fn a_key_of_aes_192_is_two_and_the_standards_comes_first() {
        let line = |suite: &str, more: &str| {
            let line = format!("1 {suite} inline:{}{more}", "A".repeat(50) + "A=");
            parse(line.as_bytes()).expect("a line").keys
        };
        for suite in ["AES_192_CM_HMAC_SHA1_80", "AES_CM_192_HMAC_SHA1_32"] {
            let keys = line(suite, "");
            assert_eq!(keys.len(), 2, "{suite}");
            assert_eq!(Some(&keys[1]), keys[0].as_libsrtp_derives().as_ref());
            // Without a tag nothing tells the two apart.
            assert_eq!(line(suite, " UNAUTHENTICATED_SRTP").len(), 1);
        }
    }

    #[test]
    fn lines_that_say_nothing_usable_have_no_key() {
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"x AES_CM_128_HMAC_SHA1_80 inline:AAAA"), None);
        for line in [
            &b"1"[..],
            b"1 F8_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj",
            b"1 AES_CM_128_HMAC_SHA1_80",
            b"1 AES_CM_128_HMAC_SHA1_80 inline:",
            b"1 AES_CM_128_HMAC_SHA1_80 inline:d0Rm",
            b"1 AES_CM_128_HMAC_SHA1_80 uri:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj",
            b"1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|1:0",
            b"1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|1:129",
            b"1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cf\xffAwJSoj",
        ] {
            let crypto = parse(line).expect("a tag");
            assert!(crypto.keys.is_empty(), "{}", String::from_utf8_lossy(line));
        }
        let endless = [&b"1 AES_CM_128_HMAC_SHA1_80 inline:"[..], &b"A".repeat(100_000)].concat();
        assert!(parse(&endless).expect("a tag").keys.is_empty());
        let many = [
            &b"1 AES_CM_128_HMAC_SHA1_80 "[..],
            &b"inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj;".repeat(1000),
        ]
        .concat();
        assert_eq!(parse(&many).expect("a tag").keys.len(), KEYS_PER_LINE_MAX);
    }

    #[test]
    fn a_key_shows_nothing_of_itself() {
        assert_eq!(format!("{:?}", parse(LINE).expect("a line").keys), "[Key]");
    }
}
