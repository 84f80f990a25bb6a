//! Tests of what survives a rotation of keys that is cut off at any operation, and of what is gone after one.

use zeroize::Zeroizing;

use super::*;
use crate::Passphrase;
use crate::disk::{Entry, ReadAt, read_whole};
use crate::keys::{FOLDERS, SEALED_KEY, UNWRAP_KEY, cheap_passphrase_for_test};
use crate::wave::{WRAP_AT, WRAP_END, id_of, peek_wrap};

/// What played before a rotation must play after it: payloads by recording.
type Heard = BTreeMap<RecordingId, Vec<u8>>;

fn hear(archive: &Archive, id: RecordingId) -> Result<Vec<u8>, Error> {
    let (mut reader, mut heard) = (archive.read(id)?, Vec::new());
    while let Some(chunk) = reader.next_chunk()? {
        for record in chunk.records() {
            if let Record::Audio { frame, .. } = record? {
                heard.extend_from_slice(frame.payload);
            }
        }
    }
    Ok(heard)
}

fn hear_all(archive: &Archive) -> Heard {
    let ids: Vec<_> = archive.rows().map(|row| row.expect("a row").facts.id).collect();
    ids.into_iter().map(|id| (id, hear(archive, id).unwrap_or_else(|e| panic!("{id}: {e}")))).collect()
}

/// Facts of a recording of another month.
fn december(n: u8) -> RecordingFacts {
    let started = START.plus_millis(30 * 24 * 3_600_000);
    let id = RecordingId::from_parts(started.plus_millis(n.into()), [n; 10]);
    RecordingFacts { id, started, ..facts(n) }
}

fn record(archive: &Archive, facts: RecordingFacts, n: u8, packets: u32) {
    let started = facts.started;
    let mut writer = archive.create(facts.clone()).expect("begun");
    (0..packets).for_each(|i| append(&mut writer, n, i).expect("kept"));
    writer.finish(RecordingFacts { ended: Some(started.plus_millis(1000)), ..facts }).expect("finished");
}

/// The archive of format 1 that is kept for tests, on a disk in memory.
fn old_archive() -> Arc<SimDisk> {
    fn put(disk: &SimDisk, from: &Path, to: &str) {
        for entry in std::fs::read_dir(from).expect("a folder") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().to_string_lossy().into_owned();
            let to = if to.is_empty() { name } else { format!("{to}/{name}") };
            if entry.path().is_dir() {
                disk.create_dir(&to).expect("made");
                put(disk, &entry.path(), &to);
            } else {
                disk.replace(&to, &std::fs::read(entry.path()).expect("read"), true).expect("put");
            }
        }
    }
    let disk = SimDisk::new();
    put(&disk, &Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/archives/v1"), "");
    disk.create_dir("journal").expect("made");
    disk
}

/// An archive with recordings of format 1 and 2 and of two months, closed in order; and what it plays.
fn base(passphrase: bool) -> (Arc<SimDisk>, Heard) {
    let index = tempfile::tempdir().expect("a folder");
    let disk = old_archive();
    let archive = open(&disk, &index.path().join("index")).expect("opens");
    for n in 1..=3 {
        record(&archive, facts(n), n, 100);
    }
    record(&archive, december(4), 4, 40);
    archive.sync().expect("synced");
    let heard = hear_all(&archive);
    assert_eq!(heard.len(), 8);
    archive.close().expect("closed");
    if passphrase {
        cheap_passphrase_for_test(&*disk, &the_passphrase());
        assert!(
            disk.len(UNWRAP_KEY).expect("asked").is_none() && disk.len(SEALED_KEY).expect("asked").is_some()
        );
    }
    (disk.after_kill(), heard)
}

fn the_passphrase() -> Passphrase {
    Passphrase::new(Zeroizing::new("open sesame".into())).expect("a passphrase")
}

fn open_unlocked(disk: &Arc<SimDisk>, index: &Path) -> Result<Archive, Error> {
    let archive = open(disk, index)?;
    if archive.is_locked() {
        archive.unlock(&the_passphrase())?;
    }
    Ok(archive)
}

fn read(disk: &SimDisk, path: &str) -> Vec<u8> {
    read_whole(disk, path, 1 << 20).expect("read").unwrap_or_default()
}

/// All that must be in no file any more once the keys are rotated, each with its name.
fn secrets(disk: &Arc<SimDisk>) -> Vec<(String, Vec<u8>)> {
    let index = tempfile::tempdir().expect("a folder");
    let copy = disk.after_kill();
    let archive = open_unlocked(&copy, &index.path().join("index")).expect("opens");
    let mut secrets = Vec::new();
    let private = archive.shared.keys.private_for_test();
    secrets.push(("the private key".to_owned(), private.to_vec()));
    for path in [UNWRAP_KEY, SEALED_KEY] {
        let bytes = read(&copy, path);
        if !bytes.is_empty() {
            secrets.push((format!("the content of {path}"), bytes));
        }
    }
    for path in crate::recovery::files(&*copy).expect("listed") {
        let bytes = read(&copy, &path);
        let (format, id, wrap) = peek_wrap(&bytes[..WRAP_END]).expect("a header");
        let key = archive.shared.keys.unwrap(id, &wrap, &path).expect("opens");
        secrets.push((format!("the data key of {path}"), key.as_bytes().to_vec()));
        if format > 1 {
            secrets.push((format!("the wrap of {path}"), bytes[WRAP_AT as usize + 8..WRAP_END].to_vec()));
        }
    }
    for month in archive.key_status().expect("told").months {
        let path = format!("keys/months/{}-{}.json", month.month, month.key_id);
        secrets.push((format!("the file {path}"), read(&copy, &path)));
    }
    secrets
}

#[track_caller]
fn assert_gone(disk: &SimDisk, secrets: &[(String, Vec<u8>)], at: &str) {
    for (path, bytes) in disk.contents() {
        for (name, secret) in secrets {
            assert!(!bytes.windows(secret.len()).any(|run| run == secret), "{at}: {name} is in {path}");
        }
    }
}

/// Everything plays, verifies and is in order, save that a rotation may be under way.
fn assert_sound(archive: &Archive, heard: &Heard, at: &str) {
    assert_eq!(&hear_all(archive), heard, "{at}");
    for finding in archive.verify(None) {
        assert_eq!(finding.verdict, Verdict::Intact { opened: true }, "{at}: {}", finding.path.display());
    }
    for problem in archive.check(false).expect("checked") {
        let expected =
            problem.path.ends_with("rotation.json") || problem.path.to_string_lossy().ends_with(".next");
        assert!(expected, "{at}: {problem:?}");
    }
}

fn assert_rotated(archive: &Archive, heard: &Heard, at: &str) {
    assert_sound(archive, heard, at);
    let status = archive.key_status().expect("told");
    assert!(!status.rotating && status.troubles.is_empty(), "{at}: {status:?}");
    assert!(
        status.months.iter().all(|month| !month.retired && month.opens == Some(true)),
        "{at}: {status:?}"
    );
    assert_eq!((status.months.len(), status.former.len()), (2, 1), "{at}: {status:?}");
}

fn rotate(archive: &Archive) -> Result<crate::Rotated, Error> {
    archive.rotate_keys(false, |_, _| {})
}

#[test]
fn after_a_rotation_everything_plays_and_nothing_of_the_old_keys_is_in_any_file() {
    for passphrase in [false, true] {
        let (disk, heard) = base(passphrase);
        let secrets = secrets(&disk);
        assert!(secrets.len() >= 8 + 4 + 2 + 2, "{}", secrets.len());
        for (name, secret) in &secrets {
            let sealed = name.contains("data key") || passphrase && name.contains("private");
            let found =
                disk.contents().iter().any(|(_, bytes)| bytes.windows(secret.len()).any(|run| run == secret));
            // The line of the key's file is base 64; the key itself stands nowhere.
            assert_eq!(found, !sealed && name != "the private key", "before: {name}");
        }
        let index = tempfile::tempdir().expect("a folder");
        let archive = open_unlocked(&disk, &index.path().join("index")).expect("opens");
        let before = archive.key_status().expect("told");
        let rotated = rotate(&archive).expect("rotated");
        assert!(rotated.finished && !rotated.resumed && rotated.left.is_empty());
        assert_eq!((rotated.rewrapped, rotated.format_1, rotated.retired), (4, 4, 2));
        assert_rotated(&archive, &heard, "at once");
        let after = archive.key_status().expect("told");
        assert_ne!(before.key_id, after.key_id);
        assert_eq!((before.private, after.open), (after.private, vec![after.key_id]));
        assert_gone(&disk, &secrets, "at once");
        archive.close().expect("closed");
        assert_gone(&disk, &secrets, "closed");
        // And once more: what was kept for format 1 goes along.
        let archive = open_unlocked(&disk, &index.path().join("index")).expect("opens");
        assert_rotated(&archive, &heard, "opened again");
        assert_eq!(rotate(&archive).expect("rotated").rewrapped, 4);
        assert_rotated(&archive, &heard, "twice");
    }
}

#[test]
fn a_wrap_from_a_backup_opens_nowhere_after_a_rotation() {
    let (disk, _) = base(false);
    let path = crate::wave::path_of(facts(1).id);
    let backup = read(&disk, &path);
    let index = tempfile::tempdir().expect("a folder");
    let archive = open(&disk, &index.path().join("index")).expect("opens");
    rotate(&archive).expect("rotated");
    archive.close().expect("closed");
    disk.write_at(&path, 0, &backup).expect("put back");
    let archive = open(&disk, &index.path().join("index")).expect("opens");
    let gone = hear(&archive, facts(1).id).expect_err("its key is destroyed");
    assert!(matches!(gone, Error::KeyUnknown { .. }), "{gone}");
    let found = archive.verify(Some(&[facts(1).id])).next().expect("a finding");
    assert!(found.is_problem(), "{found:?}");
    assert!(
        archive.check(false).expect("checked").iter().any(|problem| problem.what.contains("destroyed it"))
    );
}

/// Operations of a rotation, opening before it and closing after it left out.
fn operations(base: &Arc<SimDisk>) -> std::ops::Range<u64> {
    let index = tempfile::tempdir().expect("a folder");
    let disk = base.after_kill();
    let archive = open_unlocked(&disk, &index.path().join("index")).expect("opens");
    let from = disk.operations();
    rotate(&archive).expect("rotated");
    let to = disk.operations();
    assert!(to - from > 40, "{}", to - from);
    // The threads may order a few operations otherwise the next time.
    from.saturating_sub(3)..to + 5
}

/// Rotates on a disk that dies at each operation in turn; gives what the dead process left to `survive`.
fn cut_anywhere(passphrase: bool, survive: impl Fn(&SimDisk, u64, &Heard, &[(String, Vec<u8>)]) + Sync) {
    let (base, heard) = base(passphrase);
    let secrets = secrets(&base);
    at_each(operations(&base), |at| {
        let index = tempfile::tempdir().expect("a folder");
        let disk = base.after_kill();
        disk.fail_at(at, Fault::Die);
        if let Ok(archive) = open_unlocked(&disk, &index.path().join("index")) {
            let rotated = rotate(&archive);
            assert!(disk.is_dead() || rotated.is_ok(), "only death stops it: {rotated:?}");
        }
        survive(&disk, at, &heard, &secrets);
    });
}

fn finish(disk: &Arc<SimDisk>, heard: &Heard, secrets: &[(String, Vec<u8>)], at: &str) {
    let index = tempfile::tempdir().expect("a folder");
    let archive = open_unlocked(disk, &index.path().join("index")).unwrap_or_else(|e| panic!("{at}: {e}"));
    assert_sound(&archive, heard, at);
    // A recording that begins now is wrapped to a key that stays.
    let rotating = archive.key_status().expect("told").rotating;
    let rotated = rotate(&archive).unwrap_or_else(|e| panic!("{at}: {e}"));
    assert_eq!((rotated.finished, rotated.resumed), (true, rotating), "{at}");
    assert_rotated(&archive, heard, at);
    archive.close().expect("closed");
    assert_gone(disk, secrets, at);
}

#[test]
fn a_rotation_killed_at_any_operation_loses_nothing_and_goes_on() {
    for passphrase in [false, true] {
        cut_anywhere(passphrase, |disk, at, heard, secrets| {
            finish(&disk.after_kill(), heard, secrets, &format!("killed at {at}, passphrase {passphrase}"));
        });
    }
}

#[test]
fn a_power_cut_at_any_operation_of_a_rotation_loses_nothing_and_it_goes_on() {
    for passphrase in [false, true] {
        cut_anywhere(passphrase, |disk, at, heard, secrets| {
            for seed in [at * 7919 + 1, at * 104_729 + 2] {
                let at = format!("cut at {at}, seed {seed}, passphrase {passphrase}");
                finish(&disk.after_power_cut(seed), heard, secrets, &at);
            }
        });
    }
}

#[test]
fn recordings_run_while_the_keys_are_rotated() {
    let (disk, _) = base(false);
    let index = tempfile::tempdir().expect("a folder");
    let archive = open(&disk, &index.path().join("index")).expect("opens");
    let mut before = archive.create(facts(7)).expect("begun");
    (0..100).for_each(|i| append(&mut before, 7, i).expect("kept"));
    let discarded = archive.create(facts(8)).expect("begun");
    let rotated = std::thread::scope(|scope| {
        let rotating = scope.spawn(|| rotate(&archive));
        let begun: Vec<_> = (20..40)
            .map(|n| {
                let mut writer = archive.create(facts(n)).expect("begun while rotating");
                append(&mut writer, n, 0).expect("kept");
                (n, writer)
            })
            .collect();
        discarded.discard("a rule came late").expect("destroyed");
        for (n, writer) in begun {
            writer
                .finish(RecordingFacts { ended: Some(START.plus_millis(20)), ..facts(n) })
                .expect("finished");
        }
        rotating.join().expect("no panic").expect("rotated")
    });
    assert!(rotated.finished);
    (100..200).for_each(|i| append(&mut before, 7, i).expect("kept"));
    before.finish(RecordingFacts { ended: Some(START.plus_millis(4000)), ..facts(7) }).expect("finished");
    archive.sync().expect("synced");
    assert_eq!(played(&archive, 7).expect("plays"), 200);
    for n in 20..40 {
        assert_eq!(played(&archive, n).expect("plays"), 1, "recording {n}");
    }
    assert!(matches!(archive.read(facts(8).id), Err(Error::NotFound { .. })), "it must not come back");
    assert!(archive.verify(None).all(|finding| finding.verdict == Verdict::Intact { opened: true }));
    archive.close().expect("closed");
    let archive = open(&disk, &index.path().join("index")).expect("opens");
    assert_eq!(archive.check(false).expect("checked"), []);
    assert_eq!(archive.verify(None).filter(crate::Finding::is_problem).count(), 0);
}

#[test]
fn what_cannot_be_opened_stops_the_end_of_a_rotation_until_it_is_left_behind() {
    let (disk, mut heard) = base(false);
    let index = tempfile::tempdir().expect("a folder");
    let path = crate::wave::path_of(facts(1).id);
    let whole = read(&disk, &path);
    disk.write_at(&path, WRAP_AT + 50, b"damaged").expect("damaged");
    let archive = open(&disk, &index.path().join("index")).expect("opens");
    let rotated = rotate(&archive).expect("rotated");
    assert!(!rotated.finished && rotated.rewrapped == 3);
    assert!(rotated.left.iter().all(|(left, _)| left.ends_with(&path)) && rotated.left.len() == 1);
    archive.close().expect("closed");
    // The older copy is put back: now it goes on, and nothing is lost.
    let undecided = disk.after_kill();
    disk.write_at(&path, 0, &whole).expect("put back");
    let archive = open(&disk, &index.path().join("index")).expect("opens");
    let rotated = rotate(&archive).expect("rotated");
    assert!(rotated.finished && rotated.resumed && rotated.rewrapped == 1);
    assert_rotated(&archive, &heard, "mended");
    archive.close().expect("closed");
    // Or it is given up.
    let index = tempfile::tempdir().expect("a folder");
    let archive = open(&undecided, &index.path().join("index")).expect("opens");
    assert!(archive.rotate_keys(true, |_, _| {}).expect("rotated").finished);
    heard.remove(&facts(1).id);
    for (id, heard) in &heard {
        assert_eq!(&hear(&archive, *id).expect("plays"), heard);
    }
    assert!(matches!(hear(&archive, facts(1).id), Err(Error::KeyUnknown { .. })));
}

/// Until each row has the hash of its file.
fn wait_for_hashes(archive: &Archive) {
    let hashed = || archive.rows().all(|row| !row.expect("a row").sha256.is_empty());
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !hashed() && std::time::Instant::now() < until {
        archive.sync().expect("synced");
    }
}

#[test]
fn hashes_in_lists_are_made_good_after_a_rotation() {
    let (disk, _) = base(false);
    let index = tempfile::tempdir().expect("a folder");
    let archive = open(&disk, &index.path().join("index")).expect("opens");
    wait_for_hashes(&archive);
    let before: Vec<_> = archive.rows().map(|row| row.expect("a row")).collect();
    rotate(&archive).expect("rotated");
    for _ in 0..before.len() + 1 {
        // Each wait gives the second thread the time for one.
        archive.sync().expect("synced");
        std::thread::yield_now();
    }
    archive.close().expect("closed");
    let archive = open(&disk, &index.path().join("index")).expect("opens");
    wait_for_hashes(&archive);
    for (old, new) in before.iter().zip(archive.rows()) {
        let new = new.expect("a row");
        let digest = crate::layout::file_digest(&*disk, &crate::wave::path_of(new.facts.id)).expect("read");
        assert_eq!(new.sha256, crate::wave::digest_text(&digest));
        assert_eq!(old.facts, new.facts);
        let format_1 = read(&disk, &crate::wave::path_of(new.facts.id))[68] == 1;
        assert_eq!(old.sha256 == new.sha256, format_1, "only files of format 2 have changed");
    }
}

#[test]
fn a_passphrase_set_or_removed_and_cut_off_anywhere_leaves_a_key_that_opens() {
    let (plain, heard) = base(false);
    for sealed in [false, true] {
        let base = plain.after_kill();
        if sealed {
            cheap_passphrase_for_test(&*base, &the_passphrase());
        }
        for at in 1..40 {
            let index = tempfile::tempdir().expect("a folder");
            let disk = base.after_kill();
            let archive = open_unlocked(&disk, &index.path().join("index")).expect("opens");
            disk.fail_at(at, Fault::Die);
            let done = archive.set_passphrase((!sealed).then(the_passphrase).as_ref()).is_ok();
            drop(archive);
            for disk in [disk.after_kill(), disk.after_power_cut(at + 17)] {
                let index = tempfile::tempdir().expect("a folder");
                let archive = open_unlocked(&disk, &index.path().join("index")).expect("opens");
                assert_eq!(&hear_all(&archive), &heard, "cut at {at}");
            }
            if done && at > 20 {
                break;
            }
            assert!(at < 39, "it never ends");
        }
    }
}

#[test]
fn key_files_of_every_kind_are_looked_at() {
    let (disk, _) = base(false);
    let index = tempfile::tempdir().expect("a folder");
    let archive = open(&disk, &index.path().join("index")).expect("opens");
    rotate(&archive).expect("rotated");
    for folder in FOLDERS {
        let files: Vec<Entry> = disk.list(folder).expect("listed");
        assert!(!files.is_empty(), "{folder}");
    }
    archive.close().expect("closed");
    // A month's key that is gone is told for each of its recordings.
    let month =
        disk.list("keys/months").expect("listed").into_iter().find(|file| file.name.starts_with("2026-11"));
    disk.remove(&format!("keys/months/{}", month.expect("a month").name)).expect("removed");
    let archive = open(&disk, &index.path().join("index")).expect("opens");
    let problems = archive.check(false).expect("checked");
    let told: Vec<_> = problems
        .iter()
        .filter_map(|problem| id_of(problem.path.strip_prefix("/sim").unwrap_or(&problem.path).to_str()?))
        .collect();
    assert_eq!(told, (1..=3).map(|n| facts(n).id).collect::<Vec<_>>(), "{problems:?}");
}
