//! RTCP of calls: whose it is, and what it says about the streams (RFC 3550, 6; RFC 3611).
//!
//! The place tells whose it is where a session description has claimed the place: the next port, the one that `a=rtcp` names, or
//! the audio's own. Elsewhere the SSRC does: a report of or about a known source between the same two hosts is of its leg.
//! What is reported never moves a recording's audio; it stands beside what was measured here.

use super::{Media, Source};
use crate::media::Side;
use crate::net::Flow;
use crate::rtp::rtcp::{self, Item, Reception};
use crate::time::{NS_PER_MS, NS_PER_S, Timestamp};
use crate::tracker::event::LegId;
use crate::tracker::leg::{Digest, Leg, Legs};
use crate::tracker::outbox::{Outbox, Queued};
use crate::tracker::quality::Reported;

/// Reports of a source that are remembered, to measure round trips by their answers; the oldest makes room.
const SENT_MAX: usize = 4;
/// Canonical names remembered per side; the oldest makes room.
const NAMES_MAX: usize = 16;
/// A longer round trip is a clock's mistake, in milliseconds.
const ROUND_TRIP_MS_MAX: i64 = 10_000;

/// What RTCP has said of one source.
#[derive(Default)]
pub(super) struct SourceReports {
    /// Middle 32 bits of the NTP time of its reports, and when they were captured.
    sent: Vec<(u32, Timestamp)>,
    latest: Option<Reception>,
    reported: Reported,
    round_trips: u32,
    round_trip_sum_ms: f64,
}

impl SourceReports {
    /// Has the source told this time before? A mirror of both directions shows each report twice, and so does a relay. A sender
    /// without a wall clock says 0 (RFC 3550, 6.4.1), which is no time.
    fn has_told(&self, ntp: u64) -> bool {
        ntp != 0 && self.sent.iter().any(|&(known, _)| known == (ntp >> 16) as u32)
    }

    /// The source has told its time.
    fn note_time(&mut self, ntp: u64, at: Timestamp) {
        let middle = (ntp >> 16) as u32;
        if ntp == 0 || self.has_told(ntp) {
            return;
        }
        if self.sent.len() >= SENT_MAX {
            self.sent.remove(0);
        }
        self.sent.push((middle, at));
    }

    fn receive(&mut self, block: Reception, clock_rate: u32, at: Timestamp) {
        // A mirror of both directions shows each report twice.
        if self.latest.replace(block) == Some(block) {
            return;
        }
        let reported = &mut self.reported;
        reported.reports += 1;
        reported.lost = i64::from(block.lost);
        let percent = f64::from(block.fraction_lost) * 100.0 / 256.0;
        reported.loss_max_percent = reported.loss_max_percent.max(percent);
        reported.jitter_ms = f64::from(block.jitter) * 1_000.0 / f64::from(clock_rate.max(1));
        reported.jitter_max_ms = reported.jitter_max_ms.max(reported.jitter_ms);
        self.answered(block.last_report, block.delay, at);
    }

    /// The far end has answered a report `delay` after it had come there: what is left of the time between the two, seen
    /// here, was spent on the way there and back.
    fn answered(&mut self, last: u32, delay: u32, at: Timestamp) {
        let Some(&(_, sent)) = self.sent.iter().find(|&&(middle, _)| middle == last && last != 0) else {
            return;
        };
        let delay = i64::from(delay) * NS_PER_S / 65_536;
        let trip = at.nanos_since(sent).saturating_sub(delay);
        if (0..ROUND_TRIP_MS_MAX * NS_PER_MS).contains(&trip) {
            self.round_trips += 1;
            self.round_trip_sum_ms += trip as f64 / NS_PER_MS as f64;
        }
    }

    /// What the far end has reported, if it has.
    pub(super) fn finish(&self) -> Option<Reported> {
        let round_trip_ms =
            (self.round_trips > 0).then(|| self.round_trip_sum_ms / f64::from(self.round_trips));
        let reported = Reported { round_trip_ms, ..self.reported };
        (reported != Reported::default()).then_some(reported)
    }
}

impl Media {
    /// RTCP of a leg, sent by one of its sides: what it says, and a sign of life.
    pub(super) fn reports(
        &mut self,
        leg: LegId,
        side: Side,
        at: Timestamp,
        bytes: &[u8],
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        let Some(state) = legs.leg_mut(leg) else { return };
        state.last_heard = self.idle_clock;
        state.last_activity = at;
        let mut opened = Vec::new();
        let Some(clear) = state.secrecy.open_control(side, bytes, &mut opened) else { return };
        rtcp::read(clear, |item| self.report(state, side, at, item, out));
    }

    /// RTCP to and from a place that nobody has claimed: the source that it names tells the leg.
    pub(super) fn reports_of_known_source(
        &mut self,
        flow: Flow,
        at: Timestamp,
        bytes: &[u8],
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        let hosts = |flow: Flow| [flow.src.ip(), flow.dst.ip()];
        let known = |ssrc: Option<u32>, hosts_of: [std::net::IpAddr; 2]| {
            let source = self.source(*self.by_ssrc.get(&ssrc?)?)?;
            (hosts(source.flow) == hosts_of).then_some((source.leg, source.side))
        };
        let (sender, about) = rtcp::sources(bytes);
        let [here, there] = hosts(flow);
        let mine = known(sender, [here, there]);
        let found = mine.or_else(|| known(about, [there, here]).map(|(leg, side)| (leg, side.other())));
        if let Some((leg, side)) = found {
            self.reports(leg, side, at, bytes, legs, out);
        }
    }

    fn report(&mut self, leg: &mut Leg, side: Side, at: Timestamp, item: Item<'_>, out: &mut Outbox) {
        match item {
            Item::SenderReport(report) => {
                let is_relayed = leg.side(side).relayed_packets > 0;
                let is_known = match self.source_of(leg, report.ssrc) {
                    Some(source) => {
                        source.reports.as_ref().is_some_and(|reports| reports.has_told(report.ntp))
                    }
                    // A relay's own, of the voice that is left out.
                    None => is_relayed,
                };
                if is_known {
                    return;
                }
                out.push(Queued::SenderReport { leg: leg.facts.leg, side, at, report });
                self.with_reports(leg, report.ssrc, |source, _| source.note_time(report.ntp, at));
            }
            Item::ReferenceTime { from, ntp } => {
                self.with_reports(leg, from, |source, _| source.note_time(ntp, at));
            }
            Item::Reception { block, .. } => {
                self.with_reports(leg, block.ssrc, |source, rate| source.receive(block, rate, at));
            }
            Item::LastReference { ssrc, last, delay } => {
                self.with_reports(leg, ssrc, |source, _| source.answered(last, delay, at));
            }
            Item::Voip(voip) => {
                self.with_reports(leg, voip.ssrc, |source, _| source.reported.voip = Some(voip));
            }
            Item::Name { ssrc, cname } => learn_name(leg, side, ssrc, Digest::of(cname)),
            Item::Goodbye { ssrc } => {
                if let Some(source) = self.source_of(leg, ssrc).filter(|source| source.side == side) {
                    source.has_left = true;
                }
            }
            // Its counts are those of the reception reports over another stretch.
            Item::Summary(_) => {}
        }
    }

    fn source_of(&mut self, leg: &Leg, ssrc: u32) -> Option<&mut Source> {
        let mut indices = leg.sides.iter().flat_map(|side| &side.sources).copied();
        let index = indices.find(|&index| self.source(index).is_some_and(|source| source.ssrc == ssrc))?;
        self.sources.get_mut(index as usize)?.as_mut()
    }

    fn with_reports(&mut self, leg: &Leg, ssrc: u32, note: impl FnOnce(&mut SourceReports, u32)) {
        if let Some(source) = self.source_of(leg, ssrc) {
            note(source.reports.get_or_insert_default(), source.clock_rate);
        }
    }
}

/// The sender's name for itself: by it, a source under another SSRC is known to be the same sender.
fn learn_name(leg: &mut Leg, side: Side, ssrc: u32, name: Digest) {
    let names = &mut leg.side_mut(side).names;
    if let Some(known) = names.iter_mut().find(|(known, _)| *known == ssrc) {
        known.1 = name;
        return;
    }
    if names.len() >= NAMES_MAX {
        names.remove(0);
    }
    names.push((ssrc, name));
}

/// Have two sources of a side given the same name?
pub(super) fn is_same_sender(leg: &Leg, side: Side, one: u32, other: u32) -> bool {
    let name = |ssrc| leg.side(side).names.iter().find(|&&(known, _)| known == ssrc).map(|&(_, name)| name);
    name(one).is_some_and(|name_of_one| name(other) == Some(name_of_one))
}
