//! SIP messages to legs: dialogs, answers, hold, transfer, the end (RFC 3261, 3264, 3515, 3891).
//!
//! The recorder sees messages, not transactions: each message is read for what it says about a leg, and saying it twice
//! (a retransmission, the next hop of a proxy, a mirror of both directions) changes nothing.

use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHashSet, FxHasher};

use super::event::{CallId, Ending, Identity, LegFacts, LegId};
use super::leg::{Leg, Legs, SideMedia};
use super::media::Media;
use super::outbox::{LegNews, Outbox, Queued};
use crate::media::Side;
use crate::net::{Endpoint, Flow};
use crate::sdp;
use crate::sip::{self, Address, Message, StartLine, text};
use crate::time::Timestamp;

/// After its end a leg stays for packets on the way and repeated messages.
pub const LINGER_MS: i64 = 1_000;
/// After a CANCEL the final response is awaited for this long.
const CANCEL_WAIT_MS: i64 = 5_000;
/// After a refusal the caller may try again under the same Call-ID (with credentials that a person has to type, a longer
/// session interval, another codec).
const RETRY_WAIT_MS: i64 = 64_000;
/// A REFER explains an INVITE to its target for this long.
const REFER_WAIT_MS: i64 = 30_000;
/// Registrations remembered.
const REGISTRATIONS_MAX: usize = 100_000;
/// Longest text kept of a name, number or Call-ID, in characters.
const TEXT_MAX: usize = 256;

/// What the signalling has taught about the site and its calls.
#[derive(Default)]
pub(super) struct Signalling {
    registered: FxHashSet<String>,
    registrars: FxHashSet<std::net::IpAddr>,
    /// Legs so far of each logical call that still has one.
    segments: FxHashMap<CallId, (u32, u32)>,
    pub(super) messages: u64,
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
    call_id: Vec<u8>,
    from: Address<'a>,
    to: Address<'a>,
    cseq: u32,
    cseq_method: &'a [u8],
}

impl Heard<'_, '_> {
    fn sender_tag(&self) -> &[u8] {
        self.from.tag().unwrap_or_default()
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
        let heard = Heard {
            call_id: dialog_key(&message, flow),
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
            StartLine::Response { status, reason } => self.response(&heard, status, reason, tables),
        }
    }

    fn request(&mut self, heard: &Heard<'_, '_>, method: &[u8], uri: &[u8], tables: &mut Tables<'_>) {
        let found = tables.legs.find(&heard.call_id, heard.sender_tag());
        if let Some((id, _)) = found
            && let Some(leg) = tables.legs.leg_mut(id)
        {
            leg.last_activity = heard.at;
        }
        match (method, found) {
            (b"INVITE", _) => self.invite(heard, uri, found, tables),
            (b"ACK", Some((id, side))) => ack(heard, id, side, tables),
            (b"BYE", Some((id, side))) => bye(heard, id, side, tables),
            (b"CANCEL", Some((id, _))) => cancel(heard, id, tables),
            (b"UPDATE" | b"PRACK", Some((id, side))) => describe(heard, id, side, tables),
            (b"REFER", Some((id, _))) => {
                if let (Some(target), Some(leg)) = (heard.message.header("Refer-To"), tables.legs.leg_mut(id))
                {
                    leg.refer_to = Some((shown(Address::parse(target).uri.user), heard.at));
                }
            }
            _ => {}
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
        let retried = || tables.legs.find_refused(&heard.call_id, heard.flow).map(|id| (id, Side::Caller));
        let found = found.or_else(|| if initial { retried() } else { None });
        let Some((id, side)) = found else { return self.begin(heard, uri, !initial, tables) };
        let Some(leg) = tables.legs.leg_mut(id) else { return };
        if initial && side == Side::Caller {
            let over = leg.is_over() && leg.facts.answered.is_some();
            if over && heard.cseq != leg.invite_cseq {
                // The Call-ID is used again after the call: another call.
                return self.begin(heard, uri, false, tables);
            }
            if heard.cseq > leg.invite_cseq {
                // Tried again, with credentials or otherwise changed: the same call.
                leg.invite_cseq = heard.cseq;
                leg.caller_tag = heard.sender_tag().to_vec();
                leg.failure = None;
                leg.facts.ended = None;
                leg.facts.ending = Ending::Running;
                leg.close_at = None;
            }
            // The next hop of a proxy shows where the callee's device is.
            leg.facts.parties[Side::Callee.index()].signalling = heard.flow.dst;
        }
        describe(heard, id, side, tables);
    }

    /// A new leg.
    fn begin(&mut self, heard: &Heard<'_, '_>, uri: &[u8], joined_late: bool, tables: &mut Tables<'_>) {
        let related = related_leg(heard, uri, tables.legs);
        let Some(leg) = tables.legs.next_id() else {
            return tables.out.oddity(heard.at, Some(heard.flow), "more calls at once than can be followed");
        };
        let call = related.unwrap_or_else(|| CallId::new(heard.at, &[&heard.call_id, heard.sender_tag()]));
        let segment = self.segments.entry(call).or_default();
        segment.0 += 1;
        segment.1 += 1;
        let facts = LegFacts {
            leg,
            call,
            segment: segment.0,
            sip_call_id: shown(&heard.call_id),
            parties: [self.identity(&heard.from, heard.flow.src), self.identity(&heard.to, heard.flow.dst)],
            request_user: shown(sip::Uri::parse(uri.strip_prefix(b"<").unwrap_or(uri)).user),
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
            call_id: heard.call_id.clone(),
            caller_tag: heard.sender_tag().to_vec(),
            callee_tags: Vec::new(),
            invite_cseq: heard.cseq,
            offer: None,
            cancelled: false,
            failure: None,
            sides: [SideMedia::default(), SideMedia::default()],
            hold_since: None,
            holds: Vec::new(),
            last_activity: heard.at,
            close_at: None,
            refer_to: None,
            end: None,
        };
        state.learn_callee_tag(heard.to.tag());
        tables.legs.insert(state);
        tables.out.push(Queued::Leg(LegNews::Started, leg));
        describe(heard, leg, Side::Caller, tables);
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

    fn response(&mut self, heard: &Heard<'_, '_>, status: u16, reason: &[u8], tables: &mut Tables<'_>) {
        if heard.cseq_method == b"REGISTER" {
            if status / 100 == 2 && self.registered.len() < REGISTRATIONS_MAX {
                self.registered.insert(shown(heard.to.uri.user));
                self.registrars.insert(heard.flow.src.ip());
            }
            return;
        }
        let Some((id, requester)) = tables.legs.find(&heard.call_id, heard.sender_tag()) else { return };
        let Some(leg) = tables.legs.leg_mut(id) else { return };
        leg.last_activity = heard.at;
        if requester == Side::Caller && (101..300).contains(&status) {
            leg.learn_callee_tag(heard.to.tag());
        }
        match heard.cseq_method {
            b"INVITE" => {}
            b"UPDATE" | b"PRACK" if status / 100 == 2 => {
                return describe(heard, id, requester.other(), tables);
            }
            _ => return,
        }
        let sets_up =
            requester == Side::Caller && heard.cseq == leg.invite_cseq && leg.facts.answered.is_none();
        match status {
            ..=100 => {}
            101..=199 => {
                if sets_up && leg.facts.ringing.is_none() && matches!(status, 180 | 183) {
                    leg.facts.ringing = Some(heard.at);
                    tables.out.push(Queued::Leg(LegNews::Ringing, id));
                }
                describe(heard, id, requester.other(), tables);
            }
            200..=299 => {
                if sets_up {
                    answer(leg, heard.at, tables.out);
                }
                describe(heard, id, requester.other(), tables);
            }
            300.. => {
                if sets_up {
                    refuse(leg, heard.at, status, reason);
                }
            }
        }
    }

    /// A leg of this call is gone.
    pub(super) fn forget(&mut self, call: CallId) {
        if let Some((_, live)) = self.segments.get_mut(&call) {
            *live = live.saturating_sub(1);
            if *live == 0 {
                self.segments.remove(&call);
            }
        }
    }
}

fn answer(leg: &mut Leg, at: Timestamp, out: &mut Outbox) {
    leg.facts.answered = Some(at);
    leg.facts.ended = None;
    leg.facts.ending = Ending::Running;
    leg.close_at = None;
    out.push(Queued::Leg(LegNews::Answered, leg.facts.leg));
}

fn refuse(leg: &mut Leg, at: Timestamp, status: u16, reason: &[u8]) {
    leg.failure = Some((status, shown(reason)));
    if leg.facts.ended.is_none() {
        leg.facts.ended = Some(at);
    }
    leg.facts.ending = if leg.cancelled && status == 487 {
        Ending::Cancelled
    } else {
        Ending::Rejected { status, reason: shown(reason) }
    };
    let wait = if leg.cancelled { LINGER_MS } else { RETRY_WAIT_MS };
    leg.close_at = Some(at.plus_millis(wait));
}

fn ack(heard: &Heard<'_, '_>, id: LegId, side: Side, tables: &mut Tables<'_>) {
    let Some(leg) = tables.legs.leg_mut(id) else { return };
    // The 2xx may have gone another way; only an answered INVITE that was not refused is acknowledged like this.
    if leg.facts.answered.is_none() && leg.failure.is_none() && heard.cseq == leg.invite_cseq {
        answer(leg, heard.at, tables.out);
    }
    describe(heard, id, side, tables);
}

fn bye(heard: &Heard<'_, '_>, id: LegId, side: Side, tables: &mut Tables<'_>) {
    let Some(leg) = tables.legs.leg_mut(id) else { return };
    if leg.is_over() && leg.failure.is_none() {
        return;
    }
    if leg.facts.answered.is_none() && leg.facts.ringing.is_none() && leg.failure.is_none() {
        // No response was ever seen: a tap of one direction. A BYE tells that there was a call.
        answer(leg, leg.facts.started, tables.out);
    }
    leg.facts.ended = Some(heard.at);
    leg.facts.ending = Ending::Bye { by: side };
    leg.close_at = Some(heard.at.plus_millis(LINGER_MS));
}

fn cancel(heard: &Heard<'_, '_>, id: LegId, tables: &mut Tables<'_>) {
    let Some(leg) = tables.legs.leg_mut(id) else { return };
    if leg.facts.answered.is_none() && heard.cseq == leg.invite_cseq {
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
    let mut hasher = FxHasher::default();
    (body, heard.flow.src).hash(&mut hasher);
    let description = hasher.finish();
    if leg.side(side).description == Some(description) {
        return;
    }
    let session = sdp::parse(body);
    if session.media.is_empty() {
        return;
    }
    apply_description(leg, side, &session, description);
    if is_offer && leg.facts.answered.is_some() {
        change_hold(leg, side, &session, heard.at, tables.out);
    }
    tables.media.apply(id, side, &session, heard.at, tables.legs, tables.out);
}

fn apply_description(leg: &mut Leg, side: Side, session: &sdp::Session, description: u64) {
    let state = leg.side_mut(side);
    state.description = Some(description);
    let used: Vec<&sdp::Media> =
        session.audio().filter(|m| m.receives_at.is_some() || m.held_by_address).collect();
    if let Some(first) = used.first() {
        state.encrypted = Some(used.iter().all(|media| media.encrypted));
        state.ptime_ms = first.ptime_ms.or(state.ptime_ms);
        let mut formats = Vec::new();
        for format in used.iter().flat_map(|media| &media.formats) {
            if !formats.iter().any(|f: &crate::media::Format| f.payload_type == format.payload_type) {
                formats.push(format.clone());
            }
        }
        // Formats of earlier descriptions stay readable: packets sent before the change are still on the way.
        let old = std::mem::take(&mut state.formats);
        formats.extend(old.into_iter().filter(|f| {
            !session.audio().any(|m| m.formats.iter().any(|n| n.payload_type == f.payload_type))
        }));
        formats.truncate(2 * sdp::FORMATS_MAX);
        state.formats = formats;
    }
    leg.facts.audio_announced |= !used.is_empty();
    let said: Vec<bool> = leg.sides.iter().filter_map(|side| side.encrypted).collect();
    leg.facts.encrypted = !said.is_empty() && said.iter().all(|&encrypted| encrypted);
}

/// An offer of `sendonly`, `inactive` or the address 0.0.0.0 puts the other side on hold (RFC 3264, 8.4; RFC 6337, 5.3).
fn change_hold(leg: &mut Leg, by: Side, session: &sdp::Session, at: Timestamp, out: &mut Outbox) {
    let Some(audio) = session.audio().find(|m| m.receives_at.is_some() || m.held_by_address) else { return };
    let holding = audio.held_by_address
        || matches!(audio.direction, sdp::Direction::SendOnly | sdp::Direction::Inactive);
    let id = leg.facts.leg;
    let state = leg.side_mut(by);
    if state.holding == holding {
        return;
    }
    state.holding = holding;
    out.push(if holding { Queued::Hold { leg: id, by, at } } else { Queued::Retrieve { leg: id, by, at } });
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

/// The logical call that a new leg continues: the dialog that it replaces, or one whose party was referred here.
fn related_leg(heard: &Heard<'_, '_>, uri: &[u8], legs: &Legs) -> Option<CallId> {
    if let Some(replaces) = heard.message.header("Replaces") {
        let call_id_end = replaces.iter().position(|&b| b == b';').unwrap_or(replaces.len());
        let (call_id, parameters) = replaces.split_at_checked(call_id_end)?;
        let tag = |name| sip::parameter(parameters, name).unwrap_or_default();
        if let Some(id) = legs.find_dialog(sip::trim(call_id), tag("from-tag"), tag("to-tag")) {
            return legs.leg(id).map(|leg| leg.facts.call);
        }
    }
    // One Call-ID under two tags at the same time: the next hop of a gateway that changes tags only.
    if let Some(call) = legs.running_call(&heard.call_id) {
        return Some(call);
    }
    heard.message.header("Referred-By")?;
    let target = shown(sip::Uri::parse(uri).user);
    legs.iter()
        .filter(|leg| {
            leg.refer_to.as_ref().is_some_and(|(to, since)| {
                *to == target && heard.at.nanos_since(*since) < REFER_WAIT_MS * 1_000_000
            })
        })
        .map(|leg| leg.facts.call)
        .next()
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

/// Bytes of a message as bounded text.
fn shown(bytes: &[u8]) -> String {
    let mut text = text(bytes.get(..bytes.len().min(4 * TEXT_MAX)).unwrap_or_default());
    if let Some((cut, _)) = text.char_indices().nth(TEXT_MAX) {
        text.truncate(cut);
    }
    text
}
