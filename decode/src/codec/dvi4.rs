//! DVI4: four bits per sample against an adaptive step (RFC 3551, 4.5.1; the IMA's ADPCM of 1992).
//!
//! Each payload begins with the decoder's whole state, so that nothing is carried from one to the next: a lost packet
//! costs itself only. The earlier sample of two stands in the upper four bits.

/// Bytes in front of the samples: the predicted value, the place in the step table, one reserved.
pub const HEADER_BYTES: usize = 4;

/// The steps; each is about a tenth wider than the one before.
const STEPS: [i32; 89] = [
    7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60, 66, 73, 80, 88,
    97, 107, 118, 130, 143, 157, 173, 190, 209, 230, 253, 279, 307, 337, 371, 408, 449, 494, 544, 598, 658,
    724, 796, 876, 963, 1060, 1166, 1282, 1411, 1552, 1707, 1878, 2066, 2272, 2499, 2749, 3024, 3327, 3660,
    4026, 4428, 4871, 5358, 5894, 6484, 7132, 7845, 8630, 9493, 10442, 11487, 12635, 13899, 15289, 16818,
    18500, 20350, 22385, 24623, 27086, 29794, 32767,
];
/// Where in the table the next step is, by the size of the code.
const MOVES: [i32; 8] = [-1, -1, -1, -1, 2, 4, 6, 8];

/// Decoder of a DVI4 stream.
#[derive(Clone, Debug)]
pub struct Decoder {
    rate: u32,
}

impl Decoder {
    /// For a stream of `rate` samples per second.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Decoder { rate }
    }
}

/// What a code is added to.
struct State {
    predicted: i32,
    /// Place in [`STEPS`].
    place: i32,
}

impl State {
    fn next(&mut self, code: u8) -> i16 {
        let size = i32::from(code & 7);
        let step = usize::try_from(self.place).ok().and_then(|at| STEPS.get(at)).copied().unwrap_or(7);
        // Each bit adds its part of the step, rounded down by itself, and an eighth goes on top.
        let mut change = step >> 3;
        for (bit, part) in [(4, step), (2, step >> 1), (1, step >> 2)] {
            change += if size & bit == 0 { 0 } else { part };
        }
        let signed = if code & 8 == 0 { change } else { -change };
        self.predicted = (self.predicted + signed).clamp(i32::from(i16::MIN), i32::from(i16::MAX));
        let step_by = MOVES.get(usize::from(code & 7)).copied().unwrap_or(0);
        self.place = (self.place + step_by).clamp(0, STEPS.len() as i32 - 1);
        self.predicted as i16
    }
}

impl super::Decoder for Decoder {
    fn sample_rate(&self) -> u32 {
        self.rate
    }

    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        let Some((&[high, low, place, _], codes)) = payload.split_first_chunk::<HEADER_BYTES>() else {
            return;
        };
        let mut state = State {
            predicted: i32::from(i16::from_be_bytes([high, low])),
            place: i32::from(place).min(STEPS.len() as i32 - 1),
        };
        out.extend(codes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|code| state.next(code)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Decoder as _;

    fn decoded(payload: &[u8]) -> Vec<i16> {
        let mut out = Vec::new();
        Decoder::new(8_000).decode(payload, &mut out);
        out
    }

    #[test]
    fn codes_are_added_to_the_value_in_the_header() {
        // Step 7: code 7 adds 7 + 3 + 1 + 0 and moves 8 up, to step 16; code 8 takes 16 / 8 away and moves 1 down.
        assert_eq!(decoded(&[0x01, 0x00, 0, 0, 0x78]), [267, 265]);
        // Step 14 now (8 - 1): code 0 adds 14 / 8.
        assert_eq!(decoded(&[0x01, 0x00, 0, 0, 0x78, 0x00]).get(2), Some(&266));
    }

    #[test]
    fn it_stays_in_range_at_both_ends() {
        let loudest = [&[0x7f, 0xff, 88, 0][..], &[0x77; 100]].concat();
        assert!(decoded(&loudest).iter().all(|&sample| sample == i16::MAX));
        let lowest = [&[0x80, 0x00, 255, 9][..], &[0xff; 100]].concat();
        assert!(decoded(&lowest).iter().all(|&sample| sample == i16::MIN));
    }

    #[test]
    fn a_payload_without_samples_is_nothing() {
        assert!(
            decoded(&[]).is_empty() && decoded(&[1, 2, 3]).is_empty() && decoded(&[1, 2, 3, 4]).is_empty()
        );
    }
}
