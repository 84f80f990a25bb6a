//! Copies of checkpoints in other places: what proves later that nothing was taken back.
//!
//! Each place (a folder, best on another machine) has a thread of its own, so that one that hangs holds up neither the
//! archive nor the other places. A newer checkpoint says all that an older one says, so a place that is slow or away
//! gets the newest when it can take one. A file per UTC day: `ARCHIVE-YYYY-MM-DD.checkpoint`, the day's newest.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::checkpoint::{Checkpoint, Note};
use crate::disk::locked;

/// How long the end of the archive waits for a place that hangs.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// After this long a checkpoint that a place refused is offered again.
const RETRY: Duration = Duration::from_secs(30);

/// A note and the name of its file.
type Copy = (String, String);

/// All places.
#[derive(Debug, Default)]
pub(crate) struct Witnesses {
    places: Mutex<Vec<Place>>,
}

#[derive(Debug)]
struct Place {
    notes: Option<Sender<Copy>>,
    /// The same queue from behind, to take out what a newer note replaces.
    stale: Receiver<Copy>,
    /// Disconnected when the thread has ended.
    done: Receiver<()>,
}

impl Witnesses {
    /// Adds a folder; `first` is told to it at once.
    pub(crate) fn add(&self, folder: &Path, first: Option<(&Checkpoint, &str)>) -> io::Result<()> {
        let (notes, inbox) = bounded(1);
        let (alive, done) = bounded(0);
        let (folder, stale) = (folder.to_owned(), inbox.clone());
        std::thread::Builder::new().name("archive-witness".into()).spawn(move || {
            let _alive = alive;
            keep(&folder, &inbox);
        })?;
        let place = Place { notes: Some(notes), stale, done };
        if let Some((checkpoint, note)) = first {
            place.tell((file_name(checkpoint), note.to_owned()));
        }
        locked(&self.places).push(place);
        Ok(())
    }

    /// Hands a new checkpoint to all places; never waits.
    pub(crate) fn tell(&self, checkpoint: &Checkpoint, note: &str) {
        for place in locked(&self.places).iter() {
            place.tell((file_name(checkpoint), note.to_owned()));
        }
    }

    /// No more notes will come: waits a moment for those on their way.
    pub(crate) fn close(&self) {
        let mut places = std::mem::take(&mut *locked(&self.places));
        for place in &mut places {
            place.notes = None;
        }
        let deadline = std::time::Instant::now() + CLOSE_WAIT;
        for place in &places {
            if let Err(crossbeam_channel::RecvTimeoutError::Timeout) = place.done.recv_deadline(deadline) {
                tracing::warn!("a place for checkpoints does not answer: it may lack the last one");
            }
        }
    }
}

impl Place {
    fn tell(&self, copy: Copy) {
        let Some(notes) = &self.notes else { return };
        if let Err(TrySendError::Full(copy)) = notes.try_send(copy) {
            let _ = self.stale.try_recv();
            let _ = notes.try_send(copy);
        }
    }
}

fn file_name(checkpoint: &Checkpoint) -> String {
    let (year, month, day) = checkpoint.at.date();
    format!("{}-{year:04}-{month:02}-{day:02}.checkpoint", checkpoint.archive)
}

/// The thread of one place.
fn keep(folder: &Path, inbox: &Receiver<Copy>) {
    let mut waiting: Option<Copy> = None;
    let mut failing = false;
    loop {
        let next = match &waiting {
            Some(_) => inbox.recv_timeout(RETRY),
            None => inbox.recv().map_err(|_| crossbeam_channel::RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(copy) => waiting = Some(copy),
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => {}
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => return,
        }
        let Some((name, note)) = &waiting else { continue };
        match put(folder, name, note) {
            Ok(()) => {
                if failing {
                    tracing::info!(folder = %folder.display(), "checkpoints are copied again");
                }
                (waiting, failing) = (None, false);
            }
            Err(e) if failing => tracing::debug!(error = %e, "still no copy of the checkpoint"),
            Err(e) => {
                tracing::error!(folder = %folder.display(), error = %e, "the checkpoint cannot be copied there");
                failing = true;
            }
        }
    }
}

/// Puts a note in its place as a whole. One that is there and says more than the new one, or something else, stays: it is
/// the proof that the archive was put back to an older state.
fn put(folder: &Path, name: &str, note: &str) -> io::Result<()> {
    let there = fs::read_to_string(folder.join(name)).unwrap_or_default();
    if let (Some(old), Some(new)) = (Note::parse(&there), Note::parse(note))
        && (old.checkpoint.size > new.checkpoint.size
            || (old.checkpoint.size == new.checkpoint.size && old.checkpoint.root != new.checkpoint.root))
    {
        tracing::error!(
            folder = %folder.display(), file = name,
            "the checkpoint there is not one that this archive can follow: run `archive verify`"
        );
        let beside = name.replace(".checkpoint", &format!("-{}.checkpoint", new.checkpoint.size));
        return put_file(folder, &beside, note);
    }
    put_file(folder, name, note)
}

fn put_file(folder: &Path, name: &str, note: &str) -> io::Result<()> {
    let (path, fresh): (PathBuf, PathBuf) = (folder.join(name), folder.join(format!("{name}.new")));
    let mut file = File::create(&fresh)?;
    file.write_all(note.as_bytes())?;
    file.sync_all()?;
    fs::rename(fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use decode::Timestamp;

    fn note(size: u64, root: u8) -> String {
        let at = Timestamp::from_millis(1_795_000_000_000);
        let checkpoint = Checkpoint { archive: "A".into(), size, root: [root; 32], at };
        checkpoint.to_note(&[0; 32], |_| Ok::<_, ()>([0; 64])).expect("a note")
    }

    #[test]
    fn a_checkpoint_that_says_more_is_never_written_over() {
        let dir = tempfile::tempdir().expect("a folder");
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        put(dir.path(), "A.checkpoint", &note(5, 1)).expect("put");
        put(dir.path(), "A.checkpoint", &note(9, 2)).expect("put");
        assert_eq!(read("A.checkpoint"), note(9, 2), "one that goes on takes its place");
        put(dir.path(), "A.checkpoint", &note(7, 3)).expect("put");
        put(dir.path(), "A.checkpoint", &note(9, 4)).expect("put");
        assert_eq!(read("A.checkpoint"), note(9, 2));
        assert_eq!((read("A-7.checkpoint"), read("A-9.checkpoint")), (note(7, 3), note(9, 4)));
        put(dir.path(), "A.checkpoint", &note(10, 5)).expect("put");
        assert_eq!(read("A.checkpoint"), note(10, 5));
    }
}
