//! Files that come in and go out again: bit for bit, sample for sample, or not at all.

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::*;
use decode::codec::g711::{self, Law};
use decode::codec::gsm;
use decode::{Codec, Party};
use policy::{Gate, Rules};
use proptest::prelude::*;
use store::{RecordingId, Source, What};
use web::import::about::Said;
use web::import::{Imported, import};
use web::{Error, Exporter, FileFormat, Selection, Shape};

/// A WAVE file: `fmt ` as given, with what comes behind its 16 bytes, then the audio.
fn wave(tag: u16, channels: u16, rate: u32, bits: u16, more: &[u8], data: &[u8]) -> Vec<u8> {
    let block = if tag == 0x31 { 65 } else { channels * bits / 8 };
    let mut file = b"RIFF\0\0\0\0WAVEfmt ".to_vec();
    file.extend((16 + more.len() as u32).to_le_bytes());
    file.extend(tag.to_le_bytes());
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend((rate * u32::from(block)).to_le_bytes());
    file.extend(block.to_le_bytes());
    file.extend(bits.to_le_bytes());
    file.extend(more);
    // A chunk of an odd length that is nobody's business.
    file.extend(b"note\x03\0\0\0abc\0data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    let len = file.len() as u32 - 8;
    file[4..8].copy_from_slice(&len.to_le_bytes());
    file
}

fn put(place: &Place, name: &str, file: &[u8]) -> PathBuf {
    let path = place.dir.path().join(name);
    std::fs::write(&path, file).expect("written");
    path
}

fn try_import(place: &Place, name: &str, file: &[u8]) -> Result<Imported, Error> {
    let path = put(place, name, file);
    let about = Said::default()
        .about("20260304050607", None, Some("2001"), started())
        .expect("a time and an extension");
    let pass = Gate::new(Rules::default()).handle_import("ann", about.direction).expect("a name");
    import(&place.archive, &path, &about, &pass, "ann", started())
}

fn imported(place: &Place, name: &str, file: &[u8]) -> Imported {
    try_import(place, name, file).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A file of the raw export.
fn raw(place: &Place, id: RecordingId, name: &str) -> Vec<u8> {
    let mut zip = Vec::new();
    let selection = Selection { format: FileFormat::Raw, ..Selection::default() };
    web::raw::export(&place.archive, id, selection, &Exporter::new("ann", started()), &mut zip)
        .expect("a ZIP");
    content(&unzip(&zip), name).to_vec()
}

fn exported(place: &Place, id: RecordingId, shape: Shape) -> (u32, Vec<Vec<i16>>) {
    let mut file = Vec::new();
    web::export(&place.archive, id, FileFormat::Wav, shape, &mut file).expect("a file");
    let (rate, channels) = read_wav(file);
    let whole = |channel: Vec<f32>| channel.iter().map(|s| (s * 32_768.0).round() as i16).collect();
    (rate, channels.into_iter().map(whole).collect())
}

/// Every value that a sample can have, and then some.
fn samples(count: usize, seed: u32) -> Vec<i16> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as i16
    };
    (0..count).map(next).collect()
}

#[test]
fn g711_comes_out_bit_for_bit_in_the_channel_that_it_was_in() {
    let place = place();
    for (tag, law, codec, name) in [(6, Law::A, Codec::Pcma, "PCMA"), (7, Law::Mu, Codec::Pcmu, "PCMU")] {
        // Every code word, and a length that is no whole number of packets.
        let near: Vec<u8> = (0..12_345_usize).map(|i| (i * 7) as u8).collect();
        let far: Vec<u8> = (0..12_345_usize).map(|i| (i / 3) as u8).collect();
        let both: Vec<u8> = near.iter().zip(&far).flat_map(|(&a, &b)| [a, b]).collect();
        let made = imported(&place, name, &wave(tag, 2, 8_000, 8, &[0, 0], &both));
        assert_eq!((made.codec, made.rate, made.duration_ms), (codec, 8_000, 1_543));
        assert!(raw(&place, made.id, &format!("near-{name}.raw")) == near);
        assert!(raw(&place, made.id, &format!("far-{name}.raw")) == far);
        let (rate, channels) = exported(&place, made.id, Shape::Stereo);
        let decoded = |bytes: &[u8]| bytes.iter().map(|&b| g711::decode(law, b)).collect::<Vec<i16>>();
        assert!(rate == 8_000 && channels == [decoded(&near), decoded(&far)], "{name}");
    }
}

#[test]
fn linear_samples_come_out_sample_for_sample_at_every_rate() {
    let place = place();
    for rate in [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000] {
        for channels in [1, 2] {
            let count = 3 * rate as usize + 137;
            let voices: Vec<Vec<i16>> = (0..channels).map(|c| samples(count, rate + c)).collect();
            let data: Vec<u8> =
                (0..count).flat_map(|i| voices.iter().flat_map(move |v| v[i].to_le_bytes())).collect();
            let made = imported(&place, "l16.wav", &wave(1, channels as u16, rate, 16, &[], &data));
            let shape = if channels == 2 { Shape::Stereo } else { Shape::Near };
            let (out_rate, out) = exported(&place, made.id, shape);
            assert_eq!((out_rate, out.len(), out[0].len()), (rate, channels as usize, count), "{rate} Hz");
            assert!(out == voices, "{rate} Hz, {channels} channels");
        }
    }
}

#[test]
fn other_widths_keep_their_upper_bits_and_an_extensible_header_is_read() {
    let place = place();
    let values = samples(16_000, 9);
    let wide: Vec<u8> = values.iter().flat_map(|v| [&[0x5a][..], &v.to_le_bytes()].concat()).collect();
    let made = imported(&place, "24.wav", &wave(1, 1, 16_000, 24, &[], &wide));
    assert_eq!(made.notes, ["24 bits a sample: the upper 16 are kept"]);
    assert!(exported(&place, made.id, Shape::Near).1[0] == values);
    let eight: Vec<u8> = values.iter().map(|&v| ((v >> 8) + 128) as u8).collect();
    let made = imported(&place, "8.wav", &wave(1, 1, 16_000, 8, &[], &eight));
    let upper: Vec<i16> = values.iter().map(|&v| v & !0xff).collect();
    assert!(made.notes.is_empty() && exported(&place, made.id, Shape::Near).1[0] == upper);
    let mut more = vec![22, 0, 16, 0, 4, 0, 0, 0, 1, 0];
    more.extend(b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71");
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let made = imported(&place, "ext.wav", &wave(0xfffe, 1, 16_000, 16, &more, &data));
    assert!(exported(&place, made.id, Shape::Near).1[0] == values);
}

#[test]
fn gsm_is_kept_as_it_is() {
    let place = place();
    let id = record(
        &place.archive,
        facts(1, 2_030, "x"),
        &[Voice::g711(Party::Near, Law::Mu, &tone(16_000, 440.0))],
    );
    let mut file = Vec::new();
    web::export(&place.archive, id, FileFormat::Gsm, Shape::Near, &mut file).expect("a file");
    let made = imported(&place, "gsm.wav", &file);
    // 16,240 samples are counted: 102 frames, the last one not full.
    assert_eq!((made.codec.name(), made.rate, made.duration_ms), ("GSM", 8_000, 102 * 20));
    let frames = raw(&place, made.id, "near-GSM.raw");
    let blocks: Vec<u8> = frames
        .as_chunks::<33>()
        .0
        .as_chunks::<2>()
        .0
        .iter()
        .flat_map(|pair| {
            gsm::Parameters::to_block(&pair.map(|f| gsm::Parameters::from_bytes(&f).expect("a frame")))
        })
        .collect();
    assert_eq!(blocks.len(), 51 * 65);
    assert!(blocks[..] == file[60..60 + 51 * 65], "every bit of every block");
}

#[test]
fn what_symphonia_decodes_comes_in_with_its_length_and_its_tones() {
    let place = place();
    let near: Vec<i16> = tone(24_000, 440.0);
    let id = record(
        &place.archive,
        facts(1, 3_000, "x"),
        &[Voice::g711(Party::Near, Law::Mu, &near), Voice::g711(Party::Far, Law::A, &tone(24_000, 1_000.0))],
    );
    let written = |format| {
        let mut file = Vec::new();
        web::export(&place.archive, id, format, Shape::Stereo, &mut file).expect("a file");
        file
    };
    let flac = imported(&place, "x.flac", &written(FileFormat::Flac));
    assert!(
        exported(&place, flac.id, Shape::Stereo) == exported(&place, id, Shape::Stereo),
        "sample for sample"
    );
    let wave = put(&place, "x.wav", &written(FileFormat::Wav));
    for (name, words) in [
        ("x.mp3", &["-ar", "44100", "-b:a", "128k"][..]),
        ("x.ogg", &["-ar", "44100", "-c:a", "libvorbis"]),
        ("x.m4a", &["-ar", "44100", "-c:a", "aac", "-b:a", "128k"]),
        ("alac.m4a", &["-c:a", "alac"]),
    ] {
        let path = place.dir.path().join(name);
        let run = Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-i"])
            .arg(&wave)
            .args(words)
            .arg(&path)
            .output();
        let Ok(run) = run else {
            eprintln!("skipped: there is no ffmpeg on this machine");
            return;
        };
        assert!(run.status.success(), "{name}: {}", String::from_utf8_lossy(&run.stderr));
        let made = imported(&place, name, &std::fs::read(&path).expect("made"));
        assert!(made.duration_ms.abs_diff(3_000) < 60, "{name}: {} ms", made.duration_ms);
        let mut file = Vec::new();
        web::export(&place.archive, made.id, FileFormat::Wav, Shape::Stereo, &mut file).expect("a file");
        let (rate, channels) = read_wav(file);
        for (channel, own, other) in [(&channels[0], 440.0, 1_000.0), (&channels[1], 1_000.0, 440.0)] {
            let talk = &channel[rate as usize / 2..2 * rate as usize + rate as usize / 2];
            let (level, leak) = (level_at(talk, rate, own), level_at(talk, rate, other));
            // LAME itself takes 5 % off.
            assert!(
                (level * 32_768.0 / 8_000.0 - 1.0).abs() < 0.08,
                "{name}: {own} Hz at {:.0}",
                level * 32_768.0
            );
            assert!(leak < level / 50.0, "{name}: {other} Hz leaks");
        }
    }
}

#[test]
fn an_import_says_who_brought_what_and_is_a_recording_like_any_other() {
    let place = place();
    let file = wave(7, 1, 8_000, 8, &[], &[0x55; 8_000]);
    let made = imported(&place, "call.wav", &file);
    let row = place.archive.row(made.id).expect("a row");
    assert_eq!((row.facts.source, row.facts.rule.as_str()), (Source::Import, "imported by ann"));
    assert_eq!((row.facts.extension.as_str(), row.facts.tracks.len()), ("2001", 1));
    let events: Vec<What> =
        place.archive.events().expect("a ledger").map(|event| event.expect("a line").what).collect();
    use sha2::Digest;
    let sum: String = sha2::Sha256::digest(&file).iter().map(|b| format!("{b:02x}")).collect();
    let expected =
        What::Imported { id: made.id, file: "call.wav".into(), bytes: file.len() as u64, sha256: sum };
    assert!(events.contains(&expected), "{events:?}");
    let calls: Vec<_> = place.archive.calls().expect("a ledger").map(|row| row.expect("a line")).collect();
    assert_eq!((calls.len(), calls[0].reason.as_str()), (1, "imported by ann, from call.wav"));
    assert!(place.archive.verify(None).all(|finding| !finding.is_problem()));
}

#[test]
fn a_file_that_was_cut_is_what_is_there_and_said() {
    let place = place();
    let whole = wave(7, 2, 8_000, 8, &[], &[0x55; 16_000]);
    let made = imported(&place, "cut.wav", &whole[..whole.len() - 4_001]);
    assert_eq!(made.notes, ["it was cut: 4001 bytes that its header promises are missing"]);
    assert_eq!(made.duration_ms, 750, "half a sample at the end is none");
}

#[test]
fn a_file_whose_recorder_never_wrote_the_lengths_is_read_to_its_end() {
    let place = place();
    let unpatched = |mut file: Vec<u8>, fact: bool| {
        let data = file.windows(4).position(|w| w == b"data").expect("audio");
        file[data + 4..data + 8].fill(0);
        if fact {
            file.splice(data..data, *b"fact\x04\0\0\0\0\0\0\0");
        }
        file[4..8].fill(0);
        file
    };
    let note = "its recorder did not write how long the audio is: it is read to the end of the file";
    let values = samples(16_000, 5);
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let made = imported(&place, "died.wav", &unpatched(wave(1, 1, 8_000, 16, &[], &data), true));
    assert_eq!((made.notes, made.duration_ms), (vec![note.to_owned()], 2_000));
    assert!(exported(&place, made.id, Shape::Near).1[0] == values);
    // GSM goes by the samples that `fact` counts, which were not written either.
    let block = [&[0xd0][..], &[0x55; 64]].concat();
    let gsm = wave(0x31, 1, 8_000, 0, &[2, 0, 64, 1], &block.repeat(10));
    let made = imported(&place, "died.gsm.wav", &unpatched(gsm, true));
    assert_eq!((made.notes, made.duration_ms), (vec![note.to_owned()], 400));
    // Nothing recorded, and a chunk of text behind: that is no audio.
    let mut empty = wave(1, 1, 8_000, 16, &[], &[]);
    empty.extend(b"LIST\x04\0\0\0INFO");
    let refused = try_import(&place, "empty.wav", &empty);
    assert!(
        matches!(&refused, Err(Error::Unreadable { what, .. }) if what.contains("no audio")),
        "{refused:?}"
    );
}

#[test]
fn what_is_no_audio_leaves_nothing_behind() {
    let place = place();
    let good = wave(1, 1, 8_000, 16, &[], &[1; 16_000]);
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("text", b"this is no audio at all, whatever its name says. ".repeat(100)),
        ("head alone", good[..40].to_vec()),
        ("no samples", wave(1, 1, 8_000, 16, &[], &[])),
        ("no channels", wave(1, 0, 8_000, 16, &[], &[1; 16_000])),
        ("six channels", wave(1, 6, 8_000, 16, &[], &[1; 16_000])),
        ("no rate", wave(1, 1, 0, 16, &[], &[1; 16_000])),
        ("too fast", wave(1, 1, 192_000, 16, &[], &[1; 16_000])),
        ("12 bits", wave(1, 1, 8_000, 12, &[], &[1; 16_000])),
        ("ADPCM", wave(2, 1, 8_000, 4, &[0; 4], &[1; 16_000])),
        ("another sub-format", wave(0xfffe, 1, 8_000, 16, &[7; 24], &[1; 16_000])),
        ("stereo GSM", wave(0x31, 2, 8_000, 0, &[2, 0, 64, 1], &[0xd0; 650])),
    ];
    for (what, file) in bad {
        let refused = try_import(&place, "bad", &file);
        assert!(matches!(refused, Err(Error::Unreadable { .. })), "{what}: {refused:?}");
    }
    // A FLAC file with a broken frame has begun to be a recording when that is found.
    let id = record_linear(
        &place.archive,
        facts(1, 3_000, "x"),
        16_000,
        [&samples(48_000, 1), &samples(48_000, 2)],
    );
    let mut flac = Vec::new();
    web::export(&place.archive, id, FileFormat::Flac, Shape::Stereo, &mut flac).expect("a file");
    let length = flac.len();
    flac.truncate(length * 2 / 3);
    let refused = try_import(&place, "cut.flac", &flac);
    assert!(refused.is_err(), "{refused:?}");
    place.archive.sync().expect("a disk");
    assert_eq!(place.archive.rows().count(), 1, "the one that was recorded");
    assert!(place.archive.verify(None).all(|finding| !finding.is_problem()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn no_file_breaks_the_import(
        which in 0_usize..4,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        static PLACE: std::sync::OnceLock<(std::sync::Mutex<Place>, Vec<Vec<u8>>)> = std::sync::OnceLock::new();
        let (place, files) = PLACE.get_or_init(|| {
            let place = place();
            let id = record_linear(&place.archive, facts(1, 300, "x"), 16_000, [&samples(4_800, 1), &[0; 4_800]]);
            let file = |format, shape| {
                let mut file = Vec::new();
                web::export(&place.archive, id, format, shape, &mut file).expect("a file");
                file
            };
            let files = vec![
                file(FileFormat::Wav, Shape::Stereo),
                file(FileFormat::Gsm, Shape::Near),
                file(FileFormat::Flac, Shape::Stereo),
                file(FileFormat::Ogg, Shape::Stereo),
            ];
            (std::sync::Mutex::new(place), files)
        });
        let mut file = files[which].clone();
        for (at, byte) in changes {
            let at = at.index(file.len().min(200));
            file[at] = byte;
        }
        file.truncate(cut.index(file.len() * 2));
        let place = place.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match try_import(&place, "fuzzed", &file) {
            Ok(made) => prop_assert!(made.duration_ms < 24 * 3_600_000),
            Err(Error::Unreadable { what, .. }) => prop_assert!(!what.contains("gave up"), "the reader panicked"),
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}
