//! A recording's audio in another encoding: who may not be touched, what stays provable, and what is found when somebody
//! helps himself.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{START, archive, facts, file_of, opus, play, record};
use decode::{AudioFrame, Codec, Party};
use policy::{Cold, RecodePass, Stays};
use store::{
    Archive, ByWhom, Coded, Deletion, Error, Event, Finding, Mark, Recoded, RecordingId, Verdict, What,
};

const DAY_MS: i64 = 86_400_000;

fn rule() -> Cold {
    serde_json::from_str("{\"after\":\"1d\"}").expect("a rule")
}

/// The rule's word for a recording, tomorrow.
fn pass(archive: &Archive, id: RecordingId) -> Option<RecodePass> {
    let plan = archive.cold_plan(&rule(), START.plus_millis(2 * DAY_MS)).expect("planned");
    plan.due.into_iter().find(|item| item.id == id).map(|item| item.pass)
}

fn payload(i: u8) -> Vec<u8> {
    vec![i; 60]
}

/// Replaces the audio by ten packets.
fn replace(archive: &Archive, id: RecordingId, pass: &RecodePass) -> Result<Recoded, Error> {
    let mut new = archive.replace(id, pass)?;
    let (format, started) = (opus(), new.facts().started);
    for i in 0..10_u8 {
        let frame = AudioFrame {
            at: started.plus_millis(i64::from(i) * 60),
            ssrc: 1,
            sequence: i.into(),
            timestamp: u32::from(i) * 480,
            marker: false,
            format: &format,
            payload: &payload(i),
        };
        new.append(&pass.clear(Party::Near, &frame))?;
    }
    new.mark(started.plus_millis(10), &Mark::Hold { by: Party::Near })?;
    let by = ByWhom { at: START.plus_millis(2 * DAY_MS), who: "ann".into() };
    new.finish(by, Coded { codec: opus().codec, from: vec![Codec::Pcmu], rate: 8000, samples: 16_000 })
}

fn recode(archive: &Archive, id: RecordingId) -> Recoded {
    replace(archive, id, &pass(archive, id).expect("it is due")).expect("replaced")
}

fn problems(archive: &Archive, ids: Option<&[RecordingId]>) -> Vec<String> {
    let bad = archive.verify(ids).filter(Finding::is_problem);
    bad.map(|finding| format!("{} {:?}", finding.path.display(), finding.verdict)).collect()
}

#[test]
fn a_re_encoded_recording_says_what_it_was_and_verifies() {
    let (_temporary, dir, archive) = archive();
    let id = record(&archive, 1, 200);
    archive.sync().expect("synced");
    let before = archive.row(id).expect("listed");
    let signed = archive.in_ledger(&[id]).expect("asked").remove(&id).expect("named").signed;
    // It was finished a moment ago: the journal still holds it, and lets go of it first.
    let recoded = recode(&archive, id);
    assert_eq!((recoded.from_bytes, &recoded.from_signed), (before.bytes, &signed));
    assert_eq!((recoded.who.as_str(), recoded.rule.as_str()), ("ann", "opus after 1d"));

    let row = archive.row(id).expect("listed");
    assert_eq!(row.facts.recoded.as_deref(), Some(&recoded));
    assert!(row.bytes < before.bytes / 4 && row.sha256 != before.sha256 && row.sha256.len() == 64);
    assert_eq!(row.facts.tracks[0].stored, Some(opus().codec));
    let mut facts = row.facts.clone();
    (facts.recoded, facts.tracks[0].stored) = (None, None);
    assert_eq!(facts, before.facts, "everything else is as it was");
    let (payloads, marks) = play(&archive, id).expect("plays");
    assert_eq!((payloads, marks), ((0..10).map(payload).collect(), 1));

    let proof = archive.proof(id).expect("proven");
    assert!(proof.line.contains(&signed), "the line names what it was: {}", proof.line);
    assert_eq!(problems(&archive, None), [""; 0]);
    assert!(archive.verify(Some(&[id])).all(|finding| finding.verdict == Verdict::Intact { opened: true }));
    assert_eq!(archive.check(false).expect("checked"), []);
    archive.rebuild(|_, _| ()).expect("built");
    assert_eq!(archive.row(id).expect("listed"), row);
    archive.close().expect("closed");

    let archive = Archive::open(&dir).expect("opens");
    assert_eq!(archive.row(id).expect("listed"), row);
    assert_eq!(problems(&archive, None), [""; 0]);
    assert!(fs::read_dir(dir.join("cold")).expect("listed").next().is_none(), "nothing waits");
    assert!(archive.rotate_keys(false, |_, _| ()).expect("rotated").finished);
    assert_eq!(play(&archive, id).expect("plays with new keys").0.len(), 10);
}

#[test]
fn what_is_held_running_gone_or_done_stays() {
    let (_temporary, _dir, archive) = archive();
    let [held, deleted, done] = [1, 2, 3].map(|n| record(&archive, n, 100));
    let passes = [held, deleted, done].map(|id| pass(&archive, id).expect("due"));
    let running = archive.create(facts(4)).expect("begun");
    let event = |what| Event { at: START, who: "officer".into(), what };
    let hold = |hold: &str| What::Held { id: held, hold: hold.into(), why: "a letter".into() };
    archive.edit(event(hold("case"))).expect("held");
    let by_hand = || Deletion { at: START, who: "x".into(), rule: "by hand".into(), why: "asked to".into() };
    archive.delete(deleted, by_hand(), true).expect("deleted");
    replace(&archive, done, &passes[2]).expect("replaced");
    for (id, why) in [
        (held, Stays::Held),
        (deleted, Stays::NoAudio),
        (done, Stays::Recoded),
        (running.id(), Stays::Running),
    ] {
        assert_eq!(pass(&archive, id), None);
        let refused = archive.replace(id, &passes[0]).map(drop);
        assert!(matches!(&refused, Err(Error::Stays { why: w, .. }) if w == why.words()), "{refused:?}");
    }
    let plan = archive.cold_plan(&rule(), START.plus_millis(2 * DAY_MS)).expect("planned");
    assert_eq!((plan.due.len(), plan.stays.values().sum::<u64>()), (0, 4));
    archive
        .edit(event(What::Released { id: held, hold: "case".into(), why: "closed".into() }))
        .expect("released");
    assert!(pass(&archive, held).is_some());
}

#[test]
fn a_hold_that_comes_while_it_is_encoded_counts() {
    let (_temporary, dir, archive) = archive();
    let id = record(&archive, 1, 200);
    let pass = pass(&archive, id).expect("due");
    let new = archive.replace(id, &pass).expect("begun");
    let what = What::Held { id, hold: "case".into(), why: "a letter".into() };
    archive.edit(Event { at: START, who: "officer".into(), what }).expect("held");
    let by = ByWhom { at: START, who: "ann".into() };
    let coded = Coded { codec: opus().codec, from: vec![], rate: 8000, samples: 0 };
    assert!(matches!(new.finish(by, coded), Err(Error::Stays { .. })));
    assert_eq!(play(&archive, id).expect("plays").0.len(), 200);
    assert!(fs::read_dir(dir.join("cold")).expect("listed").next().is_none(), "nothing is left");
}

#[test]
fn what_would_not_become_shorter_stays() {
    let (_temporary, _dir, archive) = archive();
    let id = record(&archive, 1, 1);
    let pass = pass(&archive, id).expect("due");
    let refused = replace(&archive, id, &pass);
    assert!(matches!(&refused, Err(Error::Stays { why, .. }) if why.contains("shorter")), "{refused:?}");
    assert_eq!(play(&archive, id).expect("plays").0.len(), 1);
}

#[test]
fn what_does_not_verify_is_not_touched() {
    let (_temporary, dir, archive) = archive();
    let id = record(&archive, 1, 200);
    let pass = pass(&archive, id).expect("due");
    archive.close().expect("closed");
    let file = file_of(&dir, id);
    let mut bytes = fs::read(&file).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).expect("written");
    let archive = Archive::open(&dir).expect("opens");
    let refused = archive.replace(id, &pass).map(drop);
    assert!(matches!(&refused, Err(Error::Tampered { path, .. }) if *path == file), "{refused:?}");
    assert_eq!(fs::read(&file).expect("read"), bytes);
}

#[test]
fn a_reader_that_is_overtaken_says_so_and_does_not_cry_tamper() {
    let (_temporary, _dir, archive) = archive();
    let id = record(&archive, 1, 400);
    let mut reader = archive.read(id).expect("opens");
    assert!(reader.next_chunk().expect("reads").is_some());
    recode(&archive, id);
    let mut last = Ok(0);
    while let Ok(1..) | Ok(0) = last {
        last = match reader.next_chunk() {
            Ok(Some(_)) => Ok(1),
            Ok(None) => break,
            Err(e) => Err(e),
        };
    }
    assert!(matches!(&last, Err(Error::Replaced { .. })), "{last:?}");
}

/// An archive with a re-encoded recording, and a copy of what it was before.
struct Kit {
    _dir: tempfile::TempDir,
    dir: PathBuf,
    id: RecordingId,
    original: Vec<u8>,
    recoded: Recoded,
}

fn kit() -> Kit {
    let (temporary, dir, archive) = archive();
    let id = record(&archive, 1, 200);
    record(&archive, 2, 200);
    archive.sync().expect("synced");
    let original = fs::read(file_of(&dir, id)).expect("read");
    let recoded = recode(&archive, id);
    archive.close().expect("closed");
    Kit { _dir: temporary, dir, id, original, recoded }
}

fn ledger(dir: &Path) -> PathBuf {
    let mut files =
        fs::read_dir(dir.join("ledger")).expect("listed").map(|entry| entry.expect("an entry").path());
    files.find(|path| path.to_string_lossy().contains("recordings-")).expect("a file")
}

fn edit_last_line(dir: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(ledger(dir)).expect("read");
    let at = text.rfind(old).expect("it is there");
    let text = format!("{}{new}{}", &text[..at], &text[at + old.len()..]);
    fs::write(ledger(dir), text).expect("written");
}

fn found(kit: &Kit, how: &str, whole: &str, single: &str) {
    let archive = Archive::open(&kit.dir).expect("opens");
    for (ids, what) in [(None, whole), (Some(&[kit.id][..]), single)] {
        let found = problems(&archive, ids);
        assert!(found.iter().any(|finding| finding.contains(what)), "{how}: {found:#?}");
    }
}

#[test]
fn the_original_put_back_is_found_and_named() {
    let kit = kit();
    fs::write(file_of(&kit.dir, kit.id), &kit.original).expect("put back");
    found(&kit, "the original", "it was put back", "it was put back");
}

#[test]
fn an_edited_link_is_found_and_named() {
    let kit = kit();
    let mut other = kit.recoded.from_signed.clone();
    other.replace_range(..1, if other.starts_with('0') { "1" } else { "0" });
    edit_last_line(&kit.dir, &kit.recoded.from_signed, &other);
    found(
        &kit,
        "another digest",
        "it is not what was written",
        "re-encoded from is not what the ledger says",
    );
}

#[test]
fn a_link_that_was_taken_out_is_found_and_named() {
    let kit = kit();
    let text = fs::read_to_string(ledger(&kit.dir)).expect("read");
    let from = text.rfind(",\"recoded\":").expect("it is there");
    let whole = text[from..].trim_end().strip_suffix('}').expect("the line's end").to_owned();
    edit_last_line(&kit.dir, &whole, "");
    found(&kit, "no link", "it is not what was written", "re-encoded from is not what the ledger says");
}

#[test]
fn the_line_of_the_original_edited_or_taken_out_is_found_and_named() {
    let kit = kit();
    let text = fs::read_to_string(ledger(&kit.dir)).expect("read");
    // The first line is that of the original: it names it, the last one names it as what it replaced.
    let first = text.find(&kit.recoded.from_signed).expect("named");
    let edited = format!("{}{}{}", &text[..first], "f".repeat(64), &text[first + 64..]);
    fs::write(ledger(&kit.dir), edited).expect("written");
    found(&kit, "edited", "it is not what was written", "does not name the file that it was re-encoded from");
    let without: String = text.lines().skip(1).map(|line| format!("{line}\n")).collect();
    fs::write(ledger(&kit.dir), without).expect("written");
    found(&kit, "taken out", "taken out of the ledger", "does not name the file that it was re-encoded from");
}

#[test]
fn a_deletion_after_it_leaves_a_receipt_for_the_new_file() {
    let kit = kit();
    let archive = Archive::open(&kit.dir).expect("opens");
    let by_hand = Deletion { at: START, who: "x".into(), rule: "by hand".into(), why: "asked to".into() };
    archive.delete(kit.id, by_hand, true).expect("deleted");
    let row = archive.row(kit.id).expect("listed");
    assert_eq!(row.facts.recoded.as_deref(), Some(&kit.recoded), "what is known of it stays known");
    assert_eq!(problems(&archive, None), [""; 0]);
    archive.close().expect("closed");
}
