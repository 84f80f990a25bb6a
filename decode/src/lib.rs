//! Frames to calls: link layers, IP, SIP, SDP, RTP, the call tracker, codecs and the playback timeline.
//!
//! Everything here is a pure machine: it takes bytes and capture time as arguments, gives events and samples, and knows
//! no clock, thread, socket or file. Bytes from a wire are hostile: no function here panics on them.

pub mod codec;
pub mod dissect;
pub mod endpoint;
mod exported;
mod fragments;
pub mod health;
pub mod hep;
mod ip;
mod link;
pub mod media;
pub mod net;
pub mod playout;
pub mod ports;
pub mod quality;
pub mod rtp;
pub mod scramble;
pub mod sdp;
mod signal;
pub mod sip;
pub mod srtp;
pub mod stream;
pub mod tcp;
pub mod time;
pub mod tracker;
mod tunnel;

pub use dissect::Dissector;
pub use media::{AudioFrame, Codec, Format, Party, Side};
pub use net::{Datagram, Endpoint, Flow, Frame, Transport};
pub use signal::{Carrier, Signal};
pub use time::Timestamp;

/// Bytes that are not what they should be; where, counted from the start of what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at byte {offset}")]
pub struct ParseError {
    /// Offset of the first byte that does not fit.
    pub offset: usize,
    /// What should stand there.
    pub expected: &'static str,
}
