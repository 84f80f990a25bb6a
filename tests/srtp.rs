//! SRTP of real user agents, from capture to sound; and that no key of a call is left anywhere.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use capture::{FrameSource, PcapFile};
use common::Bench;
use decode::Dissector;
use decode::scramble::{Look, Scramble};
use decode::srtp::{Receiver, sdes};
use serde_json::Value;
use sha2::{Digest, Sha256};
use xtask::tones;

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps").join(name).join("capture.pcap")
}

/// UDP payloads of a capture, in order.
fn datagrams(path: &Path) -> Vec<Vec<u8>> {
    let mut file = PcapFile::open(path).expect("a capture");
    let mut dissector = Dissector::new();
    let mut found = Vec::new();
    while file.advance().expect("a frame") {
        let frame = file.frame().expect("the frame just read");
        found.extend(dissector.handle_frame(&frame).map(|datagram| datagram.payload.to_vec()));
    }
    found
}

/// What follows `a=crypto:` in the messages of a capture.
fn crypto_lines(path: &Path) -> Vec<String> {
    datagrams(path)
        .iter()
        .flat_map(|payload| {
            let text = String::from_utf8_lossy(payload).into_owned();
            text.lines()
                .filter_map(|line| line.strip_prefix("a=crypto:"))
                .map(|line| line.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .collect()
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn what_was_said_under_srtp_is_heard() {
    for (name, hz, packets) in [("srtp-sdes", [440.0, 620.0], 190), ("srtp-rekey", [500.0, 800.0], 150)] {
        let bench = Bench::new();
        assert_eq!(bench.record(&case(name))["recorded"], 1, "{name}");
        let exports = bench.exports();
        let [(_, audio)] = &exports[..] else { panic!("one recording of {name}") };
        for (channel, hz) in audio.channels.iter().zip(hz) {
            // Where the speaker speaks: before and behind, and between two senders, it is silent.
            let middle = channel.len() / 2;
            let part = &channel[middle / 2..middle];
            let tone = tones::detect(part, audio.rate, 300..=1_000).expect("a tone");
            assert!((tone.hz - hz).abs() < 2.0 && tone.purity > 0.9, "{name}: {tone:?} and not {hz}");
        }
        let row = bench.run(&["archive", "list", "--json"]).expect_code(0).json().remove(0);
        for track in row["tracks"].as_array().expect("tracks") {
            assert_eq!(track["decrypted"], track["packets"], "{name}");
            assert!(track["packets"].as_u64() > Some(packets), "{name}: {track}");
            assert!(
                track.get("undecryptable").is_none() && track.get("looks_encrypted").is_none(),
                "{track}"
            );
        }
    }
}

#[test]
fn what_cannot_be_decrypted_is_counted_and_not_kept() {
    let bench = Bench::new();
    let summary = bench.record(&case("dtls-srtp"));
    assert_eq!((&summary["undecryptable"], &summary["seen"]), (&1.into(), &1.into()));
    assert!(bench.exports().is_empty());
    let reason = |bench: &Bench| {
        let row = bench.run(&["calls", "--json"]).expect_code(0).json().remove(0);
        row["reason"].as_str().expect("a reason").to_owned()
    };
    assert!(reason(&bench).contains("DTLS-SRTP"), "{}", reason(&bench));
    // Without its INVITE, the key of one side is known.
    let bench = Bench::new();
    assert_eq!(bench.record(&case("srtp-no-key"))["recorded"], 1);
    assert!(reason(&bench).contains("could not be decrypted"), "{}", reason(&bench));
    let row = bench.run(&["archive", "list", "--json"]).expect_code(0).json().remove(0);
    let mut counts: Vec<_> = row["tracks"]
        .as_array()
        .expect("tracks")
        .iter()
        .map(|track| (track["decrypted"].as_u64(), track["undecryptable"].as_u64(), track["no_key"].clone()))
        .collect();
    counts.sort_by_key(|(decrypted, ..)| *decrypted);
    let [(None, Some(lost), why), (Some(read), None, Value::Null)] = &counts[..] else {
        panic!("{counts:?}")
    };
    assert!(*lost > 190 && *read > 190 && why == "not-seen", "{counts:?}");
    let export = bench.run(&[
        "archive",
        "export",
        row["id"].as_str().expect("an id"),
        "-o",
        bench.path("x.wav").to_str().expect("a path"),
    ]);
    assert!(export.stderr().contains("could not be decrypted"), "{}", export.stderr());
}

#[test]
fn no_key_of_a_call_is_left_anywhere() {
    let path = case("srtp-sdes");
    let lines = crypto_lines(&path);
    assert!(lines.len() >= 2, "{lines:?}");
    let mut needles = Vec::new();
    for line in &lines {
        let inline = line.split("inline:").nth(1).and_then(|text| text.split('|').next()).expect("a key");
        needles.push(inline.as_bytes()[..24].to_vec());
    }
    let bench = Bench::new();
    let run = bench.run(&["record", "-r", path.to_str().expect("a plain path")]);
    let replay = bench.run(&["replay", path.to_str().expect("a plain path")]).expect_code(0);
    let mut places =
        vec![run.0.stdout.clone(), run.0.stderr.clone(), replay.0.stdout.clone(), replay.0.stderr];
    let mut found = Vec::new();
    files(&bench.archive(), &mut found);
    places.extend(found.iter().map(|file| fs::read(file).expect("a file of the archive")));
    assert!(places.len() > 8);
    for place in &places {
        for needle in &needles {
            assert!(!place.windows(needle.len()).any(|window| window == needle));
        }
    }
}

/// Two captures of others come with their keys and with what is under them.
#[test]
fn captures_with_known_keys_are_decrypted_to_the_byte() {
    let Some(shared) = std::env::var_os("EARWITNESS_SHARED").map(PathBuf::from) else {
        eprintln!("skipped: EARWITNESS_SHARED names no folder with real captures");
        return;
    };
    let captures = shared.join("captures");
    let manifest: Vec<Value> =
        serde_json::from_slice(&fs::read(captures.join("manifest.json")).expect("the manifest"))
            .expect("JSON");
    let mut count = 0;
    for entry in manifest.iter().filter(|entry| entry["srtp_reference"].is_object()) {
        let truth = &entry["srtp_reference"];
        let text = |key: &str| truth[key].as_str().expect("text");
        let line = format!("1 {} inline:{}", text("suite"), text("key_inline"));
        let keys = sdes::parse(line.as_bytes()).expect("a line").keys;
        let mut receiver = Receiver::default();
        receiver.learn(keys.iter().map(|key| (0, key)));
        let (mut opened, mut payloads) = (Vec::new(), Vec::new());
        let (mut under, mut over) = (Scramble::default(), Scramble::default());
        let (mut plain, mut scrambled, mut packets) = (0, 0, 0);
        for datagram in datagrams(&captures.join(entry["file"].as_str().expect("a file"))) {
            let Ok(sealed) = decode::rtp::parse(&datagram) else { continue };
            scrambled += u64::from(over.push(sealed.payload) == Look::Scrambled);
            assert!(receiver.open(&datagram, &mut opened));
            let packet = decode::rtp::parse(&opened).expect("an RTP packet");
            match under.push(packet.payload) {
                Look::Plain => plain += 1,
                Look::Scrambled => panic!("{}: speech taken for ciphertext", entry["id"]),
                Look::Unknown => {}
            }
            payloads.extend_from_slice(packet.payload);
            packets += 1;
        }
        assert_eq!(truth["authenticated_packets"], packets, "{}", entry["id"]);
        let hash: String = Sha256::digest(&payloads).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(truth["payload_sha256"], hash, "{}", entry["id"]);
        assert!(plain > 40 && scrambled > 40, "{}: {plain} {scrambled}", entry["id"]);
        count += 1;
    }
    assert!(count >= 2, "{count} captures with keys");
}
