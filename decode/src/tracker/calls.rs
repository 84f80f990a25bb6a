//! Logical calls: which legs are one call for a person, and why that is thought.
//!
//! A PBX or a border gateway is a back-to-back user agent: each leg has a Call-ID of its own, and no header must say that two
//! belong together. What is there is used, the surest first ([`TieReason`]); each tie keeps its reason, since it is a
//! conclusion and not a fact. A tie may come late, by a header in a response or by media that two legs announce: then the
//! younger call's legs join the older call.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::event::{CallId, LegFacts, LegId, OtherLeg, Tie, TieReason};
use super::leg::{Digest, Leg, Legs};
use super::outbox::{LegNews, Outbox, Queued};
use crate::media::Side;
use crate::net::Endpoint;
use crate::time::{NS_PER_MS, Timestamp};

/// Legs listed under one key (a session identifier, a number at a host); the oldest makes room.
const LEGS_PER_KEY_MAX: usize = 16;
/// Keys under which one leg is listed; a leg with more is not listed under the later ones.
const KEYS_PER_LEG_MAX: usize = 16;
/// Ties told of one leg.
const TIES_MAX: usize = 8;
/// Legs of its call told of one leg: the call's first ones, which are those before and behind the PBX.
const OTHERS_MAX: usize = 8;
/// A REFER explains an INVITE to its target for this long.
const REFER_WAIT_MS: i64 = 30_000;
/// Referrals remembered; the oldest makes room.
const REFERRALS_MAX: usize = 1_024;
/// A B2BUA sends its own INVITE within this time of the one that it continues, when only one of the numbers agrees.
const RELAY_WAIT_MS: i64 = 10_000;
/// Numbers are compared by their last digits; with fewer than this, they must be equal.
const NUMBER_TAIL: usize = 7;

/// Legs of one logical call.
#[derive(Default)]
struct Group {
    /// Segments told so far.
    told: u32,
    /// Legs that still live.
    legs: Vec<LegId>,
}

/// Somebody was sent to a target (REFER, RFC 3515), within a call.
struct Referral {
    target: String,
    /// Who was sent: the receiver of the REFER.
    sent: Endpoint,
    at: Timestamp,
    leg: LegId,
    call: CallId,
    sip_call_id: String,
}

/// A leg as a key finds it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    /// A UUID of Session-ID (RFC 7989, 5).
    Session(Digest),
    /// The caller's tag.
    Tag(Digest),
    /// A correlation header's name and value.
    Header(Digest),
    /// The caller's number in an INVITE that went to this host.
    CallerAt(u128, Digest),
    /// The number called in an INVITE that went to this host.
    CalleeAt(u128, Digest),
}

/// All logical calls that have a leg, and what finds them.
#[derive(Default)]
pub(super) struct Calls {
    groups: FxHashMap<CallId, Group>,
    keys: FxHashMap<Key, Vec<LegId>>,
    keys_of: FxHashMap<LegId, Vec<Key>>,
    referrals: VecDeque<Referral>,
}

/// A new INVITE, as far as ties are concerned.
pub(super) struct Newcomer<'a> {
    pub(super) at: Timestamp,
    pub(super) src: Endpoint,
    pub(super) dst: Endpoint,
    pub(super) caller: &'a str,
    pub(super) callee: &'a str,
    /// User part of the Request-URI.
    pub(super) target: &'a str,
    /// It carries Referred-By (RFC 3892).
    pub(super) is_referred: bool,
}

impl Calls {
    /// Enters a leg: into the call that it is tied to, else as the first of a new one. Gives its call and its place in it.
    pub(super) fn enter(&mut self, leg: LegId, tied: Option<CallId>, new: CallId) -> (CallId, u32) {
        let call = tied.unwrap_or(new);
        let group = self.groups.entry(call).or_default();
        group.told += 1;
        group.legs.push(leg);
        (call, group.told)
    }

    /// A leg is gone.
    pub(super) fn leave(&mut self, call: CallId, leg: LegId) {
        if let Some(group) = self.groups.get_mut(&call) {
            group.legs.retain(|&other| other != leg);
            if group.legs.is_empty() {
                self.groups.remove(&call);
            }
        }
        for key in self.keys_of.remove(&leg).unwrap_or_default() {
            if let Some(legs) = self.keys.get_mut(&key) {
                legs.retain(|&other| other != leg);
                if legs.is_empty() {
                    self.keys.remove(&key);
                }
            }
        }
    }

    /// Two legs that are already told turn out to be one call: the younger call's legs join the older call.
    pub(super) fn join(
        &mut self,
        leg: LegId,
        with: LegId,
        why: TieReason,
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        let facts = |id| legs.leg(id).map(|leg: &Leg| (leg.facts.call, leg.facts.sip_call_id.clone()));
        let (Some((call, own)), Some((other_call, other))) = (facts(leg), facts(with)) else { return };
        if call == other_call {
            return;
        }
        let (older, younger) = (call.min(other_call), call.max(other_call));
        // The reason stands at the leg that moves.
        let (moved, stays, sip_call_id) = if call == younger { (leg, with, other) } else { (with, leg, own) };
        if let Some(leg) = legs.leg_mut(moved) {
            note_tie(&mut leg.facts.ties, Tie { leg: stays, sip_call_id, why });
        }
        let moving = self.groups.remove(&younger).map(|group| group.legs).unwrap_or_default();
        for id in moving {
            let group = self.groups.entry(older).or_default();
            let Some(leg) = legs.leg_mut(id) else { continue };
            group.told += 1;
            group.legs.push(id);
            leg.facts.call = older;
            leg.facts.segment = group.told;
            out.push(Queued::Leg(LegNews::Tied, id));
        }
        let _ = mark_relay(stays, moved, legs).or_else(|| mark_relay(moved, stays, legs));
    }

    /// A leg is about to be told of: notes which legs its call has beside it.
    pub(super) fn note_others(&self, leg: LegId, legs: &mut Legs) {
        let Some(own) = legs.leg(leg) else { return };
        let group = self.groups.get(&own.facts.call).map_or(&[][..], |group| &group.legs);
        let others = group.iter().filter(|&&other| other != leg).filter_map(|&other| legs.leg(other));
        let others: Vec<OtherLeg> = others.take(OTHERS_MAX).map(other_leg).collect();
        if let Some(own) = legs.leg_mut(leg) {
            own.facts.others = others;
        }
    }

    /// Remembers the numbers of an INVITE that went to `to`: the INVITE that goes out of there may continue it.
    pub(super) fn note_numbers(&mut self, leg: LegId, to: Endpoint, caller: &str, callee: &str) {
        if let Some(tail) = tail(caller) {
            self.list(leg, Key::CallerAt(to.host(), tail));
        }
        if let Some(tail) = tail(callee) {
            self.list(leg, Key::CalleeAt(to.host(), tail));
        }
    }

    /// A REFER sent somebody to a target.
    pub(super) fn note_referral(&mut self, leg: &Leg, target: String, sent: Endpoint, at: Timestamp) {
        if self.referrals.len() >= REFERRALS_MAX {
            self.referrals.pop_front();
        }
        let facts = &leg.facts;
        let (leg, call, sip_call_id) = (facts.leg, facts.call, facts.sip_call_id.clone());
        self.referrals.push_back(Referral { target, sent, at, leg, call, sip_call_id });
    }

    /// A leg of another call that carries the same session identifier; from now on this one is found by it too.
    pub(super) fn meet_session(&mut self, leg: LegId, uuid: &[u8]) -> Option<LegId> {
        self.meet(leg, Key::Session(Digest::of(&uuid.to_ascii_lowercase())))
    }

    /// The same for a correlation header.
    pub(super) fn meet_header(&mut self, leg: LegId, name: &str, value: &[u8]) -> Option<LegId> {
        let mut key = name.to_ascii_lowercase().into_bytes();
        key.push(b':');
        key.extend_from_slice(value);
        self.meet(leg, Key::Header(Digest::of(&key)))
    }

    /// The same for the caller's tag.
    pub(super) fn meet_tag(&mut self, leg: LegId, tag: Digest) -> Option<LegId> {
        self.meet(leg, Key::Tag(tag))
    }

    fn meet(&mut self, leg: LegId, key: Key) -> Option<LegId> {
        let found =
            self.keys.get(&key).and_then(|legs| legs.iter().rev().find(|&&other| other != leg)).copied();
        self.list(leg, key);
        found
    }

    fn list(&mut self, leg: LegId, key: Key) {
        let own = self.keys_of.entry(leg).or_default();
        if own.contains(&key) || own.len() >= KEYS_PER_LEG_MAX {
            return;
        }
        own.push(key);
        let legs = self.keys.entry(key).or_default();
        if legs.len() >= LEGS_PER_KEY_MAX {
            legs.remove(0);
        }
        legs.push(leg);
    }

    /// The referral that sent the newcomer here, as a tie, and its call.
    pub(super) fn referred(&self, new: &Newcomer<'_>) -> Option<(CallId, Tie)> {
        let explains = |referral: &&Referral| {
            referral.target == new.target
                && new.at.nanos_since(referral.at) < REFER_WAIT_MS * NS_PER_MS
                && (new.is_referred || referral.sent == new.src)
        };
        let referral = self.referrals.iter().rev().find(explains)?;
        let tie = Tie { leg: referral.leg, sip_call_id: referral.sip_call_id.clone(), why: TieReason::Refer };
        Some((referral.call, tie))
    }

    /// The running leg that a B2BUA continues with this INVITE, told by numbers and time: it went into the host that the
    /// newcomer comes out of. Both numbers agree, or one long one does and nothing else is in question.
    pub(super) fn continued(&self, new: &Newcomer<'_>, legs: &Legs) -> Option<LegId> {
        let at = new.src.host();
        let listed = |key: fn(u128, Digest) -> Key, number: &str| -> Vec<LegId> {
            let found = tail(number).and_then(|tail| self.keys.get(&key(at, tail)));
            let runs = |&&id: &&LegId| {
                legs.leg(id).is_some_and(|leg| {
                    let hop = leg.first_hop;
                    // One machine may be both ends: there the ports tell who relays.
                    let relays = hop.src.host() != at || hop.src != new.src;
                    !leg.is_over() && relays && leg.first_hop.src != new.dst
                })
            };
            found.into_iter().flatten().filter(runs).copied().collect()
        };
        let same_caller = listed(Key::CallerAt, new.caller);
        let mut same_callee = listed(Key::CalleeAt, new.callee);
        if new.target != new.callee {
            same_callee.extend(listed(Key::CalleeAt, new.target));
        }
        let both: Vec<LegId> = same_caller.iter().filter(|id| same_callee.contains(id)).copied().collect();
        if let Some(&latest) = both.last() {
            // Several calls between the same two numbers: which is which cannot be told, unless only one still rings.
            let rings = |id: &&LegId| legs.leg(**id).is_some_and(|leg| leg.facts.answered.is_none());
            let mut ringing = both.iter().filter(rings);
            return match (both.len(), ringing.next(), ringing.next()) {
                (1, ..) => Some(latest),
                (_, Some(&only), None) => Some(only),
                _ => None,
            };
        }
        let fresh = |id: &LegId| {
            legs.leg(*id).is_some_and(|leg| {
                leg.facts.answered.is_none()
                    && new.at.nanos_since(leg.last_activity) < RELAY_WAIT_MS * NS_PER_MS
            })
        };
        let alone = |number: &str, mut list: Vec<LegId>| {
            list.retain(fresh);
            list.dedup();
            (is_long(number) && list.len() == 1).then(|| list.first().copied()).flatten()
        };
        alone(new.caller, same_caller).or_else(|| alone(new.callee, same_callee))
    }
}

/// Of two legs of one call, one goes into a host and the other comes out of it: that is a PBX, and no device of the site. Gives
/// its address.
pub(super) fn mark_relay(into: LegId, out_of: LegId, legs: &mut Legs) -> Option<Endpoint> {
    let (first, second) = (legs.leg(into)?.first_hop, legs.leg(out_of)?.first_hop);
    let relay = second.src;
    // Where all of them are on one machine, an address tells nothing.
    if first.dst.host() != relay.host() || [first.src, second.dst].iter().any(|e| e.host() == relay.host()) {
        return None;
    }
    for (leg, side) in [(into, Side::Callee), (out_of, Side::Caller)] {
        if let Some(party) = legs.leg_mut(leg).and_then(|leg| leg.facts.parties.get_mut(side.index())) {
            party.is_registrar |= party.signalling.host() == relay.host();
        }
    }
    Some(relay)
}

fn other_leg(leg: &Leg) -> OtherLeg {
    let LegFacts { leg, parties, request_user, request_registered, .. } = &leg.facts;
    OtherLeg {
        leg: *leg,
        parties: parties.clone(),
        request_user: request_user.clone(),
        request_registered: *request_registered,
    }
}

/// Adds a reason to a leg's list.
pub(super) fn note_tie(ties: &mut Vec<Tie>, tie: Tie) {
    if ties.len() < TIES_MAX && !ties.contains(&tie) {
        ties.push(tie);
    }
}

/// The UUIDs of a Session-ID value that name an end (RFC 7989, 5): 32 hexadecimal digits, not all zero.
pub(super) fn session_uuids(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let local = value.get(..value.iter().position(|&b| b == b';').unwrap_or(value.len())).unwrap_or_default();
    let remote = crate::sip::parameter(value, "remote").unwrap_or_default();
    [crate::sip::trim(local), remote].into_iter().filter(|uuid| {
        uuid.len() == 32 && uuid.iter().all(u8::is_ascii_hexdigit) && uuid.iter().any(|&b| b != b'0')
    })
}

/// A number by its last digits, without what stands for the way to dial it; a short one whole. None for what is no number.
fn tail(number: &str) -> Option<Digest> {
    if number.is_empty() {
        return None;
    }
    let digits: Vec<u8> = number.bytes().filter(u8::is_ascii_digit).collect();
    let is_number = digits.len() * 2 > number.len();
    if !is_number || digits.len() < NUMBER_TAIL {
        return Some(Digest::of(number.as_bytes()));
    }
    digits.get(digits.len() - NUMBER_TAIL..).map(Digest::of)
}

fn is_long(number: &str) -> bool {
    number.bytes().filter(u8::is_ascii_digit).count() >= NUMBER_TAIL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_uuids_tie() {
        let uuids = |value: &str| session_uuids(value.as_bytes()).count();
        let (a, b) = ("ab30317f1a784dc48ff824d0d3715d86", "47755a9de7794ba387653f2099600ef2");
        assert_eq!(uuids(&format!("{a};remote={b}")), 2);
        assert_eq!(uuids(&format!("{a};remote={}", "0".repeat(32))), 1);
        assert_eq!(uuids(&format!(" {a} ;x=1")), 1);
        assert_eq!(uuids("f81d4fae-7dec-11d0;remote=1"), 0);
    }

    #[test]
    fn a_number_is_known_by_its_last_digits_however_it_was_dialled() {
        assert!(tail("+441632960101") == tail("01632960101"));
        assert!(tail("901632960101") == tail("01632960101"));
        assert!(tail("2001") != tail("12001"));
        assert!(tail("").is_none());
    }
}
