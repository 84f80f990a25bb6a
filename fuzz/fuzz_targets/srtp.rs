//! SRTP and SRTCP with fixed keys and hostile packets: no panic; what is opened is never longer than what was sent.
#![no_main]

use decode::srtp::receiver::Receiver;
use decode::srtp::sdes;
use decode::srtp::{ControlSession, Key};
use libfuzzer_sys::fuzz_target;

/// One line for each way to lay out a packet.
const LINES: [&[u8]; 4] = [
    b"1 AES_CM_128_HMAC_SHA1_32 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:4",
    b"2 AEAD_AES_128_GCM inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJQ==|5:1",
    b"3 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj KDR=3 UNAUTHENTICATED_SRTP",
    b"4 AES_256_CM_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj0123456789abcdefghijkl== UNENCRYPTED_SRTP",
];

fuzz_target!(|bytes: &[u8]| {
    let keys: Vec<Key> =
        LINES.iter().filter_map(|line| sdes::parse(line)).flat_map(|line| line.keys).collect();
    let mut receiver = Receiver::default();
    receiver.learn(keys.iter().enumerate().map(|(n, key)| (n as u32, key)));
    let mut control: Vec<ControlSession> = keys.iter().map(ControlSession::new).collect();
    let mut out = Vec::new();
    // The first byte of each piece is the length of the packet after it.
    let mut rest = bytes;
    while let Some((&len, after)) = rest.split_first() {
        let (packet, after) = after.split_at(usize::from(len).min(after.len()));
        if receiver.open(packet, &mut out) {
            assert!(out.len() <= packet.len());
        }
        for session in &mut control {
            if session.open(packet, &mut out) {
                assert!(out.len() < packet.len());
            }
        }
        rest = after;
    }
    if let Some(line) = sdes::parse(bytes) {
        assert!(line.keys.len() <= sdes::KEYS_PER_LINE_MAX);
    }
});
