//! What pauses without a request: digits keyed at the recorded extension, and windows that a client at its desk reports.
//!
//! Digits that may become a code are held back until it is clear that they do not; those of a code, and those keyed in a pause,
//! are told to nobody. Where codes are set, the extension's telephone-event packets (RFC 4733), which hold the same digits, are not
//! kept. Digits that are tones in the audio are not heard here.

use std::collections::{BTreeMap, BTreeSet};

use decode::rtp::dtmf::Digit;
use decode::tracker::LegId;
use decode::{Party, Side, Timestamp};

use super::carried::CarriedDesk;
use super::part::Part;
use super::{Action, Gate, Judged, Whom, party, takes};
use crate::pause::PauseSource;
use crate::pause::codes::{Codes, Keyed};
use crate::pause::windows::WindowRule;

/// Clients at desks that report windows.
const CLIENTS_MAX: usize = 10_000;
/// Texts of one report: headings, addresses, tab names.
const TEXTS_MAX: usize = 1_000;
/// So much of one report is kept for rules that come later, in bytes; a text beyond that counts for them with the next report.
const KEPT_BYTES_MAX: usize = 16 * 1_024;
/// The longest that a resuming digit is waited for to end, in milliseconds.
const DIGIT_MS_MAX: u32 = 10_000;

/// What clients at desks have reported.
#[derive(Debug, Default)]
pub(super) struct Desks(BTreeMap<String, Desk>);

struct Desk {
    extension: String,
    /// Rules that match now, from 1.
    rules: BTreeSet<usize>,
    /// Those that may hold calls: these, and what other rules that were in force since the last report matched.
    held: BTreeSet<usize>,
    /// What is shown, for rules that come later.
    texts: Vec<String>,
    /// When that was reported.
    at: Timestamp,
}

/// Headings and addresses reach no log.
impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("extension", &self.extension).finish_non_exhaustive()
    }
}

impl Desks {
    /// What holds calls of this extension.
    pub(super) fn holding(&self, extension: &str) -> impl Iterator<Item = PauseSource> {
        let desks = self.0.iter().filter(move |(_, desk)| desk.extension == extension);
        desks.flat_map(|(client, desk)| desk.rules.iter().map(|&rule| source(client, rule)))
    }

    /// Since when calls of this extension are held, as far as their clients have said; none while nothing holds them.
    pub(super) fn held_since(&self, extension: &str) -> Option<Timestamp> {
        let desks = self.0.values().filter(|desk| desk.extension == extension && !desk.rules.is_empty());
        desks.map(|desk| desk.at).min()
    }

    /// Those that hold something.
    pub(super) fn carried(&self) -> impl Iterator<Item = CarriedDesk> {
        self.0.iter().filter(|(_, desk)| !desk.held.is_empty()).map(|(client, desk)| CarriedDesk {
            client: client.clone(),
            extension: desk.extension.clone(),
            rules: desk.rules.clone(),
            held: desk.held.clone(),
            at: desk.at,
        })
    }

    /// Takes those up: they hold what they held until their clients report anew.
    pub(super) fn carry_on(&mut self, desks: impl Iterator<Item = CarriedDesk>) {
        for CarriedDesk { client, extension, rules, held, at } in desks.take(CLIENTS_MAX) {
            self.0.insert(client, Desk { extension, rules, held, texts: Vec::new(), at });
        }
    }

    /// Other rules are in force: gives what matches now and did not by any rule that stays.
    pub(super) fn match_again(&mut self, old: &[WindowRule], new: &[WindowRule]) -> BTreeSet<PauseSource> {
        let mut fresh = BTreeSet::new();
        if old == new {
            return fresh;
        }
        for (client, desk) in &mut self.0 {
            let held: Vec<&WindowRule> =
                desk.rules.iter().filter_map(|n| old.get(n.checked_sub(1)?)).collect();
            let now = matching(new, desk.texts.iter().map(String::as_str));
            let is_new = |n: &&usize| {
                n.checked_sub(1).and_then(|n| new.get(n)).is_some_and(|rule| !held.contains(&rule))
            };
            fresh.extend(now.iter().filter(is_new).map(|&n| source(client, n)));
            desk.held.extend(&now);
            desk.rules = now;
        }
        fresh
    }
}

/// The rules, from 1, that match any of these texts.
fn matching<'a>(rules: &[WindowRule], texts: impl Iterator<Item = &'a str> + Clone) -> BTreeSet<usize> {
    let matches = |rule: &WindowRule| texts.clone().any(|text| rule.matches(text));
    rules.iter().zip(1..).filter(|(rule, _)| matches(rule)).map(|(_, n)| n).collect()
}

/// The texts that are kept of a report: as many as are looked at, up to [`KEPT_BYTES_MAX`].
fn kept(texts: &[&str]) -> Vec<String> {
    let mut room = KEPT_BYTES_MAX;
    let mut kept = Vec::new();
    for text in texts.iter().take(TEXTS_MAX) {
        let Some(left) = room.checked_sub(text.len()) else { continue };
        room = left;
        kept.push((*text).to_owned());
    }
    kept
}

fn source(client: &str, rule: usize) -> PauseSource {
    PauseSource::Window { client: client.to_owned(), rule }
}

/// There are too many clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{CLIENTS_MAX} clients report windows, the most there may be")]
pub struct DesksFull;

impl Gate {
    /// A client says what is shown at the desk of this extension now: all headings, addresses and tab names, in place of what it
    /// said before. Its calls are paused while a rule matches any of them, those too that begin later.
    ///
    /// # Errors
    /// [`DesksFull`].
    pub fn handle_windows(
        &mut self,
        client: &str,
        extension: &str,
        texts: &[&str],
        at: Timestamp,
    ) -> Result<(), DesksFull> {
        let rules = matching(&self.rules.windows, texts.iter().take(TEXTS_MAX).copied());
        if self.desks.0.len() >= CLIENTS_MAX && !self.desks.0.contains_key(client) {
            return Err(DesksFull);
        }
        let desk = Desk {
            extension: extension.to_owned(),
            rules: rules.clone(),
            held: rules.clone(),
            texts: kept(texts),
            at,
        };
        self.carrying.may_differ = true;
        let before = self.desks.0.insert(client.to_owned(), desk);
        // New ones hold before old ones let go: what is paused stays so between two windows.
        for &rule in &rules {
            self.handle_pause(&Whom::Extension(extension.to_owned()), &source(client, rule), true, at);
        }
        if let Some(before) = before {
            let moved = before.extension != extension;
            for &rule in before.held.iter().filter(|&rule| moved || !rules.contains(rule)) {
                self.handle_pause(
                    &Whom::Extension(before.extension.clone()),
                    &source(client, rule),
                    false,
                    at,
                );
            }
        }
        Ok(())
    }

    /// A client is gone without a word: what it held stays held until the call ends or the longest pause is over, and calls that
    /// begin later are not held.
    pub fn handle_client_gone(&mut self, client: &str) {
        self.desks.0.remove(client);
        self.carrying.may_differ = true;
    }

    /// A digit was keyed on a leg.
    pub(super) fn handle_digit(&mut self, leg: LegId, side: Side, digit: Digit) {
        if self.key_early(leg, side, digit) {
            return;
        }
        let listens = self.rules.codes.is_any();
        let Some(judged) = self.legs.get_mut(leg.slot()).and_then(Option::as_deref_mut) else { return };
        if judged.leg != leg {
            return;
        }
        // The leg's other recording has the same voices and keys: what is withheld from one is withheld from both.
        let mut tell = vec![digit];
        let keyed = judged
            .parts
            .iter_mut()
            .find(|part| listens && part.plan.near == side && part.is_of_recorded_device())
            .and_then(|part| listen(part, &self.rules.codes, digit, &mut tell));
        tell_digits(judged, side, &tell, &mut self.actions);
        if let Some(Keyed { profile, pauses }) = keyed {
            // A pause begins at once, which is with the packet after the last one kept. What goes on goes on behind the digit.
            let wait = if pauses { 0 } else { digit.duration_ms.min(DIGIT_MS_MAX) };
            let at = digit.at.plus_millis(i64::from(wait));
            self.handle_pause(&Whom::Leg(leg), &PauseSource::Keys(profile), pauses, at);
        }
    }

    /// Other codes are in force: what is held back is heard as the beginning of one of them, and told where it is none. A code that
    /// is complete by the new ones counts from now on.
    pub(super) fn listen_again(&mut self, at: Timestamp) {
        let mut heard = Vec::new();
        let Gate { legs, rules, actions, .. } = self;
        for judged in legs.iter_mut().flatten() {
            for nth in 0..judged.parts.len() {
                let Some(part) = judged.parts.get_mut(nth) else { continue };
                part.listener.clear();
                let (near, held) = (part.plan.near, std::mem::take(&mut part.held));
                for digit in held {
                    let mut tell = Vec::new();
                    let Some(part) = judged.parts.get_mut(nth) else { continue };
                    let keyed = listen(part, &rules.codes, digit, &mut tell);
                    tell_digits(judged, near, &tell, actions);
                    heard.extend(keyed.map(|keyed| (judged.leg, keyed)));
                }
            }
        }
        for (leg, Keyed { profile, pauses }) in heard {
            self.handle_pause(&Whom::Leg(leg), &PauseSource::Keys(profile), pauses, at);
        }
    }

    /// Digits that became no code in time are told after all.
    pub(super) fn release_digits(&mut self, now: Timestamp) {
        if !self.rules.codes.is_any() {
            return;
        }
        let Gate { legs, rules, actions, .. } = self;
        for judged in legs.iter_mut().flatten() {
            for nth in 0..judged.parts.len() {
                if judged.parts[nth].listener.is_over(&rules.codes, now) {
                    release(judged, nth, actions);
                }
            }
        }
    }
}

/// Tells what is held back of a part.
pub(super) fn release(judged: &mut Judged, nth: usize, actions: &mut std::collections::VecDeque<Action>) {
    let Some(part) = judged.parts.get_mut(nth) else { return };
    part.listener.clear();
    let (near, held) = (part.plan.near, std::mem::take(&mut part.held));
    tell_digits(judged, near, &held, actions);
}

/// Listens to one more digit of the extension: those that are clear now are to be told.
fn listen(part: &mut Part, codes: &Codes, digit: Digit, tell: &mut Vec<Digit>) -> Option<Keyed> {
    tell.clear();
    if part.listener.is_over(codes, digit.at) {
        tell.append(&mut part.held);
    }
    part.held.push(digit);
    let heard = part.listener.handle_digit(codes, digit.digit, digit.at);
    let stay = match &heard {
        Some((_, len)) => {
            let keep = part.held.len().saturating_sub(*len);
            part.held.truncate(keep);
            0
        }
        None => part.listener.held(codes),
    };
    let clear = part.held.len().saturating_sub(stay);
    tell.extend(part.held.drain(..clear));
    heard.map(|(keyed, _)| keyed)
}

/// Tells digits of one side to every recording of the leg that takes their time.
fn tell_digits(
    judged: &Judged,
    side: Side,
    digits: &[Digit],
    actions: &mut std::collections::VecDeque<Action>,
) {
    for lane in judged.lanes.iter().flatten() {
        let party: Party = party(side, lane.near);
        for &digit in digits.iter().filter(|digit| takes(lane, &judged.parts, digit.at)) {
            actions.push_back(Action::Keyed { recording: lane.recording, party, digit });
        }
    }
}
