//! What one synchronization source sent and what did not arrive (RFC 3550, A.1, A.3 and A.8).
//!
//! Copies of a packet are told apart from late ones by a window over the last [`WINDOW`] sequence numbers, so that a mirror
//! that shows every packet twice, or a relay that shows both of its sides, counts it once.

use crate::time::{NS_PER_S, Timestamp};

/// Sequence numbers that the window remembers. More than 10 s of 20 ms packets.
pub const WINDOW: u64 = 512;
/// A jump of more than this many sequence numbers is a restart, not loss (RFC 3550, A.1: MAX_DROPOUT).
const RESTART: u64 = 3000;
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
    highest: u64,
    seen: [u64; WORDS],
    /// Unique packets since `first`.
    received_in_run: u64,
    /// Over all runs before this one.
    received_before: u64,
    lost_before: u64,
    duplicates: u64,
    reordered: u64,
    transit_ticks: Option<i64>,
    jitter_ticks: f64,
}

impl Stream {
    /// Begins with the first packet's sequence number; that packet must still be pushed.
    #[must_use]
    pub fn new(sequence: u16) -> Self {
        // One cycle ahead, so that a packet from before the first one has a place below it.
        let first = 0x1_0000 + u64::from(sequence);
        Stream {
            first,
            highest: first.wrapping_sub(1),
            seen: [0; WORDS],
            received_in_run: 0,
            received_before: 0,
            lost_before: 0,
            duplicates: 0,
            reordered: 0,
            transit_ticks: None,
            jitter_ticks: 0.0,
        }
    }

    /// Takes the next packet in arrival order.
    pub fn push(&mut self, sequence: u16, timestamp: u32, clock_rate: u32, at: Timestamp) -> Arrival {
        let delta = i64::from(sequence.wrapping_sub(self.highest as u16) as i16);
        if delta.unsigned_abs() > RESTART {
            self.restart(sequence);
            return self.push(sequence, timestamp, clock_rate, at);
        }
        let extended = self.highest.saturating_add_signed(delta);
        if delta > 0 {
            self.advance(extended);
            self.update_jitter(timestamp, clock_rate, at);
            return Arrival::New { missing: (delta - 1) as u32, late: false };
        }
        let behind = delta.unsigned_abs();
        if behind < WINDOW {
            let (word, bit) = place(extended);
            if let Some(word) = self.seen.get_mut(word) {
                if *word & bit != 0 {
                    self.duplicates += 1;
                    return Arrival::Duplicate;
                }
                *word |= bit;
            }
        }
        self.first = self.first.min(extended);
        self.received_in_run += 1;
        self.reordered += 1;
        Arrival::New { missing: 0, late: true }
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

    /// Interarrival jitter in milliseconds (RFC 3550, 6.4.1).
    #[must_use]
    pub fn jitter_ms(&self, clock_rate: u32) -> f64 {
        self.jitter_ticks * 1000.0 / f64::from(clock_rate.max(1))
    }

    fn advance(&mut self, extended: u64) {
        let step = extended.saturating_sub(self.highest);
        if step >= WINDOW {
            self.seen = [0; WORDS];
        } else {
            for skipped in self.highest + 1..extended {
                let (word, bit) = place(skipped);
                if let Some(word) = self.seen.get_mut(word) {
                    *word &= !bit;
                }
            }
        }
        let (word, bit) = place(extended);
        if let Some(word) = self.seen.get_mut(word) {
            *word |= bit;
        }
        self.highest = extended;
        self.received_in_run += 1;
    }

    fn restart(&mut self, sequence: u16) {
        let next = Stream {
            received_before: self.received(),
            lost_before: self.lost(),
            duplicates: self.duplicates,
            reordered: self.reordered,
            jitter_ticks: self.jitter_ticks,
            ..Stream::new(sequence)
        };
        *self = next;
    }

    fn update_jitter(&mut self, timestamp: u32, clock_rate: u32, at: Timestamp) {
        // The arrival in ticks, modulo 2^32 like the timestamp; only differences count.
        let arrival = (i128::from(at.as_nanos()) * i128::from(clock_rate) / i128::from(NS_PER_S)) as i64;
        let transit = i64::from((arrival as u32).wrapping_sub(timestamp) as i32);
        if let Some(previous) = self.transit_ticks {
            let difference = (transit - previous).unsigned_abs();
            // A jump of the timestamp is no jitter.
            if difference < u64::from(clock_rate) {
                self.jitter_ticks += (difference as f64 - self.jitter_ticks) / 16.0;
            }
        }
        self.transit_ticks = Some(transit);
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
        for (i, sequence) in sequences.into_iter().enumerate() {
            let stream = stream.get_or_insert_with(|| Stream::new(sequence));
            stream.push(sequence, u32::from(sequence) * 160, 8000, Timestamp::from_millis(20 * i as i64));
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
    fn steady_arrival_has_no_jitter() {
        let stream = feed(0..100);
        assert!(stream.jitter_ms(8000) < 0.2, "{}", stream.jitter_ms(8000));
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
