//! A recording's payloads as received: the way out for what cannot be decoded here, and for who trusts no decoder.
//!
//! A ZIP with one file of concatenated payloads per party and encoding, a table of its packets beside it (JSON, one
//! packet per line), and `recording.json` that says what is what. Packets of each source stand in the order of their
//! RTP sequence numbers (RFC 3550, 5.1), copies are left out. No codec is touched.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;

use decode::time::NS_PER_S;
use decode::{AudioFrame, Format, Party, Timestamp};
use serde::Serialize;
use store::{Archive, Record, RecordingFacts, RecordingId};

use crate::bundle::{Bundle, Opened, Selection};
use crate::entries::{Entries, Packing};
use crate::error::Error;
use crate::export::{Encoding, Exported, FileFormat, Shape, count};
use crate::manifest::{self, Exporter};
use crate::words;

/// How long a packet waits for one before it, in nanoseconds of capture time.
const WAIT_NS: i64 = 2 * NS_PER_S;
/// Packets of one source that wait at once; the first leaves when one more comes.
const HELD_MAX: usize = 256;
/// A step back by more sequence numbers than this is a restart, not a reordered packet.
const REORDER_MAX: i64 = 512;
/// Sources (SSRCs) followed at once; the one that was silent longest ends when one more comes.
const SOURCES_MAX: usize = 16;
/// Longest part of a file name taken from an encoding's name, in bytes.
const NAME_MAX: usize = 24;

/// Writes the raw export of one recording as a ZIP with a manifest; [`Shape::Near`] and [`Shape::Far`] leave the other
/// party out.
///
/// # Errors
/// When the archive cannot give the recording, or `out` does not take it.
pub fn export<W: Write>(
    archive: &Archive,
    id: RecordingId,
    selection: Selection,
    exporter: &Exporter,
    out: W,
) -> Result<Exported, Error> {
    let selection = Selection { format: FileFormat::Raw, ..selection };
    let plan = Plan::prepare(archive, id, selection.shape)?;
    let mut bundle = Bundle::new(archive, selection, exporter, out);
    let mut exported = bundle.add(&Opened::Raw(Box::new(plan)), "")?;
    let (bytes, warnings) = bundle.finish(id.started(), &[])?;
    exported.bytes = bytes;
    exported.warnings.extend(warnings);
    Ok(exported)
}

/// A recording whose encodings are known.
pub(crate) struct Plan<'a> {
    archive: &'a Archive,
    pub(crate) facts: RecordingFacts,
    shape: Shape,
    encodings: Vec<Encoding>,
}

/// What `recording.json` says.
#[derive(Serialize)]
struct Sidecar<'a> {
    recording: &'a RecordingFacts,
    files: Vec<FileRow<'a>>,
}

/// What `recording.json` says about one file of payloads.
#[derive(Serialize)]
struct FileRow<'a> {
    file: String,
    packets_file: String,
    party: Party,
    format: &'a Format,
    bytes: u64,
    #[serde(flatten)]
    tally: Tally,
}

/// One line of a packet table.
#[derive(Serialize)]
struct PacketRow {
    /// Capture time in microseconds since 1970, UTC.
    at_us: i64,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    /// Where its payload begins in the file of payloads, in bytes.
    offset: u64,
    length: usize,
}

impl<'a> Plan<'a> {
    /// Reads the recording once, so that every chunk has been authenticated before anything is written.
    pub(crate) fn prepare(archive: &'a Archive, id: RecordingId, shape: Shape) -> Result<Self, Error> {
        let mut encodings = Vec::new();
        each_frame(archive, id, |party, frame| {
            if shape.holds(party) {
                count(&mut encodings, party, frame.format);
            }
            Ok(())
        })?;
        let facts = archive.read(id)?.facts().clone();
        Ok(Plan { archive, facts, shape, encodings })
    }

    /// Adds the files; each name begins with `prefix`.
    pub(crate) fn write<W: Write>(&self, entries: &mut Entries<W>, prefix: &str) -> Result<Exported, Error> {
        let when = self.facts.started;
        let (mut files, mut total, mut warnings) = (Vec::new(), 0_u64, Vec::new());
        warnings.extend(self.facts.recoded.as_deref().map(words::recoded));
        for (encoding, name) in self.encodings.iter().zip(file_names(&self.encodings)) {
            let (file, packets_file) = (format!("{name}.raw"), format!("{name}.packets.jsonl"));
            let (tally, bytes) = entries.add(&format!("{prefix}{file}"), when, Packing::Stored, |out| {
                self.in_order(encoding, |packet| Ok(out.write_all(&packet.payload)?))
            })?;
            let mut offset = 0_u64;
            entries.add(&format!("{prefix}{packets_file}"), when, Packing::Small, |out| {
                self.in_order(encoding, |packet| {
                    let row = packet.row(offset);
                    offset = offset.saturating_add(row.length as u64);
                    serde_json::to_writer(&mut *out, &row).map_err(std::io::Error::from)?;
                    Ok(out.write_all(b"\n")?)
                })
            })?;
            total = total.saturating_add(bytes);
            if tally.late > 0 {
                warnings.push(format!("{file}: {} packets came too late to be put in order", tally.late));
            }
            let (party, format) = (encoding.party, &encoding.format);
            files.push(FileRow { file, packets_file, party, format, bytes, tally });
        }
        let sidecar = Sidecar { recording: &self.facts, files };
        let (_, bytes) = entries.add(&format!("{prefix}recording.json"), when, Packing::Small, |out| {
            Ok(serde_json::to_writer_pretty(out, &sidecar).map_err(std::io::Error::from)?)
        })?;
        Ok(Exported {
            id: self.facts.id,
            samples: 0,
            rate: 0,
            duration_ms: self.facts.duration_ms,
            bytes: total.saturating_add(bytes),
            undecoded: 0,
            warnings,
            left_out: manifest::omissions(&self.facts, self.shape),
            recoded: self.facts.recoded.clone(),
        })
    }

    /// Gives every packet of one encoding to `emit`, in order and once.
    fn in_order(
        &self,
        encoding: &Encoding,
        mut emit: impl FnMut(&Packet) -> Result<(), Error>,
    ) -> Result<Tally, Error> {
        let mut order = Order::default();
        each_frame(self.archive, self.facts.id, |party, frame| {
            if party == encoding.party && *frame.format == encoding.format {
                order.push(frame, &mut emit)?;
            }
            Ok(())
        })?;
        order.finish(&mut emit)
    }
}

/// Every packet of a recording, in the order kept.
fn each_frame(
    archive: &Archive,
    id: RecordingId,
    mut handle: impl FnMut(Party, &AudioFrame<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut reader = archive.read(id)?;
    while let Some(chunk) = reader.next_chunk()? {
        for record in chunk.records() {
            if let Record::Audio { party, frame } = record? {
                handle(party, &frame)?;
            }
        }
    }
    Ok(())
}

/// File names without ending, one per encoding, all different. An encoding's name comes from signalling and may be
/// anything, so only letters, digits and hyphens of it are taken.
fn file_names(encodings: &[Encoding]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(encodings.len());
    for encoding in encodings {
        let party = if encoding.party == Party::Near { "near" } else { "far" };
        let safe = encoding.format.codec.name().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-');
        let codec: String = safe.take(NAME_MAX).collect();
        let base = if codec.is_empty() { format!("{party}-codec") } else { format!("{party}-{codec}") };
        let mut name = base.clone();
        // Names compare as Windows and macOS compare them: `opus` and `OPUS` would be one file there.
        for number in 2.. {
            if !names.iter().any(|taken| taken.eq_ignore_ascii_case(&name)) {
                break;
            }
            name = format!("{base}-{number}");
        }
        names.push(name);
    }
    names
}

/// How many packets were put in order, and how many not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Tally {
    packets: u64,
    /// Copies left out.
    duplicates: u64,
    /// Written where they came, because those after them had gone already.
    late: u64,
}

/// A packet that waits for those before it.
struct Packet {
    at: Timestamp,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    payload: Vec<u8>,
}

impl Packet {
    fn row(&self, offset: u64) -> PacketRow {
        PacketRow {
            at_us: self.at.as_nanos().div_euclid(1_000),
            ssrc: self.ssrc,
            sequence: self.sequence,
            timestamp: self.timestamp,
            marker: self.marker,
            offset,
            length: self.payload.len(),
        }
    }
}

/// Puts the packets of one encoding back in order, source by source, with bounded memory.
#[derive(Default)]
struct Order {
    /// In order of appearance.
    sources: Vec<Source>,
    tally: Tally,
}

/// One SSRC. Positions are sequence numbers that go on counting where the 16 bits wrap.
struct Source {
    ssrc: u32,
    last_at: Timestamp,
    highest: i64,
    held: BTreeMap<i64, Packet>,
    /// The last positions written, ascending.
    written: VecDeque<i64>,
}

impl Order {
    fn push(
        &mut self,
        frame: &AudioFrame<'_>,
        emit: &mut impl FnMut(&Packet) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let index = match self.sources.iter().position(|s| s.ssrc == frame.ssrc) {
            Some(index) => index,
            None => self.open(frame, emit)?,
        };
        if let Some(source) = self.sources.get_mut(index) {
            source.take(frame, &mut self.tally, emit)?;
        }
        for source in &mut self.sources {
            source.release(frame.at, emit)?;
        }
        Ok(())
    }

    fn finish(mut self, emit: &mut impl FnMut(&Packet) -> Result<(), Error>) -> Result<Tally, Error> {
        for source in &mut self.sources {
            source.drain(emit)?;
        }
        Ok(self.tally)
    }

    /// Makes a place for a new source.
    fn open(
        &mut self,
        frame: &AudioFrame<'_>,
        emit: &mut impl FnMut(&Packet) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        if self.sources.len() >= SOURCES_MAX {
            let oldest = self.sources.iter().enumerate().min_by_key(|(_, s)| s.last_at).map_or(0, |(i, _)| i);
            self.sources.remove(oldest).drain(emit)?;
        }
        self.sources.push(Source {
            ssrc: frame.ssrc,
            last_at: frame.at,
            highest: i64::from(frame.sequence),
            held: BTreeMap::new(),
            written: VecDeque::new(),
        });
        Ok(self.sources.len() - 1)
    }
}

impl Source {
    fn take(
        &mut self,
        frame: &AudioFrame<'_>,
        tally: &mut Tally,
        emit: &mut impl FnMut(&Packet) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.last_at = frame.at;
        let forward = i64::from(frame.sequence.wrapping_sub(self.highest as u16));
        // Up to REORDER_MAX back is back; everything else is forward, so that a restart goes on behind what was.
        let step = if forward > i64::from(u16::MAX) - REORDER_MAX { forward - 65_536 } else { forward };
        let position = self.highest.saturating_add(step);
        self.highest = self.highest.max(position);
        if self.held.contains_key(&position) || self.written.binary_search(&position).is_ok() {
            tally.duplicates += 1;
            return Ok(());
        }
        tally.packets += 1;
        let packet = Packet {
            at: frame.at,
            ssrc: frame.ssrc,
            sequence: frame.sequence,
            timestamp: frame.timestamp,
            marker: frame.marker,
            payload: frame.payload.to_vec(),
        };
        if self.written.back().is_some_and(|&last| position < last) {
            tally.late += 1;
            emit(&packet)?;
            self.note(position);
        } else {
            self.held.insert(position, packet);
        }
        Ok(())
    }

    /// Writes what has waited long enough.
    fn release(
        &mut self,
        now: Timestamp,
        emit: &mut impl FnMut(&Packet) -> Result<(), Error>,
    ) -> Result<(), Error> {
        while let Some(first) = self.held.first_entry() {
            if now.nanos_since(first.get().at) < WAIT_NS && self.held.len() <= HELD_MAX {
                break;
            }
            self.emit_first(emit)?;
        }
        Ok(())
    }

    fn drain(&mut self, emit: &mut impl FnMut(&Packet) -> Result<(), Error>) -> Result<(), Error> {
        while !self.held.is_empty() {
            self.emit_first(emit)?;
        }
        Ok(())
    }

    fn emit_first(&mut self, emit: &mut impl FnMut(&Packet) -> Result<(), Error>) -> Result<(), Error> {
        if let Some((position, packet)) = self.held.pop_first() {
            emit(&packet)?;
            self.note(position);
        }
        Ok(())
    }

    /// Remembers as much as a reordered copy could reach back.
    fn note(&mut self, position: i64) {
        let place = self.written.partition_point(|&p| p < position);
        self.written.insert(place, position);
        if self.written.len() > REORDER_MAX as usize {
            self.written.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use decode::Codec;

    use super::*;

    fn format(codec: &str) -> Format {
        Format {
            payload_type: 0,
            codec: Codec::from_name(codec),
            clock_rate: 8_000,
            channels: 1,
            fmtp: String::new(),
        }
    }

    /// Sends (milliseconds, SSRC, sequence) through; gives (SSRC, sequence) as written.
    fn ordered(packets: &[(i64, u32, u16)]) -> (Vec<(u32, u16)>, Tally) {
        let format = format("PCMU");
        let mut written = Vec::new();
        let mut order = Order::default();
        let mut emit = |packet: &Packet| {
            written.push((packet.ssrc, packet.sequence));
            Ok(())
        };
        for &(ms, ssrc, sequence) in packets {
            let frame = AudioFrame {
                at: Timestamp::from_millis(ms),
                ssrc,
                sequence,
                timestamp: 0,
                marker: false,
                format: &format,
                payload: &[],
            };
            order.push(&frame, &mut emit).expect("nothing fails here");
        }
        let tally = order.finish(&mut emit).expect("nothing fails here");
        (written, tally)
    }

    #[test]
    fn reordered_and_doubled_packets_come_out_in_order_and_once() {
        let (written, tally) = ordered(&[
            (0, 1, 65_534),
            (5, 1, 65_533),
            (20, 1, 0),
            (40, 1, 65_535),
            (40, 1, 65_535),
            (60, 1, 1),
            (3_000, 1, 2),
            (3_001, 1, 1),
        ]);
        let sequences: Vec<u16> = written.iter().map(|w| w.1).collect();
        assert_eq!(sequences, [65_533, 65_534, 65_535, 0, 1, 2]);
        assert_eq!(tally, Tally { packets: 6, duplicates: 2, late: 0 });
    }

    #[test]
    fn a_packet_later_than_the_wait_is_kept_and_counted() {
        let (written, tally) =
            ordered(&[(0, 1, 10), (20, 1, 12), (2_500, 1, 13), (2_501, 1, 11), (2_502, 1, 11)]);
        let sequences: Vec<u16> = written.iter().map(|w| w.1).collect();
        assert_eq!(sequences, [10, 12, 11, 13]);
        assert_eq!(tally, Tally { packets: 4, duplicates: 1, late: 1 });
    }

    #[test]
    fn a_restart_of_the_sequence_goes_on_behind() {
        let (written, tally) =
            ordered(&[(0, 1, 40_000), (20, 1, 40_001), (40, 1, 7), (60, 1, 8), (80, 1, 6)]);
        let sequences: Vec<u16> = written.iter().map(|w| w.1).collect();
        assert_eq!(sequences, [40_000, 40_001, 6, 7, 8]);
        assert_eq!(tally.packets, 5);
    }

    #[test]
    fn a_source_that_ended_stands_before_the_one_that_followed() {
        let mut packets: Vec<(i64, u32, u16)> = (0..100).map(|i| (i * 20, 7, i as u16)).collect();
        packets.extend((100..200).map(|i| (i * 20, 3, i as u16)));
        let (written, _) = ordered(&packets);
        let expected: Vec<(u32, u16)> = packets.iter().map(|p| (p.1, p.2)).collect();
        assert_eq!(written, expected);
    }

    #[test]
    fn a_storm_of_sources_and_sequences_stays_bounded_and_loses_nothing() {
        let packets: Vec<(i64, u32, u16)> =
            (0..20_000_u32).map(|i| (0, i % 50, (i.wrapping_mul(2_654_435_761) >> 16) as u16)).collect();
        let (written, tally) = ordered(&packets);
        assert_eq!(written.len() as u64, tally.packets);
        assert_eq!(tally.packets + tally.duplicates, 20_000);
    }

    #[test]
    fn file_names_take_nothing_dangerous_from_signalling() {
        let encoding = |party, codec: &str, payload_type| Encoding {
            party,
            format: Format { payload_type, ..format(codec) },
            packets: 1,
        };
        let names = file_names(&[
            encoding(Party::Near, "PCMU", 0),
            encoding(Party::Near, "PCMU", 96),
            encoding(Party::Far, "../../ETC/PASSWD", 97),
            encoding(Party::Far, "\u{202e}\0\n", 98),
            encoding(Party::Far, &"X".repeat(500), 99),
        ]);
        assert_eq!(names[..4], ["near-PCMU", "near-PCMU-2", "far-ETCPASSWD", "far-codec"]);
        assert_eq!(names[4].len(), "far-".len() + NAME_MAX);
    }
}
