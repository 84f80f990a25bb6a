//! When the packets of one source come: interarrival jitter (RFC 3550, 6.4.1 and A.8) and lateness for a listener.
//!
//! Both rest on the *transit*: arrival less media time, of which only differences mean anything. Jitter is the running mean
//! of its changes. A packet is *late* when a listener who delays everything by [`PLAYOUT_DELAY_MS`] behind the
//! fastest packets would have had to play silence in its place. Which packets are missing is [`super::loss`]'s.

use crate::time::{NS_PER_MS, NS_PER_S, Timestamp};

/// How long a telephone is taken to hold packets back, in milliseconds: a common jitter buffer of three 20 ms packets.
pub const PLAYOUT_DELAY_MS: i64 = 60;
/// A change of the transit of more than this is a restart of the timestamps, or a pause that they do not count.
const JUMP_MS: i64 = 1_000;
/// The fastest packet is looked for in the last one or two stretches of this length: clocks drift.
const FLOOR_MS: i64 = 10_000;
/// Share of a new change in the running mean (RFC 3550, 6.4.1).
const GAIN: f64 = 1.0 / 16.0;

/// Running figures of one source: constant size; times in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Timing {
    previous: Option<Previous>,
    transit: i64,
    floor: i64,
    floor_before: i64,
    floor_until: i64,
    jitter: f64,
    jitter_max: f64,
    jitter_sum: f64,
    changes: u64,
    late: u64,
}

#[derive(Clone, Copy, Debug)]
struct Previous {
    at: Timestamp,
    timestamp: u32,
    clock_rate: u32,
}

impl Timing {
    /// Values of the first and the last line that every packet touches, for [`crate::tracker`] to fetch them ahead.
    #[inline]
    pub(crate) fn fetch(&self) -> (i64, u64) {
        (self.transit, self.late)
    }

    /// Takes the next packet in order of arrival, copies and telephone events left out: all packets of one event carry the
    /// time of its beginning (RFC 4733, 2.2.2). True when it is late.
    #[inline]
    pub fn push(&mut self, timestamp: u32, clock_rate: u32, at: Timestamp) -> bool {
        let now = Previous { at, timestamp, clock_rate };
        let Some(before) = self.previous.replace(now).filter(|before| before.clock_rate == clock_rate) else {
            return self.begin(at);
        };
        let media = nanos(i64::from(timestamp.wrapping_sub(before.timestamp) as i32), clock_rate);
        let change = at.nanos_since(before.at).saturating_sub(media);
        if change.saturating_abs() >= JUMP_MS * NS_PER_MS {
            return self.begin(at);
        }
        self.transit = self.transit.saturating_add(change);
        self.jitter += (change.saturating_abs() as f64 - self.jitter) * GAIN;
        self.jitter_max = self.jitter_max.max(self.jitter);
        self.jitter_sum += self.jitter;
        self.changes += 1;
        if at.as_nanos() >= self.floor_until {
            self.next_floor(at);
        }
        self.floor = self.floor.min(self.transit);
        let late =
            self.transit.saturating_sub(self.floor.min(self.floor_before)) > PLAYOUT_DELAY_MS * NS_PER_MS;
        self.late += u64::from(late);
        late
    }

    /// Interarrival jitter after the last packet, in milliseconds.
    #[must_use]
    pub fn jitter_ms(&self) -> f64 {
        self.jitter / NS_PER_MS as f64
    }

    /// Its largest value so far.
    #[must_use]
    pub fn jitter_max_ms(&self) -> f64 {
        self.jitter_max / NS_PER_MS as f64
    }

    /// Its values after each packet, summed up: a mean over several sources is the sum over the [`changes`](Self::changes).
    #[must_use]
    pub fn jitter_sum_ms(&self) -> f64 {
        self.jitter_sum / NS_PER_MS as f64
    }

    /// Packets whose transit could be held against that of the one before.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Late packets.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.late
    }

    /// The first packet, or the first one on another clock: its transit is the new zero.
    #[inline(never)]
    fn begin(&mut self, at: Timestamp) -> bool {
        (self.transit, self.floor, self.floor_before) = (0, 0, i64::MAX);
        self.floor_until = at.plus_millis(FLOOR_MS).as_nanos();
        false
    }

    #[inline(never)]
    fn next_floor(&mut self, at: Timestamp) {
        // After a silence the last stretch's fastest packet is still the best that is known.
        self.floor_before = self.floor;
        self.floor = self.transit;
        self.floor_until = at.plus_millis(FLOOR_MS).as_nanos();
    }
}

/// Ticks as nanoseconds. `ticks` is a difference of two timestamps: 32 bits and a sign, so the product has room.
fn nanos(ticks: i64, clock_rate: u32) -> i64 {
    match clock_rate {
        // The clock of nearly all calls divides a second without a rest.
        8_000 => ticks * (NS_PER_S / 8_000),
        rate => ticks * NS_PER_S / i64::from(rate.max(1)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Packets of 20 ms, each delayed by so many milliseconds.
    fn feed(delays_ms: impl IntoIterator<Item = f64>) -> Timing {
        let mut timing = Timing::default();
        let mut arrivals: Vec<(i64, u32)> = delays_ms
            .into_iter()
            .zip(0_u32..)
            .map(|(ms, i)| (i64::from(i) * 20 * NS_PER_MS + (ms * 1e6) as i64, i * 160))
            .collect();
        arrivals.sort_unstable();
        for (at, timestamp) in arrivals {
            timing.push(timestamp.wrapping_sub(1_000), 8_000, Timestamp::from_nanos(at));
        }
        timing
    }

    #[test]
    fn steady_arrival_has_no_jitter_also_over_the_wrap_of_the_timestamp() {
        let timing = feed((0..1_000).map(|_| 5.0));
        assert_eq!((timing.jitter_ms(), timing.jitter_max_ms(), timing.late()), (0.0, 0.0, 0));
        assert_eq!(timing.changes(), 999);
    }

    #[test]
    fn a_change_of_one_millisecond_each_time_is_a_jitter_of_one() {
        let timing = feed((0..1_000).map(|i| f64::from(i % 2)));
        assert!((timing.jitter_ms() - 1.0).abs() < 1e-6, "{}", timing.jitter_ms());
        let mean = timing.jitter_sum_ms() / timing.changes() as f64;
        assert!(mean < 1.0 && mean > 0.97, "{mean}");
    }

    #[test]
    fn what_comes_61_ms_behind_the_fastest_is_late_and_59_is_not() {
        assert_eq!(feed([0.0, 0.0, 59.0, 0.0]).late(), 0);
        assert_eq!(feed([0.0, 0.0, 61.0, 0.0]).late(), 1);
        // The fastest may overtake the others: what comes after it is held against it, what came before it is not.
        assert_eq!(feed([61.0, 61.0, 61.0, 61.0, 0.0, 61.0]).late(), 4);
    }

    #[test]
    fn restarts_of_the_timestamp_pauses_and_other_clocks_are_no_jitter() {
        let mut timing = Timing::default();
        let mut ms = 0;
        for (timestamp, rate) in [(0, 8_000), (1 << 31, 8_000), (7, 8_000), (500_000, 16_000), (9, 90_000)] {
            for i in 0..50 {
                let at = Timestamp::from_millis(ms);
                assert!(!timing.push(u32::wrapping_add(timestamp, i * rate / 50), rate, at));
                ms += 20;
            }
            ms += 60_000;
        }
        assert_eq!((timing.jitter_max_ms(), timing.late()), (0.0, 0));
    }

    #[test]
    fn a_drift_of_one_in_a_thousand_makes_nothing_late() {
        let timing = feed((0..180_000).map(|i| f64::from(i) * 0.02));
        assert_eq!(timing.late(), 0);
        assert!((timing.jitter_ms() - 0.02).abs() < 1e-3);
    }

    #[test]
    fn no_time_and_no_clock_overflows() {
        let mut timing = Timing::default();
        for at in [i64::MIN, i64::MAX, 0, i64::MAX, i64::MIN] {
            for (timestamp, rate) in [(0, 0), (u32::MAX, 1), (1 << 31, u32::MAX)] {
                timing.push(timestamp, rate, Timestamp::from_nanos(at));
                timing.push(timestamp ^ 1 << 31, rate, Timestamp::from_nanos(at));
            }
        }
    }

    proptest! {
        /// Against the estimator as RFC 3550, A.8 writes it, in floating point.
        #[test]
        fn jitter_is_that_of_the_rfc(delays in proptest::collection::vec(0.0_f64..80.0, 2..400)) {
            let mut arrivals: Vec<(f64, f64)> =
                delays.iter().zip(0_u32..).map(|(d, i)| (f64::from(i) * 20.0 + d, f64::from(i) * 20.0)).collect();
            arrivals.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut jitter = 0.0;
            for pair in arrivals.windows(2) {
                let change = (pair[1].0 - pair[1].1) - (pair[0].0 - pair[0].1);
                jitter += (change.abs() - jitter) / 16.0;
            }
            prop_assert!((feed(delays).jitter_ms() - jitter).abs() < 1e-3);
        }
    }
}
