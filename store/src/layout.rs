//! Reading a recording file without its key: header, chunk frames, footer, hashes, signature.
//!
//! What can be said about a file by anybody who has the public keys. Opening the chunks is [`crate::reader`]'s.

use decode::Timestamp;
use sha2::{Digest, Sha256};

use crate::chunk::{FRAME_LEN, Frame};
use crate::disk::ReadAt;
use crate::facts::State;
use crate::keys::signing::Signer;
use crate::wave::{
    FACTS_CHUNK_LEN, FACTS_MAX, Footer, Head, ParsedHead, RIFF_SIZE_AT, SIGNATURE_CHUNK_LEN, SIZE_OPEN,
    WRAP_AT, WRAP_LEN,
};
use crate::{Error, SignatureState};

/// Bytes hashed at a time.
const BLOCK_LEN: usize = 256 * 1024;

/// A recording file, its chunks not yet followed.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) path: String,
    pub(crate) parsed: ParsedHead,
    pub(crate) len: u64,
    /// None while the recording is not finished.
    pub(crate) end: Option<End>,
}

/// The end of a finished file.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// Where the chunks end.
    pub(crate) data_end: u64,
    /// Where the `ewfx` chunk stands.
    pub(crate) footer_at: u64,
    pub(crate) footer: Footer,
}

/// What the frame headers in clear say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Walk {
    pub(crate) chunks: u64,
    /// Where the last whole chunk ends.
    pub(crate) end: u64,
    pub(crate) first: Option<Timestamp>,
    pub(crate) latest: Option<Timestamp>,
    /// The last chunk says that it is the last.
    pub(crate) closed: bool,
}

/// Exactly `len` bytes from `offset`.
pub(crate) fn read_exact(disk: &dyn ReadAt, path: &str, offset: u64, len: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; len];
    match disk.read_at(path, offset, &mut bytes) {
        Ok(read) if read == len => Ok(bytes),
        Ok(_) => Err(Error::damaged(path, "it ends too early")),
        Err(e) => Err(Error::io(path, e)),
    }
}

impl Layout {
    /// Reads header and footer. [`Error::NotFound`] when there is no such file, [`Error::Damaged`] when it is no
    /// recording, [`Error::Tampered`] when it claims to be finished and does not end as one.
    pub(crate) fn read(disk: &dyn ReadAt, path: &str) -> Result<Layout, Error> {
        let mut layout = Layout::read_head(disk, path)?;
        if layout.parsed.data_size != SIZE_OPEN {
            layout.end = Some(layout.read_end(disk)?);
        }
        Ok(layout)
    }

    /// The same of a file that a backup cut short: its header was copied when it was finished, its length was taken before.
    /// None when it is not shorter than its header says.
    pub(crate) fn read_cut(disk: &dyn ReadAt, path: &str) -> Result<Option<Layout>, Error> {
        let layout = Layout::read_head(disk, path)?;
        let whole = u64::from(layout.parsed.riff_size) + 8;
        let is_cut = layout.parsed.data_size != SIZE_OPEN && layout.len < whole;
        Ok(is_cut.then_some(layout))
    }

    /// Header alone.
    fn read_head(disk: &dyn ReadAt, path: &str) -> Result<Layout, Error> {
        let len = disk.len(path).map_err(|e| Error::io(path, e))?;
        let len = len.ok_or_else(|| Error::NotFound { what: path.to_owned() })?;
        let peek = read_exact(disk, path, 0, Head::PEEK_LEN.min(usize::try_from(len).unwrap_or(usize::MAX)))?;
        let head_len =
            Head::len(&peek).ok_or_else(|| Error::damaged(path, "it has no header of a recording"))?;
        if head_len as u64 > len {
            return Err(Error::damaged(path, "it ends inside its header"));
        }
        let parsed = Head::parse(&read_exact(disk, path, 0, head_len)?, path)?;
        Ok(Layout { path: path.to_owned(), parsed, len, end: None })
    }

    fn read_end(&self, disk: &dyn ReadAt) -> Result<End, Error> {
        let tampered = |what: &str| Error::tampered(&self.path, what);
        let data_end = self.parsed.len + u64::from(self.parsed.data_size);
        let footer_at = data_end + data_end % 2;
        let footer_len = self.len.checked_sub(footer_at).and_then(|len| usize::try_from(len).ok());
        let footer_len =
            footer_len.ok_or_else(|| tampered("it is cut: the file is shorter than its header says"))?;
        let fits =
            FACTS_CHUNK_LEN + SIGNATURE_CHUNK_LEN..=FACTS_CHUNK_LEN + FACTS_MAX + 1 + SIGNATURE_CHUNK_LEN;
        if !fits.contains(&footer_len) || u64::from(self.parsed.riff_size) != self.len - 8 {
            return Err(tampered("its length is not the one in its header"));
        }
        let bytes = read_exact(disk, &self.path, footer_at, footer_len)?;
        let footer = Footer::parse(&bytes, self.parsed.head.id, self.parsed.format, &self.path)?;
        Ok(End { data_end, footer_at, footer })
    }

    /// Follows the chunks by their frame headers, up to the first place where none stands.
    pub(crate) fn walk(&self, disk: &dyn ReadAt) -> Result<Walk, Error> {
        let limit = self.end.as_ref().map_or(self.len, |end| end.data_end);
        let mut walk = Walk { end: self.parsed.len, ..Walk::default() };
        let mut header = [0; FRAME_LEN];
        while !walk.closed && walk.end + FRAME_LEN as u64 <= limit {
            let read =
                disk.read_at(&self.path, walk.end, &mut header).map_err(|e| Error::io(&self.path, e))?;
            let frame =
                Frame::parse(&header).filter(|frame| read == FRAME_LEN && frame.number == walk.chunks);
            let Some(frame) = frame else { break };
            let next = walk.end + FRAME_LEN as u64 + u64::from(frame.sealed_len);
            if next > limit {
                break;
            }
            walk.end = next;
            walk.chunks += 1;
            walk.closed = frame.last;
            walk.first = walk.first.or(Some(frame.first));
            walk.latest = walk.latest.max(Some(frame.latest));
        }
        Ok(walk)
    }

    /// Hashes `from..to`, with the size fields as they are while the file is open, and the wrapped key as if it were
    /// destroyed where the format allows to wrap it anew.
    fn hash(&self, disk: &dyn ReadAt, hash: &mut Sha256, from: u64, to: u64) -> Result<(), Error> {
        let size = |field: u64| (field..field + 4, 0xff);
        let wrap = (WRAP_AT..WRAP_AT + WRAP_LEN as u64, 0);
        let mut not_hashed = vec![size(RIFF_SIZE_AT), size(self.parsed.data_size_at())];
        not_hashed.extend(self.parsed.is_rewrappable().then_some(wrap));
        let mut block = vec![0; BLOCK_LEN];
        let mut at = from;
        while at < to {
            let want = usize::try_from(to - at).unwrap_or(BLOCK_LEN).min(BLOCK_LEN);
            let read =
                disk.read_at(&self.path, at, &mut block[..want]).map_err(|e| Error::io(&self.path, e))?;
            if read == 0 {
                return Err(Error::damaged(&self.path, "it became shorter while it was read"));
            }
            for (range, value) in &not_hashed {
                for place in range.clone() {
                    let place = place.checked_sub(at).and_then(|i| usize::try_from(i).ok());
                    if let Some(byte) = place.and_then(|i| block[..read].get_mut(i)) {
                        *byte = *value;
                    }
                }
            }
            hash.update(&block[..read]);
            at += read as u64;
        }
        Ok(())
    }

    /// The running hash of everything up to `end`, to build a footer on.
    pub(crate) fn hash_to(&self, disk: &dyn ReadAt, end: u64) -> Result<Sha256, Error> {
        let mut hash = Sha256::new();
        self.hash(disk, &mut hash, 0, end)?;
        Ok(hash)
    }

    /// Checks all that public keys can: that the file is finished, that its chunks are all there and in order, that it
    /// hashes to what its footer says and that the signature is this key's. Gives the digest that was signed.
    pub(crate) fn verify(&self, disk: &dyn ReadAt, signer: &Signer) -> Result<[u8; 32], Error> {
        let tampered = |what: &str| Error::tampered(&self.path, what);
        let end = self.end.as_ref().ok_or_else(|| tampered("its end is missing"))?;
        let walk = self.walk(disk)?;
        if walk.end != end.data_end || walk.chunks != end.footer.chunks {
            return Err(tampered("chunks are missing, repeated or out of order"));
        }
        match end.footer.facts.state {
            State::Complete if !walk.closed => return Err(tampered("its last chunk is missing")),
            State::Recording => return Err(tampered("a finished file says that it is still recording")),
            _ => {}
        }
        let mut hash = self.hash_to(disk, end.footer_at)?;
        if <[u8; 32]>::from(hash.clone().finalize()) != end.footer.digest {
            return Err(tampered("its bytes do not hash to what its footer says"));
        }
        self.hash(disk, &mut hash, end.footer_at, self.len - SIGNATURE_CHUNK_LEN as u64)?;
        let signed: [u8; 32] = hash.finalize().into();
        if end.footer.sign_id != signer.id() {
            return Err(tampered("it is signed by another key than this archive's"));
        }
        if !signer.verifies(&signed, &end.footer.signature) {
            return Err(tampered("its signature does not hold"));
        }
        Ok(signed)
    }

    /// What the signature is worth, for lists; only reading errors are errors here.
    pub(crate) fn signature(&self, disk: &dyn ReadAt, signer: &Signer) -> Result<SignatureState, Error> {
        if self.end.is_none() {
            return Ok(SignatureState::Missing);
        }
        match self.verify(disk, signer) {
            Ok(_) => Ok(SignatureState::Valid),
            Err(Error::Tampered { .. } | Error::Damaged { .. }) => Ok(SignatureState::Invalid),
            Err(e) => Err(e),
        }
    }
}

/// SHA-256 of a whole file as it lies there, which is what `sha256sum` prints.
pub(crate) fn file_digest(disk: &dyn ReadAt, path: &str) -> Result<[u8; 32], Error> {
    digest_of(disk, path, u64::MAX)
}

/// SHA-256 of a file's first `len` bytes, or of all of it when it is shorter.
pub(crate) fn digest_of(disk: &dyn ReadAt, path: &str, len: u64) -> Result<[u8; 32], Error> {
    let (mut hash, mut block, mut at) = (Sha256::new(), vec![0; BLOCK_LEN], 0);
    loop {
        let want = usize::try_from(len - at).unwrap_or(BLOCK_LEN).min(BLOCK_LEN);
        let read = disk.read_at(path, at, &mut block[..want]).map_err(|e| Error::io(path, e))?;
        hash.update(&block[..read]);
        at += read as u64;
        if read < BLOCK_LEN {
            return Ok(hash.finalize().into());
        }
    }
}
