//! Why a segment was judged as it was: one step after the other, kept with the call's line of the balance sheet.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Steps kept of one segment; later ones are dropped, and the last says so.
pub const STEPS_MAX: usize = 32;

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
    steps: Vec<Step>,
}

impl Trace {
    /// Adds a step, unless there are too many.
    pub(crate) fn push(&mut self, step: Step) {
        match self.steps.len() {
            len if len + 1 < STEPS_MAX => self.steps.push(step),
            len if len + 1 == STEPS_MAX => self.steps.push(Step {
                rule: "trace".into(),
                fact: String::new(),
                verdict: "more happened than is kept".into(),
                ..step
            }),
            _ => {}
        }
    }

    /// The steps.
    #[must_use]
    pub fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    /// The steps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
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
    fn a_trace_is_bounded_and_says_when_it_is_full() {
        let mut trace = Trace::default();
        (0..1_000).for_each(|n| trace.push(step(n)));
        assert_eq!(trace.steps().len(), STEPS_MAX);
        assert_eq!(
            trace.steps().last().map(|step| step.verdict.as_str()),
            Some("more happened than is kept")
        );
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
