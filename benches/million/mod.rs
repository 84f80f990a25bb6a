//! An index of a million recordings that have no files, and what asking it takes: for the benches of searches and of pages.
#![allow(dead_code, reason = "each bench uses its part of this")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use decode::{Codec, Party, Timestamp};
use policy::Step;
use policy::people::{Person, Who};
use store::{
    Archive, CallRow, Direction, Outcome, Quality, RecordingFacts, RecordingId, Row, Signalling,
    SignatureState, Source, State, Track,
};

/// 2026-01-01, when the year begins.
pub(crate) const YEAR_MS: i64 = 1_767_225_600_000;
pub(crate) const DAY_MS: i64 = 86_400_000;
pub(crate) const DAYS: i64 = 365;
pub(crate) const EXTENSIONS: u64 = 400;
/// Rows handed to the index at once, as a rebuild does.
const ROWS_AT_ONCE: usize = 128;

/// A number that the command line gives.
pub(crate) fn option(name: &str, default: u64) -> u64 {
    let words: Vec<String> = std::env::args().collect();
    let at = words.iter().position(|word| word == name);
    at.and_then(|at| words.get(at + 1)?.parse().ok()).unwrap_or(default)
}

/// Makes the archive, and says how fast.
pub(crate) fn build(dir: &Path, recordings: u64) {
    let (archive, _) = Archive::open_or_create(dir).expect("an archive");
    let (begun, mut row_bytes) = (Instant::now(), 0);
    let mut rows = Vec::with_capacity(ROWS_AT_ONCE);
    for n in 0..recordings {
        rows.push(row(n, recordings));
        if rows.len() == ROWS_AT_ONCE || n + 1 == recordings {
            if n % 64 == 63 {
                row_bytes = serde_json::to_vec(&rows[0]).expect("json").len();
            }
            archive.put_rows(&rows).expect("put");
            rows.clear();
        }
    }
    archive.close().expect("closed");
    let took = begun.elapsed();
    println!(
        "built {recordings} recordings in {:.1} s ({:.0}/s; a row is {row_bytes} bytes of JSON), {:.0} MB on disk, RSS {:.0} MB, peak {:.0} MB",
        took.as_secs_f64(),
        recordings as f64 / took.as_secs_f64(),
        folder_bytes(&dir.join("index")) as f64 / 1e6,
        memory_mb("VmRSS:"),
        memory_mb("VmHWM:"),
    );
}

/// A line of the balance sheet for each recording.
pub(crate) fn calls(archive: &Archive, recordings: u64) {
    let begun = Instant::now();
    for n in 0..recordings {
        let facts = row(n, recordings).facts;
        let mut call = CallRow::of_recording(&facts, facts.ended, facts.rule.clone());
        call.outcome = if n % 20 == 0 { Outcome::NotAnswered } else { Outcome::Recorded };
        archive.append_call(&call).expect("room");
    }
    archive.sync().expect("a disk");
    println!("wrote {recordings} lines of the balance sheet in {:.1} s", begun.elapsed().as_secs_f64());
}

/// Lines of calls without a recording in January, as the gate has them written.
pub(crate) fn unrecorded_calls(archive: &Archive, count: u64) {
    let rules = ["recorded devices", "internal calls", "include 1", "include 2", "exclude 1", "exclude 2"];
    for n in 0..count {
        let facts = row(n, count).facts;
        let started = Timestamp::from_millis(YEAR_MS + (n * 31 * DAY_MS as u64 / count) as i64);
        let call = format!("{:012x}-{n:016x}", started.as_millis());
        let mut line = CallRow {
            outcome: Outcome::Excluded,
            recordings: vec![],
            started,
            call,
            ..CallRow::of_recording(&facts, Some(started.plus_millis(60_000)), facts.rule.clone())
        };
        let extension = facts.extension.clone();
        let step = |rule: &str| Step {
            at_ms: 0,
            extension: extension.clone(),
            rule: rule.to_owned(),
            fact: format!("extension {extension}, outside number 01632960001"),
            verdict: "does not match".to_owned(),
        };
        line.why = rules.into_iter().map(step).collect();
        let who = Who {
            user: Some(Person { id: extension.clone(), name: "Ann Bell".into() }),
            unit: Some("Claims".into()),
            units_above: vec!["Insurance".into()],
        };
        let part = serde_json::json!({
            "extension": extension, "other_party": facts.other_party, "outside_number": facts.outside_number,
            "direction": facts.direction, "ddi": facts.ddi, "who": who, "source": facts.source, "started": started,
            "outcome": Outcome::Excluded, "phone": "192.0.2.20", "names": { "extension_name": facts.extension_name },
        });
        line.parts = vec![serde_json::from_value(part).expect("a part")];
        archive.append_call(&line).expect("room");
    }
}

/// Asks so many times, and prints the median and the 95th of 100 beside the limit.
pub(crate) fn measure(
    name: &str,
    limit_ms: Option<u64>,
    runs: u64,
    mut once: impl FnMut() -> (usize, Duration),
) {
    let mut all: Vec<(Duration, usize)> =
        (0..runs).map(|_| once()).map(|(rows, took)| (took, rows)).collect();
    all.sort();
    let at = |part: f64| all[((all.len() - 1) as f64 * part).round() as usize].0.as_secs_f64() * 1e3;
    let rows = all.iter().map(|(_, rows)| rows).sum::<usize>() / all.len();
    let verdict = match limit_ms {
        Some(limit) if at(0.95) <= limit as f64 => format!("{limit:>9}  kept"),
        Some(limit) => format!("{limit:>9}  EXCEEDED"),
        None => "        -".to_owned(),
    };
    println!("{name:<44} {rows:>8} {:>9.2} {:>9.2} {verdict}", at(0.5), at(0.95));
}

/// Recording `n` of `total`, always the same.
pub(crate) fn row(n: u64, total: u64) -> Row {
    let mut rng = Rng(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bd1_e995);
    // Spread over the working hours of each day, in order.
    let per_day = total.div_ceil(DAYS as u64);
    let (day, nth) = ((n / per_day) as i64, n % per_day);
    let in_day = 8 * 3_600_000 + (nth * 36_000_000 / per_day) as i64;
    let started = Timestamp::from_millis(YEAR_MS + day * DAY_MS + in_day);
    let mut random = [0; 10];
    random[..8].copy_from_slice(&n.to_be_bytes());
    // Few extensions and numbers have most of the calls.
    let extension = 2000 + rng.below(EXTENSIONS).min(rng.below(EXTENSIONS));
    let number = rng.below(20_000) * rng.below(20_000) / 4_000;
    let outside = format!("+4416329{number:05}");
    let direction = match rng.below(10) {
        0..5 => Direction::Inbound,
        5..8 => Direction::Outbound,
        _ => Direction::Internal,
    };
    let internal = direction == Direction::Internal;
    let other = if internal { (2000 + rng.below(EXTENSIONS)).to_string() } else { outside.clone() };
    let (duration_ms, ring_ms) =
        (5_000 + rng.below(200_000) * rng.below(200_000) / 50_000, rng.below(20_000));
    let call_ms = started.as_millis() - ring_ms as i64;
    let state = if rng.below(500) == 0 { State::Interrupted } else { State::Complete };
    let some = |yes: bool, text: String| yes.then_some(text);
    let facts = RecordingFacts {
        id: RecordingId::from_parts(started, random),
        call: format!("{call_ms:012x}-{:016x}", rng.next()),
        segment: 1,
        state,
        source: Source::Mirror,
        extension: extension.to_string(),
        extension_name: Some(format!(
            "{} {}",
            GIVEN[extension as usize % 16],
            FAMILY[extension as usize / 16 % 16]
        )),
        outside_number: some(!internal, outside),
        other_party: Some(other),
        other_party_name: some(rng.below(3) == 0, FAMILY[rng.below(16) as usize].to_owned()),
        direction,
        started,
        answered: Some(started),
        ended: Some(started.plus_millis(duration_ms as i64)),
        duration_ms,
        ring_ms,
        hold_ms: 0,
        talk_ms: duration_ms,
        tracks: [Party::Near, Party::Far].map(|party| track(party, duration_ms, &mut rng)).into(),
        pauses: vec![],
        holds: vec![],
        one_way: vec![],
        dtmf: vec![],
        user: Some(format!("{}.{extension}", GIVEN[extension as usize % 16].to_lowercase())),
        user_name: None,
        business_unit: None,
        units_above: Vec::new(),
        site: None,
        agent: some(extension.is_multiple_of(4), (7000 + extension % 100).to_string()),
        account_code: some(rng.below(8) == 0, format!("{}-{}", rng.below(90) + 10, rng.below(9000) + 1000)),
        hunt_group: some(rng.below(3) == 0, (500 + rng.below(12)).to_string()),
        trunk: some(!internal, (1 + rng.below(8)).to_string()),
        ddi: some(direction == Direction::Inbound, format!("0163296{:04}", rng.below(200))),
        ddi_name: None,
        contact: None,
        transferred_from: None,
        tags: [("claim", 40), ("complaint", 200), ("training", 900)]
            .into_iter()
            .filter(|(_, one_in)| rng.below(*one_in) == 0)
            .map(|(tag, _)| tag.to_owned())
            .collect(),
        fields: Default::default(),
        held: rng.below(2_000) == 0,
        sip_call_ids: vec![format!("{:016x}{:08x}@192.0.2.10", rng.next(), rng.below(1 << 32))],
        ties: vec![],
        rule: "everything".to_owned(),
        named_by: None,
        signalling: Signalling::Sip,
        foreign_packets: 0,
        joined_late: false,
        known_by_end: false,
        not_held_packets: 0,
        recoded: None,
        shares_media: false,
    };
    let sha256 = format!("{:064x}", rng.next());
    let (bytes, signature, deleted) = (duration_ms * 17, SignatureState::Valid, None);
    Row {
        facts,
        bytes,
        sha256,
        signature,
        rating: None,
        notes: vec![],
        reassigned: None,
        legal_holds: vec![],
        copies: vec![],
        moved: false,
        deleted,
    }
}

fn track(party: Party, duration_ms: u64, rng: &mut Rng) -> Track {
    Track {
        party,
        codec: Codec::Pcma,
        stored: None,
        clock_rate: 8000,
        ssrcs: vec![rng.next() as u32],
        packets: duration_ms / 20,
        decrypted: 0,
        undecryptable: 0,
        no_key: None,
        looks_encrypted: 0,
        lost_network: rng.below(3),
        lost_capture: 0,
        reordered: 0,
        duplicates: 0,
        jitter_ms: rng.below(4000) as f64 / 1000.0,
        mos: Some(4.0 + rng.below(40) as f64 / 100.0),
        skew_ppm: rng.below(1000) as f64 / 10.0,
        audio_ms: duration_ms,
        quality: Quality::default(),
    }
}

const GIVEN: [&str; 16] = [
    "Ann", "Bob", "Carla", "Dieter", "Eve", "Farid", "Gina", "Hugo", "Ines", "Jan", "Kim", "Lena", "Mina",
    "Noor", "Olga", "Piet",
];
const FAMILY: [&str; 16] = [
    "Ahmed", "Berg", "Costa", "Dahl", "Evans", "Fischer", "Garcia", "Hill", "Ito", "Jones", "Klein", "Lopez",
    "Meyer", "Novak", "Owen", "Park",
];

/// splitmix64.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn folder_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).expect("a folder").flatten();
    entries
        .map(|entry| match entry.metadata().expect("its size") {
            meta if meta.is_dir() => folder_bytes(&entry.path()),
            meta => meta.len(),
        })
        .sum()
}

/// A line of this process's status, in MB.
pub(crate) fn memory_mb(line: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let value = status.lines().find_map(|text| text.strip_prefix(line)).expect("a line");
    let kib: f64 = value.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024.0 / 1e6
}
