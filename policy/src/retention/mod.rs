//! How long recordings and call data are kept, and when they are due for deletion.
//!
//! Pure: it judges, `store` deletes. What is judged is a [`Subject`] at a [`Now`] that only a [`ClockWatch`] makes;
//! what judges it is a [`History`] of [`RuleSet`]s, so that a tightened rule waits out its [`Grace`]. A [`Plan`] sums
//! up what a pass would do, and only an [`Approved`] one may be carried out. `docs/retention.md` says all of it for
//! those who answer for it.
//!
//! What keeps something, the strongest first: it still runs, a hold, a clock in doubt, the grace, its age.

pub mod age;
pub mod clock;
mod error;
pub mod history;
pub mod judgement;
#[cfg(test)]
mod model;
pub mod plan;
pub mod rules;
#[cfg(test)]
mod testing;

pub use age::{Age, GRACE_MAX, Grace, Period};
pub use clock::{ClockWatch, Confirmation, Doubt, Freeze, Now, OFF_MAX_DEFAULT, Reading};
pub use error::Error;
pub use history::{History, VERSIONS_MAX, Version};
pub use judgement::{Decision, Judgement, Until, Withholding};
pub use plan::{
    Approved, ByRule, Consent, HeldBack, ITEMS_MAX, Item, MoreThanHalf, Plan, Planner, Share, Tally,
};
pub use rules::{RULES_MAX, Rule, RuleSet, Subject};
