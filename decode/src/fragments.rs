//! Fragments joined to packets again (RFC 791, 3.2; RFC 8200, 4.5), in any order and within bounds.
//!
//! Owns the table of unfinished sets: its bounds in number, bytes and capture time, for all and for each sender. Headers
//! are read in [`crate::ip`], what a joined packet holds in [`crate::dissect`].
//!
//! A set costs what its fragments hold, wherever in the packet they lie: a single fragment of the far end makes no room
//! for 64 KiB. A sender that leaves sets unfinished pushes out its own oldest ones and not those of others.
//!
//! Overlaps: bytes that come again with the same value are taken (a sender that fragments carelessly), since it makes no
//! difference which copy a receiver keeps. Bytes that come again with another value throw the set away, as RFC 5722 orders
//! for IPv6 and Linux does for IPv4 too: what a receiver would refuse is no evidence of what it heard. The fragment that
//! contradicted begins a new set, since its id may just be in use again.
//!
//! Copies: a mirror port shows frames twice. A fragment of a packet that was joined a moment ago must not begin a set of its
//! own: it would wait for its id's next use and be joined with a stranger (RFC 4963). It is known by its content.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::Hasher;
use std::mem::size_of;

use rustc_hash::{FxHashMap, FxHasher};

use crate::ip::{Fragment, Packet};
use crate::net::Endpoint;
use crate::time::Timestamp;

/// Unfinished fragment sets kept; one more drops the oldest.
pub const FRAGMENT_SETS_MAX: usize = 4096;
/// Unfinished fragment sets kept of one sender; one more drops its oldest.
pub const FRAGMENT_SETS_PER_SOURCE_MAX: usize = 256;
/// Bytes of memory that unfinished sets take; more drops the oldest sets.
pub const FRAGMENT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of memory that unfinished sets of one sender take; more drops its oldest sets.
pub const FRAGMENT_BYTES_PER_SOURCE_MAX: usize = 1024 * 1024;
/// Milliseconds of capture time after its first fragment in which a set must be complete; what Linux waits.
pub const FRAGMENT_TIMEOUT_MS: u64 = 30_000;
/// Stretches of one packet that are not yet joined to their neighbour; one more drops the set. The largest packet over
/// the smallest path of IPv4 that systems are required to take whole (576 bytes) has 120.
pub const FRAGMENT_STRETCHES_MAX: usize = 256;
/// Joined packets whose fragments are still known as copies; one more forgets the oldest.
pub const FRAGMENT_COPIES_MAX: usize = 4096;
/// Milliseconds of capture time in which a fragment of a joined packet is taken for a copy.
pub const FRAGMENT_COPY_MS: u64 = 1000;

/// Bytes of the largest IP payload.
const PACKET_BYTES_MAX: usize = 65_535;
/// Fragments of one packet that are known again as copies; copies of further ones begin a set that is given up.
const PRINTS_MAX: usize = 64;
/// What a set costs besides its stretches: itself and its entries in the tables, which are never more than half empty.
const SET_COST: usize =
    2 * (size_of::<(Key, Set)>() + size_of::<(u64, Key)>() + size_of::<(Endpoint, u64)>());
/// Buffers kept for the next fragments, and the largest that is kept.
const SPARE_BUFFERS_MAX: usize = 32;
const SPARE_BYTES_MAX: usize = 4096;

/// What all fragments of one packet share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    src: Endpoint,
    dst: Endpoint,
    /// The payload's protocol in IPv4; 44 (the fragment header's own number) in IPv6, whose sets are known by addresses
    /// and id alone.
    protocol: u8,
    id: u32,
}

/// Bytes of a packet without a gap.
#[derive(Debug)]
struct Stretch {
    start: usize,
    bytes: Vec<u8>,
}

impl Stretch {
    fn end(&self) -> usize {
        self.start.saturating_add(self.bytes.len())
    }
}

/// One unfinished packet.
#[derive(Debug)]
struct Set {
    /// By their start; none touches another.
    stretches: Vec<Stretch>,
    /// Length of the packet, once its last fragment is there.
    end: Option<usize>,
    /// Of the fragment at offset 0, once that is there.
    protocol: u8,
    /// Capture time of the fragment that came first.
    since: Timestamp,
    /// Its place in the order of age.
    serial: u64,
    /// Fingerprints of its fragments.
    prints: Vec<u64>,
    /// Memory that it takes.
    cost: usize,
}

/// What one sender has in the table.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    sets: usize,
    bytes: usize,
}

/// A packet whose fragments are all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    /// What its payload is (IANA protocol numbers).
    pub(crate) protocol: u8,
}

/// The unfinished sets, bounded by the limits of this module.
#[derive(Debug, Default)]
pub(crate) struct FragmentTable {
    sets: FxHashMap<Key, Set>,
    by_age: BTreeMap<u64, Key>,
    by_source: BTreeSet<(Endpoint, u64)>,
    shares: FxHashMap<Endpoint, Share>,
    bytes: usize,
    serial: u64,
    /// Fingerprints of packets that were joined.
    joined: FxHashMap<Key, (Timestamp, Vec<u64>)>,
    joined_by_age: VecDeque<(Key, Timestamp)>,
    spare: Vec<Vec<u8>>,
    /// Sets given up: too old, too many, or in contradiction with themselves.
    pub(crate) dropped: u64,
    /// Fragments of packets that were joined already.
    pub(crate) copies: u64,
}

impl FragmentTable {
    /// Puts a fragment in its place. When that completes the packet, its payload is written to `whole` (the former
    /// content is replaced).
    pub(crate) fn add(&mut self, packet: &Packet<'_>, at: Timestamp, whole: &mut Vec<u8>) -> Option<Whole> {
        let fragment = packet.fragment?;
        let key = Key {
            src: packet.src,
            dst: packet.dst,
            protocol: if fragment.v6 { 44 } else { packet.protocol },
            id: fragment.id,
        };
        let print = fingerprint(fragment, packet.payload);
        if self.is_copy(&key, print, at) {
            self.copies = self.copies.saturating_add(1);
            return None;
        }
        self.expire(at);
        if self.sets.get(&key).is_some_and(|set| set.is_contradicted(fragment, packet.payload)) {
            self.drop_set(&key);
        }
        if !self.sets.contains_key(&key) {
            self.open(key, packet.protocol, at);
        }
        if !self.place(&key, packet, fragment, print) {
            self.drop_set(&key);
            return None;
        }
        if !self.sets.get(&key).is_some_and(Set::is_complete) {
            self.shrink(key.src);
            return None;
        }
        let set = self.remove(&key)?;
        whole.clear();
        for stretch in &set.stretches {
            whole.extend_from_slice(&stretch.bytes);
        }
        let protocol = set.protocol;
        self.remember(key, set, at);
        Some(Whole { protocol })
    }

    fn open(&mut self, key: Key, protocol: u8, at: Timestamp) {
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        let set = Set {
            stretches: Vec::new(),
            end: None,
            protocol,
            since: at,
            serial,
            prints: Vec::new(),
            cost: SET_COST,
        };
        self.sets.insert(key, set);
        self.by_age.insert(serial, key);
        self.by_source.insert((key.src, serial));
        let share = self.shares.entry(key.src).or_default();
        share.sets = share.sets.saturating_add(1);
        share.bytes = share.bytes.saturating_add(SET_COST);
        self.bytes = self.bytes.saturating_add(SET_COST);
    }

    /// Puts the bytes in; false when no packet can have them.
    fn place(&mut self, key: &Key, packet: &Packet<'_>, fragment: Fragment, print: u64) -> bool {
        let Some(set) = self.sets.get_mut(key) else { return false };
        let end = fragment.offset.saturating_add(packet.payload.len());
        // Past the largest packet, or not the last one and no multiple of 8 long.
        if end > PACKET_BYTES_MAX || (fragment.more && !packet.payload.len().is_multiple_of(8)) {
            return false;
        }
        if fragment.is_first() {
            set.protocol = packet.protocol;
        }
        if !fragment.more {
            set.end = Some(end);
        }
        if set.prints.len() < PRINTS_MAX {
            set.prints.push(print);
        }
        set.insert(fragment.offset, packet.payload, &mut self.spare);
        let (before, now) = (set.cost, set.measure());
        set.cost = now;
        self.bytes = self.bytes.saturating_sub(before).saturating_add(now);
        if let Some(share) = self.shares.get_mut(&key.src) {
            share.bytes = share.bytes.saturating_sub(before).saturating_add(now);
        }
        set.stretches.len() <= FRAGMENT_STRETCHES_MAX
    }

    /// Drops what is too old at `now`. Capture time may jump, forwards or back: either way the rest of such a set is not
    /// coming.
    fn expire(&mut self, now: Timestamp) {
        while let Some((_, &key)) = self.by_age.first_key_value() {
            match self.sets.get(&key) {
                Some(set) if !is_apart(set.since, now, FRAGMENT_TIMEOUT_MS) => return,
                _ => self.drop_set(&key),
            }
        }
    }

    /// Drops the oldest sets of this sender, then of all, until the rest is within the limits.
    fn shrink(&mut self, source: Endpoint) {
        while self.shares.get(&source).is_some_and(|share| {
            share.sets > FRAGMENT_SETS_PER_SOURCE_MAX || share.bytes > FRAGMENT_BYTES_PER_SOURCE_MAX
        }) {
            let Some(&(_, serial)) = self.by_source.range((source, 0)..=(source, u64::MAX)).next() else {
                break;
            };
            let Some(key) = self.by_age.get(&serial).copied() else { break };
            self.drop_set(&key);
        }
        while self.sets.len() > FRAGMENT_SETS_MAX || self.bytes > FRAGMENT_BYTES_MAX {
            let Some((_, &key)) = self.by_age.first_key_value() else { return };
            self.drop_set(&key);
        }
    }

    fn drop_set(&mut self, key: &Key) {
        if let Some(set) = self.remove(key) {
            self.dropped = self.dropped.saturating_add(1);
            self.recycle(set.stretches);
        }
    }

    /// Takes a set out of every table.
    fn remove(&mut self, key: &Key) -> Option<Set> {
        let set = self.sets.remove(key)?;
        self.by_age.remove(&set.serial);
        self.by_source.remove(&(key.src, set.serial));
        self.bytes = self.bytes.saturating_sub(set.cost);
        if let Some(share) = self.shares.get_mut(&key.src) {
            share.sets = share.sets.saturating_sub(1);
            share.bytes = share.bytes.saturating_sub(set.cost);
            if share.sets == 0 {
                self.shares.remove(&key.src);
            }
        }
        Some(set)
    }

    fn recycle(&mut self, stretches: Vec<Stretch>) {
        for Stretch { bytes, .. } in stretches {
            if self.spare.len() < SPARE_BUFFERS_MAX && bytes.capacity() <= SPARE_BYTES_MAX {
                self.spare.push(bytes);
            }
        }
    }

    /// Keeps the fingerprints of a joined packet.
    fn remember(&mut self, key: Key, set: Set, at: Timestamp) {
        self.recycle(set.stretches);
        self.joined.insert(key, (at, set.prints));
        self.joined_by_age.push_back((key, at));
        while let Some(&(key, then)) = self.joined_by_age.front() {
            let is_over = is_apart(then, at, FRAGMENT_COPY_MS);
            if !is_over && self.joined_by_age.len() <= FRAGMENT_COPIES_MAX {
                return;
            }
            self.joined_by_age.pop_front();
            // The id may have been used again since.
            if self.joined.get(&key).is_some_and(|(joined, _)| *joined == then) {
                self.joined.remove(&key);
            }
        }
    }

    fn is_copy(&self, key: &Key, print: u64, at: Timestamp) -> bool {
        let Some((then, prints)) = self.joined.get(key) else { return false };
        // Where another fragment has begun a set since, the id is in use again, and equal bytes are its own.
        !self.sets.contains_key(key) && !is_apart(*then, at, FRAGMENT_COPY_MS) && prints.contains(&print)
    }
}

impl Set {
    fn is_complete(&self) -> bool {
        match &self.stretches[..] {
            [only] => only.start == 0 && self.end == Some(only.bytes.len()),
            _ => false,
        }
    }

    /// Would a fragment give another value to a byte that is there, or another end to the packet?
    fn is_contradicted(&self, fragment: Fragment, payload: &[u8]) -> bool {
        let start = fragment.offset;
        let end = start.saturating_add(payload.len());
        let differs = self.stretches.iter().any(|stretch| {
            let from = start.max(stretch.start);
            let to = end.min(stretch.end());
            from < to
                && stretch.bytes.get(from - stretch.start..to - stretch.start)
                    != payload.get(from - start..to - start)
        });
        let reaches_past_the_end = self.end.is_some_and(|known| end > known);
        let ends_before_what_is_there =
            !fragment.more && self.stretches.iter().any(|stretch| stretch.end() > end);
        differs || reaches_past_the_end || ends_before_what_is_there
    }

    /// Puts in what is not there yet of `payload`, which begins at `from`.
    fn insert(&mut self, mut from: usize, mut payload: &[u8], spare: &mut Vec<Vec<u8>>) {
        // The stretch that would come behind it.
        let mut next = self.stretches.partition_point(|stretch| stretch.start <= from);
        while !payload.is_empty() {
            if let Some(before) = next.checked_sub(1).and_then(|place| self.stretches.get(place)) {
                let known = before.end().saturating_sub(from).min(payload.len());
                payload = payload.get(known..).unwrap_or_default();
                from = from.saturating_add(known);
            }
            let gap_end = self.stretches.get(next).map_or(usize::MAX, |stretch| stretch.start);
            let (new, rest) = payload.split_at(payload.len().min(gap_end.saturating_sub(from)));
            if !new.is_empty() {
                next = self.put(next, from, new, spare);
            }
            from = from.saturating_add(new.len());
            payload = rest;
            // Reached the next stretch: it is "the one before" from here on.
            if self.stretches.get(next).is_some_and(|stretch| stretch.start == from) {
                next = self.join(next);
            }
        }
    }

    /// Bytes that touch nothing before `next` begin a stretch, others go on with one. Gives the place behind it.
    fn put(&mut self, next: usize, from: usize, new: &[u8], spare: &mut Vec<Vec<u8>>) -> usize {
        if let Some(before) = next.checked_sub(1).and_then(|place| self.stretches.get_mut(place))
            && before.end() == from
        {
            before.bytes.extend_from_slice(new);
            return next;
        }
        let mut bytes = spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(new);
        self.stretches.insert(next, Stretch { start: from, bytes });
        next.saturating_add(1)
    }

    /// Joins the stretch at `next` to the one before, when they touch. Gives the place behind it.
    fn join(&mut self, next: usize) -> usize {
        let (before, behind) = self.stretches.split_at_mut(next);
        if let (Some(before), Some(first)) = (before.last_mut(), behind.first())
            && before.end() == first.start
        {
            before.bytes.extend_from_slice(&first.bytes);
            self.stretches.remove(next);
            return next;
        }
        next.saturating_add(1)
    }

    /// Memory that it takes.
    fn measure(&self) -> usize {
        let bytes: usize = self.stretches.iter().map(|stretch| stretch.bytes.capacity()).sum();
        SET_COST
            + bytes
            + self.stretches.capacity() * size_of::<Stretch>()
            + self.prints.capacity() * size_of::<u64>()
    }
}

/// By place and content.
fn fingerprint(fragment: Fragment, payload: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write_usize(fragment.offset);
    hasher.write_u8(u8::from(fragment.more));
    hasher.write(payload);
    hasher.finish()
}

fn is_apart(since: Timestamp, now: Timestamp, ms: u64) -> bool {
    now.millis_since(since).max(since.millis_since(now)) >= ms
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(source: u8, id: u32, offset: usize, more: bool, payload: &[u8]) -> Packet<'_> {
        Packet {
            src: Endpoint::v4([192, 0, 2, source], 0),
            dst: Endpoint::v4([198, 51, 100, 1], 0),
            protocol: 17,
            payload,
            cut: false,
            fragment: Some(Fragment { id, offset, more, v6: false }),
        }
    }

    impl FragmentTable {
        /// What the sets hold in fact, counted afresh.
        fn weigh(&self) -> usize {
            self.sets.values().map(Set::measure).sum()
        }

        fn assert_sound(&self) {
            assert_eq!(self.bytes, self.weigh());
            assert_eq!(self.bytes, self.shares.values().map(|share| share.bytes).sum::<usize>());
            assert_eq!(self.sets.len(), self.by_age.len());
            assert_eq!(self.sets.len(), self.by_source.len());
            assert!(self.sets.len() <= FRAGMENT_SETS_MAX && self.bytes <= FRAGMENT_BYTES_MAX);
            assert!(self.joined.len() <= FRAGMENT_COPIES_MAX);
            for share in self.shares.values() {
                assert!(share.sets > 0 && share.sets <= FRAGMENT_SETS_PER_SOURCE_MAX, "{share:?}");
                assert!(share.bytes <= FRAGMENT_BYTES_PER_SOURCE_MAX, "{share:?}");
            }
        }
    }

    #[test]
    fn junk_of_one_sender_does_not_push_out_the_set_of_another() {
        let (mut table, mut whole) = (FragmentTable::default(), Vec::new());
        let at = Timestamp::from_millis(0);
        assert_eq!(table.add(&packet(1, 1, 0, true, &[1; 800]), at, &mut whole), None);
        for id in 0..50_000 {
            assert_eq!(table.add(&packet(2, id, 8, true, &[2; 1400]), at, &mut whole), None);
        }
        table.assert_sound();
        assert_eq!(table.sets.len(), 1 + FRAGMENT_SETS_PER_SOURCE_MAX);
        assert_eq!(
            table.add(&packet(1, 1, 800, false, b"end"), at, &mut whole),
            Some(Whole { protocol: 17 })
        );
        assert_eq!(whole.len(), 803);
    }

    #[test]
    fn what_the_table_takes_is_bounded_whatever_is_sent() {
        let at = Timestamp::from_millis(0);
        let whole = &mut Vec::new();
        // Ten thousand unfinished sets of many senders; large ones; such with bytes at the far end alone; with many gaps.
        for (sets, step, length) in [(10_000, 0, 16), (10_000, 1480, 1480), (400, 16, 8)] {
            let mut table = FragmentTable::default();
            let pieces = 60_000_usize.checked_div(step).unwrap_or(1);
            for id in 0..sets {
                for piece in 0..pieces.min(300) {
                    let offset = 65_000 / 8 * 8 - piece * step - length;
                    let source = (id % 200) as u8;
                    assert_eq!(
                        table.add(&packet(source, id, offset, true, &[5; 1480][..length]), at, whole),
                        None
                    );
                }
                if id % 100 == 0 {
                    table.assert_sound();
                }
            }
            table.assert_sound();
            assert!(table.dropped > 0);
            if step == 0 {
                // Small sets cost little, wherever their bytes lie: the number is what bounds them.
                assert_eq!(table.sets.len(), FRAGMENT_SETS_MAX);
                assert!(table.bytes < 4 * 1024 * 1024, "{}", table.bytes);
            }
        }
    }

    #[test]
    fn copies_are_remembered_in_bounded_number() {
        let (mut table, mut whole) = (FragmentTable::default(), Vec::new());
        let at = Timestamp::from_millis(0);
        for id in 0..10_000 {
            table.add(&packet(1, id, 0, true, &[1; 8]), at, &mut whole);
            assert!(table.add(&packet(1, id, 8, false, &[1; 8]), at, &mut whole).is_some());
        }
        table.assert_sound();
        assert_eq!(
            (table.joined.len(), table.joined_by_age.len()),
            (FRAGMENT_COPIES_MAX, FRAGMENT_COPIES_MAX)
        );
        let later = at.plus_millis(FRAGMENT_COPY_MS as i64);
        table.add(&packet(1, 1, 0, true, &[1; 8]), later, &mut whole);
        assert!(table.add(&packet(1, 1, 8, false, &[1; 8]), later, &mut whole).is_some());
        assert_eq!((table.joined.len(), table.joined_by_age.len()), (1, 1));
    }

    proptest! {
        #[test]
        fn any_cutting_in_any_order_with_overlaps_gives_the_packet_once(
            length in 1_usize..4000,
            cuts in prop::collection::vec((0_usize..500, 1_usize..100), 0..40),
            seed in any::<u64>(),
        ) {
            let payload: Vec<u8> = (0..length).map(|place| (place * 31 % 251) as u8).collect();
            // Odd pieces that overlap, then some that cover everything.
            let mut pieces: Vec<(usize, usize)> =
                cuts.iter().map(|(from, units)| (from * 8, (from + units) * 8)).collect();
            pieces.extend((0..length).step_by(240).map(|from| (from, from + 240)));
            pieces.retain(|(from, _)| *from < length);
            // The last one comes somewhere, too.
            let count = pieces.len() as u64;
            pieces.sort_by_key(|(from, to)| ((*from * 7 + *to) as u64).wrapping_mul(seed | 1) % (count + 1));
            let (mut table, mut whole) = (FragmentTable::default(), Vec::new());
            let mut given = 0;
            for (from, to) in pieces {
                let to = to.min(length);
                let part = packet(1, 9, from, to < length, &payload[from..to]);
                if table.add(&part, Timestamp::from_millis(0), &mut whole).is_some() {
                    prop_assert_eq!(&whole, &payload);
                    given += 1;
                    break;
                }
                table.assert_sound();
            }
            prop_assert_eq!(given, 1);
            prop_assert_eq!(table.dropped, 0);
            table.assert_sound();
        }

        #[test]
        fn no_list_of_fragments_breaks_the_table(
            parts in prop::collection::vec(
                (0_u8..3, 0_u32..3, 0_usize..64, any::<bool>(), 0_usize..100, any::<u8>(), 0_i64..20_000), 0..80)
        ) {
            let (mut table, mut whole) = (FragmentTable::default(), Vec::new());
            let mut at = Timestamp::from_millis(0);
            for (source, id, unit, more, length, byte, pause) in parts {
                at = at.plus_millis(if pause > 15_000 { pause } else { 0 });
                table.add(&packet(source, id, unit * 8, more, &vec![byte % 2; length]), at, &mut whole);
                table.assert_sound();
            }
        }
    }
}
