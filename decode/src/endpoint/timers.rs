//! Timers by key: each runs once at a time, is set anew or taken back, and expires in the order of time.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Timestamp;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Timers<K> {
    due: BTreeMap<K, Timestamp>,
    queue: BTreeSet<(Timestamp, K)>,
}

impl<K: Ord + Copy> Timers<K> {
    pub(super) fn new() -> Self {
        Timers { due: BTreeMap::new(), queue: BTreeSet::new() }
    }

    /// Sets a timer, in place of one of the same key.
    pub(super) fn set(&mut self, key: K, at: Timestamp) {
        self.cancel(key);
        self.due.insert(key, at);
        self.queue.insert((at, key));
    }

    /// Takes a timer back, when it runs.
    pub(super) fn cancel(&mut self, key: K) {
        if let Some(at) = self.due.remove(&key) {
            self.queue.remove(&(at, key));
        }
    }

    /// When the next one expires.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.queue.first().map(|&(at, _)| at)
    }

    /// The next one that has expired, with its time.
    pub(super) fn expire(&mut self, now: Timestamp) -> Option<(Timestamp, K)> {
        let &(at, key) = self.queue.first().filter(|&&(at, _)| at <= now)?;
        self.cancel(key);
        Some((at, key))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_is_set_again_expires_once_at_its_new_time() {
        let at = Timestamp::from_millis;
        let mut timers = Timers::new();
        timers.set('a', at(10));
        timers.set('b', at(20));
        timers.set('a', at(30));
        timers.set('c', at(5));
        timers.cancel('c');
        assert_eq!(timers.next(), Some(at(20)));
        assert_eq!(timers.expire(at(19)), None);
        assert_eq!(timers.expire(at(40)), Some((at(20), 'b')));
        assert_eq!(timers.expire(at(40)), Some((at(30), 'a')));
        assert_eq!((timers.expire(at(40)), timers.len()), (None, 0));
    }
}
