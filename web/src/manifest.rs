//! What a ZIP says of itself, so that it can be verified without the archive: `manifest.json` and `manifest.sig`.
//!
//! The manifest names every other file with its hash, and for each recording what the ledger says and the proof of it, what
//! was left out and why. The signature is the archive's: its key's word that these files were made of those recordings.
//! Reading and judging one is [`crate::evidence`]'s.

use decode::{Party, Timestamp};
use serde::{Deserialize, Serialize};
use store::{Archive, Proof, PublicKeys, Recoded, RecordingFacts, RecordingId, State};

use crate::export::{Exported, FileFormat, Shape};

/// The manifest's name in the ZIP.
pub const MANIFEST: &str = "manifest.json";
/// Its signature's name: 128 hexadecimal digits and a newline.
pub const SIGNATURE: &str = "manifest.sig";
/// What the manifest calls itself.
pub const FORMAT: &str = "earwitness manifest v1";

/// Who takes recordings out of the archive, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exporter {
    /// The user.
    pub by: String,
    /// When, by the machine's clock.
    pub at: Timestamp,
    /// The program and its version.
    #[serde(default = "program")]
    pub program: String,
}

impl Exporter {
    /// By this program.
    #[must_use]
    pub fn new(by: impl Into<String>, at: Timestamp) -> Exporter {
        Exporter { by: by.into(), at, program: program() }
    }
}

fn program() -> String {
    concat!("earwitness ", env!("CARGO_PKG_VERSION")).to_owned()
}

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// The archive's id.
    pub archive: String,
    /// Its public keys. They came with the bundle, so they prove nothing by themselves.
    pub public_keys: PublicKeys,
    /// Who exported, and when.
    pub exported: Exporter,
    /// What the audio was written as.
    pub audio: FileFormat,
    /// How the parties were put into channels.
    pub channels: Shape,
    /// The recordings in the ZIP.
    pub recordings: Vec<Item>,
    /// Recordings that were asked for and are not in it.
    pub not_exported: Vec<NotExported>,
    /// Why no recording has a proof; none when they were asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_proofs: Option<String>,
    /// Every other file.
    pub members: Vec<Member>,
}

/// A recording in the ZIP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its id.
    pub id: RecordingId,
    /// The files made of it.
    pub files: Vec<String>,
    /// Its sealed file, when that is in the ZIP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
    /// Length of the audio in milliseconds.
    pub duration_ms: u64,
    /// Sampling rate in Hz; 0 for payloads as received.
    pub rate: u32,
    /// Sample times; 0 for payloads as received.
    pub samples: u64,
    /// What of the recording, or of the call, is not to be heard in the files.
    pub left_out: Vec<Omission>,
    /// What the listener must know, in words.
    pub warnings: Vec<String>,
    /// What the audio was before it was re-encoded; the line of the ledger says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recoded: Option<Box<Recoded>>,
    /// The digest that the sealed file was signed over, by the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<String>,
    /// Proof that the ledger says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

/// Something that is not to be heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Omission {
    /// The recording was paused: nothing was kept, and there is silence of this length.
    Paused {
        /// Where it begins, in milliseconds from the start.
        start_ms: u64,
        /// Where it ends.
        end_ms: u64,
    },
    /// Packets that are kept and could not be decoded where the export was made: silence.
    NotDecodable {
        /// Whose.
        party: Party,
        /// Their encoding.
        codec: String,
        /// How many.
        packets: u64,
    },
    /// Encrypted packets without a key: not in the recording either.
    Undecryptable {
        /// Whose.
        party: Party,
        /// How many.
        packets: u64,
    },
    /// This party's channel was not chosen.
    Channel {
        /// Whose.
        party: Party,
    },
    /// The call was still running: what came later is missing.
    StillRecording,
    /// The recorder stopped before the call did.
    Interrupted,
}

/// What is left out of a recording in any form: pauses, what could not be decrypted, channels that were not chosen.
pub(crate) fn omissions(facts: &RecordingFacts, shape: Shape) -> Vec<Omission> {
    let mut left_out: Vec<Omission> = [Party::Near, Party::Far]
        .into_iter()
        .filter(|&party| !shape.holds(party))
        .map(|party| Omission::Channel { party })
        .collect();
    let paused = |pause: &store::Span| Omission::Paused { start_ms: pause.start_ms, end_ms: pause.end_ms };
    left_out.extend(facts.pauses.iter().map(paused));
    let locked = facts.tracks.iter().filter(|track| track.undecryptable > 0 && shape.holds(track.party));
    left_out.extend(
        locked.map(|track| Omission::Undecryptable { party: track.party, packets: track.undecryptable }),
    );
    match facts.state {
        State::Recording => left_out.push(Omission::StillRecording),
        State::Interrupted => left_out.push(Omission::Interrupted),
        State::Complete => {}
    }
    left_out
}

/// A recording that is not in the ZIP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotExported {
    /// Its id.
    pub id: RecordingId,
    /// Why.
    pub why: String,
}

/// A file of the ZIP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its length, unpacked.
    pub bytes: u64,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
}

impl Item {
    /// The manifest's entry for what was exported; the ledger's word comes later.
    pub(crate) fn new(exported: &Exported, files: Vec<String>, sealed: Option<String>) -> Item {
        Item {
            id: exported.id,
            files,
            sealed,
            duration_ms: exported.duration_ms,
            rate: exported.rate,
            samples: exported.samples,
            left_out: exported.left_out.clone(),
            warnings: exported.warnings.clone(),
            recoded: exported.recoded.clone(),
            signed: None,
            proof: None,
        }
    }
}

/// A manifest and its signature, ready to be put into the ZIP.
pub(crate) struct Signed {
    pub(crate) manifest: Vec<u8>,
    /// None where the signing key is not on this machine.
    pub(crate) signature: Option<String>,
    /// Why it proves less than it could.
    pub(crate) warnings: Vec<String>,
}

impl Manifest {
    /// Asks the ledger about the recordings and signs. Where the archive cannot (no signing key here, a ledger that was
    /// changed) the manifest is made all the same and says so: getting at recordings does not depend on it.
    pub(crate) fn sign(mut self, archive: &Archive) -> Result<Signed, serde_json::Error> {
        let mut warnings = Vec::new();
        let ids: Vec<RecordingId> = self.recordings.iter().map(|item| item.id).collect();
        match archive.in_ledger(&ids) {
            Ok(mut lines) => {
                for item in &mut self.recordings {
                    if let Some(line) = lines.remove(&item.id) {
                        item.signed = Some(line.signed);
                        item.proof = line.proof;
                    }
                }
            }
            Err(error) => {
                warnings.push(format!("the export holds no proofs: {error}"));
                self.no_proofs = Some(why(&error).to_owned());
            }
        }
        let mut manifest = serde_json::to_vec_pretty(&self)?;
        manifest.push(b'\n');
        let signature = archive
            .sign_manifest(&manifest)
            .map_err(|error| warnings.push(format!("the export is not signed: {error}")))
            .ok();
        Ok(Signed { manifest, signature, warnings })
    }
}

/// Why there are no proofs, without the paths of this machine.
fn why(error: &store::Error) -> &'static str {
    match error {
        store::Error::KeyMissing { .. } | store::Error::WrongKey { .. } => "the signing key was not there",
        store::Error::Tampered { .. } | store::Error::Damaged { .. } => "the ledger is not what was signed",
        _ => "the ledger could not be read",
    }
}
