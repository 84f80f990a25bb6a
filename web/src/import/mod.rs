//! Audio files that become recordings: WAVE as it is, everything else decoded, each sealed like a call that was seen.
//!
//! A-law, mu-law and GSM 06.10 are kept byte for byte, as packets of 20 ms; all else as linear samples at its own rate. A file is
//! read on a thread of its own that hands over small blocks: it may be anybody's, and a reader that panics or breaks off ends that
//! thread, whereupon the half-made recording is destroyed, key first. Files, lengths and blocks are bounded. What a file is about
//! comes from [`about`]; that it may be kept is the gate's word.

pub mod about;
mod coded;
mod wave;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use decode::time::NS_PER_S;
use decode::{AudioFrame, Codec, Format, Party, Timestamp};
use policy::ImportPass;
use serde::Serialize;
use sha2::{Digest, Sha256};
use store::{
    Archive, CallRow, Event, Quality, RecordingFacts, RecordingId, Signalling, Source, State, Track, What,
};

use crate::entries::hex;
use crate::error::Error;
use about::About;

/// Longest file, in bytes.
pub const FILE_MAX: u64 = 4 << 30;
/// Longest audio, in hours.
pub const HOURS_MAX: u64 = 24;
/// Blocks that wait between the thread that reads and the one that seals.
const BLOCKS_WAITING: usize = 16;
/// Longest block, in bytes; longer ones are a reader's mistake.
const BLOCK_MAX: usize = 4 << 20;
/// Sampling rates that playback knows, in Hz.
const RATES: std::ops::RangeInclusive<u32> = 8_000..=48_000;
/// Of the two parties' packets; there is no network whose sources they could be mistaken for.
const SSRC: [u32; 2] = [1, 2];

/// How the content of a file is kept: units of so many bytes and ticks, one for each channel in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Coding {
    pub(crate) codec: Codec,
    pub(crate) payload_type: u8,
    pub(crate) rate: u32,
    /// 1 or 2.
    pub(crate) channels: usize,
    pub(crate) unit_bytes: usize,
    pub(crate) unit_ticks: u32,
    pub(crate) units_in_packet: usize,
    /// What is lost on the way, in words.
    pub(crate) notes: Vec<String>,
}

impl Coding {
    /// Linear samples of 16 bits; `None` where playback could not play them.
    pub(crate) fn linear(rate: u32, channels: usize) -> Option<Coding> {
        Coding::new(Codec::from_name("L16"), 96, rate, channels, 2)
    }

    /// One unit a sample.
    pub(crate) fn new(
        codec: Codec,
        payload_type: u8,
        rate: u32,
        channels: usize,
        unit_bytes: usize,
    ) -> Option<Coding> {
        let units_in_packet = rate as usize / 50;
        let playable = RATES.contains(&rate) && (1..=2).contains(&channels);
        playable.then(|| Coding {
            codec,
            payload_type,
            rate,
            channels,
            unit_bytes,
            unit_ticks: 1,
            units_in_packet,
            notes: Vec::new(),
        })
    }
}

/// What a thread that reads a file says.
enum Said {
    /// First of all: how what follows is kept.
    Begin(Coding),
    /// Whole units, channel by channel.
    Block(Vec<u8>),
    /// Something that the user should know.
    Note(String),
    /// It cannot go on.
    Failed(String),
    /// Last of all. Without it the thread has died.
    End,
}

/// The thread's end of the line.
pub(crate) struct Speaker(SyncSender<Said>);

impl Speaker {
    pub(crate) fn begin(&self, coding: Coding) -> Result<(), String> {
        self.say(Said::Begin(coding))
    }

    pub(crate) fn block(&self, bytes: Vec<u8>) -> Result<(), String> {
        self.say(Said::Block(bytes))
    }

    pub(crate) fn note(&self, text: impl Into<String>) -> Result<(), String> {
        self.say(Said::Note(text.into()))
    }

    fn say(&self, said: Said) -> Result<(), String> {
        self.0.send(said).map_err(|_| "nobody listens any more".to_owned())
    }
}

/// What was made of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The recording.
    pub id: RecordingId,
    /// The file's name.
    pub file: String,
    /// How it is kept.
    pub codec: Codec,
    /// Sampling rate, or that of the RTP clock, in Hz.
    pub rate: u32,
    /// Length of the audio.
    pub duration_ms: u64,
    /// What the user should know. One sentence each.
    pub notes: Vec<String>,
}

/// Makes a recording of a file: `about` says what of, `pass` that it may be kept, `who` and `now` stand in the log.
///
/// # Errors
/// [`Error::Unreadable`] for a file that is not audio, is too long, or breaks off; nothing of it stays then.
/// [`Error::Store`] when the archive does not take it.
pub fn import(
    archive: &Archive,
    path: &Path,
    about: &About,
    pass: &ImportPass,
    who: &str,
    now: Timestamp,
) -> Result<Imported, Error> {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let unreadable = |what: String| Error::Unreadable { file: path.to_owned(), what };
    let io = |e: io::Error| unreadable(e.to_string());
    let mut file = File::open(path).map_err(io)?;
    if !file.metadata().map_err(io)?.is_file() {
        return Err(unreadable("it is no plain file".into()));
    }
    let (bytes, sha256) = digest(&mut file).map_err(io)?;
    if bytes > FILE_MAX {
        return Err(unreadable(format!("it is longer than {FILE_MAX} bytes")));
    }
    let heard = listen(file, bytes).map_err(io)?;
    let coding = match heard.recv() {
        Ok(Said::Begin(coding)) => coding,
        Ok(Said::Failed(what)) => return Err(unreadable(what)),
        Ok(_) | Err(_) => return Err(unreadable(DIED.into())),
    };
    let id = RecordingId::new(about.started);
    let start = facts(id, about, pass, &coding);
    let mut packets = Packets::new(archive.create(start.clone())?, &coding, about.started, pass);
    let notes = match packets.take_all(&heard) {
        Ok(notes) => notes,
        Err(failure) => {
            packets.writer.discard("the file that was imported could not be read to its end")?;
            return Err(match failure {
                Failure::File(what) => unreadable(what),
                Failure::Archive(error) => error.into(),
            });
        }
    };
    let ended = packets.end();
    let tracks = packets.tracks(&coding);
    packets.writer.finish(RecordingFacts {
        ended: Some(ended),
        duration_ms: ended.millis_since(about.started),
        talk_ms: ended.millis_since(about.answered.unwrap_or(about.started).max(about.started)),
        tracks,
        ..start.clone()
    })?;
    archive.append_call(&call_row(&start, ended, &name))?;
    let what = What::Imported { id, file: name.clone(), bytes, sha256 };
    archive.edit(Event { at: now, who: who.to_owned(), what })?;
    let duration_ms = ended.millis_since(about.started);
    Ok(Imported { id, file: name, codec: coding.codec, rate: coding.rate, duration_ms, notes })
}

/// What is said when a thread ends without a word.
const DIED: &str = "it is no audio file that can be read: the reader gave up";

/// Length and SHA-256 of a file, which is at its beginning again then.
fn digest(file: &mut File) -> io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut block = vec![0; 64 * 1024];
    let mut bytes = 0;
    // One byte beyond the limit tells that it is beyond.
    let mut limited = (&mut *file).take(FILE_MAX + 1);
    loop {
        let read = limited.read(&mut block)?;
        if read == 0 {
            break;
        }
        hash.update(block.get(..read).unwrap_or_default());
        bytes += read as u64;
    }
    file.seek(SeekFrom::Start(0))?;
    Ok((bytes, hex(&hash.finalize())))
}

/// Reads a file on a thread of its own.
fn listen(mut file: File, bytes: u64) -> io::Result<Receiver<Said>> {
    let (speaker, heard) = sync_channel(BLOCKS_WAITING);
    let speaker = Speaker(speaker);
    thread::Builder::new().name("import".into()).spawn(move || {
        let read = match wave::is_wave(&mut file) {
            Ok(true) => wave::read(file, bytes, &speaker),
            Ok(false) => coded::read(file, &speaker),
            Err(error) => Err(error.to_string()),
        };
        // Who does not listen any more has no use for the last word.
        let _ = speaker.say(read.map_or_else(Said::Failed, |()| Said::End));
    })?;
    Ok(heard)
}

/// Reads a WAVE file from memory; the bytes of audio that it gives.
#[cfg(fuzzing)]
pub(crate) fn read_wave(bytes: &[u8]) -> usize {
    let (speaker, heard) = sync_channel(BLOCKS_WAITING);
    let counter = thread::spawn(move || {
        heard.iter().map(|said| if let Said::Block(block) = said { block.len() } else { 0 }).sum()
    });
    let _ = wave::read_from(io::Cursor::new(bytes), bytes.len() as u64, &Speaker(speaker));
    counter.join().expect("it counts")
}

/// Why a recording that was begun does not come to its end.
enum Failure {
    File(String),
    Archive(store::Error),
}

/// Units become packets of 20 ms, and these go through the gate into the recording.
struct Packets<'a> {
    writer: store::Writer,
    pass: &'a ImportPass,
    coding: &'a Coding,
    format: Format,
    started: Timestamp,
    /// Bytes of each channel that do not fill a packet yet.
    pending: Vec<Vec<u8>>,
    /// Units of each channel that have been written.
    units: u64,
    packets: u64,
}

impl<'a> Packets<'a> {
    fn new(writer: store::Writer, coding: &'a Coding, started: Timestamp, pass: &'a ImportPass) -> Self {
        let format = Format {
            payload_type: coding.payload_type,
            codec: coding.codec.clone(),
            clock_rate: coding.rate,
            channels: 1,
            fmtp: String::new(),
        };
        let pending = vec![Vec::new(); coding.channels];
        Packets { writer, pass, coding, format, started, pending, units: 0, packets: 0 }
    }

    /// Takes everything that the thread says; gives its notes.
    fn take_all(&mut self, heard: &Receiver<Said>) -> Result<Vec<String>, Failure> {
        let mut notes = self.coding.notes.clone();
        loop {
            match heard.recv() {
                Ok(Said::Block(bytes)) if bytes.len() <= BLOCK_MAX => self.take(&bytes)?,
                Ok(Said::Note(text)) => notes.push(text),
                Ok(Said::End) => break,
                Ok(Said::Failed(what)) => return Err(Failure::File(what)),
                Ok(Said::Block(_) | Said::Begin(_)) | Err(_) => return Err(Failure::File(DIED.into())),
            }
        }
        self.write(1)?;
        if self.units == 0 {
            return Err(Failure::File("there is no audio in it".into()));
        }
        Ok(notes)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let unit = self.coding.unit_bytes;
        for units in bytes.chunks_exact(unit * self.coding.channels) {
            for (pending, unit) in self.pending.iter_mut().zip(units.chunks_exact(unit)) {
                pending.extend_from_slice(unit);
            }
        }
        self.write(self.coding.units_in_packet)
    }

    /// Writes packets as long as there are `least` units for one.
    fn write(&mut self, least: usize) -> Result<(), Failure> {
        let unit = self.coding.unit_bytes;
        loop {
            let there = self.pending.first().map_or(0, Vec::len) / unit;
            if there < least.max(1) {
                return Ok(());
            }
            let units = there.min(self.coding.units_in_packet);
            let ticks = self.units * u64::from(self.coding.unit_ticks);
            if ticks / u64::from(self.coding.rate) >= HOURS_MAX * 3_600 {
                return Err(Failure::File(format!("it is longer than {HOURS_MAX} hours")));
            }
            for ((pending, party), ssrc) in self.pending.iter_mut().zip([Party::Near, Party::Far]).zip(SSRC) {
                let frame = AudioFrame {
                    at: place(self.started, ticks, self.coding.rate),
                    ssrc,
                    sequence: self.packets as u16,
                    timestamp: ticks as u32,
                    marker: self.packets == 0,
                    format: &self.format,
                    payload: pending.get(..units * unit).unwrap_or_default(),
                };
                let cleared = self.pass.clear(party, &frame);
                self.writer.append(&cleared).map_err(Failure::Archive)?;
                pending.drain(..units * unit);
            }
            self.units += units as u64;
            self.packets += 1;
        }
    }

    fn ticks(&self) -> u64 {
        self.units * u64::from(self.coding.unit_ticks)
    }

    fn end(&self) -> Timestamp {
        place(self.started, self.ticks(), self.coding.rate)
    }

    fn tracks(&self, coding: &Coding) -> Vec<Track> {
        let track = |(party, ssrc)| Track {
            party,
            codec: coding.codec.clone(),
            stored: None,
            clock_rate: coding.rate,
            ssrcs: vec![ssrc],
            packets: self.packets,
            decrypted: 0,
            undecryptable: 0,
            no_key: None,
            looks_encrypted: 0,
            lost_network: 0,
            lost_capture: 0,
            reordered: 0,
            duplicates: 0,
            jitter_ms: 0.0,
            mos: None,
            skew_ppm: 0.0,
            audio_ms: self.end().millis_since(self.started),
            quality: Quality::default(),
        };
        [Party::Near, Party::Far].into_iter().zip(SSRC).take(coding.channels).map(track).collect()
    }
}

/// The moment of a tick, rounded up: a whole number of samples stays one when it is counted back.
fn place(started: Timestamp, ticks: u64, rate: u32) -> Timestamp {
    let nanos = (u128::from(ticks) * NS_PER_S as u128).div_ceil(u128::from(rate.max(1)));
    started.plus_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// The facts of the recording at its start.
fn facts(id: RecordingId, about: &About, pass: &ImportPass, coding: &Coding) -> RecordingFacts {
    RecordingFacts {
        id,
        call: about.call.clone().unwrap_or_else(|| format!("import-{id}")),
        segment: about.segment.unwrap_or(1),
        state: State::Recording,
        source: Source::Import,
        extension: about.extension.clone(),
        extension_name: about.extension_name.clone(),
        outside_number: about.outside_number.clone(),
        other_party: about.other_party.clone().or_else(|| about.outside_number.clone()),
        other_party_name: about.other_party_name.clone(),
        direction: about.direction,
        started: about.started,
        answered: about.answered,
        ended: None,
        duration_ms: 0,
        ring_ms: about.answered.map_or(0, |answered| answered.millis_since(about.started)),
        hold_ms: 0,
        talk_ms: 0,
        tracks: Vec::with_capacity(coding.channels),
        pauses: Vec::new(),
        holds: Vec::new(),
        one_way: Vec::new(),
        dtmf: Vec::new(),
        user: about.user.clone(),
        user_name: about.user_name.clone(),
        business_unit: about.business_unit.clone(),
        units_above: about.units_above.clone(),
        site: about.site.clone(),
        agent: about.agent.clone(),
        account_code: about.account_code.clone(),
        hunt_group: about.hunt_group.clone(),
        trunk: about.trunk.clone(),
        ddi: about.ddi.clone(),
        ddi_name: None,
        contact: None,
        transferred_from: None,
        tags: about.tags.clone(),
        fields: about.fields.clone(),
        held: false,
        sip_call_ids: about.sip_call_ids.clone(),
        ties: Vec::new(),
        rule: pass.rule().to_owned(),
        named_by: None,
        signalling: Signalling::None,
        foreign_packets: 0,
        joined_late: false,
        known_by_end: false,
        not_held_packets: 0,
        recoded: None,
        shares_media: false,
    }
}

/// Its line of the balance sheet.
fn call_row(facts: &RecordingFacts, ended: Timestamp, file: &str) -> CallRow {
    CallRow::of_recording(facts, Some(ended), format!("{}, from {file}", facts.rule))
}
