//! Times as people of one zone read them, the offset always told.

use std::fmt;

use decode::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{ToSpan, Zoned};

/// A moment, written in all the ways that pages need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// For programs: RFC 3339, UTC.
    pub(super) iso: String,
    /// Day and time, without the year: in lists.
    pub(super) short: String,
    /// Date, time and offset.
    pub(super) full: String,
}

/// The zone that pages are written in.
#[derive(Clone, Debug)]
pub(super) struct Zone(TimeZone);

impl Zone {
    pub(super) fn new(zone: TimeZone) -> Zone {
        Zone(zone)
    }

    /// Its name, as browsers know it.
    pub(super) fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// Its name with its offset at a moment, as in `Europe/Berlin (UTC+01:00)`.
    pub(super) fn words(&self, at: Timestamp) -> String {
        match self.name() {
            "UTC" => "UTC".to_owned(),
            name => format!("{name} (UTC{})", self.zoned(at).strftime("%:z")),
        }
    }

    pub(super) fn zoned(&self, at: Timestamp) -> Zoned {
        let at = jiff::Timestamp::from_nanosecond(i128::from(at.as_nanos())).unwrap_or_default();
        at.to_zoned(self.0.clone())
    }

    pub(super) fn moment(&self, at: Timestamp) -> Moment {
        let zoned = self.zoned(at);
        let offset = if self.name() == "UTC" { "UTC".to_owned() } else { zoned.strftime("%:z").to_string() };
        Moment {
            iso: zoned.timestamp().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            short: zoned.strftime("%-d %b %H:%M:%S").to_string(),
            full: format!("{} {offset}", zoned.strftime("%Y-%m-%d %H:%M:%S")),
        }
    }

    /// The moment that a program means: RFC 3339, or as people write it.
    pub(super) fn read(&self, text: &str) -> Option<Timestamp> {
        let exact = text.trim().parse::<jiff::Timestamp>().ok();
        let exact = exact.and_then(|at| i64::try_from(at.as_nanosecond()).ok()).map(Timestamp::from_nanos);
        exact.or_else(|| self.read_local(text))
    }

    /// The moment that somebody means by what an input of type `datetime-local` sends.
    pub(super) fn read_local(&self, text: &str) -> Option<Timestamp> {
        let time: DateTime =
            text.trim().parse().ok().or_else(|| {
                Some(text.trim().parse::<Date>().ok()?.to_datetime(jiff::civil::Time::midnight()))
            })?;
        timestamp(&time.to_zoned(self.0.clone()).ok()?)
    }

    /// The first moment of a day, which is not midnight where clocks are put forward then.
    pub(super) fn day(&self, date: Date) -> Option<Timestamp> {
        timestamp(&date.to_zoned(self.0.clone()).ok()?)
    }
}

fn timestamp(zoned: &Zoned) -> Option<Timestamp> {
    i64::try_from(zoned.timestamp().as_nanosecond()).ok().map(Timestamp::from_nanos)
}

/// Stretches of time that people ask for (requirement row SRC-02).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Range {
    /// The default of recordings (SRC-01).
    #[default]
    Minutes15,
    Minutes30,
    Minutes60,
    Today,
    Yesterday,
    ThisWeek,
    LastWeek,
    ThisMonth,
    LastMonth,
    All,
    /// From one moment to another, as given beside.
    Custom,
}

impl Range {
    pub(super) const ALL: [Range; 11] = [
        Range::Minutes15,
        Range::Minutes30,
        Range::Minutes60,
        Range::Today,
        Range::Yesterday,
        Range::ThisWeek,
        Range::LastWeek,
        Range::ThisMonth,
        Range::LastMonth,
        Range::All,
        Range::Custom,
    ];

    /// As addresses have it.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Range::Minutes15 => "15m",
            Range::Minutes30 => "30m",
            Range::Minutes60 => "60m",
            Range::Today => "today",
            Range::Yesterday => "yesterday",
            Range::ThisWeek => "week",
            Range::LastWeek => "last-week",
            Range::ThisMonth => "month",
            Range::LastMonth => "last-month",
            Range::All => "all",
            Range::Custom => "custom",
        }
    }

    /// As people see it.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Range::Minutes15 => "Last 15 min",
            Range::Minutes30 => "Last 30 min",
            Range::Minutes60 => "Last 60 min",
            Range::Today => "Today",
            Range::Yesterday => "Yesterday",
            Range::ThisWeek => "This week",
            Range::LastWeek => "Last week",
            Range::ThisMonth => "This month",
            Range::LastMonth => "Last month",
            Range::All => "All",
            Range::Custom => "Custom",
        }
    }

    pub(super) fn of_key(key: &str) -> Option<Range> {
        Range::ALL.into_iter().find(|range| range.key() == key)
    }

    /// From when, and up to when: the second one is no part of it. A week begins with Monday (ISO 8601).
    pub(super) fn bounds(self, now: Timestamp, zone: &Zone) -> (Option<Timestamp>, Option<Timestamp>) {
        let today = zone.zoned(now).date();
        let back = |minutes: i64| (Some(now.plus_millis(-minutes * 60_000)), None);
        let from = |first: Option<Date>, end: Option<Date>| {
            (first.and_then(|date| zone.day(date)), end.and_then(|date| zone.day(date)))
        };
        let days = |date: Date, by: i64| date.checked_add(by.days()).ok();
        let monday = days(today, -i64::from(today.weekday().to_monday_zero_offset()));
        let first = Some(today.first_of_month());
        match self {
            Range::Minutes15 => back(15),
            Range::Minutes30 => back(30),
            Range::Minutes60 => back(60),
            Range::Today => from(Some(today), None),
            Range::Yesterday => from(days(today, -1), Some(today)),
            Range::ThisWeek => from(monday, None),
            Range::LastWeek => from(monday.and_then(|monday| days(monday, -7)), monday),
            Range::ThisMonth => from(first, None),
            Range::LastMonth => from(first.and_then(|first| first.checked_sub(1.month()).ok()), first),
            Range::All | Range::Custom => (None, None),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        Zone::new(TimeZone::get(name).expect("a zone"))
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_moment_is_written_in_its_zone_with_the_offset() {
        let moment = zone("Europe/Berlin").moment(at("2026-07-01T22:30:05.250Z"));
        assert_eq!(moment.iso, "2026-07-01T22:30:05.250Z");
        assert_eq!(
            (moment.short.as_str(), moment.full.as_str()),
            ("2 Jul 00:30:05", "2026-07-02 00:30:05 +02:00")
        );
        assert_eq!(
            Zone::new(TimeZone::UTC).moment(at("2026-07-01T22:30:05Z")).full,
            "2026-07-01 22:30:05 UTC"
        );
    }

    #[test]
    fn what_an_input_sends_is_read_in_the_zone_that_is_shown() {
        let berlin = zone("Europe/Berlin");
        assert_eq!(berlin.read_local("2026-11-30T09:15"), Some(at("2026-11-30T08:15:00Z")));
        assert_eq!(berlin.read_local("2026-11-30"), Some(at("2026-11-29T23:00:00Z")));
        assert_eq!(berlin.read_local("soon"), None);
        assert_eq!(berlin.read("2026-11-30T09:15:00Z"), Some(at("2026-11-30T09:15:00Z")));
        assert_eq!(berlin.read("2026-11-30T09:15:00+02:00"), Some(at("2026-11-30T07:15:00Z")));
        assert_eq!(berlin.read("2026-11-30 09:15"), Some(at("2026-11-30T08:15:00Z")));
    }

    #[test]
    fn ranges_begin_and_end_with_days_of_the_zone() {
        // A Monday, 00:30 in Berlin and still Sunday in UTC.
        let (now, berlin) = (at("2026-11-29T23:30:00Z"), zone("Europe/Berlin"));
        let bounds = |range: Range| {
            let (from, to) = range.bounds(now, &berlin);
            let text =
                |at: Option<Timestamp>| at.map_or("-".to_owned(), |at| at.to_string()[..16].to_owned());
            (text(from), text(to))
        };
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(bounds(Range::Minutes30), pair("2026-11-29T23:00", "-"));
        assert_eq!(bounds(Range::Today), pair("2026-11-29T23:00", "-"));
        assert_eq!(bounds(Range::Yesterday), pair("2026-11-28T23:00", "2026-11-29T23:00"));
        assert_eq!(bounds(Range::ThisWeek), pair("2026-11-29T23:00", "-"));
        assert_eq!(bounds(Range::LastWeek), pair("2026-11-22T23:00", "2026-11-29T23:00"));
        assert_eq!(bounds(Range::ThisMonth), pair("2026-10-31T23:00", "-"));
        // The clock was put back in between.
        assert_eq!(bounds(Range::LastMonth), pair("2026-09-30T22:00", "2026-10-31T23:00"));
        assert_eq!(bounds(Range::All), pair("-", "-"));
        for range in Range::ALL {
            assert_eq!(Range::of_key(range.key()), Some(range));
        }
    }
}
