//! Holding the search records of calls without a recording against the balance sheet that they are made of.
//!
//! Lines that were not taken in yet are no difference: a search takes them in. What seems to differ is looked at a second time, because calls end, and
//! lines are erased, while this goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{CallPlace, NO_RECORDINGS, Unrecorded, read};
use crate::ledger::{self, Lines};
use crate::search::{blocks, record};
use crate::shared::Shared;
use crate::{CallRow, Error, RecordingId};

/// Blocks read at once.
const BLOCKS: usize = 64;

/// A record in few bytes: a month has very many of them.
type Short = (RecordingId, [u8; 8]);

fn short(name: RecordingId, record: &[u8]) -> Short {
    (name, *Sha256::digest(record).first_chunk().expect("SHA-256 has 32 bytes"))
}

/// How the records of a month differ from its lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Differing {
    /// Of calls that no search finds.
    pub(crate) missing: BTreeSet<RecordingId>,
    /// Of calls of which the line says something else.
    pub(crate) other: BTreeSet<RecordingId>,
    /// Of calls of which there is no line.
    pub(crate) surplus: BTreeSet<RecordingId>,
}

impl Differing {
    fn is_nothing(&self) -> bool {
        self.missing.is_empty() && self.other.is_empty() && self.surplus.is_empty()
    }
}

/// How records and lines differ, by the file of the month; nothing where they do not.
pub(crate) fn differing(shared: &Shared) -> Result<BTreeMap<String, Differing>, Error> {
    let (disk, index) = (&*shared.disk, &shared.index);
    let mut months = BTreeMap::new();
    for file in ledger::months(disk, ledger::CALLS)? {
        // In this order: the index never has more than there is, unless somebody put an older file there.
        let taken_in = index.cursor(&file)?;
        let len = disk.len(&file).map_err(|e| Error::io(&file, e))?.unwrap_or_default();
        months.insert(file, if taken_in > len { u64::MAX } else { taken_in });
    }
    let mut found = BTreeMap::new();
    let mut settle = |file: String, there: Vec<Short>, taken_in: u64| -> Result<(), Error> {
        let differing = of_month(shared, &file, there, taken_in)?;
        if !differing.is_nothing() {
            found.insert(file, differing);
        }
        Ok(())
    };
    let lowest = RecordingId::from_bytes([0; 16]);
    let (mut below, mut month): (Option<RecordingId>, Option<(String, Vec<Short>)>) = (None, None);
    loop {
        // The newest first, so that the records of a month come together.
        let read_now = index.call_blocks(lowest, below, BLOCKS)?;
        for block in &read_now {
            let records: Result<Vec<Short>, _> =
                blocks::records(block).map(|item| item.map(|(name, record)| short(name, record))).collect();
            for one in records.map_err(|_| index.damaged("a block of calls"))?.into_iter().rev() {
                let file = ledger::month(ledger::CALLS, one.0.started());
                match &mut month {
                    Some((of, there)) if *of == file => there.push(one),
                    _ => {
                        if let Some((of, there)) = month.replace((file, vec![one])) {
                            let taken_in = months.remove(&of).unwrap_or(u64::MAX);
                            settle(of, there, taken_in)?;
                        }
                    }
                }
            }
        }
        match read_now.last() {
            Some(block) if read_now.len() == BLOCKS => below = Some(block.first),
            _ => break,
        }
    }
    if let Some((of, there)) = month {
        let taken_in = months.remove(&of).unwrap_or(u64::MAX);
        settle(of, there, taken_in)?;
    }
    // Those of which the index has nothing.
    months.into_iter().try_for_each(|(file, taken_in)| settle(file, Vec::new(), taken_in))?;
    Ok(found)
}

/// Of one month, of the lines that begin before `taken_in`.
fn of_month(shared: &Shared, file: &str, mut there: Vec<Short>, taken_in: u64) -> Result<Differing, Error> {
    let mut told = told(shared, file, taken_in)?;
    there.sort_unstable();
    told.sort_unstable();
    let differs = |one: &&Short, others: &[Short]| others.binary_search(one).is_err();
    let untold = there.iter().filter(|one| differs(one, &told));
    let unfound = told.iter().filter(|one| differs(one, &there));
    let suspects: BTreeSet<RecordingId> = untold.chain(unfound).map(|(name, _)| *name).collect();
    let mut differing = Differing::default();
    for name in suspects {
        let line = line_of(shared, name)?.map(|call| record::encode(&call));
        match (line, shared.index.call_record(name)?) {
            (line, record) if line == record => {}
            (Some(_), None) => drop(differing.missing.insert(name)),
            (Some(_), Some(_)) => drop(differing.other.insert(name)),
            (None, _) => drop(differing.surplus.insert(name)),
        }
    }
    Ok(differing)
}

/// What the lines of a month say that begin before a place.
fn told(shared: &Shared, file: &str, end: u64) -> Result<Vec<Short>, Error> {
    let mut told = Vec::new();
    if shared.disk.len(file).map_err(|e| Error::io(file, e))?.is_none() {
        return Ok(told);
    }
    let mut lines = Lines::<CallRow>::new(Arc::clone(&shared.disk), file.to_owned(), 0);
    while let Some((at, line)) = lines.next_raw()? {
        if at >= end {
            break;
        }
        if memchr::memmem::find(line, NO_RECORDINGS).is_none() {
            continue;
        }
        // One that cannot be read is in no search either; what is wrong with it is for verification.
        let Ok(call) = serde_json::from_slice(line) else { continue };
        let calls = Unrecorded::of_line(at, call);
        told.extend(calls.iter().map(|call| short(call.place.0, &record::encode(call))));
    }
    Ok(told)
}

/// The call of this name, by its line; none where no line tells of it.
fn line_of(shared: &Shared, name: RecordingId) -> Result<Option<Unrecorded>, Error> {
    let file = ledger::month(ledger::CALLS, name.started());
    if shared.disk.len(&file).map_err(|e| Error::io(&file, e))?.is_none() {
        return Ok(None);
    }
    match read(&shared.disk, CallPlace(name)) {
        // A place in the middle of a line.
        Err(Error::Damaged { .. }) => Ok(None),
        other => other,
    }
}

/// Has the index say what the lines do.
pub(crate) fn mend(shared: &Shared, differing: &Differing) -> Result<(), Error> {
    let Differing { missing, other, surplus } = differing;
    shared.index.remove_calls(surplus)?;
    for name in missing.union(other) {
        if let Some(call) = line_of(shared, *name)? {
            shared.index.put_calls(&[call])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use decode::Timestamp;

    use super::*;
    use crate::{Archive, Cost, Outcome, Problem, Query};

    /// Two months.
    const STARTS: [Timestamp; 2] =
        [Timestamp::from_millis(1_795_000_000_000), Timestamp::from_millis(1_798_000_000_000)];

    fn call(started: Timestamp, n: i64) -> CallRow {
        CallRow {
            call: format!("call-{n}"),
            sip_call_ids: vec![format!("{n}@pbx")],
            from: "01632960001".into(),
            to: "2001".into(),
            started: started.plus_millis(n * 1_000),
            answered: None,
            ended: Some(started.plus_millis(n * 1_000 + 500)),
            outcome: Outcome::NotAnswered,
            reason: "486".into(),
            recordings: vec![],
            ties: vec![],
            why: vec![],
            parts: vec![],
        }
    }

    fn archive() -> (tempfile::TempDir, Archive) {
        let dir = tempfile::tempdir().expect("a folder");
        let archive = Archive::open_or_create(&dir.path().join("a")).expect("made").0;
        for started in STARTS {
            (0..300).for_each(|n| archive.append_call(&call(started, n)).expect("kept"));
        }
        archive.sync().expect("a disk");
        (dir, archive)
    }

    fn all(archive: &Archive) -> Vec<Unrecorded> {
        archive.unrecorded(&Query::default(), None, None, 10_000).expect("searched").0
    }

    fn checked(archive: &Archive, repair: bool) -> Vec<Problem> {
        archive.check_at(Cost::Index, repair, &mut |_, _| {}).expect("checked")
    }

    /// A call that a line tells otherwise, or none does.
    fn changed(call: &Unrecorded, change: impl FnOnce(&mut CallRow)) -> Unrecorded {
        let mut row = CallRow::clone(&call.call);
        change(&mut row);
        Unrecorded { place: call.place, call: Arc::new(row) }
    }

    #[test]
    fn records_that_are_missing_other_or_too_many_are_told_by_month_with_what_to_do() {
        let (_dir, archive) = archive();
        let calls = all(&archive);
        assert_eq!((calls.len(), checked(&archive, false)), (600, vec![]));
        let index = &archive.shared.index;
        let names = |places: &[usize]| places.iter().map(|n| calls[*n].place.0).collect::<BTreeSet<_>>();
        index.remove_calls(&names(&[3, 4])).expect("removed");
        let other = changed(&calls[5], |row| row.to = "2002".into());
        let longer = changed(&calls[6], |row| row.answered = Some(row.started));
        index.put_calls(&[other, longer]).expect("put");
        // In the middle of a line, behind the file, and of a month that there is not.
        let [.., oldest] = &calls[..] else { panic!("{calls:?}") };
        let row =
            |row: &CallRow, at| CallPlace::new(row, at, None, Outcome::NotAnswered, false).expect("a place");
        let surplus = [(&oldest.call, 7), (&oldest.call, 1 << 40)]
            .map(|(call, at)| Unrecorded { place: row(call, at), call: Arc::clone(call) });
        let elsewhere = call(Timestamp::from_millis(1_700_000_000_000), 0);
        let elsewhere = Unrecorded { place: row(&elsewhere, 0), call: Arc::new(elsewhere) };
        index.put_calls(&surplus).expect("put");
        index.put_calls(std::slice::from_ref(&elsewhere)).expect("put");

        let found = differing(&archive.shared).expect("compared");
        let file = |at| ledger::month(ledger::CALLS, at);
        let newest = &found[&file(STARTS[1])];
        assert_eq!((&newest.missing, &newest.other), (&names(&[3, 4]), &names(&[5, 6])));
        assert!(newest.surplus.is_empty());
        assert_eq!(found[&file(STARTS[0])].surplus, surplus.each_ref().map(|call| call.place.0).into());
        assert_eq!(found[&file(elsewhere.call.started)].surplus, [elsewhere.place.0].into());
        assert_eq!(found.len(), 3);

        let problems = checked(&archive, false);
        assert_eq!(problems.len(), 4, "{problems:?}");
        for problem in &problems {
            assert!(
                problem.what.contains("`earwitness archive rebuild`") && !problem.repaired,
                "{problem:?}"
            );
        }
        let words: Vec<&str> = problems.iter().map(|problem| problem.what.as_str()).collect();
        for part in [
            "2 calls without a recording not found by searches",
            "2 calls without a recording found otherwise",
            "2 calls without a recording found that it does not name",
            "1 call without a recording found that it does not name",
        ] {
            assert!(words.iter().any(|words| words.contains(part)), "{part} in {words:?}");
        }
        assert!(checked(&archive, true).iter().all(|problem| problem.repaired));
        assert_eq!(checked(&archive, false), []);
        assert_eq!(all(&archive), calls);
    }

    #[test]
    fn an_index_that_is_built_anew_has_no_differences_and_lines_not_taken_in_are_none() {
        let (_dir, archive) = archive();
        let calls = all(&archive);
        let index = &archive.shared.index;
        index.remove_calls(&calls.iter().map(|call| call.place.0).collect()).expect("removed");
        assert_eq!(checked(&archive, false).len(), 2, "a month each");
        archive.rebuild(|_, _| {}).expect("built");
        assert_eq!(checked(&archive, false), [], "nothing is taken in yet");
        assert_eq!((all(&archive), checked(&archive, false)), (calls, vec![]));
    }

    #[test]
    fn a_month_that_was_put_back_to_an_older_state_shows_what_it_lacks_as_too_many() {
        let (dir, archive) = archive();
        let calls = all(&archive);
        archive.close().expect("closed");
        let path = dir.path().join("a").join(ledger::month(ledger::CALLS, STARTS[1]));
        let text = std::fs::read_to_string(&path).expect("read");
        let older: String = text.lines().take(290).flat_map(|line| [line, "\n"]).collect();
        std::fs::write(&path, older).expect("written");
        let archive = Archive::open(&dir.path().join("a")).expect("opens");
        let found = differing(&archive.shared).expect("compared");
        let expected: BTreeSet<RecordingId> = calls[..10].iter().map(|call| call.place.0).collect();
        assert_eq!(found[&ledger::month(ledger::CALLS, STARTS[1])].surplus, expected);
    }
}
