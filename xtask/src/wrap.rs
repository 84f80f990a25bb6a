//! Frames wrapped in tunnels, tags and fragments, so that one capture's calls can be seen through each of them.
//!
//! A [`Wrapper`] takes frames that [`crate::load`] made and puts layers around them, from the outside in. It builds by
//! the same documents as the recorder reads, and shares no code with it. The little that it reads (addresses and ports
//! of its own frames) it needs for HEP and for cutting packets into fragments.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::pcap::Frame;
use crate::wire::{self, Host, Path};

/// One layer around a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// One 802.1Q tag.
    Vlan,
    /// 802.3 with LLC and SNAP in place of an EtherType.
    Snap,
    /// 802.1ah: the whole frame in a provider's.
    Backbone,
    /// 802.1AE, signed and not encrypted.
    Macsec,
    /// Cisco's tag of a security group.
    Metadata,
    /// Two MPLS labels before the IP packet.
    Mpls,
    /// A label and a control word before the frame.
    Pseudowire,
    /// A PPPoE session.
    Pppoe,
    /// The IP packet in IPv4.
    IpInIp,
    /// The IP packet in IPv6.
    IpInIp6,
    /// The IP packet in GRE with a key.
    Gre,
    /// The frame in GRE (NVGRE).
    GreEthernet,
    /// PPP in GRE version 1.
    Pptp,
    /// A mirror session without a header.
    Erspan1,
    /// A mirror session with 8 bytes of header.
    Erspan2,
    /// A mirror session with 12 and 8 bytes of header.
    Erspan3,
    /// The frame in VXLAN.
    Vxlan,
    /// The IP packet in VXLAN-GPE.
    VxlanGpe,
    /// VXLAN-GPE with a service header before the frame.
    Nsh,
    /// The frame in GENEVE with an option.
    Geneve,
    /// The frame in GENEVE over IPv6.
    Geneve6,
    /// The frame in TZSP with tags.
    Tzsp,
    /// The IP packet in GTP-U with an extension header.
    Gtp,
    /// PPP in L2TP.
    L2tp,
    /// Labels and the IP packet in UDP.
    MplsInUdp,
    /// UDP payloads in HEP version 3; other frames stay as they are.
    Hep3,
    /// The same over one TCP connection that began before the capture: the end of a packet comes first, each other one comes in
    /// two segments.
    Hep3Tcp,
    /// IP packets cut into small fragments, last one first.
    Fragments,
}

impl Layer {
    /// Every layer by its name.
    pub const ALL: [(&str, Layer); 28] = [
        ("vlan", Layer::Vlan),
        ("snap", Layer::Snap),
        ("backbone", Layer::Backbone),
        ("macsec", Layer::Macsec),
        ("metadata", Layer::Metadata),
        ("mpls", Layer::Mpls),
        ("pseudowire", Layer::Pseudowire),
        ("pppoe", Layer::Pppoe),
        ("ip-in-ip", Layer::IpInIp),
        ("ip-in-ip6", Layer::IpInIp6),
        ("gre", Layer::Gre),
        ("gre-ethernet", Layer::GreEthernet),
        ("pptp", Layer::Pptp),
        ("erspan1", Layer::Erspan1),
        ("erspan2", Layer::Erspan2),
        ("erspan3", Layer::Erspan3),
        ("vxlan", Layer::Vxlan),
        ("vxlan-gpe", Layer::VxlanGpe),
        ("nsh", Layer::Nsh),
        ("geneve", Layer::Geneve),
        ("geneve6", Layer::Geneve6),
        ("tzsp", Layer::Tzsp),
        ("gtp", Layer::Gtp),
        ("l2tp", Layer::L2tp),
        ("mpls-in-udp", Layer::MplsInUdp),
        ("hep3", Layer::Hep3),
        ("hep3-tcp", Layer::Hep3Tcp),
        ("fragments", Layer::Fragments),
    ];
}

/// Bytes of an IP packet that [`Layer::Fragments`] leaves whole.
const FRAGMENT_MTU: usize = 200;
/// Between a frame's fragments, in nanoseconds.
const FRAGMENT_GAP_NS: i64 = 1000;

/// Puts layers around frames.
#[derive(Clone, Debug)]
pub struct Wrapper {
    /// From the outside in.
    layers: Vec<Layer>,
    ident: u16,
    /// Where the TCP connection of [`Layer::Hep3Tcp`] stands, and what of it is not sent yet.
    sequence: u32,
    unsent: Vec<u8>,
}

impl Wrapper {
    /// With these layers, from the outside in.
    #[must_use]
    pub fn new(layers: &[Layer]) -> Self {
        // The end of a packet that had begun before.
        let unsent = b"ntent-Length: 0\r\n\r\n".to_vec();
        Wrapper { layers: layers.to_vec(), ident: 0, sequence: 1_000_000, unsent }
    }

    /// The frame in its layers; several where it had to be cut into fragments.
    ///
    /// # Panics
    /// When a layer for IP packets stands around one that leaves none.
    pub fn wrap(&mut self, frame: Frame) -> Vec<Frame> {
        if self.layers.is_empty() {
            return vec![frame];
        }
        let mut all = vec![frame.bytes];
        for layer in self.layers.clone().into_iter().rev() {
            all = all.into_iter().flat_map(|bytes| self.put(layer, bytes)).collect();
        }
        let at = |place: usize| frame.at_ns + place as i64 * FRAGMENT_GAP_NS;
        all.into_iter().enumerate().map(|(place, bytes)| Frame::whole(at(place), bytes)).collect()
    }

    fn put(&mut self, layer: Layer, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        self.ident = self.ident.wrapping_add(1);
        let ident = self.ident;
        let kind = [bytes[12], bytes[13]];
        let tagged = |tag: &[u8]| vec![[&bytes[..12], tag, &bytes[12..]].concat()];
        let behind =
            |kind: [u8; 2], head: &[u8], rest: &[u8]| vec![[&bytes[..12], &kind, head, rest].concat()];
        let sequence = u32::from(ident).to_be_bytes();
        let over_ip = |protocol: u8, head: &[u8], rest: &[u8]| {
            wire::ip(outer(0), protocol, ident, &[head, rest].concat())
        };
        let over_udp =
            |port: u16, head: &[u8], rest: &[u8]| wire::udp(outer(port), ident, &[head, rest].concat());
        match layer {
            Layer::Vlan => tagged(&[0x81, 0, 0, 100]),
            Layer::Metadata => tagged(&[0x89, 0x09, 1, 1, 0, 1, 0, 42]),
            Layer::Macsec => {
                let mut signed = tagged(&[0x88, 0xe5, 0x20, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0, 1]);
                signed[0].extend([0x5a; 16]);
                signed
            }
            // A length of more is no length: such frames have none.
            Layer::Snap if bytes.len() - 14 + 8 > 1500 => vec![bytes],
            Layer::Snap => {
                let length = (bytes.len() as u16 - 14 + 8).to_be_bytes();
                behind(length, &[0xaa, 0xaa, 3, 0, 0, 0, kind[0], kind[1]], &bytes[14..])
            }
            Layer::Backbone => behind([0x88, 0xe7], &[0, 0, 0, 42], &bytes),
            Layer::Mpls => behind([0x88, 0x47], &[0, 1, 0, 64, 0, 2, 1, 64], packet(&bytes)),
            Layer::Pseudowire => behind([0x88, 0x47], &[0, 1, 1, 64, 0, 0, sequence[2], sequence[3]], &bytes),
            Layer::Pppoe => {
                let packet = packet(&bytes);
                let length = (packet.len() as u16 + 2).to_be_bytes();
                let head = [0x11, 0, 0, 9, length[0], length[1], 0, ppp(packet)];
                behind([0x88, 0x64], &head, packet)
            }
            Layer::IpInIp => over_ip(protocol(packet(&bytes)), &[], packet(&bytes)),
            Layer::IpInIp6 => wire::ip(outer6(0), protocol(packet(&bytes)), ident, packet(&bytes)),
            Layer::Gre => over_ip(47, &[0x20, 0, kind[0], kind[1], 0, 0, 0, 9], packet(&bytes)),
            Layer::GreEthernet => over_ip(47, &[0x20, 0, 0x65, 0x58, 0, 0, 42, 7], &bytes),
            Layer::Pptp => {
                let packet = packet(&bytes);
                let length = (packet.len() as u16 + 4).to_be_bytes();
                let head =
                    [&[0x30, 1, 0x88, 0x0b], &length[..], &[0, 9], &sequence, &[0xff, 3, 0, ppp(packet)]];
                over_ip(47, &head.concat(), packet)
            }
            Layer::Erspan1 => over_ip(47, &[0, 0, 0x88, 0xbe], &bytes),
            Layer::Erspan2 => {
                let head = [&[0x10, 0, 0x88, 0xbe], &sequence[..], &[0x10, 100, 0, 9, 0, 0, 0, 1]];
                over_ip(47, &head.concat(), &bytes)
            }
            Layer::Erspan3 => {
                let head =
                    [&[0x10, 0, 0x22, 0xeb], &sequence[..], &[0x20, 100, 0, 9], &sequence, &[0, 0, 0, 1]];
                over_ip(47, &[&head.concat()[..], &[0x0c, 0, 0, 0, 0, 0, 0, 0]].concat(), &bytes)
            }
            Layer::Vxlan => over_udp(4789, &[8, 0, 0, 0, 0, 0, 42, 0], &bytes),
            Layer::VxlanGpe => {
                let next = if packet(&bytes)[0] >> 4 == 4 { 1 } else { 2 };
                over_udp(4790, &[0x0c, 0, 0, next, 0, 0, 42, 0], packet(&bytes))
            }
            Layer::Nsh => {
                over_udp(4790, &[0x0c, 0, 0, 4, 0, 0, 42, 0, 0x0f, 0xc2, 2, 3, 0, 0, 1, 255], &bytes)
            }
            Layer::Geneve => over_udp(6081, &[2, 0, 0x65, 0x58, 0, 0, 42, 0, 1, 2, 3, 1, 0, 0, 0, 7], &bytes),
            Layer::Geneve6 => {
                wire::udp(outer6(6081), ident, &[&[0, 0, 0x65, 0x58, 0, 0, 42, 0][..], &bytes].concat())
            }
            Layer::Tzsp => over_udp(37008, &[1, 0, 0, 1, 10, 1, 0xd0, 41, 2, 0, 60, 1], &bytes),
            Layer::Gtp => {
                let packet = packet(&bytes);
                let length = (packet.len() as u16 + 8).to_be_bytes();
                let head = [0x34, 255, length[0], length[1], 0, 0, 0, 9, 0, 0, 0, 0x85, 1, 0, 9, 0];
                over_udp(2152, &head, packet)
            }
            Layer::L2tp => {
                let packet = packet(&bytes);
                let length = (packet.len() as u16 + 12).to_be_bytes();
                let head = [0x40, 2, length[0], length[1], 0, 7, 0, 9, 0xff, 3, 0, ppp(packet)];
                over_udp(1701, &head, packet)
            }
            Layer::MplsInUdp => over_udp(6635, &[0, 1, 0, 64, 0, 2, 1, 64], packet(&bytes)),
            Layer::Hep3 => match hep3(&bytes) {
                Some(packet) => wire::udp(outer(9060), ident, &packet),
                None => vec![bytes],
            },
            Layer::Hep3Tcp => match hep3(&bytes) {
                Some(packet) => self.segments(&packet),
                None => vec![bytes],
            },
            Layer::Fragments => cut(&bytes),
        }
    }

    /// A HEP packet in two segments.
    fn segments(&mut self, packet: &[u8]) -> Vec<Vec<u8>> {
        let now = [&std::mem::take(&mut self.unsent)[..], packet].concat();
        let (first, second) = now.split_at(now.len() / 3);
        [first, second]
            .into_iter()
            .map(|part| {
                let segment =
                    wire::Segment { sequence: self.sequence, acknowledged: 1, flags: wire::ACK | wire::PSH };
                self.sequence = self.sequence.wrapping_add(part.len() as u32);
                self.ident = self.ident.wrapping_add(1);
                wire::tcp(outer(9060), self.ident, segment, part)
            })
            .collect()
    }
}

/// From one tunnel's end to the other, with this port of the receiver.
fn outer(port: u16) -> Path<'static> {
    ends(Ipv4Addr::new(198, 51, 100, 1).into(), Ipv4Addr::new(198, 51, 100, 2).into(), port)
}

fn outer6(port: u16) -> Path<'static> {
    let end = |n| Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, n).into();
    ends(end(1), end(2), port)
}

fn ends(from: IpAddr, to: IpAddr, port: u16) -> Path<'static> {
    let host = |n, ip| Host { mac: [2, 0, 0, 0, 0xff, n], ip };
    Path { from: (host(1, from), 49_152), to: (host(2, to), port), vlans: &[] }
}

/// The IP packet of a frame.
fn packet(bytes: &[u8]) -> &[u8] {
    assert!(
        matches!(bytes[12..14], [0x08, 0x00] | [0x86, 0xdd]),
        "no IP packet right behind the Ethernet header: another order of the layers is wanted"
    );
    &bytes[14..]
}

/// Low byte of PPP's protocol number for an IP packet.
fn ppp(packet: &[u8]) -> u8 {
    if packet[0] >> 4 == 4 { 0x21 } else { 0x57 }
}

/// IP's protocol number for an IP packet.
fn protocol(packet: &[u8]) -> u8 {
    if packet[0] >> 4 == 4 { 4 } else { 41 }
}

/// Addresses, protocol, identification and payload of an IP packet of ours, which has no options; none of a fragment.
fn read(bytes: &[u8]) -> Option<(Path<'static>, u8, u16, &[u8])> {
    let host = |mac: &[u8], ip: IpAddr| Host { mac: mac.try_into().unwrap_or_default(), ip };
    let (from, to) = (&bytes[6..12], &bytes[..6]);
    let v4 = |at: usize| Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]).into();
    let v6 = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[at..at + 16]).unwrap_or_default()).into();
    let (src, dst, protocol, ident, payload) = match bytes[12..14] {
        [0x08, 0x00] if bytes[20] & 0x3f == 0 && bytes[21] == 0 => {
            (v4(26), v4(30), bytes[23], u16::from_be_bytes([bytes[18], bytes[19]]), &bytes[34..])
        }
        [0x86, 0xdd] if matches!(bytes[20], 6 | 17) => (v6(22), v6(38), bytes[20], 0, &bytes[54..]),
        _ => return None,
    };
    Some((Path { from: (host(from, src), 0), to: (host(to, dst), 0), vlans: &[] }, protocol, ident, payload))
}

/// A frame's IP packet in fragments, the last one first.
fn cut(bytes: &[u8]) -> Vec<Vec<u8>> {
    let Some((path, protocol, ident, payload)) = read(bytes) else { return vec![bytes.to_vec()] };
    if payload.len() + 20 <= FRAGMENT_MTU {
        return vec![bytes.to_vec()];
    }
    // IPv6 packets have no identification of their own: what they hold gives one.
    let ident = payload.iter().fold(ident, |sum, byte| sum.wrapping_mul(31).wrapping_add(u16::from(*byte)));
    let mut all = wire::fragments(path, protocol, ident, payload, FRAGMENT_MTU);
    all.reverse();
    all
}

/// HEP version 3 with a frame's UDP payload; none for other frames.
fn hep3(bytes: &[u8]) -> Option<Vec<u8>> {
    let (path, protocol, _, datagram) = read(bytes)?;
    let (ports, payload) = (datagram.get(..4)?, datagram.get(8..)?);
    if protocol != 17 {
        return None;
    }
    let mut body = Vec::new();
    let mut chunk = |kind: u16, value: &[u8]| {
        body.extend([0, 0]);
        body.extend(kind.to_be_bytes());
        body.extend((value.len() as u16 + 6).to_be_bytes());
        body.extend(value);
    };
    let family = if path.from.0.ip.is_ipv4() { 2 } else { 10 };
    chunk(1, &[family]);
    chunk(2, &[protocol]);
    for (kind, ip) in [(0, path.from.0.ip), (1, path.to.0.ip)] {
        match ip {
            IpAddr::V4(v4) => chunk(3 + kind, &v4.octets()),
            IpAddr::V6(v6) => chunk(5 + kind, &v6.octets()),
        }
    }
    chunk(7, &ports[..2]);
    chunk(8, &ports[2..]);
    // The agent's clock is an hour slow.
    chunk(9, &1_772_438_400_u32.to_be_bytes());
    chunk(10, &[0; 4]);
    let kind = match payload {
        [0x80..=0xbf, 192..=223, ..] => 5,
        [0x80..=0xbf, ..] => 4,
        _ => 1,
    };
    chunk(11, &[kind]);
    chunk(12, &[0, 0, 7, 0xd1]);
    chunk(15, payload);
    Some([&b"HEP3"[..], &(body.len() as u16 + 6).to_be_bytes(), &body].concat())
}
