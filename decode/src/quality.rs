//! How a call sounded, by calculation: the E-model of ITU-T G.107 (06/2015) with the equipment values of G.113, appendix I, and
//! for wideband codecs that of G.107.1 with those of G.113, appendix IV.
//!
//! Owns the arithmetic from loss, its pattern, delay and codec to the rating R and to a mean opinion score. Every input that
//! a recorder cannot see (loudness, echo, noise) has the default of G.107, table 2. A codec without published values
//! has no rating: nothing is guessed. What was lost and when is [`crate::rtp::loss`]'s.

use crate::media::{Codec, Format};

/// Which model a rating is of. Scores of the two must not be held against each other: the best of a narrowband call is 4.41
/// among such calls and would be far less among wideband ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// 300 to 3,400 Hz: G.107, R up to 93.2.
    Narrowband,
    /// 50 to 7,000 Hz: G.107.1, R up to 129.
    Wideband,
}

/// Highest rating on the wideband scale (G.107.1, 7.1 and 7.3: nothing that comes at the same time as speech takes from it).
const WIDEBAND_RATING: f64 = 129.0;
/// By this a wideband rating is divided before it becomes a score (G.107.1, annex A, equation A-1).
const WIDEBAND_STRETCH: f64 = 1.29;

/// How a codec harms speech (G.113, tables I.1, I.4 and IV.1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Equipment {
    /// Equipment impairment factor without loss (Ie).
    pub impairment: f64,
    /// Robustness against packet loss (Bpl); none when it was not published.
    pub robustness: Option<f64>,
    /// The model that the values belong to.
    pub scale: Scale,
}

impl Equipment {
    /// Of the codec of a format; none when nothing is published for it.
    #[must_use]
    pub fn of(format: &Format) -> Option<Equipment> {
        narrowband(format).or_else(|| wideband(format))
    }

    /// Effective equipment impairment (G.107, 7.5: Ie,eff); none when packets are lost and the codec's robustness is not
    /// published.
    fn effective(&self, loss_percent: f64, burst_ratio: f64) -> Option<f64> {
        if loss_percent <= 0.0 {
            return Some(self.impairment);
        }
        let robustness = self.robustness?;
        // 95 on both scales (G.107, 7-29; G.107.1, 7-15).
        let share = loss_percent / (loss_percent / burst_ratio.max(1.0) + robustness);
        Some(self.impairment + (95.0 - self.impairment) * share)
    }
}

/// Ie of G.113 (09/2024), table I.1, and Bpl of table I.4, which has these and no others (and G.711 without concealment, 4.3).
fn narrowband(format: &Format) -> Option<Equipment> {
    let (impairment, robustness) = match &format.codec {
        // With loss concealment (G.711, appendix I), which telephones have.
        Codec::Pcmu | Codec::Pcma => (0.0, Some(25.1)),
        Codec::Other(name) => match &**name {
            // G.729A with voice activity detection; which annex is spoken cannot be seen.
            "G729" => (11.0, Some(19.0)),
            // At 6.3 kbit/s.
            "G723" => (15.0, Some(16.1)),
            "GSM" => (20.0, None),
            "GSM-EFR" => (5.0, Some(10.0)),
            "G726-40" => (2.0, None),
            "G726-32" => (7.0, None),
            "G726-24" => (25.0, None),
            "G726-16" => (50.0, None),
            "G728" => (7.0, None),
            // At 12.2 kbit/s, and nothing else, it is GSM-EFR (3GPP TS 26.071, 5).
            "AMR" if only_mode_of(format) == Some(7) => (5.0, Some(10.0)),
            _ => return None,
        },
        Codec::ComfortNoise | Codec::TelephoneEvent => return None,
    };
    Some(Equipment { impairment, robustness, scale: Scale::Narrowband })
}

/// Ie,WB of G.113 (09/2024), table IV.1: heard with one ear, as from a handset. AMR-WB at 23.85 kbit/s stands there with more than at
/// 23.05. A Bpl,WB was published for both ears alone (table IV.4): the two are not mixed, so there is no score with loss.
fn wideband(format: &Format) -> Option<Equipment> {
    let impairment = match format.codec.name() {
        // At 64 kbit/s.
        "G722" => 13.0,
        "AMR-WB" => {
            *[41.0, 26.0, 13.0, 10.0, 7.0, 5.0, 3.0, 1.0, 8.0].get(usize::from(only_mode_of(format)?))?
        }
        _ => return None,
    };
    Some(Equipment { impairment, robustness: None, scale: Scale::Wideband })
}

/// The mode that `mode-set` of an AMR format allows, if it is a single one (RFC 4867, 8.1).
fn only_mode_of(format: &Format) -> Option<u8> {
    let parameters = format.fmtp.split(';').filter_map(|parameter| parameter.trim().split_once('='));
    let mut modes = parameters.filter(|(name, _)| name.eq_ignore_ascii_case("mode-set"));
    modes.next()?.1.trim().parse().ok()
}

/// One way from a mouth to an ear.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    /// The codec.
    pub equipment: Equipment,
    /// Packets that could not be played, lost or late, in percent of those sent.
    pub loss_percent: f64,
    /// How much longer losses in a row are than independent losses would be (BurstR); less than 1 counts as 1.
    pub burst_ratio: f64,
    /// From mouth to ear, in milliseconds (Ta); 0 rates listening alone.
    pub delay_ms: f64,
}

impl Path {
    /// Transmission rating R on the scale of the equipment; none when it cannot be told (see [`Equipment`]). The delay
    /// of a wideband call is not rated: its model has an echo of its own.
    #[must_use]
    pub fn rating(&self) -> Option<f64> {
        let equipment = self.equipment.effective(self.loss_percent.min(100.0), self.burst_ratio)?;
        let (rating, best) = match self.equipment.scale {
            Scale::Wideband if self.delay_ms > 0.0 => return None,
            Scale::Wideband => (WIDEBAND_RATING - equipment, WIDEBAND_RATING),
            Scale::Narrowband => {
                let line = Line::default();
                let basic = line.basic_rating();
                let delay = line.delay(basic, self.delay_ms.max(0.0));
                (basic - line.simultaneous(basic) - delay - equipment, 100.0)
            }
        };
        rating.is_finite().then(|| rating.clamp(0.0, best))
    }

    /// The mean opinion score that goes with the rating.
    #[must_use]
    pub fn mos(&self) -> Option<f64> {
        let rating = self.rating()?;
        Some(match self.equipment.scale {
            Scale::Narrowband => mos(rating),
            Scale::Wideband => mos(rating / WIDEBAND_STRETCH),
        })
    }
}

/// Mean opinion score from a rating (G.107, annex B), 1.0 to 4.5.
#[must_use]
pub fn mos(rating: f64) -> f64 {
    let r = rating.clamp(0.0, 100.0);
    // Below a rating of 6.5 the formula falls under the scale.
    (1.0 + 0.035 * r + 7e-6 * r * (r - 60.0) * (100.0 - r)).clamp(1.0, 4.5)
}

/// What a recorder cannot see, with the default values of G.107, table 2; loudness ratings and levels in dB.
struct Line {
    send_loudness: f64,
    receive_loudness: f64,
    sidetone_masking: f64,
    listener_sidetone: f64,
    d_send: f64,
    talker_echo_loudness: f64,
    echo_path_loss: f64,
    quantizing_units: f64,
    circuit_noise: f64,
    noise_floor: f64,
    room_noise_send: f64,
    room_noise_receive: f64,
}

impl Default for Line {
    fn default() -> Self {
        Line {
            send_loudness: 8.0,
            receive_loudness: 2.0,
            sidetone_masking: 15.0,
            listener_sidetone: 18.0,
            d_send: 3.0,
            talker_echo_loudness: 65.0,
            echo_path_loss: 110.0,
            quantizing_units: 1.0,
            circuit_noise: -70.0,
            noise_floor: -64.0,
            room_noise_send: 35.0,
            room_noise_receive: 35.0,
        }
    }
}

impl Line {
    fn overall_loudness(&self) -> f64 {
        self.send_loudness + self.receive_loudness
    }

    /// All noise, as circuit noise at the 0 dBr point (7.2: No).
    fn noise(&self) -> f64 {
        let over = self.room_noise_send - self.overall_loudness() - self.d_send - 14.0;
        let sent = self.room_noise_send - self.send_loudness - self.d_send - 100.0 + 0.004 * over * over;
        let heard_room = self.room_noise_receive + decibels(1.0 + power(10.0 - self.listener_sidetone));
        let received = self.receive_loudness - 121.0 + heard_room + 0.008 * (heard_room - 35.0).powi(2);
        let floor = self.noise_floor + self.receive_loudness;
        decibels([self.circuit_noise, sent, received, floor].into_iter().map(power).sum())
    }

    /// Basic signal-to-noise ratio (7.2: Ro).
    fn basic_rating(&self) -> f64 {
        15.0 - 1.5 * (self.send_loudness + self.noise())
    }

    /// What comes at the same time as speech: loudness, sidetone, quantizing (7.3: Is).
    fn simultaneous(&self, basic: f64) -> f64 {
        let loudness = self.overall_loudness() + 0.2 * (64.0 + self.noise() - self.receive_loudness);
        let too_loud = 20.0 * (root(1.0 + (loudness / 8.0).powi(8), 8) - loudness / 8.0);
        let sidetone = -decibels(power(-self.sidetone_masking) + power(-self.talker_echo_loudness));
        let sidetone = 12.0 * root(1.0 + ((sidetone - 13.0) / 6.0).powi(8), 8)
            - 28.0 * root(1.0 + ((sidetone + 1.0) / 19.4).powi(35), 35)
            - 13.0 * root(1.0 + ((sidetone - 3.0) / 33.0).powi(13), 13)
            + 29.0;
        let q = 37.0 - 15.0 * self.quantizing_units.log10();
        let g = 1.07 + 0.258 * q + 0.0602 * q * q;
        let (y, z) = ((basic - 100.0) / 15.0 + 46.0 / 8.4 - g / 9.0, 46.0 / 30.0 - g / 40.0);
        let quantizing = 15.0 * (1.0 + 10_f64.powf(y) + 10_f64.powf(z)).log10();
        too_loud + sidetone + quantizing
    }

    /// What delay does: echo of the talker, of the listener, and delay itself (7.4: Id). The way there is taken to be as
    /// long as the way back.
    fn delay(&self, basic: f64, one_way_ms: f64) -> f64 {
        let t = one_way_ms;
        let echo = self.talker_echo_loudness - 40.0 * ((1.0 + t / 10.0) / (1.0 + t / 150.0)).log10()
            + 6.0 * (-0.3 * t * t).exp();
        let apart = -1.5 * (self.noise() - self.receive_loudness) - (80.0 + 2.5 * (echo - 14.0));
        let talker = (apart / 2.0 + (apart * apart / 4.0 + 100.0).sqrt() - 1.0) * (1.0 - (-t).exp());
        let apart = basic - 10.5 * (self.echo_path_loss + 7.0) * (2.0 * t + 1.0).powf(-0.25);
        let listener = apart / 2.0 + (apart * apart / 4.0 + 169.0).sqrt();
        let absolute = if t <= 100.0 {
            0.0
        } else {
            let x = (t / 100.0).log2();
            25.0 * (root(1.0 + x.powi(6), 6) - 3.0 * root(1.0 + (x / 3.0).powi(6), 6) + 2.0)
        };
        talker + listener + absolute
    }
}

fn power(decibels: f64) -> f64 {
    10_f64.powf(decibels / 10.0)
}

fn decibels(power: f64) -> f64 {
    10.0 * power.log10()
}

fn root(value: f64, degree: i32) -> f64 {
    value.powf(1.0 / f64::from(degree))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAR: Equipment = Equipment { impairment: 0.0, robustness: Some(25.1), scale: Scale::Narrowband };

    fn path(delay_ms: f64) -> Path {
        Path { equipment: CLEAR, loss_percent: 0.0, burst_ratio: 1.0, delay_ms }
    }

    fn format(codec: &str, fmtp: &str) -> Format {
        Format {
            payload_type: 96,
            codec: Codec::from_name(codec),
            clock_rate: 8000,
            channels: 1,
            fmtp: fmtp.to_owned(),
        }
    }

    #[track_caller]
    fn assert_near(told: Option<f64>, expected: f64, tolerance: f64) {
        let told = told.expect("a figure");
        assert!((told - expected).abs() <= tolerance, "{told}, not {expected}");
    }

    #[test]
    fn all_defaults_give_the_rating_that_the_recommendation_states() {
        assert_near(path(0.0).rating(), 93.2, 0.05);
        assert_near(path(0.0).mos(), 4.41, 0.005);
    }

    #[test]
    fn opinion_scores_are_those_of_the_table_of_annex_b() {
        // G.107, table B.1: lower limits of R and the scores that go with them.
        for (rating, score) in [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58)] {
            // The table rounds a score of 4.024 up.
            assert_near(Some(mos(rating)), score, 0.0065);
        }
        assert_eq!((mos(-5.0), mos(0.0), mos(3.0), mos(100.0), mos(120.0)), (1.0, 1.0, 1.0, 4.5, 4.5));
    }

    #[test]
    fn delay_costs_little_up_to_150_ms_and_much_beyond() {
        let lost = |ms| 93.2 - path(ms).rating().expect("a rating");
        // The straight lines of Cole and Rosenbluth (2001) through this very function: 0.024 d + 0.11 (d - 177.3).
        for (ms, expected) in [(50.0, 1.2), (100.0, 2.4), (150.0, 3.6), (250.0, 14.0), (300.0, 20.7)] {
            assert!((lost(ms) - expected).abs() < 1.5, "{ms} ms cost {}", lost(ms));
        }
        assert!((1..60).all(|n| lost(f64::from(n) * 10.0) > lost(f64::from(n - 1) * 10.0)));
    }

    #[test]
    fn loss_costs_what_the_equipment_value_says() {
        let with = |codec: &str, loss_percent, burst_ratio| {
            let equipment = Equipment::of(&format(codec, "")).expect("published");
            Path { equipment, loss_percent, burst_ratio, delay_ms: 0.0 }.rating()
        };
        // Ie,eff by hand: 95 * 1 / (1 + 25.1); 11 + 84 * 5 / (5 + 19); 95 * 2 / (2 / 2 + 25.1).
        assert_near(with("PCMA", 1.0, 1.0), 93.2 - 3.64, 0.05);
        assert_near(with("G729", 5.0, 1.0), 93.2 - 28.5, 0.05);
        assert_near(with("PCMU", 2.0, 2.0), 93.2 - 7.28, 0.05);
        assert_near(with("PCMU", 2.0, 0.5), 93.2 - 7.01, 0.05);
        assert_near(with("GSM", 0.0, 1.0), 73.2, 0.05);
        assert_eq!(with("PCMU", 100.0, 50.0).map(|r| r < 10.0), Some(true));
    }

    #[test]
    fn wideband_codecs_are_rated_on_their_own_scale() {
        let with = |codec: &str, fmtp: &str| {
            let equipment = Equipment::of(&format(codec, fmtp)).expect("published");
            assert_eq!(equipment.scale, Scale::Wideband);
            Path { equipment, ..path(0.0) }
        };
        assert_near(with("G722", "").rating(), 116.0, 1e-9);
        assert_near(with("G722", "").mos(), 4.34, 0.01);
        assert_near(with("AMR-WB", "mode-set=2").rating(), 116.0, 1e-9);
        // By hand, through equations 7-1, A-1 and A-2 of G.107.1: Rx 99.22, 93.80 and 68.22.
        for (mode, score) in [(7, 4.494), (8, 4.421), (0, 3.512)] {
            assert_near(with("AMR-WB", &format!("mode-set={mode}")).mos(), score, 5e-4);
        }
        assert_eq!(Path { loss_percent: 1.0, ..with("G722", "") }.mos(), None);
        assert_eq!(Path { delay_ms: 50.0, ..with("G722", "") }.mos(), None);
    }

    #[test]
    fn what_was_not_published_is_not_guessed() {
        assert_eq!(Equipment::of(&format("opus", "")), None);
        assert_eq!(Equipment::of(&format("AMR", "mode-set=0,2,7")), None);
        assert_eq!(
            Equipment::of(&format("AMR", "octet-align=1; mode-set=7")).map(|e| e.impairment),
            Some(5.0)
        );
        let gsm = Equipment::of(&format("GSM", "")).expect("published without loss");
        assert_eq!(Path { equipment: gsm, loss_percent: 0.1, ..path(0.0) }.mos(), None);
    }
}
