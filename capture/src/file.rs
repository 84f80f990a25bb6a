//! Capture files: classic pcap and pcapng, packed with gzip or not, told apart by their first bytes.
//!
//! The formats' headers and blocks are read by pcap-parser; what is ours is the buffer, the bounds, the clock of each
//! interface and what happens when a file lies. libpcap is not used for files because it refuses pcapng whose interfaces
//! differ in link type. Formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use decode::{Frame, Timestamp};
use pcap_parser::{
    Block, DecryptionSecretsBlock, EnhancedPacketBlock, InterfaceDescriptionBlock, OptionCode, PcapHeader,
    SecretsType, parse_block_be, parse_block_le, parse_enhancedpacketblock_be, parse_enhancedpacketblock_le,
    parse_pcap_frame, parse_pcap_frame_be, parse_pcap_frame_modified, parse_pcap_header,
    traits::PcapNGPacketBlock,
};

use crate::input::{BUFFER_BYTES, Input};
use crate::{Counters, Error, FrameSource, LooksLike};

/// Captured bytes of a frame; a larger one is left out and counted. libpcap's own limit.
pub const FRAME_BYTES_MAX: u32 = 256 * 1024;
/// Interfaces of one pcapng section; the packets of any further ones are left out.
pub const INTERFACES_MAX: usize = 4096;

/// Bytes of TLS secrets that one file may give between two frames; more are left out.
pub const TLS_SECRETS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One capture file.
pub struct PcapFile {
    path: PathBuf,
    source: u16,
    input: Input,
    format: Format,
    current: Option<Current>,
    /// Of the frame before: a pcapng simple packet has no time of its own.
    last: Timestamp,
    counters: Counters,
    finished: bool,
}

/// Where the current frame is.
#[derive(Clone, Copy)]
struct Current {
    at: Timestamp,
    link: u16,
    wire_len: u32,
    /// In the input's window.
    from: usize,
    length: usize,
    /// Of the whole record.
    record: usize,
}

enum Format {
    Classic(Classic),
    Next(Section),
}

/// Classic pcap: one link type and one clock for the whole file.
struct Classic {
    link: u16,
    big_endian: bool,
    /// The variant of some Linux kernels of 1999, with 24 bytes of record header.
    modified: bool,
    /// Nanoseconds in one unit of the fraction: 1000, or 1 in a nanosecond file.
    fraction_ns: u32,
}

/// The part of a pcapng file behind a section header.
#[derive(Default)]
struct Section {
    big_endian: bool,
    interfaces: Vec<Interface>,
    /// Key log lines of the Decryption Secrets Blocks, not taken yet.
    tls_secrets: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Interface {
    link: u16,
    /// Captured length at most; 0 for no limit.
    snap_len: u32,
    clock: Clock,
}

/// How an interface's timestamps count.
#[derive(Clone, Copy)]
struct Clock {
    /// Of one second.
    ticks: u64,
    /// Seconds to add.
    offset_s: i64,
}

/// Block types that hold a packet.
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
/// The packet block of the drafts before 2009.
const OLD_PACKET: u32 = 2;
/// Where the data begins in a block of either of these two kinds.
const PACKET_DATA_AT: usize = 28;
/// Reads the same in both byte orders.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

/// What a look at the next record found.
enum Found {
    Frame(Current),
    /// Something without a frame in it; it is consumed.
    Other,
    End,
    /// No record, or not all of it.
    Broken,
}

impl PcapFile {
    /// Opens a file; `-` is the standard input.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when it cannot be read, [`Error::NotACapture`] when it is something else.
    pub fn open(path: impl AsRef<Path>) -> Result<PcapFile, Error> {
        let path = path.as_ref();
        let input = Input::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        PcapFile::over(path, input)
    }

    /// From bytes that come from anywhere; `name` stands for the path in errors.
    ///
    /// # Errors
    ///
    /// As [`PcapFile::open`].
    pub fn from_reader(
        name: impl AsRef<Path>,
        reader: impl Read + Send + 'static,
    ) -> Result<PcapFile, Error> {
        let path = name.as_ref();
        let input =
            Input::new(Box::new(reader)).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        PcapFile::over(path, input)
    }

    /// The same file with another number in its frames' `source`; 0 unless set.
    #[must_use]
    pub fn with_source(self, source: u16) -> PcapFile {
        PcapFile { source, ..self }
    }

    /// As given to [`PcapFile::open`].
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn over(path: &Path, mut input: Input) -> Result<PcapFile, Error> {
        let path = path.to_owned();
        let head = match input.head() {
            Ok(head) => head,
            Err(source) if is_damage(&source) => {
                return Err(Error::NotACapture {
                    path,
                    looks_like: LooksLike::Format("a damaged gzip file"),
                });
            }
            Err(source) => return Err(Error::Io { path, source }),
        };
        let (format, header) = match parse_pcap_header(head) {
            _ if head.starts_with(&SECTION_HEADER.to_be_bytes()) => (Format::Next(Section::default()), 0),
            Ok((_, header)) => (Format::Classic(Classic::new(&header)), header.size()),
            Err(_) => {
                let looks_like = LooksLike::of(head);
                return Err(Error::NotACapture { path, looks_like });
            }
        };
        input.consume(header);
        Ok(PcapFile {
            path,
            source: 0,
            input,
            format,
            current: None,
            last: Timestamp::default(),
            counters: Counters::default(),
            finished: false,
        })
    }

    /// Ends the file with the error that its state calls for.
    fn broken(&mut self, offset: u64) -> Error {
        self.finished = true;
        Error::Cut { path: self.path.clone(), frames: self.counters.frames, offset }
    }
}

impl FrameSource for PcapFile {
    fn advance(&mut self) -> Result<bool, Error> {
        if let Some(current) = self.current.take() {
            self.input.consume(current.record);
        }
        while !self.finished {
            let offset = self.input.offset();
            let found = match &mut self.format {
                Format::Classic(classic) => classic.look(&mut self.input, &mut self.counters),
                Format::Next(section) => section.look(&mut self.input, self.last, &mut self.counters),
            };
            match found {
                Ok(Found::Frame(current)) => {
                    self.counters.frames += 1;
                    self.counters.bytes += current.length as u64;
                    self.last = current.at;
                    self.current = Some(current);
                    return Ok(true);
                }
                Ok(Found::Other) => {}
                Ok(Found::End) => self.finished = true,
                Ok(Found::Broken) => return Err(self.broken(offset)),
                Err(error) if is_damage(&error) => return Err(self.broken(offset)),
                Err(source) => {
                    self.finished = true;
                    return Err(Error::Io { path: self.path.clone(), source });
                }
            }
        }
        Ok(false)
    }

    #[inline]
    fn frame(&self) -> Option<Frame<'_>> {
        let current = self.current?;
        Some(Frame {
            at: current.at,
            link: current.link,
            source: self.source,
            wire_len: current.wire_len,
            data: self.input.part(current.from, current.length),
        })
    }

    fn look_ahead<'a>(&'a self, places: &mut [Frame<'a>]) -> usize {
        // Classic files alone: of a pcapng file's blocks not all are frames.
        let (Format::Classic(classic), Some(current)) = (&self.format, self.current) else { return 0 };
        classic.look_ahead(self.input.window(), current.record, places)
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn take_tls_secrets(&mut self) -> Option<Vec<u8>> {
        match &mut self.format {
            Format::Next(section) if !section.tls_secrets.is_empty() => {
                Some(std::mem::take(&mut section.tls_secrets))
            }
            _ => None,
        }
    }
}

impl std::fmt::Debug for PcapFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PcapFile")
            .field("path", &self.path)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// Does the error say that packed data is cut or wrong, rather than that the disk failed?
fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
    )
}

fn u32_at(bytes: &[u8], at: usize, big_endian: bool) -> u32 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).copied().unwrap_or_default();
    if big_endian { u32::from_be_bytes(field) } else { u32::from_le_bytes(field) }
}

impl Classic {
    fn new(header: &PcapHeader) -> Classic {
        Classic {
            // The upper half says whether frames end with a check sequence; the IP length cuts that off.
            link: (header.network.0.cast_unsigned() & 0xffff) as u16,
            big_endian: header.is_bigendian(),
            modified: header.is_modified_format(),
            fraction_ns: if header.is_nanosecond_precision() { 1 } else { 1000 },
        }
    }

    #[inline]
    /// Frames from this place of the window on, as far as they lie in it.
    fn look_ahead<'a>(&self, window: &'a [u8], mut at: usize, places: &mut [Frame<'a>]) -> usize {
        let header = if self.modified { 24 } else { 16 };
        let mut found = 0;
        for place in places {
            let Some(record) = window.get(at..).filter(|rest| rest.len() >= header) else { break };
            let (captured, wire_len) =
                (u32_at(record, 8, self.big_endian) as usize, u32_at(record, 12, self.big_endian));
            let Some(data) = record.get(header..).and_then(|rest| rest.get(..captured)) else { break };
            *place = Frame { link: self.link, wire_len, data, ..*place };
            at += header + captured;
            found += 1;
        }
        found
    }

    fn look(&self, input: &mut Input, counters: &mut Counters) -> io::Result<Found> {
        let header = if self.modified { 24 } else { 16 };
        if !input.fill(header)? {
            return Ok(if input.window().is_empty() { Found::End } else { Found::Broken });
        }
        let captured = u32_at(input.window(), 8, self.big_endian);
        if captured > FRAME_BYTES_MAX {
            // Perhaps a true frame of a strange link, perhaps a lie: a lie reaches behind the end of the file.
            let record = u64::from(captured).saturating_add(header as u64);
            return Ok(if input.skip(record)? {
                counters.oversized += 1;
                Found::Other
            } else {
                Found::Broken
            });
        }
        let record = header.saturating_add(captured as usize);
        if !input.fill(record)? {
            return Ok(Found::Broken);
        }
        let parse = match (self.modified, self.big_endian) {
            (true, _) => parse_pcap_frame_modified,
            (false, true) => parse_pcap_frame_be,
            (false, false) => parse_pcap_frame,
        };
        let Ok((_, block)) = parse(input.window()) else { return Ok(Found::Broken) };
        let nanos = i64::from(block.ts_usec).saturating_mul(i64::from(self.fraction_ns));
        Ok(Found::Frame(Current {
            at: Timestamp::from_parts(i64::from(block.ts_sec), nanos),
            link: self.link,
            wire_len: block.origlen.max(captured),
            from: header,
            length: block.data.len(),
            record,
        }))
    }
}

impl Section {
    fn look(&mut self, input: &mut Input, last: Timestamp, counters: &mut Counters) -> io::Result<Found> {
        if !input.fill(12)? {
            return Ok(if input.window().is_empty() { Found::End } else { Found::Broken });
        }
        let kind = u32_at(input.window(), 0, self.big_endian);
        if kind == SECTION_HEADER {
            let big = u32_at(input.window(), 8, true) == BYTE_ORDER_MAGIC;
            if !big && u32_at(input.window(), 8, false) != BYTE_ORDER_MAGIC {
                return Ok(Found::Broken);
            }
            let tls_secrets = std::mem::take(&mut self.tls_secrets);
            *self = Section { big_endian: big, interfaces: Vec::new(), tls_secrets };
        }
        let length = u32_at(input.window(), 4, self.big_endian);
        if length < 12 {
            return Ok(Found::Broken);
        }
        if length as usize > BUFFER_BYTES {
            counters.oversized += u64::from(matches!(kind, SIMPLE_PACKET | ENHANCED_PACKET | OLD_PACKET));
            return Ok(if input.skip(u64::from(length))? { Found::Other } else { Found::Broken });
        }
        let length = length as usize;
        if !input.fill(length)? {
            return Ok(Found::Broken);
        }
        let block = input.part(0, length);
        if u32_at(block, length - 4, self.big_endian) as usize != length {
            return Ok(Found::Broken);
        }
        let frame = if kind == ENHANCED_PACKET {
            // Nearly all blocks are of this kind: they do not go through the parser's type of all kinds.
            let parse =
                if self.big_endian { parse_enhancedpacketblock_be } else { parse_enhancedpacketblock_le };
            parse(block).map_err(|_| BadBlock).and_then(|(_, enhanced)| self.enhanced(&enhanced, length))
        } else {
            let parse = if self.big_endian { parse_block_be } else { parse_block_le };
            parse(block).map_err(|_| BadBlock).and_then(|(_, parsed)| self.other(&parsed, length, last))
        };
        match frame {
            Ok(Some(current)) if current.length > FRAME_BYTES_MAX as usize => counters.oversized += 1,
            Ok(Some(current)) => return Ok(Found::Frame(current)),
            Ok(None) => {}
            // Both of its lengths agree, so what follows can be found: only this block is lost.
            Err(BadBlock) => counters.bad_blocks += 1,
        }
        input.consume(length);
        Ok(Found::Other)
    }

    fn enhanced(&self, packet: &EnhancedPacketBlock<'_>, record: usize) -> Result<Option<Current>, BadBlock> {
        let interface = self.interfaces.get(packet.if_id as usize).ok_or(BadBlock)?;
        let at = interface.clock.at(packet.ts_high, packet.ts_low);
        let length = packet.packet_data().len();
        Ok(Some(Current::in_block(at, interface, packet.origlen, PACKET_DATA_AT, length, record)))
    }

    /// Takes what any other block says; a frame when it holds one.
    fn other(
        &mut self,
        block: &Block<'_>,
        record: usize,
        last: Timestamp,
    ) -> Result<Option<Current>, BadBlock> {
        match block {
            Block::InterfaceDescription(description) => {
                self.describe(description);
                Ok(None)
            }
            Block::SimplePacket(simple) => {
                let interface = self.interfaces.first().ok_or(BadBlock)?;
                let limit = if interface.snap_len == 0 { usize::MAX } else { interface.snap_len as usize };
                let length = simple.packet_data().len().min(limit);
                Ok(Some(Current::in_block(last, interface, simple.origlen, 12, length, record)))
            }
            Block::DecryptionSecrets(secrets) => {
                self.keep_secrets(secrets);
                Ok(None)
            }
            Block::Unknown(unknown) if is_old_packet(unknown.block_type, self.big_endian) => {
                self.old_packet(unknown.data, record)
            }
            _ => Ok(None),
        }
    }

    /// Each block is a whole key log; its last line may lack its end.
    fn keep_secrets(&mut self, secrets: &DecryptionSecretsBlock<'_>) {
        let Some(lines) = secrets.data.get(..secrets.secrets_len as usize) else { return };
        let is_room = self.tls_secrets.len().saturating_add(lines.len()) < TLS_SECRETS_BYTES_MAX;
        if secrets.secrets_type == SecretsType::TlsKeyLog && is_room {
            self.tls_secrets.extend_from_slice(lines);
            self.tls_secrets.push(b'\n');
        }
    }

    fn describe(&mut self, description: &InterfaceDescriptionBlock<'_>) {
        if self.interfaces.len() >= INTERFACES_MAX {
            return;
        }
        let mut clock = Clock { ticks: 1_000_000, offset_s: 0 };
        for option in &description.options {
            clock.apply(option.code, option.as_bytes().unwrap_or_default(), self.big_endian);
        }
        self.interfaces.push(Interface {
            link: (description.linktype.0.cast_unsigned() & 0xffff) as u16,
            snap_len: description.snaplen,
            clock,
        });
    }

    /// As an enhanced packet, but with 16 bits of interface number, and 16 of a drop counter that nobody keeps.
    fn old_packet(&self, data: &[u8], record: usize) -> Result<Option<Current>, BadBlock> {
        let field = |at| u32_at(data, at, self.big_endian);
        let number = if self.big_endian { field(0) >> 16 } else { field(0) & 0xffff };
        let interface = self.interfaces.get(number as usize).ok_or(BadBlock)?;
        let length = field(12) as usize;
        if data.get(20..).is_none_or(|rest| rest.len() < length) {
            return Err(BadBlock);
        }
        let at = interface.clock.at(field(4), field(8));
        Ok(Some(Current::in_block(at, interface, field(16), PACKET_DATA_AT, length, record)))
    }
}

impl Current {
    fn in_block(
        at: Timestamp,
        from: &Interface,
        wire_len: u32,
        data_at: usize,
        length: usize,
        record: usize,
    ) -> Current {
        let captured = u32::try_from(length).unwrap_or(u32::MAX);
        Current { at, link: from.link, wire_len: wire_len.max(captured), from: data_at, length, record }
    }
}

/// A block whose lengths hold together and whose content does not.
struct BadBlock;

/// pcap-parser gives a block's type as it stands in a little-endian file.
fn is_old_packet(kind: u32, big_endian: bool) -> bool {
    (if big_endian { kind.swap_bytes() } else { kind }) == OLD_PACKET
}

impl Clock {
    /// if_tsresol: a power of ten, or of two when the top bit is set; if_tsoffset: seconds. pcap-parser's own reading of
    /// them knows neither powers of two nor big-endian offsets.
    fn apply(&mut self, code: OptionCode, value: &[u8], big_endian: bool) {
        match (code, value) {
            (OptionCode::IfTsresol, [exponent, ..]) => {
                let power = u32::from(exponent & 0x7f);
                let ticks =
                    if exponent & 0x80 == 0 { 10_u64.checked_pow(power) } else { 1_u64.checked_shl(power) };
                // A resolution finer than 64 bits can count tells no time at all: microseconds as if nothing were said.
                self.ticks = ticks.unwrap_or(self.ticks);
            }
            (OptionCode::IfTsoffset, value) => {
                if let Some(bytes) = value.first_chunk::<8>() {
                    self.offset_s =
                        if big_endian { i64::from_be_bytes(*bytes) } else { i64::from_le_bytes(*bytes) };
                }
            }
            _ => {}
        }
    }

    #[inline]
    fn at(self, high: u32, low: u32) -> Timestamp {
        let count = u64::from(high) << 32 | u64::from(low);
        let (seconds, rest) = (count / self.ticks, count % self.ticks);
        // Of a second. All clocks but very fine ones stay in 64 bits, where a division is cheap.
        let nanos = match rest.checked_mul(1_000_000_000) {
            Some(product) => product / self.ticks,
            None => (u128::from(rest) * 1_000_000_000 / u128::from(self.ticks)) as u64,
        };
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_add(self.offset_s);
        Timestamp::from_parts(seconds, nanos as i64)
    }
}

#[cfg(test)]
mod tests;
