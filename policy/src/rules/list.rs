//! One rule of the inclusion or exclusion list (requirement rows EXC-01 and EXC-04): a type, a value, a description.

use std::fmt;

use decode::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::fact::SegmentFacts;
use super::hours::{Hours, wall_text};
use crate::outcome::Direction;
use crate::pattern::Pattern;

/// Rules of one list.
pub const RULES_MAX: usize = 1_000;
/// The longest description, in bytes.
const DESCRIPTION_MAX: usize = 200;

/// Which fact a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleType {
    /// The account code. Text.
    AccountCode,
    /// The agent at the extension. Numbers.
    Agent,
    /// The number that was dialled from outside. Text.
    Ddi,
    /// The number outside, as it was dialled and cleaned, or in E.164. Text.
    OutsideNumber,
    /// The recorded device's number. Numbers.
    Endpoint,
    /// The other side's number, also of an internal call. Numbers.
    OtherParty,
    /// The group that the call came through. Numbers.
    HuntGroup,
    /// The line to the public network. Numbers.
    Trunk,
    /// `inbound`, `outbound`, `internal`, `unknown`; several with commas.
    Direction,
    /// The unit of the business, or one above it. Text.
    BusinessUnit,
    /// Any tag. Text.
    Tag,
    /// When the segment began: hours of the week ([`Hours`]).
    Time,
}

impl RuleType {
    /// Every type.
    pub const ALL: [RuleType; 12] = [
        RuleType::AccountCode,
        RuleType::Agent,
        RuleType::Ddi,
        RuleType::OutsideNumber,
        RuleType::Endpoint,
        RuleType::OtherParty,
        RuleType::HuntGroup,
        RuleType::Trunk,
        RuleType::Direction,
        RuleType::BusinessUnit,
        RuleType::Tag,
        RuleType::Time,
    ];

    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            RuleType::AccountCode => "account code",
            RuleType::Agent => "agent",
            RuleType::Ddi => "DDI",
            RuleType::OutsideNumber => "outside number",
            RuleType::Endpoint => "endpoint",
            RuleType::OtherParty => "other party",
            RuleType::HuntGroup => "hunt group",
            RuleType::Trunk => "trunk",
            RuleType::Direction => "direction",
            RuleType::BusinessUnit => "business unit",
            RuleType::Tag => "tag",
            RuleType::Time => "time",
        }
    }

    const fn is_numeric(self) -> bool {
        use RuleType::{Agent, Endpoint, HuntGroup, OtherParty, Trunk};
        matches!(self, Agent | Endpoint | OtherParty | HuntGroup | Trunk)
    }
}

/// A rule; prints as its type and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRule {
    kind: RuleType,
    value: Value,
    description: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Pattern(Pattern),
    Directions(Vec<Direction>, String),
    Hours(Hours),
}

/// The rule cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rule on {}: {problem}", .kind.words())]
pub struct RuleError {
    kind: RuleType,
    problem: String,
}

impl ListRule {
    /// Reads its value, in the grammar of its type.
    ///
    /// # Errors
    /// [`RuleError`] says what cannot be meant.
    pub fn new(kind: RuleType, value: &str, description: &str) -> Result<ListRule, RuleError> {
        let error = |problem: String| RuleError { kind, problem };
        if description.len() > DESCRIPTION_MAX {
            return Err(error(format!("its description is longer than {DESCRIPTION_MAX} bytes")));
        }
        let value = match kind {
            RuleType::Direction => Value::Directions(directions(value).map_err(error)?, value.to_owned()),
            RuleType::Time => Value::Hours(Hours::new(value).map_err(error)?),
            _ if kind.is_numeric() => Value::Pattern(value.parse().map_err(|e| error(format!("{e}")))?),
            _ => Value::Pattern(Pattern::of_text(value).map_err(|e| error(e.to_string()))?),
        };
        Ok(ListRule { kind, value, description: description.to_owned() })
    }

    /// Which fact it is about.
    #[must_use]
    pub fn kind(&self) -> RuleType {
        self.kind
    }

    /// Does it match? What is not known matches no rule, not even one that only says what must not be there.
    #[must_use]
    pub fn matches(&self, facts: &SegmentFacts, zone: &TimeZone) -> bool {
        match &self.value {
            Value::Directions(directions, _) => directions.contains(&facts.direction),
            Value::Hours(hours) => hours.contains(facts.started, zone),
            Value::Pattern(pattern) if self.kind == RuleType::Tag => {
                !facts.tags.is_empty() && pattern.matches_any(facts.tags.iter().map(String::as_str))
            }
            Value::Pattern(pattern) if self.kind == RuleType::OutsideNumber => {
                let forms = [&facts.outside_number, &facts.outside_e164];
                let mut known = forms.into_iter().flatten().map(String::as_str).peekable();
                known.peek().is_some() && pattern.matches_any(known)
            }
            // A unit includes those below it.
            Value::Pattern(pattern) if self.kind == RuleType::BusinessUnit => {
                facts.who.unit.is_some() && pattern.matches_any(facts.who.units())
            }
            Value::Pattern(pattern) => known(self.kind, facts).is_some_and(|value| pattern.matches(value)),
        }
    }

    /// The fact that it asks for, in words.
    #[must_use]
    pub fn fact(&self, facts: &SegmentFacts, zone: &TimeZone) -> String {
        fact_text(self.kind, facts, facts.started, zone)
    }
}

/// The value that a type is about, where there is one.
fn known(kind: RuleType, facts: &SegmentFacts) -> Option<&str> {
    let value = match kind {
        RuleType::AccountCode => facts.account_code.as_deref(),
        RuleType::Agent => facts.agent.as_deref(),
        RuleType::Ddi => facts.ddi.as_deref(),
        RuleType::OutsideNumber => facts.outside_number.as_deref(),
        RuleType::Endpoint => Some(facts.extension.as_str()),
        RuleType::OtherParty => Some(facts.other_party.as_str()),
        RuleType::HuntGroup => facts.hunt_group.as_deref(),
        RuleType::Trunk => facts.trunk.as_deref(),
        RuleType::BusinessUnit => facts.who.unit.as_deref(),
        RuleType::Direction | RuleType::Tag | RuleType::Time => None,
    };
    value.filter(|value| !value.is_empty())
}

fn fact_text(kind: RuleType, facts: &SegmentFacts, at: Timestamp, zone: &TimeZone) -> String {
    let value = match kind {
        RuleType::Direction => facts.direction.key().to_owned(),
        RuleType::Time => wall_text(at, zone),
        RuleType::Tag => facts.tags.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
        _ => known(kind, facts).unwrap_or_default().to_owned(),
    };
    if value.is_empty() { format!("no {} known", kind.words()) } else { format!("{} {value}", kind.words()) }
}

fn directions(value: &str) -> Result<Vec<Direction>, String> {
    let named = |word: &str| Direction::ALL.into_iter().find(|direction| direction.key() == word);
    let read = |word: &str| named(word.trim()).ok_or_else(|| format!("{word:?} is no direction"));
    value.split(',').map(read).collect()
}

impl fmt::Display for ListRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind.words())?;
        match &self.value {
            Value::Pattern(pattern) => pattern.fmt(f)?,
            Value::Directions(_, text) => f.write_str(text)?,
            Value::Hours(hours) => hours.fmt(f)?,
        }
        if self.description.is_empty() { Ok(()) } else { write!(f, " ({})", self.description) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::segment;

    fn matches(kind: RuleType, value: &str, facts: &SegmentFacts) -> bool {
        ListRule::new(kind, value, "").expect("a rule").matches(facts, &TimeZone::UTC)
    }

    #[test]
    fn each_type_asks_its_own_fact() {
        let mut facts = segment("2000", "01632960001", Direction::Outbound);
        facts.account_code = Some("77".into());
        facts.agent = Some("1021".into());
        facts.ddi = Some("01632960500".into());
        facts.hunt_group = Some("2500".into());
        facts.trunk = Some("97201".into());
        facts.who.unit = Some("Sales".into());
        facts.who.units_above = vec!["Trade".into()];
        facts.tags.insert("claim 7".into());
        facts.started = Timestamp::from_millis(1_704_067_200_000);
        for (kind, yes, no) in [
            (RuleType::AccountCode, "7%", "8%"),
            (RuleType::Agent, "1020-1030", "1022+"),
            (RuleType::Ddi, "01632960500", "01632960001"),
            (RuleType::OutsideNumber, "01632%", "01632960500"),
            (RuleType::Endpoint, "2000-2009,!2003", "!2000"),
            (RuleType::OtherParty, "01632960001", "2000"),
            (RuleType::HuntGroup, "2001,2003-2500", "2501+"),
            (RuleType::Trunk, "97201", "97202"),
            (RuleType::Direction, "inbound, outbound", "inbound,internal,unknown"),
            (RuleType::BusinessUnit, "Sales", "sales"),
            (RuleType::BusinessUnit, "Trade", "Sales,!Trade"),
            (RuleType::Tag, "claim%", "vip"),
            (RuleType::Time, "Mon 00:00-01:00", "Tue 00:00-01:00"),
        ] {
            assert!(matches(kind, yes, &facts), "{kind:?} {yes}");
            assert!(!matches(kind, no, &facts), "{kind:?} {no}");
        }
    }

    #[test]
    fn an_outside_number_matches_in_either_form() {
        let mut facts = segment("2000", "02079460018", Direction::Outbound);
        facts.outside_e164 = Some("+442079460018".into());
        assert!(matches(RuleType::OutsideNumber, "020%", &facts));
        assert!(matches(RuleType::OutsideNumber, "+4420%", &facts));
        assert!(!matches(RuleType::OutsideNumber, "%,!020%", &facts));
    }

    #[test]
    fn what_is_not_known_matches_no_rule() {
        let facts = segment("2000", "2001", Direction::Internal);
        for kind in RuleType::ALL {
            if matches!(
                kind,
                RuleType::Endpoint | RuleType::OtherParty | RuleType::Direction | RuleType::Time
            ) {
                continue;
            }
            assert!(!matches(kind, "!5", &facts) && !matches(kind, "%", &facts), "{kind:?}");
            let rule = ListRule::new(kind, "5", "").expect("a rule");
            assert_eq!(rule.fact(&facts, &TimeZone::UTC), format!("no {} known", kind.words()));
        }
    }

    #[test]
    fn in_text_plus_and_minus_stand_for_themselves() {
        let mut facts = segment("2000", "+441632960001", Direction::Outbound);
        assert!(matches(RuleType::OutsideNumber, "+441632%", &facts));
        facts.account_code = Some("12-34".into());
        assert!(matches(RuleType::AccountCode, "12-34", &facts));
    }

    #[test]
    fn a_rule_that_cannot_be_meant_says_why() {
        let told =
            |kind, value: &str| ListRule::new(kind, value, "").map(|_| ()).expect_err("refused").to_string();
        assert!(told(RuleType::HuntGroup, "2003-1005").contains("backwards"));
        assert!(told(RuleType::Direction, "out").contains("\"out\" is no direction"));
        assert!(told(RuleType::Time, "noon").starts_with("a rule on time: \"noon\""));
        assert!(ListRule::new(RuleType::Agent, "1", &"x".repeat(201)).is_err());
    }
}
