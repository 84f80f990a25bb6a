//! What keeps an archive from doing all that it should, as those are told who look after it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::Archive;
use crate::disk::locked;
use crate::locations::LocationState;

/// What has not answered for so many seconds is told of.
const HANGS_S: u64 = 60;

/// Something that somebody must look at. Texts say what went wrong, for people; no caller and no number is in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A write or a sync of the journal failed: nothing is taken any more until the archive is opened again, which mends it from what is
    /// on disk.
    Failed(String),
    /// What is recorded is in the journal, and could not be written to its file. It is tried again; the journal grows until then.
    Behind(String),
    /// Checkpoints are not copied to this folder.
    NotCopied {
        /// The folder.
        folder: PathBuf,
        /// Why.
        why: String,
    },
    /// No time stamp is got.
    NotStamped(String),
    /// An archive location takes no copies, or does not answer.
    Location {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// The scrub read so many recordings that are not what was sealed.
    Found(usize),
}

/// What stands in the way of the archive's own threads, each until it is over.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<BTreeMap<Hindrance, (Instant, String)>>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hindrance {
    Behind,
    Copying(PathBuf),
    Stamping,
}

impl Board {
    /// It is so, for this reason; or it is over.
    pub(crate) fn put(&self, what: Hindrance, why: Option<String>) {
        let mut board = locked(&self.0);
        match why {
            Some(why) => drop(board.insert(what, (Instant::now(), why))),
            None => drop(board.remove(&what)),
        }
    }

    /// It is so if nothing else is said for a minute.
    pub(crate) fn expect(&self, what: Hindrance, why: &str) {
        let from = Instant::now() + Duration::from_secs(HANGS_S);
        locked(&self.0).insert(what, (from, why.to_owned()));
    }
}

impl Archive {
    /// What keeps the archive from doing all that it should, now. Waits for no disk.
    #[must_use]
    pub fn troubles(&self) -> Vec<Trouble> {
        let failed = self.shared.failed.check().err().map(|error| Trouble::Failed(error.to_string()));
        let mut troubles = Vec::from_iter(failed);
        let now = Instant::now();
        for (what, (_, why)) in
            locked(&self.shared.board.0).clone().into_iter().filter(|(_, (from, _))| *from <= now)
        {
            troubles.push(match what {
                Hindrance::Behind => Trouble::Behind(why),
                Hindrance::Copying(folder) => Trouble::NotCopied { folder, why },
                Hindrance::Stamping => Trouble::NotStamped(why),
            });
        }
        for (name, state) in self.copying_states() {
            let why = match state {
                LocationState::Failing(why) => why,
                LocationState::Hanging(seconds) if seconds >= HANGS_S => {
                    "it has not answered for a minute and more".to_owned()
                }
                _ => continue,
            };
            troubles.push(Trouble::Location { name, why });
        }
        let found = self.scrub_findings().len();
        if found > 0 {
            troubles.push(Trouble::Found(found));
        }
        troubles
    }
}
