//! What the archive itself has to tell: that it takes nothing, or not all, and what its own threads cannot do.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use store::{Archive, Trouble};

use super::Kind;

/// Why retention deletes nothing, if it should; shared with the thread that deletes.
pub(crate) type Halted = Arc<Mutex<Option<String>>>;

/// The archive, and what is known of what is done to it.
pub(crate) struct OfArchive {
    pub(crate) archive: Arc<Archive>,
    pub(crate) halted: Halted,
    /// What cannot come about, since it is not set up.
    pub(crate) not_set_up: BTreeSet<Kind>,
}

/// Something that holds now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    pub(crate) kind: Kind,
    pub(crate) place: String,
    pub(crate) words: String,
}

impl OfArchive {
    /// What holds now. Waits for no disk.
    pub(crate) fn look(&self) -> Vec<Condition> {
        let mut conditions: Vec<Condition> = self.archive.troubles().into_iter().map(condition).collect();
        let halted = self.halted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        conditions.extend(halted.map(|words| Condition {
            kind: Kind::RetentionHalted,
            place: String::new(),
            words,
        }));
        conditions
    }
}

fn condition(trouble: Trouble) -> Condition {
    let (kind, place, words) = match trouble {
        Trouble::Failed(_) => (
            Kind::ArchiveFailed,
            String::new(),
            "the archive's journal cannot be brought to disk; the recorder ends and has to be started again, its log says why".into(),
        ),
        Trouble::Behind(_) => (
            Kind::ArchiveBehind,
            String::new(),
            "a recording is in the journal and cannot be written to its file, so the journal grows; the recorder's log says why"
                .into(),
        ),
        Trouble::NotCopied { folder, why } => {
            let folder = folder.display().to_string();
            let words = format!("checkpoints of the log are not copied to {folder}: {why}");
            (Kind::CheckpointFailed, folder, words)
        }
        Trouble::NotStamped(why) => {
            (Kind::StampFailed, String::new(), format!("the log gets no time stamp: {why}"))
        }
        Trouble::Location { name, why } => {
            let words = format!("the archive location {name} takes no copies: {why}");
            (Kind::LocationFailed, name, words)
        }
        Trouble::Found(count) => (
            Kind::ScrubFound,
            String::new(),
            format!("{count} recordings are not what was sealed; `earwitness archive verify` names them"),
        ),
    };
    Condition { kind, place, words }
}
