//! What stands between a source's packets and their use: SRTP is opened, what cannot be opened is counted and not kept, and what is
//! announced as plain is looked at for a while, whether its bytes are ciphertext.
//!
//! All of it is off the hot path: a source in clear whose bytes have been looked at costs one flag a packet.

use super::Media;
use super::held::Held;
use super::source::{Payload, Source, count_packet};
use crate::media::Side;
use crate::net::Flow;
use crate::rtp;
use crate::scramble::{self, Look, Scramble};
use crate::srtp::Receiver;
use crate::time::{NS_PER_MS, Timestamp};
use crate::tracker::event::LegId;
use crate::tracker::leg::{Leg, Legs};
use crate::tracker::outbox::Outbox;
use crate::tracker::secrecy::KeyPacket;

/// A source in clear is looked at again after this long: encryption may begin within a call.
const LOOK_AGAIN_MS: i64 = 30_000;
/// Packets after which a look that has told nothing is given up: digits and comfort noise only, say.
const LOOK_PACKETS_MAX: u32 = 1_000;
/// After so many packets in a row that do not authenticate, the key is lost, and they are the source's own; before that, they are
/// somebody else's. Also when it is told that no key fits: a late listener has found the counter by then.
const KEY_LOST: u32 = 50;

/// Bytes held of one source whose key may still come, since an offer of SRTP is not answered yet: some 6 s of G.711. Beyond, the
/// older half is counted as undecryptable.
const WAITING_BYTES_MAX: usize = 64 * 1024;
/// The same of all sources together; what comes beyond is counted as undecryptable at once.
const WAITING_ALL_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How a source's packets are treated.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Clear,
    /// SRTP that was offered and not answered: opened where it authenticates, else in clear.
    Perhaps,
    /// SRTP with keys.
    Keyed,
    /// Encrypted, and no key.
    Closed,
}

/// One source's guard.
#[derive(Default)]
pub(super) struct Guard {
    mode: Mode,
    receiver: Receiver,
    look: Option<Box<Scramble>>,
    looked_at: Option<Timestamp>,
    looked_packets: u32,
    is_scrambled: bool,
    told: bool,
    /// What no key opens while an offer waits for its answer, which may bring the key.
    waiting: Held,
    /// Packets that a key opened, that none did, and that look like ciphertext under the name of a plain codec.
    pub(super) decrypted: u64,
    pub(super) undecryptable: u64,
    pub(super) scrambled: u64,
}

impl Guard {
    /// Takes over what the signalling says now.
    fn settle(&mut self, leg: &Leg, side: Side) {
        let secrecy = &leg.secrecy;
        let has_keys = secrecy.keys(side).next().is_some();
        self.mode = match leg.facts.encrypted {
            true if has_keys => Mode::Keyed,
            true => Mode::Closed,
            false if has_keys && secrecy.is_undecided() => Mode::Perhaps,
            false => Mode::Clear,
        };
        if has_keys {
            self.receiver.learn(secrecy.keys(side));
        }
        self.begin_look();
    }

    fn begin_look(&mut self) {
        if !self.is_scrambled {
            self.look = Some(Box::default());
        }
        self.looked_packets = 0;
    }
}

impl Source {
    /// Time has passed: a source in clear is looked at again.
    pub(super) fn look_again(&mut self, now: Timestamp) {
        if let Some(guard) = self.guard.as_mut().filter(|_| !self.is_guarded)
            && guard.looked_at.is_none_or(|at| now.nanos_since(at) > LOOK_AGAIN_MS * NS_PER_MS)
        {
            guard.begin_look();
            guard.looked_at = Some(now);
            self.is_guarded = true;
        }
    }
}

impl Media {
    /// The signalling of a leg, or a packet about keys, has changed what protects its media.
    pub(super) fn guard_sources(&mut self, leg: &Leg) {
        for side in [Side::Caller, Side::Callee] {
            for &index in &leg.side(side).sources {
                if let Some(source) = self.sources.get_mut(index as usize).and_then(Option::as_mut) {
                    source.guard.get_or_insert_default().settle(leg, side);
                    source.is_guarded = true;
                }
            }
        }
    }

    /// An offer of SRTP has its answer, or the leg is over: what has waited for a key is opened, or counted as undecryptable.
    pub(in crate::tracker) fn settle_waiting(
        &mut self,
        leg: LegId,
        is_over: bool,
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        let Some(leg) = legs.leg(leg).filter(|leg| is_over || !leg.secrecy.is_undecided()) else { return };
        let sources: Vec<u32> = leg.sides.iter().flat_map(|side| &side.sources).copied().collect();
        for index in sources {
            let Some(source) = self.sources.get_mut(index as usize).and_then(Option::as_mut) else {
                continue;
            };
            let (flow, Some(guard)) = (source.flow, source.guard.as_mut()) else { continue };
            let held = std::mem::take(&mut guard.waiting);
            self.waiting_bytes -= held.cost();
            for (at, bytes) in held.iter() {
                if is_over {
                    self.count_closed(index, flow, at, bytes, legs, out);
                } else {
                    self.guarded_packet(index, flow, at, bytes, legs, out);
                }
            }
        }
    }

    /// Bytes held of what waits for a key.
    #[cfg(test)]
    pub(in crate::tracker) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Holds a packet that no key opens, where its key may still come.
    fn wait_for_key(
        &mut self,
        index: u32,
        flow: Flow,
        at: Timestamp,
        bytes: &[u8],
        legs: &mut Legs,
        out: &mut Outbox,
    ) -> bool {
        let Some(source) = self.sources.get_mut(index as usize).and_then(Option::as_mut) else {
            return false;
        };
        let Some(leg) = legs.leg_mut(source.leg).filter(|leg| leg.secrecy.is_undecided()) else {
            return false;
        };
        let Some(guard) = source.guard.as_mut() else { return false };
        if self.waiting_bytes + bytes.len() > WAITING_ALL_BYTES_MAX {
            return false;
        }
        leg.last_activity = at;
        leg.last_heard = self.idle_clock;
        source.last_at = at;
        let before = guard.waiting.cost();
        guard.waiting.push(at, bytes, usize::MAX);
        let mut too_old = Held::default();
        if guard.waiting.cost() > WAITING_BYTES_MAX {
            too_old = guard.waiting.take_oldest(WAITING_BYTES_MAX / 2);
        }
        self.waiting_bytes = self.waiting_bytes + guard.waiting.cost() - before;
        for (at, bytes) in too_old.iter() {
            self.count_closed(index, flow, at, bytes, legs, out);
        }
        true
    }

    /// A packet about keys on a leg's audio port. False when it is none.
    #[cold]
    pub(super) fn key_packet(&mut self, place: (LegId, Side), bytes: &[u8], legs: &mut Legs) -> bool {
        let (id, side) = place;
        let Some(kind) = KeyPacket::of(bytes) else { return false };
        let Some(leg) = legs.leg_mut(id) else { return true };
        match kind {
            KeyPacket::Dtls => leg.secrecy.note_dtls(side),
            KeyPacket::ZrtpSecure => leg.secrecy.note_zrtp(true),
            KeyPacket::ZrtpClear => leg.secrecy.note_zrtp(false),
        }
        let before = leg.facts.encrypted;
        leg.settle_encryption();
        if leg.facts.encrypted != before {
            self.guard_sources(leg);
        }
        true
    }

    /// One packet of a source that is guarded.
    #[cold]
    pub(super) fn guarded_packet(
        &mut self,
        index: u32,
        flow: Flow,
        at: Timestamp,
        bytes: &[u8],
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        let Some(source) = self.sources.get_mut(index as usize).and_then(Option::as_mut) else { return };
        if source.guard.is_none() {
            let Some(leg) = legs.leg(source.leg) else { return };
            source.guard.get_or_insert_default().settle(leg, source.side);
        }
        let Some(guard) = source.guard.as_mut() else { return };
        let before = source.receive.received();
        match guard.mode {
            Mode::Clear => self.clear_packet(index, flow, at, bytes, legs, out),
            Mode::Closed => self.closed_packet(index, flow, at, bytes, legs, out),
            Mode::Perhaps | Mode::Keyed => {
                let mut opened = std::mem::take(&mut self.opened);
                if guard.receiver.open(bytes, &mut opened) {
                    if let Ok(packet) = rtp::parse(&opened) {
                        self.audio_packet(index, &flow, at, &packet, legs, out);
                    }
                    self.count_decrypted(index, before, &opened, flow, at, out);
                } else if guard.mode == Mode::Perhaps {
                    self.clear_packet(index, flow, at, bytes, legs, out);
                } else {
                    self.closed_packet(index, flow, at, bytes, legs, out);
                }
                self.opened = opened;
            }
        }
    }

    fn count_decrypted(
        &mut self,
        index: u32,
        before: u64,
        opened: &[u8],
        flow: Flow,
        at: Timestamp,
        out: &mut Outbox,
    ) {
        let Some(source) = self.sources.get_mut(index as usize).and_then(Option::as_mut) else { return };
        if source.receive.received() == before {
            return;
        }
        let Some(guard) = source.guard.as_mut() else { return };
        guard.decrypted += 1;
        if !guard.receiver.is_authentic() {
            // Nothing but its look tells whether the key was the right one.
            self.look(index, flow, at, opened, out);
        }
    }

    /// A packet in clear, which is looked at as well.
    fn clear_packet(
        &mut self,
        index: u32,
        flow: Flow,
        at: Timestamp,
        bytes: &[u8],
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        let Ok(packet) = rtp::parse(bytes) else { return };
        let before = self.source(index).map(|source| source.receive.received());
        self.audio_packet(index, &flow, at, &packet, legs, out);
        // A copy would count its bytes twice.
        if self.source(index).map(|source| source.receive.received()) != before {
            self.look(index, flow, at, bytes, out);
        }
    }

    fn look(&mut self, index: u32, flow: Flow, at: Timestamp, bytes: &[u8], out: &mut Outbox) {
        let Some(source) = self.sources.get_mut(index as usize).and_then(Option::as_mut) else { return };
        let (Some(guard), Ok(packet)) = (source.guard.as_mut(), rtp::parse(bytes)) else { return };
        let known = source.formats.find(packet.payload_type);
        let can_tell =
            known.is_some_and(|known| scramble::applies_to(&out.formats.by_id(known.format).codec));
        if !can_tell && known.is_some_and(|known| known.kind == Payload::Speech) {
            // Of such a codec nothing will ever be known.
            guard.looked_packets = LOOK_PACKETS_MAX;
        }
        guard.looked_packets = guard.looked_packets.saturating_add(1);
        let look = match guard.look.as_mut().filter(|_| can_tell) {
            Some(look) => look.push(packet.payload),
            None => Look::Unknown,
        };
        match look {
            Look::Scrambled if !guard.is_scrambled => {
                guard.is_scrambled = true;
                guard.scrambled += u64::from(guard.looked_packets);
                out.oddity(at, Some(flow), "announced as plain audio, but the bytes look encrypted");
            }
            _ if guard.is_scrambled && look != Look::Plain => guard.scrambled += u64::from(can_tell),
            Look::Plain => {
                guard.is_scrambled = false;
                guard.end_look(at);
                source.is_guarded = guard.mode != Mode::Clear;
            }
            Look::Unknown if guard.looked_packets > LOOK_PACKETS_MAX => {
                guard.end_look(at);
                source.is_guarded = guard.mode != Mode::Clear;
            }
            Look::Unknown | Look::Scrambled => {}
        }
    }

    /// A packet that cannot be opened, or not yet.
    fn closed_packet(
        &mut self,
        index: u32,
        flow: Flow,
        at: Timestamp,
        bytes: &[u8],
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        if !self.wait_for_key(index, flow, at, bytes, legs, out) {
            self.count_closed(index, flow, at, bytes, legs, out);
        }
    }

    /// A packet that cannot be opened: counted, not kept.
    fn count_closed(
        &mut self,
        index: u32,
        flow: Flow,
        at: Timestamp,
        bytes: &[u8],
        legs: &mut Legs,
        out: &mut Outbox,
    ) {
        let counting = (self.idle_clock, self.is_cut);
        let Some(source) = self.sources.get_mut(index as usize).and_then(Option::as_mut) else { return };
        let Some(leg) = legs.leg_mut(source.leg) else { return };
        let (Some(guard), Ok(packet)) = (source.guard.as_mut(), rtp::parse(bytes)) else { return };
        if guard.mode == Mode::Keyed {
            let is_forged = guard.decrypted > 0 && guard.receiver.failures() < KEY_LOST;
            if !guard.told && (is_forged || guard.receiver.failures() >= KEY_LOST) {
                guard.told = true;
                out.oddity(at, Some(flow), "SRTP that no key of its sender authenticates");
            }
            if is_forged {
                // Its sequence number may be a lie: the true packet with this number must still be taken.
                guard.undecryptable += 1;
                return;
            }
        }
        let counted = count_packet(source, leg, &flow, at, &packet, &mut out.formats, counting).is_some();
        if let Some(guard) = source.guard.as_mut().filter(|_| counted) {
            guard.undecryptable += 1;
        }
    }
}

impl Guard {
    fn end_look(&mut self, at: Timestamp) {
        self.look = None;
        self.looked_at = Some(at);
    }
}
