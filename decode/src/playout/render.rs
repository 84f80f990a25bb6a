//! Second pass over a recording: the packets again, now as sound on the measured timeline.
//!
//! Owns the order of things in time: which run plays where, two parties side by side, pauses silent. Samples of one
//! run come from `source`; here they are laid down, unchanged when the sender's clock agreed with the
//! capture's, otherwise read along its slope by cubic interpolation. Where two sources of one party speak at once
//! (early media of two forks, the change of a source), both are heard: they are added and limited, because evidence
//! is not to choose. Memory holds the last ten seconds or so (half a
//! minute where an outside program decodes), whatever the length of the recording.

use std::ops::Range;

use super::source::{Source, Tools};
use super::timeline::{LATE_MAX_MS, Stretch, Timeline, locate, ns_to_samples};
use crate::codec::external::External;
use crate::media::{AudioFrame, Party};
use crate::time::NS_PER_MS;

/// Length of a full block, in milliseconds.
pub const BLOCK_MS: u32 = 100;
/// Runs of one party that can have packets waiting: those that sound at once, and those of the next ten seconds.
const SOURCES_MAX: usize = 256;
/// Payload bytes that may wait in one party's queues; more packets are not played. Half a minute of 16-bit stereo at
/// 48 kHz are 6 MB.
const WAITING_MAX: usize = 8 << 20;
/// Fade where one run takes over from another, in milliseconds.
const FADE_MS: u32 = 5;
/// Packets this far behind what has been given out cannot be heard any more, in milliseconds. The rest still teaches
/// the decoder and the concealment what went before.
const BEHIND_MS: i64 = 1_000;

/// With an outside program to decode, blocks come this much later, in milliseconds: the more packets wait, the more seldom
/// it is started.
const AHEAD_MS: i64 = 20_000;

/// A stretch of both channels, the next in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// Its first sample on the timeline.
    pub start: u64,
    /// The recorded extension: left.
    pub near: &'a [i16],
    /// The other side: right, as long as `near`.
    pub far: &'a [i16],
}

/// Plays a recording onto its timeline.
///
/// Push every packet in the order in which the survey got them, polling blocks until none after each; then
/// [`finish`](Renderer::finish) and poll the rest. The blocks together are exactly [`Timeline::samples`] long.
pub struct Renderer<'t> {
    timeline: &'t Timeline,
    near: Lane,
    far: Lane,
    tools: Tools,
    /// How long after its place a packet is waited for, in milliseconds.
    wait_ms: i64,
    /// Samples given out.
    cursor: u64,
    /// Samples that no packet to come can change.
    settled: u64,
    unplayed: u64,
}

impl<'t> Renderer<'t> {
    /// At the timeline's beginning.
    #[must_use]
    pub fn new(timeline: &'t Timeline) -> Self {
        Renderer {
            timeline,
            near: Lane::default(),
            far: Lane::default(),
            tools: Tools::default(),
            wait_ms: LATE_MAX_MS,
            cursor: 0,
            settled: 0,
            unplayed: 0,
        }
    }

    /// As [`new`](Renderer::new), with a program for what this crate cannot decode. The survey must have been made with
    /// its [`abilities`](External::abilities).
    #[must_use]
    pub fn with_external(timeline: &'t Timeline, external: Box<dyn External>) -> Self {
        let mut renderer = Renderer::new(timeline);
        renderer.tools.external = Some(external);
        renderer.wait_ms = LATE_MAX_MS + AHEAD_MS;
        renderer
    }

    /// Takes the next packet.
    pub fn push(&mut self, party: Party, frame: &AudioFrame<'_>) {
        let [near, far] = &self.timeline.lanes;
        let (lane, stretches) = match party {
            Party::Near => (&mut self.near, near),
            Party::Far => (&mut self.far, far),
        };
        let found = locate(stretches, lane.hint, frame.at, frame.ssrc, frame.timestamp);
        let Some((run, ticks)) = found else {
            self.unplayed = self.unplayed.saturating_add(1);
            return;
        };
        lane.hint = run;
        let behind = ns_to_samples(BEHIND_MS * NS_PER_MS, self.timeline.rate);
        let cursor = i64::try_from(self.cursor).unwrap_or(i64::MAX);
        if let Some(stretch) = stretches.get(run) {
            let rate = self.timeline.rate;
            let out = stretch.output();
            let place = stretch.source_sample(ticks);
            let position = (stretch.origin + place as f64 / stretch.step) as i64;
            let length = i64::try_from(self.timeline.samples).unwrap_or(i64::MAX);
            let heard = out.end > cursor
                && position.saturating_add(behind) > cursor
                && position <= length.saturating_add(behind);
            let taken = heard
                && lane.waiting() < WAITING_MAX
                && self.tools.formats.number(frame.format).is_some_and(|format| {
                    lane.source(run, stretch.ssrc, rate)
                        .is_some_and(|source| source.push(place, frame.sequence, format, frame.payload))
                });
            self.unplayed = self.unplayed.saturating_add(u64::from(!taken));
        }
        let arrived = frame.at.plus_millis(-self.wait_ms).nanos_since(self.timeline.start);
        let settled = u64::try_from(ns_to_samples(arrived, self.timeline.rate)).unwrap_or(0);
        self.settled = self.settled.max(settled.min(self.timeline.samples));
    }

    /// No more packets: what is left can be polled.
    pub fn finish(&mut self) {
        self.settled = self.timeline.samples;
    }

    /// Packets that were not played so far: strays, copies, and what came too late or lies outside the timeline.
    #[must_use]
    pub fn unplayed(&self) -> u64 {
        self.unplayed
    }

    /// Packets that the outside program was given and could not decode; they are silent.
    #[must_use]
    pub fn undecoded(&self) -> u64 {
        self.tools.undecoded
    }

    /// The next block, once nothing can change it any more.
    pub fn poll_block(&mut self) -> Option<Block<'_>> {
        let full = u64::from(self.timeline.rate / (1000 / BLOCK_MS));
        let end = self.cursor.saturating_add(full).min(self.timeline.samples);
        if end > self.settled || end == self.cursor {
            return None;
        }
        let start = self.cursor;
        let [near, far] = &self.timeline.lanes;
        self.near.render(near, &mut self.tools, start..end, self.timeline.rate);
        self.far.render(far, &mut self.tools, start..end, self.timeline.rate);
        for pause in &self.timeline.pauses {
            let (from, to) = (pause.start.max(start), pause.end.min(end));
            if from < to {
                let silent = (from - start) as usize..(to - start) as usize;
                for out in [&mut self.near.out, &mut self.far.out] {
                    out.get_mut(silent.clone()).unwrap_or_default().fill(0);
                }
            }
        }
        self.cursor = end;
        Some(Block { start, near: &self.near.out, far: &self.far.out })
    }
}

/// One party's channel.
#[derive(Default)]
struct Lane {
    /// Runs that have packets and are not over, by their index in the timeline.
    sources: Vec<(usize, Source)>,
    hint: usize,
    out: Vec<i16>,
    /// Samples of a run read along its slope, before they are added to `out`.
    slope: Vec<i16>,
}

impl Lane {
    /// Payload bytes in all queues.
    fn waiting(&self) -> usize {
        self.sources.iter().map(|(_, source)| source.waiting()).sum()
    }

    fn source(&mut self, run: usize, ssrc: u32, rate: u32) -> Option<&mut Source> {
        let index = match self.sources.iter().position(|&(index, _)| index == run) {
            Some(index) => index,
            None if self.sources.len() < SOURCES_MAX => {
                self.sources.push((run, Source::new(ssrc, rate)));
                self.sources.len() - 1
            }
            None => return None,
        };
        self.sources.get_mut(index).map(|(_, source)| source)
    }

    /// Lays the samples `block` of all runs into `out`.
    fn render(&mut self, stretches: &[Stretch], tools: &mut Tools, block: Range<u64>, rate: u32) {
        self.out.clear();
        self.out.resize(usize::try_from(block.end - block.start).unwrap_or(0), 0);
        let start = i64::try_from(block.start).unwrap_or(i64::MAX);
        let end = i64::try_from(block.end).unwrap_or(i64::MAX);
        for (run, source) in &mut self.sources {
            let Some(stretch) = stretches.get(*run) else { continue };
            let run_out = stretch.output();
            let (from, to) = (run_out.start.max(start), run_out.end.min(end));
            if from >= to {
                continue;
            }
            let place = usize::try_from(from - start).unwrap_or(0);
            let count = usize::try_from(to - from).unwrap_or(0);
            let out = self.out.get_mut(place..place.saturating_add(count)).unwrap_or_default();
            let fade = Fade::of(stretch, &run_out, rate);
            if stretch.step == 1.0 {
                let first = from.saturating_sub(stretch.origin as i64);
                let samples = source.read(first..first.saturating_add(to - from), tools);
                fade.add(out, samples, from);
            } else {
                let first = (from as f64 - stretch.origin) * stretch.step;
                self.slope.clear();
                self.slope.resize(count, 0);
                interpolate(source, tools, first, stretch.step, &mut self.slope);
                fade.add(out, &self.slope, from);
            }
        }
        self.sources.retain(|(run, _)| stretches.get(*run).is_some_and(|stretch| stretch.output().end > end));
    }
}

/// Whole part 1 of a place on the source scale, kept as fixed point with 32 bits behind the point: over a block the
/// sum of the steps is exact to a millionth of a sample.
const ONE: i64 = 1 << 32;

/// Fills `out` with the samples read at `first`, `first + step`, ... of a source, by Catmull-Rom curves through four
/// samples.
pub(super) fn interpolate(source: &mut Source, tools: &mut Tools, first: f64, step: f64, out: &mut [i16]) {
    let base = first.floor() as i64 - 1;
    let last = (first + step * out.len() as f64).floor() as i64;
    let samples = source.read(base..last.saturating_add(3), tools);
    let fixed = |place: f64| (place * ONE as f64) as i64;
    let (mut place, drift) = (fixed(first - base as f64), fixed(step - 1.0));
    let mut rest = out;
    while !rest.is_empty() {
        // While the drift does not carry into the whole part, samples go one to one: the loop that counts has no
        // branch in it.
        let (whole, part) = (place >> 32, place & (ONE - 1));
        let room = if drift > 0 { (ONE - 1 - part) / drift } else { part / drift.abs().max(1) };
        let even = usize::try_from(room + 1).unwrap_or(1).min(rest.len());
        let (now, later) = rest.split_at_mut(even);
        let before = usize::try_from(whole - 1).unwrap_or(0);
        let (t, dt) = (part as f32 / ONE as f32, drift as f32 / ONE as f32);
        // Four views of the same samples, each one further on: the compiler takes several windows at a time.
        let view = |ahead: usize| samples.get(before + ahead..).unwrap_or_default();
        let windows = view(0).iter().zip(view(1)).zip(view(2)).zip(view(3));
        for ((out, (((&a, &b), &c), &d)), i) in now.iter_mut().zip(windows).zip(0_i32..i32::MAX) {
            *out = curve([a, b, c, d].map(f32::from), t + dt * i as f32);
        }
        place += (ONE + drift) * even as i64;
        rest = later;
    }
}

/// The Catmull-Rom curve from `b` (at 0) to `c` (at 1).
fn curve([a, b, c, d]: [f32; 4], t: f32) -> i16 {
    let bend = 2.0 * a - 5.0 * b + 4.0 * c - d;
    let cubic = 3.0 * (b - c) + d - a;
    let value = b + 0.5 * t * (c - a + t * (bend + t * cubic));
    // Far enough above 1 the digits behind the point no longer fit: what remains in the low bits of the float is the
    // rounded value in two's complement. A cast would do the same, one sample at a time.
    (value.clamp(-32_768.0, 32_767.0) + ROUNDING).to_bits() as i16
}

/// 1.5 times 2^23: a float of this size has no digits behind the point and zeros in its low 16 bits.
const ROUNDING: f32 = 12_582_912.0;

/// How loud a run is at each of its samples: full, but for short fades where another run takes over.
struct Fade {
    run: Range<i64>,
    length: i64,
    fade_in: bool,
    fade_out: bool,
}

impl Fade {
    fn of(stretch: &Stretch, run: &Range<i64>, rate: u32) -> Fade {
        let length = i64::from(rate * FADE_MS / 1000);
        Fade { run: run.clone(), length, fade_in: stretch.fade_in, fade_out: stretch.fade_out }
    }

    /// Adds samples that begin at output sample `from` to what is there, limited.
    fn add(&self, out: &mut [i16], samples: &[i16], from: i64) {
        let to = from.saturating_add(out.len() as i64);
        let faded = (self.fade_in && from < self.run.start.saturating_add(self.length))
            || (self.fade_out && to > self.run.end.saturating_sub(self.length));
        if !faded {
            out.iter_mut().zip(samples).for_each(|(out, &sample)| *out = out.saturating_add(sample));
            return;
        }
        for ((place, out), &sample) in (from..).zip(out).zip(samples) {
            *out = out.saturating_add(self.at(place, sample));
        }
    }

    fn at(&self, place: i64, sample: i16) -> i16 {
        let begun = if self.fade_in { place.saturating_sub(self.run.start) } else { self.length };
        let left = if self.fade_out { self.run.end.saturating_sub(place) } else { self.length };
        let level = begun.min(left).clamp(0, self.length);
        (i64::from(sample) * level / self.length.max(1)) as i16
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::playout::scene::{
        Dice, EVENT, G729, NOISE, PCMU, Packet, T0, Talker, decoded, play, play_with, purity,
    };
    use crate::playout::{Bounds, Survey};
    use crate::time::Timestamp;

    fn at_ms(ms: i64) -> Timestamp {
        Timestamp::from_nanos(T0).plus_millis(ms)
    }

    fn talker() -> Talker {
        Talker::new(Party::Near)
    }

    #[test]
    fn a_lossless_stream_plays_bit_for_bit_whatever_the_network_did_to_its_order() {
        let mut near = talker();
        near.talk(1_500);
        let sent = decoded(&near.packets);
        let mut dice = Dice::new(4);
        let mut arrived: Vec<Packet> = Vec::new();
        for packet in &near.packets {
            // Jitter of 40 ms, a tenth up to a second late, a twentieth twice.
            let late = if dice.unit() < 0.1 { 1_000.0 } else { 40.0 };
            let delayed = |dice: &mut Dice| {
                let delay = (dice.unit() * late * 1e6) as i64;
                Packet { at: packet.at + delay, ..packet.clone() }
            };
            arrived.push(delayed(&mut dice));
            if dice.unit() < 0.05 {
                arrived.push(delayed(&mut dice));
            }
        }
        let played = play(arrived, Bounds::default());
        assert_eq!(played.near.len(), sent.len());
        assert!(played.near == sent, "bit for bit");
        assert!(played.far.iter().all(|&sample| sample == 0));
    }

    #[test]
    fn bounds_cut_and_extend_without_moving_a_sample() {
        let mut near = talker();
        near.talk(500);
        let sent = decoded(&near.packets);
        let bounds = Bounds { start: Some(at_ms(-1_000)), end: Some(at_ms(11_000)) };
        let played = play(near.packets.clone(), bounds);
        assert_eq!(played.near.len(), 96_000);
        assert!(played.near.get(8_000..88_000) == Some(&sent[..]));
        let bounds = Bounds { start: Some(at_ms(5_005)), end: Some(at_ms(5_105)) };
        let played = play(near.packets, bounds);
        assert!(Some(&played.near[..]) == sent.get(40_040..40_840));
    }

    #[test]
    fn two_percent_lost_and_three_reordered_keep_the_tone_and_the_length() {
        for tone in [150.0, 440.0, 1_234.0, 3_100.0] {
            let mut near = talker();
            near.tone_hz = tone;
            near.talk(3_000);
            let sent = decoded(&near.packets);
            let mut dice = Dice::new(tone as u64);
            let mut arrived = Vec::new();
            for (i, mut packet) in near.packets.into_iter().enumerate() {
                if dice.unit() < 0.02 && i > 10 && i < 2_990 {
                    continue;
                }
                packet.at += (dice.unit() * 15e6) as i64;
                if dice.unit() < 0.03 {
                    packet.at += 55_000_000;
                }
                if dice.unit() < 0.03 {
                    arrived.push(packet.clone());
                }
                arrived.push(packet);
            }
            let played = play(arrived, Bounds::default());
            assert_eq!(played.near.len(), sent.len(), "{tone}");
            let share = purity(&played.near, tone);
            assert!(share >= 0.97, "{tone} Hz: {share}");
            let silent = played.near.chunks(80).filter(|c| c.iter().all(|s| s.abs() < 500)).count();
            assert_eq!(silent, 0, "{tone} Hz: single losses are covered");
        }
    }

    #[test]
    fn a_long_loss_fades_to_silence_and_the_voice_comes_back_in_place() {
        let mut near = talker();
        near.talk(200);
        let sent = decoded(&near.packets);
        let packets = near.packets.iter().enumerate().filter(|(i, _)| !(50..70).contains(i));
        let played = play(packets.map(|(_, packet)| packet.clone()), Bounds::default());
        assert_eq!(played.near.len(), sent.len());
        assert!(played.near.get(8_000..8_080).is_some_and(|c| c.iter().any(|&s| s.abs() > 8_000)));
        assert!(played.near.get(8_480..11_200).is_some_and(|c| c.iter().all(|&s| s == 0)));
        assert!(played.near.get(11_280..) == sent.get(11_280..));
    }

    /// A party whose clock is `ppm` fast clicks at the same moment of every minute, on a line that is silent
    /// otherwise.
    fn clicker(party: Party, ppm: f64, minutes: u32) -> Vec<Packet> {
        let mut dice = Dice::new(3 + party.index() as u64);
        let mut talker = Talker::new(party);
        talker.ppm = ppm;
        let end = talker.now + f64::from(minutes) * 60e9;
        while talker.now < end {
            let second = (talker.now - T0 as f64) / 1e9;
            let click = 60.0 * (second / 60.0).floor() + CLICK_S;
            let offset = (click - second) * 8_000.0 * (1.0 + ppm / 1e6);
            let mut payload = vec![0xff; 160];
            if (0.0..160.0).contains(&offset) {
                payload[offset as usize] = 0x80;
            }
            talker.send(&PCMU, payload).silence(160);
        }
        for packet in &mut talker.packets {
            packet.at += (-dice.unit().ln() * 3e6).min(40e6) as i64;
        }
        talker.packets
    }

    const CLICK_S: f64 = 30.007;

    #[test]
    fn two_parties_stay_aligned_through_an_hour_of_drift() {
        for (near_ppm, far_ppm) in [(200.0, -200.0), (35.0, 0.0)] {
            let packets: Vec<_> = clicker(Party::Near, near_ppm, 60)
                .into_iter()
                .chain(clicker(Party::Far, far_ppm, 60))
                .collect();
            // The seconds around some of the clicks; the whole hour is measured each time.
            for minute in [0, 31, 59] {
                let middle = minute * 60_000 + 30_007;
                let bounds = Bounds { start: Some(at_ms(middle - 500)), end: Some(at_ms(middle + 500)) };
                let played = play(packets.clone(), bounds);
                let click = |samples: &[i16]| samples.iter().position(|s| s.abs() > 8_000).expect("a click");
                let (near, far) = (click(&played.near), click(&played.far));
                let label = format!("{near_ppm} {far_ppm} ppm, minute {minute}: {near} and {far}");
                assert!(near.abs_diff(far) <= 16, "more than 2 ms apart: {label}");
                assert!(near.abs_diff(4_000) <= 16, "off the wall: {label}");
            }
        }
    }

    #[test]
    fn a_steep_clock_keeps_its_tone_and_its_length() {
        let mut near = talker();
        near.ppm = 16_000.0;
        near.tone_hz = 500.0;
        near.talk(6_000);
        let played = play(near.packets, Bounds::default());
        let expected = 960_000.0 / 1.016;
        assert!((played.near.len() as f64 - expected).abs() < 16.0, "{} for {expected}", played.near.len());
        // The sender's 500 Hz were 508 on the wall.
        assert!(purity(&played.near, 508.0) > 0.99, "{}", purity(&played.near, 508.0));
    }

    #[test]
    fn a_hold_with_a_frozen_timestamp_is_silence_of_its_length() {
        let mut near = talker();
        near.talk(100).freeze_ms(1_800_000.0).talk(100);
        let sent = decoded(&near.packets);
        let played = play(near.packets, Bounds::default());
        assert_eq!(played.timeline.duration_ms(), 1_804_000);
        assert!(played.near.starts_with(&sent[..16_000]) && played.near.ends_with(&sent[16_000..]));
        assert!(played.near[16_000..played.near.len() - 16_000].iter().all(|&sample| sample == 0));
    }

    #[test]
    fn a_change_of_source_loses_nothing_but_a_short_fade() {
        let mut near = talker();
        for ssrc in [1, 77] {
            (near.ssrc, near.timestamp, near.sequence) = (ssrc, ssrc * 1_000_003, 3);
            for _ in 0..100 {
                near.send(&PCMU, vec![0x90; 160]).silence(160);
            }
        }
        let sent = decoded(&near.packets);
        let played = play(near.packets, Bounds::default());
        assert_eq!(played.near.len(), sent.len());
        let faded = 16_000 - 40..16_000 + 40;
        for (place, (&heard, &said)) in played.near.iter().zip(&sent).enumerate() {
            assert!(heard == said || faded.contains(&place) && heard.abs() < said.abs(), "{place}");
        }
        assert_eq!(played.near[16_000], 0);
        let step = played.near.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max();
        assert!(step < Some(sent[0].unsigned_abs() / 30), "no click: {step:?}");
    }

    #[test]
    fn two_sources_at_once_are_both_heard() {
        let mut one = talker();
        one.tone_hz = 500.0;
        one.talk(200);
        let mut other = talker();
        (other.ssrc, other.tone_hz) = (99, 1_500.0);
        other.talk(200);
        let played = play(one.packets.into_iter().chain(other.packets), Bounds::default());
        assert_eq!(played.near.len(), 32_000);
        for tone in [500.0, 1_500.0] {
            let share = purity(&played.near, tone);
            assert!((0.45..0.55).contains(&share), "{tone} Hz: {share}");
        }
    }

    #[test]
    fn suppressed_silence_is_silent_or_as_loud_as_its_comfort_noise() {
        let mut near = talker();
        near.talk(50).silence(8_000).talk(50);
        let played = play(near.packets, Bounds::default());
        assert!(played.near[8_000..16_000].iter().all(|&sample| sample == 0));

        let mut near = talker();
        near.talk(50).send(&NOISE, vec![40]).silence(8_000).send(&NOISE, vec![60]).silence(8_000).talk(50);
        let packets = near.packets;
        let played = play(packets.clone(), Bounds::default());
        let rms = |range: Range<usize>| {
            let samples = &played.near[range];
            (samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
        };
        assert!((rms(8_100..15_900) / 327.7 - 1.0).abs() < 0.05, "{}", rms(8_100..15_900));
        assert!((rms(16_100..23_900) / 32.8 - 1.0).abs() < 0.05, "{}", rms(16_100..23_900));
        assert!(play(packets, Bounds::default()).near == played.near, "the same noise each time");
    }

    #[test]
    fn digits_are_silence_and_no_loss() {
        let mut near = talker();
        near.talk(50);
        // One key held for as long as one event can last; all its packets carry the timestamp of its beginning.
        for i in 1..=400_u16 {
            let duration = i.saturating_mul(160).to_be_bytes();
            near.send(&EVENT, vec![5, 0x0a, duration[0], duration[1]]).freeze_ms(20.0);
        }
        near.spoken += 64_000;
        near.timestamp = near.timestamp.wrapping_add(64_000);
        near.talk(50);
        let sent = decoded(&near.packets.iter().filter(|p| p.payload.len() > 4).cloned().collect::<Vec<_>>());
        let played = play(near.packets, Bounds::default());
        assert_eq!((played.timeline.duration_ms(), played.timeline.track(Party::Near).lost), (10_000, 0));
        assert!(played.near[..8_000] == sent[..8_000] && played.near[72_000..] == sent[8_000..]);
        assert!(played.near[8_000..72_000].iter().all(|&sample| sample == 0));
        assert_eq!(played.unplayed, 0);
    }

    #[test]
    fn nothing_is_heard_in_a_pause_even_if_it_was_kept() {
        let mut far = Talker::new(Party::Far);
        far.talk(250);
        let sent = decoded(&far.packets);
        let mut survey = Survey::new();
        survey.handle_pause(at_ms(1_005));
        survey.handle_resume(at_ms(3_010));
        let played = play_with(far.packets, survey, Bounds::default());
        assert!(played.far[8_040..24_080].iter().all(|&sample| sample == 0));
        assert!(played.far[..8_040] == sent[..8_040] && played.far[24_080..] == sent[24_080..]);
    }

    #[test]
    fn what_cannot_be_decoded_is_silence_of_its_length() {
        let mut near = talker();
        for _ in 0..500 {
            near.send(&G729, vec![7; 20]).silence(160);
        }
        let played = play(near.packets, Bounds::default());
        assert_eq!(played.near, vec![0; 80_000]);
    }

    #[test]
    fn a_late_burst_after_a_stall_lands_in_its_place() {
        let mut near = talker();
        near.talk(600);
        let sent = decoded(&near.packets);
        for stall in [10_i64, 70, 140, 400] {
            let mut packets = near.packets.clone();
            let release = packets[100].at + stall * 20_000_000;
            for packet in packets.iter_mut().skip(100) {
                packet.at = packet.at.max(release);
            }
            let played = play(packets, Bounds::default());
            assert_eq!(played.near.len(), sent.len(), "{stall}");
            let wrong = played.near.iter().zip(&sent).filter(|(a, b)| a != b).count();
            // A stall too long to heal leaves a change-over of two fades.
            assert!(wrong <= if stall <= 140 { 0 } else { 80 }, "{stall}: {wrong} samples");
        }
    }

    #[test]
    fn a_storm_of_garbage_does_not_silence_the_voice() {
        let mut near = talker();
        near.talk(500);
        let sent = decoded(&near.packets);
        let mut dice = Dice::new(12);
        let mut packets = near.packets.clone();
        for packet in &near.packets {
            for same_source in [true, false] {
                packets.push(Packet {
                    at: packet.at + i64::from(dice.next() % 20_000_000),
                    ssrc: if same_source { packet.ssrc } else { dice.next() },
                    sequence: dice.next() as u16,
                    timestamp: dice.next(),
                    ..packet.clone()
                });
            }
        }
        let bounds = Bounds { start: Some(at_ms(0)), end: Some(at_ms(10_000)) };
        let played = play(packets, bounds);
        let wrong = played.near.iter().zip(&sent).filter(|(a, b)| a != b).count();
        assert!(wrong < sent.len() / 50, "{wrong} of {} samples", sent.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Any loss, order and copies: the length is exact, and what arrived and has its neighbours sounds as sent.
        #[test]
        fn what_arrived_is_heard_where_it_belongs(fates in proptest::collection::vec((0_u8..20, 0_i64..200), 20..300)) {
            let mut near = talker();
            near.talk(fates.len() as u32);
            let sent = decoded(&near.packets);
            let lost = |i: usize| i > 1 && fates.get(i).is_some_and(|fate| fate.0 == 0) && i + 2 < fates.len();
            let mut arrived = Vec::new();
            for (i, (packet, (fate, delay))) in near.packets.iter().zip(&fates).enumerate() {
                let mut packet = packet.clone();
                if i > 1 {
                    packet.at += delay * 500_000;
                }
                if *fate == 1 {
                    arrived.push(packet.clone());
                }
                if !lost(i) {
                    arrived.push(packet);
                }
            }
            let played = play(arrived, Bounds::default());
            prop_assert_eq!(played.near.len(), sent.len());
            for (i, (heard, said)) in played.near.chunks(160).zip(sent.chunks(160)).enumerate() {
                // Next to a loss a packet gives a few milliseconds to the blend.
                if !lost(i) && !lost(i + 1) && (i == 0 || !lost(i - 1)) {
                    prop_assert!(heard == said, "packet {}", i);
                }
            }
        }

        /// Whatever bytes say, the two passes agree on the length and nothing panics.
        #[test]
        fn any_frames_give_a_timeline_that_is_played_in_full(
            frames in proptest::collection::vec(
                (0_i64..4_000, 0_u32..3, any::<u16>(), any::<u32>(), 0_usize..4, 0_usize..400), 0..120)
        ) {
            let packets = frames.into_iter().map(|(at, ssrc, sequence, timestamp, format, length)| Packet {
                party: if ssrc == 0 { Party::Near } else { Party::Far },
                at: T0 + at * 1_000_000,
                ssrc,
                sequence: if length % 2 == 0 { sequence % 64 } else { sequence },
                timestamp: if length % 3 == 0 { timestamp } else { timestamp % 40_000 },
                format: [&PCMU, &NOISE, &EVENT, &G729][format],
                payload: vec![0x2a; length],
            });
            play(packets, Bounds::default());
        }
    }
}
