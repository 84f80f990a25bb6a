//! The bytes of a few TCP connections in pieces, both directions: SIP, WebSocket, HEP and TLS, with the keys of a real connection.
//! No panic, no more messages than bytes, nothing kept above the limits.
//!
//! The input is a list of pieces: one byte of connection, direction and what TCP says, one of length, then the bytes.

#![no_main]

use decode::stream::{Found, Streams};
use decode::tcp::Reassembler;
use decode::{Datagram, Endpoint, Flow, Timestamp, Transport};
use libfuzzer_sys::fuzz_target;

/// The key log of a test vector, so that pieces of that vector open.
const KEYS: &str = include_str!("../../decode/src/stream/tls/vectors/tls13-aes128-gcm.txt");

fuzz_target!(|input: &[u8]| {
    let (mut reassembler, mut streams) = (Reassembler::new(), Streams::new());
    let mut next = [[0_u32; 2]; 4];
    let (mut now, mut rest, mut bytes) = (0, input, 0_usize);
    let mut messages = 0_usize;
    let mut count = |found: Found<'_>| {
        messages += usize::from(matches!(found, Found::Message { .. } | Found::Datagram { .. }));
    };
    while let [what, length, after @ ..] = rest {
        let length = usize::from(*length) * 8;
        let (payload, after) = after.split_at(length.min(after.len()));
        rest = after;
        bytes += payload.len();
        let (connection, way) = (usize::from(what & 3), usize::from(what >> 2 & 1));
        match what >> 3 {
            // A gap that nobody fills.
            1 => {
                next[connection][way] = next[connection][way].wrapping_add(100);
                now += 4000;
            }
            2 => {
                let keys: Vec<&str> = KEYS.lines().filter_map(|line| line.strip_prefix("key ")).collect();
                streams.add_secrets(keys.join("\n").as_bytes(), &mut count);
            }
            3 => now += 11_000,
            _ => {}
        }
        let client = Endpoint::v4([192, 0, 2, 1], 40_000);
        let server = Endpoint::v4([192, 0, 2, 2], 5060 + connection as u16);
        let flow =
            if way == 0 { Flow { src: client, dst: server } } else { Flow { src: server, dst: client } };
        let transport = Transport::Tcp {
            sequence: next[connection][way],
            syn: what >> 3 == 4,
            fin: what >> 3 == 5,
            rst: what >> 3 == 6,
        };
        next[connection][way] =
            next[connection][way].wrapping_add(payload.len() as u32 + u32::from(what >> 3 == 4));
        let at = Timestamp::from_millis(now);
        let datagram = Datagram { at, flow, transport, payload, truncated: false, ethernet: None };
        if let Some(stream) = reassembler.handle_segment(&datagram) {
            streams.handle(stream, at, &mut count);
        }
        streams.handle_timeout(at, &mut count);
    }
    streams.finish(Timestamp::from_millis(now), &mut count);
    // The shortest SIP message is longer than this; compression may pack it tighter.
    assert!(messages <= bytes, "more messages than bytes");
});
