//! Access filters (requirement rows ACF): what is granted or denied beside a scope.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::field::{Field, FieldError, Segment};
use crate::pattern::Pattern;
use crate::people::{PeopleError, check_name};

/// Conditions of one filter.
pub const CONDITIONS_MAX: usize = 40;

/// What a filter does with the segments that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FilterMode {
    /// Admits them, also outside of the scope.
    Grant,
    /// Refuses them, whatever the scope or another filter says.
    Deny,
}

impl FilterMode {
    /// As files and commands write it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            FilterMode::Grant => "grant",
            FilterMode::Deny => "deny",
        }
    }
}

impl FromStr for FilterMode {
    type Err = AccessFilterError;

    fn from_str(word: &str) -> Result<Self, AccessFilterError> {
        let all = [FilterMode::Grant, FilterMode::Deny];
        let found = all.into_iter().find(|mode| mode.key() == word);
        found.ok_or_else(|| AccessFilterError::NoMode { word: word.to_owned() })
    }
}

/// The stretch of lengths that a filter is about, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lengths {
    /// The shortest, in seconds of audio.
    pub min_s: u64,
    /// The longest, in seconds of audio; a segment of less than one second more counts.
    pub max_s: u64,
}

/// A filter. It matches a segment when all its conditions do, and there is one at least.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct AccessFilter {
    name: String,
    mode: FilterMode,
    conditions: Vec<(Field, Pattern)>,
    lengths: Option<Lengths>,
}

/// The filter cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessFilterError {
    /// Its name is no fit one.
    #[error(transparent)]
    Name(#[from] PeopleError),
    /// No mode of this word.
    #[error("no mode {word:?}; write grant or deny")]
    NoMode {
        /// As it was written.
        word: String,
    },
    /// It would match everything.
    #[error("access filter {name:?} has no condition; name a field and a pattern, as extension=1000-1005")]
    Empty {
        /// Its name.
        name: String,
    },
    /// Too many.
    #[error("access filter {name:?} has more than {CONDITIONS_MAX} conditions")]
    TooMany {
        /// Its name.
        name: String,
    },
    /// The shortest is longer than the longest.
    #[error("lengths from {min_s} s to {max_s} s run backwards; the shorter one stands first")]
    Backwards {
        /// The shortest.
        min_s: u64,
        /// The longest.
        max_s: u64,
    },
    /// A condition cannot be read.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl AccessFilter {
    /// Makes one; the patterns as they are written.
    ///
    /// # Errors
    /// [`AccessFilterError`].
    pub fn new(
        name: &str,
        mode: FilterMode,
        conditions: &[(Field, &str)],
        lengths: Option<Lengths>,
    ) -> Result<AccessFilter, AccessFilterError> {
        check_name("access filter", name)?;
        let name = name.to_owned();
        if conditions.is_empty() && lengths.is_none() {
            return Err(AccessFilterError::Empty { name });
        }
        if conditions.len() > CONDITIONS_MAX {
            return Err(AccessFilterError::TooMany { name });
        }
        if let Some(Lengths { min_s, max_s }) = lengths.filter(|lengths| lengths.min_s > lengths.max_s) {
            return Err(AccessFilterError::Backwards { min_s, max_s });
        }
        let read = |(field, written): &(Field, &str)| Ok((*field, field.pattern(written)?));
        let conditions = conditions.iter().map(read).collect::<Result<_, AccessFilterError>>()?;
        Ok(AccessFilter { name, mode, conditions, lengths })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it does.
    #[must_use]
    pub fn mode(&self) -> FilterMode {
        self.mode
    }

    /// Fields and what their values must match.
    #[must_use]
    pub fn conditions(&self) -> &[(Field, Pattern)] {
        &self.conditions
    }

    /// The lengths that it is about, where it is about lengths.
    #[must_use]
    pub fn lengths(&self) -> Option<Lengths> {
        self.lengths
    }

    /// Is every segment of this user meant, whatever else is known of it?
    pub(super) fn matches_all_of(&self, user: &str) -> bool {
        let is_about_users = self.conditions.iter().all(|(field, _)| *field == Field::User);
        self.lengths.is_none() && is_about_users && self.matches(&OfUser(user))
    }

    /// Does it ask for nothing but business units?
    pub(super) fn is_of_units_alone(&self) -> bool {
        self.lengths.is_none() && self.conditions.iter().all(|(field, _)| *field == Field::BusinessUnit)
    }

    /// Does it ask for a business unit, and is it this one, named with those above it?
    pub(super) fn names_unit(&self, units: &[&str]) -> bool {
        let mut asked = self.conditions.iter().filter(|(field, _)| *field == Field::BusinessUnit).peekable();
        asked.peek().is_some() && asked.all(|(_, pattern)| pattern.matches_any(units.iter().copied()))
    }

    /// Is the segment meant?
    #[must_use]
    pub fn matches(&self, segment: &impl Segment) -> bool {
        let fits =
            |Lengths { min_s, max_s }: Lengths| (min_s..=max_s).contains(&(segment.duration_ms() / 1_000));
        self.lengths.is_none_or(fits)
            && self.conditions.iter().all(|(field, pattern)| field.matches(pattern, segment))
    }
}

/// Any segment of a user, of which nothing else is known.
struct OfUser<'u>(&'u str);

impl Segment for OfUser<'_> {
    fn value(&self, field: Field) -> &str {
        if field == Field::User { self.0 } else { "" }
    }

    fn tags(&self) -> impl Iterator<Item = &str> + Clone {
        std::iter::empty()
    }

    fn units(&self) -> impl Iterator<Item = &str> + Clone {
        std::iter::empty()
    }

    fn duration_ms(&self) -> u64 {
        0
    }
}

/// A filter as files have it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Written {
    name: String,
    mode: FilterMode,
    #[serde(default)]
    conditions: Vec<Condition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lengths: Option<Lengths>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Condition {
    field: String,
    pattern: String,
}

impl TryFrom<Written> for AccessFilter {
    type Error = AccessFilterError;

    fn try_from(written: Written) -> Result<Self, AccessFilterError> {
        let field = |condition: &Condition| condition.field.parse::<Field>();
        let fields = written.conditions.iter().map(field).collect::<Result<Vec<_>, _>>()?;
        let texts = written.conditions.iter().map(|condition| condition.pattern.as_str());
        let conditions: Vec<_> = fields.into_iter().zip(texts).collect();
        AccessFilter::new(&written.name, written.mode, &conditions, written.lengths)
    }
}

impl From<AccessFilter> for Written {
    fn from(filter: AccessFilter) -> Self {
        let condition = |(field, pattern): (Field, Pattern)| Condition {
            field: field.name().to_owned(),
            pattern: pattern.to_string(),
        };
        Written {
            name: filter.name,
            mode: filter.mode,
            conditions: filter.conditions.into_iter().map(condition).collect(),
            lengths: filter.lengths,
        }
    }
}
