//! One party's RTP: audio, comfort noise and telephone events, with what the network does to them.

use std::net::SocketAddr;
use std::sync::Arc;

use super::plan::Call;
use super::{EVENT_PT, LOUDNESS, NOISE_PT, Party, RATE, Scenario, Sent};
use crate::g711::Law;
use crate::rng::Rng;
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
        let mut rng = Rng::new(scenario.seed, (u64::from(call.index) << 2) + 0x1_0000_0000 + place as u64);
        let is_early = scenario.early_media && party != call.caller;
        let first = if is_early { call.ringing + 40 * MS } else { call.media_from };
        let phase = rng.below(u64::from(scenario.ptime_ms) * 1000) as i64 * 1000;
        let ssrc = rng.next() as u32 | 1;
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
            start: first + phase,
            slot: 0,
            sequence: rng.next() as u16,
            timestamp_base: rng.next() as u32,
            ident: rng.next() as u16,
            rng,
            marker: true,
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
            } else {
                self.marker = true;
            }
            self.slot += 1;
        }
    }

    /// When the packet of an interval is sent, by this party's own clock.
    fn due(&self, slot: u64) -> i64 {
        let ppm = self.scenario.skew_ppm[usize::from(self.party == Party::Far)];
        let nominal = (slot * u64::from(self.scenario.ptime_ms)) as f64 * MS as f64;
        self.start + (nominal / (1.0 + ppm / 1e6)).round() as i64
    }

    fn last_moment(&self) -> i64 {
        if self.call.answer.is_some() { self.call.media_until } else { self.call.end }
    }

    /// Nobody sends while the call is on hold.
    fn may_send(&self, at: i64) -> bool {
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
        let (from, to) = (self.call.end_of(self.party), self.call.end_of(self.party.other()));
        let port = |party: Party, usual: u16| {
            let moved =
                party == Party::Near && self.call.moved.is_some_and(|moved| at >= Call::in_force(moved));
            if moved { self.call.moved_port() } else { usual }
        };
        let path = Path {
            from: (from.host, port(self.party, from.rtp_port)),
            to: (to.host, port(self.party.other(), to.rtp_port)),
            vlans: &self.scenario.vlans,
        };
        let mut rtp = Vec::with_capacity(12 + packet.payload.len());
        rtp.extend([0x80, (u8::from(packet.marker) << 7) | packet.payload_type]);
        rtp.extend(self.sequence.to_be_bytes());
        rtp.extend(packet.timestamp.to_be_bytes());
        rtp.extend(self.sent.ssrcs.last().copied().unwrap_or_default().to_be_bytes());
        rtp.extend(packet.payload);
        self.ident = self.ident.wrapping_add(1);
        let mut frames = wire::udp(path, self.ident, &rtp);
        assert_eq!(frames.len(), 1, "a packet of audio fits one frame");
        frames.remove(0)
    }
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
