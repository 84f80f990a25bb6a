//! Why a segment was judged as it was: one step after the other, kept with the call's line of the balance sheet.

use std::collections::VecDeque;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Steps kept of one segment. Of more, the first half and the last ones stay, and a step between them says how many were left out.
pub const STEPS_MAX: usize = 32;
/// Those at the beginning.
const FIRST: usize = STEPS_MAX / 2;

/// One step of a judgement, or something that changed it later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When, in milliseconds from the first judgement; absent for its own steps.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub at_ms: u64,
    /// The extension whose part in the call is judged.
    pub extension: String,
    /// The rule that was asked: `recorded devices`, `exclusion 2`, `channels`.
    pub rule: String,
    /// The fact that it was asked about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fact: String,
    /// What it said.
    pub verdict: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes what it would write")]
fn is_zero(ms: &u64) -> bool {
    *ms == 0
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Step { at_ms, extension, rule, fact, verdict } = self;
        let at = (*at_ms as f64) / 1_000.0;
        write!(f, "{at:>8.1} s  {extension}: {rule}")?;
        if !fact.is_empty() {
            write!(f, " [{fact}]")?;
        }
        write!(f, ": {verdict}")
    }
}

/// The steps of one segment, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    first: Vec<Step>,
    last: VecDeque<Step>,
    /// Between these.
    left_out: u64,
}

impl Trace {
    /// Adds a step; one from the middle makes room for it.
    pub(crate) fn push(&mut self, step: Step) {
        if self.first.len() < FIRST {
            return self.first.push(step);
        }
        self.last.push_back(step);
        let room = STEPS_MAX - FIRST;
        // What says how many were left out takes the place of one.
        let is_too_many = self.left_out > 0 || self.last.len() > room;
        while is_too_many && self.last.len() > room - 1 {
            self.last.pop_front();
            self.left_out += 1;
        }
    }

    /// The steps, in order.
    #[must_use]
    pub fn into_steps(self) -> Vec<Step> {
        let Trace { first, last, left_out } = self;
        let gap = last.front().filter(|_| left_out > 0).map(|next| Step {
            rule: "trace".into(),
            fact: String::new(),
            verdict: format!("{left_out} steps before this were left out"),
            ..next.clone()
        });
        first.into_iter().chain(gap).chain(last).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(n: u64) -> Step {
        let (extension, rule) = ("2000".into(), "exclusion 1".into());
        Step { at_ms: n, extension, rule, fact: "account code 77".into(), verdict: "excluded".into() }
    }

    #[test]
    fn of_many_steps_the_first_and_the_last_are_kept_and_how_many_were_left_out() {
        let mut trace = Trace::default();
        for n in 0..1_000 {
            trace.push(step(n));
            let steps = trace.clone().into_steps();
            let (gaps, kept): (Vec<&Step>, Vec<&Step>) = steps.iter().partition(|step| step.rule == "trace");
            let left_out = n + 1 - kept.len() as u64;
            if n < STEPS_MAX as u64 {
                assert_eq!((gaps.len(), left_out), (0, 0), "{n}");
            } else {
                assert_eq!(steps.len(), STEPS_MAX, "{n}");
                assert_eq!(gaps[0].verdict, format!("{left_out} steps before this were left out"));
                assert_eq!(steps[FIRST], *gaps[0], "where they were");
            }
            let ends = (kept[0].at_ms, kept[kept.len() - 1].at_ms);
            assert_eq!(ends, (0, n), "the first and the last");
            assert!(kept.windows(2).all(|pair| pair[0].at_ms < pair[1].at_ms));
        }
    }

    #[test]
    fn a_step_reads_as_a_line_and_is_short_in_the_ledger() {
        assert_eq!(step(12_340).to_string(), "    12.3 s  2000: exclusion 1 [account code 77]: excluded");
        let first = Step { at_ms: 0, fact: String::new(), ..step(0) };
        let written = serde_json::to_string(&first).expect("JSON");
        assert_eq!(written, r#"{"extension":"2000","rule":"exclusion 1","verdict":"excluded"}"#);
        assert_eq!(serde_json::from_str::<Step>(&written).expect("a step"), first);
    }
}
