//! G.711: 8-bit logarithmic samples, A-law and mu-law (ITU-T G.711, 11/88).
//!
//! Owns both tables and both encoders. Samples are 16-bit with the standard's 13-bit (A-law) and 14-bit (mu-law)
//! values shifted to the top, as every sound file has them. Appendix I, loss concealment, is in
//! [`crate::playout`]; appendix II, comfort noise, became RFC 3389: [`super::comfort_noise`].

/// Which of the two companding laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// A-law: Europe and most of the world.
    A,
    /// Mu-law: North America and Japan.
    Mu,
}

/// Added to a mu-law magnitude so that each segment begins at a power of two (33 in the 14-bit scale).
const MU_BIAS: i32 = 132;
/// Largest mu-law magnitude that can be coded.
const MU_CLIP: i32 = 32_635;
/// A-law turns over every other bit, so that a quiet line does not send long runs of zeros.
const A_EVEN_BITS: u8 = 0x55;

/// Samples of all 256 A-law codes.
pub const A_LAW: [i16; 256] = table(Law::A);
/// Samples of all 256 mu-law codes.
pub const MU_LAW: [i16; 256] = table(Law::Mu);

const fn table(law: Law) -> [i16; 256] {
    let mut samples = [0; 256];
    let mut code = 0;
    while code < 256 {
        samples[code] = match law {
            Law::A => expand_a(code as u8),
            Law::Mu => expand_mu(code as u8),
        };
        code += 1;
    }
    samples
}

/// Table 1a of G.711, by its formula: a chord of 16 steps per segment, the first two chords of equal steps.
const fn expand_a(code: u8) -> i16 {
    let code = code ^ A_EVEN_BITS;
    let (segment, step) = ((code >> 4) & 7, (code & 15) as i32);
    let middle = (step << 4) + 8;
    let magnitude = if segment == 0 { middle } else { (middle + 256) << (segment - 1) };
    (if code & 0x80 != 0 { magnitude } else { -magnitude }) as i16
}

/// Table 2a of G.711, by its formula: eight chords, each step twice as wide as in the chord below.
const fn expand_mu(code: u8) -> i16 {
    let code = !code;
    let (segment, step) = ((code >> 4) & 7, (code & 15) as i32);
    let magnitude = (((step << 3) + MU_BIAS) << segment) - MU_BIAS;
    (if code & 0x80 != 0 { -magnitude } else { magnitude }) as i16
}

/// The sample of a code.
#[must_use]
pub fn decode(law: Law, code: u8) -> i16 {
    match law {
        Law::A => A_LAW[usize::from(code)],
        Law::Mu => MU_LAW[usize::from(code)],
    }
}

/// The code of a sample.
#[must_use]
pub fn encode(law: Law, sample: i16) -> u8 {
    match law {
        Law::A => compress_a(sample),
        Law::Mu => compress_mu(sample),
    }
}

fn compress_a(sample: i16) -> u8 {
    // Negative values are complemented, not negated: the intervals of both signs then mirror each other.
    let (sign, magnitude) = if sample >= 0 { (0x80, sample) } else { (0, !sample) };
    let magnitude = u32::from(magnitude.unsigned_abs());
    let code = match magnitude >> 8 {
        0 => magnitude >> 4,
        high => {
            let segment = u32::BITS - high.leading_zeros();
            (segment << 4) | ((magnitude >> (segment + 3)) & 15)
        }
    };
    (code as u8 | sign) ^ A_EVEN_BITS
}

fn compress_mu(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let biased = i32::from(sample).abs().min(MU_CLIP) + MU_BIAS;
    // `biased` is 132 to 32767: its highest set bit is bit 7 to 14.
    let segment = 24 - biased.leading_zeros();
    let step = (biased >> (segment + 3)) & 15;
    !((segment << 4) as u8 | step as u8 | sign)
}

/// Decoder of a G.711 stream; it has no memory between payloads.
#[derive(Clone, Debug)]
pub struct Decoder {
    table: &'static [i16; 256],
    rate: u32,
    channels: usize,
}

impl Decoder {
    /// For a stream of `rate` samples per second (8000 unless a dynamic payload type says otherwise). Interleaved
    /// channels are averaged into one.
    #[must_use]
    pub fn new(law: Law, rate: u32, channels: u8) -> Self {
        static TABLES: [[i16; 256]; 2] = [A_LAW, MU_LAW];
        let [a, mu] = &TABLES;
        let table = match law {
            Law::A => a,
            Law::Mu => mu,
        };
        Decoder { table, rate, channels: usize::from(channels.max(1)) }
    }
}

impl super::Decoder for Decoder {
    fn sample_rate(&self) -> u32 {
        self.rate
    }

    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        if self.channels == 1 {
            out.extend(payload.iter().map(|&code| self.table[usize::from(code)]));
            return;
        }
        out.extend(payload.chunks_exact(self.channels).map(|codes| {
            let sum: i32 = codes.iter().map(|&code| i32::from(self.table[usize::from(code)])).sum();
            (sum / self.channels as i32) as i16
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_and_the_middle_are_those_of_the_standard() {
        // G.711 tables 1a to 2b, output values of the last and the first step, 13 and 14 bits wide there.
        for (code, value) in
            [(0x80 ^ 0x55, 8), (0x55, -8), (0xff ^ 0x55, 4032 << 3), (0x7f ^ 0x55, -(4032 << 3))]
        {
            assert_eq!(i32::from(decode(Law::A, code)), value, "A-law {code:#04x}");
        }
        for (code, value) in [(0xff, 0), (0x7f, 0), (0x80, 8031 << 2), (0x00, -(8031 << 2)), (0xfe, 2 << 2)] {
            assert_eq!(i32::from(decode(Law::Mu, code)), value, "mu-law {code:#04x}");
        }
        assert_eq!((encode(Law::A, 0), encode(Law::Mu, 0)), (0xd5, 0xff), "digital silence");
    }

    #[test]
    fn every_code_decodes_and_encodes_to_itself() {
        for code in 0..=255 {
            assert_eq!(encode(Law::A, decode(Law::A, code)), code, "A-law {code:#04x}");
            // Mu-law has two zeros; the negative one is never sent.
            let expected = if code == 0x7f { 0xff } else { code };
            assert_eq!(encode(Law::Mu, decode(Law::Mu, code)), expected, "mu-law {code:#04x}");
        }
    }

    /// Decision values by the standard's rule, written without bit tricks: segment n spans twice the one before.
    fn step_width(law: Law, magnitude: i32) -> i32 {
        let (mut top, mut width) = match law {
            Law::A => (512, 16),
            Law::Mu => (124, 8),
        };
        while magnitude >= top {
            width *= 2;
            top += 16 * width;
        }
        width
    }

    #[test]
    fn every_sample_is_off_by_half_a_step_at_most() {
        for sample in i16::MIN..=i16::MAX {
            let magnitude = i32::from(sample).abs();
            for (law, clip) in [(Law::A, 32_768), (Law::Mu, MU_CLIP)] {
                if magnitude >= clip {
                    continue;
                }
                let off = (i32::from(decode(law, encode(law, sample))) - i32::from(sample)).abs();
                let half = step_width(law, magnitude) / 2;
                assert!(off <= half, "{law:?} {sample}: off by {off}, half a step is {half}");
            }
        }
        assert_eq!(decode(Law::Mu, encode(Law::Mu, i16::MIN)), -32_124);
    }

    #[test]
    fn codes_rise_with_the_samples() {
        for law in [Law::A, Law::Mu] {
            let mut last = i16::MIN;
            for sample in i16::MIN..=i16::MAX {
                let value = decode(law, encode(law, sample));
                assert!(value >= last, "{law:?} {sample}");
                last = value;
            }
        }
    }
}
