//! Subjects for tests.

use decode::Timestamp;

use super::{Age, Grace, History, Judgement, Now, Rule, RuleSet, Subject};
use crate::outcome::{Direction, Outcome, Source, State};

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

pub(crate) fn age(text: &str) -> Age {
    text.parse().expect("an age")
}

/// A recording of extension 1001 with one copy and 1,000 bytes that ended then, a minute after it began.
pub(crate) fn subject(ended: &str) -> Subject {
    let ended = at(ended);
    Subject {
        site: None,
        extension: Some("1001".into()),
        business_units: Vec::new(),
        direction: Direction::Inbound,
        tags: Vec::new(),
        outcome: Outcome::Recorded,
        source: Some(Source::Mirror),
        state: Some(State::Complete),
        started: ended.plus_millis(-60_000),
        ended: Some(ended),
        bytes: 1_000,
        holds: 0,
        has_audio: true,
        has_data: true,
        archived_copies: 1,
    }
}

/// When most recordings of the tests ended.
pub(crate) const ENDED: &str = "2026-01-01T12:00:00.000Z";

/// A set of one rule that takes everything.
pub(crate) fn set(audio: &str, data: &str) -> RuleSet {
    RuleSet::new(vec![Rule::everything("all", age(audio), age(data))]).expect("a set")
}

/// A history of sets, given as when, audio, data.
pub(crate) fn history(sets: &[(&str, &str, &str)]) -> History {
    let mut history = History::new();
    for (from, audio, data) in sets {
        assert!(history.replace(set(audio, data), at(from)));
    }
    history
}

/// Judges with the default grace.
pub(crate) fn judge<'r>(history: &'r History, subject: &Subject, now: &str) -> Judgement<'r> {
    history.judge(subject, &Now::trusted(at(now)), Grace::default())
}
