//! IP: addresses and payload of one IPv4 or IPv6 packet (RFC 791, RFC 8200), and fragments joined to packets again.
//!
//! Headers are read by etherparse's lax slices, which survive a frame that the capture cut. What is ours is the table of
//! unfinished sets: its bounds in number, bytes and capture time. Transport headers are read in [`crate::dissect`].
//!
//! Overlaps: bytes that come again with the same value are taken (a mirror port that shows each frame twice, a sender that
//! fragments carelessly), since it makes no difference which copy a receiver keeps. Bytes that come again with another
//! value throw the set away, as RFC 5722 orders for IPv6 and Linux does for IPv4 too: what a receiver would refuse is no
//! evidence of what it heard. The fragment that contradicted begins a new set, since its id may just be in use again.

use std::collections::VecDeque;

use etherparse::defrag::{IpDefragBuf, IpFragRange};
use etherparse::{IpFragOffset, Ipv4HeaderSlice, Ipv6ExtensionSlice, LaxIpv4Slice, LaxIpv6Slice};
use rustc_hash::FxHashMap;

use crate::net::Endpoint;
use crate::time::Timestamp;

/// Unfinished fragment sets kept; one more drops the oldest.
pub const FRAGMENT_SETS_MAX: usize = 1024;
/// Bytes kept in unfinished fragment sets; more drops the oldest sets.
pub const FRAGMENT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Milliseconds of capture time after its first fragment in which a set must be complete; what Linux waits.
pub const FRAGMENT_TIMEOUT_MS: u64 = 30_000;
/// Fragments of one set that are not yet joined to a neighbour; one more drops the set.
pub const FRAGMENT_GAPS_MAX: usize = 64;

/// Entries of the age queue, those of finished sets included.
const AGES_MAX: usize = 4 * FRAGMENT_SETS_MAX;
/// Buffers of finished sets that are kept for the next ones.
const SPARE_BUFFERS_MAX: usize = 8;

/// One IP packet with its headers off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    /// Sender and receiver, with port 0.
    pub(crate) src: Endpoint,
    pub(crate) dst: Endpoint,
    /// What the payload is (IANA protocol numbers).
    pub(crate) protocol: u8,
    /// Cut to the length in the IP header, so without Ethernet padding.
    pub(crate) payload: &'a [u8],
    /// The IP header announces more than was captured.
    pub(crate) cut: bool,
    /// `payload` is a part of the packet's.
    pub(crate) fragment: Option<Fragment>,
}

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment {
    /// 16 bits in IPv4, 32 in IPv6.
    id: u32,
    /// From the start of the packet's payload.
    offset: IpFragOffset,
    /// Not the last one.
    more: bool,
    /// IPv6 sets are known by addresses and id alone (RFC 8200, 4.5).
    v6: bool,
}

impl Fragment {
    /// Does it hold the transport header?
    pub(crate) fn is_first(self) -> bool {
        self.offset.value() == 0
    }
}

/// Reads the IP header by its version nibble; `None` when it is none or does not hold together.
#[inline]
pub(crate) fn parse(bytes: &[u8]) -> Option<Packet<'_>> {
    match bytes.first()? >> 4 {
        4 => parse_v4(bytes),
        6 => parse_v6(bytes),
        _ => None,
    }
}

#[inline]
fn parse_v4(bytes: &[u8]) -> Option<Packet<'_>> {
    let (ip, _) = LaxIpv4Slice::from_slice(bytes).ok()?;
    let header: Ipv4HeaderSlice<'_> = ip.header();
    let payload = ip.payload();
    let fragment = payload.fragmented.then(|| Fragment {
        id: u32::from(header.identification()),
        offset: header.fragments_offset(),
        more: header.more_fragments(),
        v6: false,
    });
    Some(Packet {
        src: Endpoint::v4(header.source(), 0),
        dst: Endpoint::v4(header.destination(), 0),
        protocol: payload.ip_number.0,
        payload: payload.payload,
        cut: payload.incomplete,
        fragment,
    })
}

fn parse_v6(bytes: &[u8]) -> Option<Packet<'_>> {
    let (ip, _) = LaxIpv6Slice::from_slice(bytes).ok()?;
    let header = ip.header();
    let payload = ip.payload();
    let mut packet = Packet {
        src: Endpoint::v6(header.source(), 0),
        dst: Endpoint::v6(header.destination(), 0),
        protocol: payload.ip_number.0,
        payload: payload.payload,
        cut: payload.incomplete,
        fragment: None,
    };
    if payload.fragmented {
        // The slices go on behind the fragment header, but behind that of a later fragment there are no headers, only
        // bytes from the middle: step back to where the fragment header ends.
        let extensions = ip.extensions();
        let mut length = 0_usize;
        for extension in extensions.clone() {
            match extension {
                Ipv6ExtensionSlice::Fragment(fragment) => {
                    length = length.checked_add(fragment.slice().len())?;
                    let end = bytes.len().min(40 + extensions.slice().len() + payload.payload.len());
                    packet.protocol = fragment.next_header().0;
                    packet.payload = bytes.get(40 + length..end)?;
                    packet.fragment = Some(Fragment {
                        id: fragment.identification(),
                        offset: fragment.fragment_offset(),
                        more: fragment.more_fragments(),
                        v6: true,
                    });
                    break;
                }
                Ipv6ExtensionSlice::HopByHop(raw)
                | Ipv6ExtensionSlice::Routing(raw)
                | Ipv6ExtensionSlice::DestinationOptions(raw) => {
                    length = length.checked_add(raw.slice().len())?
                }
                Ipv6ExtensionSlice::Authentication(raw) => length = length.checked_add(raw.slice().len())?,
            }
        }
    }
    Some(packet)
}

/// What all fragments of one packet share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    src: Endpoint,
    dst: Endpoint,
    /// The payload's protocol in IPv4; 44 (the fragment header's own number) in IPv6.
    protocol: u8,
    id: u32,
}

/// One unfinished packet.
#[derive(Debug)]
struct Set {
    buffer: IpDefragBuf,
    /// Of the fragment at offset 0, once that is there.
    protocol: u8,
    /// Capture time of the fragment that came first.
    since: Timestamp,
    /// Tells this set from an earlier one of the same key in the age queue.
    serial: u64,
}

/// A packet whose fragments are all there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) protocol: u8,
}

/// The unfinished sets, bounded by the limits of this module.
#[derive(Debug, Default)]
pub(crate) struct FragmentTable {
    sets: FxHashMap<Key, Set>,
    /// Sets by age; entries of finished ones are passed over.
    ages: VecDeque<(Key, u64)>,
    bytes: usize,
    serial: u64,
    /// Sets given up: too old, too many, overlapping, or in contradiction with themselves.
    pub(crate) dropped: u64,
    spare: Vec<(Vec<u8>, Vec<IpFragRange>)>,
}

impl FragmentTable {
    /// Puts a fragment in its place. When that completes the packet, its payload is written to `whole` (the former
    /// content is replaced).
    pub(crate) fn add(&mut self, packet: &Packet<'_>, at: Timestamp, whole: &mut Vec<u8>) -> Option<Whole> {
        let fragment = packet.fragment?;
        self.expire(at);
        let key = Key {
            src: packet.src,
            dst: packet.dst,
            protocol: if fragment.v6 { 44 } else { packet.protocol },
            id: fragment.id,
        };
        if self.sets.get(&key).is_some_and(|set| contradicts(&set.buffer, fragment, packet.payload)) {
            self.drop_set(&key);
        }
        if !self.sets.contains_key(&key) {
            self.open(key, packet.protocol, at);
        }
        let set = self.sets.get_mut(&key)?;
        if fragment.is_first() {
            set.protocol = packet.protocol;
        }
        let before = set.buffer.data().len();
        let placed = set.buffer.add(fragment.offset, fragment.more, packet.payload);
        self.bytes = self.bytes.saturating_sub(before).saturating_add(set.buffer.data().len());
        // An error is a fragment that no packet can have: past 64 KiB, or not the last one and no multiple of 8 long.
        if placed.is_err() || set.buffer.sections().len() > FRAGMENT_GAPS_MAX {
            self.drop_set(&key);
            return None;
        }
        if !set.buffer.is_complete() {
            self.shrink();
            return None;
        }
        let set = self.sets.remove(&key)?;
        let (data, sections) = set.buffer.take_bufs();
        self.bytes = self.bytes.saturating_sub(data.len());
        let former = std::mem::replace(whole, data);
        self.recycle(former, sections);
        Some(Whole { protocol: set.protocol })
    }

    fn open(&mut self, key: Key, protocol: u8, at: Timestamp) {
        self.serial = self.serial.wrapping_add(1);
        let (data, sections) = self.spare.pop().unwrap_or_default();
        let buffer = IpDefragBuf::new(etherparse::IpNumber(protocol), data, sections);
        self.sets.insert(key, Set { buffer, protocol, since: at, serial: self.serial });
        self.ages.push_back((key, self.serial));
        // Finished sets leave their entries behind an old unfinished one; that must not grow without bound.
        if self.ages.len() > AGES_MAX {
            let sets = &self.sets;
            self.ages.retain(|(key, serial)| sets.get(key).is_some_and(|set| set.serial == *serial));
        }
    }

    /// Drops what is too old at `now`. Capture time may jump, forwards or back: either way the rest of such a set is not
    /// coming.
    fn expire(&mut self, now: Timestamp) {
        while let Some(&(key, serial)) = self.ages.front() {
            match self.sets.get(&key).filter(|set| set.serial == serial) {
                Some(set) if !is_over(set.since, now) => return,
                Some(_) => self.drop_set(&key),
                None => {}
            }
            self.ages.pop_front();
        }
    }

    /// Drops the oldest sets until the rest is within the limits.
    fn shrink(&mut self) {
        while self.sets.len() > FRAGMENT_SETS_MAX || self.bytes > FRAGMENT_BYTES_MAX {
            let Some((key, serial)) = self.ages.pop_front() else { return };
            if self.sets.get(&key).is_some_and(|set| set.serial == serial) {
                self.drop_set(&key);
            }
        }
    }

    fn drop_set(&mut self, key: &Key) {
        if let Some(set) = self.sets.remove(key) {
            self.dropped = self.dropped.saturating_add(1);
            let (data, sections) = set.buffer.take_bufs();
            self.bytes = self.bytes.saturating_sub(data.len());
            self.recycle(data, sections);
        }
    }

    fn recycle(&mut self, data: Vec<u8>, sections: Vec<IpFragRange>) {
        if self.spare.len() < SPARE_BUFFERS_MAX {
            self.spare.push((data, sections));
        }
    }
}

fn is_over(since: Timestamp, now: Timestamp) -> bool {
    now.millis_since(since).max(since.millis_since(now)) >= FRAGMENT_TIMEOUT_MS
}

/// Would a fragment give another value to a byte that is there, or another end to the packet?
fn contradicts(buffer: &IpDefragBuf, fragment: Fragment, payload: &[u8]) -> bool {
    let start = usize::from(fragment.offset.byte_offset());
    let end = start.saturating_add(payload.len());
    let differs = buffer.sections().iter().any(|section| {
        let from = start.max(usize::from(section.start));
        let to = end.min(usize::from(section.end));
        from < to && buffer.data().get(from..to) != payload.get(from - start..to - start)
    });
    let reaches_past_the_end = buffer.end().is_some_and(|known| end > usize::from(known));
    let ends_before_what_is_there =
        !fragment.more && buffer.sections().iter().any(|section| usize::from(section.end) > end);
    differs || reaches_past_the_end || ends_before_what_is_there
}
