//! HEP packets of every version, the cutting of a stream into them, and packed payloads.

#![no_main]

use decode::hep::{self, HEP_INFLATED_BYTES_MAX, Payload};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut unpacked = Vec::new();
    let mut rest = input;
    // As a connection does it: packet after packet, until one does not hold together.
    while let Ok(Some(length)) = hep::framed_len(rest) {
        assert!(length >= 6);
        let Some((packet, behind)) = rest.split_at_checked(length) else {
            assert!(hep::parse(rest).is_err(), "a part of a packet is none");
            break;
        };
        let whole = hep::parse(packet);
        assert_eq!(whole, hep::parse(rest), "what follows a packet is no part of it");
        if let Ok(packet) = whole {
            read(&packet, &mut unpacked);
        }
        rest = behind;
    }
    if let Ok(packet) = hep::parse(rest) {
        assert!(hep::looks_like_hep(rest));
        read(&packet, &mut unpacked);
    }
    if hep::inflate(input, &mut unpacked) {
        assert!(unpacked.len() <= HEP_INFLATED_BYTES_MAX);
    }
});

fn read(packet: &hep::Packet<'_>, unpacked: &mut Vec<u8>) {
    match packet.payload {
        Payload::Plain(_) => {}
        Payload::Packed(bytes) => {
            let whole = hep::inflate(bytes, unpacked);
            assert!(!whole || unpacked.len() <= HEP_INFLATED_BYTES_MAX);
        }
    }
}
