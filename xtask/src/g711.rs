//! ITU-T G.711 both ways, for test traffic and its checks.
//!
//! Written apart from the recorder's own decoder on purpose: a mistake in one must not hide in the other.

/// The two laws of G.711, with the static RTP payload types of RFC 3551 table 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// Mu-law: `PCMU`, payload type 0.
    Mu,
    /// A-law: `PCMA`, payload type 8.
    A,
}

impl Law {
    /// RTP payload type.
    #[must_use]
    pub const fn payload_type(self) -> u8 {
        match self {
            Law::Mu => 0,
            Law::A => 8,
        }
    }

    /// Name in `a=rtpmap`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Law::Mu => "PCMU",
            Law::A => "PCMA",
        }
    }

    /// One 16-bit sample as one byte.
    #[must_use]
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Law::Mu => encode_mu(sample),
            Law::A => encode_a(sample),
        }
    }

    /// One byte as one 16-bit sample.
    #[must_use]
    pub fn decode(self, byte: u8) -> i16 {
        match self {
            Law::Mu => decode_mu(byte),
            Law::A => decode_a(byte),
        }
    }
}

fn encode_mu(sample: i16) -> u8 {
    // 14-bit law on 16-bit samples: bias 33 and clip 8158 of the standard, both times four.
    let magnitude = i32::from(sample).abs().min(32_635) + 132;
    let exponent = (31 - magnitude.leading_zeros() as i32) - 7;
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !((sign | (exponent << 4) | mantissa) as u8)
}

fn decode_mu(byte: u8) -> i16 {
    let bits = i32::from(!byte);
    let magnitude = ((((bits & 0x0f) << 3) + 132) << ((bits >> 4) & 7)) - 132;
    (if bits & 0x80 != 0 { -magnitude } else { magnitude }) as i16
}

fn encode_a(sample: i16) -> u8 {
    // 13-bit law; negative values are folded by complement, so that -1 and 0 share the smallest step.
    let folded = if sample < 0 { !i32::from(sample) } else { i32::from(sample) } >> 4;
    let sign = if sample < 0 { 0 } else { 0x80 };
    let code = if folded < 16 {
        folded
    } else {
        let segment = (31 - folded.leading_zeros() as i32) - 3;
        (segment << 4) | ((folded >> (segment - 1)) & 0x0f)
    };
    ((sign | code) as u8) ^ 0x55
}

fn decode_a(byte: u8) -> i16 {
    let bits = i32::from(byte ^ 0x55);
    let (segment, mantissa) = ((bits >> 4) & 7, bits & 0x0f);
    let magnitude =
        if segment == 0 { (mantissa << 4) + 8 } else { ((mantissa << 4) + 0x108) << (segment - 1) };
    (if bits & 0x80 != 0 { magnitude } else { -magnitude }) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_decoding_and_encoding() {
        for byte in 0..=255_u8 {
            assert_eq!(Law::A.encode(Law::A.decode(byte)), byte, "A-law {byte:#x}");
            // Mu-law has two zeros; the negative one comes back as the positive one.
            let expected = if byte == 0x7f { 0xff } else { byte };
            assert_eq!(Law::Mu.encode(Law::Mu.decode(byte)), expected, "mu-law {byte:#x}");
        }
    }

    #[test]
    fn well_known_codes_are_right() {
        // G.711 tables 1a and 2a: silence, and the largest values of both laws.
        assert_eq!((Law::Mu.encode(0), Law::A.encode(0)), (0xff, 0xd5));
        assert_eq!((Law::Mu.encode(i16::MAX), Law::A.encode(i16::MAX)), (0x80, 0xaa));
        assert_eq!((Law::Mu.encode(i16::MIN), Law::A.encode(i16::MIN)), (0x00, 0x2a));
        assert_eq!((Law::Mu.decode(0x80), Law::A.decode(0xaa)), (32_124, 32_256));
    }

    #[test]
    fn the_error_is_never_more_than_half_a_step() {
        for law in [Law::Mu, Law::A] {
            for sample in (-32_000..=32_000_i16).step_by(7) {
                let error = (i32::from(law.decode(law.encode(sample))) - i32::from(sample)).abs();
                assert!(error <= 16.max(i32::from(sample).abs() / 16), "{law:?} {sample}: {error}");
            }
        }
    }
}
