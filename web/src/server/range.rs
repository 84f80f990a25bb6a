//! Which bytes of a file a request asks for: the `Range` field of RFC 9110, 14.1.2 and 14.2.
//!
//! One range of bytes is honoured. Several at once, another unit, or words that are no range are ignored, as the RFC
//! allows, and the whole file is the answer. Pure: a text and a length in, a stretch out.

use std::ops::Range;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// All of it.
    Whole,
    /// These bytes: not empty, and inside the file.
    Part(Range<u64>),
    /// Bytes of which the file has none.
    Unsatisfiable,
}

/// The bytes of a file of `total` bytes that the value of a `Range` field selects.
pub(super) fn select(field: Option<&str>, total: u64) -> Selection {
    let Some((first, last)) = field.and_then(single_range) else { return Selection::Whole };
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => return Selection::Whole,
        (Some(first), Some(last)) => first..last.saturating_add(1).min(total),
        (Some(first), None) if last.is_empty() => first..total,
        // The last so many bytes.
        (None, Some(count)) if first.is_empty() => total.saturating_sub(count)..total,
        _ => return Selection::Whole,
    };
    if range.is_empty() { Selection::Unsatisfiable } else { Selection::Part(range) }
}

/// The words on both sides of the dash of the only range, if there is only one.
fn single_range(field: &str) -> Option<(&str, &str)> {
    let (unit, range) = field.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    (unit.trim().eq_ignore_ascii_case("bytes") && !last.contains(',')).then_some((first, last))
}

/// Digits only; a number beyond all files is that beyond all files.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_rfc_9110_select_what_they_say() {
        for (field, expected) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-", 0..1_000),
            ("bytes=100-199", 100..200),
            ("bytes=999-999", 999..1_000),
            ("bytes=500-99999", 500..1_000),
            ("bytes=500-99999999999999999999999", 500..1_000),
            ("bytes=-1", 999..1_000),
            ("bytes=-5000", 0..1_000),
            ("Bytes= 7-9 ", 7..10),
        ] {
            assert_eq!(select(Some(field), 1_000), Selection::Part(expected), "{field}");
        }
    }

    #[test]
    fn what_lies_behind_the_end_is_refused_and_not_answered_with_something_else() {
        for field in ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(select(Some(field), 1_000), Selection::Unsatisfiable, "{field}");
        }
    }

    #[test]
    fn what_is_no_single_range_of_bytes_is_ignored() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-2",
            "bytes=+1-2",
            "bytes=0x1-2",
            "items=0-1",
            "bytes=0-1,5-6",
            "bytes=0-1,",
            "bytes=1 -2",
            "bytes=--1",
            "bytes=1-2-3",
        ] {
            assert_eq!(select(Some(field), 1_000), Selection::Whole, "{field}");
        }
        assert_eq!(select(None, 1_000), Selection::Whole);
    }

    proptest::proptest! {
        #[test]
        fn a_part_is_never_empty_and_never_outside(field in "(bytes=)?[0-9]{0,25}-?[0-9]{0,25}", total: u64) {
            if let Selection::Part(range) = select(Some(&field), total) {
                proptest::prop_assert!(range.start < range.end && range.end <= total);
            }
        }
    }
}
