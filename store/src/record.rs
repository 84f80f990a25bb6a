//! What a chunk holds before it is sealed: packets as received, marks on the timeline, SIP messages.
//!
//! Encodes and decodes, nothing else: no key, no file. Each chunk decodes alone, because a stream (party, SSRC and
//! format) is defined in it before its first packet. Capture times are kept to the microsecond, as distances from the
//! chunk's base time. The layout is in `docs/format.md`; payload and header fields are those of RFC 3550, 5.1.
//! Decoding takes hostile bytes: a chunk is authenticated before it is decoded, but not by this file.

use std::net::{IpAddr, Ipv6Addr};

use decode::{AudioFrame, Carrier, Codec, Endpoint, Flow, Format, Party, Signal, Timestamp};
use policy::Redacted;

use crate::bytes::{Cursor, put_short};

/// Streams that one chunk can define; the writer seals the chunk when one more comes.
pub const STREAMS_MAX: usize = 64;
/// Bytes of a packet record before its payload.
pub const PACKET_HEADER_LEN: usize = 14;
/// The longest payload that can be kept, in bytes: what a UDP datagram over IPv6 could carry.
pub const PAYLOAD_MAX: usize = u16::MAX as usize;
/// Longest encoding name kept, in bytes.
const NAME_MAX: u16 = 255;
/// Longest format parameters or source of a pause kept, in bytes.
const TEXT_MAX: u16 = 4096;

/// Bytes of a SIP message's record before the message.
pub const SIGNAL_HEADER_LEN: usize = 5 + SIGNAL_FIXED_LEN;
/// What of that stands behind kind and length.
const SIGNAL_FIXED_LEN: usize = 4 + 8 + 4 + 2 * 18;
/// Bit of a SIP message that came before.
const SIGNAL_REPEATED: u8 = 1;

const PACKET: u8 = 0;
const PACKET_MARKER: u8 = 1;
const STREAM: u8 = 2;
const MARK: u8 = 3;
/// From this kind on a record says its length, so that a reader can pass over one that it does not know.
const SIGNAL: u8 = 4;

/// One thing that happened in a recording.
#[derive(Clone, Debug)]
pub enum Record<'a> {
    /// A packet was kept.
    Audio {
        /// Whose voice.
        party: Party,
        /// The packet; `at` is exact to the microsecond.
        frame: AudioFrame<'a>,
    },
    /// Something else happened on the timeline.
    Mark {
        /// When, exact to the microsecond.
        at: Timestamp,
        /// What.
        mark: Mark,
    },
    /// A SIP message of the call. Those from before the audio stand in the first chunk, with their own times.
    Signal {
        /// The message as kept; `at` is exact to the microsecond.
        signal: Signal<'a>,
        /// What was replaced in it before it was kept.
        redacted: Redacted,
    },
}

impl Record<'_> {
    /// When it happened, by the capture clock.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        match self {
            Record::Audio { frame, .. } => frame.at,
            Record::Mark { at, .. } => *at,
            Record::Signal { signal, .. } => signal.at,
        }
    }
}

/// What happened on a recording's timeline beside packets. Sealed with the audio.
#[derive(Clone, PartialEq, Eq)]
pub enum Mark {
    /// A party put the other on hold.
    Hold {
        /// Who.
        by: Party,
    },
    /// A party took the other back from hold.
    Retrieve {
        /// Who.
        by: Party,
    },
    /// From here on nothing is kept, on request.
    PauseStart {
        /// Who or what asked for it.
        source: String,
    },
    /// Keeping goes on.
    PauseEnd {
        /// Who or what asked for it.
        source: String,
    },
    /// A key was pressed.
    Digit {
        /// Who.
        party: Party,
        /// 0-9, *, #, A-D.
        digit: char,
        /// How long it was held, in milliseconds.
        duration_ms: u32,
    },
    /// An RTCP sender report (RFC 3550, 6.4.1) tied the sender's clock to its RTP timestamps.
    SenderReport {
        /// Whose.
        party: Party,
        /// Its synchronization source.
        ssrc: u32,
        /// Its wall clock, NTP format (seconds since 1900 in the upper 32 bits).
        ntp: u64,
        /// The same moment in RTP ticks.
        rtp_timestamp: u32,
    },
    /// The capture itself lost frames since the last such mark; whose they were is not known.
    CaptureDrops {
        /// How many.
        frames: u64,
    },
}

/// Says what kind it is, never which digit.
impl std::fmt::Debug for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mark::Hold { by } => write!(f, "Hold({by:?})"),
            Mark::Retrieve { by } => write!(f, "Retrieve({by:?})"),
            Mark::PauseStart { source } => write!(f, "PauseStart({source:?})"),
            Mark::PauseEnd { source } => write!(f, "PauseEnd({source:?})"),
            Mark::Digit { party, duration_ms, .. } => write!(f, "Digit({party:?}, {duration_ms} ms)"),
            Mark::SenderReport { party, ssrc, .. } => write!(f, "SenderReport({party:?}, {ssrc:08x})"),
            Mark::CaptureDrops { frames } => write!(f, "CaptureDrops({frames})"),
        }
    }
}

/// The bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset} of the chunk: expected {expected}")]
pub struct RecordError {
    /// Where the record begins, in bytes from the start of the chunk's content.
    pub offset: usize,
    /// What should have stood there.
    pub expected: &'static str,
}

/// `at` cut to the microsecond, which is what records keep.
pub(crate) const fn to_micros(at: Timestamp) -> Timestamp {
    Timestamp::from_nanos(at.as_nanos().div_euclid(1000).saturating_mul(1000))
}

/// Microseconds from the base. The writer seals long before 35 minutes are reached, so the clamp only guards against a
/// caller that does not.
fn delta(base: Timestamp, at: Timestamp) -> i32 {
    let micros = to_micros(at).nanos_since(base) / 1000;
    micros.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

fn at_delta(base: Timestamp, micros: i32) -> Timestamp {
    base.plus_nanos(i64::from(micros) * 1000)
}

const fn party_code(party: Party) -> u8 {
    party.index() as u8
}

const fn party_of(code: u8) -> Option<Party> {
    match code {
        0 => Some(Party::Near),
        1 => Some(Party::Far),
        _ => None,
    }
}

/// One direction of one party's media, as a chunk names it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stream {
    party: Party,
    ssrc: u32,
    format: Format,
}

impl Stream {
    fn is(&self, party: Party, frame: &AudioFrame<'_>) -> bool {
        let Format { payload_type, codec, clock_rate, channels, fmtp } = &self.format;
        let other = frame.format;
        // Most formats have no parameters. To compare two empty strings is to call memcmp with pointers to nowhere, and the
        // masked load with which glibc's AVX-512 version answers is one that the processor must repair each time.
        let same_parameters = fmtp.len() == other.fmtp.len() && (fmtp.is_empty() || *fmtp == other.fmtp);
        self.ssrc == frame.ssrc
            && self.party == party
            && *payload_type == other.payload_type
            && *clock_rate == other.clock_rate
            && *channels == other.channels
            && *codec == other.codec
            && same_parameters
    }
}

/// The chunk has no room for one more stream: seal it and begin the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamsFull;

/// Turns packets and marks into the content of chunks. Knows which streams the open chunk has defined; remembers their
/// formats from chunk to chunk, so that nothing is allocated per packet.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    /// Streams seen, with the number that the open chunk has given them.
    streams: Vec<(Stream, Option<u8>)>,
    /// Streams that the open chunk has defined.
    defined: u8,
}

impl Encoder {
    /// A value of what every packet touches, for [`crate::Writer::fetch`].
    #[inline]
    pub(crate) fn fetch(&self) -> (u8, Option<u8>) {
        (self.defined, self.streams.first().and_then(|(_, number)| *number))
    }

    /// The next record goes into a new chunk.
    pub(crate) fn begin_chunk(&mut self) {
        self.defined = 0;
        for (_, number) in &mut self.streams {
            *number = None;
        }
    }

    /// Appends a packet. The payload must not be longer than [`PAYLOAD_MAX`]; the rest would be cut.
    pub(crate) fn audio(
        &mut self,
        out: &mut Vec<u8>,
        base: Timestamp,
        party: Party,
        frame: &AudioFrame<'_>,
    ) -> Result<(), StreamsFull> {
        let number = self.number(out, party, frame)?;
        let payload = frame.payload.get(..PAYLOAD_MAX).unwrap_or(frame.payload);
        let mut header = [0; PACKET_HEADER_LEN];
        header[0] = if frame.marker { PACKET_MARKER } else { PACKET };
        header[1] = number;
        header[2..4].copy_from_slice(&(payload.len() as u16).to_le_bytes());
        header[4..6].copy_from_slice(&frame.sequence.to_le_bytes());
        header[6..10].copy_from_slice(&frame.timestamp.to_le_bytes());
        header[10..].copy_from_slice(&delta(base, frame.at).to_le_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(payload);
        Ok(())
    }

    /// The number of the packet's stream in this chunk; defines the stream when this is its first packet here.
    fn number(&mut self, out: &mut Vec<u8>, party: Party, frame: &AudioFrame<'_>) -> Result<u8, StreamsFull> {
        let known = self.streams.iter().position(|(stream, _)| stream.is(party, frame));
        if let Some(number) = known.and_then(|i| self.streams[i].1) {
            return Ok(number);
        }
        if usize::from(self.defined) >= STREAMS_MAX {
            return Err(StreamsFull);
        }
        let place = match known {
            Some(place) => place,
            None => self.place_for(Stream { party, ssrc: frame.ssrc, format: frame.format.clone() }),
        };
        let number = self.defined;
        self.defined += 1;
        let (stream, place) = &mut self.streams[place];
        *place = Some(number);
        out.extend_from_slice(&[
            STREAM,
            party_code(party),
            stream.format.payload_type,
            stream.format.channels,
        ]);
        out.extend_from_slice(&stream.ssrc.to_le_bytes());
        out.extend_from_slice(&stream.format.clock_rate.to_le_bytes());
        put_short(out, stream.format.codec.name(), NAME_MAX);
        put_short(out, &stream.format.fmtp, TEXT_MAX);
        Ok(number)
    }

    /// Remembers a new stream, in the place of one that this chunk does not use when the table is full.
    fn place_for(&mut self, stream: Stream) -> usize {
        if self.streams.len() < STREAMS_MAX {
            self.streams.push((stream, None));
            return self.streams.len() - 1;
        }
        let unused = self.streams.iter().position(|(_, number)| number.is_none());
        let place =
            unused.expect("fewer than STREAMS_MAX of the STREAMS_MAX streams are defined in this chunk");
        self.streams[place] = (stream, None);
        place
    }

    /// Appends a mark.
    pub(crate) fn mark(&self, out: &mut Vec<u8>, base: Timestamp, at: Timestamp, mark: &Mark) {
        out.push(MARK);
        out.extend_from_slice(&delta(base, at).to_le_bytes());
        match mark {
            Mark::Hold { by } => out.extend_from_slice(&[0, party_code(*by)]),
            Mark::Retrieve { by } => out.extend_from_slice(&[1, party_code(*by)]),
            Mark::PauseStart { source } => {
                out.push(2);
                put_short(out, source, TEXT_MAX);
            }
            Mark::PauseEnd { source } => {
                out.push(3);
                put_short(out, source, TEXT_MAX);
            }
            Mark::Digit { party, digit, duration_ms } => {
                out.extend_from_slice(&[4, party_code(*party)]);
                out.extend_from_slice(&u32::from(*digit).to_le_bytes());
                out.extend_from_slice(&duration_ms.to_le_bytes());
            }
            Mark::SenderReport { party, ssrc, ntp, rtp_timestamp } => {
                out.extend_from_slice(&[5, party_code(*party)]);
                out.extend_from_slice(&ssrc.to_le_bytes());
                out.extend_from_slice(&ntp.to_le_bytes());
                out.extend_from_slice(&rtp_timestamp.to_le_bytes());
            }
            Mark::CaptureDrops { frames } => {
                out.push(6);
                out.extend_from_slice(&frames.to_le_bytes());
            }
        }
    }
}

/// Appends a SIP message. It must not be longer than [`PAYLOAD_MAX`]; the rest would be cut. Its time is its own and not the
/// chunk's: what was said before the first audio lies as far back as the phone rang. That it was cleared is the caller's to know:
/// the writer takes nothing else, and what stands in a recording was.
pub(crate) fn put_signal(out: &mut Vec<u8>, signal: &Signal<'_>, redacted: Redacted) {
    let bytes = signal.bytes.get(..PAYLOAD_MAX).unwrap_or(signal.bytes);
    out.push(SIGNAL);
    out.extend_from_slice(&((SIGNAL_FIXED_LEN + bytes.len()) as u32).to_le_bytes());
    let flags = if signal.is_repeated { SIGNAL_REPEATED } else { 0 };
    out.extend_from_slice(&[flags, carrier_code(signal.carrier), redacted.bits(), 0]);
    out.extend_from_slice(&signal.at.as_nanos().div_euclid(1000).to_le_bytes());
    out.extend_from_slice(&signal.left_out.to_le_bytes());
    for end in [signal.flow.src, signal.flow.dst] {
        let ip = match end.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        out.extend_from_slice(&ip.octets());
        out.extend_from_slice(&end.port.to_le_bytes());
    }
    out.extend_from_slice(bytes);
}

const fn carrier_code(carrier: Carrier) -> u8 {
    match carrier {
        Carrier::Udp => 0,
        Carrier::Tcp => 1,
        Carrier::Tls => 2,
        Carrier::WebSocket => 3,
        Carrier::SecureWebSocket => 4,
    }
}

const fn carrier_of(code: u8) -> Option<Carrier> {
    Some(match code {
        0 => Carrier::Udp,
        1 => Carrier::Tcp,
        2 => Carrier::Tls,
        3 => Carrier::WebSocket,
        4 => Carrier::SecureWebSocket,
        _ => return None,
    })
}

/// A record as it stands in the bytes, before its stream is looked up.
enum Raw<'a> {
    Stream(Stream),
    Packet {
        marker: bool,
        stream: u8,
        sequence: u16,
        timestamp: u32,
        micros: i32,
        payload: &'a [u8],
    },
    Mark {
        micros: i32,
        mark: Mark,
    },
    Signal {
        signal: Signal<'a>,
        redacted: Redacted,
    },
    /// Of a kind that a later program has made.
    Unknown,
}

/// Reads one record; none when it is cut short or says what it cannot say.
fn raw<'a>(cursor: &mut Cursor<'a>) -> Option<Raw<'a>> {
    match cursor.u8()? {
        kind @ (PACKET | PACKET_MARKER) => {
            let stream = cursor.u8()?;
            let len = cursor.u16()?;
            let (sequence, timestamp, micros) = (cursor.u16()?, cursor.u32()?, cursor.i32()?);
            let payload = cursor.take(usize::from(len))?;
            Some(Raw::Packet { marker: kind == PACKET_MARKER, stream, sequence, timestamp, micros, payload })
        }
        STREAM => {
            let party = party_of(cursor.u8()?)?;
            let (payload_type, channels) = (cursor.u8()?, cursor.u8()?);
            let (ssrc, clock_rate) = (cursor.u32()?, cursor.u32()?);
            let codec = Codec::from_name(text(cursor)?);
            let fmtp = text(cursor)?.to_owned();
            let format = Format { payload_type, codec, clock_rate, channels, fmtp };
            Some(Raw::Stream(Stream { party, ssrc, format }))
        }
        MARK => Some(Raw::Mark { micros: cursor.i32()?, mark: raw_mark(cursor)? }),
        kind => {
            let len = usize::try_from(cursor.u32()?).ok()?;
            let mut inside = Cursor::new(cursor.take(len)?);
            if kind == SIGNAL { raw_signal(&mut inside, len) } else { Some(Raw::Unknown) }
        }
    }
}

/// What stands behind kind and length of a SIP message, `len` bytes.
fn raw_signal<'a>(cursor: &mut Cursor<'a>, len: usize) -> Option<Raw<'a>> {
    let [flags, carrier, redacted, _] = cursor.array()?;
    let micros = cursor.i64()?;
    let left_out = cursor.u32()?;
    let mut end = || Some(Endpoint::v6(Ipv6Addr::from(cursor.array::<16>()?).octets(), cursor.u16()?));
    let flow = Flow { src: end()?, dst: end()? };
    let signal = Signal {
        at: Timestamp::from_nanos(micros.checked_mul(1000)?),
        flow,
        carrier: carrier_of(carrier)?,
        is_repeated: flags & SIGNAL_REPEATED != 0,
        left_out,
        bytes: cursor.take(len.checked_sub(SIGNAL_FIXED_LEN)?)?,
    };
    Some(Raw::Signal { signal, redacted: Redacted::from_bits(redacted) })
}

fn raw_mark(cursor: &mut Cursor<'_>) -> Option<Mark> {
    Some(match cursor.u8()? {
        0 => Mark::Hold { by: party_of(cursor.u8()?)? },
        1 => Mark::Retrieve { by: party_of(cursor.u8()?)? },
        2 => Mark::PauseStart { source: text(cursor)?.to_owned() },
        3 => Mark::PauseEnd { source: text(cursor)?.to_owned() },
        4 => Mark::Digit {
            party: party_of(cursor.u8()?)?,
            digit: char::from_u32(cursor.u32()?)?,
            duration_ms: cursor.u32()?,
        },
        5 => Mark::SenderReport {
            party: party_of(cursor.u8()?)?,
            ssrc: cursor.u32()?,
            ntp: cursor.u64()?,
            rtp_timestamp: cursor.u32()?,
        },
        6 => Mark::CaptureDrops { frames: cursor.u64()? },
        _ => return None,
    })
}

fn text<'a>(cursor: &mut Cursor<'a>) -> Option<&'a str> {
    std::str::from_utf8(cursor.short()?).ok()
}

/// The content of one chunk, its streams already found, so that its packets can borrow their formats.
#[derive(Debug)]
pub struct Content<'a> {
    base: Timestamp,
    bytes: &'a [u8],
    streams: Vec<Stream>,
}

impl<'a> Content<'a> {
    /// Looks through the bytes for stream definitions. Whatever is wrong with them is told by [`Content::records`] when
    /// it comes to the place.
    #[must_use]
    pub fn parse(bytes: &'a [u8], base: Timestamp) -> Self {
        let (mut cursor, mut streams) = (Cursor::new(bytes), Vec::new());
        while !cursor.is_empty() && streams.len() < STREAMS_MAX {
            match raw(&mut cursor) {
                Some(Raw::Stream(stream)) => streams.push(stream),
                Some(_) => {}
                None => break,
            }
        }
        Content { base, bytes, streams }
    }

    /// The records in the order in which they were written; ends after the first error.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records { content: self, cursor: Cursor::new(self.bytes), defined: 0, failed: false }
    }
}

/// Iterates over the records of one chunk.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    content: &'a Content<'a>,
    cursor: Cursor<'a>,
    defined: usize,
    failed: bool,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed && !self.cursor.is_empty() {
            let offset = self.cursor.offset();
            let expected = match raw(&mut self.cursor) {
                Some(Raw::Stream(_)) if self.defined < self.content.streams.len() => {
                    self.defined += 1;
                    continue;
                }
                Some(Raw::Stream(_)) => "no more streams than a chunk can define",
                Some(Raw::Unknown) => continue,
                Some(Raw::Signal { signal, redacted }) => {
                    return Some(Ok(Record::Signal { signal, redacted }));
                }
                Some(Raw::Mark { micros, mark }) => {
                    return Some(Ok(Record::Mark { at: at_delta(self.content.base, micros), mark }));
                }
                Some(Raw::Packet { marker, stream, sequence, timestamp, micros, payload }) => {
                    let defined = self.content.streams.get(..self.defined).unwrap_or_default();
                    if let Some(stream) = defined.get(usize::from(stream)) {
                        let at = at_delta(self.content.base, micros);
                        let (ssrc, format) = (stream.ssrc, &stream.format);
                        let frame = AudioFrame { at, ssrc, sequence, timestamp, marker, format, payload };
                        return Some(Ok(Record::Audio { party: stream.party, frame }));
                    }
                    "a stream that is defined before this packet"
                }
                None => "a whole record",
            };
            self.failed = true;
            return Some(Err(RecordError { offset, expected }));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn format(payload_type: u8, name: &str, fmtp: &str) -> Format {
        Format {
            payload_type,
            codec: Codec::from_name(name),
            clock_rate: 8000,
            channels: 1,
            fmtp: fmtp.into(),
        }
    }

    #[derive(Clone, Debug, PartialEq)]
    enum Event {
        Audio {
            party: Party,
            at: Timestamp,
            ssrc: u32,
            sequence: u16,
            timestamp: u32,
            marker: bool,
            format: Format,
            payload: Vec<u8>,
        },
        Mark(Timestamp, Mark),
        Signal {
            at: Timestamp,
            flow: Flow,
            carrier: Carrier,
            repeated: bool,
            left_out: u32,
            bytes: Vec<u8>,
        },
    }

    fn encode(base: Timestamp, events: &[Event]) -> Vec<u8> {
        let (mut encoder, mut out) = (Encoder::default(), Vec::new());
        encoder.begin_chunk();
        for event in events {
            match event {
                Event::Audio { party, at, ssrc, sequence, timestamp, marker, format, payload } => {
                    let frame = AudioFrame {
                        at: *at,
                        ssrc: *ssrc,
                        sequence: *sequence,
                        timestamp: *timestamp,
                        marker: *marker,
                        format,
                        payload,
                    };
                    encoder.audio(&mut out, base, *party, &frame).expect("room for the stream");
                }
                Event::Mark(at, mark) => encoder.mark(&mut out, base, *at, mark),
                Event::Signal { at, flow, carrier, repeated, left_out, bytes } => {
                    let (at, flow, carrier) = (*at, *flow, *carrier);
                    let (is_repeated, left_out) = (*repeated, *left_out);
                    let signal = Signal { at, flow, carrier, is_repeated, left_out, bytes };
                    put_signal(&mut out, &signal, Redacted::default());
                }
            }
        }
        out
    }

    fn decode(base: Timestamp, bytes: &[u8]) -> Result<Vec<Event>, RecordError> {
        let content = Content::parse(bytes, base);
        content
            .records()
            .map(|record| {
                record.map(|record| match record {
                    Record::Audio { party, frame } => Event::Audio {
                        party,
                        at: frame.at,
                        ssrc: frame.ssrc,
                        sequence: frame.sequence,
                        timestamp: frame.timestamp,
                        marker: frame.marker,
                        format: frame.format.clone(),
                        payload: frame.payload.to_vec(),
                    },
                    Record::Mark { at, mark } => Event::Mark(at, mark),
                    Record::Signal { signal, redacted } => {
                        assert_eq!(redacted, Redacted::default());
                        let Signal { at, flow, carrier, is_repeated: repeated, left_out, bytes } = signal;
                        Event::Signal { at, flow, carrier, repeated, left_out, bytes: bytes.to_vec() }
                    }
                })
            })
            .collect()
    }

    fn party() -> impl Strategy<Value = Party> {
        prop_oneof![Just(Party::Near), Just(Party::Far)]
    }

    fn mark() -> impl Strategy<Value = Mark> {
        prop_oneof![
            party().prop_map(|by| Mark::Hold { by }),
            party().prop_map(|by| Mark::Retrieve { by }),
            ".{0,20}".prop_map(|source| Mark::PauseStart { source }),
            ".{0,20}".prop_map(|source| Mark::PauseEnd { source }),
            (party(), any::<char>(), any::<u32>()).prop_map(|(party, digit, duration_ms)| Mark::Digit {
                party,
                digit,
                duration_ms
            }),
            (party(), any::<u32>(), any::<u64>(), any::<u32>()).prop_map(
                |(party, ssrc, ntp, rtp_timestamp)| {
                    Mark::SenderReport { party, ssrc, ntp, rtp_timestamp }
                }
            ),
            any::<u64>().prop_map(|frames| Mark::CaptureDrops { frames }),
        ]
    }

    fn signal(at: impl Strategy<Value = Timestamp>) -> impl Strategy<Value = Event> {
        let end = prop_oneof![
            (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| Endpoint::v4(ip, port)),
            (any::<[u8; 16]>(), any::<u16>()).prop_map(|(ip, port)| Endpoint::v6(ip, port)),
        ];
        let carrier = (0..5_u8).prop_map(|code| carrier_of(code).expect("a carrier"));
        (at, end.clone(), end, carrier, any::<bool>(), any::<u32>(), "[ -~]{0,99}").prop_map(
            |(at, src, dst, carrier, repeated, left_out, text)| {
                let (flow, bytes) = (Flow { src, dst }, format!("SIP/2.0 200 {text}\r\n\r\n").into_bytes());
                Event::Signal { at, flow, carrier, repeated, left_out, bytes }
            },
        )
    }

    #[test]
    fn a_record_of_a_later_kind_is_passed_over() {
        let mut bytes = encode(BASE, &[Event::Mark(BASE, Mark::CaptureDrops { frames: 1 })]);
        let known = bytes.len();
        bytes.extend([9, 3, 0, 0, 0, 1, 2, 3]);
        bytes.extend_from_within(..known);
        assert_eq!(decode(BASE, &bytes).expect("whole records").len(), 2);
        bytes[known + 1] = 200;
        assert_eq!(decode(BASE, &bytes).expect_err("cut short").offset, known);
    }

    const BASE: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn event() -> impl Strategy<Value = Event> {
        let at = (-60_000_000_i64..1_800_000_000).prop_map(|micros| BASE.plus_nanos(micros * 1000));
        let format = prop_oneof![
            Just(format(0, "PCMU", "")),
            Just(format(101, "telephone-event", "0-16")),
            Just(format(9, "G722", ""))
        ];
        let packet = (
            party(),
            at.clone(),
            0_u32..5,
            any::<u16>(),
            any::<u32>(),
            any::<bool>(),
            format,
            any::<Vec<u8>>(),
        );
        prop_oneof![
            4 => packet.prop_map(|(party, at, ssrc, sequence, timestamp, marker, format, payload)| {
                Event::Audio { party, at, ssrc, sequence, timestamp, marker, format, payload }
            }),
            1 => (at.clone(), mark()).prop_map(|(at, mark)| Event::Mark(at, mark)),
            1 => signal(at),
        ]
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back(events in proptest::collection::vec(event(), 0..40)) {
            prop_assert_eq!(decode(BASE, &encode(BASE, &events)), Ok(events));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, base: i64) {
            let _ = decode(Timestamp::from_nanos(base), &bytes);
        }

        #[test]
        fn a_chunk_cut_anywhere_gives_its_first_records_and_at_most_one_error(
            events in proptest::collection::vec(event(), 1..20), cut: prop::sample::Index,
        ) {
            let bytes = encode(BASE, &events);
            let content = Content::parse(&bytes[..cut.index(bytes.len())], BASE);
            let read: Vec<_> = content.records().collect();
            prop_assert!(read.iter().rev().skip(1).all(Result::is_ok));
            prop_assert!(read.iter().filter(|r| r.is_ok()).count() <= events.len());
        }
    }

    fn packet<'a>(format: &'a Format, ssrc: u32, payload: &'a [u8]) -> AudioFrame<'a> {
        AudioFrame { at: BASE, ssrc, sequence: 7, timestamp: 160, marker: false, format, payload }
    }

    #[test]
    fn a_packet_costs_14_bytes_beside_its_payload_once_its_stream_is_defined() {
        let (format, mut encoder, mut out) = (format(0, "PCMU", ""), Encoder::default(), Vec::new());
        encoder.audio(&mut out, BASE, Party::Near, &packet(&format, 1, &[0; 160])).expect("room");
        let first = out.len();
        encoder.audio(&mut out, BASE, Party::Near, &packet(&format, 1, &[0; 160])).expect("room");
        assert_eq!(out.len() - first, PACKET_HEADER_LEN + 160);
    }

    #[test]
    fn a_spray_of_streams_asks_for_a_new_chunk_and_then_goes_on() {
        let (format, mut encoder, mut out) = (format(0, "PCMU", ""), Encoder::default(), Vec::new());
        for ssrc in 0..STREAMS_MAX as u32 {
            encoder.audio(&mut out, BASE, Party::Near, &packet(&format, ssrc, &[])).expect("room");
        }
        let more = packet(&format, 1000, &[]);
        assert_eq!(encoder.audio(&mut out, BASE, Party::Near, &more), Err(StreamsFull));
        encoder.begin_chunk();
        assert_eq!(encoder.audio(&mut out, BASE, Party::Near, &more), Ok(()));
        assert_eq!(encoder.streams.len(), STREAMS_MAX);
    }

    #[test]
    fn nanoseconds_are_cut_to_the_microsecond_and_not_more() {
        let format = format(0, "PCMU", "");
        let mut frame = packet(&format, 1, &[]);
        frame.at = BASE.plus_nanos(1_234_567);
        let (mut encoder, mut out) = (Encoder::default(), Vec::new());
        encoder.audio(&mut out, BASE, Party::Far, &frame).expect("room");
        let content = Content::parse(&out, BASE);
        let read = content.records().next().expect("a record").expect("whole");
        assert_eq!(read.at(), BASE.plus_nanos(1_234_000));
    }

    #[test]
    fn the_debug_text_of_a_mark_does_not_tell_the_digit() {
        let mark = Mark::Digit { party: Party::Near, digit: '7', duration_ms: 80 };
        assert!(!format!("{mark:?}").contains('7'));
    }
}
