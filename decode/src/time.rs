//! Capture time and media time, as two types that cannot be mixed up.
//!
//! A [`Timestamp`] says when a frame was captured; it comes with the frame and is never read from a clock here.
//! A position inside the audio is counted in samples or RTP ticks and never becomes a `Timestamp` by accident.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment on the capture clock: nanoseconds since 1970-01-01 00:00:00 UTC, 1677 to 2262.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// Nanoseconds in one millisecond.
pub const NS_PER_MS: i64 = 1_000_000;
/// Nanoseconds in one second.
pub const NS_PER_S: i64 = 1_000_000_000;

impl Timestamp {
    /// The earliest moment that can be said.
    pub const MIN: Timestamp = Timestamp(i64::MIN);

    /// From nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Timestamp(nanos)
    }

    /// From milliseconds since the Unix epoch; saturates.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Timestamp(millis.saturating_mul(NS_PER_MS))
    }

    /// From a capture record's seconds and nanoseconds; saturates, so that a damaged record cannot overflow.
    #[must_use]
    pub const fn from_parts(seconds: i64, nanos: i64) -> Self {
        Timestamp(seconds.saturating_mul(NS_PER_S).saturating_add(nanos))
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(NS_PER_MS)
    }

    /// Nanoseconds from `earlier` to here; negative when `earlier` is the later one. Saturates.
    #[must_use]
    pub const fn nanos_since(self, earlier: Timestamp) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Milliseconds from `earlier` to here, rounded to the nearest; 0 when `earlier` is the later one.
    #[must_use]
    pub const fn millis_since(self, earlier: Timestamp) -> u64 {
        let nanos = self.nanos_since(earlier);
        if nanos <= 0 { 0 } else { (nanos.saturating_add(NS_PER_MS / 2) / NS_PER_MS) as u64 }
    }

    /// This moment moved by `nanos` (either way); saturates.
    #[must_use]
    pub const fn plus_nanos(self, nanos: i64) -> Self {
        Timestamp(self.0.saturating_add(nanos))
    }

    /// This moment moved by `millis` (either way); saturates.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        self.plus_nanos(millis.saturating_mul(NS_PER_MS))
    }

    /// Year, month, day in UTC (proleptic Gregorian calendar).
    #[must_use]
    pub const fn date(self) -> (i64, u32, u32) {
        // Days to civil date by counting in 400-year eras that begin on 1 March, so that the leap day comes last.
        let days = self.0.div_euclid(NS_PER_S * 86_400) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u32;
        let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
        (year, month, day)
    }
}

/// RFC 3339 in UTC with milliseconds, as every table and every JSON line prints it.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let ms_of_day = self.as_millis().rem_euclid(86_400_000);
        let (s, ms) = (ms_of_day / 1000, ms_of_day % 1000);
        let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a UTC time in the form `2026-11-20T23:04:48.123Z`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a UTC time like 2026-11-20T23:04:48.123Z")]
pub struct TimestampError;

impl std::str::FromStr for Timestamp {
    type Err = TimestampError;

    /// Reads what `Display` writes: RFC 3339 in UTC, with any number of decimals of the second.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let digits = |range: std::ops::Range<usize>| -> Result<i64, TimestampError> {
            let part = text.get(range).ok_or(TimestampError)?;
            if part.bytes().all(|b| b.is_ascii_digit()) {
                part.parse().map_err(|_| TimestampError)
            } else {
                Err(TimestampError)
            }
        };
        let separators = [(4, '-'), (7, '-'), (10, 'T'), (13, ':'), (16, ':')];
        let rest = text.get(19..).and_then(|rest| rest.strip_suffix('Z')).ok_or(TimestampError)?;
        if separators.iter().any(|&(i, c)| text.as_bytes().get(i) != Some(&(c as u8))) {
            return Err(TimestampError);
        }
        let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
        let (h, m, s) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
        if !(1..=days_in(year, month)).contains(&day) || h > 23 || m > 59 || s > 60 {
            return Err(TimestampError);
        }
        let mut nanos = 0;
        if let Some(decimals) = rest.strip_prefix('.') {
            if decimals.is_empty() || decimals.len() > 9 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
                return Err(TimestampError);
            }
            let scale = 10_i64.pow(9 - decimals.len() as u32);
            nanos = decimals.parse::<i64>().map_err(|_| TimestampError)? * scale;
        } else if !rest.is_empty() {
            return Err(TimestampError);
        }
        // Civil date to days, the inverse of `date`.
        let y = if month <= 2 { year - 1 } else { year };
        let (era, year_of_era) = (y.div_euclid(400), y.rem_euclid(400));
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let days =
            era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
        Ok(Timestamp::from_parts(days * 86_400 + h * 3600 + m * 60 + s, nanos))
    }
}

/// Days of a month of the Gregorian calendar; none of one that does not exist.
const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_prints_as_rfc_3339_and_reads_back() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999 * NS_PER_MS, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000 * NS_PER_MS, "2000-02-29T00:00:00.000Z"),
            (1_767_225_600_000 * NS_PER_MS, "2026-01-01T00:00:00.000Z"),
            (-1_000_000, "1969-12-31T23:59:59.999Z"),
        ] {
            let at = Timestamp::from_nanos(nanos);
            assert_eq!(at.to_string(), text);
            assert_eq!(text.parse(), Ok(at));
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in
            ["", "2026-01-01", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00.Zé"]
        {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
        }
    }

    #[test]
    fn a_date_that_does_not_exist_is_refused() {
        let parse = |date: &str| format!("{date}T12:35:04Z").parse::<Timestamp>();
        for date in
            ["2013-02-31", "2013-02-29", "1900-02-29", "2026-04-31", "2026-00-10", "2026-01-00", "2026-12-32"]
        {
            assert_eq!(parse(date), Err(TimestampError), "{date}");
        }
        for date in ["2012-02-29", "2000-02-29", "2013-02-28", "2026-12-31", "2026-06-30"] {
            let read = parse(date).map(|at| at.to_string());
            assert_eq!(read.as_deref().ok().and_then(|text| text.get(..10)), Some(date));
        }
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        let far = Timestamp::from_parts(i64::MAX, i64::MAX);
        assert_eq!(far.nanos_since(Timestamp::MIN), i64::MAX);
        assert!(!far.to_string().is_empty() && !Timestamp::MIN.to_string().is_empty());
    }
}
