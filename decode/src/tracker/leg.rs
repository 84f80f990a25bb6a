//! One leg's state, and the table of legs by dialog.
//!
//! A leg is one dialog, early or confirmed: Call-ID and both tags (RFC 3261, 12). The legs that one INVITE begins, when it is
//! forked to several devices, share the caller's tag and are its *forks*.
//!
//! Call-IDs and tags are kept as digests: they are only compared, and a hostile one may be long.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};

use rustc_hash::FxHashMap;

use super::event::{Ending, LegEnd, LegFacts, LegId};
use super::secrecy::Secrecy;
use super::trace::Trace;
use crate::media::{Format, Side};
use crate::net::{Endpoint, Flow};
use crate::playout::MediaClock;
use crate::time::Timestamp;

/// Legs followed at the same time; an INVITE beyond is an oddity.
pub const LEGS_MAX: usize = 200_000;
/// Legs under one Call-ID; an INVITE beyond is an oddity.
const LEGS_PER_CALL_ID_MAX: usize = 64;
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

/// What a side has said about its media, and what it has sent. Laid out as written, as [`Leg`] is: what each packet touches is
/// one cache line.
#[derive(Default)]
#[repr(C, align(64))]
pub(super) struct SideMedia {
    /// Where its samples lie on the capture clock.
    pub(super) clock: MediaClock,
    /// When a packet of it came last.
    pub(super) heard_at: Option<Timestamp>,
    /// Formats of its descriptions, the latest first.
    pub(super) formats: Vec<Format>,
    /// Packetization time it asked for.
    pub(super) ptime_ms: Option<u32>,
    /// Places claimed for it, oldest first.
    pub(super) claims: Vec<Endpoint>,
    /// Digest of the latest description, to know a repetition, and the hops at which it was heard.
    pub(super) description: Option<Digest>,
    pub(super) description_hops: Hops,
    /// Sources it has sent with: indices into the media table.
    pub(super) sources: Vec<u32>,
    /// Flows that are kept out of it and watched.
    pub(super) suspects: Vec<Flow>,
    /// Packets that were kept out of it, of flows that are over or are not watched.
    pub(super) foreign_packets: u64,
    /// Canonical names that its sources have given (RFC 3550, 6.5.1).
    pub(super) names: Vec<(u32, Digest)>,
    /// Packets in which a relay has said again at another hop what was heard already.
    pub(super) relayed_packets: u64,
    /// It holds the other side.
    pub(super) holding: bool,
    /// What it has offered lately: both sides may at once (RFC 3261, 14.1).
    pub(super) pending_hold: Option<PendingHold>,
    /// Its latest description asks for no media to it: audio may be absent for long.
    pub(super) quiet: bool,
    /// Its latest description says that it sends none: it listens only.
    pub(super) sends_nothing: bool,
    /// A description of it has asked for media to it.
    pub(super) has_listened: bool,
}

/// A hold or retrieve that was offered and not answered yet.
#[derive(Clone, Copy)]
pub(super) struct PendingHold {
    pub(super) cseq: u32,
    pub(super) holding: bool,
}

/// At which hops of its leg something was heard: one bit for each of [`HOPS_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hops(u8);

impl Hops {
    /// It cannot be told.
    pub(super) const ANY: Hops = Hops(u8::MAX);

    fn only(index: usize) -> Hops {
        Hops(1_u8.checked_shl(index as u32).unwrap_or(u8::MAX))
    }

    /// At these, or at those.
    pub(super) fn with(self, other: Hops) -> Hops {
        Hops(self.0 | other.0)
    }

    /// At hops that are among both.
    pub(super) fn both(self, other: Hops) -> Hops {
        Hops(self.0 & other.0)
    }

    /// Is there such a hop?
    pub(super) fn meet(self, other: Hops) -> bool {
        self.0 & other.0 != 0
    }

    /// Are the others all among these?
    pub(super) fn hold(self, other: Hops) -> bool {
        other.0 & !self.0 == 0
    }
}

/// From where an INVITE was passed on to where, whom it asked for there, and when.
#[derive(Clone)]
pub(super) struct Hop {
    pub(super) from: Endpoint,
    pub(super) to: Endpoint,
    pub(super) user: String,
    /// That user is registered.
    pub(super) registered: bool,
    /// Devices register there.
    pub(super) is_registrar: bool,
    pub(super) at: Timestamp,
}

/// How well a message fits a leg of its Call-ID whose one tag it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// The other tag is of another fork's dialog.
    Fork,
    /// The callee's tag is not known yet, or the message carries none.
    Open,
    /// Both tags agree.
    Dialog,
}

/// The leg of a message, the side that sent the request, and how well they fit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) leg: LegId,
    pub(super) side: Side,
    pub(super) fit: Fit,
}

/// A leg. Laid out as written: what each packet touches comes first (see [`media::Source`](super::media)).
#[repr(C, align(64))]
pub(super) struct Leg {
    /// Latest SIP message or media packet.
    pub(super) last_activity: Timestamp,
    /// The same on the idle clock, in nanoseconds (see [`super::Core`]).
    pub(super) last_heard: i64,
    /// When it is to be closed; set once it has ended.
    pub(super) close_at: Option<Timestamp>,
    pub(super) hold_since: Option<Timestamp>,
    pub(super) sides: [SideMedia; 2],
    pub(super) facts: LegFacts,
    pub(super) call_id: Digest,
    pub(super) caller_tag: Digest,
    /// The callee's tag, once a response has named it: the device that this leg leads to.
    pub(super) callee_tag: Option<Digest>,
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
    /// The session is refreshed within so many seconds (RFC 4028, 4), by the latest message that said so.
    pub(super) session_expires_s: Option<u32>,
    /// Highest CSeq of an INFO with a digit, by the side that sent it.
    pub(super) info_cseq: [Option<u32>; 2],
    /// The INVITE that sets it up carried an offer.
    pub(super) invite_offers: bool,
    /// Side and CSeq of the latest request that carried an offer.
    pub(super) offer: Option<(Side, u32)>,
    /// What protects its media.
    pub(super) secrecy: Secrecy,
    pub(super) cancelled: bool,
    pub(super) holds: Vec<(Timestamp, Timestamp)>,
    /// Stretches in which one side was not heard, holds not yet taken out.
    pub(super) absences: Vec<super::absence::Absence>,
    /// Another call had the same places for its audio at the same time.
    pub(super) shares_media: bool,
    /// Packets of it from before its first message was seen that are not held any more.
    pub(super) not_held_packets: u64,
    /// Packets that were left out for their ports.
    pub(super) outside_packets: u64,
    /// Who takes part, as the metadata of a recording session tells.
    pub(super) session: Option<Box<super::signalling::Session>>,
    /// The numbers that the parties were last named by, once they were named again; by side.
    pub(super) connected: Option<Box<[Option<String>; 2]>>,
    /// Its SIP messages, when they are wanted.
    pub(super) trace: Option<Box<Trace>>,
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
        } else if self.callee_tag == Some(from_tag) {
            Some(Side::Callee)
        } else {
            None
        }
    }

    /// How a message fits whose request `side` sent, and whose receiver has that tag.
    fn fit(&self, side: Side, receiver: Option<Digest>) -> Fit {
        let own = match side {
            Side::Caller => self.callee_tag,
            Side::Callee => Some(self.caller_tag),
        };
        match (own, receiver) {
            (Some(own), Some(receiver)) if own == receiver => Fit::Dialog,
            (Some(_), Some(_)) => Fit::Fork,
            _ => Fit::Open,
        }
    }

    /// The callee's tag is this one, if none was known.
    pub(super) fn learn_callee_tag(&mut self, tag: Option<&[u8]>) {
        let tag = tag.map(Digest::of).filter(|&tag| tag != self.caller_tag);
        self.callee_tag = self.callee_tag.or(tag);
    }

    pub(super) fn learn_branch(&mut self, branch: Option<Digest>) {
        if let Some(branch) = branch {
            remember(&mut self.branches, branch, HOPS_MAX);
        }
    }

    pub(super) fn learn_hop(&mut self, hop: Hop) {
        if self.hops.len() < HOPS_MAX && !self.hops.iter().any(|known| known.to == hop.to) {
            self.hops.push(hop);
        }
    }

    /// The hop that a message of this leg runs along, in either direction; any, when no INVITE was seen there.
    pub(super) fn hops_of(&self, flow: Flow) -> Hops {
        let ends = |hop: &Hop| [(hop.from.host(), hop.to.host()), (hop.to.host(), hop.from.host())];
        let of_flow = (flow.src.host(), flow.dst.host());
        self.hops.iter().position(|hop| ends(hop).contains(&of_flow)).map_or(Hops::ANY, Hops::only)
    }

    /// A response came from this place: the hop that leads there is the callee's device.
    pub(super) fn settle_callee(&mut self, from: Endpoint) {
        if let Some(hop) = self.hops.iter().find(|hop| hop.to == from) {
            self.facts.request_user.clone_from(&hop.user);
            self.facts.request_registered = hop.registered;
            let [_, callee] = &mut self.facts.parties;
            (callee.signalling, callee.is_registrar) = (from, hop.is_registrar);
        }
    }

    /// The leg of another device that the same INVITE has reached: the caller's part of this one, and nothing of its callee's.
    pub(super) fn fork(&self, facts: LegFacts) -> Leg {
        let caller = self.side(Side::Caller);
        let caller = SideMedia {
            formats: caller.formats.clone(),
            ptime_ms: caller.ptime_ms,
            description: caller.description,
            description_hops: caller.description_hops,
            quiet: caller.quiet,
            has_listened: caller.has_listened,
            ..SideMedia::default()
        };
        Leg {
            caller_tag: self.caller_tag,
            hops: self.hops.clone(),
            branches: self.branches.clone(),
            responded: true,
            invite_offers: self.invite_offers,
            offer: self.invite_offers.then_some((Side::Caller, self.invite_cseq)),
            secrecy: self.secrecy.of_fork(),
            sides: [caller, SideMedia::default()],
            ..Leg::new(
                facts,
                self.call_id,
                self.caller_tag,
                self.first_hop,
                self.invite_cseq,
                self.last_heard,
            )
        }
    }

    /// A leg of which nothing is known but its INVITE.
    pub(super) fn new(
        facts: LegFacts,
        call_id: Digest,
        caller_tag: Digest,
        first_hop: Flow,
        invite_cseq: u32,
        last_heard: i64,
    ) -> Leg {
        Leg {
            last_activity: facts.started,
            facts,
            call_id,
            caller_tag,
            callee_tag: None,
            first_hop,
            hops: Vec::new(),
            branches: Vec::new(),
            invite_cseq,
            responded: false,
            session_expires_s: None,
            info_cseq: [None; 2],
            invite_offers: false,
            offer: None,
            secrecy: Secrecy::default(),
            cancelled: false,
            sides: [SideMedia::default(), SideMedia::default()],
            hold_since: None,
            holds: Vec::new(),
            absences: Vec::new(),
            shares_media: false,
            not_held_packets: 0,
            outside_packets: 0,
            last_heard,
            close_at: None,
            session: None,
            connected: None,
            trace: None,
            end: None,
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

/// Where a leg is, with its serial number beside: whether it is the one that is meant is known before it is fetched.
struct Slot {
    serial: u64,
    leg: Box<Leg>,
}

/// All legs, by slot and by Call-ID.
#[derive(Default)]
pub(super) struct Legs {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    by_call_id: FxHashMap<Digest, Vec<LegId>>,
    next_serial: u64,
    count: usize,
    /// Call-IDs of legs that are over, latest last.
    forgotten: VecDeque<Digest>,
}

/// Call-IDs remembered of legs that are over: requests that are sent again are not another call's.
const FORGOTTEN_MAX: usize = 4_096;

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
            *slot = Some(Slot { serial: id.serial, leg: Box::new(leg) });
            self.count += 1;
        }
    }

    #[inline]
    pub(super) fn leg(&self, id: LegId) -> Option<&Leg> {
        let slot = self.slots.get(id.slot as usize)?.as_ref().filter(|slot| slot.serial == id.serial)?;
        Some(&slot.leg)
    }

    #[inline]
    pub(super) fn leg_mut(&mut self, id: LegId) -> Option<&mut Leg> {
        let slot = self.slots.get_mut(id.slot as usize)?.as_mut().filter(|slot| slot.serial == id.serial)?;
        Some(&mut slot.leg)
    }

    /// Takes the leg out of the dialog table: later messages of its Call-ID are another leg's.
    pub(super) fn forget_dialog(&mut self, id: LegId) {
        let Some(call_id) = self.leg(id).map(|leg| leg.call_id) else { return };
        if let Some(ids) = self.by_call_id.get_mut(&call_id) {
            ids.retain(|&other| other != id);
            if ids.is_empty() {
                self.by_call_id.remove(&call_id);
            }
            if self.forgotten.len() >= FORGOTTEN_MAX {
                self.forgotten.pop_front();
            }
            self.forgotten.push_back(call_id);
        }
    }

    /// Was there a leg of this Call-ID not long ago?
    pub(super) fn was_known(&self, call_id: Digest) -> bool {
        self.forgotten.contains(&call_id)
    }

    pub(super) fn remove(&mut self, id: LegId) -> Option<Box<Leg>> {
        self.leg(id)?;
        let Slot { leg, .. } = self.slots.get_mut(id.slot as usize)?.take()?;
        self.free.push(id.slot);
        self.count -= 1;
        Some(leg)
    }

    /// The leg of a message: by Call-ID, then by the tags of the request's sender and receiver; of several that fit alike,
    /// the newest.
    pub(super) fn find(&self, call_id: Digest, sender: Digest, receiver: Option<Digest>) -> Option<Found> {
        let mut best: Option<Found> = None;
        for leg in self.of_call_id(call_id) {
            let Some(side) = leg.sender(sender) else { continue };
            let fit = leg.fit(side, receiver);
            if best.is_none_or(|best| fit > best.fit) {
                best = Some(Found { leg: leg.facts.leg, side, fit });
            }
        }
        best
    }

    /// All legs that the caller's INVITE has begun: one, or one for each device that it was forked to. Oldest first.
    pub(super) fn forks(&self, call_id: Digest, caller_tag: Digest) -> Vec<LegId> {
        let mut ids: Vec<LegId> = self
            .of_call_id(call_id)
            .filter(|leg| leg.caller_tag == caller_tag)
            .map(|leg| leg.facts.leg)
            .collect();
        ids.reverse();
        ids
    }

    /// A leg of this Call-ID that was refused, on this hop: a new INVITE tries it again, even under a new tag.
    pub(super) fn find_refused(&self, call_id: Digest, flow: Flow) -> Option<LegId> {
        self.of_call_id(call_id)
            .find(|leg| leg.is_over() && leg.facts.answered.is_none() && leg.first_hop == flow)
            .map(|leg| leg.facts.leg)
    }

    /// A leg of this Call-ID that is not over.
    pub(super) fn running(&self, call_id: Digest) -> Option<&Leg> {
        self.of_call_id(call_id).find(|leg| !leg.is_over())
    }

    /// A leg by Call-ID and both tags, in either order (Replaces, RFC 3891).
    pub(super) fn find_dialog(&self, call_id: Digest, tag: Digest, other_tag: Digest) -> Option<&Leg> {
        self.of_call_id(call_id).find(|leg| {
            let tags = (leg.caller_tag, leg.callee_tag);
            tags == (tag, Some(other_tag)) || tags == (other_tag, Some(tag))
        })
    }

    fn of_call_id(&self, call_id: Digest) -> impl Iterator<Item = &Leg> {
        let ids = self.by_call_id.get(&call_id).map_or(&[][..], Vec::as_slice);
        ids.iter().rev().filter_map(|&id| self.leg(id))
    }

    pub(super) fn ids(&self) -> Vec<LegId> {
        self.slots.iter().flatten().map(|slot| slot.leg.facts.leg).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Leg> {
        self.slots.iter().flatten().map(|slot| &*slot.leg)
    }
}
