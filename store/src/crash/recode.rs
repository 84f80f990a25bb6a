//! The same for a recording whose audio is re-encoded: at every single operation the old file or the new one is there, whole.

use std::path::Path;
use std::sync::Arc;

use decode::{AudioFrame, Codec, Format, Party};
use policy::{Cold, ColdVerdict, RecodePass};

use super::{START, append, call_row, facts, new_disk, open, payload};
use crate::journal::COLD_DIR;
use crate::retention::subject_of;
use crate::sim::{Dice, Fault, SimDisk};
use crate::wave::{WRAP_AT, WRAP_LEN, path_of};
use crate::{
    Archive, ByWhom, Coded, Deletion, Error, Mark, Record, RecordingFacts, RecordingId, State, Verdict,
};

/// Packets of the recording before and after.
const OLD: u32 = 180;
const NEW: u32 = 6;

/// What the archive said is safe.
#[derive(Clone, Debug, Default)]
struct Promised {
    /// The recording is on disk with its end.
    finished: bool,
    /// It was begun to be replaced, and it was said that it is.
    replacing: bool,
    replaced: bool,
    /// It was begun to be deleted, and it was said that it is.
    deleting: bool,
    deleted: bool,
    /// How the key of the old file was wrapped.
    old_wrap: Vec<u8>,
}

fn pass(archive: &Archive, id: RecordingId) -> Result<RecodePass, Error> {
    let rule: Cold = serde_json::from_str("{\"after\":\"1d\"}").expect("a rule");
    let row = archive.row(id)?;
    match rule.judge(&subject_of(&row), row.facts.recoded.is_some(), START.plus_millis(90_000_000)) {
        ColdVerdict::Due(pass) => Ok(pass),
        ColdVerdict::Stays(why) => Err(Error::Refused { what: why.words().into() }),
    }
}

/// Replaces the audio of recording `n` by a few packets of another encoding.
fn recode(archive: &Archive, n: u8) -> Result<(), Error> {
    let id = facts(n).id;
    let pass = pass(archive, id)?;
    let mut new = archive.replace(id, &pass)?;
    let codec = Codec::from_name("opus");
    let format =
        Format { payload_type: 96, codec: codec.clone(), clock_rate: 8000, channels: 1, fmtp: String::new() };
    for i in 0..NEW {
        let frame = AudioFrame {
            at: START.plus_millis(i64::from(i) * 60),
            ssrc: 7,
            sequence: i as u16,
            timestamp: i * 480,
            marker: false,
            format: &format,
            payload: &payload(n, 1_000 + i)[..60],
        };
        new.append(&pass.clear(Party::Near, &frame))?;
    }
    new.mark(START.plus_millis(70), &Mark::Hold { by: Party::Far })?;
    let by = ByWhom { at: START.plus_millis(95_000_000), who: "ann".into() };
    let coded = Coded { codec, from: vec![Codec::Pcmu], rate: 8000, samples: 28_800 };
    new.finish(by, coded).map(drop)
}

/// One recording ends, is re-encoded and deleted, while another one runs.
fn scenario(archive: &Archive, promised: &mut Promised) -> Result<(), Error> {
    let (mut one, mut two) = (archive.create(facts(1))?, archive.create(facts(2))?);
    for i in 0..OLD {
        append(&mut one, 1, i)?;
        append(&mut two, 2, i)?;
    }
    one.finish(RecordingFacts { ended: Some(START.plus_millis(3600)), ..facts(1) })?;
    archive.append_call(&call_row(1))?;
    archive.sync()?;
    promised.finished = archive.row(facts(1).id)?.facts.state == State::Complete;
    let mut wrap = vec![0; WRAP_LEN];
    let disk = &archive.shared().disk;
    if disk.read_at(&path_of(facts(1).id), WRAP_AT, &mut wrap).is_ok() {
        promised.old_wrap = wrap;
    }
    promised.replacing = true;
    recode(archive, 1)?;
    promised.replaced = true;
    for i in OLD..OLD + 60 {
        append(&mut two, 2, i)?;
    }
    archive.sync()?;
    promised.deleting = true;
    let deletion = Deletion { at: START, who: "x".into(), rule: "by hand".into(), why: "asked to".into() };
    archive.delete(facts(1).id, deletion, true)?;
    promised.deleted = true;
    two.seal_stale(START.plus_millis(100_000))
}

/// How many packets the recording has; they must be those of one file, whole.
fn played(archive: &Archive) -> Result<u32, Error> {
    let mut reader = archive.read(facts(1).id)?;
    let (mut packets, mut is_new) = (0, false);
    let recoded = reader.facts().recoded.clone();
    while let Some(chunk) = reader.next_chunk()? {
        for record in chunk.records() {
            if let Record::Audio { frame, .. } = record? {
                is_new |= frame.ssrc == 7;
                let wanted =
                    if is_new { payload(1, 1_000 + packets)[..60].to_vec() } else { payload(1, packets) };
                assert_eq!(frame.payload, wanted, "packet {packets}");
                packets += 1;
            }
        }
    }
    assert_eq!(is_new, recoded.is_some());
    Ok(packets)
}

fn assert_kept(archive: &Archive, disk: &SimDisk, promised: &Promised, at: &str) {
    let id = facts(1).id;
    let left: Vec<_> = disk.contents().into_iter().filter(|(path, _)| path.starts_with(COLD_DIR)).collect();
    assert!(left.is_empty(), "{at}: something still waits: {:?}", left[0].0);
    for finding in archive.verify(None) {
        let fits = matches!(finding.verdict, Verdict::Intact { opened: true } | Verdict::Deleted);
        assert!(fits, "{at}: {}: {:?}", finding.path.display(), finding.verdict);
    }
    assert_eq!(archive.check(false).expect("checked"), [], "{at}");
    if !promised.finished {
        return;
    }
    let row = archive.row(id).unwrap_or_else(|e| panic!("{at}: {e}"));
    if row.deleted.is_some() {
        assert!(promised.deleting, "{at}: deleted, and nobody asked for it");
        return;
    }
    assert!(!promised.deleted, "{at}: it is back");
    let packets = played(archive).unwrap_or_else(|e| panic!("{at}: it does not play: {e}"));
    assert_eq!(packets, if row.facts.recoded.is_some() { NEW } else { OLD }, "{at}");
    assert_eq!(row.facts.state, State::Complete, "{at}");
    assert!(row.facts.recoded.is_some() || !promised.replaced, "{at}: the old one is back");
    assert!(row.facts.recoded.is_none() || promised.replacing, "{at}: replaced, and nobody asked for it");
    if row.facts.recoded.is_some() {
        assert_eq!(
            row.bytes,
            disk.contents().iter().find(|(p, _)| *p == path_of(id)).map_or(0, |(_, b)| b.len() as u64)
        );
        let wrap = &promised.old_wrap;
        let is_left = |bytes: &[u8]| bytes.windows(wrap.len()).any(|window| window == &wrap[..]);
        let left = disk.contents().into_iter().find(|(_, bytes)| !wrap.is_empty() && is_left(bytes));
        assert_eq!(left.map(|(path, _)| path), None, "{at}: the old key is still there");
    }
}

/// Runs the scenario on a disk that meets a fault at operation `at`.
fn run(at: u64, fault: Fault, index: &Path) -> (Arc<SimDisk>, Promised) {
    let (disk, mut promised) = (new_disk(), Promised::default());
    disk.fail_at(at, fault);
    if let Ok(archive) = open(&disk, index) {
        let ended = scenario(&archive, &mut promised);
        assert!(fault != Fault::Die || disk.is_dead() || ended.is_ok(), "only death stops it: {ended:?}");
        if fault == Fault::Die {
            disk.fail_at(0, Fault::Die);
        }
        drop(archive);
    }
    (disk, promised)
}

fn operations() -> u64 {
    let index = tempfile::tempdir().expect("a folder");
    let disk = new_disk();
    let archive = open(&disk, &index.path().join("index")).expect("opens");
    let mut promised = Promised::default();
    scenario(&archive, &mut promised).expect("runs");
    assert!(promised.deleted);
    disk.operations() + 5
}

fn at_each_operation(test: impl Fn(u64, &Path)) {
    for at in 1..=operations() {
        let index = tempfile::tempdir().expect("a folder");
        test(at, &index.path().join("index"));
    }
}

#[test]
fn a_kill_at_any_operation_of_re_encoding_leaves_the_old_file_or_the_new_one() {
    at_each_operation(|at, index| {
        let (disk, promised) = run(at, Fault::Die, index);
        let disk = disk.after_kill();
        let archive = open(&disk, index).unwrap_or_else(|e| panic!("killed at {at}: {e}"));
        assert_kept(&archive, &disk, &promised, &format!("killed at {at}"));
        archive.close().expect("closed");
    });
}

#[test]
fn a_power_cut_at_any_operation_of_re_encoding_and_another_while_mending_leave_either_file() {
    let cuts = std::env::var("EARWITNESS_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_u64);
    println!("{} power cuts, each with another while mending", operations() * cuts);
    at_each_operation(|at, index| {
        let (disk, promised) = run(at, Fault::Die, index);
        for seed in (0..cuts).map(|cut| at * 7919 + cut * 104_729 + 1) {
            let disk = disk.after_power_cut(seed);
            disk.fail_at(Dice(seed | 1).roll(40), Fault::Die);
            let _ = open(&disk, index).map(drop);
            let disk = disk.after_power_cut(seed ^ 0x00ab_cdef);
            let at = format!("cut at {at}, seed {seed}");
            let archive = open(&disk, index).unwrap_or_else(|e| panic!("{at}: {e}"));
            assert_kept(&archive, &disk, &promised, &at);
            archive.close().expect("closed");
            std::fs::remove_dir_all(index).expect("removed");
        }
    });
}

#[test]
fn a_failed_operation_or_a_full_disk_leaves_either_file() {
    let kinds = [Fault::Once(std::io::ErrorKind::Other), Fault::Writes(std::io::ErrorKind::StorageFull)];
    for fault in kinds {
        at_each_operation(|at, index| {
            let (disk, promised) = run(at, fault, index);
            let disk = disk.after_power_cut(at);
            let archive = open(&disk, index).unwrap_or_else(|e| panic!("{fault:?} at {at}: {e}"));
            assert_kept(&archive, &disk, &promised, &format!("{fault:?} at {at}"));
        });
    }
}
