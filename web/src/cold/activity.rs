//! Is anybody to be heard? Decides, 20 ms by 20 ms, what is voice and what is background, by level alone.
//!
//! A voice that is taken for background is lost for good, so every doubt is decided for it: whatever rises a little above
//! the quietest that was heard lately counts, a loud background is no background, and what lies before and behind a voice
//! is kept with it (that is [`super::voice`]'s).

/// Length of what is judged, in milliseconds.
pub(super) const PIECE_MS: u32 = 20;
/// Quieter than this nobody is understood: root mean square in dB below overload.
const INAUDIBLE_DBOV: f64 = -68.0;
/// Louder than this is never background.
const LOUD_DBOV: f64 = -42.0;
/// So far above the background it is voice, in dB.
const ABOVE_DB: f64 = 5.0;
/// The background is taken to rise by so much with each piece, in dB: a second of continuous voice raises it by 0.75 dB.
const RISE_DB: f64 = 0.015;
/// Below this there is no background: digital silence.
const FLOOR_DBOV: f64 = -90.0;

/// Follows the background of one party.
#[derive(Clone, Debug)]
pub(super) struct Detector {
    background_dbov: f64,
}

impl Detector {
    pub(super) fn new() -> Detector {
        Detector { background_dbov: LOUD_DBOV - ABOVE_DB }
    }

    /// Judges the next piece. Its loudest half counts: a consonant is short.
    pub(super) fn is_voice(&mut self, piece: &[i16]) -> bool {
        let (first, second) = piece.split_at(piece.len() / 2);
        let level = level_dbov(first).max(level_dbov(second));
        let above = level > self.background_dbov + ABOVE_DB;
        if level > FLOOR_DBOV {
            self.background_dbov = (self.background_dbov + RISE_DB).min(level).min(LOUD_DBOV - ABOVE_DB);
        }
        level > INAUDIBLE_DBOV && (above || level > LOUD_DBOV)
    }
}

/// Mean of the squares of samples.
pub(super) fn power(samples: &[i16]) -> f64 {
    let sum: f64 = samples.iter().map(|&sample| f64::from(sample).powi(2)).sum();
    sum / samples.len().max(1) as f64
}

/// Root mean square in dB below overload; a very low figure for digital silence.
pub(super) fn level_dbov(samples: &[i16]) -> f64 {
    dbov(power(samples))
}

/// The same of a mean of squares.
pub(super) fn dbov(power: f64) -> f64 {
    10.0 * (power.max(1e-3) / f64::from(i16::MAX).powi(2)).log10()
}

#[cfg(test)]
mod tests {
    use super::*;
    use decode::codec::comfort_noise::{Level, Noise};

    fn noise(dbov: u8, pieces: usize) -> Vec<i16> {
        let mut samples = Vec::new();
        Noise::new(7).fill(Level::parse(&[dbov]).expect("a level"), pieces * 160, &mut samples);
        samples
    }

    fn share(detector: &mut Detector, samples: &[i16]) -> f64 {
        let pieces = samples.chunks(160);
        let count = pieces.len() as f64;
        pieces.filter(|piece| detector.is_voice(piece)).count() as f64 / count
    }

    #[test]
    fn digital_silence_and_a_steady_quiet_background_are_no_voice() {
        for dbov in [50, 60, 70, 90, 127] {
            let mut detector = Detector::new();
            share(&mut detector, &noise(dbov, 10));
            assert!(share(&mut detector, &noise(dbov, 3_000)) < 0.01, "-{dbov} dBov");
        }
    }

    #[test]
    fn a_whisper_eight_db_above_the_background_is_voice() {
        for background in [55, 62, 72] {
            let mut detector = Detector::new();
            share(&mut detector, &noise(background, 200));
            let heard = share(&mut detector, &noise(background - 8, 50));
            assert!(heard > 0.98, "-{background} dBov: {heard}");
            assert!(share(&mut detector, &noise(background, 200)) < 0.05, "and the background is one again");
        }
    }

    #[test]
    fn a_minute_of_voice_without_a_pause_stays_voice() {
        let mut detector = Detector::new();
        share(&mut detector, &noise(60, 100));
        assert!(share(&mut detector, &noise(28, 3_000)) > 0.999);
        assert!(share(&mut detector, &noise(40, 500)) > 0.999, "and when it is lowered");
    }

    #[test]
    fn a_background_that_grows_louder_is_kept_for_a_while_rather_than_cut() {
        let mut detector = Detector::new();
        share(&mut detector, &noise(70, 200));
        assert!(share(&mut detector, &noise(58, 50)) > 0.99);
        share(&mut detector, &noise(58, 1_000));
        assert!(share(&mut detector, &noise(58, 500)) < 0.05);
    }
}
