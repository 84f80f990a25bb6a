//! Media clocks: RTP timestamps of one party unwrapped into runs, each run mapped onto the capture clock.
//!
//! Owns the question "which stretch of continuous time does this packet belong to, and where in it" (RFC 3550, 5.1:
//! the timestamp is modulo 2^32, starts anywhere and is free to jump when a source restarts). It knows neither
//! sequence numbers nor payloads: loss is [`super::survey`]'s, sound is [`super::render`]'s. The call tracker runs one
//! of these per media direction while the call lasts, so the state is small and a packet allocates nothing unless it
//! opens a run.
//!
//! The decision rests on one figure, the *delay*: arrival less media time. Within a run it is flat, but for jitter
//! (which only adds) and drift (which is slow). So:
//!
//! - a delay that rises by [`STEP_MS`] and stays: the sender stood still without counting the pause (hold). A new run
//!   begins, anchored at its arrival, and the pause stays time. When the delay comes back within [`REJOIN_MS`], it was
//!   a network stall and both are one run again;
//! - a timestamp that leaps ahead of the arrivals, or back by more than [`REORDER_MS`]: the sender restarted its
//!   timestamps; a new run as well;
//! - a run is *confirmed* by a second packet that continues it. A lone packet that fits nowhere is a stray: it moves
//!   no length and no anchor.

pub use super::envelope::ClockMap;
use super::envelope::{Envelope, ticks_to_ns};
use crate::time::{NS_PER_MS, Timestamp};

/// Runs kept per party; packets that would open another are strays.
pub const RUNS_MAX: usize = 1024;
/// A change of delay from one packet to the next that jitter seldom makes, in milliseconds.
pub const STEP_MS: i64 = 150;
/// How late a packet may be against its run and still be taken as reordered, in milliseconds.
pub const REORDER_MS: i64 = 2_000;
/// How long after a step up of the delay its return heals the run, in milliseconds.
pub const REJOIN_MS: i64 = 3_000;
/// Unconfirmed runs kept at a time; the oldest gives way. Keeps a storm of garbage small.
const UNCONFIRMED_MAX: usize = 8;
/// Runs looked at, newest first, to find a packet's home.
const SEARCH_MAX: usize = 64;
/// Confirmed runs of one source that may still receive packets.
const ALIVE_MAX: usize = 2;
/// A delay this near a run's own needs no second opinion, in milliseconds.
const NEAR_MS: i64 = 40;
/// After an arrival gap a delay may differ by this fraction of the gap more: clocks drift while nobody looks.
const GAP_SLACK: i64 = 1_000;
/// Clock rate assumed for a format that names none, in Hz.
pub(super) const CLOCK_RATE_DEFAULT: u32 = 8_000;

/// Where [`MediaClock::push`] put a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// [`Run::id`] of its run, or [`Placement::STRAY`]. A run may later be joined to the one before it.
    pub run: u32,
    /// The packet's timestamp on the run's unwrapped axis; modulo 2^32 it is the RTP timestamp.
    pub ticks: i64,
}

impl Placement {
    /// The `run` of a packet that was put nowhere, because [`RUNS_MAX`] runs stand.
    pub const STRAY: u32 = u32::MAX;
}

/// One source's stretch of continuous timestamps.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Its number among the runs of its [`MediaClock`], ascending, never used twice.
    pub id: u32,
    /// Synchronization source.
    pub ssrc: u32,
    /// Ticks per second.
    pub clock_rate: u32,
    /// Unwrapped timestamp of its first sample.
    pub first_ticks: i64,
    /// Unwrapped timestamp after its last sample.
    pub end_ticks: i64,
    /// Packets in it, copies included.
    pub packets: u64,
    /// Older timestamps are another run's.
    floor_ticks: i64,
    /// The run that this one goes on from after a step up of the delay; `id` itself when there is none.
    before: u32,
    first_at: Timestamp,
    last_at: Timestamp,
    envelope: Envelope,
}

/// What the clock looks at in a packet.
#[derive(Clone, Copy)]
struct Arrival {
    at: Timestamp,
    ssrc: u32,
    timestamp: u32,
    clock_rate: u32,
    duration: i64,
}

/// Where a packet lies in a run that it may continue.
#[derive(Clone, Copy)]
struct Fit {
    /// Its unwrapped timestamp.
    ticks: i64,
    /// Arrival less media time, in nanoseconds.
    delay: i64,
    /// How far the delay is off the run's recent smallest, in nanoseconds.
    off: i64,
}

impl Run {
    fn open(id: u32, packet: &Arrival, ticks: i64, floor_ticks: i64, before: u32) -> Run {
        Run {
            id,
            ssrc: packet.ssrc,
            clock_rate: packet.clock_rate,
            first_ticks: ticks,
            end_ticks: ticks.saturating_add(packet.duration),
            packets: 1,
            floor_ticks,
            before,
            first_at: packet.at,
            last_at: packet.at,
            envelope: Envelope::new(packet.at, ticks, packet.clock_rate),
        }
    }

    /// Has a second packet continued it? Until then it may be a stray packet.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.packets >= 2
    }

    /// Where its ticks lie on the capture clock, as far as is known now.
    #[must_use]
    pub fn map(&self) -> ClockMap {
        self.envelope.map()
    }

    /// Length by its timestamps, in nanoseconds of the sender's clock.
    fn media_ns(&self) -> i64 {
        ticks_to_ns(self.end_ticks.saturating_sub(self.first_ticks), self.clock_rate)
    }

    fn is_of(&self, packet: &Arrival) -> bool {
        self.ssrc == packet.ssrc && self.clock_rate == packet.clock_rate
    }

    /// The unwrapped timestamp nearest to the run's end.
    fn unwrap_ticks(&self, timestamp: u32) -> i64 {
        unwrap_near(self.end_ticks, timestamp)
    }

    /// Where the packet lies in the run; none when it does not continue it.
    #[inline]
    fn fit(&self, packet: &Arrival) -> Option<Fit> {
        let ticks = self.unwrap_ticks(packet.timestamp);
        let delay = self.envelope.delay(packet.at, ticks);
        let off = delay.saturating_sub(self.envelope.level());
        let step = STEP_MS * NS_PER_MS + packet.at.nanos_since(self.last_at).max(0) / GAP_SLACK;
        if ticks < self.floor_ticks {
            return None;
        }
        let ahead = ticks.saturating_sub(self.end_ticks);
        let fits = if off < -step {
            // Early against the run. A queue that drains brings the next packet in line; a timestamp that leapt
            // leaves a hole of about the same size.
            ticks_to_ns(ahead, self.clock_rate) < off.saturating_neg() / 2
        } else if ahead < 0 {
            off <= REORDER_MS * NS_PER_MS
        } else {
            off <= step
        };
        fits.then_some(Fit { ticks, delay, off })
    }

    #[inline]
    fn accept(&mut self, packet: &Arrival, fit: Fit) {
        self.first_ticks = self.first_ticks.min(fit.ticks);
        self.end_ticks = self.end_ticks.max(fit.ticks.saturating_add(packet.duration));
        self.last_at = self.last_at.max(packet.at);
        self.packets = self.packets.saturating_add(1);
        self.envelope.push(packet.at, fit.ticks, fit.delay);
    }

    fn absorb(&mut self, other: &Run) {
        self.first_ticks = self.first_ticks.min(other.first_ticks);
        self.end_ticks = self.end_ticks.max(other.end_ticks);
        self.last_at = self.last_at.max(other.last_at);
        self.packets = self.packets.saturating_add(other.packets);
        self.envelope.absorb(other.envelope);
    }
}

/// The tick nearest to `near` that is `timestamp` modulo 2^32.
pub(super) fn unwrap_near(near: i64, timestamp: u32) -> i64 {
    // The truncation is the modulo, and the wrapped difference read as signed is the short way round.
    let difference = timestamp.wrapping_sub(near as u32) as i32;
    near.saturating_add(i64::from(difference))
}

/// Unwraps one party's RTP timestamps and maps them to capture time.
#[derive(Clone, Debug, Default)]
pub struct MediaClock {
    runs: Vec<Run>,
    /// Index of the run that took the last packet; below [`RUNS_MAX`].
    latest: u32,
    next_id: u32,
    /// The run opened last by a step up of the delay, while its return can still heal it.
    step: Option<u32>,
    strays: u64,
}

impl MediaClock {
    /// Values of the run that takes the next packet, for [`crate::tracker`] to fetch it ahead.
    #[inline]
    pub(crate) fn fetch(&self) -> Option<(u32, Timestamp, i64)> {
        let run = self.runs.get(self.latest as usize)?;
        Some((run.ssrc, run.last_at, run.envelope.fetch()))
    }

    /// A clock that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one packet of audio or comfort noise in arrival order. `duration_ticks` is its length (0 when unknown,
    /// at most a second is believed). Telephone events (RFC 4733) do not belong here: all packets of one event carry
    /// the time of its beginning.
    pub fn push(
        &mut self,
        at: Timestamp,
        ssrc: u32,
        timestamp: u32,
        clock_rate: u32,
        duration_ticks: u32,
    ) -> Placement {
        let clock_rate = if clock_rate == 0 { CLOCK_RATE_DEFAULT } else { clock_rate };
        let duration = i64::from(duration_ticks.min(clock_rate));
        let packet = Arrival { at, ssrc, timestamp, clock_rate, duration };
        let Some((index, fit)) = self.home_of(&packet) else { return self.open(&packet) };
        let Some(run) = self.runs.get_mut(index) else { return self.open(&packet) };
        run.accept(&packet, fit);
        let (id, ticks) = (run.id, fit.ticks);
        self.latest = index as u32;
        match self.step {
            Some(step) => Placement { run: self.heal(step, id, &packet), ticks },
            None => Placement { run: id, ticks },
        }
    }

    /// Every run, in the order of their first packets. Those not [confirmed](Run::is_confirmed) hold one stray packet.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The runs that count: the confirmed ones, or when there are none, whatever came.
    pub fn counted(&self) -> impl Iterator<Item = &Run> {
        let any = self.runs.iter().any(Run::is_confirmed);
        self.runs.iter().filter(move |run| run.is_confirmed() || !any)
    }

    /// Packets that belong to no run that still stands.
    #[must_use]
    pub fn strays(&self) -> u64 {
        self.strays
    }

    /// Mapped time of the first sample over all runs; none before the first packet.
    #[must_use]
    pub fn start(&self) -> Option<Timestamp> {
        self.counted().map(|run| run.map().at(run.first_ticks)).min()
    }

    /// Mapped end of the last sample over all runs; none before the first packet.
    #[must_use]
    pub fn end(&self) -> Option<Timestamp> {
        self.counted().map(|run| run.map().at(run.end_ticks)).max()
    }

    /// Length of the audio by its RTP timestamps, summed over the runs, in milliseconds to the nearest. Silence inside
    /// a run counts, time between runs does not, and time that two runs share counts once.
    #[must_use]
    pub fn audio_ms(&self) -> u64 {
        let mut spans: Vec<(Timestamp, Timestamp, i64)> = self
            .counted()
            .map(|run| (run.map().at(run.first_ticks), run.map().at(run.end_ticks), run.media_ns()))
            .collect();
        spans.sort_unstable();
        let (mut total, mut covered) = (0_i64, Timestamp::MIN);
        for (start, end, media) in spans {
            // What an earlier run covers is taken off in capture time; over an overlap the drift is nothing.
            let shared = if covered > start { covered.min(end).nanos_since(start) } else { 0 };
            total = total.saturating_add(media.saturating_sub(shared).max(0));
            covered = covered.max(end);
        }
        Timestamp::from_nanos(total).millis_since(Timestamp::from_nanos(0))
    }

    /// How much faster the sender's clock ran than the capture clock, in parts per million, measured on the longest
    /// run; 0 when nothing can be told yet.
    #[must_use]
    pub fn skew_ppm(&self) -> f64 {
        self.longest().map_or(0.0, |run| run.map().skew_ppm())
    }

    /// How far the delay minima of the longest run lie off its line, root mean square, in milliseconds.
    #[must_use]
    pub fn residual_ms(&self) -> f64 {
        self.longest().map_or(0.0, |run| run.map().residual_ms())
    }

    fn longest(&self) -> Option<&Run> {
        self.counted().max_by_key(|run| run.media_ns())
    }

    /// The run that the packet continues, and where it lies there.
    #[inline]
    fn home_of(&self, packet: &Arrival) -> Option<(usize, Fit)> {
        if let Some(run) = self.runs.get(self.latest as usize)
            && run.is_confirmed()
            && run.is_of(packet)
            && let Some(fit) = run.fit(packet)
            && fit.off.saturating_abs() <= NEAR_MS * NS_PER_MS
        {
            return Some((self.latest as usize, fit));
        }
        self.search(packet)
    }

    /// Of the runs that the packet could continue, the one whose delay it shares best.
    #[inline(never)] // packets are nearly always near the latest one
    fn search(&self, packet: &Arrival) -> Option<(usize, Fit)> {
        let mut best: Option<(usize, Fit)> = None;
        let mut alive = 0;
        for (index, run) in self.runs.iter().enumerate().rev().take(SEARCH_MAX) {
            if !run.is_of(packet) {
                continue;
            }
            if let Some(fit) = run.fit(packet)
                && best.is_none_or(|(_, least)| fit.off.saturating_abs() < least.off.saturating_abs())
            {
                best = Some((index, fit));
            }
            alive += usize::from(run.is_confirmed());
            if alive == ALIVE_MAX {
                break;
            }
        }
        best
    }

    /// Opens a run with a packet that continues none.
    #[inline(never)]
    fn open(&mut self, packet: &Arrival) -> Placement {
        self.drop_oldest_stray();
        let before = self
            .runs
            .iter()
            .rev()
            .take(SEARCH_MAX)
            .find(|run| run.is_of(packet) && run.is_confirmed())
            .map(|run| (run.id, run.end_ticks, run.unwrap_ticks(packet.timestamp), run.envelope));
        let ticks = before.map_or(i64::from(packet.timestamp), |(.., ticks, _)| ticks);
        if self.runs.len() >= RUNS_MAX {
            self.strays = self.strays.saturating_add(1);
            return Placement { run: Placement::STRAY, ticks };
        }
        let id = self.next_id;
        self.next_id = self.next_id.saturating_add(1);
        let reorder = REORDER_MS.saturating_mul(i64::from(packet.clock_rate)) / 1_000;
        let mut floor = ticks.saturating_sub(reorder);
        let mut goes_on = id;
        if let Some((before, end, _, envelope)) = before
            && ticks >= end
        {
            // Forward on the same axis: what is older stays with the run before.
            floor = floor.max(end);
            if envelope.delay(packet.at, ticks) > envelope.level() {
                goes_on = before;
                self.step = Some(id);
            }
        }
        self.latest = self.runs.len() as u32;
        if self.runs.is_empty() {
            // Nearly all sources have one.
            self.runs.reserve_exact(1);
        }
        self.runs.push(Run::open(id, packet, ticks, floor, goes_on));
        Placement { run: id, ticks }
    }

    /// Makes room among the unconfirmed runs: they hold one packet each that nothing has continued.
    fn drop_oldest_stray(&mut self) {
        let newest = self.runs.iter().rev().take(SEARCH_MAX);
        if newest.filter(|run| !run.is_confirmed()).count() < UNCONFIRMED_MAX {
            return;
        }
        if let Some(index) = self.runs.iter().position(|run| !run.is_confirmed()) {
            self.runs.remove(index);
            self.strays = self.strays.saturating_add(1);
        }
    }

    /// Joins the run `step` to the one before it when the delay has come back: it was a stall, not a pause. Gives
    /// the run in which the packet just accepted into `taken` now lies.
    #[inline(never)]
    fn heal(&mut self, step: u32, taken: u32, packet: &Arrival) -> u32 {
        let index_of = |id: u32| self.runs.iter().rposition(|run| run.id == id);
        let found = index_of(step).and_then(|late| {
            let late_run = self.runs.get(late)?;
            let early = index_of(late_run.before)?;
            Some((late, early, *late_run))
        });
        let Some((late, early, late_run)) = found else {
            self.step = None;
            return taken;
        };
        if packet.at.nanos_since(late_run.first_at) > REJOIN_MS * NS_PER_MS {
            self.step = None;
            return taken;
        }
        let Some(early_run) = self.runs.get_mut(early) else { return taken };
        let delay = early_run.envelope.delay(packet.at, early_run.unwrap_ticks(packet.timestamp));
        let back = delay.saturating_sub(early_run.envelope.level()) <= STEP_MS / 2 * NS_PER_MS;
        if !back || (taken != early_run.id && taken != step) {
            return taken;
        }
        let joined = early_run.id;
        early_run.absorb(&late_run);
        self.runs.remove(late);
        self.latest = if early < late { early } else { early.saturating_sub(1) } as u32;
        self.step = None;
        joined
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::playout::scene::Dice;

    const RATE: u32 = 8_000;
    const PACKET: u32 = 160;

    /// A sender of 20 ms packets whose clock is `ppm` fast, seen through a network that delays by up to `jitter_ms`.
    struct Sender {
        clock: MediaClock,
        ssrc: u32,
        timestamp: u32,
        /// When the next packet leaves, in nanoseconds.
        now: f64,
        ppm: f64,
        jitter_ms: f64,
        dice: Dice,
    }

    impl Sender {
        fn new(timestamp: u32, ppm: f64, jitter_ms: f64) -> Self {
            let clock = MediaClock::new();
            Sender { clock, ssrc: 1, timestamp, now: 1e15, ppm, jitter_ms, dice: Dice::new(1) }
        }

        fn send(&mut self, packets: u32) -> &mut Self {
            for _ in 0..packets {
                let delay = -self.dice.unit().ln() * self.jitter_ms / 4.0;
                self.arrive(delay.min(self.jitter_ms));
                self.skip(PACKET);
            }
            self
        }

        fn arrive(&mut self, delay_ms: f64) -> Placement {
            let at = Timestamp::from_nanos((self.now + delay_ms * 1e6) as i64);
            self.clock.push(at, self.ssrc, self.timestamp, RATE, PACKET)
        }

        /// The sender's clock goes on.
        fn skip(&mut self, ticks: u32) -> &mut Self {
            self.timestamp = self.timestamp.wrapping_add(ticks);
            self.wait_ms(f64::from(ticks) / 8.0 / (1.0 + self.ppm / 1e6))
        }

        /// Time passes that the sender's clock does not count.
        fn wait_ms(&mut self, ms: f64) -> &mut Self {
            self.now += ms * 1e6;
            self
        }

        fn runs(&self) -> usize {
            self.clock.counted().count()
        }

        fn length_ms(&self) -> i64 {
            let (start, end) = (self.clock.start().expect("packets"), self.clock.end().expect("packets"));
            (end.nanos_since(start) as f64 / 1e6).round() as i64
        }

        /// How far the map of the last run puts the next packet's departure off the truth, in milliseconds.
        fn error_ms(&self) -> f64 {
            let run = self.clock.runs().last().expect("a run");
            let mapped = run.map().at(run.unwrap_ticks(self.timestamp));
            (mapped.as_nanos() as f64 - self.now) / 1e6
        }
    }

    #[test]
    fn timestamps_wrap_without_a_seam() {
        let mut sender = Sender::new(u32::MAX - 1_000, 0.0, 0.0);
        sender.send(500);
        assert_eq!((sender.runs(), sender.length_ms(), sender.clock.audio_ms()), (1, 10_000, 10_000));
        assert_eq!(sender.clock.skew_ppm(), 0.0);
    }

    #[test]
    fn reordered_packets_stay_in_their_run_even_before_the_first() {
        let mut clock = MediaClock::new();
        for i in [2_u32, 0, 1, 4, 3, 6, 5, 8, 7] {
            let at = Timestamp::from_millis(20 * i64::from(i.max(2)) + 1_000);
            let placement = clock.push(at, 1, 800 + 160 * i, RATE, PACKET);
            assert_eq!(placement, Placement { run: 0, ticks: i64::from(800 + 160 * i) });
        }
        assert_eq!((clock.runs().len(), clock.audio_ms()), (1, 180));
    }

    #[test]
    fn a_thirty_minute_leap_of_the_timestamp_takes_no_time() {
        for leap in [30 * 60 * RATE, 0_u32.wrapping_sub(30 * 60 * RATE), 1 << 31, (1 << 31) + 1] {
            let mut sender = Sender::new(77, 0.0, 5.0);
            sender.send(500);
            sender.timestamp = sender.timestamp.wrapping_add(leap);
            sender.send(500);
            assert_eq!(sender.runs(), 2, "{leap}");
            assert!((sender.length_ms() - 20_000).abs() <= 5, "{leap}: {}", sender.length_ms());
            assert!(sender.clock.audio_ms().abs_diff(20_000) <= 5, "{leap}: {}", sender.clock.audio_ms());
        }
    }

    #[test]
    fn a_hold_that_the_timestamp_does_not_count_stays_time() {
        for pause_ms in [200.0, 1_500.0, 60_000.0, 1_800_000.0] {
            let mut sender = Sender::new(9, 0.0, 4.0);
            sender.send(250).wait_ms(pause_ms).send(250);
            assert_eq!(sender.runs(), 2, "{pause_ms}");
            assert!((sender.length_ms() - 10_000 - pause_ms as i64).abs() <= 4, "{pause_ms}");
            assert!(sender.error_ms().abs() <= 2.0, "{pause_ms}: {}", sender.error_ms());
            assert!(sender.clock.audio_ms().abs_diff(10_000) <= 4);
        }
    }

    #[test]
    fn a_packet_from_before_a_pause_that_comes_after_it_stays_before_it() {
        let mut sender = Sender::new(0, 0.0, 0.0);
        sender.send(100).skip(PACKET).send(1).wait_ms(300.0).send(1);
        let at = Timestamp::from_nanos(sender.now as i64);
        sender.clock.push(at, 1, 16_000, RATE, PACKET);
        sender.send(100);
        let ends: Vec<_> = sender.clock.runs().iter().map(|run| (run.first_ticks, run.end_ticks)).collect();
        assert_eq!(ends, [(0, 16_320), (16_320, 32_480)]);
    }

    #[test]
    fn a_silence_that_the_timestamp_counts_is_one_run() {
        let mut sender = Sender::new(9, 100.0, 4.0);
        sender.send(250).skip(30 * 60 * RATE).send(250);
        assert_eq!((sender.runs(), sender.clock.audio_ms()), (1, 1_810_000));
    }

    #[test]
    fn a_network_stall_is_no_pause() {
        for (stall_packets, drain_ms) in [(12, 0.5), (45, 0.5), (200, 0.1), (100, 10.0)] {
            let mut sender = Sender::new(9, 0.0, 3.0);
            sender.send(500);
            // All packets of the stall come in a burst after it.
            for i in 0..stall_packets {
                let held = f64::from(stall_packets - i) * 20.0 + f64::from(i) * drain_ms;
                sender.arrive(held);
                sender.skip(PACKET);
            }
            sender.send(500);
            let length = (1_000 + i64::from(stall_packets)) * 20;
            assert!((sender.length_ms() - length).abs() <= 3, "{stall_packets}: {}", sender.length_ms());
            assert!(sender.clock.audio_ms().abs_diff(length.unsigned_abs()) <= 3, "{stall_packets}");
            assert!(sender.error_ms().abs() <= 1.0, "{stall_packets}: {}", sender.error_ms());
            if drain_ms < 1.0 && stall_packets * 20 < REJOIN_MS as i32 {
                assert_eq!(sender.clock.runs().len(), 1, "{stall_packets}: healed");
            }
        }
    }

    #[test]
    fn a_lone_garbage_packet_moves_nothing() {
        for garbage in [0, 1 << 30, 1 << 31, u32::MAX - 500_000, 4_000_000, 124_000, 129_000, 60_000] {
            let mut sender = Sender::new(100_000, 0.0, 2.0);
            sender.send(100);
            let at = Timestamp::from_nanos(sender.now as i64);
            sender.clock.push(at, 1, garbage, RATE, PACKET);
            sender.send(100);
            assert_eq!((sender.runs(), sender.length_ms()), (1, 4_000), "{garbage}");
            assert_eq!(sender.clock.audio_ms(), 4_000, "{garbage}");
        }
    }

    #[test]
    fn a_garbage_packet_at_the_very_beginning_moves_nothing() {
        let mut sender = Sender::new(100_000, 0.0, 2.0);
        sender.clock.push(Timestamp::from_nanos(1e15 as i64 - 5_000_000_000), 1, 77, RATE, PACKET);
        sender.send(100);
        assert_eq!((sender.runs(), sender.length_ms()), (1, 2_000));
    }

    #[test]
    fn a_first_packet_that_was_held_up_does_not_shift_the_rest() {
        let mut sender = Sender::new(0, 0.0, 2.0);
        sender.arrive(400.0);
        sender.skip(PACKET);
        sender.arrive(381.0);
        sender.skip(PACKET);
        sender.wait_ms(0.0).send(200);
        assert_eq!((sender.runs(), sender.length_ms()), (1, 4_040));
        assert!(sender.error_ms().abs() <= 0.5, "{}", sender.error_ms());
    }

    #[test]
    fn packets_sent_early_now_and_then_do_not_shift_the_run() {
        // One in a short run; two next to each other, each 32 s, in a longer one.
        for (seconds, together, early_ms) in [(4, 1, 60.0), (80, 2, 20.0)] {
            let mut sender = Sender::new(7, 0.0, 1.0);
            for second in 0..seconds {
                sender.send(if second % 32 == 1 { 50 - together } else { 50 });
                for _ in 0..if second % 32 == 1 { together } else { 0 } {
                    sender.arrive(-early_ms);
                    sender.skip(PACKET);
                }
            }
            assert!(sender.error_ms().abs() < 0.5, "{seconds} s: {}", sender.error_ms());
        }
    }

    #[test]
    fn drift_is_measured_to_a_few_ppm_and_corrected_over_an_hour() {
        for ppm in [-200.0, -20.0, 35.0, 200.0] {
            let mut sender = Sender::new(0xffff_0000, ppm, 20.0);
            sender.send(1);
            let mut worst: f64 = 0.0;
            for _ in 0..60 {
                sender.send(3_000);
            }
            let run = *sender.clock.runs().first().expect("a run");
            let start = 1e15;
            for ticks in (0..28_800_000_i64).step_by(80_000) {
                let sent = start + ticks as f64 * 125_000.0 / (1.0 + ppm / 1e6);
                let mapped = run.map().at(run.first_ticks + ticks).as_nanos() as f64;
                worst = worst.max((mapped - sent).abs() / 1e6);
            }
            assert_eq!(sender.runs(), 1);
            assert!((sender.clock.skew_ppm() - ppm).abs() < 1.0, "{ppm}: {}", sender.clock.skew_ppm());
            assert!(worst < 2.0, "{ppm}: {worst} ms");
            assert!(sender.clock.residual_ms() < 2.0);
        }
    }

    #[test]
    fn a_clock_seconds_per_minute_off_is_followed() {
        for ppm in [-30_000.0, -5_000.0, 16_000.0, 45_000.0] {
            let mut sender = Sender::new(5, ppm, 10.0);
            sender.send(6_000);
            assert_eq!(sender.runs(), 1, "{ppm}");
            assert!((sender.clock.skew_ppm() - ppm).abs() < 20.0, "{ppm}: {}", sender.clock.skew_ppm());
            assert!(sender.error_ms().abs() < 2.0, "{ppm}: {}", sender.error_ms());
        }
    }

    #[test]
    fn equal_clocks_have_no_skew_at_all_whatever_the_jitter() {
        for (jitter_ms, packets) in [(0.0, 180_000), (30.0, 180_000), (100.0, 3_000), (60.0, 400)] {
            let mut sender = Sender::new(5, 0.0, jitter_ms);
            sender.send(packets);
            assert_eq!(sender.clock.skew_ppm(), 0.0, "{jitter_ms} ms");
            assert_eq!(sender.runs(), 1);
        }
    }

    #[test]
    fn two_forks_talking_at_once_are_two_runs_and_their_time_counts_once() {
        let mut clock = MediaClock::new();
        for i in 0..100_u32 {
            let at = Timestamp::from_millis(20 * i64::from(i));
            assert_eq!(clock.push(at, 1, 160 * i, RATE, PACKET).run, 0);
            assert_eq!(clock.push(at, 2, 7_000_000 + 160 * i, RATE, PACKET).run, 1);
        }
        assert_eq!((clock.runs().len(), clock.audio_ms()), (2, 2_000));
    }

    #[test]
    fn a_storm_of_garbage_stays_small_and_the_voice_in_it_is_found() {
        let mut sender = Sender::new(5, 0.0, 2.0);
        let mut dice = Dice::new(9);
        for i in 0..5_000 {
            sender.send(1);
            for _ in 0..3 {
                let at = Timestamp::from_nanos(sender.now as i64);
                let ssrc = if i % 2 == 0 { 1 } else { dice.next() };
                sender.clock.push(at, ssrc, dice.next(), RATE, PACKET);
            }
        }
        assert!(sender.clock.runs().len() < 100, "{}", sender.clock.runs().len());
        assert!(sender.clock.runs().iter().any(|run| run.packets > 4_900 && run.ssrc == 1));
    }

    #[test]
    fn runs_are_bounded() {
        let mut clock = MediaClock::new();
        for i in 0..10_000_u32 {
            let at = Timestamp::from_millis(100 * i64::from(i));
            clock.push(at, i, 0, RATE, PACKET);
            clock.push(at.plus_millis(20), i, 160, RATE, PACKET);
        }
        assert_eq!(clock.runs().len(), RUNS_MAX);
        assert!(clock.strays() > 0);
    }

    proptest! {
        #[test]
        fn any_packets_at_any_time_keep_the_clock_sane(
            packets in proptest::collection::vec((any::<i64>(), 0_u32..3, any::<u32>(), any::<u32>(), any::<u32>()), 0..200)
        ) {
            let mut clock = MediaClock::new();
            for (at, ssrc, timestamp, clock_rate, duration) in packets {
                clock.push(Timestamp::from_nanos(at), ssrc, timestamp, clock_rate, duration);
            }
            prop_assert!(clock.start() <= clock.end());
            prop_assert!(clock.skew_ppm().abs() <= 70_000.0 && clock.residual_ms() >= 0.0);
            prop_assert!(clock.audio_ms() < u64::MAX);
        }
    }
}
