//! Events on their way out, without an allocation per packet: payloads lie in one arena that lives until the next frame.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::event::{CopiedRtp, Event, ForeignRtp, LegId, UnannouncedRtp};
use super::trace::Traces;
use crate::media::{AudioFrame, Codec, Format, Side};
use crate::net::Flow;
use crate::rtp::Packet;
use crate::rtp::dtmf::Digit;
use crate::rtp::rtcp::SenderReport;
use crate::sdp::{Session, static_format};
use crate::signal::{Carrier, Signal};
use crate::time::Timestamp;

/// Most different formats that are told apart by their parameters; beyond, a format is known by codec and clock alone.
const FORMATS_MAX: usize = 4096;

/// Room for payloads that is kept from frame to frame.
const ARENA_BYTES_KEPT: usize = 1024 * 1024;

/// An interned [`Format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FormatId(u32);

/// The first in the table: what no room is left for. Kept as received, told as unknown.
const UNKNOWN: FormatId = FormatId(0);

/// Every format that calls have used, once each.
pub(super) struct Formats {
    list: Vec<Format>,
    ids: FxHashMap<Format, FormatId>,
}

impl Default for Formats {
    /// With the formats of RFC 3551 and telephone events in place: no flood of odd names can take theirs.
    fn default() -> Self {
        let mut formats = Formats { list: Vec::new(), ids: FxHashMap::default() };
        let unknown = Codec::Other("UNKNOWN".into());
        formats.intern(Format { codec: unknown, ..static_format(127) });
        (0..96).for_each(|payload_type| {
            formats.intern(static_format(payload_type));
        });
        (96..128).for_each(|payload_type| {
            formats.intern(Format { codec: Codec::TelephoneEvent, ..static_format(payload_type) });
        });
        formats
    }
}

impl Formats {
    pub(super) fn intern(&mut self, format: Format) -> FormatId {
        if let Some(&id) = self.ids.get(&format) {
            return id;
        }
        if self.list.len() >= FORMATS_MAX && !format.fmtp.is_empty() {
            return self.intern(Format { fmtp: String::new(), ..format });
        }
        if self.list.len() >= 2 * FORMATS_MAX {
            return UNKNOWN;
        }
        let id = FormatId(self.list.len() as u32);
        self.list.push(format.clone());
        self.ids.insert(format, id);
        id
    }

    #[inline]
    pub(super) fn by_id(&self, id: FormatId) -> &Format {
        self.list.get(id.0 as usize).expect("ids are made by intern alone, and formats are never removed")
    }
}

/// What a leg event is about; the facts are looked up when it is polled.
#[derive(Clone, Copy, Debug)]
pub(super) enum LegNews {
    Started,
    Tied,
    Ringing,
    Answered,
    AudioStarted,
}

/// An event that waits to be polled.
pub(super) enum Queued {
    Leg(LegNews, LegId),
    Audio { leg: LegId, side: Side, at: Timestamp, format: FormatId, packet: StoredPacket },
    Described { leg: LegId, side: Side, at: Timestamp, is_offer: bool, session: Box<Session> },
    Digit { leg: LegId, side: Side, digit: Digit },
    Hold { leg: LegId, by: Side, at: Timestamp },
    Retrieve { leg: LegId, by: Side, at: Timestamp },
    Joined { leg: LegId, at: Timestamp, who: Box<[String; 2]> },
    Identified { leg: LegId, side: Side, at: Timestamp, who: Box<[String; 2]> },
    SenderReport { leg: LegId, side: Side, at: Timestamp, report: SenderReport },
    Signal(Box<StoredSignal>),
    LegEnded(LegId),
    UnannouncedRtp(Box<UnannouncedRtp>),
    CopiedRtp(Box<CopiedRtp>),
    ForeignRtp(Box<ForeignRtp>),
    TlsUndecryptable { at: Timestamp, flow: Flow, why: &'static str },
    Oddity { at: Timestamp, flow: Option<Flow>, what: &'static str },
}

/// An RTP packet whose payload lies in the arena.
#[derive(Clone, Copy)]
pub(super) struct StoredPacket {
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    start: u32,
    len: u32,
}

/// A SIP message whose bytes lie in the arena.
pub(super) struct StoredSignal {
    leg: LegId,
    at: Timestamp,
    flow: Flow,
    carrier: Carrier,
    is_repeated: bool,
    left_out: u32,
    start: u32,
    len: u32,
}

/// The queue and its arena.
#[derive(Default)]
pub(super) struct Outbox {
    queue: VecDeque<Queued>,
    arena: Vec<u8>,
    pub(super) formats: Formats,
    pub(super) oddities: u64,
    pub(super) traces: Traces,
}

impl Outbox {
    /// A new frame comes: what was polled may go.
    #[inline]
    pub(super) fn begin(&mut self) {
        if self.queue.is_empty() {
            self.arena.clear();
            if self.arena.capacity() > ARENA_BYTES_KEPT {
                self.give_back();
            }
        }
    }

    /// Minutes of a call have come at once; they do not come again.
    #[cold]
    fn give_back(&mut self) {
        self.arena.shrink_to(ARENA_BYTES_KEPT);
        self.queue.shrink_to(ARENA_BYTES_KEPT / size_of::<Queued>());
    }

    pub(super) fn push(&mut self, event: Queued) {
        self.queue.push_back(event);
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Queued> {
        self.queue.pop_front()
    }

    /// The next event when it is audio. Read where it lies: what was written field by field and is moved at once in larger
    /// pieces has to wait for the writing to end.
    #[inline]
    pub(super) fn pop_audio(&mut self) -> Option<(LegId, Side, Timestamp, FormatId, StoredPacket)> {
        let &Queued::Audio { leg, side, at, format, packet } = self.queue.front()? else { return None };
        // It owns nothing that would have to be dropped.
        std::mem::forget(self.queue.pop_front());
        Some((leg, side, at, format, packet))
    }

    #[inline]
    pub(super) fn audio(
        &mut self,
        leg: LegId,
        side: Side,
        at: Timestamp,
        format: FormatId,
        packet: &Packet<'_>,
    ) {
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(packet.payload);
        let packet = StoredPacket {
            ssrc: packet.ssrc,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            start,
            len: packet.payload.len() as u32,
        };
        self.queue.push_back(Queued::Audio { leg, side, at, format, packet });
    }

    pub(super) fn oddity(&mut self, at: Timestamp, flow: Option<Flow>, what: &'static str) {
        self.oddities += 1;
        self.queue.push_back(Queued::Oddity { at, flow, what });
    }

    /// Puts a SIP message into the arena.
    pub(super) fn store_signal(&mut self, leg: LegId, signal: &Signal<'_>) -> StoredSignal {
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(signal.bytes);
        let &Signal { at, flow, carrier, is_repeated, left_out, bytes } = signal;
        StoredSignal { leg, at, flow, carrier, is_repeated, left_out, start, len: bytes.len() as u32 }
    }

    /// The event of a SIP message as it is polled.
    pub(super) fn signal_event(&self, stored: &StoredSignal) -> Event<'_> {
        let &StoredSignal { leg, at, flow, carrier, is_repeated, left_out, start, len } = stored;
        let bytes = self.bytes(start, len);
        Event::Signal { leg, signal: Signal { at, flow, carrier, is_repeated, left_out, bytes } }
    }

    /// An audio event as it is polled.
    #[inline]
    pub(super) fn audio_event(
        &self,
        leg: LegId,
        side: Side,
        at: Timestamp,
        format: FormatId,
        packet: StoredPacket,
    ) -> Event<'_> {
        let frame = AudioFrame {
            at,
            ssrc: packet.ssrc,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            format: self.formats.by_id(format),
            payload: self.bytes(packet.start, packet.len),
        };
        Event::Audio { leg, side, frame }
    }

    #[inline]
    fn bytes(&self, start: u32, len: u32) -> &[u8] {
        let start = start as usize;
        self.arena.get(start..start + len as usize).unwrap_or_default()
    }
}
