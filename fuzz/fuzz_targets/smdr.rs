//! SMDR records of any bytes, with any padding.
#![no_main]

use decode::Timestamp;
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use policy::smdr::{RECORD_LEN, Record};

fuzz_target!(|bytes: &[u8]| {
    let arrival = Timestamp::from_millis(1_800_000_000_000);
    for line in bytes.split(|&b| b == b'\n') {
        for padding in *b"0 -" {
            let Ok(record) = Record::parse(line, padding) else { continue };
            let _ = record.report(padding, &TimeZone::UTC, arrival);
            assert!(record.write(padding).len() >= RECORD_LEN + 2);
        }
    }
});
