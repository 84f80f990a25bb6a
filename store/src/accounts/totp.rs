//! Second factors: time-based one-time passwords (RFC 6238) of six digits, thirty seconds, HMAC-SHA-1, which every app has.
//!
//! Few lines over hashes that are here already: which step a code was of must be known, so that a code counts once.

use decode::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use zeroize::Zeroizing;

/// Bytes of a secret: as many as SHA-1 gives (RFC 4226, 4).
const SECRET_LEN: usize = 20;
/// Seconds that a code is for.
const STEP_S: i64 = 30;
/// Codes of so many steps before and after now are taken: clocks differ.
const STEPS_OFF: i64 = 1;
const DIGITS: usize = 6;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What an account and an app share. Blank in `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TotpSecret(Zeroizing<[u8; SECRET_LEN]>);

impl std::fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TotpSecret")
    }
}

impl TotpSecret {
    /// A new one.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn new() -> Result<TotpSecret, crate::Error> {
        let mut bytes = Zeroizing::new([0; SECRET_LEN]);
        getrandom::fill(&mut bytes[..])
            .map_err(|e| crate::Error::Refused { what: format!("a secret: no random bytes: {e}") })?;
        Ok(TotpSecret(bytes))
    }

    /// As people type it into an app: base 32 (RFC 4648, 6), without padding.
    #[must_use]
    pub fn base32(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(SECRET_LEN * 8 / 5));
        for five in self.0.chunks(5) {
            let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            for place in (0..8).rev() {
                let digit = BASE32.get((bits >> (5 * place) & 31) as usize).copied().unwrap_or_default();
                text.push(char::from(digit));
            }
        }
        text
    }

    fn from_base32(text: &str) -> Option<TotpSecret> {
        let mut bytes = Zeroizing::new([0; SECRET_LEN]);
        if text.len() != SECRET_LEN * 8 / 5 {
            return None;
        }
        for (eight, five) in text.as_bytes().chunks(8).zip(bytes.chunks_mut(5)) {
            let digit = |byte: &u8| BASE32.iter().position(|digit| digit == byte);
            let bits = eight.iter().try_fold(0_u64, |bits, byte| Some(bits << 5 | digit(byte)? as u64))?;
            five.copy_from_slice(bits.to_be_bytes().get(3..)?);
        }
        Some(TotpSecret(bytes))
    }

    /// The address that apps read from a QR code. `issuer` is what the recorder is called, `account` the user name.
    #[must_use]
    pub fn uri(&self, issuer: &str, account: &str) -> Zeroizing<String> {
        let (issuer, account) = (percent(issuer), percent(account));
        Zeroizing::new(format!(
            "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={STEP_S}",
            *self.base32()
        ))
    }

    /// The code of a step (RFC 4226, 5.3).
    fn code(&self, step: i64) -> u32 {
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.0[..]).expect("HMAC takes keys of any length");
        mac.update(&step.to_be_bytes());
        let digest = mac.finalize().into_bytes();
        let offset = usize::from(digest.last().copied().unwrap_or_default() & 0xf);
        let four = digest.get(offset..offset + 4).and_then(|four| <[u8; 4]>::try_from(four).ok());
        (u32::from_be_bytes(four.unwrap_or_default()) & 0x7fff_ffff) % 10_u32.pow(DIGITS as u32)
    }

    /// The code of this moment, as an app shows it.
    #[must_use]
    pub fn code_at(&self, at: Timestamp) -> String {
        format!("{:0width$}", self.code(step_of(at)), width = DIGITS)
    }

    /// The step that the code is of, if it is one of about now and later than the last one that counted.
    pub(super) fn step_of_code(&self, code: &str, at: Timestamp, last: Option<i64>) -> Option<i64> {
        let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        if code.len() != DIGITS || !code.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let (code, now) = (code.parse::<u32>().ok()?, step_of(at));
        // All are computed, whichever it is.
        let is_it = |step: &i64| self.code(*step) == code;
        let found = (now - STEPS_OFF..=now + STEPS_OFF).filter(is_it).max()?;
        last.is_none_or(|last| found > last).then_some(found)
    }
}

fn step_of(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(STEP_S * 1_000)
}

fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

impl TryFrom<String> for TotpSecret {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        TotpSecret::from_base32(&text).ok_or("it is no secret in base 32")
    }
}

impl From<TotpSecret> for String {
    fn from(secret: TotpSecret) -> Self {
        secret.base32().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> TotpSecret {
        TotpSecret(Zeroizing::new(*b"12345678901234567890"))
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn the_codes_are_those_of_the_standard() {
        // RFC 6238, appendix B, the last six of eight digits.
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
        ] {
            assert_eq!(secret().code_at(at(seconds)), code);
        }
    }

    #[test]
    fn a_code_counts_for_a_step_before_and_after_and_only_once() {
        let (now, code) = (at(1_234_567_890), secret().code_at(at(1_234_567_890)));
        let step = secret().step_of_code(&code, now, None).expect("now");
        assert_eq!(secret().step_of_code(&code, now, Some(step)), None, "it has counted");
        assert_eq!(secret().step_of_code(&code, at(1_234_567_890 + 30), Some(step - 1)), Some(step));
        assert_eq!(secret().step_of_code(&code, at(1_234_567_890 - 30), None), Some(step));
        assert_eq!(secret().step_of_code(&code, at(1_234_567_890 + 61), None), None);
        assert_eq!(secret().step_of_code("005 924", now, None), Some(step), "as apps show it");
        for wrong in ["", "5924", "0059240", "00592x", "+05924"] {
            assert_eq!(secret().step_of_code(wrong, now, None), None, "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_written_in_base_32_and_read_again() {
        assert_eq!(*secret().base32(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let new = TotpSecret::new().expect("made");
        assert_eq!(TotpSecret::from_base32(&new.base32()), Some(new.clone()));
        assert_ne!(new, secret());
        assert_eq!(TotpSecret::from_base32("GEZDGNBV"), None);
        assert_eq!(TotpSecret::from_base32(&"1".repeat(32)), None);
        assert_eq!(format!("{new:?}"), "TotpSecret");
        let uri = secret().uri("ear witness", "Ann");
        assert!(uri.starts_with("otpauth://totp/ear%20witness:Ann?secret=GEZD"), "{}", *uri);
    }
}
