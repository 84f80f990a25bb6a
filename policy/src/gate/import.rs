//! The way through the gate for audio that a person brings in: a rule of its own.
//!
//! Nobody's call was seen here, so the list of recorded devices has nothing to say of it; an exclusion of internal calls has,
//! and holds. What is cleared carries the person's name as its reason.

use decode::{AudioFrame, Party};

use super::{Cleared, Gate};
use crate::outcome::Direction;

/// A person's word that a file may be kept, judged. Only [`Gate::handle_import`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportPass {
    rule: String,
}

impl ImportPass {
    /// The rule that keeps it: who brought it in.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// Clears one packet of the file.
    #[must_use]
    pub fn clear<'a>(&self, party: Party, frame: &'a AudioFrame<'a>) -> Cleared<'a> {
        Cleared { party, frame }
    }
}

/// Why a file may not be brought in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportRefusal {
    /// Nobody answers for it.
    NoName,
    /// Internal calls are excluded, and it says that it is one.
    InternalExcluded,
}

impl ImportRefusal {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            ImportRefusal::NoName => "nobody's name stands for the import",
            ImportRefusal::InternalExcluded => "internal calls are excluded here, and this is one",
        }
    }
}

impl Gate {
    /// Judges a file that `who` brings in.
    ///
    /// # Errors
    /// Why it may not be kept.
    pub fn handle_import(&self, who: &str, direction: Direction) -> Result<ImportPass, ImportRefusal> {
        if who.trim().is_empty() {
            return Err(ImportRefusal::NoName);
        }
        if self.rules.exclude_internal && direction == Direction::Internal {
            return Err(ImportRefusal::InternalExcluded);
        }
        Ok(ImportPass { rule: format!("imported by {}", who.trim()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Rules;

    #[test]
    fn an_import_is_kept_under_the_name_of_who_brought_it() {
        let devices = "2001".parse::<crate::Pattern>().expect("a pattern").into();
        let gate = Gate::new(Rules { devices, ..Rules::default() });
        let pass = gate.handle_import(" ann ", Direction::Inbound);
        assert_eq!(pass.map(|pass| pass.rule().to_owned()), Ok("imported by ann".to_owned()));
    }

    #[test]
    fn nobody_and_what_is_excluded_do_not_pass() {
        let gate = Gate::new(Rules { exclude_internal: true, ..Rules::default() });
        assert_eq!(gate.handle_import("  ", Direction::Inbound), Err(ImportRefusal::NoName));
        assert_eq!(gate.handle_import("ann", Direction::Internal), Err(ImportRefusal::InternalExcluded));
        assert!(gate.handle_import("ann", Direction::Unknown).is_ok());
    }
}
