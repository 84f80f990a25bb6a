//! The name of a recording: a ULID, so that the order of names is the order of starts.
//!
//! 48 bits of milliseconds since 1970 and 80 random bits, written as 26 characters of Crockford's base 32. It does not
//! own how a shortened name is found again: that is [`Archive::resolve`](crate::Archive::resolve).

use std::fmt;
use std::str::FromStr;

use decode::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Crockford's base 32: no I, L, O, U, so that a name survives being read out.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters of a whole name.
pub(crate) const TEXT_LEN: usize = 26;

/// The name of one recording. Orders, prints and sorts by the start of the recording.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordingId([u8; 16]);

impl RecordingId {
    /// The latest start that 48 bits of milliseconds can say (year 10889).
    pub(crate) const START_MS_MAX: i64 = (1 << 48) - 1;

    /// A new name for a recording that starts at `started`.
    ///
    /// # Panics
    /// When the operating system has no random numbers to give; nothing can be sealed then either.
    #[must_use]
    pub fn new(started: Timestamp) -> Self {
        let mut random = [0; 10];
        getrandom::fill(&mut random).expect("the operating system gives random bytes");
        RecordingId::from_parts(started, random)
    }

    /// From a start and ten bytes of the caller's choice, for replays that must give the same names twice. A start
    /// before 1970 counts as 1970.
    #[must_use]
    pub fn from_parts(started: Timestamp, random: [u8; 10]) -> Self {
        let ms = started.as_millis().clamp(0, Self::START_MS_MAX).to_be_bytes();
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&ms[2..]);
        bytes[6..].copy_from_slice(&random);
        RecordingId(bytes)
    }

    /// From the sixteen bytes that files carry.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        RecordingId(bytes)
    }

    /// The sixteen bytes; their order is the order of names.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The start that the name carries, to the millisecond.
    #[must_use]
    pub fn started(&self) -> Timestamp {
        let mut ms = [0; 8];
        ms[2..].copy_from_slice(&self.0[..6]);
        Timestamp::from_millis(i64::from_be_bytes(ms))
    }

    /// The name behind this one; none behind the last.
    pub(crate) fn next(self) -> Option<RecordingId> {
        u128::from_be_bytes(self.0).checked_add(1).map(|next| RecordingId(next.to_be_bytes()))
    }

    /// The first and the last name that begin with `prefix` (in either case); none when no name can.
    pub(crate) fn range_of_prefix(prefix: &str) -> Option<(RecordingId, RecordingId)> {
        if prefix.is_empty() || prefix.len() > TEXT_LEN {
            return None;
        }
        let low: String = prefix.chars().chain(std::iter::repeat('0')).take(TEXT_LEN).collect();
        let high: String = prefix.chars().chain(std::iter::repeat('Z')).take(TEXT_LEN).collect();
        Some((low.parse().ok()?, high.parse().ok()?))
    }
}

impl fmt::Display for RecordingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        let mut text = [0u8; TEXT_LEN];
        for (i, c) in text.iter_mut().enumerate() {
            // 26 characters of 5 bits are 130 bits: the first character carries only the top three.
            let shift = 5 * (TEXT_LEN - 1 - i);
            *c = ALPHABET[(value >> shift) as usize & 31];
        }
        f.pad(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for RecordingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not the name of a recording.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a recording (26 characters such as 01KAB2Q6ZT4V9XN3M7R8W5Y0EC)")]
pub struct IdError;

impl FromStr for RecordingId {
    type Err = IdError;

    /// Reads what `Display` writes, in either case; `I` and `L` are read as 1 and `O` as 0, as Crockford has it.
    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() != TEXT_LEN {
            return Err(IdError);
        }
        let mut value: u128 = 0;
        for (i, c) in text.bytes().enumerate() {
            let c = match c.to_ascii_uppercase() {
                b'I' | b'L' => b'1',
                b'O' => b'0',
                c => c,
            };
            let digit = ALPHABET.iter().position(|&a| a == c).ok_or(IdError)? as u128;
            if i == 0 && digit > 7 {
                return Err(IdError);
            }
            value = value << 5 | digit;
        }
        Ok(RecordingId(value.to_be_bytes()))
    }
}

impl Serialize for RecordingId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RecordingId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: i64, random: [u8; 10]) -> RecordingId {
        RecordingId::from_parts(Timestamp::from_millis(ms), random)
    }

    #[test]
    fn an_id_prints_26_characters_and_reads_back_in_either_case() {
        // The example of the ULID specification: 2016-07-30T23:54:10.259Z is 01ARZ3NDEK.
        let id = id(1_469_922_850_259, [0xff; 10]);
        assert_eq!(id.to_string(), "01ARZ3NDEKZZZZZZZZZZZZZZZZ");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_lowercase().parse(), Ok(id));
        assert_eq!(id.started(), Timestamp::from_millis(1_469_922_850_259));
    }

    #[test]
    fn the_order_of_names_is_the_order_of_starts() {
        let (early, late) = (id(1_000, [0xff; 10]), id(1_001, [0; 10]));
        assert!(early < late);
        assert!(early.to_string() < late.to_string());
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "01ARYZ6S41",
            "81ARYZ6S41ZZZZZZZZZZZZZZZZ",
            "01ARYZ6S41ZZZZZZZZZZZZZZZU",
            "01ARYZ6S41ZZZZZZZZZZZZZZé",
        ] {
            assert_eq!(text.parse::<RecordingId>(), Err(IdError), "{text}");
        }
    }

    #[test]
    fn a_prefix_covers_exactly_the_names_that_begin_with_it() {
        let (low, high) = RecordingId::range_of_prefix("01aryz").expect("a prefix");
        assert_eq!(low.to_string(), "01ARYZ00000000000000000000");
        assert_eq!(high.to_string(), "01ARYZZZZZZZZZZZZZZZZZZZZZ");
        assert_eq!(RecordingId::range_of_prefix("9"), None);
        assert_eq!(RecordingId::range_of_prefix(""), None);
    }

    #[test]
    fn a_start_before_1970_counts_as_1970() {
        assert_eq!(id(-5, [1; 10]), id(0, [1; 10]));
    }

    proptest::proptest! {
        #[test]
        fn every_name_reads_back(bytes: [u8; 16]) {
            let id = RecordingId::from_bytes(bytes);
            proptest::prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }
}
