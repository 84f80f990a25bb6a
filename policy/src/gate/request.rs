//! What people and other systems tell the gate during a call: requests, standing orders, facts, and that time passes.
//!
//! Who may ask what is judged before it comes here, by permissions; what a device's mode allows is judged here.

use std::collections::BTreeSet;

use decode::Timestamp;
use decode::tracker::{CallId, LegId};

use super::part::{Followed, Part};
use super::settle::LATE_FACT;
use super::{Action, Gate, Judged, RecordingKey};
use crate::modes::orders::{End, Lasting, Order, Orders, OrdersFull, Whose};
use crate::modes::{Answer, Ask, Role};
use crate::pause::{Overdue, PauseLimits, PauseSource};
use crate::rules::{Fact, FactRefusal};

/// Which running segments are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Those of this leg.
    Leg(LegId),
    /// Those of this extension on this leg.
    Part {
        /// The leg.
        leg: LegId,
        /// The extension.
        extension: String,
    },
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

impl Request {
    fn cause(&self) -> String {
        format!("{} {}", self.role.key(), self.name)
    }

    /// Whose pause it is, if it is one.
    pub(super) fn source(&self) -> PauseSource {
        PauseSource::Request(self.cause())
    }
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
        let Request { whom, ask, role, .. } = request;
        self.carrying.may_differ |= matches!(ask, Ask::Pause | Ask::Resume);
        let (cause, source) = (request.cause(), request.source());
        let mut reply = Reply::default();
        self.ask_early(request, at, &mut reply);
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
        self.carrying.may_differ = true;
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
    /// [`FactRefusal`]; nothing has changed then for the segments that refused it. [`FactRefusal::TooEarly`]: the call's legs to come
    /// do not learn it.
    pub fn handle_fact(&mut self, whom: &Whom, fact: &Fact, at: Timestamp) -> Result<u32, FactRefusal> {
        self.learn(whom, fact, "", at, at)
    }

    /// The same, with who says so, and since when it has been so.
    pub(super) fn learn(
        &mut self,
        whom: &Whom,
        fact: &Fact,
        who: &str,
        since: Timestamp,
        at: Timestamp,
    ) -> Result<u32, FactRefusal> {
        self.sayings += 1;
        let (nth, fact, who) = (self.sayings, fact.clone(), who.to_owned());
        let saying = Saying { nth, since, extension: None, fact, who };
        let kept = self.keep_for_later(whom, saying.clone());
        let keys = self.segments_of(whom);
        if keys.is_empty() {
            return kept.map(|()| 0);
        }
        let (mut changed, mut refused) = (0, None);
        for key in keys {
            if let Some(part) = self.part_mut(key).filter(|_| !matches!(whom, Whom::Call(_))) {
                // What it finds no room for can only be overwritten by what is said of the call.
                let _ = part.said.note(saying.clone());
            }
            match self.teach(key, &saying, at) {
                Ok(is_new) => changed += u32::from(is_new),
                Err(refusal) => refused = Some(refusal),
            }
        }
        // What was said of the whole call is for its legs to come, too.
        let refused = refused.or(kept.err().filter(|refusal| *refusal == FactRefusal::TooEarly));
        refused.map_or(Ok(changed), Err)
    }

    /// One segment learns something; says whether that is new.
    fn teach(&mut self, key: RecordingKey, saying: &Saying, at: Timestamp) -> Result<bool, FactRefusal> {
        let Saying { fact, who, .. } = saying;
        let site = &self.rules.site;
        let Some(part) = part_in(&mut self.legs, key) else { return Ok(false) };
        if !part.plan.facts.take(fact.clone(), site)? {
            return Ok(false);
        }
        let was_running = part.begun;
        self.judge_again(key, fact, who, at);
        if let Some(part) = self.part(key).filter(|part| was_running && part.begun) {
            let facts = Box::new(part.plan.facts.clone());
            self.actions.push_back(Action::Known { recording: key, facts });
        }
        Ok(true)
    }

    /// A leg's segments learn what was said of a call that turns out to be theirs. What was said of the leg alone stays where it is the
    /// later word: by since when it has been so, then by the order in which it was said.
    pub(super) fn teach_of_call(&mut self, leg: LegId, news: &[Saying], at: Timestamp) {
        for key in self.segments_of(&Whom::Leg(leg)) {
            let own = self.part(key).map(|part| part.said.touched_by(news)).unwrap_or_default();
            let mut words: Vec<&Saying> = news.iter().chain(&own).collect();
            words.sort_by_key(|saying| saying.rank());
            // A word that a later one takes back counts at no time: what it would have excluded must not be destroyed for it.
            let is_last = |(nth, saying): &(usize, &Saying)| {
                let later = words.get(nth + 1..).unwrap_or_default();
                saying.is_turn() || !later.iter().any(|later| saying.is_replaced_by(&later.fact))
            };
            for (_, saying) in words.iter().copied().enumerate().filter(is_last) {
                // What it refuses is told nobody: who said it is long gone.
                let _ = self.teach(key, saying, at);
            }
        }
    }

    /// An order for all calls, until it is withdrawn: of those that run, and of those that come.
    ///
    /// # Errors
    /// [`OrdersFull`].
    pub fn handle_order(&mut self, whose: Whose, order: Order, at: Timestamp) -> Result<(), OrdersFull> {
        let old = self.orders.give(whose.clone(), order)?;
        self.carrying.may_differ = true;
        for key in self.segments_of(&whom_of(&whose)) {
            if let (Some(old), Some(part)) = (&old, self.part_mut(key)) {
                unfollow(part, &whose, old, "another one takes its place", at);
            }
            follow_in(self, key, at);
            self.settle(key.leg, usize::from(key.nth), at, "a standing order");
        }
        Ok(())
    }

    /// Somebody takes an order back. Says whether there was one.
    pub fn handle_withdrawal(&mut self, whose: &Whose, by: &str, at: Timestamp) -> bool {
        self.end_order(whose, End::Withdrawn(by.to_owned()), at)
    }

    /// An order ends, however that is. Says whether there was one.
    pub(super) fn end_order(&mut self, whose: &Whose, how: End, at: Timestamp) -> bool {
        let told = how.to_string();
        // What it did to running calls is undone before it is forgotten.
        let Some(order) = self.orders.end(whose, how, at) else { return false };
        self.carrying.may_differ = true;
        for key in self.segments_of(&whom_of(whose)) {
            let Some(part) = self.part_mut(key) else { continue };
            if !unfollow(part, whose, &order, &told, at) {
                continue;
            }
            follow_in(self, key, at);
            self.settle(key.leg, usize::from(key.nth), at, &format!("end of the order of {}", order.name));
        }
        true
    }

    /// The extension and the agent that an order is about now: who is logged on there, and where; empty where that is not known.
    #[must_use]
    pub fn stands_at(&self, whose: &Whose) -> (String, Option<String>) {
        match whose {
            Whose::Extension(extension) => {
                (extension.clone(), self.feed.agent_at(extension).map(str::to_owned))
            }
            Whose::Agent(agent) => {
                (self.feed.extension_of(agent).unwrap_or_default().to_owned(), Some(agent.clone()))
            }
        }
    }

    /// The standing orders in force.
    #[must_use]
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Time has passed: pauses that last too long are told or ended.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.release_digits(now);
        self.release_reports(now);
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
                    self.carrying.may_differ = true;
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

    fn judge_again(&mut self, key: RecordingKey, fact: &Fact, who: &str, at: Timestamp) {
        let Some(part) = self.part(key) else { return };
        let mut facts = part.plan.facts.clone();
        match fact {
            Fact::Agent(_) => self.rules.people.tell(&mut facts, at),
            Fact::BusinessUnit(_) => {
                // It says nothing of whose call it is: that stays as it was.
                let (user, started) = (facts.who.user.clone(), facts.started);
                self.rules.people.tell(&mut facts, started);
                facts.who.user = user;
            }
            _ => {}
        }
        let judgement = self.rules.judge(&facts);
        let before = self.recorded_on(key.leg);
        let Some(part) = self.part_mut(key) else { return };
        part.plan.facts = facts;
        if matches!(fact, Fact::Agent(_)) {
            part.counted_at = at;
        }
        part.say(at, "fact", fact.to_string(), told(who, "judged again"));
        part.rejudge(judgement, at);
        follow_in(self, key, at);
        // Whose mode counts says whether its keys and windows pause, too.
        let held = self.hold_for_windows(key.leg, &before, &BTreeSet::new(), at);
        self.hide_keys(key.leg);
        for key in held.into_iter().filter(|other| *other != key).chain([key]) {
            self.settle(key.leg, usize::from(key.nth), at, LATE_FACT);
        }
    }

    /// For legs that run and are not judged yet.
    fn keep_for_later(&mut self, whom: &Whom, saying: Saying) -> Result<(), FactRefusal> {
        let (leg, extension) = match whom {
            Whom::Call(call) => {
                let call = self.segments.get_mut(call).ok_or(FactRefusal::NoSuchCall)?;
                return call.said.note(saying);
            }
            Whom::Leg(leg) => (*leg, None),
            Whom::Part { leg, extension } => (*leg, Some(extension.clone())),
            Whom::Extension(_) | Whom::Agent(_) => return Err(FactRefusal::NoSuchCall),
        };
        if !self.is_to_be_judged(leg) {
            return Err(FactRefusal::NoSuchCall);
        }
        self.early.entry(leg).or_default().note(Saying { extension, ..saying })
    }

    /// Does the leg run, and has no audio yet?
    pub(super) fn is_to_be_judged(&self, leg: LegId) -> bool {
        let runs = self.counted.get(leg.slot()).is_some_and(|c| c.is_some_and(|(running, _)| running == leg));
        runs && self.judged(leg).is_none()
    }

    /// The parts that are meant, in the order of their slots.
    pub(super) fn segments_of(&self, whom: &Whom) -> Vec<RecordingKey> {
        let legs = self.legs.iter().flatten();
        let keys = legs.flat_map(|judged| {
            judged
                .parts
                .iter()
                .zip(0..)
                .filter(move |(part, _)| match whom {
                    Whom::Leg(leg) => judged.leg == *leg,
                    Whom::Part { leg, extension } => {
                        judged.leg == *leg && part.plan.facts.extension == *extension
                    }
                    Whom::Call(call) => judged.call == *call,
                    Whom::Extension(number) => part.plan.facts.extension == *number,
                    Whom::Agent(agent) => part.plan.facts.agent.as_ref() == Some(agent),
                })
                .map(|(_, nth)| RecordingKey { leg: judged.leg, nth })
        });
        keys.collect()
    }

    /// The same, and the other parts of the legs of those whose device is recorded.
    pub(super) fn with_siblings(&self, keys: Vec<RecordingKey>) -> BTreeSet<RecordingKey> {
        let of_recorded = keys.iter().filter(|&&key| self.part(key).is_some_and(Part::is_of_recorded_device));
        let siblings: Vec<RecordingKey> =
            of_recorded.flat_map(|key| self.segments_of(&Whom::Leg(key.leg))).collect();
        keys.into_iter().chain(siblings).collect()
    }

    pub(super) fn part(&self, key: RecordingKey) -> Option<&Part> {
        self.judged(key.leg)?.parts.get(usize::from(key.nth))
    }

    pub(super) fn part_mut(&mut self, key: RecordingKey) -> Option<&mut Part> {
        part_in(&mut self.legs, key)
    }
}

fn part_in(legs: &mut [Option<Box<Judged>>], key: RecordingKey) -> Option<&mut Part> {
    let judged = legs.get_mut(key.leg.slot())?.as_deref_mut()?;
    if judged.leg == key.leg { judged.parts.get_mut(usize::from(key.nth)) } else { None }
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

/// With who says so, where that is known.
fn told(who: &str, what: &str) -> String {
    if who.is_empty() { what.to_owned() } else { format!("{who} says so: {what}") }
}

/// Something said of a leg or call that is not judged yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Saying {
    /// Its place among all that was said: a leg's own and its call's are taken in this order.
    nth: u64,
    /// Since when it has been so.
    since: Timestamp,
    /// Of this extension alone.
    extension: Option<String>,
    pub(super) fact: Fact,
    /// By whom; empty when nobody is named.
    pub(super) who: String,
}

impl Saying {
    pub(super) fn told(&self, what: &str) -> String {
        told(&self.who, what)
    }

    /// The later of two words counts where they were said of a leg and of its call apart.
    fn rank(&self) -> (Timestamp, u64) {
        (self.since, self.nth)
    }

    /// A direction and a number outside change each other.
    fn is_turn(&self) -> bool {
        matches!(self.fact, Fact::Direction(_) | Fact::OutsideNumber(_) | Fact::PaddedOutsideNumber(_))
    }

    /// Does this leave nothing behind of it? Each tag is one by itself, put on or taken off.
    fn is_replaced_by(&self, fact: &Fact) -> bool {
        match (&self.fact, fact) {
            (Fact::Tag(old) | Fact::Untag(old), Fact::Tag(tag) | Fact::Untag(tag)) => old == tag,
            // It may be the same one with its zeros.
            (Fact::Ddi(_), Fact::PaddedDdi(_)) => false,
            (old, new) => old.key() == new.key(),
        }
    }
}

/// What may be said of a leg or call before it is judged, in facts. What comes beyond that is refused.
const SAYINGS_MAX: usize = 64;

/// What was said of a leg or call, in order; of each fact the last, where what it was before leaves nothing behind.
#[derive(Clone, Debug, Default)]
pub(super) struct Said(Vec<Saying>);

impl Said {
    fn note(&mut self, saying: Saying) -> Result<(), FactRefusal> {
        let is_same = |old: &Saying| old.extension == saying.extension && old.is_replaced_by(&saying.fact);
        if saying.is_turn() {
            // Of these every turn counts, but not that it is said again.
            let last = self.0.iter().rposition(|old| old.is_turn() && old.nth < saying.nth);
            let last = last.filter(|&n| {
                self.0.get(n).is_some_and(|old| old.extension == saying.extension && old.fact == saying.fact)
            });
            if let Some(last) = last {
                self.0.remove(last);
            }
        } else if self.0.iter().any(|old| is_same(old) && old.nth > saying.nth) {
            return Ok(());
        } else {
            self.0.retain(|old| !is_same(old));
        }
        if self.0.len() >= SAYINGS_MAX {
            return Err(FactRefusal::TooEarly);
        }
        let place = self.0.partition_point(|old| old.nth < saying.nth);
        self.0.insert(place, saying);
        Ok(())
    }

    /// What of this was said for another one, and is the last word of its kind here; with the turns behind it, which count in order.
    pub(super) fn last_words_of(&self, other: &Said) -> Vec<Saying> {
        let is_others = |saying: &Saying| other.0.iter().any(|said| said.nth == saying.nth);
        let turned = self.0.iter().position(|saying| saying.is_turn() && is_others(saying));
        let words = self.0.iter().zip(0..).filter(|&(saying, n)| {
            is_others(saying) || saying.is_turn() && turned.is_some_and(|turned| n > turned)
        });
        words.map(|(saying, _)| saying.clone()).collect()
    }

    /// Takes in another call's: of each fact the later word. What there is no room for is left out.
    pub(super) fn merge(&mut self, other: Said) {
        for saying in other.0 {
            let is_same =
                |old: &Saying| old.extension == saying.extension && old.is_replaced_by(&saying.fact);
            if !saying.is_turn() && self.0.iter().any(|old| is_same(old) && old.rank() > saying.rank()) {
                continue;
            }
            if !saying.is_turn() {
                self.0.retain(|old| !is_same(old));
            }
            let _ = self.note(saying);
        }
    }

    /// What of this is about the same facts as those words.
    fn touched_by(&self, words: &[Saying]) -> Vec<Saying> {
        let is_touched = |own: &&Saying| {
            words.iter().any(|word| own.is_replaced_by(&word.fact) || own.is_turn() && word.is_turn())
        };
        self.0.iter().filter(is_touched).cloned().collect()
    }

    /// What of this was said of one extension.
    pub(super) fn about(mut self, extension: &str) -> Said {
        self.0.retain(|said| said.extension.as_ref().is_none_or(|own| own == extension));
        self
    }

    /// Who has said which fact of that extension, by the fact's name; a later word takes the place of an earlier one.
    pub(super) fn tellers<'s>(
        &'s self,
        extension: &'s str,
    ) -> impl Iterator<Item = (u64, &'static str, &'s str)> {
        let about =
            self.0.iter().filter(move |said| said.extension.as_ref().is_none_or(|own| own == extension));
        about.map(|said| (said.nth, said.fact.key(), said.who.as_str()))
    }

    /// What was said of one extension, of the leg and of its call, in the order in which it was said.
    pub(super) fn of(self, call: Said, extension: &str) -> Vec<Saying> {
        let is_about = |said: &Saying| said.extension.as_ref().is_none_or(|own| own == extension);
        let mut all: Vec<Saying> = self.0.into_iter().chain(call.0).filter(is_about).collect();
        all.sort_by_key(|said| said.nth);
        all
    }
}

/// Lets a part follow the order that is in force for it.
pub(super) fn follow(orders: &Orders, part: &mut Part, at: Timestamp) {
    let found = orders.of(&part.plan.facts.extension, part.plan.facts.agent.as_deref());
    let Some((whose, order)) = found else { return };
    let cause = format!("{} {}", order.role.key(), order.name);
    let ask = order.what.ask();
    let (machine, asked_by) = (part.machine, part.asked_by.clone());
    let answer = part.handle(ask, order.role, &cause);
    if order.what == Lasting::Pause {
        // It holds what may be started later, too.
        part.pauses.begin(PauseSource::Order(order.name.clone()), at);
    }
    let told = match answer {
        Answer::Refused(why) => why,
        _ => "followed",
    };
    let pauses = (order.what == Lasting::Pause).then(|| order.name.clone());
    part.order = Some(Followed { whose, machine, asked_by, pauses });
    part.say(at, "standing order", cause, format!("{}: {told}", ask.key()));
}

/// Since when the order that a part follows pauses its calls; none if it does not.
pub(super) fn paused_since(orders: &Orders, part: &Part) -> Option<Timestamp> {
    let followed = part.order.as_ref().filter(|followed| followed.pauses.is_some())?;
    orders.iter().find(|(whose, _)| **whose == followed.whose).map(|(_, order)| order.at)
}

/// Undoes what an order did, if the part follows it; says whether it does. What people asked for since stays asked for.
fn unfollow(part: &mut Part, whose: &Whose, order: &Order, how: &str, at: Timestamp) -> bool {
    let Some(followed) = part.order.take_if(|followed| followed.whose == *whose) else { return false };
    if order.what == Lasting::Pause {
        part.pauses.end(&PauseSource::Order(order.name.clone()));
    }
    (part.machine, part.asked_by) = (followed.machine, followed.asked_by);
    part.say(at, "standing order", order.name.clone(), format!("ended: {how}"));
    true
}

/// The same for a running part: another order may hold for it than before.
pub(super) fn follow_in(gate: &mut Gate, key: RecordingKey, at: Timestamp) {
    let Some(judged) = gate.legs.get_mut(key.leg.slot()).and_then(Option::as_deref_mut) else { return };
    let Some(part) = judged.parts.get_mut(usize::from(key.nth)) else { return };
    let now =
        gate.orders.of(&part.plan.facts.extension, part.plan.facts.agent.as_deref()).map(|(whose, _)| whose);
    let before = part.order.as_ref().map(|followed| followed.whose.clone());
    if now == before {
        return;
    }
    // The order itself still stands, for whoever it was given for.
    if let Some(old) = before
        && let Some((_, order)) = gate.orders.iter().find(|(whose, _)| **whose == old)
    {
        unfollow(part, &old, &order.clone(), "it holds for this call no more", at);
    }
    follow(&gate.orders, part, at);
}
