//! What the tests of the playout share: dice with a seed, senders of packets, and the two passes in one call.

use std::sync::LazyLock;

use super::{Bounds, Renderer, Survey, Timeline};
use crate::codec::g711::{self, Law};
use crate::media::{AudioFrame, Codec, Format, Party};
use crate::time::Timestamp;

/// A linear congruential generator: the same numbers on every machine.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// Above 0, up to 1.
    pub(super) fn unit(&mut self) -> f64 {
        (f64::from(self.next()) + 1.0) / 4_294_967_296.0
    }
}

fn format(payload_type: u8, name: &str) -> Format {
    let codec = Codec::from_name(name);
    Format { payload_type, codec, clock_rate: 8_000, channels: 1, fmtp: String::new() }
}

pub(super) static PCMU: LazyLock<Format> = LazyLock::new(|| format(0, "PCMU"));
pub(super) static NOISE: LazyLock<Format> = LazyLock::new(|| format(13, "CN"));
pub(super) static EVENT: LazyLock<Format> = LazyLock::new(|| format(101, "telephone-event"));
pub(super) static G729: LazyLock<Format> = LazyLock::new(|| format(18, "G729"));

/// A packet on its way.
#[derive(Clone)]
pub(super) struct Packet {
    pub(super) party: Party,
    pub(super) at: i64,
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) format: &'static Format,
    pub(super) payload: Vec<u8>,
}

impl Packet {
    pub(super) fn frame(&self) -> AudioFrame<'_> {
        AudioFrame {
            at: Timestamp::from_nanos(self.at),
            ssrc: self.ssrc,
            sequence: self.sequence,
            timestamp: self.timestamp,
            marker: false,
            format: self.format,
            payload: &self.payload,
        }
    }
}

/// When all scenes begin, in nanoseconds.
pub(super) const T0: i64 = 1_800_000_000_000_000_000;

/// Speaks a tone in 20 ms packets.
pub(super) struct Talker {
    pub(super) party: Party,
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    /// Capture time of the next packet, but for jitter, in nanoseconds.
    pub(super) now: f64,
    pub(super) ppm: f64,
    pub(super) tone_hz: f64,
    /// Samples spoken, which the tone's phase follows.
    pub(super) spoken: u64,
    pub(super) packets: Vec<Packet>,
}

impl Talker {
    pub(super) fn new(party: Party) -> Self {
        Talker {
            party,
            ssrc: 0x1000 + party.index() as u32,
            sequence: 65_400,
            timestamp: u32::MAX - 20_000,
            now: T0 as f64,
            ppm: 0.0,
            tone_hz: 440.0,
            spoken: 0,
            packets: Vec::new(),
        }
    }

    pub(super) fn talk(&mut self, packets: u32) -> &mut Self {
        for _ in 0..packets {
            let step = std::f64::consts::TAU * self.tone_hz / 8_000.0;
            let payload = (0..160_u64).map(|i| {
                let sample = ((self.spoken + i) as f64 * step).sin() * 10_000.0;
                g711::encode(Law::Mu, sample as i16)
            });
            let payload = payload.collect();
            self.send(&PCMU, payload);
            self.silence(160);
        }
        self
    }

    pub(super) fn send(&mut self, format: &'static Format, payload: Vec<u8>) -> &mut Self {
        self.packets.push(Packet {
            party: self.party,
            at: self.now.round() as i64,
            ssrc: self.ssrc,
            sequence: self.sequence,
            timestamp: self.timestamp,
            format,
            payload,
        });
        self.sequence = self.sequence.wrapping_add(1);
        self
    }

    /// Sends nothing for so many ticks of the sender's clock.
    pub(super) fn silence(&mut self, ticks: u32) -> &mut Self {
        self.timestamp = self.timestamp.wrapping_add(ticks);
        self.spoken += u64::from(ticks);
        self.freeze_ms(f64::from(ticks) / 8.0 / (1.0 + self.ppm / 1e6))
    }

    /// Sends nothing, and the sender's clock stands still.
    pub(super) fn freeze_ms(&mut self, ms: f64) -> &mut Self {
        self.now += ms * 1e6;
        self
    }
}

/// What the packets decode to, in the order in which they were sent.
pub(super) fn decoded(packets: &[Packet]) -> Vec<i16> {
    packets.iter().flat_map(|packet| &packet.payload).map(|&code| g711::decode(Law::Mu, code)).collect()
}

/// The two channels of a recording.
pub(super) struct Played {
    pub(super) timeline: Timeline,
    pub(super) near: Vec<i16>,
    pub(super) far: Vec<i16>,
    /// Packets that the renderer did not play.
    pub(super) unplayed: u64,
}

/// Both passes over packets in the order of their arrival.
pub(super) fn play(packets: impl IntoIterator<Item = Packet>, bounds: Bounds) -> Played {
    play_with(packets, Survey::new(), bounds)
}

/// As [`play`], with marks already in the survey.
pub(super) fn play_with(
    packets: impl IntoIterator<Item = Packet>,
    mut survey: Survey,
    bounds: Bounds,
) -> Played {
    let mut packets: Vec<_> = packets.into_iter().collect();
    packets.sort_by_key(|packet| packet.at);
    for packet in &packets {
        survey.handle_frame(packet.party, &packet.frame());
    }
    let timeline = survey.finish(bounds);
    let (mut near, mut far) = (Vec::new(), Vec::new());
    let mut renderer = Renderer::new(&timeline);
    for packet in packets.iter().map(Some).chain([None]) {
        match packet {
            Some(packet) => renderer.push(packet.party, &packet.frame()),
            None => renderer.finish(),
        }
        while let Some(block) = renderer.poll_block() {
            assert_eq!(block.start, near.len() as u64, "blocks follow each other");
            near.extend_from_slice(block.near);
            far.extend_from_slice(block.far);
        }
    }
    assert_eq!((near.len() as u64, far.len() as u64), (timeline.samples, timeline.samples));
    let unplayed = renderer.unplayed();
    Played { timeline, near, far, unplayed }
}

/// The share of the power that lies within a few hertz of `hz`, 0 to 1: windows of 100 ms, each held against the best
/// sine of that frequency in it.
pub(super) fn purity(samples: &[i16], hz: f64) -> f64 {
    let step = std::f64::consts::TAU * hz / 8_000.0;
    let (mut tonal, mut all) = (0.0, 0.0);
    for window in samples.chunks_exact(800) {
        let (mut re, mut im) = (0.0, 0.0);
        for (i, &sample) in window.iter().enumerate() {
            let (sin, cos) = (step * i as f64).sin_cos();
            re += f64::from(sample) * cos;
            im += f64::from(sample) * sin;
            all += f64::from(sample).powi(2);
        }
        tonal += (re * re + im * im) * 2.0 / window.len() as f64;
    }
    tonal / f64::max(all, 1.0)
}
