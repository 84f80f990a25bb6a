//! The one gate that all audio passes.
//!
//! A pure machine: [`Gate::handle_event`] takes what the tracker tells, [`Gate::poll_action`] says what the recorder is to
//! do, and [`Gate::admit`] judges each packet. A [`Cleared`] frame can be made nowhere but here (its fields are private),
//! and the archive's writer takes nothing else: what no rule has judged cannot be written.

mod cold;
mod import;
mod signal;

use std::collections::{BTreeMap, VecDeque};

use decode::tracker::{CallId, Ending, Event, LegEnd, LegFacts, LegId, UnannouncedRtp};
use decode::{AudioFrame, Party, Side, Timestamp};

use crate::outcome::{Direction, Outcome};
use crate::rules::{Rules, Verdict};

pub use cold::{Cold, ColdCodec, ColdVerdict, RecodePass, Stays};
pub use import::{ImportPass, ImportRefusal};
pub use signal::ClearedSignal;

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
    /// The recorded extension.
    pub extension: String,
    /// Its display name; empty when it has none.
    pub extension_name: String,
    /// The other side's number, or its host when it has none.
    pub other_party: String,
    /// The other side's display name; empty when it has none.
    pub other_party_name: String,
    /// Which way the call goes.
    pub direction: Direction,
    /// The number that was dialled from outside, when it differs from the extension.
    pub ddi: Option<String>,
    /// The first packet's capture time.
    pub started: Timestamp,
    /// The rule that keeps it.
    pub rule: String,
}

/// What the recorder is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Begin this recording.
    Start(Box<RecordingPlan>),
    /// Finish this recording in order.
    Finish {
        /// The recording.
        recording: RecordingKey,
        /// Which segment of its call it is, from 1: more than planned, when its leg turned out to be part of an older call.
        segment: u32,
    },
    /// Destroy this recording: a fact that came late says that it must not be kept.
    Discard(RecordingKey, String),
    /// Enter the call into the balance sheet.
    Account {
        /// What became of it.
        outcome: Outcome,
        /// Why, in words.
        reason: String,
    },
}

/// A leg that was judged.
struct Judged {
    leg: LegId,
    verdict: Verdict,
    recordings: [Option<(RecordingKey, Side)>; RECORDINGS_MAX],
    /// Their segments, in the same order.
    segments: [u32; RECORDINGS_MAX],
}

/// The segments of one logical call: the highest number given, and the legs that are not over.
#[derive(Default)]
struct Segments {
    given: u32,
    legs: u32,
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
    legs: Vec<Option<Judged>>,
    /// By call: a leg with two recordings takes two numbers.
    segments: BTreeMap<CallId, Segments>,
    /// The call that each leg, by its slot, is counted in.
    counted: Vec<Option<CallId>>,
    actions: VecDeque<Action>,
}

impl Gate {
    /// A gate that judges by `rules`.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Gate {
            rules,
            legs: Vec::new(),
            segments: BTreeMap::new(),
            counted: Vec::new(),
            actions: VecDeque::new(),
        }
    }

    /// Takes an event; then [`poll_action`](Self::poll_action) until it gives `None`.
    pub fn handle_event(&mut self, event: &Event<'_>) {
        match event {
            Event::LegStarted(facts) => self.count(facts),
            Event::Tied(facts) => self.recount(facts),
            Event::AudioStarted(facts) => self.start(facts),
            Event::LegEnded(end) => self.end(end),
            Event::UnannouncedRtp(rtp) => {
                let outcome =
                    if rtp.looks_encrypted { Outcome::Undecryptable } else { Outcome::DeviceNotRecorded };
                self.actions.push_back(Action::Account { outcome, reason: unannounced(rtp) });
            }
            _ => {}
        }
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Judges one packet: for each recording that it may go into, the packet cleared.
    #[inline]
    pub fn admit<'a>(
        &self,
        leg: LegId,
        speaker: Side,
        frame: &'a AudioFrame<'a>,
    ) -> impl Iterator<Item = (RecordingKey, Cleared<'a>)> {
        let recordings = self.judged(leg).map_or(&[][..], |judged| &judged.recordings);
        recordings.iter().flatten().map(move |&(recording, near)| {
            let party = party(speaker, near);
            (recording, Cleared { party, frame })
        })
    }

    /// The running recordings of a leg, each with the side of its extension.
    pub fn recordings(&self, leg: LegId) -> impl Iterator<Item = (RecordingKey, Side)> + use<> {
        self.judged(leg).map_or([None; RECORDINGS_MAX], |judged| judged.recordings).into_iter().flatten()
    }

    #[inline]
    fn judged(&self, leg: LegId) -> Option<&Judged> {
        self.legs.get(leg.slot()).and_then(Option::as_ref).filter(|judged| judged.leg == leg)
    }

    fn start(&mut self, facts: &LegFacts) {
        let roles = self.rules.roles(facts);
        let mut verdict = Verdict::DeviceNotRecorded;
        let mut recordings = [None; RECORDINGS_MAX];
        let mut segments = [0; RECORDINGS_MAX];
        let mut count = 0;
        for ((&near, place), segment) in roles.extensions.iter().zip(&mut recordings).zip(&mut segments) {
            let extension = self.rules.site.number(facts, near);
            let judged = self.rules.judge(&extension, roles.direction);
            if let Verdict::Record { rule } = &judged {
                let recording = RecordingKey { leg: facts.leg, nth: count };
                *place = Some((recording, near));
                count += 1;
                *segment = self.segments.entry(facts.call).or_default().next(facts.segment);
                let plan = self.plan(recording, near, roles.direction, facts, rule.clone());
                self.actions.push_back(Action::Start(Box::new(RecordingPlan { segment: *segment, ..plan })));
            }
            verdict = verdict.or(judged);
        }
        let slot = facts.leg.slot();
        if self.legs.len() <= slot {
            self.legs.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.legs.get_mut(slot) {
            *place = Some(Judged { leg: facts.leg, verdict, recordings, segments });
        }
    }

    /// A leg begins: its call has one more.
    fn count(&mut self, facts: &LegFacts) {
        let slot = facts.leg.slot();
        if self.counted.len() <= slot {
            self.counted.resize(slot + 1, None);
        }
        if let Some(place) = self.counted.get_mut(slot) {
            *place = Some(facts.call);
            self.segments.entry(facts.call).or_default().legs += 1;
        }
    }

    /// A leg is over: when it was the last one of its call, nothing of that is kept.
    fn discount(&mut self, leg: LegId) {
        let Some(call) = self.counted.get_mut(leg.slot()).and_then(Option::take) else { return };
        if let Some(segments) = self.segments.get_mut(&call) {
            segments.legs = segments.legs.saturating_sub(1);
            if segments.legs == 0 {
                self.segments.remove(&call);
            }
        }
    }

    /// The leg turned out to be part of an older call: its recordings are segments of that.
    fn recount(&mut self, facts: &LegFacts) {
        self.discount(facts.leg);
        self.count(facts);
        let judged = self.legs.get_mut(facts.leg.slot()).and_then(Option::as_mut);
        let Some(judged) = judged.filter(|judged| judged.leg == facts.leg) else { return };
        for (_, segment) in judged.recordings.iter().zip(&mut judged.segments).filter(|(r, _)| r.is_some()) {
            *segment = self.segments.entry(facts.call).or_default().next(facts.segment);
        }
    }

    fn plan(
        &self,
        recording: RecordingKey,
        near: Side,
        direction: Direction,
        facts: &LegFacts,
        rule: String,
    ) -> RecordingPlan {
        let extension = self.rules.site.number(facts, near);
        let (own, other) = (facts.party(near), facts.party(near.other()));
        let dialled = &facts.party(Side::Callee).number;
        let ddi = (direction == Direction::Inbound && *dialled != extension && !dialled.is_empty())
            .then(|| dialled.clone());
        RecordingPlan {
            recording,
            call: facts.call,
            segment: facts.segment,
            near,
            extension,
            extension_name: own.name.clone(),
            other_party: self.rules.site.number(facts, near.other()),
            other_party_name: other.name.clone(),
            direction,
            ddi,
            started: facts.first_audio.unwrap_or(facts.started),
            rule,
        }
    }

    fn end(&mut self, end: &LegEnd) {
        let facts = &end.facts;
        let recordings = self.recordings(facts.leg);
        self.discount(facts.leg);
        let judged =
            self.legs.get_mut(facts.leg.slot()).and_then(|place| place.take_if(|j| j.leg == facts.leg));
        let discard = facts.answered.is_none() && !self.rules.keep_unanswered;
        for (recording, _) in recordings {
            self.actions.push_back(if discard {
                Action::Discard(recording, "the call was not answered".into())
            } else {
                let segments = judged.as_ref().map_or([0; RECORDINGS_MAX], |judged| judged.segments);
                let segment = segments.get(usize::from(recording.nth)).copied().unwrap_or_default();
                Action::Finish { recording, segment }
            });
        }
        let (outcome, reason) = outcome(end, judged.as_ref().map(|judged| &judged.verdict), discard);
        self.actions.push_back(Action::Account { outcome, reason });
    }
}

/// Why RTP without signalling is not recorded, with what an administrator needs to list the device: its addresses stand in the
/// line beside it.
fn unannounced(rtp: &UnannouncedRtp) -> String {
    let seen = rtp.ethernet.map_or_else(String::new, |e| format!(", Ethernet {} to {}", e.src, e.dst));
    let look = if rtp.looks_encrypted { ", whose bytes look encrypted" } else { "" };
    format!("RTP without signalling, no listed device, {} packets{look}{seen}", rtp.packets)
}

fn party(speaker: Side, near: Side) -> Party {
    if speaker == near { Party::Near } else { Party::Far }
}

/// The one column of the balance sheet that a call belongs to.
fn outcome(end: &LegEnd, verdict: Option<&Verdict>, discarded: bool) -> (Outcome, String) {
    let facts = &end.facts;
    if let Some(verdict) = verdict {
        return match verdict {
            Verdict::Record { .. } if discarded => (Outcome::NotAnswered, "early audio is not kept".into()),
            Verdict::Record { rule } => recorded(end, rule),
            Verdict::DeviceNotRecorded => {
                (Outcome::DeviceNotRecorded, "no recorded device takes part".into())
            }
            Verdict::InternalExcluded => (Outcome::InternalExcluded, "internal calls are excluded".into()),
        };
    }
    // Without a verdict no audio came that could be read.
    let missing = end.tracks.iter().find_map(|track| track.no_key).or(facts.no_key);
    if let Some(missing) = missing.filter(|_| facts.encrypted && facts.answered.is_some()) {
        return (Outcome::Undecryptable, format!("the media is encrypted: {}", missing.words()));
    }
    if facts.answered.is_some() {
        return match facts.audio_announced {
            true => (Outcome::NoMedia, "answered, and no audio packet was seen".into()),
            false => (Outcome::NoMedia, "answered, and no audio was announced".into()),
        };
    }
    match &facts.ending {
        Ending::Rejected { status, reason } => {
            (Outcome::NotAnswered, format!("{status} {reason}").trim_end().into())
        }
        Ending::Cancelled => (Outcome::NotAnswered, "cancelled by the caller".into()),
        Ending::AnsweredElsewhere => (Outcome::NotAnswered, "answered at another device".into()),
        Ending::Running | Ending::EndOfInput => {
            (Outcome::Running, "the capture ended before an answer".into())
        }
        _ if facts.malformed => (Outcome::Malformed, "the signalling could not be followed".into()),
        Ending::TimedOut | Ending::MediaStopped => (Outcome::NotAnswered, "no answer was seen".into()),
        Ending::Bye { .. } => (Outcome::NotAnswered, "hung up before an answer".into()),
    }
}

/// A call of which something was recorded: with what could not be read of it. What looks like ciphertext for the most part is kept
/// as evidence, and not counted as a recording of a call.
fn recorded(end: &LegEnd, rule: &str) -> (Outcome, String) {
    let (mut packets, mut scrambled) = (0, 0);
    let mut reason = String::new();
    if end.facts.joined_late {
        reason += "; it had begun before it was seen";
    }
    if end.facts.known_by_end {
        reason += ", and its audio is known by having stopped with its BYE";
    }
    if end.not_held_packets > 0 {
        reason += &format!(" ({} packets from before that were not held)", end.not_held_packets);
    }
    if end.shares_media {
        reason += "; another call announced the same places for its audio";
    }
    for track in &end.tracks {
        let who = if track.side == Side::Caller { "caller" } else { "callee" };
        packets += track.packets;
        scrambled += track.looks_encrypted;
        if let Some(missing) = track.no_key {
            let (lost, why) = (track.undecryptable, missing.words());
            reason += &format!("; {lost} packets of the {who} could not be decrypted: {why}");
        }
        if track.looks_encrypted > 0 {
            reason += &format!(
                "; {} packets of the {who}, announced as plain, look encrypted",
                track.looks_encrypted
            );
        }
    }
    let outcome = if scrambled > packets / 2 { Outcome::Undecryptable } else { Outcome::Recorded };
    (outcome, format!("{rule}{reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::facts;
    use decode::tracker::{NoKey, TrackReport};
    use decode::{Codec, Format};

    fn started(rules: Rules, caller: &str, callee: &str) -> (Gate, LegFacts, Vec<Action>) {
        let mut gate = Gate::new(rules);
        let facts = facts(caller, callee);
        gate.handle_event(&Event::AudioStarted(&facts));
        let actions = std::iter::from_fn(|| gate.poll_action()).collect();
        (gate, facts, actions)
    }

    fn end(gate: &mut Gate, facts: LegFacts) -> Vec<Action> {
        let end = LegEnd {
            facts,
            tracks: Vec::new(),
            holds: Vec::new(),
            absences: Vec::new(),
            foreign_packets: 0,
            shares_media: false,
            not_held_packets: 0,
        };
        gate.handle_event(&Event::LegEnded(Box::new(end)));
        std::iter::from_fn(|| gate.poll_action()).collect()
    }

    fn format() -> Format {
        Format { payload_type: 0, codec: Codec::Pcmu, clock_rate: 8000, channels: 1, fmtp: String::new() }
    }

    fn frame(format: &Format) -> AudioFrame<'_> {
        let at = Timestamp::from_millis(0);
        AudioFrame { at, ssrc: 1, sequence: 1, timestamp: 1, marker: false, format, payload: &[0xff] }
    }

    #[test]
    fn audio_of_a_leg_that_no_rule_has_judged_is_not_admitted() {
        let gate = Gate::new(Rules::default());
        let format = format();
        assert_eq!(gate.admit(facts("2000", "01632960001").leg, Side::Caller, &frame(&format)).count(), 0);
    }

    #[test]
    fn the_extension_is_near_and_the_other_side_far() {
        let (gate, facts, actions) = started(Rules::default(), "01632960001", "2000");
        let [Action::Start(plan)] = &actions[..] else { panic!("{actions:?}") };
        assert_eq!(
            (plan.extension.as_str(), plan.near, plan.direction),
            ("2000", Side::Callee, Direction::Inbound)
        );
        let format = format();
        let frame = frame(&format);
        let parties: Vec<Party> = [Side::Caller, Side::Callee]
            .into_iter()
            .flat_map(|side| gate.admit(facts.leg, side, &frame).map(|(_, cleared)| cleared.party()))
            .collect();
        assert_eq!(parties, [Party::Far, Party::Near]);
    }

    #[test]
    fn two_extensions_on_one_leg_are_two_segments_and_a_tie_renumbers_them() {
        let mut gate = Gate::new(Rules::default());
        let mut facts = facts("2000", "2001");
        facts.parties.iter_mut().for_each(|party| party.registered = true);
        gate.handle_event(&Event::LegStarted(&facts));
        gate.handle_event(&Event::AudioStarted(&facts));
        let segment = |action: &Action| match action {
            Action::Start(plan) => plan.segment,
            Action::Finish { segment, .. } => *segment,
            _ => 0,
        };
        let planned: Vec<u32> = std::iter::from_fn(|| gate.poll_action()).map(|a| segment(&a)).collect();
        assert_eq!(planned, [1, 2]);
        facts.call = CallId::new(Timestamp::from_millis(0), &[b"older"]);
        facts.segment = 4;
        gate.handle_event(&Event::Tied(&facts));
        let finished: Vec<u32> = end(&mut gate, facts).iter().map(segment).filter(|&n| n > 0).collect();
        assert_eq!(finished, [4, 5]);
        assert!(gate.segments.is_empty());
    }

    #[test]
    fn a_device_that_is_not_recorded_is_accounted_for() {
        let rules = Rules { devices: Some("3000-3999".parse().expect("pattern")), ..Rules::default() };
        let (mut gate, facts, actions) = started(rules, "2000", "01632960001");
        assert_eq!(actions, []);
        let actions = end(&mut gate, facts);
        assert!(
            matches!(&actions[..], [Action::Account { outcome: Outcome::DeviceNotRecorded, .. }]),
            "{actions:?}"
        );
    }

    #[test]
    fn a_recorded_device_is_recorded_on_whichever_side_it_stands() {
        let rules = Rules { devices: Some("2001".parse().expect("pattern")), ..Rules::default() };
        let (_, _, actions) = started(rules, "2000", "2001");
        let [Action::Start(plan)] = &actions[..] else { panic!("{actions:?}") };
        assert_eq!((plan.extension.as_str(), plan.near), ("2001", Side::Callee));
    }

    #[test]
    fn an_internal_call_is_excluded_when_the_rules_say_so() {
        let rules = Rules { exclude_internal: true, ..Rules::default() };
        let (mut gate, facts, actions) = started(rules, "2000", "2001");
        assert_eq!(actions, []);
        let actions = end(&mut gate, facts);
        assert!(
            matches!(&actions[..], [Action::Account { outcome: Outcome::InternalExcluded, .. }]),
            "{actions:?}"
        );
    }

    #[test]
    fn early_audio_of_an_unanswered_call_is_kept_or_destroyed_as_the_rules_say() {
        let (mut gate, facts, _) = started(Rules::default(), "2000", "01632960001");
        assert!(matches!(end(&mut gate, facts)[0], Action::Finish { segment: 1, .. }));
        let rules = Rules { keep_unanswered: false, ..Rules::default() };
        let (mut gate, facts, _) = started(rules, "2000", "01632960001");
        let actions = end(&mut gate, facts);
        assert!(matches!(
            actions[..],
            [Action::Discard(..), Action::Account { outcome: Outcome::NotAnswered, .. }]
        ));
    }

    #[test]
    fn a_call_without_audio_has_the_outcome_of_its_ending() {
        let of = |change: fn(&mut LegFacts)| {
            let mut facts = facts("2000", "2001");
            change(&mut facts);
            match end(&mut Gate::new(Rules::default()), facts).pop() {
                Some(Action::Account { outcome, reason }) => (outcome, reason),
                other => panic!("{other:?}"),
            }
        };
        let busy = of(|f| f.ending = Ending::Rejected { status: 486, reason: "Busy Here".into() });
        assert_eq!(busy, (Outcome::NotAnswered, "486 Busy Here".into()));
        assert_eq!(of(|f| f.ending = Ending::EndOfInput).0, Outcome::Running);
        assert_eq!(of(|f| f.answered = Some(f.started)).0, Outcome::NoMedia);
        let encrypted =
            of(|f| (f.answered, f.encrypted, f.no_key) = (Some(f.started), true, Some(NoKey::Zrtp)));
        assert_eq!(encrypted.0, Outcome::Undecryptable);
        assert!(encrypted.1.contains("ZRTP"), "{}", encrypted.1);
        // The keys are there, and nobody spoke.
        assert_eq!(of(|f| (f.answered, f.encrypted) = (Some(f.started), true)).0, Outcome::NoMedia);
    }

    fn track(side: Side, undecryptable: u64, looks_encrypted: u64) -> TrackReport {
        TrackReport {
            side,
            formats: Vec::new(),
            ssrcs: vec![7],
            packets: 100,
            decrypted: 0,
            undecryptable,
            no_key: (undecryptable > 0).then_some(NoKey::NotSeen),
            looks_encrypted,
            lost_network: 0,
            lost_capture: 0,
            reordered: 0,
            relayed: 0,
            duplicates: 0,
            jitter_ms: 0.0,
            skew_ppm: 0.0,
            audio_ms: 2_000,
            start: None,
            end: None,
            quality: decode::tracker::Quality::default(),
        }
    }

    #[test]
    fn what_could_not_be_read_of_a_recorded_call_is_in_its_reason() {
        for (tracks, expected, words) in [
            ([track(Side::Caller, 0, 0), track(Side::Callee, 0, 0)], Outcome::Recorded, ""),
            (
                [track(Side::Caller, 0, 0), track(Side::Callee, 100, 0)],
                Outcome::Recorded,
                "100 packets of the callee",
            ),
            ([track(Side::Caller, 0, 100), track(Side::Callee, 0, 0)], Outcome::Recorded, "look encrypted"),
            (
                [track(Side::Caller, 0, 100), track(Side::Callee, 0, 97)],
                Outcome::Undecryptable,
                "look encrypted",
            ),
        ] {
            let (mut gate, facts, _) = started(Rules::default(), "2000", "01632960001");
            let end = LegEnd {
                facts,
                tracks: tracks.into(),
                holds: Vec::new(),
                absences: Vec::new(),
                foreign_packets: 0,
                shares_media: false,
                not_held_packets: 0,
            };
            gate.handle_event(&Event::LegEnded(Box::new(end)));
            let actions: Vec<Action> = std::iter::from_fn(|| gate.poll_action()).collect();
            let [Action::Finish { .. }, Action::Account { outcome, reason }] = &actions[..] else {
                panic!("{actions:?}")
            };
            assert_eq!(*outcome, expected, "{reason}");
            assert!(reason.contains(words), "{reason}");
        }
    }
}
