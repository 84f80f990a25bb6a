//! Random histories of a call against a model that is slow, simple, and written another way.
//!
//! The model keeps the whole history and answers each question by looking back over it: what was known then, what had been asked, ordered,
//! shown and keyed until then. Rules are a truth table over four booleans; patterns are replaced by functions, codes by the ends of what was
//! keyed. It is written from `docs/` (rules.md, recording-modes.md, pause.md), and shares the words of the public types with the code that it
//! checks, and nothing else.

use std::cell::OnceCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::changes::{Call, at};
use super::*;
use crate::devices::RecordedDevice;
use crate::feed::Word;
use crate::modes::orders::{Lasting, Order, Whose};
use crate::modes::{Ask, Mode, Role};
use crate::pause::codes::{CodeProfile, Codes};
use crate::pause::windows::WindowRule;
use crate::people::{Assignment, Device, DeviceKind, OwnMode, People, Tenure, User};
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

const RULES: [Written; 20] = [
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
    (RuleType::Ddi, "01632%,!01632960501", |v| v.starts_with("01632") && v != "01632960501"),
    (RuleType::Ddi, "!01632960500", |v| v != "01632960500"),
    (RuleType::OutsideNumber, "0163296%", |v| v.starts_with("0163296")),
    (RuleType::OutsideNumber, "!01632960001", |v| v != "01632960001"),
    (RuleType::Tag, "vip", |v| v == "vip"),
    (RuleType::Tag, "%card%", |v| v.contains("card")),
    // The call begins on a Thursday at 00:00:01.
    (RuleType::Time, "Thu 00:00-00:01", |v| v == "Thu 00:00"),
    (RuleType::Time, "Mon-Wed 00:00-24:00, 00:01-24:00", |v| v != "Thu 00:00"),
];

#[derive(Clone, Debug)]
enum Happens {
    /// A value becomes known, or stops being so when it is empty.
    Known(RuleType, &'static str),
    /// A tag is taken off.
    Untagged(&'static str),
    Asked(Ask, Role),
    /// Other rules are in force from now on.
    Ruled(Ruled),
    /// An order for the extension, or for an agent.
    Ordered(Option<&'static str>, Lasting, Role),
    Withdrawn(Option<&'static str>),
    /// An agent comes to the extension, or leaves.
    On(&'static str),
    Off(&'static str),
    /// What a client at the desk shows now.
    Shows(&'static str, &'static [&'static str]),
    /// A client is gone without a word.
    Gone(&'static str),
    /// A digit, by the extension or by the other side.
    Keyed(bool, char),
    /// Nothing for some seconds.
    Silence(i64),
}

/// Agents of orders and log-ons; the facts name two of them, too.
const AGENTS: [&str; 3] = ["1021", "1022", "ann"];
/// Users, by the agent that is theirs; the last two have the extension, one after the other.
const USERS: [(&str, &str); 4] = [("ada", "1021"), ("bob", "1022"), ("cas", ""), ("dot", "")];
/// When the extension goes from one to the other, in milliseconds.
const HANDED_OVER_MS: i64 = 8_000;
/// When the call begins.
const BEGAN_MS: i64 = 1_000;
const CLIENTS: [&str; 2] = ["desk", "tablet"];
/// What a desk may show; the rules are about the beginning, or about anything in it.
const SHOWN: [&[&str]; 5] = [&[], &["Mail"], &["Pay now"], &["Mail", "your CARD number"], &["pay", "card"]];
/// Whether it is a beginning, else a regular expression; as written; and as a plain function.
type Window = (bool, &'static str, fn(&str) -> bool);
/// Each window rule.
const WINDOWS: [Window; 2] = [
    (true, "pay", |text| text.to_lowercase().starts_with("pay")),
    (false, "(?i)card", |text| text.to_lowercase().contains("card")),
];
/// Profile, what pauses, what resumes.
const CODES: [(&str, &str, &str); 2] = [("card", "*12", "*#"), ("other", "12", "3")];
const KEYS: [char; 5] = ['*', '1', '2', '#', '3'];
const INTER_DIGIT_MS: i64 = 3_000;

/// What of the rules changes while a call runs.
#[derive(Clone, Debug)]
struct Ruled {
    listed: bool,
    exclude_internal: bool,
    include: Vec<usize>,
    exclude: Vec<usize>,
    /// What mode each user has, and from which millisecond on.
    modes: [Option<(Mode, Option<i64>)>; USERS.len()],
}

#[derive(Clone, Debug)]
struct History {
    mode: Mode,
    /// The rules at the beginning.
    ruled: Ruled,
    /// One each second, from 2.000 s; later where there was silence.
    events: Vec<Happens>,
    /// The mode after each number of events, and since which it has been so: asked for often, made once.
    modes: OnceCell<Vec<(Mode, usize)>>,
}

fn happens() -> impl Strategy<Value = Happens> {
    let value = |kind, values: &'static [&'static str]| {
        proptest::sample::select(values).prop_map(move |value| Happens::Known(kind, value))
    };
    let asked = (proptest::sample::select(&Ask::ALL[..]), any::<bool>()).prop_map(|(ask, supervisor)| {
        Happens::Asked(ask, if supervisor { Role::Supervisor } else { Role::Agent })
    });
    prop_oneof![
        1 => value(RuleType::AccountCode, &["77", "78", "9", ""]),
        1 => value(RuleType::Agent, &["1021", "1022", "9", "ann", ""]),
        1 => value(RuleType::HuntGroup, &["2500", "25", ""]),
        1 => value(RuleType::BusinessUnit, &["EMEA Sales", "Board", ""]),
        1 => value(RuleType::Trunk, &["97201", "97211", ""]),
        1 => value(RuleType::Ddi, &["01632960500", "01632960501", "2500", ""]),
        1 => value(RuleType::OutsideNumber, &["01632960001", "01632960002", "999", ""]),
        1 => value(RuleType::Tag, &["vip", "a card", "other", ""]),
        1 => proptest::sample::select(&["vip", "a card"][..]).prop_map(Happens::Untagged),
        1 => value(RuleType::Direction, &["inbound", "outbound", "internal", "unknown"]),
        3 => asked,
        1 => ruled().prop_map(Happens::Ruled),
        3 => ordered(),
        2 => watched(),
        4 => keyed(),
    ]
}

/// Orders, and who sits at the extension.
fn ordered() -> impl Strategy<Value = Happens> {
    let agent = || proptest::sample::select(&AGENTS[..]);
    let whose = || proptest::option::of(agent());
    let what = proptest::sample::select(&[Lasting::Start, Lasting::Stop, Lasting::Pause][..]);
    prop_oneof![
        3 => (whose(), what, any::<bool>()).prop_map(|(whose, what, supervisor)| {
            Happens::Ordered(whose, what, if supervisor { Role::Supervisor } else { Role::Agent })
        }),
        2 => whose().prop_map(Happens::Withdrawn),
        1 => agent().prop_map(Happens::On),
        1 => agent().prop_map(Happens::Off),
    ]
}

fn watched() -> impl Strategy<Value = Happens> {
    let client = || proptest::sample::select(&CLIENTS[..]);
    prop_oneof![
        4 => (client(), proptest::sample::select(&SHOWN[..])).prop_map(|(client, shown)| Happens::Shows(client, shown)),
        1 => client().prop_map(Happens::Gone),
    ]
}

fn keyed() -> impl Strategy<Value = Happens> {
    prop_oneof![
        8 => (proptest::bool::weighted(0.9), proptest::sample::select(&KEYS[..]))
            .prop_map(|(own, digit)| Happens::Keyed(own, digit)),
        1 => (1_i64..6).prop_map(Happens::Silence),
    ]
}

fn ruled() -> impl Strategy<Value = Ruled> {
    let list = || proptest::collection::vec(0..RULES.len(), 0..3);
    let from =
        proptest::sample::select(&[None, Some(0), Some(BEGAN_MS), Some(BEGAN_MS + 1), Some(9_000)][..]);
    let mode = (proptest::sample::select(&Mode::ALL[..]), from);
    let modes = proptest::array::uniform4(proptest::option::weighted(0.4, mode));
    (proptest::bool::weighted(0.9), any::<bool>(), list(), list(), modes).prop_map(
        |(listed, exclude_internal, include, exclude, modes)| Ruled {
            listed,
            exclude_internal,
            include,
            exclude,
            modes,
        },
    )
}

fn history() -> impl Strategy<Value = History> {
    let mode = proptest::sample::select(&Mode::ALL[..]);
    let events = proptest::collection::vec(happens(), 0..24);
    (mode, ruled(), events).prop_map(|(mode, ruled, events)| History {
        mode,
        ruled,
        events,
        modes: OnceCell::new(),
    })
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
            RuleType::Time => "Thu 00:00",
            _ => "",
        };
        let known = self.events.iter().take(n).rev().find_map(|event| match event {
            Happens::Known(of, value) if *of == kind => Some(*value),
            Happens::On(agent) if kind == RuleType::Agent => Some(*agent),
            _ => None,
        });
        known.unwrap_or(begin)
    }

    /// The number outside after the first `n` events: the signalled one wherever the call was said to be no internal one while none was known.
    fn outside(&self, n: usize) -> &str {
        const SIGNALLED: &str = "01632960001";
        let Some((last, before)) = self.events.get(..n).and_then(|events| events.split_last()) else {
            return SIGNALLED;
        };
        match last {
            Happens::Known(RuleType::OutsideNumber, told) => told,
            Happens::Known(RuleType::Direction, "internal") => "",
            Happens::Known(RuleType::Direction, _) if self.outside(before.len()).is_empty() => SIGNALLED,
            _ => self.outside(before.len()),
        }
    }

    /// Is the tag on after the first `n` events?
    fn has_tag(&self, tag: &str, n: usize) -> bool {
        let last = self.events.iter().take(n).rev().find_map(|event| match event {
            Happens::Known(RuleType::Tag, on) if *on == tag => Some(true),
            Happens::Untagged(off) if *off == tag => Some(false),
            _ => None,
        });
        last == Some(true)
    }

    /// All that is known of it.
    fn values(&self, kind: RuleType, n: usize) -> Vec<&str> {
        match kind {
            RuleType::Tag => {
                ["vip", "a card", "other"].into_iter().filter(|tag| self.has_tag(tag, n)).collect()
            }
            RuleType::OutsideNumber => vec![self.outside(n)],
            kind => vec![self.value(kind, n)],
        }
    }

    fn any(&self, list: &[usize], n: usize) -> bool {
        list.iter().any(|&rule| {
            let (kind, _, matches) = RULES[rule];
            self.values(kind, n).into_iter().any(|value| !value.is_empty() && matches(value))
        })
    }

    /// Whose the call is after the first `n` events: of whom the agent is, else of whoever had the extension when that was asked, which is at
    /// the beginning and whenever the agent becomes another one.
    fn user(&self, n: usize) -> usize {
        let agent = self.value(RuleType::Agent, n);
        let changed = (0..n).rfind(|&n| self.value(RuleType::Agent, n) != agent);
        let asked_ms = changed.map_or(BEGAN_MS, |event| self.ms(event));
        let of_agent = USERS.iter().position(|(_, own)| !own.is_empty() && *own == agent);
        of_agent.unwrap_or(if asked_ms < HANDED_OVER_MS { 2 } else { 3 })
    }

    /// The mode that the rules in force say after the first `n` events: the user's, if it has begun to count by the call's beginning.
    fn ruled_mode(&self, n: usize) -> Mode {
        match self.ruled(n).modes[self.user(n)] {
            Some((mode, from)) if from.is_none_or(|from| from <= BEGAN_MS) => mode,
            _ => self.mode,
        }
    }

    /// The mode that the call is in: the rules' of when they last wanted it.
    fn mode(&self, n: usize) -> Mode {
        self.modes()[n].0
    }

    /// Since when it is in that mode.
    fn in_mode_since(&self, n: usize) -> usize {
        self.modes()[n].1
    }

    fn modes(&self) -> &[(Mode, usize)] {
        self.modes.get_or_init(|| {
            let mut last = (Mode::Never, 0);
            let after = (0..=self.events.len()).map(|n| {
                if self.said(n) == Said::Record && self.ruled_mode(n) != last.0 {
                    last = (self.ruled_mode(n), n);
                }
                last
            });
            after.collect()
        })
    }

    /// EXC-06 as a table: listed, internal and excluded as such, included, excluded.
    fn said(&self, n: usize) -> Said {
        let ruled = self.ruled(n);
        let listed = ruled.listed && self.ruled_mode(n) != Mode::Never;
        let internal = ruled.exclude_internal && self.value(RuleType::Direction, n) == "internal";
        match (listed, internal, self.any(&ruled.include, n), self.any(&ruled.exclude, n)) {
            (false, _, _, _) => Said::NotListed,
            (true, true, _, _) => Said::Internal,
            (true, false, true, _) | (true, false, false, false) => Said::Record,
            (true, false, false, true) => Said::Excluded,
        }
    }

    /// The order that holds for this call after the first `n` events: which event gave it, and what it says. The agent's goes before the
    /// extension's; each stands until it is withdrawn, its agent logs off, or somebody else logs on where the agent was.
    fn order(&self, n: usize) -> Option<(usize, Lasting)> {
        let agent = self.value(RuleType::Agent, n);
        let standing = |whose: Option<&str>| {
            let mut there = None;
            let mut found = None;
            for (at, event) in self.events.iter().enumerate().take(n) {
                match event {
                    Happens::Ordered(of, what, _) if *of == whose => found = Some((at, *what)),
                    Happens::Withdrawn(of) if *of == whose => found = None,
                    Happens::Off(gone) => {
                        if there == Some(*gone) {
                            there = None;
                        }
                        if whose == Some(*gone) {
                            found = None;
                        }
                    }
                    Happens::On(new) => {
                        if there.is_some_and(|before| before != *new && whose == Some(before)) {
                            found = None;
                        }
                        there = Some(*new);
                    }
                    _ => {}
                }
            }
            found
        };
        (!agent.is_empty()).then(|| standing(Some(agent))).flatten().or_else(|| standing(None))
    }

    /// What people asked in the first `n` events, in the mode of after them.
    fn asked_by_people(&self, n: usize) -> Vec<(usize, Ask, Role)> {
        let asked = self.events.iter().enumerate().take(n).skip(self.in_mode_since(n));
        let asked = asked.filter_map(|(at, event)| match event {
            Happens::Asked(ask, role) => Some((at, *ask, *role)),
            _ => None,
        });
        asked.collect()
    }

    /// What has come about by asking: that, and, where an order holds now, what that has asked when it began to hold. Of orders that have ended
    /// nothing is left.
    fn asked(&self, n: usize) -> Vec<(usize, Ask, Role)> {
        let first = self.in_mode_since(n);
        let mut all = self.asked_by_people(n);
        if let Some((given, what)) = self.order(n) {
            let begins = (0..=n).rfind(|&m| self.order(m).is_none_or(|(other, _)| other != given));
            let begins = begins.map_or(0, |m| m + 1).max(first);
            let place = all.partition_point(|(at, ..)| *at < begins);
            let ask = match what {
                Lasting::Start => Ask::Start,
                Lasting::Stop => Ask::Stop,
                // Holds beside what people hold.
                Lasting::Pause => return all,
            };
            all.insert(place, (begins, ask, Role::Supervisor));
        }
        all
    }

    fn takes(&self, n: usize) -> bool {
        let asked = self.asked(n);
        let last = asked.iter().map(|(_, ask, _)| *ask).rfind(|ask| matches!(ask, Ask::Start | Ask::Stop));
        match self.mode(n) {
            Mode::Always | Mode::SaveByDefault => true,
            Mode::Never => false,
            Mode::OnDemand => last == Some(Ask::Start),
            Mode::AlwaysWithStop | Mode::DiscardByDefault => last != Some(Ask::Stop),
        }
    }

    /// Is it kept if it ends after the first `n` events? That is as these requests say last; without any as it was when its mode began.
    fn keeps(&self, n: usize, asked: &[(usize, Ask, Role)]) -> bool {
        let mode = self.mode(n);
        let counts = |&&(_, ask, role): &&(usize, Ask, Role)| match mode {
            Mode::Never => false,
            Mode::Always | Mode::AlwaysWithStop => ask == Ask::Keep,
            Mode::OnDemand => matches!(ask, Ask::Keep | Ask::Discard),
            Mode::SaveByDefault => matches!(ask, Ask::Keep | Ask::Discard) && role == Role::Supervisor,
            Mode::DiscardByDefault => matches!(ask, Ask::Keep | Ask::Discard | Ask::Start),
        };
        let last = asked.iter().rfind(counts).map(|(_, ask, _)| *ask);
        last.map_or_else(|| self.kept_when(self.in_mode_since(n)), |ask| ask != Ask::Discard)
    }

    /// Is it kept when its mode begins after the first `n` events? What was taken stays, and what somebody has asked to be destroyed is
    /// destroyed all the same; of orders nothing is left.
    fn kept_when(&self, n: usize) -> bool {
        let by_mode = self.mode(n) != Mode::DiscardByDefault;
        let Some(before) = n.checked_sub(1) else { return by_mode };
        let is_begun =
            self.said(before) == Said::Record && (self.clean_since(before)..=before).any(|n| self.takes(n));
        let was_kept = self.keeps(before, &self.asked_by_people(before));
        !self.is_asked_away(before) && (by_mode || is_begun && was_kept)
    }

    /// Has somebody asked to destroy what was to be kept?
    fn is_asked_away(&self, n: usize) -> bool {
        let (asked, since) = (self.asked_by_people(n), self.in_mode_since(n));
        let was_kept = (0..=asked.len()).any(|some| self.keeps(n, &asked[..some]));
        !self.keeps(n, &asked) && (was_kept || since.checked_sub(1).is_some_and(|n| self.is_asked_away(n)))
    }

    /// People, an order, windows and codes hold it, each for itself.
    fn paused(&self, n: usize) -> bool {
        self.held_by_people(n)
            || matches!(self.order(n), Some((_, Lasting::Pause)))
            || CLIENTS.iter().any(|client| self.held_by_windows(client, n))
            || CODES.iter().any(|(_, pause, resume)| self.held_by_keys(pause, resume, n))
    }

    /// Each role holds it from an accepted pause to its own resume.
    fn held_by_people(&self, n: usize) -> bool {
        [Role::Agent, Role::Supervisor].into_iter().any(|wanted| {
            let mut held = false;
            for (at, event) in self.events.iter().enumerate().take(n) {
                match event {
                    Happens::Asked(Ask::Pause, role) if *role == wanted && self.takes(at) => held = true,
                    Happens::Asked(Ask::Resume, role) if *role == wanted => held = false,
                    _ => {}
                }
            }
            held
        })
    }

    /// A rule holds while a client shows what matches; a client that is gone lets go of nothing.
    fn held_by_windows(&self, client: &str, n: usize) -> bool {
        WINDOWS.iter().any(|(_, _, matches)| {
            let (mut held, mut is_shown) = (false, false);
            for event in self.events.iter().take(n) {
                match event {
                    Happens::Shows(of, texts) if *of == client => {
                        let now = texts.iter().any(|text| matches(text));
                        held = now || held && !is_shown;
                        is_shown = now;
                    }
                    Happens::Gone(of) if *of == client => is_shown = false,
                    _ => {}
                }
            }
            held
        })
    }

    /// When the event of this number happens, in milliseconds.
    fn ms(&self, event: usize) -> i64 {
        let silences = self.events.iter().take(event).map(|event| match event {
            Happens::Silence(seconds) => 1_000 * seconds,
            _ => 0,
        });
        2_000 + 1_000 * event as i64 + silences.sum::<i64>()
    }

    /// What the extension has keyed up to and with this event, as long as no digit came too late behind the one before; nothing that was
    /// keyed while its device was not recorded.
    fn keyed(&self, event: usize) -> String {
        let mut all = String::new();
        let mut last = None;
        for (at, happens) in self.events.iter().enumerate().take(event + 1) {
            let Happens::Keyed(true, digit) = happens else { continue };
            if self.said(at) == Said::NotListed {
                continue;
            }
            if last.is_some_and(|last| self.ms(at) - last > INTER_DIGIT_MS) {
                all.clear();
            }
            last = Some(self.ms(at));
            all.push(*digit);
        }
        all
    }

    fn held_by_keys(&self, pause: &str, resume: &str, n: usize) -> bool {
        let mut held = false;
        for (at, event) in self.events.iter().enumerate().take(n) {
            if !matches!(event, Happens::Keyed(true, _)) || self.said(at) == Said::NotListed {
                continue;
            }
            let keyed = self.keyed(at);
            // Of two codes that end alike the longer counts.
            let codes = CODES.iter().flat_map(|(_, pause, resume)| [*pause, *resume]);
            let counts = codes.filter(|code| keyed.ends_with(code)).max_by_key(|code| code.len());
            match counts {
                Some(code) if code == pause => held = true,
                Some(code) if code == resume => held = false,
                _ => {}
            }
        }
        held
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
                    Some(_) if !self.keeps(n, &self.asked(n)) => Outcome::Excluded,
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
        windows: WINDOWS
            .iter()
            .map(|(is_prefix, value, _)| {
                let rule = if *is_prefix { WindowRule::prefix } else { WindowRule::regex };
                rule(value, true).expect("a rule")
            })
            .collect(),
        codes: codes(),
        people: people(&ruled.modes),
        ..Rules::default()
    }
}

fn people(modes: &[Option<(Mode, Option<i64>)>; USERS.len()]) -> People {
    let mut people = People::default();
    for ((id, agent), mode) in USERS.iter().zip(modes) {
        let mode = mode.map(|(mode, from)| OwnMode { mode, from: from.map(at) });
        people.add_user(User { id: (*id).into(), mode, ..User::default() }).expect("new");
        let (kind, number) = match *agent {
            "" => (DeviceKind::Extension, "2000"),
            agent => (DeviceKind::Agent, agent),
        };
        let (from, until) = match *id {
            "cas" => (None, Some(at(HANDED_OVER_MS))),
            "dot" => (Some(at(HANDED_OVER_MS)), None),
            _ => (None, None),
        };
        let device = Device { kind, number: number.into() };
        let assignment = Assignment { device, primary: true, tenure: Tenure { from, until } };
        people.assign(id, assignment).expect("free");
    }
    people
}

fn codes() -> Codes {
    let profile = |&(name, pause, resume): &(&str, &str, &str)| CodeProfile {
        name: name.into(),
        pause: pause.into(),
        resume: resume.into(),
    };
    Codes::new(CODES.iter().map(profile).collect(), INTER_DIGIT_MS).expect("codes")
}

fn whose(agent: Option<&str>) -> Whose {
    agent.map_or_else(|| Whose::Extension("2000".into()), |agent| Whose::Agent(agent.into()))
}

fn log(word: Word, now: Timestamp) -> Report {
    Report { at: now, who: "pbx".into(), word }
}

fn fact(kind: RuleType, value: &str) -> Fact {
    let value = value.to_owned();
    match kind {
        RuleType::AccountCode => Fact::AccountCode(value),
        RuleType::Agent => Fact::Agent(value),
        RuleType::HuntGroup => Fact::HuntGroup(value),
        RuleType::BusinessUnit => Fact::BusinessUnit(value),
        RuleType::Trunk => Fact::Trunk(value),
        RuleType::Ddi => Fact::Ddi(value),
        RuleType::OutsideNumber => Fact::OutsideNumber(value),
        RuleType::Tag => Fact::Tag(value),
        RuleType::Direction => {
            Fact::Direction(Direction::ALL.into_iter().find(|d| d.key() == value).expect("a direction"))
        }
        _ => unreachable!("no history has it"),
    }
}

/// Has the event happen.
fn act(call: &mut Call, history: &History, event: &Happens, now: Timestamp) -> Result<(), TestCaseError> {
    let whom = Whom::Leg(call.facts.leg);
    let extension = || "2000".to_owned();
    match event {
        Happens::Known(kind, value) => {
            let told = call.gate.handle_fact(&whom, &fact(*kind, value), now);
            prop_assert!(told.is_ok());
        }
        Happens::Untagged(tag) => {
            let told = call.gate.handle_fact(&whom, &Fact::Untag((*tag).into()), now);
            prop_assert!(told.is_ok());
        }
        Happens::Asked(ask, role) => {
            let request = Request { whom, ask: *ask, role: *role, name: "eve".into() };
            call.gate.handle_request(&request, now);
        }
        Happens::Ruled(ruled) => call.gate.replace_rules(rules(history.mode, ruled), now),
        Happens::Ordered(agent, what, role) => {
            let order = Order { what: *what, role: *role, name: "eve".into(), at: now };
            prop_assert!(call.gate.handle_order(whose(*agent), order, now).is_ok());
        }
        Happens::Withdrawn(agent) => {
            call.gate.handle_withdrawal(&whose(*agent), "eve", now);
        }
        Happens::On(agent) => {
            let word = Word::LogOn { agent: (*agent).into(), extension: extension() };
            call.gate.handle_report(log(word, now), now);
        }
        Happens::Off(agent) => {
            let word = Word::LogOff { agent: Some((*agent).into()), extension: None };
            call.gate.handle_report(log(word, now), now);
        }
        Happens::Shows(client, texts) => {
            prop_assert!(call.gate.handle_windows(client, "2000", texts, now).is_ok());
        }
        Happens::Gone(client) => call.gate.handle_client_gone(client),
        Happens::Keyed(is_own, digit) => {
            let side = if *is_own { Side::Caller } else { Side::Callee };
            let digit = Digit { at: now, digit: *digit, duration_ms: 100 };
            call.gate.handle_event(&Event::Digit { leg: call.facts.leg, side, digit });
        }
        Happens::Silence(_) => {}
    }
    Ok(())
}

fn check(history: &History) -> Result<(), TestCaseError> {
    let mut call = Call::new(rules(history.mode, &history.ruled));
    // Half a second after each event; packets of before are asked about again at the end.
    let probe = |n: usize| n.checked_sub(1).map_or(1_500, |event| history.ms(event) + 500);
    for n in 0..=history.events.len() {
        if let Some((event, place)) = n.checked_sub(1).and_then(|n| Some((history.events.get(n)?, n))) {
            let now = at(history.ms(place));
            call.gate.handle_timeout(now);
            act(&mut call, history, event, now)?;
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
