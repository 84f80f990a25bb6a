//! One synchronization source: what is counted and timed of its packets, and how its payload types are read.
//!
//! Which packets are a source's is [`super::Media`]'s to decide.

use std::hint::black_box;

use super::copies::Original;
use super::guard::Guard;
use super::reports::SourceReports;
use crate::media::{Codec, Format, Side};
use crate::net::Flow;
use crate::rtp::Packet;
use crate::rtp::dtmf::Detector;
use crate::rtp::loss::{Found, Watch};
use crate::rtp::stream::{Arrival, Stream};
use crate::rtp::timing::Timing;
use crate::sdp;
use crate::time::{NS_PER_MS, Timestamp};
use crate::tracker::absence::{self, Resumption};
use crate::tracker::event::LegId;
use crate::tracker::leg::Leg;
use crate::tracker::outbox::{FormatId, Formats};
use crate::tracker::quality::Reported;

/// A source that was silent for this long, as on hold, may number its packets anew.
const SILENCE_MS: i64 = 1_000;

/// One synchronization source of one side of a leg.
///
/// Laid out as written: with thousands of streams, each packet finds its source outside the processor's nearest caches, and
/// what counts is how many cache lines of 64 bytes it has to fetch. What every packet touches comes first.
#[repr(C, align(64))]
pub(super) struct Source {
    pub(super) ssrc: u32,
    pub(super) side: Side,
    /// Its packets go through `guard` first: encrypted, or not yet known to be in clear.
    pub(super) is_guarded: bool,
    /// What it sends is remembered in `original`.
    pub(super) is_copied: bool,
    pub(super) leg: LegId,
    pub(super) last_at: Timestamp,
    /// Timestamp and sequence of the latest packet, to learn the length of a packet.
    pub(super) latest: (u32, u16),
    pub(super) clock_rate: u32,
    pub(super) ticks_per_packet: u32,
    /// Payload types met, with packets of each.
    pub(super) formats: KnownFormats,
    pub(super) watch: Watch,
    pub(super) timing: Timing,
    pub(super) receive: Stream,
    pub(super) flow: Flow,
    /// Ticks of audio that hold one constant value.
    pub(super) silent_ticks: u64,
    pub(super) guard: Option<Box<Guard>>,
    pub(super) reports: Option<Box<SourceReports>>,
    /// What it sent lately, when it is seen on a flow that nobody announced as well.
    pub(super) original: Option<Box<Original>>,
    /// It has said goodbye.
    pub(super) has_left: bool,
    pub(super) dtmf: Detector,
}

/// A payload type that a source has used.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) payload_type: u8,
    pub(super) format: FormatId,
    pub(super) kind: Payload,
    /// One byte is one sample: silence can be told without decoding.
    pub(super) is_g711: bool,
    packets: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload {
    Speech,
    Noise,
    Event,
    /// Several payloads in one (RFC 2198): each has a type of its own.
    Redundant,
}

/// The payload types of a source in the order in which they were met. The first one, which is nearly always all there is,
/// stands in the source itself.
#[derive(Default)]
#[repr(C)]
pub(super) struct KnownFormats {
    first: Option<Known>,
    more: Vec<Known>,
}

impl KnownFormats {
    fn iter(&self) -> impl Iterator<Item = &Known> {
        self.first.iter().chain(&self.more)
    }

    pub(super) fn find(&self, payload_type: u8) -> Option<&Known> {
        self.iter().find(|known| known.payload_type == payload_type)
    }

    #[inline]
    fn find_mut(&mut self, payload_type: u8) -> Option<&mut Known> {
        match &mut self.first {
            Some(first) if first.payload_type == payload_type => Some(first),
            _ => self.more.iter_mut().find(|known| known.payload_type == payload_type),
        }
    }

    fn push(&mut self, known: Known) {
        match &mut self.first {
            Some(_) => self.more.push(known),
            first => *first = Some(known),
        }
    }

    fn retain(&mut self, mut is_kept: impl FnMut(&Known) -> bool) {
        self.more.retain(&mut is_kept);
        if self.first.as_ref().is_some_and(|first| !is_kept(first)) {
            self.first = if self.more.is_empty() { None } else { Some(self.more.remove(0)) };
        }
    }
}

impl Source {
    /// Reads a value of each cache line that every packet touches.
    #[inline]
    pub(super) fn fetch(&self) {
        black_box((self.ssrc, self.ticks_per_packet, self.watch.fetch()));
        black_box((self.timing.fetch(), self.receive.fetch(), self.flow.dst.port, self.silent_ticks));
    }

    /// Sequence numbers and ticks from the latest packet to this one.
    #[inline]
    pub(super) fn step_to(&self, packet: &Packet<'_>) -> (u16, u32) {
        let (timestamp, sequence) = self.latest;
        (packet.sequence.wrapping_sub(sequence), packet.timestamp.wrapping_sub(timestamp))
    }

    /// Half a second of audio or less on, outside a hold, while the clock has leapt by minutes: the clock is wrong.
    #[cold]
    pub(super) fn goes_on_over(&self, leap: i64, packet: &Packet<'_>, at: Timestamp, leg: &Leg) -> bool {
        let (step, advance) = self.step_to(packet);
        step <= 10
            && advance <= self.clock_rate / 2
            && !leg.is_quiet()
            && at.nanos_since(self.last_at) >= leap
    }
}

/// What is counted of a packet whether it can be read or not; `counting` is the idle clock, and whether its frame is cut short.
/// `None` for a copy.
#[inline]
pub(super) fn count_packet(
    source: &mut Source,
    leg: &mut Leg,
    flow: &Flow,
    at: Timestamp,
    packet: &Packet<'_>,
    formats: &mut Formats,
    counting: (i64, bool),
) -> Option<Known> {
    let (idle_clock, is_cut) = counting;
    let (step, advance) = source.step_to(packet);
    if at.nanos_since(source.last_at) > SILENCE_MS * NS_PER_MS && source.receive.is_restart(packet.sequence) {
        source.receive.begin_anew(packet.sequence);
    }
    let arrival = source.receive.push(packet.sequence);
    source.watch.count(&source.receive, packet.sequence, arrival, at);
    if arrival == Arrival::Duplicate {
        return None;
    }
    source.last_at = at;
    if source.flow != *flow {
        source.flow = *flow;
    }
    leg.last_activity = at;
    leg.last_heard = idle_clock;
    let side = source.side;
    let heard_before = leg.side_mut(side).heard_at.replace(at);
    if absence::is_due(heard_before, at) {
        let resumption = Resumption { step, advance, clock_rate: source.clock_rate };
        absence::note(leg, side, heard_before, at, resumption);
    }
    let known = known_format(source, leg, packet.payload_type, formats);
    let clock_rate = formats.by_id(known.format).clock_rate;
    if !matches!(known.kind, Payload::Event | Payload::Redundant)
        && source.timing.push(packet.timestamp, clock_rate, at)
    {
        source.watch.note_late();
    }
    if is_cut {
        source.watch.note_cut();
    }
    Some(known)
}

/// The format of a payload type for what `source` sends: as the receiver announced it, else as the sender itself did, else
/// as RFC 3551 has it.
#[inline]
pub(super) fn known_format(source: &mut Source, leg: &Leg, payload_type: u8, formats: &mut Formats) -> Known {
    if let Some(known) = source.formats.find_mut(payload_type) {
        known.packets += 1;
        return *known;
    }
    learn_format(source, leg, payload_type, formats)
}

/// The same at the first packet with it.
#[inline(never)]
fn learn_format(source: &mut Source, leg: &Leg, payload_type: u8, formats: &mut Formats) -> Known {
    let announced = [leg.side(source.side.other()), leg.side(source.side)]
        .into_iter()
        .flat_map(|side| &side.formats)
        .find(|format| format.payload_type == payload_type);
    let format = announced.cloned().unwrap_or_else(|| sdp::static_format(payload_type));
    let kind = match format.codec {
        Codec::TelephoneEvent => Payload::Event,
        Codec::ComfortNoise => Payload::Noise,
        Codec::Other(ref name) if **name == *"RED" => Payload::Redundant,
        _ => Payload::Speech,
    };
    if kind == Payload::Speech {
        source.clock_rate = format.clock_rate;
        if source.ticks_per_packet == 0 {
            let ptime_ms = leg.side(source.side.other()).ptime_ms.unwrap_or(20).min(200);
            source.ticks_per_packet = format.clock_rate / 1000 * ptime_ms;
        }
    }
    let is_g711 = matches!(format.codec, Codec::Pcmu | Codec::Pcma);
    let known = Known { payload_type, format: formats.intern(format), kind, is_g711, packets: 1 };
    source.formats.push(known);
    known
}

/// A payload type that the descriptions now explain otherwise is looked up again at its next packet.
pub(super) fn forget_changed_formats(source: &mut Source, leg: &Leg, formats: &Formats) {
    let now = |payload_type: u8| -> Option<&Format> {
        [leg.side(source.side.other()), leg.side(source.side)]
            .into_iter()
            .flat_map(|side| &side.formats)
            .find(|format| format.payload_type == payload_type)
    };
    source
        .formats
        .retain(|known| now(known.payload_type).is_none_or(|format| format == formats.by_id(known.format)));
}

/// Does a payload of G.711 hold one value throughout? So digital silence looks: mute, or a microphone that is not there.
/// Near zero the last bit and the sign may change.
pub(super) fn is_constant(payload: &[u8]) -> bool {
    let Some((first, rest)) = payload.split_first() else { return false };
    // The values next to zero: 1111 111x of mu-law, 1101 010x of A-law, and their opposites.
    let mask = if matches!(first | 0x80, 0xfe | 0xff | 0xd4 | 0xd5) { 0x7e } else { 0xff };
    let differs = |byte: &u8| (byte ^ first) & mask != 0;
    // Speech shows within a few samples.
    if rest.iter().take(8).any(differs) {
        return false;
    }
    rest.iter().fold(0, |all, byte| all | (byte ^ first)) & mask == 0
}

/// One source's numbers.
pub(in crate::tracker) struct SourceReport {
    pub(in crate::tracker) ssrc: u32,
    pub(in crate::tracker) packets: u64,
    pub(in crate::tracker) reordered: u64,
    pub(in crate::tracker) duplicates: u64,
    pub(in crate::tracker) found: Found,
    pub(in crate::tracker) timing: Timing,
    pub(in crate::tracker) silent_ms: u64,
    pub(in crate::tracker) reported: Option<Reported>,
    pub(in crate::tracker) formats: Vec<(FormatId, u64)>,
    /// Packets that were decrypted, could not be, and look encrypted although announced as plain.
    pub(in crate::tracker) secrecy: [u64; 3],
}

impl SourceReport {
    pub(super) fn of(source: Source) -> Self {
        SourceReport {
            ssrc: source.ssrc,
            packets: source.receive.received(),
            reordered: source.receive.reordered(),
            duplicates: source.receive.duplicates(),
            found: source.watch.finish(),
            timing: source.timing,
            silent_ms: source.silent_ticks.saturating_mul(1000) / u64::from(source.clock_rate.max(1)),
            reported: source.reports.and_then(|reports| reports.finish()),
            formats: source.formats.iter().map(|known| (known.format, known.packets)).collect(),
            secrecy: source
                .guard
                .as_ref()
                .map_or([0; 3], |guard| [guard.decrypted, guard.undecryptable, guard.scrambled]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn what_each_packet_touches_of_a_source_stands_on_its_first_seven_cache_lines() {
        assert_eq!(offset_of!(Source, ssrc), 0);
        assert!(offset_of!(Source, silent_ticks) <= 7 * 64, "{}", offset_of!(Source, silent_ticks));
        // What tells whose a packet is, when the latest one came and how its payload is read: the first line.
        let first = offset_of!(Source, formats) + offset_of!(KnownFormats, first);
        assert!(first + size_of::<Option<Known>>() <= 64, "{first}");
    }

    #[test]
    fn payload_types_keep_the_order_in_which_they_were_met() {
        let format = Formats::default().intern(sdp::static_format(0));
        let known =
            |payload_type| Known { payload_type, format, kind: Payload::Speech, is_g711: true, packets: 1 };
        let mut formats = KnownFormats::default();
        [8, 0, 101].into_iter().for_each(|payload_type| formats.push(known(payload_type)));
        let order = |formats: &KnownFormats| formats.iter().map(|k| k.payload_type).collect::<Vec<_>>();
        assert_eq!(order(&formats), [8, 0, 101]);
        assert!(formats.find_mut(8).is_some() && formats.find_mut(101).is_some());
        assert!(formats.find_mut(18).is_none());
        formats.retain(|known| known.payload_type != 8);
        assert_eq!(order(&formats), [0, 101]);
        formats.retain(|_| false);
        assert!(order(&formats).is_empty());
    }
}
