//! Session descriptions: no panic, bounded results.
#![no_main]

use decode::sdp::{self, CRYPTO_LINES_MAX, FORMATS_MAX, MEDIA_MAX};
use decode::srtp::sdes::KEYS_PER_LINE_MAX;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let session = sdp::parse(bytes);
    assert!(session.media.len() <= MEDIA_MAX);
    for media in &session.media {
        assert!(media.formats.len() <= FORMATS_MAX && media.crypto.len() <= CRYPTO_LINES_MAX);
        assert!(media.crypto.iter().all(|line| line.keys.len() <= KEYS_PER_LINE_MAX));
        assert!(media.formats.iter().all(|format| format.clock_rate > 0 && format.channels > 0));
        assert!(media.receives_at.is_none_or(|place| place.port != 0 && !place.is_unspecified()));
    }
});
