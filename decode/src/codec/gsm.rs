//! GSM 06.10 full rate: 20 ms of speech at 8000 Hz in 260 bits (ETSI EN 300 961), as RTP payload (RFC 3551, 4.5.8)
//! and as WAVE format 0x0031.
//!
//! Bit-exact integer arithmetic of the standard, both ways. Owns the codec and its two packings; a WAVE file's header
//! is the exporter's. Not here: the discontinuous transmission and frame substitution of a mobile (EN 300 963), which
//! RTP does not carry, and the homing frames of the conformance test, which would reset a codec in a live call.
//!
//! Frames from a wire are hostile: every 33 and every 65 bytes decode to something, and nothing here panics.

mod arith;
mod frame;
mod lpc;
mod residual;

pub use frame::{BLOCK_BYTES, FRAME_BYTES, Parameters};

use arith::{add, mult_r, saturate};

/// Samples per second, before coding and after.
pub const SAMPLE_RATE: u32 = 8_000;
/// Samples in a frame: 20 ms at 8000 Hz.
pub const FRAME_SAMPLES: usize = 160;
/// Samples in a WAV49 block of two frames.
pub const BLOCK_SAMPLES: usize = 2 * FRAME_SAMPLES;

/// The filter that lifts the treble before coding, and lowers it after decoding: 0.86 in Q15 (5.2.3, 5.3.5).
const EMPHASIS: i16 = 28_180;
/// The pole of the filter that takes out a constant offset: 0.999 in Q15 (5.2.2).
const OFFSET_POLE: i16 = 32_735;

/// Codes speech. One per stream: each frame leans on the ones before it.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    front: Front,
    glide: lpc::Glide,
    analysis: lpc::Analysis,
    history: residual::History,
}

impl Encoder {
    /// An encoder at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Encoder::default()
    }

    /// Codes the next 20 ms of 16-bit samples at 8000 Hz. The lowest three bits do not count: the codec's input has 13.
    pub fn encode_frame(&mut self, samples: &[i16; FRAME_SAMPLES]) -> Parameters {
        let mut signal = self.front.prepare(samples);
        let lars = lpc::analyse(&mut signal);
        let mut rest: &mut [i16] = &mut signal;
        for (length, coefficients) in self.glide.next(&lars) {
            let (step, after) = std::mem::take(&mut rest).split_at_mut_checked(length).unwrap_or_default();
            self.analysis.filter(step, &coefficients);
            rest = after;
        }
        let mut parameters = Parameters { lars, ..Parameters::default() };
        let (blocks, _) = signal.as_chunks();
        for (subframe, block) in parameters.subframes.iter_mut().zip(blocks) {
            *subframe = self.history.encode(block);
        }
        parameters
    }

    /// Codes 40 ms as a WAV49 block.
    pub fn encode_block(&mut self, samples: &[i16; BLOCK_SAMPLES]) -> [u8; BLOCK_BYTES] {
        let mut pair = [Parameters::default(); 2];
        let (frames, _) = samples.as_chunks();
        for (parameters, frame) in pair.iter_mut().zip(frames) {
            *parameters = self.encode_frame(frame);
        }
        Parameters::to_block(&pair)
    }
}

/// What happens to the samples before the analysis: 5.2.1 to 5.2.3.
#[derive(Clone, Debug, Default)]
struct Front {
    /// The last sample, scaled down (z1).
    last: i16,
    /// The offset filter's memory (L_z2), Q15.
    integral: i32,
    /// The last sample without offset (mp).
    emphasis: i16,
}

impl Front {
    /// Scaled down, freed of a constant offset, treble lifted.
    fn prepare(&mut self, samples: &[i16; FRAME_SAMPLES]) -> [i16; FRAME_SAMPLES] {
        samples.map(|sample| {
            let scaled = (sample >> 3) << 2;
            let step = i32::from(scaled) - i32::from(self.last);
            self.last = scaled;
            // The memory times the pole, in two parts because it has 31 bits.
            let high = saturate(self.integral >> 15);
            let low = (self.integral & 0x7FFF) as i16;
            let input = (step << 15).saturating_add(i32::from(mult_r(low, OFFSET_POLE)));
            self.integral = (i32::from(high) * i32::from(OFFSET_POLE)).saturating_add(input);
            let level = saturate(self.integral.saturating_add(16_384) >> 15);
            let lifted = add(level, mult_r(self.emphasis, -EMPHASIS));
            self.emphasis = level;
            lifted
        })
    }
}

/// Decodes speech. One per stream: each frame leans on the ones before it.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    glide: lpc::Glide,
    synthesis: lpc::Synthesis,
    history: residual::History,
    /// The last sample put out, before scaling up (msr).
    emphasis: i16,
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Decoder::default()
    }

    /// Decodes the next 20 ms. The lowest three bits of every sample are 0: the codec's output has 13.
    pub fn decode_frame(&mut self, parameters: &Parameters) -> [i16; FRAME_SAMPLES] {
        let mut signal = [0; FRAME_SAMPLES];
        let (blocks, _) = signal.as_chunks_mut();
        for (block, subframe) in blocks.iter_mut().zip(&parameters.subframes) {
            *block = self.history.decode(subframe);
        }
        let mut rest: &mut [i16] = &mut signal;
        for (length, coefficients) in self.glide.next(&parameters.lars) {
            let (step, after) = std::mem::take(&mut rest).split_at_mut_checked(length).unwrap_or_default();
            self.synthesis.filter(step, &coefficients);
            rest = after;
        }
        signal.map(|sample| {
            self.emphasis = add(sample, mult_r(self.emphasis, EMPHASIS));
            add(self.emphasis, self.emphasis) & !7
        })
    }

    /// Decodes a WAV49 block, 40 ms.
    pub fn decode_block(&mut self, block: &[u8; BLOCK_BYTES]) -> [i16; BLOCK_SAMPLES] {
        let mut samples = [0; BLOCK_SAMPLES];
        let (frames, _) = samples.as_chunks_mut();
        for (frame, parameters) in frames.iter_mut().zip(Parameters::from_block(block)) {
            *frame = self.decode_frame(&parameters);
        }
        samples
    }
}

/// A payload of RFC 3551, 4.5.8.1: one or more 33-byte frames. A frame without the signature is 20 ms of silence and
/// leaves no trace in what follows; bytes behind the last whole frame are nothing.
impl super::Decoder for Decoder {
    fn sample_rate(&self) -> u32 {
        SAMPLE_RATE
    }

    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        for frame in payload.as_chunks().0 {
            match Parameters::from_bytes(frame) {
                Some(parameters) => out.extend(self.decode_frame(&parameters)),
                None => out.extend([0; FRAME_SAMPLES]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::prelude::*;

    use super::*;

    /// Something like a voice, by integers alone: pulses of a gliding pitch through two moving resonances, breath
    /// between them, loud, soft and silent stretches.
    fn voice(samples: usize) -> Vec<i16> {
        let mut noise = 1_u32;
        let (mut low, mut high) = ([0_i32; 2], [0_i32; 2]);
        let mut until_pulse = 0;
        (0..samples)
            .map(|i| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let loudness = [4_000, 900, 12_000, 150, 0, 2_500][i / 6_000 % 6];
                let voiced = i / 2_000 % 3 != 2;
                let mut excitation =
                    (((noise >> 16) as i32 - 32_768) * loudness) >> if voiced { 20 } else { 16 };
                if voiced && until_pulse == 0 {
                    excitation += loudness;
                    until_pulse = 45 + i / 300 % 60;
                }
                until_pulse = until_pulse.saturating_sub(1);
                let turn = (i / 160 % 40) as i32 * 300;
                let a = excitation + ((22_000 + turn / 2) * low[0] - 15_000 * low[1]) / 16_384;
                low = [a.clamp(-60_000, 60_000), low[0]];
                let b = a / 2 + ((turn - 6_000) * high[0] - 13_500 * high[1]) / 16_384;
                high = [b.clamp(-60_000, 60_000), high[0]];
                saturate(a / 2 + b / 2)
            })
            .collect()
    }

    /// FNV-1a, 64 bits.
    fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
        bytes.into_iter().fold(0xCBF2_9CE4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3))
    }

    fn encode_all(samples: &[i16]) -> Vec<[u8; FRAME_BYTES]> {
        let mut encoder = Encoder::new();
        samples.as_chunks().0.iter().map(|frame| encoder.encode_frame(frame).to_bytes()).collect()
    }

    fn decode_all(frames: &[[u8; FRAME_BYTES]]) -> Vec<i16> {
        let mut decoder = Decoder::new();
        frames
            .iter()
            .flat_map(|frame| {
                decoder.decode_frame(&Parameters::from_bytes(frame).expect("the encoder signs its frames"))
            })
            .collect()
    }

    fn bytes_of(samples: &[i16]) -> impl Iterator<Item = u8> + '_ {
        samples.iter().flat_map(|s| s.to_le_bytes())
    }

    /// How much of the energy of `samples` lies at `hz`, 0 to 1 (Goertzel's question, asked the long way).
    fn share_at(samples: &[i16], hz: f64) -> f64 {
        let (mut re, mut im, mut all) = (0.0, 0.0, 0.0);
        for (i, &s) in samples.iter().enumerate() {
            let (sin, cos) = (TAU * hz * i as f64 / 8_000.0).sin_cos();
            re += f64::from(s) * cos;
            im += f64::from(s) * sin;
            all += f64::from(s).powi(2);
        }
        2.0 * (re * re + im * im) / (samples.len() as f64 * all)
    }

    // The expected values of the next three tests were made from these same inputs with libgsm 1.0.22, compiled
    // without its floating-point short cut (which rounds where the standard's integers are exact).

    #[test]
    fn twelve_seconds_of_voice_are_coded_as_the_reference_codes_them() {
        let samples = voice(96_000);
        assert_eq!(hash(bytes_of(&samples)), 0xF8FF_0C54_6697_0AB6, "the test's own input changed");
        let frames = encode_all(&samples);
        let hex = |frame: &[u8]| frame.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(&frames[0]), "d56dcd7563500e7161adc7235acacf0bae471bb4ab373c2ea91c5be1dbc7d9be93");
        assert_eq!(hex(&frames[7]), "d52dbd756361c1978dcd4ccb60a403146e36dcc1a345172b274c63a1e25d70ee15");
        assert_eq!(hex(&frames[100]), "d4edb539dbe294d425906c5b5cb207185c7d279cb1ac9bc95ed9ded17447e7d705");
        assert_eq!(hash(frames.into_iter().flatten()), 0x27A8_AF7C_7550_FB79);
        let mut encoder = Encoder::new();
        let blocks = samples.as_chunks().0.iter().flat_map(|block| encoder.encode_block(block));
        assert_eq!(hash(blocks), 0xF16D_D0DB_A5F8_4052);
    }

    #[test]
    fn twelve_seconds_of_voice_are_decoded_as_the_reference_decodes_them() {
        let decoded = decode_all(&encode_all(&voice(96_000)));
        assert_eq!(
            decoded[1000..1016],
            [312, 768, 568, 0, -368, -560, -512, -168, 216, 408, 264, 96, -248, -344, -328, 2832]
        );
        assert_eq!(hash(bytes_of(&decoded)), 0x8745_29E0_87CA_A0F3);
    }

    #[test]
    fn two_minutes_of_arbitrary_bits_are_decoded_as_the_reference_decodes_them() {
        let mut noise = 1_u32;
        let mut decoder = Decoder::new();
        let mut decoded = Vec::new();
        for _ in 0..3_000 {
            let block = [(); BLOCK_BYTES].map(|()| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 24) as u8
            });
            decoded.extend(decoder.decode_block(&block));
        }
        assert_eq!(hash(bytes_of(&decoded)), 0x52BF_7B01_C78E_B364);
    }

    #[test]
    fn a_tone_stays_a_tone_at_its_level() {
        let tone: Vec<i16> =
            (0..16_000).map(|i| (8_000.0 * (TAU * 440.0 * f64::from(i) / 8_000.0).sin()) as i16).collect();
        let decoded = decode_all(&encode_all(&tone));
        let share = share_at(&decoded[1_600..], 440.0);
        assert!(share > 0.97, "{share}");
        let energy = |s: &[i16]| s[1_600..].iter().map(|&s| f64::from(s).powi(2)).sum::<f64>();
        let gain = energy(&decoded) / energy(&tone);
        assert!((0.85..1.1).contains(&gain), "{gain}");
    }

    #[test]
    fn a_payload_gives_its_whole_frames_and_silence_for_what_is_none() {
        let frames = encode_all(&voice(480));
        let mut payload = frames.concat();
        payload[FRAME_BYTES] = 0; // the second frame loses its signature
        payload.extend([0xD0; 32]); // not a whole frame
        let mut decoder: Box<dyn crate::codec::Decoder> = Box::new(Decoder::new());
        let mut out = vec![7];
        decoder.decode(&payload, &mut out);
        assert_eq!(out.len(), 1 + 480);
        let expected = decode_all(&[frames[0], frames[2]]);
        assert_eq!(out[1..161], expected[..160]);
        assert_eq!(out[161..321], [0; 160]);
        assert_eq!(out[321..], expected[160..]);
    }

    #[test]
    fn silence_stays_silence() {
        let decoded = decode_all(&encode_all(&[0; 8_000]));
        assert!(decoded.iter().all(|s| s.abs() <= 16), "{:?}", decoded.iter().max());
    }

    proptest! {
        #[test]
        fn any_samples_and_any_bits_are_taken(
            samples in prop::collection::vec(any::<i16>(), 960),
            extremes in prop::collection::vec(prop::sample::select(vec![i16::MIN, i16::MAX, 0]), 960),
            bits in prop::collection::vec(any::<u8>(), 195),
        ) {
            for input in [samples, extremes] {
                let mut encoder = Encoder::new();
                let mut decoder = Decoder::new();
                for frame in input.as_chunks().0 {
                    let parameters = encoder.encode_frame(frame);
                    prop_assert_eq!(Parameters::from_bytes(&parameters.to_bytes()), Some(parameters));
                    decoder.decode_frame(&parameters);
                }
            }
            let mut decoder = Decoder::new();
            for block in bits.as_chunks().0 {
                prop_assert!(decoder.decode_block(block).iter().all(|s| s & 7 == 0));
            }
        }
    }
}
