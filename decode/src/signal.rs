//! A SIP message of a call as it was received, for whoever keeps it. What it says is [`crate::sip`]'s.

use std::fmt;

use crate::net::Flow;
use crate::time::Timestamp;

/// What carried a SIP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// UDP; also what an agent handed on as a whole message (HEP), whatever had carried it there.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP, opened with a key log.
    Tls,
    /// A WebSocket (RFC 7118).
    WebSocket,
    /// A WebSocket inside TLS.
    SecureWebSocket,
}

impl Carrier {
    /// As a Via header field names it (RFC 3261, 20.42; RFC 7118, 5.2).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Carrier::Udp => "UDP",
            Carrier::Tcp => "TCP",
            Carrier::Tls => "TLS",
            Carrier::WebSocket => "WS",
            Carrier::SecureWebSocket => "WSS",
        }
    }

    /// The same in a WebSocket.
    pub(crate) const fn in_websocket(self) -> Carrier {
        match self {
            Carrier::Tls | Carrier::SecureWebSocket => Carrier::SecureWebSocket,
            _ => Carrier::WebSocket,
        }
    }
}

/// One SIP message of a leg, once for each time and place that it was captured at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signal<'a> {
    /// When its last byte was captured.
    pub at: Timestamp,
    /// From where to where.
    pub flow: Flow,
    /// In what.
    pub carrier: Carrier,
    /// The same bytes came on the same way before: a retransmission.
    pub is_repeated: bool,
    /// Messages of this leg so far that a limit has left out.
    pub left_out: u32,
    /// The message.
    pub bytes: &'a [u8],
}

/// Nothing of what the message says: it may hold digits, names and keys.
impl fmt::Debug for Signal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Signal { at, carrier, bytes, .. } = self;
        write!(f, "Signal({at}, {}, {} bytes)", carrier.name(), bytes.len())
    }
}
