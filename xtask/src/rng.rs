//! Numbers that look random and are the same on every machine: SplitMix64, seeded by the caller.
//!
//! Not for secrets. A generator of our own, because test traffic must not change when a crate changes its algorithm.

/// A stream of pseudo-random numbers, decided by its seed alone.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A stream of its own for each `(seed, stream)`, so that one call's draws do not shift another's.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = Rng(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        rng.next();
        rng
    }

    /// The next 64 bits.
    #[expect(clippy::should_implement_trait, reason = "a stream of numbers without end is no iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..limit`; 0 when `limit` is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The high bits by multiplication: no division, and a bias far below what any test here could see.
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// True in `percent` of 100 draws. Always draws, so that a changed percentage shifts nothing else.
    pub fn chance(&mut self, percent: f64) -> bool {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        unit * 100.0 < percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_stream_gives_others() {
        let draw = |seed, stream| {
            let mut rng = Rng::new(seed, stream);
            [rng.next(), rng.next(), rng.next()]
        };
        assert_eq!(draw(7, 3), draw(7, 3));
        assert_ne!(draw(7, 3), draw(7, 4));
        assert_ne!(draw(7, 3), draw(8, 3));
    }

    #[test]
    fn chances_come_as_often_as_asked() {
        let mut rng = Rng::new(1, 1);
        let hits = (0..100_000).filter(|_| rng.chance(3.0)).count();
        assert!((2_800..3_200).contains(&hits), "{hits} of 100,000 at 3 %");
        assert!(!rng.chance(0.0) && rng.chance(100.0));
        assert!((0..1000).all(|_| rng.below(5) < 5) && rng.below(0) == 0);
    }
}
