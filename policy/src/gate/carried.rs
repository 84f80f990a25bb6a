//! What outlives the program: what a recorder that starts anew in the middle of calls carries on with.
//!
//! Orders, who is logged on and what desks show hold for calls to come, and a pause holds the call that runs: none of them ends because
//! the program does. [`Gate::poll_carried`] gives them whenever they have changed, [`Gate::carry_on`] takes them at the beginning.
//! A call that is seen again begins paused, if it was, until its source lets go or the longest pause is over. What is kept is who holds what,
//! and no number but the extension's.

use std::collections::BTreeSet;

use decode::Timestamp;
use decode::tracker::LegFacts;
use serde::{Deserialize, Serialize};

use super::Gate;
use super::part::Part;
use crate::modes::orders::{End, Order, Whose};
use crate::pause::PauseSource;

/// A pause, a desk or an agent that is older than this is not carried on with, in milliseconds: its call, client or shift is over.
pub const CARRIED_MS_MAX: i64 = 86_400_000;
/// Pauses that are carried; of more, the oldest are left out.
const PAUSES_MAX: usize = 10_000;
/// A call without signalling has nothing but its extension to be known by: only one that is heard within so many milliseconds of the
/// start may be the one that was paused.
const STREAM_MS_MAX: i64 = 120_000;

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// The standing orders.
    #[serde(default)]
    pub orders: Vec<(Whose, Order)>,
    /// Who is logged on.
    #[serde(default)]
    pub agents: Vec<CarriedAgent>,
    /// Desks whose windows hold their extension's calls.
    #[serde(default)]
    pub desks: Vec<CarriedDesk>,
    /// The pauses of calls that run.
    #[serde(default)]
    pub pauses: Vec<CarriedPause>,
}

/// An agent who is logged on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedAgent {
    /// Who.
    pub agent: String,
    /// Where.
    pub extension: String,
    /// Since when.
    pub since: Timestamp,
}

/// A desk at which window rules match. What is shown there is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedDesk {
    /// Which client.
    pub client: String,
    /// Whose desk.
    pub extension: String,
    /// The rules that matched, from 1: they hold what begins.
    pub rules: BTreeSet<usize>,
    /// Those that may hold what runs.
    pub held: BTreeSet<usize>,
    /// When it was reported.
    pub at: Timestamp,
}

/// The pause of an extension's part in a call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CarriedPause {
    /// Since when it lasts.
    pub since: Timestamp,
    /// The leg's Call-ID; empty without signalling.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sip_call_id: String,
    /// The extension.
    pub extension: String,
    /// Who holds it. Orders are carried for themselves.
    pub by: BTreeSet<PauseSource>,
    /// There were more than are told apart.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub and_others: bool,
}

/// The gate's own.
#[derive(Debug, Default)]
pub(super) struct Carrying {
    /// Something may be different from what was given last.
    pub(super) may_differ: bool,
    given: Carried,
    /// Pauses of calls that have not been seen again.
    waiting: Vec<CarriedPause>,
    /// When the gate began with them.
    began: Option<Timestamp>,
}

impl Gate {
    /// Carries on with what the last one gave; before any event.
    pub fn carry_on(&mut self, carried: Carried, now: Timestamp) {
        let is_young = |at: Timestamp| at.plus_millis(CARRIED_MS_MAX) > now;
        let given = carried.clone();
        let Carried { orders, agents, desks, mut pauses } = carried;
        for (whose, order) in orders {
            // What there is no room for was not in force.
            let _ = self.orders.give(whose, order);
        }
        for CarriedAgent { agent, extension, since } in agents {
            if is_young(since) {
                let _ = self.feed.log_on(&agent, &extension, since, "");
            } else {
                self.orders.end(&Whose::Agent(agent), End::LoggedOff, now);
            }
        }
        self.desks.carry_on(desks.into_iter().filter(|desk| is_young(desk.at)));
        pauses.retain(|pause| is_young(pause.since));
        pauses.truncate(PAUSES_MAX);
        self.carrying = Carrying { may_differ: true, waiting: pauses, began: Some(now), given };
        self.now = self.now.max(now);
    }

    /// What is to be carried on with if the program ends now; none while it is as it was given last.
    pub fn poll_carried(&mut self) -> Option<Carried> {
        if !std::mem::take(&mut self.carrying.may_differ) {
            return None;
        }
        let now = self.now;
        self.carrying.waiting.retain(|pause| pause.since.plus_millis(CARRIED_MS_MAX) > now);
        let parts = self.legs.iter().flatten().flat_map(|judged| &judged.parts).filter_map(pause_of);
        let mut pauses: Vec<CarriedPause> = parts.chain(self.early_pauses()).collect();
        pauses.extend(self.carrying.waiting.iter().cloned());
        pauses.sort_unstable_by(|a, b| b.cmp(a));
        pauses.dedup();
        pauses.truncate(PAUSES_MAX);
        let carried = Carried {
            orders: self.orders.iter().map(|(whose, order)| (whose.clone(), order.clone())).collect(),
            agents: self.feed.agents().collect(),
            desks: self.desks.carried().collect(),
            pauses,
        };
        if carried == self.carrying.given {
            return None;
        }
        self.carrying.given.clone_from(&carried);
        Some(carried)
    }

    /// The leg was paused when the program ended: its parts begin so. Gives since when: packets of before its first message that are told of
    /// only now are in the pause, too.
    pub(super) fn hold_carried(
        &mut self,
        facts: &LegFacts,
        parts: &mut [Part],
        at: Timestamp,
    ) -> Option<Timestamp> {
        if self.carrying.waiting.is_empty() {
            return None;
        }
        let began = self.carrying.began.unwrap_or(at);
        let is_at_once = at <= began.plus_millis(STREAM_MS_MAX);
        let recorded = parts.iter().filter(|part| part.is_of_recorded_device());
        let extensions: Vec<String> = recorded.map(|part| part.plan.facts.extension.clone()).collect();
        let is_its = |pause: &mut CarriedPause| match facts.is_stream_only() {
            true => is_at_once && extensions.contains(&pause.extension),
            // Signalling may tell of it only now.
            false if pause.sip_call_id.is_empty() => {
                facts.joined_late && is_at_once && extensions.contains(&pause.extension)
            }
            // Whoever is taken for the extension now: it is the same call.
            false => pause.sip_call_id == facts.sip_call_id,
        };
        let held: Vec<CarriedPause> = self.carrying.waiting.extract_if(.., is_its).collect();
        for part in parts.iter_mut() {
            for CarriedPause { since, by, and_others, .. } in &held {
                let who = by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                part.say(at, "pause", who, "held since before the recorder was started anew".into());
                part.pauses.carry_on(by, *and_others, *since);
            }
        }
        self.carrying.may_differ |= !held.is_empty();
        held.iter().map(|pause| pause.since).min()
    }

    /// A leg is over: no pause waits for it any more.
    pub(super) fn let_go_carried(&mut self, facts: &LegFacts) {
        let waiting = &mut self.carrying.waiting;
        let before = waiting.len();
        waiting.retain(|pause| pause.sip_call_id.is_empty() || pause.sip_call_id != facts.sip_call_id);
        self.carrying.may_differ |= waiting.len() != before;
    }
}

/// What holds a part, but for orders.
fn pause_of(part: &Part) -> Option<CarriedPause> {
    let (by, and_others, since) = part.pauses.carried()?;
    let (sip_call_id, extension) = (part.plan.sip_call_id.clone(), part.plan.facts.extension.clone());
    Some(CarriedPause { since, sip_call_id, extension, by, and_others })
}
