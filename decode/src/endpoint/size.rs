//! Requests that are too large for a datagram (RFC 3261, 18.1.1): they go over TCP, and over UDP after all when the peer takes no
//! connection.
//!
//! A network fragments a large datagram, and many a firewall drops fragments. Such a request says in its Via that it came over TCP; its
//! Contact stays as it was, so that what follows in the dialog goes by the way that it would have gone by.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rustc_hash::FxHashMap;

use super::{Path, UserAgent, compose};
use crate::net::Endpoint;
use crate::signal::Carrier;
use crate::time::Timestamp;

/// Bytes of a request that goes over UDP, unless the way there takes less.
pub const UDP_REQUEST_BYTES_MAX: usize = 1_300;
/// A request leaves so many bytes of the largest packet of its way: for headers, and for what a response says more.
const SPARE_BYTES: usize = 200;
/// Ways whose largest packet is remembered; all are forgotten when there are more.
const WAYS_MAX: usize = 4_096;
/// Places that took no connection and are remembered; one more is tried each time.
const REFUSERS_MAX: usize = 256;
/// For how long, in milliseconds: meanwhile large requests go there over UDP at once.
const REFUSED_MS: i64 = 600_000;

/// What is known of the ways to peers.
#[derive(Debug, Default)]
pub(super) struct Ways {
    /// Bytes of the largest packet.
    packet_bytes: FxHashMap<IpAddr, usize>,
    /// Places that took no connection, and until when that is believed.
    refusers: BTreeMap<Endpoint, Timestamp>,
}

impl Ways {
    fn request_bytes_max(&self, peer: IpAddr) -> usize {
        let known = self.packet_bytes.get(&peer).map(|bytes| bytes.saturating_sub(SPARE_BYTES));
        known.unwrap_or(UDP_REQUEST_BYTES_MAX).min(UDP_REQUEST_BYTES_MAX)
    }

    fn takes_connections(&self, peer: &Endpoint, now: Timestamp) -> bool {
        self.refusers.get(peer).is_none_or(|&until| until <= now)
    }

    fn refused(&mut self, peer: Endpoint, now: Timestamp) {
        self.refusers.retain(|_, until| *until > now);
        if self.refusers.len() < REFUSERS_MAX {
            self.refusers.insert(peer, now.plus_millis(REFUSED_MS));
        }
    }
}

/// A request by the way that it goes by.
pub(super) struct Sized {
    pub(super) path: Path,
    pub(super) bytes: Vec<u8>,
    /// The same as it goes over UDP, where it is too large for that and goes over TCP first.
    pub(super) over_udp: Option<(Path, Vec<u8>)>,
}

impl UserAgent {
    /// The largest packet that the way to this peer takes, in bytes, as the kernel knows it.
    pub fn learn_packet_bytes(&mut self, peer: IpAddr, bytes: u32) {
        let known = &mut self.ways.packet_bytes;
        if known.len() >= WAYS_MAX && !known.contains_key(&peer) {
            known.clear();
        }
        known.insert(peer, usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    /// By what a request goes that is to go by `path`.
    pub(super) fn by_size(&self, path: Path, bytes: Vec<u8>) -> Sized {
        let is_large = path.is_unreliable() && bytes.len() > self.ways.request_bytes_max(path.peer.ip());
        if !is_large || !self.ways.takes_connections(&path.peer, self.now) {
            return Sized { path, bytes, over_udp: None };
        }
        let over_tcp = compose::over(&bytes, Carrier::Tcp);
        let by = Path { carrier: Carrier::Tcp, connection: 0, ..path };
        Sized { path: by, bytes: over_tcp, over_udp: Some((path, bytes)) }
    }

    /// No connection can be had to there, or none that lasts: large requests go over UDP for a while.
    pub(super) fn takes_no_connection(&mut self, peer: Endpoint) {
        self.ways.refused(peer, self.now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn a_small_packet_makes_less_room_and_a_large_one_no_more() {
        let mut ways = Ways::default();
        let peer = IpAddr::from([192, 0, 2, 9]);
        for (packet, most) in [(1_500, 1_300), (65_536, 1_300), (1_280, 1_080), (100, 0)] {
            ways.packet_bytes.insert(peer, packet);
            assert_eq!(ways.request_bytes_max(peer), most);
        }
        assert_eq!(ways.request_bytes_max([192, 0, 2, 8].into()), 1_300);
    }

    #[test]
    fn who_took_no_connection_is_asked_again_later_and_remembered_in_bounded_room() {
        let mut ways = Ways::default();
        let peer = |port| Endpoint::v4([192, 0, 2, 9], port);
        (0..2 * REFUSERS_MAX as u16).for_each(|port| ways.refused(peer(port), at(0)));
        assert_eq!(ways.refusers.len(), REFUSERS_MAX);
        assert!(!ways.takes_connections(&peer(0), at(REFUSED_MS - 1)));
        assert!(ways.takes_connections(&peer(0), at(REFUSED_MS)));
        ways.refused(peer(1), at(REFUSED_MS));
        assert_eq!(ways.refusers.len(), 1);
    }
}
