//! DAT side-car files: what a recording is about, as lines of `[Key:Value]` beside its audio file.
//!
//! The thirty keys, their order and their forms are those of the recorder whose files other tools already read. What
//! this recorder does not know stays empty; nothing is guessed. Times are UTC.

use decode::Timestamp;
use store::{Direction, RecordingFacts, State};

use crate::entries::time_of_day;

/// The side-car of a recording whose audio file is called `file`. Lines end as Windows ends them.
#[must_use]
pub fn sidecar(facts: &RecordingFacts, file: &str) -> String {
    let mut text = String::with_capacity(1_024);
    for (key, value) in fields(facts, file) {
        text.push('[');
        text.push_str(key);
        text.push(':');
        // A value comes from signalling: what could end its line or hide in it becomes a space.
        text.extend(value.chars().map(|c| if is_unprintable(c) { ' ' } else { c }));
        text.push_str("]\r\n");
    }
    text
}

/// Control characters, line and paragraph separators, and marks that turn the direction of writing.
pub(crate) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}')
        || matches!(c, '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}')
}

fn fields(facts: &RecordingFacts, file: &str) -> [(&'static str, String); 30] {
    let known = |text: &Option<String>| text.clone().unwrap_or_default();
    let (outside, extension) = (known(&facts.outside_number), facts.extension.clone());
    let trunk = || ("Trunk", known(&facts.trunk));
    let device = || ("Extension", extension.clone());
    let nobody = || String::new();
    // Who called whom, each with the type and number of the device; of an internal call it is not known which of the
    // two called.
    let ((caller, caller_device), (called, called_device)) = match facts.direction {
        Direction::Inbound => ((outside.clone(), trunk()), (extension.clone(), device())),
        Direction::Outbound => ((extension.clone(), device()), (outside.clone(), trunk())),
        Direction::Internal => ((nobody(), ("Extension", nobody())), (nobody(), ("Extension", nobody()))),
        Direction::Unknown => ((nobody(), ("", nobody())), (nobody(), ("", nobody()))),
    };
    let (direction, cli) = match facts.direction {
        Direction::Inbound => ("Inbound", outside),
        Direction::Outbound => ("Outbound", extension),
        Direction::Internal => ("Internal", String::new()),
        Direction::Unknown => ("", String::new()),
    };
    let ended = facts.state == State::Complete;
    [
        ("CallId", facts.sip_call_ids.first().cloned().unwrap_or_default()),
        ("CLI", cli),
        ("DDI", known(&facts.ddi)),
        ("Extension", facts.extension.clone()),
        ("ExtensionName", known(&facts.extension_name)),
        ("Direction", direction.to_owned()),
        ("HuntGroup", known(&facts.hunt_group)),
        ("Encrypted", "False".to_owned()),
        ("HuntGroupName", nobody()),
        ("AurixIndexed", "False".to_owned()),
        ("NetworkRecordingPath", nobody()),
        ("LocalRecordingPath", file.to_owned()),
        ("AgentId", known(&facts.agent)),
        // An agent who is a user's: otherwise the user is the extension's.
        ("AgentName", if facts.agent.is_some() { known(&facts.user_name) } else { nobody() }),
        ("Trunk", known(&facts.trunk)),
        ("Serial", facts.trunk.as_deref().map(|trunk| serial(trunk, facts)).unwrap_or_default()),
        ("StartTime", date_and_time(facts.started)),
        ("AnswerTime", facts.answered.map(date_and_time).unwrap_or_default()),
        ("EndEvent", if ended { "CallCleared".to_owned() } else { nobody() }),
        ("EventCause", if facts.answered.is_some() { "Answered".to_owned() } else { nobody() }),
        ("Segment", facts.segment.to_string()),
        ("LogicCallId", facts.call.clone()),
        ("CurrentGlobalCallId", format!("{}D{}", facts.call, date(facts.started))),
        ("PrimaryGlobalCallId", facts.call.clone()),
        ("CallerNumber", caller),
        ("CallerDeviceType", caller_device.0.to_owned()),
        ("CallerDeviceNumber", caller_device.1),
        ("CalledNumber", called),
        ("CalledDeviceType", called_device.0.to_owned()),
        ("CalledDeviceNumber", called_device.1),
    ]
}

/// The trunk, the start to the second, and four digits that tell recordings of that second apart.
fn serial(trunk: &str, facts: &RecordingFacts) -> String {
    let (h, m, s) = time_of_day(facts.started);
    let random = facts.id.as_bytes().iter().fold(0_u32, |sum, byte| (sum * 31 + u32::from(*byte)) % 10_000);
    format!("{trunk}{}{h:02}{m:02}{s:02}{random:04}", date(facts.started))
}

/// `yyyyMMdd`, UTC.
fn date(at: Timestamp) -> String {
    let (year, month, day) = at.date();
    format!("{year:04}{month:02}{day:02}")
}

/// `dd/MM/yyyy HH:mm:ss`, UTC.
fn date_and_time(at: Timestamp) -> String {
    let ((year, month, day), (h, m, s)) = (at.date(), time_of_day(at));
    format!("{day:02}/{month:02}/{year:04} {h:02}:{m:02}:{s:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::tests::facts;

    #[test]
    fn the_keys_and_forms_are_those_that_other_tools_read() {
        let text = sidecar(&facts(), "x.wav");
        let keys: Vec<&str> = text.lines().map(|l| l[1..].split(':').next().expect("a key")).collect();
        let expected = "CallId CLI DDI Extension ExtensionName Direction HuntGroup Encrypted HuntGroupName \
                        AurixIndexed NetworkRecordingPath LocalRecordingPath AgentId AgentName Trunk Serial \
                        StartTime AnswerTime EndEvent EventCause Segment LogicCallId CurrentGlobalCallId \
                        PrimaryGlobalCallId CallerNumber CallerDeviceType CallerDeviceNumber CalledNumber \
                        CalledDeviceType CalledDeviceNumber";
        assert_eq!(keys.join(" "), expected);
        let serial = text.lines().find_map(|line| line.strip_prefix("[Serial:")).expect("there");
        let digits =
            serial.trim_end_matches("]").strip_prefix("9720120260101090000").expect("trunk and start");
        assert!(digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit()), "{serial}");
        let global = format!("[CurrentGlobalCallId:{}D20260101]", facts().call);
        for line in [
            &*global,
            "[CallId:a84b4c76e66710@example.com]",
            "[CLI:+441234567890]",
            "[Direction:Inbound]",
            "[Encrypted:False]",
            "[LocalRecordingPath:x.wav]",
            "[StartTime:01/01/2026 09:00:00]",
            "[AnswerTime:01/01/2026 09:00:05]",
            "[EndEvent:CallCleared]",
            "[Segment:2]",
            "[AgentName:Alice Bell]",
            "[CallerNumber:+441234567890]",
            "[CallerDeviceType:Trunk]",
            "[CallerDeviceNumber:97201]",
            "[CalledNumber:1001]",
            "[CalledDeviceType:Extension]",
        ] {
            assert!(text.contains(&format!("{line}\r\n")), "{line} in\n{text}");
        }
    }

    #[test]
    fn a_hostile_name_cannot_add_a_line() {
        let mut facts = facts();
        facts.extension_name = Some("x]\r\n[Encrypted:True]\u{2028}\u{202e}\0\u{1b}[31m".to_owned());
        let text = sidecar(&facts, "x.wav");
        assert_eq!(text.lines().count(), 30);
        assert!(!text.contains("\n[Encrypted:True"));
        assert!(!text.chars().any(|c| is_unprintable(c) && c != '\r' && c != '\n'));
    }
}
