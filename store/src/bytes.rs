//! Reading numbers from bytes that may be anything: every read says whether the bytes were there.

/// A place in a byte slice that moves forward with every read. All numbers are little-endian.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0 }
    }

    /// Where the next read begins.
    pub(crate) const fn offset(&self) -> usize {
        self.at
    }

    /// Has everything been read?
    pub(crate) const fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The next `len` bytes; none (and no move) when there are fewer.
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    /// The next `N` bytes as an array.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// A 16-bit length and that many bytes.
    pub(crate) fn short(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let len = ahead.u16()?;
        let taken = ahead.take(usize::from(len))?;
        *self = ahead;
        Some(taken)
    }
}

/// Appends a 16-bit length and the bytes; what does not fit into the length is cut at a character.
pub(crate) fn put_short(out: &mut Vec<u8>, text: &str, max: u16) {
    let mut end = text.len().min(usize::from(max));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.extend_from_slice(&(end as u16).to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..end]);
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

/// Hexadecimal of either case back into bytes; none when it is not `N` of them.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (digits, rest) = text.as_bytes().as_chunks::<2>();
    if digits.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(digits) {
        let digit = |c: &u8| char::from(*c).to_digit(16);
        *byte = u8::try_from(digit(high)? * 16 + digit(low)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_past_the_end_gives_nothing_and_does_not_move() {
        let mut cursor = Cursor::new(&[1, 0, 7]);
        assert_eq!(cursor.u32(), None);
        assert_eq!(cursor.u16(), Some(1));
        assert_eq!(cursor.take(usize::MAX), None);
        assert_eq!(cursor.u8(), Some(7));
        assert!(cursor.is_empty());
    }

    #[test]
    fn hexadecimal_reads_back_and_nothing_else_does() {
        assert_eq!(from_hex(&hex(&[0, 0xaf, 9])), Some([0, 0xaf, 9]));
        assert_eq!(from_hex("AF"), Some([0xaf]));
        for text in ["", "a", "aff", "ag", "+1", "\u{e9}"] {
            assert_eq!(from_hex::<1>(text), None, "{text}");
        }
    }

    #[test]
    fn a_short_string_is_cut_at_a_character() {
        let mut out = Vec::new();
        put_short(&mut out, "aé", 2);
        assert_eq!(out, [1, 0, b'a']);
    }
}
