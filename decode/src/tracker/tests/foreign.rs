//! Sprays at media ports, phones behind NAT, and what a party may do without being taken for a stranger.

use super::*;

/// Where nothing of the site is.
const PUBLIC: [u8; 4] = [203, 0, 113, 7];
const PRIVATE: [u8; 4] = [10, 0, 0, 5];

impl Wire {
    /// For each packet of the phone, one from each of these senders, numbered alike.
    fn sprayed(&mut self, senders: &[([u8; 4], u16, u32, u16)], sequences: std::ops::Range<u16>) {
        for sequence in sequences {
            self.rtp((PHONE, 4000), (PBX, 4000), 7, sequence..sequence + 1);
            for &(host, port, ssrc, offset) in senders {
                let sequence = sequence.wrapping_add(offset);
                self.udp(
                    (host, port),
                    (PBX, 4000),
                    &rtp(0, ssrc, sequence, u32::from(sequence) * 160, &[0; 160]),
                );
            }
        }
    }

    /// The phone's description names a private address.
    fn call_behind_nat(&mut self) {
        self.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", &sdp(PRIVATE, 4000, "")));
        self.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &sdp(PBX, 4000, "")));
    }

    fn ssrcs(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self.audio.iter().map(|&(.., ssrc, _)| ssrc).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

#[test]
fn a_spray_from_many_addresses_before_the_party_speaks_is_not_mixed_in() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    for sequence in 0..15 {
        for host in 1..=60 {
            wire.udp(([203, 0, 113, host], 9), (PBX, 4000), &rtp(0, 600, sequence, 0, &[0; 160]));
        }
        wire.now_ms += 20;
    }
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..50);
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.ssrcs()), (50, vec![7]));
    assert_eq!(wire.ends[0].foreign_packets, 60 * 15);
}

#[test]
fn sprays_during_the_call_are_kept_out_whatever_they_imitate() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.sprayed(
        &[
            (STRANGER, 7777, 66, 0),
            // The party's own source, far from its sequence, and just ahead of it.
            (STRANGER, 7778, 7, 20_000),
            (STRANGER, 7779, 7, 1),
            // The party's machine from another port; the other party's machine.
            (PHONE, 4998, 67, 0),
            (PBX, 4998, 68, 0),
        ],
        0..200,
    );
    // The other ports of the call: RTCP, and the phone's side.
    for sequence in 0..50 {
        for to in [(PBX, 4001), (PHONE, 4001), (PHONE, 4000)] {
            wire.udp((STRANGER, 7780), to, &rtp(0, 69, sequence, 0, &[0; 160]));
        }
        wire.rtp((PBX, 4000), (PHONE, 4000), 8, sequence..sequence + 1);
    }
    wire.bye("1");
    wire.wait(2_000);
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(1, Side::Callee)), (200, 50));
    assert_eq!(wire.ssrcs(), [7, 8]);
    assert_eq!(wire.ends[0].foreign_packets, 5 * 200 + 3 * 50);
    assert_eq!((wire.told("foreign 200, taken 0"), wire.told("foreign 50, taken 0")), (5, 3));
}

#[test]
fn who_was_taken_for_the_party_is_put_out_when_the_party_speaks_and_what_it_gave_is_told() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.rtp((STRANGER, 7777), (PBX, 4000), 66, 0..100);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..50);
    wire.rtp((STRANGER, 7777), (PBX, 4000), 66, 100..150);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 50..100);
    wire.finish();
    let of = |ssrc| wire.audio.iter().filter(|&&(.., s, _)| s == ssrc).count();
    assert_eq!((of(66), of(7)), (100, 100));
    assert_eq!((wire.told("until the party spoke"), wire.told("foreign 50, taken 100")), (1, 1));
}

#[test]
fn a_stranger_does_not_follow_a_party_that_is_silent() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..50);
    wire.rtp((STRANGER, 7777), (PBX, 4000), 66, 0..3_000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 50..100);
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.ssrcs()), (100, vec![7]));
    assert_eq!(wire.ends[0].foreign_packets, 3_000);
}

#[test]
fn the_party_may_send_from_another_port_than_it_receives_at() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 5004), (PBX, 4000), 7, 0..50);
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.ends[0].foreign_packets), (50, 0));
}

#[test]
fn a_party_that_goes_on_from_another_port_is_heard_without_a_gap() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..50);
    // Another source: believed when the announced one has been silent for 2 s, and then from where it fell silent.
    wire.rtp((PHONE, 5004), (PBX, 4000), 77, 0..200);
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.ssrcs()), (250, vec![7, 77]));
}

#[test]
fn behind_nat_the_first_to_come_is_learnt_without_loss_and_locked() {
    let mut wire = Wire::new();
    wire.call_behind_nat();
    for sequence in 0..200 {
        wire.rtp((PUBLIC, 61_000), (PBX, 4000), 7, sequence..sequence + 1);
        if sequence > 30 {
            wire.udp((STRANGER, 7777), (PBX, 4000), &rtp(0, 66, sequence, 0, &[0; 160]));
        }
    }
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.ssrcs()), (200, vec![7]));
    assert_eq!(wire.ends[0].foreign_packets, 169);
}

#[test]
fn behind_nat_the_other_party_tells_by_answering_who_is_meant() {
    let mut wire = Wire::new();
    wire.call_behind_nat();
    for sequence in 0..100 {
        wire.udp((STRANGER, 7777), (PBX, 4000), &rtp(0, 66, sequence, 0, &[0; 160]));
        wire.rtp((PUBLIC, 61_000), (PBX, 4000), 7, sequence..sequence + 1);
        wire.udp((PBX, 4000), (PUBLIC, 61_000), &rtp(0, 8, sequence, u32::from(sequence) * 160, &[0; 160]));
    }
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(1, Side::Callee)), (100, 100));
    assert_eq!(wire.ssrcs(), [7, 8]);
}

#[test]
fn a_new_address_behind_nat_is_taken_for_the_same_source_that_goes_on_and_for_nobody_else() {
    let mut wire = Wire::new();
    wire.call_behind_nat();
    wire.rtp((PUBLIC, 61_000), (PBX, 4000), 7, 0..100);
    for sequence in 100..200 {
        // The rebound flow, and at the same time a stranger with another source.
        wire.rtp((PUBLIC, 61_999), (PBX, 4000), 7, sequence..sequence + 1);
        wire.udp((STRANGER, 7777), (PBX, 4000), &rtp(0, 66, sequence, 0, &[0; 160]));
    }
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.ssrcs()), (200, vec![7]));
    assert_eq!(wire.ends[0].foreign_packets, 100);
}

#[test]
fn a_learnt_source_that_is_gone_makes_room_for_another_after_a_while() {
    let mut wire = Wire::new();
    wire.call_behind_nat();
    wire.rtp((PUBLIC, 61_000), (PBX, 4000), 7, 0..100);
    wire.rtp((STRANGER, 7777), (PBX, 4000), 66, 0..500);
    wire.finish();
    let kept = wire.audio.iter().filter(|&&(.., ssrc, _)| ssrc == 66).count();
    // After 5 s, with the 2 s before them that were held.
    assert!((250..400).contains(&kept), "{kept}");
    assert_eq!(wire.ends[0].foreign_packets, 500 - kept as u64);
}

#[test]
fn a_party_that_must_be_learnt_is_not_shut_out_by_a_spray_from_many_addresses() {
    let mut wire = Wire::new();
    wire.call_behind_nat();
    for n in 0..200 {
        for host in [1, 101] {
            wire.udp(
                ([203, 0, 113, host + (n % 100) as u8], 9 + n),
                (PBX, 4000),
                &rtp(0, 600, n, 0, &[0; 160]),
            );
        }
        if n >= 50 {
            wire.rtp((PUBLIC, 61_000), (PBX, 4000), 7, n..n + 1);
        } else {
            wire.now_ms += 20;
        }
    }
    wire.finish();
    assert_eq!(wire.ssrcs(), [7]);
    // It waits until one of those before it has been silent for long enough.
    assert!(wire.packets_of(1, Side::Caller) >= 140, "{}", wire.packets_of(1, Side::Caller));
}

#[test]
fn the_shortest_stream_of_an_unknown_sender_is_kept_when_nobody_else_spoke() {
    let mut wire = Wire::new();
    wire.call_behind_nat();
    wire.rtp((PUBLIC, 61_000), (PBX, 4000), 7, 0..5);
    wire.bye("1");
    wire.wait(2_000);
    assert_eq!((wire.packets_of(1, Side::Caller), wire.ends[0].foreign_packets), (5, 0));
}

#[test]
fn the_same_packets_on_both_sides_of_a_nat_are_one_stream() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.sprayed(&[(PUBLIC, 61_000, 7, 0)], 0..100);
    wire.finish();
    let track = &wire.ends[0].tracks[0];
    assert_eq!((track.packets, track.duplicates, wire.ends[0].foreign_packets), (100, 100, 0));
}

#[test]
fn rtcp_and_dtls_of_a_stranger_change_nothing() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..50);
    let mut report = vec![0x80, 200, 0, 6];
    report.extend([0; 24]);
    wire.udp((STRANGER, 4001), (PBX, 4001), &report);
    let mut hello = vec![22, 254, 253];
    hello.extend([0; 40]);
    wire.udp((STRANGER, 7777), (PBX, 4000), &hello);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 50..100);
    wire.finish();
    assert_eq!((wire.told("report"), wire.packets_of(1, Side::Caller)), (0, 100));
    assert!(!wire.ends[0].facts.encrypted);
}

#[test]
fn a_flood_of_senders_is_bounded_and_counted() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    for n in 0..20_000_u32 {
        let [_, _, high, low] = n.to_be_bytes();
        wire.udp(([203, 0, high, low], 9), (PBX, 4000), &rtp(0, n, 1, 0, &[0; 160]));
        if n % 400 == 0 {
            wire.rtp((PHONE, 4000), (PBX, 4000), 7, (n / 400) as u16..(n / 400) as u16 + 1);
        }
    }
    assert!(wire.tracker.core.media.watched() <= 64, "{}", wire.tracker.core.media.watched());
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.ssrcs()), (50, vec![7]));
    assert_eq!(wire.ends[0].foreign_packets, 20_000);
}
