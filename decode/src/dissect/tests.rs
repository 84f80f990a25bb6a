//! Frames built byte by byte, and what the dissector makes of them.

use proptest::prelude::*;

use super::*;
use crate::net::Endpoint;
use crate::time::Timestamp;

const ETHERNET: u16 = 1;
const SIP: &[u8] = b"OPTIONS sip:a@192.0.2.2 SIP/2.0\r\n\r\n";

fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() + 8) as u16;
    [&source.to_be_bytes()[..], &destination.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload].concat()
}

/// One TCP segment with number 7 and these flags.
fn tcp_segment(flags: u8, payload: &[u8]) -> Vec<u8> {
    let head =
        [0x13, 0xc4, 0x13, 0xc5, 0, 0, 0, 7, 0, 0, 0, 0, 0x60, flags, 0xff, 0xff, 0, 0, 0, 0, 1, 1, 1, 1];
    [&head[..], payload].concat()
}

fn ipv4_part(protocol: u8, id: u16, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    let length = ((payload.len() + 20) as u16).to_be_bytes();
    let place = ((offset / 8) as u16 | if more { 0x2000 } else { 0 }).to_be_bytes();
    let id = id.to_be_bytes();
    let head = [0x45, 0, length[0], length[1], id[0], id[1], place[0], place[1], 64, protocol, 0, 0];
    [&head[..], &[192, 0, 2, 1, 192, 0, 2, 2], payload].concat()
}

fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_part(protocol, 0, 0, false, payload)
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16).to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], next, 64];
    for last in [1, 2] {
        packet.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    packet.extend(payload);
    packet
}

fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1][..], &kind.to_be_bytes(), payload].concat()
}

fn frame(link: u16, data: &[u8]) -> Frame<'_> {
    Frame { at: Timestamp::from_millis(1000), link, source: 0, wire_len: data.len() as u32, data }
}

fn sip_in_ipv4() -> Vec<u8> {
    ipv4(17, &udp(5060, 5061, SIP))
}

/// The one datagram that this frame must give: the SIP message from 192.0.2.1:5060 to 192.0.2.2:5061.
#[track_caller]
fn gives_sip(link: u16, data: &[u8]) -> Counts {
    let mut dissector = Dissector::new();
    let frame = frame(link, data);
    let datagram = dissector.handle_frame(&frame).expect("no datagram");
    assert_eq!(datagram.payload, SIP);
    assert_eq!(datagram.flow.src, Endpoint::v4([192, 0, 2, 1], 5060));
    assert_eq!(datagram.flow.dst, Endpoint::v4([192, 0, 2, 2], 5061));
    assert!(!datagram.truncated);
    adds_up(dissector.counts());
    dissector.counts()
}

#[track_caller]
fn adds_up(counts: Counts) {
    let Counts { udp, tcp, other_transport, not_ip, unknown_link, .. } = counts;
    let Counts { fragments_held, malformed, too_deep, fragments_cut, .. } = counts;
    let ends =
        [udp, tcp, other_transport, not_ip, unknown_link, fragments_held, malformed, too_deep, fragments_cut];
    assert_eq!(ends.iter().sum::<u64>(), counts.frames, "{counts:?}");
}

#[test]
fn a_datagram_is_borrowed_from_its_frame_and_padding_is_cut() {
    let mut data = ethernet(0x0800, &ipv4(17, &udp(1, 2, b"x")));
    data.resize(60, 0xee);
    let mut dissector = Dissector::new();
    let frame = frame(ETHERNET, &data);
    let datagram = dissector.handle_frame(&frame).expect("no datagram");
    assert_eq!(datagram.payload, b"x");
    assert!(std::ptr::eq(datagram.payload.as_ptr(), data[42..].as_ptr()), "copied");
    assert_eq!(datagram.at, frame.at);
}

#[test]
fn a_stack_of_tags_is_taken_off_whatever_their_types() {
    for tags in [&[0x8100][..], &[0x88a8, 0x8100], &[0x9100, 0x8100], &[0x88a8, 0x88a8, 0x9200, 0x8100]] {
        let mut inner = sip_in_ipv4();
        let mut kind = 0x0800_u16;
        for tag in tags.iter().rev() {
            inner = [&[0, 42], &kind.to_be_bytes()[..], &inner].concat();
            kind = *tag;
        }
        gives_sip(ETHERNET, &ethernet(kind, &inner));
    }
}

#[test]
fn every_link_type_leads_to_the_datagram() {
    let ip = sip_in_ipv4();
    let with = |head: &[u8]| [head, &ip].concat();
    let snap = with(&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0]);
    let nflog_length = (ip.len() as u16 + 4).to_le_bytes();
    // 20 bytes of header, record type 1, Ethernet behind it.
    let pktap = [20, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, b'e', b'n', b'0', 0, 0, 0, 0, 0];
    for (link, data) in [
        (113, with(&[0, 0, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0, 8, 0])),
        (113, [&[0; 14], &[0x81, 0, 0, 7, 8, 0][..], &ip].concat()),
        (276, with(&[8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0])),
        (101, ip.clone()),
        (12, ip.clone()),
        (228, ip.clone()),
        (0, with(&[2, 0, 0, 0])),
        (108, with(&[0, 0, 0, 2])),
        (9, with(&[0xff, 3, 0, 0x21])),
        (51, with(&[0x11, 0, 0, 1, 0, 255, 0, 0x21])),
        (104, with(&[0x0f, 0, 8, 0])),
        (239, with(&[&[2, 0, 0, 1, 8, 0, 1, 0, 8, 0, 1, 0][..], &nflog_length, &[9, 0]].concat())),
        (258, [&pktap[..], &ethernet(0x0800, &ip)].concat()),
        (ETHERNET, ethernet(snap.len() as u16, &snap)),
    ] {
        gives_sip(link, &data);
    }
}

/// Path 1, metadata of type 2 and no length, Ethernet next.
const NSH_ETHERNET: [u8; 8] = [0x0f, 0xc2, 2, 3, 0, 0, 1, 255];

#[test]
fn a_tag_between_ethernet_and_ip_is_taken_off() {
    let ip = sip_in_ipv4();
    let signed = [&ip[..], &[0x77; 16]].concat();
    for (kind, tag, packet) in [
        (0x893f, &[0, 0, 0, 0, 0, 0, 8, 0][..], &ip),
        (0x8926, &[0, 0, 0, 0, 8, 0], &ip),
        (0x8909, &[1, 1, 0, 1, 0, 16, 8, 0], &ip),
        (0x88e5, &[0, 0, 0, 0, 0, 1, 8, 0], &signed),
        (0x88e5, &[0x20, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0, 1, 8, 0], &signed),
    ] {
        gives_sip(ETHERNET, &ethernet(kind, &[tag, packet].concat()));
    }
    // Encrypted.
    let mut dissector = Dissector::new();
    let data = ethernet(0x88e5, &[&[0x2c, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0, 1, 8, 0][..], &ip].concat());
    assert!(dissector.handle_frame(&frame(ETHERNET, &data)).is_none());
    assert_eq!(dissector.counts().not_ip, 1);
}

#[test]
fn every_tunnel_leads_to_the_inner_datagram() {
    let ip = sip_in_ipv4();
    let inner_frame = ethernet(0x0800, &ip);
    let with = |head: &[u8], rest: &[u8]| [head, rest].concat();
    let snap_frame = ethernet(ip.len() as u16 + 8, &with(&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &ip));
    let over_udp = |port: u16, head: &[u8], rest: &[u8]| ipv4(17, &udp(40000, port, &with(head, rest)));
    let ppp_length = (ip.len() as u16 + 2).to_be_bytes();
    let pppoe = with(&[0x11, 0, 0, 1, ppp_length[0], ppp_length[1], 0, 0x21], &ip);
    let mut erspan_3 = [0; 12];
    erspan_3[11] = 1;
    for (name, kind, packet) in [
        ("PPPoE", 0x8864, pppoe),
        ("MPLS, two labels", 0x8847, with(&[0, 1, 0, 64, 0, 2, 1, 64], &ip)),
        ("MPLS, pseudowire", 0x8847, with(&[0, 1, 1, 64, 0, 0, 0, 0], &inner_frame)),
        ("MPLS, pseudowire, 802.3", 0x8847, with(&[0, 1, 1, 64, 0, 0, 0, 0], &snap_frame)),
        ("IP in IP", 0x0800, ipv4(4, &ip)),
        ("4in6", 0x86dd, ipv6(4, &ip)),
        ("GRE", 0x0800, ipv4(47, &with(&[0, 0, 8, 0], &ip))),
        (
            "GRE, all fields",
            0x0800,
            ipv4(47, &with(&[0xb0, 0, 8, 0, 1, 1, 0, 0, 2, 2, 2, 2, 3, 3, 3, 3], &ip)),
        ),
        ("GRE, PPTP", 0x0800, ipv4(47, &with(&[0x20, 1, 0x88, 0x0b, 0, 0, 0, 9, 0xff, 3, 0, 0x21], &ip))),
        ("GRE, Ethernet", 0x0800, ipv4(47, &with(&[0, 0, 0x65, 0x58], &inner_frame))),
        ("ERSPAN I", 0x0800, ipv4(47, &with(&[0, 0, 0x88, 0xbe], &inner_frame))),
        (
            "ERSPAN II",
            0x0800,
            ipv4(47, &with(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 1, 2, 3, 4, 5, 6, 7], &inner_frame)),
        ),
        (
            "ERSPAN III with a platform header",
            0x0800,
            ipv4(
                47,
                &with(&[&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1][..], &erspan_3, &[9; 8]].concat(), &inner_frame),
            ),
        ),
        ("VXLAN", 0x0800, over_udp(4789, &[8, 0, 0, 0, 0, 0, 42, 0], &inner_frame)),
        ("VXLAN over IPv6", 0x86dd, ipv6(17, &udp(1, 4789, &with(&[8, 0, 0, 0, 0, 0, 42, 0], &inner_frame)))),
        ("GTP-U", 0x0800, over_udp(2152, &[0x30, 255, 0, 0, 0, 0, 0, 1], &ip)),
        (
            "GTP-U with sequence and extension",
            0x0800,
            over_udp(2152, &[0x36, 255, 0, 0, 0, 0, 0, 1, 0, 5, 0, 0x85, 1, 0, 9, 0], &ip),
        ),
        ("GENEVE", 0x0800, over_udp(6081, &[0, 0, 0x65, 0x58, 0, 0, 42, 0], &inner_frame)),
        (
            "GENEVE with options, IP inside",
            0x0800,
            over_udp(
                6081,
                &[4, 0x40, 8, 0, 0, 0, 42, 0, 1, 2, 0x80, 1, 9, 9, 9, 9, 1, 2, 3, 0, 1, 2, 3, 0],
                &ip,
            ),
        ),
        ("VXLAN-GPE", 0x0800, over_udp(4790, &[0x0c, 0, 0, 1, 0, 0, 42, 0], &ip)),
        ("VXLAN-GPE, no protocol", 0x0800, over_udp(4790, &[8, 0, 0, 0, 0, 0, 42, 0], &inner_frame)),
        (
            "VXLAN-GPE with NSH",
            0x0800,
            over_udp(4790, &[&[0x0c, 0, 0, 4, 0, 0, 42, 0][..], &NSH_ETHERNET].concat(), &inner_frame),
        ),
        ("NSH", 0x894f, with(&NSH_ETHERNET, &inner_frame)),
        ("TZSP", 0x0800, over_udp(37008, &[1, 0, 0, 1, 1], &inner_frame)),
        (
            "TZSP with tags",
            0x0800,
            over_udp(37008, &[1, 0, 0, 1, 10, 1, 0xd0, 0, 0, 41, 2, 0, 60, 1], &inner_frame),
        ),
        ("MPLS in UDP", 0x0800, over_udp(6635, &[0, 1, 1, 64], &ip)),
        ("GRE in UDP", 0x0800, over_udp(4754, &[0, 0, 8, 0], &ip)),
        ("GRE in UDP with a key", 0x0800, over_udp(4754, &[0x20, 0, 0x65, 0x58, 0, 0, 0, 9], &inner_frame)),
        ("L2TP", 0x0800, over_udp(1701, &[0, 2, 0, 7, 0, 9, 0xff, 3, 0, 0x21], &ip)),
        (
            "L2TP, all fields",
            0x0800,
            over_udp(
                1701,
                &[
                    &[0x4a, 2][..],
                    &(ip.len() as u16 + 18).to_be_bytes(),
                    &[0, 7, 0, 9, 0, 1, 0, 2, 0, 2, 0xee, 0xee, 0, 0x21],
                ]
                .concat(),
                &[&ip[..], b"padding"].concat(),
            ),
        ),
        ("a provider's backbone", 0x88e7, with(&[0, 0, 0, 42], &inner_frame)),
        ("Ethernet in IP", 0x0800, ipv4(97, &with(&[0x30, 0], &inner_frame))),
        ("MPLS in IP", 0x0800, ipv4(137, &with(&[0, 1, 1, 64], &ip))),
    ] {
        let counts = gives_sip(ETHERNET, &ethernet(kind, &packet));
        assert_eq!(counts.tunnelled, 1, "{name}");
    }
}

#[test]
fn rtp_and_sip_on_the_port_of_a_tunnel_stay_what_they_are() {
    let rtp = [&[0x80, 0x08, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4][..], &[0xd5; 160]].concat();
    // Payload type 127 with the marker looks like a G-PDU, an SSRC of 45... like the IP header in it.
    let late_rtp = [&[0x80, 0xff, 0, 1, 0, 0, 0, 160, 0x45, 2, 3, 4][..], &[0xd5; 160]].concat();
    let no_vxlan = [&[8, 0, 0, 0, 0, 0, 42, 0][..], &[0xd5; 160]].concat();
    for port in [4789, 8472, 2152, 4790, 6081, 37008, 6635, 4754, 1701] {
        for payload in [&rtp[..], &late_rtp, &no_vxlan, SIP, b"\x08", b""] {
            let data = ethernet(0x0800, &ipv4(17, &udp(port, port, payload)));
            let mut dissector = Dissector::new();
            let frame = frame(ETHERNET, &data);
            let datagram = dissector.handle_frame(&frame).expect("no datagram");
            assert_eq!((datagram.payload, datagram.flow.dst.port), (payload, port));
        }
    }
}

#[test]
fn layers_without_end_are_given_up_and_counted() {
    let mut packet = sip_in_ipv4();
    for _ in 0..LAYERS_MAX {
        packet = ipv4(4, &packet);
    }
    let mut dissector = Dissector::new();
    assert!(dissector.handle_frame(&frame(101, &packet)).is_none());
    assert_eq!(dissector.counts().too_deep, 1);
    let tags: Vec<u8> = [0, 1, 0x81, 0].repeat(60);
    assert!(dissector.handle_frame(&frame(ETHERNET, &ethernet(0x8100, &tags))).is_none());
    assert_eq!(dissector.counts().too_deep, 2);
    adds_up(dissector.counts());
}

#[test]
fn a_segment_keeps_its_number_and_flags() {
    for (flags, expected) in
        [(0x02, (true, false, false)), (0x11, (false, true, false)), (0x04, (false, false, true))]
    {
        let data = ethernet(0x0800, &ipv4(6, &tcp_segment(flags, b"data")));
        let mut dissector = Dissector::new();
        let frame = frame(ETHERNET, &data);
        let datagram = dissector.handle_frame(&frame).expect("no segment");
        let (syn, fin, rst) = expected;
        assert_eq!(datagram.transport, Transport::Tcp { sequence: 7, syn, fin, rst });
        assert_eq!((datagram.payload, datagram.flow.src.port), (&b"data"[..], 5060));
    }
}

#[test]
fn a_frame_that_the_capture_cut_gives_what_is_there_and_says_so() {
    let data = ethernet(0x0800, &sip_in_ipv4());
    let mut dissector = Dissector::new();
    let cut = Frame { wire_len: data.len() as u32, ..frame(ETHERNET, &data[..60]) };
    let datagram = dissector.handle_frame(&cut).expect("no datagram");
    assert!(datagram.truncated);
    assert_eq!(datagram.payload, &SIP[..18]);
    assert_eq!(dissector.counts().truncated, 1);
    // Inside a header there is nothing to give.
    for length in 0..42 {
        let cut = Frame { wire_len: data.len() as u32, ..frame(ETHERNET, &data[..length]) };
        assert!(dissector.handle_frame(&cut).is_none(), "{length}");
    }
    assert_eq!(dissector.counts().malformed, 42);
    adds_up(dissector.counts());
}

#[test]
fn a_total_length_of_nothing_is_a_packet_that_the_adapter_has_not_finished() {
    let mut packet = sip_in_ipv4();
    packet[2..4].copy_from_slice(&[0, 0]);
    gives_sip(ETHERNET, &ethernet(0x0800, &packet));
}

#[test]
fn a_length_in_udp_that_lies_is_noticed() {
    let with_length = |length: u16| {
        let mut packet = sip_in_ipv4();
        packet[24..26].copy_from_slice(&length.to_be_bytes());
        ethernet(0x0800, &packet)
    };
    let mut dissector = Dissector::new();
    assert!(dissector.handle_frame(&frame(ETHERNET, &with_length(1))).is_none());
    assert_eq!(dissector.counts().malformed, 1);
    let data = with_length(65535);
    let long = frame(ETHERNET, &data);
    let datagram = dissector.handle_frame(&long).expect("no datagram");
    assert!(datagram.truncated && datagram.payload == SIP);
    let data = with_length(12);
    let short = frame(ETHERNET, &data);
    let datagram = dissector.handle_frame(&short).expect("no datagram");
    assert!(!datagram.truncated && datagram.payload == &SIP[..4]);
}

/// Offset, more to come, bytes.
type Part = (usize, bool, Vec<u8>);

/// A UDP payload of 3000 bytes, and its datagram in four parts.
fn parts() -> (Vec<u8>, Vec<Part>) {
    let payload: Vec<u8> = (0..3000_u32).map(|place| (place * 7 % 251) as u8).collect();
    let whole = udp(5060, 5061, &payload);
    let step = 800;
    let parts = (0..whole.len())
        .step_by(step)
        .map(|from| {
            let to = whole.len().min(from + step);
            (from, to < whole.len(), whole[from..to].to_vec())
        })
        .collect();
    (payload, parts)
}

fn v6_part(id: u32, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    let place = (offset as u16 | u16::from(more)).to_be_bytes();
    let mut extended = vec![44, 0, 1, 4, 0, 0, 0, 0, 17, 0, place[0], place[1]];
    extended.extend(id.to_be_bytes());
    extended.extend(payload);
    ethernet(0x86dd, &ipv6(0, &extended))
}

#[test]
fn fragments_are_joined_in_any_order_and_copies_do_no_harm() {
    let (payload, parts) = parts();
    let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]];
    for v6 in [false, true] {
        for (id, order) in orders.iter().enumerate() {
            let mut dissector = Dissector::new();
            let mut given = 0;
            for number in order {
                let (offset, more, bytes) = &parts[*number];
                let data = if v6 {
                    v6_part(id as u32, *offset, *more, bytes)
                } else {
                    ethernet(0x0800, &ipv4_part(17, id as u16, *offset, *more, bytes))
                };
                // A mirror port that shows each frame twice.
                for _ in 0..2 {
                    if let Some(datagram) = dissector.handle_frame(&frame(ETHERNET, &data)) {
                        given += 1;
                        assert_eq!(datagram.payload, payload, "v6 {v6}, {order:?}");
                        assert_eq!(datagram.flow.dst.port, 5061);
                    }
                }
            }
            assert_eq!(given, 1, "v6 {v6}, {order:?}");
            assert_eq!(dissector.counts().fragments, 8);
            adds_up(dissector.counts());
        }
    }
}

#[test]
fn an_overlap_that_agrees_is_taken_and_one_that_does_not_is_refused() {
    let (payload, parts) = parts();
    let whole = udp(5060, 5061, &payload);
    let piece = |from: usize, to: usize| {
        ethernet(0x0800, &ipv4_part(17, 9, from, to < whole.len(), &whole[from..to]))
    };
    let mut dissector = Dissector::new();
    assert!(dissector.handle_frame(&frame(ETHERNET, &piece(0, 808))).is_none());
    assert!(dissector.handle_frame(&frame(ETHERNET, &piece(1600, whole.len()))).is_none());
    let data = piece(800, 1608);
    let last = frame(ETHERNET, &data);
    assert_eq!(dissector.handle_frame(&last).expect("not joined").payload, payload);
    assert_eq!(dissector.counts().fragment_sets_dropped, 0);

    let mut forged = parts[1].2.clone();
    forged[0] ^= 1;
    let mut dissector = Dissector::new();
    for (offset, more, bytes) in [&parts[0], &parts[1], &(800, true, forged), &parts[2], &parts[3]] {
        let data = ethernet(0x0800, &ipv4_part(17, 9, *offset, *more, bytes));
        assert!(dissector.handle_frame(&frame(ETHERNET, &data)).is_none());
    }
    assert_eq!(dissector.counts().fragment_sets_dropped, 1);
    adds_up(dissector.counts());
}

#[test]
fn a_last_fragment_that_ends_before_what_is_there_is_refused() {
    let (_, parts) = parts();
    let mut dissector = Dissector::new();
    for (offset, more, bytes) in [(0, true, &parts[0].2[..]), (400, false, &parts[0].2[400..600])] {
        let data = ethernet(0x0800, &ipv4_part(17, 9, offset, more, bytes));
        assert!(dissector.handle_frame(&frame(ETHERNET, &data)).is_none());
    }
    assert_eq!(dissector.counts().fragment_sets_dropped, 1);
}

#[test]
fn the_first_fragment_says_what_an_ipv6_packet_holds_and_padding_is_no_part_of_it() {
    let (payload, parts) = parts();
    let mut dissector = Dissector::new();
    let mut given = Vec::new();
    for number in [3, 1, 0, 2] {
        let (offset, more, bytes) = &parts[number];
        let mut data = v6_part(1, *offset, *more, bytes);
        if number != 0 {
            // Next header of the fragment header: TCP, which is not what the first one says.
            data[14 + 40 + 8] = 6;
        }
        data.extend([0xee; 5]);
        if let Some(datagram) = dissector.handle_frame(&frame(ETHERNET, &data)) {
            assert_eq!(datagram.transport, Transport::Udp);
            given.extend_from_slice(datagram.payload);
        }
    }
    assert_eq!(given, payload);
}

#[test]
fn a_fragment_past_the_largest_packet_drops_its_set() {
    let mut dissector = Dissector::new();
    let data = ethernet(0x0800, &ipv4_part(17, 9, 65528, false, &[0; 64]));
    assert!(dissector.handle_frame(&frame(ETHERNET, &data)).is_none());
    assert_eq!(dissector.counts().fragment_sets_dropped, 1);
}

#[test]
fn unfinished_sets_are_bounded_in_number_in_bytes_and_in_time() {
    let mut dissector = Dissector::new();
    let (_, parts) = parts();
    let first = |source: u8, id: u16| {
        let mut packet = ipv4_part(17, id, 0, true, &parts[0].2[..80]);
        packet[15] = source;
        ethernet(0x0800, &packet)
    };
    for id in 0..10_000_u16 {
        assert!(dissector.handle_frame(&frame(ETHERNET, &first(1, id))).is_none());
    }
    assert_eq!(dissector.counts().fragment_sets_dropped, 10_000 - FRAGMENT_SETS_PER_SOURCE_MAX as u64);
    let mut dissector = Dissector::new();
    for id in 0..10_000_u16 {
        assert!(dissector.handle_frame(&frame(ETHERNET, &first((id % 100) as u8, id))).is_none());
    }
    assert_eq!(dissector.counts().fragment_sets_dropped, 10_000 - FRAGMENT_SETS_MAX as u64);

    // The last part of a packet comes too late.
    let mut dissector = Dissector::new();
    for (number, (offset, more, bytes)) in parts.iter().enumerate() {
        let data = ethernet(0x0800, &ipv4_part(17, 1, *offset, *more, bytes));
        let late = if number == 3 { FRAGMENT_TIMEOUT_MS as i64 } else { 0 };
        let frame = Frame { at: Timestamp::from_millis(1000 + late), ..frame(ETHERNET, &data) };
        assert!(dissector.handle_frame(&frame).is_none());
    }
    assert_eq!(dissector.counts().fragment_sets_dropped, 1);
}

#[test]
fn copies_of_fragments_begin_no_set_of_their_own() {
    let (payload, parts) = parts();
    let mut dissector = Dissector::new();
    let mut given = 0;
    let mut hand = |id: u16, parts: &[Part], at: i64, dissector: &mut Dissector| {
        for (offset, more, bytes) in parts {
            let data = ethernet(0x0800, &ipv4_part(17, id, *offset, *more, bytes));
            // Each twice at once, as a mirror of both directions shows them.
            for _ in 0..2 {
                let frame = Frame { at: Timestamp::from_millis(at), ..frame(ETHERNET, &data) };
                given += usize::from(dissector.handle_frame(&frame).is_some_and(|d| d.payload == payload));
            }
        }
        given
    };
    assert_eq!(hand(7, &parts, 1000, &mut dissector), 1);
    // The whole packet once more, from the other side of a router.
    assert_eq!(hand(7, &parts, 1004, &mut dissector), 1);
    assert_eq!(dissector.counts().fragment_copies, 1 + 8);
    // The id is used again, by another packet: nothing of the first one lies in wait for it.
    let mut other = parts.clone();
    other[0].2[20] ^= 0xff;
    assert_eq!(hand(7, &other, 1500, &mut dissector), 1);
    assert_eq!(dissector.counts().udp, 2);
    // And by the same one, when it can be no copy any more.
    assert_eq!(hand(7, &parts, 2600, &mut dissector), 2);
    assert_eq!(dissector.counts().fragment_sets_dropped, 0);
    adds_up(dissector.counts());
}

#[test]
fn headers_that_came_in_fragments_are_taken_off_too() {
    let datagram = udp(5060, 5061, &[7; 1600]);
    // Destination options, then an authentication header, inside what was cut into fragments.
    let inside = [&[51, 0, 1, 4, 0, 0, 0, 0, 17, 1, 0, 0][..], &[9; 8], &datagram].concat();
    let mut dissector = Dissector::new();
    for (from, to) in [(0, 800), (800, inside.len())] {
        let place = (from as u16 | u16::from(to < inside.len())).to_be_bytes();
        let head = [60, 0, place[0], place[1], 0, 0, 0, 5];
        let data = ethernet(0x86dd, &ipv6(44, &[&head[..], &inside[from..to]].concat()));
        let frame = frame(ETHERNET, &data);
        let given = dissector.handle_frame(&frame);
        assert_eq!(given.is_some_and(|datagram| datagram.payload == [7; 1600]), from > 0);
    }
    let nothing = ethernet(0x86dd, &ipv6(59, b"no next header"));
    let mobility = ethernet(0x86dd, &ipv6(135, &[17, 0, 5, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 9, 0, 0, b'x']));
    assert!(dissector.handle_frame(&frame(ETHERNET, &nothing)).is_none());
    assert!(dissector.handle_frame(&frame(ETHERNET, &mobility)).is_some_and(|d| d.payload == b"x"));
    assert_eq!(dissector.counts().other_transport, 1);
    adds_up(dissector.counts());
}

/// A HEP packet with SIP from 192.0.2.1:5060 to 192.0.2.2:5061, of this protocol type, its payload in this chunk.
fn hep_packet(kind: u8, chunk: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16 + 6).to_be_bytes();
    let body = [
        &[0, 0, 0, 1, 0, 7, 2, 0, 0, 0, 2, 0, 7, 6][..],
        &[0, 0, 0, 3, 0, 10, 192, 0, 2, 1, 0, 0, 0, 4, 0, 10, 192, 0, 2, 2],
        &[0, 0, 0, 7, 0, 8, 0x13, 0xc4, 0, 0, 0, 8, 0, 8, 0x13, 0xc5],
        &[0, 0, 0, 11, 0, 7, kind, 0, 0, 0, chunk, length[0], length[1]],
        payload,
    ]
    .concat();
    [&b"HEP3"[..], &(body.len() as u16 + 6).to_be_bytes(), &body].concat()
}

#[test]
fn a_message_that_an_agent_hands_on_has_its_own_addresses() {
    let packet = hep_packet(1, 15, SIP);
    for port in [9060, 9063, 40_000] {
        let counts = gives_sip(ETHERNET, &ethernet(0x0800, &ipv4(17, &udp(33_000, port, &packet))));
        assert_eq!((counts.hep, counts.hep_unread, counts.tunnelled), (1, 0, 1));
    }
    assert_eq!(gives_sip(crate::net::LINK_HEP, &packet).hep, 1);
    let old = [&[1, 16, 2, 17, 0x13, 0xc4, 0x13, 0xc5, 192, 0, 2, 1, 192, 0, 2, 2][..], SIP].concat();
    gives_sip(ETHERNET, &ethernet(0x0800, &ipv4(17, &udp(33_000, 9060, &old))));
    let mut packed = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::ZlibEncoder::new(SIP, flate2::Compression::fast()),
        &mut packed,
    )
    .expect("memory can be read");
    gives_sip(ETHERNET, &ethernet(0x0800, &ipv4(17, &udp(33_000, 9060, &hep_packet(1, 16, &packed)))));
}

#[test]
fn hep_that_says_nothing_to_us_is_counted_and_what_is_no_hep_stays_a_datagram() {
    let mut dissector = Dissector::new();
    for packet in [hep_packet(100, 15, b"log"), hep_packet(5, 15, b"{}"), hep_packet(1, 16, b"damaged")] {
        let data = ethernet(0x0800, &ipv4(17, &udp(33_000, 9060, &packet)));
        assert!(dissector.handle_frame(&frame(ETHERNET, &data)).is_none());
    }
    assert_eq!((dissector.counts().hep_unread, dissector.counts().other_transport), (3, 3));
    let cut = hep_packet(1, 15, SIP);
    let not_sip = [&[1, 16, 2, 17, 0, 1, 0, 2, 192, 0, 2, 1, 192, 0, 2, 2][..], b"something"].concat();
    for payload in [&cut[..cut.len() - 1], &b"HEP3"[..], &not_sip] {
        let data = ethernet(0x0800, &ipv4(17, &udp(33_000, 9060, payload)));
        let frame = frame(ETHERNET, &data);
        assert!(dissector.handle_frame(&frame).is_some_and(|datagram| datagram.payload == payload));
    }
    assert!(dissector.handle_frame(&frame(crate::net::LINK_HEP, b"HEP3")).is_none());
    assert_eq!((dissector.counts().hep, dissector.counts().malformed), (3, 1));
    adds_up(dissector.counts());
}

#[test]
fn a_pdu_that_an_analyser_wrote_out_has_the_addresses_in_its_tags() {
    let tag = |number: u16, value: &[u8]| {
        [&number.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), value].concat()
    };
    let tags = |name: &[u8]| {
        [
            tag(12, name),
            tag(20, &[192, 0, 2, 1]),
            tag(21, &[192, 0, 2, 2]),
            tag(24, &[0, 0, 0, 2]),
            tag(25, &[0, 0, 0x13, 0xc4]),
            tag(26, &[0, 0, 0x13, 0xc5]),
            tag(0, b""),
        ]
        .concat()
    };
    gives_sip(252, &[&tags(b"sip\0")[..], SIP].concat());
    gives_sip(252, &[&tags(b"ip\0\0")[..], &sip_in_ipv4()].concat());
    let mut dissector = Dissector::new();
    for data in [[&tags(b"http")[..], SIP].concat(), tags(b"sip\0")[..20].to_vec(), Vec::new()] {
        assert!(dissector.handle_frame(&frame(252, &data)).is_none());
    }
    assert_eq!(dissector.counts().other_transport, 3);
}

#[test]
fn a_first_fragment_that_the_capture_cut_is_given_as_it_is() {
    let (payload, parts) = parts();
    let mut dissector = Dissector::new();
    let data = ethernet(0x0800, &ipv4_part(17, 1, 0, true, &parts[0].2));
    let cut = Frame { wire_len: data.len() as u32, ..frame(ETHERNET, &data[..96]) };
    let datagram = dissector.handle_frame(&cut).expect("no datagram");
    assert!(datagram.truncated && datagram.payload == &payload[..96 - 42]);
    let data = ethernet(0x0800, &ipv4_part(17, 1, 800, true, &parts[1].2));
    let cut = Frame { wire_len: data.len() as u32, ..frame(ETHERNET, &data[..96]) };
    assert!(dissector.handle_frame(&cut).is_none());
    assert_eq!(dissector.counts().fragments_cut, 1);
    adds_up(dissector.counts());
}

#[test]
fn a_fragment_inside_a_tunnel_whose_packet_is_in_fragments_is_joined_too() {
    let (payload, parts) = parts();
    let mut dissector = Dissector::new();
    let mut given = 0;
    for (id, (offset, more, bytes)) in parts.iter().enumerate() {
        let inner = ethernet(0x0800, &ipv4_part(17, 77, *offset, *more, bytes));
        let outer = udp(40000, 4789, &[&[8, 0, 0, 0, 0, 0, 1, 0], &inner[..]].concat());
        let middle = outer.len() / 2 / 8 * 8;
        for (from, to) in [(0, middle), (middle, outer.len())] {
            let part = ipv4_part(17, 100 + id as u16, from, to < outer.len(), &outer[from..to]);
            if let Some(datagram) = dissector.handle_frame(&frame(101, &part)) {
                given += 1;
                assert_eq!(datagram.payload, payload);
            }
        }
    }
    assert_eq!(given, 1);
    adds_up(dissector.counts());
}

proptest! {
    #[test]
    fn the_short_way_of_an_ordinary_frame_gives_what_the_long_one_does(
        payload in proptest::collection::vec(any::<u8>(), 0..40),
        ports in (prop_oneof![Just(4789_u16), Just(2152), any::<u16>()], prop_oneof![Just(2152_u16), Just(4789), any::<u16>()]),
        padding in 0..4_usize,
        damage in proptest::collection::vec((0..60_usize, prop_oneof![Just(0_u8), Just(0x40), Just(0x80), any::<u8>()]), 0..3),
        cut in 0..6_usize
    ) {
        let rtp = [&[0x80][..], &payload].concat();
        let mut data = ethernet(0x0800, &ipv4(17, &udp(ports.0, ports.1, &rtp)));
        data.resize(data.len() + padding, 0);
        for (at, byte) in damage {
            if let Some(place) = data.get_mut(at) {
                *place = byte;
            }
        }
        data.truncate(data.len() - cut.min(data.len()));
        let frame = frame(ETHERNET, &data);
        let told = |datagram: &Datagram<'_>| {
            let Datagram { at, flow, transport, payload, truncated, ethernet } = *datagram;
            (at, flow, transport, payload.to_vec(), truncated, ethernet)
        };
        let (mut short, mut long) = (Dissector::new(), Dissector::new());
        let by_short = short.handle_frame(&frame).as_ref().map(told);
        let by_long = long.take_apart(&frame).as_ref().map(told);
        prop_assert_eq!(by_short, by_long);
        let long = Counts { frames: 1, ..long.counts() };
        prop_assert_eq!(short.counts(), long);
    }

    #[test]
    fn no_bytes_of_any_link_type_break_the_dissector_and_the_counts_add_up(
        frames in prop::collection::vec((
            prop::sample::select(vec![0_u16, 1, 9, 12, 50, 51, 101, 104, 108, 113, 147, 228, 239, 252, 258, 276, 0xfe01]),
            prop::collection::vec(any::<u8>(), 0..120),
        ), 0..20)
    ) {
        let mut dissector = Dissector::new();
        for (link, data) in &frames {
            let _ = dissector.handle_frame(&frame(*link, data));
        }
        adds_up(dissector.counts());
    }

    #[test]
    fn a_good_frame_with_some_bytes_changed_breaks_nothing(
        which in 0_usize..9,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        length in any::<prop::sample::Index>(),
    ) {
        let ip = sip_in_ipv4();
        let inner = ethernet(0x0800, &ip);
        let mut data = match which {
            0 => ethernet(0x0800, &ip),
            1 => v6_part(1, 0, true, &[7; 64]),
            2 => ethernet(0x0800, &ipv4(47, &[&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1], &[0; 12][..], &inner].concat())),
            3 => ethernet(0x0800, &ipv4(17, &udp(2152, 2152, &[&[0x34, 255, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x85, 1, 0, 9, 0], &ip[..]].concat()))),
            5 => ethernet(0x0800, &ipv4(17, &udp(9, 9060, &hep_packet(1, 15, SIP)))),
            6 => ethernet(0x0800, &ipv4(17, &udp(9, 37008, &[&[1, 0, 0, 1, 10, 1, 7, 1], &inner[..]].concat()))),
            7 => ethernet(0x0800, &ipv4(17, &udp(9, 6081, &[&[2, 0, 0x65, 0x58, 0, 0, 4, 0, 1, 2, 3, 1, 0, 0, 0, 0], &inner[..]].concat()))),
            4 => ethernet(0x8847, &[&[0, 1, 0, 64, 0, 2, 1, 64], &ip[..]].concat()),
            _ => ethernet(0x0800, &ipv4_part(6, 5, 0, true, &tcp_segment(2, b"data"))),
        };
        for (place, value) in changes {
            let place = place.index(data.len());
            data[place] = value;
        }
        data.truncate(length.index(data.len() + 1));
        let mut dissector = Dissector::new();
        let _ = dissector.handle_frame(&frame(ETHERNET, &data));
        adds_up(dissector.counts());
    }
}
