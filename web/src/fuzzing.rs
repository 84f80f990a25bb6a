//! Doors for the fuzzer into what reads bytes that anybody may have written. Compiled for it alone (`--cfg fuzzing`).

use decode::Timestamp;

use crate::import::about::Said;

/// Takes the bytes for a WAVE file.
pub fn wave(bytes: &[u8]) {
    let given = crate::import::read_wave(bytes);
    // No sample of 8 bits becomes more than two bytes.
    assert!(given <= 2 * bytes.len(), "{given} of {}", bytes.len());
}

/// Takes the bytes for metadata.
pub fn about(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for said in [Said::dat(&text), Said::json(&text)].into_iter().flatten() {
        let _ = said.about(&text, None, Some("1"), Timestamp::from_nanos(i64::MAX));
    }
}
