//! Frames as they stand on a wire: Ethernet II, 802.1Q, IPv4 (RFC 791), IPv6 (RFC 8200), UDP (RFC 768), TCP (RFC 9293).
//!
//! Builds only, parses nothing. Checksums are right, because a capture with wrong ones teaches the wrong lesson.

use std::net::IpAddr;

/// Largest IP packet of an ordinary Ethernet, in bytes.
pub const MTU: usize = 1500;

/// One network adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Ethernet address.
    pub mac: [u8; 6],
    /// IP address; both ends of a frame must be of one family.
    pub ip: IpAddr,
}

/// From where to where, with what around it.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    /// Sender and its port.
    pub from: (Host, u16),
    /// Receiver and its port.
    pub to: (Host, u16),
    /// 802.1Q tags from the outside in; two make QinQ (the outer tag is then 802.1ad).
    pub vlans: &'a [u16],
}

/// What a TCP segment says besides its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Number of the first byte (of the SYN itself when it has one).
    pub sequence: u32,
    /// Next byte expected from the other side.
    pub acknowledged: u32,
    /// Flag bits as in the header: FIN 1, SYN 2, RST 4, PSH 8, ACK 16.
    pub flags: u8,
}

/// FIN flag of TCP.
pub const FIN: u8 = 1;
/// SYN flag of TCP.
pub const SYN: u8 = 2;
/// PSH flag of TCP.
pub const PSH: u8 = 8;
/// ACK flag of TCP.
pub const ACK: u8 = 16;

const PROTO_TCP: u8 = 6;
const PROTO_UDP: u8 = 17;
const IPV6_FRAGMENT: u8 = 44;

/// One UDP datagram as frames: one, or as many fragments as [`MTU`] asks for, in order.
#[must_use]
pub fn udp(path: Path<'_>, ident: u16, payload: &[u8]) -> Vec<Vec<u8>> {
    let length = 8 + payload.len();
    let mut datagram = Vec::with_capacity(length);
    datagram.extend(path.from.1.to_be_bytes());
    datagram.extend(path.to.1.to_be_bytes());
    datagram.extend((length as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    // RFC 768: a sum of zero is sent as all ones, since zero means "none".
    let sum = match transport_sum(path, PROTO_UDP, &datagram) {
        0 => 0xffff,
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    ip(path, PROTO_UDP, ident, &datagram)
}

/// One IP packet as frames: one, or as many fragments as [`MTU`] asks for, in order.
#[must_use]
pub fn ip(path: Path<'_>, protocol: u8, ident: u16, payload: &[u8]) -> Vec<Vec<u8>> {
    if ip_header_len(path) + payload.len() <= MTU {
        return vec![frame(path, protocol, ident, None, payload)];
    }
    fragments(path, protocol, ident, payload, MTU)
}

/// One TCP segment as a frame. A SYN carries the option for a maximum segment size of 1460.
#[must_use]
pub fn tcp(path: Path<'_>, ident: u16, segment: Segment, payload: &[u8]) -> Vec<u8> {
    let options: &[u8] = if segment.flags & SYN != 0 { &[2, 4, 0x05, 0xb4] } else { &[] };
    let mut bytes = Vec::with_capacity(20 + options.len() + payload.len());
    bytes.extend(path.from.1.to_be_bytes());
    bytes.extend(path.to.1.to_be_bytes());
    bytes.extend(segment.sequence.to_be_bytes());
    bytes.extend(segment.acknowledged.to_be_bytes());
    bytes.extend([((5 + options.len() / 4) << 4) as u8, segment.flags]);
    bytes.extend([0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend(options);
    bytes.extend(payload);
    let sum = transport_sum(path, PROTO_TCP, &bytes);
    bytes[16..18].copy_from_slice(&sum.to_be_bytes());
    frame(path, PROTO_TCP, ident, None, &bytes)
}

/// Cuts an IP payload into fragments: every one but the last a multiple of eight bytes (RFC 791, 3.2; RFC 8200, 4.5).
pub(crate) fn fragments(
    path: Path<'_>,
    protocol: u8,
    ident: u16,
    datagram: &[u8],
    mtu: usize,
) -> Vec<Vec<u8>> {
    let extension = if path.from.0.ip.is_ipv6() { 8 } else { 0 };
    let room = (mtu - ip_header_len(path) - extension) / 8 * 8;
    let count = datagram.len().div_ceil(room);
    (0..count)
        .map(|n| {
            let start = n * room;
            let part = &datagram[start..datagram.len().min(start + room)];
            let more = u16::from(n + 1 < count);
            frame(path, protocol, ident, Some(((start / 8) as u16, more)), part)
        })
        .collect()
}

fn ip_header_len(path: Path<'_>) -> usize {
    if path.from.0.ip.is_ipv6() { 40 } else { 20 }
}

/// Link and IP header around `payload`; `fragment` is the offset in units of eight bytes and whether more follow.
fn frame(path: Path<'_>, protocol: u8, ident: u16, fragment: Option<(u16, u16)>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(14 + 4 * path.vlans.len() + 48 + payload.len());
    bytes.extend(path.to.0.mac);
    bytes.extend(path.from.0.mac);
    for (n, tag) in path.vlans.iter().enumerate() {
        let kind: u16 = if n + 1 < path.vlans.len() { 0x88a8 } else { 0x8100 };
        bytes.extend(kind.to_be_bytes());
        bytes.extend(tag.to_be_bytes());
    }
    match (path.from.0.ip, path.to.0.ip) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            bytes.extend(0x0800_u16.to_be_bytes());
            let start = bytes.len();
            // Without fragments the "do not fragment" flag, as every system sends since path MTU discovery.
            let place = fragment.map_or(0x4000, |(offset, more)| offset | (more << 13));
            bytes.extend([0x45, 0]);
            bytes.extend(((20 + payload.len()) as u16).to_be_bytes());
            bytes.extend(ident.to_be_bytes());
            bytes.extend(place.to_be_bytes());
            bytes.extend([64, protocol, 0, 0]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
            let sum = !fold(sum16(&bytes[start..]));
            bytes[start + 10..start + 12].copy_from_slice(&sum.to_be_bytes());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            bytes.extend(0x86dd_u16.to_be_bytes());
            let extension = if fragment.is_some() { 8 } else { 0 };
            bytes.extend([0x60, 0, 0, 0]);
            bytes.extend(((extension + payload.len()) as u16).to_be_bytes());
            bytes.extend([if fragment.is_some() { IPV6_FRAGMENT } else { protocol }, 64]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
            if let Some((offset, more)) = fragment {
                bytes.extend([protocol, 0]);
                bytes.extend(((offset << 3) | more).to_be_bytes());
                bytes.extend(u32::from(ident).to_be_bytes());
            }
        }
        (from, to) => panic!("{from} and {to} are not of one family: the plan that built this path is wrong"),
    }
    bytes.extend(payload);
    bytes
}

/// The checksum of UDP and TCP, over the pseudo-header and `bytes` (whose own checksum field is zero).
fn transport_sum(path: Path<'_>, protocol: u8, bytes: &[u8]) -> u16 {
    let address = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => sum16(&v4.octets()),
        IpAddr::V6(v6) => sum16(&v6.octets()),
    };
    let pseudo = address(path.from.0.ip) + address(path.to.0.ip) + u64::from(protocol) + bytes.len() as u64;
    !fold(pseudo + sum16(bytes))
}

/// Sum of big-endian 16-bit words, an odd last byte padded with zero.
fn sum16(bytes: &[u8]) -> u64 {
    let pairs = bytes.chunks_exact(2);
    let odd = pairs.remainder().first().map_or(0, |&b| u64::from(b) << 8);
    pairs.map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]]))).sum::<u64>() + odd
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const A: Host = Host { mac: [2, 0, 0, 0, 0, 1], ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)) };
    const B: Host = Host { mac: [2, 0, 0, 0, 0, 2], ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)) };
    const PATH: Path<'_> = Path { from: (A, 5060), to: (B, 5062), vlans: &[] };

    fn path6() -> Path<'static> {
        let host = |n| Host {
            mac: [2, 0, 0, 0, 0, n],
            ip: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n.into()).into(),
        };
        Path { from: (host(1), 5060), to: (host(2), 5060), vlans: &[] }
    }

    #[test]
    fn the_checksums_of_a_datagram_add_up() {
        for payload in [&b"odd"[..], b"even"] {
            let frames = udp(PATH, 7, payload);
            let [frame] = &frames[..] else { panic!("one frame") };
            assert_eq!(fold(sum16(&frame[14..34])), 0xffff, "IP header");
            let pseudo = sum16(&frame[26..34]) + 17 + frame[34..].len() as u64;
            assert_eq!(fold(pseudo + sum16(&frame[34..])), 0xffff, "UDP");
            assert_eq!(&frame[42..], payload);
        }
    }

    #[test]
    fn a_long_datagram_becomes_fragments_that_join_again() {
        let payload: Vec<u8> = (0..4000_u32).map(|n| n as u8).collect();
        for (path, header) in [(PATH, 34), (path6(), 62)] {
            let frames = udp(path, 9, &payload);
            assert_eq!(frames.len(), 3);
            assert!(frames.iter().all(|frame| frame.len() <= 14 + MTU));
            let joined: Vec<u8> = frames.iter().flat_map(|frame| frame[header..].to_vec()).collect();
            assert_eq!(&joined[8..], payload);
        }
        let first = &udp(PATH, 9, &payload)[0];
        assert_eq!(first[20..22], [0x20, 0], "more fragments, offset 0");
    }

    #[test]
    fn two_tags_make_qinq() {
        let frame = &udp(Path { vlans: &[100, 200], ..PATH }, 1, b"x")[0];
        assert_eq!(frame[12..22], [0x88, 0xa8, 0, 100, 0x81, 0, 0, 200, 8, 0]);
    }

    #[test]
    fn a_syn_says_its_segment_size_and_sums_up() {
        let frame = tcp(PATH, 1, Segment { sequence: 1, acknowledged: 0, flags: SYN }, b"");
        assert_eq!(frame[46], 0x60, "24 bytes of header");
        let pseudo = sum16(&frame[26..34]) + 6 + frame[34..].len() as u64;
        assert_eq!(fold(pseudo + sum16(&frame[34..])), 0xffff);
    }
}
