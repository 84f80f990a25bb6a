//! SIP over TCP and TLS: connections that peers open, and those that we open to them, cut into messages (RFC 3261, 18.3).

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use decode::endpoint::Path;
use decode::sip::{self, Framed};
use decode::{Carrier, Endpoint};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::tls::EndpointTls;

/// Connections at the same time.
pub const SIP_CONNECTIONS_MAX: usize = 256;
/// Connections of one address at the same time.
pub const SIP_CONNECTIONS_PER_PEER_MAX: usize = 32;
/// Bytes of a message on a connection; a peer that sends a longer one is disconnected.
pub const SIP_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Bytes that may wait for a peer that does not read; it is disconnected when there are more.
pub const SIP_UNSENT_BYTES_MAX: usize = 256 * 1024;
/// How long a connection that we open may take, in milliseconds, and how long one over TLS may take to agree on its keys.
pub const SIP_CONNECT_MS_MAX: u64 = 10_000;

/// A connection on which nothing was said for so long is asked whether it is still there: so often, so many times.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_TRIES: u32 = 3;
/// A ping of the peer's (RFC 5626, 4.4.1).
const PING: &[u8] = b"\r\n\r\n";

/// A connection with a peer.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    tls: Option<Box<rustls::Connection>>,
    pub(super) path: Path,
    /// We opened it: over TLS its certificate was checked. A peer that opens one shows none.
    is_ours: bool,
    /// Until when it must be ready; it is, without.
    ready_by: Option<Instant>,
    unread: Vec<u8>,
    /// What goes into the socket: of TLS that is in `tls`.
    unsent: Vec<u8>,
}

/// All of them, by number.
#[derive(Default)]
pub(super) struct Connections {
    open: BTreeMap<u64, Connection>,
    last: u64,
}

impl Connections {
    /// Takes a connection that waits; `None` when none does. One that is not `admitted`, or one too many, is closed at once.
    pub(super) fn accept(
        &mut self,
        listener: &TcpListener,
        tls: Option<&EndpointTls>,
        admitted: impl Fn(SocketAddr) -> bool,
    ) -> io::Result<Option<u64>> {
        let (stream, peer) = listener.accept()?;
        let ip = peer.ip().to_canonical();
        if !admitted(peer) || !self.has_room(ip) {
            return Ok(None);
        }
        stream.set_nonblocking(true)?;
        let local = stream.local_addr()?;
        let local = Endpoint::new(local.ip().to_canonical(), local.port());
        let tls = tls.map(EndpointTls::accept).transpose()?;
        let peer = Endpoint::new(ip, peer.port());
        Ok(Some(self.insert(stream, tls, local, peer)?))
    }

    fn has_room(&self, peer: IpAddr) -> bool {
        let of_peer = self.open.values().filter(|one| one.path.peer.ip() == peer).count();
        self.open.len() < SIP_CONNECTIONS_MAX && of_peer < SIP_CONNECTIONS_PER_PEER_MAX
    }

    fn insert(
        &mut self,
        stream: TcpStream,
        tls: Option<Box<rustls::Connection>>,
        local: Endpoint,
        peer: Endpoint,
    ) -> io::Result<u64> {
        stream.set_nodelay(true)?;
        // A peer that is gone without a word would have its place for ever.
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, KEEPALIVE_AFTER)?;
        sockopt::set_tcp_keepintvl(&stream, KEEPALIVE_EVERY)?;
        sockopt::set_tcp_keepcnt(&stream, KEEPALIVE_TRIES)?;
        self.last += 1;
        let carrier = if tls.is_some() { Carrier::Tls } else { Carrier::Tcp };
        let path = Path { carrier, connection: self.last, local, peer };
        let ready_by = tls.is_some().then(|| Instant::now() + Duration::from_millis(SIP_CONNECT_MS_MAX));
        let connection = Connection {
            stream,
            tls,
            path,
            is_ours: false,
            ready_by,
            unread: Vec::new(),
            unsent: Vec::new(),
        };
        self.open.insert(self.last, connection);
        Ok(self.last)
    }

    /// The connection that this path means: its own, or, where it has none, one that is open to there.
    pub(super) fn find(&self, path: &Path) -> Option<u64> {
        if path.connection != 0 {
            return self.open.contains_key(&path.connection).then_some(path.connection);
        }
        // What is meant for a peer whose certificate has to be right goes by no connection of which that is not known.
        let is_known = |one: &Connection| one.is_ours || one.path.carrier != Carrier::Tls;
        let is_there = |one: &Connection| {
            one.path.carrier == path.carrier && one.path.peer == path.peer && is_known(one)
        };
        self.open.iter().rev().find(|(_, one)| is_there(one)).map(|(&number, _)| number)
    }

    /// Begins a connection to where this path goes; what is written waits until it stands. `bind` is the address that it comes from.
    pub(super) fn open(
        &mut self,
        path: &Path,
        bind: Option<IpAddr>,
        tls: Option<&EndpointTls>,
    ) -> io::Result<u64> {
        if !self.has_room(path.peer.ip()) {
            return Err(io::Error::other("too many connections"));
        }
        let tls = match (path.carrier, tls) {
            (Carrier::Tls, Some(tls)) => Some(tls.connect(path.peer.ip())?),
            (Carrier::Tls, None) => return Err(io::Error::other("no certificate is configured for TLS")),
            _ => None,
        };
        let to = SocketAddr::new(path.peer.ip(), path.peer.port);
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        if let Some(ip) = bind.filter(|ip| ip.is_ipv4() == to.is_ipv4()) {
            rustix::net::bind(&socket, &SocketAddr::new(ip, 0))?;
        }
        match rustix::net::connect(&socket, &to) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let number = self.insert(TcpStream::from(socket), tls, path.local, path.peer)?;
        if let Some(connection) = self.open.get_mut(&number) {
            connection.ready_by = Some(Instant::now() + Duration::from_millis(SIP_CONNECT_MS_MAX));
            connection.is_ours = true;
        }
        Ok(number)
    }

    pub(super) fn get(&self, number: u64) -> Option<&Connection> {
        self.open.get(&number)
    }

    pub(super) fn close(&mut self, number: u64) -> Option<Connection> {
        self.open.remove(&number)
    }

    /// Reads what has come and hands each whole message, and each ping, to `take`; false when the connection is over.
    pub(super) fn read(
        &mut self,
        number: u64,
        buffer: &mut [u8],
        mut take: impl FnMut(&Path, &[u8]),
    ) -> bool {
        let Some(connection) = self.open.get_mut(&number) else { return false };
        let goes_on = connection.fill(buffer);
        let mut unread = std::mem::take(&mut connection.unread);
        let mut used = 0;
        loop {
            let rest = unread.get(used..).unwrap_or_default();
            if rest.starts_with(PING) {
                take(&connection.path, PING);
                used += PING.len();
                continue;
            }
            match sip::next_message(rest, false) {
                Framed::Message(range) => {
                    let end = range.end;
                    if range.len() > SIP_MESSAGE_BYTES_MAX {
                        return false;
                    }
                    take(&connection.path, rest.get(range).unwrap_or_default());
                    used += end;
                }
                // Half of a ping waits for the other half.
                Framed::Wait { .. } if PING.starts_with(rest) => break,
                Framed::Wait { skip } => {
                    used += skip;
                    break;
                }
            }
        }
        unread.drain(..used.min(unread.len()));
        let is_too_long = unread.len() > SIP_MESSAGE_BYTES_MAX;
        connection.unread = unread;
        goes_on && !is_too_long
    }

    /// Sends, or keeps for later what the peer does not take now. False when the connection is over, or the peer does not read.
    pub(super) fn write(&mut self, number: u64, bytes: &[u8]) -> bool {
        let Some(connection) = self.open.get_mut(&number) else { return false };
        match &mut connection.tls {
            Some(tls) => {
                if tls.writer().write_all(bytes).is_err() {
                    return false;
                }
            }
            None => connection.unsent.extend_from_slice(bytes),
        }
        connection.flush() && connection.unsent.len() <= SIP_UNSENT_BYTES_MAX
    }

    /// Tries again to send what waits, on each connection; gives those that are over, or were not ready in time.
    pub(super) fn flush(&mut self) -> Vec<u64> {
        let waiting = self.open.iter_mut().filter(|(_, one)| one.waits());
        let late = |one: &Connection| one.ready_by.is_some_and(|by| Instant::now() > by);
        waiting.filter_map(|(&number, one)| (!one.flush() || late(one)).then_some(number)).collect()
    }
}

impl Connection {
    /// Was it not ready before it ended: what was to go by it never did?
    pub(super) fn was_never_ready(&self) -> bool {
        self.ready_by.is_some()
    }

    fn waits(&self) -> bool {
        !self.unsent.is_empty()
            || self.ready_by.is_some()
            || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Takes what has come; false when nothing more will.
    fn fill(&mut self, buffer: &mut [u8]) -> bool {
        let Some(tls) = &mut self.tls else {
            return match self.stream.read(buffer) {
                Ok(0) => false,
                Ok(count) => {
                    self.ready_by = None;
                    self.unread.extend_from_slice(buffer.get(..count).unwrap_or_default());
                    true
                }
                Err(error) => is_pause(&error),
            };
        };
        let goes_on = match tls.read_tls(&mut self.stream) {
            Ok(0) => false,
            Ok(_) => true,
            Err(error) if is_pause(&error) => return true,
            Err(_) => false,
        };
        if let Err(error) = tls.process_new_packets() {
            tracing::debug!(peer = %self.path.peer, %error, "SIP over TLS");
            // The peer is to know why.
            let _ = tls.write_tls(&mut self.stream);
            return false;
        }
        if !tls.is_handshaking() {
            self.ready_by = None;
        }
        loop {
            match tls.reader().read(buffer) {
                Ok(0) => break,
                Ok(count) => self.unread.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(_) => break,
            }
        }
        goes_on && self.flush()
    }

    fn flush(&mut self) -> bool {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                match tls.write_tls(&mut self.stream) {
                    Ok(0) => return false,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return is_not_yet(&error),
                }
            }
            return true;
        }
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(0) => return false,
                Ok(count) => {
                    self.ready_by = None;
                    self.unsent.drain(..count.min(self.unsent.len()));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return is_not_yet(&error),
            }
        }
        true
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Can it be sent later: the peer reads slowly, or the connection does not stand yet?
fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}
