//! The SIP messages of each leg, for whoever keeps them beside the audio.
//!
//! Whether a leg is kept is judged at its first audio packet, and its INVITE came long before: until then its messages are held
//! here, in a named room, and told behind [`Event::AudioStarted`](super::Event::AudioStarted). From then on each is told when it
//! comes. Those of a leg without audio are never told. Nothing is copied unless it was asked for
//! ([`Tracker::with_trace`](super::Tracker::with_trace)).
//!
//! A message is told as often as it was captured, at every hop of a proxy and each time that it is sent again; only the copies
//! that a mirror port makes of it, the same bytes on the same way within a moment, are counted and told once.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::event::LegId;
use super::leg::Leg;
use super::outbox::{Outbox, Queued};
use crate::net::Flow;
use crate::signal::{Carrier, Signal};
use crate::time::{NS_PER_MS, Timestamp};

/// The longest message that is kept, in bytes; a longer one is left out and counted.
pub const TRACE_MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Messages kept of one leg, retransmissions among them; more are left out and counted.
pub const TRACE_MESSAGES_MAX: u32 = 2_000;
/// So many more when they end the leg: however much was said before, its BYE is there.
pub const TRACE_ENDING_MESSAGES_MAX: u32 = 16;
/// Bytes kept of one leg's messages; more are left out and counted.
pub const TRACE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of one leg's messages that are held before its audio; more are left out and counted.
pub const TRACE_HELD_BYTES_MAX: usize = 64 * 1024;
/// Bytes held of all legs together; more are left out and counted.
pub const TRACES_HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The same bytes on the same way within this time are a mirror's copy. Retransmissions come half a second later, with short
/// timers a tenth (RFC 3261, 17.1.1.1: T1).
pub const TRACE_COPY_MS: i64 = 50;
/// A frame further from the tracker's time than this was captured by a clock that was set.
const DISORDER_MS: i64 = 10_000;
/// Messages that a new one is compared with: the latest of its leg.
const PRINTS_MAX: usize = 64;
/// What a held message costs beside its bytes.
const HELD_COST_BYTES: usize = size_of::<Held>();

/// A message as it came.
#[derive(Clone, Copy)]
pub(super) struct Received<'a> {
    pub(super) at: Timestamp,
    pub(super) flow: Flow,
    pub(super) carrier: Carrier,
    pub(super) bytes: &'a [u8],
}

/// What a message is about, as far as keeping it goes.
#[derive(Clone, Copy)]
pub(super) struct About {
    /// It names no callee: it concerns every device that the INVITE is forked to.
    pub(super) is_shared: bool,
    /// It ends the leg: BYE or CANCEL, or a response to one.
    pub(super) ends: bool,
}

/// The room of all legs, and whether anybody wants them.
#[derive(Default)]
pub(super) struct Traces {
    pub(super) wanted: bool,
    /// The frame at hand: its time by the tracker, which never goes back, and that of its capture.
    pub(super) frame: (Timestamp, Timestamp),
    held: usize,
    /// Messages that a limit has left out.
    pub(super) left_out: u64,
    /// Copies of a mirror port.
    pub(super) copies: u64,
}

impl Traces {
    /// When what the tracker has at this time was captured. Frames of two adapters come out of order, and whoever follows a call
    /// from message to message wants to see which was first; where the clock was set, the tracker's time goes on.
    fn captured(&self, at: Timestamp) -> Timestamp {
        let (told, captured) = self.frame;
        let is_near = captured.nanos_since(told).abs() < DISORDER_MS * NS_PER_MS;
        if at == told && is_near { captured } else { at }
    }

    /// Bytes that are held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held
    }
}

/// What a message is known by, and when it came first, or again.
struct Print {
    digest: u64,
    at: Timestamp,
}

impl Print {
    fn digest(received: &Received<'_>) -> u64 {
        // With its fixed key, so that a replay gives the same. Who makes two of his messages collide has one taken for a copy; of
        // somebody else's he would have to know the bytes before they come.
        let mut hasher = DefaultHasher::new();
        received.flow.hash(&mut hasher);
        hasher.write(received.bytes);
        hasher.finish()
    }
}

#[derive(Clone)]
struct Held {
    at: Timestamp,
    flow: Flow,
    carrier: Carrier,
    is_repeated: bool,
    is_shared: bool,
    left_out: u32,
    bytes: Box<[u8]>,
}

/// The messages of one leg.
#[derive(Default)]
pub(super) struct Trace {
    prints: VecDeque<Print>,
    held: Vec<Held>,
    held_bytes: usize,
    messages: u32,
    bytes: usize,
    left_out: u32,
}

/// What a message is beside those before it.
enum Seen {
    First,
    Again,
    Copy,
}

impl Trace {
    fn see(&mut self, received: &Received<'_>) -> Seen {
        let digest = Print::digest(received);
        if let Some(print) = self.prints.iter_mut().find(|print| print.digest == digest) {
            let apart = received.at.nanos_since(print.at);
            if apart < TRACE_COPY_MS * NS_PER_MS {
                return Seen::Copy;
            }
            print.at = received.at;
            return Seen::Again;
        }
        if self.prints.len() >= PRINTS_MAX {
            self.prints.pop_front();
        }
        self.prints.push_back(Print { digest, at: received.at });
        Seen::First
    }

    fn has_room(&self, bytes: usize, about: About) -> bool {
        let messages = TRACE_MESSAGES_MAX + if about.ends { TRACE_ENDING_MESSAGES_MAX } else { 0 };
        let ending = if about.ends { TRACE_MESSAGE_BYTES_MAX } else { 0 };
        bytes <= TRACE_MESSAGE_BYTES_MAX
            && self.messages < messages
            && self.bytes + bytes <= TRACE_BYTES_MAX + ending
    }

    /// Holds a message; false when there is no room.
    fn hold(&mut self, held: Held, traces: &mut Traces) -> bool {
        let cost = held.bytes.len() + HELD_COST_BYTES;
        if self.held_bytes + cost > TRACE_HELD_BYTES_MAX || traces.held + cost > TRACES_HELD_BYTES_MAX {
            return false;
        }
        self.held_bytes += cost;
        traces.held += cost;
        self.held.push(held);
        true
    }

    fn let_go(&mut self, traces: &mut Traces) {
        traces.held = traces.held.saturating_sub(std::mem::take(&mut self.held_bytes));
        self.held = Vec::new();
    }
}

/// A message of this leg.
pub(super) fn note(leg: &mut Leg, received: &Received<'_>, about: About, out: &mut Outbox) {
    let (id, has_audio) = (leg.facts.leg, leg.facts.first_audio.is_some());
    let is_answered = leg.facts.answered.is_some();
    let trace = leg.trace.get_or_insert_default();
    let is_repeated = match trace.see(received) {
        Seen::First => false,
        Seen::Again => true,
        Seen::Copy => return out.traces.copies += 1,
    };
    let Received { flow, carrier, bytes, .. } = *received;
    let at = out.traces.captured(received.at);
    let mut has_room = trace.has_room(bytes.len(), about);
    let signal = Signal { at, flow, carrier, is_repeated, left_out: trace.left_out, bytes };
    if has_room && has_audio {
        push(id, &signal, out);
    }
    if has_audio && is_answered {
        trace.let_go(&mut out.traces);
    } else if has_room {
        // With early audio it is told already, and held for a fork that may yet answer.
        let (is_shared, left_out) = (about.is_shared, trace.left_out);
        let held = Held { at, flow, carrier, is_repeated, is_shared, left_out, bytes: bytes.into() };
        has_room = trace.hold(held, &mut out.traces) || has_audio;
    }
    if has_room {
        trace.messages += 1;
        trace.bytes += bytes.len();
    } else {
        trace.left_out = trace.left_out.saturating_add(1);
        out.traces.left_out += 1;
    }
}

/// The leg's audio begins: what was held of it is told.
#[cold]
pub(super) fn tell_held(leg: &mut Leg, out: &mut Outbox) {
    let (id, is_answered) = (leg.facts.leg, leg.facts.answered.is_some());
    let Some(trace) = &mut leg.trace else { return };
    for held in &trace.held {
        let &Held { at, flow, carrier, is_repeated, left_out, ref bytes, .. } = held;
        push(id, &Signal { at, flow, carrier, is_repeated, left_out, bytes }, out);
    }
    if is_answered {
        trace.let_go(&mut out.traces);
    }
}

/// What a fork of `leg` has in common with it: the INVITE and what else named no callee.
pub(super) fn of_fork(leg: &Leg, out: &mut Outbox) -> Option<Box<Trace>> {
    let common = leg.trace.as_ref()?;
    let mut trace = Trace::default();
    for held in common.held.iter().filter(|held| held.is_shared) {
        let Held { at, flow, carrier, .. } = *held;
        let _ = trace.see(&Received { at, flow, carrier, bytes: &held.bytes });
        if trace.hold(held.clone(), &mut out.traces) {
            trace.messages += 1;
            trace.bytes += held.bytes.len();
        }
    }
    Some(Box::new(trace))
}

/// The leg is over.
pub(super) fn close(leg: &mut Leg, out: &mut Outbox) {
    if let Some(mut trace) = leg.trace.take() {
        trace.let_go(&mut out.traces);
    }
}

fn push(leg: LegId, signal: &Signal<'_>, out: &mut Outbox) {
    let stored = out.store_signal(leg, signal);
    out.push(Queued::Signal(Box::new(stored)));
}
