//! L16 and L8: samples as they are (RFC 3551, 4.5.10 and 4.5.11), most significant byte first; L8 counts from the middle.
//!
//! Any rate, any number of channels; interleaved channels are averaged into one.

/// Bits of a sample on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// One byte, 128 is silence.
    Eight,
    /// Two bytes, two's complement.
    Sixteen,
}

impl Width {
    /// Bytes of one sample of one channel.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Width::Eight => 1,
            Width::Sixteen => 2,
        }
    }
}

/// Decoder of an L16 or L8 stream; it has no memory between payloads.
#[derive(Clone, Debug)]
pub struct Decoder {
    width: Width,
    rate: u32,
    channels: usize,
}

impl Decoder {
    /// For a stream of `rate` samples per second and channel.
    #[must_use]
    pub fn new(width: Width, rate: u32, channels: u8) -> Self {
        Decoder { width, rate, channels: usize::from(channels.max(1)) }
    }

    fn sample(&self, bytes: &[u8]) -> i32 {
        match (self.width, bytes) {
            (Width::Eight, &[byte, ..]) => (i32::from(byte) - 128) << 8,
            (Width::Sixteen, &[high, low, ..]) => i32::from(i16::from_be_bytes([high, low])),
            _ => 0,
        }
    }
}

impl super::Decoder for Decoder {
    fn sample_rate(&self) -> u32 {
        self.rate
    }

    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        let width = self.width.bytes();
        out.extend(payload.chunks_exact(width * self.channels).map(|moment| {
            let sum: i32 = moment.chunks_exact(width).map(|bytes| self.sample(bytes)).sum();
            (sum / self.channels as i32) as i16
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Decoder as _;

    fn decoded(width: Width, channels: u8, payload: &[u8]) -> Vec<i16> {
        let mut out = Vec::new();
        Decoder::new(width, 16_000, channels).decode(payload, &mut out);
        out
    }

    #[test]
    fn sixteen_bits_come_in_network_order() {
        assert_eq!(decoded(Width::Sixteen, 1, &[0x12, 0x34, 0x80, 0x00, 0xff, 0xff]), [0x1234, -32_768, -1]);
        assert_eq!(decoded(Width::Sixteen, 1, &[0x12, 0x34, 0x80]), [0x1234], "half a sample is nothing");
    }

    #[test]
    fn eight_bits_count_from_the_middle() {
        assert_eq!(decoded(Width::Eight, 1, &[0, 128, 255]), [-32_768, 0, 127 << 8]);
    }

    #[test]
    fn two_channels_become_their_mean_without_overflow() {
        assert_eq!(
            decoded(Width::Sixteen, 2, &[0x7f, 0xff, 0x7f, 0xff, 0x00, 0x10, 0x00, 0x20]),
            [32_767, 0x18]
        );
    }
}
