//! What a mirror port shows, and what is wrong with it, in words an administrator can act on.
//!
//! A pure observer: [`Observer::handle_frame`] takes frames of one adapter for some seconds, [`Observer::findings`] says what they
//! mean. It judges the mirror, not the calls: for these there is the tracker. Checksums are not looked at: a recorder that sees
//! its own machine's traffic sees frames whose sums the adapter has yet to fill in, and they are read all the same.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::hash::BuildHasher;

use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use crate::dissect::{self, Dissector};
use crate::net::{Datagram, Flow, Frame, Mac, Transport};
use crate::time::Timestamp;
use crate::{rtp, sip};

/// RTP flows that are told apart; packets of more are counted all the same.
pub const FLOWS_MAX: usize = 20_000;
/// Calls that are told apart by their Call-ID; messages of more are counted all the same.
pub const CALLS_MAX: usize = 20_000;
/// VLANs listed.
const VLANS_MAX: usize = 64;
/// Packets with one source and a steady sequence make an RTP flow; fewer are chance.
const FLOW_PACKETS_MIN: u64 = 10;
/// A packet that comes again within so many milliseconds and so many packets is a copy that the mirror made: a phone sends
/// a message again after half a second (RFC 3261, timer A), and RTP never.
const COPY_MS: u64 = 50;
const COPY_PACKETS: usize = 1_024;
/// No Ethernet frame with a tag is longer than this; the kernel or the adapter has joined packets.
const ETHERNET_MAX: u32 = 1_522;
/// Jumbo frames are not joined ones, but telephony has none: a share of them in percent, from which on it is told.
const MERGED_PERCENT: u64 = 1;
/// A share that is told, in percent.
const COPIES_PERCENT: u64 = 20;
const ONE_WAY_PERCENT: u64 = 40;
/// Few of anything say nothing.
const FRAMES_MIN: u64 = 20;
const FLOWS_MIN: usize = 2;

/// LINKTYPE_ETHERNET.
const ETHERNET: u16 = 1;

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Frames.
    pub frames: u64,
    /// Bytes of them on the wire.
    pub bytes: u64,
    /// Frames to one station, as opposed to broadcast and multicast.
    pub unicast: u64,
    /// Frames from or to the adapter's own address.
    pub own: u64,
    /// Frames that were cut by the capture.
    pub cut: u64,
    /// Frames longer than Ethernet has them.
    pub merged: u64,
    /// UDP datagrams and TCP segments that came twice.
    pub copies: u64,
    /// UDP datagrams and TCP segments.
    pub datagrams: u64,
    /// SIP requests.
    pub requests: u64,
    /// SIP responses.
    pub responses: u64,
    /// Calls, by their Call-ID.
    pub calls: usize,
    /// Calls that were answered.
    pub answered: usize,
    /// RTP packets.
    pub rtp_packets: u64,
    /// RTP flows.
    pub rtp_flows: usize,
    /// Of these, flows without one the other way.
    pub rtp_one_way: usize,
    /// Segments of TLS to or from the port of SIP inside TLS.
    pub tls: u64,
}

/// Something that is wrong, or could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// No frame came.
    Nothing,
    /// Only what every port of a switch gets, or what is meant for this machine.
    NoMirror,
    /// Frames, and neither SIP nor RTP.
    NoTelephony,
    /// RTP, and no SIP.
    NoSip {
        /// TLS on SIP's port was seen.
        tls: bool,
    },
    /// Calls are answered, and no RTP comes.
    NoRtp {
        /// Answered calls.
        answered: usize,
    },
    /// RTP comes from one side only.
    RtpOneWay {
        /// Flows without a counterpart.
        flows: usize,
        /// All flows.
        of: usize,
    },
    /// Only requests or only responses come.
    SipOneWay {
        /// It is requests that are missing.
        requests_missing: bool,
    },
    /// Packets come twice.
    Copies {
        /// How many of a hundred.
        percent: u64,
    },
    /// Packets are joined before they are captured.
    Merged {
        /// Frames longer than Ethernet has them.
        frames: u64,
    },
    /// Frames are cut by the capture.
    Cut {
        /// How many.
        frames: u64,
    },
    /// Fragments are missing.
    FragmentsLost {
        /// Packets that could not be joined.
        packets: u64,
    },
}

impl Finding {
    /// One word that programs know it by.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Finding::Nothing => "nothing",
            Finding::NoMirror => "no-mirror",
            Finding::NoTelephony => "no-telephony",
            Finding::NoSip { .. } => "no-sip",
            Finding::NoRtp { .. } => "no-rtp",
            Finding::RtpOneWay { .. } => "rtp-one-way",
            Finding::SipOneWay { .. } => "sip-one-way",
            Finding::Copies { .. } => "copies",
            Finding::Merged { .. } => "merged",
            Finding::Cut { .. } => "cut",
            Finding::FragmentsLost { .. } => "fragments-lost",
        }
    }

    /// Does it cost recordings? The others only cost processor time, or may be meant so.
    #[must_use]
    pub const fn is_serious(self) -> bool {
        !matches!(self, Finding::Copies { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Nothing => f.write_str(
                "no frame came: is the cable in, the adapter up, and the switch's mirror session on?",
            ),
            Finding::NoMirror => f.write_str(
                "only broadcasts and this machine's own traffic came: the switch does not mirror another port to this one",
            ),
            Finding::NoTelephony => f.write_str(
                "neither SIP nor RTP came: is it the PBX's port that is mirrored, and its VLAN? (or nobody telephoned meanwhile)",
            ),
            Finding::NoSip { tls: true } => f.write_str(
                "RTP came and SIP only inside TLS: calls are recorded without numbers unless a key log or an agent (HEP) shows the SIP",
            ),
            Finding::NoSip { tls: false } => f.write_str(
                "RTP came and no SIP: signalling takes another way. Mirror the PBX's port too, or list phones by address ([[device]])",
            ),
            Finding::NoRtp { answered } => write!(
                f,
                "{answered} calls were answered and no RTP came: media goes from phone to phone. Switch direct media off in the PBX, or mirror the phones' ports"
            ),
            Finding::RtpOneWay { flows, of } => write!(
                f,
                "{flows} of {of} RTP flows have none the other way: the mirror shows one direction. Mirror both (rx and tx) of the port"
            ),
            Finding::SipOneWay { requests_missing } => write!(
                f,
                "SIP {} came without {}: the mirror shows one direction, or routing is asymmetric. Mirror both (rx and tx), or the other path too",
                if *requests_missing { "responses" } else { "requests" },
                if *requests_missing { "requests" } else { "responses" },
            ),
            Finding::Copies { percent } => write!(
                f,
                "{percent} % of the packets came twice: both directions of two ports are mirrored. Copies are known and left out; one direction of each saves the work"
            ),
            Finding::Merged { frames } => write!(
                f,
                "{frames} frames are longer than Ethernet has them: the adapter joins packets. Switch it off: ethtool -K IFACE gro off lro off"
            ),
            Finding::Cut { frames } => {
                write!(f, "{frames} frames were cut by the capture: raise [capture] snap_len")
            }
            Finding::FragmentsLost { packets } => write!(
                f,
                "{packets} fragmented packets came in part: a filter on ports, or loss before this machine"
            ),
        }
    }
}

/// One RTP flow.
#[derive(Clone, Copy, Debug)]
struct RtpFlow {
    ssrc: u32,
    sequence: u16,
    /// Packets in a row with one source and a steady sequence.
    steady: u64,
}

/// Watches one adapter. See the module's text.
#[derive(Debug)]
pub struct Observer {
    own: Option<Mac>,
    dissector: Dissector,
    seen: Seen,
    calls: FxHashMap<u64, bool>,
    flows: FxHashMap<Flow, RtpFlow>,
    vlans: BTreeMap<u16, u64>,
    recent: VecDeque<(Timestamp, u64)>,
    recent_set: FxHashSet<u64>,
}

impl Observer {
    /// One that has seen nothing. `own` is the adapter's address.
    #[must_use]
    pub fn new(own: Option<Mac>) -> Observer {
        Observer {
            own,
            dissector: Dissector::new(),
            seen: Seen::default(),
            calls: FxHashMap::default(),
            flows: FxHashMap::default(),
            vlans: BTreeMap::new(),
            recent: VecDeque::with_capacity(COPY_PACKETS),
            recent_set: FxHashSet::default(),
        }
    }

    /// Takes the next frame.
    pub fn handle_frame(&mut self, frame: &Frame<'_>) {
        self.seen.frames += 1;
        self.seen.bytes += u64::from(frame.wire_len);
        self.seen.cut += u64::from((frame.data.len() as u64) < u64::from(frame.wire_len));
        self.look_at_link(frame);
        let Observer { dissector, seen, calls, flows, recent, recent_set, .. } = self;
        let Some(datagram) = dissector.handle_frame(frame) else { return };
        seen.datagrams += 1;
        if is_copy(recent, recent_set, &datagram) {
            seen.copies += 1;
            return;
        }
        look_at(&datagram, seen, calls, flows);
    }

    fn look_at_link(&mut self, frame: &Frame<'_>) {
        if frame.link != ETHERNET {
            // Without addresses nothing can be told of the mirror: each frame counts as somebody's.
            self.seen.unicast += 1;
            return;
        }
        let Some((addresses, rest)) = frame.data.split_first_chunk::<12>() else { return };
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5] = *addresses;
        let ends = [Mac([d0, d1, d2, d3, d4, d5]), Mac([s0, s1, s2, s3, s4, s5])];
        // IEEE 802: the lowest bit of the first octet marks groups.
        self.seen.unicast += u64::from(d0 & 1 == 0);
        self.seen.own += u64::from(self.own.is_some_and(|own| ends.contains(&own)));
        self.seen.merged += u64::from(frame.wire_len > ETHERNET_MAX);
        if let [0x81, 0x00, high, low, ..] | [0x88, 0xa8, high, low, ..] = *rest {
            let vlan = u16::from_be_bytes([high, low]) & 0x0fff;
            if self.vlans.len() < VLANS_MAX || self.vlans.contains_key(&vlan) {
                *self.vlans.entry(vlan).or_default() += 1;
            }
        }
    }

    /// What was seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let steady = |flow: &RtpFlow| flow.steady >= FLOW_PACKETS_MIN;
        let flows: Vec<Flow> =
            self.flows.iter().filter(|(_, rtp)| steady(rtp)).map(|(&flow, _)| flow).collect();
        let is_answered = |flow: &Flow| self.flows.contains_key(&flow.reversed());
        Seen {
            calls: self.calls.len(),
            answered: self.calls.values().filter(|&&answered| answered).count(),
            rtp_flows: flows.len(),
            rtp_one_way: flows.iter().filter(|flow| !is_answered(flow)).count(),
            ..self.seen
        }
    }

    /// VLANs seen, with frames.
    pub fn vlans(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        self.vlans.iter().map(|(&vlan, &frames)| (vlan, frames))
    }

    /// What is wrong, the worst first; nothing when the mirror is as it should be.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        judge(&self.seen(), &self.dissector.counts())
    }
}

/// Has this datagram just been seen?
fn is_copy(
    recent: &mut VecDeque<(Timestamp, u64)>,
    set: &mut FxHashSet<u64>,
    datagram: &Datagram<'_>,
) -> bool {
    if datagram.payload.is_empty() {
        return false;
    }
    let sequence = if let Transport::Tcp { sequence, .. } = datagram.transport { sequence } else { 0 };
    let hash = FxBuildHasher.hash_one((datagram.flow, sequence, datagram.payload));
    while let Some(&(at, old)) = recent.front() {
        if recent.len() < COPY_PACKETS && datagram.at.millis_since(at) <= COPY_MS {
            break;
        }
        recent.pop_front();
        set.remove(&old);
    }
    if !set.insert(hash) {
        return true;
    }
    recent.push_back((datagram.at, hash));
    false
}

fn look_at(
    datagram: &Datagram<'_>,
    seen: &mut Seen,
    calls: &mut FxHashMap<u64, bool>,
    flows: &mut FxHashMap<Flow, RtpFlow>,
) {
    let payload = datagram.payload;
    if sip::looks_like_sip(payload) {
        return look_at_sip(payload, seen, calls);
    }
    let flow = datagram.flow;
    match datagram.transport {
        // RFC 8446, 5.1: a record's type and version. RFC 3261, 19.1.2: 5061 is SIP's port inside TLS.
        Transport::Tcp { .. } => {
            let is_tls = matches!(payload, [20..=23, 3, 0..=4, ..]);
            seen.tls += u64::from(is_tls && (flow.src.port == 5061 || flow.dst.port == 5061));
        }
        Transport::Udp if rtp::looks_like_rtp(payload) && !rtp::is_rtcp(payload) => {
            let Ok(packet) = rtp::parse(payload) else { return };
            let (ssrc, sequence) = (packet.ssrc, packet.sequence);
            let is_full = flows.len() >= FLOWS_MAX;
            let steady = match flows.get_mut(&flow) {
                Some(known) => {
                    let goes_on =
                        known.ssrc == ssrc && (1..=16).contains(&sequence.wrapping_sub(known.sequence));
                    known.steady =
                        if goes_on { known.steady + 1 } else { known.steady.min(FLOW_PACKETS_MIN) };
                    (known.ssrc, known.sequence) = (ssrc, sequence);
                    known.steady
                }
                None if is_full => 0,
                None => {
                    flows.insert(flow, RtpFlow { ssrc, sequence, steady: 1 });
                    1
                }
            };
            seen.rtp_packets += u64::from(steady >= FLOW_PACKETS_MIN);
        }
        Transport::Udp => {}
    }
}

fn look_at_sip(payload: &[u8], seen: &mut Seen, calls: &mut FxHashMap<u64, bool>) {
    let Ok(message) = sip::parse(payload) else { return };
    let is_request = message.method().is_some();
    if is_request {
        seen.requests += 1;
    } else {
        seen.responses += 1;
    }
    let Some((_, method)) = message.cseq() else { return };
    if method != b"INVITE" {
        return;
    }
    let Some(call_id) = message.call_id() else { return };
    let call = FxBuildHasher.hash_one(call_id);
    if calls.len() >= CALLS_MAX && !calls.contains_key(&call) {
        return;
    }
    let answered = matches!(message.start, sip::StartLine::Response { status: 200..=299, .. });
    *calls.entry(call).or_default() |= answered;
}

/// What is wrong with what was seen.
fn judge(seen: &Seen, layers: &dissect::Counts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let sip = seen.requests + seen.responses;
    let percent = |part: u64, whole: u64| (part * 100).checked_div(whole).unwrap_or_default();
    if seen.frames == 0 {
        return vec![Finding::Nothing];
    }
    if sip == 0 && seen.rtp_flows == 0 {
        let is_mirrored = seen.unicast > seen.own;
        findings.push(if is_mirrored { Finding::NoTelephony } else { Finding::NoMirror });
    }
    if sip == 0 && seen.rtp_flows > 0 {
        findings.push(Finding::NoSip { tls: seen.tls > 0 });
    }
    if seen.answered > 0 && seen.rtp_flows == 0 {
        findings.push(Finding::NoRtp { answered: seen.answered });
    }
    if seen.rtp_flows >= FLOWS_MIN
        && percent(seen.rtp_one_way as u64, seen.rtp_flows as u64) >= ONE_WAY_PERCENT
    {
        findings.push(Finding::RtpOneWay { flows: seen.rtp_one_way, of: seen.rtp_flows });
    }
    if sip >= 4 && (seen.requests == 0 || seen.responses == 0) {
        findings.push(Finding::SipOneWay { requests_missing: seen.requests == 0 });
    }
    if seen.frames >= FRAMES_MIN && percent(seen.merged, seen.frames) >= MERGED_PERCENT {
        findings.push(Finding::Merged { frames: seen.merged });
    }
    if seen.cut > 0 {
        findings.push(Finding::Cut { frames: seen.cut });
    }
    if layers.fragment_sets_dropped > 0 {
        findings.push(Finding::FragmentsLost { packets: layers.fragment_sets_dropped });
    }
    // Of what came twice, one half is the copy.
    if seen.datagrams >= FRAMES_MIN && percent(seen.copies * 2, seen.datagrams) >= COPIES_PERCENT {
        findings.push(Finding::Copies { percent: percent(seen.copies * 2, seen.datagrams) });
    }
    findings
}

#[cfg(test)]
mod tests {
    use xtask::load::{Scenario, Traffic};
    use xtask::pcap::Frame as Made;

    use super::*;

    fn traffic() -> Traffic {
        Scenario { calls: 4, talk_ms: 1_000, ramp_ms: 0, ..Scenario::default() }.traffic()
    }

    /// Watches what `change` makes of each frame.
    fn watch(change: impl Fn(&Made) -> Vec<Vec<u8>>) -> Observer {
        let mut observer = Observer::new(Some(Mac([2, 0, 0, 0, 0, 1])));
        for made in &traffic().frames {
            for data in change(made) {
                observer.handle_frame(&Frame {
                    at: Timestamp::from_nanos(made.at_ns),
                    link: ETHERNET,
                    source: 0,
                    wire_len: data.len() as u32,
                    data: &data,
                });
            }
        }
        observer
    }

    fn is_sip(data: &[u8]) -> bool {
        data.windows(7).any(|bytes| bytes == b"SIP/2.0")
    }

    fn keys(observer: &Observer) -> Vec<&'static str> {
        observer.findings().into_iter().map(Finding::key).collect()
    }

    #[test]
    fn a_mirror_of_both_directions_is_well() {
        let observer = watch(|made| vec![made.bytes.clone()]);
        let seen = observer.seen();
        assert_eq!(observer.findings(), []);
        assert_eq!((seen.calls, seen.answered, seen.rtp_flows, seen.rtp_one_way), (4, 4, 8, 0));
        assert!(seen.requests > 0 && seen.responses > 0 && seen.rtp_packets > 300, "{seen:?}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let sip_alone = watch(|made| if is_sip(&made.bytes) { vec![made.bytes.clone()] } else { vec![] });
        assert_eq!(sip_alone.findings(), [Finding::NoRtp { answered: 4 }]);
        let rtp_alone = watch(|made| if is_sip(&made.bytes) { vec![] } else { vec![made.bytes.clone()] });
        assert_eq!(rtp_alone.findings(), [Finding::NoSip { tls: false }]);
        // Everything that one side sends.
        let first = traffic().frames[0].bytes[26..30].to_vec();
        let one_way =
            watch(|made| if made.bytes[26..30] < first[..] { vec![] } else { vec![made.bytes.clone()] });
        assert!(keys(&one_way).contains(&"rtp-one-way"), "{:?}", one_way.findings());
        assert_eq!(keys(&Observer::new(None)), ["nothing"]);
    }

    #[test]
    fn copies_are_told_and_counted_once() {
        let twice = watch(|made| vec![made.bytes.clone(), made.bytes.clone()]);
        assert_eq!(twice.findings(), [Finding::Copies { percent: 100 }]);
        assert_eq!(twice.seen().rtp_packets, watch(|made| vec![made.bytes.clone()]).seen().rtp_packets);
    }

    #[test]
    fn a_port_that_is_not_mirrored_shows_broadcasts_and_itself() {
        let arp = |to: [u8; 6]| [&to[..], &[2, 0, 0, 0, 0, 9], &[8, 6], &[0; 46]].concat();
        let observer = watch(|_| vec![arp([0xff; 6]), arp([2, 0, 0, 0, 0, 1])]);
        assert_eq!(keys(&observer), ["no-mirror"]);
        let others = watch(|_| vec![arp([2, 0, 0, 0, 0, 7])]);
        assert_eq!(keys(&others), ["no-telephony"]);
    }

    #[test]
    fn joined_packets_and_vlans_are_seen() {
        let tagged = |made: &Made| {
            let mut data = made.bytes.clone();
            data.splice(12..12, [0x81, 0x00, 0x00, 0x64]);
            vec![data]
        };
        let observer = watch(tagged);
        assert_eq!(observer.vlans().map(|(vlan, _)| vlan).collect::<Vec<_>>(), [100]);
        assert_eq!(observer.findings(), []);
        let long = watch(|made| {
            let mut data = made.bytes.clone();
            data.resize(3_000, 0);
            vec![data]
        });
        assert!(keys(&long).contains(&"merged"));
    }
}
