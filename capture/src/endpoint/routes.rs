//! By what address of ours a peer is reached, and how large a packet may be on the way there: the kernel is asked, and believed for a while.

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use decode::{Carrier, Endpoint};
use rustix::net::sockopt;

use super::Running;

/// Addresses of ours that are remembered by the peer that reaches us there.
const ROUTES_MAX: usize = 4_096;
/// For how long they are believed: an adapter's address may change.
const ROUTES_FOR: Duration = Duration::from_secs(60);

impl Running {
    /// Our own address as this peer reaches it.
    pub(super) fn local_for(&mut self, peer: IpAddr) -> Endpoint {
        let known = self.routes.get(&peer).filter(|(_, at)| at.elapsed() < ROUTES_FOR).map(|&(ip, _)| ip);
        match known.or_else(|| self.look_up(peer)) {
            Some(ip) if self.local.is_unspecified() => Endpoint::new(ip, self.local.port),
            _ => self.local,
        }
    }

    /// Asks the kernel by what address of ours this peer is reached, and how large a packet may be on the way; none without a route.
    fn look_up(&mut self, peer: IpAddr) -> Option<IpAddr> {
        // The kernel chooses as it would for a datagram; nothing is sent.
        let any: IpAddr = if peer.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
        let route = || -> io::Result<(IpAddr, u32)> {
            let socket = UdpSocket::bind((any, 0))?;
            socket.connect((peer, self.local.port.max(1)))?;
            let packet_bytes =
                if peer.is_ipv4() { sockopt::ip_mtu(&socket)? } else { sockopt::ipv6_mtu(&socket)? };
            Ok((socket.local_addr()?.ip(), packet_bytes))
        };
        let (ip, packet_bytes) = route().ok()?;
        if self.routes.len() >= ROUTES_MAX {
            self.routes.clear();
        }
        self.routes.insert(peer, (ip, Instant::now()));
        self.agent.learn_packet_bytes(peer, packet_bytes);
        Some(ip)
    }

    /// Is the PBX where we register to reach us at another address by now?
    pub(super) fn follow_route(&mut self) {
        let Some((carrier, registrar)) = self.registrar else { return };
        let local = self.local_by(carrier, registrar.ip());
        // Without a route there is nobody to tell.
        if !local.is_unspecified() {
            self.agent.register_from(local, self.clock.even());
        }
    }

    /// The same for what comes by this way.
    pub(super) fn local_by(&mut self, carrier: Carrier, peer: IpAddr) -> Endpoint {
        match self.secure_local.filter(|_| carrier == Carrier::Tls) {
            Some(local) if local.is_unspecified() => self.local_for(peer).with_port(local.port),
            Some(local) => local,
            None => self.local_for(peer),
        }
    }
}
