//! Frames of any link type: link, tunnel and IP layers and fragments must neither panic nor lose count.
//!
//! The input is a list of frames: one byte that chooses the link type, one of capture time, two of length, then the bytes.

#![no_main]

use decode::{Dissector, Frame, Timestamp};
use libfuzzer_sys::fuzz_target;

const LINKS: [u16; 20] =
    [1, 1, 1, 1, 113, 276, 101, 12, 228, 0, 108, 9, 50, 51, 104, 147, 239, 252, 258, decode::net::LINK_HEP];

fuzz_target!(|input: &[u8]| {
    let mut dissector = Dissector::new();
    let mut at = Timestamp::from_millis(0);
    let mut rest = input;
    while let [link, pause, high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (data, next) = tail.split_at(length);
        rest = next;
        // Now and then a second, so that fragment sets grow old.
        at = at.plus_millis(i64::from(*pause) * 100);
        let link = LINKS[usize::from(link % 20)];
        let frame = Frame { at, link, source: 0, wire_len: length as u32, data };
        if let Some(datagram) = dissector.handle_frame(&frame) {
            assert!(datagram.payload.len() <= 65_535);
        }
    }
    let counts = dissector.counts();
    let ends = [
        counts.udp,
        counts.tcp,
        counts.other_transport,
        counts.not_ip,
        counts.unknown_link,
        counts.fragments_held,
        counts.malformed,
        counts.too_deep,
        counts.fragments_cut,
    ];
    assert_eq!(ends.iter().sum::<u64>(), counts.frames);
});
