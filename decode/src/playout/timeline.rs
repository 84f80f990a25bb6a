//! The timeline of a recording: what [`super::Survey`] measured and [`super::Renderer`] plays by.
//!
//! Owns where each run of packets lies in samples, and how a packet read a second time finds its run again: by its own
//! capture time and timestamp against the finished clock maps, without replaying what led to them.

use super::clock::{ClockMap, Run, unwrap_near};
use super::completeness::Second;
use crate::media::Party;
use crate::time::{NS_PER_MS, NS_PER_S, Timestamp};

/// Longest timeline, in seconds (8 days); what a damaged capture clock says beyond is cut off.
pub const TIMELINE_MAX_S: i64 = 8 * 86_400;
/// How long after its place on the timeline a packet may arrive and still be played, in milliseconds. More than the
/// 8.2 s for which the packets of one telephone event carry the same timestamp (RFC 4733, 2.3.5).
pub const LATE_MAX_MS: i64 = 10_000;
/// How long before its place on the timeline a packet may arrive, in milliseconds: jitter of the map itself.
pub(super) const EARLY_MAX_MS: i64 = 200;
/// A packet this near its place in the run of the packet before needs no second opinion, in milliseconds.
const NEAR_MS: i64 = super::clock::STEP_MS / 2;
/// Runs of one party this close to each other change over with a fade, in milliseconds.
const CHANGE_MS: i64 = 20;

/// Why there is no sound of a party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapKind {
    /// Packets are missing by sequence number.
    Loss,
    /// The party sent nothing, and nothing is missing: suppressed silence, digits, no media yet or any more.
    Silence,
    /// As `Silence`, while the call was on hold.
    Hold,
    /// The recording was paused; both parties are silent.
    Pause,
    /// Audio was received and kept in an encoding that cannot be decoded here.
    NotDecodable,
}

/// A stretch of the timeline without sound of one party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Gap {
    /// Whose voice is missing.
    pub party: Party,
    /// Where it begins, in milliseconds from the start of the timeline.
    pub start_ms: u64,
    /// Where it ends; after `start_ms`.
    pub end_ms: u64,
    /// Why.
    pub kind: GapKind,
}

/// What was measured of one party.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackFacts {
    /// Whose voice it is.
    pub party: Party,
    /// Synchronization sources, in order of appearance; the first few.
    pub ssrcs: Vec<u32>,
    /// Audio time by RTP timestamps, in milliseconds; see [`super::MediaClock::audio_ms`].
    pub audio_ms: u64,
    /// How much faster the sender's clock ran than the capture clock, in parts per million.
    pub skew_ppm: f64,
    /// How far the delay minima lie off the clock map, root mean square, in milliseconds: the bound of the alignment.
    pub residual_ms: f64,
    /// Packets that were sent, by sequence number.
    pub expected: u64,
    /// Packets received, copies not counted.
    pub received: u64,
    /// Packets that never came, whoever lost them.
    pub lost: u64,
    /// Copies.
    pub duplicates: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Packets in an encoding that cannot be decoded here.
    pub undecodable: u64,
    /// Packets whose timestamp fits nothing around them; they are kept but not played.
    pub strays: u64,
    /// One row per second of capture time from [`Timeline::seconds_start`] on.
    pub seconds: Vec<Second>,
}

/// The measured timeline of one recording.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// Capture time of its first sample.
    pub start: Timestamp,
    /// Samples per second of both channels.
    pub rate: u32,
    /// Its length in samples, exactly what the renderer will give.
    pub samples: u64,
    /// Near, far.
    pub tracks: [TrackFacts; 2],
    /// Stretches without sound, by start, then party.
    pub gaps: Vec<Gap>,
    /// Gaps that were not listed because there were too many.
    pub gaps_left_out: u64,
    /// The whole second in which the first completeness row begins.
    pub seconds_start: Timestamp,
    pub(super) lanes: [Vec<Stretch>; 2],
    /// Paused stretches in samples, ascending, not overlapping.
    pub(super) pauses: Vec<std::ops::Range<u64>>,
}

impl Timeline {
    /// Its length in milliseconds, to the nearest.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        let rate = u64::from(self.rate.max(1));
        (self.samples.saturating_mul(1000).saturating_add(rate / 2)) / rate
    }

    /// Capture time after its last sample.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        let rate = i128::from(self.rate.max(1));
        let ns = i128::from(self.samples) * i128::from(NS_PER_S) / rate;
        self.start.plus_nanos(i64::try_from(ns).unwrap_or(i64::MAX))
    }

    /// The facts of one party.
    #[must_use]
    pub fn track(&self, party: Party) -> &TrackFacts {
        let [near, far] = &self.tracks;
        match party {
            Party::Near => near,
            Party::Far => far,
        }
    }
}

/// Samples at `rate` in `ns`, to the nearest; negative for negative times.
pub(super) fn ns_to_samples(ns: i64, rate: u32) -> i64 {
    let scaled = i128::from(ns) * i128::from(rate) + i128::from(NS_PER_S / 2);
    i64::try_from(scaled.div_euclid(i128::from(NS_PER_S))).unwrap_or(i64::MAX)
}

/// One run, laid on the timeline.
///
/// It has two scales: *source* samples count from the run's first sample in the sender's clock (one packet follows
/// the other without a seam), *output* samples count from the timeline's start in the capture clock.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    pub(super) ssrc: u32,
    clock_rate: u32,
    first_ticks: i64,
    end_ticks: i64,
    map: ClockMap,
    rate: u32,
    /// Output position of source sample 0.
    pub(super) origin: f64,
    /// Source samples per output sample; exactly 1 when the clocks are equal, and `origin` is then whole.
    pub(super) step: f64,
    /// Its length in source samples.
    pub(super) length: i64,
    /// Another run of the party ends where this one begins.
    pub(super) fade_in: bool,
    /// Another run of the party begins where this one ends.
    pub(super) fade_out: bool,
}

impl Stretch {
    pub(super) fn new(run: &Run, start: Timestamp, rate: u32) -> Stretch {
        let map = run.map();
        let ns = map.at(run.first_ticks).nanos_since(start);
        let equal = map.skew_ppm() == 0.0;
        let exact = ns as f64 * f64::from(rate) / NS_PER_S as f64;
        let mut stretch = Stretch {
            ssrc: run.ssrc,
            clock_rate: run.clock_rate,
            first_ticks: run.first_ticks,
            end_ticks: run.end_ticks,
            map,
            rate,
            origin: if equal { ns_to_samples(ns, rate) as f64 } else { exact },
            step: if equal { 1.0 } else { 1.0 + map.skew_ppm() / 1e6 },
            length: 0,
            fade_in: false,
            fade_out: false,
        };
        stretch.length = stretch.source_sample(run.end_ticks);
        stretch
    }

    /// First and after-last output sample.
    pub(super) fn output(&self) -> std::ops::Range<i64> {
        let end = self.origin + self.length as f64 / self.step;
        self.origin.ceil() as i64..end.ceil() as i64
    }

    /// Mapped start and end.
    pub(super) fn span(&self) -> (Timestamp, Timestamp) {
        (self.map.at(self.first_ticks), self.map.at(self.end_ticks))
    }

    /// Capture time of a tick.
    pub(super) fn at(&self, ticks: i64) -> Timestamp {
        self.map.at(ticks)
    }

    /// The source sample at a tick.
    pub(super) fn source_sample(&self, ticks: i64) -> i64 {
        let ticks = i128::from(ticks.saturating_sub(self.first_ticks));
        let sample = (ticks * i128::from(self.rate)).div_euclid(i128::from(self.clock_rate.max(1)));
        i64::try_from(sample).unwrap_or(i64::MAX)
    }

    /// The unwrapped timestamp of a packet of this run that arrived at `at`; none when it is another run's.
    pub(super) fn claim(&self, at: Timestamp, ssrc: u32, timestamp: u32) -> Option<i64> {
        let ticks = self.nearest(at, ssrc, timestamp)?;
        let late = at.nanos_since(self.map.at(ticks));
        let in_time = (-EARLY_MAX_MS * NS_PER_MS..=LATE_MAX_MS * NS_PER_MS).contains(&late);
        (in_time && self.holds(ticks)).then_some(ticks)
    }

    /// Does the tick lie in the run, its end included?
    pub(super) fn holds(&self, ticks: i64) -> bool {
        (self.first_ticks..=self.end_ticks).contains(&ticks)
    }

    /// The unwrapped timestamp nearest to what arrives at `at`.
    pub(super) fn nearest(&self, at: Timestamp, ssrc: u32, timestamp: u32) -> Option<i64> {
        (self.ssrc == ssrc).then(|| unwrap_near(self.map.ticks_at(at) as i64, timestamp))
    }

    /// How far off its place a packet with `ticks` arrived, in nanoseconds.
    pub(super) fn lateness(&self, at: Timestamp, ticks: i64) -> i64 {
        at.nanos_since(self.map.at(ticks)).saturating_abs()
    }
}

/// The run of `lane` that a packet belongs to, and its unwrapped timestamp. `hint` is the run of the last packet.
pub(super) fn locate(
    lane: &[Stretch],
    hint: usize,
    at: Timestamp,
    ssrc: u32,
    timestamp: u32,
) -> Option<(usize, i64)> {
    if let Some(stretch) = lane.get(hint)
        && let Some(ticks) = stretch.claim(at, ssrc, timestamp)
        && stretch.lateness(at, ticks) < NEAR_MS * NS_PER_MS
    {
        return Some((hint, ticks));
    }
    let claims = lane.iter().enumerate().filter_map(|(index, stretch)| {
        let ticks = stretch.claim(at, ssrc, timestamp)?;
        Some((stretch.lateness(at, ticks), index, ticks))
    });
    claims.min().map(|(_, index, ticks)| (index, ticks))
}

/// Marks where one run of a party takes over from another.
pub(super) fn mark_changes(lane: &mut [Stretch]) {
    let near = CHANGE_MS * NS_PER_MS;
    let spans: Vec<_> = lane.iter().map(Stretch::span).collect();
    for (index, stretch) in lane.iter_mut().enumerate() {
        let (start, end) = stretch.span();
        for (other, &(other_start, other_end)) in spans.iter().enumerate() {
            if other == index {
                continue;
            }
            stretch.fade_in |= start.nanos_since(other_end).saturating_abs() <= near;
            stretch.fade_out |= other_start.nanos_since(end).saturating_abs() <= near;
        }
    }
}
