//! That the traffic is what its truth says: read back from the bytes, not from the code that made them.

use std::collections::BTreeMap;

use super::*;
use crate::pcap;

/// The UDP payload of an untagged IPv4 frame, with its ports.
fn udp(frame: &Frame) -> Option<(u16, u16, &[u8])> {
    let b = &frame.bytes;
    let is_udp = b.get(12..14)? == [8, 0] && b.get(23)? == &17 && b.get(20..22)? == [0x40, 0];
    let port = |at| Some(u16::from_be_bytes([*b.get(at)?, *b.get(at + 1)?]));
    is_udp.then_some((port(34)?, port(36)?, b.get(42..)?))
}

#[derive(Debug, Clone, PartialEq)]
struct Rtp {
    at_ns: i64,
    payload_type: u8,
    marker: bool,
    sequence: u16,
    timestamp: u32,
    payload: Vec<u8>,
}

/// RTP packets by source, in order of capture.
fn rtp(frames: &[Frame]) -> BTreeMap<u32, Vec<Rtp>> {
    let mut sources: BTreeMap<u32, Vec<Rtp>> = BTreeMap::new();
    for frame in frames {
        let Some((_, _, [0x80, kind, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3, payload @ ..])) = udp(frame)
        else {
            continue;
        };
        sources.entry(u32::from_be_bytes([*r0, *r1, *r2, *r3])).or_default().push(Rtp {
            at_ns: frame.at_ns,
            payload_type: kind & 0x7f,
            marker: kind & 0x80 != 0,
            sequence: u16::from_be_bytes([*s0, *s1]),
            timestamp: u32::from_be_bytes([*t0, *t1, *t2, *t3]),
            payload: payload.to_vec(),
        });
    }
    sources
}

/// First lines of the SIP messages, in order.
fn start_lines(frames: &[Frame]) -> Vec<String> {
    frames
        .iter()
        .filter_map(udp)
        .filter(|(from, ..)| *from == 5060)
        .map(|(_, _, text)| String::from_utf8_lossy(text).lines().next().unwrap_or_default().to_owned())
        .map(|line| line.split(" sip:").next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_gives_others() {
    let file = |seed| {
        let scenario =
            Scenario { seed, calls: 3, talk_ms: 1000, loss_pct: 5.0, jitter_ms: 30, ..Scenario::default() };
        pcap::file_bytes(&scenario.traffic().frames, pcap::Container::Pcap)
    };
    assert_eq!(file(1), file(1));
    assert_ne!(file(1), file(2));
}

#[test]
fn a_clean_call_has_its_messages_and_its_packets() {
    let Traffic { frames, truth } = Scenario::default().traffic();
    assert_eq!(
        start_lines(&frames),
        [
            "INVITE",
            "SIP/2.0 100 Trying",
            "SIP/2.0 180 Ringing",
            "SIP/2.0 200 OK",
            "ACK",
            "BYE",
            "SIP/2.0 200 OK"
        ]
    );
    let [call] = &truth[..] else { panic!("one call") };
    let streams = rtp(&frames);
    for sent in [&call.near, &call.far] {
        let packets = &streams[&sent.ssrcs[0]];
        assert_eq!(packets.len() as u64, sent.packets);
        assert_eq!(sent.audio_ms, sent.packets * 20);
        assert!(packets.windows(2).all(|p| p[1].sequence == p[0].sequence.wrapping_add(1)
            && p[1].timestamp == p[0].timestamp.wrapping_add(160)
            && p[1].at_ns - p[0].at_ns == 20_000_000));
        assert_eq!(packets.iter().filter(|p| p.marker).count(), 1, "the first packet alone");
        let last = packets.last().map(|p| p.at_ns + 20_000_000);
        assert!(last < call.end_ns, "the audio ends before the BYE");
    }
}

#[test]
fn each_party_speaks_its_tone_and_its_cadence() {
    for law in [Law::Mu, Law::A] {
        let Traffic { frames, truth } =
            Scenario { law, calls: 2, talk_ms: 3000, ..Scenario::default() }.traffic();
        let streams = rtp(&frames);
        for sent in truth.iter().flat_map(|call| [&call.near, &call.far]) {
            let audio: Vec<i16> = streams[&sent.ssrcs[0]]
                .iter()
                .flat_map(|p| p.payload.iter().map(|&byte| law.decode(byte)))
                .collect();
            let tone = crate::tones::detect(&audio, RATE, 200..=3400).expect("a tone");
            assert_eq!(tone.hz.round() as u32, sent.tone_hz);
            assert!(tone.purity > 0.99, "{tone:?}");
            let levels = crate::tones::levels_by_second(&audio, RATE);
            assert!((levels[0] - levels[1] - 6.02).abs() < 0.1, "{levels:?}");
        }
    }
}

#[test]
fn what_the_network_does_is_counted() {
    let scenario = Scenario {
        calls: 4,
        talk_ms: 20_000,
        loss_pct: 3.0,
        reorder_pct: 2.0,
        duplicate_pct: 1.0,
        ..Scenario::default()
    };
    let Traffic { frames, truth } = scenario.traffic();
    assert!(frames.windows(2).all(|pair| pair[0].at_ns <= pair[1].at_ns), "in order of capture");
    let streams = rtp(&frames);
    let mut totals = (0, 0, 0);
    for sent in truth.iter().flat_map(|call| [&call.near, &call.far]) {
        let packets = &streams[&sent.ssrcs[0]];
        assert_eq!(packets.len() as u64, sent.packets + sent.duplicates);
        let mut numbers: Vec<u16> = packets.iter().map(|p| p.sequence).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len() as u64, sent.packets);
        totals = (totals.0 + sent.lost, totals.1 + sent.reordered, totals.2 + sent.duplicates);
    }
    let (lost, reordered, duplicates) = totals;
    assert!((180..300).contains(&lost) && (110..210).contains(&reordered) && (45..120).contains(&duplicates));
}

#[test]
fn fast_and_slow_clocks_show_in_the_times_and_not_in_the_timestamps() {
    let Traffic { frames, truth } =
        Scenario { talk_ms: 60_000, skew_ppm: [500.0, -500.0], ..Scenario::default() }.traffic();
    let streams = rtp(&frames);
    for (sent, expected) in [(&truth[0].near, 500.0), (&truth[0].far, -500.0)] {
        let packets = &streams[&sent.ssrcs[0]];
        let (first, last) = (&packets[0], &packets[packets.len() - 1]);
        let media_ns = f64::from(last.timestamp.wrapping_sub(first.timestamp)) * 125_000.0;
        let ppm = (media_ns / (last.at_ns - first.at_ns) as f64 - 1.0) * 1e6;
        assert!((ppm - expected).abs() < 0.1, "{ppm}");
    }
}

#[test]
fn a_held_call_is_silent_and_its_clock_goes_on() {
    let Traffic { frames, truth } = Scenario { hold: true, ..Scenario::default() }.traffic();
    let (from, until) = truth[0].hold_ns.expect("a hold");
    assert_eq!(until - from, 2_000_000_000);
    for packets in rtp(&frames).values() {
        assert!(packets.iter().all(|p| !(from..until).contains(&p.at_ns)));
        let back = packets.iter().position(|p| p.at_ns >= until).expect("audio after the hold");
        let (before, after) = (&packets[back - 1], &packets[back]);
        assert!(after.marker);
        assert_eq!(after.sequence, before.sequence.wrapping_add(1));
        let ticks = after.timestamp.wrapping_sub(before.timestamp);
        assert_eq!(i64::from(ticks) * 125_000, after.at_ns - before.at_ns);
    }
    assert_eq!(start_lines(&frames).iter().filter(|line| *line == "INVITE").count(), 3);
}

#[test]
fn digits_are_events_with_one_time_and_three_ends() {
    let Traffic { frames, truth } = Scenario { digits: "5#".to_owned(), ..Scenario::default() }.traffic();
    let near = &truth[0].near;
    let streams = rtp(&frames);
    let events: Vec<&Rtp> = streams[&near.ssrcs[0]].iter().filter(|p| p.payload_type == EVENT_PT).collect();
    assert_eq!(events.len() as u64, near.events);
    for code in [5, 11] {
        let own: Vec<_> = events.iter().filter(|p| p.payload[0] == code).collect();
        assert_eq!(own.len(), 10, "eight intervals, the last one three times");
        assert!(own.iter().all(|p| p.timestamp == own[0].timestamp));
        assert_eq!(own.iter().filter(|p| p.payload[1] & 0x80 != 0).count(), 3);
        assert_eq!(own.iter().filter(|p| p.marker).count(), 1);
        assert_eq!(own[9].payload[2..], 1280_u16.to_be_bytes());
    }
}

#[test]
fn silence_becomes_comfort_noise_and_a_marker() {
    let Traffic { frames, truth } = Scenario { silence_suppression: true, ..Scenario::default() }.traffic();
    let streams = rtp(&frames);
    for sent in [&truth[0].near, &truth[0].far] {
        let packets = &streams[&sent.ssrcs[0]];
        let noise = packets.iter().filter(|p| p.payload_type == NOISE_PT);
        assert_eq!(noise.clone().count() as u64, sent.noise);
        assert!(sent.noise > 10 && noise.clone().all(|p| p.payload == [60]));
        assert!(sent.packets < 450, "{} packets would leave no silence", sent.packets);
        let spurts = packets.windows(2).filter(|p| p[0].payload_type == NOISE_PT && p[1].payload_type == 0);
        assert!(spurts.clone().count() >= 2 && spurts.clone().all(|p| p[1].marker));
    }
}

#[test]
fn a_changed_source_and_a_moved_port_are_in_the_truth() {
    let Traffic { frames, truth } =
        Scenario { change_ssrc: true, move_port: true, ..Scenario::default() }.traffic();
    let call = &truth[0];
    assert_eq!((call.near.ssrcs.len(), call.far.ssrcs.len()), (1, 2));
    let streams = rtp(&frames);
    let far: usize = call.far.ssrcs.iter().map(|ssrc| streams[ssrc].len()).sum();
    assert_eq!(far as u64, call.far.packets);
    let from_moved =
        frames.iter().filter_map(udp).filter(|(from, ..)| *from == call.near.from.port() + 1000).count();
    assert!((140..160).contains(&from_moved), "{from_moved}: 30 % of 500");
}

#[test]
fn unanswered_calls_have_no_audio_and_end_as_they_should() {
    for (ending, last) in
        [(Ending::Cancelled, "SIP/2.0 487 Request Terminated"), (Ending::Busy, "SIP/2.0 486 Busy Here")]
    {
        let Traffic { frames, truth } = Scenario { ending, ..Scenario::default() }.traffic();
        let lines = start_lines(&frames);
        assert_eq!(lines[lines.len() - 2..], [last, "ACK"]);
        assert_eq!((truth[0].answer_ns, truth[0].near.packets, truth[0].far.packets), (None, 0, 0));
    }
    let Traffic { frames, truth } = Scenario { ending: Ending::NoBye, ..Scenario::default() }.traffic();
    assert!(!start_lines(&frames).contains(&"BYE".to_owned()) && truth[0].end_ns.is_none());
}

#[test]
fn early_media_comes_from_the_callee_alone() {
    let scenario =
        Scenario { early_media: true, ring_ms: 1000, direction: Direction::Outbound, ..Scenario::default() };
    let call = &scenario.traffic().truth[0];
    let first = |sent: &Sent| sent.sent_ns.map(|(first, _)| first);
    assert!(first(&call.far) < call.answer_ns && first(&call.near) > call.answer_ns);
}

#[test]
fn a_late_offer_stands_in_the_200_and_its_answer_in_the_ack() {
    let Traffic { frames, .. } = Scenario { late_offer: true, ..Scenario::default() }.traffic();
    let bodies: Vec<bool> = frames
        .iter()
        .filter_map(udp)
        .filter(|(from, ..)| *from == 5060)
        .map(|(_, _, text)| String::from_utf8_lossy(text).contains("m=audio"))
        .collect();
    assert_eq!(bodies, [false, false, false, true, true, false, false]);
}

#[test]
fn pieces_on_tcp_join_to_the_same_messages() {
    let scenario =
        Scenario { calls: 20, talk_ms: 100, transport: Transport::TcpPieces, ..Scenario::default() };
    let mut streams: BTreeMap<Vec<u8>, BTreeMap<u32, Vec<u8>>> = BTreeMap::new();
    let mut odd = 0;
    for frame in &scenario.traffic().frames {
        let b = &frame.bytes;
        if b[23] != 6 {
            continue;
        }
        let payload = &b[34 + usize::from(b[46] >> 4) * 4..];
        if payload.is_empty() {
            continue;
        }
        let sequence = u32::from_be_bytes([b[38], b[39], b[40], b[41]]);
        let parts = streams.entry(b[26..38].to_vec()).or_default();
        odd += usize::from(parts.last_key_value().is_some_and(|(last, _)| *last >= sequence));
        let before = parts.insert(sequence, payload.to_vec());
        assert!(before.is_none_or(|before| before == payload), "sent again, the same bytes");
    }
    assert_eq!(streams.len(), 40);
    assert!(odd > 20, "{odd} segments out of order or sent again");
    let mut starts = 0;
    for parts in streams.values() {
        let mut next = *parts.keys().next().expect("a connection with bytes");
        let mut joined = Vec::new();
        for (sequence, bytes) in parts {
            assert_eq!(*sequence, next, "no gap and no overlap");
            next = next.wrapping_add(bytes.len() as u32);
            joined.extend(bytes);
        }
        starts += String::from_utf8_lossy(&joined).matches("Call-ID: ").count();
    }
    assert_eq!(starts, 20 * 7);
}

#[test]
fn a_proxied_call_shows_each_message_twice_but_trying() {
    let scenario = Scenario { proxied: true, direction: Direction::Internal, ..Scenario::default() };
    assert_eq!(start_lines(&scenario.traffic().frames).len(), 2 * 6 + 1);
}

#[test]
fn a_mirror_of_both_directions_doubles_every_frame() {
    let once = Scenario { talk_ms: 1000, calls: 3, ..Scenario::default() };
    let twice = Scenario { span_copies: true, ..once.clone() };
    let (once, twice) = (once.traffic().frames, twice.traffic().frames);
    assert_eq!(twice.len(), 2 * once.len());
    assert!(once.iter().all(|frame| twice.iter().filter(|copy| copy.bytes == frame.bytes).count() == 2));
    assert!(twice.windows(2).all(|pair| pair[0].at_ns <= pair[1].at_ns));
}

#[test]
fn what_a_capture_leaves_out_is_left_out() {
    let whole = Scenario::default().traffic();
    let cut = Scenario { snaplen: 96, skip_ms: 2000, step_back_ms: 1500, ..Scenario::default() }.traffic();
    assert_eq!(cut.truth, whole.truth, "the truth is that of the wire");
    assert!(start_lines(&cut.frames).iter().all(|line| line != "INVITE"));
    assert!(cut.frames.iter().all(|frame| frame.bytes.len() <= 96 && frame.wire_len >= 54));
    let steps = cut.frames.windows(2).filter(|pair| pair[1].at_ns < pair[0].at_ns).count();
    assert_eq!(steps, 1);
    let bare = Scenario { rtp_only: true, ..Scenario::default() }.traffic();
    assert!(start_lines(&bare.frames).is_empty() && bare.truth == whole.truth);
}

#[test]
fn lines_are_used_again_at_once() {
    let Traffic { truth, .. } =
        Scenario { calls: 2, calls_per_line: 3, talk_ms: 500, ..Scenario::default() }.traffic();
    assert_eq!(truth.len(), 6);
    for calls in truth.chunks(3) {
        assert!(calls.windows(2).all(|pair| pair[0].near.from == pair[1].near.from
            && pair[0].far.from == pair[1].far.from
            && pair[0].call_id != pair[1].call_id
            && pair[0].end_ns.map(|end| end + 50_000_000) == Some(pair[1].invite_ns)));
    }
}

#[test]
fn a_scenario_without_calls_is_an_empty_capture() {
    let none = Scenario { calls: 0, ..Scenario::default() }.traffic();
    assert!(none.frames.is_empty() && none.truth.is_empty());
}
