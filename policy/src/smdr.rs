//! SMDR, the call record stream of telephone systems: one line of fixed fields for each event of a trunk call.
//!
//! Owns the record, how it is written and how it is read. A record that a PBX sends becomes a [`Report`] of the
//! feed. Pure: sockets and files are elsewhere. `docs/smdr.md` has the layout and what of it is known to be written otherwise.

mod fields;
pub mod teller;

use decode::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::feed::{Alike, Report, Whose, Word};
use crate::outcome::Direction;
use crate::rules::Fact;

pub use fields::{RECORD_LEN, SmdrError};

/// The longest line that is read, in bytes: a record with its fields somewhat too wide.
pub const LINE_LEN_MAX: usize = 256;
/// What fills the fields of numbers, unless the administrator says otherwise.
pub const PADDING: u8 = b'0';

/// What happened to the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SmdrEvent {
    /// It rings at the endpoint; also after a transfer to one that rings, and when a held call comes back.
    Ringing,
    /// The endpoint is the first to answer.
    Answered,
    /// The endpoint has put it on hold.
    Hold,
    /// The endpoint has it again, or a later one has it. Written `CONNECTED`: `CALLCONNECTED` is longer than its field.
    Connected,
    /// It is on its way from the source to the endpoint by a forward.
    Diverted,
    /// The source has passed it on to the endpoint.
    Transferred,
    /// It waits at a hunt group.
    Queued,
    /// Its account code, caller or contact is another.
    Modified,
    /// It is over.
    Disconnected,
}

impl SmdrEvent {
    /// Every event.
    pub const ALL: [SmdrEvent; 9] = [
        SmdrEvent::Ringing,
        SmdrEvent::Answered,
        SmdrEvent::Hold,
        SmdrEvent::Connected,
        SmdrEvent::Diverted,
        SmdrEvent::Transferred,
        SmdrEvent::Queued,
        SmdrEvent::Modified,
        SmdrEvent::Disconnected,
    ];

    /// As records write it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            SmdrEvent::Ringing => "RINGING",
            SmdrEvent::Answered => "ANSWERED",
            SmdrEvent::Hold => "HOLD",
            SmdrEvent::Connected => "CONNECTED",
            SmdrEvent::Diverted => "DIVERTED",
            SmdrEvent::Transferred => "TRANSFERRED",
            SmdrEvent::Queued => "QUEUED",
            SmdrEvent::Modified => "CALLMODIFIED",
            SmdrEvent::Disconnected => "DISCONNECTED",
        }
    }

    /// As records write it, and as their manual names it. A word that was cut to its field is taken for what it was.
    fn from_word(word: &str) -> Option<SmdrEvent> {
        const LONG: &str = "CALLCONNECTED";
        if word.len() > "CALLCONN".len() && LONG.starts_with(word) {
            return Some(SmdrEvent::Connected);
        }
        SmdrEvent::ALL.into_iter().find(|event| event.word() == word)
    }
}

/// One record. An empty text is a blank field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When, to the second, on the clock of the telephone system's wall.
    pub at: DateTime,
    /// From outside; else to the outside.
    pub is_inbound: bool,
    /// Names the call, also after a transfer.
    pub call: String,
    /// The line to the public network.
    pub trunk: String,
    /// The extension.
    pub endpoint: String,
    /// Where it came from, of a transfer or a forward.
    pub source: String,
    /// The number outside.
    pub caller: String,
    /// Whose that is.
    pub contact: String,
    /// The number that was dialled from outside.
    pub ddi: String,
    /// What that is called.
    pub dnis: String,
    /// The account code.
    pub account_code: String,
    /// What happened.
    pub event: SmdrEvent,
}

impl Record {
    /// Reads a line without its end. Fields that are wider than they should be, a direction or an event in its manual's longer word
    /// and an outbound record without DNIS are taken; `padding` is what fills blank fields there.
    ///
    /// # Errors
    /// [`SmdrError`] says which field cannot be read; never its value.
    pub fn parse(line: &[u8], padding: u8) -> Result<Record, SmdrError> {
        fields::parse(line, padding)
    }

    /// Writes it: [`RECORD_LEN`] bytes, then CR LF. A value that is longer than its field is cut at its end, and a character that has
    /// no place in a record becomes `?`.
    #[must_use]
    pub fn write(&self, padding: u8) -> Vec<u8> {
        fields::write(self, padding)
    }

    /// What it says of a call, as a report that came at `arrival` from a system on the clock of `zone` that fills its fields with
    /// `padding`; none of a record that names no extension or says nothing of it.
    #[must_use]
    pub fn report(&self, padding: u8, zone: &TimeZone, arrival: Timestamp) -> Option<Report> {
        let is_about_a_call = !matches!(self.event, SmdrEvent::Queued | SmdrEvent::Diverted);
        if self.endpoint.is_empty() || !is_about_a_call {
            return None;
        }
        let direction = if self.is_inbound { Direction::Inbound } else { Direction::Outbound };
        let mut facts = vec![Fact::Direction(direction)];
        let transferred = if self.event == SmdrEvent::Transferred { self.source.as_str() } else { "" };
        // A blank field says nothing; it takes nothing back.
        let said = |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty());
        let is_whole = padding != b'0';
        facts.extend(said(&self.caller).map(if is_whole {
            Fact::OutsideNumber
        } else {
            Fact::PaddedOutsideNumber
        }));
        facts.extend(said(&self.contact).map(Fact::Contact));
        facts.extend(said(&self.ddi).map(if is_whole { Fact::Ddi } else { Fact::PaddedDdi }));
        facts.extend(said(&self.dnis).map(Fact::DdiName));
        facts.extend(said(&self.trunk).map(Fact::Trunk));
        facts.extend(said(transferred).map(Fact::TransferredFrom));
        facts.extend(said(&self.account_code).map(Fact::AccountCode));
        let alike = Alike { call: self.call.clone(), number: self.caller.clone(), direction };
        let word = Word::Facts(Whose::Recorded { extension: self.endpoint.clone(), alike }, facts);
        Some(Report { at: instant(self.at, zone, arrival), who: String::new(), word })
    }
}

/// A wall clock's time; in the hour that comes twice a year the one nearer to the arrival.
fn instant(at: DateTime, zone: &TimeZone, arrival: Timestamp) -> Timestamp {
    let times = [zone.to_ambiguous_timestamp(at).earlier(), zone.to_ambiguous_timestamp(at).later()];
    let nanos = times.into_iter().flatten().filter_map(|at| i64::try_from(at.as_nanosecond()).ok());
    let nearest = nanos.map(Timestamp::from_nanos).min_by_key(|at| at.nanos_since(arrival).unsigned_abs());
    crate::feed::plausible(nearest, arrival)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(event: SmdrEvent) -> Record {
        Record {
            at: "2026-11-20T09:30:00".parse().expect("a time"),
            is_inbound: true,
            call: "42".into(),
            trunk: "801".into(),
            endpoint: "2001".into(),
            source: "2000".into(),
            caller: "1632960001".into(),
            contact: "Ann Bee".into(),
            ddi: String::new(),
            dnis: String::new(),
            account_code: "77".into(),
            event,
        }
    }

    #[test]
    fn a_record_says_what_it_has_and_takes_nothing_back() {
        let arrival: Timestamp = "2026-11-20T09:30:01Z".parse().expect("a time");
        let report =
            record(SmdrEvent::Transferred).report(PADDING, &TimeZone::UTC, arrival).expect("a report");
        assert_eq!(report.at, arrival.plus_millis(-1_000));
        let Word::Facts(whose, facts) = report.word else { panic!() };
        let (call, number, direction) = ("42".into(), "1632960001".into(), Direction::Inbound);
        let alike = Alike { call, number, direction };
        assert_eq!(whose, Whose::Recorded { extension: "2001".into(), alike });
        let told: Vec<String> = facts.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "direction inbound",
                "outside number 1632960001",
                "contact Ann Bee",
                "trunk 801",
                "transferred from 2000",
                "account code 77"
            ]
        );
        let diverted = record(SmdrEvent::Diverted);
        assert_eq!(diverted.report(PADDING, &TimeZone::UTC, arrival), None, "nobody has it");
        let nobody = Record { endpoint: String::new(), ..record(SmdrEvent::Ringing) };
        assert_eq!(nobody.report(PADDING, &TimeZone::UTC, arrival), None);
    }

    #[test]
    fn in_the_hour_that_comes_twice_the_nearer_one_is_meant() {
        let zone = TimeZone::get("Europe/London").expect("zones are installed");
        let at: DateTime = "2026-10-25T01:30:00".parse().expect("a time");
        for (arrival, meant) in [
            ("2026-10-25T00:30:02Z", "2026-10-25T00:30:00.000Z"),
            ("2026-10-25T01:30:02Z", "2026-10-25T01:30:00.000Z"),
        ] {
            let arrival: Timestamp = arrival.parse().expect("a time");
            assert_eq!(instant(at, &zone, arrival).to_string(), meant);
        }
        // An hour that there is not, and a clock that is wrong.
        let gap: DateTime = "2026-03-29T01:30:00".parse().expect("a time");
        let arrival: Timestamp = "2026-03-29T01:30:02Z".parse().expect("a time");
        assert!(instant(gap, &zone, arrival).nanos_since(arrival).unsigned_abs() < 3_600_000_000_001);
        assert_eq!(instant(DateTime::MAX, &zone, arrival), arrival);
    }
}
