//! Facts of a leg for tests.

use decode::tracker::{CallId, Event, LegFacts, Tracker};
use decode::{Frame, Timestamp};

/// The facts of a leg between two numbers, as the tracker tells them of a real INVITE.
pub(crate) fn facts(caller: &str, callee: &str) -> LegFacts {
    let message = format!(
        "INVITE sip:{callee}@192.0.2.10 SIP/2.0\r\nFrom: <sip:{caller}@192.0.2.10>;tag=a\r\nTo: <sip:{callee}@192.0.2.10>\r\n\
         Call-ID: 1\r\nCSeq: 1 INVITE\r\n\r\n"
    );
    let udp_len = (8 + message.len()) as u16;
    let mut packet =
        vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 20, 192, 0, 2, 10, 19, 196, 19, 196];
    packet[2..4].copy_from_slice(&(20 + udp_len).to_be_bytes());
    packet.extend(udp_len.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(message.as_bytes());
    let mut tracker = Tracker::new();
    let at = Timestamp::from_millis(1_000);
    tracker.handle_frame(&Frame { at, link: 101, source: 0, wire_len: packet.len() as u32, data: &packet });
    while let Some(event) = tracker.poll_event() {
        if let Event::LegStarted(facts) = event {
            assert_eq!(facts.call, CallId::new(at, &[b"1", b"a"]));
            return facts.clone();
        }
    }
    panic!("an INVITE begins a leg");
}
