//! What an imported file is about: JSON as `archive list --json` prints it, a DAT side-car, or no more than its name.

use decode::Timestamp;
use policy::{CustomFields, Direction, People};
use serde::Deserialize;
use store::RecordingId;

/// Longest text with metadata, in bytes.
pub const TEXT_MAX: u64 = 1 << 20;
/// Longest value, in bytes; longer ones are cut.
const VALUE_MAX: usize = 1_024;
/// How far in the future a call may have begun, in milliseconds: a day, for clocks and time zones that were set wrong.
const FUTURE_MAX_MS: i64 = 24 * 3_600 * 1_000;
/// Most tags and call ids.
const LIST_MAX: usize = 64;

/// What is known of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of store::RecordingFacts")]
pub struct About {
    pub started: Timestamp,
    pub answered: Option<Timestamp>,
    pub direction: Direction,
    pub extension: String,
    pub extension_name: Option<String>,
    pub outside_number: Option<String>,
    pub other_party: Option<String>,
    pub other_party_name: Option<String>,
    pub user: Option<String>,
    pub user_name: Option<String>,
    pub business_unit: Option<String>,
    pub units_above: Vec<String>,
    pub site: Option<String>,
    pub agent: Option<String>,
    pub account_code: Option<String>,
    pub hunt_group: Option<String>,
    pub trunk: Option<String>,
    pub ddi: Option<String>,
    pub call: Option<String>,
    pub segment: Option<u32>,
    pub tags: Vec<String>,
    pub fields: CustomFields,
    pub sip_call_ids: Vec<String>,
}

impl About {
    /// Fills in whom the call counts for, where the metadata names neither user nor unit: whoever had the agent's id or the
    /// extension when it began.
    pub fn count_for(&mut self, people: &People) {
        if self.user.is_some() || self.business_unit.is_some() {
            return;
        }
        let who = people.who(&self.extension, self.agent.as_deref(), self.started);
        (self.user, self.user_name) = who.user.map(|user| (user.id, user.name)).unzip();
        (self.business_unit, self.units_above) = (who.unit, who.units_above);
    }
}

/// Metadata that may lack anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Said {
    started: Option<Timestamp>,
    answered: Option<Timestamp>,
    direction: Option<Direction>,
    extension: Option<String>,
    extension_name: Option<String>,
    outside_number: Option<String>,
    other_party: Option<String>,
    other_party_name: Option<String>,
    user: Option<String>,
    user_name: Option<String>,
    business_unit: Option<String>,
    units_above: Vec<String>,
    site: Option<String>,
    agent: Option<String>,
    account_code: Option<String>,
    hunt_group: Option<String>,
    trunk: Option<String>,
    ddi: Option<String>,
    call: Option<String>,
    segment: Option<u32>,
    tags: Vec<String>,
    fields: CustomFields,
    sip_call_ids: Vec<String>,
}

impl Said {
    /// From one JSON object with the names of `archive list --json`; others are passed over.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn json(text: &str) -> Result<Said, String> {
        serde_json::from_str(text)
            .map_err(|error| format!("it is no JSON as `archive list --json` prints it: {error}"))
    }

    /// From a DAT side-car: lines of `[Key:Value]`, split at the first colon. Times are taken as UTC. Keys without a place here
    /// are passed over.
    ///
    /// # Errors
    /// Which line is none.
    pub fn dat(text: &str) -> Result<Said, String> {
        let mut said = Said::default();
        let (mut cli, mut caller, mut called) = (None, None, None);
        for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let inside = line.strip_prefix('[').and_then(|line| line.strip_suffix(']'));
            let (key, value) = inside
                .and_then(|inside| inside.split_once(':'))
                .ok_or_else(|| format!("line {number} is not [Key:Value]"))?;
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            let text = || Some(value.to_owned());
            let time =
                || moment(value).ok_or_else(|| format!("line {number}: the time is not dd/MM/yyyy HH:mm:ss"));
            match key.trim() {
                "CallId" => said.sip_call_ids.push(value.to_owned()),
                "CLI" => cli = text(),
                "DDI" => said.ddi = text(),
                "Extension" => said.extension = text(),
                "ExtensionName" => said.extension_name = text(),
                "Direction" => {
                    said.direction = match value.to_ascii_lowercase().as_str() {
                        "inbound" => Some(Direction::Inbound),
                        "outbound" => Some(Direction::Outbound),
                        "internal" => Some(Direction::Internal),
                        _ => None,
                    }
                }
                "HuntGroup" => said.hunt_group = text(),
                "AgentId" => said.agent = text(),
                "Trunk" => said.trunk = text(),
                "StartTime" => said.started = Some(time()?),
                "AnswerTime" => said.answered = Some(time()?),
                "Segment" => said.segment = value.parse().ok(),
                "LogicCallId" => said.call = text(),
                "PrimaryGlobalCallId" if said.call.is_none() => said.call = text(),
                "CallerNumber" => caller = text(),
                "CalledNumber" => called = text(),
                _ => {}
            }
        }
        match said.direction {
            Some(Direction::Inbound) => said.outside_number = caller.or(cli),
            Some(Direction::Outbound) => said.outside_number = called,
            Some(Direction::Internal | Direction::Unknown) | None => {
                let own = said.extension.clone();
                said.other_party = [caller, called].into_iter().flatten().find(|n| Some(n) != own.as_ref());
            }
        }
        Ok(said)
    }

    /// What is said, with the rest from the file: its time from its name (a recording's id, or 14 digits in a row as
    /// yyyyMMddHHmmss, UTC) or else when it was last changed; `extension` where the metadata names none. It is `now`.
    ///
    /// # Errors
    /// What is missing, or a time before 1970 or more than a day after `now`.
    pub fn about(
        self,
        stem: &str,
        modified: Option<Timestamp>,
        extension: Option<&str>,
        now: Timestamp,
    ) -> Result<About, String> {
        let cut = |text: String| {
            let end = text
                .char_indices()
                .map(|(at, c)| at + c.len_utf8())
                .take_while(|&end| end <= VALUE_MAX)
                .last();
            text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
        };
        let short = |text: Option<String>| text.map(cut).filter(|text| !text.is_empty());
        let list = |list: Vec<String>| list.into_iter().take(LIST_MAX).map(cut).collect::<Vec<_>>();
        let started =
            self.started.or_else(|| by_name(stem)).or(modified).ok_or("it is not known when it was")?;
        // A recording's name counts from 1970.
        if started < Timestamp::default() {
            return Err("it would have begun before 1970".into());
        }
        if started > now.plus_millis(FUTURE_MAX_MS) {
            return Err("it would have begun in the future".into());
        }
        let mut fields = CustomFields::default();
        for (field, value) in self.fields.iter() {
            fields.set(field, &cut(value.to_owned()));
        }
        let extension = short(self.extension).or_else(|| extension.map(str::to_owned));
        Ok(About {
            started,
            answered: self.answered,
            direction: self.direction.unwrap_or(Direction::Unknown),
            extension: extension
                .ok_or("nothing says whose call it was: name the extension with --extension")?,
            extension_name: short(self.extension_name),
            outside_number: short(self.outside_number),
            other_party: short(self.other_party),
            other_party_name: short(self.other_party_name),
            user: short(self.user),
            user_name: short(self.user_name),
            business_unit: short(self.business_unit),
            units_above: list(self.units_above),
            site: short(self.site),
            agent: short(self.agent),
            account_code: short(self.account_code),
            hunt_group: short(self.hunt_group),
            trunk: short(self.trunk),
            ddi: short(self.ddi),
            call: short(self.call),
            segment: self.segment,
            tags: list(self.tags),
            fields,
            sip_call_ids: list(self.sip_call_ids),
        })
    }
}

/// `dd/MM/yyyy HH:mm:ss`.
fn moment(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once(' ')?;
    let mut parts = date.split('/');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || (day.len(), month.len(), year.len(), time.len()) != (2, 2, 4, 8) {
        return None;
    }
    format!("{year}-{month}-{day}T{time}Z").parse().ok()
}

/// When it was, by the name of the file.
fn by_name(stem: &str) -> Option<Timestamp> {
    if let Ok(id) = stem.parse::<RecordingId>() {
        return Some(id.started());
    }
    let mut runs = stem.split(|c: char| !c.is_ascii_digit());
    runs.find(|run| run.len() == 14).and_then(|run| {
        let part = |from: usize, to: usize| run.get(from..to).unwrap_or_default();
        let (date, time) = (
            format!("{}-{}-{}", part(0, 4), part(4, 6), part(6, 8)),
            format!("{}:{}:{}", part(8, 10), part(10, 12), part(12, 14)),
        );
        format!("{date}T{time}Z").parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-20.
    const NOW: Timestamp = Timestamp::from_millis(1_795_132_800_000);

    #[test]
    fn a_dat_file_is_split_at_the_first_colon_only() {
        let text = "\u{feff}[CallId:X22*07]\r\n[CLI:07700900123]\r\n[DDI:441234567890]\r\n[Extension:1001]\r\n\
                    [Direction:Inbound]\r\n[Encrypted:True]\r\n[NetworkRecordingPath:C:\\rec\\a:b.wav]\r\n[AgentId:]\r\n\
                    [Trunk:97201]\r\n[StartTime:26/04/2013 12:35:04]\r\n[AnswerTime:26/04/2013 12:35:11]\r\n[Segment:2]\r\n\
                    [LogicCallId:X22*07-20130426-XAR]\r\n[CallerNumber:07700900123]\r\n[New:1:2:3]\r\n";
        let about = Said::dat(text).and_then(|said| said.about("x", None, None, NOW)).expect("a DAT file");
        assert_eq!(about.started.to_string().get(..19), Some("2013-04-26T12:35:04"));
        assert_eq!(about.answered.map(|at| at.millis_since(about.started)), Some(7_000));
        assert_eq!((about.extension.as_str(), about.segment, about.agent), ("1001", Some(2), None));
        assert_eq!(about.outside_number.as_deref(), Some("07700900123"));
        assert_eq!(about.call.as_deref(), Some("X22*07-20130426-XAR"));
        assert_eq!(about.trunk.as_deref(), Some("97201"));
    }

    #[test]
    fn a_line_that_is_none_is_named_and_a_wrong_time_too() {
        assert_eq!(Said::dat("[A:b]\nA=b\n"), Err("line 2 is not [Key:Value]".into()));
        for time in ["2013-04-26 12:35:04", "26/04/2013", "26/4/2013 12:35:04", "31/02/2013 12:35:04"] {
            let read = Said::dat(&format!("[StartTime:{time}]"));
            assert!(read.is_err_and(|what| what.starts_with("line 1: the time")), "{time}");
        }
    }

    #[test]
    fn without_metadata_the_name_tells_the_time_and_the_user_the_extension() {
        let said = |stem| Said::default().about(stem, Some(Timestamp::from_millis(5)), Some("7"), NOW);
        let at = |stem| said(stem).expect("an extension").started.to_string();
        assert!(at("97201-20130426123504-6280").starts_with("2013-04-26T12:35:04"));
        assert!(at("01KJPWD9JW0000000000000000").starts_with("2026-"));
        assert!(at("call 20131326123504").starts_with("1970-01-01"), "no such month: the file's own time");
        assert!(Said::default().about("x", Some(Timestamp::from_millis(5)), None, NOW).is_err());
        assert!(Said::default().about("x", None, Some("7"), NOW).is_err());
    }

    #[test]
    fn a_call_that_would_begin_in_the_future_is_refused() {
        let at = |started: &str| {
            let said = Said::json(&format!(r#"{{"started":"{started}","extension":"1"}}"#)).expect("JSON");
            said.about("x", None, None, NOW).map(|about| about.started)
        };
        assert_eq!(
            at("2026-11-20T23:59:59Z").map(Timestamp::as_millis),
            Ok(1_795_219_199_000),
            "within a day"
        );
        for started in ["2026-11-21T00:00:01Z", "2300-01-01T00:00:00Z", "9999-12-31T23:59:59Z"] {
            assert_eq!(at(started), Err("it would have begun in the future".into()), "{started}");
        }
        let by_name = Said::default().about("22000101000000", None, Some("1"), NOW);
        assert_eq!(by_name, Err("it would have begun in the future".into()));
    }

    #[test]
    fn metadata_of_a_listed_recording_reads_back_and_long_values_are_cut() {
        let long = "ä".repeat(2_000);
        let text = format!(
            r#"{{"id":"x","extension":"2001","user":"{long}","direction":"outbound","started":"2026-03-04T05:06:07Z","tracks":[],"tags":["a"]}}"#
        );
        let about = Said::json(&text).and_then(|said| said.about("x", None, Some("7"), NOW)).expect("JSON");
        assert_eq!((about.extension.as_str(), about.direction), ("2001", Direction::Outbound));
        assert_eq!(about.user.map(|user| user.len()), Some(VALUE_MAX));
        assert_eq!(about.tags, ["a"]);
    }
}
