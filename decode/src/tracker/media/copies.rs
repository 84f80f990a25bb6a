//! Flows that nobody announced and that hold what a call's source sends, packet for packet: the other side of a relay whose
//! signalling is not seen.
//!
//! A flow with the SSRC of a known source is compared with it: sequence, timestamp and payload of a packet must be those that the
//! source has sent. When nearly all of a flow's packets are, it is no call of its own: what is said in it has its call already.
//! Nothing else makes a flow a copy, so that no unannounced call is lost under the name of one.

use std::collections::VecDeque;
use std::hash::Hasher;

use rustc_hash::FxHasher;

use super::{Media, Source};
use crate::media::Side;
use crate::net::Flow;
use crate::rtp::Packet;
use crate::tracker::event::LegId;

/// Packets remembered of either side: how far one may be behind the other.
const PACKETS_MAX: usize = 64;
/// A source is looked for with each of a flow's first packets, then with one in so many.
const EAGER_PACKETS: u64 = 50;
const PATIENCE: u64 = 64;
/// Of ten packets of a flow, so many must be the source's: some are lost on one of the two ways.
const TENTHS_MIN: u64 = 9;

/// After so many packets of which less than half were the source's, the flow is not compared any more.
const HOPELESS_PACKETS: u64 = 200;

/// What a packet is known by.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Print {
    sequence: u16,
    timestamp: u32,
    payload: u64,
}

impl Print {
    fn of(packet: &Packet<'_>) -> Print {
        let mut hasher = FxHasher::default();
        hasher.write(packet.payload);
        Print { sequence: packet.sequence, timestamp: packet.timestamp, payload: hasher.finish() }
    }
}

/// What a source that is seen elsewhere too has sent lately.
#[derive(Default)]
pub(super) struct Original(VecDeque<Print>);

impl Source {
    /// What it sends now, for the flows that are held against it.
    #[cold]
    pub(super) fn remember(&mut self, packet: &Packet<'_>) {
        let Original(prints) = &mut **self.original.get_or_insert_default();
        if prints.len() >= PACKETS_MAX {
            prints.pop_front();
        }
        prints.push_back(Print::of(packet));
    }
}

/// A flow held against a source.
pub(super) struct Copy {
    source: u32,
    /// Whose voice it is, where.
    pub(super) leg: LegId,
    pub(super) side: Side,
    pub(super) original: Flow,
    /// Packets that the source has not sent yet, as far as was seen.
    pending: VecDeque<Print>,
    matched: u64,
}

impl Copy {
    /// Is a flow of so many packets nothing but the source's?
    pub(super) fn is_whole(&self, packets: u64) -> bool {
        self.matched.saturating_mul(10) >= packets.saturating_mul(TENTHS_MIN)
    }
}

impl Media {
    /// One more packet of an unannounced flow: is it one that a call's source sends?
    pub(super) fn compare(&mut self, flow: Flow, packet: &Packet<'_>) {
        let Some(loose) = self.loose.get_mut(&flow) else { return };
        if loose.copy.is_none() {
            let packets = loose.packets();
            if packets > EAGER_PACKETS && !packets.is_multiple_of(PATIENCE) {
                return;
            }
            let Some(&index) = self.by_ssrc.get(&packet.ssrc) else { return };
            let Some(source) = self.sources.get_mut(index as usize).and_then(Option::as_mut) else { return };
            source.original.get_or_insert_default();
            source.is_copied = true;
            loose.copy = Some(Box::new(Copy {
                source: index,
                leg: source.leg,
                side: source.side,
                original: source.flow,
                pending: VecDeque::new(),
                matched: 0,
            }));
        }
        let packets = loose.packets();
        let Some(copy) = &mut loose.copy else { return };
        if packets > HOPELESS_PACKETS && copy.matched * 2 < packets {
            return;
        }
        if copy.pending.len() >= PACKETS_MAX {
            copy.pending.pop_front();
        }
        copy.pending.push_back(Print::of(packet));
        let source = self.sources.get(copy.source as usize).and_then(Option::as_ref);
        let source = source.filter(|source| source.leg == copy.leg && source.ssrc == packet.ssrc);
        let Some(original) = source.and_then(|source| source.original.as_ref()) else { return };
        let before = copy.pending.len();
        copy.pending.retain(|print| !original.0.contains(print));
        copy.matched += (before - copy.pending.len()) as u64;
    }
}
