//! `archive key`: who can open the archive, and with which keys.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::json;
use store::{Archive, KeyFileStatus, KeyStatus, Protection, Recipient, Rotated, Sheet};
use zeroize::Zeroizing;

use super::{open_archive, print_json, print_line, warn};
use crate::cli::{ArchiveDir, KeyCommand};
use crate::config;
use crate::console::{self, Opened};
use crate::failure::{Done, Failure};
use crate::passphrase;

/// Bytes read of a public key or a sheet.
const FILE_MAX: u64 = 64 * 1024;

pub(crate) fn run(command: KeyCommand) -> Result<Done, Failure> {
    match command {
        KeyCommand::Status { dir, json } => status(&*open(&dir, false)?, json.json),
        KeyCommand::ExportPublic { dir } => {
            print_line(open(&dir, false)?.public_keys()?.trim_end())?;
            Ok(Done::All)
        }
        KeyCommand::New { file } => new(&file),
        KeyCommand::Add { file, name, dir } => add(&*open(&dir, true)?, &file, name.as_deref()),
        KeyCommand::Remove { id, yes, dir } => remove(&*open(&dir, false)?, &id, yes),
        KeyCommand::Rotate { yes, leave_damaged, dir, json } => {
            rotate(&*open(&dir, yes)?, yes, leave_damaged, json.json)
        }
        KeyCommand::Passphrase { remove, dir } => passphrase(&*open(&dir, true)?, remove),
        KeyCommand::RecoverySheet { output, dir } => sheet(&*open(&dir, true)?, &output),
        KeyCommand::Restore { file, dir } => restore(&config::resolve(&dir)?.archive, &file),
    }
}

/// Opens the archive, and its private key if it is sealed: asked for at the terminal only if `ask`.
fn open(dir: &ArchiveDir, ask: bool) -> Result<Opened, Failure> {
    let archive = open_archive(&config::resolve(dir)?.archive)?;
    passphrase::unlock(&archive, ask)?;
    Ok(archive)
}

fn status(archive: &Archive, json: bool) -> Result<Done, Failure> {
    let status = archive.key_status()?;
    if json {
        print_json(&status)?;
    } else {
        print_line(&describe(&status))?;
    }
    Ok(Done::All)
}

fn describe(status: &KeyStatus) -> String {
    let mut lines = Vec::new();
    let mut line = |name: &str, what: String| lines.push(format!("{name:<13} {what}"));
    let private = match (status.private, status.open.as_slice()) {
        (Protection::Absent, _) => "not here: recordings are made and cannot be played".to_owned(),
        (Protection::File, []) => "in a file, of another archive".to_owned(),
        (Protection::File, _) => "in a file".to_owned(),
        (Protection::Passphrase, []) => "sealed with a passphrase, closed".to_owned(),
        (Protection::Passphrase, _) => "sealed with a passphrase, open".to_owned(),
    };
    line("archive key", status.key_id.clone());
    line("private key", private);
    if let [open, ..] = status.open.as_slice()
        && *open != status.key_id
    {
        line("", format!("of the recipient {open}"));
    }
    let signs = if status.signs { "" } else { " (its private key is not here: nothing can be recorded)" };
    line("signing key", format!("{}{signs}", status.sign_key_id));
    for recipient in &status.recipients {
        line("recipient", format!("{}  {}  since {}", recipient.key_id, recipient.name, recipient.added));
    }
    if status.recipients.is_empty() {
        line("recipients", "none beside the archive key".to_owned());
    }
    for month in &status.months {
        line("month", format!("{}  {}{}", month.month, month.key_id, remarks(month, status)));
    }
    for former in &status.former {
        line(
            "former key",
            format!("{}  for recordings of format 1{}", former.key_id, remarks(former, status)),
        );
    }
    if status.rotating {
        line("rotation", "interrupted: `earwitness archive key rotate --yes` goes on with it".to_owned());
    }
    for (path, what) in &status.troubles {
        line("trouble", format!("{path}: {what}"));
    }
    lines.join("\n")
}

/// What is worth saying of one key-encryption key.
fn remarks(file: &KeyFileStatus, status: &KeyStatus) -> String {
    let mut remarks = String::new();
    if file.opens == Some(false) {
        remarks.push_str("  cannot be opened here");
    }
    if file.retired {
        remarks.push_str("  retired, to be destroyed");
    }
    let missing = |id: &&str| !file.sealed_to.iter().any(|to| to == id);
    let all =
        std::iter::once(&status.key_id).chain(status.recipients.iter().map(|recipient| &recipient.key_id));
    for id in all.map(String::as_str).filter(missing).filter(|_| !file.retired) {
        remarks.push_str(&format!("  not for {id}"));
    }
    remarks
}

/// Makes a file that must not be there yet, for its owner alone if it holds a secret.
fn create(path: &Path, private: bool, bytes: &[u8]) -> Result<(), Failure> {
    let mode = if private { 0o600 } else { 0o644 };
    let failed = |e: std::io::Error| Failure::new(format!("{}: {e}", path.display()));
    console::may_write(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}

fn new(path: &Path) -> Result<Done, Failure> {
    let (private, public) = store::new_key_pair()?;
    let mut public_path = path.as_os_str().to_owned();
    public_path.push(".pub");
    create(path, true, private.as_bytes())?;
    create(Path::new(&public_path), false, public.as_bytes())?;
    warn(&format!(
        "{} is the private key: keep it; give {} to whoever runs the recorder, for `earwitness archive key add`",
        path.display(),
        Path::new(&public_path).display()
    ));
    Ok(Done::All)
}

/// A small file, or the standard input.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |e: std::io::Error| Failure::new(format!("{}: {e}", path.display()));
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_MAX as usize));
    if path.as_os_str() == "-" {
        if console::is_guest() {
            return Err(Failure::usage("-: beside a running appliance, name a file"));
        }
        std::io::stdin().lock().take(FILE_MAX).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        console::open(path).map_err(failed)?.take(FILE_MAX).read_to_end(&mut bytes).map_err(failed)?;
    }
    Ok(bytes)
}

fn add(archive: &Archive, path: &Path, name: Option<&str>) -> Result<Done, Failure> {
    let stem = || path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.map_or_else(stem, str::to_owned);
    let recipient = archive.add_recipient(&read(path)?, &path.to_string_lossy(), &name)?;
    let months = archive.key_status()?.months.len();
    print_line(&format!(
        "{} ({}) can now open everything: {months} months, and every one to come",
        recipient.name, recipient.key_id
    ))?;
    Ok(Done::All)
}

fn remove(archive: &Archive, id: &str, yes: bool) -> Result<Done, Failure> {
    let recipient = archive.recipient(id)?;
    let Recipient { key_id, name, .. } = &recipient;
    let months = archive.key_status()?.months;
    let months = months.iter().filter(|month| month.sealed_to.contains(key_id)).count();
    if !yes {
        print_line(&format!(
            "would close {months} months, and every one to come, to {name} ({key_id}); --yes does"
        ))?;
        return Ok(Done::All);
    }
    archive.remove_recipient(key_id)?;
    print_line(&format!("{name} ({key_id}) opens nothing any more: {months} months closed"))?;
    warn(
        "copies of the months' keys that the recipient kept still open what was recorded until now: `earwitness archive key rotate`",
    );
    Ok(Done::All)
}

fn rotate(archive: &Archive, yes: bool, leave: bool, json: bool) -> Result<Done, Failure> {
    if !yes {
        let status = archive.key_status()?;
        let recordings = archive.stats(&store::Query::default())?.recordings;
        print_line(&format!(
            "would make a new archive key in place of {}, wrap the keys of {recordings} recordings anew and destroy {} months' keys; \
             --yes does. Backups of recordings made before open with backups of keys made before only.",
            status.key_id,
            status.months.len()
        ))?;
        return Ok(Done::All);
    }
    let terminal = console::err().is_terminal();
    let rotated = archive.rotate_keys(leave, |done, total| {
        if terminal {
            // Progress that cannot be shown is no failure.
            let _ = write!(console::err(), "\r{done} of {total} recordings");
        }
    })?;
    if terminal {
        let _ = writeln!(console::err());
    }
    report(archive, &rotated, json)?;
    Ok(if rotated.left.is_empty() { Done::All } else { Done::InPart })
}

fn report(archive: &Archive, rotated: &Rotated, json: bool) -> Result<(), Failure> {
    for (path, why) in &rotated.left {
        warn(&format!("{}: {why}", path.display()));
    }
    let key_id = archive.key_status()?.key_id;
    if json {
        let left: Vec<_> =
            rotated.left.iter().map(|(path, why)| json!({ "path": path, "why": why })).collect();
        print_json(&json!({
            "finished": rotated.finished, "resumed": rotated.resumed, "key_id": key_id, "rewrapped": rotated.rewrapped,
            "format_1": rotated.format_1, "retired": rotated.retired, "left": left,
        }))?;
    } else {
        print_line(&format!("the archive key is {key_id}; {} recordings wrapped anew", rotated.rewrapped))?;
    }
    if !rotated.finished {
        warn(
            "the old keys are kept, because recordings are left: put older copies of these files back and rotate again, \
             or give them up with --leave-damaged",
        );
        return Ok(());
    }
    if rotated.format_1 > 0 {
        warn(&format!(
            "{} recordings of format 1 keep their wrap; the old archive key stays for them, sealed to the new one",
            rotated.format_1
        ));
    }
    warn("back up keys/ and print a new recovery sheet now; destroy the copies of the old keys");
    Ok(())
}

fn passphrase(archive: &Archive, remove: bool) -> Result<Done, Failure> {
    let sealed = archive.key_status()?.private == Protection::Passphrase;
    if remove {
        archive.set_passphrase(None)?;
        print_line("the private key lies in keys/unwrap.key, without a passphrase")?;
        return Ok(Done::All);
    }
    if !archive.can_read() {
        // Before anybody types a new one.
        archive.recovery_sheet().map(drop)?;
    }
    archive.set_passphrase(Some(&passphrase::choose(sealed)?))?;
    print_line("the private key is sealed with the passphrase, in keys/unwrap.sealed.json")?;
    warn(
        "nobody can open the key without it but by a recovery sheet: `earwitness archive key recovery-sheet -o FILE`",
    );
    Ok(Done::All)
}

fn sheet(archive: &Archive, output: &Path) -> Result<Done, Failure> {
    create(output, true, archive.recovery_sheet()?.as_bytes())?;
    warn(&format!(
        "{}: print it, put the paper into a safe and destroy the file: whoever has it can open the archive",
        output.display()
    ));
    Ok(Done::All)
}

fn restore(dir: &Path, path: &Path) -> Result<Done, Failure> {
    let bytes = read(path)?;
    let failed = |what: &dyn std::fmt::Display| Failure::key(format!("{}: {what}", path.display()));
    let text = std::str::from_utf8(&bytes).map_err(|_| failed(&"not text in UTF-8"))?;
    let sheet = Sheet::parse(text).map_err(|e| failed(&e))?;
    let id = Archive::restore_key(dir, &sheet)?;
    print_line(&format!("the private key {id} is in keys/unwrap.key"))?;
    Ok(Done::All)
}
