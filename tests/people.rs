//! Users, units, custom fields and ratings, from the configuration to lists, filters, exports and retention.

use std::fs;

use serde_json::Value;
use xtask::load::{Direction, Scenario};

mod common;
use common::Bench;

/// Ann of Claims, below Insurance, has 2000 until long after the capture; Bob has 2001 from long after it on; Cas of Banking 2002.
const PEOPLE: &str = "[site]\nname = \"Leeds\"\n\
    [[unit]]\nname = \"Insurance\"\n[[unit]]\nname = \"Claims\"\nparent = \"Insurance\"\n[[unit]]\nname = \"Banking\"\n\
    [[user]]\nid = \"ann\"\nfirst_name = \"Ann\"\nlast_name = \"Bell\"\nunit = \"Claims\"\n\
    [[user.device]]\nextension = \"2000\"\nuntil = \"2200-01-01\"\n\
    [[user]]\nid = \"bob\"\n[[user.device]]\nextension = \"2001\"\nfrom = \"2200-01-01\"\n\
    [[user]]\nid = \"cas\"\nunit = \"Banking\"\n[[user.device]]\nextension = \"2002\"\n";

/// Outbound calls of 2000, 2001 and 2002, recorded with this configuration; its path.
fn recorded(config: &str) -> (Bench, String) {
    let bench = Bench::new();
    let scenario =
        Scenario { calls: 3, talk_ms: 1_000, direction: Direction::Outbound, ..Scenario::default() };
    let (capture, _) = bench.capture("calls.pcap", &scenario);
    let file = write(&bench, config);
    bench.run(&["record", "-c", &file, "-r", &capture.display().to_string()]).expect_code(0);
    (bench, file)
}

fn write(bench: &Bench, config: &str) -> String {
    let file = bench.path("earwitness.toml");
    fs::write(&file, config).expect("writes");
    file.display().to_string()
}

fn rows(bench: &Bench, words: &[&str]) -> Vec<Value> {
    bench.run(&[&["archive", "list", "--json"], words].concat()).expect_code(0).json()
}

/// The extensions that a list has, in order.
fn extensions(bench: &Bench, words: &[&str]) -> Vec<String> {
    let mut all: Vec<String> =
        rows(bench, words).iter().map(|row| row["extension"].as_str().expect("text").to_owned()).collect();
    all.sort();
    all
}

fn of<'r>(rows: &'r [Value], extension: &str) -> &'r Value {
    rows.iter().find(|row| row["extension"] == extension).expect("a recording")
}

#[test]
fn a_recording_is_tagged_with_its_user_and_unit_and_stays_so() {
    let (bench, file) = recorded(PEOPLE);
    let list = rows(&bench, &[]);
    let ann = of(&list, "2000");
    assert_eq!(
        (&ann["user"], &ann["user_name"], &ann["business_unit"], &ann["units_above"], &ann["site"]),
        (
            &"ann".into(),
            &"Ann Bell".into(),
            &"Claims".into(),
            &serde_json::json!(["Insurance"]),
            &"Leeds".into()
        )
    );
    let nobody = of(&list, "2001");
    assert_eq!((&nobody["user"], &nobody["business_unit"]), (&Value::Null, &"Unassigned Users".into()));
    for (words, found) in [
        (&["--user", "ann"][..], &["2000"][..]),
        (&["--user", "Ann%"], &["2000"]),
        (&["--user", "!_%"], &["2001"]),
        (&["--unit", "Claims"], &["2000"]),
        (&["--unit", "Insurance"], &["2000"]),
        (&["--filter", "unit=!Insurance"], &["2001", "2002"]),
        (&["--filter", "business_unit=Banking,Unassigned%"], &["2001", "2002"]),
        (&["--filter", "user_name=%Bell"], &["2000"]),
        (&["--filter", "site=Leeds"], &["2000", "2001", "2002"]),
        (&["--filter", "site=!Leeds"], &[]),
    ] {
        assert_eq!(extensions(&bench, words), found, "{words:?}");
    }
    let shown = bench.run(&["archive", "show", ann["id"].as_str().expect("an id")]).expect_code(0).stdout();
    assert!(shown.contains("ann Ann Bell") && shown.contains("Claims, below Insurance"), "{shown}");
    // Whoever gets the extension, and whatever becomes of the unit: what was recorded stays as it was, also in a new index.
    write(&bench, &PEOPLE.replace("extension = \"2000\"", "extension = \"2009\"").replace("Claims", "Motor"));
    bench.run(&["archive", "rebuild", "-c", &file]).expect_code(0);
    assert_eq!(rows(&bench, &["-c", &file]), list);
    bench.run(&["archive", "verify"]).expect_code(0);
}

#[test]
fn what_is_recorded_without_people_names_nobody() {
    let (bench, _) = recorded("");
    for row in rows(&bench, &[]) {
        assert_eq!(row["user"], Value::Null);
        assert!(
            ["user_name", "business_unit", "units_above", "site"].iter().all(|key| row.get(key).is_none())
        );
    }
}

#[test]
fn retention_by_site_and_unit_takes_what_the_recordings_say() {
    let rule = |matcher: &str| {
        format!("[[retention.rule]]\nname = '{matcher}'\n{matcher}\naudio = \"1d\"\ndata = \"1d\"\n")
    };
    let matchers = [
        ("site", "York"),
        ("business_unit", "Motor"),
        ("business_unit", "Insurance"),
        ("business_unit", "Banking"),
        ("site", "Leeds"),
    ];
    let rules: String =
        matchers.iter().map(|(field, value)| rule(&format!("{field} = [\"{value}\"]"))).collect();
    let (bench, file) = recorded(&format!("{PEOPLE}[retention]\ngrace = \"immediate\"\n{rules}"));
    let plan = bench.run(&["archive", "prune", "--json", "-c", &file]).expect_code(0).json().remove(0);
    let by_rule = plan["by_rule"].as_array().expect("a list");
    let takes: Vec<_> =
        by_rule.iter().map(|rule| rule["takes"]["audio"].as_u64().expect("a number")).collect();
    assert_eq!(takes, [0, 0, 1, 1, 1], "{plan}");
    // Nobody's extension is the one that only the site's rule takes.
    bench.run(&["archive", "prune", "--yes", "--more-than-half", "-c", &file]).expect_code(0);
    assert_eq!(rows(&bench, &[]), Vec::<Value>::new());
    // What was recorded before there were units and a name of the site is in none, and stays.
    let (bench, _) = recorded("");
    let file = write(&bench, &format!("{PEOPLE}[retention]\ngrace = \"immediate\"\n{rules}"));
    bench.run(&["archive", "prune", "--yes", "--more-than-half", "-c", &file]).expect_code(0);
    bench.run(&["archive", "prune", "--yes", "--more-than-half", "-c", &file]).expect_code(0);
    assert_eq!(rows(&bench, &[]).len(), 3);
}

#[test]
fn an_exclusion_of_a_unit_takes_those_below_it() {
    let exclude = "[[record.exclude]]\ntype = \"business_unit\"\nvalue = \"Insurance\"\n";
    let (bench, _) = recorded(&format!("{PEOPLE}{exclude}"));
    assert_eq!(extensions(&bench, &[]), ["2001", "2002"]);
    let calls = bench.run(&["calls", "--json", "--outcome", "excluded"]).expect_code(0).json();
    assert_eq!(calls[0]["reason"], "exclusion 1: business unit Insurance");
}

#[test]
fn a_users_own_mode_decides_for_the_users_calls_and_why_says_whose_it_is() {
    let of_ann =
        PEOPLE.replace("id = \"ann\"\n", "id = \"ann\"\nmode = \"on_demand\"\nmode_from = \"2000-01-01\"\n");
    let both =
        of_ann.replace("id = \"cas\"\n", "id = \"cas\"\nmode = \"on_demand\"\nmode_from = \"2200-01-01\"\n");
    let (bench, file) = recorded(&both);
    assert_eq!(extensions(&bench, &[]), ["2001", "2002"], "the mode of Cas counts later");
    let calls = bench.run(&["calls", "--json", "--outcome", "excluded"]).expect_code(0).json();
    let reason = calls[0]["reason"].as_str().expect("words");
    assert!(reason.contains("mode on_demand: nobody asked for it to be recorded"), "{reason}");
    let why = |outcome: &str| {
        let calls = bench.run(&["calls", "--json", "--outcome", outcome]).expect_code(0).json();
        let told = calls.iter().map(|call| {
            bench.run(&["calls", "--why", call["call"].as_str().expect("a call")]).expect_code(0).stdout()
        });
        told.collect::<String>()
    };
    let said =
        "mode of user [user ann]: on_demand since 2000-01-01T00:00:00.000Z; it goes before the device's";
    assert!(why("excluded").contains(said), "{}", why("excluded"));
    assert!(why("recorded").contains(
        "mode of user [user cas]: on_demand since 2200-01-01T00:00:00.000Z: this call began before"
    ));
    let users = bench.run(&["user", "list", "-c", &file]).expect_code(0).stdout();
    assert!(users.lines().any(|line| line.contains("on_demand  2200-01-01 00:00:00")), "{users}");
}

#[test]
fn people_are_listed_and_shown_as_they_are_configured() {
    let bench = Bench::new();
    let gone = "[[user]]\nid = \"dan\"\ndeleted = \"2026-01-01\"\n[[user.device]]\nagent = \"7\"\n";
    let file = write(&bench, &format!("{PEOPLE}{gone}"));
    let run = |words: &[&str]| bench.run(&[words, &["-c", &file]].concat());
    let users: Vec<Value> = run(&["user", "list", "--json"]).expect_code(0).json();
    assert_eq!(users.iter().map(|user| &user["user"]).collect::<Vec<_>>(), ["ann", "bob", "cas"]);
    assert_eq!(users[0]["devices"][0]["extension"], "2000");
    let found = run(&["user", "list", "bel"]).expect_code(0).stdout();
    assert!(
        found.contains("Ann Bell") && found.contains("extension 2000") && !found.contains("cas"),
        "{found}"
    );
    assert!(run(&["user", "list", "dan"]).expect_code(0).stdout().contains("no such users"));
    assert!(run(&["user", "list", "--deleted"]).expect_code(0).stdout().contains("Deleted Users"));
    let shown = run(&["user", "show", "bob"]).expect_code(0).stdout();
    assert!(shown.contains("extension 2001, primary, from 2200-01-01T00:00:00.000Z on"), "{shown}");
    assert!(run(&["user", "show", "eve"]).expect_code(1).stderr().contains("no user \"eve\""));
    let units = run(&["unit", "list"]).expect_code(0).stdout();
    assert!(
        units.contains("\n  Claims  (1 user)\n") && units.contains("Unassigned Users  (1 user)"),
        "{units}"
    );
    // A device that is two users' at once.
    let twice = "[[user]]\nid = \"eve\"\n[[user.device]]\nextension = \"2002\"\n";
    let file = write(&bench, &format!("{PEOPLE}{twice}"));
    let told = bench.run(&["config", "check", &file]).expect_code(78).stderr();
    assert!(told.contains("extension 2002 belongs to cas always, so eve cannot have it always"), "{told}");
}

#[test]
fn the_rule_book_alone_says_whose_calls_are_whose_where_there_is_one() {
    let (bench, file) = recorded(PEOPLE);
    let run = |words: &[&str]| bench.run(&[words, &["-c", &file]].concat());
    run(&["rule", "import", "--why", "first", "--yes"]).expect_code(0);
    // The file says otherwise, and is not asked.
    write(&bench, "[[user]]\nid = \"eve\"\n[[user.device]]\nextension = \"2000\"\n");
    let list = run(&["user", "list"]).expect_code(0);
    assert!(list.stdout().contains("Ann Bell") && !list.stdout().contains("eve"), "{}", list.stdout());
    let exported = bench.run(&["rule", "export"]).expect_code(0).stdout();
    let rules = bench.path("rules.toml");
    fs::write(&rules, exported.replace("\"Claims\"", "\"Motor\"")).expect("writes");
    let import = ["rule", "import", rules.to_str().expect("plain"), "--why", "another name", "--yes"];
    let changed = bench.run(&import).expect_code(0).stdout();
    assert!(
        changed.contains("~ user ann: unit Claims -> Motor")
            && changed.contains("+ unit Motor: parent Insurance"),
        "{changed}"
    );
    assert!(bench.run(&["unit", "list"]).expect_code(0).stdout().contains("\n  Motor  (1 user)\n"));
    assert!(bench.run(&["user", "show", "ann"]).expect_code(0).stdout().contains("Motor, below Insurance"));
    let scenario =
        Scenario { calls: 1, talk_ms: 1_000, direction: Direction::Outbound, ..Scenario::default() };
    let (capture, _) = bench.capture("again.pcap", &scenario);
    let again = run(&["record", "-r", &capture.display().to_string()]).expect_code(0).stderr();
    assert!(again.contains("[[user]] are not used"), "{again}");
    let units: Vec<Value> =
        rows(&bench, &["--extension", "2000"]).iter().map(|row| row["business_unit"].clone()).collect();
    assert!(
        units.contains(&"Motor".into()) && units.contains(&"Claims".into()),
        "what was stays as it was: {units:?}"
    );
    // And back.
    bench.run(&["rule", "rollback", "1", "--why", "a slip", "--yes"]).expect_code(0);
    assert!(bench.run(&["unit", "list"]).expect_code(0).stdout().contains("\n  Claims  (1 user)\n"));
    bench.run(&["archive", "verify"]).expect_code(0);
}

#[test]
fn fields_and_stars_are_set_found_shown_and_logged_with_what_was_before() {
    let names = "[tags]\nnames = [\"Claim\", \"Customer\"]\n";
    let (bench, file) = recorded(names);
    let run = |words: &[&str]| bench.run(&[words, &["-c", &file]].concat());
    let list = rows(&bench, &[]);
    let id = |extension: &str| of(&list, extension)["id"].as_str().expect("an id").to_owned();
    run(&["archive", "tag", &id("2000"), "--field", "1", "AB-12"]).expect_code(0);
    run(&["archive", "tag", &id("2000"), "--field", "claim", "AB-13"]).expect_code(0);
    run(&["archive", "tag", &id("2001"), &id("2002"), "--field", "Customer", "Meier & Sohn"]).expect_code(0);
    run(&["archive", "tag", &id("2002"), "--field", "2", ""]).expect_code(0);
    run(&["archive", "rate", &id("2000"), "4"]).expect_code(0);
    run(&["archive", "rate", &id("2001"), "2"]).expect_code(0);
    run(&["archive", "rate", &id("2002"), "6"]).expect_code(2);
    let told = run(&["archive", "tag", &id("2000"), "--field", "6", "x"]).expect_code(2).stderr();
    assert!(told.contains("fields 1 to 5, Claim, Customer, tag3, tag4, tag5"), "{told}");
    let long = "x".repeat(257);
    let told = run(&["archive", "tag", &id("2000"), "--field", "3", &long]).expect_code(1).stderr();
    assert!(told.contains("256 bytes"), "{told}");
    for (filter, found) in [
        ("tag1=AB-1_", &["2000"][..]),
        ("Claim=AB-13", &["2000"]),
        ("customer=Meier%", &["2001"]),
        ("tag2=!_%", &["2000", "2002"]),
        ("rating=3+", &["2000"]),
        ("rating=1-2", &["2001"]),
        ("rating=!_%", &["2002"]),
    ] {
        assert_eq!(extensions(&bench, &["-c", &file, "--filter", filter]), found, "{filter}");
    }
    let ann = rows(&bench, &["--extension", "2000"]).remove(0);
    assert_eq!((&ann["fields"], &ann["rating"]), (&serde_json::json!({ "tag1": "AB-13" }), &4.into()));
    let shown = run(&["archive", "show", &id("2000")]).expect_code(0).stdout();
    assert!(shown.contains("Claim          AB-13") && shown.contains("rating         4 of 5"), "{shown}");
    let table = run(&["archive", "list"]).expect_code(0).stdout();
    assert!(table.contains("Claim") && table.contains("AB-13") && table.contains("Meier & Sohn"), "{table}");
    let log = run(&["archive", "log"]).expect_code(0).stdout();
    assert!(log.contains("put \"AB-13\" into Claim of") && log.contains("before \"AB-12\""), "{log}");
    assert!(log.contains("4 of 5, before none"), "{log}");
    let events = run(&["archive", "log", "--json"]).expect_code(0).json();
    let set: Vec<&Value> = events.iter().filter(|event| event["event"] == "field-set").collect();
    assert_eq!((set.len(), &set[1]["field"], &set[1]["before"]), (5, &"tag1".into(), &"AB-12".into()));
    assert!(set.iter().all(|event| event["who"].as_str().is_some_and(|who| !who.is_empty())));
    // They are no part of the recording's file, and come back with a new index.
    let before = rows(&bench, &[]);
    bench.run(&["archive", "rebuild"]).expect_code(0);
    assert_eq!(rows(&bench, &[]), before);
    bench.run(&["archive", "verify"]).expect_code(0);
}

#[test]
fn notes_are_listed_in_the_order_of_their_places() {
    let (bench, _) = recorded("");
    let id = rows(&bench, &["--limit", "1"])[0]["id"].as_str().expect("an id").to_owned();
    let note = |words: &[&str]| bench.run(&[&["archive", "note", id.as_str()], words].concat());
    assert!(note(&[]).expect_code(0).stdout().contains("no notes"));
    note(&["--text", "the end", "--at", "0:00.9"]).expect_code(0);
    note(&["--text", "asks for the contract", "--at", "0.25"]).expect_code(0);
    note(&["--text", "all of it"]).expect_code(0);
    let listed = note(&["--json"]).expect_code(0).json();
    let places: Vec<(&Value, &Value)> = listed.iter().map(|note| (&note["at_ms"], &note["text"])).collect();
    assert_eq!(
        places,
        [
            (&Value::Null, &"all of it".into()),
            (&250.into(), &"asks for the contract".into()),
            (&900.into(), &"the end".into())
        ]
    );
    let told = note(&["--text", "later", "--at", "1:00"]).expect_code(1).stderr();
    assert!(told.contains("there is no place at 60000 ms"), "{told}");
    assert!(note(&["--text", "x", "--at", "soon"]).expect_code(2).stderr().contains("1:01.5"));
    assert!(note(&["--text", " "]).expect_code(1).stderr().contains("says nothing"));
}
