//! Multipart bodies of SIP messages: no panic, and the session description found lies inside the body.
//!
//! The first line of the input is the Content-Type, the rest the body.

#![no_main]

use decode::sip;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let split = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
    let (kind, body) = input.split_at(split);
    let kind: Vec<u8> = kind.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let body = body.get(1..).unwrap_or_default();
    let mut message = b"INVITE sip:a@example.com SIP/2.0\r\nContent-Type: ".to_vec();
    message.extend(&kind);
    message.extend(b"\r\n\r\n");
    message.extend(body);
    let Ok(parsed) = sip::parse(&message) else { return };
    if let Some(sdp) = sip::sdp_body(&parsed) {
        assert!(sdp.len() <= body.len());
        let _ = decode::sdp::parse(sdp);
    }
});
