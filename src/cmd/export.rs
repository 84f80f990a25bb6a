//! `archive export`: recordings out of the archive, decrypted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use store::locations::Duty;
use store::{Archive, RecordingId};
use tempfile::NamedTempFile;
use web::{Export, Exporter, FileFormat, Selection, Shape, Trace};

use super::archive::resolve_ids;
use super::upkeep::copy_checkpoints;
use super::{copies, open_archive, print_json, warn};
use crate::cli::{self, Channels, ExportFormat, VconBody};
use crate::clock;
use crate::config;
use crate::console::{self, who};
use crate::failure::{Done, Failure};
use crate::filters;
use crate::passphrase;

pub(crate) fn run(args: &cli::Export) -> Result<Done, Failure> {
    if args.json.json && args.output.as_os_str() == "-" {
        return Err(Failure::usage("--json and -o - would both write to the standard output"));
    }
    match (args.id.is_empty(), args.filters.is_empty()) {
        (true, true) if args.format != ExportFormat::Zip => {
            return Err(Failure::usage(
                "name recordings, or choose them by a filter such as --since today; --format zip alone takes them all",
            ));
        }

        (false, false) => return Err(Failure::usage("name recordings or choose them by filters, not both")),
        _ => {}
    }
    if args.format == ExportFormat::Pcap && (args.channels.is_some() || args.dat) {
        return Err(Failure::usage(
            "--format pcap holds no audio: --channels and --dat say nothing about it",
        ));
    }
    let settings = config::resolve(&args.dir)?;
    let query = filters::query(&args.filters, clock::now())?;
    let archive = open_archive(&settings.archive)?;
    copies::use_locations(&archive, &settings, Duty::Read)?;
    let ids = if args.id.is_empty() {
        archive.find(&query).collect::<Result<Vec<_>, _>>()?
    } else {
        resolve_ids(&archive, &args.id)?
    };
    passphrase::unlock(&archive, true)?;
    // The checkpoint that the proofs lead to is then kept elsewhere too.
    if args.makes_zip(ids.len()) && args.dat {
        return Err(Failure::usage("--dat: a ZIP holds a DAT file for each recording already"));
    }
    if args.makes_zip(ids.len()) {
        if let Err(failure) = copy_checkpoints(&archive, &settings) {
            warn(&format!("no checkpoint is copied: {failure}"));
        }
    } else if args.sealed {
        return Err(Failure::usage("--sealed: the sealed files go into a ZIP; add --format zip or raw"));
    }
    match (&ids[..], args.format) {
        ([], _) => Err(Failure::new("no recording matches: `earwitness archive list` shows what there is")),
        (ids, ExportFormat::Vcon | ExportFormat::Pcap) if ids.len() != 1 => Err(Failure::usage(format!(
            "--format vcon and pcap hold one recording, and {} are chosen; --format zip takes several, with their SIP",
            ids.len()
        ))),
        (&[id], ExportFormat::Pcap) => export_sip(args, &archive, id),
        (&[id], format) if format != ExportFormat::Zip => export_one(args, &archive, id),
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

fn selection(args: &cli::Export, format: FileFormat) -> Selection {
    Selection { format, shape: shape(args, format), sealed: args.sealed, without_sip: false }
}

fn exporter() -> Exporter {
    Exporter::new(who(), clock::now())
}

impl cli::Export {
    /// Is it a ZIP that so many recordings become?
    fn makes_zip(&self, recordings: usize) -> bool {
        matches!(self.format, ExportFormat::Zip | ExportFormat::Raw)
            || (recordings != 1 && !matches!(self.format, ExportFormat::Vcon | ExportFormat::Pcap))
    }
}

fn file_format(format: ExportFormat) -> FileFormat {
    match format {
        ExportFormat::Gsm => FileFormat::Gsm,
        ExportFormat::Ogg => FileFormat::Ogg,
        ExportFormat::Flac => FileFormat::Flac,
        ExportFormat::Raw => FileFormat::Raw,
        ExportFormat::Wav | ExportFormat::Zip | ExportFormat::Vcon | ExportFormat::Pcap => FileFormat::Wav,
    }
}

fn export_one(args: &cli::Export, archive: &Archive, id: RecordingId) -> Result<Done, Failure> {
    let format = match (args.format, args.body) {
        (ExportFormat::Vcon, VconBody::Ogg) => FileFormat::Ogg,
        (format, _) => file_format(format),
    };
    let shape = shape(args, format);
    let sidecar = sidecar(args)?;
    let exported = into_place(&args.output, archive.dir(), |out| match format {
        _ if args.format == ExportFormat::Vcon => {
            Ok(web::vcon::export(archive, id, selection(args, format), &exporter(), out)?)
        }
        FileFormat::Raw => Ok(web::raw::export(archive, id, selection(args, format), &exporter(), out)?),
        format => Ok(web::export(archive, id, format, shape, out)?),
    })?;
    if let Some(path) = &sidecar {
        let name =
            args.output.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let text = web::dat::sidecar(&archive.row(id)?.facts, &name);
        into_place(path, archive.dir(), |out| Ok(out.write_all(text.as_bytes())?))?;
    }
    for warning in &exported.warnings {
        warn(warning);
    }
    if args.json.json {
        print_json(&exported)?;
    }
    Ok(if exported.undecoded == 0 { Done::All } else { Done::InPart })
}

/// The SIP of one recording as a capture file.
fn export_sip(args: &cli::Export, archive: &Archive, id: RecordingId) -> Result<Done, Failure> {
    let trace = Trace::read(archive, id)?;
    if trace.is_empty() {
        return Err(Failure::new(format!(
            "{id}: no SIP is kept with it; there is some with calls that were recorded with `sip = true` and had signalling"
        )));
    }
    let bytes = into_place(&args.output, archive.dir(), |out| Ok(trace.write_pcapng(out)?))?;
    for warning in trace.warnings() {
        warn(&warning);
    }
    if args.json.json {
        let (messages, left_out) = (trace.len(), trace.left_out());
        print_json(
            &serde_json::json!({ "id": id, "messages": messages, "left_out": left_out, "bytes": bytes }),
        )?;
    }
    Ok(Done::All)
}

/// Where the DAT file of a single export goes.
fn sidecar(args: &cli::Export) -> Result<Option<PathBuf>, Failure> {
    if !args.dat {
        return Ok(None);
    }
    let path = args.output.with_extension("dat");
    if args.output.as_os_str() == "-" || path == args.output {
        return Err(Failure::usage(
            "--dat: the DAT file stands beside a file with another ending; name one with -o",
        ));
    }
    Ok(Some(path))
}

fn export_several(args: &cli::Export, archive: &Archive, ids: &[RecordingId]) -> Result<Done, Failure> {
    let format = file_format(args.format);
    let terminal = console::err().is_terminal();
    let progress = |done, total| {
        if terminal {
            // Progress that cannot be shown is no failure.
            let _ = write!(
                console::err(),
                "\r{done} of {total} recordings{}",
                if done == total { "\n" } else { "" }
            );
        }
    };
    let bundled = into_place(&args.output, archive.dir(), |out| {
        Ok(web::bundle(archive, ids, selection(args, format), &exporter(), out, progress)?)
    })?;
    for exported in &bundled.exported {
        for warning in &exported.warnings {
            warn(&format!("{}: {warning}", exported.id));
        }
        if args.json.json {
            print_json(exported)?;
        }
    }
    for warning in &bundled.warnings {
        warn(warning);
    }
    for (id, error) in &bundled.failed {
        warn(&format!("{id}: {error}"));
    }
    let whole = bundled.failed.is_empty() && bundled.exported.iter().all(|exported| exported.undecoded == 0);
    Ok(if whole { Done::All } else { Done::InPart })
}

/// Writes beside the target and moves it into place when it is whole, so that a failure leaves nothing half-written. What
/// is no plain file (a pipe, a device) is written to as it stands, and a symbolic link is followed.
pub(super) fn into_place<T>(
    target: &Path,
    archive: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
) -> Result<T, Failure> {
    if let Some(file) = console::guests_output() {
        return through(file, target, write);
    }
    let opened = Target::open(target, archive)?;
    let value = match opened.file() {
        Some(file) => through(file, target, write)?,
        None => through(console::out(), Path::new("standard output"), write)?,
    };
    opened.into_place()?;
    Ok(value)
}

/// Where an export goes.
pub(super) enum Target {
    Stdout,
    /// A pipe or a device, which is written to as it stands.
    Device(File),
    /// A file beside the one that is named, until it is whole.
    Part(NamedTempFile, PathBuf),
}

impl Target {
    /// Opens what `-o` names; nothing is there under its name before it is whole.
    pub(super) fn open(target: &Path, archive: &Path) -> Result<Target, Failure> {
        if target.as_os_str() == "-" {
            if console::out().is_terminal() {
                return Err(Failure::usage(
                    "-o -: audio is not for a terminal; send it through a pipe, or name a file",
                ));
            }
            return Ok(Target::Stdout);
        }
        if console::is_guest() {
            return Err(Failure::usage(
                "--dat: the running appliance writes no second file; --format zip has the DAT file in it",
            ));
        }
        let target = &fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
        if target.is_dir() || target.file_name().is_none() {
            return Err(Failure::usage(format!("-o {}: name a file, or - for stdout", target.display())));
        }
        let folder =
            target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = fs::canonicalize(folder)
            .map_err(|error| Failure::new(format!("-o: there is no folder {}: {error}", folder.display())))?;
        if fs::canonicalize(archive).is_ok_and(|archive| folder.starts_with(archive)) {
            return Err(Failure::usage(format!(
                "-o {}: that is inside the archive; name a place outside",
                target.display()
            )));
        }
        if target.exists() && !target.is_file() {
            let file =
                OpenOptions::new().write(true).open(target).map_err(|error| in_file(target, &error))?;
            return Ok(Target::Device(file));
        }
        // Readable for its owner alone: what leaves the archive is no longer sealed.
        let part = NamedTempFile::new_in(&folder).map_err(|error| in_file(&folder, &error))?;
        Ok(Target::Part(part, target.to_owned()))
    }

    /// What is written to; none for the standard output.
    pub(super) fn file(&self) -> Option<&File> {
        match self {
            Target::Stdout => None,
            Target::Device(file) => Some(file),
            Target::Part(part, _) => Some(part.as_file()),
        }
    }

    /// It is whole.
    pub(super) fn into_place(self) -> Result<(), Failure> {
        if let Target::Part(part, target) = self {
            part.persist(&target).map_err(|error| in_file(&target, &error.error))?;
        }
        Ok(())
    }
}

fn through<T>(
    out: impl Write,
    name: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut out = BufWriter::new(out);
    let value = write(&mut out)?;
    out.flush().map_err(|error| in_file(name, &error))?;
    Ok(value)
}

fn in_file(path: &Path, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return io::Error::from(error.kind()).into();
    }
    Failure::new(format!("{}: {error}", path.display()))
}

/// The timeline of a recording, without writing it.
pub(crate) fn survey(archive: &Archive, id: RecordingId) -> Result<Export<'_>, web::Error> {
    Export::prepare(archive, id)
}
