//! Rules, modes, channels and the dial plan, from the configuration to the balance sheet.

use std::fs;

use serde_json::Value;
use xtask::load::{Direction, Person, Scenario};

mod common;
use common::Bench;

/// Four outbound calls of 2000 to 2003 that overlap, recorded by this configuration; the summary.
fn recorded(config: &str, change: impl FnOnce(&mut Scenario)) -> (Bench, Value) {
    let bench = Bench::new();
    let mut scenario =
        Scenario { calls: 4, talk_ms: 3_000, direction: Direction::Outbound, ..Scenario::default() };
    change(&mut scenario);
    let (capture, _) = bench.capture("calls.pcap", &scenario);
    let file = bench.path("earwitness.toml");
    fs::write(&file, config).expect("writes");
    let (file, capture) = (file.display().to_string(), capture.display().to_string());
    let summary =
        bench.run(&["record", "--json", "-c", &file, "-r", &capture]).expect_code(0).json().remove(0);
    (bench, summary)
}

fn rows(bench: &Bench, words: &[&str]) -> Vec<Value> {
    bench.run(&[words, &["--json"]].concat()).expect_code(0).json()
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}

#[test]
fn rules_and_modes_have_their_columns_and_the_columns_add_up() {
    let (bench, summary) = recorded(
        "[[record.device]]\nnumber = \"2003\"\nmode = \"never\"\n\
         [[record.device]]\nnumber = \"2002\"\nmode = \"discard_by_default\"\n\
         [[record.device]]\nnumber = \"2000-2001\"\n\
         [[record.exclude]]\ntype = \"endpoint\"\nvalue = \"2000\"\ndescription = \"the director\"\n",
        |_| {},
    );
    let of = |key: &str| summary[key].as_u64();
    assert_eq!(
        (of("seen"), of("recorded"), of("excluded"), of("device_not_recorded")),
        (Some(4), Some(1), Some(2), Some(1))
    );
    let calls = rows(&bench, &["calls"]);
    let reason = |from: &str| {
        calls.iter().find(|row| text(row, "from") == from).map(|row| text(row, "reason")).unwrap_or_default()
    };
    assert_eq!(reason("2000"), "exclusion 1: endpoint 2000 (the director)");
    assert!(
        reason("2002").ends_with("mode discard_by_default: nobody asked to keep it"),
        "{}",
        reason("2002")
    );
    assert!(reason("2003").contains("never recorded"), "{}", reason("2003"));
    // Of what was discarded no file is left, and the ledger has its receipt.
    let list = rows(&bench, &["archive", "list"]);
    assert_eq!(list.iter().map(|row| text(row, "extension")).collect::<Vec<_>>(), ["2001"]);
    let discarded = fs::read_dir(bench.archive().join("ledger"))
        .expect("a ledger")
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok())
        .filter(|lines| lines.contains("discarded") && lines.contains("nobody asked to keep it"))
        .count();
    assert!(discarded > 0);
    bench.run(&["archive", "verify"]).expect_code(0);
}

#[test]
fn why_prints_each_step_of_the_judgement() {
    let (bench, _) = recorded(
        "[record]\nexclude_internal = true\n\
         [[record.include]]\ntype = \"endpoint\"\nvalue = \"2001\"\n\
         [[record.exclude]]\ntype = \"direction\"\nvalue = \"outbound\"\n",
        |_| {},
    );
    let calls = rows(&bench, &["calls"]);
    let why = |from: &str| {
        let call = calls.iter().find(|row| text(row, "from") == from).map(|row| text(row, "call"));
        bench.run(&["calls", "--why", call.expect("a call")]).expect_code(0).stdout()
    };
    let excluded = why("2000");
    for step in [
        "2000: recorded devices [endpoint 2000]: every extension is recorded, mode always",
        "2000: exclude internal [direction outbound]: goes on",
        "2000: inclusions: none of 1 matches",
        "2000: exclusion 1 [direction outbound]: excluded: direction outbound",
        "because: exclusion 1: direction outbound",
    ] {
        assert!(excluded.contains(step), "{step:?} is missing in:\n{excluded}");
    }
    assert!(why("2001").contains("2001: inclusion 1 [endpoint 2001]: recorded: endpoint 2001"));
    let missing = bench.run(&["calls", "--why", "nonesuch"]).expect_code(1).stderr();
    assert!(missing.contains("no call \"nonesuch\" runs"), "{missing}");
}

#[test]
fn with_one_channel_one_call_is_recorded_and_the_others_say_how_many_were_in_use() {
    let (bench, summary) = recorded("[record]\nchannels = 1\n", |_| {});
    assert_eq!((&summary["recorded"], &summary["no_channel"]), (&1.into(), &3.into()));
    let calls = rows(&bench, &["calls", "--outcome", "no_channel"]);
    assert!(calls.iter().all(|row| text(row, "reason") == "no channel was free: 1 of 1 were in use"));
}

#[test]
fn an_important_call_takes_the_channel_and_the_other_recording_ends_there_in_order() {
    let (whole, _) = recorded("", |_| {});
    // Newest first: the one that begins last is the important one.
    let last = text(&rows(&whole, &["archive", "list"])[0], "extension").to_owned();
    let config = |overload| {
        format!(
            "[record]\ndevices = \"2000-2003\"\nchannels = 1\noverload = \"{overload}\"\n\
             [[record.device]]\nnumber = \"{last}\"\npriority = 1\n"
        )
    };
    let length = |bench: &Bench, extension: &str| {
        let list = rows(bench, &["archive", "list", "--extension", extension]);
        list.first().and_then(|row| row["duration_ms"].as_u64())
    };
    let (bench, summary) = recorded(&config("take_from_least_important"), |_| {});
    assert_eq!(length(&bench, &last), length(&whole, &last), "the important one is whole");
    let cut: Vec<Value> = rows(&bench, &["calls", "--outcome", "recorded"])
        .into_iter()
        .filter(|row| {
            text(row, "reason").contains("its channel was taken by a call of priority 1, its own is 5")
        })
        .collect();
    assert_eq!(cut.len(), 1, "{summary}");
    let of = text(&cut[0], "from");
    assert!(length(&bench, of) < length(&whole, of), "{of} ends early");
    let state = rows(&bench, &["archive", "list", "--extension", of]);
    assert_eq!(text(&state[0], "state"), "complete");
    bench.run(&["archive", "verify"]).expect_code(0);
    let (bench, _) = recorded(&config("refuse"), |_| {});
    assert_eq!(length(&bench, &last), None);
}

/// 2001 calls by way of a PBX, which tells the trunk who calls: recorded from the frames that pass this filter; the summary.
fn through_a_pbx(filter: &[&str]) -> (Bench, Value) {
    let bench = Bench::new();
    let file = bench.path("earwitness.toml");
    let site = "[site]\nextensions = \"2001\"\npbx = [\"192.0.2.5\"]\ntrunks = [\"192.0.2.22\"]\n";
    fs::write(&file, site).expect("writes");
    let (file, capture) = (
        file.display().to_string(),
        format!("{}/pcaps/b2bua-media/capture.pcap", env!("CARGO_MANIFEST_DIR")),
    );
    let words = [&["record", "--json", "-c", &file, "-r", &capture, "--"], filter].concat();
    let summary = bench.run(&words).expect_code(0).json().remove(0);
    (bench, summary)
}

#[test]
fn a_call_through_a_pbx_is_in_one_recording_and_has_a_line_for_each_leg() {
    let (bench, summary) = through_a_pbx(&[]);
    let of = |key: &str| summary[key].as_u64();
    assert_eq!((of("seen"), of("recorded"), of("device_not_recorded")), (Some(2), Some(1), Some(1)));
    let list = rows(&bench, &["archive", "list"]);
    assert_eq!(list.iter().map(|row| text(row, "extension")).collect::<Vec<_>>(), ["2001"]);
    assert_eq!(list[0]["segment"], 1, "the phone's own leg");
    // A recorder at the trunk has nothing else.
    let (bench, summary) = through_a_pbx(&["host", "192.0.2.22"]);
    assert_eq!((&summary["seen"], &summary["recorded"]), (&1.into(), &1.into()));
    assert_eq!(text(&rows(&bench, &["archive", "list"])[0], "extension"), "2001");
}

#[test]
fn outside_numbers_are_stored_as_the_dial_plan_cleans_them() {
    let remote = |number: &str| {
        let number = number.to_owned();
        move |scenario: &mut Scenario| {
            scenario.calls = 1;
            scenario.remote = Some(Person { number, name: String::new() });
        }
    };
    let plan = "[site.dial_plan]\noutbound_prefixes = [\"8\", \"8141\"]\n";
    let (bench, _) = recorded(plan, remote("814102079460018"));
    let row = rows(&bench, &["archive", "list"]).remove(0);
    assert_eq!((text(&row, "outside_number"), text(&row, "other_party")), ("02079460018", "814102079460018"));
    let (bench, _) = recorded(&format!("{plan}country = \"GB\"\n"), remote("802079460018"));
    let found = rows(&bench, &["archive", "list", "--filter", "outside_number=+44207946%"]);
    assert_eq!(found.len(), 1);
}

/// The extension keys 1 2 3 4 # while both sides send tones: `12` pauses, `4#` resumes.
#[test]
fn nothing_of_a_pause_by_key_code_is_in_audio_or_digits_and_the_length_is_the_calls() {
    let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/pcaps/digits/capture.pcap");
    let record = |config: &str| {
        let bench = Bench::new();
        let file = bench.path("earwitness.toml");
        fs::write(&file, config).expect("writes");
        bench.run(&["record", "--json", "-c", &file.display().to_string(), "-r", capture]).expect_code(0);
        let row = rows(&bench, &["archive", "list"]).remove(0);
        (bench, row)
    };
    let (whole, all) = record("");
    let (bench, row) = record("[[pause.code]]\nname = \"card\"\npause = \"12\"\nresume = \"4#\"\n");
    assert_eq!(row["duration_ms"], all["duration_ms"]);
    assert_eq!(all["dtmf"].as_array().map(Vec::len), Some(5));
    assert_eq!(row["dtmf"].as_array().map(Vec::len), Some(0), "two codes, and a digit within the pause");
    let pauses = row["pauses"].as_array().expect("a list");
    let [pause] = &pauses[..] else { panic!("{pauses:?}") };
    let ms = |key: &str| pause[key].as_u64().expect("milliseconds");
    // The last digit of the code is keyed from 2.247 s on for 160 ms; audio begins at 0.338 s. The other one ends at 3.607 s.
    assert!((1_909..=2_109).contains(&ms("start_ms")), "{pause}");
    assert!((3_229..=3_309).contains(&ms("end_ms")), "{pause}");
    let samples = |bench: &Bench| bench.exports().remove(0).1;
    let (before, after) = (samples(&whole), samples(&bench));
    let inside = (ms("start_ms") as usize * 8 + 1)..(ms("end_ms") as usize * 8);
    let loud = |audio: &xtask::wav::Audio, channel: usize, from: usize, to: usize| {
        audio.channels[channel][from..to].iter().filter(|&&sample| sample.unsigned_abs() > 8).count()
    };
    // A packet that was captured just before the pause may play up to 20 ms into it.
    let (from, to) = (inside.start + 20 * 8, inside.end);
    for channel in 0..2 {
        assert!(loud(&before, channel, from, to) > 1_000, "there is a tone to be left out");
        assert_eq!(loud(&after, channel, from, to), 0, "channel {channel}");
        assert!(loud(&after, channel, to + 8_000, to + 12_000) > 1_000, "it goes on behind the pause");
    }
    let shown = bench.run(&["archive", "show", text(&row, "id")]).expect_code(0).stdout();
    assert!(shown.lines().any(|line| line.starts_with("paused ") && line.contains(" to ")), "{shown}");
    bench.run(&["archive", "verify"]).expect_code(0);
}
