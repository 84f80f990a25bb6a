//! What is never kept of a SIP message: any bytes, whether the parser takes them for one or not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::redact::{Digits, redact};

fuzz_target!(|bytes: &[u8]| {
    for digits in [Digits::Kept, Digits::Withheld] {
        let (once, _) = redact(bytes, digits);
        assert_eq!(once.len(), bytes.len(), "lengths stay");
        assert!(once.iter().zip(bytes).all(|(kept, given)| kept == given || *kept == b'x'));
        let (before, after) = (decode::sip::parse(bytes), decode::sip::parse(&once));
        if let (Ok(before), Ok(after)) = (&before, &after) {
            assert_eq!(before.body.len(), after.body.len(), "the body is as long as it was");
        }
        assert_eq!(before.is_ok(), after.is_ok() || once.iter().all(|byte| b"x\r\n".contains(byte)));
        assert_eq!(redact(&once, digits).0, once, "there is nothing more to replace");
    }
});
