//! RTP packets (RFC 3550, 5.1), read through `rtp-rs` with the tolerance that a recorder needs.
//!
//! Sequence numbers and duplicates are [`stream`]'s, gaps and bursts [`loss`]'s, jitter and lateness [`timing`]'s; RTCP is [`rtcp`]'s,
//! keyed digits are [`dtmf`]'s.

pub mod dtmf;
pub mod loss;
pub mod red;
pub mod rtcp;
pub mod stream;
pub mod timing;

use rtp_rs::RtpReader;

use crate::ParseError;

/// One RTP packet, borrowed from its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Marker bit.
    pub marker: bool,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp in ticks of the payload's clock.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
    /// Payload without header, CSRC list, extension and padding.
    pub payload: &'a [u8],
}

/// Could this datagram be RTP or RTCP? Version 2 and room for a header.
#[must_use]
pub fn looks_like_rtp(bytes: &[u8]) -> bool {
    bytes.len() >= 12 && bytes.first().is_some_and(|b| b >> 6 == 2) && !is_rtcp(bytes)
}

/// Is it RTCP on a port shared with RTP? Payload types 64 to 95 cannot be told from RTCP packet types 192 to 223 and
/// are not used for RTP (RFC 5761, 4).
#[must_use]
pub fn is_rtcp(bytes: &[u8]) -> bool {
    matches!(bytes, [first, kind, ..] if first >> 6 == 2 && (192..=223).contains(kind))
}

/// Reads a packet. A padding count that cannot be right is taken as no padding, so that audio is not lost to it.
///
/// # Errors
///
/// [`ParseError`] when it is no RTP packet: too short, version other than 2, or header fields beyond its end.
#[inline]
pub fn parse(bytes: &[u8]) -> Result<Packet<'_>, ParseError> {
    match bytes.split_first_chunk::<12>() {
        // Version 2, and neither padding nor extension nor contributing sources: nearly every packet of a call.
        Some((header @ [0x80, ..], payload)) if !is_rtcp(bytes) => Ok(plain(header, payload)),
        _ => parse_any(bytes),
    }
}

/// What a header of the fixed fields says.
fn plain<'a>(header: &[u8; 12], payload: &'a [u8]) -> Packet<'a> {
    let &[_, kind, q0, q1, t0, t1, t2, t3, s0, s1, s2, s3] = header;
    Packet {
        payload_type: kind & 0x7f,
        marker: kind & 0x80 != 0,
        sequence: u16::from_be_bytes([q0, q1]),
        timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
        ssrc: u32::from_be_bytes([s0, s1, s2, s3]),
        payload,
    }
}

#[inline(never)]
fn parse_any(bytes: &[u8]) -> Result<Packet<'_>, ParseError> {
    const EXPECTED: &str = "an RTP packet";
    if is_rtcp(bytes) {
        return Err(ParseError { offset: 1, expected: EXPECTED });
    }
    match RtpReader::new(bytes) {
        Ok(reader) => Ok(from_reader(&reader, reader.payload())),
        Err(rtp_rs::RtpReaderError::PaddingLengthInvalid(_)) => parse_without_padding(bytes),
        Err(_) => Err(ParseError { offset: 0, expected: EXPECTED }),
    }
}

fn from_reader<'a>(reader: &RtpReader<'_>, payload: &'a [u8]) -> Packet<'a> {
    Packet {
        payload_type: reader.payload_type(),
        marker: reader.mark(),
        sequence: reader.sequence_number().into(),
        timestamp: reader.timestamp(),
        ssrc: reader.ssrc(),
        payload,
    }
}

/// The same packet with the padding bit masked: header length by hand, since the reader will not take it.
fn parse_without_padding(bytes: &[u8]) -> Result<Packet<'_>, ParseError> {
    let error = ParseError { offset: 0, expected: "an RTP header" };
    let (header, _) = bytes.split_first_chunk::<12>().ok_or(error)?;
    let mut offset = 12 + 4 * usize::from(header[0] & 0x0f);
    if header[0] & 0x10 != 0 {
        let words = bytes
            .get(offset + 2..offset + 4)
            .and_then(|w| w.try_into().ok())
            .map(u16::from_be_bytes)
            .ok_or(error)?;
        offset += 4 + 4 * usize::from(words);
    }
    let payload = bytes.get(offset..).ok_or(error)?;
    Ok(plain(header, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [u8; 12] = [0x80, 0x88, 0x12, 0x34, 0, 0, 1, 0, 0xde, 0xad, 0xbe, 0xef];

    #[test]
    fn a_plain_packet_is_read() {
        let mut bytes = HEADER.to_vec();
        bytes.extend([1, 2, 3]);
        let packet = parse(&bytes).expect("valid");
        assert_eq!((packet.payload_type, packet.marker, packet.sequence), (8, true, 0x1234));
        assert_eq!((packet.timestamp, packet.ssrc, packet.payload), (256, 0xdead_beef, &[1u8, 2, 3][..]));
    }

    #[test]
    fn padding_is_cut_and_wrong_padding_is_kept_as_audio() {
        let mut bytes = HEADER.to_vec();
        bytes[0] |= 0x20;
        bytes.extend([1, 2, 3, 0, 2]);
        assert_eq!(parse(&bytes).expect("valid").payload, &[1, 2, 3]);
        *bytes.last_mut().expect("not empty") = 200;
        assert_eq!(parse(&bytes).expect("tolerated").payload, &[1, 2, 3, 0, 200]);
    }

    #[test]
    fn what_is_no_rtp_is_refused() {
        for bytes in [&[][..], &[0x80], &HEADER[..11], &[0x40; 12], &[0x8f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]
        {
            assert!(parse(bytes).is_err(), "{bytes:02x?}");
        }
        let mut rtcp = HEADER;
        rtcp[1] = 200;
        assert!(parse(&rtcp).is_err() && is_rtcp(&rtcp));
    }
}
