//! What people ask for, in the grammar of filters, and the search records that it is held against.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &str, &str, &[u8])| {
    let (field, written, value, bytes) = input;
    // A pattern of one kind prints as it was written and means the same again.
    for pattern in [written.parse(), policy::Pattern::of_text(written)].into_iter().flatten() {
        let excluded = pattern.matches_any([value].into_iter());
        assert_eq!(pattern.matches(value), excluded);
        assert_eq!(pattern.to_string(), written);
    }
    store::fuzzing::search(bytes, field, written);
});
