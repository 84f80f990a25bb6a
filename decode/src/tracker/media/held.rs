//! The latest packets of a flow of which it is not known yet whose it is.

use crate::time::Timestamp;

/// Datagrams as received, with their times; beyond its limit in bytes the older half is given up.
#[derive(Default)]
pub(super) struct Held {
    /// When each came, and where in `bytes` it ends.
    ends: Vec<(Timestamp, usize)>,
    bytes: Vec<u8>,
}

impl Held {
    /// Keeps one more, in `max` bytes.
    pub(super) fn push(&mut self, at: Timestamp, datagram: &[u8], max: usize) {
        if datagram.len() > max {
            return;
        }
        if self.bytes.len() + datagram.len() > max {
            self.forget_half();
        }
        if self.bytes.len() + datagram.len() > max {
            (self.ends, self.bytes) = (Vec::new(), Vec::new());
        }
        self.bytes.extend_from_slice(datagram);
        self.ends.push((at, self.bytes.len()));
    }

    /// Would one more of this length push older ones out?
    pub(super) fn is_full_for(&self, len: usize, max: usize) -> bool {
        self.bytes.len() + len > max
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Timestamp, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|&(_, end)| end));
        starts.zip(&self.ends).map(|(start, &(at, end))| (at, self.bytes.get(start..end).unwrap_or_default()))
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
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

    fn forget_half(&mut self) {
        let gone = self.ends.len().div_ceil(2);
        let Some(&(_, cut)) = gone.checked_sub(1).and_then(|last| self.ends.get(last)) else { return };
        self.ends.drain(..gone);
        self.bytes.drain(..cut.min(self.bytes.len()));
        for (_, end) in &mut self.ends {
            *end = end.saturating_sub(cut);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_whole_and_in_order() {
        let mut held = Held::default();
        for n in 0..100_u8 {
            held.push(Timestamp::from_millis(i64::from(n)), &[n; 10], 100);
        }
        let kept: Vec<(i64, u8, usize)> =
            held.iter().map(|(at, bytes)| (at.as_millis(), bytes[0], bytes.len())).collect();
        assert!((5..=10).contains(&kept.len()), "{kept:?}");
        assert_eq!(kept.last(), Some(&(99, 99, 10)));
        assert!(kept.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1 && pair[0].1 + 1 == pair[1].1));
    }

    #[test]
    fn one_that_is_larger_than_the_limit_is_not_kept() {
        let mut held = Held::default();
        held.push(Timestamp::from_millis(0), &[1; 60], 100);
        held.push(Timestamp::from_millis(1), &[2; 101], 100);
        held.push(Timestamp::from_millis(2), &[3; 100], 100);
        assert_eq!(held.iter().map(|(_, bytes)| bytes.len()).collect::<Vec<_>>(), [100]);
    }
}
