//! Where a passphrase comes from: a file that the environment names, or the terminal, without echo. Never the command line,
//! which every process of the machine can read.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use store::{Archive, Passphrase};
use zeroize::Zeroizing;

use crate::console;
use crate::failure::Failure;

/// The file of the passphrase that opens the private key.
const FILE: &str = "EARWITNESS_PASSPHRASE_FILE";
/// The file of a new one.
const NEW_FILE: &str = "EARWITNESS_NEW_PASSPHRASE_FILE";
/// Bytes read of either; a longer passphrase is refused anyway.
const READ_MAX: usize = 2048;
/// What Ctrl-C is while the terminal does not make a signal of it.
const CTRL_C: u8 = 3;

/// Opens the private key if it waits for a passphrase: with the one in the file, or with one that is typed if `ask` and
/// there is a terminal. Without either it stays closed.
pub(crate) fn unlock(archive: &Archive, ask: bool) -> Result<(), Failure> {
    if !archive.is_locked() || console::is_guest() {
        return Ok(());
    }
    let passphrase = match from_file(FILE)? {
        Some(passphrase) => Some(passphrase),
        None if ask => from_terminal("passphrase of the private key: ")?,
        None => None,
    };
    passphrase.map_or(Ok(()), |passphrase| Ok(archive.unlock(&passphrase)?))
}

/// A new passphrase. `sealed` tells whether there is one already, which the first file is then for.
pub(crate) fn choose(sealed: bool) -> Result<Passphrase, Failure> {
    if console::is_guest() {
        return Err(Failure::locked("the running appliance asks for no passphrase: stop it first"));
    }
    if let Some(passphrase) = from_file(NEW_FILE)? {
        return Ok(passphrase);
    }
    if !sealed && let Some(passphrase) = from_file(FILE)? {
        return Ok(passphrase);
    }
    let nobody = || {
        Failure::usage(format!(
            "no terminal to ask at: name a file that holds the new passphrase in {NEW_FILE}"
        ))
    };
    Ok(Passphrase::new(type_new("new passphrase")?.ok_or_else(nobody)?)?)
}

/// Something new that is typed twice, without echo; none when there is no terminal.
pub(crate) fn type_new(what: &str) -> Result<Option<Zeroizing<String>>, Failure> {
    let Some(first) = read_terminal(&format!("{what}: "))? else { return Ok(None) };
    let Some(second) = read_terminal("the same again: ")? else { return Ok(None) };
    if first != second {
        return Err(Failure::new("the two are not the same: nothing was changed"));
    }
    Ok(Some(first))
}

fn from_file(variable: &str) -> Result<Option<Passphrase>, Failure> {
    let Some(path) = std::env::var_os(variable).map(PathBuf::from) else { return Ok(None) };
    let failed =
        |what: &dyn std::fmt::Display| Failure::key(format!("{variable}: {}: {what}", path.display()));
    let mut bytes = Zeroizing::new(Vec::with_capacity(READ_MAX));
    let file = File::open(&path).map_err(|e| failed(&e))?;
    file.take(READ_MAX as u64).read_to_end(&mut bytes).map_err(|e| failed(&e))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| failed(&"not text in UTF-8"))?;
    Ok(Some(Passphrase::new(Zeroizing::new(text.to_owned()))?))
}

fn from_terminal(prompt: &str) -> Result<Option<Passphrase>, Failure> {
    read_terminal(prompt)?.map(|text| Ok(Passphrase::new(text)?)).transpose()
}

/// Sets the terminal back when it goes.
struct Quiet<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn new(terminal: &'a File) -> rustix::io::Result<Quiet<'a>> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        // No signals either: one would end the program with the echo switched off.
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Quiet { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
        let _ = self.terminal.write_all(b"\n");
    }
}

/// A line typed at the terminal without echo; none when there is no terminal.
fn read_terminal(prompt: &str) -> Result<Option<Zeroizing<String>>, Failure> {
    let mut terminal = match OpenOptions::new().read(true).write(true).open("/dev/tty") {
        Ok(terminal) => terminal,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => return Ok(None),
        // No controlling terminal.
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => return Ok(None),
        Err(e) => return Err(Failure::new(format!("/dev/tty: {e}"))),
    };
    terminal.write_all(prompt.as_bytes())?;
    let quiet = Quiet::new(&terminal).map_err(|e| Failure::new(format!("/dev/tty: {e}")))?;
    let mut line = Zeroizing::new(Vec::with_capacity(READ_MAX));
    let mut byte = Zeroizing::new([0]);
    let mut input = &terminal;
    while line.len() < READ_MAX && input.read(&mut byte[..])? == 1 && byte[0] != b'\n' {
        if byte[0] == CTRL_C {
            drop(quiet);
            return Err(Failure::interrupted());
        }
        line.push(byte[0]);
    }
    drop(quiet);
    let text = std::str::from_utf8(&line).map_err(|_| Failure::new("what was typed is no text in UTF-8"))?;
    Ok(Some(Zeroizing::new(text.to_owned())))
}
