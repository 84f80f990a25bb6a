//! Proof that one line is in the log, for somebody who has neither the archive nor its keys: the line, the hashes that
//! lead from it to the root, and the signed checkpoint with that root.

use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, Note};
use super::tree::{Hash, Levels, leaf_hash, root_by_proof};
use crate::RecordingId;
use crate::bytes::{from_hex, hex};

/// A line of the ledger with the way from it to a signed checkpoint (RFC 6962, section 2.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The ledger file that the line stands in.
    pub file: String,
    /// The line as it stands there.
    pub line: String,
    /// Its number in the log.
    pub leaf: u64,
    /// The hashes from the leaf up to the root, in hexadecimal.
    pub hashes: Vec<String>,
    /// The checkpoint: a signed note.
    pub checkpoint: String,
}

/// What a checkpoint that was kept elsewhere says to a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// It is of the same ledger.
    Same,
    /// It is of a ledger of another length: that the one grew out of the other cannot be told without the archive.
    OfOtherLength {
        /// Lines that it covers.
        lines: u64,
        /// Lines that the proof's checkpoint covers.
        proof_lines: u64,
    },
}

/// What a proof proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The recording that the line is about.
    pub id: RecordingId,
    /// The digest that the recording's file was signed over, in hexadecimal.
    pub signed: String,
    /// How far the ledger had come.
    pub checkpoint: Checkpoint,
}

impl Proof {
    /// The proof that leaf `leaf`, the line `line` of `file`, is in the log of `levels` up to `note`; none when it is not.
    pub(crate) fn build(levels: &Levels, file: &str, line: &str, leaf: u64, note: &str) -> Option<Proof> {
        let hashes =
            levels.inclusion_proof(usize::try_from(leaf).ok()?)?.iter().map(|hash| hex(hash)).collect();
        Some(Proof { file: file.into(), line: line.into(), leaf, hashes, checkpoint: note.into() })
    }

    /// Holds the checkpoint of this proof against one of the same archive that was kept elsewhere. The error says why that
    /// one says nothing, or contradicts.
    pub fn compare(&self, kept: &str, public_key: &[u8; 32]) -> Result<Compared, String> {
        let ours = Note::parse(&self.checkpoint).ok_or("the proof's checkpoint is no checkpoint")?.checkpoint;
        let note = Note::parse(kept).ok_or("it is no checkpoint")?;
        if !is_signed(&note, public_key)? {
            return Err("it is not signed by this key".into());
        }
        let kept = note.checkpoint;
        if kept.archive != ours.archive {
            return Err(format!("it is a checkpoint of another archive, {}", kept.archive));
        }
        if kept.size != ours.size {
            return Ok(Compared::OfOtherLength { lines: kept.size, proof_lines: ours.size });
        }
        if kept.root != ours.root {
            return Err(format!(
                "it contradicts the proof: the same key signed two different ledgers of {} lines",
                kept.size
            ));
        }
        Ok(Compared::Same)
    }

    /// Follows the proof; everything must fit and the checkpoint must be signed by this Ed25519 key. The error says what
    /// does not hold.
    pub fn verify(&self, public_key: &[u8; 32]) -> Result<Proven, String> {
        #[derive(Deserialize)]
        struct Line {
            leaf: u64,
            id: RecordingId,
            #[serde(default)]
            signed: String,
        }
        let note = Note::parse(&self.checkpoint).ok_or("its checkpoint is no checkpoint")?;
        if !is_signed(&note, public_key)? {
            return Err("its checkpoint is not signed by this key".into());
        }
        let hashes = self.hashes.iter().map(|hash| from_hex(hash)).collect::<Option<Vec<Hash>>>();
        let hashes = hashes.ok_or("its hashes are no hashes")?;
        let leaf = leaf_hash(&self.file, self.line.as_bytes());
        if root_by_proof(leaf, self.leaf, note.checkpoint.size, &hashes) != Some(note.checkpoint.root) {
            return Err("its line is not in the log that the checkpoint signs".into());
        }
        let line: Line =
            serde_json::from_str(&self.line).map_err(|e| format!("its line cannot be read: {e}"))?;
        if line.leaf != self.leaf {
            return Err("its line has another number".into());
        }
        Ok(Proven { id: line.id, signed: line.signed, checkpoint: note.checkpoint })
    }
}

fn is_signed(note: &Note<'_>, public_key: &[u8; 32]) -> Result<bool, String> {
    let key = VerifyingKey::from_bytes(public_key).map_err(|_| "the public key is no Ed25519 key")?;
    let verify = |text: &[u8], signature: &[u8; 64]| {
        key.verify_strict(text, &Signature::from_bytes(signature)).is_ok()
    };
    Ok(note.is_signed(public_key, verify))
}
