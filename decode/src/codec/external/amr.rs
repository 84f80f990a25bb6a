//! AMR and AMR-WB payloads (RFC 4867): both layouts, taken apart into frames as a file holds them.
//!
//! Interleaving and robust sorting are told from the session description and left undecoded: nobody on the telephone
//! network sends them.

use super::{Coding, Piece, parameter};
use crate::codec::bits::Bits;

/// Speech bits by frame type; 0 for a description of silence and for types that say that nothing was sent.
const AMR_BITS: [usize; 16] = [95, 103, 118, 134, 148, 159, 204, 244, 0, 0, 0, 0, 0, 0, 0, 0];
const AMR_WB_BITS: [usize; 16] = [132, 177, 253, 285, 317, 365, 397, 461, 477, 0, 0, 0, 0, 0, 0, 0];
/// Bits of a description of silence: frame type 8 in AMR, 9 in AMR-WB.
const AMR_SID_BITS: usize = 39;
const AMR_WB_SID_BITS: usize = 40;
/// Frames in one payload; what follows is not read. 240 ms, twelve times what is sent.
const FRAMES_MAX: usize = 12;
/// The longest frame of a file: its header and 477 bits.
const FRAME_BYTES_MAX: usize = 61;

/// How a payload is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    coding: Coding,
    /// Each field fills whole bytes; without it, nothing is filled up before the end (RFC 4867, 4.3 and 4.4).
    octet_aligned: bool,
    /// A checksum byte for each frame stands behind the table of contents.
    checked: bool,
}

impl Layout {
    /// By the format's parameters; none for a layout that is not read.
    pub(super) fn of(coding: Coding, fmtp: &str) -> Option<Layout> {
        let is_on = |name| parameter(fmtp, name).is_some_and(|value| value == "1");
        if is_on("robust-sorting") || parameter(fmtp, "interleaving").is_some() {
            return None;
        }
        let checked = is_on("crc");
        Some(Layout { coding, octet_aligned: checked || is_on("octet-align"), checked })
    }

    pub(super) fn coding(self) -> Coding {
        self.coding
    }

    /// Speech bits of a frame type, and all of its bits.
    fn bits_of(self, frame_type: usize) -> (usize, usize) {
        let (table, sid) = match self.coding {
            Coding::AmrWb => (&AMR_WB_BITS, (9, AMR_WB_SID_BITS)),
            _ => (&AMR_BITS, (8, AMR_SID_BITS)),
        };
        let speech = table.get(frame_type).copied().unwrap_or(0);
        (speech, if frame_type == sid.0 { sid.1 } else { speech })
    }

    /// Gives the frames in order, each with the header byte that a file has in front of it (5.3).
    pub(super) fn cut(self, payload: &[u8], emit: &mut dyn FnMut(Piece<'_>)) {
        let mut bits = Bits::new(payload);
        let mut table = [(0_u8, true); FRAMES_MAX];
        let Some(count) = self.read_table(&mut bits, &mut table) else { return };
        for &(frame_type, is_good) in table.iter().take(count) {
            let (speech, all) = self.bits_of(usize::from(frame_type));
            let padding = if self.octet_aligned { all.next_multiple_of(8) - all } else { 0 };
            let mut frame = [0; FRAME_BYTES_MAX];
            if let Some(header) = frame.first_mut() {
                *header = frame_type << 3 | u8::from(is_good) << 2;
            }
            let taken = bits.copy(all, frame.get_mut(1..).unwrap_or_default()).and_then(|()| {
                // The last frame's padding may be missing.
                let padding = padding.min(bits.left());
                bits.skip(padding)
            });
            if taken.is_none() {
                return;
            }
            emit(match frame.get(..1 + speech.div_ceil(8)) {
                Some(frame) if speech > 0 => Piece::Speech(frame),
                _ => Piece::Silent,
            });
        }
    }

    /// Reads the request for a mode, which concerns the other direction, and the table of contents: how many frames.
    fn read_table(self, bits: &mut Bits<'_>, table: &mut [(u8, bool); FRAMES_MAX]) -> Option<usize> {
        let filler = if self.octet_aligned { (4, 2) } else { (0, 0) };
        bits.skip(4 + filler.0)?;
        for count in 1..=FRAMES_MAX {
            let entry = table.get_mut(count - 1)?;
            let more = bits.read(1)? == 1;
            *entry = (bits.read(4)? as u8, bits.read(1)? == 1);
            bits.skip(filler.1)?;
            if !more {
                if self.checked {
                    // One for each frame with bits in it.
                    let checked =
                        table.iter().take(count).filter(|&&(kind, _)| self.bits_of(usize::from(kind)).1 > 0);
                    bits.skip(8 * checked.count())?;
                }
                return Some(count);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(coding: Coding, fmtp: &str, payload: &[u8]) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        Layout::of(coding, fmtp).expect("a layout that is read").cut(payload, &mut |piece| {
            frames.push(match piece {
                Piece::Speech(frame) => frame.to_vec(),
                Piece::Silent => Vec::new(),
            });
        });
        frames
    }

    /// Bits as text to bytes, filled up with zeros; spaces are for the eye.
    fn bytes(text: &str) -> Vec<u8> {
        let bits: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect();
        bits.chunks(8)
            .map(|byte| byte.iter().enumerate().fold(0, |all, (i, bit)| all | bit << (7 - i)))
            .collect()
    }

    #[test]
    fn the_example_of_the_rfc_is_read() {
        // RFC 4867, 4.3.5.1: one frame of type 4 (7.4 kbit/s, 148 bits), mode request 15, good.
        let speech: String = (0..148).map(|i| if i % 3 == 0 { '1' } else { '0' }).collect();
        let payload = bytes(&format!("1111 0 0100 1 {speech}"));
        assert_eq!(payload.len(), 20);
        let expected = [&[4 << 3 | 4][..], &bytes(&speech)].concat();
        assert_eq!(frames(Coding::Amr, "", &payload), std::slice::from_ref(&expected));
        // The same in whole bytes (4.4).
        let aligned = [&bytes("1111 0000  0 0100 1 00")[..], &bytes(&speech)].concat();
        assert_eq!(frames(Coding::Amr, "octet-align=1", &aligned), [expected]);
    }

    #[test]
    fn several_frames_stand_behind_one_table() {
        let (first, second) = ("1".repeat(132), "01".repeat(238) + "1");
        let payload = bytes(&format!("1111 1 0000 1 1 1111 1 0 1000 0 {first}{second}"));
        let cut = frames(Coding::AmrWb, "", &payload);
        assert_eq!(cut.iter().map(Vec::len).collect::<Vec<_>>(), [18, 0, 61]);
        assert_eq!((cut[0][0], cut[2][0], cut[2][1]), (4, 8 << 3, 0b0101_0101));
        assert_eq!(cut[0][17], 0b1111_0000);
    }

    #[test]
    fn a_description_of_silence_and_no_data_are_silent() {
        let sid = bytes(&format!("1111 0 1000 1 {}", "1".repeat(39)));
        assert_eq!(frames(Coding::Amr, "", &sid), [Vec::<u8>::new()]);
        assert_eq!(frames(Coding::Amr, "", &bytes("1111 0 1111 1")), [Vec::<u8>::new()]);
    }

    #[test]
    fn checksums_are_passed_over_and_other_layouts_refused() {
        let speech = "10".repeat(47) + "1";
        let payload = [&bytes("1111 0000  0 0000 1 00  10101010")[..], &bytes(&speech)].concat();
        let expected = [&[4][..], &bytes(&speech)].concat();
        assert_eq!(frames(Coding::Amr, "octet-align=1; crc=1", &payload), [expected]);
        assert_eq!(Layout::of(Coding::Amr, "robust-sorting=1"), None);
        assert_eq!(Layout::of(Coding::Amr, "octet-align=1;interleaving=30"), None);
    }

    #[test]
    fn a_cut_payload_gives_its_whole_frames_only() {
        let payload = bytes(&format!("1111 1 0000 1 0 0000 1 {}", "1".repeat(95 + 80)));
        assert_eq!(frames(Coding::Amr, "", &payload).len(), 1);
        assert!(frames(Coding::Amr, "", &[]).is_empty());
        assert!(frames(Coding::Amr, "", &[0xff; 300]).is_empty(), "a table without an end");
    }
}
