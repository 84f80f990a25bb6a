//! The rule sets of the recent past: a tightened one waits until the sets before it have left the grace.

use decode::Timestamp;
use decode::time::NS_PER_MS;
use serde::{Deserialize, Serialize};

use super::Error;
use super::age::GRACE_MAX;
use super::rules::RuleSet;

/// Most rule sets that are kept. When more changes fall into the grace, the oldest set counts as one that keeps
/// everything.
pub const VERSIONS_MAX: usize = 32;

/// Rule sets with the time from which each holds, oldest first.
///
/// A recording is due only when it is due under every set that was in force at any moment of the last grace. So a
/// tightened rule waits, and a loosened one acts at once. Before the first set there was none, under which nothing is
/// due: the first one waits as well. A set ends where the next begins; the newest has no end.
///
/// Sets that ended more than [`GRACE_MAX`] ago are dropped, and the oldest above [`VERSIONS_MAX`]. What is not known
/// any more counts as "no rules": dropping can delay a deletion, never bring one forward.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Version>", into = "Vec<Version>")]
pub struct History(Vec<Version>);

/// A rule set and when it came into force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// From then on; whole milliseconds.
    pub from: Timestamp,
    /// The rules.
    pub rules: RuleSet,
}

impl History {
    /// No rules yet: nothing is due.
    #[must_use]
    pub fn new() -> Self {
        History::default()
    }

    /// The sets that are kept, oldest first.
    #[must_use]
    pub fn versions(&self) -> &[Version] {
        &self.0
    }

    /// The set in force.
    #[must_use]
    pub fn current(&self) -> Option<&RuleSet> {
        self.0.last().map(|version| &version.rules)
    }

    /// Puts a set in force from `now` on. The set that is in force already changes nothing: false. To take all rules
    /// away, put an empty set in force.
    ///
    /// Sets that seem to come from the future were made under a clock that ran ahead: they count as from `now`, so that
    /// they do not delay deletion until then.
    pub fn replace(&mut self, rules: RuleSet, now: Timestamp) -> bool {
        if self.current() == Some(&rules) {
            return false;
        }
        let now = whole_ms(now);
        for version in &mut self.0 {
            version.from = version.from.min(now);
        }
        self.0.push(Version { from: now, rules });
        let ended_long_ago = |end: Timestamp| end <= now.plus_nanos(-GRACE_MAX.as_nanos());
        let expired = self.0.iter().skip(1).take_while(|next| ended_long_ago(next.from)).count();
        self.0.drain(..expired.max(self.0.len().saturating_sub(VERSIONS_MAX)));
        true
    }

    /// What [`super::ClockWatch::confirm`] once did, told again: for a shell that keeps confirmations and not the history.
    pub fn begin_anew(&mut self, at: Timestamp) {
        self.clock_confirmed(at);
    }

    /// A person has confirmed the time ([`super::ClockWatch::confirm`]): the grace runs anew, as for the first rules
    /// ever.
    ///
    /// Rules that were tightened under a clock that was behind would otherwise have no grace left once it is put right,
    /// and a confirmation that was a mistake would delete at once.
    pub(super) fn clock_confirmed(&mut self, now: Timestamp) {
        self.0.drain(..self.0.len().saturating_sub(1));
        if let Some(current) = self.0.last_mut() {
            current.from = whole_ms(now);
        }
    }
}

/// Rounded up to what is stored of a time, so that no grace gets shorter by storing it.
fn whole_ms(at: Timestamp) -> Timestamp {
    let floor = Timestamp::from_millis(at.as_millis());
    if floor < at { floor.plus_nanos(NS_PER_MS) } else { at }
}

impl TryFrom<Vec<Version>> for History {
    type Error = Error;

    fn try_from(versions: Vec<Version>) -> Result<Self, Error> {
        if versions.len() > VERSIONS_MAX {
            return Err(Error::History("it has more than 32 sets"));
        }
        if !versions.is_sorted_by_key(|version| version.from) {
            return Err(Error::History("its sets are not in the order of time"));
        }
        Ok(History(versions))
    }
}

impl From<History> for Vec<Version> {
    fn from(history: History) -> Self {
        history.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::{ClockWatch, OFF_MAX_DEFAULT, Reading};
    use super::super::judgement::{Decision, Until};
    use super::super::testing::{ENDED, at, history, judge, set, subject};
    use super::super::{Grace, Now};
    use super::*;

    #[test]
    fn the_set_in_force_given_again_changes_nothing() {
        let mut history = history(&[("2020-01-01T00:00:00.000Z", "30d", "30d")]);
        assert!(!history.replace(set("30d", "30d"), at("2026-06-01T00:00:00.000Z")));
        assert_eq!(
            judge(&history, &subject(ENDED), "2026-06-01T00:00:00.000Z").decision,
            Decision::DeleteBoth
        );
    }

    #[test]
    fn the_history_is_bounded_and_what_it_forgets_counts_as_keeping_everything() {
        let mut history = history(&[("2020-01-01T00:00:00.000Z", "30d", "30d")]);
        let start = at("2026-06-01T00:00:00.000Z");
        for n in 0..100_i64 {
            history.replace(set(&format!("{}d", 31 + n % 2), "1y"), start.plus_millis(n * 60_000));
            assert!(history.versions().len() <= VERSIONS_MAX);
        }
        // All sets would have had it due. The ones that were forgotten may not have.
        let now = start.plus_millis(99 * 60_000);
        let judged = history.judge(&subject(ENDED), &Now::trusted(now), Grace::default());
        assert_eq!(judged.decision, Decision::Keep);
        let first = history.versions()[0].from;
        assert_eq!(judged.audio, Until::At(first.plus_nanos(Grace::default().as_nanos())));
        // A month later all but the newest are of no use.
        history.replace(set("40d", "1y"), now.plus_nanos(GRACE_MAX.as_nanos()));
        assert_eq!(history.versions().len(), 2);
    }

    #[test]
    fn sets_of_a_clock_that_ran_ahead_do_not_delay_deletion_for_years() {
        let mut history =
            history(&[("2020-01-01T00:00:00.000Z", "5y", "5y"), ("2036-01-01T00:00:00.000Z", "30d", "30d")]);
        let now = at("2026-06-01T00:00:00.000Z");
        history.clock_confirmed(now);
        let judged = history.judge(&subject(ENDED), &Now::trusted(now), Grace::default());
        assert_eq!(
            (judged.decision, judged.audio),
            (Decision::Keep, Until::At(at("2026-06-02T00:00:00.000Z")))
        );
        history.replace(set("40d", "40d"), now.plus_millis(1));
        assert!(history.versions().iter().all(|version| version.from <= now.plus_millis(1)));
    }

    #[test]
    fn rules_tightened_under_a_clock_that_was_behind_have_their_grace_when_it_is_put_right() {
        let mut history =
            history(&[("2020-01-01T00:00:00.000Z", "5y", "5y"), ("2026-05-01T00:00:00.000Z", "30d", "30d")]);
        let reading = |wall: &str| Reading { wall: at(wall), since_boot_ns: 0, boot: "a".into() };
        let mut watch = ClockWatch::new();
        watch.observe(reading("2026-05-01T00:00:00.000Z"), OFF_MAX_DEFAULT);
        let now = watch.observe(reading("2026-06-01T00:00:00.000Z"), OFF_MAX_DEFAULT);
        watch.confirm("kim", now.at(), &mut history).expect("confirmed");
        let now = watch.observe(reading("2026-06-01T00:00:00.000Z"), OFF_MAX_DEFAULT);
        let judged = history.judge(&subject(ENDED), &now, Grace::default());
        assert_eq!(
            (judged.decision, judged.audio),
            (Decision::Keep, Until::At(at("2026-06-02T00:00:00.000Z")))
        );
    }

    #[test]
    fn a_stored_history_reads_back_and_no_grace_gets_shorter_by_it() {
        let mut history = History::new();
        let from = Timestamp::from_nanos(at("2026-06-01T00:00:00.000Z").as_nanos() + 1);
        history.replace(set("30d", "1y 1d"), from);
        assert_eq!(history.versions()[0].from, at("2026-06-01T00:00:00.001Z"));
        let stored = serde_json::to_string(&history).expect("writes");
        assert_eq!(serde_json::from_str::<History>(&stored).expect("reads"), history);
        let damaged = stored.replace("\"audio\":\"30d\"", "\"audio\":\"30d\",\"tags\":[\"new\"]");
        assert!(
            serde_json::from_str::<History>(&damaged).is_err_and(|error| error.to_string().contains("tags"))
        );
        let later = r#"{"from":"2027-01-01T00:00:00.000Z","rules":[]}"#;
        let earlier = r#"{"from":"2026-01-01T00:00:00.000Z","rules":[]}"#;
        assert!(serde_json::from_str::<History>(&format!("[{earlier},{later}]")).is_ok());
        assert!(serde_json::from_str::<History>(&format!("[{later},{earlier}]")).is_err());
        assert!(serde_json::from_str::<History>(&format!("[{}]", vec![earlier; 33].join(","))).is_err());
    }
}
