//! HEP agents as a source: packets that SIP servers and agents beside them send here, over UDP and TCP.
//!
//! Owns the sockets, who may send, and the cutting of a TCP stream into packets. A frame is one HEP packet as it was
//! received, of link type [`LINK_HEP`], with the time of its receipt; what is in it is read by `decode`. The threads put
//! their frames into the [`crate::Ring`], beside those of mirror ports.
//!
//! HEP has neither encryption nor, beside a shared key in clear, authentication: whoever may send here can make up calls.
//! So only addresses that are named may, and this machine's own when none is.

use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use decode::Timestamp;
use decode::hep::{self, HEP_BYTES_MAX};
use decode::net::LINK_HEP;

use crate::Error;
use crate::endpoint::give_up_capabilities;
use crate::ring::Sink;

/// Ports that are tried where any will do.
const PORT_TRIES: usize = 32;
/// Agents that may be connected over TCP at the same time; a further one is refused.
pub const HEP_CONNECTIONS_MAX: usize = 64;
/// Packets are handed over at least this often.
const BATCH_WAIT: Duration = Duration::from_millis(20);
/// Between two questions to the kernel how much it dropped.
const STATISTICS_EVERY_MS: u64 = 500;

/// Where and from whom HEP is taken.
#[derive(Clone)]
pub struct HepOptions {
    /// Address and port, of UDP and TCP.
    pub listen: SocketAddr,
    /// Who may send; this machine alone when empty.
    pub from: Vec<IpAddr>,
    /// What packets must hold as their key.
    pub key: Option<Vec<u8>>,
    /// The clock that stamps the frames.
    pub now: fn() -> Timestamp,
}

impl HepOptions {
    /// From this machine alone, without a key.
    #[must_use]
    pub fn new(listen: SocketAddr, now: fn() -> Timestamp) -> HepOptions {
        HepOptions { listen, from: Vec::new(), key: None, now }
    }

    fn admits_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if self.from.is_empty() { address.is_loopback() } else { self.from.contains(&address) }
    }

    /// Is this a packet that holds together and has the key?
    fn admits(&self, bytes: &[u8]) -> bool {
        match (hep::parse(bytes), &self.key) {
            (Ok(_), None) => true,
            (Ok(packet), Some(key)) => packet.auth_key.is_some_and(|given| is_same(given, key)),
            (Err(_), _) => false,
        }
    }
}

impl std::fmt::Debug for HepOptions {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HepOptions")
            .field("listen", &self.listen)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

/// Compares in a time that does not depend on where the two differ.
fn is_same(given: &[u8], key: &[u8]) -> bool {
    given.len() == key.len() && given.iter().zip(key).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// Sockets that HEP comes to. Packets pile up in the kernel from now on; a [`crate::Ring`] takes them.
#[derive(Debug)]
pub struct HepListener {
    options: HepOptions,
    udp: UdpSocket,
    tcp: TcpListener,
}

impl HepListener {
    /// Binds both sockets.
    ///
    /// # Errors
    ///
    /// [`Error::Listen`] when an address or port is not to be had.
    pub fn bind(options: HepOptions) -> Result<HepListener, Error> {
        let sockets = || -> io::Result<(UdpSocket, TcpListener)> {
            let (udp, tcp) = bind_both(options.listen)?;
            udp.set_read_timeout(Some(BATCH_WAIT))?;
            tcp.set_nonblocking(true)?;
            Ok((udp, tcp))
        };
        let (udp, tcp) = sockets().map_err(|source| Error::Listen {
            what: "HEP",
            address: options.listen.to_string(),
            message: source.to_string(),
        })?;
        Ok(HepListener { options, udp, tcp })
    }

    /// The address and port that were bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.udp.local_addr().unwrap_or(self.options.listen)
    }

    /// What its place in the list of ports is called.
    pub(crate) fn name(&self) -> String {
        format!("hep {}", self.address())
    }

    /// Starts the threads that empty the sockets.
    pub(crate) fn start(self, mut sink: Sink, asleep: Receiver<()>) -> io::Result<[JoinHandle<()>; 2]> {
        sink.link = LINK_HEP;
        let name = self.name();
        let connections = Connections { options: self.options.clone(), sink: sink.another(), asleep };
        let (tcp, udp) = (self.tcp, Datagrams { options: self.options, sink, socket: self.udp });
        Ok([
            std::thread::Builder::new().name(name.clone()).spawn(move || udp.run())?,
            std::thread::Builder::new().name(name).spawn(move || connections.run(&tcp))?,
        ])
    }
}

/// One datagram, one packet.
struct Datagrams {
    options: HepOptions,
    sink: Sink,
    socket: UdpSocket,
}

impl Datagrams {
    fn run(mut self) {
        give_up_capabilities();
        let mut buffer = vec![0; HEP_BYTES_MAX];
        let name = self.socket.local_addr().ok().map(kernel_name);
        let (mut handed_over, mut asked) = (Timestamp::MIN, Timestamp::MIN);
        let mut dropped = 0;
        while !self.sink.stopped() {
            let received = self.socket.recv_from(&mut buffer);
            let now = (self.options.now)();
            match received {
                Ok((length, peer)) => {
                    let packet = buffer.get(..length).unwrap_or_default();
                    if self.options.admits_address(peer.ip()) && self.options.admits(packet) {
                        self.sink.push(now, u32::try_from(length).unwrap_or(u32::MAX), packet);
                    } else {
                        self.sink.refuse();
                    }
                }
                Err(error) if is_pause(&error) => self.sink.hand_over(),
                // An agent that is gone is told by ICMP, which the next call gives as an error; nothing is lost by it.
                Err(error) => tracing::debug!(%error, "HEP socket"),
            }
            if now.millis_since(handed_over) >= BATCH_WAIT.as_millis() as u64 || now < handed_over {
                self.sink.hand_over();
                handed_over = now;
            }
            if now.millis_since(asked) >= STATISTICS_EVERY_MS || now < asked {
                asked = now;
                let seen = name.as_ref().and_then(|name| kernel_drops(name));
                if let Some(more) = seen.and_then(|seen| seen.checked_sub(dropped)) {
                    self.sink.kernel_dropped(more);
                    dropped = dropped.saturating_add(more);
                }
            }
        }
        self.sink.hand_over();
    }
}

/// Agents that connect.
struct Connections {
    options: HepOptions,
    sink: Sink,
    /// Gives an error, and so wakes, when the ring is stopped.
    asleep: Receiver<()>,
}

impl Connections {
    fn run(self, listener: &TcpListener) {
        // The threads that it starts have none either.
        give_up_capabilities();
        let mut running: Vec<JoinHandle<()>> = Vec::new();
        while !self.sink.stopped() {
            match listener.accept() {
                Ok((stream, peer)) => {
                    running.retain(|thread| !thread.is_finished());
                    if running.len() >= HEP_CONNECTIONS_MAX || !self.options.admits_address(peer.ip()) {
                        self.sink.refuse();
                        continue;
                    }
                    let connection = Connection { options: self.options.clone(), sink: self.sink.another() };
                    let thread = std::thread::Builder::new().name(format!("hep {peer}"));
                    match thread.spawn(move || connection.run(stream)) {
                        Ok(thread) => running.push(thread),
                        Err(error) => tracing::warn!(%error, "no thread for a HEP agent"),
                    }
                }
                Err(_) => {
                    if self.asleep.recv_timeout(BATCH_WAIT) == Err(RecvTimeoutError::Disconnected) {
                        break;
                    }
                }
            }
        }
        for thread in running {
            let _ = thread.join();
        }
    }
}

/// One agent's stream of packets, each of which says its length.
struct Connection {
    options: HepOptions,
    sink: Sink,
}

impl Connection {
    fn run(mut self, mut stream: TcpStream) {
        if stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(BATCH_WAIT))).is_err() {
            return;
        }
        let mut buffer = vec![0; 2 * HEP_BYTES_MAX];
        let mut held = 0;
        while !self.sink.stopped() {
            let space = buffer.get_mut(held..).unwrap_or_default();
            match stream.read(space) {
                Ok(0) => break,
                Ok(count) => held += count,
                Err(error) if is_pause(&error) => {
                    self.sink.hand_over();
                    continue;
                }
                Err(_) => break,
            }
            let Some(used) = self.take(buffer.get(..held).unwrap_or_default()) else {
                // No HEP, or not ours: there is no finding the next packet in it.
                self.sink.refuse();
                break;
            };
            buffer.copy_within(used..held, 0);
            held -= used;
            self.sink.hand_over();
        }
        self.sink.hand_over();
    }

    /// Hands on the whole packets; gives how many bytes they are, or `None` when the stream is no HEP.
    fn take(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| rest.len() >= 6) {
            let length = hep::framed_len(rest).ok()??;
            let Some(packet) = rest.get(..length) else { break };
            if self.options.admits(packet) {
                self.sink.push((self.options.now)(), u32::try_from(length).unwrap_or(u32::MAX), packet);
            } else {
                self.sink.refuse();
            }
            used += length;
        }
        Some(used)
    }
}

/// Did a read end because nothing came in time?
fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// A local address as the kernel's table of sockets writes it: 32-bit words in the machine's order, port.
fn kernel_name(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|word| match word {
        &[a, b, c, d] => format!("{:08X}", u32::from_ne_bytes([a, b, c, d])),
        _ => String::new(),
    });
    format!("{}:{:04X}", words.collect::<String>(), address.port())
}

/// Datagrams that the kernel dropped because the socket's buffer was full, since it was opened.
fn kernel_drops(name: &str) -> Option<u64> {
    ["/proc/net/udp", "/proc/net/udp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .find_map(|text| drops_of(&text, name))
}

/// The last column of the socket's line.
fn drops_of(table: &str, name: &str) -> Option<u64> {
    let line = table.lines().find(|line| line.split_whitespace().nth(1) == Some(name))?;
    line.split_whitespace().next_back()?.parse().ok()
}

/// A UDP and a TCP socket of the same port. Port 0 is any that is free for both, which not every port is that is free for one.
fn bind_both(listen: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let tries = if listen.port() == 0 { PORT_TRIES } else { 1 };
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..tries {
        let udp = UdpSocket::bind(listen)?;
        match TcpListener::bind(udp.local_addr()?) {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::{Advance, FrameSource, Ring};

    /// HEP with "OPTIONS" from 192.0.2.1:1 to 192.0.2.2:2 and this key.
    fn packet(key: &[u8]) -> Vec<u8> {
        let key_length = (key.len() as u16 + 6).to_be_bytes();
        let body = [
            &[0, 0, 0, 3, 0, 10, 192, 0, 2, 1, 0, 0, 0, 4, 0, 10, 192, 0, 2, 2][..],
            &[0, 0, 0, 7, 0, 8, 0, 1, 0, 0, 0, 8, 0, 8, 0, 2, 0, 0, 0, 11, 0, 7, 1],
            &[0, 0, 0, 14, key_length[0], key_length[1]],
            key,
            &[0, 0, 0, 15, 0, 13],
            b"OPTIONS",
        ]
        .concat();
        [&b"HEP3"[..], &(body.len() as u16 + 6).to_be_bytes(), &body].concat()
    }

    fn noon() -> Timestamp {
        Timestamp::from_millis(43_200_000)
    }

    fn listener(change: impl FnOnce(&mut HepOptions)) -> HepListener {
        let mut options = HepOptions::new(SocketAddr::from(([127, 0, 0, 1], 0)), noon);
        change(&mut options);
        HepListener::bind(options).expect("a free port of this machine")
    }

    /// Frames until there are so many, or until patience ends.
    fn frames(ring: &mut Ring, count: usize) -> Vec<Vec<u8>> {
        let mut seen = Vec::new();
        while seen.len() < count {
            match ring.advance_within(Duration::from_secs(20)) {
                Ok(Advance::Frame) => {
                    let frame = ring.frame().expect("a frame");
                    assert_eq!((frame.link, frame.at), (LINK_HEP, noon()));
                    seen.push(frame.data.to_vec());
                }
                other => panic!("{other:?} after {} frames", seen.len()),
            }
        }
        seen
    }

    /// Waits until so many were refused.
    fn refused(ring: &mut Ring, count: u64) {
        for _ in 0..2000 {
            if ring.counters().refused >= count {
                break;
            }
            assert_eq!(ring.advance_within(Duration::from_millis(10)).ok(), Some(Advance::Idle));
        }
        assert_eq!(ring.counters().refused, count);
    }

    #[test]
    fn packets_of_both_transports_become_frames_as_they_are() {
        let listener = listener(|_| {});
        let address = listener.address();
        let mut ring = Ring::start_with(Vec::new(), vec![listener], 1 << 20).expect("threads");
        let agent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        agent.send_to(&packet(b"x"), address).expect("sent");
        assert_eq!(frames(&mut ring, 1), [packet(b"x")]);
        // Three packets in pieces that end anywhere.
        let mut stream = TcpStream::connect(address).expect("connected");
        let stretch = [packet(b"one"), packet(b"two"), packet(b"three")].concat();
        for piece in stretch.chunks(50) {
            stream.write_all(piece).expect("sent");
            stream.flush().expect("sent");
        }
        assert_eq!(frames(&mut ring, 3), [packet(b"one"), packet(b"two"), packet(b"three")]);
        assert_eq!(ring.ports()[0].interface, format!("hep {address}"));
        ring.stopper().stop();
        assert_eq!(ring.advance_within(Duration::from_secs(20)).ok(), Some(Advance::End));
    }

    #[test]
    fn what_is_no_hep_or_lacks_the_key_is_refused_and_counted() {
        let listener = listener(|options| options.key = Some(b"secret".to_vec()));
        let address = listener.address();
        let mut ring = Ring::start_with(Vec::new(), vec![listener], 1 << 20).expect("threads");
        let agent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for datagram in [packet(b"secreT"), packet(b""), b"INVITE sip:a@b SIP/2.0".to_vec()] {
            agent.send_to(&datagram, address).expect("sent");
        }
        refused(&mut ring, 3);
        TcpStream::connect(address).expect("connected").write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
        refused(&mut ring, 4);
        agent.send_to(&packet(b"secret"), address).expect("sent");
        assert_eq!(frames(&mut ring, 1), [packet(b"secret")]);
    }

    #[test]
    fn who_is_not_named_is_refused() {
        let listener = listener(|options| options.from = vec![IpAddr::from([127, 0, 0, 2])]);
        let address = listener.address();
        let mut ring = Ring::start_with(Vec::new(), vec![listener], 1 << 20).expect("threads");
        UdpSocket::bind("127.0.0.3:0").expect("a socket").send_to(&packet(b""), address).expect("sent");
        TcpStream::connect(address).expect("connected");
        refused(&mut ring, 2);
        UdpSocket::bind("127.0.0.2:0").expect("a socket").send_to(&packet(b""), address).expect("sent");
        assert_eq!(frames(&mut ring, 1).len(), 1);
        // Nobody named: this machine alone.
        let options = HepOptions::new(address, noon);
        assert!(options.admits_address(IpAddr::from([127, 0, 0, 9])));
        assert!(!options.admits_address(IpAddr::from([192, 0, 2, 1])));
        assert!(options.admits_address("::ffff:127.0.0.1".parse().expect("an address")));
    }

    #[test]
    fn the_kernel_names_sockets_by_words_and_says_what_it_dropped_at_the_end_of_the_line() {
        let name = kernel_name(SocketAddr::from(([127, 0, 0, 1], 9060)));
        let word = format!("{:08X}", u32::from_ne_bytes([127, 0, 0, 1]));
        assert_eq!(name, format!("{word}:2364"));
        let table = format!("  sl  local_address drops\n 1: {name} 00000000:0000 07 0 0 0 0 0 0 2 0 17\n");
        assert_eq!(drops_of(&table, &name), Some(17));
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        assert_eq!(kernel_drops(&kernel_name(socket.local_addr().expect("bound"))), Some(0));
    }

    #[test]
    fn an_address_that_is_taken_is_said() {
        let first = listener(|_| {});
        let taken = HepListener::bind(HepOptions::new(first.address(), noon));
        assert!(matches!(taken, Err(Error::Listen { .. })));
    }
}
