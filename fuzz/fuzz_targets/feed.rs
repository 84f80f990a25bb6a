//! Reports of other systems, as lines and as JSON, on their way through the gate.
#![no_main]

use decode::Timestamp;
use libfuzzer_sys::fuzz_target;
use policy::feed::line::Line;
use policy::feed::{Batch, Report};
use policy::{Gate, Rules};

fuzz_target!(|bytes: &[u8]| {
    let mut gate = Gate::new(Rules::default());
    let mut now = 1_800_000_000_000;
    for line in bytes.split(|&b| b == b'\n') {
        now += 1_000;
        let at = Timestamp::from_millis(now);
        let _ = Report::from_json(line, at);
        match Line::parse(line, at) {
            Ok(Line::Report(report)) => {
                let _ = gate.handle_report(*report, at);
            }
            Ok(_) => {}
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        gate.handle_timeout(at);
        while gate.poll_action().is_some() {}
    }
    let _ = Batch::from_json(bytes, Timestamp::from_millis(now));
});
