//! Search records side by side in blocks, as the index keeps them: one value of the index for each block.
//!
//! sled puts eight to sixteen values on a page, however short, and each page costs a read: with a value for each recording a
//! year would be a hundred thousand pages, in blocks it is a few thousand. A block is named by a recording at or before its first one, and
//! holds all up to the next block. In it stand, oldest first, 16 bytes of name, 2 of length, and the record.

use crate::RecordingId;

/// The longest block, in bytes. sled's page of sixteen of them must stay below 128 KiB, where it would become a file.
pub(crate) const BLOCK_MAX: usize = 4096;
/// Name and length.
const FRAME: usize = 18;

/// The block is not as it was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Torn;

/// The records of a block, oldest first.
pub(crate) fn records(mut block: &[u8]) -> impl Iterator<Item = Result<(RecordingId, &[u8]), Torn>> {
    std::iter::from_fn(move || {
        if block.is_empty() {
            return None;
        }
        let next = || {
            let (id, rest) = block.split_first_chunk::<16>()?;
            let (len, rest) = rest.split_first_chunk::<2>()?;
            let (record, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
            Some((RecordingId::from_bytes(*id), record, rest))
        };
        let next = next();
        block = next.map_or(&[], |(_, _, rest)| rest);
        Some(next.map(|(id, record, _)| (id, record)).ok_or(Torn))
    })
}

/// What becomes of a recording in a block: a new record, or none any more.
pub(crate) type Change = (RecordingId, Option<Vec<u8>>);

/// The blocks that take the place of one, each with its first recording; none when nothing is left. `changes` are in the order of
/// names, each once.
pub(crate) fn rewrite(block: &[u8], changes: &[Change]) -> Result<Vec<(RecordingId, Vec<u8>)>, Torn> {
    let mut all: Vec<(RecordingId, &[u8])> = Vec::new();
    let mut changes = changes.iter().peekable();
    let mut last_old = None;
    for old in records(block) {
        let (id, record) = old?;
        last_old = Some(id);
        while let Some((new, record)) = changes.next_if(|(new, _)| *new < id) {
            all.extend(record.as_deref().map(|record| (*new, record)));
        }
        match changes.next_if(|(new, _)| *new == id) {
            Some((_, record)) => all.extend(record.as_deref().map(|record| (id, record))),
            None => all.push((id, record)),
        }
    }
    // New ones at the end are how a list grows: what is before them is full and stays so.
    let grows = all.last().map(|(id, _)| *id) == last_old && changes.peek().is_some();
    all.extend(changes.filter_map(|(id, record)| Some((*id, record.as_deref()?))));

    let size = |record: &[u8]| FRAME + record.len();
    let total: usize = all.iter().map(|(_, record)| size(record)).sum();
    let full = if grows { BLOCK_MAX } else { total.div_ceil(total.div_ceil(BLOCK_MAX).max(1)) };
    let mut blocks: Vec<(RecordingId, Vec<u8>)> = Vec::new();
    for (id, record) in all {
        let fits = |block: &Vec<u8>| block.len() < full && block.len() + size(record) <= BLOCK_MAX;
        if !blocks.last().is_some_and(|(_, block)| fits(block)) {
            blocks.push((id, Vec::with_capacity(BLOCK_MAX)));
        }
        let (_, block) = blocks.last_mut().expect("one was put there if there was none");
        let len = u16::try_from(record.len()).expect("a record has at most 1024 bytes");
        block.extend_from_slice(id.as_bytes());
        block.extend(len.to_le_bytes());
        block.extend_from_slice(record);
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use decode::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn id(n: u8) -> RecordingId {
        RecordingId::from_parts(Timestamp::from_millis(n.into()), [n; 10])
    }

    fn of(blocks: &[(RecordingId, Vec<u8>)]) -> Vec<(RecordingId, Vec<u8>)> {
        let each = |(first, block): &(RecordingId, Vec<u8>)| {
            let all: Vec<_> =
                records(block).map(|item| item.expect("whole")).map(|(id, r)| (id, r.to_vec())).collect();
            assert_eq!(all.first().map(|(id, _)| id), Some(first));
            all
        };
        blocks.iter().flat_map(each).collect()
    }

    #[test]
    fn a_list_that_grows_at_its_end_fills_its_blocks() {
        let new = |n: u8| (id(n), Some(vec![n; 100]));
        let mut block = Vec::new();
        let mut full = Vec::new();
        for n in 0..200 {
            let mut blocks = rewrite(&block, &[new(n)]).expect("whole");
            block = blocks.pop().expect("one").1;
            full.extend(blocks.into_iter().map(|(_, block)| block.len()));
        }
        assert_eq!(full, vec![34 * 118; 5]);
    }

    #[test]
    fn a_cut_block_is_not_read_past_its_end() {
        let (_, block) = rewrite(&[], &[(id(1), Some(vec![7; 50]))]).expect("whole").remove(0);
        for end in 1..block.len() {
            assert!(records(&block[..end]).any(|item| item == Err(Torn)), "{end}");
        }
    }

    proptest! {
        #[test]
        fn a_rewritten_block_holds_what_a_map_would(
            old in proptest::collection::btree_map(any::<u8>(), 0..1024_usize, 0..24),
            changes in proptest::collection::btree_map(any::<u8>(), proptest::option::of(0..1024_usize), 0..24),
        ) {
            let record = |n: u8, len: usize| vec![n; len];
            let first: Vec<Change> = old.iter().map(|(&n, &len)| (id(n), Some(record(n, len)))).collect();
            let mut model: BTreeMap<RecordingId, Vec<u8>> =
                first.iter().cloned().map(|(id, r)| (id, r.expect("there"))).collect();
            // One block of any size: what comes out of it is what counts.
            let one: Vec<u8> = rewrite(&[], &first).expect("whole").into_iter().flat_map(|(_, b)| b).collect();
            let changes: Vec<Change> =
                changes.iter().map(|(&n, len)| (id(n), len.map(|len| record(n ^ 1, len)))).collect();
            for (id, record) in &changes {
                match record {
                    Some(record) => drop(model.insert(*id, record.clone())),
                    None => drop(model.remove(id)),
                }
            }
            let blocks = rewrite(&one, &changes).expect("whole");
            prop_assert!(blocks.iter().all(|(_, block)| block.len() <= BLOCK_MAX));
            prop_assert_eq!(of(&blocks), model.into_iter().collect::<Vec<_>>());
        }
    }
}
