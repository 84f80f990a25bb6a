//! Sealed chunks: into the journal together, and from there into their files, run by run.
//!
//! A chunk's buffer goes back to the writers as soon as the journal has it. What a file lacks of its chunks is read back from the journal when it
//! is worth a write, or asked for: a write costs the file system nearly the same whether it has one chunk or twenty, and with thousands
//! of calls these writes were half of what the disk thread did. The journal is read where it was just written, so from memory.

use std::sync::Arc;

use super::{Chunk, Open, POOLED_BYTES_MAX, Scribe};
use crate::{Error, RecordingId, journal};

/// The most that is read back for one write, in bytes; more when it is a single chunk.
const RUN_BYTES_MAX: usize = 256 * 1024;

/// Chunks of one recording that are in the journal and not in its file, one behind the other.
#[derive(Debug)]
pub(super) struct Waiting {
    open: Arc<Open>,
    /// Where the first one goes in the file.
    offset: u64,
    /// Of all of them.
    bytes: u64,
    places: Vec<Place>,
}

/// A chunk in the journal.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: u64,
    len: u32,
}

impl Scribe {
    /// Several chunks, in one write of the journal; one by one when that does not go well.
    pub(super) fn chunks(&mut self, chunks: Vec<Chunk>) {
        let before = self.journal.len;
        if chunks.len() == 1 || self.full_since.is_some() || self.shared.failed.is_set() {
            return chunks.into_iter().for_each(|chunk| self.chunk(chunk));
        }
        let mut known = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let running = self.running.get_mut(&chunk.open.id);
            // As in `chunk`.
            if let Some(running) =
                running.filter(|running| running.len == chunk.offset && !chunk.open.failed.is_set())
            {
                running.len = chunk.end;
                running.journal = self.journal.number;
                known.push(chunk);
            }
        }
        let pieces: Vec<&[u8]> = known.iter().map(|chunk| chunk.entry.as_slice()).collect();
        let path = self.journal.path.clone();
        if self.write_run(&path, before, &pieces).is_err() {
            for chunk in known.iter().rev() {
                if let Some(running) = self.running.get_mut(&chunk.open.id) {
                    running.len = chunk.offset;
                }
            }
            // Whole entries may stand behind the journal's end now: a replay must not meet them behind a shorter one.
            let _ = self.shared.disk.set_len(&path, before);
            return known.into_iter().for_each(|chunk| self.chunk(chunk));
        }
        for chunk in known {
            let at = self.journal.len;
            self.journal.grow(chunk.entry.len());
            self.journaled_chunk(chunk, at);
        }
    }

    pub(super) fn chunk(&mut self, chunk: Chunk) {
        let open = &chunk.open;
        let known = self.running.get(&open.id).map(|running| running.len);
        if known != Some(chunk.offset) || open.failed.is_set() {
            // An earlier write of this recording failed; what comes after it would leave a hole.
            return;
        }
        if self.full_since.is_some() {
            // What room is left is for the ends of recordings.
            return self.fail(open, Error::Full { path: self.shared.root.clone() });
        }
        match self.append(&chunk.entry) {
            Ok(at) => {
                if let Some(running) = self.running.get_mut(&open.id) {
                    running.len = chunk.end;
                    running.journal = self.journal.number;
                }
                self.journaled_chunk(chunk, at);
            }
            Err(e) => self.fail(open, e),
        }
    }

    /// A chunk's entry is in the journal, from `at` on.
    fn journaled_chunk(&mut self, Chunk { open, entry, offset, end }: Chunk, at: u64) {
        let bytes = end - offset;
        let at = at + journal::single_prefix_len(&open.path) as u64;
        let first = |open| Waiting { open, offset, bytes: 0, places: Vec::new() };
        let waiting = self.waiting.entry(open.id).or_insert_with(|| first(open));
        // A chunk is far shorter than 4 GB.
        waiting.places.push(Place { at, len: bytes as u32 });
        waiting.bytes += bytes;
        self.waiting_bytes += bytes;
        self.give_back(entry);
    }

    /// Writes the chunks that are worth it; all when so many wait that a full disk's reserve would not take them. The journal is on disk.
    pub(super) fn write_due(&mut self) {
        let tuning = self.shared.tuning;
        let is_much = self.waiting_bytes >= tuning.waiting_max;
        self.write_those(|waiting| is_much || waiting.bytes >= tuning.write_from);
    }

    pub(super) fn write_those(&mut self, are_meant: impl Fn(&Waiting) -> bool) {
        let meant: Vec<Waiting> = self
            .waiting
            .extract_if(.., |_, waiting| are_meant(waiting))
            .map(|(_, waiting)| waiting)
            .collect();
        meant.iter().for_each(|waiting| self.write_chunks(waiting));
    }

    /// Writes those chunks of a recording into its file that are in the journal on disk: nobody who listens has the journal synced.
    pub(super) fn write_synced(&mut self, id: RecordingId) {
        let Some(mut waiting) = self.waiting.remove(&id) else { return };
        let synced = self.journal.synced;
        let count = waiting.places.partition_point(|place| place.at + u64::from(place.len) <= synced);
        let places = waiting.places.split_off(count);
        let bytes: u64 = places.iter().map(|place| u64::from(place.len)).sum();
        waiting.bytes -= bytes;
        if !places.is_empty() {
            let (open, offset) = (Arc::clone(&waiting.open), waiting.offset + waiting.bytes);
            self.waiting.insert(id, Waiting { open, offset, bytes, places });
        }
        self.write_chunks(&waiting);
    }

    /// Brings what has come of a running recording into its file.
    pub(super) fn bring(&mut self, id: RecordingId) -> Result<(), Error> {
        self.settle()?;
        if let Some(waiting) = self.waiting.remove(&id) {
            self.write_chunks(&waiting);
        }
        Ok(())
    }

    /// Writes chunks that waited into their file. A failure keeps the journal, from which it is done again.
    pub(super) fn write_chunks(&mut self, Waiting { open, offset, bytes, places }: &Waiting) {
        self.waiting_bytes -= bytes;
        if self.waits(&open.path, true) {
            return;
        }
        let (mut places, mut offset) = (places.as_slice(), *offset);
        while !places.is_empty() {
            let mut run = std::mem::take(&mut self.scratch);
            let written =
                self.read_run(&mut run, &mut places).and_then(|()| self.write(&open.path, offset, &run));
            offset += run.len() as u64;
            self.scratch = run;
            if let Err(e) = written {
                return self.left_to_replay(&open.path, &e);
            }
        }
    }

    /// Reads the next chunks back, as many as go into a run, and takes them off `places`.
    fn read_run(&self, run: &mut Vec<u8>, places: &mut &[Place]) -> Result<(), Error> {
        run.clear();
        while let Some((place, rest)) = places.split_first() {
            let (from, len) = (run.len(), place.len as usize);
            if from > 0 && from + len > RUN_BYTES_MAX {
                break;
            }
            run.resize(from + len, 0);
            let path = &self.journal.path;
            let read = self.shared.disk.read_at(path, place.at, run.get_mut(from..).unwrap_or_default());
            if read.map_err(|e| Error::io(path, e))? < len {
                return Err(Error::damaged(path, "it is shorter than what was written to it"));
            }
            *places = rest;
        }
        Ok(())
    }

    /// Keeps a buffer for use again; a full pool lets it go.
    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        if buffer.capacity() <= POOLED_BYTES_MAX {
            let _ = self.pool.try_send(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::crash::{append, facts, new_disk, open, played};
    use crate::wave::path_of;

    #[test]
    fn chunks_wait_in_the_journal_until_they_are_many_or_somebody_listens() {
        let index = tempfile::tempdir().expect("a folder");
        let disk = new_disk();
        let archive = open(&disk, &index.path().join("index")).expect("opens");
        let file_len = || {
            let files = disk.contents();
            files.iter().find(|(path, _)| *path == path_of(facts(1).id)).expect("its header is there").1.len()
        };
        let mut writer = archive.create(facts(1)).expect("begun");
        archive.sync().expect("synced");
        let header = file_len();
        let mut say = |from: u32, to: u32| {
            (from..to).for_each(|i| append(&mut writer, 1, i).expect("kept"));
            archive.sync().expect("synced");
        };
        say(0, 12);
        assert_eq!(file_len(), header, "one chunk is no write");
        assert!(played(&archive, 1).expect("plays") >= 7);
        let listened = file_len();
        assert!(listened > header);
        say(12, 20);
        assert_eq!(file_len(), listened);
        say(20, 60);
        assert!(file_len() > listened + 3_000, "they are worth it");
        writer.finish(facts(1)).expect("ended");
        archive.sync().expect("synced");
        assert_eq!(played(&archive, 1).expect("plays"), 60);
        assert!(archive.verify(None).all(|finding| !finding.is_problem()));
    }
}
