//! Bits of a payload in network order: reading a few, and copying a run of them to the front of bytes of their own.

/// A place in a payload.
#[derive(Clone, Debug)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Bits { bytes, at: 0 }
    }

    /// Bits to come.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() * 8 - self.at
    }

    fn next(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1 == 1;
        self.at += 1;
        Some(bit)
    }

    /// The next bit without taking it.
    pub(super) fn peek(&self) -> Option<bool> {
        self.clone().next()
    }

    /// The next `count` bits as a number, 32 at most; none when there are fewer, and then nothing is taken.
    pub(super) fn read(&mut self, count: usize) -> Option<u32> {
        if count > self.left() || count > 32 {
            return None;
        }
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.next()?);
        }
        Some(value)
    }

    /// Passes over bits.
    pub(super) fn skip(&mut self, count: usize) -> Option<()> {
        if count > self.left() {
            return None;
        }
        self.at += count;
        Some(())
    }

    /// Copies the next `count` bits to the front of `out`, the rest of whose last byte is left as it is. None when there are
    /// fewer or `out` is too small.
    pub(super) fn copy(&mut self, count: usize, out: &mut [u8]) -> Option<()> {
        if count > self.left() || count > out.len() * 8 {
            return None;
        }
        for place in 0..count {
            let bit = u8::from(self.next()?);
            let (byte, shift) = (out.get_mut(place / 8)?, 7 - place % 8);
            *byte = *byte & !(1 << shift) | bit << shift;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_read_from_the_top_and_copied_to_the_front() {
        let mut bits = Bits::new(&[0b1010_1100, 0b0101_0011]);
        assert_eq!((bits.read(3), bits.peek(), bits.left()), (Some(0b101), Some(false), 13));
        let mut out = [0xff; 2];
        assert_eq!(bits.copy(10, &mut out), Some(()));
        assert_eq!(out, [0b0110_0010, 0b1011_1111]);
        assert_eq!((bits.read(4), bits.copy(4, &mut out), bits.read(3)), (None, None, Some(0b011)));
    }
}
