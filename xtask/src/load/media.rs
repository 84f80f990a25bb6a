//! One party's RTP: audio, comfort noise and telephone events, with what the network does to them.

use std::net::SocketAddr;
use std::sync::Arc;

use super::plan::Call;
use super::rtcp::{self, Report};
use super::{EVENT_PT, LOUDNESS, NOISE_PT, Party, RATE, Scenario, Sent};
use crate::g711::Law;
use crate::rng::Rng;
use crate::srtp::{Secret, Sender};
use crate::wire::{self, Path};

const MS: i64 = 1_000_000;
/// Each party speaks in a part of a cycle of this length when silence is suppressed.
const TURN_CYCLE_MS: u64 = 4000;
/// The near party speaks this long from the start of the cycle; the far one from 2,000 ms to its end.
const NEAR_SPEAKS_MS: u64 = 2400;
const FAR_SPEAKS_FROM_MS: u64 = 2000;
/// Comfort noise is renewed this often while a party is silent.
const NOISE_EVERY_MS: u64 = 200;
/// Level of the comfort noise: -60 dBov (RFC 3389, 3).
const NOISE_LEVEL: u8 = 60;
/// First digit, from one digit to the next, and length of a digit.
const DIGITS_FROM_MS: u64 = 1500;
const DIGIT_EVERY_MS: u64 = 400;
const DIGIT_MS: u64 = 160;

/// Where the bytes of audio come from.
enum Voice {
    /// A tone, by two tables of one second of a 1 Hz sine in G.711: loud and soft. A tone of f Hz walks f steps a
    /// sample, so that thousands of tones need no table of their own.
    Tone { hz: u32, tables: Arc<[Vec<u8>; 2]> },
    /// Samples in G.711, repeated.
    Samples(Arc<[u8]>),
}

impl Voice {
    fn byte(&self, sample: u64) -> u8 {
        match self {
            Voice::Tone { hz, tables } => {
                let rate = u64::from(RATE);
                let table = &tables[(sample / rate % 2) as usize];
                table[(sample % rate * u64::from(*hz) % rate) as usize]
            }
            Voice::Samples(samples) => samples[(sample % samples.len().max(1) as u64) as usize],
        }
    }
}

/// The two tables of a [`Voice::Tone`].
pub(super) fn tone_tables(law: Law) -> Arc<[Vec<u8>; 2]> {
    Arc::new(LOUDNESS.map(|amplitude| {
        let turn = std::f64::consts::TAU / f64::from(RATE);
        (0..RATE).map(|n| law.encode((amplitude * (turn * f64::from(n)).sin()).round() as i16)).collect()
    }))
}

/// The key that a party's packets are protected with.
pub(super) fn secret(scenario: &Scenario, call: &Call, party: Party) -> Secret {
    let place = u64::from(party == Party::Far);
    Secret::new(scenario.seed, (u64::from(call.index) << 2) + 0x2_0000_0000 + place)
}

/// One party's sender.
pub(super) struct Stream<'a> {
    scenario: &'a Scenario,
    call: &'a Call,
    party: Party,
    voice: Voice,
    rng: Rng,
    digits: Vec<u8>,
    /// When packet 0 is sent.
    start: i64,
    /// The next packet interval.
    slot: u64,
    sequence: u16,
    timestamp_base: u32,
    ident: u16,
    /// The next audio packet is the first after a silence.
    marker: bool,
    srtp: Option<Sender>,
    sent: Sent,
}

/// What goes into one packet.
struct Packet<'a> {
    payload_type: u8,
    marker: bool,
    timestamp: u32,
    payload: &'a [u8],
}

impl<'a> Stream<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        call: &'a Call,
        party: Party,
        tables: &Arc<[Vec<u8>; 2]>,
        voices: Option<&[Arc<[u8]>; 2]>,
    ) -> Self {
        let place = usize::from(party == Party::Far);
        let mut rng = rng_of(scenario, call, party);
        let (start, ssrc) = opening(scenario, call, party, &mut rng);
        let end = call.end_of(party);
        let hz = call.tones[place];
        Stream {
            scenario,
            call,
            party,
            voice: match voices {
                Some(voices) => Voice::Samples(Arc::clone(&voices[place])),
                None => Voice::Tone { hz, tables: Arc::clone(tables) },
            },
            digits: if party == Party::Near {
                scenario.digits.bytes().filter_map(event_code).collect()
            } else {
                vec![]
            },
            start,
            slot: 0,
            sequence: rng.next() as u16,
            timestamp_base: rng.next() as u32,
            ident: rng.next() as u16,
            rng,
            marker: true,
            srtp: scenario.srtp.then(|| Sender::new(&secret(scenario, call, party))),
            sent: Sent {
                tone_hz: hz,
                from: SocketAddr::new(end.host.ip, end.rtp_port),
                ssrcs: vec![ssrc],
                packets: 0,
                lost: 0,
                duplicates: 0,
                reordered: 0,
                events: 0,
                noise: 0,
                sent_ns: None,
                audio_ms: 0,
            },
        }
    }

    pub(super) fn into_sent(self) -> Sent {
        self.sent
    }

    /// Sends every packet that is due before `until`.
    pub(super) fn run(&mut self, until: i64, out: &mut Vec<(i64, Vec<u8>)>) {
        loop {
            let at = self.due(self.slot);
            // A packet goes out when its audio is complete, so the last one must end with the call.
            if at >= until || self.due(self.slot + 1) > self.last_moment() {
                return;
            }
            self.change_source(at);
            if self.may_send(at) {
                self.fill(at, out);
                self.report(at, out);
            } else {
                self.marker = true;
            }
            self.slot += 1;
        }
    }

    /// When the packet of an interval is sent, by this party's own clock.
    fn due(&self, slot: u64) -> i64 {
        let place = usize::from(self.party == Party::Far);
        let length = |slots: u64, ppm: f64| {
            (slots * u64::from(self.scenario.ptime_ms)) as f64 * MS as f64 / (1.0 + ppm / 1e6)
        };
        let half = u64::from(self.scenario.talk_ms / 2 / self.scenario.ptime_ms);
        let turn = self.scenario.later_skew_ppm.filter(|_| slot > half);
        let nanos = match turn {
            Some(later) => length(half, self.scenario.skew_ppm[place]) + length(slot - half, later[place]),
            None => length(slot, self.scenario.skew_ppm[place]),
        };
        self.start + nanos.round() as i64
    }

    /// RTCP, when it is due with this packet.
    fn report(&mut self, at: i64, out: &mut Vec<(i64, Vec<u8>)>) {
        let Some(trip_ms) = self.scenario.rtcp_trip_ms else { return };
        let every = rtcp::EVERY_MS / u64::from(self.scenario.ptime_ms).max(1);
        if self.slot == 0 || !self.slot.is_multiple_of(every.max(1)) {
            return;
        }
        let other = self.party.other();
        let (start, about) =
            opening(self.scenario, self.call, other, &mut rng_of(self.scenario, self.call, other));
        let trip = i64::from(trip_ms) * MS;
        // The other party reports at whole seconds from its start, by the same rule; half a trip later it is heard here.
        let heard = (at - trip - start).div_euclid(rtcp::EVERY_MS as i64 * MS);
        let name = if self.party == Party::Near { "near" } else { "far" };
        let compound = Report {
            ssrc: self.sent.ssrcs.last().copied().unwrap_or_default(),
            at,
            timestamp: self.timestamp(self.slot),
            packets: self.sent.packets as u32,
            cname: &format!("{name}-{}@xtask.invalid", self.call.index),
            about,
            before: (self.slot / every.max(1)) as u32 - 1,
            heard: (heard > 0).then_some(start + heard * rtcp::EVERY_MS as i64 * MS),
            trip,
        };
        let frame = self.datagram(at, 1, &compound.bytes());
        out.push((at, frame));
    }

    fn last_moment(&self) -> i64 {
        if self.call.answer.is_some() { self.call.media_until } else { self.call.end }
    }

    /// Nobody sends while the call is on hold; of one-way audio, the far side no more.
    fn may_send(&self, at: i64) -> bool {
        let gone_at = self.call.media_from + i64::from(self.scenario.talk_ms) * MS / 100 * 40;
        if self.scenario.one_way && self.party == Party::Far && at >= gone_at {
            return false;
        }
        !self
            .call
            .hold
            .is_some_and(|(hold, retrieve)| (Call::in_force(hold)..Call::in_force(retrieve)).contains(&at))
    }

    fn change_source(&mut self, at: i64) {
        let due = self.party == Party::Far && self.call.ssrc_change.is_some_and(|change| at >= change);
        if due && self.sent.ssrcs.len() == 1 {
            self.sent.ssrcs.push(self.rng.next() as u32 & !1);
            self.sequence = self.rng.next() as u16;
            self.timestamp_base = self.rng.next() as u32;
            self.marker = true;
        }
    }

    /// Fills one packet interval with whatever is due in it.
    fn fill(&mut self, at: i64, out: &mut Vec<(i64, Vec<u8>)>) {
        let media_ms = self.slot * u64::from(self.scenario.ptime_ms);
        if let Some((code, into_ms)) = self.digit(media_ms) {
            return self.event(at, code, into_ms, out);
        }
        let timestamp = self.timestamp(self.slot);
        if self.scenario.silence_suppression && !self.speaks(media_ms) {
            let renewal = media_ms % NOISE_EVERY_MS < u64::from(self.scenario.ptime_ms);
            if !self.marker || renewal {
                let noise =
                    Packet { payload_type: NOISE_PT, marker: false, timestamp, payload: &[NOISE_LEVEL] };
                self.sent.noise += u64::from(self.send(at, &noise, out));
            }
            self.marker = true;
            return;
        }
        let samples = self.samples_per_packet();
        let first = self.slot * samples;
        let payload: Vec<u8> = (first..first + samples).map(|n| self.voice.byte(n)).collect();
        let payload_type = self.scenario.law.payload_type();
        let audio = Packet { payload_type, marker: self.marker, timestamp, payload: &payload };
        self.marker = false;
        self.send(at, &audio, out);
    }

    /// The digit that is held at this place of the audio, and for how long it has been.
    fn digit(&self, media_ms: u64) -> Option<(u8, u64)> {
        let since = media_ms.checked_sub(DIGITS_FROM_MS)?;
        let code = self.digits.get((since / DIGIT_EVERY_MS) as usize)?;
        let into = since % DIGIT_EVERY_MS;
        (into < DIGIT_MS).then_some((*code, into))
    }

    /// One update of a telephone event; the last one three times (RFC 4733, 2.5.1.4). Its time stays that of the
    /// first packet, and no audio is sent beside it.
    fn event(&mut self, at: i64, code: u8, into_ms: u64, out: &mut Vec<(i64, Vec<u8>)>) {
        let ptime = u64::from(self.scenario.ptime_ms);
        let slots_before = into_ms / ptime;
        let is_last = into_ms + ptime >= DIGIT_MS;
        let duration = ((slots_before + 1) * self.samples_per_packet()) as u16;
        let [high, low] = duration.to_be_bytes();
        let payload = [code, if is_last { 0x8a } else { 0x0a }, high, low];
        let timestamp = self.timestamp(self.slot - slots_before);
        for copy in 0..if is_last { 3 } else { 1 } {
            let event =
                Packet { payload_type: EVENT_PT, marker: slots_before == 0, timestamp, payload: &payload };
            self.sent.events += u64::from(self.send(at + copy * MS, &event, out));
        }
        self.marker = true;
    }

    fn speaks(&self, media_ms: u64) -> bool {
        let into = media_ms % TURN_CYCLE_MS;
        match self.party {
            Party::Near => into < NEAR_SPEAKS_MS,
            Party::Far => into >= FAR_SPEAKS_FROM_MS,
        }
    }

    fn samples_per_packet(&self) -> u64 {
        u64::from(self.scenario.ptime_ms) * u64::from(RATE) / 1000
    }

    fn timestamp(&self, slot: u64) -> u32 {
        self.timestamp_base.wrapping_add((slot * self.samples_per_packet()) as u32)
    }

    /// Hands a packet to the network; says whether it arrives.
    fn send(&mut self, at: i64, packet: &Packet<'_>, out: &mut Vec<(i64, Vec<u8>)>) -> bool {
        let s = self.scenario;
        let (is_lost, is_late, is_copied) =
            (self.rng.chance(s.loss_pct), self.rng.chance(s.reorder_pct), self.rng.chance(s.duplicate_pct));
        let jitter = self.rng.below(u64::from(s.jitter_ms) * 1000) as i64 * 1000;
        let ptime = i64::from(s.ptime_ms) * MS;
        let bytes = self.bytes(at, packet);
        self.sequence = self.sequence.wrapping_add(1);
        self.sent.sent_ns = Some((self.sent.sent_ns.map_or(at, |(first, _)| first), at));
        self.sent.audio_ms = (self.slot + 1) * u64::from(s.ptime_ms);
        if is_lost {
            self.sent.lost += 1;
            return false;
        }
        self.sent.packets += 1;
        self.sent.reordered += u64::from(is_late);
        // Later than the successor by a quarter of a packet.
        let arrives = at + jitter + if is_late { ptime + ptime / 4 } else { 0 };
        if is_copied {
            self.sent.duplicates += 1;
            out.push((arrives + 400_000, bytes.clone()));
        }
        out.push((arrives, bytes));
        true
    }

    fn bytes(&mut self, at: i64, packet: &Packet<'_>) -> Vec<u8> {
        let mut rtp = Vec::with_capacity(12 + packet.payload.len());
        rtp.extend([0x80, (u8::from(packet.marker) << 7) | packet.payload_type]);
        rtp.extend(self.sequence.to_be_bytes());
        rtp.extend(packet.timestamp.to_be_bytes());
        rtp.extend(self.sent.ssrcs.last().copied().unwrap_or_default().to_be_bytes());
        rtp.extend(packet.payload);
        if let Some(sender) = &mut self.srtp {
            rtp = sender.seal(&rtp);
        }
        self.datagram(at, 0, &rtp)
    }

    /// A frame from this party's port to the other's, or from so many ports above to as many above.
    fn datagram(&mut self, at: i64, above: u16, payload: &[u8]) -> Vec<u8> {
        let (from, to) = (self.call.end_of(self.party), self.call.end_of(self.party.other()));
        let port = |party: Party, usual: u16| {
            let moved =
                party == Party::Near && self.call.moved.is_some_and(|moved| at >= Call::in_force(moved));
            let rebound = party == Party::Near && self.call.rebound.is_some_and(|rebound| at >= rebound);
            match (moved, rebound) {
                (true, _) => self.call.moved_port(),
                (_, true) => self.call.rebound_port(),
                _ => usual,
            }
        };
        let path = Path {
            from: (from.host, port(self.party, from.rtp_port) + above),
            to: (to.host, port(self.party.other(), to.rtp_port) + above),
            vlans: &self.scenario.vlans,
        };
        self.ident = self.ident.wrapping_add(1);
        let mut frames = wire::udp(path, self.ident, payload);
        assert_eq!(frames.len(), 1, "a packet of audio fits one frame");
        frames.remove(0)
    }
}

/// The draws of one party of one call.
fn rng_of(scenario: &Scenario, call: &Call, party: Party) -> Rng {
    let place = u64::from(party == Party::Far);
    Rng::new(scenario.seed, (u64::from(call.index) << 2) + 0x1_0000_0000 + place)
}

/// When a party sends its first packet, and its first source: its first two draws.
fn opening(scenario: &Scenario, call: &Call, party: Party, rng: &mut Rng) -> (i64, u32) {
    let is_early = scenario.early_media && party != call.caller;
    let first = if is_early { call.ringing + 40 * MS } else { call.media_from };
    let phase = rng.below(u64::from(scenario.ptime_ms) * 1000) as i64 * 1000;
    (first + phase, rng.next() as u32 | 1)
}

/// The event code of a key (RFC 4733, 3.2, table 3).
fn event_code(key: u8) -> Option<u8> {
    Some(match key {
        b'0'..=b'9' => key - b'0',
        b'*' => 10,
        b'#' => 11,
        b'A'..=b'D' => key - b'A' + 12,
        _ => return None,
    })
}
