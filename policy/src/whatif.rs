//! What other rules would have made of calls that are over.
//!
//! Judges what is kept of each call by candidate rules, in the order of time, and says where the outcome would have been another
//! one. What people asked for is taken to have been asked again where the mode is the same; where it is another, nobody asked.
//! Channels are given and taken back at the beginnings and ends of the calls. Who is an extension, how numbers read and whose calls they were is
//! read again where the candidate says something else than the rules in force (`again`), as far as what is kept allows; where it does not, that is told. What was
//! heard of a call stays as it was.

mod again;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use decode::Timestamp;
use decode::net::Mac;
use serde::{Deserialize, Serialize};

use crate::channels::{Channel, Channels, Grant, Priority};
use crate::modes::{Machine, Mode};
use crate::outcome::{Direction, Outcome};
use crate::rules::{Rules, SegmentFacts, Verdict};
use again::Again;

pub use again::NotKnown;

/// One extension's part in a call that is over: what it was judged by, and what became of it. Kept with the call's line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastPart {
    /// What was known of it in the end.
    #[serde(flatten)]
    pub facts: SegmentFacts,
    /// What became of it.
    pub outcome: Outcome,
    /// The mode that it was taken in; none where the rules did not want it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Somebody, or an order, has asked for something else than the mode does by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_people: bool,
    /// Where the phone's signalling came from and went to, as the recorder saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<IpAddr>,
    /// Its Ethernet address, where no router stands between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// What is known of it beside what rules ask; none in lines of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<PartNames>,
}

/// What a recording of a part has and no rule asks for: whether somebody may see the part is judged by it, too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartNames {
    /// The extension's name, as signalled; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub extension_name: String,
    /// The other side's name at the beginning, likewise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub other_party_name: String,
    /// The site that saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
}

/// A call that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastCall {
    /// When it ended.
    pub ended: Timestamp,
    /// It was answered.
    pub answered: bool,
    /// What became of it.
    pub outcome: Outcome,
    /// Who called, as signalled.
    pub caller: String,
    /// Its extensions' parts. Without any no rule was asked: no audio came, or no extension took part.
    pub parts: Vec<PastPart>,
}

impl PastCall {
    /// When it was judged; calls are handed to [`WhatIf::handle`] in this order. None of a call that was not.
    #[must_use]
    pub fn judged(&self) -> Option<Timestamp> {
        self.parts.iter().map(|part| part.facts.started).min()
    }
}

/// What would have become of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Would {
    /// Its outcome.
    pub outcome: Outcome,
    /// The rule that decides, in words.
    pub rule: String,
    /// The extension that speaks for the call.
    pub extension: String,
    /// Only the number of channels makes the difference: that is simulated.
    pub by_channels: bool,
    /// What cannot be told of it: then this is what would have become of it otherwise.
    pub not_known: BTreeSet<NotKnown>,
}

/// Candidate rules on their way through the calls of the past.
#[derive(Debug)]
pub struct WhatIf {
    rules: Rules,
    /// Those in force.
    before: Rules,
    channels: Channels<usize>,
    /// By end, then by turn.
    running: BTreeMap<(Timestamp, usize), Channel>,
    turn: usize,
}

impl WhatIf {
    /// Tries these rules in place of `before`, which are in force.
    #[must_use]
    pub fn new(rules: Rules, before: Rules) -> WhatIf {
        let channels = Channels::new(rules.channels, rules.overload);
        WhatIf { rules, before, channels, running: BTreeMap::new(), turn: 0 }
    }

    /// The next call, in the order in which they were judged; none where no rule was asked.
    pub fn handle(&mut self, call: &PastCall) -> Option<Would> {
        let began = call.judged()?;
        while let Some(over) = self.running.first_entry().filter(|entry| entry.key().0 <= began) {
            self.channels.release(over.remove());
        }
        let mut speaks: Option<Would> = None;
        let mut not_known = BTreeSet::new();
        let read = |part: &PastPart| again::read(part, &call.caller, &self.before, &self.rules);
        let again: Vec<Again> = call.parts.iter().map(read).collect();
        let parts: Vec<PastPart> = again.iter().map(|again| again.part.clone()).collect();
        let listed = self.by_the_list(&parts);
        let listed = listed.map(|part| vec![Again { part, is_extension: true, not_known: BTreeSet::new() }]);
        for Again { part, is_extension, not_known: of_part } in listed.unwrap_or(again) {
            not_known.extend(of_part);
            let (outcome, rule) = match is_extension {
                true => self.part(call, &part),
                false => (Outcome::DeviceNotRecorded, "no recorded device takes part".into()),
            };
            if speaks.as_ref().is_none_or(|other| outcome.rank() < other.outcome.rank()) {
                let extension = part.facts.extension.clone();
                let not_known = BTreeSet::new();
                speaks = Some(Would { outcome, rule, extension, by_channels: false, not_known });
            }
        }
        let mut would = speaks?;
        let may_pause = matches!(would.outcome, Outcome::Recorded | Outcome::Paused);
        if may_pause && again::are_other_pauses(&self.before, &self.rules) {
            not_known.insert(NotKnown::Pauses);
        }
        would.not_known = not_known;
        let is_about = |outcome| outcome == Outcome::NoChannel;
        would.by_channels =
            would.outcome != call.outcome && (is_about(would.outcome) || is_about(call.outcome));
        Some(would)
    }

    /// A side that the list of recorded devices names is an extension, also where the evidence spoke for the other one alone
    /// ([`Rules::roles`]): the part that such a list would have made of the call.
    fn by_the_list(&self, parts: &[PastPart]) -> Option<PastPart> {
        let devices = &self.rules.devices;
        let is_told_otherwise = !devices.is_list()
            || self.rules.site.extensions.is_some()
            || parts.iter().any(|part| devices.names(&part.facts.extension));
        let names_other = |part: &&PastPart| part.phone.is_some() && devices.names(&part.facts.other_party);
        let mut part = parts.iter().find(names_other).filter(|_| !is_told_otherwise)?.clone();
        let facts = &mut part.facts;
        std::mem::swap(&mut facts.extension, &mut facts.other_party);
        (facts.direction, facts.ddi) = (facts.direction.reversed(), None);
        facts.outside_number = (facts.direction != Direction::Internal).then(|| facts.other_party.clone());
        (facts.outside_e164, facts.agent, facts.named_unit, part.phone) = (None, None, None, None);
        facts.other_party_name = None;
        self.rules.people.tell(facts, facts.started);
        Some(part)
    }

    fn part(&mut self, call: &PastCall, part: &PastPart) -> (Outcome, String) {
        let (rule, mode, priority) = match self.rules.judge(&part.facts).verdict {
            Verdict::Record { rule, mode, priority } => (rule, mode, priority),
            Verdict::DeviceNotRecorded { why } => return (Outcome::DeviceNotRecorded, why),
            Verdict::InternalExcluded => {
                return (Outcome::InternalExcluded, "internal calls are excluded".into());
            }
            Verdict::Excluded { rule } => return (Outcome::Excluded, rule),
        };
        // What it was is known, as far as its mode is the same.
        let was = Some(part.outcome).filter(|_| part.mode == Some(mode));
        let machine = Machine::new(mode);
        let is_taken = match was {
            Some(outcome) if part.by_people => outcome != Outcome::Excluded,
            _ => machine.is_taking(),
        };
        if !is_taken {
            return (
                Outcome::Excluded,
                format!("{rule}; mode {}: nobody asked for it to be recorded", mode.key()),
            );
        }
        if let Some(in_use) = self.take_channel(call.ended, priority) {
            return (Outcome::NoChannel, format!("no channel was free: {in_use} of {in_use} were in use"));
        }
        if !call.answered && !self.rules.keep_unanswered {
            return (Outcome::NotAnswered, "early audio is not kept".into());
        }
        let by_itself = if machine.is_kept() { Outcome::Recorded } else { Outcome::Excluded };
        let outcome = match (was, part.outcome) {
            // Not begun, or not kept: nothing is known of how it would have gone.
            (Some(Outcome::NoChannel | Outcome::NotAnswered), _) => by_itself,
            (Some(was), _) => was,
            // What was heard stays what it was.
            (None, Outcome::Undecryptable) if by_itself == Outcome::Recorded => Outcome::Undecryptable,
            (None, _) => by_itself,
        };
        let rule = match outcome {
            Outcome::Excluded => format!("{rule}; mode {}: nobody asked to keep it", mode.key()),
            _ => rule,
        };
        (outcome, rule)
    }

    /// Takes a channel until then; how many are in use, when there is none.
    fn take_channel(&mut self, until: Timestamp, priority: Priority) -> Option<usize> {
        self.turn += 1;
        let (grant, channel) = self.channels.take(self.turn, priority);
        if let Some(channel) = channel {
            self.running.insert((until, self.turn), channel);
        }
        match grant {
            Grant::Refused(in_use) => Some(in_use),
            // Whose channel is taken away has been recorded until then: its outcome is the same.
            Grant::Granted | Grant::TakenFrom(..) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use decode::tracker::{Event, LegFacts};
    use decode::{AudioFrame, Codec, Format, Side};
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    use super::*;
    use crate::channels::Overload;
    use crate::devices::{RecordedDevice, RecordedDevices};
    use crate::rules::{ListRule, RuleType};
    use crate::testing::{legs, over, segment};
    use crate::{Action, Gate};

    fn rule(kind: RuleType, value: &str) -> ListRule {
        ListRule::new(kind, value, "").expect("a rule")
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    /// A call of an extension that was recorded, always, from 1 s to 61 s.
    fn recorded(extension: &str) -> PastCall {
        let facts = segment(extension, "01632960001", Direction::Outbound);
        let (mode, outcome) = (Some(Mode::Always), Outcome::Recorded);
        let part = PastPart { facts, outcome, mode, by_people: false, phone: None, mac: None, names: None };
        let caller = extension.to_owned();
        PastCall { ended: at(61_000), answered: true, outcome, caller, parts: vec![part] }
    }

    /// Rules that differ from those in force in nothing that is read again.
    fn tried(rules: Rules) -> WhatIf {
        WhatIf::new(rules.clone(), rules)
    }

    fn in_mode(mode: Mode) -> Rules {
        let entry = RecordedDevice { mode, ..RecordedDevice::new("2000-2999".parse().expect("a pattern")) };
        Rules { devices: RecordedDevices::new(vec![entry]), ..Rules::default() }
    }

    #[test]
    fn what_other_rules_exclude_is_told_with_the_rule_that_decides() {
        let rules = Rules { exclude: vec![rule(RuleType::Endpoint, "2005")], ..Rules::default() };
        let mut whatif = tried(rules);
        let would = whatif.handle(&recorded("2005")).expect("judged");
        assert_eq!((would.outcome, would.rule.as_str()), (Outcome::Excluded, "exclusion 1: endpoint 2005"));
        assert!(!would.by_channels);
        assert_eq!(whatif.handle(&recorded("2000")).expect("judged").outcome, Outcome::Recorded);
        let silent = PastCall { parts: vec![], outcome: Outcome::NoMedia, ..recorded("2000") };
        assert_eq!(whatif.handle(&silent), None);
    }

    #[test]
    fn what_people_asked_for_counts_where_the_mode_is_the_same() {
        let asked = |mode, outcome| {
            let mut call = recorded("2000");
            (call.parts[0].mode, call.parts[0].by_people, call.parts[0].outcome) =
                (Some(mode), true, outcome);
            PastCall { outcome, ..call }
        };
        let outcome = |rules, call| tried(rules).handle(&call).expect("judged").outcome;
        let kept = || asked(Mode::OnDemand, Outcome::Recorded);
        assert_eq!(outcome(in_mode(Mode::OnDemand), kept()), Outcome::Recorded);
        assert_eq!(outcome(in_mode(Mode::DiscardByDefault), kept()), Outcome::Excluded);
        assert_eq!(
            outcome(in_mode(Mode::Always), asked(Mode::OnDemand, Outcome::Excluded)),
            Outcome::Recorded
        );
    }

    #[test]
    fn early_audio_and_channels_are_judged_by_the_candidate() {
        let unanswered = PastCall { answered: false, ..recorded("2000") };
        let rules = Rules { keep_unanswered: false, ..Rules::default() };
        let outcome = |rules, call| tried(rules).handle(call).expect("judged").outcome;
        assert_eq!(outcome(rules, &unanswered), Outcome::NotAnswered);
        let mut dropped = PastCall { outcome: Outcome::NotAnswered, ..unanswered.clone() };
        dropped.parts[0].outcome = Outcome::NotAnswered;
        assert_eq!(outcome(Rules::default(), &dropped), Outcome::Recorded);
        let mut one = tried(Rules { channels: Some(1), ..Rules::default() });
        let call = recorded("2000");
        assert_eq!(one.handle(&call).expect("judged").outcome, Outcome::Recorded);
        let refused = one.handle(&call).expect("judged");
        assert_eq!((refused.outcome, refused.by_channels), (Outcome::NoChannel, true));
        let mut later = recorded("2000");
        later.parts[0].facts.started = at(61_000);
        assert_eq!(
            one.handle(&later).expect("judged").outcome,
            Outcome::Recorded,
            "the channel is free again"
        );
    }

    #[test]
    fn a_list_that_names_the_other_side_makes_it_the_extension_as_the_gate_does() {
        let mut call = recorded("2002");
        call.parts[0].facts.other_party = "2001".into();
        call.parts[0].phone = Some(IpAddr::from([192, 0, 2, 21]));
        let listing = |numbers: &str| Rules {
            devices: numbers.parse::<crate::Pattern>().expect("a pattern").into(),
            exclude: vec![rule(RuleType::Direction, "outbound")],
            ..Rules::default()
        };
        // What was outbound from the one is inbound at the other.
        let would = tried(listing("2001")).handle(&call).expect("judged");
        assert_eq!((would.outcome, would.extension.as_str()), (Outcome::Recorded, "2001"));
        let would = tried(listing("2001-2002")).handle(&call).expect("judged");
        assert_eq!((would.outcome, would.extension.as_str()), (Outcome::Excluded, "2002"));
        let would = tried(listing("3000")).handle(&call).expect("judged");
        assert_eq!(would.outcome, Outcome::DeviceNotRecorded);
    }

    #[test]
    fn a_part_is_short_in_the_ledger_and_reads_back() {
        let part = recorded("2000").parts.remove(0);
        let written = serde_json::to_string(&part).expect("JSON");
        assert_eq!(
            written,
            r#"{"extension":"2000","other_party":"01632960001","outside_number":"01632960001","direction":"outbound","source":"mirror","started":"1970-01-01T00:00:01.000Z","outcome":"recorded","mode":"always"}"#
        );
        assert_eq!(serde_json::from_str::<PastPart>(&written).expect("a part"), part);
    }

    /// Calls of one history: each by a number of the caller, answered or not, so many seconds long.
    #[derive(Clone, Debug)]
    struct History {
        modes: [Mode; 3],
        priorities: [u8; 3],
        channels: Option<usize>,
        takes_away: bool,
        keep_unanswered: bool,
        excluded: Option<usize>,
        calls: Vec<(usize, bool, i64)>,
    }

    impl History {
        fn rules(&self) -> Rules {
            let entry = |n: usize| RecordedDevice {
                mode: self.modes[n],
                priority: Priority::new(self.priorities[n]).expect("a priority"),
                ..RecordedDevice::new(format!("200{n}").parse().expect("a pattern"))
            };
            let exclude = self.excluded.map(|n| rule(RuleType::Endpoint, &format!("200{n}")));
            Rules {
                devices: RecordedDevices::new((0..3).map(entry).collect()),
                exclude: exclude.into_iter().collect(),
                channels: self.channels,
                overload: if self.takes_away { Overload::TakeFromLeastImportant } else { Overload::Refuse },
                keep_unanswered: self.keep_unanswered,
                ..Rules::default()
            }
        }

        /// What the gate made of them, in the order in which they were judged.
        fn lived(&self) -> Vec<PastCall> {
            let numbers: Vec<(String, String)> = self
                .calls
                .iter()
                .enumerate()
                .map(|(n, call)| (format!("200{}", call.0), format!("0163296{n:04}")))
                .collect();
            let named: Vec<(&str, &str)> = numbers.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            let mut gate = Gate::new(self.rules());
            let pcmu = Format {
                payload_type: 0,
                codec: Codec::Pcmu,
                clock_rate: 8000,
                channels: 1,
                fmtp: String::new(),
            };
            // One call a second; ends go before beginnings of the same moment.
            let mut turns: Vec<(i64, bool, usize, LegFacts)> = Vec::new();
            for ((n, mut facts), (_, answered, seconds)) in
                legs(&named).into_iter().enumerate().zip(&self.calls)
            {
                let begins = 1_000 * (n as i64 + 1);
                facts.started = at(begins);
                facts.first_audio = Some(at(begins));
                facts.answered = answered.then(|| at(begins));
                facts.ended = Some(at(begins + 1_000 * seconds));
                turns.push((begins, true, n, facts.clone()));
                turns.push((begins + 1_000 * seconds, false, n, facts));
            }
            turns.sort_by_key(|(ms, begins, n, _)| (*ms, *begins, *n));
            let mut past = BTreeMap::new();
            for (_, begins, n, facts) in turns {
                if begins {
                    gate.handle_event(&Event::LegStarted(&facts));
                    gate.handle_event(&Event::AudioStarted(&facts));
                    let frame = AudioFrame {
                        at: facts.started,
                        ssrc: 1,
                        sequence: 1,
                        timestamp: 1,
                        marker: false,
                        format: &pcmu,
                        payload: &[0xff],
                    };
                    gate.admit(facts.leg, Side::Caller, &frame).for_each(drop);
                } else {
                    let (ended, answered) = (facts.ended.expect("set"), facts.answered.is_some());
                    gate.handle_event(&Event::LegEnded(Box::new(over(facts))));
                    while let Some(action) = gate.poll_action() {
                        if let Action::Account { outcome, parts, .. } = action {
                            past.insert(
                                n,
                                PastCall { ended, answered, outcome, caller: String::new(), parts },
                            );
                        }
                    }
                }
            }
            past.into_values().collect()
        }
    }

    fn history() -> impl Strategy<Value = History> {
        let mode = || proptest::sample::select(&Mode::ALL[..]);
        let call = (0_usize..3, proptest::bool::weighted(0.8), 1_i64..9);
        let options = (
            proptest::option::of(0_usize..4),
            any::<bool>(),
            any::<bool>(),
            proptest::option::of(0_usize..3),
        );
        let calls = proptest::collection::vec(call, 0..20);
        ([mode(), mode(), mode()], [1_u8..10, 1..10, 1..10], options, calls).prop_map(
            |(modes, priorities, (channels, takes_away, keep_unanswered, excluded), calls)| History {
                modes,
                priorities,
                channels,
                takes_away,
                keep_unanswered,
                excluded,
                calls,
            },
        )
    }

    #[test]
    fn the_rules_that_were_in_force_make_no_difference_on_any_history() {
        let config = Config { cases: 2_000, failure_persistence: None, ..Config::default() };
        let checked = TestRunner::new(config).run(&history(), |history| {
            let mut whatif = tried(history.rules());
            for (n, call) in history.lived().iter().enumerate() {
                // As the ledger has it.
                let json = serde_json::to_string(&call.parts).expect("JSON");
                let call = PastCall { parts: serde_json::from_str(&json).expect("parts"), ..call.clone() };
                let would = whatif.handle(&call);
                prop_assert_eq!(would.map(|would| would.outcome), Some(call.outcome), "call {}", n);
            }
            Ok(())
        });
        if let Err(failure) = checked {
            panic!("{failure}");
        }
    }
}
