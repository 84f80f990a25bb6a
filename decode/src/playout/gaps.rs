//! Stretches without sound: found packet by packet, settled when the clocks are known.
//!
//! Owns the list of holes that one party's sources left in their own timestamps (with a bound), their healing by late
//! packets, and the sum at the end: what no run covers, what hold and pause explain.

use super::timeline::{Gap, GapKind, Stretch, locate};
use crate::media::Party;
use crate::time::{NS_PER_MS, Timestamp};

/// Holes kept per party; more are counted only.
const GAPS_MAX: usize = 20_000;
/// How many of the last holes a late packet may heal.
const HEAL_MAX: usize = 64;
/// Shorter gaps are rounding, in nanoseconds.
const GAP_MIN_NS: i64 = 2 * NS_PER_MS;

/// A hole between two packets of one run, in its ticks; or packets in it that cannot be decoded.
#[derive(Clone, Copy, Debug)]
struct Hole {
    ssrc: u32,
    /// Arrival of the packet behind it, which finds its run again.
    at: Timestamp,
    start: i64,
    end: i64,
    kind: GapKind,
}

/// The holes of one party.
#[derive(Clone, Debug, Default)]
pub(super) struct Holes {
    holes: Vec<Hole>,
    left_out: u64,
}

impl Holes {
    /// Notes a hole in front of a packet that arrived at `at`; a stretch that goes on from the last is made longer.
    pub(super) fn note(&mut self, ssrc: u32, at: Timestamp, ticks: std::ops::Range<i64>, kind: GapKind) {
        if ticks.start >= ticks.end {
            return;
        }
        let recent = self.holes.iter_mut().rev().take(2);
        for hole in recent {
            let goes_on = (hole.start..=hole.end).contains(&ticks.start);
            if hole.kind == kind && hole.ssrc == ssrc && goes_on {
                (hole.end, hole.at) = (ticks.end.max(hole.end), at);
                return;
            }
        }
        if self.holes.len() >= GAPS_MAX {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        self.holes.push(Hole { ssrc, at, start: ticks.start, end: ticks.end, kind });
    }

    /// Takes what a late packet brought out of the holes that it falls into.
    pub(super) fn heal(&mut self, ssrc: u32, ticks: std::ops::Range<i64>) {
        let from = self.holes.len().saturating_sub(HEAL_MAX);
        let mut rest = None;
        for hole in self.holes.iter_mut().skip(from) {
            let outside = hole.end <= ticks.start || ticks.end <= hole.start;
            if hole.ssrc != ssrc || outside || hole.kind == GapKind::NotDecodable {
                continue;
            }
            let behind = Hole { start: ticks.end.max(hole.start), ..*hole };
            hole.end = ticks.start.max(hole.start);
            if behind.start < behind.end {
                rest = Some(behind);
            }
        }
        if let Some(hole) = rest {
            self.note(hole.ssrc, hole.at, hole.start..hole.end, hole.kind);
        }
    }

    /// All gaps of the party on the timeline, in nanoseconds from its start; `length` is the timeline's.
    pub(super) fn settle(self, lane: &[Stretch], start: Timestamp, length: i64) -> (Vec<Span>, u64) {
        let mut gaps = uncovered(lane, start, length);
        let mut hint = 0;
        for hole in self.holes.iter().filter(|hole| hole.start < hole.end) {
            // The truncation is the RTP timestamp again; the hole's end is the first tick of the packet behind it.
            let Some((index, end)) = locate(lane, hint, hole.at, hole.ssrc, hole.end as u32) else {
                continue;
            };
            let Some(stretch) = lane.get(index) else { continue };
            hint = index;
            let begin = end.saturating_sub(hole.end.saturating_sub(hole.start));
            if !stretch.holds(begin) {
                // A run begins behind it: that lies between runs, and is counted as uncovered.
                continue;
            }
            let gap = Span {
                start: stretch.at(begin).nanos_since(start),
                end: stretch.at(end).nanos_since(start),
                kind: hole.kind,
            };
            if let Some(gap) = gap.within(0, length)
                && !covered_by_another(lane, index, start, &gap)
            {
                gaps.push(gap);
            }
        }
        (gaps, self.left_out)
    }
}

/// A gap in nanoseconds from the timeline's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) kind: GapKind,
}

impl Span {
    fn within(self, start: i64, end: i64) -> Option<Span> {
        let cut = Span { start: self.start.max(start), end: self.end.min(end), ..self };
        (cut.end.saturating_sub(cut.start) >= GAP_MIN_NS).then_some(cut)
    }
}

/// Where no run of the party lies.
fn uncovered(lane: &[Stretch], start: Timestamp, length: i64) -> Vec<Span> {
    let mut spans: Vec<_> = lane
        .iter()
        .map(Stretch::span)
        .map(|(from, to)| (from.nanos_since(start), to.nanos_since(start)))
        .collect();
    spans.sort_unstable();
    spans.push((length, length));
    let (mut gaps, mut reached) = (Vec::new(), 0);
    for (from, to) in spans {
        let gap = Span { start: reached, end: from, kind: GapKind::Silence };
        gaps.extend(gap.within(0, length));
        reached = reached.max(to);
    }
    gaps
}

/// Does another source of the party speak all through the gap?
fn covered_by_another(lane: &[Stretch], own: usize, start: Timestamp, gap: &Span) -> bool {
    lane.iter().enumerate().any(|(index, stretch)| {
        let (from, to) = stretch.span();
        index != own && from.nanos_since(start) <= gap.start && gap.end <= to.nanos_since(start)
    })
}

/// Takes `cuts` (ascending) out of `gaps`; what lies inside a cut and is silence becomes `inside`, or goes.
pub(super) fn explain(gaps: Vec<Span>, cuts: &[(i64, i64)], inside: Option<GapKind>) -> Vec<Span> {
    let mut out = Vec::with_capacity(gaps.len());
    for gap in gaps {
        let mut rest = gap;
        let keep = inside.is_some() && gap.kind != GapKind::Silence;
        for &(from, to) in cuts {
            if keep || to <= rest.start || rest.end <= from {
                continue;
            }
            out.extend(rest.within(rest.start, from));
            out.extend(inside.and_then(|kind| Span { kind, ..rest }.within(from, to)));
            rest.start = to.max(rest.start);
        }
        out.extend(rest.within(rest.start, rest.end));
    }
    out
}

/// The gap as the timeline lists it; none when it is shorter than a millisecond's rounding leaves.
pub(super) fn listed(party: Party, span: &Span) -> Option<Gap> {
    let ms = |ns: i64| Timestamp::from_nanos(ns).millis_since(Timestamp::from_nanos(0));
    let (start_ms, end_ms) = (ms(span.start), ms(span.end));
    (start_ms < end_ms).then_some(Gap { party, start_ms, end_ms, kind: span.kind })
}
