//! Archive locations by the command line: copies are made while it records, originals go, and everything is found and played as
//! before.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::Bench;
use xtask::load::{Direction, Scenario};

/// An archive with three recordings, copied to two folders; the configuration that says so.
fn filled() -> (Bench, PathBuf, Vec<String>) {
    let bench = Bench::new();
    let config = bench.path("site.toml");
    let mut text = String::from("[copies]\nkeep_local = \"1h\"\n");
    for name in ["nas", "far"] {
        fs::create_dir(bench.path(name)).expect("made");
        text += &format!("[[location]]\nname = {name:?}\nfolder = {:?}\n", bench.path(name));
    }
    fs::write(&config, text).expect("written");
    let scenario =
        Scenario { calls: 3, talk_ms: 1_000, direction: Direction::Inbound, ..Scenario::default() };
    let (capture, _) = bench.capture("calls.pcap", &scenario);
    bench.run(&["record", "-c", text_of(&config), "-r", text_of(&capture)]).expect_code(0);
    let rows = bench.run(&["archive", "list", "--json"]).expect_code(0).json();
    let ids = rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect();
    (bench, config, ids)
}

fn text_of(path: &Path) -> &str {
    path.to_str().expect("a path")
}

/// Sealed recordings under a folder, and stubs.
fn files(folder: &Path, ending: &str) -> usize {
    let mut count = 0;
    let mut folders = vec![folder.join("recordings")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path => count += usize::from(path.to_string_lossy().ends_with(ending)),
            }
        }
    }
    count
}

#[test]
fn copies_are_made_originals_go_and_everything_is_as_before() {
    let (bench, config, ids) = filled();
    let with_config = |words: &[&str]| {
        let mut all = words.to_vec();
        all.extend(["-c", text_of(&config)]);
        bench.run(&all)
    };
    let before = bench.path("before.wav");
    with_config(&["archive", "export", &ids[0], "-o", text_of(&before)]).expect_code(0);
    let run = with_config(&["archive", "copy"]).expect_code(0);
    assert!(run.stdout().contains("3 originals removed here"), "{}", run.stdout());
    assert_eq!(["nas", "far"].map(|name| files(&bench.path(name), ".wav")), [3, 3]);
    assert_eq!((files(&bench.archive(), ".wav"), files(&bench.archive(), ".moved")), (0, 3));

    let told = with_config(&["archive", "locations", "--json"]).expect_code(0).json();
    let summary = |i: usize| (told[i]["name"].clone(), told[i]["copies"].clone(), told[i]["missing"].clone());
    assert_eq!(
        [summary(0), summary(1)],
        [("nas".into(), 3.into(), 0.into()), ("far".into(), 3.into(), 0.into())]
    );
    let after = bench.path("after.wav");
    with_config(&["archive", "export", &ids[0], "-o", text_of(&after)]).expect_code(0);
    assert!(fs::read(&before).expect("read") == fs::read(&after).expect("read"), "it sounds as before");
    with_config(&["archive", "verify"]).expect_code(0);
    with_config(&["archive", "check"]).expect_code(0);
    let shown = with_config(&["archive", "show", &ids[0]]).expect_code(0);
    assert!(shown.stdout().contains("in archive locations alone"), "{}", shown.stdout());
    // Without the locations: told, not feared.
    let blind = bench.run(&["archive", "verify"]).expect_code(3);
    assert!(blind.stdout().contains("3 not looked at"), "{}", blind.stdout());
    let lost = bench.run(&["archive", "export", &ids[0], "-o", text_of(&after)]).expect_code(1);
    assert!(lost.stderr().contains("nas: not in the configuration"), "{}", lost.stderr());
    // A deletion reaches the copies.
    with_config(&["archive", "delete", &ids[0], "--why", "asked to", "--yes"]).expect_code(0);
    assert_eq!(["nas", "far"].map(|name| files(&bench.path(name), ".wav")), [2, 2]);
    let log = bench.run(&["archive", "log"]).expect_code(0);
    for words in ["recordings to nas", "removed the originals of 3 recordings", "removed 1 copies from far"] {
        assert!(log.stdout().contains(words), "{words}: {}", log.stdout());
    }
    bench.run(&["archive", "rebuild"]).expect_code(0);
    with_config(&["archive", "verify"]).expect_code(0);
}

#[test]
fn a_location_that_is_away_is_told_and_the_other_one_has_it_all() {
    let (bench, config, _) = filled();
    bench.run(&["archive", "copy", "-c", text_of(&config)]).expect_code(0);
    fs::remove_dir_all(bench.path("far")).expect("removed");
    let run = bench.run(&["archive", "locations", "-c", text_of(&config)]).expect_code(3);
    assert!(run.stdout().contains("failing: ") && run.stdout().contains("nas"), "{}", run.stdout());
    bench.run(&["archive", "verify", "-c", text_of(&config)]).expect_code(0);
}

#[test]
fn a_key_that_others_can_read_and_a_bucket_without_one_are_refused() {
    let bench = Bench::new();
    let (config, key) = (bench.path("site.toml"), bench.path("s3.key"));
    let section = "[[location]]\nname = \"cloud\"\nbucket = \"b\"\n";
    fs::write(&config, section).expect("written");
    let capture = bench.capture("calls.pcap", &Scenario { calls: 1, talk_ms: 200, ..Scenario::default() }).0;
    bench.run(&["record", "-r", text_of(&capture)]).expect_code(0);
    let run = bench.run(&["archive", "copy", "-c", text_of(&config)]).expect_code(78);
    assert!(run.stderr().contains("name a key_file"), "{}", run.stderr());
    fs::write(&key, "id\nhunter2\n").expect("written");
    fs::write(&config, format!("{section}key_file = {key:?}\n")).expect("written");
    let run = bench.run(&["archive", "copy", "-c", text_of(&config)]).expect_code(78);
    assert!(run.stderr().contains("chmod 600") && !run.stderr().contains("hunter2"), "{}", run.stderr());
}
