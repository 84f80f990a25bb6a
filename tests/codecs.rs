//! How recordings sound: real captures in every encoding against references that an independent route decoded, where
//! `EARWITNESS_SHARED` points to them; and what a box without `ffmpeg` says.
//!
//! The references were decoded by ffmpeg from the payload bytes alone, one packet behind the other. Compared are the energy
//! of a whole track (gaps have none, so that they do not count), its share in each critical band, and its level second by second.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Bench, Run, earwitness};
use serde_json::Value;
use store::{Archive, RecordingId};
use web::{FileFormat, Shape};
use xtask::pcap::{Container, Frame, file_bytes};
use xtask::wire::{self, Host};

/// A whole track may be louder or softer by this much, in decibels.
const LEVEL_DB: f64 = 0.5;
/// A critical band's share of the energy; only bands that matter are held against it.
const BAND_DB: f64 = 1.5;
const BAND_FLOOR_DB: f64 = -30.0;
/// A second's level; the reference is rounded to whole decibels.
const SECOND_DB: f64 = 1.5;
const SECOND_FLOOR_DB: f64 = -55.0;
/// Encodings without a reference that are decoded all the same; one sound is in all of S003 to S013.
const ONE_SOUND_DBFS: std::ops::RangeInclusive<f64> = -32.0..=-31.0;

/// Tracks that differ, and why. A row without a difference fails the test, and so does a difference without a row.
const EXPLAINED: [(&str, &str, &str); 5] = [
    (
        "S010",
        "G726-40",
        "The reference is 5 dB low: ffmpeg's decoder leaks too fast at this rate. Ours is as loud as the same sound in every codec.",
    ),
    ("S010", "AAL2-G726-40", "As G726-40."),
    (
        "S001",
        "PCMA",
        "Silence suppression: the reference sets talk spurts end to end, and each seam is a click in the upper bands.",
    ),
    ("S002", "PCMA", "As S001."),
    (
        "S068",
        "OPUS",
        "A track near silence: more packets came than the timestamps have room for, so that ours plays 10.5 of 10.9 s, and \
         the decoder's own hiss is all that is compared.",
    ),
];

struct Track {
    codec: String,
    party: usize,
    recording: RecordingId,
    lost: u64,
    packets: u64,
}

/// Power of a channel per second, in squares of full scale.
fn energy(samples: &[f64], rate: u32) -> f64 {
    samples.iter().map(|sample| sample * sample).sum::<f64>() / f64::from(rate)
}

fn db(power: f64) -> f64 {
    10.0 * power.max(1e-30).log10()
}

/// Shares of the energy in bands between these edges in Hz, measured as the references were: spectra of 512 samples at every
/// rate, half of them anew each time. At 48 kHz a bin is nearly as wide as the lowest bands, in both alike.
fn bands(samples: &[f64], rate: u32, edges: &[f64]) -> Vec<f64> {
    let length = 512;
    let mut bands = vec![0.0; edges.len() - 1];
    for window in samples.windows(length).step_by(length / 2) {
        let mut spectrum: Vec<(f64, f64)> = window
            .iter()
            .enumerate()
            .map(|(i, sample)| {
                (sample * (std::f64::consts::PI * i as f64 / length as f64).sin().powi(2), 0.0)
            })
            .collect();
        transform(&mut spectrum);
        for (bin, (re, im)) in spectrum.iter().take(length / 2).enumerate() {
            let hz = bin as f64 * f64::from(rate) / length as f64;
            if let Some(band) = edges.windows(2).position(|edge| (edge[0]..edge[1]).contains(&hz)) {
                bands[band] += re * re + im * im;
            }
        }
    }
    let all: f64 = bands.iter().sum();
    bands.into_iter().map(|band| db(band / all.max(1e-30))).collect()
}

/// Fast Fourier transform in place, by halves.
fn transform(values: &mut [(f64, f64)]) {
    let half = values.len() / 2;
    if half == 0 {
        return;
    }
    let (mut even, mut odd): (Vec<_>, Vec<_>) = values.chunks_exact(2).map(|pair| (pair[0], pair[1])).unzip();
    transform(&mut even);
    transform(&mut odd);
    let (low, high) = values.split_at_mut(half);
    for (i, (even, odd)) in even.into_iter().zip(odd).enumerate() {
        let (sin, cos) = (-std::f64::consts::PI * i as f64 / half as f64).sin_cos();
        let turned = (odd.0 * cos - odd.1 * sin, odd.0 * sin + odd.1 * cos);
        low[i] = (even.0 + turned.0, even.1 + turned.1);
        high[i] = (even.0 - turned.0, even.1 - turned.1);
    }
}

/// The recorded tracks of an archive by SSRC; those that share one are left out.
fn tracks(bench: &Bench) -> BTreeMap<u64, Track> {
    let mut tracks = BTreeMap::new();
    let mut shared = BTreeSet::new();
    for row in bench.run(&["archive", "list", "--json"]).expect_code(0).json() {
        for track in row["tracks"].as_array().expect("tracks") {
            let ssrcs: Vec<u64> =
                track["ssrcs"].as_array().expect("a list").iter().filter_map(Value::as_u64).collect();
            let &[ssrc] = &ssrcs[..] else { continue };
            let found = Track {
                codec: track["codec"].as_str().expect("a name").to_owned(),
                party: usize::from(track["party"] == "far"),
                recording: row["id"].as_str().and_then(|id| id.parse().ok()).expect("an id"),
                lost: track["lost_network"].as_u64().unwrap_or(0)
                    + track["lost_capture"].as_u64().unwrap_or(0),
                packets: track["packets"].as_u64().unwrap_or(0),
            };
            if tracks.insert(ssrc, found).is_some() {
                shared.insert(ssrc);
            }
        }
    }
    tracks.retain(|ssrc, _| !shared.contains(ssrc));
    tracks
}

/// One party's channel, and its rate.
fn rendered(archive: &Archive, track: &Track) -> Result<(Vec<f64>, u32), String> {
    let shape = if track.party == 0 { Shape::Near } else { Shape::Far };
    let mut wav = Vec::new();
    let exported =
        web::export(archive, track.recording, FileFormat::Wav, shape, &mut wav).map_err(|e| e.to_string())?;
    if exported.undecoded > 0 {
        return Err(exported.warnings.join("; "));
    }
    let audio = xtask::wav::parse(&wav).expect("a WAV file");
    let samples =
        audio.channels.first().expect("a channel").iter().map(|&s| f64::from(s) / 32_768.0).collect();
    Ok((samples, audio.rate))
}

/// What differs between a rendered track and its reference.
fn differences(samples: &[f64], rate: u32, reference: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let number = |key: &str| reference[key].as_f64().expect("a number");
    let (theirs, ours) = (number("rms_dbfs") + db(number("duration_s")), db(energy(samples, rate)));
    if (ours - theirs).abs() > LEVEL_DB && theirs > -70.0 {
        found.push(format!("energy {ours:.2} dB and not {theirs:.2}"));
    }
    let list = |key: &str| -> Vec<f64> {
        reference[key].as_array().expect("a list").iter().filter_map(Value::as_f64).collect()
    };
    let (edges, shares) = (list("bark_band_edges_hz"), list("band_energy_db_rel_total"));
    let sounding = samples.len() as f64 / f64::from(rate);
    for (band, (ours, theirs)) in bands(samples, rate, &edges).iter().zip(&shares).enumerate() {
        if *theirs > BAND_FLOOR_DB && (ours - theirs).abs() > BAND_DB && number("rms_dbfs") > -60.0 {
            found.push(format!("band from {} Hz {ours:.1} dB and not {theirs:.1}", edges[band]));
        }
    }
    // Second by second only where nothing was left out between the packets.
    if (sounding - number("duration_s")).abs() < 0.03 {
        let seconds = samples.chunks(rate as usize).map(|second| db(energy(second, rate)));
        let whole = samples.len() / rate as usize;
        for (second, (ours, theirs)) in seconds.zip(list("rms_dbfs_per_second")).enumerate().take(whole) {
            if (ours - theirs).abs() > SECOND_DB && theirs > SECOND_FLOOR_DB {
                found.push(format!("second {second} {ours:.1} dB and not {theirs}"));
            }
        }
    }
    found
}

#[test]
fn real_captures_sound_as_an_independent_route_decoded_them() {
    let Some(shared) = std::env::var_os("EARWITNESS_SHARED").filter(|dir| Path::new(dir).is_dir()) else {
        eprintln!("skipped: EARWITNESS_SHARED names no folder with real captures");
        return;
    };
    if web::ffmpeg::Ffmpeg::installed().is_none() {
        eprintln!("skipped: no ffmpeg on this machine");
        return;
    }
    let captures = Path::new(&shared).join("captures");
    let text = fs::read(captures.join("manifest.json")).expect("the manifest");
    let manifest: Vec<Value> = serde_json::from_slice(&text).expect("JSON");
    let (mut compared, mut differing, mut unexplained) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
    for entry in &manifest {
        let id = entry["id"].as_str().expect("an id");
        let references = entry["audio_reference"].as_array().cloned().unwrap_or_default();
        if references.iter().all(|reference| reference["audio"].as_array().is_none_or(Vec::is_empty)) {
            continue;
        }
        let bench = Bench::new();
        let file = captures.join(entry["file"].as_str().expect("a file"));
        let run = bench.run(&["record", "--json", "-r", file.to_str().expect("a plain path")]);
        if run.0.status.code() != Some(0) {
            continue;
        }
        let tracks = tracks(&bench);
        let archive = Archive::open(&bench.archive()).expect("the archive opens");
        for reference in &references {
            let ssrc = reference["ssrc"].as_str().expect("an SSRC").trim_start_matches("0x");
            let Some(track) = u64::from_str_radix(ssrc, 16).ok().and_then(|ssrc| tracks.get(&ssrc)) else {
                continue;
            };
            // One encoding, nothing missing: else the reference, which knows no time, is another sound.
            let whole = reference["unique"].as_u64() == Some(track.packets) && track.lost == 0;
            let [audio] = &reference["audio"].as_array().expect("a list")[..] else { continue };
            if !whole || audio["codec"].as_str().is_none_or(|codec| codec == "CN") {
                continue;
            }
            let is_one_sound = ("S003"..="S013").contains(&id);
            let found = match (rendered(&archive, track), &audio["decoded_concat"]) {
                (Err(error), reference) if reference.is_object() => vec![error],
                (Ok((samples, rate)), reference) if reference.is_object() => {
                    // Of two channels the reference has the spectrum of both woven into one, which is no sound.
                    let is_mono = audio["channels"].as_u64().is_none_or(|channels| channels == 1);
                    let mut found = differences(&samples, rate, reference);
                    found.retain(|difference| is_mono || difference.starts_with("energy"));
                    found
                }
                (Ok((samples, rate)), _) if is_one_sound => {
                    let level =
                        db(energy(&samples, rate) / audio["packets"].as_f64().expect("a number") * 50.0);
                    let inside = ONE_SOUND_DBFS.contains(&level);
                    (!inside).then(|| format!("level {level:.2} dBFS")).into_iter().collect()
                }
                _ => continue,
            };
            *compared.entry(track.codec.clone()).or_insert(0) += 1;
            if !found.is_empty() {
                differing.insert((id.to_owned(), track.codec.clone()));
                if !EXPLAINED.iter().any(|(capture, codec, _)| *capture == id && *codec == track.codec) {
                    unexplained.push(format!("{id} {} {ssrc}: {}", track.codec, found.join("; ")));
                }
            }
        }
    }
    eprintln!("tracks compared: {compared:?}");
    assert!(unexplained.is_empty(), "{compared:?}\n{}", unexplained.join("\n"));
    let idle: Vec<_> = EXPLAINED
        .iter()
        .filter(|(capture, codec, _)| !differing.contains(&((*capture).to_owned(), (*codec).to_owned())))
        .collect();
    assert!(idle.is_empty(), "rows without a difference: {idle:?}");
    for codec in ["PCMU", "PCMA", "G722", "G729", "GSM", "ILBC", "OPUS", "SPEEX", "G726-32", "L16", "DVI4"] {
        assert!(compared.contains_key(codec), "no track in {codec} was compared: {compared:?}");
    }
}

/// A call in which the caller speaks `caller` and the callee `callee`: name of the encoding, payload type, payloads, and their
/// length in milliseconds.
fn call(caller: (&str, u8, &[Vec<u8>], i64), callee: (&str, u8, &[Vec<u8>], i64)) -> Vec<u8> {
    let host = |last: u8| Host { mac: [2, 0, 0, 0, 0, last], ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)) };
    let mut frames = Vec::new();
    let start = 1_772_442_000_000_000_000_i64;
    let mut send = |at_ms: i64, from: (u8, u16), to: (u8, u16), bytes: &[u8]| {
        let path = wire::Path { from: (host(from.0), from.1), to: (host(to.0), to.1), vlans: &[] };
        let at = start + at_ms * 1_000_000;
        frames.extend(wire::udp(path, at_ms as u16, bytes).into_iter().map(|bytes| Frame::whole(at, bytes)));
    };
    let formats = [(caller.0, caller.1), (callee.0, callee.1)];
    let description = |last: u8| {
        let list: String = formats.iter().map(|(_, number)| format!(" {number}")).collect();
        let maps: String =
            formats.iter().map(|(name, number)| format!("a=rtpmap:{number} {name}/8000\r\n")).collect();
        format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.{last}\r\ns=-\r\nc=IN IP4 192.0.2.{last}\r\nt=0 0\r\n\
             m=audio 4000 RTP/AVP{list}\r\n{maps}"
        )
    };
    let message = |line: &str, method: &str, tag: &str, body: &str| {
        let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{line}\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{method}\r\nFrom: <sip:2041@192.0.2.1>;tag=a\r\n\
             To: <sip:2052@192.0.2.2>{tag}\r\nCall-ID: codecs\r\nCSeq: 1 {method}\r\nContact: <sip:x@192.0.2.1>\r\n\
             {content}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let (one, two) = ((1, 5060), (2, 5060));
    send(0, one, two, message("INVITE sip:2052@192.0.2.2 SIP/2.0", "INVITE", "", &description(1)).as_bytes());
    send(100, two, one, message("SIP/2.0 200 OK", "INVITE", ";tag=b", &description(2)).as_bytes());
    send(110, one, two, message("ACK sip:2052@192.0.2.2 SIP/2.0", "ACK", ";tag=b", "").as_bytes());
    let mut last = 0;
    for (ssrc, from, to, (_, number, payloads, ms)) in [(1_u32, 1, 2, caller), (2, 2, 1, callee)] {
        for (i, payload) in (0_i64..).zip(payloads) {
            let mut packet = vec![0x80, number];
            packet.extend((i as u16).to_be_bytes());
            packet.extend(((i * ms * 8) as u32).to_be_bytes());
            packet.extend(ssrc.to_be_bytes());
            packet.extend(payload);
            send(200 + i * ms, (from, 4000), (to, 4000), &packet);
            last = last.max(200 + (i + 1) * ms);
        }
    }
    send(last, one, two, message("BYE sip:2052@192.0.2.2 SIP/2.0", "BYE", ";tag=b", "").as_bytes());
    send(last + 10, two, one, message("SIP/2.0 200 OK", "BYE", ";tag=b", "").as_bytes());
    frames.sort_by_key(|frame| frame.at_ns);
    file_bytes(&frames, Container::PcapNanos)
}

/// Records the one call, and gives its recordings.
fn recorded(bench: &Bench, capture: &[u8]) -> Vec<Value> {
    let path = bench.path("call.pcap");
    fs::write(&path, capture).expect("written");
    assert_eq!(bench.record(&path)["seen"], 1);
    bench.run(&["archive", "list", "--json"]).expect_code(0).json()
}

/// Runs the program where there is no ffmpeg.
fn without_ffmpeg(bench: &Bench, words: &[&str]) -> Run {
    let mut command = earwitness();
    command.args(words).env("EARWITNESS_ARCHIVE", bench.archive()).env("EARWITNESS_FFMPEG", "off");
    Run(command.output().expect("the program runs"))
}

const HELP: &str = "kept, cannot be decoded on this box: install ffmpeg";

#[test]
fn without_ffmpeg_a_voice_that_it_would_decode_is_said_and_silence_is_not_sold_as_audio() {
    let bench = Bench::new();
    let (g729, pcma): (Vec<_>, Vec<_>) = (0..100_u8).map(|i| (vec![i; 20], vec![0x55 ^ i; 160])).unzip();
    let rows = recorded(&bench, &call(("G729", 18, &g729, 20), ("PCMA", 8, &pcma, 20)));
    let row = rows.iter().find(|row| row["extension"] == "2041").expect("the caller's recording");
    let id = row["id"].as_str().expect("an id");

    let wav = bench.path("out.wav");
    let export = |channels: &str| {
        let file = wav.to_str().expect("a plain path");
        without_ffmpeg(&bench, &["archive", "export", id, "--channels", channels, "-o", file])
    };
    let run = export("stereo").expect_code(3);
    assert!(run.stderr().contains(&format!("near: G729 (100 packets) is {HELP}")), "{}", run.stderr());
    export("far").expect_code(0);
    fs::remove_file(&wav).expect("it was written");
    let run = export("near").expect_code(1);
    assert!(run.stderr().contains(&format!("G729: {HELP}")) && !wav.exists(), "{}", run.stderr());

    let show = without_ffmpeg(&bench, &["archive", "show", id]).expect_code(0).stdout();
    assert!(show.contains(HELP), "{show}");
    let raw = bench.path("out.zip");
    let words = ["archive", "export", id, "--format", "raw", "-o", raw.to_str().expect("a plain path")];
    without_ffmpeg(&bench, &words).expect_code(0);
}

#[test]
fn with_ffmpeg_what_it_coded_comes_back_in_its_place() {
    if web::ffmpeg::Ffmpeg::installed().is_none() {
        eprintln!("skipped: no ffmpeg on this machine");
        return;
    }
    // 90 s of 30 ms frames: more than is decoded at a time. Half a second of a tone in each second.
    let pcm: Vec<u8> = (0..8_000 * 90)
        .flat_map(|i: i32| {
            let sounds = i % 8_000 < 4_000;
            let sample = (f64::from(i) * std::f64::consts::TAU * 700.0 / 8_000.0).sin() * 8_000.0;
            (if sounds { sample as i16 } else { 0 }).to_le_bytes()
        })
        .collect();
    let mut coder = Command::new("ffmpeg")
        .args("-hide_banner -nostdin -loglevel error -f s16le -ar 8000 -ac 1 -i pipe:0".split(' '))
        .args("-c:a g723_1 -b:a 6300 -f g723_1 pipe:1".split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ffmpeg runs");
    let mut stdin = coder.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || stdin.write_all(&pcm));
    let coded = coder.wait_with_output().expect("ffmpeg ends").stdout;
    writer.join().expect("joined").expect("all taken");
    let frames: Vec<Vec<u8>> = coded.chunks_exact(24).take(3_000).map(<[u8]>::to_vec).collect();
    assert_eq!(frames.len(), 3_000, "90 s");

    let bench = Bench::new();
    let silence = vec![vec![0xd5; 240]; 3_000];
    let rows = recorded(&bench, &call(("G723", 4, &frames, 30), ("PCMA", 8, &silence, 30)));
    let id =
        rows.iter().find(|row| row["extension"] == "2041").expect("the caller's recording")["id"].clone();
    let id: RecordingId = id.as_str().expect("an id").parse().expect("an id");
    let archive = Archive::open(&bench.archive()).expect("the archive opens");
    let mut wav = Vec::new();
    let exported = web::export(&archive, id, FileFormat::Wav, Shape::Near, &mut wav).expect("an export");
    assert_eq!((exported.undecoded, exported.rate, exported.warnings.len()), (0, 8_000, 0));
    let audio = xtask::wav::parse(&wav).expect("a WAV file");
    let samples = &audio.channels[0];
    // The recording begins with its call; the voice begins 200 ms after it, or where the recording does.
    let lead = samples.len() - 3_000 * 240;
    let (mut wrong, mut tone) = (0, 0.0_f64);
    for second in 0..90 {
        let level = |from: usize| {
            let part = &samples[lead + second * 8_000 + from..][..3_000];
            (part.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / 3_000.0).sqrt()
        };
        // The codec is late by some milliseconds.
        let (sounding, silent) = (level(500), level(4_800));
        tone += sounding / 90.0;
        wrong += usize::from(sounding < 3_000.0 || silent > 300.0);
    }
    assert_eq!(wrong, 0, "seconds out of place; the tone's level is {tone:.0}");
}
