//! Finding recordings by the command line, and the examples of `docs/search.md`.

mod common;

use common::Bench;
use policy::Pattern;
use store::Field;
use xtask::load::Scenario;

/// The texts in backticks of a cell.
fn quoted(cell: &str) -> Vec<&str> {
    // An empty value is written as two backticks.
    cell.split(", ").map(|item| item.trim().trim_start_matches('`').trim_end_matches('`')).collect()
}

#[test]
fn the_examples_of_the_documentation_hold() {
    let text = include_str!("../docs/search.md");
    let (_, table) = text.split_once("| field | pattern | matches | does not match |").expect("the table");
    let (mut rows, mut values) = (0, 0);
    for line in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let &[field, written, yes, no] = &cells[..] else { panic!("four cells: {line}") };
        let field: Field = field.trim_matches('`').parse().expect("a field");
        let written = written.trim_matches('`');
        let pattern: Pattern =
            if field.is_number() { written.parse() } else { Pattern::of_text(written) }.expect(line);
        for (values_of, wanted) in [(yes, true), (no, false)] {
            for value in quoted(values_of) {
                assert_eq!(pattern.matches(value), wanted, "{written} and {value:?}");
                values += 1;
            }
        }
        rows += 1;
    }
    assert!(rows >= 18 && values > 80, "{rows} rows, {values} values");
}

#[test]
fn the_documentation_names_every_field_and_its_words() {
    let text = include_str!("../docs/search.md");
    for field in Field::ALL {
        let kind = match field {
            field if field.is_number() => "| numbers |",
            field if field.words().is_empty() => "| texts |",
            _ => "| words |",
        };
        let line = text.lines().find(|line| line.starts_with(kind)).expect("a line of the kind");
        assert!(line.contains(&format!("`{field}`")), "{field}: {line}");
        for word in field.words() {
            assert!(text.contains(&format!("`{word}`")), "{field}: {word}");
        }
    }
}

fn filled() -> (Bench, Vec<serde_json::Value>) {
    let bench = Bench::new();
    let (capture, _) =
        bench.capture("calls.pcap", &Scenario { calls: 4, talk_ms: 1_000, ..Scenario::default() });
    bench.run(&["record", "-r", capture.to_str().expect("a path")]).expect_code(0);
    let rows = bench.run(&["archive", "list", "--json"]).expect_code(0).json();
    assert_eq!(rows.len(), 4);
    (bench, rows)
}

#[test]
fn filters_choose_by_what_stands_in_the_list() {
    let (bench, rows) = filled();
    let ids = |words: &[&str]| -> Vec<String> {
        let all: Vec<&str> = ["archive", "list", "--json"].into_iter().chain(words.iter().copied()).collect();
        let rows = bench.run(&all).expect_code(0).json();
        rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect()
    };
    let all = ids(&[]);
    let text = |row: &serde_json::Value, field: &str| row[field].as_str().expect("a text").to_owned();
    for row in &rows {
        let id = text(row, "id");
        let extension = text(row, "extension");
        assert!(ids(&["--extension", &format!("{extension}-{extension}")]).contains(&id));
        assert!(!ids(&["--extension", &format!("!{extension}")]).contains(&id));
        let number = text(row, "other_party");
        assert!(ids(&["--number", &format!("%{}", &number[number.len() - 3..])]).contains(&id));
        let call = text(row, "call");
        assert_eq!(ids(&["--call", &call]), std::slice::from_ref(&id));
        assert!(ids(&["--call", &call[..13]]).contains(&id) && ids(&["--call", &call[..5]]).contains(&id));
        let sip = row["sip_call_ids"][0].as_str().expect("a Call-ID");
        assert_eq!(ids(&["--call", sip]), std::slice::from_ref(&id));
        let started = text(row, "started");
        assert!(ids(&["--since", &started]).contains(&id) && !ids(&["--until", &started]).contains(&id));
    }
    assert_eq!(ids(&["--limit", "3"]), all[..3]);
    assert!(ids(&["--state", "interrupted"]).is_empty() && ids(&["--filter", "state=!interrupted"]) == all);

    bench.run(&["archive", "tag", &all[1], "--tag", "claim 7"]).expect_code(0);
    bench.run(&["archive", "hold", &all[2], "--name", "case", "--why", "asked"]).expect_code(0);
    bench.run(&["archive", "delete", &all[3], "--why", "old", "--keep-facts", "--yes"]).expect_code(0);
    assert_eq!(ids(&["--filter", "tag=claim%"]), all[1..2]);
    assert_eq!(ids(&["--filter", "tag=!_%"]), [&all[..1], &all[2..]].concat());
    assert_eq!(ids(&["--filter", "held=yes"]), all[2..3]);
    assert_eq!(ids(&["--filter", "deleted=yes"]), all[3..]);
    let stats =
        bench.run(&["archive", "stats", "--json", "--filter", "deleted=no"]).expect_code(0).json().remove(0);
    assert_eq!(stats["recordings"], 3);

    // A new index finds the same.
    bench.run(&["archive", "check"]).expect_code(0);
    std::fs::remove_dir_all(bench.archive().join("index")).expect("removed");
    assert_eq!(ids(&["--filter", "tag=claim%"]), all[1..2]);
    assert_eq!(ids(&["--filter", "held=yes"]), all[2..3]);
    assert_eq!(ids(&["--filter", "deleted=yes"]), all[3..]);
}

#[test]
fn a_filter_that_cannot_be_meant_is_refused_with_what_would_be_right() {
    let bench = Bench::new();
    for (words, hints) in [
        (["--extension", "1001,2003-1005"], ["character 6", "1005-2003"]),
        (["--filter", "trunk=1,,2"], ["character 3", "nothing"]),
        (["--filter", "held=perhaps"], ["perhaps", "yes"]),
        (["--filter", "tags=x"], ["tags", "tag"]),
        (["--filter", "extension"], ["FIELD=PATTERN", "extension=1000-1005"]),
        (["--call", ""], ["--call", "empty"]),
    ] {
        let run = bench.run(&["archive", "list", words[0], words[1]]).expect_code(2);
        let said = run.stderr();
        assert!(hints.iter().all(|hint| said.contains(hint)), "{words:?}: {said}");
    }
}
