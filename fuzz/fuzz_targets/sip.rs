//! SIP messages, alone and as a stream: no panic, and what is given lies inside what came in.
#![no_main]

use decode::sip::{self, Framed};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = sip::parse(bytes) {
        assert!(message.body.len() <= bytes.len());
        for name in ["Call-ID", "Contact", "Refer-To", "Replaces"] {
            let _ = message.header(name).map(sip::Address::parse);
        }
        let _ = (message.from(), message.to(), message.cseq());
        let _ = sip::sdp_body(&message).map(decode::sdp::parse);
        let _ = message.from().map(|from| sip::text(from.display));
    }
    let _ = sip::looks_like_sip(bytes);
    let mut rest = bytes;
    loop {
        match sip::next_message(rest, true) {
            Framed::Message(range) => {
                assert!(range.start < range.end && range.end <= rest.len(), "a message moves on");
                rest = &rest[range.end..];
            }
            Framed::Wait { skip } => {
                assert!(skip <= rest.len());
                break;
            }
        }
    }
});
