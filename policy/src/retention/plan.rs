//! What a pass of retention would delete, how much that is, why, and what it holds back; and the guard before it is
//! done.
//!
//! A [`Planner`] is fed one subject after the other and keeps of each that is due its id, a few bytes and nothing else.
//! Of the [`Plan`] only an [`Approved`] one may be carried out, and a plan that takes more than half has to be approved
//! by name.

use std::fmt;

use decode::Timestamp;
use serde::Serialize;

use super::age::{Age, Grace};
use super::clock::{Freeze, Now};
use super::history::History;
use super::judgement::{Decision, Until, Withholding};
use super::rules::Subject;

/// Most deletions that one plan lists. What is due beyond is counted ([`Plan::left_over`]) and comes with the next
/// plan.
pub const ITEMS_MAX: usize = 1_000_000;

/// Recordings with audio, their bytes and copies, and sets of call data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Recordings, by their audio.
    pub audio: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Copies of them in archive locations.
    pub copies: u64,
    /// Call data of recordings, and of calls without one.
    pub data: u64,
}

/// One deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item<Id> {
    /// Whose.
    pub id: Id,
    /// What goes.
    pub decision: Decision,
    /// Since when it is due; of audio and data the later one, when both go.
    pub due_since: Timestamp,
    /// Place in [`Plan::by_rule`] of the rule that says so.
    pub rule: u16,
}

/// What goes by one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ByRule {
    /// The rule's name.
    pub name: String,
    /// How long it keeps audio.
    pub audio: Age,
    /// How long it keeps call data.
    pub data: Age,
    /// What goes.
    pub takes: Tally,
}

/// What the rules in force would delete, and something keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HeldBack {
    /// By holds.
    pub holds: Tally,
    /// By the freeze of the clock.
    pub freeze: Tally,
    /// By the grace.
    pub grace: Tally,
    /// When the first of these is due, if no rule changes.
    pub grace_first: Option<Timestamp>,
    /// When the last of these is due.
    pub grace_last: Option<Timestamp>,
}

/// What one pass would do. Looking at it changes nothing; [`Plan::approve`] makes it one that may be carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan<Id> {
    /// The moment of judgement.
    pub at: Timestamp,
    /// The freeze at that moment: nothing goes.
    pub freeze: Option<Freeze>,
    /// What goes, in the order in which it came; at most [`ITEMS_MAX`].
    pub items: Vec<Item<Id>>,
    /// Deletions that are due and no longer fit.
    pub left_over: u64,
    /// Everything that was looked at.
    pub seen: Tally,
    /// Everything that is due, what is left over included.
    pub takes: Tally,
    /// The same by rule, in the order of the set in force; rules that take nothing are listed too.
    pub by_rule: Vec<ByRule>,
    /// What is held back.
    pub held_back: HeldBack,
    /// Calls that still run.
    pub running: u64,
}

/// A plan that may be carried out.
///
/// What happens after the moment of judgement is not in it: judge each item again when its turn comes, so that a hold
/// put meanwhile counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approved<Id>(Plan<Id>);

/// How far the caller lets a plan go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consent {
    /// A plan as any other: at most half of the recordings, of the bytes and of the call data.
    #[default]
    Ordinary,
    /// More than half, having seen the figures.
    MoreThanHalf,
}

/// How many of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Share {
    /// What goes.
    pub takes: u64,
    /// Of what is there.
    pub of: u64,
}

/// The plan takes more than half of the recordings, of the bytes or of the call data, and this was not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error(
    "the plan takes {recordings} recordings, {bytes} bytes of audio and {data} sets of call data: more than half; look at \
     the rules, and ask for it by name if it is meant"
)]
pub struct MoreThanHalf {
    /// Recordings that lose their audio.
    pub recordings: Share,
    /// Bytes of their files.
    pub bytes: Share,
    /// Calls and recordings that lose their data.
    pub data: Share,
}

impl Share {
    fn is_more_than_half(self) -> bool {
        self.takes > self.of / 2
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.takes, self.of)
    }
}

impl Tally {
    /// Adds what `decision` takes of the subject.
    fn add(&mut self, decision: Decision, subject: &Subject) {
        if decision.takes_audio() {
            self.audio = self.audio.saturating_add(1);
            self.bytes = self.bytes.saturating_add(subject.bytes);
            self.copies = self.copies.saturating_add(u64::from(subject.archived_copies));
        }
        if decision.takes_data() {
            self.data = self.data.saturating_add(1);
        }
    }
}

/// Makes a plan of one subject after the other.
#[derive(Debug)]
pub struct Planner<'h, Id> {
    history: &'h History,
    grace: Grace,
    now: Now,
    plan: Plan<Id>,
}

impl<'h, Id> Planner<'h, Id> {
    /// An empty plan for this moment.
    #[must_use]
    pub fn new(history: &'h History, grace: Grace, now: Now) -> Self {
        let rules = history.current().map_or(&[][..], |set| set.rules());
        let by_rule = rules.iter().map(|rule| ByRule {
            name: rule.name.clone(),
            audio: rule.audio,
            data: rule.data,
            takes: Tally::default(),
        });
        let plan = Plan {
            at: now.at(),
            freeze: now.freeze(),
            items: Vec::new(),
            left_over: 0,
            seen: Tally::default(),
            takes: Tally::default(),
            by_rule: by_rule.collect(),
            held_back: HeldBack::default(),
            running: 0,
        };
        Planner { history, grace, now, plan }
    }

    /// Judges one subject. Each is to be given once.
    pub fn add(&mut self, id: Id, subject: &Subject) {
        let plan = &mut self.plan;
        let judged = self.history.judge(subject, &self.now, self.grace);
        let there = match (subject.has_audio, subject.has_data) {
            (false, false) => Decision::Keep,
            (true, false) => Decision::DeleteAudio,
            (false, true) => Decision::DeleteData,
            (true, true) => Decision::DeleteBoth,
        };
        plan.seen.add(there, subject);
        plan.running += u64::from(subject.is_running());
        if let Some((rest, by)) = judged.withheld {
            plan.held_back.add(rest, by, subject);
        }
        if judged.decision == Decision::Keep {
            return;
        }
        plan.takes.add(judged.decision, subject);
        if let Some(by_rule) = plan.by_rule.get_mut(judged.place) {
            by_rule.takes.add(judged.decision, subject);
        }
        if plan.items.len() == ITEMS_MAX {
            plan.left_over += 1;
            return;
        }
        let part = if judged.decision.takes_data() { judged.data } else { judged.audio };
        let due_since = if let Until::At(at) = part { at } else { plan.at };
        // A set has at most 256 rules.
        let rule = judged.place as u16;
        plan.items.push(Item { id, decision: judged.decision, due_since, rule });
    }

    /// The plan.
    #[must_use]
    pub fn finish(self) -> Plan<Id> {
        self.plan
    }
}

impl HeldBack {
    fn add(&mut self, rest: Decision, by: Withholding, subject: &Subject) {
        match by {
            Withholding::Holds(_) => self.holds.add(rest, subject),
            Withholding::Frozen(_) => self.freeze.add(rest, subject),
            Withholding::Grace(until) => {
                self.grace.add(rest, subject);
                self.grace_first = Some(self.grace_first.map_or(until, |first| first.min(until)));
                self.grace_last = self.grace_last.max(Some(until));
            }
        }
    }
}

impl<Id> Plan<Id> {
    /// A plan of all subjects of an iterator, held one at a time.
    pub fn of(
        history: &History,
        grace: Grace,
        now: Now,
        subjects: impl IntoIterator<Item = (Id, Subject)>,
    ) -> Self {
        let mut planner = Planner::new(history, grace, now);
        for (id, subject) in subjects {
            planner.add(id, &subject);
        }
        planner.finish()
    }

    /// Why an item of this plan goes, for the ledger: `rule "cards": audio is kept for 90d; due since 2026-…`.
    #[must_use]
    pub fn why(&self, item: &Item<Id>) -> String {
        let Some(ByRule { name, audio, data, .. }) = self.by_rule.get(usize::from(item.rule)) else {
            return format!("due since {}", item.due_since);
        };
        let kept = match item.decision {
            Decision::DeleteBoth => format!("audio is kept for {audio}, data for {data}"),
            Decision::DeleteData => format!("data are kept for {data}"),
            Decision::DeleteAudio | Decision::Keep => format!("audio is kept for {audio}"),
        };
        format!("rule {name:?}: {kept}; due since {}", item.due_since)
    }

    /// The guard's figures, when the plan takes more than half of something.
    #[must_use]
    pub fn more_than_half(&self) -> Option<MoreThanHalf> {
        let (takes, seen) = (&self.takes, &self.seen);
        let recordings = Share { takes: takes.audio, of: seen.audio };
        let bytes = Share { takes: takes.bytes, of: seen.bytes };
        let data = Share { takes: takes.data, of: seen.data };
        let is_more = [recordings, bytes, data].into_iter().any(Share::is_more_than_half);
        is_more.then_some(MoreThanHalf { recordings, bytes, data })
    }

    /// Lets the plan be carried out.
    ///
    /// # Errors
    /// [`MoreThanHalf`], unless the consent names it.
    pub fn approve(self, consent: Consent) -> Result<Approved<Id>, MoreThanHalf> {
        match self.more_than_half() {
            Some(refusal) if consent != Consent::MoreThanHalf => Err(refusal),
            _ => Ok(Approved(self)),
        }
    }
}

impl<Id> Approved<Id> {
    /// The plan.
    #[must_use]
    pub const fn plan(&self) -> &Plan<Id> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::{ClockWatch, OFF_MAX_DEFAULT, Reading};
    use super::super::testing::{age, at, subject};
    use super::super::{Rule, RuleSet};
    use super::*;
    use crate::outcome::State;

    fn tagged(name: &str, audio: &str, data: &str) -> Rule {
        Rule { tag: vec![name.into()], ..Rule::everything(name, age(audio), age(data)) }
    }

    fn history(rules: Vec<Rule>) -> History {
        let mut history = History::new();
        history.replace(RuleSet::new(rules).expect("a set"), at("2020-01-01T00:00:00.000Z"));
        history
    }

    fn with_tag(tag: &str, ended: &str) -> Subject {
        Subject { tags: vec![tag.into()], ..subject(ended) }
    }

    #[test]
    fn a_plan_says_what_goes_by_which_rule_why_and_what_is_held_back() {
        let mut history = history(vec![tagged("cards", "90d", "1y"), tagged("idle", "30d", "30d")]);
        let tighter =
            vec![tagged("cards", "90d", "1y"), tagged("idle", "30d", "30d"), tagged("new", "1d", "1d")];
        history.replace(RuleSet::new(tighter).expect("a set"), at("2026-11-01T00:00:00.000Z"));
        let now = at("2026-11-01T06:00:00.000Z");
        let subjects = [
            (1, with_tag("cards", "2026-07-01T00:00:00.000Z")),
            (2, with_tag("cards", "2025-07-01T00:00:00.000Z")),
            (3, with_tag("cards", "2026-10-01T00:00:00.000Z")),
            (4, Subject { holds: 1, ..with_tag("cards", "2025-07-01T00:00:00.000Z") }),
            (5, Subject { has_audio: false, bytes: 0, ..with_tag("idle", "2026-07-01T00:00:00.000Z") }),
            (6, with_tag("new", "2026-10-20T00:00:00.000Z")),
            (
                7,
                Subject { state: Some(State::Recording), ended: None, ..subject("2026-10-20T00:00:00.000Z") },
            ),
            (8, subject("1999-10-20T00:00:00.000Z")),
        ];
        let plan = Plan::of(&history, Grace::default(), Now::trusted(now), subjects);
        let listed: Vec<(i32, Decision)> = plan.items.iter().map(|item| (item.id, item.decision)).collect();
        assert_eq!(
            listed,
            [(1, Decision::DeleteAudio), (2, Decision::DeleteBoth), (5, Decision::DeleteData)]
        );
        assert_eq!(plan.seen, Tally { audio: 7, bytes: 7_000, copies: 7, data: 8 });
        assert_eq!(plan.takes, Tally { audio: 2, bytes: 2_000, copies: 2, data: 2 });
        assert_eq!(plan.by_rule[0].takes, Tally { audio: 2, bytes: 2_000, copies: 2, data: 1 });
        assert_eq!(plan.by_rule[1].takes, Tally { audio: 0, bytes: 0, copies: 0, data: 1 });
        assert_eq!(plan.by_rule[2].takes, Tally::default());
        let one = Tally { audio: 1, bytes: 1_000, copies: 1, data: 1 };
        assert_eq!((plan.held_back.holds, plan.held_back.grace, plan.running), (one, one, 1));
        let grace_end = Some(at("2026-11-02T00:00:00.000Z"));
        assert_eq!((plan.held_back.grace_first, plan.held_back.grace_last), (grace_end, grace_end));
        assert_eq!(
            plan.items.iter().map(|item| plan.why(item)).collect::<Vec<_>>(),
            [
                "rule \"cards\": audio is kept for 90d; due since 2026-09-29T00:00:00.000Z",
                "rule \"cards\": audio is kept for 90d, data for 1y; due since 2026-07-01T00:00:00.000Z",
                "rule \"idle\": data are kept for 30d; due since 2026-07-31T00:00:00.000Z",
            ]
        );
        let approved = plan.clone().approve(Consent::Ordinary).expect("less than half");
        assert_eq!(approved.plan(), &plan);
    }

    #[test]
    fn more_than_half_of_recordings_bytes_or_data_is_refused_unless_it_is_named() {
        let history = history(vec![tagged("t", "30d", "60d")]);
        let now = Now::trusted(at("2026-11-01T00:00:00.000Z"));
        let old = || with_tag("t", "2026-09-15T00:00:00.000Z");
        let young = || with_tag("t", "2026-10-31T00:00:00.000Z");
        let plan = |subjects: Vec<Subject>| {
            Plan::of(&history, Grace::default(), now, subjects.into_iter().enumerate())
        };
        // Exactly half may go.
        assert!(plan(vec![old(), young()]).approve(Consent::Ordinary).is_ok());
        let most = plan(vec![old(), old(), young()]);
        let refusal = most.clone().approve(Consent::Ordinary).expect_err("two of three");
        assert_eq!(refusal.recordings, Share { takes: 2, of: 3 });
        assert!(refusal.to_string().contains("2 of 3 recordings"), "{refusal}");
        assert_eq!(most.approve(Consent::MoreThanHalf).expect("named").plan().items.len(), 2);
        // One of two recordings, but most of the bytes.
        let refusal = plan(vec![Subject { bytes: 1_001, ..old() }, young()]).approve(Consent::Ordinary);
        assert_eq!(refusal.expect_err("bytes").bytes, Share { takes: 1_001, of: 2_001 });
        // No audio at all, but most of the call data.
        let silent = || Subject { has_audio: false, bytes: 0, ..with_tag("t", "2026-01-01T00:00:00.000Z") };
        let refusal = plan(vec![silent(), silent(), young()]).approve(Consent::Ordinary);
        assert_eq!(refusal.expect_err("data").data, Share { takes: 2, of: 3 });
        assert!(plan(Vec::new()).approve(Consent::Ordinary).is_ok());
    }

    #[test]
    fn audio_is_measured_against_audio_not_against_years_of_call_data() {
        let history = history(vec![tagged("t", "30d", "7y")]);
        let now = Now::trusted(at("2026-11-01T00:00:00.000Z"));
        let silent = (0..100).map(|n| {
            (n, Subject { has_audio: false, bytes: 0, ..with_tag("t", "2026-01-01T00:00:00.000Z") })
        });
        let old = (100..103).map(|n| (n, with_tag("t", "2026-09-15T00:00:00.000Z")));
        let plan = Plan::of(&history, Grace::default(), now, silent.chain(old));
        assert_eq!(
            plan.approve(Consent::Ordinary).expect_err("all audio").recordings,
            Share { takes: 3, of: 3 }
        );
    }

    #[test]
    fn a_frozen_clock_empties_the_plan_and_says_so() {
        let history = history(vec![tagged("t", "30d", "60d")]);
        let mut watch = ClockWatch::new();
        let reading = |wall: &str| Reading { wall: at(wall), since_boot_ns: 0, boot: "a".into() };
        watch.observe(reading("2026-09-16T00:00:00.000Z"), OFF_MAX_DEFAULT);
        let now = watch.observe(reading("2026-11-01T00:00:00.000Z"), OFF_MAX_DEFAULT);
        let plan =
            Plan::of(&history, Grace::default(), now, [((), with_tag("t", "2026-09-15T00:00:00.000Z"))]);
        assert!(plan.items.is_empty() && plan.freeze.is_some());
        assert_eq!(plan.held_back.freeze, Tally { audio: 1, bytes: 1_000, copies: 1, data: 0 });
        assert_eq!(plan.takes, Tally::default());
    }

    #[test]
    fn a_plan_of_more_than_a_million_is_bounded_and_the_guard_counts_all() {
        let history = history(vec![tagged("t", "30d", "60d")]);
        let now = Now::trusted(at("2026-11-01T00:00:00.000Z"));
        let old = with_tag("t", "2026-09-15T00:00:00.000Z");
        let mut planner = Planner::new(&history, Grace::default(), now);
        for id in 0..ITEMS_MAX as u128 + 10 {
            planner.add(id, &old);
        }
        let plan = planner.finish();
        assert_eq!((plan.items.len(), plan.left_over), (ITEMS_MAX, 10));
        assert_eq!(plan.takes.audio, ITEMS_MAX as u64 + 10);
        assert_eq!(plan.takes, Tally { data: 0, ..plan.seen });
        // An id of 128 bits and 16 bytes beside it.
        assert!(size_of::<Item<[u8; 16]>>() <= 32);
        assert_eq!(plan.approve(Consent::Ordinary).expect_err("all").recordings.of, ITEMS_MAX as u64 + 10);
    }
}
