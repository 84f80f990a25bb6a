//! TCP segments of a few connections in any order: no panic, no more bytes than came, no stream above its limit.
//!
//! The input is a list of segments: flow and flags, pause, three bytes of number, one of length, what the reader does.

#![no_main]

use decode::tcp::{Reassembler, UNREAD_BYTES_MAX};
use decode::{Datagram, Endpoint, Flow, Timestamp, Transport};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut reassembler = Reassembler::new();
    let mut at = Timestamp::from_millis(0);
    let (mut given, mut taken) = (0_usize, 0_usize);
    for chunk in input.chunks_exact(7) {
        let [first, pause, a, b, c, length, reader] = *chunk else { continue };
        at = at.plus_millis(i64::from(pause) * 20);
        let payload = vec![reader; usize::from(length) * 8];
        given += payload.len();
        // The low bytes move inside a stream, the high one jumps and wraps.
        let sequence =
            u32::from_be_bytes([if a > 250 { a } else { 0xff }, if a > 250 { 0 } else { 0xff }, b, c]);
        let datagram = Datagram {
            at,
            flow: Flow {
                src: Endpoint::v4([192, 0, 2, first & 3], 5060),
                dst: Endpoint::v4([192, 0, 2, 9], 5060),
            },
            transport: Transport::Tcp {
                sequence,
                syn: first & 0xc0 == 0xc0,
                fin: first & 0x30 == 0x30,
                rst: first & 0x1c == 0x1c,
            },
            payload: &payload,
            truncated: false,
            ethernet: None,
        };
        if let Some(mut stream) = reassembler.handle_segment(&datagram) {
            let bytes = stream.bytes().len();
            assert!(bytes <= UNREAD_BYTES_MAX);
            let eaten = bytes.min(usize::from(reader) * 16);
            taken += eaten;
            stream.consume(eaten);
            assert_eq!(stream.bytes().len(), bytes - eaten);
            if reader == 255 {
                stream.ignore();
            }
        }
        while let Some(mut stream) = reassembler.poll_overdue(at) {
            taken += stream.bytes().len();
            stream.consume(usize::MAX);
        }
    }
    assert!(taken <= given, "more bytes out than in");
});
