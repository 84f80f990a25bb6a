//! What a recorder that starts anew carries on with, as a document in the archive's folder: orders, who is logged on, what desks hold, and the
//! pauses of calls that run. Written whole whenever it changes, by a thread of its own; the recorder never waits for it.
//!
//! What it means is `policy::gate`'s. One that cannot be read is told, and the recorder begins without.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, TrySendError, bounded};
use policy::gate::Carried;
use serde::{Deserialize, Serialize};

/// The document in the archive's folder.
const FILE: &str = "carried.json";
/// Bytes that are read of a document: of the most that a gate gives.
const DOCUMENT_MAX: u64 = 64 << 20;
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    #[serde(flatten)]
    carried: Carried,
}

/// What is kept, as the last program has left it; and where the recorder hands over what has changed.
pub(crate) struct Luggage {
    newest: Arc<Mutex<Option<Carried>>>,
    changed: Sender<()>,
}

/// The thread that writes, until the last [`Luggage`] is gone.
pub(crate) struct Porter(JoinHandle<()>);

impl Luggage {
    /// Reads what is kept in this folder, and starts to keep.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn open(folder: &Path) -> std::io::Result<(Carried, Luggage, Porter)> {
        let path = folder.join(FILE);
        let carried = read(&path).unwrap_or_else(|error| {
            tracing::error!(
                file = FILE,
                error,
                "orders and pauses of before cannot be read, and are forgotten"
            );
            Carried::default()
        });
        let newest = Arc::new(Mutex::new(None));
        let (changed, changes) = bounded::<()>(1);
        let own = Arc::clone(&newest);
        let run = move || {
            for () in changes {
                let taken = locked(&own).take();
                if let Some(carried) = taken
                    && let Err(error) = write(&path, carried)
                {
                    tracing::error!(file = FILE, %error, "orders and pauses would be forgotten at a new start");
                }
            }
        };
        let thread = std::thread::Builder::new().name("carried".into()).spawn(run)?;
        Ok((carried, Luggage { newest, changed }, Porter(thread)))
    }

    /// This is to be kept from now on. Waits for no disk.
    pub(crate) fn keep(&self, carried: Carried) {
        *locked(&self.newest) = Some(carried);
        // One who waits is enough; without a thread it was told.
        if let Err(TrySendError::Disconnected(())) = self.changed.try_send(()) {
            tracing::debug!(file = FILE, "nobody writes");
        }
    }
}

impl Porter {
    /// Waits until everything is written.
    pub(crate) fn stop(self) {
        if self.0.join().is_err() {
            tracing::error!(file = FILE, "what is carried on was not kept in order");
        }
    }
}

fn locked(newest: &Mutex<Option<Carried>>) -> std::sync::MutexGuard<'_, Option<Carried>> {
    // It is put in and taken out as a whole.
    newest.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(path: &Path) -> Result<Carried, String> {
    let mut json = Vec::new();
    match std::fs::File::open(path) {
        Ok(file) => file.take(DOCUMENT_MAX).read_to_end(&mut json).map_err(|error| error.to_string())?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Carried::default()),
        Err(error) => return Err(error.to_string()),
    };
    let document: Document = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
    if document.format > FORMAT {
        return Err(format!("it has format {}, this program knows {FORMAT}", document.format));
    }
    Ok(document.carried)
}

/// Whole or not at all, and on disk when this returns.
fn write(path: &PathBuf, carried: Carried) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let json = serde_json::to_vec(&Document { format: FORMAT, carried })?;
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(&json)?;
    new.as_file().sync_all()?;
    new.persist(path)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use policy::gate::CarriedAgent;

    use super::*;

    fn carried(agent: &str) -> Carried {
        let since = decode::Timestamp::from_millis(1);
        let agent = CarriedAgent { agent: agent.into(), extension: "2000".into(), since };
        Carried { agents: vec![agent], ..Carried::default() }
    }

    fn opened(folder: &Path) -> Carried {
        let (carried, luggage, porter) = Luggage::open(folder).expect("a thread");
        drop(luggage);
        porter.stop();
        carried
    }

    #[test]
    fn the_last_that_was_handed_over_is_there_for_the_next_program() {
        let dir = tempfile::tempdir().expect("a folder");
        let (nothing, luggage, porter) = Luggage::open(dir.path()).expect("a thread");
        assert_eq!(nothing, Carried::default());
        (0..100).for_each(|n| luggage.keep(carried(&n.to_string())));
        drop(luggage);
        porter.stop();
        assert_eq!(opened(dir.path()), carried("99"));
        assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 1, "nothing is left behind");
    }

    #[test]
    fn what_cannot_be_read_is_forgotten() {
        let dir = tempfile::tempdir().expect("a folder");
        for text in ["", "{", r#"{"format": 2}"#] {
            std::fs::write(dir.path().join(FILE), text).expect("written");
            assert_eq!(opened(dir.path()), Carried::default(), "{text}");
        }
    }
}
