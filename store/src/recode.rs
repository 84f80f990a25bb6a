//! A recording's audio in another encoding: what is due, and putting the new file in the old one's place.
//!
//! The new file is written beside the archive's recordings, with a data key of its own, read back and verified as a whole; then
//! one entry of the journal destroys the old file's key, puts the new one in its place, and adds the line of the ledger that
//! links both: the digests that either was signed over. Whatever interrupts it, one of the two is there, whole.
//!
//! What the audio becomes is `web`'s, which recordings are meant is `policy`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use decode::{Codec, Signal, Timestamp};
use policy::{Cleared, Cold, ColdVerdict, RecodePass, Redacted, Stays};
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use crate::chunk::{ChunkCipher, FRAME_LEN, Sealer, TAG_LEN};
use crate::closing::Ending;
use crate::disk::{Disk, ReadAt, locked, parent};
use crate::journal::{COLD_DIR, waiting_for};
use crate::keys::DataKey;
use crate::keys::manage::KeyLine;
use crate::layout::Layout;
use crate::record::{
    Encoder, Mark, PACKET_HEADER_LEN, PAYLOAD_MAX, SIGNAL_HEADER_LEN, StreamsFull, put_signal, to_micros,
};
use crate::retention::subject_of;
use crate::scribe::Command;
use crate::source::Source;
use crate::wave::{DATA_MAX, FORMAT, Head, WRAP_AT, digest_text, head_hash, path_of};
use crate::writer::CHUNK_BYTES_MAX;
use crate::{Archive, Error, Recoded, RecordingFacts, RecordingId, Row};

/// The longest stretch in one chunk, in milliseconds. Nothing is lost with a chunk that is not sealed yet, so they are long:
/// each costs 48 bytes and the streams that it defines.
const CHUNK_SPAN_COLD_MS: i64 = 30_000;
/// How far back in time a record may lie before the start of its chunk, in nanoseconds.
const BACKWARD_NS_MAX: i64 = CHUNK_SPAN_COLD_MS * decode::time::NS_PER_MS;
/// How often the journal is asked to let go of a recording that was finished a moment ago.
const JOURNAL_TURNS: u32 = 2;

/// A recording that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColdItem {
    /// The recording.
    pub id: RecordingId,
    /// Length of its file.
    pub bytes: u64,
    /// Length of its audio.
    pub duration_ms: u64,
    /// The rule's word.
    pub pass: RecodePass,
}

/// What a rule says of an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColdPlan {
    /// What is due, oldest first.
    pub due: Vec<ColdItem>,
    /// What stays, counted by why.
    pub stays: BTreeMap<Stays, u64>,
}

/// Who has a recording re-encoded, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByWhom {
    /// By the machine's clock.
    pub at: Timestamp,
    /// The user.
    pub who: String,
}

/// What the audio has become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coded {
    /// The encoding.
    pub codec: Codec,
    /// The encodings before.
    pub from: Vec<Codec>,
    /// Samples per second of what is played.
    pub rate: u32,
    /// How long that is, in samples.
    pub samples: u64,
}

impl Archive {
    /// What this rule would have re-encoded now. Looks at the index alone.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Damaged`] when the index cannot be read.
    pub fn cold_plan(&self, rule: &Cold, now: Timestamp) -> Result<ColdPlan, Error> {
        self.sync()?;
        let mut plan = ColdPlan::default();
        for row in self.rows() {
            let row = row?;
            match judge(rule, &row, now) {
                ColdVerdict::Due(pass) => {
                    let (id, bytes, duration_ms) = (row.facts.id, row.bytes, row.facts.duration_ms);
                    plan.due.push(ColdItem { id, bytes, duration_ms, pass });
                }
                ColdVerdict::Stays(why) => *plan.stays.entry(why).or_default() += 1,
            }
        }
        plan.due.reverse();
        Ok(plan)
    }

    /// Begins the new file of a recording that a rule has passed. Nothing happens to the old one before
    /// [`Replacement::finish`]; dropped before that, the new one is removed.
    ///
    /// # Errors
    /// [`Error::Stays`] for a recording that is held, running, deleted or was re-encoded already, and while keys are rotated;
    /// [`Error::Tampered`] when it is not what was sealed and what the ledger names; [`Error::KeyMissing`] without the signing
    /// key; [`Error::NotFound`], [`Error::Full`], [`Error::Io`].
    pub fn replace<'a>(&'a self, id: RecordingId, pass: &'a RecodePass) -> Result<Replacement<'a>, Error> {
        Replacement::begin(self, id, pass).map_err(|e| e.under(self.dir()))
    }
}

fn judge(rule: &Cold, row: &Row, now: Timestamp) -> ColdVerdict {
    if row.moved {
        return ColdVerdict::Stays(Stays::Moved);
    }
    rule.judge(&subject_of(row), row.facts.recoded.is_some(), now)
}

/// Stands anything against it now?
fn may_recode(row: &Row) -> Result<(), Error> {
    let subject = subject_of(row);
    let why = if subject.is_running() {
        Stays::Running
    } else if subject.holds > 0 {
        Stays::Held
    } else if !subject.has_audio {
        Stays::NoAudio
    } else if row.moved {
        Stays::Moved
    } else if row.facts.recoded.is_some() {
        Stays::Recoded
    } else {
        return Ok(());
    };
    Err(Error::Stays { what: row.facts.id.to_string(), why: why.words().to_owned() })
}

/// The new file of a recording, while it is written.
#[derive(Debug)]
pub struct Replacement<'a> {
    archive: &'a Archive,
    pass: &'a RecodePass,
    /// As they were signed with the old file.
    facts: RecordingFacts,
    /// The digest that it was signed over.
    from_signed: [u8; 32],
    from_bytes: u64,
    /// Where the new one lies.
    path: String,
    key: DataKey,
    commitment: [u8; 32],
    encoder: Encoder,
    sealer: Sealer,
    /// Room for the frame header of the open chunk, and its content.
    buf: Vec<u8>,
    /// The open chunk's base and latest time; none while it is empty.
    span: Option<(Timestamp, Timestamp)>,
    /// Where the chunks begin, and where the open one will stand.
    data_at: u64,
    offset: u64,
    hash: Sha256,
    /// The journal may say that it takes the old one's place: only the journal's replay may remove it now.
    promised: bool,
}

impl<'a> Replacement<'a> {
    fn begin(archive: &'a Archive, id: RecordingId, pass: &'a RecodePass) -> Result<Self, Error> {
        let shared = &archive.shared;
        shared.ready()?;
        shared.keys.signing()?;
        may_recode(&archive.row(id)?)?;
        let old = path_of(id);
        let layout = Layout::read(&*shared.disk, &old)?;
        let from_signed = layout.verify(&*shared.disk, &shared.keys.signer())?;
        expect_named(archive, id, &from_signed)?;
        let (from_bytes, start) = (layout.len, layout.parsed.head.facts);
        let facts = layout.end.map(|end| end.footer.facts);
        let facts = facts.ok_or_else(|| Error::tampered(&old, "its end is missing"))?;
        let key = DataKey::random();
        let (wrap, made) = {
            let _turn = shared.keys.stay();
            shared.keys.wrap(&*shared.disk, id, &key)?
        };
        tell_key(archive, made)?;
        let commitment = key.commitment(id);
        let head = Head { id, key_id: wrap.key_id, commitment, wrap, facts: start };
        let (bytes, address) = head.to_bytes()?;
        let path = waiting_for(&old);
        let data_at = bytes.len() as u64;
        let mut new = Replacement {
            archive,
            pass,
            facts,
            from_signed,
            from_bytes,
            path,
            commitment,
            encoder: Encoder::default(),
            sealer: Sealer::new(ChunkCipher::new(key.chunk_cipher(id), &address)),
            key,
            buf: Vec::new(),
            span: None,
            data_at,
            offset: data_at,
            hash: head_hash(&bytes),
            promised: false,
        };
        new.begin_chunk();
        let disk = new.disk();
        disk.create_dir(COLD_DIR).map_err(|e| Error::io(COLD_DIR, e))?;
        // What an attempt before has left.
        disk.remove(&new.path).map_err(|e| Error::io(&new.path, e))?;
        new.write(0, &bytes)?;
        Ok(new)
    }

    fn disk(&self) -> &'a dyn Disk {
        &*self.archive.shared.disk
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        self.disk().write_at(&self.path, at, bytes).map_err(|e| Error::io(&self.path, e))
    }

    /// The facts of the recording, as they were sealed.
    #[must_use]
    pub fn facts(&self) -> &RecordingFacts {
        &self.facts
    }

    /// Keeps one packet.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Io`]; [`Error::Refused`] for a payload of more than 65,535 bytes or a file of 4 GB.
    pub fn append(&mut self, cleared: &Cleared<'_>) -> Result<(), Error> {
        let frame = cleared.frame();
        if frame.payload.len() > PAYLOAD_MAX {
            return Err(Error::Refused { what: format!("a payload of more than {PAYLOAD_MAX} bytes") });
        }
        let need = PACKET_HEADER_LEN + frame.payload.len();
        let base = self.make_room(frame.at, need)?;
        match self.encoder.audio(&mut self.buf, base, cleared.party(), frame) {
            Ok(()) => Ok(()),
            Err(StreamsFull) => Err(Error::Refused { what: "more streams than one chunk can define".into() }),
        }
    }

    /// Keeps a mark.
    ///
    /// # Errors
    /// As [`Replacement::append`].
    pub fn mark(&mut self, at: Timestamp, mark: &Mark) -> Result<(), Error> {
        let base = self.make_room(at, crate::writer::MARK_LEN_MAX)?;
        self.encoder.mark(&mut self.buf, base, at, mark);
        Ok(())
    }

    /// Keeps a SIP message of the old file, cleared as it stood there.
    ///
    /// # Errors
    /// As [`Replacement::append`].
    pub fn signal(&mut self, signal: &Signal<'_>, redacted: Redacted) -> Result<(), Error> {
        let need = SIGNAL_HEADER_LEN + signal.bytes.len();
        if need > CHUNK_BYTES_MAX {
            return Err(Error::Refused { what: format!("a SIP message of {} bytes", signal.bytes.len()) });
        }
        let at = signal.at.max(self.span.map_or(self.facts.started, |(base, _)| base));
        self.make_room(at, need)?;
        put_signal(&mut self.buf, signal, redacted);
        Ok(())
    }

    fn make_room(&mut self, at: Timestamp, need: usize) -> Result<Timestamp, Error> {
        if let Some((base, _)) = self.span {
            let from_base = at.nanos_since(base);
            let in_span = (-BACKWARD_NS_MAX..BACKWARD_NS_MAX).contains(&from_base);
            if !in_span || self.buf.len() - FRAME_LEN + need > CHUNK_BYTES_MAX {
                self.seal()?;
            }
        }
        let at = to_micros(at);
        let (base, latest) = self.span.get_or_insert((at, at));
        *latest = at.max(*latest);
        Ok(*base)
    }

    fn begin_chunk(&mut self) {
        self.buf.zeroize();
        self.buf.resize(FRAME_LEN, 0);
        self.encoder.begin_chunk();
    }

    fn seal(&mut self) -> Result<(), Error> {
        let Some((base, latest)) = self.span.take() else { return Ok(()) };
        let end = self.offset + (self.buf.len() + TAG_LEN) as u64;
        if end > DATA_MAX {
            return Err(Error::Refused { what: "a recording of more than 4 GB".into() });
        }
        self.sealer.seal(&mut self.buf, 0, false, base, latest);
        self.hash.update(&self.buf);
        self.write(self.offset, &self.buf)?;
        self.offset = end;
        self.begin_chunk();
        Ok(())
    }

    /// Ends the new file and puts it in the old one's place. On disk, and in the lists, when this returns. The old file's key is
    /// destroyed: this cannot be undone.
    ///
    /// # Errors
    /// [`Error::Stays`] when something has come to stand against it since it was begun, and when the new file is no shorter
    /// than the old one; [`Error::Tampered`] when either is not what was written; [`Error::Full`], [`Error::Io`]. The old file
    /// is as it was then, but for an error of the disk in the very last step, which the next opening of the archive does again.
    pub fn finish(self, by: ByWhom, coded: Coded) -> Result<Recoded, Error> {
        let root = self.archive.dir();
        self.put_in_place(by, coded).map_err(|e| e.under(root))
    }

    fn put_in_place(mut self, by: ByWhom, coded: Coded) -> Result<Recoded, Error> {
        let recoded = Recoded {
            at: by.at,
            who: by.who,
            rule: self.pass.rule().to_owned(),
            from_signed: digest_text(&self.from_signed),
            from_bytes: self.from_bytes,
            from_codecs: coded.from,
            rate: coded.rate,
            samples: coded.samples,
        };
        for track in &mut self.facts.tracks {
            track.stored = Some(coded.codec.clone());
        }
        self.facts.recoded = Some(Box::new(recoded.clone()));
        let ending = self.end()?;
        if ending.file_len() >= self.from_bytes {
            return self.stays("it would not become shorter");
        }
        let (archive, shared, disk) = (self.archive, &self.archive.shared, self.disk());
        ending.parts(&self.path).iter().try_for_each(|part| part.apply(disk)).map_err(|e| self.io(e))?;
        // While keys are rotated, whose wrap stands in which file is not to change under the rotation's hands.
        let turn = shared.keys.stay();
        if shared.keys.is_rotating() {
            return self.stays("keys are being rotated");
        }
        let (wrap, made) = shared.keys.wrap(disk, self.facts.id, &self.key)?;
        self.write(WRAP_AT, &wrap.to_bytes())?;
        disk.sync(&self.path).and_then(|()| disk.sync_dir(COLD_DIR)).map_err(|e| self.io(e))?;
        tell_key(archive, made)?;
        self.read_back()?;
        let _one_at_a_time = locked(&shared.decisions);
        // Holds that were put before this are in the index then.
        archive.ask(Command::Sync)?;
        may_recode(&archive.row(self.facts.id)?)?;
        expect_named(archive, self.facts.id, &self.from_signed)?;
        let mut placed = false;
        for _ in 0..=JOURNAL_TURNS {
            let (ending, commitment) = (Box::new(ending.clone()), self.commitment);
            // An error does not tell whether it came before the journal's entry or after it.
            self.promised = true;
            placed = archive.ask(|answer| Command::Replace { ending, commitment, answer })?;
            if placed {
                break;
            }
            self.promised = false;
            archive.ask(Command::NewJournal)?;
        }
        drop(turn);
        if !placed {
            return self.stays("it was finished a moment ago; try again");
        }
        archive.ask(Command::Sync)?;
        Ok(recoded)
    }

    fn io(&self, error: std::io::Error) -> Error {
        Error::io(&self.path, error)
    }

    fn stays<T>(&self, why: &str) -> Result<T, Error> {
        Err(Error::Stays { what: self.facts.id.to_string(), why: why.to_owned() })
    }

    /// Seals the last chunk and signs.
    fn end(&mut self) -> Result<Ending, Error> {
        let ended = to_micros(self.facts.ended.unwrap_or(self.facts.started));
        let (base, latest) = self.span.take().unwrap_or((ended, ended));
        self.sealer.seal(&mut self.buf, 0, true, base, latest);
        self.hash.update(&self.buf);
        let (hash, chunks, last) = (self.hash.clone(), self.sealer.sealed(), std::mem::take(&mut self.buf));
        let (keys, facts) = (&self.archive.shared.keys, self.facts.clone());
        Ending::new(keys, FORMAT, facts, chunks, self.data_at, self.offset, last, hash)
    }

    /// What lies on the disk must be what was meant, before the old file's key goes: whole, signed, and opened by its key.
    fn read_back(&self) -> Result<(), Error> {
        let (shared, disk) = (&self.archive.shared, self.disk());
        let layout = Layout::read(disk, &self.path)?;
        layout.verify(disk, &shared.keys.signer())?;
        let head = &layout.parsed.head;
        if head.id != self.facts.id || head.commitment != self.commitment {
            return Err(Error::tampered(&self.path, "it is another file than the one that was written"));
        }
        if shared.keys.can_unwrap() && shared.keys.unwrap(head.id, &head.wrap, &self.path)? != self.key {
            return Err(Error::tampered(&self.path, "its key is not the one that it was sealed with"));
        }
        let source = Source { disk: Arc::clone(&shared.disk) as Arc<dyn ReadAt>, layout, is_verified: true };
        let mut reader = crate::Reader::with_key(shared, &source, &self.key);
        while let Some(chunk) = reader.next_chunk()? {
            chunk.records().try_for_each(|record| record.map(drop))?;
        }
        Ok(())
    }
}

impl Drop for Replacement<'_> {
    fn drop(&mut self) {
        if self.promised {
            return;
        }
        // What cannot be removed now goes when the archive is opened.
        let _ = self.disk().remove(&self.path);
        let _ = self.disk().sync_dir(parent(&self.path));
    }
}

/// The ledger must name the file by this digest.
fn expect_named(archive: &Archive, id: RecordingId, signed: &[u8; 32]) -> Result<(), Error> {
    let named = crate::verify::signed_lines(&archive.shared, &BTreeSet::from([id]))?;
    match named.get(&id) {
        Some((name, _)) if *name == digest_text(signed) => Ok(()),
        Some(_) => Err(Error::tampered(path_of(id), "genuine, but not the one that the ledger names")),
        None => Err(Error::tampered(path_of(id), "the ledger does not name it")),
    }
}

/// A month's key that was made for this stands in the ledger like every other.
fn tell_key(archive: &Archive, made: Option<crate::keys::Made>) -> Result<(), Error> {
    made.map_or(Ok(()), |made| archive.append_key_line(&KeyLine::month(&made)))
}
