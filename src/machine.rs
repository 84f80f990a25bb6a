//! What this process takes of the machine, from `/proc`.

use rustix::param::{clock_ticks_per_second, page_size};

/// Bytes of memory that are resident; none where the system does not tell.
pub(crate) fn resident_bytes() -> Option<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages.saturating_mul(page_size() as u64))
}

/// Files that are open.
pub(crate) fn open_fds() -> Option<u64> {
    // One of them is the folder that is being read.
    Some((std::fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1))
}

/// Processor time so far, in seconds.
pub(crate) fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which may hold anything: the 12th and 13th of what follows are user and system time.
    let mut fields = stat.rsplit(')').next()?.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_files_and_time() {
        assert!(resident_bytes().expect("Linux tells") > 1 << 20);
        assert!(open_fds().expect("Linux tells") >= 3);
        let before = cpu_seconds().expect("Linux tells");
        let mut sum = 0_u64;
        while cpu_seconds().expect("Linux tells") < before + 0.02 {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
        }
    }
}
