//! What the archive reads back from disk: recording files, the content of chunks, journals. Any bytes may stand there.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The first byte picks the reader, so that each has seeds of its own.
    let Some((door, bytes)) = data.split_first() else { return };
    match door % 3 {
        0 => store::fuzzing::file(bytes),
        1 => store::fuzzing::records(bytes),
        _ => store::fuzzing::replay(bytes),
    }
});
