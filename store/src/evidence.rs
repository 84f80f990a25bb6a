//! What goes with a copy of a recording so that somebody without the archive can verify it: the line of the ledger and the
//! way from it to a signed checkpoint, the public keys, a signature over a list of files, the sealed file itself.
//!
//! How these are put together into an export is `web`'s.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use crate::disk::RealDisk;
use crate::keys::signing::Signer;
use crate::layout::Layout;
use crate::ledger::{self, Lines, Logged, RecordingLine};
use crate::log::checkpoint::Note;
use crate::log::tree::Levels;
use crate::log::{LEAVES, each_leaf};
use crate::source::Source;
use crate::wave::{digest_text, path_of};
use crate::{Archive, Error, Proof, PublicKeys, RecordingFacts, RecordingId};

/// Bytes of a sealed file copied at a time.
const BLOCK_LEN: usize = 256 * 1024;

/// What the ledger says of a recording, by its last line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InLedger {
    /// The digest that its file was signed over, in hexadecimal.
    pub signed: String,
    /// Proof of the line. None for a line from before there was a log.
    pub proof: Option<Proof>,
}

/// A sealed recording file that was verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Sealed {
    /// What it is of.
    pub facts: RecordingFacts,
    /// The digest that it is signed over, in hexadecimal.
    pub signed: String,
}

/// Verifies a copy of a sealed recording file without its archive: that it is whole, in order and signed by this Ed25519
/// key. Nothing is opened.
///
/// # Errors
/// [`Error::Tampered`] or [`Error::Damaged`] when it is not what was sealed; [`Error::NotFound`], [`Error::Io`].
pub fn verify_sealed(file: &Path, public_key: &[u8; 32]) -> Result<Sealed, Error> {
    let signer = Signer::new(public_key).ok_or_else(|| Error::damaged(file, "the key is no Ed25519 key"))?;
    let (folder, name) = (file.parent(), file.file_name().and_then(|name| name.to_str()));
    let (folder, name) =
        folder.zip(name).ok_or_else(|| Error::NotFound { what: file.display().to_string() })?;
    let verify = || {
        let disk = RealDisk::new(folder).map_err(|e| Error::io("", e))?;
        let layout = Layout::read(&disk, name)?;
        let signed = digest_text(&layout.verify(&disk, &signer)?);
        let end = layout.end.ok_or_else(|| Error::tampered(name, "its end is missing"))?;
        Ok(Sealed { facts: end.footer.facts, signed })
    };
    verify().map_err(|e: Error| e.under(folder))
}

/// The last line of one recording.
struct Found {
    file: String,
    line: String,
    leaf: Option<u64>,
    signed: String,
}

impl Archive {
    /// The public key that signs.
    #[must_use]
    pub fn signing_key(&self) -> PublicKeys {
        self.shared.keys.public()
    }

    /// Signs the manifest of an export with the archive's key; verified by
    /// [`manifest_is_signed`](crate::manifest_is_signed).
    ///
    /// # Errors
    /// [`Error::KeyMissing`] or [`Error::WrongKey`] without the signing key.
    pub fn sign_manifest(&self, manifest: &[u8]) -> Result<String, Error> {
        self.shared.keys.sign_manifest(manifest).map_err(|e| e.under(self.dir()))
    }

    /// Proof that a finished recording is in the log, to go with a copy of it.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the ledger does not name it with a number; otherwise as [`Archive::in_ledger`].
    pub fn proof(&self, id: RecordingId) -> Result<Proof, Error> {
        let proof = self.in_ledger(&[id])?.remove(&id).and_then(|line| line.proof);
        proof.ok_or_else(|| Error::NotFound { what: id.to_string() })
    }

    /// What the ledger says of these recordings, with proofs that all lead to the newest checkpoint. One that the ledger does
    /// not name (it is still being recorded) is left out. Holds 64 bytes of memory for each line of the ledger.
    ///
    /// # Errors
    /// As [`Archive::checkpoint`]; [`Error::Tampered`] when the log does not hash to its checkpoint.
    pub fn in_ledger(&self, ids: &[RecordingId]) -> Result<BTreeMap<RecordingId, InLedger>, Error> {
        let note = self.checkpoint()?;
        self.proofs(ids, &note).map_err(|e| e.under(self.dir()))
    }

    fn proofs(&self, ids: &[RecordingId], note: &str) -> Result<BTreeMap<RecordingId, InLedger>, Error> {
        let disk = &*self.shared.disk;
        let mut months: BTreeMap<String, Vec<RecordingId>> = BTreeMap::new();
        for id in ids {
            months.entry(ledger::month(ledger::RECORDINGS, id.started())).or_default().push(*id);
        }
        let mut found = BTreeMap::new();
        for (file, mut wanted) in months {
            wanted.sort_unstable();
            self.last_lines(&file, &wanted, &mut found)?;
        }
        let checkpoint = Note::parse(note).map(|note| note.checkpoint);
        let checkpoint =
            checkpoint.ok_or_else(|| Error::damaged(LEAVES, "its checkpoint is no checkpoint"))?;
        let mut leaves = Vec::new();
        each_leaf(disk, 0, checkpoint.size, |leaf| leaves.push(leaf))?;
        let levels = Levels::new(leaves);
        if levels.root() != Some(checkpoint.root) {
            return Err(Error::tampered(LEAVES, "the log does not hash to its checkpoint"));
        }
        let proof = |found: &Found| Proof::build(&levels, &found.file, &found.line, found.leaf?, note);
        Ok(found
            .into_iter()
            .map(|(id, found)| (id, InLedger { proof: proof(&found), signed: found.signed }))
            .collect())
    }

    /// The last lines of these recordings in one file of the ledger.
    fn last_lines(
        &self,
        file: &str,
        wanted: &[RecordingId],
        found: &mut BTreeMap<RecordingId, Found>,
    ) -> Result<(), Error> {
        let disk = &self.shared.disk;
        if disk.len(file).map_err(|e| Error::io(file, e))?.is_none() {
            return Ok(());
        }
        let mut lines = Lines::<Logged<RecordingLine>>::new(Arc::clone(disk), file.to_owned(), 0);
        while let Some((_, line)) = lines.next_raw()? {
            let Ok(Logged { leaf, value }) = serde_json::from_slice::<Logged<RecordingLine>>(line) else {
                continue;
            };
            if wanted.binary_search(&value.id).is_ok() {
                let line = String::from_utf8_lossy(line).into_owned();
                found.insert(value.id, Found { file: file.to_owned(), line, leaf, signed: value.signed });
            }
        }
        Ok(())
    }

    /// Where a recording's sealed file lies in an archive, from its folder.
    #[must_use]
    pub fn sealed_path(id: RecordingId) -> String {
        path_of(id)
    }

    /// Copies a recording's sealed file as it lies there; gives its length.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Refused`] while it is being recorded; [`Error::Io`], also of `out`.
    pub fn copy_sealed(&self, id: RecordingId, out: &mut dyn Write) -> Result<u64, Error> {
        if self.shared.is_running(id) {
            return Err(Error::Refused {
                what: format!("the sealed file of {id}: it is still being recorded"),
            });
        }
        let mut copy = || {
            let Source { disk, layout: Layout { path, .. }, .. } = Source::find(&self.shared, id)?;
            let (mut block, mut at) = (vec![0; BLOCK_LEN], 0);
            loop {
                let read = disk.read_at(&path, at, &mut block).map_err(|e| Error::io(&path, e))?;
                out.write_all(&block[..read]).map_err(|e| Error::io(&path, e))?;
                at += read as u64;
                if read < BLOCK_LEN {
                    return Ok(at);
                }
            }
        };
        copy().map_err(|e: Error| e.under(self.dir()))
    }
}
