//! What stays of a recording whose audio lies in archive locations alone: its header, with the wrapped key, and its footer.
//!
//! The two stand one behind the other in `ID.moved`, in the folder where `ID.wav` was. So everything but the audio is known
//! here as before; rotation wraps the key anew here; and a deletion that destroys the key here makes the copies unreadable
//! with their own wrap gone next. The ledger keeps the hash of a stub, so that no facts can be changed in it.

use sha2::{Digest, Sha256};

use crate::disk::{ReadAt, read_whole};
use crate::layout::{End, Layout, read_exact};
use crate::wave::{
    FACTS_CHUNK_LEN, FACTS_MAX, Footer, Head, RECORDINGS_DIR, SIGNATURE_CHUNK_LEN, SIZE_OPEN, WRAP_AT,
    WRAP_END, digest_text, id_of, path_of,
};
use crate::{Error, RecordingId};

/// Header and footer, each with its facts.
const STUB_MAX: u64 = 2 * (FACTS_MAX as u64 + 1024);

/// Where the stub of a recording lies.
pub(crate) fn stub_path(id: RecordingId) -> String {
    let path = path_of(id);
    format!("{}.moved", path.strip_suffix(".wav").unwrap_or(&path))
}

/// The recording whose stub lies there.
pub(crate) fn stub_id(path: &str) -> Option<RecordingId> {
    id_of(&format!("{}.wav", path.strip_prefix(RECORDINGS_DIR).and_then(|_| path.strip_suffix(".moved"))?))
}

/// The recording whose file or stub lies there.
pub(crate) fn recording_at(path: &str) -> Option<RecordingId> {
    id_of(path).or_else(|| stub_id(path))
}

/// Where a recording's file lies in the archive's folder, or its stub; none when neither is there.
pub(crate) fn home_of(disk: &dyn ReadAt, id: RecordingId) -> Result<Option<String>, Error> {
    for path in [path_of(id), stub_path(id)] {
        if disk.len(&path).map_err(|e| Error::io(&path, e))?.is_some() {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// The layout of a recording by its file or its stub.
pub(crate) fn layout_at(disk: &dyn ReadAt, path: &str) -> Result<Layout, Error> {
    match stub_id(path) {
        Some(id) => Ok(Stub::read(disk, id)?.layout),
        None => Layout::read(disk, path),
    }
}

/// A stub that was read.
#[derive(Clone, Debug)]
pub(crate) struct Stub {
    /// The layout of the whole file, as a copy of it has it; its path is the recording's own.
    pub(crate) layout: Layout,
    /// The bytes of the header.
    pub(crate) head: Vec<u8>,
    /// SHA-256 of the stub in hexadecimal, the wrapped key counted as zeros.
    pub(crate) digest: String,
}

impl Stub {
    /// The bytes of the stub of a finished file.
    pub(crate) fn bytes_of(disk: &dyn ReadAt, layout: &Layout) -> Result<Vec<u8>, Error> {
        let path = &layout.path;
        let end = layout.end.as_ref().ok_or_else(|| Error::tampered(path, "its end is missing"))?;
        let len = |from: u64, to: u64| usize::try_from(to.saturating_sub(from)).unwrap_or_default();
        let mut bytes = read_exact(disk, path, 0, len(0, layout.parsed.len))?;
        bytes.append(&mut read_exact(disk, path, end.footer_at, len(end.footer_at, layout.len))?);
        Ok(bytes)
    }

    /// Reads the stub of a recording. [`Error::NotFound`] when there is none.
    pub(crate) fn read(disk: &dyn ReadAt, id: RecordingId) -> Result<Stub, Error> {
        let path = stub_path(id);
        let bytes = read_whole(disk, &path, STUB_MAX).map_err(|e| Error::io(&path, e))?;
        let bytes = bytes.ok_or_else(|| Error::NotFound { what: id.to_string() })?;
        Stub::parse(&bytes, id, &path)
    }

    /// Reads its bytes; `path` is for errors.
    pub(crate) fn parse(bytes: &[u8], id: RecordingId, path: &str) -> Result<Stub, Error> {
        let tampered = |what: &str| Error::tampered(path, what);
        let head_len =
            Head::len(bytes).ok_or_else(|| Error::damaged(path, "it has no header of a recording"))?;
        let (head, footer) = bytes
            .split_at_checked(head_len)
            .ok_or_else(|| Error::damaged(path, "it ends inside its header"))?;
        let parsed = Head::parse(head, path)?;
        if parsed.head.id != id {
            return Err(tampered("it is another recording's"));
        }
        let len = u64::from(parsed.riff_size) + 8;
        let data_end = parsed.len + u64::from(parsed.data_size);
        let footer_at = data_end + data_end % 2;
        let fits =
            FACTS_CHUNK_LEN + SIGNATURE_CHUNK_LEN <= footer.len() && footer_at + footer.len() as u64 == len;
        if parsed.data_size == SIZE_OPEN || !fits {
            return Err(tampered("its length is not the one in its header"));
        }
        let footer = Footer::parse(footer, id, parsed.format, path)?;
        let layout =
            Layout { path: path_of(id), parsed, len, end: Some(End { data_end, footer_at, footer }) };
        let mut hashed = bytes.to_vec();
        if let Some(wrap) = hashed.get_mut(WRAP_AT as usize..WRAP_END) {
            wrap.fill(0);
        }
        let digest = digest_text(&Sha256::digest(&hashed).into());
        Ok(Stub { layout, head: head.to_vec(), digest })
    }
}
