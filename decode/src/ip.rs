//! IP: addresses and payload of one IPv4 or IPv6 packet (RFC 791, RFC 8200).
//!
//! Headers are read by etherparse's lax slices, which survive a frame that the capture cut. Fragments are joined in
//! [`crate::fragments`], transport headers are read in [`crate::dissect`].

use etherparse::{Ipv4HeaderSlice, Ipv6ExtensionSlice, LaxIpv4Slice, LaxIpv6Slice};

use crate::net::Endpoint;

/// Extension headers taken off one packet beyond those that etherparse takes off.
const EXTENSIONS_MAX: usize = 8;

/// One IP packet with its headers off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    /// Sender and receiver, with port 0.
    pub(crate) src: Endpoint,
    pub(crate) dst: Endpoint,
    /// What the payload is (IANA protocol numbers).
    pub(crate) protocol: u8,
    /// Cut to the length in the IP header, so without Ethernet padding.
    pub(crate) payload: &'a [u8],
    /// The IP header announces more than was captured.
    pub(crate) cut: bool,
    /// `payload` is a part of the packet's.
    pub(crate) fragment: Option<Fragment>,
}

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment {
    /// 16 bits in IPv4, 32 in IPv6.
    pub(crate) id: u32,
    /// Bytes from the start of the packet's payload.
    pub(crate) offset: usize,
    /// Not the last one.
    pub(crate) more: bool,
    /// IPv6 sets are known by addresses and id alone (RFC 8200, 4.5).
    pub(crate) v6: bool,
}

impl Fragment {
    /// Does it hold the transport header?
    pub(crate) fn is_first(self) -> bool {
        self.offset == 0
    }
}

/// Reads the IP header by its version nibble; `None` when it is none or does not hold together.
#[inline]
pub(crate) fn parse(bytes: &[u8]) -> Option<Packet<'_>> {
    match bytes.first()? >> 4 {
        4 => parse_v4(bytes),
        6 => parse_v6(bytes),
        _ => None,
    }
}

#[inline]
fn parse_v4(bytes: &[u8]) -> Option<Packet<'_>> {
    let (ip, _) = LaxIpv4Slice::from_slice(bytes).ok()?;
    let header: Ipv4HeaderSlice<'_> = ip.header();
    let payload = ip.payload();
    let fragment = payload.fragmented.then(|| Fragment {
        id: u32::from(header.identification()),
        offset: usize::from(header.fragments_offset().byte_offset()),
        more: header.more_fragments(),
        v6: false,
    });
    Some(Packet {
        src: Endpoint::v4(header.source(), 0),
        dst: Endpoint::v4(header.destination(), 0),
        protocol: payload.ip_number.0,
        payload: payload.payload,
        cut: payload.incomplete,
        fragment,
    })
}

fn parse_v6(bytes: &[u8]) -> Option<Packet<'_>> {
    let (ip, _) = LaxIpv6Slice::from_slice(bytes).ok()?;
    let header = ip.header();
    let payload = ip.payload();
    let mut packet = Packet {
        src: Endpoint::v6(header.source(), 0),
        dst: Endpoint::v6(header.destination(), 0),
        protocol: payload.ip_number.0,
        payload: payload.payload,
        cut: payload.incomplete,
        fragment: None,
    };
    if payload.fragmented {
        // The slices go on behind the fragment header, but behind that of a later fragment there are no headers, only
        // bytes from the middle: step back to where the fragment header ends.
        let extensions = ip.extensions();
        let mut length = 0_usize;
        for extension in extensions.clone() {
            match extension {
                Ipv6ExtensionSlice::Fragment(fragment) => {
                    length = length.checked_add(fragment.slice().len())?;
                    let end = bytes.len().min(40 + extensions.slice().len() + payload.payload.len());
                    packet.protocol = fragment.next_header().0;
                    packet.payload = bytes.get(40 + length..end)?;
                    packet.fragment = Some(Fragment {
                        id: fragment.identification(),
                        offset: usize::from(fragment.fragment_offset().byte_offset()),
                        more: fragment.more_fragments(),
                        v6: true,
                    });
                    break;
                }
                Ipv6ExtensionSlice::HopByHop(raw)
                | Ipv6ExtensionSlice::Routing(raw)
                | Ipv6ExtensionSlice::DestinationOptions(raw) => {
                    length = length.checked_add(raw.slice().len())?
                }
                Ipv6ExtensionSlice::Authentication(raw) => length = length.checked_add(raw.slice().len())?,
            }
        }
    }
    Some(packet)
}

/// Takes off the extension headers that etherparse leaves: those inside a packet that was in fragments, and the rarer
/// kinds. `None` when there is none, or none that holds together.
#[cold]
pub(crate) fn behind_extensions<'a>(packet: &Packet<'a>) -> Option<Packet<'a>> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION_OPTIONS: u8 = 60;
    /// RFC 6275, RFC 7401, RFC 5533: with the length field of the options.
    const MOBILITY: u8 = 135;
    const HOST_IDENTITY: u8 = 139;
    const SHIM6: u8 = 140;

    let (mut protocol, mut payload) = (packet.protocol, packet.payload);
    for _ in 0..EXTENSIONS_MAX {
        let length = |unit: usize, more: usize| {
            payload.get(1).map(|&length| (usize::from(length) + more).saturating_mul(unit))
        };
        let length = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | MOBILITY | HOST_IDENTITY | SHIM6 => length(8, 1)?,
            AUTHENTICATION => length(4, 2)?,
            _ if protocol == packet.protocol => return None,
            _ => return Some(Packet { protocol, payload, ..*packet }),
        };
        protocol = *payload.first()?;
        payload = payload.get(length..)?;
    }
    None
}
