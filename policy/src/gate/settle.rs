//! Brings what runs in line with what is wanted, and tells the recorder the difference.
//!
//! Whatever changes a part (a verdict, a request, a pause, a channel that is taken away) changes what is wanted and comes here;
//! nothing else starts, pauses, or destroys a recording.

use decode::Timestamp;
use decode::tracker::LegId;

use super::part::{FOREVER, GAPS_MAX, GUARD_MS, Lane, Part};
use super::{Action, Closing, Gate, Judged, RecordingKey, RecordingPlan};
use crate::channels::Grant;
use crate::rules::Verdict;

/// Something became known of a call.
pub(super) const LATE_FACT: &str = "a late fact";
/// The rules are others.
pub(super) const NEW_RULES: &str = "new rules";

impl Gate {
    /// Settles one part of a leg at this time; `cause` is who or what stands behind it.
    pub(super) fn settle(&mut self, leg: LegId, nth: usize, at: Timestamp, cause: &str) {
        let Some(place) = self.legs.get_mut(leg.slot()) else { return };
        let Some(mut judged) = place.take_if(|judged| judged.leg == leg) else { return };
        self.settle_part(&mut judged, nth, at, cause);
        if let Some(place) = self.legs.get_mut(leg.slot()) {
            *place = Some(judged);
        }
        // None of them frees or takes another channel: this ends.
        while let Some((victim, why)) = self.victims.pop() {
            self.cut(victim, at, &why);
        }
    }

    fn settle_part(&mut self, judged: &mut Judged, nth: usize, at: Timestamp, cause: &str) {
        let recording = RecordingKey { leg: judged.leg, nth: nth as u8 };
        let Judged { parts, lanes, .. } = judged;
        let (Some(part), Some(lane)) = (parts.get_mut(nth), lanes.get_mut(nth)) else { return };
        let Verdict::Record { rule, .. } = &part.verdict else {
            if part.begun {
                *lane = None;
                self.destroy(part, recording, at, cause);
            }
            return;
        };
        let rule = rule.clone();
        let wanted = part.machine.is_taking() && !part.cut;
        if wanted && part.channel.is_none() && part.refused.is_none() {
            self.take_channel(part, recording, at);
        }
        let runs = wanted && part.channel.is_some();
        if runs && (!part.begun || part.stopped.is_some()) {
            join_pauses(parts, nth);
        }
        let is_begun = parts.get(nth).is_some_and(|part| part.begun);
        if runs && !is_begun {
            let (segment, plan) = self.begin(judged, nth, at, rule);
            if let Some(place) = judged.segments.get_mut(nth) {
                *place = segment;
            }
            self.actions.push_back(Action::Start(plan));
            self.tell_signals(judged, recording);
        }
        let (Some(part), Some(Some(lane))) = (judged.parts.get_mut(nth), judged.lanes.get_mut(nth)) else {
            return;
        };
        let flows = runs && !part.pauses.is_paused() && part.gaps.len() < GAPS_MAX;
        // A change that comes with an older time than the last one acts from that on, and what was kept stays kept.
        let at = at.max(lane.from).max(lane.last.plus_nanos(1));
        let source = cause.to_owned();
        match (lane.is_open(), flows) {
            (true, false) => {
                (lane.until, part.gap) = (at, Some(at));
                (lane.guard, lane.refused) = (Timestamp::MIN, [None; 2]);
                self.actions.push_back(Action::Pause { recording, at, source });
            }
            (false, true) => {
                let since = part.gap.take().unwrap_or(at);
                let at = at.max(since);
                part.gaps.push((since, at));
                (lane.from, lane.until) = (at, FOREVER);
                lane.guard = at.plus_millis(GUARD_MS);
                self.actions.push_back(Action::Resume { recording, at, source });
            }
            _ => {}
        }
        if runs {
            part.stopped = None;
        } else {
            part.stopped.get_or_insert(at);
            if let Some(channel) = part.channel.take() {
                self.channels.release(channel);
            }
        }
    }

    /// Holds the lanes of a leg to the codes that there are now.
    pub(super) fn hide_keys(&mut self, leg: LegId) {
        let are_codes = self.rules.codes.is_any();
        let judged = self.legs.get_mut(leg.slot()).and_then(Option::as_deref_mut);
        let Some(judged) = judged.filter(|judged| judged.leg == leg) else { return };
        let hidden = hidden_keys(judged, are_codes);
        judged.lanes.iter_mut().flatten().for_each(|lane| lane.hides_keys = hidden);
    }

    fn take_channel(&mut self, part: &mut Part, recording: RecordingKey, at: Timestamp) {
        let Verdict::Record { priority, .. } = part.verdict else { return };
        let (grant, channel) = self.channels.take(recording, priority);
        part.channel = channel;
        let level = priority.level();
        match grant {
            Grant::Granted if self.rules.channels.is_none() => {}
            Grant::Granted => {
                let in_use = format!("{} in use", self.channels.in_use());
                part.say(at, "channels", in_use, "one is free".into());
            }
            Grant::TakenFrom(victim, other) => {
                let less = other.level();
                part.say(
                    at,
                    "channels",
                    format!("priority {level}"),
                    format!("takes one of priority {less}"),
                );
                let why = format!("its channel was taken by a call of priority {level}, its own is {less}");
                self.victims.push((victim, why));
            }
            Grant::Refused(in_use) => {
                part.refused = Some(in_use);
                let fact = format!("priority {level}");
                part.say(at, "channels", fact, format!("none is free, {in_use} of {in_use} are in use"));
                if part.begun {
                    part.notes += &format!("; no channel was free {}", part.how_far(at));
                }
            }
        }
    }

    /// Opens the lane, and tells what is to be recorded.
    fn begin(
        &mut self,
        judged: &mut Judged,
        nth: usize,
        at: Timestamp,
        rule: String,
    ) -> (u32, Box<RecordingPlan>) {
        let recording = RecordingKey { leg: judged.leg, nth: nth as u8 };
        let given = judged.segments.get(nth).copied().unwrap_or_default();
        let segment = match given {
            0 => self.segments.entry(judged.call).or_default().next(judged.nth_leg),
            given => given,
        };
        let hides_keys = hidden_keys(judged, self.rules.codes.is_any());
        let part = &mut judged.parts[nth];
        part.begun = true;
        (part.gap, part.stopped, part.cut) = (None, None, false);
        part.gaps.clear();
        let is_late = at > part.judged;
        part.began_late = is_late.then_some(at);
        if is_late {
            part.notes += &format!("; recorded from {} on, what came before was not kept", part.how_far(at));
        }
        let from = if is_late { at } else { Timestamp::MIN };
        if let Some(place) = judged.lanes.get_mut(nth) {
            *place = Some(Lane {
                recording,
                near: part.plan.near,
                from,
                until: FOREVER,
                last: Timestamp::MIN,
                hides_keys,
                guard: Timestamp::MIN,
                refused: [None; 2],
            });
        }
        let started = if is_late { at } else { part.plan.started };
        (segment, Box::new(RecordingPlan { segment, rule, started, ..(*part.plan).clone() }))
    }

    /// A fact or rules that came late: what there is must not be kept.
    fn destroy(&mut self, part: &mut Part, recording: RecordingKey, at: Timestamp, cause: &str) {
        let why = match &part.verdict {
            Verdict::Excluded { rule } => rule.clone(),
            Verdict::InternalExcluded => "internal calls are excluded".into(),
            Verdict::DeviceNotRecorded { why } => why.clone(),
            Verdict::Record { rule, .. } => rule.clone(),
        };
        let (step, since) = if cause == NEW_RULES { (NEW_RULES, "in force") } else { ("late fact", "known") };
        let when = format!("{since} {}", part.how_far(at));
        part.say(at, step, String::new(), "what had been recorded is destroyed".into());
        if let Some(channel) = part.channel.take() {
            self.channels.release(channel);
        }
        (part.begun, part.refused, part.cut) = (false, None, false);
        part.notes.clear();
        self.actions.push_back(Action::Discard(recording, format!("{why}; {when}")));
        part.destroyed = Some(when);
    }

    /// A recording's channel was taken away: it ends here in order.
    fn cut(&mut self, recording: RecordingKey, at: Timestamp, why: &str) {
        let judged = self.legs.get_mut(recording.leg.slot()).and_then(Option::as_deref_mut);
        let Some(judged) = judged.filter(|judged| judged.leg == recording.leg) else { return };
        let Some(part) = judged.parts.get_mut(usize::from(recording.nth)) else { return };
        part.cut = true;
        part.channel = None;
        part.notes += &format!("; it ends {}: {why}", part.how_far(at));
        part.say(at, "channels", String::new(), format!("recording ends: {why}"));
        self.settle(recording.leg, usize::from(recording.nth), at, why);
    }
}

/// What begins, or begins again, is held by what holds the leg's other recording: that has the same voices.
fn join_pauses(parts: &mut [Part], nth: usize) {
    let Some(part) = parts.get_mut(nth) else { return };
    let mut pauses = std::mem::take(&mut part.pauses);
    for (sibling, _) in parts.iter().zip(0..).filter(|&(_, other)| other != nth) {
        pauses.join(&sibling.pauses);
    }
    if let Some(part) = parts.get_mut(nth) {
        part.pauses = pauses;
    }
}

/// The sides whose telephone events may be a code.
fn hidden_keys(judged: &Judged, are_codes: bool) -> [bool; 2] {
    let mut hidden = [false; 2];
    for part in judged.parts.iter().filter(|part| are_codes && part.is_of_recorded_device()) {
        hidden[part.plan.near.index()] = true;
    }
    hidden
}

/// What only the gate knows of a recording that ends.
pub(super) fn closing(part: Part) -> Closing {
    let until = part.stopped;
    let mut pauses = part.gaps;
    if let Some(from) = part.gap.filter(|&from| until.is_none_or(|until| from < until)) {
        pauses.push((from, until.unwrap_or(FOREVER)));
    }
    Closing { from: part.began_late, until, pauses, facts: part.plan.facts }
}
