//! `archive restore`: an archive from a backup, and the drill that shows whether it would work.

use std::io::Write;
use std::path::Path;

use serde_json::json;
use store::{Archive, Trusted, Verdict, What};
use web::words;

use super::archive::given;
use super::{open_archive, print_json, print_line};
use crate::cli::Restore;
use crate::console;
use crate::failure::{Done, Failure};
use crate::passphrase;

pub(crate) fn run(args: &Restore) -> Result<Done, Failure> {
    let trusted = given(&args.checkpoint, args.public_key.as_deref())?;
    match &args.archive {
        Some(to) => restore(args, to, &trusted),
        None => {
            let drill = tempfile::Builder::new().prefix("earwitness-drill-").tempdir()?;
            let done = restore(args, &drill.path().join("archive"), &trusted)?;
            drill.close()?;
            Ok(done)
        }
    }
}

/// What verification found.
#[derive(Default)]
struct Found {
    intact: u64,
    opened: u64,
    deleted: u64,
    /// What is not in the backup, and what was changed: what and where.
    lacking: Vec<String>,
    problems: Vec<String>,
}

fn restore(args: &Restore, to: &Path, trusted: &Trusted) -> Result<Done, Failure> {
    store::restore(&args.from, to, &mut progress())?;
    let archive = open_archive(to)?;
    passphrase::unlock(&archive, false)?;
    let stats = archive.stats(&store::Query::default())?;
    let recovered = archive.recovered();
    let (not_ended, ended) = (recovered.not_ended.len(), recovered.interrupted.len());
    let copy = recovered.copy.clone();
    let newest = archive.newest_line()?;
    let asked = args.verify || !trusted.checkpoints.is_empty() || trusted.public_key.is_some();
    let found = asked.then(|| verify(&archive, trusted));
    archive.close()?;
    let (lacking, problems) = told(copy.as_ref(), found.as_ref());
    let newest = newest.map(|at| at.to_string());
    if args.json.json {
        print_json(&json!({
            "from": args.from, "archive": args.archive, "recordings": stats.recordings, "bytes": stats.bytes,
            "ledger_newest": newest, "ended": ended, "not_ended": not_ended,
            "verified": found.is_some(), "intact": found.as_ref().map(|f| f.intact),
            "opened": found.as_ref().map(|f| f.opened), "deleted": found.as_ref().map(|f| f.deleted),
            "not_in_backup": lacking, "problems": problems,
        }))?;
    } else {
        lacking.iter().chain(&problems).try_for_each(|line| print_line(line))?;
        for (name, value) in [
            ("recordings", format!("{} ({})", stats.recordings, words::size(stats.bytes))),
            ("ledger up to", newest.unwrap_or_else(|| "-".into())),
            ("ended", format!("{ended} that were running, at what was copied of them")),
            ("not ended", not_ended.to_string()),
            ("not in it", lacking.len().to_string()),
        ] {
            print_line(&format!("{name:<14} {value}"))?;
        }
        match &found {
            Some(f) => {
                let (intact, opened, deleted) = (f.intact, f.opened, f.deleted);
                let text = format!("{intact} intact ({opened} opened), {deleted} deleted with a receipt");
                print_line(&format!("{:<14} {text}, {} problems", "verified", problems.len()))?;
            }
            None => print_line("not verified: `earwitness archive verify` does (or --verify here)")?,
        }
        match &args.archive {
            Some(to) => print_line(&format!("restored into {}", to.display()))?,
            None => print_line("this was a drill: nothing was kept")?,
        }
    }
    Ok(match (problems.is_empty(), lacking.is_empty() && not_ended == 0) {
        (false, _) => Done::IntegrityBroken,
        (true, false) => Done::InPart,
        (true, true) => Done::All,
    })
}

fn verify(archive: &Archive, trusted: &Trusted) -> Found {
    let mut found = Found::default();
    for finding in archive.verify_against(None, trusted) {
        let (word, what) = finding.verdict.words();
        let line = format!("{word}: {}: {what}", finding.path.display());
        match finding.verdict {
            Verdict::Intact { opened } => {
                found.intact += 1;
                found.opened += u64::from(opened);
            }
            Verdict::Deleted => found.deleted += 1,
            Verdict::NotCopied { .. } => found.lacking.push(line),
            Verdict::Recording | Verdict::Stamped { .. } => {}
            _ => found.problems.push(line),
        }
    }
    found
}

/// What is not in the backup, and what was changed. Without verification, what was seen when the copy was opened.
fn told(copy: Option<&What>, found: Option<&Found>) -> (Vec<String>, Vec<String>) {
    if let Some(found) = found {
        return (found.lacking.clone(), found.problems.clone());
    }
    let Some(What::CopyOpened { lines, recordings, of_two_moments, .. }) = copy else {
        return Default::default();
    };
    let lines =
        lines.iter().map(|(first, last)| format!("not copied: lines {first} to {last} of the ledger"));
    let recordings = recordings.iter().map(|id| format!("not copied: recording {id}"));
    let other = of_two_moments.iter().map(|id| {
        format!("not copied: the ledger's lines of recording {id}, which was moved or re-encoded meanwhile")
    });
    (lines.chain(recordings).chain(other).collect(), Vec::new())
}

/// Shows on a terminal how much is copied.
fn progress() -> impl FnMut(u64, u64) {
    let terminal = console::err().is_terminal();
    let mut shown = 0;
    move |files, bytes| {
        // Each hundred files or hundred megabytes.
        let step = files / 100 + bytes / 100_000_000;
        if terminal && step != shown {
            shown = step;
            // Progress that cannot be shown is no failure.
            let _ = write!(console::err(), "\rcopying: {files} files, {}", words::size(bytes));
        }
    }
}
