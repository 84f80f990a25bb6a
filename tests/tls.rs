//! SIP inside TLS, end to end: with a key log, with the keys inside the capture, and without any.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Bench, earwitness};
use serde_json::Value;

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn summary(bench: &Bench) -> Value {
    bench.run(&["calls", "--summary", "--json"]).expect_code(0).json().remove(0)
}

#[test]
fn calls_inside_tls_are_recorded_with_a_key_log_and_no_secret_is_kept_or_logged() {
    let bench = Bench::new();
    let (capture, keys) = (case("sip-tls12").join("capture.pcap"), case("sip-tls12").join("keys.txt"));
    let output = earwitness()
        .args(["record", "--tls-keylog", text(&keys), "-r", text(&capture)])
        .env("EARWITNESS_ARCHIVE", bench.archive())
        .env("EARWITNESS_LOG", "trace")
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary = summary(&bench);
    assert_eq!((&summary["recorded"], &summary["tls_undecryptable"]), (&3.into(), &0.into()));
    let log = fs::read_to_string(&keys).expect("the key log");
    let secrets: Vec<&str> = log
        .lines()
        .filter(|line| line.starts_with("CLIENT_RANDOM"))
        .filter_map(|line| line.rsplit(' ').next())
        .collect();
    assert_eq!(secrets.len(), 3);
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).to_lowercase();
    for secret in secrets {
        assert!(!printed.contains(&secret[..16]), "a secret in the log");
    }
}

#[test]
fn keys_inside_the_capture_are_enough() {
    let bench = Bench::new();
    bench.record(&case("sip-tls13").join("capture.pcap"));
    let summary = summary(&bench);
    assert_eq!((&summary["recorded"], &summary["tls_undecryptable"]), (&2.into(), &0.into()));
}

#[test]
fn tls_without_a_key_is_counted_in_the_balance_sheet() {
    let bench = Bench::new();
    let capture = case("sip-tls-no-key").join("capture.pcap");
    let sheet = bench.run(&["record", "-r", text(&capture)]).expect_code(0).stdout();
    assert!(sheet.contains("TLS connections not decrypted 1"), "{sheet}");
    assert_eq!(summary(&bench)["tls_undecryptable"], 1);
    let replay = bench.run(&["replay", text(&capture)]).expect_code(0).stdout();
    assert_eq!(
        replay.lines().filter(|line| line.ends_with("192.0.2.10:5061: no key")).count(),
        1,
        "{replay}"
    );
}

#[test]
fn a_key_log_that_is_not_there_is_said_before_anything_is_read() {
    let bench = Bench::new();
    let capture = case("sip-tls12").join("capture.pcap");
    let run = bench.run(&["record", "--tls-keylog", "none.txt", "-r", text(&capture)]).expect_code(1);
    assert!(run.stderr().contains("--tls-keylog none.txt"), "{}", run.stderr());
    assert!(!bench.archive().exists());
}
