//! What sources do in the middle of a call: wraps, jumps, restarts, and other sources on the same or another flow.

use super::*;

const P: ([u8; 4], u16) = (PHONE, 4000);
const X: ([u8; 4], u16) = (PBX, 4000);

impl Wire {
    /// The phone's packets of 20 ms with numbers of their own.
    fn phone(&mut self, ssrc: u32, first: (u16, u32), count: u16) {
        for n in 0..count {
            self.now_ms += 20;
            let (sequence, timestamp) = (first.0.wrapping_add(n), first.1.wrapping_add(u32::from(n) * 160));
            self.udp(P, X, &rtp(0, ssrc, sequence, timestamp, &[0xd5; 160]));
        }
    }

    fn ended(mut self) -> LegEnd {
        self.bye("1");
        self.wait(2_000);
        assert_eq!((self.ends.len(), self.told("unannounced")), (1, 0), "{:?}", self.heard);
        self.ends.remove(0)
    }
}

/// Packets, lost packets, milliseconds of audio.
fn track(end: &LegEnd) -> (u64, u64, u64) {
    let track = end.tracks.iter().find(|track| track.side == Side::Caller).expect("the phone's");
    (track.packets, track.lost_network, track.audio_ms)
}

#[test]
fn a_wrap_of_sequence_and_timestamp_loses_nothing() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.phone(7, (65_500, u32::MAX - 50 * 160), 100);
    assert_eq!(track(&wire.ended()), (100, 0, 2_000));
}

#[test]
fn the_same_source_that_numbers_anew_loses_nothing() {
    for restart in [(0, 0), (40_000, 0), (0, 3_000_000_000), (40_000, 3_000_000_000)] {
        let mut wire = Wire::new();
        wire.answered_call("1", 4000);
        wire.phone(7, (20_000, 1_000_000), 50);
        wire.phone(7, restart, 50);
        assert_eq!(track(&wire.ended()), (100, 0, 2_000), "{restart:?}");
    }
}

#[test]
fn a_relay_that_rewrites_the_source_keeps_its_side() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.phone(7, (100, 0), 50);
    wire.phone(70, (60_000, 500), 50);
    wire.phone(7, (150, 100 * 160), 50);
    let end = wire.ended();
    assert_eq!((track(&end), end.foreign_packets), ((150, 0, 3_000), 0));
    assert_eq!(end.tracks[0].ssrcs, [7, 70]);
}

#[test]
fn after_a_hold_the_source_may_begin_anew() {
    for (ssrc, first) in [(7, (0, 0)), (70, (500, 9)), (7, (150, 50 * 160))] {
        let mut wire = Wire::new();
        wire.answered_call("1", 4000);
        wire.phone(7, (100, 0), 50);
        wire.udp(A, B, &message(INVITE, "1", "2 INVITE", "a", "b", &sdp(PHONE, 4000, "a=sendonly\r\n")));
        wire.udp(
            B,
            A,
            &message("SIP/2.0 200 OK", "1", "2 INVITE", "a", "b", &sdp(PBX, 4000, "a=recvonly\r\n")),
        );
        wire.wait(20_000);
        wire.udp(A, B, &message(INVITE, "1", "3 INVITE", "a", "b", &sdp(PHONE, 4000, "a=sendrecv\r\n")));
        wire.udp(
            B,
            A,
            &message("SIP/2.0 200 OK", "1", "3 INVITE", "a", "b", &sdp(PBX, 4000, "a=sendrecv\r\n")),
        );
        wire.phone(ssrc, first, 50);
        let end = wire.ended();
        assert_eq!((track(&end).0, track(&end).1, end.foreign_packets), (100, 0, 0), "{ssrc} {first:?}");
    }
}

#[test]
fn a_transfer_may_change_address_and_source_at_once_and_the_old_ones_last_packets_count() {
    let mut wire = Wire::new();
    let other: ([u8; 4], u16) = ([198, 51, 100, 9], 7_000);
    wire.answered_call("1", 4000);
    wire.rtp(X, P, 8, 0..50);
    let invite = "INVITE sip:2000@192.0.2.20 SIP/2.0";
    wire.udp(B, A, &message(invite, "1", "5 INVITE", "b", "a", &sdp(other.0, other.1, "")));
    wire.rtp(X, P, 8, 50..52);
    wire.rtp(other, P, 28, 9_000..9_050);
    wire.udp(A, B, &message("SIP/2.0 200 OK", "1", "5 INVITE", "b", "a", &sdp(PHONE, 4000, "")));
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Callee), wire.ends[0].foreign_packets), (102, 0));
}

#[test]
fn where_only_one_side_was_described_symmetric_ports_tell_the_other() {
    let mut wire = Wire::new();
    let far: ([u8; 4], u16) = ([198, 51, 100, 9], 7_000);
    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, "")));
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", ""));
    for sequence in 0..100 {
        wire.rtp(P, far, 7, sequence..sequence + 1);
        wire.udp(far, P, &rtp(0, 8, sequence, u32::from(sequence) * 160, &[0; 160]));
    }
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(1, Side::Callee)), (100, 100));
    assert_eq!(wire.ends[0].foreign_packets, 0);
}

#[test]
fn audio_that_overtakes_the_answer_by_more_than_a_second_is_still_the_calls() {
    let mut wire = Wire::new();
    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, "")));
    wire.rtp(X, P, 8, 0..100);
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &sdp(PBX, 4000, "")));
    wire.rtp(X, P, 8, 100..150);
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Callee), wire.ends[0].foreign_packets), (150, 0));
    assert!(wire.ends[0].facts.early_media);
}

const RELAY: [u8; 4] = [192, 0, 2, 5];

/// What a relay passes on between two places that no message names.
fn relayed(wire: &mut Wire, sequence: u16, payload: &[u8]) {
    let packet = rtp(0, 7, sequence, u32::from(sequence) * 160, payload);
    wire.udp((RELAY, 30_000), ([192, 0, 2, 99], 5_000), &packet);
}

fn spoken(sequence: u16) -> Vec<u8> {
    (0..160).map(|n| (sequence as u8).wrapping_mul(31).wrapping_add(n)).collect()
}

#[test]
fn the_other_side_of_a_relay_is_a_copy_and_no_unannounced_flow() {
    // Behind the call's packets and before them, with losses on either way.
    for ahead in [false, true] {
        let mut wire = Wire::new();
        wire.answered_call("1", 4000);
        for sequence in 0..500 {
            wire.now_ms += 20;
            let packet = rtp(0, 7, sequence, u32::from(sequence) * 160, &spoken(sequence));
            if ahead && sequence % 29 != 0 {
                relayed(&mut wire, sequence, &spoken(sequence));
            }
            if sequence % 31 != 0 {
                wire.udp((PHONE, 4000), (PBX, 4000), &packet);
            }
            if !ahead && sequence % 29 != 0 {
                relayed(&mut wire, sequence, &spoken(sequence));
            }
        }
        wire.bye("1");
        wire.wait(60_000);
        assert_eq!(
            (wire.told("copied 482 of 1 Caller"), wire.told("unannounced")),
            (1, 0),
            "{:?}",
            wire.heard
        );
        let counts = wire.tracker.counts();
        assert_eq!((counts.copied_rtp, counts.unannounced_rtp), (1, 0));
    }
}

#[test]
fn what_only_looks_like_a_copy_is_an_unannounced_flow() {
    // Other words under the same numbers; the same source elsewhere for one half of the time; the numbers alone shifted.
    type Elsewhere = fn(u16) -> (u16, Vec<u8>);
    let cases: [Elsewhere; 3] = [
        |n| (n, spoken(n.wrapping_add(7))),
        |n| (n, spoken(if n < 250 { n } else { n + 1 })),
        |n| (n + 1_000, spoken(n)),
    ];
    for (case, other) in cases.iter().enumerate() {
        let mut wire = Wire::new();
        wire.answered_call("1", 4000);
        for sequence in 0..500 {
            wire.now_ms += 20;
            let packet = rtp(0, 7, sequence, u32::from(sequence) * 160, &spoken(sequence));
            wire.udp((PHONE, 4000), (PBX, 4000), &packet);
            let (sequence, payload) = other(sequence);
            relayed(&mut wire, sequence, &payload);
        }
        wire.bye("1");
        wire.wait(60_000);
        assert_eq!((wire.told("copied"), wire.told("unannounced 500")), (0, 1), "{case}: {:?}", wire.heard);
    }
}

#[test]
fn what_the_next_call_takes_of_a_flow_makes_the_rest_of_it_no_copy() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    // 95 of 200 packets are the call's; the last 100 go to the call that announces the place.
    for sequence in 0..200 {
        wire.now_ms += 20;
        let packet = rtp(0, 7, sequence, u32::from(sequence) * 160, &spoken(sequence));
        wire.udp((PHONE, 4000), (PBX, 4000), &packet);
        relayed(&mut wire, sequence, &spoken(if sequence < 95 { sequence } else { sequence + 1 }));
    }
    wire.udp(A, B, &message(INVITE, "1", "2 INVITE", "a", "b", &sdp(RELAY, 30_000, "")));
    wire.finish();
    assert_eq!((wire.told("copied"), wire.told("unannounced")), (0, 1), "{:?}", wire.heard);
}

#[test]
fn a_copy_that_goes_on_without_the_call_is_an_unannounced_flow() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    for sequence in 0..1_000 {
        wire.now_ms += 20;
        if sequence < 500 {
            let packet = rtp(0, 7, sequence, u32::from(sequence) * 160, &spoken(sequence));
            wire.udp((PHONE, 4000), (PBX, 4000), &packet);
        }
        if sequence == 500 {
            wire.bye("1");
        }
        relayed(&mut wire, sequence, &spoken(sequence));
    }
    wire.wait(60_000);
    assert_eq!((wire.told("copied"), wire.told("unannounced 1000")), (0, 1), "{:?}", wire.heard);
}

#[test]
fn two_calls_at_once_with_the_same_places_are_told() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.answered_call("2", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..50);
    wire.rtp((PBX, 4000), (PHONE, 4000), 8, 0..50);
    wire.bye("1");
    wire.bye("2");
    wire.finish();
    assert_eq!(wire.told("odd: two calls at once announce the same places"), 1, "{:?}", wire.heard);
    assert_eq!(wire.ends.iter().map(|end| end.shares_media).collect::<Vec<_>>(), [true, true]);
    // One call of two legs shares its places rightly; so does the next call on the same ports.
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..50);
    wire.bye("1");
    wire.answered_call("2", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 9, 0..50);
    wire.finish();
    assert_eq!(wire.told("two calls at once"), 0, "{:?}", wire.heard);
    assert!(wire.ends.iter().all(|end| !end.shares_media));
}

#[test]
fn a_sender_report_that_is_seen_twice_is_told_once() {
    let report = |time: u32| {
        let words = [7u32, time, 2, 3, 4, 5].map(u32::to_be_bytes).concat();
        [&[0x80, 200, 0, 6][..], &words].concat()
    };
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..50);
    for time in [1, 1, 2, 2, 1] {
        wire.udp((PHONE, 4001), (PBX, 4001), &report(time));
    }
    wire.finish();
    assert_eq!(wire.told("report"), 2);
}
