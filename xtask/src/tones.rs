//! What a test asks of audio: which tone is in it, how pure, how loud, and where it is silent.
//!
//! Single frequencies by Goertzel's recurrence under a Hann window; no FFT. A window of one second tells apart tones
//! that lie 2 Hz apart, which is the distance of neighbours in [`crate::load`]'s plan.

use std::ops::RangeInclusive;

/// The loudest tone of a stretch of audio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tone {
    /// Frequency in Hz, to 0.1 Hz.
    pub hz: f64,
    /// Share of the energy that is this tone, 0.0 to 1.0; the median over whole seconds.
    pub purity: f64,
    /// Level in dB relative to full scale (a full-scale sine is -3.01); the median over whole seconds.
    pub level_dbfs: f64,
}

/// A stretch below a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// First silent sample.
    pub start: usize,
    /// The sample after the last silent one.
    pub end: usize,
}

/// Step of the first search, in Hz; with [`COARSE_MS`] of audio the main lobe of a tone is 40 Hz wide.
const COARSE_STEP_HZ: u32 = 10;
/// Length of audio that the first search looks at, in milliseconds.
const COARSE_MS: usize = 100;
/// Length of the windows in which [`silences`] measures, in milliseconds.
const SILENCE_WINDOW_MS: usize = 10;
/// Length of the two windows that [`step_near`] holds against each other, in milliseconds.
const STEP_WINDOW_MS: f64 = 20.0;
/// A tone must carry this share of the energy to be reported.
const PURITY_MIN: f64 = 0.02;

/// The loudest tone of `samples` among the frequencies in `hz`; `None` when there is under half a second of audio, or
/// no tone that carries a fiftieth of the energy.
///
/// The frequency is searched in the loudest second, so that silence at the start (ringing, a hold) hides nothing.
#[must_use]
pub fn detect(samples: &[i16], rate: u32, hz: RangeInclusive<u32>) -> Option<Tone> {
    let second = rate as usize;
    if rate == 0 || samples.len() < second / 2 {
        return None;
    }
    let windows = || samples.chunks(second).filter(|w| w.len() >= second / 2);
    let loudest = windows().max_by(|a, b| energy(a).total_cmp(&energy(b)))?;
    let middle = loudest.len() / 2;
    let coarse_len = (second * COARSE_MS / 1000).min(loudest.len());
    let coarse = loudest.get(middle - coarse_len / 2..).and_then(|rest| rest.get(..coarse_len))?;
    let rough = best(coarse, rate, hz.clone().step_by(COARSE_STEP_HZ as usize).map(f64::from))?;
    let near = (-12..=12).map(|step| rough + f64::from(step)).filter(|f| *f > 0.0);
    let whole = best(loudest, rate, near)?;
    let exact = best(loudest, rate, (-10..=10).map(|step| whole + f64::from(step) / 10.0))?;
    if !(f64::from(*hz.start()) - 0.5..=f64::from(*hz.end()) + 0.5).contains(&exact) {
        return None;
    }
    let purity = median(windows().map(|w| purity(w, rate, exact)));
    let level_dbfs = median(windows().map(level_dbfs));
    (purity >= PURITY_MIN).then_some(Tone { hz: exact, purity, level_dbfs })
}

/// Share of the energy of `samples` that is a sine of `hz`, 0.0 to 1.0. Silence gives 0.
#[must_use]
pub fn purity(samples: &[i16], rate: u32, hz: f64) -> f64 {
    let (mut total, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for (window, x) in hann(samples) {
        total += x * x;
        sum += window;
        squares += window * window;
    }
    if total <= 0.0 || sum <= 0.0 {
        return 0.0;
    }
    // A sine of amplitude a gives |X| = a/2 * sum(w) and a windowed energy of a^2/2 * sum(w^2).
    let amplitude = 2.0 * goertzel(samples, rate, hz).sqrt() / sum;
    (amplitude * amplitude / 2.0 * squares / total).min(1.0)
}

/// Level in dB relative to full scale; negative infinity for digital silence or no samples.
#[must_use]
pub fn level_dbfs(samples: &[i16]) -> f64 {
    if samples.is_empty() {
        return f64::NEG_INFINITY;
    }
    10.0 * (energy(samples) / samples.len() as f64 / (32_768.0 * 32_768.0)).log10()
}

/// The level of each whole second, in dB relative to full scale: the cadence by which two tracks are laid side by side.
#[must_use]
pub fn levels_by_second(samples: &[i16], rate: u32) -> Vec<f64> {
    samples.chunks_exact((rate as usize).max(1)).map(level_dbfs).collect()
}

/// Where the loudness steps up or down by 3 dB and more, in milliseconds: the steepest such place within `within_ms` of
/// `near_ms`, to a millisecond or two.
#[must_use]
pub fn step_near(samples: &[i16], rate: u32, near_ms: f64, within_ms: f64) -> Option<f64> {
    let to_sample = |ms: f64| (ms * f64::from(rate) / 1000.0).round().max(0.0) as usize;
    let window = to_sample(STEP_WINDOW_MS);
    let first = to_sample(near_ms - within_ms).max(window);
    let last = to_sample(near_ms + within_ms).min(samples.len().saturating_sub(window));
    let steps = (first..last).step_by((rate as usize / 1000).max(1)).filter_map(|at| {
        let (before, after) = (samples.get(at - window..at)?, samples.get(at..at + window)?);
        Some(((level_dbfs(after) - level_dbfs(before)).abs(), at))
    });
    let (step, at) = steps.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (step >= 3.0).then(|| at as f64 * 1000.0 / f64::from(rate))
}

/// The stretches of at least `min_ms` in which no window of 10 ms is louder than `below_dbfs`. Bounds are exact to
/// one window; a part of a window at the end counts with the one before it.
#[must_use]
pub fn silences(samples: &[i16], rate: u32, below_dbfs: f64, min_ms: u32) -> Vec<Silence> {
    let window = (rate as usize * SILENCE_WINDOW_MS / 1000).max(1);
    let min = rate as usize * min_ms as usize / 1000;
    let mut found = Vec::new();
    let mut start = None;
    for (n, part) in samples.chunks(window).enumerate() {
        let at = n * window;
        if level_dbfs(part) <= below_dbfs {
            start.get_or_insert(at);
        } else if let Some(start) = start.take() {
            found.push(Silence { start, end: at });
        }
    }
    found.extend(start.map(|start| Silence { start, end: samples.len() }));
    found.retain(|silence| silence.end - silence.start >= min);
    found
}

/// The frequency with the most power; the first of equals.
fn best(samples: &[i16], rate: u32, candidates: impl Iterator<Item = f64>) -> Option<f64> {
    candidates
        .map(|hz| (goertzel(samples, rate, hz), hz))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, hz)| hz)
}

/// Squared magnitude of the Hann-windowed spectrum at one frequency.
fn goertzel(samples: &[i16], rate: u32, hz: f64) -> f64 {
    let coefficient = 2.0 * (std::f64::consts::TAU * hz / f64::from(rate.max(1))).cos();
    let (mut before, mut last) = (0.0, 0.0);
    for (_, x) in hann(samples) {
        (before, last) = (last, x + coefficient * last - before);
    }
    last * last + before * before - coefficient * last * before
}

/// Each sample under a Hann window: the window's value and the product.
fn hann(samples: &[i16]) -> impl Iterator<Item = (f64, f64)> + '_ {
    // The cosine by its own recurrence: one multiplication a sample instead of a call into libm.
    let step = std::f64::consts::TAU / samples.len().max(1) as f64;
    let coefficient = 2.0 * step.cos();
    let (mut before, mut now) = (step.cos(), 1.0);
    samples.iter().map(move |&sample| {
        let window = 0.5 - 0.5 * now;
        (before, now) = (now, coefficient * now - before);
        (window, window * f64::from(sample))
    })
}

fn energy(samples: &[i16]) -> f64 {
    samples.iter().map(|&x| f64::from(x) * f64::from(x)).sum()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::g711::Law;
    use crate::rng::Rng;

    fn sine(hz: f64, amplitude: f64, len: usize) -> Vec<i16> {
        (0..len)
            .map(|n| (amplitude * (std::f64::consts::TAU * hz * n as f64 / 8000.0).sin()) as i16)
            .collect()
    }

    #[test]
    fn a_step_of_loudness_is_found_to_a_few_milliseconds() {
        let tone = |n: usize| (f64::from(n as u32) * 0.3).sin();
        let loud = |n: usize| if n < 8_123 { 12_000.0 } else { 6_000.0 };
        let samples: Vec<i16> = (0..16_000).map(|n| (tone(n) * loud(n)) as i16).collect();
        let found = step_near(&samples, 8_000, 1_000.0, 150.0).expect("a step");
        assert!((found - 8_123.0 / 8.0).abs() <= 3.0, "{found}");
        assert_eq!(step_near(&samples, 8_000, 400.0, 150.0), None);
        assert_eq!(step_near(&[], 8_000, 400.0, 150.0), None);
    }

    #[test]
    fn a_tone_is_found_to_a_tenth_of_a_hertz() {
        for hz in [300.0, 301.0, 1000.0, 1798.0, 1801.0, 2999.5, 3299.0] {
            let tone = detect(&sine(hz, 12_000.0, 24_000), 8000, 200..=3400).unwrap();
            assert!((tone.hz - hz).abs() < 0.15, "{hz}: {tone:?}");
            assert!(tone.purity > 0.999, "{hz}: {tone:?}");
            assert!((tone.level_dbfs + 11.74).abs() < 0.1, "{hz}: {tone:?}");
        }
    }

    #[test]
    fn g711_keeps_a_tone_pure() {
        for law in [Law::Mu, Law::A] {
            let coded: Vec<i16> =
                sine(1234.0, 6000.0, 16_000).iter().map(|&x| law.decode(law.encode(x))).collect();
            let tone = detect(&coded, 8000, 200..=3400).unwrap();
            assert!(tone.purity > 0.99 && tone.hz.round() as u32 == 1234, "{law:?} {tone:?}");
        }
    }

    #[test]
    fn two_tones_at_once_are_not_pure() {
        let mix: Vec<i16> = sine(500.0, 8000.0, 16_000)
            .iter()
            .zip(sine(2501.0, 8000.0, 16_000))
            .map(|(a, b)| a + b)
            .collect();
        let low = detect(&mix, 8000, 300..=1798).unwrap();
        let high = detect(&mix, 8000, 1801..=3299).unwrap();
        assert_eq!((low.hz.round(), high.hz.round()), (500.0, 2501.0));
        assert!(
            (0.45..0.55).contains(&low.purity) && (0.45..0.55).contains(&high.purity),
            "{low:?} {high:?}"
        );
    }

    #[test]
    fn a_neighbour_two_hertz_away_is_told_apart() {
        assert!(purity(&sine(1000.0, 9000.0, 8000), 8000, 1002.0) < 0.01);
        assert!(purity(&sine(1000.0, 9000.0, 8000), 8000, 1000.0) > 0.999);
    }

    #[test]
    fn noise_and_silence_have_no_tone() {
        let mut rng = Rng::new(1, 0);
        let noise: Vec<i16> = (0..16_000).map(|_| rng.below(8000) as i16 - 4000).collect();
        assert_eq!(detect(&noise, 8000, 300..=3299), None);
        assert_eq!(detect(&[0; 16_000], 8000, 300..=3299), None);
        assert_eq!(detect(&[], 8000, 300..=3299), None);
        assert_eq!(detect(&sine(440.0, 9000.0, 8000), 0, 300..=3299), None);
    }

    #[test]
    fn a_tone_outside_the_range_is_not_reported_as_its_edge() {
        assert_eq!(detect(&sine(1810.0, 9000.0, 16_000), 8000, 300..=1798), None);
    }

    #[test]
    fn silences_are_found_with_their_bounds() {
        let mut audio = sine(700.0, 9000.0, 24_000);
        audio[8000..12_000].fill(0);
        audio[23_000..].fill(3);
        let found = silences(&audio, 8000, -60.0, 100);
        assert_eq!(found, [Silence { start: 8000, end: 12_000 }, Silence { start: 23_040, end: 24_000 }]);
        assert_eq!(silences(&audio, 8000, -60.0, 200), [Silence { start: 8000, end: 12_000 }]);
    }

    #[test]
    fn the_cadence_shows_in_the_levels() {
        let mut audio = sine(700.0, 12_000.0, 8000);
        audio.extend(sine(700.0, 6000.0, 8000));
        let levels = levels_by_second(&audio, 8000);
        assert!((levels[0] - levels[1] - 6.02).abs() < 0.05, "{levels:?}");
    }
}
