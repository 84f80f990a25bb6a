//! What the archive answers: rows, findings, problems, sums. Types only.

use std::path::PathBuf;

use decode::Timestamp;
use serde::{Deserialize, Serialize};

use crate::search::record::View;
use crate::{CopyAt, Counters, Field, Hold, Note, Reassigned, RecordingFacts, RecordingId, What};

/// One recording as lists show it. In JSON its facts stand beside the other fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Everything known about it.
    #[serde(flatten)]
    pub facts: RecordingFacts,
    /// Length of its file in bytes; 0 while it is being recorded.
    pub bytes: u64,
    /// SHA-256 of its file in hexadecimal, as `sha256sum` prints it. Empty while it is being recorded, and for the
    /// moment that it takes to read a finished file back.
    pub sha256: String,
    /// What its signature was worth when it was written or indexed; verification looks again.
    pub signature: SignatureState,
    /// Stars that somebody gave it, 1 to 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating: Option<u8>,
    /// That it was given to another user than the telephone system said; its facts name that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reassigned: Option<Box<Reassigned>>,
    /// Notes, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// The legal holds that it is under, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub legal_holds: Vec<Hold>,
    /// Its verified copies in archive locations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<CopyAt>,
    /// Its audio lies in archive locations alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moved: bool,
    /// How its audio came to an end; none while it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Deletion>,
}

/// How the audio of a recording came to an end. The facts may stay in the archive for longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// When, by the machine's clock.
    pub at: Timestamp,
    /// The user, or `earwitness` for a rule.
    pub who: String,
    /// The rule of retention, or `by hand`.
    pub rule: String,
    /// Why, in words.
    pub why: String,
}

impl Row {
    /// The row of a recording whose file has this length; its hash takes reading it.
    pub(crate) fn of(facts: RecordingFacts, bytes: u64, signature: SignatureState) -> Row {
        Row {
            facts,
            bytes,
            sha256: String::new(),
            signature,
            rating: None,
            notes: vec![],
            reassigned: None,
            legal_holds: vec![],
            copies: vec![],
            moved: false,
            deleted: None,
        }
    }
}

/// What a signature is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureState {
    /// By this archive's key, over these bytes.
    Valid,
    /// There is one, but it or what it signs has been changed.
    Invalid,
    /// There is none (yet).
    Missing,
}

/// One run of the recorder, as the ledger keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRow {
    /// Its first frame.
    pub started: Timestamp,
    /// Its last frame.
    pub ended: Timestamp,
    /// What it counted.
    #[serde(flatten)]
    pub counters: Counters,
}

/// Whether the archive was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was made now, with new keys.
    New {
        /// Where its keys lie. Without a copy of them a broken disk costs every recording: they must be backed up.
        keys_dir: PathBuf,
    },
    /// It was there.
    Existing,
}

/// What opening the archive had to mend. All zero and empty after an orderly end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovery {
    /// Recordings that had no end and were closed as interrupted at their last sealed chunk.
    pub interrupted: Vec<RecordingId>,
    /// Calls that were running: their lines were kept in the journal and are in the balance sheet now.
    pub calls: u64,
    /// Of the interrupted recordings those that no such line names: journals of earlier versions keep none.
    pub without_call: Vec<RecordingId>,
    /// Recordings without an end that could not be closed; the log says why.
    pub not_ended: Vec<RecordingId>,
    /// Journal entries (mostly sealed chunks) written to their files again.
    pub replayed_entries: u64,
    /// Journal files whose last entry was torn; what it held had not been promised to anybody.
    pub torn_journals: u64,
    /// Rows that the index had missed.
    pub indexed: u64,
    /// It is a copy that was made file by file while calls were recorded: the event that says what it lacks.
    pub copy: Option<What>,
    /// The index was missing or unusable and was built anew from the files.
    pub rebuilt_index: bool,
}

/// What verification found about one recording, or about a file of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The recording, where it can be told.
    pub id: Option<RecordingId>,
    /// The file, relative to the archive.
    pub path: PathBuf,
    /// What was found.
    pub verdict: Verdict,
}

impl Finding {
    /// Is something changed, missing, unlisted or not readable?
    #[must_use]
    pub fn is_problem(&self) -> bool {
        !matches!(
            self.verdict,
            Verdict::Intact { .. }
                | Verdict::Recording
                | Verdict::Deleted
                | Verdict::Away { .. }
                | Verdict::Stamped { .. }
        )
    }
}

/// What verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Structure, hashes and signature fit, and the ledger names it so.
    Intact {
        /// Every chunk was also opened with the private key.
        opened: bool,
    },
    /// Still being recorded: not judged.
    Recording,
    /// Deleted in order: the file is gone, the receipt is signed.
    Deleted,
    /// Its audio lies in archive locations that could not be read: what is here of it is as it should be, the rest was not looked
    /// at.
    Away {
        /// Each location with what it said.
        what: String,
    },
    /// A time stamp of the ledger: it is over a checkpoint that the ledger still follows.
    Stamped {
        /// The authority's time.
        at: Timestamp,
        /// Lines of the ledger that were there then.
        lines: u64,
        /// By one of the given authorities; without any given, nobody knows by whom.
        vouched: bool,
    },
    /// It is not in this copy of the archive: an event of the ledger says so since the copy was opened.
    NotCopied {
        /// What is not there.
        what: String,
    },
    /// It is not what was sealed, or not what the ledger names.
    Changed {
        /// What does not fit.
        what: String,
    },
    /// The ledger or the index names it, but there is no file.
    Missing,
    /// There is a genuine file, but the ledger does not name it (or says that it was destroyed).
    Unlisted,
    /// It could not be read.
    Unreadable {
        /// Why.
        what: String,
    },
}

impl Verdict {
    /// The verdict in one word, and what there is to say beside it.
    #[must_use]
    pub fn words(&self) -> (&'static str, String) {
        match self {
            Verdict::Intact { .. } => ("intact", String::new()),
            Verdict::Recording => ("recording", String::new()),
            Verdict::Deleted => ("deleted", String::new()),
            Verdict::Stamped { at, lines, vouched } => {
                let by = if *vouched { "signed by a given authority" } else { "signer not checked" };
                ("stamped", format!("{lines} lines of the ledger at {at}, {by}"))
            }
            Verdict::NotCopied { what } => ("not copied", what.clone()),
            Verdict::Changed { what } => ("changed", what.clone()),
            Verdict::Away { what } => ("away", what.clone()),
            Verdict::Missing => ("missing", "the file is gone".into()),
            Verdict::Unlisted => ("unlisted", "the ledger does not name this recording".into()),
            Verdict::Unreadable { what } => ("unreadable", what.clone()),
        }
    }
}

/// How much [`Archive::check_at`](crate::Archive::check_at) reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cost {
    /// Folders, keys, and the ledger against the index: no recording is opened.
    Index,
    /// Also the head and the foot of each recording.
    #[default]
    Headers,
    /// Also every byte: hashes, signatures, the whole ledger, as verification does.
    Bytes,
}

/// Something that [`Archive::check`](crate::Archive::check) found wrong with the archive itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file or folder, relative to the archive.
    pub path: PathBuf,
    /// What is wrong, in one line.
    pub what: String,
    /// It has been repaired now.
    pub repaired: bool,
}

/// Sums over the archive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Recordings, running ones too.
    pub recordings: u64,
    /// Length of their audio in milliseconds.
    pub audio_ms: u64,
    /// Length of their files in bytes.
    pub bytes: u64,
    /// Start of the oldest.
    pub oldest: Option<Timestamp>,
    /// Start of the newest.
    pub newest: Option<Timestamp>,
    /// How many are being recorded.
    pub recording: u64,
    /// How many were finished in order.
    pub complete: u64,
    /// How many were cut off.
    pub interrupted: u64,
    /// Recordings by extension.
    pub by_extension: std::collections::BTreeMap<String, u64>,
}

/// What one recording adds to the sums.
pub(crate) struct Summand {
    started: Timestamp,
    duration_ms: u64,
    bytes: u64,
    /// Its place among the words of [`Field::State`].
    state: u16,
    extension: Box<str>,
}

impl Summand {
    pub(crate) fn of(view: &View<'_>) -> Summand {
        Summand {
            started: view.started(),
            duration_ms: view.duration_ms,
            bytes: view.bytes,
            state: view.state(),
            extension: view.text(Field::Extension).into(),
        }
    }
}

impl Stats {
    pub(crate) fn add(&mut self, summand: Summand) {
        let Summand { started, duration_ms, bytes, state, extension } = summand;
        self.recordings += 1;
        self.audio_ms = self.audio_ms.saturating_add(duration_ms);
        self.bytes = self.bytes.saturating_add(bytes);
        self.newest = self.newest.max(Some(started));
        self.oldest = Some(self.oldest.map_or(started, |oldest| oldest.min(started)));
        match state {
            0 => self.recording += 1,
            1 => self.complete += 1,
            _ => self.interrupted += 1,
        }
        match self.by_extension.get_mut(&*extension) {
            Some(count) => *count += 1,
            None => drop(self.by_extension.insert(extension.into(), 1)),
        }
    }
}

/// What [`Archive::rebuild`](crate::Archive::rebuild) did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Recordings put into the index.
    pub rows: u64,
    /// Files that could not be read, with the reason.
    pub damaged: Vec<(PathBuf, String)>,
}
