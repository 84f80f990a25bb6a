//! SIP messages to legs: dialogs, answers, hold, transfer, the end (RFC 3261, 3264, 3515, 3891).
//!
//! The recorder sees messages, not transactions: each message is read for what it says about a leg, and saying it twice
//! (a retransmission, the next hop of a proxy, a mirror of both directions) changes nothing.

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

use super::event::{CallId, Ending, Identity, LegFacts, LegId};
use super::leg::{Digest, Leg, Legs, PendingHold, SideMedia};
use super::media::Media;
use super::outbox::{LegNews, Outbox, Queued};
use crate::media::Side;
use crate::net::{Endpoint, Flow};
use crate::sdp;
use crate::sip::{self, Address, Message, StartLine, text};
use crate::time::{NS_PER_MS, Timestamp};

/// After its end a leg stays for packets on the way and repeated messages.
pub const LINGER_MS: i64 = 1_000;
/// After a CANCEL the final response is awaited for this long.
const CANCEL_WAIT_MS: i64 = 5_000;
/// After a refusal the caller may try again under the same Call-ID (with credentials that a person has to type, a longer
/// session interval, another codec).
const RETRY_WAIT_MS: i64 = 64_000;
/// A REFER explains an INVITE to its target for this long.
const REFER_WAIT_MS: i64 = 30_000;
/// Referrals remembered; the oldest makes room.
const REFERRALS_MAX: usize = 1_024;
/// Registrations remembered.
const REGISTRATIONS_MAX: usize = 100_000;
/// Addresses remembered at which devices register.
const REGISTRARS_MAX: usize = 1_024;
/// Answers whose INVITE was not seen, kept for the ACK that proves the call; and the longest that is kept, in bytes.
const ORPHANS_MAX: usize = 256;
const ORPHAN_BYTES_MAX: usize = 4_096;
/// Longest text kept of a name, number or Call-ID, in characters.
const TEXT_MAX: usize = 256;

/// Logical calls: segments told so far, and legs that still live.
#[derive(Default)]
struct Segments {
    told: u32,
    live: u32,
}

/// Somebody was sent to a target (REFER), within a call.
struct Referral {
    target: String,
    at: Timestamp,
    call: CallId,
}

/// A 2xx to an INVITE that was sent before the capture began.
struct Orphan {
    call_id: Digest,
    flow: Flow,
    bytes: Vec<u8>,
}

/// What the signalling has taught about the site and its calls.
#[derive(Default)]
pub(super) struct Signalling {
    registered: FxHashSet<String>,
    registrars: FxHashSet<std::net::IpAddr>,
    segments: FxHashMap<CallId, Segments>,
    referrals: VecDeque<Referral>,
    orphans: VecDeque<Orphan>,
    pub(super) messages: u64,
    /// Time that counts as silence when it passes without a message, in nanoseconds (see [`super::Core`]).
    pub(super) idle_clock: i64,
}

/// The tables that a message may touch.
pub(super) struct Tables<'t> {
    pub(super) legs: &'t mut Legs,
    pub(super) media: &'t mut Media,
    pub(super) out: &'t mut Outbox,
}

/// One message with where and when.
struct Heard<'m, 'a> {
    message: &'m Message<'a>,
    flow: Flow,
    at: Timestamp,
    call_id: Digest,
    shown_call_id: String,
    from: Address<'a>,
    to: Address<'a>,
    cseq: u32,
    cseq_method: &'a [u8],
}

impl Heard<'_, '_> {
    fn sender_tag(&self) -> &[u8] {
        self.from.tag().unwrap_or_default()
    }

    /// The branch of the top Via: names the transaction (RFC 3261, 8.1.1.7).
    fn branch(&self) -> Option<Digest> {
        let via = self.message.header("Via")?;
        sip::parameter(via, "branch").filter(|branch| !branch.is_empty()).map(Digest::of)
    }
}

impl Signalling {
    /// Reads one message. What is no SIP after all is left alone.
    pub(super) fn handle(&mut self, flow: Flow, at: Timestamp, bytes: &[u8], tables: &mut Tables<'_>) {
        let Ok(message) = sip::parse(bytes) else {
            return tables.out.oddity(at, Some(flow), "looks like SIP and cannot be read");
        };
        self.messages += 1;
        for oddity in &message.oddities {
            tables.out.oddity(at, Some(flow), oddity.name());
        }
        let (cseq, cseq_method) = message.cseq().unwrap_or((0, message.method().unwrap_or_default()));
        let empty = Address::parse(b"");
        let call_id = dialog_key(&message, flow);
        let heard = Heard {
            call_id: Digest::of(&call_id),
            shown_call_id: shown(&call_id),
            from: message.from().unwrap_or(empty),
            to: message.to().unwrap_or(empty),
            message: &message,
            flow,
            at,
            cseq,
            cseq_method,
        };
        match message.start {
            StartLine::Request { method, uri } => self.request(&heard, method, uri, tables),
            StartLine::Response { status, reason } => self.response(&heard, status, reason, bytes, tables),
        }
    }

    fn request(&mut self, heard: &Heard<'_, '_>, method: &[u8], uri: &[u8], tables: &mut Tables<'_>) {
        let mut found = tables.legs.find(heard.call_id, Digest::of(heard.sender_tag()));
        if found.is_none() && method == b"ACK" && heard.to.tag().is_some() {
            found = self.adopt_orphan(heard, uri, tables);
        }
        if let Some((id, side)) = found
            && let Some(leg) = tables.legs.leg_mut(id)
        {
            leg.last_activity = heard.at;
            leg.last_heard = self.idle_clock;
            if side == Side::Caller {
                leg.learn_callee_tag(heard.to.tag());
            }
        }
        match (method, found) {
            (b"INVITE", _) => self.invite(heard, uri, found, tables),
            (b"ACK", Some((id, side))) => ack(heard, id, side, tables),
            (b"BYE", Some((id, side))) => bye(heard, id, side, tables),
            (b"CANCEL", Some((id, _))) => cancel(heard, id, tables),
            (b"UPDATE" | b"PRACK", Some((id, side))) => describe(heard, id, side, tables),
            (b"REFER", Some((id, _))) => self.refer(heard, id, tables),
            _ => {}
        }
    }

    fn refer(&mut self, heard: &Heard<'_, '_>, id: LegId, tables: &Tables<'_>) {
        if let (Some(target), Some(leg)) = (heard.message.header("Refer-To"), tables.legs.leg(id)) {
            if self.referrals.len() >= REFERRALS_MAX {
                self.referrals.pop_front();
            }
            let target = shown(Address::parse(target).uri.user);
            self.referrals.push_back(Referral { target, at: heard.at, call: leg.facts.call });
        }
    }

    fn invite(
        &mut self,
        heard: &Heard<'_, '_>,
        uri: &[u8],
        found: Option<(LegId, Side)>,
        tables: &mut Tables<'_>,
    ) {
        let initial = heard.to.tag().is_none();
        let retried = || tables.legs.find_refused(heard.call_id, heard.flow).map(|id| (id, Side::Caller));
        let found = found.or_else(|| if initial { retried() } else { None });
        let Some((id, side)) = found else {
            self.begin(heard, uri, !initial, tables);
            return;
        };
        let Some(leg) = tables.legs.leg_mut(id) else { return };
        if initial && side == Side::Caller {
            let over = leg.is_over() && leg.facts.answered.is_some();
            if over && heard.cseq != leg.invite_cseq {
                // The Call-ID is used again after the call: another call.
                self.begin(heard, uri, false, tables);
                return;
            }
            if leg.facts.answered.is_none() && (heard.cseq > leg.invite_cseq || !leg.cancelled) {
                // Tried again, with credentials or otherwise changed, or passed on to another device: the same call.
                leg.invite_cseq = leg.invite_cseq.max(heard.cseq);
                leg.caller_tag = Digest::of(heard.sender_tag());
                leg.reopen();
            }
            leg.learn_hop(heard.flow.dst, shown_user(uri));
            leg.learn_branch(heard.branch());
        }
        describe(heard, id, side, tables);
    }

    /// A new leg.
    fn begin(
        &mut self,
        heard: &Heard<'_, '_>,
        uri: &[u8],
        joined_late: bool,
        tables: &mut Tables<'_>,
    ) -> Option<LegId> {
        let related = self.related_call(heard, uri, tables.legs);
        let Some(leg) = tables.legs.next_id(heard.call_id) else {
            tables.out.oddity(heard.at, Some(heard.flow), "more calls at once than can be followed");
            return None;
        };
        let call = related
            .unwrap_or_else(|| CallId::new(heard.at, &[heard.shown_call_id.as_bytes(), heard.sender_tag()]));
        let segments = self.segments.entry(call).or_default();
        segments.told += 1;
        segments.live += 1;
        let segment = segments.told;
        let mut caller = self.identity(&heard.from, heard.flow.src);
        assert_identity(&mut caller, heard.message);
        let facts = LegFacts {
            leg,
            call,
            segment,
            sip_call_id: heard.shown_call_id.clone(),
            parties: [caller, self.identity(&heard.to, heard.flow.dst)],
            request_user: shown_user(uri),
            started: heard.at,
            ringing: None,
            answered: joined_late.then_some(heard.at),
            ended: None,
            ending: Ending::Running,
            early_media: false,
            encrypted: false,
            joined_late,
            malformed: heard.message.oddities.contains(&sip::Oddity::MandatoryMissing),
            audio_announced: false,
            audio_packets: [0; 2],
            first_audio: None,
        };
        let mut state = Leg {
            facts,
            call_id: heard.call_id,
            caller_tag: Digest::of(heard.sender_tag()),
            callee_tags: Vec::new(),
            answered_tags: Vec::new(),
            first_hop: heard.flow,
            hops: Vec::new(),
            branches: Vec::new(),
            invite_cseq: heard.cseq,
            responded: false,
            offer: None,
            encrypted_offer: None,
            encrypted_answer: None,
            dtls_seen: false,
            cancelled: false,
            sides: [SideMedia::default(), SideMedia::default()],
            pending_hold: None,
            hold_since: None,
            holds: Vec::new(),
            last_activity: heard.at,
            last_heard: self.idle_clock,
            close_at: None,
            end: None,
        };
        state.learn_callee_tag(heard.to.tag());
        state.learn_hop(heard.flow.dst, shown_user(uri));
        state.learn_branch(heard.branch());
        tables.legs.insert(state);
        tables.out.push(Queued::Leg(LegNews::Started, leg));
        describe(heard, leg, Side::Caller, tables);
        Some(leg)
    }

    /// The capture began while it rang: an answer was seen and is now acknowledged, so there is a call, although its INVITE
    /// was not seen. (An answer alone proves nothing: RFC 4475, bcast.)
    fn adopt_orphan(
        &mut self,
        ack: &Heard<'_, '_>,
        uri: &[u8],
        tables: &mut Tables<'_>,
    ) -> Option<(LegId, Side)> {
        let place = self.orphans.iter().position(|orphan| orphan.call_id == ack.call_id)?;
        let orphan = self.orphans.remove(place)?;
        let id = self.begin(ack, uri, true, tables)?;
        let Ok(message) = sip::parse(&orphan.bytes) else { return Some((id, Side::Caller)) };
        if let Some(leg) = tables.legs.leg_mut(id) {
            leg.settle_callee(orphan.flow.src);
        }
        let answer = Heard {
            message: &message,
            flow: orphan.flow,
            call_id: ack.call_id,
            shown_call_id: String::new(),
            ..*ack
        };
        describe(&answer, id, Side::Callee, tables);
        Some((id, Side::Caller))
    }

    fn identity(&self, address: &Address<'_>, signalling: Endpoint) -> Identity {
        let number = shown(address.uri.user);
        Identity {
            registered: self.registered.contains(&number),
            is_registrar: self.registrars.contains(&signalling.ip()),
            number,
            name: shown(address.display),
            host: shown(address.uri.host),
            signalling,
        }
    }

    fn response(
        &mut self,
        heard: &Heard<'_, '_>,
        status: u16,
        reason: &[u8],
        bytes: &[u8],
        tables: &mut Tables<'_>,
    ) {
        if heard.cseq_method == b"REGISTER" {
            if status / 100 == 2 {
                self.register(heard);
            }
            return;
        }
        let Some((id, requester)) = tables.legs.find(heard.call_id, Digest::of(heard.sender_tag())) else {
            return self.keep_orphan(heard, status, bytes);
        };
        let Some(leg) = tables.legs.leg_mut(id) else { return };
        leg.last_activity = heard.at;
        leg.last_heard = self.idle_clock;
        leg.responded = true;
        if requester == Side::Caller && (101..300).contains(&status) {
            leg.learn_callee_tag(heard.to.tag());
        }
        if heard.cseq_method != b"INVITE" && heard.cseq_method != b"UPDATE" {
            if heard.cseq_method == b"PRACK" && status / 100 == 2 {
                describe(heard, id, requester.other(), tables);
            }
            return;
        }
        let sets_up = requester == Side::Caller
            && heard.cseq_method == b"INVITE"
            && heard.cseq == leg.invite_cseq
            && !leg.facts.joined_late;
        match status {
            ..=100 => {}
            101..=199 => {
                if sets_up && leg.facts.answered.is_none() && !leg.cancelled {
                    leg.reopen();
                    if leg.facts.ringing.is_none() && matches!(status, 180 | 183) {
                        leg.facts.ringing = Some(heard.at);
                        tables.out.push(Queued::Leg(LegNews::Ringing, id));
                    }
                }
                describe(heard, id, requester.other(), tables);
            }
            200..=299 => {
                if sets_up && heard.cseq_method == b"INVITE" {
                    leg.learn_answered_tag(heard.to.tag());
                    if leg.facts.answered.is_none() {
                        leg.settle_callee(heard.flow.src);
                        answer(leg, heard.at, tables.out);
                    }
                }
                settle_hold(leg, requester, heard, true, tables.out);
                describe(heard, id, requester.other(), tables);
            }
            300.. => {
                settle_hold(leg, requester, heard, false, tables.out);
                if sets_up && leg.facts.answered.is_none() && leg.is_first_hop(heard.flow.reversed()) {
                    refuse(leg, heard.at, status, reason);
                }
            }
        }
    }

    fn register(&mut self, heard: &Heard<'_, '_>) {
        let user = shown(heard.to.uri.user);
        let gone = |value: &[u8]| sip::trim(value) == b"0";
        let expires = heard.message.header("Expires").is_some_and(gone);
        if expires && heard.message.header("Contact").is_none() {
            self.registered.remove(&user);
            return;
        }
        if self.registered.len() < REGISTRATIONS_MAX {
            self.registered.insert(user);
        }
        if self.registrars.len() < REGISTRARS_MAX {
            self.registrars.insert(heard.flow.src.ip());
        }
    }

    fn keep_orphan(&mut self, heard: &Heard<'_, '_>, status: u16, bytes: &[u8]) {
        let is_answer =
            heard.cseq_method == b"INVITE" && (200..300).contains(&status) && heard.to.tag().is_some();
        if !is_answer
            || bytes.len() > ORPHAN_BYTES_MAX
            || self.orphans.iter().any(|o| o.call_id == heard.call_id)
        {
            return;
        }
        if self.orphans.len() >= ORPHANS_MAX {
            self.orphans.pop_front();
        }
        self.orphans.push_back(Orphan { call_id: heard.call_id, flow: heard.flow, bytes: bytes.to_vec() });
    }

    /// The logical call that a new leg continues: the dialog that it replaces, or one whose party was referred here.
    fn related_call(&self, heard: &Heard<'_, '_>, uri: &[u8], legs: &Legs) -> Option<CallId> {
        if let Some(replaces) = heard.message.header("Replaces") {
            let end = replaces.iter().position(|&b| b == b';').unwrap_or(replaces.len());
            let (call_id, parameters) = replaces.split_at_checked(end)?;
            let tag = |name| Digest::of(sip::parameter(parameters, name).unwrap_or_default());
            if let Some(id) = legs.find_dialog(Digest::of(sip::trim(call_id)), tag("from-tag"), tag("to-tag"))
            {
                return legs.leg(id).map(|leg| leg.facts.call);
            }
        }
        // One Call-ID under two tags at the same time: the next hop of a gateway that changes tags only.
        if let Some(call) = legs.running_call(heard.call_id) {
            return Some(call);
        }
        heard.message.header("Referred-By")?;
        let target = shown_user(uri);
        let fresh = |referral: &&Referral| {
            referral.target == target && heard.at.nanos_since(referral.at) < REFER_WAIT_MS * NS_PER_MS
        };
        self.referrals.iter().rev().find(fresh).map(|referral| referral.call)
    }

    /// A leg of this call is gone.
    pub(super) fn forget(&mut self, call: CallId) {
        if let Some(segments) = self.segments.get_mut(&call) {
            segments.live = segments.live.saturating_sub(1);
            if segments.live == 0 {
                self.segments.remove(&call);
            }
        }
    }
}

/// A caller who withholds the number in From may be named to the network (RFC 3325, 9.1), or by the older Remote-Party-ID.
fn assert_identity(caller: &mut Identity, message: &Message<'_>) {
    if !caller.is_withheld() {
        return;
    }
    let asserted =
        ["P-Asserted-Identity", "Remote-Party-ID"].into_iter().find_map(|name| message.header(name));
    if let Some(asserted) = asserted.map(Address::parse).filter(|a| !a.uri.user.is_empty()) {
        caller.number = shown(asserted.uri.user);
        if !asserted.display.is_empty() {
            caller.name = shown(asserted.display);
        }
    }
}

fn answer(leg: &mut Leg, at: Timestamp, out: &mut Outbox) {
    leg.reopen();
    leg.facts.answered = Some(at);
    out.push(Queued::Leg(LegNews::Answered, leg.facts.leg));
}

fn refuse(leg: &mut Leg, at: Timestamp, status: u16, reason: &[u8]) {
    leg.facts.ended.get_or_insert(at);
    leg.facts.ending = if leg.cancelled && matches!(status, 487 | 0) {
        Ending::Cancelled
    } else {
        Ending::Rejected { status, reason: shown(reason) }
    };
    let wait = if leg.cancelled { LINGER_MS } else { RETRY_WAIT_MS };
    leg.close_at = Some(at.plus_millis(wait));
}

fn ack(heard: &Heard<'_, '_>, id: LegId, side: Side, tables: &mut Tables<'_>) {
    let Some(leg) = tables.legs.leg_mut(id) else { return };
    if leg.facts.answered.is_none() && heard.cseq == leg.invite_cseq && !leg.is_over() {
        // The response may have gone another way. The ACK of a refusal is in the INVITE's transaction, that of a 2xx has
        // one of its own (RFC 3261, 17.1.1.3 and 13.2.2.4).
        if heard.branch().is_some_and(|branch| leg.branches.contains(&branch)) {
            // Behind a proxy it concerns one device that was tried.
            if leg.is_first_hop(heard.flow) {
                refuse(leg, heard.at, 0, b"");
            }
        } else {
            answer(leg, heard.at, tables.out);
        }
    }
    describe(heard, id, side, tables);
}

fn bye(heard: &Heard<'_, '_>, id: LegId, side: Side, tables: &mut Tables<'_>) {
    let Some(leg) = tables.legs.leg_mut(id) else { return };
    if leg.is_over() {
        return;
    }
    // Of two forks that answered, the caller hangs one up; the call goes on with the other.
    let callee_tag = if side == Side::Caller { heard.to.tag() } else { Some(heard.sender_tag()) };
    let fork = callee_tag.map(Digest::of);
    if leg.answered_tags.len() > 1 && fork.is_some_and(|tag| leg.answered_tags.contains(&tag)) {
        leg.answered_tags.retain(|&tag| Some(tag) != fork);
        return;
    }
    if leg.facts.answered.is_none() && !leg.responded {
        // No response was ever seen: a tap of one direction. A BYE tells that there was a call.
        answer(leg, leg.facts.started, tables.out);
    }
    leg.facts.ended = Some(heard.at);
    leg.facts.ending = Ending::Bye { by: side };
    leg.close_at = Some(heard.at.plus_millis(LINGER_MS));
}

fn cancel(heard: &Heard<'_, '_>, id: LegId, tables: &mut Tables<'_>) {
    let Some(leg) = tables.legs.leg_mut(id) else { return };
    if leg.facts.answered.is_none() && heard.cseq == leg.invite_cseq && leg.is_first_hop(heard.flow) {
        leg.cancelled = true;
        leg.facts.ended.get_or_insert(heard.at);
        leg.facts.ending = Ending::Cancelled;
        leg.close_at = Some(heard.at.plus_millis(CANCEL_WAIT_MS));
    }
}

/// Takes the message's session description, if it has one, as `side`'s.
fn describe(heard: &Heard<'_, '_>, id: LegId, side: Side, tables: &mut Tables<'_>) {
    let Some(body) = sip::sdp_body(heard.message) else { return };
    let Some(leg) = tables.legs.leg_mut(id) else { return };
    let is_request = heard.message.method().is_some();
    let is_offer = match leg.offer {
        _ if is_request => heard.message.method() != Some(b"ACK"),
        // A response answers the offer of its request; without one it is an offer itself (late offer).
        Some((offerer, cseq)) => !(offerer == side.other() && cseq == heard.cseq),
        None => true,
    };
    if is_request && is_offer {
        leg.offer = Some((side, heard.cseq));
    }
    let description = Digest::of(body);
    if leg.side(side).description == Some(description) {
        return;
    }
    let session = sdp::parse(body);
    if session.media.is_empty() {
        return;
    }
    apply_description(leg, side, &session, description, is_offer);
    if is_offer && leg.facts.answered.is_some() && is_request {
        offer_hold(leg, side, &session, heard.cseq);
    }
    tables.media.apply(id, side, &session, heard.at, tables.legs, tables.out);
}

fn apply_description(leg: &mut Leg, side: Side, session: &sdp::Session, description: Digest, is_offer: bool) {
    let used: Vec<&sdp::Media> =
        session.audio().filter(|m| m.receives_at.is_some() || m.held_by_address).collect();
    let state = leg.side_mut(side);
    state.description = Some(description);
    leg.facts.audio_announced |= !used.is_empty();
    let Some(first) = used.first() else { return };
    let state = leg.side_mut(side);
    state.ptime_ms = first.ptime_ms.or(state.ptime_ms);
    state.quiet = first.held_by_address
        || matches!(first.direction, sdp::Direction::SendOnly | sdp::Direction::Inactive);
    let mut formats: Vec<crate::media::Format> = Vec::new();
    // Formats of earlier descriptions stay readable behind the new ones: packets sent before the change are still on the way.
    for format in used.iter().flat_map(|media| &media.formats).chain(&state.formats) {
        if !formats.iter().any(|f| f.payload_type == format.payload_type) {
            formats.push(format.clone());
        }
    }
    formats.truncate(2 * sdp::FORMATS_MAX);
    state.formats = formats;
    // The answer decides; an offer may leave the choice between SRTP and RTP.
    let encrypted = used.iter().all(|media| media.encrypted);
    if is_offer {
        (leg.encrypted_offer, leg.encrypted_answer) = (Some(encrypted), None);
    } else {
        leg.encrypted_answer = Some(encrypted);
    }
    leg.settle_encryption();
}

impl Leg {
    /// Is the media encrypted, by all that is known?
    pub(super) fn settle_encryption(&mut self) {
        self.facts.encrypted =
            self.dtls_seen || self.encrypted_answer.or(self.encrypted_offer).unwrap_or(false);
    }
}

/// An offer of `sendonly`, `inactive` or the address 0.0.0.0 asks to put the other side on hold (RFC 3264, 8.4; RFC 6337, 5.3);
/// it counts once it is accepted.
fn offer_hold(leg: &mut Leg, by: Side, session: &sdp::Session, cseq: u32) {
    let Some(audio) = session.audio().find(|m| m.receives_at.is_some() || m.held_by_address) else { return };
    let holding = audio.held_by_address
        || matches!(audio.direction, sdp::Direction::SendOnly | sdp::Direction::Inactive);
    leg.pending_hold = Some(PendingHold { by, cseq, holding });
}

/// The final response to an offer of hold or retrieve has come.
fn settle_hold(leg: &mut Leg, offerer: Side, heard: &Heard<'_, '_>, accepted: bool, out: &mut Outbox) {
    let Some(pending) = leg.pending_hold.filter(|p| p.by == offerer && p.cseq == heard.cseq) else { return };
    leg.pending_hold = None;
    let id = leg.facts.leg;
    let state = leg.side_mut(pending.by);
    if !accepted {
        // As before: the next offer may say the same again and mean it.
        state.quiet = state.holding;
        state.description = None;
        return;
    }
    if state.holding == pending.holding {
        return;
    }
    state.holding = pending.holding;
    let (by, at) = (pending.by, heard.at);
    out.push(if pending.holding {
        Queued::Hold { leg: id, by, at }
    } else {
        Queued::Retrieve { leg: id, by, at }
    });
    note_hold(leg, at);
}

/// Keeps the stretches in which at least one side holds.
fn note_hold(leg: &mut Leg, at: Timestamp) {
    let holding = leg.sides.iter().any(|side| side.holding);
    match (holding, leg.hold_since) {
        (true, None) => leg.hold_since = Some(at),
        (false, Some(since)) => {
            leg.hold_since = None;
            if leg.holds.len() < super::HOLDS_MAX {
                leg.holds.push((since, at));
            }
        }
        _ => {}
    }
}

/// Call-ID, or what stands for it when it is missing (RFC 4475, 3.3.1: insuf): both ends and the session's origin.
fn dialog_key(message: &Message<'_>, flow: Flow) -> Vec<u8> {
    match message.call_id() {
        Some(call_id) if !call_id.is_empty() => call_id.to_vec(),
        _ => {
            let origin = sip::sdp_body(message).map(|body| sdp::parse(body).origin).unwrap_or_default();
            let (a, b) = if flow.src < flow.dst { (flow.src, flow.dst) } else { (flow.dst, flow.src) };
            format!("without Call-ID: {a} {b} {origin}").into_bytes()
        }
    }
}

/// The user part of a Request-URI; angle brackets do not belong there (RFC 4475, ltgtruri).
fn shown_user(uri: &[u8]) -> String {
    shown(sip::Uri::parse(uri.strip_prefix(b"<").unwrap_or(uri)).user)
}

/// Bytes of a message as bounded text.
fn shown(bytes: &[u8]) -> String {
    let mut text = text(bytes.get(..bytes.len().min(4 * TEXT_MAX)).unwrap_or_default());
    if let Some((cut, _)) = text.char_indices().nth(TEXT_MAX) {
        text.truncate(cut);
    }
    text
}
