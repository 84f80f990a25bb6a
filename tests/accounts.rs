//! Accounts, roles and filters from the command line, and what the log has of it.

use std::io::Write;
use std::process::Stdio;

mod common;
use common::{Bench, Run, earwitness};

const GOOD: &str = "kupfer lampe neun seil";

fn bench() -> Bench {
    let bench = Bench::new();
    let (capture, _) = bench.capture("calls.pcap", &xtask::load::Scenario { calls: 1, ..Default::default() });
    bench.record(&capture);
    bench
}

fn with_stdin(bench: &Bench, words: &[&str], input: &str) -> Run {
    let mut child = earwitness()
        .args(words)
        .env("EARWITNESS_ARCHIVE", bench.archive())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
    Run(child.wait_with_output().expect("it ends"))
}

#[test]
fn an_administrator_is_made_edited_and_kept_and_the_log_says_who_did_it() {
    let bench = bench();
    let file = bench.path("password");
    std::fs::write(&file, format!("{GOOD}\n")).expect("written");
    let file = file.to_str().expect("a path");
    bench
        .run(&[
            "user",
            "add",
            "Ann",
            "--role",
            "administrator",
            "--password-file",
            file,
            "--email",
            "ann@example.com",
        ])
        .expect_code(0);
    with_stdin(&bench, &["user", "add", "bob", "--role", "User", "--password-stdin", "--must-change"], GOOD)
        .expect_code(0);
    let all = bench.run(&["user", "accounts", "--json"]).expect_code(0).json();
    let of = |row: usize, key: &str| all[row][key].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        (all.len(), of(0, "account"), of(0, "role"), of(0, "state")),
        (2, "Ann".into(), "Administrator".into(), "active".into())
    );
    assert_eq!((of(1, "account"), of(1, "state")), ("bob".into(), "must change password".into()));
    bench.run(&["user", "set", "BOB", "--role", "Supervisor", "--unit", "Claims"]).expect_code(0);
    bench.run(&["user", "disable", "bob"]).expect_code(0);
    assert_eq!(
        bench.run(&["user", "accounts", "bob", "--json"]).expect_code(0).json()[0]["state"],
        "disabled"
    );
    // The last one who administers stays.
    assert!(
        bench.run(&["user", "remove", "ann"]).expect_code(1).stderr().contains("nobody could administer")
    );
    let log = bench.run(&["archive", "log"]).expect_code(0).stdout();
    for line in [
        "account added Ann",
        "account changed bob: role \"Supervisor\", unit \"Claims\"",
        "account disabled bob",
    ] {
        assert!(log.contains(line), "{line}\n{log}");
    }
    assert!(!log.contains(GOOD));
    bench.run(&["archive", "verify"]).expect_code(0);
}

#[test]
fn a_password_that_is_not_taken_or_not_given_is_told_with_what_to_do() {
    let bench = bench();
    let weak = with_stdin(
        &bench,
        &["user", "add", "ann", "--role", "Administrator", "--password-stdin"],
        "password1234",
    );
    assert!(weak.expect_code(1).stderr().contains("common words"));
    let lost = bench.run(&["user", "password", "ann", "--password-file", "/nowhere/at/all"]);
    assert!(lost.expect_code(1).stderr().contains("/nowhere/at/all"));
    assert!(bench.run(&["user", "accounts"]).expect_code(0).stdout().contains("no accounts"));
}

#[test]
fn roles_profiles_and_filters_are_made_for_scripts() {
    let bench = bench();
    bench
        .run(&["role", "profile", "Listener", "--permission", "web_access", "--permission", "play"])
        .expect_code(0);
    bench
        .run(&["role", "filter", "No board", "--mode", "deny", "--where", "extension=1000-1005"])
        .expect_code(0);
    bench
        .run(&[
            "role",
            "set",
            "Auditor",
            "--profile",
            "listener",
            "--scope",
            "organization",
            "--filter",
            "no board",
        ])
        .expect_code(0);
    let roles = bench.run(&["role", "list", "--json"]).expect_code(0).json();
    let auditor = roles.iter().find(|role| role["name"] == "Auditor").expect("a role");
    assert_eq!((&auditor["profile"], &auditor["scope"]), (&"Listener".into(), &"organization".into()));
    assert_eq!(auditor["filters"][0], "No board");
    let profiles = bench.run(&["role", "profiles", "--json"]).expect_code(0).json();
    assert_eq!((profiles.len(), &profiles[0]["name"]), (8, &"Admin".into()));
    assert!(bench.run(&["role", "filter"]).expect_code(0).stdout().contains("extension=1000-1005"));
    bench.run(&["role", "profile", "Admin", "--permission", "play"]).expect_code(1);
    bench.run(&["role", "profile", "x", "--permission", "fly"]).expect_code(2);
    bench.run(&["role", "filter", "x", "--mode", "deny", "--where", "extension=2003-1005"]).expect_code(2);
    bench.run(&["role", "remove", "Auditor"]).expect_code(0);
}

#[test]
fn a_token_is_made_for_a_program_listed_and_taken_away() {
    let bench = bench();
    with_stdin(&bench, &["user", "add", "crm", "--role", "Supervisor", "--password-stdin"], GOOD)
        .expect_code(0);
    let words = ["token", "add", "board", "--account", "crm", "--right", "recordings", "--right", "status"];
    let made = bench.run(&[&words[..], &["--expires", "2200-01-01T00:00:00Z"]].concat()).expect_code(0);
    let secret = made.stdout().trim().to_owned();
    assert!(secret.starts_with("ewk_") && secret.len() == 47, "{secret}");
    assert!(bench.run(&words).expect_code(1).stderr().contains("already"));
    bench.run(&["token", "add", "x", "--account", "nobody", "--right", "status"]).expect_code(1);
    bench.run(&["token", "add", "x", "--account", "crm", "--right", "fly"]).expect_code(2);
    bench
        .run(&["token", "add", "x", "--account", "crm", "--right", "status", "--expires", "-1d"])
        .expect_code(2);
    let all = bench.run(&["token", "list", "--json"]).expect_code(0).json();
    assert_eq!((all.len(), &all[0]["token"], &all[0]["account"]), (1, &"board".into(), &"crm".into()));
    assert_eq!(all[0]["rights"], serde_json::json!(["status", "recordings"]));
    assert_eq!((&all[0]["expires"], &all[0]["expired"]), (&"2200-01-01T00:00:00.000Z".into(), &false.into()));
    assert!(!bench.run(&["token", "list"]).expect_code(0).stdout().contains(&secret[4..]));
    bench.run(&["token", "remove", "BOARD"]).expect_code(0);
    bench.run(&["token", "remove", "board"]).expect_code(1);
    let log = bench.run(&["archive", "log"]).expect_code(0).stdout();
    for line in ["token made board: account \"crm\", asks_as \"agent\"", "token removed board"] {
        assert!(log.contains(line), "{line}\n{log}");
    }
    assert!(!log.contains(&secret[4..]));
    bench.run(&["archive", "verify"]).expect_code(0);
}

#[test]
fn a_second_factor_is_begun_confirmed_and_taken_off() {
    let bench = bench();
    with_stdin(&bench, &["user", "add", "ann", "--role", "Administrator", "--password-stdin"], GOOD)
        .expect_code(0);
    let begun = bench.run(&["user", "totp", "ann"]).expect_code(0).stdout();
    let uri = begun.lines().nth(1).expect("an address");
    assert!(uri.starts_with("otpauth://totp/earwitness:ann?secret="), "{uri}");
    assert!(
        bench.run(&["user", "totp", "ann", "--code", "12345"]).expect_code(1).stderr().contains("clocks")
    );
    let secret: store::TotpSecret =
        serde_json::from_value(begun.lines().next().expect("a secret").into()).expect("read");
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    let code = secret.code_at(decode::Timestamp::from_millis(i64::try_from(now).expect("this age")));
    bench.run(&["user", "totp", "ann", "--code", &code]).expect_code(0);
    let factor = || {
        bench.run(&["user", "accounts", "ann", "--json"]).expect_code(0).json()[0]["second_factor"].clone()
    };
    assert_eq!(factor(), true);
    bench.run(&["user", "totp", "ann", "--off"]).expect_code(0);
    assert_eq!(factor(), false);
}
