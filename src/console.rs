//! Where a command's words come from and go to: this process's own streams, or those of a guest.
//!
//! One process at a time has an archive open. While the appliance has it, a command that needs it is done there, on a thread of
//! its own, for the process that the user started (`beside`): that one hands over its streams, and the appliance its
//! archive. A command does not see the difference: it opens the archive and prints, and this file knows what that means on its
//! thread.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use store::Archive;

use crate::control::Control;
use crate::failure::Failure;

/// On whose behalf a command is done in the appliance.
pub(crate) struct Guest {
    /// The appliance's archive.
    pub(crate) archive: Arc<Archive>,
    /// Its recorder.
    pub(crate) recorder: Control,
    /// The appliance's configuration, which decides for guests too.
    pub(crate) config: Option<PathBuf>,
    /// The folder that relative paths start from.
    pub(crate) folder: PathBuf,
    /// The user's name.
    pub(crate) who: String,
    pub(crate) out: File,
    pub(crate) err: File,
    /// What `-o` names, opened by the guest.
    pub(crate) output: Option<File>,
    /// Files that its words name, opened by the guest: it may be somebody who can read more, or less, than the appliance.
    pub(crate) files: Vec<(PathBuf, File)>,
}

thread_local! {
    static GUEST: RefCell<Option<Guest>> = const { RefCell::new(None) };
}

/// Does something for a guest, on this thread.
pub(crate) fn with_guest<T>(guest: Guest, work: impl FnOnce() -> T) -> T {
    GUEST.set(Some(guest));
    let done = work();
    GUEST.set(None);
    done
}

/// Asks something about the guest; none when the command is this process's own.
fn guest<T>(ask: impl FnOnce(&Guest) -> T) -> Option<T> {
    GUEST.with_borrow(|guest| guest.as_ref().map(ask))
}

/// Is this done for a guest? What holds for the whole process (locations in use, an unlocked key) is the appliance's then.
pub(crate) fn is_guest() -> bool {
    guest(|_| ()).is_some()
}

/// The standard output of whoever gave the command.
pub(crate) struct Stdout(());

/// The same for what is not the command's result.
pub(crate) struct Stderr(());

/// Standard output.
pub(crate) fn out() -> Stdout {
    Stdout(())
}

/// Standard error.
pub(crate) fn err() -> Stderr {
    Stderr(())
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        guest(|guest| (&guest.out).write(bytes)).unwrap_or_else(|| io::stdout().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        guest(|_| Ok(())).unwrap_or_else(|| io::stdout().flush())
    }
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        guest(|guest| (&guest.err).write(bytes)).unwrap_or_else(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stdout {
    pub(crate) fn is_terminal(&self) -> bool {
        guest(|guest| guest.out.is_terminal()).unwrap_or_else(|| io::stdout().is_terminal())
    }
}

impl Stderr {
    pub(crate) fn is_terminal(&self) -> bool {
        guest(|guest| guest.err.is_terminal()).unwrap_or_else(|| io::stderr().is_terminal())
    }
}

/// The file that `-o` names, where a guest has opened it.
pub(crate) fn guests_output() -> Option<File> {
    GUEST.with_borrow_mut(|guest| guest.as_mut().and_then(|guest| guest.output.take()))
}

/// A path as the command's giver means it.
pub(crate) fn path(path: &Path) -> PathBuf {
    guest(|guest| guest.folder.join(path)).unwrap_or_else(|| path.to_owned())
}

/// Opens a file to read it: one that the command's words name is what its giver sees under that name.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let handed = |guest: &Guest| match guest.files.iter().find(|(name, _)| name == path) {
        Some((_, file)) => file.try_clone(),
        None => File::open(guest.folder.join(path)),
    };
    guest(handed).unwrap_or_else(|| File::open(path))
}

/// The file that was handed over under this name; none where none was, and for a command of this process's own.
pub(crate) fn handed(name: &Path) -> Option<io::Result<File>> {
    let find = |guest: &Guest| {
        let found = guest.files.iter().find(|(handed, _)| handed == name)?;
        Some(found.1.try_clone())
    };
    guest(find).flatten()
}

/// All of such a file's text.
pub(crate) fn read_to_string(path: &Path) -> io::Result<String> {
    io::read_to_string(open(path)?)
}

/// A file can be written here: the appliance would write it where nobody looks for it.
///
/// # Errors
/// On a guest's thread.
pub(crate) fn may_write(path: &Path) -> Result<(), Failure> {
    if is_guest() {
        return Err(Failure::locked(format!(
            "{}: the running appliance writes no files for others; leave it out, or stop the appliance first",
            path.display()
        )));
    }
    Ok(())
}

/// The configuration that decides, where a guest's command must not bring its own.
pub(crate) fn appliances_config() -> Option<Option<PathBuf>> {
    guest(|guest| guest.config.clone())
}

/// The appliance's recorder, where the command is done beside one.
pub(crate) fn appliances_recorder() -> Option<Control> {
    guest(|guest| guest.recorder.clone())
}

/// Who gave the command.
pub(crate) fn who() -> String {
    if let Some(who) = guest(|guest| guest.who.clone()) {
        return who;
    }
    // Whoever became root by sudo, or the user.
    let named = ["SUDO_USER", "LOGNAME", "USER"].into_iter().find_map(|name| std::env::var(name).ok());
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| "command line".into())
}

/// An archive that a command works on.
pub(crate) enum Opened {
    /// This process's.
    Own(Box<Archive>),
    /// The appliance's.
    Guests(Arc<Archive>),
}

impl Opened {
    /// The appliance's, on a guest's thread.
    pub(crate) fn of_appliance() -> Option<Opened> {
        guest(|guest| Opened::Guests(Arc::clone(&guest.archive)))
    }

    /// Closes it; the appliance's goes on, and what was written is on disk.
    pub(crate) fn close(self) -> Result<(), Failure> {
        match self {
            Opened::Own(archive) => Ok(archive.close()?),
            Opened::Guests(archive) => Ok(archive.sync()?),
        }
    }

    /// The archive itself, for what keeps it.
    ///
    /// # Errors
    /// The appliance's cannot be had.
    pub(crate) fn into_own(self) -> Result<Archive, Failure> {
        match self {
            Opened::Own(archive) => Ok(*archive),
            Opened::Guests(_) => Err(Failure::new("the running appliance has this archive: stop it first")),
        }
    }
}

impl Deref for Opened {
    type Target = Archive;

    fn deref(&self) -> &Archive {
        match self {
            Opened::Own(archive) => archive,
            Opened::Guests(archive) => archive,
        }
    }
}
