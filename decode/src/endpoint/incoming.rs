//! Requests of peers: what is wrong with them, which call they are about, and what is answered (RFC 3261, 8.2 and 12.2.2).

use super::call::{Call, Reliable, SessionTimer, Stage, Voice};
use super::compose::{self, HEAD_BYTES_MAX, Parts, Via, names};
use super::digest::Denied;
use super::join::EXTENSION_FIELD;
use super::offer::{self, Line, Section, Terms};
use super::ports::Owner;
use super::stream::Stream;
use super::transaction::{ServerState, key, key_of};
use super::{Options, Path, Timer, UserAgent};
use crate::media::Codec;
use crate::sip::{self, Message, Oddity, values};

/// What a peer that was refused is to wait, in seconds.
pub(super) const RETRY_AFTER_S: u32 = 10;
/// Shortest interval of a session's refreshes that is agreed to, in seconds (RFC 4028, 5).
const SESSION_S_MIN: u32 = 90;
/// What we take.
const ALLOW: &str = "INVITE, ACK, CANCEL, OPTIONS, BYE, PRACK, UPDATE, INFO";
/// Extensions that we know.
const SUPPORTED: [&str; 3] = ["timer", "100rel", "siprec"];
/// Bodies that are read (RFC 3261, 20.1): descriptions, and with them or alone the metadata of a recording session, by the name that it has
/// (RFC 7865) and by the one that many clients write.
const ACCEPT: &str = "application/sdp, multipart/mixed, application/rs-metadata+xml, application/rs-metadata";
/// Methods that exist and are not for a recorder.
const NOT_ALLOWED: [&[u8]; 6] = [b"REGISTER", b"SUBSCRIBE", b"NOTIFY", b"MESSAGE", b"REFER", b"PUBLISH"];
/// Highest number of a request (RFC 3261, 8.1.1.5).
const CSEQ_MAX: u32 = (1 << 31) - 1;

/// Why a request is refused.
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) reason: String,
    parts: Parts,
}

impl Refusal {
    fn new(status: u16, reason: impl Into<String>) -> Refusal {
        Refusal { status, reason: reason.into(), parts: Parts::none() }
    }

    fn with(mut self, name: &str, value: impl std::fmt::Display) -> Refusal {
        self.parts = self.parts.field(name, value);
        self
    }
}

/// Methods whose sender must say who it is, where that is asked for: those that begin, change or end a call. Neither an ACK nor a CANCEL
/// can be asked (RFC 3261, 22.1), OPTIONS tells nothing that is not known, and PRACK is part of an INVITE.
const CHALLENGED: [&[u8]; 4] = [b"INVITE", b"UPDATE", b"BYE", b"INFO"];

impl UserAgent {
    /// Contact, Allow and Supported of what we send.
    pub(super) fn abilities(&self, path: &Path, is_sips: bool) -> Parts {
        Parts::none()
            // What we are to recording clients (RFC 7866, 11.1).
            .field("Contact", format!("{};+sip.srs", self.contact(path, is_sips)))
            .field("Allow", ALLOW)
            .field("Supported", SUPPORTED.join(", "))
    }

    /// A request came. Says whether the tracker is to have it.
    pub(super) fn request(
        &mut self,
        message: &Message<'_>,
        method: &[u8],
        uri: &[u8],
        path: &Path,
        entry: usize,
    ) -> bool {
        let Some(via) = Via::top(message).filter(|_| message.head_len() <= HEAD_BYTES_MAX) else {
            // Nobody to answer, or an answer larger than is kept.
            self.counts.unreadable += 1;
            return true;
        };
        let of_transaction = if method == b"ACK" { b"INVITE" } else { method };
        let known = self.by_key.get(&key_of(message, &via, path, of_transaction)).copied();
        if let Some((id, server)) = known.and_then(|id| Some((id, self.servers.get(&id)?))) {
            let is_seen = server.is_seen;
            match (method, server.state) {
                (b"ACK", ServerState::Accepted) => return self.acknowledged(message),
                (b"ACK", _) => self.confirm(id),
                _ => self.repeat(id),
            }
            return is_seen;
        }
        if method == b"ACK" {
            return self.acknowledged(message);
        }
        if method == b"OPTIONS" && message.to().is_some_and(|to| to.tag().is_none()) {
            self.tell_abilities(message, uri, path, &via);
            return true;
        }
        let tag = self.words.word();
        let Some(id) = self.open_server(message, &via, path, (method, &tag)) else { return true };
        let is_within = message.to().is_some_and(|to| to.tag().is_some());
        if let Err(refusal) = check(message, method) {
            return self.refuse(id, refusal, is_within);
        }
        if method == b"CANCEL" {
            let of = self.by_key.get(&key_of(message, &via, path, b"INVITE")).copied();
            return self.cancel(id, of);
        }
        if !self.is_of_joined(message)
            && let Err(refusal) = self.authorize(message, method, uri)
        {
            return self.refuse(id, refusal, true);
        }
        let outcome = match message.to().and_then(|to| to.tag()) {
            Some(tag) => self.within(message, method, path, id, tag),
            None => self.outside(message, method, uri, path, (id, entry, tag)),
        };
        match outcome {
            Ok(()) => true,
            Err(refusal) => self.refuse(id, refusal, is_within),
        }
    }

    /// OPTIONS outside of a dialog: the same question has the same answer, and nothing is remembered of it (RFC 3261, 8.2.7 and 11.2).
    fn tell_abilities(&mut self, message: &Message<'_>, uri: &[u8], path: &Path, via: &Via<'_>) {
        let tag = self.words.word_of(&key_of(message, via, path, b"OPTIONS"));
        let head = compose::head(message, via, path.peer, &tag);
        let mut reply = *path;
        if path.is_unreliable() {
            reply.peer = via.reply_to(path.peer);
        }
        let bytes =
            match check(message, b"OPTIONS").and_then(|()| self.is_open()).and_then(|()| is_known(uri)) {
                // In Service, also when all channels are in use: a PBX must not take the recorder for gone. Out of service while an INVITE would be
                // refused by anybody (RFC 3261, 11.2).
                Ok(()) => {
                    let parts = self.abilities(path, is_sips(uri)).field("Accept", ACCEPT);
                    compose::response(&head, 200, "OK", &parts.field("Accept-Encoding", "identity"))
                }
                Err(Refusal { status, reason, parts }) => compose::response(&head, status, &reason, &parts),
            };
        self.send(reply, bytes, true);
    }

    /// Is anything new begun?
    fn is_open(&self) -> Result<(), Refusal> {
        let Some(why) = self.closed else { return Ok(()) };
        Err(Refusal::new(503, format!("Service Unavailable ({why})")).with("Retry-After", RETRY_AFTER_S))
    }

    /// Is it about a conversation that we have joined? Who let us in is asked nothing: we called there, and whoever knows the dialog's tags
    /// is who we called.
    fn is_of_joined(&self, message: &Message<'_>) -> bool {
        let to = message.to();
        let key = to.as_ref().and_then(|to| to.tag()).and_then(|tag| self.find(message, tag));
        key.and_then(|key| self.calls.get(&key)).is_some_and(|call| call.joined.is_some())
    }

    /// Where callers must say who they are: does this one?
    fn authorize(&mut self, message: &Message<'_>, method: &[u8], uri: &[u8]) -> Result<(), Refusal> {
        let Some(guard) = self.guard.as_mut().filter(|_| CHALLENGED.contains(&method)) else { return Ok(()) };
        let Err(denied) = guard.admit(message, (method, uri), self.now) else { return Ok(()) };
        self.counts.challenged += 1;
        self.counts.denied += u64::from(denied == Denied::Unknown { is_wrong: true });
        let questions = guard.questions(denied == Denied::Stale, self.now);
        let refusal = Refusal::new(401, "Unauthorized");
        Err(questions.into_iter().fold(refusal, |refusal, one| refusal.with("WWW-Authenticate", one)))
    }

    /// `is_aside` says that the refusal changes nothing for anybody: the tracker must not read what was asked for. Says whether it is to
    /// have the request.
    fn refuse(&mut self, id: u64, refusal: Refusal, is_aside: bool) -> bool {
        let Refusal { status, reason, parts } = refusal;
        if let Some(server) = self.servers.get_mut(&id) {
            server.is_seen = !is_aside;
        }
        let is_first_invite =
            self.servers.get(&id).is_some_and(|server| server.is_invite && server.merge.is_some());
        if is_first_invite {
            match status {
                486 => self.counts.busy += 1,
                503 => self.counts.overloaded += 1,
                _ => self.counts.refused += 1,
            }
        }
        self.respond(id, status, &reason, &parts);
        !is_aside
    }

    /// A request outside of a dialog.
    fn outside(
        &mut self,
        message: &Message<'_>,
        method: &[u8],
        uri: &[u8],
        path: &Path,
        (id, entry, tag): (u64, usize, String),
    ) -> Result<(), Refusal> {
        match method {
            b"INVITE" => self.invite(message, uri, path, (id, entry, tag)),
            b"BYE" | b"PRACK" | b"UPDATE" | b"INFO" => {
                Err(Refusal::new(481, "Call/Transaction Does Not Exist"))
            }
            method if NOT_ALLOWED.contains(&method) => {
                Err(Refusal::new(405, "Method Not Allowed").with("Allow", ALLOW))
            }
            _ => Err(Refusal::new(501, "Not Implemented").with("Allow", ALLOW)),
        }
    }

    fn invite(
        &mut self,
        message: &Message<'_>,
        uri: &[u8],
        path: &Path,
        (id, entry, tag): (u64, usize, String),
    ) -> Result<(), Refusal> {
        let (number, _) = message.cseq().unwrap_or_default();
        let from = message.from();
        let remote_tag = from.as_ref().and_then(|from| from.tag()).unwrap_or_default();
        let call_id = message.call_id().unwrap_or_default();
        let merge = key(&[call_id, remote_tag, &number.to_be_bytes()]);
        if self.merged.contains_key(&merge) {
            return Err(Refusal::new(482, "Loop Detected"));
        }
        self.merged.insert(merge, id);
        if let Some(server) = self.servers.get_mut(&id) {
            server.merge = Some(merge);
        }
        self.counts.invites += 1;
        self.is_open()?;
        is_known(uri)?;
        if message.header(EXTENSION_FIELD).is_some() {
            // With it we say to ourselves for whom we have joined a conversation.
            return Err(Refusal::new(400, format!("{EXTENSION_FIELD} Is Not For Others")));
        }
        // First what costs least: who has no channel could else have descriptions read without end.
        if let Err(in_use) = self.peers.has_channel(entry) {
            return Err(busy(in_use));
        }
        let wanted = session_timer(message)?;
        let sections = description(message)?;
        if sections
            .as_ref()
            .is_some_and(|sections| !sections.iter().any(|s| offer::is_acceptable(s, &terms(&self.options))))
        {
            return Err(Refusal::new(488, "Not Acceptable Here")
                .with("Warning", "305 earwitness \"no plain RTP audio in a known encoding is offered\""));
        }
        let Some(contact) = values(message, "Contact").first().map(|contact| contact.to_vec()) else {
            return Err(Refusal::new(400, "Contact Missing"));
        };
        self.peers.take_channel(entry).map_err(busy)?;
        let key = self.next_id();
        let mut local = message.header("To").unwrap_or_default().to_vec();
        local.extend_from_slice(format!(";tag={tag}").as_bytes());
        let session = self.words.number() >> 2;
        let call = Call {
            entry,
            path: *path,
            elsewhere: self.servers.get(&id).map_or(path.peer, |server| server.elsewhere),
            is_sips: is_sips(uri) || is_sips(compose::target(&contact).0),
            call_id: call_id.to_vec(),
            local_tag: tag.clone(),
            remote_tag: remote_tag.to_vec(),
            local,
            remote: message.header("From").unwrap_or_default().to_vec(),
            target: contact,
            routes: values(message, "Record-Route").iter().map(|route| route.to_vec()).collect(),
            remote_cseq: Some(number),
            local_cseq: 0,
            stage: Stage::Ringing,
            invite: Some(id),
            invite_cseq: number,
            answer: Vec::new(),
            resend_ms: 0,
            reliable: None,
            is_rung: false,
            wanted,
            knows_timer: names(message, "Supported", "timer") || names(message, "Require", "timer"),
            knows_update: names(message, "Allow", "UPDATE"),
            timer: None,
            asking: None,
            is_offering: sections.is_none(),
            is_described: false,
            joined: None,
            is_leaving: false,
            is_siprec: names(message, "Require", "siprec") || has_metadata(message),
            lines: Vec::new(),
            streams: Vec::new(),
            session,
            version: session,
            voice: Voice::Idle,
            heard: self.now,
        };
        self.calls.insert(key, call);
        self.by_tag.insert(tag, key);
        if let Some(server) = self.servers.get_mut(&id) {
            server.call = Some(key);
        }
        let is_agreed = match &sections {
            Some(sections) => self.agree(key, sections),
            None => self.offer(key),
        };
        if !is_agreed {
            self.end(key);
            return Err(Refusal::new(503, "Service Unavailable (no RTP port is free)")
                .with("Retry-After", RETRY_AFTER_S));
        }
        let is_required = names(message, "Require", "100rel");
        if is_required || self.options.ring_ms > 0 {
            self.ring(key, is_required || names(message, "Supported", "100rel"));
        } else {
            self.accept(key);
        }
        Ok(())
    }

    /// Takes an offer into the call: each audio line that can be agreed on, as many as are listened to, has a port pair. Says whether
    /// there is any; otherwise the call stays as it was.
    pub(super) fn agree(&mut self, key: u64, sections: &[Section]) -> bool {
        let Some(call) = self.calls.get(&key) else { return false };
        let pair_of = |line: usize| Some(call.streams.get(line)?.as_ref()?.agreed.pair);
        let (terms, streams_max) = (terms(&self.options), call.streams_max());
        let mut lines = Vec::new();
        let (mut agreed_on, mut taken) = (0, Vec::new());
        for (nth, section) in sections.iter().enumerate() {
            let mut agreed = None;
            if agreed_on < streams_max && offer::is_acceptable(section, &terms) {
                let pair = pair_of(nth).or_else(|| {
                    let pair = self.ports.take(Owner { call: key, line: nth })?;
                    taken.push(pair);
                    Some(pair)
                });
                agreed = pair.and_then(|pair| offer::agree(section, pair, &terms));
            }
            agreed_on += usize::from(agreed.is_some());
            lines.push(Line::of(section, agreed));
        }
        if agreed_on == 0 {
            taken.into_iter().for_each(|pair| self.ports.release(pair));
            return false;
        }
        self.settle_lines(key, lines);
        true
    }

    /// An offer of ours, for an INVITE that has none: as the session is, or of all that we know.
    pub(super) fn offer(&mut self, key: u64) -> bool {
        let Some(call) = self.calls.get(&key) else { return false };
        if !call.lines.is_empty() {
            return true;
        }
        let Some(pair) = self.ports.take(Owner { call: key, line: 0 }) else { return false };
        let offered = offer::offer(pair, &self.options.codecs);
        self.settle_lines(key, vec![Line::offered(offered)]);
        true
    }

    /// The call has these lines now: what they agree on is listened to, other port pairs are given back.
    pub(super) fn settle_lines(&mut self, key: u64, lines: Vec<Line>) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let mut before = std::mem::take(&mut call.streams);
        before.resize_with(before.len().max(lines.len()), || None);
        let mut given_back = Vec::new();
        let mut streams = Vec::new();
        for (nth, stream) in before.into_iter().enumerate() {
            let agreed = lines.get(nth).and_then(|line| line.agreed.clone());
            match (stream, agreed) {
                (Some(mut stream), Some(agreed)) => {
                    stream.agree_anew(agreed);
                    streams.push(Some(stream));
                }
                (None, Some(agreed)) => streams.push(Some(Stream::new(agreed, self.words.number()))),
                (stream, None) => {
                    given_back.extend(stream.map(|stream| stream.agreed.pair));
                    streams.push(None);
                }
            }
        }
        (call.streams, call.lines) = (streams, lines);
        given_back.into_iter().for_each(|pair| self.ports.release(pair));
    }

    /// A request within a dialog.
    fn within(
        &mut self,
        message: &Message<'_>,
        method: &[u8],
        path: &Path,
        id: u64,
        tag: &[u8],
    ) -> Result<(), Refusal> {
        let Some(key) = self.find(message, tag) else {
            return Err(Refusal::new(481, "Call/Transaction Does Not Exist"));
        };
        let Some(call) = self.calls.get_mut(&key) else { return Ok(()) };
        let (number, _) = message.cseq().unwrap_or_default();
        if call.remote_cseq.is_some_and(|latest| number <= latest) {
            return Err(Refusal::new(500, "Request Out Of Order"));
        }
        call.remote_cseq = Some(number);
        call.path = *path;
        call.elsewhere = self.servers.get(&id).map_or(call.elsewhere, |server| server.elsewhere);
        if let Some(contact) =
            values(message, "Contact").first().filter(|_| matches!(method, b"INVITE" | b"UPDATE"))
        {
            call.target = contact.to_vec();
        }
        match method {
            b"BYE" => {
                self.respond(id, 200, "OK", &Parts::none());
                self.end(key);
            }
            b"INVITE" => return self.invite_again(message, key, id),
            b"UPDATE" => return self.update(message, key, id),
            b"PRACK" => return self.prack(message, key, id),
            b"INFO" => {
                self.respond(id, 200, "OK", &Parts::none());
            }
            b"OPTIONS" => {
                let is_sips = call.is_sips;
                let parts = self.abilities(path, is_sips).field("Accept", ACCEPT);
                self.respond(id, 200, "OK", &parts);
            }
            method if NOT_ALLOWED.contains(&method) => {
                return Err(Refusal::new(405, "Method Not Allowed").with("Allow", ALLOW));
            }
            _ => return Err(Refusal::new(501, "Not Implemented").with("Allow", ALLOW)),
        }
        Ok(())
    }

    /// The call that a request with our tag is about.
    fn find(&self, message: &Message<'_>, tag: &[u8]) -> Option<u64> {
        let key = *self.by_tag.get(std::str::from_utf8(tag).ok()?)?;
        let from = message.from();
        let remote_tag = from.as_ref().and_then(|from| from.tag()).unwrap_or_default();
        let call = self.calls.get(&key)?;
        call.is_dialog(message.call_id().unwrap_or_default(), remote_tag).then_some(key)
    }

    /// A re-INVITE (RFC 3261, 14.2).
    fn invite_again(&mut self, message: &Message<'_>, key: u64, id: u64) -> Result<(), Refusal> {
        self.check_turn(key)?;
        let wanted = session_timer(message)?;
        let sections = description(message)?;
        match &sections {
            Some(sections) if !self.agree(key, sections) => {
                return Err(Refusal::new(488, "Not Acceptable Here"));
            }
            None if !self.offer(key) => return Err(Refusal::new(488, "Not Acceptable Here")),
            _ => {}
        }
        if let Some(server) = self.servers.get_mut(&id) {
            server.call = Some(key);
        }
        let Some(call) = self.calls.get_mut(&key) else { return Ok(()) };
        call.invite = Some(id);
        call.invite_cseq = message.cseq().map_or(0, |(number, _)| number);
        call.is_offering = sections.is_none();
        call.is_described = false;
        call.wanted = wanted;
        call.version = call.version.wrapping_add(1);
        call.heard = self.now;
        self.accept(key);
        Ok(())
    }

    /// May a peer's offer be taken now (RFC 3261, 14.2; RFC 3311, 5.2)?
    fn check_turn(&self, key: u64) -> Result<(), Refusal> {
        let Some(call) = self.calls.get(&key) else { return Ok(()) };
        // A refresh of ours that offers nothing is in nobody's way.
        let offer =
            call.asking.and_then(|id| self.clients.get(&id)).filter(|client| client.method == "INVITE");
        if offer.is_some() {
            return Err(Refusal::new(491, "Request Pending"));
        }
        if call.stage != Stage::Confirmed {
            return Err(Refusal::new(500, "Another Request Is Pending").with("Retry-After", 1));
        }
        Ok(())
    }

    /// UPDATE (RFC 3311), with an offer or as a mere refresh.
    fn update(&mut self, message: &Message<'_>, key: u64, id: u64) -> Result<(), Refusal> {
        let wanted = session_timer(message)?;
        let sections = description(message)?;
        if let Some(sections) = &sections {
            self.check_turn(key)?;
            if !self.agree(key, sections) {
                return Err(Refusal::new(488, "Not Acceptable Here"));
            }
        }
        let Some(call) = self.calls.get_mut(&key) else { return Ok(()) };
        call.wanted = wanted;
        call.heard = self.now;
        call.version = call.version.wrapping_add(u64::from(sections.is_some()));
        let mut parts = self.session_parts(key);
        if sections.is_some() {
            parts = parts.sdp(self.describe(key));
        }
        self.respond(id, 200, "OK", &parts);
        Ok(())
    }

    /// PRACK (RFC 3262, 3): the provisional response has come.
    fn prack(&mut self, message: &Message<'_>, key: u64, id: u64) -> Result<(), Refusal> {
        let Some(call) = self.calls.get_mut(&key) else { return Ok(()) };
        let text = message.header("RAck").map(sip::text).unwrap_or_default();
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let is_named = |reliable: &mut Reliable| -> bool {
            words == [&reliable.number.to_string(), &reliable.cseq.to_string(), "INVITE"]
        };
        if !call.reliable.as_mut().is_some_and(is_named) {
            return Err(Refusal::new(481, "Call/Transaction Does Not Exist"));
        }
        if !call.is_offering && sip::sdp_body(message).is_some() {
            // An offer could follow an answer alone, and ours comes with the 2xx (RFC 3262, 5).
            return Err(Refusal::new(488, "Not Acceptable Here"));
        }
        call.reliable = None;
        call.is_rung = true;
        let is_offering = std::mem::take(&mut call.is_offering);
        call.is_described = is_offering;
        let invite = call.invite;
        self.timers.cancel(Timer::ReliableResend(key));
        self.timers.cancel(Timer::ReliableEnd(key));
        self.respond(id, 200, "OK", &Parts::none());
        if is_offering && !self.take_answer(key, message) {
            // Our offer was in the ringing, its answer had to be here (RFC 3262, 5).
            if let Some(invite) = invite {
                self.refuse(invite, Refusal::new(488, "Not Acceptable Here"), false);
            }
            self.end(key);
            return Ok(());
        }
        if self.options.ring_ms == 0 {
            self.accept(key);
        }
        Ok(())
    }

    /// CANCEL (RFC 3261, 9.2).
    fn cancel(&mut self, id: u64, of: Option<u64>) -> bool {
        let Some(server) = of.and_then(|of| self.servers.get(&of)) else {
            return self.refuse(id, Refusal::new(481, "Call/Transaction Does Not Exist"), true);
        };
        let is_seen = server.is_seen;
        let call = server.call.filter(|_| server.state == ServerState::Proceeding);
        self.respond(id, 200, "OK", &Parts::none());
        if let Some(call) = call {
            self.end(call);
        }
        is_seen
    }
}

fn busy(in_use: usize) -> Refusal {
    let reason = format!("Busy Here ({in_use} of {in_use} channels in use)");
    Refusal::new(486, reason).with("Retry-After", RETRY_AFTER_S)
}

/// Is it a URI of a kind that is answered (RFC 3261, 8.2.2.1)?
fn is_known(uri: &[u8]) -> Result<(), Refusal> {
    let scheme = sip::Uri::parse(uri.strip_prefix(b"<").unwrap_or(uri)).scheme;
    if [&b"sip"[..], b"sips", b"tel"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    Err(Refusal::new(416, "Unsupported URI Scheme"))
}

fn is_sips(uri: &[u8]) -> bool {
    sip::Uri::parse(uri).scheme.eq_ignore_ascii_case(b"sips")
}

/// What offers are agreed to by: where there is an announcement, encodings that it can be said in go first.
pub(super) fn terms(options: &Options) -> Terms<'_> {
    const ANNOUNCED: [Codec; 2] = [Codec::Pcma, Codec::Pcmu];
    let first: &[Codec] = if options.announcement.is_some() { &ANNOUNCED } else { &[] };
    Terms { codecs: &options.codecs, first }
}

/// What is wrong with a request before it is looked at which call it is about.
fn check(message: &Message<'_>, method: &[u8]) -> Result<(), Refusal> {
    for oddity in &message.oddities {
        let reason = match oddity {
            Oddity::MandatoryMissing => "A Mandatory Header Field Is Missing",
            Oddity::MandatoryTwice => "A Header Field Is Repeated",
            Oddity::CSeqMismatch => "CSeq Names Another Method",
            Oddity::ContentLength | Oddity::ContentLengthTwice => "Content-Length Is Wrong",
            Oddity::NoEnd => "The Header Does Not End",
            Oddity::TooManyHeaders => "Too Many Header Fields",
            Oddity::StartLineSpacing => "Blanks In The Start Line",
            Oddity::TrailingBytes | Oddity::StrayLine => continue,
        };
        return Err(Refusal::new(400, reason));
    }
    match message.cseq() {
        Some((number, _)) if number <= CSEQ_MAX => {}
        _ => return Err(Refusal::new(400, "CSeq Is Wrong")),
    }
    if message.call_id().is_none_or(<[u8]>::is_empty) {
        return Err(Refusal::new(400, "Call-ID Is Empty"));
    }
    if method == b"CANCEL" {
        // What it cancels has been asked for what it requires (RFC 3261, 8.2.2.3).
        return Ok(());
    }
    let unknown: Vec<String> = values(message, "Require")
        .into_iter()
        .filter(|tag| !SUPPORTED.iter().any(|known| tag.eq_ignore_ascii_case(known.as_bytes())))
        .map(sip::text)
        .collect();
    if !unknown.is_empty() {
        return Err(Refusal::new(420, "Bad Extension").with("Unsupported", unknown.join(", ")));
    }
    Ok(())
}

/// Does it carry the metadata of a recording session (RFC 7866, 8)?
fn has_metadata(message: &Message<'_>) -> bool {
    sip::metadata_body(message).is_some()
}

/// The description that a request carries; none when it has no body. What it has must be one (RFC 3261, 8.2.3).
fn description(message: &Message<'_>) -> Result<Option<Vec<Section>>, Refusal> {
    if message.body.is_empty() {
        return Ok(None);
    }
    let is_plain = |value: &[u8]| value.eq_ignore_ascii_case(b"identity");
    if message.header("Content-Encoding").is_some_and(|encoding| !is_plain(encoding)) {
        return Err(Refusal::new(415, "Unsupported Media Type").with("Accept-Encoding", "identity"));
    }
    let Some(body) = sip::sdp_body(message) else {
        if has_metadata(message) {
            // News of who takes part, and none of the media.
            return Ok(None);
        }
        return Err(Refusal::new(415, "Unsupported Media Type").with("Accept", ACCEPT));
    };
    match offer::sections(body) {
        Some(sections) => Ok(Some(sections)),
        None => Err(Refusal::new(488, "Not Acceptable Here")
            .with("Warning", "399 earwitness \"the session description is too long\"")),
    }
}

/// What a request says of the session's timer (RFC 4028, 9); none when it says nothing.
fn session_timer(message: &Message<'_>) -> Result<Option<SessionTimer>, Refusal> {
    let Some(value) = message.header("Session-Expires") else { return Ok(None) };
    let seconds = value.split(|&b| b == b';').next().map(sip::trim).and_then(|digits| {
        let number = std::str::from_utf8(digits).ok()?.parse::<u64>().ok()?;
        Some(u32::try_from(number).unwrap_or(u32::MAX))
    });
    let Some(interval_s) = seconds else { return Err(Refusal::new(400, "Session-Expires Is Wrong")) };
    if interval_s < SESSION_S_MIN && names(message, "Supported", "timer") {
        return Err(Refusal::new(422, "Session Interval Too Small").with("Min-SE", SESSION_S_MIN));
    }
    let refresher = sip::parameter(value, "refresher").unwrap_or_default();
    let we_refresh = refresher.eq_ignore_ascii_case(b"uas");
    Ok(Some(SessionTimer { interval_s: interval_s.max(SESSION_S_MIN), we_refresh }))
}
