//! Calls that ran before the capture began: what they said before their first message, and what must not be taken for it.

use super::*;
use crate::tracker::{HELD_AGE_MS_MAX, HELD_BYTES_MAX, HELD_MS_MAX};

const P: ([u8; 4], u16) = (PHONE, 4000);
const X: ([u8; 4], u16) = (PBX, 4000);

impl Wire {
    /// A re-INVITE of the phone's, and its answer.
    fn reinvite(&mut self, id: &str, cseq: &str) {
        self.udp(A, B, &message(INVITE, id, cseq, "a", "b", &sdp(PHONE, 4000, "")));
        self.udp(B, A, &message("SIP/2.0 200 OK", id, cseq, "a", "b", &sdp(PBX, 4000, "")));
    }

    /// Both directions for so many packets of 20 ms.
    fn speak(&mut self, sequences: std::ops::Range<u16>) {
        for sequence in sequences {
            self.now_ms += 20;
            let timestamp = u32::from(sequence) * 160;
            let payload: Vec<u8> = (0..160).map(|n| 0x55 ^ (n % 7)).collect();
            self.udp(P, X, &rtp(0, 7, sequence, timestamp, &payload));
            self.udp(X, P, &rtp(0, 8, sequence, timestamp, &payload));
        }
    }
}

#[test]
fn minutes_before_the_first_message_are_in_the_call_from_its_first_packet_on() {
    let mut wire = Wire::new();
    wire.speak(0..6_000);
    assert_eq!(wire.audio.len(), 0);
    wire.reinvite("1", "5 INVITE");
    wire.speak(6_000..6_100);
    wire.bye("1");
    wire.finish();
    assert_eq!(wire.heard, ["1 started", "1 audio", "1 ended Bye { by: Callee }"]);
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(1, Side::Callee)), (6_100, 6_100));
    let end = &wire.ends[0];
    assert_eq!(end.facts.first_audio, Some(Timestamp::from_millis(1_020)));
    assert_eq!((end.facts.answered, end.facts.early_media), (end.facts.first_audio, false));
    assert!(end.tracks.iter().all(|track| (track.audio_ms, track.lost_network) == (122_000, 0)));
    assert_eq!((end.not_held_packets, wire.tracker.core.media.held_bytes()), (0, 0));
    // Both directions lie in the order in which they came, not one behind the other.
    assert!(wire.audio.chunks(2).all(|pair| pair[0].3 == pair[1].3 && pair[0].1 != pair[1].1));
}

#[test]
fn an_update_with_a_description_joins_a_call_as_a_reinvite_does() {
    let mut wire = Wire::new();
    wire.speak(0..500);
    let update = |body: &str| message("UPDATE sip:2001@192.0.2.10 SIP/2.0", "1", "5 UPDATE", "a", "b", body);
    wire.udp(A, B, &update(""));
    assert_eq!(wire.told("started"), 0);
    wire.udp(A, B, &update(&sdp(PHONE, 4000, "")));
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "5 UPDATE", "a", "b", &sdp(PBX, 4000, "")));
    wire.speak(500..600);
    wire.bye("1");
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(1, Side::Callee)), (600, 600));
    assert!(wire.ends[0].facts.joined_late);
}

#[test]
fn what_is_older_than_is_held_is_counted_with_the_call() {
    let mut wire = Wire::new();
    let too_early = 2_000_u16;
    let held = (HELD_MS_MAX / 20) as u16;
    wire.speak(0..held + too_early);
    wire.reinvite("1", "5 INVITE");
    wire.bye("1");
    wire.finish();
    let end = &wire.ends[0];
    let kept = wire.audio.len() as u64;
    assert_eq!(kept + end.not_held_packets, 2 * u64::from(held + too_early));
    // Given up in blocks of some 20 packets.
    assert!((2 * u64::from(held)..2 * u64::from(held) + 60).contains(&kept), "{kept}");
    assert_eq!(wire.told("unannounced"), 0);
    assert_eq!(wire.tracker.counts().rtp_packets, 2 * u64::from(held + too_early));
}

#[test]
fn a_call_whose_invite_was_seen_takes_nothing_from_before_it() {
    let mut wire = Wire::new();
    wire.speak(0..500);
    wire.now_ms += 1_500;
    wire.answered_call("1", 4000);
    wire.speak(700..750);
    wire.bye("1");
    wire.finish();
    assert_eq!(wire.audio.len(), 100, "{:?}", wire.heard);
    assert_eq!((wire.told("unannounced 500"), wire.ends[0].not_held_packets), (2, 0));
}

#[test]
fn a_move_to_the_ports_of_an_unknown_call_takes_its_last_two_seconds_at_most() {
    let mut wire = Wire::new();
    wire.answered_call("1", 6000);
    wire.wait(20_000);
    wire.speak(0..500);
    wire.reinvite("1", "2 INVITE");
    wire.bye("1");
    wire.finish();
    assert!(wire.audio.len() <= 2 * 100 + 2, "{}", wire.audio.len());
    assert_eq!(wire.told("unannounced 400") + wire.told("unannounced 399"), 2, "{:?}", wire.heard);
}

#[test]
fn another_source_after_a_silence_is_another_call() {
    let mut wire = Wire::new();
    wire.rtp(P, X, 3, 0..200);
    wire.wait(3_000);
    wire.rtp(P, X, 7, 0..200);
    wire.reinvite("1", "5 INVITE");
    wire.finish();
    assert_eq!((wire.audio.len(), wire.told("unannounced 200")), (200, 1));
    assert!(wire.audio.iter().all(|&(.., ssrc, _)| ssrc == 7));
}

#[test]
fn an_old_flow_is_not_held_for_ever() {
    let mut wire = Wire::new();
    for minute in 0..(HELD_AGE_MS_MAX / 50_000) as u16 {
        wire.rtp(P, X, 7, minute * 100..minute * 100 + 100);
        wire.now_ms += 25_000;
        wire.rtp(P, X, 7, minute * 100 + 100..minute * 100 + 101);
        wire.now_ms += 25_000;
    }
    wire.rtp(P, X, 7, 4_000..4_500);
    let held = wire.tracker.core.media.held_bytes();
    assert!((1..=8 * 1024).contains(&held), "{held}");
}

#[test]
fn all_that_is_held_has_a_bound_and_the_latest_stays() {
    let mut wire = Wire::new();
    let payload = [0xd5; 1_400];
    let mut most = 0;
    // 100 flows of 2,800 bytes every 20 ms: the bound is reached after 19 s.
    for sequence in 0..2_400_u16 {
        wire.now_ms += 20;
        for n in 0..100_u8 {
            let [from, to] = [PHONE, PBX].map(|ip| (ip, 4_000 + 2 * u16::from(n)));
            let timestamp = u32::from(sequence) * 160;
            wire.udp(from, to, &rtp(0, u32::from(n) + 1, sequence, timestamp, &payload));
        }
        most = most.max(wire.tracker.core.media.held_bytes());
    }
    assert!((HELD_BYTES_MAX / 8 * 7..=HELD_BYTES_MAX).contains(&most), "{most}");
    wire.reinvite("1", "5 INVITE");
    let sequences: Vec<u16> = wire.audio.iter().map(|&(.., sequence)| sequence).collect();
    assert_eq!(sequences.last(), Some(&2_399));
    assert!(sequences.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    assert!(sequences.len() > 1_500, "{}", sequences.len());
}

/// Both directions between a phone's port and the PBX's for so many packets.
fn both(wire: &mut Wire, port: u16, sequences: std::ops::Range<u16>) {
    for sequence in sequences {
        wire.now_ms += 20;
        let timestamp = u32::from(sequence) * 160;
        wire.udp((PHONE, port), (PBX, port), &rtp(0, u32::from(port), sequence, timestamp, &[0xd5; 160]));
        wire.udp((PBX, port), (PHONE, port), &rtp(0, u32::from(port) + 1, sequence, timestamp, &[0xd5; 160]));
    }
}

#[test]
fn a_call_of_which_only_the_bye_is_seen_has_the_audio_that_stopped_with_it() {
    for from_phone in [false, true] {
        let mut wire = Wire::new();
        both(&mut wire, 4000, 0..400);
        if from_phone {
            wire.udp(A, B, &message("BYE sip:2001@192.0.2.10 SIP/2.0", "1", "2 BYE", "a", "b", ""));
        } else {
            wire.bye("1");
        }
        // One direction goes on until the answer is there.
        wire.rtp((PBX, 4000), (PHONE, 4000), 4001, 400..405);
        wire.wait(40_000);
        assert_eq!((wire.told("started"), wire.told("unannounced"), wire.audio.len()), (1, 0, 805));
        let end = &wire.ends[0];
        assert!(end.facts.known_by_end && end.facts.joined_late && !end.facts.caller_known);
        assert_eq!(end.facts.ending, Ending::Bye { by: Side::Caller });
        // The BYE's sender stands as the caller, and speaks for itself.
        let phone = if from_phone { Side::Caller } else { Side::Callee };
        assert_eq!((wire.packets_of(1, phone), wire.packets_of(1, phone.other())), (400, 405));
    }
}

#[test]
fn at_the_end_of_the_input_audio_must_have_stopped_too() {
    for (silent_ms, calls) in [(40, 0), (200, 1)] {
        let mut wire = Wire::new();
        both(&mut wire, 4000, 0..400);
        wire.bye("1");
        wire.now_ms += silent_ms;
        wire.udp((STRANGER, 9), (STRANGER, 9), b"tick");
        wire.finish();
        assert_eq!((wire.told("started"), wire.told("unannounced")), (calls, 2 - 2 * calls));
    }
}

#[test]
fn a_bye_alone_gets_no_audio_that_may_be_anothers() {
    let unannounced = |make: fn(&mut Wire)| {
        let mut wire = Wire::new();
        both(&mut wire, 4000, 0..400);
        make(&mut wire);
        wire.wait(40_000);
        assert_eq!((wire.told("started"), wire.audio.len()), (0, 0), "{:?}", wire.heard);
        wire.told("unannounced")
    };
    // It goes on, in one direction at least.
    let goes_on = |wire: &mut Wire| {
        wire.bye("1");
        wire.rtp((PBX, 4000), (PHONE, 4000), 4001, 400..480);
    };
    assert_eq!(unannounced(goes_on), 2);
    // It had stopped before.
    let before = |wire: &mut Wire| {
        wire.wait(1_500);
        wire.bye("1");
    };
    assert_eq!(unannounced(before), 2);
    // Another stopped too.
    let another = |wire: &mut Wire| {
        for sequence in 400..500 {
            both(wire, 4000, sequence..sequence + 1);
            both(wire, 4002, sequence..sequence + 1);
        }
        wire.bye("1");
    };
    assert_eq!(unannounced(another), 4);
    // Another call ended too.
    let two = |wire: &mut Wire| {
        wire.bye("1");
        wire.bye("2");
    };
    assert_eq!(unannounced(two), 2);
    // Between other hosts.
    let elsewhere = |wire: &mut Wire| {
        let bye = message("BYE sip:2001@192.0.2.10 SIP/2.0", "1", "2 BYE", "a", "b", "");
        wire.udp(([192, 0, 2, 30], 5060), ([192, 0, 2, 31], 5060), &bye);
    };
    assert_eq!(unannounced(elsewhere), 2);
    // Not within a dialog.
    let without_tag = |wire: &mut Wire| {
        wire.udp(A, B, &message("BYE sip:2001@192.0.2.10 SIP/2.0", "1", "2 BYE", "a", "", ""));
    };
    assert_eq!(unannounced(without_tag), 2);
}

#[test]
fn a_bye_that_is_sent_again_after_its_call_is_over_begins_none() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    both(&mut wire, 4000, 0..100);
    wire.bye("1");
    wire.wait(5_000);
    both(&mut wire, 4002, 0..100);
    wire.bye("1");
    wire.wait(40_000);
    assert_eq!((wire.told("started"), wire.told("unannounced 100")), (1, 2), "{:?}", wire.heard);
}

/// Both directions between two places for so many packets.
fn between(
    wire: &mut Wire,
    one: ([u8; 4], u16),
    other: ([u8; 4], u16),
    ssrc: u32,
    packets: std::ops::Range<u16>,
) {
    for sequence in packets {
        wire.now_ms += 20;
        let timestamp = u32::from(sequence) * 160;
        wire.udp(one, other, &rtp(0, ssrc, sequence, timestamp, &[0xd5; 160]));
        wire.udp(other, one, &rtp(0, ssrc + 1, sequence, timestamp, &[0xd5; 160]));
    }
}

#[test]
fn an_earlier_call_on_the_same_port_is_not_the_call_that_is_joined() {
    let mut wire = Wire::new();
    between(&mut wire, P, ([192, 0, 2, 77], 7_000), 21, 0..1_000);
    wire.now_ms += 20_000;
    wire.speak(0..250);
    wire.reinvite("1", "5 INVITE");
    wire.speak(250..500);
    wire.bye("1");
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(1, Side::Callee)), (500, 500));
    assert!(wire.audio.iter().all(|&(.., ssrc, _)| [7, 8].contains(&ssrc)));
    assert_eq!((wire.told("unannounced 1000"), wire.ends[0].not_held_packets), (2, 0), "{:?}", wire.heard);
    assert_eq!(wire.tracker.counts().rtp_packets, 3_000);
}

#[test]
fn what_stopped_a_while_before_the_first_message_is_the_calls_when_both_its_ends_are() {
    let mut wire = Wire::new();
    wire.speak(0..250);
    wire.now_ms += 20_000;
    wire.reinvite("1", "5 INVITE");
    wire.bye("1");
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(1, Side::Callee)), (250, 250));
    assert_eq!(wire.told("unannounced"), 0);
}

#[test]
fn a_bye_alone_takes_no_other_call_of_the_same_port() {
    let mut wire = Wire::new();
    between(&mut wire, P, ([192, 0, 2, 77], 7_000), 21, 0..1_000);
    wire.now_ms += 5_000;
    wire.speak(0..500);
    wire.bye("1");
    wire.wait(40_000);
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(1, Side::Callee)), (500, 500));
    assert!(wire.audio.iter().all(|&(.., ssrc, _)| [7, 8].contains(&ssrc)));
    assert_eq!((wire.told("unannounced 1000"), wire.ends[0].not_held_packets), (2, 0), "{:?}", wire.heard);
}

#[test]
fn what_strangers_sent_to_a_relays_port_is_neither_the_calls_nor_missing_in_it() {
    let mut wire = Wire::new();
    let (older, packets) = ((HELD_MS_MAX / 20) as u16 + 2_000, 500_u16);
    for sequence in 0..older + packets {
        for stranger in [31, 32] {
            let timestamp = u32::from(sequence) * 160;
            let from = ([192, 0, 2, stranger], 6_000);
            wire.udp(from, X, &rtp(0, stranger.into(), sequence, timestamp, &[0xd5; 160]));
        }
        match sequence.checked_sub(older) {
            None => wire.now_ms += 20,
            Some(own) => wire.speak(own..own + 1),
        }
    }
    wire.reinvite("1", "5 INVITE");
    wire.bye("1");
    wire.finish();
    let end = &wire.ends[0];
    let own = |ssrc| wire.audio.iter().filter(|&&(.., other, _)| other == ssrc).count();
    assert_eq!((own(7), own(8), wire.audio.len(), end.not_held_packets), (500, 500, 1_000, 0));
    let told: Vec<&String> = wire.heard.iter().filter(|line| line.contains("unannounced")).collect();
    let expected = format!("unannounced {}", older + packets - 100);
    assert!(told.len() == 2 && told.iter().all(|&line| *line == expected), "{told:?}, {expected}");
}

#[test]
fn without_an_answer_what_runs_at_a_place_gives_its_last_two_seconds() {
    let reinvite = message(INVITE, "1", "5 INVITE", "a", "b", &sdp(PHONE, 4000, ""));
    // The call goes on, ends at once, or stops sending.
    for (more, ends) in [(250, true), (0, true), (0, false)] {
        let mut wire = Wire::new();
        wire.speak(0..500);
        wire.udp(A, B, &reinvite);
        wire.speak(500..500 + more);
        if ends {
            wire.bye("1");
        }
        wire.wait(35_000);
        wire.finish();
        let taken = wire.packets_of(1, Side::Caller);
        assert!((100..=101).contains(&(taken - usize::from(more))), "{taken} {more} {ends}");
        let before = 500 + usize::from(more) - taken;
        assert_eq!(wire.told(&format!("unannounced {before}")), 2, "{:?}", wire.heard);
        assert_eq!((wire.told("unannounced"), wire.ends[0].not_held_packets), (2, 0));
    }
}

#[test]
fn an_offer_that_is_seen_at_two_hops_waits_for_its_answer() {
    let mut wire = Wire::new();
    wire.speak(0..500);
    wire.udp(A, B, &message(INVITE, "1", "5 INVITE", "a", "b", &sdp(PHONE, 4000, "")));
    wire.udp(B, C, &message(INVITE, "1", "5 INVITE", "a", "b", &sdp(PHONE, 4000, "")));
    wire.speak(500..510);
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "5 INVITE", "a", "b", &sdp(PBX, 4000, "")));
    wire.speak(510..600);
    wire.bye("1");
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(1, Side::Callee)), (600, 600));
    assert_eq!(wire.told("unannounced"), 0, "{:?}", wire.heard);
}
