//! The commands. Each takes its words from [`crate::cli`] and says how it ended.

mod accounts;
mod archive;
mod calls;
mod config;
mod copies;
mod demo;
pub(crate) mod device;
mod export;
mod import;
mod interfaces;
mod key;
mod manual;
mod marks;
mod people;
mod prune;
mod recode;
mod record;
mod replay;
mod restore;
mod rule;
mod run;
mod serve;
mod show;
mod support;
mod token;
mod upkeep;
mod whatif;

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crate::beside;
use crate::cli::{ArchiveCommand, Cli, Command};
use crate::console::{self, Opened};
use crate::failure::{Done, Failure};

/// Runs the command.
pub(crate) fn run(cli: Cli) -> Result<Done, Failure> {
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Interfaces(args) => interfaces::run(&args),
        Command::Archive(args) => archive::run(args.command),
        Command::Calls(args) => calls::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::User(args) => people::user(&args.command),
        Command::Role(args) => accounts::role(&args.command),
        Command::Token(args) => token::run(args.command),
        Command::Unit(args) => people::unit(&args.command),
        Command::Rule(args) => rule::run(args.command),
        Command::Device(args) => device::run(args.command),
        Command::SupportBundle(args) => support::run(&args),
        Command::Config(args) => config::run(args.command),
        Command::Manual { folder } => manual::run(&folder),
    }
}

/// The same, or, where a running appliance has the archive, has the appliance do it. Gives the exit code.
pub(crate) fn run_or_hand_over(cli: Cli) -> Result<u8, Failure> {
    let output = match &cli.command {
        Command::Archive(crate::cli::Archive { command: ArchiveCommand::Export(args) }) => {
            Some(args.output.clone())
        }
        Command::SupportBundle(args) => Some(args.output.clone()),
        _ => None,
    };
    // The command goes on elsewhere, and with it what it reads.
    let reads = accounts::Reads::of(&cli);
    match run(cli) {
        Ok(done) => Ok(done.code()),
        Err(failure) => {
            let Some(archive) = failure.locked_archive() else { return Err(failure) };
            let Some(output) = output else {
                let input = reads.for_appliance()?;
                return beside::hand_over(archive, None, input).unwrap_or(Err(failure));
            };
            let target = export::Target::open(&output, archive)?;
            let Some(code) = beside::hand_over(archive, target.file(), None) else { return Err(failure) };
            let code = code?;
            if [Done::All, Done::InPart].map(Done::code).contains(&code) {
                target.into_place()?;
            }
            Ok(code)
        }
    }
}

/// One line of JSON on stdout.
fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(console::out().write_all(&line)?)
}

/// A line of text on stdout; a reader that went away ends the command quietly.
fn print_line(text: &str) -> Result<(), Failure> {
    Ok(console::out().write_all(format!("{text}\n").as_bytes())?)
}

/// A note on stderr that the command goes on from.
pub(crate) fn warn(text: &str) {
    // Nobody listens on stderr: nothing can be done about it.
    let _ = console::err().write_all(format!("earwitness: {text}\n").as_bytes());
}

/// Opens an archive that must be there, and says what had to be mended. For a guest it is the appliance's.
fn open_archive(dir: &Path) -> Result<Opened, Failure> {
    if let Some(archive) = Opened::of_appliance() {
        return Ok(archive);
    }
    let archive = store::Archive::open_watched(dir, &mut progress("indexing"))?;
    settle_recovery(&archive)?;
    Ok(Opened::Own(Box::new(archive)))
}

/// How often it is logged how far something has come.
const PROGRESS_LOGGED_EVERY: std::time::Duration = std::time::Duration::from_secs(10);

/// Shows how far reading the recordings has come, on a terminal as it goes, else in the log now and then; `doing` says what for.
fn progress(doing: &'static str) -> impl FnMut(u64, u64) {
    let terminal = console::err().is_terminal();
    let (mut shown, mut logged) = (None, std::time::Instant::now());
    move |done, total| {
        if !terminal && logged.elapsed() >= PROGRESS_LOGGED_EVERY {
            logged = std::time::Instant::now();
            tracing::info!(done, total, "{doing}");
        }
        // A hundred steps: a line for each of a million recordings would cost more than reading them.
        let percent = (done * 100).checked_div(total);
        if terminal && total > 0 && shown != percent {
            shown = percent;
            let end = if done == total { "\n" } else { "" };
            // Progress that cannot be shown is no failure.
            let _ = write!(console::err(), "\r{doing}: {done} of {total} recordings{end}");
        }
    }
}

/// Says what opening had to mend, and enters the calls of interrupted recordings into the balance sheet where the archive
/// could not: journals of earlier versions do not know them.
fn settle_recovery(archive: &store::Archive) -> Result<(), Failure> {
    // Two recordings of one leg are one call.
    let mut rows: Vec<store::CallRow> = Vec::new();
    for &id in &archive.recovered().without_call {
        let row = crate::facts::interrupted_row(&archive.row(id)?.facts);
        match rows.iter_mut().find(|other| other.call == row.call && other.sip_call_ids == row.sip_call_ids) {
            Some(same) => same.recordings.push(id),
            None => rows.push(row),
        }
    }
    rows.iter().try_for_each(|row| archive.append_call(row))?;
    let recovery = archive.recovered();
    if !recovery.interrupted.is_empty() {
        warn(&format!(
            "the recorder was stopped in the middle: {} recordings were closed as interrupted and play up to that moment",
            recovery.interrupted.len()
        ));
    }
    if recovery.rebuilt_index {
        warn("the index was missing or unusable and was made anew from the recordings");
    }
    Ok(())
}

/// From now on whoever signs in stands where these people say, on the site that they say, and numbers read as its country writes them.
pub(crate) fn know_site(archive: &store::Archive, rules: &policy::Rules) {
    archive.know_people(std::sync::Arc::new(rules.people.clone()), rules.site.name.clone());
    web::numbers::know(rules.site.dial_plan.clone());
}
