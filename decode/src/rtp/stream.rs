//! Which sequence numbers of one synchronization source came (RFC 3550, A.1 and A.3).
//!
//! Copies of a packet are told apart from late ones by a window over the last [`WINDOW`] sequence numbers, so that a mirror
//! that shows every packet twice, or a relay that shows both of its sides, counts it once. When packets come is
//! [`super::timing`]'s, what is missing where [`super::loss`]'s.

use std::ops::RangeInclusive;

/// Sequence numbers that the window remembers. More than 10 s of 20 ms packets.
pub const WINDOW: u64 = 512;
/// A jump of more than this many sequence numbers is a restart, not loss (RFC 3550, A.1: MAX_DROPOUT).
const RESTART: u64 = 3000;
/// After a silence, a packet is late by no more than this.
const LATE_AFTER_SILENCE: u16 = 16;
const WORDS: usize = (WINDOW / 64) as usize;

/// What a packet is to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Not seen before. `missing` packets stand between it and the highest one so far; 0 for the next in order and for a late one.
    New {
        /// Sequence numbers skipped by this packet.
        missing: u32,
        /// It came after a later one.
        late: bool,
    },
    /// A copy of one already counted.
    Duplicate,
}

/// Receive state of one source: constant size, whatever the length of the call.
#[derive(Clone, Debug)]
pub struct Stream {
    first: u64,
    /// What `first` was before a packet from before it came.
    former_first: u64,
    highest: u64,
    seen: [u64; WORDS],
    /// Unique packets since `first`.
    received_in_run: u64,
    /// Over all runs before this one.
    received_before: u64,
    lost_before: u64,
    duplicates: u64,
    reordered: u64,
    /// What would follow a packet from behind the window: two in a row are a restart (RFC 3550, A.1: bad_seq).
    after_stray: Option<u16>,
}

impl Stream {
    /// Values of the first and the last line that every packet touches, for [`crate::tracker`] to fetch them ahead.
    #[inline]
    pub(crate) fn fetch(&self) -> (u64, u64) {
        (self.highest, self.received_in_run)
    }

    /// Begins with the first packet's sequence number; that packet must still be pushed.
    #[must_use]
    pub fn new(sequence: u16) -> Self {
        // One cycle ahead, so that a packet from before the first one has a place below it.
        let first = 0x1_0000 + u64::from(sequence);
        Stream {
            first,
            former_first: first,
            highest: first.wrapping_sub(1),
            seen: [0; WORDS],
            received_in_run: 0,
            received_before: 0,
            lost_before: 0,
            duplicates: 0,
            reordered: 0,
            after_stray: None,
        }
    }

    /// Takes the next packet in arrival order.
    #[inline]
    pub fn push(&mut self, sequence: u16) -> Arrival {
        let delta = i64::from(sequence.wrapping_sub(self.highest as u16) as i16);
        if delta > 0 && delta.unsigned_abs() <= RESTART {
            self.advance(self.highest.saturating_add_signed(delta));
            return Arrival::New { missing: (delta - 1) as u32, late: false };
        }
        self.push_behind(sequence, delta)
    }

    /// The place of a sequence number in the count over all wraps and restarts; near the highest one so far.
    #[must_use]
    pub fn extended(&self, sequence: u16) -> u64 {
        let delta = i64::from(sequence.wrapping_sub(self.highest as u16) as i16);
        self.highest.saturating_add_signed(delta)
    }

    /// The highest sequence number so far, extended.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// When the late packet with this number has become the first one of its run: the numbers between it and the former first
    /// one, which nobody had missed before.
    #[must_use]
    pub fn missing_at_front(&self, extended: u64) -> Option<RangeInclusive<u64>> {
        (extended == self.first).then(|| self.first + 1..=self.former_first.saturating_sub(1))
    }

    /// After a silence, does this sequence number begin anew? Behind the highest by more than packets are ever late by, it is no
    /// late packet: senders and relays number anew after a hold.
    #[must_use]
    pub fn is_restart(&self, sequence: u16) -> bool {
        let behind = (self.highest as u16).wrapping_sub(sequence);
        (LATE_AFTER_SILENCE + 1..RESTART as u16).contains(&behind)
    }

    /// The sender numbers anew from here: what came before stays counted.
    pub fn begin_anew(&mut self, sequence: u16) {
        self.restart(sequence);
    }

    /// Unique packets.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received_before + self.received_in_run
    }

    /// Packets that never came.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let expected = (self.highest + 1).saturating_sub(self.first);
        self.lost_before + expected.saturating_sub(self.received_in_run)
    }

    /// Copies.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Packets that came after a later one.
    #[must_use]
    pub fn reordered(&self) -> u64 {
        self.reordered
    }

    /// A packet that is not ahead: late, a copy, or of a sender that has started its numbers again.
    #[inline(never)]
    fn push_behind(&mut self, sequence: u16, delta: i64) -> Arrival {
        let behind = delta.unsigned_abs();
        if behind > RESTART || (behind >= WINDOW && self.after_stray == Some(sequence)) {
            self.restart(sequence);
            return self.push(sequence);
        }
        if behind >= WINDOW {
            // Too old to be told from a copy. It is kept, and is no news of what is missing.
            self.after_stray = Some(sequence.wrapping_add(1));
            self.received_before += 1;
            self.reordered += 1;
            return Arrival::New { missing: 0, late: true };
        }
        let extended = self.highest.saturating_add_signed(delta);
        let (word, bit) = place(extended);
        if let Some(word) = self.seen.get_mut(word) {
            if *word & bit != 0 {
                self.duplicates += 1;
                return Arrival::Duplicate;
            }
            *word |= bit;
        }
        if extended < self.first {
            (self.first, self.former_first) = (extended, self.first);
        }
        self.received_in_run += 1;
        self.reordered += 1;
        Arrival::New { missing: 0, late: true }
    }

    #[inline]
    fn advance(&mut self, extended: u64) {
        if extended.saturating_sub(self.highest) > 1 {
            self.skip_to(extended);
        }
        let (word, bit) = place(extended);
        if let Some(word) = self.seen.get_mut(word) {
            *word |= bit;
        }
        self.highest = extended;
        self.received_in_run += 1;
    }

    /// The numbers between the highest one so far and this one have not come.
    #[inline(never)]
    fn skip_to(&mut self, extended: u64) {
        if extended.saturating_sub(self.highest) >= WINDOW {
            self.seen = [0; WORDS];
            return;
        }
        for skipped in self.highest + 1..extended {
            let (word, bit) = place(skipped);
            if let Some(word) = self.seen.get_mut(word) {
                *word &= !bit;
            }
        }
    }

    /// A new run begins, above all numbers of the ones before: extended numbers only grow from run to run.
    fn restart(&mut self, sequence: u16) {
        let first = ((self.highest >> 16) + 2) << 16 | u64::from(sequence);
        let next = Stream {
            first,
            former_first: first,
            highest: first - 1,
            received_before: self.received(),
            lost_before: self.lost(),
            duplicates: self.duplicates,
            reordered: self.reordered,
            ..Stream::new(sequence)
        };
        *self = next;
    }
}

fn place(extended: u64) -> (usize, u64) {
    let slot = extended % WINDOW;
    ((slot / 64) as usize, 1 << (slot % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feed(sequences: impl IntoIterator<Item = u16>) -> Stream {
        let mut stream: Option<Stream> = None;
        for sequence in sequences {
            let stream = stream.get_or_insert_with(|| Stream::new(sequence));
            stream.push(sequence);
        }
        stream.expect("not empty")
    }

    #[test]
    fn a_clean_stream_over_the_wrap_loses_nothing() {
        let stream = feed((0..1000u16).map(|i| i.wrapping_add(65_000)));
        assert_eq!(
            (stream.received(), stream.lost(), stream.duplicates(), stream.reordered()),
            (1000, 0, 0, 0)
        );
    }

    #[test]
    fn every_packet_twice_is_counted_once() {
        let stream = feed((0..500u16).flat_map(|i| [i, i]));
        assert_eq!((stream.received(), stream.lost(), stream.duplicates()), (500, 0, 500));
    }

    #[test]
    fn a_late_packet_is_not_lost_and_a_missing_one_is() {
        let stream = feed([10, 11, 13, 12, 15]);
        assert_eq!((stream.received(), stream.lost(), stream.reordered()), (5, 1, 1));
    }

    #[test]
    fn a_packet_from_before_the_first_counts() {
        let stream = feed([1, 0, 65_535, 2]);
        assert_eq!((stream.received(), stream.lost(), stream.reordered()), (4, 0, 2));
    }

    #[test]
    fn a_restart_is_not_thirty_thousand_lost_packets() {
        let stream = feed([1, 2, 3, 30_000, 30_001]);
        assert_eq!((stream.received(), stream.lost()), (5, 0));
    }

    #[test]
    fn a_sender_that_goes_back_a_thousand_numbers_has_restarted_and_one_stray_has_not() {
        let restarted = feed((2000..2600).chain(1000..1600));
        assert_eq!((restarted.received(), restarted.lost(), restarted.duplicates()), (1200, 0, 0));
        let stray = feed((2000..2600).chain([1000]).chain(2600..3000));
        assert_eq!((stray.received(), stray.lost(), stray.duplicates()), (1001, 0, 0));
    }

    #[test]
    fn extended_numbers_grow_over_wraps_and_restarts() {
        let mut stream = Stream::new(65_530);
        let mut before = 0;
        for sequence in (65_530..=65_535).chain(0..100).chain(40_000..40_100).chain(7..50) {
            stream.push(sequence);
            assert!(stream.highest() > before && stream.highest() as u16 == sequence);
            before = stream.highest();
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_is_received_or_lost(order in proptest::collection::vec((0u16..20, 0u8..10), 1..400)) {
            // A stream with jitter in order up to 20 places, drops and copies; against a plain set as the model.
            let mut arrivals: Vec<(usize, u16)> = Vec::new();
            for (i, &(delay, fate)) in order.iter().enumerate() {
                if fate != 0 || i == 0 { arrivals.push((i + usize::from(delay), i as u16)); }
                if fate == 1 { arrivals.push((i + usize::from(delay) + 3, i as u16)); }
            }
            arrivals.sort();
            let sequences: Vec<u16> = arrivals.iter().map(|&(_, s)| s).collect();
            let unique: std::collections::BTreeSet<_> = sequences.iter().copied().collect();
            let span = u64::from(unique.last().unwrap() - unique.first().unwrap()) + 1;
            let stream = feed(sequences.iter().copied());
            prop_assert_eq!(stream.received(), unique.len() as u64);
            prop_assert_eq!(stream.duplicates(), (sequences.len() - unique.len()) as u64);
            prop_assert_eq!(stream.lost(), span - unique.len() as u64);
        }
    }
}
