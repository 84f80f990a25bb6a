//! How well a track was received, as files, index and `--json` carry it: loss, its pattern and times, jitter, and what the far
//! end reported. Part of the facts of a recording (`docs/format.md`): it stands in clear, so that a player can draw it
//! before anything is decrypted.

use decode::Timestamp;
use serde::{Deserialize, Serialize};

/// Measured where the packets were captured. Every field may be missing in a file: that of an earlier version has none of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quality {
    /// Packets that were sent, by their sequence numbers: `received`, `lost_network` and `lost_capture` of the track add up to it.
    pub expected: u64,
    /// Packets that came whole, copies not counted.
    pub received: u64,
    /// Packets that came, but more than 60 ms behind the fastest ones: a telephone would have played silence for them.
    pub late: u64,
    /// Packets cut short by the capture's snap length; they are kept, and are among `lost_capture`.
    pub cut: u64,
    /// Packets in an encoding that this version could not decode when it recorded them.
    pub undecodable: u64,
    /// Largest interarrival jitter (RFC 3550, 6.4.1), in milliseconds.
    pub jitter_max_ms: f64,
    /// Its mean over all packets.
    pub jitter_mean_ms: f64,
    /// Losses in a row, however long, each counted once.
    pub loss_runs: u64,
    /// Most packets lost in a row.
    pub loss_longest: u64,
    /// Bursts (RFC 3611, 4.7.2): losses with fewer than 16 packets between neighbours.
    pub bursts: u64,
    /// Share of the packets of bursts that was lost, 0 to 1.
    pub burst_density: f64,
    /// Share of the packets between bursts that was lost, 0 to 1.
    pub gap_density: f64,
    /// Every gap, by time: the first 500.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<LossGap>,
    /// Gaps that were not listed.
    pub gaps_left_out: u64,
    /// The seconds in which something was lost, late or out of order; all others were clean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<Seconds>,
    /// Digital silence: audio that holds one constant value, in milliseconds. Measured for G.711.
    pub silent_ms: u64,
    /// Estimated conversational quality, 1.0 to 4.5: as `mos`, with the delay that RTCP tells; none when it tells none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mos_cq: Option<f64>,
    /// The scale of `mos`: those of the two must not be held against each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mos_scale: Option<MosScale>,
    /// What the far end reported by RTCP; it is farther down the path than the capture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported: Option<Reported>,
}

/// A scale of opinion scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MosScale {
    /// G.107.
    Narrowband,
    /// G.107.1.
    Wideband,
}

/// Packets missing in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossGap {
    /// When the first of them would have come, in milliseconds from the start of the recording.
    pub at_ms: u64,
    /// RTP sequence number of the first of them.
    pub sequence: u16,
    /// How many.
    pub packets: u32,
    /// Who lost them.
    pub by: Loser,
}

/// Who lost a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loser {
    /// The network, before the place of the capture.
    Network,
    /// The kernel, the adapter or a ring of ours.
    Capture,
}

/// The imperfect seconds of a track, in whole seconds of capture time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seconds {
    /// Where second 0 begins; not after the recording's start by more than a second, and before it when rows are wide.
    pub start: Timestamp,
    /// How many seconds one row stands for. More than 1 when there were too many rows: each then sums up the imperfect seconds
    /// among those that it stands for.
    pub width_s: u32,
    /// Second, received, lost in the network, lost by the capture, too late, out of order, copies.
    pub rows: Vec<[u32; 7]>,
}

/// What the receiver of a track reported (RFC 3550, 6.4; RFC 3611, 4.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reported {
    /// Reception reports.
    pub reports: u64,
    /// Packets lost by the last one; copies count against it, so it may be negative.
    pub lost: i64,
    /// Largest share lost between two reports, in percent.
    pub loss_max_percent: f64,
    /// Interarrival jitter in the last one, in milliseconds.
    pub jitter_ms: f64,
    /// Largest one reported.
    pub jitter_max_ms: f64,
    /// Mean round trip between the capture and the receiver, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f64>,
    /// Packets that the receiver threw away because they came too late, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discard_percent: Option<f64>,
    /// Its own rating, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r_factor: Option<u8>,
    /// Its own estimate of the listening quality.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mos_lq: Option<f64>,
    /// Its own estimate of the conversational quality.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mos_cq: Option<f64>,
}

impl Quality {
    /// Numbers that JSON cannot say become 0, or none.
    pub(crate) fn make_sayable(&mut self) {
        let finite = |x: &mut f64| *x = if x.is_finite() { *x } else { 0.0 };
        let known = |x: &mut Option<f64>| *x = x.filter(|x| x.is_finite());
        finite(&mut self.jitter_max_ms);
        finite(&mut self.jitter_mean_ms);
        finite(&mut self.burst_density);
        finite(&mut self.gap_density);
        known(&mut self.mos_cq);
        if let Some(reported) = &mut self.reported {
            finite(&mut reported.loss_max_percent);
            finite(&mut reported.jitter_ms);
            finite(&mut reported.jitter_max_ms);
            known(&mut reported.round_trip_ms);
            known(&mut reported.discard_percent);
            known(&mut reported.mos_lq);
            known(&mut reported.mos_cq);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_version_did_not_write_reads_as_nothing() {
        let old: Quality = serde_json::from_str("{}").expect("an empty object");
        assert_eq!(old, Quality::default());
        let some: Quality =
            serde_json::from_str(r#"{"late":3,"reported":{"lost":-1}}"#).expect("some fields");
        assert_eq!((some.late, some.reported.map(|reported| reported.lost)), (3, Some(-1)));
    }

    #[test]
    fn a_clean_track_takes_few_bytes_and_reads_back() {
        let json = serde_json::to_string(&Quality::default()).expect("JSON");
        assert!(json.len() < 260, "{}: {json}", json.len());
        assert_eq!(serde_json::from_str::<Quality>(&json).ok(), Some(Quality::default()));
    }
}
