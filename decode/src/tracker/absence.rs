//! One-way audio: stretches of an answered call in which one party's packets are absent while the other one's come.
//!
//! Hold is no absence, and neither is silence that a sender suppresses and counts (its timestamps go on over it). A packet
//! costs one comparison here.

use super::leg::Leg;
use crate::media::Side;
use crate::time::{NS_PER_MS, Timestamp};

/// A party is absent when nothing of it comes for this long, in milliseconds. Longer than any packet waits, and than most
/// people are silent on a phone that sends no comfort noise.
pub const ABSENT_MS: i64 = 10_000;
const ABSENT_NS: i64 = ABSENT_MS * NS_PER_MS;
/// Absences listed per leg; more are left out.
const ABSENCES_MAX: usize = 100;

/// A stretch of an answered call without one party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    /// Who was absent.
    pub side: Side,
    /// Since when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
}

/// What the packet that ends a silence says about it.
#[derive(Clone, Copy)]
pub(super) struct Resumption {
    /// Sequence numbers since the packet before.
    pub(super) step: u16,
    /// Ticks since it.
    pub(super) advance: u32,
    pub(super) clock_rate: u32,
}

impl Resumption {
    /// Was the silence suppressed: nothing is missing, and the timestamps have counted it?
    fn was_suppressed(self, silent_ns: i64) -> bool {
        let counted_ms = i64::from(self.advance).saturating_mul(1_000) / i64::from(self.clock_rate.max(1));
        self.step == 1 && counted_ms.saturating_sub(silent_ns / NS_PER_MS).abs() < ABSENT_MS / 2
    }
}

/// Does a packet at `at` end a silence that [`note`] must look at, when the one before came at `before`?
#[inline]
pub(super) fn is_due(before: Option<Timestamp>, at: Timestamp) -> bool {
    before.is_none_or(|before| at.nanos_since(before) >= ABSENT_NS)
}

/// The side is heard again at `at`, for the first time since `before`, or ever.
#[inline(never)]
pub(super) fn note(leg: &mut Leg, side: Side, before: Option<Timestamp>, at: Timestamp, end: Resumption) {
    if before.is_none_or(|before| !end.was_suppressed(at.nanos_since(before))) {
        note_stretch(leg, side, before, at);
    }
}

/// The leg has ended: who is not heard at its end, or was never heard, is absent. Then time on hold is taken out of
/// all stretches, and those are given that are still long enough.
pub(super) fn settle(leg: &mut Leg, ended: Timestamp) -> Vec<Absence> {
    for side in [Side::Caller, Side::Callee] {
        note_stretch(leg, side, leg.side(side).heard_at, ended);
    }
    let mut absences = std::mem::take(&mut leg.absences);
    for &(from, to) in &leg.holds {
        absences = absences.into_iter().flat_map(|absence| outside(absence, from, to)).collect();
    }
    absences.retain(|absence| is_due(Some(absence.from), absence.to));
    absences.sort_by_key(|absence| (absence.from, absence.side));
    absences.truncate(ABSENCES_MAX);
    absences
}

/// Keeps a stretch as far as the call was answered and the other side was heard. Who has agreed to send nothing is not missed.
fn note_stretch(leg: &mut Leg, side: Side, from: Option<Timestamp>, to: Timestamp) {
    // A recorder that the PBX conferenced in may have offered to send, and only listens.
    let is_recorder = leg.facts.conferenced.is_some() && side == Side::Callee;
    if leg.side(side).sends_nothing || is_recorder {
        return;
    }
    let (Some(answered), Some(other)) = (leg.facts.answered, leg.side(side.other()).heard_at) else { return };
    let (from, to) = (from.map_or(answered, |from| from.max(answered)), to.min(other));
    if is_due(Some(from), to) && leg.absences.len() < ABSENCES_MAX {
        leg.absences.push(Absence { side, from, to });
    }
}

/// What of a stretch lies outside a hold.
fn outside(absence: Absence, from: Timestamp, to: Timestamp) -> impl Iterator<Item = Absence> {
    let before = Absence { to: absence.to.min(from), ..absence };
    let after = Absence { from: absence.from.max(to), ..absence };
    [before, after].into_iter().filter(|part| part.from < part.to)
}
