//! Transactions (RFC 3261, 17, with the corrections of RFC 6026): what is answered again when it is asked again, what is sent
//! again until it is answered, and when each is forgotten.

use sha2::{Digest, Sha256};

use super::compose::{self, Parts, Request, Via};
use super::digest::Challenge;
use super::size::Sized;
use super::{Path, T1_MS, T2_MS, T4_MS, Timer, UserAgent};
use crate::net::Endpoint;
use crate::sip::{self, Message, StartLine};

/// Transactions of peers that are remembered; requests beyond are answered with 503 and not remembered.
pub const TRANSACTIONS_MAX: usize = 32_768;
/// The same of one address.
pub const TRANSACTIONS_PER_PEER_MAX: usize = 16_384;
/// Bytes that all of them take.
pub const TRANSACTION_BYTES_MAX: usize = 64 << 20;
/// The same of one address: a flood of long requests from there leaves room for the others'.
pub const TRANSACTION_BYTES_PER_PEER_MAX: usize = 16 << 20;

/// What the transactions of one address take.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    count: usize,
    bytes: usize,
}

/// What a request is known by.
pub(super) type Key = [u8; 16];

/// The key of these parts, whatever is in them.
pub(super) fn key(parts: &[&[u8]]) -> Key {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut key = Key::default();
    key.iter_mut().zip(hash.finalize()).for_each(|(place, byte)| *place = byte);
    key
}

/// Which transaction of a peer a request belongs to (RFC 3261, 17.2.3). `method` is that of the transaction: INVITE for its
/// ACK and CANCEL.
pub(super) fn key_of(message: &Message<'_>, via: &Via<'_>, path: &Path, method: &[u8]) -> Key {
    let source = path.peer.ip().to_string();
    if via.branch.len() > 7 && via.branch.get(..7).is_some_and(|magic| magic.eq_ignore_ascii_case(b"z9hG4bK"))
    {
        return key(&[source.as_bytes(), via.branch, via.sent_by, method]);
    }
    // From before RFC 3261: without a branch that means anything.
    let from = message.header("From").unwrap_or_default();
    let number = message.cseq().map_or(0, |(number, _)| number).to_be_bytes();
    let call_id = message.call_id().unwrap_or_default();
    key(&[source.as_bytes(), via.sent_by, via.branch, from, call_id, &number, method])
}

/// How far a transaction of a peer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerState {
    /// No final response yet.
    Proceeding,
    /// A 2xx to an INVITE: the call sends it again, requests that come again are taken in silence.
    Accepted,
    /// A final response, which a request that comes again is given again.
    Completed,
    /// The refusal of an INVITE was acknowledged.
    Confirmed,
}

/// A transaction that a peer began.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) key: Key,
    pub(super) merge: Option<Key>,
    pub(super) is_invite: bool,
    /// Where responses go.
    pub(super) path: Path,
    /// And where, when the connection is gone (RFC 3261, 18.2.2).
    pub(super) elsewhere: Endpoint,
    /// The tracker is to have the request and what is answered.
    pub(super) is_seen: bool,
    source: std::net::IpAddr,
    /// What they begin with.
    pub(super) head: Vec<u8>,
    response: Vec<u8>,
    pub(super) state: ServerState,
    resend_ms: i64,
    /// The call that an INVITE is about.
    pub(super) call: Option<u64>,
}

impl UserAgent {
    /// Remembers a request; `None` when there is no room for it, and it has been told so.
    pub(super) fn open_server(
        &mut self,
        message: &Message<'_>,
        via: &Via<'_>,
        path: &Path,
        (method, tag): (&[u8], &str),
    ) -> Option<u64> {
        let mut head = compose::head(message, via, path.peer, tag);
        if method == b"INVITE" {
            head.extend(compose::record_routes(message));
        }
        let source = path.peer.ip();
        let elsewhere = via.elsewhere(path);
        let mut reply = *path;
        if path.is_unreliable() {
            reply.peer = via.reply_to(path.peer);
        }
        let of_source = self.servers_of.get(&source).copied().unwrap_or_default();
        if self.servers.len() >= TRANSACTIONS_MAX
            || of_source.count >= TRANSACTIONS_PER_PEER_MAX
            || of_source.bytes.saturating_add(head.len()) > TRANSACTION_BYTES_PER_PEER_MAX
            || self.server_bytes.saturating_add(head.len()) > TRANSACTION_BYTES_MAX
        {
            self.counts.overloaded += 1;
            let parts = Parts::none().field("Retry-After", super::incoming::RETRY_AFTER_S);
            self.send(reply, compose::response(&head, 503, "Service Unavailable", &parts), true);
            return None;
        }
        let id = self.next_id();
        let key = key_of(message, via, path, method);
        self.server_bytes += head.len();
        let share = self.servers_of.entry(source).or_default();
        share.count += 1;
        share.bytes += head.len();
        self.by_key.insert(key, id);
        let state = ServerState::Proceeding;
        let is_invite = method == b"INVITE";
        let (merge, call, response, resend_ms) = (None, None, Vec::new(), T1_MS);
        let (path, is_seen) = (reply, true);
        let server = Server {
            key,
            merge,
            is_invite,
            path,
            elsewhere,
            is_seen,
            source,
            head,
            response,
            state,
            resend_ms,
            call,
        };
        self.servers.insert(id, server);
        Some(id)
    }

    /// Answers a request of a transaction.
    pub(super) fn respond(&mut self, id: u64, status: u16, reason: &str, parts: &Parts) -> Vec<u8> {
        let Some(server) = self.servers.get_mut(&id) else { return Vec::new() };
        let bytes = compose::response(&server.head, status, reason, parts);
        self.server_bytes = (self.server_bytes + bytes.len()).saturating_sub(server.response.len());
        if let Some(share) = self.servers_of.get_mut(&server.source) {
            share.bytes = (share.bytes + bytes.len()).saturating_sub(server.response.len());
        }
        server.response.clone_from(&bytes);
        let (path, is_invite, is_seen) = (server.path, server.is_invite, server.is_seen);
        if status >= 200 {
            server.state = match (is_invite, status) {
                (true, ..300) => ServerState::Accepted,
                _ => ServerState::Completed,
            };
        }
        self.send(path, bytes.clone(), is_seen);
        match (status, is_invite) {
            (..200, _) => {}
            // L, and H: a refusal must be acknowledged, also where nothing gets lost.
            (200..300, true) => self.timer_in(Timer::ServerEnd(id), 64 * T1_MS),
            (300.., true) => {
                if path.is_unreliable() {
                    self.timer_in(Timer::ServerResend(id), T1_MS);
                }
                self.timer_in(Timer::ServerEnd(id), 64 * T1_MS);
            }
            // J.
            (200.., false) if path.is_unreliable() => self.timer_in(Timer::ServerEnd(id), 64 * T1_MS),
            (200.., false) => self.forget_server(id),
        }
        bytes
    }

    /// The same request came again.
    pub(super) fn repeat(&mut self, id: u64) {
        let Some(server) = self.servers.get(&id) else { return };
        let wants = matches!(server.state, ServerState::Proceeding | ServerState::Completed);
        if wants && !server.response.is_empty() {
            let (path, bytes, is_seen) = (server.path, server.response.clone(), server.is_seen);
            self.send(path, bytes, is_seen);
        }
    }

    /// The ACK of a refusal came.
    pub(super) fn confirm(&mut self, id: u64) {
        let Some(server) = self.servers.get_mut(&id) else { return };
        if server.state != ServerState::Completed || !server.is_invite {
            return;
        }
        server.state = ServerState::Confirmed;
        let is_unreliable = server.path.is_unreliable();
        self.timers.cancel(Timer::ServerResend(id));
        // I.
        if is_unreliable {
            self.timer_in(Timer::ServerEnd(id), T4_MS);
        } else {
            self.forget_server(id);
        }
    }

    /// G: twice as late each time, up to T2.
    pub(super) fn resend_refusal(&mut self, id: u64) {
        let Some(server) = self.servers.get_mut(&id) else { return };
        server.resend_ms = (2 * server.resend_ms).min(T2_MS);
        let (path, bytes, ms) = (server.path, server.response.clone(), server.resend_ms);
        let is_seen = server.is_seen;
        self.send(path, bytes, is_seen);
        self.timer_in(Timer::ServerResend(id), ms);
    }

    pub(super) fn forget_server(&mut self, id: u64) {
        let Some(server) = self.servers.remove(&id) else { return };
        self.by_key.remove(&server.key);
        if let Some(merge) = server.merge {
            self.merged.remove(&merge);
        }
        let bytes = server.head.len() + server.response.len();
        self.server_bytes = self.server_bytes.saturating_sub(bytes);
        if let Some(share) = self.servers_of.get_mut(&server.source) {
            share.count -= 1;
            share.bytes = share.bytes.saturating_sub(bytes);
            if share.count == 0 {
                self.servers_of.remove(&server.source);
            }
        }
        self.timers.cancel(Timer::ServerResend(id));
        self.timers.cancel(Timer::ServerEnd(id));
    }
}

/// How far a transaction of ours has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientState {
    Calling,
    Proceeding,
    Completed,
}

/// What a request of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The end of a call, which is over here.
    Bye,
    /// The session goes on.
    Refresh,
    /// To join a conversation.
    Join,
    /// To join it after all not.
    Cancel,
    /// The PBX is to know where we are.
    Register,
}

impl Purpose {
    /// Is it about a call, so that the tracker is to have it?
    pub(super) fn is_seen(self) -> bool {
        self != Purpose::Register
    }
}

/// With credentials a request goes once more, and so often when the other side finds the nonce too old alone.
const STALE_MAX: u8 = 3;

/// A transaction that we began.
#[derive(Debug)]
pub(super) struct Client {
    branch: Key,
    pub(super) method: &'static str,
    pub(super) path: Path,
    /// Where the peer is to be reached when the connection is gone.
    pub(super) elsewhere: Endpoint,
    /// It was, and the request went there.
    pub(super) is_moved: bool,
    pub(super) bytes: Vec<u8>,
    /// The same as it goes over UDP, when the peer takes no connection for so large a request.
    pub(super) over_udp: Option<(Path, Vec<u8>)>,
    resend_ms: i64,
    pub(super) state: ClientState,
    pub(super) call: Option<u64>,
    pub(super) purpose: Purpose,
    /// What acknowledges the final response of an INVITE, and by what way.
    pub(super) ack: Option<(Path, Vec<u8>)>,
    /// Requests before it that were answered with a question who we are.
    asked: u8,
}

/// What a request of ours is about, and by what way it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    pub(super) purpose: Purpose,
    pub(super) call: Option<u64>,
    pub(super) elsewhere: Endpoint,
}

impl UserAgent {
    /// Sends a request and sees to it that it is answered.
    pub(super) fn open_client(&mut self, request: &Request<'_>, parts: &Parts, about: About) -> u64 {
        let bytes = compose::request(request, parts);
        self.begin_client((request.method, request.branch), *request.path, bytes, about, 0)
    }

    /// The same with a request that is written.
    pub(super) fn begin_client(
        &mut self,
        (method, branch): (&'static str, &str),
        path: Path,
        bytes: Vec<u8>,
        about: About,
        asked: u8,
    ) -> u64 {
        let id = self.next_id();
        let branch = key(&[branch.as_bytes(), method.as_bytes()]);
        self.by_branch.insert(branch, id);
        let About { purpose, call, elsewhere } = about;
        let Sized { path, bytes, over_udp } = self.by_size(path, bytes);
        self.send(path, bytes.clone(), purpose.is_seen());
        let (state, is_moved, ack) = (ClientState::Calling, false, None);
        let client = Client {
            branch,
            method,
            path,
            elsewhere,
            is_moved,
            bytes,
            over_udp,
            resend_ms: T1_MS,
            state,
            call,
            purpose,
            ack,
            asked,
        };
        self.clients.insert(id, client);
        self.wait_for_answer(id, path);
        id
    }

    fn wait_for_answer(&mut self, id: u64, path: Path) {
        if path.is_unreliable() {
            self.timer_in(Timer::ClientResend(id), T1_MS);
        }
        // B, F.
        self.timer_in(Timer::ClientEnd(id), 64 * T1_MS);
    }

    /// The peer takes no connection: a request that went over TCP for its size alone goes over UDP (RFC 3261, 18.1.1). Says whether it
    /// was such a one.
    pub(super) fn fall_back(&mut self, id: u64) -> bool {
        let Some(client) = self.clients.get_mut(&id) else { return false };
        let Some((path, bytes)) = client.over_udp.take().filter(|_| client.state == ClientState::Calling)
        else {
            return false;
        };
        (client.path, client.resend_ms) = (path, T1_MS);
        client.bytes.clone_from(&bytes);
        let is_seen = client.purpose.is_seen();
        self.takes_no_connection(path.peer);
        self.send(path, bytes, is_seen);
        self.wait_for_answer(id, path);
        true
    }

    /// A, which doubles without limit, and E, up to T2.
    pub(super) fn resend_request(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.resend_ms = match (client.method, client.state) {
            ("INVITE", _) => 2 * client.resend_ms,
            (_, ClientState::Proceeding) => T2_MS,
            _ => (2 * client.resend_ms).min(T2_MS),
        };
        let (path, bytes, ms) = (client.path, client.bytes.clone(), client.resend_ms);
        let is_seen = client.purpose.is_seen();
        self.send(path, bytes, is_seen);
        self.timer_in(Timer::ClientResend(id), ms);
    }

    /// B, F: nobody answered; or D, K, M: it is forgotten.
    pub(super) fn end_client(&mut self, id: u64) {
        let Some(client) = self.clients.remove(&id) else { return };
        self.by_branch.remove(&client.branch);
        self.timers.cancel(Timer::ClientResend(id));
        self.timers.cancel(Timer::ClientEnd(id));
        if client.state != ClientState::Completed {
            self.not_answered(&client);
        }
    }

    /// A response came. Says whether the tracker is to have it.
    pub(super) fn response(&mut self, message: &Message<'_>, status: u16) -> bool {
        let Some((via, (_, method))) = Via::top(message).zip(message.cseq()) else { return false };
        let id = self.by_branch.get(&key(&[via.branch, method])).copied();
        let Some((id, client)) = id.and_then(|id| Some((id, self.clients.get_mut(&id)?))) else {
            return false;
        };
        let is_invite = client.method == "INVITE";
        let (path, before, purpose, call) = (client.path, client.state, client.purpose, client.call);
        let is_seen = purpose.is_seen();
        if status < 200 {
            if before == ClientState::Calling {
                client.state = ClientState::Proceeding;
                if is_invite {
                    // From now on it is waited for; not for ever, though.
                    self.timers.cancel(Timer::ClientResend(id));
                    self.timer_in(Timer::ClientEnd(id), super::dialog::PROCEEDING_MS_MAX);
                    self.cancel_if_leaving(id);
                }
            }
            return is_seen;
        }
        if before == ClientState::Completed {
            let ack = client.ack.clone();
            if purpose == Purpose::Join && status < 300 && self.is_another_answer(call, message) {
                self.refuse_fork(id, message);
            } else if let Some((path, ack)) = ack {
                self.send(path, ack, is_seen);
            }
            return is_seen;
        }
        client.state = ClientState::Completed;
        self.timers.cancel(Timer::ClientResend(id));
        if is_invite && status >= 300 {
            self.acknowledge_refusal(id, message);
        }
        let is_answered_again = matches!(status, 401 | 407) && self.say_who(id, message);
        if !is_answered_again {
            match (purpose, call) {
                (Purpose::Register, _) => self.registered(message, status),
                (Purpose::Join, Some(call)) => self.let_in(id, call, message, status),
                (Purpose::Refresh, Some(call)) => self.answered(id, call, message, status),
                _ => {}
            }
        }
        match (path.is_unreliable(), is_invite) {
            // D, M.
            (true, true) => self.timer_in(Timer::ClientEnd(id), 64 * T1_MS),
            // K.
            (true, false) => self.timer_in(Timer::ClientEnd(id), T4_MS),
            (false, true) if status < 300 => self.timer_in(Timer::ClientEnd(id), 64 * T1_MS),
            (false, _) => self.end_client(id),
        }
        is_seen && !is_answered_again
    }

    /// Somebody asks who we are: the request goes again with credentials (RFC 3261, 22.2), when we have any that were not tried.
    fn say_who(&mut self, id: u64, message: &Message<'_>) -> bool {
        let (Some(account), Some(mut challenge)) = (self.options.account.clone(), Challenge::of(message))
        else {
            return false;
        };
        let (branch, client_nonce) = (self.words.branch(), self.words.word());
        let Some(client) = self.clients.get(&id) else { return false };
        let most = if challenge.is_stale { STALE_MAX } else { 1 };
        let (method, path, asked) = (client.method, client.path, client.asked);
        let about = About { purpose: client.purpose, call: client.call, elsewhere: client.elsewhere };
        let Ok(Message { start: StartLine::Request { uri, .. }, .. }) = sip::parse(&client.bytes) else {
            return false;
        };
        if asked >= most || method == "CANCEL" {
            return false;
        }
        let said = challenge.answer(&account, (method, uri), &client_nonce);
        let number =
            sip::parse(&client.bytes).ok().and_then(|sent| sent.cseq()).map_or(0, |(number, _)| number);
        let number = number.saturating_add(1);
        let bytes = compose::again(&client.bytes, &branch, number, (said.0, &said.1));
        let next = self.begin_client((method, &branch), path, bytes, about, asked + 1);
        if let Some(call) = about.call.and_then(|call| self.calls.get_mut(&call)) {
            call.local_cseq = call.local_cseq.max(number);
            call.asking = Some(next);
            if about.purpose == Purpose::Join {
                self.cancel_if_leaving(next);
            }
        }
        if about.purpose == Purpose::Register {
            self.registers_with(number, challenge);
        }
        true
    }

    /// The ACK of a refusal, within the transaction (RFC 3261, 17.1.1.3).
    fn acknowledge_refusal(&mut self, id: u64, message: &Message<'_>) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let ack = compose::ack_of(&client.bytes, message.header("To").unwrap_or_default());
        let (path, is_seen) = (client.path, client.purpose.is_seen());
        client.ack = Some((path, ack.clone()));
        self.send(path, ack, is_seen);
    }
}
