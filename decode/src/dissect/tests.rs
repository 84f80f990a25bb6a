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
        (ETHERNET, ethernet(snap.len() as u16, &snap)),
    ] {
        gives_sip(link, &data);
    }
}

#[test]
fn every_tunnel_leads_to_the_inner_datagram() {
    let ip = sip_in_ipv4();
    let inner_frame = ethernet(0x0800, &ip);
    let with = |head: &[u8], rest: &[u8]| [head, rest].concat();
    let over_udp = |port: u16, head: &[u8], rest: &[u8]| ipv4(17, &udp(40000, port, &with(head, rest)));
    let ppp_length = (ip.len() as u16 + 2).to_be_bytes();
    let pppoe = with(&[0x11, 0, 0, 1, ppp_length[0], ppp_length[1], 0, 0x21], &ip);
    let mut erspan_3 = [0; 12];
    erspan_3[11] = 1;
    for (name, kind, packet) in [
        ("PPPoE", 0x8864, pppoe),
        ("MPLS, two labels", 0x8847, with(&[0, 1, 0, 64, 0, 2, 1, 64], &ip)),
        ("MPLS, pseudowire", 0x8847, with(&[0, 1, 1, 64, 0, 0, 0, 0], &inner_frame)),
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
    for port in [4789, 8472, 2152] {
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
    let first = |id: u16| ethernet(0x0800, &ipv4_part(17, id, 0, true, &parts[0].2));
    for id in 0..10_000 {
        assert!(dissector.handle_frame(&frame(ETHERNET, &first(id))).is_none());
    }
    assert_eq!(dissector.counts().fragment_sets_dropped, 10_000 - FRAGMENT_SETS_MAX as u64);

    // A fragment at the far end makes room for 64 KiB: 8 MiB hold 128 of these.
    let mut dissector = Dissector::new();
    for id in 0..1000 {
        let data = ethernet(0x0800, &ipv4_part(17, id, 65496, true, &[0; 32]));
        assert!(dissector.handle_frame(&frame(ETHERNET, &data)).is_none());
    }
    assert!(dissector.counts().fragment_sets_dropped >= 1000 - (FRAGMENT_BYTES_MAX / 65000) as u64);

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
    fn no_bytes_of_any_link_type_break_the_dissector_and_the_counts_add_up(
        frames in prop::collection::vec((
            prop::sample::select(vec![0_u16, 1, 9, 12, 50, 51, 101, 104, 108, 113, 147, 228, 276]),
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
        which in 0_usize..6,
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
