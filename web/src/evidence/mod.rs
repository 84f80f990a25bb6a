//! Verifies an exported ZIP without the archive: that every file is what the manifest says, that the archive's key signed the
//! manifest, and that the ledger names each recording.
//!
//! The ZIP may be anybody's: its directory is read within [`DIRECTORY_MAX`], the manifest within [`MANIFEST_MAX`], files are
//! unpacked one after the other into a hash and never past the length that the signed manifest states, and no name of it
//! becomes a path. A manifest that is not signed is not looked into beyond its key, and ends the reading. That every reader
//! finds these files and no others is `container`'s.

mod container;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, Write};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use store::{Compared, Proof, PublicKeys, Recoded, RecordingId, Trusted};

use container::{Container, Refused};

use crate::entries::hex;
use crate::manifest::{FORMAT, Item, MANIFEST, Manifest, Member, SIGNATURE};

/// What may be read to find out what is in the ZIP, in bytes: some 500,000 files.
pub const DIRECTORY_MAX: u64 = 64 << 20;
/// Longest manifest, in bytes: an export of 20,000 recordings, at 3 kB each.
pub const MANIFEST_MAX: u64 = 64 << 20;
/// Longest signature file, in bytes.
const SIGNATURE_MAX: u64 = 1024;
/// Longest sealed file: it counts in 32 bits.
const SEALED_MAX: u64 = u32::MAX as u64 + 8;
/// Problems named; the rest is counted.
const PROBLEMS_MAX: usize = 100;
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
pub fn verify<R: Read + Seek>(zip: R, trusted: &Trusted) -> io::Result<Report> {
    let mut report = Report::default();
    let mut zip = match Container::open(zip) {
        Ok(zip) => zip,
        Err(Refused::Io(error)) => return Err(error),
        Err(Refused::Zip(problem)) => {
            report.problem(problem.member.as_deref(), problem.what);
            return Ok(report);
        }
    };
    let Some(manifest) = signed_manifest(&mut zip, trusted, &mut report)? else { return Ok(report) };
    let mut check = Check { key: manifest.1, report };
    let manifest = manifest.0;
    check.members(&mut zip, &manifest)?;
    check.recordings(&manifest);
    check.checkpoints(&manifest, trusted);
    check.report.manifest = Some(manifest);
    Ok(check.report)
}

/// The manifest, when its signature holds, and the key that it holds by.
fn signed_manifest<R: Read + Seek>(
    zip: &mut Container<R>,
    trusted: &Trusted,
    report: &mut Report,
) -> io::Result<Option<(Manifest, [u8; 32])>> {
    let mut read = |name: &str, max: u64| -> io::Result<Option<Vec<u8>>> {
        Ok(small(zip, name, max)?.map_err(|what| report.problem(Some(name), what)).ok())
    };
    let Some(text) = read(MANIFEST, MANIFEST_MAX)? else { return Ok(None) };
    let Some(signature) = read(SIGNATURE, SIGNATURE_MAX)? else { return Ok(None) };
    let judged = judge(&text, &signature, trusted, report);
    Ok(judged.map_err(|what| report.problem(Some(MANIFEST), what)).ok())
}

/// A short file's content; within: what is wrong with it.
fn small<R: Read + Seek>(
    zip: &mut Container<R>,
    name: &str,
    max: u64,
) -> io::Result<Result<Vec<u8>, String>> {
    let Some(entry) = zip.entry(name) else { return Ok(Err("it is missing".to_owned())) };
    if entry.bytes > max {
        return Ok(Err("it is too long".to_owned()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(entry.bytes).unwrap_or(0));
    Ok(zip.unpack(&entry, &mut bytes)?.map(|()| bytes))
}

/// What is read of a manifest before it is known to be signed: a small ZIP can hold a list that fills the memory.
#[derive(Deserialize)]
struct Head {
    format: String,
    public_keys: PublicKeys,
}

impl Head {
    fn parse(text: &[u8]) -> Result<Head, String> {
        let head: Head =
            serde_json::from_slice(text).map_err(|error| format!("it cannot be read: {error}"))?;
        if head.format != FORMAT {
            return Err("it is of a form that this version does not know".to_owned());
        }
        Ok(head)
    }
}

/// Is the manifest signed by the key that is trusted, or else by the one that it names?
fn judge(
    text: &[u8],
    signature: &[u8],
    trusted: &Trusted,
    report: &mut Report,
) -> Result<(Manifest, [u8; 32]), String> {
    let key = match trusted.public_key {
        Some(key) => key,
        None => Head::parse(text)?.public_keys.signing().ok_or("it names no key")?,
    };
    report.key = store::key_name(&key);
    report.trusted = trusted.public_key.is_some();
    if !store::manifest_is_signed(text, &String::from_utf8_lossy(signature), &key) {
        let named = Head::parse(text).ok().and_then(|head| head.public_keys.signing());
        let named = named.map_or_else(|| "none".to_owned(), |key| store::key_name(&key));
        return Err(format!(
            "it was changed, or signed by another key: the signature is not that of key {} (the manifest names {named}); nothing \
             else was looked at",
            report.key
        ));
    }
    if Head::parse(text)?.public_keys.signing() != Some(key) {
        return Err("it names another key than the one that signed it".to_owned());
    }
    let manifest = serde_json::from_slice(text).map_err(|error| format!("it cannot be read: {error}"))?;
    Ok((manifest, key))
}

/// What a line of the ledger says of the file that its recording was re-encoded from.
fn recoded_of(proof: &Proof) -> Option<Box<Recoded>> {
    #[derive(Deserialize)]
    struct Line {
        recoded: Option<Box<Recoded>>,
    }
    serde_json::from_str::<Line>(&proof.line).ok()?.recoded
}

/// Verifying, with a key that the manifest is signed by.
struct Check {
    key: [u8; 32],
    report: Report,
}

impl Check {
    /// Every file is named once and is what the manifest says; sealed ones are verified on the way.
    fn members<R: Read + Seek>(&mut self, zip: &mut Container<R>, manifest: &Manifest) -> io::Result<()> {
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
        for name in zip.names().filter(|name| !named.contains(name)) {
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
        zip: &mut Container<R>,
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
        if recoded_of(proof) != item.recoded {
            return Err("the ledger says something else of what it was re-encoded from".to_owned());
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

/// Unpacks one file into `copy` and compares it with what the manifest says; never more than that length.
fn hash<R: Read + Seek>(
    zip: &mut Container<R>,
    member: &Member,
    copy: &mut dyn Write,
) -> io::Result<Result<(), String>> {
    let Some(entry) = zip.entry(&member.name) else { return Ok(Err("it is missing".to_owned())) };
    if entry.bytes != member.bytes {
        return Ok(Err(format!("it was changed: it is not {} bytes long", member.bytes)));
    }
    let mut hashed = Hashed { copy, hash: Sha256::new() };
    if let Err(what) = zip.unpack(&entry, &mut hashed)? {
        return Ok(Err(what));
    }
    Ok(if hex(&hashed.hash.finalize()) == member.sha256 {
        Ok(())
    } else {
        Err("it was changed: it does not hash to what the manifest says".to_owned())
    })
}

/// A writer that hashes what goes through.
struct Hashed<'a> {
    copy: &'a mut dyn Write,
    hash: Sha256,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.copy.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.copy.flush()
    }
}
