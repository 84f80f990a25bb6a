//! `archive export`: recordings out of the archive, decrypted.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use store::{Archive, RecordingId};
use web::{Export, FileFormat, Shape};

use super::archive::resolve_ids;
use super::{open_archive, print_json, warn};
use crate::cli::{self, Channels, ExportFormat};
use crate::clock;
use crate::config;
use crate::failure::{Done, Failure};
use crate::filters::Filters;

pub(crate) fn run(args: &cli::Export) -> Result<Done, Failure> {
    let settings = config::resolve(&args.dir)?;
    let filters = Filters::parse(&args.filters, clock::now())?;
    let archive = open_archive(&settings.archive)?;
    let ids = if args.id.is_empty() {
        let rows = filters.apply(archive.rows()).collect::<Result<Vec<_>, _>>()?;
        rows.iter().map(|row| row.facts.id).collect()
    } else {
        resolve_ids(&archive, &args.id)?
    };
    match (&ids[..], args.format) {
        ([], _) => Err(Failure::new("no recording matches: `earwitness archive list` shows what there is")),
        (&[id], ExportFormat::Wav | ExportFormat::Gsm | ExportFormat::Raw) => export_one(args, &archive, id),
        (ids, _) => export_several(args, &archive, ids),
    }
}

fn shape(args: &cli::Export, format: FileFormat) -> Shape {
    match args.channels {
        Some(Channels::Stereo) => Shape::Stereo,
        Some(Channels::Mono) => Shape::Mono,
        Some(Channels::Near) => Shape::Near,
        Some(Channels::Far) => Shape::Far,
        None if format == FileFormat::Gsm => Shape::Mono,
        None => Shape::Stereo,
    }
}

fn file_format(format: ExportFormat) -> FileFormat {
    match format {
        ExportFormat::Gsm => FileFormat::Gsm,
        ExportFormat::Raw => FileFormat::Raw,
        ExportFormat::Wav | ExportFormat::Zip => FileFormat::Wav,
    }
}

fn export_one(args: &cli::Export, archive: &Archive, id: RecordingId) -> Result<Done, Failure> {
    let format = file_format(args.format);
    let shape = shape(args, format);
    let exported = into_place(&args.output, |out| Ok(web::export(archive, id, format, shape, out)?))?;
    for warning in &exported.warnings {
        warn(warning);
    }
    if args.json.json {
        print_json(&exported)?;
    }
    Ok(Done::All)
}

fn export_several(args: &cli::Export, archive: &Archive, ids: &[RecordingId]) -> Result<Done, Failure> {
    let format = file_format(args.format);
    let shape = shape(args, format);
    let terminal = io::stderr().is_terminal();
    let progress = |done, total| {
        if terminal {
            // Progress that cannot be shown is no failure.
            let _ = write!(
                io::stderr(),
                "\r{done} of {total} recordings{}",
                if done == total { "\n" } else { "" }
            );
        }
    };
    let bundled =
        into_place(&args.output, |out| Ok(web::bundle(archive, ids, format, shape, out, progress)?))?;
    for exported in &bundled.exported {
        for warning in &exported.warnings {
            warn(&format!("{}: {warning}", exported.id));
        }
        if args.json.json {
            print_json(exported)?;
        }
    }
    for (id, error) in &bundled.failed {
        warn(&format!("{id}: {error}"));
    }
    Ok(if bundled.failed.is_empty() { Done::All } else { Done::InPart })
}

/// Writes beside the target and moves it into place when it is whole, so that a failure leaves nothing half-written.
fn into_place<T>(
    target: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
) -> Result<T, Failure> {
    if target.as_os_str() == "-" {
        let mut out = BufWriter::new(io::stdout().lock());
        let value = write(&mut out)?;
        out.flush()?;
        return Ok(value);
    }
    let part = part_beside(target)?;
    let written = File::create(&part).map_err(|error| in_file(&part, &error)).and_then(|file| {
        let mut out = BufWriter::new(file);
        let value = write(&mut out)?;
        out.flush().map_err(|error| in_file(&part, &error))?;
        fs::rename(&part, target).map_err(|error| in_file(target, &error))?;
        Ok(value)
    });
    if written.is_err() {
        // The failure is what counts; a part that cannot be removed is only litter.
        let _ = fs::remove_file(&part);
    }
    written
}

fn part_beside(target: &Path) -> Result<PathBuf, Failure> {
    let name = target.file_name().filter(|_| !target.is_dir());
    let name =
        name.ok_or_else(|| Failure::usage(format!("-o {}: name a file, or - for stdout", target.display())))?;
    let mut part = name.to_owned();
    part.push(".part");
    Ok(target.with_file_name(part))
}

fn in_file(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

/// The timeline of a recording, without writing it.
pub(crate) fn survey(archive: &Archive, id: RecordingId) -> Result<Export<'_>, web::Error> {
    Export::prepare(archive, id)
}
