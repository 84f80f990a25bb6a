//! A hundred calls at once, each party with a tone of its own: every recording must hold its two tones on the right
//! channels and have the call's length, whatever the network does to the packets.

mod common;

use common::Bench;
use decode::tracker::{Event, Tracker};
use decode::{Frame, Timestamp};
use xtask::check::{Limits, check};
use xtask::g711::Law;
use xtask::load::{Scenario, Transport};

/// Longest difference between a recording and what was sent, in milliseconds: one packet.
const LENGTH_MS: u64 = 20;

#[track_caller]
fn records_right(scenario: &Scenario, limits: Limits) {
    records_right_with("", scenario, limits);
}

#[track_caller]
fn records_right_with(config: &str, scenario: &Scenario, limits: Limits) {
    let bench = Bench::new();
    let (capture, truth) = bench.capture("load.pcap", scenario);
    let summary = bench.record_with(&capture, config);
    let report = check(&truth, bench.exports(), limits);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.calls, truth.len());
    assert_eq!(summary["recorded"], truth.len());
    assert_eq!(summary["seen"], truth.len());
    // Loss, copies and order are charged to the right party of the right call.
    for row in bench.run(&["archive", "list", "--json"]).expect_code(0).json() {
        let call_id = row["sip_call_ids"][0].as_str().expect("a Call-ID");
        let sent = truth.iter().find(|truth| truth.call_id == call_id).expect("a call of the scenario");
        assert_eq!(row["extension"], sent.extension.number.as_str());
        assert_eq!(row["other_party"], sent.remote.number.as_str());
        for (track, party) in row["tracks"].as_array().expect("tracks").iter().zip([&sent.near, &sent.far]) {
            assert_eq!(track["packets"], party.packets, "{call_id}");
            assert_eq!(track["duplicates"], party.duplicates, "{call_id}");
            // Packets lost before the first or after the last one that came cannot be missed.
            assert!(track["lost_network"].as_u64().expect("a number") <= party.lost, "{call_id}");
            assert!(track["lost_network"].as_u64().expect("a number") + 4 >= party.lost, "{call_id}");
        }
    }
}

fn hundred_calls() -> Scenario {
    Scenario { calls: 100, talk_ms: 6_000, ..Scenario::default() }
}

#[test]
fn calls_stay_whole_whoever_seals_them() {
    for threads in [0, 1, 2] {
        let config = format!("[archive]\nsealing_threads = {threads}\n");
        records_right_with(&config, &hundred_calls(), tight());
    }
}

fn tight() -> Limits {
    Limits { length_ms: LENGTH_MS, ..Limits::default() }
}

#[test]
fn what_a_frame_will_touch_is_foreseen() {
    let traffic = Scenario { calls: 3, talk_ms: 2_000, ..Scenario::default() }.traffic();
    let mut tracker = Tracker::new();
    let (mut foreseen, mut told) = (0, 0);
    for sent in &traffic.frames {
        let at = Timestamp::from_nanos(sent.at_ns);
        let frame = Frame { at, link: 1, source: 0, wire_len: sent.wire_len, data: &sent.bytes };
        let place = tracker.foresee(&frame);
        let expected = place.map(|place| tracker.fetch_source(place).expect("the source is there"));
        tracker.handle_frame(&frame);
        while let Some(event) = tracker.poll_event() {
            let Event::Audio { leg, side, .. } = event else { continue };
            told += 1;
            if let Some(expected) = expected {
                assert_eq!(expected, (leg, side));
                tracker.fetch_leg(leg, side);
                foreseen += 1;
            }
        }
    }
    // All but the first packet of each of the six flows.
    assert_eq!(foreseen + 6, told);
}

#[test]
fn a_hundred_clean_calls() {
    records_right(&hundred_calls(), Limits { purity: 0.99, ..tight() });
}

#[test]
fn a_hundred_calls_with_loss_reordering_jitter_and_copies() {
    let scenario = Scenario {
        loss_pct: 2.0,
        reorder_pct: 3.0,
        duplicate_pct: 2.0,
        jitter_ms: 15,
        law: Law::A,
        ..hundred_calls()
    };
    records_right(&scenario, tight());
}

#[test]
fn a_hundred_calls_under_srtp_with_loss_reordering_and_copies() {
    let scenario = Scenario {
        srtp: true,
        loss_pct: 2.0,
        reorder_pct: 3.0,
        duplicate_pct: 2.0,
        jitter_ms: 15,
        change_ssrc: true,
        ..hundred_calls()
    };
    // Some of their sequence numbers pass through zero.
    records_right(&scenario, tight());
}

#[test]
fn a_hundred_calls_in_vlans_with_every_frame_twice() {
    let bench = Bench::new();
    let scenario = Scenario { vlans: vec![100, 7], span_copies: true, ..hundred_calls() };
    let (capture, truth) = bench.capture("load.pcap", &scenario);
    let summary = bench.record(&capture);
    assert_eq!(summary["seen"], truth.len());
    let report = check(&truth, bench.exports(), tight());
    assert!(report.is_clean(), "{report:?}");
}

#[test]
fn a_hundred_calls_over_ipv6_with_sip_over_tcp_in_odd_pieces() {
    records_right(&Scenario { ipv6: true, transport: Transport::TcpPieces, ..hundred_calls() }, tight());
}

#[test]
fn thirty_millisecond_packets_and_fragmented_invites() {
    records_right(
        &Scenario { ptime_ms: 30, big_invite: true, ..hundred_calls() },
        Limits { length_ms: 30, ..Limits::default() },
    );
}

#[test]
fn early_media_late_offer_moved_ports_and_changed_sources() {
    let shapes = Scenario { calls: 20, move_port: true, change_ssrc: true, ..hundred_calls() };
    records_right(&shapes, tight());
    records_right(&Scenario { late_offer: true, ..shapes.clone() }, tight());
    records_right(
        &Scenario { calls_per_line: 3, talk_ms: 2_500, ..Scenario { calls: 20, ..hundred_calls() } },
        tight(),
    );
}

#[test]
fn a_hold_becomes_time() {
    let bench = Bench::new();
    let (capture, truth) = bench.capture("hold.pcap", &Scenario { calls: 5, hold: true, ..hundred_calls() });
    bench.record(&capture);
    let report = check(&truth, bench.exports(), Limits { gap_ms: None, purity: 0.5, ..tight() });
    assert!(report.is_clean(), "{report:?}");
    for row in bench.run(&["archive", "list", "--json"]).expect_code(0).json() {
        let call_id = row["sip_call_ids"][0].as_str().expect("a Call-ID");
        let (from, to) = truth.iter().find(|t| t.call_id == call_id).and_then(|t| t.hold_ns).expect("a hold");
        let held_ms = (to - from) / 1_000_000;
        let told_ms = row["hold_ms"].as_i64().expect("a number");
        assert!((told_ms - held_ms).abs() <= 50, "{told_ms} ms told, {held_ms} ms held");
    }
}

#[test]
fn silence_suppression_becomes_time() {
    let bench = Bench::new();
    let scenario = Scenario { calls: 10, silence_suppression: true, talk_ms: 12_000, ..hundred_calls() };
    let (capture, truth) = bench.capture("vad.pcap", &scenario);
    bench.record(&capture);
    let report = check(&truth, bench.exports(), Limits { gap_ms: None, purity: 0.5, ..tight() });
    assert!(report.is_clean(), "{report:?}");
}

#[test]
fn two_clocks_that_drift_stay_aligned() {
    let bench = Bench::new();
    let scenario = Scenario { calls: 4, talk_ms: 120_000, skew_ppm: [400.0, -400.0], ..hundred_calls() };
    let (capture, truth) = bench.capture("skew.pcap", &scenario);
    bench.record(&capture);
    // By its own clock each party spoke 48 ms longer or shorter than the capture clock saw: on the common timeline both
    // have the same length.
    for (id, audio) in bench.exports() {
        let wall_ms =
            truth[0].near.sent_ns.map(|(first, last)| (last - first) / 1_000_000 + 20).expect("sent");
        let length_ms = (audio.channels[0].len() * 1000 / audio.rate as usize) as i64;
        assert!((length_ms - wall_ms).abs() <= 25, "{id}: {length_ms} ms of {wall_ms} ms");
        // The loudness of both parties changes at each second of their audio; at the end both still change together.
        let last = audio.channels[0].len() / 8000 - 2;
        let levels: Vec<Vec<f64>> =
            audio.channels.iter().map(|c| xtask::tones::levels_by_second(c, audio.rate)).collect();
        let steps: Vec<f64> = levels.iter().map(|l| l[last] - l[last - 1]).collect();
        assert!(
            steps.iter().all(|step| step.abs() > 4.0),
            "{id}: loudness no longer changes by the second: {steps:?}"
        );
        assert_eq!(steps[0] > 0.0, steps[1] > 0.0, "{id}: the parties have drifted apart");
    }
    for row in bench.run(&["archive", "list", "--json"]).expect_code(0).json() {
        let skew: Vec<f64> = row["tracks"]
            .as_array()
            .expect("tracks")
            .iter()
            .map(|t| t["skew_ppm"].as_f64().expect("a number"))
            .collect();
        assert!((skew[0] - 400.0).abs() < 40.0 && (skew[1] + 400.0).abs() < 40.0, "{skew:?}");
    }
}

#[test]
fn a_call_that_ran_before_the_capture_is_recorded_from_its_first_packet_on() {
    let bench = Bench::new();
    let case = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps/begun-before");
    let summary = bench.record(&case.join("capture.pcap"));
    assert_eq!(
        (&summary["seen"], &summary["recorded"], &summary["unannounced_rtp"]),
        (&1.into(), &1.into(), &0.into())
    );
    let row = bench.run(&["archive", "list", "--json"]).expect_code(0).json().remove(0);
    assert_eq!((&row["direction"], &row["joined_late"]), (&"unknown".into(), &true.into()));
    assert_eq!((&row["extension"], &row["outside_number"]), (&"2000".into(), &"01632960000".into()));
    // 21.3 s of the 24 s, the first message 6.9 s after the first packet; 4.8 s of them on hold.
    let number = |name: &str| row[name].as_i64().expect("a number");
    assert!((number("duration_ms") - 21_280).abs() <= 20, "{row}");
    assert!((number("talk_ms") + number("hold_ms") - number("duration_ms")).abs() <= 40, "{row}");
    assert_eq!(number("not_held_packets"), 0);
    let (_, audio) = bench.exports().remove(0);
    for (party, hz) in [(0, 300.0), (1, 1_801.0)] {
        let before_the_first_message = &audio.channels[party][..6 * 8_000];
        let tone = xtask::tones::detect(before_the_first_message, audio.rate, 200..=2_000).expect("a tone");
        assert!((tone.hz - hz).abs() < 1.0 && tone.purity > 0.99, "{party}: {tone:?}");
    }
}
