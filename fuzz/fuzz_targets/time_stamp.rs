//! What a time-stamp authority answers, or somebody in its place: a reply, a token.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| store::fuzzing::time_stamp(data));
