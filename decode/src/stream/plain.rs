//! Plain bytes, of TCP or out of TLS: what they begin with, and the SIP messages in them (RFC 3261, 18.3).

use super::websocket::{self, WebSocket};
use super::{FOREIGN_BYTES_BETWEEN_MAX, FOREIGN_BYTES_MAX, Tell, Verdict, Way};
use crate::sip::{self, Framed};
use crate::tcp::Tally;

/// Opened bytes of one direction of TLS kept for their reader; more throws them away.
const UNREAD_BYTES_MAX: usize = 256 * 1024;

/// What bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It cannot be told yet.
    Wait,
    /// The handshake of a WebSocket that may carry SIP.
    Upgrade,
    /// A WebSocket frame with SIP in it begins behind so many bytes: its handshake was missed.
    Frames(usize),
    /// SIP, or something else that is looked through for SIP.
    Text,
}

/// Tells by the first bytes. SIP begins with a letter or a blank line and costs one comparison.
pub(super) fn look(bytes: &[u8], ended: bool) -> Look {
    match bytes.first() {
        Some(b'G' | b'H') => match websocket::upgrade(bytes) {
            websocket::Upgrade::Wait if !ended => Look::Wait,
            websocket::Upgrade::Yes => Look::Upgrade,
            _ => Look::Text,
        },
        Some(byte) if byte.is_ascii_graphic() || byte.is_ascii_whitespace() => Look::Text,
        _ => websocket::find_sip_frame(bytes).map_or(Look::Text, Look::Frames),
    }
}

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text {
    /// Bytes of no more use.
    pub(super) read: usize,
    /// Messages told.
    pub(super) messages: u64,
}

/// Tells the whole messages and counts what is none.
pub(super) fn read_text(bytes: &[u8], ended: bool, tally: &mut Tally, tell: &mut Tell<'_>) -> Text {
    let mut text = Text { read: 0, messages: 0 };
    loop {
        let rest = bytes.get(text.read..).unwrap_or_default();
        match sip::next_message(rest, ended) {
            Framed::Message(range) => {
                text.messages += 1;
                tally.messages = tally.messages.saturating_add(1);
                tally.foreign = 0;
                text.read = text.read.saturating_add(range.end);
                tell.message(rest.get(range).unwrap_or_default());
            }
            Framed::Wait { skip } => {
                let skipped = rest.get(..skip).unwrap_or_default();
                // Blank lines keep a connection alive and are not foreign (RFC 5626, 3.5.1).
                let foreign = skipped.iter().filter(|byte| !byte.is_ascii_whitespace()).count();
                tally.foreign = tally.foreign.saturating_add(foreign);
                text.read = text.read.saturating_add(skip);
                return text;
            }
        }
    }
}

/// Has it shown too much of something else?
pub(super) fn is_foreign(tally: &Tally) -> bool {
    tally.foreign > if tally.messages > 0 { FOREIGN_BYTES_BETWEEN_MAX } else { FOREIGN_BYTES_MAX }
}

/// The content of a TLS connection: SIP or a WebSocket, as over TCP.
#[derive(Debug, Default)]
pub(super) struct Inside {
    sides: [Side; 2],
    websocket: Option<Box<WebSocket>>,
}

#[derive(Debug, Default)]
struct Side {
    unread: Vec<u8>,
    tally: Tally,
}

impl Inside {
    /// Bytes that it keeps.
    pub(super) fn kept(&self) -> usize {
        let unread = self.sides.iter().map(|side| side.unread.capacity()).fold(0, usize::saturating_add);
        unread.saturating_add(self.websocket.as_ref().map_or(0, |websocket| websocket.kept()))
    }

    /// Reads what a direction has new. `lost` says that bytes before these are missing.
    pub(super) fn read(&mut self, way: Way, bytes: &[u8], lost: bool, tell: &mut Tell<'_>) -> Verdict {
        let Inside { sides, websocket } = self;
        let Side { unread, tally } = way.of_mut(sides);
        let overflows = unread.len().saturating_add(bytes.len()) > UNREAD_BYTES_MAX;
        if lost || overflows {
            unread.clear();
        }
        unread.extend_from_slice(bytes);
        let (mut read, mut lost) = (0_usize, lost || overflows);
        let verdict = loop {
            let rest = unread.get(read..).unwrap_or_default();
            if let Some(frames) = websocket {
                let (more, verdict) = frames.read(way, rest, std::mem::take(&mut lost), tell);
                read = read.saturating_add(more);
                match verdict {
                    Verdict::Over if more > 0 => *websocket = None,
                    verdict => break verdict,
                }
                continue;
            }
            match look(rest, false) {
                Look::Wait => break Verdict::GoOn,
                Look::Upgrade => *websocket = Some(Box::new(WebSocket::at_handshake())),
                Look::Frames(skip) => {
                    read = read.saturating_add(skip);
                    *websocket = Some(Box::new(WebSocket::in_the_middle()));
                }
                Look::Text => {
                    read = read.saturating_add(read_text(rest, false, tally, tell).read);
                    break if is_foreign(tally) { Verdict::Foreign } else { Verdict::GoOn };
                }
            }
        };
        unread.drain(..read.min(unread.len()));
        // What one large message needed is not kept for ever.
        unread.shrink_to(4096.max(unread.len()));
        verdict
    }
}
