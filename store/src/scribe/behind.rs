//! What the journal holds and a file does not, because a write to that file failed: the journal stays until it was done again.
//!
//! It is tried again while the recorder runs, as long as the journal is short enough to be read in between. What comes for these files in
//! the meantime is journaled and waits, so recordings go on. What cannot be mended so is mended by the next opening, which does the whole
//! journal again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Scribe;
use crate::Error;
use crate::journal::{self, Replayed};
use crate::settle::Task;
use crate::trouble::Hindrance;
use crate::wave::RECORDINGS_DIR;

/// When it is tried again for the first time; each time after that waits four times as long.
const FIRST_TRY: Duration = Duration::from_secs(1);
const TRY_AGAIN_MAX: Duration = Duration::from_secs(600);
/// A longer journal is not read while calls wait for the disk.
const JOURNAL_READ_MAX: u64 = 256 << 20;

/// Files that lack something that the journal holds.
#[derive(Debug)]
pub(super) struct Behind {
    files: BTreeSet<String>,
    /// What the second thread is to do once they have it.
    then: Vec<Task>,
    wait: Duration,
    due: Instant,
}

impl Scribe {
    /// A file did not take what the journal holds: from here on it gets it from there.
    pub(super) fn left_to_replay(&mut self, path: &str, error: &Error) {
        tracing::error!(file = path, %error, "written to the journal only, and tried again");
        self.shared.board.put(Hindrance::Behind, Some(error.to_string()));
        let behind = self.behind.get_or_insert_with(|| Behind {
            files: BTreeSet::new(),
            then: Vec::new(),
            wait: FIRST_TRY,
            due: Instant::now() + FIRST_TRY,
        });
        behind.files.insert(path.to_owned());
    }

    /// Is this file waiting for what the journal holds? What is done to a recording that nobody writes is not kept waiting: a key that is
    /// destroyed must be gone.
    pub(super) fn waits(&self, path: &str, is_running: bool) -> bool {
        let lacks = self.behind.as_ref().is_some_and(|behind| behind.files.contains(path));
        lacks && (is_running || !path.starts_with(RECORDINGS_DIR))
    }

    /// What is to be done behind an entry of which a file lacks something.
    pub(super) fn put_off(&mut self, task: Task) {
        if let Some(behind) = &mut self.behind {
            behind.then.push(task.clone());
        }
        // It finds the file as it is, and remembers that the index lacks something.
        let _ = self.tasks.send(task);
    }

    pub(super) fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    pub(super) fn behind_due(&self) -> Option<Instant> {
        self.behind.as_ref().map(|behind| behind.due)
    }

    /// There is reason to hope: it is tried again at once.
    pub(super) fn try_again_now(&mut self) {
        if let Some(behind) = &mut self.behind {
            (behind.wait, behind.due) = (FIRST_TRY, Instant::now());
        }
    }

    /// Does for these files again what the journal holds. Where that succeeds, recordings that could not be ended are, and the journal
    /// may go.
    pub(super) fn catch_up(&mut self) {
        let _ = self.settle();
        let Some(mut behind) = self.behind.take() else { return };
        let path = journal::path_of(self.journal.number);
        let mut done = Replayed::default();
        let outcome = if self.shared.failed.is_set() {
            self.shared.failed.check()
        } else if self.journal.len > JOURNAL_READ_MAX {
            Err(Error::damaged(&path, "it has grown too long to be done again while calls are recorded"))
        } else {
            journal::replay_of(&*self.shared.disk, self.journal.number, &behind.files, &mut done)
        };
        if let Err(error) = outcome {
            tracing::error!(%error, "what the journal holds still cannot be written to its files");
            behind.wait = (behind.wait * 4).min(TRY_AGAIN_MAX);
            behind.due = Instant::now() + behind.wait;
            self.behind = Some(behind);
            return;
        }
        tracing::info!(files = behind.files.len(), "what the journal holds is in its files again");
        self.shared.board.put(Hindrance::Behind, None);
        self.touched.extend(done.paths);
        for task in behind.then {
            let _ = self.tasks.send(task);
        }
        self.end_left();
        self.rotate_due = Some(Instant::now());
    }
}
