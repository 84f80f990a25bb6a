//! Retention at work on an archive: grace, holds, receipts, what is left of what was deleted, a clock that jumps.

mod common;

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use common::{START, archive, facts, file_of, record};
use decode::Timestamp;
use policy::retention::{Consent, Grace, OFF_MAX_DEFAULT, Plan, Reading, Rule, RuleSet};
use store::{Archive, CallRow, Error, Event, Finding, Kept, Outcome, Retention, Take, What};

const HOUR_NS: u64 = 3_600_000_000_000;

/// A moment that no archive of these tests was made after: its log begins by the machine's own clock.
fn base() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    Timestamp::from_parts(i64::try_from(now).expect("before 2262") / 86_400 * 86_400 + 86_400, 0)
}

/// The clocks, so many hours after [`base`], in the first boot.
fn reading(hours: i64) -> Reading {
    let since_boot_ns = u64::try_from(hours).expect("later") * HOUR_NS;
    Reading { wall: base().plus_millis(hours * 3_600_000), since_boot_ns, boot: "first".into() }
}

/// One rule for everything: ages in days, counted as if the recordings were made at [`base`].
fn rules(audio: u64, data: u64) -> RuleSet {
    let older = base().millis_since(START) / 86_400_000;
    let age = |days: u64| format!("{}d", older + days).parse().expect("an age");
    RuleSet::new(vec![Rule::everything("all", age(audio), age(data))]).expect("rules")
}

fn retention<'a>(archive: &'a Archive, rules: &RuleSet, hours: i64) -> Retention<'a> {
    let grace = Grace::default();
    archive.retention(rules.clone(), grace, OFF_MAX_DEFAULT, reading(hours), Take::InForce).expect("taken up")
}

fn prune(retention: &Retention<'_>, plan: Plan<Kept>) -> store::Pruned {
    let approved = plan.approve(Consent::MoreThanHalf).expect("asked for by name");
    retention.carry_out(&approved, |_, _| {}).expect("carried out")
}

fn not_answered(n: u8) -> CallRow {
    CallRow {
        call: format!("ringing-{n}"),
        sip_call_ids: vec![format!("ringing-{n}@pbx")],
        from: "+4940999888".into(),
        to: "1001".into(),
        started: START,
        answered: None,
        ended: Some(START.plus_millis(5000)),
        outcome: Outcome::NotAnswered,
        reason: "486".into(),
        recordings: vec![],
        ties: vec![],
        why: Vec::new(),
        parts: Vec::new(),
    }
}

fn assert_intact(archive: &Archive) {
    let problems: Vec<Finding> = archive.verify(None).filter(Finding::is_problem).collect();
    assert_eq!(problems, []);
    assert_eq!(archive.check(false).expect("looked over"), []);
}

/// Files of the archive that hold a text; the index is a cache and left out.
fn holding(dir: &Path, text: &str) -> Vec<String> {
    let files = common::files(dir).into_iter().filter(|path| !path.starts_with(dir.join("index")));
    let holds = |path: &std::path::PathBuf| {
        fs::read(path).expect("read").windows(text.len()).any(|window| window == text.as_bytes())
    };
    files.filter(holds).map(|path| path.display().to_string()).collect()
}

#[test]
fn new_rules_wait_for_the_grace_and_then_the_audio_goes_first_and_the_data_later() {
    let (_dir, dir, archive) = archive();
    let ids = [1, 2].map(|n| record(&archive, n, 20));
    archive.append_call(&not_answered(1)).expect("kept");
    archive.append_call(&CallRow { recordings: vec![ids[0]], ..not_answered(2) }).expect("kept");
    archive
        .edit(Event {
            at: START,
            who: "eve".into(),
            what: What::Noted { id: ids[0], text: "a secret note".into(), at_ms: None },
        })
        .expect("noted");
    let (set, day) = (rules(30, 60), 24);
    let _ = retention(&archive, &RuleSet::default(), 0);
    let early = retention(&archive, &set, 31 * day).plan().expect("planned");
    assert_eq!((early.items.len(), early.held_back.grace.audio), (0, 2), "the first rules wait too");

    let due = retention(&archive, &set, 32 * day + 1);
    let plan = due.plan().expect("planned");
    assert!(plan.more_than_half().is_some());
    let pruned = prune(&due, plan);
    assert_eq!((pruned.audio, pruned.data, pruned.spared), (2, 0, 0));
    assert!(common::files(&dir.join("recordings")).is_empty());
    for id in ids {
        let row = archive.row(id).expect("still listed");
        assert_eq!(row.deleted.expect("without audio").rule, "all");
        assert!(matches!(archive.read(id), Err(Error::NotFound { .. })));
    }
    assert_intact(&archive);
    assert!(!holding(&dir, "+4930123456").is_empty() && !holding(&dir, "a secret note").is_empty());

    let later = retention(&archive, &set, 61 * day);
    let plan = later.plan().expect("planned");
    let pruned = prune(&later, plan);
    assert_eq!((pruned.audio, pruned.data), (0, 3), "two recordings and a call");
    assert_eq!(archive.rows().count(), 0);
    assert_intact(&archive);
    archive.close().expect("closed");
    for text in ["+4930123456", "a secret note", "+4940999888", "ringing-2"] {
        assert_eq!(holding(&dir, text), Vec::<String>::new(), "{text}");
    }
    // All of that is known to an index made anew, and to the log.
    fs::remove_dir_all(dir.join("index")).expect("removed");
    let archive = Archive::open(&dir).expect("opens");
    assert_eq!(archive.rows().count(), 0);
    assert_eq!(archive.calls().expect("read").count(), 0);
    assert_eq!(archive.deletions().expect("read").filter(|line| line.is_ok()).count(), 2);
    assert_intact(&archive);
}

#[test]
fn a_blanked_line_without_its_receipt_is_found() {
    let (_dir, dir, archive) = archive();
    archive.append_call(&not_answered(1)).expect("kept");
    archive.append_call(&not_answered(2)).expect("kept");
    archive.close().expect("closed");
    let path = dir.join("ledger/calls-2026-11.jsonl");
    let text = fs::read_to_string(&path).expect("read");
    let (first, rest) = text.split_once('\n').expect("two lines");
    let blank = format!("{:<width$}", "{\"leaf\":1,\"erased\":true}", width = first.len());
    fs::write(&path, format!("{blank}\n{rest}")).expect("written");
    let archive = Archive::open(&dir).expect("opens");
    let problems: Vec<Finding> = archive.verify(None).filter(Finding::is_problem).collect();
    assert!(format!("{problems:?}").contains("no signed receipt"), "{problems:?}");
}

#[test]
fn a_hold_put_after_the_plan_spares_the_recording() {
    let (_dir, dir, archive) = archive();
    let ids = [1, 2].map(|n| record(&archive, n, 20));
    let set = rules(1, 2);
    let _ = retention(&archive, &set, 24 * 3);
    let due = retention(&archive, &set, 24 * 5);
    let plan = due.plan().expect("planned");
    assert_eq!(plan.items.len(), 2);
    let what = What::Held { id: ids[0], hold: "case".into(), why: "inquiry".into() };
    archive.edit(Event { at: START, who: "officer".into(), what }).expect("held");
    let pruned = prune(&due, plan);
    assert_eq!((pruned.audio, pruned.spared), (1, 1));
    assert!(file_of(&dir, ids[0]).exists());
    let again = retention(&archive, &set, 24 * 5).plan().expect("planned");
    assert_eq!((again.items.len(), again.held_back.holds.audio), (0, 1));
    let refused = archive.delete(ids[0], common_deletion(), false);
    assert!(matches!(refused, Err(Error::Guarded { .. })), "{refused:?}");
    assert_intact(&archive);
}

fn common_deletion() -> store::Deletion {
    store::Deletion { at: START, who: "x".into(), rule: "by hand".into(), why: "y".into() }
}

#[test]
fn a_clock_that_jumps_freezes_deletion_until_somebody_confirms_it() {
    let (_dir, dir, archive) = archive();
    record(&archive, 1, 20);
    let set = rules(30, 30);
    assert_eq!(retention(&archive, &set, 24).freeze(), None);
    // Ten years ahead, by the same boot's running time one hour later.
    let mut jumped = reading(24 * 3650);
    jumped.since_boot_ns = 25 * HOUR_NS;
    let take = |archive: &Archive, reading: Reading| {
        let plan = archive.retention(set.clone(), Grace::default(), OFF_MAX_DEFAULT, reading, Take::InForce);
        plan.and_then(|retention| retention.plan()).expect("planned")
    };
    let plan = take(&archive, jumped.clone());
    assert!(plan.freeze.is_some() && plan.items.is_empty());
    assert_eq!(plan.held_back.freeze.audio, 1);
    archive.close().expect("closed");
    // It holds through a restart of the program, and when the file of the watch is lost.
    let archive = Archive::open(&dir).expect("opens");
    assert!(take(&archive, jumped.clone()).freeze.is_some());
    fs::remove_file(dir.join("clock.json")).expect("removed");
    assert!(take(&archive, jumped.clone()).freeze.is_some(), "held against the newest event");
    let mut retention = archive
        .retention(set.clone(), Grace::default(), OFF_MAX_DEFAULT, jumped.clone(), Take::InForce)
        .expect("taken up");
    let old_page = jumped.wall.plus_millis(-2 * 3_600_000);
    let refused = retention.confirm_clock("officer", old_page).expect_err("a time that it does not show");
    assert!(matches!(refused, Error::Refused { .. }), "{refused}");
    retention.confirm_clock("officer", jumped.wall).expect("confirmed");
    let plan = retention.plan().expect("planned");
    assert!(plan.freeze.is_none() && plan.items.is_empty(), "the grace runs anew");
    assert_eq!(plan.held_back.grace.audio, 1);
    jumped.wall = jumped.wall.plus_millis(25 * 3_600_000);
    jumped.since_boot_ns += 25 * HOUR_NS;
    assert_eq!(take(&archive, jumped).items.len(), 1);
    assert!(archive.row(facts(1).id).is_ok());
}

#[test]
fn a_damaged_or_missing_recording_that_is_due_goes_with_the_others() {
    let (_dir, dir, archive) = archive();
    let ids = [1, 2, 3].map(|n| record(&archive, n, 20));
    archive.sync().expect("synced");
    fs::write(file_of(&dir, ids[0]), b"RIFF").expect("damaged");
    fs::remove_file(file_of(&dir, ids[1])).expect("removed");
    let set = rules(1, 1);
    let _ = retention(&archive, &set, 24 * 3);
    let due = retention(&archive, &set, 24 * 5);
    let plan = due.plan().expect("planned");
    let pruned = prune(&due, plan);
    assert_eq!((pruned.audio, pruned.data, pruned.failed), (3, 3, 0));
    assert!(common::files(&dir.join("recordings")).is_empty());
    assert_intact(&archive);
}

#[test]
fn looking_at_what_rules_would_do_puts_none_in_force() {
    let (_dir, dir, archive) = archive();
    record(&archive, 1, 20);
    let set = rules(1, 1);
    let look = |hours| {
        let (grace, reading) = (Grace::default(), reading(hours));
        archive.retention(set.clone(), grace, OFF_MAX_DEFAULT, reading, Take::Look).expect("looked")
    };
    assert_eq!(look(24 * 3).plan().expect("planned").held_back.grace.audio, 1);
    assert_eq!(look(24 * 5).plan().expect("planned").held_back.grace.audio, 1, "its grace has not begun");
    assert!(!dir.join("clock.json").exists());
    let set_rules = archive.events().expect("read").flatten();
    assert_eq!(set_rules.filter(|event| matches!(event.what, What::RetentionSet { .. })).count(), 0);
}

#[test]
fn what_is_known_of_a_recording_without_audio_can_be_deleted_by_hand() {
    let (_dir, dir, archive) = archive();
    let id = record(&archive, 1, 20);
    archive.append_call(&CallRow { recordings: vec![id], ..not_answered(1) }).expect("kept");
    archive.delete(id, common_deletion(), true).expect("deleted");
    assert!(archive.row(id).is_ok() && !holding(&dir, "+4930123456").is_empty());
    assert!(matches!(archive.delete(id, common_deletion(), true), Err(Error::Guarded { .. })));
    archive.delete(id, common_deletion(), false).expect("forgotten");
    assert!(matches!(archive.row(id), Err(Error::NotFound { .. })));
    assert_intact(&archive);
    archive.close().expect("closed");
    for text in ["+4930123456", "+4940999888"] {
        assert_eq!(holding(&dir, text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn many_may_take_retention_up_at_the_same_moment() {
    let (_dir, _path, archive) = archive();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..20).for_each(|_| drop(retention(&archive, &rules(30, 30), 1))));
        }
    });
}
