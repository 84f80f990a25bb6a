//! G.722: 7 kHz of speech in 64 kbit/s, two half bands coded apart (ITU-T G.722, 09/2012), as RTP payload.
//!
//! Bit-exact integer arithmetic of the standard in mode 1; an RTP sender knows no other (RFC 3551, 4.5.2). One byte is two
//! samples at 16000 Hz, while the RTP clock counts 8000. The names in brackets are the standard's blocks.

/// Samples per second of the decoded audio.
pub const SAMPLE_RATE: u32 = 16_000;

/// What a six-bit code of the lower band adds, in units of the step, Q15 (QM6).
const LOWER_6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360,
    -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688,
    -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856,
    7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136,
    -432, -136,
];
/// What its upper four bits alone add: the predictor sees no more, so that the other modes keep step (QM4).
const LOWER_4: [i32; 16] =
    [0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0];
/// What a two-bit code of the upper band adds (QM2).
const UPPER: [i32; 4] = [-7408, -1616, 7408, 1616];
/// How the upper four bits change the step's logarithm (WL, by way of RL4).
const LOWER_STEPS: [i32; 16] =
    [-60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60];
/// The same for the upper band (WH, by way of RH2).
const UPPER_STEPS: [i32; 4] = [798, -214, 798, -214];
/// 2 to the power of n/32, Q11 (ILB).
const POWERS: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896,
    2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];
/// Half of the filter that joins the bands; the other half is its mirror image.
const JOIN: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Decoder of a G.722 stream.
#[derive(Clone, Debug)]
pub struct Decoder {
    lower: Band,
    upper: Band,
    /// Sums and differences of the bands, newest last.
    sums: [i32; 12],
    differences: [i32; 12],
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder::new()
    }
}

impl Decoder {
    /// At the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        // The steps at rest: 32 in the lower band, 8 in the upper one.
        Decoder { lower: Band::new(32), upper: Band::new(8), sums: [0; 12], differences: [0; 12] }
    }

    /// The two samples of one byte.
    fn next(&mut self, byte: u8) -> [i16; 2] {
        let lower = usize::from(byte & 0x3f);
        let coarse = lower >> 2;
        let upper = usize::from(byte >> 6);
        let of = |table: &[i32], at: usize| table.get(at).copied().unwrap_or_default();

        let low = (self.lower.expected + self.lower.times_step(of(&LOWER_6, lower))).clamp(-16_384, 16_383);
        let change = self.lower.times_step(of(&LOWER_4, coarse));
        self.lower.adapt(change, of(&LOWER_STEPS, coarse), 18_432, 8);

        let change = self.upper.times_step(of(&UPPER, upper));
        let high = (self.upper.expected + change).clamp(-16_384, 16_383);
        self.upper.adapt(change, of(&UPPER_STEPS, upper), 22_528, 10);
        self.join(low, high)
    }

    /// Both bands become two samples (receive QMF).
    fn join(&mut self, low: i32, high: i32) -> [i16; 2] {
        for (line, value) in [(&mut self.sums, low + high), (&mut self.differences, low - high)] {
            line.rotate_left(1);
            if let Some(last) = line.last_mut() {
                *last = value;
            }
        }
        let through = |line: &[i32; 12], filter: &mut dyn Iterator<Item = &i32>| {
            let sum: i32 = line.iter().zip(filter).map(|(value, factor)| value * factor).sum();
            saturate(sum >> 11) as i16
        };
        [through(&self.differences, &mut JOIN.iter().rev()), through(&self.sums, &mut JOIN.iter())]
    }
}

/// Codes samples at 16000 Hz, two to a byte; one that is left over is not coded.
///
/// Splits them into the bands as a sender does (transmit QMF), and sends the code that comes nearest in each. That is what the standard's
/// tables of thresholds find, too, without a search; here it is done once for what is sent many times.
#[must_use]
pub fn encode(samples: &[i16]) -> Vec<u8> {
    let mut decoder = Decoder::new();
    let history: Vec<i32> =
        std::iter::repeat_n(0, 22).chain(samples.iter().map(|&sample| i32::from(sample))).collect();
    let bytes = history.windows(24).step_by(2).map(|window| {
        let sum = |from: usize, filter: &mut dyn Iterator<Item = &i32>| -> i32 {
            window.iter().skip(from).step_by(2).zip(filter).map(|(value, factor)| value * factor).sum()
        };
        let (one, two) = (sum(0, &mut JOIN.iter()), sum(1, &mut JOIN.iter().rev()));
        let nearest = |band: &Band, table: &[i32], target: i32, first: usize| {
            let distance =
                |&(_, &factor): &(usize, &i32)| (band.expected + band.times_step(factor) - target).abs();
            let best = table.iter().enumerate().skip(first).min_by_key(distance);
            best.map_or(0, |(code, _)| code as u8)
        };
        // The first four codes of the lower band are never sent.
        let lower = nearest(&decoder.lower, &LOWER_6, (two + one) >> 14, 4);
        let upper = nearest(&decoder.upper, &UPPER, (two - one) >> 14, 0);
        let byte = upper << 6 | lower;
        decoder.next(byte);
        byte
    });
    bytes.collect()
}

/// One half band's predictor and step (block 4 and the scale factors).
#[derive(Clone, Debug)]
struct Band {
    /// What the next sample is expected to be (S).
    expected: i32,
    /// The zeros' part of it (SZ).
    from_zeros: i32,
    /// Reconstructed (R), newest first.
    reconstructed: [i32; 2],
    /// Signs of the partly reconstructed signal (P), newest first.
    signs: [bool; 2],
    /// Poles (A), Q14.
    poles: [i32; 2],
    /// Quantized differences (D), newest first.
    differences: [i32; 6],
    /// Zeros (B), Q14.
    zeros: [i32; 6],
    /// The step's logarithm (NB), Q11.
    log: i32,
    /// The step (DET).
    step: i32,
}

impl Band {
    fn new(step: i32) -> Band {
        Band {
            expected: 0,
            from_zeros: 0,
            reconstructed: [0; 2],
            signs: [false; 2],
            poles: [0; 2],
            differences: [0; 6],
            zeros: [0; 6],
            log: 0,
            step,
        }
    }

    fn times_step(&self, factor: i32) -> i32 {
        (self.step * factor) >> 15
    }

    /// Takes the quantized difference `change` in, and moves the step by `by`.
    fn adapt(&mut self, change: i32, by: i32, log_max: i32, octaves: i32) {
        self.log = (((self.log * 127) >> 7) + by).clamp(0, log_max);
        let power =
            usize::try_from((self.log >> 6) & 31).ok().and_then(|at| POWERS.get(at)).copied().unwrap_or(0);
        let shift = octaves - (self.log >> 11);
        self.step = if shift < 0 { power << -shift } else { power >> shift } << 2;
        self.predict(change);
    }

    fn predict(&mut self, change: i32) {
        let reconstructed = saturate(self.expected + change);
        // A sum of zero counts as positive.
        let sign = saturate(self.from_zeros + change) < 0;
        self.adapt_poles(sign);
        self.adapt_zeros(change);
        let [newest, _] = self.signs;
        self.signs = [sign, newest];
        let [newest, _] = self.reconstructed;
        self.reconstructed = [reconstructed, newest];

        let twice = |value: i32| saturate(value + value);
        let product = |(&factor, &value): (&i32, &i32)| (factor * twice(value)) >> 15;
        let from_poles: i32 = self.poles.iter().zip(&self.reconstructed).map(product).sum();
        self.from_zeros = saturate(self.zeros.iter().zip(&self.differences).map(product).sum());
        self.expected = saturate(saturate(from_poles) + self.from_zeros);
    }

    /// UPPOL2 and UPPOL1.
    fn adapt_poles(&mut self, sign: bool) {
        let ([one, two], [before, earlier]) = (self.poles, self.signs);
        let four_times = saturate(one << 2);
        let follow = if sign == before { (-four_times).min(i32::from(i16::MAX)) } else { four_times };
        let push = if sign == earlier { 128 } else { -128 };
        let two = ((follow >> 7) + push + ((two * 32_512) >> 15)).clamp(-12_288, 12_288);
        let push = if sign == before { 192 } else { -192 };
        let limit = saturate(15_360 - two);
        let one = saturate(push + ((one * 32_640) >> 15)).clamp(-limit, limit);
        self.poles = [one, two];
    }

    /// UPZERO and DELAYA.
    fn adapt_zeros(&mut self, change: i32) {
        let size = if change == 0 { 0 } else { 128 };
        for (zero, difference) in self.zeros.iter_mut().zip(&self.differences) {
            let push = if (*difference < 0) == (change < 0) { size } else { -size };
            *zero = saturate(push + ((*zero * 32_640) >> 15));
        }
        self.differences.rotate_right(1);
        if let Some(newest) = self.differences.first_mut() {
            *newest = change;
        }
    }
}

fn saturate(value: i32) -> i32 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX))
}

impl super::Decoder for Decoder {
    fn sample_rate(&self) -> u32 {
        SAMPLE_RATE
    }

    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        out.extend(payload.iter().flat_map(|&byte| self.next(byte)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tones_of_both_bands_come_back_at_their_level() {
        use crate::codec::Decoder as _;
        for (hz, least) in [(400.0, 0.999), (1_700.0, 0.999), (5_500.0, 0.95)] {
            let step = std::f64::consts::TAU * hz / f64::from(SAMPLE_RATE);
            let tone: Vec<i16> =
                (0..16_000).map(|i| ((step * f64::from(i)).sin() * 6_000.0) as i16).collect();
            let mut heard = Vec::new();
            Decoder::new().decode(&encode(&tone), &mut heard);
            assert_eq!(heard.len(), tone.len());
            let (mut re, mut im, mut all) = (0.0, 0.0, 0.0);
            for (i, &sample) in heard.iter().enumerate().skip(1_000) {
                let (sin, cos) = (step * i as f64).sin_cos();
                re += f64::from(sample) * cos;
                im += f64::from(sample) * sin;
                all += f64::from(sample).powi(2);
            }
            let count = 15_000.0;
            let share = (re * re + im * im) * 2.0 / count / all;
            assert!(share > least, "{hz} Hz: {share:.4} of the power");
            let level = (all / count).sqrt() / (6_000.0 / 2_f64.sqrt());
            assert!((0.93..1.07).contains(&level), "{hz} Hz: {level:.3} of the level");
        }
    }

    #[test]
    fn any_bytes_decode_to_two_samples_each() {
        use crate::codec::Decoder as _;
        let mut noise = 1_u32;
        let bytes: Vec<u8> = (0..50_000)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 24) as u8
            })
            .collect();
        let mut out = Vec::new();
        Decoder::new().decode(&bytes, &mut out);
        assert_eq!(out.len(), 2 * bytes.len());
    }
}
