//! From an archive to files that other programs read: recordings of known tones, hostile names, damaged files.

mod common;

use std::f64::consts::TAU;
use std::ops::Range;

use common::*;
use decode::codec::g711::Law;
use decode::codec::gsm;
use decode::{AudioFrame, Codec, Party};
use policy::gate::Cleared;
use store::{Archive, Mark, RecordingFacts, RecordingId, State};
use web::{Error, Export, Exporter, FileFormat, Selection, Shape};

/// The export's own time and user.
fn exporter() -> Exporter {
    Exporter::new("ann", started())
}

fn selection(format: FileFormat) -> Selection {
    Selection { format, shape: Shape::Stereo, sealed: false, without_sip: false }
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
fn a_part_has_the_samples_that_the_whole_has_there() {
    let place = place();
    let voices = [
        Voice::g711(Party::Near, Law::Mu, &tone(24_000, 440.0)),
        Voice::g711(Party::Far, Law::A, &tone(24_000, 1_000.0)),
    ];
    let id = record(&place.archive, facts(1, 3_500, "x"), &voices);
    let export = || Export::prepare(&place.archive, id).expect("readable");
    let mut whole = Vec::new();
    export().write(FileFormat::Wav, Shape::Stereo, &mut whole).expect("a file");
    let (_, whole) = read_wav(whole);
    // In the middle, from the beginning, over the end, one sample before it.
    for (part_ms, samples) in [
        (1_234..2_345, 9_872..18_760),
        (0..1, 0..8),
        (3_000..u64::MAX, 24_000..28_000),
        (3_499..3_500, 27_992..28_000),
    ] {
        let part = export().cut(part_ms.clone()).expect("there is something");
        let mut file = Vec::new();
        let exported = part.write(FileFormat::Wav, Shape::Stereo, &mut file).expect("a file");
        assert_eq!(Some(file.len() as u64), part.bytes(FileFormat::Wav, Shape::Stereo).ok());
        assert_eq!(exported.samples, samples.len() as u64);
        let (_, channels) = read_wav(file);
        for (cut, whole) in channels.iter().zip(&whole) {
            assert_eq!(cut[..], whole[samples.clone()], "{part_ms:?}");
        }
        let mut file = Vec::new();
        let exported = part.write(FileFormat::Flac, Shape::Stereo, &mut file).expect("a file");
        assert_eq!((exported.samples, exported.bytes), (samples.len() as u64, file.len() as u64));
    }
    for nothing in [2_000..2_000, Range { start: 2_000, end: 1_000 }, 3_500..4_000, 9_000..u64::MAX] {
        let refused = export().cut(nothing.clone());
        assert!(matches!(refused, Err(Error::NothingThere { length_ms: 3_500 })), "{nothing:?}");
    }
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
    let exported = web::raw::export(&place.archive, id, selection(FileFormat::Raw), &exporter(), &mut file)
        .expect("a file");
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
            "recording.json",
            &format!("{id}.dat"),
            "manifest.json",
            "manifest.sig"
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
        let bundled = web::bundle(
            &place.archive,
            &asked,
            selection(FileFormat::Wav),
            &exporter(),
            &mut file,
            |done, all| heard.push((done, all)),
        )
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
    assert_eq!(
        names[4..],
        ["index.html", "metadata.jsonl", "README.txt", "SHA256SUMS", "manifest.json", "manifest.sig"]
    );
    let sums = String::from_utf8(content(&files, "SHA256SUMS").to_vec()).expect("UTF-8");
    let summed: Vec<&str> = sums.lines().map(|line| &line[66..]).collect();
    assert_eq!(summed, names[..7], "every file but the list itself and what comes behind it");
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
        web::bundle(&place.archive, &[id], selection(format), &exporter(), &mut file, |_, _| {})
            .expect("a ZIP");
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
    let dir = place.dir.path().to_owned();
    place.archive.close().expect("a disk");
    let path = sealed_file(&dir);
    let mut bytes = std::fs::read(&path).expect("the file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).expect("the file");
    let archive = Archive::open(&dir.join("archive")).expect("the archive");
    for format in [FileFormat::Wav, FileFormat::Raw] {
        let mut file = Vec::new();
        let refused = match format {
            FileFormat::Raw => web::raw::export(&archive, id, selection(format), &exporter(), &mut file),
            format => web::export(&archive, id, format, Shape::Stereo, &mut file),
        };
        assert!(matches!(refused, Err(Error::Store(_))), "{refused:?}");
        assert!(file.is_empty(), "nothing is written before everything was opened");
        let bundled = web::bundle(&archive, &[id], selection(format), &exporter(), Vec::new(), |_, _| {})
            .expect("a ZIP that says what is missing");
        assert_eq!((bundled.exported.len(), bundled.failed.len()), (0, 1));
    }
}
