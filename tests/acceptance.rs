//! Real captures with known truth, where `EARWITNESS_SHARED` points to them.
//!
//! For every capture: which calls, between whom, answered or not, how many packets each stream has and how long its audio
//! is must be as an independent tool found it. Where the two differ and we are right, or the case is not covered yet,
//! `docs/acceptance.md` says why, in a table that this test reads: a difference without a row fails, and so does a row
//! without a difference.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use common::Bench;
use serde_json::Value;

/// Lengths may differ by one packet of up to 40 ms; most packets hold 20.
const LENGTH_MS: i64 = 40;

fn shared() -> Option<PathBuf> {
    let shared = std::env::var_os("EARWITNESS_SHARED").map(PathBuf::from).filter(|path| path.is_dir());
    if shared.is_none() {
        eprintln!("skipped: EARWITNESS_SHARED names no folder with real captures");
    }
    shared
}

/// The rows of the table in `docs/acceptance.md`: capture and kind of difference.
fn explained() -> BTreeSet<(String, String)> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/acceptance.md"))
        .expect("the table");
    text.lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [capture, kind, why, ..] = cells[..] else { return None };
            (capture.starts_with('S') && !why.is_empty()).then(|| (capture.to_owned(), kind.to_owned()))
        })
        .collect()
}

/// Formats that are no pcap stand beside a converted copy.
fn file_of(captures: &Path, entry: &Value) -> PathBuf {
    let file = entry["file"].as_str().expect("a file");
    let stem = Path::new(file).file_stem().expect("a name").to_string_lossy().into_owned();
    let converted =
        captures.join("files").join(format!("{}.converted.pcap", stem.split_once('_').expect("S000_name").1));
    let snoop = captures
        .join("files")
        .join(format!("{}.snoop.converted.pcap", stem.split_once('_').expect("S000_name").1));
    [converted, snoop].into_iter().find(|path| path.exists()).unwrap_or_else(|| captures.join(file))
}

/// What differs between our view of a capture and the truth: kind and detail.
fn differences(captures: &Path, entry: &Value) -> Vec<(&'static str, String)> {
    let bench = Bench::new();
    let file = file_of(captures, entry);
    let run = bench.run(&["record", "--json", "-r", file.to_str().expect("a plain path")]);
    let code = run.0.status.code();
    if !matches!(code, Some(0 | 3)) {
        return vec![("input", format!("exit {code:?}: {}", run.stderr()))];
    }
    let mut found = Vec::new();
    if code == Some(3) {
        found.push(("input", run.stderr()));
    }
    let rows = bench.run(&["calls", "--json"]).expect_code(0).json();
    let recordings = bench.run(&["archive", "list", "--json"]).expect_code(0).json();
    bench.run(&["archive", "verify"]).expect_code(0);

    let mut ours: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for row in &rows {
        if let Some(id) = row["sip_call_ids"][0].as_str() {
            ours.entry(id).or_default().push(row);
        }
    }
    let truth = &entry["truth"];
    let empty = Vec::new();
    let calls = truth["calls"].as_array().unwrap_or(&empty);
    let total = truth["sip"]["calls"].as_u64().unwrap_or(calls.len() as u64);
    // Some lists of the truth are cut short; their number is not.
    if total as usize == calls.len() {
        let known: BTreeSet<&str> = calls.iter().filter_map(|call| call["call_id"].as_str()).collect();
        for id in ours.keys().filter(|id| !known.contains(**id)) {
            found.push(("more calls", (*id).to_owned()));
        }
    } else if ours.len() as u64 != total {
        found.push(("more calls", format!("{} of {total}", ours.len())));
    }
    for call in calls {
        let id = call["call_id"].as_str().expect("a Call-ID");
        match ours.get(id) {
            None => found.push(("fewer calls", id.to_owned())),
            Some(rows) => compare_call(call, rows, &recordings, &mut found),
        }
    }
    found
}

fn compare_call(
    call: &Value,
    rows: &[&Value],
    recordings: &[Value],
    found: &mut Vec<(&'static str, String)>,
) {
    let id = call["call_id"].as_str().expect("a Call-ID");
    if rows.len() > 1 {
        found.push(("legs", format!("{id}: {} legs under one Call-ID", rows.len())));
    }
    let answered = rows.iter().any(|row| !row["answered"].is_null());
    if answered != (call["answered_inferred"] == true) {
        found.push(("answered", format!("{id}: {answered}")));
    }
    let first = rows.iter().min_by_key(|row| row["started"].to_string()).expect("a row");
    for (ours, user, host) in [("from", "from_user", "from_host"), ("to", "to_user", "to_host")] {
        let theirs =
            [user, host].into_iter().filter_map(|key| call[key].as_str()).find(|text| !text.is_empty());
        if first[ours].as_str() != theirs {
            found.push(("parties", format!("{id}: {} and not {theirs:?}", first[ours])));
        }
    }
    let streams = call["rtp_streams_of_call"].as_array().cloned().unwrap_or_default();
    // Two extensions of one leg have a recording each, with the same tracks: one of them is counted.
    let ids: BTreeSet<&str> = rows.iter().filter_map(|row| row["recordings"][0].as_str()).collect();
    let tracks: Vec<&Value> = recordings
        .iter()
        .filter(|r| r["id"].as_str().is_some_and(|id| ids.contains(id)))
        .flat_map(|r| r["tracks"].as_array().expect("tracks"))
        .collect();
    let sum =
        |values: &mut dyn Iterator<Item = Option<u64>>| values.map(Option::unwrap_or_default).sum::<u64>();
    let theirs = sum(&mut streams.iter().map(|s| s["packets"].as_u64()));
    let ours = sum(&mut tracks.iter().map(|t| t["packets"].as_u64()));
    if ours != theirs {
        found.push(("packets", format!("{id}: {ours} and not {theirs}")));
        return;
    }
    for stream in &streams {
        let ssrc =
            stream["ssrc"].as_str().and_then(|s| u64::from_str_radix(s.trim_start_matches("0x"), 16).ok());
        let Some(track) = tracks
            .iter()
            .find(|t| t["ssrcs"].as_array().is_some_and(|list| list.iter().any(|s| s.as_u64() == ssrc)))
        else {
            found.push(("streams", format!("{id}: no {}", stream["ssrc"])));
            continue;
        };
        let alone = track["ssrcs"].as_array().is_some_and(|list| list.len() == 1);
        if let Some(seconds) = stream["audio_seconds"].as_f64().filter(|_| alone) {
            let ours = track["audio_ms"].as_i64().expect("a number");
            let theirs = (seconds * 1000.0).round() as i64;
            if (ours - theirs).abs() > LENGTH_MS {
                found.push(("length", format!("{id} {}: {ours} ms and not {theirs} ms", stream["ssrc"])));
            }
        }
        let payload = stream["payload"].as_str().unwrap_or_default();
        let codec = match payload.split(',').next().unwrap_or_default() {
            "g711A" => "PCMA",
            "g711U" => "PCMU",
            _ => continue,
        };
        if track["codec"] != codec {
            found.push(("codec", format!("{id}: {} and not {codec}", track["codec"])));
        }
    }
}

#[test]
fn real_captures_are_as_an_independent_tool_found_them() {
    let Some(shared) = shared() else { return };
    let captures = shared.join("captures");
    let manifest: Vec<Value> =
        serde_json::from_slice(&fs::read(captures.join("manifest.json")).expect("the manifest"))
            .expect("JSON");
    assert!(manifest.len() > 100, "{} captures", manifest.len());
    let explained = explained();
    let mut differing = BTreeSet::new();
    let mut unexplained = Vec::new();
    for entry in &manifest {
        let id = entry["id"].as_str().expect("an id").to_owned();
        for (kind, detail) in differences(&captures, entry) {
            let row = (id.clone(), kind.to_owned());
            if !explained.contains(&row) {
                unexplained.push(format!("{id} | {kind} | {detail}"));
            }
            differing.insert(row);
        }
    }
    assert!(unexplained.is_empty(), "not explained in docs/acceptance.md:\n{}", unexplained.join("\n"));
    let idle: Vec<_> = explained.difference(&differing).collect();
    assert!(idle.is_empty(), "rows of docs/acceptance.md without a difference: {idle:?}");
}

#[test]
fn hostile_captures_are_survived() {
    let Some(shared) = shared() else { return };
    let mut count = 0;
    for entry in fs::read_dir(shared.join("captures/hostile")).expect("hostile captures") {
        let path = entry.expect("an entry").path();
        let bench = Bench::new();
        let run = bench.run(&["record", "--json", "-r", path.to_str().expect("a plain path")]);
        let code = run.0.status.code();
        assert!(matches!(code, Some(0 | 1 | 3)), "{}: {code:?} {}", path.display(), run.stderr());
        if bench.archive().exists() {
            bench.run(&["archive", "verify"]).expect_code(0);
        }
        count += 1;
    }
    assert!(count >= 20, "{count} hostile captures");
}

/// RFC 4475: of the 49 torture messages, 17 INVITEs are call attempts and 32 are not.
#[test]
fn torture_messages_are_calls_or_not() {
    let Some(shared) = shared() else { return };
    let calls: BTreeSet<&str> = "wsinv esc01 longreq badinv01 clerr ncl quotbal ltgtruri lwsruri lwsstart escruri baddate insuf invut \
        multi01 sdp01 inv2543"
        .split_whitespace()
        .collect();
    let mut wrong = Vec::new();
    let mut count = 0;
    for kind in ["valid", "invalid"] {
        for entry in
            fs::read_dir(shared.join("captures/corpora/rfc4475_torture").join(kind)).expect("the corpus")
        {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            // One file of the collection is no message of the RFC.
            if name == "test" {
                continue;
            }
            count += 1;
            let bench = Bench::new();
            let capture = bench.path("one.pcap");
            fs::write(&capture, datagram_capture(&fs::read(&path).expect("a message"))).expect("writes");
            let seen = bench.record(&capture)["seen"].as_u64();
            let expected = u64::from(calls.contains(name.as_str()));
            if seen != Some(expected) {
                wrong.push(format!("{name}: {seen:?} calls and not {expected}"));
            }
        }
    }
    assert_eq!(count, 49);
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// RFC 5118: messages with IPv6 in every place. All twelve are read as SIP; the three INVITEs are calls, whose audio is awaited
/// where their session descriptions say.
#[test]
fn ipv6_torture_messages_are_read_and_their_places_known() {
    let Some(shared) = shared() else { return };
    let corpus = shared.join("captures/corpora/rfc5118_ipv6_torture");
    let places = BTreeMap::from([
        ("ipv4-mapped-ipv6", &["192.0.2.2:6000", "192.0.2.2:6024"][..]),
        ("ipv6-in-sdp", &["[2001:db8::20]:6000", "[2001:db8::20]:6024"]),
        ("mult-ip-in-sdp", &["192.0.2.1:22334", "[2001:db8::1]:6024"]),
    ]);
    let mut count = 0;
    for entry in fs::read_dir(corpus).expect("the corpus") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name == "README.md" {
            continue;
        }
        count += 1;
        let bench = Bench::new();
        let capture = bench.path("one.pcap");
        fs::write(&capture, datagram_capture(&fs::read(&path).expect("a message"))).expect("writes");
        let summary = bench.record(&capture);
        let expected = places.get(name.as_str());
        assert_eq!(summary["sip_messages"], 1, "{name}");
        assert_eq!(summary["seen"], u64::from(expected.is_some()), "{name}");
        let text = bench.run(&["replay", capture.to_str().expect("a plain path")]).expect_code(0).stdout();
        for place in expected.into_iter().copied().flatten() {
            assert!(text.contains(&format!("at {place}")), "{name}: no {place} in\n{text}");
        }
    }
    assert_eq!(count, 12);
}

/// One UDP datagram in a capture of raw IP.
fn datagram_capture(payload: &[u8]) -> Vec<u8> {
    let mut packet =
        vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 20, 192, 0, 2, 10, 0x13, 0xc4, 0x13, 0xc4];
    packet.extend((8 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    let total = packet.len() as u16;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    let mut file = Vec::new();
    for word in [
        0xa1b2_c3d4_u32,
        0x0004_0002,
        0,
        0,
        65_535,
        101,
        1_772_442_000,
        0,
        packet.len() as u32,
        packet.len() as u32,
    ] {
        file.extend(word.to_le_bytes());
    }
    file.extend(packet);
    file
}
