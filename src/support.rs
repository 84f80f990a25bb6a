//! What somebody who helps needs to know of a recorder: versions, the machine, settings, figures, verdicts, the last lines of the log. No call
//! and nothing of one, no number, no name, no key: texts are blanked before they are packed (`blank`), documents are told by their shape.
//!
//! A bundle of a running recorder has what it counts and how it does, too.

mod blank;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use store::locations::LocationState;
use store::{Archive, Query};
use toml::Table;
use web::live::{Live, Status};
use web::machine::{LogLine, Machinery, Setting};
use web::metrics::{self, Machine};
use web::server::{Look, health};

use self::blank::Blank;
use crate::alarms::history;
use crate::cli::ArchiveDir;
use crate::config::{self, Settings};
use crate::failure::Failure;
use crate::set_up::KEPT;
use crate::{clock, logbook};

/// Bytes that are read of a file of the system, or of the archive's folder.
const FILE_MAX: u64 = 4 << 20;
/// Runs of the recorder that are told.
const RUNS_MAX: usize = 50;

/// A recorder that runs in this process.
struct Running {
    live: Arc<dyn Live>,
    look: Look,
}

static RUNNING: Mutex<Option<Arc<Running>>> = Mutex::new(None);

/// From now on bundles of this process tell how its recorder does.
pub(crate) fn know(live: Arc<dyn Live>, look: Look) {
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(Running { live, look }));
}

/// It ends: nothing of it is kept any more, the archive above all.
pub(crate) fn forget() {
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// What pages ask of the program.
pub(crate) struct Workshop {
    archive: std::sync::Weak<Archive>,
    dir: ArchiveDir,
    website: Vec<Setting>,
}

impl Workshop {
    /// `dir` is where the archive and the configuration are.
    pub(crate) fn new(archive: &Arc<Archive>, dir: ArchiveDir, website: Vec<Setting>) -> Workshop {
        // Weak: the archive is closed when nobody else has it.
        Workshop { archive: Arc::downgrade(archive), dir, website }
    }
}

impl Machinery for Workshop {
    fn log(&self) -> Vec<LogLine> {
        logbook::BOOK.lines()
    }

    fn support_bundle(&self) -> Result<Vec<u8>, web::Error> {
        let archive = self.archive.upgrade().ok_or(store::Error::Closed)?;
        let texts = texts(&archive, &self.dir)
            .map_err(|failure| web::Error::Output(std::io::Error::other(failure.to_string())))?;
        web::support::pack(&texts)
    }

    fn website(&self) -> Vec<Setting> {
        self.website.clone()
    }
}

/// The bundle of an archive, packed.
///
/// # Errors
/// The configuration or the archive cannot be read.
pub(crate) fn bundle(archive: &Archive, dir: &ArchiveDir) -> Result<Vec<u8>, Failure> {
    Ok(web::support::pack(&texts(archive, dir)?)?)
}

const ABOUT: &str = "What is in this bundle, and what is not.\n\n\
    program.json    the version, the machine, the system\n\
    settings.toml   the configuration: which settings there are; what they say only where that can be no name, number or secret\n\
    rules.toml      the rule book, likewise\n\
    archive.json    how much there is, keys by number, locations by state, accounts by number; files of the archive's folder\n\
    runs.json       the last runs of the recorder, with what they counted\n\
    alerts.json     what was wrong since when\n\
    adapters.json   network adapters\n\
    log.txt         the last lines of the log of this process\n\
    health.json, metrics.txt   how the recorder does, where one runs in this process\n\n\
    There is no call, no number, no name, no password and no key in it. Numbers of three digits and more, names that are known here, and long rows of\n\
    signs are blanked in texts: #, [name], [secret]. Look through it before you send it.\n";

/// The texts of a bundle, by name.
fn texts(archive: &Archive, dir: &ArchiveDir) -> Result<Vec<(&'static str, String)>, Failure> {
    let config = crate::console::appliances_config().unwrap_or_else(|| dir.config.clone());
    let (file, settings) = config::read_again(&ArchiveDir { config, archive: dir.archive.clone() })?;
    let book = archive.book()?;
    let rules: Option<Table> = book.as_ref().and_then(|book| book.text.parse().ok());
    let accounts = archive.accounts();
    let blank = Blank::new(&accounts, [Some(&file), rules.as_ref()].into_iter().flatten());
    let pretty = |value: &Value| serde_json::to_string_pretty(value).map_err(Failure::new);
    let mut texts = vec![
        ("README.txt", ABOUT.to_owned()),
        ("program.json", pretty(&program())?),
        ("settings.toml", toml::to_string(&blank.table(&file)).map_err(Failure::new)?),
        ("archive.json", pretty(&figures(archive, &blank)?)?),
        ("runs.json", pretty(&runs(archive)?)?),
        ("alerts.json", alerts(archive, &blank)?),
        ("adapters.json", pretty(&adapters(&settings))?),
        ("log.txt", log(&blank)),
    ];
    if let Some(rules) = rules {
        texts.push(("rules.toml", toml::to_string(&blank.table(&rules)).map_err(Failure::new)?));
    }
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(Running { live, look }) = running.as_deref() {
        let (status, machine): (Arc<Status>, Machine) = (live.status(), look());
        let health = blank.json(health(&status, Some(&machine), clock::now()));
        texts.push(("health.json", pretty(&health)?));
        texts.push(("metrics.txt", blank.labels(&metrics::text(&status, &machine, clock::now()))));
    }
    Ok(texts)
}

/// A text of the system; empty where there is none.
fn read(path: impl AsRef<Path>) -> String {
    use std::io::Read;
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_MAX).read_to_string(&mut text));
    if read.is_ok() { text } else { String::new() }
}

fn program() -> Value {
    let system = rustix::system::uname();
    let os = read("/etc/os-release");
    let os = os.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or_default();
    let memory = read("/proc/meminfo");
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "at": clock::now(),
        "os": os.trim_matches('"'),
        // Not the machine's name.
        "kernel": system.release().to_string_lossy(),
        "machine": system.machine().to_string_lossy(),
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": memory.lines().take(3).collect::<Vec<_>>(),
        "load": read("/proc/loadavg").trim(),
        "up_s": read("/proc/uptime").split(' ').next(),
        "resident_bytes": crate::machine::resident_bytes(),
        "open_fds": crate::machine::open_fds(),
    })
}

/// How much there is.
fn figures(archive: &Archive, blank: &Blank) -> Result<Value, Failure> {
    let stats = archive.stats(&Query::default())?;
    let keys = archive.key_status()?;
    let accounts = archive.accounts();
    let now = clock::now();
    let locations = archive.locations()?;
    let locations: Vec<Value> = locations
        .iter()
        .map(|location| {
            let (state, why) = match &location.state {
                LocationState::Failing(why) => ("failing", blank.text(why)),
                LocationState::Hanging(seconds) => ("hanging", format!("{seconds} s")),
                LocationState::Starting => ("starting", String::new()),
                LocationState::UpToDate => ("up to date", String::new()),
                LocationState::Copying => ("copying", String::new()),
                LocationState::Reachable => ("reachable", String::new()),
            };
            json!({
                "state": state, "why": why, "copies": location.copies, "bytes": location.bytes, "missing": location.missing,
                "stale": location.stale, "refused": location.troubles.len(),
                "free": location.space.map(|space| space.free), "total": location.space.map(|space| space.total),
            })
        })
        .collect();
    let space = archive.space();
    let folders = ["ledger", "journal", "index", "keys"].map(|folder| files(archive.dir(), folder));
    Ok(json!({
        "recordings": {
            "count": stats.recordings, "running": stats.recording, "complete": stats.complete, "interrupted": stats.interrupted,
            "audio_ms": stats.audio_ms, "bytes": stats.bytes, "oldest": stats.oldest, "newest": stats.newest,
        },
        "space": space.map(|space| json!({ "free": space.free, "total": space.total })),
        "keys": {
            "private": format!("{:?}", keys.private), "opens": !keys.open.is_empty(), "signs": keys.signs, "months": keys.months.len(),
            "not_opened": keys.months.iter().filter(|month| month.opens == Some(false)).count(), "former": keys.former.len(),
            "recipients": keys.recipients.len(), "rotating": keys.rotating, "troubles": keys.troubles.len(),
        },
        "rule_book_version": archive.book_version()?,
        "accounts": {
            "count": accounts.accounts().count(), "disabled": accounts.accounts().filter(|one| one.disabled).count(),
            "locked": accounts.accounts().filter(|one| one.is_locked(now)).count(),
            "second_factors": accounts.accounts().filter(|one| one.has_totp()).count(),
            "roles": accounts.roles().len(), "filters": accounts.filters().len(), "tokens": accounts.tokens().len(),
        },
        "locations": locations,
        "files": folders,
    }))
}

/// How many files a folder of the archive has, and how long they are.
fn files(archive: &Path, folder: &str) -> Value {
    let (mut count, mut bytes) = (0_u64, 0_u64);
    let mut folders = vec![archive.join(folder)];
    while let Some(one) = folders.pop() {
        for entry in std::fs::read_dir(one).into_iter().flatten().flatten() {
            let Ok(about) = entry.metadata() else { continue };
            if about.is_dir() {
                folders.push(entry.path());
            } else {
                (count, bytes) = (count + 1, bytes.saturating_add(about.len()));
            }
        }
    }
    json!({ "folder": folder, "files": count, "bytes": bytes })
}

/// The last runs, with what they counted: figures alone.
fn runs(archive: &Archive) -> Result<Value, Failure> {
    let mut last = std::collections::VecDeque::new();
    for run in archive.runs()? {
        if last.len() == RUNS_MAX {
            last.pop_front();
        }
        last.push_back(run?);
    }
    serde_json::to_value(last).map_err(Failure::new)
}

fn alerts(archive: &Archive, blank: &Blank) -> Result<String, Failure> {
    let kept: Value = serde_json::from_str(&read(archive.dir().join(history::FILE))).unwrap_or_default();
    let mut told: Vec<Value> = kept["alerts"].as_array().cloned().unwrap_or_default();
    for alert in &mut told {
        let words = blank.text(alert["words"].as_str().unwrap_or_default());
        // Who took note, and what they said, is nobody's business; the place may be called anything.
        let is_noted = alert["acknowledged"].is_object();
        *alert = json!({
            "alarm": alert["alarm"], "words": words, "raised": alert["raised"], "told": alert["told"], "told_to": alert["told_to"],
            "cleared": alert["cleared"], "acknowledged": is_noted,
        });
    }
    serde_json::to_string_pretty(&told).map_err(Failure::new)
}

fn adapters(settings: &Settings) -> Value {
    let chosen: Value =
        serde_json::from_str(&read(PathBuf::from(&settings.archive).join(KEPT))).unwrap_or_default();
    let all = match capture::interfaces() {
        Ok(all) => all,
        Err(error) => return json!({ "error": error.to_string() }),
    };
    let all: Vec<Value> = all
        .iter()
        .map(|one| {
            json!({
                "name": one.name, "up": one.up, "running": one.running, "connected": one.connected, "loopback": one.loopback,
                "own_clock": one.own_clock, "addresses": one.addresses.len(),
            })
        })
        .collect();
    json!({ "all": all, "configured": settings.capture.interfaces, "chosen": chosen["interfaces"] })
}

fn log(blank: &Blank) -> String {
    let mut text = String::new();
    for LogLine { at, severity, part, what, fields } in logbook::BOOK.lines() {
        text.push_str(&format!("{at} {} {part}: {}", severity.key(), blank.text(&what)));
        for (name, value) in fields {
            // A figure with its unit in its name stays one.
            let value =
                if value.parse::<f64>().is_ok() && name.contains('_') { value } else { blank.text(&value) };
            text.push_str(&format!(" {name}={value}"));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use policy::access::Right;
    use policy::modes;
    use store::{AccountChange, AccountEdit, BookChange, NewToken, Password, TokenSecret};

    use super::*;

    const NUMBER: &str = "441632960555";
    const NAME: &str = "Quillfeather";
    const PASSWORD: &str = "kupfer lampe neun seil";

    /// What must be in no bundle.
    fn planted(secret: &TokenSecret, key: &str) -> Vec<String> {
        [NUMBER, NAME, PASSWORD, secret.text(), key].map(str::to_lowercase).to_vec()
    }

    #[test]
    fn no_number_no_name_no_password_no_token_and_no_key_that_was_planted_is_in_a_bundle() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = dir.path().join("archive");
        let (archive, _) = Archive::open_or_create(&at).expect("an archive");
        let file = std::fs::read(at.join("keys/unwrap.key")).expect("a key");
        let key: String = file.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(key.len() >= 40, "{key}");
        let secret = TokenSecret::new().expect("random bytes");
        let change = |change| archive.change_accounts(NAME, clock::now(), change).expect("changed");
        change(AccountChange::Add {
            name: NAME.into(),
            edit: AccountEdit {
                display_name: Some(format!("{NAME} {NUMBER}")),
                email: Some(format!("{NAME}@recorder.example")),
                role: Some("Administrator".into()),
                ..AccountEdit::default()
            },
            password: Some(Password::new(PASSWORD)),
            must_change: false,
        });
        change(AccountChange::AddToken(NewToken {
            name: NUMBER.into(),
            account: NAME.into(),
            rights: [Right::Status].into(),
            asks_as: modes::Role::Agent,
            expires: None,
            secret: secret.clone(),
        }));
        let of_book = format!(
            "[[record.exclude]]\ntype = \"endpoint\"\nvalue = \"{NUMBER}\"\ndescription = \"{NAME}\"\n[site]\ntrunks = []\n"
        );
        let why = format!("{NAME} asked, {}", secret.text());
        let book =
            BookChange { from: 0, at: clock::now(), who: NAME.into(), why, restores: None, text: of_book };
        archive.change_book(book).expect("changed");
        let alert = json!({ "alerts": [{ "alarm": "disk-low", "place": NAME, "words": format!("the {NAME} drive, {NUMBER}"),
            "raised": clock::now(), "told": clock::now(), "told_to": ["log"],
            "acknowledged": { "who": NAME, "note": format!("{PASSWORD} {key}") } }] });
        std::fs::write(at.join(history::FILE), alert.to_string()).expect("written");
        let file = dir.path().join("earwitness.toml");
        std::fs::write(
            &file,
            format!(
                "[archive]\ndir = {at:?}\n[site]\nname = \"{NAME} House\"\ntime_zone = \"Europe/London\"\n[web]\nnames = [\"{NAME}.example\"]\n\
                 [[unit]]\nname = \"{NAME}s\"\n[[user]]\nid = \"{NAME}\"\nlast_name = \"{NAME}\"\n[[user.device]]\nextension = \"{NUMBER}\"\n\
                 [alarms]\nwebhook = \"https://hooks.example/{NUMBER}/{}\"\n[tags]\nnames = [\"{NAME}\"]\n",
                secret.text()
            ),
        )
        .expect("written");
        let memory = tracing_subscriber::layer::SubscriberExt::with(
            tracing_subscriber::registry(),
            logbook::Memory(&logbook::BOOK),
        );
        tracing::subscriber::with_default(memory, || {
            tracing::warn!(number = NUMBER, who = NAME, "{NAME} of {NUMBER} has said {}", secret.text());
            tracing::error!(error = format!("{NAME}s of {NUMBER}: {key}"), waited_ms = 4_711, "failed");
        });
        let dir = ArchiveDir { archive: Some(at), config: Some(file) };
        let texts = texts(&archive, &dir).expect("a bundle");
        let names: Vec<&str> = texts.iter().map(|(name, _)| *name).collect();
        assert!(names.contains(&"rules.toml") && names.contains(&"log.txt"), "{names:?}");
        for (name, text) in &texts {
            for planted in planted(&secret, &key) {
                assert!(!text.to_lowercase().contains(&planted), "{name} has {planted}:\n{text}");
            }
        }
        let all: String = texts.iter().map(|(_, text)| text.as_str()).collect();
        for there in
            ["waited_ms=4711", "exclude = \"[1 entries]\"", "time_zone = \"Europe/London\"", "\"count\": 1"]
        {
            assert!(all.contains(there), "{there} is not there:\n{all}");
        }
        assert_eq!(&bundle(&archive, &dir).expect("packed")[..2], b"PK");
    }
}
