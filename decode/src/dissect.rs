//! Frames to datagrams: link, tunnel and IP layers off, fragments joined, UDP and TCP headers read.
//!
//! A frame with one whole UDP datagram is borrowed through and costs no allocation; a completed fragment set and an unpacked
//! HEP payload are borrowed from buffers kept here. A message that an agent or an analyser hands on (HEP, exported PDUs)
//! becomes a datagram with the addresses that it names; it is whole, so it counts as UDP even where it travelled over TCP.
//! Streams of TCP are put in order by [`crate::tcp`], not here. Checksums are not judged: network adapters fill them in
//! after a local capture has seen the frame, and a receiver's verdict is not visible on a mirror port.

use etherparse::{TcpSlice, UdpSlice};

use crate::exported::{self, Pdu};
use crate::fragments::FragmentTable;
use crate::hep;
use crate::ip;
use crate::link::{self, Step, ether_type};
use crate::net::{Datagram, Endpoint, Ethernet, Flow, Frame, Transport};
use crate::sip;
use crate::tunnel;

pub use crate::fragments::{
    FRAGMENT_BYTES_MAX, FRAGMENT_BYTES_PER_SOURCE_MAX, FRAGMENT_COPIES_MAX, FRAGMENT_COPY_MS,
    FRAGMENT_SETS_MAX, FRAGMENT_SETS_PER_SOURCE_MAX, FRAGMENT_STRETCHES_MAX, FRAGMENT_TIMEOUT_MS,
};

/// Layers taken off one frame, tags and tunnels together; a frame with more is given up.
pub const LAYERS_MAX: usize = 32;

/// What became of the frames. Each frame is counted in exactly one of the first nine fields after `frames`, so that these
/// add up to it; the others are further facts about some of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames handled.
    pub frames: u64,
    /// Frames that gave, or completed, a UDP datagram.
    pub udp: u64,
    /// Frames that gave, or completed, a TCP segment.
    pub tcp: u64,
    /// Frames with IP that carries neither UDP nor TCP (ICMP, IGMP, ESP, SCTP), or HEP that carries neither SIP nor RTP.
    pub other_transport: u64,
    /// Frames that hold no IP (ARP, spanning tree, LLDP).
    pub not_ip: u64,
    /// Frames of a link type that has no reader here.
    pub unknown_link: u64,
    /// Fragments that did not complete a packet when they came: of unfinished ones, and copies of those that are joined.
    pub fragments_held: u64,
    /// Frames that contradict themselves or end inside a header.
    pub malformed: u64,
    /// Frames with more than [`LAYERS_MAX`] layers.
    pub too_deep: u64,
    /// Parts of fragments: cut by the capture, so that they can complete nothing.
    pub fragments_cut: u64,

    /// IP fragments seen, outermost level.
    pub fragments: u64,
    /// Fragment sets given up: too old, too many, overlapping or in contradiction.
    pub fragment_sets_dropped: u64,
    /// Fragments that came again after their packet was joined.
    pub fragment_copies: u64,
    /// Frames in which a HEP packet was taken off, over UDP or as a source.
    pub hep: u64,
    /// Of these: statistics, logs, other protocols, and what could not be unpacked.
    pub hep_unread: u64,
    /// Datagrams given with `truncated`.
    pub truncated: u64,
    /// Frames in which a tunnel was taken off, other than fragments that were held.
    pub tunnelled: u64,
}

/// Takes frames, gives datagrams. See the module's text.
#[derive(Debug, Default)]
pub struct Dissector {
    counts: Counts,
    fragments: FragmentTable,
    /// The packet completed last, and the one completed last inside such a one.
    joined: Vec<u8>,
    joined_inside: Vec<u8>,
    /// The HEP payload unpacked last.
    unpacked: Vec<u8>,
}

/// Where a walk through the layers ended.
enum Outcome<'a> {
    Datagram {
        flow: Flow,
        transport: Transport,
        payload: &'a [u8],
        truncated: bool,
    },
    /// A message that has yet to be unpacked.
    Packed {
        flow: Flow,
        payload: &'a [u8],
    },
    Fragment(ip::Packet<'a>),
    OtherTransport,
    NotIp,
    UnknownLink,
    Malformed,
    TooDeep,
}

/// What a walk remembers.
#[derive(Default)]
struct Walk {
    layers: usize,
    tunnelled: bool,
    hep: bool,
    ethernet: Option<Ethernet>,
}

impl Dissector {
    /// One with no frame seen.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What became of the frames so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let (fragment_sets_dropped, fragment_copies) = (self.fragments.dropped, self.fragments.copies);
        Counts { fragment_sets_dropped, fragment_copies, ..self.counts }
    }

    /// The datagram that this frame carries or completes; `None` when it does neither, and then [`Dissector::counts`]
    /// says why.
    #[inline]
    pub fn handle_frame<'a>(&'a mut self, frame: &Frame<'a>) -> Option<Datagram<'a>> {
        self.counts.frames += 1;
        if let Some(datagram) = ordinary(frame) {
            self.counts.udp += 1;
            return Some(datagram);
        }
        self.take_apart(frame)
    }

    /// Any frame, layer by layer.
    #[inline(never)]
    fn take_apart<'a>(&'a mut self, frame: &Frame<'a>) -> Option<Datagram<'a>> {
        let mut walk = Walk::default();
        let mut outcome = walk.run(link::first(frame.link, frame.data));
        if let Outcome::Fragment(packet) = &outcome {
            self.counts.fragments += 1;
            if packet.cut {
                self.counts.fragments_cut += 1;
                return None;
            }
            let Some(whole) = self.fragments.add(packet, frame.at, &mut self.joined) else {
                self.counts.fragments_held += 1;
                return None;
            };
            outcome = walk.transport(ip::Packet {
                protocol: whole.protocol,
                payload: &self.joined,
                fragment: None,
                ..*packet
            });
            // A tunnel's packet may be in fragments and hold a fragment again: a VXLAN over a small MTU does this.
            if let Outcome::Fragment(packet) = &outcome {
                let Some(whole) = self.fragments.add(packet, frame.at, &mut self.joined_inside) else {
                    self.counts.fragments_held += 1;
                    return None;
                };
                outcome = walk.transport(ip::Packet {
                    protocol: whole.protocol,
                    payload: &self.joined_inside,
                    fragment: None,
                    ..*packet
                });
            }
        }
        if walk.hep {
            outcome = unpack(outcome, &mut self.unpacked);
            self.counts.hep += 1;
            self.counts.hep_unread += u64::from(matches!(outcome, Outcome::OtherTransport));
        }
        self.counts.tunnelled += u64::from(walk.tunnelled);
        let count = match &outcome {
            Outcome::Datagram { transport: Transport::Udp, .. } => &mut self.counts.udp,
            Outcome::Datagram { transport: Transport::Tcp { .. }, .. } => &mut self.counts.tcp,
            Outcome::OtherTransport | Outcome::Packed { .. } => &mut self.counts.other_transport,
            Outcome::NotIp => &mut self.counts.not_ip,
            Outcome::UnknownLink => &mut self.counts.unknown_link,
            Outcome::Malformed => &mut self.counts.malformed,
            // A fragment in a fragment in a fragment.
            Outcome::TooDeep | Outcome::Fragment(_) => &mut self.counts.too_deep,
        };
        *count += 1;
        let Outcome::Datagram { flow, transport, payload, truncated } = outcome else { return None };
        self.counts.truncated += u64::from(truncated);
        Some(Datagram { at: frame.at, flow, transport, payload, truncated, ethernet: walk.ethernet })
    }
}

/// A frame as nearly all media comes: Ethernet, IPv4 without options, whole, and UDP whose lengths agree, with a payload that
/// begins as RTP does. Gives what [`Dissector::take_apart`] gives, to which everything else is left.
#[inline]
pub(crate) fn ordinary<'a>(frame: &Frame<'a>) -> Option<Datagram<'a>> {
    const ETHERNET: u16 = 1;
    const HEADER_BYTES: u16 = 20;
    let (ethernet, rest) = frame.data.split_first_chunk::<14>()?;
    let (ip, rest) = rest.split_first_chunk::<20>()?;
    let (udp, rest) = rest.split_first_chunk::<8>()?;
    let &[.., 0x08, 0x00] = ethernet else { return None };
    let &[0x45, _, l0, l1, _, _, f0, f1, _, 17, _, _, a, b, c, d, e, f, g, h] = ip else { return None };
    let &[s0, s1, d0, d1, u0, u1, _, _] = udp;
    let length = u16::from_be_bytes([u0, u1]);
    // The flag that forbids fragments may be set, and the one that has no meaning.
    let is_whole = f0 & 0x3f == 0 && f1 == 0;
    let agree = u16::from_be_bytes([l0, l1]).checked_sub(HEADER_BYTES) == Some(length);
    if frame.link != ETHERNET || !is_whole || !agree {
        return None;
    }
    let payload = rest.get(..usize::from(length).checked_sub(udp.len())?)?;
    let (source, destination) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
    if payload.first().is_none_or(|&byte| byte < 128) || tunnel::is_on_port(source, destination) {
        return None;
    }
    Some(Datagram {
        at: frame.at,
        flow: Flow { src: Endpoint::v4([a, b, c, d], source), dst: Endpoint::v4([e, f, g, h], destination) },
        transport: Transport::Udp,
        payload,
        truncated: false,
        ethernet: link::addresses(ethernet),
    })
}

impl Walk {
    /// Takes layers off until there is a datagram or nothing more to do.
    fn run<'a>(&mut self, mut step: Step<'a>) -> Outcome<'a> {
        while self.layers < LAYERS_MAX {
            self.layers += 1;
            step = match step {
                Step::Ethernet(bytes) => {
                    self.ethernet = link::addresses(bytes);
                    link::ethernet(bytes)
                }
                Step::EtherType(kind, bytes) => self.ether_type(kind, bytes),
                Step::Ppp(bytes) => link::ppp(bytes),
                Step::Ip(bytes) => match ip::parse(bytes) {
                    Some(packet) => return self.transport(packet),
                    None => return Outcome::Malformed,
                },
                Step::Hep(bytes) => return self.hep_frame(bytes),
                Step::Exported(bytes) => match exported_pdu(bytes) {
                    Ok(step) => step,
                    Err(outcome) => return outcome,
                },
                Step::NotIp => return Outcome::NotIp,
                Step::Malformed => return Outcome::Malformed,
                Step::UnknownLink => return Outcome::UnknownLink,
            };
        }
        Outcome::TooDeep
    }

    #[inline]
    fn ether_type<'a>(&mut self, kind: u16, bytes: &'a [u8]) -> Step<'a> {
        match kind {
            ether_type::IPV4 | ether_type::IPV6 => Step::Ip(bytes),
            ether_type::VLAN | ether_type::VLAN_SERVICE => link::vlan(bytes),
            ether_type::MPLS | ether_type::MPLS_MULTICAST => {
                self.tunnelled = true;
                tunnel::mpls(bytes)
            }
            ether_type::PPPOE_SESSION => {
                self.tunnelled = true;
                tunnel::pppoe(bytes)
            }
            kind => self.rare_ether_type(kind, bytes),
        }
    }

    /// Everything that no ordinary site's frames hold.
    #[cold]
    fn rare_ether_type<'a>(&mut self, kind: u16, bytes: &'a [u8]) -> Step<'a> {
        match kind {
            ether_type::TRANSPARENT_ETHERNET => Step::Ethernet(bytes),
            ether_type::BACKBONE => {
                self.tunnelled = true;
                bytes.get(4..).map_or(Step::Malformed, Step::Ethernet)
            }
            ether_type::NSH => {
                self.tunnelled = true;
                tunnel::nsh(bytes)
            }
            ether_type::PORT_EXTENDER => link::tag(bytes, 8),
            ether_type::VN_TAG => link::tag(bytes, 6),
            ether_type::CISCO_METADATA => link::cisco_metadata(bytes),
            ether_type::MACSEC => link::macsec(bytes),
            ether_type::PPP => Step::Ppp(bytes),
            kind if ether_type::VLAN_OLD.contains(&kind) => link::vlan(bytes),
            kind if kind <= ether_type::LENGTH_MAX => {
                link::llc(bytes.get(..usize::from(kind)).unwrap_or(bytes))
            }
            _ => Step::NotIp,
        }
    }

    /// Reads the payload of a whole IP packet; walks on when that is a tunnel.
    #[inline]
    fn transport<'a>(&mut self, packet: ip::Packet<'a>) -> Outcome<'a> {
        /// IANA protocol numbers.
        const IP_IN_IP: u8 = 4;
        const TCP: u8 = 6;
        const UDP: u8 = 17;
        const IPV6_IN_IP: u8 = 41;
        const GRE: u8 = 47;
        const ETHERNET_IN_IP: u8 = 97;
        const MPLS_IN_IP: u8 = 137;

        // A first fragment that the capture cut can complete nothing, but its head says what it was: it is given as a
        // truncated datagram.
        if packet.fragment.is_some_and(|fragment| !(packet.cut && fragment.is_first())) {
            return Outcome::Fragment(packet);
        }
        let inside = match packet.protocol {
            UDP => return self.udp(packet),
            TCP => return tcp(packet),
            IP_IN_IP | IPV6_IN_IP => Step::Ip(packet.payload),
            GRE => tunnel::gre(packet.payload),
            MPLS_IN_IP => tunnel::mpls(packet.payload),
            // RFC 3378: two bytes, version 3.
            ETHERNET_IN_IP => packet.payload.get(2..).map_or(Step::Malformed, Step::Ethernet),
            _ => {
                return match ip::behind_extensions(&packet) {
                    // It ends: each time at least one header is gone.
                    Some(packet) => self.transport(packet),
                    None => Outcome::OtherTransport,
                };
            }
        };
        self.tunnelled = true;
        self.run(inside)
    }

    #[inline]
    fn udp<'a>(&mut self, packet: ip::Packet<'a>) -> Outcome<'a> {
        let Ok(udp) = UdpSlice::from_slice_lax(packet.payload) else { return Outcome::Malformed };
        let announced = usize::from(udp.length());
        // 0 is allowed where the length does not fit in (RFC 2675, 4); a receiver refuses 1 to 7.
        if (1..8).contains(&announced) {
            return Outcome::Malformed;
        }
        let (source, destination) = (udp.source_port(), udp.destination_port());
        let payload = udp.payload();
        if let Some(inside) = tunnel::over_udp(source, destination, payload) {
            self.tunnelled = true;
            return self.run(inside);
        }
        // RTP begins with a byte from 128 on: it is not looked at any longer.
        if payload.first().is_some_and(|&byte| byte < 128)
            && let Some(outcome) = self.hep_datagram(payload)
        {
            return outcome;
        }
        Outcome::Datagram {
            flow: Flow { src: packet.src.with_port(source), dst: packet.dst.with_port(destination) },
            transport: Transport::Udp,
            payload,
            truncated: announced > packet.payload.len(),
        }
    }
}

impl Walk {
    /// A HEP packet on its way to a collector, on whatever port; `None` when it is something else.
    #[cold]
    fn hep_datagram<'a>(&mut self, payload: &'a [u8]) -> Option<Outcome<'a>> {
        if !hep::looks_like_hep(payload) {
            return None;
        }
        let packet = hep::parse(payload).ok()?;
        // Versions 1 and 2 have no magic: only a SIP message behind the header tells them from other things.
        if let hep::Payload::Plain(message) = packet.payload
            && !payload.starts_with(b"HEP3")
            && !sip::looks_like_sip(message)
        {
            return None;
        }
        self.hep = true;
        self.tunnelled = true;
        Some(hep_packet(&packet))
    }

    /// A frame that is a HEP packet.
    #[cold]
    fn hep_frame<'a>(&mut self, bytes: &'a [u8]) -> Outcome<'a> {
        let Ok(packet) = hep::parse(bytes) else { return Outcome::Malformed };
        self.hep = true;
        hep_packet(&packet)
    }
}

/// What an agent handed on, as a datagram of its own flow.
fn hep_packet<'a>(packet: &hep::Packet<'a>) -> Outcome<'a> {
    let flow = packet.flow;
    match (packet.kind, packet.payload) {
        (hep::Kind::Other(_), _) => Outcome::OtherTransport,
        (_, hep::Payload::Packed(payload)) => Outcome::Packed { flow, payload },
        // An account of RTCP in JSON.
        (hep::Kind::Rtcp, hep::Payload::Plain(text)) if text.first().is_none_or(|&byte| byte < 128) => {
            Outcome::OtherTransport
        }
        (_, hep::Payload::Plain(payload)) => message(flow, payload),
    }
}

/// A whole message that was handed on with its addresses.
fn message(flow: Flow, payload: &[u8]) -> Outcome<'_> {
    Outcome::Datagram { flow, transport: Transport::Udp, payload, truncated: false }
}

/// Unpacks what is packed; everything else passes.
#[cold]
fn unpack<'a>(outcome: Outcome<'a>, buffer: &'a mut Vec<u8>) -> Outcome<'a> {
    match outcome {
        Outcome::Packed { flow, payload } if hep::inflate(payload, buffer) => message(flow, buffer),
        Outcome::Packed { .. } => Outcome::OtherTransport,
        other => other,
    }
}

#[cold]
fn exported_pdu(bytes: &[u8]) -> Result<Step<'_>, Outcome<'_>> {
    match exported::parse(bytes) {
        Some(Pdu::Layer(step)) => Ok(step),
        Some(Pdu::Message(flow, payload)) => Err(message(flow, payload)),
        None => Err(Outcome::OtherTransport),
    }
}

fn tcp(packet: ip::Packet<'_>) -> Outcome<'_> {
    let Ok(tcp) = TcpSlice::from_slice(packet.payload) else { return Outcome::Malformed };
    Outcome::Datagram {
        flow: Flow {
            src: packet.src.with_port(tcp.source_port()),
            dst: packet.dst.with_port(tcp.destination_port()),
        },
        transport: Transport::Tcp {
            sequence: tcp.sequence_number(),
            syn: tcp.syn(),
            fin: tcp.fin(),
            rst: tcp.rst(),
        },
        payload: tcp.payload(),
        truncated: packet.cut,
    }
}

#[cfg(test)]
mod tests;
