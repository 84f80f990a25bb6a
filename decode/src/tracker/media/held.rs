//! The latest packets of a flow of which it is not known yet whose it is, or what opens it.

use std::collections::VecDeque;

use crate::time::{NS_PER_MS, Timestamp};

/// What a packet costs beside its bytes: when it came, and where it ends.
const PACKET_COST_BYTES: usize = size_of::<(Timestamp, usize)>();
/// The oldest are given up in blocks of so many bytes, or of a quarter of the limit when that is less.
const BLOCK_BYTES: usize = 4 * 1024;

/// Datagrams as received, with their times, oldest first; beyond its limit the oldest are given up.
#[derive(Default)]
pub(super) struct Held {
    blocks: VecDeque<Block>,
    /// All that is held, by [`Held::cost`].
    bytes: usize,
    packets: usize,
}

#[derive(Default)]
struct Block {
    /// When each came, and where in `bytes` it ends.
    ends: Vec<(Timestamp, usize)>,
    bytes: Vec<u8>,
}

impl Block {
    fn cost(&self) -> usize {
        self.bytes.len() + self.ends.len() * PACKET_COST_BYTES
    }

    fn iter(&self) -> impl Iterator<Item = (Timestamp, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|&(_, end)| end));
        starts.zip(&self.ends).map(|(start, &(at, end))| (at, self.bytes.get(start..end).unwrap_or_default()))
    }
}

impl Held {
    /// Keeps one more, in `max` bytes, what it costs to remember it among them.
    pub(super) fn push(&mut self, at: Timestamp, datagram: &[u8], max: usize) {
        let cost = datagram.len() + PACKET_COST_BYTES;
        if cost > max {
            return;
        }
        while self.bytes + cost > max && !self.blocks.is_empty() {
            self.forget_block();
        }
        let block_max = BLOCK_BYTES.min(max / 4);
        if self.blocks.back().is_none_or(|block| block.cost() + cost > block_max) {
            self.blocks.push_back(Block::default());
        }
        let Some(block) = self.blocks.back_mut() else { return };
        block.bytes.extend_from_slice(datagram);
        block.ends.push((at, block.bytes.len()));
        self.bytes += cost;
        self.packets += 1;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Timestamp, &[u8])> {
        self.blocks.iter().flat_map(Block::iter)
    }

    /// Packets held.
    pub(super) fn len(&self) -> usize {
        self.packets
    }

    /// What is held costs so many bytes.
    pub(super) fn cost(&self) -> usize {
        self.bytes
    }

    /// When the oldest came.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.blocks.front()?.ends.first().map(|&(at, _)| at)
    }

    /// What came at `since` or later: several frames may be stamped alike.
    pub(super) fn after(self, since: Option<Timestamp>) -> Held {
        let Some(since) = since else { return self };
        let mut later = Held::default();
        for (at, bytes) in self.iter().filter(|&(at, _)| at >= since) {
            later.push(at, bytes, usize::MAX);
        }
        later
    }

    /// Gives up the blocks in which nothing is younger than `ms` at `now`.
    pub(super) fn forget_older(&mut self, now: Timestamp, ms: i64) {
        let is_old = |block: &Block| {
            block.ends.last().is_none_or(|&(latest, _)| now.nanos_since(latest) > ms * NS_PER_MS)
        };
        while self.blocks.front().is_some_and(is_old) {
            self.forget_block();
        }
    }

    /// Cuts off the oldest, so that the rest costs no more than `max` bytes.
    pub(super) fn take_oldest(&mut self, max: usize) -> Held {
        let mut oldest = Held::default();
        while self.bytes > max
            && let Some(block) = self.blocks.pop_front()
        {
            self.bytes -= block.cost();
            self.packets -= block.ends.len();
            oldest.bytes += block.cost();
            oldest.packets += block.ends.len();
            oldest.blocks.push_back(block);
        }
        oldest
    }

    fn forget_block(&mut self) {
        if let Some(block) = self.blocks.pop_front() {
            self.bytes -= block.cost();
            self.packets -= block.ends.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_whole_and_in_order() {
        let max = 10 * (10 + PACKET_COST_BYTES);
        let mut held = Held::default();
        for n in 0..100_u8 {
            held.push(Timestamp::from_millis(i64::from(n)), &[n; 10], max);
            assert!(held.cost() <= max);
        }
        let kept: Vec<(i64, u8, usize)> =
            held.iter().map(|(at, bytes)| (at.as_millis(), bytes[0], bytes.len())).collect();
        assert!((7..=10).contains(&kept.len()), "{kept:?}");
        assert_eq!((kept.len(), kept.len() * (10 + PACKET_COST_BYTES)), (held.len(), held.cost()));
        assert_eq!(kept.last(), Some(&(99, 99, 10)));
        assert!(kept.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1 && pair[0].1 + 1 == pair[1].1));
    }

    #[test]
    fn one_that_is_larger_than_the_limit_is_not_kept() {
        let max = 100 + PACKET_COST_BYTES;
        let mut held = Held::default();
        held.push(Timestamp::from_millis(0), &[1; 60], max);
        held.push(Timestamp::from_millis(1), &[2; 101], max);
        held.push(Timestamp::from_millis(2), &[3; 100], max);
        assert_eq!(held.iter().map(|(_, bytes)| bytes.len()).collect::<Vec<_>>(), [100]);
    }

    #[test]
    fn what_is_older_goes_by_blocks_and_never_what_is_younger() {
        let mut held = Held::default();
        for n in 0..1_000 {
            held.push(Timestamp::from_millis(n * 20), &[0; 172], usize::MAX);
        }
        let now = Timestamp::from_millis(20_000);
        held.forget_older(now, 5_000);
        let oldest = held.oldest().expect("some are held").as_millis();
        assert!((14_500..=15_000).contains(&oldest), "{oldest}");
        let packets = held.len();
        let oldest = held.take_oldest(held.cost() / 2);
        assert_eq!(oldest.len() + held.len(), packets);
        assert!(oldest.iter().last().map(|(at, _)| at) < held.oldest() && oldest.cost() > held.cost());
        held.take_oldest(0);
        assert_eq!((held.len(), held.cost(), held.oldest()), (0, 0, None));
    }
}
