//! The rule book at the command line: versions, precedence, devices, and what other rules would have made of past calls.

use std::fs;

use serde_json::Value;
use xtask::load::{Direction, Scenario};

mod common;
use common::{Bench, Run};

fn words<'a>(first: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [first, more].concat()
}

/// Four outbound calls of 2000 to 2003, one after the other.
fn calls(bench: &Bench) -> std::path::PathBuf {
    let scenario =
        Scenario { calls: 4, talk_ms: 2_000, direction: Direction::Outbound, ..Scenario::default() };
    bench.capture("calls.pcap", &scenario).0
}

fn write(bench: &Bench, name: &str, text: &str) -> String {
    let path = bench.path(name);
    fs::write(&path, text).expect("writes");
    path.display().to_string()
}

fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap_or_default()
}

fn lines(run: Run) -> Vec<String> {
    run.expect_code(0).stdout().lines().map(str::to_owned).collect()
}

#[test]
fn a_change_is_shown_first_then_a_version_and_can_be_rolled_back() {
    let bench = Bench::new();
    bench.record(&calls(&bench));
    let rules =
        write(&bench, "rules.toml", "[record]\nchannels = 8\n[[record.device]]\nnumber = \"2000-2003\"\n");
    let import = ["rule", "import", &rules, "--why", "eight lines"];
    let shown = lines(bench.run(&import));
    assert_eq!(shown, ["~ record: channels nothing -> 8", "+ record.device 2000-2003: mode always"]);
    assert!(bench.run(&["rule", "log"]).stdout().contains("no rule book"), "nothing was changed");
    assert!(
        lines(bench.run(&words(&import, &["--yes"])))
            .contains(&"version 1 of the rule book is in force".into())
    );
    lines(bench.run(&[
        "rule",
        "exclude",
        "add",
        "--type",
        "endpoint",
        "--value",
        "2003",
        "--why",
        "the board",
    ]));
    assert_eq!(lines(bench.run(&["rule", "diff"])), ["+ record.exclude endpoint 2003"]);
    let back = ["rule", "rollback", "1", "--why", "a slip"];
    assert_eq!(lines(bench.run(&back)), ["- record.exclude endpoint 2003"]);
    lines(bench.run(&words(&back, &["--yes"])));
    assert_eq!(lines(bench.run(&["rule", "diff", "1", "3"])), ["no difference"]);
    let log: Vec<Value> = bench.run(&["rule", "log", "--json"]).expect_code(0).json();
    let of = |key: &str| log.iter().map(|line| line[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("why"), ["eight lines", "the board", "a slip"]);
    assert_eq!((of("version"), &log[2]["restores"]), (vec![1.into(), 2.into(), 3.into()], &1.into()));
    assert_eq!(log[0]["sha256"], log[2]["sha256"]);
    // What is exported is what is imported.
    let exported = write(&bench, "exported.toml", &bench.run(&["rule", "export"]).expect_code(0).stdout());
    let same =
        bench.run(&["rule", "import", &exported, "--why", "the same", "--yes"]).expect_code(0).stdout();
    assert!(same.contains("nothing would change"), "{same}");
    bench.run(&["archive", "rebuild"]).expect_code(0);
    assert_eq!(bench.run(&["rule", "log", "--json"]).json().len(), 3);
    assert!(bench.run(&["archive", "log"]).stdout().contains("which is version 1 again: a slip"));
    bench.run(&["archive", "verify"]).expect_code(0);
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_place_and_changes_nothing() {
    let bench = Bench::new();
    bench.record(&calls(&bench));
    for (text, why) in [
        ("[record]\nchanels = 8\n", "line 2, column 1"),
        ("[archive]\ndir = \"/tmp\"\n", "archive"),
        ("[[record.exclude]]\ntype = \"agent\"\nvalue = \"1,,2\"\n", "record.exclude, rule 1"),
    ] {
        let rules = write(&bench, "wrong.toml", text);
        let told = bench.run(&["rule", "import", &rules, "--why", "x", "--yes"]).expect_code(78).stderr();
        assert!(told.contains(why), "{told}");
    }
    bench.run(&["device", "add", "2003-1005"]).expect_code(2);
    bench.run(&["device", "add", "2000", "--mode", "sometimes"]).expect_code(2);
    bench.run(&["device", "add", "2000-2009", "--ip", "192.0.2.20"]).expect_code(78);
    bench.run(&["rule", "rollback", "1", "--why", "x"]).expect_code(2);
    assert!(bench.run(&["rule", "log", "--json"]).expect_code(0).json().is_empty());
}

#[test]
fn the_book_goes_before_the_configuration_which_is_told_so() {
    let bench = Bench::new();
    let capture = calls(&bench).display().to_string();
    let archive = bench.archive().display().to_string();
    let file = write(
        &bench,
        "earwitness.toml",
        &format!("[archive]\ndir = \"{archive}\"\n[record]\ndevices = \"2000\"\n"),
    );
    let record = ["record", "--json", "-c", &file, "-r", &capture];
    let recorded = |run: Run| run.expect_code(0).json().remove(0)["recorded"].clone();
    assert_eq!(recorded(bench.run(&record)), 1);
    assert!(!bench.run(&["config", "check", &file]).expect_code(0).stderr().contains("rule book"));
    lines(bench.run(&["rule", "import", "-c", &file, "--why", "first", "--yes"]));
    lines(bench.run(&["device", "add", "2001-2002"]));
    let run = bench.run(&record);
    assert!(run.stderr().contains("[record] are not used"), "{}", run.stderr());
    assert_eq!(recorded(run), 3);
    let told = bench.run(&["config", "check", &file]).expect_code(0).stderr();
    assert!(told.contains("[record] are not used") && told.contains("Take them out"), "{told}");
}

#[test]
fn devices_are_added_changed_and_removed_and_the_last_one_only_on_purpose() {
    let bench = Bench::new();
    bench.record(&calls(&bench));
    let first = bench.run(&["device", "add", "2000", "--name", "Desk", "--mode", "on_demand"]).expect_code(0);
    assert!(first.stderr().contains("no configuration was named"), "{}", first.stderr());
    lines(bench.run(&["device", "add", "2001", "--first"]));
    lines(bench.run(&["device", "set", "2000", "--mode", "always", "--priority", "2", "--name", ""]));
    let list: Vec<Value> = bench.run(&["device", "list", "--json"]).expect_code(0).json();
    let of = |key: &str| list.iter().map(|entry| entry[key].clone()).collect::<Vec<_>>();
    assert_eq!(
        (of("number"), of("mode")),
        (vec!["2001".into(), "2000".into()], vec!["always".into(), "always".into()])
    );
    assert_eq!((&list[1]["priority"], &list[1]["name"]), (&2.into(), &Value::Null));
    assert!(bench.run(&["device", "add", "2000"]).expect_code(2).stderr().contains("device set"));
    assert!(
        bench.run(&["device", "set", "2000", "--mode", "always"]).expect_code(1).stderr().contains("already")
    );
    lines(bench.run(&["device", "remove", "2000"]));
    bench.run(&["device", "remove", "2000"]).expect_code(2);
    assert!(bench.run(&["device", "remove", "2001"]).expect_code(13).stderr().contains("every extension"));
    lines(bench.run(&["device", "remove", "2001", "--last"]));
    assert!(bench.run(&["device", "list"]).stdout().contains("every extension is recorded"));
}

#[test]
fn extensions_seen_have_counts_addresses_and_the_entry_that_names_them() {
    let bench = Bench::new();
    let capture = calls(&bench);
    drop(store::Archive::open_or_create(&bench.archive()).expect("made"));
    lines(bench.run(&["device", "add", "2000-2001"]));
    bench.record(&capture);
    let seen: Vec<Value> = bench.run(&["device", "list", "--seen", "--json"]).expect_code(0).json();
    let of = |key: &str| seen.iter().map(|line| line[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("extension"), ["2000", "2001", "2002", "2003"]);
    assert_eq!(
        (of("calls"), of("recorded")),
        (vec![1.into(); 4], vec![1.into(), 1.into(), 0.into(), 0.into()])
    );
    assert_eq!(of("listed"), [true, true, false, false]);
    assert_eq!((&seen[0]["entry"], &seen[3]["entry"]), (&"2000-2001".into(), &Value::Null));
    assert!(seen.iter().all(|line| line["ip"].as_array().is_some_and(|ip| ip.len() == 1)), "{seen:?}");
    let macs = |line: &Value| line["mac"].as_array().map_or(0, Vec::len);
    assert!(seen.iter().all(|line| macs(line) == 1), "{seen:?}");
    assert!(bench.run(&["device", "list", "--seen"]).stdout().contains("2000-2001"));
}

#[test]
fn a_test_tells_what_other_rules_would_have_made_of_past_calls_and_changes_nothing() {
    let bench = Bench::new();
    bench.record(&calls(&bench));
    let test = |text: &str| {
        let rules = write(&bench, "candidate.toml", text);
        bench.run(&["rule", "test", &rules, "--since", "2000-01-01", "--json"]).expect_code(0).json()
    };
    let sums = |lines: &[Value]| lines.last().expect("sums")["sums"].clone();
    let same = test("");
    assert_eq!(
        (same.len(), &sums(&same)["calls"], &sums(&same)["not_judged"]),
        (1, &4.into(), &0.into()),
        "{same:?}"
    );
    let other = test(
        "[record]\ndevices = \"2000-2002\"\n[[record.exclude]]\ntype = \"endpoint\"\nvalue = \"2001\"\n",
    );
    let of = |extension: &str| {
        let line = other.iter().find(|line| line["extension"] == extension).expect("it is listed");
        ["outcome", "would", "would_reason"].map(|key| text(line, key).to_owned())
    };
    assert_eq!((other.len(), &sums(&other)["differences"]["recorded -> excluded"]), (3, &1.into()));
    assert_eq!(of("2001"), ["recorded", "excluded", "exclusion 1: endpoint 2001"]);
    assert_eq!(of("2003"), ["recorded", "device_not_recorded", "no recorded device takes part"]);
    let one_channel = test("[record]\nchannels = 1\n");
    assert!(one_channel.len() > 1 && one_channel[0]["by_channels"] == true, "{one_channel:?}");
    // What cannot be told is told, also of calls whose outcome is the same otherwise.
    let paused = test("[[pause.code]]\nname = \"card\"\npause = \"*123\"\nresume = \"*321\"\n");
    assert_eq!((paused.len(), &sums(&paused)["not_known"]["pauses"]), (1, &4.into()), "{paused:?}");
    let listed = test("[site]\nextensions = \"2000-2001\"\n");
    let unlisted = listed.iter().filter(|line| line["would"] == "device_not_recorded").count();
    assert_eq!((unlisted, &sums(&listed)["not_known"]), (2, &serde_json::json!({})), "{listed:?}");
    let due =
        test("[[retention.rule]]\nname = \"all\"\naudio = \"1d\"\ndata = \"1d\"\nextension = \"2000\"\n");
    let retention: Vec<&Value> = due.iter().filter_map(|line| line.get("retention")).collect();
    assert_eq!((retention.len(), &sums(&due)["due_then"]), (1, &1.into()), "{due:?}");
    assert_eq!((&retention[0]["extension"], &retention[0]["now"]), (&"2000".into(), &"keep".into()));
    let said = bench.run(&[
        "rule",
        "test",
        &write(&bench, "c.toml", "[record]\ndevices = \"2000\"\n"),
        "--since",
        "2000-01-01",
    ]);
    assert!(said.expect_code(0).stdout().contains("3 of 4 calls would have another outcome"));
    assert!(bench.run(&["rule", "log", "--json"]).expect_code(0).json().is_empty(), "nothing was changed");
    // Beside the calls of a range that has none.
    let none = bench.run(&["rule", "test", &write(&bench, "d.toml", ""), "--until", "2000-01-01", "--json"]);
    assert_eq!(sums(&none.expect_code(0).json())["calls"], 0);
}

#[test]
fn packet_filters_and_addresses_of_the_pbx_are_edited_by_commands() {
    let bench = Bench::new();
    let presets = lines(bench.run(&["rule", "ports", "presets"]));
    assert!(
        presets.iter().any(|line| line.starts_with("asterisk ") && line.ends_with(" 10000-20000")),
        "{presets:?}"
    );
    let capture = calls(&bench);
    bench.record(&capture);
    assert_eq!(lines(bench.run(&["rule", "ports"])), ["audio is looked for on every port"]);
    let told = bench.run(&["rule", "ports", "set", "--preset", "astrisk"]).expect_code(2).stderr();
    assert!(told.contains("rule ports presets"), "{told}");
    let told = bench.run(&["rule", "ports", "set", "20000-10000"]).expect_code(2).stderr();
    assert!(told.contains("the lower one first"), "{told}");
    let told =
        lines(bench.run(&["rule", "ports", "set", "5004", "--preset", "asterisk", "--why", "the new PBX"]));
    assert_eq!(told[0], r#"~ site: rtp_ports nothing -> ["5004", "10000-20000"]"#);
    assert_eq!(lines(bench.run(&["rule", "ports"])), ["5004", "10000-20000"]);
    bench.run(&["rule", "pbx", "add", "192.0.2.10", "192.0.2.11"]).expect_code(0);
    bench.run(&["rule", "pbx", "remove", "192.0.2.10"]).expect_code(0);
    bench.run(&["rule", "pbx", "remove", "192.0.2.99"]).expect_code(2);
    assert_eq!(lines(bench.run(&["rule", "pbx", "--json"])), ["[\"192.0.2.11\"]"]);

    // The PBX sends from 10000 on, which is enough.
    bench.record(&capture);
    assert_eq!(bench.run(&["archive", "list", "--json"]).json().len(), 8);
    bench.run(&["rule", "ports", "set", "30000-40000", "--why", "a mistake"]).expect_code(0);
    let said = bench.record(&capture);
    assert_eq!(bench.run(&["archive", "list", "--json"]).json().len(), 8, "nothing of these");
    let last = bench.run(&["calls", "--json"]).json();
    let left_out: Vec<_> = last.iter().filter(|call| call["outcome"] == "no_media").collect();
    assert_eq!(left_out.len(), 4);
    let reason = text(left_out[0], "reason");
    let packets = reason.split(' ').nth(1).and_then(|count| count.parse::<u64>().ok()).unwrap_or_default();
    assert!(
        packets >= 190 && reason.ends_with("on ports that site.rtp_ports does not list were left out"),
        "{reason}"
    );
    assert!(said.to_string().contains("\"outside_rtp\":"), "{said}");
    assert!(bench.run(&["calls", "--summary"]).stdout().contains("RTP packets on ports not listed"));
    bench.run(&["rule", "ports", "clear"]).expect_code(0);
    bench.record(&capture);
    assert_eq!(bench.run(&["archive", "list", "--json"]).json().len(), 12);
}
