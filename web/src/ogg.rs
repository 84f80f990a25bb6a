//! Ogg pages (RFC 3533): whole packets on a page, one stream in a file.

/// Most packets' segments on one page, and the longest part of a packet that one of them says.
pub(crate) const SEGMENTS_MAX: usize = 255;
/// Of the one stream in the file.
const SERIAL: u32 = 1;
/// Header type: the stream begins.
pub(crate) const FIRST: u8 = 2;
/// Header type: the stream ends.
pub(crate) const LAST: u8 = 4;

/// Segments that a packet of this length takes on its page.
pub(crate) fn segments(packet: usize) -> usize {
    packet / 255 + 1
}

/// Appends a page of whole packets, which must fit on it, after which the stream has come to `position`.
pub(crate) fn page<P: AsRef<[u8]>>(file: &mut Vec<u8>, kind: u8, position: u64, number: u32, packets: &[P]) {
    let from = file.len();
    file.extend(b"OggS\0");
    file.push(kind);
    file.extend(position.to_le_bytes());
    file.extend(SERIAL.to_le_bytes());
    file.extend(number.to_le_bytes());
    file.extend([0; 4]);
    let mut lacing = Vec::with_capacity(packets.len());
    for packet in packets {
        lacing.extend(std::iter::repeat_n(255, packet.as_ref().len() / 255));
        lacing.push((packet.as_ref().len() % 255) as u8);
    }
    file.push(lacing.len() as u8);
    file.extend(lacing);
    packets.iter().for_each(|packet| file.extend_from_slice(packet.as_ref()));
    let sum = checksum(file.get(from..).unwrap_or_default());
    if let Some(field) = file.get_mut(from + 22..from + 26) {
        field.copy_from_slice(&sum.to_le_bytes());
    }
}

/// CRC with the polynomial 0x04c11db7, highest bit first, nothing inverted (RFC 3533, 6).
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte) << 24, |sum, _| {
            if sum & 0x8000_0000 == 0 { sum << 1 } else { sum << 1 ^ 0x04c1_1db7 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_polynomials_own() {
        // The check value of CRC-32 with this polynomial, not reflected, from 0, not inverted.
        assert_eq!(checksum(b"123456789"), 0x89a1_897f);
    }
}
