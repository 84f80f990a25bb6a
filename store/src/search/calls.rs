//! Searching calls without a recording: over records of their own, side by side in blocks like those of recordings.

use crate::disk::Disk;
use crate::index::Index;
use crate::search::record::{self, View};
use crate::search::{Query, blocks};
use crate::unrecorded::{CallPlace, read};
use crate::{Error, RecordingId};

/// Blocks read at once: few at first, for lists that show a page, then up to so many.
const BLOCKS_FIRST: usize = 4;
const BLOCKS_MAX: usize = 64;

/// Tells the calls that a query means, newest first, of those behind a place, until it is told to stop. Of calls there are no notes.
pub(crate) fn each(
    index: &Index,
    disk: &std::sync::Arc<dyn Disk>,
    query: &Query,
    before: Option<CallPlace>,
    mut take: impl FnMut(CallPlace) -> bool,
) -> Result<(), Error> {
    if !query.notes.is_empty() {
        return Ok(());
    }
    let (low, below) = query.names(index.reach());
    let mut below: Option<RecordingId> = [below, before.map(CallPlace::name)].into_iter().flatten().min();
    let (mut at_once, mut found, mut whole) = (BLOCKS_FIRST, Vec::new(), Vec::new());
    loop {
        let read_now = index.call_blocks(low, below, at_once)?;
        let is_last = read_now.len() < at_once || read_now.last().is_some_and(|block| block.first <= low);
        for block in &read_now {
            for item in blocks::records(block) {
                let (name, record) = item.map_err(|_| index.damaged("a block of calls"))?;
                if name < low || below.is_some_and(|below| name >= below) {
                    continue;
                }
                let place = CallPlace::from(name);
                let mut view = View::parse(name, record).ok_or_else(|| index.damaged("a call"))?;
                if view.is_cut() {
                    // Only names of an absurd length do this.
                    let Some(call) = read(disk, place)? else { continue };
                    whole.clear();
                    record::encode_whole(&call, &mut whole);
                    view = View::parse(name, &whole).ok_or_else(|| index.damaged("a call"))?;
                }
                if query.admits_unrecorded(&view, place.is_known()) {
                    found.push(place);
                }
            }
            while let Some(place) = found.pop() {
                if !take(place) {
                    return Ok(());
                }
            }
            below = Some(block.first);
        }
        if is_last {
            return Ok(());
        }
        at_once = (at_once * 2).min(BLOCKS_MAX);
    }
}
