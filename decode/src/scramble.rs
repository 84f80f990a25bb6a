//! Encrypted bytes under the name of a plain codec, known by their evenness.
//!
//! Ciphertext is spread evenly over all byte values, whatever was said; what people, machines and silence sound like is not. Pearson's
//! chi-square against the even spread is taken over windows of [`WINDOW_BYTES`] payload bytes. With 255 degrees of freedom, random
//! bytes give 255 with a deviation of 22.6; the evenest window of G.711 that we have met in real captures gave 681, of G.722 4,788,
//! of L16 948. A source counts as scrambled when [`WINDOWS`] windows in a row are even: 2 s of G.711.
//!
//! Sound only for codecs that leave their redundancy in the bytes ([`applies_to`]). G.729, Opus, AMR and the like are even
//! themselves (Opus: 275 to 392), and nothing can be said of them from their bytes.

use crate::media::Codec;

/// Payload bytes of one window.
pub const WINDOW_BYTES: usize = 4096;
/// Even windows in a row that make a source count as scrambled.
pub const WINDOWS: u32 = 4;
/// Chi-square up to which a window counts as even: 4.6 deviations above what random bytes give.
const EVEN_MAX: u64 = 360;
/// And from which: below are patterns that step through all values.
const EVEN_MIN: u64 = 150;

/// What is known of a source's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Not enough bytes yet.
    Unknown,
    /// As the codec makes them.
    Plain,
    /// As ciphertext is.
    Scrambled,
}

/// Can this codec's bytes be told from ciphertext?
#[must_use]
pub fn applies_to(codec: &Codec) -> bool {
    match codec {
        Codec::Pcmu | Codec::Pcma => true,
        Codec::Other(name) => matches!(&**name, "G722" | "L16"),
        _ => false,
    }
}

/// Counts bytes of one source.
pub struct Scramble {
    counts: [u16; 256],
    bytes: usize,
    even: u32,
}

impl Default for Scramble {
    fn default() -> Self {
        Scramble { counts: [0; 256], bytes: 0, even: 0 }
    }
}

impl Scramble {
    /// Takes the next payload of a codec that this [`applies_to`].
    pub fn push(&mut self, payload: &[u8]) -> Look {
        let mut look = Look::Unknown;
        for piece in payload.chunks(WINDOW_BYTES) {
            for &byte in piece {
                if let Some(count) = self.counts.get_mut(usize::from(byte)) {
                    *count = count.saturating_add(1);
                }
            }
            self.bytes += piece.len();
            if self.bytes >= WINDOW_BYTES {
                look = self.judge();
            }
        }
        look
    }

    fn judge(&mut self) -> Look {
        let is_even = (EVEN_MIN..=EVEN_MAX).contains(&self.chi_square());
        self.counts = [0; 256];
        self.bytes = 0;
        self.even = if is_even { self.even.saturating_add(1) } else { 0 };
        match self.even {
            0 => Look::Plain,
            1..WINDOWS => Look::Unknown,
            _ => Look::Scrambled,
        }
    }

    /// Sum of (count - n/256)^2 / (n/256), in whole numbers.
    fn chi_square(&self) -> u64 {
        let n = self.bytes.max(1) as u64;
        let squares: u64 = self.counts.iter().map(|&count| u64::from(count) * u64::from(count)).sum();
        (256 * squares / n).saturating_sub(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::g711::{self, Law};

    /// SplitMix64: even bytes without any pattern.
    fn noise(seed: u64) -> impl FnMut() -> u64 {
        let mut state = seed;
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }
    }

    fn looks(payloads: impl Iterator<Item = Vec<u8>>) -> Vec<Look> {
        let mut scramble = Scramble::default();
        payloads.map(|payload| scramble.push(&payload)).filter(|&look| look != Look::Unknown).collect()
    }

    #[test]
    fn ciphertext_is_known_after_two_seconds() {
        for seed in 0..200 {
            let mut next = noise(seed);
            let packets: Vec<Vec<u8>> = (0..110).map(|_| (0..170).map(|_| next() as u8).collect()).collect();
            let found = looks(packets.into_iter());
            assert!(found.first() == Some(&Look::Scrambled), "seed {seed}: {found:?}");
        }
    }

    #[test]
    fn even_loud_noise_and_tones_in_g711_are_no_ciphertext() {
        let mut next = noise(7);
        let mut uniform = move |peak: i64| ((next() >> 33) as i64 % (2 * peak) - peak) as f64;
        // Sums of even noise of several loudnesses, tones, a mix, and silence.
        for (name, peak, hz, level) in [
            ("loud noise", 30_000, 0.0, 0.0),
            ("noise", 8_000, 0.0, 0.0),
            ("soft noise", 300, 0.0, 0.0),
            ("tone", 1, 440.0, 11_000.0),
            ("high tone", 1, 3_001.0, 30_000.0),
            ("tone in noise", 6_000, 997.0, 20_000.0),
            ("silence", 1, 0.0, 0.0),
        ] {
            let samples: Vec<i16> = (0..64_000)
                .map(|n| {
                    let sine = level * (std::f64::consts::TAU * hz * f64::from(n) / 8000.0).sin();
                    (uniform(peak) + sine).clamp(-32_768.0, 32_767.0) as i16
                })
                .collect();
            for law in [Law::Mu, Law::A] {
                let encoded = |chunk: &[i16]| chunk.iter().map(|&x| g711::encode(law, x)).collect();
                let packets = samples.chunks(160).map(encoded);
                let found = looks(packets);
                assert!(
                    found.iter().all(|&look| look == Look::Plain) && !found.is_empty(),
                    "{name}: {found:?}"
                );
            }
        }
    }

    #[test]
    fn a_pattern_of_all_values_is_no_ciphertext() {
        let packets = (0..500u32).map(|n| (0..160u32).map(|i| (160 * n + i) as u8).collect());
        assert!(looks(packets).iter().all(|&look| look == Look::Plain));
    }

    #[test]
    fn payloads_of_any_length_are_taken() {
        let mut scramble = Scramble::default();
        assert_eq!(scramble.push(&[]), Look::Unknown);
        assert_eq!(scramble.push(&vec![1; 300_000]), Look::Plain);
    }
}
