//! Channels: how many recordings may run at the same moment, and who goes when there are more (requirement rows REC-05, REC-06).
//!
//! First come, first served: a call that finds none free is not recorded, and gets none later. Where the rules say so, a more
//! important call takes the channel of the least important recording; of equals, of the one that began last.

use std::collections::BTreeMap;

/// How important a device's calls are: 1 the most, 9 the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// From 1, the most important, to 9.
    #[must_use]
    pub fn new(level: u8) -> Option<Priority> {
        (1..=9).contains(&level).then_some(Priority(level))
    }

    /// The number.
    #[must_use]
    pub fn level(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    /// In the middle.
    fn default() -> Self {
        Priority(5)
    }
}

/// What happens to a call that finds no channel free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overload {
    /// It is not recorded.
    #[default]
    Refuse,
    /// It takes the channel of the least important recording, when that is less important than it is.
    TakeFromLeastImportant,
}

/// What came of asking for a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant<K> {
    /// It has one.
    Granted,
    /// It has the one of this recording, which is to end.
    TakenFrom(K, Priority),
    /// So many are in use, which are all.
    Refused(usize),
}

/// The channels in use, by recording.
#[derive(Debug)]
pub struct Channels<K> {
    limit: Option<usize>,
    overload: Overload,
    /// By importance, then by turn: the last is the first to go.
    used: BTreeMap<(Priority, u64), K>,
    next_turn: u64,
}

/// A channel in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    place: (Priority, u64),
}

impl<K: Copy> Channels<K> {
    /// So many channels; any number without a limit.
    #[must_use]
    pub fn new(limit: Option<usize>, overload: Overload) -> Self {
        Channels { limit, overload, used: BTreeMap::new(), next_turn: 0 }
    }

    /// From now on there are so many. Those in use stay, also when they are more.
    pub fn set_limit(&mut self, limit: Option<usize>, overload: Overload) {
        (self.limit, self.overload) = (limit, overload);
    }

    /// How many are in use.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.used.len()
    }

    /// Asks for one.
    pub fn take(&mut self, key: K, priority: Priority) -> (Grant<K>, Option<Channel>) {
        let mut grant = Grant::Granted;
        if self.limit.is_some_and(|limit| self.used.len() >= limit) {
            let refused = (Grant::Refused(self.used.len()), None);
            let least = self.used.last_key_value().map(|(&place, _)| place);
            let Some(place) = least.filter(|_| self.overload == Overload::TakeFromLeastImportant) else {
                return refused;
            };
            if place.0 <= priority {
                return refused;
            }
            let Some(victim) = self.used.remove(&place) else { return refused };
            grant = Grant::TakenFrom(victim, place.0);
        }
        let channel = Channel { place: (priority, self.next_turn) };
        self.next_turn += 1;
        self.used.insert(channel.place, key);
        (grant, Some(channel))
    }

    /// Gives one back; one that was taken away is gone already.
    pub fn release(&mut self, channel: Channel) {
        self.used.remove(&channel.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(level: u8) -> Priority {
        Priority::new(level).expect("a priority")
    }

    #[test]
    fn the_ninth_call_on_eight_channels_is_refused_until_one_ends() {
        let mut channels = Channels::new(Some(8), Overload::Refuse);
        let held: Vec<Channel> = (0..8).filter_map(|n| channels.take(n, Priority::default()).1).collect();
        assert_eq!(channels.take(8, level(1)), (Grant::Refused(8), None));
        channels.release(held[3]);
        assert_eq!((channels.take(9, level(9)).0, channels.in_use()), (Grant::Granted, 8));
    }

    #[test]
    fn a_more_important_call_takes_the_channel_of_the_least_important_that_began_last() {
        let mut channels = Channels::new(Some(3), Overload::TakeFromLeastImportant);
        for (key, priority) in [('a', 3), ('b', 7), ('c', 7)] {
            assert_eq!(channels.take(key, level(priority)).0, Grant::Granted);
        }
        assert_eq!(channels.take('d', level(7)).0, Grant::Refused(3), "equals are served as they come");
        let (grant, channel) = channels.take('e', level(6));
        assert_eq!(grant, Grant::TakenFrom('c', level(7)));
        assert_eq!(channels.take('f', level(1)).0, Grant::TakenFrom('b', level(7)));
        // What was taken away is given back to no effect.
        channels.release(channel.expect("granted"));
        channels.release(channel.expect("granted"));
        assert_eq!(channels.in_use(), 2);
    }

    #[test]
    fn without_a_limit_nobody_is_refused_and_with_none_everybody_is() {
        let mut many = Channels::new(None, Overload::Refuse);
        assert!((0..10_000).all(|n| many.take(n, Priority::default()).0 == Grant::Granted));
        let mut none = Channels::new(Some(0), Overload::TakeFromLeastImportant);
        assert_eq!(none.take(1, level(1)).0, Grant::Refused(0));
    }
}
