//! The container against somebody who can write to the archive: whatever he cuts, swaps, repeats, moves or flips is
//! refused, both by verification and by playing.

mod common;

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::OnceLock;

use common::{append, archive, ended, facts, file_of, play, record};
use proptest::prelude::*;
use store::{Archive, Error, RecordingId, Verdict};

/// Two recordings of one archive, as they were sealed.
struct Sealed {
    _dir: tempfile::TempDir,
    dir: PathBuf,
    ids: [RecordingId; 2],
    bytes: [Vec<u8>; 2],
}

fn sealed() -> Sealed {
    let (temporary, dir, archive) = archive();
    let ids = [1, 2].map(|n| record(&archive, n, 200));
    archive.close().expect("closed");
    let bytes = ids.map(|id| fs::read(file_of(&dir, id)).expect("read"));
    Sealed { _dir: temporary, dir, ids, bytes }
}

/// Where the chunks of a file stand, frame headers and all, by the layout in `docs/format.md`.
fn chunks(bytes: &[u8]) -> Vec<Range<usize>> {
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
    let head = 60 + 8 + u32_at(64);
    let mut at = head + head % 2 + 8;
    let end = at + u32_at(at - 4);
    let mut chunks = Vec::new();
    while at < end {
        let next = at + 32 + u32_at(at);
        chunks.push(at..next);
        at = next;
    }
    assert_eq!(at, end);
    chunks
}

impl Sealed {
    /// Puts `changed` in place of recording 0; everybody must refuse it, each in his own words.
    fn assert_refused(&self, changed: &[u8], how: &str) {
        assert_ne!(changed, self.bytes[0], "{how}: nothing was changed");
        let file = file_of(&self.dir, self.ids[0]);
        fs::write(&file, changed).expect("written");
        let archive = Archive::open(&self.dir).expect("the archive opens all the same");
        let finding = archive.verify(Some(&self.ids[..1])).next().expect("a finding");
        assert!(finding.is_problem(), "{how}: verification finds nothing");
        let played = play(&archive, self.ids[0]);
        let refused = matches!(
            played,
            Err(Error::Tampered { .. }
                | Error::Damaged { .. }
                | Error::NewerFormat { .. }
                | Error::KeyUnknown { .. }
                | Error::WrongKey { .. })
        );
        assert!(
            refused,
            "{how}: it plays, or fails otherwise: {:?}",
            played.map(|(payloads, _)| payloads.len())
        );
        archive.close().expect("closed");
        fs::write(&file, &self.bytes[0]).expect("written");
    }

    /// Recording 0 with other chunks, its size fields made to fit.
    fn with_chunks(&self, chunks_of: &[&[u8]]) -> Vec<u8> {
        let bytes = &self.bytes[0];
        let places = chunks(bytes);
        let (start, end) = (places[0].start, places[places.len() - 1].end);
        let mut changed = bytes[..start].to_vec();
        chunks_of.iter().for_each(|chunk| changed.extend_from_slice(chunk));
        let data_len = changed.len() - start;
        changed[start - 4..start].copy_from_slice(&(data_len as u32).to_le_bytes());
        if data_len % 2 == 1 {
            changed.push(0);
        }
        changed.extend_from_slice(&bytes[end + (end - start) % 2..]);
        let riff_len = changed.len() as u32 - 8;
        changed[4..8].copy_from_slice(&riff_len.to_le_bytes());
        changed
    }
}

thread_local! {
    static SEALED: OnceLock<Sealed> = const { OnceLock::new() };
}

fn with_sealed(test: impl FnOnce(&Sealed)) {
    SEALED.with(|cell| test(cell.get_or_init(sealed)));
}

#[test]
fn what_was_not_changed_is_intact() {
    with_sealed(|sealed| {
        let archive = Archive::open(&sealed.dir).expect("opens");
        let verdicts: Vec<_> = archive.verify(None).map(|finding| finding.verdict).collect();
        assert_eq!(verdicts, [Verdict::Intact { opened: true }, Verdict::Intact { opened: true }]);
        let bytes = &sealed.bytes[0];
        let whole: Vec<_> = chunks(bytes).into_iter().map(|place| &bytes[place]).collect();
        assert_eq!(
            sealed.with_chunks(&whole),
            *bytes,
            "the tool of these tests puts a file together as it was"
        );
    });
}

#[test]
fn chunks_left_out_swapped_repeated_or_from_another_file_are_refused() {
    with_sealed(|sealed| {
        let [one, two] = &sealed.bytes;
        let ours: Vec<_> = chunks(one).into_iter().map(|place| &one[place]).collect();
        let theirs: Vec<_> = chunks(two).into_iter().map(|place| &two[place]).collect();
        for i in 0..ours.len() {
            let mut cut = ours.clone();
            cut.remove(i);
            sealed.assert_refused(&sealed.with_chunks(&cut), &format!("chunk {i} left out"));
            let mut moved = ours.clone();
            moved[i] = theirs[i];
            sealed.assert_refused(&sealed.with_chunks(&moved), &format!("chunk {i} of another file"));
            let mut repeated = ours.clone();
            repeated.insert(i, ours[i]);
            sealed.assert_refused(&sealed.with_chunks(&repeated), &format!("chunk {i} twice"));
            for j in 0..i {
                let mut swapped = ours.clone();
                swapped.swap(i, j);
                sealed.assert_refused(&sealed.with_chunks(&swapped), &format!("chunks {i} and {j} swapped"));
            }
        }
    });
}

#[test]
fn a_file_under_another_name_is_refused() {
    with_sealed(|sealed| sealed.assert_refused(&sealed.bytes[1], "the other recording's file"));
}

#[test]
fn a_genuine_file_in_place_of_a_newer_one_is_refused() {
    // The same recording sealed twice, as from a copy of the archive made before: every signature is genuine.
    let (_dir, dir, archive) = archive();
    let id = record(&archive, 1, 200);
    archive.close().expect("closed");
    let file = file_of(&dir, id);
    let newer = fs::read(&file).expect("read");
    let ledger = dir.join("ledger/recordings-2026-11.jsonl");
    let lines = fs::read(&ledger).expect("read");
    fs::remove_file(&file).expect("removed");
    fs::remove_file(&ledger).expect("removed");
    fs::remove_dir_all(dir.join("index")).expect("removed");
    let archive = Archive::open(&dir).expect("opens");
    record(&archive, 1, 100);
    archive.close().expect("closed");
    assert_ne!(fs::read(&file).expect("read"), newer);
    fs::write(&ledger, lines).expect("written");
    let archive = Archive::open(&dir).expect("opens");
    let finding = archive.verify(None).next().expect("a finding");
    assert!(matches!(finding.verdict, Verdict::Changed { .. }), "{finding:?}");
}

#[test]
fn files_removed_and_files_brought_in_are_found() {
    let (_dir, dir, archive) = archive();
    let ids = [1, 2, 3].map(|n| record(&archive, n, 20));
    archive.close().expect("closed");
    fs::remove_file(file_of(&dir, ids[0])).expect("removed");
    let ledger = dir.join("ledger/recordings-2026-11.jsonl");
    let lines = fs::read_to_string(&ledger).expect("read");
    let without: Vec<_> = lines.lines().filter(|line| !line.contains(&ids[2].to_string())).collect();
    fs::write(&ledger, without.join("\n") + "\n").expect("written");
    let stray = file_of(&dir, ids[1]).with_file_name("copy.wav");
    fs::copy(file_of(&dir, ids[1]), stray).expect("copied");
    let archive = Archive::open(&dir).expect("opens");
    let verdict = |id: RecordingId| {
        archive.verify(None).find(|finding| finding.id == Some(id)).map(|finding| finding.verdict)
    };
    assert_eq!(verdict(ids[0]), Some(Verdict::Missing));
    assert_eq!(verdict(ids[1]), Some(Verdict::Intact { opened: true }));
    assert_eq!(verdict(ids[2]), Some(Verdict::Unlisted));
    let stray = archive.verify(None).find(|finding| finding.path.ends_with("copy.wav")).expect("found");
    assert!(stray.is_problem(), "{stray:?}");
    let taken = archive.verify(None).find(|finding| finding.path.ends_with("leaves")).expect("found");
    assert!(format!("{taken:?}").contains("taken out of the ledger"), "{taken:?}");
}

#[test]
fn a_line_of_the_ledger_that_cannot_be_read_is_found() {
    let (_dir, dir, archive) = archive();
    record(&archive, 1, 20);
    archive.close().expect("closed");
    let ledger = dir.join("ledger/recordings-2026-11.jsonl");
    fs::write(&ledger, "{\"id\": 7}\n").expect("written");
    let archive = Archive::open(&dir).expect("opens");
    let problems = archive.verify(None).filter(store::Finding::is_problem).count();
    assert_eq!(problems, 3, "the line, the one that it replaced, and the recording that it no longer names");
}

#[test]
fn an_interrupted_recording_cannot_be_cut_further() {
    let (_dir, dir, archive) = archive();
    let mut writer = archive.create(facts(1)).expect("begun");
    for i in 0..400 {
        append(&mut writer, 1, i).expect("kept");
    }
    drop(writer);
    record(&archive, 2, 10);
    archive.close().expect("closed");
    let ids = [facts(1).id, facts(2).id];
    let bytes = ids.map(|id| fs::read(file_of(&dir, id)).expect("read"));
    let sealed = Sealed { _dir: tempfile::tempdir().expect("a folder"), dir, ids, bytes };
    let places = chunks(&sealed.bytes[0]);
    let whole: Vec<_> = places.iter().map(|place| &sealed.bytes[0][place.clone()]).collect();
    assert!(whole.len() > 3);
    sealed.assert_refused(&sealed.with_chunks(&whole[..whole.len() - 1]), "cut by one chunk");
}

#[test]
fn a_finished_recording_made_to_look_unfinished_is_refused() {
    with_sealed(|sealed| {
        let bytes = &sealed.bytes[0];
        let places = chunks(bytes);
        let mut open = bytes[..places[1].end].to_vec();
        open[4..8].fill(0xff);
        open[places[0].start - 4..places[0].start].fill(0xff);
        sealed.assert_refused(&open, "cut after a chunk, sizes open");
    });
}

#[test]
fn other_facts_at_the_end_are_refused() {
    with_sealed(|sealed| {
        let text = br#""extension":"1001""#;
        let bytes = &sealed.bytes[0];
        let places: Vec<_> =
            (0..bytes.len() - text.len()).filter(|&i| bytes[i..].starts_with(text)).collect();
        assert_eq!(places.len(), 2, "at the start and at the end");
        for at in places {
            let mut changed = bytes.clone();
            changed[at + text.len() - 2] = b'2';
            sealed.assert_refused(&changed, "another extension");
        }
    });
    let _ = ended(1, 0);
}

/// Flips, cuts and so on of each kind; `EARWITNESS_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("EARWITNESS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn a_flipped_bit_anywhere_is_refused(place: prop::sample::Index, bit in 0..8_u32) {
        with_sealed(|sealed| {
            let mut changed = sealed.bytes[0].clone();
            let at = place.index(changed.len());
            changed[at] ^= 1_u8 << bit;
            sealed.assert_refused(&changed, &format!("bit {bit} of byte {at}"));
        });
    }

    #[test]
    fn a_file_cut_or_lengthened_anywhere_is_refused(place: prop::sample::Index, more: Vec<u8>, cut: bool) {
        with_sealed(|sealed| {
            let mut changed = sealed.bytes[0].clone();
            if cut {
                changed.truncate(place.index(changed.len()));
            } else if !more.is_empty() {
                let at = place.index(changed.len());
                changed.splice(at..at, more);
            } else {
                changed.push(0);
            }
            sealed.assert_refused(&changed, "cut or lengthened");
        });
    }

    #[test]
    fn any_file_at_all_is_refused_without_a_panic(bytes: Vec<u8>, keep in 0..800_usize) {
        with_sealed(|sealed| {
            let mut changed = sealed.bytes[0][..keep.min(sealed.bytes[0].len())].to_vec();
            changed.extend_from_slice(&bytes);
            sealed.assert_refused(&changed, "a head and noise");
        });
    }
}

#[test]
fn every_bit_of_the_header_and_the_footer_counts() {
    // The places that are not under the chunks' own seal, one by one: flipping them is seen without any key.
    let (_dir, dir, archive) = archive();
    let id = record(&archive, 1, 2);
    archive.close().expect("closed");
    let file = file_of(&dir, id);
    let bytes = fs::read(&file).expect("read");
    fs::rename(dir.join("keys/unwrap.key"), dir.join("keys/away")).expect("moved");
    let archive = Archive::open(&dir).expect("opens");
    // All but the wrapped key itself, which is no part of what is signed: that it fits shows when it is opened.
    for at in (0..140).chain(220..bytes.len()) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&file, &changed).expect("written");
        let finding = archive.verify(Some(&[id])).next().expect("a finding");
        assert!(finding.is_problem(), "byte {at}");
    }
}
