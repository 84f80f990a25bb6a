//! The systems that say facts of calls, beside the signalling: programs on the feed, telephone systems' SMDR. Are they still there?
//!
//! Told of every connection and of what is heard; says since when what a source has said is stale. A source that we connect to is, once the
//! connection is lost for a while; any one is that has said nothing for too long, in the hours that count.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use decode::Timestamp;
use jiff::tz::TimeZone;
use policy::rules::Hours;
use web::live::FactSource;

use crate::clock;

/// A connection of ours may be away for so long: a telephone system that says nothing for an hour is connected to anew.
const LOST_MS: i64 = 60_000;
/// One that connects to us and stays away is forgotten after so long.
const FORGOTTEN_MS: i64 = 24 * 3_600_000;
/// Sources that are known at once. Of more, those that came first are watched.
const SOURCES_MAX: usize = 64;

/// When silence counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    /// After so many milliseconds; never when absent.
    pub(crate) silent_ms: Option<u64>,
    /// In these hours only; always when absent.
    pub(crate) office_hours: Option<Hours>,
    /// On the clock of this zone; UTC when absent.
    pub(crate) zone: Option<TimeZone>,
}

/// All of them. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Sources(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    limits: Limits,
    known: BTreeMap<String, Known>,
}

/// What is known of a source.
#[derive(Debug)]
struct Known {
    /// How it is said to be there.
    kind: Kind,
    connections: u32,
    /// When it was last heard; before that, since when it is waited for.
    heard: Option<Timestamp>,
    since: Timestamp,
    /// When its last connection was lost; from the beginning on it is not there.
    lost: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// We connect to it.
    Ours,
    /// It connects to us.
    Theirs,
    /// Whoever connects to a port of ours: watched as long as nobody has, and we connect to none of its kind.
    Anybody,
}

impl Sources {
    /// None yet; these limits say how long one may be silent.
    pub(crate) fn new(limits: Limits) -> Sources {
        Sources(Arc::new(Mutex::new(Inner { limits, known: BTreeMap::new() })))
    }

    /// Silence counts by these limits from now on.
    pub(crate) fn use_limits(&self, limits: Limits) {
        self.lock().limits = limits;
    }

    /// We connect to this one, from now on and again and again.
    pub(crate) fn await_link(&self, name: &str) {
        self.lock().enter(name, Kind::Ours, clock::now());
    }

    /// Somebody is to connect to us: sources of whose names this is the first word.
    pub(crate) fn await_anybody(&self, name: &str) {
        self.lock().enter(name, Kind::Anybody, clock::now());
    }

    /// A connection to this source, which lasts as long as what this gives.
    pub(crate) fn connected(&self, name: &str) -> Link {
        self.lock().connect(name, clock::now());
        Link { sources: self.clone(), name: name.to_owned() }
    }

    /// How each does.
    pub(crate) fn look(&self, now: Timestamp) -> Vec<FactSource> {
        self.lock().look(now)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Each change is one of a single source.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection to a source.
pub(crate) struct Link {
    sources: Sources,
    name: String,
}

impl Link {
    /// Something came over it.
    pub(crate) fn heard(&self) {
        self.sources.lock().hear(&self.name, clock::now());
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.sources.lock().lose(&self.name, clock::now());
    }
}

impl Inner {
    fn enter(&mut self, name: &str, kind: Kind, now: Timestamp) {
        if self.known.len() < SOURCES_MAX {
            let fresh = Known { kind, connections: 0, heard: None, since: now, lost: now };
            self.known.entry(name.to_owned()).or_insert(fresh);
        }
    }

    fn connect(&mut self, name: &str, now: Timestamp) {
        self.enter(name, Kind::Theirs, now);
        if let Some(known) = self.known.get_mut(name) {
            known.connections += 1;
        }
    }

    fn hear(&mut self, name: &str, now: Timestamp) {
        if let Some(known) = self.known.get_mut(name) {
            known.heard = Some(now);
        }
    }

    fn lose(&mut self, name: &str, now: Timestamp) {
        if let Some(known) = self.known.get_mut(name) {
            known.connections = known.connections.saturating_sub(1);
            known.lost = now;
        }
    }

    fn look(&mut self, now: Timestamp) -> Vec<FactSource> {
        self.known.retain(|_, known| {
            let is_away = known.kind == Kind::Theirs && known.connections == 0;
            !is_away || now.millis_since(known.lost) < FORGOTTEN_MS.unsigned_abs()
        });
        let is_one_of =
            |name: &str, port: &str| name.strip_prefix(port).is_some_and(|rest| rest.starts_with(' '));
        let has_one = |port: &str| {
            self.known.iter().any(|(name, known)| known.kind != Kind::Anybody && is_one_of(name, port))
        };
        let watched = self.known.iter().filter(|(name, known)| known.kind != Kind::Anybody || !has_one(name));
        watched.map(|(name, known)| self.told(name, known, now)).collect()
    }

    fn told(&self, name: &str, known: &Known, now: Timestamp) -> FactSource {
        let up = known.connections > 0;
        let is_lost =
            known.kind == Kind::Ours && !up && now.millis_since(known.lost) >= LOST_MS.unsigned_abs();
        let last = known.heard.unwrap_or(known.since);
        let stale_since =
            if is_lost { Some(known.lost) } else { Some(last).filter(|&last| self.is_long(last, now)) };
        FactSource { name: name.to_owned(), up, last_heard: known.heard, stale_since }
    }

    /// Has it been silent for too long, all of that in the hours that count? What nobody says at night is not missed in the morning.
    fn is_long(&self, last: Timestamp, now: Timestamp) -> bool {
        let Limits { silent_ms: Some(limit_ms), ref office_hours, ref zone } = self.limits else {
            return false;
        };
        let zone = zone.clone().unwrap_or(TimeZone::UTC);
        let counts = |at| office_hours.as_ref().is_none_or(|hours| hours.contains(at, &zone));
        let before = now.plus_millis(-i64::try_from(limit_ms).unwrap_or(i64::MAX));
        now.millis_since(last) >= limit_ms && counts(now) && counts(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_S: i64 = 3_600;

    fn at(s: i64) -> Timestamp {
        // A Monday, 00:00 UTC.
        Timestamp::from_parts(1_795_392_000 + s, 0)
    }

    fn inner(office_hours: Option<&str>) -> Inner {
        let office_hours = office_hours.map(|text| Hours::new(text).expect("hours"));
        let limits = Limits { silent_ms: Some(1_800_000), office_hours, zone: None };
        Inner { limits, known: BTreeMap::new() }
    }

    /// Those that are stale, and since when.
    fn stale(inner: &mut Inner, s: i64) -> Vec<(String, i64)> {
        let stale = inner.look(at(s)).into_iter();
        let since = |since: Timestamp| i64::try_from(since.millis_since(at(0)) / 1_000).expect("seconds");
        stale.filter_map(|source| Some((source.name, since(source.stale_since?)))).collect()
    }

    #[test]
    fn a_connection_of_ours_that_stays_away_is_stale_since_it_was_lost_until_it_is_back() {
        let mut inner = inner(None);
        inner.enter("smdr a", Kind::Ours, at(0));
        assert_eq!(stale(&mut inner, 59), []);
        assert_eq!(stale(&mut inner, 60), [("smdr a".to_owned(), 0)]);
        inner.connect("smdr a", at(70));
        assert_eq!(stale(&mut inner, 71), []);
        inner.lose("smdr a", at(100));
        assert_eq!(stale(&mut inner, 159), [], "it is connected to anew");
        assert_eq!(stale(&mut inner, 160), [("smdr a".to_owned(), 100)]);
    }

    #[test]
    fn who_says_nothing_for_too_long_is_stale_since_it_was_heard_and_not_when_it_speaks_again() {
        let mut inner = inner(None);
        inner.connect("feed pbx1", at(0));
        inner.hear("feed pbx1", at(10));
        assert_eq!(stale(&mut inner, 1_809), []);
        assert_eq!(stale(&mut inner, 1_810), [("feed pbx1".to_owned(), 10)]);
        inner.hear("feed pbx1", at(1_811));
        assert_eq!(stale(&mut inner, 1_812), []);
        // It comes and goes as it likes, as long as it says something now and then.
        inner.lose("feed pbx1", at(1_820));
        assert_eq!(stale(&mut inner, 3_610), []);
        assert_eq!(stale(&mut inner, 3_611), [("feed pbx1".to_owned(), 1_811)]);
        assert_eq!(inner.look(at(1_820 + 24 * HOUR_S)), [], "a program that was there once is forgotten");
        inner.limits.silent_ms = None;
        inner.connect("feed pbx1", at(0));
        assert_eq!(stale(&mut inner, 24 * HOUR_S), [], "silence is not watched");
    }

    #[test]
    fn silence_counts_in_its_hours_and_what_nobody_says_at_night_is_not_missed_in_the_morning() {
        let mut inner = inner(Some("Mon-Fri 08:00-18:00"));
        inner.connect("feed pbx1", at(0));
        for (hour, is_stale) in
            [(7.0, false), (8.0, false), (8.4, false), (8.5, true), (17.9, true), (18.0, false)]
        {
            let s = (hour * HOUR_S as f64) as i64;
            assert_eq!(!stale(&mut inner, s).is_empty(), is_stale, "{hour}");
        }
    }

    #[test]
    fn a_port_to_which_nobody_has_connected_is_a_source_until_somebody_has() {
        let mut inner = inner(None);
        inner.enter("feed", Kind::Anybody, at(0));
        assert_eq!(stale(&mut inner, 1_800), [("feed".to_owned(), 0)]);
        inner.connect("feed pbx1", at(1_900));
        let names: Vec<String> = inner.look(at(1_901)).into_iter().map(|source| source.name).collect();
        assert_eq!(names, ["feed pbx1"]);
    }
}
