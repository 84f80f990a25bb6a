//! What can be wrong with retention's settings and requests.

use decode::Timestamp;

/// Why rules, ages or a confirmation are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The age cannot be read.
    #[error("age {text:?} {problem}; write for example 90d, 12w, 18m, 7y, 5y 1d or forever")]
    Age {
        /// What was written, at most 40 characters of it.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The span of hours or days cannot be read.
    #[error("{text:?} {problem}; write for example 24h or 7d")]
    Period {
        /// What was written, at most 40 characters of it.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A rule that cannot be.
    #[error("retention rule {name:?} {problem}")]
    Rule {
        /// Its name.
        name: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// More rules than [`super::RULES_MAX`].
    #[error("there are {count} retention rules; at most {} are read", super::RULES_MAX)]
    TooManyRules {
        /// How many.
        count: usize,
    },
    /// A history of rule sets that is out of order or too long: not one that was written here.
    #[error("the history of retention rules is damaged: {0}")]
    History(&'static str),
    /// Nothing is to be confirmed.
    #[error("the clock is not in doubt: there is nothing to confirm")]
    NotFrozen,
    /// The confirmation speaks of another time than the clock shows: it was given for an earlier reading.
    #[error(
        "{at} was confirmed, but the clock shows {shown}: look at it again and confirm what it shows now"
    )]
    NotNow {
        /// The time that was confirmed.
        at: Timestamp,
        /// The last reading of the clock.
        shown: Timestamp,
    },
    /// Who confirms is not named.
    #[error("a confirmation needs the name of the person who gives it, at most 256 characters")]
    Nobody,
}
