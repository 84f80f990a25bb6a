//! Random histories of an archive's retention, against a model that is slow, simple, and written another way.
//!
//! The model keeps all rule sets with their times and looks up which of them were in force; it counts days in a table
//! of month lengths; it remembers all readings of the clock since the last confirmation. It shares the words of the
//! public types with the code that it checks, and nothing else.

use decode::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::cell::RefCell;
use std::sync::LazyLock;

use super::*;
use crate::outcome::{Direction, Outcome, Source, State};

/// Histories in one run of this test.
const HISTORIES: u32 = 100_000;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// 2026-02-20T09:00:00Z: in a short month behind a long one.
const BEGIN: i64 = 20_504 * DAY + 9 * HOUR;
/// Longest time off in these histories.
const OFF_MAX: i64 = 7 * DAY;

/// Ages from short to long: as written; as months and days.
const AGES: [(&str, Option<(usize, i64)>); 8] = [
    ("1d", Some((0, 1))),
    ("2d", Some((0, 2))),
    ("30d", Some((0, 30))),
    ("1m", Some((1, 0))),
    ("13w", Some((0, 91))),
    ("1y", Some((12, 0))),
    ("2y 1d", Some((24, 1))),
    ("forever", None),
];

/// The number of the first day of each month, from January 1900; 1970-01-01 is 0.
static MONTHS: LazyLock<Vec<i64>> = LazyLock::new(|| {
    let mut first = vec![-25_567];
    for year in 1900..2300 {
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        for days in [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
            first.push(first[first.len() - 1] + days);
        }
    }
    first
});

/// Milliseconds at which something that ended at `ended` has the age.
fn aged(ended: i64, months: usize, days: i64) -> i64 {
    let (mut day, time) = (ended.div_euclid(DAY), ended.rem_euclid(DAY));
    if months > 0 {
        let month = MONTHS.partition_point(|&first| first <= day) - 1;
        let day_of_month = day - MONTHS[month];
        let same_day = MONTHS[month + months] + day_of_month;
        day = if same_day < MONTHS[month + months + 1] { same_day } else { MONTHS[month + months + 1] };
    }
    (day + days) * DAY + time
}

#[derive(Clone, PartialEq)]
struct Spec {
    tag: Option<usize>,
    extension: Option<usize>,
    audio: usize,
    data: usize,
}

struct Sub {
    tags: [bool; 2],
    extension: usize,
    started: i64,
    ended: Option<i64>,
    running: bool,
    holds: u32,
    audio: bool,
    data: bool,
    bytes: u64,
}

impl Sub {
    fn decode((kind, age): (u8, u16)) -> Sub {
        // Most are some days old, some are years.
        let started =
            BEGIN - if kind & 1 == 0 { i64::from(age) * HOUR / 32 } else { i64::from(age) * DAY / 16 };
        Sub {
            tags: [kind & 2 != 0, kind & 4 != 0],
            extension: usize::from(kind & 8 != 0),
            started,
            ended: (kind & 0x30 != 0).then_some(started + i64::from(age % 7) * 40 * MINUTE),
            running: kind & 0xf0 == 0xf0,
            holds: 0,
            audio: kind & 0xc0 != 0xc0,
            data: true,
            bytes: 1 + u64::from(age),
        }
    }

    fn subject(&self) -> Subject {
        let tag = |which: usize, name: &str| self.tags[which].then(|| name.to_owned());
        Subject {
            site: None,
            extension: Some(["100", "200"][self.extension].to_owned()),
            business_units: Vec::new(),
            direction: Direction::Inbound,
            tags: [tag(0, "a"), tag(1, "b")].into_iter().flatten().collect(),
            outcome: Outcome::Recorded,
            source: Some(Source::Mirror),
            state: Some(if self.running { State::Recording } else { State::Complete }),
            started: Timestamp::from_millis(self.started),
            ended: self.ended.map(Timestamp::from_millis),
            bytes: self.bytes,
            holds: self.holds,
            has_audio: self.audio,
            has_data: self.data,
            archived_copies: 0,
        }
    }

    /// Are audio and data old enough under these rules?
    fn is_due_under(&self, rules: Option<&Vec<Spec>>, now: i64) -> (bool, bool) {
        let speaks_of_it = |spec: &&Spec| {
            spec.tag.is_none_or(|tag| self.tags[tag]) && spec.extension.is_none_or(|e| e == self.extension)
        };
        let Some(spec) = rules.and_then(|rules| rules.iter().find(speaks_of_it)) else {
            return (false, false);
        };
        let is_old = |age: usize| match AGES[age].1 {
            Some((months, days)) => now >= aged(self.ended.unwrap_or(self.started), months, days),
            None => false,
        };
        (is_old(spec.audio), is_old(spec.data) && is_old(spec.audio))
    }
}

/// What the model knows: every rule set with its time, and every reading since the last confirmation.
struct Naive {
    log: Vec<(i64, Option<Vec<Spec>>)>,
    readings: Vec<(i64, i64, u32)>,
}

impl Naive {
    fn is_frozen(&self) -> bool {
        let is_jump = |&(wall, up, boot): &(i64, i64, u32)| {
            self.readings
                .iter()
                .find(|first| first.2 == boot)
                .is_some_and(|first| ((wall - first.0) - (up - first.1)).abs() > HOUR)
        };
        let is_odd_restart = |pair: &[(i64, i64, u32)]| {
            let started = pair[1].0 - pair[1].1;
            pair[0].2 != pair[1].2 && (started < pair[0].0 - HOUR || started > pair[0].0 + OFF_MAX)
        };
        self.readings.iter().any(is_jump) || self.readings.windows(2).any(is_odd_restart)
    }

    /// The rule sets that were in force at some moment of the last grace.
    fn in_force(&self, now: i64, grace: i64) -> Vec<Option<&Vec<Spec>>> {
        let window = now - grace;
        let at_its_start = self.log.iter().rfind(|(from, _)| *from <= window);
        let since = self.log.iter().filter(|(from, _)| *from > window);
        at_its_start.into_iter().chain(since).map(|(_, rules)| rules.as_ref()).collect()
    }

    fn set(&mut self, now: i64, rules: Vec<Spec>) {
        if self.log.last().is_some_and(|(_, last)| last.as_ref() == Some(&rules)) {
            return;
        }
        for (from, _) in &mut self.log {
            *from = (*from).min(now);
        }
        self.log.push((now, Some(rules)));
        // Thirty days behind its end, a set is forgotten.
        for place in 0..self.log.len() - 1 {
            if self.log[place + 1].0 <= now - 30 * DAY {
                self.log[place].1 = None;
            }
        }
    }

    /// From now on it is as if the rules in force were the first ones.
    fn confirmed(&mut self, now: i64) {
        if let Some((_, Some(last))) = self.log.pop() {
            self.log = vec![(i64::MIN, None), (now, Some(last))];
        } else {
            self.log = vec![(i64::MIN, None)];
        }
    }
}

/// How often the interesting things came about, over all histories.
#[derive(Debug, Default)]
struct Exercised {
    audio_deleted: u64,
    data_deleted: u64,
    held: u64,
    waited: u64,
    frozen: u64,
    refused: u64,
    confirmed: u64,
}

struct World {
    wall: i64,
    up: i64,
    boot: u32,
    grace: (Grace, i64),
    watch: ClockWatch,
    history: History,
    subs: Vec<Sub>,
    naive: Naive,
}

/// Takes one number after the other out of a word.
struct Bits(u32);

impl Bits {
    fn below(&mut self, n: u32) -> u32 {
        let taken = self.0 % n;
        self.0 /= n;
        taken
    }
}

impl World {
    fn new(grace: u8, subs: &[(u8, u16)]) -> World {
        let (text, hours) = [("immediate", 0), ("1h", 1), ("24h", 24), ("3d", 72)][usize::from(grace % 4)];
        World {
            wall: BEGIN,
            up: 5 * HOUR,
            boot: 0,
            grace: (text.parse().expect("grace"), hours * HOUR),
            watch: ClockWatch::new(),
            history: History::new(),
            subs: subs.iter().copied().map(Sub::decode).collect(),
            naive: Naive { log: vec![(i64::MIN, None)], readings: Vec::new() },
        }
    }

    fn observe(&mut self) -> Now {
        self.naive.readings.push((self.wall, self.up, self.boot));
        let reading = Reading {
            wall: Timestamp::from_millis(self.wall),
            since_boot_ns: self.up as u64 * 1_000_000,
            boot: self.boot.to_string(),
        };
        self.watch.observe(reading, Period::from_hours(168).expect("seven days"))
    }

    fn pass(&mut self, ms: i64) {
        self.wall += ms;
        self.up += ms;
    }

    fn step(&mut self, (kind, b, c): (u8, u8, u16), seen: &mut Exercised) -> Result<(), TestCaseError> {
        let mut bits = Bits(u32::from(b) | u32::from(c) << 8);
        match kind % 16 {
            0..=2 => self.change_rules(&mut bits),
            3 | 4 => {
                let which = bits.below(self.subs.len() as u32) as usize;
                let holds = &mut self.subs[which].holds;
                *holds = if kind % 16 == 3 { *holds + 1 } else { holds.saturating_sub(1) };
            }
            5 => self.pass(i64::from(c % 180) * MINUTE),
            6 => self.pass(i64::from(c % 49) * HOUR),
            7 => self.pass(i64::from(c % 500) * DAY),
            8 => self.pass([self.grace.1, self.grace.1 - 1, 1, DAY][usize::from(b % 4)].max(0)),
            13 => {
                self.pass_to_an_edge(&mut bits);
                self.prune(true, seen)?;
            }
            9 => {
                let by = [59 * MINUTE, HOUR, HOUR + 1, 26 * HOUR, 40 * DAY, i64::from(c) * DAY / 64];
                self.wall += by[usize::from(b / 2) % 6] * if b % 2 == 0 { 1 } else { -1 };
                self.observe();
            }
            10 => {
                let off = [MINUTE, DAY, OFF_MAX, OFF_MAX + 1, 40 * DAY, -HOUR, -HOUR - 1, -9 * DAY];
                self.observe();
                self.boot += 1;
                self.up = i64::from(c) * 100;
                self.wall += off[usize::from(b % 8)] + self.up;
            }
            11 => self.confirm(seen),
            12 => {
                let kept = serde_json::to_string(&self.watch).expect("writes");
                self.watch = serde_json::from_str(&kept).expect("reads");
                let kept = serde_json::to_string(&self.history).expect("writes");
                self.history = serde_json::from_str(&kept).expect("reads");
            }
            _ => self.prune(b % 4 != 0, seen)?,
        }
        Ok(())
    }

    /// To the moment at which one subject reaches some age, or a millisecond before.
    fn pass_to_an_edge(&mut self, bits: &mut Bits) {
        let sub = &self.subs[bits.below(self.subs.len() as u32) as usize];
        let rules = self.naive.log.last().and_then(|(_, rules)| rules.as_ref());
        let ages: Vec<usize> = rules.into_iter().flatten().flat_map(|spec| [spec.audio, spec.data]).collect();
        if ages.is_empty() {
            return;
        }
        if let Some((months, days)) = AGES[ages[bits.below(ages.len() as u32) as usize]].1 {
            let edge = aged(sub.ended.unwrap_or(sub.started), months, days) - i64::from(bits.below(2));
            self.pass((edge - self.wall).max(0));
        }
    }

    fn change_rules(&mut self, bits: &mut Bits) {
        let count = bits.below(4);
        let mut specs = Vec::new();
        for place in 0..count {
            let (tag, extension) = match bits.below(4) {
                0 if place + 1 == count => (None, None),
                0 | 1 => (Some(0), None),
                2 => (Some(1), None),
                _ => (None, Some(1)),
            };
            let audio = bits.below(8) as usize;
            let data = (audio + bits.below(3) as usize).min(7);
            specs.push(Spec { tag, extension, audio, data });
        }
        let rules = specs.iter().enumerate().map(|(place, spec)| Rule {
            tag: spec.tag.map(|tag| ["a", "b"][tag].to_owned()).into_iter().collect(),
            extension: spec.extension.map(|_| "2%".parse().expect("a pattern")),
            ..Rule::everything(
                &format!("rule {place}"),
                AGES[spec.audio].0.parse().expect("an age"),
                AGES[spec.data].0.parse().expect("an age"),
            )
        });
        let rules = RuleSet::new(rules.collect()).expect("a set");
        self.history.replace(rules, Timestamp::from_millis(self.wall));
        self.naive.set(self.wall, specs);
    }

    fn confirm(&mut self, seen: &mut Exercised) {
        let now = self.observe();
        assert_eq!(self.watch.confirm("kim", now.at(), &mut self.history).is_ok(), self.naive.is_frozen());
        if self.naive.is_frozen() {
            seen.confirmed += 1;
            self.naive.confirmed(self.wall);
            self.naive.readings = vec![(self.wall, self.up, self.boot)];
        }
    }

    fn prune(&mut self, may_take_most: bool, seen: &mut Exercised) -> Result<(), TestCaseError> {
        let now = self.observe();
        let is_frozen = self.naive.is_frozen();
        prop_assert_eq!(now.freeze().is_some(), is_frozen);
        let subjects = self.subs.iter().map(Sub::subject).enumerate();
        let plan = Plan::of(&self.history, self.grace.0, now, subjects);

        // What the model would have gone, and kept back: by holds, by the freeze, by the grace.
        let mut goes = vec![(false, false); self.subs.len()];
        let mut kept = [(0, 0); 3];
        let in_force = self.naive.in_force(self.wall, self.grace.1);
        for (sub, goes) in self.subs.iter().zip(&mut goes) {
            if sub.running {
                continue;
            }
            let last = self.naive.log.last().and_then(|(_, rules)| rules.as_ref());
            let due_now = sub.is_due_under(last, self.wall);
            let all: Vec<(bool, bool)> =
                in_force.iter().map(|rules| sub.is_due_under(*rules, self.wall)).collect();
            let wanted = (sub.audio && due_now.0, sub.data && due_now.1);
            let ripe = (wanted.0 && all.iter().all(|due| due.0), wanted.1 && all.iter().all(|due| due.1));
            let keeps = |by: &mut (u64, u64), what: (bool, bool)| {
                *by = (by.0 + u64::from(what.0), by.1 + u64::from(what.1));
            };
            if sub.holds > 0 {
                keeps(&mut kept[0], wanted);
            } else if is_frozen && (ripe.0 || ripe.1) {
                keeps(&mut kept[1], wanted);
            } else {
                *goes = ripe;
                keeps(&mut kept[2], (wanted.0 && !ripe.0, wanted.1 && !ripe.1));
            }
        }
        seen.held += kept[0].0;
        seen.frozen += kept[1].0;
        seen.waited += kept[2].0;

        let mut planned = vec![(false, false); self.subs.len()];
        for item in &plan.items {
            let sub = &self.subs[item.id];
            prop_assert!(sub.holds == 0 && !sub.running && !is_frozen, "{:?}", item);
            prop_assert!(item.due_since <= now.at(), "{:?}", item);
            planned[item.id] = (item.decision.takes_audio(), item.decision.takes_data());
        }
        prop_assert_eq!(&planned, &goes);
        let told = plan.held_back;
        let told = [told.holds, told.freeze, told.grace].map(|tally| (tally.audio, tally.data));
        prop_assert_eq!(told, kept);

        let sum = |of: &dyn Fn(&Sub, (bool, bool)) -> u64| -> u64 {
            self.subs.iter().zip(&goes).map(|(sub, goes)| of(sub, *goes)).sum()
        };
        let is_most = sum(&|_, goes| goes.0.into()) * 2 > sum(&|sub, _| sub.audio.into())
            || sum(&|_, goes| goes.1.into()) * 2 > sum(&|sub, _| sub.data.into())
            || sum(&|sub, goes| sub.bytes * u64::from(goes.0)) * 2
                > sum(&|sub, _| sub.bytes * u64::from(sub.audio));
        prop_assert_eq!(plan.clone().approve(Consent::Ordinary).is_err(), is_most);
        seen.refused += u64::from(is_most);
        let consent = if may_take_most { Consent::MoreThanHalf } else { Consent::Ordinary };
        let Ok(approved) = plan.approve(consent) else { return Ok(()) };
        for item in &approved.plan().items {
            let sub = &mut self.subs[item.id];
            seen.audio_deleted += u64::from(item.decision.takes_audio());
            seen.data_deleted += u64::from(item.decision.takes_data());
            sub.audio &= !item.decision.takes_audio();
            sub.data &= !item.decision.takes_data();
            prop_assert!(sub.data || !sub.audio, "facts were deleted before their audio");
        }
        Ok(())
    }

    /// With the holds released, the clock confirmed and time gone by, what the rules end is gone, and nothing else is.
    fn end(mut self, seen: &mut Exercised) -> Result<(), TestCaseError> {
        self.confirm(seen);
        for sub in &mut self.subs {
            sub.holds = 0;
        }
        self.pass(40 * 365 * DAY);
        let before: Vec<(bool, bool)> = self.subs.iter().map(|sub| (sub.audio, sub.data)).collect();
        self.prune(true, seen)?;
        let rules = self.naive.log.last().and_then(|(_, rules)| rules.as_ref());
        for (sub, before) in self.subs.iter().zip(before) {
            let ends = if sub.running { (false, false) } else { sub.is_due_under(rules, i64::MAX) };
            prop_assert_eq!((sub.audio, sub.data), (before.0 && !ends.0, before.1 && !ends.1));
        }
        Ok(())
    }
}

#[test]
fn a_hundred_thousand_random_histories_delete_nothing_wrong_and_keep_nothing_that_is_due() {
    let seen = RefCell::new(Exercised::default());
    let histories = RefCell::new(0);
    let strategy = (
        any::<u8>(),
        prop::collection::vec(any::<(u8, u16)>(), 1..=5),
        prop::collection::vec(any::<(u8, u8, u16)>(), 1..=24),
    );
    let config = Config { cases: HISTORIES, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&strategy, |(grace, subs, steps)| {
            let seen = &mut *seen.borrow_mut();
            *histories.borrow_mut() += 1;
            let mut world = World::new(grace, &subs);
            world.observe();
            for step in steps {
                world.step(step, seen)?;
            }
            world.end(seen)
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(histories.into_inner(), HISTORIES);
    // It was about something: each of these came about, and often.
    let seen = seen.into_inner();
    println!("{HISTORIES} histories: {seen:?}");
    for count in [
        seen.audio_deleted,
        seen.data_deleted,
        seen.held,
        seen.waited,
        seen.frozen,
        seen.refused,
        seen.confirmed,
    ] {
        assert!(count > 5_000, "{seen:?}");
    }
}
