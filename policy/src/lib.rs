//! What may be kept: rules, verdicts and the gate that all audio passes. Pure: no clock, no I/O.

pub mod gate;
pub mod outcome;
pub mod pattern;
pub mod rules;
pub mod site;
#[cfg(test)]
mod testing;

pub use gate::{Action, Cleared, Gate, RecordingKey, RecordingPlan};
pub use outcome::{Direction, Outcome};
pub use pattern::{Pattern, PatternError};
pub use rules::{Rules, Verdict};
pub use site::{Roles, Site};
