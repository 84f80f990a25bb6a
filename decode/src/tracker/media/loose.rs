//! RTP flows that no signalling has announced: watched for an announcement that comes late, and told of when none does.
//!
//! The latest packets of each are held, so that neither audio that overtakes its session description is lost, nor what a call
//! said before the first message that was seen of it: minutes of it, when it ran before the capture began. What is left of a
//! call that has ended is such a flow too, and nobody's news.
//!
//! How much is held and why is in `docs/design/media.md`. All of it stays in memory, and goes with the flow.

use std::net::IpAddr;

use super::copies::Copy;
use super::held::Held;
use super::streams::{STREAM_START_MS, may_be_audio};
use super::{Binding, LIVE_MS, Media, Source};
use crate::net::{Endpoint, Flow};
use crate::rtp::{self, Packet};
use crate::scramble::{self, Look, Scramble};
use crate::sdp;
use crate::time::{NS_PER_MS, Timestamp};
use crate::tracker::event::{CopiedRtp, LegId, UnannouncedRtp};
use crate::tracker::leg::Legs;
use crate::tracker::outbox::{Outbox, Queued};

/// Unannounced RTP flows that are watched.
const LOOSE_MAX: usize = 8192;
/// Time held of an unannounced flow, should the signalling of a call that runs already come: a session is refreshed every few
/// minutes, and people hold and transfer.
pub const HELD_MS_MAX: i64 = 300_000;
/// Bytes held of one flow: 300 s of G.711 in packets of 10 ms, what it costs to remember each packet among them.
pub const HELD_FLOW_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Bytes held of all flows together: 300 s of 45 calls in G.711, or 13 s of 1,000. Beyond, the oldest of all is given up.
pub const HELD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Of these, so many are left when some had to be given up: it need not be looked for with each packet.
const HELD_BYTES_KEPT: usize = HELD_BYTES_MAX / 16 * 15;
/// A flow that nobody has announced for so long will not be: half of a session's usual interval of 1,800 s (RFC 4028, 4.2 and
/// 7.2) has passed twice.
pub const HELD_AGE_MS_MAX: i64 = 1_800_000;
/// Bytes held of a flow that is older, or whose payload type is no audio.
const HELD_OLD_BYTES_MAX: usize = 8 * 1024;
/// Audio overtakes its session description by so much at most; what came earlier was another call's.
const EARLY_MS_MAX: i64 = 2_000;
/// A flow that is announced waits so long for an answer that may bring its key.
const ANSWER_WAIT_MS: i64 = 2_000;
/// And its call's first message by so much: signalling may take another way into the capture, as through an agent (HEP).
const BEFORE_START_MS_MAX: i64 = 1_000;
/// Packets in sequence that make an unannounced flow count as RTP.
const LOOSE_PACKETS_MIN: u64 = 5;
/// An unannounced flow without packets for this long is over; one that was no RTP after all, sooner.
const LOOSE_IDLE_MS: i64 = 30_000;
const NO_RTP_IDLE_MS: i64 = 2_000;

/// Audio that stopped with a BYE has its last packet at most so long before it, or after it.
const STOPS_BEFORE_MS: i64 = 1_000;
const STOPS_AFTER_MS: i64 = 1_200;
/// And no other for so long, where the input ends sooner: three packets of 20 ms.
const STOPPED_MS: i64 = 60;

/// From when on what is held of a flow goes to the leg that claims it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// All of it where both ends are the leg's. A place has one call after the other, and a relay's has many at once: where only
    /// one end is, what overtakes a description.
    Beginning,
    Time(Timestamp),
}

/// What is handed on of a flow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    All,
    From(Timestamp),
    Nothing,
}

/// One such flow.
pub(super) struct Loose {
    report: UnannouncedRtp,
    /// What is left of a call that has ended: not reported, and this source not given to another call.
    tail_of: Option<u32>,
    next_sequence: u16,
    in_order: u64,
    held: Held,
    /// Packets that were handed on, which its report does not count.
    handed_on: u64,
    /// It is this leg's, and waits for an answer with its key since then.
    waits: Option<(LegId, Timestamp)>,
    /// It has the SSRC of a call's source, and is compared with it.
    pub(super) copy: Option<Box<Copy>>,
    /// It was looked up among the known devices, and is none of theirs.
    is_strange: bool,
    /// Looks at the bytes until they have told what they are.
    look: Option<Box<Scramble>>,
}

impl Media {
    /// Packets that still come of a call that has ended are nobody's news, unless the next call has its places already.
    pub(super) fn leave_tail(&mut self, source: &Source) {
        if [source.flow.src, source.flow.dst].iter().any(|place| self.claims.contains_key(place)) {
            return;
        }
        self.flows.remove(&source.flow);
        let report = UnannouncedRtp {
            flow: source.flow,
            started: source.last_at,
            ended: source.last_at,
            ssrc: source.ssrc,
            payload_type: 0,
            packets: 0,
            ethernet: None,
            looks_encrypted: false,
        };
        self.watch(Loose { tail_of: Some(source.ssrc), ..Loose::new(report, source.latest.1) });
    }

    pub(super) fn loose_packet(
        &mut self,
        flow: Flow,
        at: Timestamp,
        bytes: &[u8],
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        let Ok(packet) = rtp::parse(bytes) else { return };
        if self.loose.get(&flow).is_some_and(|loose| loose.is_followed_by(&packet, at))
            && let Some(before) = self.take_loose(flow)
        {
            self.report_loose(*before, out);
        }
        if let Some(loose) = self.loose.get_mut(&flow) {
            self.rtp_packets += 1;
            let before = loose.held.cost();
            loose.push(at, &packet, bytes);
            self.held_bytes = self.held_bytes + loose.held.cost() - before;
            let is_ripe = self.streams.are_known() && loose.waits.is_none() && loose.is_ripe(at);
            let waited = loose.waits.filter(|&(_, since)| at.nanos_since(since) > ANSWER_WAIT_MS * NS_PER_MS);
            if self.held_bytes > HELD_BYTES_MAX {
                self.give_up_oldest(at);
            }
            self.compare(flow, &packet);
            if is_ripe {
                self.look_up_loose(flow, at, legs, out);
            }
            if let Some((leg, _)) = waited {
                self.release_waiting(leg, at, legs, out);
            }
            return;
        }
        self.rtp_packets += 1;
        let report = UnannouncedRtp {
            flow,
            started: at,
            ended: at,
            ssrc: packet.ssrc,
            payload_type: packet.payload_type,
            packets: 0,
            ethernet: self.ethernet,
            looks_encrypted: false,
        };
        let mut loose = Loose::new(report, packet.sequence);
        loose.push(at, &packet, bytes);
        self.watch(loose);
        self.compare(flow, &packet);
    }

    fn watch(&mut self, loose: Loose) {
        let flow = loose.report.flow;
        if self.loose.len() >= LOOSE_MAX || self.loose.contains_key(&flow) {
            return;
        }
        self.held_bytes += loose.held.cost();
        self.loose.insert(flow, Box::new(loose));
        for endpoint in [flow.src, flow.dst] {
            self.loose_at.entry(endpoint).or_default().push(flow);
        }
        self.bind(flow, Binding::Loose);
    }

    /// Does it belong to a phone that is known by its address? Then it is a call.
    #[cold]
    fn look_up_loose(&mut self, flow: Flow, at: Timestamp, legs: &mut Legs, out: &mut Outbox) {
        let Some(loose) = self.loose.get_mut(&flow) else { return };
        loose.is_strange = true;
        let UnannouncedRtp { ethernet, started, payload_type, .. } = loose.report;
        let started = loose.held.iter().next().map_or(started, |(first, _)| first.max(started));
        if self.begin_stream(flow, ethernet, (started, at), payload_type, legs, out) {
            for place in [flow.src, flow.dst] {
                self.release_loose(&[place], None, at, legs, out);
            }
        }
    }

    /// Too much is held of all flows together: the oldest of it goes, whosever it is.
    #[cold]
    fn give_up_oldest(&mut self, now: Timestamp) {
        let Some(oldest) = self.loose.values().filter_map(|loose| loose.held.oldest()).min() else { return };
        let span_ms = now.nanos_since(oldest).max(0) / NS_PER_MS;
        for eighths in (0..8).rev() {
            if self.held_bytes <= HELD_BYTES_KEPT {
                return;
            }
            for loose in self.loose.values_mut() {
                let before = loose.held.cost();
                loose.held.forget_older(now, span_ms * eighths / 8 - 1);
                self.held_bytes -= before - loose.held.cost();
            }
        }
    }

    /// Bytes held of unannounced flows.
    #[cfg(test)]
    pub(in crate::tracker) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The latest source of a watched flow.
    pub(super) fn loose_ssrc(&self, flow: Flow) -> Option<u32> {
        self.loose.get(&flow).map(|loose| loose.report.ssrc)
    }

    /// From when on what is held of the flows at the places of a description is its leg's. From their beginning, when the leg ran
    /// before its first message was seen and not both sides have described their places before; else what may have overtaken the
    /// description.
    pub(super) fn held_since(&self, leg: LegId, at: Timestamp, legs: &Legs) -> Since {
        let Some(leg) = legs.leg(leg) else { return Since::Time(at) };
        let is_new = leg.sides.iter().any(|side| side.claims.is_empty());
        if leg.facts.is_stream_only() || (leg.facts.joined_late && is_new) {
            return Since::Beginning;
        }
        let started = leg.facts.started.plus_millis(-BEFORE_START_MS_MAX);
        Since::Time(started.max(at.plus_millis(-EARLY_MS_MAX)))
    }

    /// The flows at these places wait a moment more for the answer, which has their key, or their other end.
    pub(super) fn let_wait(&mut self, places: &[Endpoint], leg: LegId, at: Timestamp) {
        for flow in places.iter().filter_map(|place| self.loose_at.get(place)).flatten() {
            if let Some(loose) = self.loose.get_mut(flow) {
                loose.waits.get_or_insert((leg, at));
            }
        }
    }

    /// Gives the flows that have waited for an answer too long to the legs that they wait for.
    pub(in crate::tracker) fn release_overdue(&mut self, now: Timestamp, legs: &mut Legs, out: &mut Outbox) {
        let is_overdue = |since: Timestamp| now.nanos_since(since) > ANSWER_WAIT_MS * NS_PER_MS;
        let mut overdue: Vec<(LegId, Flow)> = Vec::new();
        for loose in self.loose.values_mut() {
            match loose.waits {
                Some((leg, _)) if legs.leg(leg).is_none() => loose.waits = None,
                Some((leg, since)) if is_overdue(since) => overdue.push((leg, loose.report.flow)),
                _ => {}
            }
        }
        overdue.sort_unstable_by_key(|&(leg, flow)| (leg.serial(), flow));
        for of_leg in overdue.chunk_by(|one, other| one.0 == other.0) {
            let flows = of_leg.iter().map(|&(_, flow)| flow).collect();
            let claimant = of_leg.first().map(|&(leg, _)| (leg, Since::Beginning));
            self.release_flows(flows, claimant, now, legs, out);
        }
    }

    /// No answer comes any more for the flows that wait for this leg.
    pub(in crate::tracker) fn release_waiting(
        &mut self,
        leg: LegId,
        at: Timestamp,
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        let Some(claimant) = legs.leg(leg) else { return };
        let places = claimant.sides.iter().flat_map(|side| &side.claims);
        let is_waiting = |flow: &&Flow| {
            self.loose.get(flow).and_then(|loose| loose.waits).is_some_and(|(waits_for, _)| waits_for == leg)
        };
        let flows: Vec<Flow> = places
            .filter_map(|place| self.loose_at.get(place))
            .flatten()
            .filter(is_waiting)
            .copied()
            .collect();
        self.release_flows(flows, Some((leg, Since::Beginning)), at, legs, out);
    }

    /// Flows that waited for these places to be claimed are judged again, with what is held of them.
    pub(super) fn release_loose(
        &mut self,
        places: &[Endpoint],
        claimant: Option<(LegId, Since)>,
        at: Timestamp,
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        let flows = places.iter().filter_map(|place| self.loose_at.get(place)).flatten().copied().collect();
        self.release_flows(flows, claimant, at, legs, out);
    }

    /// Packet by packet in the order in which they came, since the two directions are told by each other.
    fn release_flows(
        &mut self,
        mut flows: Vec<Flow>,
        claimant: Option<(LegId, Since)>,
        at: Timestamp,
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        flows.sort_unstable();
        flows.dedup();
        let mut released = Vec::new();
        let mut whole = Vec::new();
        for flow in flows {
            let Some(mut loose) = self.take_loose(flow) else { continue };
            let share = loose.share(claimant, at, legs);
            let held = match share {
                Share::All => std::mem::take(&mut loose.held),
                Share::From(since) => std::mem::take(&mut loose.held).after(Some(since)),
                Share::Nothing => {
                    self.report_loose(*loose, out);
                    continue;
                }
            };
            loose.handed_on = (held.len() as u64).min(loose.report.packets);
            loose.report.packets -= loose.handed_on;
            self.rtp_packets = self.rtp_packets.saturating_sub(loose.handed_on);
            let ethernet = loose.report.ethernet;
            if loose.report.packets > 0 {
                loose.report.ended = held.oldest().unwrap_or(loose.report.ended);
                match share == Share::All && claimant.is_some() {
                    true => whole.push(loose),
                    // It was nobody's, and is told of as such.
                    false => self.report_loose(*loose, out),
                }
            }
            released.push((flow, ethernet, held));
        }
        let mut packets: Vec<_> = released
            .iter()
            .flat_map(|(flow, ethernet, held)| held.iter().map(move |packet| (packet, *flow, *ethernet)))
            .collect();
        packets.sort_by_key(|&((at, _), ..)| at);
        for ((at, bytes), flow, ethernet) in packets {
            self.handle(&flow, at, bytes, &ethernet, legs, out);
        }
        for loose in whole {
            self.settle_rest(loose, claimant.map(|(leg, _)| leg), legs, out);
        }
    }

    /// What was not held any more of a flow between a leg's places: the leg's, when its audio is; else nobody's.
    fn settle_rest(&mut self, loose: Box<Loose>, leg: Option<LegId>, legs: &mut Legs, out: &mut Outbox) {
        let is_audio_of = |leg: &LegId| match self.flows.get(&loose.report.flow) {
            Some(Binding::Audio(sources)) => {
                sources.iter().flatten().any(|&index| self.source(index).is_some_and(|s| s.leg == *leg))
            }
            _ => false,
        };
        match leg.filter(is_audio_of).and_then(|leg| legs.leg_mut(leg)) {
            Some(leg) => leg.not_held_packets += loose.report.packets,
            None => self.report_loose(*loose, out),
        }
    }

    /// The one pair of places, of one or two flows, at which audio stopped that nobody announced and that has an end at one of these
    /// hosts, at this time; none when there are several, or it goes on.
    pub(in crate::tracker) fn stopped_with(
        &self,
        hosts: &[IpAddr],
        at: Timestamp,
        now: Timestamp,
    ) -> Option<Flow> {
        let is_of_hosts = |flow: &Flow| [flow.src.ip(), flow.dst.ip()].iter().any(|ip| hosts.contains(ip));
        let is_audio = |loose: &&Loose| {
            loose.in_order >= LOOSE_PACKETS_MIN
                && loose.tail_of.is_none()
                && loose.waits.is_none()
                && loose.copy.is_none()
                && may_be_audio(loose.report.payload_type)
        };
        let window = at.plus_millis(-STOPS_BEFORE_MS)..=at.plus_millis(STOPS_AFTER_MS);
        let has_stopped = |loose: &&Loose| {
            window.contains(&loose.report.ended) && loose.report.started <= at.plus_millis(-STOPS_BEFORE_MS)
        };
        let all = self.loose.values().map(Box::as_ref).filter(is_audio);
        let mut stopped: Vec<Flow> =
            all.filter(has_stopped).map(|loose| loose.report.flow).filter(is_of_hosts).collect();
        stopped.sort_unstable();
        // In the reverse direction too.
        let goes_on = |flow: Flow| {
            [flow, flow.reversed()].iter().filter_map(|flow| self.loose.get(flow)).any(|loose| {
                let ended = loose.report.ended;
                ended > *window.end() || now.nanos_since(ended) < STOPPED_MS * NS_PER_MS
            })
        };
        match stopped[..] {
            [one] if !goes_on(one) => Some(one),
            [one, other] if other == one.reversed() && !goes_on(one) => Some(one),
            _ => None,
        }
    }

    /// These two places were a leg's, which is over: what is held of the flows between them is its audio, and nothing else that ran
    /// at one of them.
    pub(in crate::tracker) fn claim_stopped(
        &mut self,
        leg: LegId,
        ends: [Endpoint; 2],
        at: Timestamp,
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        self.claim_pair(leg, ends, at, legs);
        let [src, dst] = ends;
        let flow = Flow { src, dst };
        self.release_flows(vec![flow, flow.reversed()], Some((leg, Since::Beginning)), at, legs, out);
    }

    pub(super) fn take_loose(&mut self, flow: Flow) -> Option<Box<Loose>> {
        let loose = self.loose.remove(&flow)?;
        self.held_bytes -= loose.held.cost();
        self.flows.remove(&flow);
        for endpoint in [flow.src, flow.dst] {
            if let Some(flows) = self.loose_at.get_mut(&endpoint) {
                flows.retain(|&other| other != flow);
                if flows.is_empty() {
                    self.loose_at.remove(&endpoint);
                }
            }
        }
        Some(loose)
    }

    pub(super) fn report_loose(&mut self, loose: Loose, out: &mut Outbox) {
        if loose.tail_of.is_some() && loose.in_order < LOOSE_PACKETS_MIN {
            return;
        }
        let UnannouncedRtp { flow, started, ended, packets, .. } = loose.report;
        let all = packets + loose.handed_on;
        let copy = loose.copy.filter(|copy| all >= LOOSE_PACKETS_MIN && copy.is_whole(all));
        if let Some(copy) = copy {
            self.copied += 1;
            let Copy { leg, side, original, .. } = *copy;
            let copied = CopiedRtp { flow, started, ended, packets, leg, side, original };
            out.push(Queued::CopiedRtp(Box::new(copied)));
        } else if loose.in_order >= LOOSE_PACKETS_MIN {
            self.unannounced += 1;
            out.push(Queued::UnannouncedRtp(Box::new(loose.report)));
        } else {
            self.rtp_packets = self.rtp_packets.saturating_sub(loose.report.packets);
        }
    }

    /// Ends unannounced flows that are idle at `now`, or all of them.
    pub(in crate::tracker) fn expire_loose(&mut self, now: Option<Timestamp>, out: &mut Outbox) {
        let mut over: Vec<Flow> = self
            .loose
            .values()
            .filter(|loose| {
                let is_rtp = loose.in_order >= LOOSE_PACKETS_MIN || loose.tail_of.is_some();
                let idle_ms = if is_rtp { LOOSE_IDLE_MS } else { NO_RTP_IDLE_MS };
                now.is_none_or(|now| now.nanos_since(loose.report.ended) > idle_ms * NS_PER_MS)
            })
            .map(|loose| loose.report.flow)
            .collect();
        over.sort_unstable();
        for flow in over {
            if let Some(loose) = self.take_loose(flow) {
                self.report_loose(*loose, out);
            }
        }
    }
}

impl Loose {
    fn new(report: UnannouncedRtp, next_sequence: u16) -> Loose {
        let look = scramble::applies_to(&sdp::static_format(report.payload_type).codec).then(Box::default);
        Loose {
            report,
            tail_of: None,
            next_sequence,
            in_order: 0,
            held: Held::default(),
            handed_on: 0,
            waits: None,
            copy: None,
            is_strange: false,
            look,
        }
    }

    /// Packets so far.
    pub(super) fn packets(&self) -> u64 {
        self.report.packets
    }

    /// How much of what is held of it is the claimant's.
    fn share(&self, claimant: Option<(LegId, Since)>, at: Timestamp, legs: &Legs) -> Share {
        let Some((leg, since)) = claimant else { return Share::All };
        // Counted from the description, where the answer was waited for.
        let described = self.waits.filter(|&(waits_for, _)| waits_for == leg).map_or(at, |(_, since)| since);
        let is_of = |place: &Endpoint| {
            legs.leg(leg).is_some_and(|leg| leg.sides.iter().any(|side| side.claims.contains(place)))
        };
        match since {
            Since::Beginning if is_of(&self.report.flow.src) && is_of(&self.report.flow.dst) => Share::All,
            _ if described.nanos_since(self.report.ended) > LIVE_MS * NS_PER_MS => Share::Nothing,
            Since::Beginning => Share::From(described.plus_millis(-EARLY_MS_MAX)),
            Since::Time(since) => Share::From(since),
        }
    }

    /// Is it RTP for certain, and old enough that an announcement would have come?
    fn is_ripe(&self, at: Timestamp) -> bool {
        !self.is_strange
            && self.in_order >= LOOSE_PACKETS_MIN
            && at.nanos_since(self.report.started) >= STREAM_START_MS * NS_PER_MS
    }

    /// Another source after a silence: the next call on the same ports, as like as not. What is held must not go to the wrong
    /// one.
    fn is_followed_by(&self, packet: &Packet<'_>, at: Timestamp) -> bool {
        self.tail_of.is_none()
            && packet.ssrc != self.report.ssrc
            && self.in_order >= LOOSE_PACKETS_MIN
            && at.nanos_since(self.report.ended) > LIVE_MS * NS_PER_MS
    }

    /// How many bytes of it are worth holding.
    fn held_bytes_max(&self, at: Timestamp) -> usize {
        let is_old = at.nanos_since(self.report.started) > HELD_AGE_MS_MAX * NS_PER_MS;
        match is_old || !may_be_audio(self.report.payload_type) {
            true => HELD_OLD_BYTES_MAX,
            false => HELD_FLOW_BYTES_MAX,
        }
    }

    fn look_at(&mut self, packet: &Packet<'_>) {
        let Some(look) = self.look.as_mut().filter(|_| packet.payload_type == self.report.payload_type)
        else {
            return;
        };
        match look.push(packet.payload) {
            Look::Unknown => return,
            Look::Plain => {}
            Look::Scrambled => self.report.looks_encrypted = true,
        }
        self.look = None;
    }

    fn push(&mut self, at: Timestamp, packet: &Packet<'_>, bytes: &[u8]) {
        self.report.ended = at;
        if self.tail_of == Some(packet.ssrc) {
            return;
        }
        self.report.packets += 1;
        if packet.sequence == self.next_sequence && packet.ssrc == self.report.ssrc {
            self.in_order += 1;
            self.look_at(packet);
        }
        self.next_sequence = packet.sequence.wrapping_add(1);
        self.report.ssrc = packet.ssrc;
        self.held.forget_older(at, HELD_MS_MAX);
        self.held.push(at, bytes, self.held_bytes_max(at));
    }
}
