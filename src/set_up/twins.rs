//! Which adapters hear the same packets: two mirror ports of one switch, or of two on a packet's way.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use decode::{Frame, Timestamp};

/// Packets of which it is known where they came, to know them again on another adapter; and for how long, in milliseconds.
const RECENT_MAX: usize = 8_192;
const RECENT_MS: u64 = 200;
/// Shorter packets are not told apart: of longer ones the last bytes are as good as unique.
const TOLD_APART_FROM: usize = 100;
const TOLD_BY: usize = 64;
/// An adapter is another one's copy when so many of a hundred such packets came on that one, too.
const SAME_PERCENT: u64 = 80;
/// Few packets say nothing.
const SAME_MIN: u64 = 50;

/// See the module's text.
#[derive(Default)]
pub(super) struct Twins {
    hasher: RandomState,
    recent: VecDeque<(Timestamp, u64)>,
    /// Where each of these came: a bit for each adapter.
    came: HashMap<u64, u64>,
    /// Packets of each adapter that can be told apart.
    packets: BTreeMap<u16, u64>,
    /// Of these, those that had come on another one just before: by where they came, and where they had.
    again: BTreeMap<(u16, u16), u64>,
}

impl Twins {
    pub(super) fn note(&mut self, frame: &Frame<'_>) {
        if frame.data.len() < TOLD_APART_FROM {
            return;
        }
        *self.packets.entry(frame.source).or_default() += 1;
        while self.recent.len() >= RECENT_MAX
            || self.recent.front().is_some_and(|(at, _)| frame.at.millis_since(*at) > RECENT_MS)
        {
            let Some((_, old)) = self.recent.pop_front() else { break };
            self.came.remove(&old);
        }
        // Tags and tunnels stand before it and may differ.
        let tail = frame.data.len().saturating_sub(TOLD_BY);
        let hash = self.hasher.hash_one(frame.data.get(tail..));
        let Some(own) = 1_u64.checked_shl(u32::from(frame.source)) else { return };
        let before = self.came.entry(hash).or_default();
        if *before == 0 {
            self.recent.push_back((frame.at, hash));
        }
        let others = (0..64).filter(|other| *before >> other & 1 == 1 && *other != frame.source);
        for other in others.filter(|_| *before & own == 0) {
            *self.again.entry((frame.source, other)).or_default() += 1;
        }
        *before |= own;
    }

    /// The adapter that this one is a copy of: nearly all that comes here comes there, and there comes more, or as much and it stands first.
    pub(super) fn of(&self, place: usize) -> Option<usize> {
        let place = u16::try_from(place).ok()?;
        let packets = |place: u16| self.packets.get(&place).copied().unwrap_or_default();
        let own = packets(place);
        let both = |other: u16| {
            let count = |pair: (u16, u16)| self.again.get(&pair).copied().unwrap_or_default();
            count((place, other)) + count((other, place))
        };
        // Two that carry the same do not count the same to the packet at any moment.
        let is_more = |other: u16| {
            let (lower, upper) = (own - own / 50, own + own / 50);
            packets(other) > upper || (packets(other) >= lower && other < place)
        };
        let mut others = self.packets.keys().copied().filter(|other| *other != place);
        let twin = others
            .find(|other| own >= SAME_MIN && both(*other) * 100 >= own * SAME_PERCENT && is_more(*other));
        twin.map(usize::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet of this number, at its moment or `later_ms` behind it.
    fn note(twins: &mut Twins, source: u16, number: u32, tag: u8, later_ms: i64) {
        let mut data = vec![tag; 40];
        data.extend((0..40).flat_map(|i| (number * 64 + i).to_be_bytes()));
        let at = Timestamp::from_millis(i64::from(number % 1_000) * 20 + later_ms);
        twins.note(&Frame { at, link: 1, source, wire_len: 200, data: &data });
    }

    #[test]
    fn of_two_that_hear_the_same_the_second_is_a_copy_whatever_tag_it_has() {
        let mut twins = Twins::default();
        for number in 0..200 {
            note(&mut twins, 0, number, 1, 0);
            note(&mut twins, 1, number, 2, 1);
            note(&mut twins, 3, number, 3, 2);
            // Another part of the network.
            note(&mut twins, 2, number + 100_000, 1, 0);
        }
        assert_eq!([0, 1, 2, 3].map(|place| twins.of(place)), [None, Some(0), None, Some(0)]);
    }

    #[test]
    fn one_direction_of_what_another_hears_is_the_copy_also_where_it_comes_first() {
        let mut twins = Twins::default();
        for number in 0..400 {
            if number % 2 == 0 {
                note(&mut twins, 0, number, 1, 0);
            }
            note(&mut twins, 1, number, 1, 1);
        }
        assert_eq!([0, 1].map(|place| twins.of(place)), [Some(1), None]);
    }

    #[test]
    fn few_packets_and_packets_that_are_seen_again_much_later_say_nothing() {
        let mut twins = Twins::default();
        for number in 0..10 {
            note(&mut twins, 0, number, 1, 0);
            note(&mut twins, 1, number, 1, 1);
        }
        assert_eq!(twins.of(1), None);
        let mut twins = Twins::default();
        (0..200).for_each(|number| note(&mut twins, 0, number, 1, 0));
        (0..200).for_each(|number| note(&mut twins, 1, number, 1, 5_000));
        assert_eq!(twins.of(1), None);
        assert!(twins.recent.len() <= RECENT_MAX && twins.came.len() == twins.recent.len());
    }
}
