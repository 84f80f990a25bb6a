//! Conversations that we join as a passive participant: the asking side of INVITE (RFC 3261, 13.2, 9.1 and 17.1.1).
//!
//! Somebody tells that a conversation can be heard at a URI. We call there, offer to receive and nothing else, and leave with a BYE when we
//! are told to, when the other side hangs up, or when nothing is heard any more. A conversation is never kept alive: who is left alone
//! with us hears nothing, and the silence ends it.
//!
//! Only URIs whose host is an address that the configuration lists are called. Names are not looked up, and redirections are not followed.

use super::call::{Call, Stage, Voice};
use super::compose::{self, Parts, Request, names};
use super::dialog::told_timer;
use super::offer::{self, Line};
use super::ports::Owner;
use super::transaction::{About, ClientState, Purpose};
use super::{Path, T1_MS, Timer, UserAgent};
use crate::net::Endpoint;
use crate::signal::Carrier;
use crate::sip::{self, Address, Message, values};
use crate::time::Timestamp;

/// How long a conversation may take to let us in, in milliseconds.
pub const JOIN_MS_MAX: i64 = 60_000;
/// Bytes of a URI that is called.
pub const URI_BYTES_MAX: usize = 256;
/// The header field of our INVITE that names for whom a conversation is joined. Nobody else may send it to us.
pub const EXTENSION_FIELD: &str = "X-Earwitness-Extension";

/// Why a conversation is not joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// It is no SIP URI of an address: names are not looked up.
    Unreadable,
    /// Its address is not listed.
    NotAllowed,
    /// It was joined before.
    Joined,
    /// All channels of its peer are in use.
    Busy,
    /// No port pair is free.
    NoPort,
}

impl JoinError {
    /// What to do about it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            JoinError::Unreadable => "it is no URI as sip:NAME@ADDRESS: names are not looked up",
            JoinError::NotAllowed => "its address is not one of record_a_call.join",
            JoinError::Joined => "it was joined before",
            JoinError::Busy => "all channels of its address are in use: more record_a_call.channels",
            JoinError::NoPort => "no RTP port is free: widen record_a_call.rtp_ports",
        }
    }
}

/// How a URI is called: by what, and where. None of one that cannot be.
#[must_use]
pub fn destination(uri: &str) -> Option<(Carrier, Endpoint)> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"<>\"?,".contains(&byte);
    if uri.len() > URI_BYTES_MAX || !uri.bytes().all(is_plain) {
        return None;
    }
    let scheme = sip::Uri::parse(uri.as_bytes()).scheme;
    if !(scheme.eq_ignore_ascii_case(b"sip") || scheme.eq_ignore_ascii_case(b"sips")) {
        return None;
    }
    let carrier = match sip::parameter(uri.as_bytes(), "transport") {
        None => compose::carrier_of(uri.as_bytes()).unwrap_or(Carrier::Udp),
        Some(_) => compose::carrier_of(uri.as_bytes())?,
    };
    let (_, place) = compose::target(format!("<{uri}>").as_bytes());
    place.filter(|place| place.port != 0 && !place.is_unspecified()).map(|place| (carrier, place))
}

/// Requests of ours that may be under way when somebody else answers an INVITE, too, and is hung up on.
const FORKS_CLIENTS_MAX: usize = 1_000;

impl UserAgent {
    /// Joins the conversation at this URI for an extension. `local` is our end as the other side reaches it.
    ///
    /// # Errors
    ///
    /// [`JoinError`].
    pub fn join(
        &mut self,
        uri: &str,
        extension: &str,
        local: Endpoint,
        now: Timestamp,
    ) -> Result<(), JoinError> {
        self.handle_timeout(now);
        self.counts.joins += 1;
        let joined = self.call_out(uri, extension, local);
        self.counts.not_joined += u64::from(joined.is_err());
        joined
    }

    fn call_out(&mut self, uri: &str, extension: &str, local: Endpoint) -> Result<(), JoinError> {
        let (carrier, peer) = destination(uri).ok_or(JoinError::Unreadable)?;
        let is_listed = self.options.joins.iter().any(|subnet| subnet.contains(peer.ip()));
        let entry = self.peers.entry(peer.ip()).filter(|_| is_listed).ok_or(JoinError::NotAllowed)?;
        if self.joined.contains_key(uri) {
            return Err(JoinError::Joined);
        }
        self.peers.take_channel(entry).map_err(|_| JoinError::Busy)?;
        let key = self.next_id();
        let Some(pair) = self.ports.take(Owner { call: key, line: 0 }) else {
            self.peers.release_channel(entry);
            return Err(JoinError::NoPort);
        };
        let path = Path { carrier, connection: 0, local, peer };
        let own = self.own(local);
        let (local_tag, session) = (self.words.word(), self.words.number() >> 2);
        let user = self.options.registration.as_ref().map_or("earwitness", |own| own.user.as_str());
        let scheme =
            if sip::Uri::parse(uri.as_bytes()).scheme.eq_ignore_ascii_case(b"sips") { "sips" } else { "sip" };
        let call = Call {
            entry,
            path,
            elsewhere: peer,
            is_sips: scheme == "sips",
            call_id: format!("{session:x}@{}", own.ip()).into_bytes(),
            local: format!("<{scheme}:{user}@{own}>;tag={local_tag}").into_bytes(),
            local_tag: local_tag.clone(),
            remote_tag: Vec::new(),
            remote: format!("<{uri}>").into_bytes(),
            target: format!("<{uri}>").into_bytes(),
            routes: Vec::new(),
            remote_cseq: None,
            local_cseq: 0,
            stage: Stage::Calling,
            invite: None,
            invite_cseq: 0,
            answer: Vec::new(),
            resend_ms: 0,
            reliable: None,
            is_rung: false,
            wanted: None,
            knows_timer: false,
            knows_update: false,
            timer: None,
            asking: None,
            is_offering: true,
            is_described: false,
            joined: Some(uri.to_owned()),
            is_leaving: false,
            is_siprec: false,
            lines: Vec::new(),
            streams: Vec::new(),
            session,
            version: session,
            voice: Voice::Idle,
            heard: self.now,
        };
        self.calls.insert(key, call);
        self.by_tag.insert(local_tag, key);
        self.joined.insert(uri.to_owned(), key);
        let offered = offer::offer(pair, &self.options.codecs);
        self.settle_lines(key, vec![Line::offered(offered)]);
        let extension: String = extension.chars().filter(|c| !c.is_control()).take(URI_BYTES_MAX).collect();
        let is_sips = scheme == "sips";
        let parts = Parts::none()
            .field("Contact", self.contact(&path, is_sips))
            .field("Allow", "INVITE, ACK, CANCEL, OPTIONS, BYE, UPDATE, INFO")
            .field("Supported", "timer")
            .field(EXTENSION_FIELD, extension)
            .sdp(self.describe(key));
        let asking = self.ask(key, "INVITE", &parts, Purpose::Join);
        if let Some(call) = self.calls.get_mut(&key) {
            call.asking = asking;
        }
        self.timer_in(Timer::Leave(key), JOIN_MS_MAX);
        Ok(())
    }

    /// Leaves the conversation at this URI: its last active participant has. False when we are not there.
    pub fn leave(&mut self, uri: &str, now: Timestamp) -> bool {
        self.handle_timeout(now);
        let Some(&key) = self.joined.get(uri) else { return false };
        self.hang_up(key);
        true
    }

    /// Takes the INVITE back: as soon as anything was answered, before it may not be (RFC 3261, 9.1).
    pub(super) fn withdraw(&mut self, key: u64) {
        let Some(call) = self.calls.get_mut(&key).filter(|call| !call.is_leaving) else { return };
        call.is_leaving = true;
        if let Some(asking) = call.asking {
            self.cancel_if_leaving(asking);
        }
    }

    /// Sends the CANCEL of an INVITE that is to be taken back, when it may go.
    pub(super) fn cancel_if_leaving(&mut self, id: u64) {
        let Some(client) = self.clients.get(&id).filter(|client| client.state == ClientState::Proceeding)
        else {
            return;
        };
        let is_leaving =
            client.call.and_then(|call| self.calls.get(&call)).is_some_and(|call| call.is_leaving);
        if client.purpose != Purpose::Join || !is_leaving {
            return;
        }
        let bytes = compose::cancel_of(&client.bytes);
        let (path, elsewhere) = (client.path, client.elsewhere);
        let branch = sip::parse(&bytes)
            .ok()
            .and_then(|message| compose::Via::top(&message).map(|via| sip::text(via.branch)));
        let Some(branch) = branch else { return };
        let about = About { purpose: Purpose::Cancel, call: None, elsewhere };
        self.begin_client(("CANCEL", &branch), path, bytes, about, 0);
        // Its final response is waited for, but not longer (RFC 3261, 9.1).
        self.timer_in(Timer::ClientEnd(id), 64 * T1_MS);
    }

    /// The final response to our INVITE.
    pub(super) fn let_in(&mut self, id: u64, key: u64, message: &Message<'_>, status: u16) {
        if status >= 300 {
            // Redirections are not followed: the other side would choose whom we call.
            return self.kept_out(Some(key));
        }
        let Some(call) = self.calls.get_mut(&key) else { return };
        let to = message.header("To").unwrap_or_default();
        call.remote = to.to_vec();
        call.remote_tag = Address::parse(to).tag().unwrap_or_default().to_vec();
        if let Some(contact) = values(message, "Contact").first() {
            call.target = contact.to_vec();
        }
        call.routes = values(message, "Record-Route").iter().rev().map(|route| route.to_vec()).collect();
        call.knows_timer = true;
        call.knows_update = names(message, "Allow", "UPDATE");
        call.timer = told_timer(message);
        call.stage = Stage::Confirmed;
        call.asking = None;
        call.heard = self.now;
        call.is_offering = false;
        let is_leaving = call.is_leaving;
        self.timers.cancel(Timer::Leave(key));
        self.acknowledge(id, key);
        if is_leaving || !self.take_answer(key, message) {
            self.counts.not_joined += 1;
            return self.hang_up(key);
        }
        self.counts.joined += 1;
        self.start_session_timer(key);
        self.begin_media(key);
    }

    /// We were not let in.
    pub(super) fn kept_out(&mut self, key: Option<u64>) {
        let Some(key) = key.filter(|key| self.calls.contains_key(key)) else { return };
        self.counts.not_joined += 1;
        self.end(key);
    }

    /// Is this 2xx from somebody else than the one that we have joined: was the INVITE forked (RFC 3261, 13.2.2.4)?
    pub(super) fn is_another_answer(&self, call: Option<u64>, message: &Message<'_>) -> bool {
        let to = message.to();
        let tag = to.as_ref().and_then(|to| to.tag()).unwrap_or_default();
        call.and_then(|call| self.calls.get(&call)).is_some_and(|call| call.remote_tag != tag)
    }

    /// It is acknowledged and hung up on: one is enough.
    pub(super) fn refuse_fork(&mut self, id: u64, message: &Message<'_>) {
        let Some(client) = self.clients.get(&id) else { return };
        let (path, elsewhere) = (client.path, client.elsewhere);
        let Some(call) = client.call.and_then(|call| self.calls.get(&call)) else { return };
        let contact = values(message, "Contact").first().map_or_else(|| call.target.clone(), |c| c.to_vec());
        let routes: Vec<Vec<u8>> =
            values(message, "Record-Route").iter().rev().map(|route| route.to_vec()).collect();
        let (local, call_id) = (call.local.clone(), call.call_id.clone());
        let to = message.header("To").unwrap_or_default().to_vec();
        let cseq = message.cseq().map_or(1, |(number, _)| number);
        let (uri, _) = compose::target(&contact);
        let branches = [self.words.branch(), self.words.branch()];
        let own = self.own(path.local);
        let request = |method, branch, cseq| Request {
            method,
            uri,
            path: &path,
            own,
            branch,
            from: &local,
            to: &to,
            call_id: &call_id,
            cseq,
            routes: &routes,
        };
        let ack = compose::request(&request("ACK", &branches[0], cseq), &Parts::none());
        self.send(path, ack, false);
        // A peer that says yes without end is acknowledged, and no more.
        if self.clients.len() >= FORKS_CLIENTS_MAX {
            return;
        }
        let bye = compose::request(&request("BYE", &branches[1], cseq.saturating_add(1)), &Parts::none());
        let about = About { purpose: Purpose::Bye, call: None, elsewhere };
        self.begin_client(("BYE", &branches[1]), path, bye, about, 0);
    }
}
