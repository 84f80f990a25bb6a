//! HEP over TCP: packets of an agent one behind the other, each with its length (see [`crate::hep`]).
//!
//! A packet that was cut by a gap, or by the beginning of the capture, is lost; the next one is found by its head. Only version 3
//! has one that can be found. What is inside belongs to the addresses that the packet names, and to the time at which it came.

use memchr::memmem;

use super::{Tell, Verdict, Way};
use crate::hep::{self, Kind, Payload};

const MAGIC: &[u8] = b"HEP3";
/// The packet's head and its first chunk's: what a packet is told by.
const EVIDENCE_BYTES: usize = 12;
/// Bytes in a row that are no packet, after which a direction is let go: as many as the longest packet has.
const FOREIGN_BYTES_MAX: usize = hep::HEP_BYTES_MAX;

/// What bytes hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// No packet begins in them.
    No,
    /// It cannot be told yet.
    Wait,
    /// One begins behind so many bytes.
    Packet(usize),
}

/// Tells a connection with packets, also one that is joined in the middle.
pub(super) fn look(bytes: &[u8]) -> Look {
    if bytes.len() < EVIDENCE_BYTES {
        let seen = bytes.get(..MAGIC.len()).unwrap_or(bytes);
        return if !seen.is_empty() && MAGIC.starts_with(seen) { Look::Wait } else { Look::No };
    }
    find(bytes).map_or(Look::No, Look::Packet)
}

fn find(bytes: &[u8]) -> Option<usize> {
    memmem::find_iter(bytes, MAGIC).find(|&at| bytes.get(at..).is_some_and(is_head))
}

/// The magic, a length, and a chunk of the generic vendor that fits into it.
fn is_head(bytes: &[u8]) -> bool {
    let Some(&[_, _, _, _, l0, l1, v0, v1, _, _, c0, c1]) = bytes.first_chunk::<EVIDENCE_BYTES>() else {
        return false;
    };
    let (length, chunk) = (u16::from_be_bytes([l0, l1]), u16::from_be_bytes([c0, c1]));
    (v0, v1) == (0, 0) && chunk >= 6 && u32::from(chunk) + 6 <= u32::from(length)
}

/// One connection of an agent's.
#[derive(Debug, Default)]
pub(super) struct Agent {
    /// The payload unpacked last.
    unpacked: Vec<u8>,
    /// Bytes passed over since the last packet, by direction.
    foreign: [usize; 2],
}

impl Agent {
    /// Bytes that it keeps.
    pub(super) fn kept(&self) -> usize {
        self.unpacked.capacity()
    }

    /// Reads what a direction has; says how many bytes are of no more use.
    pub(super) fn read(&mut self, way: Way, bytes: &[u8], tell: &mut Tell<'_>) -> (usize, Verdict) {
        let Agent { unpacked, foreign } = self;
        let foreign = way.of_mut(foreign);
        let mut read = 0_usize;
        loop {
            let rest = bytes.get(read..).unwrap_or_default();
            if rest.len() < EVIDENCE_BYTES {
                return (read, Verdict::GoOn);
            }
            let packet = match hep::framed_len(rest) {
                Ok(Some(length)) if is_head(rest) => match rest.get(..length) {
                    Some(packet) => packet,
                    // The rest is still to come.
                    None => return (read, Verdict::GoOn),
                },
                _ => {
                    // The head of the next one may still be cut.
                    let skip = find(rest).unwrap_or(rest.len() - (EVIDENCE_BYTES - 1));
                    read = read.saturating_add(skip);
                    *foreign = foreign.saturating_add(skip);
                    if *foreign > FOREIGN_BYTES_MAX {
                        return (read, Verdict::Foreign);
                    }
                    continue;
                }
            };
            match hep::parse(packet) {
                Ok(parsed) => {
                    read = read.saturating_add(packet.len());
                    *foreign = 0;
                    hand_on(&parsed, unpacked, tell);
                }
                // Its head was a coincidence, or it is damaged.
                Err(_) => {
                    tell.oddity("a HEP packet that cannot be read");
                    read = read.saturating_add(MAGIC.len());
                    *foreign = foreign.saturating_add(MAGIC.len());
                }
            }
        }
    }
}

/// SIP, RTP and RTCP; not an agent's account of RTCP in JSON, logs and other protocols.
fn hand_on(packet: &hep::Packet<'_>, unpacked: &mut Vec<u8>, tell: &mut Tell<'_>) {
    let payload = match packet.payload {
        Payload::Plain(payload) => payload,
        Payload::Packed(packed) if hep::inflate(packed, unpacked) => unpacked,
        Payload::Packed(_) => return tell.oddity("a HEP payload that cannot be unpacked"),
    };
    let is_text = payload.first().is_none_or(|&byte| byte < 128);
    match packet.kind {
        Kind::Other(_) => {}
        Kind::Rtcp if is_text => {}
        Kind::Sip | Kind::Rtp | Kind::Rtcp => tell.datagram(packet.flow, payload),
    }
}
