//! One recording as one audio file, decrypted, decoded and put on its timeline.
//!
//! Two passes over the archive: [`Export::prepare`] measures (and thereby opens and checks every chunk), so that the
//! file's length is known; [`Export::write`] decodes into whatever takes bytes. Neither holds more than some seconds of
//! audio. The timeline is `decode::playout`'s, the file layout `wav`'s.

use std::fmt;
use std::io::{BufWriter, Write};
use std::str::FromStr;

use decode::playout::{Bounds, Renderer, Survey, Timeline};
use decode::{Codec, Format, Party};
use serde::Serialize;
use store::{Archive, Mark, Record, RecordingFacts, RecordingId};

use crate::error::Error;
use crate::wav::{Layout, WavWriter};
use crate::words;

/// How the two parties are put into channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Left the recorded extension, right the other side.
    #[default]
    Stereo,
    /// One channel: the saturated sum of both.
    Mono,
    /// The recorded extension alone.
    Near,
    /// The other side alone.
    Far,
}

impl Shape {
    /// Channels in the file.
    #[must_use]
    pub const fn channels(self) -> u16 {
        match self {
            Shape::Stereo => 2,
            Shape::Mono | Shape::Near | Shape::Far => 1,
        }
    }

    /// Is this party's audio in it?
    #[must_use]
    pub fn holds(self, party: Party) -> bool {
        match self {
            Shape::Stereo | Shape::Mono => true,
            Shape::Near => party == Party::Near,
            Shape::Far => party == Party::Far,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Shape::Stereo => "stereo",
            Shape::Mono => "mono",
            Shape::Near => "near",
            Shape::Far => "far",
        })
    }
}

/// What a recording can be exported as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// A WAVE file of 16-bit PCM.
    #[default]
    Wav,
    /// A WAVE file of GSM 06.10: a twentieth of the size, telephone quality.
    Gsm,
    /// The payloads as received, as a ZIP of files per party and encoding.
    Raw,
}

impl FileFormat {
    /// The ending of its files.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            FileFormat::Wav | FileFormat::Gsm => "wav",
            FileFormat::Raw => "zip",
        }
    }
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            FileFormat::Wav => "wav",
            FileFormat::Gsm => "gsm",
            FileFormat::Raw => "raw",
        })
    }
}

/// The word is not one of those that can be chosen from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is none of {choices}")]
pub struct WordError {
    word: String,
    choices: &'static str,
}

impl FromStr for Shape {
    type Err = WordError;

    fn from_str(word: &str) -> Result<Self, WordError> {
        [Shape::Stereo, Shape::Mono, Shape::Near, Shape::Far]
            .into_iter()
            .find(|shape| shape.to_string() == word)
            .ok_or_else(|| WordError { word: word.to_owned(), choices: "stereo, mono, near, far" })
    }
}

impl FromStr for FileFormat {
    type Err = WordError;

    fn from_str(word: &str) -> Result<Self, WordError> {
        [FileFormat::Wav, FileFormat::Gsm, FileFormat::Raw]
            .into_iter()
            .find(|format| format.to_string() == word)
            .ok_or_else(|| WordError { word: word.to_owned(), choices: "wav, gsm, raw" })
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// The recording.
    pub id: RecordingId,
    /// Sample times in the file; 0 for a raw export, which has none.
    pub samples: u64,
    /// Sampling rate in Hz; 0 for a raw export.
    pub rate: u32,
    /// Length of the audio; for a raw export, of the recording.
    pub duration_ms: u64,
    /// Length of the file or files.
    pub bytes: u64,
    /// What the listener must know: what could not be decoded, what is missing. One sentence each.
    pub warnings: Vec<String>,
}

/// One encoding that a party used.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoding {
    /// Whose.
    pub party: Party,
    /// Which.
    pub format: Format,
    /// In how many packets.
    pub packets: u64,
}

impl Encoding {
    /// Does it carry sound at all? Telephone events do not.
    fn is_audio(&self) -> bool {
        self.format.codec != Codec::TelephoneEvent
    }

    /// Can this program decode it?
    fn is_decodable(&self) -> bool {
        self.format.codec == Codec::ComfortNoise || decode::codec::decoder(&self.format).is_some()
    }
}

/// Bytes collected before they are written out.
const BUFFER_LEN: usize = 64 * 1024;
/// Encodings told apart in one recording; further ones are not listed. A call has a handful.
const ENCODINGS_MAX: usize = 64;

/// A recording that has been measured and can be written, more than once and in several shapes.
#[derive(Debug)]
pub struct Export<'a> {
    archive: &'a Archive,
    facts: RecordingFacts,
    timeline: Timeline,
    encodings: Vec<Encoding>,
}

/// Writes one recording as a WAVE file to `out`; see [`Export`] for more than one shape, and
/// [`raw::export`](crate::raw::export) for [`FileFormat::Raw`].
///
/// # Errors
/// What [`Export::prepare`] and [`Export::write`] say.
pub fn export<W: Write>(
    archive: &Archive,
    id: RecordingId,
    format: FileFormat,
    shape: Shape,
    out: W,
) -> Result<Exported, Error> {
    if format == FileFormat::Raw {
        return crate::raw::export(archive, id, shape, out);
    }
    // Refused before minutes are spent on measuring.
    Layout::new(format, shape, 8_000, 0)?;
    Export::prepare(archive, id)?.write(format, shape, out)
}

impl<'a> Export<'a> {
    /// Reads the recording once, from end to end: afterwards every chunk has been opened and authenticated.
    ///
    /// # Errors
    /// When the archive cannot give the recording: no such one, no key, tampered with.
    pub fn prepare(archive: &'a Archive, id: RecordingId) -> Result<Self, Error> {
        let mut reader = archive.read(id)?;
        let facts = reader.facts().clone();
        let mut survey = Survey::new();
        let mut encodings = Vec::new();
        while let Some(chunk) = reader.next_chunk()? {
            for record in chunk.records() {
                match record? {
                    Record::Audio { party, frame } => {
                        count(&mut encodings, party, frame.format);
                        survey.handle_frame(party, &frame);
                    }
                    Record::Mark { at, mark } => match mark {
                        Mark::Hold { by } => survey.handle_hold(at, by),
                        Mark::Retrieve { by } => survey.handle_retrieve(at, by),
                        Mark::PauseStart { .. } => survey.handle_pause(at),
                        Mark::PauseEnd { .. } => survey.handle_resume(at),
                        Mark::CaptureDrops { frames } => survey.handle_drops(at, frames),
                        Mark::Digit { .. } | Mark::SenderReport { .. } => {}
                    },
                }
            }
        }
        let timeline = survey.finish(Bounds { start: Some(facts.started), end: facts.ended });
        Ok(Export { archive, facts, timeline, encodings })
    }

    /// What is known about the recording.
    #[must_use]
    pub fn facts(&self) -> &RecordingFacts {
        &self.facts
    }

    /// Where everything lies on it.
    #[must_use]
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// What the listener of this shape must know: what was kept and cannot be decoded here. One sentence each.
    #[must_use]
    pub fn warnings(&self, shape: Shape) -> Vec<String> {
        let mut said = warnings(&self.encodings, |party| shape.holds(party));
        for track in self.facts.tracks.iter().filter(|track| shape.holds(track.party)) {
            let party = words::party(track.party);
            said.extend(words::secrecy(track).iter().map(|what| format!("{party}: {what}")));
        }
        said
    }

    /// Length of the file that [`Export::write`] would write, in bytes.
    ///
    /// # Errors
    /// When the format cannot hold the shape or the length.
    pub fn bytes(&self, format: FileFormat, shape: Shape) -> Result<u64, Error> {
        Ok(self.layout(format, shape)?.bytes())
    }

    /// Writes the file, front to back.
    ///
    /// # Errors
    /// When the format cannot hold the shape or the length (nothing has been written then), when the archive cannot
    /// give the recording any more, when `out` does not take it.
    pub fn write<W: Write>(&self, format: FileFormat, shape: Shape, out: W) -> Result<Exported, Error> {
        let layout = self.layout(format, shape)?;
        let mut reader = self.archive.read(self.facts.id)?;
        // Blocks are some hundred bytes; `finish` flushes.
        let mut writer = WavWriter::new(BufWriter::with_capacity(BUFFER_LEN, out), layout)?;
        let mut renderer = Renderer::new(&self.timeline);
        while let Some(chunk) = reader.next_chunk()? {
            for record in chunk.records() {
                if let Record::Audio { party, frame } = record? {
                    renderer.push(party, &frame);
                    while let Some(block) = renderer.poll_block() {
                        writer.write(block.near, block.far)?;
                    }
                }
            }
        }
        renderer.finish();
        while let Some(block) = renderer.poll_block() {
            writer.write(block.near, block.far)?;
        }
        writer.finish()?;
        Ok(Exported {
            id: self.facts.id,
            samples: self.timeline.samples,
            rate: self.timeline.rate,
            duration_ms: self.timeline.duration_ms(),
            bytes: layout.bytes(),
            warnings: self.warnings(shape),
        })
    }

    fn layout(&self, format: FileFormat, shape: Shape) -> Result<Layout, Error> {
        Layout::new(format, shape, self.timeline.rate, self.timeline.samples)
    }
}

/// Counts a packet of `party` in `format`.
pub(crate) fn count(encodings: &mut Vec<Encoding>, party: Party, format: &Format) {
    if let Some(encoding) = encodings.iter_mut().find(|e| e.party == party && e.format == *format) {
        encoding.packets += 1;
    } else if encodings.len() < ENCODINGS_MAX {
        encodings.push(Encoding { party, format: format.clone(), packets: 1 });
    }
}

/// What a listener must know about encodings that stay silent. Names come from signalling and are not trusted: control
/// characters in them are shown as escapes.
fn warnings(encodings: &[Encoding], wanted: impl Fn(Party) -> bool) -> Vec<String> {
    encodings
        .iter()
        .filter(|e| wanted(e.party) && e.is_audio() && !e.is_decodable())
        .map(|e| {
            let party = if e.party == Party::Near { "near" } else { "far" };
            let codec = e.format.codec.name().escape_debug();
            format!(
                "{party}: {codec} ({} packets) is kept but cannot be decoded here and is silence in this file; \
                 `--format raw` gives it as received",
                e.packets
            )
        })
        .collect()
}
