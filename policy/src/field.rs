//! The vocabulary of what can be asked for of a recording or of a running segment: by searches, and by who may see it.
//!
//! Owns the fields, their names and words, and how a pattern is held against them. What keeps the values is whoever implements
//! [`Segment`].

use std::fmt;
use std::str::FromStr;

use crate::{CustomField, Pattern, PatternError};

/// One extension's stretch of a call, as filters ask for it: a recording, or what runs.
pub trait Segment {
    /// The value of a field that holds one, words and stars too; empty when it is not known. [`Field::Tag`] and
    /// [`Field::BusinessUnit`] are lists, and have none here.
    fn value(&self, field: Field) -> &str;

    /// Its tags.
    fn tags(&self) -> impl Iterator<Item = &str> + Clone;

    /// The business unit that it counts for and those above that one, the nearest first.
    fn units(&self) -> impl Iterator<Item = &str> + Clone;

    /// Length of its audio so far, in milliseconds.
    fn duration_ms(&self) -> u64;
}

impl<S: Segment> Segment for &S {
    fn value(&self, field: Field) -> &str {
        (*self).value(field)
    }

    fn tags(&self) -> impl Iterator<Item = &str> + Clone {
        (*self).tags()
    }

    fn units(&self) -> impl Iterator<Item = &str> + Clone {
        (*self).units()
    }

    fn duration_ms(&self) -> u64 {
        (*self).duration_ms()
    }
}

/// A field of recordings that can be asked for. `Display` and [`FromStr`] use the names of `archive list --json`; `tag`, `held`
/// and `deleted` are said in the singular. Their order is that of the texts and words in the search records of an archive's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// The recorded extension; a field of numbers.
    Extension,
    /// Its name.
    ExtensionName,
    /// The outside number.
    OutsideNumber,
    /// The other side, number or user; it may be an extension, so ranges count.
    OtherParty,
    /// The other side's name.
    OtherPartyName,
    /// The user, by id or name: either may match.
    User,
    /// The agent; a field of numbers.
    Agent,
    /// The account code.
    AccountCode,
    /// The hunt group; a field of numbers.
    HuntGroup,
    /// The trunk; a field of numbers.
    Trunk,
    /// The number that was dialled from outside.
    Ddi,
    /// The logical call.
    Call,
    /// The user's name alone.
    UserName,
    /// The site that it was recorded at.
    Site,
    /// The first of the five fields that the site fills as it likes.
    Tag1,
    /// The second.
    Tag2,
    /// The third.
    Tag3,
    /// The fourth.
    Tag4,
    /// The fifth.
    Tag5,
    /// What the number that was dialled from outside is called.
    DdiName,
    /// Who the outside number belongs to.
    Contact,
    /// The extension that passed the call on; a field of numbers.
    TransferredFrom,
    /// Any of its tags.
    Tag,
    /// The business unit, or any above it.
    BusinessUnit,
    /// Stars; a field of numbers.
    Rating,
    /// `inbound`, `outbound`, `internal`, `unknown`.
    Direction,
    /// `recording`, `complete`, `interrupted`.
    State,
    /// `mirror`, `record-a-call`, `import`.
    Source,
    /// Under a legal hold: `yes`, `no`.
    Held,
    /// Its audio is gone, its facts stayed: `yes`, `no`.
    Deleted,
}

impl Field {
    /// How many fields hold one text; they come first.
    pub const TEXTS: usize = 22;

    /// All of them.
    pub const ALL: [Field; 30] = [
        Field::Extension,
        Field::ExtensionName,
        Field::OutsideNumber,
        Field::OtherParty,
        Field::OtherPartyName,
        Field::User,
        Field::Agent,
        Field::AccountCode,
        Field::HuntGroup,
        Field::Trunk,
        Field::Ddi,
        Field::Call,
        Field::UserName,
        Field::Site,
        Field::Tag1,
        Field::Tag2,
        Field::Tag3,
        Field::Tag4,
        Field::Tag5,
        Field::DdiName,
        Field::Contact,
        Field::TransferredFrom,
        Field::Tag,
        Field::BusinessUnit,
        Field::Rating,
        Field::Direction,
        Field::State,
        Field::Source,
        Field::Held,
        Field::Deleted,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Field::Extension => "extension",
            Field::ExtensionName => "extension_name",
            Field::OutsideNumber => "outside_number",
            Field::OtherParty => "other_party",
            Field::OtherPartyName => "other_party_name",
            Field::User => "user",
            Field::Agent => "agent",
            Field::AccountCode => "account_code",
            Field::HuntGroup => "hunt_group",
            Field::Trunk => "trunk",
            Field::Ddi => "ddi",
            Field::Call => "call",
            Field::UserName => "user_name",
            Field::Site => "site",
            Field::Tag1 => CustomField::Tag1.key(),
            Field::Tag2 => CustomField::Tag2.key(),
            Field::Tag3 => CustomField::Tag3.key(),
            Field::Tag4 => CustomField::Tag4.key(),
            Field::Tag5 => CustomField::Tag5.key(),
            Field::DdiName => "ddi_name",
            Field::Contact => "contact",
            Field::TransferredFrom => "transferred_from",
            Field::Tag => "tag",
            Field::BusinessUnit => "business_unit",
            Field::Rating => "rating",
            Field::Direction => "direction",
            Field::State => "state",
            Field::Source => "source",
            Field::Held => "held",
            Field::Deleted => "deleted",
        }
    }

    /// The words that it can hold, where these are few, in the order of their numbers in a search record.
    #[must_use]
    pub const fn words(self) -> &'static [&'static str] {
        match self {
            Field::Direction => &["inbound", "outbound", "internal", "unknown"],
            Field::State => &["recording", "complete", "interrupted"],
            Field::Source => &["mirror", "record-a-call", "import"],
            Field::Held | Field::Deleted => &["no", "yes"],
            _ => &[],
        }
    }

    /// Does it hold numbers, in which ranges can be meant?
    #[must_use]
    pub const fn is_number(self) -> bool {
        use Field::{Agent, Extension, HuntGroup, OtherParty, Rating, TransferredFrom, Trunk};
        matches!(self, Extension | OtherParty | Agent | HuntGroup | Trunk | Rating | TransferredFrom)
    }

    /// Which of the fields with few words, from 0; none for all others.
    #[must_use]
    pub fn word_place(self) -> Option<usize> {
        (self as usize).checked_sub(Field::Direction as usize)
    }

    /// Reads a pattern for this field.
    ///
    /// # Errors
    /// [`FieldError::Pattern`]; [`FieldError::NoWord`] for a word that the field never holds.
    pub fn pattern(self, written: &str) -> Result<Pattern, FieldError> {
        let words = self.words();
        let known = |word: &&str| words.contains(&word.trim().trim_start_matches('!').trim());
        if let Some(word) = written.split(',').find(|word| !words.is_empty() && !known(word)) {
            let word = word.trim().trim_start_matches('!').to_owned();
            return Err(FieldError::NoWord { field: self, word });
        }
        let pattern = if self.is_number() { written.parse() } else { Pattern::of_text(written) };
        pattern.map_err(|error| FieldError::Pattern { field: self, error })
    }

    /// Does the segment's value of this field match? The user is asked for by id or name, tags and business units are lists.
    #[must_use]
    pub fn matches(self, pattern: &Pattern, segment: &impl Segment) -> bool {
        match self {
            Field::Tag => pattern.matches_any(segment.tags()),
            Field::BusinessUnit => pattern.matches_any(segment.units()),
            Field::User => {
                let forms = [segment.value(Field::User), segment.value(Field::UserName)];
                pattern.matches_any(forms.into_iter().filter(|text| !text.is_empty()))
            }
            field => pattern.matches(segment.value(field)),
        }
    }
}

impl From<CustomField> for Field {
    fn from(field: CustomField) -> Self {
        match field {
            CustomField::Tag1 => Field::Tag1,
            CustomField::Tag2 => Field::Tag2,
            CustomField::Tag3 => Field::Tag3,
            CustomField::Tag4 => Field::Tag4,
            CustomField::Tag5 => Field::Tag5,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Field {
    type Err = FieldError;

    fn from_str(name: &str) -> Result<Self, FieldError> {
        // A unit is a unit in speech.
        let full = if name == "unit" { Field::BusinessUnit.name() } else { name };
        let field = Field::ALL.into_iter().find(|field| field.name() == full);
        field.ok_or_else(|| FieldError::NoField { name: name.to_owned() })
    }
}

/// What was asked for cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// There is no such field.
    #[error("no field {name:?}; there are {}", Field::ALL.map(Field::name).join(", "))]
    NoField {
        /// As it was written.
        name: String,
    },
    /// The field never holds this word: it would match nothing, silently.
    #[error("{field}: {word:?} is none of {}", field.words().join(", "))]
    NoWord {
        /// The field.
        field: Field,
        /// As it was written.
        word: String,
    },
    /// The pattern cannot be read.
    #[error("{field}: {error}")]
    Pattern {
        /// The field.
        field: Field,
        /// Why not.
        error: PatternError,
    },
}
