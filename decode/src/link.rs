//! Link layers: takes off what stands before the IP header in a captured frame.
//!
//! Owns the meaning of the capture formats' link types (LINKTYPE_ values of pcap and pcapng): Ethernet II and 802.3
//! with LLC/SNAP, the tags that may stand between Ethernet and IP, Linux cooked captures, PPP, Cisco HDLC, BSD loopback,
//! PKTAP, NFLOG and raw IP. Does not own tunnels ([`crate::tunnel`]) or anything from the IP header on ([`crate::ip`]).
//! 802.11 is not read: a mirror port is behind the access point.

use crate::net::LINK_HEP;

use crate::net::{Ethernet, Mac};

/// What a layer contains, or why nothing more can be taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// An Ethernet header, or an 802.3 one.
    Ethernet(&'a [u8]),
    /// What an EtherType announces.
    EtherType(u16, &'a [u8]),
    /// A PPP protocol field.
    Ppp(&'a [u8]),
    /// An IP header; the first four bits say which.
    Ip(&'a [u8]),
    /// A HEP packet ([`crate::hep`]).
    Hep(&'a [u8]),
    /// An exported PDU ([`crate::exported`]).
    Exported(&'a [u8]),
    /// Something that is not IP: ARP, spanning tree, a keep-alive of a tunnel.
    NotIp,
    /// Too short for what it says it is.
    Malformed,
    /// A link type that has no reader here.
    UnknownLink,
}

/// EtherTypes, from the IEEE registry and from practice.
pub(crate) mod ether_type {
    pub(crate) const IPV4: u16 = 0x0800;
    pub(crate) const IPV6: u16 = 0x86dd;
    pub(crate) const ARP: u16 = 0x0806;
    pub(crate) const VLAN: u16 = 0x8100;
    pub(crate) const VLAN_SERVICE: u16 = 0x88a8;
    /// Double tags from before 802.1ad; 0x9200 and 0x9300 were used for a third and a fourth.
    pub(crate) const VLAN_OLD: [u16; 3] = [0x9100, 0x9200, 0x9300];
    /// A provider backbone's instance tag (802.1ah): a customer's whole frame behind it.
    pub(crate) const BACKBONE: u16 = 0x88e7;
    /// 802.1BR's and Cisco's tags of a port extender.
    pub(crate) const PORT_EXTENDER: u16 = 0x893f;
    pub(crate) const VN_TAG: u16 = 0x8926;
    /// Cisco's tag of security groups.
    pub(crate) const CISCO_METADATA: u16 = 0x8909;
    /// 802.1AE.
    pub(crate) const MACSEC: u16 = 0x88e5;
    /// RFC 8300.
    pub(crate) const NSH: u16 = 0x894f;
    pub(crate) const MPLS: u16 = 0x8847;
    pub(crate) const MPLS_MULTICAST: u16 = 0x8848;
    pub(crate) const PPPOE_SESSION: u16 = 0x8864;
    pub(crate) const PPP: u16 = 0x880b;
    pub(crate) const TRANSPARENT_ETHERNET: u16 = 0x6558;
    /// Up to here the field is an 802.3 length.
    pub(crate) const LENGTH_MAX: u16 = 1500;
}

/// Big-endian 16 bits at `at`.
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*field))
}

/// The first layer of a frame of this link type.
pub(crate) fn first(link: u16, data: &[u8]) -> Step<'_> {
    match link {
        1 => Step::Ethernet(data),
        113 => linux_cooked(data),
        276 => linux_cooked_2(data),
        // Raw IP: LINKTYPE_RAW, the two values that DLT_RAW had on other systems, and the IPv4-only and IPv6-only types.
        101 | 12 | 14 | 228 | 229 => Step::Ip(data),
        0 | 108 => loopback(data),
        9 | 50 => Step::Ppp(data),
        51 => pppoe_framed(data),
        104 => cisco_hdlc(data),
        239 => nflog(data),
        252 => Step::Exported(data),
        258 => pktap(data),
        LINK_HEP => Step::Hep(data),
        _ => Step::UnknownLink,
    }
}

/// Receiver and sender of an Ethernet frame.
#[inline]
pub(crate) fn addresses(bytes: &[u8]) -> Option<Ethernet> {
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5] = *bytes.first_chunk::<12>()?;
    Some(Ethernet { src: Mac([s0, s1, s2, s3, s4, s5]), dst: Mac([d0, d1, d2, d3, d4, d5]) })
}

/// Destination, source, EtherType or 802.3 length.
pub(crate) fn ethernet(bytes: &[u8]) -> Step<'_> {
    match (be16(bytes, 12), bytes.get(14..)) {
        (Some(kind), Some(rest)) => Step::EtherType(kind, rest),
        _ => Step::Malformed,
    }
}

/// One 802.1Q or 802.1ad tag: two bytes of tag, then the next EtherType.
pub(crate) fn vlan(bytes: &[u8]) -> Step<'_> {
    match (be16(bytes, 2), bytes.get(4..)) {
        (Some(kind), Some(rest)) => Step::EtherType(kind, rest),
        _ => Step::Malformed,
    }
}

/// A tag of fixed length with the next EtherType at its end.
pub(crate) fn tag(bytes: &[u8], length: usize) -> Step<'_> {
    match (length.checked_sub(2).and_then(|at| be16(bytes, at)), bytes.get(length..)) {
        (Some(kind), Some(rest)) => Step::EtherType(kind, rest),
        _ => Step::Malformed,
    }
}

/// Cisco metadata: version 1, length 1, one option with the security group, then the next EtherType.
pub(crate) fn cisco_metadata(bytes: &[u8]) -> Step<'_> {
    match bytes {
        [1, 1, ..] => tag(bytes, 8),
        [_, _, ..] => Step::NotIp,
        _ => Step::Malformed,
    }
}

/// IEEE 802.1AE: control bits, length, packet number, perhaps the channel's name. What is only signed is read, what is
/// encrypted cannot be; the check value at the end is cut off by the length in the IP header.
pub(crate) fn macsec(bytes: &[u8]) -> Step<'_> {
    const VERSION: u8 = 0x80;
    const HAS_CHANNEL: u8 = 0x20;
    const ENCRYPTED: u8 = 0x08;
    const CHANGED: u8 = 0x04;
    match bytes.first() {
        None => Step::Malformed,
        Some(control) if control & (VERSION | ENCRYPTED | CHANGED) != 0 => Step::NotIp,
        Some(control) => tag(bytes, if control & HAS_CHANNEL != 0 { 16 } else { 8 }),
    }
}

/// IEEE 802.2: IP directly on LLC (SAP 06) or behind a SNAP header; all else there is no IP.
pub(crate) fn llc(bytes: &[u8]) -> Step<'_> {
    match bytes {
        [0xaa, 0xaa, 0x03, 0, 0, 0, kind_high, kind_low, rest @ ..] => {
            Step::EtherType(u16::from_be_bytes([*kind_high, *kind_low]), rest)
        }
        [0x06, 0x06, 0x03, rest @ ..] => Step::Ip(rest),
        _ => Step::NotIp,
    }
}

/// LINKTYPE_LINUX_SLL: 16 bytes with the protocol at the end.
fn linux_cooked(bytes: &[u8]) -> Step<'_> {
    match (be16(bytes, 2), be16(bytes, 14), bytes.get(16..)) {
        (Some(hardware), Some(protocol), Some(rest)) => cooked_protocol(hardware, protocol, rest),
        _ => Step::Malformed,
    }
}

/// LINKTYPE_LINUX_SLL2: 20 bytes with the protocol in front.
fn linux_cooked_2(bytes: &[u8]) -> Step<'_> {
    match (be16(bytes, 8), be16(bytes, 0), bytes.get(20..)) {
        (Some(hardware), Some(protocol), Some(rest)) => cooked_protocol(hardware, protocol, rest),
        _ => Step::Malformed,
    }
}

/// The protocol field of both cooked headers is an EtherType, unless the hardware type says otherwise.
fn cooked_protocol(hardware: u16, protocol: u16, rest: &[u8]) -> Step<'_> {
    const ARPHRD_NETLINK: u16 = 824;
    const ARPHRD_IPGRE: u16 = 778;
    /// Frames that begin with an 802.2 LLC header.
    const LINUX_802_2: u16 = 0x0004;
    match (hardware, protocol) {
        (ARPHRD_NETLINK, _) => Step::NotIp,
        (ARPHRD_IPGRE, _) => Step::EtherType(protocol, rest),
        (_, LINUX_802_2) => llc(rest),
        // Other values below the lengths' limit are Linux's own (CAN, PPP, ...): none of them holds IP.
        (_, protocol) if protocol <= ether_type::LENGTH_MAX => Step::NotIp,
        _ => Step::EtherType(protocol, rest),
    }
}

/// BSD loopback: an address family in the byte order of the machine that captured (type 0) or of the network (108).
/// The values of IPv6 differ between systems; both orders of each are taken, since they cannot be confused.
fn loopback(bytes: &[u8]) -> Step<'_> {
    let Some((family, rest)) = bytes.split_first_chunk::<4>() else { return Step::Malformed };
    let family = u32::from_be_bytes(*family);
    match if family > 0xffff { family.swap_bytes() } else { family } {
        // AF_INET everywhere; AF_INET6 of Linux, NetBSD, FreeBSD, Darwin.
        2 | 10 | 24 | 28 | 30 => Step::Ip(rest),
        _ => Step::NotIp,
    }
}

/// PPP (RFC 1661, 2) with or without the HDLC address and control bytes (RFC 1662, 3.1) and with the protocol field
/// compressed to one byte or not (RFC 1661, 6.5).
pub(crate) fn ppp(bytes: &[u8]) -> Step<'_> {
    let bytes = bytes.strip_prefix(&[0xff, 0x03]).unwrap_or(bytes);
    let (protocol, rest) = match bytes {
        [low, rest @ ..] if low & 1 == 1 => (u16::from(*low), rest),
        [high, low, rest @ ..] => (u16::from_be_bytes([*high, *low]), rest),
        _ => return Step::Malformed,
    };
    match protocol {
        0x0021 | 0x0057 => Step::Ip(rest),
        0x0281 => Step::EtherType(ether_type::MPLS, rest),
        _ => Step::NotIp,
    }
}

/// LINKTYPE_PPP_ETHER: a PPPoE header without Ethernet before it.
fn pppoe_framed(bytes: &[u8]) -> Step<'_> {
    Step::EtherType(ether_type::PPPOE_SESSION, bytes)
}

/// LINKTYPE_C_HDLC: address, control, EtherType.
fn cisco_hdlc(bytes: &[u8]) -> Step<'_> {
    match (be16(bytes, 2), bytes.get(4..)) {
        (Some(kind), Some(rest)) => Step::EtherType(kind, rest),
        _ => Step::Malformed,
    }
}

/// LINKTYPE_PKTAP of Apple's systems: a header that says its own length and the link type of what follows, both in the
/// order of machines that are all little-endian.
fn pktap(bytes: &[u8]) -> Step<'_> {
    const LINK_AT: usize = 8;
    const HEADER_BYTES_MIN: usize = 12;
    const PKTAP: u16 = 258;
    let word = |at: usize| bytes.get(at..)?.first_chunk::<4>().copied().map(u32::from_le_bytes);
    let (Some(length), Some(link)) = (word(0), word(LINK_AT)) else { return Step::Malformed };
    let frame = usize::try_from(length).ok().filter(|&length| length >= HEADER_BYTES_MIN);
    match (frame.and_then(|length| bytes.get(length..)), u16::try_from(link)) {
        (_, Ok(PKTAP)) | (None, _) => Step::Malformed,
        (Some(frame), Ok(link)) => first(link, frame),
        (Some(_), Err(_)) => Step::UnknownLink,
    }
}

/// LINKTYPE_NFLOG: address family, version 0, group, then attributes in the order of the machine that captured; number 9
/// is the packet.
fn nflog(bytes: &[u8]) -> Step<'_> {
    const ATTRIBUTES_MAX: usize = 32;
    const PAYLOAD: u16 = 9;
    let Some(([_, 0, _, _], mut rest)) = bytes.split_first_chunk::<4>() else { return Step::Malformed };
    for _ in 0..ATTRIBUTES_MAX {
        let Some(&[l0, l1, t0, t1]) = rest.first_chunk::<4>() else { return Step::NotIp };
        // Attribute numbers are small: the byte that is not zero tells the order.
        let [length, kind] = if t0 == 0 && t1 != 0 {
            [u16::from_be_bytes([l0, l1]), u16::from_be_bytes([t0, t1])]
        } else {
            [u16::from_le_bytes([l0, l1]), u16::from_le_bytes([t0, t1])]
        };
        let length = usize::from(length);
        if length < 4 {
            return Step::Malformed;
        }
        if kind == PAYLOAD {
            // A cut capture has less than announced.
            return Step::Ip(rest.get(4..length).or_else(|| rest.get(4..)).unwrap_or_default());
        }
        let Some(after) = rest.get(length.next_multiple_of(4)..) else { return Step::Malformed };
        rest = after;
    }
    Step::NotIp
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_type_ends_at_its_ip_header() {
        let ip: &[u8] = &[0x45, 0, 0, 20];
        let with = |head: &[u8]| [head, ip].concat();
        let cooked = with(&[0, 0, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0, 8, 0]);
        assert_eq!(first(113, &cooked), Step::EtherType(0x0800, ip));
        let cooked_2 = with(&[8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0]);
        assert_eq!(first(276, &cooked_2), Step::EtherType(0x0800, ip));
        for raw in [101, 12, 14, 228, 229] {
            assert_eq!(first(raw, ip), Step::Ip(ip));
        }
        for family in [[2, 0, 0, 0], [0, 0, 0, 2], [30, 0, 0, 0], [0, 0, 0, 10]] {
            assert_eq!(first(0, &with(&family)), Step::Ip(ip));
            assert_eq!(first(108, &with(&family)), Step::Ip(ip));
        }
        assert_eq!(first(104, &with(&[0x0f, 0, 8, 0])), Step::EtherType(0x0800, ip));
        for head in [&[0xff, 0x03, 0x00, 0x21][..], &[0x00, 0x21], &[0x21], &[0xff, 0x03, 0x57]] {
            assert_eq!(ppp(&with(head)), Step::Ip(ip));
        }
        assert_eq!(llc(&with(&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0])), Step::EtherType(0x0800, ip));
    }

    #[test]
    fn what_is_cut_inside_a_link_header_is_malformed_and_what_is_unknown_says_so() {
        for link in [113, 276, 0, 108, 104] {
            assert_eq!(first(link, &[0, 0, 0]), Step::Malformed, "link type {link}");
        }
        assert_eq!(ethernet(&[0; 13]), Step::Malformed);
        assert_eq!(vlan(&[0; 3]), Step::Malformed);
        assert_eq!(first(147, &[0; 64]), Step::UnknownLink);
    }
}
