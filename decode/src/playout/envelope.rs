//! The line under a run's delays: where media time lies on the capture clock, and how fast the sender's clock ran.
//!
//! Owns the arithmetic only: window minima of `arrival - media time`, their running least squares, and the
//! [`ClockMap`] drawn from them. Which packet belongs to which run is [`super::clock`]'s to decide.
//!
//! A network can delay a packet but never bring it early, so the smallest delays of a run are the true ones and all
//! others are jitter. Each second of arrivals gives one point, its smallest delay; a straight line through those
//! points is the sender's clock seen on ours (RFC 3550, 6.4.1 and appendix A.8 speak of the same transit time).

use crate::time::{NS_PER_S, Timestamp};

/// Length of one window of arrivals whose smallest delay becomes one point of the line.
const WINDOW_MS: i64 = 1_000;
/// A smallest delay this far below the second smallest is a stray packet's, not the network's floor.
const LONE_LOW_MS: i64 = 20;
/// Below this many points no slope is believed.
const SLOPE_POINTS_MIN: f64 = 12.0;
/// A slope is believed from this length of points on, or earlier when the drift is [`STEEP_DRIFT_S`].
const SLOPE_SPAN_S: f64 = 60.0;
/// Drift over a short run that no queue filling up along the path is likely to imitate.
const STEEP_DRIFT_S: f64 = 0.15;
/// Drift over the whole run below which the clocks count as equal, so that samples pass unchanged.
const DRIFT_MIN_S: f64 = 0.005;
/// How many standard errors away from zero a slope must be. Neighbouring windows share their congestion, so the error
/// is taken four times as large (in variance) as for independent points.
const SLOPE_ERRORS_MIN: f64 = 4.0;
/// How many of the lowest points are kept to find the floor of a run without drift.
const LOWEST: usize = 8;
/// One point in so many may lie below the floor: a device that now and then sends a packet early sets no floor.
const BELOW_FLOOR: f64 = 16.0;
/// A steeper slope (60,000 ppm, 3.6 s per minute) is not a clock.
const SLOPE_MAX: f64 = 0.06;

/// Ticks as nanoseconds at the nominal clock rate; saturates.
pub(super) fn ticks_to_ns(ticks: i64, clock_rate: u32) -> i64 {
    // A tick of these clocks, which nearly all calls have, is a whole number of nanoseconds: no division is needed.
    match clock_rate {
        8_000 => return ticks.saturating_mul(NS_PER_S / 8_000),
        16_000 => return ticks.saturating_mul(NS_PER_S / 16_000),
        _ => {}
    }
    let rate = i64::from(clock_rate.max(1));
    let (whole, rest) = (ticks.div_euclid(rate), ticks.rem_euclid(rate));
    // `rest` is below 2^32, so its product with 10^9 stays below 2^62.
    whole.saturating_mul(NS_PER_S).saturating_add(rest * NS_PER_S / rate)
}

/// Where ticks of one run lie on the capture clock: a straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockMap {
    anchor_ticks: i64,
    anchor_at: Timestamp,
    ns_per_tick: f64,
    slope: f64,
    residual_ms: f64,
}

impl ClockMap {
    /// When the sample at `ticks` would have been captured on a path that delays nothing beyond its minimum.
    #[must_use]
    pub fn at(&self, ticks: i64) -> Timestamp {
        let ns = ticks.saturating_sub(self.anchor_ticks) as f64 * self.ns_per_tick;
        // A float turned into an integer saturates, so no run however long can overflow.
        self.anchor_at.plus_nanos(ns.round() as i64)
    }

    /// The (fractional) tick whose sample belongs to `t`.
    #[must_use]
    pub fn ticks_at(&self, t: Timestamp) -> f64 {
        self.anchor_ticks as f64 + t.nanos_since(self.anchor_at) as f64 / self.ns_per_tick
    }

    /// How much faster the sender's clock ran than the capture clock, in parts per million; exactly 0 when no
    /// difference could be told.
    #[must_use]
    pub fn skew_ppm(&self) -> f64 {
        // Equal clocks give +0.0, not the -0.0 that the formula yields: the figure is printed.
        if self.slope == 0.0 { 0.0 } else { -self.slope / (1.0 + self.slope) * 1e6 }
    }

    /// Distance of the measured delay minima from the line, root mean square over the run's seconds, in milliseconds.
    #[must_use]
    pub fn residual_ms(&self) -> f64 {
        self.residual_ms
    }
}

/// Running statistics of one run's delays. Fixed size; each packet costs a comparison or two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope {
    clock_rate: u32,
    origin_ticks: i64,
    origin_delay: i64,
    /// Start of the open window, then its two smallest delays and the tick of the smallest.
    window_at: Timestamp,
    low: i64,
    low_ticks: i64,
    second: i64,
    /// Smallest delay of the window before.
    previous_low: i64,
    points: Points,
}

impl Envelope {
    /// A value of the line that every packet touches last, for `MediaClock::fetch`.
    #[inline]
    pub(super) fn fetch(&self) -> i64 {
        self.previous_low
    }

    /// Begins with the run's first packet.
    pub(super) fn new(at: Timestamp, ticks: i64, clock_rate: u32) -> Self {
        let delay = at.as_nanos().saturating_sub(ticks_to_ns(ticks, clock_rate));
        Envelope {
            clock_rate,
            origin_ticks: ticks,
            origin_delay: delay,
            window_at: at,
            low: delay,
            low_ticks: ticks,
            second: i64::MAX,
            previous_low: i64::MAX,
            points: Points::default(),
        }
    }

    /// Arrival less media time, in nanoseconds; only differences between two packets of one run mean anything.
    pub(super) fn delay(&self, at: Timestamp, ticks: i64) -> i64 {
        at.as_nanos().saturating_sub(ticks_to_ns(ticks, self.clock_rate))
    }

    /// The smallest delay of the last second or two: what the next packet's delay is held against.
    pub(super) fn level(&self) -> i64 {
        self.low.min(self.previous_low)
    }

    /// Takes one more packet of the run, with its [`delay`](Self::delay).
    #[inline]
    pub(super) fn push(&mut self, at: Timestamp, ticks: i64, delay: i64) {
        if at.nanos_since(self.window_at) >= WINDOW_MS * crate::time::NS_PER_MS {
            self.previous_low = self.low;
            self.close_window();
            (self.window_at, self.low, self.low_ticks, self.second) = (at, delay, ticks, i64::MAX);
        } else if delay < self.low {
            (self.second, self.low, self.low_ticks) = (self.low, delay, ticks);
        } else if delay < self.second {
            self.second = delay;
        }
    }

    /// Turns the open window's smallest delay into a point.
    #[inline(never)] // once a second
    fn close_window(&mut self) {
        let lone = self.second != i64::MAX
            && self.second.saturating_sub(self.low) > LONE_LOW_MS * crate::time::NS_PER_MS;
        let y = if lone { self.second } else { self.low };
        let rate = f64::from(self.clock_rate.max(1));
        let x = self.low_ticks.saturating_sub(self.origin_ticks) as f64 / rate;
        self.points.push(x, y.saturating_sub(self.origin_delay) as f64 / NS_PER_S as f64);
    }

    /// Takes in the statistics of a run on the same tick axis that turned out to be a part of this one.
    pub(super) fn absorb(&mut self, mut other: Envelope) {
        other.close_window();
        let rate = f64::from(self.clock_rate.max(1));
        let dx = other.origin_ticks.saturating_sub(self.origin_ticks) as f64 / rate;
        let dy = other.origin_delay.saturating_sub(self.origin_delay) as f64 / NS_PER_S as f64;
        self.points.merge(&other.points.shifted(dx, dy));
    }

    /// The line as it stands now.
    pub(super) fn map(&self) -> ClockMap {
        let mut closed = *self;
        closed.close_window();
        let line = closed.points.line();
        let base = ticks_to_ns(self.origin_ticks, self.clock_rate).saturating_add(self.origin_delay);
        ClockMap {
            anchor_ticks: self.origin_ticks,
            anchor_at: Timestamp::from_nanos(base)
                .plus_nanos((line.at_zero * NS_PER_S as f64).round() as i64),
            ns_per_tick: NS_PER_S as f64 / f64::from(self.clock_rate.max(1)) * (1.0 + line.slope),
            slope: line.slope,
            residual_ms: line.residual * 1e3,
        }
    }
}

/// A line through the points: seconds of delay over seconds of media time.
struct Line {
    slope: f64,
    at_zero: f64,
    residual: f64,
}

/// Running means and co-moments of the points (Welford's form, which keeps its digits over days).
#[derive(Clone, Copy, Debug)]
struct Points {
    n: f64,
    mean_x: f64,
    mean_y: f64,
    xx: f64,
    xy: f64,
    yy: f64,
    /// The smallest delays, ascending; infinite where there are fewer points.
    lowest: [f64; LOWEST],
    first_x: f64,
    last_x: f64,
}

impl Default for Points {
    fn default() -> Self {
        Points {
            n: 0.0,
            mean_x: 0.0,
            mean_y: 0.0,
            xx: 0.0,
            xy: 0.0,
            yy: 0.0,
            lowest: [f64::INFINITY; LOWEST],
            first_x: f64::INFINITY,
            last_x: f64::NEG_INFINITY,
        }
    }
}

impl Points {
    fn push(&mut self, x: f64, y: f64) {
        let mut one = Points { n: 1.0, mean_x: x, mean_y: y, first_x: x, last_x: x, ..Points::default() };
        one.insert_lowest(y);
        self.merge(&one);
    }

    fn merge(&mut self, other: &Points) {
        let n = self.n + other.n;
        if other.n == 0.0 {
            return;
        }
        let (dx, dy) = (other.mean_x - self.mean_x, other.mean_y - self.mean_y);
        let weight = self.n * other.n / n;
        self.xx += other.xx + dx * dx * weight;
        self.xy += other.xy + dx * dy * weight;
        self.yy += other.yy + dy * dy * weight;
        self.mean_x += dx * other.n / n;
        self.mean_y += dy * other.n / n;
        self.n = n;
        for &y in &other.lowest {
            self.insert_lowest(y);
        }
        self.first_x = self.first_x.min(other.first_x);
        self.last_x = self.last_x.max(other.last_x);
    }

    /// Keeps `y` among the lowest if it is one of them.
    fn insert_lowest(&mut self, mut y: f64) {
        for kept in &mut self.lowest {
            if y < *kept {
                std::mem::swap(kept, &mut y);
            }
        }
    }

    /// The delay that nearly no packet undercuts: the smallest, or in a longer run one of the smallest.
    fn floor(&self) -> f64 {
        let skipped = (self.n / BELOW_FLOOR) as usize;
        let floor = self.lowest.get(skipped.min(LOWEST - 1)).copied();
        floor.filter(|floor| floor.is_finite()).unwrap_or(0.0)
    }

    fn shifted(&self, dx: f64, dy: f64) -> Points {
        Points {
            mean_x: self.mean_x + dx,
            mean_y: self.mean_y + dy,
            lowest: self.lowest.map(|y| y + dy),
            first_x: self.first_x + dx,
            last_x: self.last_x + dx,
            ..*self
        }
    }

    /// The least-squares line when a drift can be told from noise, otherwise the level line under nearly all points.
    fn line(&self) -> Line {
        if let Some(slope) = self.believed_slope() {
            let rest = (self.yy - slope * self.xy).max(0.0);
            return Line {
                slope,
                at_zero: self.mean_y - slope * self.mean_x,
                residual: (rest / self.n).sqrt(),
            };
        }
        let at_zero = self.floor();
        let above = self.mean_y - at_zero;
        let variance = if self.n > 0.0 { self.yy / self.n } else { 0.0 };
        Line { slope: 0.0, at_zero, residual: (variance + above * above).sqrt() }
    }

    fn believed_slope(&self) -> Option<f64> {
        if self.n < SLOPE_POINTS_MIN || self.xx <= 0.0 {
            return None;
        }
        let slope = self.xy / self.xx;
        let span = self.last_x - self.first_x;
        let drift = (slope * span).abs();
        let variance = (self.yy - slope * self.xy).max(0.0) / self.n;
        let error = (4.0 * variance / self.xx).sqrt();
        let long_enough = span >= SLOPE_SPAN_S || drift >= STEEP_DRIFT_S;
        let told = drift >= DRIFT_MIN_S && slope.abs() >= SLOPE_ERRORS_MIN * error;
        (long_enough && told && slope.abs() <= SLOPE_MAX).then_some(slope)
    }
}
