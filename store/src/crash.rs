//! Tests of what survives: the process killed, the power cut, the disk full or failing, at every single operation.

mod accounts;
mod book;
mod recode;
mod rotation;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use decode::{AudioFrame, Codec, Format, Party, Timestamp};
use policy::Cleared;

use crate::archive::{Place, make};
use crate::disk::Disk;
use crate::shared::Tuning;
use crate::sim::{Dice, Fault, SimDisk};
use crate::wave::path_of;
use crate::{
    Archive, CallRow, Deletion, Direction, Discarded, Error, Event, Outcome, Record, RecordingFacts,
    RecordingId, Recovery, Source, State, Trouble, Verdict, What, Writer,
};

/// Short journals, so that a scenario goes through several; a small reserve; files that get what waits soon, and together.
const TUNING: Tuning = Tuning {
    journal_max: 20_000,
    reserve: 30_000,
    write_from: 3_000,
    waiting_max: 6_000,
    rest: Duration::from_secs(3_600),
};
pub(crate) const START: Timestamp = Timestamp::from_millis(1_795_000_000_000);

pub(crate) fn facts(n: u8) -> RecordingFacts {
    let json = serde_json::json!({
        "id": RecordingId::from_parts(START.plus_millis(n.into()), [n; 10]), "call": format!("call-{n}"), "segment": 1,
        "state": "recording", "source": "mirror", "extension": "1001", "direction": "inbound", "started": START,
        "duration_ms": 0, "ring_ms": 0, "hold_ms": 0, "talk_ms": 0, "tracks": [], "pauses": [], "holds": [], "dtmf": [],
        "tags": [], "held": false, "sip_call_ids": [], "rule": "all"
    });
    let mut facts: RecordingFacts = serde_json::from_value(json).expect("facts");
    facts.source = Source::Mirror;
    facts.direction = Direction::Inbound;
    facts
}

fn payload(n: u8, i: u32) -> Vec<u8> {
    let mut dice = Dice(u64::from(i) << 8 | u64::from(n) | 1 << 62);
    (0..160).map(|_| dice.roll(256) as u8).collect()
}

pub(crate) fn append(writer: &mut Writer, n: u8, i: u32) -> Result<(), Error> {
    let format =
        Format { payload_type: 0, codec: Codec::Pcmu, clock_rate: 8000, channels: 1, fmtp: String::new() };
    let frame = AudioFrame {
        at: START.plus_millis(i64::from(i) * 20),
        ssrc: n.into(),
        sequence: i as u16,
        timestamp: i * 160,
        marker: false,
        format: &format,
        payload: &payload(n, i),
    };
    writer.append(&Cleared::for_test(Party::Near, &frame))
}

/// What is told of a recording while it runs.
fn known(n: u8) -> RecordingFacts {
    RecordingFacts { account_code: Some(format!("77{n}")), tags: vec!["told".into()], ..facts(n) }
}

fn call_row(n: u8) -> CallRow {
    CallRow {
        call: format!("call-{n}"),
        sip_call_ids: vec![],
        from: "1".into(),
        to: "2".into(),
        started: START,
        answered: None,
        ended: None,
        outcome: Outcome::Recorded,
        reason: String::new(),
        recordings: vec![facts(n).id],
        ties: vec![],
        why: Vec::new(),
        parts: Vec::new(),
    }
}

/// What the archive said is safe.
#[derive(Clone, Debug, Default)]
struct Promised {
    /// Packets of each recording that are on disk.
    packets: BTreeMap<u8, u32>,
    /// Recordings that are on disk with their end.
    finished: BTreeMap<u8, u32>,
    /// Recordings that are destroyed.
    discarded: Vec<u8>,
    /// Lines of the balance sheet.
    calls: usize,
    /// A recording and what the ledger says of it are being deleted.
    erasing: bool,
    /// All four calls are kept in the journal: whatever happens, each has a line after the next opening.
    expected: bool,
}

/// Packets in a sealed chunk: 8 of 20 ms begin before 150 ms are over.
const PACKETS_PER_CHUNK: u32 = 8;

/// Four recordings: one ends in order, one is destroyed, one is dropped, one still runs at the end.
fn scenario(archive: &Archive, promised: &mut Promised) -> Result<(), Error> {
    let mut writers = (1..=4).map(|n| archive.create(facts(n))).collect::<Result<Vec<_>, _>>()?;
    (1..=4).try_for_each(|n| archive.expect_call(u64::from(n), &call_row(n)))?;
    for (n, writer) in (1..).zip(&mut writers) {
        writer.know(known(n))?;
    }
    for round in 0..3_u32 {
        for i in round * 60..(round + 1) * 60 {
            for (n, writer) in (1..).zip(&mut writers) {
                append(writer, n, i)?;
            }
        }
        archive.sync()?;
        promised.expected = true;
        let sealed = ((round + 1) * 60 - 1) / PACKETS_PER_CHUNK * PACKETS_PER_CHUNK;
        // A recording that could not be written is told to its writer.
        let alive = (1..).zip(&writers).filter(|(_, writer)| !writer.is_failed());
        promised.packets.extend(alive.map(|(n, _)| (n, sealed)));
    }
    let mut writers = writers.into_iter();
    let (Some(one), Some(two), Some(three), Some(mut four)) =
        (writers.next(), writers.next(), writers.next(), writers.next())
    else {
        unreachable!("four were begun");
    };
    one.finish(RecordingFacts { ended: Some(START.plus_millis(3600)), ..known(1) })?;
    archive.settle_call(1, &call_row(1))?;
    archive.sync()?;
    if archive.row(facts(1).id)?.facts.state == State::Complete {
        promised.finished.insert(1, 180);
    }
    promised.calls = 1;
    promised.packets.remove(&2);
    two.discard("a rule came late")?;
    promised.discarded.push(2);
    drop(three);
    for i in 180..300 {
        append(&mut four, 4, i)?;
    }
    archive.settle_call(4, &call_row(4))?;
    archive.sync()?;
    if !four.is_failed() {
        promised.packets.insert(4, 299 / PACKETS_PER_CHUNK * PACKETS_PER_CHUNK);
    }
    promised.calls = 2;
    promised.finished.remove(&1);
    promised.packets.remove(&1);
    promised.erasing = true;
    let deletion = Deletion { at: START, who: "x".into(), rule: "by hand".into(), why: "asked to".into() };
    archive.delete(facts(1).id, deletion, false)?;
    promised.discarded.push(1);
    // The last one ends with the process.
    four.seal_stale(START.plus_millis(100_000))
}

pub(crate) fn new_disk() -> Arc<SimDisk> {
    let disk = SimDisk::new();
    make(&*disk).expect("made");
    disk.after_kill()
}

pub(crate) fn open(disk: &Arc<SimDisk>, index: &Path) -> Result<Archive, Error> {
    let lock = disk.lock("lock").expect("asked").expect("free");
    Archive::open_on(
        Arc::clone(disk) as Arc<dyn Disk>,
        lock,
        &Place { root: Path::new("/sim"), index, is_copy: false },
        TUNING,
        &mut |_, _| {},
    )
}

/// The payloads of a recording, all of which must be the ones that were appended, from the first on.
pub(crate) fn played(archive: &Archive, n: u8) -> Result<u32, Error> {
    let mut reader = archive.read(facts(n).id)?;
    let mut packets = 0;
    while let Some(chunk) = reader.next_chunk()? {
        for record in chunk.records() {
            if let Record::Audio { frame, .. } = record? {
                assert_eq!(frame.payload, payload(n, packets), "recording {n}, packet {packets}");
                packets += 1;
            }
        }
    }
    Ok(packets)
}

/// Everything promised is there, everything there is whole.
fn assert_kept(archive: &Archive, promised: &Promised, at: &str) {
    for (n, packets) in &promised.finished {
        let row = archive.row(facts(*n).id).unwrap_or_else(|e| panic!("{at}: recording {n}: {e}"));
        assert_eq!(row.facts.state, State::Complete, "{at}: recording {n}");
        assert_eq!(played(archive, *n).expect("plays"), *packets, "{at}: recording {n}");
    }
    for (n, packets) in &promised.packets {
        let played = played(archive, *n).unwrap_or_else(|e| panic!("{at}: recording {n}: {e}"));
        assert!(played >= *packets, "{at}: recording {n} plays {played} of {packets} packets");
        // It was journaled before these packets.
        let facts = archive.row(facts(*n).id).unwrap_or_else(|e| panic!("{at}: recording {n}: {e}")).facts;
        let told = (facts.account_code, facts.tags);
        assert_eq!(told, (known(*n).account_code, known(*n).tags), "{at}: recording {n}");
    }
    for n in &promised.discarded {
        assert!(
            matches!(archive.read(facts(*n).id), Err(Error::NotFound { .. })),
            "{at}: recording {n} is back"
        );
    }
    let rows: Vec<_> = archive.rows().map(|row| row.expect("a row")).collect();
    assert!(rows.iter().all(|row| row.facts.state != State::Recording), "{at}: {rows:?}");
    for row in &rows {
        let n = row.facts.id.as_bytes()[15];
        let packets = played(archive, n).unwrap_or_else(|e| panic!("{at}: {n} is listed: {e}"));
        assert!(packets <= 300, "{at}");
    }
    for finding in archive.verify(None) {
        if finding.verdict == Verdict::Deleted {
            continue;
        }
        assert_eq!(finding.verdict, Verdict::Intact { opened: true }, "{at}: {}", finding.path.display());
        assert!(
            rows.iter().any(|row| Some(row.facts.id) == finding.id),
            "{at}: {} not listed",
            finding.path.display()
        );
    }
    let calls: Vec<_> = archive.calls().expect("read").map(|row| row.expect("a whole line")).collect();
    let named: std::collections::BTreeSet<_> = calls.iter().map(|row| row.call.clone()).collect();
    assert_eq!(named.len(), calls.len(), "{at}: a call has two lines");
    let least = if promised.expected { 4 } else { promised.calls } - usize::from(promised.erasing);
    assert!((least..=4).contains(&calls.len()), "{at}: {} calls", calls.len());
    let problems = archive.check(false).expect("checked");
    assert_eq!(problems, [], "{at}");
}

/// Runs the scenario on a disk that dies at operation `at`, with so many sealing threads; gives the disk and what was promised until then.
fn die(at: u64, index: &Path, threads: usize) -> (Arc<SimDisk>, Promised) {
    let (disk, mut promised) = (new_disk(), Promised::default());
    disk.fail_at(at, Fault::Die);
    if let Ok(archive) = open(&disk, index) {
        archive.seal_on_threads(threads).expect("threads");
        let ended = scenario(&archive, &mut promised);
        assert!(disk.is_dead() || ended.is_ok(), "only death stops the scenario: {ended:?}");
        disk.fail_at(0, Fault::Die);
        drop(archive);
    }
    (disk, promised)
}

/// Operations of a whole scenario, and a few more.
fn operations() -> u64 {
    let index = tempfile::tempdir().expect("a folder");
    let disk = new_disk();
    let archive = open(&disk, &index.path().join("index")).expect("opens");
    scenario(&archive, &mut Promised::default()).expect("runs");
    let operations = disk.operations();
    assert!(operations > 80, "{operations}");
    operations + 5
}

/// Does something for each of these operations, on all cores.
fn at_each(operations: std::ops::Range<u64>, test: impl Fn(u64) + Sync) {
    let next = std::sync::Mutex::new(operations);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let Some(at) = crate::disk::locked(&next).next() else { return };
                    test(at);
                }
            });
        }
    });
}

/// Does something for each operation of the scenario, each with a folder for an index.
fn at_each_operation(test: impl Fn(u64, &Path) + Sync) {
    at_each(1..operations() + 1, |at| {
        let index = tempfile::tempdir().expect("a folder");
        test(at, &index.path().join("index"));
    });
}

#[test]
fn whatever_was_promised_survives_a_kill_at_any_operation() {
    survives_a_kill(0);
}

#[test]
fn whatever_was_promised_survives_a_kill_at_any_operation_while_two_threads_seal() {
    survives_a_kill(2);
}

fn survives_a_kill(threads: usize) {
    at_each_operation(|at, index| {
        let (disk, promised) = die(at, index, threads);
        let disk = disk.after_kill();
        let archive = open(&disk, index).unwrap_or_else(|e| panic!("killed at {at}: {e}"));
        assert_kept(&archive, &promised, &format!("killed at {at}"));
        archive.close().expect("closed");
        let archive = open(&disk, index).expect("opens again");
        assert_eq!(archive.recovered(), &Default::default(), "killed at {at}: mended once");
    });
}

/// Two power cuts at each operation, each with another one while it is mended; `EARWITNESS_CUTS` asks for more.
#[test]
fn whatever_was_promised_survives_a_power_cut_at_any_operation_and_another_while_mending() {
    let cuts = std::env::var("EARWITNESS_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    println!("{} power cuts, each with another while mending", operations() * cuts);
    at_each_operation(|at, index| {
        let (disk, promised) = die(at, index, 0);
        for seed in (0..cuts).map(|cut: u64| at * 7919 + cut * 104_729 + 1) {
            let disk = disk.after_power_cut(seed);
            // The index may be of any time: it is another folder, which the power cut of the model does not touch.
            disk.fail_at(Dice(seed | 1).roll(30), Fault::Die);
            let _ = open(&disk, index).map(drop);
            let disk = disk.after_power_cut(seed ^ 0xabcdef);
            let archive = open(&disk, index).unwrap_or_else(|e| panic!("cut at {at}, seed {seed}: {e}"));
            assert_kept(&archive, &promised, &format!("cut at {at}, seed {seed}"));
            archive.close().expect("closed");
            let archive = open(&disk.after_power_cut(seed), index).expect("opens again");
            assert!(archive.recovered().interrupted.is_empty(), "cut at {at}: mended once");
            assert_kept(&archive, &promised, &format!("cut at {at}, seed {seed}, opened twice"));
            drop(archive);
            // The next seed must not see this one's index ahead of its own files: that cannot happen to one disk.
            std::fs::remove_dir_all(index).expect("removed");
        }
    });
}

/// Runs the scenario against a fault that does not kill: whatever fails, recordings are ended and the archive opens.
fn survive_fault(at: u64, index: &Path, fault: Fault) {
    let (disk, mut promised) = (new_disk(), Promised::default());
    disk.fail_at(at, fault);
    let Ok(archive) = open(&disk, index) else {
        return;
    };
    let _ = scenario(&archive, &mut promised);
    drop(archive);
    let disk = disk.after_power_cut(at);
    let archive = open(&disk, index).unwrap_or_else(|e| panic!("{fault:?} at {at}: {e}"));
    assert_kept(&archive, &promised, &format!("{fault:?} at {at}"));
}

#[test]
fn a_full_disk_at_any_operation_corrupts_nothing() {
    at_each_operation(|at, index| survive_fault(at, index, Fault::Writes(std::io::ErrorKind::StorageFull)));
}

#[test]
fn a_single_failed_operation_corrupts_nothing() {
    at_each_operation(|at, index| survive_fault(at, index, Fault::Once(std::io::ErrorKind::Other)));
}

#[test]
fn on_a_full_disk_running_recordings_end_in_order_and_new_ones_are_refused() {
    let index = tempfile::tempdir().expect("a folder");
    let disk = new_disk();
    let archive = open(&disk, &index.path().join("index")).expect("opens");
    let mut writers: Vec<_> = (1..=2).map(|n| archive.create(facts(n)).expect("begun")).collect();
    for i in 0..100 {
        for (n, writer) in (1..).zip(&mut writers) {
            append(writer, n, i).expect("kept");
        }
    }
    archive.sync().expect("synced");
    disk.fail_at(1, Fault::Full);
    let mut refused = [None, None];
    for i in 100..400 {
        for ((n, writer), refused) in (1..).zip(&mut writers).zip(&mut refused) {
            match append(writer, n, i) {
                Err(e) if refused.is_none() => {
                    assert!(matches!(e, Error::Full { .. }), "{e}");
                    *refused = Some(i);
                }
                _ => {}
            }
        }
        // The disk thread must have had its turn, or nobody is told.
        drop(archive.calls().expect("asked"));
    }
    assert!(refused.iter().all(Option::is_some), "{refused:?}");
    assert!(matches!(archive.create(facts(3)), Err(Error::Full { .. })));
    for (n, writer) in (1..).zip(writers) {
        writer.finish(facts(n)).expect("ended");
    }
    archive.sync().expect("synced");
    for n in 1..=2 {
        assert_eq!(archive.row(facts(n).id).expect("listed").facts.state, State::Interrupted);
        // What was sealed before the disk was full: two chunks.
        assert!(played(&archive, n).expect("plays") >= 2 * PACKETS_PER_CHUNK);
    }
    assert!(archive.verify(None).all(|finding| !finding.is_problem()));
    // There is room again: calls are recorded within five seconds.
    let until = std::time::Instant::now() + Duration::from_secs(5);
    let mut writer = loop {
        match archive.create(facts(4)) {
            Ok(writer) => break writer,
            Err(e) => assert!(matches!(e, Error::Full { .. }) && std::time::Instant::now() < until, "{e}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    for i in 0..60 {
        append(&mut writer, 4, i).expect("kept");
    }
    writer.finish(facts(4)).expect("ended");
    archive.sync().expect("synced");
    assert_eq!(played(&archive, 4).expect("plays"), 60);
}

#[test]
fn a_failed_sync_is_told_to_everybody_and_not_believed_later() {
    let index = tempfile::tempdir().expect("a folder");
    let disk = new_disk();
    let archive = open(&disk, &index.path().join("index")).expect("opens");
    let mut writer = archive.create(facts(1)).expect("begun");
    for i in 0..60 {
        append(&mut writer, 1, i).expect("kept");
    }
    disk.fail_at(1, Fault::Sync);
    let first = archive.sync().expect_err("the sync fails");
    assert!(matches!(first, Error::Io { .. }), "{first}");
    assert!(archive.sync().is_err(), "a later sync would succeed and say nothing");
    assert!(matches!(archive.troubles()[..], [Trouble::Failed(_)]));
    let told = (60..200).find_map(|i| append(&mut writer, 1, i).err());
    assert!(matches!(told, Some(Error::Io { .. })), "{told:?}");
    assert!(archive.create(facts(2)).is_err());
    assert!(archive.append_call(&call_row(1)).is_err());
    drop(writer);
    assert!(archive.close().is_err());
    let archive = open(&disk.after_power_cut(3), &index.path().join("index")).expect("opens");
    assert!(archive.verify(None).all(|finding| !finding.is_problem()));
}

/// Waits until nothing keeps the archive from doing all that it should.
fn wait_until_mended(archive: &Archive) {
    for _ in 0..1_000 {
        if archive.troubles().is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{:?}", archive.troubles());
}

/// Three recordings, and the file of the first takes nothing while they go on; it is ended while that is so.
fn go_on_while_a_file_takes_nothing(archive: &Archive, disk: &SimDisk) {
    let mut writers: Vec<_> = (1..=3).map(|n| archive.create(facts(n)).expect("begun")).collect();
    let say = |writers: &mut [Writer], from: u32| {
        for i in from..from + 60 {
            for (n, writer) in (1..).zip(&mut *writers) {
                append(writer, n, i).expect("kept");
            }
        }
        archive.sync().expect("synced");
    };
    say(&mut writers, 0);
    assert_eq!(archive.troubles(), []);
    disk.refuse(Some(&path_of(facts(1).id)));
    say(&mut writers, 60);
    assert!(matches!(archive.troubles()[..], [Trouble::Behind(_)]), "{:?}", archive.troubles());
    say(&mut writers, 120);
    let mut writers = writers.into_iter();
    let mut next = || writers.next().expect("three");
    next().finish(known(1)).expect("ended");
    next().finish(facts(2)).expect("ended");
    assert!(matches!(next().discard("a rule"), Ok(Discarded::Destroyed)));
    archive.sync().expect("synced");
    assert!(matches!(archive.troubles()[..], [Trouble::Behind(_)]));
}

/// As if every file had taken all of it.
fn assert_nothing_is_lacking(archive: &Archive, disk: &SimDisk) {
    assert_eq!((played(archive, 1).expect("plays"), played(archive, 2).expect("plays")), (180, 180));
    let row = archive.row(facts(1).id).expect("listed");
    assert_eq!((row.facts.state, row.facts.account_code), (State::Complete, known(1).account_code));
    assert_eq!(archive.rows().count(), 2);
    assert!(archive.verify(None).all(|finding| !finding.is_problem()));
    assert!(!disk.contents().iter().any(|(path, _)| path == &path_of(facts(3).id)));
}

#[test]
fn what_a_file_did_not_take_is_written_from_the_journal_while_calls_are_recorded() {
    let index = tempfile::tempdir().expect("a folder");
    let disk = new_disk();
    let archive = open(&disk, &index.path().join("index")).expect("opens");
    go_on_while_a_file_takes_nothing(&archive, &disk);
    disk.refuse(None);
    wait_until_mended(&archive);
    archive.sync().expect("synced");
    assert_nothing_is_lacking(&archive, &disk);
    archive.close().expect("closed");
    // The journal is let go: nothing is to be mended, but that the index looks through the ledger once more.
    let disk = disk.after_power_cut(7);
    let archive = open(&disk, &index.path().join("index")).expect("opens");
    let indexed = archive.recovered().indexed;
    assert_eq!(archive.recovered(), &Recovery { indexed, ..Recovery::default() });
    assert_nothing_is_lacking(&archive, &disk);
}

#[test]
fn what_a_file_did_not_take_at_all_is_written_by_the_next_opening() {
    let index = tempfile::tempdir().expect("a folder");
    let disk = new_disk();
    let archive = open(&disk, &index.path().join("index")).expect("opens");
    go_on_while_a_file_takes_nothing(&archive, &disk);
    let _ = archive.close();
    let disk = disk.after_power_cut(7);
    let archive = open(&disk, &index.path().join("index")).expect("opens");
    assert_nothing_is_lacking(&archive, &disk);
}

#[test]
fn a_hold_keeps_a_recording_that_runs_from_being_destroyed() {
    let index = tempfile::tempdir().expect("a folder");
    let archive = open(&new_disk(), &index.path().join("index")).expect("opens");
    let event = |what| Event { at: START, who: "eve".into(), what };
    let held =
        |n: u8, hold: &str| event(What::Held { id: facts(n).id, hold: hold.into(), why: "a claim".into() });
    let released =
        |n: u8, hold: &str| event(What::Released { id: facts(n).id, hold: hold.into(), why: String::new() });
    let mut writers: Vec<_> = (1..=2).map(|n| archive.create(facts(n)).expect("begun")).collect();
    for i in 0..60 {
        for (n, writer) in (1..).zip(&mut writers) {
            append(writer, n, i).expect("kept");
        }
    }
    for hold in ["one", "two"] {
        archive.edit(held(1, hold)).expect("held");
        archive.edit(held(2, hold)).expect("held");
    }
    archive.edit(released(1, "one")).expect("released");
    let mut writers = writers.into_iter();
    let mut next = || writers.next().expect("two");
    // One hold is enough; and the recording goes on as if nobody had asked.
    let Ok(Discarded::Held(mut writer)) = next().discard("a rule") else { panic!("it is held") };
    append(&mut writer, 1, 60).expect("kept");
    writer.finish(facts(1)).expect("ended");
    for hold in ["one", "two"] {
        archive.edit(released(2, hold)).expect("released");
    }
    assert!(matches!(next().discard("a rule"), Ok(Discarded::Destroyed)));
    assert!(matches!(archive.edit(held(2, "three")), Err(Error::NotFound { .. })));
    archive.sync().expect("synced");
    let row = archive.row(facts(1).id).expect("listed");
    assert_eq!((row.facts.state, row.legal_holds.len()), (State::Complete, 1));
    assert_eq!(played(&archive, 1).expect("plays"), 61);
    assert!(archive.verify(None).all(|finding| !finding.is_problem()));
}

#[test]
fn no_key_and_no_payload_is_in_any_file_after_a_crash() {
    let index = tempfile::tempdir().expect("a folder");
    for at in [40, 60, 80] {
        let (disk, _) = die(at, &index.path().join("index"), 0);
        let runs: std::collections::HashSet<Vec<u8>> = (1..=4)
            .flat_map(|n| (0..300).map(move |i| payload(n, i)))
            .flat_map(|payload| payload.windows(8).map(<[u8]>::to_vec).collect::<Vec<_>>())
            .collect();
        for (path, bytes) in disk.contents() {
            assert!(!bytes.windows(8).any(|run| runs.contains(run)), "killed at {at}: {path}");
        }
    }
}
