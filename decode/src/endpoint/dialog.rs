//! What a call does by itself: it rings, answers, keeps its session alive, and ends.

use super::call::{Call, Reliable, SessionTimer, Stage};
use super::compose::{self, Parts, Request};
use super::offer::{self, Origin};
use super::transaction::{About, Client, Purpose, ServerState};
use super::{Path, Sends, T1_MS, T2_MS, Timer, UserAgent};
use crate::net::Endpoint;
use crate::signal::Carrier;
use crate::sip::{self, Message, values};

/// A request of ours that rings is waited for so long, in milliseconds (RFC 3261, 16.6: timer C).
pub(super) const PROCEEDING_MS_MAX: i64 = 180_000;
/// A refresh that came at a bad moment is tried again after so long, in milliseconds (RFC 3261, 14.1).
const REFRESH_AGAIN_MS: i64 = 3_000;

impl UserAgent {
    /// 180, which must be acknowledged where the caller knows how (RFC 3262).
    pub(super) fn ring(&mut self, key: u64, is_reliable: bool) {
        let Some(call) = self.calls.get(&key) else { return };
        let (Some(invite), path, cseq) = (call.invite, call.path, call.invite_cseq) else { return };
        let is_offering = call.is_offering;
        let mut parts = self.abilities(&path, call.is_sips);
        // Any number up to 2^31 - 1 (RFC 3262, 3); a small one can be counted up.
        let number = (self.words.number() >> 34) as u32 | 1;
        if is_reliable {
            parts = parts.field("Require", "100rel").field("RSeq", number);
            if is_offering {
                // The first reliable response to an INVITE without an offer has one (RFC 3262, 5).
                parts = parts.sdp(self.describe(key));
            }
        }
        let bytes = self.respond(invite, 180, "Ringing", &parts);
        let path = self.servers.get(&invite).map_or(path, |server| server.path);
        if is_reliable && let Some(call) = self.calls.get_mut(&key) {
            call.reliable = Some(Reliable { number, cseq, path, bytes, resend_ms: T1_MS });
            self.timer_in(Timer::ReliableResend(key), T1_MS);
            self.timer_in(Timer::ReliableEnd(key), 64 * T1_MS);
        }
        if self.options.ring_ms > 0 {
            self.timer_in(Timer::Ring(key), i64::from(self.options.ring_ms));
        }
    }

    /// Twice as late each time, without limit (RFC 3262, 3).
    pub(super) fn resend_reliable(&mut self, key: u64) {
        let Some(reliable) = self.calls.get_mut(&key).and_then(|call| call.reliable.as_mut()) else { return };
        reliable.resend_ms *= 2;
        let (path, bytes, ms) = (reliable.path, reliable.bytes.clone(), reliable.resend_ms);
        self.send(path, bytes, true);
        self.timer_in(Timer::ReliableResend(key), ms);
    }

    /// Nobody acknowledged it: the INVITE is refused (RFC 3262, 3).
    pub(super) fn give_up_reliable(&mut self, key: u64) {
        let Some(invite) = self.calls.get_mut(&key).and_then(|call| call.invite.take()) else { return };
        self.counts.lost += 1;
        self.respond(invite, 504, "Server Time-out", &Parts::none());
        self.end(key);
    }

    /// 200, to the first INVITE or a later one.
    pub(super) fn accept(&mut self, key: u64) {
        let Some(call) = self.calls.get(&key) else { return };
        let Some(invite) = call.invite else { return };
        if call.reliable.is_some() {
            // The call is not answered before the ringing is acknowledged; the PRACK tries again.
            return self.timer_in(Timer::Ring(key), T1_MS);
        }
        let is_first = call.stage == Stage::Ringing;
        let (is_described, body) = (call.is_described, self.describe(key));
        let mut parts = self.session_parts(key);
        if !is_described {
            parts = parts.sdp(body);
        }
        let bytes = self.respond(invite, 200, "OK", &parts);
        let Some(call) = self.calls.get_mut(&key) else { return };
        call.answer = bytes;
        call.resend_ms = T1_MS;
        call.stage = Stage::Answered;
        self.counts.answered += u64::from(is_first);
        self.timers.cancel(Timer::Ring(key));
        // Also where nothing gets lost: a proxy may be between (RFC 3261, 13.3.1.4).
        self.timer_in(Timer::AnswerResend(key), T1_MS);
        self.timer_in(Timer::AnswerEnd(key), 64 * T1_MS);
    }

    pub(super) fn resend_answer(&mut self, key: u64) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        call.resend_ms = (2 * call.resend_ms).min(T2_MS);
        let (ms, bytes) = (call.resend_ms, call.answer.clone());
        let path =
            call.invite.and_then(|invite| self.servers.get(&invite)).map_or(call.path, |server| server.path);
        self.send(path, bytes, true);
        self.timer_in(Timer::AnswerResend(key), ms);
    }

    /// The ACK of an answer of ours: within a dialog, and in no transaction. Says whether it is one.
    pub(super) fn acknowledged(&mut self, message: &Message<'_>) -> bool {
        let to = message.to();
        let tag = to.as_ref().and_then(|to| to.tag()).and_then(|tag| std::str::from_utf8(tag).ok());
        let Some(&key) = tag.and_then(|tag| self.by_tag.get(tag)) else { return false };
        let Some(call) = self.calls.get_mut(&key) else { return false };
        let from = message.from();
        let remote_tag = from.as_ref().and_then(|from| from.tag()).unwrap_or_default();
        let is_of_it = call.is_dialog(message.call_id().unwrap_or_default(), remote_tag)
            && message.cseq().is_some_and(|(number, _)| number == call.invite_cseq);
        if !is_of_it || call.stage != Stage::Answered {
            return is_of_it;
        }
        call.stage = Stage::Confirmed;
        call.invite = None;
        call.answer = Vec::new();
        call.heard = self.now;
        let is_offering = std::mem::take(&mut call.is_offering);
        self.timers.cancel(Timer::AnswerResend(key));
        self.timers.cancel(Timer::AnswerEnd(key));
        if is_offering && !self.take_answer(key, message) {
            // An offer that is not answered, or not agreed to, leaves no session (RFC 3261, 13.2.2.4).
            self.hang_up(key);
            return true;
        }
        self.begin_media(key);
        true
    }

    /// The answer to an offer of ours.
    pub(super) fn take_answer(&mut self, key: u64, message: &Message<'_>) -> bool {
        let sections = sip::sdp_body(message).and_then(offer::sections);
        let (Some(sections), Some(call)) = (sections, self.calls.get(&key)) else { return false };
        let mut lines = call.lines.clone();
        for (nth, line) in lines.iter_mut().enumerate() {
            line.agreed = line
                .agreed
                .take()
                .zip(sections.get(nth))
                .and_then(|(ours, answer)| offer::settle(&ours, answer));
        }
        let is_any = lines.iter().any(|line| line.agreed.is_some());
        if is_any {
            self.settle_lines(key, lines);
        }
        is_any
    }

    /// Our description of the call's session.
    pub(super) fn describe(&self, key: u64) -> Vec<u8> {
        let Some(call) = self.calls.get(&key) else { return Vec::new() };
        let origin = Origin {
            ip: self.own(call.path.local).ip(),
            session: call.session,
            version: call.version,
            sends: self.has_something_to_send() && call.joined.is_none(),
            is_offer: call.is_offering,
        };
        offer::describe(&call.lines, &origin, |pair| self.ports.port(pair))
    }

    fn has_something_to_send(&self) -> bool {
        self.options.sends == Sends::Silence || self.options.announcement.is_some()
    }

    /// What a 2xx that refreshes or begins a session says; sets its timer (RFC 4028, 9).
    pub(super) fn session_parts(&mut self, key: u64) -> Parts {
        let Some(call) = self.calls.get(&key) else { return Parts::none() };
        let mut parts = self.abilities(&call.path, call.is_sips);
        let Some(call) = self.calls.get_mut(&key) else { return parts };
        // Who does not know timers does not refresh.
        let we_refresh = |timer: SessionTimer| timer.we_refresh || !call.knows_timer;
        call.timer = call.wanted.map(|timer| SessionTimer { we_refresh: we_refresh(timer), ..timer });
        if let Some(SessionTimer { interval_s, we_refresh }) = call.timer {
            let refresher = if we_refresh { "uas" } else { "uac" };
            parts = parts.field("Session-Expires", format!("{interval_s};refresher={refresher}"));
            if !we_refresh {
                parts = parts.field("Require", "timer");
            }
        }
        self.start_session_timer(key);
        parts
    }

    pub(super) fn start_session_timer(&mut self, key: u64) {
        self.timers.cancel(Timer::Refresh(key));
        self.timers.cancel(Timer::Expiry(key));
        let Some(timer) = self.calls.get(&key).and_then(|call| call.timer) else { return };
        let interval_ms = i64::from(timer.interval_s) * 1_000;
        if timer.we_refresh {
            self.timer_in(Timer::Refresh(key), interval_ms / 2);
        }
        // RFC 4028, 10.
        self.timer_in(Timer::Expiry(key), interval_ms - (interval_ms / 3).min(32_000));
    }

    /// Half of the interval has passed (RFC 4028, 10): an UPDATE without an offer where the peer knows it, a re-INVITE otherwise.
    pub(super) fn refresh(&mut self, key: u64) {
        let Some(call) = self.calls.get(&key) else { return };
        if call.stage != Stage::Confirmed || call.asking.is_some() {
            return self.timer_in(Timer::Refresh(key), REFRESH_AGAIN_MS);
        }
        let interval_s = call.timer.map_or(0, |timer| timer.interval_s);
        let (method, is_update) = if call.knows_update { ("UPDATE", true) } else { ("INVITE", false) };
        let mut parts = self
            .abilities(&call.path, call.is_sips)
            .field("Session-Expires", format!("{interval_s};refresher=uac"));
        if !is_update {
            parts = parts.sdp(self.describe(key));
        }
        let asking = self.ask(key, method, &parts, Purpose::Refresh);
        if let Some(call) = self.calls.get_mut(&key) {
            call.asking = asking;
        }
    }

    /// Sends a request within the call's dialog.
    pub(super) fn ask(
        &mut self,
        key: u64,
        method: &'static str,
        parts: &Parts,
        purpose: Purpose,
    ) -> Option<u64> {
        let branch = self.words.branch();
        let call = self.calls.get_mut(&key)?;
        call.local_cseq += 1;
        let call = self.calls.get(&key)?;
        let (path, elsewhere) = self.next_hop(call);
        let (uri, _) = compose::target(&call.target);
        let uri = uri.to_vec();
        let (from, to, call_id, routes) =
            (call.local.clone(), call.remote.clone(), call.call_id.clone(), call.routes.clone());
        let request = Request {
            method,
            uri: &uri,
            path: &path,
            own: self.own(path.local),
            branch: &branch,
            from: &from,
            to: &to,
            call_id: &call_id,
            cseq: call.local_cseq,
            routes: &routes,
        };
        let call = (purpose != Purpose::Bye).then_some(key);
        Some(self.open_client(&request, parts, About { purpose, call, elsewhere }))
    }

    /// Where a request within the dialog goes, and where when that connection ends (RFC 3261, 12.2.1.1 and 18.1.1): to the first route or
    /// the peer's contact, when that is an address of the same peer; else to where its latest request came from. A connection that is
    /// open is used as long as it is. Names are not looked up, and nobody else is sent anything.
    fn next_hop(&self, call: &Call) -> (Path, Endpoint) {
        let mut path = call.path;
        let (uri, place) = compose::target(call.routes.first().unwrap_or(&call.target));
        // Behind a proxy that only let us find it, a conversation is where its Contact says.
        let may_join =
            |ip| call.joined.is_some() && self.options.joins.iter().any(|subnet| subnet.contains(ip));
        let place =
            place.filter(|place| self.peers.entry(place.ip()) == Some(call.entry) || may_join(place.ip()));
        let named = compose::carrier_of(uri).filter(|_| place.is_some());
        // A URI that names nothing names no port of TLS either.
        let is_by_it = |named: Option<Carrier>| {
            named.map_or(path.carrier != Carrier::Tls, |named| named == path.carrier)
        };
        let elsewhere = match place {
            Some(place) if is_by_it(named) => place,
            _ => call.elsewhere,
        };
        match (path.carrier, named) {
            // What is to go over a connection that is not there yet.
            (Carrier::Udp, Some(carrier @ Carrier::Tcp)) => {
                path = Path { carrier, connection: 0, peer: place.unwrap_or(path.peer), ..path };
            }
            (Carrier::Udp, _) => path.peer = place.unwrap_or(path.peer),
            _ if path.connection == 0 => path.peer = elsewhere,
            _ => {}
        }
        (path, if path.carrier == call.path.carrier { elsewhere } else { path.peer })
    }

    /// The final response to a refresh of ours.
    pub(super) fn answered(&mut self, id: u64, key: u64, message: &Message<'_>, status: u16) {
        let is_invite = self.clients.get(&id).is_some_and(|client| client.method == "INVITE");
        if is_invite && status < 300 {
            self.acknowledge(id, key);
            if sip::sdp_body(message).is_some() {
                // It may have changed its mind since (RFC 3264, 8); what it cannot mean leaves everything as it was.
                self.take_answer(key, message);
            }
        }
        let Some(call) = self.calls.get_mut(&key) else { return };
        call.asking = None;
        if let Some(contact) = values(message, "Contact").first().filter(|_| status < 300) {
            call.target = contact.to_vec();
        }
        match status {
            200..300 => {
                call.heard = self.now;
                call.timer = told_timer(message);
                self.start_session_timer(key);
            }
            // The call is not there any more (RFC 4028, 10; RFC 5057).
            404 | 408 | 410 | 416 | 480..=482 | 484 | 485 | 502 | 604 => {
                self.counts.lost += 1;
                self.hang_up(key);
            }
            405 | 501 if call.knows_update => {
                call.knows_update = false;
                self.refresh(key);
            }
            422 => {
                let least = message.header("Min-SE").and_then(seconds);
                if let (Some(timer), Some(least)) = (&mut call.timer, least)
                    && least > timer.interval_s
                {
                    timer.interval_s = least;
                    return self.refresh(key);
                }
                self.timer_in(Timer::Refresh(key), REFRESH_AGAIN_MS);
            }
            _ => self.timer_in(Timer::Refresh(key), REFRESH_AGAIN_MS),
        }
    }

    /// The ACK of a 2xx to an INVITE of ours: a request of its own (RFC 3261, 13.2.2.4).
    pub(super) fn acknowledge(&mut self, id: u64, key: u64) {
        let branch = self.words.branch();
        let Some(call) = self.calls.get(&key) else { return };
        let (path, _) = self.next_hop(call);
        let (uri, _) = compose::target(&call.target);
        let request = Request {
            method: "ACK",
            uri,
            path: &path,
            own: self.own(path.local),
            branch: &branch,
            from: &call.local,
            to: &call.remote,
            call_id: &call.call_id,
            cseq: call.local_cseq,
            routes: &call.routes,
        };
        let bytes = compose::request(&request, &Parts::none());
        if let Some(client) = self.clients.get_mut(&id) {
            client.ack = Some((path, bytes.clone()));
        }
        self.send(path, bytes, true);
    }

    /// A request of ours was answered by nobody.
    pub(super) fn not_answered(&mut self, client: &Client) {
        match client.purpose {
            Purpose::Register => return self.registration_failed(None),
            Purpose::Join => return self.kept_out(client.call),
            Purpose::Bye | Purpose::Cancel => return,
            Purpose::Refresh => {}
        }
        let Some(key) = client.call else { return };
        if let Some(call) = self.calls.get_mut(&key) {
            call.asking = None;
            self.counts.lost += 1;
            self.hang_up(key);
        }
    }

    /// Ends a call with a BYE, or refuses it when it is not answered.
    pub(super) fn hang_up(&mut self, key: u64) {
        if self.calls.get(&key).is_some_and(|call| call.stage == Stage::Calling) {
            return self.withdraw(key);
        }
        let is_answered = self.calls.get(&key).is_some_and(|call| call.stage != Stage::Ringing);
        if is_answered {
            self.ask(key, "BYE", &Parts::none(), Purpose::Bye);
        }
        self.end(key);
    }

    /// A call is over: nothing of it stays, but transactions that have to be answered.
    pub(super) fn end(&mut self, key: u64) {
        self.send_reports(key, true);
        let Some(call) = self.calls.remove(&key) else { return };
        if let Some(invite) = call.invite {
            let is_open =
                self.servers.get(&invite).is_some_and(|server| server.state == ServerState::Proceeding);
            let is_rung = call.stage == Stage::Ringing && !call.streams.is_empty();
            if is_open && is_rung {
                self.respond(invite, 487, "Request Terminated", &Parts::none());
            }
        }
        self.by_tag.remove(&call.local_tag);
        if let Some(uri) = &call.joined {
            self.joined.remove(uri);
        }
        self.peers.release_channel(call.entry);
        call.streams.iter().flatten().for_each(|stream| self.ports.release(stream.agreed.pair));
        for timer in [
            Timer::Send,
            Timer::Ring,
            Timer::ReliableResend,
            Timer::ReliableEnd,
            Timer::AnswerResend,
            Timer::AnswerEnd,
            Timer::Refresh,
            Timer::Expiry,
            Timer::Silence,
            Timer::Report,
            Timer::Leave,
        ] {
            self.timers.cancel(timer(key));
        }
    }
}

/// What a response says of the session's timer (RFC 4028, 7.2): who refreshes it, and how often.
pub(super) fn told_timer(message: &Message<'_>) -> Option<SessionTimer> {
    let value = message.header("Session-Expires")?;
    let refresher = sip::parameter(value, "refresher").unwrap_or_default();
    let we_refresh = !refresher.eq_ignore_ascii_case(b"uas");
    Some(SessionTimer { interval_s: seconds(value)?.max(90), we_refresh })
}

/// The number that a value begins with.
pub(super) fn seconds(value: &[u8]) -> Option<u32> {
    let digits = value.split(|&b| b == b';').next().map(sip::trim)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
