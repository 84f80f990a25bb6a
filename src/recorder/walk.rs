//! One event of the tracker on its way: through what the gate wants done into writers, journal and balance sheet.

use std::collections::BTreeMap;

use decode::rtp::dtmf::Digit;
use decode::tracker::{Event, LegEnd, LegFacts, LegId};
use decode::{Party, Side, Timestamp};
use policy::{Action, Gate, Outcome, RecordingKey, RecordingPlan, SegmentFacts};
use store::{Archive, CallRow, Discarded, Mark, RecordingId};

use super::{KEYED_MAX, Open, OpenRecordings, Report};
use crate::facts;
use crate::late::LateReports;
use crate::smdr::Logger;

/// One event on its way; apart from the recorder, since the event borrows the tracker.
pub(super) struct Walk<'w> {
    pub(super) archive: &'w Archive,
    pub(super) gate: &'w mut Gate,
    pub(super) open: &'w mut OpenRecordings,
    pub(super) expected: &'w mut Expected,
    pub(super) apart: &'w mut Apart,
    pub(super) report: &'w mut Report,
    pub(super) late: Option<&'w LateReports>,
    pub(super) logger: Option<&'w mut Logger>,
    pub(super) now: Timestamp,
}

/// What the journal has of the legs that run, by their serial numbers: a recording that is destroyed before its leg ends must
/// not be in the line that a crash would leave.
pub(super) type Expected = BTreeMap<u64, CallRow>;

/// Recordings that are over before their leg, by its serial number.
pub(super) type Apart = BTreeMap<u64, Over>;

/// Those of one leg.
#[derive(Debug, Default)]
pub(super) struct Over {
    /// They were to be destroyed, and are under a hold.
    pub(super) held: Vec<RecordingId>,
    /// The disk took no more of them, and another one goes on with the call.
    pub(super) earlier: Vec<RecordingId>,
}

/// What the balance sheet says of them.
const HELD: &str = "what was recorded by then is under a legal hold and stays";

impl Walk<'_> {
    #[inline(never)] // packets do not come this way
    pub(super) fn handle(mut self, event: Event<'_>) {
        match event {
            Event::AudioStarted(facts) => {
                self.perform_all();
                self.expect(facts);
            }
            Event::Digit { .. } | Event::Identified { .. } => self.perform_all(),
            Event::Hold { leg, by, at } => self.note(leg, by, |_, by| (at, Mark::Hold { by })),
            Event::Retrieve { leg, by, at } => self.note(leg, by, |_, by| (at, Mark::Retrieve { by })),
            Event::SenderReport { leg, side, at, report } => self.note(leg, side, |_, party| {
                let decode::rtp::rtcp::SenderReport { ssrc, ntp, rtp_timestamp, .. } = report;
                (at, Mark::SenderReport { party, ssrc, ntp, rtp_timestamp })
            }),
            Event::LegEnded(end) => self.end(&end),
            Event::UnannouncedRtp(rtp) => {
                while let Some(action) = self.gate.poll_action() {
                    if let Action::Account { outcome, reason, .. } = action {
                        let row = facts::unannounced_row(&rtp, outcome, reason);
                        self.report.failure.check(self.archive.append_call(&row));
                        *self.report.outcomes.entry(outcome).or_default() += 1;
                    }
                }
            }
            Event::CopiedRtp(rtp) => {
                tracing::debug!(leg = %rtp.leg, packets = rtp.packets, "a copy of a call's stream");
            }
            Event::ForeignRtp(rtp) => {
                tracing::debug!(leg = %rtp.leg, packets = rtp.packets, taken = rtp.taken, "foreign stream");
            }
            Event::Oddity { at, flow, what } => {
                *self.report.oddities.entry(what).or_default() += 1;
                tracing::debug!(%at, ?flow, what, "oddity");
            }
            Event::TlsUndecryptable { at, flow, why } => {
                tracing::debug!(%at, ?flow, why, "a TLS connection that may carry SIP is not read");
            }
            Event::Signal { leg, signal } => {
                for (recording, cleared) in self.gate.admit_signal(leg, &signal) {
                    let Some(open) = self.open.get_mut(recording) else { continue };
                    open.write(&mut self.report.failure, |writer| writer.signal(&cleared));
                }
            }
            Event::LegStarted(facts) | Event::Tied(facts) | Event::Answered(facts) => self.expect(facts),
            // Audio never comes here.
            Event::Audio { .. } | Event::Described { .. } | Event::Ringing(_) | Event::Joined { .. } => {}
        }
    }

    /// What the gate wants done that ends no leg.
    pub(super) fn perform_all(&mut self) {
        while let Some(action) = self.gate.poll_action() {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Start(plan) => self.start(&plan),
            Action::Pause { recording, at, source } => {
                self.mark(recording, at, &Mark::PauseStart { source });
            }
            Action::Resume { recording, at, source } => self.mark(recording, at, &Mark::PauseEnd { source }),
            Action::Signal { recording, signal } => {
                let Some(open) = self.open.get_mut(recording) else { return };
                open.write(&mut self.report.failure, |writer| writer.signal(&signal));
            }
            Action::Keyed { recording, party, digit } => self.keyed(recording, party, digit),
            Action::Known { recording, facts } => self.know(recording, &facts),
            Action::Late(late) => {
                if let Some(reports) = self.late {
                    reports.send(*late);
                }
            }
            Action::PauseForgotten { recording, source, .. } => {
                if let Some(open) = self.open.get_mut(recording) {
                    let facts = open.writer.facts();
                    tracing::warn!(recording = %facts.id, "a pause may have been forgotten");
                    // Numbers and names are for those who look closer.
                    tracing::debug!(recording = %facts.id, extension = facts.extension, source, "its pause");
                }
            }
            Action::Discard(recording, why) => {
                let Some(open) = self.open.remove(recording) else { return };
                let (id, leg) = (open.writer.id(), recording.leg().serial());
                match open.writer.discard(&why) {
                    Ok(Discarded::Destroyed) => tracing::debug!(recording = %id, "recording destroyed"),
                    // Its writer is let go, so it ends here, at what there is.
                    Ok(Discarded::Held(_)) => {
                        tracing::info!(recording = %id, why, "under a legal hold: not destroyed");
                        return self.apart.entry(leg).or_default().held.push(id);
                    }
                    Err(error) => self.report.failure.note(error),
                }
                if let Some(row) = self.expected.get_mut(&leg) {
                    row.recordings.retain(|&other| other != id);
                    if row.recordings.is_empty() {
                        (row.outcome, row.reason) = (Outcome::Excluded, why);
                    }
                    self.report.failure.check(self.archive.expect_call(leg, row));
                }
            }
            // These end a leg, and come with it.
            Action::Finish { .. } | Action::Account { .. } => {}
        }
    }

    fn mark(&mut self, recording: RecordingKey, at: Timestamp, mark: &Mark) {
        if let Some(open) = self.open.get_mut(recording) {
            open.write(&mut self.report.failure, |writer| writer.mark(at, mark));
        }
    }

    fn know(&mut self, recording: RecordingKey, known: &SegmentFacts) {
        if let Some(logger) = &mut self.logger {
            logger.handle_known(recording.leg(), known, self.now);
        }
        let Some(open) = self.open.get_mut(recording) else { return };
        let facts = facts::with_known(open.writer.facts().clone(), known);
        self.report.failure.check(open.writer.know(facts));
    }

    fn keyed(&mut self, recording: RecordingKey, party: Party, digit: Digit) {
        let Some(open) = self.open.get_mut(recording) else { return };
        if open.keyed.len() < KEYED_MAX {
            open.keyed.push((digit.at, party, digit.duration_ms));
        }
        let mark = Mark::Digit { party, digit: digit.digit, duration_ms: digit.duration_ms };
        open.write(&mut self.report.failure, |writer| writer.mark(digit.at, &mark));
    }

    fn start(&mut self, plan: &RecordingPlan) {
        if let Some(logger) = &mut self.logger {
            logger.handle_known(plan.recording.leg(), &plan.facts, self.now);
        }
        let writer = match self.archive.create(facts::at_start(plan)) {
            Ok(writer) => writer,
            Err(error) => {
                tracing::debug!(call = %plan.call, %error, "a call is not recorded");
                return self.report.failure.note(error);
            }
        };
        tracing::debug!(recording = %writer.id(), call = %plan.call, "recording started");
        self.report.failure.is_over();
        let leg = plan.recording.leg().serial();
        if let Some(row) = self.expected.get_mut(&leg) {
            // One that begins late is in the line that a crash would leave, too.
            row.recordings.push(writer.id());
            (row.outcome, row.reason) = (Outcome::Recorded, facts::INTERRUPTED.to_owned());
            self.report.failure.check(self.archive.expect_call(leg, row));
        }
        self.open.insert(
            plan.recording,
            Open {
                writer,
                key: plan.recording,
                near: plan.near,
                keyed: Vec::new(),
                has_ended: false,
                from: None,
            },
        );
    }

    /// Keeps in the journal what the balance sheet says of a leg if the recorder is stopped now.
    #[inline(never)] // as above
    fn expect(&mut self, facts: &LegFacts) {
        let keys: Vec<RecordingKey> = self.gate.recordings(facts.leg).map(|(key, _)| key).collect();
        let recordings =
            keys.into_iter().filter_map(|key| Some(self.open.get_mut(key)?.writer.id())).collect();
        let row = facts::running_row(facts, recordings);
        self.report.failure.check(self.archive.expect_call(facts.leg.serial(), &row));
        self.expected.insert(facts.leg.serial(), row);
    }

    /// Marks the running recordings of a leg.
    fn note(&mut self, leg: LegId, side: Side, mut mark: impl FnMut(&mut Open, Party) -> (Timestamp, Mark)) {
        for (recording, near) in self.gate.recordings(leg) {
            let Some(open) = self.open.get_mut(recording) else { continue };
            let party = if side == near { Party::Near } else { Party::Far };
            let (at, mark) = mark(open, party);
            open.write(&mut self.report.failure, |writer| writer.mark(at, &mark));
        }
    }

    /// A leg is over: its recordings are finished or destroyed, and its line of the balance sheet is written.
    fn end(&mut self, end: &LegEnd) {
        let mut recordings = Vec::new();
        self.expected.remove(&end.facts.leg.serial());
        while let Some(action) = self.gate.poll_action() {
            match action {
                Action::Finish { recording, segment, closing } => {
                    let Some(open) = self.open.remove(recording) else { continue };
                    let planned = store::RecordingFacts { segment, ..open.writer.facts().clone() };
                    let facts = facts::at_end(planned, open.near, end, &closing, &open.keyed, open.from);
                    tracing::debug!(recording = %facts.id, duration_ms = facts.duration_ms, "recording finished");
                    // What was sealed stays, also when the end cannot be written: the archive closes it as interrupted.
                    recordings.push(facts.id);
                    self.report.failure.check(open.writer.finish(facts).map(|_| ()));
                }
                Action::Account { outcome, reason, why, parts } => {
                    let (outcome, reason) = match outcome {
                        Outcome::Recorded | Outcome::Paused if recordings.is_empty() => {
                            (Outcome::NoChannel, "the archive could not take it".to_owned())
                        }
                        _ => (outcome, reason),
                    };
                    let leg = end.facts.leg.serial();
                    let Over { held, earlier } = self.apart.remove(&leg).unwrap_or_default();
                    recordings.splice(0..0, earlier);
                    let reason = if held.is_empty() { reason } else { format!("{reason}; {HELD}") };
                    recordings.extend(held);
                    let row = facts::call_row(&end.facts, outcome, reason, recordings.clone(), why, parts);
                    self.report.failure.check(self.archive.settle_call(leg, &row));
                    *self.report.outcomes.entry(outcome).or_default() += 1;
                }
                other => self.perform(other),
            }
        }
        self.report.recordings.append(&mut recordings);
    }
}
