//! The archive from outside: recording, listing, playing, opening again.

mod common;

use std::fs;

use common::{START, append, archive, ended, facts, file_of, files, payload, play, record};
use store::{
    Archive, CallRow, Cost, Counters, Created, Error, Event, Mark, Outcome, Query, RecordingId, Row, RunRow,
    SignatureState, State, Verdict, What,
};

#[test]
fn a_recording_plays_back_what_was_kept_and_nothing_else() {
    let (_dir, path, archive) = archive();
    let id = record(&archive, 1, 500);
    let expected: Vec<_> = (0..500).map(|i| payload(1, i)).collect();
    assert_eq!(play(&archive, id).expect("plays"), (expected.clone(), 1));
    archive.close().expect("closed");
    let archive = Archive::open(&path).expect("opens");
    assert_eq!(archive.recovered(), &Default::default(), "an orderly end leaves nothing to mend");
    assert_eq!(play(&archive, id).expect("plays"), (expected, 1));
    let row = archive.row(id).expect("listed");
    assert_eq!((row.facts.state, row.signature), (State::Complete, SignatureState::Valid));
    assert_eq!(row.facts.tracks[0].jitter_ms, 0.0, "a number that JSON cannot say");
}

#[test]
fn a_chunk_spans_less_than_its_limit_and_stands_alone() {
    let (_dir, _path, archive) = archive();
    let id = record(&archive, 1, 500);
    let mut reader = archive.read(id).expect("opens");
    let mut chunks = 0;
    while let Some(chunk) = reader.next_chunk().expect("a chunk") {
        assert_eq!(chunk.number(), chunks);
        assert!(chunk.latest().millis_since(chunk.first()) < store::CHUNK_SPAN_MS as u64);
        assert!(chunk.records().all(|record| record.is_ok()));
        chunks += 1;
    }
    // Five seconds at eight packets of 20 ms each, and the last one for the mark, whose time lies before.
    assert!((31..=33).contains(&chunks), "{chunks}");
}

#[test]
fn the_hash_in_the_list_is_that_of_the_file() {
    use sha2::{Digest, Sha256};
    let (_dir, path, archive) = archive();
    let id = record(&archive, 1, 100);
    archive.sync().expect("synced");
    let bytes = fs::read(file_of(&path, id)).expect("read");
    let row = archive.row(id).expect("listed");
    let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!((row.sha256, row.bytes), (hash, bytes.len() as u64));
}

#[test]
fn a_wave_tool_finds_a_header_and_chunks_that_fit() {
    let (_dir, path, archive) = archive();
    let id = record(&archive, 1, 101);
    archive.close().expect("closed");
    let bytes = fs::read(file_of(&path, id)).expect("read");
    let size = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
    assert_eq!((&bytes[..4], size(4), &bytes[8..12]), (&b"RIFF"[..], bytes.len() - 8, &b"WAVE"[..]));
    let (mut at, mut names) = (12, Vec::new());
    while at < bytes.len() {
        names.push(String::from_utf8_lossy(&bytes[at..at + 4]).into_owned());
        let len = size(at + 4);
        at += 8 + len + len % 2;
    }
    assert_eq!(
        (at, names),
        (bytes.len(), ["fmt ", "ewit", "data", "ewfx", "ewsg"].map(String::from).to_vec())
    );
}

#[test]
fn no_eight_bytes_of_payload_are_in_any_file() {
    let (_dir, path, archive) = archive();
    record(&archive, 1, 300);
    let mut running = archive.create(facts(2)).expect("begun");
    for i in 0..300 {
        append(&mut running, 2, i).expect("kept");
    }
    archive.sync().expect("synced");
    let mut runs = std::collections::HashSet::new();
    for n in 1..=2 {
        for i in 0..300 {
            runs.extend(payload(n, i).windows(8).map(<[u8]>::to_vec));
        }
    }
    let files = files(&path);
    assert!(
        files.iter().any(|f| f.extension().is_some_and(|e| e == "journal")),
        "the journal is looked at too"
    );
    for file in files {
        let bytes = fs::read(&file).expect("read");
        assert!(!bytes.windows(8).any(|run| runs.contains(run)), "{}", file.display());
    }
}

#[test]
fn a_digit_is_in_no_file_either() {
    let (_dir, path, archive) = archive();
    let mut writer = archive.create(facts(1)).expect("begun");
    let source = "the agent's PIN pad";
    writer.mark(START, &Mark::PauseStart { source: source.into() }).expect("kept");
    writer.finish(ended(1, 1000)).expect("finished");
    archive.sync().expect("synced");
    for file in files(&path) {
        let bytes = fs::read(&file).expect("read");
        assert!(!bytes.windows(source.len()).any(|run| run == source.as_bytes()), "{}", file.display());
    }
}

#[test]
fn lists_are_newest_first_and_show_running_calls() {
    let (_dir, _path, archive) = archive();
    for n in [3, 1, 2] {
        record(&archive, n, 10);
    }
    let running = archive.create(facts(9)).expect("begun");
    for synced in [false, true] {
        let rows: Vec<_> = archive.rows().map(|row| row.expect("a row")).collect();
        let seen: Vec<_> = rows.iter().map(|row| (row.facts.extension.as_str(), row.facts.state)).collect();
        let complete = ["1003", "1002", "1001"].map(|extension| (extension, State::Complete));
        assert_eq!(seen[0], ("1009", State::Recording));
        assert_eq!(seen[1..], complete, "synced: {synced}");
        archive.sync().expect("synced");
    }
    let stats = archive.stats(&store::Query::default()).expect("summed");
    assert_eq!((stats.recordings, stats.recording, stats.complete, stats.audio_ms), (4, 1, 3, 300));
    assert_eq!((stats.oldest, stats.newest), (Some(facts(1).started), Some(facts(9).started)));
    drop(running);
}

#[test]
fn a_recording_is_found_by_the_beginning_of_its_name() {
    let (_dir, _path, archive) = archive();
    let ids: Vec<_> = (1..=2).map(|n| record(&archive, n, 2)).collect();
    for id in &ids {
        assert_eq!(archive.resolve(&id.to_string()).expect("found"), *id);
        assert_eq!(archive.resolve(&id.to_string().to_lowercase()[..12]).expect("found"), *id);
    }
    assert!(matches!(archive.resolve("01"), Err(Error::Ambiguous { count: 2, .. })));
    for text in ["7ZZZ", "", "not a name!", "01KAB2Q6ZT4V9XN3M7R8W5Y0EC0"] {
        assert!(matches!(archive.resolve(text), Err(Error::NotFound { .. })), "{text}");
    }
}

#[test]
fn a_running_recording_can_be_read_up_to_its_last_sealed_chunk() {
    let (_dir, _path, archive) = archive();
    let mut writer = archive.create(facts(1)).expect("begun");
    for i in 0..200 {
        append(&mut writer, 1, i).expect("kept");
    }
    archive.sync().expect("synced");
    let (payloads, _) = play(&archive, writer.id()).expect("plays");
    assert!((100..200).contains(&payloads.len()), "{}", payloads.len());
    writer.seal_stale(START.plus_millis(60_000)).expect("sealed");
    archive.sync().expect("synced");
    assert_eq!(play(&archive, writer.id()).expect("plays").0.len(), 200);
    writer.finish(ended(1, 2000)).expect("finished");
    assert_eq!(play(&archive, facts(1).id).expect("plays").0.len(), 200);
}

#[test]
fn a_discarded_recording_leaves_its_reason_and_nothing_else() {
    let (_dir, path, archive) = archive();
    let mut writer = archive.create(facts(1)).expect("begun");
    for i in 0..200 {
        append(&mut writer, 1, i).expect("kept");
    }
    archive.sync().expect("synced");
    let file = file_of(&path, facts(1).id);
    let key = fs::read(&file).expect("read")[132..220].to_vec();
    writer.discard("excluded late").expect("destroyed");
    assert!(!file.exists());
    assert!(matches!(archive.row(facts(1).id), Err(Error::NotFound { .. })));
    assert!(matches!(archive.read(facts(1).id), Err(Error::NotFound { .. })));
    assert_eq!(archive.verify(None).filter(store::Finding::is_problem).count(), 0);
    archive.close().expect("closed");
    for file in files(&path) {
        let bytes = fs::read(&file).expect("read");
        assert!(!bytes.windows(32).any(|run| key.windows(32).any(|k| k == run)), "{}", file.display());
    }
    let ledger = fs::read_to_string(path.join("ledger/recordings-2026-11.jsonl")).expect("read");
    assert!(ledger.contains("\"discarded\"") && ledger.contains("excluded late"), "{ledger}");
}

#[test]
fn a_writer_that_is_dropped_leaves_an_interrupted_recording() {
    let (_dir, _path, archive) = archive();
    let mut writer = archive.create(facts(1)).expect("begun");
    for i in 0..200 {
        append(&mut writer, 1, i).expect("kept");
    }
    drop(writer);
    archive.sync().expect("synced");
    let row = archive.row(facts(1).id).expect("listed");
    assert_eq!((row.facts.state, row.facts.duration_ms), (State::Interrupted, 1900));
    assert!(play(&archive, row.facts.id).expect("plays").0.len() >= 190);
    assert_eq!(archive.verify(None).filter(store::Finding::is_problem).count(), 0);
}

#[test]
fn closing_the_archive_ends_running_recordings_and_their_writers_are_told() {
    let (_dir, path, archive) = archive();
    let mut writer = archive.create(facts(1)).expect("begun");
    for i in 0..200 {
        append(&mut writer, 1, i).expect("kept");
    }
    archive.close().expect("closed");
    let told = (200..400).find_map(|i| append(&mut writer, 1, i).err());
    assert!(matches!(told, Some(Error::Closed)), "{told:?}");
    assert!(matches!(Archive::open(&path), Err(Error::Locked { .. })), "the writer still holds the archive");
    drop(writer);
    let archive = Archive::open(&path).expect("opens");
    assert_eq!(archive.row(facts(1).id).expect("listed").facts.state, State::Interrupted);
}

#[test]
fn an_archive_is_open_once() {
    let (_dir, path, archive) = archive();
    assert!(matches!(Archive::open(&path), Err(Error::Locked { .. })));
    assert!(matches!(Archive::open_or_create(&path), Err(Error::Locked { .. })));
    drop(archive);
    let (_archive, created) = Archive::open_or_create(&path).expect("opens");
    assert_eq!(created, Created::Existing);
}

#[test]
fn what_is_no_archive_is_said_so() {
    let dir = tempfile::tempdir().expect("a folder");
    assert!(matches!(Archive::open(dir.path()), Err(Error::Missing { .. })));
    assert!(matches!(Archive::open(&dir.path().join("none")), Err(Error::Missing { .. })));
    fs::write(dir.path().join("thesis.odt"), "x").expect("written");
    assert!(matches!(Archive::open_or_create(dir.path()), Err(Error::Refused { .. })));
    assert_eq!(files(dir.path()).len(), 1, "nothing was made there");
}

#[test]
fn a_new_archive_says_where_its_keys_are_and_only_the_owner_reads_them() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a folder");
    let (_archive, created) = Archive::open_or_create(dir.path()).expect("made");
    let keys_dir = dir.path().join("keys");
    assert_eq!(created, Created::New { keys_dir: keys_dir.clone() });
    for key in ["sign.key", "unwrap.key"] {
        let mode = fs::metadata(keys_dir.join(key)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
}

#[test]
fn a_newer_format_is_refused_with_both_numbers() {
    let (_dir, path, archive) = archive();
    let id = record(&archive, 1, 10);
    archive.close().expect("closed");
    let file = file_of(&path, id);
    let mut bytes = fs::read(&file).expect("read");
    bytes[68] = 9;
    fs::write(&file, bytes).expect("written");
    let archive = Archive::open(&path).expect("opens");
    assert!(matches!(archive.read(id), Err(Error::NewerFormat { found: 9, known: 3, .. })));
    drop(archive);
    fs::write(path.join("archive.json"), r#"{"format": 7, "more": []}"#).expect("written");
    let refused = Archive::open(&path).expect_err("refused");
    assert!(matches!(refused, Error::NewerFormat { found: 7, known: 2, .. }));
    assert!(refused.to_string().contains("archive.json"), "{refused}");
}

#[test]
fn without_the_private_key_everything_but_playing_works() {
    let (_dir, path, archive) = archive();
    let id = record(&archive, 1, 50);
    archive.close().expect("closed");
    fs::rename(path.join("keys/unwrap.key"), path.join("away")).expect("moved");
    let archive = Archive::open(&path).expect("opens");
    assert!(!archive.can_read());
    let missing = archive.read(id).expect_err("no key");
    assert!(matches!(missing, Error::KeyMissing { .. }));
    assert!(missing.to_string().contains("keys/unwrap.key"), "{missing}");
    let second = record(&archive, 2, 50);
    let verdicts: Vec<_> = archive.verify(None).map(|finding| finding.verdict).collect();
    assert_eq!(verdicts, [Verdict::Intact { opened: false }, Verdict::Intact { opened: false }]);
    archive.close().expect("closed");
    fs::rename(path.join("away"), path.join("keys/unwrap.key")).expect("moved");
    let archive = Archive::open(&path).expect("opens");
    assert_eq!(play(&archive, second).expect("plays").0.len(), 50);
    assert!(archive.verify(None).all(|finding| finding.verdict == Verdict::Intact { opened: true }));
}

#[test]
fn the_key_of_another_archive_is_called_wrong() {
    let (_dir, path, archive) = archive();
    let (_other_dir, other, _other_archive) = common::archive();
    let id = record(&archive, 1, 50);
    archive.close().expect("closed");
    fs::copy(other.join("keys/unwrap.key"), path.join("keys/unwrap.key")).expect("copied");
    let archive = Archive::open(&path).expect("opens");
    let wrong = archive.read(id).expect_err("another key");
    assert!(matches!(wrong, Error::WrongKey { .. }), "{wrong}");
    let problems = archive.check(false).expect("checked");
    assert!(problems.iter().any(|p| p.path.ends_with("unwrap.key")), "{problems:?}");
    archive.close().expect("closed");
    fs::copy(other.join("keys/sign.key"), path.join("keys/sign.key")).expect("copied");
    let archive = Archive::open(&path).expect("opens");
    assert!(matches!(archive.create(facts(5)), Err(Error::WrongKey { .. })), "nobody could verify it");
}

#[test]
fn the_index_is_built_anew_when_it_is_gone_or_garbage() {
    let (_dir, path, archive) = archive();
    for n in 1..=3 {
        record(&archive, n, 20);
    }
    archive.sync().expect("synced");
    let before: Vec<_> = archive.rows().map(|row| row.expect("a row")).collect();
    archive.close().expect("closed");
    let damages: [&dyn Fn(); 5] = [
        &|| fs::remove_dir_all(path.join("index")).expect("removed"),
        &|| fs::write(path.join("index/db"), vec![0x5a; 100_000]).expect("written"),
        &|| fs::write(path.join("index/conf"), "garbage").expect("written"),
        &|| fs::write(path.join("index/snap.0000000000000000.generating"), "half").expect("written"),
        &|| {
            fs::remove_dir_all(path.join("index")).expect("removed");
            fs::write(path.join("index"), "a file").expect("written");
        },
    ];
    for (i, damage) in damages.iter().enumerate() {
        damage();
        let archive = Archive::open(&path).unwrap_or_else(|e| panic!("damage {i}: {e}"));
        // Hashes come when somebody has read the files.
        let rows = || archive.rows().map(|row| row.expect("a row")).collect::<Vec<_>>();
        let unhashed: Vec<_> =
            before.iter().cloned().map(|row| Row { sha256: String::new(), ..row }).collect();
        let at_once: Vec<_> = rows().into_iter().map(|row| Row { sha256: String::new(), ..row }).collect();
        assert_eq!(at_once, unhashed, "damage {i}");
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while rows() != before {
            assert!(std::time::Instant::now() < until, "damage {i}: {:?}", rows());
            archive.sync().expect("synced");
        }
        archive.close().expect("closed");
    }
}

#[test]
fn opening_without_an_index_shows_its_progress_too() {
    let (_dir, path, archive) = archive();
    for n in 1..=3 {
        record(&archive, n, 20);
    }
    archive.close().expect("closed");
    let open = || {
        let mut steps = Vec::new();
        let archive = Archive::open_watched(&path, &mut |done, all| steps.push((done, all))).expect("opens");
        archive.close().expect("closed");
        steps
    };
    assert_eq!(open(), [], "there is nothing to build");
    fs::remove_dir_all(path.join("index")).expect("removed");
    assert_eq!(open(), [(0, 3), (1, 3), (2, 3), (3, 3)]);
}

#[test]
fn rebuilding_shows_its_progress_and_names_what_it_cannot_read() {
    let (_dir, path, archive) = archive();
    let ids: Vec<_> = (1..=3).map(|n| record(&archive, n, 20)).collect();
    archive.sync().expect("synced");
    fs::write(file_of(&path, ids[1]), "no recording").expect("written");
    let mut steps = Vec::new();
    let rebuilt = archive.rebuild(|done, all| steps.push((done, all))).expect("rebuilt");
    assert_eq!((rebuilt.rows, rebuilt.damaged.len()), (2, 1));
    assert_eq!(steps, [(0, 3), (1, 3), (2, 3), (3, 3)]);
    assert_eq!(archive.rows().count(), 2);
}

#[test]
fn calls_and_runs_come_back_as_written() {
    let (_dir, path, archive) = archive();
    let call = |n: u8, at: &str| CallRow {
        call: format!("call-{n}"),
        sip_call_ids: vec!["a\nb".into()],
        // Whoever calls may be called anything.
        from: "\"started\":\"1999-01-01T00:00:00Z\"".into(),
        to: "+49".into(),
        started: at.parse().expect("a time"),
        answered: None,
        ended: None,
        outcome: Outcome::NotAnswered,
        reason: "486 Busy Here".into(),
        recordings: vec![],
        ties: Vec::new(),
        why: Vec::new(),
        parts: Vec::new(),
    };
    let rows =
        [call(1, "2026-10-31T23:59:59Z"), call(2, "2026-11-01T00:00:00Z"), call(3, "2026-11-01T00:00:01Z")];
    for row in &rows {
        archive.append_call(row).expect("kept");
    }
    let run = RunRow {
        started: START,
        ended: START,
        counters: Counters { packets_seen: 7, ..Counters::default() },
    };
    archive.append_run(&run).expect("kept");
    assert_eq!(archive.calls().expect("read").map(|row| row.expect("a row")).collect::<Vec<_>>(), rows);
    archive.close().expect("closed");
    let archive = Archive::open(&path).expect("opens");
    assert_eq!(archive.calls().expect("read").map(|row| row.expect("a row")).collect::<Vec<_>>(), rows);
    assert_eq!(archive.runs().expect("read").map(|row| row.expect("a row")).collect::<Vec<_>>(), [run]);

    let begun = |since: &str, until: &str| -> Vec<(u64, String)> {
        let at = |text: &str| text.parse().ok();
        let begun = archive.calls_begun(at(since), at(until)).expect("read").map(|row| row.expect("a row"));
        begun.map(|(line, row)| (line, row.call)).collect()
    };
    let [first, second, third] =
        [(1, "call-1"), (1, "call-2"), (2, "call-3")].map(|(n, c)| (n, c.to_owned()));
    assert_eq!(begun("", ""), [first.clone(), second.clone(), third.clone()]);
    assert_eq!(begun("2026-11-01T00:00:00Z", ""), [second.clone(), third.clone()]);
    assert_eq!(begun("", "2026-11-01T00:00:01Z"), [first, second.clone()]);
    assert_eq!(begun("2026-11-01T00:00:00Z", "2026-11-01T00:00:01Z"), [second]);
    assert_eq!(begun("2026-11-01T00:00:01Z", "2026-12-01T00:00:00Z"), [third]);
    assert_eq!(begun("2026-11-02T00:00:00Z", ""), []);
}

#[test]
fn a_name_is_taken_once() {
    let (_dir, _path, archive) = archive();
    let _running = archive.create(facts(1)).expect("begun");
    assert!(matches!(archive.create(facts(1)), Err(Error::Refused { .. })));
    let id = record(&archive, 2, 10);
    archive.sync().expect("synced");
    assert!(matches!(archive.create(facts(2)), Err(Error::Refused { .. })));
    assert_eq!(play(&archive, id).expect("plays").0.len(), 10);
}

#[test]
fn facts_of_another_recording_do_not_end_this_one() {
    let (_dir, _path, archive) = archive();
    let writer = archive.create(facts(1)).expect("begun");
    assert!(matches!(writer.finish(ended(2, 100)), Err(Error::Refused { .. })));
    archive.sync().expect("synced");
    assert_eq!(archive.row(facts(1).id).expect("listed").facts.state, State::Interrupted);
}

#[test]
fn check_finds_and_repairs() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, path, archive) = archive();
    let id = record(&archive, 1, 20);
    assert_eq!(archive.check(false).expect("checked"), []);
    let key = path.join("keys/sign.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("set");
    fs::write(path.join("recordings/stray"), "x").expect("written");
    let found = archive.check(false).expect("checked");
    assert_eq!(found.len(), 2, "{found:?}");
    let repaired = archive.check(true).expect("checked");
    assert_eq!(repaired.iter().filter(|problem| problem.repaired).count(), 1, "{repaired:?}");
    assert_eq!(fs::metadata(&key).expect("there").permissions().mode() & 0o777, 0o600);
    fs::remove_file(path.join("recordings/stray")).expect("removed");
    assert_eq!(archive.check(false).expect("checked"), []);
    fs::remove_file(file_of(&path, id)).expect("removed");
    let missing = archive.check(true).expect("checked");
    assert!(missing.iter().all(|problem| !problem.repaired) && missing.len() == 2, "{missing:?}");
}

#[test]
fn a_check_finds_what_its_cost_can_show() {
    let (_dir, path, archive) = archive();
    let ids = [1, 2, 3].map(|n| record(&archive, n, 50));
    archive.sync().expect("synced");
    let found = |cost| {
        let mut steps = Vec::new();
        let problems = archive.check_at(cost, false, &mut |done, total| steps.push((done, total)));
        assert_eq!(steps.last().map(|(done, total)| done == total), Some(true), "{cost:?}: {steps:?}");
        problems.expect("checked").into_iter().map(|problem| problem.path).collect::<Vec<_>>()
    };
    let costs = [Cost::Index, Cost::Headers, Cost::Bytes];
    assert!(costs.iter().all(|cost| found(*cost).is_empty()));
    let relative = |id| file_of(&path, id).strip_prefix(&path).expect("below it").to_owned();
    let [flipped, cut, gone] = ids.map(relative);
    let mut bytes = fs::read(path.join(&flipped)).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(path.join(&flipped), &bytes).expect("written");
    assert_eq!(costs.map(&found), [vec![], vec![], vec![flipped.clone()]]);
    let bytes = fs::read(path.join(&cut)).expect("read");
    fs::write(path.join(&cut), &bytes[..bytes.len() - 10]).expect("written");
    assert_eq!(costs.map(|cost| found(cost).contains(&cut)), [false, true, true]);
    fs::remove_file(path.join(&gone)).expect("removed");
    assert_eq!(costs.map(|cost| found(cost).contains(&gone)), [true, true, true]);
}

#[test]
fn recordings_are_found_by_the_words_of_their_notes() {
    let (_dir, path, archive) = archive();
    let ids = [1, 2, 3].map(|n| common::record(&archive, n, 20));
    let running = archive.create(facts(4)).expect("begun");
    let note = |archive: &Archive, id, text: &str| {
        let what = What::Noted { id, at_ms: None, text: text.into() };
        archive.edit(Event { at: START, who: "ann".into(), what }).expect("noted");
    };
    note(&archive, ids[0], "Wants the Blue one, call back");
    note(&archive, ids[0], "called, happy");
    note(&archive, ids[1], "blue");
    note(&archive, running.id(), "call about BLUE");
    archive.sync().expect("synced");
    let found = |archive: &Archive, words: &str, until: Option<u8>| -> Vec<RecordingId> {
        let until = until.map(|n| facts(n).started);
        let mut query = Query::default();
        query.until = until;
        query.note_words(words);
        let rows = archive.search(&query).map(|row| row.expect("a row").facts.id).collect::<Vec<_>>();
        let sums = archive.stats(&query).expect("summed");
        assert_eq!(sums.recordings, rows.len() as u64, "{words}");
        rows
    };
    assert_eq!(found(&archive, "%", None), [running.id(), ids[1], ids[0]]);
    assert_eq!(found(&archive, "call  blue", None), [running.id(), ids[0]], "all words, of one note");
    assert_eq!(found(&archive, "happy blue", None), [], "not of two");
    assert_eq!(found(&archive, "blue", Some(2)), [ids[0]]);
    assert_eq!(found(&archive, " ", None).len(), 4, "nothing asks for nothing");
    drop(running);
    archive.close().expect("closed");
    let archive = Archive::open(&path).expect("opens");
    assert_eq!(found(&archive, "blue", None).len(), 3);
}
