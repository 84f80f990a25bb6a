//! What frames will touch, fetched before their turn comes.
//!
//! With thousands of calls in turn, nothing of a call is in the processor's nearest caches when its next packet comes, and each step from
//! table to source to leg waits for memory before the next one can begin. Done for several frames at a time, step by step, these waits
//! run side by side. Nothing is decided here and nothing changes: what is foreseen wrongly costs a fetch, no more.
//!
//! The values are read and thrown away, where [`std::hint::black_box`] keeps the compiler from leaving the read out.

use std::hint::black_box;

use super::event::LegId;
use super::{Core, Tracker};
use crate::dissect;
use crate::media::Side;
use crate::net::Frame;

/// Where a packet's source stands; from [`Tracker::foresee`].
#[derive(Clone, Copy, Debug)]
pub struct SourcePlace(u32);

impl Tracker {
    /// First step: the source that this frame's packet will most likely count for. None for all but plain RTP of a call that is
    /// known. The frame's times are not looked at.
    #[inline]
    #[must_use]
    pub fn foresee(&self, frame: &Frame<'_>) -> Option<SourcePlace> {
        let flow = dissect::ordinary(frame)?.flow;
        self.core.media.foresee(&flow).map(SourcePlace)
    }

    /// Second step: the source itself; gives the leg, and the side of it that speaks.
    #[inline]
    #[must_use]
    pub fn fetch_source(&self, place: SourcePlace) -> Option<(LegId, Side)> {
        self.core.media.fetch_source(place.0)
    }

    /// Third step: the leg. Can go side by side with what others keep for it.
    #[inline]
    pub fn fetch_leg(&self, leg: LegId, speaker: Side) {
        let Core { legs, .. } = &self.core;
        let Some(leg) = legs.leg(leg) else { return };
        let side = leg.side(speaker);
        black_box((leg.last_activity, side.clock.fetch(), side.heard_at));
        black_box((leg.facts.audio_packets, leg.facts.first_audio, leg.facts.answered));
    }
}
