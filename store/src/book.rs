//! The rule book: what an administrator edits, kept in versions.
//!
//! Each version is one event of the ledger with its whole text: so it is journaled before it counts, it is a leaf of the log, a
//! changed or missing one is found by verification, and copies of the archive have it. What the text means is not known here.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use decode::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::disk::{Disk, RealDisk, locked};
use crate::event::{Event, What};
use crate::ledger::{self, Lines, Logged};
use crate::scribe::Command;
use crate::wave::digest_text;
use crate::{Archive, Error};

/// The longest text of a version, in bytes; a longer one is refused. Escaped, it still is a line of the ledger.
pub const BOOK_LEN_MAX: usize = 400_000;
/// The longest comment, in bytes; a longer one is refused.
pub const BOOK_WHY_MAX: usize = 1_000;
/// Stands for a number that was not looked up yet.
const UNKNOWN: u64 = u64::MAX;

/// One version of the rule book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookVersion {
    /// Its number, from 1.
    pub version: u64,
    /// When it was put in force, by the machine's clock.
    pub at: Timestamp,
    /// By whom.
    pub who: String,
    /// Why.
    pub why: String,
    /// The version whose text this one brings back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<u64>,
    /// SHA-256 of the text, in hexadecimal.
    pub sha256: String,
    /// The text.
    pub text: String,
}

/// A change of the rule book that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookChange {
    /// The version that it was made from, 0 without any: if another one is in force by now, nothing is changed.
    pub from: u64,
    /// When.
    pub at: Timestamp,
    /// Who asks.
    pub who: String,
    /// Why.
    pub why: String,
    /// The version whose text it brings back.
    pub restores: Option<u64>,
    /// The new text.
    pub text: String,
}

/// The newest version, kept so that whoever records does not read the ledger for it.
#[derive(Debug)]
pub(crate) struct Newest {
    /// Its number, 0 without any; [`UNKNOWN`] until it was looked up.
    number: AtomicU64,
    version: Mutex<Option<BookVersion>>,
}

impl Default for Newest {
    fn default() -> Self {
        Newest { number: AtomicU64::new(UNKNOWN), version: Mutex::default() }
    }
}

impl Newest {
    fn set(&self, version: Option<BookVersion>) {
        let number = version.as_ref().map_or(0, |version| version.version);
        let mut kept = locked(&self.version);
        *kept = version;
        self.number.store(number, Ordering::Release);
    }

    /// What was kept may not be the newest any more.
    fn forget(&self) {
        self.number.store(UNKNOWN, Ordering::Release);
    }

    fn is_known(&self) -> bool {
        self.number.load(Ordering::Acquire) != UNKNOWN
    }
}

impl Archive {
    /// The number of the version in force, 0 without any. The first call reads the ledger's events, later ones a number.
    ///
    /// # Errors
    /// As [`Archive::book_versions`].
    pub fn book_version(&self) -> Result<u64, Error> {
        match self.shared.book.number.load(Ordering::Acquire) {
            UNKNOWN => Ok(self.book()?.map_or(0, |newest| newest.version)),
            number => Ok(number),
        }
    }

    /// The version in force; none in an archive without a book. Kept in memory from the first call on.
    ///
    /// # Errors
    /// As [`Archive::book_versions`].
    pub fn book(&self) -> Result<Option<BookVersion>, Error> {
        if self.shared.book.is_known() {
            return Ok(locked(&self.shared.book.version).clone());
        }
        let _one_at_a_time = locked(&self.shared.decisions);
        self.newest()
    }

    /// The same, under the lock of decisions.
    fn newest(&self) -> Result<Option<BookVersion>, Error> {
        if !self.shared.book.is_known() {
            self.shared.book.set(self.book_versions()?.pop());
        }
        Ok(locked(&self.shared.book.version).clone())
    }

    /// All versions, oldest first.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Damaged`] when events cannot be read: which rules are in force must be known.
    pub fn book_versions(&self) -> Result<Vec<BookVersion>, Error> {
        let files = self.months(ledger::EVENTS)?;
        let found = files.iter().try_fold(Vec::new(), |mut all, file| {
            versions_in(&self.shared.disk, file, &mut all)?;
            Ok(all)
        });
        let mut found = found.map_err(|e: Error| e.under(self.dir()))?;
        // In the order in which it was done, whatever the clock showed.
        found.sort_by_key(|(leaf, _)| *leaf);
        Ok(found.into_iter().map(|(_, version)| version).collect())
    }

    /// Puts a new version in force. On disk when this returns.
    ///
    /// # Errors
    /// [`Error::Refused`] for a text or comment that is too long, for one without a name, for the text that is in force already, and
    /// when the version in force is another than `from`; [`Error::Io`].
    pub fn change_book(&self, change: BookChange) -> Result<BookVersion, Error> {
        let refused = |what: String| Err(Error::Refused { what });
        let BookChange { from, at, who, why, restores, text } = change;
        if text.len() > BOOK_LEN_MAX {
            return refused(format!(
                "a rule book of {} bytes: {BOOK_LEN_MAX} at most; name devices by ranges",
                text.len()
            ));
        }
        if why.len() > BOOK_WHY_MAX || who.is_empty() {
            return refused(format!(
                "a change by nobody, or with a comment of more than {BOOK_WHY_MAX} bytes"
            ));
        }
        let _one_at_a_time = locked(&self.shared.decisions);
        let newest = self.newest()?;
        let version = newest.as_ref().map_or(0, |newest| newest.version);
        if version != from {
            return refused(format!(
                "a change made from version {from} of the rule book: version {version} is in force"
            ));
        }
        if newest.is_some_and(|newest| newest.text == text) {
            return refused(format!("a change of the rule book that changes nothing of version {version}"));
        }
        let sha256 = digest_text(&Sha256::digest(text.as_bytes()).into());
        let new = BookVersion { version: version + 1, at, who: who.clone(), why, restores, sha256, text };
        let what = What::BookChanged {
            version: new.version,
            why: new.why.clone(),
            restores,
            sha256: new.sha256.clone(),
            text: new.text.clone(),
        };
        let kept = self.ask(|answer| Command::Event { event: Box::new(Event { at, who, what }), answer });
        // What failed may be on disk all the same: it is looked up then.
        match &kept {
            Ok(()) => self.shared.book.set(Some(new.clone())),
            Err(_) => self.shared.book.forget(),
        }
        kept.map(|()| new)
    }

    /// Is there an archive in this folder?
    #[must_use]
    pub fn is_in(dir: &Path) -> bool {
        dir.join(crate::archive::ARCHIVE_FILE).is_file()
    }

    /// Has the archive in this folder a rule book? Looks at the ledger's files alone, and needs no lock: for a hint. What is only in
    /// the journal yet is not seen.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Damaged`].
    pub fn has_book(dir: &Path) -> Result<bool, Error> {
        if !Archive::is_in(dir) {
            return Ok(false);
        }
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir).map_err(|e| Error::io(dir, e))?);
        let mut found = Vec::new();
        for file in ledger::months(&*disk, ledger::EVENTS).map_err(|e| e.under(dir))? {
            versions_in(&disk, &file, &mut found).map_err(|e| e.under(dir))?;
        }
        Ok(!found.is_empty())
    }
}

/// The kind of an event alone: of thousands of lines few are about the book.
#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    event: String,
}

/// Adds the versions that stand in one file of events, with the numbers of their lines.
fn versions_in(disk: &Arc<dyn Disk>, file: &str, all: &mut Vec<(u64, BookVersion)>) -> Result<(), Error> {
    let mut lines = Lines::<Logged<Event>>::new(Arc::clone(disk), file.to_owned(), 0);
    loop {
        let number = lines.number();
        let Some((_, line)) = lines.next_raw()? else { return Ok(()) };
        let damaged = |e: serde_json::Error| Error::damaged(file, format!("line {}: {e}", number + 1));
        if line.trim_ascii().is_empty() {
            continue;
        }
        let kind: Kind = serde_json::from_slice(line).map_err(damaged)?;
        if kind.event != KIND {
            continue;
        }
        let Logged { leaf, value } = serde_json::from_slice::<Logged<Event>>(line).map_err(damaged)?;
        let Event { at, who, what: What::BookChanged { version, why, restores, sha256, text } } = value
        else {
            continue;
        };
        if digest_text(&Sha256::digest(text.as_bytes()).into()) != sha256 {
            let what = format!(
                "line {}: version {version} of the rule book is not what was put in force",
                number + 1
            );
            return Err(Error::damaged(file, what));
        }
        let version = BookVersion { version, at, who, why, restores, sha256, text };
        all.push((leaf.unwrap_or_default(), version));
    }
}

/// [`What::BookChanged`] as its line names it.
const KIND: &str = "book-changed";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Finding, Verdict};

    fn change(from: u64, text: &str) -> BookChange {
        let (who, why, at) = ("eve".into(), "a test".into(), Timestamp::from_millis(1_795_000_000_000));
        BookChange { from, at, who, why, restores: None, text: text.into() }
    }

    fn archive() -> (tempfile::TempDir, Archive) {
        let dir = tempfile::tempdir().expect("a folder");
        let archive = Archive::open_or_create(&dir.path().join("a")).expect("made").0;
        (dir, archive)
    }

    fn problems(archive: &Archive) -> Vec<Verdict> {
        archive.verify(None).filter(Finding::is_problem).map(|finding| finding.verdict).collect()
    }

    #[test]
    fn versions_are_counted_kept_and_there_again_after_opening_and_rebuilding() {
        let (dir, archive) = archive();
        assert_eq!((archive.book_version().expect("read"), archive.book().expect("read")), (0, None));
        let first = archive.change_book(change(0, "[record]\n")).expect("taken");
        assert_eq!((first.version, archive.book_version().expect("read")), (1, 1));
        let restoring = BookChange { restores: Some(1), ..change(1, "[record]\nchannels = 8\n") };
        let second = archive.change_book(restoring).expect("taken");
        archive.rebuild(|_, _| {}).expect("rebuilt");
        archive.close().expect("closed");
        let archive = Archive::open(&dir.path().join("a")).expect("opens");
        assert_eq!(archive.book_versions().expect("read"), [first, second]);
        assert_eq!(archive.book_version().expect("read"), 2);
        assert!(Archive::has_book(&dir.path().join("a")).expect("looked"));
        assert!(!Archive::has_book(dir.path()).expect("no archive there"));
        assert_eq!(problems(&archive), []);
    }

    #[test]
    fn a_change_of_an_older_version_of_nothing_or_too_much_is_refused_and_changes_nothing() {
        let (_dir, archive) = archive();
        archive.change_book(change(0, "a = 1\n")).expect("taken");
        let long = "#".repeat(BOOK_LEN_MAX + 1);
        for (wrong, why) in [
            (change(0, "a = 2\n"), "version 1 is in force"),
            (change(1, "a = 1\n"), "changes nothing"),
            (change(1, &long), "400000 at most"),
            (BookChange { who: String::new(), ..change(1, "a = 2\n") }, "by nobody"),
        ] {
            let refused = archive.change_book(wrong).expect_err(why).to_string();
            assert!(refused.contains(why), "{refused}");
        }
        assert_eq!(archive.book_versions().expect("read").len(), 1);
        // The longest there may be is still a line, whatever it is made of.
        archive.change_book(change(1, &"\"".repeat(BOOK_LEN_MAX))).expect("taken");
        assert_eq!(archive.book().expect("read").map(|book| book.version), Some(2));
    }

    #[test]
    fn a_box_without_the_private_key_takes_changes_and_a_forged_or_missing_version_is_found() {
        let (dir, archive) = archive();
        archive.change_book(change(0, "devices = 1\n")).expect("taken");
        archive.close().expect("closed");
        let root = dir.path().join("a");
        std::fs::remove_file(root.join(crate::keys::UNWRAP_KEY)).expect("removed");
        let archive = Archive::open(&root).expect("opens");
        assert!(!archive.can_read());
        archive.change_book(change(1, "devices = 2\n")).expect("taken");
        archive.close().expect("closed");
        let ledger = root.join(ledger::month(ledger::EVENTS, Timestamp::from_millis(1_795_000_000_000)));
        let written = std::fs::read_to_string(&ledger).expect("read");
        let line = |text: &str| text.lines().position(|line| line.contains("devices = 1")).expect("a line");
        let without: String = written
            .lines()
            .enumerate()
            .filter(|(n, _)| *n != line(&written))
            .map(|(_, l)| format!("{l}\n"))
            .collect();
        let forged = written.replace("devices = 1", "devices = 7");
        for (changed, is_readable) in [(forged, false), (without, true)] {
            std::fs::write(&ledger, changed).expect("written");
            let archive = Archive::open(&root).expect("opens");
            assert!(!problems(&archive).is_empty());
            assert_eq!(archive.book_versions().is_ok(), is_readable);
        }
    }
}
