//! Connections in any pieces, and the SIP messages that come of them.

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::*;
use crate::net::{Datagram, Transport};
use crate::tcp::Reassembler;

const OPTIONS: &[u8] = b"OPTIONS sip:a@example.com SIP/2.0\r\nCall-ID: 1\r\nContent-Length: 4\r\n\r\nend\n";
const OK: &[u8] = b"SIP/2.0 200 OK\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n";
const GET: &[u8] = b"GET /ws HTTP/1.1\r\nHost: pbx.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\r\n";
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: sip\r\n\r\n";

/// One TCP connection: both ends say things, a reader hears them.
struct Line {
    reassembler: Reassembler,
    streams: Streams,
    next: [u32; 2],
    now_ms: i64,
    /// Messages by direction: 0 is the client's.
    heard: [Vec<Vec<u8>>; 2],
    oddities: BTreeMap<&'static str, u32>,
    client: Endpoint,
    server: Endpoint,
}

impl Line {
    fn to_port(port: u16) -> Line {
        Line {
            reassembler: Reassembler::new(),
            streams: Streams::new(),
            next: [1000, 5000],
            now_ms: 0,
            heard: Default::default(),
            oddities: BTreeMap::new(),
            client: Endpoint::v4([192, 0, 2, 21], 40_000),
            server: Endpoint::v4([192, 0, 2, 10], port),
        }
    }

    /// A connection whose beginning is seen.
    fn new() -> Line {
        let mut line = Line::to_port(8080);
        line.connect();
        line
    }

    fn connect(&mut self) {
        self.next = [self.next[0].wrapping_add(77_777), self.next[1].wrapping_add(99_999)];
        for by in [0, 1] {
            self.segment(by, true, b"");
        }
    }

    /// A segment somewhere else than where the stream stands.
    fn segment_at(&mut self, by: usize, offset: u32, payload: &[u8]) {
        let next = self.next[by];
        self.next[by] = next.wrapping_add(offset);
        self.segment(by, false, payload);
        self.next[by] = next;
    }

    fn segment(&mut self, by: usize, syn: bool, payload: &[u8]) {
        let flow = match by {
            0 => Flow { src: self.client, dst: self.server },
            _ => Flow { src: self.server, dst: self.client },
        };
        let transport = Transport::Tcp { sequence: self.next[by], syn, fin: false, rst: false };
        self.next[by] = self.next[by].wrapping_add(u32::from(syn) + payload.len() as u32);
        let at = Timestamp::from_millis(self.now_ms);
        let datagram = Datagram { at, flow, transport, payload, truncated: false, ethernet: None };
        if let Some(stream) = self.reassembler.handle_segment(&datagram) {
            let mut sink = hear(&mut self.heard, &mut self.oddities, self.client);
            self.streams.handle(stream, at, &mut sink);
        }
    }

    /// Time passes, and what did not come is not waited for any more.
    fn wait(&mut self) {
        self.now_ms += 4000;
        let at = Timestamp::from_millis(self.now_ms);
        while let Some(stream) = self.reassembler.poll_overdue(at) {
            let mut sink = hear(&mut self.heard, &mut self.oddities, self.client);
            self.streams.handle(stream, at, &mut sink);
        }
    }

    fn client(&mut self, bytes: &[u8]) {
        self.segment(0, false, bytes);
    }

    fn server(&mut self, bytes: &[u8]) {
        self.segment(1, false, bytes);
    }

    /// Bytes that no capture has seen, and so much time that nobody waits for them any more.
    fn lose(&mut self, by: usize, bytes: usize) {
        self.next[by] = self.next[by].wrapping_add(bytes as u32);
        self.now_ms += 4000;
    }

    /// Both ends' words in pieces of `size` bytes, in turn.
    fn talk(&mut self, client: &[u8], server: &[u8], size: usize) {
        let mut pieces = [client.chunks(size), server.chunks(size)];
        loop {
            let (a, b) = (pieces[0].next(), pieces[1].next());
            if a.is_none() && b.is_none() {
                return;
            }
            self.client(a.unwrap_or_default());
            self.server(b.unwrap_or_default());
        }
    }

    #[track_caller]
    fn heard_are(&self, client: &[&[u8]], server: &[&[u8]]) {
        assert_eq!(self.heard[0], client, "of the client");
        assert_eq!(self.heard[1], server, "of the server");
    }
}

/// Puts what is found in its place.
fn hear(
    heard: &mut [Vec<Vec<u8>>; 2],
    oddities: &mut BTreeMap<&'static str, u32>,
    client: Endpoint,
) -> impl FnMut(Found<'_>) {
    move |found| match found {
        Found::Message { flow, bytes, .. } => heard[usize::from(flow.src != client)].push(bytes.to_vec()),
        // An agent's: with the flow that it names in front.
        Found::Datagram { flow, bytes, .. } => {
            heard[0].push([format!("{} > {}: ", flow.src, flow.dst).as_bytes(), bytes].concat());
        }
        Found::Oddity { what, .. } | Found::Undecryptable { why: what, .. } => {
            *oddities.entry(what).or_default() += 1;
        }
    }
}

/// A frame as a client (masked) or a server sends it.
fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(masked | length as u8),
        length @ 126..=0xffff => {
            bytes.push(masked | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(masked | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask.unwrap_or_default().iter().take(if mask.is_some() { 4 } else { 0 }));
    let mask = mask.unwrap_or_default();
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

const MASK: Option<[u8; 4]> = Some([0x37, 0xfa, 0x21, 0x3d]);

#[test]
fn messages_in_frames_are_found_whatever_the_pieces() {
    let client = [GET, &frame(0x81, MASK, OPTIONS), &frame(0x82, MASK, OPTIONS)].concat();
    let server = [SWITCHING, &frame(0x81, None, OK)].concat();
    for size in [1, 2, 3, 7, 50, 1000] {
        let mut line = Line::new();
        line.talk(&client, &server, size);
        line.heard_are(&[OPTIONS, OPTIONS], &[OK]);
        assert!(line.oddities.is_empty(), "{:?}", line.oddities);
    }
}

#[test]
fn control_frames_between_fragments_change_nothing() {
    let mut line = Line::new();
    line.client(GET);
    line.server(SWITCHING);
    for (first, part) in [(0x01, &OPTIONS[..20]), (0x89, b"ping"), (0x00, &OPTIONS[20..40]), (0x8a, b"")] {
        line.client(&frame(first, MASK, part));
    }
    line.heard_are(&[], &[]);
    line.client(&frame(0x80, MASK, &OPTIONS[40..]));
    line.heard_are(&[OPTIONS], &[]);
    line.server(&frame(0x88, None, &[3, 232]));
    assert!(line.oddities.is_empty(), "{:?}", line.oddities);
}

#[test]
fn long_messages_have_long_lengths() {
    let mut line = Line::new();
    line.client(GET);
    line.server(SWITCHING);
    let long = [&OK[..OK.len() - 2], b"X: ", &[b'x'; 70_000], b"\r\n\r\n"].concat();
    for piece in frame(0x81, None, &long).chunks(1400) {
        line.server(piece);
    }
    line.heard_are(&[], &[&long]);
}

#[test]
fn a_length_that_lies_costs_one_oddity_and_the_next_message_is_found() {
    for length in [u64::MAX, u64::MAX >> 1, 1 << 40] {
        let mut line = Line::new();
        line.client(GET);
        line.server(SWITCHING);
        let mut lie = vec![0x82, 127];
        lie.extend(length.to_be_bytes());
        line.server(&lie);
        line.server(&frame(0x81, None, OK));
        line.heard_are(&[], &[OK]);
        assert_eq!(line.oddities.values().sum::<u32>(), 1);
    }
}

#[test]
fn a_frame_too_long_to_be_read_is_passed_over() {
    let mut line = Line::new();
    line.client(GET);
    line.server(SWITCHING);
    for piece in frame(0x82, None, &vec![0x81; 200_000]).chunks(1400) {
        line.server(piece);
    }
    line.server(&frame(0x81, None, OK));
    line.heard_are(&[], &[OK]);
    assert_eq!(line.oddities.len(), 1);
}

#[test]
fn a_websocket_joined_in_the_middle_is_told_by_a_sip_message_in_a_frame() {
    let mut line = Line::to_port(8080);
    line.client(b"rest of something");
    line.client(&frame(0x81, MASK, OPTIONS));
    line.server(&[b"\x00\x01\x02", &frame(0x81, None, OK)[..]].concat());
    line.client(&frame(0x81, MASK, OPTIONS));
    line.heard_are(&[OPTIONS, OPTIONS], &[OK]);
}

#[test]
fn a_websocket_that_lost_a_piece_goes_on_at_the_next_message() {
    let mut line = Line::new();
    line.client(GET);
    line.server(SWITCHING);
    line.client(&frame(0x81, MASK, OPTIONS)[..30]);
    line.lose(0, 100);
    line.client(&frame(0x81, MASK, OPTIONS)[50..]);
    line.now_ms += 4000;
    line.client(&frame(0x81, MASK, OPTIONS));
    line.client(&frame(0x81, MASK, OPTIONS));
    line.heard_are(&[OPTIONS, OPTIONS], &[]);
}

#[test]
fn another_sub_protocol_is_let_go() {
    let mut line = Line::new();
    let get = String::from_utf8_lossy(GET).replace(": sip", ": chat, verto");
    line.client(get.as_bytes());
    line.client(&frame(0x81, MASK, &[b'{'; 6000]));
    line.heard_are(&[], &[]);
    assert!(line.streams.connections.is_empty());
}

#[test]
fn a_handshake_that_is_refused_and_tried_again_begins_anew() {
    let mut line = Line::new();
    line.client(GET);
    line.server(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    assert!(line.streams.connections.is_empty());
    line.client(GET);
    line.server(SWITCHING);
    line.client(&frame(0x81, MASK, OPTIONS));
    line.server(&frame(0x81, None, OK));
    line.heard_are(&[OPTIONS], &[OK]);
}

#[test]
fn a_new_connection_on_the_same_ports_is_another_one() {
    let mut line = Line::new();
    line.client(GET);
    line.server(SWITCHING);
    line.client(&frame(0x01, MASK, OPTIONS));
    line.connect();
    line.client(OPTIONS);
    line.server(OK);
    line.heard_are(&[OPTIONS], &[OK]);
}

/// The bytes and keys of a connection whose ends said `words …` to each other.
fn vector() -> (String, Vec<(usize, Vec<u8>)>) {
    let (mut keys, mut sent) = (String::new(), Vec::new());
    for line in include_str!("tls/vectors/tls13-aes128-gcm.txt").lines() {
        match line.split_once(' ') {
            Some(("key", key)) => keys.push_str(&format!("{key}\n")),
            Some((by @ ("client" | "server"), hex)) => {
                let digits: Vec<u8> =
                    hex.bytes().map(|d| char::from(d).to_digit(16).expect("hex") as u8).collect();
                let bytes = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
                sent.push((usize::from(by == "server"), bytes));
            }
            _ => {}
        }
    }
    (keys, sent)
}

/// How often a connection to this port was told as undecryptable, and why.
fn told(port: u16, prepare: impl FnOnce(&mut Line), from: usize) -> (u64, Vec<&'static str>) {
    let mut line = Line::to_port(port);
    prepare(&mut line);
    line.connect();
    for (by, bytes) in &vector().1[from..] {
        line.segment(*by, false, bytes);
    }
    // Silence makes the reassembler look again; it is not told again.
    line.now_ms += 120_000;
    for (by, bytes) in &vector().1[2..] {
        line.segment(*by, false, bytes);
    }
    let (streams, oddities) = (&mut line.streams, &mut line.oddities);
    streams.finish(Timestamp::from_millis(line.now_ms), &mut |found| {
        if let Found::Undecryptable { why, .. } = found {
            *oddities.entry(why).or_default() += 1;
        }
    });
    assert_eq!(u64::from(oddities.values().sum::<u32>()), streams.counts().tls_undecryptable);
    assert_eq!(streams.bytes, streams.connections.values().map(Connection::kept).sum::<usize>());
    (streams.counts().tls_undecryptable, oddities.keys().copied().collect())
}

#[test]
fn tls_without_a_key_is_told_once_where_it_may_be_sip_and_never_elsewhere() {
    assert_eq!(told(5061, |_| {}, 0), (1, vec!["no key"]));
    assert_eq!(told(443, |_| {}, 0), (0, vec![]));
    // Joined in the middle.
    assert_eq!(told(5061, |_| {}, 3), (1, vec!["its beginning is not in the capture"]));
    assert_eq!(told(443, |_| {}, 3), (0, vec![]));
    // A key log without its line: it waits first.
    let key_log = |line: &mut Line| {
        line.streams.add_secrets(b"", &mut |_| {});
    };
    assert_eq!(told(5061, key_log, 0), (1, vec!["no key"]));
    assert_eq!(told(443, key_log, 0), (0, vec![]));
    // A server that spoke SIP inside TLS is known for it.
    let known = |line: &mut Line| {
        line.streams.servers.insert(line.server);
    };
    assert_eq!(told(443, known, 0), (1, vec!["no key"]));
}

#[test]
fn tls_that_opens_and_holds_no_sip_is_not_told() {
    let (keys, sent) = vector();
    let mut line = Line::to_port(5061);
    line.connect();
    line.streams.add_secrets(keys.as_bytes(), &mut |_| {});
    for (by, bytes) in &sent {
        line.segment(*by, false, bytes);
    }
    assert_eq!((line.streams.counts(), line.oddities.len()), (Counts::default(), 0));
    assert_eq!(line.streams.connections.len(), 1);
    line.connect();
    line.client(OPTIONS);
    line.heard_are(&[OPTIONS], &[]);
    assert_eq!((line.streams.connections.len(), line.streams.bytes), (0, 0));
}

/// A message packed as permessage-deflate does it.
fn packed(packer: &mut Compress, message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.len() + 1000);
    packer.compress_vec(message, &mut bytes, FlushCompress::Sync).expect("memory takes all");
    bytes.truncate(bytes.len() - 4);
    bytes
}

#[test]
fn compressed_messages_are_unpacked_with_and_without_memory() {
    for (granted, starts_anew) in
        [("", false), ("; server_no_context_takeover; client_no_context_takeover", true)]
    {
        let mut line = Line::new();
        line.client(GET);
        let head = String::from_utf8_lossy(SWITCHING).replace(
            "\r\n\r\n",
            &format!("\r\nSec-WebSocket-Extensions: permessage-deflate{granted}\r\n\r\n"),
        );
        line.server(head.as_bytes());
        let mut packers = [0, 1].map(|_| Compress::new(Compression::default(), false));
        for _ in 0..3 {
            if starts_anew {
                packers.iter_mut().for_each(Compress::reset);
            }
            let [client, server] = &mut packers;
            let bytes = packed(client, OPTIONS);
            line.client(&frame(0x41, MASK, &bytes[..5]));
            line.client(&frame(0x80, MASK, &bytes[5..]));
            line.server(&frame(0xc1, None, &packed(server, OK)));
        }
        line.heard_are(&[OPTIONS, OPTIONS, OPTIONS], &[OK, OK, OK]);
        assert!(line.oddities.is_empty(), "{:?}", line.oddities);
    }
}

#[test]
fn a_packed_bomb_is_an_oddity_and_not_memory() {
    let mut line = Line::new();
    line.client(GET);
    let head = String::from_utf8_lossy(SWITCHING).replace(
        "\r\n\r\n",
        "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n",
    );
    line.server(head.as_bytes());
    let mut deflater = flate2::write::DeflateEncoder::new(Vec::new(), Compression::best());
    deflater.write_all(&vec![b'x'; 50_000_000]).expect("memory takes all");
    let bomb = deflater.flush_finish().expect("memory takes all");
    for piece in frame(0xc1, None, &bomb).chunks(1400) {
        line.server(piece);
    }
    assert_eq!(line.oddities.len(), 1);
    let mut packer = Compress::new(Compression::default(), false);
    line.server(&frame(0xc1, None, &packed(&mut packer, OK)));
    line.heard_are(&[], &[OK]);
}

#[test]
fn a_packed_message_whose_handshake_was_missed_is_an_oddity() {
    let mut line = Line::to_port(8080);
    line.server(&frame(0x81, None, OK));
    line.server(&frame(0xc1, None, b"\x01\x02\x03"));
    line.heard_are(&[], &[OK]);
    assert_eq!(line.oddities.len(), 1);
}

#[test]
fn keep_alives_for_days_do_not_make_a_connection_foreign() {
    let mut line = Line::new();
    line.client(OPTIONS);
    for _ in 0..5000 {
        line.client(b"\r\n\r\n");
        line.server(b"\r\n");
    }
    line.client(OPTIONS);
    line.server(OK);
    line.heard_are(&[OPTIONS, OPTIONS], &[OK]);
}

#[test]
fn a_direction_that_carried_sip_outlives_the_rest_of_a_long_body() {
    let mut line = Line::new();
    line.client(OPTIONS);
    line.lose(0, 100);
    line.client(&[b'x'; 10 * FOREIGN_BYTES_MAX]);
    line.client(&[b"\r\n", OPTIONS].concat());
    line.now_ms += 4000;
    line.client(OPTIONS);
    line.heard_are(&[OPTIONS, OPTIONS, OPTIONS], &[]);
}

#[test]
fn what_is_no_sip_is_let_go_after_a_while() {
    let mut line = Line::new();
    line.client(b"GET /index.html HTTP/1.1\r\n\r\n");
    line.server(&[b'x'; FOREIGN_BYTES_MAX + 1]);
    line.server(OK);
    line.heard_are(&[], &[]);
}

#[test]
fn connections_are_bounded_and_the_idle_one_goes() {
    let mut streams = Streams::new();
    let pair = |number: u32| Pair(Endpoint::v4(number.to_be_bytes(), 1), Endpoint::v4([255; 4], 2));
    for number in 0..CONNECTIONS_MAX as u32 + 10 {
        let carries = Carries::WebSocket(Box::new(WebSocket::at_handshake()));
        let last = Timestamp::from_millis(i64::from(number));
        let connection = Connection { numbers: [None; 2], ended: [false; 2], last, carries };
        streams.connections.insert(pair(number), connection);
        streams.keep_bounds(last, &mut |_| {});
    }
    assert_eq!(streams.connections.len(), CONNECTIONS_MAX);
    assert!(!streams.connections.contains_key(&pair(9)) && streams.connections.contains_key(&pair(10)));
}

proptest! {
    #[test]
    fn no_bytes_break_a_websocket(
        pieces in prop::collection::vec((0_usize..2, prop::collection::vec(any::<u8>(), 0..40)), 0..60),
        known in any::<bool>(),
    ) {
        let mut line = Line::new();
        if known {
            line.client(GET);
            line.server(SWITCHING);
        }
        for (by, bytes) in pieces {
            line.segment(by, false, &bytes);
        }
    }

    #[test]
    fn pipelined_messages_survive_any_cut_order_repetition_and_overlap(
        count in 1_usize..8,
        blanks in prop::collection::vec(0_usize..3, 8),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 1_usize..200), 0..40),
        // Fewer pieces than may wait behind a gap.
        whole in 10_usize..300,
        order in any::<u64>(),
        first in any::<u32>(),
    ) {
        let mut bytes = Vec::new();
        for blank in &blanks[..count] {
            bytes.extend(b"\r\n\r\n".repeat(*blank));
            bytes.extend_from_slice(OPTIONS);
        }
        let mut line = Line::to_port(5060);
        // Anywhere, so that the numbers wrap now and then.
        line.next[0] = first;
        line.segment(0, true, b"");
        // Random pieces, then all of it in pieces of one size so that nothing is missing, in an order that the seed gives.
        let mut pieces: Vec<(usize, usize)> = cuts
            .iter()
            .map(|(from, length)| (from.index(bytes.len()), *length))
            .chain((0..bytes.len()).step_by(whole).map(|from| (from, whole)))
            .map(|(from, length)| (from, bytes.len().min(from + length)))
            .collect();
        let mut state = order;
        for place in (1..pieces.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            pieces.swap(place, (state >> 33) as usize % (place + 1));
        }
        for (from, to) in pieces {
            line.segment_at(0, from as u32, &bytes[from..to]);
        }
        prop_assert_eq!(&line.heard[0], &vec![OPTIONS.to_vec(); count]);
    }

    #[test]
    fn behind_a_lost_piece_the_next_message_is_found_and_none_is_made_up(
        before in 0_usize..4,
        after in 1_usize..4,
        lost in (any::<prop::sample::Index>(), 1_usize..200),
        size in 1_usize..300,
    ) {
        let bytes = OPTIONS.repeat(before + 1 + after);
        // The loss begins in the message after the first ones, and ends before the last one begins.
        let from = before * OPTIONS.len() + lost.0.index(OPTIONS.len());
        let to = (from + lost.1).min((before + after) * OPTIONS.len());
        let mut line = Line::new();
        for piece in bytes[..from].chunks(size) {
            line.client(piece);
        }
        line.lose(0, to - from);
        for piece in bytes[to..].chunks(size) {
            line.client(piece);
        }
        line.wait();
        // One that lost the first letters of its method is still one, for what it is worth.
        let is_sent = |message: &Vec<u8>| OPTIONS.ends_with(message) && message.len() + 7 > OPTIONS.len();
        prop_assert!(line.heard[0].iter().all(is_sent), "a message that nobody sent");
        let whole = line.heard[0].iter().filter(|message| *message == OPTIONS).count();
        prop_assert!(whole > before, "{} heard", whole);
    }

    #[test]
    fn any_pieces_of_both_sides_give_the_same_messages(
        sizes in prop::collection::vec((0_usize..2, 1_usize..200), 1..80),
        messages in 1_usize..6,
    ) {
        let client = [GET.to_vec(), frame(0x81, MASK, OPTIONS).repeat(messages)].concat();
        let server = [SWITCHING.to_vec(), frame(0x82, None, OK).repeat(messages)].concat();
        let mut rest = [&client[..], &server[..]];
        let mut line = Line::new();
        for (by, size) in sizes.into_iter().chain([(0, usize::MAX), (1, usize::MAX)]) {
            let (piece, after) = rest[by].split_at(size.min(rest[by].len()));
            rest[by] = after;
            line.segment(by, false, piece);
        }
        prop_assert_eq!(&line.heard[0], &vec![OPTIONS.to_vec(); messages]);
        prop_assert_eq!(&line.heard[1], &vec![OK.to_vec(); messages]);
    }
}

/// A HEP packet of this protocol type.
fn handed_on(kind: u8, payload: &[u8]) -> Vec<u8> {
    let chunk = |number: u8, value: &[u8]| {
        [&[0, 0, 0, number][..], &(value.len() as u16 + 6).to_be_bytes(), value].concat()
    };
    let chunks = [
        chunk(1, &[2]),
        chunk(3, &[192, 0, 2, 1]),
        chunk(4, &[192, 0, 2, 2]),
        chunk(7, &5060_u16.to_be_bytes()),
        chunk(8, &5062_u16.to_be_bytes()),
        chunk(11, &[kind]),
        chunk(if payload.starts_with(&[0x1f, 0x8b]) { 16 } else { 15 }, payload),
    ]
    .concat();
    [&b"HEP3"[..], &(chunks.len() as u16 + 6).to_be_bytes(), &chunks].concat()
}

fn of_agent(payload: &[u8]) -> Vec<u8> {
    [b"192.0.2.1:5060 > 192.0.2.2:5062: ", payload].concat()
}

#[test]
fn what_an_agent_hands_on_is_read_in_any_pieces_with_the_addresses_that_it_names() {
    const RTP: &[u8] = &[0x80, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 7, 0xd5, 0xd5];
    let mut packed = Vec::new();
    let gzip = flate2::write::GzEncoder::new(&mut packed, Compression::fast());
    let mut gzip = gzip;
    gzip.write_all(OK).expect("memory takes it");
    gzip.finish().expect("memory takes it");
    let log = handed_on(100, b"a line of a log");
    let account = handed_on(5, b"{\"sender_information\":{}}");
    let stream = [
        handed_on(1, OPTIONS),
        log,
        handed_on(4, RTP),
        account,
        handed_on(1, &packed),
        handed_on(1, OPTIONS),
    ]
    .concat();
    for size in [1, 2, 3, 5, 11, 12, 13, 100, 1_000] {
        let mut line = Line::new();
        line.talk(&stream, b"", size);
        let expected: Vec<Vec<u8>> = [OPTIONS, RTP, OK, OPTIONS].map(of_agent).to_vec();
        assert_eq!(line.heard[0], expected, "pieces of {size}");
        assert_eq!((&line.heard[1], &line.oddities), (&Vec::new(), &BTreeMap::new()));
        assert_eq!(
            line.streams.bytes,
            line.streams.connections.values().map(Connection::kept).sum::<usize>()
        );
    }
}

#[test]
fn an_agents_connection_is_joined_in_the_middle_and_behind_a_gap_at_the_next_packet() {
    let (one, two) = (handed_on(1, OPTIONS), handed_on(1, OK));
    let mut line = Line::to_port(9060);
    // The end of a packet with SIP in it, whose addresses nobody knows any more.
    line.client(&one[40..]);
    line.client(&two);
    assert_eq!(line.heard[0], [of_agent(OK)]);
    line.client(&one[..30]);
    line.lose(0, 20);
    line.client(&one[50..]);
    line.wait();
    line.client(&two);
    assert_eq!(line.heard[0], [of_agent(OK), of_agent(OK)]);
}

#[test]
fn an_agents_connection_that_turns_into_something_else_is_let_go() {
    let mut line = Line::new();
    line.client(&handed_on(1, OPTIONS));
    let mut damaged = handed_on(1, OPTIONS);
    damaged[18] = 99;
    line.client(&damaged);
    line.client(&handed_on(1, OK));
    assert_eq!(line.heard[0], [of_agent(OPTIONS), of_agent(OK)]);
    assert_eq!(line.oddities.keys().copied().collect::<Vec<_>>(), ["a HEP packet that cannot be read"]);
    for _ in 0..100 {
        line.client(&[b'x'; 1_000]);
    }
    assert!(line.streams.connections.is_empty());
    line.client(&handed_on(1, OK));
    assert_eq!(line.heard[0].len(), 2);
}

#[test]
fn a_word_in_a_sip_message_makes_no_agent() {
    let mut line = Line::new();
    let message = b"OPTIONS sip:HEP3@example.com SIP/2.0\r\nCall-ID: HEP3\r\nContent-Length: 0\r\n\r\n";
    line.client(message);
    line.client(OPTIONS);
    line.heard_are(&[message, OPTIONS], &[]);
}
