//! A version of the rule book that the process or the power was cut off at: there whole, or not at all.

use super::*;
use crate::BookChange;

fn change(from: u64) -> BookChange {
    let text = format!("[record]\nchannels = {}\n", from + 1);
    BookChange { from, at: START, who: "eve".into(), why: "more calls".into(), restores: None, text }
}

/// Two versions; gives the number of the last one that the archive said is kept.
fn change_twice(disk: &Arc<SimDisk>, index: &Path) -> u64 {
    let Ok(archive) = open(disk, index) else { return 0 };
    let kept = (0..2).take_while(|&from| archive.change_book(change(from)).is_ok()).count();
    disk.fail_at(0, Fault::Die);
    drop(archive);
    kept as u64
}

/// What is there of a disk that died at this operation, after a kill and after a power cut.
fn cut(at: u64) {
    let folder = || tempfile::tempdir().expect("a folder");
    let (disk, index) = (new_disk(), folder());
    disk.fail_at(at, Fault::Die);
    let promised = change_twice(&disk, &index.path().join("index"));
    for (how, disk) in [("killed", disk.after_kill()), ("cut", disk.after_power_cut(at * 7919 + 1))] {
        let index = folder();
        let archive =
            open(&disk, &index.path().join("index")).unwrap_or_else(|e| panic!("{how} at {at}: {e}"));
        let versions = archive.book_versions().unwrap_or_else(|e| panic!("{how} at {at}: {e}"));
        assert!(versions.len() as u64 >= promised, "{how} at {at}: {} of {promised}", versions.len());
        for (version, from) in versions.iter().zip(0..) {
            assert_eq!((version.version, &version.text), (from + 1, &change(from).text), "{how} at {at}");
        }
        assert!(archive.verify(None).all(|finding| !finding.is_problem()), "{how} at {at}");
        // The next one goes on where these end.
        let next = archive.change_book(change(versions.len() as u64)).map(|version| version.version);
        assert_eq!(next.ok(), Some(versions.len() as u64 + 1), "{how} at {at}");
    }
}

#[test]
fn a_version_that_was_promised_survives_a_cut_at_any_operation_and_none_is_there_in_part() {
    let (disk, index) = (new_disk(), tempfile::tempdir().expect("a folder"));
    assert_eq!(change_twice(&disk, &index.path().join("index")), 2);
    let last = disk.operations();
    assert!(last > 20, "{last}");
    at_each(1..last + 1, cut);
}
