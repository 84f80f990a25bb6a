//! One leg's state, and the table of legs by dialog.

use rustc_hash::FxHashMap;

use super::event::{CallId, LegEnd, LegFacts, LegId};
use crate::media::{Format, Side};
use crate::net::{Endpoint, Flow};
use crate::playout::MediaClock;
use crate::time::Timestamp;

/// Legs followed at the same time; an INVITE beyond is an oddity.
pub const LEGS_MAX: usize = 200_000;
/// To-tags remembered per leg (one per fork that answered provisionally).
const CALLEE_TAGS_MAX: usize = 16;

/// What a side has said about its media, and what it has sent.
#[derive(Default)]
pub(super) struct SideMedia {
    /// Formats of its latest description.
    pub(super) formats: Vec<Format>,
    /// Its latest description asks for SRTP.
    pub(super) encrypted: Option<bool>,
    /// Packetization time it asked for.
    pub(super) ptime_ms: Option<u32>,
    /// Places claimed for it.
    pub(super) claims: Vec<Endpoint>,
    /// Hash of the latest description, to know a repetition.
    pub(super) description: Option<u64>,
    /// Sources it has sent with: indices into the media table.
    pub(super) sources: Vec<u32>,
    /// Where its samples lie on the capture clock.
    pub(super) clock: MediaClock,
    /// It holds the other side.
    pub(super) holding: bool,
}

/// A leg.
pub(super) struct Leg {
    pub(super) facts: LegFacts,
    pub(super) call_id: Vec<u8>,
    pub(super) caller_tag: Vec<u8>,
    pub(super) callee_tags: Vec<Vec<u8>>,
    /// CSeq number of the latest INVITE that sets the leg up.
    pub(super) invite_cseq: u32,
    /// Side and CSeq of the latest request that carried an offer.
    pub(super) offer: Option<(Side, u32)>,
    pub(super) cancelled: bool,
    /// The final response of 300 or more to the INVITE.
    pub(super) failure: Option<(u16, String)>,
    pub(super) sides: [SideMedia; 2],
    pub(super) hold_since: Option<Timestamp>,
    pub(super) holds: Vec<(Timestamp, Timestamp)>,
    /// Latest SIP message or RTP packet.
    pub(super) last_activity: Timestamp,
    /// When it is to be closed; set once it has ended.
    pub(super) close_at: Option<Timestamp>,
    /// Where a REFER sends the other side: user part and time.
    pub(super) refer_to: Option<(String, Timestamp)>,
    /// Set when it is closed; taken by the poll of its last event.
    pub(super) end: Option<Box<LegEnd>>,
}

impl Leg {
    pub(super) fn side(&self, side: Side) -> &SideMedia {
        let [caller, callee] = &self.sides;
        if side == Side::Caller { caller } else { callee }
    }

    pub(super) fn side_mut(&mut self, side: Side) -> &mut SideMedia {
        let [caller, callee] = &mut self.sides;
        if side == Side::Caller { caller } else { callee }
    }

    /// Which side sent a request with this From tag; `None` when it is not of this leg.
    pub(super) fn sender(&self, from_tag: &[u8]) -> Option<Side> {
        if self.caller_tag == from_tag {
            Some(Side::Caller)
        } else if self.callee_tags.iter().any(|tag| tag == from_tag) {
            Some(Side::Callee)
        } else {
            None
        }
    }

    pub(super) fn learn_callee_tag(&mut self, tag: Option<&[u8]>) {
        if let Some(tag) = tag
            && self.callee_tags.len() < CALLEE_TAGS_MAX
            && !self.callee_tags.iter().any(|known| known == tag)
            && self.caller_tag != tag
        {
            self.callee_tags.push(tag.to_vec());
        }
    }

    /// Has the call ended, as far as the signalling says?
    pub(super) fn is_over(&self) -> bool {
        self.facts.ended.is_some()
    }
}

/// All legs, by slot and by Call-ID.
#[derive(Default)]
pub(super) struct Legs {
    slots: Vec<Option<Box<Leg>>>,
    free: Vec<u32>,
    by_call_id: FxHashMap<Vec<u8>, Vec<LegId>>,
    next_serial: u64,
    count: usize,
}

impl Legs {
    /// An id for the next leg, or `None` when there is no room.
    pub(super) fn next_id(&mut self) -> Option<LegId> {
        if self.count >= LEGS_MAX {
            return None;
        }
        self.next_serial += 1;
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                (self.slots.len() - 1) as u32
            }
        };
        Some(LegId { serial: self.next_serial, slot })
    }

    pub(super) fn insert(&mut self, leg: Leg) {
        let id = leg.facts.leg;
        self.by_call_id.entry(leg.call_id.clone()).or_default().push(id);
        if let Some(slot) = self.slots.get_mut(id.slot as usize) {
            *slot = Some(Box::new(leg));
            self.count += 1;
        }
    }

    pub(super) fn leg(&self, id: LegId) -> Option<&Leg> {
        self.slots.get(id.slot as usize)?.as_deref().filter(|leg| leg.facts.leg == id)
    }

    pub(super) fn leg_mut(&mut self, id: LegId) -> Option<&mut Leg> {
        self.slots.get_mut(id.slot as usize)?.as_deref_mut().filter(|leg| leg.facts.leg == id)
    }

    /// Takes the leg out of the dialog table: later messages of its Call-ID are another leg's.
    pub(super) fn forget_dialog(&mut self, id: LegId) {
        let Some(call_id) = self.leg(id).map(|leg| leg.call_id.clone()) else { return };
        if let Some(ids) = self.by_call_id.get_mut(&call_id) {
            ids.retain(|&other| other != id);
            if ids.is_empty() {
                self.by_call_id.remove(&call_id);
            }
        }
    }

    pub(super) fn remove(&mut self, id: LegId) -> Option<Box<Leg>> {
        self.leg(id)?;
        let leg = self.slots.get_mut(id.slot as usize)?.take()?;
        self.free.push(id.slot);
        self.count -= 1;
        Some(leg)
    }

    /// The leg of a message: by Call-ID, then by the tag of the request's sender; the newest first. Gives the side that
    /// sent the request.
    pub(super) fn find(&self, call_id: &[u8], from_tag: &[u8]) -> Option<(LegId, Side)> {
        let ids = self.by_call_id.get(call_id)?;
        ids.iter().rev().find_map(|&id| Some((id, self.leg(id)?.sender(from_tag)?)))
    }

    /// A leg of this Call-ID that was refused, from the same sender to the same receiver: a new INVITE tries it again, even
    /// under a new tag.
    pub(super) fn find_refused(&self, call_id: &[u8], flow: Flow) -> Option<LegId> {
        let ids = self.by_call_id.get(call_id)?;
        ids.iter().rev().copied().find(|&id| {
            self.leg(id).is_some_and(|leg| {
                let [caller, callee] = &leg.facts.parties;
                let same_hop = caller.signalling == flow.src && callee.signalling == flow.dst;
                leg.failure.is_some() && leg.facts.answered.is_none() && same_hop
            })
        })
    }

    /// The logical call of a leg of this Call-ID that is not over.
    pub(super) fn running_call(&self, call_id: &[u8]) -> Option<CallId> {
        let ids = self.by_call_id.get(call_id)?;
        ids.iter().rev().filter_map(|&id| self.leg(id)).find(|leg| !leg.is_over()).map(|leg| leg.facts.call)
    }

    /// A leg by Call-ID and both tags, in either order (Replaces, RFC 3891).
    pub(super) fn find_dialog(&self, call_id: &[u8], tag: &[u8], other_tag: &[u8]) -> Option<LegId> {
        self.find(call_id, tag).or_else(|| self.find(call_id, other_tag)).map(|(id, _)| id)
    }

    pub(super) fn ids(&self) -> Vec<LegId> {
        self.slots.iter().flatten().map(|leg| leg.facts.leg).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Leg> {
        self.slots.iter().flatten().map(Box::as_ref)
    }
}
