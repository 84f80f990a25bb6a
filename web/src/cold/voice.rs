//! One party's samples into packets: voice as Opus (RFC 6716, 7587) or GSM 06.10 (RFC 3551), the rest as the level of its
//! noise (RFC 3389).
//!
//! Where nobody speaks nothing is coded, on either side: encoder and decoder go on together at the next word, and the few
//! milliseconds of the encoder's delay that lie between are background. What lies up to 60 ms before a voice and up to 180 ms
//! behind it is coded with it. What is coded is decoded again at once and held against what went in.

use std::collections::VecDeque;

use decode::codec::gsm::{self, FRAME_BYTES, FRAME_SAMPLES};
use decode::codec::resample::Resampler;
use decode::codec::{Decoder, opus};
use decode::{Codec, Format};
use policy::ColdCodec;
use ropus::{Application, Bandwidth, Bitrate, Channels, Encoder, Signal};

use super::activity::{Detector, PIECE_MS, dbov, power};

/// Length of a unit of Opus, in milliseconds: the longest of its frames.
const OPUS_MS: u32 = 60;
/// Units of Opus in a packet: 120 ms, the longest that there is.
const OPUS_UNITS: usize = 2;
/// Frames of GSM in a packet: 480 ms.
const GSM_FRAMES: usize = 24;
/// What is kept before a voice and behind it at least, in milliseconds.
const BEFORE_MS: u32 = 40;
const BEHIND_MS: u32 = 120;
/// How hard Opus tries, 0 to 10: this is done once, and kept for years.
const COMPLEXITY: u8 = 10;
/// Longest packet of Opus, in bytes.
const PACKET_MAX: usize = 4_000;
/// The level of the noise is told again when it is off by so much, in dB.
const LEVEL_STEP_DB: f64 = 2.0;
/// And after so long, in milliseconds: a reader that begins in the middle finds its place.
const LEVEL_AGAIN_MS: u32 = 20_000;
/// How fast the level of the noise follows, as the share of a new unit of 20 ms.
const LEVEL_SHARE: f64 = 0.05;
/// A level without any sound.
const SILENT: u8 = 127;
/// How much more or less power may come out than went in, as a factor. A codec of speech that is right stays far within.
const POWER_OFF_MAX: f64 = 2.5;
/// Less than so much of voice is not judged by its power, in seconds.
const JUDGED_S: u64 = 2;

/// Bits per second of voice, by the rate of the samples.
fn bits(rate: u32) -> u32 {
    if rate <= 8_000 { 8_000 } else { 11_000 }
}

/// A packet to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// Its first sample, counted from the beginning of the timeline; the encoder's delay lies before it.
    pub(super) place: i64,
    /// It says how loud the noise is from here on.
    pub(super) is_noise: bool,
    /// The first of a stretch of voice.
    pub(super) is_first: bool,
    pub(super) payload: Vec<u8>,
}

/// An encoding cannot be had, or did not do what it should.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum CodingError {
    #[error("the encoder refuses: {0}")]
    Encoder(String),
    #[error("what was coded does not sound as before: its power is {0:.2} times what it was")]
    Power(f64),
}

enum Coder {
    /// Samples that wait for their packet to be full.
    Opus(Box<Encoder>, Vec<i16>),
    /// Frames that wait for their packet to be full.
    Gsm(Box<gsm::Encoder>, Vec<u8>),
}

/// Codes one party.
pub(super) struct Voice {
    coder: Coder,
    check: Box<dyn Decoder>,
    /// Powers of what was coded and what was decoded of it.
    powers: [f64; 2],
    coded: u64,
    /// Samples per second, in and out.
    rate: u32,
    resampler: Option<Resampler>,
    resampled: Vec<i16>,
    /// Samples that are coded at once, and the encoder's delay.
    unit: usize,
    delay: i64,
    detector: Detector,
    /// Samples that do not fill a unit yet.
    pending: Vec<i16>,
    /// Units of background that may turn out to lie before a voice.
    waiting: VecDeque<Vec<i16>>,
    /// The next unit to be put out.
    next: i64,
    /// Units still to be kept behind a voice.
    behind: u32,
    /// Where the packet that is being filled begins, and whether it is the first of a stretch of voice.
    open_at: Option<(i64, bool)>,
    in_voice: bool,
    noise: Noise,
    out: Vec<Packet>,
}

/// The background, as it was told last.
#[derive(Clone, Copy, Debug, Default)]
struct Noise {
    power: f64,
    told: Option<u8>,
    /// Units since.
    since: u32,
}

/// The rate that a timeline's samples are coded at.
pub(super) fn coded_rate(codec: ColdCodec, rate: u32) -> u32 {
    match codec {
        ColdCodec::Gsm => gsm::SAMPLE_RATE,
        ColdCodec::Opus => opus::RATES.into_iter().find(|coded| *coded >= rate).unwrap_or(opus::SAMPLE_RATE),
    }
}

/// The encoding, as packets name it.
pub(super) fn format(codec: ColdCodec, rate: u32) -> Format {
    let (payload_type, name) = match codec {
        ColdCodec::Opus => (96, "opus"),
        ColdCodec::Gsm => (3, "GSM"),
    };
    let codec = Codec::from_name(name);
    Format { payload_type, codec, clock_rate: rate, channels: 1, fmtp: String::new() }
}

/// Descriptions of noise on the same clock.
pub(super) fn noise_format(rate: u32) -> Format {
    let codec = Codec::ComfortNoise;
    Format { payload_type: 13, codec, clock_rate: rate, channels: 1, fmtp: String::new() }
}

impl Voice {
    /// For samples that come at `incoming` Hz.
    pub(super) fn new(codec: ColdCodec, incoming: u32) -> Result<Voice, CodingError> {
        let rate = coded_rate(codec, incoming);
        let refused = |e: &dyn std::fmt::Display| CodingError::Encoder(e.to_string());
        let (coder, check, unit, delay): (_, Box<dyn Decoder>, _, _) = match codec {
            ColdCodec::Opus => {
                let encoder = Encoder::builder(rate, Channels::Mono, Application::Audio)
                    .bitrate(Bitrate::Bits(bits(rate)))
                    .signal(Signal::Voice)
                    .max_bandwidth(Bandwidth::Wideband)
                    .complexity(COMPLEXITY)
                    .build()
                    .map_err(|e| refused(&e))?;
                let delay = i64::from(encoder.lookahead());
                let check = opus::Decoder::new(rate).ok_or_else(|| refused(&"no decoder at this rate"))?;
                let unit = (rate / 1000 * OPUS_MS) as usize;
                (Coder::Opus(Box::new(encoder), Vec::new()), Box::new(check), unit, delay)
            }
            ColdCodec::Gsm => {
                let coder = Coder::Gsm(Box::default(), Vec::new());
                (coder, Box::new(gsm::Decoder::new()), FRAME_SAMPLES, 0)
            }
        };
        Ok(Voice {
            coder,
            check,
            powers: [0.0; 2],
            coded: 0,
            rate,
            resampler: (rate != incoming).then(|| Resampler::new(incoming, rate)),
            resampled: Vec::new(),
            unit,
            delay,
            detector: Detector::new(),
            pending: Vec::new(),
            waiting: VecDeque::new(),
            next: 0,
            behind: 0,
            open_at: None,
            in_voice: false,
            noise: Noise::default(),
            out: Vec::new(),
        })
    }

    fn unit_ms(&self) -> u32 {
        (self.unit as u64 * 1000 / u64::from(self.rate)) as u32
    }

    /// Takes the next samples; gives the packets that are complete.
    pub(super) fn push(&mut self, samples: &[i16]) -> Result<std::vec::Drain<'_, Packet>, CodingError> {
        match &mut self.resampler {
            None => self.pending.extend_from_slice(samples),
            Some(resampler) => {
                self.resampled.clear();
                resampler.push(samples, &mut self.resampled);
                self.pending.extend_from_slice(&self.resampled);
            }
        }
        self.code_units()?;
        Ok(self.out.drain(..))
    }

    /// No more samples: the last packets, up to a timeline of `samples` at the coded rate.
    pub(super) fn finish(&mut self, samples: u64) -> Result<std::vec::Drain<'_, Packet>, CodingError> {
        if let Some(resampler) = &self.resampler {
            resampler.tail(&mut self.pending);
        }
        let end = i64::try_from(samples).unwrap_or(i64::MAX);
        let begun = self.next.saturating_add(self.waiting.len() as i64).saturating_mul(self.unit as i64);
        let missing = end.saturating_add(self.delay).saturating_sub(begun).max(0);
        let units = usize::try_from(missing).unwrap_or(0).div_ceil(self.unit);
        self.pending.resize(units * self.unit, 0);
        self.code_units()?;
        while let Some(unit) = self.waiting.pop_front() {
            self.background(&unit)?;
        }
        self.close_packet()?;
        if !self.in_voice
            && let Some(level) = self.noise.told
        {
            // The noise lasts as long as the timeline.
            self.tell(end, level);
        }
        let ratio = (self.powers[1] + 1.0) / (self.powers[0] + 1.0);
        if self.coded > JUDGED_S * u64::from(self.rate)
            && !(1.0 / POWER_OFF_MAX..POWER_OFF_MAX).contains(&ratio)
        {
            return Err(CodingError::Power(ratio));
        }
        Ok(self.out.drain(..))
    }

    fn code_units(&mut self) -> Result<(), CodingError> {
        let pending = std::mem::take(&mut self.pending);
        let (piece, before) = ((self.rate / 1000 * PIECE_MS) as usize, BEFORE_MS.div_ceil(self.unit_ms()));
        let mut units = pending.chunks_exact(self.unit);
        for unit in &mut units {
            // Every piece is looked at, also behind the first voice: the detector learns from all.
            let voiced = unit.chunks(piece).filter(|piece| self.detector.is_voice(piece)).count() > 0;
            if voiced {
                self.behind = BEHIND_MS.div_ceil(self.unit_ms());
                while let Some(unit) = self.waiting.pop_front() {
                    self.voice(&unit)?;
                }
                self.voice(unit)?;
            } else if self.behind > 0 {
                self.behind -= 1;
                self.voice(unit)?;
            } else {
                self.waiting.push_back(unit.to_vec());
                if self.waiting.len() > before as usize
                    && let Some(unit) = self.waiting.pop_front()
                {
                    self.background(&unit)?;
                }
            }
        }
        self.pending = units.remainder().to_vec();
        Ok(())
    }

    /// Codes the next unit.
    fn voice(&mut self, unit: &[i16]) -> Result<(), CodingError> {
        let place = self.next * self.unit as i64 - self.delay;
        self.next += 1;
        let is_first = !std::mem::replace(&mut self.in_voice, true);
        self.open_at.get_or_insert((place, is_first));
        let is_full = match &mut self.coder {
            Coder::Opus(_, samples) => {
                samples.extend_from_slice(unit);
                samples.len() >= OPUS_UNITS * self.unit
            }
            Coder::Gsm(encoder, frames) => {
                let frame = unit.try_into().map_err(|_| CodingError::Encoder("no frame".into()))?;
                let coded = encoder.encode_frame(frame).to_bytes();
                frames.extend_from_slice(&coded);
                let is_full = frames.len() >= GSM_FRAMES * FRAME_BYTES;
                self.hold_against(unit, &coded);
                is_full
            }
        };
        if is_full { self.close_packet() } else { Ok(()) }
    }

    /// Ends the packet that is being filled.
    fn close_packet(&mut self) -> Result<(), CodingError> {
        let Some((place, is_first)) = self.open_at.take() else { return Ok(()) };
        let payload = match &mut self.coder {
            Coder::Opus(encoder, samples) => {
                let (samples, mut payload) = (std::mem::take(samples), vec![0; PACKET_MAX]);
                let len = encoder.encode(&samples, &mut payload);
                payload.truncate(len.map_err(|e| CodingError::Encoder(e.to_string()))?);
                self.hold_against(&samples, &payload);
                payload
            }
            Coder::Gsm(_, frames) => std::mem::take(frames),
        };
        self.out.push(Packet { place, is_noise: false, is_first, payload });
        Ok(())
    }

    fn hold_against(&mut self, unit: &[i16], coded: &[u8]) {
        self.resampled.clear();
        self.check.decode(coded, &mut self.resampled);
        // Each by its length: the sums are those of the squares.
        self.powers[0] += power(unit) * unit.len() as f64;
        self.powers[1] += power(&self.resampled) * self.resampled.len() as f64;
        self.coded += unit.len() as u64;
    }

    /// Passes the next unit over, but for how loud it is.
    fn background(&mut self, unit: &[i16]) -> Result<(), CodingError> {
        let place = self.next * self.unit as i64 - self.delay;
        self.next += 1;
        let (heard, pieces) = (power(unit), f64::from(self.unit_ms() / PIECE_MS));
        let was_silent = self.noise.told.is_none_or(|level| level == SILENT);
        let is_silent = heard == 0.0;
        let begins = std::mem::take(&mut self.in_voice) || self.noise.told.is_none();
        if begins || is_silent || was_silent {
            self.close_packet()?;
            self.noise.power = heard;
        } else {
            let share = (LEVEL_SHARE * pieces).min(1.0);
            self.noise.power += share * (heard - self.noise.power);
        }
        self.noise.since += 1;
        let level =
            if is_silent { SILENT } else { (-dbov(self.noise.power)).round().clamp(0.0, 126.0) as u8 };
        let off = self.noise.told.map(|told| f64::from(told.abs_diff(level)));
        let stale = self.noise.since >= LEVEL_AGAIN_MS / self.unit_ms();
        if begins || stale || (is_silent != was_silent) || off.is_some_and(|off| off >= LEVEL_STEP_DB) {
            self.tell(place, level);
        }
        Ok(())
    }

    fn tell(&mut self, place: i64, level: u8) {
        (self.noise.told, self.noise.since) = (Some(level), 0);
        self.out.push(Packet { place, is_noise: true, is_first: false, payload: vec![level] });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use decode::codec::comfort_noise;

    /// A quiet background with a hum of two seconds in it.
    fn samples(seconds: usize, hum_at: usize) -> Vec<i16> {
        let mut samples = Vec::new();
        let level = comfort_noise::Level::parse(&[62]).expect("a level");
        comfort_noise::Noise::new(3).fill(level, seconds * 8_000, &mut samples);
        for (i, sample) in samples.iter_mut().enumerate().skip(hum_at * 8_000).take(16_000) {
            *sample += (4_000.0 * (i as f64 * 0.14).sin() * (1.0 + (i as f64 * 0.002).sin())) as i16;
        }
        samples
    }

    fn packets(voice: &mut Voice, samples: &[i16]) -> Result<Vec<Packet>, CodingError> {
        let mut packets = Vec::new();
        for block in samples.chunks(800) {
            packets.extend(voice.push(block)?);
        }
        packets.extend(voice.finish(samples.len() as u64)?);
        Ok(packets)
    }

    #[test]
    fn voice_is_packed_tight_and_background_takes_next_to_nothing() {
        for (codec, longest, delay) in [(ColdCodec::Opus, 960, true), (ColdCodec::Gsm, 3_840, false)] {
            let mut voice = Voice::new(codec, 8_000).expect("an encoder");
            let packets = packets(&mut voice, &samples(20, 8)).expect("coded");
            let (noise, voiced): (Vec<_>, Vec<_>) = packets.iter().partition(|packet| packet.is_noise);
            let from_to = [voiced[0].place, voiced[voiced.len() - 1].place];
            let about = |place: i64, wanted: i64| (place - wanted).abs() < 4_000;
            assert!(about(from_to[0], 64_000) && about(from_to[1], 80_000), "{codec}: {from_to:?}");
            assert!(from_to[0] < 64_000, "{codec}: the beginning is not cut");
            let steps = voiced.windows(2).map(|pair| pair[1].place - pair[0].place);
            assert_eq!(steps.max(), Some(longest), "{codec}");
            assert_eq!(voiced.iter().filter(|packet| packet.is_first).count(), 1, "{codec}");
            assert_eq!((packets[0].place < 0, packets[0].is_noise), (delay, true), "{codec}");
            assert!(noise.iter().all(|packet| (59..=65).contains(&packet.payload[0])), "{codec}: {noise:?}");
            assert!(noise.len() <= 4, "{codec}: {}", noise.len());
            let last = packets.last().expect("some");
            assert_eq!((last.place, last.is_noise), (160_000, true), "{codec}: noise to the very end");
        }
    }

    #[test]
    fn a_long_background_is_told_again_so_that_timestamps_never_go_round_unseen() {
        let mut voice = Voice::new(ColdCodec::Opus, 8_000).expect("an encoder");
        let packets = packets(&mut voice, &samples(90, 100)).expect("coded");
        let steps = packets.windows(2).map(|pair| pair[1].place - pair[0].place);
        assert!(packets.len() >= 5 && steps.max() <= Some(21 * 8_000), "{}", packets.len());
    }

    #[test]
    fn a_codec_that_loses_the_voice_is_found_out() {
        struct Mute;
        impl Decoder for Mute {
            fn sample_rate(&self) -> u32 {
                8_000
            }
            fn decode(&mut self, _: &[u8], out: &mut Vec<i16>) {
                out.extend([0; 160]);
            }
        }
        for codec in [ColdCodec::Opus, ColdCodec::Gsm] {
            let mut voice = Voice::new(codec, 8_000).expect("an encoder");
            voice.check = Box::new(Mute);
            let mut all = samples(4, 0);
            all.extend(samples(4, 0));
            let told = packets(&mut voice, &all);
            assert!(matches!(told, Err(CodingError::Power(ratio)) if ratio < 0.1), "{told:?}");
        }
    }
}
