//! The long-term and pulse part of GSM 06.10: each 5 ms of the short-term residual as an echo of what was and thirteen
//! pulses (EN 300 961, 5.2.11 to 5.2.18 and 5.3.1 to 5.3.2).
//!
//! Owns the residual's history, which encoder and decoder build alike from the same parameters.

use super::arith::{add, dot, mult, mult_r, norm, norm16, peak, saturate, sub};
use super::frame::Subframe;

/// Samples in a subframe: 5 ms.
pub(super) const SUBFRAME: usize = 40;
/// The shortest echo, in samples.
const LAG_MIN: u8 = 40;
/// The longest echo, in samples.
const LAG_MAX: u8 = 120;

/// Decision levels of the echo's gain (table 5.3a, DLB), Q15.
const GAIN_LIMITS: [i16; 3] = [6_554, 16_384, 26_214];
/// The echo's gain (table 5.3b, QLB), Q15.
const GAINS: [i16; 4] = [3_277, 11_469, 21_299, 32_767];
/// Impulse response of the weighting filter (table 5.4, H), Q13.
const WEIGHTING: [i16; 11] = [-134, -374, 0, 2_054, 5_741, 8_192, 5_741, 2_054, 0, -374, -134];
/// 1 / mantissa of the block maximum (table 5.5, NRFAC), Q15.
const INVERSE_MANTISSA: [i16; 8] = [29_128, 26_215, 23_832, 21_846, 20_165, 18_725, 17_476, 16_384];
/// Mantissa of the block maximum (table 5.6, FAC), Q15.
const MANTISSA: [i16; 8] = [18_431, 20_479, 22_527, 24_575, 26_623, 28_671, 30_719, 32_767];

type Block = [i16; SUBFRAME];

/// The last 15 ms of the reconstructed residual (dp, drp), oldest first.
#[derive(Clone, Debug)]
pub(super) struct History {
    samples: [i16; LAG_MAX as usize],
    /// The decoder's last valid lag: what a damaged one is replaced by.
    lag: u8,
}

impl Default for History {
    fn default() -> Self {
        History { samples: [0; LAG_MAX as usize], lag: LAG_MIN }
    }
}

impl History {
    /// Codes 5 ms of residual and appends what a decoder will make of the code.
    pub(super) fn encode(&mut self, residual: &Block) -> Subframe {
        let (lag, gain) = self.find_echo(residual);
        let echo = self.echo(lag, gain);
        let mut rest = [0; SUBFRAME];
        for ((rest, &d), &e) in rest.iter_mut().zip(residual).zip(&echo) {
            *rest = sub(d, e);
        }
        let weighted = weigh(&rest);
        let (grid, pulses) = select_grid(&weighted);
        let (peak, pulses) = quantize(&pulses);
        let subframe = Subframe { lag, gain, grid, peak, pulses };
        self.append(&echo, &subframe);
        subframe
    }

    /// Decodes 5 ms of residual.
    pub(super) fn decode(&mut self, subframe: &Subframe) -> Block {
        if (LAG_MIN..=LAG_MAX).contains(&subframe.lag) {
            self.lag = subframe.lag;
        }
        let echo = self.echo(self.lag, subframe.gain);
        self.append(&echo, subframe)
    }

    /// The residual `lag` samples ago.
    fn delayed(&self, lag: u8) -> &Block {
        let back = usize::from(lag.clamp(LAG_MIN, LAG_MAX));
        self.samples.get(self.samples.len() - back..).and_then(<[i16]>::first_chunk).unwrap_or(&[0; SUBFRAME])
    }

    /// 5.2.12, first half: the echo that lag and gain describe.
    fn echo(&self, lag: u8, gain: u8) -> Block {
        let gain = GAINS[usize::from(gain & 3)];
        self.delayed(lag).map(|d| mult_r(gain, d))
    }

    /// 5.2.18: the pulses on top of the echo, which become the newest part of the history.
    fn append(&mut self, echo: &Block, subframe: &Subframe) -> Block {
        let mut block = *echo;
        let grid = usize::from(subframe.grid & 3);
        let pulses = dequantize(subframe.peak, &subframe.pulses);
        for (sample, pulse) in block.iter_mut().skip(grid).step_by(3).zip(pulses) {
            *sample = add(*sample, pulse);
        }
        self.samples.copy_within(SUBFRAME.., 0);
        if let Some(newest) = self.samples.last_chunk_mut() {
            *newest = block;
        }
        block
    }

    /// 5.2.11: the lag at which the history is most like the residual, and how much of it to take.
    fn find_echo(&self, residual: &Block) -> (u8, u8) {
        let shift = match peak(residual) {
            0 => 0,
            loudest => 6_u32.saturating_sub(norm16(loudest)),
        };
        let scaled = residual.map(|d| d >> shift);
        let (mut lag, mut likeness) = (LAG_MIN, 0);
        // Windows from newest to oldest are lags from 40 up. |scaled| <= 512, so 40 products stay below 2^30.
        for (candidate, window) in (LAG_MIN..).zip(self.samples.windows(SUBFRAME).rev()) {
            let sum = dot(&scaled, window);
            if sum > likeness {
                (lag, likeness) = (candidate, sum);
            }
        }
        let likeness = likeness.wrapping_mul(2) >> (6 - shift);
        let quiet = self.delayed(lag).map(|d| d >> 3);
        let power = dot(&quiet, &quiet).wrapping_mul(2);
        (lag, gain_code(likeness, power))
    }
}

/// 5.2.11, last part: the gain's code from likeness / power.
fn gain_code(likeness: i32, power: i32) -> u8 {
    if likeness <= 0 {
        return 0;
    }
    if likeness >= power {
        return 3;
    }
    let shift = norm(power);
    let likeness = (likeness.wrapping_shl(shift) >> 16) as i16;
    let power = (power.wrapping_shl(shift) >> 16) as i16;
    GAIN_LIMITS.iter().take_while(|&&limit| likeness > mult(power, limit)).count() as u8
}

/// 5.2.13: the weighting filter; the subframe stands between zeros.
fn weigh(rest: &Block) -> Block {
    let mut padded = [0; SUBFRAME + 10];
    if let Some(middle) = padded.get_mut(5..5 + SUBFRAME) {
        middle.copy_from_slice(rest);
    }
    let mut weighted = [0; SUBFRAME];
    for (sample, window) in weighted.iter_mut().zip(padded.windows(WEIGHTING.len())) {
        *sample = saturate((dot(window, &WEIGHTING) + 4_096) >> 13);
    }
    weighted
}

/// 5.2.14: the strongest of the four grids of every third sample; the first of equals.
fn select_grid(weighted: &Block) -> (u8, [i16; 13]) {
    let (mut best, mut strongest) = ((0, on_grid(weighted, 0)), 0);
    for grid in 0..4 {
        let pulses = on_grid(weighted, grid);
        let quiet = pulses.map(|p| p >> 2);
        let energy = dot(&quiet, &quiet);
        if energy > strongest {
            (best, strongest) = ((grid, pulses), energy);
        }
    }
    best
}

fn on_grid(weighted: &Block, grid: u8) -> [i16; 13] {
    let mut pulses = [0; 13];
    for (pulse, &x) in pulses.iter_mut().zip(weighted.iter().skip(usize::from(grid)).step_by(3)) {
        *pulse = x;
    }
    pulses
}

/// 5.2.15: the block maximum in 6 logarithmic bits, and each pulse relative to it in 3.
fn quantize(pulses: &[i16; 13]) -> (u8, [u8; 13]) {
    let loudest = peak(pulses);
    // The exponent is the bit length above 9 bits, 6 at most.
    let exponent = (16 - (loudest >> 9).leading_zeros()).min(6) as i16;
    let peak = (add(loudest >> (exponent + 5), exponent << 3) & 0x3F) as u8;
    let (shift, mantissa) = scale(peak);
    let factor = INVERSE_MANTISSA[mantissa];
    // No pulse is larger than the coded maximum, so the shift loses no bit (the standard says so, too).
    let codes = pulses.map(|p| (add(mult(p.wrapping_shl(shift), factor) >> 12, 4) & 7) as u8);
    (peak, codes)
}

/// 5.2.16 and 5.3.1: pulses from their codes.
fn dequantize(peak: u8, codes: &[u8; 13]) -> [i16; 13] {
    let (shift, mantissa) = scale(peak);
    let factor = MANTISSA[mantissa];
    let rounding = if shift == 0 { 0 } else { 1_i16 << (shift - 1) };
    codes.map(|code| {
        let level = (i16::from(code & 7) * 2 - 7) << 12;
        add(mult_r(factor, level), rounding) >> shift
    })
}

/// What a coded block maximum means: by how many bits the pulses are shifted (6 - exponent, 0 to 10) and which
/// mantissa they are scaled with (0 to 7).
fn scale(peak: u8) -> (u32, usize) {
    let peak = u32::from(peak & 0x3F);
    let exponent = if peak > 15 { (peak >> 3) - 1 } else { 0 };
    let mantissa = peak - (exponent << 3); // 0 to 15
    if mantissa == 0 {
        return (10, 7);
    }
    // Mantissas of 1 to 7 are shifted up to 8..=15, ones coming in from below.
    let up = mantissa.leading_zeros().saturating_sub(28);
    let mantissa = (mantissa + 1).wrapping_shl(up) - 1;
    (6 - exponent.min(6) + up, (mantissa & 7) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_maximum_of_every_code_is_what_the_formula_gives() {
        for peak in 0..64_u8 {
            let (shift, mantissa) = scale(peak);
            assert!(shift <= 10 && mantissa < 8, "{peak}");
            // The loudest pulse decodes to about the middle of what coded as this maximum.
            let loudest = i32::from(dequantize(peak, &[7; 13])[0]);
            let (low, high) = match peak {
                0..16 => (i32::from(peak) * 32, i32::from(peak) * 32 + 31),
                _ => {
                    let exponent = i32::from(peak >> 3) - 1;
                    let step = 32 << exponent;
                    (i32::from(peak & 7 | 8) * step, (i32::from(peak & 7 | 8) + 1) * step - 1)
                }
            };
            assert!((low * 7 / 8 - 32..=high).contains(&loudest), "{peak}: {loudest} not in {low}..={high}");
        }
    }

    #[test]
    fn a_damaged_lag_keeps_the_last_good_one() {
        let mut history = History::default();
        let loud = Subframe { lag: 50, gain: 3, grid: 0, peak: 40, pulses: [7; 13] };
        history.decode(&loud);
        let (mut good, mut bad) = (history.clone(), history);
        for lag in [0, 39, 121, 127] {
            let expected = good.decode(&Subframe { lag: 50, ..loud });
            assert_eq!(bad.decode(&Subframe { lag, ..loud }), expected, "lag {lag}");
        }
    }

    #[test]
    fn a_periodic_residual_is_found_at_its_period() {
        let mut history = History::default();
        let period = 57_usize;
        let block = |n: usize| -> Block {
            std::array::from_fn(|i| if (n * SUBFRAME + i).is_multiple_of(period) { 8_000 } else { 0 })
        };
        let last = (0..40).map(|n| history.encode(&block(n))).filter(|s| s.gain == 3).last();
        assert_eq!(last.map(|s| s.lag), Some(57));
    }
}
