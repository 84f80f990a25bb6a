//! Speex frames as an Ogg file (RFC 3533; the Speex manual's mapping): two headers, then one packet per frame.

use decode::codec::external::Coding;

/// Frames on one page; a page has room for 255 of this size.
const FRAMES_PER_PAGE: usize = 100;
/// Of the one stream in the file.
const SERIAL: u32 = 1;
/// Header type: the stream begins, ends.
const FIRST: u8 = 2;
const LAST: u8 = 4;

/// The file.
pub(super) fn speex(coding: Coding, frames: &[Box<[u8]>]) -> Vec<u8> {
    let mut file = Vec::new();
    page(&mut file, FIRST, 0, 0, &[&header(coding)]);
    // A comment: the vendor's name, empty, and no more.
    page(&mut file, 0, 0, 1, &[&[0; 8]]);
    let length = coding.frame_samples() as u64;
    let pages = frames.len().div_ceil(FRAMES_PER_PAGE);
    let mut samples = 0;
    for (number, frames) in (1..).zip(frames.chunks(FRAMES_PER_PAGE)) {
        samples += length * frames.len() as u64;
        let packets: Vec<&[u8]> = frames.iter().map(|frame| &**frame).collect();
        page(&mut file, if number == pages { LAST } else { 0 }, samples, number as u32 + 1, &packets);
    }
    file
}

/// Fields of 32 bits behind two texts of 8 and 20 bytes.
fn header(coding: Coding) -> Vec<u8> {
    let (rate, mode) = (
        coding.sample_rate(),
        match coding {
            Coding::Speex16 => 1,
            Coding::Speex32 => 2,
            _ => 0,
        },
    );
    let mut header = b"Speex   1.2.0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    let frame = coding.frame_samples() as u32;
    // Version, header's length, rate, mode, bitstream version, channels, bit rate (not told), samples in a frame, variable rate,
    // frames in a packet, further headers, two reserved.
    for field in [1, 80, rate, mode, 4, 1, u32::MAX, frame, 0, 1, 0, 0, 0] {
        header.extend(field.to_le_bytes());
    }
    header
}

/// One page of whole packets.
fn page(file: &mut Vec<u8>, kind: u8, samples: u64, number: u32, packets: &[&[u8]]) {
    let from = file.len();
    file.extend(b"OggS\0");
    file.push(kind);
    file.extend(samples.to_le_bytes());
    file.extend(SERIAL.to_le_bytes());
    file.extend(number.to_le_bytes());
    file.extend([0; 4]);
    let mut lacing = Vec::with_capacity(packets.len());
    for packet in packets {
        lacing.extend(std::iter::repeat_n(255, packet.len() / 255));
        lacing.push((packet.len() % 255) as u8);
    }
    file.push(lacing.len() as u8);
    file.extend(lacing);
    packets.iter().for_each(|packet| file.extend_from_slice(packet));
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

    #[test]
    fn pages_hold_all_frames_and_count_their_samples() {
        let frames: Vec<Box<[u8]>> = (0..250_usize).map(|i| vec![i as u8; 20 + i].into()).collect();
        let file = speex(Coding::Speex16, &frames);
        let mut rest = &file[..];
        let (mut kinds, mut samples, mut packets) = (Vec::new(), 0, Vec::new());
        while !rest.is_empty() {
            assert_eq!(&rest[..4], b"OggS");
            kinds.push(rest[5]);
            samples = u64::from_le_bytes(rest[6..14].try_into().expect("8 bytes"));
            let table = &rest[27..27 + usize::from(rest[26])];
            let mut at = 27 + table.len();
            let mut packet = Vec::new();
            for &length in table {
                packet.extend_from_slice(&rest[at..at + usize::from(length)]);
                at += usize::from(length);
                if length < 255 {
                    packets.push(std::mem::take(&mut packet));
                }
            }
            rest = &rest[at..];
        }
        assert_eq!((kinds, samples), (vec![2, 0, 0, 0, 4], 250 * 320));
        assert_eq!((packets[0].len(), packets[1].len(), packets.len()), (80, 8, 252));
        assert!(packets[2..].iter().zip(&frames).all(|(packet, frame)| packet[..] == frame[..]));
    }
}
