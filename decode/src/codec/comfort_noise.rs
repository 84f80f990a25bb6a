//! Comfort noise (RFC 3389): what to play while a sender that suppresses silence sends nothing.
//!
//! Owns the payload's reading and a noise source that gives the same samples on every machine and every run: what a
//! listener hears is evidence, so chance has no place in it. Of the description only the level is used; the
//! reflection coefficients, which colour the noise, may be ignored by a receiver (RFC 3389, 3) and are.

/// The noise level that a comfort noise packet describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(u8);

impl Level {
    /// Reads a payload (RFC 3389, 3): its first byte is the level in -dBov, 0 to 127. None when it is empty.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Level> {
        payload.first().map(|&byte| Level(byte & 0x7f))
    }

    /// Decibels below overload, 0 to 127.
    #[must_use]
    pub fn dbov(self) -> u8 {
        self.0
    }

    /// Root mean square of the noise, in 16-bit sample values.
    #[must_use]
    pub fn rms(self) -> f64 {
        f64::from(i16::MAX) * 10_f64.powf(-f64::from(self.0) / 20.0)
    }
}

/// White noise from a seed.
#[derive(Clone, Debug)]
pub struct Noise {
    state: u64,
}

impl Noise {
    /// The same seed gives the same noise.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        Noise { state: u64::from(seed) ^ 0x9e37_79b9_7f4a_7c15 }
    }

    /// Appends `samples` samples at `level`.
    pub fn fill(&mut self, level: Level, samples: usize, out: &mut Vec<i16>) {
        // Uniform over +-sqrt(3) rms has that rms; close to overload it is flattened.
        let peak = (level.rms() * 3_f64.sqrt()).min(f64::from(i16::MAX)) as i64;
        let width = 2 * peak + 1;
        out.extend((0..samples).map(|_| {
            let draw = (self.next() >> 33) as i64;
            (((draw * width) >> 31) - peak) as i16
        }));
    }

    /// One step of a 64-bit xorshift; its state is never 0 because a 32-bit seed cannot cancel the high half.
    fn next(&mut self) -> u64 {
        let mut x = self.state;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.state = x;
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_noise_has_the_level_that_was_asked_for() {
        for dbov in [10, 30, 50, 70] {
            let level = Level::parse(&[dbov]).expect("not empty");
            let mut samples = Vec::new();
            Noise::new(1).fill(level, 80_000, &mut samples);
            let mean = samples.iter().map(|&s| f64::from(s)).sum::<f64>() / 80_000.0;
            let power = samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / 80_000.0;
            assert!(
                (power.sqrt() / level.rms() - 1.0).abs() < 0.05,
                "{dbov}: {} {}",
                power.sqrt(),
                level.rms()
            );
            assert!(mean.abs() < level.rms() * 0.02 + 0.1, "{dbov}: offset {mean}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_noise_and_another_another() {
        let level = Level::parse(&[20, 1, 2, 3]).expect("not empty");
        let noise = |seed| {
            let mut samples = Vec::new();
            Noise::new(seed).fill(level, 100, &mut samples);
            samples
        };
        assert_eq!(noise(7), noise(7));
        assert_ne!(noise(7), noise(8));
    }

    #[test]
    fn extreme_levels_stay_in_range() {
        assert_eq!(Level::parse(&[]), None);
        assert_eq!(Level::parse(&[0xff]).map(Level::dbov), Some(127));
        let (mut loud, mut quiet) = (Vec::new(), Vec::new());
        Noise::new(3).fill(Level(0), 10_000, &mut loud);
        Noise::new(3).fill(Level(127), 1000, &mut quiet);
        assert!(loud.iter().any(|&s| s > 32_000) && loud.iter().any(|&s| s < -32_000));
        assert!(quiet.iter().all(|&s| s.abs() <= 1));
    }
}
