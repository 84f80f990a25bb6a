//! WAVE files, written front to back: PCM of 16 bits, and GSM 06.10 as format 0x0031 ("WAV49").
//!
//! The number of samples is said before the first one, so that the header is right at once and nothing has to be
//! sought back to. The header of PCM is `hound`'s, with both lengths put in; `hound` knows no GSM, so that the header of
//! GSM is written here. Owns the file layout (RIFF, "Multimedia Programming Interface and Data Specifications 1.0") and the
//! arrangement of channels. Where the samples come from is `export`'s.

use std::io::{self, Write};

use decode::codec::gsm::{BLOCK_BYTES, BLOCK_SAMPLES, Encoder};
use decode::codec::resample::Resampler;
use hound::{SampleFormat, WavSpec};

use crate::error::Error;
use crate::export::{FileFormat, Shape};

/// WAVE_FORMAT_GSM610.
const TAG_GSM: u16 = 0x0031;
/// Bytes before the audio, with PCM and with GSM.
const PCM_HEADER_LEN: u64 = 44;
const GSM_HEADER_LEN: u64 = 60;
/// The one sampling rate of GSM 06.10, in Hz.
const GSM_RATE: u32 = 8_000;

/// Lowest rate that a resampler takes for one, in Hz.
const RATE_MIN: u32 = 1_000;

/// What a WAVE file will be, worked out before its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    shape: Shape,
    gsm: bool,
    /// Sample times that will come, and their rate in Hz.
    incoming: u64,
    incoming_rate: u32,
    /// The file's rate in Hz.
    rate: u32,
    /// Sample times; a stereo sample time has two samples.
    samples: u64,
    /// Length of the data chunk's content, in bytes.
    data: u32,
    /// Length of the whole file, in bytes.
    total: u64,
}

impl Layout {
    /// Of `samples` sample times at `rate` Hz. GSM has one rate: what comes at another is resampled.
    ///
    /// # Errors
    /// [`Error::TooLong`] above 4 GiB; [`Error::Unsuited`] for stereo GSM and for a format that is no WAVE file.
    pub fn new(format: FileFormat, shape: Shape, rate: u32, samples: u64) -> Result<Self, Error> {
        let too_long = || Error::TooLong { hours: samples / u64::from(rate.max(1)) / 3_600 };
        let gsm = match format {
            FileFormat::Wav => false,
            FileFormat::Gsm if shape == Shape::Stereo => {
                return Err(Error::Unsuited { format, shape, instead: "mono, near or far" });
            }
            FileFormat::Gsm => true,
            FileFormat::Ogg | FileFormat::Flac | FileFormat::Raw => {
                return Err(Error::Unsuited { format, shape, instead: "wav or gsm" });
            }
        };
        let (incoming, incoming_rate) = (samples, rate);
        let (samples, rate) = if gsm { (resampled(samples, rate), GSM_RATE) } else { (samples, rate) };
        let data = if gsm {
            samples.div_ceil(BLOCK_SAMPLES as u64).checked_mul(BLOCK_BYTES as u64)
        } else {
            samples.checked_mul(2 * u64::from(shape.channels()))
        };
        let data = data.ok_or_else(too_long)?;
        // The RIFF size counts everything after itself in 32 bits.
        let total =
            data.saturating_add(data & 1).saturating_add(if gsm { GSM_HEADER_LEN } else { PCM_HEADER_LEN });
        if total - 8 > u64::from(u32::MAX) {
            return Err(too_long());
        }
        Ok(Layout { shape, gsm, incoming, incoming_rate, rate, samples, data: data as u32, total })
    }

    /// Length of the whole file, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.total
    }

    /// Sample times in the file.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// The file's sampling rate in Hz.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Everything before the first byte of audio.
    fn header(&self) -> Vec<u8> {
        if self.gsm { self.gsm_header() } else { self.pcm_header() }
    }

    fn pcm_header(&self) -> Vec<u8> {
        let spec = WavSpec {
            channels: self.shape.channels(),
            // `hound` multiplies it by the bytes of a sample time, unchecked. Real rates end at 48 kHz.
            sample_rate: self.rate.min(u32::MAX / 4),
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let mut header = spec.into_header_for_infinite_file();
        // Both lengths are known here: that of RIFF stands in bytes 4 to 7, that of the data in the last four.
        if let Some(riff) = header.get_mut(4..8) {
            riff.copy_from_slice(&self.riff_len());
        }
        if let Some(data) = header.last_chunk_mut() {
            *data = self.data.to_le_bytes();
        }
        header
    }

    fn gsm_header(&self) -> Vec<u8> {
        let mut header = Vec::with_capacity(GSM_HEADER_LEN as usize);
        header.extend(b"RIFF");
        header.extend(self.riff_len());
        header.extend(b"WAVEfmt ");
        header.extend(20_u32.to_le_bytes());
        header.extend(TAG_GSM.to_le_bytes());
        header.extend(1_u16.to_le_bytes());
        header.extend(GSM_RATE.to_le_bytes());
        header.extend((GSM_RATE * BLOCK_BYTES as u32 / BLOCK_SAMPLES as u32).to_le_bytes());
        header.extend((BLOCK_BYTES as u16).to_le_bytes());
        header.extend(0_u16.to_le_bytes()); // bits per sample: not a whole number
        header.extend(2_u16.to_le_bytes()); // bytes of what follows
        header.extend((BLOCK_SAMPLES as u16).to_le_bytes());
        // The last block is filled up with silence; this says how many of its samples count.
        header.extend(b"fact");
        header.extend(4_u32.to_le_bytes());
        header.extend((self.samples as u32).to_le_bytes());
        header.extend(b"data");
        header.extend(self.data.to_le_bytes());
        header
    }

    /// The RIFF size: everything behind itself.
    fn riff_len(&self) -> [u8; 4] {
        ((self.total - 8) as u32).to_le_bytes()
    }
}

/// Writes one WAVE file. [`WavWriter::finish`] must be called; a file that was not finished is short.
#[derive(Debug)]
pub struct WavWriter<W> {
    out: W,
    layout: Layout,
    /// Sample times still to come.
    left: u64,
    /// Bytes of one call, kept so that nothing is allocated per block.
    bytes: Vec<u8>,
    gsm: Encoder,
    /// To the rate of GSM, from another one.
    resampler: Option<Resampler>,
    /// One channel of one call, kept as `bytes` is.
    channel: Vec<i16>,
    /// Samples that do not fill a GSM block yet.
    pending: Vec<i16>,
}

impl<W: Write> WavWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// When `out` does not take it.
    pub fn new(mut out: W, layout: Layout) -> io::Result<Self> {
        out.write_all(&layout.header())?;
        let rate = layout.incoming_rate;
        Ok(WavWriter {
            out,
            layout,
            left: layout.incoming,
            bytes: Vec::new(),
            gsm: Encoder::new(),
            resampler: (layout.gsm && rate != GSM_RATE).then(|| Resampler::new(rate, GSM_RATE)),
            channel: Vec::new(),
            pending: Vec::new(),
        })
    }

    /// Adds a stretch of both parties' audio; the shorter one is cut off at.
    ///
    /// # Errors
    /// When `out` does not take it, or when more samples come than were announced.
    pub fn write(&mut self, near: &[i16], far: &[i16]) -> io::Result<()> {
        let count = near.len().min(far.len()) as u64;
        self.left = self.left.checked_sub(count).ok_or_else(|| wrong_length("more"))?;
        let pairs = near.iter().zip(far);
        if self.layout.gsm {
            let shape = self.layout.shape;
            let channel = pairs.map(|(&near, &far)| single(shape, near, far));
            match &mut self.resampler {
                None => self.pending.extend(channel),
                Some(resampler) => {
                    self.channel.clear();
                    self.channel.extend(channel);
                    resampler.push(&self.channel, &mut self.pending);
                }
            }
            return self.write_whole_blocks();
        }
        self.bytes.clear();
        match self.layout.shape {
            Shape::Stereo => {
                self.bytes.extend(pairs.flat_map(|(near, far)| {
                    let ([a, b], [c, d]) = (near.to_le_bytes(), far.to_le_bytes());
                    [a, b, c, d]
                }));
            }
            shape => {
                self.bytes.extend(pairs.flat_map(|(&near, &far)| single(shape, near, far).to_le_bytes()))
            }
        }
        self.out.write_all(&self.bytes)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When `out` does not take the rest, or when fewer samples came than were announced.
    pub fn finish(mut self) -> io::Result<()> {
        if self.left > 0 {
            return Err(wrong_length("fewer"));
        }
        if let Some(resampler) = &self.resampler {
            resampler.tail(&mut self.pending);
        }
        if !self.pending.is_empty() {
            self.pending.resize(self.pending.len().next_multiple_of(BLOCK_SAMPLES), 0);
            self.write_whole_blocks()?;
        }
        if self.layout.data & 1 == 1 {
            self.out.write_all(&[0])?; // RIFF: chunks begin at even places
        }
        self.out.flush()
    }

    fn write_whole_blocks(&mut self) -> io::Result<()> {
        self.bytes.clear();
        let (blocks, _) = self.pending.as_chunks();
        for block in blocks {
            self.bytes.extend(self.gsm.encode_block(block));
        }
        let taken = blocks.len() * BLOCK_SAMPLES;
        self.pending.drain(..taken);
        self.out.write_all(&self.bytes)
    }
}

/// One channel of two parties. The mono mix is the saturated sum, as a conference bridge has it: each party keeps its
/// level, and where only one speaks the mix is that party's audio unchanged. It clips only where both are loud at once.
pub(crate) fn single(shape: Shape, near: i16, far: i16) -> i16 {
    match shape {
        Shape::Near => near,
        Shape::Far => far,
        Shape::Mono | Shape::Stereo => near.saturating_add(far),
    }
}

/// How many sample times of GSM so many sample times at `rate` Hz become; what [`Resampler::length`] says.
fn resampled(samples: u64, rate: u32) -> u64 {
    let scaled = u128::from(samples) * u128::from(GSM_RATE) / u128::from(rate.max(RATE_MIN));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

fn wrong_length(which: &str) -> io::Error {
    io::Error::other(format!("{which} samples came than the header announced: the file is not usable"))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use decode::codec::gsm::Decoder;

    use super::*;

    fn file(format: FileFormat, shape: Shape, near: &[i16], far: &[i16]) -> Vec<u8> {
        let layout = Layout::new(format, shape, 8_000, near.len() as u64).expect("a layout");
        let mut file = Vec::new();
        let mut writer = WavWriter::new(&mut file, layout).expect("a header");
        // Blocks of odd lengths must not show.
        for (near, far) in near.chunks(77).zip(far.chunks(77)) {
            writer.write(near, far).expect("a block");
        }
        writer.finish().expect("an end");
        assert_eq!(file.len() as u64, layout.bytes());
        file
    }

    fn tone(samples: usize, hz: f64) -> Vec<i16> {
        let step = std::f64::consts::TAU * hz / 8_000.0;
        (0..samples).map(|i| (10_000.0 * (i as f64 * step).sin()) as i16).collect()
    }

    #[test]
    fn the_stereo_header_is_right_to_the_byte() {
        let file = file(FileFormat::Wav, Shape::Stereo, &[1, -2, 3], &[4, 5, -6]);
        let mut expected: Vec<u8> = Vec::new();
        expected.extend(b"RIFF\x30\0\0\0WAVEfmt \x10\0\0\0\x01\0\x02\0\x40\x1F\0\0\0\x7D\0\0\x04\0\x10\0");
        expected.extend(b"data\x0C\0\0\0\x01\0\x04\0\xFE\xFF\x05\0\x03\0\xFA\xFF");
        assert_eq!(file, expected);
    }

    #[test]
    fn the_gsm_header_is_right_to_the_byte() {
        let file = file(FileFormat::Gsm, Shape::Near, &[0; 321], &[0; 321]);
        let mut expected: Vec<u8> = Vec::new();
        expected.extend(b"RIFF\xB6\0\0\0WAVEfmt \x14\0\0\0\x31\0\x01\0\x40\x1F\0\0\x59\x06\0\0\x41\0\0\0");
        expected.extend(b"\x02\0\x40\x01fact\x04\0\0\0\x41\x01\0\0data\x82\0\0\0");
        assert_eq!(file[..60], expected);
        assert_eq!(file.len(), 60 + 2 * 65);
        let odd = self::file(FileFormat::Gsm, Shape::Near, &[0; 1], &[0; 1]);
        assert_eq!(
            (odd.len(), odd[4], odd[56], odd[125]),
            (60 + 65 + 1, 118, 65, 0),
            "an odd chunk is padded"
        );
    }

    #[test]
    fn another_reader_reads_every_shape() {
        let (near, far) = (tone(1_000, 440.0), tone(1_000, 1_000.0));
        let sum: Vec<i16> = near.iter().zip(&far).map(|(a, b)| a.saturating_add(*b)).collect();
        let both: Vec<i16> = near.iter().zip(&far).flat_map(|(&a, &b)| [a, b]).collect();
        for (shape, expected) in [
            (Shape::Stereo, both),
            (Shape::Mono, sum),
            (Shape::Near, near.clone()),
            (Shape::Far, far.clone()),
        ] {
            let file = file(FileFormat::Wav, shape, &near, &far);
            let mut reader = hound::WavReader::new(Cursor::new(file)).expect("a WAVE file");
            let spec = reader.spec();
            assert_eq!(
                (spec.channels, spec.sample_rate, spec.bits_per_sample),
                (shape.channels(), 8_000, 16)
            );
            let samples: Vec<i16> = reader.samples().map(|s| s.expect("a sample")).collect();
            assert_eq!(samples, expected, "{shape}");
        }
    }

    #[test]
    fn a_gsm_file_decodes_to_the_tone_it_was_made_from() {
        let near = tone(8_000, 440.0);
        let file = file(FileFormat::Gsm, Shape::Mono, &near, &vec![0; 8_000]);
        let mut decoder = Decoder::new();
        let decoded: Vec<i16> =
            file[60..].as_chunks().0.iter().flat_map(|block| decoder.decode_block(block)).collect();
        assert_eq!(decoded.len(), 8_000);
        let noise: f64 =
            near.iter().zip(&decoded).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
        let signal: f64 = near.iter().map(|&a| f64::from(a).powi(2)).sum();
        assert!(noise < signal / 20.0, "{}", noise / signal);
    }

    #[test]
    fn mono_clips_instead_of_wrapping_and_keeps_a_lone_party_as_it_is() {
        let file = file(FileFormat::Wav, Shape::Mono, &[30_000, -30_000, 123], &[30_000, -30_000, 0]);
        assert_eq!(file[44..], [0xFF, 0x7F, 0x00, 0x80, 123, 0]);
    }

    #[test]
    fn what_a_file_cannot_hold_is_refused_before_a_byte_is_written() {
        let layout = |format, shape, rate, samples| Layout::new(format, shape, rate, samples);
        let limit = (u64::from(u32::MAX) - 36) / 4;
        assert!(layout(FileFormat::Wav, Shape::Stereo, 8_000, limit).is_ok());
        for samples in [limit + 1, u64::MAX] {
            let refused = layout(FileFormat::Wav, Shape::Stereo, 8_000, samples);
            assert!(matches!(refused, Err(Error::TooLong { .. })), "{refused:?}");
        }
        assert!(matches!(
            layout(FileFormat::Gsm, Shape::Stereo, 8_000, 1),
            Err(Error::Unsuited { shape: Shape::Stereo, .. })
        ));
        assert!(layout(FileFormat::Raw, Shape::Mono, 8_000, 1).is_err());
    }

    #[test]
    fn a_file_of_another_length_than_announced_is_an_error() {
        let layout = Layout::new(FileFormat::Wav, Shape::Near, 8_000, 10).expect("a layout");
        let mut writer = WavWriter::new(Vec::new(), layout).expect("a header");
        assert!(writer.write(&[0; 11], &[0; 11]).is_err());
        let writer = WavWriter::new(Vec::new(), layout).expect("a header");
        assert!(writer.finish().is_err());
    }
}
