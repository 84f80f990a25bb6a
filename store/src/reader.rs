//! Reads one recording: unwraps its key, opens its chunks, in order.
//!
//! A finished recording is verified as a whole before its first chunk is opened, so that nothing of a changed file is
//! ever played. What the records mean for the ear is the timeline's, in `decode`.

use std::sync::Arc;

use decode::Timestamp;

use crate::chunk::{ChunkCipher, FRAME_LEN, Frame};
use crate::disk::ReadAt;
use crate::journal::is_committed;
use crate::keys::DataKey;
use crate::record::{Content, Record};
use crate::shared::Shared;
use crate::source::Source;
use crate::wave::COMMITMENT_LEN;
use crate::{Error, RecordingFacts, RecordingId, State};

/// Reads one recording from its first chunk to its last.
#[derive(Debug)]
pub struct Reader {
    disk: Arc<dyn ReadAt>,
    root: std::path::PathBuf,
    path: String,
    facts: RecordingFacts,
    /// Of the file that was opened: another one may take its place.
    commitment: [u8; COMMITMENT_LEN],
    cipher: ChunkCipher,
    /// Where the next chunk stands.
    at: u64,
    /// Where the chunks end; they grow while the recording runs.
    end: Option<u64>,
    next: u64,
    /// The chunk with the last-flag has been read.
    closed: bool,
    buf: Vec<u8>,
}

impl Reader {
    /// Opens a recording: verifies it, or takes it as it is when it is `running`.
    pub(crate) fn open(shared: &Shared, id: RecordingId, running: bool) -> Result<Reader, Error> {
        Reader::on(shared, &Reader::verified(shared, id, running)?)
    }

    /// The facts that a finished recording was sealed with, verified. No key is needed.
    pub(crate) fn sealed_facts(shared: &Shared, id: RecordingId) -> Result<RecordingFacts, Error> {
        let layout = Reader::verified(shared, id, false)?.layout;
        Ok(layout.end.map_or(layout.parsed.head.facts, |end| end.footer.facts))
    }

    fn verified(shared: &Shared, id: RecordingId, running: bool) -> Result<Source, Error> {
        let source = Source::find(shared, id)?;
        match &source.layout.end {
            Some(_) if source.is_verified => {}
            Some(_) => drop(source.layout.verify(&*source.disk, &shared.keys.signer())?),
            None if running => {}
            None => return Err(Error::tampered(&source.layout.path, "its end is missing")),
        }
        Ok(source)
    }

    /// Reads a file that has been verified already.
    pub(crate) fn on(shared: &Shared, source: &Source) -> Result<Reader, Error> {
        let layout = &source.layout;
        let (head, path) = (&layout.parsed.head, layout.path.clone());
        if crate::wave::path_of(head.id) != path {
            return Err(Error::tampered(path, "it is another recording's file"));
        }
        let key = shared.keys.unwrap(head.id, &head.wrap, &path)?;
        if key.commitment(head.id) != head.commitment {
            return Err(Error::tampered(path, "its key is not the one that it was sealed with"));
        }
        Ok(Reader::with_key(shared, source, &key))
    }

    /// The same, wherever it lies, with a key that is at hand.
    pub(crate) fn with_key(shared: &Shared, source: &Source, key: &DataKey) -> Reader {
        let layout = &source.layout;
        let head = &layout.parsed.head;
        let facts = layout.end.as_ref().map_or(&head.facts, |end| &end.footer.facts);
        Reader {
            disk: Arc::clone(&source.disk),
            root: shared.root.clone(),
            path: layout.path.clone(),
            facts: facts.clone(),
            commitment: head.commitment,
            cipher: ChunkCipher::new(key.chunk_cipher(head.id), &layout.parsed.address),
            at: layout.parsed.len,
            end: layout.end.as_ref().map(|end| end.data_end),
            next: 0,
            closed: false,
            buf: Vec::new(),
        }
    }

    /// The facts: the final ones, or those of the start while the recording runs.
    #[must_use]
    pub fn facts(&self) -> &RecordingFacts {
        &self.facts
    }

    /// Opens the next chunk; none at the end. For a running recording the end may move: ask again later.
    ///
    /// # Errors
    /// [`Error::Tampered`] when a chunk does not open or is not the one that belongs here; [`Error::Io`].
    pub fn next_chunk(&mut self) -> Result<Option<OpenChunk<'_>>, Error> {
        match self.read_chunk() {
            Ok(None) => Ok(None),
            Ok(Some(frame)) => {
                let content =
                    self.buf.get(..frame.sealed_len as usize - crate::chunk::TAG_LEN).unwrap_or_default();
                Ok(Some(OpenChunk { frame, content: Content::parse(content, frame.first), path: &self.path }))
            }
            Err(e) => Err(self.or_replaced(e).under(&self.root)),
        }
    }

    /// A file that is another one by now is not one that was changed.
    fn or_replaced(&self, error: Error) -> Error {
        match is_committed(&*self.disk, &self.path, &self.commitment) {
            Ok(false) if matches!(error, Error::Tampered { .. }) => {
                Error::Replaced { path: self.path.clone().into() }
            }
            _ => error,
        }
    }

    /// Reads the next chunk into `buf` and opens it there.
    fn read_chunk(&mut self) -> Result<Option<Frame>, Error> {
        if self.end == Some(self.at) {
            if self.facts.state == State::Complete && !self.closed {
                return Err(self.tampered("its last chunk is missing"));
            }
            return Ok(None);
        }
        let running = self.end.is_none();
        let mut header = [0; FRAME_LEN];
        if self.read(self.at, &mut header)? < FRAME_LEN && running {
            return Ok(None);
        }
        let frame = Frame::parse(&header).filter(|frame| frame.number == self.next && !self.closed);
        let frame = match frame {
            Some(frame) => frame,
            // A running file was finished since: its footer follows its last chunk.
            None if running && self.closed => return Ok(None),
            None => return Err(self.tampered(&format!("no chunk {} where it should be", self.next))),
        };
        let mut buf = std::mem::take(&mut self.buf);
        buf.resize(frame.sealed_len as usize, 0);
        let read = self.read(self.at + FRAME_LEN as u64, &mut buf)?;
        self.buf = buf;
        if read < self.buf.len() && running {
            return Ok(None);
        }
        if self.cipher.open(&header, &mut self.buf).is_none() {
            return Err(self.tampered(&format!("chunk {} does not open", self.next)));
        }
        self.at += (FRAME_LEN + self.buf.len()) as u64;
        self.next += 1;
        self.closed = frame.last;
        Ok(Some(frame))
    }

    fn read(&self, at: u64, buf: &mut [u8]) -> Result<usize, Error> {
        self.disk.read_at(&self.path, at, buf).map_err(|e| Error::io(&self.path, e))
    }

    fn tampered(&self, what: &str) -> Error {
        Error::tampered(&self.path, what)
    }
}

/// A chunk whose content has been opened and found genuine.
#[derive(Debug)]
pub struct OpenChunk<'a> {
    frame: Frame,
    content: Content<'a>,
    path: &'a str,
}

impl OpenChunk<'_> {
    /// Its number in the recording, from 0.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.frame.number
    }

    /// Capture time of its first record.
    #[must_use]
    pub fn first(&self) -> Timestamp {
        self.frame.first
    }

    /// The latest capture time in it.
    #[must_use]
    pub fn latest(&self) -> Timestamp {
        self.frame.latest
    }

    /// Its records, in the order in which they were written; packets of one party may stand out of order, as captured.
    pub fn records(&self) -> impl Iterator<Item = Result<Record<'_>, Error>> {
        let chunk = self.frame.number;
        let wrong = move |e| Error::damaged(self.path, format!("chunk {chunk}: {e}"));
        self.content.records().map(move |record| record.map_err(wrong))
    }
}
