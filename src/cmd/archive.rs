//! `archive`: list, verify, check, rebuild, stats. Showing and exporting one have files of their own.

use std::io::{IsTerminal, Write};
use std::path::Path;

use serde_json::json;
use store::{Archive, RecordingId, Verdict};
use web::words;

use super::{export, open_archive, print_json, print_line, show, warn};
use crate::cli::{ArchiveCommand, Filters as WrittenFilters};
use crate::clock;
use crate::config;
use crate::failure::{Done, Failure};
use crate::filters::Filters;
use crate::tables;

pub(crate) fn run(command: ArchiveCommand) -> Result<Done, Failure> {
    match command {
        ArchiveCommand::List { dir, filters, json } => {
            list(&config::resolve(&dir)?.archive, &filters, json.json)
        }
        ArchiveCommand::Show { id, dir, json } => show::run(&config::resolve(&dir)?.archive, &id, json.json),
        ArchiveCommand::Export(args) => export::run(&args),
        ArchiveCommand::Verify { id, dir, json } => verify(&config::resolve(&dir)?.archive, &id, json.json),
        ArchiveCommand::Check { repair, dir, json } => {
            check(&config::resolve(&dir)?.archive, repair, json.json)
        }
        ArchiveCommand::Rebuild { dir, json } => rebuild(&config::resolve(&dir)?.archive, json.json),
        ArchiveCommand::Stats { dir, json } => stats(&config::resolve(&dir)?.archive, json.json),
    }
}

fn list(dir: &Path, written: &WrittenFilters, json: bool) -> Result<Done, Failure> {
    let filters = Filters::parse(written, clock::now())?;
    let archive = open_archive(dir)?;
    let rows = filters.apply(archive.rows()).collect::<Result<Vec<_>, _>>()?;
    if json {
        rows.iter().try_for_each(print_json)?;
    } else if rows.is_empty() {
        print_line("no recordings")?;
    } else {
        print_line(&tables::recordings(&rows))?;
    }
    Ok(Done::All)
}

/// The ids that the words name.
pub(crate) fn resolve_ids(archive: &Archive, words: &[String]) -> Result<Vec<RecordingId>, Failure> {
    words.iter().map(|word| archive.resolve(word).map_err(Failure::from)).collect()
}

fn verify(dir: &Path, words: &[String], json: bool) -> Result<Done, Failure> {
    let archive = open_archive(dir)?;
    let ids = resolve_ids(&archive, words)?;
    let (mut intact, mut opened, mut problems) = (0u64, 0u64, 0u64);
    for finding in archive.verify((!ids.is_empty()).then_some(&ids)) {
        match &finding.verdict {
            Verdict::Intact { opened: with_key } => {
                intact += 1;
                opened += u64::from(*with_key);
            }
            Verdict::Recording => {}
            _ => problems += 1,
        }
        let (word, what) = describe(&finding.verdict);
        if json {
            print_json(&json!({
                "id": finding.id, "path": finding.path, "verdict": word, "what": what, "problem": finding.is_problem(),
            }))?;
        } else if finding.is_problem() {
            let id = finding.id.map(|id| id.to_string()).unwrap_or_default();
            print_line(&format!("{word}: {id} {} {what}", finding.path.display()).replace("  ", " "))?;
        }
    }
    if !json {
        let how = if opened == intact {
            "each chunk opened"
        } else {
            "by signature; not opened without the private key"
        };
        print_line(&format!("{intact} recordings intact ({how}), {problems} problems"))?;
    }
    Ok(if problems == 0 { Done::All } else { Done::IntegrityBroken })
}

fn describe(verdict: &Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Intact { .. } => ("intact", String::new()),
        Verdict::Recording => ("recording", String::new()),
        Verdict::Changed { what } => ("changed", what.clone()),
        Verdict::Missing => ("missing", "the file is gone".into()),
        Verdict::Unlisted => ("unlisted", "the ledger does not name this recording".into()),
        Verdict::Unreadable { what } => ("unreadable", what.clone()),
    }
}

fn check(dir: &Path, repair: bool, json: bool) -> Result<Done, Failure> {
    let archive = open_archive(dir)?;
    let problems = archive.check(repair)?;
    let mut left = 0;
    for problem in &problems {
        left += u64::from(!problem.repaired);
        if json {
            print_json(&json!({ "path": problem.path, "what": problem.what, "repaired": problem.repaired }))?;
        } else {
            let repaired = if problem.repaired { " (repaired)" } else { "" };
            print_line(&format!("{}: {}{repaired}", problem.path.display(), problem.what))?;
        }
    }
    if !json {
        print_line(&match (problems.len() as u64, left) {
            (0, _) => "no problems".to_owned(),
            (found, 0) => format!("{found} problems, all repaired"),
            (found, left) if repair => format!("{found} problems, {left} could not be repaired"),
            (found, _) => {
                format!("{found} problems; `earwitness archive check --repair` mends what can be mended")
            }
        })?;
    }
    Ok(if left == 0 { Done::All } else { Done::IntegrityBroken })
}

fn rebuild(dir: &Path, json: bool) -> Result<Done, Failure> {
    let archive = open_archive(dir)?;
    let terminal = std::io::stderr().is_terminal();
    let rebuilt = archive.rebuild(|done, total| {
        if terminal {
            let _ = write!(std::io::stderr(), "\r{done} of {total} files");
        }
    })?;
    if terminal {
        let _ = writeln!(std::io::stderr());
    }
    for (path, why) in &rebuilt.damaged {
        warn(&format!("{}: {why}", path.display()));
    }
    if json {
        let damaged: Vec<_> =
            rebuilt.damaged.iter().map(|(path, why)| json!({ "path": path, "why": why })).collect();
        print_json(&json!({ "indexed": rebuilt.rows, "damaged": damaged }))?;
    } else {
        print_line(&format!("{} recordings indexed", rebuilt.rows))?;
    }
    Ok(if rebuilt.damaged.is_empty() { Done::All } else { Done::InPart })
}

fn stats(dir: &Path, json: bool) -> Result<Done, Failure> {
    let archive = open_archive(dir)?;
    let stats = archive.stats()?;
    if json {
        print_json(&stats)?;
        return Ok(Done::All);
    }
    let time = |at: Option<decode::Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let average = stats.bytes * 1000 / stats.audio_ms.max(1);
    for (name, value) in [
        ("recordings", stats.recordings.to_string()),
        ("  complete", stats.complete.to_string()),
        ("  interrupted", stats.interrupted.to_string()),
        ("audio", words::length(stats.audio_ms)),
        ("on disk", format!("{} ({average} bytes per second of audio)", words::size(stats.bytes))),
        ("oldest", time(stats.oldest)),
        ("newest", time(stats.newest)),
    ] {
        print_line(&format!("{name:<14} {value}"))?;
    }
    Ok(Done::All)
}
