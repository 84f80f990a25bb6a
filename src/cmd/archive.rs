//! `archive`: list, verify, check, rebuild, stats. Showing and exporting one have files of their own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use store::locations::Duty;
use store::{Archive, Authorities, Cost, RecordingId, Trusted, Verdict};
use web::words;

use super::upkeep::{self, Change};
use super::{copies, export, import, marks, open_archive, print_json, print_line, progress, show, warn};
use super::{prune, recode, restore};
use crate::cli::{ArchiveCommand, Filters as WrittenFilters};
use crate::clock;
use crate::config::{self, Settings};
use crate::console;
use crate::failure::{Done, Failure};
use crate::filters;
use crate::passphrase;
use crate::tables;

pub(crate) fn run(command: ArchiveCommand) -> Result<Done, Failure> {
    match command {
        ArchiveCommand::List { dir, filters, json } => {
            list(&config::resolve(&dir)?.archive, &filters, json.json)
        }
        ArchiveCommand::Show { id, sip, dir, json } => {
            show::run(&config::resolve(&dir)?, &id, sip, json.json)
        }
        ArchiveCommand::Export(args) => export::run(&args),
        ArchiveCommand::Import(args) => import::run(&args),
        ArchiveCommand::Verify { checkpoint, public_key, bundle: Some(bundle), json, .. } => {
            verify_bundle(&bundle, &checkpoint, public_key.as_deref(), json.json)
        }
        ArchiveCommand::Verify { id, checkpoint, public_key, tsa_ca, bundle: None, dir, json } => {
            let settings = config::resolve(&dir)?;
            let elsewhere = Elsewhere {
                checkpoints: &checkpoint,
                public_key: public_key.as_deref(),
                tsa_ca: tsa_ca.as_deref(),
            };
            verify(&settings, &id, &elsewhere, json.json)
        }
        ArchiveCommand::Checkpoint { output, stamp, dir } => upkeep::checkpoint(&dir, output.as_ref(), stamp),
        ArchiveCommand::Prune(args) => prune::run(&args),
        ArchiveCommand::Recode(args) => recode::run(&args),
        ArchiveCommand::Copy { wait_s, dir, json } => {
            copies::copy(&dir, Duration::from_secs(wait_s), json.json)
        }
        ArchiveCommand::Locations { dir, json } => copies::locations(&dir, json.json),
        ArchiveCommand::Log(args) => upkeep::log(&args),
        ArchiveCommand::Tag(args) => marks::tag(&args),
        ArchiveCommand::Rate(args) => marks::rate(args),
        ArchiveCommand::Note(args) => marks::note(&args),
        ArchiveCommand::Hold { edit, name, why } => upkeep::change(&edit, &Change::Hold { name, why }),
        ArchiveCommand::Release { edit, name, why } => upkeep::change(&edit, &Change::Release { name, why }),
        ArchiveCommand::Delete { edit, why, keep_facts, yes } => upkeep::delete(&edit, &why, keep_facts, yes),
        ArchiveCommand::Check { cost, repair, dir, json } => {
            check(&config::resolve(&dir)?, cost.into(), repair, json.json)
        }
        ArchiveCommand::Restore(args) => restore::run(&args),
        ArchiveCommand::Rebuild { dir, json } => rebuild(&config::resolve(&dir)?.archive, json.json),
        ArchiveCommand::Key(key) => super::key::run(key.command),
        ArchiveCommand::Stats { dir, filters, json } => {
            stats(&config::resolve(&dir)?.archive, &filters, json.json)
        }
    }
}

fn list(dir: &Path, written: &WrittenFilters, json: bool) -> Result<Done, Failure> {
    let query = filters::query(written, clock::now())?;
    let archive = open_archive(dir)?;
    let mut rows = archive.search(&query);
    if json {
        rows.try_for_each(|row| print_json(&row?))?;
        return Ok(Done::All);
    }
    let mut table = tables::Recordings::default();
    loop {
        let some = rows.by_ref().take(tables::ROWS_AT_ONCE).collect::<Result<Vec<_>, _>>()?;
        match (some.is_empty(), table.is_begun()) {
            (true, true) => return Ok(Done::All),
            (true, false) => {
                print_line("no recordings")?;
                return Ok(Done::All);
            }
            (false, _) => print_line(&table.rows(&some))?,
        }
    }
}

/// The ids that the words name.
pub(crate) fn resolve_ids(archive: &Archive, words: &[String]) -> Result<Vec<RecordingId>, Failure> {
    words.iter().map(|word| archive.resolve(word).map_err(Failure::from)).collect()
}

/// What the words of `verify` name that was kept elsewhere.
struct Elsewhere<'a> {
    checkpoints: &'a [PathBuf],
    public_key: Option<&'a Path>,
    tsa_ca: Option<&'a Path>,
}

/// What was kept elsewhere: the checkpoints that the words name, those in the configured places, the public key.
fn trusted(archive: &Archive, settings: &Settings, elsewhere: &Elsewhere<'_>) -> Result<Trusted, Failure> {
    let mut paths = elsewhere.checkpoints.to_vec();
    for folder in &settings.checkpoints {
        let ours = |name: &str| name.starts_with(archive.id()) && name.ends_with(".checkpoint");
        match std::fs::read_dir(folder) {
            Ok(entries) => paths.extend(
                entries
                    .flatten()
                    .filter(|entry| ours(&entry.file_name().to_string_lossy()))
                    .map(|e| e.path()),
            ),
            Err(e) => warn(&format!("{}: {e}: its checkpoints are not compared", folder.display())),
        }
    }
    let authorities = elsewhere.tsa_ca.map(|path| {
        let wrong = |why: String| Failure::new(format!("{}: {why}", path.display()));
        let pem = console::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        Authorities::from_pem(pem.as_bytes()).map_err(wrong)
    });
    Ok(Trusted { authorities: authorities.transpose()?, ..given(&paths, elsewhere.public_key)? })
}

/// What the words name.
pub(super) fn given(checkpoints: &[PathBuf], public_key: Option<&Path>) -> Result<Trusted, Failure> {
    let read = |path: &Path| {
        console::read_to_string(path).map_err(|e| Failure::new(format!("{}: {e}", path.display())))
    };
    let notes = checkpoints.iter().map(|path| Ok((path.display().to_string(), read(path)?)));
    let checkpoints = notes.collect::<Result<Vec<_>, Failure>>()?;
    let public_key = public_key.map(|path| {
        store::public_key(&read(path)?)
            .ok_or_else(|| Failure::new(format!("{}: no copy of keys/public.json", path.display())))
    });
    Ok(Trusted { checkpoints, public_key: public_key.transpose()?, authorities: None })
}

fn verify(
    settings: &Settings,
    words: &[String],
    elsewhere: &Elsewhere<'_>,
    json: bool,
) -> Result<Done, Failure> {
    let archive = open_archive(&settings.archive)?;
    copies::use_locations(&archive, settings, Duty::Read)?;
    // Not asked for: without it the signatures are verified all the same.
    passphrase::unlock(&archive, false)?;
    let ids = resolve_ids(&archive, words)?;
    let trusted = trusted(&archive, settings, elsewhere)?;
    let (mut intact, mut opened, mut deleted, mut problems, mut away) = (0u64, 0u64, 0u64, 0u64, 0u64);
    let (mut stamps, mut newest_stamp) = (0u64, None);
    for finding in archive.verify_against((!ids.is_empty()).then_some(&ids), &trusted) {
        match &finding.verdict {
            Verdict::Intact { opened: with_key } => {
                intact += 1;
                opened += u64::from(*with_key);
            }
            Verdict::Recording => {}
            Verdict::Deleted => deleted += 1,
            Verdict::Away { .. } => away += 1,
            Verdict::Stamped { at, .. } => {
                stamps += 1;
                newest_stamp = newest_stamp.max(Some(*at));
            }
            _ => problems += 1,
        }
        let (word, what) = finding.verdict.words();
        if json {
            print_json(&json!({
                "id": finding.id, "path": finding.path, "verdict": word, "what": what, "problem": finding.is_problem(),
            }))?;
        } else if finding.is_problem() || matches!(finding.verdict, Verdict::Away { .. }) {
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
        let deleted = match deleted {
            0 => String::new(),
            n => format!(", {n} deleted with a receipt"),
        };
        let not_seen = match away {
            0 => String::new(),
            n => format!(", {n} not looked at: their audio is in archive locations"),
        };
        print_line(&format!("{intact} recordings intact ({how}){deleted}{not_seen}, {problems} problems"))?;
        if ids.is_empty() {
            print_line(&match trusted.checkpoints.len() {
                0 => "ledger compared with its own checkpoint; one kept elsewhere proves more (--checkpoint)"
                    .into(),
                n => format!("ledger compared with {n} checkpoints kept elsewhere"),
            })?;
            if let Some(newest) = newest_stamp {
                let by = match trusted.authorities {
                    Some(_) => "signed by a given authority",
                    None => "not checked against a certificate authority (--tsa-ca)",
                };
                print_line(&format!("{stamps} time stamps fit the ledger, the newest of {newest}; {by}"))?;
            }
        }
    }
    Ok(match (problems, away) {
        (0, 0) => Done::All,
        (0, _) => Done::InPart,
        _ => Done::IntegrityBroken,
    })
}

/// `archive verify --bundle`: an exported ZIP, without the archive.
fn verify_bundle(
    bundle: &Path,
    checkpoints: &[PathBuf],
    public_key: Option<&Path>,
    json: bool,
) -> Result<Done, Failure> {
    let trusted = given(checkpoints, public_key)?;
    let in_file = |e: std::io::Error| Failure::new(format!("{}: {e}", bundle.display()));
    let file = std::fs::File::open(bundle).map_err(in_file)?;
    let report = web::evidence::verify(std::io::BufReader::new(file), &trusted).map_err(in_file)?;
    let sentences = report.sentences();
    if json {
        let problems: Vec<_> =
            report.problems.iter().map(|p| json!({ "member": p.member, "what": p.what })).collect();
        let manifest = report.manifest.as_ref();
        print_json(&json!({
            "holds": report.holds(), "trusted_key": report.trusted, "key": report.key,
            "archive": manifest.map(|m| &m.archive), "exported": manifest.map(|m| &m.exported),
            "members": report.members, "sealed": report.sealed, "checkpoints": report.checkpoints,
            "proven": report.proven.iter().map(|(id, ..)| id).collect::<Vec<_>>(), "unproven": report.unproven,
            "problems": problems, "more_problems": report.more_problems, "sentences": sentences,
        }))?;
    } else {
        for problem in &report.problems {
            let member = problem.member.as_deref().map_or(String::new(), |member| format!("{member}: "));
            print_line(&format!("{member}{}", tables::plain(&problem.what)))?;
        }
        if report.more_problems > 0 {
            print_line(&format!("and {} more problems", report.more_problems))?;
        }
        sentences.iter().try_for_each(|sentence| print_line(&tables::plain(sentence)))?;
    }
    Ok(if report.holds() { Done::All } else { Done::IntegrityBroken })
}

fn check(settings: &Settings, cost: Cost, repair: bool, json: bool) -> Result<Done, Failure> {
    let archive = open_archive(&settings.archive)?;
    copies::use_locations(&archive, settings, Duty::Read)?;
    if cost == Cost::Bytes {
        // Not asked for: with the key every chunk is opened too, and what reads the bytes needs none.
        passphrase::unlock(&archive, false)?;
    }
    let problems = archive.check_at(cost, repair, &mut progress("checking"))?;
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
    let rebuilt = archive.rebuild(progress("indexing"))?;
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

fn stats(dir: &Path, written: &WrittenFilters, json: bool) -> Result<Done, Failure> {
    let query = filters::query(written, clock::now())?;
    let archive = open_archive(dir)?;
    let (stats, space, scrubbed) = (archive.stats(&query)?, archive.space(), archive.scrubbed());
    if json {
        let mut object = serde_json::to_value(&stats)?;
        object["disk"] = json!(space);
        object["scrubbed"] = json!(scrubbed);
        print_json(&object)?;
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
        (
            "disk",
            space.map_or_else(
                || "-".to_owned(),
                |s| format!("{} free of {} ({} %)", words::size(s.free), words::size(s.total), s.percent()),
            ),
        ),
        (
            "last scrub",
            scrubbed.map_or_else(
                || "-".to_owned(),
                |s| {
                    format!(
                        "ended {}, {} recordings read, {} found wrong",
                        s.ended,
                        s.recordings,
                        if s.found == 0 { "none".to_owned() } else { s.found.to_string() }
                    )
                },
            ),
        ),
    ] {
        print_line(&format!("{name:<14} {value}"))?;
    }
    Ok(Done::All)
}
