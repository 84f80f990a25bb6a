//! The cold tier: which recordings are re-encoded to take less room, and to what. Pure: it judges, `store` and `web` do it.
//!
//! What is re-encoded has lost something for good, so everything that stands against it goes first: it still runs, a legal
//! hold, no audio. Audio passes once more by a [`RecodePass`], which only the rule makes: what no rule has cleared cannot be
//! written a second time either.

use std::fmt;

use decode::{AudioFrame, Party, Timestamp};
use serde::{Deserialize, Serialize};

use super::Cleared;
use crate::outcome::Direction;
use crate::pattern::Pattern;
use crate::retention::{Age, Subject};

/// What audio is re-encoded to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColdCodec {
    /// Opus (RFC 6716): the less room, and wide voices stay wide.
    #[default]
    Opus,
    /// GSM 06.10: telephone quality, for who must hand it to old systems.
    Gsm,
}

impl fmt::Display for ColdCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ColdCodec::Opus => "opus",
            ColdCodec::Gsm => "gsm",
        })
    }
}

/// The rule. All matchers that are given must hold; of several values of one, any. Prints as a sentence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cold {
    /// How old a recording is, counted from its end.
    pub after: Age,
    /// What it becomes.
    #[serde(default)]
    pub codec: ColdCodec,
    /// The recorder does it by itself while it runs; else somebody has to ask for it.
    #[serde(default)]
    pub automatic: bool,
    /// Recorded extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<Pattern>,
    /// Directions of the call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub direction: Vec<Direction>,
    /// Tags; the recording carries any of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tag: Vec<String>,
}

/// Why a recording stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stays {
    /// It still runs.
    Running,
    /// It is under a legal hold.
    Held,
    /// Its audio is gone.
    NoAudio,
    /// Its audio lies in archive locations alone.
    Moved,
    /// It was re-encoded already: once more would lose more.
    Recoded,
    /// The rule does not speak of it.
    NotMatched,
    /// It is not old enough.
    Young,
}

impl Stays {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Stays::Running => "it is being recorded",
            Stays::Held => "it is under a legal hold",
            Stays::NoAudio => "its audio is deleted",
            Stays::Moved => "its audio lies in archive locations alone",
            Stays::Recoded => "it was re-encoded already",
            Stays::NotMatched => "the rule does not speak of it",
            Stays::Young => "it is not old enough",
        }
    }
}

/// What the rule says of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColdVerdict {
    /// It may be re-encoded now.
    Due(RecodePass),
    /// It stays as it is.
    Stays(Stays),
}

/// A rule's word that a recording may be re-encoded. Only [`Cold::judge`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecodePass {
    rule: String,
    codec: ColdCodec,
}

impl RecodePass {
    /// The rule, in words.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// What it becomes.
    #[must_use]
    pub fn codec(&self) -> ColdCodec {
        self.codec
    }

    /// Clears one packet of audio that was kept before.
    #[must_use]
    pub fn clear<'a>(&self, party: Party, frame: &'a AudioFrame<'a>) -> Cleared<'a> {
        Cleared { party, frame }
    }
}

impl Cold {
    /// Judges one recording; `recoded` says that it was re-encoded before. What keeps it is told the strongest first.
    #[must_use]
    pub fn judge(&self, subject: &Subject, recoded: bool, now: Timestamp) -> ColdVerdict {
        let stays = if subject.is_running() {
            Stays::Running
        } else if subject.holds > 0 {
            Stays::Held
        } else if !subject.has_audio {
            Stays::NoAudio
        } else if recoded {
            Stays::Recoded
        } else if !self.matches(subject) {
            Stays::NotMatched
        } else if self.after.after(subject.counted_from()).is_none_or(|due| now < due) {
            Stays::Young
        } else {
            return ColdVerdict::Due(RecodePass { rule: self.to_string(), codec: self.codec });
        };
        ColdVerdict::Stays(stays)
    }

    fn matches(&self, subject: &Subject) -> bool {
        let extension =
            |wanted: &Pattern| subject.extension.as_ref().is_some_and(|number| wanted.matches(number));
        self.extension.as_ref().is_none_or(extension)
            && (self.direction.is_empty() || self.direction.contains(&subject.direction))
            && (self.tag.is_empty() || self.tag.iter().any(|tag| subject.tags.contains(tag)))
    }
}

impl fmt::Display for Cold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {}", self.codec, self.after)?;
        let directions: Vec<String> =
            self.direction.iter().map(|direction| format!("{direction:?}").to_ascii_lowercase()).collect();
        let extension = self.extension.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut before = ", of ";
        for (matcher, values) in
            [("extension", extension), ("direction", directions.join(" or ")), ("tag", self.tag.join(" or "))]
        {
            if !values.is_empty() {
                write!(f, "{before}{matcher} {values}")?;
                before = " and ";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Outcome, Source, State};

    const END: Timestamp = Timestamp::from_millis(1_795_000_000_000);
    const DAY_MS: i64 = 86_400_000;

    fn rule(more: &str) -> Cold {
        let json = format!("{{\"after\":\"30d\"{more}}}");
        serde_json::from_str(&json).expect("a rule")
    }

    fn subject() -> Subject {
        Subject {
            site: None,
            extension: Some("1001".into()),
            business_units: Vec::new(),
            direction: Direction::Inbound,
            tags: vec!["claim".into()],
            outcome: Outcome::Recorded,
            source: Some(Source::Mirror),
            state: Some(State::Complete),
            started: END.plus_millis(-60_000),
            ended: Some(END),
            bytes: 1_000_000,
            holds: 0,
            has_audio: true,
            has_data: true,
            archived_copies: 0,
        }
    }

    fn judge(rule: &Cold, subject: &Subject, days: i64) -> Result<String, Stays> {
        match rule.judge(subject, false, END.plus_millis(days * DAY_MS)) {
            ColdVerdict::Due(pass) => Ok(pass.rule().to_owned()),
            ColdVerdict::Stays(why) => Err(why),
        }
    }

    #[test]
    fn a_recording_is_due_when_its_age_is_complete_and_not_a_millisecond_before() {
        let rule = rule("");
        assert_eq!(judge(&rule, &subject(), 30), Ok("opus after 30d".into()));
        let before = rule.judge(&subject(), false, END.plus_millis(30 * DAY_MS - 1));
        assert_eq!(before, ColdVerdict::Stays(Stays::Young));
        assert_eq!(judge(&Cold { after: Age::Forever, ..rule }, &subject(), 40_000), Err(Stays::Young));
    }

    #[test]
    fn what_runs_is_held_gone_or_done_is_never_due() {
        let rule = rule("");
        type Change = fn(&mut Subject);
        let cases: [(Change, Stays); 3] = [
            (|s| s.state = Some(State::Recording), Stays::Running),
            (|s| s.holds = 1, Stays::Held),
            (|s| s.has_audio = false, Stays::NoAudio),
        ];
        for (change, why) in cases {
            let mut subject = subject();
            change(&mut subject);
            assert_eq!(judge(&rule, &subject, 4_000), Err(why));
        }
        let again = rule.judge(&subject(), true, END.plus_millis(4_000 * DAY_MS));
        assert_eq!(again, ColdVerdict::Stays(Stays::Recoded));
    }

    #[test]
    fn every_matcher_that_is_given_must_hold() {
        let all =
            rule(r#","codec":"gsm","extension":"1000-1099","direction":["inbound"],"tag":["x","claim"]"#);
        let said = "gsm after 30d, of extension 1000-1099 and direction inbound and tag x or claim";
        assert_eq!(judge(&all, &subject(), 30), Ok(said.into()));
        for (more, due) in [
            (r#","extension":"2000+""#, false),
            (r#","direction":["outbound"]"#, false),
            (r#","direction":["outbound","inbound"]"#, true),
            (r#","tag":["other"]"#, false),
        ] {
            assert_eq!(judge(&rule(more), &subject(), 30).is_ok(), due, "{more}");
        }
        assert!(
            serde_json::from_str::<Cold>(r#"{"after":"30d","site":["Leeds"]}"#).is_err(),
            "not overlooked"
        );
    }
}
