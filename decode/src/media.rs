//! What one RTP packet of a call carries, and what the words for it are: side, party, codec, format.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Who speaks, seen from the signalling: the party that sent the INVITE or the one that was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The party that sent the INVITE.
    Caller,
    /// The party that the INVITE went to.
    Callee,
}

impl Side {
    /// The one that this side talks to.
    #[must_use]
    pub const fn other(self) -> Side {
        match self {
            Side::Caller => Side::Callee,
            Side::Callee => Side::Caller,
        }
    }

    /// 0 for the caller, 1 for the callee: the place in a two-element array.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Side::Caller => 0,
            Side::Callee => 1,
        }
    }
}

/// Who speaks, seen from a recording: the recorded extension or the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Party {
    /// The recorded extension; the left channel.
    Near,
    /// The party that the extension talks to; the right channel.
    Far,
}

impl Party {
    /// 0 for near (left), 1 for far (right).
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Party::Near => 0,
            Party::Far => 1,
        }
    }
}

/// An audio encoding by its name in the registry of RTP payload formats (RFC 3551 table 4 and `a=rtpmap`).
///
/// Only what this crate treats in a way of its own has a variant; every other name is kept as written, in upper
/// case, so that the payload can be stored, listed and exported raw.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Codec {
    /// G.711 mu-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// Comfort noise, RFC 3389.
    ComfortNoise,
    /// Named telephone events, RFC 4733.
    TelephoneEvent,
    /// Any other encoding, by its name in upper case (`G722`, `OPUS`), or `PT<n>` when nothing named it.
    Other(Box<str>),
}

impl Codec {
    /// By encoding name, in any case; `L16`, `opus`, `telephone-event`.
    #[must_use]
    pub fn from_name(name: &str) -> Codec {
        match name.to_ascii_uppercase().as_str() {
            "PCMU" => Codec::Pcmu,
            "PCMA" => Codec::Pcma,
            "CN" => Codec::ComfortNoise,
            "TELEPHONE-EVENT" => Codec::TelephoneEvent,
            other => Codec::Other(other.into()),
        }
    }

    /// The encoding's name as tables and JSON print it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
            Codec::ComfortNoise => "CN",
            Codec::TelephoneEvent => "telephone-event",
            Codec::Other(name) => name,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<String> for Codec {
    fn from(name: String) -> Self {
        Codec::from_name(&name)
    }
}

impl From<Codec> for String {
    fn from(codec: Codec) -> Self {
        codec.name().to_owned()
    }
}

/// How the payload of one payload type is to be read: `a=rtpmap` and `a=fmtp` of RFC 8866, or RFC 3551's static table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Format {
    /// RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// The encoding.
    pub codec: Codec,
    /// RTP clock in Hz. For G.722 this is 8000 although it samples at 16000 (RFC 3551, 4.5.2).
    pub clock_rate: u32,
    /// Channels in one payload, 1 or more.
    pub channels: u8,
    /// Format parameters as written after `a=fmtp:<pt> `; empty when there are none.
    pub fmtp: String,
}

/// One received audio packet of a leg, with what is needed to keep it and to play it later. Borrowed: nothing is
/// allocated per packet.
#[derive(Clone, Copy, Debug)]
pub struct AudioFrame<'a> {
    /// When it was captured.
    pub at: Timestamp,
    /// Synchronization source (RFC 3550, 3).
    pub ssrc: u32,
    /// RTP sequence number as received.
    pub sequence: u16,
    /// RTP timestamp as received, in ticks of the format's clock.
    pub timestamp: u32,
    /// RTP marker bit: for audio, the first packet after a silence (RFC 3551, 4.1).
    pub marker: bool,
    /// How the payload is to be read.
    pub format: &'a Format,
    /// The payload, without RTP header, extension and padding.
    pub payload: &'a [u8],
}
