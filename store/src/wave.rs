//! The recording file: a RIFF/WAVE container whose audio no WAVE player can play. Layout in `docs/format.md`.
//!
//! Builds and parses the header, the two size fields and the footer. Pure: what reads them from a disk and follows the
//! chunks is [`crate::layout`]. All numbers are little-endian, as RIFF has them.

use ed25519_dalek::SIGNATURE_LENGTH;
use sha2::{Digest, Sha256};

use crate::bytes::{Cursor, hex};
use crate::chunk::Address;
use crate::keys::{KeyId, WRAPPED_LEN, Wrap};
use crate::{Error, RecordingFacts, RecordingId};

/// The format of the `ewit` and `ewfx` chunks of new files. In format 1 the wrapped key was signed with the rest, so it
/// could never be wrapped anew; before format 3 chunks held no SIP messages, and no kind of record that a reader may pass over.
/// Files of both are read, verified and played for ever.
pub(crate) const FORMAT: u32 = 3;
/// From this format on the wrapped key counts as zero bytes in every hash.
pub(crate) const FORMAT_REWRAPPABLE: u32 = 2;
/// A size field of a file that is not finished; also how both size fields count in every hash.
pub(crate) const SIZE_OPEN: u32 = u32::MAX;
/// Where the RIFF size stands.
pub(crate) const RIFF_SIZE_AT: u64 = 4;
/// Where the key commitment stands, by which a file is told from every other one.
pub(crate) const COMMITMENT_AT: u64 = WRAP_AT - COMMITMENT_LEN as u64;
pub(crate) const COMMITMENT_LEN: usize = 32;
/// Where the wrapped key stands, so that it can be destroyed without reading the file.
pub(crate) const WRAP_AT: u64 = PREAMBLE_LEN + 8 + IMMUTABLE_LEN as u64;
/// Bytes of the wrapped key: key id, ephemeral key, sealed data key.
pub(crate) const WRAP_LEN: usize = 8 + 32 + WRAPPED_LEN;
/// Where the wrapped key ends: bytes from which [`peek_wrap`] can tell.
pub(crate) const WRAP_END: usize = WRAP_AT as usize + WRAP_LEN;
/// The longest facts that a header or a footer may carry, in bytes.
pub(crate) const FACTS_MAX: usize = 4 * 1024 * 1024;
/// The most bytes of chunks that one file can hold: RIFF counts in 32 bits, and the footer must fit too. About 72
/// hours of G.711 both ways.
pub(crate) const DATA_MAX: u64 = u32::MAX as u64 - 2 * FACTS_MAX as u64 - 65_536;
/// Bytes of the `ewsg` chunk with its header.
pub(crate) const SIGNATURE_CHUNK_LEN: usize = 8 + 8 + SIGNATURE_LENGTH;
/// Bytes of the `ewfx` chunk before its facts, with its header.
pub(crate) const FACTS_CHUNK_LEN: usize = 8 + 8 + 8 + 32;

/// RIFF header and `fmt ` chunk.
const PREAMBLE_LEN: u64 = 60;
/// The part of the `ewit` chunk before the wrapped key.
const IMMUTABLE_LEN: usize = 64;
/// The part of the `ewit` chunk before the facts.
const FIXED_LEN: usize = IMMUTABLE_LEN + WRAP_LEN;

/// WAVE_FORMAT_EXTENSIBLE, two channels, 8000 Hz, 16 bits; the SubFormat is ours alone, so that a tool shows the header
/// and does not play noise.
const FMT: [u8; 48] = [
    b'f', b'm', b't', b' ', 40, 0, 0, 0, // chunk header
    0xfe, 0xff, 2, 0, // WAVE_FORMAT_EXTENSIBLE, channels
    0x40, 0x1f, 0, 0, // 8000 frames a second
    0x00, 0x7d, 0, 0, // 32000 bytes a second
    4, 0, 16, 0, // block, bits
    22, 0, 16, 0, // size of the extension, valid bits
    3, 0, 0, 0, // front left, front right
    0x77, 0x45, 0x1f, 0x9c, 0x5a, 0x0b, 0x4d, 0x4e, // {9c1f4577-0b5a-4e4d-8f65-61727769746e}
    0x8f, 0x65, 0x61, 0x72, 0x77, 0x69, 0x74, 0x6e,
];

/// The header of a recording file: everything before its first chunk.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Head {
    /// The recording.
    pub(crate) id: RecordingId,
    /// The key that its data key was first wrapped to; part of every chunk's address, so it stays when that is wrapped anew.
    pub(crate) key_id: KeyId,
    /// Ties the file to one data key.
    pub(crate) commitment: [u8; 32],
    /// The data key.
    pub(crate) wrap: Wrap,
    /// The facts at the start.
    pub(crate) facts: RecordingFacts,
}

/// A parsed header and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct ParsedHead {
    pub(crate) head: Head,
    /// The format of the file.
    pub(crate) format: u32,
    /// What its chunks are bound to.
    pub(crate) address: Address,
    /// The RIFF size field.
    pub(crate) riff_size: u32,
    /// The `data` size field.
    pub(crate) data_size: u32,
    /// Where the first chunk stands.
    pub(crate) len: u64,
}

impl ParsedHead {
    /// Where the size of the `data` chunk stands.
    pub(crate) fn data_size_at(&self) -> u64 {
        self.len - 4
    }

    /// May its data key be wrapped anew without touching what is signed?
    pub(crate) fn is_rewrappable(&self) -> bool {
        self.format >= FORMAT_REWRAPPABLE
    }
}

/// Format, recording and wrapped key of a file, from its first [`WRAP_END`] bytes; none when they are no header's.
pub(crate) fn peek_wrap(bytes: &[u8]) -> Option<(u32, RecordingId, Wrap)> {
    Head::len(bytes)?;
    let mut cursor = Cursor::new(bytes);
    cursor.take(PREAMBLE_LEN as usize + 8)?;
    let (format, _facts_len) = (cursor.u32()?, cursor.u32()?);
    let id = RecordingId::from_bytes(cursor.array()?);
    let (_key_id, _commitment) = (cursor.array::<8>()?, cursor.array::<32>()?);
    let wrap = Wrap { key_id: cursor.array()?, ephemeral: cursor.array()?, wrapped: cursor.array()? };
    (1..=FORMAT).contains(&format).then_some((format, id, wrap))
}

/// The hash of a new file's header, the wrapped key counted as zero bytes.
pub(crate) fn head_hash(bytes: &[u8]) -> Sha256 {
    let (before, rest) = bytes.split_at(WRAP_AT as usize);
    Sha256::new().chain_update(before).chain_update([0; WRAP_LEN]).chain_update(&rest[WRAP_LEN..])
}

/// The part that chunks are bound to: what never changes, not even when the data key is wrapped to another key.
fn immutable_hash(fixed: &[u8], facts: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(fixed).chain_update(facts).finalize().into()
}

impl Head {
    /// The bytes of a new file, sizes open; and what its chunks are bound to.
    pub(crate) fn to_bytes(&self) -> Result<(Vec<u8>, Address), Error> {
        let facts = facts_json(&self.facts)?;
        let mut fixed = Vec::with_capacity(IMMUTABLE_LEN);
        fixed.extend_from_slice(&FORMAT.to_le_bytes());
        fixed.extend_from_slice(&(facts.len() as u32).to_le_bytes());
        fixed.extend_from_slice(self.id.as_bytes());
        fixed.extend_from_slice(&self.key_id);
        fixed.extend_from_slice(&self.commitment);
        let head_hash = immutable_hash(&fixed, &facts);

        let mut bytes = Vec::with_capacity(PREAMBLE_LEN as usize + FIXED_LEN + facts.len() + 17);
        bytes.extend_from_slice(b"RIFF");
        bytes.extend_from_slice(&SIZE_OPEN.to_le_bytes());
        bytes.extend_from_slice(b"WAVE");
        bytes.extend_from_slice(&FMT);
        bytes.extend_from_slice(b"ewit");
        bytes.extend_from_slice(&((FIXED_LEN + facts.len()) as u32).to_le_bytes());
        bytes.extend_from_slice(&fixed);
        bytes.extend_from_slice(&self.wrap.to_bytes());
        bytes.extend_from_slice(&facts);
        pad(&mut bytes);
        bytes.extend_from_slice(b"data");
        bytes.extend_from_slice(&SIZE_OPEN.to_le_bytes());
        Ok((bytes, Address { id: self.id, key_id: self.key_id, head_hash }))
    }

    /// How many bytes the header has, told from its first [`Head::PEEK_LEN`].
    pub(crate) fn len(bytes: &[u8]) -> Option<usize> {
        let at = PREAMBLE_LEN as usize;
        let mut cursor = Cursor::new(bytes.get(at..)?);
        let (id, len) = (cursor.array::<4>()?, usize::try_from(cursor.u32()?).ok()?);
        (&id == b"ewit" && (FIXED_LEN..=FIXED_LEN + FACTS_MAX).contains(&len))
            .then(|| at + 8 + len + len % 2 + 8)
    }

    /// Bytes from which [`Head::len`] can tell.
    pub(crate) const PEEK_LEN: usize = PREAMBLE_LEN as usize + 8;

    /// Reads a header; the error says what is wrong with it. `path` is for the error.
    pub(crate) fn parse(bytes: &[u8], path: &str) -> Result<ParsedHead, Error> {
        let damaged = |what: &str| Error::damaged(path, what);
        let mut cursor = Cursor::new(bytes);
        let riff = cursor.array::<4>().zip(cursor.u32()).zip(cursor.array::<4>());
        let riff_size = match riff {
            Some(((riff, size), wave)) if &riff == b"RIFF" && &wave == b"WAVE" => size,
            _ => return Err(damaged("not a RIFF/WAVE file")),
        };
        if cursor.take(FMT.len()) != Some(&FMT) || Head::len(bytes).is_none() {
            return Err(damaged("a WAVE file, but not a recording of this program"));
        }
        cursor.take(8);
        let start = cursor.offset();
        let format = cursor.u32().unwrap_or_default();
        match format {
            1..=FORMAT => {}
            0 => return Err(damaged("a recording of no format")),
            _ => return Err(Error::NewerFormat { path: path.into(), found: format, known: FORMAT }),
        }
        let parsed = Head::parse_rest(cursor, bytes, start, path)?;
        Ok(ParsedHead { format, riff_size, ..parsed })
    }

    /// Reads from the length of the facts to the end of the header.
    fn parse_rest(
        mut cursor: Cursor<'_>,
        bytes: &[u8],
        start: usize,
        path: &str,
    ) -> Result<ParsedHead, Error> {
        let mut read = || {
            let (facts_len, id) = (cursor.u32()? as usize, RecordingId::from_bytes(cursor.array()?));
            let (key_id, commitment) = (cursor.array()?, cursor.array()?);
            let wrap = Wrap { key_id: cursor.array()?, ephemeral: cursor.array()?, wrapped: cursor.array()? };
            let (facts, padding) = (cursor.take(facts_len)?, cursor.take(facts_len % 2)?);
            let (data, data_size) = (cursor.array::<4>()?, cursor.u32()?);
            let fixed = bytes.get(start..start + IMMUTABLE_LEN)?;
            let fits = padding.iter().all(|&b| b == 0)
                && &data == b"data"
                && Some(cursor.offset()) == Head::len(bytes);
            fits.then_some((id, key_id, commitment, wrap, facts, data_size, fixed))
        };
        let (id, key_id, commitment, wrap, facts, data_size, fixed) =
            read().ok_or_else(|| Error::damaged(path, "the chunks of its header do not fit together"))?;
        let address = Address { id, key_id, head_hash: immutable_hash(fixed, facts) };
        let facts = facts_of(facts, id, path)?;
        let head = Head { id, key_id, commitment, wrap, facts };
        let len = cursor.offset() as u64;
        Ok(ParsedHead { head, format: FORMAT, address, riff_size: SIZE_OPEN, data_size, len })
    }
}

/// Numbers that JSON cannot say (a jitter that is no number) become 0: what stands in a file must be readable again.
pub(crate) fn make_sayable(facts: &mut RecordingFacts) {
    let finite = |x: &mut f64| *x = if x.is_finite() { *x } else { 0.0 };
    for track in &mut facts.tracks {
        finite(&mut track.jitter_ms);
        finite(&mut track.skew_ppm);
        track.mos = track.mos.filter(|mos| mos.is_finite());
        track.quality.make_sayable();
    }
}

fn facts_json(facts: &RecordingFacts) -> Result<Vec<u8>, Error> {
    let json = serde_json::to_vec(facts).map_err(|e| Error::Refused { what: format!("the facts: {e}") })?;
    if json.len() > FACTS_MAX {
        return Err(Error::Refused { what: format!("facts of more than {FACTS_MAX} bytes") });
    }
    Ok(json)
}

fn facts_of(json: &[u8], id: RecordingId, path: &str) -> Result<RecordingFacts, Error> {
    let facts: RecordingFacts =
        serde_json::from_slice(json).map_err(|e| Error::damaged(path, format!("its facts: {e}")))?;
    if facts.id != id {
        return Err(Error::tampered(path, "the facts are those of another recording"));
    }
    Ok(facts)
}

/// RIFF chunks begin at even places.
fn pad(bytes: &mut Vec<u8>) {
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
}

/// What closes a finished file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Footer {
    pub(crate) facts: RecordingFacts,
    /// Chunks in the file.
    pub(crate) chunks: u64,
    /// SHA-256 of everything before the `ewfx` chunk, size fields open.
    pub(crate) digest: [u8; 32],
    /// The key that signed.
    pub(crate) sign_id: KeyId,
    /// Over SHA-256 of everything before the `ewsg` chunk, size fields open.
    pub(crate) signature: [u8; SIGNATURE_LENGTH],
}

/// A footer's bytes and the digest that was signed.
pub(crate) struct BuiltFooter {
    pub(crate) bytes: Vec<u8>,
    pub(crate) signed: [u8; 32],
}

impl Footer {
    /// Builds the footer that follows `data_len` bytes of chunks, in the format of its header. `hash` has taken
    /// everything before it.
    pub(crate) fn build(
        format: u32,
        facts: &RecordingFacts,
        chunks: u64,
        data_len: u64,
        mut hash: Sha256,
        sign_id: KeyId,
        sign: impl FnOnce(&[u8; 32]) -> Result<[u8; SIGNATURE_LENGTH], Error>,
    ) -> Result<BuiltFooter, Error> {
        let facts = facts_json(facts)?;
        let padding: &[u8] = if data_len % 2 == 1 { &[0] } else { &[] };
        hash.update(padding);
        let digest: [u8; 32] = hash.clone().finalize().into();
        let mut bytes = padding.to_vec();
        bytes.extend_from_slice(b"ewfx");
        bytes.extend_from_slice(&((FACTS_CHUNK_LEN - 8 + facts.len()) as u32).to_le_bytes());
        bytes.extend_from_slice(&format.to_le_bytes());
        bytes.extend_from_slice(&(facts.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&chunks.to_le_bytes());
        bytes.extend_from_slice(&digest);
        bytes.extend_from_slice(&facts);
        if facts.len() % 2 == 1 {
            bytes.push(0);
        }
        hash.update(&bytes[padding.len()..]);
        let signed: [u8; 32] = hash.finalize().into();
        let signature = sign(&signed)?;
        bytes.extend_from_slice(b"ewsg");
        bytes.extend_from_slice(&((SIGNATURE_CHUNK_LEN - 8) as u32).to_le_bytes());
        bytes.extend_from_slice(&sign_id);
        bytes.extend_from_slice(&signature);
        Ok(BuiltFooter { bytes, signed })
    }

    /// Reads a footer from `bytes`, which begin at the `ewfx` chunk and end with the file; `format` is its header's.
    pub(crate) fn parse(bytes: &[u8], id: RecordingId, format: u32, path: &str) -> Result<Footer, Error> {
        let bad = || Error::tampered(path, "it does not end as a finished recording does");
        let mut cursor = Cursor::new(bytes);
        let mut read = || {
            let (name, len) = (cursor.array::<4>()?, cursor.u32()?);
            let (found, facts_len) = (cursor.u32()?, cursor.u32()?);
            let (chunks, digest) = (cursor.u64()?, cursor.array::<32>()?);
            let facts = cursor.take(usize::try_from(facts_len).ok()?)?;
            let padding = cursor.take(facts.len() % 2)?;
            let (sign_name, sign_len) = (cursor.array::<4>()?, cursor.u32()?);
            let (sign_id, signature) = (cursor.array::<8>()?, cursor.array::<SIGNATURE_LENGTH>()?);
            let fits = &name == b"ewfx"
                && len as usize == FACTS_CHUNK_LEN - 8 + facts.len()
                && found == format
                && padding.iter().all(|&b| b == 0)
                && &sign_name == b"ewsg"
                && sign_len as usize == SIGNATURE_CHUNK_LEN - 8
                && cursor.is_empty();
            fits.then_some((facts, chunks, digest, sign_id, signature))
        };
        let (facts, chunks, digest, sign_id, signature) = read().ok_or_else(bad)?;
        Ok(Footer { facts: facts_of(facts, id, path)?, chunks, digest, sign_id, signature })
    }
}

/// Where a recording's file lies: the UTC date of its start, which its name carries.
pub(crate) fn path_of(id: RecordingId) -> String {
    let (year, month, day) = id.started().date();
    format!("{RECORDINGS_DIR}/{year:04}/{month:02}/{day:02}/{id}.wav")
}

/// The folder of the recordings.
pub(crate) const RECORDINGS_DIR: &str = "recordings";

/// The recording whose file this is, when it lies where it should.
pub(crate) fn id_of(path: &str) -> Option<RecordingId> {
    let name = path.rsplit('/').next()?.strip_suffix(".wav")?;
    let id = name.parse().ok()?;
    (path_of(id) == path).then_some(id)
}

/// A digest as text.
pub(crate) fn digest_text(digest: &[u8; 32]) -> String {
    hex(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use decode::Timestamp;
    use proptest::prelude::*;

    fn facts(id: RecordingId) -> RecordingFacts {
        let json = serde_json::json!({
            "id": id, "call": "c", "segment": 1, "state": "recording", "source": "mirror", "extension": "1001",
            "direction": "inbound", "started": id.started(), "duration_ms": 0, "ring_ms": 0, "hold_ms": 0, "talk_ms": 0,
            "tracks": [], "pauses": [], "holds": [], "dtmf": [], "tags": [], "held": false, "sip_call_ids": [],
            "rule": "all"
        });
        serde_json::from_value(json).expect("facts")
    }

    fn head() -> Head {
        let id = RecordingId::from_parts(Timestamp::from_millis(1_795_000_000_000), [7; 10]);
        let wrap = Wrap { key_id: [1; 8], ephemeral: [2; 32], wrapped: [3; WRAPPED_LEN] };
        Head { id, key_id: [1; 8], commitment: [4; 32], wrap, facts: facts(id) }
    }

    fn footer_bytes() -> Vec<u8> {
        let id = head().id;
        let built =
            Footer::build(FORMAT, &facts(id), 3, 10, Sha256::new(), [5; 8], |_| Ok([6; SIGNATURE_LENGTH]));
        built.expect("built").bytes
    }

    #[test]
    fn a_header_reads_back_and_the_wrapped_key_stands_where_it_is_destroyed() {
        let (bytes, address) = head().to_bytes().expect("built");
        let parsed = Head::parse(&bytes, "f").expect("read");
        assert_eq!((parsed.head, parsed.len), (head(), bytes.len() as u64));
        assert_eq!(parsed.address.head_hash, address.head_hash);
        assert_eq!(peek_wrap(&bytes[..WRAP_END]), Some((FORMAT, head().id, head().wrap)));
        assert_eq!(peek_wrap(&bytes[..WRAP_END - 1]), None);
        let at = WRAP_AT as usize;
        assert_eq!(bytes[at..at + 8], [1; 8]);
        assert_eq!(bytes[at + 8..at + 40], [2; 32]);
        assert_eq!(bytes[at + 40..at + WRAP_LEN], [3; WRAPPED_LEN]);
    }

    #[test]
    fn a_key_wrapped_anew_leaves_the_chunks_where_they_are() {
        let mut rotated = head();
        rotated.wrap = Wrap { key_id: [9; 8], ephemeral: [9; 32], wrapped: [9; WRAPPED_LEN] };
        let (one, two) = (head().to_bytes().expect("built").1, rotated.to_bytes().expect("built").1);
        assert_eq!((one.head_hash, one.key_id), (two.head_hash, two.key_id));
    }

    #[test]
    fn a_key_wrapped_anew_leaves_the_hash_as_it_is_and_anything_else_does_not() {
        let bytes = head().to_bytes().expect("built").0;
        let hash = |bytes: &[u8]| <[u8; 32]>::from(head_hash(bytes).finalize());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let wrapped = (WRAP_AT as usize..WRAP_AT as usize + WRAP_LEN).contains(&at);
            assert_eq!(hash(&changed) == hash(&bytes), wrapped, "byte {at}");
        }
    }

    #[test]
    fn a_path_names_its_recording_only_in_its_place() {
        let id = head().id;
        let path = path_of(id);
        assert_eq!(path, format!("recordings/2026/11/18/{id}.wav"));
        assert_eq!(id_of(&path), Some(id));
        for wrong in
            [format!("recordings/2026/11/19/{id}.wav"), format!("{id}.wav"), path.replace(".wav", ".WAV")]
        {
            assert_eq!(id_of(&wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_changed_header_or_footer_is_read_without_panic(
            at: prop::sample::Index, byte: u8, cut: prop::sample::Index, of_head: bool,
        ) {
            let mut bytes = if of_head { head().to_bytes().expect("built").0 } else { footer_bytes() };
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(cut.index(bytes.len() + 1));
            let _ = Head::parse(&bytes, "f");
            let _ = Footer::parse(&bytes, head().id, FORMAT, "f");
        }

        #[test]
        fn a_footer_reads_back_whole_and_in_no_other_length(cut in 1..200_usize) {
            let bytes = footer_bytes();
            let footer = Footer::parse(&bytes, head().id, FORMAT, "f").expect("read");
            prop_assert_eq!((footer.chunks, footer.sign_id), (3, [5; 8]));
            prop_assert!(Footer::parse(&bytes[..bytes.len() - cut], head().id, FORMAT, "f").is_err());
            prop_assert!(Footer::parse(&[&bytes[..], &vec![0; cut]].concat(), head().id, FORMAT, "f").is_err());
        }
    }
}
