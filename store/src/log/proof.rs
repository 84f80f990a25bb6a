//! Proof that one line is in the log, for somebody who has neither the archive nor its keys: the line, the hashes that
//! lead from it to the root, and the signed checkpoint with that root.

use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, Note};
use super::each_leaf;
use super::tree::{Hash, inclusion_proof, leaf_hash, root_by_proof};
use crate::bytes::{from_hex, hex};
use crate::disk::Disk;
use crate::{Error, RecordingId};

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
    /// The proof that leaf `leaf`, the line `line` of `file`, is in the log up to `note`.
    pub(crate) fn build(
        disk: &dyn Disk,
        file: &str,
        line: &str,
        leaf: u64,
        note: &str,
    ) -> Result<Proof, Error> {
        let unsigned = || Error::Refused { what: "a line that no checkpoint covers yet".into() };
        let size = Note::parse(note).map(|note| note.checkpoint.size).filter(|&size| leaf < size);
        let size = size.ok_or_else(unsigned)?;
        let mut leaves: Vec<Hash> = Vec::new();
        each_leaf(disk, 0, size, |hash| leaves.push(hash))?;
        let index = usize::try_from(leaf).map_err(|_| unsigned())?;
        let hashes = inclusion_proof(&leaves, index).iter().map(|hash| hex(hash)).collect();
        Ok(Proof { file: file.into(), line: line.into(), leaf, hashes, checkpoint: note.into() })
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
        let key = VerifyingKey::from_bytes(public_key).map_err(|_| "the public key is no Ed25519 key")?;
        let holds = note.is_signed(public_key, |text, signature| {
            key.verify_strict(text, &Signature::from_bytes(signature)).is_ok()
        });
        if !holds {
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
