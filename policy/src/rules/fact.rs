//! What is known of one extension's part in a call, as far as rules ask for it, and how it changes.
//!
//! The signalling gives the first facts; a PBX, a CTI gateway or a person may add to them at any time of the call. What is not
//! known is not guessed: a rule about it does not match.

use std::collections::BTreeSet;
use std::fmt;

use decode::Timestamp;
use serde::{Deserialize, Serialize};

use crate::custom::{CustomField, CustomFields};
use crate::outcome::{Direction, Source};
use crate::people::Who;
use crate::site::Site;

/// The longest value of a fact, in bytes.
pub const FACT_LEN_MAX: usize = 256;
/// Tags of one segment.
pub const TAGS_MAX: usize = 32;

/// What rules can ask of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentFacts {
    /// The recorded device's number.
    pub extension: String,
    /// The other side's number, also of an internal call; its host when it has none.
    pub other_party: String,
    /// The number outside, cleaned by the dial plan; none of an internal call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside_number: Option<String>,
    /// The same in E.164, where the dial plan names a country whose rules make one of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside_e164: Option<String>,
    /// Which way the call goes.
    pub direction: Direction,
    /// The number that was dialled from outside, cleaned by the dial plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ddi: Option<String>,
    /// The last account code entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_code: Option<String>,
    /// Who is logged in at the extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The group that the call came through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hunt_group: Option<String>,
    /// The line to the public network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<String>,
    /// The user and the unit of the business that the segment counts for.
    #[serde(default, skip_serializing_if = "Who::is_nobody")]
    pub who: Who,
    /// A unit that somebody outside has named: it goes before the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named_unit: Option<String>,
    /// What the telephone system calls the number that was dialled from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ddi_name: Option<String>,
    /// Who the outside number belongs to, by the telephone system's or somebody's list of contacts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// The extension that passed the call on to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transferred_from: Option<String>,
    /// The other party's name, once signalling says that it is another party than at the beginning; empty where it gives no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_party_name: Option<String>,
    /// Tags, in order.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// The five fields that the site fills as it likes.
    #[serde(default, skip_serializing_if = "CustomFields::is_empty")]
    pub fields: CustomFields,
    /// How the audio comes here.
    pub source: Source,
    /// When the segment began.
    pub started: Timestamp,
}

/// One thing that becomes known of a segment. An empty value says that it is not so any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// An account code was entered; the last one counts.
    AccountCode(String),
    /// An agent logged in at the extension, or off it.
    Agent(String),
    /// The number that was dialled from outside.
    Ddi(String),
    /// The number outside.
    OutsideNumber(String),
    /// The same two as a field filled with zeros has them: zeros that the number begins with are lost. What is known whole stays.
    PaddedDdi(String),
    /// See [`Fact::PaddedDdi`].
    PaddedOutsideNumber(String),
    /// The group that the call came through.
    HuntGroup(String),
    /// The line to the public network.
    Trunk(String),
    /// The unit of the business; it goes before the user's own.
    BusinessUnit(String),
    /// What the number that was dialled from outside is called.
    DdiName(String),
    /// Who the outside number belongs to.
    Contact(String),
    /// The extension that passed the call on.
    TransferredFrom(String),
    /// The name of whom signalling says the other party to be now; an empty one is none.
    OtherPartyName(String),
    /// Which way the call goes.
    Direction(Direction),
    /// A tag was put on.
    Tag(String),
    /// A tag was taken off.
    Untag(String),
    /// One of the five fields was filled.
    Field(CustomField, String),
}

/// The fact was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactRefusal {
    /// Its value is too long; cut, it could match another rule.
    #[error("the value of a fact may have {FACT_LEN_MAX} bytes")]
    TooLong,
    /// There are too many tags.
    #[error("a segment has {TAGS_MAX} tags at most")]
    TooManyTags,
    /// The call is over, or was never seen.
    #[error("no such call is running")]
    NoSuchCall,
    /// Too many facts came for a call before its first audio.
    #[error("too many facts came for a call that is not judged yet")]
    TooEarly,
}

impl Fact {
    /// Its name, as reports and the ledger write it.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Fact::AccountCode(_) => "account_code",
            Fact::Agent(_) => "agent",
            Fact::Ddi(_) | Fact::PaddedDdi(_) => "ddi",
            Fact::OutsideNumber(_) | Fact::PaddedOutsideNumber(_) => "outside_number",
            Fact::HuntGroup(_) => "hunt_group",
            Fact::Trunk(_) => "trunk",
            Fact::BusinessUnit(_) => "business_unit",
            Fact::DdiName(_) => "ddi_name",
            Fact::Contact(_) => "contact",
            Fact::TransferredFrom(_) => "transferred_from",
            Fact::OtherPartyName(_) => "other_party_name",
            Fact::Direction(_) => "direction",
            Fact::Tag(_) => "tag",
            Fact::Untag(_) => "untag",
            Fact::Field(field, _) => field.key(),
        }
    }

    /// What it says.
    #[must_use]
    pub fn value(&self) -> &str {
        match self {
            Fact::AccountCode(value)
            | Fact::Agent(value)
            | Fact::Ddi(value)
            | Fact::OutsideNumber(value)
            | Fact::PaddedDdi(value)
            | Fact::PaddedOutsideNumber(value)
            | Fact::HuntGroup(value)
            | Fact::Trunk(value)
            | Fact::BusinessUnit(value)
            | Fact::DdiName(value)
            | Fact::Contact(value)
            | Fact::TransferredFrom(value)
            | Fact::OtherPartyName(value)
            | Fact::Tag(value)
            | Fact::Untag(value)
            | Fact::Field(_, value) => value,
            Fact::Direction(direction) => direction.key(),
        }
    }
}

/// In words, as a judgement's steps have it.
impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Fact::Ddi(_) | Fact::PaddedDdi(_) => "DDI",
            Fact::DdiName(_) => "DDI name",
            Fact::Untag(_) => "no tag",
            fact => return write!(f, "{} {}", fact.key().replace('_', " "), fact.value()),
        };
        write!(f, "{words} {}", self.value())
    }
}

impl SegmentFacts {
    /// Takes a fact; says whether anything is different now. Numbers are cleaned by the site's dial plan, as signalled ones are. What
    /// follows from the fact is changed too: the outside number's E.164 form, and whether there is a number outside at all.
    ///
    /// # Errors
    /// [`FactRefusal::TooLong`], [`FactRefusal::TooManyTags`]: nothing has changed.
    pub fn take(&mut self, fact: Fact, site: &Site) -> Result<bool, FactRefusal> {
        if fact.value().len() > FACT_LEN_MAX {
            return Err(FactRefusal::TooLong);
        }
        let (place, value) = match fact {
            Fact::AccountCode(value) => (&mut self.account_code, value),
            Fact::Agent(value) => (&mut self.agent, value),
            Fact::PaddedDdi(value) if self.is_known_ddi(&value, site) => return Ok(false),
            Fact::Ddi(value) | Fact::PaddedDdi(value) => (&mut self.ddi, site.clean_ddi(&value)),
            Fact::HuntGroup(value) => (&mut self.hunt_group, value),
            Fact::Trunk(value) => (&mut self.trunk, value),
            Fact::BusinessUnit(value) => (&mut self.named_unit, value),
            Fact::DdiName(value) => (&mut self.ddi_name, value),
            Fact::Contact(value) => (&mut self.contact, value),
            Fact::TransferredFrom(value) => (&mut self.transferred_from, value),
            Fact::OtherPartyName(value) => {
                let before = self.other_party_name.replace(value);
                return Ok(before != self.other_party_name);
            }
            Fact::OutsideNumber(value) if value.is_empty() => return Ok(self.set_outside(None, site)),
            Fact::PaddedOutsideNumber(value) if self.is_known_outside(&value, site) => return Ok(false),
            Fact::OutsideNumber(value) | Fact::PaddedOutsideNumber(value) => {
                return Ok(self.tell_outside(&value, site));
            }
            Fact::Direction(direction) => return Ok(self.set_direction(direction, site)),
            Fact::Tag(tag) if self.tags.len() >= TAGS_MAX && !self.tags.contains(&tag) => {
                return Err(FactRefusal::TooManyTags);
            }
            Fact::Tag(tag) => return Ok(!tag.is_empty() && self.tags.insert(tag)),
            Fact::Untag(tag) => return Ok(self.tags.remove(&tag)),
            Fact::Field(field, value) => return Ok(self.fields.set(field, &value)),
        };
        let value = Some(value).filter(|value| !value.is_empty());
        let is_new = *place != value;
        *place = value;
        Ok(is_new)
    }

    /// An internal call has no number outside, and a call that turns out to be none gets its own back. What was dialled to the outside is
    /// cleaned when it turns out to have been.
    fn set_direction(&mut self, direction: Direction, site: &Site) -> bool {
        let before = std::mem::replace(&mut self.direction, direction);
        let signalled = |direction| site.clean_outside(&self.other_party, direction);
        let number = match (&self.outside_number, direction) {
            (_, Direction::Internal) => None,
            (None, _) => Some(signalled(direction)),
            (Some(_), _) if before == direction => return false,
            (Some(number), _) if *number == signalled(before) => Some(signalled(direction)),
            (Some(number), _) => Some(site.clean_outside(number, direction)),
        };
        self.set_outside(number, site) || before != direction
    }

    /// A number outside, as somebody writes it: what is the known one in another form replaces nothing, since rules may ask for the
    /// known one's.
    fn tell_outside(&mut self, number: &str, site: &Site) -> bool {
        // What is known is clean: cleaned once more it might lose digits of its own.
        if self.outside_number.as_deref() == Some(number) {
            return false;
        }
        let number = site.clean_outside(number, self.direction);
        if self.outside_e164.is_some() && site.e164(&number) == self.outside_e164 {
            return false;
        }
        self.set_outside(Some(number), site)
    }

    fn is_known_outside(&self, padded: &str, site: &Site) -> bool {
        let forms = [padded.to_owned(), site.clean_outside(padded, self.direction)];
        self.outside_number.as_deref().is_some_and(|known| forms.iter().any(|form| is_padded(form, known)))
    }

    fn is_known_ddi(&self, padded: &str, site: &Site) -> bool {
        let forms = [padded.to_owned(), site.clean_ddi(padded)];
        self.ddi.as_deref().is_some_and(|known| forms.iter().any(|form| is_padded(form, known)))
    }

    fn set_outside(&mut self, number: Option<String>, site: &Site) -> bool {
        let is_new = self.outside_number != number;
        self.outside_e164 = number.as_deref().and_then(|number| site.e164(number));
        self.outside_number = number;
        is_new
    }
}

/// Is this the number once zeros, and a plus that no such field has room for, are lost at its beginning?
fn is_padded(padded: &str, number: &str) -> bool {
    let bare = |number: &'_ str| number.trim_start_matches(['+', '0']).to_owned();
    bare(padded) == bare(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::segment;

    #[test]
    fn the_last_value_counts_and_an_empty_one_takes_it_back() {
        let site = Site::default();
        let mut facts = segment("2000", "01632960001", Direction::Outbound);
        assert_eq!(facts.take(Fact::AccountCode("77".into()), &site), Ok(true));
        assert_eq!(facts.take(Fact::AccountCode("77".into()), &site), Ok(false));
        assert_eq!(facts.take(Fact::AccountCode("78".into()), &site), Ok(true));
        assert_eq!(facts.account_code.as_deref(), Some("78"));
        assert_eq!(facts.take(Fact::AccountCode(String::new()), &site), Ok(true));
        assert_eq!(facts.account_code, None);
        assert_eq!(facts.take(Fact::Direction(Direction::Outbound), &site), Ok(false));
        let field = |value: &str| Fact::Field(CustomField::Tag2, value.into());
        assert_eq!([facts.take(field("AB"), &site), facts.take(field("AB"), &site)], [Ok(true), Ok(false)]);
        assert_eq!(facts.fields.of(CustomField::Tag2), Some("AB"));
        assert_eq!((facts.take(field(""), &site), facts.fields.is_empty()), (Ok(true), true));
    }

    #[test]
    fn what_is_too_long_or_too_many_changes_nothing() {
        let site = Site::default();
        let mut facts = segment("2000", "01632960001", Direction::Outbound);
        let before = facts.clone();
        assert_eq!(facts.take(Fact::Agent("9".repeat(FACT_LEN_MAX + 1)), &site), Err(FactRefusal::TooLong));
        let long = Fact::Field(CustomField::Tag1, "9".repeat(FACT_LEN_MAX + 1));
        assert_eq!(facts.take(long, &site), Err(FactRefusal::TooLong));
        assert_eq!(facts, before);
        for n in 0..TAGS_MAX {
            assert_eq!(facts.take(Fact::Tag(format!("tag {n}")), &site), Ok(true));
        }
        assert_eq!(facts.take(Fact::Tag("one more".into()), &site), Err(FactRefusal::TooManyTags));
        assert_eq!(facts.take(Fact::Tag("tag 0".into()), &site), Ok(false));
    }

    #[test]
    fn an_internal_call_has_no_outside_number_and_gets_its_own_back_in_both_forms() {
        let plan = crate::DialPlan::default().in_country("GB", "01632").expect("a country");
        let site = Site { dial_plan: Some(plan), ..Site::default() };
        let mut facts = segment("2000", "02079460018", Direction::Outbound);
        assert_eq!(facts.take(Fact::Direction(Direction::Internal), &site), Ok(true));
        assert_eq!((facts.outside_number.as_deref(), facts.outside_e164.as_deref()), (None, None));
        assert_eq!(facts.take(Fact::Direction(Direction::Outbound), &site), Ok(true));
        let (number, e164) = (Some("02079460018"), Some("+442079460018"));
        assert_eq!((facts.outside_number.as_deref(), facts.outside_e164.as_deref()), (number, e164));
        assert_eq!(facts.take(Fact::OutsideNumber("02079460019".into()), &site), Ok(true));
        assert_eq!(facts.outside_e164.as_deref(), Some("+442079460019"));
    }

    /// A site that dials 9 before outside numbers, and whose trunk cuts DDIs short.
    fn dialling() -> Site {
        let plan = crate::DialPlan::default().with_ddi_prefix("01632").expect("digits");
        let plan = plan.with_outbound_prefixes(&["9".into()]).expect("digits");
        Site { dial_plan: Some(plan.in_country("GB", "01632").expect("a country")), ..Site::default() }
    }

    fn outside(number: &str) -> Fact {
        Fact::OutsideNumber(number.into())
    }

    #[test]
    fn a_told_number_is_cleaned_as_a_signalled_one_is() {
        let mut facts = segment("2000", "02079460018", Direction::Outbound);
        facts.ddi = Some("01632960500".into());
        let site = dialling();
        assert_eq!(facts.take(outside("902079460018"), &site), Ok(false), "dialled");
        assert_eq!(facts.take(outside("902079460019"), &site), Ok(true));
        assert_eq!(facts.outside_number.as_deref(), Some("02079460019"));
        assert_eq!(facts.take(Fact::Ddi("960500".into()), &site), Ok(false), "cut short");
        assert_eq!(facts.take(Fact::Ddi("960501".into()), &site), Ok(true));
        assert_eq!(facts.ddi.as_deref(), Some("01632960501"));
        assert_eq!(facts.take(Fact::Ddi(String::new()), &site), Ok(true));
        assert_eq!(facts.ddi, None);
    }

    #[test]
    fn the_known_number_in_another_form_replaces_nothing() {
        let site = dialling();
        let mut facts = segment("2000", "02079460018", Direction::Inbound);
        facts.take(Fact::Direction(Direction::Outbound), &site).expect("taken");
        for form in ["02079460018", "+442079460018", "020 7946 0018", "00442079460018"] {
            assert_eq!(facts.take(outside(form), &site), Ok(false), "{form}");
        }
        assert_eq!(facts.outside_number.as_deref(), Some("02079460018"));
        // One that begins as if a prefix stood before it is not cleaned again.
        let mut facts = segment("2000", "99123456", Direction::Outbound);
        facts.outside_number = Some("9123456".into());
        assert_eq!(facts.take(outside("9123456"), &site), Ok(false));
    }

    #[test]
    fn zeros_lost_to_padding_replace_nothing() {
        let padded = |number: &str| Fact::PaddedOutsideNumber(number.into());
        for site in [Site::default(), dialling()] {
            let mut facts = segment("2000", "01632960001", Direction::Outbound);
            facts.ddi = Some("01632960500".into());
            let before = facts.clone();
            for fact in [padded("1632960001"), padded("01632960001"), Fact::PaddedDdi("1632960500".into())] {
                assert_eq!(facts.take(fact.clone(), &site), Ok(false), "{fact}");
            }
            assert_eq!(facts, before);
            assert_eq!(facts.take(padded("1632960002"), &site), Ok(true), "another one");
            // Where it is told whole it counts as it is.
            assert_eq!(facts.take(outside("01632960002"), &site), Ok(true));
        }
        let mut facts = segment("2000", "01632960001", Direction::Outbound);
        assert_eq!(
            facts.take(padded("901632960001"), &dialling()),
            Ok(false),
            "with what was dialled before it"
        );
    }

    #[test]
    fn a_number_that_turns_out_to_be_dialled_is_cleaned_then_and_only_once() {
        let site = dialling();
        let mut facts = segment("2000", "9912345678", Direction::Unknown);
        let number = |facts: &SegmentFacts| facts.outside_number.clone().unwrap_or_default();
        for _ in 0..3 {
            assert_eq!(facts.take(Fact::Direction(Direction::Outbound), &site), Ok(true));
            assert_eq!(number(&facts), "912345678");
            assert_eq!(facts.take(Fact::Direction(Direction::Inbound), &site), Ok(true));
            assert_eq!(number(&facts), "9912345678");
        }
        // So is one that was told.
        let mut facts = segment("2000", "01632960001", Direction::Unknown);
        facts.take(outside("901632960009"), &site).expect("taken");
        assert_eq!(number(&facts), "901632960009");
        facts.take(Fact::Direction(Direction::Outbound), &site).expect("taken");
        assert_eq!(number(&facts), "01632960009");
    }
}
