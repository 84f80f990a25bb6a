//! `rule test`: what other rules would have made of past calls, and what retention would have due by them.

use std::collections::BTreeMap;
use std::path::Path;

use policy::whatif::NotKnown;
use serde::Serialize;
use serde_json::json;
use store::{Differs, Kept};
use web::words;

use super::rule::InForce;
use super::{print_json, print_line, warn};
use crate::cli::ArchiveDir;
use crate::clock;
use crate::config::Book;
use crate::failure::{Done, Failure};
use crate::filters::time_option;
use crate::rules::checked;
use crate::rules::trial::{self, Difference, DueSums};
use crate::tables::{cell, plain};

/// What came of a test.
#[derive(Serialize)]
struct Sums {
    /// Calls in the range.
    calls: u64,
    /// Of these, calls that no rule was asked about.
    not_judged: u64,
    /// Calls with another outcome, by what it was and what it would be.
    differences: BTreeMap<String, u64>,
    /// Calls of which something cannot be told, by what it is.
    not_known: BTreeMap<NotKnown, u64>,
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
    let range = (time_option(Some(since), now)?, time_option(until, now)?);
    let mut in_force = InForce::open(dir)?;
    in_force.settings.follow_book(&in_force.archive)?;
    let candidate = match read {
        Some(book) => book,
        None => in_force.version(version)?,
    };
    let settings = &in_force.settings;
    let ruling = checked(candidate, &settings.machine)?;
    let of_calls =
        trial::calls(&in_force.archive, &settings.rules, ruling.rules, range, trial::CALLS_MAX, |call| {
            tell(call, json)
        })?;
    let DueSums { due_then, kept_then, due_otherwise } = trial::due(
        &in_force.archive,
        &settings.retention,
        &ruling.retention,
        |freeze| warn(&format!("{freeze}: nothing is due by any rules")),
        |differs| tell_due(differs, json),
    )?;
    let turns = of_calls.turns.into_iter();
    let sums = Sums {
        calls: of_calls.calls,
        not_judged: of_calls.not_judged,
        differences: turns
            .map(|((was, would), count)| (format!("{} -> {}", was.key(), would.key()), count))
            .collect(),
        not_known: of_calls.not_known,
        due_then,
        kept_then,
        due_otherwise,
    };
    sums.tell(json)?;
    in_force.archive.close()?;
    Ok(Done::All)
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

fn tell(call: &Difference<'_>, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(call);
    }
    let simulated = if call.by_channels { " (channels as simulated)" } else { "" };
    let not_known: String =
        call.not_known.iter().map(|what| format!("\n    not known: {}", what.words())).collect();
    print_line(&format!(
        "{}  {}  {} to {}: {} -> {}{simulated}\n    was:   {}\n    would: {}{not_known}",
        call.call,
        words::moment(call.started),
        cell(call.from),
        cell(call.to),
        words::outcome(call.outcome),
        words::outcome(call.would),
        plain(call.reason),
        plain(call.would_reason)
    ))
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
        for (what, count) in &self.not_known {
            print_line(&format!("  not known of {count} calls: {}", what.words()))?;
        }
        let Sums { due_then, kept_then, due_otherwise, .. } = self;
        print_line(&format!(
            "retention: {due_then} would be due that are kept now, {kept_then} kept that are due now, {due_otherwise} due in another \
             extent; tightened rules wait out their grace first"
        ))?;
        print_line(
            "taken for granted: what people would have asked for in another mode; channels are simulated from beginnings and ends",
        )
    }
}
