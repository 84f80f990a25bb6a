//! The five fields of a call that a site fills as it likes (requirement row TAG-01): a claim number, a customer, a result.
//!
//! Files, filters and programs know them as `tag1` to `tag5`; the names that people see are a setting, and may change at any time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The longest value, in bytes.
pub const VALUE_MAX: usize = 256;

/// One of the five.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "they differ by their number alone")]
pub enum CustomField {
    Tag1,
    Tag2,
    Tag3,
    Tag4,
    Tag5,
}

impl CustomField {
    /// All of them.
    pub const ALL: [CustomField; 5] =
        [CustomField::Tag1, CustomField::Tag2, CustomField::Tag3, CustomField::Tag4, CustomField::Tag5];

    /// By its number, 1 to 5.
    #[must_use]
    pub fn numbered(number: u8) -> Option<CustomField> {
        CustomField::ALL.into_iter().find(|field| field.number() == number)
    }

    /// Its number, 1 to 5.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// As files and filters name it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            CustomField::Tag1 => "tag1",
            CustomField::Tag2 => "tag2",
            CustomField::Tag3 => "tag3",
            CustomField::Tag4 => "tag4",
            CustomField::Tag5 => "tag5",
        }
    }
}

/// What stands in them; an empty value is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CustomFields(BTreeMap<CustomField, String>);

impl CustomFields {
    /// Nothing stands in any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What stands in a field.
    #[must_use]
    pub fn of(&self, field: CustomField) -> Option<&str> {
        self.0.get(&field).map(String::as_str)
    }

    /// Those in which something stands.
    pub fn iter(&self) -> impl Iterator<Item = (CustomField, &str)> {
        self.0.iter().map(|(field, value)| (*field, value.as_str()))
    }

    /// Fills a field; an empty value empties it. Says whether anything is different now. Its length is the caller's to know.
    pub fn set(&mut self, field: CustomField, value: &str) -> bool {
        if value.is_empty() {
            return self.0.remove(&field).is_some();
        }
        self.0.insert(field, value.to_owned()).as_deref() != Some(value)
    }
}

/// The names that people see; `tag1` to `tag5` where none is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomNames([Option<String>; 5]);

/// The names cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CustomNamesError {
    /// There are more than five.
    #[error("there are five fields; {0} names are too many")]
    TooMany(usize),
    /// A name is no fit one.
    #[error(
        "{name:?} is no name of a field: write 1 to 40 printable characters without `=`, another one for each"
    )]
    Unfit {
        /// As it was written.
        name: String,
    },
}

/// The longest name, in characters.
const NAME_MAX: usize = 40;

impl CustomNames {
    /// No field has a name of its own.
    pub const NONE: CustomNames = CustomNames([const { None }; 5]);

    /// Has the field a name of its own?
    #[must_use]
    pub fn has(&self, field: CustomField) -> bool {
        self.0.get(field as usize).is_some_and(Option::is_some)
    }

    /// Takes names for the first fields; an empty one leaves its field as it is. No two may be alike, capitals or not, nor one
    /// of `taken`.
    ///
    /// # Errors
    /// [`CustomNamesError`].
    pub fn new(names: &[String], taken: &[&str]) -> Result<CustomNames, CustomNamesError> {
        if names.len() > CustomField::ALL.len() {
            return Err(CustomNamesError::TooMany(names.len()));
        }
        let mut all = CustomNames::default();
        for (name, field) in names.iter().zip(CustomField::ALL) {
            let lower = name.to_lowercase();
            let is_fit = name.trim() == name
                && name.chars().count() <= NAME_MAX
                && !name.chars().any(|c| c.is_control() || c == '=')
                && !taken.contains(&lower.as_str())
                && !all.0.iter().flatten().any(|other| other.to_lowercase() == lower)
                && !CustomField::ALL.iter().any(|other| *other != field && other.key() == lower);
            if !is_fit {
                return Err(CustomNamesError::Unfit { name: name.clone() });
            }
            if let Some(place) = all.0.get_mut(field as usize) {
                *place = Some(name.clone()).filter(|name| !name.is_empty());
            }
        }
        Ok(all)
    }

    /// What people see.
    #[must_use]
    pub fn of(&self, field: CustomField) -> &str {
        self.0.get(field as usize).and_then(Option::as_deref).unwrap_or(field.key())
    }

    /// The field of this name, capitals or not.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<CustomField> {
        let lower = name.to_lowercase();
        CustomField::ALL.into_iter().find(|field| self.of(*field).to_lowercase() == lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_one_value_and_an_empty_one_is_none() {
        let mut fields = CustomFields::default();
        assert!(fields.set(CustomField::Tag2, "AB-12") && !fields.set(CustomField::Tag2, "AB-12"));
        assert_eq!((fields.of(CustomField::Tag2), fields.of(CustomField::Tag1)), (Some("AB-12"), None));
        let written = serde_json::to_string(&fields).expect("JSON");
        assert_eq!(written, r#"{"tag2":"AB-12"}"#);
        assert_eq!(serde_json::from_str::<CustomFields>(&written).expect("reads"), fields);
        assert!(fields.set(CustomField::Tag2, "") && fields.is_empty());
        for field in CustomField::ALL {
            assert_eq!(CustomField::numbered(field.number()), Some(field));
        }
        assert_eq!([0, 6].map(CustomField::numbered), [None, None]);
    }

    #[test]
    fn names_are_told_apart_and_a_field_without_one_keeps_its_key() {
        let names = |list: &[&str]| {
            let list: Vec<String> = list.iter().map(|name| (*name).to_owned()).collect();
            CustomNames::new(&list, &["agent"])
        };
        let some = names(&["Claim", "", "Kunde"]).expect("names");
        assert_eq!(CustomField::ALL.map(|field| some.of(field)), ["Claim", "tag2", "Kunde", "tag4", "tag5"]);
        assert_eq!(
            (some.field("claim"), some.field("TAG2")),
            (Some(CustomField::Tag1), Some(CustomField::Tag2))
        );
        assert_eq!((some.field("tag1"), some.field("agent")), (None, None));
        for wrong in [&["Claim", "claim"][..], &["Agent"], &["a=b"], &["a\n"], &["tag2"], &[" a"]] {
            assert!(matches!(names(wrong), Err(CustomNamesError::Unfit { .. })), "{wrong:?}");
        }
        assert_eq!(names(&["a", "b", "c", "d", "e", "f"]), Err(CustomNamesError::TooMany(6)));
    }
}
