//! What people and other systems tell the gate during a call: requests, standing orders, facts, and that time passes.
//!
//! Who may ask what is judged before it comes here, by permissions; what a device's mode allows is judged here.

use std::collections::BTreeSet;

use decode::Timestamp;
use decode::tracker::{CallId, LegId};

use super::part::Part;
use super::{Action, EARLY_FACTS_MAX, Gate, RecordingKey};
use crate::modes::orders::{Lasting, Order, Orders, OrdersFull, Whose};
use crate::modes::{Answer, Ask, Role};
use crate::outcome::Direction;
use crate::pause::{Overdue, PauseLimits, PauseSource};
use crate::rules::{Fact, FactRefusal};

/// Which running segments are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Those of this leg.
    Leg(LegId),
    /// Those of this logical call.
    Call(CallId),
    /// Those of this extension.
    Extension(String),
    /// Those of this agent.
    Agent(String),
}

/// A request about running calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whose.
    pub whom: Whom,
    /// What.
    pub ask: Ask,
    /// As whom.
    pub role: Role,
    /// By whom: a person's name.
    pub name: String,
}

/// What came of a request: how many segments answered how. All zero when no such call is running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Changed.
    pub done: u32,
    /// Were so already.
    pub already: u32,
    /// Not allowed by their mode.
    pub refused: u32,
    /// Why the last of these was refused.
    pub why: Option<&'static str>,
}

impl Reply {
    fn add(&mut self, answer: Answer) {
        match answer {
            Answer::Done => self.done += 1,
            Answer::AlreadySo => self.already += 1,
            Answer::Refused(why) => {
                self.refused += 1;
                self.why = Some(why);
            }
        }
    }
}

impl Gate {
    /// Somebody asks for something, from now on.
    pub fn handle_request(&mut self, request: &Request, at: Timestamp) -> Reply {
        let Request { whom, ask, role, name } = request;
        let cause = format!("{} {name}", role.key());
        let source = PauseSource::Request(cause.clone());
        let mut reply = Reply::default();
        let mut keys = self.segments_of(whom);
        if matches!(ask, Ask::Pause | Ask::Resume) {
            keys = self.with_siblings(keys).into_iter().collect();
        }
        for key in keys {
            reply.add(self.ask(key, *ask, *role, &cause, &source, at));
        }
        reply
    }

    /// The same by a source of its own: a key code, a window rule. Whoever of a leg is meant, all its recordings pause: they have
    /// the same voices.
    pub fn handle_pause(&mut self, whom: &Whom, source: &PauseSource, begins: bool, at: Timestamp) -> Reply {
        let ask = if begins { Ask::Pause } else { Ask::Resume };
        let mut reply = Reply::default();
        for key in self.with_siblings(self.segments_of(whom)) {
            reply.add(self.ask(key, ask, Role::Agent, &source.to_string(), source, at));
        }
        reply
    }

    /// Something becomes known of running calls: they are judged anew. Gives the number of segments for which it is new; a leg or
    /// call that has no audio yet keeps it for its judgement.
    ///
    /// # Errors
    /// [`FactRefusal`]; nothing has changed then for the segments that refused it.
    pub fn handle_fact(&mut self, whom: &Whom, fact: &Fact, at: Timestamp) -> Result<u32, FactRefusal> {
        let keys = self.segments_of(whom);
        if keys.is_empty() {
            return self.keep_for_later(whom, fact);
        }
        let (mut changed, mut refused) = (0, None);
        for key in keys {
            let Some(part) = self.part_mut(key) else { continue };
            match part.facts.take(fact.clone()) {
                Ok(true) => changed += 1,
                Ok(false) => continue,
                Err(refusal) => {
                    refused = Some(refusal);
                    continue;
                }
            }
            // An internal call has no number outside, and a call that turns out to be none of these gets its own back.
            if let Fact::OutsideNumber(_) = fact {
                // Its dial plan is whoever's who says it.
                part.facts.outside_e164 = None;
            }
            if let Fact::Direction(direction) = fact {
                part.facts.outside_number = match direction {
                    Direction::Internal => None,
                    _ => part.facts.outside_number.take().or_else(|| Some(part.facts.other_party.clone())),
                };
            }
            self.judge_again(key, fact, at);
        }
        refused.map_or(Ok(changed), Err)
    }

    /// An order for all calls, until it is withdrawn: of those that run, and of those that come.
    ///
    /// # Errors
    /// [`OrdersFull`].
    pub fn handle_order(&mut self, whose: Whose, order: Order, at: Timestamp) -> Result<(), OrdersFull> {
        let old = self.orders.give(whose.clone(), order)?;
        for key in self.segments_of(&whom_of(&whose)) {
            if let (Some(old), Some(part)) = (&old, self.part_mut(key)) {
                unfollow(part, &whose, old, at);
            }
            follow_in(self, key, at);
            self.settle(key.leg, usize::from(key.nth), at, "a standing order");
        }
        Ok(())
    }

    /// An order ends, because somebody says so or because its agent logs off. Says whether there was one.
    pub fn handle_withdrawal(&mut self, whose: &Whose, at: Timestamp) -> bool {
        // What it did to running calls is undone before it is forgotten.
        let Some(order) = self.orders.withdraw(whose) else { return false };
        for key in self.segments_of(&whom_of(whose)) {
            let Some(part) = self.part_mut(key) else { continue };
            if !unfollow(part, whose, &order, at) {
                continue;
            }
            follow_in(self, key, at);
            self.settle(key.leg, usize::from(key.nth), at, &format!("end of the order of {}", order.name));
        }
        true
    }

    /// The standing orders in force.
    #[must_use]
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Time has passed: pauses that last too long are told or ended.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.release_digits(now);
        let limits = self.pauses;
        let mut overdue = Vec::new();
        for judged in self.legs.iter_mut().flatten() {
            for (part, nth) in judged.parts.iter_mut().zip(0..) {
                // Told of a recording, which there must be.
                let forgotten_ms = limits.forgotten_ms.filter(|_| part.begun);
                let limits = PauseLimits { forgotten_ms, ..limits };
                let source = part.pauses.sources().next().map(ToString::to_string).unwrap_or_default();
                if let Some(what) = part.pauses.handle_timeout(now, limits) {
                    overdue.push((RecordingKey { leg: judged.leg, nth }, what, source));
                }
            }
        }
        for (recording, what, source) in overdue {
            let Some(part) = self.part_mut(recording) else { continue };
            match what {
                Overdue::Forgotten => {
                    part.say(now, "pause", source.clone(), "may have been forgotten".into());
                    self.actions.push_back(Action::PauseForgotten { recording, at: now, source });
                }
                Overdue::Resumed => {
                    part.say(now, "pause", source, "ended by itself".into());
                    self.settle(recording.leg, usize::from(recording.nth), now, "the longest pause");
                }
            }
        }
    }

    pub(super) fn ask(
        &mut self,
        key: RecordingKey,
        ask: Ask,
        role: Role,
        cause: &str,
        source: &PauseSource,
        at: Timestamp,
    ) -> Answer {
        let Some(part) = self.part_mut(key) else { return Answer::AlreadySo };
        // What is keyed or shown is so whether anything is taken or not, and holds what may be started later.
        let is_state = matches!(source, PauseSource::Keys(_) | PauseSource::Window { .. });
        let answer = match (part.handle(ask, role, cause), ask) {
            (Answer::Done, Ask::Pause) => done(part.pauses.begin(source.clone(), at)),
            (Answer::Done, Ask::Resume) => done(part.pauses.end(source)),
            (answer, Ask::Pause) if is_state => {
                part.pauses.begin(source.clone(), at);
                answer
            }
            (answer, _) => answer,
        };
        let told = match answer {
            Answer::Done => "done",
            Answer::AlreadySo => "so already",
            Answer::Refused(why) => why,
        };
        part.say(at, "request", cause.to_owned(), format!("{}: {told}", ask.key()));
        if ask == Ask::Start {
            // Somebody asks anew: a channel may be free by now.
            part.refused = None;
        }
        self.settle(key.leg, usize::from(key.nth), at, cause);
        answer
    }

    fn judge_again(&mut self, key: RecordingKey, fact: &Fact, at: Timestamp) {
        let Some(part) = self.part(key) else { return };
        let mut facts = part.facts.clone();
        if let Fact::Agent(_) | Fact::BusinessUnit(_) = fact {
            self.rules.people.tell(&mut facts, at);
        }
        let judgement = self.rules.judge(&facts);
        let Some(part) = self.part_mut(key) else { return };
        part.facts = facts;
        part.say(at, "fact", fact_words(fact), "judged again".into());
        part.rejudge(judgement, at);
        follow_in(self, key, at);
        self.settle(key.leg, usize::from(key.nth), at, "a late fact");
    }

    /// For a leg or call that runs and is not judged yet.
    fn keep_for_later(&mut self, whom: &Whom, fact: &Fact) -> Result<u32, FactRefusal> {
        let is_meant = |leg: LegId, call: CallId| match whom {
            Whom::Leg(wanted) => leg == *wanted,
            Whom::Call(wanted) => call == *wanted,
            Whom::Extension(_) | Whom::Agent(_) => false,
        };
        let legs: Vec<LegId> =
            self.counted.iter().flatten().filter(|(leg, call)| is_meant(*leg, *call)).map(|c| c.0).collect();
        if legs.is_empty() {
            return Err(FactRefusal::NoSuchCall);
        }
        for leg in legs {
            let early = self.early.entry(leg).or_default();
            if early.len() >= EARLY_FACTS_MAX {
                return Err(FactRefusal::TooEarly);
            }
            early.push(fact.clone());
        }
        Ok(0)
    }

    /// The parts that are meant, in the order of their slots.
    fn segments_of(&self, whom: &Whom) -> Vec<RecordingKey> {
        let legs = self.legs.iter().flatten();
        let keys = legs.flat_map(|judged| {
            judged
                .parts
                .iter()
                .zip(0..)
                .filter(move |(part, _)| match whom {
                    Whom::Leg(leg) => judged.leg == *leg,
                    Whom::Call(call) => judged.call == *call,
                    Whom::Extension(number) => part.facts.extension == *number,
                    Whom::Agent(agent) => part.facts.agent.as_ref() == Some(agent),
                })
                .map(|(_, nth)| RecordingKey { leg: judged.leg, nth })
        });
        keys.collect()
    }

    /// The same, and the other parts of the legs of those whose device is recorded.
    fn with_siblings(&self, keys: Vec<RecordingKey>) -> BTreeSet<RecordingKey> {
        let of_recorded = keys.iter().filter(|&&key| self.part(key).is_some_and(Part::is_of_recorded_device));
        let siblings: Vec<RecordingKey> =
            of_recorded.flat_map(|key| self.segments_of(&Whom::Leg(key.leg))).collect();
        keys.into_iter().chain(siblings).collect()
    }

    fn part(&self, key: RecordingKey) -> Option<&Part> {
        self.judged(key.leg)?.parts.get(usize::from(key.nth))
    }

    fn part_mut(&mut self, key: RecordingKey) -> Option<&mut Part> {
        let judged = self.legs.get_mut(key.leg.slot())?.as_deref_mut()?;
        if judged.leg == key.leg { judged.parts.get_mut(usize::from(key.nth)) } else { None }
    }
}

fn done(is_new: bool) -> Answer {
    if is_new { Answer::Done } else { Answer::AlreadySo }
}

fn whom_of(whose: &Whose) -> Whom {
    match whose {
        Whose::Agent(agent) => Whom::Agent(agent.clone()),
        Whose::Extension(number) => Whom::Extension(number.clone()),
    }
}

fn fact_words(fact: &Fact) -> String {
    match fact {
        Fact::AccountCode(value) => format!("account code {value}"),
        Fact::Agent(value) => format!("agent {value}"),
        Fact::Ddi(value) => format!("DDI {value}"),
        Fact::OutsideNumber(value) => format!("outside number {value}"),
        Fact::HuntGroup(value) => format!("hunt group {value}"),
        Fact::Trunk(value) => format!("trunk {value}"),
        Fact::BusinessUnit(value) => format!("business unit {value}"),
        Fact::Direction(direction) => format!("direction {}", direction.key()),
        Fact::Tag(value) => format!("tag {value}"),
        Fact::Untag(value) => format!("no tag {value}"),
        Fact::Field(field, value) => format!("{} {value}", field.key()),
    }
}

/// Lets a part follow the order that is in force for it.
pub(super) fn follow(orders: &Orders, part: &mut Part, at: Timestamp) {
    let found = orders.of(&part.facts.extension, part.facts.agent.as_deref());
    let Some((whose, order)) = found else { return };
    let cause = format!("{} {}", order.role.key(), order.name);
    let ask = order.what.ask();
    let answer = part.handle(ask, order.role, &cause);
    if order.what == Lasting::Pause {
        // It holds what may be started later, too.
        part.pauses.begin(PauseSource::Order(order.name.clone()), at);
    }
    let told = match answer {
        Answer::Refused(why) => why,
        _ => "followed",
    };
    part.order = Some((whose, answer == Answer::Done));
    part.say(at, "standing order", cause, format!("{}: {told}", ask.key()));
}

/// Undoes what an order did, if the part follows it; says whether it does.
fn unfollow(part: &mut Part, whose: &Whose, order: &Order, at: Timestamp) -> bool {
    let Some((_, has_changed)) = part.order.take_if(|(followed, _)| followed == whose) else { return false };
    if order.what == Lasting::Pause {
        part.pauses.end(&PauseSource::Order(order.name.clone()));
    } else if has_changed {
        part.handle(order.what.reverse(), order.role, &order.name);
    }
    part.say(at, "standing order", order.name.clone(), "ended".into());
    true
}

/// The same for a running part: another order may hold for it than before.
fn follow_in(gate: &mut Gate, key: RecordingKey, at: Timestamp) {
    let Some(judged) = gate.legs.get_mut(key.leg.slot()).and_then(Option::as_deref_mut) else { return };
    let Some(part) = judged.parts.get_mut(usize::from(key.nth)) else { return };
    let now = gate.orders.of(&part.facts.extension, part.facts.agent.as_deref()).map(|(whose, _)| whose);
    let before = part.order.as_ref().map(|(whose, _)| whose.clone());
    if now == before {
        return;
    }
    // The order itself still stands, for whoever it was given for.
    if let Some(old) = before
        && let Some((_, order)) = gate.orders.iter().find(|(whose, _)| **whose == old)
    {
        unfollow(part, &old, &order.clone(), at);
    }
    follow(&gate.orders, part, at);
}
