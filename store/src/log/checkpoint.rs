//! Checkpoints: a signed statement of how many lines the ledger has and what they hash to.
//!
//! The form is C2SP's `tlog-checkpoint` in a `signed-note` with an Ed25519 signature, so that other tools can verify it:
//! the origin, the number of leaves, the root in base 64, the time; an empty line; the signature line.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use decode::Timestamp;
use sha2::{Digest, Sha256};

use super::tree::Hash;

/// The longest note that is believed, in bytes.
pub(crate) const NOTE_MAX: usize = 16 * 1024;
/// First part of the origin line; the archive's id follows.
const ORIGIN: &str = "earwitness/";
/// First characters of a signature line: an em dash and a space.
const SIGNATURE: &str = "\u{2014} ";
/// The signed-note number of Ed25519.
const ED25519: u8 = 1;

/// How far the ledger had come at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The archive's id, from `archive.json`.
    pub archive: String,
    /// Lines of the ledger.
    pub size: u64,
    /// What they hash to (RFC 6962).
    pub root: [u8; 32],
    /// When it was signed, by the machine's clock.
    pub at: Timestamp,
}

/// What is signed, and by whom.
pub(crate) struct Note<'a> {
    /// The text that the signatures are over.
    pub(crate) text: &'a str,
    pub(crate) checkpoint: Checkpoint,
    /// The hint of the key and the signature, of each line that is in our form.
    signatures: Vec<([u8; 4], [u8; 64])>,
}

/// Four bytes by which a signature line says which key it is of.
fn hint(origin: &str, public: &[u8; 32]) -> [u8; 4] {
    let digest = Sha256::new().chain_update(origin).chain_update([b'\n', ED25519]).chain_update(public);
    let digest: Hash = digest.finalize().into();
    [digest[0], digest[1], digest[2], digest[3]]
}

impl Checkpoint {
    fn origin(&self) -> String {
        format!("{ORIGIN}{}", self.archive)
    }

    /// The signed note. `sign` signs the text as it stands; `public` is its key.
    pub(crate) fn to_note<E>(
        &self,
        public: &[u8; 32],
        sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>,
    ) -> Result<String, E> {
        let origin = self.origin();
        let text = format!("{origin}\n{}\n{}\ntime {}\n", self.size, BASE64.encode(self.root), self.at);
        let mut signature = hint(&origin, public).to_vec();
        signature.extend_from_slice(&sign(text.as_bytes())?);
        Ok(format!("{text}\n{SIGNATURE}{origin} {}\n", BASE64.encode(signature)))
    }
}

impl<'a> Note<'a> {
    /// Reads a note. `None` when it is not the checkpoint of an archive of this program.
    pub(crate) fn parse(note: &'a str) -> Option<Note<'a>> {
        if note.len() > NOTE_MAX {
            return None;
        }
        let (body, signatures) = note.split_once("\n\n")?;
        let text = note.get(..body.len() + 1)?;
        let mut lines = body.lines();
        let origin = lines.next()?;
        let archive = origin.strip_prefix(ORIGIN)?.to_owned();
        let size = lines.next()?.parse().ok()?;
        let root = BASE64.decode(lines.next()?).ok()?.try_into().ok()?;
        let at = lines.find_map(|line| line.strip_prefix("time "))?.parse().ok()?;
        let signature = |line: &str| {
            let line = line.strip_prefix(SIGNATURE)?.strip_prefix(origin)?.strip_prefix(' ')?;
            let bytes = BASE64.decode(line).ok()?;
            let (hint, signature) = bytes.split_first_chunk::<4>()?;
            Some((*hint, signature.try_into().ok()?))
        };
        let signatures = signatures.lines().filter_map(signature).collect();
        Some(Note { text, checkpoint: Checkpoint { archive, size, root, at }, signatures })
    }

    /// Is there a signature by this key that holds? `verify` says so of the text and a signature.
    pub(crate) fn is_signed(&self, public: &[u8; 32], verify: impl Fn(&[u8], &[u8; 64]) -> bool) -> bool {
        let ours = hint(&self.checkpoint.origin(), public);
        self.signatures
            .iter()
            .any(|(hint, signature)| *hint == ours && verify(self.text.as_bytes(), signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signature, Signer, SigningKey};

    fn signed() -> (SigningKey, Checkpoint, String) {
        let key = SigningKey::from_bytes(&[7; 32]);
        let checkpoint = Checkpoint {
            archive: "01ARCHIVE".into(),
            size: 12,
            root: [5; 32],
            at: Timestamp::from_millis(1_795_000_000_000),
        };
        let public = key.verifying_key().to_bytes();
        let note = checkpoint.to_note(&public, |text| Ok::<_, ()>(key.sign(text).to_bytes()));
        (key, checkpoint, note.expect("signs"))
    }

    fn holds(key: &SigningKey, note: &str) -> bool {
        let public = key.verifying_key();
        Note::parse(note).is_some_and(|note| {
            note.is_signed(&public.to_bytes(), |text, signature| {
                public.verify_strict(text, &Signature::from_bytes(signature)).is_ok()
            })
        })
    }

    #[test]
    fn a_note_reads_back_and_its_signature_holds() {
        let (key, checkpoint, note) = signed();
        assert!(note.starts_with("earwitness/01ARCHIVE\n12\n"), "{note}");
        assert_eq!(Note::parse(&note).expect("reads").checkpoint, checkpoint);
        assert!(holds(&key, &note));
    }

    #[test]
    fn a_changed_note_or_another_key_does_not_hold() {
        let (key, _, note) = signed();
        assert!(!holds(&key, &note.replace("\n12\n", "\n13\n")));
        assert!(!holds(&key, &note.replace("01ARCHIVE", "02ARCHIVE")));
        assert!(!holds(&SigningKey::from_bytes(&[8; 32]), &note));
        let unsigned = note.split_inclusive('\n').take(5).collect::<String>();
        assert!(
            Note::parse(&unsigned).is_some() && !holds(&key, &unsigned),
            "without a signature: {unsigned}"
        );
    }

    #[test]
    fn what_is_no_note_is_refused() {
        for text in
            ["", "\n\n", "earwitness/x\n1\n\n", "earwitness/x\nmany\nAAAA\ntime 1\n\n", "other/x\n1\n"]
        {
            assert!(Note::parse(text).is_none(), "{text:?}");
        }
        assert!(Note::parse(&"a".repeat(NOTE_MAX + 1)).is_none());
    }
}
