//! The whole way from a capture file to events: no panic, and every call that begins ends exactly once.
#![no_main]

use std::collections::BTreeSet;
use std::io::Cursor;

use capture::{FrameSource, PcapFile};
use decode::net::Mac;
use decode::tracker::{Address, Device, Devices, Event, Tracker};
use libfuzzer_sys::fuzz_target;

/// Phones that the seeds have: the lines of our generator, by IP and by Ethernet address.
fn devices() -> Devices {
    let device = |number: &str, address| Device { number: number.into(), name: String::new(), address };
    let list = vec![
        device("2001", Address::Ip([198, 18, 1, 1].into())),
        device("2002", Address::Ip([198, 19, 1, 1].into())),
        device("2003", Address::Mac(Mac([0x02, 0x00, 0x5e, 1, 0, 1]))),
    ];
    Devices::new(list, vec![[192, 0, 2, 10].into()]).expect("each address once").with_idle_ms(2_000)
}

fn drain(tracker: &mut Tracker, running: &mut BTreeSet<u64>) {
    while let Some(event) = tracker.poll_event() {
        match event {
            Event::LegStarted(facts) => assert!(running.insert(facts.leg.serial())),
            Event::Audio { leg, .. } => {
                assert!(running.contains(&leg.serial()), "audio belongs to a running leg")
            }
            Event::ForeignRtp(rtp) => {
                assert!(running.contains(&rtp.leg.serial()), "a stranger stands before a running leg")
            }
            Event::LegEnded(end) => assert!(running.remove(&end.facts.leg.serial())),
            _ => {}
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut file) = PcapFile::from_reader("-", Cursor::new(bytes.to_vec())) else { return };
    let mut tracker = Tracker::new();
    tracker.know_devices(devices());
    let mut running = BTreeSet::new();
    while let Ok(Some(frame)) = file.next_frame() {
        tracker.handle_frame(&frame);
        drain(&mut tracker, &mut running);
    }
    tracker.finish();
    drain(&mut tracker, &mut running);
    assert!(running.is_empty(), "every call ends");
});
