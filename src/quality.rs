//! From what was measured of a track to the quality in its facts, and to what the E-model makes of it.

use decode::Format;
use decode::Timestamp;
use decode::quality::{Equipment, Path, Scale};
use decode::rtp::loss;
use decode::rtp::timing::PLAYOUT_DELAY_MS;
use decode::tracker::{self, TrackReport};
use store::Quality;
use store::quality::{Loser, LossGap, MosScale, Reported, Seconds};

use crate::facts::rounded;

/// Longest packet that is believed when the delay of a call is estimated, in milliseconds.
const PACKET_MS_MAX: f64 = 200.0;

/// Listening quality of the call: codec, network loss with its pattern, and packets too late for a telephone. What our own
/// capture lost has reached the listener, as far as anybody knows, and is left out.
pub(crate) fn listening(report: &TrackReport, main: Option<&Format>) -> Option<f64> {
    path(report, main)?.mos().map(rounded)
}

fn path(report: &TrackReport, main: Option<&Format>) -> Option<Path> {
    let quality = &report.quality;
    let sent = quality.expected.saturating_sub(report.lost_capture - quality.cut);
    let unplayed = report.lost_network + quality.late;
    Some(Path {
        equipment: Equipment::of(main?)?,
        loss_percent: 100.0 * unplayed as f64 / (sent as f64).max(1.0),
        burst_ratio: quality.bursts.ratio(quality.expected),
        delay_ms: 0.0,
    })
}

/// Conversational quality: with the delay from mouth to ear, when RTCP tells how long the way is. A telephone adds one
/// packet and the playout delay that lateness is measured by.
fn conversational(report: &TrackReport, other: Option<&TrackReport>, main: Option<&Format>) -> Option<f64> {
    let reported = |report: &TrackReport| report.quality.reported;
    let voip = reported(report).and_then(|reported| reported.voip).filter(|voip| voip.round_trip_ms > 0);
    let round_trip_ms = match voip {
        Some(voip) => f64::from(voip.round_trip_ms),
        // From here to one end and back, and from here to the other one.
        None => reported(report)?.round_trip_ms? + reported(other?)?.round_trip_ms?,
    };
    let packet_ms = (report.audio_ms as f64 / report.packets.max(1) as f64).min(PACKET_MS_MAX);
    let delay_ms = round_trip_ms / 2.0 + packet_ms + PLAYOUT_DELAY_MS as f64;
    Path { delay_ms, ..path(report, main)? }.mos().map(rounded)
}

/// The quality of a track of a recording that began at `started`; `other` is the other party's.
pub(crate) fn facts(
    report: &TrackReport,
    other: Option<&TrackReport>,
    main: Option<&Format>,
    started: Timestamp,
) -> Quality {
    let measured = &report.quality;
    let scale = |scale| match scale {
        Scale::Narrowband => MosScale::Narrowband,
        Scale::Wideband => MosScale::Wideband,
    };
    Quality {
        expected: measured.expected,
        received: measured.received,
        late: measured.late,
        cut: measured.cut,
        undecodable: measured.undecodable,
        jitter_max_ms: rounded(measured.jitter_max_ms),
        jitter_mean_ms: rounded(measured.jitter_mean_ms),
        loss_runs: measured.bursts.gaps,
        loss_longest: measured.bursts.longest,
        bursts: measured.bursts.count,
        burst_density: share(measured.bursts.burst_density()),
        gap_density: share(measured.bursts.gap_density(measured.expected)),
        gaps: measured.gaps.iter().map(|gap| loss_gap(gap, started)).collect(),
        gaps_left_out: measured.gaps_left_out,
        seconds: seconds(&measured.seconds, started),
        silent_ms: measured.silent_ms,
        mos_cq: conversational(report, other, main),
        mos_scale: path(report, main)
            .filter(|path| path.mos().is_some())
            .map(|path| scale(path.equipment.scale)),
        reported: measured.reported.as_ref().map(reported),
    }
}

fn loss_gap(gap: &loss::Gap, started: Timestamp) -> LossGap {
    LossGap {
        at_ms: gap.at.millis_since(started),
        sequence: gap.sequence,
        packets: gap.packets,
        by: if gap.by_capture { Loser::Capture } else { Loser::Network },
    }
}

fn seconds(measured: &loss::Seconds, started: Timestamp) -> Option<Seconds> {
    let first = measured.rows.first()?.second.min(started.as_millis().div_euclid(1_000));
    let row = |row: &loss::Second| {
        let second = u32::try_from(row.second.saturating_sub(first)).unwrap_or(u32::MAX);
        [second, row.received, row.lost_network, row.lost_capture, row.late, row.reordered, row.duplicates]
    };
    Some(Seconds {
        start: Timestamp::from_parts(first, 0),
        width_s: measured.width_s,
        rows: measured.rows.iter().map(row).collect(),
    })
}

fn reported(measured: &tracker::Reported) -> Reported {
    let voip = measured.voip.as_ref();
    Reported {
        reports: measured.reports,
        lost: measured.lost,
        loss_max_percent: rounded(measured.loss_max_percent),
        jitter_ms: rounded(measured.jitter_ms),
        jitter_max_ms: rounded(measured.jitter_max_ms),
        round_trip_ms: measured.round_trip_ms.map(rounded),
        discard_percent: voip.map(|voip| rounded(voip.discard_percent)),
        r_factor: voip.and_then(|voip| voip.r_factor),
        mos_lq: voip.and_then(|voip| voip.mos_lq),
        mos_cq: voip.and_then(|voip| voip.mos_cq),
    }
}

/// A share, to four places: a hundredth of a percent.
fn share(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
