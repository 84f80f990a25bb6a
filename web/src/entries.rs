//! A ZIP written front to back, with the SHA-256 of every file in it.
//!
//! Times in it come from the recordings and never from a clock: the same export is the same bytes. A ZIP that failed
//! halfway gets no directory, so that nobody takes it for whole.

use std::cell::Cell;
use std::io::{self, BufWriter, Write};
use std::rc::Rc;

use decode::Timestamp;
use sha2::{Digest, Sha256};
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::error::Error;
use crate::manifest::Member;

/// Bytes collected before they are hashed and packed.
const BUFFER_LEN: usize = 64 * 1024;

/// How well a file's content shrinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// It does not: already coded audio.
    Stored,
    /// Somewhat, and there is much of it: samples.
    Fast,
    /// Well: text.
    Small,
}

/// A ZIP being written.
pub(crate) struct Entries<W: Write> {
    zip: ZipWriter<StreamWriter<Tap<W>>>,
    broken: Rc<Cell<bool>>,
    members: Vec<Member>,
}

impl<W: Write> Entries<W> {
    /// An empty one.
    pub(crate) fn new(out: W) -> Self {
        let broken = Rc::new(Cell::new(false));
        let tap = Tap { out, bytes: 0, broken: Rc::clone(&broken) };
        Entries { zip: ZipWriter::new_stream(tap), broken, members: Vec::new() }
    }

    /// Adds the file `name`, dated `when`, with the content that `fill` writes. Gives back what `fill` gave and the
    /// length of the content in bytes.
    pub(crate) fn add<T>(
        &mut self,
        name: &str,
        when: Timestamp,
        packing: Packing,
        fill: impl FnOnce(&mut dyn Write) -> Result<T, Error>,
    ) -> Result<(T, u64), Error> {
        let done = self.try_add(name, when, packing, fill);
        // ZipWriter completes the archive when it is dropped, whatever happened before.
        self.broken.set(self.broken.get() || done.is_err());
        done
    }

    fn try_add<T>(
        &mut self,
        name: &str,
        when: Timestamp,
        packing: Packing,
        fill: impl FnOnce(&mut dyn Write) -> Result<T, Error>,
    ) -> Result<(T, u64), Error> {
        let options = SimpleFileOptions::default().last_modified_time(dos_time(when)).unix_permissions(0o644);
        self.zip.start_file(
            name,
            match packing {
                Packing::Stored => options.compression_method(CompressionMethod::Stored),
                Packing::Fast => options.compression_level(Some(1)),
                Packing::Small => options.compression_level(Some(6)),
            },
        )?;
        // JSON is written in pieces of some bytes; hashing and deflating want more at a time.
        let hashed = Hashed { out: &mut self.zip, hash: Sha256::new(), bytes: 0 };
        let mut buffered = BufWriter::with_capacity(BUFFER_LEN, hashed);
        let value = fill(&mut buffered)?;
        let hashed = buffered.into_inner().map_err(io::IntoInnerError::into_error)?;
        let (hash, bytes) = (hashed.hash.finalize(), hashed.bytes);
        self.members.push(Member { name: name.to_owned(), bytes, sha256: hex(&hash) });
        Ok((value, bytes))
    }

    /// What `sha256sum -c` reads: every file so far.
    pub(crate) fn sums(&self) -> String {
        self.members.iter().map(|member| format!("{}  {}\n", member.sha256, member.name)).collect()
    }

    /// Every file so far.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Completes the ZIP; its length in bytes.
    pub(crate) fn finish(self) -> Result<u64, Error> {
        let mut tap = self.zip.finish()?.into_inner();
        tap.flush()?;
        Ok(tap.bytes)
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |digit: u8| char::from_digit(u32::from(digit), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Counts what goes out, and lets nothing more out of a ZIP that is broken.
struct Tap<W> {
    out: W,
    bytes: u64,
    broken: Rc<Cell<bool>>,
}

impl<W: Write> Write for Tap<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.broken.get() {
            return Ok(bytes.len());
        }
        let written = self.out.write(bytes)?;
        self.bytes = self.bytes.saturating_add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.broken.get() { Ok(()) } else { self.out.flush() }
    }
}

struct Hashed<W> {
    out: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or(bytes));
        self.bytes = self.bytes.saturating_add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Hour, minute and second of the day, UTC.
pub(crate) fn time_of_day(at: Timestamp) -> (i64, i64, i64) {
    let second = at.as_millis().rem_euclid(86_400_000) / 1_000;
    (second / 3_600, second / 60 % 60, second % 60)
}

/// A ZIP's idea of a time (1980 to 2107, even seconds), here in UTC; 1980 for what it cannot say.
fn dos_time(at: Timestamp) -> DateTime {
    let ((year, month, day), (h, m, s)) = (at.date(), time_of_day(at));
    u16::try_from(year)
        .ok()
        .and_then(|year| {
            DateTime::from_date_and_time(year, month as u8, day as u8, h as u8, m as u8, s as u8).ok()
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use super::*;

    #[test]
    fn files_come_back_with_their_sums() {
        let mut file = Vec::new();
        let mut entries = Entries::new(&mut file);
        let when = Timestamp::from_millis(1_767_225_600_000);
        for (name, packing) in [("a", Packing::Stored), ("b", Packing::Fast), ("c", Packing::Small)] {
            let ((), bytes) = entries
                .add(name, when, packing, |out| Ok(out.write_all(b"abc")?))
                .expect("a Vec takes everything");
            assert_eq!(bytes, 3);
        }
        let sums = entries.sums();
        let bytes = entries.finish().expect("a Vec takes everything");
        assert_eq!(bytes, file.len() as u64);
        // FIPS 180-2, B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sums, format!("{abc}  a\n{abc}  b\n{abc}  c\n"));
        let mut zip = zip::ZipArchive::new(Cursor::new(file)).expect("a ZIP");
        for name in ["a", "b", "c"] {
            let mut entry = zip.by_name(name).expect("the file");
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("readable");
            assert_eq!(text, "abc");
            assert_eq!(entry.last_modified().map(|t| t.to_string()), Some("2026-01-01 00:00:00".to_owned()));
        }
    }

    #[test]
    fn a_zip_that_failed_halfway_does_not_open() {
        let mut file = Vec::new();
        let mut entries = Entries::new(&mut file);
        let failed = entries.add("a", Timestamp::default(), Packing::Stored, |out| -> Result<(), Error> {
            out.write_all(b"half")?;
            Err(Error::TooLong { hours: 1 })
        });
        assert!(failed.is_err());
        drop(entries);
        assert!(zip::ZipArchive::new(Cursor::new(file)).is_err());
    }

    #[test]
    fn a_time_that_a_zip_cannot_say_is_no_error() {
        for at in [Timestamp::MIN, Timestamp::default(), Timestamp::from_nanos(i64::MAX)] {
            assert!(dos_time(at).is_valid(), "{at}");
        }
    }
}
