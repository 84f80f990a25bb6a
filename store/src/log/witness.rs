//! Copies of checkpoints in other places: what proves later that nothing was taken back.
//!
//! Each place (a folder, best on another machine) has a thread of its own, so that one that hangs holds up neither the
//! archive nor the other places. A newer checkpoint says all that an older one says, so a place that is slow or away
//! gets the newest when it can take one. A file per UTC day: `ARCHIVE-YYYY-MM-DD.checkpoint`, the day's newest. A checkpoint
//! that a time-stamp authority has stamped gets files of its own, `ARCHIVE-YYYY-MM-DD-stamped-LINES.checkpoint` and `.tsr`.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, after, bounded, never, select_biased};

use super::checkpoint::{Checkpoint, Note};
use crate::disk::locked;
use crate::trouble::{Board, Hindrance};

/// How long the end of the archive waits for a place that hangs.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// After this long a checkpoint that a place refused is offered again.
const RETRY: Duration = Duration::from_secs(30);

/// Stamped checkpoints that wait for a place; the ledger has those that are dropped, too.
const STAMPS_MAX: usize = 16;

/// A note and the name of its file.
type Copy = (String, String);

/// A note that was stamped, and the authority's reply; the name of their files without its end.
type Stamped = (String, String, Vec<u8>);

/// All places.
#[derive(Debug, Default)]
pub(crate) struct Witnesses {
    places: Mutex<Vec<Place>>,
}

#[derive(Debug)]
struct Place {
    notes: Option<Sender<Copy>>,
    stamps: Option<Sender<Stamped>>,
    /// The same queue from behind, to take out what a newer note replaces.
    stale: Receiver<Copy>,
    /// Disconnected when the thread has ended.
    done: Receiver<()>,
}

impl Witnesses {
    /// Adds a folder; `first` is told to it at once.
    pub(crate) fn add(
        &self,
        folder: &Path,
        first: Option<(&Checkpoint, &str)>,
        board: Arc<Board>,
    ) -> io::Result<()> {
        let (notes, inbox) = bounded(1);
        let (stamps, stamped) = bounded(STAMPS_MAX);
        let (alive, done) = bounded(0);
        let (folder, stale) = (folder.to_owned(), inbox.clone());
        std::thread::Builder::new().name("archive-witness".into()).spawn(move || {
            let _alive = alive;
            keep(&folder, &inbox, &stamped, &board);
        })?;
        let place = Place { notes: Some(notes), stamps: Some(stamps), stale, done };
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

    /// Hands a stamped checkpoint to all places; never waits.
    pub(crate) fn tell_stamp(&self, checkpoint: &Checkpoint, note: &str, reply: &[u8]) {
        let name = format!("{}-stamped-{}", day_name(checkpoint), checkpoint.size);
        for stamps in locked(&self.places).iter().filter_map(|place| place.stamps.as_ref()) {
            if stamps.try_send((name.clone(), note.to_owned(), reply.to_vec())).is_err() {
                tracing::warn!(
                    "a place for checkpoints does not answer: it lacks a time stamp, which the ledger has"
                );
            }
        }
    }

    /// No more notes will come: waits a moment for those on their way.
    pub(crate) fn close(&self) {
        let mut places = std::mem::take(&mut *locked(&self.places));
        for place in &mut places {
            (place.notes, place.stamps) = (None, None);
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
    format!("{}.checkpoint", day_name(checkpoint))
}

fn day_name(checkpoint: &Checkpoint) -> String {
    let (year, month, day) = checkpoint.at.date();
    format!("{}-{year:04}-{month:02}-{day:02}", checkpoint.archive)
}

/// The thread of one place. Ends when nothing more can come, and what came was offered once more.
fn keep(folder: &Path, inbox: &Receiver<Copy>, stamped: &Receiver<Stamped>, board: &Board) {
    let tell = |why| board.put(Hindrance::Copying(folder.to_owned()), why);
    let mut waiting = Waiting::default();
    let mut failing = false;
    let mut open = true;
    while open {
        let retry = if waiting.is_empty() { never() } else { after(RETRY) };
        select_biased! {
            recv(stamped) -> stamp => match stamp {
                Ok(stamp) => waiting.stamps.push_back(stamp),
                Err(_) => open = false,
            },
            recv(inbox) -> copy => match copy {
                Ok(copy) => waiting.note = Some(copy),
                Err(_) => open = false,
            },
            recv(retry) -> _ => {}
        }
        waiting.stamps.extend(stamped.try_iter());
        waiting.note = inbox.try_iter().last().or(waiting.note);
        while waiting.stamps.len() > STAMPS_MAX {
            waiting.stamps.pop_front();
        }
        if waiting.is_empty() {
            continue;
        }
        if !failing {
            // Until it has answered: a folder that hangs says nothing more.
            board.expect(Hindrance::Copying(folder.to_owned()), "it does not answer");
        }
        match waiting.put(folder) {
            Ok(()) => {
                tell(None);
                if failing {
                    tracing::info!(folder = %folder.display(), "checkpoints are copied again");
                }
                failing = false;
            }
            Err(e) => {
                tell(Some(e.to_string()));
                if failing {
                    tracing::debug!(error = %e, "still no copy of the checkpoint");
                    continue;
                }
                tracing::error!(folder = %folder.display(), error = %e, "the checkpoint cannot be copied there");
                failing = true;
            }
        }
    }
}

/// What a place is to get.
#[derive(Debug, Default)]
struct Waiting {
    note: Option<Copy>,
    stamps: VecDeque<Stamped>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.note.is_none() && self.stamps.is_empty()
    }

    /// Puts all of it; what fails and what comes after it goes on waiting.
    fn put(&mut self, folder: &Path) -> io::Result<()> {
        if let Some((name, note)) = &self.note {
            put(folder, name, note)?;
            self.note = None;
        }
        while let Some((name, note, reply)) = self.stamps.front() {
            put_file(folder, &format!("{name}.checkpoint"), note.as_bytes())?;
            put_file(folder, &format!("{name}.tsr"), reply)?;
            self.stamps.pop_front();
        }
        Ok(())
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
        return put_file(folder, &beside, note.as_bytes());
    }
    put_file(folder, name, note.as_bytes())
}

fn put_file(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let (path, fresh): (PathBuf, PathBuf) = (folder.join(name), folder.join(format!("{name}.new")));
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
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
