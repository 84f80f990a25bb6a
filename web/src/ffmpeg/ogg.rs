//! Speex frames as an Ogg file (RFC 3533; the Speex manual's mapping): two headers, then one packet per frame.

use decode::codec::external::Coding;

use crate::ogg::{FIRST, LAST, page};

/// Frames on one page; a page has room for 255 of this size.
const FRAMES_PER_PAGE: usize = 100;

/// The file.
pub(super) fn speex(coding: Coding, frames: &[Box<[u8]>]) -> Vec<u8> {
    let mut file = Vec::new();
    page(&mut file, FIRST, 0, 0, &[header(coding)]);
    // A comment: the vendor's name, empty, and no more.
    page(&mut file, 0, 0, 1, &[[0; 8]]);
    let length = coding.frame_samples() as u64;
    let pages = frames.len().div_ceil(FRAMES_PER_PAGE);
    let mut samples = 0;
    for (number, frames) in (1..).zip(frames.chunks(FRAMES_PER_PAGE)) {
        samples += length * frames.len() as u64;
        page(&mut file, if number == pages { LAST } else { 0 }, samples, number as u32 + 1, frames);
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

#[cfg(test)]
mod tests {
    use super::*;

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
