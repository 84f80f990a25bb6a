//! Recordings as filters of access ask for them: facts and rows beside search records. The three say the same of a recording.

use policy::{CustomField, Field, Segment};

use crate::{RecordingFacts, Row};

/// What the facts of a recording say. They know no rating, and nothing of a deletion; a [`Row`] does.
impl Segment for RecordingFacts {
    fn value(&self, field: Field) -> &str {
        fn known(text: &Option<String>) -> &str {
            text.as_deref().unwrap_or_default()
        }
        let custom = |field| self.fields.of(field).unwrap_or_default();
        match field {
            Field::Extension => &self.extension,
            Field::ExtensionName => known(&self.extension_name),
            Field::OutsideNumber => known(&self.outside_number),
            Field::OtherParty => known(&self.other_party),
            Field::OtherPartyName => known(&self.other_party_name),
            Field::User => known(&self.user),
            Field::Agent => known(&self.agent),
            Field::AccountCode => known(&self.account_code),
            Field::HuntGroup => known(&self.hunt_group),
            Field::Trunk => known(&self.trunk),
            Field::Ddi => known(&self.ddi),
            Field::Call => &self.call,
            Field::UserName => known(&self.user_name),
            Field::Site => known(&self.site),
            Field::Tag1 => custom(CustomField::Tag1),
            Field::Tag2 => custom(CustomField::Tag2),
            Field::Tag3 => custom(CustomField::Tag3),
            Field::Tag4 => custom(CustomField::Tag4),
            Field::Tag5 => custom(CustomField::Tag5),
            Field::DdiName => known(&self.ddi_name),
            Field::Contact => known(&self.contact),
            Field::TransferredFrom => known(&self.transferred_from),
            Field::Direction => self.direction.key(),
            Field::State => self.state.key(),
            Field::Source => self.source.key(),
            Field::Held => yes(self.held),
            Field::Deleted => yes(false),
            Field::Tag | Field::BusinessUnit | Field::Rating => "",
        }
    }

    fn tags(&self) -> impl Iterator<Item = &str> + Clone {
        self.tags.iter().map(String::as_str)
    }

    fn units(&self) -> impl Iterator<Item = &str> + Clone {
        RecordingFacts::units(self)
    }

    fn duration_ms(&self) -> u64 {
        self.duration_ms
    }
}

impl Segment for Row {
    fn value(&self, field: Field) -> &str {
        match field {
            Field::Rating => self.rating.map_or("", stars),
            Field::Deleted => yes(self.deleted.is_some()),
            field => self.facts.value(field),
        }
    }

    fn tags(&self) -> impl Iterator<Item = &str> + Clone {
        Segment::tags(&self.facts)
    }

    fn units(&self) -> impl Iterator<Item = &str> + Clone {
        self.facts.units()
    }

    fn duration_ms(&self) -> u64 {
        self.facts.duration_ms
    }
}

fn yes(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}

/// The numbers of stars as texts; empty for none.
const STARS: [&str; 6] = ["", "1", "2", "3", "4", "5"];

/// The number of stars as a text.
pub(super) fn stars(number: u8) -> &'static str {
    STARS.get(usize::from(number)).copied().unwrap_or_default()
}

/// The number of stars that a text says.
pub(super) fn stars_in(text: &str) -> u16 {
    STARS.iter().position(|stars| *stars == text).unwrap_or_default() as u16
}
