//! The SIP of a call: kept with its recording, shown, exported, and read again as what it was.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use capture::{FrameSource, PcapFile};
use common::Bench;
use decode::stream::{Found, Streams};
use decode::tcp::Reassembler;
use decode::{Dissector, Flow, Timestamp, Transport, sip};
use policy::{Digits, redact};
use serde_json::Value;

/// A message as it stands in a capture.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    at_us: i64,
    flow: Flow,
    bytes: Vec<u8>,
}

impl Seen {
    fn call_id(&self) -> String {
        let message = sip::parse(&self.bytes).expect("a message");
        sip::text(message.call_id().unwrap_or_default())
    }

    fn line(&self) -> String {
        let line = self.bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
        format!("{} {} {:?}", self.at_us, String::from_utf8_lossy(line), self.flow)
    }
}

/// The SIP messages of a capture, by the layers below the tracker alone.
fn messages(file: PcapFile) -> Vec<Seen> {
    let mut file = file;
    let (mut dissector, mut tcp, mut streams) = (Dissector::new(), Reassembler::new(), Streams::new());
    let mut seen = Vec::new();
    let mut add = |at: Timestamp, flow: Flow, bytes: &[u8]| {
        if sip::looks_like_sip(bytes) && sip::parse(bytes).is_ok() {
            seen.push(Seen { at_us: at.as_nanos().div_euclid(1_000), flow, bytes: bytes.to_vec() });
        }
    };
    while let Ok(true) = file.advance() {
        let Some(frame) = file.frame() else { continue };
        let Some(datagram) = dissector.handle_frame(&frame) else { continue };
        match datagram.transport {
            Transport::Udp => add(datagram.at, datagram.flow, datagram.payload),
            Transport::Tcp { .. } => {
                if let Some(stream) = tcp.handle_segment(&datagram) {
                    streams.handle(stream, datagram.at, &mut |found| match found {
                        Found::Message { at, flow, bytes, .. } | Found::Datagram { at, flow, bytes } => {
                            add(at, flow, bytes);
                        }
                        _ => {}
                    });
                }
            }
        }
    }
    seen
}

fn messages_of(path: &Path) -> Vec<Seen> {
    messages(PcapFile::open(path).expect("a capture"))
}

/// Records a capture and holds the SIP of each recording against the capture's.
///
/// Every exported message must be one of the capture's, at its time and between its ends, as it was but for what is never kept.
/// Gives what a call of one leg has not of its own Call-ID's messages.
fn compare(path: &Path) -> Vec<String> {
    let bench = Bench::new();
    let run = bench.run(&["record", "--json", "-r", path.to_str().expect("a plain path")]);
    if !matches!(run.0.status.code(), Some(0 | 3)) {
        return Vec::new();
    }
    let original = messages_of(path);
    // Where a capture's clock jumps, a recording has the time that goes on.
    let steps = original.windows(2).map(|pair| pair[1].at_us - pair[0].at_us);
    let is_steady = steps.into_iter().all(|us| (-100_000..86_400_000_000).contains(&us));
    let calls = bench.run(&["calls", "--json"]).expect_code(0).json();
    let rows = bench.run(&["archive", "list", "--json"]).expect_code(0).json();
    let mut missing = Vec::new();
    for row in &rows {
        let id = row["id"].as_str().expect("an id");
        let show = bench.run(&["archive", "show", id, "--sip", "--json"]).expect_code(0).json().remove(0);
        let run = bench.run(&["archive", "export", id, "--format", "pcap", "-o", "-"]);
        let steps = show["sip"]["messages"].as_array().expect("messages").clone();
        if row["signalling"] == "none" {
            run.expect_code(1);
            assert!(steps.is_empty(), "{path:?} {id}");
            continue;
        }
        let run = run.expect_code(0);
        let file = PcapFile::from_reader("-", Cursor::new(run.0.stdout)).expect("a capture file");
        let exported = messages(file);
        assert_eq!(
            exported.len(),
            steps.len(),
            "{path:?} {id}: every packet reads as the message that it is"
        );
        let mut left: Vec<&Seen> = original.iter().collect();
        for message in &exported {
            let is_it = |given: &&&Seen| {
                (given.at_us == message.at_us || !is_steady)
                    && given.flow == message.flow
                    && redact::redact(&given.bytes, Digits::Kept).0 == message.bytes
            };
            let place = left.iter().position(|given| is_it(&given));
            assert!(place.is_some(), "{path:?} {id}: not in the capture: {}", message.line());
            left.remove(place.expect("looked at above"));
        }
        let call_ids: BTreeSet<String> = exported.iter().map(Seen::call_id).collect();
        assert_eq!(call_ids.len(), 1, "{path:?} {id}: one leg, one Call-ID");
        let call_id = call_ids.first().expect("looked at above");
        let legs = calls.iter().filter(|call| call["sip_call_ids"][0] == **call_id).count();
        if legs == 1 {
            let mut copies: BTreeSet<(Flow, &[u8])> = BTreeSet::new();
            let of_it = left.iter().filter(|given| given.call_id() == **call_id);
            for given in of_it {
                let is_copy = exported.iter().any(|kept| {
                    (given.at_us - kept.at_us).abs() < 50_000
                        && given.flow == kept.flow
                        && redact::redact(&given.bytes, Digits::Kept).0 == kept.bytes
                });
                if !is_copy && copies.insert((given.flow, &given.bytes)) {
                    missing.push(given.line());
                }
            }
        }
    }
    missing
}

#[test]
fn what_is_exported_is_what_was_captured() {
    let mut compared = 0;
    for name in [
        "sipp-basic",
        "sipp-tcp",
        "sipp-ipv6",
        "sipp-auth",
        "sipp-info-digits",
        "sipp-hold",
        "kamailio-digest",
        "kamailio-parallel-fork",
        "span-duplicates",
        "srtp-sdes",
        "pjsip-attended-transfer",
        "fragmented-invite",
        "sip-websocket",
        "hep3",
        "tcp-pieces",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps").join(name).join("capture.pcap");
        assert_eq!(compare(&path), Vec::<String>::new(), "{name}");
        compared += 1;
    }
    assert_eq!(compared, 15);
}

#[test]
fn what_is_exported_of_real_captures_is_what_was_captured() {
    let Some(shared) = std::env::var_os("EARWITNESS_SHARED").map(PathBuf::from).filter(|path| path.is_dir())
    else {
        eprintln!("skipped: EARWITNESS_SHARED names no folder with real captures");
        return;
    };
    let files = fs::read_dir(shared.join("captures/files")).expect("the captures");
    let mut captures: Vec<PathBuf> = files.map(|entry| entry.expect("an entry").path()).collect();
    captures.sort();
    let mut missing: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for path in captures {
        if PcapFile::open(&path).is_err() {
            continue;
        }
        let lines = compare(&path);
        if !lines.is_empty() {
            missing.insert(path, lines);
        }
    }
    for (path, lines) in &missing {
        eprintln!("{}: {} not kept", path.display(), lines.len());
        for line in lines.iter().take(5) {
            eprintln!("  {line}");
        }
    }
}

/// Everything in the archive's files.
fn archive_bytes(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                all.extend(fs::read(&path).expect("a file"));
            }
        }
    }
    all
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// Every word of the capture that stands behind one of these marks, up to a byte that ends it.
fn words_behind(bytes: &[u8], mark: &[u8], ends: &[u8]) -> BTreeSet<Vec<u8>> {
    let places = bytes.windows(mark.len()).enumerate().filter(|(_, window)| *window == mark);
    places
        .map(|(at, _)| {
            let rest = &bytes[at + mark.len()..];
            rest.iter().take_while(|byte| !ends.contains(byte)).copied().collect()
        })
        .collect()
}

#[test]
fn no_key_and_no_credential_leaves_and_nothing_stands_in_the_archive_in_clear() {
    for (name, mark, ends) in [
        ("srtp-sdes", &b"inline:"[..], &b"|\r\n"[..]),
        ("srtp-rekey", b"inline:", b"|\r\n"),
        ("sipp-auth", b"response=\"", b"\""),
        ("kamailio-digest", b"response=\"", b"\""),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps").join(name).join("capture.pcap");
        let secrets = words_behind(&fs::read(&path).expect("a capture"), mark, ends);
        assert!(!secrets.is_empty(), "{name}");
        let bench = Bench::new();
        bench.record(&path);
        let stored = archive_bytes(&bench.archive());
        for clear in [&b"CSeq:"[..], b"SIP/2.0 200", b"a=rtpmap", b"INVITE sip:"] {
            assert!(!holds(&stored, clear), "{name}: {}", String::from_utf8_lossy(clear));
        }
        let archive = store::Archive::open(&bench.archive()).expect("the archive");
        let mut messages = 0;
        for row in archive.rows() {
            let mut reader = archive.read(row.expect("a row").facts.id).expect("readable");
            while let Some(chunk) = reader.next_chunk().expect("a chunk") {
                for record in chunk.records() {
                    let store::Record::Signal { signal, redacted } = record.expect("whole") else { continue };
                    messages += 1;
                    for secret in &secrets {
                        assert!(!holds(signal.bytes, secret), "{name}");
                    }
                    let is_concerned = holds(signal.bytes, mark);
                    assert_eq!(redacted.keys || redacted.credentials, is_concerned, "{name}");
                }
            }
        }
        assert!(messages > 3, "{name}");
    }
}

#[test]
fn the_ladder_the_json_and_the_zip_have_it() {
    let bench = Bench::new();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps/sipp-info-digits/capture.pcap");
    bench.record(&path);
    let id = bench.run(&["archive", "list", "--json"]).json()[0]["id"].as_str().expect("an id").to_owned();
    let ladder = bench.run(&["archive", "show", &id, "--sip"]).expect_code(0).stdout();
    for word in ["INVITE (SDP)", "180 Ringing", "200 OK (SDP)", "ACK", "INFO", "BYE", ">|", "|<", "1 INVITE"]
    {
        assert!(ladder.contains(word), "{word} in\n{ladder}");
    }
    let shown = bench.run(&["archive", "show", &id, "--sip", "--json"]).expect_code(0).json().remove(0);
    let steps = shown["sip"]["messages"].as_array().expect("messages");
    assert_eq!(steps.len() + 1, ladder.lines().count());
    assert_eq!(steps.first().map(|step| &step["what"]), Some(&Value::from("INVITE")));
    let last: Vec<_> =
        steps.iter().rev().take(2).map(|step| step["cseq"].as_str().expect("a CSeq")).collect();
    assert!(last.iter().all(|cseq| cseq.ends_with(" BYE")), "the BYE and its response are there: {last:?}");
    let plain = bench.run(&["archive", "show", &id, "--json"]).expect_code(0).json().remove(0);
    assert!(plain.get("sip").is_none());

    let zip = bench.path("x.zip");
    let zip = zip.to_str().expect("a plain path");
    bench.run(&["archive", "export", &id, "--format", "zip", "-o", zip]).expect_code(0);
    bench.run(&["archive", "verify", "--bundle", zip]).expect_code(0);
    let names = fs::read(zip).expect("the ZIP");
    assert!(holds(&names, format!("{id}.sip.pcapng").as_bytes()));
    let several = bench.run(&["archive", "export", &id, "--format", "pcap", "--channels", "mono", "-o", "-"]);
    several.expect_code(2);
}

#[test]
fn where_it_is_not_wanted_none_is_kept() {
    let bench = Bench::new();
    let config = bench.path("c.toml");
    fs::write(&config, "[record]\nsip = false\n").expect("written");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps/sipp-basic/capture.pcap");
    let words = ["record", "-c", config.to_str().expect("plain"), "-r", path.to_str().expect("plain")];
    bench.run(&words).expect_code(0);
    let id = bench.run(&["archive", "list", "--json"]).json()[0]["id"].as_str().expect("an id").to_owned();
    let shown = bench.run(&["archive", "show", &id, "--sip"]).expect_code(0).stdout();
    assert_eq!(shown.trim(), "no SIP is kept with this recording");
    let refused = bench.run(&["archive", "export", &id, "--format", "pcap", "-o", "-"]).expect_code(1);
    assert!(refused.stderr().contains("no SIP is kept"), "{}", refused.stderr());
}
