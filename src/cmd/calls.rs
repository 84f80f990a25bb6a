//! `calls`: the balance sheet, line by line or summed up.

use std::collections::BTreeMap;

use policy::{Outcome, Pattern};
use store::{Archive, CallRow, Counters};

use super::{open_archive, print_json, print_line, warn};
use crate::cli;
use crate::clock;
use crate::config;
use crate::console;
use crate::failure::{Done, Failure};
use crate::filters::time_option;
use crate::tables;

pub(crate) fn run(args: &cli::Calls) -> Result<Done, Failure> {
    let settings = config::resolve(&args.dir)?;
    let now = clock::now();
    let since = time_option(args.since.as_deref(), now)?;
    let until = time_option(args.until.as_deref(), now)?;
    let number: Option<Pattern> = args
        .number
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|error| Failure::usage(format!("--number: {error}")))?;
    let outcome = args.outcome.as_deref().map(outcome_named).transpose()?;
    let archive = open_archive(&settings.archive)?;
    if let Some(call) = &args.why {
        return why(&archive, call, args.json.json);
    }
    let mut rows = Vec::new();
    for row in archive.calls_begun(since, until)? {
        let (_, row): (_, CallRow) = row?;
        let wanted =
            number.as_ref().is_none_or(|number| number.matches(&row.from) || number.matches(&row.to))
                && outcome.is_none_or(|outcome| row.outcome == outcome);
        if wanted {
            rows.push(row);
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.started));
    if args.summary {
        let mut outcomes: BTreeMap<Outcome, u64> = BTreeMap::new();
        rows.iter().for_each(|row| *outcomes.entry(row.outcome).or_default() += 1);
        let mut counters = Counters::default();
        for run in archive.runs()? {
            let run = run?;
            if since.is_none_or(|since| run.ended >= since) && until.is_none_or(|until| run.started < until) {
                counters.add(&run.counters);
            }
        }
        if args.json.json {
            print_json(&tables::balance_json(&outcomes, &counters))?;
        } else {
            print_line(&tables::balance_sheet(&outcomes, &counters))?;
        }
        return Ok(Done::All);
    }
    rows.truncate(args.limit.unwrap_or(usize::MAX));
    if args.json.json {
        rows.iter().try_for_each(print_json)?;
    } else if rows.is_empty() {
        print_line("no calls")?;
    } else {
        print_line(&tables::calls(&rows))?;
    }
    Ok(Done::All)
}

/// Prints how each leg of a call was judged, so far where it runs.
fn why(archive: &Archive, call: &str, json: bool) -> Result<Done, Failure> {
    // First what runs: a leg that ends meanwhile has its line by then, which counts.
    let running = running(call);
    let mut found = Vec::new();
    for row in archive.calls()? {
        let row = row?;
        if row.is_named(call) {
            found.push(row);
        }
    }
    let is_same = |a: &CallRow, b: &CallRow| {
        (a.started, &a.sip_call_ids, &a.from, &a.to) == (b.started, &b.sip_call_ids, &b.from, &b.to)
    };
    let fresh: Vec<CallRow> =
        running.into_iter().filter(|row| !found.iter().any(|over| is_same(row, over))).collect();
    found.extend(fresh);
    if found.is_empty() {
        return Err(Failure::new(format!(
            "no call {call:?} runs, and none is in the balance sheet; `earwitness calls` lists them"
        )));
    }
    found.sort_by_key(|row| row.started);
    for row in &found {
        if json {
            print_json(row)?;
        } else {
            print_line(&tables::why(row))?;
        }
    }
    Ok(Done::All)
}

/// The legs of a call that run, where this is done beside a recorder.
fn running(call: &str) -> Vec<CallRow> {
    let Some(recorder) = console::appliances_recorder() else { return Vec::new() };
    let call = call.to_owned();
    recorder.ask(move |recorder, _| recorder.running_rows(&call)).unwrap_or_else(|error| {
        warn(&format!("{error}: calls that run are left out"));
        Vec::new()
    })
}

fn outcome_named(name: &str) -> Result<Outcome, Failure> {
    Outcome::ALL.into_iter().find(|outcome| outcome.key() == name).ok_or_else(|| {
        let known: Vec<&str> = Outcome::ALL.iter().map(|outcome| outcome.key()).collect();
        Failure::usage(format!("--outcome: no outcome {name:?}; there are {}", known.join(", ")))
    })
}
