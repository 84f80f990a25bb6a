//! One voice at two hops: a media relay between two proxies, or before and behind one.
//!
//! A relay that rewrites session descriptions makes one dialog describe its audio twice: from the phone to the relay at the
//! first hop, from the relay to the other phone at the next. With the packets passed on as they are, the second hop shows
//! copies, which their sequence numbers tell. With a source of its own (it transcodes) the relay says the same once more, and
//! a listener must not hear both: each claim remembers at which hops it was heard, and a source on other hops than one that
//! speaks already is that one's voice again. When the first falls silent, the other one is heard.

use super::{Binding, Candidate, LIVE_MS, Media};
use crate::media::Side;
use crate::net::{Endpoint, Flow};
use crate::sdp;
use crate::time::{NS_PER_MS, Timestamp};
use crate::tracker::event::LegId;
use crate::tracker::leg::{Hops, Legs};

/// A relayed source is judged again after this long.
pub(super) const AGAIN_MS: i64 = 1_000;

impl Media {
    /// The same description was heard at another hop: its claims hold there too.
    pub(in crate::tracker) fn heard_at(
        &mut self,
        leg: LegId,
        side: Side,
        session: &sdp::Session,
        hops: Hops,
    ) {
        for place in session.media.iter().filter_map(|media| media.receives_at) {
            let owners = self.claims.get_mut(&place).map_or(&mut [][..], |claim| &mut claim.owners);
            for owner in owners.iter_mut().filter(|owner| owner.leg == leg && owner.side == side) {
                owner.hops = owner.hops.with(hops);
            }
        }
    }

    /// Does the speaker say at another hop already what this source is about to say?
    pub(super) fn is_relayed(
        &self,
        candidate: &Candidate,
        flow: Flow,
        at: Timestamp,
        ssrc: u32,
        legs: &Legs,
    ) -> bool {
        let Some(leg) = legs.leg(candidate.owner.leg) else { return false };
        let speaker = candidate.speaker;
        let own = self.hops_of(leg.facts.leg, speaker, flow);
        leg.side(speaker).sources.iter().filter_map(|&index| self.source(index)).any(|source| {
            source.ssrc != ssrc
                && source.flow != flow
                && at.nanos_since(source.last_at) < LIVE_MS * NS_PER_MS
                && !self.hops_of(leg.facts.leg, speaker, source.flow).meet(own)
        })
    }

    /// Keeps out what a relay says again.
    pub(super) fn keep_relayed(&mut self, candidate: &Candidate, flow: Flow, at: Timestamp, legs: &mut Legs) {
        if let Some(leg) = legs.leg_mut(candidate.owner.leg) {
            leg.side_mut(candidate.speaker).relayed_packets += 1;
        }
        self.rtp_packets += 1;
        self.bind(flow, Binding::Relayed(candidate.owner.leg, candidate.speaker, at));
    }

    /// At which hops a flow runs by which `speaker` is heard: where both its ends were announced, else where one was.
    fn hops_of(&self, leg: LegId, speaker: Side, flow: Flow) -> Hops {
        let hops = |place: Endpoint, side: Side| {
            let owners = self.claims.get(&place).map_or(&[][..], |claim| &claim.owners);
            owners.iter().find(|o| o.leg == leg && o.side == side).map(|owner| owner.hops)
        };
        match (hops(flow.dst, speaker.other()), hops(flow.src, speaker)) {
            (Some(to), Some(from)) if to.meet(from) => to.both(from),
            (Some(to), Some(from)) => to.with(from),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => Hops::ANY,
        }
    }
}
