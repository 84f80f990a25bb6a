//! New rules while calls run: every running segment is judged anew, as after a fact that came late.
//!
//! Who is an extension, and how its numbers read, was settled at the call's beginning and stays; a device that only the new rules
//! name gets a part from now on. What runs keeps its channel. `docs/rules.md` says it to users.

use std::collections::BTreeSet;

use decode::Timestamp;
use decode::tracker::LegId;

use super::part::Part;
use super::settle::NEW_RULES;
use super::{Action, Gate, RECORDINGS_MAX, RecordingKey, request};
use crate::pause::PauseSource;
use crate::rules::{Rules, Verdict};

impl Gate {
    /// These rules are in force from now on, for what runs and for what comes.
    ///
    /// A segment that they exclude is destroyed; one that they no longer exclude is recorded from now on. A limit of channels that
    /// is lower than what runs cuts nothing; one that is higher gives nothing to a segment that was refused one. Codes, windows and
    /// limits of pauses hold for what comes: what is paused stays so until its source resumes it, or the longest pause is over.
    /// What runs counts for the user and unit that the new people have for the moment that was asked about before.
    pub fn replace_rules(&mut self, rules: Rules, at: Timestamp) {
        if rules == self.rules {
            return;
        }
        let are_other_codes = rules.codes != self.rules.codes;
        let are_other_people = rules.people != self.rules.people;
        self.pauses = rules.pauses;
        self.channels.set_limit(rules.channels, rules.overload);
        let fresh = self.desks.match_again(&self.rules.windows, &rules.windows);
        self.rules = rules;
        if are_other_codes {
            self.listen_again(at);
        }
        let legs: Vec<LegId> = self.legs.iter().flatten().map(|judged| judged.leg).collect();
        let (mut changed, mut joined) = (Vec::new(), Vec::new());
        for &leg in &legs {
            let before = self.recorded_on(leg);
            let parts = self.judged(leg).map_or(0, |judged| judged.parts.len());
            let keys = (0..parts as u8).map(|nth| RecordingKey { leg, nth });
            changed.extend(keys.filter(|&key| self.judge_by_new_rules(key, are_other_people, at)));
            let added = self.add_parts(leg, at);
            if !added.is_empty() {
                joined.push(leg);
            }
            changed.extend(added);
            changed.extend(self.hold_for_windows(leg, &before, &fresh, at));
            self.hide_keys(leg);
        }
        changed.sort_unstable();
        changed.dedup();
        // What ends gives its channel to what begins.
        let (begin, end): (Vec<_>, Vec<_>) = changed.into_iter().partition(|&key| self.is_wanted(key));
        for key in end.into_iter().chain(begin) {
            self.settle(key.leg, usize::from(key.nth), at, NEW_RULES);
        }
        // Reports are about the extensions that came, too, and may have waited for them.
        for leg in joined {
            let Some(call) = self.judged(leg).map(|judged| judged.call) else { continue };
            self.feed.name(leg, call, self.extensions_of(leg));
            self.claim(leg, at);
        }
    }

    /// Parts for extensions that the rules did not know when the leg's audio began.
    fn add_parts(&mut self, leg: LegId, at: Timestamp) -> Vec<RecordingKey> {
        let Some(judged) = self.judged(leg) else { return Vec::new() };
        let roles = self.rules.roles(&judged.told);
        let mut fresh = Vec::new();
        for &near in &roles.extensions {
            let nth = judged.parts.len() + fresh.len();
            if nth >= RECORDINGS_MAX || judged.parts.iter().any(|part| part.plan.near == near) {
                continue;
            }
            let recording = RecordingKey { leg, nth: nth as u8 };
            let mut plan = self.plan(recording, near, roles.direction, &judged.told);
            plan.call = judged.call;
            let known = &mut plan.facts;
            let of_call = self.segments.get(&judged.call).map(|call| call.said.clone()).unwrap_or_default();
            let said = request::Said::default().of(of_call, &known.extension);
            self.learn_before(known, &said, judged.began);
            let judgement = self.rules.judge(known);
            let mut part = Part::new(plan, judgement, judged.began);
            part.say(at, NEW_RULES, String::new(), "this extension is known from now on".into());
            fresh.push(part);
        }
        let orders = &self.orders;
        fresh.iter_mut().for_each(|part| request::follow(orders, part, at));
        let keys: Vec<RecordingKey> = fresh.iter().map(|part| part.plan.recording).collect();
        if let Some(judged) = self.legs.get_mut(leg.slot()).and_then(Option::as_deref_mut) {
            judged.parts.append(&mut fresh);
        }
        keys
    }

    /// The extensions of a leg whose device is recorded.
    pub(super) fn recorded_on(&self, leg: LegId) -> Vec<String> {
        let parts = self.judged(leg).map_or(&[][..], |judged| &judged.parts);
        let recorded = parts.iter().filter(|part| part.is_of_recorded_device());
        recorded.map(|part| part.plan.facts.extension.clone()).collect()
    }

    /// What is shown at the desk of a device that is recorded from now on holds its call, as at the beginning of one; so does what
    /// only a new rule matches. What a rule from before matched has had its pause, and it may be over. Gives whom that pauses.
    pub(super) fn hold_for_windows(
        &mut self,
        leg: LegId,
        before: &[String],
        fresh: &BTreeSet<PauseSource>,
        at: Timestamp,
    ) -> Vec<RecordingKey> {
        let mut holding = Vec::new();
        for extension in self.recorded_on(leg) {
            let is_new = !before.contains(&extension);
            holding.extend(self.desks.holding(&extension).filter(|source| is_new || fresh.contains(source)));
        }
        let judged = self.legs.get_mut(leg.slot()).and_then(Option::as_deref_mut);
        let Some(judged) = judged.filter(|_| !holding.is_empty()) else { return Vec::new() };
        let mut held = Vec::new();
        for (part, nth) in judged.parts.iter_mut().zip(0..) {
            for source in &holding {
                if part.pauses.begin(source.clone(), at) {
                    part.say(at, "window", source.to_string(), "paused".into());
                    held.push(RecordingKey { leg, nth });
                }
            }
        }
        held
    }

    /// Judges a part; says whether the verdict is another one. Where users or units are others, it counts for whom they say now of the moment
    /// that was asked about before: a device that changes hands today leaves a running call with whom it began with.
    fn judge_by_new_rules(&mut self, key: RecordingKey, are_other_people: bool, at: Timestamp) -> bool {
        let Some(part) = self.part(key) else { return false };
        let mut facts = part.plan.facts.clone();
        if are_other_people {
            self.rules.people.tell(&mut facts, part.counted_at);
        }
        let judgement = self.rules.judge(&facts);
        let Some(part) = self.part_mut(key) else { return false };
        let counts_for_another = facts != part.plan.facts;
        part.plan.facts = facts;
        if counts_for_another {
            part.say(at, NEW_RULES, String::new(), "user and unit are asked for again".into());
        }
        let is_judged_alike = judgement.verdict == part.verdict;
        if !is_judged_alike {
            part.say(at, NEW_RULES, String::new(), "judged again".into());
            part.rejudge(judgement, at);
        }
        if counts_for_another && part.begun {
            let facts = Box::new(part.plan.facts.clone());
            self.actions.push_back(Action::Known { recording: key, facts });
        }
        if is_judged_alike {
            return false;
        }
        request::follow_in(self, key, at);
        true
    }

    fn is_wanted(&self, key: RecordingKey) -> bool {
        self.part(key).is_some_and(|part| matches!(part.verdict, Verdict::Record { .. }))
    }
}
