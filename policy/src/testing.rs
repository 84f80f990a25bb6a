//! Facts of legs and segments for tests.

use std::collections::BTreeSet;

use decode::tracker::{CallId, Event, LegEnd, LegFacts, Tracker};
use decode::{Frame, Timestamp};

use crate::outcome::{Direction, Source};
use crate::rules::SegmentFacts;

/// The facts of a segment, as far as signalling gives them.
pub(crate) fn segment(extension: &str, other: &str, direction: Direction) -> SegmentFacts {
    SegmentFacts {
        extension: extension.into(),
        other_party: other.into(),
        outside_number: (direction != Direction::Internal).then(|| other.into()),
        outside_e164: None,
        direction,
        ddi: None,
        account_code: None,
        agent: None,
        hunt_group: None,
        trunk: None,
        who: Default::default(),
        named_unit: None,
        ddi_name: None,
        contact: None,
        transferred_from: None,
        other_party_name: None,
        tags: BTreeSet::new(),
        fields: Default::default(),
        source: Source::Mirror,
        started: Timestamp::from_millis(1_000),
    }
}

/// The end of a leg of which nothing was counted.
pub(crate) fn over(facts: LegFacts) -> LegEnd {
    LegEnd {
        facts,
        macs: [None; 2],
        tracks: Vec::new(),
        holds: Vec::new(),
        absences: Vec::new(),
        foreign_packets: 0,
        shares_media: false,
        not_held_packets: 0,
        outside_packets: 0,
    }
}

/// The facts of a leg between two numbers, as the tracker tells them of a real INVITE.
pub(crate) fn facts(caller: &str, callee: &str) -> LegFacts {
    let legs = legs(&[(caller, callee)]);
    let [facts] = legs.try_into().expect("an INVITE begins a leg");
    assert_eq!(facts.call, CallId::new(Timestamp::from_millis(1_000), &[b"1", b"a1"]));
    facts
}

/// The same of several calls at once, told by one tracker.
pub(crate) fn legs(numbers: &[(&str, &str)]) -> Vec<LegFacts> {
    let between = |&(caller, callee)| ([20, 10], caller, callee);
    legs_between(&numbers.iter().map(between).collect::<Vec<_>>())
}

/// The same between these hosts of 192.0.2.0/24: what goes into a host and comes out of it with the same numbers is one call.
pub(crate) fn legs_between(calls: &[([u8; 2], &str, &str)]) -> Vec<LegFacts> {
    let mut tracker = Tracker::new();
    let mut legs = Vec::new();
    for (([from, to], caller, callee), n) in calls.iter().zip(1..) {
        let message = format!(
            "INVITE sip:{callee}@192.0.2.10 SIP/2.0\r\nFrom: <sip:{caller}@192.0.2.10>;tag=a{n}\r\n\
             To: <sip:{callee}@192.0.2.10>\r\nCall-ID: {n}\r\nCSeq: 1 INVITE\r\n\r\n"
        );
        let udp_len = (8 + message.len()) as u16;
        let mut packet =
            vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, *from, 192, 0, 2, *to, 19, 196, 19, 196];
        packet[2..4].copy_from_slice(&(20 + udp_len).to_be_bytes());
        packet.extend(udp_len.to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(message.as_bytes());
        let at = Timestamp::from_millis(1_000);
        let wire_len = packet.len() as u32;
        tracker.handle_frame(&Frame { at, link: 101, source: 0, wire_len, data: &packet });
        while let Some(event) = tracker.poll_event() {
            if let Event::LegStarted(facts) = event {
                legs.push(facts.clone());
            }
        }
    }
    legs
}
