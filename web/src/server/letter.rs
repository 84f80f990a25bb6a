//! What a letter with recordings says: what its sender wrote, what is known of each call, how to get at the recordings, and who sends it.
//!
//! Plain text. What signalling said cannot end a line, and signs that nobody sees are told as their numbers.

use std::fmt::Write as _;

use store::RecordingFacts;

use super::escape::brief;
use super::mailing::How;
use super::recordings::columns::short_length;
use super::zone::Zone;
use crate::dat::is_unprintable;
use crate::numbers;
use crate::words;

/// All that a letter is made of, but to whom it goes.
pub(super) struct Contents<'c> {
    pub(super) zone: &'c Zone,
    /// What stands before the path of a link.
    pub(super) website: &'c str,
    /// What this recorder is called.
    pub(super) host: &'c str,
    /// Who sends it.
    pub(super) who: &'c str,
    pub(super) text: &'c str,
    pub(super) how: How,
    /// How long a single-use link waits.
    pub(super) minutes: u64,
}

impl Contents<'_> {
    /// The letter; `once` is the path of the single-use link, where it has one.
    pub(super) fn letter(&self, calls: &[RecordingFacts], once: Option<&str>) -> String {
        let Contents { website, host, minutes, .. } = self;
        let mut letter = String::new();
        for line in self.text.trim().lines() {
            let _ = writeln!(letter, "{}", visible(line));
        }
        for facts in calls {
            if !letter.is_empty() {
                letter.push('\n');
            }
            self.facts(&mut letter, facts);
        }
        // A String takes everything.
        let _ = match (self.how, once) {
            (How::Link, Some(path)) => {
                let it = if calls.len() == 1 { "The recording" } else { "The recordings" };
                write!(
                    letter,
                    "\n{it} can be fetched here, once, within {minutes} minutes from when this was sent:\n{website}{path}\n"
                )
            }
            (How::Link, None) => Ok(()),
            (How::Attachment, _) => {
                write!(letter, "\nThe file is attached. It is not encrypted: whoever has it can hear it.\n")
            }
            (How::LastingLink, _) => {
                write!(letter, "\nTo listen, sign in at the call recorder.\n")
            }
        };
        let _ = write!(letter, "\n-- \nSent by {} from the call recorder {host}.\n", visible(self.who));
        letter
    }

    /// What is known of a call (requirement row EML-04).
    fn facts(&self, letter: &mut String, facts: &RecordingFacts) {
        let (began, at) = match facts.answered {
            Some(answered) => ("Call answered", answered),
            None => ("Call began", facts.started),
        };
        let (outside, number) = match &facts.outside_number {
            Some(number) => ("Outside number", number.as_str()),
            None => ("Other party", facts.other_party.as_deref().unwrap_or("unknown")),
        };
        let number = words::named(&numbers::shown(number), facts.other_party_name.as_deref());
        let extension = words::named(&facts.extension, facts.extension_name.as_deref());
        for (label, value) in [
            (began, self.zone.moment(at).full),
            ("Duration", short_length(facts.duration_ms)),
            (outside, number),
            ("Extension", extension),
            ("Hunt group", facts.hunt_group.clone().unwrap_or_else(|| "none".to_owned())),
        ] {
            let _ = writeln!(letter, "{label}: {}", visible(&brief(&value)));
        }
        if self.how == How::LastingLink {
            let _ = writeln!(letter, "{}/recordings/{}", self.website, facts.id);
        }
    }
}

/// A line without signs that nobody sees.
fn visible(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    for c in line.chars() {
        if is_unprintable(c) && c != '\t' {
            let _ = write!(shown, "[U+{:04X}]", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn letter(how: How, text: &str, calls: &[RecordingFacts], once: Option<&str>) -> String {
        let zone = Zone::new(TimeZone::UTC);
        let contents = Contents {
            zone: &zone,
            website: "https://recorder.example:8443",
            host: "recorder.example",
            who: "ann",
            text,
            how,
            minutes: 10,
        };
        contents.letter(calls, once)
    }

    #[test]
    fn a_letter_has_what_was_written_and_what_is_known_of_the_call() {
        let facts = RecordingFacts {
            outside_number: Some("01632960500".into()),
            other_party_name: Some("Brightwater".into()),
            extension: "2041".into(),
            extension_name: Some("Tess".into()),
            hunt_group: Some("Sales".into()),
            answered: Some("2026-03-04T05:06:09.000Z".parse().expect("a time")),
            duration_ms: 16_200,
            ..crate::page::tests::facts()
        };
        let calls = [facts.clone()];
        assert_eq!(
            letter(How::Link, " Please listen.\r\nAnn\n", &calls, Some("/once/0123")),
            "Please listen.\nAnn\n\nCall answered: 2026-03-04 05:06:09 UTC\nDuration: 0:16\nOutside number: 01632960500 Brightwater\n\
             Extension: 2041 Tess\nHunt group: Sales\n\nThe recording can be fetched here, once, within 10 minutes from when this was sent:\n\
             https://recorder.example:8443/once/0123\n\n-- \nSent by ann from the call recorder recorder.example.\n"
        );
        let lasting = letter(How::LastingLink, "", &calls, None);
        let address = format!("Hunt group: Sales\nhttps://recorder.example:8443/recordings/{}\n", facts.id);
        assert!(lasting.starts_with("Call answered:") && lasting.contains(&address), "{lasting}");
        let internal = RecordingFacts {
            outside_number: None,
            other_party: Some("2063".into()),
            other_party_name: None,
            hunt_group: None,
            ..facts
        };
        let attached = letter(How::Attachment, "", &[internal.clone(), internal], None);
        assert_eq!(attached.matches("Other party: 2063\n").count(), 2, "{attached}");
        assert!(attached.contains("Hunt group: none") && attached.contains("not encrypted"), "{attached}");
    }

    #[test]
    fn what_signalling_said_ends_no_line_and_hides_nothing() {
        let facts = RecordingFacts {
            other_party_name: Some("x\r\nHunt group: Board\u{202e}".into()),
            ..crate::page::tests::facts()
        };
        let letter = letter(How::Attachment, "a\u{0}b\tc", &[facts], None);
        assert_eq!(letter.matches("\nHunt group: ").count(), 1, "{letter}");
        assert!(letter.contains("x[U+000D][U+000A]Hunt group: Board[U+202E]"), "{letter}");
        assert!(letter.starts_with("a[U+0000]b\tc\n"), "{letter}");
    }
}
