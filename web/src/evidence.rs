//! Verifies an exported ZIP without the archive: that every file is what the manifest says, that the archive's key signed the
//! manifest, and that the ledger names each recording.
//!
//! The ZIP may be anybody's: its directory is read within [`DIRECTORY_MAX`], the manifest within [`MANIFEST_MAX`], files are
//! unpacked one after the other into a hash and never past the length that the signed manifest states, and no name of it
//! becomes a path. A manifest that is not signed ends the reading.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::rc::Rc;

use sha2::{Digest, Sha256};
use store::{Compared, Proof, RecordingId, Trusted};
use zip::ZipArchive;

use crate::entries::hex;
use crate::manifest::{FORMAT, Item, MANIFEST, Manifest, Member, SIGNATURE};

/// What may be read to find out what is in the ZIP, in bytes: some 500,000 files.
pub const DIRECTORY_MAX: u64 = 64 << 20;
/// Longest manifest, in bytes: some 40,000 recordings.
pub const MANIFEST_MAX: u64 = 128 << 20;
/// Longest signature file, in bytes.
const SIGNATURE_MAX: u64 = 1024;
/// Longest sealed file: it counts in 32 bits.
const SEALED_MAX: u64 = u32::MAX as u64 + 8;
/// Longest name, in bytes.
const NAME_MAX: usize = 120;
/// What may stand behind a file's content in the ZIP: a data descriptor with lengths of 64 bits.
const DESCRIPTOR_MAX: u64 = 24;
/// The end record of a ZIP without a comment.
const END_LEN: u64 = 22;
const END_MAGIC: &[u8] = b"PK\x05\x06";
/// Problems named; the rest is counted.
const PROBLEMS_MAX: usize = 100;
/// Bytes unpacked at a time.
const BLOCK_LEN: usize = 64 * 1024;

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file in the ZIP that it is about; none for the whole.
    pub member: Option<String>,
    /// What.
    pub what: String,
}

/// What was found out about a ZIP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What it says of itself; none when it cannot be read.
    pub manifest: Option<Manifest>,
    /// The name of the key that everything was verified with.
    pub key: String,
    /// Was that key given from elsewhere? If not, it came with the ZIP, and whoever made the ZIP may have made the key.
    pub trusted: bool,
    /// Files that are what the manifest says.
    pub members: usize,
    /// Recordings that the ledger is proven to name, each with the line's number and the lines that the checkpoint covers.
    pub proven: Vec<(RecordingId, u64, u64)>,
    /// Recordings that the ZIP has no proof for.
    pub unproven: Vec<RecordingId>,
    /// Sealed files that are whole, signed, and the ones that the ledger names.
    pub sealed: usize,
    /// What else is to be known: of checkpoints that could not be compared.
    pub notes: Vec<String>,
    /// Checkpoints kept elsewhere that are of the same ledger.
    pub checkpoints: usize,
    /// What does not hold.
    pub problems: Vec<Problem>,
    /// Problems beyond those named.
    pub more_problems: usize,
}

impl Report {
    /// Does everything hold?
    #[must_use]
    pub fn holds(&self) -> bool {
        self.problems.is_empty()
    }

    fn problem(&mut self, member: Option<&str>, what: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            let member = member.map(|name| name.escape_debug().to_string());
            self.problems.push(Problem { member, what: what.into() });
        } else {
            self.more_problems += 1;
        }
    }

    /// What is proven, and what is not, in sentences.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let Some(manifest) = self.manifest.as_ref().filter(|_| self.holds()) else {
            return vec!["this proves nothing: something in it is not what was exported".to_owned()];
        };
        let (exporter, archive) = (&manifest.exported, manifest.archive.escape_debug());
        let whose = if self.trusted { "the given key" } else { "the key that came with it," };
        let mut said = vec![
            format!(
                "exported from archive {archive} by {} at {}, signed by {whose} {}",
                exporter.by.escape_debug(),
                exporter.at,
                self.key
            ),
            format!("{} files are what was exported, and none is missing or added", self.members),
        ];
        let recordings = manifest.recordings.len();
        if let Some((_, _, lines)) = self.proven.first() {
            said.push(format!(
                "{} of {recordings} recordings are named by the archive's ledger, which had {lines} lines then",
                self.proven.len()
            ));
        }
        if !self.unproven.is_empty() {
            let why = manifest.no_proofs.as_deref().unwrap_or("the ledger did not name them with a number");
            said.push(format!("{} recordings have no proof: {}", self.unproven.len(), why.escape_debug()));
        }
        if !manifest.not_exported.is_empty() {
            said.push(format!(
                "{} recordings that were asked for are not in it",
                manifest.not_exported.len()
            ));
        }
        let in_part = manifest.recordings.iter().filter(|item| !item.left_out.is_empty()).count();
        if in_part > 0 {
            said.push(format!(
                "of {in_part} recordings something was left out: manifest.json says what and why"
            ));
        }
        if self.sealed > 0 {
            said.push(format!("{} sealed files are the ones that the ledger names", self.sealed));
        }
        if self.sealed < recordings {
            said.push(
                "that the audio was made of these recordings is the archive's signed word; with the sealed files (export \
                 --sealed) whoever has the key can make it again"
                    .to_owned(),
            );
        }
        if self.checkpoints > 0 {
            said.push(format!("{} checkpoints kept elsewhere are of the same ledger", self.checkpoints));
        }
        said.extend(self.notes.iter().cloned());
        if !self.trusted {
            said.push(
                "this proves only that the bundle agrees with itself: the key came with it, and anybody can make one. Give \
                 --public-key a copy of the archive's keys/public.json from a source that you trust"
                    .to_owned(),
            );
        }
        said
    }
}

/// Verifies a ZIP that `bundle` or a raw export made, with what is trusted.
///
/// # Errors
/// When the file cannot be read or the temporary one of a sealed recording cannot be written. What is wrong with the ZIP is in the report.
pub fn verify<R: Read + Seek>(mut zip: R, trusted: &Trusted) -> io::Result<Report> {
    let mut report = Report::default();
    if !ends_as_a_zip(&mut zip)? {
        report.problem(
            None,
            "it does not end as a ZIP of an export does: it was cut, or something was added behind it",
        );
        return Ok(report);
    }
    let left = Rc::new(Cell::new(DIRECTORY_MAX));
    let bounded = Bounded { inner: zip, left: Rc::clone(&left) };
    let mut zip = match ZipArchive::new(bounded) {
        Ok(zip) => zip,
        Err(error) => {
            report.problem(None, format!("it is not a whole ZIP: {error}"));
            return Ok(report);
        }
    };
    left.set(u64::MAX);
    structure(&mut zip, &mut report);
    if !report.holds() {
        return Ok(report);
    }
    let Some(manifest) = signed_manifest(&mut zip, trusted, &mut report) else { return Ok(report) };
    let mut check = Check { key: manifest.1, report };
    let manifest = manifest.0;
    check.members(&mut zip, &manifest)?;
    check.recordings(&manifest);
    check.checkpoints(&manifest, trusted);
    check.report.manifest = Some(manifest);
    Ok(check.report)
}

/// Is the end record the last thing in the file?
fn ends_as_a_zip<R: Read + Seek>(zip: &mut R) -> io::Result<bool> {
    let len = zip.seek(SeekFrom::End(0))?;
    let Some(at) = len.checked_sub(END_LEN) else { return Ok(false) };
    zip.seek(SeekFrom::Start(at))?;
    let mut magic = [0; END_MAGIC.len()];
    zip.read_exact(&mut magic)?;
    zip.rewind()?;
    Ok(magic == END_MAGIC)
}

/// Is every byte of the file part of one file in it, and does each reader see the same ones?
fn structure<R: Read + Seek>(zip: &mut ZipArchive<R>, report: &mut Report) {
    if let Err(error) = zip.validate_header_consistency() {
        return report.problem(None, format!("its parts contradict each other: {error}"));
    }
    if zip.offset() != 0 || !zip.comment().is_empty() {
        return report.problem(None, "there is something before or behind the ZIP");
    }
    let mut spans = Vec::with_capacity(zip.len());
    for index in 0..zip.len() {
        let Ok(file) = zip.by_index_raw(index) else {
            return report.problem(None, format!("file number {index} in it cannot be read"));
        };
        let name = String::from_utf8_lossy(file.name_raw()).into_owned();
        if !is_ours(&name) || file.is_symlink() || file.encrypted() {
            return report.problem(Some(&name), "earwitness makes no such file");
        }
        let end = file.data_start().and_then(|start| start.checked_add(file.compressed_size()));
        spans.push((file.header_start(), end.unwrap_or(u64::MAX)));
    }
    spans.sort_unstable();
    spans.push((zip.central_directory_start(), 0));
    let mut at = 0;
    for (start, end) in spans {
        if start < at || start - at > DESCRIPTOR_MAX {
            return report.problem(None, format!("there are bytes at {at} that belong to no file in it"));
        }
        at = end;
    }
}

/// A name that an export can have: letters, digits, `.`, `-` and `/`, in no other folder than its own.
fn is_ours(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    name.len() <= NAME_MAX
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "./-".contains(c))
        && name.split('/').all(part)
}

/// The manifest, when its signature holds, and the key that it holds by.
fn signed_manifest<R: Read + Seek>(
    zip: &mut ZipArchive<R>,
    trusted: &Trusted,
    report: &mut Report,
) -> Option<(Manifest, [u8; 32])> {
    let mut small = |name: &str, max: u64| -> Result<Vec<u8>, String> {
        let file = zip.by_name(name).map_err(|_| "it is missing".to_owned())?;
        let mut bytes = Vec::new();
        file.take(max + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        if bytes.len() as u64 > max { Err("it is too long".to_owned()) } else { Ok(bytes) }
    };
    let mut read =
        |name: &str, max: u64| small(name, max).map_err(|what| report.problem(Some(name), what)).ok();
    let text = read(MANIFEST, MANIFEST_MAX)?;
    let signature = read(SIGNATURE, SIGNATURE_MAX)?;
    let manifest: Manifest = match serde_json::from_slice(&text) {
        Ok(manifest) => manifest,
        Err(error) => {
            report.problem(Some(MANIFEST), format!("it cannot be read: {error}"));
            return None;
        }
    };
    if manifest.format != FORMAT {
        report.problem(Some(MANIFEST), "it is of a form that this version does not know");
        return None;
    }
    let named = manifest.public_keys.signing();
    let Some(key) = trusted.public_key.or(named) else {
        report.problem(Some(MANIFEST), "it names no key");
        return None;
    };
    report.key = store::key_name(&key);
    report.trusted = trusted.public_key.is_some();
    if !store::manifest_is_signed(&text, &String::from_utf8_lossy(&signature), &key) {
        let named = named.map_or_else(|| "none".to_owned(), |key| store::key_name(&key));
        let what = format!(
            "it was changed, or signed by another key: the signature is not that of key {} (the manifest names {named}); nothing \
             else was looked at",
            report.key
        );
        report.problem(Some(MANIFEST), what);
        return None;
    }
    if named != Some(key) {
        report.problem(Some(MANIFEST), "it names another key than the one that signed it");
        return None;
    }
    Some((manifest, key))
}

/// Verifying, with a key that the manifest is signed by.
struct Check {
    key: [u8; 32],
    report: Report,
}

impl Check {
    /// Every file is named once and is what the manifest says; sealed ones are verified on the way.
    fn members<R: Read + Seek>(&mut self, zip: &mut ZipArchive<R>, manifest: &Manifest) -> io::Result<()> {
        let sealed: BTreeMap<&str, &Item> =
            manifest.recordings.iter().filter_map(|item| Some((item.sealed.as_deref()?, item))).collect();
        let mut named: BTreeSet<&str> = [MANIFEST, SIGNATURE].into();
        for member in &manifest.members {
            if !named.insert(&member.name) {
                self.report.problem(Some(&member.name), "the manifest names it twice");
                continue;
            }
            let held = match sealed.get(member.name.as_str()) {
                None => hash(zip, member, &mut io::sink())?,
                Some(item) => self.sealed(zip, member, item)?,
            };
            match held {
                Ok(()) => self.report.members += 1,
                Err(what) => self.report.problem(Some(&member.name), what),
            }
        }
        let there: Vec<String> =
            zip.file_names_raw().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        for name in there.iter().filter(|name| !named.contains(name.as_str())) {
            self.report.problem(Some(name), "it was added: the manifest does not name it");
        }
        for file in manifest.recordings.iter().flat_map(|item| item.files.iter().chain(&item.sealed)) {
            if !named.contains(file.as_str()) {
                self.report.problem(Some(file), "a recording's file is not among the files of the manifest");
            }
        }
        Ok(())
    }

    /// A sealed file: what the manifest says, signed, and the one that the ledger names.
    fn sealed<R: Read + Seek>(
        &mut self,
        zip: &mut ZipArchive<R>,
        member: &Member,
        item: &Item,
    ) -> io::Result<Result<(), String>> {
        if member.bytes > SEALED_MAX {
            return Ok(Err("it is longer than a sealed file can be".to_owned()));
        }
        let mut copy = tempfile::NamedTempFile::new()?;
        if let Err(what) = hash(zip, member, &mut copy)? {
            return Ok(Err(what));
        }
        copy.flush()?;
        Ok(match store::verify_sealed(copy.path(), &self.key) {
            Ok(sealed) if sealed.facts.id != item.id => Err("it is another recording's".to_owned()),
            Ok(sealed) if Some(&sealed.signed) != item.signed.as_ref() => {
                Err("it is genuine, but not the one that the ledger names".to_owned())
            }
            Ok(_) => {
                self.report.sealed += 1;
                Ok(())
            }
            Err(store::Error::Tampered { what, .. } | store::Error::Damaged { what, .. }) => Err(what),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Each recording's proof leads from its line to a checkpoint of this archive.
    fn recordings(&mut self, manifest: &Manifest) {
        let mut seen = BTreeSet::new();
        for item in &manifest.recordings {
            let id = item.id.to_string();
            if !seen.insert(item.id) {
                self.report.problem(Some(&id), "the manifest has it twice");
            }
            let Some(proof) = &item.proof else {
                self.report.unproven.push(item.id);
                continue;
            };
            match self.follow(proof, item, &manifest.archive) {
                Ok(lines) => self.report.proven.push((item.id, proof.leaf, lines)),
                Err(what) => self.report.problem(Some(&id), format!("its proof does not hold: {what}")),
            }
        }
    }

    fn follow(&self, proof: &Proof, item: &Item, archive: &str) -> Result<u64, String> {
        let proven = proof.verify(&self.key)?;
        if proven.checkpoint.archive != archive {
            return Err(format!("it is of another archive, {}", proven.checkpoint.archive.escape_debug()));
        }
        if proven.id != item.id {
            return Err(format!("it is of another recording, {}", proven.id));
        }
        if item.signed.as_ref() != Some(&proven.signed) {
            return Err("the ledger names another digest".to_owned());
        }
        Ok(proven.checkpoint.size)
    }

    /// Holds the proofs' checkpoints against those that were kept elsewhere.
    fn checkpoints(&mut self, manifest: &Manifest, trusted: &Trusted) {
        let mut proofs: Vec<&Proof> = manifest.recordings.iter().filter_map(|i| i.proof.as_ref()).collect();
        proofs.dedup_by(|a, b| a.checkpoint == b.checkpoint);
        for (place, note) in &trusted.checkpoints {
            if proofs.is_empty() {
                self.report
                    .notes
                    .push(format!("{place}: there is no proof in the bundle to hold against it"));
            }
            for proof in &proofs {
                match proof.compare(note, &self.key) {
                    Ok(Compared::Same) => self.report.checkpoints += 1,
                    Ok(Compared::OfOtherLength { lines, proof_lines }) => self.report.notes.push(format!(
                        "{place}: it covers {lines} lines of the ledger and the bundle's {proof_lines}; that the one grew out of \
                         the other can be told with the archive alone (archive verify --checkpoint)"
                    )),
                    Err(what) => self.report.problem(Some(place), what),
                }
            }
        }
    }
}

/// Unpacks one file into `copy` and compares it with what the manifest says; never more than that length and a byte.
fn hash<R: Read + Seek>(
    zip: &mut ZipArchive<R>,
    member: &Member,
    copy: &mut dyn Write,
) -> io::Result<Result<(), String>> {
    let Ok(file) = zip.by_name(&member.name) else { return Ok(Err("it is missing".to_owned())) };
    let mut file = file.take(member.bytes.saturating_add(1));
    let (mut hash, mut block, mut bytes) = (Sha256::new(), vec![0; BLOCK_LEN], 0_u64);
    loop {
        let read = match file.read(&mut block) {
            Ok(0) => break,
            Ok(read) => block.get(..read).unwrap_or_default(),
            Err(error) => return Ok(Err(format!("it was changed: {error}"))),
        };
        bytes += read.len() as u64;
        hash.update(read);
        copy.write_all(read)?;
    }
    Ok(if bytes != member.bytes {
        Err(format!("it was changed: it is not {} bytes long", member.bytes))
    } else if hex(&hash.finalize()) != member.sha256 {
        Err("it was changed: it does not hash to what the manifest says".to_owned())
    } else {
        Ok(())
    })
}

/// A reader that gives no more than a number of bytes: so much is read of a directory that says it is endless.
struct Bounded<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 && !buf.is_empty() {
            return Err(io::Error::other(format!("its directory is longer than {DIRECTORY_MAX} bytes")));
        }
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let read = self.inner.read(buf.get_mut(..room).unwrap_or_default())?;
        self.left.set(left - read as u64);
        Ok(read)
    }
}

impl<R: Seek> Seek for Bounded<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
