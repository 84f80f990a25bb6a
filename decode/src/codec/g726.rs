//! G.726: two to five bits per sample against an adaptive predictor (ITU-T G.726, 12/90), at 16, 24, 32 and 40 kbit/s.
//!
//! Bit-exact integer arithmetic of the standard up to the reconstructed signal; the conversion to G.711 and the
//! adjustment for tandem coding that goes with it are left out, because the samples go on as they are. Owns both
//! packings of RTP: the first sample in the lowest bits (`G726-32`, RFC 3551, 4.5.4) and in the highest ones, as in ATM
//! (`AAL2-G726-32`, ITU-T I.366.2).

/// Bits per sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// 16 kbit/s.
    Two,
    /// 24 kbit/s.
    Three,
    /// 32 kbit/s.
    Four,
    /// 40 kbit/s.
    Five,
}

/// Where in a byte the earlier samples stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// In the low bits: RFC 3551.
    LowFirst,
    /// In the high bits: AAL2.
    HighFirst,
}

impl Bits {
    /// By the encoding's name in the registry, in upper case: `G726-32`, `AAL2-G726-32`, and the older `G721`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<(Bits, Packing)> {
        let (packing, rate) = match name.strip_prefix("AAL2-") {
            Some(rest) => (Packing::HighFirst, rest),
            None => (Packing::LowFirst, name),
        };
        let bits = match rate {
            "G726-16" => Bits::Two,
            "G726-24" => Bits::Three,
            "G726-32" | "G721" => Bits::Four,
            "G726-40" => Bits::Five,
            _ => return None,
        };
        Some((bits, packing))
    }

    /// As a number.
    #[must_use]
    pub const fn count(self) -> u32 {
        match self {
            Bits::Two => 2,
            Bits::Three => 3,
            Bits::Four => 4,
            Bits::Five => 5,
        }
    }

    /// What the magnitude of a code stands for: the logarithm of the quantized difference (tables 1 to 4, Q7), the
    /// multiplier of the scale factor (W, Q4) and the speed of its change (F).
    fn steps(self) -> &'static [(i32, i32, i32)] {
        match self {
            Bits::Two => &[(116, -22, 0), (365, 439, 7)],
            Bits::Three => &[(-2048, -4, 0), (135, 30, 1), (273, 137, 2), (373, 582, 7)],
            Bits::Four => &[
                (-2048, -12, 0),
                (4, 18, 0),
                (135, 41, 0),
                (213, 64, 1),
                (273, 112, 1),
                (323, 198, 1),
                (373, 355, 3),
                (425, 1122, 7),
            ],
            Bits::Five => &[
                (-2048, 14, 0),
                (-66, 14, 0),
                (28, 24, 0),
                (104, 39, 0),
                (169, 40, 0),
                (224, 41, 1),
                (274, 58, 1),
                (318, 100, 1),
                (358, 141, 1),
                (395, 179, 1),
                (429, 219, 2),
                (459, 280, 3),
                (488, 358, 4),
                (514, 440, 5),
                (539, 529, 6),
                (566, 696, 6),
            ],
        }
    }
}

/// Decoder of a G.726 stream.
#[derive(Clone, Debug)]
pub struct Decoder {
    bits: Bits,
    packing: Packing,
    rate: u32,
    predictor: Predictor,
    scale: Scale,
}

/// A number as the predictor multiplies it: sign, four bits of exponent, six of mantissa (FLOAT A and B, 4.2.7).
#[derive(Clone, Copy, Debug)]
struct Float {
    negative: bool,
    exponent: u32,
    mantissa: i32,
}

impl Float {
    const ZERO: Float = Float { negative: false, exponent: 0, mantissa: 32 };

    fn of(value: i32) -> Float {
        let magnitude = value.abs().min(0x7fff);
        if magnitude == 0 {
            return Float { negative: value < 0, ..Float::ZERO };
        }
        let exponent = i32::BITS - magnitude.leading_zeros();
        Float { negative: value < 0, exponent, mantissa: (magnitude << 6) >> exponent }
    }

    /// Times a coefficient of Q14 (FMULT, 4.2.6).
    fn times(self, coefficient: i32) -> i32 {
        let other = Float { negative: coefficient < 0, ..Float::of((coefficient >> 2).abs() & 0x1fff) };
        let exponent = self.exponent + other.exponent;
        let mantissa = (self.mantissa * other.mantissa + 48) >> 4;
        let magnitude = if exponent <= 26 {
            (mantissa << 7) >> (26 - exponent)
        } else {
            ((mantissa << 7) << (exponent - 26)) & 0x7fff
        };
        if self.negative == other.negative { magnitude } else { -magnitude }
    }
}

/// Two poles and six zeros (4.2.6).
#[derive(Clone, Debug)]
struct Predictor {
    /// Of the reconstructed signal, newest first, Q14.
    poles: [i32; 2],
    /// Of the quantized difference, newest first, Q14.
    zeros: [i32; 6],
    reconstructed: [Float; 2],
    differences: [Float; 6],
    /// Signs of the last two partly reconstructed signals.
    signs: [bool; 2],
}

/// The quantizer's scale and how fast it may change (4.2.4, 4.2.5).
#[derive(Clone, Debug)]
struct Scale {
    /// For signals that change, Q9.
    fast: i32,
    /// For signals that stay, Q15.
    slow: i32,
    /// Short and long mean of F.
    means: [i32; 2],
    /// Between slow (0) and fast (256 and more).
    speed: i32,
    /// The signal looks like a modem's tone.
    is_tone: bool,
}

impl Decoder {
    /// For a stream of `rate` samples per second; the standard's is 8000.
    #[must_use]
    pub fn new(bits: Bits, packing: Packing, rate: u32) -> Self {
        let predictor = Predictor {
            poles: [0; 2],
            zeros: [0; 6],
            reconstructed: [Float::ZERO; 2],
            differences: [Float::ZERO; 6],
            signs: [false; 2],
        };
        let scale = Scale { fast: 544, slow: 544 << 6, means: [0; 2], speed: 0, is_tone: false };
        Decoder { bits, packing, rate, predictor, scale }
    }

    /// The sample of one code.
    fn next(&mut self, code: u32) -> i16 {
        let sign = 1 << (self.bits.count() - 1);
        let negative = code & sign != 0;
        let size = if negative { !code & (sign - 1) } else { code & (sign - 1) };
        let (log, weight, speed) =
            usize::try_from(size).ok().and_then(|at| self.bits.steps().get(at)).copied().unwrap_or_default();

        let (from_zeros, estimate) = self.predictor.estimate();
        let scale = self.scale.mixed();
        let magnitude = antilog(log + (scale >> 2));
        let difference = if negative { -magnitude } else { magnitude };
        let reconstructed = wrap16(estimate + difference);

        let is_jump = self.scale.is_jump(magnitude);
        let leak = if self.bits == Bits::Five { 9 } else { 8 };
        self.predictor.adapt(Heard { difference, negative, from_zeros, reconstructed, is_jump, leak });
        let is_tone = !is_jump && self.predictor.poles.get(1).is_some_and(|&pole| pole < -11_776);
        self.scale.adapt(scale, weight, speed, is_tone, is_jump);
        (reconstructed << 2).clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
    }
}

/// What one code came to.
struct Heard {
    difference: i32,
    /// The code's sign: a difference of 0 has one as well.
    negative: bool,
    from_zeros: i32,
    reconstructed: i32,
    is_jump: bool,
    leak: u32,
}

/// 2 to the power of a Q7 logarithm (ANTILOG, 4.2.3).
fn antilog(log: i32) -> i32 {
    if log < 0 {
        return 0;
    }
    let (whole, part) = ((log >> 7) & 15, log & 127);
    ((128 + part) << 7) >> (14 - whole.min(14))
}

/// Adders of the standard are 16 bits wide and wrap.
fn wrap16(value: i32) -> i32 {
    i32::from(value as i16)
}

impl Predictor {
    /// What the zeros alone expect, and what zeros and poles do.
    fn estimate(&self) -> (i32, i32) {
        let zeros =
            self.zeros.iter().zip(&self.differences).map(|(&b, d)| d.times(b)).fold(0, |a, b| wrap16(a + b));
        let poles = self.poles.iter().zip(&self.reconstructed).map(|(&a, r)| r.times(a));
        let all = poles.fold(zeros, |a, b| wrap16(a + b));
        (zeros >> 1, all >> 1)
    }

    fn adapt(&mut self, heard: Heard) {
        let partly = heard.difference + heard.from_zeros;
        let sign = partly < 0;
        if heard.is_jump {
            (self.poles, self.zeros) = ([0; 2], [0; 6]);
        } else {
            self.adapt_poles(sign, partly == 0);
            self.adapt_zeros(&heard);
        }
        let [newest, _] = self.signs;
        self.signs = [sign, newest];
        self.differences.rotate_right(1);
        let difference = Float { negative: heard.negative, ..Float::of(heard.difference) };
        if let Some(first) = self.differences.first_mut() {
            *first = difference;
        }
        let [newest, _] = self.reconstructed;
        self.reconstructed = [Float::of(heard.reconstructed), newest];
    }

    /// UPA2, LIMC, UPA1, LIMD.
    fn adapt_poles(&mut self, sign: bool, nothing: bool) {
        let ([one, two], [before, earlier]) = (self.poles, self.signs);
        let (differs_from_last, differs_from_earlier) = (sign != before, sign != earlier);
        let bounded = one.clamp(-8_191, 8_191) << 2;
        let follow = if differs_from_last { bounded } else { -bounded };
        let push = if differs_from_earlier { -16_384 } else { 16_384 };
        let change = if nothing { 0 } else { (push + follow) >> 7 };
        let two = (two + change - (two >> 7)).clamp(-12_288, 12_288);
        let change = match (nothing, differs_from_last) {
            (true, _) => 0,
            (false, true) => -192,
            (false, false) => 192,
        };
        let limit = 15_360 - two;
        let one = (one + change - (one >> 8)).clamp(-limit, limit);
        self.poles = [one, two];
    }

    /// UPB.
    fn adapt_zeros(&mut self, heard: &Heard) {
        for (zero, difference) in self.zeros.iter_mut().zip(&self.differences) {
            let change = match (heard.difference, difference.negative == heard.negative) {
                (0, _) => 0,
                (_, true) => 128,
                (_, false) => -128,
            };
            *zero = wrap16(*zero + change - (*zero >> heard.leak));
        }
    }
}

impl Scale {
    /// Between the slow and the fast factor (MIX).
    fn mixed(&self) -> i32 {
        let slow = self.slow >> 6;
        let share = if self.speed >= 256 { 64 } else { self.speed >> 2 };
        // Rounded towards the slow one.
        slow + (self.fast - slow) * share / 64
    }

    /// A difference beyond what a tone would make: the tone has ended (TRANS).
    fn is_jump(&self, magnitude: i32) -> bool {
        let (whole, part) = (self.slow >> 15, (self.slow >> 10) & 31);
        let threshold = if whole > 9 { 31 << 10 } else { (32 + part) << whole };
        self.is_tone && magnitude > (threshold + (threshold >> 1)) >> 1
    }

    fn adapt(&mut self, mixed: i32, weight: i32, speed: i32, is_tone: bool, is_jump: bool) {
        self.fast = (mixed + (((weight << 5) - mixed) >> 5)).clamp(544, 5_120);
        self.slow += self.fast + ((-self.slow) >> 6);
        let [short, long] = self.means;
        let short = short + (((speed << 9) - short) >> 5);
        let long = long + (((speed << 11) - long) >> 7);
        self.means = [short, long];
        let changes = mixed < 1_536 || is_tone || ((short << 2) - long).abs() >= long >> 3;
        let towards = if changes { 512 } else { 0 };
        self.speed = if is_jump { 256 } else { self.speed + ((towards - self.speed) >> 4) };
        self.is_tone = is_tone;
    }
}

impl super::Decoder for Decoder {
    fn sample_rate(&self) -> u32 {
        self.rate
    }

    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        let width = self.bits.count();
        let mask = (1_u32 << width) - 1;
        let (mut held, mut count) = (0_u32, 0);
        for &byte in payload {
            match self.packing {
                Packing::LowFirst => held |= u32::from(byte) << count,
                Packing::HighFirst => held = (held << 8) | u32::from(byte),
            }
            count += 8;
            while count >= width {
                count -= width;
                let code = match self.packing {
                    Packing::LowFirst => {
                        let code = held & mask;
                        held >>= width;
                        code
                    }
                    Packing::HighFirst => (held >> count) & mask,
                };
                out.push(self.next(code));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Decoder as _;

    /// An encoder around the decoder: of all codes it sends the one whose sample comes nearest. Slow, and all a test needs.
    fn encoded(bits: Bits, samples: &[i16]) -> (Vec<u32>, Vec<i16>) {
        let mut decoder = Decoder::new(bits, Packing::LowFirst, 8_000);
        let (mut codes, mut heard) = (Vec::new(), Vec::new());
        for &sample in samples {
            let distance = |code: &u32| (i32::from(decoder.clone().next(*code)) - i32::from(sample)).abs();
            let code = (0..1 << bits.count()).min_by_key(distance).expect("a code");
            codes.push(code);
            heard.push(decoder.next(code));
        }
        (codes, heard)
    }

    fn packed(bits: Bits, packing: Packing, codes: &[u32]) -> Vec<u8> {
        let width = bits.count();
        let bit = |code: u32, place: u32| match packing {
            Packing::LowFirst => (code >> place) & 1,
            Packing::HighFirst => (code >> (width - 1 - place)) & 1,
        };
        let stream: Vec<u32> =
            codes.iter().flat_map(|&code| (0..width).map(move |place| bit(code, place))).collect();
        let byte = |bits: &[u32]| {
            bits.iter().enumerate().fold(0_u8, |byte, (place, &bit)| {
                byte | (bit as u8) << if packing == Packing::LowFirst { place } else { 7 - place }
            })
        };
        stream.chunks(8).map(byte).collect()
    }

    #[test]
    fn a_voice_comes_back_the_better_the_more_bits_it_had() {
        let voice: Vec<i16> = (0..4_000)
            .map(|i| {
                let t = f64::from(i) / 8_000.0;
                let tone = |hz: f64| (std::f64::consts::TAU * hz * t).sin();
                ((tone(210.0) + 0.5 * tone(630.0) + 0.25 * tone(1_890.0)) * 6_000.0 * (1.2 + tone(3.0)))
                    as i16
            })
            .collect();
        for (bits, least) in [(Bits::Two, 8.0), (Bits::Three, 14.0), (Bits::Four, 20.0), (Bits::Five, 26.0)] {
            let (codes, heard) = encoded(bits, &voice);
            let (mut signal, mut noise) = (0.0, 0.0);
            for (&sent, &got) in voice.iter().zip(&heard).skip(400) {
                signal += f64::from(sent).powi(2);
                noise += (f64::from(sent) - f64::from(got)).powi(2);
            }
            let db = 10.0 * f64::log10(signal / noise);
            assert!(db > least, "{bits:?}: {db:.1} dB");
            for packing in [Packing::LowFirst, Packing::HighFirst] {
                let mut out = Vec::new();
                let mut decoder = Decoder::new(bits, packing, 8_000);
                // 40 samples are whole bytes in each width.
                for payload in packed(bits, packing, &codes).chunks(5 * bits.count() as usize) {
                    decoder.decode(payload, &mut out);
                }
                assert!(out == heard, "{bits:?} {packing:?}");
            }
        }
    }

    #[test]
    fn names_tell_rate_and_packing() {
        assert_eq!(Bits::from_name("G726-32"), Some((Bits::Four, Packing::LowFirst)));
        assert_eq!(Bits::from_name("AAL2-G726-40"), Some((Bits::Five, Packing::HighFirst)));
        assert_eq!(Bits::from_name("G721"), Some((Bits::Four, Packing::LowFirst)));
        assert_eq!(Bits::from_name("G726"), None);
    }

    #[test]
    fn silence_in_every_rate_stays_quiet() {
        // The code of the smallest positive difference.
        for bits in [Bits::Three, Bits::Four, Bits::Five] {
            let mut decoder = Decoder::new(bits, Packing::LowFirst, 8_000);
            let loudest = (0..8_000).map(|_| decoder.next(0).unsigned_abs()).max();
            assert!(loudest < Some(64), "{bits:?}: {loudest:?}");
        }
    }
}
