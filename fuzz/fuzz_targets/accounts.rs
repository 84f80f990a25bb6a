//! The document of accounts, lines of the audit trail from their end, and filters of access as files have them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &[u8])| {
    let (written, bytes) = input;
    store::fuzzing::accounts(bytes, written);
    if let Ok(filter) = serde_json::from_slice::<policy::access::AccessFilter>(bytes) {
        let json = serde_json::to_vec(&filter).expect("what was read can be written");
        assert_eq!(serde_json::from_slice::<policy::access::AccessFilter>(&json).expect("and read again"), filter);
    }
});
