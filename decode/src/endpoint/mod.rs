//! The Record-A-Call endpoint: a SIP user agent that a PBX conferences in, and that listens.
//!
//! Owns the answering side of SIP (RFC 3261) with its transactions and timers, offer and answer (RFC 3264), reliable provisional
//! responses (RFC 3262), UPDATE (RFC 3311), session timers (RFC 4028), digest authentication (RFC 7616), and as much of RTP and RTCP as
//! a listener needs; of the asking side REGISTER, and INVITE for conversations that it joins as a passive participant. It does not own what becomes of the audio: every message and packet that it takes goes to the [`crate::tracker`] as well, by the hand of
//! whoever has the sockets, and is followed there as if it had been seen on a wire.
//!
//! A pure machine: [`UserAgent::handle_message`], [`UserAgent::handle_media`] and [`UserAgent::handle_timeout`] take what happens,
//! [`UserAgent::poll_output`] gives what is to be sent, [`UserAgent::poll_timeout`] says when time matters next. Its time is one
//! that never goes back.
//!
//! Every table has a limit. What does not fit is refused with 486 or 503 and Retry-After; who is not listed, or sends without
//! measure, is not answered at all.

mod announcement;
mod call;
mod compose;
mod connection;
mod dialog;
mod digest;
mod incoming;
mod join;
mod media;
mod offer;
mod peers;
mod ports;
mod register;
mod size;
mod stream;
mod timers;
mod transaction;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::media::Codec;
use crate::net::Endpoint;
use crate::signal::Carrier;
use crate::sip::{self, StartLine};
use crate::time::Timestamp;
use crate::tracker::Subnet;
use call::Call;
use digest::Guard;
use peers::{Admission, Peers};
use ports::Ports;
use register::Registrar;
use size::Ways;
use timers::Timers;
use transaction::{Client, ClientState, Key, Server};

pub use announcement::{ANNOUNCEMENT_MS_MAX, Announcement, AnnouncementError};
pub use call::{HELD_S_MAX, STREAMS_MAX};
pub use digest::{Account, Algorithm, Demand, NONCE_MS_MAX, NONCES_MAX, Secret};
pub use join::{EXTENSION_FIELD, JOIN_MS_MAX, JoinError, URI_BYTES_MAX, destination};
pub use peers::{BURST_MAX, MESSAGES_PER_S_MAX, SOURCES_MAX};
pub use register::{REGISTER_AGAIN_S_MAX, REGISTER_AGAIN_S_MIN, Registration, RegistrationState};
pub use size::UDP_REQUEST_BYTES_MAX;
pub use transaction::{
    TRANSACTION_BYTES_MAX, TRANSACTION_BYTES_PER_PEER_MAX, TRANSACTIONS_MAX, TRANSACTIONS_PER_PEER_MAX,
};

/// An estimate of the round trip, from which the other timers follow (RFC 3261, 17.1.1.1), in milliseconds.
pub const T1_MS: i64 = 500;
/// The longest interval between retransmissions, in milliseconds.
pub const T2_MS: i64 = 4_000;
/// How long a message may stay in the network, in milliseconds.
pub const T4_MS: i64 = 5_000;

/// By what way a message comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// What carries it: UDP, TCP or TLS.
    pub carrier: Carrier,
    /// Which connection, by a number that is not given twice; 0 for UDP, and for any one to `peer`, which is opened when there is none.
    pub connection: u64,
    /// Our end, with the address that the peer reaches: never an unspecified one.
    pub local: Endpoint,
    /// The peer's.
    pub peer: Endpoint,
}

impl Path {
    /// Are messages retransmitted here?
    fn is_unreliable(&self) -> bool {
        self.carrier == Carrier::Udp
    }
}

/// What is sent to the other parties of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sends {
    /// Nothing, once the announcement is over.
    #[default]
    Nothing,
    /// Silence: some PBXs take a party that sends nothing for gone.
    Silence,
}

/// When the recording begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordFrom {
    /// With the first packet.
    #[default]
    Start,
    /// With the first packet after the announcement.
    AnnouncementEnd,
}

/// How the endpoint behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose SIP is taken; this machine's alone when empty.
    pub peers: Vec<Subnet>,
    /// Which of them may be called, to join a conversation; nobody when empty.
    pub joins: Vec<Subnet>,
    /// What callers must say to be let in; nothing without it.
    pub demand: Option<Demand>,
    /// Who we are, when somebody asks us.
    pub account: Option<Account>,
    /// Where we register; nowhere without it.
    pub registration: Option<Registration>,
    /// Nothing is taken before [`UserAgent::open`]: INVITE and OPTIONS are answered with 503, as by one that is not in service yet.
    pub opens_later: bool,
    /// Calls at the same time, for each entry of `peers`.
    pub channels: usize,
    /// The RTP port of each pair that there is; RTCP has the next one.
    pub ports: Vec<u16>,
    /// Encodings that are taken.
    pub codecs: Vec<Codec>,
    /// What is sent.
    pub sends: Sends,
    /// What is said to the parties at the beginning.
    pub announcement: Option<Arc<Announcement>>,
    /// When the recording begins.
    pub record_from: RecordFrom,
    /// It rings for so long before it answers, in milliseconds.
    pub ring_ms: u32,
    /// A call of which nothing is heard for so long is hung up, in seconds.
    pub silence_s: u32,
    /// Where SIP and media are received, when that is not the address at which the peer's SIP came in: behind a translation of
    /// addresses.
    pub address: Option<IpAddr>,
    /// What tags, branches and sources are made from: 32 random bytes.
    pub seed: [u8; 32],
}

impl Options {
    /// The default ones, with these ports.
    #[must_use]
    pub fn new(ports: Vec<u16>, seed: [u8; 32]) -> Options {
        Options {
            peers: Vec::new(),
            joins: Vec::new(),
            demand: None,
            account: None,
            registration: None,
            opens_later: false,
            channels: 8,
            ports,
            codecs: Options::all_codecs(),
            sends: Sends::default(),
            announcement: None,
            record_from: RecordFrom::default(),
            ring_ms: 0,
            silence_s: 60,
            address: None,
            seed,
        }
    }

    /// The encodings that are taken unless fewer are configured, in the order in which they are offered: all that are kept as
    /// received and played by earwitness alone or with ffmpeg.
    #[must_use]
    pub fn all_codecs() -> Vec<Codec> {
        ["PCMA", "PCMU", "G722", "OPUS", "G729", "GSM", "iLBC", "G726-32", "G723", "AMR", "AMR-WB", "SPEEX"]
            .map(Codec::from_name)
            .to_vec()
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a SIP message.
    Sip {
        /// By this way.
        path: Path,
        /// The message.
        bytes: Vec<u8>,
        /// The tracker is to have it, too: it is about a call that is recorded, or that could be.
        is_seen: bool,
    },
    /// Send RTP or RTCP.
    Media {
        /// From this port pair, by its place in [`Options::ports`].
        pair: usize,
        /// From its RTCP port.
        is_rtcp: bool,
        /// To there.
        to: Endpoint,
        /// The packet.
        bytes: Vec<u8>,
    },
}

/// What became of a message or packet that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It belongs to what is recorded: the tracker is to have it too.
    Taken,
    /// It is from somebody who is not listed, or from nobody's call. It was not answered.
    Stranger,
    /// Its sender sends too much. It was not answered.
    Flood,
    /// It came before the recording begins.
    Early,
    /// It was dealt with, and says nothing about what is recorded: a sign of life, a request without credentials, one that was refused
    /// within a call.
    Aside,
}

/// What was counted since the start, and what runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Calls that run.
    pub calls: u64,
    /// Port pairs that are free.
    pub free_ports: u64,
    /// Messages from addresses that are not listed.
    pub strangers: u64,
    /// Messages beyond an address's budget.
    pub floods: u64,
    /// What could not be read as SIP, or not be answered.
    pub unreadable: u64,
    /// INVITEs that would begin a call.
    pub invites: u64,
    /// Of these: answered.
    pub answered: u64,
    /// Refused, all channels of the peer being in use.
    pub busy: u64,
    /// Refused, for want of ports or memory.
    pub overloaded: u64,
    /// Refused for what they ask.
    pub refused: u64,
    /// Calls that we hung up because nothing was heard of them any more.
    pub silent: u64,
    /// Calls whose answer nobody acknowledged, or whose session was not refreshed.
    pub lost: u64,
    /// RTP and RTCP from somebody who is no party of the call.
    pub foreign_media: u64,
    /// Calls that could not be given the announcement: no encoding that it can be said in, or no way to the parties.
    pub not_announced: u64,
    /// Signs of life of connections (RFC 5626, 4.4.1), which were answered.
    pub keepalives: u64,
    /// Requests that were asked who sends them.
    pub challenged: u64,
    /// Of these: with credentials that are not right.
    pub denied: u64,
    /// Conversations that we were to join.
    pub joins: u64,
    /// Of these: joined.
    pub joined: u64,
    /// Refused by the other side, or not answered.
    pub not_joined: u64,
    /// Is the PBX where we register content with us?
    pub registration: RegistrationState,
    /// Registrations and refreshes that were refused or not answered.
    pub not_registered: u64,
}

/// Which timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// RTP of ours is due. The first, so that a packet is not late for other things that are due.
    Send(u64),
    /// A refusal of an INVITE goes again (G).
    ServerResend(u64),
    /// A transaction is forgotten (H, I, J, L).
    ServerEnd(u64),
    /// A request of ours goes again (A, E).
    ClientResend(u64),
    /// A transaction of ours is over (B, D, F, K, M).
    ClientEnd(u64),
    /// The call is answered.
    Ring(u64),
    /// A reliable provisional response goes again (RFC 3262, 3).
    ReliableResend(u64),
    /// Nobody acknowledged it.
    ReliableEnd(u64),
    /// The 2xx goes again (RFC 3261, 13.3.1.4).
    AnswerResend(u64),
    /// Nobody acknowledged it.
    AnswerEnd(u64),
    /// We refresh the session.
    Refresh(u64),
    /// Nobody has refreshed it.
    Expiry(u64),
    /// Was anything heard?
    Silence(u64),
    /// RTCP is due.
    Report(u64),
    /// A conversation that we are to join did not let us in for too long.
    Leave(u64),
    /// We register, or do so again.
    Register,
}

/// See the module's text.
#[derive(Debug)]
pub struct UserAgent {
    options: Options,
    words: Words,
    now: Timestamp,
    peers: Peers,
    ports: Ports,
    calls: BTreeMap<u64, Call>,
    by_tag: FxHashMap<String, u64>,
    servers: BTreeMap<u64, Server>,
    by_key: FxHashMap<Key, u64>,
    /// INVITEs by Call-ID, tag and CSeq: one that comes by two ways is one (RFC 3261, 8.2.2.2).
    merged: FxHashMap<Key, u64>,
    server_bytes: usize,
    servers_of: FxHashMap<IpAddr, transaction::Share>,
    clients: BTreeMap<u64, Client>,
    /// By branch and method: a CANCEL has the branch of its INVITE.
    by_branch: FxHashMap<Key, u64>,
    /// Conversations that we have joined or are to join, by their URIs.
    joined: BTreeMap<String, u64>,
    guard: Option<Guard>,
    registrar: Option<Registrar>,
    ways: Ways,
    /// Nothing new is begun, and why.
    closed: Option<&'static str>,
    timers: Timers<Timer>,
    out: VecDeque<Output>,
    counts: Counts,
    next: u64,
}

impl UserAgent {
    /// One without calls.
    #[must_use]
    pub fn new(options: Options) -> UserAgent {
        UserAgent {
            words: Words { seed: options.seed, next: 0 },
            now: Timestamp::MIN,
            peers: Peers::new(options.peers.clone(), options.channels),
            ports: Ports::new(options.ports.clone()),
            guard: options.demand.clone().map(|demand| Guard::new(demand, &options.seed)),
            registrar: None,
            closed: options.opens_later.then_some("the recorder starts"),
            options,
            calls: BTreeMap::new(),
            by_tag: FxHashMap::default(),
            servers: BTreeMap::new(),
            by_key: FxHashMap::default(),
            merged: FxHashMap::default(),
            server_bytes: 0,
            servers_of: FxHashMap::default(),
            clients: BTreeMap::new(),
            by_branch: FxHashMap::default(),
            joined: BTreeMap::new(),
            ways: Ways::default(),
            timers: Timers::new(),
            out: VecDeque::new(),
            counts: Counts::default(),
            next: 0,
        }
    }

    /// Is SIP taken from this address?
    #[must_use]
    pub fn admits(&self, ip: IpAddr) -> bool {
        self.peers.entry(ip).is_some()
    }

    /// A message came from somebody who [is not admitted](Self::admits), and was not looked at.
    pub fn count_stranger(&mut self) {
        self.counts.strangers += 1;
    }

    /// Where the peer of the call that has this port pair was told to send; none when no call has it.
    #[must_use]
    pub fn place(&self, pair: usize, is_rtcp: bool) -> Option<Endpoint> {
        let call = self.calls.get(&self.ports.owner(pair)?.call)?;
        let port = self.ports.port(pair).checked_add(u16::from(is_rtcp))?;
        Some(self.own(call.path.local).with_port(port))
    }

    /// Our end as the peer is to reach it: under the address that is configured, when that is of the same family.
    fn own(&self, local: Endpoint) -> Endpoint {
        match self.options.address {
            Some(ip) if ip.is_ipv4() == local.ip().is_ipv4() => Endpoint::new(ip, local.port),
            _ => local,
        }
    }

    /// A message came in: one datagram, or one message of a connection.
    pub fn handle_message(&mut self, path: &Path, bytes: &[u8], now: Timestamp) -> Taken {
        self.handle_timeout(now);
        let entry = match self.peers.admit(path.peer.ip(), self.now) {
            Admission::Peer(entry) => entry,
            Admission::Flood => {
                self.counts.floods += 1;
                return Taken::Flood;
            }
            Admission::Stranger => {
                self.counts.strangers += 1;
                return Taken::Stranger;
            }
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            // Sent to keep a way open: a ping of two line ends is answered with one (RFC 5626, 4.4.1).
            if !path.is_unreliable() && bytes.starts_with(b"\r\n\r\n") {
                self.counts.keepalives += 1;
                self.send(*path, b"\r\n".to_vec(), false);
            }
            return Taken::Aside;
        }
        let Ok(message) = sip::parse(bytes) else {
            self.counts.unreadable += 1;
            return Taken::Stranger;
        };
        let is_seen = match message.start {
            StartLine::Request { method, uri } => self.request(&message, method, uri, path, entry),
            StartLine::Response { status, .. } => self.response(&message, status),
        };
        if is_seen { Taken::Taken } else { Taken::Aside }
    }

    /// Time goes on; what is due is done.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        while let Some((at, timer)) = self.timers.expire(self.now) {
            match timer {
                Timer::Send(call) => self.send_voice(call, at),
                Timer::ServerResend(id) => self.resend_refusal(id),
                Timer::ServerEnd(id) => self.forget_server(id),
                Timer::ClientResend(id) => self.resend_request(id),
                Timer::ClientEnd(id) => self.end_client(id),
                Timer::Ring(call) => self.accept(call),
                Timer::ReliableResend(call) => self.resend_reliable(call),
                Timer::ReliableEnd(call) => self.give_up_reliable(call),
                Timer::AnswerResend(call) => self.resend_answer(call),
                Timer::AnswerEnd(call) | Timer::Expiry(call) => {
                    self.counts.lost += 1;
                    self.hang_up(call);
                }
                Timer::Refresh(call) => self.refresh(call),
                Timer::Silence(call) => self.check_silence(call),
                Timer::Report(call) => self.send_reports(call, false),
                Timer::Leave(call) => self.hang_up(call),
                Timer::Register => self.register_again(),
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// What is to be sent next. Call until it gives `None` after each handle.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// What is received can be recorded from now on: calls are taken. It changes nothing once [`UserAgent::hang_up_all`] was called.
    pub fn open(&mut self) {
        if self.options.opens_later {
            self.options.opens_later = false;
            self.closed = None;
        }
    }

    /// Ends every call in order, and the registration: the program ends. No call is taken any more; whoever has the sockets stays a
    /// moment, until there [is nothing left to wait for](Self::is_at_rest).
    pub fn hang_up_all(&mut self, now: Timestamp) {
        self.handle_timeout(now);
        (self.closed, self.options.opens_later) = (Some("the recorder ends"), false);
        self.unregister();
        let calls: Vec<u64> = self.calls.keys().copied().collect();
        calls.into_iter().for_each(|call| self.hang_up(call));
    }

    /// Is every request of ours answered, or given up?
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.clients.values().all(|client| client.state == ClientState::Completed)
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            calls: self.calls.len() as u64,
            free_ports: self.ports.free() as u64,
            registration: self.registrar.as_ref().map(Registrar::state).unwrap_or_default(),
            ..self.counts
        }
    }

    /// Channels in use.
    #[must_use]
    pub fn channels_in_use(&self) -> usize {
        self.peers.in_use()
    }

    fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn send(&mut self, path: Path, bytes: Vec<u8>, is_seen: bool) {
        self.out.push_back(Output::Sip { path, bytes, is_seen });
    }

    fn timer_in(&mut self, timer: Timer, ms: i64) {
        self.timers.set(timer, self.now.plus_millis(ms));
    }
}

/// Words that nobody can guess: a hash over a secret and a counter.
#[derive(Clone)]
struct Words {
    seed: [u8; 32],
    next: u64,
}

impl Words {
    fn number(&mut self) -> u64 {
        self.next += 1;
        let mut hash = Sha256::new();
        hash.update(self.seed);
        hash.update(self.next.to_be_bytes());
        hash.finalize().iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
    }

    fn word(&mut self) -> String {
        format!("{:016x}", self.number())
    }

    /// One that is the same for the same key, and for nobody else's guess.
    fn word_of(&self, key: &Key) -> String {
        let mut hash = Sha256::new();
        hash.update(self.seed);
        hash.update(b"of");
        hash.update(key);
        let number =
            hash.finalize().iter().take(8).fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
        format!("{number:016x}")
    }

    /// A branch of ours (RFC 3261, 8.1.1.7).
    fn branch(&mut self) -> String {
        format!("z9hG4bK{}", self.word())
    }
}

impl std::fmt::Debug for Words {
    /// Without the seed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Words").field("next", &self.next).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
