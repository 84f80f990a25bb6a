//! What TCP connections carry: SIP as it is, SIP in WebSocket frames (RFC 7118), either of them inside TLS, or what an agent
//! hands on (HEP).
//!
//! A connection is told by its content, on any port. Plain SIP is cut out of the reassembler's own buffer and has no entry
//! here; only WebSockets, TLS and agents are remembered, both directions together, since the one side's hello says how the other
//! is read. TLS is read where a key log gives its secrets. Without them a connection that could be SIP is counted and told
//! once; any other is let go.
//!
//! Owns the tables and their bounds. The order of TCP segments is [`crate::tcp`]'s, where messages end [`crate::sip`]'s.

mod hep;
mod plain;
mod tls;
mod websocket;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::net::{Endpoint, Flow};
use crate::signal::Carrier;
use crate::tcp;
use crate::time::Timestamp;
use hep::Agent;
use plain::{Inside, Look};
use tls::Secrets;
pub use tls::{KEY_WAIT_MS, SECRETS_MAX, WAITING_BYTES_MAX};
use websocket::WebSocket;

/// Connections remembered that are more than plain SIP. One more makes the one forgotten that was idle the longest.
pub const CONNECTIONS_MAX: usize = tcp::CONNECTIONS_MAX;
/// A direction that began with so many bytes of something else is not looked at any more.
pub const FOREIGN_BYTES_MAX: usize = 4096;
/// The same for a direction that has carried SIP: it may have lost a piece of a long body.
pub const FOREIGN_BYTES_BETWEEN_MAX: usize = 512 * 1024;

/// Bytes kept of all these connections together; more forgets connections, unreadable and idle ones first.
pub const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Servers remembered that spoke SIP inside TLS; no more are learned.
pub const SERVERS_MAX: usize = 1024;
/// The port of SIP over TLS (RFC 3261, 19.1.2).
const SIPS_PORT: u16 = 5061;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// TLS connections that may have carried SIP and could not be read, or not to their end.
    pub tls_undecryptable: u64,
}

/// What was found in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A whole SIP message.
    Message {
        /// When its last byte came.
        at: Timestamp,
        /// The direction that carried it.
        flow: Flow,
        /// In what it came.
        carrier: Carrier,
        /// The message.
        bytes: &'a [u8],
    },
    /// What an agent has seen elsewhere and handed on: a SIP message, or a packet of RTP or RTCP.
    Datagram {
        /// When the last byte of it came here.
        at: Timestamp,
        /// Between whom the agent saw it.
        flow: Flow,
        /// The message or packet.
        bytes: &'a [u8],
    },
    /// Something broke a rule.
    Oddity {
        /// When.
        at: Timestamp,
        /// In which direction.
        flow: Flow,
        /// What.
        what: &'static str,
    },
    /// A TLS connection that may carry SIP cannot be read from here on; told once.
    Undecryptable {
        /// When that was clear.
        at: Timestamp,
        /// From the client to the server, as far as it is known who is who.
        flow: Flow,
        /// Why.
        why: &'static str,
    },
}

/// Reads the streams of many connections.
#[derive(Debug, Default)]
pub struct Streams {
    connections: FxHashMap<Pair, Connection>,
    /// The secrets of a key log, once one was given.
    secrets: Option<Secrets>,
    /// Ends that spoke SIP inside TLS as its server.
    servers: FxHashSet<Endpoint>,
    /// Bytes kept in all connections.
    bytes: usize,
    counts: Counts,
}

/// The two ends of a connection, the smaller one first: the same for both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Pair(Endpoint, Endpoint);

/// One of the two directions of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    FromFirst,
    FromSecond,
}

#[derive(Debug)]
struct Connection {
    /// The reassembler's numbers of the two directions, once seen.
    numbers: [Option<u64>; 2],
    ended: [bool; 2],
    last: Timestamp,
    carries: Carries,
}

#[derive(Debug)]
enum Carries {
    WebSocket(Box<WebSocket>),
    Tls(Box<Tls>),
    Hep(Box<Agent>),
    /// TLS that cannot be read and was told: remembered, so that it is told once.
    Unreadable,
}

#[derive(Debug, Default)]
struct Tls {
    session: tls::Session,
    inside: Inside,
    /// SIP messages were found inside.
    has_sip: bool,
}

/// What became of a connection that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    GoesOn,
    /// It is forgotten: what comes is looked at anew.
    Ends,
    /// TLS that cannot be read, and why.
    Unread(&'static str),
}

/// Where what is found goes, with what all of it has in common.
struct Tell<'t> {
    at: Timestamp,
    flow: Flow,
    /// [`Carrier::Tcp`] or [`Carrier::Tls`].
    carrier: Carrier,
    sink: &'t mut dyn FnMut(Found<'_>),
}

impl Tell<'_> {
    fn message(&mut self, bytes: &[u8]) {
        (self.sink)(Found::Message { at: self.at, flow: self.flow, carrier: self.carrier, bytes });
    }

    /// A message in WebSocket frames.
    fn framed(&mut self, bytes: &[u8]) {
        let carrier = self.carrier.in_websocket();
        (self.sink)(Found::Message { at: self.at, flow: self.flow, carrier, bytes });
    }

    fn datagram(&mut self, flow: Flow, bytes: &[u8]) {
        (self.sink)(Found::Datagram { at: self.at, flow, bytes });
    }

    fn oddity(&mut self, what: &'static str) {
        (self.sink)(Found::Oddity { at: self.at, flow: self.flow, what });
    }
}

/// What is to become of a direction whose bytes were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// More may come.
    GoOn,
    /// It is none of ours.
    Foreign,
    /// The connection goes on as something else.
    Over,
}

impl Streams {
    /// One that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes lines of a key log (whole ones), and opens what waited for them. From the first call on, TLS connections
    /// without secrets wait for some a while; before, they do not. Gives how many secrets were new.
    pub fn add_secrets(&mut self, lines: &[u8], sink: &mut dyn FnMut(Found<'_>)) -> usize {
        let added = self.secrets.get_or_insert_default().add(lines);
        if added == 0 {
            return 0;
        }
        // In an order that a replay repeats.
        let mut waiting: Vec<Pair> = self.waiting(|_| true).collect();
        waiting.sort_unstable();
        for pair in waiting {
            let Streams { connections, secrets: Some(secrets), bytes, .. } = self else { break };
            let Some(connection) = connections.get_mut(&pair) else { continue };
            let (at, before) = (connection.last, connection.kept());
            let fate = connection.resume(pair, secrets, sink);
            *bytes = bytes.saturating_sub(before).saturating_add(connection.kept());
            self.settle(pair, fate, at, sink);
        }
        added
    }

    /// Gives up what has waited too long for a key.
    pub fn handle_timeout(&mut self, now: Timestamp, sink: &mut dyn FnMut(Found<'_>)) {
        let mut overdue: Vec<Pair> = self.waiting(|session| session.is_overdue(now)).collect();
        overdue.sort_unstable();
        for pair in overdue {
            self.settle(pair, Fate::Unread(tls::NO_KEY), now, sink);
        }
    }

    /// The input is over: gives up what still waits for a key.
    pub fn finish(&mut self, now: Timestamp, sink: &mut dyn FnMut(Found<'_>)) {
        let mut rest: Vec<Pair> = self.waiting(|_| true).collect();
        rest.sort_unstable();
        for pair in rest {
            self.settle(pair, Fate::Unread(tls::NO_KEY), now, sink);
        }
    }

    /// Reads what a direction has new at capture time `at`, and gives what it finds to `sink`.
    pub fn handle(&mut self, stream: tcp::Stream<'_>, at: Timestamp, sink: &mut dyn FnMut(Found<'_>)) {
        let (pair, way) = Pair::of(stream.flow());
        if let Some(connection) = self.connections.get_mut(&pair) {
            if connection.is_still(way, &stream) {
                let before = connection.kept();
                let fate = connection.read(pair, way, stream, at, &mut self.secrets, sink);
                let after = connection.kept();
                self.bytes = self.bytes.saturating_sub(before).saturating_add(after);
                self.settle(pair, fate, at, sink);
                self.keep_bounds(at, sink);
                return;
            }
            self.settle(pair, Fate::Ends, at, sink);
        }
        self.look(pair, way, stream, at, sink);
    }

    /// A direction of a connection of which nothing special is known: plain SIP, as a rule.
    fn look(
        &mut self,
        pair: Pair,
        way: Way,
        mut stream: tcp::Stream<'_>,
        at: Timestamp,
        sink: &mut dyn FnMut(Found<'_>),
    ) {
        let mut fate = Fate::GoesOn;
        // What has shown a SIP message of its own is no agent's.
        let agent = if stream.tally().messages == 0 { hep::look(stream.bytes()) } else { hep::Look::No };
        if agent == hep::Look::Wait && !stream.ended() {
            return;
        }
        let carries = match tls::look(stream.bytes()) {
            _ if matches!(agent, hep::Look::Packet(_)) => Carries::Hep(Box::default()),
            tls::Look::Wait if !stream.ended() => return,
            tls::Look::Hello => Carries::Tls(Box::default()),
            tls::Look::Record if self.is_known_for_sips(pair) && stream.tally().messages == 0 => {
                fate = Fate::Unread(tls::JOINED_LATE);
                Carries::Tls(Box::default())
            }
            _ => match plain::look(stream.bytes(), stream.ended()) {
                Look::Wait => return,
                Look::Upgrade => Carries::WebSocket(Box::new(WebSocket::at_handshake())),
                Look::Frames(skip) => {
                    stream.consume(skip);
                    Carries::WebSocket(Box::new(WebSocket::in_the_middle()))
                }
                Look::Text => {
                    let mut tell = Tell { at, flow: stream.flow(), carrier: Carrier::Tcp, sink };
                    return read_text(stream, &mut tell);
                }
            },
        };
        stream.mark_in_sync();
        let mut connection = Connection { numbers: [None; 2], ended: [false; 2], last: at, carries };
        connection.is_still(way, &stream);
        if fate == Fate::GoesOn {
            fate = connection.read(pair, way, stream, at, &mut self.secrets, sink);
        } else {
            stream.ignore();
        }
        self.bytes = self.bytes.saturating_add(connection.kept());
        self.connections.insert(pair, connection);
        self.settle(pair, fate, at, sink);
        self.keep_bounds(at, sink);
    }

    /// Does what a reading has said of its connection.
    fn settle(&mut self, pair: Pair, fate: Fate, at: Timestamp, sink: &mut dyn FnMut(Found<'_>)) {
        let Some(connection) = self.connections.get(&pair) else { return };
        let Carries::Tls(tls) = &connection.carries else {
            if fate == Fate::Ends {
                self.forget(pair);
            }
            return;
        };
        if tls.has_sip
            && self.servers.len() < SERVERS_MAX
            && let Some(client) = tls.session.client()
        {
            self.servers.insert(pair.flow(client).dst);
        }
        let matters = tls.has_sip || tls.session.asks_for_sip() || self.is_known_for_sips(pair);
        let why = match fate {
            Fate::Unread(why) => Some(why),
            Fate::Ends if tls.session.is_waiting() => Some(tls::NO_KEY),
            _ => None,
        };
        if let Some(why) = why.filter(|_| matters) {
            let flow = connection.flow(pair);
            self.counts.tls_undecryptable += 1;
            sink(Found::Undecryptable { at, flow, why });
            if fate != Fate::Ends {
                return self.set_unreadable(pair);
            }
        }
        // Without a key log only what could be SIP is followed, to be told.
        if fate != Fate::GoesOn || (self.secrets.is_none() && !matters) {
            self.forget(pair);
        }
    }

    /// Could a TLS connection between these be SIP, as far as ports and what was seen before tell?
    fn is_known_for_sips(&self, Pair(one, other): Pair) -> bool {
        [one, other].iter().any(|end| end.port == SIPS_PORT || self.servers.contains(end))
    }

    fn waiting(&self, is_meant: impl Fn(&tls::Session) -> bool) -> impl Iterator<Item = Pair> {
        self.connections.iter().filter_map(move |(pair, connection)| match &connection.carries {
            Carries::Tls(tls) if tls.session.is_waiting() && is_meant(&tls.session) => Some(*pair),
            _ => None,
        })
    }

    fn forget(&mut self, pair: Pair) {
        if let Some(connection) = self.connections.remove(&pair) {
            self.bytes = self.bytes.saturating_sub(connection.kept());
        }
    }

    fn set_unreadable(&mut self, pair: Pair) {
        if let Some(connection) = self.connections.get_mut(&pair) {
            self.bytes = self.bytes.saturating_sub(connection.kept());
            connection.carries = Carries::Unreadable;
        }
    }

    /// Forgets connections while there are too many, or too much is kept of them.
    fn keep_bounds(&mut self, at: Timestamp, sink: &mut dyn FnMut(Found<'_>)) {
        while self.connections.len() > CONNECTIONS_MAX || self.bytes > BYTES_MAX {
            let first = self.connections.iter().map(|(pair, known)| (known.worth(), known.last, *pair)).min();
            let Some((.., pair)) = first else { return };
            self.settle(pair, Fate::Ends, at, sink);
            self.forget(pair);
        }
    }
}

impl Pair {
    fn of(flow: Flow) -> (Pair, Way) {
        if flow.src <= flow.dst {
            (Pair(flow.src, flow.dst), Way::FromFirst)
        } else {
            (Pair(flow.dst, flow.src), Way::FromSecond)
        }
    }

    fn flow(self, way: Way) -> Flow {
        match way {
            Way::FromFirst => Flow { src: self.0, dst: self.1 },
            Way::FromSecond => Flow { src: self.1, dst: self.0 },
        }
    }
}

impl Way {
    fn other(self) -> Way {
        match self {
            Way::FromFirst => Way::FromSecond,
            Way::FromSecond => Way::FromFirst,
        }
    }

    /// Of a pair of things, this direction's.
    fn of<T>(self, [first, second]: &[T; 2]) -> &T {
        match self {
            Way::FromFirst => first,
            Way::FromSecond => second,
        }
    }

    fn of_mut<T>(self, [first, second]: &mut [T; 2]) -> &mut T {
        match self {
            Way::FromFirst => first,
            Way::FromSecond => second,
        }
    }
}

impl Connection {
    /// Is the direction one of this connection? Another number with the beginning in sight is another connection; without
    /// it the reassembler had forgotten this one, or its numbers jumped.
    fn is_still(&mut self, way: Way, stream: &tcp::Stream<'_>) -> bool {
        let number = way.of_mut(&mut self.numbers);
        let is_same = number.is_none_or(|number| number == stream.number()) || !stream.in_sync();
        *number = Some(stream.number());
        is_same
    }

    /// Reads what a direction has new.
    fn read(
        &mut self,
        pair: Pair,
        way: Way,
        mut stream: tcp::Stream<'_>,
        at: Timestamp,
        secrets: &mut Option<Secrets>,
        sink: &mut dyn FnMut(Found<'_>),
    ) -> Fate {
        self.last = at;
        let lost = !stream.in_sync();
        stream.mark_in_sync();
        let ended = stream.ended();
        *way.of_mut(&mut self.ended) |= ended;
        let fate = match &mut self.carries {
            Carries::Unreadable => {
                stream.ignore();
                return Fate::GoesOn;
            }
            Carries::WebSocket(websocket) => {
                let mut tell = Tell { at, flow: stream.flow(), carrier: Carrier::Tcp, sink };
                let (read, verdict) = websocket.read(way, stream.bytes(), lost, &mut tell);
                stream.consume(read);
                match verdict {
                    Verdict::GoOn => Fate::GoesOn,
                    Verdict::Over => Fate::Ends,
                    Verdict::Foreign => {
                        stream.ignore();
                        Fate::Ends
                    }
                }
            }
            Carries::Hep(agent) => {
                let (read, verdict) = agent.read(
                    way,
                    stream.bytes(),
                    &mut Tell { at, flow: stream.flow(), carrier: Carrier::Tcp, sink },
                );
                stream.consume(read);
                if verdict == Verdict::GoOn {
                    Fate::GoesOn
                } else {
                    stream.ignore();
                    Fate::Ends
                }
            }
            Carries::Tls(tls) => {
                let (read, fate) = tls.read(pair, way, stream.bytes(), lost, at, secrets, sink);
                stream.consume(read);
                if fate != Fate::GoesOn {
                    stream.ignore();
                }
                fate
            }
        };
        // What still waits for a key is given its time.
        let is_over = self.ended == [true; 2] && !self.is_waiting();
        if fate == Fate::GoesOn && is_over { Fate::Ends } else { fate }
    }

    fn resume(&mut self, pair: Pair, secrets: &mut Secrets, sink: &mut dyn FnMut(Found<'_>)) -> Fate {
        match &mut self.carries {
            Carries::Tls(tls) => tls.resume(pair, secrets, sink),
            Carries::WebSocket(_) | Carries::Hep(_) | Carries::Unreadable => Fate::GoesOn,
        }
    }

    fn kept(&self) -> usize {
        match &self.carries {
            Carries::WebSocket(websocket) => websocket.kept(),
            Carries::Hep(agent) => agent.kept(),
            Carries::Tls(tls) => tls.session.kept().saturating_add(tls.inside.kept()),
            Carries::Unreadable => 0,
        }
    }

    /// The higher, the later it is forgotten: what is unreadable tells no more, what waits may never tell.
    fn worth(&self) -> u8 {
        match &self.carries {
            Carries::Unreadable => 0,
            Carries::Tls(tls) if !tls.has_sip => 1,
            Carries::Tls(_) | Carries::WebSocket(_) | Carries::Hep(_) => 2,
        }
    }

    fn is_waiting(&self) -> bool {
        matches!(&self.carries, Carries::Tls(tls) if tls.session.is_waiting())
    }

    fn client(&self) -> Option<Way> {
        match &self.carries {
            Carries::Tls(tls) => tls.session.client(),
            Carries::WebSocket(_) | Carries::Hep(_) | Carries::Unreadable => None,
        }
    }

    /// From the client to the server; the port of SIP over TLS tells the server where no hello was seen.
    fn flow(&self, pair: Pair) -> Flow {
        let guess = if pair.0.port == SIPS_PORT { Way::FromSecond } else { Way::FromFirst };
        pair.flow(self.client().unwrap_or(guess))
    }
}

impl Tls {
    #[allow(clippy::too_many_arguments, reason = "where the bytes came from, and who takes what is in them")]
    fn read(
        &mut self,
        pair: Pair,
        way: Way,
        bytes: &[u8],
        lost: bool,
        at: Timestamp,
        secrets: &mut Option<Secrets>,
        sink: &mut dyn FnMut(Found<'_>),
    ) -> (usize, Fate) {
        let Tls { session, inside, has_sip } = self;
        let mut reading = Reading { pair, inside, has_sip, sink, verdict: Verdict::GoOn };
        let (read, result) = session.read(way, bytes, lost, at, secrets, &mut |opened| reading.take(&opened));
        (read, fate(reading.verdict, result))
    }

    fn resume(&mut self, pair: Pair, secrets: &mut Secrets, sink: &mut dyn FnMut(Found<'_>)) -> Fate {
        let Tls { session, inside, has_sip } = self;
        let mut reading = Reading { pair, inside, has_sip, sink, verdict: Verdict::GoOn };
        let result = session.resume(secrets, &mut |opened| reading.take(&opened));
        fate(reading.verdict, result)
    }
}

/// Content of TLS on its way to messages.
struct Reading<'r> {
    pair: Pair,
    inside: &'r mut Inside,
    has_sip: &'r mut bool,
    sink: &'r mut dyn FnMut(Found<'_>),
    verdict: Verdict,
}

impl Reading<'_> {
    fn take(&mut self, opened: &tls::Opened<'_>) {
        let Reading { pair, inside, has_sip, sink, verdict } = self;
        let mut sink = |found: Found<'_>| {
            **has_sip |= matches!(found, Found::Message { .. });
            sink(found);
        };
        let mut tell =
            Tell { at: opened.at, flow: pair.flow(opened.way), carrier: Carrier::Tls, sink: &mut sink };
        let read = inside.read(opened.way, opened.bytes, opened.after_gap, &mut tell);
        if read == Verdict::Foreign {
            *verdict = read;
        }
    }
}

fn fate(verdict: Verdict, result: Result<(), &'static str>) -> Fate {
    match result {
        Err(why) => Fate::Unread(why),
        Ok(()) if verdict == Verdict::Foreign => Fate::Ends,
        Ok(()) => Fate::GoesOn,
    }
}

/// Cuts SIP messages out of plain TCP; a direction that has shown nothing else for a while is ignored.
fn read_text(mut stream: tcp::Stream<'_>, tell: &mut Tell<'_>) {
    let ended = stream.ended();
    let mut tally = *stream.tally();
    let text = plain::read_text(stream.bytes(), ended, &mut tally, tell);
    *stream.tally() = tally;
    if text.messages > 0 {
        stream.mark_in_sync();
    }
    stream.consume(text.read);
    if plain::is_foreign(&tally) && !ended {
        stream.ignore();
    }
}

#[cfg(test)]
mod tests;
