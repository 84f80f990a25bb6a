//! What is asked and keyed of a leg that has no audio yet: its segments do not exist, so it waits for them.
//!
//! A pause that is asked for while the telephone rings holds the recording from its first packet on, and so does a key code. Bounded for each
//! leg, and gone with it.

use decode::rtp::dtmf::Digit;
use decode::tracker::LegId;
use decode::{Side, Timestamp};

use super::carried::CarriedPause;
use super::request::{Reply, Request, Whom};
use super::{CallId, Gate};
use crate::modes::Ask;

/// Requests of one leg that wait; one more is answered as if there were no such call.
const REQUESTS_MAX: usize = 64;
/// Digits of one leg that wait; of more the first are let go: a code is its last digits.
const DIGITS_MAX: usize = 32;

/// What waits for one leg's first audio, each with its time: what was keyed while a pause held is none of the recording's, also where it
/// was ended before the audio.
#[derive(Debug, Default)]
pub(super) struct Early {
    requests: Vec<(Timestamp, Request)>,
    digits: Vec<(Side, Digit)>,
}

impl Early {
    /// Does a pause of this person hold?
    fn holds(&self, asker: &Request) -> bool {
        // However the call is named: a person has one pause on a leg.
        let theirs =
            |(_, other): &&(Timestamp, Request)| (other.role, &other.name) == (asker.role, &asker.name);
        self.requests.iter().rev().find(theirs).is_some_and(|(_, last)| last.ask == Ask::Pause)
    }
}

impl Gate {
    /// A pause, or its end, is asked for of legs without audio among others. Counts those for which that is new.
    pub(super) fn ask_early(&mut self, request: &Request, at: Timestamp, reply: &mut Reply) {
        if !matches!(request.ask, Ask::Pause | Ask::Resume) {
            return;
        }
        for (leg, whom) in self.early_legs(&request.whom) {
            let waiting = self.early_asks.entry(leg).or_default();
            // The end of a pause always has room.
            let has_room = waiting.requests.len() < REQUESTS_MAX - 1;
            match (request.ask, waiting.holds(request)) {
                (Ask::Pause, true) => reply.already += 1,
                (Ask::Pause, false) if !has_room => {}
                (Ask::Pause, false) | (Ask::Resume, true) => {
                    waiting.requests.push((at, Request { whom, ..request.clone() }));
                    reply.done += 1;
                }
                _ => {}
            }
        }
    }

    /// Notes a digit of a leg without audio; says whether it is one.
    pub(super) fn key_early(&mut self, leg: LegId, side: Side, digit: Digit) -> bool {
        let is_early = self.is_to_be_judged(leg);
        if is_early {
            let digits = &mut self.early_asks.entry(leg).or_default().digits;
            if digits.len() >= DIGITS_MAX {
                digits.remove(0);
            }
            digits.push((side, digit));
        }
        is_early
    }

    /// The pauses that hold legs without audio.
    pub(super) fn early_pauses(&self) -> impl Iterator<Item = CarriedPause> {
        self.early_asks.iter().filter_map(|(&leg, early)| {
            let asked = early.requests.iter().filter(|(_, request)| request.ask == Ask::Pause);
            let held = asked.filter(|(_, request)| early.holds(request));
            let by = held.clone().map(|(_, request)| request.source()).collect();
            let since = held.map(|(at, _)| *at).min()?;
            let (sip_call_id, extension) = self.feed.name_of(leg)?;
            Some(CarriedPause { since, sip_call_id, extension, by, and_others: false })
        })
    }

    /// The leg's audio begins, and its segments are there: what was asked and keyed is done again in its order, each at its time.
    pub(super) fn settle_early(&mut self, leg: LegId) {
        let Some(Early { requests, digits }) = self.early_asks.remove(&leg) else { return };
        let mut digits = digits.into_iter().peekable();
        for (at, request) in requests {
            while let Some((side, digit)) = digits.next_if(|(_, digit)| digit.at < at) {
                self.handle_digit(leg, side, digit);
            }
            self.handle_request(&request, at);
            if request.ask == Ask::Pause {
                self.hold_early(&request, at);
            }
        }
        for (side, digit) in digits {
            self.handle_digit(leg, side, digit);
        }
    }

    /// Whoever asked was told that it is so: the pause also holds what is not taken yet and begins later.
    fn hold_early(&mut self, request: &Request, at: Timestamp) {
        let source = request.source();
        for key in self.with_siblings(self.segments_of(&request.whom)) {
            if let Some(part) = self.part_mut(key) {
                part.pauses.begin(source.clone(), at);
            }
        }
    }

    /// The legs without audio that are meant, and who on each.
    fn early_legs(&self, whom: &Whom) -> Vec<(LegId, Whom)> {
        let of_extension = |extension: &str| {
            let legs = self.feed.legs_of(extension).filter(|&leg| self.is_to_be_judged(leg));
            let part = |leg| (leg, Whom::Part { leg, extension: extension.to_owned() });
            legs.map(part).collect::<Vec<_>>()
        };
        let leg_itself = |leg: LegId| (leg, Whom::Leg(leg));
        match whom {
            Whom::Leg(leg) | Whom::Part { leg, .. } if !self.is_to_be_judged(*leg) => Vec::new(),
            Whom::Leg(leg) => vec![leg_itself(*leg)],
            Whom::Part { leg, .. } => vec![(*leg, whom.clone())],
            Whom::Call(call) => self.early_of_call(*call).into_iter().map(leg_itself).collect(),
            Whom::Extension(extension) => of_extension(extension),
            Whom::Agent(agent) => self.feed.extension_of(agent).map(of_extension).unwrap_or_default(),
        }
    }

    fn early_of_call(&self, call: CallId) -> Vec<LegId> {
        let counted = self.counted.iter().flatten().filter(|(_, of)| *of == call);
        counted.map(|(leg, _)| *leg).filter(|&leg| self.is_to_be_judged(leg)).collect()
    }
}
