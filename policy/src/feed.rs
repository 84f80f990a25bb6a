//! Facts from outside: what a PBX, a CTI gateway or a contact centre reports of calls, and which call is meant.
//!
//! A [`Report`] is written as one JSON object or as one line of words (module [`line`](mod@line)); both have the same fields, `docs/feed.md` lists
//! them. Which call is meant is found by Call-ID, else by extension and time. Pure: the time of arrival is an argument, sockets are elsewhere.

mod json;
pub mod line;
pub(crate) mod matcher;

use decode::Timestamp;

use crate::outcome::Direction;
use crate::rules::Fact;

/// The version of the feed: of its fields and of its line protocol. Both sides must have the same.
pub const FEED_VERSION: u32 = 1;
/// The longest report, as JSON or as a line, in bytes.
pub const REPORT_LEN_MAX: usize = 8 * 1024;
/// Reports in one batch.
pub const BATCH_MAX: usize = 100;
/// The longest name of a call, an extension or an agent, in bytes.
pub const NAME_LEN_MAX: usize = 256;
/// How far ahead of the arrival the time of a report may lie, in milliseconds: clocks differ. Beyond that the arrival counts.
pub const AHEAD_MS_MAX: i64 = 60_000;
/// How far behind, likewise: 31 days.
pub const BEHIND_MS_MAX: i64 = 31 * 86_400_000;

/// Whose call it is that something is said of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The call that a leg with this Call-ID is part of.
    CallId {
        /// The SIP Call-ID.
        call_id: String,
        /// Only this extension's part in it.
        extension: Option<String>,
    },
    /// The call that this extension has at the time of the report.
    Extension(String),
    /// The call that a call record of this extension is about, of several that it has then.
    Recorded {
        /// Whose part in it.
        extension: String,
        /// What the record says of it.
        alike: Alike,
    },
    /// The call that this agent has then, at whatever extension.
    Agent(String),
}

/// What a call record says of its call, as far as that tells it from the extension's other ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alike {
    /// The call's name in the telephone system, the same in all its records; empty when it has none.
    pub call: String,
    /// The number outside, zeros at its beginning perhaps lost; empty when it is withheld.
    pub number: String,
    /// Which way it goes.
    pub direction: Direction,
}

/// Digits at the ends of two numbers that make them the same one, however much each says before them.
const ALIKE_DIGITS: usize = 6;

impl Alike {
    /// Is this the call's number? Each may have a prefix that the other one lacks: of the outside line, of the country.
    #[must_use]
    pub fn has(&self, number: &str) -> bool {
        let bare = |number: &str| -> String {
            let digits: String = number.chars().filter(char::is_ascii_digit).collect();
            digits.trim_start_matches('0').to_owned()
        };
        let (own, other) = (bare(&self.number), bare(number));
        let (short, long) = if own.len() < other.len() { (&own, &other) } else { (&other, &own) };
        !short.is_empty() && (short == long || short.len() >= ALIKE_DIGITS && long.ends_with(short.as_str()))
    }
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Facts of a call, in order.
    Facts(Whose, Vec<Fact>),
    /// An agent is at this extension from now on.
    LogOn {
        /// Who.
        agent: String,
        /// Where.
        extension: String,
    },
    /// An agent is gone, or nobody is at an extension any more; at least one of them is named.
    LogOff {
        /// Who.
        agent: Option<String>,
        /// Where.
        extension: Option<String>,
    },
    /// A conversation can be heard at a URI: the recorder is to join it for an extension.
    Join {
        /// Where.
        uri: String,
        /// For whom.
        extension: String,
    },
    /// Its last active participant has left: the recorder is to leave, too.
    Leave {
        /// Which one.
        uri: String,
    },
}

/// One report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// When it was so: as the report says, if that is plausible; else when it came.
    pub at: Timestamp,
    /// Who says so, for the ledger and for `calls --why`; empty until the shell names the sender.
    pub who: String,
    /// What.
    pub word: Word,
}

/// Several reports of one message, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch(pub Vec<Report>);

/// A report that cannot be taken. Its text names the field, never a value: that may be digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Too many bytes.
    #[error("longer than {REPORT_LEN_MAX} bytes")]
    TooLong,
    /// Not JSON, a field that is unknown, missing or of another type.
    #[error("{what}, line {line}, column {column}")]
    Json {
        /// What is wrong.
        what: String,
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
    },
    /// A line that is not made of `name=value`.
    #[error("column {column}: {expected}")]
    Line {
        /// Where, in bytes from 1.
        column: usize,
        /// What ought to stand there.
        expected: &'static str,
    },
    /// A field whose value cannot be meant.
    #[error("{field}: {why}")]
    Field {
        /// Which.
        field: &'static str,
        /// Why not.
        why: &'static str,
    },
    /// No call is named.
    #[error("whose call? name call_id, extension or agent")]
    NoCall,
    /// Nothing is said of the call.
    #[error("nothing is said: name a fact (docs/feed.md lists them), or event=logon or event=logoff")]
    NothingSaid,
    /// Too many reports at once.
    #[error("{count} reports in one message, {BATCH_MAX} at most")]
    TooMany {
        /// So many.
        count: usize,
    },
    /// One report of several; none of them was taken.
    #[error("report {nth}: {error}")]
    InBatch {
        /// Which, from 1.
        nth: usize,
        /// What is wrong with it.
        error: Box<ReportError>,
    },
}

impl Report {
    /// The group that the call came through, if it says so.
    #[must_use]
    pub fn hunt_group(&self) -> Option<&str> {
        let Word::Facts(_, facts) = &self.word else { return None };
        facts.iter().find_map(|fact| match fact {
            Fact::HuntGroup(group) => Some(group.as_str()),
            _ => None,
        })
    }

    /// The same, with who says it.
    #[must_use]
    pub fn said_by(mut self, who: &str) -> Report {
        who.clone_into(&mut self.who);
        self
    }
}

/// The time of a report: its own, if it can be believed.
pub(crate) fn plausible(at: Option<Timestamp>, arrival: Timestamp) -> Timestamp {
    let believed = arrival.plus_millis(-BEHIND_MS_MAX)..=arrival.plus_millis(AHEAD_MS_MAX);
    at.filter(|at| believed.contains(at)).unwrap_or(arrival)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("../../docs/feed.md");

    /// The blocks of the documentation that are fenced with this word.
    fn blocks(word: &str) -> Vec<&'static str> {
        let mut parts = DOCUMENT.split("```").skip(1).step_by(2);
        let found: Vec<&str> = parts.by_ref().filter_map(|block| block.strip_prefix(word)).collect();
        assert!(!found.is_empty(), "{word}");
        found
    }

    #[test]
    fn the_examples_in_the_documentation_are_taken() {
        let arrival = Timestamp::from_millis(1_800_000_000_000);
        for block in blocks("json\n") {
            assert!(Batch::from_json(block.as_bytes(), arrival).is_ok(), "{block}");
        }
        for example in blocks("lines\n").iter().flat_map(|block| block.lines()) {
            let read = line::Line::parse(example.as_bytes(), arrival);
            assert!(read.is_ok(), "{example}: {read:?}");
        }
    }

    #[test]
    fn the_tables_in_the_documentation_name_every_field_and_no_other() {
        let rows = DOCUMENT.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next());
        let mut named: Vec<&str> = rows.filter(|name| !name.contains(' ')).collect();
        named.sort_unstable();
        named.dedup();
        let Err(error) = Report::from_json(br#"{"?": 1}"#, Timestamp::MIN) else { panic!("a field ?") };
        let told = error.to_string();
        let mut known: Vec<&str> = told.split('`').skip(1).step_by(2).filter(|name| *name != "?").collect();
        known.sort_unstable();
        assert_eq!(named, known);
    }

    #[test]
    fn two_numbers_are_alike_whatever_is_dialled_before_them() {
        let alike = |own: &str, other: &str| {
            Alike { call: String::new(), number: own.into(), direction: Direction::Inbound }.has(other)
        };
        for (own, other) in [
            ("1632960001", "01632960001"),
            ("1632960001", "+441632960001"),
            ("441632960001", "01632960001"),
            ("901632960001", "01632960001"),
            ("999", "999"),
        ] {
            assert!(alike(own, other) && alike(other, own), "{own} {other}");
        }
        for (own, other) in
            [("1632960001", "01632960002"), ("", "01632960001"), ("", ""), ("999", "01632999")]
        {
            assert!(!alike(own, other) && !alike(other, own), "{own} {other}");
        }
    }

    #[test]
    fn a_time_that_cannot_be_is_the_arrivals() {
        let arrival = Timestamp::from_millis(1_800_000_000_000);
        for (ms, believed) in [
            (-1_000, true),
            (AHEAD_MS_MAX, true),
            (AHEAD_MS_MAX + 1, false),
            (-BEHIND_MS_MAX, true),
            (-BEHIND_MS_MAX - 1, false),
        ] {
            let at = arrival.plus_millis(ms);
            assert_eq!(plausible(Some(at), arrival), if believed { at } else { arrival }, "{ms}");
        }
        assert_eq!(plausible(None, arrival), arrival);
        assert_eq!(plausible(Some(Timestamp::MIN), Timestamp::MIN), Timestamp::MIN);
    }
}
