//! What may be kept, for how long, and who may hear it: rules, verdicts, the gate that all audio passes, retention, access. Pure: no
//! clock, no I/O.

pub mod access;
pub mod channels;
pub mod custom;
pub mod devices;
pub mod feed;
pub mod field;
pub mod gate;
pub mod modes;
pub mod numbers;
pub mod outcome;
pub mod pattern;
pub mod pause;
pub mod people;
pub mod redact;
pub mod retention;
pub mod rules;
pub mod site;
pub mod smdr;
#[cfg(test)]
mod testing;
pub mod whatif;

pub use access::{Caller, Permission};
pub use channels::{Overload, Priority};
pub use custom::{CustomField, CustomFields, CustomNames};
pub use devices::{RecordedDevice, RecordedDevices};
pub use field::{Field, FieldError, Segment};
pub use gate::{
    Action, Cleared, ClearedSignal, Closing, Cold, ColdCodec, ColdVerdict, Gate, ImportPass, ImportRefusal,
    Late, LiveState, RecodePass, RecordingKey, RecordingPlan, Reply, Request, Stays, Told, Whom,
};
pub use modes::Mode;
pub use numbers::DialPlan;
pub use outcome::{Direction, Outcome};
pub use pattern::{Pattern, PatternError};
pub use people::{People, Person, Who};
pub use redact::{Digits, Redacted};
pub use rules::{Fact, FactRefusal, ListRule, RuleType, Rules, SegmentFacts, Step, Verdict};
pub use site::{Roles, Site};
pub use whatif::{PartNames, PastCall, PastPart, WhatIf};
