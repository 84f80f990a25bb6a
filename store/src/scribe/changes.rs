//! What is done to recordings that are finished, and to lines whose time is over: each in one entry of the journal.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{Blank, Rewrap, SHRED_INTERVAL, Scribe};
use crate::Error;
use crate::RecordingId;
use crate::closing::Ending;
use crate::event::Event;
use crate::journal::{Part, Transaction, waiting_for};
use crate::ledger::{self, RecordingLine};
use crate::locations::stub::{home_of, stub_path};
use crate::settle::Task;
use crate::wave::{COMMITMENT_LEN, Head, WRAP_AT, WRAP_LEN, path_of};

impl Scribe {
    /// Destroys finished recordings, each with the line that says so. When it answers, keys and files are gone from disk.
    pub(super) fn delete(&mut self, lines: Vec<RecordingLine>) -> Result<(), Error> {
        // What is on its way must be there: a recording may be about to leave its file for a stub.
        self.settle()?;
        let disk = &*self.shared.disk;
        let home = |line: &RecordingLine| Ok(home_of(disk, line.id)?.unwrap_or_else(|| path_of(line.id)));
        let mut paths = lines.iter().map(home).collect::<Result<Vec<String>, Error>>()?;
        // A stub that lies beside a file that was put back has the key too.
        let beside = |line: &RecordingLine| {
            let (path, stub) = (path_of(line.id), stub_path(line.id));
            let there = |path: &str| Ok(disk.len(path).map_err(|e| Error::io(path, e))?.is_some());
            Ok::<_, Error>((there(&path)? && there(&stub)?).then_some(stub))
        };
        let stubs = lines.iter().map(beside).collect::<Result<Vec<_>, Error>>()?;
        for stub in stubs.into_iter().flatten() {
            let entry = Transaction::new()
                .push(&Part::Write { path: &stub, offset: WRAP_AT, bytes: &[0; WRAP_LEN] })
                .push(&Part::Sync { path: &stub })
                .push(&Part::Remove { path: &stub });
            self.commit(entry.finish(), None, None)?;
            self.touched.insert(stub.clone());
            paths.push(stub);
        }
        for (line, path) in lines.into_iter().zip(&paths) {
            let ledger = ledger::month(ledger::RECORDINGS, line.id.started());
            let boxed = Box::new(line.clone());
            self.destroy(path, &line, |_, end| Some(Task::Deleted { line: boxed, ledger, end }))?;
        }
        self.settle()?;
        paths.iter().try_for_each(|path| self.expect_gone(path))
    }

    /// Adds a line about a deleted recording that takes the place of the one before.
    pub(super) fn forget(&mut self, line: RecordingLine) -> Result<(), Error> {
        let ledger = ledger::month(ledger::RECORDINGS, line.id.started());
        let bytes = ledger::line(&line)?;
        let (line, to) = (Box::new(line), ledger.clone());
        let then = |_, end| Some(Task::Deleted { line, ledger: to, end });
        self.commit_line(Transaction::new(), &ledger, &bytes, None, then)
    }

    /// Leaves the stubs of recordings in place of their files, in one entry with the event that says so. What has gone or has
    /// been wrapped anew since its stub was made fails as a whole: the caller looks again.
    pub(super) fn move_out(
        &mut self,
        stubs: &[(RecordingId, Vec<u8>)],
        event: Box<Event>,
    ) -> Result<(), Error> {
        self.settle()?;
        let paths: Vec<_> = stubs.iter().map(|(id, _)| (path_of(*id), stub_path(*id))).collect();
        let mut entry = Transaction::new();
        for ((path, stub), (_, bytes)) in paths.iter().zip(stubs) {
            let disk = &*self.shared.disk;
            // The stub begins with the file's header: rotation and re-encoding both change it.
            let head = bytes.get(..Head::len(bytes).unwrap_or_default()).unwrap_or_default();
            let mut now = vec![0; head.len()];
            let read = disk.read_at(path, 0, &mut now).map_err(|e| Error::io(path, e))?;
            if head.is_empty() || read < head.len() || now != *head {
                return Err(Error::damaged(path, "it was changed meanwhile"));
            }
            entry = entry
                .push(&Part::Write { path: stub, offset: 0, bytes })
                .push(&Part::Sync { path: stub })
                .push(&Part::Remove { path });
        }
        let ledger = ledger::month(ledger::EVENTS, event.at);
        let line = ledger::line(&event)?;
        let to = ledger.clone();
        let then = |leaf, end| Some(Task::Event { event, leaf, ledger: to, end });
        self.commit_line(entry, &ledger, &line, None, then)?;
        for (path, stub) in paths {
            self.touched.extend([path, stub]);
        }
        self.settle()
    }

    /// Blanks lines whose time is over, in one entry with the event that says so.
    pub(super) fn erase(&mut self, lines: &[Blank], event: Box<Event>) -> Result<(), Error> {
        let mut entry = Transaction::new();
        for Blank { file, at, bytes } in lines {
            self.touched.insert(file.clone());
            entry = entry.push(&Part::Write { path: file, offset: *at, bytes });
        }
        let ledger = ledger::month(ledger::EVENTS, event.at);
        let line = ledger::line(&event)?;
        let to = ledger.clone();
        let then = |leaf, end| Some(Task::Event { event, leaf, ledger: to, end });
        self.commit_line(entry, &ledger, &line, None, then)?;
        // What they said also stands in a journal.
        self.rotate_due.get_or_insert_with(|| Instant::now() + SHRED_INTERVAL);
        self.settle()
    }

    /// The key, then the file, then the line, in one entry.
    pub(super) fn destroy(
        &mut self,
        path: &str,
        line: &RecordingLine,
        then: impl FnOnce(u64, u64) -> Option<Task>,
    ) -> Result<(), Error> {
        debug_assert!(line.fate.is_gone());
        let ledger = ledger::month(ledger::RECORDINGS, line.id.started());
        let entry = Transaction::new()
            .push(&Part::Write { path, offset: WRAP_AT, bytes: &[0; WRAP_LEN] })
            .push(&Part::Sync { path })
            .push(&Part::Remove { path });
        self.commit_line(entry, &ledger, &ledger::line(line)?, None, then)?;
        self.touched.insert(path.to_owned());
        // The header, key and all, also stands in a journal.
        self.rotate_due.get_or_insert_with(|| Instant::now() + SHRED_INTERVAL);
        Ok(())
    }

    /// Puts a file that waits in the place of a finished recording's, in one entry with the line that says so.
    pub(super) fn replace(
        &mut self,
        ending: &Ending,
        commitment: &[u8; COMMITMENT_LEN],
    ) -> Result<bool, Error> {
        let path = path_of(ending.facts.id);
        let gone = self.shared.journals_gone.load(Ordering::Acquire);
        let is_journaled = self.journaled.get(&path).is_some_and(|number| *number > gone);
        if is_journaled || self.touched.contains(&path) {
            return Ok(false);
        }
        let ledger = ledger::month(ledger::RECORDINGS, ending.facts.id.started());
        let entry = Transaction::new().push(&Part::Swap { path: &path, commitment });
        let (row, to) = (Box::new(ending.row()), ledger.clone());
        let then = |_, end| Some(Task::Index { row, path: path.clone(), ledger: to, end });
        self.commit_line(entry, &ledger, &ledger::line(&ending.line())?, None, then)?;
        self.touched.insert(path.clone());
        self.settle()?;
        let waits = waiting_for(&path);
        match self.shared.disk.len(&waits) {
            Ok(None) => Ok(true),
            Ok(Some(_)) => {
                Err(Error::damaged(waits, "it could not be put in place yet; opening the archive again does"))
            }
            Err(e) => Err(Error::io(waits, e)),
        }
    }

    pub(super) fn expect_gone(&self, path: &str) -> Result<(), Error> {
        match self.shared.disk.len(path) {
            Ok(None) => Ok(()),
            Ok(Some(_)) => {
                Err(Error::damaged(path, "it could not be removed yet; opening the archive again does"))
            }
            Err(e) => Err(Error::io(path, e)),
        }
    }

    /// Adds an event to the ledger; it is on disk when this returns.
    pub(super) fn event(&mut self, event: Box<Event>) -> Result<(), Error> {
        let ledger = ledger::month(ledger::EVENTS, event.at);
        let line = ledger::line(&event)?;
        let (to, what) = (ledger.clone(), event.what.clone());
        let then = |leaf, end| Some(Task::Event { event, leaf, ledger: to, end });
        self.commit_line(Transaction::new(), &ledger, &line, None, then)?;
        self.note_hold(&what);
        self.settle()
    }

    /// Journals new wraps; their files are written with the next settling, many at one sync.
    pub(super) fn rewrap(&mut self, wraps: &[Rewrap]) -> Result<(), Error> {
        let (mut entry, mut ids) = (Transaction::new(), Vec::with_capacity(wraps.len()));
        for Rewrap { id, path, bytes } in wraps {
            // A file that was destroyed since must not come back.
            if self.shared.disk.len(path).map_err(|e| Error::io(path, e))?.is_some() {
                entry = entry.push(&Part::Write { path, offset: WRAP_AT, bytes });
                self.touched.insert(path.clone());
                ids.push(*id);
            }
        }
        self.commit(entry.finish(), None, Some(Task::Rewrapped(ids)))
    }
}
