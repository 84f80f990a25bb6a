//! Concealment of lost packets: the last pitch period goes on, fading, until the voice comes back.
//!
//! After the idea of G.711 Appendix I: find the period of the sound before the loss, repeat it with its seam smoothed,
//! hold it for 10 ms, fade it out by 60 ms, and blend over into the first good packet. For any sample rate; knows
//! samples only, not packets.

/// Longest loss that is covered, in milliseconds.
const CONCEAL_MS_MAX: usize = 60;
/// Full level up to here, then down to nothing at [`CONCEAL_MS_MAX`].
const HOLD_MS: usize = 10;
/// Longest and shortest period looked for: 66 and 200 Hz. A higher voice repeats two or more of its periods.
const PERIOD_US: std::ops::RangeInclusive<usize> = 5_000..=15_000;
/// Stretch that is compared to find the period, in microseconds.
const COMPARED_US: usize = 20_000;
/// Blend into the first good packet: this long, and this much more for each 10 ms lost.
const BLEND_US: usize = 4_000;
/// Longest blend.
const BLEND_US_MAX: usize = 10_000;

/// How many samples of what has been produced may still be changed when a loss begins: a quarter of the longest
/// period, over which the seam is smoothed.
pub(super) fn tail_samples(rate: u32) -> usize {
    samples(*PERIOD_US.end(), rate) / 4
}

/// How many samples before the loss a concealment looks at.
pub(super) fn history_samples(rate: u32) -> usize {
    samples(PERIOD_US.end() + COMPARED_US, rate)
}

fn samples(us: usize, rate: u32) -> usize {
    us.saturating_mul(rate as usize) / 1_000_000
}

/// A loss being covered.
#[derive(Clone, Debug)]
pub(super) struct Concealment {
    period: Vec<i16>,
    rate: u32,
    produced: usize,
}

impl Concealment {
    /// Begins at the end of `heard`, whose last [`tail_samples`] may be changed. Silent when too little was heard.
    pub(super) fn begin(heard: &mut [i16], rate: u32) -> Concealment {
        let from = heard.len().saturating_sub(history_samples(rate));
        let heard = heard.get_mut(from..).unwrap_or_default();
        let period = period_of(heard, rate).and_then(|lag| {
            let seam = lag / 4;
            let start = heard.len().checked_sub(lag)?;
            let before = start.checked_sub(seam)?;
            // The end of the last period is led over into what stood before its beginning, so that it can follow itself.
            for i in 0..seam {
                let lead = *heard.get(before + i)?;
                let last = heard.get_mut(start + lag - seam + i)?;
                *last = mix(*last, lead, i + 1, seam + 1);
            }
            heard.get(start..).map(<[i16]>::to_vec)
        });
        Concealment { period: period.unwrap_or_default(), rate, produced: 0 }
    }

    /// Appends the next `count` samples.
    pub(super) fn fill(&mut self, count: usize, out: &mut Vec<i16>) {
        out.extend((0..count).map(|_| self.next_sample()));
    }

    /// Blends the beginning of the first good samples with what the concealment would have gone on with.
    pub(super) fn blend_into(&mut self, good: &mut [i16]) {
        let lost_ms = self.produced * 1000 / self.rate.max(1) as usize;
        let us = (BLEND_US + lost_ms / 10 * BLEND_US).min(BLEND_US_MAX);
        let length = samples(us, self.rate).min(good.len());
        for (i, sample) in good.iter_mut().take(length).enumerate() {
            *sample = mix(self.next_sample(), *sample, i + 1, length + 1);
        }
    }

    fn next_sample(&mut self) -> i16 {
        let hold = samples(HOLD_MS * 1000, self.rate);
        let end = samples(CONCEAL_MS_MAX * 1000, self.rate);
        let place = self.produced;
        self.produced = place.saturating_add(1);
        let Some(&sample) = place.checked_rem(self.period.len()).and_then(|i| self.period.get(i)) else {
            return 0;
        };
        if place >= end { 0 } else { mix(sample, 0, place.saturating_sub(hold), end - hold) }
    }
}

/// `from` at 0, `to` at `of`, a straight line between.
fn mix(from: i16, to: i16, place: usize, of: usize) -> i16 {
    let (place, of) = (place.min(of) as i64, of.max(1) as i64);
    ((i64::from(from) * (of - place) + i64::from(to) * place) / of) as i16
}

/// The lag at which the end of `heard` is most like what stood before it (normalized cross-correlation).
fn period_of(heard: &[i16], rate: u32) -> Option<usize> {
    let compared = samples(COMPARED_US, rate);
    let (shortest, longest) = (samples(*PERIOD_US.start(), rate), samples(*PERIOD_US.end(), rate));
    let end = heard.len();
    let reference = heard.get(end.checked_sub(compared)?..)?;
    let mut best: Option<(f64, usize)> = None;
    for lag in shortest..=longest {
        let Some(candidate) = (end - compared).checked_sub(lag).and_then(|at| heard.get(at..at + compared))
        else {
            break;
        };
        let (mut product, mut energy) = (0_i64, 0_i64);
        for (&a, &b) in reference.iter().zip(candidate) {
            product += i64::from(a) * i64::from(b);
            energy += i64::from(b) * i64::from(b);
        }
        let likeness = product as f64 / (energy.max(1) as f64).sqrt();
        // Of equally good lags the shortest: it follows the voice most closely.
        if best.is_none_or(|(most, _)| likeness > most * 1.001) {
            best = Some((likeness, lag));
        }
    }
    best.map(|(_, lag)| lag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(frequency: f64, count: usize) -> Vec<i16> {
        let step = std::f64::consts::TAU * frequency / 8000.0;
        (0..count).map(|i| ((step * i as f64).sin() * 8000.0) as i16).collect()
    }

    #[test]
    fn a_tone_goes_on_through_the_loss_in_phase() {
        let whole = tone(200.0, 800);
        let mut heard = whole.get(..400).expect("800 samples").to_vec();
        Concealment::begin(&mut heard, 8000).fill(80, &mut heard);
        for (i, (concealed, sent)) in heard.iter().zip(&whole).enumerate() {
            assert!((i32::from(*concealed) - i32::from(*sent)).abs() < 400, "{i}: {concealed} for {sent}");
        }
    }

    #[test]
    fn a_period_follows_itself_without_a_click() {
        // A voice that grows: the end of its last period is much louder than the beginning.
        let growing = |i: usize| {
            (std::f64::consts::TAU * i as f64 / 80.0).sin() * 2_000.0 * 1.01_f64.powi(i as i32 / 2)
        };
        let mut heard: Vec<i16> = (0..420).map(|i| growing(i) as i16).collect();
        let steepest = |samples: &[i16]| {
            samples.windows(2).map(|pair| (i32::from(pair[0]) - i32::from(pair[1])).abs()).max()
        };
        let before = steepest(&heard);
        let length = heard.len();
        Concealment::begin(&mut heard, 8000).fill(240, &mut heard);
        assert!(
            steepest(&heard[length - 40..]) <= before,
            "{:?} {before:?}",
            steepest(&heard[length - 40..])
        );
    }

    #[test]
    fn it_is_silent_after_sixty_milliseconds_and_comes_back_by_a_blend() {
        let mut heard = tone(300.0, 1600);
        let mut loss = Concealment::begin(&mut heard, 8000);
        let mut out = Vec::new();
        loss.fill(600, &mut out);
        assert!(out.iter().take(80).any(|s| s.abs() > 7000));
        assert!(out.iter().skip(480).all(|&s| s == 0));
        let mut good = vec![8000; 160];
        loss.blend_into(&mut good);
        assert!(good.first().is_some_and(|&s| s < 300) && good.last() == Some(&8000));
    }

    #[test]
    fn too_little_history_gives_silence() {
        for length in [0, 1, 100, 219] {
            let mut heard = tone(400.0, length);
            let mut out = Vec::new();
            Concealment::begin(&mut heard, 8000).fill(100, &mut out);
            assert_eq!(out.len(), 100);
        }
    }
}
