//! Quality as it is measured, against what the generator has done: an independent reader of the very frames counts what is
//! missing, late, out of order and twice, and every figure of the facts must equal its own.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::Bench;
use serde_json::Value;
use xtask::load::{Scenario, Sent};
use xtask::pcap::Frame;
use xtask::tones;

/// A telephone's playout delay, in nanoseconds.
const PLAYOUT_NS: i64 = 60_000_000;

/// What one source did on the wire, counted in the plainest way.
#[derive(Default)]
struct Counted {
    packets: u64,
    duplicates: u64,
    reordered: u64,
    late: u64,
    /// First missing sequence number (not yet modulo 2^16) and number of each gap.
    gaps: Vec<(i64, u64)>,
    jitter_ms: f64,
    jitter_max_ms: f64,
    jitter_mean_ms: f64,
    /// Second of capture time: received, reordered, late.
    seconds: BTreeMap<i64, [u64; 3]>,
}

impl Counted {
    fn lost(&self) -> u64 {
        self.gaps.iter().map(|&(_, packets)| packets).sum()
    }
}

/// Reads the frames of one source: Ethernet, IPv4 and UDP without options, as the generator writes them.
fn count(frames: &[Frame], ssrc: u32) -> Counted {
    let rtp = frames.iter().filter_map(|frame| Some((frame.at_ns, frame.bytes.get(42..)?)));
    let rtp = rtp.filter(|(_, rtp)| {
        rtp.len() > 12 && rtp[0] == 0x80 && rtp[1] & 0x7f < 64 && rtp[8..12] == ssrc.to_be_bytes()
    });
    let mut counted = Counted::default();
    let (mut seen, mut highest) = (BTreeSet::new(), None::<i64>);
    let (mut transit, mut fastest, mut jitter_sum) = (None::<i64>, i64::MAX, 0.0);
    for (at, rtp) in rtp {
        let near = highest.unwrap_or(0x1_0000);
        let wire = u16::from_be_bytes([rtp[2], rtp[3]]);
        let sequence = near + i64::from(wire.wrapping_sub(near as u16) as i16);
        if !seen.insert(sequence) {
            counted.duplicates += 1;
            continue;
        }
        counted.packets += 1;
        let second = counted.seconds.entry(at.div_euclid(1_000_000_000)).or_default();
        second[0] += 1;
        if highest.is_some_and(|highest| sequence < highest) {
            counted.reordered += 1;
            second[1] += 1;
        }
        highest = highest.max(Some(sequence));
        // 160 ticks of 125 us stand between two packets in sequence.
        let now = at - sequence * 20_000_000;
        if let Some(before) = transit {
            let change = (now - before).abs() as f64 / 1e6;
            counted.jitter_ms += (change - counted.jitter_ms) / 16.0;
            counted.jitter_max_ms = counted.jitter_max_ms.max(counted.jitter_ms);
            jitter_sum += counted.jitter_ms;
        }
        transit = Some(now);
        fastest = fastest.min(now);
        if now - fastest > PLAYOUT_NS {
            counted.late += 1;
            second[2] += 1;
        }
    }
    counted.jitter_mean_ms = jitter_sum / (counted.packets - 1) as f64;
    let (first, last) = (*seen.first().expect("packets"), *seen.last().expect("packets"));
    for missing in (first..=last).filter(|sequence| !seen.contains(sequence)) {
        match counted.gaps.last_mut() {
            Some((first, packets)) if *first + *packets as i64 == missing => *packets += 1,
            _ => counted.gaps.push((missing, 1)),
        }
    }
    counted
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[track_caller]
fn assert_near(told: &Value, expected: f64, tolerance: f64, what: &str) {
    let told = told.as_f64().unwrap_or_else(|| panic!("{what}: {told} is no number"));
    assert!((told - expected).abs() <= tolerance, "{what}: {told}, not {expected}");
}

#[track_caller]
fn assert_measured(track: &Value, counted: &Counted, sent: &Sent) {
    let quality = &track["quality"];
    assert_eq!(number(&track["packets"]), counted.packets);
    assert_eq!(counted.packets, sent.packets);
    assert_eq!(number(&track["duplicates"]), counted.duplicates);
    assert_eq!(counted.duplicates, sent.duplicates);
    assert_eq!(number(&track["reordered"]), counted.reordered);
    assert_eq!(number(&track["lost_network"]), counted.lost());
    assert_eq!(number(&track["lost_capture"]), 0);
    assert_eq!(number(&quality["expected"]), counted.packets + counted.lost());
    assert_eq!(number(&quality["received"]), counted.packets);
    let gaps: Vec<(u16, u64)> = quality["gaps"]
        .as_array()
        .expect("gaps")
        .iter()
        .map(|gap| (number(&gap["sequence"]) as u16, number(&gap["packets"])))
        .collect();
    let expected: Vec<(u16, u64)> = counted.gaps.iter().map(|&(first, n)| (first as u16, n)).collect();
    assert_eq!(gaps, expected);
    assert_eq!(number(&quality["loss_longest"]), counted.gaps.iter().map(|gap| gap.1).max().unwrap_or(0));
    // The fastest packet is looked for in the last 10 to 20 s, here in all before: some packets at the edge differ.
    let late = number(&quality["late"]);
    assert!(late.abs_diff(counted.late) * 20 <= counted.late, "{late} late, not {}", counted.late);
    assert_near(&track["jitter_ms"], counted.jitter_ms, 0.01, "jitter at the end");
    assert_near(&quality["jitter_max_ms"], counted.jitter_max_ms, 0.01, "largest jitter");
    assert_near(&quality["jitter_mean_ms"], counted.jitter_mean_ms, 0.01, "mean jitter");
    assert_seconds(quality, counted);
}

/// Every row of the facts is the second that the plain count has, and no second with reordering is left out.
fn assert_seconds(quality: &Value, counted: &Counted) {
    let seconds = &quality["seconds"];
    assert_eq!(number(&seconds["width_s"]), 1);
    let start =
        decode::Timestamp::as_millis(seconds["start"].as_str().expect("a time").parse().expect("a time"));
    let (mut lost, mut listed) = (0, BTreeSet::new());
    for row in seconds["rows"].as_array().expect("rows") {
        let row: Vec<u64> = row.as_array().expect("a row").iter().map(number).collect();
        let second = start / 1_000 + row[0] as i64;
        let [received, reordered, _] = counted.seconds.get(&second).copied().unwrap_or_default();
        assert_eq!((row[1], row[5]), (received, reordered), "second {second}");
        lost += row[2];
        listed.insert(second);
    }
    assert_eq!(lost, counted.lost());
    let imperfect = counted.seconds.iter().filter(|(_, row)| row[1] > 0).map(|(&second, _)| second);
    assert!(imperfect.into_iter().all(|second| listed.contains(&second)));
}

#[test]
fn loss_order_copies_and_jitter_are_what_the_generator_has_put_in() {
    let scenario = Scenario {
        calls: 6,
        talk_ms: 90_000,
        loss_pct: 2.0,
        reorder_pct: 5.0,
        duplicate_pct: 1.0,
        jitter_ms: 80,
        ..Scenario::default()
    };
    let bench = Bench::new();
    let frames = scenario.traffic().frames;
    let (capture, truth) = bench.capture("load.pcap", &scenario);
    bench.record(&capture);
    let rows = bench.run(&["archive", "list", "--json"]).expect_code(0).json();
    assert_eq!(rows.len(), truth.len());
    for row in rows {
        let id = row["id"].as_str().expect("an id");
        let shown = bench.run(&["archive", "show", "--json", id]).expect_code(0).json().remove(0);
        let call_id = shown["sip_call_ids"][0].as_str().expect("a Call-ID");
        let call = truth.iter().find(|truth| truth.call_id == call_id).expect("a call of the scenario");
        for (track, sent) in shown["tracks"].as_array().expect("tracks").iter().zip([&call.near, &call.far]) {
            assert_measured(track, &count(&frames, sent.ssrcs[0]), sent);
            assert_near(&track["skew_ppm"], 0.0, 60.0, "skew");
        }
    }
}

#[test]
fn bursts_and_opinion_scores_follow_the_loss() {
    let bench = Bench::new();
    let mut scores = Vec::new();
    for (name, loss_pct) in [("none", 0.0), ("some", 2.0), ("much", 10.0)] {
        let scenario = Scenario { talk_ms: 60_000, loss_pct, seed: 77, ..Scenario::default() };
        let (capture, _) = bench.capture(&format!("{name}.pcap"), &scenario);
        bench.record(&capture);
    }
    for row in bench.run(&["archive", "list", "--json"]).expect_code(0).json() {
        let track = &row["tracks"][0];
        let quality = &track["quality"];
        assert_eq!(quality["mos_scale"], "narrowband");
        let expected = number(&quality["expected"]) as f64;
        let loss = 100.0 * number(&track["lost_network"]) as f64 / expected;
        scores.push((loss, track["mos"].as_f64().expect("a score"), number(&quality["bursts"])));
    }
    scores.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!((scores[0].1, scores[0].2), (4.41, 0));
    assert!(scores[1].1 > scores[2].1 && scores[1].2 < scores[2].2, "{scores:?}");
    // Losses drawn independently come in runs of 1 / (1 - p): BurstR is near 1, and R = 93.2 - 95 p / (p + 25.1).
    for (loss, mos, _) in &scores {
        let r = 93.2 - 95.0 * loss / (loss + 25.1);
        let expected = 1.0 + 0.035 * r + 7e-6 * r * (r - 60.0) * (100.0 - r);
        assert!((mos - expected).abs() < 0.12, "{loss} %: {mos}, not {expected}");
    }
}

#[test]
fn what_the_far_end_reports_stands_beside_what_was_measured() {
    let bench = Bench::new();
    let scenario = Scenario { talk_ms: 12_000, rtcp_trip_ms: Some(80), ..Scenario::default() };
    let (capture, _) = bench.capture("rtcp.pcap", &scenario);
    bench.record(&capture);
    let row = bench.run(&["archive", "list", "--json"]).expect_code(0).json().remove(0);
    for track in row["tracks"].as_array().expect("tracks") {
        assert_eq!(number(&track["lost_network"]), 0);
        let reported = &track["quality"]["reported"];
        let reports = number(&reported["reports"]);
        assert!((10..=12).contains(&reports), "{reports}");
        assert_eq!(number(&reported["lost"]), reports - 1);
        assert_near(&reported["loss_max_percent"], 1.95, 0.01, "loss");
        assert_near(&reported["jitter_ms"], 3.0, 0.01, "jitter");
        assert_near(&reported["round_trip_ms"], 80.0, 0.1, "round trip");
        // 80 ms on the way, 20 in a packet and 60 in the telephone: a little below listening alone.
        let (lq, cq) = (track["mos"].as_f64().expect("a score"), track["quality"]["mos_cq"].as_f64());
        let cq = cq.expect("a conversational score");
        assert!(lq == 4.41 && cq < lq && cq > 4.2, "{lq} {cq}");
    }
}

#[test]
fn one_way_audio_and_digital_silence_are_told() {
    let bench = Bench::new();
    let scenario = Scenario { talk_ms: 40_000, one_way: true, ..Scenario::default() };
    let (capture, _) = bench.capture("one-way.pcap", &scenario);
    bench.record(&capture);
    let row = bench.run(&["archive", "list", "--json"]).expect_code(0).json().remove(0);
    let absences = row["one_way"].as_array().expect("absences");
    assert_eq!((absences.len(), &absences[0]["party"]), (1, &Value::from("far")));
    assert_near(&absences[0]["start_ms"], 16_000.0, 60.0, "start");
    assert_near(&absences[0]["end_ms"], 40_000.0, 60.0, "end");

    let voices = Some([vec![0_i16; 8_000].into(), vec![9_000, -9_000, 3_000].into()]);
    let silent = Bench::new();
    let (capture, _) =
        silent.capture("silent.pcap", &Scenario { talk_ms: 12_000, voices, ..Scenario::default() });
    silent.record(&capture);
    let row = silent.run(&["archive", "list", "--json"]).expect_code(0).json().remove(0);
    let ms: Vec<u64> = row["tracks"]
        .as_array()
        .expect("tracks")
        .iter()
        .map(|t| number(&t["quality"]["silent_ms"]))
        .collect();
    assert!(ms[0] >= 11_960 && ms[1] == 0, "{ms:?}");
    assert_eq!(row.get("one_way"), None);
    let replayed = silent.run(&["replay", capture.to_str().expect("a plain path")]).expect_code(0).stdout();
    assert!(replayed.contains("sends nothing but silence"), "{replayed}");
}

#[test]
fn a_hold_is_no_one_way_audio() {
    let bench = Bench::new();
    let (capture, _) =
        bench.capture("hold.pcap", &Scenario { talk_ms: 60_000, hold: true, ..Scenario::default() });
    bench.record(&capture);
    let row = bench.run(&["archive", "list", "--json"]).expect_code(0).json().remove(0);
    assert_eq!(row.get("one_way"), None);
}

/// Two clocks over an hour: steps of loudness each second of their own audio must lie where the senders made them.
fn clocks(skew_ppm: [f64; 2], later_skew_ppm: Option<[f64; 2]>) {
    let bench = Bench::new();
    let scenario = Scenario { talk_ms: 3_600_000, skew_ppm, later_skew_ppm, ..Scenario::default() };
    let (capture, truth) = bench.capture("hour.pcap", &scenario);
    bench.record(&capture);
    let row = bench.run(&["archive", "list", "--json"]).expect_code(0).json().remove(0);
    let started: decode::Timestamp = row["started"].as_str().expect("a time").parse().expect("a time");
    let (_, audio) = bench.exports().remove(0);
    for (party, sent) in [&truth[0].near, &truth[0].far].into_iter().enumerate() {
        if later_skew_ppm.is_none() {
            assert_near(&row["tracks"][party]["skew_ppm"], skew_ppm[party], 3.0, "skew");
        }
        let first_ms = (sent.sent_ns.expect("sent").0 / 1_000_000 - started.as_millis()) as f64;
        for second in [1, 600, 1_800, 2_400, 3_590] {
            // When the sender's own clock began this second of its audio.
            let (own_ms, half_ms) = (f64::from(second) * 1_000.0, 1_800_000.0);
            let by = |ms: f64, ppm: f64| ms / (1.0 + ppm / 1e6);
            let sent_ms = match later_skew_ppm.filter(|_| own_ms > half_ms) {
                Some(later) => by(half_ms, skew_ppm[party]) + by(own_ms - half_ms, later[party]),
                None => by(own_ms, skew_ppm[party]),
            };
            let expected_ms = first_ms + sent_ms;
            let found_ms = tones::step_near(&audio.channels[party], audio.rate, expected_ms, 150.0);
            let off = found_ms.map(|ms| ms - expected_ms);
            assert!(
                off.is_some_and(|off| off.abs() <= 20.0),
                "{party}: second {second} is off by {off:?} ms"
            );
        }
    }
}

#[test]
fn two_clocks_100_ppm_apart_lie_within_20_ms_after_an_hour() {
    clocks([50.0, -50.0], None);
}

#[test]
fn two_clocks_600_ppm_apart_lie_within_20_ms_after_an_hour() {
    clocks([300.0, -300.0], None);
}

/// One straight line is laid through each run of a clock. A speed that changes by so much half-way lies within 20 ms of it; a
/// clock that is fast for one half and slow by as much for the other would not.
#[test]
fn clocks_that_change_their_speed_by_30_ppm_within_an_hour_lie_within_20_ms() {
    clocks([60.0, -60.0], Some([30.0, -35.0]));
}
