//! The command line as a contract: words, outputs, exit codes, and what is said when something is wrong.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::Bench;
use serde_json::Value;
use xtask::load::{Direction, Ending, Scenario};

fn own(case: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps").join(case).join("capture.pcap").display().to_string()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// An archive with a few recordings.
fn filled() -> Bench {
    let bench = Bench::new();
    let scenario =
        Scenario { calls: 3, talk_ms: 2_000, direction: Direction::Inbound, ..Scenario::default() };
    let (capture, _) = bench.capture("calls.pcap", &scenario);
    bench.record(&capture);
    bench
}

fn ids(bench: &Bench) -> Vec<String> {
    let rows = bench.run(&["archive", "list", "--json"]).expect_code(0).json();
    rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn a_recording_has_the_fields_of_the_contract() {
    let bench = filled();
    let row = bench.run(&["archive", "list", "--json", "--limit", "1"]).expect_code(0).json().remove(0);
    for field in [
        "id",
        "call",
        "segment",
        "state",
        "source",
        "extension",
        "extension_name",
        "outside_number",
        "other_party",
        "direction",
        "started",
        "answered",
        "ended",
        "duration_ms",
        "ring_ms",
        "hold_ms",
        "talk_ms",
        "tracks",
        "pauses",
        "holds",
        "dtmf",
        "user",
        "agent",
        "account_code",
        "hunt_group",
        "trunk",
        "ddi",
        "tags",
        "held",
        "bytes",
        "sha256",
        "signature",
    ] {
        assert!(row.get(field).is_some(), "{field} is missing in {row}");
    }
    for field in [
        "party",
        "codec",
        "clock_rate",
        "ssrcs",
        "packets",
        "lost_network",
        "lost_capture",
        "reordered",
        "duplicates",
        "jitter_ms",
        "mos",
        "skew_ppm",
    ] {
        assert!(row["tracks"][0].get(field).is_some(), "{field} is missing in a track");
    }
    assert_eq!(
        (&row["state"], &row["source"], &row["signature"]),
        (&"complete".into(), &"mirror".into(), &"valid".into())
    );
    assert_eq!((&row["direction"], &row["tracks"][0]["party"]), (&"inbound".into(), &"near".into()));
}

#[test]
fn outcomes_add_up_to_the_calls_seen() {
    let bench = Bench::new();
    for (name, ending) in [("a", Ending::Bye), ("b", Ending::Cancelled), ("c", Ending::Busy)] {
        let (capture, _) =
            bench.capture(name, &Scenario { calls: 3, ending, talk_ms: 1_000, ..Scenario::default() });
        bench.record(&capture);
    }
    let (capture, _) =
        bench.capture("d", &Scenario { rtp_only: true, talk_ms: 1_000, ..Scenario::default() });
    bench.record(&capture);
    let summary = bench.run(&["calls", "--summary", "--json"]).expect_code(0).json().remove(0);
    let count = |key: &str| summary[key].as_u64().unwrap_or_else(|| panic!("{key} in {summary}"));
    let outcomes = [
        "recorded",
        "excluded",
        "device_not_recorded",
        "internal_excluded",
        "no_channel",
        "not_answered",
        "paused",
        "no_media",
        "undecryptable",
        "malformed",
        "running",
    ];
    assert_eq!(outcomes.iter().map(|key| count(key)).sum::<u64>(), count("seen"));
    assert_eq!((count("recorded"), count("not_answered"), count("unannounced_rtp")), (3, 6, 2));
    assert_eq!(bench.run(&["calls", "--json", "--outcome", "not_answered"]).expect_code(0).json().len(), 6);
    let busy: Vec<Value> = bench.run(&["calls", "--json"]).expect_code(0).json();
    assert_eq!(busy.iter().filter(|call| call["reason"] == "486 Busy Here").count(), 3);
}

#[test]
fn no_payload_stands_in_the_archive_in_clear() {
    let bench = Bench::new();
    let scenario = Scenario { calls: 4, talk_ms: 2_000, ..Scenario::default() };
    let (capture, _) = bench.capture("calls.pcap", &scenario);
    bench.record(&capture);
    // Every run of eight payload bytes that was on the wire, as a set to look up.
    let mut runs = std::collections::HashSet::new();
    for frame in scenario.traffic().frames {
        if frame.bytes.len() == 14 + 20 + 8 + 12 + 160 {
            runs.extend(frame.bytes[54..].windows(8).map(<[u8]>::to_vec));
        }
    }
    assert!(runs.len() > 10_000, "the capture holds audio");
    let all = files(&bench.archive());
    assert!(all.len() > 5);
    for path in all {
        let bytes = fs::read(&path).expect("a file of the archive");
        let found = bytes
            .windows(8)
            .position(|window| runs.contains(window) && window.iter().any(|&b| b != window[0]));
        assert_eq!(found, None, "payload in clear in {}", path.display());
    }
}

#[test]
fn one_flipped_bit_is_found_and_named() {
    let bench = filled();
    bench.run(&["archive", "verify"]).expect_code(0);
    let recording = files(&bench.archive().join("recordings")).remove(0);
    let id = recording.file_stem().expect("a name").to_string_lossy().into_owned();
    let mut bytes = fs::read(&recording).expect("a recording");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&recording, bytes).expect("writes");
    let run = bench.run(&["archive", "verify"]).expect_code(5);
    assert!(run.stdout().contains(&id), "{}", run.stdout());
    let run = bench
        .run(&["archive", "export", &id, "-o", bench.path("x.wav").to_str().expect("a path")])
        .expect_code(5);
    assert!(!bench.path("x.wav").exists() && run.stderr().lines().count() == 1, "{}", run.stderr());
}

#[test]
fn a_missing_recording_is_found_and_named() {
    let bench = filled();
    let recording = files(&bench.archive().join("recordings")).remove(0);
    let id = recording.file_stem().expect("a name").to_string_lossy().into_owned();
    fs::remove_file(&recording).expect("removes");
    let run = bench.run(&["archive", "verify"]).expect_code(5);
    assert!(run.stdout().contains(&id) && run.stdout().contains("missing"), "{}", run.stdout());
}

#[test]
fn exports_have_the_form_that_was_asked_for() {
    let bench = filled();
    let id = &ids(&bench)[0];
    let out = |name: &str| bench.path(name).display().to_string();
    let export = |name: &str, more: &[&str]| {
        let path = out(name);
        let words = [&["archive", "export", &id[..20], "-o", &path], more].concat();
        bench.run(&words).expect_code(0);
        fs::read(out(name)).expect("an export")
    };
    let tag = |wav: &[u8]| u16::from_le_bytes([wav[20], wav[21]]);
    let channels = |wav: &[u8]| u16::from_le_bytes([wav[22], wav[23]]);
    for (shape, expected) in [("stereo", 2), ("mono", 1), ("near", 1), ("far", 1)] {
        let wav = export("a.wav", &["--channels", shape]);
        assert_eq!((tag(&wav), channels(&wav)), (1, expected), "{shape}");
    }
    let gsm = export("b.wav", &["--format", "gsm"]);
    assert_eq!((tag(&gsm), channels(&gsm)), (0x31, 1));
    assert!(gsm.len() < 2 * 1650 + 200, "GSM is 1,650 bytes a second, this is {}", gsm.len());
    assert_eq!(&export("c.zip", &["--format", "raw"])[..2], b"PK");
    bench.run(&["archive", "export", "-o", &out("all.zip"), "--extension", "2000+"]).expect_code(0);
    let zip = fs::read(out("all.zip")).expect("an export");
    for name in ["index.html", "metadata.jsonl", &format!("{id}.wav")] {
        assert!(zip.windows(name.len()).any(|w| w == name.as_bytes()), "{name} is not in the ZIP");
    }
    let stdout = bench.run(&["archive", "export", id, "-o", "-"]).expect_code(0).0.stdout;
    assert_eq!(stdout, export("a.wav", &[]));
    bench
        .run(&["archive", "export", id, "-o", &out("d.wav"), "--format", "gsm", "--channels", "stereo"])
        .expect_code(2);
}

#[test]
fn an_independent_reader_hears_the_tones() {
    use symphonia::core::formats::probe::Hint;
    let bench = Bench::new();
    let (capture, truth) = bench.capture("one.pcap", &Scenario { talk_ms: 3_000, ..Scenario::default() });
    bench.record(&capture);
    let wav = bench.path("one.wav");
    bench.run(&["archive", "export", &ids(&bench)[0], "-o", wav.to_str().expect("a path")]).expect_code(0);
    let stream = symphonia::core::io::MediaSourceStream::new(
        Box::new(fs::File::open(&wav).expect("a WAV file")),
        Default::default(),
    );
    let mut reader = symphonia::default::get_probe()
        .probe(&Hint::new(), stream, Default::default(), Default::default())
        .expect("a format that symphonia knows");
    let track = reader.default_track(symphonia::core::formats::TrackType::Audio).expect("a track");
    let parameters = track.codec_params.as_ref().and_then(|p| p.audio()).expect("audio").clone();
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(&parameters, &Default::default())
        .expect("a decoder");
    let mut channels = [Vec::new(), Vec::new()];
    while let Some(packet) = reader.next_packet().expect("a packet") {
        let mut samples: Vec<i16> = Vec::new();
        decoder.decode(&packet).expect("audio").copy_to_vec_interleaved(&mut samples);
        for pair in samples.chunks_exact(2) {
            channels[0].push(pair[0]);
            channels[1].push(pair[1]);
        }
    }
    for (samples, sent) in channels.iter().zip([&truth[0].near, &truth[0].far]) {
        assert!(xtask::tones::purity(samples, 8000, f64::from(sent.tone_hz)) > 0.99);
    }
}

#[test]
fn what_is_no_capture_is_said_in_one_line() {
    let bench = Bench::new();
    let cases: [(&str, &[u8]); 4] = [
        ("empty.pcap", b""),
        ("page.pcap", b"<!DOCTYPE html><html></html>"),
        ("noise.pcap", &[7; 200]),
        ("snoop.pcap", b"snoop\0\0\0\0\0\0\x02\0\0\0\x04"),
    ];
    for (name, bytes) in cases {
        let path = bench.path(name);
        fs::write(&path, bytes).expect("writes");
        let run = bench.run(&["record", "-r", path.to_str().expect("a path")]).expect_code(1);
        let stderr = run.stderr();
        let last = stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("earwitness: ") && last.contains(name), "{name}: {stderr}");
    }
    let run = bench.run(&["record", "-r", "/nowhere/at/all.pcap"]).expect_code(1);
    assert!(run.stderr().contains("/nowhere/at/all.pcap"), "{}", run.stderr());
}

#[test]
fn a_cut_capture_is_recorded_up_to_the_cut() {
    let bench = Bench::new();
    let (capture, _) =
        bench.capture("calls.pcap", &Scenario { calls: 2, talk_ms: 3_000, ..Scenario::default() });
    let bytes = fs::read(&capture).expect("a capture");
    fs::write(&capture, &bytes[..bytes.len() / 2 + 5]).expect("writes");
    let run = bench.run(&["record", "--json", "-r", capture.to_str().expect("a path")]).expect_code(3);
    assert_eq!(run.json()[0]["recorded"], 2);
    assert!(run.stderr().contains("cut or damaged"), "{}", run.stderr());
    bench.run(&["archive", "verify"]).expect_code(0);
}

#[test]
fn captures_without_calls_end_quietly() {
    let bench = Bench::new();
    let empty = bench.path("zero.pcap");
    fs::write(&empty, xtask::pcap::file_bytes(&[], xtask::pcap::Container::Pcap)).expect("writes");
    assert_eq!(bench.record(&empty)["seen"], 0);
    let (short, _) =
        bench.capture("snap.pcap", &Scenario { snaplen: 96, talk_ms: 1_000, ..Scenario::default() });
    let summary = bench.record(&short);
    assert_eq!(summary["seen"].as_u64(), outcome_sum(&summary));
}

fn outcome_sum(summary: &Value) -> Option<u64> {
    policy::Outcome::ALL.iter().map(|outcome| summary[outcome.key()].as_u64()).sum()
}

#[test]
fn captures_come_gzipped_by_pipe_and_in_any_order() {
    let plain = Bench::new();
    let (capture, truth) =
        plain.capture("calls.pcap", &Scenario { calls: 4, talk_ms: 3_000, ..Scenario::default() });
    plain.record(&capture);
    let bytes = fs::read(&capture).expect("a capture");

    // The same frames dealt over three files, gzip by name or not, given out of order.
    let split = Bench::new();
    let traffic = Scenario { calls: 4, talk_ms: 3_000, ..Scenario::default() }.traffic();
    let mut words = vec!["record".to_owned(), "--json".into(), "-r".into()];
    for part in [2, 0, 1] {
        let frames: Vec<_> = traffic.frames.iter().skip(part).step_by(3).cloned().collect();
        let path = split.path(&format!("part{part}"));
        fs::write(&path, xtask::pcap::file_bytes(&frames, xtask::pcap::Container::Pcap)).expect("writes");
        words.push(path.display().to_string());
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!(split.run(&words).expect_code(0).json()[0]["recorded"], truth.len());
    let lengths = |bench: &Bench| {
        let rows = bench.run(&["archive", "list", "--json"]).expect_code(0).json();
        let mut lengths: Vec<_> =
            rows.iter().map(|r| (r["extension"].to_string(), r["duration_ms"].clone())).collect();
        lengths.sort_by(|a, b| a.0.cmp(&b.0));
        lengths
    };
    assert_eq!(lengths(&plain), lengths(&split));

    let piped = Bench::new();
    let mut child = common::earwitness()
        .args(["record", "--json", "-r", "-", "-a"])
        .arg(piped.archive())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the program runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, &bytes).expect("the pipe takes it");
    drop(stdin);
    assert!(child.wait().expect("ends").success());
    assert_eq!(lengths(&plain), lengths(&piped));
}

#[test]
fn a_filter_in_tcpdumps_words_leaves_the_rest_out() {
    let bench = Bench::new();
    let (capture, _) =
        bench.capture("calls.pcap", &Scenario { calls: 1, talk_ms: 1_000, ..Scenario::default() });
    let path = capture.to_str().expect("a path");
    let run = bench.run(&["record", "--json", "-r", path, "--", "not", "port", "5060"]).expect_code(0);
    assert_eq!((&run.json()[0]["sip_messages"], &run.json()[0]["unannounced_rtp"]), (&0.into(), &2.into()));
    let run = bench.run(&["record", "-r", path, "--", "port", "fish"]).expect_code(2);
    assert!(run.stderr().contains("fish"), "{}", run.stderr());
}

#[test]
fn archives_that_cannot_be_used_say_why() {
    let bench = Bench::new();
    let run = bench.run(&["archive", "list"]).expect_code(10);
    assert!(run.stderr().contains("no archive"), "{}", run.stderr());

    let bench = filled();
    {
        let _open = store::Archive::open(&bench.archive()).expect("opens");
        bench.run(&["archive", "list"]).expect_code(11);
    }
    let manifest = bench.archive().join("archive.json");
    let text = fs::read_to_string(&manifest).expect("archive.json");
    let newer = text.replacen("\"format\": 2", "\"format\": 99", 1);
    assert_ne!(text, newer);
    fs::write(&manifest, newer).expect("writes");
    let run = bench.run(&["archive", "list"]).expect_code(1);
    assert!(run.stderr().contains("format 99") && run.stderr().lines().count() == 1, "{}", run.stderr());
    fs::write(&manifest, text).expect("writes");

    let id = ids(&bench)[0].clone();
    let wav = bench.path("x.wav").display().to_string();
    let key = bench.archive().join("keys/unwrap.key");
    let away = bench.path("unwrap.key");
    fs::rename(&key, &away).expect("takes the key away");
    let run = bench.run(&["archive", "export", &id, "-o", &wav]).expect_code(12);
    assert!(run.stderr().contains("unwrap.key"), "{}", run.stderr());
    // Without the private key everything else still works.
    bench.run(&["archive", "list"]).expect_code(0);
    bench.run(&["archive", "verify"]).expect_code(0);
    bench.run(&["archive", "show", &id]).expect_code(0);
    let other = filled();
    fs::copy(other.archive().join("keys/unwrap.key"), &key).expect("puts a wrong key there");
    bench.run(&["archive", "export", &id, "-o", &wav]).expect_code(12);
    fs::write(&key, "no key").expect("puts garbage there");
    let run = bench.run(&["archive", "export", &id, "-o", &wav]).expect_code(12);
    assert!(run.stderr().contains("does not hold a key"), "{}", run.stderr());
    fs::copy(&away, &key).expect("puts it back");
    bench.run(&["archive", "export", &id, "-o", &wav]).expect_code(0);
}

#[test]
fn the_index_is_only_a_cache() {
    let bench = filled();
    let before = bench.run(&["archive", "list", "--json"]).expect_code(0).stdout();
    fs::remove_dir_all(bench.archive().join("index")).expect("removes the index");
    // Hashes of files come when somebody has read them.
    let unhashed = |text: &str| -> Vec<Value> {
        let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        rows.map(|mut row| {
            row["sha256"] = "".into();
            row
        })
        .collect()
    };
    let at_once = bench.run(&["archive", "list", "--json"]).expect_code(0).stdout();
    assert_eq!(unhashed(&at_once), unhashed(&before));
    bench.run(&["archive", "rebuild"]).expect_code(0);
    assert_eq!(bench.run(&["archive", "list", "--json"]).expect_code(0).stdout(), before);
    let stats = bench.run(&["archive", "stats", "--json"]).expect_code(0).json().remove(0);
    assert_eq!(stats["recordings"], 3);
    assert_eq!(bench.run(&["archive", "check"]).expect_code(0).stdout().trim(), "no problems");
}

#[test]
fn words_that_are_off_are_said_with_what_would_be_right() {
    let bench = filled();
    for (words, hint) in [
        (&["archive", "list", "--since", "soon"][..], "yesterday"),
        (&["archive", "list", "--extension", "5-1"], "backwards"),
        (&["archive", "list", "--filter", "colour=red"], "extension"),
        (&["calls", "--outcome", "lost"], "not_answered"),
        (&["archive", "list", "--direction", "sideways"], "inbound"),
        (&["record"], "--read"),
        (&["archive", "export", "-o", "/", "--limit", "1"], "name a file"),
    ] {
        let run = bench.run(words).expect_code(2);
        assert!(run.stderr().contains(hint), "{words:?}: {}", run.stderr());
    }
    bench.run(&["archive", "show", "ZZZZ"]).expect_code(1);
}

#[test]
fn configuration_decides_what_is_recorded() {
    let bench = Bench::new();
    let (capture, _) =
        bench.capture("calls.pcap", &Scenario { calls: 4, talk_ms: 1_000, ..Scenario::default() });
    let config = bench.path("earwitness.toml");
    fs::write(&config, "[record]\ndevices = \"2001-2002\"\n").expect("writes");
    let (config, capture) = (config.display().to_string(), capture.display().to_string());
    let summary =
        bench.run(&["record", "--json", "-c", &config, "-r", &capture]).expect_code(0).json().remove(0);
    assert_eq!((&summary["recorded"], &summary["device_not_recorded"]), (&2.into(), &2.into()));
    fs::write(&config, "[record]\ndevises = 1\n").expect("writes");
    let run = bench.run(&["record", "-c", &config, "-r", &capture]).expect_code(78);
    assert!(run.stderr().contains("line 2") && run.stderr().contains("devises"), "{}", run.stderr());
    let new = bench.path("new.toml").display().to_string();
    bench.run(&["config", "init", &new]).expect_code(0);
    bench.run(&["config", "check", &new]).expect_code(0);
    bench.run(&["config", "init", &new]).expect_code(1);
    let rule = "[[retention.rule]]\nname = \"cards\"\ntag = [\"card\"]\naudio = \"90d\"\n";
    fs::write(&new, format!("{rule}data = \"7y\"\n")).expect("writes");
    let told = bench.run(&["config", "check", &new]).expect_code(0).stdout();
    assert!(told.contains("\"cards\": audio 90d, data 7y, of tag card\n"), "{told}");
    fs::write(&new, format!("{rule}data = \"30d\"\n")).expect("writes");
    let told = bench.run(&["config", "check", &new]).expect_code(78).stderr();
    assert!(told.contains("retention rule \"cards\"") && told.contains("raise data"), "{told}");
}

#[test]
fn digits_are_counted_and_never_shown() {
    let bench = Bench::new();
    bench.record(Path::new(&own("digits")));
    let row = bench.run(&["archive", "list", "--json"]).expect_code(0).json().remove(0);
    assert_eq!(row["dtmf"].as_array().map(Vec::len), Some(5));
    assert!(row["dtmf"][0].get("digit").is_none());
    let show = bench.run(&["archive", "show", row["id"].as_str().expect("an id")]).expect_code(0).stdout();
    assert!(show.contains("5 keyed"), "{show}");
}

#[test]
fn an_export_does_not_replace_what_is_no_plain_file_nor_the_archive() {
    let bench = filled();
    let id = ids(&bench)[0].clone();
    let export =
        |target: &Path| bench.run(&["archive", "export", &id, "-o", target.to_str().expect("a path")]);
    // A link is followed.
    let (target, link) = (bench.path("target.wav"), bench.path("link.wav"));
    fs::write(&target, "old").expect("writes");
    std::os::unix::fs::symlink(&target, &link).expect("links");
    export(&link).expect_code(0);
    assert!(link.is_symlink() && fs::read(&target).expect("a file").starts_with(b"RIFF"));
    assert_eq!(
        fs::metadata(&target).map(|m| std::os::unix::fs::PermissionsExt::mode(&m.permissions()) & 0o077).ok(),
        Some(0)
    );
    // A pipe stays one, and is written to.
    let pipe = bench.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read(pipe).expect("the pipe is written to")
    });
    export(&pipe).expect_code(0);
    assert_eq!(reader.join().expect("reads"), fs::read(&target).expect("a file"));
    assert!(!fs::metadata(&pipe).expect("a pipe").is_file());
    // The archive's own files are out of reach.
    let key = bench.archive().join("keys/unwrap.key");
    let before = fs::read(&key).expect("a key");
    export(&key).expect_code(2);
    assert_eq!(fs::read(&key).expect("a key"), before);
    bench.run(&["archive", "export", "-o", target.to_str().expect("a path")]).expect_code(2);
    bench
        .run(&["archive", "export", &id, "--extension", "2000", "-o", target.to_str().expect("a path")])
        .expect_code(2);
}

#[test]
fn captures_of_different_days_keep_their_dates() {
    let bench = Bench::new();
    let monday = Scenario { calls: 1, talk_ms: 2_000, ..Scenario::default() };
    let thursday = Scenario { epoch_ns: monday.epoch_ns + 3 * 86_400_000_000_000, seed: 2, ..monday.clone() };
    let (first, _) = bench.capture("monday.pcap", &monday);
    let (second, truth) = bench.capture("thursday.pcap", &thursday);
    let paths = [&first, &second].map(|path| path.to_str().expect("a path"));
    bench.run(&["record", "--json", "-r", paths[0], paths[1]]).expect_code(0);
    let calls = bench.run(&["calls", "--json", "--limit", "1"]).expect_code(0).json();
    let invited = decode::Timestamp::from_nanos(truth[0].invite_ns).to_string();
    assert_eq!(calls[0]["started"], invited.as_str());
    let rows = bench.run(&["archive", "list", "--json", "--limit", "1"]).expect_code(0).json();
    assert!(rows[0]["ring_ms"].as_u64().is_some_and(|ms| ms < 1_000), "{}", rows[0]["ring_ms"]);
}

#[test]
fn a_capture_of_a_mirror_port_is_judged_in_words() {
    let bench = Bench::new();
    let scenario = Scenario { calls: 3, talk_ms: 1_000, ..Scenario::default() };
    let (whole, _) = bench.capture("whole.pcap", &scenario);
    let judge =
        |path: &Path| bench.run(&["interfaces", "--json", "--read", path.to_str().expect("a plain path")]);
    let well = judge(&whole).expect_code(0).json().remove(0);
    assert_eq!(
        (&well["calls"], &well["rtp_flows"], &well["findings"]),
        (&3.into(), &6.into(), &serde_json::json!([]))
    );
    // The same without what carries no SIP.
    let path = bench.path("sip.pcap");
    let file = fs::File::create(&path).expect("a file");
    let mut writer = xtask::pcap::Writer::new(file, xtask::pcap::Container::Pcap).expect("a capture");
    let frames = scenario.traffic().frames;
    for frame in frames.iter().filter(|frame| frame.bytes.windows(7).any(|bytes| bytes == b"SIP/2.0")) {
        writer.write(frame).expect("written");
    }
    writer.finish().expect("written");
    let told = judge(&path).expect_code(3).json().remove(0);
    assert_eq!(told["findings"][0]["finding"], "no-rtp", "{told}");
    let words = bench.run(&["interfaces", "--read", path.to_str().expect("a plain path")]).stdout();
    assert!(words.contains("direct media"), "{words}");
    bench.run(&["interfaces", "--watch", "0"]).expect_code(2);
    bench.run(&["interfaces", "-i", "eth1"]).expect_code(2);
}
