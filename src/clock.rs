//! The wall clock, for everything here; the cores are given the time. (The archive has a timer of its own for its syncs.)

use std::time::{SystemTime, UNIX_EPOCH};

use decode::Timestamp;
use policy::retention::Reading;

use crate::failure::Failure;

/// The wall clock now.
pub(crate) fn now() -> Timestamp {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => Timestamp::from_parts(since.as_secs() as i64, i64::from(since.subsec_nanos())),
        Err(before) => Timestamp::from_nanos(-(before.duration().as_nanos() as i64)),
    }
}

/// All clocks of the machine, as the watch over them wants them.
pub(crate) fn reading() -> Result<Reading, Failure> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(|e| Failure::new(format!("{path}: {e}")));
    // Seconds since the machine started, time asleep included, to two places.
    let uptime = read("/proc/uptime")?;
    let seconds: f64 = uptime.split(' ').next().and_then(|s| s.parse().ok()).unwrap_or_default();
    let boot = read("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
    Ok(Reading { wall: now(), since_boot_ns: (seconds * 1e9) as u64, boot })
}
