//! Speex payloads (RFC 5574): frames without lengths, bit behind bit, told apart by walking through their layers.

use super::Piece;
use crate::codec::bits::Bits;

/// Bits of a narrowband frame by its mode, the flag and the mode included.
const NARROW_BITS: [usize; 9] = [5, 43, 119, 160, 220, 300, 364, 492, 79];
/// Bits of a layer for the bands above.
const WIDE_BITS: [usize; 5] = [4, 36, 112, 192, 352];
/// Frames in one payload; what follows is not read.
const FRAMES_MAX: usize = 12;
/// The longest frame: narrowband and two layers.
const FRAME_BYTES_MAX: usize = (492 + 2 * 352_usize).div_ceil(8);

/// Gives the frames in order, each in bytes of its own and filled up as a packet is: a zero, then ones (3.3).
pub(super) fn cut(payload: &[u8], emit: &mut dyn FnMut(Piece<'_>)) {
    let mut bits = Bits::new(payload);
    for _ in 0..FRAMES_MAX {
        if skip_requests(&mut bits).is_none() {
            return;
        }
        let Some(length) = frame_bits(bits.clone()) else { return };
        let mut frame = [0xff; FRAME_BYTES_MAX];
        if bits.copy(length, &mut frame).is_none() {
            return;
        }
        if let Some(byte) = frame.get_mut(length / 8) {
            *byte &= !(0x80 >> (length % 8));
        }
        // A frame that ends with its byte needs no filling.
        emit(Piece::Speech(frame.get(..length.div_ceil(8)).unwrap_or_default()));
    }
}

/// Passes over requests to the other side, which may stand in front of a frame.
fn skip_requests(bits: &mut Bits<'_>) -> Option<()> {
    loop {
        let mut ahead = bits.clone();
        if ahead.read(5)? != 14 {
            return Some(());
        }
        let length = match ahead.read(4)? {
            0 | 1 => 1,
            2..=7 => 4,
            8 | 9 => 8,
            10 | 11 => 16,
            12 | 13 => 32,
            _ => 64,
        };
        ahead.skip(length)?;
        *bits = ahead;
    }
}

/// How long the frame is that begins here; none when none does: mode 15 fills up the end of a payload.
fn frame_bits(mut bits: Bits<'_>) -> Option<usize> {
    let mode = bits.read(5)?;
    let mut length = *NARROW_BITS.get(usize::try_from(mode).ok()?)?;
    bits.skip(length - 5)?;
    while bits.peek() == Some(true) {
        let layer = bits.read(4)? & 7;
        let more = *WIDE_BITS.get(usize::try_from(layer).ok()?)?;
        bits.skip(more - 4)?;
        length += more;
    }
    Some(length).filter(|&length| length <= FRAME_BYTES_MAX * 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(payload: &[u8]) -> Vec<usize> {
        let mut lengths = Vec::new();
        cut(payload, &mut |piece| match piece {
            Piece::Speech(frame) => lengths.push(frame.len()),
            Piece::Silent => lengths.push(0),
        });
        lengths
    }

    fn bytes(text: &str) -> Vec<u8> {
        let bits: Vec<u8> = text.bytes().map(|digit| digit - b'0').collect();
        let fill =
            std::iter::once(0).chain(std::iter::repeat(1)).take(bits.len().next_multiple_of(8) - bits.len());
        let bits: Vec<u8> = bits.iter().copied().chain(fill).collect();
        bits.chunks(8).map(|byte| byte.iter().fold(0, |all, bit| all << 1 | bit)).collect()
    }

    #[test]
    fn frames_of_all_modes_are_told_apart() {
        let narrow = |mode: usize| format!("0{mode:04b}{}", "0".repeat(NARROW_BITS[mode] - 5));
        let wide = |mode: usize| format!("1{mode:03b}{}", "0".repeat(WIDE_BITS[mode] - 4));
        let payload = bytes(&[narrow(3), narrow(8), narrow(5)].concat());
        assert_eq!(lengths(&payload), [20, 10, 38]);
        let payload = bytes(&[narrow(4), wide(2), narrow(1), wide(3), wide(1)].concat());
        assert_eq!(lengths(&payload), [(220 + 112_usize).div_ceil(8), (43 + 192 + 36_usize).div_ceil(8)]);
    }

    #[test]
    fn requests_are_passed_over_and_filling_is_no_frame() {
        let payload = bytes(&format!("011100010{}0{:04b}{}", "1010", 1, "0".repeat(38)));
        assert_eq!(lengths(&payload), [6]);
        assert!(
            lengths(&[0b0111_1111]).is_empty() && lengths(&[]).is_empty() && lengths(&[0xff; 50]).is_empty()
        );
    }
}
