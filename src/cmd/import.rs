//! `archive import`: audio files become recordings.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use decode::Timestamp;
use policy::Gate;
use web::import::about::{About, Said, TEXT_MAX};

use super::rule::follow_book;
use super::upkeep::copy_checkpoints;
use super::{open_archive, print_json, print_line, warn};
use crate::cli;
use crate::clock;
use crate::config::{self, Settings};
use crate::console::{self, who};
use crate::failure::{Done, Failure};

pub(crate) fn run(args: &cli::Import) -> Result<Done, Failure> {
    if args.files.len() > 1 && (args.meta.is_some() || args.dat.is_some()) {
        return Err(Failure::usage(
            "--meta and --dat say what one file is about; for several, put a .dat file beside each",
        ));
    }
    let mut settings = config::resolve(&args.dir)?;
    let archive = open_archive(&settings.archive)?;
    follow_book(&mut settings, &archive)?;
    copy_checkpoints(&archive, &settings)?;
    let mut failed = 0;
    for file in &args.files {
        let file = &console::path(file);
        match import_one(args, &settings, &archive, file) {
            Ok(imported) => {
                for note in &imported.notes {
                    warn(&format!("{}: {note}", file.display()));
                }
                if args.json.json {
                    print_json(&imported)?;
                } else {
                    let length = web::words::length(imported.duration_ms);
                    print_line(&format!(
                        "imported {} from {}: {}, {} Hz, {length}",
                        imported.id,
                        file.display(),
                        imported.codec,
                        imported.rate
                    ))?;
                }
            }
            // The only one: its reason and its exit code are the command's.
            Err(failure) if args.files.len() == 1 => return Err(failure),
            Err(failure) => {
                failed += 1;
                warn(&failure.to_string());
            }
        }
    }
    archive.close()?;
    if failed == args.files.len() {
        return Err(Failure::new(format!("none of the {failed} files could be imported")));
    }
    Ok(if failed == 0 { Done::All } else { Done::InPart })
}

fn import_one(
    args: &cli::Import,
    settings: &Settings,
    archive: &store::Archive,
    file: &Path,
) -> Result<web::import::Imported, Failure> {
    let now = clock::now();
    let mut about = about(args, file, now)?;
    about.count_for(&settings.rules.people);
    let gate = Gate::new(settings.rules.clone());
    let refused = |why: policy::ImportRefusal| Failure::new(format!("{}: {}", file.display(), why.words()));
    let pass = gate.handle_import(&who(), about.direction).map_err(refused)?;
    Ok(web::import::import(archive, file, &about, &pass, &who(), now)?)
}

/// What the file is about: what the words name, a DAT file beside it, or its name.
fn about(args: &cli::Import, file: &Path, now: Timestamp) -> Result<About, Failure> {
    // First of all: what is missing in the metadata of a file that is not there is no answer.
    let metadata = fs::metadata(file).map_err(|e| Failure::new(format!("{}: {e}", file.display())))?;
    let beside =
        || ["dat", "DAT"].map(|ending| file.with_extension(ending)).into_iter().find(|path| path.is_file());
    let (source, said) = match (&args.meta, args.dat.clone().or_else(beside)) {
        (Some(meta), _) => (meta.clone(), Said::json(&text(meta)?)),
        (None, Some(dat)) => (dat.clone(), Said::dat(&text(&dat)?)),
        (None, None) => (file.to_owned(), Ok(Said::default())),
    };
    let in_source = |source: &PathBuf, what: String| Failure::new(format!("{}: {what}", source.display()));
    let said = said.map_err(|what| in_source(&source, what))?;
    let modified = metadata.modified().ok();
    let modified = modified
        .and_then(|at| i64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok())
        .map(Timestamp::from_millis);
    let stem = file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    said.about(&stem, modified, args.extension.as_deref(), now).map_err(|what| in_source(&source, what))
}

/// A text of bounded length; what is not UTF-8 in it is shown as such.
fn text(path: &Path) -> Result<String, Failure> {
    let failed = |e: std::io::Error| Failure::new(format!("{}: {e}", path.display()));
    let mut bytes = Vec::new();
    console::open(path).map_err(failed)?.take(TEXT_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > TEXT_MAX {
        return Err(Failure::new(format!("{}: it is longer than {TEXT_MAX} bytes", path.display())));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
