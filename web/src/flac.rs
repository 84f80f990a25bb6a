//! FLAC files (RFC 9639), written front to back: fixed predictors and partitioned Rice codes.
//!
//! An encoder of our own, because of the two at hand one writes files that not every decoder opens (`flacenc` 0.5), and linear
//! prediction gains little on telephone audio. The parties are coded apart: they have nothing in common. The MD5 sum of the
//! samples stands in the header, so it must be known before: [`Digest`] makes it in a pass of its own.

use std::io::{self, Write};

use md5::Md5;
use md5::digest::Digest as _;

use crate::export::Shape;
use crate::opus::interleave;

/// Sample times of a frame.
const BLOCK: usize = 4_096;
/// The code of that size in a frame header.
const BLOCK_CODE: u32 = 0b1100;
/// Highest predictor.
const ORDER_MAX: usize = 4;
/// Most partitions of a frame, as a power of two.
const PARTITIONS_MAX: u32 = 6;
/// Highest Rice parameter of the short form.
const RICE_MAX: u32 = 14;
/// Sample times that a file can count.
pub(crate) const SAMPLES_MAX: u64 = (1 << 36) - 1;
/// Highest rate that a file can state, in Hz.
pub(crate) const RATE_MAX: u32 = (1 << 20) - 1;

/// The sum over the samples of a file, as FLAC counts it.
pub(crate) struct Digest {
    shape: Shape,
    hash: Md5,
    samples: Vec<i16>,
    bytes: Vec<u8>,
}

impl Digest {
    pub(crate) fn new(shape: Shape) -> Self {
        Digest { shape, hash: Md5::new(), samples: Vec::new(), bytes: Vec::new() }
    }

    /// Takes a stretch of both parties' audio.
    pub(crate) fn write(&mut self, near: &[i16], far: &[i16]) {
        self.samples.clear();
        self.bytes.clear();
        interleave(self.shape, near, far, &mut self.samples);
        self.bytes.extend(self.samples.iter().flat_map(|sample| sample.to_le_bytes()));
        self.hash.update(&self.bytes);
    }

    pub(crate) fn finish(self) -> [u8; 16] {
        self.hash.finalize().into()
    }
}

/// Writes one FLAC file. [`FlacWriter::finish`] must be called.
pub(crate) struct FlacWriter<W> {
    out: W,
    shape: Shape,
    rate: u32,
    /// Sample times of each channel that do not fill a frame yet.
    channels: Vec<Vec<i32>>,
    number: u64,
    bits: Bits,
}

impl<W: Write> FlacWriter<W> {
    /// Writes the header of a file of `samples` sample times at `rate` Hz whose samples have the sum `md5`.
    pub(crate) fn new(mut out: W, shape: Shape, rate: u32, samples: u64, md5: [u8; 16]) -> io::Result<Self> {
        let channels = usize::from(shape.channels());
        let mut bits = Bits::default();
        bits.put(u32::from_be_bytes(*b"fLaC"), 32);
        bits.put(0x80, 8); // the only metadata block: stream info
        bits.put(34, 24);
        bits.put(BLOCK as u32, 16);
        bits.put(BLOCK as u32, 16);
        bits.put(0, 24); // lengths of frames: not known yet
        bits.put(0, 24);
        bits.put(rate.min(RATE_MAX), 20);
        bits.put(channels as u32 - 1, 3);
        bits.put(16 - 1, 5);
        bits.put((samples >> 32) as u32 & 0xf, 4);
        bits.put(samples as u32, 32);
        out.write_all(&bits.bytes)?;
        out.write_all(&md5)?;
        bits.bytes.clear();
        Ok(FlacWriter { out, shape, rate, channels: vec![Vec::new(); channels], number: 0, bits })
    }

    /// Adds a stretch of both parties' audio.
    pub(crate) fn write(&mut self, near: &[i16], far: &[i16]) -> io::Result<()> {
        let mut samples = Vec::new();
        interleave(self.shape, near, far, &mut samples);
        let count = self.channels.len();
        for (channel, own) in self.channels.iter_mut().enumerate() {
            own.extend(samples.iter().skip(channel).step_by(count).map(|&sample| i32::from(sample)));
        }
        while self.channels.first().is_some_and(|own| own.len() >= BLOCK) {
            self.frame(BLOCK)?;
        }
        Ok(())
    }

    /// Ends the file.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let left = self.channels.first().map_or(0, Vec::len);
        if left > 0 {
            self.frame(left)?;
        }
        self.out.flush()
    }

    /// One frame of the first `len` sample times.
    fn frame(&mut self, len: usize) -> io::Result<()> {
        let bits = &mut self.bits;
        let (rate_code, rate_tail) = rate_code(self.rate);
        let block_code = if len == BLOCK { BLOCK_CODE } else { 0b0111 };
        bits.put(0xfff8, 16); // sync code, frames of one length
        bits.put(block_code << 4 | rate_code, 8);
        bits.put((self.channels.len() as u32 - 1) << 4 | 0b1000, 8); // channels apart, 16 bits
        bits.put_number(self.number);
        if block_code == 0b0111 {
            bits.put(len as u32 - 1, 16);
        }
        if let Some(tail) = rate_tail {
            bits.put(tail, 16);
        }
        let check = crc8(&bits.bytes);
        bits.put(u32::from(check), 8);
        for channel in &mut self.channels {
            subframe(bits, channel.get(..len).unwrap_or_default());
            channel.drain(..len.min(channel.len()));
        }
        bits.align();
        let check = crc16(&bits.bytes);
        bits.put(u32::from(check), 16);
        self.out.write_all(&bits.bytes)?;
        bits.bytes.clear();
        self.number += 1;
        Ok(())
    }
}

/// How a frame header says the rate, and what it says behind the frame's number; 0 leaves it to the file's header.
fn rate_code(rate: u32) -> (u32, Option<u32>) {
    match rate {
        8_000 => (0b0100, None),
        16_000 => (0b0101, None),
        22_050 => (0b0110, None),
        24_000 => (0b0111, None),
        32_000 => (0b1000, None),
        44_100 => (0b1001, None),
        48_000 => (0b1010, None),
        96_000 => (0b1011, None),
        rate if rate <= 0xffff => (0b1101, Some(rate)),
        _ => (0, None),
    }
}

/// One channel of a frame, by the predictor that makes it shortest.
fn subframe(bits: &mut Bits, samples: &[i32]) {
    let Some(&first) = samples.first() else { return };
    if samples.iter().all(|&sample| sample == first) {
        bits.put(0, 8);
        bits.put_signed(first, 16);
        return;
    }
    // The differences of each order in turn; the order with the smallest sum is the one to code.
    let mut best = (0, samples.to_vec());
    let mut differences = samples.to_vec();
    let weight = |residual: &[i32]| residual.iter().map(|&r| u64::from(r.unsigned_abs())).sum::<u64>();
    let mut least = u64::MAX;
    for order in 0..=ORDER_MAX.min(samples.len() - 1) {
        if order > 0 {
            differences = differences.windows(2).map(|pair| pair[1] - pair[0]).collect();
        }
        // Samples that stand in clear cost too.
        let cost = weight(&differences).saturating_add(weight(samples.get(..order).unwrap_or_default()));
        if cost < least {
            least = cost;
            best = (order, differences.clone());
        }
    }
    let (order, residual) = best;
    let (partitions, rice) = partition(&residual, order, samples.len());
    if cost(&rice) + 16 * order as u64 >= 16 * samples.len() as u64 {
        bits.put(0b0000_0010, 8);
        samples.iter().for_each(|&sample| bits.put_signed(sample, 16));
        return;
    }
    bits.put((0b001_000 | order as u32) << 1, 8);
    samples.iter().take(order).for_each(|&sample| bits.put_signed(sample, 16));
    bits.put(partitions, 6); // Rice parameters of 4 bits, in so many partitions
    let mut rest = residual.as_slice();
    for (index, &Rice { parameter, .. }) in rice.iter().enumerate() {
        let length = (samples.len() >> partitions) - if index == 0 { order } else { 0 };
        let (part, behind) = rest.split_at(length.min(rest.len()));
        bits.put(parameter, 4);
        part.iter().for_each(|&residual| bits.put_rice(fold(residual), parameter));
        rest = behind;
    }
}

/// Zigzag: small numbers of both signs become small numbers.
fn fold(residual: i32) -> u32 {
    ((residual << 1) ^ (residual >> 31)) as u32
}

/// How one partition is coded.
#[derive(Clone, Copy)]
struct Rice {
    parameter: u32,
    /// What it takes.
    bits: u64,
}

fn cost(partitions: &[Rice]) -> u64 {
    partitions.iter().map(|rice| rice.bits).sum()
}

/// The number of partitions, as a power of two, and the codes of each, that take fewest bits.
fn partition(residual: &[i32], order: usize, block: usize) -> (u32, Vec<Rice>) {
    let mut best = (0, vec![Rice::best(residual)]);
    for partitions in 1..=PARTITIONS_MAX {
        let length = block >> partitions;
        if length << partitions != block || length <= order {
            break;
        }
        let (first, rest) = residual.split_at((length - order).min(residual.len()));
        let parts = std::iter::once(first).chain(rest.chunks(length));
        let rice: Vec<Rice> = parts.map(Rice::best).collect();
        if cost(&rice) < cost(&best.1) {
            best = (partitions, rice);
        }
    }
    best
}

impl Rice {
    /// The code of these that takes fewest bits.
    fn best(residual: &[i32]) -> Rice {
        let sum: u64 = residual.iter().map(|&r| u64::from(fold(r))).sum();
        let mean = sum / (residual.len() as u64).max(1);
        // The best parameter lies at the logarithm of the mean or beside it.
        let guess = mean.checked_ilog2().unwrap_or(0).min(RICE_MAX);
        let with = |parameter: u32| {
            let quotients: u64 = residual.iter().map(|&r| u64::from(fold(r) >> parameter)).sum();
            Rice { parameter, bits: 4 + quotients + residual.len() as u64 * u64::from(parameter + 1) }
        };
        let (below, above) = (with(guess.saturating_sub(1)), with((guess + 1).min(RICE_MAX)));
        [below, above]
            .into_iter()
            .fold(with(guess), |best, other| if other.bits < best.bits { other } else { best })
    }
}

/// Bits into bytes, highest first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    /// Bits that do not fill a byte yet, lowest last.
    held: u64,
    count: u32,
}

impl Bits {
    /// The lowest `count` bits of a value, at most 32.
    fn put(&mut self, value: u32, count: u32) {
        let mask = (1_u64 << count) - 1;
        self.held = self.held << count | u64::from(value) & mask;
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            self.bytes.push((self.held >> self.count) as u8);
        }
        self.held &= (1 << self.count) - 1;
    }

    fn put_signed(&mut self, value: i32, count: u32) {
        self.put(value as u32, count);
    }

    /// So many zeros as the quotient says, a one, and the remainder.
    fn put_rice(&mut self, value: u32, parameter: u32) {
        let mut zeros = value >> parameter;
        while zeros >= 32 {
            self.put(0, 32);
            zeros -= 32;
        }
        self.put(1, zeros + 1);
        self.put(value, parameter);
    }

    /// A number as UTF-8 would write it, up to 36 bits (RFC 9639, 9.1.5).
    fn put_number(&mut self, number: u64) {
        if number < 0x80 {
            return self.put(number as u32, 8);
        }
        let bits = 64 - number.leading_zeros();
        // Each byte behind the first takes 6 bits; the first has 6 less their number.
        let behind = (1..=6).find(|&behind| bits <= 6 * behind + 6_u32.saturating_sub(behind)).unwrap_or(6);
        let lead = (0xff00_u32 >> (behind + 1)) & 0xff;
        self.put(lead | (number >> (6 * behind)) as u32, 8);
        for place in (0..behind).rev() {
            self.put(0x80 | (number >> (6 * place)) as u32 & 0x3f, 8);
        }
    }

    /// Zeros up to the next byte.
    fn align(&mut self) {
        self.put(0, (8 - self.count) % 8);
    }
}

/// CRC-8 with the polynomial 0x07, from 0.
fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| {
        (0..8).fold(sum ^ byte, |sum, _| if sum & 0x80 == 0 { sum << 1 } else { sum << 1 ^ 0x07 })
    })
}

/// CRC-16 with the polynomial 0x8005, from 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, &byte| {
        (0..8).fold(
            sum ^ u16::from(byte) << 8,
            |sum, _| {
                if sum & 0x8000 == 0 { sum << 1 } else { sum << 1 ^ 0x8005 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checks_are_the_polynomials_own() {
        // The check values of CRC-8 and of CRC-16 with this polynomial, not reflected, from 0, not inverted (CRC-16/UMTS).
        assert_eq!((crc8(b"123456789"), crc16(b"123456789")), (0xf4, 0xfee8));
    }

    #[test]
    fn frame_numbers_are_written_as_utf_8_writes_characters() {
        for number in [0, 0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x1_0000, 0x10_ffff] {
            // Not a surrogate.
            let Some(c) = char::from_u32(number) else { continue };
            let mut bits = Bits::default();
            bits.put_number(u64::from(number));
            assert_eq!(bits.bytes, c.to_string().as_bytes(), "{number:#x}");
        }
        let mut bits = Bits::default();
        bits.put_number((1 << 36) - 1);
        assert_eq!(bits.bytes, [0xfe, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf]);
    }
}
