//! Capture files built byte by byte, for the tests.

use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::{Error, FrameSource, PcapFile};

/// Writes numbers in one byte order.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    pub(crate) big: bool,
}

impl Order {
    pub(crate) fn u16(self, value: u16) -> [u8; 2] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(crate) fn u32(self, value: u32) -> [u8; 4] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(crate) fn i64(self, value: i64) -> [u8; 8] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    /// File header of a classic pcap: magic a1b2c3d4 for microseconds, a1b23c4d for nanoseconds.
    pub(crate) fn pcap(self, magic: u32, link: u32) -> Vec<u8> {
        let mut bytes = self.u32(magic).to_vec();
        bytes.extend(self.u16(2));
        bytes.extend(self.u16(4));
        for field in [0, 0, 65535, link] {
            bytes.extend(self.u32(field));
        }
        bytes
    }

    /// A classic record.
    pub(crate) fn record(self, seconds: u32, fraction: u32, wire_len: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for field in [seconds, fraction, data.len() as u32, wire_len] {
            bytes.extend(self.u32(field));
        }
        bytes.extend(data);
        bytes
    }

    /// A pcapng block.
    pub(crate) fn block(self, kind: u32, content: &[u8]) -> Vec<u8> {
        let padded = content.len().next_multiple_of(4);
        let length = self.u32(padded as u32 + 12);
        let mut bytes = self.u32(kind).to_vec();
        bytes.extend(length);
        bytes.extend(content);
        bytes.resize(8 + padded, 0);
        bytes.extend(length);
        bytes
    }

    pub(crate) fn section(self) -> Vec<u8> {
        let mut content = self.u32(0x1a2b_3c4d).to_vec();
        content.extend(self.u16(1));
        content.extend(self.u16(0));
        content.extend(self.i64(-1));
        self.block(0x0a0d_0d0a, &content)
    }

    /// With options given as code and value.
    pub(crate) fn interface(self, link: u16, snap_len: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut content = self.u16(link).to_vec();
        content.extend([0, 0]);
        content.extend(self.u32(snap_len));
        for (code, value) in options {
            content.extend(self.u16(*code));
            content.extend(self.u16(value.len() as u16));
            content.extend(*value);
            content.resize(content.len().next_multiple_of(4), 0);
        }
        self.block(1, &content)
    }

    pub(crate) fn enhanced(self, interface: u32, ticks: u64, wire_len: u32, data: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        for field in [interface, (ticks >> 32) as u32, ticks as u32, data.len() as u32, wire_len] {
            content.extend(self.u32(field));
        }
        content.extend(data);
        self.block(6, &content)
    }

    pub(crate) fn simple(self, wire_len: u32, data: &[u8]) -> Vec<u8> {
        self.block(3, &[&self.u32(wire_len)[..], data].concat())
    }

    pub(crate) fn old_packet(self, interface: u16, ticks: u64, data: &[u8]) -> Vec<u8> {
        let mut content = self.u16(interface).to_vec();
        content.extend([0, 0]);
        for field in [(ticks >> 32) as u32, ticks as u32, data.len() as u32, data.len() as u32] {
            content.extend(self.u32(field));
        }
        content.extend(data);
        self.block(2, &content)
    }
}

pub(crate) const LITTLE: Order = Order { big: false };
pub(crate) const BIG: Order = Order { big: true };
pub(crate) const MICROSECONDS: u32 = 0xa1b2_c3d4;
pub(crate) const NANOSECONDS: u32 = 0xa1b2_3c4d;

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

/// One frame as tests compare it: nanoseconds, link type, wire length, bytes.
pub(crate) type Seen = (i64, u16, u32, Vec<u8>);

/// All frames, and the error at the end if there is one.
pub(crate) fn read_all(source: &mut dyn FrameSource) -> (Vec<Seen>, Option<Error>) {
    let mut seen = Vec::new();
    loop {
        match source.next_frame() {
            Ok(Some(frame)) => {
                seen.push((frame.at.as_nanos(), frame.link, frame.wire_len, frame.data.to_vec()));
            }
            Ok(None) => return (seen, None),
            Err(error) => {
                assert!(source.frame().is_none(), "a frame after an error");
                return (seen, Some(error));
            }
        }
    }
}

pub(crate) fn open_bytes(bytes: &[u8]) -> Result<PcapFile, Error> {
    PcapFile::from_reader("test.pcap", std::io::Cursor::new(bytes.to_vec()))
}

/// A folder with these files in it.
pub(crate) fn folder(files: &[(&str, Vec<u8>)]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let paths = files
        .iter()
        .map(|(name, bytes)| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).expect("a file for the test");
            path
        })
        .collect();
    (folder, paths)
}
