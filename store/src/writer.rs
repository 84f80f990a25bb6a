//! Writes one recording: packets, marks and SIP messages into the open chunk, sealed chunks to the disk thread.
//!
//! Takes only what a rule has cleared ([`policy::Cleared`], [`policy::ClearedSignal`]). A chunk is sealed in the buffer in
//! which it was built and from which the disk thread writes journal and file: nothing is copied, nothing is
//! allocated per packet. Who seals it is [`crate::seal`]'s, where and when bytes reach the disk [`crate::scribe`]'s.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::Receiver;
use decode::Timestamp;
use decode::time::NS_PER_MS;
use policy::{Cleared, ClearedSignal};
use zeroize::Zeroize;

use crate::chunk::{ChunkCipher, FRAME_LEN, Sealer, TAG_LEN};
use crate::closing::Ending;
use crate::disk::locked;
use crate::journal;
use crate::keys::DataKey;
use crate::keys::manage::KeyLine;
use crate::ledger::{self, Fate, RecordingLine};
use crate::listen::{LiveEnd, Standing};
use crate::record::{
    Encoder, Mark, PACKET_HEADER_LEN, PAYLOAD_MAX, SIGNAL_HEADER_LEN, put_signal, to_micros,
};
use crate::scribe::{Command, Handle};
use crate::seal::{Last, Sealing, Unsealed};
use crate::shared::{Open, Shared};
use crate::wave::{DATA_MAX, FORMAT, Head, head_hash};
use crate::{Error, RecordingFacts, RecordingId, Row, SignatureState, State};

/// The longest stretch of capture time in one chunk, in milliseconds. What is not sealed is lost when the process is killed: with
/// the time until a silent call is looked after, less than 200 ms; a power cut costs the journal's 200 ms more.
pub const CHUNK_SPAN_MS: i64 = 150;
/// The same of calls that come from a file: it is still there after a crash, and longer chunks cost less.
pub const CHUNK_SPAN_FILE_MS: i64 = 750;
/// The most content of one chunk, in bytes (a single longer packet still gets its chunk).
pub const CHUNK_BYTES_MAX: usize = 64 * 1024;
/// How far a packet may lie before the start of the open chunk, in nanoseconds; beyond that it begins a new one.
const BACKWARD_NS_MAX: i64 = 60_000 * NS_PER_MS;
/// The most bytes that a mark takes: a source of 4096 bytes and its header.
pub(crate) const MARK_LEN_MAX: usize = 4200;

/// What came of destroying a recording that runs.
#[derive(Debug)]
pub enum Discarded {
    /// It is gone.
    Destroyed,
    /// It is under a hold: it is there, and still to be ended.
    Held(Box<Writer>),
}

/// Writes one recording. Dropped without [`Writer::finish`] or [`Writer::discard`], the recording is closed as
/// interrupted at its last sealed chunk.
///
/// Laid out as written, so that what each packet touches stands on two cache lines: hundreds of writers take turns.
#[derive(Debug)]
#[repr(C)]
pub struct Writer {
    /// The journal entry of the open chunk, built in place: its prefix, room for the frame header, records.
    buf: Vec<u8>,
    /// Where the frame header of the open chunk stands in `buf`: behind the entry's prefix, whose length is the path's.
    frame_at: usize,
    /// How long a chunk may span, in nanoseconds of capture time.
    span_max: i64,
    /// The open chunk's base and latest time; none while it is empty.
    span: Option<(Timestamp, Timestamp)>,
    /// The latest capture time seen.
    latest: Timestamp,
    encoder: Encoder,
    /// Something was refused: the recording is not all there.
    lossy: bool,
    /// Nothing more is to be sent about this recording.
    ended: bool,
    /// Where the chunks begin in the file.
    data_at: u64,
    /// Where the open chunk will stand.
    offset: u64,
    /// Takes the full ones.
    sealing: Arc<Sealing>,
    /// As lists and searches have it.
    row: Arc<Row>,
    shared: Arc<Shared>,
    pool: Receiver<Vec<u8>>,
    /// The open chunk has marks.
    marked: bool,
}

impl Writer {
    /// Begins a recording: makes its key, wraps it, sends the header off.
    pub(crate) fn begin(shared: &Arc<Shared>, disk: &Handle, row: Arc<Row>) -> Result<Writer, Error> {
        let facts = row.facts.clone();
        let (id, started) = (facts.id, facts.started);
        let key = DataKey::random();
        // Until the header is on its way: a rotation that changes keys looks at all files after that.
        let _turn = shared.keys.stay();
        let (wrap, made) = shared.keys.wrap(&*shared.disk, id, &key)?;
        if let Some(made) = made {
            let line = ledger::line(&KeyLine::month(&made))?;
            let command = Command::Line { ledger: ledger::KEYS.to_owned(), line, settles: None };
            disk.commands.send(command)?;
        }
        let head = Head { id, key_id: wrap.key_id, commitment: key.commitment(id), wrap, facts };
        let (bytes, address) = head.to_bytes()?;
        let hash = head_hash(&bytes);
        let open = Arc::new(Open { id, path: crate::wave::path_of(id), failed: Default::default() });
        let data_from = journal::single_prefix_len(&open.path);
        let mut entry = Vec::with_capacity(data_from + bytes.len());
        journal::begin_single(&mut entry, &open.path);
        entry.extend_from_slice(&bytes);
        journal::finish_single(&mut entry, &open.path, 0);
        let sealer = Sealer::new(ChunkCipher::new(key.chunk_cipher(id), &address));
        let (tail, commands) = (shared.begin_tail(id), disk.commands.clone());
        let thread = disk.sealers.get().and_then(|sealers| sealers.of(id));
        let sealing = Sealing::new(Arc::clone(&open), tail, commands, thread, (sealer, hash));
        let mut writer = Writer {
            shared: Arc::clone(shared),
            pool: disk.pool.clone(),
            encoder: Encoder::default(),
            sealing,
            row,
            buf: Vec::new(),
            frame_at: data_from,
            span_max: shared.chunk_span_ms.load(Ordering::Relaxed) * NS_PER_MS,
            span: None,
            data_at: bytes.len() as u64,
            offset: bytes.len() as u64,
            latest: started,
            lossy: false,
            ended: false,
            marked: false,
        };
        writer.next_buffer(0);
        let len = writer.offset;
        writer.send(Command::Create { open, entry, len })?;
        Ok(writer)
    }

    /// The recording.
    #[must_use]
    pub fn id(&self) -> RecordingId {
        self.sealing.open.id
    }

    /// What is known of it by now: as it was begun, or as was [told](Writer::know) last.
    #[must_use]
    pub fn facts(&self) -> &RecordingFacts {
        &self.row.facts
    }

    /// Reads what [`Writer::append`] will touch, so that the waits for several recordings' memory run side by side.
    #[inline]
    pub fn fetch(&self) {
        std::hint::black_box((self.span, self.latest, self.encoder.fetch(), self.buf.last().copied()));
    }

    /// Keeps one packet.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`] when the disk no longer takes this recording: call [`Writer::finish`], which
    /// closes it as interrupted. [`Error::Refused`] for a payload of more than 65,535 bytes or a file of 4 GB.
    pub fn append(&mut self, cleared: &Cleared<'_>) -> Result<(), Error> {
        let frame = cleared.frame();
        if frame.payload.len() > PAYLOAD_MAX {
            self.lossy = true;
            return Err(Error::Refused { what: format!("a payload of more than {PAYLOAD_MAX} bytes") });
        }
        let need = PACKET_HEADER_LEN + frame.payload.len();
        let base = self.make_room(frame.at, need)?;
        if self.encoder.audio(&mut self.buf, base, cleared.party(), frame).is_err() {
            self.seal()?;
            let base = self.make_room(frame.at, need)?;
            let again = self.encoder.audio(&mut self.buf, base, cleared.party(), frame);
            assert!(again.is_ok(), "a new chunk has room for one stream");
        }
        Ok(())
    }

    /// Keeps a mark.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub fn mark(&mut self, at: Timestamp, mark: &Mark) -> Result<(), Error> {
        let base = self.make_room(at, MARK_LEN_MAX)?;
        self.encoder.mark(&mut self.buf, base, at, mark);
        self.sealing.tail.note(to_micros(at), mark);
        self.marked = true;
        Ok(())
    }

    /// Keeps a SIP message. One from before the recording's first packet stands where the recording stands now: it has its own
    /// time, and where chunks begin and end is the audio's to say.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub fn signal(&mut self, cleared: &ClearedSignal<'_>) -> Result<(), Error> {
        let signal = cleared.signal();
        if signal.bytes.len() + SIGNAL_HEADER_LEN > CHUNK_BYTES_MAX {
            return Err(Error::Refused { what: format!("a SIP message of {} bytes", signal.bytes.len()) });
        }
        let at = signal.at.max(self.span.map_or(self.latest, |(base, _)| base));
        self.make_room(at, SIGNAL_HEADER_LEN + signal.bytes.len())?;
        put_signal(&mut self.buf, &signal, cleared.redacted());
        Ok(())
    }

    /// More is known of the recording while it runs: lists and searches show it at once, and a recording that is cut off has it, too: it is in
    /// the journal before the next chunk. What is signed at the end is what [`Writer::finish`] is given.
    ///
    /// # Errors
    /// [`Error::Closed`] when the archive is closed; [`Error::Refused`] for facts of another recording.
    pub fn know(&mut self, mut facts: RecordingFacts) -> Result<(), Error> {
        if facts.id != self.id() {
            return Err(Error::Refused {
                what: format!("facts of {} for recording {}", facts.id, self.id()),
            });
        }
        crate::wave::make_sayable(&mut facts);
        facts.state = State::Recording;
        let json = serde_json::to_vec(&facts).map_err(|e| Error::Refused { what: e.to_string() })?;
        self.row = Arc::new(Row::of(facts, 0, SignatureState::Missing));
        let mut live = locked(&self.shared.live);
        if let Some(row) = live.get_mut(&self.id()).filter(|row| row.facts.state == State::Recording) {
            *row = Arc::clone(&self.row);
        }
        drop(live);
        self.send(Command::Know { open: Arc::clone(&self.sealing.open), facts: json })
    }

    /// Seals the open chunk when it is older than a chunk may be: a call that falls silent must not keep its last
    /// words in memory. To be called now and then with the capture time.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub fn seal_stale(&mut self, now: Timestamp) -> Result<(), Error> {
        match self.span {
            Some((base, _)) if now.nanos_since(base) >= self.span_max => {
                self.ready()?;
                self.seal()
            }
            _ => Ok(()),
        }
    }

    /// Ends the recording with its final facts, which are signed with it. The state is set here: complete, or
    /// interrupted when something of it could not be written. It is in the archive's lists at once, and on disk when the
    /// journal is synced next (at most 200 ms later, or by [`Archive::sync`](crate::Archive::sync)).
    ///
    /// # Errors
    /// [`Error::KeyMissing`] without the signing key, [`Error::Refused`] for facts of another recording,
    /// [`Error::Closed`] when the archive is closed. The file is closed as interrupted then.
    pub fn finish(mut self, mut facts: RecordingFacts) -> Result<RecordingId, Error> {
        if facts.id != self.id() {
            return Err(Error::Refused {
                what: format!("facts of {} for recording {}", facts.id, self.id()),
            });
        }
        facts.state = if self.lossy { State::Interrupted } else { State::Complete };
        // What is still to be sealed may be the first to find that something has failed.
        self.sealing.catch_up()?;
        if self.sealing.open.failed.is_set() || self.shared.failed.is_set() {
            self.abandon(Some(facts))?;
            return Ok(self.id());
        }
        let at = facts.ended.unwrap_or(self.latest);
        let span = *self.span.get_or_insert((to_micros(at), to_micros(at)));
        let content = self.buf.get(self.frame_at + FRAME_LEN..).unwrap_or_default();
        let heard = self.sealing.tail.copy(span.0, span.1, content);
        let Last { chunk, chunks, hash } = self.sealing.seal_last(std::mem::take(&mut self.buf), span);
        let keys = &self.shared.keys;
        let ending = Ending::new(keys, FORMAT, facts, chunks, self.data_at, self.offset, chunk, hash)?;
        locked(&self.shared.live).insert(self.id(), Arc::new(ending.row()));
        self.ended = true;
        self.send(Command::Finish { open: Arc::clone(&self.sealing.open), ending: Box::new(ending) })?;
        self.sealing.tail.publish(heard, self.standing());
        self.end_tail(LiveEnd::Finished);
        Ok(self.id())
    }

    /// Destroys the recording: its key, then its file. The ledger keeps that it was there and why it went. When this
    /// returns, nothing in the archive's files opens it any more; the copy of its header in the journal goes with that
    /// journal, seconds later. A hold beats whatever asks for it: the recording that is under one stays, and can be ended.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk refuses; [`Error::Closed`] when the archive is closed.
    pub fn discard(mut self, why: &str) -> Result<Discarded, Error> {
        let line = RecordingLine {
            id: self.id(),
            fate: Fate::Discarded,
            at: self.latest,
            bytes: 0,
            signed: String::new(),
            why: why.to_owned(),
            deletion: None,
            recoded: None,
        };
        self.sealing.catch_up()?;
        let (answer, result) = crossbeam_channel::bounded(1);
        let (open, line) = (Arc::clone(&self.sealing.open), Box::new(line));
        let sent = self.send(Command::Discard { open, line, answer });
        let answered = sent.and_then(|()| result.recv().map_err(|_| Error::Closed)?);
        if matches!(answered, Ok(false)) {
            return Ok(Discarded::Held(Box::new(self)));
        }
        self.ended = true;
        self.end_tail(LiveEnd::Discarded);
        self.buf.zeroize();
        answered.map(|_| Discarded::Destroyed)
    }

    /// May more be written?
    fn ready(&mut self) -> Result<(), Error> {
        let ready = self.sealing.open.failed.check().and_then(|()| self.shared.ready());
        ready.inspect_err(|_| self.lossy = true).map_err(|e| e.under(&self.shared.root))
    }

    /// Could something of this recording not be written?
    #[cfg(test)]
    pub(crate) fn is_failed(&self) -> bool {
        self.sealing.open.failed.is_set()
    }

    #[cfg(test)]
    pub(crate) fn sealing(&self) -> &Arc<Sealing> {
        &self.sealing
    }

    /// Makes sure that the open chunk takes a record of this time and length; gives the chunk's base time.
    fn make_room(&mut self, at: Timestamp, need: usize) -> Result<Timestamp, Error> {
        if let Some((base, _)) = self.span {
            let from_base = at.nanos_since(base);
            let content = self.buf.len() - self.frame_at - FRAME_LEN;
            if !(-BACKWARD_NS_MAX..self.span_max).contains(&from_base) || content + need > CHUNK_BYTES_MAX {
                self.seal()?;
            }
        }
        if self.span.is_none() {
            // Asked once per chunk: whatever failed since concerns chunks that are already sealed.
            self.ready()?;
        }
        let at = to_micros(at);
        let (base, latest) = self.span.get_or_insert((at, at));
        *latest = at.max(*latest);
        self.latest = at.max(self.latest);
        Ok(*base)
    }

    /// Has the open chunk sealed and sent off.
    fn seal(&mut self) -> Result<(), Error> {
        let Some(span) = self.span.take() else { return Ok(()) };
        let file_len = self.offset + (self.buf.len() - self.frame_at + TAG_LEN) as u64;
        if file_len > DATA_MAX {
            self.lossy = true;
            self.next_buffer(0);
            return Err(Error::Refused { what: "a recording of more than 4 GB".into() });
        }
        let (buf, offset) = (std::mem::take(&mut self.buf), self.offset);
        let chunk = Unsealed { buf, offset, span, standing: self.standing() };
        self.offset = file_len;
        self.marked = false;
        self.next_buffer(chunk.buf.len());
        self.sealing.take(chunk)
    }

    /// What stands behind the open chunk, where it has marks.
    fn standing(&self) -> Option<Standing> {
        self.marked.then(|| self.sealing.tail.standing())
    }

    fn end_tail(&self, how: LiveEnd) {
        self.shared.end_tail(self.id(), &self.sealing.tail, how);
    }

    /// Begins the next chunk's buffer, in one that the disk thread is done with if there is one. A new one has room for a little more
    /// than the chunk before took: one that grows is copied, doubles, and leaves its beginnings in freed memory.
    fn next_buffer(&mut self, len: usize) {
        self.buf.zeroize();
        match self.pool.try_recv() {
            Ok(buf) => self.buf = buf,
            Err(_) => self.buf.reserve_exact(len + len / 4),
        }
        journal::begin_single(&mut self.buf, &self.sealing.open.path);
        self.buf.resize(self.frame_at + FRAME_LEN, 0);
        self.encoder.begin_chunk();
    }

    /// Waits while the disk thread has too much to do.
    fn send(&self, command: Command) -> Result<(), Error> {
        self.sealing.commands.send(command)
    }

    fn abandon(&mut self, facts: Option<RecordingFacts>) -> Result<(), Error> {
        self.ended = true;
        self.buf.zeroize();
        self.sealing.catch_up()?;
        self.send(Command::Abandon { open: Arc::clone(&self.sealing.open), facts: facts.map(Box::new) })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.ended {
            // An error says that the archive is closed; then it has ended this recording itself.
            let _ = self.abandon(None);
        }
        // However it ended; the first word counts.
        self.end_tail(LiveEnd::Interrupted);
    }
}
