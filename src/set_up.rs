//! Before anything is recorded: what the adapters of this machine hear, and the choice of whoever sets the recorder up.
//!
//! While no way in is named, `run` listens at every adapter that is up. Frames go through an observer of the mirror for each adapter
//! (`decode::health`) and one tracker, and are gone: nothing is written, and no audio is looked at. The choice is kept in the archive's
//! folder ([`KEPT`]) and in its rule book, and counts at the next start, too, as long as the configuration names no way in itself.

mod listening;
mod twins;

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use capture::{Advance, FrameSource, Interface, Ring};
use decode::Timestamp;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use serde::{Deserialize, Serialize};
use store::{AccessEvent, Archive, BookChange};
use web::set_up::{Choice, Heard, SetUp};

use self::listening::Listening;
use crate::clock;
use crate::config::{Book, Machine};
use crate::failure::Failure;
use crate::rules;

/// The file in the archive's folder that keeps which adapters were chosen.
pub(crate) const KEPT: &str = "capture.json";
/// Bytes of it that are read.
const KEPT_MAX: u64 = 64 * 1024;
/// How long frames are waited for between two looks at the clock.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often what was heard is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What is kept of the choice: which adapters to record from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    interfaces: Vec<String>,
    at: Timestamp,
    who: String,
}

/// The adapters that were chosen here; none before a choice.
///
/// # Errors
/// When the file is there and cannot be read: which adapters are recorded from must be known.
pub(crate) fn chosen(archive: &Path) -> Result<Vec<String>, Failure> {
    let path = archive.join(KEPT);
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(format!("{}: {error}; remove it to choose the adapters anew", path.display()))
    };
    let file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(&error)),
    };
    let kept: Kept = serde_json::from_reader(std::io::Read::take(file, KEPT_MAX)).map_err(|e| failed(&e))?;
    Ok(kept.interfaces)
}

/// Adapters that could be mirror ports.
///
/// # Errors
/// When the system does not list them.
pub(crate) fn adapters() -> Result<Vec<Interface>, Failure> {
    let all = capture::interfaces().map_err(Failure::new)?;
    Ok(all.into_iter().filter(could_be_mirror_port).collect())
}

/// Up, and an adapter: libpcap lists USB buses, netfilter queues and Bluetooth, too, of which the kernel's network knows nothing.
pub(crate) fn could_be_mirror_port(interface: &Interface) -> bool {
    let is_adapter = || {
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        name_to_index(socket, &interface.name)
    };
    interface.up && !interface.loopback && interface.name != "any" && is_adapter().is_ok()
}

/// The side of the pages.
pub(crate) struct Ears {
    archive: Arc<Archive>,
    /// The rules of the configuration, which a first rule book begins with.
    book: Book,
    machine: Machine,
    heard: Mutex<Option<Arc<Heard>>>,
    choice: Mutex<Option<Choice>>,
    /// Whoever begins has it: one, and once.
    beginning: Mutex<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ears {
    pub(crate) fn new(archive: Arc<Archive>, book: Book, machine: Machine) -> Arc<Ears> {
        let heard = Mutex::new(Some(Arc::default()));
        Arc::new(Ears {
            archive,
            book,
            machine,
            heard,
            choice: Mutex::default(),
            beginning: Mutex::default(),
        })
    }

    /// Listens until somebody chooses or `stop`; gives the adapters' names that were chosen, and closes the ring's other ports. `adapters` are
    /// the ring's first ports, in its order, and behind them those that could not be opened, with the reason. `alive` is called every second.
    pub(crate) fn listen(
        &self,
        ring: &mut Ring,
        adapters: &[(Interface, Option<String>)],
        stop: &AtomicBool,
        alive: impl Fn(),
    ) -> Option<Vec<String>> {
        let mut listening = Listening::new(adapters, &self.book, Instant::now());
        let mut next = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            match ring.advance_within(PATIENCE) {
                Ok(Advance::Frame) => {
                    if let Some(frame) = ring.frame() {
                        listening.handle_frame(&frame);
                    }
                }
                Ok(Advance::Idle) => listening.handle_timeout(clock::now()),
                Ok(Advance::End) => return None,
                Err(error) => tracing::warn!(%error, "listening"),
            }
            let now = Instant::now();
            if now < next {
                continue;
            }
            next = now + TELL_EVERY;
            alive();
            let mut choice = lock(&self.choice);
            if let Some(choice) = choice.take() {
                for (place, (interface, _)) in adapters.iter().enumerate() {
                    if !choice.adapters.contains(&interface.name) {
                        ring.close(place);
                    }
                }
                return Some(choice.adapters);
            }
            // Under the lock of the choice: once there is one, nothing is heard any more.
            *lock(&self.heard) = Some(Arc::new(listening.heard(now)));
        }
        None
    }

    /// The choice, on disk: who chose, a version of the rule book, and the adapters at last, which alone make the next start record.
    fn keep(&self, choice: &Choice) -> Result<(), Failure> {
        let at = clock::now();
        let what = AccessEvent::SettingsChanged {
            what: "adapters to record from".into(),
            before: String::new(),
            after: choice.adapters.join(", "),
        };
        self.archive.note_access(&choice.who, None, at, what)?;
        self.put_rules(choice, at)?;
        let kept = Kept { interfaces: choice.adapters.clone(), at, who: choice.who.clone() };
        let folder = self.archive.dir();
        let mut new = tempfile::NamedTempFile::new_in(folder)?;
        new.write_all(&serde_json::to_vec(&kept)?)?;
        new.as_file().sync_all()?;
        new.persist(folder.join(KEPT)).map_err(|error| error.error)?;
        Ok(std::fs::File::open(folder)?.sync_all()?)
    }

    /// The rules in force with the systems and extensions that were chosen, where that says something new.
    fn put_rules(&self, choice: &Choice, at: Timestamp) -> Result<(), Failure> {
        let in_force = self.archive.book()?;
        let (from, before) = match &in_force {
            Some(version) => (version.version, Book::of_version(version)?),
            None => (0, self.book.clone()),
        };
        let mut book = before.clone();
        book.site.pbx.extend(choice.pbx.iter().filter(|address| !before.site.pbx.contains(address)));
        if let Some(extensions) = &choice.extensions {
            book.record.devices = Some(extensions.clone());
        }
        if book == before {
            return Ok(());
        }
        let (text, ruling) = (book.text()?, rules::checked(book, &self.machine)?);
        let (who, why) = (choice.who.clone(), "the first set-up".to_owned());
        rules::put(&self.archive, &ruling, BookChange { from, at, who, why, restores: None, text })
            .map_err(Failure::new)?;
        Ok(())
    }
}

impl SetUp for Ears {
    fn heard(&self) -> Option<Arc<Heard>> {
        lock(&self.heard).clone()
    }

    fn begin(&self, choice: Choice) -> Result<(), String> {
        let _one_at_a_time = lock(&self.beginning);
        let heard =
            self.heard().ok_or("It records already. What is recorded is changed in the rules now.")?;
        if choice.adapters.is_empty() {
            return Err("Tick an adapter: without one nothing is recorded.".into());
        }
        let is_open = |name: &String| {
            heard.adapters.iter().any(|adapter| adapter.name == *name && adapter.failure.is_none())
        };
        if let Some(unknown) = choice.adapters.iter().find(|name| !is_open(name)) {
            return Err(format!("{unknown} cannot be recorded from: see what stands beside it."));
        }
        self.keep(&choice).map_err(|failure| failure.to_string())?;
        *lock(&self.choice) = Some(choice);
        *lock(&self.heard) = None;
        Ok(())
    }
}
