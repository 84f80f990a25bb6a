//! Tunnels: what carries one packet inside another on the way to a mirror port.
//!
//! Each function takes the tunnel's own header off and says what is inside; [`crate::dissect`] walks on from there and
//! limits the depth. Here: PPPoE session (RFC 2516), MPLS (RFC 3032) with pseudowires (RFC 4385, 4448), GRE (RFC 2784,
//! 2890, 2637) with ERSPAN types I to III, VXLAN (RFC 7348) and GTP-U (3GPP TS 29.281). IP in IP and 6in4 need nothing
//! of their own. The tunnels over UDP must look right from the first byte to the inner header: RTP may use any port.

use crate::link::{Step, be16, ether_type};

/// Labels of one MPLS stack.
pub(crate) const MPLS_LABELS_MAX: usize = 16;
/// Extension headers of one GTP-U packet.
pub(crate) const GTP_EXTENSIONS_MAX: usize = 8;

/// UDP port of VXLAN (RFC 7348, 8), and the one that Linux used before there was a registered one.
const VXLAN_PORTS: [u16; 2] = [4789, 8472];
/// UDP port of GTP-U.
const GTP_U_PORT: u16 = 2152;

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

/// Would this be an Ethernet frame with something that we read?
fn has_known_type(bytes: &[u8]) -> bool {
    matches!(
        be16(bytes, 12),
        Some(
            ether_type::IPV4
                | ether_type::IPV6
                | ether_type::ARP
                | ether_type::VLAN
                | ether_type::VLAN_SERVICE
                | ether_type::MPLS
                | ether_type::PPPOE_SESSION
        )
    )
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

/// What a UDP datagram carries when it is a tunnel's; `None` leaves it a datagram.
#[inline]
pub(crate) fn over_udp(source_port: u16, destination_port: u16, payload: &[u8]) -> Option<Step<'_>> {
    if VXLAN_PORTS.contains(&destination_port) {
        vxlan(payload)
    } else if source_port == GTP_U_PORT || destination_port == GTP_U_PORT {
        gtp_u(payload)
    } else {
        None
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
