//! Tunnels: what carries one packet inside another on the way to a mirror port.
//!
//! Each function takes the tunnel's own header off and says what is inside; [`crate::dissect`] walks on from there and
//! limits the depth. Here: PPPoE session (RFC 2516), MPLS (RFC 3032) with pseudowires (RFC 4385, 4448), GRE (RFC 2784,
//! 2890, 2637) with ERSPAN types I to III, NSH (RFC 8300), VXLAN (RFC 7348) and its generic extension, GENEVE (RFC 8926),
//! TZSP, L2TP version 2 (RFC 2661), MPLS and GRE in UDP (RFC 7510, RFC 8086), GTP-U (3GPP TS 29.281). IP in IP and 6in4 need
//! nothing of their own. The tunnels over UDP must look right from the first byte to the inner header: RTP may use any port.

use crate::link::{Step, be16, ether_type};

/// Labels of one MPLS stack.
pub(crate) const MPLS_LABELS_MAX: usize = 16;
/// Extension headers of one GTP-U packet.
pub(crate) const GTP_EXTENSIONS_MAX: usize = 8;

/// Tags of one TZSP packet.
pub(crate) const TZSP_TAGS_MAX: usize = 64;

/// UDP ports, of the receiver where nothing else is said.
mod port {
    /// RFC 7348, 8, and the one that Linux used before there was a registered one.
    pub(super) const VXLAN: u16 = 4789;
    pub(super) const VXLAN_OF_LINUX: u16 = 8472;
    pub(super) const VXLAN_GPE: u16 = 4790;
    pub(super) const GENEVE: u16 = 6081;
    pub(super) const TZSP: u16 = 37008;
    pub(super) const MPLS: u16 = 6635;
    pub(super) const GRE: u16 = 4754;
    /// Of either side.
    pub(super) const L2TP: u16 = 1701;
    pub(super) const GTP_U: u16 = 2152;
}

/// PPPoE session stage: version and type 1, code 0, session, length, then a PPP protocol field.
pub(crate) fn pppoe(bytes: &[u8]) -> Step<'_> {
    let (Some([0x11, 0]), Some(length), Some(rest)) =
        (bytes.first_chunk::<2>(), be16(bytes, 4), bytes.get(6..))
    else {
        return Step::NotIp;
    };
    // Behind the announced length there is Ethernet padding; a cut frame has less.
    Step::Ppp(rest.get(..usize::from(length)).unwrap_or(rest))
}

/// A label stack, then whatever it carries, which MPLS does not say: the first four bits tell IP from a pseudowire.
pub(crate) fn mpls(mut bytes: &[u8]) -> Step<'_> {
    for _ in 0..MPLS_LABELS_MAX {
        let Some((label, rest)) = bytes.split_first_chunk::<4>() else { return Step::Malformed };
        bytes = rest;
        if label[2] & 1 == 1 {
            return match bytes.first().map(|first| first >> 4) {
                Some(4 | 6) => Step::Ip(bytes),
                // The control word of a pseudowire, then an Ethernet frame.
                Some(0) => {
                    bytes.get(4..).filter(|frame| has_known_type(frame)).map_or(Step::NotIp, Step::Ethernet)
                }
                Some(_) if has_known_type(bytes) => Step::Ethernet(bytes),
                Some(_) => Step::NotIp,
                None => Step::Malformed,
            };
        }
    }
    Step::Malformed
}

/// Would this be an Ethernet frame with something that we know?
fn has_known_type(bytes: &[u8]) -> bool {
    match be16(bytes, 12) {
        Some(
            ether_type::IPV4
            | ether_type::IPV6
            | ether_type::ARP
            | ether_type::VLAN
            | ether_type::VLAN_SERVICE
            | ether_type::MPLS
            | ether_type::PPPOE_SESSION
            | ether_type::CISCO_METADATA
            | ether_type::NSH,
        ) => true,
        // 802.3 with SNAP, IP or spanning tree behind the length.
        Some(0..=ether_type::LENGTH_MAX) => {
            matches!(
                bytes.get(14..),
                Some([0xaa, 0xaa, 3, 0, 0, 0, ..] | [0x06, 0x06, 3, ..] | [0x42, 0x42, 3, ..])
            )
        }
        _ => false,
    }
}

/// GRE: flags, protocol, then the optional fields that the flags announce.
pub(crate) fn gre(bytes: &[u8]) -> Step<'_> {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    /// Version 1 (PPTP) only.
    const ACKNOWLEDGE: u16 = 0x0080;
    const VERSION: u16 = 0x0007;

    let (Some(flags), Some(protocol)) = (be16(bytes, 0), be16(bytes, 2)) else { return Step::Malformed };
    if flags & ROUTING != 0 {
        // RFC 1701's source routes: gone since RFC 2784.
        return Step::NotIp;
    }
    let has = |flag: u16| if flags & flag != 0 { 4 } else { 0 };
    let optional = match flags & VERSION {
        0 => has(CHECKSUM) + has(KEY) + has(SEQUENCE),
        1 => has(KEY) + has(SEQUENCE) + has(ACKNOWLEDGE),
        _ => return Step::NotIp,
    };
    let Some(inner) = bytes.get(4 + optional..) else { return Step::Malformed };
    match protocol {
        // ERSPAN I has no header of its own and no sequence number, ERSPAN II has both.
        0x88be if flags & SEQUENCE == 0 => Step::Ethernet(inner),
        0x88be => inner.get(8..).map_or(Step::Malformed, Step::Ethernet),
        0x22eb => erspan_3(inner),
        _ if inner.is_empty() => Step::NotIp,
        _ => Step::EtherType(protocol, inner),
    }
}

/// ERSPAN III: 12 bytes, 8 more when the O bit is set; the frame type says Ethernet or IP.
fn erspan_3(bytes: &[u8]) -> Step<'_> {
    let Some(bits) = be16(bytes, 10) else { return Step::Malformed };
    let length = if bits & 1 == 1 { 20 } else { 12 };
    match (bytes.get(length..), (bits >> 10) & 0x1f) {
        (Some(frame), 0) => Step::Ethernet(frame),
        (Some(packet), 2) => Step::Ip(packet),
        (Some(_), _) => Step::NotIp,
        (None, _) => Step::Malformed,
    }
}

/// NSH: version, flags, length in units of four bytes, what follows; then a path and metadata, which are passed over.
pub(crate) fn nsh(bytes: &[u8]) -> Step<'_> {
    const VERSION: u8 = 0xc0;
    let Some(&[first, second, _, next]) = bytes.first_chunk::<4>() else { return Step::Malformed };
    let length = usize::from(second & 0x3f) * 4;
    if first & VERSION != 0 || length < 8 {
        return Step::NotIp;
    }
    match (next, bytes.get(length..)) {
        (_, None) => Step::Malformed,
        (1 | 2, Some(packet)) => Step::Ip(packet),
        (3, Some(frame)) => Step::Ethernet(frame),
        (4, Some(inner)) => Step::EtherType(ether_type::NSH, inner),
        (5, Some(labels)) => Step::EtherType(ether_type::MPLS, labels),
        (_, Some(_)) => Step::NotIp,
    }
}

/// Could a datagram between these ports be a tunnel's, as [`over_udp`] tells for certain?
#[inline]
pub(crate) fn is_on_port(source: u16, destination: u16) -> bool {
    use port::{GENEVE, GRE, GTP_U, L2TP, MPLS, TZSP, VXLAN, VXLAN_GPE, VXLAN_OF_LINUX};
    let to = [VXLAN, VXLAN_OF_LINUX, VXLAN_GPE, GENEVE, TZSP, MPLS, GRE, GTP_U, L2TP];
    to.contains(&destination) || [GTP_U, L2TP].contains(&source)
}

/// What a UDP datagram carries when it is a tunnel's; `None` leaves it a datagram.
#[inline]
pub(crate) fn over_udp(source_port: u16, destination_port: u16, payload: &[u8]) -> Option<Step<'_>> {
    match (source_port, destination_port) {
        (_, port::VXLAN | port::VXLAN_OF_LINUX) => vxlan(payload),
        (_, port::VXLAN_GPE) => vxlan_gpe(payload),
        (_, port::GENEVE) => geneve(payload),
        (_, port::TZSP) => tzsp(payload),
        (_, port::MPLS) => mpls_in_udp(payload),
        (_, port::GRE) => gre_in_udp(payload),
        (port::GTP_U, _) | (_, port::GTP_U) => gtp_u(payload),
        (port::L2TP, _) | (_, port::L2TP) => l2tp(payload),
        _ => None,
    }
}

/// Does an IP header stand here, whole as far as its fixed part goes?
fn is_ip(bytes: &[u8]) -> bool {
    match bytes.first() {
        Some(0x45..=0x4f) => bytes.len() >= 20,
        Some(0x60..=0x6f) => bytes.len() >= 40,
        _ => false,
    }
}

/// VXLAN-GPE: as VXLAN, with version 0 and a protocol in the last of the reserved bytes.
fn vxlan_gpe(payload: &[u8]) -> Option<Step<'_>> {
    const INSTANCE: u8 = 0x08;
    const NEXT_PROTOCOL: u8 = 0x04;
    let (&[flags, 0, 0, next, _, _, _, 0], inner) = payload.split_first_chunk::<8>()? else { return None };
    // Broadcast and, for operation and maintenance, O are the other flags that a data packet may have or not.
    if flags & !(INSTANCE | NEXT_PROTOCOL | 0x02) != 0 || flags & INSTANCE == 0 {
        return None;
    }
    match if flags & NEXT_PROTOCOL == 0 { 3 } else { next } {
        1 | 2 if is_ip(inner) => Some(Step::Ip(inner)),
        3 if has_known_type(inner) => Some(Step::Ethernet(inner)),
        4 if inner.first().is_some_and(|first| first & 0xc0 == 0) => {
            Some(Step::EtherType(ether_type::NSH, inner))
        }
        _ => None,
    }
}

/// GENEVE: version 0 and the length of the options, two flags, an EtherType, network, 0; then the options, which are
/// passed over.
fn geneve(payload: &[u8]) -> Option<Step<'_>> {
    /// Control packets carry no frame of the network.
    const CONTROL: u8 = 0x80;
    const CRITICAL: u8 = 0x40;
    let (&[first, flags, k0, k1, _, _, _, 0], rest) = payload.split_first_chunk::<8>()? else { return None };
    if first & 0xc0 != 0 || flags & !CRITICAL != 0 || flags & CONTROL != 0 {
        return None;
    }
    let (mut options, inner) = rest.split_at_checked(usize::from(first & 0x3f) * 4)?;
    while !options.is_empty() {
        // Class, type, three reserved bits and a length in units of four bytes.
        let length = 4 + usize::from(options.get(3).filter(|byte| **byte & 0xe0 == 0)? & 0x1f) * 4;
        options = options.get(length..)?;
    }
    match u16::from_be_bytes([k0, k1]) {
        ether_type::TRANSPARENT_ETHERNET if has_known_type(inner) => Some(Step::Ethernet(inner)),
        ether_type::IPV4 | ether_type::IPV6 if is_ip(inner) => Some(Step::Ip(inner)),
        _ => None,
    }
}

/// TZSP: version 1, type 0 or 1 (a packet received, or to be sent), encapsulation, tags up to the end tag, the frame.
/// Frames of 802.11 are taken for what they are, and hold nothing that is read here; so are its keep-alives.
fn tzsp(payload: &[u8]) -> Option<Step<'_>> {
    const PADDING: u8 = 0;
    const END: u8 = 1;
    const KEEP_ALIVE: u8 = 4;
    const ETHERNET: u16 = 1;
    const WIRELESS: [u16; 3] = [18, 119, 127];
    let (&[1, kind, p0, p1], mut rest) = payload.split_first_chunk::<4>()? else { return None };
    if kind == KEEP_ALIVE {
        return Some(Step::NotIp);
    }
    if kind > 1 {
        return None;
    }
    for _ in 0..TZSP_TAGS_MAX {
        match rest {
            [PADDING, after @ ..] => rest = after,
            [END, frame @ ..] => {
                return match u16::from_be_bytes([p0, p1]) {
                    ETHERNET if has_known_type(frame) => Some(Step::Ethernet(frame)),
                    protocol if WIRELESS.contains(&protocol) => Some(Step::NotIp),
                    _ => None,
                };
            }
            [_, length, after @ ..] => rest = after.get(usize::from(*length)..)?,
            _ => return None,
        }
    }
    None
}

/// A label stack whose last label is followed by IP.
fn mpls_in_udp(payload: &[u8]) -> Option<Step<'_>> {
    match mpls(payload) {
        Step::Ip(packet) if is_ip(packet) => Some(Step::Ip(packet)),
        Step::Ethernet(frame) => Some(Step::Ethernet(frame)),
        _ => None,
    }
}

/// GRE with the reserved bits and the version 0, and something known inside.
fn gre_in_udp(payload: &[u8]) -> Option<Step<'_>> {
    if be16(payload, 0)? & 0x4fff != 0 {
        return None;
    }
    match gre(payload) {
        Step::EtherType(ether_type::IPV4 | ether_type::IPV6, packet) if is_ip(packet) => {
            Some(Step::Ip(packet))
        }
        Step::EtherType(ether_type::TRANSPARENT_ETHERNET, frame) | Step::Ethernet(frame)
            if has_known_type(frame) =>
        {
            Some(Step::Ethernet(frame))
        }
        _ => None,
    }
}

/// L2TP data: flags and version 2, perhaps a length, tunnel, session, perhaps sequence numbers and padding; then PPP with
/// IP in it.
fn l2tp(payload: &[u8]) -> Option<Step<'_>> {
    const CONTROL: u16 = 0x8000;
    const LENGTH: u16 = 0x4000;
    const SEQUENCE: u16 = 0x0800;
    const OFFSET: u16 = 0x0200;
    const PRIORITY: u16 = 0x0100;
    let flags = be16(payload, 0)?;
    if flags & !(LENGTH | SEQUENCE | OFFSET | PRIORITY) != 2 || flags & CONTROL != 0 {
        return None;
    }
    let mut at = 2;
    let mut end = payload.len();
    if flags & LENGTH != 0 {
        end = end.min(usize::from(be16(payload, at)?));
        at += 2;
    }
    at += 4;
    if flags & SEQUENCE != 0 {
        at += 4;
    }
    if flags & OFFSET != 0 {
        at += 2 + usize::from(be16(payload, at)?);
    }
    match crate::link::ppp(payload.get(at..end)?) {
        Step::Ip(packet) if is_ip(packet) => Some(Step::Ip(packet)),
        _ => None,
    }
}

/// Flags with the I bit (and the G bit of group policies), reserved bits 0, network, 0, then Ethernet.
fn vxlan(payload: &[u8]) -> Option<Step<'_>> {
    let (head, frame) = payload.split_first_chunk::<8>()?;
    let [flags, reserved, group_high, group_low, _, _, _, last] = *head;
    let group_policy = flags & 0x80 != 0;
    let plain = group_policy || (reserved, group_high, group_low) == (0, 0, 0);
    (flags & 0x7f == 0x08 && plain && last == 0 && has_known_type(frame)).then_some(Step::Ethernet(frame))
}

/// Version 1, protocol type 1, message 255 (G-PDU); sequence, N-PDU and extension headers where the flags announce them.
fn gtp_u(payload: &[u8]) -> Option<Step<'_>> {
    let (head, mut rest) = payload.split_first_chunk::<8>()?;
    let flags = head[0];
    if flags & 0xf0 != 0x30 || head[1] != 255 {
        return None;
    }
    if flags & 0x07 != 0 {
        let (optional, after) = rest.split_first_chunk::<4>()?;
        rest = after;
        let mut next = if flags & 0x04 != 0 { optional[3] } else { 0 };
        for _ in 0..GTP_EXTENSIONS_MAX {
            if next == 0 {
                break;
            }
            // An extension's length counts units of 4 bytes, itself included; its last byte is the next one's type.
            let length = usize::from(*rest.first()?).checked_mul(4)?;
            next = *rest.get(..length)?.last()?;
            rest = rest.get(length..)?;
        }
        if next != 0 {
            return None;
        }
    }
    matches!(rest.first()? >> 4, 4 | 6).then_some(Step::Ip(rest))
}
