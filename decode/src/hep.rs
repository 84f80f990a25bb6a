//! HEP, the Homer Encapsulation Protocol: what an agent beside a SIP server saw, sent on in packets of its own.
//!
//! Owns the packet format of versions 1 to 3 ("HEP/EEP: Homer Encapsulation Protocol", version 3, and the fixed headers
//! before it). A packet holds one whole message or packet with the addresses that it travelled between; over TCP packets
//! follow each other, each with its length. What is inside is read by the tracker as if it had been seen itself.
//!
//! The agent's time stamp is not used: each agent has a clock of its own, and what a call's signalling says and its audio
//! must lie on one. That clock is the capture's, here as everywhere, so a message counts from when its HEP packet came.

use std::io::{self, Read};

use flate2::bufread::{GzDecoder, ZlibDecoder};

use crate::ParseError;
use crate::net::{Endpoint, Flow};

/// Chunks of one packet; one with more is no HEP.
pub const HEP_CHUNKS_MAX: usize = 64;
/// Bytes of a compressed payload once it is unpacked; a larger one is not read.
pub const HEP_INFLATED_BYTES_MAX: usize = 65_535;
/// Bytes of a packet at most, by its 16-bit length field.
pub const HEP_BYTES_MAX: usize = 65_535;

/// First bytes of version 3.
const MAGIC: [u8; 4] = *b"HEP3";
/// The magic and the packet's length.
const HEAD_BYTES: usize = 6;

/// One packet, borrowed from its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Between whom the payload travelled.
    pub flow: Flow,
    /// What the agent says it is.
    pub kind: Kind,
    /// The message or packet itself.
    pub payload: Payload<'a>,
    /// The secret that agents and collectors share, when the packet has one.
    pub auth_key: Option<&'a [u8]>,
}

/// Protocol type of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A SIP message.
    Sip,
    /// An RTP packet.
    Rtp,
    /// An RTCP packet, or the agent's account of it in JSON.
    Rtcp,
    /// Something else: logs, statistics, other protocols.
    Other(u8),
}

/// A payload, as it is or packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// As it was on the wire.
    Plain(&'a [u8]),
    /// zlib or gzip.
    Packed(&'a [u8]),
}

/// Does a datagram begin like one? [`parse`] then says whether it holds together.
#[must_use]
pub fn looks_like_hep(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC) || is_fixed_header(bytes)
}

/// Reads one packet of any version; bytes behind it are left alone.
///
/// # Errors
///
/// Where the bytes stop being HEP.
pub fn parse(bytes: &[u8]) -> Result<Packet<'_>, ParseError> {
    match framed_len(bytes)? {
        Some(length) if length <= bytes.len() => parse_chunks(bytes.get(..length).unwrap_or_default()),
        Some(_) => Err(ParseError { offset: bytes.len(), expected: "the rest of a HEP packet" }),
        None if bytes.len() < HEAD_BYTES && MAGIC.starts_with(bytes) => {
            Err(ParseError { offset: bytes.len(), expected: "a HEP header" })
        }
        None => parse_fixed(bytes),
    }
}

/// Length of the version 3 packet at the start of `bytes`; `None` when these are too few to tell, or when this is no
/// version 3.
///
/// # Errors
///
/// When the length is smaller than the header that holds it.
pub fn framed_len(bytes: &[u8]) -> Result<Option<usize>, ParseError> {
    let Some(head) = bytes.first_chunk::<HEAD_BYTES>().filter(|head| head.starts_with(&MAGIC)) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
    if length < HEAD_BYTES {
        return Err(ParseError { offset: 4, expected: "a HEP length of 6 bytes or more" });
    }
    Ok(Some(length))
}

/// Unpacks a payload into `out`; false when it is damaged or larger than [`HEP_INFLATED_BYTES_MAX`].
#[must_use]
pub fn inflate(packed: &[u8], out: &mut Vec<u8>) -> bool {
    fn take(reader: impl Read, out: &mut Vec<u8>) -> io::Result<usize> {
        reader.take(HEP_INFLATED_BYTES_MAX as u64 + 1).read_to_end(out)
    }
    out.clear();
    let result = if packed.starts_with(&[0x1f, 0x8b]) {
        take(GzDecoder::new(packed), out)
    } else {
        take(ZlibDecoder::new(packed), out)
    };
    result.is_ok() && out.len() <= HEP_INFLATED_BYTES_MAX
}

/// Version 3: vendor, type and length, then the value, again and again.
fn parse_chunks(bytes: &[u8]) -> Result<Packet<'_>, ParseError> {
    const FAMILY: u16 = 1;
    const SOURCE_4: u16 = 3;
    const DESTINATION_4: u16 = 4;
    const SOURCE_6: u16 = 5;
    const DESTINATION_6: u16 = 6;
    const SOURCE_PORT: u16 = 7;
    const DESTINATION_PORT: u16 = 8;
    const PROTOCOL_TYPE: u16 = 11;
    const AUTH_KEY: u16 = 14;
    const PAYLOAD: u16 = 15;
    const PACKED_PAYLOAD: u16 = 16;
    const GENERIC: u16 = 0;

    let (mut src, mut dst) = (None, None);
    let mut ports = [None, None];
    let (mut kind, mut payload, mut auth_key) = (None, None, None);
    let mut at = HEAD_BYTES;
    for _ in 0..HEP_CHUNKS_MAX {
        let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { break };
        let wrong = ParseError { offset: at, expected: "a HEP chunk" };
        let &[v0, v1, t0, t1, l0, l1] = rest.first_chunk::<6>().ok_or(wrong)?;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let value = rest.get(6..length).ok_or(wrong)?;
        let wrong = ParseError { offset: at, expected: "another length of this HEP chunk" };
        at = at.saturating_add(length);
        if u16::from_be_bytes([v0, v1]) != GENERIC {
            continue;
        }
        match u16::from_be_bytes([t0, t1]) {
            // Told by the addresses as well.
            FAMILY if value.len() != 1 => return Err(wrong),
            SOURCE_4 => src = Some(Endpoint::v4(value.try_into().map_err(|_| wrong)?, 0)),
            DESTINATION_4 => dst = Some(Endpoint::v4(value.try_into().map_err(|_| wrong)?, 0)),
            SOURCE_6 => src = Some(Endpoint::v6(value.try_into().map_err(|_| wrong)?, 0)),
            DESTINATION_6 => dst = Some(Endpoint::v6(value.try_into().map_err(|_| wrong)?, 0)),
            SOURCE_PORT => ports[0] = Some(u16::from_be_bytes(value.try_into().map_err(|_| wrong)?)),
            DESTINATION_PORT => ports[1] = Some(u16::from_be_bytes(value.try_into().map_err(|_| wrong)?)),
            PROTOCOL_TYPE => kind = Some(Kind::from(*value.first().ok_or(wrong)?)),
            AUTH_KEY => auth_key = Some(value),
            PAYLOAD => payload = Some(Payload::Plain(value)),
            PACKED_PAYLOAD => payload = Some(Payload::Packed(value)),
            _ => {}
        }
    }
    if at != bytes.len() {
        return Err(ParseError { offset: at, expected: "the end of a HEP packet" });
    }
    let missing = |expected| ParseError { offset: bytes.len(), expected };
    let [Some(source_port), Some(destination_port)] = ports else { return Err(missing("two HEP ports")) };
    let src = src.ok_or(missing("a HEP source address"))?.with_port(source_port);
    let dst = dst.ok_or(missing("a HEP destination address"))?.with_port(destination_port);
    Ok(Packet {
        flow: Flow { src, dst },
        kind: kind.ok_or(missing("a HEP protocol type"))?,
        payload: payload.ok_or(missing("a HEP payload"))?,
        auth_key,
    })
}

/// Bytes of the addresses of a fixed header, and of the time stamp that version 2 has behind them.
const ADDRESSES_4: usize = 8;
const ADDRESSES_6: usize = 32;
const TIME: usize = 12;

/// Versions 1 and 2 have no magic: version, length, family and protocol must all be what agents write.
fn is_fixed_header(bytes: &[u8]) -> bool {
    let Some(&[version, length, family, protocol]) = bytes.first_chunk::<4>() else { return false };
    let addresses = match family {
        2 => ADDRESSES_4,
        // AF_INET6 of Linux, and those of the BSDs.
        10 | 24 | 28 | 30 => ADDRESSES_6,
        _ => return false,
    };
    let length = usize::from(length);
    // Some agents count the time stamp of version 2 in, some do not.
    let fits = length == 8 + addresses || (version == 2 && length == 8 + addresses + TIME);
    matches!(version, 1 | 2) && fits && matches!(protocol, 6 | 17 | 132)
}

/// Versions 1 and 2: version, length, family, protocol, ports, addresses, in version 2 a time stamp, then the SIP message.
fn parse_fixed(bytes: &[u8]) -> Result<Packet<'_>, ParseError> {
    let wrong = |offset| ParseError { offset, expected: "a HEP header of version 1 or 2" };
    if !is_fixed_header(bytes) {
        return Err(wrong(0));
    }
    let (head, rest) = bytes.split_first_chunk::<8>().ok_or(wrong(0))?;
    let &[version, _, family, _, s0, s1, d0, d1] = head;
    let ports = [u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])];
    let (src, dst, rest) = if family == 2 {
        let (addresses, rest) = rest.split_first_chunk::<ADDRESSES_4>().ok_or(wrong(8))?;
        let &[a, b, c, d, e, f, g, h] = addresses;
        (Endpoint::v4([a, b, c, d], ports[0]), Endpoint::v4([e, f, g, h], ports[1]), rest)
    } else {
        let (src, rest) = rest.split_first_chunk::<16>().ok_or(wrong(8))?;
        let (dst, rest) = rest.split_first_chunk::<16>().ok_or(wrong(24))?;
        (Endpoint::v6(*src, ports[0]), Endpoint::v6(*dst, ports[1]), rest)
    };
    let skip = if version == 2 { TIME } else { 0 };
    let payload = rest.get(skip..).ok_or(wrong(8))?;
    Ok(Packet { flow: Flow { src, dst }, kind: Kind::Sip, payload: Payload::Plain(payload), auth_key: None })
}

impl From<u8> for Kind {
    fn from(number: u8) -> Kind {
        match number {
            1 => Kind::Sip,
            4 => Kind::Rtp,
            5 => Kind::Rtcp,
            other => Kind::Other(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = (value.len() as u16 + 6).to_be_bytes();
        [&[0, 0][..], &kind.to_be_bytes(), &length, value].concat()
    }

    fn packet(chunks: &[Vec<u8>]) -> Vec<u8> {
        let body = chunks.concat();
        [&b"HEP3"[..], &(body.len() as u16 + 6).to_be_bytes(), &body].concat()
    }

    fn chunks() -> Vec<Vec<u8>> {
        vec![
            chunk(1, &[2]),
            chunk(2, &[17]),
            chunk(3, &[192, 0, 2, 1]),
            chunk(4, &[192, 0, 2, 2]),
            chunk(7, &5060_u16.to_be_bytes()),
            chunk(8, &5061_u16.to_be_bytes()),
            chunk(9, &[0; 4]),
            chunk(10, &[0; 4]),
            chunk(11, &[1]),
            chunk(12, &[0, 0, 7, 0xd1]),
            chunk(14, b"key"),
            // Another vendor's chunk of the payload's number.
            [0, 3, 0, 15, 0, 8, 9, 9].to_vec(),
            chunk(15, b"OPTIONS"),
            chunk(17, b"id"),
        ]
    }

    fn flow() -> Flow {
        Flow { src: Endpoint::v4([192, 0, 2, 1], 5060), dst: Endpoint::v4([192, 0, 2, 2], 5061) }
    }

    #[test]
    fn a_packet_says_who_said_what_to_whom() {
        let bytes = packet(&chunks());
        let read = parse(&bytes).expect("HEP");
        assert_eq!(
            read,
            Packet {
                flow: flow(),
                kind: Kind::Sip,
                payload: Payload::Plain(b"OPTIONS"),
                auth_key: Some(b"key")
            }
        );
        assert_eq!(framed_len(&bytes), Ok(Some(bytes.len())));
        let followed = [&bytes[..], b"HEP3"].concat();
        assert_eq!(parse(&followed), Ok(read));
    }

    #[test]
    fn ipv6_addresses_have_chunks_of_their_own() {
        let mut all = chunks();
        all[2] = chunk(5, &[1; 16]);
        all[3] = chunk(6, &[2; 16]);
        let bytes = packet(&all);
        let read = parse(&bytes).expect("HEP");
        assert_eq!(read.flow.src, Endpoint::v6([1; 16], 5060));
        assert_eq!(read.flow.dst, Endpoint::v6([2; 16], 5061));
    }

    #[test]
    fn what_is_cut_damaged_or_lacks_a_part_is_no_packet() {
        let bytes = packet(&chunks());
        for length in 0..bytes.len() {
            assert!(parse(&bytes[..length]).is_err(), "{length} bytes");
        }
        for missing in [2, 3, 4, 5, 8, 12] {
            let mut all = chunks();
            all.remove(missing);
            assert!(parse(&packet(&all)).is_err(), "without chunk {missing}");
        }
        let mut short = chunks();
        short[4] = chunk(7, &[1]);
        assert!(parse(&packet(&short)).is_err());
        let mut long = chunks();
        long[13][5] = 200;
        assert!(parse(&packet(&long)).is_err(), "a chunk that reaches out of its packet");
        long[13][5] = 3;
        assert!(parse(&packet(&long)).is_err(), "a chunk shorter than its own head");
        assert!(parse(b"HEP3\0\x05").is_err());
        let many: Vec<Vec<u8>> = (0..HEP_CHUNKS_MAX).map(|_| chunk(99, b"")).chain(chunks()).collect();
        assert!(parse(&packet(&many)).is_err(), "chunks without end");
    }

    #[test]
    fn a_packed_payload_is_unpacked_within_its_bound() {
        use flate2::Compression;
        use flate2::read::{GzEncoder, ZlibEncoder};
        let pack = |bytes: &[u8], gzip: bool| {
            let mut packed = Vec::new();
            let count = if gzip {
                GzEncoder::new(bytes, Compression::fast()).read_to_end(&mut packed)
            } else {
                ZlibEncoder::new(bytes, Compression::fast()).read_to_end(&mut packed)
            };
            count.expect("memory can be read");
            packed
        };
        let mut out = vec![9];
        for gzip in [false, true] {
            assert!(inflate(&pack(b"INVITE", gzip), &mut out));
            assert_eq!(out, b"INVITE");
            assert!(inflate(&pack(&[7; HEP_INFLATED_BYTES_MAX], gzip), &mut out));
            assert!(!inflate(&pack(&[7; HEP_INFLATED_BYTES_MAX + 1], gzip), &mut out));
            assert!(!inflate(&pack(b"INVITE", gzip)[..10], &mut out));
        }
        assert!(!inflate(b"INVITE", &mut out));
    }

    #[test]
    fn the_versions_before_are_known_by_their_fixed_header() {
        let ports = [5060_u16.to_be_bytes(), 5061_u16.to_be_bytes()].concat();
        let v4 = [&ports[..], &[192, 0, 2, 1, 192, 0, 2, 2]].concat();
        let v6 = [&ports[..], &[1; 16], &[2; 16]].concat();
        for (head, body, time) in [
            ([1, 16, 2, 17], &v4, 0),
            ([2, 16, 2, 17], &v4, 12),
            ([2, 28, 2, 6], &v4, 12),
            ([1, 40, 10, 17], &v6, 0),
            ([2, 52, 10, 17], &v6, 12),
        ] {
            let bytes = [&head[..], body, &[0x55; 12][..time], b"OPTIONS"].concat();
            assert!(looks_like_hep(&bytes));
            let read = parse(&bytes).expect("HEP");
            assert_eq!((read.payload, read.flow.dst.port), (Payload::Plain(b"OPTIONS"), 5061), "{head:?}");
            assert!(parse(&bytes[..bytes.len() - 8 - time]).is_err());
        }
        // A STUN success response begins with the same byte.
        assert!(!looks_like_hep(&[1, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42]));
        assert!(!looks_like_hep(&[1, 28, 2, 17]), "version 1 has no time stamp");
    }
}
