//! Alerts as pages and API show them: each time that an alarm of the recorder was up, since when, whom it was told, who took note of it.
//!
//! Which alarms there are, when they are up and what is kept of them is the recorder's (`Alerts` is its side).

use decode::Timestamp;
use serde::Serialize;

/// The longest note of an acknowledgement, in characters.
pub const ALERT_NOTE_MAX: usize = 500;

/// A kind of alarm that can be up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// One word, as in metrics and messages.
    pub key: &'static str,
    /// As people see it: what is wrong when it is up.
    pub label: &'static str,
    /// It costs recordings while it is up.
    pub is_critical: bool,
    /// It is looked for; what is not set up is not.
    pub is_on: bool,
}

/// Somebody has taken note of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Acknowledged {
    /// Who.
    pub who: String,
    /// When.
    pub at: Timestamp,
    /// What they said; may be empty.
    pub note: String,
    /// What is wrong reads otherwise now than it did then, so that it is told again.
    pub has_changed: bool,
}

/// One time that an alarm was up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// Its number; later ones have higher ones.
    pub number: u64,
    /// Which alarm, as [`Watched::key`].
    pub alarm: &'static str,
    /// The adapter or drive that it is about; empty where it is about the whole.
    pub place: String,
    /// In words; no number and no name of a caller.
    pub words: String,
    /// It costs recordings while it is up.
    pub critical: bool,
    /// Since when.
    pub raised: Timestamp,
    /// When it was last told.
    pub told: Timestamp,
    /// Whom: `log`, `syslog`, `web hook`, `mail`.
    pub told_to: Vec<String>,
    /// Until when; it is up while there is none.
    pub cleared: Option<Timestamp>,
    /// Who took note of it.
    pub acknowledged: Option<Acknowledged>,
}

/// Why an alert is not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAcknowledged {
    /// There is none of this number any more.
    #[error("there is no such alert any more")]
    NoSuch,
    /// Somebody was faster.
    #[error("it was acknowledged already, by {0}")]
    Already(String),
    /// It cannot be kept.
    #[error("it cannot be kept: {0}")]
    Unkept(String),
}

/// The recorder's side.
pub trait Alerts: Send + Sync {
    /// The kinds of alarms, the critical ones first.
    fn watched(&self) -> Vec<Watched>;

    /// The alerts that are kept, the newest first.
    fn all(&self) -> Vec<Alert>;

    /// Somebody takes note of an alert: while nothing about it changes, it is not told again. On disk when this returns.
    ///
    /// # Errors
    /// [`NotAcknowledged`].
    fn acknowledge(&self, number: u64, who: &str, note: &str, at: Timestamp) -> Result<(), NotAcknowledged>;
}
