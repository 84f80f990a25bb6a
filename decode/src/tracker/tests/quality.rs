//! RTCP finds its stream, losses find who lost them, and a party that is not heard is told.

use super::*;
use crate::rtp::rtcp::ITEMS_MAX;

const CALLER: ([u8; 4], u16) = (PHONE, 4000);
const CALLEE: ([u8; 4], u16) = (PBX, 4000);

/// One RTCP packet of a type, with its count, in words.
fn rtcp(count: u8, kind: u8, words: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0x80 | count, kind, 0, words.len() as u8];
    bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    bytes
}

/// A receiver report of `from` about `about`: so many lost, and the answer to a sender report.
fn receiver_report(from: u32, about: u32, lost: u32, last: u32, delay: u32) -> Vec<u8> {
    rtcp(1, 201, &[from, about, 0x8000_0000 | lost, 500, 80, last, delay])
}

impl Wire {
    fn talk(&mut self, sequences: std::ops::Range<u16>) {
        for sequence in sequences {
            self.rtp(CALLER, CALLEE, 7, sequence..sequence + 1);
            self.now_ms -= 20;
            self.rtp(CALLEE, CALLER, 8, sequence..sequence + 1);
        }
    }

    fn track(&self, side: Side) -> &TrackReport {
        self.ends[0].tracks.iter().find(|track| track.side == side).expect("a track")
    }
}

#[test]
fn a_report_on_the_next_port_on_the_same_or_on_any_other_finds_its_stream() {
    for (from, to) in [(4001, 4001), (4000, 4000), (4711, 40_000), (4001, 5000)] {
        let mut wire = Wire::new();
        wire.answered_call("1", 4000);
        wire.talk(0..50);
        wire.udp((PBX, from), (PHONE, to), &receiver_report(8, 7, 9, 0, 0));
        wire.talk(50..60);
        wire.finish();
        let reported = wire.track(Side::Caller).quality.reported.expect("a report");
        assert_eq!((reported.reports, reported.lost, reported.jitter_ms), (1, 9, 10.0), "{from} {to}");
        assert_eq!(reported.loss_max_percent, 50.0);
        assert_eq!(wire.track(Side::Callee).quality.reported, None);
    }
}

#[test]
fn a_report_between_other_hosts_or_about_nobody_is_not_believed() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.talk(0..50);
    wire.udp((STRANGER, 4711), (PHONE, 40_000), &receiver_report(8, 7, 9, 0, 0));
    wire.udp((PBX, 4711), (PHONE, 40_000), &receiver_report(8, 99, 9, 0, 0));
    wire.udp((PBX, 4001), (PHONE, 4001), &receiver_report(8, 99, 9, 0, 0));
    wire.finish();
    assert_eq!(wire.track(Side::Caller).quality.reported, None);
}

#[test]
fn a_round_trip_is_the_time_between_report_and_answer_less_what_the_far_end_kept_it() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.talk(0..50);
    // The caller's report, at NTP time 0x1111.2222 in its middle.
    wire.udp((PHONE, 4001), (PBX, 4001), &rtcp(0, 200, &[7, 0x0000_1111, 0x2222_0000, 8000, 50, 8000]));
    wire.now_ms += 540;
    // The callee has had it for half a second.
    wire.udp((PBX, 4001), (PHONE, 4001), &receiver_report(8, 7, 0, 0x1111_2222, 0x8000));
    wire.finish();
    assert_eq!(wire.track(Side::Caller).quality.reported.and_then(|r| r.round_trip_ms), Some(40.0));
}

#[test]
fn a_source_that_has_said_goodbye_makes_room_for_the_next_at_once() {
    for goodbye in [false, true] {
        let mut wire = Wire::new();
        wire.answered_call("1", 4000);
        wire.rtp(CALLER, CALLEE, 7, 0..50);
        if goodbye {
            wire.udp((PHONE, 4001), (PBX, 4001), &rtcp(1, 203, &[7]));
        }
        wire.rtp((STRANGER, 6000), CALLEE, 9, 0..50);
        wire.finish();
        assert_eq!(wire.packets_of(1, Side::Caller), if goodbye { 100 } else { 50 });
    }
}

#[test]
fn a_source_with_the_name_of_the_one_before_is_the_same_sender() {
    let name = |ssrc: u32, name: [u8; 4]| {
        rtcp(
            1,
            202,
            &[
                ssrc,
                0x0104_0000 | u32::from(name[0]) << 8 | u32::from(name[1]),
                u32::from(name[2]) << 24 | u32::from(name[3]) << 16,
            ],
        )
    };
    for (other, kept) in [(*b"a@bc", 100), (*b"x@yz", 50)] {
        let mut wire = Wire::new();
        wire.answered_call("1", 4000);
        wire.rtp(CALLER, CALLEE, 7, 0..50);
        wire.udp((PHONE, 4001), (PBX, 4001), &name(7, *b"a@bc"));
        wire.udp((PHONE, 4001), (PBX, 4001), &name(9, other));
        wire.rtp((STRANGER, 6000), CALLEE, 9, 0..50);
        wire.finish();
        assert_eq!(wire.packets_of(1, Side::Caller), kept);
    }
}

#[test]
fn a_report_of_a_sender_without_a_clock_is_told_each_time() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.talk(0..50);
    // The same time twice is one report that is seen twice; 0 is no time (RFC 3550, 6.4.1).
    for (ntp, told) in [(0x1111, 1), (0x1111, 1), (0, 2), (0, 3)] {
        wire.udp((PHONE, 4001), (PBX, 4001), &rtcp(0, 200, &[7, ntp, 0, 8000, 50, 8000]));
        assert_eq!(wire.told("Caller report"), told);
        wire.now_ms += 5_000;
    }
}

#[test]
fn a_flood_of_reports_is_no_more_than_its_share() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.talk(0..10);
    let reports: Vec<u8> = (0..60).flat_map(|n| rtcp(0, 200, &[7, n, n, n, n, n])).collect();
    wire.udp((PHONE, 4001), (PBX, 4001), &reports);
    assert!(wire.told("report") <= ITEMS_MAX);
    wire.finish();
    assert_eq!(wire.ends.len(), 1);
}

#[test]
fn what_the_capture_dropped_is_not_laid_at_the_networks_door() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.talk(0..100);
    wire.talk(103..120);
    wire.tracker.note_drops(Timestamp::from_millis(wire.now_ms));
    wire.talk(120..300);
    wire.talk(301..310);
    wire.finish();
    for side in [Side::Caller, Side::Callee] {
        let track = wire.track(side);
        assert_eq!((track.lost_network, track.lost_capture), (1, 3));
        let gaps: Vec<_> = track.quality.gaps.iter().map(|g| (g.sequence, g.packets, g.by_capture)).collect();
        assert_eq!(gaps, [(100, 3, true), (300, 1, false)]);
        assert_eq!((track.quality.expected, track.quality.received), (310, 306));
    }
}

#[test]
fn packets_that_the_capture_cut_are_lost_by_it() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.talk(0..10);
    let mut packet = vec![0x45, 0, 0, 200, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend(CALLER.0);
    packet.extend(CALLEE.0);
    [4000, 4000, 180, 0_u16].iter().for_each(|field| packet.extend(field.to_be_bytes()));
    packet.extend(rtp(0, 7, 10, 1600, &[1; 60]));
    wire.frame(&packet);
    wire.finish();
    let track = wire.track(Side::Caller);
    let quality = &track.quality;
    assert_eq!((track.packets, track.lost_capture, quality.cut), (11, 1, 1));
    assert_eq!((quality.expected, quality.received), (11, 10));
}

#[test]
fn a_party_that_is_not_heard_is_told_with_its_stretch() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.talk(0..100);
    let from = wire.now_ms;
    wire.rtp(CALLER, CALLEE, 7, 100..800);
    wire.rtp(CALLEE, CALLER, 8, 100..110);
    wire.finish();
    let absences = &wire.ends[0].absences;
    let told: Vec<_> =
        absences.iter().map(|a| (a.side, a.from.as_millis() - from, a.to.as_millis() - from)).collect();
    assert_eq!(told, [(Side::Callee, 0, 14_000)]);
    assert_eq!(wire.told("not heard for long"), 1);
}

#[test]
fn a_party_that_never_sends_is_told_and_a_call_of_two_silent_ends_is_not() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.rtp(CALLER, CALLEE, 7, 0..600);
    wire.finish();
    assert_eq!(wire.ends[0].absences.iter().map(|a| a.side).collect::<Vec<_>>(), [Side::Callee]);
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.talk(0..100);
    wire.wait(60_000);
    wire.finish();
    assert_eq!(wire.ends[0].absences, []);
}

#[test]
fn silence_that_its_sender_counts_is_no_absence() {
    let mut wire = Wire::new();
    wire.answered_call("1", 4000);
    wire.talk(0..100);
    wire.rtp(CALLER, CALLEE, 7, 100..800);
    // The next packet in sequence, 14 s of ticks later.
    wire.udp(CALLEE, CALLER, &rtp(0, 8, 100, 800 * 160, &[0xd5; 160]));
    wire.finish();
    assert_eq!(wire.ends[0].absences, []);
}
