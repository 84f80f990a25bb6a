//! Which recordings or calls a command is about: times and patterns of the command line become a [`Query`].

use decode::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{ToSpan, Zoned};
use store::{Field, Query, QueryError};

use crate::cli;
use crate::failure::Failure;

/// The recordings that the words ask for.
pub(crate) fn query(written: &cli::Filters, now: Timestamp) -> Result<Query, Failure> {
    let mut query = Query::default();
    query.since = time_option(written.since.as_deref(), now)?;
    query.until = time_option(written.until.as_deref(), now)?;
    query.limit = written.limit;
    if let Some(call) = &written.call {
        query.call(call).map_err(|error| Failure::usage(format!("--{error}")))?;
    }
    let named = [
        ("extension", Field::Extension, &written.extension),
        ("number", Field::OtherParty, &written.number),
        ("user", Field::User, &written.user),
        ("unit", Field::BusinessUnit, &written.unit),
        ("direction", Field::Direction, &written.direction),
        ("state", Field::State, &written.state),
    ];
    for (option, field, value) in named {
        if let Some(value) = value {
            filter(&mut query, field, value)
                .map_err(|error| Failure::usage(format!("--{option}: {error}")))?;
        }
    }
    for term in &written.filter {
        let (field, value) = term.split_once('=').ok_or_else(|| {
            Failure::usage(format!("--filter {term:?}: write FIELD=PATTERN, as extension=1000-1005"))
        })?;
        let usage = |error: QueryError| Failure::usage(format!("--filter: {error}"));
        let custom = web::words::field_named(field.trim()).map(Field::from);
        let named = custom.map_or_else(|| field.trim().parse().map_err(QueryError::Field), Ok);
        filter(&mut query, named.map_err(usage)?, value).map_err(usage)?;
    }
    Ok(query)
}

/// Asks for a value, however a number of it is stored, where the dial plan is known: beside a recorder that runs. What is wrong with it is told of what
/// was written.
fn filter(query: &mut Query, field: Field, written: &str) -> Result<(), QueryError> {
    field.pattern(written)?;
    query.filter(field, &web::numbers::searched(field, written))
}

pub(crate) fn time_option(written: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
    written.map(|text| time(text, now)).transpose()
}

/// A moment as people write it. Dates and day words are meant in the machine's time zone.
fn time(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let zone = TimeZone::system();
    read_time(text, now, &zone).ok_or_else(|| {
        Failure::usage(format!(
            "{text:?} is no time: write 2026-01-31, 2026-01-31T09:00:00Z, -15m, -2h, -7d, today or yesterday"
        ))
    })
}

fn read_time(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let here = jiff::Timestamp::from_nanosecond(i128::from(now.as_nanos())).ok()?.to_zoned(zone.clone());
    let from_zoned =
        |zoned: &Zoned| i64::try_from(zoned.timestamp().as_nanosecond()).ok().map(Timestamp::from_nanos);
    match text {
        "now" => return Some(now),
        "today" => return from_zoned(&here.start_of_day().ok()?),
        "yesterday" => return from_zoned(&here.yesterday().ok()?.start_of_day().ok()?),
        _ => {}
    }
    if let Some(ago) = text.strip_prefix('-') {
        let (count, unit) = ago.split_at_checked(ago.len().checked_sub(1)?)?;
        let count: i64 = count.parse().ok().filter(|n| (0..=1_000_000).contains(n))?;
        let span = match unit {
            "s" => count.seconds(),
            "m" => count.minutes(),
            "h" => count.hours(),
            "d" => count.days(),
            "w" => count.weeks(),
            _ => return None,
        };
        return from_zoned(&here.checked_sub(span).ok()?);
    }
    read_moment(text, zone)
}

/// A moment that does not depend on today: RFC 3339, a date and time, or a date, which is its first moment.
pub(crate) fn read_moment(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let from_zoned =
        |zoned: &Zoned| i64::try_from(zoned.timestamp().as_nanosecond()).ok().map(Timestamp::from_nanos);
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return i64::try_from(moment.as_nanosecond()).ok().map(Timestamp::from_nanos);
    }
    if let Ok(moment) = text.parse::<jiff::civil::DateTime>() {
        return from_zoned(&moment.to_zoned(zone.clone()).ok()?);
    }
    from_zoned(&text.parse::<Date>().ok()?.to_zoned(zone.clone()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now: Timestamp = "2026-03-29T12:00:00Z".parse().expect("a time");
        let zone = TimeZone::UTC;
        let read = |text: &str| read_time(text, now, &zone).map(|at| at.to_string());
        assert_eq!(read("-15m").as_deref(), Some("2026-03-29T11:45:00.000Z"));
        assert_eq!(read("today").as_deref(), Some("2026-03-29T00:00:00.000Z"));
        assert_eq!(read("yesterday").as_deref(), Some("2026-03-28T00:00:00.000Z"));
        assert_eq!(read("2026-01-31").as_deref(), Some("2026-01-31T00:00:00.000Z"));
        assert_eq!(read("2026-01-31T09:30:00").as_deref(), Some("2026-01-31T09:30:00.000Z"));
        assert_eq!(read("2026-01-31T09:30:00+02:00").as_deref(), Some("2026-01-31T07:30:00.000Z"));
        for wrong in ["", "-", "-5x", "-é", "soon", "2026-02-30", "-99999999999999999999d"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_filter_on_an_unknown_field_names_the_known_ones() {
        let written = cli::Filters { filter: vec!["colour=red".into()], ..cli::Filters::default() };
        let error = format!("{:?}", query(&written, Timestamp::from_nanos(0)).expect_err("refused"));
        assert!(error.contains("colour") && error.contains("extension"), "{error}");
    }

    #[test]
    fn an_error_in_a_pattern_says_where_it_is() {
        let written = cli::Filters { extension: Some("1001,2003-1005".into()), ..cli::Filters::default() };
        let error = format!("{:?}", query(&written, Timestamp::from_nanos(0)).expect_err("refused"));
        assert!(error.contains("--extension") && error.contains("character 6"), "{error}");
    }
}
