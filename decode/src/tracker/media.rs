//! Which RTP packet belongs to which side of which leg.
//!
//! A session description *claims* the places where its sender receives. A packet to a claimed place was spoken by the other
//! side; a packet from a claimed place by that side itself (most phones send from where they receive). The first packet
//! of a flow is judged; what was found is kept for the flow, so that every further packet costs one look-up. A new claim
//! on a place lets its flows be judged again.

mod copies;
mod digits;
mod foreign;
mod guard;
mod held;
mod hops;
mod loose;
mod outside;
mod reports;
mod source;
mod streams;

use rustc_hash::{FxHashMap, FxHashSet};

use self::foreign::{Admission, Suspect};
pub use self::loose::{HELD_AGE_MS_MAX, HELD_BYTES_MAX, HELD_FLOW_BYTES_MAX, HELD_MS_MAX};
use self::loose::{Loose, Since};
pub(super) use self::source::SourceReport;
use self::source::{KnownFormats, Payload, Source, count_packet, forget_changed_formats, is_constant};
use self::streams::Streams;
use super::event::LegId;
use super::leg::{Hops, Leg, Legs};
use super::outbox::{LegNews, Outbox, Queued};
use super::secrecy::KeyPacket;
use super::trace;
use crate::codec;
use crate::media::Side;
use crate::net::{Endpoint, Ethernet, Flow};
use crate::ports::Ports;
use crate::rtp::dtmf::Detector;
use crate::rtp::loss::Watch;
use crate::rtp::stream::Stream;
use crate::rtp::timing::Timing;
use crate::rtp::{self, Packet};
use crate::sdp;
use crate::time::{NS_PER_MS, Timestamp};

/// Legs that may claim one place at the same time (a B2BUA that leaves the media to the phones claims it twice).
const OWNERS_MAX: usize = 8;
/// Legs that one packet may belong to.
const BOUND_MAX: usize = 2;
/// Flows that are remembered; packets of a flow beyond are judged one by one.
const FLOWS_MAX: usize = 400_000;
/// Flows remembered for one place; a spray of senders at it is judged packet by packet.
const FLOWS_PER_PLACE_MAX: usize = 64;
/// Places that one side of a leg holds; the oldest is given up for a new one.
const PLACES_MAX: usize = 64;
/// Two legs share a pair of places when they claimed it within this time of each other: a B2BUA that leaves the media to
/// the phones. Later than that, it is the next call on the same ports, and the older one's end was missed.
const SHARED_MS: i64 = 3_000;
/// The older leg keeps its share of a stream that it was hearing until so long ago.
const GOES_ON_MS: i64 = 1_000;
/// A stream is live for this long after a packet.
const LIVE_MS: i64 = 2_000;
/// Sources per side; a side that changes its SSRC more often keeps the packets but not the statistics of each.
const SOURCES_MAX: usize = 64;

/// What a claimed place is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Audio,
    Rtcp,
    Other,
}

#[derive(Clone, Copy, Debug)]
struct Owner {
    leg: LegId,
    side: Side,
    purpose: Use,
    at: Timestamp,
    hops: Hops,
}

#[derive(Default)]
struct Claim {
    owners: Vec<Owner>,
    flows: FxHashSet<Flow>,
}

/// What is known of a flow.
#[derive(Clone, Copy)]
enum Binding {
    /// Audio of these sources.
    Audio([Option<u32>; BOUND_MAX]),
    /// RTCP of a leg's side.
    Rtcp(LegId, Side),
    /// Video and other media of a call.
    Other,
    /// To a call's place, but not from the party, as far as is known: kept out.
    Suspect,
    /// What this side of the leg says at another hop already; since when.
    Relayed(LegId, Side, Timestamp),
    /// Nobody announced it.
    Loose,
    /// This leg's, but on ports that carry no audio here.
    Outside(LegId),
}

/// The table of claims, flows and sources.
#[derive(Default)]
pub(super) struct Media {
    claims: FxHashMap<Endpoint, Claim>,
    flows: FxHashMap<Flow, Binding>,
    sources: Vec<Option<Source>>,
    free: Vec<u32>,
    suspects: FxHashMap<Flow, Box<Suspect>>,
    loose: FxHashMap<Flow, Box<Loose>>,
    loose_at: FxHashMap<Endpoint, Vec<Flow>>,
    /// Bytes held of `loose`.
    held_bytes: usize,
    /// Bytes held of sources whose key may still come.
    waiting_bytes: usize,
    /// Sources by SSRC, for RTCP that comes to a place of its own; the latest of those that share one.
    by_ssrc: FxHashMap<u32, u32>,
    streams: Streams,
    /// The Ethernet header around the datagram at hand, unless that is of a flow that is known.
    ethernet: Option<Ethernet>,
    dropped_at: Option<Timestamp>,
    /// The datagram in hand was cut by the capture.
    pub(super) is_cut: bool,
    /// Time that counts as silence when it passes without a packet, in nanoseconds (see [`super::Core`]).
    pub(super) idle_clock: i64,
    /// Capture time has just leapt ahead by so much; whether the clock was set or time has passed is not known yet.
    pub(super) leap: Option<i64>,
    /// A stream went on over the leap as if nothing had happened: the clock was set.
    pub(super) clock_was_set: bool,
    pub(super) rtp_packets: u64,
    pub(super) unannounced: u64,
    /// Flows that hold what a source of a call sent, and nothing else.
    pub(super) copied: u64,
    /// Where audio is looked for.
    ports: Ports,
    /// Packets of calls, and of nobody, that were left out for their ports.
    pub(super) outside: u64,
    pub(super) outside_unannounced: u64,
    /// An SRTP packet that was opened; used again for the next one.
    opened: Vec<u8>,
}

impl Media {
    /// The capture lost frames just now.
    pub(super) fn note_drops(&mut self, at: Timestamp) {
        self.dropped_at = Some(at);
        self.sources.iter_mut().flatten().for_each(|source| source.watch.note_drops(at));
    }

    /// A datagram that is no SIP, with the Ethernet header around it.
    pub(super) fn handle(
        &mut self,
        flow: &Flow,
        at: Timestamp,
        bytes: &[u8],
        ethernet: &Option<Ethernet>,
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        if let Some(&Binding::Audio(sources)) = self.flows.get(flow)
            && self.bound_audio(sources, flow, at, bytes, legs, out)
        {
            return;
        }
        self.ethernet = *ethernet;
        let flow = *flow;
        match self.flows.get(&flow) {
            // A new SSRC on a known flow: the flow is judged anew, its legs stay.
            Some(Binding::Audio(_)) => self.judge(flow, at, bytes, legs, out),
            Some(&Binding::Rtcp(leg, side)) => self.reports(leg, side, at, bytes, legs, out),
            Some(Binding::Other) => {}
            Some(&Binding::Relayed(leg, side, since))
                if at.nanos_since(since) < hops::AGAIN_MS * NS_PER_MS =>
            {
                self.rtp_packets += 1;
                if let Some(leg) = legs.leg_mut(leg) {
                    leg.side_mut(side).relayed_packets += 1;
                }
            }
            Some(Binding::Relayed(..)) => self.judge(flow, at, bytes, legs, out),
            Some(Binding::Suspect) => self.suspect_packet(flow, at, bytes, legs, out),
            Some(Binding::Loose) => self.loose_packet(flow, at, bytes, legs, out),
            Some(&Binding::Outside(leg)) if rtp::looks_like_rtp(bytes) => self.outside_packet(leg, at, legs),
            Some(Binding::Outside(_)) => self.judge(flow, at, bytes, legs, out),
            None => self.judge(flow, at, bytes, legs, out),
        }
    }

    /// Audio, or RTCP on the same port, of a flow that is known; false when it is not of these sources.
    #[inline]
    fn bound_audio(
        &mut self,
        sources: [Option<u32>; BOUND_MAX],
        flow: &Flow,
        at: Timestamp,
        bytes: &[u8],
        legs: &mut Legs,
        out: &mut Outbox,
    ) -> bool {
        let Ok(packet) = rtp::parse(bytes) else {
            self.beside_audio(sources, at, bytes, legs, out);
            return true;
        };
        let is_same = |&index: &u32| self.source(index).is_some_and(|source| source.ssrc == packet.ssrc);
        if !sources.iter().flatten().all(is_same) {
            return false;
        }
        self.rtp_packets += 1;
        for index in sources.into_iter().flatten() {
            if self.source(index).is_some_and(|source| source.is_guarded) {
                self.guarded_packet(index, *flow, at, bytes, legs, out);
            } else {
                self.audio_packet(index, flow, at, &packet, legs, out);
            }
        }
        true
    }

    /// RTCP and packets about keys on a port for audio.
    #[cold]
    fn beside_audio(
        &mut self,
        sources: [Option<u32>; BOUND_MAX],
        at: Timestamp,
        bytes: &[u8],
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        let source = sources[0].and_then(|index| self.source(index));
        match source.map(|source| (source.leg, source.side)) {
            Some((leg, side)) if rtp::is_rtcp(bytes) => self.reports(leg, side, at, bytes, legs, out),
            Some(place) => _ = self.key_packet(place, bytes, legs),
            None => {}
        }
    }

    /// The source that a packet of this flow is of, when nothing about it is new.
    #[inline]
    pub(super) fn foresee(&self, flow: &Flow) -> Option<u32> {
        match self.flows.get(flow) {
            Some(Binding::Audio(sources)) => sources[0],
            _ => None,
        }
    }

    /// Reads what a packet of this source will touch; see [`super::foresight`].
    #[inline]
    pub(super) fn fetch_source(&self, index: u32) -> Option<(LegId, Side)> {
        let source = self.source(index)?;
        source.fetch();
        Some((source.leg, source.side))
    }

    fn source(&self, index: u32) -> Option<&Source> {
        self.sources.get(index as usize)?.as_ref()
    }

    /// One packet of one source, in clear: counted, timed, handed on.
    fn audio_packet(
        &mut self,
        index: u32,
        flow: &Flow,
        at: Timestamp,
        packet: &Packet<'_>,
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        let counting = (self.idle_clock, self.is_cut);
        let Some(source) = self.sources.get_mut(index as usize).and_then(Option::as_mut) else { return };
        let Some(leg) = legs.leg_mut(source.leg) else { return };
        let at = match self.leap {
            Some(leap) if source.goes_on_over(leap, packet, at, leg) => {
                self.clock_was_set = true;
                at.plus_nanos(-leap)
            }
            _ => at,
        };
        let (step, advance) = source.step_to(packet);
        let Some(known) = count_packet(source, leg, flow, at, packet, &mut out.formats, counting) else {
            return;
        };
        if source.is_copied {
            source.remember(packet);
        }
        let own;
        let (known, packet) = if known.kind == Payload::Redundant {
            let Some((known, unpacked)) = digits::unpack(source, leg, packet, at, out) else { return };
            own = unpacked;
            (known, &own)
        } else {
            (known, packet)
        };
        let side = source.side;
        let format = out.formats.by_id(known.format);
        match known.kind {
            Payload::Event => {
                if let Some(digit) = source.dtmf.push(packet.payload, packet.timestamp, format.clock_rate, at)
                {
                    out.push(Queued::Digit { leg: source.leg, side, digit });
                }
            }
            kind => {
                if step == 1 && advance > 0 && advance < format.clock_rate {
                    source.ticks_per_packet = advance;
                }
                source.latest = (packet.timestamp, packet.sequence);
                let ticks = match kind {
                    Payload::Noise => 0,
                    _ => codec::packet_ticks(format, packet.payload).unwrap_or(source.ticks_per_packet),
                };
                if known.is_g711 && is_constant(packet.payload) {
                    source.silent_ticks += u64::from(ticks);
                }
                let rate = format.clock_rate;
                leg.side_mut(side).clock.push(at, packet.ssrc, packet.timestamp, rate, ticks);
            }
        }
        if leg.facts.first_audio.is_none() {
            leg.facts.first_audio = Some(at);
            leg.facts.early_media = leg.facts.answered.is_none();
            if leg.facts.joined_late {
                // It had been answered by then.
                leg.facts.answered = leg.facts.answered.min(Some(at));
            }
            out.push(Queued::Leg(LegNews::AudioStarted, source.leg));
            trace::tell_held(leg, out);
        }
        if let Some(count) = leg.facts.audio_packets.get_mut(side.index()) {
            *count += 1;
        }
        out.audio(source.leg, side, at, known.format, packet);
    }

    /// Decides whose a flow is.
    fn judge(&mut self, flow: Flow, at: Timestamp, bytes: &[u8], legs: &mut Legs, out: &mut Outbox) {
        if !self.ports.take(&flow) && rtp::looks_like_rtp(bytes) {
            return self.leave_outside(flow, at, legs, out);
        }
        let mut candidates = self.candidates(flow, legs);
        self.turn_round(&mut candidates, flow, legs);
        let Some(best) = candidates.first().copied() else {
            if rtp::looks_like_rtp(bytes) {
                self.loose_packet(flow, at, bytes, legs, out);
            } else if rtp::is_rtcp(bytes) {
                self.reports_of_known_source(flow, at, bytes, legs, out);
            }
            return;
        };
        let is_rtcp = rtp::is_rtcp(bytes);
        if best.owner.purpose == Use::Other {
            return self.bind(flow, Binding::Other);
        }
        if (is_rtcp || KeyPacket::of(bytes).is_some()) && !self.is_trusted(&best, flow, at, legs) {
            return;
        }
        if is_rtcp {
            if best.owner.purpose == Use::Rtcp {
                self.bind(flow, Binding::Rtcp(best.owner.leg, best.speaker));
            }
            return self.reports(best.owner.leg, best.speaker, at, bytes, legs, out);
        }
        if self.key_packet((best.owner.leg, best.speaker), bytes, legs) {
            return;
        }
        let Ok(packet) = rtp::parse(bytes) else { return };
        if best.is_from_alone {
            if self.may_be_another_stream(best.owner, packet.ssrc, legs) {
                return self.loose_packet(flow, at, bytes, legs, out);
            }
            self.follow_phone(best.owner, flow, at, legs);
        }
        match self.admission(&best, flow, at, &packet, legs) {
            Admission::Party => {}
            other => {
                self.keep_out(&best, flow, at, (&packet, bytes), legs, out);
                if other == Admission::Foreign {
                    self.find_foreign(flow, at, legs, out);
                }
                return;
            }
        }
        if self.is_relayed(&best, flow, at, packet.ssrc, legs) {
            return self.keep_relayed(&best, flow, at, legs);
        }
        self.admit_held(&candidates, flow, legs, out);
        let sharing = self.sharing(&candidates, packet.ssrc, at, legs);
        self.admit(&sharing, flow, at, (&packet, bytes), legs, out);
    }

    /// Who sends from where a party is said to be is that party, as long as nothing better is known. Where its packets go to a
    /// place from which the same party is heard, at a place that the other one has announced, it is the other one: two flows
    /// between the same two hosts are two directions, whatever the session descriptions mixed up.
    fn turn_round(&mut self, candidates: &mut [Candidate], flow: Flow, legs: &mut Legs) {
        for candidate in candidates.iter_mut().filter(|candidate| candidate.is_from_alone) {
            let Some(leg) = legs.leg(candidate.owner.leg) else { continue };
            let mut heard =
                leg.side(candidate.speaker).sources.iter().filter_map(|&index| self.source(index));
            if heard.any(|source| source.flow.src == flow.dst) {
                candidate.speaker = candidate.speaker.other();
            }
        }
        let Some(best) = candidates.first().filter(|best| !best.is_from_alone).copied() else { return };
        let Some(leg) = legs.leg_mut(best.owner.leg) else { return };
        let is_claimed = |place: Endpoint| {
            let owners = self.claims.get(&place).map_or(&[][..], |claim| &claim.owners);
            owners.iter().any(|owner| owner.leg == best.owner.leg)
        };
        let is_mistaken = |&&index: &&u32| {
            self.source(index)
                .is_some_and(|s| s.flow.dst == flow.src && s.flow.src != flow.dst && !is_claimed(s.flow.dst))
        };
        let mistaken: Vec<u32> = leg.side(best.speaker).sources.iter().filter(is_mistaken).copied().collect();
        for index in mistaken {
            leg.side_mut(best.speaker).sources.retain(|&other| other != index);
            leg.side_mut(best.speaker.other()).sources.push(index);
            if let Some(source) = self.sources.get_mut(index as usize).and_then(Option::as_mut) {
                source.side = best.speaker.other();
            }
        }
    }

    /// Of the candidates, those whose legs get the packet.
    fn sharing(&self, candidates: &[Candidate], ssrc: u32, at: Timestamp, legs: &Legs) -> Vec<Candidate> {
        let Some(best) = candidates.first() else { return Vec::new() };
        let shares = |c: &&Candidate| {
            let together = best.owner.at.nanos_since(c.owner.at) < SHARED_MS * NS_PER_MS;
            c.rank == best.rank && (together || self.is_hearing(c, ssrc, at, legs))
        };
        candidates.iter().filter(shares).copied().collect()
    }

    /// What was held of a sender goes where its candidates say.
    fn admit_held(&mut self, candidates: &[Candidate], flow: Flow, legs: &mut Legs, out: &mut Outbox) {
        let Some(best) = candidates.first().filter(|_| self.suspects.contains_key(&flow)) else { return };
        let held = self.acquit(best, flow, legs, out);
        for (at, bytes) in held.iter() {
            let Ok(packet) = rtp::parse(bytes) else { continue };
            let sharing = self.sharing(candidates, packet.ssrc, at, legs);
            self.admit(&sharing, flow, at, (&packet, bytes), legs, out);
        }
    }

    /// The first packet of a flow, or of a source on it, that is a party's.
    fn admit(
        &mut self,
        sharing: &[Candidate],
        flow: Flow,
        at: Timestamp,
        (packet, bytes): (&Packet<'_>, &[u8]),
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        self.rtp_packets += 1;
        note_shared(sharing, flow, at, legs, out);
        // Which legs have this source already counts before any of them gets it.
        let mut sources = [None; BOUND_MAX];
        for (place, candidate) in sources.iter_mut().zip(sharing) {
            self.demote_others(candidate, flow, at, packet, legs, out);
            *place = self.source_for(candidate, flow, at, packet, legs);
        }
        self.bind(flow, Binding::Audio(sources));
        for index in sources.into_iter().flatten() {
            // A new source is guarded until it is known to be in clear, and one that is known has met its guard.
            match self.source(index).is_some_and(|source| source.is_guarded) {
                true => self.guarded_packet(index, flow, at, bytes, legs, out),
                false => self.audio_packet(index, &flow, at, packet, legs, out),
            }
        }
    }

    /// Legs that the flow may belong to, best first. Both ends claimed by the same leg outranks one end; of several legs with one
    /// end, only the newest counts, since ports are used again.
    fn candidates(&self, flow: Flow, legs: &Legs) -> Vec<Candidate> {
        let owners = |endpoint| self.claims.get(&endpoint).map_or(&[][..], |claim| &claim.owners);
        let to = owners(flow.dst);
        let from = owners(flow.src);
        let both =
            to.iter().filter(|owner| from.iter().any(|f| f.leg == owner.leg && f.side == owner.side.other()));
        let mut found: Vec<Candidate> =
            both.map(|&owner| Candidate::new(owner, owner.side.other(), 2)).collect();
        if found.is_empty() {
            // A leg that goes on before one that is over, a place for audio before one beside it, a leg that talks before one that
            // rings, the newer before the older.
            let standing = |o: &Owner| {
                let leg = legs.leg(o.leg);
                let running = leg.is_some_and(|leg| !leg.is_over());
                (
                    running,
                    o.purpose == Use::Audio,
                    running && leg.is_some_and(|leg| leg.facts.answered.is_some()),
                    o.at,
                    o.leg.serial(),
                )
            };
            let newest = |list: &[Owner]| list.iter().copied().max_by_key(standing);
            found.extend(newest(to).map(|owner| Candidate::new(owner, owner.side.other(), 1)));
            if found.is_empty() {
                let alone =
                    |owner: Owner| Candidate { is_from_alone: true, ..Candidate::new(owner, owner.side, 1) };
                found.extend(newest(from).map(alone));
            }
        }
        found.retain(|c| legs.leg(c.owner.leg).is_some());
        found.sort_by_key(|c| std::cmp::Reverse((c.rank, c.owner.at, c.owner.leg.serial())));
        found
    }

    /// Does the candidate's leg hear this source already, without a break?
    fn is_hearing(&self, candidate: &Candidate, ssrc: u32, at: Timestamp, legs: &Legs) -> bool {
        let Some(leg) = legs.leg(candidate.owner.leg) else { return false };
        let mut sources = leg.side(candidate.speaker).sources.iter().filter_map(|&index| self.source(index));
        sources.any(|s| s.ssrc == ssrc && at.nanos_since(s.last_at) < GOES_ON_MS * NS_PER_MS)
    }

    fn source_for(
        &mut self,
        candidate: &Candidate,
        flow: Flow,
        at: Timestamp,
        packet: &Packet<'_>,
        legs: &mut Legs,
    ) -> Option<u32> {
        let leg = legs.leg_mut(candidate.owner.leg)?;
        let known = &leg.side(candidate.speaker).sources;
        let same =
            known.iter().copied().find(|&index| self.source(index).is_some_and(|s| s.ssrc == packet.ssrc));
        if same.is_some() || known.len() >= SOURCES_MAX {
            return same.or_else(|| known.last().copied());
        }
        let mut watch = Watch::new(at);
        if let Some(dropped) = self.dropped_at {
            watch.note_drops(dropped);
        }
        let source = Source {
            leg: candidate.owner.leg,
            side: candidate.speaker,
            ssrc: packet.ssrc,
            flow,
            last_at: at,
            receive: Stream::new(packet.sequence),
            watch,
            timing: Timing::default(),
            silent_ticks: 0,
            reports: None,
            has_left: false,
            clock_rate: 8000,
            dtmf: Detector::default(),
            formats: KnownFormats::default(),
            latest: (packet.timestamp, packet.sequence),
            ticks_per_packet: 0,
            is_guarded: true,
            is_copied: false,
            guard: None,
            original: None,
        };
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.sources.push(None);
                (self.sources.len() - 1) as u32
            }
        };
        self.by_ssrc.insert(source.ssrc, index);
        if let Some(slot) = self.sources.get_mut(index as usize) {
            *slot = Some(source);
        }
        leg.side_mut(candidate.speaker).sources.push(index);
        Some(index)
    }

    fn bind(&mut self, flow: Flow, binding: Binding) {
        if !self.flows.contains_key(&flow) {
            let crowded =
                |place| self.claims.get(place).is_some_and(|c| c.flows.len() >= FLOWS_PER_PLACE_MAX);
            if self.flows.len() >= FLOWS_MAX || [flow.src, flow.dst].iter().any(crowded) {
                return;
            }
            for place in [flow.dst, flow.src] {
                if let Some(claim) = self.claims.get_mut(&place) {
                    claim.flows.insert(flow);
                }
            }
        }
        self.flows.insert(flow, binding);
    }
}

/// Two calls at once that announce the same places: nothing tells their audio apart, and each gets all of it.
fn note_shared(sharing: &[Candidate], flow: Flow, at: Timestamp, legs: &mut Legs, out: &mut Outbox) {
    let [one, other, ..] = sharing else { return };
    let call = |candidate: &Candidate| {
        legs.leg(candidate.owner.leg).filter(|leg| !leg.is_over()).map(|leg| leg.facts.call)
    };
    let (Some(a), Some(b)) = (call(one), call(other)) else { return };
    if a == b {
        return;
    }
    let mut is_new = false;
    for candidate in [one, other] {
        if let Some(leg) = legs.leg_mut(candidate.owner.leg) {
            is_new |= !std::mem::replace(&mut leg.shares_media, true);
        }
    }
    if is_new {
        out.oddity(at, Some(flow), "two calls at once announce the same places for their audio");
    }
}

#[derive(Clone, Copy)]
struct Candidate {
    owner: Owner,
    speaker: Side,
    rank: u8,
    /// Only the sender's place is claimed, not the receiver's.
    is_from_alone: bool,
}

impl Candidate {
    fn new(owner: Owner, speaker: Side, rank: u8) -> Self {
        Candidate { owner, speaker, rank, is_from_alone: false }
    }
}

/// Claims: what session descriptions say.
impl Media {
    /// A side of a leg, heard at these hops, receives at the places of `session`. Places of earlier descriptions stay its own
    /// until another leg claims them: packets on the way to them are still its audio, and an offer may be refused.
    pub(super) fn apply(
        &mut self,
        (leg, side, hops): (LegId, Side, Hops),
        session: &sdp::Session,
        at: Timestamp,
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        self.yield_to_sip(leg, session, at, legs, out);
        let claimant = (leg, self.held_since(leg, at, legs));
        let mut places = Vec::new();
        // A recording session has a line for each party (RFC 7866, 7.1): what comes to the second one is the other party's voice.
        let is_session = legs.leg(leg).is_some_and(|leg| leg.facts.conferenced.is_some());
        let (claimant_side, mut audio_lines) = (side, 0);
        for media in &session.media {
            let purpose = if media.kind == sdp::Kind::Audio { Use::Audio } else { Use::Other };
            let is_second = is_session && audio_lines == 1;
            let side = if is_second { claimant_side.other() } else { claimant_side };
            audio_lines += u8::from(purpose == Use::Audio && audio_lines < 2);
            let Some(place) = media.receives_at else { continue };
            self.claim(place, Owner { leg, side, purpose, at, hops }, legs);
            places.push(place);
            let rtcp_place = media.rtcp_at.or_else(|| Some(place.with_port(place.port.checked_add(1)?)));
            if let Some(rtcp_place) = rtcp_place.filter(|&p| !media.rtcp_mux && p != place) {
                let purpose = if purpose == Use::Audio { Use::Rtcp } else { Use::Other };
                self.claim(rtcp_place, Owner { leg, side, purpose, at, hops }, legs);
                places.push(rtcp_place);
            }
        }
        // Payload types may mean something else now, and so may addresses.
        if let Some(leg) = legs.leg(leg) {
            self.weigh_again(leg);
            for index in leg.sides.iter().flat_map(|side| &side.sources) {
                if let Some(source) = self.sources.get_mut(*index as usize).and_then(Option::as_mut) {
                    forget_changed_formats(source, leg, &out.formats);
                }
            }
            self.guard_sources(leg);
        }
        self.settle_waiting(leg, false, legs, out);
        // What is held of a call that ran already waits for the answer, which comes in a moment: for the key, if it is SRTP, and
        // for the other end, without which nothing tells it from another call's.
        let waits_for_answer = claimant.1 == Since::Beginning
            && legs.leg(claimant.0).is_some_and(|leg| {
                leg.secrecy.is_undecided() || leg.sides.iter().any(|side| side.claims.is_empty())
            });
        if waits_for_answer {
            self.let_wait(&places, leg, at);
        } else {
            if claimant.1 == Since::Beginning {
                let sides = legs.leg(claimant.0).map_or(&[][..], |leg| &leg.sides);
                places = sides.iter().flat_map(|side| &side.claims).copied().collect();
            }
            self.release_loose(&places, Some(claimant), at, legs, out);
        }
    }

    /// A fork hears the same caller: it claims the places that `side` of `from` has announced.
    pub(super) fn share(&mut self, from: LegId, to: LegId, side: Side, at: Timestamp, legs: &mut Legs) {
        let places = legs.leg(from).map(|leg| leg.side(side).claims.clone()).unwrap_or_default();
        for place in places {
            let owners = self.claims.get(&place).map_or(&[][..], |claim| &claim.owners);
            let Some(owner) = owners.iter().find(|o| o.leg == from && o.side == side).copied() else {
                continue;
            };
            self.claim(place, Owner { leg: to, at, ..owner }, legs);
        }
    }

    /// A running leg in which another host announces a place of `session` too: one of the two speaks for itself, the other
    /// repeats what it was told. Behind NAT two strangers may announce one private address; neither of them is seen there.
    pub(super) fn announced_by_another(
        &self,
        leg: LegId,
        side: Side,
        session: &sdp::Session,
        legs: &Legs,
    ) -> Option<LegId> {
        let own = legs.leg(leg)?;
        let host = |leg: &Leg, side| leg.facts.party(side).signalling.host();
        let is_told = |place: Endpoint, owner: &&Owner| {
            let Some(other) = legs.leg(owner.leg).filter(|other| !other.is_over()) else { return false };
            let hosts = [host(own, side), host(other, owner.side)];
            let speaks_for_itself = hosts.iter().filter(|&&host| host == place.host()).count() == 1;
            // A media gateway is neither of them: then both ends of the audio have to be the same.
            let own_far = &own.side(side.other()).claims;
            let both_ends = other.side(owner.side.other()).claims.iter().any(|far| own_far.contains(far));
            other.facts.call != own.facts.call
                && owner.purpose == Use::Audio
                && hosts[0] != hosts[1]
                && (speaks_for_itself || both_ends)
        };
        session.audio().filter_map(|media| media.receives_at).find_map(|place| {
            let owners = &self.claims.get(&place)?.owners;
            owners.iter().rev().find(|owner| is_told(place, owner)).map(|owner| owner.leg)
        })
    }

    fn claim(&mut self, place: Endpoint, owner: Owner, legs: &mut Legs) {
        let claim = self.claims.entry(place).or_default();
        let mine = |o: &Owner| o.leg == owner.leg && o.side == owner.side;
        if let Some(known) = claim.owners.iter_mut().find(|o| mine(o) && o.purpose == owner.purpose) {
            known.at = owner.at;
            known.hops = known.hops.with(owner.hops);
            return;
        }
        // A leg that is over keeps its places only until somebody else wants them.
        claim.owners.retain(|o| o.leg == owner.leg || legs.leg(o.leg).is_some_and(|leg| !leg.is_over()));
        claim.owners.retain(|o| !mine(o));
        if claim.owners.len() >= OWNERS_MAX {
            claim.owners.remove(0);
        }
        claim.owners.push(owner);
        for flow in std::mem::take(&mut claim.flows) {
            self.flows.remove(&flow);
        }
        let Some(leg) = legs.leg_mut(owner.leg) else { return };
        // Flows between here and the other side's places were judged by one end alone.
        for far in &leg.side(owner.side.other()).claims {
            let Some(claim) = self.claims.get_mut(far) else { continue };
            let is_between = |flow: &Flow| flow.src == place || flow.dst == place;
            claim.flows.retain(|flow| {
                let judged_again = is_between(flow);
                if judged_again {
                    self.flows.remove(flow);
                }
                !judged_again
            });
        }
        let claims = &mut leg.side_mut(owner.side).claims;
        if claims.contains(&place) {
            return;
        }
        claims.push(place);
        if claims.len() > PLACES_MAX {
            let oldest = claims.remove(0);
            self.give_up(oldest, owner.leg);
        }
    }

    /// A place is no longer this leg's; its flows are judged again.
    fn give_up(&mut self, place: Endpoint, leg: LegId) {
        let Some(claim) = self.claims.get_mut(&place) else { return };
        claim.owners.retain(|owner| owner.leg != leg);
        for flow in std::mem::take(&mut claim.flows) {
            self.flows.remove(&flow);
        }
        if claim.owners.is_empty() {
            self.claims.remove(&place);
        }
    }

    /// Everything a closed leg holds is given back. Gives its sources' numbers, by side, to be summed up.
    pub(super) fn release(&mut self, leg: &mut Leg) -> [Vec<SourceReport>; 2] {
        let id = leg.facts.leg;
        // All places first: what is left of the flows is only then known to be nobody's.
        for place in leg.sides.iter_mut().flat_map(|side| std::mem::take(&mut side.claims)) {
            self.give_up(place, id);
        }
        let is_stream_only = leg.facts.is_stream_only();
        if is_stream_only {
            self.forget_stream(leg);
        }
        let mut reports = [Vec::new(), Vec::new()];
        for (side, reports) in leg.sides.iter_mut().zip(&mut reports) {
            for index in side.sources.drain(..) {
                if let Some(source) = self.sources.get_mut(index as usize).and_then(Option::take) {
                    self.free.push(index);
                    if self.by_ssrc.get(&source.ssrc) == Some(&index) {
                        self.by_ssrc.remove(&source.ssrc);
                    }
                    // What comes after the end of a call without signalling is another one.
                    if !is_stream_only {
                        self.leave_tail(&source);
                    }
                    reports.push(SourceReport::of(source));
                }
            }
        }
        reports
    }
}
