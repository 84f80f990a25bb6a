//! Room on the disk: how much is left, how fast it goes, and when somebody must be told.
//!
//! Pure: figures and times in, alerts out. The disk thread asks the file system and feeds it.

use decode::Timestamp;
use serde::{Deserialize, Serialize};

/// Shares of the disk that are told when no more than so much is free, in percent.
pub(crate) const LEVELS_PERCENT: [u64; 3] = [20, 10, 5];
/// Told when the disk will be full within so many hours at the pace of the last day.
pub(crate) const FORECAST_H: i64 = 24;
/// How far above a level the room must rise before the level is told anew, in percent: a disk at 10 % does not ring all day.
const AGAIN_PERCENT: u64 = 2;
/// Looks that the pace is told from: one each quarter of an hour, for a day.
const LOOKS_MAX: usize = 97;
const LOOK_EVERY_MS: u64 = 15 * 60 * 1000;
/// The pace is not told from less.
const PACE_FROM_MS: u64 = 60 * 60 * 1000;

/// The room on the disk of the archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Bytes that can still be written.
    pub free: u64,
    /// Bytes of the file system.
    pub total: u64,
}

impl Space {
    /// Free share in whole percent, rounded down.
    #[must_use]
    pub fn percent(self) -> u64 {
        u64::try_from(u128::from(self.free) * 100 / u128::from(self.total.max(1))).unwrap_or(100)
    }
}

/// Why somebody must look at the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpaceAlert {
    /// No more than this share is free, in percent.
    Low {
        /// The level that was reached.
        percent: u64,
    },
    /// At the pace of the last day it is full in so many hours.
    Forecast {
        /// Hours, rounded down.
        hours: i64,
    },
    /// It is full: running recordings were ended, new ones are refused.
    Full,
    /// There is room again.
    Again,
}

impl std::fmt::Display for SpaceAlert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SpaceAlert::Low { percent } => {
                write!(f, "no more than {percent} % of the archive's disk is free")
            }
            SpaceAlert::Forecast { hours } => {
                write!(f, "the archive's disk will be full in {hours} hours at the pace of the last day")
            }
            SpaceAlert::Full => f.write_str("the archive's disk is full: recordings are ended and refused"),
            SpaceAlert::Again => f.write_str("the archive's disk has room again: recording goes on"),
        }
    }
}

/// Watches the room.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpaceWatch {
    /// Levels that were told and have not been left since.
    told: [bool; LEVELS_PERCENT.len()],
    forecast_told: bool,
    is_full: bool,
    /// Room at past times, oldest first.
    looks: std::collections::VecDeque<(Timestamp, u64)>,
}

impl SpaceWatch {
    /// Takes a look; gives what is to be told now, the worst last.
    pub(crate) fn look(&mut self, at: Timestamp, space: Space) -> Vec<SpaceAlert> {
        let mut alerts = Vec::new();
        let percent = space.percent();
        for (told, level) in self.told.iter_mut().zip(LEVELS_PERCENT) {
            if percent > level + AGAIN_PERCENT {
                *told = false;
            } else if u128::from(space.free) * 100 <= u128::from(space.total) * u128::from(level) && !*told {
                *told = true;
                alerts.push(SpaceAlert::Low { percent: level });
            }
        }
        // Of several levels passed at once the lowest says it all.
        alerts.drain(..alerts.len().saturating_sub(1));
        self.remember(at, space.free);
        match self.hours_left(at, space.free) {
            Some(hours) if hours < FORECAST_H => {
                if !std::mem::replace(&mut self.forecast_told, true) {
                    alerts.push(SpaceAlert::Forecast { hours });
                }
            }
            _ => self.forecast_told = false,
        }
        alerts
    }

    /// The disk took something no more, or takes it again.
    pub(crate) fn set_full(&mut self, is_full: bool) -> Option<SpaceAlert> {
        let was_full = std::mem::replace(&mut self.is_full, is_full);
        match (was_full, is_full) {
            (false, true) => Some(SpaceAlert::Full),
            (true, false) => Some(SpaceAlert::Again),
            _ => None,
        }
    }

    fn remember(&mut self, at: Timestamp, free: u64) {
        // A clock that was set back makes the past worthless.
        if self.looks.back().is_some_and(|(last, _)| *last > at) {
            self.looks.clear();
        }
        if self.looks.back().is_none_or(|(last, _)| at.millis_since(*last) >= LOOK_EVERY_MS) {
            self.looks.push_back((at, free));
        }
        while self.looks.len() > LOOKS_MAX {
            self.looks.pop_front();
        }
    }

    /// Hours until the disk is full; none when it does not fill, or when too little is known.
    fn hours_left(&self, at: Timestamp, free: u64) -> Option<i64> {
        let (since, before) = self.looks.front()?;
        let span_ms = at.millis_since(*since);
        let gone = before.checked_sub(free).filter(|&gone| gone > 0 && span_ms >= PACE_FROM_MS)?;
        let left_ms = u128::from(free) * u128::from(span_ms) / u128::from(gone);
        i64::try_from(left_ms / 3_600_000).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_millis(1_795_000_000_000).plus_millis(minutes * 60_000)
    }

    fn space(percent: u64) -> Space {
        Space { free: percent * GIB, total: 100 * GIB }
    }

    #[test]
    fn each_level_is_told_once_until_it_is_left() {
        let mut watch = SpaceWatch::default();
        let mut told = |percent| watch.look(at(0), space(percent));
        assert_eq!(told(30), []);
        assert_eq!(told(20), [SpaceAlert::Low { percent: 20 }]);
        assert_eq!(told(19), []);
        assert_eq!(told(21), [], "not left by a hair");
        assert_eq!(told(20), []);
        assert_eq!(told(4), [SpaceAlert::Low { percent: 5 }], "two levels at once");
        assert_eq!(told(8), []);
        assert_eq!(told(5), [SpaceAlert::Low { percent: 5 }]);
        assert_eq!(told(50), []);
        assert_eq!(told(10), [SpaceAlert::Low { percent: 10 }]);
    }

    #[test]
    fn the_forecast_is_that_of_the_pace() {
        let mut watch = SpaceWatch::default();
        assert_eq!(watch.look(at(0), space(90)), []);
        // Two percent an hour: 40 hours are left after five.
        assert_eq!(watch.look(at(300), space(80)), []);
        // Ten hours later, still 2 % an hour: 60 % in 30 hours. Then faster.
        assert_eq!(watch.look(at(900), space(60)), []);
        let alerts = watch.look(at(1200), space(40));
        assert_eq!(alerts, [SpaceAlert::Forecast { hours: 16 }]);
        assert_eq!(watch.look(at(1210), space(39)), [], "told once");
        assert_eq!(watch.look(at(1220), space(90)), [], "somebody made room");
    }

    #[test]
    fn a_short_past_and_a_clock_set_back_tell_no_pace() {
        let mut watch = SpaceWatch::default();
        watch.look(at(0), space(90));
        assert_eq!(watch.look(at(10), space(50)), [], "ten minutes say nothing");
        assert_eq!(watch.look(at(-600), space(45)), []);
        assert_eq!(watch.look(at(-590), space(30)), []);
    }

    #[test]
    fn full_and_room_again_are_told_once_each() {
        let mut watch = SpaceWatch::default();
        assert_eq!(watch.set_full(true), Some(SpaceAlert::Full));
        assert_eq!(watch.set_full(true), None);
        assert_eq!(watch.set_full(false), Some(SpaceAlert::Again));
        assert_eq!(watch.set_full(false), None);
    }

    #[test]
    fn an_empty_disk_of_no_size_is_no_division_by_zero() {
        assert_eq!(Space::default().percent(), 0);
        assert_eq!(Space { free: u64::MAX, total: u64::MAX }.percent(), 100);
        SpaceWatch::default().look(at(0), Space { free: u64::MAX, total: u64::MAX });
    }
}
