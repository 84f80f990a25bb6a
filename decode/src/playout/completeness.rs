//! The completeness record: for each second of capture time, what was sent and what was received of one party.
//!
//! Rows are whole seconds of the capture clock, because that is how the capture counts its own drops: only then can a
//! missing packet be laid at the network's door or at ours.

use std::collections::BTreeMap;

use crate::rtp::stream::Arrival;
use crate::time::{NS_PER_S, Timestamp};

/// Rows kept per party: 48 hours. Packets after that count in the totals only.
pub const SECONDS_MAX: usize = 48 * 3600;
/// How many rows back a late packet may fill the hole that it left.
const CREDIT_ROWS: usize = 4;

/// One second of one party.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Second {
    /// Packets that should have come, by sequence number.
    pub expected: u32,
    /// Packets that came, copies not counted.
    pub received: u32,
    /// Missing while the capture dropped nothing.
    pub lost_network: u32,
    /// Missing while the kernel or a ring of ours dropped frames.
    pub lost_capture: u32,
    /// Packets that came after a later one.
    pub reordered: u32,
    /// Copies.
    pub duplicates: u32,
    /// Packets in an encoding that cannot be decoded here.
    pub undecodable: u32,
}

/// Rows of one party while the survey runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    /// Second since the epoch of the first row.
    first: Option<i64>,
    rows: Vec<Second>,
}

/// The second that a moment lies in.
pub(super) fn second_of(at: Timestamp) -> i64 {
    at.as_nanos().div_euclid(NS_PER_S)
}

impl Rows {
    /// Counts one packet; rows begin at `first`, the recording's first second.
    pub(super) fn count(&mut self, first: i64, at: Timestamp, arrival: Arrival, undecodable: bool) {
        let first = *self.first.get_or_insert(first);
        let index = usize::try_from(second_of(at).saturating_sub(first)).unwrap_or(0);
        if index >= SECONDS_MAX {
            return;
        }
        if self.rows.len() <= index {
            self.rows.resize(index + 1, Second::default());
        }
        let hole = match arrival {
            Arrival::New { late: true, .. } => self.latest_hole(index),
            Arrival::New { .. } | Arrival::Duplicate => None,
        };
        let Some(row) = self.rows.get_mut(index) else { return };
        row.undecodable = row.undecodable.saturating_add(u32::from(undecodable));
        match arrival {
            Arrival::Duplicate => row.duplicates = row.duplicates.saturating_add(1),
            Arrival::New { missing, late: false } => {
                row.expected = row.expected.saturating_add(missing).saturating_add(1);
                row.received = row.received.saturating_add(1);
            }
            Arrival::New { late: true, .. } => {
                row.reordered = row.reordered.saturating_add(1);
                match hole.and_then(|hole| self.rows.get_mut(hole)) {
                    Some(hole) => hole.received = hole.received.saturating_add(1),
                    // From before the first packet: nobody had expected it.
                    None => {
                        if let Some(row) = self.rows.get_mut(index) {
                            row.expected = row.expected.saturating_add(1);
                            row.received = row.received.saturating_add(1);
                        }
                    }
                }
            }
        }
    }

    fn latest_hole(&self, index: usize) -> Option<usize> {
        let oldest = index.saturating_sub(CREDIT_ROWS);
        (oldest..=index).rev().find(|&i| self.rows.get(i).is_some_and(|row| row.received < row.expected))
    }

    /// Settles who lost what is missing; `drops` are the seconds in which the capture dropped frames.
    pub(super) fn finish(mut self, drops: &BTreeMap<i64, u64>) -> Vec<Second> {
        let first = self.first.unwrap_or(0);
        for (second, row) in (first..).zip(&mut self.rows) {
            let lost = row.expected.saturating_sub(row.received);
            if drops.contains_key(&second) {
                row.lost_capture = lost;
            } else {
                row.lost_network = lost;
            }
        }
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXT: Arrival = Arrival::New { missing: 0, late: false };

    #[test]
    fn a_late_packet_fills_the_second_that_missed_it() {
        let mut rows = Rows::default();
        let at = |ms| Timestamp::from_millis(ms);
        rows.count(0, at(0), NEXT, false);
        rows.count(0, at(990), Arrival::New { missing: 1, late: false }, false);
        rows.count(0, at(1010), Arrival::New { missing: 0, late: true }, false);
        let rows = rows.finish(&BTreeMap::new());
        let row = |i: usize| rows.get(i).copied().expect("a row");
        assert_eq!((row(0).expected, row(0).received, row(0).lost_network), (3, 3, 0));
        assert_eq!((row(1).expected, row(1).received, row(1).reordered), (0, 0, 1));
    }

    #[test]
    fn a_loss_is_ours_in_a_second_in_which_we_dropped() {
        let mut rows = Rows::default();
        for second in 0..3 {
            let at = Timestamp::from_millis(1000 * second);
            rows.count(0, at, Arrival::New { missing: 2, late: false }, false);
        }
        let rows = rows.finish(&BTreeMap::from([(1, 7)]));
        let lost: Vec<_> = rows.iter().map(|row| (row.lost_network, row.lost_capture)).collect();
        assert_eq!(lost, [(2, 0), (0, 2), (2, 0)]);
    }

    #[test]
    fn a_capture_clock_that_leaps_allocates_nothing_for_the_leap() {
        let mut rows = Rows::default();
        rows.count(0, Timestamp::from_millis(0), NEXT, false);
        rows.count(0, Timestamp::from_nanos(i64::MAX), NEXT, false);
        rows.count(0, Timestamp::MIN, NEXT, false);
        assert_eq!(rows.finish(&BTreeMap::new()).len(), 1);
    }
}
