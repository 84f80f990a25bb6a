//! The line protocol of the feed: one report a line, in words that a person can type into `nc`.
//!
//! ```text
//! line    = [command SP] word *(1*SP word)       at most REPORT_LEN_MAX bytes of UTF-8, ended by LF or CR LF
//! command = "hello" / "key" / "ping"             anything else is a report
//! word    = name "=" value
//! name    = (a-z / "_") *(a-z / 0-9 / "_")                        as the fields of the JSON; only tag and untag more than once
//! value   = plain / quoted
//! plain   = *(any character but SP, <">, controls)
//! quoted  = <"> *(any character but <">, "\", controls / "\" <"> / "\\") <">
//! ```
//!
//! `hello version=1 source=NAME` comes first; where a key is set, `key KEY` before it. `ping` is answered and changes nothing. `source`
//! is who says what follows, by the ledger's word.

use decode::Timestamp;

use super::json::{Fields, LogEvent};
use super::{NAME_LEN_MAX, REPORT_LEN_MAX, Report, ReportError};
use crate::outcome::Direction;

/// The longest name of a source, in bytes.
pub const SOURCE_LEN_MAX: usize = 64;

/// A line as it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Both sides must speak the same version.
    Hello {
        /// The other side's.
        version: u32,
        /// Who says what follows.
        source: String,
    },
    /// The secret that lets a connection in.
    Key(Key<'a>),
    /// Is anybody there?
    Ping,
    /// A report.
    Report(Box<Report>),
}

/// A key as it was sent; its `Debug` is blank.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key<'a>(pub &'a [u8]);

impl std::fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Line<'_> {
    /// Reads one line, without its end, that came at `arrival`.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn parse(bytes: &[u8], arrival: Timestamp) -> Result<Line<'_>, ReportError> {
        if bytes.len() > REPORT_LEN_MAX {
            return Err(ReportError::TooLong);
        }
        let bytes = bytes.trim_ascii();
        if let Some(key) = bytes.strip_prefix(b"key ") {
            return Ok(Line::Key(Key(key.trim_ascii())));
        }
        if bytes == b"ping" {
            return Ok(Line::Ping);
        }
        let text = std::str::from_utf8(bytes).map_err(|error| ReportError::Line {
            column: error.valid_up_to().saturating_add(1),
            expected: "expected UTF-8",
        })?;
        match text.strip_prefix("hello ") {
            Some(rest) => hello(rest),
            None => report(text, arrival).map(|report| Line::Report(Box::new(report))),
        }
    }
}

fn hello(text: &str) -> Result<Line<'static>, ReportError> {
    let (mut version, mut source) = (None, String::new());
    for word in words(text) {
        let (name, value) = word?;
        match name {
            "version" => version = value.parse().ok(),
            "source" => source = value,
            _ => return Err(ReportError::Field { field: "hello", why: "takes version and source" }),
        }
    }
    let version = version.ok_or(ReportError::Field { field: "version", why: "expected a number" })?;
    if source.is_empty() || source.len() > SOURCE_LEN_MAX || source.chars().any(char::is_control) {
        return Err(ReportError::Field { field: "source", why: "expected a name of 1 to 64 bytes" });
    }
    Ok(Line::Hello { version, source })
}

fn report(text: &str, arrival: Timestamp) -> Result<Report, ReportError> {
    let mut fields = Fields::default();
    for word in words(text) {
        let (name, value) = word?;
        set(&mut fields, name, value)?;
    }
    fields.resolve(arrival)
}

/// Sets one field; the names are those of the JSON.
fn set(fields: &mut Fields, name: &str, value: String) -> Result<(), ReportError> {
    let (field, place) = match name {
        "tag" | "untag" => {
            let texts = if name == "tag" { &mut fields.tag } else { &mut fields.untag };
            texts.push(value);
            return Ok(());
        }
        "event" => {
            let event = match value.as_str() {
                "logon" => LogEvent::Logon,
                "logoff" => LogEvent::Logoff,
                "established" => LogEvent::Established,
                "cleared" => LogEvent::Cleared,
                _ => {
                    let why = "expected logon, logoff, established or cleared";
                    return Err(ReportError::Field { field: "event", why });
                }
            };
            return once("event", &mut fields.event, event);
        }
        "direction" => {
            let direction = Direction::ALL.into_iter().find(|direction| direction.key() == value);
            let why = "expected inbound, outbound, internal or unknown";
            let direction = direction.ok_or(ReportError::Field { field: "direction", why })?;
            return once("direction", &mut fields.direction, direction);
        }
        "call_id" => ("call_id", &mut fields.call_id),
        "extension" => ("extension", &mut fields.extension),
        "agent" => ("agent", &mut fields.agent),
        "at" => ("at", &mut fields.at),
        "outside_number" => ("outside_number", &mut fields.outside_number),
        "contact" => ("contact", &mut fields.contact),
        "ddi" => ("ddi", &mut fields.ddi),
        "ddi_name" => ("ddi_name", &mut fields.ddi_name),
        "trunk" => ("trunk", &mut fields.trunk),
        "hunt_group" => ("hunt_group", &mut fields.hunt_group),
        "transferred_from" => ("transferred_from", &mut fields.transferred_from),
        "business_unit" => ("business_unit", &mut fields.business_unit),
        "account_code" => ("account_code", &mut fields.account_code),
        "tag1" => ("tag1", &mut fields.tag1),
        "tag2" => ("tag2", &mut fields.tag2),
        "tag3" => ("tag3", &mut fields.tag3),
        "tag4" => ("tag4", &mut fields.tag4),
        "tag5" => ("tag5", &mut fields.tag5),
        "uri" => ("uri", &mut fields.uri),
        unknown => {
            let name: String = unknown.chars().take(NAME_LEN_MAX / 4).collect();
            let what = format!("unknown field `{name}`, see docs/feed.md");
            return Err(ReportError::Json { what, line: 1, column: 1 });
        }
    };
    once(field, place, value)
}

fn once<T>(field: &'static str, place: &mut Option<T>, value: T) -> Result<(), ReportError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(ReportError::Field { field, why: "stands there twice" }),
    }
}

/// The words of a line, each with its name and its value without quotes.
fn words(text: &str) -> impl Iterator<Item = Result<(&str, String), ReportError>> {
    let mut rest = text;
    let mut failed = false;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(' ');
        if rest.is_empty() || failed {
            return None;
        }
        let word = word(rest);
        Some(match word {
            Ok((name, value, behind)) => {
                rest = behind;
                Ok((name, value))
            }
            Err((at, expected)) => {
                failed = true;
                let before = text.len().saturating_sub(at.len());
                Err(ReportError::Line { column: before.saturating_add(1), expected })
            }
        })
    })
}

/// A name, a value, and what stands behind it; or where it fails, and what ought to stand there.
type Word<'a> = Result<(&'a str, String, &'a str), (&'a str, &'static str)>;

/// The first word.
fn word(text: &str) -> Word<'_> {
    let expected = "expected name=value";
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let behind = text.trim_start_matches(is_name);
    let begins = |name: &&str| name.starts_with(|c: char| !c.is_ascii_digit());
    let name = text.strip_suffix(behind).filter(begins).ok_or((text, expected))?;
    let value = behind.strip_prefix('=').ok_or((behind, expected))?;
    let Some(quoted) = value.strip_prefix('"') else {
        let end = value.find([' ', '"']).unwrap_or(value.len());
        let (plain, behind) = value.split_at(end);
        if behind.starts_with('"') {
            return Err((behind, "a value with a quote in it is quoted, with \\\" for the quote"));
        }
        return Ok((name, plain.to_owned(), behind));
    };
    let mut out = String::new();
    let mut chars = quoted.chars();
    loop {
        let here = chars.as_str();
        match chars.next() {
            Some('"') => break,
            Some('\\') => match chars.next() {
                Some(c @ ('"' | '\\')) => out.push(c),
                _ => return Err((here, "expected \\\" or \\\\")),
            },
            Some(c) => out.push(c),
            None => return Err((here, "expected the closing quote")),
        }
    }
    let behind = chars.as_str();
    if !behind.is_empty() && !behind.starts_with(' ') {
        return Err((behind, "expected a space behind the closing quote"));
    }
    Ok((name, out, behind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{Whose, Word};
    use crate::rules::Fact;

    const ARRIVAL: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn parse(text: &str) -> Result<Line<'_>, ReportError> {
        Line::parse(text.as_bytes(), ARRIVAL)
    }

    #[test]
    fn a_line_says_the_same_as_json_does() {
        let line = r#"extension=2000  contact="Ann \"Bee\" \\" ddi="" tag=card tag="very important" direction=inbound "#;
        let json = r#"{"extension": "2000", "contact": "Ann \"Bee\" \\", "ddi": "", "tag": ["card", "very important"],
            "direction": "inbound"}"#;
        let json = Report::from_json(json.as_bytes(), ARRIVAL).expect("a report");
        assert_eq!(parse(line), Ok(Line::Report(Box::new(json))));
        let Ok(Line::Report(report)) = parse("call_id=a=b@c account_code=77") else { panic!() };
        let whose = Whose::CallId { call_id: "a=b@c".into(), extension: None };
        assert_eq!(report.word, Word::Facts(whose, vec![Fact::AccountCode("77".into())]));
    }

    #[test]
    fn commands_are_known_by_their_first_word() {
        assert_eq!(parse("ping"), Ok(Line::Ping));
        assert_eq!(parse("key  open sesame "), Ok(Line::Key(Key(b"open sesame"))));
        let hello = Line::Hello { version: 1, source: "pbx 1".into() };
        assert_eq!(parse("hello version=1 source=\"pbx 1\"\r"), Ok(hello));
        assert!(!format!("{:?}", parse("key sesame")).contains("115"), "no byte of a key is printed");
        for (text, why) in [
            ("hello source=x", "version: expected a number"),
            ("hello version=1", "source: expected a name"),
            ("hello version=1 source=x key=y", "takes version and source"),
        ] {
            assert!(parse(text).expect_err(text).to_string().contains(why), "{text}");
        }
    }

    #[test]
    fn what_does_not_follow_the_grammar_is_refused_with_its_place() {
        for (text, why) in [
            ("", "whose call?"),
            ("2000", "column 1: expected name=value"),
            ("extension", "column 10: expected name=value"),
            ("extension=2000 =x", "column 16: expected name=value"),
            ("extension=2000 contact=a\"b", "column 25: a value with a quote"),
            ("extension=2000 contact=\"ab", "column 27: expected the closing quote"),
            ("extension=2000 contact=\"a\\b\"", "column 26: expected"),
            ("extension=2000 contact=\"a\"b", "column 27: expected a space"),
            ("extension=2000 contact=a\tb", "contact: holds a control character"),
            ("extension=2000 extension=2001", "extension: stands there twice"),
            ("extension=2000 colour=red", "unknown field `colour`"),
            ("extension=2000 direction=up", "direction: expected inbound"),
            ("event=lunch agent=1", "event: expected logon, logoff, established or cleared"),
        ] {
            let told = parse(text).expect_err(text).to_string();
            assert!(told.contains(why), "{text:?}: {told}");
        }
        let latin = Line::parse(b"contact=\xe9", ARRIVAL).expect_err("no UTF-8").to_string();
        assert_eq!(latin, "column 9: expected UTF-8");
        let long = vec![b'a'; REPORT_LEN_MAX + 1];
        assert_eq!(Line::parse(&long, ARRIVAL), Err(ReportError::TooLong));
    }
}
