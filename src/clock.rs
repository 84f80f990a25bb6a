//! The wall clock, for everything here; the cores are given the time. (The archive has a timer of its own for its syncs.)

use std::time::{SystemTime, UNIX_EPOCH};

use decode::Timestamp;

/// The wall clock now.
pub(crate) fn now() -> Timestamp {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => Timestamp::from_parts(since.as_secs() as i64, i64::from(since.subsec_nanos())),
        Err(before) => Timestamp::from_nanos(-(before.duration().as_nanos() as i64)),
    }
}
