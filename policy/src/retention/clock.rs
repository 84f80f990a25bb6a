//! The clock that ages are counted by, and when it is not to be believed.
//!
//! A wall clock that jumps ahead would make an archive delete what is not due, so [`ClockWatch`] compares each reading
//! with the monotonic clock of the machine, and across a restart with the last reading before it. A jump freezes
//! deletion until a person confirms the time. Only a `ClockWatch` makes a [`Now`], and nothing is judged without one.

use std::fmt;

use decode::Timestamp;
use decode::time::NS_PER_S;
use serde::{Deserialize, Serialize};

use super::Error;
use super::age::Period;
use super::history::History;

/// How far the wall clock may move against the monotonic one in a boot, in all, and how far it may be behind after a
/// restart.
pub const JUMP_MAX_S: i64 = 3_600;
/// Longest identity of a boot that is told apart, in bytes; a UUID has 36.
const BOOT_ID_MAX: usize = 64;
/// Longest name of who confirms, in characters.
const WHO_MAX: usize = 256;

/// How long a machine may have been off before somebody has to look at its clock: seven days.
pub const OFF_MAX_DEFAULT: Period = match Period::from_hours(168) {
    Some(period) => period,
    None => unreachable!(),
};

/// One look at the clocks of the machine, all at the same moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The wall clock.
    pub wall: Timestamp,
    /// Nanoseconds since the machine started, sleep included (`CLOCK_BOOTTIME`).
    pub since_boot_ns: u64,
    /// What tells this start of the machine from all others (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
}

/// Why the clock is in doubt. Seconds are rounded towards zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doubt {
    /// The wall clock moved by so much against the monotonic clock: set by hand, or corrected by more than a correction
    /// is.
    Stepped {
        /// Seconds; negative when it went back.
        by_s: i64,
    },
    /// After a restart the wall clock is before the last time that was seen: a flat battery, or set back while the
    /// machine was off.
    BehindAfterRestart {
        /// Seconds that are missing at least.
        by_s: i64,
    },
    /// After a restart more time seems to have gone by than a machine is usually off: set ahead, or really off for so
    /// long.
    AheadAfterRestart {
        /// Seconds that the machine would have been off.
        by_s: i64,
    },
}

/// Deletion is frozen, since when and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// What the wall clock showed when the jump was noticed.
    pub noticed: Timestamp,
    /// The first doubt; later ones do not replace it.
    pub doubt: Doubt,
}

/// The last confirmation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// Who gave it.
    pub who: String,
    /// The time that was confirmed.
    pub at: Timestamp,
    /// What it put an end to.
    pub ended: Freeze,
}

/// A moment that rules may be judged at: only a [`ClockWatch`] makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    at: Timestamp,
    freeze: Option<Freeze>,
}

impl Now {
    /// What the wall clock shows.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// The freeze, while one holds: nothing is due.
    #[must_use]
    pub const fn freeze(&self) -> Option<Freeze> {
        self.freeze
    }

    /// A moment that no clock was asked for.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub const fn trusted(at: Timestamp) -> Now {
        Now { at, freeze: None }
    }
}

/// Watches the clock. Its state is small, and the shell keeps it through restarts: written after each reading that is
/// acted on, and at least once an hour, since the time off is counted from the last reading that was kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockWatch {
    /// The reading of this boot that the others are held against: the first one, or the one that was confirmed.
    anchor: Option<Reading>,
    /// The newest reading.
    last: Option<Reading>,
    /// The newest time that something else than a reading shows, for an archive whose state is lost or of an earlier
    /// version.
    at_least: Option<Timestamp>,
    freeze: Option<Freeze>,
    confirmed: Option<Confirmation>,
}

impl ClockWatch {
    /// A watch without a past: it believes the first reading.
    #[must_use]
    pub fn new() -> Self {
        ClockWatch::default()
    }

    /// A watch whose past is known by one time only: that of the newest entry of an archive whose watch was lost. The
    /// first reading is held against it as after a restart.
    #[must_use]
    pub fn since(newest: Timestamp) -> Self {
        ClockWatch { at_least: Some(newest), ..ClockWatch::default() }
    }

    /// Takes a reading and says what may be judged by it. `off_max` is the longest time off that needs no confirmation
    /// ([`OFF_MAX_DEFAULT`]).
    pub fn observe(&mut self, mut reading: Reading, off_max: Period) -> Now {
        truncate(&mut reading.boot, BOOT_ID_MAX);
        let doubt = match (&self.anchor, &self.last) {
            (Some(anchor), Some(last)) if last.boot == reading.boot => stepped(anchor, &reading),
            (_, Some(last)) => restarted(last.wall, i128::from(reading.since_boot_ns), &reading, off_max),
            // How long the machine had been up at that time is not known: only the wall clock counts.
            (_, None) => self.at_least.and_then(|newest| restarted(newest, 0, &reading, off_max)),
        };
        if let Some(doubt) = doubt
            && self.freeze.is_none()
        {
            self.freeze = Some(Freeze { noticed: reading.wall, doubt });
        }
        if self.last.as_ref().is_none_or(|last| last.boot != reading.boot) {
            self.anchor = Some(reading.clone());
        }
        let at = reading.wall;
        self.last = Some(reading);
        Now { at, freeze: self.freeze }
    }

    /// The freeze, while one holds.
    #[must_use]
    pub const fn freeze(&self) -> Option<Freeze> {
        self.freeze
    }

    /// The last confirmation.
    #[must_use]
    pub const fn confirmed(&self) -> Option<&Confirmation> {
        self.confirmed.as_ref()
    }

    /// A person says that the clock was right at `at`, which is what it showed a moment ago: the freeze ends, and later
    /// readings are held against the last one. The grace of the rules runs anew, so that nothing is due by a confirmed
    /// clock before it has shown for so long what it shows.
    ///
    /// # Errors
    /// [`Error::NotFrozen`]; [`Error::Nobody`] without a name; [`Error::NotNow`] when `at` is more than an hour from
    /// the last reading, as the time on a page that was opened before the next jump is.
    pub fn confirm(&mut self, who: &str, at: Timestamp, rules: &mut History) -> Result<&Confirmation, Error> {
        let (Some(ended), Some(last)) = (self.freeze, &self.last) else { return Err(Error::NotFrozen) };
        if who.trim().is_empty() || who.chars().count() > WHO_MAX {
            return Err(Error::Nobody);
        }
        if at.nanos_since(last.wall).saturating_abs() > JUMP_MAX_S * NS_PER_S {
            return Err(Error::NotNow { at, shown: last.wall });
        }
        rules.clock_confirmed(at.max(last.wall));
        self.anchor = Some(last.clone());
        self.freeze = None;
        Ok(self.confirmed.insert(Confirmation { who: who.to_owned(), at, ended }))
    }
}

/// How far the wall clock moved against the monotonic one since the anchor: in all, so that many small steps are seen
/// as well.
fn stepped(anchor: &Reading, reading: &Reading) -> Option<Doubt> {
    let wall = i128::from(reading.wall.as_nanos()) - i128::from(anchor.wall.as_nanos());
    let moved = wall - (i128::from(reading.since_boot_ns) - i128::from(anchor.since_boot_ns));
    (moved.abs() > i128::from(JUMP_MAX_S * NS_PER_S)).then(|| Doubt::Stepped { by_s: seconds(moved) })
}

/// The first reading of a boot against the last time before it. The machine was off from then until it started, so the
/// time that it has been up since does not count; and it started after that time, not before.
fn restarted(before: Timestamp, up_ns: i128, reading: &Reading, off_max: Period) -> Option<Doubt> {
    let off = i128::from(reading.wall.as_nanos()) - up_ns - i128::from(before.as_nanos());
    if off < -i128::from(JUMP_MAX_S * NS_PER_S) {
        Some(Doubt::BehindAfterRestart { by_s: seconds(-off) })
    } else if off > i128::from(off_max.as_nanos()) {
        Some(Doubt::AheadAfterRestart { by_s: seconds(off) })
    } else {
        None
    }
}

fn seconds(nanos: i128) -> i64 {
    i64::try_from(nanos / i128::from(NS_PER_S)).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
}

fn truncate(text: &mut String, max: usize) {
    let end = (0..=max.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text.truncate(end);
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.noticed;
        match self.doubt {
            Doubt::Stepped { by_s } => {
                let way = if by_s < 0 { "back" } else { "ahead" };
                write!(f, "the clock went {way} by {} while the machine ran", Span(by_s))?;
            }
            Doubt::BehindAfterRestart { by_s } => {
                write!(f, "after a restart the clock is {} behind the last time seen", Span(by_s))?;
            }
            Doubt::AheadAfterRestart { by_s } => {
                write!(f, "after a restart the clock says that the machine was off for {}", Span(by_s))?;
            }
        }
        write!(f, " (noticed at {at}); nothing is deleted until somebody confirms the time")
    }
}

/// Seconds as people say them, sign left out.
struct Span(i64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0.unsigned_abs();
        match s {
            172_800.. => write!(f, "{} days", s / 86_400),
            7_200.. => write!(f, "{} h {} min", s / 3_600, s / 60 % 60),
            _ => write!(f, "{} min", s / 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600;
    const DAY: i64 = 86_400;

    /// A reading: seconds of the wall clock, seconds since boot, boot.
    fn reading(wall_s: i64, up_s: i64, boot: &str) -> Reading {
        Reading {
            wall: Timestamp::from_parts(1_700_000_000 + wall_s, 0),
            since_boot_ns: (up_s * NS_PER_S) as u64,
            boot: boot.to_owned(),
        }
    }

    /// Feeds readings to a new watch and returns what is in doubt behind the last.
    fn doubt(readings: &[Reading]) -> Option<Doubt> {
        let mut watch = ClockWatch::new();
        for reading in readings {
            watch.observe(reading.clone(), OFF_MAX_DEFAULT);
        }
        watch.freeze().map(|freeze| freeze.doubt)
    }

    #[test]
    fn an_hour_against_the_monotonic_clock_is_borne_and_a_second_more_is_not() {
        for (step, told) in
            [(HOUR, None), (-HOUR, None), (HOUR + 1, Some(HOUR + 1)), (-HOUR - 1, Some(-HOUR - 1))]
        {
            let told = told.map(|by_s| Doubt::Stepped { by_s });
            assert_eq!(doubt(&[reading(0, 100, "a"), reading(500 + step, 600, "a")]), told, "{step}");
        }
        // A year of running is no step.
        assert_eq!(doubt(&[reading(0, 0, "a"), reading(365 * DAY, 365 * DAY, "a")]), None);
    }

    #[test]
    fn small_steps_add_up() {
        let steps: Vec<Reading> = (0..4).map(|n| reading(n * (60 + 1_500), n * 60, "a")).collect();
        assert_eq!(doubt(&steps), Some(Doubt::Stepped { by_s: 4_500 }));
        assert_eq!(doubt(&steps[..3]), None);
    }

    #[test]
    fn after_a_restart_the_time_off_is_judged_and_the_time_up_is_not() {
        let last = reading(0, 5_000, "a");
        for (wall, up, told) in [
            (10, 5, None),
            (7 * DAY + 5, 5, None),
            (7 * DAY + 6, 5, Some(Doubt::AheadAfterRestart { by_s: 7 * DAY + 1 })),
            // Started six days ago, after one day off, and looked at only now.
            (7 * DAY + HOUR, 6 * DAY, None),
            (-HOUR, 0, None),
            (-HOUR - 1, 0, Some(Doubt::BehindAfterRestart { by_s: HOUR + 1 })),
            // Up for five hours since, and yet the wall clock went on by one: four are missing.
            (HOUR, 5 * HOUR, Some(Doubt::BehindAfterRestart { by_s: 4 * HOUR })),
            (-50 * 365 * DAY, 3, Some(Doubt::BehindAfterRestart { by_s: 50 * 365 * DAY + 3 })),
        ] {
            assert_eq!(doubt(&[last.clone(), reading(wall, up, "b")]), told, "{wall} {up}");
        }
    }

    #[test]
    fn a_longer_time_off_can_be_allowed() {
        let mut watch = ClockWatch::new();
        watch.observe(reading(0, 0, "a"), OFF_MAX_DEFAULT);
        let month = "30d".parse().expect("a period");
        assert_eq!(watch.observe(reading(29 * DAY, 1, "b"), month).freeze(), None);
    }

    #[test]
    fn a_clock_that_comes_back_by_itself_stays_in_doubt_until_somebody_confirms_it() {
        let mut watch = ClockWatch::new();
        watch.observe(reading(0, 0, "a"), OFF_MAX_DEFAULT);
        watch.observe(reading(9 * DAY, 60, "a"), OFF_MAX_DEFAULT);
        let now = watch.observe(reading(120, 120, "a"), OFF_MAX_DEFAULT);
        assert_eq!(now.freeze().map(|freeze| freeze.doubt), Some(Doubt::Stepped { by_s: 9 * DAY - 60 }));
        let mut rules = History::new();
        // A confirmation of the wrong time, and one by nobody, are refused.
        let shown = now.at();
        let wrong = reading(9 * DAY, 0, "a").wall;
        assert_eq!(watch.confirm("kim", wrong, &mut rules).err(), Some(Error::NotNow { at: wrong, shown }));
        assert_eq!(watch.confirm(" ", shown, &mut rules).err(), Some(Error::Nobody));
        assert!(watch.freeze().is_some());
        let confirmation = watch.confirm("kim", shown.plus_millis(5_000), &mut rules).expect("confirmed");
        assert_eq!(
            (confirmation.who.as_str(), confirmation.ended.doubt),
            ("kim", Doubt::Stepped { by_s: 9 * DAY - 60 })
        );
        assert_eq!(watch.observe(reading(180, 180, "a"), OFF_MAX_DEFAULT).freeze(), None);
        assert_eq!(watch.confirm("kim", shown, &mut rules).err(), Some(Error::NotFrozen));
    }

    #[test]
    fn what_was_confirmed_is_the_measure_from_then_on() {
        let mut watch = ClockWatch::new();
        watch.observe(reading(0, 0, "a"), OFF_MAX_DEFAULT);
        let ahead = watch.observe(reading(9 * DAY, 60, "a"), OFF_MAX_DEFAULT);
        watch.confirm("kim", ahead.at(), &mut History::new()).expect("confirmed");
        assert_eq!(watch.observe(reading(9 * DAY + 60, 120, "a"), OFF_MAX_DEFAULT).freeze(), None);
        let back = watch.observe(reading(180, 180, "a"), OFF_MAX_DEFAULT);
        assert_eq!(back.freeze().map(|freeze| freeze.doubt), Some(Doubt::Stepped { by_s: -9 * DAY + 60 }));
    }

    #[test]
    fn a_freeze_outlives_restarts_and_the_first_doubt_stays() {
        let mut watch = ClockWatch::new();
        watch.observe(reading(0, 0, "a"), OFF_MAX_DEFAULT);
        watch.observe(reading(9 * DAY, 60, "a"), OFF_MAX_DEFAULT);
        let kept = serde_json::to_string(&watch).expect("writes");
        let mut watch: ClockWatch = serde_json::from_str(&kept).expect("reads");
        let now = watch.observe(reading(100, 5, "b"), OFF_MAX_DEFAULT);
        assert_eq!(now.freeze().map(|freeze| freeze.doubt), Some(Doubt::Stepped { by_s: 9 * DAY - 60 }));
        assert!(now.freeze().expect("frozen").to_string().contains("went ahead by 8 days"));
    }

    #[test]
    fn a_lost_watch_starts_from_the_newest_thing_in_the_archive() {
        let newest = reading(0, 0, "").wall;
        for (wall, up, is_frozen) in [(60, 90 * DAY, false), (8 * DAY, 1, true), (-2 * HOUR, 1, true)] {
            let now = ClockWatch::since(newest).observe(reading(wall, up, "a"), OFF_MAX_DEFAULT);
            assert_eq!(now.freeze().is_some(), is_frozen, "{wall}");
        }
        assert_eq!(ClockWatch::new().observe(reading(0, 0, "a"), OFF_MAX_DEFAULT).freeze(), None);
    }

    #[test]
    fn readings_at_the_edge_of_time_do_not_overflow() {
        for wall in [Timestamp::MIN, Timestamp::from_nanos(i64::MAX)] {
            for up in [0, u64::MAX] {
                let mut watch = ClockWatch::new();
                watch.observe(reading(0, 0, "a"), OFF_MAX_DEFAULT);
                let edge = Reading { wall, since_boot_ns: up, boot: "\u{e9}".repeat(100) };
                assert!(watch.observe(edge.clone(), OFF_MAX_DEFAULT).freeze().is_some());
                assert!(watch.clone().confirm("kim", Timestamp::from_nanos(0), &mut History::new()).is_err());
                watch.confirm("kim", wall, &mut History::new()).expect("confirmed");
                assert_eq!(watch.observe(edge, OFF_MAX_DEFAULT).freeze(), None);
            }
        }
    }
}
