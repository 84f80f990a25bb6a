//! What can go wrong with an archive, by what a caller would do about it. One line each: what, where, what to do.

use std::io;
use std::path::{Path, PathBuf};

/// What an archive answers when it cannot do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no archive in this folder.
    #[error("no archive in {}: name another folder with --archive, or record into this one to begin it", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// Another process has it open.
    #[error("the archive {} is open in another process: stop that one first", path.display())]
    Locked {
        /// The archive.
        path: PathBuf,
    },
    /// A newer version of the program wrote it.
    #[error("{} has format {found}, this program knows formats up to {known}: use a newer version", path.display())]
    NewerFormat {
        /// What carries the format number.
        path: PathBuf,
        /// The number found.
        found: u32,
        /// The newest that this program reads.
        known: u32,
    },
    /// A private key is needed that is not on this machine.
    #[error("the private key {} is not here: copy it from the backup to do this on this machine", path.display())]
    KeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file of a private key holds no key.
    #[error("{} does not hold a key: put the copy from the backup there", path.display())]
    KeyUnreadable {
        /// The file.
        path: PathBuf,
    },
    /// The private key that is here is not the one that this was sealed to.
    #[error("{} was sealed to key {needed}, but {} holds key {found}: put the right key there", what, path.display())]
    WrongKey {
        /// What was to be opened.
        what: String,
        /// Identity of the key that opens it, in hexadecimal.
        needed: String,
        /// Identity of the key that is here.
        found: String,
        /// Where the key here came from.
        path: PathBuf,
    },
    /// The private key is here, sealed with a passphrase that was not given.
    #[error("the private key {} is sealed with a passphrase: name a file that holds it in EARWITNESS_PASSPHRASE_FILE, or run this at a terminal", path.display())]
    KeyLocked {
        /// The sealed key.
        path: PathBuf,
    },
    /// The passphrase is another one.
    #[error("the passphrase does not open {}: try again, or put the key back from the recovery sheet", path.display())]
    WrongPassphrase {
        /// The sealed key.
        path: PathBuf,
    },
    /// The key that this is wrapped to is not among the archive's keys.
    #[error("{} is sealed to key {key}, which this archive does not have: a rotation destroyed it, or its file is missing from keys/months", path.display())]
    KeyUnknown {
        /// The recording's file.
        path: PathBuf,
        /// Identity of the key, in hexadecimal.
        key: String,
    },
    /// What was asked for would leave the keys in a state that nobody wants.
    #[error("not done: {what}")]
    KeyRefused {
        /// Why, and what to do.
        what: String,
    },
    /// It is not what was sealed: changed, cut, swapped or put together from several.
    #[error("{} is not as it was sealed: {what}; restore the file from a copy", path.display())]
    Tampered {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// The disk is full; running recordings have been ended.
    #[error("the disk of {} is full: free space; recording goes on by itself after that", path.display())]
    Full {
        /// The archive or the file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// No recording has this name.
    #[error("no recording {what} in this archive: `earwitness archive list` shows what there is")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// Several recordings begin with this.
    #[error("{count} recordings begin with {prefix}: write more of the name")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// How many there are.
        count: usize,
    },
    /// A file that does not hold what it should, without a sign of intent: torn, cut by a repair, of a foreign make.
    #[error("{} cannot be read: {what}; `earwitness archive check` tells more", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// What was handed in cannot be kept.
    #[error("cannot be kept: {what}")]
    Refused {
        /// What, and which limit it breaks.
        what: String,
    },
    /// A legal hold, or another guard, stands against it.
    #[error("{what} is not deleted: {why}")]
    Guarded {
        /// What was to be deleted.
        what: String,
        /// What stands against it, and what would lift it.
        why: String,
    },
    /// The audio lies in archive locations alone, and none of them gives it now.
    #[error("the audio of {what} is in an archive location: {why}")]
    Away {
        /// The recording.
        what: String,
        /// Each location with what it said, and what to do.
        why: String,
    },
    /// It cannot be re-encoded.
    #[error("{what} stays as it is: {why}")]
    Stays {
        /// The recording.
        what: String,
        /// What stands against it.
        why: String,
    },
    /// Another file has taken its place since it was opened.
    #[error("{} was re-encoded while it was read: open it again", path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// There is no time stamp.
    #[error("no time stamp: {why}")]
    NotStamped {
        /// What the authority, or the way to it, did.
        why: String,
    },
    /// The archive was closed, or its disk thread has ended.
    #[error("the archive is closed")]
    Closed,
}

impl Error {
    /// An operating-system error at `path`; a full disk becomes [`Error::Full`].
    pub(crate) fn io(path: impl AsRef<Path>, source: io::Error) -> Error {
        let path = path.as_ref().to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full { path },
            _ => Error::Io { path, source },
        }
    }

    pub(crate) fn tampered(path: impl AsRef<Path>, what: impl Into<String>) -> Error {
        Error::Tampered { path: path.as_ref().to_owned(), what: what.into() }
    }

    pub(crate) fn damaged(path: impl AsRef<Path>, what: impl Into<String>) -> Error {
        Error::Damaged { path: path.as_ref().to_owned(), what: what.into() }
    }

    /// The same with its path under the archive's folder: inside the crate paths are relative to it.
    pub(crate) fn under(mut self, root: &Path) -> Error {
        match &mut self {
            Error::Missing { path }
            | Error::Locked { path }
            | Error::NewerFormat { path, .. }
            | Error::KeyMissing { path }
            | Error::KeyUnreadable { path }
            | Error::KeyLocked { path }
            | Error::WrongPassphrase { path }
            | Error::KeyUnknown { path, .. }
            | Error::WrongKey { path, .. }
            | Error::Tampered { path, .. }
            | Error::Full { path }
            | Error::Replaced { path }
            | Error::Io { path, .. }
            | Error::Damaged { path, .. } => *path = root.join(&*path),
            Error::NotFound { .. }
            | Error::Ambiguous { .. }
            | Error::Refused { .. }
            | Error::Guarded { .. }
            | Error::Away { .. }
            | Error::Stays { .. }
            | Error::KeyRefused { .. }
            | Error::NotStamped { .. }
            | Error::Closed => {}
        }
        self
    }

    /// The same failure told again: one failed write answers every later call. (`io::Error` itself cannot be copied.)
    pub(crate) fn again(&self) -> Error {
        match self {
            Error::Full { path } => Error::Full { path: path.clone() },
            Error::Io { path, source } => {
                Error::Io { path: path.clone(), source: io::Error::new(source.kind(), source.to_string()) }
            }
            Error::Tampered { path, what } => Error::Tampered { path: path.clone(), what: what.clone() },
            Error::Damaged { path, what } => Error::Damaged { path: path.clone(), what: what.clone() },
            Error::KeyMissing { path } => Error::KeyMissing { path: path.clone() },
            _ => Error::Closed,
        }
    }
}
