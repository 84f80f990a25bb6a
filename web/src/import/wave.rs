//! WAVE files: PCM of 8, 16, 24 and 32 bits, A-law, mu-law, GSM 06.10 ("WAV49").
//!
//! A length that the header promises and the file does not have is a recorder that was cut off: what is there counts, and is
//! said to be all. One that died before it wrote any length left 0: the audio goes to the end of the file then. Owns the file's layout (RIFF, "Multimedia Programming Interface and Data Specifications 1.0"); other formats
//! inside WAVE are refused by name.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use decode::Codec;
use decode::codec::gsm::{BLOCK_BYTES, FRAME_BYTES, FRAME_SAMPLES, Parameters};

use super::{Coding, Speaker};

const PCM: u16 = 0x0001;
const A_LAW: u16 = 0x0006;
const MU_LAW: u16 = 0x0007;
const GSM: u16 = 0x0031;
const EXTENSIBLE: u16 = 0xfffe;
/// What stands behind the format's number in an extensible header's SubFormat.
const SUBFORMAT_TAIL: [u8; 14] = *b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71";
/// Longest `fmt ` chunk that is believed, in bytes.
const FMT_MAX: u64 = 4_096;
/// Chunks looked at in search of the audio.
const CHUNKS_MAX: usize = 1_000;
/// Bytes of audio handed over at a time.
const BLOCK_LEN: usize = 32 * 1024;

/// Does the file begin as a WAVE file? It is at its beginning again then.
pub(super) fn is_wave(file: &mut File) -> io::Result<bool> {
    let mut head = [0; 12];
    let read = file.read(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(read == head.len() && head.starts_with(b"RIFF") && head.ends_with(b"WAVE"))
}

/// What `fmt ` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fmt {
    tag: u16,
    channels: u16,
    rate: u32,
    block: u16,
    bits: u16,
}

/// Reads the file, which has `len` bytes.
pub(super) fn read(file: File, len: u64, speaker: &Speaker) -> Result<(), String> {
    read_from(BufReader::new(file), len, speaker)
}

pub(super) fn read_from<R: Read + Seek>(mut file: R, len: u64, speaker: &Speaker) -> Result<(), String> {
    let (fmt, at, size, samples) = find(&mut file, len)?;
    let unwritten = size == 0 && at < len && !chunks_to_end(&mut file, at, len)?;
    let size = if unwritten { len - at } else { size };
    let there = len.saturating_sub(at).min(size);
    let (coding, packing) = coding(&fmt)?;
    // A GSM file fills its last block up; `fact` says how many of the samples count, to a frame here.
    let frames =
        samples.filter(|_| packing == Packing::Gsm).map(|samples| samples.div_ceil(FRAME_SAMPLES as u64));
    speaker.begin(coding)?;
    if unwritten {
        speaker
            .note("its recorder did not write how long the audio is: it is read to the end of the file")?;
    }
    if size > there && size < u64::from(u32::MAX) - 64 * 1024 {
        let missing = size - there;
        speaker.note(format!("it was cut: {missing} bytes that its header promises are missing"))?;
    }
    file.seek(SeekFrom::Start(at)).map_err(|e| e.to_string())?;
    let mut left = file.take(there);
    let whole = packing.bytes(&fmt);
    let mut given = 0;
    loop {
        let mut bytes = Vec::with_capacity(BLOCK_LEN);
        let want = (BLOCK_LEN / whole).max(1) * whole;
        left.by_ref().take(want as u64).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        // Half a sample at the end of a file is none.
        let usable = bytes.len() / whole * whole;
        bytes.truncate(usable);
        if bytes.is_empty() {
            return Ok(());
        }
        let mut units = packing.units(&bytes);
        if let Some(frames) = frames {
            let room = usize::try_from(frames.saturating_sub(given)).unwrap_or(usize::MAX);
            units.truncate(room.saturating_mul(FRAME_BYTES));
            given += (units.len() / FRAME_BYTES) as u64;
        }
        speaker.block(units)?;
    }
}

/// Finds the format and the audio: where it begins, the length that is promised, and the samples that `fact` counts.
fn find<R: Read + Seek>(file: &mut R, len: u64) -> Result<(Fmt, u64, u64, Option<u64>), String> {
    let (mut fmt, mut samples, mut at) = (None, None, 12_u64);
    for _ in 0..CHUNKS_MAX {
        file.seek(SeekFrom::Start(at)).map_err(|e| e.to_string())?;
        let mut head = [0; 8];
        file.read_exact(&mut head).map_err(|_| "it is a WAVE file without audio".to_owned())?;
        let [a, b, c, d, size @ ..] = head;
        let size = u64::from(u32::from_le_bytes(size));
        let content = at + 8;
        match &[a, b, c, d] {
            b"fmt " => {
                let mut bytes = Vec::new();
                file.by_ref().take(size.min(FMT_MAX)).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
                fmt = Some(parse_fmt(&bytes).ok_or("its format cannot be read")?);
            }
            b"fact" if size >= 4 => {
                let mut bytes = [0; 4];
                if file.read_exact(&mut bytes).is_ok() {
                    // A recorder that died left 0 there.
                    samples = Some(u64::from(u32::from_le_bytes(bytes))).filter(|&samples| samples > 0);
                }
            }
            b"data" => {
                let fmt = fmt.ok_or("its audio stands before its format")?;
                return Ok((fmt, content, size, samples));
            }
            _ => {}
        }
        at = content + size + size % 2;
        if at >= len {
            break;
        }
    }
    Err("it is a WAVE file without audio".into())
}

/// Do chunks follow, one behind the other to the end of the file? Then audio of no length is none.
fn chunks_to_end<R: Read + Seek>(file: &mut R, mut at: u64, len: u64) -> Result<bool, String> {
    for _ in 0..CHUNKS_MAX {
        if at >= len {
            // The byte that fills up an odd length may be missing at the end.
            return Ok(at <= len + 1);
        }
        file.seek(SeekFrom::Start(at)).map_err(|e| e.to_string())?;
        let mut head = [0; 8];
        if file.read_exact(&mut head).is_err() {
            return Ok(false);
        }
        let [a, b, c, d, size @ ..] = head;
        if ![a, b, c, d].iter().all(|byte| (b' '..=b'~').contains(byte)) {
            return Ok(false);
        }
        let size = u64::from(u32::from_le_bytes(size));
        at += 8 + size + size % 2;
    }
    Ok(false)
}

fn parse_fmt(bytes: &[u8]) -> Option<Fmt> {
    let word = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let rate = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
    let mut tag = word(0)?;
    if tag == EXTENSIBLE {
        let subformat = bytes.get(24..40)?;
        if subformat.get(2..)? != SUBFORMAT_TAIL {
            return None;
        }
        tag = word(24)?;
    }
    Some(Fmt { tag, channels: word(2)?, rate, block: word(12)?, bits: word(14)? })
}

/// How samples lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    /// A byte a sample, kept as it is.
    Byte,
    /// Little-endian, of so many bytes; eight bits are unsigned.
    Linear(usize),
    Gsm,
}

fn coding(fmt: &Fmt) -> Result<(Coding, Packing), String> {
    let channels = usize::from(fmt.channels);
    let (coding, packing) = match (fmt.tag, fmt.bits) {
        (A_LAW, 8) => (Coding::new(Codec::Pcma, 8, fmt.rate, channels, 1), Packing::Byte),
        (MU_LAW, 8) => (Coding::new(Codec::Pcmu, 0, fmt.rate, channels, 1), Packing::Byte),
        (PCM, bits @ (8 | 16 | 24 | 32)) => {
            let bytes = usize::from(bits / 8);
            let mut coding = Coding::linear(fmt.rate, channels);
            if let Some(coding) = coding.as_mut().filter(|_| bytes > 2) {
                coding.notes.push(format!("{bits} bits a sample: the upper 16 are kept"));
            }
            (coding, Packing::Linear(bytes))
        }
        (GSM, _) if fmt.rate == 8_000 && channels == 1 && usize::from(fmt.block) == BLOCK_BYTES => {
            let coding = Coding {
                unit_bytes: FRAME_BYTES,
                unit_ticks: FRAME_SAMPLES as u32,
                units_in_packet: 1,
                ..Coding::new(Codec::from_name("GSM"), 3, fmt.rate, channels, 1)
                    .ok_or("its rate is not one of GSM")?
            };
            (Some(coding), Packing::Gsm)
        }
        (tag, bits) => {
            return Err(format!("a WAVE file of format {tag:#06x} with {bits} bits is not read"));
        }
    };
    if packing != Packing::Gsm && usize::from(fmt.block) != packing.bytes(fmt) {
        return Err("its format contradicts itself".into());
    }
    let coding = coding.ok_or_else(|| {
        format!("{channels} channels at {} Hz: one or two at 8 to 48 kHz are read", fmt.rate)
    })?;
    Ok((coding, packing))
}

impl Packing {
    /// Bytes that belong together in the file.
    fn bytes(self, fmt: &Fmt) -> usize {
        let channels = usize::from(fmt.channels.max(1));
        match self {
            Packing::Byte => channels,
            Packing::Linear(bytes) => bytes * channels,
            Packing::Gsm => BLOCK_BYTES,
        }
    }

    /// Units as they are kept: linear samples in network byte order, GSM frames as RTP carries them.
    fn units(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Packing::Byte => bytes.to_vec(),
            Packing::Linear(1) => bytes.iter().flat_map(|byte| [byte ^ 0x80, 0]).collect(),
            Packing::Linear(width) => bytes
                .chunks_exact(width)
                .filter_map(|sample| sample.last_chunk::<2>())
                .flat_map(|&[low, high]| [high, low])
                .collect(),
            Packing::Gsm => {
                let (blocks, _) = bytes.as_chunks::<BLOCK_BYTES>();
                let frames = blocks.iter().flat_map(Parameters::from_block);
                let mut out = Vec::with_capacity(blocks.len() * 2 * FRAME_BYTES);
                frames.for_each(|frame| out.extend_from_slice(&frame.to_bytes()));
                out
            }
        }
    }
}
