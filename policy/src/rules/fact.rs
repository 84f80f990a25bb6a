//! What is known of one extension's part in a call, as far as rules ask for it, and how it changes.
//!
//! The signalling gives the first facts; a PBX, a CTI gateway or a person may add to them at any time of the call. What is not
//! known is not guessed: a rule about it does not match.

use std::collections::BTreeSet;

use decode::Timestamp;

use crate::custom::{CustomField, CustomFields};
use crate::outcome::{Direction, Source};
use crate::people::Who;

/// The longest value of a fact, in bytes.
pub const FACT_LEN_MAX: usize = 256;
/// Tags of one segment.
pub const TAGS_MAX: usize = 32;

/// What rules can ask of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    /// The recorded device's number.
    pub extension: String,
    /// The other side's number, also of an internal call; its host when it has none.
    pub other_party: String,
    /// The number outside, cleaned by the dial plan; none of an internal call.
    pub outside_number: Option<String>,
    /// The same in E.164, where the dial plan names a country whose rules make one of it.
    pub outside_e164: Option<String>,
    /// Which way the call goes.
    pub direction: Direction,
    /// The number that was dialled from outside, cleaned by the dial plan.
    pub ddi: Option<String>,
    /// The last account code entered.
    pub account_code: Option<String>,
    /// Who is logged in at the extension.
    pub agent: Option<String>,
    /// The group that the call came through.
    pub hunt_group: Option<String>,
    /// The line to the public network.
    pub trunk: Option<String>,
    /// The user and the unit of the business that the segment counts for.
    pub who: Who,
    /// A unit that somebody outside has named: it goes before the user's.
    pub named_unit: Option<String>,
    /// Tags, in order.
    pub tags: BTreeSet<String>,
    /// The five fields that the site fills as it likes.
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
    /// The group that the call came through.
    HuntGroup(String),
    /// The line to the public network.
    Trunk(String),
    /// The unit of the business; it goes before the user's own.
    BusinessUnit(String),
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

impl SegmentFacts {
    /// Takes a fact; says whether anything is different now.
    ///
    /// # Errors
    /// [`FactRefusal::TooLong`], [`FactRefusal::TooManyTags`]: nothing has changed.
    pub fn take(&mut self, fact: Fact) -> Result<bool, FactRefusal> {
        let (place, value) = match fact {
            Fact::AccountCode(value) => (&mut self.account_code, value),
            Fact::Agent(value) => (&mut self.agent, value),
            Fact::Ddi(value) => (&mut self.ddi, value),
            Fact::OutsideNumber(value) => (&mut self.outside_number, value),
            Fact::HuntGroup(value) => (&mut self.hunt_group, value),
            Fact::Trunk(value) => (&mut self.trunk, value),
            Fact::BusinessUnit(value) => (&mut self.named_unit, value),
            Fact::Direction(direction) => {
                return Ok(std::mem::replace(&mut self.direction, direction) != direction);
            }
            Fact::Tag(tag) if tag.len() > FACT_LEN_MAX => return Err(FactRefusal::TooLong),
            Fact::Tag(tag) if self.tags.len() >= TAGS_MAX && !self.tags.contains(&tag) => {
                return Err(FactRefusal::TooManyTags);
            }
            Fact::Tag(tag) => return Ok(!tag.is_empty() && self.tags.insert(tag)),
            Fact::Untag(tag) => return Ok(self.tags.remove(&tag)),
            Fact::Field(_, value) if value.len() > FACT_LEN_MAX => return Err(FactRefusal::TooLong),
            Fact::Field(field, value) => return Ok(self.fields.set(field, &value)),
        };
        if value.len() > FACT_LEN_MAX {
            return Err(FactRefusal::TooLong);
        }
        let value = Some(value).filter(|value| !value.is_empty());
        let is_new = *place != value;
        *place = value;
        Ok(is_new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::segment;

    #[test]
    fn the_last_value_counts_and_an_empty_one_takes_it_back() {
        let mut facts = segment("2000", "01632960001", Direction::Outbound);
        assert_eq!(facts.take(Fact::AccountCode("77".into())), Ok(true));
        assert_eq!(facts.take(Fact::AccountCode("77".into())), Ok(false));
        assert_eq!(facts.take(Fact::AccountCode("78".into())), Ok(true));
        assert_eq!(facts.account_code.as_deref(), Some("78"));
        assert_eq!(facts.take(Fact::AccountCode(String::new())), Ok(true));
        assert_eq!(facts.account_code, None);
        assert_eq!(facts.take(Fact::Direction(Direction::Outbound)), Ok(false));
        let field = |value: &str| Fact::Field(CustomField::Tag2, value.into());
        assert_eq!([facts.take(field("AB")), facts.take(field("AB"))], [Ok(true), Ok(false)]);
        assert_eq!(facts.fields.of(CustomField::Tag2), Some("AB"));
        assert_eq!((facts.take(field("")), facts.fields.is_empty()), (Ok(true), true));
    }

    #[test]
    fn what_is_too_long_or_too_many_changes_nothing() {
        let mut facts = segment("2000", "01632960001", Direction::Outbound);
        let before = facts.clone();
        assert_eq!(facts.take(Fact::Agent("9".repeat(FACT_LEN_MAX + 1))), Err(FactRefusal::TooLong));
        let long = Fact::Field(CustomField::Tag1, "9".repeat(FACT_LEN_MAX + 1));
        assert_eq!(facts.take(long), Err(FactRefusal::TooLong));
        assert_eq!(facts, before);
        for n in 0..TAGS_MAX {
            assert_eq!(facts.take(Fact::Tag(format!("tag {n}"))), Ok(true));
        }
        assert_eq!(facts.take(Fact::Tag("one more".into())), Err(FactRefusal::TooManyTags));
        assert_eq!(facts.take(Fact::Tag("tag 0".into())), Ok(false));
    }
}
