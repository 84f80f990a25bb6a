//! Reading copies for playback: a thread for each archive location does it, so that one that hangs holds up one reader for a
//! few seconds and nobody for ever.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, SendTimeoutError, Sender, bounded};

use super::place::{BLOCK_LEN, Marker, Place};
use crate::disk::{ReadAt, locked};
use crate::space::Space;

/// How long a reader waits for a location.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked of the thread.
enum Ask {
    Len { name: String, answer: Sender<io::Result<Option<u64>>> },
    Read { name: String, offset: u64, answer: Sender<io::Result<Vec<u8>>> },
    Probe { answer: Sender<io::Result<Probe>> },
}

/// The marker of a place, and the room there.
pub(super) type Probe = (Option<Marker>, Option<Space>);

/// The thread's end that readers hold.
#[derive(Clone, Debug)]
pub(super) struct Reads(Sender<Ask>);

impl Reads {
    /// Starts the thread; it ends when nobody holds its end any more.
    pub(super) fn new(place: Arc<dyn Place>) -> io::Result<Reads> {
        let (asks, inbox) = bounded::<Ask>(0);
        std::thread::Builder::new().name("archive-reads".into()).spawn(move || {
            for ask in inbox {
                // Whoever asked may have stopped waiting.
                match ask {
                    Ask::Len { name, answer } => drop(answer.send(place.len(&name))),
                    Ask::Probe { answer } => {
                        drop(answer.send(place.marker().map(|marker| (marker, place.space()))));
                    }
                    Ask::Read { name, offset, answer } => {
                        let mut block = vec![0; BLOCK_LEN];
                        let read = place.read_at(&name, offset, &mut block);
                        let _ = answer.send(read.map(|read| {
                            block.truncate(read);
                            block
                        }));
                    }
                }
            }
        })?;
        Ok(Reads(asks))
    }

    fn ask<T>(&self, ask: impl FnOnce(Sender<io::Result<T>>) -> Ask) -> io::Result<T> {
        let (answer, result) = bounded(1);
        let slow =
            || io::Error::new(ErrorKind::TimedOut, format!("no answer within {} s", PATIENCE.as_secs()));
        match self.0.send_timeout(ask(answer), PATIENCE) {
            Ok(()) => {}
            Err(SendTimeoutError::Timeout(_)) => return Err(slow()),
            Err(SendTimeoutError::Disconnected(_)) => return Err(ErrorKind::BrokenPipe.into()),
        }
        match result.recv_timeout(PATIENCE) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(slow()),
            Err(RecvTimeoutError::Disconnected) => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    /// Length of a copy in bytes; none when there is none.
    pub(super) fn len(&self, name: &str) -> io::Result<Option<u64>> {
        self.ask(|answer| Ask::Len { name: name.to_owned(), answer })
    }

    /// Whose place it is, and the room there.
    pub(super) fn probe(&self) -> io::Result<Probe> {
        self.ask(|answer| Ask::Probe { answer })
    }

    fn block(&self, name: &str, offset: u64) -> io::Result<Vec<u8>> {
        self.ask(|answer| Ask::Read { name: name.to_owned(), offset, answer })
    }
}

/// One copy, read like a file of the archive. Its header is the one that stayed at home, with the wrapped key as it is now: in the
/// copy it may be an older one.
#[derive(Debug)]
pub(crate) struct Copy {
    reads: Reads,
    head: Vec<u8>,
    /// The block that was read last, and where it begins.
    block: Mutex<(u64, Vec<u8>)>,
}

impl Copy {
    pub(super) fn new(reads: Reads, head: Vec<u8>) -> Copy {
        Copy { reads, head, block: Mutex::default() }
    }

    /// What is at `offset`, as far as one block has it.
    fn piece(&self, path: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let from = offset - offset % BLOCK_LEN as u64;
        let mut block = locked(&self.block);
        if block.0 != from || block.1.is_empty() {
            *block = (from, self.reads.block(path, from)?);
        }
        let at = usize::try_from(offset - from).unwrap_or(BLOCK_LEN);
        let there = block.1.get(at..).unwrap_or_default();
        let len = there.len().min(buf.len());
        buf[..len].copy_from_slice(&there[..len]);
        Ok(len)
    }
}

impl ReadAt for Copy {
    fn read_at(&self, path: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let read = self.piece(path, offset.saturating_add(done as u64), rest)?;
            if read == 0 {
                break;
            }
            done += read;
        }
        for (at, byte) in (offset..).zip(buf.iter_mut().take(done)) {
            match usize::try_from(at).ok().and_then(|at| self.head.get(at)) {
                Some(own) => *byte = *own,
                None => break,
            }
        }
        Ok(done)
    }

    fn len(&self, path: &str) -> io::Result<Option<u64>> {
        self.reads.len(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locations::place::Folder;

    #[test]
    fn a_copy_reads_like_a_file_with_the_header_that_stayed_here() {
        let dir = tempfile::tempdir().expect("a folder");
        let bytes: Vec<u8> = (0..BLOCK_LEN + 100).map(|i| i as u8).collect();
        std::fs::write(dir.path().join("a"), &bytes).expect("written");
        let reads = Reads::new(Arc::new(Folder::new(dir.path()))).expect("a thread");
        let copy = Copy::new(reads, vec![0xee; 10]);
        assert_eq!(copy.len("a").expect("asked"), Some(bytes.len() as u64));
        for (offset, len) in
            [(0, 30), (5, 3), (8, BLOCK_LEN), (BLOCK_LEN as u64 - 5, 50), (BLOCK_LEN as u64 + 90, 50)]
        {
            let mut buf = vec![0; len];
            let read = copy.read_at("a", offset, &mut buf).expect("read");
            let mut wanted = bytes.clone();
            wanted[..10].fill(0xee);
            let end = (offset as usize + len).min(bytes.len());
            assert_eq!(buf[..read], wanted[offset as usize..end], "{len} bytes at {offset}");
        }
        assert_eq!(copy.len("b").expect("asked"), None);
        assert!(copy.read_at("b", 0, &mut [0; 4]).is_err());
    }
}
