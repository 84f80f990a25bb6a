//! The site's rules: which devices are recorded, and which calls are not.
//!
//! The order is that of requirement row EXC-06: the list of recorded devices is a gate in front; then calls between extensions
//! are left out, where the site wants that, and no inclusion brings them back; then the inclusion list, then the exclusion
//! list. Channels and modes come behind, in the gate, which knows what else is running. `docs/rules.md` says it to users.

mod fact;
mod hours;
mod list;
mod trace;

use decode::Side;
use decode::tracker::LegFacts;
use jiff::tz::TimeZone;

use crate::channels::{Overload, Priority};
use crate::devices::{Listed, RecordedDevices};
use crate::modes::Mode;
use crate::outcome::Direction;
use crate::pause::PauseLimits;
use crate::pause::codes::Codes;
use crate::pause::windows::WindowRule;
use crate::people::{OwnMode, People};
use crate::site::{Roles, Site};

pub use fact::{FACT_LEN_MAX, Fact, FactRefusal, SegmentFacts, TAGS_MAX};
pub use hours::Hours;
pub use list::{ListRule, RULES_MAX, RuleError, RuleType};
pub use trace::{STEPS_MAX, Step, Trace};

/// Everything that decides what is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Who is an extension.
    pub site: Site,
    /// The extensions that are recorded, and how; all of them without any.
    pub devices: RecordedDevices,
    /// Calls between two extensions are not recorded.
    pub exclude_internal: bool,
    /// What is recorded whatever the exclusion list says.
    pub include: Vec<ListRule>,
    /// What is not recorded.
    pub exclude: Vec<ListRule>,
    /// Recordings at the same moment; any number without it.
    pub channels: Option<usize>,
    /// What happens to a call that finds no channel free.
    pub overload: Overload,
    /// Audio before an answer that never came is kept: announcements, voice menus.
    pub keep_unanswered: bool,
    /// How long a pause may be.
    pub pauses: PauseLimits,
    /// Digits that pause and resume.
    pub codes: Codes,
    /// Windows that pause.
    pub windows: Vec<WindowRule>,
    /// Whose the devices are.
    pub people: People,
    /// The clock on the site's wall, for rules on time.
    pub zone: TimeZone,
}

impl Default for Rules {
    /// Record everything.
    fn default() -> Self {
        Rules {
            site: Site::default(),
            devices: RecordedDevices::default(),
            exclude_internal: false,
            include: Vec::new(),
            exclude: Vec::new(),
            channels: None,
            overload: Overload::default(),
            keep_unanswered: true,
            pauses: PauseLimits::default(),
            codes: Codes::default(),
            windows: Vec::new(),
            people: People::default(),
            zone: TimeZone::UTC,
        }
    }
}

/// What the rules say of one extension's part in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Keep it, as far as its mode goes.
    Record {
        /// The rule that says so, in words.
        rule: String,
        /// What its mode is: its user's, or else its device's.
        mode: Mode,
        /// How important it is.
        priority: Priority,
    },
    /// The device is not on the list, is listed as never recorded, or is recorded from another source.
    DeviceNotRecorded {
        /// Which of them.
        why: String,
    },
    /// Internal calls are excluded.
    InternalExcluded,
    /// A rule of the exclusion list matches.
    Excluded {
        /// Which one, and the fact that it matched.
        rule: String,
    },
}

impl Verdict {
    /// Is it to be kept?
    #[must_use]
    pub fn is_record(&self) -> bool {
        matches!(self, Verdict::Record { .. })
    }
}

/// The step of a judgement that says what the device's entry says.
const DEVICES: &str = "recorded devices";
/// The step that says what mode the user has.
const MODE_OF_USER: &str = "mode of user";

/// What was asked on the way to a verdict: rule, fact, answer.
pub(crate) type Asked = (String, String, String);

/// A verdict and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What is to be done.
    pub verdict: Verdict,
    pub(crate) asked: Vec<Asked>,
}

impl Judgement {
    /// What was asked on the way to the verdict: rule, fact, answer.
    pub fn asked(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.asked.iter().map(|(rule, fact, answer)| (rule.as_str(), fact.as_str(), answer.as_str()))
    }

    /// What decided of the mode.
    pub(crate) fn mode_step(&self) -> Option<&Asked> {
        self.asked.iter().rev().find(|(rule, ..)| [MODE_OF_USER, DEVICES].contains(&rule.as_str()))
    }

    /// What decided, as a step of the judgement at this time.
    #[must_use]
    pub fn last_step(&self, extension: &str, at_ms: u64) -> Option<Step> {
        let (rule, fact, verdict) = self.asked.last()?.clone();
        Some(Step { at_ms, extension: extension.to_owned(), rule, fact, verdict })
    }
}

impl Rules {
    /// Who is who on a leg. A side that the list of recorded devices names is an extension even where the evidence speaks for
    /// the other one.
    #[must_use]
    pub fn roles(&self, facts: &LegFacts) -> Roles {
        let roles = self.site.roles(facts);
        if !self.devices.is_list() {
            return roles;
        }
        let is_listed = |side: Side| self.devices.names(&self.site.number(facts, side));
        if facts.is_stream_only()
            || self.site.extensions.is_some()
            || roles.extensions.iter().any(|&side| is_listed(side))
        {
            return roles;
        }
        let device = |&side: &Side| is_listed(side) && !self.site.is_outside_device(facts.party(side));
        match [Side::Caller, Side::Callee].into_iter().find(device) {
            Some(side) => Roles { direction: self.site.direction(facts, &[side]), extensions: vec![side] },
            None => roles,
        }
    }

    /// Judges one extension's part in a call, as far as its facts are known now.
    #[must_use]
    pub fn judge(&self, facts: &SegmentFacts) -> Judgement {
        let mut asked = Vec::with_capacity(4);
        let mut say = |rule: &str, fact: String, answer: &str| {
            asked.push((rule.to_owned(), fact, answer.to_owned()));
        };
        let verdict = self.walk(facts, &mut say);
        Judgement { verdict, asked }
    }

    fn walk(&self, facts: &SegmentFacts, say: &mut impl FnMut(&str, String, &str)) -> Verdict {
        let endpoint = || format!("endpoint {}", facts.extension);
        let not_recorded = |why: String, say: &mut dyn FnMut(&str, String, &str)| {
            say(DEVICES, endpoint(), &format!("not recorded: {why}"));
            Verdict::DeviceNotRecorded { why }
        };
        let Listed { rule, mode: of_device, priority, .. } = match self.device(facts) {
            Ok(listed) => listed,
            Err(why) => return not_recorded(why, say),
        };
        let own = self.own_mode(facts);
        let mode = match own {
            Some((_, own)) if own.counts(facts.started) => own.mode,
            _ if of_device == Mode::Never => return not_recorded(format!("{rule} are never recorded"), say),
            _ => of_device,
        };
        say(DEVICES, endpoint(), &format!("{rule}, mode {}", of_device.key()));
        if let Some((user, own)) = own {
            let fact = format!("user {user}");
            if own.counts(facts.started) {
                say(MODE_OF_USER, fact, &format!("{own}; it goes before the device's"));
            } else {
                say(MODE_OF_USER, fact, &format!("{own}: this call began before, the device's counts"));
            }
            if mode == Mode::Never {
                return Verdict::DeviceNotRecorded {
                    why: format!("calls of user {user} are never recorded"),
                };
            }
        }
        if self.exclude_internal {
            let fact = format!("direction {}", facts.direction.key());
            if facts.direction == Direction::Internal {
                say("exclude internal", fact, "excluded; no inclusion brings it back");
                return Verdict::InternalExcluded;
            }
            say("exclude internal", fact, "goes on");
        }
        let first = |list: &[ListRule]| {
            let found = list.iter().enumerate().find(|(_, rule)| rule.matches(facts, &self.zone));
            found.map(|(n, rule)| (n + 1, rule.to_string(), rule.fact(facts, &self.zone)))
        };
        if let Some((n, included, fact)) = first(&self.include) {
            say(&format!("inclusion {n}"), fact, &format!("recorded: {included}"));
            return Verdict::Record { rule: format!("inclusion {n}: {included}"), mode, priority };
        }
        if !self.include.is_empty() {
            say("inclusions", String::new(), &format!("none of {} matches", self.include.len()));
        }
        if let Some((n, excluded, fact)) = first(&self.exclude) {
            say(&format!("exclusion {n}"), fact, &format!("excluded: {excluded}"));
            return Verdict::Excluded { rule: format!("exclusion {n}: {excluded}") };
        }
        if !self.exclude.is_empty() {
            say("exclusions", String::new(), &format!("none of {} matches", self.exclude.len()));
        }
        Verdict::Record { rule, mode, priority }
    }

    /// The user whom the segment counts for, with the mode of that user's own.
    fn own_mode<'f>(&self, facts: &'f SegmentFacts) -> Option<(&'f str, OwnMode)> {
        let user = facts.who.user.as_ref()?;
        Some((&user.id, self.people.mode_of(&user.id)?))
    }

    /// The gate in front: the device's entry, or why it is not recorded whatever its mode.
    fn device(&self, facts: &SegmentFacts) -> Result<Listed, String> {
        let Some(listed) = self.devices.find(&facts.extension) else {
            return Err("no recorded device takes part".into());
        };
        match listed.source {
            Some(source) if source != facts.source => {
                Err(format!("{} are recorded by {} only", listed.rule, source.key()))
            }
            _ => Ok(listed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::RecordedDevice;
    use crate::outcome::Source;
    use crate::testing::segment;

    fn rule(kind: RuleType, value: &str) -> ListRule {
        ListRule::new(kind, value, "").expect("a rule")
    }

    fn strict() -> Rules {
        Rules {
            devices: RecordedDevices::from("2000-2999".parse::<crate::Pattern>().expect("a pattern")),
            exclude_internal: true,
            include: vec![rule(RuleType::OutsideNumber, "01632960%"), rule(RuleType::Endpoint, "2007")],
            exclude: vec![rule(RuleType::Endpoint, "2005-2009"), rule(RuleType::Direction, "inbound")],
            ..Rules::default()
        }
    }

    #[test]
    fn the_order_is_device_internal_inclusion_exclusion() {
        let rules = strict();
        let judge = |extension, other, direction| rules.judge(&segment(extension, other, direction)).verdict;
        // A device that is not listed: no inclusion helps.
        assert!(matches!(
            judge("3000", "01632960001", Direction::Outbound),
            Verdict::DeviceNotRecorded { .. }
        ));
        // Internal: not even an inclusion of its endpoint.
        assert_eq!(judge("2007", "2001", Direction::Internal), Verdict::InternalExcluded);
        // Inclusion beats exclusion, by any single fact.
        for (extension, other) in [("2007", "0301"), ("2005", "01632960001")] {
            assert!(judge(extension, other, Direction::Inbound).is_record(), "{extension}");
        }
        assert_eq!(
            judge("2005", "0301", Direction::Outbound),
            Verdict::Excluded { rule: "exclusion 1: endpoint 2005-2009".into() }
        );
        assert_eq!(
            judge("2001", "0301", Direction::Inbound),
            Verdict::Excluded { rule: "exclusion 2: direction inbound".into() }
        );
        assert!(judge("2001", "0301", Direction::Outbound).is_record());
    }

    #[test]
    fn a_device_that_is_bound_to_another_source_is_not_recorded_from_this_one() {
        let entry = RecordedDevice {
            source: Some(Source::RecordACall),
            ..RecordedDevice::new("2000".parse().expect("a pattern"))
        };
        let rules = Rules { devices: RecordedDevices::new(vec![entry]), ..Rules::default() };
        let mut facts = segment("2000", "0301", Direction::Outbound);
        assert_eq!(
            rules.judge(&facts).verdict,
            Verdict::DeviceNotRecorded {
                why: "recorded devices 2000 are recorded by record-a-call only".into()
            }
        );
        facts.source = Source::RecordACall;
        assert!(rules.judge(&facts).verdict.is_record());
    }

    #[test]
    fn a_judgement_says_each_step_with_its_fact() {
        let asked = strict().judge(&segment("2005", "0301", Direction::Inbound)).asked;
        let lines: Vec<String> =
            asked.iter().map(|(rule, fact, answer)| format!("{rule} [{fact}]: {answer}")).collect();
        assert_eq!(
            lines,
            [
                "recorded devices [endpoint 2005]: recorded devices 2000-2999, mode always",
                "exclude internal [direction inbound]: goes on",
                "inclusions []: none of 2 matches",
                "exclusion 1 [endpoint 2005]: excluded: endpoint 2005-2009",
            ]
        );
    }
}
