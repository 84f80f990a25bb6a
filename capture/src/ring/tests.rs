//! The ring without a network: the test puts in what a capture thread would.

use super::*;

const NO_WAIT: Duration = Duration::ZERO;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

#[test]
fn frames_come_out_as_they_went_in_with_the_number_of_their_port() {
    let (mut ring, mut sinks, _asleep) = Ring::wired(["a", "b"].into_iter(), 1 << 20);
    sinks[0].link = 1;
    sinks[1].link = 113;
    sinks[0].push(at(1), 60, b"one");
    sinks[0].push(at(2), 60, b"");
    sinks[1].push(at(3), 5, b"three");
    assert_eq!(ring.advance_within(NO_WAIT).ok(), Some(Advance::Idle));
    sinks[0].hand_over();
    sinks[1].hand_over();
    drop(sinks);
    let mut seen = Vec::new();
    while let Ok(Some(frame)) = ring.next_frame() {
        seen.push((frame.at, frame.source, frame.link, frame.wire_len, frame.data.to_vec()));
    }
    assert_eq!(
        seen,
        [
            (at(1), 0, 1, 60, b"one".to_vec()),
            (at(2), 0, 1, 60, vec![]),
            (at(3), 1, 113, 5, b"three".to_vec())
        ]
    );
    assert!(ring.frame().is_none());
    let Counters { frames, bytes, dropped_ring, .. } = ring.counters();
    assert_eq!((frames, bytes, dropped_ring), (3, 8, 0));
    assert_eq!(ring.advance_within(NO_WAIT).ok(), Some(Advance::End));
}

#[test]
fn what_is_seen_ahead_is_the_rest_of_the_batch_as_it_comes() {
    let (mut ring, mut sinks, _asleep) = Ring::wired(["a"].into_iter(), 1 << 20);
    for (number, data) in [&b"one"[..], b"", b"three", b"four"].into_iter().enumerate() {
        sinks[0].push(at(number as i64), 60, data);
    }
    sinks[0].hand_over();
    let ahead = |ring: &Ring| -> Vec<Vec<u8>> {
        let mut places = [Frame { at: Timestamp::MIN, link: 0, source: 0, wire_len: 0, data: &[] }; 2];
        let found = ring.look_ahead(&mut places);
        places[..found].iter().map(|frame| frame.data.to_vec()).collect()
    };
    assert!(ahead(&ring).is_empty(), "nothing was taken up yet");
    ring.next_frame().expect("no error");
    assert_eq!(ahead(&ring), [b"".to_vec(), b"three".to_vec()]);
    ring.next_frame().expect("no error");
    ring.next_frame().expect("no error");
    assert_eq!(ahead(&ring), [b"four".to_vec()]);
}

#[test]
fn a_full_ring_drops_what_comes_counts_it_and_goes_on_when_it_is_read() {
    let (mut ring, mut sinks, _asleep) = Ring::wired(["a"].into_iter(), 250);
    let mut sink = sinks.remove(0);
    for number in 0..5_u8 {
        sink.push(at(i64::from(number)), 100, &[number; 100]);
        sink.hand_over();
    }
    assert_eq!(ring.ports()[0].counters.dropped_ring, 3);
    assert_eq!(ring.shared.queued.load(Ordering::SeqCst), 200);
    assert_eq!(ring.next_frame().ok().flatten().map(|frame| frame.data[0]), Some(0));
    assert_eq!(ring.next_frame().ok().flatten().map(|frame| frame.data[0]), Some(1));
    sink.push(at(9), 100, &[9; 100]);
    sink.hand_over();
    assert_eq!(ring.next_frame().ok().flatten().map(|frame| frame.data[0]), Some(9));
    let counters = ring.counters();
    assert_eq!((counters.frames, counters.dropped_ring), (3, 3));
    assert_eq!(ring.ports()[0].counters.frames, 6);
}

#[test]
fn of_a_closed_port_comes_what_was_handed_over_before_and_the_others_keep_their_places() {
    let (mut ring, mut sinks, _asleep) = Ring::wired(["a", "b", "c"].into_iter(), usize::MAX);
    sinks[1].push(at(0), 4, b"kept");
    sinks[1].hand_over();
    ring.close(1);
    ring.close(7);
    assert_eq!([0, 1, 2].map(|port| sinks[port].stopped()), [false, true, false]);
    assert_eq!(ring.next_frame().ok().flatten().map(|frame| (frame.source, frame.data[0])), Some((1, b'k')));
    sinks[2].push(at(1), 4, b"more");
    sinks[2].hand_over();
    assert_eq!(ring.next_frame().ok().flatten().map(|frame| (frame.source, frame.data[0])), Some((2, b'm')));
    let names: Vec<String> = ring.gauges().ports().into_iter().map(|port| port.interface).collect();
    assert_eq!(names, ["a", "c"]);
    assert_eq!(ring.counters().frames, 2);
}

#[test]
fn a_ring_smaller_than_a_batch_still_passes_frames() {
    let (mut ring, mut sinks, _asleep) = Ring::wired(["a"].into_iter(), 0);
    for number in 0..3 {
        sinks[0].push(at(number), 100, &[1; 100]);
        sinks[0].hand_over();
        assert_eq!(ring.advance_within(NO_WAIT).ok(), Some(Advance::Frame));
        assert_eq!(ring.advance_within(NO_WAIT).ok(), Some(Advance::Idle));
    }
    assert_eq!(ring.counters().dropped_ring, 0);
}

#[test]
fn a_large_batch_is_handed_over_before_the_thread_asks() {
    let (mut ring, mut sinks, _asleep) = Ring::wired(["a"].into_iter(), usize::MAX);
    for _ in 0..=BATCH_BYTES_MAX / 1000 {
        sinks[0].push(at(0), 1000, &[0; 1000]);
    }
    assert_eq!(ring.advance_within(NO_WAIT).ok(), Some(Advance::Frame));
}

#[test]
fn the_buffers_of_read_batches_are_used_again() {
    let (mut ring, mut sinks, _asleep) = Ring::wired(["a"].into_iter(), 1 << 20);
    let mut places = Vec::new();
    for number in 0..3 {
        sinks[0].push(at(number), 100, &[1; 100]);
        sinks[0].hand_over();
        assert_eq!(ring.advance_within(NO_WAIT).ok(), Some(Advance::Frame));
        places.push(ring.frame().map(|frame| frame.data.as_ptr()));
        assert_eq!(ring.advance_within(NO_WAIT).ok(), Some(Advance::Idle));
    }
    assert!(places[0].is_some() && places.iter().all(|place| *place == places[0]), "{places:?}");
}

#[test]
fn a_refused_batch_takes_the_link_type_of_what_is_put_in_next() {
    let (mut ring, mut sinks, _asleep) = Ring::wired(["a"].into_iter(), 0);
    sinks[0].link = 1;
    for data in [b"kept", b"lost"] {
        sinks[0].push(at(0), 4, data);
        sinks[0].hand_over();
    }
    assert_eq!(ring.next_frame().ok().flatten().map(|frame| frame.link), Some(1));
    assert_eq!(ring.advance_within(NO_WAIT).ok(), Some(Advance::Idle));
    sinks[0].link = 113;
    sinks[0].push(at(0), 4, b"more");
    sinks[0].hand_over();
    assert_eq!(ring.next_frame().ok().flatten().map(|frame| frame.link), Some(113));
}

#[test]
fn a_lost_port_is_told_once_and_the_others_go_on() {
    let (mut ring, mut sinks, _asleep) = Ring::wired(["a", "b"].into_iter(), 1 << 20);
    let lost = Error::PortLost { interface: "a".to_owned(), message: "The interface disappeared".to_owned() };
    sinks[0].sender.try_send(Message::Trouble(lost)).unwrap();
    sinks[1].push(at(1), 1, b"x");
    sinks[1].hand_over();
    assert!(matches!(ring.next_frame(), Err(Error::PortLost { .. })));
    assert!(ring.frame().is_none());
    assert_eq!(ring.next_frame().ok().flatten().map(|frame| frame.source), Some(1));
}

#[test]
fn a_ring_that_is_dropped_frees_the_thread_that_fills_it() {
    let (ring, mut sinks, asleep) = Ring::wired(["a"].into_iter(), usize::MAX);
    let mut sink = sinks.remove(0);
    let filler = std::thread::spawn(move || {
        while !sink.shared.stop.load(Ordering::SeqCst) {
            sink.push(at(0), 100, &[0; 100]);
            sink.hand_over();
        }
        // As a thread that waits to open a lost port: it wakes although nothing was sent.
        asleep.recv_timeout(Duration::from_secs(60))
    });
    drop(ring);
    let woken = filler.join().unwrap();
    assert_eq!(woken, Err(RecvTimeoutError::Disconnected));
}

#[test]
fn a_stopped_ring_gives_what_was_captured_and_then_ends() {
    let (mut ring, mut sinks, _asleep) = Ring::wired(["a"].into_iter(), 1 << 20);
    sinks[0].push(at(1), 1, b"x");
    let stopper = ring.stopper();
    stopper.stop();
    stopper.stop();
    sinks[0].hand_over();
    drop(sinks);
    assert!(matches!(ring.advance(), Ok(true)));
    assert!(matches!(ring.advance(), Ok(false)));
}

#[test]
fn a_gap_is_told_before_what_comes_after_it_and_counted_at_its_port() {
    let (mut ring, sinks, asleep) = Ring::wired(["a"].into_iter(), 1 << 20);
    let mut sinks = sinks.into_iter();
    let mut worker = Worker {
        options: PortOptions::new("a"),
        sink: sinks.next().unwrap(),
        asleep,
        away_since: Some(std::time::Instant::now() - Duration::from_millis(2_500)),
    };
    worker.tell_missed();
    worker.sink.push(at(5), 1, b"x");
    worker.sink.hand_over();
    let Err(gap @ Error::Missed { away_ms: 2_500.., .. }) = ring.next_frame() else {
        panic!("no gap is told")
    };
    assert!(gap.to_string().starts_with("capture on \"a\" goes on after 2.5 s"), "{gap}");
    assert!(ring.next_frame().unwrap().is_some());
    let port = ring.ports().remove(0);
    assert_eq!((port.outages, port.away_ms >= 2_500), (1, true));
    worker.tell_missed();
    assert_eq!(ring.ports().remove(0).outages, 1);
}

#[test]
fn an_adapters_clock_is_believed_near_the_machines_only() {
    let now = at(100_000);
    for (stamp_ms, off_ms) in
        [(100_000, None), (98_000, None), (102_001, Some(2_001)), (63_000, Some(37_000))]
    {
        assert_eq!(clock_is_off(at(stamp_ms), now), off_ms);
    }
}
