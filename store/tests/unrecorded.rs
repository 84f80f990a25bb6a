//! Calls without a recording: found by what is asked of recordings, told to whom may see them, in pages that nothing shifts.

mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use common::{START, archive, record};
use decode::Timestamp;
use policy::access::{AccessFilter, Caller, FilterMode, Permissions, Scope, Standing};
use policy::people::{Person, Who};
use policy::retention::{Consent, Grace, OFF_MAX_DEFAULT, Reading, Rule, RuleSet};
use policy::{Direction, PartNames, PastPart, SegmentFacts, Step};
use store::{Archive, CallPlace, CallRow, Field, Outcome, Query, Source, Take, Unrecorded};

/// An extension's part in a call that was not recorded.
fn part(extension: &str, user: &str, unit: &str, outcome: Outcome) -> PastPart {
    let facts = SegmentFacts {
        extension: extension.into(),
        other_party: "01632960001".into(),
        outside_number: Some("01632960001".into()),
        outside_e164: Some("+441632960001".into()),
        direction: Direction::Inbound,
        ddi: None,
        account_code: None,
        agent: None,
        hunt_group: None,
        trunk: None,
        who: Who {
            user: Some(Person { id: user.into(), name: user.to_uppercase() }),
            unit: Some(unit.into()),
            units_above: vec!["Insurance".into()],
        },
        named_unit: None,
        ddi_name: None,
        contact: None,
        transferred_from: None,
        other_party_name: None,
        tags: ["vip".to_owned()].into(),
        fields: Default::default(),
        source: Source::Mirror,
        started: START,
    };
    let names =
        PartNames { extension_name: "Front desk".into(), site: Some("Hull".into()), ..Default::default() };
    PastPart { facts, outcome, mode: None, by_people: false, phone: None, mac: None, names: Some(names) }
}

/// A call that began so many milliseconds after [`START`].
fn call(ms: i64, outcome: Outcome, parts: Vec<PastPart>) -> CallRow {
    let started = START.plus_millis(ms);
    let step = |part: &PastPart| Step {
        at_ms: 0,
        extension: part.facts.extension.clone(),
        rule: "exclude 1".into(),
        fact: part.facts.extension.clone(),
        verdict: "excluded".into(),
    };
    CallRow {
        call: format!("{:012x}-{:016x}", started.as_millis(), ms),
        sip_call_ids: vec![format!("{ms}@pbx")],
        from: "01632960001".into(),
        to: "2001".into(),
        started,
        answered: Some(started.plus_millis(2_000)),
        ended: Some(started.plus_millis(12_000)),
        outcome,
        reason: "exclude 1".into(),
        recordings: vec![],
        ties: vec![],
        why: parts.iter().map(step).collect(),
        parts,
    }
}

fn excluded(ms: i64, extension: &str) -> CallRow {
    call(ms, Outcome::Excluded, vec![part(extension, "ann", "Claims", Outcome::Excluded)])
}

fn asked(fields: &[(Field, &str)]) -> Query {
    let mut query = Query::default();
    fields.iter().for_each(|(field, pattern)| query.filter(*field, pattern).expect("a pattern"));
    query
}

fn found(archive: &Archive, query: &Query) -> Vec<Unrecorded> {
    let (calls, is_more) = archive.unrecorded(query, None, None, 100).expect("searched");
    assert!(!is_more);
    calls
}

/// When they began, in milliseconds after [`START`].
fn began(calls: &[Unrecorded]) -> Vec<u64> {
    calls.iter().map(|call| call.call.started.millis_since(START)).collect()
}

#[test]
fn calls_are_found_newest_first_by_what_is_asked_of_recordings() {
    let (_dir, path, archive) = archive();
    let id = record(&archive, 1, 10);
    let mut no_part = call(9_000, Outcome::DeviceNotRecorded, vec![]);
    no_part.answered = None;
    for row in [
        // In the order in which they end, which is not that of their beginnings.
        excluded(3_000, "2001"),
        excluded(1_000, "2002"),
        no_part,
        CallRow { recordings: vec![id], ..call(4_000, Outcome::Recorded, vec![]) },
        call(5_000, Outcome::NoChannel, vec![part("2003", "bob", "Sales", Outcome::Recorded)]),
    ] {
        archive.append_call(&row).expect("kept");
    }
    let all = found(&archive, &Query::default());
    assert_eq!(began(&all), [9_000, 5_000, 3_000, 1_000], "without the one that was recorded");
    let outcomes: Vec<Outcome> = all.iter().map(Unrecorded::outcome).collect();
    let expected = [Outcome::DeviceNotRecorded, Outcome::NoChannel, Outcome::Excluded, Outcome::Excluded];
    assert_eq!(outcomes, expected, "one that was to be recorded came to what its call did");
    assert_eq!(all[2].why().count(), 1);

    for (fields, expected) in [
        // Where no extension took part, who was called stands for it.
        (&[(Field::Extension, "2001-2002")][..], &[9_000, 3_000, 1_000][..]),
        (&[(Field::User, "bob")], &[5_000]),
        (&[(Field::BusinessUnit, "Insurance"), (Field::Direction, "inbound")], &[5_000, 3_000, 1_000]),
        (&[(Field::OutsideNumber, "+44%")], &[5_000, 3_000, 1_000]),
        (&[(Field::OtherParty, "0163%")], &[9_000, 5_000, 3_000, 1_000]),
        (&[(Field::Tag, "vip"), (Field::ExtensionName, "Front%")], &[5_000, 3_000, 1_000]),
        (&[(Field::Site, "Hull")], &[5_000, 3_000, 1_000]),
        (&[(Field::Direction, "unknown")], &[9_000]),
        // What recordings alone have.
        (&[(Field::State, "complete")], &[]),
        (&[(Field::State, "!recording")], &[9_000, 5_000, 3_000, 1_000]),
        (&[(Field::Rating, "1+")], &[]),
        (&[(Field::Deleted, "yes")], &[]),
    ] {
        assert_eq!(began(&found(&archive, &asked(fields))), expected, "{fields:?}");
    }
    let mut query = Query::default();
    query.call("3000@pbx").expect("a name");
    assert_eq!(began(&found(&archive, &query)), [3_000]);
    let mut query = Query::default();
    query.call(&excluded(1_000, "").call).expect("a name");
    assert_eq!(began(&found(&archive, &query)), [1_000]);
    let mut query = Query::default();
    (query.since, query.until) = (Some(START.plus_millis(1_001)), Some(START.plus_millis(9_000)));
    assert_eq!(began(&found(&archive, &query)), [5_000, 3_000]);
    let mut long = Query::default();
    long.at_least_ms = Some(10_000);
    assert_eq!(began(&found(&archive, &long)), [5_000, 3_000, 1_000], "from the answer on");
    let mut noted = Query::default();
    noted.note_words("%");
    assert_eq!(found(&archive, &noted), []);

    let sums = archive.unrecorded_outcomes(&Query::default()).expect("summed up");
    let sums: Vec<(Outcome, u64)> = sums.into_iter().collect();
    assert_eq!(sums, [(Outcome::Excluded, 2), (Outcome::DeviceNotRecorded, 1), (Outcome::NoChannel, 1)]);
    let (no_channel, _) =
        archive.unrecorded(&Query::default(), Some(Outcome::NoChannel), None, 9).expect("searched");
    assert_eq!(began(&no_channel), [5_000]);

    // The index is a cache of it, as of everything.
    archive.close().expect("closed");
    std::fs::remove_dir_all(path.join("index")).expect("removed");
    let archive = Archive::open(&path).expect("opens");
    assert_eq!(found(&archive, &Query::default()), all);
}

#[test]
fn a_page_begins_where_the_last_one_ended_whatever_comes_meanwhile() {
    let (_dir, _path, archive) = archive();
    for n in 0..500 {
        archive.append_call(&excluded(n * 10 % 977, "2001")).expect("kept");
    }
    let expected = found_all(&archive, None);
    assert_eq!(expected.len(), 500);
    assert!(expected.is_sorted_by(|a, b| a.place > b.place));
    let (mut seen, mut before): (Vec<Unrecorded>, Option<CallPlace>) = (Vec::new(), None);
    loop {
        let (page, is_more) = archive.unrecorded(&Query::default(), None, before, 7).expect("searched");
        before = page.last().map(|call| call.place.to_string().parse().expect("reads back"));
        seen.extend(page);
        if !is_more {
            break;
        }
        // Newer than all, at the same moment as others, and of another month.
        archive.append_call(&excluded(2_000_000, "2001")).expect("kept");
        archive.append_call(&excluded(-40 * 86_400_000, "9")).expect("kept");
    }
    let of_first = |call: &Unrecorded| call.part().is_some_and(|part| part.facts.extension == "2001");
    seen.retain(of_first);
    assert_eq!(seen, expected);
}

fn found_all(archive: &Archive, outcome: Option<Outcome>) -> Vec<Unrecorded> {
    archive.unrecorded(&Query::default(), outcome, None, usize::MAX - 1).expect("searched").0
}

fn seen_by(caller: Caller) -> Query {
    let mut query = Query::default();
    query.seen_by = Some(caller);
    query
}

fn caller(scope: Scope, filters: Vec<AccessFilter>) -> Caller {
    let standing = Standing {
        person: Some("ann".into()),
        unit: Some("Claims".into()),
        site: Some("Hull".into()),
        ..Standing::default()
    };
    Caller::new("test", Permissions::all(), scope, filters, standing)
}

#[test]
fn each_sees_the_parts_of_those_whose_calls_they_see_and_what_cannot_be_told_is_for_who_sees_all() {
    let (_dir, _path, archive) = archive();
    let ours = part("2001", "ann", "Claims", Outcome::Excluded);
    let theirs = part("2002", "bob", "Sales", Outcome::InternalExcluded);
    archive.append_call(&call(1_000, Outcome::Excluded, vec![ours.clone(), theirs])).expect("kept");
    archive.append_call(&call(2_000, Outcome::NoMedia, vec![])).expect("kept");
    // As an earlier version wrote it: whose names are not known, although the user is.
    archive
        .append_call(&call(3_000, Outcome::Excluded, vec![PastPart { names: None, ..ours }]))
        .expect("kept");
    let seen = |caller: Caller| -> Vec<(u64, String)> {
        let calls = found(&archive, &seen_by(caller));
        let extension =
            |call: &Unrecorded| call.part().map_or(String::new(), |part| part.facts.extension.clone());
        calls.iter().map(|call| (call.call.started.millis_since(START), extension(call))).collect()
    };
    let own = vec![(1_000, "2001".to_owned())];
    let both = vec![(1_000, "2002".to_owned()), (1_000, "2001".to_owned())];
    let all = [vec![(3_000, "2001".to_owned()), (2_000, String::new())], both.clone()].concat();
    assert_eq!(seen(caller(Scope::None, vec![])), []);
    for scope in [Scope::Own, Scope::Unit, Scope::UnitAndBelow] {
        assert_eq!(seen(caller(scope, vec![])), own, "{scope}");
    }
    assert_eq!(seen(caller(Scope::Site, vec![])), both);
    assert_eq!(seen(caller(Scope::Organization, vec![])), all);
    assert_eq!(seen(Caller::console("root")), all);
    let filter = |mode, field, pattern| AccessFilter::new("f", mode, &[(field, pattern)], None).expect("one");
    let denied = vec![filter(FilterMode::Deny, Field::ExtensionName, "Back%")];
    assert_eq!(seen(caller(Scope::Organization, denied)), both, "what could be denied is not told");
    let denied = vec![filter(FilterMode::Deny, Field::User, "bob")];
    assert_eq!(seen(caller(Scope::Organization, denied)), own);
    let granted = vec![filter(FilterMode::Grant, Field::Extension, "2002")];
    assert_eq!(seen(caller(Scope::Own, granted)), both);

    // Of another extension's part nothing is said: neither its steps nor the reason that may be its.
    let mine = found(&archive, &seen_by(caller(Scope::Own, vec![])));
    let [mine] = &mine[..] else { panic!("{mine:?}") };
    assert_eq!(mine.why().map(|step| step.extension.as_str()).collect::<Vec<_>>(), ["2001"]);
    assert_eq!((mine.reason(), mine.outcome()), (None, Outcome::Excluded));
}

#[test]
fn a_line_that_is_erased_leaves_the_list_and_the_sums() {
    let (_dir, _path, archive) = archive();
    archive.append_call(&excluded(1_000, "2001")).expect("kept");
    assert_eq!(found_all(&archive, None).len(), 1);
    // Its log begins by the machine's own clock: no archive of this test was made behind this moment.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
    let base = Timestamp::from_parts(now / 86_400 * 86_400 + 86_400, 0);
    let older = base.millis_since(START) / 86_400_000;
    let age = |days: u64| format!("{}d", older + days).parse().expect("an age");
    let rules = RuleSet::new(vec![Rule::everything("all", age(30), age(30))]).expect("rules");
    let at = |rules: &RuleSet, days: i64| {
        let ms = days * 86_400_000 + 1;
        let wall = base.plus_millis(ms);
        let reading = Reading { wall, since_boot_ns: ms as u64 * 1_000_000, boot: "first".into() };
        archive.retention(rules.clone(), Grace::default(), OFF_MAX_DEFAULT, reading, Take::InForce)
    };
    let _ = at(&RuleSet::default(), 0).expect("taken up");
    let _ = at(&rules, 31).expect("taken up").plan().expect("planned");
    let due = at(&rules, 61).expect("taken up");
    let plan = due.plan().expect("planned").approve(Consent::MoreThanHalf).expect("asked for");
    due.carry_out(&plan, |_, _| {}).expect("carried out");
    assert_eq!(archive.calls().expect("read").count(), 0, "its line is blank");
    assert_eq!(found_all(&archive, None), []);
    assert!(archive.unrecorded_outcomes(&Query::default()).expect("summed up").is_empty());
}
