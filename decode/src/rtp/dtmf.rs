//! Keyed digits from telephone-event packets (RFC 4733, 2.3 and 2.5).
//!
//! One event is sent as many packets that share one RTP timestamp: updates with a growing duration, then three with the end
//! bit. It is told once, when it ends, or when the next event begins or time passes although no end came.

use crate::time::{NS_PER_MS, Timestamp};

/// An event whose end never came is over after this long without an update.
const EVENT_TIMEOUT_MS: i64 = 500;

/// One keyed digit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digit {
    /// When its first packet was captured.
    pub at: Timestamp,
    /// `0`–`9`, `*`, `#`, `A`–`D`, or `!` for hook flash (event 16).
    pub digit: char,
    /// How long it was held, in milliseconds of the stream's clock.
    pub duration_ms: u32,
}

/// Does not show the digit: digits can be card numbers and must not reach a log.
impl std::fmt::Debug for Digit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Digit")
            .field("at", &self.at)
            .field("duration_ms", &self.duration_ms)
            .finish_non_exhaustive()
    }
}

struct Open {
    timestamp: u32,
    event: u8,
    started: Timestamp,
    updated: Timestamp,
    duration_ticks: u16,
}

/// Watches the telephone-event packets of one media stream.
#[derive(Default)]
pub struct Detector {
    open: Option<Open>,
    last_told: Option<(u32, u8)>,
}

impl Detector {
    /// Takes one payload. Gives a digit when one ended with it.
    pub fn push(&mut self, payload: &[u8], timestamp: u32, clock_rate: u32, at: Timestamp) -> Option<Digit> {
        let &[event, flags, high, low, ..] = payload else { return None };
        character(event)?;
        let duration_ticks = u16::from_be_bytes([high, low]);
        let ended = flags & 0x80 != 0;
        let mut told = None;
        if self.open.as_ref().is_some_and(|open| open.timestamp != timestamp || open.event != event) {
            told = self.close(clock_rate);
        }
        if self.last_told == Some((timestamp, event)) {
            return told;
        }
        let open =
            self.open.get_or_insert(Open { timestamp, event, started: at, updated: at, duration_ticks });
        open.updated = at;
        open.duration_ticks = open.duration_ticks.max(duration_ticks);
        if ended {
            // Both can only fall together when the previous event never ended; the older one is told, this one's
            // repeated end packets tell it next.
            told = told.or_else(|| self.close(clock_rate));
        }
        told
    }

    /// Is an event of this timestamp later than all that was seen? What is told again of earlier ones, as redundant data does, is none.
    #[must_use]
    pub fn is_news(&self, timestamp: u32) -> bool {
        let seen = self.open.as_ref().map(|open| open.timestamp).or(self.last_told.map(|(told, _)| told));
        // Media time wraps (RFC 3550, 5.1): up to half a turn ahead is later.
        seen.is_none_or(|seen| timestamp != seen && timestamp.wrapping_sub(seen) < 1 << 31)
    }

    /// Gives a digit whose end never came.
    pub fn poll(&mut self, clock_rate: u32, now: Timestamp) -> Option<Digit> {
        let open = self.open.as_ref()?;
        (now.nanos_since(open.updated) > EVENT_TIMEOUT_MS * NS_PER_MS)
            .then(|| self.close(clock_rate))
            .flatten()
    }

    fn close(&mut self, clock_rate: u32) -> Option<Digit> {
        let open = self.open.take()?;
        self.last_told = Some((open.timestamp, open.event));
        let duration_ms = u64::from(open.duration_ticks) * 1000 / u64::from(clock_rate.max(1));
        Some(Digit { at: open.started, digit: character(open.event)?, duration_ms: duration_ms as u32 })
    }
}

/// RFC 4733, table 3.
fn character(event: u8) -> Option<char> {
    Some(match event {
        0..=9 => char::from(b'0' + event),
        10 => '*',
        11 => '#',
        12..=15 => char::from(b'A' + (event - 12)),
        16 => '!',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn one_event_of_many_packets_is_one_digit() {
        let mut detector = Detector::default();
        let mut told = Vec::new();
        for (i, end) in [false, false, false, true, true, true].into_iter().enumerate() {
            let payload = [5, if end { 0x8a } else { 0x0a }, 0, 160 * (i as u8 + 1).min(1)];
            told.extend(detector.push(&payload, 1000, 8000, at(20 * i as i64)));
        }
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].digit, told[0].duration_ms, told[0].at), ('5', 20, at(0)));
    }

    #[test]
    fn the_same_digit_twice_is_two() {
        let mut detector = Detector::default();
        let end = [1, 0x80, 3, 32];
        let told: Vec<_> = [(0u32, 0i64), (0, 20), (0, 40), (4000, 500), (4000, 520)]
            .iter()
            .filter_map(|&(ts, ms)| detector.push(&end, ts, 8000, at(ms)))
            .collect();
        assert_eq!(told.len(), 2);
    }

    #[test]
    fn a_digit_without_end_is_told_by_the_next_or_by_time() {
        let mut detector = Detector::default();
        assert!(detector.push(&[10, 0, 1, 64], 0, 8000, at(0)).is_none());
        assert_eq!(detector.push(&[11, 0, 1, 64], 2000, 8000, at(250)).map(|d| d.digit), Some('*'));
        assert!(detector.poll(8000, at(300)).is_none());
        assert_eq!(detector.poll(8000, at(1000)).map(|d| d.digit), Some('#'));
    }

    #[test]
    fn short_or_unknown_payloads_tell_nothing() {
        let mut detector = Detector::default();
        for payload in [&[][..], &[1], &[1, 0x80, 0], &[200, 0x80, 0, 0]] {
            assert!(detector.push(payload, 0, 8000, at(0)).is_none());
        }
        assert!(detector.poll(8000, at(10_000)).is_none());
    }

    #[test]
    fn the_debug_form_hides_the_digit() {
        let digit = Digit { at: at(0), digit: '#', duration_ms: 1 };
        assert!(!format!("{digit:?}").contains('#'));
    }
}
