//! What waits for the disk thread: bounded by memory, so that a disk that stands still for seconds holds no caller up, and one that
//! stands still for good costs no more than that.
//!
//! Thousands of chunks come each second, and waking a thread costs as much as writing one. So the thread is woken for what somebody waits for
//! and for what comes after a rest; the rest it finds when it wakes by itself, [`NAP`] later.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};

use super::Command;
use crate::Error;

/// The most that may wait, in bytes; then whoever sends waits. Seven seconds of 2,000 calls in G.711.
const WAITING_MAX: usize = 256 << 20;
/// The same where calls come from files, which can wait.
const WAITING_FILES_MAX: usize = 8 << 20;
/// Between two looks whether there is room again.
const LOOK: Duration = Duration::from_millis(1);
/// How long the thread sleeps over chunks after it has worked: what a crash may cost is longer by this.
const NAP: Duration = Duration::from_millis(5);
/// What a command takes beside the bytes that it carries.
const COMMAND_BYTES: usize = 256;

#[derive(Debug)]
struct Room {
    used: AtomicUsize,
    max: AtomicUsize,
    /// Nobody takes anything out any more.
    closed: AtomicBool,
    /// Whoever takes commands out sleeps until one comes.
    rests: AtomicBool,
    /// Set by its first look.
    thread: OnceLock<Thread>,
}

impl Room {
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// The end that commands are put in at.
#[derive(Clone, Debug)]
pub(crate) struct Commands {
    // Gone before the thread is woken to find that the last one is.
    sender: Sender<Command>,
    room: Woken,
}

/// The last one to go wakes the thread.
#[derive(Clone, Debug)]
struct Woken(Arc<Room>);

impl Drop for Woken {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// The end that the disk thread takes them out at.
#[derive(Debug)]
pub(crate) struct Inbox {
    receiver: Receiver<Command>,
    room: Arc<Room>,
    /// Something has come since it slept.
    worked: bool,
}

pub(crate) fn queue() -> (Commands, Inbox) {
    let (sender, receiver) = crossbeam_channel::unbounded();
    let room = Arc::new(Room {
        used: AtomicUsize::new(0),
        max: AtomicUsize::new(WAITING_MAX),
        closed: AtomicBool::new(false),
        rests: AtomicBool::new(false),
        thread: OnceLock::new(),
    });
    let worked = false;
    (Commands { sender, room: Woken(Arc::clone(&room)) }, Inbox { receiver, room, worked })
}

impl Commands {
    /// Puts a command in, when there is room. Several senders that wait may each go over the limit by what they carry.
    ///
    /// # Errors
    /// [`Error::Closed`] when the disk thread has ended.
    pub(crate) fn send(&self, command: Command) -> Result<(), Error> {
        let room = &*self.room.0;
        while room.used.load(Ordering::Relaxed) > room.max.load(Ordering::Relaxed) {
            if room.closed.load(Ordering::Relaxed) {
                return Err(Error::Closed);
            }
            room.wake();
            std::thread::sleep(LOOK);
        }
        room.used.fetch_add(weight(&command), Ordering::Relaxed);
        let can_wait = can_wait(&command);
        self.sender.send(command).map_err(|_| Error::Closed)?;
        // Before this the thread sees the command, or after it this sees that the thread rests.
        fence(Ordering::SeqCst);
        if room.rests.load(Ordering::SeqCst) || !can_wait {
            room.wake();
        }
        Ok(())
    }

    /// What comes from now on comes from files.
    pub(crate) fn hold_little(&self) {
        self.room.0.max.store(WAITING_FILES_MAX, Ordering::Relaxed);
    }
}

impl Inbox {
    /// The next command; waits for it until `deadline`, or without end.
    pub(super) fn next(&mut self, deadline: Option<Instant>) -> Result<Command, RecvTimeoutError> {
        self.room.thread.get_or_init(std::thread::current);
        loop {
            if let Some(command) = self.take()? {
                return Ok(command);
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Err(RecvTimeoutError::Timeout);
            }
            let left = deadline.map(|deadline| deadline - now);
            if std::mem::take(&mut self.worked) {
                std::thread::park_timeout(left.map_or(NAP, |left| left.min(NAP)));
                continue;
            }
            self.room.rests.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            // What came before that was seen woke nobody.
            let found = self.take();
            if matches!(found, Ok(None)) {
                match left {
                    Some(left) => std::thread::park_timeout(left),
                    None => std::thread::park(),
                }
            }
            self.room.rests.store(false, Ordering::SeqCst);
            if let Some(command) = found? {
                return Ok(command);
            }
        }
    }

    /// A command that is there already.
    pub(super) fn take(&mut self) -> Result<Option<Command>, RecvTimeoutError> {
        match self.receiver.try_recv() {
            Ok(command) => {
                self.worked = true;
                self.room.used.fetch_sub(weight(&command), Ordering::Relaxed);
                Ok(Some(command))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.room.closed.store(true, Ordering::Relaxed);
    }
}

/// Nobody waits for it, and a moment makes no difference.
fn can_wait(command: &Command) -> bool {
    matches!(
        command,
        Command::Create { .. }
            | Command::Chunk(_)
            | Command::Know { .. }
            | Command::Finish { .. }
            | Command::Abandon { .. }
            | Command::Line { .. }
            | Command::Expect { .. }
    )
}

fn weight(command: &Command) -> usize {
    let carried = match command {
        Command::Create { entry, .. } => entry.len(),
        Command::Chunk(chunk) => chunk.entry.len(),
        Command::Know { facts, .. } => facts.len(),
        Command::Line { line, .. } | Command::Expect { line, .. } => line.len(),
        _ => 0,
    };
    carried + COMMAND_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(len: usize) -> Command {
        Command::Line { ledger: String::new(), line: vec![0; len], settles: None }
    }

    #[test]
    fn a_sender_waits_for_room_and_no_longer() {
        let (commands, mut inbox) = queue();
        commands.hold_little();
        commands.send(line(WAITING_FILES_MAX)).expect("the first one always fits");
        let other = commands.clone();
        let waiting = std::thread::spawn(move || other.send(line(1)));
        std::thread::sleep(20 * LOOK);
        assert!(!waiting.is_finished(), "there was no room");
        inbox.next(None).expect("the first");
        waiting.join().expect("ends").expect("sent");
        inbox.next(None).expect("the second");
        assert_eq!(inbox.room.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn nobody_waits_for_a_thread_that_has_ended() {
        let (commands, inbox) = queue();
        commands.hold_little();
        commands.send(line(WAITING_FILES_MAX)).expect("the first one always fits");
        let waiting = std::thread::spawn(move || commands.send(line(1)));
        std::thread::sleep(20 * LOOK);
        drop(inbox);
        assert!(matches!(waiting.join().expect("ends"), Err(Error::Closed)));
    }
}
