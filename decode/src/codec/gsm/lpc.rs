//! The short-term part of GSM 06.10: the shape of the vocal tract as eight log area ratios (EN 300 961, 5.2.4 to
//! 5.2.10 and 5.3.4).
//!
//! Owns analysis, quantization and the two lattice filters. What is left of the signal is `residual`'s.

use super::arith::{abs, add, div, dot, mult, mult_r, norm, norm16, peak, saturate, sub};

/// Eight values, one per section of the filter.
pub(super) type Octet = [i16; 8];

/// How log area ratio i is quantized (table 5.1): slope, offset, smallest and largest code, and 1 / slope.
struct Quantizer {
    a: i16,
    b: i16,
    min: i16,
    max: i16,
    inverse_a: i16,
}

const fn quantizer(a: i16, b: i16, min: i16, max: i16, inverse_a: i16) -> Quantizer {
    Quantizer { a, b, min, max, inverse_a }
}

const QUANTIZERS: [Quantizer; 8] = [
    quantizer(20_480, 0, -32, 31, 13_107),
    quantizer(20_480, 0, -32, 31, 13_107),
    quantizer(20_480, 2_048, -16, 15, 13_107),
    quantizer(20_480, -2_560, -16, 15, 13_107),
    quantizer(13_964, 94, -8, 7, 19_223),
    quantizer(15_360, -1_792, -8, 7, 17_476),
    quantizer(8_534, -341, -4, 3, 31_454),
    quantizer(9_036, -1_144, -4, 3, 29_708),
];

/// The coded log area ratios of 160 samples. The samples come back scaled down and up again, as the standard's own
/// text leaves them: loud frames lose their lowest bits here.
pub(super) fn analyse(signal: &mut [i16; 160]) -> [u8; 8] {
    quantize(&log_area_ratios(&reflection(&autocorrelation(signal))))
}

/// 5.2.4: autocorrelation at lags 0 to 8, of the signal scaled so that 31 bits hold the sums.
fn autocorrelation(signal: &mut [i16; 160]) -> [i32; 9] {
    let loudest = peak(signal);
    let shift = if loudest == 0 { 0 } else { 4_u32.saturating_sub(norm16(loudest)) };
    if shift > 0 {
        let factor = 16_384_i16 >> (shift - 1);
        signal.iter_mut().for_each(|s| *s = mult_r(*s, factor));
    }
    let mut correlation = [0; 9];
    for (lag, value) in correlation.iter_mut().enumerate() {
        // At most 160 * 2048 * 2048 * 2, just below 2^31.
        *value = dot(signal.get(lag..).unwrap_or(&[]), &signal[..]).wrapping_mul(2);
    }
    if shift > 0 {
        signal.iter_mut().for_each(|s| *s <<= shift);
    }
    correlation
}

/// 5.2.5: reflection coefficients (Q15) by the Schur recursion.
fn reflection(correlation: &[i32; 9]) -> Octet {
    let mut r = [0; 8];
    if correlation[0] == 0 {
        return r;
    }
    let shift = norm(correlation[0]);
    let mut p = correlation.map(|c| (c.wrapping_shl(shift) >> 16) as i16);
    let mut k = p;
    for (n, r) in r.iter_mut().enumerate() {
        let magnitude = abs(p[1]);
        if p[0] < magnitude {
            break; // An unstable section: this and all after it stay 0.
        }
        let ratio = div(magnitude, p[0]);
        *r = if p[1] > 0 { -ratio } else { ratio };
        p[0] = add(p[0], mult_r(p[1], *r));
        for m in 1..8 - n {
            let (upper, lower) = (p[m + 1], k[m]);
            p[m] = add(upper, mult_r(lower, *r));
            k[m] = add(lower, mult_r(upper, *r));
        }
    }
    r
}

/// 5.2.6: log area ratios, by three straight lines instead of a logarithm.
fn log_area_ratios(r: &Octet) -> Octet {
    r.map(|r| {
        let magnitude = abs(r);
        let ratio = match magnitude {
            ..22_118 => magnitude >> 1,
            22_118..31_130 => magnitude - 11_059,
            31_130.. => (magnitude - 26_112) << 2,
        };
        if r < 0 { -ratio } else { ratio }
    })
}

/// 5.2.7: the codes, from 0.
fn quantize(ratios: &Octet) -> [u8; 8] {
    let mut codes = [0; 8];
    for ((code, &ratio), q) in codes.iter_mut().zip(ratios).zip(&QUANTIZERS) {
        let level = add(add(mult(q.a, ratio), q.b), 256) >> 9;
        *code = (level.clamp(q.min, q.max) - q.min) as u8;
    }
    codes
}

/// 5.2.8: log area ratios from their codes.
fn dequantize(codes: &[u8; 8]) -> Octet {
    let mut ratios = [0; 8];
    for ((ratio, &code), q) in ratios.iter_mut().zip(codes).zip(&QUANTIZERS) {
        let level = sub(saturate((i32::from(code) + i32::from(q.min)) << 10), q.b << 1);
        let half = mult_r(q.inverse_a, level);
        *ratio = add(half, half);
    }
    ratios
}

/// Turns the codes of successive frames into filter coefficients that glide over the frame's first 5 ms. Encoder and
/// decoder each own one and stay in step.
#[derive(Clone, Debug, Default)]
pub(super) struct Glide {
    previous: Octet,
}

/// Where the coefficients change within a frame, in samples: 0..13, 13..27, 27..40, 40..160 (5.2.9.1).
const STEPS: [usize; 4] = [13, 14, 13, 120];

impl Glide {
    /// 5.2.9: reflection coefficients for each of the four steps of this frame, with the length of the step.
    pub(super) fn next(&mut self, codes: &[u8; 8]) -> [(usize, Octet); 4] {
        let current = dequantize(codes);
        let blend = |mix: fn(i16, i16) -> i16| {
            let mut ratios = [0; 8];
            for ((ratio, &before), &now) in ratios.iter_mut().zip(&self.previous).zip(&current) {
                *ratio = coefficient(mix(before, now));
            }
            ratios
        };
        let steps = [
            blend(|before, now| add(add(before >> 2, now >> 2), before >> 1)),
            blend(|before, now| add(before >> 1, now >> 1)),
            blend(|before, now| add(add(before >> 2, now >> 2), now >> 1)),
            blend(|_, now| now),
        ];
        self.previous = current;
        let mut lengths = STEPS.into_iter();
        steps.map(|coefficients| (lengths.next().unwrap_or(0), coefficients))
    }
}

/// 5.2.9.2: the reflection coefficient of a log area ratio.
fn coefficient(ratio: i16) -> i16 {
    let magnitude = abs(ratio);
    let r = match magnitude {
        ..11_059 => magnitude << 1,
        11_059..20_070 => magnitude + 11_059,
        20_070.. => add(magnitude >> 2, 26_112),
    };
    if ratio < 0 { -r } else { r }
}

/// 5.2.10: the lattice that takes the vocal tract out of the signal.
#[derive(Clone, Debug, Default)]
pub(super) struct Analysis {
    memory: Octet,
}

impl Analysis {
    /// The signal becomes its short-term residual.
    pub(super) fn filter(&mut self, signal: &mut [i16], coefficients: &Octet) {
        for sample in signal {
            let mut forward = *sample;
            let mut backward = forward;
            for (memory, &r) in self.memory.iter_mut().zip(coefficients) {
                let held = *memory;
                *memory = backward;
                backward = add(held, mult_r(r, forward));
                forward = add(forward, mult_r(r, held));
            }
            *sample = forward;
        }
    }
}

/// 5.3.4: the lattice that puts the vocal tract back.
#[derive(Clone, Debug, Default)]
pub(super) struct Synthesis {
    /// One more than sections: the last section's output goes nowhere.
    memory: [i16; 9],
}

impl Synthesis {
    /// The short-term residual becomes the signal.
    pub(super) fn filter(&mut self, residual: &mut [i16], coefficients: &Octet) {
        for sample in residual {
            let mut value = *sample;
            for (section, &r) in coefficients.iter().enumerate().rev() {
                value = sub(value, mult_r(r, self.memory[section]));
                self.memory[section + 1] = add(self.memory[section], mult_r(r, value));
            }
            self.memory[0] = value;
            *sample = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_has_a_flat_filter() {
        let codes = analyse(&mut [0; 160]);
        let ratios = dequantize(&codes);
        // The centre codes; what they decode to is the rounding of table 5.1 and small against 32768.
        assert_eq!(codes, [32, 32, 20, 11, 8, 5, 3, 2]);
        assert!(ratios.iter().all(|r| r.unsigned_abs() < 800), "{ratios:?}");
    }

    #[test]
    fn analysis_and_synthesis_undo_each_other_to_a_few_bits() {
        let coefficients = [9_000, -7_000, 5_000, -3_000, 2_000, -1_500, 1_000, -500];
        let signal: [i16; 160] = std::array::from_fn(|i| ((i * i * 37) % 4_001) as i16 - 2_000);
        let mut filtered = signal;
        Analysis::default().filter(&mut filtered, &coefficients);
        assert_ne!(filtered, signal);
        Synthesis::default().filter(&mut filtered, &coefficients);
        let worst = signal.iter().zip(&filtered).map(|(a, b)| (a - b).abs()).max();
        assert!(worst <= Some(8), "{worst:?}");
    }

    #[test]
    fn the_extremes_of_every_code_stay_within_the_unit_circle() {
        for codes in [[0; 8], [63, 63, 31, 31, 15, 15, 7, 7]] {
            for (_, coefficients) in Glide::default().next(&codes) {
                assert!(coefficients.iter().all(|&r| abs(r) < i16::MAX), "{coefficients:?}");
            }
        }
    }
}
