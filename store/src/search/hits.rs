//! The recordings that a query means, newest first: those in the index, and among them those that are still live.

use std::collections::BTreeSet;

use crate::disk::locked;
use crate::index::{Block, Index};
use crate::search::record::{self, View};
use crate::search::{NoteWords, Query, blocks};
use crate::shared::Shared;
use crate::{Error, RecordingId, Row};

/// Blocks read at once: few at first, for lists that show a page, then up to so many (256 KiB).
const BLOCKS_FIRST: usize = 4;
const BLOCKS_MAX: usize = 64;

/// What a query means, newest first, each with what `pick` took from its search record. Takes memory for the blocks that it
/// reads, whatever the archive's size.
///
/// A recording that is there all the while is given once; what comes or goes meanwhile may be given or not.
pub(crate) struct Hits<'a, T> {
    shared: &'a Shared,
    /// Names of live recordings, oldest first. Taken before the index is read: one that is indexed meanwhile is then met
    /// twice rather than not at all, and given once.
    live: Vec<RecordingId>,
    scan: Scan<'a, T>,
    /// The newest that is left in the index.
    indexed: Option<Result<(RecordingId, T), Error>>,
}

impl<'a> Hits<'a, ()> {
    /// All from one name to another, both included.
    pub(crate) fn between(shared: &'a Shared, low: RecordingId, high: RecordingId) -> Self {
        let mut hits = Hits::new(shared, &Query::default(), |_| ());
        hits.live.retain(|id| (low..=high).contains(id));
        (hits.scan.low, hits.scan.below) = (low, high.next());
        hits
    }
}

impl<'a, T> Hits<'a, T> {
    pub(crate) fn new(shared: &'a Shared, query: &Query, pick: impl Fn(&View<'_>) -> T + 'a) -> Self {
        let before = query.before;
        let is_behind = |id: &&RecordingId| before.is_none_or(|before| **id < before);
        let live = locked(&shared.live).keys().take_while(is_behind).copied().collect();
        Hits { shared, live, scan: Scan::new(&shared.index, query.clone(), Box::new(pick)), indexed: None }
    }

    /// What the record of a live recording has to say, if it is meant.
    fn look_at_live(&mut self, id: RecordingId) -> Result<Option<T>, Error> {
        let shared = self.shared;
        let edits = shared.index.edits(id)?;
        let live = locked(&shared.live);
        match (live.get(&id), edits) {
            (Some(row), None) => return Ok(self.scan.look_at(row)),
            (Some(row), Some(edits)) => {
                let mut row = Row::clone(row);
                edits.apply(&mut row);
                return Ok(self.scan.look_at(&row));
            }
            (None, _) => drop(live),
        }
        // It was put into the index since, or discarded.
        Ok(shared.index.row(id)?.and_then(|row| self.scan.look_at(&row)))
    }
}

impl<T> Iterator for Hits<'_, T> {
    type Item = Result<(RecordingId, T), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.indexed.is_none() {
                self.indexed = self.scan.next();
            }
            let newest = match &self.indexed {
                Some(Err(_)) => return self.indexed.take(),
                Some(Ok((id, _))) => Some(*id),
                None => None,
            };
            match self.live.pop_if(|id| newest.is_none_or(|newest| newest <= *id)) {
                Some(id) if Some(id) == newest => {}
                Some(id) => match self.look_at_live(id).transpose() {
                    Some(hit) => return Some(hit.map(|hit| (id, hit))),
                    None => continue,
                },
                None => return self.indexed.take(),
            }
        }
    }
}

/// Takes what is wanted from a search record.
type Pick<'a, T> = Box<dyn Fn(&View<'_>) -> T + 'a>;

/// What a query means in the index, newest first.
struct Scan<'a, T> {
    index: &'a Index,
    query: Query,
    pick: Pick<'a, T>,
    low: RecordingId,
    /// All from here on has been read.
    below: Option<RecordingId>,
    at_once: usize,
    /// Where notes are asked for: the recordings in the index that have such ones, or why that cannot be said. Search records say
    /// nothing of notes, of which there are few.
    noted: Option<Result<BTreeSet<RecordingId>, Error>>,
    /// Read and not looked at; the next one is the last.
    blocks: Vec<Block>,
    /// Found and not given; the next one is the last.
    found: Vec<(RecordingId, T)>,
    done: bool,
    /// For records that the index has not whole.
    whole: Vec<u8>,
}

impl<'a, T> Scan<'a, T> {
    fn new(index: &'a Index, query: Query, pick: Pick<'a, T>) -> Self {
        let (low, below) = query.names(index.reach());
        let (blocks, found, whole) = (Vec::new(), Vec::new(), Vec::new());
        let noted = Some(&query.notes).filter(|asked| !asked.is_empty());
        let noted = noted.map(|asked| index.noted(low, below, asked));
        let at_once = BLOCKS_FIRST;
        Scan { index, query, pick, low, below, at_once, noted, blocks, found, done: false, whole }
    }

    /// Takes in the next block; false when there is none.
    fn advance(&mut self) -> Result<bool, Error> {
        if let Some(broken) = self.noted.take_if(|noted| noted.is_err()) {
            // Nothing may come of it after the error.
            (self.done, self.noted) = (true, Some(Ok(BTreeSet::new())));
            self.blocks.clear();
            broken?;
        }
        let has_note = |noted: &Option<Result<BTreeSet<RecordingId>, Error>>, id: RecordingId| {
            noted.as_ref().is_none_or(|noted| noted.as_ref().is_ok_and(|noted| noted.contains(&id)))
        };
        if self.blocks.is_empty() && !self.done {
            self.blocks = self.index.blocks(self.low, self.below, self.at_once)?;
            self.done =
                self.blocks.len() < self.at_once || self.blocks.last().is_some_and(|b| b.first <= self.low);
            self.at_once = (self.at_once * 2).min(BLOCKS_MAX);
            self.blocks.reverse();
        }
        let Some(block) = self.blocks.pop() else { return Ok(false) };
        for item in blocks::records(&block) {
            let (id, record) = item.map_err(|_| self.index.damaged("a block of search records"))?;
            if id < self.low || self.below.is_some_and(|below| id >= below) {
                continue;
            }
            let view = View::parse(id, record).ok_or_else(|| self.index.damaged("a search record"))?;
            if view.is_cut() {
                // Only names of an absurd length do this.
                let row = self.index.row(id)?;
                let hit = row.and_then(|row| self.look_at(&row));
                self.found.extend(hit.map(|hit| (id, hit)));
            } else if has_note(&self.noted, id) && self.query.admits(&view) {
                self.found.push((id, (self.pick)(&view)));
            }
        }
        self.below = Some(block.first);
        Ok(true)
    }

    /// What a row has to say, if it is meant.
    fn look_at(&mut self, row: &crate::Row) -> Option<T> {
        self.whole.clear();
        record::encode_whole(row, &mut self.whole);
        let view = View::parse(row.facts.id, &self.whole)?;
        let has_note = NoteWords::all_in(&self.query.notes, row.notes.iter());
        (has_note && self.query.admits(&view)).then(|| (self.pick)(&view))
    }
}

impl<T> Iterator for Scan<'_, T> {
    type Item = Result<(RecordingId, T), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(found) = self.found.pop() {
                return Some(Ok(found));
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(e) => {
                    self.done = true;
                    self.blocks.clear();
                    return Some(Err(e));
                }
            }
        }
    }
}
