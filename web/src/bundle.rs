//! Several recordings in one ZIP, for a person: an index page, the audio, the facts, and sums to check it by.
//!
//! Names of files are recording ids and words of ours; nothing in a name comes from signalling. A recording that
//! cannot be opened is left out and said so, in the page and to the caller. The ZIP has no times but the recordings':
//! the same selection gives the same bytes.

use std::collections::BTreeSet;
use std::io::Write;

use decode::Timestamp;
use store::{Archive, RecordingFacts, RecordingId};

use crate::entries::{Entries, Packing};
use crate::error::Error;
use crate::export::{Export, Exported, FileFormat, Shape};
use crate::{dat, page, raw};

const README: &str = "\
This ZIP holds recordings of telephone calls.

index.html       a list to click on; open it in a browser, it needs no network
<id>.wav         the audio of one recording
<id>/            a recording as received: the packets' payloads, with a table
<id>.dat         who and when, as [Key:Value] lines
metadata.jsonl   everything known about each recording, one JSON object per line
SHA256SUMS       check with: sha256sum -c SHA256SUMS

All times are UTC. In a stereo file, left is the recorded extension and right
the other side. A file is as long as its call: holds and pauses are silence.
The recordings in the archive are encrypted and signed. These copies are
neither: whoever has them can hear them.
";

/// What was put into a ZIP.
#[derive(Debug)]
pub struct Bundled {
    /// The recordings in it, in the order asked for.
    pub exported: Vec<Exported>,
    /// The recordings that could not be exported, and why.
    pub failed: Vec<(RecordingId, Error)>,
    /// Length of the ZIP in bytes.
    pub bytes: u64,
}

/// Writes a ZIP of these recordings to `out`; the same id twice counts once. `progress` hears after each recording how
/// many are done and how many there are.
///
/// # Errors
/// When the format cannot hold the shape, when `out` does not take the ZIP, or when a recording that had been opened
/// breaks off while it is written; the ZIP does not open then. A recording that cannot be opened is no error here but
/// in [`Bundled::failed`].
pub fn bundle<W: Write>(
    archive: &Archive,
    ids: &[RecordingId],
    format: FileFormat,
    shape: Shape,
    out: W,
    mut progress: impl FnMut(usize, usize),
) -> Result<Bundled, Error> {
    if format != FileFormat::Raw {
        crate::wav::Layout::new(format, shape, 8_000, 0)?;
    }
    let mut seen = BTreeSet::new();
    let ids: Vec<RecordingId> = ids.iter().copied().filter(|&id| seen.insert(id)).collect();
    let mut entries = Entries::new(out);
    let (mut exported, mut failed) = (Vec::new(), Vec::new());
    for (done, &id) in ids.iter().enumerate() {
        match Opened::open(archive, id, format, shape) {
            Ok(opened) => exported.push(opened.write(&mut entries)?),
            Err(error) => failed.push((id, error)),
        }
        progress(done + 1, ids.len());
    }
    let newest = ids.iter().max().map_or_else(Timestamp::default, RecordingId::started);
    add_page(archive, &mut entries, newest, format, &exported, &failed)?;
    entries.add("metadata.jsonl", newest, Packing::Small, |out| {
        for recording in &exported {
            serde_json::to_writer(&mut *out, &facts(archive, recording.id)?).map_err(std::io::Error::from)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    })?;
    entries.add("README.txt", newest, Packing::Small, |out| Ok(out.write_all(README.as_bytes())?))?;
    let sums = entries.sums();
    entries.add("SHA256SUMS", newest, Packing::Small, |out| Ok(out.write_all(sums.as_bytes())?))?;
    Ok(Bundled { exported, failed, bytes: entries.finish()? })
}

/// A recording that can be read to its end and that the format can hold.
enum Opened<'a> {
    Audio { export: Box<Export<'a>>, format: FileFormat, shape: Shape },
    Raw(Box<raw::Plan<'a>>),
}

impl<'a> Opened<'a> {
    fn open(archive: &'a Archive, id: RecordingId, format: FileFormat, shape: Shape) -> Result<Self, Error> {
        if format == FileFormat::Raw {
            return Ok(Opened::Raw(Box::new(raw::Plan::prepare(archive, id, shape)?)));
        }
        let export = Box::new(Export::prepare(archive, id)?);
        export.bytes(format, shape)?;
        Ok(Opened::Audio { export, format, shape })
    }

    /// Adds the audio and its side-car.
    fn write<W: Write>(&self, entries: &mut Entries<W>) -> Result<Exported, Error> {
        let facts = match self {
            Opened::Audio { export, .. } => export.facts(),
            Opened::Raw(plan) => &plan.facts,
        };
        let (id, when) = (facts.id, facts.started);
        let (exported, file) = match self {
            Opened::Audio { export, format, shape } => {
                let file = format!("{id}.wav");
                let packing = if *format == FileFormat::Gsm { Packing::Stored } else { Packing::Fast };
                let (exported, _) =
                    entries.add(&file, when, packing, |out| export.write(*format, *shape, out))?;
                (exported, file)
            }
            Opened::Raw(plan) => (plan.write(entries, &format!("{id}/"))?, format!("{id}/")),
        };
        let text = dat::sidecar(facts, &file);
        entries.add(&format!("{id}.dat"), when, Packing::Small, |out| Ok(out.write_all(text.as_bytes())?))?;
        Ok(exported)
    }
}

fn add_page<W: Write>(
    archive: &Archive,
    entries: &mut Entries<W>,
    when: Timestamp,
    format: FileFormat,
    exported: &[Exported],
    failed: &[(RecordingId, Error)],
) -> Result<(), Error> {
    let ((), _) = entries.add("index.html", when, Packing::Small, |out| {
        page::head(out)?;
        for recording in exported {
            let id = recording.id;
            let link =
                if format == FileFormat::Raw { format!("{id}/recording.json") } else { format!("{id}.wav") };
            // No browser plays GSM.
            let playable = format == FileFormat::Wav;
            let listen = page::Listen { link: &link, playable, warnings: &recording.warnings };
            page::row(out, &facts(archive, id)?, &listen)?;
        }
        for (id, error) in failed {
            page::failed(out, *id, reason(error))?;
        }
        Ok(page::tail(out)?)
    })?;
    Ok(())
}

/// Why a recording is not in the ZIP, for its reader: without the paths of this machine, which the caller's error has.
fn reason(error: &Error) -> &'static str {
    match error {
        Error::Store(store::Error::Tampered { .. }) => "it is not as it was sealed",
        Error::Store(
            store::Error::KeyMissing { .. }
            | store::Error::KeyLocked { .. }
            | store::Error::KeyUnknown { .. }
            | store::Error::WrongKey { .. },
        ) => "its key was not there",
        Error::Store(store::Error::NotFound { .. }) => "the archive does not have it",
        Error::TooLong { .. } => "it is too long for this file format",
        Error::Undecodable { .. } => {
            "its encodings were kept and could not be decoded there; the raw form has them"
        }
        _ => "it could not be read",
    }
}

/// The facts again: kept in the archive and not in memory, because a ZIP may hold very many recordings.
fn facts(archive: &Archive, id: RecordingId) -> Result<RecordingFacts, Error> {
    Ok(archive.row(id)?.facts)
}
