//! TCP streams put in order again, for SIP over TCP (RFC 9293, 3.4 and 3.10.7.4; RFC 3261, 18.3).
//!
//! Each direction of a connection stands alone, as a mirror port may show only one. Segments come in any order, twice,
//! overlapping (the first copy of a byte stays) or never; a capture may begin in the middle of a stream. What cannot be
//! filled is skipped after a while, and the reader is told to look for the next start line. Where messages begin and end
//! is the reader's business, and so is saying that a stream is none of its own: an ignored one costs one table look-up per
//! segment that carries data, an acknowledgement costs nothing.
//!
//! ```
//! # use decode::{Datagram, Endpoint, Flow, Timestamp, Transport, tcp::Reassembler};
//! # let end = |port| Endpoint::v4([192, 0, 2, 1], port);
//! # let datagram = Datagram {
//! #     at: Timestamp::from_millis(0), flow: Flow { src: end(1), dst: end(2) }, payload: b"one\ntwo\nth",
//! #     transport: Transport::Tcp { sequence: 7, syn: false, fin: false, rst: false }, truncated: false, ethernet: None,
//! # };
//! let mut reassembler = Reassembler::new();
//! if let Some(mut stream) = reassembler.handle_segment(&datagram) {
//!     while let Some(end) = stream.bytes().iter().position(|byte| *byte == b'\n') {
//!         stream.consume(end + 1); // one whole message
//!     }
//!     assert_eq!(stream.bytes(), b"th"); // kept until the rest comes
//! }
//! ```

use std::collections::{BTreeMap, VecDeque};

use rustc_hash::FxHashMap;

use crate::net::{Datagram, Flow, Transport};
use crate::time::Timestamp;

/// Connections remembered, both directions of each. One more makes one forgotten that has been idle.
pub const CONNECTIONS_MAX: usize = 4096;
/// Directions remembered.
pub const DIRECTIONS_MAX: usize = 2 * CONNECTIONS_MAX;
/// Bytes kept for the reader in one direction; more throws them away, and the reader has to find its place again.
pub const UNREAD_BYTES_MAX: usize = 256 * 1024;
/// Bytes that wait behind a gap in one direction; more skips the gap.
pub const GAP_BYTES_MAX: usize = 64 * 1024;
/// Pieces that wait behind a gap in one direction; more skips the gap.
pub const GAP_PIECES_MAX: usize = 256;
/// Milliseconds of capture time that a gap may stay open.
pub const GAP_WAIT_MS: u64 = 3_000;
/// Bytes kept in all directions together; more forgets directions, the idle ones first.
pub const BYTES_MAX: usize = 64 * 1024 * 1024;
/// A segment farther than this from the expected place, either way, is taken as the start of another stream whose
/// beginning was missed.
pub const JUMP_BYTES_MAX: i64 = 1024 * 1024;
/// Milliseconds of silence after which an ignored direction is looked at again: its ports may have a new user.
pub const IGNORED_IDLE_MS: u64 = 60_000;

/// What happened to the segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Segments with data that were looked at.
    pub segments: u64,
    /// Segments with data of ignored directions.
    pub ignored: u64,
    /// Segments that brought nothing new.
    pub repeated: u64,
    /// Segments that came before their place.
    pub early: u64,
    /// Connections that began on the ports of a known one, seen by their SYN or by a jump of the numbers.
    pub restarts: u64,
    /// Gaps that were skipped.
    pub gaps_skipped: u64,
    /// Times that the reader let more than [`UNREAD_BYTES_MAX`] pile up.
    pub overflows: u64,
    /// Directions forgotten because of a limit.
    pub evicted: u64,
}

/// Puts the segments of many connections in order.
#[derive(Debug, Default)]
pub struct Reassembler {
    directions: FxHashMap<Flow, Direction>,
    /// Every direction once: the hand of the clock takes from the front what was not used since it last passed.
    clock: VecDeque<Flow>,
    /// Directions that may have an open gap.
    gapped: VecDeque<Flow>,
    /// Bytes kept in all of them.
    bytes: usize,
    /// Connections begun, each direction by itself.
    begun: u64,
    counts: Counts,
}

/// What a stream's reader notes of it; forgotten with the direction, and when another connection begins on its ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages read.
    pub messages: u64,
    /// Bytes that were none of the reader's since the last message.
    pub foreign: usize,
}

/// One direction that has something for its reader.
#[derive(Debug)]
pub struct Stream<'a> {
    flow: Flow,
    direction: &'a mut Direction,
    total: &'a mut usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Not the reader's.
    Ignored,
    /// Finished or reset; kept to know late copies of its segments.
    Closed,
}

#[derive(Debug)]
struct Direction {
    /// Which of the reassembler's connections it is.
    number: u64,
    tally: Tally,
    state: State,
    /// The bytes before the unread ones are known, or there are none.
    in_sync: bool,
    /// Sequence number of the SYN, when that was seen.
    initial: Option<u32>,
    /// Sequence number of the next byte, and its place in the stream as we count it (which does not wrap).
    next_sequence: u32,
    next: u64,
    /// In order; the first `read` bytes are consumed.
    unread: Vec<u8>,
    read: usize,
    /// Behind a gap, by place; pieces do not overlap.
    early: BTreeMap<u64, Vec<u8>>,
    early_bytes: usize,
    gap_since: Timestamp,
    /// In the list of `gapped`.
    listed: bool,
    /// Place behind the last byte, once a FIN said so.
    end: Option<u64>,
    last: Timestamp,
    /// Used since the hand of the clock last passed.
    used: bool,
}

impl Reassembler {
    /// One that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes one segment. Gives its direction when there are new bytes in order, when a gap was skipped or when it ended;
    /// `None` otherwise, and for UDP.
    pub fn handle_segment(&mut self, datagram: &Datagram<'_>) -> Option<Stream<'_>> {
        let Transport::Tcp { sequence, syn, fin, rst } = datagram.transport else { return None };
        if datagram.payload.is_empty() && !(syn || fin || rst) {
            return None;
        }
        let flow = datagram.flow;
        let sequence = if syn { sequence.wrapping_add(1) } else { sequence };
        let initial = syn.then_some(sequence);
        let known = self.directions.contains_key(&flow);
        if !known {
            if rst || (fin && datagram.payload.is_empty()) {
                return None;
            }
            self.open(flow, initial, sequence, datagram.at);
        }
        let direction = self.directions.get_mut(&flow)?;
        // Its first segment makes none busy: a flood of connection attempts must not push out those that talk.
        direction.used |= known;
        let idle_ms = datagram.at.millis_since(std::mem::replace(&mut direction.last, datagram.at));
        let before = direction.kept();

        if direction.starts_anew(initial, sequence, datagram.payload.len(), idle_ms) {
            self.counts.restarts += 1;
            self.begun += 1;
            direction.restart(self.begun, initial, sequence);
        }
        if direction.state == State::Ignored {
            self.counts.ignored += 1;
            return None;
        }
        self.counts.segments += u64::from(!datagram.payload.is_empty());
        let mut news = direction.take(sequence, datagram.payload, datagram.at, &mut self.counts);
        news |= direction.skip_overdue(datagram.at, &mut self.counts);
        if fin {
            let ahead = i64::from(sequence.wrapping_sub(direction.next_sequence).cast_signed());
            let end =
                direction.next.saturating_add_signed(ahead).saturating_add(datagram.payload.len() as u64);
            direction.end.get_or_insert(end);
        }
        if rst && direction.state == State::Open {
            direction.close();
            news = true;
        }
        news |= direction.close_at_end();
        if !direction.early.is_empty() && !direction.listed {
            direction.listed = true;
            self.gapped.push_back(flow);
        }
        self.bytes = self.bytes.saturating_sub(before).saturating_add(direction.kept());
        if self.bytes > BYTES_MAX {
            self.evict_until(|reassembler| reassembler.bytes <= BYTES_MAX);
        }
        if !news {
            return None;
        }
        let direction = self.directions.get_mut(&flow)?;
        Some(Stream { flow, direction, total: &mut self.bytes })
    }

    /// Skips one gap that has been open longer than [`GAP_WAIT_MS`] at capture time `now`; call it until `None`. Without it
    /// a gap is skipped only when the next segment of its direction comes.
    pub fn poll_overdue(&mut self, now: Timestamp) -> Option<Stream<'_>> {
        for _ in 0..self.gapped.len() {
            let flow = self.gapped.pop_front()?;
            let Some(direction) = self.directions.get_mut(&flow) else { continue };
            let before = direction.kept();
            if direction.early.is_empty() {
                direction.listed = false;
            } else if direction.skip_overdue(now, &mut self.counts) {
                direction.close_at_end();
                direction.listed = !direction.early.is_empty();
                if direction.listed {
                    self.gapped.push_back(flow);
                }
                self.bytes = self.bytes.saturating_sub(before).saturating_add(direction.kept());
                let direction = self.directions.get_mut(&flow)?;
                return Some(Stream { flow, direction, total: &mut self.bytes });
            } else {
                self.gapped.push_back(flow);
            }
        }
        None
    }

    fn open(&mut self, flow: Flow, initial: Option<u32>, sequence: u32, at: Timestamp) {
        if self.directions.len() >= DIRECTIONS_MAX {
            self.evict_until(|reassembler| reassembler.directions.len() < DIRECTIONS_MAX);
        }
        self.begun += 1;
        let direction = Direction {
            number: self.begun,
            tally: Tally::default(),
            state: State::Open,
            in_sync: initial.is_some(),
            initial,
            next_sequence: sequence,
            next: 0,
            unread: Vec::new(),
            read: 0,
            early: BTreeMap::new(),
            early_bytes: 0,
            gap_since: at,
            listed: false,
            end: None,
            last: at,
            used: false,
        };
        self.directions.insert(flow, direction);
        self.clock.push_back(flow);
    }

    /// Forgets directions that were not used since the last pass (the "clock" way of finding an idle one without a sorted
    /// list); when all were, the one that comes first.
    fn evict_until(&mut self, enough: impl Fn(&Self) -> bool) {
        while !enough(self) {
            let Some(flow) = self.clock.pop_front() else { return };
            match self.directions.get_mut(&flow) {
                Some(direction) if direction.used => {
                    direction.used = false;
                    self.clock.push_back(flow);
                }
                Some(direction) => {
                    self.bytes = self.bytes.saturating_sub(direction.kept());
                    self.directions.remove(&flow);
                    self.counts.evicted += 1;
                }
                None => {}
            }
        }
    }
}

impl Direction {
    /// Bytes that this direction keeps in memory.
    fn kept(&self) -> usize {
        self.unread.len().saturating_add(self.early_bytes)
    }

    /// Does the segment belong to another connection than the one known by this flow?
    fn starts_anew(&self, initial: Option<u32>, sequence: u32, length: usize, idle_ms: u64) -> bool {
        if initial.is_some() {
            // A SYN that comes again has the same number.
            return initial != self.initial;
        }
        let ahead = i64::from(sequence.wrapping_sub(self.next_sequence).cast_signed());
        let far = ahead.abs() > JUMP_BYTES_MAX;
        match self.state {
            State::Open => far && length > 0,
            State::Ignored => idle_ms > IGNORED_IDLE_MS,
            // Behind the end nothing comes, unless the end was forged or the ports are used again.
            State::Closed => length > 0 && (far || ahead >= 0),
        }
    }

    fn restart(&mut self, number: u64, initial: Option<u32>, sequence: u32) {
        (self.number, self.tally) = (number, Tally::default());
        self.state = State::Open;
        self.in_sync = initial.is_some();
        self.initial = initial;
        self.next_sequence = sequence;
        self.end = None;
        self.forget();
    }

    fn forget(&mut self) {
        self.unread = Vec::new();
        self.read = 0;
        self.early.clear();
        self.early_bytes = 0;
    }

    /// No more will come; what is unread stays for the reader.
    fn close(&mut self) {
        self.state = State::Closed;
        self.early.clear();
        self.early_bytes = 0;
    }

    /// Closes when the byte before the FIN has come; true when it did so now.
    fn close_at_end(&mut self) -> bool {
        let closes = self.state == State::Open && self.end.is_some_and(|end| self.next >= end);
        if closes {
            self.close();
        }
        closes
    }

    /// Puts data in its place; true when bytes in order came with it.
    fn take(&mut self, sequence: u32, payload: &[u8], at: Timestamp, counts: &mut Counts) -> bool {
        let ahead = i64::from(sequence.wrapping_sub(self.next_sequence).cast_signed());
        // The part of a retransmission that is known already; a place before the first byte that we count has none.
        let known = usize::try_from(ahead.min(0).unsigned_abs()).unwrap_or(usize::MAX);
        let start = self.next.saturating_add(ahead.max(0).unsigned_abs());
        let fresh = match payload.get(known..) {
            Some(fresh) if !fresh.is_empty() && self.state == State::Open => fresh,
            _ => {
                counts.repeated += u64::from(!payload.is_empty());
                return false;
            }
        };
        if self.early.is_empty() && start == self.next {
            self.append(fresh, counts);
            return true;
        }
        if self.early.is_empty() {
            self.gap_since = at;
        }
        counts.early += u64::from(start > self.next);
        if !self.insert(start, fresh) {
            counts.repeated += 1;
            return false;
        }
        let grew = self.drain(counts);
        if grew {
            self.gap_since = at;
        }
        grew
    }

    /// Keeps the parts of `bytes` that no earlier piece covers; false when there are none.
    fn insert(&mut self, start: u64, bytes: &[u8]) -> bool {
        let end = start.saturating_add(bytes.len() as u64);
        let mut missing = Vec::new();
        let mut place = start;
        if let Some((&before, piece)) = self.early.range(..=start).next_back() {
            place = place.max(before.saturating_add(piece.len() as u64));
        }
        for (&after, piece) in self.early.range(start..end) {
            if after > place {
                missing.push((place, after));
            }
            place = place.max(after.saturating_add(piece.len() as u64));
        }
        if place < end {
            missing.push((place, end));
        }
        let mut kept = false;
        for (from, to) in missing {
            let range = (from.saturating_sub(start) as usize)..(to.saturating_sub(start) as usize);
            if let Some(part) = bytes.get(range).filter(|part| !part.is_empty()) {
                self.early_bytes = self.early_bytes.saturating_add(part.len());
                self.early.insert(from, part.to_vec());
                kept = true;
            }
        }
        kept
    }

    /// Moves what is in order now out of the early pieces.
    fn drain(&mut self, counts: &mut Counts) -> bool {
        let mut grew = false;
        while let Some(entry) = self.early.first_entry() {
            if *entry.key() != self.next {
                break;
            }
            let piece = entry.remove();
            self.early_bytes = self.early_bytes.saturating_sub(piece.len());
            self.append(&piece, counts);
            grew = true;
        }
        grew
    }

    fn append(&mut self, bytes: &[u8], counts: &mut Counts) {
        if self.unread.len().saturating_sub(self.read).saturating_add(bytes.len()) > UNREAD_BYTES_MAX {
            counts.overflows += 1;
            self.unread.clear();
            self.read = 0;
            self.in_sync = false;
        }
        // Consumed bytes leave when they are the larger part, so that each byte is moved about once.
        if self.read > self.unread.len() / 2 {
            self.unread.drain(..self.read.min(self.unread.len()));
            self.read = 0;
        }
        self.unread.extend_from_slice(bytes);
        self.next = self.next.saturating_add(bytes.len() as u64);
        self.next_sequence = self.next_sequence.wrapping_add(bytes.len() as u32);
    }

    /// Goes on behind gaps that were open too long or have too much behind them. The unread bytes before such a gap are
    /// part of a message that cannot be completed: they go.
    fn skip_overdue(&mut self, now: Timestamp, counts: &mut Counts) -> bool {
        let mut skipped = false;
        while let Some((&place, _)) = self.early.first_key_value() {
            let full = self.early_bytes > GAP_BYTES_MAX || self.early.len() > GAP_PIECES_MAX;
            if !full && now.millis_since(self.gap_since) < GAP_WAIT_MS {
                break;
            }
            let lost = place.saturating_sub(self.next);
            self.next = place;
            // Places and sequence numbers move together; the cast keeps what of the distance a sequence number can say.
            self.next_sequence = self.next_sequence.wrapping_add(lost as u32);
            self.unread.clear();
            self.read = 0;
            self.in_sync = false;
            counts.gaps_skipped += 1;
            self.drain(counts);
            self.gap_since = now;
            skipped = true;
        }
        skipped
    }
}

impl Stream<'_> {
    /// Whose bytes these are.
    #[must_use]
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// A number that this direction has as long as it is the same connection as far as can be told; another connection on
    /// the same ports has another, and so has one that was forgotten and is seen again.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.direction.number
    }

    /// The reader's own notes.
    pub fn tally(&mut self) -> &mut Tally {
        &mut self.direction.tally
    }

    /// The bytes in order that were not consumed yet, oldest first.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.direction.unread.get(self.direction.read..).unwrap_or_default()
    }

    /// Is the first of [`Stream::bytes`] where the reader left off, or where the stream began? False after a skipped gap,
    /// after an overflow and when the capture began in the middle: look for the next start line, consume up to it, then
    /// say [`Stream::mark_in_sync`].
    #[must_use]
    pub fn in_sync(&self) -> bool {
        self.direction.in_sync
    }

    /// The first of [`Stream::bytes`] begins a message.
    pub fn mark_in_sync(&mut self) {
        self.direction.in_sync = true;
    }

    /// Nothing will come behind these bytes: FIN or RST.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.direction.state == State::Closed
    }

    /// Forgets the first `count` bytes, or all when there are fewer.
    pub fn consume(&mut self, count: usize) {
        let direction = &mut *self.direction;
        direction.read = direction.read.saturating_add(count).min(direction.unread.len());
        if direction.read == direction.unread.len() {
            *self.total = self.total.saturating_sub(direction.read);
            direction.read = 0;
            direction.unread.clear();
            // What one large message needed is not kept for ever.
            direction.unread.shrink_to(4096);
        }
    }

    /// Not the reader's: segments of this direction are dropped from now on, until a new connection begins.
    pub fn ignore(self) {
        *self.total = self.total.saturating_sub(self.direction.kept());
        self.direction.forget();
        self.direction.state = State::Ignored;
    }
}

#[cfg(test)]
mod tests;
