//! The sockets of the Record-A-Call endpoint: SIP over UDP, TCP and TLS, and the port pairs of RTP and RTCP.
//!
//! Owns the sockets and one thread that turns [`decode::endpoint`]'s machine. Every message and packet that the machine takes, and
//! every SIP message that it sends, becomes a frame: an IP packet as it would have been captured, with the time of its receipt. So the
//! tracker, the gate and the archive see a call that was sent here as they see one on a mirror port. RTP that is sent (silence, an
//! announcement) is nobody's voice and becomes none.
//!
//! All ports are bound at the start, and stay: what is free then cannot be taken by another program later.

mod connections;
mod control;
mod packet;
mod routes;
mod tls;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use decode::endpoint::{Counts, JoinError, Options, Output, Path, Taken, UserAgent, destination};
use decode::{Carrier, Endpoint, Flow, Timestamp};
use rustix::event::{Timespec, epoll};
use rustix::net::sockopt;

use crate::Error;
use crate::ring::Sink;
use connections::Connections;
use control::{Wish, wishes};

pub use connections::{
    SIP_CONNECT_MS_MAX, SIP_CONNECTIONS_MAX, SIP_CONNECTIONS_PER_PEER_MAX, SIP_MESSAGE_BYTES_MAX,
    SIP_UNSENT_BYTES_MAX,
};
pub use control::{EndpointBusy, EndpointControl};
pub use tls::EndpointTls;

/// Port pairs at most.
pub const RTP_PAIRS_MAX: usize = 4_096;
/// Bytes that the kernel may hold of SIP that is not read yet, where it lets us.
const SIP_BUFFER_BYTES: usize = 4 << 20;
/// Datagrams that are taken from one socket before the others are looked at.
const SIP_BATCH: usize = 64;
const MEDIA_BATCH: usize = 16;
/// Connections taken in one go.
const CONNECTIONS_AT_ONCE: usize = 64;
/// Frames are handed over, and the stop flag is looked at, at least this often.
const BATCH_WAIT_MS: i64 = 20;
/// Between two questions to the kernel how much it dropped.
const STATISTICS_EVERY: Duration = Duration::from_secs(1);
/// How long what is said at the end may take: a BYE that gets lost goes three times, and the registration is withdrawn.
const LEAVE_MAX: Duration = Duration::from_secs(2);
/// Largest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Where the endpoint is, and how it behaves.
#[derive(Clone, Debug)]
pub struct EndpointOptions {
    /// Address and port of SIP, over UDP and TCP.
    pub listen: SocketAddr,
    /// The same over TLS, where there is a certificate.
    pub tls: Option<EndpointTls>,
    /// Ports of RTP and RTCP: each pair begins with an even one.
    pub rtp_ports: RangeInclusive<u16>,
    /// How it behaves; its ports are filled in here.
    pub agent: Options,
    /// The clock that stamps the frames.
    pub now: fn() -> Timestamp,
}

/// Bound sockets. What comes piles up in the kernel from now on; a [`crate::Ring`] takes it.
#[derive(Debug)]
pub struct EndpointListener {
    options: EndpointOptions,
    udp: UdpSocket,
    tcp: TcpListener,
    tls: Option<TcpListener>,
    /// RTP and RTCP.
    pairs: Vec<[UdpSocket; 2]>,
    gauges: EndpointGauges,
    control: EndpointControl,
    wishes: Receiver<Wish>,
}

/// Reads what the endpoint counts, from anywhere.
#[derive(Clone, Debug, Default)]
pub struct EndpointGauges(Arc<Mutex<Counts>>);

impl EndpointGauges {
    /// As it was a moment ago.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, counts: Counts) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }
}

impl EndpointListener {
    /// Binds all sockets.
    ///
    /// # Errors
    ///
    /// [`Error::Listen`] when a port is not to be had: the first one that is not.
    pub fn bind(mut options: EndpointOptions) -> Result<EndpointListener, Error> {
        let failed = |what: &'static str, address: SocketAddr| {
            move |source: io::Error| Error::Listen {
                what,
                address: address.to_string(),
                message: source.to_string(),
            }
        };
        let listen = options.listen;
        let sip = || -> io::Result<(UdpSocket, TcpListener)> {
            let udp = UdpSocket::bind(listen)?;
            // Port 0 is any free one, and both have the same.
            let tcp = TcpListener::bind(udp.local_addr()?)?;
            udp.set_nonblocking(true)?;
            tcp.set_nonblocking(true)?;
            // The kernel gives what it may.
            let _ = sockopt::set_socket_recv_buffer_size(&udp, SIP_BUFFER_BYTES);
            Ok((udp, tcp))
        };
        let (udp, tcp) = sip().map_err(failed("SIP", listen))?;
        let secure = |listen: SocketAddr| {
            let bound = TcpListener::bind(listen).and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(listener)
            });
            bound.map_err(failed("SIP over TLS", listen))
        };
        let tls = options.tls.as_ref().map(|tls| secure(tls.listen)).transpose()?;
        let first = options.rtp_ports.start().next_multiple_of(2);
        let ports: Vec<u16> = (first..*options.rtp_ports.end()).step_by(2).take(RTP_PAIRS_MAX).collect();
        make_room_for_files(2 * ports.len());
        let media = |port: u16| {
            let address = SocketAddr::new(listen.ip(), port);
            let bound = UdpSocket::bind(address).and_then(|socket| {
                socket.set_nonblocking(true)?;
                Ok(socket)
            });
            bound.map_err(failed("RTP", address))
        };
        let pairs = ports.iter().map(|&port| Ok([media(port)?, media(port + 1)?]));
        let pairs: Vec<[UdpSocket; 2]> = pairs.collect::<Result<_, Error>>()?;
        options.agent.ports = ports;
        let (control, wishes) = wishes();
        let gauges = EndpointGauges::default();
        Ok(EndpointListener { options, udp, tcp, tls, pairs, gauges, control, wishes })
    }

    /// The address and port of SIP over TLS that were bound.
    #[must_use]
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// How conversations are joined and left once it runs.
    #[must_use]
    pub fn control(&self) -> EndpointControl {
        self.control.clone()
    }

    /// The address and port of SIP that were bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.udp.local_addr().unwrap_or(self.options.listen)
    }

    /// Port pairs that there are.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.pairs.len()
    }

    /// What it counts once it runs.
    #[must_use]
    pub fn gauges(&self) -> EndpointGauges {
        self.gauges.clone()
    }

    /// What its place in the list of ports is called.
    pub(crate) fn name(&self) -> String {
        format!("record-a-call {}", self.address())
    }

    /// Starts the thread.
    pub(crate) fn start(self, mut sink: Sink) -> io::Result<JoinHandle<()>> {
        sink.link = packet::LINK_RAW;
        let (address, tls_address) = (self.address(), self.tls_address());
        let EndpointListener { options, udp, tcp, tls: secure, pairs, gauges, control: _, wishes } = self;
        let sockets = std::iter::once(&udp).chain(pairs.iter().flatten());
        let ports =
            sockets.map(|socket| Ok(socket.local_addr()?.port())).collect::<io::Result<HashSet<u16>>>()?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let watch = |socket: &UdpSocket, token: u64| {
            epoll::add(&epoll, socket, epoll::EventData::new_u64(token), epoll::EventFlags::IN)
        };
        watch(&udp, Token::Sip.number())?;
        epoll::add(&epoll, &tcp, epoll::EventData::new_u64(Token::Listener.number()), epoll::EventFlags::IN)?;
        if let Some(secure) = &secure {
            let token = epoll::EventData::new_u64(Token::SecureListener.number());
            epoll::add(&epoll, secure, token, epoll::EventFlags::IN)?;
        }
        for (nth, [rtp, rtcp]) in pairs.iter().enumerate() {
            watch(rtp, Token::Media { pair: nth, is_rtcp: false }.number())?;
            watch(rtcp, Token::Media { pair: nth, is_rtcp: true }.number())?;
        }
        let wall = options.now;
        let registrar = options.agent.registration.as_ref().map(|own| (own.carrier, own.registrar));
        let running = Running {
            is_open: !options.agent.opens_later,
            agent: UserAgent::new(options.agent),
            clock: Clock { wall, begun: (wall)(), instant: Instant::now() },
            local: Endpoint::new(address.ip().to_canonical(), address.port()),
            secure_local: tls_address.map(|at| Endpoint::new(at.ip().to_canonical(), at.port())),
            epoll,
            udp,
            tcp,
            secure,
            tls: options.tls,
            registrar,
            wishes,
            not_sent: VecDeque::new(),
            ports,
            pairs,
            connections: Connections::default(),
            routes: HashMap::new(),
            sink,
            frame: Vec::new(),
            gauges,
            dropped: 0,
        };
        std::thread::Builder::new().name("record-a-call".into()).spawn(move || running.run())
    }
}

/// Raises the limit of open files as far as it may be, when so many more are needed.
fn make_room_for_files(more: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    /// What everything else of the process needs.
    const OTHERS: u64 = 512;
    let mut limit = getrlimit(Resource::Nofile);
    let needed = more as u64 + OTHERS;
    if limit.current.is_some_and(|current| current < needed) {
        limit.current = Some(limit.maximum.map_or(needed, |most| needed.min(most)));
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the limit of open files stays");
        }
    }
}

/// A thread that reads what others send to a socket, and opens no adapter, may do nothing that any user may not.
pub(crate) fn give_up_capabilities() {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    if let Err(error) = set_capabilities(None, sets) {
        tracing::warn!(%error, "a thread that listens keeps the privileges of those that capture");
    }
}

/// What an event of the kernel is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Sip,
    Listener,
    SecureListener,
    Media { pair: usize, is_rtcp: bool },
    Connection(u64),
}

/// Tokens of connections begin behind those of all port pairs.
const CONNECTIONS_FROM: u64 = 1 << 32;

impl Token {
    fn number(self) -> u64 {
        match self {
            Token::Sip => 0,
            Token::Listener => 1,
            Token::SecureListener => 2,
            Token::Media { pair, is_rtcp } => 4 + 2 * pair as u64 + u64::from(is_rtcp),
            Token::Connection(number) => CONNECTIONS_FROM.saturating_add(number),
        }
    }

    fn of(number: u64) -> Token {
        match number {
            0 => Token::Sip,
            1 => Token::Listener,
            2 | 3 => Token::SecureListener,
            CONNECTIONS_FROM.. => Token::Connection(number - CONNECTIONS_FROM),
            _ => Token::Media { pair: ((number - 4) / 2) as usize, is_rtcp: number % 2 == 1 },
        }
    }
}

/// The machine's time: the wall clock's at the start, and from there on even, whatever the wall clock is set to.
struct Clock {
    wall: fn() -> Timestamp,
    begun: Timestamp,
    instant: Instant,
}

impl Clock {
    fn even(&self) -> Timestamp {
        self.begun.plus_nanos(i64::try_from(self.instant.elapsed().as_nanos()).unwrap_or(i64::MAX))
    }
}

/// The thread's own.
struct Running {
    agent: UserAgent,
    clock: Clock,
    /// The address of SIP, which may be an unspecified one; and of SIP over TLS.
    local: Endpoint,
    secure_local: Option<Endpoint>,
    epoll: rustix::fd::OwnedFd,
    udp: UdpSocket,
    tcp: TcpListener,
    secure: Option<TcpListener>,
    tls: Option<EndpointTls>,
    /// Where we register, and by what.
    registrar: Option<(Carrier, Endpoint)>,
    /// What is received can be recorded.
    is_open: bool,
    wishes: Receiver<Wish>,
    /// Paths that no connection could be made for; the machine is told when it has said all else.
    not_sent: VecDeque<Path>,
    pairs: Vec<[UdpSocket; 2]>,
    /// Ports of all UDP sockets here.
    ports: HashSet<u16>,
    connections: Connections,
    /// Our address as each peer reaches it, and when that was asked; the machine knows how large a packet may be there.
    routes: HashMap<IpAddr, (IpAddr, Instant)>,
    sink: Sink,
    frame: Vec<u8>,
    gauges: EndpointGauges,
    /// Datagrams that the kernel has dropped, as last told.
    dropped: u64,
}

impl Running {
    fn run(mut self) {
        give_up_capabilities();
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        let mut handed_over = self.clock.even();
        let mut asked = Instant::now();
        if self.is_open {
            self.open();
        }
        // When the rest has to be said; the calls are hung up then.
        let mut leave_by: Option<Instant> = None;
        loop {
            if leave_by.is_none() && self.sink.stopped() {
                leave_by = Some(Instant::now() + LEAVE_MAX);
                self.agent.hang_up_all(self.clock.even());
                self.send();
            }
            if leave_by.is_some_and(|by| self.agent.is_at_rest() || Instant::now() >= by) {
                break;
            }
            events.clear();
            let timeout = self.patience();
            if let Err(error) =
                epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout))
                && error != rustix::io::Errno::INTR
            {
                tracing::error!(%error, "the Record-A-Call endpoint cannot wait for its sockets");
                std::thread::park_timeout(Duration::from_millis(BATCH_WAIT_MS as u64));
            }
            for event in &events {
                match Token::of(event.data.u64()) {
                    Token::Sip => self.take_datagrams(&mut buffer),
                    Token::Listener => self.take_connections(false),
                    Token::SecureListener => self.take_connections(true),
                    Token::Media { pair, is_rtcp } => self.take_media(pair, is_rtcp, &mut buffer),
                    Token::Connection(number) => self.take_stream(number, &mut buffer),
                }
            }
            self.grant_wishes();
            self.agent.handle_timeout(self.clock.even());
            self.send();
            for number in self.connections.flush() {
                self.close(number);
            }
            let now = self.clock.even();
            if now.nanos_since(handed_over) >= BATCH_WAIT_MS * decode::time::NS_PER_MS {
                handed_over = now;
                self.sink.hand_over();
                self.gauges.show(self.agent.counts());
            }
            if asked.elapsed() >= STATISTICS_EVERY {
                asked = Instant::now();
                self.count_drops();
                self.follow_route();
            }
        }
        self.sink.hand_over();
    }

    /// Calls are taken, and the registrar is told where.
    fn open(&mut self) {
        self.is_open = true;
        self.agent.open();
        if let Some((carrier, registrar)) = self.registrar {
            let local = self.local_by(carrier, registrar.ip());
            self.agent.register(local, self.clock.even());
        }
    }

    /// Until the machine's next timer, and not longer than a batch may wait.
    fn patience(&self) -> Timespec {
        let now = self.clock.even();
        let most = BATCH_WAIT_MS * decode::time::NS_PER_MS;
        let due = self.agent.poll_timeout().map_or(most, |due| due.nanos_since(now));
        // A little late rather than a little early, when the kernel's clock is asked again.
        Timespec { tv_sec: 0, tv_nsec: due.clamp(0, most) }
    }

    /// Does what other threads wish.
    fn grant_wishes(&mut self) {
        while let Ok(wish) = self.wishes.try_recv() {
            let now = self.clock.even();
            // Who asked may have given up.
            match wish {
                Wish::Open if self.is_open => {}
                Wish::Open => self.open(),
                Wish::Join { uri, extension, answer } => {
                    let joined = match destination(&uri) {
                        Some((Carrier::Tls, _)) if self.tls.is_none() => Err(JoinError::NotAllowed),
                        Some((carrier, peer)) => {
                            let local = self.local_by(carrier, peer.ip());
                            self.agent.join(&uri, &extension, local, now)
                        }
                        None => Err(JoinError::Unreadable),
                    };
                    let _ = answer.send(joined);
                }
                Wish::Leave { uri, answer } => {
                    let _ = answer.send(self.agent.leave(&uri, now));
                }
            }
        }
    }

    fn take_datagrams(&mut self, buffer: &mut [u8]) {
        for _ in 0..SIP_BATCH {
            match self.udp.recv_from(buffer) {
                Ok((length, peer)) => {
                    let peer = Endpoint::new(peer.ip().to_canonical(), peer.port());
                    if !self.agent.admits(peer.ip()) {
                        // As cheap as can be: this is where a scan or a flood of strangers ends.
                        self.agent.count_stranger();
                        self.sink.refuse();
                        continue;
                    }
                    let local = self.local_for(peer.ip());
                    let path = Path { carrier: Carrier::Udp, connection: 0, local, peer };
                    let message = buffer.get(..length).unwrap_or_default();
                    self.take_message(&path, message);
                }
                // What an ICMP error says of an earlier packet is no end of the socket.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => tracing::debug!(%error, "SIP socket"),
            }
        }
    }

    fn take_message(&mut self, path: &Path, message: &[u8]) {
        let at = (self.clock.wall)();
        match self.agent.handle_message(path, message, self.clock.even()) {
            Taken::Taken => {
                push(&mut self.sink, &mut self.frame, at, Flow { src: path.peer, dst: path.local }, message);
            }
            Taken::Early | Taken::Aside => {}
            Taken::Stranger | Taken::Flood => self.sink.refuse(),
        }
        self.send();
    }

    fn take_connections(&mut self, is_secure: bool) {
        // The rest comes after what else has happened: whoever only connects holds nobody up.
        for _ in 0..CONNECTIONS_AT_ONCE {
            let agent = &self.agent;
            let admitted = |peer: SocketAddr| agent.admits(peer.ip().to_canonical());
            let (listener, tls) = match (is_secure, &self.secure) {
                (true, Some(secure)) => (secure, self.tls.as_ref()),
                (true, None) => return,
                (false, _) => (&self.tcp, None),
            };
            match self.connections.accept(listener, tls, admitted) {
                Ok(Some(number)) => self.watch(number),
                Ok(None) => {
                    self.agent.count_stranger();
                    self.sink.refuse();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Out of files for a moment, or a peer that has changed its mind.
                Err(error) => {
                    tracing::debug!(%error, "SIP connection");
                    return;
                }
            }
        }
    }

    fn take_stream(&mut self, number: u64, buffer: &mut [u8]) {
        let mut messages: Vec<(Path, Vec<u8>)> = Vec::new();
        let goes_on = self.connections.read(number, buffer, |path, message| {
            messages.push((*path, message.to_vec()));
        });
        for (path, message) in messages {
            self.take_message(&path, &message);
        }
        if !goes_on {
            self.close(number);
        }
    }

    /// Has the kernel tell of what comes on this connection.
    fn watch(&mut self, number: u64) {
        let token = epoll::EventData::new_u64(Token::Connection(number).number());
        let added = self
            .connections
            .get(number)
            .map(|connection| epoll::add(&self.epoll, &connection.stream, token, epoll::EventFlags::IN));
        if !matches!(added, Some(Ok(()))) {
            self.close(number);
        }
    }

    /// Ends a connection. The machine says by which way what was to go by it goes now.
    fn close(&mut self, number: u64) {
        if let Some(connection) = self.connections.close(number) {
            let _ = epoll::delete(&self.epoll, &connection.stream);
            if connection.was_never_ready() {
                self.not_sent.push_back(Path { connection: 0, ..connection.path });
            } else {
                self.agent.handle_closed(&connection.path, self.clock.even());
            }
        }
    }

    /// Sends on the connection that the path means, which is opened when there is none. False when it cannot be.
    fn send_by_connection(&mut self, path: &Path, bytes: &[u8]) -> bool {
        let number = match self.connections.find(path) {
            Some(number) => number,
            // One that is over: the machine hears of that.
            None if path.connection != 0 => return false,
            None => {
                let bind = (!self.local.is_unspecified()).then(|| self.local.ip());
                match self.connections.open(path, bind, self.tls.as_ref()) {
                    Ok(number) => {
                        self.watch(number);
                        number
                    }
                    Err(error) => {
                        tracing::debug!(peer = %path.peer, %error, "SIP connection");
                        self.not_sent.push_back(*path);
                        return false;
                    }
                }
            }
        };
        let is_sent = self.connections.write(number, bytes);
        if !is_sent {
            self.close(number);
        }
        is_sent
    }

    fn take_media(&mut self, pair: usize, is_rtcp: bool, buffer: &mut [u8]) {
        for _ in 0..MEDIA_BATCH {
            let Some(socket) = self.pairs.get(pair).map(|[rtp, rtcp]| if is_rtcp { rtcp } else { rtp })
            else {
                return;
            };
            match socket.recv_from(buffer) {
                Ok((length, from)) => {
                    let at = (self.clock.wall)();
                    let from = Endpoint::new(from.ip().to_canonical(), from.port());
                    let packet = buffer.get(..length).unwrap_or_default();
                    match self.agent.handle_media(pair, is_rtcp, from, packet, self.clock.even()) {
                        Taken::Taken => {
                            let Some(to) = self.agent.place(pair, is_rtcp) else { continue };
                            push(&mut self.sink, &mut self.frame, at, Flow { src: from, dst: to }, packet);
                        }
                        Taken::Early | Taken::Aside => {}
                        Taken::Stranger | Taken::Flood => self.sink.refuse(),
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => tracing::trace!(%error, "RTP socket"),
            }
        }
    }

    /// Sends what the machine has to say.
    fn send(&mut self) {
        loop {
            let Some(output) = self.agent.poll_output() else {
                let Some(path) = self.not_sent.pop_front() else { return };
                self.agent.handle_unreachable(&path, self.clock.even());
                continue;
            };
            match output {
                Output::Sip { path, bytes, is_seen } => {
                    let is_sent = if path.carrier == Carrier::Udp {
                        self.udp.send_to(&bytes, (path.peer.ip(), path.peer.port)).is_ok()
                    } else {
                        self.send_by_connection(&path, &bytes)
                    };
                    if is_sent && is_seen {
                        let flow = Flow { src: path.local, dst: path.peer };
                        push(&mut self.sink, &mut self.frame, (self.clock.wall)(), flow, &bytes);
                    }
                }
                Output::Media { pair, is_rtcp, to, bytes } => {
                    if let Some([rtp, rtcp]) = self.pairs.get(pair) {
                        let socket = if is_rtcp { rtcp } else { rtp };
                        // A packet that cannot be sent now is too late at any other time.
                        let _ = socket.send_to(&bytes, (to.ip(), to.port));
                    }
                }
            }
        }
    }

    /// Datagrams that the kernel dropped since the last look: no one read them in time.
    fn count_drops(&mut self) {
        let ours = |port: u16| self.ports.contains(&port);
        let tables =
            ["/proc/net/udp", "/proc/net/udp6"].iter().filter_map(|path| std::fs::read_to_string(path).ok());
        let dropped = tables.map(|table| drops_of(&table, ours)).sum();
        if dropped > self.dropped {
            self.sink.kernel_dropped(dropped - self.dropped);
        }
        self.dropped = dropped;
    }
}

/// The last column of the lines of these local ports, summed up.
fn drops_of(table: &str, ours: impl Fn(u16) -> bool) -> u64 {
    let drops = table.lines().filter_map(|line| {
        let local = line.split_whitespace().nth(1)?;
        let port = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
        ours(port).then(|| line.split_whitespace().next_back()?.parse::<u64>().ok())?
    });
    drops.sum()
}

fn push(sink: &mut Sink, frame: &mut Vec<u8>, at: Timestamp, flow: Flow, payload: &[u8]) {
    if packet::write(flow, payload, frame) {
        sink.push(at, u32::try_from(frame.len()).unwrap_or(u32::MAX), frame);
    }
}

#[cfg(test)]
mod tests;
