//! Ogg Opus and FLAC as other programs read them: symphonia always, ffmpeg where it is installed.

mod common;

use std::f64::consts::TAU;
use std::io::Cursor;

use common::*;
use decode::Party;
use decode::codec::g711::Law;
use store::RecordingId;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use web::{FileFormat, Shape};

fn written(place: &Place, id: RecordingId, format: FileFormat, shape: Shape) -> (Vec<u8>, web::Exported) {
    let mut file = Vec::new();
    let exported = web::export(&place.archive, id, format, shape, &mut file).expect("a file");
    assert_eq!(exported.bytes, file.len() as u64);
    (file, exported)
}

/// Sines at one rate, each with its amplitude.
fn sines(samples: usize, rate: u32, tones: &[(f64, f64)]) -> Vec<i16> {
    let at = |i: usize, hz: f64| (i as f64 * TAU * hz / f64::from(rate)).sin();
    (0..samples).map(|i| tones.iter().map(|&(hz, level)| level * at(i, hz)).sum::<f64>() as i16).collect()
}

/// A telephone call whose length is no whole number of packets of any kind.
fn call(place: &Place) -> RecordingId {
    let voices = [
        Voice::g711(Party::Near, Law::Mu, &tone(24_000, 440.0)),
        Voice::g711(Party::Far, Law::A, &tone(24_000, 1_000.0)),
    ];
    record(&place.archive, facts(1, 3_507, "x"), &voices)
}

/// What an Ogg Opus file says of itself, by symphonia: pre-skip, samples at 48 kHz with it, packets.
fn opus_by_symphonia(file: &[u8]) -> (u32, u64, usize) {
    let stream = MediaSourceStream::new(Box::new(Cursor::new(file.to_vec())), Default::default());
    let mut reader = symphonia::default::get_probe()
        .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
        .expect("an Ogg file");
    let track = reader.default_track(TrackType::Audio).expect("a track").clone();
    let mut packets = 0;
    while reader.next_packet().expect("a packet or the end").is_some() {
        packets += 1;
    }
    (track.delay.unwrap_or(0), track.num_frames.unwrap_or(0), packets)
}

#[test]
fn an_opus_file_is_as_long_as_the_call_to_the_sample_with_each_party_in_its_channel() {
    let place = place();
    let id = call(&place);
    let (file, exported) = written(&place, id, FileFormat::Ogg, Shape::Stereo);
    assert_eq!((exported.rate, exported.samples, exported.duration_ms), (48_000, 3_507 * 48, 3_507));
    let (skip, samples, packets) = opus_by_symphonia(&file);
    assert_eq!(packets as u64, (u64::from(skip) + exported.samples).div_ceil(960));
    // symphonia counts the pre-skip in.
    assert_eq!(
        (skip, samples),
        (312, 312 + exported.samples),
        "the encoder's delay, and the end to the sample"
    );
    let Some(channels) = by_ffmpeg(&file, 2) else { return };
    assert_eq!(channels.iter().map(Vec::len).collect::<Vec<_>>(), [3_507 * 48; 2]);
    for (channel, own, other) in [(&channels[0], 440.0, 1_000.0), (&channels[1], 1_000.0, 440.0)] {
        let talk = &channel[4_800..139_200];
        let (level, leak) = (level_at(talk, 48_000, own), level_at(talk, 48_000, other));
        assert!((level * 32_768.0 / 8_000.0 - 1.0).abs() < 0.05, "{own} Hz at {:.0}", level * 32_768.0);
        assert!(leak < level / 100.0, "{other} Hz leaks: {:.1} dB", 20.0 * (leak / level).log10());
        assert!(channel[150_000..].iter().all(|&s| s.abs() < 0.001), "silence up to the end of the call");
    }
}

#[test]
fn a_sample_lies_in_an_opus_file_where_it_was_recorded() {
    let place = place();
    // A click at 1.000 s: pre-skip and delay would move it.
    let mut samples = vec![0; 16_000];
    samples[8_000..8_016].fill(20_000);
    let id = record(&place.archive, facts(1, 2_000, "x"), &[Voice::g711(Party::Near, Law::Mu, &samples)]);
    let (file, _) = written(&place, id, FileFormat::Ogg, Shape::Near);
    let Some(channels) = by_ffmpeg(&file, 1) else { return };
    let loudest =
        (0..channels[0].len()).max_by(|&a, &b| channels[0][a].abs().total_cmp(&channels[0][b].abs()));
    let middle = 48_008 + 8 * 5;
    assert!(loudest.is_some_and(|at| at.abs_diff(middle) < 96), "{loudest:?}, not {middle}");
}

#[test]
fn wideband_stays_wide_in_opus_and_an_odd_rate_keeps_its_length() {
    let place = place();
    for (number, rate, high) in [(1, 16_000, 6_000.0), (2, 11_025, 4_500.0), (3, 48_000, 15_000.0)] {
        let samples = sines(2 * rate as usize, rate, &[(1_000.0, 6_000.0), (high, 6_000.0)]);
        let silence = vec![0; samples.len()];
        let id = record_linear(&place.archive, facts(number, 2_000, "x"), rate, [&samples, &silence]);
        let (file, exported) = written(&place, id, FileFormat::Ogg, Shape::Stereo);
        assert_eq!(exported.samples, 96_000, "{rate} Hz");
        let Some(channels) = by_ffmpeg(&file, 2) else { return };
        assert_eq!(channels[0].len(), 96_000, "{rate} Hz");
        for hz in [1_000.0, high] {
            let level = level_at(&channels[0][9_600..86_400], 48_000, hz) * 32_768.0;
            assert!((level / 6_000.0 - 1.0).abs() < 0.12, "{rate} Hz: {hz} Hz at {level:.0}");
        }
        let leak = channels[1].iter().map(|s| s.abs()).fold(0.0, f32::max);
        assert!(leak < 0.004, "{rate} Hz: the silent party has {:.0}", leak * 32_768.0);
    }
}

#[test]
fn a_flac_file_holds_the_samples_of_the_wave_file() {
    let place = place();
    let noise = |seed: u32| {
        let mut state = seed;
        (0..50_000)
            .map(|i| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Silence, full scale and everything between.
                ((state >> 16) as i16) >> ((i / 5_000) + i / 49_000 * 20).min(15)
            })
            .collect::<Vec<i16>>()
    };
    let (near, far) = (noise(1), noise(2));
    let square: Vec<i16> = (0..50_000).map(|i| if i % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
    let ids = [
        call(&place),
        record_linear(&place.archive, facts(2, 3_125, "x"), 16_000, [&near, &far]),
        record_linear(&place.archive, facts(3, 4_535, "x"), 11_025, [&square, &far]),
    ];
    for id in ids {
        for shape in [Shape::Stereo, Shape::Mono, Shape::Near] {
            let (rate, wave) = read_wav(written(&place, id, FileFormat::Wav, shape).0);
            let (file, exported) = written(&place, id, FileFormat::Flac, shape);
            assert_eq!((exported.rate, exported.samples as usize), (rate, wave[0].len()));
            let (read_rate, read) = read_wav(file.clone());
            assert!(read_rate == rate && read == wave, "{id} {shape}: symphonia reads every sample");
            let Some(decoded) = by_ffmpeg(&file, wave.len()) else { continue };
            assert!(decoded == wave, "{id} {shape}: ffmpeg reads every sample");
            // The sum in the header, as ffmpeg makes it of its own samples.
            let bytes: Vec<u8> = (0..wave[0].len())
                .flat_map(|i| wave.iter().flat_map(move |c| ((c[i] * 32_768.0) as i16).to_le_bytes()))
                .collect();
            use md5::Digest;
            assert_eq!(file[26..42], md5::Md5::digest(&bytes)[..], "{id} {shape}");
        }
    }
    let (call, wave) = [FileFormat::Flac, FileFormat::Wav]
        .map(|format| written(&place, ids[0], format, Shape::Stereo).0.len())
        .into();
    assert!(call * 10 < wave * 9, "{call} of {wave} bytes");
}

#[test]
fn a_recording_without_audio_is_a_file_of_silence_that_opens() {
    let place = place();
    let id = record(&place.archive, facts(1, 1_000, "x"), &[]);
    for format in [FileFormat::Ogg, FileFormat::Flac] {
        let (file, exported) = written(&place, id, format, Shape::Stereo);
        assert_eq!(exported.duration_ms, 1_000);
        let Some(channels) = by_ffmpeg(&file, 2) else { return };
        assert_eq!(channels[0].len() as u64, exported.samples, "{format}");
        assert!(channels.concat().iter().all(|&s| s == 0.0));
    }
}
