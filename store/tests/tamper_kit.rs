//! The tamper kit: twelve things that somebody with the disk in his hands may do to an archive. Each must be found and
//! named by `verify`, held against checkpoints that were copied out and the public key.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Dice, START, archive, ended, facts, file_of, record};
use sha2::{Digest, Sha256};
use store::{Archive, Deletion, Event, Finding, RecordingId, Trusted, What};

/// An archive with a day's work in it, what it was the day before, and what was kept elsewhere.
struct Kit {
    _dir: tempfile::TempDir,
    dir: PathBuf,
    yesterday: PathBuf,
    trusted: Trusted,
    ids: [RecordingId; 4],
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("listed") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            drop(fs::copy(entry.path(), target))
        }
    }
}

fn by_hand() -> Deletion {
    Deletion {
        at: START.plus_millis(90_000),
        who: "officer".into(),
        rule: "by hand".into(),
        why: "asked to".into(),
    }
}

fn event(what: What) -> Event {
    Event { at: START.plus_millis(80_000), who: "supervisor".into(), what }
}

impl Kit {
    fn new() -> Kit {
        let (temporary, dir, archive) = archive();
        let outside = temporary.path().join("outside");
        fs::create_dir(&outside).expect("made");
        let ids = [1, 2, 3, 4].map(|n| facts(n).id);
        record(&archive, 1, 200);
        record(&archive, 2, 200);
        archive.close().expect("closed");
        let yesterday = temporary.path().join("yesterday");
        copy(&dir, &yesterday);

        let archive = Archive::open(&dir).expect("opens");
        record(&archive, 3, 200);
        record(&archive, 4, 200);
        archive.edit(event(What::Tagged { id: ids[0], tag: "complaint".into() })).expect("tagged");
        archive.delete(ids[3], by_hand(), true).expect("deleted");
        archive.copy_checkpoints_to(&outside).expect("copied");
        archive.close().expect("closed");
        let notes = fs::read_dir(&outside).expect("listed").map(|entry| entry.expect("an entry").path());
        let checkpoints: Vec<_> = notes
            .map(|path| (path.display().to_string(), fs::read_to_string(&path).expect("read")))
            .collect();
        assert_eq!(checkpoints.len(), 1, "one file for the day");
        let trusted = Trusted { checkpoints, public_key: Some(public_key(&dir)), ..Trusted::default() };
        Kit { _dir: temporary, dir, yesterday, trusted, ids }
    }

    fn findings(&self, dir: &Path) -> Vec<Finding> {
        let archive = Archive::open(dir).expect("it opens all the same");
        assert!(archive.rows().all(|row| row.is_ok()), "it lists all the same");
        let findings = archive.verify_against(None, &self.trusted).filter(Finding::is_problem).collect();
        archive.close().expect("closed");
        findings
    }

    /// Tampers with a copy; something must be found that is about `path` and says `what`.
    fn assert_found(&self, how: &str, tamper: impl FnOnce(&Path), path: &str, what: &str) {
        let copied = tempfile::tempdir().expect("a folder");
        let dir = copied.path().join("archive");
        copy(&self.dir, &dir);
        tamper(&dir);
        let findings = self.findings(&dir);
        let told = |finding: &Finding| {
            finding.path.to_string_lossy().contains(path) && format!("{:?}", finding.verdict).contains(what)
        };
        assert!(findings.iter().any(told), "{how}: {findings:#?}");
    }

    fn file(&self, dir: &Path, n: usize) -> PathBuf {
        file_of(dir, self.ids[n])
    }
}

fn public_key(dir: &Path) -> [u8; 32] {
    use base64::Engine;
    let json = fs::read(dir.join("keys/public.json")).expect("read");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    let text = json["ed25519"].as_str().expect("a key");
    let key = base64::engine::general_purpose::STANDARD.decode(text).expect("base 64");
    key.try_into().expect("32 bytes")
}

/// Puts `new` in place of the only `old` of the same length in a file.
fn replace(path: &Path, old: &str, new: &str) {
    assert_eq!(old.len(), new.len());
    let mut bytes = fs::read(path).expect("read");
    let at = bytes.windows(old.len()).rposition(|window| window == old.as_bytes()).expect("it is there");
    bytes[at..at + old.len()].copy_from_slice(new.as_bytes());
    fs::write(path, bytes).expect("written");
}

fn ledger(dir: &Path, kind: &str) -> PathBuf {
    let mut files =
        fs::read_dir(dir.join("ledger")).expect("listed").map(|entry| entry.expect("an entry").path());
    files
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(kind)))
        .expect("a file")
}

/// Appends a line with the next number, and its hash to the log: what somebody who has read the format can do.
fn append_as_if_genuine(dir: &Path, file: &Path, rest: &str) {
    let leaves = dir.join("ledger/leaves");
    let mut hashes = fs::read(&leaves).expect("read");
    let line = format!("{{\"leaf\":{},\"salt\":\"00\",{rest}", hashes.len() / 32);
    let name = format!("ledger/{}", file.file_name().expect("a name").to_string_lossy());
    hashes.extend_from_slice(&Sha256::digest([b"\0", name.as_bytes(), b"\n", line.as_bytes()].concat()));
    fs::write(leaves, hashes).expect("written");
    let mut lines = fs::read_to_string(file).expect("read");
    lines.push_str(&line);
    lines.push('\n');
    fs::write(file, lines).expect("written");
}

#[test]
fn twelve_of_twelve_tampers_are_found_and_named() {
    let kit = Kit::new();
    assert_eq!(kit.findings(&kit.dir), [], "nothing is wrong with what nobody touched");

    let flip = |dir: &Path| {
        let mut bytes = fs::read(kit.file(dir, 0)).expect("read");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(kit.file(dir, 0), bytes).expect("written");
    };
    kit.assert_found("1 edit", flip, &kit.ids[0].to_string(), "Changed");

    let cut = |dir: &Path| {
        let file = fs::OpenOptions::new().write(true).open(kit.file(dir, 0)).expect("opens");
        file.set_len(file.metadata().expect("read").len() - 4000).expect("cut");
    };
    kit.assert_found("2 truncate", cut, &kit.ids[0].to_string(), "cut");

    let swap = |dir: &Path| {
        let (one, two) = (kit.file(dir, 0), kit.file(dir, 1));
        fs::rename(&one, dir.join("x")).expect("moved");
        fs::rename(&two, &one).expect("moved");
        fs::rename(dir.join("x"), &two).expect("moved");
    };
    kit.assert_found("3 swap two files", swap, &kit.ids[0].to_string(), "another recording's file");

    let delete = |dir: &Path| fs::remove_file(kit.file(dir, 1)).expect("removed");
    kit.assert_found("4 delete one", delete, &kit.ids[1].to_string(), "Missing");

    // The same archive went on elsewhere: a genuine file, a line that looks genuine.
    let insert = |dir: &Path| {
        let elsewhere = tempfile::tempdir().expect("a folder");
        copy(dir, elsewhere.path());
        let other = Archive::open(elsewhere.path()).expect("opens");
        let id = record(&other, 9, 50);
        other.close().expect("closed");
        let file = file_of(elsewhere.path(), id);
        let place = dir.join(file.strip_prefix(elsewhere.path()).expect("below it"));
        fs::copy(&file, place).expect("put in");
        let line = fs::read_to_string(ledger(elsewhere.path(), "recordings-")).expect("read");
        let line = line.lines().last().expect("a line").to_owned();
        let mut lines = fs::read_to_string(ledger(dir, "recordings-")).expect("read");
        lines.push_str(&line);
        lines.push('\n');
        fs::write(ledger(dir, "recordings-"), lines).expect("written");
    };
    kit.assert_found("5 insert one", insert, "recordings-", "put in");

    let metadata =
        |dir: &Path| replace(&kit.file(dir, 0), "\"extension\":\"1001\"", "\"extension\":\"1007\"");
    kit.assert_found("6 replace metadata", metadata, &kit.ids[0].to_string(), "Changed");

    let roll_back = |dir: &Path| {
        fs::remove_dir_all(dir).expect("removed");
        copy(&kit.yesterday, dir);
    };
    kit.assert_found(
        "7 roll the whole disk back to yesterday",
        roll_back,
        "outside",
        "older state was put back",
    );

    kit.assert_found("8 edit the journal", edit_journal, "", "does not open");

    let index = |dir: &Path| {
        let db = sled::open(dir.join("index")).expect("opens");
        let rows = db.open_tree("rows").expect("opens");
        let row = rows.get(kit.ids[0].as_bytes()).expect("read").expect("a row");
        let row = String::from_utf8(row.to_vec()).expect("JSON").replace("\"1001\"", "\"1007\"");
        rows.insert(kit.ids[0].as_bytes(), row.as_bytes()).expect("put");
        db.flush().expect("flushed");
    };
    kit.assert_found("9 edit the index", index, &kit.ids[0].to_string(), "the index shows something else");

    let swap_keys = |dir: &Path| {
        let (_other_dir, other, archive) = archive();
        archive.close().expect("closed");
        fs::remove_dir_all(dir.join("keys")).expect("removed");
        copy(&other.join("keys"), &dir.join("keys"));
    };
    kit.assert_found("10 swap keys", swap_keys, "keys/public.json", "they were replaced");

    let tag = |dir: &Path| replace(&ledger(dir, "events-"), "\"complaint\"", "\"satisfied\"");
    kit.assert_found("11 change a tag behind the back", tag, "events-", "not what was written");

    let forge = |dir: &Path| {
        fs::remove_file(kit.file(dir, 2)).expect("removed");
        let rest = format!(
            "\"id\":\"{}\",\"fate\":\"deleted\",\"at\":\"2026-11-20T00:00:00.000Z\",\"bytes\":1,\"why\":\"rule\",\
             \"deletion\":{{\"rule\":\"old\",\"who\":\"earwitness\",\"receipt\":\"{}\"}}}}",
            kit.ids[2],
            "00".repeat(64)
        );
        append_as_if_genuine(dir, &ledger(dir, "recordings-"), &rest);
    };
    kit.assert_found(
        "12 forge a deletion",
        forge,
        &kit.ids[2].to_string(),
        "receipt of its deletion is not signed",
    );

    // And what only a recording that still runs can suffer.
    let discard = |dir: &Path| {
        fs::remove_file(kit.file(dir, 2)).expect("removed");
        let rest = format!(
            "\"id\":\"{}\",\"fate\":\"discarded\",\"at\":\"2026-11-20T00:00:00.000Z\",\"why\":\"rule\"}}",
            kit.ids[2]
        );
        append_as_if_genuine(dir, &ledger(dir, "recordings-"), &rest);
    };
    kit.assert_found("13 forge a discard", discard, &kit.ids[2].to_string(), "Missing");
}

/// A journal as a crash leaves it, in which a sealed chunk was changed and the checksum made to fit.
fn edit_journal(dir: &Path) {
    let archive = Archive::open(dir).expect("opens");
    let mut writer = archive.create(facts(7)).expect("begun");
    for i in 0..100 {
        common::append(&mut writer, 7, i).expect("kept");
    }
    archive.sync().expect("synced");
    let crashed = tempfile::tempdir().expect("a folder");
    copy(dir, crashed.path());
    writer.finish(ended(7, 2000)).expect("ended");
    archive.close().expect("closed");
    fs::remove_dir_all(dir).expect("removed");
    copy(crashed.path(), dir);

    let mut journals =
        fs::read_dir(dir.join("journal")).expect("listed").map(|e| e.expect("an entry").path());
    let path = journals.find(|path| path.extension().is_some_and(|end| end == "journal")).expect("a journal");
    let mut bytes = fs::read(&path).expect("read");
    let u32_at = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
    let (mut at, mut last) = (0, 0);
    while at + 12 <= bytes.len() && &bytes[at..at + 4] == b"EWJ1" {
        last = at;
        at += 12 + u32_at(&bytes, at + 4) as usize;
    }
    // Inside the sealed content of the last entry, a chunk.
    let target = at - 40;
    bytes[target] ^= 1;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[last + 4..last + 8]);
    crc.update(&bytes[last + 12..at]);
    bytes[last + 8..last + 12].copy_from_slice(&crc.finalize().to_le_bytes());
    fs::write(path, bytes).expect("written");
}

/// Files of an archive, but those that are made anew from the others.
fn files(dir: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("listed") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(dir).expect("below it").to_string_lossy().into_owned();
            match path.is_dir() {
                true if ["index", "journal"].contains(&&*name) => {}
                true => folders.push(path),
                false if ["lock", "ledger/peaks"].contains(&&*name) => {}
                false => files.push(path),
            }
        }
    }
    files.sort();
    files
}

/// Does a changed file mean what it meant? What is blank at its end, the padding of base 64, those bits of an X25519 key that nobody uses
/// (RFC 7748, 5), and the time at which an archive was made, which nothing relies on.
fn says_the_same(name: &Path, before: &[u8], after: &[u8]) -> bool {
    use base64::Engine;
    let trimmed = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.trim_end_matches(|c: char| c.is_whitespace() || c.is_control() || c == '=').to_owned()
    };
    let (old, new) = (trimmed(before), trimmed(after));
    let used = |text: &str| {
        let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
        let mut key: [u8; 32] = engine.decode(text).ok()?.try_into().ok()?;
        key[0] &= 248;
        key[31] = key[31] & 127 | 64;
        Some(key)
    };
    let without_time = |bytes: &[u8]| {
        let mut json: serde_json::Value = serde_json::from_slice(bytes).ok()?;
        json.as_object_mut()?.remove("created")?;
        Some(json)
    };
    old == new
        || name.ends_with("unwrap.key") && used(&old).is_some() && used(&old) == used(&new)
        || name.ends_with("archive.json")
            && without_time(before).is_some()
            && without_time(before) == without_time(after)
}

/// A bit flipped, an end cut off, two files swapped, drawn from all files of the archive: each is found, by opening, by verification or by the
/// check, and what opens lists. `EARWITNESS_TAMPERS` says how many are drawn.
#[test]
fn whatever_is_flipped_cut_or_swapped_in_any_file_is_found() {
    let draws = std::env::var("EARWITNESS_TAMPERS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let kit = Kit::new();
    let whole = kit.findings(&kit.dir);
    assert!(whole.is_empty(), "{whole:#?}");
    let names: Vec<PathBuf> = files(&kit.dir)
        .iter()
        .map(|path| path.strip_prefix(&kit.dir).expect("below it").to_owned())
        .collect();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut missed = Vec::new();
    for draw in 0..draws {
        let copied = tempfile::tempdir().expect("a folder");
        let dir = copied.path().join("archive");
        copy(&kit.dir, &dir);
        let name = &names[dice.roll(names.len())];
        let path = dir.join(name);
        let mut bytes = fs::read(&path).expect("read");
        let how = match dice.roll(3) {
            0 => {
                let (at, bit) = (dice.roll(bytes.len()), dice.roll(8));
                bytes[at] ^= 1 << bit;
                fs::write(&path, bytes).expect("written");
                format!("bit {bit} of byte {at} of {}", name.display())
            }
            1 => {
                let len = dice.roll(bytes.len());
                bytes.truncate(len);
                fs::write(&path, bytes).expect("written");
                format!("{} cut to {len} bytes", name.display())
            }
            _ => {
                let other = dir.join(&names[dice.roll(names.len())]);
                let others = fs::read(&other).expect("read");
                if others == bytes {
                    continue;
                }
                fs::write(&other, bytes).expect("written");
                fs::write(&path, others).expect("written");
                format!("{} and {} swapped", name.display(), other.display())
            }
        };
        let tampered = fs::read(&path).expect("read");
        let Ok(archive) = Archive::open(&dir) else { continue };
        assert!(archive.rows().all(|row| row.is_ok()), "{draw}: {how}: it does not list");
        // What is proven is verification's; a private key that does not open or sign anything of this archive is no matter of proof.
        let is_found = archive.verify_against(None, &kit.trusted).any(|finding| finding.is_problem())
            || !archive.check(false).expect("checked").is_empty();
        let changed = fs::read(kit.dir.join(name)).expect("read");
        if !is_found && !says_the_same(name, &changed, &tampered) {
            missed.push(how);
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
