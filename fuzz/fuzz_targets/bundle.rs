//! An exported ZIP that somebody hands in to be verified.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let report = web::evidence::verify(Cursor::new(data), &store::Trusted::default()).expect("memory reads");
    assert!(report.holds() || !report.problems.is_empty());
});
