//! Random histories of a call against a model that is slow, simple, and written another way.
//!
//! The model keeps the whole history and answers each question by looking back over it: what was known then, what had been asked
//! until then. Rules are a truth table over four booleans; patterns are replaced by functions. It shares the words of the public
//! types with the code that it checks, and nothing else.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::changes::{Call, at};
use super::*;
use crate::devices::RecordedDevice;
use crate::modes::{Ask, Mode, Role};
use crate::rules::{Fact, ListRule, RuleType};
use crate::{Request, Whom};

/// Histories in one run of this test; `EARWITNESS_HISTORIES` says another number.
const HISTORIES: u32 = 20_000;

fn histories() -> u32 {
    #[expect(clippy::disallowed_methods, reason = "how long a test takes is no verdict of the gate")]
    let told = std::env::var("EARWITNESS_HISTORIES");
    told.ok().and_then(|told| told.parse().ok()).unwrap_or(HISTORIES)
}

/// A rule as written, and as a plain function of the value.
type Written = (RuleType, &'static str, fn(&str) -> bool);

const RULES: [Written; 12] = [
    (RuleType::AccountCode, "77,78", |v| v == "77" || v == "78"),
    (RuleType::AccountCode, "7%,!78", |v| v.starts_with('7') && v != "78"),
    (RuleType::AccountCode, "!77", |v| v != "77"),
    (RuleType::Agent, "1021", |v| v == "1021"),
    (RuleType::Agent, "1022+", |v| v.parse::<u32>().is_ok_and(|n| n >= 1022)),
    (RuleType::Endpoint, "2000-2002,!2001", |v| v == "2000" || v == "2002"),
    (RuleType::Endpoint, "3%", |v| v.starts_with('3')),
    (RuleType::HuntGroup, "25__", |v| v.starts_with("25") && v.chars().count() == 4),
    (RuleType::BusinessUnit, "%Sales%", |v| v.contains("Sales")),
    (RuleType::Direction, "inbound", |v| v == "inbound"),
    (RuleType::Direction, "outbound, internal", |v| v == "outbound" || v == "internal"),
    (RuleType::Trunk, "97200-97210", |v| v.parse::<u32>().is_ok_and(|n| (97_200..=97_210).contains(&n))),
];

#[derive(Clone, Debug)]
enum Happens {
    /// A value becomes known, or stops being so when it is empty.
    Known(RuleType, &'static str),
    Asked(Ask, Role),
    /// Other rules are in force from now on.
    Ruled(Ruled),
}

/// What of the rules changes while a call runs.
#[derive(Clone, Debug)]
struct Ruled {
    listed: bool,
    exclude_internal: bool,
    include: Vec<usize>,
    exclude: Vec<usize>,
}

#[derive(Clone, Debug)]
struct History {
    mode: Mode,
    /// The rules at the beginning.
    ruled: Ruled,
    /// One each second, from 2.000 s.
    events: Vec<Happens>,
}

fn happens() -> impl Strategy<Value = Happens> {
    let value = |kind, values: &'static [&'static str]| {
        proptest::sample::select(values).prop_map(move |value| Happens::Known(kind, value))
    };
    let asked = (proptest::sample::select(&Ask::ALL[..]), any::<bool>()).prop_map(|(ask, supervisor)| {
        Happens::Asked(ask, if supervisor { Role::Supervisor } else { Role::Agent })
    });
    prop_oneof![
        value(RuleType::AccountCode, &["77", "78", "9", ""]),
        value(RuleType::Agent, &["1021", "1022", "9", "ann", ""]),
        value(RuleType::HuntGroup, &["2500", "25", ""]),
        value(RuleType::BusinessUnit, &["EMEA Sales", "Board", ""]),
        value(RuleType::Trunk, &["97201", "97211", ""]),
        value(RuleType::Direction, &["inbound", "outbound", "internal", "unknown"]),
        asked.clone(),
        asked.clone(),
        asked,
        ruled().prop_map(Happens::Ruled),
    ]
}

fn ruled() -> impl Strategy<Value = Ruled> {
    let list = || proptest::collection::vec(0..RULES.len(), 0..3);
    (proptest::bool::weighted(0.9), any::<bool>(), list(), list()).prop_map(
        |(listed, exclude_internal, include, exclude)| Ruled { listed, exclude_internal, include, exclude },
    )
}

fn history() -> impl Strategy<Value = History> {
    let mode = proptest::sample::select(&Mode::ALL[..]);
    let events = proptest::collection::vec(happens(), 0..14);
    (mode, ruled(), events).prop_map(|(mode, ruled, events)| History { mode, ruled, events })
}

/// The model's four answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Record,
    NotListed,
    Internal,
    Excluded,
}

impl History {
    /// The rules in force after the first `n` events.
    fn ruled(&self, n: usize) -> &Ruled {
        let newest = self.events.iter().take(n).rev().find_map(|event| match event {
            Happens::Ruled(ruled) => Some(ruled),
            _ => None,
        });
        newest.unwrap_or(&self.ruled)
    }

    /// The value of a fact after the first `n` events.
    fn value(&self, kind: RuleType, n: usize) -> &str {
        let begin = match kind {
            RuleType::Endpoint => "2000",
            RuleType::Direction => "outbound",
            _ => "",
        };
        let known = self.events.iter().take(n).rev().find_map(|event| match event {
            Happens::Known(of, value) if *of == kind => Some(*value),
            _ => None,
        });
        known.unwrap_or(begin)
    }

    fn any(&self, list: &[usize], n: usize) -> bool {
        list.iter().any(|&rule| {
            let (kind, _, matches) = RULES[rule];
            let value = self.value(kind, n);
            !value.is_empty() && matches(value)
        })
    }

    /// EXC-06 as a table: listed, internal and excluded as such, included, excluded.
    fn said(&self, n: usize) -> Said {
        let ruled = self.ruled(n);
        let listed = ruled.listed && self.mode != Mode::Never;
        let internal = ruled.exclude_internal && self.value(RuleType::Direction, n) == "internal";
        match (listed, internal, self.any(&ruled.include, n), self.any(&ruled.exclude, n)) {
            (false, _, _, _) => Said::NotListed,
            (true, true, _, _) => Said::Internal,
            (true, false, true, _) | (true, false, false, false) => Said::Record,
            (true, false, false, true) => Said::Excluded,
        }
    }

    /// What was asked in the first `n` events, since the rules wanted this call for the first time.
    fn asked(&self, n: usize) -> impl DoubleEndedIterator<Item = (usize, Ask, Role)> + '_ {
        let first = (0..=n).find(|&n| self.said(n) == Said::Record).unwrap_or(n);
        let asked = self.events.iter().enumerate().take(n).skip(first);
        asked.filter_map(|(at, event)| match event {
            Happens::Asked(ask, role) => Some((at, *ask, *role)),
            Happens::Known(..) | Happens::Ruled(_) => None,
        })
    }

    fn takes(&self, n: usize) -> bool {
        let last = || self.asked(n).map(|(_, ask, _)| ask).rfind(|ask| matches!(ask, Ask::Start | Ask::Stop));
        match self.mode {
            Mode::Always | Mode::SaveByDefault => true,
            Mode::Never => false,
            Mode::OnDemand => last() == Some(Ask::Start),
            Mode::AlwaysWithStop | Mode::DiscardByDefault => last() != Some(Ask::Stop),
        }
    }

    fn keeps(&self, n: usize) -> bool {
        let last = |counts: &dyn Fn(Ask, Role) -> bool| {
            self.asked(n).filter(|&(_, ask, role)| counts(ask, role)).map(|(_, ask, _)| ask).next_back()
        };
        let is_end = |ask| matches!(ask, Ask::Keep | Ask::Discard);
        match self.mode {
            Mode::Always | Mode::Never | Mode::AlwaysWithStop => true,
            Mode::OnDemand => last(&|ask, _| is_end(ask)) != Some(Ask::Discard),
            Mode::SaveByDefault => {
                last(&|ask, role| is_end(ask) && role == Role::Supervisor) != Some(Ask::Discard)
            }
            Mode::DiscardByDefault => {
                last(&|ask, _| is_end(ask) || ask == Ask::Start).is_some_and(|ask| ask != Ask::Discard)
            }
        }
    }

    /// Each role holds it from an accepted pause to its own resume.
    fn paused(&self, n: usize) -> bool {
        [Role::Agent, Role::Supervisor].into_iter().any(|wanted| {
            let mut held = false;
            for (at, ask, role) in self.asked(n).filter(|&(_, _, role)| role == wanted) {
                match ask {
                    Ask::Pause if self.takes(at) => held = true,
                    Ask::Resume => held = false,
                    _ => {}
                }
                assert_eq!(role, wanted);
            }
            held
        })
    }

    /// Is a packet taken that comes after the first `n` events?
    fn is_taken(&self, n: usize) -> bool {
        self.said(n) == Said::Record && self.takes(n) && !self.paused(n)
    }

    /// From when on nothing has been destroyed.
    fn clean_since(&self, n: usize) -> usize {
        (0..=n).rfind(|&n| self.said(n) != Said::Record).map_or(0, |n| n + 1)
    }

    fn outcome(&self) -> Outcome {
        let n = self.events.len();
        match self.said(n) {
            Said::NotListed => Outcome::DeviceNotRecorded,
            Said::Internal => Outcome::InternalExcluded,
            Said::Excluded => Outcome::Excluded,
            Said::Record => {
                let mut since = self.clean_since(n)..=n;
                let began = since.clone().find(|&n| self.takes(n));
                match began {
                    None => Outcome::Excluded,
                    Some(_) if !self.keeps(n) => Outcome::Excluded,
                    Some(_) if since.any(|n| self.is_taken(n)) => Outcome::Recorded,
                    Some(_) => Outcome::Paused,
                }
            }
        }
    }
}

fn rules(mode: Mode, ruled: &Ruled) -> Rules {
    let numbers = if ruled.listed { "2000" } else { "2999" };
    let entry = RecordedDevice { mode, ..RecordedDevice::new(numbers.parse().expect("a pattern")) };
    let list = |list: &[usize]| {
        let rule = |&n: &usize| ListRule::new(RULES[n].0, RULES[n].1, "").expect("a rule");
        list.iter().map(rule).collect()
    };
    Rules {
        devices: RecordedDevices::new(vec![entry]),
        // Who is an extension is said, so that an unlisted device is one all the same.
        site: crate::Site { extensions: Some("2000".parse().expect("a pattern")), ..Default::default() },
        exclude_internal: ruled.exclude_internal,
        include: list(&ruled.include),
        exclude: list(&ruled.exclude),
        ..Rules::default()
    }
}

fn fact(kind: RuleType, value: &str) -> Fact {
    let value = value.to_owned();
    match kind {
        RuleType::AccountCode => Fact::AccountCode(value),
        RuleType::Agent => Fact::Agent(value),
        RuleType::HuntGroup => Fact::HuntGroup(value),
        RuleType::BusinessUnit => Fact::BusinessUnit(value),
        RuleType::Trunk => Fact::Trunk(value),
        RuleType::Direction => {
            Fact::Direction(Direction::ALL.into_iter().find(|d| d.key() == value).expect("a direction"))
        }
        _ => unreachable!("no history has it"),
    }
}

fn check(history: &History) -> Result<(), TestCaseError> {
    let mut call = Call::new(rules(history.mode, &history.ruled));
    // Half a second after each event; packets of before are asked about again at the end.
    let probe = |n: usize| 1_500 + 1_000 * n as i64;
    for n in 0..=history.events.len() {
        if let Some(event) = n.checked_sub(1).and_then(|n| history.events.get(n)) {
            let (whom, now) = (Whom::Leg(call.facts.leg), at(1_000 + 1_000 * n as i64));
            match event {
                Happens::Known(kind, value) => {
                    let told = call.gate.handle_fact(&whom, &fact(*kind, value), now);
                    prop_assert!(told.is_ok());
                }
                Happens::Asked(ask, role) => {
                    let request = Request { whom, ask: *ask, role: *role, name: "eve".into() };
                    call.gate.handle_request(&request, now);
                }
                Happens::Ruled(ruled) => call.gate.replace_rules(rules(history.mode, ruled), now),
            }
        }
        prop_assert_eq!(call.is_taken(probe(n)), history.is_taken(n), "after {} events", n);
    }
    let last = history.events.len();
    let since = history.clean_since(last);
    for n in 0..=last {
        let expected = n >= since && history.is_taken(n);
        prop_assert_eq!(call.is_taken(probe(n)), expected, "late packet of after {} events", n);
    }
    let (actions, outcome, reason, _) = call.end();
    prop_assert_eq!(outcome, history.outcome(), "{}", reason);
    // Whatever was begun has one end.
    let count = |wanted: fn(&Action) -> bool| actions.iter().filter(|action| wanted(action)).count();
    let ended = count(|action| matches!(action, Action::Finish { .. } | Action::Discard(..)));
    prop_assert_eq!(count(|action| matches!(action, Action::Start(_))), ended);
    Ok(())
}

#[test]
fn rules_and_modes_do_what_the_model_says_over_random_histories() {
    let config = Config { cases: histories(), failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    if let Err(failure) = runner.run(&history(), |history| check(&history)) {
        panic!("{failure}");
    }
}

#[test]
fn channels_do_what_a_list_of_them_would() {
    use crate::channels::{Channel, Channels, Grant, Overload};
    let steps = proptest::collection::vec((1_u8..=9, any::<bool>(), any::<prop::sample::Index>()), 0..40);
    let strategy = (0_usize..5, any::<bool>(), steps);
    let config = Config { cases: histories() / 10, failure_persistence: None, ..Config::default() };
    let checked = TestRunner::new(config).run(&strategy, |(limit, takes_away, steps)| {
        let overload = if takes_away { Overload::TakeFromLeastImportant } else { Overload::Refuse };
        let mut channels = Channels::new(Some(limit), overload);
        // Who runs, in the order in which they came.
        let mut running: Vec<(usize, u8, Channel)> = Vec::new();
        for (n, (level, is_call, which)) in steps.into_iter().enumerate() {
            if !is_call {
                if !running.is_empty() {
                    let (_, _, channel) = running.remove(which.index(running.len()));
                    channels.release(channel);
                }
                continue;
            }
            let (grant, channel) = channels.take(n, crate::Priority::new(level).expect("a priority"));
            let worst = running.iter().map(|&(_, level, _)| level).max();
            if running.len() < limit {
                prop_assert_eq!(grant, Grant::Granted);
            } else if let Some(worst) = worst.filter(|&worst| takes_away && worst > level) {
                let victim = running.iter().rposition(|&(_, level, _)| level == worst).expect("it runs");
                let (key, level, _) = running.remove(victim);
                prop_assert_eq!(grant, Grant::TakenFrom(key, crate::Priority::new(level).expect("one")));
            } else {
                prop_assert_eq!((grant, channel), (Grant::Refused(limit), None));
            }
            running.extend(channel.map(|channel| (n, level, channel)));
            prop_assert_eq!(channels.in_use(), running.len());
        }
        Ok(())
    });
    if let Err(failure) = checked {
        panic!("{failure}");
    }
}
