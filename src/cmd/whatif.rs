//! `rule test`: what other rules would have made of past calls, and what retention would have due by them.

use std::collections::BTreeMap;
use std::path::Path;

use decode::Timestamp;
use policy::{Mode, Outcome, PastCall, PastPart, Rules, SegmentFacts, Step, WhatIf};
use serde::Serialize;
use serde_json::json;
use store::{Archive, CallRow, Differs, Kept, RecordingId, Row, Source, Take};
use web::words;

use super::rule::{InForce, checked};
use super::{print_json, print_line, warn};
use crate::cli::ArchiveDir;
use crate::clock;
use crate::config::{Book, Retention};
use crate::facts::{known_of, with_known};
use crate::failure::{Done, Failure};
use crate::filters::time_option;
use crate::late::LATE_FACT;
use crate::tables::{cell, plain};

/// Calls that are tried at once, in memory for their order: a day of the largest site, or years of a small one.
const CALLS_MAX: usize = 1_000_000;

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
#[derive(Serialize)]
struct Difference<'a> {
    call: &'a str,
    started: Timestamp,
    from: &'a str,
    to: &'a str,
    extension: &'a str,
    outcome: Outcome,
    reason: &'a str,
    would: Outcome,
    would_reason: &'a str,
    /// The number of channels alone makes the difference, which is simulated.
    by_channels: bool,
    recordings: &'a [RecordingId],
}

/// What came of a test.
#[derive(Default, Serialize)]
struct Sums {
    /// Calls in the range.
    calls: u64,
    /// Of these, calls that no rule was asked about: without audio, without an extension, imported, or of earlier versions.
    not_judged: u64,
    /// Calls with another outcome, by what it was and what it would be.
    differences: BTreeMap<String, u64>,
    /// What retention would have due that is kept now.
    due_then: u64,
    /// What is due now and would be kept.
    kept_then: u64,
    /// What is due under both, but differs in how much goes.
    due_otherwise: u64,
}

pub(super) fn run(
    dir: &ArchiveDir,
    file: Option<&Path>,
    version: Option<u64>,
    (since, until): (&str, Option<&str>),
    json: bool,
) -> Result<Done, Failure> {
    let read = file.map(Book::read).transpose()?;
    let now = clock::now();
    let (since, until) = (time_option(Some(since), now)?, time_option(until, now)?);
    let mut in_force = InForce::open(dir)?;
    in_force.settings.follow_book(&in_force.archive)?;
    let candidate = match read {
        Some(book) => book,
        None => in_force.version(version)?,
    };
    let ruling = checked(candidate, &in_force.settings.machine)?;
    let (mut lived, mut sums) = lived(&in_force.archive, &in_force.settings.rules, since, until)?;
    // In the order in which they were judged: who comes first gets a channel.
    lived.sort_by_key(|call| call.past.judged());
    let mut whatif = WhatIf::new(ruling.rules);
    for call in &lived {
        let Some(would) = whatif.handle(&call.past) else { continue };
        if would.outcome == call.past.outcome {
            continue;
        }
        let turn = format!("{} -> {}", call.past.outcome.key(), would.outcome.key());
        *sums.differences.entry(turn).or_default() += 1;
        let difference = Difference {
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
            recordings: &call.recordings,
        };
        difference.tell(json)?;
    }
    retention(&in_force, &ruling.retention, &mut sums, json)?;
    sums.tell(json)?;
    in_force.archive.close()?;
    Ok(Done::All)
}

/// The calls of the range that rules were asked about.
fn lived(
    archive: &Archive,
    rules: &Rules,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
) -> Result<(Vec<Lived>, Sums), Failure> {
    let (mut lived, mut sums) = (Vec::new(), Sums::default());
    for row in archive.calls()? {
        let row: CallRow = row?;
        if since.is_some_and(|since| row.started < since) || until.is_some_and(|until| row.started >= until) {
            continue;
        }
        sums.calls += 1;
        let parts = parts(archive, rules, &row)?;
        if parts.is_empty() {
            sums.not_judged += 1;
            continue;
        }
        if lived.len() >= CALLS_MAX {
            return Err(Failure::usage(format!(
                "more than {CALLS_MAX} calls: name a shorter time with --since and --until"
            )));
        }
        let (answered, outcome) = (row.answered.is_some(), row.outcome);
        let past = PastCall { ended: row.ended.unwrap_or(row.started), answered, outcome, parts };
        let CallRow { call, started, from, to, reason, recordings, .. } = row;
        lived.push(Lived { call, started, from, to, reason, recordings, past });
    }
    Ok((lived, sums))
}

/// What its extensions' parts are judged by, with what became known after the call. A line of an earlier version does not hold them:
/// then its recordings do.
fn parts(archive: &Archive, rules: &Rules, row: &CallRow) -> Result<Vec<PastPart>, Failure> {
    if row.parts.is_empty() && row.why.is_empty() {
        return Ok(Vec::new());
    }
    let mut kept = Vec::new();
    for &id in &row.recordings {
        match archive.row(id) {
            Ok(recording) if recording.facts.source == Source::Import => {}
            Ok(recording) => kept.push(recording),
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
    PastPart { facts: known_of(facts, rules), outcome: row.outcome, mode, by_people, phone: None }
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

/// What the candidate would have due now, and the reverse.
fn retention(in_force: &InForce, candidate: &Retention, sums: &mut Sums, json: bool) -> Result<(), Failure> {
    let retention = in_force.settings.retention.take_up(&in_force.archive, Take::Look)?;
    if let Some(freeze) = retention.freeze() {
        warn(&format!("{freeze}: nothing is due by any rules"));
    }
    retention.differences(&candidate.rules, |differs| {
        match (
            differs.now.takes_audio() || differs.now.takes_data(),
            differs.would.takes_audio() || differs.would.takes_data(),
        ) {
            (false, true) => sums.due_then += 1,
            (true, false) => sums.kept_then += 1,
            _ => sums.due_otherwise += 1,
        }
        tell_due(&differs, json)
    })
}

fn tell_due(differs: &Differs, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(&json!({ "retention": differs }));
    }
    let what = match differs.what {
        Kept::Recording(id) => format!("recording {id}"),
        Kept::Call(leaf) => format!("call without recording, line {leaf} of the log"),
    };
    let by =
        |rule: &Option<String>| rule.as_ref().map_or("no rule".to_owned(), |rule| format!("rule {rule:?}"));
    print_line(&plain(&format!(
        "retention: {what} of {}: now {} ({}), then {} ({})",
        words::moment(differs.started),
        differs.now,
        by(&differs.rule),
        differs.would,
        by(&differs.would_rule)
    )))
}

impl Difference<'_> {
    fn tell(&self, json: bool) -> Result<(), Failure> {
        if json {
            return print_json(self);
        }
        let simulated = if self.by_channels { " (channels as simulated)" } else { "" };
        print_line(&format!(
            "{}  {}  {} to {}: {} -> {}{simulated}\n    was:   {}\n    would: {}",
            self.call,
            words::moment(self.started),
            cell(self.from),
            cell(self.to),
            words::outcome(self.outcome),
            words::outcome(self.would),
            plain(self.reason),
            plain(self.would_reason)
        ))
    }
}

impl Sums {
    fn tell(&self, json: bool) -> Result<(), Failure> {
        if json {
            return print_json(&json!({ "sums": self }));
        }
        let changed: u64 = self.differences.values().sum();
        print_line(&format!(
            "{changed} of {} calls would have another outcome; {} were not judged by rules",
            self.calls, self.not_judged
        ))?;
        for (turn, count) in &self.differences {
            print_line(&format!("  {turn}: {count}"))?;
        }
        let Sums { due_then, kept_then, due_otherwise, .. } = self;
        print_line(&format!(
            "retention: {due_then} would be due that are kept now, {kept_then} kept that are due now, {due_otherwise} due in another \
             extent; tightened rules wait out their grace first"
        ))?;
        print_line(
            "not known: what people would have asked for in another mode, pauses, who would count as an extension by another [site], \
             and how numbers would read by another dial plan; channels are simulated from beginnings and ends",
        )
    }
}
