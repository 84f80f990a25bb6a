//! `calls`: the balance sheet, line by line or summed up.

use std::collections::BTreeMap;

use policy::{Outcome, Pattern};
use store::{Archive, CallRow, Counters};

use super::{open_archive, print_json, print_line};
use crate::cli;
use crate::clock;
use crate::config;
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

/// Prints how each leg of a call was judged.
fn why(archive: &Archive, call: &str, json: bool) -> Result<Done, Failure> {
    let mut found = Vec::new();
    for row in archive.calls()? {
        let row = row?;
        if !call.is_empty() && (row.call.starts_with(call) || row.sip_call_ids.iter().any(|id| id == call)) {
            found.push(row);
        }
    }
    if found.is_empty() {
        return Err(Failure::new(format!(
            "no call {call:?} in the balance sheet; `earwitness calls` lists them"
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

fn outcome_named(name: &str) -> Result<Outcome, Failure> {
    Outcome::ALL.into_iter().find(|outcome| outcome.key() == name).ok_or_else(|| {
        let known: Vec<&str> = Outcome::ALL.iter().map(|outcome| outcome.key()).collect();
        Failure::usage(format!("--outcome: no outcome {name:?}; there are {}", known.join(", ")))
    })
}
