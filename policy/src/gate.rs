//! The one gate that all audio passes.
//!
//! A pure machine: [`Gate::handle_event`] takes what the tracker tells, [`Gate::poll_action`] says what the recorder is to
//! do, and [`Gate::admit`] judges each packet. A [`Cleared`] frame can be made nowhere but here (its fields are private),
//! and the archive's writer takes nothing else: what no rule has judged cannot be written.

mod carried;
mod cold;
mod early;
mod import;
mod outcome;
mod part;
mod renew;
mod report;
mod request;
mod settle;
mod signal;
#[cfg(test)]
mod tests;
mod triggers;

use std::collections::{BTreeMap, VecDeque};

use decode::rtp::dtmf::Digit;
use decode::tracker::{CallId, Event, LegEnd, LegFacts, LegId};
use decode::{AudioFrame, Codec, Party, Side, Timestamp};

use crate::channels::Channels;
use crate::feed::Report;
use crate::feed::matcher::Matcher;
use crate::modes::Machine;
use crate::modes::orders::Orders;
use crate::outcome::{Direction, Outcome, Source};
use crate::pause::{PauseLimits, PauseSource};
use crate::rules::{Rules, SegmentFacts, Step};
use crate::site::other_of;
use crate::whatif::{PartNames, PastPart};
use part::{Lane, Part};

pub use carried::{CARRIED_MS_MAX, Carried, CarriedAgent, CarriedDesk, CarriedPause};
pub use cold::{Cold, ColdCodec, ColdVerdict, RecodePass, Stays};
pub use import::{ImportPass, ImportRefusal};
pub use report::{Refused, Told};
pub use request::{Reply, Request, Whom};
pub use signal::ClearedSignal;
pub use triggers::DesksFull;

/// An audio frame that a rule has cleared to be kept, and whose voice it is in that recording.
#[derive(Clone, Copy, Debug)]
pub struct Cleared<'a> {
    party: Party,
    frame: &'a AudioFrame<'a>,
}

impl<'a> Cleared<'a> {
    /// Whose voice it is.
    #[must_use]
    pub fn party(&self) -> Party {
        self.party
    }

    /// The packet.
    #[must_use]
    pub fn frame(&self) -> &'a AudioFrame<'a> {
        self.frame
    }

    /// For tests of what stands behind the gate.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn for_test(party: Party, frame: &'a AudioFrame<'a>) -> Self {
        Cleared { party, frame }
    }
}

/// A recording between its start and its end: the leg that it is of, and which one of that leg's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordingKey {
    leg: LegId,
    nth: u8,
}

impl RecordingKey {
    /// The leg that it is of.
    #[must_use]
    pub fn leg(self) -> LegId {
        self.leg
    }

    /// A small number that no other running recording has: the place of what belongs to it in a plain array.
    #[must_use]
    pub fn slot(self) -> usize {
        self.leg.slot() * RECORDINGS_MAX + usize::from(self.nth)
    }
}

/// Recordings of one leg: one for each party that is an extension.
const RECORDINGS_MAX: usize = 2;

/// What is known of a recording when it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordingPlan {
    /// Names it until it ends.
    pub recording: RecordingKey,
    /// The logical call.
    pub call: CallId,
    /// Which segment of the call, from 1.
    pub segment: u32,
    /// The side of the recorded extension.
    pub near: Side,
    /// The extension's display name; empty when it has none.
    pub extension_name: String,
    /// The other side's display name; empty when it has none.
    pub other_party_name: String,
    /// What is known of the segment: by the signalling, and by what was said before it began.
    pub facts: SegmentFacts,
    /// The leg's Call-ID as text; empty without signalling.
    pub sip_call_id: String,
    /// From when on it is kept: the first packet's capture time, or when a late fact or a person said so.
    pub started: Timestamp,
    /// The rule that keeps it.
    pub rule: String,
    /// The site's name.
    pub site: Option<String>,
    /// What named the extension, of a call that the PBX conferenced the recorder into.
    pub named_by: Option<String>,
}

impl RecordingPlan {
    fn names(&self) -> PartNames {
        PartNames {
            extension_name: self.extension_name.clone(),
            other_party_name: self.other_party_name.clone(),
            site: self.site.clone(),
        }
    }
}

/// How a recording stands while it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveState {
    /// What its mode takes and keeps, and would answer.
    pub machine: Machine,
    /// Nothing of it is kept at this moment: since when.
    pub left_out_since: Option<Timestamp>,
    /// Who or what holds it in a pause.
    pub held_by: Vec<String>,
    /// Nothing is kept because it was stopped, or has no channel: a pause that ends does not have it go on.
    pub is_stopped: bool,
    /// It was told that its pause may have been forgotten, and that still lasts.
    pub pause_forgotten: bool,
    /// When its pause ends by itself.
    pub pause_ends: Option<Timestamp>,
    /// It would be recorded, and no channel was free.
    pub has_no_channel: bool,
}

/// How a recording ended, as far as only the gate knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Closing {
    /// It began after the call's audio did, at this time.
    pub from: Option<Timestamp>,
    /// It ended before the call did, at this time: it was stopped, or its channel was taken away.
    pub until: Option<Timestamp>,
    /// Stretches between these in which nothing was kept; the last may reach past the call's end.
    pub pauses: Vec<(Timestamp, Timestamp)>,
    /// What is known of it in the end.
    pub facts: SegmentFacts,
}

/// A report that no running call is meant by: it is about finished recordings, if about anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    /// What was said.
    pub report: Report,
    /// The calls that are meant, each with the extension if only its part is; empty where the gate knows of no such call.
    pub calls: Vec<(CallId, Option<String>)>,
}

/// What the recorder is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Begin this recording.
    Start(Box<RecordingPlan>),
    /// From here on nothing of it is kept; its time goes on.
    Pause {
        /// The recording.
        recording: RecordingKey,
        /// From when.
        at: Timestamp,
        /// Who or what asked for it.
        source: String,
    },
    /// Keeping goes on.
    Resume {
        /// The recording.
        recording: RecordingKey,
        /// From when.
        at: Timestamp,
        /// Who or what asked for it.
        source: String,
    },
    /// More is known of a recording that runs.
    Known {
        /// The recording.
        recording: RecordingKey,
        /// All that is known of it.
        facts: Box<SegmentFacts>,
    },
    /// A report is about a call that is over, or that was never seen here.
    Late(Box<Late>),
    /// A recording that begins after its leg has this of what was said before; comes behind its [`Action::Start`].
    Signal {
        /// The recording.
        recording: RecordingKey,
        /// The message.
        signal: Box<ClearedSignal<'static>>,
    },
    /// A digit was keyed, and is to be kept.
    Keyed {
        /// The recording.
        recording: RecordingKey,
        /// By whom.
        party: Party,
        /// Which, when, how long.
        digit: Digit,
    },
    /// A pause has lasted so long that it may have been forgotten.
    PauseForgotten {
        /// The recording.
        recording: RecordingKey,
        /// When that was noticed.
        at: Timestamp,
        /// Who or what holds it.
        source: String,
    },
    /// Finish this recording in order.
    Finish {
        /// The recording.
        recording: RecordingKey,
        /// Which segment of its call it is, from 1: more than planned, when its leg turned out to be part of an older call.
        segment: u32,
        /// The rest.
        closing: Box<Closing>,
    },
    /// Destroy this recording: a fact that came late, or nobody's wish to keep it, says that it must not be kept.
    Discard(RecordingKey, String),
    /// Enter the call into the balance sheet.
    Account {
        /// What became of it.
        outcome: Outcome,
        /// Why, in words.
        reason: String,
        /// How it was judged, step by step.
        why: Vec<Step>,
        /// What it was judged by, so that other rules can be tried on it later.
        parts: Vec<PastPart>,
    },
}

/// A leg that was judged.
struct Judged {
    leg: LegId,
    /// The call that it is counted in, and which leg of it.
    call: CallId,
    nth_leg: u32,
    /// Where packets pass, by the number of the part. Beside the parts: this is all that a packet touches.
    lanes: [Option<Lane>; RECORDINGS_MAX],
    /// Their segments, in the same order; 0 without one.
    segments: [u32; RECORDINGS_MAX],
    parts: Vec<Part>,
    /// What the tracker told when its audio began, for rules that come later.
    told: Box<LegFacts>,
    /// When that was.
    began: Timestamp,
    /// What it has said while a recording of it may yet begin.
    waiting: signal::Waiting,
}

/// The segments of one logical call: the highest number given, and the legs that are not over.
#[derive(Default)]
struct Segments {
    given: u32,
    legs: u32,
    /// What was said of the call as a whole, for its legs that are judged later.
    said: request::Said,
}

impl Segments {
    /// The next number: a recording's own, and not below its leg's place in the call.
    fn next(&mut self, leg: u32) -> u32 {
        self.given = leg.max(self.given + 1);
        self.given
    }
}

/// The gate. See the module's text.
pub struct Gate {
    rules: Rules,
    /// By the leg's slot: a packet's verdict is found without a search.
    legs: Vec<Option<Box<Judged>>>,
    /// By call: a leg with two recordings takes two numbers.
    segments: BTreeMap<CallId, Segments>,
    /// The call that each leg, by its slot, is counted in.
    counted: Vec<Option<(LegId, CallId)>>,
    /// What became known of legs that are not judged yet.
    early: BTreeMap<LegId, request::Said>,
    /// What was asked and keyed of them.
    early_asks: BTreeMap<LegId, early::Early>,
    /// Whom reports are about.
    feed: Matcher,
    /// Reports about calls that are over that can be taken now.
    late_room: usize,
    /// The latest time that was told.
    now: Timestamp,
    /// Facts that were said so far.
    sayings: u64,
    channels: Channels<RecordingKey>,
    /// Recordings whose channel was taken away, and why; dealt with before anything else happens.
    victims: Vec<(RecordingKey, String)>,
    orders: Orders,
    desks: triggers::Desks,
    /// What outlives the program.
    carrying: carried::Carrying,
    pauses: PauseLimits,
    /// Messages that wait for recordings, of all legs.
    waiting_bytes: usize,
    actions: VecDeque<Action>,
}

impl Gate {
    /// A gate that judges by `rules` what a mirror port or a capture file shows.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Gate {
            channels: Channels::new(rules.channels, rules.overload),
            pauses: rules.pauses,
            rules,
            legs: Vec::new(),
            segments: BTreeMap::new(),
            counted: Vec::new(),
            early: BTreeMap::new(),
            early_asks: BTreeMap::new(),
            feed: Matcher::default(),
            late_room: usize::MAX,
            now: Timestamp::MIN,
            sayings: 0,
            victims: Vec::new(),
            orders: Orders::default(),
            desks: triggers::Desks::default(),
            carrying: carried::Carrying::default(),
            waiting_bytes: 0,
            actions: VecDeque::new(),
        }
    }

    /// Takes an event; then [`poll_action`](Self::poll_action) until it gives `None`.
    pub fn handle_event(&mut self, event: &Event<'_>) {
        match event {
            Event::LegStarted(facts) => {
                self.count(facts);
                self.meet(facts);
            }
            Event::Tied(facts) => {
                self.recount(facts);
                self.meet(facts);
            }
            Event::AudioStarted(facts) => self.start(facts),
            Event::Digit { leg, side, digit } => self.handle_digit(*leg, *side, *digit),
            Event::Joined { leg, at, number, name } => self.join(*leg, number, name, *at),
            Event::Identified { facts, side, at, number, name } => {
                self.identify(facts, *side, [number, name], *at);
            }
            Event::LegEnded(end) => self.end(end),
            Event::UnannouncedRtp(rtp) => {
                let outcome =
                    if rtp.looks_encrypted { Outcome::Undecryptable } else { Outcome::DeviceNotRecorded };
                let reason = outcome::unannounced(rtp);
                self.actions.push_back(Action::Account {
                    outcome,
                    reason,
                    why: Vec::new(),
                    parts: Vec::new(),
                });
            }
            _ => {}
        }
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The first recording of a leg, if any: reads what a packet of it will touch here. Several packets' legs are fetched side by side before
    /// the packets are judged (`decode::tracker::Tracker::foresee`).
    #[inline]
    #[must_use]
    pub fn foresee(&self, leg: LegId) -> Option<RecordingKey> {
        let judged = self.legs.get(leg.slot())?.as_deref().filter(|judged| judged.leg == leg)?;
        let lane = judged.lanes.first()?.as_ref()?;
        std::hint::black_box((lane.last, lane.refused));
        Some(lane.recording)
    }

    /// Judges one packet: for each recording that it may go into, the packet cleared. It is judged by the time at which it was
    /// captured, not by when it comes here.
    #[inline]
    pub fn admit<'a>(
        &mut self,
        leg: LegId,
        speaker: Side,
        frame: &'a AudioFrame<'a>,
    ) -> impl Iterator<Item = (RecordingKey, Cleared<'a>)> {
        let mut cleared = [None; RECORDINGS_MAX];
        let judged = self.legs.get_mut(leg.slot()).and_then(Option::as_deref_mut);
        if let Some(judged) = judged.filter(|judged| judged.leg == leg) {
            let Judged { lanes, parts, .. } = judged;
            for (place, lane) in cleared.iter_mut().zip(lanes) {
                let Some(lane) = lane else { continue };
                if !takes(lane, parts, frame.at) {
                    lane.note_refused(speaker, frame);
                    continue;
                }
                if (lane.from..lane.guard).contains(&frame.at) && lane.is_overtaken(speaker, frame) {
                    continue;
                }
                if lane.hides_keys[speaker.index()] && frame.format.codec == Codec::TelephoneEvent {
                    continue;
                }
                let party = party(speaker, lane.near);
                lane.last = lane.last.max(frame.at);
                *place = Some((lane.recording, Cleared { party, frame }));
            }
        }
        cleared.into_iter().flatten()
    }

    /// Is what happened at this time of the recording kept?
    #[must_use]
    pub fn keeps(&self, recording: RecordingKey, at: Timestamp) -> bool {
        let Some(judged) = self.judged(recording.leg) else { return false };
        let lane = judged.lanes.get(usize::from(recording.nth)).and_then(Option::as_ref);
        lane.is_some_and(|lane| takes(lane, &judged.parts, at))
    }

    /// The running recordings of a leg, each with the side of its extension.
    pub fn recordings(&self, leg: LegId) -> impl Iterator<Item = (RecordingKey, Side)> + use<> {
        let lanes = self.judged(leg).map_or([None; RECORDINGS_MAX], |judged| judged.lanes);
        lanes.into_iter().flatten().map(|lane| (lane.recording, lane.near))
    }

    /// The rules that it judges by.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Channels in use.
    #[must_use]
    pub fn channels_in_use(&self) -> usize {
        self.channels.in_use()
    }

    /// Channels there are; none without a limit.
    #[must_use]
    pub fn channels(&self) -> Option<usize> {
        self.rules.channels
    }

    /// How a running recording stands: what its mode and people make of it, and what holds it.
    #[must_use]
    pub fn state_of(&self, recording: RecordingKey) -> Option<LiveState> {
        let part = self.judged(recording.leg)?.parts.get(usize::from(recording.nth))?;
        let is_stopped = part.gap.is_some()
            && (!part.machine.is_taking() || part.stopped.is_some() || !part.pauses.is_paused());
        Some(LiveState {
            machine: part.machine,
            left_out_since: part.gap,
            held_by: part.pauses.sources().map(ToString::to_string).collect(),
            is_stopped,
            pause_forgotten: part.pauses.is_forgotten() && !is_stopped,
            pause_ends: part.pauses.ends(self.pauses).filter(|_| !is_stopped),
            has_no_channel: part.refused.is_some(),
        })
    }

    /// How the segments of a leg that runs were judged so far, step by step; nothing of one that has no audio yet. By the leg's
    /// [serial number](LegId::serial).
    #[must_use]
    pub fn steps_of(&self, leg: u64) -> Vec<Step> {
        let judged = self.legs.iter().flatten().find(|judged| judged.leg.serial() == leg);
        judged.into_iter().flat_map(|judged| &judged.parts).flat_map(Part::steps).collect()
    }

    /// The segments that run and of which nothing is recorded although the rules want them: nobody has asked for it yet, an order says so, or
    /// no channel was free. Of those the plan is what would be recorded.
    pub fn unrecorded(&self) -> impl Iterator<Item = &RecordingPlan> {
        let parts = self.legs.iter().flatten().flat_map(|judged| &judged.parts);
        parts.filter(|part| part.verdict.is_record() && !part.begun).map(|part| &*part.plan)
    }

    /// The extensions that have a call with audio of which nothing is recorded, whatever the rules say of it.
    pub fn speaking_unrecorded(&self) -> impl Iterator<Item = &str> {
        let parts = self.legs.iter().flatten().flat_map(|judged| &judged.parts);
        parts.filter(|part| !part.begun).map(|part| part.plan.facts.extension.as_str())
    }

    /// What is known of the segment of a running recording.
    #[must_use]
    pub fn facts_of(&self, recording: RecordingKey) -> Option<&SegmentFacts> {
        Some(&self.judged(recording.leg)?.parts.get(usize::from(recording.nth))?.plan.facts)
    }

    #[inline]
    fn judged(&self, leg: LegId) -> Option<&Judged> {
        self.legs.get(leg.slot()).and_then(Option::as_deref).filter(|judged| judged.leg == leg)
    }

    fn start(&mut self, facts: &LegFacts) {
        let roles = self.rules.roles(facts);
        let at = facts.first_audio.unwrap_or(facts.started);
        let early = self.early.remove(&facts.leg).unwrap_or_default();
        let of_call = self.segments.get(&facts.call).map(|call| call.said.clone()).unwrap_or_default();
        let mut parts = Vec::with_capacity(roles.extensions.len());
        for (&near, nth) in roles.extensions.iter().zip(0..RECORDINGS_MAX as u8) {
            let mut plan = self.plan(RecordingKey { leg: facts.leg, nth }, near, roles.direction, facts);
            let known = &mut plan.facts;
            let said = early.clone().of(of_call.clone(), &known.extension);
            self.learn_before(known, &said, at);
            let judgement = self.rules.judge(known);
            let mut part = Part::new(plan, judgement, at);
            part.said = early.clone().about(&part.plan.facts.extension);
            said.iter()
                .for_each(|said| part.say(at, "fact", said.fact.to_string(), said.told("known before")));
            request::follow(&self.orders, &mut part, at);
            parts.push(part);
        }
        let held_since = self.hold_carried(facts, &mut parts, at);
        let recorded = parts.iter().filter(|part| part.is_of_recorded_device());
        let holding: Vec<PauseSource> =
            recorded.flat_map(|part| self.desks.holding(&part.plan.facts.extension)).collect();
        for part in &mut parts {
            for source in &holding {
                part.say(at, "window", source.to_string(), "paused from the beginning".into());
                part.pauses.begin(source.clone(), at);
            }
        }
        let windows_since =
            parts.iter().filter_map(|part| self.desks.held_since(&part.plan.facts.extension)).min();
        let order_since = parts.iter().filter_map(|part| request::paused_since(&self.orders, part)).min();
        self.carrying.may_differ |= parts.iter().any(|part| part.pauses.is_paused());
        let slot = facts.leg.slot();
        if self.legs.len() <= slot {
            self.legs.resize_with(slot + 1, || None);
        }
        let count = parts.len();
        if let Some(place) = self.legs.get_mut(slot) {
            *place = Some(Box::new(Judged {
                leg: facts.leg,
                call: facts.call,
                nth_leg: facts.segment,
                lanes: [None; RECORDINGS_MAX],
                segments: [0; RECORDINGS_MAX],
                parts,
                told: Box::new(facts.clone()),
                began: at,
                waiting: signal::Waiting::default(),
            }));
        }
        // Packets of before its first message that are told of only now are in a pause that held then.
        let from = held_since.into_iter().chain(windows_since).chain(order_since).fold(at, Timestamp::min);
        (0..count).for_each(|nth| self.settle(facts.leg, nth, from, "the call's beginning"));
        let extensions = self.extensions_of(facts.leg);
        self.feed.name(facts.leg, facts.call, extensions);
        self.settle_early(facts.leg);
        self.claim(facts.leg, at);
    }

    /// What was said of a segment before it is judged, and whom it counts for at this time.
    fn learn_before(&self, known: &mut SegmentFacts, said: &[request::Saying], at: Timestamp) {
        known.agent = self.feed.agent_at(&known.extension).map(str::to_owned);
        for said in said {
            // What it refuses was told when it came.
            let _ = known.take(said.fact.clone(), &self.rules.site);
        }
        self.rules.people.tell(known, at);
    }

    /// The extensions' parts in a leg without audio: no rule was asked, but whose call it was is known.
    fn unjudged(
        &self,
        end: &LegEnd,
        outcome: Outcome,
        early: &request::Said,
        of_call: &request::Said,
    ) -> Vec<PastPart> {
        let (facts, roles) = (&end.facts, self.rules.roles(&end.facts));
        let source = source_of(facts);
        let part = |&near: &Side| {
            let mut known = self.rules.site.segment(facts, near, roles.direction, source);
            let said = early.clone().of(of_call.clone(), &known.extension);
            self.learn_before(&mut known, &said, facts.started);
            part::unjudged(known, self.names(facts, near), near, outcome, end)
        };
        roles.extensions.iter().take(RECORDINGS_MAX).map(part).collect()
    }

    /// A leg begins: its call has one more.
    fn count(&mut self, facts: &LegFacts) {
        let slot = facts.leg.slot();
        if self.counted.len() <= slot {
            self.counted.resize(slot + 1, None);
        }
        if let Some(place) = self.counted.get_mut(slot) {
            *place = Some((facts.leg, facts.call));
            self.segments.entry(facts.call).or_default().legs += 1;
        }
        self.now = self.now.max(facts.started);
    }

    /// A leg is over, or part of another call: when it was the last one of its call, nothing of that is kept. Gives what was said
    /// of the call.
    fn discount(&mut self, leg: LegId) -> Option<request::Said> {
        let (_, call) = self.counted.get_mut(leg.slot()).and_then(Option::take)?;
        let segments = self.segments.get_mut(&call)?;
        segments.legs = segments.legs.saturating_sub(1);
        if segments.legs > 0 {
            return Some(segments.said.clone());
        }
        self.segments.remove(&call).map(|segments| segments.said)
    }

    /// The leg turned out to be part of an older call: its recordings are segments of that.
    fn recount(&mut self, facts: &LegFacts) {
        let moved = self.discount(facts.leg).unwrap_or_default();
        self.count(facts);
        let segments = self.segments.entry(facts.call).or_default();
        let of_call = segments.said.clone();
        segments.said.merge(moved.clone());
        // What was said of the older call holds for this leg, and what was said of this one's for the others; of each the last word.
        // A leg that is not judged yet takes it then.
        let (news, others) = (segments.said.last_words_of(&of_call), segments.said.last_words_of(&moved));
        self.renumber(facts);
        let now = self.now;
        let legs = self.legs.iter().flatten().filter(|judged| judged.call == facts.call);
        for leg in legs.map(|judged| judged.leg).collect::<Vec<_>>() {
            self.teach_of_call(leg, if leg == facts.leg { &news } else { &others }, now);
        }
        self.teach_ddi(facts, now);
    }

    /// The recordings of a leg take numbers of its new call.
    fn renumber(&mut self, facts: &LegFacts) {
        let judged = self.legs.get_mut(facts.leg.slot()).and_then(Option::as_deref_mut);
        let Some(judged) = judged.filter(|judged| judged.leg == facts.leg) else { return };
        (judged.call, judged.nth_leg) = (facts.call, facts.segment);
        for part in &mut judged.parts {
            part.plan.call = facts.call;
        }
        for segment in judged.segments.iter_mut().filter(|segment| **segment > 0) {
            *segment = self.segments.entry(facts.call).or_default().next(facts.segment);
        }
    }

    /// What is told when the recording starts; which segment it is is said then.
    fn plan(
        &self,
        recording: RecordingKey,
        near: Side,
        direction: Direction,
        facts: &LegFacts,
    ) -> RecordingPlan {
        let started = facts.first_audio.unwrap_or(facts.started);
        let PartNames { extension_name, other_party_name, site } = self.names(facts, near);
        let source = source_of(facts);
        RecordingPlan {
            recording,
            call: facts.call,
            segment: facts.segment,
            near,
            extension_name,
            other_party_name,
            named_by: self.rules.site.named_by(facts),
            sip_call_id: facts.sip_call_id.clone(),
            started,
            rule: String::new(),
            site,
            facts: self.rules.site.segment(facts, near, direction, source),
        }
    }

    /// What the extension of a leg and its other side are called at the beginning, and where that is.
    fn names(&self, facts: &LegFacts, near: Side) -> PartNames {
        let site = &self.rules.site;
        let (extension_name, other_party_name) = match site.conferenced(facts) {
            Some(named) => {
                let other = other_of(facts, named).map(|other| other.name.clone());
                (named.name.clone(), other.unwrap_or_default())
            }
            None => (facts.party(near).name.clone(), facts.party(near.other()).name.clone()),
        };
        PartNames { extension_name, other_party_name, site: site.name.clone() }
    }

    fn end(&mut self, end: &LegEnd) {
        let leg = end.facts.leg;
        let ended = end.facts.ended.unwrap_or(end.facts.started);
        self.feed.end(leg, ended);
        let said = self.discount(leg).unwrap_or_default();
        let early = self.early.remove(&leg).unwrap_or_default();
        self.carrying.may_differ |= self.early_asks.remove(&leg).is_some();
        self.let_go_carried(&end.facts);
        let place = self.legs.get_mut(leg.slot());
        let judged = place.and_then(|place| place.take_if(|judged| judged.leg == leg));
        let Some(mut judged) = judged else {
            let (outcome, reason) = outcome::silent(end);
            let parts = self.unjudged(end, outcome, &early, &said);
            self.actions.push_back(Action::Account { outcome, reason, why: Vec::new(), parts });
            return;
        };
        self.forget_signals(&mut judged);
        (0..judged.parts.len()).for_each(|nth| triggers::release(&mut judged, nth, &mut self.actions));
        let (mut why, mut parts) = (Vec::new(), Vec::new());
        let mut speaks: Option<outcome::Fate> = None;
        self.carrying.may_differ |= judged.parts.iter().any(|part| part.pauses.is_paused());
        for (nth, mut part) in judged.parts.drain(..).enumerate() {
            let lane = judged.lanes.get(nth).copied().flatten();
            let any = lane.is_some_and(|lane| lane.last > Timestamp::MIN);
            let fate = outcome::fate(&part, end, self.rules.keep_unanswered, any);
            if let Some(channel) = part.channel.take() {
                self.channels.release(channel);
            }
            parts.push(part.past(fate.outcome, end));
            if let Some(lane) = lane {
                let segment = judged.segments.get(nth).copied().unwrap_or_default();
                if let Some(discard) = &fate.discard {
                    part.say(ended, "end", String::new(), format!("destroyed: {discard}"));
                }
                why.extend(part.take_trace().into_steps());
                self.actions.push_back(match fate.discard.clone() {
                    Some(reason) => Action::Discard(lane.recording, reason),
                    None => Action::Finish {
                        recording: lane.recording,
                        segment,
                        closing: Box::new(settle::closing(part)),
                    },
                });
            } else {
                why.extend(part.take_trace().into_steps());
            }
            if speaks.as_ref().is_none_or(|other| fate.outcome.rank() < other.outcome.rank()) {
                speaks = Some(fate);
            }
        }
        let (outcome, reason) = match speaks {
            Some(fate) => (fate.outcome, fate.reason),
            None => (Outcome::DeviceNotRecorded, outcome::NOBODY.to_owned()),
        };
        self.actions.push_back(Action::Account { outcome, reason, why, parts });
    }
}

/// Does a recording take what was captured at this time?
#[inline]
fn takes(lane: &Lane, parts: &[Part], at: Timestamp) -> bool {
    if at >= lane.until {
        return false;
    }
    at >= lane.from || parts.get(usize::from(lane.recording.nth)).is_some_and(|part| !part.is_left_out(at))
}

/// What PBXs send the recorder itself, and what a mirror port or a capture file shows.
fn source_of(facts: &LegFacts) -> Source {
    if facts.conferenced.is_some() { Source::RecordACall } else { Source::Mirror }
}

fn party(speaker: Side, near: Side) -> Party {
    if speaker == near { Party::Near } else { Party::Far }
}
