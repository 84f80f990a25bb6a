//! A recording's pauses: who or what holds it, since when, and when that ends by itself (requirement rows CMP, TRP-20).
//!
//! Several sources may hold the same recording: a person, an order, a key code, a rule on a window. Each counts once, however
//! often it says so, and the recording goes on when the last of them lets go. A pause ends with its segment at the latest.

pub mod codes;
pub mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use decode::Timestamp;
use serde::{Deserialize, Serialize};

/// Sources that hold one recording at a time. Of one more it is only known that there was one, so that nobody can say when the
/// last lets go: the pause then lasts to the end of the segment, or of the longest pause where that is set.
const SOURCES_MAX: usize = 64;
/// A pause of this length is told as forgotten, in milliseconds, where nothing else is set.
pub const FORGOTTEN_MS: i64 = 10 * 60 * 1_000;

/// Who or what asks for a pause.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseSource {
    /// A person, by name, through a page, a client or the API.
    Request(String),
    /// An order that holds for every call, by whom it was given.
    Order(String),
    /// Digits keyed at the recorded extension; the name of the code's profile.
    Keys(String),
    /// A rule on windows and addresses, that a client on the extension's desk reports; the client and the rule.
    Window {
        /// Which client.
        client: String,
        /// Which rule, from 1.
        rule: usize,
    },
}

impl fmt::Display for PauseSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PauseSource::Request(name) => write!(f, "request of {name}"),
            PauseSource::Order(name) => write!(f, "order of {name}"),
            PauseSource::Keys(profile) => write!(f, "key code {profile}"),
            PauseSource::Window { client, rule } => write!(f, "window rule {rule} at {client}"),
        }
    }
}

/// How long a pause may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PauseLimits {
    /// It ends by itself after so many milliseconds.
    pub resume_ms: Option<i64>,
    /// It is told as forgotten after so many milliseconds.
    pub forgotten_ms: Option<i64>,
}

impl Default for PauseLimits {
    /// Never ends by itself, and is told after ten minutes.
    fn default() -> Self {
        PauseLimits { resume_ms: None, forgotten_ms: Some(FORGOTTEN_MS) }
    }
}

/// What time has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// It was ended by itself.
    Resumed,
    /// It has lasted too long; told once.
    Forgotten,
}

/// The pauses of one recording.
#[derive(Debug, Default)]
pub struct Pauses {
    holding: BTreeMap<PauseSource, Timestamp>,
    since: Option<Timestamp>,
    is_told: bool,
    /// There were more sources at once than are held.
    overflowed: bool,
}

impl Pauses {
    /// Is anything holding the recording?
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.since.is_some()
    }

    /// Was it told that this pause may have been forgotten?
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        self.is_told
    }

    /// When it ends by itself, if it lasts until then and these limits stay.
    #[must_use]
    pub fn ends(&self, limits: PauseLimits) -> Option<Timestamp> {
        Some(self.since?.plus_millis(limits.resume_ms?))
    }

    /// Who holds it, in order.
    pub fn sources(&self) -> impl Iterator<Item = &PauseSource> {
        self.holding.keys()
    }

    /// A source begins to hold it; says whether that is new.
    pub fn begin(&mut self, source: PauseSource, at: Timestamp) -> bool {
        if self.holding.contains_key(&source) {
            return false;
        }
        if self.holding.len() < SOURCES_MAX {
            self.holding.insert(source, at);
        } else {
            self.overflowed = true;
        }
        self.since.get_or_insert(at);
        true
    }

    /// A source lets go; says whether it had held.
    pub fn end(&mut self, source: &PauseSource) -> bool {
        let held = self.holding.remove(source).is_some();
        if self.holding.is_empty() && !self.overflowed {
            self.since = None;
            self.is_told = false;
        }
        held
    }

    /// Takes over what holds another recording of the same voices, each source from when it did; orders are a recording's own.
    pub fn join(&mut self, other: &Pauses) {
        for (source, &at) in &other.holding {
            if !matches!(source, PauseSource::Order(_)) && self.begin(source.clone(), at) {
                self.since = self.since.map(|since| since.min(at));
            }
        }
        if other.overflowed {
            self.overflowed = true;
            self.since = self.since.or(other.since);
        }
    }

    /// Who holds it but for orders, whether others do who are not told apart, and since when; none where nobody does.
    #[must_use]
    pub fn carried(&self) -> Option<(BTreeSet<PauseSource>, bool, Timestamp)> {
        let own = self.holding.iter().filter(|(source, _)| !matches!(source, PauseSource::Order(_)));
        let since = own.clone().map(|(_, &at)| at).min().or(self.since.filter(|_| self.overflowed))?;
        Some((own.map(|(source, _)| source.clone()).collect(), self.overflowed, since))
    }

    /// Goes on with what was carried so.
    pub fn carry_on(&mut self, by: &BTreeSet<PauseSource>, and_others: bool, since: Timestamp) {
        for source in by {
            self.begin(source.clone(), since);
        }
        self.overflowed |= and_others;
        if self.overflowed || !self.holding.is_empty() {
            self.since = Some(self.since.map_or(since, |at| at.min(since)));
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp, limits: PauseLimits) -> Option<Overdue> {
        let lasted =
            |since: Timestamp, limit: Option<i64>| limit.is_some_and(|limit| now >= since.plus_millis(limit));
        let since = self.since?;
        if lasted(since, limits.resume_ms) {
            *self = Pauses::default();
            return Some(Overdue::Resumed);
        }
        if !self.is_told && lasted(since, limits.forgotten_ms) {
            self.is_told = true;
            return Some(Overdue::Forgotten);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn ann() -> PauseSource {
        PauseSource::Request("ann".into())
    }

    #[test]
    fn it_goes_on_when_the_last_source_lets_go() {
        let keys = PauseSource::Keys("card".into());
        let mut pauses = Pauses::default();
        assert!(pauses.begin(ann(), at(0)) && pauses.begin(keys.clone(), at(1)));
        assert!(!pauses.begin(ann(), at(2)), "the same source counts once");
        assert!(pauses.end(&ann()) && pauses.is_paused());
        assert!(!pauses.end(&ann()), "it has let go already");
        assert!(pauses.end(&keys) && !pauses.is_paused());
    }

    #[test]
    fn a_forgotten_pause_is_told_once_and_ends_by_itself_where_that_is_set() {
        let limits = PauseLimits { resume_ms: Some(900_000), ..PauseLimits::default() };
        let mut pauses = Pauses::default();
        pauses.begin(ann(), at(0));
        assert_eq!(pauses.handle_timeout(at(599_999), limits), None);
        assert_eq!(pauses.handle_timeout(at(600_000), limits), Some(Overdue::Forgotten));
        assert_eq!(pauses.handle_timeout(at(700_000), limits), None);
        assert_eq!(pauses.handle_timeout(at(900_000), limits), Some(Overdue::Resumed));
        assert!(!pauses.is_paused());
        pauses.begin(ann(), at(1_000_000));
        assert_eq!(
            pauses.handle_timeout(at(1_600_000), limits),
            Some(Overdue::Forgotten),
            "the next one too"
        );
    }

    #[test]
    fn too_many_sources_never_let_it_go_on_early() {
        let mut pauses = Pauses::default();
        let window = |rule| PauseSource::Window { client: "desk".into(), rule };
        for rule in 0..SOURCES_MAX + 10 {
            pauses.begin(window(rule), at(0));
        }
        assert_eq!(pauses.sources().count(), SOURCES_MAX);
        // One of those that there was no room for has not let go.
        for rule in (0..SOURCES_MAX + 10).filter(|&rule| rule != SOURCES_MAX + 5) {
            pauses.end(&window(rule));
        }
        assert!(pauses.is_paused());
    }

    #[test]
    fn after_too_many_sources_it_lasts_until_the_longest_pause_is_over() {
        let limits = PauseLimits { resume_ms: Some(900_000), forgotten_ms: None };
        let mut pauses = Pauses::default();
        let window = |rule| PauseSource::Window { client: "desk".into(), rule };
        (0..=SOURCES_MAX).for_each(|rule| assert!(pauses.begin(window(rule), at(0))));
        for rule in 0..=SOURCES_MAX {
            pauses.end(&window(rule));
        }
        assert!(pauses.is_paused());
        assert_eq!(pauses.ends(limits), Some(at(900_000)));
        assert_eq!(pauses.ends(PauseLimits::default()), None);
        assert_eq!(pauses.handle_timeout(at(900_000), limits), Some(Overdue::Resumed));
        assert_eq!(pauses.ends(limits), None);
        pauses.begin(ann(), at(900_000));
        assert!(pauses.end(&ann()) && !pauses.is_paused(), "the next one is as any other");
    }
}
