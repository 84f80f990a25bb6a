//! Capture files, written: classic pcap (microseconds or nanoseconds) and pcapng, always Ethernet.
//!
//! Reading is the recorder's business (`capture`); a test that wrote and read with the same code would prove little.

use std::io::{self, Write};

/// One frame of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When it was captured: nanoseconds since the Unix epoch.
    pub at_ns: i64,
    /// The bytes captured.
    pub bytes: Vec<u8>,
    /// Length on the wire; more than `bytes.len()` when a snap length cut it.
    pub wire_len: u32,
}

impl Frame {
    /// A frame captured whole.
    #[must_use]
    pub fn whole(at_ns: i64, bytes: Vec<u8>) -> Self {
        let wire_len = bytes.len() as u32;
        Frame { at_ns, bytes, wire_len }
    }
}

/// Which kind of file to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Container {
    /// Classic pcap with microseconds.
    #[default]
    Pcap,
    /// Classic pcap with nanoseconds.
    PcapNanos,
    /// pcapng, one section, one interface, nanoseconds.
    PcapNg,
}

const LINKTYPE_ETHERNET: u32 = 1;
const SNAPLEN: u32 = 262_144;

/// Writes one capture file, frame by frame.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    container: Container,
}

impl<W: Write> Writer<W> {
    /// Writes the file's header.
    ///
    /// # Errors
    /// What `out` says.
    pub fn new(mut out: W, container: Container) -> io::Result<Self> {
        match container {
            Container::Pcap | Container::PcapNanos => {
                let magic: u32 = if container == Container::Pcap { 0xa1b2_c3d4 } else { 0xa1b2_3c4d };
                for word in [magic, 0x0004_0002, 0, 0, SNAPLEN, LINKTYPE_ETHERNET] {
                    out.write_all(&word.to_le_bytes())?;
                }
            }
            Container::PcapNg => {
                // Section header of unknown length, then the interface with if_tsresol (option 9) = 10^-9.
                for word in [0x0a0d_0d0a, 28, 0x1a2b_3c4d, 1, u32::MAX, u32::MAX, 28] {
                    out.write_all(&u32::to_le_bytes(word))?;
                }
                for word in [1, 32, LINKTYPE_ETHERNET, SNAPLEN, 0x0001_0009, 9, 0, 32] {
                    out.write_all(&u32::to_le_bytes(word))?;
                }
            }
        }
        Ok(Writer { out, container })
    }

    /// Writes one frame.
    ///
    /// # Errors
    /// What the output says.
    pub fn write(&mut self, frame: &Frame) -> io::Result<()> {
        let captured = frame.bytes.len() as u32;
        let seconds = frame.at_ns.div_euclid(1_000_000_000) as u32;
        let nanos = frame.at_ns.rem_euclid(1_000_000_000) as u32;
        match self.container {
            Container::Pcap => self.words(&[seconds, nanos / 1000, captured, frame.wire_len])?,
            Container::PcapNanos => self.words(&[seconds, nanos, captured, frame.wire_len])?,
            Container::PcapNg => {
                let padded = captured.next_multiple_of(4);
                let at = frame.at_ns as u64;
                self.words(&[6, 32 + padded, 0, (at >> 32) as u32, at as u32, captured, frame.wire_len])?;
                self.out.write_all(&frame.bytes)?;
                let padding = [0; 3];
                self.out.write_all(padding.get(..(padded - captured) as usize).unwrap_or(&padding))?;
                return self.words(&[32 + padded]);
            }
        }
        self.out.write_all(&frame.bytes)
    }

    /// Flushes, and gives the output back.
    ///
    /// # Errors
    /// What the output says.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    fn words(&mut self, words: &[u32]) -> io::Result<()> {
        words.iter().try_for_each(|word| self.out.write_all(&word.to_le_bytes()))
    }
}

/// A whole file in memory, for tests that need no disk.
#[must_use]
pub fn file_bytes(frames: &[Frame], container: Container) -> Vec<u8> {
    let write = || -> io::Result<Vec<u8>> {
        let mut writer = Writer::new(Vec::new(), container)?;
        frames.iter().try_for_each(|frame| writer.write(frame))?;
        writer.finish()
    };
    write().expect("a Vec takes every write")
}

/// Writes `frames` as one classic pcap with microseconds.
///
/// # Errors
/// What `out` says.
pub fn write_pcap(out: impl Write, frames: &[Frame]) -> io::Result<()> {
    let mut writer = Writer::new(out, Container::Pcap)?;
    frames.iter().try_for_each(|frame| writer.write(frame))?;
    writer.finish().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_classic_record_says_when_and_how_long() {
        let frame = Frame { at_ns: 5_000_007_000, bytes: vec![1, 2, 3], wire_len: 90 };
        let bytes = file_bytes(&[frame], Container::Pcap);
        assert_eq!(bytes.len(), 24 + 16 + 3);
        assert_eq!(bytes[24..40], [5, 0, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0, 90, 0, 0, 0]);
    }

    #[test]
    fn pcapng_blocks_say_their_length_at_both_ends() {
        for len in 0..9_u8 {
            let bytes = file_bytes(&[Frame::whole(1, (0..len).collect())], Container::PcapNg);
            let mut rest = &bytes[..];
            let mut kinds = Vec::new();
            while let [k0, k1, k2, k3, l0, l1, l2, l3, ..] = *rest {
                let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
                let (block, after) = rest.split_at(length);
                assert_eq!(block[length - 4..], [l0, l1, l2, l3]);
                kinds.push(u32::from_le_bytes([k0, k1, k2, k3]));
                rest = after;
            }
            assert_eq!(kinds, [0x0a0d_0d0a, 1, 6]);
        }
    }
}
