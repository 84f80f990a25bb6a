//! How many hours of conversation a terabyte holds after re-encoding, and how much they are still like what was said.
//!
//! `cargo bench --bench cold` makes conversations of speech by `espeak-ng` (`apt-get install espeak-ng`): two voices that take turns,
//! with pauses, a background on either side, now and then both at once. Options: `-- --minutes N` (60), `--wide` (16 kHz),
//! `--near DIR --far DIR` (mono WAVE files of 16 bits, each a sentence of that party, in place of the synthetic ones).
//! They are imported as A-law (wide ones as linear samples), re-encoded by a rule as on a real archive, and the files measured
//! where they lie. What is played is compared before and after, in bands.

use std::f64::consts::TAU;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use decode::codec::g711::{self, Law};
use decode::codec::resample::Resampler;
use policy::{Cold, Direction, Gate, Rules};
use store::{Archive, ByWhom, Query};
use web::import::about::About;
use web::{Export, FileFormat, Shape};

/// The manuals' figure: hours of audio in a terabyte, one channel.
const MANUALS_H: f64 = 175_000.0;
/// A piece whose level is above this counts as voice, in dB below overload.
const VOICE_DBOV: f64 = -45.0;
/// Samples of a spectrum, and between two of them.
const WINDOW: usize = 256;
const STEP: usize = 160;
/// Minutes whose spectra are compared.
const COMPARED_MIN: usize = 10;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let value = |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    let minutes: usize = value("--minutes").and_then(|n| n.parse().ok()).unwrap_or(60);
    let rate = if words.iter().any(|word| word == "--wide") { 16_000 } else { 8_000 };
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch folder");
    let folder = |name: &str| value(name).map(PathBuf::from);
    let sentences = match (folder("--near"), folder("--far")) {
        (Some(near), Some(far)) => [read_folder(&near, rate), read_folder(&far, rate)],
        _ => match synthesize(scratch.path(), rate) {
            Some(sentences) => sentences,
            None => return println!("skipped: there is no espeak-ng here, and no --near and --far"),
        },
    };
    let calls = conversations(&sentences, minutes, rate, scratch.path());
    for codec in ["opus", "gsm"] {
        measure(codec, &calls, scratch.path());
    }
}

/// xorshift: the same conversations each time.
struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }
}

const SAID: [&str; 24] = [
    "Good morning, you have reached the service desk, how can I help you?",
    "Hello, I am calling about the invoice that came with yesterday's post.",
    "Could you give me the number in the upper right corner, please?",
    "Yes, one moment, it is four seven one, nine nine two, zero eight.",
    "Thank you. I see it here, it was sent on the third of the month.",
    "The amount is wrong, because we sent half of the boxes back.",
    "I understand. Do you have the delivery note at hand?",
    "No, my colleague has it, and she will be back at a quarter past two.",
    "That is no problem at all, we can look it up by your name.",
    "My name is Fischer, with an S, C, H in the middle.",
    "Right. So there were twelve boxes, and six of them came back to us.",
    "Exactly, and the rest was used in the workshop on Thursday.",
    "Then I will have a new invoice made, and you can throw away the old one.",
    "How long is that going to take? We close our books on Friday.",
    "It should be with you the day after tomorrow at the latest.",
    "Fine. And the discount that we talked about in spring?",
    "Let me check that. It says five percent from the second order on.",
    "I thought it was seven, but I would have to look at the letter.",
    "If you find the letter, just send us a copy and we will put it right.",
    "Very well. Is there anything else that you need from me now?",
    "Only your telephone number, in case the line breaks off.",
    "Oh yes, of course. You can reach me under this number until five.",
    "Thank you very much for calling, and have a pleasant afternoon.",
    "You too, thank you for your help. Goodbye.",
];

fn synthesize(dir: &Path, rate: u32) -> Option<[Vec<Vec<i16>>; 2]> {
    let voices = [("en-us+f3", "165", "55"), ("en-gb+m4", "150", "42")];
    let party = |(voice, speed, pitch): (&str, &str, &str)| {
        let sentences = SAID.iter().enumerate().map(|(i, text)| {
            let path = dir.join(format!("{voice}-{i}.wav"));
            let words = ["-v", voice, "-s", speed, "-p", pitch, "-w"];
            let run = Command::new("espeak-ng").args(words).arg(&path).arg(text).status().ok()?;
            run.success().then(|| at_rate(&read_wave(&path), rate))
        });
        sentences.collect::<Option<Vec<_>>>()
    };
    Some([party(voices[0])?, party(voices[1])?])
}

fn read_folder(dir: &Path, rate: u32) -> Vec<Vec<i16>> {
    let mut paths: Vec<_> =
        fs::read_dir(dir).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "wav"));
    paths.sort();
    paths.iter().map(|path| at_rate(&read_wave(path), rate)).filter(|samples| !samples.is_empty()).collect()
}

/// Rate and samples of a mono WAVE file of 16 bits.
fn read_wave(path: &Path) -> (u32, Vec<i16>) {
    let bytes = fs::read(path).expect("read");
    let (mut at, mut rate) = (12, 0);
    while let Some(header) = bytes.get(at..at + 8) {
        let len = u32::from_le_bytes(header[4..].try_into().expect("four bytes")) as usize;
        let body = &bytes[at + 8..bytes.len().min(at + 8 + len)];
        match &header[..4] {
            b"fmt " => {
                assert_eq!(&body[..4], [1, 0, 1, 0], "{}: mono PCM is read", path.display());
                rate = u32::from_le_bytes(body[4..8].try_into().expect("four bytes"));
            }
            b"data" => {
                let samples = body.as_chunks().0.iter().map(|&sample| i16::from_le_bytes(sample));
                return (rate, samples.collect());
            }
            _ => {}
        }
        at += 8 + len + len % 2;
    }
    panic!("{}: no data", path.display());
}

/// At the wanted rate and a telephone's loudness, -26 dBov in its voiced parts.
fn at_rate((from, samples): &(u32, Vec<i16>), rate: u32) -> Vec<i16> {
    let mut out = Vec::new();
    let mut resampler = Resampler::new(*from, rate);
    resampler.push(samples, &mut out);
    resampler.tail(&mut out);
    let (mut power, mut count) = (0.0, 0.0_f64);
    for piece in out.chunks(rate as usize / 50) {
        if dbov(piece) > VOICE_DBOV {
            power += piece.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>();
            count += piece.len() as f64;
        }
    }
    let gain = 10_f64.powf(-26.0 / 20.0) * 32_767.0 / (power / count.max(1.0)).sqrt().max(1.0);
    out.iter().map(|&s| (f64::from(s) * gain).clamp(-32_000.0, 32_000.0) as i16).collect()
}

fn dbov(samples: &[i16]) -> f64 {
    let power = samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / samples.len().max(1) as f64;
    10.0 * (power.max(1e-3) / 32_767_f64.powi(2)).log10()
}

/// A call as a file to import, and what was said in it: near, far.
struct Call {
    file: PathBuf,
    samples: usize,
}

/// Calls of two to six minutes, until there are as many minutes as wanted.
fn conversations(sentences: &[Vec<Vec<i16>>; 2], minutes: usize, rate: u32, dir: &Path) -> Vec<Call> {
    let (mut dice, mut left, mut calls) = (Dice(88_172_645_463_325_252), minutes * 60, Vec::new());
    let mut voiced = [0_usize; 2];
    let mut pieces = 0;
    while left > 0 {
        let seconds = (dice.between(120.0, 360.0) as usize).min(left);
        let channels = conversation(sentences, seconds * rate as usize, rate, &mut dice);
        for (voiced, channel) in voiced.iter_mut().zip(&channels) {
            let heard = channel.chunks(rate as usize / 50).filter(|piece| dbov(piece) > VOICE_DBOV);
            *voiced += heard.count();
        }
        pieces += seconds * 50;
        let file = dir.join(format!("call-{}.wav", calls.len()));
        write_wave(&file, &channels, rate);
        calls.push(Call { file, samples: channels[0].len() });
        left -= seconds;
    }
    let share = |n: usize| 100.0 * n as f64 / pieces as f64;
    println!(
        "{} calls, {minutes} minutes at {rate} Hz; voice is heard of the near party {:.0} % of the time, of the far one {:.0} %",
        calls.len(),
        share(voiced[0]),
        share(voiced[1])
    );
    calls
}

fn conversation(sentences: &[Vec<Vec<i16>>; 2], length: usize, rate: u32, dice: &mut Dice) -> [Vec<i16>; 2] {
    // A quiet office on one side, a street behind a window on the other; darker than white.
    let mut channels = [66.0, 58.0].map(|level: f64| {
        let (peak, mut state) = (10_f64.powf(-level / 20.0) * 32_767.0 * 3.0, 0.0);
        let sample = |_| {
            state = 0.8 * state + 0.2 * (dice.unit() - 0.5) * 2.0 * peak * 1.7;
            state as i16
        };
        (0..length).map(sample).collect::<Vec<i16>>()
    });
    let seconds = |s: f64| (s * f64::from(rate)) as i64;
    let (mut at, mut turn) = (seconds(0.8), 0);
    while at < length as i64 {
        for _ in 0..1 + (dice.unit() * 3.0) as usize {
            let sentence = &sentences[turn][(dice.unit() * sentences[turn].len() as f64) as usize];
            for (place, &sample) in sentence.iter().enumerate() {
                if let Some(out) = channels[turn].get_mut(at as usize + place) {
                    *out = out.saturating_add(sample);
                }
            }
            at += sentence.len() as i64 + seconds(dice.between(0.15, 0.7));
        }
        // Mostly after the other has ended, now and then into his last word; one time in eight somebody thinks.
        let gap = if dice.unit() < 0.125 { dice.between(1.0, 4.0) } else { dice.between(-0.8, 0.4) };
        at = (at + seconds(gap)).max(0);
        turn = 1 - turn;
    }
    channels
}

/// A-law at 8 kHz, linear samples at any other rate; two channels.
fn write_wave(path: &Path, channels: &[Vec<i16>; 2], rate: u32) {
    let pairs = channels[0].iter().zip(&channels[1]).flat_map(|(&near, &far)| [near, far]);
    let (tag, bits, data): (u16, u16, Vec<u8>) = if rate == 8_000 {
        (6, 8, pairs.map(|sample| g711::encode(Law::A, sample)).collect())
    } else {
        (1, 16, pairs.flat_map(i16::to_le_bytes).collect())
    };
    let block = bits / 4;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    file.extend([tag.to_le_bytes(), 2_u16.to_le_bytes()].concat());
    file.extend(rate.to_le_bytes());
    file.extend((rate * u32::from(block)).to_le_bytes());
    file.extend([block.to_le_bytes(), bits.to_le_bytes()].concat());
    file.extend(b"data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    fs::write(path, file).expect("written");
}

fn measure(codec: &str, calls: &[Call], scratch: &Path) {
    let dir = scratch.join(codec);
    let (archive, _) = Archive::open_or_create(&dir).expect("an archive");
    let gate = Gate::new(Rules::default());
    let pass = gate.handle_import("bench", Direction::Inbound).expect("it may be kept");
    let start = "2026-03-02T08:00:00.000Z".parse().expect("a time");
    let mut ids = Vec::new();
    for (n, call) in calls.iter().enumerate() {
        let started = decode::Timestamp::plus_millis(start, n as i64 * 600_000);
        let about = about(started);
        let imported = web::import::import(&archive, &call.file, &about, &pass, "bench", started);
        ids.push(imported.expect("imported").id);
    }
    archive.sync().expect("synced");
    let before = archive.stats(&Query::default()).expect("counted");
    let wanted = COMPARED_MIN * 60;
    let mut compared = Vec::new();
    let mut seconds = 0;
    for id in &ids {
        if seconds < wanted {
            let (rate, played) = play(&archive, *id);
            seconds += played[0].len() / rate as usize;
            compared.push((*id, rate, played));
        }
    }

    let rule: Cold =
        serde_json::from_str(&format!("{{\"after\":\"1d\",\"codec\":\"{codec}\"}}")).expect("a rule");
    let now = decode::Timestamp::plus_millis(start, 30 * 86_400_000);
    let plan = archive.cold_plan(&rule, now).expect("planned");
    assert_eq!(plan.due.len(), calls.len());
    let begun = Instant::now();
    for item in &plan.due {
        let by = ByWhom { at: now, who: "bench".into() };
        let recoded = web::cold::recode(&archive, item.id, &item.pass, by);
        if let Err(e) = recoded {
            panic!("{}: {e}", item.id);
        }
    }
    let took = begun.elapsed().as_secs_f64();
    archive.sync().expect("synced");
    assert!(archive.verify(None).all(|finding| !finding.is_problem()), "everything verifies");
    let on_disk: u64 = ids.iter().map(|id| length(&dir.join(Archive::sealed_path(*id)))).sum();
    let after = archive.stats(&Query::default()).expect("counted");
    assert_eq!((after.bytes, after.audio_ms), (on_disk, before.audio_ms), "the index says what lies there");
    let s = before.audio_ms as f64 / 1000.0;
    let per_tb = 1e12 / (on_disk as f64 / s) / 3600.0;
    println!(
        "{codec}: {:.1} kbit/s for both parties and all else in the files, {on_disk} bytes for {s:.0} s (before {})",
        on_disk as f64 * 8.0 / s / 1000.0,
        before.bytes
    );
    println!(
        "{codec}: {per_tb:.0} hours in a terabyte (10^12 bytes), two channels; {:.2} times the manuals' {MANUALS_H:.0} in mono; {:.0} times as fast as listening",
        per_tb / MANUALS_H,
        s / took
    );
    let estimated: u64 =
        plan.due.iter().map(|item| web::cold::estimate(item.pass.codec(), item.duration_ms)).sum();
    println!("{codec}: the estimate was {:.2} times that", estimated as f64 / on_disk as f64);
    let mut likeness = Likeness::default();
    for (id, rate, said) in &compared {
        let (rate_after, heard) = play(&archive, *id);
        for (said, heard) in said.iter().zip(&heard) {
            if *rate == rate_after {
                assert_eq!(said.len(), heard.len(), "to the sample");
                likeness.take(said, heard);
            }
        }
    }
    likeness.print(codec, compared.first().map_or(8_000, |(_, rate, _)| *rate));
    archive.close().expect("closed");
    for (call, id) in calls.iter().zip(&ids) {
        assert!(call.samples > 0 && id.started() >= start);
    }
}

fn about(started: decode::Timestamp) -> About {
    let json = serde_json::json!({
        "extension": "1001", "started": started, "answered": started, "direction": "inbound", "outside_number": "+15550100"
    });
    let said = web::import::about::Said::json(&json.to_string()).expect("about it");
    said.about("call", None, None, started).expect("enough")
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).expect("there").len()
}

/// The rate, and both channels as they are played.
fn play(archive: &Archive, id: store::RecordingId) -> (u32, [Vec<i16>; 2]) {
    let mut file = Vec::new();
    let export = Export::prepare(archive, id).expect("measured");
    let exported = export.write(FileFormat::Wav, Shape::Stereo, &mut file).expect("exported");
    let mut channels = [Vec::new(), Vec::new()];
    for frame in file[44..].as_chunks::<4>().0 {
        channels[0].push(i16::from_le_bytes([frame[0], frame[1]]));
        channels[1].push(i16::from_le_bytes([frame[2], frame[3]]));
    }
    (exported.rate, channels)
}

/// Spectra side by side: levels in bands, where there was a voice before.
#[derive(Default)]
struct Likeness {
    /// By band: said and heard, in dB.
    bands: Vec<Vec<(f64, f64)>>,
    background: Vec<(f64, f64)>,
    distance: Vec<f64>,
}

/// Bands of a spectrum of [`WINDOW`] samples, as the first and after-last of its lines: 8 kHz from 190 Hz to 3.8 kHz.
const BANDS: [(usize, usize); 8] =
    [(6, 10), (10, 15), (15, 22), (22, 32), (32, 45), (45, 64), (64, 90), (90, 122)];

impl Likeness {
    fn take(&mut self, said: &[i16], heard: &[i16]) {
        self.bands.resize(BANDS.len(), Vec::new());
        for at in (0..said.len().saturating_sub(WINDOW)).step_by(STEP) {
            let (said, heard) = (&said[at..at + WINDOW], &heard[at..at + WINDOW]);
            let level = dbov(said);
            if level <= VOICE_DBOV {
                if level < -52.0 {
                    self.background.push((level, dbov(heard)));
                }
                continue;
            }
            let (said, heard) = (bands(said), bands(heard));
            let mut off = 0.0;
            for ((all, said), heard) in self.bands.iter_mut().zip(said).zip(heard) {
                all.push((said, heard));
                off += (said - heard).powi(2);
            }
            self.distance.push((off / BANDS.len() as f64).sqrt());
        }
    }

    fn print(&self, codec: &str, rate: u32) {
        let mean = |values: &mut dyn Iterator<Item = f64>| {
            let (sum, count) = values.fold((0.0, 0.0_f64), |(sum, count), v| (sum + v, count + 1.0));
            sum / count.max(1.0)
        };
        if self.distance.is_empty() {
            return println!("{codec}: played at another rate than before: not compared");
        }
        println!(
            "{codec}: spectra of {} voiced pieces of {} ms: {:.1} dB apart over the bands on average",
            self.distance.len(),
            WINDOW * 1000 / rate as usize,
            mean(&mut self.distance.iter().copied())
        );
        for ((low, high), all) in BANDS.iter().zip(&self.bands) {
            let (x, y) = (mean(&mut all.iter().map(|p| p.0)), mean(&mut all.iter().map(|p| p.1)));
            let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
            for (a, b) in all {
                xy += (a - x) * (b - y);
                xx += (a - x).powi(2);
                yy += (b - y).powi(2);
            }
            let hz = |line: usize| line * rate as usize / WINDOW;
            println!(
                "{codec}:   {:>4} to {:>4} Hz: level {:+.1} dB, correlation {:.3}",
                hz(*low),
                hz(*high),
                y - x,
                xy / (xx * yy).sqrt()
            );
        }
        let off = mean(&mut self.background.iter().map(|(said, heard)| heard - said));
        println!("{codec}:   background: level {off:+.1} dB over {} pieces", self.background.len());
    }
}

/// Levels in [`BANDS`], in dB, not below what is heard beside the rest.
fn bands(samples: &[i16]) -> [f64; BANDS.len()] {
    let mut lines: Vec<(f64, f64)> = samples
        .iter()
        .enumerate()
        .map(|(i, &s)| {
            let window = 0.5 - 0.5 * (TAU * i as f64 / WINDOW as f64).cos();
            (f64::from(s) * window, 0.0)
        })
        .collect();
    fourier(&mut lines);
    let power = |(re, im): (f64, f64)| re * re + im * im;
    let all: f64 = lines[..WINDOW / 2].iter().map(|&line| power(line)).sum();
    BANDS.map(|(low, high)| {
        let here: f64 = lines[low..high].iter().map(|&line| power(line)).sum();
        10.0 * here.max(all * 1e-5).max(1.0).log10()
    })
}

/// Radix 2, in place.
fn fourier(lines: &mut [(f64, f64)]) {
    let n = lines.len();
    let bits = n.trailing_zeros();
    for i in 0..n {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            lines.swap(i, j);
        }
    }
    let mut half = 1;
    while half < n {
        for start in (0..n).step_by(2 * half) {
            for k in 0..half {
                let (sin, cos) = (-TAU * k as f64 / (2 * half) as f64).sin_cos();
                let (a, b) = (lines[start + k], lines[start + k + half]);
                let b = (b.0 * cos - b.1 * sin, b.0 * sin + b.1 * cos);
                lines[start + k] = (a.0 + b.0, a.1 + b.1);
                lines[start + k + half] = (a.0 - b.0, a.1 - b.1);
            }
        }
        half *= 2;
    }
}
