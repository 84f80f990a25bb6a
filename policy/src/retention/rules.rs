//! Rules: an ordered list, of which the first match says how long a recording is kept.

use std::fmt;

use decode::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Age, Error};
use crate::outcome::{Direction, Outcome, Source, State};
use crate::pattern::Pattern;

/// Most rules in a set.
pub const RULES_MAX: usize = 256;
/// Most values of one matcher.
pub const VALUES_MAX: usize = 256;
/// Longest name of a rule and longest value of a matcher, in characters.
pub const NAME_MAX: usize = 100;

/// One rule. All matchers that are given must hold; of several values of one, any. A rule without matchers takes
/// everything.
///
/// Unknown fields are refused everywhere: a matcher that an older version overlooks would make the rule a wider one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, for the ledger and for people; no two rules share one, small and capital letters taken as the same.
    pub name: String,
    /// How long the audio is kept.
    pub audio: Age,
    /// How long the call data are kept; never less than the audio.
    pub data: Age,
    /// Sites, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub site: Vec<String>,
    /// Recorded extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<Pattern>,
    /// Business units, by name; a unit includes those below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub business_unit: Vec<String>,
    /// Directions of the call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub direction: Vec<Direction>,
    /// Tags; the recording carries any of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tag: Vec<String>,
    /// What became of the call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outcome: Vec<Outcome>,
    /// Where the audio came from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<Source>,
    /// How the recording ended. [`State::Recording`] is refused: what still runs is never due.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<State>,
}

/// What is judged: what is known of one recording, or of a call without one. It carries no id.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// The site that it was recorded at.
    pub site: Option<String>,
    /// The recorded extension.
    pub extension: Option<String>,
    /// The business unit that it belongs to and every unit above that one.
    pub business_units: Vec<String>,
    /// Which way the call went.
    pub direction: Direction,
    /// Its tags.
    pub tags: Vec<String>,
    /// What became of the call; [`Outcome::Running`] is never due.
    pub outcome: Outcome,
    /// Where the audio came from; absent for a call without a recording.
    pub source: Option<Source>,
    /// How far the recording has come; absent for a call without one. [`State::Recording`] is never due.
    pub state: Option<State>,
    /// Where its timeline begins.
    pub started: Timestamp,
    /// Where it ends; ages count from here, and from `started` when the end was never learnt.
    pub ended: Option<Timestamp>,
    /// Length of its file in bytes; 0 when there is none.
    pub bytes: u64,
    /// Holds that lie on it. One is enough to keep everything.
    pub holds: u32,
    /// Its audio is still there.
    pub has_audio: bool,
    /// Its call data are still there.
    pub has_data: bool,
    /// Copies in archive locations; they go with the audio.
    pub archived_copies: u32,
}

impl Subject {
    /// The moment that ages count from.
    #[must_use]
    pub fn counted_from(&self) -> Timestamp {
        self.ended.map_or(self.started, |ended| ended.max(self.started))
    }

    /// It is still running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state == Some(State::Recording) || self.outcome == Outcome::Running
    }
}

impl Rule {
    /// A rule without matchers.
    #[must_use]
    pub fn everything(name: &str, audio: Age, data: Age) -> Rule {
        Rule {
            name: name.to_owned(),
            audio,
            data,
            site: Vec::new(),
            extension: None,
            business_unit: Vec::new(),
            direction: Vec::new(),
            tag: Vec::new(),
            outcome: Vec::new(),
            source: Vec::new(),
            state: Vec::new(),
        }
    }

    /// Does it speak of this recording? What is not known of a recording matches no value.
    #[must_use]
    pub fn matches(&self, subject: &Subject) -> bool {
        let any = |wanted: &[String], there: &[String]| {
            wanted.is_empty() || wanted.iter().any(|w| there.contains(w))
        };
        any(&self.site, subject.site.as_slice())
            && any(&self.business_unit, &subject.business_units)
            && any(&self.tag, &subject.tags)
            && (self.direction.is_empty() || self.direction.contains(&subject.direction))
            && (self.outcome.is_empty() || self.outcome.contains(&subject.outcome))
            && (self.source.is_empty() || subject.source.is_some_and(|source| self.source.contains(&source)))
            && (self.state.is_empty() || subject.state.is_some_and(|state| self.state.contains(&state)))
            && self.extension.as_ref().is_none_or(|wanted| {
                subject.extension.as_ref().is_some_and(|extension| wanted.matches(extension))
            })
    }

    /// It has no matcher.
    fn takes_everything(&self) -> bool {
        *self == Rule::everything(&self.name, self.audio, self.data)
    }

    fn check(&self) -> Result<(), Error> {
        let wrong = |problem: &str| Error::Rule { name: self.name.clone(), problem: problem.to_owned() };
        let is_fit = |text: &str| {
            !text.trim().is_empty() && text.chars().count() <= NAME_MAX && !text.chars().any(char::is_control)
        };
        if !is_fit(&self.name) {
            return Err(wrong("needs a name of 1 to 100 printable characters"));
        }
        let lists = [&self.site, &self.business_unit, &self.tag];
        if lists.iter().any(|list| list.len() > VALUES_MAX)
            || self.direction.len().max(self.outcome.len()).max(self.source.len()) > VALUES_MAX
            || self.state.len() > VALUES_MAX
        {
            return Err(wrong("lists more than 256 values in one place: make it several rules"));
        }
        if !lists.iter().all(|list| list.iter().all(|value| is_fit(value))) {
            return Err(wrong("lists a value that is empty, longer than 100 characters or not printable"));
        }
        if self.state.contains(&State::Recording) || self.outcome.contains(&Outcome::Running) {
            return Err(wrong(
                "speaks of calls that still run: these are never deleted; leave the value out",
            ));
        }
        let is_shorter = match (self.audio.usual_days(), self.data.usual_days()) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(audio), Some(data)) => data < audio,
        };
        if is_shorter {
            let (audio, data) = (self.audio, self.data);
            return Err(wrong(&format!(
                "keeps data ({data}) for less time than audio ({audio}): a recording cannot outlive its facts; raise data"
            )));
        }
        Ok(())
    }
}

/// In words: `"cards": audio 90d, data 7y, of tag card`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: audio {}, data {}", self.name, self.audio, self.data)?;
        let words = |list: &[String]| list.join(" or ");
        let directions: Vec<String> =
            self.direction.iter().map(|d| format!("{d:?}").to_ascii_lowercase()).collect();
        let outcomes: Vec<String> = self.outcome.iter().map(|outcome| outcome.key().to_owned()).collect();
        let sources: Vec<String> = self.source.iter().map(|source| source.key().to_owned()).collect();
        let states: Vec<String> = self.state.iter().map(|state| state.key().to_owned()).collect();
        let extension = self.extension.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut before = ", of ";
        for (matcher, values) in [
            ("site", words(&self.site)),
            ("extension", extension),
            ("business unit", words(&self.business_unit)),
            ("direction", words(&directions)),
            ("tag", words(&self.tag)),
            ("outcome", words(&outcomes)),
            ("source", words(&sources)),
            ("state", words(&states)),
        ] {
            if !values.is_empty() {
                write!(f, "{before}{matcher} {values}")?;
                before = " and ";
            }
        }
        if before == ", of " { f.write_str(", of everything else") } else { Ok(()) }
    }
}

/// An ordered list of rules, checked. What none of them matches is kept for ever.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Rule>", into = "Vec<Rule>")]
pub struct RuleSet(Vec<Rule>);

impl RuleSet {
    /// Checks the rules, each alone and all together.
    ///
    /// # Errors
    /// [`Error::Rule`] for a name that is missing, unfit or taken, for data that would end before the audio, for values
    /// that cannot match, and for a rule behind one that takes everything; [`Error::TooManyRules`].
    pub fn new(rules: Vec<Rule>) -> Result<RuleSet, Error> {
        if rules.len() > RULES_MAX {
            return Err(Error::TooManyRules { count: rules.len() });
        }
        for (place, rule) in rules.iter().enumerate() {
            rule.check()?;
            for earlier in rules.iter().take(place) {
                let wrong = |problem: String| Err(Error::Rule { name: rule.name.clone(), problem });
                if earlier.name.to_lowercase() == rule.name.to_lowercase() {
                    return wrong("has the name of another one: give each its own".to_owned());
                }
                if earlier.takes_everything() {
                    return wrong(format!(
                        "is never reached: {:?} before it has no matcher and takes everything; put that one last",
                        earlier.name
                    ));
                }
            }
        }
        Ok(RuleSet(rules))
    }

    /// The rules, in their order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }

    /// The first rule that matches, and its place; nothing when the recording is kept for ever.
    #[must_use]
    pub fn rule_for(&self, subject: &Subject) -> Option<(usize, &Rule)> {
        self.0.iter().enumerate().find(|(_, rule)| rule.matches(subject))
    }
}

impl TryFrom<Vec<Rule>> for RuleSet {
    type Error = Error;

    fn try_from(rules: Vec<Rule>) -> Result<Self, Error> {
        RuleSet::new(rules)
    }
}

impl From<RuleSet> for Vec<Rule> {
    fn from(set: RuleSet) -> Self {
        set.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{age, subject};
    use super::*;

    fn rule(name: &str) -> Rule {
        Rule::everything(name, age("90d"), age("7y"))
    }

    #[test]
    fn each_matcher_takes_its_own_values_alone_and_what_is_unknown_matches_none() {
        let base = Subject {
            site: Some("Leeds".into()),
            business_units: vec!["Claims".into(), "Insurance".into()],
            tags: vec!["card".into(), "vip".into()],
            ..subject("2026-01-01T00:00:00.000Z")
        };
        let matchers: [(Rule, Rule); 8] = [
            (
                Rule { site: vec!["York".into(), "Leeds".into()], ..rule("a") },
                Rule { site: vec!["leeds".into()], ..rule("a") },
            ),
            (
                Rule { extension: Some("1000-1999".parse().expect("pattern")), ..rule("a") },
                Rule { extension: Some("!1001".parse().expect("pattern")), ..rule("a") },
            ),
            (
                Rule { business_unit: vec!["Insurance".into()], ..rule("a") },
                Rule { business_unit: vec!["Banking".into()], ..rule("a") },
            ),
            (
                Rule { direction: vec![Direction::Internal, Direction::Inbound], ..rule("a") },
                Rule { direction: vec![Direction::Unknown], ..rule("a") },
            ),
            (
                Rule { tag: vec!["other".into(), "vip".into()], ..rule("a") },
                Rule { tag: vec!["vi".into()], ..rule("a") },
            ),
            (
                Rule { outcome: vec![Outcome::NoMedia, Outcome::Recorded], ..rule("a") },
                Rule { outcome: vec![Outcome::NotAnswered], ..rule("a") },
            ),
            (
                Rule { source: vec![Source::Mirror], ..rule("a") },
                Rule { source: vec![Source::Import, Source::RecordACall], ..rule("a") },
            ),
            (
                Rule { state: vec![State::Complete], ..rule("a") },
                Rule { state: vec![State::Interrupted], ..rule("a") },
            ),
        ];
        let unknown = Subject {
            site: None,
            extension: None,
            business_units: Vec::new(),
            direction: Direction::Outbound,
            tags: Vec::new(),
            outcome: Outcome::Malformed,
            source: None,
            state: None,
            ..base.clone()
        };
        for (yes, no) in &matchers {
            assert!(yes.matches(&base) && !no.matches(&base), "{yes} / {no}");
            assert!(!yes.matches(&unknown) && !no.matches(&unknown), "{yes} / {no}");
            assert!(!yes.takes_everything());
        }
        assert!(rule("all").matches(&base) && rule("all").matches(&unknown));
        // All that are given must hold: each of the others spoils the first.
        for (_, no) in matchers.iter().skip(1) {
            assert!(!Rule { site: vec!["Leeds".into()], ..no.clone() }.matches(&base), "{no}");
        }
    }

    #[test]
    fn the_first_match_wins_and_without_one_nothing_ends() {
        let tagged = |name: &str, tag: &str| Rule { tag: vec![tag.into()], ..rule(name) };
        let set = RuleSet::new(vec![tagged("one", "a"), tagged("two", "b")]).expect("a set");
        let both = Subject { tags: vec!["b".into(), "a".into()], ..subject("2026-01-01T00:00:00.000Z") };
        assert_eq!(set.rule_for(&both).map(|(place, rule)| (place, rule.name.as_str())), Some((0, "one")));
        let second = Subject { tags: vec!["b".into()], ..both.clone() };
        assert_eq!(set.rule_for(&second).map(|(place, _)| place), Some(1));
        assert_eq!(set.rule_for(&Subject { tags: Vec::new(), ..both }), None);
    }

    #[test]
    fn a_set_that_cannot_be_meant_is_refused_with_the_reason() {
        let tagged = |name: &str| Rule { tag: vec!["t".into()], ..rule(name) };
        for (rules, why) in [
            (vec![rule("")], "needs a name"),
            (vec![rule("a\nb")], "needs a name"),
            (vec![rule(&"x".repeat(101))], "needs a name"),
            (vec![tagged("Cards"), rule("cards")], "name of another"),
            (vec![rule("all"), tagged("cards")], "never reached"),
            (vec![Rule { tag: vec![" ".into()], ..rule("a") }], "a value that is empty"),
            (vec![Rule { tag: vec!["t".into(); 257], ..rule("a") }], "more than 256"),
            (vec![Rule { state: vec![State::Recording], ..rule("a") }], "still run"),
            (vec![Rule { outcome: vec![Outcome::Running], ..rule("a") }], "still run"),
            (vec![Rule { data: age("89d"), ..rule("a") }], "data (89d) for less time than audio (90d)"),
            (vec![Rule { audio: Age::Forever, ..rule("a") }], "less time than audio (forever)"),
            (vec![Rule { audio: age("1y"), data: age("365d"), ..rule("a") }], "less time"),
            ((0..257).map(|n| tagged(&n.to_string())).collect(), "at most 256"),
        ] {
            let told = RuleSet::new(rules).expect_err(why).to_string();
            assert!(told.contains(why), "{told}");
        }
        let equal = Rule { audio: age("12m"), data: age("1y"), ..rule("a") };
        assert!(
            RuleSet::new(vec![equal, Rule { data: Age::Forever, ..rule("b") }])
                .is_err_and(|error| { error.to_string().contains("never reached") })
        );
        assert!(RuleSet::new(vec![tagged("a"), Rule { data: Age::Forever, ..rule("b") }]).is_ok());
    }

    #[test]
    fn a_rule_says_itself_in_words() {
        let told = Rule {
            tag: vec!["card".into(), "pci".into()],
            extension: Some("1000-1999,!1003".parse().expect("pattern")),
            direction: vec![Direction::Inbound],
            outcome: vec![Outcome::NoMedia],
            source: vec![Source::RecordACall],
            ..rule("cards")
        };
        assert_eq!(
            told.to_string(),
            "\"cards\": audio 90d, data 7y, of extension 1000-1999,!1003 and direction inbound and tag card or pci and \
             outcome no_media and source record-a-call"
        );
        assert_eq!(rule("rest").to_string(), "\"rest\": audio 90d, data 7y, of everything else");
    }
}
