//! The media of one line of a call: whose packets are taken, what RTCP says of them (RFC 3550, 6.4 and A.8), and what we send.
//!
//! Packets go back to where they come from (symmetric RTP, RFC 4961): behind address translation that is not where the description
//! says. Nothing that was received is ever sent.

use crate::net::Endpoint;
use crate::rtp::{self, rtcp};
use crate::time::{NS_PER_S, Timestamp};

use super::offer::Agreed;

/// Length of the packets that we send.
pub(super) const PACKET_MS: i64 = 20;
/// While a source was heard within this time, another one is not taken in its place.
const LATCHED_MS: u64 = 500;
/// Seconds from the NTP era, 1900, to the Unix epoch.
const NTP_TO_UNIX_S: u64 = 2_208_988_800;

/// See the module's text.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) agreed: Agreed,
    /// Where its RTP and its RTCP come from.
    rtp_from: Option<Endpoint>,
    /// When the latest RTP came from there.
    rtp_at: Timestamp,
    rtcp_from: Option<Endpoint>,
    heard: Option<Heard>,
    /// Ours.
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    packets: u32,
    octets: u32,
}

/// A source of the peer, as its packets tell.
#[derive(Clone, Debug)]
struct Heard {
    ssrc: u32,
    first: u16,
    highest: u16,
    cycles: u32,
    received: u32,
    /// Of the report before.
    expected_before: u32,
    received_before: u32,
    /// In ticks of the stream's clock, 16 times as fine.
    jitter: u32,
    transit: Option<i64>,
    /// Middle bits of the latest sender report, and when it came.
    report: Option<(u32, Timestamp)>,
}

impl Stream {
    /// One that has neither sent nor heard anything; `random` makes what must not be guessed.
    pub(super) fn new(agreed: Agreed, random: u64) -> Stream {
        Stream {
            agreed,
            rtp_from: None,
            rtp_at: Timestamp::MIN,
            rtcp_from: None,
            heard: None,
            ssrc: (random >> 32) as u32,
            // The upper half is left free: a sequence that wraps at once confuses some receivers (RFC 3711, 3.3.1).
            sequence: (random as u16) & 0x7fff,
            timestamp: (random >> 16) as u32,
            packets: 0,
            octets: 0,
        }
    }

    /// Takes a new agreement for the same line over.
    pub(super) fn agree_anew(&mut self, agreed: Agreed) {
        if agreed.remote != self.agreed.remote {
            (self.rtp_from, self.rtcp_from) = (None, None);
        }
        self.agreed = agreed;
    }

    /// A packet came from there; `is_trusted` says that the sender is one of the peers. Is it of this stream?
    pub(super) fn take(
        &mut self,
        from: Endpoint,
        is_rtcp: bool,
        is_trusted: bool,
        bytes: &[u8],
        now: Timestamp,
    ) -> bool {
        let is_announced = self.agreed.remote.is_some_and(|remote| remote.ip() == from.ip());
        if !is_announced && !is_trusted {
            return false;
        }
        if is_rtcp || rtp::is_rtcp(bytes) {
            if !rtp::is_rtcp(bytes) {
                return false;
            }
            self.rtcp_from = Some(from);
            rtcp::read(bytes, |item| {
                if let (Some(heard), rtcp::Item::SenderReport(report)) = (&mut self.heard, item)
                    && heard.ssrc == report.ssrc
                {
                    heard.report = Some(((report.ntp >> 16) as u32, now));
                }
            });
            return true;
        }
        let Ok(packet) = rtp::parse(bytes) else { return false };
        if self.is_latched(from, now) {
            return false;
        }
        (self.rtp_from, self.rtp_at) = (Some(from), now);
        self.note(&packet, now);
        true
    }

    /// Is this somebody who speaks while the party itself is heard? What comes from where the description says is the party's always.
    fn is_latched(&self, from: Endpoint, now: Timestamp) -> bool {
        self.rtp_from.is_some_and(|party| party != from)
            && self.agreed.remote != Some(from)
            && now.millis_since(self.rtp_at) < LATCHED_MS
    }

    fn note(&mut self, packet: &rtp::Packet<'_>, now: Timestamp) {
        let rate = self.agreed.format().map_or(8_000, |format| format.clock_rate);
        let ticks =
            |at: Timestamp| (i128::from(at.as_nanos()) * i128::from(rate) / i128::from(NS_PER_S)) as i64;
        let heard = match &mut self.heard {
            Some(heard) if heard.ssrc == packet.ssrc => heard,
            other => other.insert(Heard {
                ssrc: packet.ssrc,
                first: packet.sequence,
                highest: packet.sequence,
                cycles: 0,
                received: 0,
                expected_before: 0,
                received_before: 0,
                jitter: 0,
                transit: None,
                report: None,
            }),
        };
        heard.received = heard.received.saturating_add(1);
        let ahead = packet.sequence.wrapping_sub(heard.highest);
        if ahead < 0x8000 {
            if packet.sequence < heard.highest {
                heard.cycles = heard.cycles.wrapping_add(1);
            }
            heard.highest = packet.sequence;
        }
        let transit = ticks(now).wrapping_sub(i64::from(packet.timestamp)) & 0xffff_ffff;
        if let Some(before) = heard.transit.replace(transit) {
            // The difference of two 32-bit clocks, which wrap.
            let change = (transit.wrapping_sub(before) as i32).unsigned_abs();
            heard.jitter =
                heard.jitter.saturating_add(change).saturating_sub((heard.jitter.saturating_add(8)) >> 4);
        }
    }

    /// Where RTP is sent to.
    pub(super) fn rtp_to(&self) -> Option<Endpoint> {
        self.rtp_from.or(self.agreed.remote)
    }

    /// Where RTCP is sent to.
    pub(super) fn rtcp_to(&self) -> Option<Endpoint> {
        if self.agreed.mux { self.rtp_to() } else { self.rtcp_from.or_else(|| self.agreed.rtcp()) }
    }

    /// The next packet of 20 ms.
    pub(super) fn packet(&mut self, payload: &[u8], is_first: bool) -> Option<Vec<u8>> {
        let format = self.agreed.format()?;
        let mut out = Vec::with_capacity(12 + payload.len());
        out.extend_from_slice(&[0x80, format.payload_type & 0x7f | if is_first { 0x80 } else { 0 }]);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(format.clock_rate / 50);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload.len() as u32);
        Some(out)
    }

    /// A report of what was received and sent; with a goodbye when the call is over.
    pub(super) fn report(&mut self, now: Timestamp, name: &str, is_last: bool) -> Vec<u8> {
        let blocks = u8::from(self.heard.is_some());
        let mut out = Vec::with_capacity(96);
        let sends = self.packets > 0;
        let (kind, fixed_words) = if sends { (200, 6) } else { (201, 1) };
        out.extend_from_slice(&[0x80 | blocks, kind]);
        out.extend_from_slice(&(fixed_words + 6 * u16::from(blocks)).to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        if sends {
            out.extend_from_slice(&ntp(now).to_be_bytes());
            for word in [self.timestamp, self.packets, self.octets] {
                out.extend_from_slice(&word.to_be_bytes());
            }
        }
        if let Some(heard) = &mut self.heard {
            heard.report_block(now, &mut out);
        }
        let name = name.as_bytes().get(..name.len().min(255)).unwrap_or_default();
        // Chunk: SSRC, one item of two bytes and its text, and at least one zero up to a word.
        let chunk = 4 + 2 + name.len() + 1;
        let padded = chunk.next_multiple_of(4);
        out.extend_from_slice(&[0x81, 202]);
        out.extend_from_slice(&((padded / 4) as u16).to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(&[1, name.len() as u8]);
        out.extend_from_slice(name);
        out.resize(out.len() + 1 + padded - chunk, 0);
        if is_last {
            out.extend_from_slice(&[0x81, 203, 0, 1]);
            out.extend_from_slice(&self.ssrc.to_be_bytes());
        }
        out
    }
}

impl Heard {
    fn report_block(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        let highest = (self.cycles << 16) | u32::from(self.highest);
        let expected = highest.wrapping_sub(u32::from(self.first)).wrapping_add(1);
        let lost = i64::from(expected) - i64::from(self.received);
        let expected_now = expected.wrapping_sub(self.expected_before);
        let lost_now = i64::from(expected_now) - i64::from(self.received.wrapping_sub(self.received_before));
        (self.expected_before, self.received_before) = (expected, self.received);
        let fraction =
            if expected_now == 0 { 0 } else { (lost_now.max(0) * 256 / i64::from(expected_now)).min(255) };
        let lost = lost.clamp(-0x80_0000, 0x7f_ffff) as i32;
        let (last, delay) = match self.report {
            Some((ntp, at)) => (ntp, i128::from(now.nanos_since(at).max(0)) * 65_536 / i128::from(NS_PER_S)),
            None => (0, 0),
        };
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.push(fraction as u8);
        out.extend_from_slice(lost.to_be_bytes().get(1..).unwrap_or_default());
        for word in [highest, self.jitter >> 4, last, u32::try_from(delay).unwrap_or(u32::MAX)] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
}

/// NTP time: 32.32 fixed point seconds since 1900.
fn ntp(at: Timestamp) -> u64 {
    let nanos = at.as_nanos().max(0) as u64;
    let (seconds, rest) = (nanos / NS_PER_S as u64, nanos % NS_PER_S as u64);
    let fraction = (rest << 32) / NS_PER_S as u64;
    (seconds.wrapping_add(NTP_TO_UNIX_S) << 32) | fraction
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Codec;

    fn stream() -> Stream {
        let mut agreed = super::super::offer::offer(0, &[Codec::Pcma]);
        agreed.remote = Some(Endpoint::v4([192, 0, 2, 9], 4000));
        Stream::new(agreed, 0x1234_5678_9abc_def0)
    }

    fn told(bytes: &[u8]) -> Vec<rtcp::Item<'_>> {
        let mut items = Vec::new();
        rtcp::read(bytes, |item| items.push(item));
        items
    }

    fn packet(sequence: u16, timestamp: u32) -> Vec<u8> {
        let mut out = vec![0x80, 8];
        out.extend(sequence.to_be_bytes());
        out.extend(timestamp.to_be_bytes());
        out.extend([0, 0, 0, 7]);
        out.extend([0xd5; 160]);
        out
    }

    #[test]
    fn a_report_tells_what_was_lost_and_how_late_packets_came() {
        let mut stream = stream();
        let from = Endpoint::v4([192, 0, 2, 9], 4000);
        let at = Timestamp::from_millis;
        // 100 packets around the wrap, every tenth missing, each second one 8 ms late.
        for n in (0..100_u16).filter(|n| n % 10 != 5) {
            let late = i64::from(n % 2) * 8;
            let bytes = packet(65_500_u16.wrapping_add(n), 160 * u32::from(n));
            assert!(stream.take(from, false, false, &bytes, at(20 * i64::from(n) + late)));
        }
        let bytes = stream.report(at(2_000), "earwitness@192.0.2.1", false);
        let Some(rtcp::Item::Reception { block: report, .. }) = told(&bytes).first().copied() else {
            panic!("a report of what was received");
        };
        assert_eq!((report.ssrc, report.lost, report.fraction_lost), (7, 10, 25));
        assert_eq!(report.highest, 1 << 16 | 63);
        assert!((32..=64).contains(&report.jitter), "{}", report.jitter);
        assert_eq!(stream.report(at(2_000), "x", true).len() % 4, 0);
    }

    #[test]
    fn who_is_no_party_is_not_taken_and_packets_go_back_where_they_come_from() {
        let mut stream = stream();
        let now = Timestamp::from_millis(1);
        let stranger = Endpoint::v4([203, 0, 113, 1], 4000);
        assert!(!stream.take(stranger, false, false, &packet(1, 0), now));
        assert_eq!(stream.rtp_to().map(|to| to.port), Some(4000));
        let moved = Endpoint::v4([192, 0, 2, 9], 4444);
        assert!(stream.take(moved, false, false, &packet(1, 0), now));
        assert_eq!((stream.rtp_to(), stream.rtcp_to().map(|to| to.port)), (Some(moved), Some(4001)));
        assert!(!stream.take(stranger, false, true, &packet(1, 0), now), "while the party itself is heard");
        let described = moved.with_port(4000);
        assert!(stream.take(described, false, false, &packet(2, 160), now), "where it said that it is");
        let later = Timestamp::from_millis(1 + LATCHED_MS as i64);
        assert!(stream.take(stranger, false, true, &packet(1, 0), later), "a peer's other address");
        assert!(!stream.take(stranger, false, true, b"no RTP", later));
        assert!(!stream.take(stranger, true, true, b"no RTCP", later));
    }

    #[test]
    fn packets_of_ours_count_up() {
        let mut stream = stream();
        let payload = [0xd5; 160];
        let sent: Vec<Vec<u8>> = (0..3).filter_map(|n| stream.packet(&payload, n == 0)).collect();
        let read: Vec<_> = sent.iter().map(|bytes| rtp::parse(bytes).expect("RTP")).collect();
        assert!(read[0].marker && !read[1].marker && read[0].payload_type == 8);
        assert_eq!(read[2].sequence.wrapping_sub(read[0].sequence), 2);
        assert_eq!(read[2].timestamp.wrapping_sub(read[0].timestamp), 320);
        let bytes = stream.report(Timestamp::from_millis(500), "x", false);
        let Some(rtcp::Item::SenderReport(report)) = told(&bytes).first().copied() else {
            panic!("a sender's report")
        };
        assert_eq!((report.packets, report.ntp), (3, NTP_TO_UNIX_S << 32 | 1 << 31));
    }
}
