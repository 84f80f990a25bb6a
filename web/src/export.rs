//! One recording as one audio file, decrypted, decoded and put on its timeline.
//!
//! Two passes over the archive: [`Export::prepare`] measures (and thereby opens and checks every chunk), so that the
//! file's length is known; [`Export::write`] decodes into whatever takes bytes. Neither holds more than some seconds of
//! audio. The timeline is `decode::playout`'s, the file layout `wav`'s.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::str::FromStr;

use decode::codec::external::{Abilities, Framing};
use decode::playout::{Bounds, Renderer, Survey, Timeline};
use decode::time::NS_PER_S;
use decode::{Codec, Format, Party, Timestamp};
use serde::{Deserialize, Serialize};
use store::{Archive, Mark, Recoded, Record, RecordingFacts, RecordingId, Source};

use crate::error::Error;
use crate::ffmpeg::Ffmpeg;
use crate::flac::{self, FlacWriter};
use crate::manifest::{self, Omission};
use crate::opus::{self, OpusWriter};
use crate::wav::{Layout, WavWriter};
use crate::words;

/// How the two parties are put into channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// A WAVE file of 16-bit PCM.
    #[default]
    Wav,
    /// A WAVE file of GSM 06.10: a twentieth of the size, telephone quality.
    Gsm,
    /// Opus in Ogg (RFC 7845).
    Ogg,
    /// FLAC (RFC 9639): the samples of the WAVE file, in about half the room.
    Flac,
    /// The payloads as received, as a ZIP of files per party and encoding.
    Raw,
}

impl FileFormat {
    /// The ending of its files.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            FileFormat::Wav | FileFormat::Gsm => "wav",
            FileFormat::Ogg => "ogg",
            FileFormat::Flac => "flac",
            FileFormat::Raw => "zip",
        }
    }
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            FileFormat::Wav => "wav",
            FileFormat::Gsm => "gsm",
            FileFormat::Ogg => "ogg",
            FileFormat::Flac => "flac",
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
        [FileFormat::Wav, FileFormat::Gsm, FileFormat::Ogg, FileFormat::Flac, FileFormat::Raw]
            .into_iter()
            .find(|format| format.to_string() == word)
            .ok_or_else(|| WordError { word: word.to_owned(), choices: "wav, gsm, ogg, flac, raw" })
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
    /// Packets that were kept and are silent in the file, because they could not be decoded here.
    pub undecoded: u64,
    /// What the listener must know: what could not be decoded, what is missing. One sentence each.
    pub warnings: Vec<String>,
    /// What is not to be heard in the file, and why.
    pub left_out: Vec<Omission>,
    /// What the audio was before it was re-encoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recoded: Option<Box<Recoded>>,
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
    /// Does it carry a voice? Telephone events and descriptions of silence do not.
    fn is_voice(&self) -> bool {
        !matches!(self.format.codec, Codec::TelephoneEvent | Codec::ComfortNoise)
    }

    /// Can it be decoded, with an outside program of these abilities?
    fn is_decodable(&self, abilities: Abilities) -> bool {
        decode::codec::sample_rate(&self.format, abilities).is_some()
    }
}

/// Bytes collected before they are written out.
const BUFFER_LEN: usize = 64 * 1024;
/// Encodings told apart in one recording; further ones are not listed. A call has a handful.
const ENCODINGS_MAX: usize = 64;

/// Pauses, holds and keyed digits that are told of one recording; further ones are not.
pub const MOMENTS_MAX: usize = 4_000;

fn is_moment(mark: &Mark) -> bool {
    match mark {
        Mark::Hold { .. }
        | Mark::Retrieve { .. }
        | Mark::PauseStart { .. }
        | Mark::PauseEnd { .. }
        | Mark::Digit { .. } => true,
        Mark::SenderReport { .. } | Mark::CaptureDrops { .. } => false,
    }
}

/// A recording that has been measured and can be written, more than once and in several shapes.
#[derive(Debug)]
pub struct Export<'a> {
    archive: &'a Archive,
    facts: RecordingFacts,
    timeline: Timeline,
    encodings: Vec<Encoding>,
    /// Decodes what `decode` cannot; looked up only when the recording has something for it.
    ffmpeg: Option<&'static Ffmpeg>,
    /// Where it is cut off, when not at its end.
    until: Option<Timestamp>,
    /// What of it is written, in sample times.
    part: Range<u64>,
    /// Pauses, holds and keyed digits, in the order in which they were written.
    moments: Vec<(Timestamp, Mark)>,
}

/// Writes one recording as an audio file to `out`; see [`Export`] for more than one shape, and
/// [`raw::export`](crate::raw::export) for [`FileFormat::Raw`], which is no audio file and refused here.
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
    // Refused before minutes are spent on measuring.
    Target::new(format, shape, 8_000, 0)?;
    Export::prepare(archive, id)?.write(format, shape, out)
}

impl<'a> Export<'a> {
    /// Reads the recording once, from end to end: afterwards every chunk has been opened and authenticated.
    ///
    /// # Errors
    /// When the archive cannot give the recording: no such one, no key, tampered with.
    pub fn prepare(archive: &'a Archive, id: RecordingId) -> Result<Self, Error> {
        Export::prepare_until(archive, id, None)
    }

    /// The same of its first `until_ms` milliseconds: of a recording that still runs this is a file whose length stays, however
    /// often it is asked for. A recording that is shorter is as long as it is.
    ///
    /// # Errors
    /// What [`Export::prepare`] says.
    pub fn prepare_until(
        archive: &'a Archive,
        id: RecordingId,
        until_ms: Option<u64>,
    ) -> Result<Self, Error> {
        let mut reader = archive.read(id)?;
        let facts = reader.facts().clone();
        let until = until_ms.map(|ms| facts.started.plus_millis(i64::try_from(ms).unwrap_or(i64::MAX)));
        let mut moments = Vec::new();
        let mut survey = Survey::new();
        let mut encodings = Vec::new();
        let mut ffmpeg = None;
        while let Some(chunk) = reader.next_chunk()? {
            for record in chunk.records() {
                let record = record?;
                if until.is_some_and(|until| record.at() >= until) {
                    continue;
                }
                if let Record::Mark { at, mark } = &record
                    && is_moment(mark)
                    && moments.len() < MOMENTS_MAX
                {
                    moments.push((*at, mark.clone()));
                }
                match record {
                    Record::Audio { party, frame } => {
                        let is_new = count(&mut encodings, party, frame.format);
                        if is_new && ffmpeg.is_none() && Framing::of(frame.format).is_some() {
                            ffmpeg = Ffmpeg::installed();
                            survey.handle_abilities(ffmpeg.map_or(Abilities::NONE, Ffmpeg::abilities));
                        }
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
                    Record::Signal { .. } => {}
                }
            }
        }
        // Facts count in milliseconds. What was imported is as long as its samples, what was re-encoded as what it was before.
        let end = match &facts.recoded {
            Some(recoded) => Some(end_of(&facts, recoded)),
            None => facts.ended.filter(|_| facts.source != Source::Import),
        };
        let end = match (end, until) {
            (Some(end), Some(until)) => Some(end.min(until)),
            (end, until) => end.or(until),
        };
        let timeline = survey.finish(Bounds { start: Some(facts.started), end });
        let part = 0..timeline.samples;
        Ok(Export { archive, facts, timeline, encodings, ffmpeg, until, part, moments })
    }

    /// From now on only this part of it is written, in milliseconds from its start, as far as it goes. What is said of the recording stays:
    /// warnings, what was left out.
    ///
    /// # Errors
    /// [`Error::NothingThere`] for a part that is empty or lies behind the end.
    pub fn cut(mut self, part_ms: Range<u64>) -> Result<Self, Error> {
        let Timeline { rate, samples, .. } = self.timeline;
        let at = |ms: u64| {
            let sample = u128::from(ms) * u128::from(rate) / 1_000;
            u64::try_from(sample).unwrap_or(u64::MAX).min(samples)
        };
        self.part = at(part_ms.start)..at(part_ms.end);
        if self.part.is_empty() {
            return Err(Error::NothingThere { length_ms: self.timeline.duration_ms() });
        }
        Ok(self)
    }

    /// Sample times that are written.
    fn samples(&self) -> u64 {
        self.part.end - self.part.start
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

    /// Pauses, holds and keyed digits, in the order in which they were written; the first [`MOMENTS_MAX`].
    #[must_use]
    pub fn moments(&self) -> &[(Timestamp, Mark)] {
        &self.moments
    }

    /// What the listener of this shape must know: what was kept and cannot be decoded here. One sentence each.
    #[must_use]
    pub fn warnings(&self, shape: Shape) -> Vec<String> {
        let silent = self.encodings.iter().filter(|encoding| self.is_silent(encoding, shape));
        let mut said: Vec<String> = silent.map(warning).collect();
        said.extend(self.facts.recoded.as_deref().map(words::recoded));
        for track in self.facts.tracks.iter().filter(|track| shape.holds(track.party)) {
            let party = words::party(track.party);
            said.extend(words::secrecy(track).iter().map(|what| format!("{party}: {what}")));
        }
        said
    }

    /// What is not to be heard in a file of this shape, and why.
    #[must_use]
    pub fn omissions(&self, shape: Shape) -> Vec<Omission> {
        let mut left_out = manifest::omissions(&self.facts, shape);
        let silent = self.encodings.iter().filter(|encoding| self.is_silent(encoding, shape));
        left_out.extend(silent.map(|encoding| Omission::NotDecodable {
            party: encoding.party,
            codec: encoding.format.codec.name().to_owned(),
            packets: encoding.packets,
        }));
        left_out
    }

    /// A voice of this shape that cannot be decoded here.
    fn is_silent(&self, encoding: &Encoding, shape: Shape) -> bool {
        let abilities = self.ffmpeg.map_or(Abilities::NONE, Ffmpeg::abilities);
        shape.holds(encoding.party) && encoding.is_voice() && !encoding.is_decodable(abilities)
    }

    /// Can it be written so?
    ///
    /// # Errors
    /// When the format cannot hold the shape or the length; [`Error::Undecodable`] when no voice in it can be decoded here: a
    /// file of silence is no export of a call.
    pub fn check(&self, format: FileFormat, shape: Shape) -> Result<(), Error> {
        self.target(format, shape).map(drop)
    }

    /// Length of the WAVE file that [`Export::write`] would write, in bytes.
    ///
    /// # Errors
    /// What [`Export::check`] says; [`Error::Unsuited`] for a format whose length is not known before it is written.
    pub fn bytes(&self, format: FileFormat, shape: Shape) -> Result<u64, Error> {
        match self.target(format, shape)? {
            Target::Wave(layout) => Ok(layout.bytes()),
            Target::Opus | Target::Flac => Err(Error::Unsuited { format, shape, instead: "wav or gsm" }),
        }
    }

    /// Writes the file, front to back.
    ///
    /// # Errors
    /// What [`Export::check`] says (nothing has been written then), when the archive cannot
    /// give the recording any more, when `out` does not take it.
    pub fn write<W: Write>(&self, format: FileFormat, shape: Shape, out: W) -> Result<Exported, Error> {
        let target = self.target(format, shape)?;
        let (rate, samples) = (self.timeline.rate, self.samples());
        // Blocks are some hundred bytes; `finish` flushes.
        let mut out = Counted { out: BufWriter::with_capacity(BUFFER_LEN, out), bytes: 0 };
        let (failed, samples, rate) = match target {
            Target::Wave(layout) => {
                let mut writer = WavWriter::new(&mut out, layout)?;
                let failed = self.render(|near, far| writer.write(near, far))?;
                writer.finish()?;
                (failed, layout.samples(), layout.rate())
            }
            Target::Opus => {
                let mut writer = OpusWriter::new(&mut out, shape, rate, samples)?;
                let failed = self.render(|near, far| writer.write(near, far))?;
                writer.finish()?;
                (failed, opus::length(samples, rate), opus::RATE)
            }
            Target::Flac => {
                let mut sum = flac::Digest::new(shape);
                self.render(|near, far| {
                    sum.write(near, far);
                    Ok(())
                })?;
                let mut writer = FlacWriter::new(&mut out, shape, rate, samples, sum.finish())?;
                let failed = self.render(|near, far| writer.write(near, far))?;
                writer.finish()?;
                (failed, samples, rate)
            }
        };
        let mut warnings = self.warnings(shape);
        if failed > 0 {
            warnings.push(format!("{failed} packets are kept, but ffmpeg could not decode them: {SILENT}"));
        }
        let silent = self.encodings.iter().filter(|encoding| self.is_silent(encoding, shape));
        Ok(Exported {
            id: self.facts.id,
            samples,
            rate,
            duration_ms: samples_ms(self.samples(), self.timeline.rate),
            bytes: out.bytes,
            undecoded: failed + silent.map(|encoding| encoding.packets).sum::<u64>(),
            warnings,
            left_out: self.omissions(shape),
            recoded: self.facts.recoded.clone(),
        })
    }

    /// Encodings of voice.
    pub(crate) fn voices(&self) -> impl Iterator<Item = &Encoding> {
        self.encodings.iter().filter(|encoding| encoding.is_voice())
    }

    /// Those of them that are silent here.
    pub(crate) fn silent(&self) -> impl Iterator<Item = &Encoding> {
        self.encodings.iter().filter(|encoding| self.is_silent(encoding, Shape::Stereo))
    }

    /// Decodes along the timeline; gives the number of packets that an outside program could not decode.
    pub(crate) fn render(
        &self,
        mut each: impl FnMut(&[i16], &[i16]) -> io::Result<()>,
    ) -> Result<u64, Error> {
        let mut reader = self.archive.read(self.facts.id)?;
        if reader.facts().recoded != self.facts.recoded {
            // Measured on packets that are no more.
            let path = self.archive.dir().join(Archive::sealed_path(self.facts.id));
            return Err(store::Error::Replaced { path }.into());
        }
        let mut renderer = match self.ffmpeg {
            Some(ffmpeg) => Renderer::with_external(&self.timeline, Box::new(ffmpeg)),
            None => Renderer::new(&self.timeline),
        };
        let mut at = 0;
        let mut pass = |near: &[i16], far: &[i16]| {
            let begin = at;
            at += near.len() as u64;
            let within = |sample: u64| {
                usize::try_from(sample.saturating_sub(begin)).unwrap_or(usize::MAX).min(near.len())
            };
            let part = within(self.part.start)..within(self.part.end);
            if !part.is_empty() {
                each(&near[part.clone()], &far[part])?;
            }
            // The rest need not be rendered.
            Ok::<_, Error>(at >= self.part.end)
        };
        while let Some(chunk) = reader.next_chunk()? {
            for record in chunk.records() {
                if let Record::Audio { party, frame } = record? {
                    if self.until.is_some_and(|until| frame.at >= until) {
                        continue;
                    }
                    renderer.push(party, &frame);
                    while let Some(block) = renderer.poll_block() {
                        if pass(block.near, block.far)? {
                            return Ok(renderer.undecoded());
                        }
                    }
                }
            }
        }
        renderer.finish();
        while let Some(block) = renderer.poll_block() {
            pass(block.near, block.far)?;
        }
        Ok(renderer.undecoded())
    }

    fn target(&self, format: FileFormat, shape: Shape) -> Result<Target, Error> {
        let voices = || self.encodings.iter().filter(move |e| shape.holds(e.party) && e.is_voice());
        if voices().next().is_some() && voices().all(|encoding| self.is_silent(encoding, shape)) {
            let mut codecs: Vec<String> =
                voices().map(|e| e.format.codec.name().escape_debug().to_string()).collect();
            codecs.dedup();
            let help = voices().any(|encoding| Framing::of(&encoding.format).is_some());
            return Err(Error::Undecodable {
                codecs: codecs.join(", "),
                help: if help { INSTALL } else { "" },
            });
        }
        Target::new(format, shape, self.timeline.rate, self.samples())
    }
}

/// So many sample times in milliseconds, to the nearest.
fn samples_ms(samples: u64, rate: u32) -> u64 {
    let rate = u64::from(rate.max(1));
    samples.saturating_mul(1_000).saturating_add(rate / 2) / rate
}

/// Where the timeline of a re-encoded recording ends: rounded up, so that a whole number of samples stays one.
fn end_of(facts: &RecordingFacts, recoded: &Recoded) -> Timestamp {
    let nanos = u128::from(recoded.samples) * NS_PER_S as u128;
    let nanos = nanos.div_ceil(u128::from(recoded.rate.max(1)));
    facts.started.plus_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// What is written, when it can be.
pub(crate) enum Target {
    Wave(Layout),
    Opus,
    Flac,
}

impl Target {
    pub(crate) fn new(format: FileFormat, shape: Shape, rate: u32, samples: u64) -> Result<Target, Error> {
        match format {
            FileFormat::Ogg => Ok(Target::Opus),
            FileFormat::Flac if samples > flac::SAMPLES_MAX || rate > flac::RATE_MAX => {
                Err(Error::TooLong { hours: samples / u64::from(rate.max(1)) / 3_600 })
            }
            FileFormat::Flac => Ok(Target::Flac),
            FileFormat::Wav | FileFormat::Gsm | FileFormat::Raw => {
                Layout::new(format, shape, rate, samples).map(Target::Wave)
            }
        }
    }
}

/// Counts what goes out.
pub(crate) struct Counted<W> {
    pub(crate) out: W,
    pub(crate) bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What a listener is told of packets without sound.
const SILENT: &str = "silence in audio files; `--format raw` gives it as received";
/// What would help.
const INSTALL: &str = ": install ffmpeg";

/// Counts a packet of `party` in `format`; is it the first one?
pub(crate) fn count(encodings: &mut Vec<Encoding>, party: Party, format: &Format) -> bool {
    if let Some(encoding) = encodings.iter_mut().find(|e| e.party == party && e.format == *format) {
        encoding.packets += 1;
        return false;
    }
    if encodings.len() < ENCODINGS_MAX {
        encodings.push(Encoding { party, format: format.clone(), packets: 1 });
    }
    true
}

/// What a listener must know about an encoding that stays silent. Names come from signalling and are not trusted: control
/// characters in them are shown as escapes.
fn warning(encoding: &Encoding) -> String {
    let party = if encoding.party == Party::Near { "near" } else { "far" };
    let codec = encoding.format.codec.name().escape_debug();
    let help = if Framing::of(&encoding.format).is_some() { INSTALL } else { "" };
    let packets = encoding.packets;
    format!("{party}: {codec} ({packets} packets) is kept, cannot be decoded on this box{help}; {SILENT}")
}
