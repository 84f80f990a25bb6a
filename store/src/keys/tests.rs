use super::*;
use crate::disk::RealDisk;

pub(super) fn keys() -> (tempfile::TempDir, RealDisk, Keys) {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = RealDisk::new(dir.path()).expect("a disk");
    Keys::create(&disk).expect("made");
    let keys = Keys::open(&disk).expect("read");
    (dir, disk, keys)
}

fn id(at: &str) -> RecordingId {
    RecordingId::new(at.parse().expect("a time"))
}

#[test]
fn a_month_has_one_key_and_the_next_month_another() {
    let (_dir, disk, keys) = keys();
    let wrap = |at: &str| keys.wrap(&disk, id(at), &DataKey::random()).expect("wrapped");
    let (first, made) = wrap("2026-11-01T00:00:00Z");
    assert_eq!(made.map(|made| made.month).as_deref(), Some("2026-11"));
    let (second, made) = wrap("2026-11-30T23:59:59.999Z");
    assert!(made.is_none() && first.key_id == second.key_id);
    let (third, made) = wrap("2026-12-01T00:00:00Z");
    assert!(made.is_some() && third.key_id != first.key_id);
    let files = disk.list(MONTHS_DIR).expect("listed");
    assert_eq!(files.len(), 2);
    for file in files {
        assert!(disk.is_private(&format!("{MONTHS_DIR}/{}", file.name)).expect("asked"), "{}", file.name);
    }
}

#[test]
fn a_box_without_the_private_key_wraps_and_one_with_it_opens() {
    let (_dir, disk, keys) = keys();
    let private = files::read_private(&disk, UNWRAP_KEY).expect("read").expect("there");
    files::shred(&disk, UNWRAP_KEY).expect("gone");
    let capture_only = Keys::open(&disk).expect("read");
    let (id, key) = (id("2026-11-20T10:00:00Z"), DataKey::random());
    let (wrap, _) = capture_only.wrap(&disk, id, &key).expect("wrapped");
    assert!(!capture_only.can_unwrap());
    assert!(matches!(capture_only.unwrap(id, &wrap, "f"), Err(Error::KeyMissing { .. })));
    // The other box had the archive open since before: it has not seen the month's file.
    assert!(matches!(keys.unwrap(id, &wrap, "f"), Err(Error::KeyUnknown { .. })));
    disk.replace(UNWRAP_KEY, files::private_line(&private).as_bytes(), true).expect("put");
    assert!(Keys::open(&disk).expect("read").unwrap(id, &wrap, "f").expect("opens") == key);
}

#[test]
fn a_key_of_another_archive_is_named_wrong() {
    let (_dir, disk, keys) = keys();
    let (id, key) = (id("2026-11-20T10:00:00Z"), DataKey::random());
    let (wrap, _) = keys.wrap(&disk, id, &key).expect("wrapped");
    disk.replace(UNWRAP_KEY, files::private_line(&random::<32>()).as_bytes(), true).expect("put");
    let foreign = Keys::open(&disk).expect("read");
    assert!(!foreign.can_unwrap());
    assert_eq!(foreign.strangers(), [UNWRAP_KEY]);
    assert!(matches!(foreign.unwrap(id, &wrap, "f"), Err(Error::WrongKey { .. })));
}

#[test]
fn a_damaged_month_file_neither_stops_the_archive_nor_the_recording() {
    let (_dir, disk, keys) = keys();
    let (id, key) = (id("2026-11-20T10:00:00Z"), DataKey::random());
    let (wrap, _) = keys.wrap(&disk, id, &key).expect("wrapped");
    let path = keys.ring().files.values().next().expect("one").path();
    disk.write_at(&path, 20, b"x").expect("damaged");
    let keys = Keys::open(&disk).expect("opens");
    assert_eq!(keys.troubles().len(), 1);
    assert!(matches!(keys.unwrap(id, &wrap, "f"), Err(Error::KeyUnknown { .. })));
    let (again, made) = keys.wrap(&disk, id, &key).expect("wrapped to a new key");
    assert!(made.is_some());
    assert!(keys.unwrap(id, &again, "f").expect("opens") == key);
}

#[test]
fn creating_again_keeps_the_keys() {
    let (_dir, disk, keys) = keys();
    Keys::create(&disk).expect("made again");
    let again = Keys::open(&disk).expect("read");
    assert_eq!((keys.ring().archive.0, keys.sign_id), (again.ring().archive.0, again.sign_id));
    for path in [SIGN_KEY, UNWRAP_KEY] {
        assert!(disk.is_private(path).expect("read"), "{path}");
    }
    assert!(again.troubles().is_empty() && again.strangers().is_empty());
}

#[test]
fn a_signature_holds_for_its_digest_only() {
    let (_dir, _disk, keys) = keys();
    let signature = keys.sign(&[7; 32]).expect("signs");
    assert!(keys.signer().verifies(&[7; 32], &signature));
    assert!(!keys.signer().verifies(&[8; 32], &signature));
}

#[test]
fn debug_texts_hold_no_key() {
    let (_dir, disk, keys) = keys();
    let private = std::fs::read_to_string(_dir.path().join(UNWRAP_KEY)).expect("read");
    assert!(!format!("{keys:?}").contains(private.trim()));
    drop(disk);
}

#[test]
fn a_recipient_opens_past_and_future_months_until_it_is_removed() {
    let (_dir, disk, keys) = keys();
    let (officer, key) = (Private::random(), DataKey::random());
    let past = id("2026-10-20T10:00:00Z");
    let (past_wrap, _) = keys.wrap(&disk, past, &key).expect("wrapped");
    let public = PublicFile::new(&officer.public, &[0; 32], Vec::new());
    let recipient = public.into_recipient("officer", Timestamp::from_millis(1)).expect("a recipient");
    keys.add(&disk, recipient.clone()).expect("added");
    keys.add(&disk, recipient).expect("added twice changes nothing");
    let future = id("2026-11-20T10:00:00Z");
    let (future_wrap, _) = keys.wrap(&disk, future, &key).expect("wrapped");
    let own = files::read_private(&disk, UNWRAP_KEY).expect("read").expect("there");

    let line = files::private_line(officer.secret.as_bytes());
    disk.replace(UNWRAP_KEY, line.as_bytes(), true).expect("put");
    let theirs = Keys::open(&disk).expect("read");
    assert!(theirs.strangers().is_empty() && theirs.not_sealed_to().is_empty());
    for (id, wrap) in [(past, &past_wrap), (future, &future_wrap)] {
        assert!(theirs.unwrap(id, wrap, "f").expect("opens") == key);
    }

    disk.replace(UNWRAP_KEY, files::private_line(&own).as_bytes(), true).expect("put back");
    let keys = Keys::open(&disk).expect("read");
    keys.remove(&disk, &officer.id).expect("removed");
    assert!(keys.unwrap(past, &past_wrap, "f").expect("opens") == key);
    disk.replace(UNWRAP_KEY, line.as_bytes(), true).expect("put");
    let theirs = Keys::open(&disk).expect("read");
    assert!(matches!(theirs.unwrap(past, &past_wrap, "f"), Err(Error::WrongKey { .. })));
    assert!(matches!(theirs.unwrap(future, &future_wrap, "f"), Err(Error::WrongKey { .. })));
}

#[test]
fn a_recipient_that_a_month_lacks_is_told() {
    let (_dir, disk, keys) = keys();
    let (wrap, _) = keys.wrap(&disk, id("2026-10-20T10:00:00Z"), &DataKey::random()).expect("wrapped");
    let before = disk.list(MONTHS_DIR).expect("listed").remove(0).name;
    let path = format!("{MONTHS_DIR}/{before}");
    let old = read_whole(&disk, &path, month::FILE_MAX).expect("read").expect("there");
    let public = PublicFile::new(&Private::random().public, &[0; 32], Vec::new());
    let recipient = public.into_recipient("officer", Timestamp::from_millis(1)).expect("a recipient");
    keys.add(&disk, recipient.clone()).expect("added");
    // As if the power had gone before the month's file was written.
    disk.replace(&path, &old, true).expect("put back");
    let keys = Keys::open(&disk).expect("read");
    assert_eq!(keys.not_sealed_to(), [(path, recipient.key_id.clone())]);
    keys.add(&disk, recipient).expect("completed");
    assert!(keys.not_sealed_to().is_empty());
    assert!(keys.knows(&wrap.key_id));
}
