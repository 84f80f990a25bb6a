//! Recordings re-encoded: as long as before to the sample, both parties in their places, pauses silent, and what stays as it is.

mod common;

use std::f64::consts::TAU;

use common::{PACKET, Place, Voice, facts, format, place, read_wav, record, record_linear, started};
use decode::codec::g711::Law;
use decode::{AudioFrame, Party};
use policy::gate::Cleared;
use policy::{Cold, RecodePass};
use store::{
    Archive, ByWhom, Finding, Mark, Recoded, Record, RecordingFacts, RecordingId, Source, Span, State,
};
use web::{FileFormat, Shape, export};

const DAY_MS: i64 = 86_400_000;

fn pass(archive: &Archive, id: RecordingId, codec: &str) -> RecodePass {
    let rule = format!("{{\"after\":\"1d\",\"codec\":\"{codec}\"}}");
    let rule: Cold = serde_json::from_str(&rule).expect("a rule");
    let plan = archive.cold_plan(&rule, started().plus_millis(30 * DAY_MS)).expect("planned");
    plan.due.into_iter().find(|item| item.id == id).expect("due").pass
}

fn try_recode(archive: &Archive, id: RecordingId, codec: &str) -> Result<Recoded, web::Error> {
    let by = ByWhom { at: started().plus_millis(30 * DAY_MS), who: "ann".into() };
    web::cold::recode(archive, id, &pass(archive, id, codec), by)
}

fn recode(archive: &Archive, id: RecordingId, codec: &str) -> Recoded {
    let recoded = try_recode(archive, id, codec).expect("re-encoded");
    let bad: Vec<Finding> = archive.verify(None).filter(Finding::is_problem).collect();
    assert_eq!(bad, []);
    recoded
}

/// Rate and channels of a recording as it is played.
fn played(archive: &Archive, id: RecordingId) -> (u32, Vec<Vec<f32>>) {
    let mut file = Vec::new();
    let exported = export(archive, id, FileFormat::Wav, Shape::Stereo, &mut file).expect("exported");
    let said = usize::from(exported.recoded.is_some());
    assert_eq!((exported.warnings.len(), exported.undecoded), (said, 0), "{:?}", exported.warnings);
    read_wav(file)
}

struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1 << 24) as f64
    }
}

/// Something like a talker at `rate` Hz: phrases of syllables with a gliding pitch through two resonances, hisses between
/// them, pauses; over a background of `background` root mean square. `turn` says who begins.
fn talker(rate: u32, seconds: usize, turn: usize, background: f64) -> Vec<i16> {
    let (mut dice, r) = (Dice(turn as u64 + 5), f64::from(rate));
    let (mut low, mut high, mut phase, mut last) = ([0.0; 2], [0.0; 2], 0.0_f64, 0.0);
    let resonate = |state: &mut [f64; 2], hz: f64, q: f64, input: f64| {
        let (radius, angle) = ((-TAU * hz / q / r / 2.0).exp(), TAU * hz / r);
        let out = input + 2.0 * radius * angle.cos() * state[0] - radius * radius * state[1];
        *state = [out, state[0]];
        out
    };
    (0..seconds * rate as usize)
        .map(|i| {
            let t = i as f64 / r;
            let noise = dice.unit() - 0.5;
            let talks = (t / 3.0) as usize % 2 == turn && (t % 3.0) < 2.4;
            let syllable = (t * 4.3) as usize;
            let within = (t * 4.3).fract();
            let hz = 110.0 + 40.0 * (t * 1.7).sin() + 60.0 * turn as f64;
            phase += hz / r;
            let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
            phase = phase.fract();
            let loud = if talks { (within * std::f64::consts::PI).sin() } else { 0.0 };
            let (first, second) =
                (300.0 + 80.0 * (syllable % 6) as f64, 1_100.0 + 170.0 * (syllable % 9) as f64);
            let hiss = if talks && within > 0.82 { noise - last } else { 0.0 };
            last = noise;
            let voiced = resonate(&mut low, first, 6.0, pulse * loud);
            let voiced = voiced + 0.5 * resonate(&mut high, second, 9.0, voiced * 0.2);
            (voiced * 5_000.0 + hiss * 3_000.0 + noise * background * 12_f64.sqrt())
                .clamp(-30_000.0, 30_000.0) as i16
        })
        .collect()
}

/// By how many samples `heard` lies behind `said`, and how alike they are there, from -1 to 1.
fn lag(said: &[f32], heard: &[f32], reach: i64) -> (i64, f64) {
    let at = |samples: &[f32], i: i64| {
        usize::try_from(i).ok().and_then(|i| samples.get(i)).map_or(0.0, |&s| f64::from(s))
    };
    let energy = |samples: &[f32]| samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>();
    let scale = (energy(said) * energy(heard)).sqrt().max(1e-12);
    let alike =
        |lag: i64| (0..said.len() as i64).map(|i| at(said, i) * at(heard, i + lag)).sum::<f64>() / scale;
    (-reach..=reach).map(|lag| (lag, alike(lag))).max_by(|a, b| a.1.total_cmp(&b.1)).expect("some lag")
}

fn rms(samples: &[f32]) -> f64 {
    (samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / samples.len().max(1) as f64).sqrt()
}

fn db(ratio: f64) -> f64 {
    20.0 * ratio.max(1e-9).log10()
}

fn conversation(place: &Place, seconds: usize, background: f64) -> RecordingId {
    let voices = [Party::Near, Party::Far]
        .map(|party| Voice::g711(party, Law::A, &talker(8_000, seconds, party.index(), background)));
    record(&place.archive, facts(1, seconds as u64 * 1000, "x"), &voices)
}

#[test]
fn both_encodings_keep_the_length_the_places_and_the_loudness() {
    for (codec, alike_min, share) in [("opus", 0.7, 8), ("gsm", 0.85, 6)] {
        let place = place();
        let id = conversation(&place, 30, 12.0);
        let before_row = place.archive.row(id).expect("listed");
        let (rate, before) = played(&place.archive, id);
        let recoded = recode(&place.archive, id, codec);
        let (rate_after, after) = played(&place.archive, id);
        assert_eq!((rate_after, after[0].len(), after[1].len()), (rate, before[0].len(), before[1].len()));
        assert_eq!((recoded.rate, recoded.samples), (8_000, 240_000));
        let row = place.archive.row(id).expect("listed");
        assert!(row.bytes < before_row.bytes / share, "{codec}: {} of {}", row.bytes, before_row.bytes);
        for (said, heard) in before.iter().zip(&after) {
            // The whole, and its beginning and end: nothing drifts.
            for part in [0..240_000, 0..60_000, 180_000..240_000] {
                let (lag, alike) = lag(&said[part.clone()], &heard[part.clone()], 40);
                assert!(
                    lag.abs() <= 2 && alike > alike_min,
                    "{codec} {part:?}: {lag} samples, {alike:.3} alike"
                );
            }
            let louder = db(rms(heard) / rms(said));
            assert!(louder.abs() < 1.0, "{codec}: {louder} dB");
            // Between the phrases: the background stays as loud as it was, and does not begin or end with a click.
            let tenths: Vec<_> = said.chunks(800).zip(heard.chunks(800)).collect();
            let is_quiet = |(said, _): &(&[f32], &[f32])| rms(said) < 0.0006;
            let mut quiet = 0;
            // What rings behind a word is still the word's.
            for window in tenths.windows(4).filter(|window| window.iter().all(is_quiet)) {
                let (said, heard) = window[2];
                let louder = db(rms(heard) / rms(said));
                assert!(louder.abs() < 4.0, "{codec}: background {louder} dB");
                assert!(heard.iter().all(|s| s.abs() < 0.006), "{codec}: a click");
                quiet += 1;
            }
            assert!(quiet > 60, "{codec}: {quiet} tenths of a second of background");
        }
    }
}

#[test]
fn silence_without_a_sound_stays_without_a_sound() {
    let place = place();
    let mut near = talker(8_000, 12, 0, 0.0);
    near[16_000..48_000].fill(0);
    let far = vec![0; 96_000];
    let id = record_linear(&place.archive, facts(1, 12_000, "x"), 8_000, [&near, &far]);
    recode(&place.archive, id, "opus");
    let (_, after) = played(&place.archive, id);
    assert!(after[1].iter().all(|&s| s == 0.0), "nothing was said and nothing is heard");
    assert!(after[0][20_000..47_000].iter().all(|&s| s == 0.0));
    assert!(rms(&after[0][..16_000]) > 0.01 && rms(&after[0][48_000..64_000]) > 0.01);
}

#[test]
fn pauses_are_silent_and_marks_stay_in_their_places() {
    let place = place();
    let (near, far) = (talker(8_000, 20, 0, 20.0), talker(8_000, 20, 1, 20.0));
    let facts =
        RecordingFacts { pauses: vec![Span { start_ms: 7_010, end_ms: 12_990 }], ..facts(1, 20_000, "x") };
    let mut writer = place.archive.create(facts.clone()).expect("a recording");
    let at = |ms| facts.started.plus_millis(ms);
    let voices = [(Party::Near, &near), (Party::Far, &far)]
        .map(|(party, samples)| Voice::g711(party, Law::Mu, samples));
    for i in (0..1_000_usize).filter(|i| !(351..649).contains(i)) {
        if i == 649 {
            writer.mark(at(7_010), &Mark::PauseStart { source: "api".into() }).expect("kept");
            writer.mark(at(12_990), &Mark::PauseEnd { source: "api".into() }).expect("kept");
        }
        for voice in &voices {
            let frame = AudioFrame {
                at: at(20 * i as i64),
                ssrc: voice.ssrc,
                sequence: i as u16,
                timestamp: (i * PACKET) as u32,
                marker: false,
                format: &voice.format,
                payload: &voice.payloads[i],
            };
            writer.append(&Cleared::for_test(voice.party, &frame)).expect("room");
        }
    }
    writer.mark(at(15_000), &Mark::Digit { party: Party::Far, digit: '5', duration_ms: 80 }).expect("kept");
    writer
        .mark(at(15_500), &Mark::SenderReport { party: Party::Far, ssrc: 1, ntp: 2, rtp_timestamp: 3 })
        .expect("kept");
    let id = writer.finish(RecordingFacts { state: State::Complete, ..facts }).expect("finished");
    recode(&place.archive, id, "opus");
    let (_, after) = played(&place.archive, id);
    for channel in &after {
        assert_eq!(channel.len(), 160_000);
        assert!(channel[56_080..103_920].iter().all(|&s| s == 0.0), "the pause");
    }
    assert!(after.iter().any(|channel| rms(&channel[40_000..56_000]) > 0.01));
    let mut reader = place.archive.read(id).expect("opens");
    let mut marks = Vec::new();
    while let Some(chunk) = reader.next_chunk().expect("reads") {
        for record in chunk.records() {
            if let Record::Mark { at, mark } = record.expect("a record") {
                marks.push((at.millis_since(reader_start()), mark));
            }
        }
    }
    assert_eq!(
        marks,
        [
            (7_010, Mark::PauseStart { source: "api".into() }),
            (12_990, Mark::PauseEnd { source: "api".into() }),
            (15_000, Mark::Digit { party: Party::Far, digit: '5', duration_ms: 80 }),
        ]
    );
}

fn reader_start() -> decode::Timestamp {
    facts(1, 0, "x").started
}

#[test]
fn wide_voices_stay_wide_as_opus_and_become_narrow_as_gsm() {
    for (codec, rate, wide) in [("opus", 16_000, true), ("gsm", 8_000, false)] {
        let place = place();
        let (near, far) = (talker(16_000, 20, 0, 10.0), talker(16_000, 20, 1, 10.0));
        let id = record_linear(&place.archive, facts(1, 20_000, "x"), 16_000, [&near, &far]);
        let (_, before) = played(&place.archive, id);
        let recoded = recode(&place.archive, id, codec);
        let (rate_after, after) = played(&place.archive, id);
        assert_eq!((rate_after, recoded.rate), (rate, rate));
        assert_eq!(after[0].len(), 20 * rate as usize);
        let high = |samples: &[f32], rate: u32| {
            let bands = (45..70).map(|i| common::level_at(samples, rate, 100.0 * f64::from(i) + 3.0).powi(2));
            bands.sum::<f64>().sqrt()
        };
        if wide {
            let louder = db(high(&after[0], rate) / high(&before[0], 16_000));
            assert!(louder > -9.0, "hisses above 4 kHz: {louder} dB");
            let (lag, alike) = lag(&before[0], &after[0], 60);
            assert!(lag.abs() <= 4 && alike > 0.6, "{lag} samples, {alike:.3} alike");
        }
    }
}

#[test]
fn imported_audio_of_any_rate_keeps_its_length() {
    for (rate, seconds, coded) in [(44_100_u32, 5_usize, 48_000_u32), (8_000, 5, 8_000), (48_000, 5, 48_000)]
    {
        let place = place();
        // Not a whole number of milliseconds, packets or units.
        let mut near = talker(rate, seconds, 0, 8.0);
        near.truncate(near.len() - 37);
        let facts = RecordingFacts { source: Source::Import, ..facts(1, 5_000, "x") };
        let id = record_linear(&place.archive, facts, rate, [&near, &near]);
        let (_, before) = played(&place.archive, id);
        assert_eq!(before[0].len(), near.len());
        recode(&place.archive, id, "opus");
        let (rate_after, after) = played(&place.archive, id);
        let exact = (near.len() as u64 * u64::from(coded)).div_ceil(u64::from(rate));
        assert_eq!((rate_after, after[0].len() as u64), (coded, exact), "{rate} Hz");
    }
}

#[test]
fn loss_jitter_and_a_fast_clock_become_exact_time() {
    let place = place();
    let seconds = 40;
    let facts = facts(1, seconds * 1000, "x");
    let mut writer = place.archive.create(facts.clone()).expect("a recording");
    let mut dice = Dice(3);
    let voices = [Party::Near, Party::Far]
        .map(|party| Voice::g711(party, Law::A, &talker(8_000, seconds as usize, party.index(), 15.0)));
    for i in 0..seconds as usize * 50 - 20 {
        for voice in voices.iter().filter(|_| true) {
            if dice.unit() < 0.02 {
                continue;
            }
            let ppm = if voice.party == Party::Near { 120e-6 } else { -80e-6 };
            let nanos = 20e6 * i as f64 * (1.0 - ppm) + dice.unit() * 8e6;
            let frame = AudioFrame {
                at: facts.started.plus_nanos(nanos as i64),
                ssrc: voice.ssrc,
                sequence: i as u16,
                timestamp: (i * PACKET) as u32,
                marker: false,
                format: &voice.format,
                payload: &voice.payloads[i],
            };
            writer.append(&Cleared::for_test(voice.party, &frame)).expect("room");
        }
    }
    let id = writer.finish(RecordingFacts { state: State::Complete, ..facts }).expect("finished");
    let (_, before) = played(&place.archive, id);
    recode(&place.archive, id, "opus");
    let (_, after) = played(&place.archive, id);
    for (said, heard) in before.iter().zip(&after) {
        assert_eq!(said.len(), heard.len());
        for part in [0..80_000, 240_000..320_000] {
            let (lag, alike) = lag(&said[part.clone()], &heard[part], 40);
            assert!(lag.abs() <= 2 && alike > 0.6, "{lag} samples, {alike:.3} alike");
        }
    }
}

#[test]
fn what_cannot_be_decoded_or_looks_encrypted_stays() {
    let place = place();
    let strange =
        [Voice::strange(Party::Near, 500), Voice::g711(Party::Far, Law::A, &talker(8_000, 10, 1, 5.0))];
    let id = record(&place.archive, facts(1, 10_000, "x"), &strange);
    let refused = try_recode(&place.archive, id, "opus");
    assert!(refused.as_ref().is_err_and(|e| e.to_string().contains("BV16 cannot be decoded")), "{refused:?}");
    assert!(place.archive.row(id).expect("listed").facts.recoded.is_none());

    let mut facts = facts(2, 10_000, "x");
    let track = serde_json::json!({
        "party": "near", "codec": "PCMA", "clock_rate": 8000, "ssrcs": [160], "packets": 500, "looks_encrypted": 500,
        "lost_network": 0, "lost_capture": 0, "reordered": 0, "duplicates": 0, "jitter_ms": 0.0, "skew_ppm": 0.0,
        "audio_ms": 10_000
    });
    facts.tracks = vec![serde_json::from_value(track).expect("a track")];
    let id = record(&place.archive, facts, &[Voice::g711(Party::Near, Law::A, &talker(8_000, 10, 0, 5.0))]);
    let refused = try_recode(&place.archive, id, "opus");
    assert!(refused.as_ref().is_err_and(|e| e.to_string().contains("looks encrypted")), "{refused:?}");
    assert_eq!(std::fs::read_dir(place.dir.path().join("archive/cold")).expect("listed").count(), 0);
}

#[test]
fn an_export_that_is_overtaken_says_so() {
    let place = place();
    let id = conversation(&place, 10, 10.0);
    let export = web::Export::prepare(&place.archive, id).expect("measured");
    recode(&place.archive, id, "opus");
    let written = export.write(FileFormat::Wav, Shape::Stereo, Vec::new());
    assert!(matches!(written, Err(web::Error::Store(store::Error::Replaced { .. }))), "{written:?}");
    assert_eq!(format("GSM", 3).clock_rate, 8_000);
}
