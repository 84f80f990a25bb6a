//! The end of recordings that run: in order, at what is on disk, or destroyed.

use std::sync::Arc;

use super::{Open, Scribe};
use crate::closing::Ending;
use crate::disk::locked;
use crate::layout::Layout;
use crate::ledger::{self, RecordingLine};
use crate::settle::Task;
use crate::{Error, RecordingFacts, SignatureState, State, What};

impl Scribe {
    pub(super) fn finish(&mut self, open: &Arc<Open>, ending: Ending) {
        let whole = self.running.get(&open.id).is_some_and(|running| running.len == ending.at);
        if !whole || open.failed.is_set() {
            return self.interrupt(open, Some(ending.facts));
        }
        if let Err(e) = self.end(open, &ending) {
            // Its writer has listed it as finished already.
            if let Some(row) = locked(&self.shared.live).get_mut(&open.id) {
                let row = Arc::make_mut(row);
                row.facts.state = State::Interrupted;
                row.signature = SignatureState::Missing;
            }
            self.fail(open, e);
        }
    }

    /// Ends a recording at what is in its file.
    pub(super) fn interrupt(&mut self, open: &Arc<Open>, facts: Option<RecordingFacts>) {
        if !self.running.contains_key(&open.id) {
            // Not even its header could be written.
            locked(&self.shared.live).remove(&open.id);
            return;
        }
        if let Err(e) = self.bring(open.id).and_then(|()| self.end_at_file(open, facts.clone())) {
            // It stays among the running ones, so that each new journal names it and the next opening ends it, if nobody does before.
            self.left.push((Arc::clone(open), facts));
            self.fail(open, e);
        }
    }

    /// Ends those that could not be ended before and whose writers have gone; the others are ended by theirs.
    pub(super) fn end_left(&mut self) {
        for (open, facts) in std::mem::take(&mut self.left) {
            self.interrupt(&open, facts);
        }
    }

    pub(super) fn end_at_file(
        &mut self,
        open: &Arc<Open>,
        facts: Option<RecordingFacts>,
    ) -> Result<(), Error> {
        let disk = &*self.shared.disk;
        let layout = Layout::read(disk, &open.path)?;
        let facts = facts.or_else(|| self.known_of(open.id, &layout));
        let ending = Ending::interrupted(disk, &self.shared.keys, &layout, facts)?;
        if self.running.get(&open.id).is_none_or(|running| running.len != ending.at) {
            // The journal holds more than the file, so the file must not be ended before a replay.
            return Err(Error::damaged(
                &open.path,
                "its file could not be written; opening the archive again mends it",
            ));
        }
        self.end(open, &ending)
    }

    /// Writes a recording's end: in the journal one entry, so that all of it is there after a crash, or none.
    pub(super) fn end(&mut self, open: &Arc<Open>, ending: &Ending) -> Result<(), Error> {
        let ledger = ledger::month(ledger::RECORDINGS, open.id.started());
        let (line, row) = (ledger::line(&ending.line())?, Box::new(ending.row()));
        let then = |_, end| {
            let (row, path, ledger) = (row.clone(), open.path.clone(), ledger.clone());
            Some(Task::Index { row, path, ledger, end })
        };
        self.commit_line(ending.entry(&open.path), &ledger, &line, Some(open), then)?;
        self.running.remove(&open.id);
        self.held.remove(&open.id);
        self.touched.insert(open.path.clone());
        locked(&self.shared.live).insert(open.id, Arc::new(*row));
        Ok(())
    }

    /// Destroys a recording that runs. One that is under a hold stays as it is, which is told by `false`.
    pub(super) fn discard(&mut self, open: &Arc<Open>, line: &RecordingLine) -> Result<bool, Error> {
        if self.held.contains_key(&open.id) {
            return Ok(false);
        }
        locked(&self.shared.live).remove(&open.id);
        self.bring(open.id)?;
        if self.running.remove(&open.id).is_none() {
            // Not even its header could be written: there is nothing to destroy.
            return Ok(true);
        }
        self.destroy(&open.path, line, |_, _| None)?;
        self.settle()?;
        self.expect_gone(&open.path)?;
        Ok(true)
    }

    /// A hold was put on a recording, or taken off: while it runs, it is asked here.
    pub(super) fn note_hold(&mut self, what: &What) {
        match what {
            What::Held { id, hold, .. } if self.running.contains_key(id) => {
                self.held.entry(*id).or_default().insert(hold.clone());
            }
            What::Released { id, hold, .. } => {
                if let Some(holds) = self.held.get_mut(id) {
                    holds.remove(hold);
                    if holds.is_empty() {
                        self.held.remove(id);
                    }
                }
            }
            _ => {}
        }
    }
}
