//! From an archive to files that other programs read: recordings of known tones, hostile names, damaged files.

use std::f64::consts::TAU;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use decode::codec::g711::{self, Law};
use decode::codec::gsm;
use decode::{AudioFrame, Codec, Format, Party, Timestamp};
use policy::gate::Cleared;
use store::{Archive, Direction, Mark, RecordingFacts, RecordingId, Source, State};
use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use web::{Error, Export, FileFormat, Shape};

/// Samples in a packet: 20 ms.
const PACKET: usize = 160;
const HOSTILE: &str = "\"><script>alert(1)</script>\u{202e}../../x\r\n[Encrypted:True]";

fn started() -> Timestamp {
    "2026-03-04T05:06:07.000Z".parse().expect("a time")
}

/// The facts of an inbound call of `ms` milliseconds; every text in it is `text`.
fn facts(number: u8, ms: u64, text: &str) -> RecordingFacts {
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
        agent: some(),
        account_code: some(),
        hunt_group: some(),
        trunk: some(),
        ddi: some(),
        tags: vec![text.to_owned()],
        held: false,
        sip_call_ids: vec![text.to_owned()],
        ties: Vec::new(),
        rule: text.to_owned(),
        signalling: store::Signalling::Sip,
        foreign_packets: 0,
        joined_late: false,
        shares_media: false,
        known_by_end: false,
        not_held_packets: 0,
    }
}

fn format(codec: &str, payload_type: u8) -> Format {
    Format {
        payload_type,
        codec: Codec::from_name(codec),
        clock_rate: 8_000,
        channels: 1,
        fmtp: String::new(),
    }
}

fn tone(samples: usize, hz: f64) -> Vec<i16> {
    (0..samples).map(|i| (8_000.0 * (i as f64 * TAU * hz / 8_000.0).sin()) as i16).collect()
}

/// A party's payloads of 20 ms, back to back from the start of the recording.
struct Voice {
    party: Party,
    ssrc: u32,
    format: Format,
    payloads: Vec<Vec<u8>>,
}

impl Voice {
    fn g711(party: Party, law: Law, samples: &[i16]) -> Voice {
        let format = if law == Law::Mu { format("PCMU", 0) } else { format("PCMA", 8) };
        let payloads =
            samples.chunks(PACKET).map(|p| p.iter().map(|&s| g711::encode(law, s)).collect()).collect();
        Voice { party, ssrc: 0xA0 + party.index() as u32, format, payloads }
    }

    fn gsm(party: Party, samples: &[i16]) -> Voice {
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
    fn strange(party: Party, packets: usize) -> Voice {
        let payloads = (0..packets).map(|i| (0..20).map(|j| (i * 20 + j) as u8).collect()).collect();
        Voice { party, ssrc: 0xC0 + party.index() as u32, format: format("BV16", 98), payloads }
    }
}

/// Records both parties in the order in which their packets came.
fn record(archive: &Archive, facts: RecordingFacts, voices: &[Voice]) -> RecordingId {
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

struct Place {
    _dir: tempfile::TempDir,
    archive: Archive,
}

fn place() -> Place {
    let dir = tempfile::tempdir().expect("a folder");
    let (archive, _) = Archive::open_or_create(&dir.path().join("archive")).expect("an archive");
    Place { _dir: dir, archive }
}

/// Reads a WAVE file with a reader that is not ours: rate, then one list of samples per channel.
fn read_wav(file: Vec<u8>) -> (u32, Vec<Vec<f32>>) {
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
fn share_at(samples: &[f32], hz: f64) -> f64 {
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
fn unzip(file: &[u8]) -> Vec<(String, Vec<u8>)> {
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

fn content<'a>(files: &'a [(String, Vec<u8>)], name: &str) -> &'a [u8] {
    let found = files.iter().find(|(n, _)| n == name);
    &found.unwrap_or_else(|| panic!("{name} among {:?}", files.iter().map(|f| &f.0).collect::<Vec<_>>())).1
}

/// The only recording's file in an archive.
fn sealed_file(dir: &Path) -> PathBuf {
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

#[test]
fn a_stereo_file_has_the_length_of_the_call_and_each_party_in_its_channel() {
    let place = place();
    let voices = [
        Voice::g711(Party::Near, Law::Mu, &tone(24_000, 440.0)),
        Voice::g711(Party::Far, Law::A, &tone(24_000, 1_000.0)),
    ];
    // The call lasts half a second longer than its audio.
    let id = record(&place.archive, facts(1, 3_500, "x"), &voices);
    let mut file = Vec::new();
    let exported =
        web::export(&place.archive, id, FileFormat::Wav, Shape::Stereo, &mut file).expect("a file");
    assert_eq!((exported.samples, exported.rate, exported.duration_ms), (28_000, 8_000, 3_500));
    assert_eq!(exported.bytes, file.len() as u64);
    assert_eq!(exported.bytes, 44 + 4 * 28_000);
    assert_eq!(exported.warnings, Vec::<String>::new());
    let (rate, channels) = read_wav(file);
    assert_eq!((rate, channels.len(), channels[0].len()), (8_000, 2, 28_000));
    assert!(share_at(&channels[0][..24_000], 440.0) > 0.99);
    assert!(share_at(&channels[1][..24_000], 1_000.0) > 0.99);
    assert!(
        channels.iter().all(|c| c[24_800..].iter().all(|&s| s == 0.0)),
        "silence up to the end of the call"
    );
}

#[test]
fn mono_near_and_far_are_what_they_say() {
    let place = place();
    let (near, far) = (tone(16_000, 440.0), tone(16_000, 1_000.0));
    let voices = [Voice::g711(Party::Near, Law::Mu, &near), Voice::g711(Party::Far, Law::A, &far)];
    let id = record(&place.archive, facts(1, 2_000, "x"), &voices);
    let export = Export::prepare(&place.archive, id).expect("readable");
    for (shape, low, high) in [(Shape::Mono, 0.5, 0.5), (Shape::Near, 1.0, 0.0), (Shape::Far, 0.0, 1.0)] {
        let mut file = Vec::new();
        export.write(FileFormat::Wav, shape, &mut file).expect("a file");
        assert_eq!(Some(file.len() as u64), export.bytes(FileFormat::Wav, shape).ok());
        let (_, channels) = read_wav(file);
        assert_eq!((channels.len(), channels[0].len()), (1, 16_000));
        assert!((share_at(&channels[0], 440.0) - low).abs() < 0.02, "{shape}");
        assert!((share_at(&channels[0], 1_000.0) - high).abs() < 0.02, "{shape}");
    }
}

#[test]
fn wideband_stays_wide_in_wav_and_is_resampled_for_gsm() {
    let place = place();
    // 1 kHz and, beyond what GSM can hold, 6 kHz: folded back it would be heard at 2 kHz.
    let samples: Vec<i16> = (0..32_000)
        .map(|i| {
            let at = |hz: f64| (f64::from(i) * TAU * hz / 16_000.0).sin();
            (at(1_000.0) * 6_000.0 + at(6_000.0) * 6_000.0) as i16
        })
        .collect();
    let payloads = samples.chunks(320).map(|p| p.iter().flat_map(|s| s.to_be_bytes()).collect()).collect();
    let mut wide = Voice { party: Party::Near, ssrc: 0xD0, format: format("L16", 97), payloads };
    wide.format.clock_rate = 16_000;
    let mut writer = place.archive.create(facts(1, 2_000, "x")).expect("a recording");
    for (i, payload) in wide.payloads.iter().enumerate() {
        let frame = AudioFrame {
            at: started().plus_millis(60_000 + 20 * i as i64),
            ssrc: wide.ssrc,
            sequence: i as u16,
            timestamp: (i * 320) as u32,
            marker: i == 0,
            format: &wide.format,
            payload,
        };
        writer.append(&Cleared::for_test(wide.party, &frame)).expect("room");
    }
    let ended = RecordingFacts { state: State::Complete, ..facts(1, 2_000, "x") };
    let id = writer.finish(ended).expect("a finished recording");
    let mut file = Vec::new();
    web::export(&place.archive, id, FileFormat::Wav, Shape::Near, &mut file).expect("a file");
    let (rate, channels) = read_wav(file);
    let heard: Vec<i16> = channels[0].iter().map(|&s| (s * 32_768.0).round() as i16).collect();
    assert!(rate == 16_000 && heard == samples, "sample for sample");

    let mut file = Vec::new();
    let exported = web::export(&place.archive, id, FileFormat::Gsm, Shape::Near, &mut file).expect("a file");
    assert_eq!((exported.rate, exported.samples, exported.bytes), (8_000, 16_000, file.len() as u64));
    let mut decoder = gsm::Decoder::new();
    let blocks = file[60..].as_chunks::<{ gsm::BLOCK_BYTES }>().0;
    let heard: Vec<f32> = blocks
        .iter()
        .flat_map(|block| decoder.decode_block(block))
        .map(|s| f32::from(s) / 32_768.0)
        .collect();
    let (kept, folded) = (share_at(&heard[800..15_200], 1_000.0), share_at(&heard[800..15_200], 2_000.0));
    assert!(kept > 0.95 && folded < 0.01, "{kept:.3} {folded:.4}");
}

#[test]
fn a_gsm_file_holds_the_mix_in_blocks_of_65_bytes() {
    let place = place();
    let voices = [Voice::g711(Party::Near, Law::Mu, &tone(16_000, 440.0))];
    let id = record(&place.archive, facts(1, 2_050, "x"), &voices);
    let mut file = Vec::new();
    let exported = web::export(&place.archive, id, FileFormat::Gsm, Shape::Mono, &mut file).expect("a file");
    let blocks = 16_400_usize.div_ceil(320);
    assert_eq!((exported.samples, file.len()), (16_400, (60 + 65 * blocks).next_multiple_of(2)));
    let mut decoder = gsm::Decoder::new();
    let samples: Vec<f32> = file[60..]
        .as_chunks()
        .0
        .iter()
        .flat_map(|block| decoder.decode_block(block))
        .map(f32::from)
        .collect();
    assert!(share_at(&samples[800..16_000], 440.0) > 0.95);
    let refused = web::export(&place.archive, id, FileFormat::Gsm, Shape::Stereo, Vec::new());
    let message = refused.expect_err("stereo GSM does not exist").to_string();
    assert_eq!(message, "a gsm file has no stereo form: choose mono, near or far");
}

#[test]
fn gsm_received_is_decoded_like_any_other_encoding() {
    let place = place();
    let voices = [Voice::gsm(Party::Far, &tone(16_000, 440.0))];
    let id = record(&place.archive, facts(1, 2_000, "x"), &voices);
    let mut file = Vec::new();
    let exported =
        web::export(&place.archive, id, FileFormat::Wav, Shape::Stereo, &mut file).expect("a file");
    assert_eq!(exported.warnings, Vec::<String>::new());
    let (_, channels) = read_wav(file);
    assert!(share_at(&channels[1][800..], 440.0) > 0.95);
}

#[test]
fn a_pause_is_exact_silence_of_its_own_length_even_where_packets_were_kept() {
    let place = place();
    let facts = facts(1, 3_000, "x");
    let voice = Voice::g711(Party::Near, Law::Mu, &tone(24_000, 440.0));
    let mut writer = place.archive.create(facts.clone()).expect("a recording");
    for (i, payload) in voice.payloads.iter().enumerate() {
        let at = facts.started.plus_millis(20 * i as i64);
        let source = || "api".to_owned();
        match i {
            50 => writer.mark(at, &Mark::PauseStart { source: source() }).expect("room"),
            100 => writer.mark(at, &Mark::PauseEnd { source: source() }).expect("room"),
            _ => {}
        }
        let frame = AudioFrame {
            at,
            ssrc: voice.ssrc,
            sequence: i as u16,
            timestamp: (i * PACKET) as u32,
            marker: false,
            format: &voice.format,
            payload,
        };
        writer.append(&Cleared::for_test(Party::Near, &frame)).expect("room");
    }
    let id = writer.finish(RecordingFacts { state: State::Complete, ..facts }).expect("a recording");
    let mut file = Vec::new();
    web::export(&place.archive, id, FileFormat::Wav, Shape::Near, &mut file).expect("a file");
    let (_, channels) = read_wav(file);
    assert_eq!(channels[0].len(), 24_000);
    assert!(channels[0][8_000..16_000].iter().all(|&s| s == 0.0));
    for heard in [0..7_900, 16_100..24_000] {
        assert!(share_at(&channels[0][heard.clone()], 440.0) > 0.99, "{heard:?}");
    }
}

#[test]
fn what_cannot_be_decoded_is_silence_of_the_right_length_and_is_said() {
    let place = place();
    let voices = [Voice::g711(Party::Near, Law::Mu, &tone(16_000, 440.0)), Voice::strange(Party::Far, 100)];
    let id = record(&place.archive, facts(1, 2_000, "x"), &voices);
    let mut file = Vec::new();
    let exported =
        web::export(&place.archive, id, FileFormat::Wav, Shape::Stereo, &mut file).expect("a file");
    assert_eq!(exported.samples, 16_000);
    assert_eq!(exported.warnings.len(), 1);
    assert!(
        exported.warnings[0].starts_with("far: BV16 (100 packets) is kept, cannot be decoded on this box")
    );
    assert_eq!(exported.undecoded, 100);
    let (_, channels) = read_wav(file);
    assert!(channels[1].iter().all(|&s| s == 0.0));
    let near = web::export(&place.archive, id, FileFormat::Wav, Shape::Near, Vec::new()).expect("a file");
    assert_eq!((near.warnings.len(), near.undecoded), (0, 0), "the silent party is not in this file");
    // Silence alone is no export of a voice.
    let mut file = Vec::new();
    let far = web::export(&place.archive, id, FileFormat::Wav, Shape::Far, &mut file);
    assert!(matches!(far, Err(Error::Undecodable { .. })) && file.is_empty());
}

#[test]
fn a_raw_export_gives_the_payloads_as_received() {
    let place = place();
    let voices = [Voice::g711(Party::Near, Law::Mu, &tone(16_000, 440.0)), Voice::strange(Party::Far, 100)];
    let id = record(&place.archive, facts(1, 2_000, HOSTILE), &voices);
    let mut file = Vec::new();
    let exported =
        web::export(&place.archive, id, FileFormat::Raw, Shape::Stereo, &mut file).expect("a file");
    assert_eq!(exported.bytes, file.len() as u64);
    let files = unzip(&file);
    let names: Vec<&str> = files.iter().map(|f| f.0.as_str()).collect();
    assert_eq!(
        names,
        [
            "near-PCMU.raw",
            "near-PCMU.packets.jsonl",
            "far-BV16.raw",
            "far-BV16.packets.jsonl",
            "recording.json"
        ]
    );
    assert_eq!(content(&files, "near-PCMU.raw"), voices[0].payloads.concat());
    assert_eq!(content(&files, "far-BV16.raw"), voices[1].payloads.concat());
    let table = String::from_utf8(content(&files, "far-BV16.packets.jsonl").to_vec()).expect("UTF-8");
    let rows: Vec<serde_json::Value> =
        table.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rows.len(), 100);
    assert_eq!(rows[99]["sequence"], (65_500_u32 + 99) % 65_536);
    assert_eq!((&rows[99]["offset"], &rows[99]["length"]), (&(99 * 20).into(), &20.into()));
    assert_eq!(rows[99]["at_us"], facts(1, 0, "").started.as_millis() * 1_000 + 99 * 20_000);
    let sidecar: serde_json::Value = serde_json::from_slice(content(&files, "recording.json")).expect("JSON");
    assert_eq!(sidecar["files"][1]["format"]["codec"], "BV16");
    assert_eq!(sidecar["files"][1]["packets"], 100);
    assert_eq!(sidecar["recording"]["id"], id.to_string());
}

#[test]
fn a_bundle_is_complete_checkable_and_the_same_bytes_twice() {
    let place = place();
    let voice = || [Voice::g711(Party::Near, Law::Mu, &tone(8_000, 440.0))];
    let ids = [1, 2].map(|number| record(&place.archive, facts(number, 1_000, "Miller & Sons"), &voice()));
    let unknown = RecordingId::from_parts(started(), [9; 10]);
    let asked = [ids[1], ids[0], unknown, ids[1]];
    let make = || {
        let (mut file, mut heard) = (Vec::new(), Vec::new());
        let bundled =
            web::bundle(&place.archive, &asked, FileFormat::Wav, Shape::Stereo, &mut file, |done, all| {
                heard.push((done, all))
            })
            .expect("a ZIP");
        assert_eq!(heard, [(1, 3), (2, 3), (3, 3)]);
        (file, bundled)
    };
    let (file, bundled) = make();
    assert_eq!(bundled.bytes, file.len() as u64);
    assert_eq!(bundled.exported.iter().map(|e| e.id).collect::<Vec<_>>(), [ids[1], ids[0]]);
    assert!(matches!(bundled.failed[..], [(id, Error::Store(_))] if id == unknown), "{:?}", bundled.failed);
    assert_eq!(make().0, file);

    let files = unzip(&file);
    let names: Vec<&str> = files.iter().map(|f| f.0.as_str()).collect();
    let expected = [
        format!("{}.wav", ids[1]),
        format!("{}.dat", ids[1]),
        format!("{}.wav", ids[0]),
        format!("{}.dat", ids[0]),
    ];
    assert_eq!(names[..4], expected);
    assert_eq!(names[4..], ["index.html", "metadata.jsonl", "README.txt", "SHA256SUMS"]);
    let sums = String::from_utf8(content(&files, "SHA256SUMS").to_vec()).expect("UTF-8");
    let summed: Vec<&str> = sums.lines().map(|line| &line[66..]).collect();
    assert_eq!(summed, names[..7], "every file but the list itself");
    let (_, channels) = read_wav(content(&files, &expected[0]).to_vec());
    assert!(share_at(&channels[0], 440.0) > 0.99);
    let metadata = String::from_utf8(content(&files, "metadata.jsonl").to_vec()).expect("UTF-8");
    let rows: Vec<RecordingFacts> =
        metadata.lines().map(|line| serde_json::from_str(line).expect("facts")).collect();
    assert_eq!(rows.iter().map(|r| r.id).collect::<Vec<_>>(), [ids[1], ids[0]]);
    let page = String::from_utf8(content(&files, "index.html").to_vec()).expect("UTF-8");
    assert!(page.contains("Miller &amp; Sons") && page.contains(&expected[0]));
    assert!(page.contains(&unknown.to_string()) && page.contains("the archive does not have it"));
}

#[test]
fn no_text_from_signalling_reaches_a_file_name_or_a_tag_or_a_line_of_its_own() {
    let place = place();
    let mut voice = Voice::g711(Party::Near, Law::Mu, &tone(8_000, 440.0));
    voice.format.codec = Codec::Other(HOSTILE.into());
    let heard = Voice::g711(Party::Far, Law::Mu, &tone(8_000, 440.0));
    let id = record(&place.archive, facts(1, 1_000, HOSTILE), &[voice, heard]);
    for format in [FileFormat::Wav, FileFormat::Raw] {
        let mut file = Vec::new();
        web::bundle(&place.archive, &[id], format, Shape::Stereo, &mut file, |_, _| {}).expect("a ZIP");
        let files = unzip(&file);
        for (name, _) in &files {
            assert!(
                name.chars().all(|c| c.is_ascii_alphanumeric() || "./-".contains(c)) && !name.contains(".."),
                "{name:?}"
            );
        }
        let page = String::from_utf8(content(&files, "index.html").to_vec()).expect("UTF-8");
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
        let dat = String::from_utf8(content(&files, &format!("{id}.dat")).to_vec()).expect("UTF-8");
        assert_eq!(dat.lines().count(), 30);
        let metadata = String::from_utf8(content(&files, "metadata.jsonl").to_vec()).expect("UTF-8");
        assert_eq!(metadata.lines().count(), 1);
    }
}

#[test]
fn a_recording_that_was_changed_is_not_exported() {
    let place = place();
    let voices = [Voice::g711(Party::Near, Law::Mu, &tone(24_000, 440.0))];
    let id = record(&place.archive, facts(1, 3_000, "x"), &voices);
    place.archive.sync().expect("a disk");
    let dir = place._dir.path().to_owned();
    place.archive.close().expect("a disk");
    let path = sealed_file(&dir);
    let mut bytes = std::fs::read(&path).expect("the file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).expect("the file");
    let archive = Archive::open(&dir.join("archive")).expect("the archive");
    for format in [FileFormat::Wav, FileFormat::Raw] {
        let mut file = Vec::new();
        let refused = web::export(&archive, id, format, Shape::Stereo, &mut file);
        assert!(matches!(refused, Err(Error::Store(_))), "{refused:?}");
        assert!(file.is_empty(), "nothing is written before everything was opened");
        let bundled = web::bundle(&archive, &[id], format, Shape::Stereo, Vec::new(), |_, _| {})
            .expect("a ZIP that says what is missing");
        assert_eq!((bundled.exported.len(), bundled.failed.len()), (0, 1));
    }
}
