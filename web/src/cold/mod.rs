//! Recordings re-encoded to take less room: played along their timeline as for a listener, and kept anew as Opus or GSM 06.10.
//!
//! What is played stays as long as it was, to the sample, both parties beside each other as they were; pauses stay silent, marks
//! stay where they are. Afterwards there is no packet as received any more, and no loss, order or jitter to be looked at: what
//! was measured of them stands in the facts, which do not change. `docs/cold.md` says what is lost.
//!
//! How the new file takes the old one's place is `store`'s.

mod activity;
mod voice;

use std::collections::VecDeque;

use decode::time::NS_PER_S;
use decode::{AudioFrame, Codec, Format, Party, Timestamp};
use policy::{ColdCodec, RecodePass};
use store::{Archive, ByWhom, Coded, Mark, Recoded, Record, RecordingFacts, RecordingId, Replacement};

use crate::error::Error;
use crate::export::Export;
use voice::{Packet, Voice};

/// Bytes of a file beside its audio, for an estimate: header, facts twice, signature.
const FILE_BYTES: u64 = 4_500;
/// Bytes per second of conversation, both parties and all overhead, for an estimate; measured (`docs/cold.md`).
const fn bytes_per_s(codec: ColdCodec) -> u64 {
    match codec {
        ColdCodec::Opus => 980,
        ColdCodec::Gsm => 1_550,
    }
}

/// Marks of one recording; a call has some dozens.
const MARKS_MAX: usize = 100_000;

/// How long a file may become, told without looking into it.
#[must_use]
pub fn estimate(codec: ColdCodec, duration_ms: u64) -> u64 {
    FILE_BYTES + duration_ms.saturating_mul(bytes_per_s(codec)) / 1000
}

/// Re-encodes one recording that a rule has passed, and puts it in place.
///
/// # Errors
/// [`store::Error::Stays`] for what stays as it is, with the reason: audio that cannot be decoded here, looks encrypted, or would
/// not become shorter; a hold that came meanwhile. Otherwise what the archive says: [`store::Error::Tampered`] for a recording
/// that does not verify.
pub fn recode(archive: &Archive, id: RecordingId, pass: &RecodePass, by: ByWhom) -> Result<Recoded, Error> {
    let stays = |why: String| Error::Store(store::Error::Stays { what: id.to_string(), why });
    let mut new = archive.replace(id, pass)?;
    let export = Export::prepare(archive, id)?;
    if let Some(why) = undecodable(&export) {
        return Err(stays(why));
    }
    let (rate, samples) = (export.timeline().rate, export.timeline().samples);
    let coded_rate = voice::coded_rate(pass.codec(), rate);
    let scaled = (u128::from(samples) * u128::from(coded_rate)).div_ceil(u128::from(rate.max(1)));
    let coded_samples = u64::try_from(scaled).unwrap_or(u64::MAX);
    let marks = marks(archive, id)?;
    carry_signals(archive, id, &mut new)?;
    let desk = Desk::new(&export, &mut new, pass, coded_rate, marks);
    let mut desk = desk.map_err(|e| stays(e.to_string()))?;
    let mut failed = None;
    let undecoded = export.render(|near, far| {
        let taken = desk.take(near, far);
        taken.map_err(|e| {
            failed = Some(e);
            std::io::Error::other("it cannot be kept")
        })
    });
    let undecoded = match (failed, undecoded) {
        (Some(Failure::Coding(what)), _) => return Err(stays(what)),
        (Some(Failure::Store(e)), _) => return Err(e.into()),
        (None, undecoded) => undecoded?,
    };
    if undecoded > 0 {
        return Err(stays(format!("{undecoded} packets of it could not be decoded")));
    }
    match desk.finish(coded_samples) {
        Ok(()) => {}
        Err(Failure::Coding(what)) => return Err(stays(what)),
        Err(Failure::Store(e)) => return Err(e.into()),
    }
    let codec = voice::format(pass.codec(), coded_rate).codec;
    let coded = Coded { codec, from: codecs(&export), rate: coded_rate, samples: coded_samples };
    Ok(new.finish(by, coded)?)
}

/// Why not all of its audio would be in the new file; none when all would.
fn undecodable(export: &Export<'_>) -> Option<String> {
    let silent: Vec<&str> = export.silent().map(|encoding| encoding.format.codec.name()).collect();
    if !silent.is_empty() {
        let names = silent.join(", ").escape_debug().to_string();
        return Some(format!("{names} cannot be decoded on this box"));
    }
    let tracks = &export.facts().tracks;
    tracks.iter().any(|track| track.looks_encrypted > 0).then(|| "it looks encrypted".to_owned())
}

/// Its encodings of voice, each once.
fn codecs(export: &Export<'_>) -> Vec<Codec> {
    let mut codecs: Vec<Codec> = Vec::new();
    for encoding in export.voices() {
        if !codecs.contains(&encoding.format.codec) {
            codecs.push(encoding.format.codec.clone());
        }
    }
    codecs
}

/// Why a recording does not come to its new end.
enum Failure {
    Coding(String),
    Store(store::Error),
}

impl From<voice::CodingError> for Failure {
    fn from(error: voice::CodingError) -> Failure {
        Failure::Coding(error.to_string())
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Failure {
        Failure::Store(error)
    }
}

/// Both parties on their way into the new file.
struct Desk<'d, 'a> {
    /// Those who speak at all.
    lanes: Vec<Lane>,
    /// Marks still to come, by their time.
    marks: VecDeque<(Timestamp, Mark)>,
    keep: Keep<'d, 'a>,
    /// The rate of the samples that come, and how many have come.
    incoming: u32,
    taken: u64,
}

struct Lane {
    party: Party,
    voice: Voice,
    ssrc: u32,
    sequence: u16,
}

/// Where packets go.
struct Keep<'d, 'a> {
    new: &'d mut Replacement<'a>,
    pass: &'d RecodePass,
    format: Format,
    noise: Format,
    started: Timestamp,
    rate: u32,
    /// The encoder's delay lies before the timeline, and a timestamp does not.
    first_ticks: i64,
}

impl<'d, 'a> Desk<'d, 'a> {
    fn new(
        export: &Export<'_>,
        new: &'d mut Replacement<'a>,
        pass: &'d RecodePass,
        rate: u32,
        marks: VecDeque<(Timestamp, Mark)>,
    ) -> Result<Self, voice::CodingError> {
        let (facts, timeline) = (export.facts(), export.timeline());
        let mut lanes = Vec::new();
        for party in [Party::Near, Party::Far] {
            if export.voices().any(|encoding| encoding.party == party) {
                let voice = Voice::new(pass.codec(), timeline.rate)?;
                lanes.push(Lane { party, voice, ssrc: ssrc(facts, party), sequence: 0 });
            }
        }
        let keep = Keep {
            new,
            pass,
            format: voice::format(pass.codec(), rate),
            noise: voice::noise_format(rate),
            started: timeline.start,
            rate,
            first_ticks: i64::from(rate),
        };
        Ok(Desk { lanes, marks, keep, incoming: timeline.rate, taken: 0 })
    }

    fn take(&mut self, near: &[i16], far: &[i16]) -> Result<(), Failure> {
        self.taken += near.len() as u64;
        let until = self.keep.at(i64::try_from(self.taken).unwrap_or(i64::MAX), self.incoming);
        while let Some((at, mark)) = self.marks.pop_front_if(|(at, _)| *at < until) {
            self.keep.new.mark(at, &mark)?;
        }
        for lane in &mut self.lanes {
            let packets = lane.voice.push(if lane.party == Party::Near { near } else { far })?;
            self.keep.packets(packets, lane.party, lane.ssrc, &mut lane.sequence)?;
        }
        Ok(())
    }

    fn finish(mut self, samples: u64) -> Result<(), Failure> {
        for lane in &mut self.lanes {
            let packets = lane.voice.finish(samples)?;
            self.keep.packets(packets, lane.party, lane.ssrc, &mut lane.sequence)?;
        }
        while let Some((at, mark)) = self.marks.pop_front() {
            self.keep.new.mark(at, &mark)?;
        }
        Ok(())
    }
}

impl Keep<'_, '_> {
    /// The moment of a sample, rounded up: a whole number of samples stays one when it is counted back.
    fn at(&self, place: i64, rate: u32) -> Timestamp {
        let rate = i128::from(rate.max(1));
        let nanos = (i128::from(place) * i128::from(NS_PER_S) + rate - 1).div_euclid(rate);
        self.started.plus_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
    }

    fn packets(
        &mut self,
        packets: impl Iterator<Item = Packet>,
        party: Party,
        ssrc: u32,
        sequence: &mut u16,
    ) -> Result<(), Failure> {
        for Packet { place, is_noise, is_first, payload } in packets {
            let frame = AudioFrame {
                at: self.at(place, self.rate),
                ssrc,
                sequence: *sequence,
                // Timestamps count modulo 2^32 (RFC 3550, 5.1).
                timestamp: place.saturating_add(self.first_ticks) as u32,
                marker: is_first,
                format: if is_noise { &self.noise } else { &self.format },
                payload: &payload,
            };
            self.new.append(&self.pass.clear(party, &frame))?;
            *sequence = sequence.wrapping_add(1);
        }
        Ok(())
    }
}

/// The source that a party spoke from, or one that is no other party's.
fn ssrc(facts: &RecordingFacts, party: Party) -> u32 {
    let track = facts.tracks.iter().find(|track| track.party == party);
    track.and_then(|track| track.ssrcs.first().copied()).unwrap_or(1 + party.index() as u32)
}

/// The call's SIP goes over as it is, before everything else: it has its own times.
fn carry_signals(archive: &Archive, id: RecordingId, new: &mut Replacement<'_>) -> Result<(), Error> {
    let mut reader = archive.read(id)?;
    while let Some(chunk) = reader.next_chunk()? {
        for record in chunk.records() {
            if let Record::Signal { signal, redacted } = record? {
                new.signal(&signal, redacted)?;
            }
        }
    }
    Ok(())
}

/// Holds, pauses, digits and what the capture lost, by their time. What RTCP said of the clocks of sources that are no more goes.
fn marks(archive: &Archive, id: RecordingId) -> Result<VecDeque<(Timestamp, Mark)>, Error> {
    let (mut reader, mut marks) = (archive.read(id)?, Vec::new());
    while let Some(chunk) = reader.next_chunk()? {
        for record in chunk.records() {
            match record? {
                Record::Audio { .. }
                | Record::Signal { .. }
                | Record::Mark { mark: Mark::SenderReport { .. }, .. } => {}
                Record::Mark { .. } if marks.len() >= MARKS_MAX => {
                    let why = format!("it has more than {MARKS_MAX} marks");
                    return Err(Error::Store(store::Error::Stays { what: id.to_string(), why }));
                }
                Record::Mark { at, mark } => marks.push((at, mark)),
            }
        }
    }
    // Those of one moment stay in the order in which they were made.
    marks.sort_by_key(|(at, _)| *at);
    Ok(marks.into())
}
