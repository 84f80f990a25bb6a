//! What other rules would have made of past calls, and what retention would have due by them: what `rule test` and the pages
//! tell of rules before they are in force.

use std::collections::{BTreeMap, BTreeSet};

use decode::Timestamp;
use policy::retention::Freeze;
use policy::whatif::NotKnown;
use policy::{Mode, Outcome, PastCall, PastPart, Rules, SegmentFacts, Step, WhatIf};
use store::{Archive, CallRow, Differs, RecordingId, Row, Source, Take};

use crate::config::Retention;
use crate::facts::{known_of, with_known};
use crate::failure::Failure;
use crate::late::LATE_FACT;

/// Calls that a command tries at once, in memory for their order: a day of the largest site, or years of a small one.
pub(crate) const CALLS_MAX: usize = 1_000_000;

/// A call of the balance sheet, and what is needed to tell of it.
struct Lived {
    call: String,
    started: Timestamp,
    from: String,
    to: String,
    reason: String,
    recordings: Vec<RecordingId>,
    past: PastCall,
}

/// A call whose outcome would be another one.
#[derive(serde::Serialize)]
pub(crate) struct Difference<'a> {
    pub(crate) call: &'a str,
    pub(crate) started: Timestamp,
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) extension: &'a str,
    pub(crate) outcome: Outcome,
    pub(crate) reason: &'a str,
    pub(crate) would: Outcome,
    pub(crate) would_reason: &'a str,
    /// The number of channels alone makes the difference, which is simulated.
    pub(crate) by_channels: bool,
    /// What cannot be told of it: by the rest it would be so.
    pub(crate) not_known: &'a BTreeSet<NotKnown>,
    pub(crate) recordings: &'a [RecordingId],
}

/// What came of the calls.
#[derive(Default)]
pub(crate) struct Sums {
    /// Calls in the range.
    pub(crate) calls: u64,
    /// Of these, calls that no rule was asked about: without audio, without an extension, imported, or of earlier versions.
    pub(crate) not_judged: u64,
    /// Calls with another outcome, by what it was and what it would be.
    pub(crate) turns: BTreeMap<(Outcome, Outcome), u64>,
    /// Calls of which something cannot be told, with another outcome or not, by what it is.
    pub(crate) not_known: BTreeMap<NotKnown, u64>,
}

/// What came of retention.
#[derive(Default)]
pub(crate) struct DueSums {
    /// What retention would have due that is kept now.
    pub(crate) due_then: u64,
    /// What is due now and would be kept.
    pub(crate) kept_then: u64,
    /// What is due under both, but differs in how much goes.
    pub(crate) due_otherwise: u64,
}

/// Tries `candidate` on the calls that began in the range, `most` of them, and tells of each with another outcome. `rules` are those in force.
pub(crate) fn calls(
    archive: &Archive,
    rules: &Rules,
    candidate: Rules,
    (since, until): (Option<Timestamp>, Option<Timestamp>),
    most: usize,
    mut tell: impl FnMut(&Difference<'_>) -> Result<(), Failure>,
) -> Result<Sums, Failure> {
    let (mut lived, mut sums) = lived(archive, rules, since, until, most)?;
    // In the order in which they were judged: who comes first gets a channel.
    lived.sort_by_key(|call| call.past.judged());
    let mut whatif = WhatIf::new(candidate, rules.clone());
    for call in &lived {
        let Some(would) = whatif.handle(&call.past) else { continue };
        for &what in &would.not_known {
            *sums.not_known.entry(what).or_default() += 1;
        }
        if would.outcome == call.past.outcome {
            continue;
        }
        *sums.turns.entry((call.past.outcome, would.outcome)).or_default() += 1;
        tell(&Difference {
            call: &call.call,
            started: call.started,
            from: &call.from,
            to: &call.to,
            extension: &would.extension,
            outcome: call.past.outcome,
            reason: &call.reason,
            would: would.outcome,
            would_reason: &would.rule,
            by_channels: would.by_channels,
            not_known: &would.not_known,
            recordings: &call.recordings,
        })?;
    }
    Ok(sums)
}

/// What the candidate would have due now and the rules in force have not, and the reverse. `frozen` hears of a clock in doubt, by which
/// nothing is due.
pub(crate) fn due(
    archive: &Archive,
    in_force: &Retention,
    candidate: &Retention,
    frozen: impl FnOnce(Freeze),
    mut tell: impl FnMut(&Differs) -> Result<(), Failure>,
) -> Result<DueSums, Failure> {
    let retention = in_force.take_up(archive, Take::Look)?;
    if let Some(freeze) = retention.freeze() {
        frozen(freeze);
    }
    let mut sums = DueSums::default();
    retention.differences(&candidate.rules, |differs| {
        let takes = |decision: policy::retention::Decision| decision.takes_audio() || decision.takes_data();
        match (takes(differs.now), takes(differs.would)) {
            (false, true) => sums.due_then += 1,
            (true, false) => sums.kept_then += 1,
            _ => sums.due_otherwise += 1,
        }
        tell(&differs)
    })?;
    Ok(sums)
}

/// The calls of the range that rules were asked about.
fn lived(
    archive: &Archive,
    rules: &Rules,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    most: usize,
) -> Result<(Vec<Lived>, Sums), Failure> {
    let (mut lived, mut sums) = (Vec::new(), Sums::default());
    for row in archive.calls_begun(since, until)? {
        let (_, row): (_, CallRow) = row?;
        sums.calls += 1;
        let parts = parts(archive, rules, &row)?;
        if parts.is_empty() {
            sums.not_judged += 1;
            continue;
        }
        if lived.len() >= most {
            return Err(Failure::usage(format!("more than {most} calls: choose a shorter time")));
        }
        let (answered, outcome) = (row.answered.is_some(), row.outcome);
        let caller = row.from.clone();
        let past = PastCall { ended: row.ended.unwrap_or(row.started), answered, outcome, caller, parts };
        let CallRow { call, started, from, to, reason, recordings, .. } = row;
        lived.push(Lived { call, started, from, to, reason, recordings, past });
    }
    Ok((lived, sums))
}

/// What its extensions' parts are judged by, with what became known after the call. A line of an earlier version does not hold them:
/// then its recordings do.
fn parts(archive: &Archive, rules: &Rules, row: &CallRow) -> Result<Vec<PastPart>, Failure> {
    // No rule was asked: the line of a call without audio has parts that say whose it was, and no steps.
    if row.why.is_empty() {
        return Ok(Vec::new());
    }
    let mut kept = Vec::new();
    for &id in &row.recordings {
        match archive.row(id) {
            Ok(recording) if recording.facts.source == Source::Import => {}
            // Rules are asked of what was said, not of whom somebody has given it to.
            Ok(recording) => kept.push(Row { facts: recording.reported_facts(), ..recording }),
            Err(store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if row.parts.is_empty() {
        return Ok(kept.iter().map(|recording| part_of(recording, rules, row)).collect());
    }
    let mut parts = row.parts.clone();
    for part in &mut parts {
        let own = |recording: &&Row| recording.facts.extension == part.facts.extension;
        if let Some(recording) = kept.iter().rev().find(own) {
            overlay(part, recording, rules, row);
        }
    }
    Ok(parts)
}

/// The part that a recording of an earlier version was made of, as far as its call's line tells.
fn part_of(recording: &Row, rules: &Rules, row: &CallRow) -> PastPart {
    let facts = &recording.facts;
    let steps = || row.why.iter().filter(|step| step.extension == facts.extension);
    let mode = Mode::ALL.into_iter().find(|mode| {
        let word = format!("mode {}", mode.key());
        steps().any(|step| step.rule == "recorded devices" && step.verdict.ends_with(&word))
    });
    let by_people = steps().any(|step| step.rule == "request" || step.rule == "standing order");
    let (facts, outcome) = (known_of(facts, rules), row.outcome);
    PastPart { facts, outcome, mode, by_people, phone: None, mac: None, names: None }
}

/// A part as its recording is known today; what nothing was said of since stays as it was judged by, to the form of its numbers. A
/// recording that was destroyed for what became known was not wanted by the rules.
fn overlay(part: &mut PastPart, recording: &Row, rules: &Rules, row: &CallRow) {
    let was = with_known(recording.facts.clone(), &part.facts);
    let known = known_of(&recording.facts, rules);
    let mut facts = SegmentFacts { started: part.facts.started, ..known };
    if was.outside_number == recording.facts.outside_number {
        facts.outside_number.clone_from(&part.facts.outside_number);
        facts.outside_e164.clone_from(&part.facts.outside_e164);
    }
    if was.business_unit == recording.facts.business_unit {
        facts.named_unit.clone_from(&part.facts.named_unit);
    }
    part.facts = facts;
    let is_destroyed = |step: &Step| step.rule == LATE_FACT && step.extension == part.facts.extension;
    if row.why.iter().any(is_destroyed) {
        // Of two recordings of the leg the other one speaks for it.
        part.outcome = if row.outcome == Outcome::Recorded { Outcome::Excluded } else { row.outcome };
        part.mode = None;
    }
}
