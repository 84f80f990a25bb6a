//! Encrypted media through the tracker: opened where the keys are known, counted and kept out where they are not.

use super::*;
use crate::srtp::session::tests::{seal, seal_control};
use crate::srtp::{Key, Parameters, Suite};

const SUITE: &str = "AES_CM_128_HMAC_SHA1_80";

fn secret(seed: u8) -> [u8; 30] {
    std::array::from_fn(|n| (n as u8).wrapping_mul(seed).wrapping_add(seed))
}

fn key(seed: u8) -> Key {
    let suite = Suite::from_name(SUITE.as_bytes()).expect("a suite");
    Key::new(suite, &secret(seed), None, Parameters::default()).expect("a key that fits")
}

/// A crypto line with that key.
fn crypto(tag: u32, seed: u8) -> String {
    const SYMBOLS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text: String = secret(seed)
        .chunks(3)
        .flat_map(|chunk| {
            let bits = u32::from_be_bytes([0, chunk[0], chunk[1], chunk[2]]);
            [18, 12, 6, 0].map(|shift| char::from(SYMBOLS[(bits >> shift) as usize % 64]))
        })
        .collect();
    format!("a=crypto:{tag} {SUITE} inline:{text}|2^31\r\n")
}

fn secure(address: [u8; 4], port: u16, more: &str) -> String {
    sdp(address, port, more).replace("RTP/AVP", "RTP/SAVP")
}

/// A payload that its sequence number names, with two bytes of padding.
fn payload(sequence: u16) -> Vec<u8> {
    (0..160u16).map(|n| 0x55 ^ (sequence.wrapping_add(n) % 7) as u8).collect()
}

fn padded(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = rtp(0, ssrc, sequence, u32::from(sequence) * 160, &payload(sequence));
    packet[0] |= 0x20;
    packet.extend([0, 2]);
    packet
}

impl Wire {
    fn offered(&mut self, offer: &str, answer: &str) {
        self.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", offer));
        self.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", answer));
        self.udp(A, B, &message("ACK sip:2001@192.0.2.10 SIP/2.0", "1", "1 ACK", "a", "b", ""));
    }

    /// The caller speaks under a key.
    fn caller_says(&mut self, key: &Key, roc: u32, sequences: impl IntoIterator<Item = u16>) {
        for sequence in sequences {
            self.now_ms += 20;
            self.udp((PHONE, 4000), (PBX, 4000), &seal(key, roc, &padded(7, sequence)));
        }
    }

    fn callee_says(&mut self, key: &Key, sequences: impl IntoIterator<Item = u16>) {
        for sequence in sequences {
            self.now_ms += 20;
            self.udp((PBX, 4000), (PHONE, 4000), &seal(key, 0, &padded(8, sequence)));
        }
    }

    fn counts_of(&self, side: Side) -> (u64, u64, u64, Option<NoKey>) {
        let track = self.ends[0].tracks.iter().find(|track| track.side == side).expect("a track");
        (track.packets, track.decrypted, track.undecryptable, track.no_key)
    }
}

#[test]
fn each_side_is_opened_with_the_key_of_its_own_description() {
    let mut wire = Wire::new();
    wire.offered(&secure(PHONE, 4000, &crypto(1, 3)), &secure(PBX, 4000, &crypto(1, 5)));
    wire.caller_says(&key(3), 0, 0..50);
    wire.callee_says(&key(5), 100..150);
    wire.bye("1");
    wire.finish();
    assert_eq!(wire.counts_of(Side::Caller), (50, 50, 0, None));
    assert_eq!(wire.counts_of(Side::Callee), (50, 50, 0, None));
    let expected: Vec<Vec<u8>> = (0..50).chain(100..150).map(payload).collect();
    assert_eq!(wire.payloads, expected);
    let facts = &wire.ends[0].facts;
    assert_eq!((facts.encrypted, facts.no_key), (true, None));
    assert_eq!(wire.told("odd"), 0);
}

#[test]
fn what_no_key_fits_is_counted_told_once_and_not_kept() {
    let mut wire = Wire::new();
    wire.offered(&secure(PHONE, 4000, &crypto(1, 3)), &secure(PBX, 4000, ""));
    wire.caller_says(&key(9), 0, 0..200);
    wire.callee_says(&key(5), 0..50);
    wire.finish();
    assert!(wire.audio.is_empty());
    assert_eq!(wire.counts_of(Side::Caller), (200, 0, 200, Some(NoKey::NoneFits)));
    assert_eq!(wire.counts_of(Side::Callee), (50, 0, 50, Some(NoKey::NotSeen)));
    assert_eq!(wire.ends[0].facts.no_key, Some(NoKey::NotSeen));
    assert_eq!(wire.told("authenticates"), 1);
}

#[test]
fn a_forged_packet_does_not_take_the_place_of_the_true_one() {
    let mut wire = Wire::new();
    wire.offered(&secure(PHONE, 4000, &crypto(1, 3)), &secure(PBX, 4000, &crypto(1, 5)));
    for sequence in 0..50 {
        wire.caller_says(&key(3), 0, [sequence]);
        wire.caller_says(&key(9), 0, [sequence + 1]);
    }
    wire.finish();
    assert_eq!(wire.payloads, (0..50).map(payload).collect::<Vec<_>>());
    assert_eq!(wire.counts_of(Side::Caller), (50, 50, 50, Some(NoKey::NoneFits)));
    assert_eq!(wire.ends[0].tracks[0].lost_network, 0);
}

#[test]
fn a_call_is_read_over_a_change_of_keys() {
    let mut wire = Wire::new();
    wire.offered(&secure(PHONE, 4000, &crypto(1, 3)), &secure(PBX, 4000, &crypto(1, 5)));
    wire.caller_says(&key(3), 0, 65_500..=65_535);
    wire.caller_says(&key(3), 1, 0..20);
    wire.udp(A, B, &message(INVITE, "1", "2 INVITE", "a", "b", &secure(PHONE, 4000, &crypto(2, 11))));
    wire.caller_says(&key(3), 1, 20..22);
    wire.caller_says(&key(11), 0, [23]);
    wire.caller_says(&key(3), 1, [22]);
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "2 INVITE", "a", "b", &secure(PBX, 4000, &crypto(2, 5))));
    wire.caller_says(&key(11), 0, 24..50);
    wire.finish();
    assert_eq!(wire.counts_of(Side::Caller), (86, 86, 0, None));
    assert_eq!(wire.ends[0].tracks[0].lost_network, 0);
}

#[test]
fn of_several_lines_the_one_that_the_answer_took_is_found() {
    let mut wire = Wire::new();
    let offer = secure(PHONE, 4000, &(crypto(1, 3) + &crypto(2, 4)));
    wire.offered(&offer, &secure(PBX, 4000, &crypto(2, 5)));
    wire.caller_says(&key(4), 0, 0..10);
    wire.finish();
    assert_eq!(wire.counts_of(Side::Caller), (10, 10, 0, None));
}

#[test]
fn where_srtp_was_offered_as_a_choice_the_answer_decides() {
    for (answer, is_srtp) in [(sdp(PBX, 4000, &crypto(1, 5)), true), (sdp(PBX, 4000, ""), false)] {
        let mut wire = Wire::new();
        wire.offered(&sdp(PHONE, 4000, &crypto(1, 3)), &answer);
        if is_srtp {
            wire.caller_says(&key(3), 0, 0..10);
        } else {
            wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..10);
        }
        wire.finish();
        assert_eq!(wire.packets_of(1, Side::Caller), 10, "{is_srtp}");
        assert_eq!(wire.ends[0].facts.encrypted, is_srtp);
    }
}

#[test]
fn while_another_offer_waits_or_is_refused_what_was_agreed_on_holds() {
    // In clear; SRTP is offered and refused.
    let mut wire = Wire::new();
    wire.offered(&sdp(PHONE, 4000, ""), &sdp(PBX, 4000, ""));
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..10);
    wire.udp(A, B, &message(INVITE, "1", "2 INVITE", "a", "b", &secure(PHONE, 4000, &crypto(1, 3))));
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 10..20);
    wire.udp(B, A, &message("SIP/2.0 488 Not Acceptable Here", "1", "2 INVITE", "a", "b", ""));
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 20..30);
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.ends[0].facts.encrypted), (30, false));
    // Encrypted without a key; RTP in clear is offered and not answered.
    let mut wire = Wire::new();
    wire.offered(&secure(PHONE, 4000, ""), &secure(PBX, 4000, ""));
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..10);
    wire.udp(A, B, &message(INVITE, "1", "2 INVITE", "a", "b", &sdp(PHONE, 4000, "")));
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 10..20);
    wire.finish();
    assert!(wire.audio.is_empty() && wire.ends[0].facts.encrypted);
}

#[test]
fn before_the_answer_what_authenticates_is_srtp_and_the_rest_is_not() {
    let mut wire = Wire::new();
    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", &sdp(PHONE, 4000, &crypto(1, 3))));
    wire.caller_says(&key(3), 0, 0..10);
    wire.rtp((PBX, 4000), (PHONE, 4000), 8, 0..10);
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(1, Side::Callee)), (10, 10));
    assert_eq!(wire.payloads[..10], (0..10).map(payload).collect::<Vec<_>>()[..]);
}

impl Wire {
    fn callee(&self) -> (Vec<u16>, u64, u64, u64) {
        let track = self.ends[0].tracks.iter().find(|track| track.side == Side::Callee).expect("a track");
        let heard = self.audio.iter().filter(|&&(_, side, ..)| side == Side::Callee);
        (heard.map(|&(.., n)| n).collect(), track.decrypted, track.undecryptable, track.packets)
    }
}

#[test]
fn what_comes_before_the_answer_with_its_key_is_opened_in_order() {
    let mut wire = Wire::new();
    wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", &secure(PHONE, 4000, &crypto(1, 3))));
    wire.callee_says(&key(5), [0, 1, 3, 2, 2, 4]);
    assert_eq!(wire.audio.len(), 0);
    let answer = secure(PBX, 4000, &crypto(1, 5));
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &answer));
    wire.callee_says(&key(5), 5..10);
    wire.finish();
    assert_eq!(wire.callee(), (vec![0, 1, 3, 2, 4, 5, 6, 7, 8, 9], 10, 0, 10));
    assert_eq!((wire.ends[0].tracks[0].duplicates, wire.told("no key")), (1, 0));
}

#[test]
fn what_waits_for_a_key_has_a_bound_and_is_counted_when_none_comes() {
    for (answer, opened) in [(Some(crypto(1, 5)), true), (Some(String::new()), false), (None, false)] {
        let mut wire = Wire::new();
        wire.udp(A, B, &message(INVITE, "1", "1 INVITE", "a", "", &secure(PHONE, 4000, &crypto(1, 3))));
        wire.callee_says(&key(5), 0..1_000);
        if let Some(answer) = answer {
            let answer = secure(PBX, 4000, &answer);
            wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "1 INVITE", "a", "b", &answer));
        }
        wire.finish();
        let (heard, decrypted, undecryptable, packets) = wire.callee();
        assert_eq!((decrypted, decrypted + undecryptable, packets), (heard.len() as u64, 1_000, 1_000));
        // 64 KB: half of it at least, and always the latest.
        let kept = if opened { 150..=330 } else { 0..=0 };
        assert!(kept.contains(&heard.len()), "{}", heard.len());
        assert!(
            heard.windows(2).all(|pair| pair[0] + 1 == pair[1]) && (heard.last() == Some(&999)) == opened
        );
        assert_eq!(wire.tracker.core.media.waiting_bytes(), 0);
    }
}

#[test]
fn a_call_under_srtp_that_ran_before_the_capture_is_opened_from_its_first_packet_on() {
    let mut wire = Wire::new();
    for sequence in 0..3_000 {
        wire.caller_says(&key(3), 0, [sequence]);
        wire.callee_says(&key(5), [sequence]);
    }
    wire.udp(A, B, &message(INVITE, "1", "5 INVITE", "a", "b", &secure(PHONE, 4000, &crypto(1, 3))));
    let answer = secure(PBX, 4000, &crypto(1, 5));
    wire.udp(B, A, &message("SIP/2.0 200 OK", "1", "5 INVITE", "a", "b", &answer));
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.packets_of(1, Side::Callee)), (3_000, 3_000));
    assert!(wire.ends[0].tracks.iter().all(|track| (track.decrypted, track.undecryptable) == (3_000, 0)));
    assert_eq!(wire.told("unannounced"), 0);
}

#[test]
fn an_offer_that_nobody_answers_keeps_a_running_call_waiting_for_two_seconds_only() {
    let mut wire = Wire::new();
    wire.caller_says(&key(3), 0, 0..100);
    wire.udp(A, B, &message(INVITE, "1", "5 INVITE", "a", "b", &secure(PHONE, 4000, &crypto(1, 3))));
    wire.caller_says(&key(3), 0, 100..190);
    assert_eq!(wire.audio.len(), 0);
    wire.caller_says(&key(3), 0, 190..300);
    wire.finish();
    assert_eq!((wire.packets_of(1, Side::Caller), wire.told("unannounced")), (300, 0));
}

#[test]
fn dtls_is_known_by_fingerprint_or_handshake_and_not_by_a_strangers_packet() {
    let handshake = [22, 254, 255, 0, 0];
    let with_fingerprint = |address, port| secure(address, port, "a=fingerprint:sha-256 00:11\r\n");
    let mut wire = Wire::new();
    wire.offered(&with_fingerprint(PHONE, 4000), &with_fingerprint(PBX, 4000));
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..10);
    wire.finish();
    assert!(wire.audio.is_empty());
    assert_eq!(wire.ends[0].facts.no_key, Some(NoKey::DtlsSrtp));
    // Announced as plain: a handshake of both sides counts, of one it does not.
    for both in [false, true] {
        let mut wire = Wire::new();
        wire.offered(&sdp(PHONE, 4000, ""), &sdp(PBX, 4000, ""));
        wire.udp((PHONE, 4000), (PBX, 4000), &handshake);
        if both {
            wire.udp((PBX, 4000), (PHONE, 4000), &handshake);
        }
        wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..10);
        wire.finish();
        assert_eq!(wire.audio.is_empty(), both);
        assert_eq!(wire.ends[0].facts.encrypted, both);
    }
}

#[test]
fn audio_is_kept_until_zrtp_has_agreed_on_keys_and_again_when_they_are_put_aside() {
    let zrtp = |kind: &[u8; 8]| [&b"\x10\0\0\x01ZRTP\0\0\0\x07\x50\x5a\0\x03"[..], kind].concat();
    let mut wire = Wire::new();
    wire.offered(&sdp(PHONE, 4000, "a=zrtp-hash:1.10 00\r\n"), &sdp(PBX, 4000, ""));
    wire.udp((PHONE, 4000), (PBX, 4000), &zrtp(b"Hello   "));
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..10);
    wire.udp((PHONE, 4000), (PBX, 4000), &zrtp(b"Confirm2"));
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 10..30);
    wire.udp((PBX, 4000), (PHONE, 4000), &zrtp(b"ClearACK"));
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 30..35);
    wire.finish();
    assert_eq!(wire.packets_of(1, Side::Caller), 15);
    assert_eq!(wire.ends[0].tracks[0].undecryptable, 20);
}

/// Bytes without any pattern: a linear congruence's upper byte.
fn noise(state: &mut u64) -> Vec<u8> {
    (0..160)
        .map(|_| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*state >> 56) as u8
        })
        .collect()
}

#[test]
fn ciphertext_under_the_name_of_g711_is_told_once_and_counted_and_speech_is_not() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    let mut state = 1;
    for sequence in 0..500u16 {
        wire.now_ms += 20;
        let timestamp = u32::from(sequence) * 160;
        let scrambled = rtp(0, 7, sequence, timestamp, &noise(&mut state));
        wire.udp((PHONE, 4000), (PBX, 4000), &scrambled);
        // A mirror port may show everything twice.
        wire.udp((PHONE, 4000), (PBX, 4000), &scrambled);
        wire.udp((PBX, 4000), (PHONE, 4000), &rtp(0, 8, sequence, timestamp, &payload(sequence)));
    }
    wire.finish();
    assert_eq!(wire.told("look encrypted"), 1);
    let flagged: Vec<_> = wire.ends[0].tracks.iter().map(|t| (t.packets, t.looks_encrypted)).collect();
    assert_eq!(flagged, [(500, 500), (500, 0)]);
    // It stays as evidence.
    assert_eq!(wire.packets_of(1, Side::Caller), 500);
}

#[test]
fn encryption_that_begins_within_a_call_is_found() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.rtp((PHONE, 4000), (PBX, 4000), 7, 0..1000);
    let mut state = 1;
    for sequence in 1000..4000u16 {
        wire.now_ms += 20;
        let packet = rtp(0, 7, sequence, u32::from(sequence) * 160, &noise(&mut state));
        wire.udp((PHONE, 4000), (PBX, 4000), &packet);
    }
    wire.finish();
    let flagged = wire.ends[0].tracks[0].looks_encrypted;
    assert!((1_200..=3_000).contains(&flagged), "{flagged}");
}

#[test]
fn unannounced_ciphertext_is_told_as_such() {
    let mut wire = Wire::new();
    let mut state = 1;
    for sequence in 0..200u16 {
        wire.now_ms += 20;
        let packet = rtp(0, 7, sequence, u32::from(sequence) * 160, &noise(&mut state));
        wire.udp((PHONE, 4000), (PBX, 4000), &packet);
    }
    wire.rtp((PHONE, 4002), (PBX, 4002), 9, 0..200);
    wire.finish();
    assert_eq!(wire.told("unannounced"), 2);
    assert_eq!(wire.told("unannounced 200, looks encrypted"), 1);
}

#[test]
fn sender_reports_under_srtcp_are_read_with_the_key_and_never_without() {
    let report: Vec<u8> =
        [&[0x80, 200, 0, 6][..], &[7u32, 1, 2, 3, 4, 5].map(u32::to_be_bytes).concat()].concat();
    for (answer, reports) in [(crypto(1, 5), 1), (String::new(), 0)] {
        let mut wire = Wire::new();
        wire.offered(&secure(PHONE, 4000, &crypto(1, 3)), &secure(PBX, 4000, &answer));
        wire.udp((PBX, 4001), (PHONE, 4001), &seal_control(&key(5), 1, &report));
        wire.finish();
        assert_eq!(wire.told("report"), reports);
    }
}
