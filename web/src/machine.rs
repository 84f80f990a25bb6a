//! The machine that a recorder runs on, as pages and API show it: its log, what goes to whoever helps, where its settings come from.
//!
//! What all of that is, is the program's ([`Machinery`] is its side).

use decode::Timestamp;
use serde::Serialize;

use crate::error::Error;

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something went wrong, and somebody has to look at it.
    Error,
    /// Something may go wrong.
    Warning,
    /// Something was done.
    Notice,
}

impl Severity {
    /// All of them, what matters most first.
    pub const ALL: [Severity; 3] = [Severity::Error, Severity::Warning, Severity::Notice];

    /// One word.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Notice => "notice",
        }
    }
}

/// A line of the recorder's own log. It names no caller and no number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When.
    pub at: Timestamp,
    /// How much it matters.
    pub severity: Severity,
    /// The part of the program that wrote it.
    pub part: String,
    /// What happened.
    pub what: String,
    /// What else is known, by name.
    pub fields: Vec<(&'static str, String)>,
}

impl LogLine {
    /// All that is known, as one text.
    #[must_use]
    pub fn more(&self) -> String {
        self.fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }
}

/// Where a setting of the pages comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// What it is.
    pub label: &'static str,
    /// What it is set to, in words.
    pub value: String,
    /// Its key in the configuration file.
    pub key: &'static str,
    /// A change is in force with the next start; else when the file is read again.
    pub with_restart: bool,
}

/// The program's side.
pub trait Machinery: Send + Sync {
    /// The last lines of the log, the oldest first.
    fn log(&self) -> Vec<LogLine>;

    /// What somebody who helps needs to know, as a ZIP: no call, no number, no name, no key.
    ///
    /// # Errors
    /// What could not be read or packed.
    fn support_bundle(&self) -> Result<Vec<u8>, Error>;

    /// What of the pages is set in the configuration file.
    fn website(&self) -> Vec<Setting>;
}
