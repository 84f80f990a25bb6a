//! Playing a recording while it runs: packets in, 20 ms of both channels out, in step with the capture's clock.
//!
//! Owns what a listener who cannot wait needs beside the renderer's parts. Samples are made by the same `source` (order,
//! decoding, concealment, comfort noise) and placed by the same [`MediaClock`] as in a recording that is over; only what is known
//! is less. [`super::Survey`] has seen the whole call when it draws a clock's line; here the line is the one of this moment, and a
//! run follows it: at most [`TOLERANCE_MS`] off it is left alone, a little more is caught up by playing up to
//! [`GLIDE_MAX`] faster or slower, much more by a jump. So a sender's clock that runs fast or slow, or a network whose delay
//! has changed, does not make a listener late for the rest of the call. A packet is waited for [`REORDER_MS`]; of one that comes
//! later, what is left of its time is heard.
//!
//! Pure: time is what [`Live::handle_time`] says. No outside program decodes here: what needs one is silent, and told once
//! by [`Live::poll_silent`].

use std::collections::VecDeque;

use super::clock::{CLOCK_RATE_DEFAULT, MediaClock, Placement, Run, unwrap_near};
use super::render::{Block, interpolate};
use super::source::{Source, Tools};
use super::timeline::ns_to_samples;
use crate::codec::{self, external::Abilities};
use crate::media::{AudioFrame, Codec, Party};
use crate::rtp::stream::{Arrival, Stream};
use crate::time::{NS_PER_MS, NS_PER_S, Timestamp};

/// Length of a frame, in milliseconds.
pub const FRAME_MS: u32 = 20;
/// How long a packet is waited for that others have overtaken, in milliseconds of capture time.
pub const REORDER_MS: i64 = 60;
/// How far off its place a run may be played before it is brought nearer, in milliseconds.
pub const TOLERANCE_MS: i64 = 5;
/// By how much faster or slower a run is played to bring it nearer.
pub const GLIDE_MAX: f64 = 0.02;
/// Further off than this, in milliseconds, it jumps.
const JUMP_MS: i64 = 40;
/// Near enough to go on at its own pace, in microseconds.
const NEAR_US: i64 = 250;
/// Frames over which a run is brought nearer.
const GLIDE_FRAMES: f64 = 25.0;
/// Frames that are overdue by more than this, in milliseconds, are not given out any more.
const BEHIND_MAX_MS: i64 = 500;
/// What is kept of them.
const BEHIND_KEPT_MS: i64 = 100;
/// Runs of one party that are played at once; the one longest silent gives way.
const RUNS_MAX: usize = 16;
/// Sources of one party whose sequence numbers are followed; the one longest silent gives way.
const SOURCES_MAX: usize = 32;
/// Payload bytes that may wait for one party; more packets are not played.
const WAITING_MAX: usize = 1 << 20;
/// A run is forgotten when it has been silent for so long, in milliseconds.
const IDLE_MS: i64 = 10_000;
/// Room before a run's first packet for those that it has overtaken, in milliseconds.
const AHEAD_MS: i64 = 200;
/// How far a packet of a run that was joined to another may lie from that one's end, in seconds.
const JOINED_S: i64 = 3;
/// Pauses remembered: those that overlap what is still to be played.
const PAUSES_MAX: usize = 64;
/// Encodings that are told to be silent; further ones are not.
const SILENT_MAX: usize = 16;

/// Plays what is being recorded.
pub struct Live {
    start: Timestamp,
    rate: u32,
    near: Lane,
    far: Lane,
    tools: Tools,
    /// Samples given out or passed over.
    cursor: u64,
    /// Samples that are waited for no longer.
    settled: u64,
    pauses: VecDeque<(Timestamp, Option<Timestamp>)>,
    /// Encodings that stay silent, and how many of them have been told.
    silent: Vec<(Party, Codec)>,
    told: usize,
}

impl Live {
    /// A listener who comes at `from` to a recording that began at `start`; hears `rate` samples per second and channel, 8,000 to
    /// 48,000 and a multiple of 50, else the nearest of these.
    #[must_use]
    pub fn new(start: Timestamp, rate: u32, from: Timestamp) -> Live {
        let rate = rate.clamp(8_000, 48_000) / 50 * 50;
        let frame = u64::from(rate / 50);
        let first = u64::try_from(ns_to_samples(from.nanos_since(start), rate)).unwrap_or(0);
        let cursor = first.div_ceil(frame).saturating_mul(frame);
        Live {
            start,
            rate,
            near: Lane::default(),
            far: Lane::default(),
            tools: Tools::default(),
            cursor,
            settled: cursor,
            pauses: VecDeque::new(),
            silent: Vec::new(),
            told: 0,
        }
    }

    /// Samples per second and channel.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Where the next frame begins, in milliseconds from the recording's start.
    #[must_use]
    pub fn position_ms(&self) -> u64 {
        self.cursor.saturating_mul(1_000) / u64::from(self.rate)
    }

    /// Takes the next packet, in the order in which they were recorded.
    pub fn handle_frame(&mut self, party: Party, frame: &AudioFrame<'_>) {
        let Some(format) = self.tools.formats.number(frame.format) else { return };
        let rate = self.rate;
        let lane = self.lane(party);
        lane.accept(frame, format, rate);
        if lane.formats.contains(&format) {
            return;
        }
        lane.formats.push(format);
        let spoken = !matches!(frame.format.codec, Codec::TelephoneEvent | Codec::ComfortNoise);
        if spoken && rate_of(frame.format).is_none() {
            self.note_silent(party, &frame.format.codec);
        }
    }

    /// The recording was paused: silence from here on, whatever else comes.
    pub fn handle_pause(&mut self, at: Timestamp) {
        if self.pauses.back().is_some_and(|(_, to)| to.is_none()) {
            return;
        }
        if self.pauses.len() >= PAUSES_MAX {
            self.pauses.pop_front();
        }
        self.pauses.push_back((at, None));
    }

    /// The recording goes on.
    pub fn handle_resume(&mut self, at: Timestamp) {
        if let Some((_, to @ None)) = self.pauses.back_mut() {
            *to = Some(at);
        }
    }

    /// Whatever was captured before `known` has been handed in, but for what the network still holds back.
    pub fn handle_time(&mut self, known: Timestamp) {
        let settled = known.plus_millis(-REORDER_MS).nanos_since(self.start);
        let settled = u64::try_from(ns_to_samples(settled, self.rate)).unwrap_or(0);
        self.settled = self.settled.max(settled);
        let samples = |ms: i64| u64::try_from(ns_to_samples(ms * NS_PER_MS, self.rate)).unwrap_or(0);
        if self.settled.saturating_sub(self.cursor) > samples(BEHIND_MAX_MS) {
            let frame = u64::from(self.rate / 50);
            self.cursor = self.settled.saturating_sub(samples(BEHIND_KEPT_MS)) / frame * frame;
        }
    }

    /// An encoding that is kept and cannot be decoded here; each once.
    pub fn poll_silent(&mut self) -> Option<(Party, Codec)> {
        let next = self.silent.get(self.told).cloned()?;
        self.told += 1;
        Some(next)
    }

    /// The next frame, when it is due.
    pub fn poll_frame(&mut self) -> Option<Block<'_>> {
        let (start, frame) = (self.cursor, u64::from(self.rate / 50));
        let end = start.saturating_add(frame);
        if end > self.settled {
            return None;
        }
        self.cursor = end;
        for lane in [&mut self.near, &mut self.far] {
            lane.render(&mut self.tools, self.start, start, self.rate);
        }
        let place =
            |at: Timestamp| u64::try_from(ns_to_samples(at.nanos_since(self.start), self.rate)).unwrap_or(0);
        for &(from, to) in &self.pauses {
            let (from, to) = (place(from).clamp(start, end), to.map_or(end, place).clamp(start, end));
            let silent = (from - start) as usize..(to.max(from) - start) as usize;
            for out in [&mut self.near.out, &mut self.far.out] {
                out.get_mut(silent.clone()).unwrap_or_default().fill(0);
            }
        }
        while self.pauses.front().is_some_and(|(_, to)| to.is_some_and(|to| place(to) <= end)) {
            self.pauses.pop_front();
        }
        Some(Block { start, near: &self.near.out, far: &self.far.out })
    }

    fn lane(&mut self, party: Party) -> &mut Lane {
        match party {
            Party::Near => &mut self.near,
            Party::Far => &mut self.far,
        }
    }

    fn note_silent(&mut self, party: Party, codec: &Codec) {
        let known = self.silent.iter().any(|(whose, which)| *whose == party && which == codec);
        if !known && self.silent.len() < SILENT_MAX {
            self.silent.push((party, codec.clone()));
        }
    }
}

/// Samples per second that a listener needs to hear all of this format; none when it is silent here.
#[must_use]
pub fn rate_of(format: &crate::media::Format) -> Option<u32> {
    codec::sample_rate(format, Abilities::NONE)
}

/// One party's channel.
#[derive(Default)]
struct Lane {
    clock: MediaClock,
    sources: Vec<Followed>,
    voices: Vec<Voice>,
    /// The formats that its packets had; `source` limits how many there are.
    formats: Vec<u16>,
    out: Vec<i16>,
    /// Samples of a run read at another pace, before they are added to `out`.
    slope: Vec<i16>,
}

/// The sequence numbers of one source: copies are not played twice.
struct Followed {
    ssrc: u32,
    stream: Stream,
    last_at: Timestamp,
}

/// A run that is played.
struct Voice {
    /// [`Run::id`].
    run: u32,
    clock_rate: u32,
    /// The tick of its sample 0.
    base_ticks: i64,
    source: Source,
    /// Its next sample to be played.
    place: Option<f64>,
    /// It is being brought nearer.
    glides: bool,
    last_at: Timestamp,
}

impl Lane {
    fn accept(&mut self, frame: &AudioFrame<'_>, format: u16, rate: u32) {
        if self.is_copy(frame) || self.waiting() >= WAITING_MAX {
            return;
        }
        if frame.format.codec == Codec::TelephoneEvent {
            // All packets of one event have the time of its beginning, and place nothing.
            let run = self.clock.runs().iter().rev().find(|run| run.ssrc == frame.ssrc).copied();
            let Some(run) = run else { return };
            let ticks = unwrap_near(run.end_ticks, frame.timestamp);
            return self.queue(run.id, ticks, 0, frame, format, rate);
        }
        let clock_rate =
            if frame.format.clock_rate == 0 { CLOCK_RATE_DEFAULT } else { frame.format.clock_rate };
        let ticks = codec::packet_ticks(frame.format, frame.payload).unwrap_or(clock_rate / 50);
        let duration = ticks.min(clock_rate);
        let placed = self.clock.push(frame.at, frame.ssrc, frame.timestamp, clock_rate, duration);
        if placed.run == Placement::STRAY {
            return;
        }
        if self.voices.len() > 1 {
            self.join(placed.run, rate);
        }
        self.queue(placed.run, placed.ticks, duration, frame, format, rate);
    }

    /// Was a packet of this number here already?
    fn is_copy(&mut self, frame: &AudioFrame<'_>) -> bool {
        if let Some(source) = self.sources.iter_mut().find(|source| source.ssrc == frame.ssrc) {
            source.last_at = frame.at;
            return source.stream.push(frame.sequence) == Arrival::Duplicate;
        }
        if self.sources.len() >= SOURCES_MAX
            && let Some((oldest, _)) =
                self.sources.iter().enumerate().min_by_key(|(_, source)| source.last_at)
        {
            self.sources.swap_remove(oldest);
        }
        let mut stream = Stream::new(frame.sequence);
        stream.push(frame.sequence);
        self.sources.push(Followed { ssrc: frame.ssrc, stream, last_at: frame.at });
        false
    }

    fn waiting(&self) -> usize {
        self.voices.iter().map(|voice| voice.source.waiting()).sum()
    }

    fn run(&self, id: u32) -> Option<&Run> {
        self.clock.runs().iter().rev().find(|run| run.id == id)
    }

    fn queue(&mut self, run: u32, ticks: i64, duration: u32, frame: &AudioFrame<'_>, format: u16, rate: u32) {
        let Some(index) = self.voice(run, ticks, frame, rate) else { return };
        let Some(voice) = self.voices.get_mut(index) else { return };
        voice.last_at = voice.last_at.max(frame.at);
        let (place, end) = (voice.sample(ticks, rate), voice.sample(ticks + i64::from(duration), rate));
        // To decode what nobody hears any more would only put the decoder out of step.
        if voice.place.is_none() || end > voice.source.end() || duration == 0 {
            voice.source.push(place, frame.sequence, format, frame.payload);
        }
    }

    /// The voice of a run, by its place in the list; begins with its first packet.
    fn voice(&mut self, run: u32, ticks: i64, frame: &AudioFrame<'_>, rate: u32) -> Option<usize> {
        if let Some(index) = self.voices.iter().position(|voice| voice.run == run) {
            return Some(index);
        }
        let clock_rate = self.run(run)?.clock_rate;
        if self.voices.len() >= RUNS_MAX {
            let (oldest, _) = self.voices.iter().enumerate().min_by_key(|(_, voice)| voice.last_at)?;
            self.voices.swap_remove(oldest);
        }
        let ahead = AHEAD_MS * i64::from(clock_rate) / 1_000;
        self.voices.push(Voice {
            run,
            clock_rate,
            base_ticks: ticks.saturating_sub(ahead),
            source: Source::new(frame.ssrc, rate),
            place: None,
            glides: false,
            last_at: frame.at,
        });
        Some(self.voices.len() - 1)
    }

    /// Of a run that has been joined to `into`, what waits goes there; what stands no more otherwise was a stray.
    fn join(&mut self, into: u32, rate: u32) {
        while let Some(gone) = self.voices.iter().position(|voice| self.run(voice.run).is_none()) {
            let mut gone = self.voices.swap_remove(gone);
            let Some(end) = self.run(into).map(|run| run.end_ticks) else { continue };
            let Some(voice) = self.voices.iter_mut().find(|voice| voice.run == into) else { continue };
            if voice.clock_rate != gone.clock_rate {
                continue;
            }
            let near = JOINED_S * i64::from(gone.clock_rate);
            let shift = gone.sample(voice.base_ticks, rate);
            let near = (end - near..=end + near).contains(&gone.base_ticks);
            for (place, sequence, format, payload) in gone.source.take_queue() {
                let place = place.saturating_sub(shift);
                if near && place >= voice.source.end() {
                    voice.source.push(place, sequence, format, &payload);
                }
            }
        }
    }

    /// Lays a frame of all runs into `out`.
    fn render(&mut self, tools: &mut Tools, start: Timestamp, at: u64, rate: u32) {
        let length = (rate / 50) as usize;
        self.out.clear();
        self.out.resize(length, 0);
        let at = i64::try_from(at).unwrap_or(i64::MAX);
        let runs = self.clock.runs();
        self.voices.retain_mut(|voice| {
            let Some(run) = runs.iter().rev().find(|run| run.id == voice.run) else { return false };
            if !run.is_confirmed() {
                return true;
            }
            let (ideal, pace) = voice.ideal(run, start, at, rate);
            let end = voice.sample(run.end_ticks, rate);
            if ideal > end.saturating_add(IDLE_MS * i64::from(rate) / 1_000) as f64 {
                return false;
            }
            let Some((first, step)) = voice.follow(ideal, pace, length, rate) else { return true };
            let samples = if step == 1.0 {
                let first = first as i64;
                voice.source.read(first..first.saturating_add(length as i64), tools)
            } else {
                self.slope.clear();
                self.slope.resize(length, 0);
                interpolate(&mut voice.source, tools, first, step, &mut self.slope);
                &self.slope
            };
            self.out.iter_mut().zip(samples).for_each(|(out, &sample)| *out = out.saturating_add(sample));
            true
        });
    }
}

impl Voice {
    /// The sample at a tick.
    fn sample(&self, ticks: i64, rate: u32) -> i64 {
        let ticks = i128::from(ticks.saturating_sub(self.base_ticks));
        let sample = (ticks * i128::from(rate)).div_euclid(i128::from(self.clock_rate.max(1)));
        i64::try_from(sample).unwrap_or(i64::MAX)
    }

    /// The sample that belongs at sample `at` of the recording by the clock's line as it is now, and how many follow for each of
    /// the recording's.
    fn ideal(&self, run: &Run, start: Timestamp, at: i64, rate: u32) -> (f64, f64) {
        let map = run.map();
        let base = map.at(self.base_ticks).nanos_since(start);
        if map.skew_ppm() == 0.0 {
            return (at.saturating_sub(ns_to_samples(base, rate)) as f64, 1.0);
        }
        let pace = 1.0 + map.skew_ppm() / 1e6;
        let origin = base as f64 * f64::from(rate) / NS_PER_S as f64;
        ((at as f64 - origin) * pace, pace)
    }

    /// From where, and how fast, the next `length` samples are read; none when nothing is to be heard of it yet.
    fn follow(&mut self, ideal: f64, pace: f64, length: usize, rate: u32) -> Option<(f64, f64)> {
        if ideal < 0.0 {
            return None;
        }
        let samples = |us: i64| (us * i64::from(rate)) as f64 / 1e6;
        let place = *self.place.get_or_insert(ideal);
        let off = ideal - place;
        let mut step = pace;
        let mut first = place;
        if off < -samples(JUMP_MS * 1_000) {
            // It is ahead of its time: silence until that has come.
            return None;
        } else if off > samples(JUMP_MS * 1_000) {
            (first, self.glides) = (ideal, false);
        } else if off.abs() > samples(TOLERANCE_MS * 1_000) || (self.glides && off.abs() > samples(NEAR_US)) {
            self.glides = true;
            step += (off / (length as f64 * GLIDE_FRAMES)).clamp(-GLIDE_MAX, GLIDE_MAX);
        } else {
            self.glides = false;
        }
        if step == 1.0 {
            first = first.round();
        }
        self.place = Some(first + step * length as f64);
        Some((first, step))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::playout::Bounds;
    use crate::playout::scene::{Dice, EVENT, G729, NOISE, PCMU, Packet, T0, Talker, play, purity};

    /// How long after its capture a packet is handed in here, in milliseconds: sealing.
    const SEALED_MS: i64 = 200;

    fn at_ms(ms: i64) -> Timestamp {
        Timestamp::from_nanos(T0).plus_millis(ms)
    }

    /// What a listener has heard.
    #[derive(Default)]
    struct Heard {
        /// Where it begins, in samples of the recording.
        first: u64,
        near: Vec<i16>,
        far: Vec<i16>,
    }

    impl Heard {
        fn take(&mut self, live: &mut Live) {
            while let Some(block) = live.poll_frame() {
                if self.near.is_empty() {
                    self.first = block.start;
                }
                assert_eq!(block.start, self.first + self.near.len() as u64, "frames follow each other");
                assert_eq!((block.near.len(), block.far.len()), (160, 160));
                self.near.extend_from_slice(block.near);
                self.far.extend_from_slice(block.far);
            }
        }
    }

    /// Hands packets in as chunks of 150 ms bring them, and lets time pass in steps of 10 ms until `end_ms`.
    fn listen(packets: &[Packet], end_ms: i64, mut meanwhile: impl FnMut(&mut Live, i64)) -> Heard {
        let mut live = Live::new(at_ms(0), 8_000, at_ms(0));
        let mut heard = Heard::default();
        let mut packets: Vec<&Packet> = packets.iter().collect();
        packets.sort_by_key(|packet| packet.at);
        let mut next = packets.into_iter().peekable();
        for now in (0..end_ms + SEALED_MS + REORDER_MS + 20).step_by(10) {
            let chunk = at_ms(now / 150 * 150);
            while let Some(packet) = next.next_if(|packet| Timestamp::from_nanos(packet.at) < chunk) {
                live.handle_frame(packet.party, &packet.frame());
            }
            meanwhile(&mut live, now);
            live.handle_time(at_ms(now - SEALED_MS));
            heard.take(&mut live);
        }
        heard
    }

    fn talkers() -> [Talker; 2] {
        let (near, mut far) = (Talker::new(Party::Near), Talker::new(Party::Far));
        far.tone_hz = 620.0;
        [near, far]
    }

    fn both(talkers: &[Talker; 2]) -> Vec<Packet> {
        talkers.iter().flat_map(|talker| talker.packets.clone()).collect()
    }

    #[test]
    fn what_is_heard_live_is_what_the_recording_will_play_to_the_sample() {
        let mut talkers = talkers();
        for talker in &mut talkers {
            talker.talk(500);
        }
        let packets = both(&talkers);
        let heard = listen(&packets, 10_000, |_, _| {});
        let played = play(packets, Bounds::default());
        assert_eq!((heard.first, heard.near.len()), (0, 80_000));
        assert!(heard.near == played.near && heard.far == played.far);
    }

    #[test]
    fn lost_and_overtaken_packets_sound_as_the_recording_will() {
        let mut talkers = talkers();
        for talker in &mut talkers {
            talker.talk(500);
        }
        let mut packets = both(&talkers);
        let mut number = 0;
        packets.retain(|_| {
            number += 1;
            number % 37 != 0
        });
        // One packet is overtaken by two.
        for packet in packets.iter_mut().skip(1).step_by(41) {
            packet.at += 45_000_000;
        }
        let heard = listen(&packets, 9_000, |_, _| {});
        let played = play(packets, Bounds { start: Some(at_ms(0)), end: None });
        let length = 72_000;
        assert_eq!((heard.first, &heard.near[..length]), (0, &played.near[..length]));
        assert_eq!(&heard.far[..length], &played.far[..length]);
        assert!(purity(&heard.near[8_000..length], 440.0) > 0.95, "concealed, not cut");
    }

    #[test]
    fn a_pause_is_silence_to_the_sample_whatever_lies_in_it() {
        let mut talkers = talkers();
        for talker in &mut talkers {
            talker.talk(500);
        }
        // The gate lets nothing of a pause through; here everything is, to see that it would not be heard.
        let heard = listen(&both(&talkers), 9_000, |live, now| match now {
            2_140 => live.handle_pause(at_ms(2_003)),
            2_150 => live.handle_pause(at_ms(2_100)),
            5_050 => live.handle_resume(at_ms(4_987)),
            5_060 => live.handle_resume(at_ms(5_050)),
            _ => {}
        });
        for channel in [&heard.near, &heard.far] {
            let pause = 2_003 * 8..4_987 * 8;
            assert!(channel[pause.clone()].iter().all(|&sample| sample == 0));
            for edge in [pause.start - 8..pause.start, pause.end..pause.end + 8] {
                assert!(channel[edge].iter().filter(|sample| sample.unsigned_abs() > 100).count() > 5);
            }
        }
    }

    #[test]
    fn who_comes_while_it_is_paused_hears_nothing_before_the_resume() {
        let mut live = Live::new(at_ms(0), 8_000, at_ms(60_001));
        assert_eq!(live.position_ms(), 60_020, "frames lie on the recording's own grid");
        live.handle_pause(at_ms(3_000));
        let mut near = Talker::new(Party::Near);
        near.freeze_ms(60_000.0).talk(100);
        near.packets.iter().for_each(|packet| live.handle_frame(packet.party, &packet.frame()));
        let mut heard = Heard::default();
        live.handle_time(at_ms(60_400));
        heard.take(&mut live);
        assert!(heard.near.len() > 2_000 && heard.near.iter().all(|&sample| sample == 0));
    }

    /// A burst of tone after `quiet_s` seconds of a sender whose clock is `ppm` fast; where its first sample is heard, in
    /// milliseconds after its capture.
    fn latency_ms(ppm: f64, quiet_s: u32, jitter_ms: f64) -> f64 {
        let mut near = Talker::new(Party::Near);
        near.ppm = ppm;
        for _ in 0..quiet_s * 50 {
            near.send(&PCMU, vec![0xff; 160]).silence(160);
        }
        let burst = near.now;
        near.talk(25);
        let mut dice = Dice::new(7);
        for packet in &mut near.packets {
            packet.at += (dice.unit() * jitter_ms * 1e6) as i64;
        }
        let heard = listen(&near.packets, i64::from(quiet_s) * 1_000 + 400, |_, _| {});
        let first = heard.near.iter().position(|sample| sample.unsigned_abs() > 3_000).expect("the burst");
        (heard.first + first as u64) as f64 / 8.0 - (burst - T0 as f64) / 1e6
    }

    #[test]
    fn a_senders_clock_that_drifts_does_not_grow_the_latency() {
        for (ppm, seconds) in [(0.0, 60), (120.0, 200), (-120.0, 200), (900.0, 100), (-900.0, 100)] {
            let latency = latency_ms(ppm, seconds, 0.0);
            let bound = (TOLERANCE_MS + 2) as f64;
            assert!(latency.abs() < bound, "{ppm} ppm: {latency} ms after {seconds} s");
        }
        let latency = latency_ms(-200.0, 150, 30.0);
        assert!((-12.0..20.0).contains(&latency), "with jitter: {latency} ms");
    }

    #[test]
    fn a_network_that_has_become_slower_is_followed() {
        let mut near = Talker::new(Party::Near);
        near.talk(250);
        let from = near.packets.len();
        near.talk(250);
        // 100 ms: below what begins a new run.
        near.packets.iter_mut().skip(from).for_each(|packet| packet.at += 100_000_000);
        let heard = listen(&near.packets, 9_900, |_, _| {});
        assert!(purity(&heard.near[64_000..79_000], 440.0) > 0.9, "heard again once it is followed");
    }

    #[test]
    fn time_goes_on_without_packets_and_noise_stands_for_suppressed_silence() {
        let mut near = Talker::new(Party::Near);
        near.talk(50).send(&NOISE, vec![40]).silence(8_000).talk(50);
        let heard = listen(&near.packets, 3_000, |_, _| {});
        assert_eq!(heard.near.len(), 24_000);
        let loud = |range: std::ops::Range<usize>| heard.near[range].iter().any(|&sample| sample != 0);
        assert!(loud(10_000..15_000) && purity(&heard.near[16_800..23_200], 440.0) > 0.99);
        assert!(heard.far.iter().all(|&sample| sample == 0), "nobody spoke there");
    }

    #[test]
    fn a_keyed_digit_is_no_loss_and_not_made_up_of_the_voice_before() {
        let mut near = Talker::new(Party::Near);
        near.talk(50);
        let timestamp = near.timestamp;
        for _ in 0..8 {
            near.send(&EVENT, vec![5, 10, 0, 160]).silence(160);
            near.packets.last_mut().expect("just sent").timestamp = timestamp;
        }
        near.talk(50);
        let heard = listen(&near.packets, 2_000, |_, _| {});
        assert!(heard.near[8_000..9_280].iter().all(|&sample| sample == 0));
        assert!(purity(&heard.near[9_300..16_000], 440.0) > 0.98);
    }

    #[test]
    fn a_stall_that_ends_joins_the_run_again_and_leaves_no_latency() {
        let mut near = Talker::new(Party::Near);
        near.talk(500);
        // 600 ms are held back and come at once.
        for packet in near.packets.iter_mut().skip(200).take(30) {
            packet.at = at_ms(4_600).as_nanos();
        }
        let heard = listen(&near.packets, 9_900, |_, _| {});
        let played = play(near.packets, Bounds::default());
        assert_eq!(&heard.near[48_000..72_000], &played.near[48_000..72_000]);
    }

    #[test]
    fn what_an_outside_program_would_decode_is_silent_and_told_once() {
        let mut near = Talker::new(Party::Near);
        for _ in 0..100 {
            near.send(&G729, vec![1; 20]).silence(160);
        }
        let mut told = Vec::new();
        let heard = listen(&near.packets, 2_000, |live, _| told.extend(live.poll_silent()));
        assert_eq!(told, [(Party::Near, Codec::from_name("G729"))]);
        assert!(heard.near.iter().all(|&sample| sample == 0));
        assert_eq!((rate_of(&G729), rate_of(&PCMU)), (None, Some(8_000)));
    }

    #[test]
    fn a_listener_far_behind_goes_on_near_the_end() {
        let mut live = Live::new(at_ms(0), 16_000, at_ms(0));
        live.handle_time(at_ms(100_000));
        let first = live.poll_frame().expect("a frame").start;
        assert_eq!(first, (100_000 - REORDER_MS - BEHIND_KEPT_MS) as u64 / 20 * 320);
        let mut left = 0;
        while live.poll_frame().is_some() {
            left += 1;
        }
        assert_eq!(left, 4);
    }

    #[test]
    fn another_source_takes_over_and_both_are_heard_while_both_speak() {
        let mut near = Talker::new(Party::Near);
        near.talk(100);
        let mut other = Talker::new(Party::Near);
        (other.ssrc, other.tone_hz, other.timestamp, other.sequence) = (77, 900.0, 5, 9);
        other.freeze_ms(1_500.0).talk(150);
        let mut packets = near.packets;
        packets.extend(other.packets);
        let heard = listen(&packets, 4_400, |_, _| {});
        assert!(purity(&heard.near[..11_200], 440.0) > 0.99);
        assert!((0.3..0.7).contains(&purity(&heard.near[12_800..15_200], 440.0)));
        assert!(purity(&heard.near[17_600..34_400], 900.0) > 0.99);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn packets_of_any_kind_at_any_time_give_whole_frames_in_bounded_memory(
            packets in prop::collection::vec(
                (any::<bool>(), -400_000_000_i64..2_000_000_000, 0_u32..5, any::<u16>(), any::<u32>(), 0_usize..4, 0_usize..400),
                0..400,
            ),
        ) {
            let mut live = Live::new(at_ms(0), 8_000, at_ms(0));
            let mut now = T0;
            let mut next = None;
            for (far, step, ssrc, sequence, timestamp, format, length) in packets {
                now += step;
                let party = if far { Party::Far } else { Party::Near };
                let format = [&*PCMU, &*NOISE, &*EVENT, &*G729][format];
                let packet = Packet { party, at: now, ssrc, sequence, timestamp, format, payload: vec![7; length] };
                live.handle_frame(party, &packet.frame());
                live.handle_time(Timestamp::from_nanos(now - 100_000_000));
                while let Some(block) = live.poll_frame() {
                    prop_assert!(next.is_none_or(|next| block.start >= next) && block.start.is_multiple_of(160));
                    prop_assert_eq!((block.near.len(), block.far.len()), (160, 160));
                    next = Some(block.start + 160);
                }
                for lane in [&live.near, &live.far] {
                    prop_assert!(lane.voices.len() <= RUNS_MAX && lane.waiting() < WAITING_MAX + 400);
                }
            }
        }
    }
}
