//! Removing originals that lie in archive locations.
//!
//! An original goes when every location of the configuration has a copy of it, when each of these copies has just been read
//! back once more with the hash that the ledger knows, and when its time is over or the disk needs the room. Its stub stays
//! ([`super::stub`]), and the ledger says so. A recording under a legal hold stays where it is when room is made: only its
//! time moves it. Nothing that does not verify here is removed: then the copies may be the worse ones.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use decode::Timestamp;

use super::reads::Copy;
use super::stub::Stub;
use super::{Office, Post};
use crate::bytes::hex;
use crate::disk::locked;
use crate::event::{Event, What};
use crate::layout::{Layout, file_digest};
use crate::locations::copies::MovedLine;
use crate::scribe::Command;
use crate::shared::{Shared, wall_clock};
use crate::wave::path_of;
use crate::{Error, RecordingId, Space};

/// How often it looks for originals that may go.
const EVERY: Duration = Duration::from_secs(60);
/// The same while room is needed.
const EVERY_IN_NEED: Duration = Duration::from_secs(2);
/// Room is made when less than so many percent of the disk are free, until so many are.
const NEED_PERCENT: u64 = 5;
const ENOUGH_PERCENT: u64 = 8;
/// Bytes of stubs, of which one entry of the journal holds all.
const BATCH_BYTES: usize = 4 << 20;
/// Originals removed with one line of the ledger.
const BATCH_MAX: usize = 64;

/// The mover's thread; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Handle {
    worker: Arc<Worker>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    pub(super) fn worker(&self) -> Arc<Worker> {
        Arc::clone(&self.worker)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.stop.take());
        // It may be waiting for a location that hangs; it holds nothing that must be waited for.
        drop(self.thread.take());
    }
}

/// What it works with.
#[derive(Debug)]
pub(super) struct Worker {
    office: Office,
    posts: Vec<Arc<Post>>,
    keep_ms: Option<i64>,
    make_room: bool,
    /// One pass at a time.
    turn: Mutex<()>,
}

/// Starts the thread.
pub(super) fn spawn(
    office: Office,
    posts: Vec<Arc<Post>>,
    keep_ms: Option<i64>,
    make_room: bool,
) -> std::io::Result<Handle> {
    let (stop, stopped) = bounded::<()>(0);
    let worker = Arc::new(Worker { office, posts, keep_ms, make_room, turn: Mutex::default() });
    let own = Arc::clone(&worker);
    let thread =
        std::thread::Builder::new().name("archive-mover".into()).spawn(move || run(&own, &stopped))?;
    Ok(Handle { worker, stop: Some(stop), thread: Some(thread) })
}

fn run(worker: &Worker, stopped: &Receiver<()>) {
    loop {
        let in_need =
            worker.make_room && worker.office.shared().is_ok_and(|shared| is_in_need(&shared, NEED_PERCENT));
        match stopped.recv_timeout(if in_need { EVERY_IN_NEED } else { EVERY }) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => return,
        }
        match worker.pass() {
            Ok(_) => {}
            Err(Error::Closed) => return,
            Err(e) => tracing::error!(error = %e, "originals cannot be removed: it is tried again"),
        }
    }
}

/// Is less than this much of the archive's disk free?
fn is_in_need(shared: &Shared, percent: u64) -> bool {
    let low = |space: Space| space.percent() < percent;
    shared.full.load(std::sync::atomic::Ordering::Acquire) || shared.disk.space().is_some_and(low)
}

/// Why an original goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Age,
    Room,
}

impl Worker {
    /// Removes what may go now; gives the number of originals.
    pub(super) fn pass(&self) -> Result<u64, Error> {
        let _one_at_a_time = locked(&self.turn);
        let shared = self.office.shared()?;
        let mut moved = self.pass_for(&shared, Why::Age)?;
        if self.make_room && is_in_need(&shared, NEED_PERCENT) {
            moved += self.pass_for(&shared, Why::Room)?;
        }
        Ok(moved)
    }

    fn pass_for(&self, shared: &Arc<Shared>, why: Why) -> Result<u64, Error> {
        let keep_ms = match (why, self.keep_ms) {
            (Why::Age, None) => return Ok(0),
            (Why::Age, Some(keep_ms)) => Some(keep_ms),
            (Why::Room, _) => None,
        };
        let (now, mut moved, mut batch) = (wall_clock(), 0, Vec::new());
        for id in shared.index.ids_after(None) {
            let id = id?;
            // Names are in the order of time: nothing later can be old enough.
            if keep_ms.is_some_and(|keep_ms| id.started().plus_millis(keep_ms) > now) {
                break;
            }
            if why == Why::Room && batch.is_empty() && !is_in_need(shared, ENOUGH_PERCENT) {
                break;
            }
            if let Some(stub) = self.candidate(shared, id, keep_ms, now)? {
                batch.push((id, stub));
            }
            let bytes: usize = batch.iter().map(|(_, stub)| stub.len()).sum();
            if batch.len() == BATCH_MAX || bytes >= BATCH_BYTES {
                moved += self.move_out(&mut batch, why)?;
            }
        }
        Ok(moved + self.move_out(&mut batch, why)?)
    }

    /// The stub of an original that may go.
    fn candidate(
        &self,
        shared: &Shared,
        id: RecordingId,
        keep_ms: Option<i64>,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, Error> {
        if shared.is_live(id) {
            return Ok(None);
        }
        let Some(row) = shared.index.row(id)?.filter(|row| !row.moved && row.deleted.is_none()) else {
            return Ok(None);
        };
        let ended = row.facts.ended.unwrap_or(row.facts.started);
        let may_go = match keep_ms {
            Some(keep_ms) => ended.plus_millis(keep_ms) <= now,
            None => row.legal_holds.is_empty(),
        };
        let copies = shared.index.copies(id)?;
        let is_there = |post: &Arc<Post>| copies.at(&post.location.name).is_some_and(|copy| !copy.stale);
        if !may_go || !self.posts.iter().all(is_there) {
            return Ok(None);
        }
        let (disk, path) = (&*shared.disk, path_of(id));
        let layout = Layout::read(disk, &path);
        let layout = match layout
            .and_then(|layout| layout.verify(disk, &shared.keys.signer()).map(|_| layout))
        {
            Ok(layout) => layout,
            Err(e) => {
                tracing::error!(recording = %id, error = %e, "an original that does not verify stays where it is");
                return Ok(None);
            }
        };
        let here = hex(&file_digest(disk, &path)?);
        for post in &self.posts {
            // Through the location's reader, so that one that hangs holds this up for some seconds only.
            let copy = Copy::new(post.reads.clone(), Vec::new());
            match file_digest(&copy, &path) {
                Ok(there)
                    if hex(&there) == here
                        && copies.at(&post.location.name).is_some_and(|copy| copy.sha256 == here) => {}
                Ok(_) => {
                    tracing::error!(recording = %id, location = post.location.name, "the copy is not what it was: it is made again");
                    shared.index.make_copies_stale(id)?;
                    shared.locations.tell(id);
                    return Ok(None);
                }
                Err(e) => {
                    tracing::warn!(location = post.location.name, error = %e, "a copy cannot be read: its original stays");
                    return Ok(None);
                }
            }
        }
        Stub::bytes_of(disk, &layout).map(Some)
    }

    fn move_out(&self, batch: &mut Vec<(RecordingId, Vec<u8>)>, why: Why) -> Result<u64, Error> {
        let stubs = std::mem::take(batch);
        if stubs.is_empty() {
            return Ok(0);
        }
        let line = |(id, bytes): &(RecordingId, Vec<u8>)| {
            let stub = Stub::parse(bytes, *id, &super::stub::stub_path(*id))?.digest;
            Ok(MovedLine { id: *id, stub })
        };
        let recordings = stubs.iter().map(line).collect::<Result<Vec<_>, Error>>()?;
        let why = match why {
            Why::Age => "they were kept here for as long as is configured".to_owned(),
            Why::Room => "the disk needed the room".to_owned(),
        };
        let event = Box::new(Event::by_itself(wall_clock(), What::Moved { recordings, why }));
        let moved = stubs.len() as u64;
        self.office.ask(|answer| Command::Move { stubs, event, answer })?;
        self.office.ask(Command::Sync)?;
        Ok(moved)
    }
}
