//! First pass over a recording: reads every packet once, plays none, and measures the timeline.
//!
//! Owns the bookkeeping of two parties: which sources spoke, what their sequence numbers say is missing, where their
//! timestamps leave holes and why. The clocks are [`super::MediaClock`]'s. Memory does not grow with the packets, only
//! with what there is to tell (runs, gaps, seconds), each with a limit.

use std::collections::BTreeMap;
use std::ops::Range;

use super::clock::{CLOCK_RATE_DEFAULT, MediaClock, Run};
use super::completeness::{Rows, second_of};
use super::gaps::{self, Holes, Span};
use super::timeline::{GapKind, Stretch, TIMELINE_MAX_S, Timeline, TrackFacts, mark_changes, ns_to_samples};
use crate::codec::{self, external::Abilities};
use crate::media::{AudioFrame, Codec, Format, Party};
use crate::rtp::stream::{Arrival, Stream};
use crate::time::{NS_PER_S, Timestamp};

/// Sources followed per party; the one silent for longest gives way to the next.
pub const SOURCES_MAX: usize = 32;
/// Sources listed in the facts of a party.
pub const SSRCS_LISTED_MAX: usize = 64;
/// Hold and pause marks kept; more are ignored.
pub const MARKS_MAX: usize = 1_000;
/// Lowest sample rate of a timeline, in Hz: telephone quality.
const RATE_MIN: u32 = 8_000;
/// Longest packet whose length is learnt from the timestamps of its neighbours, in milliseconds.
const LEARNT_MS_MAX: i64 = 120;

/// Where the timeline is to begin and end, when the recording's facts say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// First sample; that of the audio when not given.
    pub start: Option<Timestamp>,
    /// After the last sample; that of the audio when not given.
    pub end: Option<Timestamp>,
}

/// Measures a recording.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    near: Track,
    far: Track,
    rate: u32,
    abilities: Abilities,
    first_second: Option<i64>,
    holds: Marks,
    pauses: Marks,
    drops: BTreeMap<i64, u64>,
}

impl Survey {
    /// A survey of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An outside program decodes these codings. To be said before the first packet of one of them.
    pub fn handle_abilities(&mut self, abilities: Abilities) {
        self.abilities = abilities;
    }

    /// Takes one packet; packets come in the order in which they were recorded.
    pub fn handle_frame(&mut self, party: Party, frame: &AudioFrame<'_>) {
        let first_second = *self.first_second.get_or_insert(second_of(frame.at));
        let track = match party {
            Party::Near => &mut self.near,
            Party::Far => &mut self.far,
        };
        self.rate = self.rate.max(track.handle_frame(first_second, self.abilities, frame));
    }

    /// `by` put the call on hold.
    pub fn handle_hold(&mut self, at: Timestamp, by: Party) {
        self.holds.open(at, by.index());
    }

    /// `by` took the call back.
    pub fn handle_retrieve(&mut self, at: Timestamp, by: Party) {
        self.holds.close(at, by.index());
    }

    /// The recording was paused.
    pub fn handle_pause(&mut self, at: Timestamp) {
        self.pauses.open(at, 0);
    }

    /// The recording was resumed.
    pub fn handle_resume(&mut self, at: Timestamp) {
        self.pauses.close(at, 0);
    }

    /// The capture dropped frames around `at`: what is missing in that second is our loss, not the network's.
    pub fn handle_drops(&mut self, at: Timestamp, frames: u64) {
        let seconds = self.drops.len();
        if frames > 0 && seconds < super::completeness::SECONDS_MAX {
            *self.drops.entry(second_of(at)).or_default() += frames;
        }
    }

    /// The timeline. With both bounds given it is exactly as long as they say, whatever the audio does.
    #[must_use]
    pub fn finish(self, bounds: Bounds) -> Timeline {
        let (start, samples) = self.extent(bounds);
        let rate = self.rate.max(RATE_MIN);
        let length = length_ns(samples, rate);
        let end = start.plus_nanos(length);
        let (pauses, holds) = (self.pauses.spans(start, end), self.holds.spans(start, end));
        let seconds_start = Timestamp::from_parts(self.first_second.unwrap_or_else(|| second_of(start)), 0);

        let mut gaps_left_out = 0_u64;
        let mut listed = Vec::new();
        let mut finish_track = |party, track: Track| {
            let lane = track.lane(start, rate);
            let (facts, holes) = track.facts(party, &self.drops);
            let (gaps, left_out) = holes.settle(&lane, start, length);
            let gaps = gaps::explain(gaps, &holds, Some(GapKind::Hold));
            let mut gaps = gaps::explain(gaps, &pauses, None);
            gaps.extend(pauses.iter().map(|&(start, end)| Span { start, end, kind: GapKind::Pause }));
            listed.extend(gaps.iter().filter_map(|span| gaps::listed(party, span)));
            gaps_left_out = gaps_left_out.saturating_add(left_out);
            (facts, lane)
        };
        let (near, near_lane) = finish_track(Party::Near, self.near);
        let (far, far_lane) = finish_track(Party::Far, self.far);
        listed.sort_unstable_by_key(|gap| (gap.start_ms, gap.party, gap.end_ms));
        let to_sample = |ns| u64::try_from(ns_to_samples(ns, rate)).unwrap_or(0);
        Timeline {
            start,
            rate,
            samples,
            tracks: [near, far],
            gaps: listed,
            gaps_left_out,
            seconds_start,
            lanes: [near_lane, far_lane],
            pauses: pauses.iter().map(|&(from, to)| to_sample(from)..to_sample(to)).collect(),
        }
    }

    /// Start and length in samples.
    fn extent(&self, bounds: Bounds) -> (Timestamp, u64) {
        let marks = || self.pauses.moments().chain(self.holds.moments());
        let starts = [self.near.clock.start(), self.far.clock.start()];
        let ends = [self.near.clock.end(), self.far.clock.end()];
        let start = bounds.start.or_else(|| starts.into_iter().flatten().chain(marks()).min());
        let start = start.or(bounds.end).unwrap_or_default();
        let end = bounds.end.or_else(|| ends.into_iter().flatten().chain(marks()).max()).unwrap_or(start);
        let ns = end.nanos_since(start).clamp(0, TIMELINE_MAX_S * NS_PER_S);
        let samples = ns_to_samples(ns, self.rate.max(RATE_MIN));
        (start, u64::try_from(samples).unwrap_or(0))
    }
}

/// The RTP clock of a format, as [`MediaClock`] takes it.
fn clock_rate(format: &Format) -> u32 {
    if format.clock_rate == 0 { CLOCK_RATE_DEFAULT } else { format.clock_rate }
}

/// The length of so many samples, in nanoseconds.
fn length_ns(samples: u64, rate: u32) -> i64 {
    let ns = u128::from(samples) * NS_PER_S.unsigned_abs() as u128 / u128::from(rate.max(1));
    i64::try_from(ns).unwrap_or(i64::MAX)
}

/// Stretches between two kinds of marks, for up to two parties; they end with the recording when nothing ends them.
#[derive(Clone, Debug, Default)]
struct Marks {
    open: [Option<Timestamp>; 2],
    closed: Vec<(Timestamp, Timestamp)>,
}

impl Marks {
    fn open(&mut self, at: Timestamp, who: usize) {
        if let Some(open) = self.open.get_mut(who) {
            open.get_or_insert(at);
        }
    }

    fn close(&mut self, at: Timestamp, who: usize) {
        let Some(from) = self.open.get_mut(who).and_then(Option::take) else { return };
        if self.closed.len() < MARKS_MAX {
            self.closed.push((from, at));
        }
    }

    fn moments(&self) -> impl Iterator<Item = Timestamp> {
        let closed = self.closed.iter().flat_map(|&(from, to)| [from, to]);
        closed.chain(self.open.iter().copied().flatten())
    }

    /// The stretches as nanoseconds from `start`: ascending, joined where they overlap, cut to the timeline.
    fn spans(&self, start: Timestamp, end: Timestamp) -> Vec<(i64, i64)> {
        let open = self.open.iter().flatten().map(|&from| (from, end));
        let mut all: Vec<_> = self
            .closed
            .iter()
            .copied()
            .chain(open)
            .map(|(from, to)| (from.max(start).nanos_since(start), to.min(end).nanos_since(start)))
            .filter(|(from, to)| from < to)
            .collect();
        all.sort_unstable();
        let mut joined: Vec<(i64, i64)> = Vec::with_capacity(all.len());
        for (from, to) in all {
            match joined.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => joined.push((from, to)),
            }
        }
        joined
    }
}

/// One party.
#[derive(Clone, Debug, Default)]
struct Track {
    clock: MediaClock,
    sources: Vec<Source>,
    holes: Holes,
    rows: Rows,
    ssrcs: Vec<u32>,
    /// Sample rates of the formats seen; 0 for one that cannot be decoded.
    formats: Vec<(Format, u32)>,
    /// Counts of sources that gave way to others.
    past: Counts,
    undecodable: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    received: u64,
    lost: u64,
    duplicates: u64,
    reordered: u64,
}

impl Counts {
    fn add(&mut self, stream: &Stream) {
        self.received = self.received.saturating_add(stream.received());
        self.lost = self.lost.saturating_add(stream.lost());
        self.duplicates = self.duplicates.saturating_add(stream.duplicates());
        self.reordered = self.reordered.saturating_add(stream.reordered());
    }
}

/// One synchronization source of a party.
#[derive(Clone, Debug)]
struct Source {
    ssrc: u32,
    stream: Stream,
    /// Tick after the newest packet, none before the first one.
    next_ticks: Option<i64>,
    /// Length of the newest packet of known length, in ticks.
    duration: u32,
    /// Sequence number of the packet in hand.
    sequence: u16,
    /// Tick and sequence number of the newest packet with audio.
    newest: Option<(i64, u16)>,
    /// Sequence numbers missing since the newest packet with audio.
    missing: u32,
    last_at: Timestamp,
}

impl Track {
    /// Takes one packet; gives the sample rate that its sound needs (0 when it has none).
    fn handle_frame(&mut self, first_second: i64, abilities: Abilities, frame: &AudioFrame<'_>) -> u32 {
        let rate = self.decodable_rate(frame.format, abilities);
        let spoken = !matches!(frame.format.codec, Codec::TelephoneEvent | Codec::ComfortNoise);
        let undecodable = spoken && rate == 0;
        let Some(index) = self.source_index(frame) else { return rate };
        let Some(source) = self.sources.get_mut(index) else { return rate };
        let arrival = source.stream.push(frame.sequence);
        (source.last_at, source.sequence) = (frame.at, frame.sequence);
        self.rows.count(first_second, frame.at, arrival, undecodable);
        let Arrival::New { missing, late } = arrival else { return rate };
        self.undecodable = self.undecodable.saturating_add(u64::from(undecodable));
        source.missing = source.missing.saturating_add(missing);
        if frame.format.codec == Codec::TelephoneEvent {
            return rate;
        }
        let rtp_rate = clock_rate(frame.format);
        let known = codec::packet_ticks(frame.format, frame.payload).map(|ticks| ticks.min(rtp_rate));
        let duration = known.unwrap_or(source.duration);
        let ticks = self.clock.push(frame.at, frame.ssrc, frame.timestamp, rtp_rate, duration).ticks;
        let end = ticks.saturating_add(i64::from(duration));
        source.note_holes(&mut self.holes, frame, ticks..end, late);
        source.learn_duration(known, ticks, rtp_rate, late);
        if undecodable {
            self.holes.note(frame.ssrc, frame.at, ticks..end, GapKind::NotDecodable);
        }
        rate
    }

    /// The sample rate of a format's decoder; 0 when there is none. Asked once per format.
    fn decodable_rate(&mut self, format: &Format, abilities: Abilities) -> u32 {
        if let Some(&(_, rate)) = self.formats.iter().find(|(known, _)| known == format) {
            return rate;
        }
        let rate = codec::sample_rate(format, abilities).unwrap_or(0);
        if self.formats.len() < SOURCES_MAX {
            self.formats.push((format.clone(), rate));
        }
        rate
    }

    fn source_index(&mut self, frame: &AudioFrame<'_>) -> Option<usize> {
        if let Some(index) = self.sources.iter().position(|source| source.ssrc == frame.ssrc) {
            return Some(index);
        }
        if self.sources.len() >= SOURCES_MAX {
            let (index, oldest) = self.sources.iter().enumerate().min_by_key(|(_, s)| s.last_at)?;
            self.past.add(&oldest.stream);
            self.sources.remove(index);
        }
        if self.ssrcs.len() < SSRCS_LISTED_MAX && !self.ssrcs.contains(&frame.ssrc) {
            self.ssrcs.push(frame.ssrc);
        }
        self.sources.push(Source {
            ssrc: frame.ssrc,
            stream: Stream::new(frame.sequence),
            next_ticks: None,
            duration: clock_rate(frame.format) / 50,
            sequence: frame.sequence,
            newest: None,
            missing: 0,
            last_at: frame.at,
        });
        Some(self.sources.len() - 1)
    }

    /// The runs that count, laid on the timeline.
    fn lane(&self, start: Timestamp, rate: u32) -> Vec<Stretch> {
        let mut runs: Vec<&Run> = self.clock.counted().collect();
        runs.sort_by_key(|run| run.map().at(run.first_ticks));
        let mut lane: Vec<_> = runs.into_iter().map(|run| Stretch::new(run, start, rate)).collect();
        mark_changes(&mut lane);
        lane
    }

    fn facts(self, party: Party, drops: &BTreeMap<i64, u64>) -> (TrackFacts, Holes) {
        let mut counts = self.past;
        self.sources.iter().for_each(|source| counts.add(&source.stream));
        let unconfirmed = self.clock.runs().len() - self.clock.counted().count();
        let facts = TrackFacts {
            party,
            ssrcs: self.ssrcs,
            audio_ms: self.clock.audio_ms(),
            skew_ppm: self.clock.skew_ppm(),
            residual_ms: self.clock.residual_ms(),
            expected: counts.received.saturating_add(counts.lost),
            received: counts.received,
            lost: counts.lost,
            duplicates: counts.duplicates,
            reordered: counts.reordered,
            undecodable: self.undecodable,
            strays: self.clock.strays().saturating_add(unconfirmed as u64),
            seconds: self.rows.finish(drops),
        };
        (facts, self.holes)
    }
}

impl Source {
    /// Holds a packet's place against the newest one's: a hole in front of it is loss as far as sequence numbers are
    /// missing, and silence beyond; a packet that comes late fills the hole that it left.
    fn note_holes(&mut self, holes: &mut Holes, frame: &AudioFrame<'_>, ticks: Range<i64>, late: bool) {
        let missing = if late { self.missing } else { std::mem::take(&mut self.missing) };
        let Some(next) = self.next_ticks else {
            self.next_ticks = Some(ticks.end);
            return;
        };
        let hole = ticks.start.saturating_sub(next);
        if hole < -2 * i64::from(clock_rate(frame.format)) {
            // The timestamps restarted: what lies between is no hole of one axis.
            self.next_ticks = Some(ticks.end);
        } else if late || hole < 0 {
            holes.heal(frame.ssrc, ticks.clone());
            self.next_ticks = Some(next.max(ticks.end));
        } else {
            let lost = i64::from(missing).saturating_mul(i64::from(self.duration.max(1))).min(hole);
            let silent_from = next.saturating_add(lost);
            holes.note(frame.ssrc, frame.at, next..silent_from, GapKind::Loss);
            holes.note(frame.ssrc, frame.at, silent_from..ticks.start, GapKind::Silence);
            self.next_ticks = Some(ticks.end);
        }
    }

    /// Keeps the length of the newest packet. Where the payload does not tell it (`known` is none), the distance of
    /// two packets in sequence does.
    fn learn_duration(&mut self, known: Option<u32>, ticks: i64, clock_rate: u32, late: bool) {
        if late {
            return;
        }
        let distance = self.newest.map_or(0, |(newest, _)| ticks.saturating_sub(newest));
        let in_sequence = self.newest.is_some_and(|(_, sequence)| sequence.wrapping_add(1) == self.sequence);
        let believed = 1..=i64::from(clock_rate).saturating_mul(LEARNT_MS_MAX) / 1000;
        match known {
            Some(0) => {}
            Some(ticks) => self.duration = ticks,
            None if in_sequence && believed.contains(&distance) => {
                self.duration = u32::try_from(distance).unwrap_or(self.duration);
            }
            None => {}
        }
        self.newest = Some((ticks, self.sequence));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playout::Gap;
    use crate::playout::scene::{G729, NOISE, Packet, T0, Talker, play, play_with};

    fn at_ms(ms: i64) -> Timestamp {
        Timestamp::from_nanos(T0).plus_millis(ms)
    }

    /// Gaps of the near party as (start, end, kind).
    fn near_gaps(timeline: &Timeline) -> Vec<(u64, u64, GapKind)> {
        let near = |gap: &&Gap| gap.party == Party::Near;
        timeline.gaps.iter().filter(near).map(|gap| (gap.start_ms, gap.end_ms, gap.kind)).collect()
    }

    fn talker() -> Talker {
        Talker::new(Party::Near)
    }

    fn without(packets: &[Packet], lost: Range<usize>) -> Vec<Packet> {
        let kept = packets.iter().enumerate().filter(|(i, _)| !lost.contains(i));
        kept.map(|(_, packet)| packet.clone()).collect()
    }

    #[test]
    fn the_timeline_is_as_long_as_the_audio_or_exactly_as_the_bounds_say() {
        let mut near = talker();
        near.talk(500);
        let timeline = play(near.packets.clone(), Bounds::default()).timeline;
        assert_eq!((timeline.start, timeline.samples, timeline.duration_ms()), (at_ms(0), 80_000, 10_000));
        assert_eq!(timeline.end(), at_ms(10_000));
        let bounds = Bounds { start: Some(at_ms(-1_500)), end: Some(at_ms(12_345)) };
        let timeline = play(near.packets, bounds).timeline;
        assert_eq!((timeline.start, timeline.duration_ms()), (at_ms(-1_500), 13_845));
        let silence = GapKind::Silence;
        assert_eq!(near_gaps(&timeline), [(0, 1_500, silence), (11_500, 13_845, silence)]);
        let facts = timeline.track(Party::Near);
        assert_eq!((facts.audio_ms, facts.received, facts.lost), (10_000, 500, 0));
    }

    #[test]
    fn missing_packets_are_loss_and_suppressed_ones_are_silence() {
        let mut near = talker();
        near.talk(100).silence(16_000).talk(100);
        let packets = without(&near.packets, 20..25);
        let timeline = play(packets, Bounds::default()).timeline;
        assert_eq!(near_gaps(&timeline), [(400, 500, GapKind::Loss), (2_000, 4_000, GapKind::Silence)]);
        let facts = timeline.track(Party::Near);
        assert_eq!((facts.expected, facts.received, facts.lost), (200, 195, 5));
        let row = facts.seconds.first().copied().expect("a row");
        assert_eq!((row.expected, row.received, row.lost_network), (50, 45, 5));
    }

    #[test]
    fn a_late_packet_leaves_no_gap_and_no_loss() {
        let mut near = talker();
        near.talk(100);
        for late in [30, 31, 60] {
            near.packets[late].at += 150_000_000;
        }
        let timeline = play(near.packets, Bounds::default()).timeline;
        assert_eq!(near_gaps(&timeline), []);
        let facts = timeline.track(Party::Near);
        assert_eq!((facts.lost, facts.reordered, facts.audio_ms), (0, 3, 2_000));
        assert_eq!(facts.seconds.iter().map(|row| row.lost_network).sum::<u32>(), 0);
    }

    #[test]
    fn the_silence_of_a_hold_is_called_hold() {
        let mut near = talker();
        near.talk(100).freeze_ms(60_000.0).talk(100);
        let mut survey = Survey::new();
        survey.handle_hold(at_ms(3_000), Party::Far);
        survey.handle_retrieve(at_ms(61_000), Party::Far);
        let timeline = play_with(near.packets, survey, Bounds::default()).timeline;
        assert_eq!(timeline.duration_ms(), 64_000);
        let expected = [
            (2_000, 3_000, GapKind::Silence),
            (3_000, 61_000, GapKind::Hold),
            (61_000, 62_000, GapKind::Silence),
        ];
        assert_eq!(near_gaps(&timeline), expected);
    }

    #[test]
    fn a_pause_is_listed_for_both_parties_and_hides_other_gaps() {
        let mut near = talker();
        near.talk(100).silence(40_000).talk(50);
        let mut survey = Survey::new();
        survey.handle_pause(at_ms(1_000));
        survey.handle_resume(at_ms(5_000));
        survey.handle_pause(at_ms(7_500));
        let timeline = play_with(near.packets, survey, Bounds::default()).timeline;
        let pauses = |party| {
            let gaps = timeline.gaps.iter().filter(|gap| gap.party == party && gap.kind == GapKind::Pause);
            gaps.map(|gap| (gap.start_ms, gap.end_ms)).collect::<Vec<_>>()
        };
        assert_eq!(pauses(Party::Near), [(1_000, 5_000), (7_500, 8_000)]);
        assert_eq!(pauses(Party::Far), pauses(Party::Near));
        assert!(near_gaps(&timeline).contains(&(5_000, 7_000, GapKind::Silence)));
    }

    #[test]
    fn an_encoding_without_a_decoder_is_a_gap_with_that_name() {
        let mut near = talker();
        near.talk(50);
        for _ in 0..100 {
            near.send(&G729, vec![1; 20]).silence(160);
        }
        near.talk(50);
        let timeline = play(near.packets, Bounds::default()).timeline;
        assert_eq!(near_gaps(&timeline), [(1_000, 3_000, GapKind::NotDecodable)]);
        assert_eq!((timeline.track(Party::Near).undecodable, timeline.duration_ms()), (100, 4_000));
    }

    #[test]
    fn a_restart_of_the_timestamp_makes_no_gap() {
        for leap in [3_000_000_000, 900_000_000] {
            let mut near = talker();
            near.talk(100);
            near.timestamp = near.timestamp.wrapping_add(leap);
            near.talk(100);
            let timeline = play(near.packets, Bounds::default()).timeline;
            assert_eq!((near_gaps(&timeline), timeline.duration_ms()), (Vec::new(), 4_000), "{leap}");
        }
    }

    #[test]
    fn comfort_noise_alone_is_a_track_of_its_own_length() {
        let mut near = talker();
        for _ in 0..40 {
            near.send(&NOISE, vec![60]).silence(1_600);
        }
        let timeline = play(near.packets, Bounds::default()).timeline;
        assert_eq!(timeline.track(Party::Near).audio_ms, 7_800);
        assert_eq!(timeline.track(Party::Far).expected, 0);
    }

    #[test]
    fn nothing_at_all_has_no_length() {
        let timeline = Survey::new().finish(Bounds::default());
        assert_eq!((timeline.samples, timeline.gaps.len()), (0, 0));
        let bounds = Bounds { start: Some(at_ms(0)), end: Some(at_ms(-1)) };
        assert_eq!(Survey::new().finish(bounds).samples, 0);
        let bounds = Bounds { start: Some(Timestamp::MIN), end: Some(Timestamp::from_nanos(i64::MAX)) };
        assert_eq!(Survey::new().finish(bounds).samples, (TIMELINE_MAX_S * 8_000) as u64);
    }

    #[test]
    fn drops_of_ours_are_not_laid_at_the_networks_door() {
        let mut near = talker();
        near.talk(100);
        let packets = without(&near.packets, 60..63);
        let mut survey = Survey::new();
        survey.handle_drops(at_ms(1_300), 17);
        let timeline = play_with(packets, survey, Bounds::default()).timeline;
        let lost: Vec<_> = timeline
            .track(Party::Near)
            .seconds
            .iter()
            .map(|row| (row.lost_network, row.lost_capture))
            .collect();
        assert_eq!(lost, [(0, 0), (0, 3)]);
    }
}
