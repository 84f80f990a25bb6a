//! RTP flows that no signalling has announced: watched for an announcement that comes late, and told of when none does.
//!
//! The latest packets of each are kept for a moment, so that audio that overtakes its session description is not lost. What is
//! left of a call that has ended is such a flow too, and nobody's news.

use super::held::Held;
use super::streams::STREAM_START_MS;
use super::{Binding, LIVE_MS, Media, Source};
use crate::net::{Endpoint, Flow};
use crate::rtp::{self, Packet};
use crate::scramble::{self, Look, Scramble};
use crate::sdp;
use crate::time::{NS_PER_MS, Timestamp};
use crate::tracker::event::UnannouncedRtp;
use crate::tracker::leg::Legs;
use crate::tracker::outbox::{Outbox, Queued};

/// Unannounced RTP flows that are watched.
const LOOSE_MAX: usize = 8192;
/// Bytes kept of an unannounced flow, should its announcement come late: about 0.9 s of G.711.
const LOOSE_BYTES_MAX: usize = 8 * 1024;
/// Packets in sequence that make an unannounced flow count as RTP.
const LOOSE_PACKETS_MIN: u64 = 5;
/// An unannounced flow without packets for this long is over; one that was no RTP after all, sooner.
const LOOSE_IDLE_MS: i64 = 30_000;
const NO_RTP_IDLE_MS: i64 = 2_000;

/// One such flow.
pub(super) struct Loose {
    report: UnannouncedRtp,
    /// What is left of a call that has ended: not reported, and this source not given to another call.
    tail_of: Option<u32>,
    next_sequence: u16,
    in_order: u64,
    held: Held,
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
        if let Some(loose) = self.loose.get_mut(&flow) {
            self.rtp_packets += 1;
            loose.push(at, &packet, bytes);
            if self.streams.are_known() && loose.is_ripe(at, bytes.len()) {
                self.look_up_loose(flow, at, legs, out);
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
    }

    fn watch(&mut self, loose: Loose) {
        let flow = loose.report.flow;
        if self.loose.len() >= LOOSE_MAX || self.loose.contains_key(&flow) {
            return;
        }
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
                self.release_loose(place, at, legs, out);
            }
        }
    }

    /// The latest source of a watched flow.
    pub(super) fn loose_ssrc(&self, flow: Flow) -> Option<u32> {
        self.loose.get(&flow).map(|loose| loose.report.ssrc)
    }

    /// Flows that waited for this place to be claimed are judged again, with what was kept of them.
    pub(super) fn release_loose(
        &mut self,
        place: Endpoint,
        at: Timestamp,
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        let flows = self.loose_at.get(&place).cloned().unwrap_or_default();
        for flow in flows {
            let Some(mut loose) = self.take_loose(flow) else { continue };
            if at.nanos_since(loose.report.ended) > LIVE_MS * NS_PER_MS {
                self.report_loose(*loose, out);
                continue;
            }
            let ethernet = loose.report.ethernet;
            let held = std::mem::take(&mut loose.held);
            // What is not held any more was nobody's: a call that ran before the capture began. It is told of as such.
            let handed_on = (held.len() as u64).min(loose.report.packets);
            loose.report.packets -= handed_on;
            self.rtp_packets = self.rtp_packets.saturating_sub(handed_on);
            if loose.report.packets > 0 {
                loose.report.ended = held.iter().next().map_or(at, |(at, _)| at);
                self.report_loose(*loose, out);
            }
            for (at, bytes) in held.iter() {
                self.handle(&flow, at, bytes, &ethernet, legs, out);
            }
        }
    }

    fn take_loose(&mut self, flow: Flow) -> Option<Box<Loose>> {
        let loose = self.loose.remove(&flow)?;
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

    fn report_loose(&mut self, loose: Loose, out: &mut Outbox) {
        if loose.tail_of.is_some() && loose.in_order < LOOSE_PACKETS_MIN {
            return;
        }
        if loose.in_order >= LOOSE_PACKETS_MIN {
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
            is_strange: false,
            look,
        }
    }

    /// Is it RTP for certain, and old enough that an announcement would have come? At the latest when what is kept of it would
    /// begin to be lost.
    fn is_ripe(&self, at: Timestamp, len: usize) -> bool {
        !self.is_strange
            && self.in_order >= LOOSE_PACKETS_MIN
            && (at.nanos_since(self.report.started) >= STREAM_START_MS * NS_PER_MS
                || self.held.is_full_for(len, LOOSE_BYTES_MAX))
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
        self.held.push(at, bytes, LOOSE_BYTES_MAX);
    }
}
