//! A report as one JSON object, or an array of them. Unknown fields are refused by name: what is misspelt would be lost silently.

use std::fmt;

use decode::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{BATCH_MAX, Batch, NAME_LEN_MAX, REPORT_LEN_MAX, Report, ReportError, Whose, Word, plausible};
use crate::custom::CustomField;
use crate::outcome::Direction;
use crate::rules::{FACT_LEN_MAX, Fact, TAGS_MAX};

/// The fields as they are written, in the order in which facts are taken.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Fields {
    pub(super) event: Option<LogEvent>,
    pub(super) call_id: Option<String>,
    pub(super) extension: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) at: Option<String>,
    pub(super) direction: Option<Direction>,
    pub(super) outside_number: Option<String>,
    pub(super) contact: Option<String>,
    pub(super) ddi: Option<String>,
    pub(super) ddi_name: Option<String>,
    pub(super) trunk: Option<String>,
    pub(super) hunt_group: Option<String>,
    pub(super) transferred_from: Option<String>,
    pub(super) business_unit: Option<String>,
    pub(super) account_code: Option<String>,
    pub(super) tag: Many,
    pub(super) untag: Many,
    pub(super) tag1: Option<String>,
    pub(super) tag2: Option<String>,
    pub(super) tag3: Option<String>,
    pub(super) tag4: Option<String>,
    pub(super) tag5: Option<String>,
    pub(super) uri: Option<String>,
}

/// Fields that stand in an object: in an array they would be told apart by their places.
struct Object(Fields);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;

        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Fields, A::Error> {
                Fields::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(ObjectVisitor).map(Object)
    }
}

/// What happens that is no fact of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogEvent {
    Logon,
    Logoff,
    Established,
    Cleared,
}

/// One text or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a text or a list of texts")]
pub(super) enum Many {
    One(String),
    Several(Vec<String>),
}

impl Default for Many {
    fn default() -> Many {
        Many::Several(Vec::new())
    }
}

impl Many {
    pub(super) fn push(&mut self, text: String) {
        match self {
            Many::Several(texts) => texts.push(text),
            Many::One(first) => *self = Many::Several(vec![std::mem::take(first), text]),
        }
    }

    fn into_vec(self) -> Vec<String> {
        match self {
            Many::One(text) => vec![text],
            Many::Several(texts) => texts,
        }
    }
}

impl Report {
    /// Reads one JSON object that came at `arrival`.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn from_json(bytes: &[u8], arrival: Timestamp) -> Result<Report, ReportError> {
        if bytes.len() > REPORT_LEN_MAX {
            return Err(ReportError::TooLong);
        }
        let Object(fields) = serde_json::from_slice(bytes).map_err(|error| json_error(&error))?;
        fields.resolve(arrival)
    }
}

impl Batch {
    /// Reads a JSON array of reports; a single object is a batch of one. All of them are taken, or none.
    ///
    /// # Errors
    /// [`ReportError`]; of one report among several [`ReportError::InBatch`].
    pub fn from_json(bytes: &[u8], arrival: Timestamp) -> Result<Batch, ReportError> {
        if bytes.len() > BATCH_MAX * REPORT_LEN_MAX {
            return Err(ReportError::TooLong);
        }
        if !bytes.trim_ascii_start().starts_with(b"[") {
            return Report::from_json(bytes, arrival).map(|report| Batch(vec![report]));
        }
        let all: Vec<Object> = serde_json::from_slice(bytes).map_err(|error| json_error(&error))?;
        if all.len() > BATCH_MAX {
            return Err(ReportError::TooMany { count: all.len() });
        }
        let resolve = |(Object(fields), nth): (Object, usize)| {
            let in_batch = |error| ReportError::InBatch { nth, error: Box::new(error) };
            fields.resolve(arrival).map_err(in_batch)
        };
        all.into_iter().zip(1..).map(resolve).collect::<Result<_, _>>().map(Batch)
    }
}

/// serde's words without a value of the report: it may be digits that somebody keyed.
fn json_error(error: &serde_json::Error) -> ReportError {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    let is_about_a_value = what.starts_with("invalid type") || what.starts_with("invalid value");
    let expected = what.split_once(", expected ").map(|(_, expected)| expected);
    let what = match expected {
        Some(expected) if is_about_a_value => format!("expected {expected}"),
        _ if what.starts_with("unknown variant") => "a word that is not one of those of its field".to_owned(),
        _ => what.chars().take(400).collect(),
    };
    ReportError::Json { what, line: error.line(), column: error.column() }
}

/// A name or value is text of a sensible length without control characters.
fn check(field: &'static str, text: &str, len_max: usize) -> Result<(), ReportError> {
    let error = |why| Err(ReportError::Field { field, why });
    if text.len() > len_max {
        return error("longer than 256 bytes");
    }
    if text.chars().any(char::is_control) {
        return error("holds a control character");
    }
    Ok(())
}

fn named(field: &'static str, name: Option<String>) -> Result<Option<String>, ReportError> {
    match &name {
        Some(name) if name.is_empty() => Err(ReportError::Field { field, why: "is empty" }),
        Some(name) => check(field, name, NAME_LEN_MAX),
        None => Ok(()),
    }
    .map(|()| name)
}

impl Fields {
    /// The report that they make.
    pub(super) fn resolve(self, arrival: Timestamp) -> Result<Report, ReportError> {
        let at = self.at.as_deref().map(time).transpose()?;
        let at = plausible(at, arrival);
        let (call_id, extension) = (named("call_id", self.call_id)?, named("extension", self.extension)?);
        let mut facts = Vec::new();
        facts.extend(self.direction.map(Fact::Direction));
        facts.extend(self.outside_number.map(Fact::OutsideNumber));
        facts.extend(self.contact.map(Fact::Contact));
        facts.extend(self.ddi.map(Fact::Ddi));
        facts.extend(self.ddi_name.map(Fact::DdiName));
        facts.extend(self.trunk.map(Fact::Trunk));
        facts.extend(self.hunt_group.map(Fact::HuntGroup));
        facts.extend(self.transferred_from.map(Fact::TransferredFrom));
        facts.extend(self.business_unit.map(Fact::BusinessUnit));
        facts.extend(self.account_code.map(Fact::AccountCode));
        let (tags, untags) = (self.tag.into_vec(), self.untag.into_vec());
        if tags.len() + untags.len() > TAGS_MAX {
            return Err(ReportError::Field { field: "tag", why: "more than 32 in one report" });
        }
        facts.extend(tags.into_iter().map(Fact::Tag));
        facts.extend(untags.into_iter().map(Fact::Untag));
        let fields = [self.tag1, self.tag2, self.tag3, self.tag4, self.tag5];
        let filled = CustomField::ALL.into_iter().zip(fields);
        facts.extend(filled.filter_map(|(field, value)| Some(Fact::Field(field, value?))));
        facts.iter().try_for_each(|fact| check(fact.key(), fact.value(), FACT_LEN_MAX))?;
        if let Some(event) = self.event {
            if call_id.is_some() || !facts.is_empty() {
                let why = "logon and logoff go with agent and extension alone, established and cleared with uri and extension";
                return Err(ReportError::Field { field: "event", why });
            }
            let (agent, uri) = (named("agent", self.agent)?, named("uri", self.uri)?);
            let word = match event {
                LogEvent::Established | LogEvent::Cleared => {
                    conversation(event, uri, extension, agent.is_some())?
                }
                _ if uri.is_some() => {
                    return Err(ReportError::Field { field: "uri", why: ONLY_CONVERSATIONS });
                }
                _ => log(event, agent, extension)?,
            };
            return Ok(Report { at, who: String::new(), word });
        }
        if self.uri.is_some() {
            return Err(ReportError::Field { field: "uri", why: ONLY_CONVERSATIONS });
        }
        // Alone it says whose call is meant; beside a call or an extension it is who took part.
        let whose = match (call_id, extension) {
            (Some(call_id), extension) => Whose::CallId { call_id, extension },
            (None, Some(extension)) => Whose::Extension(extension),
            (None, None) => {
                let agent = named("agent", self.agent)?.ok_or(ReportError::NoCall)?;
                return report(at, Whose::Agent(agent), facts);
            }
        };
        if let Some(agent) = self.agent {
            check("agent", &agent, FACT_LEN_MAX)?;
            facts.insert(0, Fact::Agent(agent));
        }
        report(at, whose, facts)
    }
}

fn report(at: Timestamp, whose: Whose, facts: Vec<Fact>) -> Result<Report, ReportError> {
    if facts.is_empty() {
        return Err(ReportError::NothingSaid);
    }
    Ok(Report { at, who: String::new(), word: Word::Facts(whose, facts) })
}

const ONLY_CONVERSATIONS: &str = "goes with event=established and event=cleared alone";

fn conversation(
    event: LogEvent,
    uri: Option<String>,
    extension: Option<String>,
    has_agent: bool,
) -> Result<Word, ReportError> {
    let wrong = |field, why| Err(ReportError::Field { field, why });
    match (event, uri, extension) {
        _ if has_agent => wrong("agent", "does not go with established and cleared"),
        (_, None, _) => wrong("uri", "which conversation? its SIP URI is missing"),
        (LogEvent::Cleared, Some(uri), _) => Ok(Word::Leave { uri }),
        (_, Some(_), None) => wrong("extension", "an established conversation says for whom it is recorded"),
        (_, Some(uri), Some(extension)) => Ok(Word::Join { uri, extension }),
    }
}

fn log(event: LogEvent, agent: Option<String>, extension: Option<String>) -> Result<Word, ReportError> {
    let missing = |field, why| Err(ReportError::Field { field, why });
    match (event, agent, extension) {
        (LogEvent::Logon, Some(agent), Some(extension)) => Ok(Word::LogOn { agent, extension }),
        (LogEvent::Logon, None, _) => missing("agent", "a logon says who"),
        (LogEvent::Logon, _, None) => missing("extension", "a logon says where"),
        (LogEvent::Logoff, None, None) => Err(ReportError::NoCall),
        (_, agent, extension) => Ok(Word::LogOff { agent, extension }),
    }
}

/// RFC 3339, with any offset from UTC.
fn time(text: &str) -> Result<Timestamp, ReportError> {
    let why = "no time as 2026-11-20T09:30:00.250Z or 2026-11-20T10:30:00.250+01:00 (RFC 3339)";
    let parsed = text.parse::<jiff::Timestamp>().ok();
    let nanos = parsed.and_then(|at| i64::try_from(at.as_nanosecond()).ok());
    nanos.map(Timestamp::from_nanos).ok_or(ReportError::Field { field: "at", why })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARRIVAL: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn read(text: &str) -> Result<Report, ReportError> {
        Report::from_json(text.as_bytes(), ARRIVAL)
    }

    #[test]
    fn every_field_is_a_fact_or_says_whose_call_is_meant() {
        let text = r#"{"call_id": "a@b", "extension": "2000", "agent": "1021", "at": "2027-01-15T09:00:00.5+01:00",
            "direction": "inbound", "outside_number": "01632960001", "contact": "Ann", "ddi": "01632960500",
            "ddi_name": "Sales", "trunk": "801", "hunt_group": "2500", "transferred_from": "2001",
            "business_unit": "Trading", "account_code": "", "tag": ["card", "vip"], "untag": "old",
            "tag1": "AB-1271", "tag5": ""}"#;
        let report = read(text).expect("a report");
        assert_eq!(report.at, ARRIVAL.plus_millis(500));
        let Word::Facts(Whose::CallId { call_id, extension }, facts) = report.word else { panic!() };
        assert_eq!((call_id.as_str(), extension.as_deref()), ("a@b", Some("2000")));
        let written: Vec<String> = facts.iter().map(|f| format!("{}={}", f.key(), f.value())).collect();
        assert_eq!(
            written.join(" "),
            "agent=1021 direction=inbound outside_number=01632960001 contact=Ann ddi=01632960500 ddi_name=Sales trunk=801 \
             hunt_group=2500 transferred_from=2001 business_unit=Trading account_code= tag=card tag=vip untag=old tag1=AB-1271 tag5="
        );
        let alone = read(r#"{"agent": "1021", "account_code": "77"}"#).expect("a report");
        let facts = vec![Fact::AccountCode("77".into())];
        assert_eq!(alone.word, Word::Facts(Whose::Agent("1021".into()), facts));
        assert_eq!(alone.at, ARRIVAL);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_field_and_without_its_value() {
        let long = format!(r#"{{"extension": "2000", "contact": "{}"}}"#, "4".repeat(257));
        for (text, why) in [
            ("{", "EOF while parsing an object, line 1, column 1"),
            (r#"{"extension": "2000", "acount_code": "77"}"#, "unknown field `acount_code`"),
            (r#"{"extension": "2000", "extension": "2000"}"#, "duplicate field `extension`"),
            (r#"{"extension": 4242, "tag": "x"}"#, "expected a string, line 1"),
            (r#"{"extension": "2000", "tag": {"4242": 1}}"#, "a text or a list of texts"),
            (r#"{"extension": "2000", "direction": "4242"}"#, "a word that is not one of those of its field"),
            (r#"{"account_code": "4242"}"#, "whose call?"),
            (r#"{"extension": "2000"}"#, "nothing is said"),
            (r#"{"extension": "", "tag": "4242"}"#, "extension: is empty"),
            (r#"{"extension": "2000", "contact": "a\u0000b4242"}"#, "contact: holds a control character"),
            (&long, "contact: longer than 256 bytes"),
            (r#"{"extension": "2000", "tag": "x", "at": "4242"}"#, "at: no time as"),
            (r#"{"event": "logon", "agent": "4242"}"#, "extension: a logon says where"),
            (r#"{"event": "logon", "extension": "4242"}"#, "agent: a logon says who"),
            (r#"{"event": "logoff"}"#, "whose call?"),
            (r#"{"event": "logoff", "agent": "4242", "tag": "x"}"#, "event: logon and logoff go with"),
            (r#"["logon"]"#, "expected an object, line 1"),
        ] {
            let told = read(text).expect_err(text).to_string();
            assert!(told.contains(why) && !told.contains("4242"), "{text}: {told}");
        }
        let much = vec![b' '; REPORT_LEN_MAX + 1];
        assert_eq!(Report::from_json(&much, ARRIVAL), Err(ReportError::TooLong));
    }

    #[test]
    fn an_agent_logs_on_somewhere_and_off_by_either_name() {
        let word = |text: &str| read(text).expect("a report").word;
        let (agent, extension) = ("1021".to_owned(), "2000".to_owned());
        assert_eq!(
            word(r#"{"event": "logon", "agent": "1021", "extension": "2000"}"#),
            Word::LogOn { agent: agent.clone(), extension: extension.clone() }
        );
        assert_eq!(
            word(r#"{"event": "logoff", "agent": "1021"}"#),
            Word::LogOff { agent: Some(agent), extension: None }
        );
        assert_eq!(
            word(r#"{"event": "logoff", "extension": "2000"}"#),
            Word::LogOff { agent: None, extension: Some(extension) }
        );
    }

    #[test]
    fn a_conversation_is_joined_for_somebody_and_left() {
        let (uri, extension) = ("sip:c1@192.0.2.20".to_owned(), "2000".to_owned());
        let established = r#"{"event": "established", "uri": "sip:c1@192.0.2.20", "extension": "2000"}"#;
        assert_eq!(read(established).expect("a report").word, Word::Join { uri: uri.clone(), extension });
        let cleared = r#"{"event": "cleared", "uri": "sip:c1@192.0.2.20"}"#;
        assert_eq!(read(cleared).expect("a report").word, Word::Leave { uri });
        for (text, why) in [
            (r#"{"event": "established", "extension": "2000"}"#, "uri: which conversation?"),
            (r#"{"event": "established", "uri": "sip:c1@192.0.2.20"}"#, "extension: an established"),
            (r#"{"event": "cleared", "uri": "sip:c1@192.0.2.20", "agent": "1"}"#, "agent: does not go"),
            (r#"{"event": "cleared", "uri": "sip:c1@192.0.2.20", "tag": "x"}"#, "event: logon and logoff"),
            (r#"{"event": "logon", "uri": "sip:x", "agent": "1", "extension": "2"}"#, "uri: goes with"),
            (r#"{"extension": "2000", "uri": "sip:x", "tag": "x"}"#, "uri: goes with"),
        ] {
            let told = read(text).expect_err(text).to_string();
            assert!(told.contains(why), "{text}: {told}");
        }
    }

    #[test]
    fn of_a_batch_all_reports_are_taken_or_none_and_the_wrong_one_is_named() {
        let one = r#"{"extension": "2000", "tag": "x"}"#;
        let batch = |text: &str| Batch::from_json(text.as_bytes(), ARRIVAL);
        assert_eq!(batch(one).map(|b| b.0.len()), Ok(1));
        assert_eq!(batch(&format!(" [{one}, {one}]")).map(|b| b.0.len()), Ok(2));
        let told = batch(&format!("[{one}, {{\"tag\": \"x\"}}]")).expect_err("the second").to_string();
        assert!(told.starts_with("report 2: whose call?"), "{told}");
        let many = vec![one; BATCH_MAX + 1].join(",");
        assert_eq!(batch(&format!("[{many}]")), Err(ReportError::TooMany { count: BATCH_MAX + 1 }));
    }
}
