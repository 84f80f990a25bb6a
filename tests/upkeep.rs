//! What people do to an archive over the years, by the command line: tags, notes, holds, deletions, and the proof of it.

mod common;

use std::fs;
use std::path::PathBuf;

use common::Bench;
use serde_json::Value;
use xtask::load::{Direction, Scenario};

/// An archive with three recordings whose checkpoints are copied out; the configuration that says so.
fn filled() -> (Bench, PathBuf, Vec<String>) {
    let bench = Bench::new();
    let (outside, config) = (bench.path("outside"), bench.path("site.toml"));
    fs::create_dir(&outside).expect("made");
    fs::write(&config, format!("[evidence]\ncheckpoints = [{outside:?}]\n")).expect("written");
    let scenario =
        Scenario { calls: 3, talk_ms: 1_000, direction: Direction::Inbound, ..Scenario::default() };
    let (capture, _) = bench.capture("calls.pcap", &scenario);
    let words = ["record", "-c", config.to_str().expect("a path"), "-r", capture.to_str().expect("a path")];
    bench.run(&words).expect_code(0);
    let rows = bench.run(&["archive", "list", "--json"]).expect_code(0).json();
    let ids = rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect();
    (bench, config, ids)
}

#[test]
fn what_is_held_is_not_deleted_and_what_is_deleted_leaves_a_receipt() {
    let (bench, _, ids) = filled();
    let id = ids[0].as_str();
    bench.run(&["archive", "hold", id, "--name", "case 7", "--why", "inquiry"]).expect_code(0);
    bench.run(&["archive", "hold", id, "--name", "case 8", "--why", "another"]).expect_code(0);
    bench.run(&["archive", "delete", id, "--why", "old", "--yes"]).expect_code(13);
    bench.run(&["archive", "release", id, "--name", "case 7", "--why", "closed"]).expect_code(0);
    let run = bench.run(&["archive", "delete", id, "--why", "old", "--yes"]).expect_code(13);
    assert!(run.stderr().contains("case 8"), "holds stack: {}", run.stderr());
    bench.run(&["archive", "release", id, "--name", "case 8", "--why", "closed"]).expect_code(0);

    let shown = bench.run(&["archive", "delete", id, "--why", "old", "--keep-facts"]).expect_code(0);
    assert!(shown.stdout().contains("nothing was deleted"), "{}", shown.stdout());
    bench.run(&["archive", "delete", id, "--why", "old", "--keep-facts", "--yes"]).expect_code(0);
    bench.run(&["archive", "delete", &ids[1], "--why", "asked to", "--yes"]).expect_code(0);
    bench.run(&["archive", "delete", id, "--why", "again", "--keep-facts", "--yes"]).expect_code(13);

    let rows = bench.run(&["archive", "list", "--json"]).expect_code(0).json();
    assert_eq!(rows.len(), 2, "one is gone altogether");
    let husk = rows.iter().find(|row| row["id"] == *id).expect("one stays listed without audio");
    assert_eq!((&husk["deleted"]["why"], &husk["bytes"]), (&"old".into(), &0.into()));
    let wav = bench.path("x.wav");
    let export = bench.run(&["archive", "export", id, "-o", wav.to_str().expect("a path")]);
    assert!(!export.0.status.success() && !wav.exists());

    let verified = bench.run(&["archive", "verify"]).expect_code(0);
    assert!(
        verified.stdout().contains("1 recordings intact")
            && verified.stdout().contains("2 deleted with a receipt")
    );
    bench.run(&["archive", "check"]).expect_code(0);
    // The index is only a cache of all that.
    fs::remove_dir_all(bench.archive().join("index")).expect("removed");
    // Hashes of files come when somebody has read them.
    let unhashed = |mut rows: Vec<Value>| {
        rows.iter_mut().for_each(|row| row["sha256"] = "".into());
        rows
    };
    let at_once = bench.run(&["archive", "list", "--json"]).expect_code(0).json();
    assert_eq!(unhashed(at_once), unhashed(rows));
    let log = bench.run(&["archive", "log"]).expect_code(0).stdout();
    for line in ["hold case 7: inquiry", "from the hold case 8", "deleted", "asked to"] {
        assert!(log.contains(line), "{line}: {log}");
    }
}

#[test]
fn tags_and_notes_are_on_the_recording_and_in_the_log() {
    let (bench, _, ids) = filled();
    bench.run(&["archive", "tag", &ids[0], &ids[1], "--tag", "complaint"]).expect_code(0);
    bench.run(&["archive", "tag", &ids[1], "--tag", "complaint", "--remove"]).expect_code(0);
    bench
        .run(&["archive", "note", &ids[0], "--text", "asks for\nthe contract", "--at-ms", "500"])
        .expect_code(0);
    let row = bench.run(&["archive", "show", &ids[0], "--json"]).expect_code(0).json().remove(0);
    assert_eq!((&row["tags"][0], &row["notes"][0]["at_ms"]), (&"complaint".into(), &500.into()));
    let other = bench.run(&["archive", "show", &ids[1], "--json"]).expect_code(0).json().remove(0);
    assert_eq!(other["tags"].as_array().map(Vec::len), Some(0));
    let events = bench.run(&["archive", "log", "--json"]).expect_code(0).json();
    let kinds: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap_or_default()).collect();
    assert_eq!(kinds, ["log-begun", "tagged", "tagged", "untagged", "noted"]);
    assert!(!bench.run(&["archive", "log"]).stdout().contains("asks for\nthe"), "one line each");
}

#[test]
fn an_archive_put_back_to_an_older_state_is_found_by_its_checkpoints() {
    let (bench, config, ids) = filled();
    let (config, older) = (config.to_str().expect("a path"), bench.path("older"));
    let copy = std::process::Command::new("cp").arg("-a").arg(bench.archive()).arg(&older).status();
    assert!(copy.is_ok_and(|status| status.success()));
    bench.run(&["archive", "tag", &ids[0], "--tag", "complaint", "-c", config]).expect_code(0);
    let verified = bench.run(&["archive", "verify", "-c", config]).expect_code(0);
    assert!(verified.stdout().contains("kept elsewhere"), "{}", verified.stdout());
    let note = bench.path("note");
    bench.run(&["archive", "checkpoint", "-o", note.to_str().expect("a path")]).expect_code(0);

    fs::remove_dir_all(bench.archive()).expect("removed");
    fs::rename(&older, bench.archive()).expect("put back");
    bench.run(&["archive", "verify"]).expect_code(0);
    let run = bench.run(&["archive", "verify", "-c", config]).expect_code(5);
    assert!(run.stdout().contains("an older state was put back"), "{}", run.stdout());
    let run =
        bench.run(&["archive", "verify", "--checkpoint", note.to_str().expect("a path")]).expect_code(5);
    assert!(run.stdout().contains("an older state was put back"), "{}", run.stdout());
    let public = bench.archive().join("keys/public.json");
    bench.run(&["archive", "verify", "--public-key", public.to_str().expect("a path")]).expect_code(0);
    let run = bench.run(&["archive", "verify", "--public-key", config]).expect_code(1);
    assert!(run.stderr().contains("no copy of keys/public.json"), "{}", run.stderr());
}

#[test]
fn retention_shows_what_would_go_waits_for_the_grace_and_asks_before_it_takes_more_than_half() {
    let (bench, _, ids) = filled();
    let config = |grace: &str| {
        let path = bench.path("rules.toml");
        let rule = "[[retention.rule]]\nname = \"short\"\naudio = \"1d\"\ndata = \"1d\"\n";
        fs::write(&path, format!("[retention]\ngrace = \"{grace}\"\n{rule}")).expect("written");
        path.display().to_string()
    };
    let run = bench.run(&["archive", "prune"]).expect_code(0);
    assert!(run.stdout().contains("nothing is ever deleted"), "{}", run.stdout());
    let waiting = bench.run(&["archive", "prune", "--yes", "-c", &config("24h")]).expect_code(0);
    assert!(waiting.stdout().contains("grace of new rules"), "{}", waiting.stdout());
    assert_eq!(bench.run(&["archive", "list", "--json"]).json().len(), 3);

    let config = config("immediate");
    bench.run(&["archive", "hold", &ids[2], "--why", "inquiry"]).expect_code(0);
    let shown = bench.run(&["archive", "prune", "-c", &config]).expect_code(0);
    assert!(shown.stdout().contains("audio of 2 recordings") && shown.stdout().contains("legal holds"));
    assert!(shown.stdout().contains("nothing was deleted"), "{}", shown.stdout());
    let refused = bench.run(&["archive", "prune", "--yes", "-c", &config]).expect_code(13);
    assert!(refused.stderr().contains("--more-than-half"), "{}", refused.stderr());
    assert_eq!(bench.run(&["archive", "list", "--json"]).json().len(), 3);
    bench.run(&["archive", "prune", "--yes", "--more-than-half", "-c", &config]).expect_code(0);
    let rows = bench.run(&["archive", "list", "--json"]).expect_code(0).json();
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0]["id"], &rows[0]["held"]), (&ids[2].as_str().into(), &true.into()));
    // The calls of what went are gone with it.
    assert_eq!(bench.run(&["calls", "--json"]).expect_code(0).json().len(), 1);
    let verified = bench.run(&["archive", "verify"]).expect_code(0);
    assert!(verified.stdout().contains("2 deleted with a receipt"), "{}", verified.stdout());
    let log = bench.run(&["archive", "log"]).expect_code(0).stdout();
    assert!(log.contains("put 1 rules of retention in force") && log.contains("rule short"), "{log}");
}

#[test]
fn an_export_proves_itself_without_the_archive() {
    let (bench, config, ids) = filled();
    let path = |name: &str| bench.path(name).to_str().expect("a path").to_owned();
    let (zip, key, config) =
        (path("case.zip"), path("public.json"), config.to_str().expect("a path").to_owned());
    let words = ["archive", "export", &ids[0], &ids[1], "--sealed", "-c", &config, "-o", &zip];
    bench.run(&words).expect_code(0);
    fs::copy(bench.archive().join("keys/public.json"), &key).expect("a copy");
    let note = fs::read_dir(bench.path("outside")).expect("a folder").next().expect("a copy").expect("read");
    let note = note.path().to_str().expect("a path").to_owned();
    fs::rename(bench.archive(), bench.path("gone")).expect("moved");

    let words = ["archive", "verify", "--bundle", &zip, "--public-key", &key, "--checkpoint", &note];
    let said = bench.run(&words).expect_code(0).stdout();
    assert!(said.contains("2 of 2 recordings are named by the archive's ledger"), "{said}");
    assert!(said.contains("1 checkpoints kept elsewhere are of the same ledger"), "{said}");
    let said = bench.run(&["archive", "verify", "--bundle", &zip]).expect_code(0).stdout();
    assert!(said.contains("this proves only that the bundle agrees with itself"), "{said}");
    let row = bench.run(&["archive", "verify", "--bundle", &zip, "--json"]).expect_code(0).json().remove(0);
    assert_eq!(
        (&row["holds"], &row["trusted_key"], &row["sealed"]),
        (&true.into(), &false.into(), &2.into())
    );

    let mut bytes = fs::read(&zip).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&zip, &bytes).expect("written");
    let said = bench.run(&words).expect_code(5).stdout();
    assert!(said.contains("this proves nothing"), "{said}");
    fs::write(&zip, b"no ZIP at all").expect("written");
    bench.run(&["archive", "verify", "--bundle", &zip]).expect_code(5);
    bench.run(&["archive", "verify", "--bundle", &path("not there")]).expect_code(1);
    bench.run(&["archive", "verify", &ids[0], "--bundle", &zip]).expect_code(2);
}

#[test]
fn a_file_comes_in_with_the_dat_file_beside_it_and_goes_out_as_it_was() {
    let (bench, _, ids) = filled();
    let path = |name: &str| bench.path(name).to_str().expect("a path").to_owned();
    let (zip, wav, out) = (path("one.zip"), path("one.wav"), path("two.wav"));
    bench.run(&["archive", "export", &ids[0], "--format", "zip", "-o", &zip]).expect_code(0);
    bench.run(&["archive", "export", &ids[0], "-o", &wav]).expect_code(0);
    let refused = bench.run(&["archive", "import", &wav]).expect_code(1).stderr();
    assert!(refused.contains("--extension"), "{refused}");
    fs::write(
        bench.path("one.dat"),
        "[CLI:5550100]\r\n[Extension:2099]\r\n[Direction:Inbound]\r\n[StartTime:26/04/2013 12:35:04]\r\n",
    )
    .expect("written");
    let row = bench.run(&["archive", "import", &wav, "--json"]).expect_code(0).json().remove(0);
    let id = row["id"].as_str().expect("an id").to_owned();
    let row = bench.run(&["archive", "show", &id, "--json"]).expect_code(0).json().remove(0);
    let text = row.to_string();
    assert!(text.contains("\"extension\":\"2099\"") && text.contains("2013-04-26T12:35:04"), "{text}");
    assert!(text.contains("\"source\":\"import\"") && text.contains("imported by "), "{text}");
    bench.run(&["archive", "export", &id, "-o", &out]).expect_code(0);
    assert!(fs::read(&wav).expect("read") == fs::read(&out).expect("read"), "byte for byte");
    let log = bench.run(&["archive", "log"]).expect_code(0).stdout();
    assert!(log.contains("imported") && log.contains("one.wav"), "{log}");
    let said = bench.run(&["archive", "import", &wav, &zip, "--extension", "1"]).expect_code(3).stderr();
    assert!(said.contains("one.zip"), "{said}");
    let said = bench.run(&["archive", "import", &zip, &zip, "--extension", "1"]).expect_code(1).stderr();
    assert!(said.contains("none of the 2 files"), "{said}");
    let said = bench.run(&["archive", "import", &path("not there.wav")]).expect_code(1).stderr();
    assert!(said.contains("not there.wav") && said.contains("No such file"), "{said}");
    bench.run(&["archive", "verify"]).expect_code(0);
}

#[test]
fn a_single_export_has_a_dat_file_beside_it_on_demand_and_other_formats_are_files_too() {
    let (bench, _, ids) = filled();
    let path = |name: &str| bench.path(name).to_str().expect("a path").to_owned();
    let id = ids[0].as_str();
    bench
        .run(&["archive", "export", id, "--dat", "-o", &path("call.flac"), "--format", "flac"])
        .expect_code(0);
    let text = fs::read_to_string(bench.path("call.dat")).expect("beside it");
    let lines: Vec<&str> = text.split_terminator("\r\n").collect();
    assert_eq!((lines.len(), lines[11]), (30, "[LocalRecordingPath:call.flac]"));
    bench.run(&["archive", "export", id, "--dat", "-o", &path("call.dat")]).expect_code(2);
    bench.run(&["archive", "export", id, "--dat", "-o", "-"]).expect_code(2);
    bench.run(&["archive", "export", id, "--dat", "--format", "zip", "-o", &path("x.zip")]).expect_code(2);
    bench.run(&["archive", "export", id, "--sealed", "-o", &path("x.wav")]).expect_code(2);

    for (format, magic) in [("flac", &b"fLaC"[..]), ("ogg", b"OggS"), ("vcon", b"{\"payload\":")] {
        let file = path(format);
        bench.run(&["archive", "export", id, "--format", format, "-o", &file]).expect_code(0);
        assert!(fs::read(&file).expect("read").starts_with(magic), "{format}");
    }
    let two = bench.run(&["archive", "export", id, &ids[1], "--format", "vcon", "-o", &path("x")]);
    assert!(two.expect_code(2).stderr().contains("one recording"));
    let zip = path("two.zip");
    bench.run(&["archive", "export", id, &ids[1], "--format", "ogg", "-o", &zip]).expect_code(0);
    bench.run(&["archive", "verify", "--bundle", &zip]).expect_code(0);
}
