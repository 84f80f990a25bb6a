//! Sealed chunks: into the journal together, into their files run by run, and their buffers back to the writers.

use super::{Chunk, POOLED_BYTES_MAX, Pending, Scribe};
use crate::Error;
use crate::journal::{self, Part};

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
        let path = journal::path_of(self.journal.number);
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
        for Chunk { open, entry, .. } in known {
            self.journaled(entry, Some(open), None, true);
        }
    }

    pub(super) fn chunk(&mut self, Chunk { open, entry, offset, end }: Chunk) {
        let open = &open;
        let known = self.running.get(&open.id).map(|running| running.len);
        if known != Some(offset) || open.failed.is_set() {
            // An earlier write of this recording failed; what comes after it would leave a hole.
            return;
        }
        if self.full_since.is_some() {
            // What room is left is for the ends of recordings.
            return self.fail(open, Error::Full { path: self.shared.root.clone() });
        }
        match (self.commit(entry, Some(open), None), self.running.get_mut(&open.id)) {
            (Ok(()), Some(running)) => {
                if let Some(pending) = self.pending.last_mut() {
                    pending.is_chunk = true;
                }
                running.len = end;
                running.journal = self.journal.number;
            }
            (Err(e), _) => self.fail(open, e),
            (Ok(()), None) => {}
        }
    }

    /// Writes chunks of one recording that lie one behind the other.
    pub(super) fn apply_chunks(&mut self, run: Vec<Pending>) {
        let Some(open) = run.first().and_then(|pending| pending.open.clone()) else { return };
        if !self.waits(&open.path, true) {
            let chunks = run.iter().filter_map(|pending| match journal::parts(&pending.entry).next() {
                Some(Part::Write { offset, bytes, .. }) => Some((offset, bytes)),
                _ => None,
            });
            let (offsets, chunks): (Vec<u64>, Vec<&[u8]>) = chunks.unzip();
            let at = offsets.first().copied().unwrap_or_default();
            if let Err(e) = self.write_run(&open.path, at, &chunks) {
                self.left_to_replay(&open.path, &e);
            }
        }
        run.into_iter().for_each(|pending| self.give_back(pending.entry));
    }

    /// Keeps a buffer for use again; a full pool lets it go.
    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        if buffer.capacity() <= POOLED_BYTES_MAX {
            let _ = self.pool.try_send(buffer);
        }
    }
}
