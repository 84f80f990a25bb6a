//! Golden texts: each capture of `pcaps/` replayed, against the `expect.txt` beside it.
//!
//! A `config.toml` beside the capture, where there is one, is given to it.
//!
//! `UPDATE_EXPECT=1 cargo test --test replay` writes them anew; the difference is then read before it is committed.

mod common;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

fn captures(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .expect("a case folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "pcap" || e == "pcapng" || e == "gz"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_capture_replays_as_expected() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps");
    let mut cases: Vec<PathBuf> = fs::read_dir(&root)
        .expect("pcaps/")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir() && !captures(path).is_empty())
        .collect();
    cases.sort();
    assert!(cases.len() >= 20, "only {} cases in pcaps/", cases.len());
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut wrong = Vec::new();
    for case in cases {
        let (config, keys) = (case.join("config.toml"), case.join("keys.txt"));
        let mut words = vec![OsString::from("replay")];
        words.extend(captures(&case).into_iter().map(Into::into));
        if config.exists() {
            words.extend(["-c".into(), config.into()]);
        }
        if keys.is_file() {
            words.extend(["--tls-keylog".into(), keys.into()]);
        }
        let output = common::earwitness().args(words).output().expect("the program runs");
        let name = case.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(
            matches!(output.status.code(), Some(0 | 3)),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let got = String::from_utf8(output.stdout).expect("text");
        let expect = case.join("expect.txt");
        if update {
            fs::write(&expect, &got).expect("writes the golden text");
        } else if fs::read_to_string(&expect).unwrap_or_default() != got {
            wrong.push(format!("--- {name}\n{got}"));
        }
    }
    assert!(wrong.is_empty(), "not as in expect.txt:\n{}", wrong.join("\n"));
}

#[test]
fn the_same_capture_replays_to_the_same_bytes() {
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps/reused-ports/capture.pcap");
    let replay =
        || common::earwitness().arg("replay").arg(&capture).output().expect("the program runs").stdout;
    assert_eq!(replay(), replay());
}
