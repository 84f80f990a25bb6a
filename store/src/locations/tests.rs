//! Copies in archive locations: that there are good ones, that nothing is lost whatever a location does, and that what is
//! deleted is gone there too.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::crash::{START, append, facts, new_disk, open, played};
use crate::disk::ReadAt;
use crate::locations::place::{Feed, MARKER, Marker};
use crate::locations::stub::{Stub, stub_path};
use crate::shared::wall_clock;
use crate::sim::Fault;
use crate::wave::path_of;
use crate::{Deletion, Event, RecordingFacts, Verdict, What};

const LONG: Duration = Duration::from_secs(60);

/// A folder that can be told to misbehave.
#[derive(Debug)]
struct Moody {
    folder: Folder,
    mood: Mutex<Mood>,
    changed: Condvar,
    hung: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    Hangs,
    Full,
    ReadOnly,
    Garbles,
    /// It refuses this recording alone.
    Refuses(u8),
}

impl Moody {
    fn new(path: &Path) -> Arc<Moody> {
        let (mood, changed) = (Mutex::new(Mood::Well), Condvar::new());
        Arc::new(Moody { folder: Folder::new(path), mood, changed, hung: AtomicBool::new(false) })
    }

    fn set(&self, mood: Mood) {
        *locked(&self.mood) = mood;
        self.changed.notify_all();
    }

    fn meet(&self) -> io::Result<Mood> {
        let mut mood = locked(&self.mood);
        while *mood == Mood::Hangs {
            self.hung.store(true, Ordering::Release);
            mood = self.changed.wait(mood).expect("not poisoned");
        }
        match *mood {
            Mood::Full => Err(ErrorKind::StorageFull.into()),
            Mood::ReadOnly => Err(ErrorKind::ReadOnlyFilesystem.into()),
            mood => Ok(mood),
        }
    }
}

impl Place for Moody {
    fn put(&self, name: &str, len: u64, feed: Feed<'_>) -> io::Result<()> {
        let mood = self.meet()?;
        if let Mood::Refuses(n) = mood
            && name.contains(&facts(n).id.to_string())
        {
            return Err(io::Error::other("this name is not welcome"));
        }
        let garbles = mood == Mood::Garbles;
        let mut first = true;
        self.folder.put(name, len, &mut |buf| {
            let read = feed(buf)?;
            // One bit, in the first block: a cable, a controller, a file system.
            if garbles && std::mem::take(&mut first) {
                buf[read / 2] ^= 4;
            }
            Ok(read)
        })
    }
    fn read_at(&self, name: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.folder.read_at(name, offset, buf)
    }
    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        self.folder.len(name)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.meet()?;
        self.folder.remove(name)
    }
    fn marker(&self) -> io::Result<Option<Marker>> {
        self.folder.marker()
    }
    fn put_marker(&self, marker: &Marker) -> io::Result<()> {
        self.folder.put_marker(marker)
    }
    fn space(&self) -> Option<Space> {
        None
    }
}

struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        let dir = tempfile::tempdir().expect("a folder");
        for folder in ["nas", "far"] {
            fs::create_dir(dir.path().join(folder)).expect("made");
        }
        Fixture { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn open(&self) -> Archive {
        Archive::open_or_create(&self.path("archive")).expect("opens").0
    }

    /// Its folders as locations, by their names.
    fn rules(&self, names: &[&str]) -> CopyRules {
        let location =
            |name: &&str| Location { name: (*name).to_owned(), place: PlaceConfig::Folder(self.path(name)) };
        CopyRules { locations: names.iter().map(location).collect(), ..CopyRules::default() }
    }

    fn is_there(&self, place: &str, n: u8) -> bool {
        self.path(place).join(path_of(facts(n).id)).exists()
    }

    /// Copy and original are the same bytes.
    fn is_same(&self, place: &str, n: u8) -> bool {
        let read = |place: &str| fs::read(self.path(place).join(path_of(facts(n).id))).ok();
        read(place).is_some() && read(place) == read("archive")
    }
}

/// A finished recording of a second.
fn record(archive: &Archive, n: u8) {
    let mut writer = archive.create(facts(n)).expect("begun");
    for i in 0..50 {
        append(&mut writer, n, i).expect("appended");
    }
    let ended = Some(START.plus_millis(1000));
    writer.finish(RecordingFacts { ended, ..facts(n) }).expect("finished");
    archive.sync().expect("on disk");
}

/// An archive whose only recording lies in `nas` alone.
fn with_one_moved(fixture: &Fixture) -> Archive {
    let archive = fixture.open();
    let rules = CopyRules { keep_local_ms: Some(0), ..fixture.rules(&["nas"]) };
    archive.use_locations(&rules, Duty::Copy).expect("used");
    record(&archive, 1);
    assert!(archive.wait_for_copies(LONG));
    assert_eq!(archive.move_out().expect("moved"), 1);
    archive
}

fn delete(archive: &Archive, n: u8, keep_facts: bool) {
    let deletion = Deletion { at: START, who: "x".into(), rule: "by hand".into(), why: "asked to".into() };
    archive.delete(facts(n).id, deletion, keep_facts).expect("deleted");
}

fn intact(archive: &Archive) -> usize {
    archive.verify(None).map(|finding| assert!(!finding.is_problem(), "{finding:?}")).count()
}

#[test]
fn every_finished_recording_has_a_copy_that_was_read_back_and_the_ledger_says_so() {
    let fixture = Fixture::new();
    let archive = fixture.open();
    // One that was there before the location, one that is told.
    record(&archive, 1);
    archive.use_locations(&fixture.rules(&["nas", "far"]), Duty::Copy).expect("used");
    record(&archive, 2);
    assert!(archive.wait_for_copies(LONG));
    for n in [1, 2] {
        assert!(fixture.is_same("nas", n) && fixture.is_same("far", n));
        let row = archive.row(facts(n).id).expect("listed");
        let copies: Vec<&str> = row.copies.iter().map(|copy| copy.location.as_str()).collect();
        assert_eq!(copies, ["far", "nas"]);
        assert!(row.copies.iter().all(|copy| copy.sha256 == row.sha256 && !copy.stale));
    }
    let told = |event: &Event| matches!(&event.what, What::Copied { copies, .. } if !copies.is_empty());
    assert!(archive.events().expect("read").any(|event| told(&event.expect("a line"))));
    for status in archive.locations().expect("told") {
        assert_eq!(
            (status.state, status.copies, status.missing, status.stale),
            (LocationState::UpToDate, 2, 0, 0)
        );
        assert!(status.bytes > 16_000 && status.space.is_some());
    }
    intact(&archive);
    // What is known of them outlives the process and the index.
    archive.close().expect("closed");
    fs::remove_dir_all(fixture.path("archive/index")).expect("removed");
    let archive = fixture.open();
    assert_eq!(archive.row(facts(1).id).expect("listed").copies.len(), 2);
    assert_eq!(archive.check(false).expect("checked"), []);
}

#[test]
fn a_recording_is_copied_when_its_delay_is_over_and_not_before() {
    let fixture = Fixture::new();
    let archive = fixture.open();
    record(&archive, 1);
    let day = 86_400_000;
    let since = wall_clock().millis_since(START.plus_millis(1000));
    let after_ms = i64::try_from(since).expect("not that long") + day;
    archive.use_locations(&CopyRules { after_ms, ..fixture.rules(&["nas"]) }, Duty::Copy).expect("used");
    assert!(archive.wait_for_copies(LONG), "nothing is due");
    assert!(!fixture.is_there("nas", 1));
    assert_eq!(archive.locations().expect("told")[0].missing, 1);
    archive.close().expect("closed");
    let archive = fixture.open();
    let after_ms = after_ms - 2 * day;
    archive.use_locations(&CopyRules { after_ms, ..fixture.rules(&["nas"]) }, Duty::Copy).expect("used");
    assert!(archive.wait_for_copies(LONG));
    assert!(fixture.is_same("nas", 1));
}

#[test]
fn a_moved_recording_is_played_verified_and_exported_from_its_copy() {
    let fixture = Fixture::new();
    let archive = fixture.open();
    record(&archive, 1);
    let whole = fs::read(fixture.path("archive").join(path_of(facts(1).id))).expect("there");
    let before = archive.row(facts(1).id).expect("listed");
    let rules = CopyRules { keep_local_ms: Some(0), ..fixture.rules(&["nas", "far"]) };
    archive.use_locations(&rules, Duty::Copy).expect("used");
    assert!(archive.wait_for_copies(LONG));
    assert_eq!(archive.move_out().expect("moved"), 1);
    assert_eq!(archive.move_out().expect("moved"), 0, "once");
    assert!(!fixture.is_there("archive", 1) && fixture.path("archive").join(stub_path(facts(1).id)).exists());
    let look = |archive: &Archive| {
        let row = archive.row(facts(1).id).expect("listed");
        assert!(row.moved);
        assert_eq!((&row.facts, row.bytes, &row.sha256), (&before.facts, before.bytes, &before.sha256));
        assert_eq!(row.signature, before.signature);
        assert_eq!(played(archive, 1).expect("plays"), 50);
        intact(archive);
        let mut sealed = Vec::new();
        archive.copy_sealed(facts(1).id, &mut sealed).expect("copied");
        assert_eq!(sealed, whole);
        assert_eq!(archive.check(false).expect("checked"), []);
    };
    look(&archive);
    archive.close().expect("closed");
    // The nearest one is gone: the next one gives it.
    fs::remove_file(fixture.path("nas").join(path_of(facts(1).id))).expect("removed");
    let archive = fixture.open();
    archive.use_locations(&rules, Duty::Read).expect("used");
    look(&archive);
    archive.rebuild(|_, _| {}).expect("rebuilt");
    look(&archive);
}

#[test]
fn without_its_locations_a_moved_recording_is_told_to_be_away_and_not_to_be_missing() {
    let fixture = Fixture::new();
    let archive = with_one_moved(&fixture);
    archive.close().expect("closed");
    let archive = fixture.open();
    let told = archive.read(facts(1).id).expect_err("away").to_string();
    assert!(told.contains("nas: not in the configuration"), "{told}");
    let findings: Vec<_> = archive.verify(None).map(|finding| finding.verdict).collect();
    assert!(findings.iter().any(|verdict| matches!(verdict, Verdict::Away { .. })), "{findings:?}");
    // What stays here of it cannot be changed unseen.
    let stub = fixture.path("archive").join(stub_path(facts(1).id));
    let bytes = fs::read(&stub).expect("read");
    let mut changed = bytes.clone();
    let at = bytes.windows(4).rposition(|window| window == b"1001").expect("the extension");
    changed[at] = b'2';
    fs::write(&stub, &changed).expect("written");
    assert!(archive.verify(None).any(|finding| finding.is_problem()), "changed facts");
    fs::write(&stub, &bytes).expect("written");
    assert!(archive.verify(None).all(|finding| !finding.is_problem()));
    fs::remove_file(&stub).expect("removed");
    assert!(archive.verify(None).any(|finding| finding.verdict == Verdict::Missing));
}

#[test]
fn an_original_goes_only_when_every_location_has_it_and_a_copy_that_rotted_is_made_again() {
    let fixture = Fixture::new();
    let far = Moody::new(&fixture.path("far"));
    far.set(Mood::Full);
    let archive = fixture.open();
    record(&archive, 1);
    let rules = CopyRules { keep_local_ms: Some(0), ..fixture.rules(&["nas", "far"]) };
    let [nas_at, far_at] = &rules.locations[..] else { unreachable!() };
    let nas: Arc<dyn Place> = Arc::new(Folder::new(&fixture.path("nas")));
    let places = vec![(nas_at.clone(), nas), (far_at.clone(), Arc::clone(&far) as Arc<dyn Place>)];
    archive.use_places(places, &rules, Duty::Copy).expect("used");
    assert!(!archive.wait_for_copies(LONG), "far is full");
    assert_eq!(archive.move_out().expect("looked"), 0);
    far.set(Mood::Well);
    while !archive.wait_for_copies(LONG) {}
    let copy = fixture.path("nas").join(path_of(facts(1).id));
    let mut bytes = fs::read(&copy).expect("read");
    bytes[900] ^= 1;
    fs::write(&copy, bytes).expect("written");
    assert_eq!(archive.move_out().expect("looked"), 0, "the copy is not what it was");
    assert!(fixture.is_there("archive", 1));
    assert!(archive.wait_for_copies(LONG));
    assert!(fixture.is_same("nas", 1));
    assert_eq!(archive.move_out().expect("moved"), 1);
    assert_eq!(played(&archive, 1).expect("plays"), 50);
}

#[test]
fn a_location_that_is_full_read_only_or_garbles_loses_nothing_and_gets_it_all_later() {
    for mood in [Mood::Full, Mood::ReadOnly, Mood::Garbles] {
        let fixture = Fixture::new();
        let nas = Moody::new(&fixture.path("nas"));
        nas.set(mood);
        let archive = fixture.open();
        let rules = CopyRules { keep_local_ms: Some(0), ..fixture.rules(&["nas"]) };
        let place = Arc::clone(&nas) as Arc<dyn Place>;
        archive.use_places(vec![(rules.locations[0].clone(), place)], &rules, Duty::Copy).expect("used");
        (1..=3).for_each(|n| record(&archive, n));
        assert!(!archive.wait_for_copies(LONG));
        let status = archive.locations().expect("told").remove(0);
        assert!(matches!(status.state, LocationState::Failing(_)), "{mood:?}: {status:?}");
        assert_eq!((status.copies, status.missing), (0, 3), "{mood:?}");
        assert_eq!(archive.move_out().expect("looked"), 0, "{mood:?}");
        assert!((1..=3).all(|n| played(&archive, n).is_ok_and(|packets| packets == 50)));
        nas.set(Mood::Well);
        while !archive.wait_for_copies(LONG) {}
        assert!((1..=3).all(|n| fixture.is_same("nas", n)), "{mood:?}");
        assert_eq!(archive.move_out().expect("moved"), 3);
        intact(&archive);
    }
}

#[test]
fn a_location_that_hangs_holds_up_neither_recording_nor_the_other_location() {
    let fixture = Fixture::new();
    let nas = Moody::new(&fixture.path("nas"));
    nas.set(Mood::Hangs);
    let archive = fixture.open();
    let rules = fixture.rules(&["nas", "far"]);
    let far: Arc<dyn Place> = Arc::new(Folder::new(&fixture.path("far")));
    let places = vec![
        (rules.locations[0].clone(), Arc::clone(&nas) as Arc<dyn Place>),
        (rules.locations[1].clone(), far),
    ];
    archive.use_places(places, &rules, Duty::Copy).expect("used");
    (1..=5).for_each(|n| record(&archive, n));
    archive.sync().expect("nothing waits for it");
    while !(1..=5).all(|n| fixture.is_same("far", n)) {
        std::thread::yield_now();
    }
    while !nas.hung.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    assert!((1..=5).all(|n| played(&archive, n).is_ok_and(|packets| packets == 50)));
    assert!(!archive.wait_for_copies(Duration::ZERO));
    nas.set(Mood::Well);
    while !archive.wait_for_copies(LONG) {}
    assert!((1..=5).all(|n| fixture.is_same("nas", n)));
}

#[test]
fn a_folder_whose_mount_is_away_or_that_is_another_archives_gets_nothing() {
    let fixture = Fixture::new();
    let archive = fixture.open();
    archive.use_locations(&fixture.rules(&["nas"]), Duty::Copy).expect("used");
    record(&archive, 1);
    assert!(archive.wait_for_copies(LONG));
    archive.close().expect("closed");
    // The mount is away: an empty folder is in its place.
    fs::rename(fixture.path("nas"), fixture.path("unmounted")).expect("moved");
    fs::create_dir(fixture.path("nas")).expect("made");
    let archive = fixture.open();
    archive.use_locations(&fixture.rules(&["nas"]), Duty::Copy).expect("used");
    record(&archive, 2);
    assert!(!archive.wait_for_copies(LONG));
    let state = archive.locations().expect("told").remove(0).state;
    assert!(matches!(&state, LocationState::Failing(why) if why.contains("mounted")), "{state:?}");
    assert_eq!(fs::read_dir(fixture.path("nas")).expect("listed").count(), 0);
    archive.close().expect("closed");
    // Another archive's folder.
    let other = Marker { archive: "01OTHER".into(), location: "nas".into() };
    fs::write(fixture.path("nas").join(MARKER), other.to_json().expect("JSON")).expect("written");
    let archive = fixture.open();
    archive.use_locations(&fixture.rules(&["nas"]), Duty::Copy).expect("used");
    assert!(!archive.wait_for_copies(LONG));
    let state = archive.locations().expect("told").remove(0).state;
    assert!(matches!(&state, LocationState::Failing(why) if why.contains("01OTHER")), "{state:?}");
}

#[test]
fn what_is_deleted_goes_from_every_location_at_once_or_when_it_is_back() {
    let fixture = Fixture::new();
    let nas = Moody::new(&fixture.path("nas"));
    let archive = fixture.open();
    let rules = CopyRules { keep_local_ms: Some(0), ..fixture.rules(&["nas"]) };
    let place = Arc::clone(&nas) as Arc<dyn Place>;
    archive.use_places(vec![(rules.locations[0].clone(), place)], &rules, Duty::Copy).expect("used");
    (1..=3).for_each(|n| record(&archive, n));
    assert!(archive.wait_for_copies(LONG));
    delete(&archive, 1, false);
    assert!(archive.wait_for_copies(LONG));
    assert!(!fixture.is_there("nas", 1) && fixture.is_there("nas", 2));
    // Moved ones: the key goes here first.
    assert_eq!(archive.move_out().expect("moved"), 2);
    nas.set(Mood::ReadOnly);
    delete(&archive, 2, true);
    delete(&archive, 3, false);
    assert!(!fixture.path("archive").join(stub_path(facts(2).id)).exists());
    assert!(matches!(archive.read(facts(2).id), Err(Error::NotFound { .. })));
    assert!(!archive.wait_for_copies(LONG));
    assert_eq!(archive.locations().expect("told")[0].stale, 2);
    intact(&archive);
    nas.set(Mood::Well);
    while !archive.wait_for_copies(LONG) {}
    assert!(!fixture.is_there("nas", 2) && !fixture.is_there("nas", 3));
    let status = archive.locations().expect("told").remove(0);
    assert_eq!((status.copies, status.stale, status.missing), (0, 0, 0));
    archive.rebuild(|_, _| {}).expect("rebuilt");
    assert_eq!(archive.locations().expect("told")[0].stale, 0);
    intact(&archive);
}

#[test]
fn a_rotation_of_keys_makes_copies_again_of_moved_recordings_too() {
    let fixture = Fixture::new();
    let archive = with_one_moved(&fixture);
    let copy = fixture.path("nas").join(path_of(facts(1).id));
    let before = fs::read(&copy).expect("read");
    let rotated = archive.rotate_keys(false, |_, _| {}).expect("rotated");
    assert!(rotated.finished && rotated.rewrapped == 1);
    assert!(archive.wait_for_copies(LONG));
    let after = fs::read(&copy).expect("read");
    assert_ne!(before, after, "the old wrap is gone from the copy");
    let stub = Stub::read(&*archive.shared.disk, facts(1).id).expect("a stub");
    assert_eq!(after[..stub.head.len()], stub.head);
    assert_eq!(played(&archive, 1).expect("plays"), 50);
    intact(&archive);
    archive.rebuild(|_, _| {}).expect("rebuilt");
    assert!(archive.row(facts(1).id).expect("listed").copies.iter().all(|copy| !copy.stale));
}

#[test]
fn a_recording_that_does_not_verify_is_never_copied_over_a_good_copy() {
    let fixture = Fixture::new();
    let archive = fixture.open();
    archive.use_locations(&fixture.rules(&["nas"]), Duty::Copy).expect("used");
    record(&archive, 1);
    assert!(archive.wait_for_copies(LONG));
    let original = fixture.path("archive").join(path_of(facts(1).id));
    let good = fs::read(&original).expect("read");
    let mut bad = good.clone();
    bad[2000] ^= 1;
    fs::write(&original, bad).expect("written");
    archive.shared.index.make_copies_stale(facts(1).id).expect("marked");
    archive.shared.locations.tell(facts(1).id);
    assert!(archive.wait_for_copies(LONG));
    assert_eq!(fs::read(fixture.path("nas").join(path_of(facts(1).id))).expect("read"), good);
    let status = archive.locations().expect("told").remove(0);
    assert_eq!(status.troubles.len(), 1, "{status:?}");
}

#[test]
fn when_the_disk_needs_room_the_oldest_go_but_none_under_a_hold() {
    let fixture = Fixture::new();
    let archive = fixture.open();
    let rules = CopyRules { make_room: true, ..fixture.rules(&["nas"]) };
    archive.use_locations(&rules, Duty::Copy).expect("used");
    (1..=3).for_each(|n| record(&archive, n));
    assert!(archive.wait_for_copies(LONG));
    let (hold, why) = ("case 7".to_owned(), "inquiry".to_owned());
    let what = What::Held { id: facts(2).id, hold, why };
    archive.edit(Event { at: START, who: "eve".into(), what }).expect("held");
    archive.sync().expect("synced");
    assert_eq!(archive.move_out().expect("looked"), 0, "there is room");
    archive.shared.full.store(true, Ordering::Release);
    assert_eq!(archive.move_out().expect("moved"), 2);
    assert!(
        !fixture.is_there("archive", 1) && fixture.is_there("archive", 2) && !fixture.is_there("archive", 3)
    );
    archive.shared.full.store(false, Ordering::Release);
    intact(&archive);
}

#[test]
fn what_is_gone_cut_or_changed_is_brought_back_from_a_good_copy_and_from_no_other() {
    let fixture = Fixture::new();
    let archive = fixture.open();
    archive.use_locations(&fixture.rules(&["nas", "far"]), Duty::Copy).expect("used");
    (1..=4).for_each(|n| record(&archive, n));
    assert!(archive.wait_for_copies(LONG));
    let file = |place: &str, n: u8| fixture.path(place).join(path_of(facts(n).id));
    let whole: Vec<Vec<u8>> = (1..=4).map(|n| fs::read(file("archive", n)).expect("read")).collect();
    archive.close().expect("closed");
    let changed = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    fs::remove_file(file("archive", 1)).expect("removed");
    fs::write(file("archive", 2), &whole[1][..whole[1].len() - 40]).expect("written");
    fs::write(file("archive", 3), changed(&whole[2])).expect("written");
    // Of the fourth the nearest copy is bad too, of the third the other one.
    fs::write(file("archive", 4), changed(&whole[3])).expect("written");
    fs::write(file("nas", 4), changed(&whole[3])).expect("written");
    fs::write(file("far", 3), changed(&whole[2])).expect("written");
    let archive = fixture.open();
    let mended = |archive: &Archive, repair| {
        let problems = archive.check_at(crate::Cost::Bytes, repair, &mut |_, _| {}).expect("checked");
        (problems.len(), problems.iter().filter(|problem| problem.repaired).count())
    };
    assert_eq!(mended(&archive, true).1, 0, "no location is in use");
    archive.use_locations(&fixture.rules(&["nas", "far"]), Duty::Read).expect("used");
    assert!(mended(&archive, false).0 >= 4, "only told");
    let (found, repaired) = mended(&archive, true);
    assert_eq!((found, repaired), (found, found));
    assert_eq!(mended(&archive, true), (0, 0));
    for (n, whole) in (1..=4).zip(&whole) {
        assert!(fs::read(file("archive", n)).expect("read") == *whole, "recording {n}");
        assert_eq!(played(&archive, n).expect("plays"), 50);
    }
    intact(&archive);
    // Copies that are no better mend nothing.
    for place in ["archive", "nas", "far"] {
        fs::write(file(place, 1), changed(&whole[0])).expect("written");
    }
    archive.close().expect("closed");
    let archive = fixture.open();
    archive.use_locations(&fixture.rules(&["nas", "far"]), Duty::Read).expect("used");
    assert_eq!(mended(&archive, true), (1, 0));
}

#[test]
fn a_recording_that_is_lost_here_keeps_its_copy_and_comes_back_from_it() {
    let fixture = Fixture::new();
    let archive = fixture.open();
    archive.use_locations(&fixture.rules(&["nas"]), Duty::Copy).expect("used");
    (1..=3).for_each(|n| record(&archive, n));
    assert!(archive.wait_for_copies(LONG));
    let original = |n| fixture.path("archive").join(path_of(facts(n).id));
    let whole = fs::read(original(1)).expect("read");
    archive.close().expect("closed");
    // One has lost its head, one is gone; the index is built anew and lists neither.
    let mut headless = whole.clone();
    headless[..80].fill(0);
    fs::write(original(1), headless).expect("written");
    fs::remove_file(original(2)).expect("removed");
    fs::remove_dir_all(fixture.path("archive/index")).expect("removed");
    let archive = fixture.open();
    archive.use_locations(&fixture.rules(&["nas"]), Duty::Copy).expect("used");
    delete(&archive, 3, false);
    assert!(archive.wait_for_copies(LONG));
    assert!(fixture.is_there("nas", 1) && fixture.is_there("nas", 2) && !fixture.is_there("nas", 3));
    assert_eq!(archive.locations().expect("told")[0].stale, 0);
    let problems = archive.check(true).expect("checked");
    assert!(!problems.is_empty() && problems.iter().all(|problem| problem.repaired), "{problems:?}");
    assert!(fs::read(original(1)).expect("read") == whole);
    assert_eq!((played(&archive, 1).expect("plays"), played(&archive, 2).expect("plays")), (50, 50));
    intact(&archive);
}

#[test]
fn the_only_copy_of_a_moved_recording_is_not_lost_when_the_location_garbles_its_renewal() {
    let fixture = Fixture::new();
    let nas = Moody::new(&fixture.path("nas"));
    let archive = fixture.open();
    let rules = CopyRules { keep_local_ms: Some(0), ..fixture.rules(&["nas"]) };
    let place = Arc::clone(&nas) as Arc<dyn Place>;
    archive.use_places(vec![(rules.locations[0].clone(), place)], &rules, Duty::Copy).expect("used");
    record(&archive, 1);
    assert!(archive.wait_for_copies(LONG));
    assert_eq!(archive.move_out().expect("moved"), 1);
    nas.set(Mood::Garbles);
    archive.rotate_keys(false, |_, _| {}).expect("rotated");
    assert!(!archive.wait_for_copies(LONG));
    assert_eq!(played(&archive, 1).expect("plays"), 50);
    nas.set(Mood::Well);
    while !archive.wait_for_copies(LONG) {}
    assert_eq!(played(&archive, 1).expect("plays"), 50);
    let copy = fixture.path("nas").join(path_of(facts(1).id));
    let stub = Stub::read(&*archive.shared.disk, facts(1).id).expect("a stub");
    assert_eq!(fs::read(&copy).expect("read")[..stub.head.len()], stub.head, "with its new wrap");
    let folder = fs::read_dir(copy.parent().expect("a folder")).expect("listed");
    assert_eq!(folder.count(), 1, "nothing stands beside it");
}

#[test]
fn a_new_location_gets_moved_recordings_and_the_nearest_good_copy_is_played() {
    let fixture = Fixture::new();
    let archive = with_one_moved(&fixture);
    archive.use_locations(&fixture.rules(&["far", "nas"]), Duty::Copy).expect("used");
    assert!(archive.wait_for_copies(LONG));
    let (nas, far) =
        (fixture.path("nas").join(path_of(facts(1).id)), fixture.path("far").join(path_of(facts(1).id)));
    assert!(fs::read(&nas).expect("read") == fs::read(&far).expect("read"));
    let mut rotten = fs::read(&far).expect("read");
    let middle = rotten.len() / 2;
    rotten[middle] ^= 1;
    fs::write(&far, rotten).expect("written");
    assert_eq!(played(&archive, 1).expect("plays from the other one"), 50);
    intact(&archive);
    fs::remove_file(&nas).expect("removed");
    assert!(archive.read(facts(1).id).is_err());
    assert!(archive.verify(None).any(|finding| !matches!(finding.verdict, Verdict::Intact { .. })));
}

#[test]
fn a_recording_that_a_location_refuses_does_not_hold_up_the_others() {
    let fixture = Fixture::new();
    let nas = Moody::new(&fixture.path("nas"));
    nas.set(Mood::Refuses(1));
    let archive = fixture.open();
    (1..=4).for_each(|n| record(&archive, n));
    let rules = fixture.rules(&["nas"]);
    let place = Arc::clone(&nas) as Arc<dyn Place>;
    archive.use_places(vec![(rules.locations[0].clone(), place)], &rules, Duty::Copy).expect("used");
    while !(2..=4).all(|n| fixture.is_there("nas", n)) {
        std::thread::yield_now();
    }
    assert!(!fixture.is_there("nas", 1) && !archive.wait_for_copies(LONG));
    nas.set(Mood::Well);
    while !archive.wait_for_copies(LONG) {}
    assert!(fixture.is_same("nas", 1));
}

#[test]
fn a_copy_that_the_ledger_never_heard_of_goes_with_its_recording() {
    let fixture = Fixture::new();
    let archive = fixture.open();
    record(&archive, 1);
    // As a power cut leaves it between the copy and its line, and in the middle of another one.
    let copy = fixture.path("nas").join(path_of(facts(1).id));
    fs::create_dir_all(copy.parent().expect("a folder")).expect("made");
    let part = copy.with_extension("wav.part");
    let whole = fs::read(fixture.path("archive").join(path_of(facts(1).id))).expect("read");
    archive
        .use_locations(&CopyRules { after_ms: i64::MAX / 4, ..fixture.rules(&["nas"]) }, Duty::Copy)
        .expect("used");
    assert!(archive.wait_for_copies(LONG));
    fs::write(&copy, &whole).expect("written");
    fs::write(&part, &whole).expect("written");
    delete(&archive, 1, true);
    assert!(archive.wait_for_copies(LONG));
    assert!(!copy.exists() && !part.exists());
}

/// A small archive with one recording on a simulated disk, copied to `nas`, as far as a disk lets it that dies at operation `at` of the
/// move. Gives the disk and whether the move was answered well.
fn move_on(at: u64, fixture: &Fixture) -> (Arc<crate::sim::SimDisk>, bool, u64) {
    let disk = new_disk();
    let index = fixture.path("index");
    let archive = open(&disk, &index).expect("opens");
    record(&archive, 1);
    let rules = CopyRules { keep_local_ms: Some(0), ..fixture.rules(&["nas"]) };
    archive.use_locations(&rules, Duty::Copy).expect("used");
    assert!(archive.wait_for_copies(LONG));
    let before = disk.operations();
    disk.fail_at(at, Fault::Die);
    let moved = archive.move_out().is_ok_and(|moved| moved == 1);
    let operations = disk.operations() - before;
    disk.fail_at(0, Fault::Die);
    drop(archive);
    (disk, moved, operations)
}

#[test]
fn a_power_cut_while_an_original_is_removed_leaves_it_or_its_stub() {
    let (_, moved, operations) = move_on(1_000, &Fixture::new());
    assert!(moved && operations > 5, "{operations}");
    for at in 1..=operations + 1 {
        for power in [false, true] {
            let fixture = Fixture::new();
            let (disk, moved, _) = move_on(at, &fixture);
            let disk = if power { disk.after_power_cut(at) } else { disk.after_kill() };
            let archive = open(&disk, &fixture.path("index")).expect("opens");
            let rules = fixture.rules(&["nas"]);
            archive.use_locations(&rules, Duty::Copy).expect("used");
            let (original, stub) = (path_of(facts(1).id), stub_path(facts(1).id));
            let there = |path: &str| disk.len(path).expect("asked").is_some();
            assert!(there(&original) != there(&stub), "operation {at}, power {power}");
            assert!(!moved || there(&stub), "operation {at}, power {power}: what was answered is so");
            assert_eq!(played(&archive, 1).expect("plays"), 50);
            assert_eq!(archive.row(facts(1).id).expect("listed").moved, there(&stub));
            assert!(
                archive.verify(None).all(|finding| !finding.is_problem()),
                "operation {at}, power {power}"
            );
            assert_eq!(archive.check(false).expect("checked"), []);
        }
    }
}
