//! What may be kept, and for how long: rules, verdicts, the gate that all audio passes, and retention. Pure: no clock, no I/O.

pub mod gate;
pub mod outcome;
pub mod pattern;
pub mod redact;
pub mod retention;
pub mod rules;
pub mod site;
#[cfg(test)]
mod testing;

pub use gate::{
    Action, Cleared, ClearedSignal, Cold, ColdCodec, ColdVerdict, Gate, ImportPass, ImportRefusal,
    RecodePass, RecordingKey, RecordingPlan, Stays,
};
pub use outcome::{Direction, Outcome};
pub use pattern::{Pattern, PatternError};
pub use redact::{Digits, Redacted};
pub use rules::{Rules, Verdict};
pub use site::{Roles, Site};
