//! Several recordings in one ZIP, for a person: an index page, the audio, the facts, sums to check it by, and a signed
//! manifest that proves where it is from.
//!
//! Names of files are recording ids and words of ours; nothing in a name comes from signalling. A recording that
//! cannot be opened is left out and said so, in the page and to the caller. The ZIP has no times but the recordings' and
//! the one of the export, which is given: the same export of the same ledger is the same bytes.

use std::collections::BTreeSet;
use std::io::Write;

use decode::Timestamp;
use store::{Archive, RecordingFacts, RecordingId};

use crate::entries::{Entries, Packing};
use crate::error::Error;
use crate::export::{Export, Exported, FileFormat, Shape, Target};
use crate::manifest::{Exporter, FORMAT, Item, MANIFEST, Manifest, NotExported, SIGNATURE};
use crate::trace::Trace;
use crate::{dat, page, raw};

/// Most recordings in one ZIP: its manifest is held in memory, some 3 kB a recording.
pub const RECORDINGS_MAX: usize = 20_000;

const README: &str = "\
This ZIP holds recordings of telephone calls.

index.html       a list to click on; open it in a browser, it needs no network
<id>.wav         the audio of one recording (or .ogg, .flac)
<id>/            a recording as received: the packets' payloads, with a table
<id>.dat         who and when, as [Key:Value] lines
<id>.sip.pcapng  the call's SIP messages, where they were kept; Wireshark opens it
metadata.jsonl   everything known about each recording, one JSON object per line
SHA256SUMS       check with: sha256sum -c SHA256SUMS
manifest.json    every file with its hash, and for each recording the proof that
                 the archive's ledger names it, and what was left out and why
manifest.sig     the archive's signature over manifest.json
recordings/      where it was asked for, the sealed files, for who has the key

Verify all of it, without the archive, with a copy of its public key:
  earwitness archive verify --bundle THIS.zip --public-key public.json

All times are UTC. In a stereo file, left is the recorded extension and right
the other side. A file is as long as its call: holds and pauses are silence.
The recordings in the archive are encrypted. These copies are not: whoever has
them can hear them.
";

/// What is made of recordings, and in which form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// What the audio is written as.
    pub format: FileFormat,
    /// How the parties are put into channels.
    pub shape: Shape,
    /// The sealed files go in as well.
    pub sealed: bool,
    /// The calls' SIP messages stay out.
    pub without_sip: bool,
}

/// What was put into a ZIP.
#[derive(Debug)]
pub struct Bundled {
    /// The recordings in it, in the order asked for.
    pub exported: Vec<Exported>,
    /// The recordings that could not be exported, and why.
    pub failed: Vec<(RecordingId, Error)>,
    /// What its reader must know of it as a whole: that it is not signed, that it has no proofs.
    pub warnings: Vec<String>,
    /// Length of the ZIP in bytes.
    pub bytes: u64,
}

/// Writes a ZIP of these recordings to `out`; the same id twice counts once. `progress` hears after each recording how
/// many are done and how many there are.
///
/// # Errors
/// When the format cannot hold the shape, when there are more than [`RECORDINGS_MAX`], when `out` does not take the ZIP, or
/// when a recording that had been opened breaks off while it is written; the ZIP does not open then. A recording that
/// cannot be opened is no error here but in [`Bundled::failed`].
pub fn bundle<W: Write>(
    archive: &Archive,
    ids: &[RecordingId],
    selection: Selection,
    exporter: &Exporter,
    out: W,
    mut progress: impl FnMut(usize, usize),
) -> Result<Bundled, Error> {
    let Selection { format, shape, .. } = selection;
    if format != FileFormat::Raw {
        Target::new(format, shape, 8_000, 0)?;
    }
    let mut seen = BTreeSet::new();
    let ids: Vec<RecordingId> = ids.iter().copied().filter(|&id| seen.insert(id)).collect();
    if ids.len() > RECORDINGS_MAX {
        return Err(Error::TooMany { asked: ids.len(), limit: RECORDINGS_MAX });
    }
    let mut bundle = Bundle::new(archive, selection, exporter, out);
    let (mut exported, mut failed) = (Vec::new(), Vec::new());
    for (done, &id) in ids.iter().enumerate() {
        match Opened::open(archive, id, format, shape) {
            Ok(opened) => exported.push(bundle.add(&opened, &format!("{id}/"))?),
            Err(error) => failed.push((id, error)),
        }
        progress(done + 1, ids.len());
    }
    let newest = ids.iter().max().map_or_else(Timestamp::default, RecordingId::started);
    let entries = &mut bundle.entries;
    add_page(archive, entries, newest, format, &exported, &failed)?;
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
    let (bytes, warnings) = bundle.finish(newest, &failed)?;
    Ok(Bundled { exported, failed, warnings, bytes })
}

/// A ZIP being written, and what its manifest will say.
pub(crate) struct Bundle<'a, W: Write> {
    archive: &'a Archive,
    selection: Selection,
    exporter: &'a Exporter,
    pub(crate) entries: Entries<W>,
    items: Vec<Item>,
}

impl<'a, W: Write> Bundle<'a, W> {
    pub(crate) fn new(archive: &'a Archive, selection: Selection, exporter: &'a Exporter, out: W) -> Self {
        Bundle { archive, selection, exporter, entries: Entries::new(out), items: Vec::new() }
    }

    /// Adds what is made of one recording; names of a raw export begin with `prefix`.
    pub(crate) fn add(&mut self, opened: &Opened<'_>, prefix: &str) -> Result<Exported, Error> {
        let entries = &mut self.entries;
        let before = entries.members().len();
        let mut exported = opened.write(entries, prefix)?;
        let (id, when) = (exported.id, exported.id.started());
        let trace = Trace::read(self.archive, id)?;
        if !trace.is_empty() && !self.selection.without_sip {
            entries.add(&sip_name(id), when, Packing::Small, |out| trace.write_pcapng(out))?;
            exported.warnings.extend(trace.warnings());
        }
        let files = entries.members().iter().skip(before).map(|member| member.name.clone()).collect();
        let path = Archive::sealed_path(id);
        let sealed = if self.selection.sealed && opened.facts().state != store::State::Recording {
            entries.add(&path, when, Packing::Stored, |out| Ok(self.archive.copy_sealed(id, out)?))?;
            Some(path)
        } else {
            None
        };
        self.items.push(Item::new(&exported, files, sealed));
        Ok(exported)
    }

    /// Adds the manifest and its signature, and ends the ZIP: its length in bytes, and what its reader must know.
    pub(crate) fn finish(
        self,
        when: Timestamp,
        failed: &[(RecordingId, Error)],
    ) -> Result<(u64, Vec<String>), Error> {
        let Bundle { archive, selection, exporter, mut entries, items } = self;
        let not_exported =
            failed.iter().map(|(id, error)| NotExported { id: *id, why: reason(error).into() }).collect();
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            archive: archive.id().to_owned(),
            public_keys: archive.signing_key(),
            exported: exporter.clone(),
            audio: selection.format,
            channels: selection.shape,
            recordings: items,
            not_exported,
            no_proofs: None,
            members: entries.members().to_vec(),
        };
        let signed = manifest.sign(archive).map_err(std::io::Error::from)?;
        entries.add(MANIFEST, when, Packing::Small, |out| Ok(out.write_all(&signed.manifest)?))?;
        if let Some(signature) = &signed.signature {
            entries.add(SIGNATURE, when, Packing::Small, |out| Ok(writeln!(out, "{signature}")?))?;
        }
        Ok((entries.finish()?, signed.warnings))
    }
}

/// A recording that can be read to its end and that the format can hold.
pub(crate) enum Opened<'a> {
    Audio { export: Box<Export<'a>>, format: FileFormat, shape: Shape },
    Raw(Box<raw::Plan<'a>>),
}

impl<'a> Opened<'a> {
    fn open(archive: &'a Archive, id: RecordingId, format: FileFormat, shape: Shape) -> Result<Self, Error> {
        if format == FileFormat::Raw {
            return Ok(Opened::Raw(Box::new(raw::Plan::prepare(archive, id, shape)?)));
        }
        let export = Box::new(Export::prepare(archive, id)?);
        export.check(format, shape)?;
        Ok(Opened::Audio { export, format, shape })
    }

    fn facts(&self) -> &RecordingFacts {
        match self {
            Opened::Audio { export, .. } => export.facts(),
            Opened::Raw(plan) => &plan.facts,
        }
    }

    /// Adds the audio and its side-car.
    fn write<W: Write>(&self, entries: &mut Entries<W>, prefix: &str) -> Result<Exported, Error> {
        let facts = self.facts();
        let (id, when) = (facts.id, facts.started);
        let (exported, file) = match self {
            Opened::Audio { export, format, shape } => {
                let file = format!("{id}.{}", format.extension());
                let packing = if *format == FileFormat::Wav { Packing::Fast } else { Packing::Stored };
                let (exported, _) =
                    entries.add(&file, when, packing, |out| export.write(*format, *shape, out))?;
                (exported, file)
            }
            Opened::Raw(plan) => (plan.write(entries, prefix)?, prefix.to_owned()),
        };
        let text = dat::sidecar(facts, &file);
        entries.add(&format!("{id}.dat"), when, Packing::Small, |out| Ok(out.write_all(text.as_bytes())?))?;
        Ok(exported)
    }
}

/// The name of the file with a recording's SIP.
fn sip_name(id: RecordingId) -> String {
    format!("{id}.sip.pcapng")
}

fn add_page<W: Write>(
    archive: &Archive,
    entries: &mut Entries<W>,
    when: Timestamp,
    format: FileFormat,
    exported: &[Exported],
    failed: &[(RecordingId, Error)],
) -> Result<(), Error> {
    let names: BTreeSet<String> = entries.members().iter().map(|member| member.name.clone()).collect();
    let ((), _) = entries.add("index.html", when, Packing::Small, |out| {
        page::head(out)?;
        for recording in exported {
            let id = recording.id;
            let link = if format == FileFormat::Raw {
                format!("{id}/recording.json")
            } else {
                format!("{id}.{}", format.extension())
            };
            // No browser plays GSM.
            let playable = matches!(format, FileFormat::Wav | FileFormat::Ogg | FileFormat::Flac);
            let sip = Some(sip_name(id)).filter(|name| names.contains(name));
            let listen =
                page::Listen { link: &link, sip: sip.as_deref(), playable, warnings: &recording.warnings };
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
