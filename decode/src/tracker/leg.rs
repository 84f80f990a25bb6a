//! One leg's state, and the table of legs by dialog.
//!
//! Call-IDs and tags are kept as digests: they are only compared, and a hostile one may be long.

use std::hash::{DefaultHasher, Hasher};

use rustc_hash::FxHashMap;

use super::event::{CallId, Ending, LegEnd, LegFacts, LegId};
use crate::media::{Format, Side};
use crate::net::{Endpoint, Flow};
use crate::playout::MediaClock;
use crate::time::Timestamp;

/// Legs followed at the same time; an INVITE beyond is an oddity.
pub const LEGS_MAX: usize = 200_000;
/// Legs under one Call-ID; an INVITE beyond is an oddity.
const LEGS_PER_CALL_ID_MAX: usize = 64;
/// To-tags remembered per leg (one per fork that answered provisionally); the oldest makes room.
const CALLEE_TAGS_MAX: usize = 16;
/// Hops of a proxied INVITE, and branches of its transactions, remembered per leg.
const HOPS_MAX: usize = 8;

/// What a Call-ID, tag or branch is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Digest(u64);

impl Digest {
    pub(super) fn of(bytes: &[u8]) -> Digest {
        // SipHash: what callers choose freely must not be made to collide cheaply.
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        Digest(hasher.finish())
    }
}

/// What a side has said about its media, and what it has sent.
#[derive(Default)]
pub(super) struct SideMedia {
    /// Formats of its descriptions, the latest first.
    pub(super) formats: Vec<Format>,
    /// Packetization time it asked for.
    pub(super) ptime_ms: Option<u32>,
    /// Places claimed for it, oldest first.
    pub(super) claims: Vec<Endpoint>,
    /// Digest of the latest description, to know a repetition.
    pub(super) description: Option<Digest>,
    /// Sources it has sent with: indices into the media table.
    pub(super) sources: Vec<u32>,
    /// Where its samples lie on the capture clock.
    pub(super) clock: MediaClock,
    /// It holds the other side.
    pub(super) holding: bool,
    /// Its latest description asks for no media to it: audio may be absent for long.
    pub(super) quiet: bool,
}

/// A hold or retrieve that was offered and not answered yet.
#[derive(Clone, Copy)]
pub(super) struct PendingHold {
    pub(super) by: Side,
    pub(super) cseq: u32,
    pub(super) holding: bool,
}

/// Where an INVITE was passed on to, and whom it asked for there.
pub(super) struct Hop {
    pub(super) to: Endpoint,
    pub(super) user: String,
}

/// A leg.
pub(super) struct Leg {
    pub(super) facts: LegFacts,
    pub(super) call_id: Digest,
    pub(super) caller_tag: Digest,
    pub(super) callee_tags: Vec<Digest>,
    /// Tags of the callees that answered with a 2xx. Usually one; of several forks, the caller hangs up all but one.
    pub(super) answered_tags: Vec<Digest>,
    /// From where to where the caller sent its INVITE. Only what comes back there, or goes there, can refuse or cancel the leg:
    /// behind it a proxy may try one device after the other.
    pub(super) first_hop: Flow,
    pub(super) hops: Vec<Hop>,
    /// Top Via branches of the INVITE: an ACK with one of them acknowledges a refusal (RFC 3261, 17.1.1.3).
    pub(super) branches: Vec<Digest>,
    /// CSeq number of the latest INVITE that sets the leg up.
    pub(super) invite_cseq: u32,
    /// Some response has come.
    pub(super) responded: bool,
    /// Side and CSeq of the latest request that carried an offer.
    pub(super) offer: Option<(Side, u32)>,
    /// Whether the latest offer and the latest answer ask for SRTP.
    pub(super) encrypted_offer: Option<bool>,
    pub(super) encrypted_answer: Option<bool>,
    /// DTLS was seen on its places.
    pub(super) dtls_seen: bool,
    pub(super) cancelled: bool,
    pub(super) sides: [SideMedia; 2],
    pub(super) pending_hold: Option<PendingHold>,
    pub(super) hold_since: Option<Timestamp>,
    pub(super) holds: Vec<(Timestamp, Timestamp)>,
    /// Latest SIP message or media packet.
    pub(super) last_activity: Timestamp,
    /// The same on the idle clock, in nanoseconds (see [`super::Core`]).
    pub(super) last_heard: i64,
    /// When it is to be closed; set once it has ended.
    pub(super) close_at: Option<Timestamp>,
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
    fn sender(&self, from_tag: Digest) -> Option<Side> {
        if self.caller_tag == from_tag {
            Some(Side::Caller)
        } else if self.callee_tags.contains(&from_tag) {
            Some(Side::Callee)
        } else {
            None
        }
    }

    pub(super) fn learn_callee_tag(&mut self, tag: Option<&[u8]>) {
        let Some(tag) = tag.map(Digest::of) else { return };
        if tag != self.caller_tag {
            remember(&mut self.callee_tags, tag, CALLEE_TAGS_MAX);
        }
    }

    pub(super) fn learn_answered_tag(&mut self, tag: Option<&[u8]>) {
        if let Some(tag) = tag.map(Digest::of) {
            remember(&mut self.answered_tags, tag, CALLEE_TAGS_MAX);
        }
    }

    pub(super) fn learn_branch(&mut self, branch: Option<Digest>) {
        if let Some(branch) = branch {
            remember(&mut self.branches, branch, HOPS_MAX);
        }
    }

    pub(super) fn learn_hop(&mut self, to: Endpoint, user: String) {
        if self.hops.len() < HOPS_MAX && !self.hops.iter().any(|hop| hop.to == to) {
            self.hops.push(Hop { to, user });
        }
    }

    /// The answer came from this place: the hop that leads there is the callee's device.
    pub(super) fn settle_callee(&mut self, from: Endpoint) {
        if let Some(hop) = self.hops.iter().find(|hop| hop.to == from) {
            self.facts.request_user.clone_from(&hop.user);
            self.facts.parties[Side::Callee.index()].signalling = from;
        }
    }

    /// Does this flow run along the caller's own hop? Ports may differ (TCP, symmetric routing), unless one machine holds
    /// all hops.
    pub(super) fn is_first_hop(&self, flow: Flow) -> bool {
        let hop = self.first_hop;
        let same_hosts = flow.src.ip() == hop.src.ip() && flow.dst.ip() == hop.dst.ip();
        same_hosts && (hop.src.ip() != hop.dst.ip() || flow == hop)
    }

    /// Has the call ended, as far as the signalling says?
    pub(super) fn is_over(&self) -> bool {
        self.facts.ended.is_some()
    }

    /// It goes on after all: tried again, or another branch rings or answers.
    pub(super) fn reopen(&mut self) {
        self.facts.ended = None;
        self.facts.ending = Ending::Running;
        self.close_at = None;
        self.cancelled = false;
    }

    /// A session that nobody hears for a while: on hold, or agreed to be silent.
    pub(super) fn is_quiet(&self) -> bool {
        self.hold_since.is_some() || self.sides.iter().any(|side| side.quiet)
    }
}

/// Adds to a short list; the oldest makes room.
fn remember(list: &mut Vec<Digest>, digest: Digest, max: usize) {
    if !list.contains(&digest) {
        if list.len() >= max {
            list.remove(0);
        }
        list.push(digest);
    }
}

/// All legs, by slot and by Call-ID.
#[derive(Default)]
pub(super) struct Legs {
    slots: Vec<Option<Box<Leg>>>,
    free: Vec<u32>,
    by_call_id: FxHashMap<Digest, Vec<LegId>>,
    next_serial: u64,
    count: usize,
}

impl Legs {
    /// An id for the next leg of this Call-ID, or `None` when there is no room.
    pub(super) fn next_id(&mut self, call_id: Digest) -> Option<LegId> {
        let siblings = self.by_call_id.get(&call_id).map_or(0, Vec::len);
        if self.count >= LEGS_MAX || siblings >= LEGS_PER_CALL_ID_MAX {
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
        self.by_call_id.entry(leg.call_id).or_default().push(id);
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
        let Some(call_id) = self.leg(id).map(|leg| leg.call_id) else { return };
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
    pub(super) fn find(&self, call_id: Digest, from_tag: Digest) -> Option<(LegId, Side)> {
        self.of_call_id(call_id).find_map(|leg| Some((leg.facts.leg, leg.sender(from_tag)?)))
    }

    /// A leg of this Call-ID that was refused, on this hop: a new INVITE tries it again, even under a new tag.
    pub(super) fn find_refused(&self, call_id: Digest, flow: Flow) -> Option<LegId> {
        self.of_call_id(call_id)
            .find(|leg| leg.is_over() && leg.facts.answered.is_none() && leg.first_hop == flow)
            .map(|leg| leg.facts.leg)
    }

    /// The logical call of a leg of this Call-ID that is not over.
    pub(super) fn running_call(&self, call_id: Digest) -> Option<CallId> {
        self.of_call_id(call_id).find(|leg| !leg.is_over()).map(|leg| leg.facts.call)
    }

    /// A leg by Call-ID and both tags, in either order (Replaces, RFC 3891).
    pub(super) fn find_dialog(&self, call_id: Digest, tag: Digest, other_tag: Digest) -> Option<LegId> {
        let (first, second) = (self.find(call_id, tag)?, self.find(call_id, other_tag)?);
        (first.0 == second.0 && first.1 != second.1).then_some(first.0)
    }

    fn of_call_id(&self, call_id: Digest) -> impl Iterator<Item = &Leg> {
        let ids = self.by_call_id.get(&call_id).map_or(&[][..], Vec::as_slice);
        ids.iter().rev().filter_map(|&id| self.leg(id))
    }

    pub(super) fn ids(&self) -> Vec<LegId> {
        self.slots.iter().flatten().map(|leg| leg.facts.leg).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Leg> {
        self.slots.iter().flatten().map(Box::as_ref)
    }
}
