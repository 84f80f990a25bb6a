//! What one source's stream lacks: every gap exact to the packet, bursts (RFC 3611, 4.7.2), and the imperfect seconds.
//!
//! A clean packet costs one comparison and one addition; everything else here runs only where something is missing, late
//! or out of order. A gap stays open for as long as a packet may still come and fill it, which is the window of
//! [`Stream`], and is then settled: listed, and counted among the bursts.
//!
//! A missing packet is the capture's loss when frames were dropped by us within [`DROP_SHADOW_MS`] of its gap, otherwise
//! the network's. Its second is where it would have come, evenly between its neighbours.

use std::collections::VecDeque;

use super::stream::{Arrival, Stream, WINDOW};
use crate::time::{NS_PER_MS, NS_PER_S, Timestamp};

/// Packets that must come between two losses for these not to belong to one burst (RFC 3611, 4.7.2: Gmin).
pub const GMIN: u64 = 16;
/// Gaps listed per source, in order of time; more are counted, not listed.
pub const GAPS_MAX: usize = 500;
/// Imperfect seconds kept apart per source; when there are more, rows are made twice as wide and neighbours summed up.
pub const SECONDS_MAX: usize = 1_200;
/// Loss within this time before or after the capture dropped frames is the capture's, in milliseconds.
pub const DROP_SHADOW_MS: i64 = 1_000;

/// Packets missing in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When the first of them would have come.
    pub at: Timestamp,
    /// RTP sequence number of the first of them.
    pub sequence: u16,
    /// How many.
    pub packets: u32,
    /// Our own capture lost frames around it; otherwise the network did.
    pub by_capture: bool,
}

/// Losses that lie close together, and the others (RFC 3611, 4.7.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bursts {
    /// Bursts: two losses or more with fewer than [`GMIN`] packets between neighbours.
    pub count: u64,
    /// Packets sent during bursts, from the first lost one to the last lost one.
    pub packets: u64,
    /// Packets lost in bursts.
    pub lost: u64,
    /// Packets lost alone.
    pub lost_alone: u64,
    /// Gaps: losses in a row count once.
    pub gaps: u64,
    /// Most packets lost in a row.
    pub longest: u64,
}

impl Bursts {
    /// Takes in those of another source.
    pub fn add(&mut self, other: &Bursts) {
        self.count += other.count;
        self.packets += other.packets;
        self.lost += other.lost;
        self.lost_alone += other.lost_alone;
        self.gaps += other.gaps;
        self.longest = self.longest.max(other.longest);
    }

    /// Share of the packets sent during bursts that were lost, 0 to 1.
    #[must_use]
    pub fn burst_density(&self) -> f64 {
        ratio(self.lost, self.packets)
    }

    /// Share of the packets sent between bursts that were lost, 0 to 1; `expected` is all that were sent.
    #[must_use]
    pub fn gap_density(&self, expected: u64) -> f64 {
        ratio(self.lost_alone, expected.saturating_sub(self.packets))
    }

    /// How much longer losses in a row are than they would be if packets were lost independently (G.107, 7.5: BurstR);
    /// 1 when nothing is lost.
    #[must_use]
    pub fn ratio(&self, expected: u64) -> f64 {
        let lost = self.lost + self.lost_alone;
        if self.gaps == 0 || lost >= expected {
            return 1.0;
        }
        let by_chance = 1.0 / (1.0 - ratio(lost, expected));
        ratio(lost, self.gaps) / by_chance
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// One second of capture time in which something was not as it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Second {
    /// Whole seconds since the epoch; a multiple of the width of the rows.
    pub second: i64,
    /// Packets that came whole, copies not counted.
    pub received: u32,
    /// Missing, by the network's fault.
    pub lost_network: u32,
    /// Missing, or cut short, by the capture's fault.
    pub lost_capture: u32,
    /// Came too late for a listener (see [`super::timing`]).
    pub late: u32,
    /// Came after a later one.
    pub reordered: u32,
    /// Copies.
    pub duplicates: u32,
}

impl Second {
    /// Packets that were sent.
    #[must_use]
    pub fn expected(&self) -> u32 {
        self.received.saturating_add(self.lost_network).saturating_add(self.lost_capture)
    }

    fn add(&mut self, other: &Second) {
        let sum = |a: &mut u32, b: u32| *a = a.saturating_add(b);
        sum(&mut self.received, other.received);
        sum(&mut self.lost_network, other.lost_network);
        sum(&mut self.lost_capture, other.lost_capture);
        sum(&mut self.late, other.late);
        sum(&mut self.reordered, other.reordered);
        sum(&mut self.duplicates, other.duplicates);
    }

    /// Copies alone make no second imperfect: a mirror of both directions shows every packet twice.
    fn is_imperfect(&self) -> bool {
        [self.lost_network, self.lost_capture, self.late, self.reordered].iter().any(|&count| count > 0)
    }
}

/// The imperfect seconds of a stream, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seconds {
    /// How many seconds one row stands for: 1, or a power of two when [`SECONDS_MAX`] rows were too few. A row sums up
    /// the imperfect seconds among those that it stands for.
    pub width_s: u32,
    /// The rows.
    pub rows: Vec<Second>,
}

impl Default for Seconds {
    fn default() -> Self {
        Seconds { width_s: 1, rows: Vec::new() }
    }
}

impl Seconds {
    /// Takes in those of another source of the same party.
    pub fn merge(&mut self, mut other: Seconds) {
        while self.width_s < other.width_s {
            self.widen();
        }
        while other.width_s < self.width_s {
            other.widen();
        }
        for row in &other.rows {
            self.row(row.second).add(row);
        }
        self.bound();
    }

    /// The row of a second, a new one if need be.
    fn row(&mut self, second: i64) -> &mut Second {
        let second = second - second.rem_euclid(i64::from(self.width_s));
        let at = match self.rows.last() {
            // Nearly always the latest row, or one behind it.
            Some(last) if last.second == second => self.rows.len() - 1,
            Some(last) if last.second > second => self.rows.partition_point(|row| row.second < second),
            _ => self.rows.len(),
        };
        if self.rows.get(at).is_none_or(|row| row.second != second) {
            self.rows.insert(at, Second { second, ..Second::default() });
        }
        &mut self.rows[at]
    }

    fn lose(&mut self, second: i64, packets: u32, by_capture: bool) {
        let row = self.row(second);
        let lost = if by_capture { &mut row.lost_capture } else { &mut row.lost_network };
        *lost = lost.saturating_add(packets);
    }

    /// A packet that was lost has come.
    fn find(&mut self, second: i64, by_capture: bool) {
        let row = self.row(second);
        let lost = if by_capture { &mut row.lost_capture } else { &mut row.lost_network };
        *lost = lost.saturating_sub(1);
    }

    /// What the network was thought to have lost, the capture has.
    fn blame_capture(&mut self, second: i64, packets: u32) {
        let row = self.row(second);
        row.lost_network = row.lost_network.saturating_sub(packets);
        row.lost_capture = row.lost_capture.saturating_add(packets);
    }

    fn is_listed(&self, second: i64) -> bool {
        let second = second - second.rem_euclid(i64::from(self.width_s));
        self.rows.last().is_some_and(|last| last.second >= second)
            && self.rows.binary_search_by_key(&second, |row| row.second).is_ok()
    }

    fn bound(&mut self) {
        while self.rows.len() > SECONDS_MAX {
            self.widen();
        }
    }

    fn widen(&mut self) {
        self.width_s = self.width_s.saturating_mul(2);
        let width = i64::from(self.width_s);
        let mut rows: Vec<Second> = Vec::with_capacity(self.rows.len() / 2 + 1);
        for row in &self.rows {
            let second = row.second - row.second.rem_euclid(width);
            match rows.last_mut().filter(|last| last.second == second) {
                Some(last) => last.add(row),
                None => rows.push(Second { second, ..*row }),
            }
        }
        self.rows = rows;
    }
}

/// Watches one source's stream.
#[derive(Clone, Debug)]
pub struct Watch {
    /// End of the open second, in nanoseconds since the epoch, and its packets.
    second_ends: i64,
    received: u32,
    /// When the packet with the highest sequence number came.
    newest_at: Timestamp,
    log: Box<Log>,
}

/// What is not needed for a clean packet.
#[derive(Clone, Debug, Default)]
struct Log {
    /// The rest of the open second.
    open: Second,
    /// The last second that was clean: its second and packets. A gap found later may begin in it.
    last_clean: (i64, u32),
    /// Gaps that may still be filled, ascending. At most one for two places of the window.
    holes: VecDeque<Hole>,
    /// When frames were dropped last.
    dropped_at: Option<Timestamp>,
    found: Found,
    cut: u64,
    /// The losses that the next one may belong together with.
    cluster: Option<Cluster>,
}

/// What has been found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Gaps, ascending by time; the first [`GAPS_MAX`].
    pub gaps: Vec<Gap>,
    /// Gaps not listed.
    pub gaps_left_out: u64,
    /// Bursts.
    pub bursts: Bursts,
    /// The imperfect seconds.
    pub seconds: Seconds,
    /// Packets lost by the network.
    pub lost_network: u64,
    /// Packets lost by the capture, those cut short included.
    pub lost_capture: u64,
    /// Packets cut short by the capture (snap length): they came, but not whole.
    pub cut: u64,
}

/// Missing sequence numbers, extended: what is left of a gap as it was found.
#[derive(Clone, Copy, Debug)]
struct Hole {
    first: u64,
    last: u64,
    /// The gap as it was found, and the arrivals on both sides of it.
    found_first: u64,
    found_packets: u64,
    from: Timestamp,
    until: Timestamp,
    by_capture: bool,
}

impl Hole {
    /// When a packet of it would have come.
    fn moment(&self, extended: u64) -> Timestamp {
        let span = i128::from(self.until.nanos_since(self.from).max(0));
        let place = i128::from(extended.saturating_sub(self.found_first) + 1);
        let nanos = span * place / i128::from(self.found_packets + 1);
        self.from.plus_nanos(nanos as i64)
    }

    /// The seconds that its packets would have come in, with the number in each.
    fn each_second(&self, mut tell: impl FnMut(i64, u32)) {
        let last = second_of(self.moment(self.last));
        let mut first = self.first;
        while first <= self.last {
            let second = second_of(self.moment(first));
            let mut next = first + 1;
            if second == last {
                next = self.last + 1;
            }
            while next <= self.last && second_of(self.moment(next)) == second {
                next += 1;
            }
            tell(second, u32::try_from(next - first).unwrap_or(u32::MAX));
            first = next;
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Cluster {
    first: u64,
    last: u64,
    lost: u64,
}

impl Watch {
    /// A value of what every packet touches, for [`crate::tracker`] to fetch it ahead.
    #[inline]
    pub(crate) fn fetch(&self) -> i64 {
        self.second_ends
    }

    /// Begins with the moment of the first packet, which must still be counted.
    #[must_use]
    pub fn new(at: Timestamp) -> Self {
        let mut watch = Watch { second_ends: i64::MIN, received: 0, newest_at: at, log: Box::default() };
        watch.begin_second(at);
        watch
    }

    /// Takes the next packet in order of arrival: what `stream`, which has just taken it, made of it.
    #[inline]
    pub fn count(&mut self, stream: &Stream, sequence: u16, arrival: Arrival, at: Timestamp) {
        if at.as_nanos() >= self.second_ends {
            self.next_second(at);
        }
        if let Arrival::New { missing: 0, late: false } = arrival {
            self.received += 1;
            self.newest_at = at;
        } else {
            self.note(stream, sequence, arrival, at);
        }
    }

    /// The packet just counted came too late for a listener.
    #[inline(never)]
    pub fn note_late(&mut self) {
        self.log.open.late += 1;
    }

    /// The packet just counted was cut short by the capture.
    #[inline(never)]
    pub fn note_cut(&mut self) {
        self.received = self.received.saturating_sub(1);
        self.log.open.lost_capture += 1;
        self.log.cut += 1;
    }

    /// The capture dropped frames just before `at`: gaps of the second before are its fault, and those of the next.
    pub fn note_drops(&mut self, at: Timestamp) {
        let log = &mut *self.log;
        log.dropped_at = Some(at);
        for hole in log.holes.iter_mut().rev().filter(|hole| !hole.by_capture) {
            if at.nanos_since(hole.until) > DROP_SHADOW_MS * NS_PER_MS {
                break;
            }
            hole.by_capture = true;
            hole.each_second(|second, packets| log.found.seconds.blame_capture(second, packets));
        }
    }

    /// Ends the watch: nothing can come any more.
    #[must_use]
    pub fn finish(mut self) -> Found {
        self.end_second();
        let mut log = *self.log;
        while let Some(hole) = log.holes.pop_front() {
            log.settle(&hole);
        }
        log.end_cluster();
        log.found.cut = log.cut;
        log.found.lost_capture += log.cut;
        log.found.seconds.rows.retain(Second::is_imperfect);
        log.found
    }

    #[inline(never)]
    fn note(&mut self, stream: &Stream, sequence: u16, arrival: Arrival, at: Timestamp) {
        match arrival {
            Arrival::Duplicate => self.log.open.duplicates += 1,
            Arrival::New { missing, late: false } => {
                self.received += 1;
                let highest = stream.highest();
                let first = highest.saturating_sub(u64::from(missing));
                self.log.open_hole(first, highest.saturating_sub(1), self.newest_at, at, highest);
                self.newest_at = at;
            }
            Arrival::New { late: true, .. } => {
                self.received += 1;
                self.log.open.reordered += 1;
                self.log.fill(stream, sequence, at);
            }
        }
    }

    fn begin_second(&mut self, at: Timestamp) {
        self.log.open = Second { second: second_of(at), ..Second::default() };
        self.second_ends = self.log.open.second.saturating_add(1).saturating_mul(NS_PER_S);
    }

    fn end_second(&mut self) {
        let received = std::mem::take(&mut self.received);
        let log = &mut *self.log;
        let second = log.open.second;
        if log.open.is_imperfect() || log.found.seconds.is_listed(second) {
            let row = Second { received, ..log.open };
            log.found.seconds.row(second).add(&row);
            log.found.seconds.bound();
        } else if received > 0 {
            log.last_clean = (second, received);
        }
    }

    #[inline(never)]
    fn next_second(&mut self, at: Timestamp) {
        self.end_second();
        self.begin_second(at);
    }
}

impl Log {
    /// Sequence numbers were skipped.
    fn open_hole(&mut self, first: u64, last: u64, from: Timestamp, until: Timestamp, highest: u64) {
        while let Some(hole) = self.holes.front().filter(|hole| hole.last + WINDOW <= highest).copied() {
            self.holes.pop_front();
            self.settle(&hole);
        }
        let hole = self.hole(first, last, from, until);
        self.holes.push_back(hole);
    }

    fn hole(&mut self, first: u64, last: u64, from: Timestamp, until: Timestamp) -> Hole {
        let dropped = |at: Timestamp| from.nanos_since(at) <= DROP_SHADOW_MS * NS_PER_MS;
        let by_capture = self.dropped_at.is_some_and(dropped);
        let found_packets = last.saturating_sub(first) + 1;
        let hole = Hole { first, last, found_first: first, found_packets, from, until, by_capture };
        hole.each_second(|second, packets| {
            // Where the gap begins in a second that was clean so far, its row needs what came in it.
            let was_clean = second == self.last_clean.0 && second != self.open.second;
            if was_clean && !self.found.seconds.is_listed(second) {
                self.found.seconds.row(second).received = self.last_clean.1;
            }
            self.found.seconds.lose(second, packets, by_capture);
        });
        hole
    }

    /// A packet came that was missing, or one from before the first.
    fn fill(&mut self, stream: &Stream, sequence: u16, at: Timestamp) {
        let extended = stream.extended(sequence);
        if extended + WINDOW <= stream.highest() {
            return;
        }
        let place = self.holes.partition_point(|hole| hole.last < extended);
        let Some(hole) = self.holes.get(place).copied().filter(|hole| hole.first <= extended) else {
            if let Some(missing) = stream.missing_at_front(extended).filter(|missing| !missing.is_empty()) {
                let hole = self.hole(*missing.start(), *missing.end(), at, at);
                self.holes.insert(place, hole);
            }
            return;
        };
        self.found.seconds.find(second_of(hole.moment(extended)), hole.by_capture);
        let before = Hole { last: extended - 1, ..hole };
        let after = Hole { first: extended + 1, ..hole };
        let left = [before, after].into_iter().filter(|hole| hole.first <= hole.last);
        self.holes.remove(place);
        for (n, hole) in left.enumerate() {
            self.holes.insert(place + n, hole);
        }
    }

    /// Nothing can fill the gap any more.
    fn settle(&mut self, hole: &Hole) {
        let packets = hole.last - hole.first + 1;
        let found = &mut self.found;
        if hole.by_capture {
            found.lost_capture += packets;
        } else {
            found.lost_network += packets;
        }
        found.bursts.gaps += 1;
        found.bursts.longest = found.bursts.longest.max(packets);
        if found.gaps.len() < GAPS_MAX {
            found.gaps.push(Gap {
                at: hole.moment(hole.first),
                // The truncation is the modulo of the wire.
                sequence: hole.first as u16,
                packets: u32::try_from(packets).unwrap_or(u32::MAX),
                by_capture: hole.by_capture,
            });
        } else {
            found.gaps_left_out += 1;
        }
        match &mut self.cluster {
            Some(cluster) if hole.first - cluster.last <= GMIN => {
                (cluster.last, cluster.lost) = (hole.last, cluster.lost + packets);
            }
            _ => {
                self.end_cluster();
                self.cluster = Some(Cluster { first: hole.first, last: hole.last, lost: packets });
            }
        }
    }

    fn end_cluster(&mut self) {
        let bursts = &mut self.found.bursts;
        match self.cluster.take() {
            Some(Cluster { lost: 1, .. }) => bursts.lost_alone += 1,
            Some(cluster) => {
                bursts.count += 1;
                bursts.packets += cluster.last - cluster.first + 1;
                bursts.lost += cluster.lost;
            }
            None => {}
        }
    }
}

/// The second that a moment lies in.
fn second_of(at: Timestamp) -> i64 {
    at.as_nanos().div_euclid(NS_PER_S)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    /// Packets as (milliseconds, sequence number) in order of arrival.
    fn watch(arrivals: impl IntoIterator<Item = (i64, u16)>) -> (Stream, Watch) {
        let mut state: Option<(Stream, Watch)> = None;
        for (ms, sequence) in arrivals {
            let at = Timestamp::from_millis(ms);
            let (stream, watch) = state.get_or_insert_with(|| (Stream::new(sequence), Watch::new(at)));
            let arrival = stream.push(sequence);
            watch.count(stream, sequence, arrival, at);
        }
        state.expect("not empty")
    }

    fn found(arrivals: impl IntoIterator<Item = (i64, u16)>) -> Found {
        watch(arrivals).1.finish()
    }

    /// 20 ms packets from 0 on, without some.
    fn without(packets: u16, lost: &[u16]) -> impl Iterator<Item = (i64, u16)> {
        (0..packets)
            .filter(|i| !lost.contains(i))
            .map(|i| (20 * i64::from(i), i))
            .collect::<Vec<_>>()
            .into_iter()
    }

    fn listed(found: &Found) -> Vec<(u16, u32)> {
        found.gaps.iter().map(|gap| (gap.sequence, gap.packets)).collect()
    }

    #[test]
    fn a_clean_stream_has_nothing_to_tell() {
        assert_eq!(found(without(1_000, &[])), Found::default());
    }

    #[test]
    fn each_gap_is_listed_to_the_packet_with_the_time_at_which_it_was_missed() {
        let found = found(without(1_000, &[10, 400, 401, 402]));
        assert_eq!(listed(&found), [(10, 1), (400, 3)]);
        assert_eq!(found.gaps.iter().map(|gap| gap.at.as_millis()).collect::<Vec<_>>(), [200, 8_000]);
        assert_eq!((found.lost_network, found.lost_capture), (4, 0));
        let rows: Vec<_> =
            found.seconds.rows.iter().map(|r| (r.second, r.expected(), r.received, r.lost_network)).collect();
        assert_eq!(rows, [(0, 50, 49, 1), (8, 50, 47, 3)]);
    }

    #[test]
    fn a_gap_over_seconds_is_laid_on_each_of_them() {
        let lost: Vec<u16> = (40..110).collect();
        let found = found(without(300, &lost));
        let rows: Vec<_> =
            found.seconds.rows.iter().map(|r| (r.second, r.received, r.lost_network)).collect();
        assert_eq!(rows, [(0, 40, 10), (1, 0, 50), (2, 40, 10)]);
        assert_eq!(found.bursts.longest, 70);
    }

    #[test]
    fn a_packet_that_comes_after_all_leaves_no_gap() {
        let mut arrivals: Vec<_> = without(100, &[49, 60, 61, 62]).collect();
        arrivals.push((2_000, 61));
        arrivals.push((2_001, 49));
        arrivals.extend((100..200).map(|i| (20 * i + 10, i as u16)));
        let found = found(arrivals);
        assert_eq!(listed(&found), [(60, 1), (62, 1)]);
        let row = |second| found.seconds.rows.iter().find(|row| row.second == second).copied();
        assert_eq!(row(0), None);
        assert_eq!(row(1).map(|row| (row.lost_network, row.received, row.reordered)), Some((2, 47, 0)));
        assert_eq!(row(2).map(|row| (row.lost_network, row.received, row.reordered)), Some((0, 52, 2)));
    }

    #[test]
    fn what_is_missing_before_a_first_packet_that_came_late_is_missing() {
        let found = found([(0, 100), (5, 97), (20, 101), (25, 98), (40, 102)]);
        assert_eq!(listed(&found), [(99, 1)]);
    }

    #[test]
    fn a_loss_is_ours_when_frames_were_dropped_around_it_told_before_or_after() {
        let lose_and_drop = |drop_ms: i64| {
            let mut stream = Stream::new(0);
            let mut watch = Watch::new(Timestamp::from_millis(0));
            let mut told = false;
            for (ms, sequence) in without(1_000, &[250, 251, 500]) {
                if ms >= drop_ms && !told {
                    told = true;
                    watch.note_drops(Timestamp::from_millis(drop_ms));
                }
                let arrival = stream.push(sequence);
                watch.count(&stream, sequence, arrival, Timestamp::from_millis(ms));
            }
            let found = watch.finish();
            (found.lost_network, found.lost_capture)
        };
        assert_eq!(lose_and_drop(4_100), (1, 2));
        assert_eq!(lose_and_drop(5_900), (1, 2));
        assert_eq!(lose_and_drop(3_000), (3, 0));
        assert_eq!(lose_and_drop(7_000), (3, 0));
    }

    #[test]
    fn a_packet_cut_short_is_lost_by_the_capture() {
        let (stream, mut watch) = watch(without(50, &[]));
        watch.note_cut();
        let found = watch.finish();
        assert_eq!((found.cut, found.lost_capture, found.lost_network, stream.lost()), (1, 1, 0, 0));
        assert_eq!(found.seconds.rows.first().map(|r| (r.received, r.lost_capture)), Some((49, 1)));
    }

    #[test]
    fn copies_alone_make_no_second_imperfect() {
        let twice = (0..200_u16).flat_map(|i| [(20 * i64::from(i), i); 2]);
        assert_eq!(found(twice).seconds, Seconds::default());
    }

    #[test]
    fn losses_near_each_other_are_a_burst_and_lone_ones_are_not() {
        // 16 packets stand between 100 and 117, 15 between 300 and 316.
        let found = found(without(1_000, &[100, 117, 300, 316, 500, 501]));
        let expected = Bursts { count: 2, packets: 19, lost: 4, lost_alone: 2, gaps: 5, longest: 2 };
        assert_eq!(found.bursts, expected);
        assert!((found.bursts.burst_density() - 4.0 / 19.0).abs() < 1e-12);
        assert!((found.bursts.gap_density(1_000) - 2.0 / 981.0).abs() < 1e-12);
        assert!((found.bursts.ratio(1_000) - 6.0 / 5.0 * 0.994).abs() < 1e-12);
    }

    #[test]
    fn a_bad_day_needs_no_more_room_than_a_bad_hour() {
        let (mut ms, mut sequence) = (0_i64, 0_u16);
        let arrivals = std::iter::from_fn(|| {
            (ms, sequence) = (ms + 500, sequence.wrapping_add(2));
            (ms < 86_400_000).then_some((ms, sequence))
        });
        let found = found(arrivals);
        assert!(found.seconds.rows.len() <= SECONDS_MAX);
        assert_eq!(found.seconds.width_s, 128);
        assert_eq!(found.seconds.rows.iter().map(|row| u64::from(row.lost_network)).sum::<u64>(), 172_798);
        assert_eq!(found.gaps.len() as u64 + found.gaps_left_out, 172_798);
        assert_eq!(found.gaps.len(), GAPS_MAX);
    }

    #[test]
    fn records_of_two_sources_become_one() {
        let mut one = found(without(100, &[10])).seconds;
        let other = found((0..5_000_u16).map(|i| (500 * i64::from(i), 2 * i))).seconds;
        let lost: u32 = other.rows.iter().map(|row| row.lost_network).sum();
        one.merge(other.clone());
        assert_eq!(one.width_s, other.width_s);
        assert_eq!(one.rows.iter().map(|row| row.lost_network).sum::<u32>(), lost + 1);
        assert!(one.rows.is_sorted_by_key(|row| row.second));
    }

    proptest! {
        /// A stream with jitter in order up to 20 places, drops and copies, against sets and maps.
        #[test]
        fn everything_is_as_a_plain_model_has_it(
            fates in proptest::collection::vec((0_i64..20, 0_u8..10), 1..1_500), pace in 5_i64..200
        ) {
            let mut arrivals: Vec<(i64, u16)> = Vec::new();
            for (i, &(delay, fate)) in (0_i64..).zip(&fates) {
                if fate != 0 || i == 0 { arrivals.push(((i + delay) * pace, i as u16)); }
                if fate == 1 { arrivals.push(((i + delay + 3) * pace, i as u16)); }
            }
            arrivals.sort();
            let unique: BTreeSet<u16> = arrivals.iter().map(|&(_, s)| s).collect();
            let (lowest, highest) = (*unique.first().unwrap(), *unique.last().unwrap());
            let missing: Vec<u16> = (lowest..=highest).filter(|s| !unique.contains(s)).collect();
            // Gaps, and losses with fewer than 16 packets between neighbours.
            let mut gaps: Vec<(u16, u32)> = Vec::new();
            let mut clusters: Vec<Vec<u16>> = Vec::new();
            for &s in &missing {
                match gaps.last_mut() {
                    Some((first, packets)) if *first + *packets as u16 == s => *packets += 1,
                    _ => gaps.push((s, 1)),
                }
                match clusters.last_mut() {
                    Some(cluster) if s - cluster.last().unwrap() <= 16 => cluster.push(s),
                    _ => clusters.push(vec![s]),
                }
            }
            let bursts: Vec<_> = clusters.iter().filter(|cluster| cluster.len() > 1).collect();
            let (stream, watch) = watch(arrivals.iter().copied());
            let found = watch.finish();
            prop_assert_eq!(listed(&found), gaps.into_iter().take(GAPS_MAX).collect::<Vec<_>>());
            prop_assert_eq!(found.lost_network, missing.len() as u64);
            prop_assert_eq!(stream.lost(), missing.len() as u64);
            prop_assert_eq!(found.bursts.count, bursts.len() as u64);
            prop_assert_eq!(found.bursts.lost, bursts.iter().map(|b| b.len() as u64).sum::<u64>());
            let span = |b: &&Vec<u16>| u64::from(b[b.len() - 1] - b[0]) + 1;
            prop_assert_eq!(found.bursts.packets, bursts.iter().map(span).sum::<u64>());
            prop_assert_eq!(found.bursts.lost_alone, (clusters.len() - bursts.len()) as u64);
            // Each second that is listed holds what came in it; none that lacks something or is out of order is left out.
            let mut by_second: BTreeMap<i64, (u32, u32, u32)> = BTreeMap::new();
            let (mut seen, mut top) = (BTreeSet::new(), None);
            for &(ms, s) in &arrivals {
                let row = by_second.entry(ms / 1000).or_default();
                if !seen.insert(s) { row.1 += 1; continue; }
                row.0 += 1;
                if top.is_some_and(|top| s < top) { row.2 += 1; }
                top = top.max(Some(s));
            }
            let told: u32 = found.seconds.rows.iter().map(|row| row.lost_network).sum();
            prop_assert_eq!(told, missing.len() as u32);
            for row in &found.seconds.rows {
                let &(received, duplicates, reordered) = by_second.get(&row.second).unwrap_or(&(0, 0, 0));
                prop_assert_eq!((row.received, row.reordered), (received, reordered), "second {}", row.second);
                prop_assert!(row.duplicates <= duplicates);
            }
            for (second, &(.., reordered)) in &by_second {
                prop_assert!(reordered == 0 || found.seconds.rows.iter().any(|row| row.second == *second));
            }
        }
    }
}
