//! How a recording's file ends: the footer, the sizes, the line in the ledger.
//!
//! The same for a call that ended in order and for one that the recorder did not see the end of; the latter is closed
//! without its key, and without sealing anything.

use sha2::Sha256;

use crate::disk::Disk;
use crate::journal::{Part, Transaction};
use crate::keys::Keys;
use crate::layout::Layout;
use crate::ledger::RecordingLine;
use crate::wave::{Footer, RIFF_SIZE_AT, make_sayable};
use crate::{Error, RecordingFacts, Row, SignatureState, State};

/// What is left to write to a recording's file.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub(crate) facts: RecordingFacts,
    /// Where `tail` goes: the end of what is already in the file and is to stay.
    pub(crate) at: u64,
    /// The last chunk, if it is not in the file yet, and the footer.
    pub(crate) tail: Vec<u8>,
    riff_size: [u8; 4],
    data_size: [u8; 4],
    data_size_at: u64,
    /// The digest that was signed.
    signed: [u8; 32],
}

impl Ending {
    /// `hash` has taken the file up to the end of its chunks; `last_chunk` is what of that is not written yet, and
    /// belongs at `at`. The chunks begin at `data_at`; `format` is that of the header.
    #[allow(clippy::too_many_arguments, reason = "each is one fact of the file, and there are two callers")]
    pub(crate) fn new(
        keys: &Keys,
        format: u32,
        mut facts: RecordingFacts,
        chunks: u64,
        data_at: u64,
        at: u64,
        last_chunk: Vec<u8>,
        hash: Sha256,
    ) -> Result<Ending, Error> {
        make_sayable(&mut facts);
        let data_len = at + last_chunk.len() as u64 - data_at;
        let footer = Footer::build(format, &facts, chunks, data_len, hash, keys.sign_id(), |digest| {
            keys.sign(digest)
        })?;
        let mut tail = last_chunk;
        tail.extend_from_slice(&footer.bytes);
        let too_long = || Error::Refused { what: "a recording of more than 4 GB".into() };
        let size = |len: u64| u32::try_from(len).map(u32::to_le_bytes).map_err(|_| too_long());
        Ok(Ending {
            riff_size: size(at + tail.len() as u64 - 8)?,
            data_size: size(data_len)?,
            data_size_at: data_at - 4,
            signed: footer.signed,
            facts,
            at,
            tail,
        })
    }

    /// Ends a file at its last whole chunk. `facts` are the ones known in memory; without any, those of the start.
    pub(crate) fn interrupted(
        disk: &dyn Disk,
        keys: &Keys,
        layout: &Layout,
        facts: Option<RecordingFacts>,
    ) -> Result<Ending, Error> {
        let walk = layout.walk(disk)?;
        let mut facts = facts.unwrap_or_else(|| layout.parsed.head.facts.clone());
        let ended = walk.latest.unwrap_or(facts.started).max(facts.started);
        facts.state = State::Interrupted;
        facts.ended = Some(ended);
        facts.duration_ms = ended.millis_since(facts.started);
        let hash = layout.hash_to(disk, walk.end)?;
        let (format, data_at) = (layout.parsed.format, layout.parsed.len);
        Ending::new(keys, format, facts, walk.chunks, data_at, walk.end, Vec::new(), hash)
    }

    /// Length of the finished file.
    pub(crate) fn file_len(&self) -> u64 {
        self.at + self.tail.len() as u64
    }

    /// The operations, in an order that can be cut anywhere: the size of `data` comes last, and until it is there the
    /// file counts as not finished.
    pub(crate) fn parts<'a>(&'a self, path: &'a str) -> [Part<'a>; 4] {
        [
            Part::Write { path, offset: self.at, bytes: &self.tail },
            Part::SetLen { path, len: self.file_len() },
            Part::Write { path, offset: RIFF_SIZE_AT, bytes: &self.riff_size },
            Part::Write { path, offset: self.data_size_at, bytes: &self.data_size },
        ]
    }

    /// The operations as one journal entry, to which the line of the ledger is still to be added.
    pub(crate) fn entry(&self, path: &str) -> Transaction {
        self.parts(path).iter().fold(Transaction::new(), Transaction::push)
    }

    pub(crate) fn line(&self) -> RecordingLine {
        RecordingLine::finished(&self.facts, self.file_len(), &self.signed)
    }

    /// The row of the finished recording, without the hash of its file: that takes reading it.
    pub(crate) fn row(&self) -> Row {
        Row::of(self.facts.clone(), self.file_len(), SignatureState::Valid)
    }
}
