//! The 76 parameters of one GSM 06.10 frame, and their two packings.
//!
//! Both carry the same 260 bits in the same order of parameters. RTP and `.gsm` files (RFC 3551, 4.5.8.1) put a
//! signature nibble before them and fill bytes from the most significant bit: 33 bytes. WAVE format 0x0031 ("WAV49")
//! joins two frames without a signature and fills bytes from the least significant bit: 65 bytes.

/// Bytes of one frame in RTP and in `.gsm` files.
pub const FRAME_BYTES: usize = 33;
/// Bytes of one WAV49 block, which holds two frames.
pub const BLOCK_BYTES: usize = 65;

/// The upper four bits of every 33-byte frame.
const SIGNATURE: u8 = 0xD;
/// Bits of each log area ratio, in order.
const LAR_BITS: [u32; 8] = [6, 6, 5, 5, 4, 4, 3, 3];

/// What the encoder says about 20 ms of sound. Each field fits its bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Coded log area ratios (LARc) of the short-term filter, 6, 6, 5, 5, 4, 4, 3 and 3 bits.
    pub(super) lars: [u8; 8],
    /// Four stretches of 5 ms.
    pub(super) subframes: [Subframe; 4],
}

/// What the encoder says about 5 ms of the short-term residual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Subframe {
    /// How many samples ago the residual looked alike (Nc), 7 bits; the encoder writes 40 to 120.
    pub(super) lag: u8,
    /// How much of it to take over (bc), 2 bits.
    pub(super) gain: u8,
    /// Which of the four grids the pulses stand on (Mc), 2 bits.
    pub(super) grid: u8,
    /// The largest pulse (xmaxc), 6 bits, logarithmic.
    pub(super) peak: u8,
    /// The pulses relative to the largest (xMc), 3 bits each.
    pub(super) pulses: [u8; 13],
}

impl Parameters {
    /// Reads a 33-byte frame; none when it does not carry the signature.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; FRAME_BYTES]) -> Option<Self> {
        let mut bits = MsbReader { bytes: bytes.iter(), held: 0, count: 0 };
        (bits.take(4) == SIGNATURE).then(|| Parameters::read(|width| bits.take(width)))
    }

    /// The 33-byte frame.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; FRAME_BYTES] {
        let mut bytes = [0; FRAME_BYTES];
        let mut room = bytes.iter_mut();
        let (mut held, mut count) = (u32::from(SIGNATURE), 4_u32);
        self.write(|value, width| {
            held = held << width | u32::from(value);
            count += width;
            if count >= 8 {
                count -= 8;
                if let Some(byte) = room.next() {
                    *byte = (held >> count) as u8;
                }
                held &= (1 << count) - 1;
            }
        });
        bytes
    }

    /// Reads the two frames of a WAV49 block. Every 65 bytes are a block.
    #[must_use]
    pub fn from_block(block: &[u8; BLOCK_BYTES]) -> [Self; 2] {
        let mut bits = LsbReader { bytes: block.iter(), held: 0, count: 0 };
        let first = Parameters::read(|width| bits.take(width));
        [first, Parameters::read(|width| bits.take(width))]
    }

    /// The WAV49 block of two frames.
    #[must_use]
    pub fn to_block(pair: &[Self; 2]) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        let mut room = block.iter_mut();
        let (mut held, mut count) = (0_u32, 0_u32);
        for frame in pair {
            frame.write(|value, width| {
                held |= u32::from(value) << count;
                count += width;
                if count >= 8 {
                    count -= 8;
                    if let Some(byte) = room.next() {
                        *byte = held as u8;
                    }
                    held >>= 8;
                }
            });
        }
        block
    }

    /// Every field in the order of transmission, from a source that gives the next so many bits.
    fn read(mut take: impl FnMut(u32) -> u8) -> Self {
        let lars = LAR_BITS.map(&mut take);
        let subframes = [(); 4].map(|()| Subframe {
            lag: take(7),
            gain: take(2),
            grid: take(2),
            peak: take(6),
            pulses: [(); 13].map(|()| take(3)),
        });
        Parameters { lars, subframes }
    }

    /// Every field in the order of transmission, with its width in bits. Fields are masked to their width, so that
    /// one field can never spill into the next.
    fn write(&self, mut put: impl FnMut(u8, u32)) {
        let mut field = |value: u8, width: u32| put(value & ((1 << width) - 1), width);
        for (&lar, width) in self.lars.iter().zip(LAR_BITS) {
            field(lar, width);
        }
        for subframe in &self.subframes {
            field(subframe.lag, 7);
            field(subframe.gain, 2);
            field(subframe.grid, 2);
            field(subframe.peak, 6);
            for &pulse in &subframe.pulses {
                field(pulse, 3);
            }
        }
    }
}

/// Takes bits from the most significant end; zeros behind the end.
struct MsbReader<'a> {
    bytes: std::slice::Iter<'a, u8>,
    held: u32,
    count: u32,
}

impl MsbReader<'_> {
    /// The next `width` bits, at most 8.
    fn take(&mut self, width: u32) -> u8 {
        if self.count < width {
            self.held = self.held << 8 | u32::from(self.bytes.next().copied().unwrap_or(0));
            self.count += 8;
        }
        self.count -= width;
        let value = (self.held >> self.count) as u8;
        self.held &= (1 << self.count) - 1;
        value
    }
}

/// Takes bits from the least significant end; zeros behind the end.
struct LsbReader<'a> {
    bytes: std::slice::Iter<'a, u8>,
    held: u32,
    count: u32,
}

impl LsbReader<'_> {
    /// The next `width` bits, at most 8.
    fn take(&mut self, width: u32) -> u8 {
        if self.count < width {
            self.held |= u32::from(self.bytes.next().copied().unwrap_or(0)) << self.count;
            self.count += 8;
        }
        let value = (self.held & ((1 << width) - 1)) as u8;
        self.held >>= width;
        self.count -= width;
        value
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_without_the_signature_is_refused() {
        let mut bytes = Parameters::default().to_bytes();
        assert_eq!(bytes, {
            let mut expected = [0; 33];
            expected[0] = 0xD0;
            expected
        });
        bytes[0] = 0xC0;
        assert_eq!(Parameters::from_bytes(&bytes), None);
    }

    #[test]
    fn the_first_and_the_last_field_stand_where_the_formats_say() {
        let mut one = Parameters::default();
        one.lars[0] = 0b10_0001;
        one.subframes[3].pulses[12] = 0b110;
        let bytes = one.to_bytes();
        assert_eq!((bytes[0], bytes[1], bytes[32]), (0xD8, 0b0100_0000, 0b110));
        let block = Parameters::to_block(&[one, one]);
        // Bits 257 to 259 end the first frame; its successor begins at bit 260, in the upper half of byte 32.
        assert_eq!((block[0], block[32], block[33], block[64]), (0b10_0001, 0b0001_1100, 0b10, 0b1100_0000));
    }

    proptest! {
        #[test]
        fn both_packings_keep_every_bit(bytes in prop::collection::vec(any::<u8>(), 65)) {
            let block: [u8; 65] = bytes.try_into().expect("the strategy makes 65 bytes");
            let pair = Parameters::from_block(&block);
            prop_assert_eq!(Parameters::to_block(&pair), block);
            for frame in pair {
                prop_assert_eq!(Parameters::from_bytes(&frame.to_bytes()), Some(frame));
            }
        }
    }
}
