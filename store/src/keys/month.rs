//! The file of a key-encryption key: `keys/months/YYYY-MM-ID.json` for a month's, `keys/former/ID.json` for an archive key
//! that a rotation has replaced and that recordings of format 1 still need.
//!
//! Its private half is sealed to the archive key and to each recipient. The file is signed, so that no bit of it can
//! change unseen; what it opens is not here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use x25519_dalek::PublicKey;

use super::wrapping::{KeyId, Private, Sealed, key_id, open_kek, seal_kek};
use crate::Error;
use crate::bytes::hex;

pub(crate) const MONTHS_DIR: &str = "keys/months";
pub(crate) const FORMER_DIR: &str = "keys/former";
/// The format of these files.
const FORMAT: u32 = 1;
/// The longest that is read, in bytes: some hundred recipients.
pub(crate) const FILE_MAX: u64 = 64 * 1024;
/// What the signature of such a file says first.
const SIGNED_PREFIX: &[u8] = b"earwitness key file v1\0";

/// A key-encryption key as its file carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyFile {
    /// `YYYY-MM`; none for a former archive key.
    pub(crate) month: Option<String>,
    pub(crate) id: KeyId,
    pub(crate) public: PublicKey,
    /// The private half, for each who may open it.
    pub(crate) sealed: Vec<(KeyId, Sealed)>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    month: Option<String>,
    key_id: String,
    x25519: String,
    wrapped: Vec<WrittenSealed>,
    signature: String,
}

#[derive(Serialize, Deserialize)]
struct WrittenSealed {
    to: String,
    ephemeral: String,
    sealed: String,
}

/// Signs a message, or tells that no signing key is here.
pub(crate) type Sign<'a> = &'a dyn Fn(&[u8]) -> Result<[u8; 64], Error>;

impl KeyFile {
    /// Seals the private half to each of `recipients`.
    pub(crate) fn seal<'a>(
        month: Option<&str>,
        kek: &Private,
        recipients: impl IntoIterator<Item = (KeyId, &'a PublicKey)>,
    ) -> KeyFile {
        let mut file =
            KeyFile { month: month.map(str::to_owned), id: kek.id, public: kek.public, sealed: Vec::new() };
        for (to, public) in recipients {
            let sealed = seal_kek(public, &file.name_for(&to), kek);
            file.sealed.push((to, sealed));
        }
        file
    }

    /// Opens the private half; [`Error::Tampered`] when what is sealed to this key does not open, none when nothing is
    /// sealed to it.
    pub(crate) fn open(&self, with: &Private) -> Result<Option<Private>, Error> {
        let Some((_, sealed)) = self.sealed.iter().find(|(to, _)| *to == with.id) else { return Ok(None) };
        let kek = open_kek(with, &self.name_for(&with.id), sealed).filter(|kek| kek.id == self.id);
        kek.map(Some).ok_or_else(|| Error::tampered(self.path(), "the key in it does not open"))
    }

    /// What a sealed private half is bound to.
    fn name_for(&self, to: &KeyId) -> Vec<u8> {
        [&self.id[..], to, self.month.as_deref().unwrap_or_default().as_bytes()].concat()
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> String {
        let id = hex(&self.id);
        match &self.month {
            Some(month) => format!("{MONTHS_DIR}/{month}-{id}.json"),
            None => format!("{FORMER_DIR}/{id}.json"),
        }
    }

    /// What is signed: everything that the file says.
    fn statement(&self) -> Vec<u8> {
        let month = self.month.as_deref().unwrap_or_default();
        let mut bytes = SIGNED_PREFIX.to_vec();
        bytes.extend_from_slice(&(month.len() as u32).to_le_bytes());
        bytes.extend_from_slice(month.as_bytes());
        bytes.extend_from_slice(self.public.as_bytes());
        for (to, sealed) in &self.sealed {
            bytes.extend_from_slice(to);
            bytes.extend_from_slice(&sealed.ephemeral);
            bytes.extend_from_slice(&sealed.sealed);
        }
        bytes
    }

    /// The file's bytes.
    pub(crate) fn to_json(&self, sign: Sign<'_>) -> Result<Vec<u8>, Error> {
        let written = Written {
            format: FORMAT,
            month: self.month.clone(),
            key_id: hex(&self.id),
            x25519: BASE64.encode(self.public.as_bytes()),
            wrapped: self
                .sealed
                .iter()
                .map(|(to, sealed)| WrittenSealed {
                    to: hex(to),
                    ephemeral: BASE64.encode(sealed.ephemeral),
                    sealed: BASE64.encode(sealed.sealed),
                })
                .collect(),
            signature: BASE64.encode(sign(&self.statement())?),
        };
        super::files::to_json(&written, &self.path())
    }

    /// Reads a file that lies at `path`. `verifies` tells whether a signature is this archive's.
    pub(crate) fn parse(
        json: &[u8],
        path: &str,
        verifies: &dyn Fn(&[u8], &[u8; 64]) -> bool,
    ) -> Result<KeyFile, Error> {
        let written: Written =
            serde_json::from_slice(json).map_err(|e| Error::damaged(path, e.to_string()))?;
        match written.format {
            FORMAT => {}
            found if found > FORMAT => {
                return Err(Error::NewerFormat { path: path.into(), found, known: FORMAT });
            }
            _ => return Err(Error::damaged(path, "a key of no format")),
        }
        let read = || {
            let public: [u8; 32] = array(&written.x25519)?;
            let mut sealed = Vec::with_capacity(written.wrapped.len());
            for entry in &written.wrapped {
                let (ephemeral, bytes) = (array(&entry.ephemeral)?, array(&entry.sealed)?);
                sealed.push((parse_id(&entry.to)?, Sealed { ephemeral, sealed: bytes }));
            }
            let (month, id) = (written.month.clone(), key_id(&public));
            let file = KeyFile { month, id, public: PublicKey::from(public), sealed };
            (hex(&id) == written.key_id).then_some((file, array::<64>(&written.signature)?))
        };
        let (file, signature) =
            read().ok_or_else(|| Error::damaged(path, "its fields are not those of a key"))?;
        if file.path() != path {
            return Err(Error::tampered(path, "it is another month's or another key's file"));
        }
        if !verifies(&file.statement(), &signature) {
            return Err(Error::tampered(path, "its signature does not hold"));
        }
        Ok(file)
    }
}

/// So many bytes in base 64.
pub(crate) fn array<const N: usize>(text: &str) -> Option<[u8; N]> {
    BASE64.decode(text.trim()).ok()?.try_into().ok()
}

/// An id in lower-case hexadecimal.
pub(crate) fn parse_id(text: &str) -> Option<KeyId> {
    let value = u64::from_str_radix(text, 16).ok()?;
    let id = value.to_be_bytes();
    (hex(&id) == text).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};

    #[test]
    fn any_flipped_bit_of_a_month_file_is_refused() {
        let sign_key = SigningKey::from_bytes(&[7; 32]);
        let public = sign_key.verifying_key();
        let verifies = |message: &[u8], signature: &[u8; 64]| {
            public.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
        };
        let (archive, officer, kek) = (Private::random(), Private::random(), Private::random());
        let to = [(archive.id, &archive.public), (officer.id, &officer.public)];
        let file = KeyFile::seal(Some("2026-11"), &kek, to);
        let json = file.to_json(&|message| Ok(sign_key.sign(message).to_bytes())).expect("made");
        let path = file.path();
        let read = KeyFile::parse(&json, &path, &verifies).expect("read");
        assert_eq!(read, file);
        for with in [&archive, &officer] {
            assert_eq!(read.open(with).expect("opens").map(|kek| kek.id), Some(kek.id));
        }
        assert!(read.open(&Private::random()).expect("no error").is_none(), "a wrong recipient");
        for bit in 0..json.len() * 8 {
            let mut changed = json.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            // White space that became other white space changes nothing.
            let same = KeyFile::parse(&changed, &path, &verifies).is_ok_and(|read| read == file);
            let blank = json[bit / 8].is_ascii_whitespace() && changed[bit / 8].is_ascii_whitespace();
            assert_eq!(same, blank, "bit {bit}");
            assert!(same || KeyFile::parse(&changed, &path, &verifies).is_err(), "bit {bit}");
        }
        assert!(KeyFile::parse(&json, &path.replace("-11", "-12"), &verifies).is_err());
    }

    #[test]
    fn an_id_reads_back_in_one_spelling_only() {
        let id = [0, 1, 2, 3, 0xab, 0xcd, 0xef, 0xff];
        assert_eq!(parse_id(&hex(&id)), Some(id));
        for wrong in ["", "+001020304050607", "00010203ABCDEFFF", "0102", "00010203abcdefff0"] {
            assert_eq!(parse_id(wrong), None, "{wrong}");
        }
    }
}
