//! Hours of the week, for rules that hold at some times only: spans of the site's own clock.
//!
//! `Mon-Fri 08:00-18:00, Sat 09:00-12:00`: windows between commas, each with days (a day, a range that may run over Sunday, or
//! none for every day) and a span. The first minute belongs to it, the last one does not; `24:00` is the end of the day. A span
//! that ends before it begins runs over midnight and belongs to the day on which it began. A moment is read as the clock on the
//! site's wall shows it: the hour that daylight saving repeats is in a window both times, the one that it skips never comes.

use std::fmt;

use decode::Timestamp;
use jiff::tz::TimeZone;

/// Windows of one value.
const WINDOWS_MAX: usize = 32;
/// Minutes of a day.
const DAY: u16 = 24 * 60;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Hours of the week; prints as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    text: String,
    windows: Vec<Window>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    /// Bit 0 is Monday.
    days: u8,
    /// Minutes of the day.
    from: u16,
    /// Minutes of the day; not after `from` when it runs over midnight.
    to: u16,
}

impl Hours {
    /// Reads it; an error says what is wrong with which window.
    ///
    /// # Errors
    /// In words.
    pub fn new(text: &str) -> Result<Hours, String> {
        let windows: Vec<Window> = text
            .split(',')
            .map(|window| Window::new(window.trim()).map_err(|why| format!("{:?}: {why}", window.trim())))
            .collect::<Result<_, _>>()?;
        if windows.len() > WINDOWS_MAX {
            return Err(format!("more than {WINDOWS_MAX} windows"));
        }
        Ok(Hours { text: text.trim().to_owned(), windows })
    }

    /// Is the moment in one of the windows, on the clocks of this zone? A moment that no calendar has is in none.
    #[must_use]
    pub fn contains(&self, at: Timestamp, zone: &TimeZone) -> bool {
        let Some((day, minute)) = on_the_wall(at, zone) else { return false };
        self.windows.iter().any(|window| window.contains(day, minute))
    }
}

/// Day (0 is Monday) and minute of the day, as a clock on the wall shows them.
fn on_the_wall(at: Timestamp, zone: &TimeZone) -> Option<(u8, u16)> {
    let moment = jiff::Timestamp::from_nanosecond(i128::from(at.as_nanos())).ok()?;
    let wall = zone.to_datetime(moment);
    let day = u8::try_from(wall.weekday().to_monday_zero_offset()).ok()?;
    let minute = u16::try_from(i32::from(wall.hour()) * 60 + i32::from(wall.minute())).ok()?;
    Some((day, minute))
}

/// "Tue 14:05", for whoever asks why.
pub(crate) fn wall_text(at: Timestamp, zone: &TimeZone) -> String {
    let Some((day, minute)) = on_the_wall(at, zone) else { return "no time".into() };
    let day = DAYS.get(usize::from(day)).unwrap_or(&"?");
    format!("{day} {:02}:{:02}", minute / 60, minute % 60)
}

impl Window {
    fn new(text: &str) -> Result<Window, String> {
        let (days, span) = match text.rsplit_once(char::is_whitespace) {
            Some((days, span)) => (days_of(days.trim())?, span),
            None => (0x7f, text),
        };
        let (from, to) = span.split_once('-').ok_or("a span of hours is missing, as 08:00-18:00")?;
        let (from, to) = (minutes(from)?, minutes(to)?);
        if from == to || from == DAY {
            return Err("there is no time in it; 00:00-24:00 is a whole day".into());
        }
        Ok(Window { days, from, to })
    }

    fn contains(self, day: u8, minute: u16) -> bool {
        let has = |day: u8| self.days & (1 << day) != 0;
        if self.from < self.to {
            return has(day) && (self.from..self.to).contains(&minute);
        }
        let yesterday = (day + 6) % 7;
        (has(day) && minute >= self.from) || (has(yesterday) && minute < self.to)
    }
}

fn days_of(text: &str) -> Result<u8, String> {
    let day = |name: &str| {
        let found = DAYS.iter().position(|day| day.eq_ignore_ascii_case(name.trim()));
        found.ok_or_else(|| format!("{name:?} is no day; days are {}", DAYS.join(", ")))
    };
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (day(from)?, day(to)?);
    let length = (to + 7 - from) % 7;
    Ok((0..=length).fold(0, |days, n| days | 1 << ((from + n) % 7)))
}

fn minutes(text: &str) -> Result<u16, String> {
    let wrong = || format!("{text:?} is no time of day, as 08:00");
    let (hour, minute) = text.trim().split_once(':').ok_or_else(wrong)?;
    let number = |digits: &str| {
        let fits = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| digits.parse::<u16>().ok()).flatten().ok_or_else(wrong)
    };
    match (number(hour)?, number(minute)?) {
        (24, 0) => Ok(DAY),
        (hour @ 0..=23, minute @ 0..=59) => Ok(hour * 60 + minute),
        _ => Err(wrong()),
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Monday, 1 January 2024, 00:00 UTC.
    const MONDAY_MS: i64 = 1_704_067_200_000;

    fn at(day: i64, hour: i64, minute: i64) -> Timestamp {
        Timestamp::from_millis(MONDAY_MS + ((day * 24 + hour) * 60 + minute) * 60_000)
    }

    fn hours(text: &str) -> Hours {
        Hours::new(text).expect("hours")
    }

    #[test]
    fn the_first_minute_is_in_and_the_last_is_not() {
        let office = hours("Mon-Fri 08:00-18:00, sat 09:00-12:00");
        for (day, hour, minute, expected) in [
            (0, 7, 59, false),
            (0, 8, 0, true),
            (4, 17, 59, true),
            (4, 18, 0, false),
            (5, 9, 30, true),
            (5, 12, 0, false),
            (6, 10, 0, false),
        ] {
            assert_eq!(office.contains(at(day, hour, minute), &TimeZone::UTC), expected, "{day} {hour}");
        }
        assert!(hours("00:00-24:00").contains(at(6, 23, 59), &TimeZone::UTC));
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_began() {
        let night = hours("Sun 22:00-06:00");
        assert!(night.contains(at(6, 23, 0), &TimeZone::UTC));
        assert!(night.contains(at(0, 5, 59), &TimeZone::UTC) && !night.contains(at(0, 6, 0), &TimeZone::UTC));
        assert!(!night.contains(at(6, 5, 0), &TimeZone::UTC), "that was Saturday's night");
        let weekend = hours("Fri-Mon 12:00-13:00");
        let in_it: Vec<i64> =
            (0..7).filter(|&day| weekend.contains(at(day, 12, 0), &TimeZone::UTC)).collect();
        assert_eq!(in_it, [0, 4, 5, 6]);
    }

    #[test]
    fn the_clock_on_the_sites_wall_counts_in_summer_and_in_winter() {
        // Central Europe by rule, so that no file of the machine is asked: an hour ahead, two from the last Sunday of March.
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
        let office = hours("08:00-18:00");
        let winter = at(0, 7, 30); // 08:30 there
        let summer = at(182, 6, 30); // 1 July, 08:30 there
        assert!(office.contains(winter, &zone) && office.contains(summer, &zone));
        assert!(!office.contains(winter, &TimeZone::UTC) && !office.contains(summer, &TimeZone::UTC));
        // 27 October 2024: 02:30 comes twice, at 00:30 and at 01:30 UTC.
        let night = hours("Sun 02:00-03:00");
        let sunday = 300;
        assert!(night.contains(at(sunday, 0, 30), &zone) && night.contains(at(sunday, 1, 30), &zone));
        assert_eq!(wall_text(at(sunday, 1, 30), &zone), "Sun 02:30");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_window() {
        for (text, why) in [
            ("", "missing"),
            ("Mon-Fri", "no time of day"),
            ("Mo 08:00-18:00", "no day"),
            ("Mon 8:00-18:00", "no time of day"),
            ("08:00-25:00", "no time of day"),
            ("08:00-08:00", "no time in it"),
            ("24:00-06:00", "no time in it"),
            ("08:00-12:00,", "missing"),
            ("Mon é-10:00", "no time of day"),
        ] {
            let told = Hours::new(text).expect_err(text);
            assert!(told.contains(why), "{text}: {told}");
        }
        assert!(Hours::new(&["08:00-09:00"; 33].join(",")).is_err());
    }
}
