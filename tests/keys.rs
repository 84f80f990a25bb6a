//! `archive key`, end to end: escrow, passphrase, recovery sheet, rotation, and a process that leaves no core behind.

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use common::{Bench, Run, earwitness};
use serde_json::Value;
use xtask::load::Scenario;

fn scenario(seed: u64) -> Scenario {
    Scenario { seed, calls: 2, talk_ms: 1_500, ..Scenario::default() }
}

/// An archive with some recordings, and what they export to.
fn recorded() -> (Bench, Vec<(String, Vec<u8>)>) {
    let bench = Bench::new();
    let (capture, _) = bench.capture("a.pcap", &scenario(1));
    bench.record(&capture);
    let exports = exports(&bench, &[]);
    assert!(!exports.is_empty());
    (bench, exports)
}

/// Runs the program with variables of the environment set to paths.
fn run_with(bench: &Bench, env: &[(&str, &Path)], words: &[&str]) -> Run {
    let mut command = earwitness();
    command.args(words).env("EARWITNESS_ARCHIVE", bench.archive());
    Run(command.envs(env.iter().copied()).output().expect("the program runs"))
}

/// Every recording as the program exports it.
fn exports(bench: &Bench, env: &[(&str, &Path)]) -> Vec<(String, Vec<u8>)> {
    let rows = run_with(bench, env, &["archive", "list", "--json"]).expect_code(0).json();
    let ids = rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned());
    ids.map(|id| {
        let wav = run_with(bench, env, &["archive", "export", &id, "-o", "-"]).expect_code(0).0.stdout;
        (id, wav)
    })
    .collect()
}

fn status(bench: &Bench) -> Value {
    bench.run(&["archive", "key", "status", "--json"]).expect_code(0).json().remove(0)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn file(bench: &Bench, name: &str, content: &str) -> std::path::PathBuf {
    let path = bench.path(name);
    fs::write(&path, content).expect("written");
    path
}

#[test]
fn keys_rotate_and_everything_plays_as_before() {
    let (bench, before) = recorded();
    let old = status(&bench);
    let dry = bench.run(&["archive", "key", "rotate"]).expect_code(0).stdout();
    assert!(dry.contains("would make a new archive key"), "{dry}");
    assert_eq!(status(&bench), old, "without --yes nothing happens");
    // As a crash leaves it that came while the key was written.
    let left = bench.archive().join("keys/unwrap.key.new");
    fs::copy(bench.archive().join("keys/unwrap.key"), &left).expect("copied");
    let rotated = bench.run(&["archive", "key", "rotate", "--yes", "--json"]).expect_code(0).json().remove(0);
    assert_eq!(rotated["finished"], true);
    assert_eq!(rotated["rewrapped"], before.len());
    assert!(!left.exists(), "the old key has another copy");
    let new = status(&bench);
    assert_ne!(new["key_id"], old["key_id"]);
    assert_ne!(new["months"][0]["key_id"], old["months"][0]["key_id"]);
    assert_eq!(exports(&bench, &[]), before);
    bench.run(&["archive", "verify"]).expect_code(0);
    bench.run(&["archive", "check"]).expect_code(0);
    let ledger = fs::read_to_string(bench.archive().join("ledger/keys.jsonl")).expect("read");
    for what in ["archive key", "month key made", "rotation begun", "rotated"] {
        assert!(ledger.contains(&format!("\"what\":\"{what}\"")), "{what}: {ledger}");
    }
}

#[test]
fn no_key_is_destroyed_while_a_months_file_is_missing() {
    let (bench, before) = recorded();
    let months = bench.archive().join("keys/months");
    let month = fs::read_dir(&months).expect("listed").next().expect("a file").expect("an entry").path();
    let away = bench.path("month.json");
    fs::rename(&month, &away).expect("moved");
    let run = bench.run(&["archive", "key", "rotate", "--yes"]);
    assert!(!run.0.status.success(), "{}", run.stdout());
    fs::rename(&away, &month).expect("put back");
    bench.run(&["archive", "key", "rotate", "--yes"]).expect_code(0);
    assert_eq!(exports(&bench, &[]), before);
}

#[test]
fn a_box_that_only_records_is_heard_by_the_officer() {
    let (bench, before) = recorded();
    let (officer, public) = (bench.path("officer.key"), bench.path("officer.key.pub"));
    bench.run(&["archive", "key", "new", text(&officer)]).expect_code(0);
    let mode = fs::metadata(&officer).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    bench.run(&["archive", "key", "new", text(&officer)]).expect_code(1);
    bench.run(&["archive", "key", "add", text(&public), "--name", "M. Weber"]).expect_code(0);
    let with = status(&bench);
    assert_eq!(with["recipients"][0]["name"], "M. Weber");
    assert_eq!(with["months"][0]["sealed_to"].as_array().expect("a list").len(), 2);

    // The private key leaves the box, which goes on recording and cannot listen.
    let unwrap = bench.archive().join("keys/unwrap.key");
    fs::rename(&unwrap, bench.path("away")).expect("moved");
    let (capture, _) = bench.capture("b.pcap", &scenario(2));
    bench.record(&capture);
    let id = &before[0].0;
    let refused = bench.run(&["archive", "export", id, "-o", "-"]).expect_code(12).stderr();
    assert!(refused.contains("unwrap.key"), "{refused}");
    bench.run(&["archive", "verify"]).expect_code(0);
    bench.run(&["archive", "key", "rotate", "--yes"]).expect_code(12);
    assert_eq!(status(&bench)["private"], "absent");

    // The officer's key in its place opens the old and the new.
    fs::copy(&officer, &unwrap).expect("copied");
    let heard = exports(&bench, &[]);
    assert!(heard.len() > before.len() && before.iter().all(|export| heard.contains(export)));
    bench.run(&["archive", "check"]).expect_code(0);
    let refused = bench.run(&["archive", "key", "rotate", "--yes"]).expect_code(12).stderr();
    assert!(
        refused.contains(with["key_id"].as_str().expect("an id")),
        "not the archive's own key: {refused}"
    );
    fs::rename(bench.path("away"), &unwrap).expect("moved");

    // Removed, it opens nothing.
    let id = with["recipients"][0]["key_id"].as_str().expect("an id").to_owned();
    let dry = bench.run(&["archive", "key", "remove", &id[..6]]).expect_code(0).stdout();
    assert!(dry.contains("would close") && status(&bench)["recipients"][0]["key_id"] == id.as_str());
    bench.run(&["archive", "key", "remove", &id[..6], "--yes"]).expect_code(0);
    assert_eq!(status(&bench).get("recipients"), Some(&Value::Array(vec![])));
    fs::copy(&officer, &unwrap).expect("copied");
    bench.run(&["archive", "export", &before[0].0, "-o", "-"]).expect_code(12);
    bench.run(&["archive", "key", "remove", "00"]).expect_code(13);
    let own = with["key_id"].as_str().expect("an id");
    let last = bench.run(&["archive", "key", "remove", own, "--yes"]).expect_code(13).stderr();
    assert!(last.contains("rotate"), "{last}");
}

#[test]
fn another_boxs_public_key_is_a_recipient_too_and_nonsense_is_not() {
    let (bench, _) = recorded();
    let (other, _) = recorded();
    let public = other.run(&["archive", "key", "export-public"]).expect_code(0).stdout();
    bench.run(&["archive", "key", "add", text(&file(&bench, "other.pub", &public))]).expect_code(0);
    assert_eq!(status(&bench)["recipients"][0]["key_id"], status(&other)["key_id"]);
    assert_eq!(status(&bench)["recipients"][0]["name"], "other");
    let own = bench.run(&["archive", "key", "export-public"]).expect_code(0).stdout();
    bench.run(&["archive", "key", "add", text(&file(&bench, "own.pub", &own))]).expect_code(13);
    for nonsense in ["", "{}", &public.replace("key_id\": \"", "key_id\": \"0")] {
        bench.run(&["archive", "key", "add", text(&file(&bench, "n.pub", nonsense))]).expect_code(1);
    }
}

#[test]
fn a_passphrase_seals_the_private_key() {
    let (bench, before) = recorded();
    let (one, two) = (file(&bench, "one", "first words\n"), file(&bench, "two", "other words\n"));
    let unwrap = bench.archive().join("keys/unwrap.key");
    let private = fs::read_to_string(&unwrap).expect("read");
    run_with(&bench, &[("EARWITNESS_PASSPHRASE_FILE", &one)], &["archive", "key", "passphrase"])
        .expect_code(0);
    assert!(!unwrap.exists());
    for file in fs::read_dir(bench.archive().join("keys")).expect("a folder") {
        let path = file.expect("an entry").path();
        if path.is_file() {
            assert!(!fs::read_to_string(&path).expect("text").contains(private.trim()), "{}", path.display());
        }
    }
    assert_eq!(status(&bench)["private"], "passphrase");
    let id = &before[0].0;
    let closed = bench.run(&["archive", "export", id, "-o", "-"]).expect_code(12).stderr();
    assert!(closed.contains("EARWITNESS_PASSPHRASE_FILE"), "{closed}");
    let wrong =
        run_with(&bench, &[("EARWITNESS_PASSPHRASE_FILE", &two)], &["archive", "export", id, "-o", "-"]);
    let wrong = wrong.expect_code(12).stderr();
    assert!(wrong.contains("the passphrase does not open"), "{wrong}");
    let open = [("EARWITNESS_PASSPHRASE_FILE", one.as_path())];
    assert_eq!(exports(&bench, &open), before);
    let verified = bench.run(&["archive", "verify"]).expect_code(0).stdout();
    assert!(verified.contains("not opened"), "{verified}");
    let (capture, _) = bench.capture("b.pcap", &scenario(2));
    bench.record(&capture);

    // Another one, then a rotation under it, then none.
    let change = [open[0], ("EARWITNESS_NEW_PASSPHRASE_FILE", two.as_path())];
    run_with(&bench, &change, &["archive", "key", "passphrase"]).expect_code(0);
    run_with(&bench, &open, &["archive", "key", "rotate", "--yes"]).expect_code(12);
    let open = [("EARWITNESS_PASSPHRASE_FILE", two.as_path())];
    run_with(&bench, &open, &["archive", "key", "rotate", "--yes"]).expect_code(0);
    assert_eq!(status(&bench)["private"], "passphrase");
    run_with(&bench, &open, &["archive", "key", "passphrase", "--remove"]).expect_code(0);
    assert_eq!(status(&bench)["private"], "file");
    let after = exports(&bench, &[]);
    assert!(before.iter().all(|export| after.contains(export)));
    bench.run(&["archive", "check"]).expect_code(0);
}

#[test]
fn a_sheet_brings_the_private_key_back() {
    let (bench, before) = recorded();
    let sheet = bench.path("sheet.txt");
    bench.run(&["archive", "key", "recovery-sheet", "-o", text(&sheet)]).expect_code(0);
    assert_eq!(fs::metadata(&sheet).expect("there").permissions().mode() & 0o777, 0o600);
    bench.run(&["archive", "key", "recovery-sheet", "-o", text(&sheet)]).expect_code(1);
    let printed = fs::read_to_string(&sheet).expect("read");
    let keys = bench.archive().join("keys");
    fs::remove_file(keys.join("unwrap.key")).expect("lost");
    bench.run(&["archive", "export", &before[0].0, "-o", "-"]).expect_code(12);

    let line = printed.lines().find(|line| line.trim_start().starts_with("K3")).expect("a line");
    // Its first digit becomes another one.
    let digits = line.trim_start().strip_prefix("K3").expect("its name").trim_start();
    let other = if digits.starts_with('0') { "1" } else { "0" };
    let mistyped = printed.replace(digits, &format!("{other}{}", &digits[1..]));
    let refused = bench.run(&["archive", "key", "restore", text(&file(&bench, "m", &mistyped))]);
    let refused = refused.expect_code(12).stderr();
    assert!(refused.contains("line K3 is mistyped"), "{refused}");

    let mut child = earwitness()
        .args(["archive", "key", "restore", "-"])
        .env("EARWITNESS_ARCHIVE", bench.archive())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let typed = printed.to_lowercase().replace("  ", " ");
    child.stdin.take().expect("a pipe").write_all(typed.as_bytes()).expect("written");
    assert!(child.wait().expect("ended").success());
    assert_eq!(exports(&bench, &[]), before);
    bench.run(&["archive", "check"]).expect_code(0);

    // Also where nobody knows the passphrase any more, and where even the public keys are gone.
    let words = file(&bench, "words", "forgotten");
    run_with(&bench, &[("EARWITNESS_PASSPHRASE_FILE", &words)], &["archive", "key", "passphrase"])
        .expect_code(0);
    fs::remove_file(keys.join("public.json")).expect("lost");
    bench.run(&["archive", "key", "restore", text(&sheet)]).expect_code(0);
    assert_eq!(status(&bench)["private"], "file");
    assert_eq!(exports(&bench, &[]), before);

    // A sheet from before a rotation is told so.
    bench.run(&["archive", "key", "rotate", "--yes"]).expect_code(0);
    let old = bench.run(&["archive", "key", "restore", text(&sheet)]).expect_code(12).stderr();
    assert!(old.contains("the sheet"), "{old}");
    assert_eq!(exports(&bench, &[]), before);
}

#[test]
fn a_crash_of_the_program_writes_no_memory_to_a_file() {
    let bench = Bench::new();
    // The shell gives it what it may have, or a test under `ulimit -c 0` would say nothing.
    let mut child = std::process::Command::new("sh")
        .args([
            "-c",
            "ulimit -S -c \"$(ulimit -H -c)\"; exec \"$0\" record -r -",
            env!("CARGO_BIN_EXE_earwitness"),
        ])
        .env("EARWITNESS_ARCHIVE", bench.archive())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let limits = format!("/proc/{}/limits", child.id());
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let mut core = Vec::new();
    while core != ["0", "0"] && std::time::Instant::now() < until {
        let limits = fs::read_to_string(&limits).expect("it waits for its input");
        let line = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a line");
        core = line.split_whitespace().skip(4).take(2).map(str::to_owned).collect();
    }
    assert_eq!(core, ["0", "0"], "soft and hard limit");
    drop(child.stdin.take());
    child.wait().expect("ended");
}
