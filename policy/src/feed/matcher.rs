//! Which call a report is about: by Call-ID, else by extension (or the extension of an agent) and time.
//!
//! Told of every leg, it knows those that run and the last of those that are over. A report is about the call that its extension had
//! at its time; of several (one held, one asked back) the one begun last. Without one it is about the next call that begins
//! within [`EARLY_MS`], and waits for that. Two clocks may differ by [`SLACK_MS`].
//!
//! Of several a call record is about the one that its call was before, else the one whose numbers are the record's; and about none that is
//! another call of the same telephone system.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use decode::Timestamp;
use decode::tracker::{CallId, LegId};

use super::{Alike, Report, Whose, Word};
use crate::gate::CarriedAgent;
use crate::outcome::Direction;

/// How long a report waits for its call to begin, in milliseconds from its time.
pub(crate) const EARLY_MS: i64 = 30_000;
/// Reports that wait at one time; a further one is refused.
pub(crate) const WAITING_MAX: usize = 10_000;
/// How far the sender's clock may be from the capture's, in milliseconds.
pub(crate) const SLACK_MS: i64 = 2_000;
/// How long the name of a call that is over is its own, in milliseconds: telephone systems count from the beginning again.
const RECORDED_MS: i64 = 60_000;
/// How long a leg that is over is known, in milliseconds: what is told of a call later than that is looked for in the archive. A feed that was
/// away says again who is logged on since when, and the archive is not asked for that.
const ENDED_MS: i64 = 3_600_000;
/// Legs that are over and still known; of more, those that ended first are forgotten earlier.
pub(crate) const ENDED_MAX: usize = 10_000;
/// Agents that are logged on; a further one is refused.
pub(crate) const AGENTS_MAX: usize = 10_000;

/// A leg that was told of.
#[derive(Clone, Debug)]
struct Known {
    call: CallId,
    call_id: String,
    /// The extensions on it.
    extensions: Vec<String>,
    /// The numbers of its parties and the one that was called.
    numbers: Vec<String>,
    direction: Direction,
    started: Timestamp,
    ended: Option<Timestamp>,
    /// Which call it is in the records of which telephone system.
    recorded: Option<(String, String)>,
}

/// What is known of a leg when it is met.
#[derive(Clone, Debug)]
pub(crate) struct Met {
    pub(crate) call: CallId,
    pub(crate) call_id: String,
    pub(crate) extensions: Vec<String>,
    pub(crate) numbers: Vec<String>,
    pub(crate) direction: Direction,
    pub(crate) started: Timestamp,
}

impl Known {
    fn has(&self, extension: &str) -> bool {
        self.extensions.iter().any(|own| own == extension)
    }

    /// May a call record still be about it?
    fn is_lately(&self, at: Timestamp) -> bool {
        self.ended.is_none_or(|ended| at <= ended.plus_millis(RECORDED_MS))
    }

    fn is_at(&self, at: Timestamp) -> bool {
        let ended = self.ended.map_or(Timestamp::from_nanos(i64::MAX), |ended| ended.plus_millis(SLACK_MS));
        at >= self.started.plus_millis(-SLACK_MS) && at <= ended
    }
}

/// A leg that a report is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) leg: LegId,
    pub(crate) call: CallId,
    /// Only this extension's part in it.
    pub(crate) extension: Option<String>,
    /// When it was over; none while it runs.
    pub(crate) ended: Option<Timestamp>,
    /// The report names this leg, and not only its call.
    pub(crate) is_named: bool,
}

/// The legs that are known, and by what names: a report is matched by look-ups alone, however many there are.
#[derive(Debug, Default)]
struct Legs {
    known: BTreeMap<LegId, Known>,
    by_call_id: Names<String>,
    by_call: Names<CallId>,
    by_extension: Names<String>,
}

/// Legs by something that several may have.
#[derive(Debug)]
struct Names<K>(BTreeMap<K, BTreeSet<LegId>>);

impl<K> Default for Names<K> {
    fn default() -> Self {
        Names(BTreeMap::new())
    }
}

impl<K: Ord> Names<K> {
    fn add(&mut self, name: K, leg: LegId) {
        self.0.entry(name).or_default().insert(leg);
    }

    fn remove(&mut self, name: &K, leg: LegId) {
        if let Some(legs) = self.0.get_mut(name) {
            legs.remove(&leg);
            if legs.is_empty() {
                self.0.remove(name);
            }
        }
    }

    fn get<Q: Ord + ?Sized>(&self, name: &Q) -> impl Iterator<Item = LegId> + Clone
    where
        K: std::borrow::Borrow<Q>,
    {
        self.0.get(name).into_iter().flatten().copied()
    }
}

impl Legs {
    fn insert(&mut self, leg: LegId, known: Known) {
        self.remove(leg);
        self.by_call_id.add(known.call_id.clone(), leg);
        self.by_call.add(known.call, leg);
        known.extensions.iter().for_each(|extension| self.by_extension.add(extension.clone(), leg));
        self.known.insert(leg, known);
    }

    fn remove(&mut self, leg: LegId) -> Option<Known> {
        let known = self.known.remove(&leg)?;
        self.by_call_id.remove(&known.call_id, leg);
        self.by_call.remove(&known.call, leg);
        known.extensions.iter().for_each(|extension| self.by_extension.remove(extension, leg));
        Some(known)
    }

    /// Those of an extension, in the order in which they were seen.
    fn of_extension(&self, extension: &str) -> impl Iterator<Item = (LegId, &Known)> + Clone {
        self.by_extension.get(extension).filter_map(|leg| Some((leg, self.known.get(&leg)?)))
    }
}

/// An agent at an extension.
#[derive(Debug)]
struct LoggedOn {
    agent: String,
    since: Timestamp,
    /// Who has said so; empty when that is not known.
    who: String,
}

/// Who is logged on where, which calls there are, and what waits. See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Matcher {
    legs: Legs,
    /// Those that are over, in the order in which they ended.
    ended: VecDeque<LegId>,
    /// The agent at each extension. An agent is at one extension.
    agents: BTreeMap<String, LoggedOn>,
    waiting: VecDeque<Report>,
}

impl Matcher {
    /// A leg has begun, or more is known of it.
    pub(crate) fn meet(&mut self, leg: LegId, met: Met) {
        let Met { call, call_id, extensions, numbers, direction, started } = met;
        let recorded = self.legs.remove(leg).and_then(|known| known.recorded);
        let ended = None;
        let known = Known { call, call_id, extensions, numbers, direction, started, ended, recorded };
        self.legs.insert(leg, known);
    }

    /// Its parts were judged: these are its extensions.
    pub(crate) fn name(&mut self, leg: LegId, call: CallId, extensions: Vec<String>) {
        if let Some(known) = self.legs.remove(leg) {
            self.legs.insert(leg, Known { call, extensions, ..known });
        }
    }

    /// It is over.
    pub(crate) fn end(&mut self, leg: LegId, at: Timestamp) {
        let Some(known) = self.legs.known.get_mut(&leg) else { return };
        known.ended = Some(at.max(known.started));
        self.ended.push_back(leg);
        while let Some(&oldest) = self.ended.front() {
            // One that was met again runs.
            let ended = self.legs.known.get(&oldest).and_then(|known| known.ended);
            if let Some(ended) = ended {
                if at <= ended.plus_millis(ENDED_MS) && self.ended.len() <= ENDED_MAX {
                    break;
                }
                self.legs.remove(oldest);
            }
            self.ended.pop_front();
        }
    }

    /// The agent at an extension.
    pub(crate) fn agent_at(&self, extension: &str) -> Option<&str> {
        self.agents.get(extension).map(|there| there.agent.as_str())
    }

    /// Who has said that this agent is at the extension; none where another one is, or nobody.
    pub(crate) fn who_logged_on(&self, extension: &str, agent: Option<&str>) -> Option<&str> {
        let there = self.agents.get(extension).filter(|there| Some(there.agent.as_str()) == agent)?;
        Some(&there.who)
    }

    /// The extension of an agent.
    pub(crate) fn extension_of(&self, agent: &str) -> Option<&str> {
        self.agents.iter().find(|(_, there)| there.agent == agent).map(|(extension, _)| extension.as_str())
    }

    /// All who are logged on.
    pub(crate) fn agents(&self) -> impl Iterator<Item = CarriedAgent> {
        self.agents.iter().map(|(extension, LoggedOn { agent, since, .. })| {
            let (agent, extension) = (agent.clone(), extension.clone());
            CarriedAgent { agent, extension, since: *since }
        })
    }

    /// The Call-ID of a leg, and the extension that it is the first's of.
    pub(crate) fn name_of(&self, leg: LegId) -> Option<(String, String)> {
        let known = self.legs.known.get(&leg)?;
        Some((known.call_id.clone(), known.extensions.first().cloned().unwrap_or_default()))
    }

    /// The legs of an extension that run.
    pub(crate) fn legs_of(&self, extension: &str) -> impl Iterator<Item = LegId> {
        let running = self.legs.of_extension(extension).filter(|(_, known)| known.ended.is_none());
        running.map(|(leg, _)| leg)
    }

    /// An agent logs on; gives who was there before. False when there are too many.
    pub(crate) fn log_on(
        &mut self,
        agent: &str,
        extension: &str,
        since: Timestamp,
        who: &str,
    ) -> Result<Option<String>, AgentsFull> {
        if self.agents.len() >= AGENTS_MAX && !self.agents.contains_key(extension) {
            return Err(AgentsFull);
        }
        self.agents.retain(|own, there| there.agent != agent || own == extension);
        let fresh = LoggedOn { agent: agent.to_owned(), since, who: who.to_owned() };
        let before = self.agents.insert(extension.to_owned(), fresh);
        Ok(before.map(|before| before.agent).filter(|before| before != agent))
    }

    /// An agent logs off, or whoever is at an extension; gives who that was.
    pub(crate) fn log_off(&mut self, agent: Option<&str>, extension: Option<&str>) -> Option<String> {
        let extension = match (extension, agent) {
            // Both are named: it was no other's.
            (Some(extension), Some(agent)) => {
                Some(extension).filter(|extension| self.agent_at(extension) == Some(agent))?.to_owned()
            }
            (Some(extension), None) => extension.to_owned(),
            (None, Some(agent)) => self.extension_of(agent)?.to_owned(),
            (None, None) => return None,
        };
        self.agents.remove(&extension).map(|there| there.agent)
    }

    /// Keeps a report for a call that is yet to begin; gives it back when too many wait, or when it is too old for one.
    pub(crate) fn wait(&mut self, report: Report, now: Timestamp) -> Option<Report> {
        if self.waiting.len() >= WAITING_MAX || report.at.plus_millis(EARLY_MS) < now {
            return Some(report);
        }
        self.waiting.push_back(report);
        None
    }

    /// Has no more room for reports that wait.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX
    }

    /// Reports that have waited too long, `max` at most; the others wait on.
    pub(crate) fn overdue(&mut self, now: Timestamp, max: usize) -> Vec<Report> {
        let mut room = max;
        let mut is_due = |report: &Report| {
            let is_due = room > 0 && report.at.plus_millis(EARLY_MS) < now;
            room = room.saturating_sub(usize::from(is_due));
            is_due
        };
        let due = self.waiting.iter().map(&mut is_due).collect();
        self.take_waiting(due)
    }

    /// Reports that have waited for this leg, in the order in which they came.
    pub(crate) fn claim(&mut self, leg: LegId) -> Vec<Report> {
        let Some(known) = self.legs.known.get(&leg).filter(|_| !self.waiting.is_empty()) else {
            return Vec::new();
        };
        let is_named = |report: &Report| match &report.word {
            Word::Facts(Whose::CallId { .. }, _) => true,
            Word::Facts(Whose::Extension(extension) | Whose::Recorded { extension, .. }, _) => {
                known.has(extension)
            }
            Word::Facts(Whose::Agent(agent), _) => {
                known.extensions.iter().any(|extension| self.agent_at(extension) == Some(agent.as_str()))
            }
            Word::LogOn { .. } | Word::LogOff { .. } | Word::Join { .. } | Word::Leave { .. } => false,
        };
        let is_meant =
            |report: &Report| is_named(report) && self.find(report).iter().any(|found| found.leg == leg);
        let due: Vec<bool> = self.waiting.iter().map(is_meant).collect();
        self.take_waiting(due)
    }

    /// Takes out those that are due; the others stay in their order.
    fn take_waiting(&mut self, due: Vec<bool>) -> Vec<Report> {
        if !due.contains(&true) {
            return Vec::new();
        }
        let (mut taken, mut others) = (Vec::new(), VecDeque::new());
        for (report, is_due) in std::mem::take(&mut self.waiting).into_iter().zip(due) {
            if is_due { taken.push(report) } else { others.push_back(report) }
        }
        self.waiting = others;
        taken
    }

    /// The legs that a report is about; none where no such call is known.
    pub(crate) fn find(&self, report: &Report) -> Vec<Found> {
        let (legs, at) = (&self.legs, report.at);
        match &report.word {
            Word::Facts(Whose::CallId { call_id, extension }, _) => {
                by_call_id(legs, call_id, extension.as_deref())
            }
            Word::Facts(Whose::Extension(extension), _) => by_extension(legs, extension, at),
            Word::Facts(Whose::Recorded { extension, alike }, _) => {
                by_record(legs, extension, alike, &report.who, at)
            }
            Word::Facts(Whose::Agent(agent), _) => {
                let extension = self.extension_of(agent);
                extension.map_or_else(Vec::new, |extension| by_extension(legs, extension, at))
            }
            // Whatever the extension has had since then; a call that was over by then was another one's.
            Word::LogOn { extension, .. } => {
                let is_since =
                    |k: &Known| k.ended.is_none_or(|ended| ended > at) && (k.is_at(at) || k.started >= at);
                let since = legs.of_extension(extension).filter(|(_, known)| is_since(known));
                since.map(|(leg, known)| found(leg, known, Some(extension), true)).collect()
            }
            Word::LogOff { .. } | Word::Join { .. } | Word::Leave { .. } => Vec::new(),
        }
    }

    /// The report was told of these: what else is said of its call is about the same ones.
    pub(crate) fn note_record(&mut self, report: &Report, found: &[Found]) {
        let Word::Facts(Whose::Recorded { alike, .. }, _) = &report.word else { return };
        if alike.call.is_empty() {
            return;
        }
        for found in found {
            if let Some(known) = self.legs.known.get_mut(&found.leg) {
                known.recorded = Some((report.who.clone(), alike.call.clone()));
            }
        }
    }
}

/// There are too many agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AgentsFull;

fn found(leg: LegId, known: &Known, extension: Option<&str>, is_named: bool) -> Found {
    let extension = extension.map(str::to_owned);
    Found { leg, call: known.call, extension, ended: known.ended, is_named }
}

/// All legs of the calls that a leg of this Call-ID is part of; with an extension those that it takes part in.
fn by_call_id(legs: &Legs, call_id: &str, extension: Option<&str>) -> Vec<Found> {
    // A leg without signalling has no Call-ID.
    let named = legs.by_call_id.get(call_id).filter(|_| !call_id.is_empty());
    let calls: BTreeSet<CallId> =
        named.clone().filter_map(|leg| legs.known.get(&leg)).map(|known| known.call).collect();
    let named: BTreeSet<LegId> = named.collect();
    let all = calls.iter().flat_map(|call| legs.by_call.get(call));
    let known = all.filter_map(|leg| Some((leg, legs.known.get(&leg)?)));
    known
        .filter(|(_, known)| extension.is_none_or(|extension| known.has(extension)))
        .map(|(leg, known)| found(leg, known, extension, named.contains(&leg)))
        .collect()
}

/// The leg that the extension had at that time, the one begun last; else the first that begins soon after.
fn by_extension(legs: &Legs, extension: &str, at: Timestamp) -> Vec<Found> {
    let own = legs.of_extension(extension);
    let had = own.clone().filter(|(_, known)| known.is_at(at)).max_by_key(|(_, known)| known.started);
    let soon = at..=at.plus_millis(EARLY_MS);
    let next = || own.filter(|(_, k)| soon.contains(&k.started)).min_by_key(|(_, known)| known.started);
    let meant = had.or_else(next);
    meant.map(|(leg, known)| found(leg, known, Some(extension), true)).into_iter().collect()
}

/// The leg of the extension that a call record is about. It was this call in an earlier record, or is the one whose numbers are the
/// record's, or the one begun last; but none that is another call in records of the same telephone system. Else the first one of
/// these that begins soon after.
fn by_record(legs: &Legs, extension: &str, alike: &Alike, who: &str, at: Timestamp) -> Vec<Found> {
    let of_system = |known: &Known| {
        let recorded = known.recorded.as_ref().filter(|(system, _)| system == who && known.is_lately(at));
        recorded.map(|(_, call)| *call == alike.call)
    };
    let is_alike = |known: &Known| known.numbers.iter().any(|number| alike.has(number));
    let own = legs.of_extension(extension);
    let was_this = own.clone().any(|(_, known)| of_system(known) == Some(true));
    let may_be = |known: &Known| match of_system(known) {
        Some(is_this) if is_this || was_this => is_this,
        // A call may have another name after a transfer.
        Some(_) => is_alike(known),
        None => !was_this || is_alike(known),
    };
    let likely = own.filter(move |(_, known)| may_be(known));
    let had = likely.clone().filter(|(_, known)| known.is_at(at) || of_system(known) == Some(true));
    let had = had.max_by_key(|(_, known)| {
        let is_this = of_system(known) == Some(true);
        (known.is_at(at), is_this, is_alike(known), known.direction == alike.direction, known.started)
    });
    let soon = at..=at.plus_millis(EARLY_MS);
    let next = || likely.filter(|(_, k)| soon.contains(&k.started)).min_by_key(|(_, known)| known.started);
    let meant = had.or_else(next);
    meant.map(|(leg, known)| found(leg, known, Some(extension), true)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Fact;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_millis(1_000 * s)
    }

    fn tagged(whose: Whose, s: i64) -> Report {
        Report { at: at(s), who: "pbx".into(), word: Word::Facts(whose, vec![Fact::Tag("x".into())]) }
    }

    fn of(extension: &str, s: i64) -> Report {
        tagged(Whose::Extension(extension.into()), s)
    }

    fn met(leg: &decode::tracker::LegFacts, extension: &str, started: i64) -> Met {
        Met {
            call: leg.call,
            call_id: leg.sip_call_id.clone(),
            extensions: vec![extension.into()],
            numbers: leg.parties.iter().map(|party| party.number.clone()).collect(),
            direction: Direction::Outbound,
            started: at(started),
        }
    }

    /// Three legs of 2000: from 100 s to 200 s, from 150 s on, and from 300 s on; each a call of its own.
    fn matcher() -> (Matcher, Vec<LegId>) {
        let numbers = [("2000", "01632960001"); 3];
        let mut matcher = Matcher::default();
        let legs = crate::testing::legs(&numbers);
        for (leg, started) in legs.iter().zip([100, 150, 300]) {
            matcher.meet(leg.leg, met(leg, "2000", started));
        }
        let ids: Vec<LegId> = legs.iter().map(|facts| facts.leg).collect();
        matcher.end(ids[0], at(200));
        (matcher, ids)
    }

    #[test]
    fn an_extension_means_the_call_it_had_then_and_of_two_the_one_begun_last() {
        let (matcher, ids) = matcher();
        let meant = |s| matcher.find(&of("2000", s)).first().map(|found| found.leg);
        for (s, leg) in [(99, 0), (148, 1), (147, 0), (160, 1), (299, 2), (400, 2), (69, 9), (70, 0), (97, 0)]
        {
            assert_eq!(meant(s), ids.get(leg).copied(), "{s}");
        }
        assert_eq!(matcher.find(&of("2001", 120)), []);
    }

    #[test]
    fn a_log_on_does_not_reach_the_call_that_was_over_by_then() {
        let (matcher, ids) = matcher();
        let word = Word::LogOn { agent: "1021".into(), extension: "2000".into() };
        let report = |s| Report { at: at(s), who: "pbx".into(), word: word.clone() };
        let meant = |s| matcher.find(&report(s)).iter().map(|found| found.leg).collect::<Vec<_>>();
        assert_eq!(meant(199), ids);
        assert_eq!(meant(200), ids.get(1..).unwrap_or_default());
        assert_eq!(meant(201), ids.get(1..).unwrap_or_default());
    }

    #[test]
    fn a_call_id_means_every_leg_of_its_call() {
        let (mut matcher, ids) = matcher();
        let call = matcher.legs.known[&ids[0]].call;
        matcher.name(ids[2], call, vec!["2001".into()]);
        let by = |extension: Option<&str>| {
            let (call_id, extension) = ("1".to_owned(), extension.map(str::to_owned));
            matcher.find(&tagged(Whose::CallId { call_id, extension }, 0))
        };
        let legs = |found: Vec<Found>| found.iter().map(|f| (f.leg, f.is_named)).collect::<Vec<_>>();
        assert_eq!(legs(by(None)), [(ids[0], true), (ids[2], false)]);
        assert_eq!(legs(by(Some("2001"))), [(ids[2], false)]);
        assert_eq!(by(None)[0].ended, Some(at(200)));
    }

    #[test]
    fn a_report_waits_for_its_call_and_no_longer_than_it_may() {
        let (mut matcher, ids) = matcher();
        let early = of("2001", 500);
        assert_eq!(matcher.wait(early.clone(), at(505)), None);
        assert_eq!(matcher.wait(of("2001", 400), at(505)), Some(of("2001", 400)));
        assert_eq!((matcher.overdue(at(530), 9), matcher.claim(ids[1])), (vec![], vec![]));
        let Known { call, .. } = matcher.legs.known[&ids[1]];
        let later = Met { call, ..met(&crate::testing::facts("2001", "01632960001"), "2001", 520) };
        matcher.meet(ids[1], later);
        assert_eq!(matcher.claim(ids[1]), [early]);
        assert_eq!(matcher.wait(of("2002", 500), at(505)), None);
        assert_eq!(matcher.overdue(at(531), 0), []);
        assert_eq!(matcher.overdue(at(531), 9), [of("2002", 500)]);
    }

    #[test]
    fn an_agent_is_at_one_extension_and_an_extension_has_one_agent() {
        let mut matcher = Matcher::default();
        assert_eq!(matcher.log_on("1021", "2000", at(0), "pbx"), Ok(None));
        assert_eq!(matcher.log_on("1021", "2001", at(0), "pbx"), Ok(None));
        assert_eq!((matcher.agent_at("2000"), matcher.agent_at("2001")), (None, Some("1021")));
        assert_eq!(matcher.log_on("1022", "2001", at(0), "pbx"), Ok(Some("1021".into())));
        assert_eq!(matcher.log_off(Some("1021"), Some("2001")), None, "another one's");
        assert_eq!(matcher.log_off(Some("1022"), None), Some("1022".into()));
        assert_eq!(matcher.agent_at("2001"), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut matcher, ids) = matcher();
        let known = matcher.legs.known[&ids[0]].clone();
        for n in 0..WAITING_MAX {
            assert!(matcher.wait(of("2001", 500), at(500)).is_none(), "{n}");
        }
        assert!(matcher.is_full() && matcher.wait(of("2001", 500), at(500)).is_some());
        for n in 0..AGENTS_MAX {
            assert!(matcher.log_on(&n.to_string(), &n.to_string(), at(0), "pbx").is_ok());
        }
        assert_eq!(matcher.log_on("x", "x", at(0), "pbx"), Err(AgentsFull));
        for _ in 0..ENDED_MAX {
            matcher.legs.insert(ids[0], known.clone());
            matcher.end(ids[0], at(200));
        }
        assert!(matcher.ended.len() <= ENDED_MAX);
        ids.iter().for_each(|leg| drop(matcher.legs.remove(*leg)));
        let Legs { known, by_call_id, by_call, by_extension } = &matcher.legs;
        assert!(
            known.is_empty() && by_call_id.0.is_empty() && by_call.0.is_empty() && by_extension.0.is_empty()
        );
    }

    #[test]
    fn a_call_that_is_long_over_is_looked_for_in_the_archive() {
        let (mut matcher, ids) = matcher();
        let is_known = |matcher: &Matcher, s| !matcher.find(&of("2000", s)).is_empty();
        matcher.end(ids[1], at(3_800));
        assert!(is_known(&matcher, 110), "it ended at 200 s");
        matcher.end(ids[2], at(3_801));
        assert!(!is_known(&matcher, 110) && is_known(&matcher, 160));
        let goes_on = met(&crate::testing::facts("2000", "01632960001"), "2000", 150);
        matcher.meet(ids[1], goes_on);
        matcher.end(ids[2], at(9_000));
        assert!(is_known(&matcher, 160), "it goes on");
    }

    /// Two calls of 2000, the second one waiting behind the first, and what a telephone system's record says of one.
    fn two_calls() -> (Matcher, [LegId; 2]) {
        let mut matcher = Matcher::default();
        let legs = crate::testing::legs(&[("01632960001", "2000"), ("01632960002", "2000")]);
        for (leg, started) in legs.iter().zip([100, 150]) {
            matcher.meet(leg.leg, Met { direction: Direction::Inbound, ..met(leg, "2000", started) });
        }
        (matcher, [legs[0].leg, legs[1].leg])
    }

    fn record(call: &str, number: &str, s: i64) -> Report {
        let (call, number, direction) = (call.into(), number.into(), Direction::Inbound);
        let alike = Alike { call, number, direction };
        tagged(Whose::Recorded { extension: "2000".into(), alike }, s)
    }

    fn tell(matcher: &mut Matcher, report: &Report) -> Option<LegId> {
        let found = matcher.find(report);
        matcher.note_record(report, &found);
        found.first().map(|found| found.leg)
    }

    #[test]
    fn a_record_is_about_the_call_whose_number_it_has_and_later_ones_too_without_it() {
        let (mut matcher, [first, second]) = two_calls();
        assert_eq!(tell(&mut matcher, &record("41", "1632960001", 160)), Some(first));
        assert_eq!(tell(&mut matcher, &record("41", "", 170)), Some(first), "the number is withheld");
        assert_eq!(tell(&mut matcher, &record("42", "", 170)), Some(second), "another call");
        matcher.end(first, at(180));
        assert_eq!(tell(&mut matcher, &record("41", "1632960001", 190)), Some(first), "told late");
        assert_eq!(tell(&mut matcher, &record("42", "", 190)), Some(second));
        // Names are used again: the one of a call that is long over is the running one's.
        matcher.legs.known.get_mut(&second).expect("known").recorded = None;
        assert_eq!(tell(&mut matcher, &record("41", "", 241)), Some(second));
        // Without any sign it is the one begun last, as ever.
        let (mut matcher, [_, second]) = two_calls();
        assert_eq!(tell(&mut matcher, &record("", "", 160)), Some(second));
    }

    #[test]
    fn a_record_of_a_call_that_is_not_seen_yet_waits_for_it() {
        let (mut matcher, [first, second]) = two_calls();
        let later = matcher.legs.remove(second).expect("known");
        assert_eq!(tell(&mut matcher, &record("41", "1632960001", 110)), Some(first));
        let report = record("42", "1632960002", 149);
        assert_eq!(tell(&mut matcher, &report), None, "not the first one, which is another call");
        assert_eq!(matcher.wait(report.clone(), at(149)), None);
        matcher.legs.insert(second, later);
        assert_eq!(matcher.claim(second), [report]);
        // What is learnt of a leg later does not make it another call.
        let Known { call, .. } = matcher.legs.known[&first];
        let again = Met { call, ..met(&crate::testing::facts("01632960001", "2000"), "2000", 100) };
        matcher.meet(first, again);
        assert_eq!(tell(&mut matcher, &record("41", "", 160)), Some(first));
    }

    #[test]
    fn a_call_that_comes_back_to_its_extension_is_the_leg_that_it_has_then() {
        let (mut matcher, [first, second]) = two_calls();
        assert_eq!(tell(&mut matcher, &record("41", "1632960001", 110)), Some(first));
        matcher.end(first, at(120));
        if let Some(known) = matcher.legs.known.get_mut(&second) {
            known.numbers = vec!["01632960001".into(), "2000".into()];
        }
        assert_eq!(tell(&mut matcher, &record("41", "1632960001", 160)), Some(second));
    }
}
