//! SIP over WebSocket: the HTTP handshake, frames, fragments, compression (RFC 6455, RFC 7692), and one SIP message in each
//! WebSocket message (RFC 7118, 5).
//!
//! Frames are read leniently, as both ends understood them. A connection whose handshake was missed, or that lost a piece,
//! is caught at the next frame that begins a SIP message. Only the sub-protocol `sip`, or none said, is followed.

use flate2::{Decompress, FlushDecompress};
use memchr::memmem;

use super::{Tell, Verdict, Way};
use crate::sip;
use crate::tcp::Tally;

/// Longest HTTP head that is waited for.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Payload of one frame that is read; a longer one is passed over.
const FRAME_BYTES_MAX: u64 = 128 * 1024;
/// Of one message, its fragments joined and unpacked; a longer one is passed over.
pub(super) const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// A frame that says to be longer than this is a lie, and the connection is let go.
const PASSED_BYTES_MAX: u64 = 1 << 32;
/// Bytes of a payload in which the beginning of a SIP message shows.
const EVIDENCE_BYTES: usize = 24;
/// Unpacked at a time.
const INFLATE_BYTES: usize = 4096;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PONG: u8 = 10;

/// What an HTTP head says of a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upgrade {
    /// It is not complete.
    Wait,
    /// One begins that may carry SIP.
    Yes,
    /// It is something else.
    No,
}

/// One WebSocket connection.
#[derive(Debug)]
pub(super) struct WebSocket {
    ways: [Reader; 2],
    packing: Packing,
}

/// permessage-deflate as the server has granted it (RFC 7692, 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    /// The handshake is not over, or was missed.
    Unknown,
    None,
    /// Whether each side begins every message with an empty window.
    Deflate {
        client_starts_anew: bool,
        server_starts_anew: bool,
    },
}

/// One direction.
#[derive(Debug, Default)]
struct Reader {
    state: State,
    is_client: bool,
    /// Bytes of a frame too long to be read that are still to come.
    to_pass: u64,
    /// The fragments of a message so far.
    message: Vec<u8>,
    /// A message has begun, packed or not.
    open: Option<bool>,
    /// It became too long, or lost a part: its end ends it, and nobody hears of it.
    spoilt: bool,
    window: Window,
    tally: Tally,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The HTTP head comes first.
    #[default]
    Head,
    Frames,
    /// A piece was lost: the next frame with the beginning of a SIP message is looked for.
    Lost,
}

/// What the unpacker remembers of earlier messages.
#[derive(Debug, Default)]
enum Window {
    #[default]
    Empty,
    Open(Box<Decompress>),
    /// A message is missing in it: what follows cannot be unpacked.
    Broken,
}

/// A frame's head (RFC 6455, 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    is_final: bool,
    is_packed: bool,
    opcode: u8,
    mask: Option<[u8; 4]>,
    /// Length of the head.
    head: usize,
    /// Length of the payload.
    length: u64,
}

/// What stands at the beginning of bytes.
enum Parsed {
    Wait,
    Frame(Frame),
    Broken,
}

/// Is this the head of a request or answer that begins a WebSocket for SIP?
pub(super) fn upgrade(bytes: &[u8]) -> Upgrade {
    let begins = |word: &[u8]| bytes.starts_with(word) || word.starts_with(bytes);
    if !begins(b"GET ") && !begins(b"HTTP/1.1 101") {
        return Upgrade::No;
    }
    let Some(end) = head_end(bytes) else {
        return if bytes.len() < HEAD_BYTES_MAX { Upgrade::Wait } else { Upgrade::No };
    };
    let head = bytes.get(..end).unwrap_or_default();
    let is_websocket = words(head, "Upgrade").any(|word| word.eq_ignore_ascii_case(b"websocket"));
    let mut protocols = words(head, "Sec-WebSocket-Protocol").peekable();
    let may_be_sip = protocols.peek().is_none() || protocols.any(|word| word.eq_ignore_ascii_case(b"sip"));
    if is_websocket && may_be_sip { Upgrade::Yes } else { Upgrade::No }
}

/// Where a frame stands whose payload begins like a SIP message: the proof that a connection joined in the middle is one.
pub(super) fn find_sip_frame(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len()).find(|&at| {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(TEXT | BINARY) = rest.first().map(|byte| byte & 0x7f) else { return false };
        let Parsed::Frame(frame) = Frame::parse(rest) else { return false };
        let shown = frame.length.min(EVIDENCE_BYTES as u64) as usize;
        let Some(start) = rest.get(frame.head..frame.head.saturating_add(shown)) else { return false };
        let mut start = start.to_vec();
        frame.unmask(&mut start);
        begins_sip(&start)
    })
}

/// `SIP/2.0 1` or `METHOD sip:`, as far as it can be seen.
fn begins_sip(start: &[u8]) -> bool {
    if let Some(status) = start.strip_prefix(b"SIP/2.0 ") {
        return status.first().is_some_and(u8::is_ascii_digit);
    }
    let method = start.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    let uri = start.get(method..).unwrap_or_default();
    let schemes: [&[u8]; 4] = [b" sip:", b" sips:", b" tel:", b" urn:"];
    method >= 3 && schemes.iter().any(|scheme| uri.starts_with(scheme))
}

impl WebSocket {
    /// One whose handshake comes, from either side.
    pub(super) fn at_handshake() -> Self {
        WebSocket { ways: Default::default(), packing: Packing::Unknown }
    }

    /// One that was joined in the middle.
    pub(super) fn in_the_middle() -> Self {
        let mut websocket = WebSocket::at_handshake();
        for reader in &mut websocket.ways {
            reader.state = State::Frames;
        }
        websocket
    }

    /// Bytes that it keeps.
    pub(super) fn kept(&self) -> usize {
        self.ways.iter().map(|reader| reader.message.capacity()).fold(0, usize::saturating_add)
    }

    /// Reads what a direction has; says how many bytes are of no more use. `lost` says that bytes before these are missing.
    pub(super) fn read(
        &mut self,
        way: Way,
        bytes: &[u8],
        lost: bool,
        tell: &mut Tell<'_>,
    ) -> (usize, Verdict) {
        if lost {
            self.lose(way);
        }
        let mut read = 0_usize;
        loop {
            let rest = bytes.get(read..).unwrap_or_default();
            let (more, verdict) = match way.of(&self.ways).state {
                State::Head => self.read_head(way, rest),
                State::Frames => self.read_frame(way, rest, tell),
                State::Lost => (self.find_place(way, rest), Verdict::GoOn),
            };
            read = read.saturating_add(more.unwrap_or(0)).min(bytes.len());
            if more.is_none() || verdict != Verdict::GoOn {
                return (read, verdict);
            }
        }
    }

    fn lose(&mut self, way: Way) {
        let reader = way.of_mut(&mut self.ways);
        reader.state = State::Lost;
        reader.to_pass = 0;
        reader.drop_message();
        reader.window = Window::Broken;
    }

    /// The HTTP head. Gives how many bytes it took, `None` when more are needed.
    fn read_head(&mut self, way: Way, bytes: &[u8]) -> (Option<usize>, Verdict) {
        if bytes.first().is_some_and(|first| !first.is_ascii()) {
            // This side's head was missed.
            way.of_mut(&mut self.ways).state = State::Lost;
            return (Some(0), Verdict::GoOn);
        }
        let Some(end) = head_end(bytes) else {
            let verdict = if bytes.len() < HEAD_BYTES_MAX { Verdict::GoOn } else { Verdict::Foreign };
            return (None, verdict);
        };
        let head = bytes.get(..end).unwrap_or_default();
        if upgrade(head) != Upgrade::Yes {
            // Refused, for want of a password perhaps: what comes next is looked at anew.
            return (Some(end), Verdict::Over);
        }
        let reader = way.of_mut(&mut self.ways);
        reader.state = State::Frames;
        reader.is_client = head.starts_with(b"GET ");
        if !reader.is_client {
            self.packing = Packing::granted(head);
        }
        (Some(end), Verdict::GoOn)
    }

    /// The next frame that begins a SIP message; what stands before it goes.
    fn find_place(&mut self, way: Way, bytes: &[u8]) -> Option<usize> {
        let Some(at) = find_sip_frame(bytes) else {
            return if bytes.is_empty() { None } else { Some(bytes.len()) };
        };
        way.of_mut(&mut self.ways).state = State::Frames;
        Some(at)
    }

    /// One whole frame, as [`Self::read_head`].
    fn read_frame(&mut self, way: Way, bytes: &[u8], tell: &mut Tell<'_>) -> (Option<usize>, Verdict) {
        let reader = way.of_mut(&mut self.ways);
        if reader.to_pass > 0 {
            let passed = reader.to_pass.min(bytes.len() as u64);
            reader.to_pass -= passed;
            return ((passed > 0).then_some(passed as usize), Verdict::GoOn);
        }
        let frame = match Frame::parse(bytes) {
            Parsed::Wait => return (None, Verdict::GoOn),
            Parsed::Frame(frame) if frame.length <= PASSED_BYTES_MAX => frame,
            Parsed::Frame(_) | Parsed::Broken => {
                tell.oddity("a WebSocket frame that cannot be one");
                self.lose(way);
                return (Some(1.min(bytes.len())), Verdict::GoOn);
            }
        };
        if frame.length > FRAME_BYTES_MAX {
            tell.oddity("a WebSocket frame longer than is read");
            reader.spoil();
            reader.to_pass = frame.length;
            reader.note_end(&frame);
            return (Some(frame.head), Verdict::GoOn);
        }
        let end = frame.head.saturating_add(frame.length as usize);
        let Some(payload) = bytes.get(frame.head..end) else { return (None, Verdict::GoOn) };
        if frame.opcode <= BINARY {
            reader.take(&frame, payload, self.packing, tell);
        }
        let verdict = if super::plain::is_foreign(&reader.tally) { Verdict::Foreign } else { Verdict::GoOn };
        (Some(end), verdict)
    }
}

impl Reader {
    fn drop_message(&mut self) {
        self.message = Vec::new();
        self.open = None;
        self.spoilt = false;
    }

    /// The message that runs is not to be told; a packed one leaves a hole in the window.
    fn spoil(&mut self) {
        self.message = Vec::new();
        self.spoilt = true;
        self.window = Window::Broken;
    }

    /// Bookkeeping of a frame whose payload is passed over.
    fn note_end(&mut self, frame: &Frame) {
        if frame.is_final {
            self.drop_message();
        } else if frame.opcode != CONTINUATION {
            self.open = Some(frame.is_packed);
        }
    }

    /// A frame of a message; at its last one the message is told.
    fn take(&mut self, frame: &Frame, payload: &[u8], packing: Packing, tell: &mut Tell<'_>) {
        match (frame.opcode, self.open) {
            // The rest of a message whose beginning was missed.
            (CONTINUATION, None) => return,
            (CONTINUATION, Some(_)) => {}
            (_, before) => {
                if before.is_some() {
                    tell.oddity("a WebSocket message begins inside another");
                }
                self.drop_message();
                self.open = Some(frame.is_packed);
            }
        }
        if self.message.len().saturating_add(payload.len()) > MESSAGE_BYTES_MAX {
            tell.oddity("a WebSocket message longer than is read");
            self.spoil();
        }
        if !self.spoilt {
            let start = self.message.len();
            self.message.extend_from_slice(payload);
            frame.unmask(self.message.get_mut(start..).unwrap_or_default());
        }
        if frame.is_final {
            self.give(packing, tell);
        }
    }

    /// The message is whole.
    fn give(&mut self, packing: Packing, tell: &mut Tell<'_>) {
        let message = std::mem::take(&mut self.message);
        let (is_packed, is_spoilt) = (self.open.take() == Some(true), std::mem::take(&mut self.spoilt));
        if is_spoilt {
            return;
        }
        let message = if is_packed {
            if packing.starts_anew(self.is_client) {
                self.window = Window::Empty;
            }
            match self.window.inflate(&message, packing) {
                Some(message) => message,
                None => {
                    self.window = Window::Broken;
                    return tell.oddity("a compressed WebSocket message that is not read");
                }
            }
        } else {
            message
        };
        if sip::looks_like_sip(&message) {
            self.tally = Tally { messages: self.tally.messages.saturating_add(1), foreign: 0 };
            tell.framed(&message);
        } else {
            let foreign = message.iter().filter(|byte| !byte.is_ascii_whitespace()).count();
            self.tally.foreign = self.tally.foreign.saturating_add(foreign);
        }
    }
}

impl Packing {
    /// What the server's answer grants.
    fn granted(head: &[u8]) -> Packing {
        let granted = values(head, "Sec-WebSocket-Extensions")
            .flat_map(|value| value.split(|&byte| byte == b','))
            .find(|offer| parts(offer).next() == Some(b"permessage-deflate"));
        granted.map_or(Packing::None, |offer| Packing::Deflate {
            client_starts_anew: parts(offer).any(|part| part == b"client_no_context_takeover"),
            server_starts_anew: parts(offer).any(|part| part == b"server_no_context_takeover"),
        })
    }

    fn starts_anew(self, is_client: bool) -> bool {
        match self {
            Packing::Deflate { client_starts_anew, server_starts_anew } => {
                if is_client {
                    client_starts_anew
                } else {
                    server_starts_anew
                }
            }
            Packing::Unknown | Packing::None => false,
        }
    }
}

impl Window {
    /// Unpacks one message (RFC 7692, 7.2.2); `None` when it cannot be, or would be too long.
    fn inflate(&mut self, packed: &[u8], packing: Packing) -> Option<Vec<u8>> {
        if packing == Packing::None || packing == Packing::Unknown {
            return None;
        }
        if let Window::Empty = self {
            *self = Window::Open(Box::new(Decompress::new(false)));
        }
        let Window::Open(unpacker) = self else { return None };
        let mut message = Vec::new();
        for part in [packed, &[0, 0, 0xff, 0xff]] {
            inflate_part(unpacker, part, &mut message)?;
        }
        Some(message)
    }
}

fn inflate_part(unpacker: &mut Decompress, part: &[u8], message: &mut Vec<u8>) -> Option<()> {
    let mut block = [0; INFLATE_BYTES];
    let mut read = 0_usize;
    loop {
        let (read_before, written_before) = (unpacker.total_in(), unpacker.total_out());
        let rest = part.get(read..).unwrap_or_default();
        unpacker.decompress(rest, &mut block, FlushDecompress::Sync).ok()?;
        let taken = unpacker.total_in().saturating_sub(read_before) as usize;
        let given = unpacker.total_out().saturating_sub(written_before) as usize;
        if message.len().saturating_add(given) > MESSAGE_BYTES_MAX {
            return None;
        }
        message.extend_from_slice(block.get(..given)?);
        read = read.saturating_add(taken);
        // A full block may have left more inside; one that is not full has given all.
        if given < INFLATE_BYTES && (read >= part.len() || taken == 0) {
            return (read >= part.len()).then_some(());
        }
    }
}

impl Frame {
    fn parse(bytes: &[u8]) -> Parsed {
        let &[first, second, ..] = bytes else { return Parsed::Wait };
        let (head, length) = match second & 0x7f {
            126 => match bytes.get(2..).and_then(|rest| rest.first_chunk::<2>()) {
                Some(length) => (4, u64::from(u16::from_be_bytes(*length))),
                None => return Parsed::Wait,
            },
            127 => match bytes.get(2..).and_then(|rest| rest.first_chunk::<8>()) {
                Some(length) => (10, u64::from_be_bytes(*length)),
                None => return Parsed::Wait,
            },
            length => (2, u64::from(length)),
        };
        let (is_final, opcode) = (first & 0x80 != 0, first & 0x0f);
        let is_control = opcode >= CLOSE;
        let is_known = opcode <= BINARY || (CLOSE..=PONG).contains(&opcode);
        let is_packed = first & 0x40 != 0;
        if first & 0x30 != 0 || !is_known || (is_control && (!is_final || is_packed || length > 125)) {
            return Parsed::Broken;
        }
        if second & 0x80 == 0 {
            return Parsed::Frame(Frame { is_final, is_packed, opcode, mask: None, head, length });
        }
        match bytes.get(head..).and_then(|rest| rest.first_chunk::<4>()) {
            Some(&mask) => {
                Parsed::Frame(Frame { is_final, is_packed, opcode, mask: Some(mask), head: head + 4, length })
            }
            None => Parsed::Wait,
        }
    }

    fn unmask(&self, payload: &mut [u8]) {
        let Some(mask) = self.mask else { return };
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
    }
}

/// Where an HTTP head ends: behind its empty line.
fn head_end(bytes: &[u8]) -> Option<usize> {
    let window = bytes.get(..HEAD_BYTES_MAX).unwrap_or(bytes);
    memmem::find(window, b"\r\n\r\n").map(|at| at + 4)
}

/// The values of an HTTP field.
fn values<'a>(head: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> {
    head.split(|&byte| byte == b'\n').filter_map(move |line| {
        let (field, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
        sip::trim(field).eq_ignore_ascii_case(name.as_bytes()).then(|| value.get(1..).unwrap_or_default())
    })
}

/// The words of a field that holds a list.
fn words<'a>(head: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> {
    values(head, name).flat_map(|value| value.split(|&byte| byte == b',')).map(sip::trim)
}

/// An extension's name and parameters.
fn parts(offer: &[u8]) -> impl Iterator<Item = &[u8]> {
    offer.split(|&byte| byte == b';').map(sip::trim)
}
