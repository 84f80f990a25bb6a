//! How a command ends: exit codes of the command line's contract, and one line that says what, where and what to do.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use web::rules::RulesError;

use crate::console;

/// A command did what it could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// All of it.
    All,
    /// Some input could not be read, or some items failed; they were named on stderr.
    InPart,
    /// Something in the archive is changed or missing; it was named.
    IntegrityBroken,
    /// Ended by a signal; the recordings were closed first.
    Interrupted,
    /// Ended by a signal, as a service is.
    Stopped,
}

impl Done {
    /// The exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Done::All | Done::Stopped => 0,
            Done::InPart => 3,
            Done::IntegrityBroken => 5,
            Done::Interrupted => 130,
        }
    }
}

/// A command that could not do it.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
    /// The archive that another process has open.
    locked: Option<PathBuf>,
}

impl Failure {
    /// It failed: exit code 1.
    pub(crate) fn new(message: impl fmt::Display) -> Failure {
        Failure::with(1, message)
    }

    fn with(code: u8, message: impl fmt::Display) -> Failure {
        Failure { code, message: message.to_string(), locked: None }
    }

    /// Another process has the archive, and does not do this: exit code 11.
    pub(crate) fn locked(message: impl fmt::Display) -> Failure {
        Failure::with(11, message)
    }

    /// The archive that another process has open, if that is what is wrong.
    pub(crate) fn locked_archive(&self) -> Option<&Path> {
        self.locked.as_deref()
    }

    /// The call's words are off: exit code 2.
    pub(crate) fn usage(message: impl fmt::Display) -> Failure {
        Failure::with(2, message)
    }

    /// The call's words are what is off.
    pub(crate) fn is_usage(&self) -> bool {
        self.code == 2
    }

    /// Refused by a hold or a policy: exit code 13.
    pub(crate) fn guarded(message: impl fmt::Display) -> Failure {
        Failure::with(13, message)
    }

    /// A key is missing or wrong: exit code 12.
    pub(crate) fn key(message: impl fmt::Display) -> Failure {
        Failure::with(12, message)
    }

    /// Ended by Ctrl-C, which says enough: exit code 130.
    pub(crate) fn interrupted() -> Failure {
        Failure::with(130, "")
    }

    /// The configuration is bad: exit code 78.
    pub(crate) fn config(message: impl fmt::Display) -> Failure {
        Failure::with(78, message)
    }

    /// Says it on stderr, in one line; gives the exit code.
    pub(crate) fn report(self) -> u8 {
        // A reader that has gone away (`| head`) is no failure of ours.
        if !self.message.is_empty() {
            let line = format!("earwitness: {}\n", self.message.replace('\n', " "));
            let _ = console::err().write_all(line.as_bytes());
        }
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Failure {
        use store::Error as E;
        let code = match &error {
            E::Missing { .. } => 10,
            E::Locked { .. } => 11,
            E::KeyMissing { .. }
            | E::KeyUnreadable { .. }
            | E::KeyLocked { .. }
            | E::KeyUnknown { .. }
            | E::WrongPassphrase { .. }
            | E::WrongKey { .. } => 12,
            E::KeyRefused { .. } => 13,
            E::Tampered { .. } => 5,
            E::Guarded { .. } | E::Stays { .. } => 13,
            _ => 1,
        };
        let locked = if let E::Locked { path } = &error { Some(path.clone()) } else { None };
        Failure { code, message: error.to_string(), locked }
    }
}

impl From<RulesError> for Failure {
    fn from(error: RulesError) -> Failure {
        match error {
            RulesError::Store(error) => error.into(),
            RulesError::Wrong(wrong) => Failure::config(wrong),
            RulesError::Failed(what) => Failure::new(what),
            RulesError::Busy => Failure::new(RulesError::Busy),
        }
    }
}

impl From<web::Error> for Failure {
    fn from(error: web::Error) -> Failure {
        match error {
            web::Error::Store(error) => error.into(),
            error @ web::Error::Unsuited { .. } => Failure::usage(error),
            web::Error::Output(error) => error.into(),
            error => Failure::new(error),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure::with(0, "");
        }
        Failure::new(error)
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Failure {
        Failure::from(io::Error::from(error))
    }
}
