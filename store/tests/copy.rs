//! A copy of the archive that was made file by file, in any order, while calls were recorded, finished, re-encoded, moved to an
//! archive location and deleted: it opens, lists and plays what it has, and verification finds nothing but what is not in it.
//!
//! `EARWITNESS_COPIES` says how many copies are made.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{Dice, START, append, archive, ended, facts, file_of, play};
use decode::{AudioFrame, Codec, Party};
use policy::Cold;
use store::locations::{CopyRules, Duty, Location, PlaceConfig};
use store::{Archive, ByWhom, Coded, Deletion, Error, Event, RecordingId, Trusted, Verdict, What, Writer};

/// An archive in which something goes on all the time.
struct Busy {
    archive: Archive,
    location: PathBuf,
    running: BTreeMap<u8, (Writer, u32)>,
    finished: BTreeMap<u8, u32>,
    next: u8,
}

impl Busy {
    fn step(&mut self, dice: &mut Dice) {
        match dice.roll(14) {
            0 | 1 if self.running.len() < 6 && self.next < 250 => {
                let n = self.next;
                self.next += 1;
                self.running.insert(n, (self.archive.create(facts(n)).expect("begun"), 0));
            }
            2..=6 => {
                let packets = 10 + dice.roll(60) as u32;
                for (n, (writer, at)) in &mut self.running {
                    (*at..*at + packets).try_for_each(|i| append(writer, *n, i)).expect("kept");
                    *at += packets;
                }
            }
            7 => {
                if let Some((n, (writer, packets))) = self.running.pop_first() {
                    writer.finish(ended(n, u64::from(packets) * 10)).expect("finished");
                    self.finished.insert(n, packets);
                }
            }
            8 if self.finished.len() > 3 && dice.roll(3) == 0 => {
                let n = *self.finished.keys().nth(dice.roll(self.finished.len())).expect("one of them");
                self.finished.remove(&n);
                self.archive.sync().expect("synced");
                let deletion =
                    Deletion { at: START, who: "eve".into(), rule: "by hand".into(), why: "asked".into() };
                self.archive.delete(facts(n).id, deletion, dice.roll(2) == 0).expect("deleted");
            }
            9 => {
                if let Some(n) = self.finished.keys().next_back() {
                    let what = What::Tagged { id: facts(*n).id, tag: "copied".into() };
                    self.archive.edit(Event { at: START, who: "ann".into(), what }).expect("tagged");
                }
            }
            10 => drop(self.archive.checkpoint().expect("a checkpoint")),
            11 => self.archive.sync().expect("synced"),
            12 => self.recode(dice),
            13 if dice.roll(4) == 0 => self.move_out(),
            _ => {}
        }
    }

    /// Re-encodes one that is due, if any is.
    fn recode(&mut self, dice: &mut Dice) {
        let rule: Cold = serde_json::from_str("{\"after\":\"1d\"}").expect("a rule");
        let tomorrow = START.plus_millis(2 * 86_400_000);
        let mut due = self.archive.cold_plan(&rule, tomorrow).expect("planned").due;
        if due.is_empty() {
            return;
        }
        let item = due.swap_remove(dice.roll(due.len()));
        let mut new = match self.archive.replace(item.id, &item.pass) {
            Err(Error::Stays { .. }) => return,
            new => new.expect("begun"),
        };
        let (format, started) = (common::opus(), new.facts().started);
        for i in 0..10_u16 {
            let at = started.plus_millis(i64::from(i) * 60);
            let frame = AudioFrame {
                at,
                ssrc: 1,
                sequence: i,
                timestamp: u32::from(i) * 480,
                marker: false,
                format: &format,
                payload: &[7; 60],
            };
            new.append(&item.pass.clear(Party::Near, &frame)).expect("kept");
        }
        let coded =
            Coded { codec: format.codec, from: vec![Codec::Pcmu], rate: 8000, samples: item.duration_ms * 8 };
        match new.finish(ByWhom { at: tomorrow, who: "ann".into() }, coded) {
            // It is so short that it would become longer.
            Err(Error::Stays { .. }) => return,
            recoded => recoded.expect("replaced"),
        };
        let n = (item.id.started().millis_since(START) / 1000) as u8;
        self.finished.insert(n, 10);
    }

    /// Copies everything that is finished to an archive location and removes the originals.
    fn move_out(&mut self) {
        self.archive.use_locations(&rules(&self.location), Duty::Copy).expect("used");
        assert!(self.archive.wait_for_copies(Duration::from_secs(60)), "copied");
        self.archive.move_out().expect("moved");
    }
}

/// One archive location, and nothing stays here.
fn rules(location: &Path) -> CopyRules {
    let folder = Location { name: "nas".into(), place: PlaceConfig::Folder(location.into()) };
    CopyRules { locations: vec![folder], keep_local_ms: Some(0), ..CopyRules::default() }
}

/// Copies the archive, one file after the other in random order, and lets it go on between any two blocks.
fn copy(busy: &mut Busy, from: &Path, to: &Path, with_all: bool, dice: &mut Dice) {
    let mut work = vec![PathBuf::new()];
    while !work.is_empty() {
        let path = work.swap_remove(dice.roll(work.len()));
        let (source, target) = (from.join(&path), to.join(&path));
        let left_out = ["index", "journal"].iter().any(|name| path.starts_with(name));
        if path.starts_with("lock") || left_out && !with_all {
            continue;
        }
        if source.is_dir() {
            fs::create_dir_all(&target).expect("a folder");
            let entries = fs::read_dir(&source).expect("listed").flatten();
            work.extend(entries.map(|entry| path.join(entry.file_name())));
        } else if let Ok(mut source) = File::open(&source) {
            let mut target = File::create(&target).expect("a file");
            let mode = source.metadata().expect("there").permissions();
            target.set_permissions(mode).expect("set");
            let mut block = vec![0; 1 + dice.roll(20_000)];
            loop {
                let read = source.read(&mut block).expect("read");
                target.write_all(&block[..read]).expect("written");
                if dice.roll(3) == 0 {
                    busy.step(dice);
                }
                if read == 0 {
                    break;
                }
            }
        }
        (0..dice.roll(4)).for_each(|_| busy.step(dice));
    }
}

/// The recordings that should be there, by the ledger of the copy: finished, not destroyed.
fn named(copy: &Path) -> Vec<RecordingId> {
    let mut fates = BTreeMap::new();
    for file in common::files(&copy.join("ledger")) {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let is_ours = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("recordings-"));
        for line in text.split_inclusive('\n').filter(|line| is_ours && line.ends_with('\n')) {
            let value: serde_json::Value = serde_json::from_str(line).expect("a line");
            let (id, fate) = (value["id"].as_str().expect("an id"), value["fate"].as_str().expect("a fate"));
            fates.insert(id.parse().expect("an id"), fate.to_owned());
        }
    }
    fates.retain(|_, fate| fate == "complete" || fate == "interrupted");
    fates.into_keys().collect()
}

#[track_caller]
fn assert_only_lacking(archive: &Archive, trusted: &Trusted, at: &str) -> usize {
    let mut lacking = 0;
    for finding in archive.verify_against(None, trusted) {
        match finding.verdict {
            Verdict::NotCopied { .. } => lacking += 1,
            _ => assert!(!finding.is_problem(), "{at}: {finding:?}"),
        }
    }
    lacking
}

fn one(seed: u64) {
    let mut dice = Dice(seed << 20 | 0x9e37_79b9);
    let (temporary, from, archive) = archive();
    let location = temporary.path().join("nas");
    fs::create_dir(&location).expect("a folder");
    let mut busy = Busy { archive, location, running: BTreeMap::new(), finished: BTreeMap::new(), next: 1 };
    (0..40).for_each(|_| busy.step(&mut dice));
    let to = temporary.path().join("copy");
    let at = format!("copy {seed}");
    copy(&mut busy, &from, &to, seed.is_multiple_of(2), &mut dice);
    let checkpoint = busy.archive.checkpoint().expect("a checkpoint");

    let should = named(&to);
    let whole = |id: RecordingId| {
        let (copied, original) = (to.join(Archive::sealed_path(id)), from.join(Archive::sealed_path(id)));
        let same = fs::read(&copied).ok() == fs::read(original).ok();
        copied.exists().then_some(same)
    };
    let whole: BTreeMap<RecordingId, bool> =
        should.iter().filter_map(|id| Some((*id, whole(*id)?))).collect();
    let opened = Archive::open(&to).unwrap_or_else(|e| panic!("{at}: {e}"));
    assert!(opened.recovered().copy.is_some() && opened.recovered().not_ended.is_empty(), "{at}");
    opened.use_locations(&rules(&busy.location), Duty::Read).expect("used");
    for (id, is_whole) in &whole {
        let row = opened.row(*id).unwrap_or_else(|e| panic!("{at}: {id}: {e}"));
        let (payloads, _) = play(&opened, *id).unwrap_or_else(|e| panic!("{at}: {id}: {e}"));
        if *is_whole {
            let n = (row.facts.started.millis_since(START) / 1000) as u8;
            let packets = busy.finished.get(&n).copied();
            assert!(packets.is_none_or(|packets| payloads.len() == packets as usize), "{at}: {id}");
        }
    }
    let Some(What::CopyOpened { of_two_moments, .. }) = opened.recovered().copy.clone() else {
        panic!("{at}: it is a copy")
    };
    let trusted = Trusted {
        checkpoints: vec![("elsewhere".into(), checkpoint)],
        public_key: store::public_key(&fs::read_to_string(from.join("keys/public.json")).expect("keys")),
        ..Trusted::default()
    };
    let lacking = assert_only_lacking(&opened, &trusted, &at);
    let problems = opened.check(false).expect("checked");
    let not_there = |p: &store::Problem| {
        // A stub that came after the ledger was copied.
        let is_new =
            p.path.extension().is_some_and(|of| of == "moved") && p.what.contains("does not name it");
        p.what.contains("there is no file") || is_new
    };
    assert!(problems.iter().all(not_there), "{at}: {problems:?}");
    opened.close().expect("closed");

    // At home now: nothing more is mended, and it goes on.
    let again = Archive::open(&to).unwrap_or_else(|e| panic!("{at}: {e}"));
    assert_eq!(*again.recovered(), store::Recovery::default(), "{at}");
    again.use_locations(&rules(&busy.location), Duty::Read).expect("used");
    // The copied checkpoint, which may not have been comparable, has a successor by now.
    let still = assert_only_lacking(&again, &trusted, &at);
    assert!((lacking.saturating_sub(1)..=lacking).contains(&still), "{at}: {lacking}, then {still}");
    let id = common::record(&again, 255, 50);
    assert_only_lacking(&again, &trusted, &at);
    again.close().expect("closed");

    // What is changed in a copy is named as changed.
    let file = file_of(&to, id);
    let mut bytes = fs::read(&file).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).expect("written");
    // And what is taken out of it is missing, also where the copy had it of another moment than its lines.
    let taken = of_two_moments.iter().find_map(|id| {
        let file = to.join(Archive::sealed_path(*id));
        file.is_file().then(|| fs::remove_file(&file).map(|()| *id).expect("removed"))
    });
    let opened = Archive::open(&to).expect("opens");
    let missing = opened.verify(None).filter(|finding| finding.verdict == Verdict::Missing);
    assert_eq!(missing.filter_map(|finding| finding.id).collect::<Vec<_>>(), Vec::from_iter(taken), "{at}");
    let changed = opened.verify(None).filter(|finding| matches!(finding.verdict, Verdict::Changed { .. }));
    assert_eq!(changed.count(), 1, "{at}");
}

#[test]
fn a_copy_made_while_calls_are_recorded_opens_and_lacks_only_what_was_not_copied() {
    let copies = std::env::var("EARWITNESS_COPIES").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    (1..=copies).for_each(one);
}
