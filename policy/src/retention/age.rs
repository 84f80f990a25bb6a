//! How long things are kept: ages on the calendar, and spans of plain hours.

use std::fmt;
use std::str::FromStr;

use decode::Timestamp;
use decode::time::NS_PER_S;
use serde::{Deserialize, Serialize};

use super::Error;

/// Longest age that is not `forever`, in years.
pub const AGE_YEARS_MAX: u32 = 100;
/// Longest [`Period`], in hours: ten years.
pub const PERIOD_HOURS_MAX: u32 = 87_600;
/// Longest grace: thirty days.
pub const GRACE_MAX: Period = Period { hours: 720 };

const HOUR_NS: i64 = 3_600 * NS_PER_S;
const DAY_NS: i64 = 24 * HOUR_NS;

/// How long audio or call data are kept, counted from the end of the recording.
///
/// Written `forever`, or as a number with its unit, or as several from the largest unit to the smallest: `90d`, `18m`,
/// `5y 1d`.
///
/// | unit | is |
/// |---|---|
/// | `d` | 24 hours |
/// | `w` | 7 days |
/// | `m` | a calendar month: to the same day of the month and time of day |
/// | `y` | a calendar year: 12 months |
///
/// All in UTC. Years and months are added first, then weeks and days. Where the day does not exist (29 February, the
/// 31st), the age runs to the first of the next month at that time of day, so that it is never the shorter one. The
/// last moment is not included: what ended at *t* is kept before *t* + age, and is due from *t* + age on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Age {
    /// Never due.
    Forever,
    /// Due when so much time has passed.
    For(Span),
}

/// The parts of an age; at least a day, at most [`AGE_YEARS_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    years: u32,
    months: u32,
    weeks: u32,
    days: u32,
}

impl Age {
    /// When something that ended at `ended` is due; never when absent.
    #[must_use]
    pub fn after(self, ended: Timestamp) -> Option<Timestamp> {
        let Age::For(span) = self else { return None };
        let months = i64::from(span.years) * 12 + i64::from(span.months);
        let days = i64::from(span.weeks) * 7 + i64::from(span.days);
        Some(plus_months(ended, months).plus_nanos(days.saturating_mul(DAY_NS)))
    }

    /// The usual length in days, a month taken as a twelfth of the Gregorian year of 365.2425 days: for comparing two
    /// ages. None for `forever`.
    #[must_use]
    pub fn usual_days(self) -> Option<f64> {
        let Age::For(Span { years, months, weeks, days }) = self else { return None };
        let months = f64::from(years) * 12.0 + f64::from(months);
        Some(months * 365.2425 / 12.0 + f64::from(weeks) * 7.0 + f64::from(days))
    }
}

/// `months` calendar months later, at the same time of day in UTC.
fn plus_months(at: Timestamp, months: i64) -> Timestamp {
    if months == 0 {
        return at;
    }
    let (year, month, day) = at.date();
    let target = year * 12 + i64::from(month) - 1 + months;
    let (year, month) = (target.div_euclid(12), target.rem_euclid(12) as u32 + 1);
    let first_of_next = if month == 12 { day_number(year + 1, 1, 1) } else { day_number(year, month + 1, 1) };
    let midnight = day_number(year, month, day).min(first_of_next);
    let time_of_day = at.as_nanos().rem_euclid(DAY_NS);
    Timestamp::from_parts(midnight.saturating_mul(86_400), time_of_day)
}

/// Days since 1970-01-01 of a date of the Gregorian calendar: the inverse of [`Timestamp::date`]. A day behind the end
/// of its month counts on into the next.
fn day_number(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * i64::from((month + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

impl FromStr for Age {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |problem| Error::Age { text: text.chars().take(40).collect(), problem };
        if text.trim() == "forever" {
            return Ok(Age::Forever);
        }
        let mut span = Span::default();
        let mut units = "ymwd";
        for part in text.split_ascii_whitespace() {
            let (count, unit) = number_and_unit(part).ok_or(wrong("is no number with a unit"))?;
            let place = units.find(unit).ok_or(wrong("has an unknown unit, or units out of order"))?;
            units = units.get(place + 1..).unwrap_or_default();
            match unit {
                'y' => span.years = count,
                'm' => span.months = count,
                'w' => span.weeks = count,
                _ => span.days = count,
            }
        }
        let days = Age::For(span).usual_days().unwrap_or_default();
        if days < 1.0 {
            return Err(wrong("is less than a day"));
        }
        if days > f64::from(AGE_YEARS_MAX) * 365.2425 {
            return Err(wrong("is more than 100 years: write forever"));
        }
        Ok(Age::For(span))
    }
}

/// `90d` as 90 and `d`.
fn number_and_unit(part: &str) -> Option<(u32, char)> {
    let unit = part.chars().next_back().filter(char::is_ascii_alphabetic)?;
    let digits = part.strip_suffix(unit)?;
    let is_number = digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten().map(|count| (count, unit))
}

/// As it is written in the configuration.
impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Age::For(Span { years, months, weeks, days }) = self else { return f.write_str("forever") };
        let mut space = "";
        for (count, unit) in [(years, 'y'), (months, 'm'), (weeks, 'w'), (days, 'd')] {
            if *count > 0 {
                write!(f, "{space}{count}{unit}")?;
                space = " ";
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Age {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Age> for String {
    fn from(age: Age) -> Self {
        age.to_string()
    }
}

/// A span of plain hours, at least one: `24h`, `7d` (a day is 24 hours).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period {
    hours: u32,
}

impl Period {
    /// So many hours; none for 0 and above [`PERIOD_HOURS_MAX`].
    #[must_use]
    pub const fn from_hours(hours: u32) -> Option<Period> {
        if hours == 0 || hours > PERIOD_HOURS_MAX { None } else { Some(Period { hours }) }
    }

    /// In nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.hours as i64 * HOUR_NS
    }
}

impl FromStr for Period {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |problem| Error::Period { text: text.chars().take(40).collect(), problem };
        let (count, unit) = number_and_unit(text).ok_or(wrong("is no number with a unit"))?;
        let hours = match unit {
            'h' => Some(count),
            'd' => count.checked_mul(24),
            _ => return Err(wrong("has a unit that is neither h nor d")),
        };
        hours.and_then(Period::from_hours).ok_or(wrong("is not between an hour and ten years"))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.hours.is_multiple_of(24) && self.hours > 24 {
            write!(f, "{}d", self.hours / 24)
        } else {
            write!(f, "{}h", self.hours)
        }
    }
}

impl TryFrom<String> for Period {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

/// How long tightened rules wait before they delete. Written as a [`Period`] up to [`GRACE_MAX`], or `immediate`; that
/// there is none has to be said with this word, `0h` is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Grace {
    /// Tightened rules delete at once. There is no way back.
    Immediate,
    /// They wait so long.
    Of(Period),
}

impl Grace {
    /// In nanoseconds; 0 for [`Grace::Immediate`].
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        match self {
            Grace::Immediate => 0,
            Grace::Of(period) => period.as_nanos(),
        }
    }
}

impl Default for Grace {
    /// 24 hours.
    fn default() -> Self {
        Grace::Of(Period { hours: 24 })
    }
}

impl FromStr for Grace {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "immediate" {
            return Ok(Grace::Immediate);
        }
        let wrong = |problem| Error::Period { text: text.chars().take(40).collect(), problem };
        if number_and_unit(text).is_some_and(|(count, _)| count == 0) {
            return Err(wrong("is no grace: rules that delete at once are asked for with \"immediate\""));
        }
        let period: Period = text.parse()?;
        if period > GRACE_MAX { Err(wrong("is more than 30 days")) } else { Ok(Grace::Of(period)) }
    }
}

impl fmt::Display for Grace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Grace::Immediate => f.write_str("immediate"),
            Grace::Of(period) => period.fmt(f),
        }
    }
}

impl TryFrom<String> for Grace {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Grace> for String {
    fn from(grace: Grace) -> Self {
        grace.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn due(age: &str, ended: &str) -> String {
        let age: Age = age.parse().expect("an age");
        age.after(ended.parse().expect("a time")).expect("not for ever").to_string()
    }

    #[test]
    fn ages_run_on_the_calendar_and_are_never_the_shorter_one() {
        for (age, ended, until) in [
            ("1d", "2026-11-29T23:59:59.999Z", "2026-11-30T23:59:59.999Z"),
            ("2w", "2026-12-25T00:00:00.000Z", "2027-01-08T00:00:00.000Z"),
            ("1m", "2026-12-15T08:30:00.250Z", "2027-01-15T08:30:00.250Z"),
            ("1m", "2026-01-31T12:00:00.000Z", "2026-03-01T12:00:00.000Z"),
            ("1m", "2028-01-30T12:00:00.000Z", "2028-03-01T12:00:00.000Z"),
            ("5y", "2024-02-29T12:00:00.000Z", "2029-03-01T12:00:00.000Z"),
            ("4y", "2024-02-29T12:00:00.000Z", "2028-02-29T12:00:00.000Z"),
            ("7y", "2026-11-29T12:00:00.000Z", "2033-11-29T12:00:00.000Z"),
            ("1y 1m 1w 1d", "2026-11-29T12:00:00.000Z", "2028-01-06T12:00:00.000Z"),
            ("12m", "1969-12-31T23:00:00.000Z", "1970-12-31T23:00:00.000Z"),
        ] {
            assert_eq!(due(age, ended), until, "{ended} + {age}");
        }
    }

    #[test]
    fn dates_and_day_numbers_are_each_others_inverse() {
        for day in -200_000..100_000_i64 {
            let (year, month, date) = Timestamp::from_parts((day % 90_000) * 86_400, 0).date();
            assert_eq!(day_number(year, month, date), day % 90_000);
        }
    }

    #[test]
    fn an_age_beyond_what_time_can_say_is_never_reached() {
        let age: Age = "100y".parse().expect("an age");
        let ended = "2200-01-01T00:00:00.000Z".parse().expect("a time");
        assert_eq!(age.after(ended), Some(Timestamp::from_nanos(i64::MAX)));
        assert_eq!(Age::Forever.after(ended), None);
    }

    #[test]
    fn ages_print_as_they_read() {
        for text in ["forever", "1d", "90d", "12w", "18m", "7y", "5y 1d", "1y 2m 3w 4d", "100y"] {
            assert_eq!(text.parse::<Age>().expect("an age").to_string(), text);
        }
    }

    #[test]
    fn what_is_no_age_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "less than a day"),
            ("0d", "less than a day"),
            ("90", "no number with a unit"),
            ("d", "no number with a unit"),
            ("-1d", "no number with a unit"),
            ("1.5y", "no number with a unit"),
            ("90 d", "no number with a unit"),
            ("4294967296d", "no number with a unit"),
            ("1d 5y", "out of order"),
            ("1d 1d", "out of order"),
            ("24h", "unknown unit"),
            ("7Y", "unknown unit"),
            ("7\u{e9}", "no number with a unit"),
            ("101y", "100 years"),
            ("4294967295y 4294967295d", "100 years"),
        ] {
            let told = text.parse::<Age>().expect_err(text).to_string();
            assert!(told.contains(why), "{text:?}: {told}");
        }
    }

    #[test]
    fn grace_is_left_out_only_by_its_word() {
        assert_eq!("immediate".parse(), Ok(Grace::Immediate));
        assert_eq!(Grace::Immediate.as_nanos(), 0);
        assert_eq!("24h".parse(), Ok(Grace::default()));
        assert_eq!("3d".parse::<Grace>().expect("grace").to_string(), "3d");
        assert_eq!("36h".parse::<Grace>().expect("grace").to_string(), "36h");
        for (text, why) in [
            ("0h", "immediate"),
            ("0d", "immediate"),
            ("31d", "30 days"),
            ("1m", "neither h nor d"),
            ("", "unit"),
        ] {
            let told = text.parse::<Grace>().expect_err(text).to_string();
            assert!(told.contains(why), "{text:?}: {told}");
        }
        assert!("87601h".parse::<Period>().is_err() && "4294967295d".parse::<Period>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_an_age_that_reads_back_as_itself_or_is_refused(text in "([0-9]{1,4}[ymwdhx] ?){0,4}|\\PC{0,12}") {
            if let Ok(age) = text.parse::<Age>() {
                prop_assert_eq!(age.to_string().parse(), Ok(age));
                let ended = Timestamp::from_millis(1_700_000_000_000);
                prop_assert!(age.after(ended).is_none_or(|due| due.nanos_since(ended) >= DAY_NS));
            }
            let _ = (text.parse::<Period>(), text.parse::<Grace>());
        }
    }
}
