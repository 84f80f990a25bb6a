//! The whole way from a capture file to events: no panic, and every call that begins ends exactly once.
#![no_main]

use std::collections::BTreeSet;
use std::io::Cursor;

use capture::{FrameSource, PcapFile};
use decode::tracker::{Event, Tracker};
use libfuzzer_sys::fuzz_target;

fn drain(tracker: &mut Tracker, running: &mut BTreeSet<u64>) {
    while let Some(event) = tracker.poll_event() {
        match event {
            Event::LegStarted(facts) => assert!(running.insert(facts.leg.serial())),
            Event::Audio { leg, .. } => assert!(running.contains(&leg.serial()), "audio belongs to a running leg"),
            Event::LegEnded(end) => assert!(running.remove(&end.facts.leg.serial())),
            _ => {}
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut file) = PcapFile::from_reader("-", Cursor::new(bytes.to_vec())) else { return };
    let mut tracker = Tracker::new();
    let mut running = BTreeSet::new();
    while let Ok(Some(frame)) = file.next_frame() {
        tracker.handle_frame(&frame);
        drain(&mut tracker, &mut running);
    }
    tracker.finish();
    drain(&mut tracker, &mut running);
    assert!(running.is_empty(), "every call ends");
});
