//! SIP messages to legs: dialogs, answers, hold, transfer, the end (RFC 3261, 3264, 3515, 3891).
//!
//! The recorder sees messages, not transactions: each message is read for what it says about a leg, and saying it twice
//! (a retransmission, the next hop of a proxy, a mirror of both directions) changes nothing.

mod conference;
mod connected;
mod goodbye;
mod keep;
mod offer;
mod relate;

use std::collections::VecDeque;

use rustc_hash::FxHashSet;

pub(super) use self::conference::{Conference, Session};
pub use self::conference::{NAMED_BY_MAX, Named, NamedBy};
use self::goodbye::Goodbyes;
use self::offer::{describe, settle_hold};
pub use self::relate::CALL_HEADERS_MAX;
use self::relate::{CallHeaders, replaced_leg, tie_by_session};
use super::calls::{self, Calls};
use super::event::{CallId, Ending, Identity, LegFacts, LegId, Tie, TieReason};
use super::hardware::Hardware;
use super::leg::{Digest, Fit, Found, Hop, Leg, Legs};
use super::media::Media;
use super::outbox::{LegNews, Outbox, Queued};
use super::trace::{self, Received};
use crate::media::Side;
use crate::net::{Endpoint, Flow};
use crate::rtp::dtmf::Digit;
use crate::sdp;
use crate::signal::Carrier;
use crate::sip::{self, Address, Message, StartLine, text};
use crate::time::Timestamp;

/// After its end a leg stays for packets on the way and repeated messages.
pub const LINGER_MS: i64 = 1_000;
/// After a CANCEL the final response is awaited for this long.
const CANCEL_WAIT_MS: i64 = 5_000;
/// After a refusal the caller may try again under the same Call-ID (with credentials that a person has to type, a longer
/// session interval, another codec).
const RETRY_WAIT_MS: i64 = 64_000;
/// INVITEs without any response that are waited for. Beyond, the oldest is given up before its time: a flood of them must not
/// fill the table of calls, and a call that is alive has its first response within moments.
pub const HALF_OPEN_MAX: usize = 32_768;
/// Registrations remembered.
const REGISTRATIONS_MAX: usize = 100_000;
/// Addresses remembered of PBXs: devices register there, or calls pass through.
const REGISTRARS_MAX: usize = 1_024;
/// Answers whose INVITE was not seen, kept for the ACK that proves the call; and the longest that is kept, in bytes.
const ORPHANS_MAX: usize = 256;
const ORPHAN_BYTES_MAX: usize = 4_096;
/// Longest text kept of a name, number or Call-ID, in characters.
const TEXT_MAX: usize = 256;

/// A 2xx to an INVITE that was sent before the capture began.
struct Orphan {
    call_id: Digest,
    at: Timestamp,
    flow: Flow,
    carrier: Carrier,
    bytes: Vec<u8>,
}

/// What the signalling has taught about the site and its calls.
#[derive(Default)]
pub(super) struct Signalling {
    registered: FxHashSet<String>,
    registrars: FxHashSet<std::net::IpAddr>,
    orphans: VecDeque<Orphan>,
    goodbyes: Goodbyes,
    /// Legs in the order in which they began, those that have had a response since among them.
    half_open: VecDeque<LegId>,
    /// Header fields that name a call across its legs.
    call_headers: CallHeaders,
    /// How calls that the recorder is conferenced into are known.
    pub(super) conference: Option<Conference>,
    /// By which way in the frame at hand came.
    pub(super) source: u16,
    /// Which Ethernet addresses phones have.
    pub(super) hardware: Hardware,
    pub(super) messages: u64,
    /// Time that counts as silence when it passes without a message, in nanoseconds (see [`super::Core`]).
    pub(super) idle_clock: i64,
}

/// The tables that a message may touch.
pub(super) struct Tables<'t> {
    pub(super) legs: &'t mut Legs,
    pub(super) calls: &'t mut Calls,
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

impl<'m, 'a> Heard<'m, 'a> {
    /// A message with where and when; `empty` stands for an address that it lacks.
    fn of(message: &'m Message<'a>, flow: Flow, at: Timestamp, empty: Address<'a>) -> Self {
        let (cseq, cseq_method) = message.cseq().unwrap_or((0, message.method().unwrap_or_default()));
        let call_id = dialog_key(message, flow);
        Heard {
            call_id: Digest::of(&call_id),
            shown_call_id: shown(&call_id),
            from: message.from().unwrap_or(empty),
            to: message.to().unwrap_or(empty),
            message,
            flow,
            at,
            cseq,
            cseq_method,
        }
    }
}

impl Heard<'_, '_> {
    fn sender_tag(&self) -> &[u8] {
        self.from.tag().unwrap_or_default()
    }

    /// The leg that it is about.
    fn find(&self, legs: &Legs) -> Option<Found> {
        legs.find(self.call_id, Digest::of(self.sender_tag()), self.to.tag().map(Digest::of))
    }

    /// The branch of the top Via: names the transaction (RFC 3261, 8.1.1.7).
    fn branch(&self) -> Option<Digest> {
        let via = self.message.header("Via")?;
        sip::parameter(via, "branch").filter(|branch| !branch.is_empty()).map(Digest::of)
    }
}

impl Signalling {
    /// Reads one message. What is no SIP after all is left alone.
    pub(super) fn handle(&mut self, received: &Received<'_>, tables: &mut Tables<'_>) {
        let &Received { at, flow, bytes, .. } = received;
        let Ok(message) = sip::parse(bytes) else {
            return tables.out.oddity(at, Some(flow), "looks like SIP and cannot be read");
        };
        self.messages += 1;
        self.hardware.heard(flow.src.ip(), at);
        for oddity in &message.oddities {
            tables.out.oddity(at, Some(flow), oddity.name());
        }
        let heard = Heard::of(&message, flow, at, Address::parse(b""));
        let leg = match message.start {
            StartLine::Request { method, uri } => self.request(&heard, method, uri, received, tables),
            StartLine::Response { status, reason } => self.response(&heard, status, reason, received, tables),
        };
        if let Some(leg) = leg {
            keep::keep(received, &heard, leg, tables);
        }
    }

    /// Gives the leg that it is about.
    fn request(
        &mut self,
        heard: &Heard<'_, '_>,
        method: &[u8],
        uri: &[u8],
        received: &Received<'_>,
        tables: &mut Tables<'_>,
    ) -> Option<LegId> {
        let mut found = heard.find(tables.legs);
        if found.is_none() && method == b"ACK" && heard.to.tag().is_some() {
            found = self.adopt_orphan(heard, uri, tables);
        }
        if let Some(Found { leg: id, side, .. }) = found
            && let Some(leg) = tables.legs.leg_mut(id)
        {
            self.touch(leg, heard);
            if side == Side::Caller {
                leg.learn_callee_tag(heard.to.tag());
            }
            tie_by_session(heard, id, tables);
            conference::tell_more(heard, id, side, tables);
            if matches!(method, b"INVITE" | b"UPDATE") {
                connected::tell_sender(heard, id, side, tables);
            }
        }
        match (method, found) {
            (b"INVITE", _) => return self.invite(heard, uri, found, tables),
            (b"ACK", Some(found)) => ack(heard, found.leg, found.side, tables),
            (b"BYE", Some(found)) => bye(heard, found.leg, found.side, tables),
            (b"BYE", None) if !tables.legs.was_known(heard.call_id) => self.goodbyes.keep(heard, received),
            (b"CANCEL", Some(found)) => cancel(heard, found.leg, tables),
            (b"UPDATE" | b"PRACK", Some(found)) => describe(heard, found.leg, found.side, tables),
            (b"INFO", Some(found)) => info(heard, found.leg, found.side, tables),
            (b"REFER", Some(found)) => refer(heard, found.leg, tables),
            // Within a dialog that had begun before (RFC 3311, 5.1); only its description says where its media is.
            (b"UPDATE", None) if heard.to.tag().is_some() && sip::sdp_body(heard.message).is_some() => {
                return self.begin(heard, uri, true, tables);
            }
            _ => {}
        }
        found.map(|found| found.leg)
    }

    /// A message of this leg: it lives.
    fn touch(&self, leg: &mut Leg, heard: &Heard<'_, '_>) {
        leg.last_activity = heard.at;
        leg.last_heard = self.idle_clock;
        if let Some(expires) = heard.message.header("Session-Expires") {
            let seconds = expires.split(|&b| b == b';').next().map(sip::trim).unwrap_or_default();
            let seconds = std::str::from_utf8(seconds).ok().and_then(|text| text.parse().ok());
            leg.session_expires_s = seconds.or(leg.session_expires_s);
        }
    }

    fn invite(
        &mut self,
        heard: &Heard<'_, '_>,
        uri: &[u8],
        found: Option<Found>,
        tables: &mut Tables<'_>,
    ) -> Option<LegId> {
        let initial = heard.to.tag().is_none();
        let found = found.map(|found| (found.leg, found.side)).or_else(|| {
            let refused = initial.then(|| tables.legs.find_refused(heard.call_id, heard.flow)).flatten();
            refused.map(|id| (id, Side::Caller))
        });
        let Some((id, side)) = found else {
            return self.begin(heard, uri, !initial, tables);
        };
        if !(initial && side == Side::Caller) {
            describe(heard, id, side, tables);
            return Some(id);
        }
        let caller_tag = tables.legs.leg(id)?.caller_tag;
        let forks = tables.legs.forks(heard.call_id, caller_tag);
        let answered =
            || forks.iter().filter_map(|&id| tables.legs.leg(id)).filter(|leg| leg.facts.answered.is_some());
        let is_answered = answered().next().is_some();
        if is_answered && answered().all(|leg| leg.is_over() && leg.invite_cseq != heard.cseq) {
            // The Call-ID is used again after the call: another call.
            return self.begin(heard, uri, false, tables);
        }
        if let Some(leg) = tables.legs.leg_mut(id).filter(|_| !is_answered) {
            let again = heard.cseq > leg.invite_cseq;
            if again || (leg.callee_tag.is_none() && !leg.cancelled) {
                // Tried again, with credentials or otherwise changed, or passed on to another device: the same call.
                leg.invite_cseq = leg.invite_cseq.max(heard.cseq);
                leg.caller_tag = Digest::of(heard.sender_tag());
                leg.callee_tag = leg.callee_tag.filter(|_| !again);
                leg.reopen();
            }
        }
        let hop = self.hop(heard, uri);
        for id in forks {
            let Some(leg) = tables.legs.leg_mut(id) else { continue };
            leg.learn_hop(hop.clone());
            leg.learn_branch(heard.branch());
            let callee = leg.facts.party(Side::Callee).number.clone();
            tables.calls.note_numbers(id, heard.flow.dst, &leg.facts.party(Side::Caller).number, &callee);
            describe(heard, id, side, tables);
        }
        Some(id)
    }

    fn hop(&self, heard: &Heard<'_, '_>, uri: &[u8]) -> Hop {
        let user = shown_user(uri);
        Hop {
            from: heard.flow.src,
            to: heard.flow.dst,
            is_registrar: self.registrars.contains(&heard.flow.dst.ip()),
            registered: self.registered.contains(&user),
            user,
            at: heard.at,
        }
    }

    /// A new leg.
    fn begin(
        &mut self,
        heard: &Heard<'_, '_>,
        uri: &[u8],
        joined_late: bool,
        tables: &mut Tables<'_>,
    ) -> Option<LegId> {
        let Some(leg) = tables.legs.next_id(heard.call_id) else {
            tables.out.oddity(heard.at, Some(heard.flow), "more calls at once than can be followed");
            return None;
        };
        let mut caller = self.identity(&heard.from, heard.flow.src);
        assert_identity(&mut caller, heard.message);
        let mut callee = self.identity(&heard.to, heard.flow.dst);
        let mut conferenced = self.conferenced(heard.message, uri);
        let session = conferenced.as_ref().and_then(|_| Session::of(heard.message));
        let parties = session.as_ref().and_then(|session| session.speakers());
        let is_named = parties.is_some();
        if let Some(parties) = parties {
            // The metadata says whose voice each stream is: neither party is at the client's address.
            conferenced = Some(Box::default());
            [caller, callee] = parties.map(|(number, name, host)| Identity {
                number,
                name,
                host,
                signalling: heard.flow.dst,
                registered: false,
                is_registrar: false,
            });
        }
        let hop = self.hop(heard, uri);
        let ties = self.related(heard, leg, [&caller.number, &callee.number], &hop.user, tables);
        let tied = ties.first().map(|&(call, _)| call);
        let new = CallId::new(heard.at, &[heard.shown_call_id.as_bytes(), heard.sender_tag()]);
        let (call, segment) = tables.calls.enter(leg, tied, new);
        tables.calls.note_numbers(leg, heard.flow.dst, &caller.number, &callee.number);
        let facts = LegFacts {
            leg,
            call,
            segment,
            ties: ties.iter().take(1).map(|(_, tie)| tie.clone()).collect(),
            others: Vec::new(),
            sip_call_id: heard.shown_call_id.clone(),
            parties: [caller, callee],
            request_user: hop.user.clone(),
            request_registered: hop.registered,
            diverted_by: conference::diverted_by(heard.message, uri),
            started: heard.at,
            ringing: None,
            answered: joined_late.then_some(heard.at),
            ended: None,
            ending: Ending::Running,
            early_media: false,
            encrypted: false,
            no_key: None,
            joined_late,
            // Nor does it say who of them had called.
            caller_known: !joined_late && !is_named,
            known_by_end: false,
            malformed: heard.message.oddities.contains(&sip::Oddity::MandatoryMissing),
            audio_announced: false,
            audio_packets: [0; 2],
            first_audio: None,
            conferenced,
        };
        let caller_tag = Digest::of(heard.sender_tag());
        let mut state = Leg::new(facts, heard.call_id, caller_tag, heard.flow, heard.cseq, self.idle_clock);
        state.session = session;
        state.learn_callee_tag(heard.to.tag());
        state.learn_hop(hop);
        state.learn_branch(heard.branch());
        self.touch(&mut state, heard);
        tables.legs.insert(state);
        self.make_room(leg, heard.at, tables.legs);
        tables.out.push(Queued::Leg(LegNews::Started, leg));
        for (nth, (_, tie)) in ties.into_iter().enumerate() {
            if let Some(relay) = calls::mark_relay(tie.leg, leg, tables.legs) {
                self.learn_pbx(relay);
            }
            if nth > 0 {
                tables.calls.join(leg, tie.leg, tie.why, tables.legs, tables.out);
            }
        }
        describe(heard, leg, Side::Caller, tables);
        Some(leg)
    }

    /// One more leg waits for its first response; see [`HALF_OPEN_MAX`].
    fn make_room(&mut self, leg: LegId, at: Timestamp, legs: &mut Legs) {
        self.half_open.push_back(leg);
        if self.half_open.len() <= HALF_OPEN_MAX {
            return;
        }
        let oldest = self.half_open.pop_front().and_then(|id| legs.leg_mut(id));
        if let Some(leg) =
            oldest.filter(|leg| !leg.responded && leg.facts.first_audio.is_none() && !leg.is_over())
        {
            leg.facts.ended = Some(at);
            leg.facts.ending = Ending::TimedOut;
            leg.close_at = Some(at);
        }
    }

    /// A response of another device than the one that `base` leads to: the INVITE was forked, and this is a leg of its own.
    fn fork(&self, heard: &Heard<'_, '_>, base: LegId, tables: &mut Tables<'_>) -> Option<LegId> {
        let Some(id) = tables.legs.next_id(heard.call_id) else {
            tables.out.oddity(
                heard.at,
                Some(heard.flow),
                "an INVITE is forked to more devices than can be followed",
            );
            return None;
        };
        let base = tables.legs.leg(base)?;
        let (call, segment) = tables.calls.enter(id, Some(base.facts.call), base.facts.call);
        let hop = base.hops.iter().find(|hop| hop.to == heard.flow.src);
        let first = base.hops.first();
        let facts = LegFacts {
            leg: id,
            call,
            segment,
            ties: vec![Tie {
                leg: base.facts.leg,
                sip_call_id: base.facts.sip_call_id.clone(),
                why: TieReason::Fork,
            }],
            parties: [base.facts.party(Side::Caller).clone(), self.identity(&heard.to, base.first_hop.dst)],
            request_user: first.map(|hop| hop.user.clone()).unwrap_or_default(),
            request_registered: first.is_some_and(|hop| hop.registered),
            started: hop.map_or(base.facts.started, |hop| hop.at),
            ringing: None,
            answered: None,
            ended: None,
            ending: Ending::Running,
            early_media: false,
            encrypted: false,
            no_key: None,
            audio_packets: [0; 2],
            first_audio: None,
            ..base.facts.clone()
        };
        let mut leg = base.fork(facts);
        let base = base.facts.leg;
        leg.last_activity = heard.at;
        leg.last_heard = self.idle_clock;
        leg.learn_callee_tag(heard.to.tag());
        leg.settle_callee(heard.flow.src);
        leg.trace = tables.legs.leg(base).and_then(|base| trace::of_fork(base, tables.out));
        tables.legs.insert(leg);
        tables.out.push(Queued::Leg(LegNews::Started, id));
        tables.media.share(base, id, Side::Caller, heard.at, tables.legs);
        Some(id)
    }

    /// The capture began while it rang: an answer was seen and is now acknowledged, so there is a call, although its INVITE
    /// was not seen. (An answer alone proves nothing: RFC 4475, bcast.)
    fn adopt_orphan(&mut self, ack: &Heard<'_, '_>, uri: &[u8], tables: &mut Tables<'_>) -> Option<Found> {
        let place = self.orphans.iter().position(|orphan| orphan.call_id == ack.call_id)?;
        let orphan = self.orphans.remove(place)?;
        let id = self.begin(ack, uri, true, tables)?;
        let found = Found { leg: id, side: Side::Caller, fit: Fit::Dialog };
        let Ok(message) = sip::parse(&orphan.bytes) else { return Some(found) };
        if let Some(leg) = tables.legs.leg_mut(id) {
            leg.settle_callee(orphan.flow.src);
            leg.facts.caller_known = true;
            // What an ACK does not answer was itself the answer to an offer in the INVITE (RFC 3261, 13.2.1).
            if sip::sdp_body(ack.message).is_none() {
                leg.offer = Some((Side::Caller, ack.cseq));
            }
        }
        let answer = Heard {
            message: &message,
            flow: orphan.flow,
            call_id: ack.call_id,
            shown_call_id: String::new(),
            ..*ack
        };
        describe(&answer, id, Side::Callee, tables);
        let Orphan { at, flow, carrier, ref bytes, .. } = orphan;
        keep::keep(&Received { at, flow, carrier, bytes }, &answer, id, tables);
        Some(found)
    }

    /// Whom an INVITE that conferences the recorder in names; none of any other.
    fn conferenced(&self, message: &Message<'_>, uri: &[u8]) -> Option<Box<[Named]>> {
        let conference = self.conference.as_ref().filter(|known| known.source == self.source)?;
        Some(conference.named(message, uri).into())
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
        received: &Received<'_>,
        tables: &mut Tables<'_>,
    ) -> Option<LegId> {
        if heard.cseq_method == b"REGISTER" {
            if status / 100 == 2 {
                self.register(heard);
            }
            return None;
        }
        let Some(found) = heard.find(tables.legs) else {
            self.keep_orphan(heard, status, received);
            return None;
        };
        let id = self.responder(heard, found, status, tables)?;
        let requester = found.side;
        let leg = tables.legs.leg_mut(id)?;
        self.touch(leg, heard);
        leg.responded = true;
        if requester == Side::Caller && (101..300).contains(&status) && leg.callee_tag.is_none() {
            leg.learn_callee_tag(heard.to.tag());
            if leg.facts.answered.is_none() {
                leg.settle_callee(heard.flow.src);
            }
        }
        tie_by_session(heard, id, tables);
        let leg = tables.legs.leg_mut(id)?;
        if heard.cseq_method != b"INVITE" && heard.cseq_method != b"UPDATE" {
            if heard.cseq_method == b"PRACK" && status / 100 == 2 {
                describe(heard, id, requester.other(), tables);
            }
            return Some(id);
        }
        let sets_up =
            heard.cseq_method == b"INVITE" && requester == Side::Caller && leg.is_set_up_by(heard.cseq);
        match status {
            ..=100 => {}
            101..=199 => {
                if sets_up && leg.facts.answered.is_none() && !leg.cancelled {
                    if leg.facts.ending != Ending::AnsweredElsewhere {
                        leg.reopen();
                    }
                    if leg.facts.ringing.is_none() && matches!(status, 180 | 183) {
                        leg.facts.ringing = Some(heard.at);
                        tables.out.push(Queued::Leg(LegNews::Ringing, id));
                    }
                }
                describe(heard, id, requester.other(), tables);
            }
            200..=299 => {
                if sets_up && leg.facts.answered.is_none() {
                    leg.settle_callee(heard.flow.src);
                    answer(leg, heard.at, tables.out);
                    answered_elsewhere(heard, id, tables);
                }
                if let Some(leg) = tables.legs.leg_mut(id) {
                    settle_hold(leg, requester, heard, true, tables.out);
                }
                connected::tell_responder(heard, id, requester.other(), tables);
                describe(heard, id, requester.other(), tables);
            }
            300.. => {
                settle_hold(leg, requester, heard, false, tables.out);
                if sets_up {
                    refused(heard, id, found.fit, (status, reason), tables);
                }
            }
        }
        Some(id)
    }

    /// The leg that a response speaks for: the one found, or a new one when the INVITE turns out to be forked.
    fn responder(
        &self,
        heard: &Heard<'_, '_>,
        found: Found,
        status: u16,
        tables: &mut Tables<'_>,
    ) -> Option<LegId> {
        let leg = tables.legs.leg(found.leg)?;
        let is_fork = found.fit == Fit::Fork
            && found.side == Side::Caller
            && heard.cseq_method == b"INVITE"
            && (101..300).contains(&status)
            && leg.is_set_up_by(heard.cseq);
        if !is_fork {
            return Some(found.leg);
        }
        let caller_tag = leg.caller_tag;
        let is_answered = tables
            .legs
            .forks(heard.call_id, caller_tag)
            .into_iter()
            .any(|id| tables.legs.leg(id).is_some_and(|leg| leg.facts.answered.is_some()));
        // Who begins to ring when the call is answered already comes too late.
        if is_answered && status < 200 {
            return None;
        }
        self.fork(heard, found.leg, tables)
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
        self.learn_pbx(heard.flow.src);
    }

    /// Users that were seen to register, and have not said since that they are gone; in no order.
    pub(super) fn registered(&self) -> impl Iterator<Item = &str> {
        self.registered.iter().map(String::as_str)
    }

    /// Addresses that behave as a telephone system does; in no order.
    pub(super) fn registrars(&self) -> impl Iterator<Item = std::net::IpAddr> + '_ {
        self.registrars.iter().copied()
    }

    fn learn_pbx(&mut self, at: Endpoint) {
        if self.registrars.len() < REGISTRARS_MAX {
            self.registrars.insert(at.ip());
        }
    }

    fn keep_orphan(&mut self, heard: &Heard<'_, '_>, status: u16, received: &Received<'_>) {
        let &Received { at, flow, carrier, bytes } = received;
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
        let (call_id, bytes) = (heard.call_id, bytes.to_vec());
        self.orphans.push_back(Orphan { call_id, at, flow, carrier, bytes });
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
    // Who was refused by the recorder itself begins another call when it tries again.
    let is_over = leg.cancelled || leg.facts.conferenced.is_some();
    let wait = if is_over { LINGER_MS } else { RETRY_WAIT_MS };
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
    if leg.facts.answered.is_none() && side == Side::Callee {
        // Its answer and the ACK were missed: before them a callee sends no BYE (RFC 3261, 15).
        answer(leg, leg.facts.ringing.unwrap_or(leg.facts.started), tables.out);
    }
    leg.facts.ended = Some(heard.at);
    leg.facts.ending = Ending::Bye { by: side };
    leg.close_at = Some(heard.at.plus_millis(LINGER_MS));
}

/// The caller gives up: every device that still rings.
fn cancel(heard: &Heard<'_, '_>, id: LegId, tables: &mut Tables<'_>) {
    let Some(leg) = tables.legs.leg(id) else { return };
    for id in tables.legs.forks(heard.call_id, leg.caller_tag) {
        let Some(leg) = tables.legs.leg_mut(id) else { continue };
        if leg.facts.answered.is_none()
            && !leg.is_over()
            && heard.cseq == leg.invite_cseq
            && leg.is_first_hop(heard.flow)
        {
            leg.cancelled = true;
            leg.facts.ended = Some(heard.at);
            leg.facts.ending = Ending::Cancelled;
            leg.close_at = Some(heard.at.plus_millis(CANCEL_WAIT_MS));
        }
    }
}

/// One device has answered: the others that the INVITE was forked to stop ringing. One that answers all the same is
/// answered (RFC 3261, 13.2.2.4).
fn answered_elsewhere(heard: &Heard<'_, '_>, answered: LegId, tables: &mut Tables<'_>) {
    let Some(leg) = tables.legs.leg(answered) else { return };
    for id in tables.legs.forks(heard.call_id, leg.caller_tag) {
        let Some(leg) = tables.legs.leg_mut(id).filter(|leg| leg.facts.answered.is_none()) else { continue };
        if !leg.is_over() {
            leg.facts.ended = Some(heard.at);
            leg.facts.ending = Ending::AnsweredElsewhere;
            leg.close_at = Some(heard.at.plus_millis(CANCEL_WAIT_MS));
        }
    }
}

/// A final response of 300 or more to the INVITE. At the caller's own hop it ends the attempt, whichever device it speaks for;
/// behind a proxy it ends the one device that sent it.
fn refused(
    heard: &Heard<'_, '_>,
    id: LegId,
    fit: Fit,
    (status, reason): (u16, &[u8]),
    tables: &mut Tables<'_>,
) {
    let Some(leg) = tables.legs.leg(id) else { return };
    let forks = if leg.is_first_hop(heard.flow.reversed()) {
        tables.legs.forks(heard.call_id, leg.caller_tag)
    } else if fit == Fit::Dialog {
        vec![id]
    } else {
        return;
    };
    for id in forks {
        let Some(leg) = tables.legs.leg_mut(id) else { continue };
        if leg.facts.answered.is_none() && leg.is_set_up_by(heard.cseq) && (!leg.is_over() || leg.cancelled) {
            refuse(leg, heard.at, status, reason);
        }
    }
}

/// A digit that travels in the signalling. Its CSeq tells a repetition.
fn info(heard: &Heard<'_, '_>, id: LegId, side: Side, tables: &mut Tables<'_>) {
    let Some((digit, duration_ms)) = sip::keyed_digit(heard.message) else { return };
    let Some(leg) = tables.legs.leg_mut(id) else { return };
    let Some(latest) = leg.info_cseq.get_mut(side.index()) else { return };
    if latest.is_none_or(|latest| heard.cseq > latest) {
        *latest = Some(heard.cseq);
        let digit = Digit { at: heard.at, digit, duration_ms };
        tables.out.push(Queued::Digit { leg: id, side, digit });
    }
}

fn refer(heard: &Heard<'_, '_>, id: LegId, tables: &mut Tables<'_>) {
    let (Some(refer_to), Some(leg)) = (heard.message.header("Refer-To"), tables.legs.leg(id)) else { return };
    let target = shown(Address::parse(refer_to).uri.user);
    tables.calls.note_referral(leg, target, heard.flow.dst, heard.at);
    // The call that is to be replaced is named (RFC 3891, 3), also where a PBX joins the two by itself.
    if let Some(named) = sip::replaces_of(refer_to)
        && let Some(with) = replaced_leg(&named, tables.legs).map(|leg| leg.facts.leg)
    {
        tables.calls.join(id, with, TieReason::Refer, tables.legs, tables.out);
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
