//! How long a rotation of keys takes over an archive of many small recordings.
//!
//! `cargo bench -p earwitness-store --bench rotation` (option: `-- --recordings N`, 100,000 by default). The goal is 100,000 in
//! 60 s. The archive is made by the library itself, a tenth of a second of audio each, spread over four months.

use std::time::Instant;

use decode::{AudioFrame, Codec, Format, Party, Timestamp};
use policy::Cleared;
use store::{Archive, RecordingFacts, RecordingId, Verdict};

const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);
/// Between two recordings, so that 100,000 of them span four months.
const STEP_MS: i64 = 105_000;
/// Packets in each.
const PACKETS: u32 = 5;
/// Recordings that are opened after the rotation.
const OPENED: usize = 200;

fn facts(n: i64) -> RecordingFacts {
    let started = START.plus_millis(n * STEP_MS);
    let json = serde_json::json!({
        "id": RecordingId::new(started), "call": format!("call-{n}"), "segment": 1, "state": "recording", "source": "mirror",
        "extension": "1001", "direction": "inbound", "started": started, "duration_ms": 0, "ring_ms": 0, "hold_ms": 0,
        "talk_ms": 0, "tracks": [], "pauses": [], "holds": [], "dtmf": [], "tags": [], "held": false, "sip_call_ids": [],
        "rule": "all"
    });
    serde_json::from_value(json).expect("facts")
}

fn record(archive: &Archive, n: i64) {
    let facts = facts(n);
    let format =
        Format { payload_type: 0, codec: Codec::Pcmu, clock_rate: 8000, channels: 1, fmtp: String::new() };
    let mut writer = archive.create(facts.clone()).expect("begun");
    for i in 0..PACKETS {
        let at = facts.started.plus_millis(i64::from(i) * 20);
        let frame = AudioFrame {
            at,
            ssrc: 1,
            sequence: i as u16,
            timestamp: i * 160,
            marker: false,
            format: &format,
            payload: &[n as u8; 160],
        };
        writer.append(&Cleared::for_test(Party::Near, &frame)).expect("kept");
    }
    writer.finish(RecordingFacts { ended: Some(facts.started.plus_millis(100)), ..facts }).expect("finished");
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let option = words.iter().position(|word| word == "--recordings");
    let count: i64 = option.and_then(|at| words.get(at + 1)?.parse().ok()).unwrap_or(100_000);
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch folder");
    let dir = scratch.path().join("archive");
    let (archive, _) = Archive::open_or_create(&dir).expect("made");
    let began = Instant::now();
    (0..count).for_each(|n| record(&archive, n));
    archive.close().expect("closed");
    println!("{count} recordings made in {:.1} s", began.elapsed().as_secs_f64());

    let archive = Archive::open(&dir).expect("opens");
    let began = Instant::now();
    let rotated = archive.rotate_keys(false, |_, _| {}).expect("rotated");
    let took = began.elapsed().as_secs_f64();
    assert!(rotated.finished && rotated.rewrapped == count as u64, "{rotated:?}");
    println!(
        "{} recordings of {} months wrapped anew in {took:.1} s, {:.0} a second",
        rotated.rewrapped,
        rotated.retired,
        count as f64 / took
    );
    let some: Vec<_> =
        archive.rows().step_by(count as usize / OPENED + 1).map(|row| row.expect("a row").facts.id).collect();
    let opened =
        archive.verify(Some(&some)).all(|finding| finding.verdict == Verdict::Intact { opened: true });
    assert!(opened, "every one plays");
    println!("{} of them opened and verified", some.len());
}
