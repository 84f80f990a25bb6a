//! A bundle that proves itself: what holds, and that every change shows.

mod common;
#[path = "bundle/forged.rs"]
mod forged;

use std::io::{Cursor, Write};

use common::*;
use decode::Party;
use decode::codec::g711::Law;
use store::{Archive, RecordingFacts, RecordingId, Span, Trusted};
use web::evidence::{self, Report};
use web::manifest::{Manifest, Omission};
use web::{Exporter, FileFormat, Selection, Shape};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

/// A ZIP of two recordings, and the key that signs there.
struct Bundle {
    place: Place,
    zip: Vec<u8>,
    ids: [RecordingId; 2],
}

fn export(archive: &Archive, ids: &[RecordingId], sealed: bool) -> Vec<u8> {
    let mut zip = Vec::new();
    let selection = Selection { format: FileFormat::Wav, shape: Shape::Near, sealed, without_sip: false };
    let exporter = Exporter::new("ann", started());
    let bundled = web::bundle(archive, ids, selection, &exporter, &mut zip, |_, _| {}).expect("a ZIP");
    assert!(bundled.warnings.is_empty(), "{:?}", bundled.warnings);
    zip
}

fn bundle(sealed: bool) -> Bundle {
    let place = place();
    let voices = [Voice::g711(Party::Near, Law::Mu, &tone(8_000, 440.0)), Voice::strange(Party::Near, 3)];
    let ids = [1, 2].map(|number| {
        let pauses = vec![Span { start_ms: 200, end_ms: 300 }];
        record(&place.archive, RecordingFacts { pauses, ..facts(number, 1_000, "x") }, &voices)
    });
    let zip = export(&place.archive, &ids, sealed);
    Bundle { place, zip, ids }
}

impl Bundle {
    fn trusted(&self) -> Trusted {
        Trusted { public_key: self.place.archive.signing_key().signing(), ..Trusted::default() }
    }

    fn verify(&self, zip: Vec<u8>) -> Report {
        evidence::verify(Cursor::new(zip), &self.trusted()).expect("a temporary file")
    }
}

/// A ZIP of these files, as any tool makes one.
fn zip_of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, content) in files {
        zip.start_file(name.as_str(), options).expect("a file");
        zip.write_all(content).expect("room");
    }
    zip.finish().expect("a ZIP").into_inner()
}

fn manifest(files: &[(String, Vec<u8>)]) -> Manifest {
    serde_json::from_slice(content(files, "manifest.json")).expect("a manifest")
}

/// What is said of the only problem.
fn only_problem(report: &Report) -> (&str, &str) {
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    let problem = &report.problems[0];
    (problem.member.as_deref().unwrap_or_default(), &problem.what)
}

/// The files with another manifest in place, signed by this archive.
fn resigned(
    files: &[(String, Vec<u8>)],
    archive: &Archive,
    change: impl FnOnce(&mut Manifest),
) -> Vec<(String, Vec<u8>)> {
    let mut said = manifest(files);
    change(&mut said);
    let text = serde_json::to_vec_pretty(&said).expect("JSON");
    let signature = archive.sign_manifest(&text).expect("a key");
    let others = files.iter().filter(|(name, _)| !name.starts_with("manifest.")).cloned();
    others
        .chain([("manifest.json".to_owned(), text), ("manifest.sig".to_owned(), signature.into_bytes())])
        .collect()
}

#[test]
fn a_bundle_holds_with_the_key_from_elsewhere_and_says_what_it_proves() {
    let bundle = bundle(true);
    let report = bundle.verify(bundle.zip.clone());
    assert!(report.holds(), "{:?}", report.problems);
    assert!(report.trusted);
    assert_eq!((report.members, report.sealed, report.proven.len()), (10, 2, 2));
    let manifest = report.manifest.as_ref().expect("a manifest");
    assert_eq!(manifest.archive, bundle.place.archive.id());
    assert_eq!(manifest.exported.by, "ann");
    let left_out = &manifest.recordings[0].left_out;
    assert_eq!(
        left_out[..],
        [
            Omission::Channel { party: Party::Far },
            Omission::Paused { start_ms: 200, end_ms: 300 },
            Omission::NotDecodable { party: Party::Near, codec: "BV16".into(), packets: 3 },
        ]
    );
    let said = report.sentences().join("\n");
    assert!(said.contains("by ann at 2026-03-04T05:06:07"), "{said}");
    assert!(said.contains("2 of 2 recordings are named by the archive's ledger"), "{said}");
    assert!(!said.contains("agrees with itself"), "{said}");
}

#[test]
fn without_a_key_from_elsewhere_it_proves_only_that_it_agrees_with_itself() {
    let bundle = bundle(false);
    let report = evidence::verify(Cursor::new(&bundle.zip), &Trusted::default()).expect("no file needed");
    assert!(report.holds() && !report.trusted);
    let said = report.sentences().join("\n");
    assert!(said.contains("this proves only that the bundle agrees with itself"), "{said}");
    assert!(said.contains("the archive's signed word"), "{said}");
}

#[test]
fn a_checkpoint_from_elsewhere_agrees_contradicts_or_cannot_be_compared() {
    let bundle = bundle(false);
    let verify = |note: &str| {
        let checkpoints = vec![("kept".to_owned(), note.to_owned())];
        let trusted = Trusted { checkpoints, ..bundle.trusted() };
        evidence::verify(Cursor::new(&bundle.zip), &trusted).expect("no file needed")
    };
    let note = bundle.place.archive.checkpoint().expect("a checkpoint");
    let same = verify(&note);
    assert!(same.holds() && same.checkpoints == 1, "{same:?}");
    record(&bundle.place.archive, facts(3, 1_000, "x"), &[Voice::g711(Party::Near, Law::Mu, &[0; 160])]);
    let later = verify(&bundle.place.archive.checkpoint().expect("a checkpoint"));
    assert!(later.holds() && later.checkpoints == 0 && later.notes.len() == 1, "{later:?}");
    let foreign = verify(&place().archive.checkpoint().expect("a checkpoint"));
    assert_eq!(only_problem(&foreign), ("kept", "it is not signed by this key"));
}

#[test]
fn every_file_that_is_changed_taken_out_or_added_is_named() {
    let bundle = bundle(true);
    let files = unzip(&bundle.zip);
    assert!(bundle.verify(zip_of(&files)).holds(), "packed anew by another tool, the same files");
    for place in 0..files.len() {
        let name = files[place].0.clone();
        let mut changed = files.clone();
        let middle = changed[place].1.len() / 2;
        changed[place].1[middle] ^= 1;
        let report = bundle.verify(zip_of(&changed));
        assert_eq!(only_problem(&report).0, if name == "manifest.sig" { "manifest.json" } else { &name });
        let mut longer = files.clone();
        longer[place].1.push(b'x');
        assert!(!bundle.verify(zip_of(&longer)).holds(), "{name} longer");
        let mut fewer = files.clone();
        fewer.remove(place);
        let report = bundle.verify(zip_of(&fewer));
        assert_eq!(only_problem(&report), (name.as_str(), "it is missing"));
    }
    let mut more = files.clone();
    more.push(("notes.txt".to_owned(), b"trust me".to_vec()));
    let report = bundle.verify(zip_of(&more));
    assert_eq!(only_problem(&report), ("notes.txt", "it was added: the manifest does not name it"));
    let mut swapped = files.clone();
    (swapped[0].1, swapped[1].1) = (files[1].1.clone(), files[0].1.clone());
    assert_eq!(bundle.verify(zip_of(&swapped)).problems.len(), 2, "{} and {}", files[0].0, files[1].0);
}

#[test]
fn a_manifest_that_was_edited_or_signed_by_another_key_ends_the_reading() {
    let bundle = bundle(false);
    let mut files = unzip(&bundle.zip);
    let other = place();
    let foreign = resigned(&files, &other.archive, |said| said.public_keys = other.archive.signing_key());
    let report = bundle.verify(zip_of(&foreign));
    assert!(only_problem(&report).1.contains("signed by another key"), "{report:?}");
    assert_eq!(report.members, 0, "nothing else was looked at");
    // With the key that came with it, the list of files agrees; the ledger's proofs are not of that key.
    let report = evidence::verify(Cursor::new(zip_of(&foreign)), &Trusted::default()).expect("no file");
    assert!(report.problems.iter().all(|p| p.what.contains("not signed by this key")), "{report:?}");
    assert_eq!(report.problems.len(), 2);
    let place = files.iter().position(|f| f.0 == "manifest.json").expect("there");
    let text = String::from_utf8(files[place].1.clone()).expect("UTF-8");
    files[place].1 = text.replace("\"by\": \"ann\"", "\"by\": \"bob\"").into_bytes();
    assert!(only_problem(&bundle.verify(zip_of(&files))).1.contains("it was changed"));
}

#[test]
fn a_proof_of_another_archive_or_recording_does_not_hold() {
    let bundle = bundle(false);
    let files = unzip(&bundle.zip);
    let other = place();
    let theirs =
        record(&other.archive, facts(1, 1_000, "x"), &[Voice::g711(Party::Near, Law::Mu, &[0; 160])]);
    assert_eq!(theirs, bundle.ids[0], "the same name");
    let foreign = other.archive.proof(theirs).expect("a proof");
    let archive = &bundle.place.archive;
    let check = |what: &str, change: &dyn Fn(&mut Manifest)| {
        let report = bundle.verify(zip_of(&resigned(&files, archive, change)));
        assert!(only_problem(&report).1.contains(what), "{what}: {report:?}");
    };
    check("not signed by this key", &|said| said.recordings[0].proof = Some(foreign.clone()));
    check("of another recording", &|said| {
        said.recordings[0].proof = said.recordings[1].proof.clone();
        said.recordings[0].signed = said.recordings[1].signed.clone();
    });
    check("another digest", &|said| said.recordings[0].signed = Some("00".repeat(32)));
    check("of another archive", &|said| {
        said.archive = "01OTHER".into();
        said.recordings.truncate(1);
    });
    check("not in the log", &|said| {
        if let Some(proof) = &mut said.recordings[0].proof {
            proof.line = proof.line.replace("complete", "deleted!");
        }
    });
    check("the manifest has it twice", &|said| said.recordings.push(said.recordings[0].clone()));
}

#[test]
fn a_sealed_file_of_another_time_or_recording_is_told() {
    let bundle = bundle(true);
    let files = unzip(&bundle.zip);
    let sealed: Vec<usize> = (0..files.len()).filter(|&i| files[i].0.starts_with("recordings/")).collect();
    let mut swapped = files.clone();
    swapped[sealed[0]].1 = files[sealed[1]].1.clone();
    let hash = manifest(&files).members[sealed[1]].clone();
    let resigned = resigned(&swapped, &bundle.place.archive, |said| {
        said.members[sealed[0]].sha256 = hash.sha256;
        said.members[sealed[0]].bytes = hash.bytes;
    });
    assert_eq!(only_problem(&bundle.verify(zip_of(&resigned))).1, "it is another recording's");
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).expect("an entry");
        if path.is_dir() {
            copy_folder(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).expect("a copy");
        }
    }
}

#[test]
fn without_the_signing_key_a_bundle_is_made_and_says_that_it_proves_nothing() {
    let Bundle { place, ids, .. } = bundle(false);
    let folder = place.archive.dir().to_owned();
    let key = place.archive.signing_key().signing();
    place.archive.close().expect("a disk");
    std::fs::remove_file(folder.join("keys/sign.key")).expect("removed");
    let archive = Archive::open(&folder).expect("an archive that can be read");
    let mut zip = Vec::new();
    let selection =
        Selection { format: FileFormat::Wav, shape: Shape::Stereo, sealed: false, without_sip: false };
    let exporter = Exporter::new("ann", started());
    let bundled = web::bundle(&archive, &ids, selection, &exporter, &mut zip, |_, _| {}).expect("a ZIP");
    assert_eq!(bundled.exported.len(), 2);
    assert!(bundled.warnings.iter().any(|warning| warning.contains("not signed")), "{:?}", bundled.warnings);
    let trusted = Trusted { public_key: key, ..Trusted::default() };
    let report = evidence::verify(Cursor::new(zip), &trusted).expect("no file is needed");
    assert_eq!(only_problem(&report), ("manifest.sig", "it is missing"));
}

#[test]
fn whoever_has_the_key_opens_the_sealed_files_again() {
    let bundle = bundle(true);
    let home = tempfile::tempdir().expect("a folder");
    let (old, new) = (bundle.place.archive.dir(), home.path());
    for folder in ["keys", "ledger", "journal"] {
        std::fs::create_dir(new.join(folder)).expect("a folder");
    }
    std::fs::copy(old.join("archive.json"), new.join("archive.json")).expect("a copy");
    copy_folder(&old.join("keys"), &new.join("keys"));
    for (name, content) in unzip(&bundle.zip).iter().filter(|(name, _)| name.starts_with("recordings/")) {
        let path = new.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, content).expect("written");
    }
    let archive = Archive::open(new).expect("an archive of these files");
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for (archive, out) in [(&bundle.place.archive, &mut before), (&archive, &mut after)] {
        web::export(archive, bundle.ids[0], FileFormat::Wav, Shape::Near, out).expect("a file");
    }
    assert!(before == after && before.len() > 16_000);
}

#[test]
fn what_lies_beside_the_files_or_bends_the_zip_is_refused_before_anything_is_unpacked() {
    let bundle = bundle(false);
    let files = unzip(&bundle.zip);
    let broken = |what: &str, zip: Vec<u8>| {
        let report = bundle.verify(zip);
        assert!(!report.holds() && report.members == 0, "{what}: {report:?}");
    };
    broken("prepended", [b"#!/bin/sh\n", &bundle.zip[..]].concat());
    broken("appended", [&bundle.zip[..], b"x"].concat());
    broken("cut", bundle.zip[..bundle.zip.len() - 40].to_vec());
    broken("empty", Vec::new());
    broken("no ZIP", b"RIFF".repeat(100));
    for name in ["../x", "/etc/x", "a//b", "a\\b", "a\u{202e}b", &"x".repeat(121)] {
        let mut strange = files.clone();
        strange.push((name.to_owned(), b"x".to_vec()));
        broken(name, zip_of(&strange));
    }
    // Two files of one name: each tool would take another one.
    let twice = zip_of(&[files.clone(), vec![("manifest.sih".into(), b"x".to_vec())]].concat());
    let mut same = twice;
    for at in 0..same.len() - 12 {
        if &same[at..at + 12] == b"manifest.sih" {
            same[at + 11] = b'g';
        }
    }
    broken("twice", same);
}

#[test]
fn a_bomb_is_unpacked_no_further_than_the_signed_length() {
    let bundle = bundle(false);
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    for (name, content) in &unzip(&bundle.zip) {
        zip.start_file(name.as_str(), options).expect("a file");
        if name == "README.txt" {
            // 256 MB of zeros in a quarter of a megabyte.
            for _ in 0..256 {
                zip.write_all(&vec![0; 1 << 20]).expect("room");
            }
        } else {
            zip.write_all(content).expect("room");
        }
    }
    let bomb = zip.finish().expect("a ZIP").into_inner();
    assert!(bomb.len() < 1 << 20);
    let report = bundle.verify(bomb);
    assert_eq!(only_problem(&report).0, "README.txt");
    assert!(only_problem(&report).1.contains("bytes long"));
}

#[test]
fn a_directory_without_end_is_not_read_to_it() {
    // An end record that says 4 GiB of directory stand before it, in a file that never runs out.
    struct Endless {
        at: u64,
        read: u64,
    }
    const LEN: u64 = 1 << 40;
    impl std::io::Read for Endless {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            let record = b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0x";
            let end = b"PK\x05\x06\0\0\0\0\xff\xfe\xff\xfe\xff\xff\xff\xfe\0\0\0\0\0\0";
            let room = buf.len().min(usize::try_from(LEN - self.at).unwrap_or(usize::MAX));
            for byte in &mut buf[..room] {
                *byte = match (LEN - self.at) as usize {
                    left @ 1..=22 => end[22 - left],
                    _ => record[(self.at % record.len() as u64) as usize],
                };
                self.at += 1;
            }
            self.read += room as u64;
            assert!(self.read < 2 * evidence::DIRECTORY_MAX, "bounded");
            Ok(room)
        }
    }
    impl std::io::Seek for Endless {
        fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
            self.at = match to {
                std::io::SeekFrom::Start(at) => at,
                std::io::SeekFrom::End(back) => LEN.saturating_add_signed(back),
                std::io::SeekFrom::Current(step) => self.at.saturating_add_signed(step),
            };
            Ok(self.at)
        }
    }
    let report =
        evidence::verify(Endless { at: 0, read: 0 }, &Trusted::default()).expect("no file is needed");
    assert!(!report.holds());
}
