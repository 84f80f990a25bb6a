//! The bytes of a capture file, unpacked when they are gzip, in one buffer that frames are borrowed from.
//!
//! Owns reading, unpacking and the place in the file. Does not know what a record is ([`crate::file`]).

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

/// Bytes of the buffer; a record must fit in.
pub(crate) const BUFFER_BYTES: usize = 512 * 1024;

/// Bytes read at a time, always into the same place: what was just read is still in a core's own cache when it is looked at.
const READ_BYTES: usize = 64 * 1024;

/// Bytes looked at to tell what a file is.
const HEAD_BYTES: usize = 64;

/// Two bytes at the start of each gzip member (RFC 1952, 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A byte stream with a window on it.
pub(crate) struct Input {
    reader: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    /// The window: read and not consumed.
    start: usize,
    end: usize,
    /// Bytes consumed.
    offset: u64,
    ended: bool,
}

impl Input {
    /// Opens a file; `-` is the standard input.
    pub(crate) fn open(path: &Path) -> io::Result<Input> {
        if path.as_os_str() == "-" {
            return Input::new(Box::new(io::stdin()));
        }
        Input::new(Box::new(File::open(path)?))
    }

    /// From any bytes; those of a gzip file are unpacked.
    pub(crate) fn new(reader: Box<dyn Read + Send>) -> io::Result<Input> {
        let mut input = Input::over(reader);
        input.fill(GZIP.len())?;
        if !input.window().starts_with(&GZIP) {
            return Ok(input);
        }
        // What was read to find this out stands before the rest.
        let head = io::Cursor::new(input.window().to_vec());
        let packed = BufReader::with_capacity(64 * 1024, head.chain(input.reader));
        Ok(Input::over(Box::new(MultiGzDecoder::new(packed))))
    }

    fn over(reader: Box<dyn Read + Send>) -> Input {
        Input { reader, buffer: vec![0; BUFFER_BYTES], start: 0, end: 0, offset: 0, ended: false }
    }

    /// What was read and not consumed.
    #[inline]
    pub(crate) fn window(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// A part of the window.
    #[inline]
    pub(crate) fn part(&self, from: usize, length: usize) -> &[u8] {
        self.window().get(from..).and_then(|rest| rest.get(..length)).unwrap_or_default()
    }

    /// Place of the window's first byte.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The first bytes, to tell what the file is; fewer when it is shorter.
    pub(crate) fn head(&mut self) -> io::Result<&[u8]> {
        self.fill(HEAD_BYTES)?;
        Ok(self.part(0, HEAD_BYTES.min(self.window().len())))
    }

    /// Reads until the window holds `want` bytes; false when the file ends before or the buffer is smaller.
    #[inline]
    pub(crate) fn fill(&mut self, want: usize) -> io::Result<bool> {
        if self.end - self.start >= want { Ok(true) } else { self.read_on(want) }
    }

    #[cold]
    fn read_on(&mut self, want: usize) -> io::Result<bool> {
        if want > self.buffer.len() {
            return Ok(false);
        }
        // What is left is a part of a record.
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while !self.ended && self.end < want {
            let Some(space) = self.buffer.get_mut(self.end..want.max(READ_BYTES)) else { break };
            match self.reader.read(space) {
                Ok(0) => self.ended = true,
                Ok(count) => self.end = self.end.saturating_add(count).min(self.buffer.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.end >= want)
    }

    /// Forgets the first `count` bytes of the window.
    #[inline]
    pub(crate) fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.offset = self.offset.saturating_add(count as u64);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Passes over `count` bytes, more than the buffer holds perhaps; false when the file ends before.
    pub(crate) fn skip(&mut self, mut count: u64) -> io::Result<bool> {
        while count > 0 {
            if !self.fill(1)? {
                return Ok(false);
            }
            let step = usize::try_from(count).unwrap_or(usize::MAX).min(self.end - self.start);
            self.consume(step);
            count = count.saturating_sub(step as u64);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_moves_over_the_file_without_losing_a_byte() {
        let bytes: Vec<u8> = (0..3 * BUFFER_BYTES).map(|place| (place * 31 % 251) as u8).collect();
        let mut input = Input::new(Box::new(io::Cursor::new(bytes.clone()))).expect("memory can be read");
        let mut place = 0;
        // The whole buffer wanted from its second byte on is the case at the edge.
        for step in [1, BUFFER_BYTES - 1, 1, 77, BUFFER_BYTES] {
            assert!(input.fill(BUFFER_BYTES).expect("memory can be read"), "at {place}");
            assert_eq!(input.window(), &bytes[place..place + BUFFER_BYTES]);
            assert_eq!(input.offset(), place as u64);
            input.consume(step);
            place += step;
        }
        assert!(!input.fill(BUFFER_BYTES + 1).expect("memory can be read"));
        assert!(input.skip((bytes.len() - place) as u64).expect("memory can be read"));
        assert!(!input.skip(1).expect("memory can be read"));
        assert!(input.window().is_empty());
    }
}
