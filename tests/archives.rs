//! Archives that earlier versions made: they open, list, verify and play as on their first day.

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::Bench;
use sha2::{Digest, Sha256};
use xtask::load::Scenario;

/// What the program that made `v1` exported of its recordings: SHA-256 of each stereo WAV file.
const V1: [(&str, &str); 4] = [
    ("01M8K015AH4ND8EW5CNGBRWCGX", "6dc21dc36ae134e872b94d819ffef55c3fd18026a1a01e0ff663c2cc3f02ca95"),
    ("01M8K013QYW95DARV42971S96Y", "bea4ef9e4a970f0c83b9df9c6b1c6895ba218392207ec76b95adec92598c1e07"),
    ("01M8K013QTVE7WS40FJW83SG4H", "8905d0e0d7aa68185b03d8ce8fff3395cc1f89e4271f8c3a6c0271d06b09d6d5"),
    ("01M7XNAAY71X3MKS4TMEEQB08W", "1312735bc12c9d6e2cedc6518a9504251d853c0ad0afa5c1d9e780f9b373bcec"),
];

/// The same of `v2`.
const V2: [(&str, &str); 2] = [
    ("01M7XNAAY7W2E9F0TBB2ZKSQJN", "1312735bc12c9d6e2cedc6518a9504251d853c0ad0afa5c1d9e780f9b373bcec"),
    ("01KJPWD7WQ2AG45NDENZ85GMS5", "cd5dc58b63821244a43eefbd82d70017c0f47f7269c1ba6d6fb573d6e8c31597"),
];

/// The same of `v3`; the first was re-encoded before.
const V3: [(&str, &str); 2] = [
    ("01M7XNAAY76YRZH8FT0NWNJR8Q", "936d66ea175439ec25fea7e76c528d602619dbabb779a6a594f7692b75b79b63"),
    ("01KJPWD7WQ4S60BMA6SBPVFVFH", "cd5dc58b63821244a43eefbd82d70017c0f47f7269c1ba6d6fb573d6e8c31597"),
];

/// A copy of an archive as git keeps it, with the modes that git does not keep.
fn copy(name: &str, to: &Path) {
    fn copy_folder(from: &Path, to: &Path) {
        fs::create_dir_all(to).expect("made");
        for entry in fs::read_dir(from).expect("a folder") {
            let entry = entry.expect("an entry");
            let to = to.join(entry.file_name());
            if entry.file_type().expect("a type").is_dir() {
                copy_folder(&entry.path(), &to);
            } else {
                fs::copy(entry.path(), &to).expect("copied");
            }
        }
    }
    copy_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/archives").join(name), to);
    fs::create_dir_all(to.join("journal")).expect("made");
    // A checkout knows nothing of such permissions.
    let mut folders = vec![to.join("keys")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            match entry.expect("an entry").path() {
                path if path.is_dir() => folders.push(path),
                path => fs::set_permissions(path, Permissions::from_mode(0o600)).expect("set"),
            }
        }
    }
}

/// All four are listed, verify, and play what they played for the program that made them.
#[track_caller]
fn assert_v1_plays(bench: &Bench) {
    assert_plays(bench, &V1);
}

#[track_caller]
fn assert_plays(bench: &Bench, made: &[(&str, &str)]) {
    let rows = bench.run(&["archive", "list", "--json"]).expect_code(0).json();
    let rows = rows.iter().filter(|row| made.iter().any(|(id, _)| row["id"] == *id));
    let listed: Vec<_> = rows.map(|row| row["id"].as_str().expect("an id").to_owned()).collect();
    assert_eq!(listed, made.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    let verified = bench.run(&["archive", "verify"]).expect_code(0).stdout();
    assert!(verified.contains("each chunk opened") && verified.contains(" 0 problems"), "{verified}");
    for &(id, digest) in made {
        let wav = bench.run(&["archive", "export", id, "-o", "-"]).expect_code(0).0.stdout;
        let found: String = Sha256::digest(&wav).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(found, digest, "{id}");
    }
    let checked = bench.run(&["archive", "check"]).expect_code(0).stdout();
    assert_eq!(checked.trim(), "no problems");
}

#[test]
fn an_archive_of_format_1_opens_verifies_and_plays() {
    let bench = Bench::new();
    copy("v1", &bench.archive());
    assert_v1_plays(&bench);
    let format = fs::read_to_string(bench.archive().join("archive.json")).expect("read");
    assert!(format.contains("\"format\": 2"), "a program of format 1 refuses it by this number: {format}");
    assert_v1_plays(&bench);
}

#[test]
fn recordings_of_format_2_play_have_no_sip_and_stand_beside_new_ones() {
    let bench = Bench::new();
    copy("v2", &bench.archive());
    assert_plays(&bench, &V2);
    let shown = bench.run(&["archive", "show", V2[0].0, "--sip"]).expect_code(0).stdout();
    assert_eq!(shown.trim(), "no SIP is kept with this recording");
    let (capture, _) = bench.capture("new.pcap", &Scenario { talk_ms: 1_000, ..Scenario::default() });
    bench.record(&capture);
    assert_plays(&bench, &V2);
}

#[test]
fn recordings_of_format_3_have_their_sip_and_all_that_people_and_rules_did() {
    let bench = Bench::new();
    copy("v3", &bench.archive());
    assert_plays(&bench, &V3);
    let show = |id: &str| bench.run(&["archive", "show", id, "--json"]).expect_code(0).json().remove(0);
    let (recoded, kept) = (show(V3[0].0), show(V3[1].0));
    assert_eq!((recoded["recoded"].is_object(), kept["recoded"].is_null()), (true, true));
    assert_eq!((&kept["tags"][0], &kept["rating"]), (&"complaint".into(), &4.into()), "{kept}");
    assert_eq!(kept["legal_holds"][0]["hold"], "case 26-114", "{kept}");
    assert!(
        kept.to_string().contains("AB-1271") && kept.to_string().contains("asks for the contract"),
        "{kept}"
    );
    let sip = bench.run(&["archive", "show", V3[1].0, "--sip"]).expect_code(0).stdout();
    assert!(sip.contains("INVITE") && sip.contains("BYE"), "{sip}");
    // The one that is gone keeps its facts.
    let rows = bench.run(&["archive", "list", "--json"]).expect_code(0).json();
    assert_eq!(rows.iter().filter(|row| row["deleted"].is_object()).count(), 1, "{rows:?}");
    bench.run(&["archive", "delete", V3[1].0, "--why", "asked for", "--yes"]).expect_code(13);
    let devices = bench.run(&["device", "list", "--json"]).expect_code(0).json();
    assert_eq!((&devices[0]["number"], &devices[0]["name"]), (&"2000-2099".into(), &"Office".into()));
    let accounts = bench.run(&["user", "accounts", "--json"]).expect_code(0).stdout();
    assert!(accounts.contains("\"ann\"") && accounts.contains("Administrator"), "{accounts}");
    let (capture, _) = bench.capture("new.pcap", &Scenario { talk_ms: 1_000, ..Scenario::default() });
    bench.record(&capture);
    assert_plays(&bench, &V3);
}

#[test]
fn an_archive_of_format_1_plays_after_its_keys_were_rotated_and_grows_on() {
    let bench = Bench::new();
    copy("v1", &bench.archive());
    let old = fs::read_to_string(bench.archive().join("keys/unwrap.key")).expect("read");
    let (capture, truth) = bench.capture("new.pcap", &Scenario { talk_ms: 1_000, ..Scenario::default() });
    bench.record(&capture);
    for _ in 0..2 {
        let rotated =
            bench.run(&["archive", "key", "rotate", "--yes", "--json"]).expect_code(0).json().remove(0);
        assert_eq!((&rotated["format_1"], &rotated["finished"]), (&V1.len().into(), &true.into()));
        assert!(rotated["rewrapped"].as_u64() >= Some(1), "{rotated}, {} calls", truth.len());
        assert_v1_plays(&bench);
    }
    let new = fs::read_to_string(bench.archive().join("keys/unwrap.key")).expect("read");
    assert_ne!(old, new);
    let status = bench.run(&["archive", "key", "status", "--json"]).expect_code(0).json().remove(0);
    assert_eq!(
        status["former"][0]["key_id"], "4df8e2e254ede772",
        "the key of then, sealed to the one of now"
    );
}
