//! What is asked and keyed of a leg that has no audio yet: its segments do not exist, so it waits for them.
//!
//! A pause that is asked for while the telephone rings holds the recording from its first packet on, and so does a key code. Bounded for each
//! leg, and gone with it.

use decode::rtp::dtmf::Digit;
use decode::tracker::LegId;
use decode::{Side, Timestamp};

use super::request::{Reply, Request, Whom};
use super::{CallId, Gate};
use crate::modes::Ask;

/// Requests of one leg that wait; one more is answered as if there were no such call.
const REQUESTS_MAX: usize = 32;
/// Digits of one leg that wait; of more the first are let go: a code is its last digits.
const DIGITS_MAX: usize = 32;

/// What waits for one leg's first audio.
#[derive(Debug, Default)]
pub(super) struct Early {
    requests: Vec<Request>,
    digits: Vec<(Side, Digit)>,
}

impl Gate {
    /// A pause, or its end, is asked for of legs without audio among others. Counts those for which that is new.
    pub(super) fn ask_early(&mut self, request: &Request, reply: &mut Reply) {
        if !matches!(request.ask, Ask::Pause | Ask::Resume) {
            return;
        }
        for (leg, whom) in self.early_legs(&request.whom) {
            let waiting = &mut self.early_asks.entry(leg).or_default().requests;
            let is_same = |other: &Request| {
                other.whom == whom && (other.role, &other.name) == (request.role, &request.name)
            };
            let held = waiting.iter().position(is_same);
            match (request.ask, held) {
                (Ask::Pause, Some(_)) => reply.already += 1,
                (Ask::Pause, None) if waiting.len() < REQUESTS_MAX => {
                    waiting.push(Request { whom, ..request.clone() });
                    reply.done += 1;
                }
                (Ask::Resume, Some(place)) => {
                    waiting.remove(place);
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

    /// The leg's audio begins, and its segments are there.
    pub(super) fn settle_early(&mut self, leg: LegId, at: Timestamp) {
        let Some(Early { requests, digits }) = self.early_asks.remove(&leg) else { return };
        for request in requests {
            self.handle_request(&request, at);
        }
        for (side, digit) in digits {
            self.handle_digit(leg, side, digit);
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
