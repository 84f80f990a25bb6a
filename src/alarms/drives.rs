//! The drives that something is written to: how full they are, and when they will be.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use decode::Timestamp;
use store::Space;

/// How often the room on a drive is noted, and for how long back.
const NOTED_EVERY_MS: u64 = 10 * 60_000;
const NOTED_FOR_MS: u64 = 24 * 3_600_000;
/// A forecast takes at least so much time to make.
const FORECAST_AFTER_MS: u64 = 3_600_000;

/// A drive as it is now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Drive {
    /// `archive`, `system`, or the archive location's name.
    pub(crate) name: String,
    pub(crate) space: Space,
    /// Hours until it is full, if it goes on to fill as in the last day; none where it does not fill, or nothing can be said yet.
    pub(crate) full_in_h: Option<u64>,
}

/// How fast one drive fills.
#[derive(Debug, Default)]
pub(crate) struct Forecast {
    /// Free bytes, every ten minutes.
    noted: VecDeque<(Timestamp, u64)>,
}

impl Forecast {
    /// Takes a look; gives the hours until it is full. What retention gives back counts as it comes: the net of a day decides, or of what
    /// is known of it.
    pub(crate) fn look(&mut self, space: Space, now: Timestamp) -> Option<u64> {
        // A clock that was set back starts it anew.
        if self.noted.back().is_some_and(|&(at, _)| now < at) {
            self.noted.clear();
        }
        if self.noted.back().is_none_or(|&(at, _)| now.millis_since(at) >= NOTED_EVERY_MS) {
            self.noted.push_back((now, space.free));
            while self.noted.front().is_some_and(|&(at, _)| now.millis_since(at) > NOTED_FOR_MS) {
                self.noted.pop_front();
            }
        }
        let &(since, before) = self.noted.front()?;
        let passed_ms = now.millis_since(since);
        let filled =
            before.checked_sub(space.free).filter(|&bytes| bytes > 0 && passed_ms >= FORECAST_AFTER_MS)?;
        let left_ms = u128::from(space.free) * u128::from(passed_ms) / u128::from(filled);
        u64::try_from(left_ms / 3_600_000).ok()
    }
}

/// The drives that are watched, each once.
#[derive(Debug)]
pub(crate) struct Drives {
    /// Name, a folder on it, and how it fills.
    watched: Vec<(String, PathBuf, Forecast)>,
}

impl Drives {
    /// Those of the archive, of the system, and of archive locations that are folders.
    pub(crate) fn new(archive: &Path, locations: impl Iterator<Item = (String, PathBuf)>) -> Drives {
        let system = ("system".to_owned(), PathBuf::from("/"));
        let all = [("archive".to_owned(), archive.to_owned())].into_iter().chain(locations).chain([system]);
        Drives { watched: all.map(|(name, folder)| (name, folder, Forecast::default())).collect() }
    }

    /// How they are now. One that cannot be asked (a mount that is gone) is left out, and so is one on a drive that was told already.
    pub(crate) fn look(&mut self, now: Timestamp) -> Vec<Drive> {
        let mut seen = Vec::new();
        let mut drives = Vec::new();
        for (name, folder, forecast) in &mut self.watched {
            let (Ok(stat), Ok(device)) =
                (rustix::fs::statvfs(folder.as_path()), rustix::fs::stat(folder.as_path()))
            else {
                continue;
            };
            if seen.contains(&device.st_dev) {
                continue;
            }
            seen.push(device.st_dev);
            let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
            // What the system keeps for root is not room.
            let used = stat.f_blocks.saturating_sub(stat.f_bfree);
            let space =
                Space { free: bytes(stat.f_bavail), total: bytes(used.saturating_add(stat.f_bavail)) };
            let full_in_h = forecast.look(space, now);
            drives.push(Drive { name: name.clone(), space, full_in_h });
        }
        drives
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_min(minutes: i64) -> Timestamp {
        Timestamp::from_parts(1_795_392_000 + 60 * minutes, 0)
    }

    #[test]
    fn a_drive_that_fills_evenly_is_full_when_it_is_said_to_be() {
        let mut forecast = Forecast::default();
        let free = |minutes: i64| Space { free: (60_000 - 10 * minutes) as u64, total: 100_000 };
        for minutes in 0..60 {
            assert_eq!(forecast.look(free(minutes), at_min(minutes)), None, "an hour is waited for");
        }
        // 600 an hour, and 59,400 left.
        assert_eq!(forecast.look(free(60), at_min(60)), Some(99));
        assert_eq!(forecast.look(free(1_200), at_min(1_200)), Some(80));
        // It does not fill any more, and a day later that is all that counts.
        for minutes in (1_200..4_000).step_by(10) {
            forecast.look(free(1_200), at_min(minutes));
        }
        assert_eq!(forecast.look(free(1_200), at_min(4_000)), None);
    }

    #[test]
    fn what_retention_gives_back_and_a_clock_that_is_set_back_are_no_filling() {
        let mut forecast = Forecast::default();
        let space = |free| Space { free, total: 100 };
        forecast.look(space(50), at_min(0));
        assert_eq!(forecast.look(space(60), at_min(120)), None);
        assert_eq!(forecast.look(space(50), at_min(240)), None);
        assert_eq!(forecast.look(space(40), at_min(-600)), None);
        assert_eq!(forecast.look(space(30), at_min(-540)), Some(3));
    }

    #[test]
    fn two_folders_on_one_drive_are_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let nas = ("nas".to_owned(), dir.path().to_owned());
        let gone = ("gone".to_owned(), dir.path().join("gone"));
        let drives = Drives::new(dir.path(), [nas, gone].into_iter()).look(at_min(0));
        assert_eq!(drives.first().map(|drive| drive.name.as_str()), Some("archive"));
        assert!(drives.iter().all(|drive| drive.name != "nas" && drive.name != "gone"));
        assert!(drives[0].space.total >= drives[0].space.free && drives[0].space.total > 0);
    }
}
