//! Audio files and metadata that somebody brings in.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The first byte picks the reader, so that each has seeds of its own.
    let Some((door, bytes)) = data.split_first() else { return };
    match door % 2 {
        0 => web::fuzzing::wave(bytes),
        _ => web::fuzzing::about(bytes),
    }
});
