//! From one sample rate to another, band-limited: what lies above half of the lower rate is taken out, not folded back.
//!
//! A windowed sinc, tabled at `PHASES` places between two samples and read by straight lines between these. Works on any two
//! rates, keeps its place across calls, and gives `floor(n * to / from)` samples for n, without delay: the last few are
//! provisional until more comes, and can be asked for.

use std::f64::consts::PI;

/// Input samples on each side of an output sample when the rate rises; when it falls, this many periods of the lower rate.
const HALF_WIDTH: usize = 16;
/// Places of the table between two samples.
const PHASES: usize = 256;
/// The passband's end, as a part of half of the lower rate; the window's own slope ends close above it.
const PASSBAND: f64 = 0.94;
/// The shape of the Kaiser window: about 80 dB.
const BETA: f64 = 8.0;
/// Lowest rate taken for one, in Hz; a filter for less would grow without bound.
const RATE_MIN: u32 = 1_000;

/// Changes the rate of one stream of samples.
#[derive(Clone, Debug)]
pub struct Resampler {
    from: u64,
    to: u64,
    /// Input samples on each side of an output sample.
    half: usize,
    /// The filter's right half, [`PHASES`] places for each input sample.
    table: Vec<f32>,
    /// The newest input samples; silence before the first.
    history: Vec<f32>,
    /// Input samples that came before those in `history`, counting `half` samples of silence in front.
    dropped: u64,
    /// Output samples given.
    given: u64,
}

impl Resampler {
    /// From `from` Hz to `to` Hz.
    #[must_use]
    pub fn new(from: u32, to: u32) -> Self {
        let (from, to) = (from.max(RATE_MIN), to.max(RATE_MIN));
        // Cutting at the lower of both rates makes the filter as much longer as the rate falls.
        let falls = f64::from(from.max(to)) / f64::from(to);
        let half = (HALF_WIDTH as f64 * falls).ceil() as usize;
        let cutoff = PASSBAND / falls;
        let places = half * PHASES;
        let table = (0..=places).map(|place| {
            let at = place as f64 / PHASES as f64;
            let sinc = if place == 0 { 1.0 } else { (PI * cutoff * at).sin() / (PI * cutoff * at) };
            let window =
                bessel(BETA * (1.0 - (place as f64 / places as f64).powi(2)).max(0.0).sqrt()) / bessel(BETA);
            (cutoff * sinc * window) as f32
        });
        Resampler {
            from: u64::from(from),
            to: u64::from(to),
            half,
            table: table.collect(),
            history: vec![0.0; half],
            dropped: 0,
            given: 0,
        }
    }

    /// Forgets what came: the next sample is the first one again.
    pub fn restart(&mut self) {
        self.history.clear();
        self.history.resize(self.half, 0.0);
        (self.dropped, self.given) = (0, 0);
    }

    /// Samples that `input` samples become.
    #[must_use]
    pub fn length(&self, input: u64) -> u64 {
        let length = u128::from(input) * u128::from(self.to) / u128::from(self.from);
        u64::try_from(length).unwrap_or(u64::MAX)
    }

    /// Takes the next samples and appends those that are final.
    pub fn push(&mut self, input: &[i16], out: &mut Vec<i16>) {
        self.history.extend(input.iter().map(|&sample| f32::from(sample)));
        while let Some(sample) = self.at(self.given, false) {
            out.push(sample);
            self.given += 1;
        }
        // What no coming sample reaches back to.
        let (first, _) = self.place(self.given);
        let spent = usize::try_from(first.saturating_sub(self.dropped)).unwrap_or(0).min(self.history.len());
        if spent > self.history.len() / 2 {
            self.history.drain(..spent);
            self.dropped += spent as u64;
        }
    }

    /// Appends what is left, as if silence followed. Nothing is changed: when more comes, [`push`](Resampler::push) gives
    /// these samples once more, final.
    pub fn tail(&self, out: &mut Vec<i16>) {
        let taken = self.dropped + self.history.len() as u64 - self.half as u64;
        out.extend((self.given..self.length(taken)).filter_map(|sample| self.at(sample, true)));
    }

    /// The first input sample under the filter for an output sample, silence in front counted, and how far beyond the
    /// middle's sample it lies, in parts of `to`.
    fn place(&self, sample: u64) -> (u64, u64) {
        let place = u128::from(sample) * u128::from(self.from);
        // Silence in front: the filter's first sample is `half` before the middle, plus one.
        ((place / u128::from(self.to)) as u64 + 1, (place % u128::from(self.to)) as u64)
    }

    fn at(&self, sample: u64, at_end: bool) -> Option<i16> {
        let (first, part) = self.place(sample);
        let start = usize::try_from(first.checked_sub(self.dropped)?).ok()?;
        let under = self.history.get(start..)?;
        if under.len() < 2 * self.half && !at_end {
            return None;
        }
        let (before, after) = under.split_at(self.half.min(under.len()));
        let after = after.get(..self.half.min(after.len())).unwrap_or_default();
        // Distances of the middle's two neighbours, in places of the table.
        let place = part as f64 / self.to as f64 * PHASES as f64;
        let left = self.wing(before.iter().rev(), place);
        // At the end `before` may be short: its last sample is then further away.
        let right = self.wing(after.iter(), PHASES as f64 - place);
        debug_assert!(before.len() == self.half || after.is_empty());
        let sum = left + right;
        Some(sum.round().clamp(-32_768.0, 32_767.0) as i16)
    }

    /// The sum over one side of the filter, beginning `place` places from its middle.
    fn wing<'a>(&self, samples: impl Iterator<Item = &'a f32>, place: f64) -> f32 {
        let whole = place as usize;
        let part = (place - whole as f64) as f32;
        let lines = self.table.get(whole..).unwrap_or_default();
        samples
            .zip(lines.iter().step_by(PHASES).zip(lines.iter().skip(1).step_by(PHASES)))
            .map(|(sample, (here, next))| sample * (here + part * (next - here)))
            .sum()
    }
}

/// The modified Bessel function of order 0, by its series.
fn bessel(x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for n in 1..64 {
        term *= (x / 2.0 / f64::from(n)).powi(2);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, rate: u32, count: usize) -> Vec<i16> {
        let step = std::f64::consts::TAU * hz / f64::from(rate);
        (0..count).map(|i| ((i as f64 * step).sin() * 16_000.0).round() as i16).collect()
    }

    fn whole(from: u32, to: u32, input: &[i16], piece: usize) -> Vec<i16> {
        let mut resampler = Resampler::new(from, to);
        let mut out = Vec::new();
        for piece in input.chunks(piece) {
            resampler.push(piece, &mut out);
        }
        resampler.tail(&mut out);
        out
    }

    fn db_of_difference(a: &[i16], b: &[i16]) -> f64 {
        let error: f64 = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
        let power: f64 = b.iter().map(|&b| f64::from(b).powi(2)).sum();
        10.0 * (error.max(1.0) / power).log10()
    }

    #[test]
    fn a_tone_becomes_the_same_tone_at_the_other_rate() {
        for (from, to) in [
            (8_000, 16_000),
            (8_000, 48_000),
            (16_000, 48_000),
            (11_025, 48_000),
            (44_100, 48_000),
            (48_000, 8_000),
            (16_000, 8_000),
            (22_050, 16_000),
            (8_000, 8_001),
        ] {
            for hz in [100.0, 1_000.0, 3_000.0] {
                let out = whole(from, to, &tone(hz, from, from as usize / 2), 160);
                let ideal = tone(hz, to, out.len());
                let inside = to as usize / 50..out.len() - to as usize / 50;
                let db = db_of_difference(&out[inside.clone()], &ideal[inside]);
                assert!(db < -65.0, "{from} to {to}, {hz} Hz: {db:.1} dB");
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_gone_and_nothing_is_folded() {
        for (from, to, hz) in [(48_000, 8_000, 5_000.0), (16_000, 8_000, 4_400.0), (48_000, 16_000, 11_000.0)]
        {
            let out = whole(from, to, &tone(hz, from, from as usize / 2), 960);
            let inside = &out[to as usize / 50..out.len() - to as usize / 50];
            let loudest = inside.iter().map(|sample| sample.unsigned_abs()).max();
            assert!(loudest < Some(20), "{from} to {to}, {hz} Hz: {loudest:?}");
        }
        // Raising the rate makes no mirror image: all power is in the tone.
        let out = whole(8_000, 48_000, &tone(3_000.0, 8_000, 8_000), 160);
        let db = db_of_difference(&out[1_000..40_000], &tone(3_000.0, 48_000, 48_000)[1_000..40_000]);
        assert!(db < -65.0, "{db:.1} dB");
    }

    #[test]
    fn pieces_of_any_size_give_the_same_samples_and_the_exact_number() {
        for (from, to) in [(8_000, 48_000), (11_025, 8_000), (44_100, 16_000)] {
            let input = tone(700.0, from, 5_001);
            let at_once = whole(from, to, &input, input.len());
            assert_eq!(at_once.len() as u64, 5_001 * u64::from(to) / u64::from(from));
            for piece in [1, 7, 160, 1_000] {
                assert!(whole(from, to, &input, piece) == at_once, "{from} to {to} by {piece}");
            }
        }
    }

    #[test]
    fn the_tail_is_provisional_and_as_long_as_what_came() {
        let mut resampler = Resampler::new(8_000, 48_000);
        let (mut fixed, mut tail) = (Vec::new(), Vec::new());
        resampler.push(&tone(500.0, 8_000, 160), &mut fixed);
        resampler.tail(&mut tail);
        assert_eq!((fixed.len() + tail.len(), resampler.length(160)), (960, 960));
        assert!(tail.len() <= 6 * HALF_WIDTH, "{}", tail.len());
    }

    #[test]
    fn extremes_neither_overflow_nor_panic() {
        for (from, to) in [(0, 48_000), (u32::MAX, 1), (1, 1), (48_000, 48_000)] {
            let _ = whole(from.min(200_000), to, &[i16::MAX, i16::MIN, i16::MAX], 2);
        }
        let square: Vec<i16> = (0..4_000).map(|i| if i / 7 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        assert_eq!(whole(8_000, 16_000, &square, 160).len(), 8_000);
    }
}
