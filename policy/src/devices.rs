//! The list of recorded devices: who is recorded, from where, in which mode, how important (requirement rows REC-02, REC-10).
//!
//! The first entry that names a number decides for it. Without a list every extension is recorded.

use crate::channels::Priority;
use crate::modes::Mode;
use crate::outcome::Source;
use crate::pattern::Pattern;

/// Entries of the list.
pub const DEVICES_MAX: usize = 10_000;

/// An entry: one device, or several by range or wildcard.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedDevice {
    /// Their numbers.
    pub numbers: Pattern,
    /// The entry's name; may be empty.
    pub name: String,
    /// How their audio comes here; any way when nothing is said.
    pub source: Option<Source>,
    /// What is recorded by itself, and what people may change.
    pub mode: Mode,
    /// Who goes when channels are short.
    pub priority: Priority,
}

impl RecordedDevice {
    /// Always recorded, from any source, of middle importance.
    #[must_use]
    pub fn new(numbers: Pattern) -> RecordedDevice {
        let (name, source, mode, priority) = (String::new(), None, Mode::Always, Priority::default());
        RecordedDevice { numbers, name, source, mode, priority }
    }
}

/// The list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordedDevices {
    entries: Vec<RecordedDevice>,
}

/// What the list says of a number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listed {
    /// The entry, in words.
    pub(crate) rule: String,
    pub(crate) source: Option<Source>,
    pub(crate) mode: Mode,
    pub(crate) priority: Priority,
}

impl RecordedDevices {
    /// These alone; every extension without any.
    #[must_use]
    pub fn new(entries: Vec<RecordedDevice>) -> RecordedDevices {
        RecordedDevices { entries }
    }

    /// Is anybody listed?
    #[must_use]
    pub fn is_list(&self) -> bool {
        !self.entries.is_empty()
    }

    /// The entries.
    #[must_use]
    pub fn entries(&self) -> &[RecordedDevice] {
        &self.entries
    }

    /// Does the list name this number?
    #[must_use]
    pub fn names(&self, number: &str) -> bool {
        self.entries.iter().any(|entry| entry.numbers.matches(number))
    }

    /// The entry of a number: the first that names it.
    pub(crate) fn find(&self, number: &str) -> Option<Listed> {
        if self.entries.is_empty() {
            let (mode, priority) = (Mode::Always, Priority::default());
            return Some(Listed { rule: "every extension is recorded".into(), source: None, mode, priority });
        }
        let entry = self.entries.iter().find(|entry| entry.numbers.matches(number))?;
        let RecordedDevice { numbers, name, source, mode, priority } = entry;
        let mut rule = format!("recorded devices {numbers}");
        if !name.is_empty() {
            rule += &format!(" ({name})");
        }
        Some(Listed { rule, source: *source, mode: *mode, priority: *priority })
    }
}

impl From<Pattern> for RecordedDevices {
    fn from(numbers: Pattern) -> Self {
        RecordedDevices::new(vec![RecordedDevice::new(numbers)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_that_names_a_number_decides() {
        let entry = |numbers: &str, mode| RecordedDevice {
            mode,
            ..RecordedDevice::new(numbers.parse().expect("a pattern"))
        };
        let list = RecordedDevices::new(vec![
            entry("1003", Mode::Never),
            entry("1000-1005,18%5", Mode::OnDemand),
            entry("1%", Mode::Always),
        ]);
        let mode = |number| list.find(number).map(|listed| listed.mode);
        assert_eq!(mode("1003"), Some(Mode::Never));
        assert_eq!(mode("1004"), Some(Mode::OnDemand));
        assert_eq!(mode("1865"), Some(Mode::OnDemand));
        assert_eq!(mode("1900"), Some(Mode::Always));
        assert_eq!(mode("2000"), None);
        assert!(RecordedDevices::default().find("2000").is_some());
    }
}
