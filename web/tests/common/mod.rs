//! Recordings of known content, and readers that are not ours, for the tests of exports.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(unreachable_pub, reason = "a module of several binaries")]

pub mod book;
pub mod site;

use std::f64::consts::TAU;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use decode::codec::g711::{self, Law};
use decode::codec::gsm;
use decode::{AudioFrame, Codec, Format, Party, Timestamp};
use policy::gate::Cleared;
use store::{Archive, Direction, RecordingFacts, RecordingId, Source, State};
use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

/// Samples in a packet: 20 ms.
pub const PACKET: usize = 160;
pub const HOSTILE: &str = "\"><script>alert(1)</script>\u{202e}../../x\r\n[Encrypted:True]";

pub fn started() -> Timestamp {
    "2026-03-04T05:06:07.000Z".parse().expect("a time")
}

/// The facts of an inbound call of `ms` milliseconds; every text in it is `text`.
pub fn facts(number: u8, ms: u64, text: &str) -> RecordingFacts {
    let some = || Some(text.to_owned());
    let started = started().plus_millis(i64::from(number) * 60_000);
    RecordingFacts {
        id: RecordingId::from_parts(started, [number; 10]),
        call: text.to_owned(),
        segment: 1,
        state: State::Recording,
        source: Source::Mirror,
        extension: text.to_owned(),
        extension_name: some(),
        outside_number: some(),
        other_party: some(),
        other_party_name: some(),
        direction: Direction::Inbound,
        started,
        answered: Some(started),
        ended: Some(started.plus_millis(ms as i64)),
        duration_ms: ms,
        ring_ms: 0,
        hold_ms: 0,
        talk_ms: ms,
        tracks: Vec::new(),
        pauses: Vec::new(),
        holds: Vec::new(),
        one_way: Vec::new(),
        dtmf: Vec::new(),
        user: some(),
        user_name: some(),
        business_unit: some(),
        units_above: Vec::new(),
        site: some(),
        agent: some(),
        account_code: some(),
        hunt_group: some(),
        trunk: some(),
        ddi: some(),
        ddi_name: None,
        contact: None,
        transferred_from: None,
        tags: vec![text.to_owned()],
        fields: Default::default(),
        held: false,
        sip_call_ids: vec![text.to_owned()],
        ties: Vec::new(),
        rule: text.to_owned(),
        named_by: None,
        signalling: store::Signalling::Sip,
        foreign_packets: 0,
        joined_late: false,
        known_by_end: false,
        not_held_packets: 0,
        recoded: None,
        shares_media: false,
    }
}

pub fn format(codec: &str, payload_type: u8) -> Format {
    Format {
        payload_type,
        codec: Codec::from_name(codec),
        clock_rate: 8_000,
        channels: 1,
        fmtp: String::new(),
    }
}

pub fn tone(samples: usize, hz: f64) -> Vec<i16> {
    (0..samples).map(|i| (8_000.0 * (i as f64 * TAU * hz / 8_000.0).sin()) as i16).collect()
}

/// A party's payloads of 20 ms, back to back from the start of the recording.
pub struct Voice {
    pub party: Party,
    pub ssrc: u32,
    pub format: Format,
    pub payloads: Vec<Vec<u8>>,
}

impl Voice {
    pub fn g711(party: Party, law: Law, samples: &[i16]) -> Voice {
        let format = if law == Law::Mu { format("PCMU", 0) } else { format("PCMA", 8) };
        let payloads =
            samples.chunks(PACKET).map(|p| p.iter().map(|&s| g711::encode(law, s)).collect()).collect();
        Voice { party, ssrc: 0xA0 + party.index() as u32, format, payloads }
    }

    pub fn gsm(party: Party, samples: &[i16]) -> Voice {
        let mut encoder = gsm::Encoder::new();
        let payloads = samples
            .as_chunks()
            .0
            .iter()
            .map(|frame| encoder.encode_frame(frame).to_bytes().to_vec())
            .collect();
        Voice { party, ssrc: 0xB0 + party.index() as u32, format: format("GSM", 3), payloads }
    }

    /// In an encoding that nobody here decodes.
    pub fn strange(party: Party, packets: usize) -> Voice {
        let payloads = (0..packets).map(|i| (0..20).map(|j| (i * 20 + j) as u8).collect()).collect();
        Voice { party, ssrc: 0xC0 + party.index() as u32, format: format("BV16", 98), payloads }
    }
}

/// Records both parties in the order in which their packets came.
pub fn record(archive: &Archive, facts: RecordingFacts, voices: &[Voice]) -> RecordingId {
    let mut writer = archive.create(facts.clone()).expect("a recording");
    let packets = voices.iter().map(|v| v.payloads.len()).max().unwrap_or(0);
    for i in 0..packets {
        for voice in voices {
            let Some(payload) = voice.payloads.get(i) else { continue };
            let frame = AudioFrame {
                at: facts.started.plus_millis(20 * i as i64),
                ssrc: voice.ssrc,
                sequence: (65_500 + i) as u16,
                timestamp: (u32::MAX - 8_000).wrapping_add((i * PACKET) as u32),
                marker: i == 0,
                format: &voice.format,
                payload,
            };
            writer.append(&Cleared::for_test(voice.party, &frame)).expect("room");
        }
    }
    writer.finish(RecordingFacts { state: State::Complete, ..facts }).expect("a finished recording")
}

pub struct Place {
    pub dir: tempfile::TempDir,
    pub archive: Archive,
}

pub fn place() -> Place {
    let dir = tempfile::tempdir().expect("a folder");
    let (archive, _) = Archive::open_or_create(&dir.path().join("archive")).expect("an archive");
    Place { dir, archive }
}

/// Records linear samples at `rate` Hz, of the near and the far party, in packets of 20 ms.
pub fn record_linear(
    archive: &Archive,
    facts: RecordingFacts,
    rate: u32,
    voices: [&[i16]; 2],
) -> RecordingId {
    let mut writer = archive.create(facts.clone()).expect("a recording");
    let format = Format { clock_rate: rate, ..format("L16", 97) };
    let packet = rate as usize / 50;
    for i in 0..voices[0].len().div_ceil(packet) {
        for (party, samples) in [Party::Near, Party::Far].into_iter().zip(voices) {
            let samples = samples.chunks(packet).nth(i).unwrap_or_default();
            let payload: Vec<u8> = samples.iter().flat_map(|s| s.to_be_bytes()).collect();
            let frame = AudioFrame {
                at: facts.started.plus_millis(20 * i as i64),
                ssrc: 0xD0 + party.index() as u32,
                sequence: i as u16,
                timestamp: (i * packet) as u32,
                marker: i == 0,
                format: &format,
                payload: &payload,
            };
            writer.append(&Cleared::for_test(party, &frame)).expect("room");
        }
    }
    writer.finish(RecordingFacts { state: State::Complete, ..facts }).expect("a finished recording")
}

/// The level at `hz`, as the amplitude of that sine, of samples at `rate` Hz.
pub fn level_at(samples: &[f32], rate: u32, hz: f64) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (i, &s) in samples.iter().enumerate() {
        let (sin, cos) = (i as f64 * TAU * hz / f64::from(rate)).sin_cos();
        re += f64::from(s) * cos;
        im += f64::from(s) * sin;
    }
    2.0 * re.hypot(im) / samples.len() as f64
}

/// Decodes a file with the installed ffmpeg: one list of samples per channel. None, with a word, where there is none.
pub fn by_ffmpeg(file: &[u8], channels: usize) -> Option<Vec<Vec<f32>>> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("file");
    std::fs::write(&path, file).expect("written");
    let words = ["-v", "error", "-xerror", "-i", path.to_str().expect("UTF-8"), "-f", "s16le", "-"];
    let Ok(run) = std::process::Command::new("ffmpeg").args(words).output() else {
        eprintln!("skipped: there is no ffmpeg on this machine");
        return None;
    };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(run.stderr.is_empty(), "{}", String::from_utf8_lossy(&run.stderr));
    let mut decoded = vec![Vec::new(); channels];
    for (i, &sample) in run.stdout.as_chunks().0.iter().enumerate() {
        decoded[i % channels].push(f32::from(i16::from_le_bytes(sample)) / 32_768.0);
    }
    Some(decoded)
}

/// Reads an audio file with a reader that is not ours: rate, then one list of samples per channel.
pub fn read_wav(file: Vec<u8>) -> (u32, Vec<Vec<f32>>) {
    let stream = MediaSourceStream::new(Box::new(Cursor::new(file)), Default::default());
    let mut reader = symphonia::default::get_probe()
        .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
        .expect("a known format");
    let track = reader.default_track(TrackType::Audio).expect("a track");
    let parameters = track.codec_params.as_ref().and_then(|p| p.audio()).expect("audio").clone();
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(&parameters, &AudioDecoderOptions::default())
        .expect("a known codec");
    let mut channels: Vec<Vec<f32>> = Vec::new();
    while let Some(packet) = reader.next_packet().expect("a packet or the end") {
        let mut planes: Vec<Vec<f32>> = Vec::new();
        decoder.decode(&packet).expect("samples").copy_to_vecs_planar(&mut planes);
        channels.resize(planes.len(), Vec::new());
        for (channel, plane) in channels.iter_mut().zip(planes) {
            channel.extend(plane);
        }
    }
    (parameters.sample_rate.unwrap_or(0), channels)
}

/// The share of the energy that lies at `hz`, 0 to 1.
pub fn share_at(samples: &[f32], hz: f64) -> f64 {
    let (mut re, mut im, mut all) = (0.0, 0.0, 0.0);
    for (i, &s) in samples.iter().enumerate() {
        let (sin, cos) = (i as f64 * TAU * hz / 8_000.0).sin_cos();
        re += f64::from(s) * cos;
        im += f64::from(s) * sin;
        all += f64::from(s).powi(2);
    }
    2.0 * (re * re + im * im) / (samples.len() as f64 * all)
}

/// Every file in a ZIP, in order.
pub fn unzip(file: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut zip = zip::ZipArchive::new(Cursor::new(file)).expect("a ZIP");
    (0..zip.len())
        .map(|i| {
            let mut entry = zip.by_index(i).expect("an entry");
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("readable");
            (entry.name().expect("a name of ours is UTF-8").into_owned(), content)
        })
        .collect()
}

pub fn content<'a>(files: &'a [(String, Vec<u8>)], name: &str) -> &'a [u8] {
    let found = files.iter().find(|(n, _)| n == name);
    &found.unwrap_or_else(|| panic!("{name} among {:?}", files.iter().map(|f| &f.0).collect::<Vec<_>>())).1
}

/// The only recording's file in an archive.
pub fn sealed_file(dir: &Path) -> PathBuf {
    let mut folders = vec![dir.join("archive/recordings")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                return path;
            }
        }
    }
    panic!("no recording");
}
