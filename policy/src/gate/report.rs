//! Reports of other systems (`feed`) on their way to the segments that they are about.
//!
//! A report for a running call becomes facts of its segments, and these are judged anew. One for a call that is yet to begin waits;
//! one for a call that is over is handed on: finished recordings are the archive's.

use std::collections::BTreeMap;

use decode::tracker::{CallId, LegFacts, LegId};
use decode::{Side, Timestamp};

use super::{Action, Gate, Late, RecordingKey};
use crate::feed::matcher::{Found, Met};
use crate::feed::{Report, Whose, Word};
use crate::gate::Whom;
use crate::modes::orders;
use crate::outcome::Direction;
use crate::rules::{Fact, FactRefusal};

/// What came of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Running legs that it is about.
    pub running: u32,
    /// Legs that are over, and whose recordings it is about.
    pub over: u32,
    /// It waits for a call to begin, or is about one from before that the archive may have.
    pub waits: bool,
    /// There was no room for it, or a fact of it was refused.
    pub refused: Option<Refused>,
}

/// Why a report was not taken, or not as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// One of its facts.
    #[error(transparent)]
    Fact(#[from] FactRefusal),
    /// Too many reports wait for calls.
    #[error("{} reports wait for calls to begin, the most there may be", crate::feed::matcher::WAITING_MAX)]
    TooManyWait,
    /// Too many agents are logged on.
    #[error("{} agents are logged on, the most there may be", crate::feed::matcher::AGENTS_MAX)]
    TooManyAgents,
    /// Too many reports about calls that are over have not been carried out yet.
    #[error("busy: too many reports about finished calls wait for the disk, say it again")]
    TooManyLate,
    /// A conversation cannot be joined or left, and why.
    #[error("{0}")]
    NotJoined(&'static str),
}

impl Gate {
    /// So many reports about calls that are over can be taken from now on; any number until it is told. Those that have waited in vain
    /// for a call go on waiting without room; of others the sender is told that there is none.
    pub fn allow_late(&mut self, room: usize) {
        self.late_room = room;
    }

    /// The running legs that a report is about.
    #[must_use]
    pub fn legs_of(&self, report: &Report) -> Vec<LegId> {
        let running = self.feed.find(report).into_iter().filter(|found| found.ended.is_none());
        running.map(|found| found.leg).collect()
    }

    /// Another system says something, now.
    pub fn handle_report(&mut self, report: Report, now: Timestamp) -> Told {
        self.now = self.now.max(now);
        self.carrying.may_differ |= matches!(report.word, Word::LogOn { .. } | Word::LogOff { .. });
        match &report.word {
            Word::Facts(..) => {
                let found = self.feed.find(&report);
                if !found.is_empty() {
                    return self.tell(&report, &found, now);
                }
                self.keep_report(report, now)
            }
            Word::LogOn { agent, extension } => {
                match self.feed.log_on(agent, extension, report.at, &report.who) {
                    Err(_) => Told { refused: Some(Refused::TooManyAgents), ..Told::default() },
                    Ok(before) => {
                        let found = self.feed.find(&report);
                        let told = self.tell(&report, &found, now);
                        // Behind it: what holds for those calls now is never between one agent's order and the other's.
                        if let Some(before) = before {
                            self.end_order(&orders::Whose::Agent(before), orders::End::LoggedOff, now);
                        }
                        told
                    }
                }
            }
            // The endpoint's, and no call's.
            Word::Join { .. } | Word::Leave { .. } => Told::default(),
            Word::LogOff { agent, extension } => {
                let gone = self.feed.log_off(agent.as_deref(), extension.as_deref());
                // One who is not known to be anywhere is gone, too; one who is elsewhere stays there.
                let unknown = agent.clone().filter(|agent| self.feed.extension_of(agent).is_none());
                if let Some(agent) = gone.or(unknown) {
                    self.end_order(&orders::Whose::Agent(agent), orders::End::LoggedOff, now);
                }
                Told::default()
            }
        }
    }

    /// The metadata of a recording session names somebody who was not there before: the other party of each segment that has none, or the
    /// latest one. It is as if a report had said so.
    pub(super) fn join(&mut self, leg: LegId, number: &str, name: &str, at: Timestamp) {
        self.now = self.now.max(at);
        const WHO: &str = "SIPREC metadata";
        let is_own = |part: &super::part::Part| part.plan.facts.extension == number;
        let judged = self.legs.get(leg.slot()).and_then(Option::as_deref).filter(|judged| judged.leg == leg);
        if judged.is_none_or(|judged| judged.parts.iter().any(is_own)) {
            return;
        }
        // What cannot be taken now is not worth refusing a call for.
        let _ = self.learn(&Whom::Leg(leg), &Fact::OutsideNumber(number.to_owned()), WHO, at, at);
        if !name.is_empty() {
            let _ = self.learn(&Whom::Leg(leg), &Fact::Contact(name.to_owned()), WHO, at, at);
        }
    }

    /// A party of a leg is named by another number than before. Where it is the other party of a segment, that is its number outside from now on,
    /// and the call no internal one. A number of the site's own changes nothing: somebody of the site who comes in between does not make
    /// an internal call of what was said before.
    pub(super) fn identify(
        &mut self,
        facts: &LegFacts,
        side: Side,
        [number, name]: [&str; 2],
        at: Timestamp,
    ) {
        self.now = self.now.max(at);
        const WHO: &str = "connected identity";
        let (roles, site) = (self.rules.roles(facts), &self.rules.site);
        let near = side.other();
        let is_meant = |part: &&super::part::Part| part.plan.near == near;
        let known = match self.judged(facts.leg) {
            Some(judged) => judged.parts.iter().find(is_meant).map(|part| part.plan.facts.clone()),
            None if !roles.extensions.contains(&near) => None,
            None => Some(site.segment(facts, near, roles.direction, super::source_of(facts))),
        };
        let Some(known) = known.filter(|known| site.is_another_outside(number, known)) else { return };
        let whom = Whom::Part { leg: facts.leg, extension: known.extension };
        let direction = match near {
            _ if !facts.caller_known => Direction::Unknown,
            Side::Caller => Direction::Outbound,
            Side::Callee => Direction::Inbound,
        };
        // What cannot be taken now is not worth a call. The number first: a call outside would have the extension's as its own meanwhile.
        let _ = self.learn(&whom, &Fact::OutsideNumber(number.to_owned()), WHO, at, at);
        // The former party's name is not this one's, also where none is given.
        let _ = self.learn(&whom, &Fact::OtherPartyName(name.to_owned()), WHO, at, at);
        if known.direction == Direction::Internal {
            let _ = self.learn(&whom, &Fact::Direction(direction), WHO, at, at);
        }
    }

    /// A leg is part of a call, which turns out late: the trunk's leg says what was dialled from outside. What else was said of that stays.
    pub(super) fn teach_ddi(&mut self, facts: &LegFacts, at: Timestamp) {
        const WHO: &str = "the trunk's leg";
        let Some(judged) = self.judged(facts.leg) else { return };
        let site = &self.rules.site;
        let news = judged.parts.iter().filter_map(|part| {
            let (near, known) = (part.plan.near, &part.plan.facts);
            let signalled = |facts| site.segment(facts, near, known.direction, known.source).ddi;
            let is_signalled = known.ddi == signalled(&judged.told);
            let ddi = signalled(facts).filter(|ddi| is_signalled && known.ddi.as_ref() != Some(ddi))?;
            Some((known.extension.clone(), Fact::Ddi(ddi)))
        });
        for (extension, fact) in news.collect::<Vec<_>>() {
            // What cannot be taken now is not worth a call.
            let _ = self.learn(&Whom::Part { leg: facts.leg, extension }, &fact, WHO, at, at);
        }
    }

    /// A leg has begun, or more is known of it: reports may have waited for it.
    pub(super) fn meet(&mut self, facts: &LegFacts) {
        let (roles, site) = (self.rules.roles(facts), &self.rules.site);
        let mut extensions = self.extensions_of(facts.leg);
        if extensions.is_empty() {
            extensions = roles.extensions.iter().map(|&side| site.number(facts, side)).collect();
        }
        let mut numbers: Vec<String> =
            [Side::Caller, Side::Callee].map(|side| site.number(facts, side)).into();
        numbers.extend(facts.parties.iter().map(|party| party.number.clone()));
        let met = Met {
            call: facts.call,
            call_id: facts.sip_call_id.clone(),
            extensions,
            numbers,
            direction: roles.direction,
            started: facts.started,
        };
        self.feed.meet(facts.leg, met);
        self.claim(facts.leg, self.now);
    }

    /// Gives a leg what has waited for it.
    pub(super) fn claim(&mut self, leg: LegId, at: Timestamp) {
        for report in self.feed.claim(leg) {
            let found = self.feed.find(&report);
            self.tell(&report, &found, at);
        }
    }

    /// Reports that have waited for too long are handed on.
    pub(super) fn release_reports(&mut self, now: Timestamp) {
        for report in self.feed.overdue(now, self.late_room) {
            self.hand_on(report, Vec::new());
        }
    }

    /// Which other system has said what is known of a running recording, by the facts' names ([`Fact::key`]). Of what signalling
    /// says, and of what was said before this program began, nobody is named.
    #[must_use]
    pub fn told_by(&self, recording: RecordingKey) -> BTreeMap<&'static str, String> {
        let Some((part, judged)) = self.part(recording).zip(self.judged(recording.leg())) else {
            return BTreeMap::new();
        };
        let known = &part.plan.facts;
        let of_call = self.segments.get(&judged.call).map(|call| &call.said);
        let said = [Some(&part.said), of_call].into_iter().flatten();
        let mut said: Vec<_> = said.flat_map(|said| said.tellers(&known.extension)).collect();
        said.sort_by_key(|&(nth, ..)| nth);
        let agent = self.feed.who_logged_on(&known.extension, known.agent.as_deref());
        let agent = agent.into_iter().map(|who| (0, "agent", who));
        let told = agent.chain(said).filter(|(.., who)| !who.is_empty());
        told.map(|(_, fact, who)| (fact, who.to_owned())).collect()
    }

    /// The extensions of a leg that is judged.
    pub(super) fn extensions_of(&self, leg: LegId) -> Vec<String> {
        let parts = self.judged(leg).map_or(&[][..], |judged| &judged.parts);
        parts.iter().map(|part| part.plan.facts.extension.clone()).collect()
    }

    fn keep_report(&mut self, report: Report, now: Timestamp) -> Told {
        if self.feed.is_full() {
            return Told { refused: Some(Refused::TooManyWait), ..Told::default() };
        }
        if let Some(report) = self.feed.wait(report, now) {
            // Its call is over, or was never seen: the archive is asked.
            let refused = self.hand_on(report, Vec::new());
            return Told { waits: refused.is_none(), refused, ..Told::default() };
        }
        Told { waits: true, ..Told::default() }
    }

    /// Hands a report on, also without room for it: who does not take it counts it. What to tell its sender, then.
    fn hand_on(&mut self, report: Report, calls: Vec<(CallId, Option<String>)>) -> Option<Refused> {
        let refused = (self.late_room == 0).then_some(Refused::TooManyLate);
        self.late_room = self.late_room.saturating_sub(1);
        self.actions.push_back(Action::Late(Box::new(Late { report, calls })));
        refused
    }

    /// Gives the facts of a report to the legs that it is about.
    fn tell(&mut self, report: &Report, found: &[Found], now: Timestamp) -> Told {
        self.feed.note_record(report, found);
        let mut told = Told::default();
        let facts = match &report.word {
            Word::Facts(_, facts) => facts.clone(),
            Word::LogOn { agent, .. } => vec![Fact::Agent(agent.clone())],
            Word::LogOff { .. } | Word::Join { .. } | Word::Leave { .. } => return told,
        };
        let running: Vec<&Found> = found.iter().filter(|found| found.ended.is_none()).collect();
        for fact in &facts {
            for whom in whoms(report, fact, &running) {
                match self.learn(&whom, fact, &report.who, report.at, now) {
                    Ok(_) | Err(FactRefusal::NoSuchCall) => {}
                    Err(refusal) => told.refused = Some(Refused::Fact(refusal)),
                }
            }
        }
        told.running = u32::try_from(running.len()).unwrap_or(u32::MAX);
        let over = found.iter().filter(|found| found.ended.is_some());
        let calls: Vec<_> = over.map(|found| (found.call, found.extension.clone())).collect();
        told.over = u32::try_from(calls.len()).unwrap_or(u32::MAX);
        if !calls.is_empty() {
            told.refused = self.hand_on(report.clone(), calls).or(told.refused);
        }
        told
    }
}

/// Whom a fact is told of: the whole call by its Call-ID, and its legs that come later; but who sat at a phone is said of that leg.
fn whoms(report: &Report, fact: &Fact, running: &[&Found]) -> Vec<Whom> {
    let by_call = matches!(report.word, Word::Facts(Whose::CallId { extension: None, .. }, _));
    if by_call && !matches!(fact, Fact::Agent(_)) {
        let mut calls: Vec<_> = running.iter().map(|found| found.call).collect();
        calls.sort_unstable();
        calls.dedup();
        return calls.into_iter().map(Whom::Call).collect();
    }
    let meant = running.iter().filter(|found| !by_call || found.is_named);
    meant
        .map(|found| match &found.extension {
            Some(extension) => Whom::Part { leg: found.leg, extension: extension.clone() },
            None => Whom::Leg(found.leg),
        })
        .collect()
}
