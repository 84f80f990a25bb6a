//! The ZIP around an export's files: every byte of it is accounted for, so that whoever reads it finds the same files.
//!
//! Readers of ZIP differ: some count the directory's entries and others go by its length, some take a file's length from the
//! directory and others read from the front until the compressed data end. What one passes over another unpacks. So the
//! directory has to be exactly as long as its entries, the files lie one behind the other in its order without a byte between
//! them, both headers of a file say the same and nothing else, and its compressed data end where the headers say. Owns the
//! layout (PKWARE APPNOTE 6.3.10, sections 4.3 to 4.5), as far as `Entries` and its like make use of it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::{DIRECTORY_MAX, Problem};

/// Longest name, in bytes.
const NAME_MAX: usize = 120;
/// Bytes unpacked at a time.
const BLOCK_LEN: usize = 64 * 1024;
/// Lengths of the records, without names and extra fields.
const LOCAL_LEN: u64 = 30;
const END_LEN: u64 = 22;
const END64_LEN: u64 = 56;
const LOCATOR_LEN: u64 = 20;
const LOCAL_MAGIC: &[u8] = b"PK\x03\x04";
const CENTRAL_MAGIC: &[u8] = b"PK\x01\x02";
const DESCRIPTOR_MAGIC: &[u8] = b"PK\x07\x08";
const END_MAGIC: &[u8] = b"PK\x05\x06";
const END64_MAGIC: &[u8] = b"PK\x06\x06";
const LOCATOR_MAGIC: &[u8] = b"PK\x06\x07";
/// The only extra field: lengths and offsets of 64 bits.
const ZIP64: u16 = 1;
/// What stands for a value that is in the field of 64 bits.
const ELSEWHERE: u64 = u32::MAX as u64;
/// Flag: checksum and lengths stand behind the data.
const DESCRIPTOR: u16 = 1 << 3;
/// Flags that change nothing: how hard it was compressed, and that the name is UTF-8.
const HARMLESS: u16 = 0b110 | 1 << 11;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// The attribute of a folder, and where the kind of file stands in Unix's.
const FOLDER: u32 = 0x10;
const KIND: u32 = 0o170_000 << 16;
const PLAIN: u32 = 0o100_000 << 16;

/// A ZIP whose every byte belongs to one file in it.
pub(super) struct Container<R> {
    zip: R,
    entries: BTreeMap<String, Entry>,
}

/// A file in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    deflated: bool,
    crc: u32,
    /// Length as it lies in the ZIP.
    packed: u64,
    /// Length unpacked, as the headers have it.
    pub(super) bytes: u64,
    /// Where its data begin.
    at: u64,
}

/// Why a ZIP is not opened.
pub(super) enum Refused {
    /// It cannot be read.
    Io(io::Error),
    /// It is none that an export makes.
    Zip(Problem),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Refused {
        Refused::Io(error)
    }
}

fn refused(member: Option<&str>, what: impl Into<String>) -> Refused {
    Refused::Zip(Problem { member: member.map(str::to_owned), what: what.into() })
}

impl<R: Read + Seek> Container<R> {
    /// Reads the directory and each file's header.
    pub(super) fn open(mut zip: R) -> Result<Container<R>, Refused> {
        let end = End::find(&mut zip)?;
        let directory = bytes_at(&mut zip, end.start, end.len)?;
        let mut fields = Fields(&directory);
        let (mut entries, mut at) = (BTreeMap::new(), 0);
        for number in 0..end.files {
            let central = Central::parse(&mut fields).ok_or_else(|| {
                refused(None, format!("entry {number} of its directory is none of an export"))
            })?;
            let name = central.name;
            if central.header != at {
                return Err(refused(
                    Some(name),
                    format!("there are bytes at {at} that belong to no file in it"),
                ));
            }
            let entry = central.local(&mut zip)?;
            at = central.end(&mut zip, &entry)?;
            if entries.insert(name.to_owned(), entry).is_some() {
                return Err(refused(Some(name), "there are two files of this name"));
            }
        }
        if !fields.0.is_empty() {
            return Err(refused(None, "its directory goes on behind the files that it counts"));
        }
        if at != end.start {
            return Err(refused(None, format!("there are bytes at {at} that belong to no file in it")));
        }
        Ok(Container { zip, entries })
    }

    /// The names of its files.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The file of a name.
    pub(super) fn entry(&self, name: &str) -> Option<Entry> {
        self.entries.get(name).copied()
    }

    /// Unpacks a file into `out`, never further than its header says. Within: what is wrong with it.
    ///
    /// # Errors
    /// When the ZIP cannot be read or `out` does not take it.
    pub(super) fn unpack(&mut self, entry: &Entry, out: &mut dyn Write) -> io::Result<Result<(), String>> {
        self.zip.seek(SeekFrom::Start(entry.at))?;
        let mut packed = BufReader::with_capacity(BLOCK_LEN, self.zip.by_ref().take(entry.packed));
        let (mut inflate, mut crc) = (Decompress::new(false), Crc::new());
        let (mut block, mut bytes, mut used) = (vec![0; BLOCK_LEN], 0_u64, 0_u64);
        loop {
            let there = packed.fill_buf()?;
            let (read, made, ended) = if entry.deflated {
                let before = (inflate.total_in(), inflate.total_out());
                let status = match inflate.decompress(there, &mut block, FlushDecompress::None) {
                    Ok(status) => status,
                    Err(error) => return Ok(Err(format!("it was changed: {error}"))),
                };
                let (read, made) = (inflate.total_in() - before.0, inflate.total_out() - before.1);
                (read as usize, made as usize, status == Status::StreamEnd)
            } else {
                block.get_mut(..there.len()).unwrap_or_default().copy_from_slice(there);
                (there.len(), there.len(), there.is_empty())
            };
            packed.consume(read);
            let unpacked = block.get(..made).unwrap_or_default();
            (used, bytes) = (used + read as u64, bytes + made as u64);
            if bytes > entry.bytes {
                return Ok(Err("it was changed: it is longer than its header says".to_owned()));
            }
            crc.update(unpacked);
            out.write_all(unpacked)?;
            if ended {
                break;
            }
            if read == 0 && made == 0 {
                return Ok(Err("it was changed: its compressed data have no end".to_owned()));
            }
        }
        Ok(if used != entry.packed {
            Err("it was changed: there is something behind its compressed data".to_owned())
        } else if bytes != entry.bytes || crc.sum() != entry.crc {
            Err("it was changed: it is not of the length and checksum that its header says".to_owned())
        } else {
            Ok(())
        })
    }
}

/// Where the directory lies.
struct End {
    files: u64,
    start: u64,
    len: u64,
}

impl End {
    /// Reads the record at the end of the file, and that of 64 bits before it.
    fn find<R: Read + Seek>(zip: &mut R) -> Result<End, Refused> {
        let none = "it does not end as a ZIP of an export does: it was cut, or something was added behind it";
        let len = zip.seek(SeekFrom::End(0))?;
        let at = len.checked_sub(END_LEN).ok_or_else(|| refused(None, none))?;
        let record = bytes_at(zip, at, END_LEN)?;
        let short = End::parse(&record).ok_or_else(|| refused(None, none))?;
        let contradicts = || refused(None, "its directory is not where, or not what, its end record says");
        let (end, at) = match at.checked_sub(LOCATOR_LEN + END64_LEN) {
            Some(wide_at) => {
                let records = bytes_at(zip, wide_at, END64_LEN + LOCATOR_LEN)?;
                let (record, locator) = records.split_at(records.len().min(END64_LEN as usize));
                if locator.starts_with(LOCATOR_MAGIC) {
                    let wide = End::parse_wide(record, locator, wide_at).ok_or_else(contradicts)?;
                    if !short.agrees(&wide) {
                        return Err(contradicts());
                    }
                    (wide, wide_at)
                } else {
                    (short, at)
                }
            }
            None => (short, at),
        };
        if end.start.checked_add(end.len) != Some(at) {
            return Err(contradicts());
        }
        if end.len > DIRECTORY_MAX {
            return Err(refused(None, format!("its directory is longer than {DIRECTORY_MAX} bytes")));
        }
        Ok(end)
    }

    /// The end record: one disk, no comment.
    fn parse(record: &[u8]) -> Option<End> {
        let mut fields = Fields(record);
        fields.magic(END_MAGIC)?;
        let (disk, first) = (fields.u16()?, fields.u16()?);
        let (here, files) = (fields.u16()?, fields.u16()?);
        let (len, start) = (fields.u32()?, fields.u32()?);
        let comment = fields.u16()?;
        ((disk, first, comment) == (0, 0, 0) && here == files).then_some(End {
            files: files.into(),
            start: start.into(),
            len: len.into(),
        })
    }

    /// The end record of 64 bits, which stands at `at`, and the locator behind it that says so.
    fn parse_wide(record: &[u8], locator: &[u8], at: u64) -> Option<End> {
        let mut fields = Fields(locator);
        fields.magic(LOCATOR_MAGIC)?;
        if (fields.u32()?, fields.u64()?, fields.u32()?) != (0, at, 1) {
            return None;
        }
        let mut fields = Fields(record);
        fields.magic(END64_MAGIC)?;
        let rest = fields.u64()?;
        let _versions = fields.u32()?;
        let (disk, first) = (fields.u32()?, fields.u32()?);
        let (here, files) = (fields.u64()?, fields.u64()?);
        let (len, start) = (fields.u64()?, fields.u64()?);
        (rest == END64_LEN - 12 && (disk, first) == (0, 0) && here == files).then_some(End {
            files,
            start,
            len,
        })
    }

    /// Does this record say the same as that of 64 bits, where it can?
    fn agrees(&self, wide: &End) -> bool {
        let same = |short: u64, wide: u64, none: u64| short == wide || short == none;
        same(self.files, wide.files, u16::MAX.into())
            && same(self.start, wide.start, ELSEWHERE)
            && same(self.len, wide.len, ELSEWHERE)
    }
}

/// An entry of the directory.
struct Central<'a> {
    name: &'a str,
    /// Flags, method, time and date, which both headers have in this order.
    common: [u8; 8],
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    bytes: u64,
    /// Where the file's own header begins.
    header: u64,
}

impl<'a> Central<'a> {
    /// The next one; none where it is not as an export writes it.
    fn parse(fields: &mut Fields<'a>) -> Option<Central<'a>> {
        fields.magic(CENTRAL_MAGIC)?;
        let _versions = fields.u32()?;
        let common: [u8; 8] = fields.take(8)?.try_into().ok()?;
        let mut within = Fields(&common);
        let (flags, method) = (within.u16()?, within.u16()?);
        let crc = fields.u32()?;
        let (packed, bytes) = (fields.u32()?, fields.u32()?);
        let (name_len, extra_len, comment_len) = (fields.u16()?, fields.u16()?, fields.u16()?);
        let (disk, _internal, external) = (fields.u16()?, fields.u16()?, fields.u32()?);
        let header = fields.u32()?;
        let name = std::str::from_utf8(fields.take(name_len.into())?).ok().filter(|name| is_ours(name))?;
        let mut extra = Fields(fields.take(extra_len.into())?);
        // The field has a value for each that does not fit, in this order, and nothing else.
        let mut wide = [bytes, packed, header].map(u64::from);
        if wide.contains(&ELSEWHERE) {
            let (tag, len) = (extra.u16()?, extra.u16()?);
            if tag != ZIP64 || usize::from(len) != extra.0.len() {
                return None;
            }
            for value in wide.iter_mut().filter(|value| **value == ELSEWHERE) {
                *value = extra.u64()?;
            }
        }
        let [bytes, packed, header] = wide;
        let kind = external & KIND;
        let ours = extra.0.is_empty()
            && (comment_len, disk) == (0, 0)
            && flags & !(DESCRIPTOR | HARMLESS) == 0
            && (method == DEFLATED || method == STORED && packed == bytes)
            && (kind == 0 || kind == PLAIN)
            && external & FOLDER == 0;
        ours.then_some(Central { name, common, flags, method, crc, packed, bytes, header })
    }

    /// Compares the file's own header with this one.
    fn local<R: Read + Seek>(&self, zip: &mut R) -> Result<Entry, Refused> {
        let len = LOCAL_LEN + self.name.len() as u64;
        let header = bytes_at(zip, self.header, len)?;
        if !self.is_repeated(&header).unwrap_or(false) {
            return Err(refused(Some(self.name), "its header says something else than the directory"));
        }
        Ok(Entry {
            deflated: self.method == DEFLATED,
            crc: self.crc,
            packed: self.packed,
            bytes: self.bytes,
            at: self.header + len,
        })
    }

    fn is_repeated(&self, header: &[u8]) -> Option<bool> {
        let mut fields = Fields(header);
        fields.magic(LOCAL_MAGIC)?;
        let _version = fields.u16()?;
        let common = fields.take(8)?;
        let sums = (fields.u32()?, u64::from(fields.u32()?), u64::from(fields.u32()?));
        let expected =
            if self.flags & DESCRIPTOR == 0 { (self.crc, self.packed, self.bytes) } else { (0, 0, 0) };
        let (name_len, extra_len) = (fields.u16()?, fields.u16()?);
        let same = common == self.common && sums == expected && extra_len == 0;
        Some(same && usize::from(name_len) == self.name.len() && fields.0 == self.name.as_bytes())
    }

    /// Where the file ends, with the descriptor behind its data.
    fn end<R: Read + Seek>(&self, zip: &mut R, entry: &Entry) -> Result<u64, Refused> {
        let no_end = || refused(Some(self.name), "what stands behind its data contradicts the directory");
        let end = entry.at.checked_add(self.packed).ok_or_else(no_end)?;
        if self.flags & DESCRIPTOR == 0 {
            return Ok(end);
        }
        let sums = [DESCRIPTOR_MAGIC, &self.crc.to_le_bytes()[..]].concat();
        let wide = [&sums[..], &self.packed.to_le_bytes(), &self.bytes.to_le_bytes()].concat();
        let there = bytes_at(zip, end, wide.len() as u64)?;
        if let (Ok(packed), Ok(bytes)) = (u32::try_from(self.packed), u32::try_from(self.bytes)) {
            let short = [&sums[..], &packed.to_le_bytes(), &bytes.to_le_bytes()].concat();
            if there.starts_with(&short) {
                return Ok(end + short.len() as u64);
            }
        }
        if there == wide { Ok(end + wide.len() as u64) } else { Err(no_end()) }
    }
}

/// A name that an export can have: letters, digits, `.`, `-` and `/`, in no other folder than its own.
fn is_ours(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    name.len() <= NAME_MAX
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "./-".contains(c))
        && name.split('/').all(part)
}

/// So many bytes from there; fewer where the file ends before.
fn bytes_at<R: Read + Seek>(zip: &mut R, at: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // No file is that long; a position beyond it would be refused by the system.
    if i64::try_from(at).is_ok() {
        zip.seek(SeekFrom::Start(at))?;
        zip.by_ref().take(len.min(DIRECTORY_MAX)).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Little-endian fields, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn magic(&mut self, magic: &[u8]) -> Option<()> {
        (self.take(magic.len())? == magic).then_some(())
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
}
