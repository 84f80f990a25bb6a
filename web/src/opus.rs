//! Ogg Opus files (RFC 7845), written front to back: 20 ms a packet, at most a second a page.
//!
//! The encoder is `ropus`. Recordings at a rate that Opus knows are coded at it, others are brought to 48 kHz. The pre-skip
//! is the encoder's own delay, and the last page's position cuts the padding off: what is decoded is as long as what was
//! recorded, to the sample. Application "audio": the other ones put a high-pass filter before speech.

use std::io::{self, Write};

use decode::codec::resample::Resampler;
use ropus::{Application, Bitrate, Channels, Encoder};

use crate::export::Shape;
use crate::ogg::{FIRST, LAST, SEGMENTS_MAX, page, segments};
use crate::wav::single;

/// The rate that positions are counted at, in Hz.
pub(crate) const RATE: u32 = 48_000;
/// Rates that Opus codes at, in Hz.
const RATES: [u32; 5] = [8_000, 12_000, 16_000, 24_000, RATE];
/// Samples of a packet at 48 kHz: 20 ms.
const PACKET: u64 = 960;
/// Packets of a page: 1 s.
const PACKETS_MAX: usize = 50;
/// Longest packet, in bytes (RFC 6716, 3.2.1, for 20 ms).
const PACKET_MAX: usize = 1_276;
/// How hard the encoder tries, 0 to 10.
const COMPLEXITY: u8 = 8;

/// Bits per second of one channel, by the rate that it is coded at: transparent for speech, and enough that two parties in one
/// stream do not leak into each other.
fn bits(rate: u32) -> u32 {
    match rate {
        0..=8_000 => 32_000,
        8_001..=16_000 => 48_000,
        _ => 80_000,
    }
}

/// Sample times at 48 kHz that so many at `rate` Hz become.
pub(crate) fn length(samples: u64, rate: u32) -> u64 {
    u64::try_from(u128::from(samples) * u128::from(RATE) / u128::from(rate.max(1_000))).unwrap_or(u64::MAX)
}

/// Writes one Ogg Opus file. [`OpusWriter::finish`] must be called.
pub(crate) struct OpusWriter<W> {
    out: W,
    shape: Shape,
    encoder: Encoder,
    /// Samples of a packet at the encoder's rate, all channels.
    packet: usize,
    /// To 48 kHz, near and far; each with its samples of one call.
    resamplers: Option<[(Resampler, Vec<i16>); 2]>,
    /// Interleaved samples that do not fill a packet yet.
    pending: Vec<i16>,
    /// Packets that wait for their page to be full.
    packets: Vec<Vec<u8>>,
    segments: usize,
    /// Samples at 48 kHz that the packets so far decode to.
    position: u64,
    /// Where the last page ends: pre-skip and the recording.
    end: u64,
    number: u32,
    bytes: Vec<u8>,
}

impl<W: Write> OpusWriter<W> {
    /// Writes the headers of a file of `samples` sample times at `rate` Hz.
    pub(crate) fn new(out: W, shape: Shape, rate: u32, samples: u64) -> io::Result<Self> {
        let coded = if RATES.contains(&rate) { rate } else { RATE };
        let channels = shape.channels();
        let layout = if channels == 2 { Channels::Stereo } else { Channels::Mono };
        let encoder = Encoder::builder(coded, layout, Application::Audio)
            .bitrate(Bitrate::Bits(bits(coded) * u32::from(channels)))
            .complexity(COMPLEXITY)
            .build()
            .map_err(io::Error::other)?;
        // `lookahead` counts at the encoder's rate, whatever its documentation says; a click in a test shows it.
        let skip = u16::try_from(encoder.lookahead() * (RATE / coded)).map_err(io::Error::other)?;
        let resampler = || (Resampler::new(rate, RATE), Vec::new());
        let mut writer = OpusWriter {
            out,
            shape,
            packet: coded as usize / 50 * usize::from(channels),
            encoder,
            resamplers: (coded != rate).then(|| [resampler(), resampler()]),
            pending: Vec::new(),
            packets: Vec::new(),
            segments: 0,
            position: 0,
            end: u64::from(skip).saturating_add(length(samples, rate)),
            number: 0,
            bytes: Vec::new(),
        };
        writer.headers(channels as u8, skip, rate)?;
        Ok(writer)
    }

    fn headers(&mut self, channels: u8, skip: u16, rate: u32) -> io::Result<()> {
        let mut head = b"OpusHead\x01".to_vec();
        head.push(channels);
        head.extend(skip.to_le_bytes());
        head.extend(rate.to_le_bytes());
        head.extend([0; 3]); // no gain; mapping family 0: one stream, left and right
        let vendor = concat!("earwitness ", env!("CARGO_PKG_VERSION")).as_bytes();
        let mut tags = b"OpusTags".to_vec();
        tags.extend((vendor.len() as u32).to_le_bytes());
        tags.extend(vendor);
        tags.extend([0; 4]); // no comments
        page(&mut self.bytes, FIRST, 0, 0, &[head]);
        page(&mut self.bytes, 0, 0, 1, &[tags]);
        self.number = 2;
        self.send()
    }

    /// Adds a stretch of both parties' audio.
    pub(crate) fn write(&mut self, near: &[i16], far: &[i16]) -> io::Result<()> {
        match &mut self.resamplers {
            None => interleave(self.shape, near, far, &mut self.pending),
            Some([(near_rate, left), (far_rate, right)]) => {
                left.clear();
                right.clear();
                near_rate.push(near, left);
                far_rate.push(far, right);
                interleave(self.shape, left, right, &mut self.pending);
            }
        }
        self.encode()
    }

    /// Ends the file.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if let Some([(near, left), (far, right)]) = &mut self.resamplers {
            left.clear();
            right.clear();
            near.tail(left);
            far.tail(right);
            interleave(self.shape, left, right, &mut self.pending);
        }
        let missing = self.end.saturating_sub(self.position).div_ceil(PACKET);
        let samples = usize::try_from(missing).unwrap_or(usize::MAX).saturating_mul(self.packet);
        self.pending.resize(samples, 0);
        self.encode()?;
        self.flush(LAST, self.end)?;
        self.out.flush()
    }

    /// Codes every whole packet that there is.
    fn encode(&mut self) -> io::Result<()> {
        let mut taken = 0;
        while let Some(samples) = self.pending.get(taken..taken + self.packet) {
            let mut packet = vec![0; PACKET_MAX];
            let len = self.encoder.encode(samples, &mut packet).map_err(io::Error::other)?;
            packet.truncate(len);
            taken += self.packet;
            // A page goes when the next packet comes, so that the last one can say that it is the last.
            if self.packets.len() == PACKETS_MAX || self.segments + segments(len) > SEGMENTS_MAX {
                self.flush(0, self.position)?;
            }
            self.segments += segments(len);
            self.packets.push(packet);
            self.position += PACKET;
        }
        self.pending.drain(..taken);
        Ok(())
    }

    fn flush(&mut self, kind: u8, position: u64) -> io::Result<()> {
        page(&mut self.bytes, kind, position, self.number, &self.packets);
        self.number = self.number.wrapping_add(1);
        self.packets.clear();
        self.segments = 0;
        self.send()
    }

    fn send(&mut self) -> io::Result<()> {
        self.out.write_all(&self.bytes)?;
        self.bytes.clear();
        Ok(())
    }
}

/// Puts both parties into the channels of `shape`.
pub(crate) fn interleave(shape: Shape, near: &[i16], far: &[i16], out: &mut Vec<i16>) {
    let pairs = near.iter().zip(far);
    match shape {
        Shape::Stereo => out.extend(pairs.flat_map(|(&near, &far)| [near, far])),
        shape => out.extend(pairs.map(|(&near, &far)| single(shape, near, far))),
    }
}
