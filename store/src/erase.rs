//! Blanking lines of the ledger whose time is over: calls, notes, tags, the facts of recordings that are gone.
//!
//! A line is overwritten where it stands, so that no offset moves, and a signed event says which ones and why. Its hash
//! stays in the log; the salt that went with the line keeps it from telling what the line said.

use std::collections::BTreeSet;
use std::sync::Arc;

use decode::Timestamp;
use serde::Deserialize;

use crate::disk::locked;
use crate::event::{BY_ITSELF, Event, What, erasure_text};
use crate::ledger::{self, Fate, Lines, Logged};
use crate::scribe::{Blank, Command};
use crate::unrecorded;
use crate::{Archive, CallRow, Deletion, Error, RecordingId};

/// Lines blanked by one event.
const LINES_MAX: usize = 10_000;
/// Their bytes: one journal entry holds them all.
const BYTES_MAX: usize = 4 << 20;

/// What is needed of a line to know whom it is about.
#[derive(Deserialize)]
struct About {
    id: Option<RecordingId>,
    #[serde(default)]
    recordings: Vec<RecordingId>,
    /// There are facts in it.
    deletion: Option<WithFacts>,
}

#[derive(Deserialize)]
struct WithFacts {
    facts: Option<serde::de::IgnoredAny>,
}

/// Lines that are to go, and what their event says.
#[derive(Default)]
struct Due {
    leaves: Vec<u64>,
    lines: Vec<Blank>,
    /// What the index has of them, of calls without a recording.
    calls: BTreeSet<RecordingId>,
    bytes: usize,
}

impl Archive {
    /// Erases what the ledger says of recordings that are gone with their facts: what people did to them, their facts, and
    /// the calls that have no other recording. Gives the number of lines.
    pub(crate) fn erase_about(&self, ids: &BTreeSet<RecordingId>, by: &Deletion) -> Result<u64, Error> {
        // A call is erased when none of its recordings is known any more.
        let gone =
            |id: &RecordingId| ids.contains(id) || matches!(self.row(*id), Err(Error::NotFound { .. }));
        let calls = |line: &About| {
            line.recordings.iter().any(|id| ids.contains(id)) && line.recordings.iter().all(gone)
        };
        let events = |line: &About| line.id.is_some_and(|id| ids.contains(&id));
        let facts = |line: &About| {
            let has_facts = line.deletion.as_ref().is_some_and(|deletion| deletion.facts.is_some());
            has_facts && line.id.is_some_and(|id| ids.contains(&id))
        };
        let mut erased = self.erase_lines(ledger::CALLS, &calls, by)?;
        erased += self.erase_lines(ledger::EVENTS, &events, by)?;
        erased += self.erase_lines(ledger::RECORDINGS, &facts, by)?;
        Ok(erased)
    }

    /// Erases what the ledger still says of recordings that went with their facts: what a stop in the middle left.
    pub(crate) fn erase_left_over(&self, at: Timestamp) -> Result<u64, Error> {
        let named = crate::verify::named(&self.shared).map_err(|e| e.under(self.dir()))?;
        let forgotten =
            named.lines.values().filter(|line| line.fate == Fate::Deleted && line.husk().is_none());
        let ids = forgotten.map(|line| line.id).collect();
        let why = "of recordings that were deleted with their data".into();
        self.erase_about(&ids, &Deletion { at, who: BY_ITSELF.into(), rule: "left over".into(), why })
    }

    /// Erases lines of the balance sheet by their numbers.
    pub(crate) fn erase_calls(&self, leaves: &BTreeSet<u64>, by: &Deletion) -> Result<u64, Error> {
        let _one_at_a_time = locked(&self.shared.decisions);
        let mut erased = 0;
        for file in self.months(ledger::CALLS)? {
            erased += self.erase_in(&file, &|leaf, _| leaves.contains(&leaf), by)?;
        }
        Ok(erased)
    }

    fn erase_lines(&self, kind: &str, is_due: &dyn Fn(&About) -> bool, by: &Deletion) -> Result<u64, Error> {
        let _one_at_a_time = locked(&self.shared.decisions);
        let is_due = |_, line: &[u8]| serde_json::from_slice::<About>(line).is_ok_and(|about| is_due(&about));
        let mut erased = 0;
        for file in self.months(kind)? {
            erased += self.erase_in(&file, &is_due, by)?;
        }
        Ok(erased)
    }

    pub(crate) fn months(&self, kind: &str) -> Result<Vec<String>, Error> {
        self.ask(Command::Flush)?;
        ledger::months(&*self.shared.disk, kind).map_err(|e| e.under(self.dir()))
    }

    /// Blanks the lines of one file that are due, some thousands with each event. Lines from before the log have no number
    /// and stay.
    fn erase_in(&self, file: &str, is_due: &dyn Fn(u64, &[u8]) -> bool, by: &Deletion) -> Result<u64, Error> {
        let mut lines = Lines::<Logged<About>>::new(Arc::clone(&self.shared.disk), file.to_owned(), 0);
        let (mut due, mut erased) = (Due::default(), 0);
        let is_of_calls = ledger::is_of_calls(file);
        while let Some((at, line)) = lines.next_raw().map_err(|e| e.under(self.dir()))? {
            #[derive(Deserialize)]
            struct Number {
                leaf: u64,
            }
            let number = serde_json::from_slice(line).ok().filter(|_| !ledger::is_blank(line));
            let Some(Number { leaf }) = number.filter(|number: &Number| is_due(number.leaf, line)) else {
                continue;
            };
            // A line with a salt is always longer than what is put over it.
            let Some(bytes) = ledger::blank(leaf, line.len()) else { continue };
            if is_of_calls {
                due.calls.append(&mut unrecorded::names_of(at, line));
            }
            due.leaves.push(leaf);
            due.bytes += bytes.len();
            due.lines.push(Blank { file: file.to_owned(), at, bytes });
            if due.lines.len() == LINES_MAX || due.bytes >= BYTES_MAX {
                erased += self.erase_now(&mut due, by)?;
            }
        }
        Ok(erased + self.erase_now(&mut due, by)?)
    }

    fn erase_now(&self, due: &mut Due, by: &Deletion) -> Result<u64, Error> {
        let (leaves, lines) = (std::mem::take(&mut due.leaves), std::mem::take(&mut due.lines));
        due.bytes = 0;
        if lines.is_empty() {
            return Ok(0);
        }
        let (count, Deletion { at, who, rule, why }) = (lines.len() as u64, by.clone());
        let text = erasure_text(at, &who, &leaves, &rule, &why)?;
        let receipt = self.shared.keys.sign_receipt(&text).map_err(|e| e.under(self.dir()))?;
        let what = What::Erased { leaves, rule, why, receipt };
        let event = Box::new(Event { at, who, what });
        // Their numbers and names go from the index first: what is stopped behind this is done again. None comes back meanwhile.
        let calls = std::mem::take(&mut due.calls);
        let _meanwhile = locked(&self.shared.index.calls_turn);
        self.shared.index.remove_calls(&calls).map_err(|e| e.under(self.dir()))?;
        self.ask(|answer| Command::Erase { lines, event, answer })?;
        Ok(count)
    }

    /// The calls without a recording, each with the number of its line.
    pub(crate) fn calls_without_recording(
        &self,
    ) -> Result<impl Iterator<Item = Result<(u64, CallRow), Error>> + '_, Error> {
        let months = self.months(ledger::CALLS)?;
        let lines = months.into_iter().flat_map(|path| self.lines::<Logged<CallRow>>(path));
        Ok(lines.filter_map(|line| match line {
            Ok(Logged { leaf, value }) if value.recordings.is_empty() => leaf.map(|leaf| Ok((leaf, value))),
            Ok(_) => None,
            Err(e) => Some(Err(e)),
        }))
    }
}
