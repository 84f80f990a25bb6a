//! The drives that something is written to: how full they are, and when they will be.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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

/// The device of a folder, and the room on it.
type Answer = Option<(u64, Space)>;

/// A folder on a drive.
#[derive(Debug)]
struct Watched {
    name: String,
    folder: PathBuf,
    forecast: Forecast,
    /// Where a thread puts the answer; none where it is waited for.
    asked: Option<Arc<Mutex<Asked>>>,
}

#[derive(Debug, Default)]
struct Asked {
    is_waiting: bool,
    answer: Answer,
}

/// The drives that are watched, each once.
#[derive(Debug)]
pub(crate) struct Drives {
    watched: Vec<Watched>,
}

impl Drives {
    /// Those of the archive, of the system, and of archive locations that are folders. A location is asked by a thread of its own, and
    /// what it said is told at the next look: a mount whose server is gone may never answer, and alarms do not wait for it.
    pub(crate) fn new(archive: &Path, locations: impl Iterator<Item = (String, PathBuf)>) -> Drives {
        let watched = |name: String, folder: PathBuf, asked| Watched {
            name,
            folder,
            forecast: Forecast::default(),
            asked,
        };
        let mut all = vec![watched("archive".to_owned(), archive.to_owned(), None)];
        all.extend(locations.map(|(name, folder)| watched(name, folder, Some(Arc::default()))));
        all.push(watched("system".to_owned(), PathBuf::from("/"), None));
        Drives { watched: all }
    }

    /// How they are now. One that cannot be asked (a mount that is gone or hangs) is left out, and so is one on a drive that was told
    /// already.
    pub(crate) fn look(&mut self, now: Timestamp) -> Vec<Drive> {
        let mut seen = Vec::new();
        let mut drives = Vec::new();
        for Watched { name, folder, forecast, asked } in &mut self.watched {
            let answer = match asked {
                None => ask(folder),
                Some(asked) => ask_aside(folder, asked),
            };
            let Some((device, space)) = answer.filter(|(device, _)| !seen.contains(device)) else { continue };
            seen.push(device);
            let full_in_h = forecast.look(space, now);
            drives.push(Drive { name: name.clone(), space, full_in_h });
        }
        drives
    }
}

fn ask(folder: &Path) -> Answer {
    let (stat, device) = (rustix::fs::statvfs(folder).ok()?, rustix::fs::stat(folder).ok()?);
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    // What the system keeps for root is not room.
    let used = stat.f_blocks.saturating_sub(stat.f_bfree);
    let total = bytes(used.saturating_add(stat.f_bavail));
    Some((device.st_dev, Space { free: bytes(stat.f_bavail), total }))
}

/// The latest answer, and asks anew; none while the one asked before has not answered.
fn ask_aside(folder: &Path, asked: &Arc<Mutex<Asked>>) -> Answer {
    let mut known = asked.lock().unwrap_or_else(PoisonError::into_inner);
    if known.is_waiting {
        return None;
    }
    let (folder, place) = (folder.to_owned(), Arc::clone(asked));
    let asking = move || {
        let answer = ask(&folder);
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Asked { is_waiting: false, answer };
    };
    // Nobody waits for its end, the process neither.
    known.is_waiting = std::thread::Builder::new().name("drive".into()).spawn(asking).is_ok();
    known.answer
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
        let mut watched = Drives::new(dir.path(), [nas, gone].into_iter());
        watched.look(at_min(0));
        let are_answered = |drives: &Drives| {
            let mut asked = drives.watched.iter().filter_map(|one| one.asked.as_ref());
            asked.all(|asked| !asked.lock().expect("not broken").is_waiting)
        };
        while !are_answered(&watched) {
            std::thread::yield_now();
        }
        let drives = watched.look(at_min(1));
        assert_eq!(drives.first().map(|drive| drive.name.as_str()), Some("archive"));
        assert!(drives.iter().all(|drive| drive.name != "nas" && drive.name != "gone"));
        assert!(drives[0].space.total >= drives[0].space.free && drives[0].space.total > 0);
    }

    #[test]
    fn a_location_that_never_answers_is_left_out_and_asked_once() {
        let asked =
            Arc::new(Mutex::new(Asked { is_waiting: true, answer: Some((1, Space { free: 1, total: 2 })) }));
        assert_eq!(ask_aside(Path::new("/"), &asked), None);
        assert_eq!(Arc::strong_count(&asked), 1, "no further thread");
        asked.lock().expect("not broken").is_waiting = false;
        assert_eq!(ask_aside(Path::new("/"), &asked), Some((1, Space { free: 1, total: 2 })));
    }
}
