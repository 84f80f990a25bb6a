//! Which recordings or calls a command is about: times and patterns of the command line.

use decode::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{ToSpan, Zoned};
use policy::Pattern;
use store::Row;

use crate::cli;
use crate::failure::Failure;

/// Filters, read.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    fields: Vec<(String, Pattern)>,
    call: Option<String>,
    limit: Option<usize>,
}

/// Fields that `--filter` knows: those of `archive list --json` that hold one text or number.
const FIELDS: [&str; 14] = [
    "extension",
    "extension_name",
    "outside_number",
    "other_party",
    "direction",
    "state",
    "source",
    "user",
    "agent",
    "account_code",
    "hunt_group",
    "trunk",
    "ddi",
    "call",
];

impl Filters {
    pub(crate) fn parse(written: &cli::Filters, now: Timestamp) -> Result<Filters, Failure> {
        if written.call.as_deref() == Some("") {
            return Err(Failure::usage("--call: is empty"));
        }
        let mut filters = Filters {
            since: time_option(written.since.as_deref(), now)?,
            until: time_option(written.until.as_deref(), now)?,
            call: written.call.clone(),
            limit: written.limit,
            fields: Vec::new(),
        };
        let named = [
            ("extension", &written.extension),
            ("number", &written.number),
            ("user", &written.user),
            ("direction", &written.direction),
            ("state", &written.state),
        ];
        for (field, value) in named {
            if let Some(value) = value {
                filters.add(field, value)?;
            }
        }
        for term in &written.filter {
            let (field, value) = term.split_once('=').ok_or_else(|| {
                Failure::usage(format!("--filter {term:?}: write FIELD=PATTERN, as extension=1000-1005"))
            })?;
            let field = field.trim();
            if !FIELDS.contains(&field) {
                return Err(Failure::usage(format!(
                    "--filter: no field {field:?}; there are {}",
                    FIELDS.join(", ")
                )));
            }
            filters.add(field, value)?;
        }
        Ok(filters)
    }

    fn add(&mut self, field: &str, value: &str) -> Result<(), Failure> {
        // These fields have few values: a word that is none of them would match nothing, silently.
        let known: &[&str] = match field {
            "direction" => &["inbound", "outbound", "internal", "unknown"],
            "state" => &["recording", "complete", "interrupted"],
            "source" => &["mirror", "record-a-call", "import"],
            _ => &[],
        };
        let words = value.split(',').map(|word| word.trim().trim_start_matches('!'));
        if let Some(unknown) = words.into_iter().find(|word| !known.is_empty() && !known.contains(word)) {
            return Err(Failure::usage(format!("{field}: {unknown:?} is none of {}", known.join(", "))));
        }
        let pattern = value.parse().map_err(|error| Failure::usage(format!("{field}: {error}")))?;
        self.fields.push((field.to_owned(), pattern));
        Ok(())
    }

    /// Does the recording pass?
    pub(crate) fn admits(&self, row: &Row) -> bool {
        let facts = &row.facts;
        self.since.is_none_or(|since| facts.started >= since)
            && self.until.is_none_or(|until| facts.started < until)
            && self
                .call
                .as_ref()
                .is_none_or(|call| facts.call.starts_with(call) || facts.sip_call_ids.contains(call))
            && self.fields.iter().all(|(field, pattern)| pattern.matches(&field_of(row, field)))
    }

    /// Those that pass, at most as many as asked for.
    pub(crate) fn apply<'f>(
        &'f self,
        rows: impl Iterator<Item = Result<Row, store::Error>> + 'f,
    ) -> impl Iterator<Item = Result<Row, store::Error>> + 'f {
        rows.filter(|row| row.as_ref().map_or(true, |row| self.admits(row)))
            .take(self.limit.unwrap_or(usize::MAX))
    }
}

/// A field's text; empty when the fact is not known.
fn field_of(row: &Row, field: &str) -> String {
    let facts = &row.facts;
    let optional = |value: &Option<String>| value.clone().unwrap_or_default();
    let word = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    };
    match field {
        "extension" => facts.extension.clone(),
        "extension_name" => optional(&facts.extension_name),
        "outside_number" => optional(&facts.outside_number),
        "other_party" | "number" => optional(&facts.other_party),
        "direction" => word(serde_json::to_value(facts.direction)),
        "state" => word(serde_json::to_value(facts.state)),
        "source" => word(serde_json::to_value(facts.source)),
        "user" => optional(&facts.user),
        "agent" => optional(&facts.agent),
        "account_code" => optional(&facts.account_code),
        "hunt_group" => optional(&facts.hunt_group),
        "trunk" => optional(&facts.trunk),
        "ddi" => optional(&facts.ddi),
        "call" => facts.call.clone(),
        _ => String::new(),
    }
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
        let error = format!("{:?}", Filters::parse(&written, Timestamp::from_nanos(0)).expect_err("refused"));
        assert!(error.contains("colour") && error.contains("extension"), "{error}");
    }
}
