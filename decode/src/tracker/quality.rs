//! What is told of a track's quality when its leg is over: summed up over the sources that one side sent with.

use super::media::SourceReport;
use super::outbox::Outbox;
use crate::codec;
use crate::media::Codec;
use crate::rtp::loss::{Bursts, GAPS_MAX, Gap, Seconds};
use crate::rtp::rtcp::Voip;

/// How well one side was received.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quality {
    /// Packets that were sent, by their sequence numbers: received, lost in the network and lost by the capture.
    pub expected: u64,
    /// Packets that came whole, copies not counted.
    pub received: u64,
    /// Packets that came, but too late for a listener (see [`crate::rtp::timing::PLAYOUT_DELAY_MS`]).
    pub late: u64,
    /// Packets of which the capture kept only a part (snap length): they count as lost by it.
    pub cut: u64,
    /// Packets in an encoding that cannot be decoded here.
    pub undecodable: u64,
    /// Largest value of the interarrival jitter (RFC 3550, 6.4.1), in milliseconds.
    pub jitter_max_ms: f64,
    /// Its mean over all packets.
    pub jitter_mean_ms: f64,
    /// Bursts and lone losses.
    pub bursts: Bursts,
    /// Gaps, by time.
    pub gaps: Vec<Gap>,
    /// Gaps that were not listed because there were too many.
    pub gaps_left_out: u64,
    /// The seconds in which something was lost, late or out of order.
    pub seconds: Seconds,
    /// Audio that holds one constant value, in milliseconds: digital silence. Known for G.711.
    pub silent_ms: u64,
    /// What the far end says that it received.
    pub reported: Option<Reported>,
}

/// What the receiver of a track reported by RTCP. It differs from what was captured when packets were lost between the mirror
/// port and the receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reported {
    /// Reception reports.
    pub reports: u64,
    /// Packets lost, by the last report; copies count against it.
    pub lost: i64,
    /// Largest share lost between two reports, in percent.
    pub loss_max_percent: f64,
    /// Interarrival jitter in the last report, in milliseconds.
    pub jitter_ms: f64,
    /// Largest one reported.
    pub jitter_max_ms: f64,
    /// Mean round trip from the capture's place to the receiver, in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// The last VoIP metrics (RFC 3611).
    pub voip: Option<Voip>,
}

impl Reported {
    fn add(&mut self, other: &Reported) {
        self.reports += other.reports;
        self.lost = self.lost.saturating_add(other.lost);
        self.loss_max_percent = self.loss_max_percent.max(other.loss_max_percent);
        self.jitter_max_ms = self.jitter_max_ms.max(other.jitter_max_ms);
        // Of the later source, as far as there was a report about it.
        if other.reports > 0 {
            self.jitter_ms = other.jitter_ms;
        }
        self.round_trip_ms = other.round_trip_ms.or(self.round_trip_ms);
        self.voip = other.voip.or(self.voip);
    }
}

/// Sums up the sources of one side.
pub(super) fn summed_up(sources: &[SourceReport], out: &Outbox) -> Quality {
    let mut quality = Quality::default();
    let (mut jitter_sum, mut changes) = (0.0, 0);
    for source in sources {
        let (found, timing) = (&source.found, &source.timing);
        quality.received += source.packets.saturating_sub(found.cut);
        quality.expected += source.packets + found.lost_network + found.lost_capture - found.cut;
        quality.late += timing.late();
        quality.cut += found.cut;
        quality.jitter_max_ms = quality.jitter_max_ms.max(timing.jitter_max_ms());
        jitter_sum += timing.jitter_sum_ms();
        changes += timing.changes();
        quality.bursts.add(&found.bursts);
        quality.gaps.extend(&found.gaps);
        quality.gaps_left_out += found.gaps_left_out;
        quality.seconds.merge(found.seconds.clone());
        quality.silent_ms += source.silent_ms;
        if let Some(reported) = &source.reported {
            quality.reported.get_or_insert_default().add(reported);
        }
        for &(format, packets) in &source.formats {
            let format = out.formats.by_id(format);
            let is_speech = !matches!(format.codec, Codec::ComfortNoise | Codec::TelephoneEvent);
            if is_speech && codec::decoder(format).is_none() {
                quality.undecodable += packets;
            }
        }
    }
    if changes > 0 {
        quality.jitter_mean_ms = jitter_sum / changes as f64;
    }
    quality.gaps.sort_by_key(|gap| gap.at);
    let more = quality.gaps.len().saturating_sub(GAPS_MAX);
    quality.gaps.truncate(GAPS_MAX);
    quality.gaps_left_out += more as u64;
    quality
}
