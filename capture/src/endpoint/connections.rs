//! SIP over TCP: connections of peers, cut into messages (RFC 3261, 18.3).

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use decode::Endpoint;
use decode::sip::{self, Framed};

/// Connections at the same time.
pub const SIP_CONNECTIONS_MAX: usize = 256;
/// Connections of one address at the same time.
pub const SIP_CONNECTIONS_PER_PEER_MAX: usize = 32;
/// Bytes of a message on a connection; a peer that sends a longer one is disconnected.
pub const SIP_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Bytes that may wait for a peer that does not read; it is disconnected when there are more.
pub const SIP_UNSENT_BYTES_MAX: usize = 256 * 1024;

/// A peer's connection.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) local: Endpoint,
    pub(super) peer: Endpoint,
    unread: Vec<u8>,
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
        admitted: impl Fn(SocketAddr) -> bool,
    ) -> io::Result<Option<u64>> {
        let (stream, peer) = listener.accept()?;
        let ip = peer.ip().to_canonical();
        let of_peer = self.open.values().filter(|one| one.peer.ip() == ip).count();
        if !admitted(peer)
            || self.open.len() >= SIP_CONNECTIONS_MAX
            || of_peer >= SIP_CONNECTIONS_PER_PEER_MAX
        {
            return Ok(None);
        }
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        self.last += 1;
        let connection = Connection {
            stream,
            local: Endpoint::new(local.ip().to_canonical(), local.port()),
            peer: Endpoint::new(ip, peer.port()),
            unread: Vec::new(),
            unsent: Vec::new(),
        };
        self.open.insert(self.last, connection);
        Ok(Some(self.last))
    }

    pub(super) fn get(&self, number: u64) -> Option<&Connection> {
        self.open.get(&number)
    }

    pub(super) fn close(&mut self, number: u64) -> Option<Connection> {
        self.open.remove(&number)
    }

    /// Reads what has come and hands each whole message to `take`; false when the connection is over.
    pub(super) fn read(
        &mut self,
        number: u64,
        buffer: &mut [u8],
        mut take: impl FnMut(&Connection, &[u8]),
    ) -> bool {
        let Some(connection) = self.open.get_mut(&number) else { return false };
        match connection.stream.read(buffer) {
            Ok(0) => return false,
            Ok(count) => connection.unread.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
        let mut unread = std::mem::take(&mut connection.unread);
        let mut used = 0;
        loop {
            let rest = unread.get(used..).unwrap_or_default();
            match sip::next_message(rest, false) {
                Framed::Message(range) => {
                    let end = range.end;
                    take(connection, rest.get(range).unwrap_or_default());
                    used += end;
                }
                Framed::Wait { skip } => {
                    used += skip;
                    break;
                }
            }
        }
        unread.drain(..used.min(unread.len()));
        let is_too_long = unread.len() > SIP_MESSAGE_BYTES_MAX;
        connection.unread = unread;
        !is_too_long
    }

    /// Sends, or keeps for later what the peer does not take now. False when the connection is over, or the peer does not read.
    pub(super) fn write(&mut self, number: u64, bytes: &[u8]) -> bool {
        let Some(connection) = self.open.get_mut(&number) else { return false };
        connection.unsent.extend_from_slice(bytes);
        connection.flush() && connection.unsent.len() <= SIP_UNSENT_BYTES_MAX
    }

    /// Tries again to send what waits, on each connection; gives those that are over.
    pub(super) fn flush(&mut self) -> Vec<u64> {
        let waiting = self.open.iter_mut().filter(|(_, one)| !one.unsent.is_empty());
        waiting.filter_map(|(&number, one)| (!one.flush()).then_some(number)).collect()
    }
}

impl Connection {
    fn flush(&mut self) -> bool {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(0) => return false,
                Ok(count) => {
                    self.unsent.drain(..count.min(self.unsent.len()));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }
}
