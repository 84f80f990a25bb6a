//! The rules as pages ask for them.

use policy::{Direction, Mode, RuleType};
use store::Source;
use web::rules::forms::{Entries, Part, Written};
use web::rules::{DeviceLine, Edit, List, RuleLine, UnitLine, UserLine, Words};

use super::*;
use crate::config::settings_of;

const BOOK: &str = "[site]\npbx = [\"192.0.2.1\"]\n\n[record]\nchannels = 8\n\n[[record.device]]\nnumber = \"2000-2099\"\n\n\
                    [[record.device]]\nnumber = \"2100\"\nname = \"Front desk\"\nmode = \"never\"\n\n\
                    [[record.exclude]]\ntype = \"endpoint\"\nvalue = \"2005\"\ndescription = \"the board\"\n";

fn standing() -> Standing {
    let settings = settings_of(None, None).expect("defaults");
    Standing::new(settings.book, settings.machine)
}

fn archive() -> (tempfile::TempDir, Archive) {
    let dir = tempfile::tempdir().expect("a folder");
    let archive = Archive::open_or_create(&dir.path().join("a")).expect("made").0;
    (dir, archive)
}

fn change(from: u64, text: &str) -> BookChange {
    let (who, why) = ("eve".into(), "a test".into());
    BookChange { from, at: crate::clock::now(), who, why, restores: None, text: text.into() }
}

/// What a change of a form differs in, or why it is refused.
fn edited(edit: &Edit) -> Result<Vec<String>, String> {
    let rules = standing();
    let new =
        rules.edit(BOOK, edit).and_then(|text| rules.check(&text)).map_err(|error| error.to_string())?;
    let compared = rules.compare(BOOK, &new).expect("compared");
    Ok(compared.into_iter().map(|difference| difference.line).collect())
}

fn device(number: &str) -> DeviceLine {
    let (ip, mac) = (String::new(), String::new());
    let (name, source) = ("Desk".into(), Some(Source::Mirror));
    DeviceLine { number: number.into(), name, ip, mac, source, mode: Mode::OnDemand, priority: Some(2) }
}

#[test]
fn what_a_form_changes_is_what_the_comparison_says() {
    let rule = |value: &str| RuleLine {
        kind: RuleType::OutsideNumber,
        value: value.into(),
        description: String::new(),
    };
    let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    for (edit, lines) in [
        (Edit::AddRule(List::Include, rule("0163%")), &["+ record.include outside_number 0163%"][..]),
        (
            Edit::RemoveRule(List::Exclude, 0, "endpoint 2005".into()),
            &["- record.exclude endpoint 2005: description the board"],
        ),
        (
            Edit::AddDevice(device("2200+")),
            &["+ record.device 2200+: mode on_demand, name Desk, priority 2, source mirror"],
        ),
        (
            Edit::SetDevice(1, "2100".into(), device("2100")),
            &[
                "~ record.device 2100: mode never -> on_demand, name Front desk -> Desk, priority nothing -> 2, source nothing -> mirror",
            ],
        ),
        (Edit::RemoveDevice(1, "2100".into()), &["- record.device 2100: mode never, name Front desk"]),
        (
            Edit::MoveDevice(1, "2100".into(), 0),
            &["~ record.device: order 2000-2099, 2100 -> 2100, 2000-2099"],
        ),
        (Edit::MoveDevice(1, "2100".into(), 99), &[]),
        (Edit::ExcludeInternal(true), &["~ record: exclude_internal false -> true"]),
        (
            Edit::Set(Words::RtpPorts, words(&["20000-20500", "10000-10999", "10000-10999"])),
            &["~ site: rtp_ports nothing -> [\"10000-10999\", \"20000-20500\"]"],
        ),
        (Edit::Set(Words::Pbx, words(&[])), &["~ site: pbx [\"192.0.2.1\"] -> nothing"]),
        (
            Edit::Set(Words::Extensions, words(&["2000-2999,!2500"])),
            &["~ site: extensions nothing -> 2000-2999,!2500"],
        ),
    ] {
        assert_eq!(edited(&edit).expect("taken"), lines, "{edit:?}");
    }
    for (edit, why) in [
        (Edit::AddRule(List::Exclude, rule("1,,2")), "record.exclude, rule 2"),
        (Edit::RemoveRule(List::Exclude, 0, "endpoint 2006".into()), "does not stand there any more"),
        (Edit::MoveRule(List::Include, 0, "endpoint 2005".into(), 1), "does not stand there any more"),
        (Edit::RemoveDevice(7, "2100".into()), "does not stand there any more"),
        (Edit::AddDevice(device("2003-1005")), "backwards"),
        (Edit::AddDevice(DeviceLine { priority: Some(10), ..device("2300") }), "priority is 1 to 9"),
        (Edit::AddDevice(DeviceLine { ip: "192.0.2".into(), ..device("2300") }), "192.0.2"),
        (Edit::Set(Words::RtpPorts, words(&["ten"])), "ten"),
        (Edit::Set(Words::Trunks, words(&["<b>"])), "<b>"),
    ] {
        let told = edited(&edit).expect_err(why);
        assert!(told.contains(why), "{edit:?}: {told}");
    }
}

#[test]
fn values_are_changed_by_their_keys_and_what_no_form_has_stays() {
    let written = |of: &[(&str, &str)]| -> Written {
        of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let keep =
        written(&[("name", "cards"), ("audio", "90d"), ("data", "1y"), ("tag", "card, vip"), ("state", "")]);
    let code = written(&[("name", "staff"), ("pause", "*71"), ("resume", "*72")]);
    for (edit, lines) in [
        (
            Edit::SetValues(Part::Pause, written(&[("max_min", " 30 "), ("forgotten_min", "0")])),
            &["~ pause: forgotten_min 10 -> 0, max_min nothing -> 30"][..],
        ),
        (Edit::SetValues(Part::Pause, written(&[("max_min", "")])), &[]),
        (
            Edit::SetValues(
                Part::DialPlan,
                written(&[("country", "GB"), ("outbound_prefixes", "8,\n8141,")]),
            ),
            &["~ site.dial_plan: country nothing -> GB, outbound_prefixes nothing -> [\"8\", \"8141\"]"],
        ),
        (
            Edit::SetValues(
                Part::Record,
                written(&[
                    ("channels", "30"),
                    ("unanswered", "no"),
                    ("overload", "take_from_least_important"),
                ]),
            ),
            &[
                "~ record: channels 8 -> 30, overload refuse -> take_from_least_important, unanswered true -> false",
            ],
        ),
        (
            Edit::SetValues(Part::Retention, written(&[("grace", "immediate")])),
            &["~ retention: grace 24h -> immediate"],
        ),
        (Edit::AddEntry(Entries::Codes, code.clone()), &["+ pause.code staff: pause *71, resume *72"]),
        (
            Edit::AddEntry(
                Entries::Windows,
                written(&[("type", "prefix"), ("value", "https://pay.example/"), ("active", "no")]),
            ),
            &["+ pause.window prefix https://pay.example/: active false"],
        ),
        (
            Edit::AddEntry(Entries::Keeping, keep.clone()),
            &["+ retention.rule cards: audio 90d, data 1y, tag [\"card\", \"vip\"]"],
        ),
    ] {
        assert_eq!(edited(&edit).expect("taken"), lines, "{edit:?}");
    }
    for (edit, why) in [
        (Edit::SetValues(Part::Pause, written(&[("max_min", "soon")])), "\"soon\" is no number"),
        (Edit::SetValues(Part::Pause, written(&[("max_min", "-1")])), "pause: "),
        (Edit::SetValues(Part::Record, written(&[("overload", "explode")])), "record: unknown variant"),
        (Edit::SetValues(Part::Record, written(&[("stream_idle_s", "0")])), "1 to 86400 seconds"),
        (Edit::SetValues(Part::DialPlan, written(&[("country", "Atlantis")])), "country"),
        (
            Edit::AddEntry(Entries::Codes, written(&[("name", "x"), ("pause", "*1")])),
            "missing field `resume`",
        ),
        (Edit::AddEntry(Entries::Keeping, written(&[("name", "x"), ("audio", "7")])), "retention.rule: "),
        (Edit::RemoveEntry(Entries::Codes, 0, "staff".into()), "does not stand there any more"),
    ] {
        let told = edited(&edit).expect_err(why);
        assert!(told.contains(why), "{edit:?}: {told}");
    }
    // What is there is shown as it is written, changed, put elsewhere, and taken away.
    let rules = standing();
    let all = written(&[("name", "all"), ("audio", "30d"), ("data", "30d")]);
    let add =
        |text: &str, of: Written| rules.edit(text, &Edit::AddEntry(Entries::Keeping, of)).expect("added");
    let two = add(&add(BOOK, keep), all);
    let entry = |text: &str, place: usize| {
        let forms = rules.read(text).expect("reads").forms;
        let (_, list) =
            forms.entries.into_iter().find(|(which, _)| *which == Entries::Keeping).expect("there");
        let entry = list.into_iter().nth(place).expect("there");
        let told: Vec<(&str, String)> = entry
            .values
            .iter()
            .filter(|value| !value.written.is_empty())
            .map(|value| (value.key, value.written.clone()))
            .collect();
        (entry.name, format!("{told:?}"))
    };
    let (name, values) = entry(&two, 0);
    assert_eq!(name, "cards");
    assert_eq!(
        values,
        "[(\"name\", \"cards\"), (\"audio\", \"90d\"), (\"data\", \"1y\"), (\"tag\", \"card, vip\")]"
    );
    let moved = rules.edit(&two, &Edit::MoveEntry(Entries::Keeping, 1, "all".into(), 0)).expect("moved");
    assert_eq!(entry(&moved, 1).0, "cards");
    assert!(rules.check(&moved).expect_err("no rule comes behind one of all").to_string().contains("cards"));
    let set = Edit::SetEntry(
        Entries::Keeping,
        0,
        "cards".into(),
        written(&[("tag", ""), ("direction", "inbound")]),
    );
    let set = rules.edit(&two, &set).expect("set");
    assert_eq!(entry(&set, 0).1, values.replace("(\"tag\", \"card, vip\")", "(\"direction\", \"inbound\")"));
    let gone = rules.edit(&two, &Edit::RemoveEntry(Entries::Keeping, 0, "cards".into())).expect("gone");
    assert_eq!(entry(&gone, 0).0, "all");
}

#[test]
fn people_are_changed_by_forms_and_what_cannot_be_is_said() {
    let rules = standing();
    let line = |id: &str, unit: &str, devices: &[&str]| UserLine {
        id: id.into(),
        first_name: "Ann".into(),
        unit: unit.into(),
        devices: devices.iter().map(|line| line.parse().expect("a line")).collect(),
        ..UserLine::default()
    };
    let unit = |name: &str, parent: &str| UnitLine { name: name.into(), parent: parent.into() };
    let mut text = BOOK.to_owned();
    let mut change = |edit: Edit| -> Result<Vec<String>, String> {
        let edited = rules.edit(&text, &edit).and_then(|text| rules.check(&text));
        let new = edited.map_err(|error| error.to_string())?;
        let told = rules.compare(&text, &new).expect("compared");
        text = new;
        Ok(told.into_iter().map(|difference| difference.line).collect())
    };
    for (edit, lines) in [
        (Edit::AddUnit(unit("Insurance", "")), &["+ unit Insurance"][..]),
        (Edit::AddUnit(unit("Claims", "Insurance")), &["+ unit Claims: parent Insurance"]),
        (
            Edit::AddUser(line("ann", "Claims", &["extension 2001 until 2026-07-01", "agent 7 secondary"])),
            &[
                "+ user ann: device extension 2001, until 2026-07-01; agent 7, secondary, first_name Ann, unit Claims",
            ],
        ),
        (
            Edit::SetUser("ann".into(), line("eve", "Claims", &["extension 2001"])),
            &["~ user ann: device extension 2001, until 2026-07-01; agent 7, secondary -> extension 2001"],
        ),
        (
            Edit::SetModes(vec!["ann".into()], Some(Mode::OnDemand), "2026-12-24".into()),
            &["~ user ann: mode nothing -> on_demand, mode_from nothing -> 2026-12-24"],
        ),
        (
            Edit::SetModes(vec!["ann".into()], None, String::new()),
            &["~ user ann: mode on_demand -> nothing, mode_from 2026-12-24 -> nothing"],
        ),
        (
            Edit::SetUnit("Claims".into(), unit("Motor", "")),
            &["- unit Claims: parent Insurance", "+ unit Motor", "~ user ann: unit Claims -> Motor"],
        ),
        (
            Edit::SetUnit("Insurance".into(), unit("Insurance", "Motor")),
            &["~ unit Insurance: parent nothing -> Motor"],
        ),
        (Edit::DeleteUser("ann".into(), "2026-08-01".into()), &["~ user ann: deleted nothing -> 2026-08-01"]),
    ] {
        assert_eq!(change(edit.clone()).expect("taken"), lines, "{edit:?}");
    }
    for (edit, why) in [
        (Edit::AddUser(line("bob", "Sales", &[])), "there is no unit \"Sales\""),
        (Edit::AddUser(line("Ann", "", &[])), "a deleted user has that id"),
        (Edit::AddUser(line("bob", "", &["extension 1 from soon"])), "\"soon\" is no time"),
        (Edit::SetUser("eve".into(), line("eve", "", &[])), "no user \"eve\" any more"),
        (
            Edit::SetModes(vec!["ann".into(), "eve".into()], Some(Mode::Never), String::new()),
            "no user \"eve\" any more",
        ),
        (Edit::SetModes(vec![], Some(Mode::Never), String::new()), "Nobody is named"),
        (Edit::SetModes(vec!["ann".into()], Some(Mode::Never), "soon".into()), "\"soon\" is no time"),
        (Edit::SetUnit("Motor".into(), unit("Motor", "Insurance")), "below it"),
        (Edit::AddUnit(unit("Deleted Users", "")), "is the system's"),
        (Edit::RemoveUnit("Motor".into()), "holds 1 users (deleted ones among them) and 1 units"),
        (Edit::RemoveUnit("Claims".into()), "no unit \"Claims\" any more"),
    ] {
        let told = change(edit.clone()).expect_err(why);
        assert!(told.contains(why), "{edit:?}: {told}");
    }
    assert_eq!(
        change(Edit::RemoveUnit("Insurance".into())).expect("empty"),
        ["- unit Insurance: parent Motor"]
    );
    assert_eq!(change(Edit::RemoveUser("ann".into())).expect("there").len(), 1);
    let sections = rules.read(&text).expect("read");
    assert_eq!((sections.units, sections.users), (vec![unit("Motor", "")], vec![]));
}

#[test]
fn a_text_is_told_what_is_wrong_with_line_and_column() {
    let rules = standing();
    let place = |text: &str| match rules.check(text) {
        Err(RulesError::Wrong(wrong)) => (wrong.place, wrong.what),
        other => panic!("{text}: {other:?}"),
    };
    let (at, what) = place(&format!("{BOOK}[recrod]\n"));
    assert!(at == Some((19, 2)) && what.contains("recrod"), "{at:?} {what}");
    let (at, what) = place(&BOOK.replace("\"never\"", "\"sometimes\""));
    assert!(at.is_some_and(|(line, _)| line == 13) && what.contains("sometimes"), "{at:?} {what}");
    // What only the rules know is found, too.
    let (at, what) = place(&BOOK.replace("value = \"2005\"", "value = \"1,,2\""));
    assert!(at == Some((15, 1)) && what.starts_with("record.exclude, rule 1"), "{at:?} {what}");
    let (at, _) = place("[pause]\nmax_min = 0\n");
    assert_eq!(at, Some((2, 1)));
}

#[test]
fn a_book_is_read_by_section_and_put_in_force_from_the_version_it_was_made_from() {
    let (_dir, archive) = archive();
    let rules = standing();
    let sections = rules.read(BOOK).expect("read");
    assert_eq!(
        (sections.pbx.len(), sections.devices.len(), sections.exclude[0].named().as_str()),
        (1, 2, "endpoint 2005")
    );
    let new = rules.put(&archive, change(0, &format!("# a comment\n{BOOK}"))).expect("in force");
    assert!(new.version == 1 && !new.text.contains("comment"), "{}", new.text);
    assert_eq!(rules.compare(BOOK, &new.text).expect("compared"), []);
    let late =
        rules.put(&archive, change(0, "[record]\nchannels = 9\n")).expect_err("made from an older one");
    assert!(matches!(late, RulesError::Store(store::Error::Refused { .. })), "{late}");
    assert!(rules.put(&archive, change(1, "[record]\nchannels = -1\n")).is_err());
    assert_eq!(archive.book_version().expect("read"), 1);
}

#[test]
fn a_call_is_judged_as_when_it_is_recorded() {
    let rules = standing();
    let ask = |extension: &str, direction| {
        let (extension, other, ddi) = (extension.to_owned(), "01632960001".to_owned(), String::new());
        let question =
            Question { extension, other, direction, ddi, source: Source::Mirror, at: crate::clock::now() };
        rules.ask(BOOK, &question).expect("judged")
    };
    let excluded = ask("2005", Direction::Outbound);
    assert_eq!(
        (excluded.is_recorded, excluded.verdict.as_str()),
        (false, "exclusion 1: endpoint 2005 (the board)")
    );
    assert_eq!(excluded.steps.len(), 2);
    assert!(ask("2001", Direction::Inbound).is_recorded);
    assert_eq!(
        ask("2100", Direction::Inbound).verdict,
        "recorded devices 2100 (Front desk) are never recorded"
    );
}

#[test]
fn a_plan_that_was_not_seen_is_not_carried_out() {
    let (_dir, archive) = archive();
    let rules = standing();
    let keep = "[[retention.rule]]\nname = \"all, of any kind\"\naudio = \"90d\"\ndata = \"1y\"\n";
    rules.put(&archive, change(0, keep)).expect("in force");
    let planned = rules.plan(&archive).expect("planned");
    let line = planned.rules.first().expect("one rule");
    assert_eq!(
        (line.name.as_str(), line.of.as_str(), line.audio.as_str()),
        ("all, of any kind", "everything else", "90d")
    );
    assert_eq!((planned.version, planned.grace.as_str(), planned.plan.items.len()), (1, "24h", 0));
    let seen = |version| Seen {
        at: planned.plan.at,
        version,
        deletions: 0,
        digest: web::rules::digest(&planned.plan),
        more_than_half: false,
    };
    assert!(matches!(rules.prune(&archive, seen(0)), Err(NotPruned::Changed)));
    assert_eq!(rules.prune(&archive, seen(1)).expect("nothing to do"), Pruned::default());
    let refused = rules.confirm_clock(&archive, "eve", planned.plan.at).expect_err("nothing is frozen");
    assert!(matches!(refused, RulesError::Store(store::Error::Refused { .. })), "{refused}");
}

#[test]
fn extensions_that_calls_have_shown_are_told_against_the_list_in_force() {
    let (_dir, archive) = archive();
    let rules = standing();
    let asked = Question {
        extension: String::new(),
        other: String::new(),
        direction: Direction::Inbound,
        ddi: String::new(),
        source: Source::Mirror,
        at: crate::clock::now(),
    };
    let part = |extension: &str, outcome, mac: Option<&str>| policy::PastPart {
        facts: SegmentFacts { extension: extension.into(), ..facts(&policy::Rules::default(), &asked) },
        outcome,
        mode: None,
        by_people: false,
        phone: Some("192.0.2.33".parse().expect("an address")),
        mac: mac.map(|mac| mac.parse().expect("an address")),
        names: None,
    };
    let started = crate::clock::now();
    let row = |n: u8, parts: Vec<policy::PastPart>, why: Vec<policy::Step>| store::CallRow {
        call: format!("call-{n}"),
        sip_call_ids: vec![],
        from: String::new(),
        to: String::new(),
        started: started.plus_millis(i64::from(n)),
        answered: None,
        ended: None,
        outcome: store::Outcome::Recorded,
        reason: String::new(),
        recordings: vec![],
        ties: vec![],
        why,
        parts,
    };
    for (n, mac, why) in [
        (1, Some("02:00:00:00:00:01"), true),
        (2, Some("02:00:00:00:00:02"), true),
        (3, Some("02:00:00:00:00:01"), false),
    ] {
        let parts =
            vec![part("2001", store::Outcome::Recorded, mac), part("3000", store::Outcome::Excluded, None)];
        let word = String::new;
        let step =
            policy::Step { at_ms: 0, extension: "2001".into(), rule: word(), fact: word(), verdict: word() };
        archive.append_call(&row(n, parts, why.then_some(step).into_iter().collect())).expect("room");
    }
    archive.sync().expect("a disk");
    archive.change_book(change(0, BOOK)).expect("a book");
    let told = RuleBook::seen(&rules, &archive, None).expect("read").list;
    let [listed, not] = &told[..] else { panic!("{told:?}") };
    assert_eq!((&*listed.extension, listed.calls, listed.recorded), ("2001", 2, 2), "one without audio");
    assert_eq!((listed.entry.as_deref(), listed.listed), (Some("2000-2099"), true));
    let macs: Vec<String> = listed.mac.iter().map(ToString::to_string).collect();
    assert_eq!(macs, ["02:00:00:00:00:02", "02:00:00:00:00:01"], "the last one last");
    assert_eq!((&*not.extension, not.recorded, not.listed), ("3000", 0, false));
    assert!(
        RuleBook::seen(&rules, &archive, Some(started.plus_millis(60_000))).expect("read").list.is_empty()
    );
}
