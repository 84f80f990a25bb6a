//! Who may speak on a side of a call, and what becomes of everybody else. The table of the rules is in
//! `docs/design/media.md`.
//!
//! Anybody can send to a media port. A sender is weighed by what ties it to the party ([`Standing`]); one that is not the
//! party is kept out, watched, and told of when it is over. What it sent lately is held, so that nothing is lost of a sender
//! who turns out to be the party: a phone behind a NAT whose address was not announced, or one that has moved.

use super::held::Held;
use super::reports::is_same_sender;
use super::{Binding, Candidate, LIVE_MS, Media, Source, Use};
use crate::media::Side;
use crate::net::Flow;
use crate::rtp::{self, Packet};
use crate::time::{NS_PER_MS, Timestamp};
use crate::tracker::event::{ForeignRtp, LegId};
use crate::tracker::leg::{Leg, Legs};
use crate::tracker::outbox::{Outbox, Queued};

/// Senders watched, over all calls and for one side of a leg; packets of further ones are kept out and only counted.
const SUSPECTS_MAX: usize = 2_048;
const SUSPECTS_PER_SIDE_MAX: usize = 32;
/// Bytes held of one sender: about 2 s of G.711.
const HELD_BYTES_MAX: usize = 20 * 1024;
/// A sender that nothing ties to the party, where nobody else speaks, is believed after this long.
const PROBATION_MS: i64 = 500;
/// And so many packets in sequence.
const BELIEVED_PACKETS_MIN: u64 = 5;
/// How often a sender that is kept out is weighed again.
const AGAIN_MS: i64 = 100;
/// One of the same standing, or the same source under another address, may follow when the one before has been silent for so
/// long.
const HANDOVER_MS: i64 = 200;
/// The same where nothing ties either of them to the party.
const RELEARN_MS: i64 = 5_000;
/// A source goes on under another address within this many packets, and this much off its timestamps' pace.
const GOES_ON_PACKETS: u16 = 512;
const GOES_ON_OFF_MS: i64 = 3_000;
/// Copies of a packet, as a mirror of both sides of a NAT shows them, come within so many packets.
const COPY_PACKETS: u16 = 16;
/// A watched sender that is silent for this long makes room for another where there is none.
const SILENT_MS: i64 = 200;
/// A sender of fewer packets is counted, and not told by itself.
const TOLD_PACKETS_MIN: u64 = 5;
/// A sender that is silent for this long is over.
const SUSPECT_IDLE_MS: i64 = 30_000;

/// What ties a sender to a party, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// Nothing.
    Anybody,
    /// The address is one that the party's session description names, or that its SIP comes from; the port is not.
    Host,
    /// The other party sends its audio there (symmetric RTP, RFC 4961).
    Answered,
    /// The party's session description names this address and port.
    Announced,
}

/// What is to be done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is the party's.
    Party,
    /// Nobody else speaks, and nothing ties the sender to the party: it is held for a while.
    Unproven,
    /// It goes on where another flow has stopped only just, or not yet: it is held for a moment.
    Handover,
    /// Somebody better speaks, or has just spoken.
    Foreign,
}

/// A sender that is not, or not yet, taken for the party.
pub(super) struct Suspect {
    leg: LegId,
    side: Side,
    flow: Flow,
    started: Timestamp,
    ended: Timestamp,
    ssrc: u32,
    packets: u64,
    /// Packets that came next in sequence.
    in_order: u64,
    next_sequence: u16,
    /// Packets that were taken for the party's before it was known better.
    taken: u64,
    foreign: bool,
    again: Timestamp,
    held: Held,
}

impl Source {
    /// Is this packet what the source sends next, by sequence and timestamp?
    fn goes_on_with(&self, packet: &Packet<'_>, at: Timestamp) -> bool {
        let (timestamp, sequence) = self.latest;
        let step = packet.sequence.wrapping_sub(sequence);
        let advance = i64::from(packet.timestamp.wrapping_sub(timestamp) as i32);
        let advance_ms = advance * 1_000 / i64::from(self.clock_rate.max(1));
        let off_ms = advance_ms - at.nanos_since(self.last_at) / NS_PER_MS;
        (1..=GOES_ON_PACKETS).contains(&step) && off_ms.abs() <= GOES_ON_OFF_MS
    }

    /// Is this packet one that the source has sent a moment ago?
    fn has_sent(&self, packet: &Packet<'_>) -> bool {
        let (timestamp, sequence) = self.latest;
        let back = sequence.wrapping_sub(packet.sequence);
        let ticks = timestamp.wrapping_sub(packet.timestamp);
        back <= COPY_PACKETS && ticks == u32::from(back).wrapping_mul(self.ticks_per_packet)
    }
}

impl Media {
    /// Whether a packet to or from a place of a leg is its party's.
    pub(super) fn admission(
        &self,
        candidate: &Candidate,
        flow: Flow,
        at: Timestamp,
        packet: &Packet<'_>,
        legs: &Legs,
    ) -> Admission {
        let Some(leg) = legs.leg(candidate.owner.leg) else { return Admission::Party };
        let standing = self.standing(leg, candidate.speaker, flow, at);
        if standing == Standing::Announced {
            return Admission::Party;
        }
        if candidate.owner.purpose == Use::Rtcp {
            return Admission::Foreign;
        }
        let suspect = self.suspects.get(&flow);
        let speaks = self.sources_of(leg, candidate.speaker);
        if suspect.is_none() && speaks.clone().any(|source| source.flow == flow) {
            return Admission::Party;
        }
        // Who was shown to be foreign is nobody to compare with, nor is who has said goodbye in RTCP.
        let others = speaks.filter(|s| s.flow != flow && !self.suspects.contains_key(&s.flow) && !s.has_left);
        let quiet_ms = |source: &Source| at.nanos_since(source.last_at) / NS_PER_MS;
        let since = suspect.map_or(at, |suspect| suspect.started);
        let is_new = at.nanos_since(since) < PROBATION_MS * NS_PER_MS;
        if let Some(before) = others.clone().find(|source| source.ssrc == packet.ssrc) {
            let goes_on = before.goes_on_with(packet, at);
            if before.has_sent(packet) || (goes_on && quiet_ms(before) >= HANDOVER_MS) {
                return Admission::Party;
            }
            if goes_on && is_new {
                return Admission::Handover;
            }
        }
        let is_in_the_way = |s: &Source| {
            let theirs = self.standing(leg, candidate.speaker, s.flow, at);
            // Under one canonical name it is the same sender with another source.
            quiet_ms(s) < patience_ms(standing, theirs) && !is_same_sender(leg, s.side, s.ssrc, packet.ssrc)
        };
        let mut others = others;
        if others.any(is_in_the_way) {
            return Admission::Foreign;
        }
        let in_order = suspect.map_or(0, |suspect| suspect.in_order);
        if standing == Standing::Anybody && (is_new || in_order < BELIEVED_PACKETS_MIN) {
            return Admission::Unproven;
        }
        Admission::Party
    }

    /// May this sender speak for a side beside audio: in RTCP and DTLS, which change what is known of a call?
    pub(super) fn is_trusted(&self, candidate: &Candidate, flow: Flow, at: Timestamp, legs: &Legs) -> bool {
        legs.leg(candidate.owner.leg).is_some_and(|leg| {
            self.standing(leg, candidate.speaker, flow, at) > Standing::Anybody
                || self
                    .sources_of(leg, candidate.speaker)
                    .any(|s| s.flow.src.ip() == flow.src.ip() && !self.suspects.contains_key(&s.flow))
        })
    }

    /// Senders that are watched now.
    #[cfg(test)]
    pub(in crate::tracker) fn watched(&self) -> usize {
        self.suspects.len()
    }

    fn sources_of<'m>(&'m self, leg: &'m Leg, side: Side) -> impl Iterator<Item = &'m Source> + Clone {
        leg.side(side).sources.iter().filter_map(|&index| self.source(index))
    }

    fn standing(&self, leg: &Leg, speaker: Side, flow: Flow, at: Timestamp) -> Standing {
        let side = leg.side(speaker);
        if side.claims.contains(&flow.src) {
            return Standing::Announced;
        }
        if let Some(&Binding::Audio(sources)) = self.flows.get(&flow.reversed()) {
            let answers = |s: &Source| {
                s.leg == leg.facts.leg
                    && s.side == speaker.other()
                    && at.nanos_since(s.last_at) < LIVE_MS * NS_PER_MS
            };
            if sources.into_iter().flatten().filter_map(|index| self.source(index)).any(answers) {
                return Standing::Answered;
            }
        }
        let ip = flow.src.ip();
        let named = side.claims.iter().any(|claim| claim.ip() == ip);
        if named || leg.facts.party(speaker).signalling.ip() == ip {
            Standing::Host
        } else {
            Standing::Anybody
        }
    }

    /// A packet of a sender that is watched already.
    pub(super) fn suspect_packet(
        &mut self,
        flow: Flow,
        at: Timestamp,
        bytes: &[u8],
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        match self.suspects.get_mut(&flow) {
            Some(suspect) if at < suspect.again => {
                if let Ok(packet) = rtp::parse(bytes) {
                    suspect.push(at, &packet, bytes);
                }
            }
            _ => self.judge(flow, at, bytes, legs, out),
        }
    }

    /// Keeps a packet out of the call, and an eye on its sender.
    #[cold]
    pub(super) fn keep_out(
        &mut self,
        candidate: &Candidate,
        flow: Flow,
        at: Timestamp,
        packet: (&Packet<'_>, &[u8]),
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        let id = candidate.owner.leg;
        self.make_room_for_suspect(candidate, flow, at, legs, out);
        let Some(leg) = legs.leg_mut(id) else { return };
        // Places go from leg to leg: what was held for another one is not this one's.
        if self.suspects.get(&flow).is_some_and(|s| (s.leg, s.side) != (id, candidate.speaker)) {
            self.forget_suspect(flow, legs, out);
            return self.keep_out(candidate, flow, at, packet, legs, out);
        }
        let side = leg.side_mut(candidate.speaker);
        if !self.suspects.contains_key(&flow) {
            if self.suspects.len() >= SUSPECTS_MAX || side.suspects.len() >= SUSPECTS_PER_SIDE_MAX {
                side.foreign_packets += 1;
                return;
            }
            side.suspects.push(flow);
            let suspect = Suspect::new(id, candidate.speaker, flow, at, packet.0.ssrc);
            self.suspects.insert(flow, Box::new(suspect));
        }
        if let Some(suspect) = self.suspects.get_mut(&flow) {
            suspect.push(at, packet.0, packet.1);
            suspect.again = at.plus_millis(AGAIN_MS);
        }
        self.bind(flow, Binding::Suspect);
    }

    /// The sender is not the party. One word for all that a side is sprayed with: each is counted, and told at its end.
    #[cold]
    pub(super) fn find_foreign(&mut self, flow: Flow, at: Timestamp, legs: &Legs, out: &mut Outbox) {
        let Some(suspect) = self.suspects.get_mut(&flow).filter(|suspect| !suspect.foreign) else { return };
        suspect.foreign = true;
        let Some(side) = legs.leg(suspect.leg).map(|leg| leg.side(suspect.side)) else { return };
        let is_known = |other: &&Flow| self.suspects.get(*other).is_some_and(|suspect| suspect.foreign);
        if side.foreign_packets == 0 && side.suspects.iter().filter(is_known).count() == 1 {
            out.oddity(at, Some(flow), "RTP from a stranger to a call's port");
        }
    }

    /// Where a side has its number of watched senders, the one that is silent for longest makes room: a party that is learnt must
    /// not be shut out by those who each send a packet or two.
    fn make_room_for_suspect(
        &mut self,
        candidate: &Candidate,
        flow: Flow,
        at: Timestamp,
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        let Some(leg) = legs.leg(candidate.owner.leg) else { return };
        let watched = &leg.side(candidate.speaker).suspects;
        if watched.len() < SUSPECTS_PER_SIDE_MAX || self.suspects.contains_key(&flow) {
            return;
        }
        let silent = watched.iter().filter_map(|flow| self.suspects.get(flow));
        let silent = silent.filter(|s| at.nanos_since(s.ended) >= SILENT_MS * NS_PER_MS && s.taken == 0);
        if let Some(flow) = silent.min_by_key(|s| (s.ended, s.flow)).map(|s| s.flow) {
            self.forget_suspect(flow, legs, out);
        }
    }

    /// The sender is the party after all: gives what is held of it, from where the one before fell silent.
    #[cold]
    pub(super) fn acquit(
        &mut self,
        candidate: &Candidate,
        flow: Flow,
        legs: &mut Legs,
        out: &mut Outbox,
    ) -> Held {
        let since = legs.leg(candidate.owner.leg).and_then(|leg| {
            let others = self.sources_of(leg, candidate.speaker);
            let others = others.filter(|s| s.flow != flow && !self.suspects.contains_key(&s.flow));
            others.map(|source| source.last_at).max()
        });
        let Some(mut suspect) = self.take_suspect(flow, legs) else { return Held::default() };
        if (suspect.leg, suspect.side) != (candidate.owner.leg, candidate.speaker) {
            report(*suspect, legs, out);
            return Held::default();
        }
        let held = std::mem::take(&mut suspect.held).after(since);
        suspect.packets = suspect.packets.saturating_sub(held.len() as u64);
        if suspect.foreign && suspect.packets > 0 {
            report(*suspect, legs, out);
        }
        held
    }

    /// Senders that were taken for the party while nothing better spoke, and now something does.
    pub(super) fn demote_others(
        &mut self,
        candidate: &Candidate,
        flow: Flow,
        at: Timestamp,
        packet: &Packet<'_>,
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        let Some(leg) = legs.leg(candidate.owner.leg) else { return };
        let speaker = candidate.speaker;
        let standing = self.standing(leg, speaker, flow, at);
        let goes_on =
            |s: &Source| s.ssrc == packet.ssrc && (s.has_sent(packet) || s.goes_on_with(packet, at));
        let lesser: Vec<(Flow, u32, u64, Timestamp)> = self
            .sources_of(leg, speaker)
            .filter(|s| s.flow != flow && !self.suspects.contains_key(&s.flow) && !goes_on(s))
            .filter(|s| self.standing(leg, speaker, s.flow, at) < standing)
            .map(|s| (s.flow, s.ssrc, s.receive.received(), s.last_at))
            .collect();
        for (lesser, ssrc, taken, last_at) in lesser {
            let suspect = Suspect {
                taken,
                foreign: true,
                ended: last_at,
                ..Suspect::new(candidate.owner.leg, speaker, lesser, last_at, ssrc)
            };
            if let Some(leg) = legs.leg_mut(candidate.owner.leg) {
                leg.side_mut(speaker).suspects.push(lesser);
            }
            self.suspects.insert(lesser, Box::new(suspect));
            self.flows.insert(lesser, Binding::Suspect);
            out.oddity(at, Some(lesser), "RTP that was taken for a party's, until the party spoke");
        }
    }

    fn take_suspect(&mut self, flow: Flow, legs: &mut Legs) -> Option<Box<Suspect>> {
        let suspect = self.suspects.remove(&flow)?;
        if let Some(leg) = legs.leg_mut(suspect.leg) {
            leg.side_mut(suspect.side).suspects.retain(|&other| other != flow);
        }
        Some(suspect)
    }

    pub(super) fn forget_suspect(&mut self, flow: Flow, legs: &mut Legs, out: &mut Outbox) {
        if let Some(suspect) = self.take_suspect(flow, legs) {
            self.flows.remove(&flow);
            report(*suspect, legs, out);
        }
    }

    /// A session description of this leg has come: who waits is weighed again at the next packet.
    pub(super) fn weigh_again(&mut self, leg: &Leg) {
        for flow in leg.sides.iter().flat_map(|side| &side.suspects) {
            if let Some(suspect) = self.suspects.get_mut(flow) {
                suspect.again = Timestamp::MIN;
            }
        }
    }

    /// The leg is over before its time, and its places are free: who was a stranger there may be a party elsewhere.
    pub(super) fn free_suspects(&mut self, leg: LegId, legs: &mut Legs, out: &mut Outbox) {
        let Some(state) = legs.leg(leg) else { return };
        for flow in state.sides.each_ref().map(|side| side.suspects.clone()).concat() {
            let Some(suspect) = self.take_suspect(flow, legs) else { continue };
            self.flows.remove(&flow);
            for (at, bytes) in suspect.held.iter() {
                // Which Ethernet header was around it is not remembered.
                self.handle(&flow, at, bytes, &None, legs, out);
            }
        }
    }

    /// Believes who has been alone for long enough, and ends who is silent.
    pub(in crate::tracker) fn settle_suspects(&mut self, now: Timestamp, legs: &mut Legs, out: &mut Outbox) {
        let mut due: Vec<(Timestamp, Flow, bool)> = self
            .suspects
            .values()
            .filter_map(|s| {
                let is_over = now.nanos_since(s.ended) > SUSPECT_IDLE_MS * NS_PER_MS;
                let is_ripe = !s.foreign && now.nanos_since(s.started) >= PROBATION_MS * NS_PER_MS;
                (is_over || is_ripe).then_some((s.started, s.flow, is_over))
            })
            .collect();
        due.sort_unstable();
        for (_, flow, is_over) in due {
            self.believe_unproven(flow, now, false, legs, out);
            if is_over {
                self.forget_suspect(flow, legs, out);
            }
        }
    }

    /// A leg ends: who alone was there and only unproven is believed, the others are told of.
    pub(in crate::tracker) fn close_suspects(
        &mut self,
        leg: LegId,
        now: Timestamp,
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        let Some(state) = legs.leg(leg) else { return };
        for flow in state.sides.each_ref().map(|side| side.suspects.clone()).concat() {
            self.believe_unproven(flow, now, true, legs, out);
            self.forget_suspect(flow, legs, out);
        }
    }

    /// Takes a sender for the party without a further packet of it, unless somebody else speaks.
    fn believe_unproven(
        &mut self,
        flow: Flow,
        now: Timestamp,
        closing: bool,
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        let Some(suspect) = self.suspects.get(&flow).filter(|suspect| !suspect.foreign) else { return };
        let is_alone = legs.leg(suspect.leg).is_some_and(|leg| leg.side(suspect.side).suspects.len() == 1);
        let (leg, last) = (suspect.leg, suspect.held.iter().last().map(|(_, bytes)| bytes.to_vec()));
        let candidates = self.candidates(flow, legs);
        let (Some(best), Some(bytes)) = (candidates.first().filter(|c| c.owner.leg == leg), last) else {
            return;
        };
        let Ok(packet) = rtp::parse(&bytes) else { return };
        let admission = self.admission(best, flow, now, &packet, legs);
        if admission == Admission::Party || (closing && is_alone && admission == Admission::Unproven) {
            self.admit_held(&candidates, flow, legs, out);
        }
    }
}

/// How long the one before must have been silent, until one of this standing may follow it.
fn patience_ms(newcomer: Standing, before: Standing) -> i64 {
    match newcomer.cmp(&before) {
        std::cmp::Ordering::Greater => 0,
        std::cmp::Ordering::Equal if newcomer == Standing::Anybody => RELEARN_MS,
        std::cmp::Ordering::Equal => HANDOVER_MS,
        // Where the party was heard from where it should be, a stranger never follows it.
        std::cmp::Ordering::Less if newcomer == Standing::Anybody => i64::MAX,
        std::cmp::Ordering::Less => LIVE_MS,
    }
}

/// Tells of a sender that was kept out; its packets are counted at the leg.
fn report(suspect: Suspect, legs: &mut Legs, out: &mut Outbox) {
    let Suspect { leg, side, flow, started, ended, ssrc, packets, taken, .. } = suspect;
    if let Some(leg) = legs.leg_mut(leg) {
        leg.side_mut(side).foreign_packets += packets;
    }
    if taken > 0 || packets >= TOLD_PACKETS_MIN {
        let told = ForeignRtp { leg, side, flow, started, ended, ssrc, packets, taken };
        out.push(Queued::ForeignRtp(Box::new(told)));
    }
}

impl Suspect {
    fn new(leg: LegId, side: Side, flow: Flow, at: Timestamp, ssrc: u32) -> Suspect {
        Suspect {
            leg,
            side,
            flow,
            started: at,
            ended: at,
            ssrc,
            packets: 0,
            in_order: 0,
            next_sequence: 0,
            taken: 0,
            foreign: false,
            again: at,
            held: Held::default(),
        }
    }

    fn push(&mut self, at: Timestamp, packet: &Packet<'_>, bytes: &[u8]) {
        self.ended = at;
        self.ssrc = packet.ssrc;
        self.packets += 1;
        if self.packets > 1 && packet.sequence == self.next_sequence {
            self.in_order += 1;
        }
        self.next_sequence = packet.sequence.wrapping_add(1);
        self.held.push(at, bytes, HELD_BYTES_MAX);
    }
}
