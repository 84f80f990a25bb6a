//! Sealing: what a full chunk goes through between its writer and the disk thread.
//!
//! A chunk is sealed, hashed and made a journal entry in the buffer in which it was built. That needs nothing of the call, so where there
//! are processors for it, threads of its own do it ([`Sealers`]): a recording belongs to one of them by its name, and its chunks
//! stay in order. Nobody ever waits for such a thread to get to a recording: whoever needs its chunks sealed now seals them himself
//! ([`Sealing::catch_up`]), and so does a writer whose thread has too much to do. Without threads, each writer seals where it
//! stands.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use decode::Timestamp;
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use crate::chunk::{FRAME_LEN, Sealer};
use crate::disk::locked;
use crate::listen::{Standing, Tail};
use crate::scribe::{Chunk, Command, Commands};
use crate::shared::Open;
use crate::{Error, RecordingId, journal};

/// Chunks that may wait for one thread; whoever comes with one more seals it himself.
const WAITING_MAX: usize = 1024;
/// How long a thread sleeps after it has worked: waking it for each chunk would cost more than sealing one. What a crash may cost is longer by this.
const NAP: Duration = Duration::from_millis(2);

/// A full chunk in clear. It is wiped when it is not sealed.
pub(crate) struct Unsealed {
    /// The journal entry, built in place: its prefix, room for the frame header, records.
    pub(crate) buf: Vec<u8>,
    /// Where it will stand in the file.
    pub(crate) offset: u64,
    /// Its base and its latest capture time.
    pub(crate) span: (Timestamp, Timestamp),
    /// What stands behind it, where it has marks.
    pub(crate) standing: Option<Standing>,
}

impl Drop for Unsealed {
    fn drop(&mut self) {
        self.buf.zeroize();
    }
}

/// The last chunk of a recording, and what it is signed with.
pub(crate) struct Last {
    /// Sealed: frame header, content, tag.
    pub(crate) chunk: Vec<u8>,
    /// Chunks, this one included.
    pub(crate) chunks: u64,
    /// Of the file up to and with this one.
    pub(crate) hash: Sha256,
}

/// The seal of one recording, as its writer and its thread share it.
pub(crate) struct Sealing {
    pub(crate) open: Arc<Open>,
    /// Who listens while the recording runs.
    pub(crate) tail: Arc<Tail>,
    pub(crate) commands: Commands,
    /// Where the frame header stands in a chunk's buffer: behind the entry's prefix, whose length is the path's.
    frame_at: usize,
    /// The recording's thread; none when its writer seals.
    thread: Option<Sender<Job>>,
    /// In order, and empty without a thread.
    waiting: Mutex<VecDeque<Unsealed>>,
    /// Held while chunks are sealed and sent off, so that they are in order.
    state: Mutex<State>,
}

impl std::fmt::Debug for Sealing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealing").field("open", &self.open).finish_non_exhaustive()
    }
}

struct State {
    sealer: Sealer,
    /// Of the file so far.
    hash: Sha256,
}

impl Sealing {
    /// Of a recording that begins; `hash` is its header's.
    pub(crate) fn new(
        open: Arc<Open>,
        tail: Arc<Tail>,
        commands: Commands,
        thread: Option<Sender<Job>>,
        (sealer, hash): (Sealer, Sha256),
    ) -> Arc<Sealing> {
        let frame_at = journal::single_prefix_len(&open.path);
        let state = Mutex::new(State { sealer, hash });
        Arc::new(Sealing { open, tail, commands, frame_at, thread, waiting: Mutex::default(), state })
    }

    /// Takes the next chunk: it is sealed before this returns, or by the recording's thread.
    ///
    /// # Errors
    /// [`Error::Closed`] when the archive is.
    pub(crate) fn take(self: &Arc<Self>, chunk: Unsealed) -> Result<(), Error> {
        let Some(thread) = &self.thread else { return self.seal(&mut locked(&self.state), chunk) };
        locked(&self.waiting).push_back(chunk);
        match thread.try_send(Job::Seal(Arc::clone(self))) {
            Ok(()) => Ok(()),
            // It has too much to do, or the archive is closed.
            Err(_) => self.catch_up(),
        }
    }

    /// Returns when all chunks that were taken have gone to the disk thread.
    ///
    /// # Errors
    /// [`Error::Closed`] when the archive is.
    pub(crate) fn catch_up(&self) -> Result<(), Error> {
        let mut state = locked(&self.state);
        loop {
            let next = locked(&self.waiting).pop_front();
            match next {
                Some(chunk) => self.seal(&mut state, chunk)?,
                None => return Ok(()),
            }
        }
    }

    /// Seals a chunk and sends it off, and lets those hear it who listen.
    fn seal(&self, state: &mut State, mut chunk: Unsealed) -> Result<(), Error> {
        let mut entry = std::mem::take(&mut chunk.buf);
        let Unsealed { offset, span: (first, latest), standing, .. } = chunk;
        let content = entry.get(self.frame_at + FRAME_LEN..).unwrap_or_default();
        let heard = self.tail.copy(first, latest, content);
        state.sealer.seal(&mut entry, self.frame_at, false, first, latest);
        let sealed = entry.get(self.frame_at..).unwrap_or_default();
        state.hash.update(sealed);
        let end = offset + sealed.len() as u64;
        journal::finish_single(&mut entry, &self.open.path, offset);
        let open = Arc::clone(&self.open);
        self.commands.send(Command::Chunk(Chunk { open, entry, offset, end }))?;
        self.tail.publish(heard, standing);
        Ok(())
    }

    /// Seals the last chunk, which goes into the file with the signature; all before it must have been [sealed](Sealing::catch_up).
    pub(crate) fn seal_last(&self, mut buf: Vec<u8>, (first, latest): (Timestamp, Timestamp)) -> Last {
        let mut state = locked(&self.state);
        state.sealer.seal(&mut buf, self.frame_at, true, first, latest);
        let chunk = buf.split_off(self.frame_at);
        state.hash.update(&chunk);
        Last { chunk, chunks: state.sealer.sealed(), hash: state.hash.clone() }
    }
}

/// What a sealing thread is given.
pub(crate) enum Job {
    /// Chunks of this recording wait.
    Seal(Arc<Sealing>),
    /// Answer when everything before is done.
    Pass(Sender<()>),
    /// End.
    Stop,
}

/// The sealing threads of an open archive.
#[derive(Debug, Default)]
pub(crate) struct Sealers {
    threads: Vec<(Sender<Job>, JoinHandle<()>)>,
}

impl Sealers {
    /// Starts so many threads.
    pub(crate) fn start(count: usize) -> io::Result<Sealers> {
        let mut sealers = Sealers::default();
        for number in 0..count {
            let (sender, jobs) = crossbeam_channel::bounded(WAITING_MAX);
            let name = format!("archive-seal-{number}");
            let thread = std::thread::Builder::new().name(name).spawn(move || run(&jobs))?;
            sealers.threads.push((sender, thread));
        }
        Ok(sealers)
    }

    /// The thread of a recording; none when there are none.
    pub(crate) fn of(&self, id: RecordingId) -> Option<Sender<Job>> {
        // The last bytes of a name are random.
        let number = id.as_bytes().last_chunk().map_or(0, |bytes| usize::from(u16::from_be_bytes(*bytes)));
        let (sender, _) = self.threads.get(number.checked_rem(self.threads.len())?)?;
        Some(sender.clone())
    }

    /// Returns when everything that they were given before has gone to the disk thread.
    pub(crate) fn settle(&self) {
        let (done, all_done) = crossbeam_channel::bounded(self.threads.len());
        for (sender, thread) in &self.threads {
            // One that has ended has nothing.
            let _ = sender.send(Job::Pass(done.clone()));
            thread.thread().unpark();
        }
        drop(done);
        while all_done.recv().is_ok() {}
    }
}

impl Drop for Sealers {
    /// Ends them once they have done what they were given. Writers that are still there seal for themselves, and find the archive closed.
    fn drop(&mut self) {
        for (sender, thread) in self.threads.drain(..) {
            let _ = sender.send(Job::Stop);
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("a sealing thread has failed");
            }
        }
    }
}

fn run(jobs: &Receiver<Job>) {
    let mut worked = false;
    loop {
        let job = match jobs.try_recv() {
            Err(TryRecvError::Empty) if std::mem::take(&mut worked) => {
                std::thread::park_timeout(NAP);
                continue;
            }
            Err(_) => jobs.recv().unwrap_or(Job::Stop),
            Ok(job) => job,
        };
        match job {
            Job::Seal(sealing) => {
                // That the archive is closed is the writer's to say, who finds it so.
                let _ = sealing.catch_up();
                worked = true;
            }
            Job::Pass(done) => drop(done.send(())),
            Job::Stop => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::crash::{append, facts, new_disk, open, played};

    use super::*;
    use crate::Archive;

    /// Three chunks' worth.
    const PACKETS: u32 = 24;

    fn with_archive(threads: usize, test: impl FnOnce(Archive)) {
        let index = tempfile::tempdir().expect("a folder");
        let archive = open(&new_disk(), &index.path().join("index")).expect("opens");
        archive.seal_on_threads(threads).expect("threads");
        test(archive);
    }

    fn sealed(sealing: &Sealing) -> u64 {
        locked(&sealing.state).sealer.sealed()
    }

    #[test]
    fn two_threads_share_recordings_and_each_stays_whole() {
        with_archive(2, |archive| {
            let names: Vec<u8> = (1..=20).collect();
            let mut writers: Vec<_> =
                names.iter().map(|n| archive.create(facts(*n)).expect("begun")).collect();
            let numbers = writers.iter().map(|writer| {
                let thread = writer.sealing().thread.as_ref().expect("a thread");
                let threads = &archive.sealers().threads;
                threads.iter().position(|(sender, _)| sender.same_channel(thread)).expect("one of two")
            });
            let second = numbers.sum::<usize>();
            assert!((1..20).contains(&second), "{second} of 20 are the second one's");
            for i in 0..10 * PACKETS {
                names.iter().zip(&mut writers).for_each(|(n, writer)| append(writer, *n, i).expect("kept"));
            }
            archive.sealers().settle();
            for writer in &writers {
                assert_eq!(sealed(writer.sealing()), 29, "all but the open one, and nobody asked for it");
            }
            for (n, writer) in names.iter().zip(writers) {
                writer.finish(facts(*n)).expect("ended");
            }
            archive.sync().expect("synced");
            for n in &names {
                assert_eq!(played(&archive, *n).expect("plays"), 10 * PACKETS);
            }
            assert!(archive.verify(None).all(|finding| !finding.is_problem()));
        });
    }

    #[test]
    fn nobody_waits_for_a_thread_that_stands_still() {
        with_archive(1, |archive| {
            let [mut stuck, mut writer] = [1, 2].map(|n| archive.create(facts(n)).expect("begun"));
            let sealing = Arc::clone(stuck.sealing());
            let held = locked(&sealing.state);
            (0..PACKETS).for_each(|i| append(&mut stuck, 1, i).expect("kept"));
            for i in 0..PACKETS {
                append(&mut writer, 2, i).expect("kept");
            }
            assert_eq!(sealed(writer.sealing()), 0, "they wait");
            let jobs = &archive.sealers().threads[0].0;
            while jobs.try_send(Job::Seal(Arc::clone(writer.sealing()))).is_ok() {}
            (PACKETS..2 * PACKETS).for_each(|i| append(&mut writer, 2, i).expect("kept"));
            assert!(sealed(writer.sealing()) >= 3, "its writer has sealed them");
            writer.finish(facts(2)).expect("ended");
            drop(held);
            archive.sync().expect("synced");
            assert_eq!(sealed(&sealing), 2);
            assert_eq!(played(&archive, 2).expect("plays"), 2 * PACKETS);
            drop(stuck);
            archive.sync().expect("synced");
            assert_eq!(played(&archive, 1).expect("plays"), 16);
        });
    }

    #[test]
    fn a_recording_that_is_destroyed_or_dropped_has_nothing_left_to_seal() {
        with_archive(2, |archive| {
            let [mut destroyed, mut dropped] = [1, 2].map(|n| archive.create(facts(n)).expect("begun"));
            for i in 0..PACKETS {
                append(&mut destroyed, 1, i).expect("kept");
                append(&mut dropped, 2, i).expect("kept");
            }
            let both = [&destroyed, &dropped].map(|writer| Arc::clone(writer.sealing()));
            destroyed.discard("a rule came late").expect("destroyed");
            drop(dropped);
            assert!(both.iter().all(|sealing| locked(&sealing.waiting).is_empty()));
            archive.sync().expect("synced");
            assert_eq!(played(&archive, 2).expect("plays"), 16);
            assert_eq!(archive.verify(None).filter(|finding| finding.is_problem()).count(), 0);
        });
    }

    #[test]
    fn a_writer_that_outlives_the_archive_is_told() {
        with_archive(2, |archive| {
            let mut writer = archive.create(facts(1)).expect("begun");
            append(&mut writer, 1, 0).expect("kept");
            archive.close().expect("closed");
            let told = (1..=PACKETS).find_map(|i| append(&mut writer, 1, i).err());
            assert!(matches!(told, Some(Error::Closed)), "{told:?}");
        });
    }
}
