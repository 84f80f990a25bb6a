//! One run's packets turned into its own unbroken line of samples.
//!
//! Owns the reorder queue, decoding in sequence, and what fills the holes: concealment where packets are missing by
//! sequence number, comfort noise or silence where nothing was sent. Works on the run's *source* scale (see
//! [`super::timeline`]): whether its clock has to be stretched is the renderer's affair.

use std::collections::BTreeMap;
use std::ops::Range;

use super::conceal::{self, Concealment};
use crate::codec::{self, Decoder, comfort_noise};
use crate::media::{Codec, Format};

/// Packets waiting for their turn; more are dropped. Ten seconds of 5 ms packets.
const QUEUE_MAX: usize = 2_048;
/// Silent samples before a run's first.
const LEAD: usize = 4;
/// Samples kept before the place that is read.
const KEEP_MS: usize = 60;
/// Consumed samples are let go in steps of about this many.
const DRAIN: usize = 8_192;
/// A gap of more sequence numbers is a restart, not loss.
const MISSING_MAX: u16 = 3_000;

/// What a queued packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Audio,
    ComfortNoise,
    Event,
}

#[derive(Clone, Debug)]
struct Queued {
    format: u16,
    payload: Box<[u8]>,
}

/// The formats of a recording, each with what it is; sources refer to them by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Formats {
    formats: Vec<(Format, Kind)>,
    latest: usize,
}

/// Formats known at a time; a recording that names more has packets of the later ones left silent.
const FORMATS_MAX: usize = 256;

impl Formats {
    /// The number of a format.
    pub(super) fn number(&mut self, format: &Format) -> Option<u16> {
        if self.formats.get(self.latest).is_none_or(|(known, _)| known != format) {
            self.latest = match self.formats.iter().position(|(known, _)| known == format) {
                Some(index) => index,
                None if self.formats.len() < FORMATS_MAX => {
                    let kind = match format.codec {
                        Codec::ComfortNoise => Kind::ComfortNoise,
                        Codec::TelephoneEvent => Kind::Event,
                        Codec::Pcmu | Codec::Pcma | Codec::Other(_) => Kind::Audio,
                    };
                    self.formats.push((format.clone(), kind));
                    self.formats.len() - 1
                }
                None => return None,
            };
        }
        u16::try_from(self.latest).ok()
    }

    fn get(&self, number: u16) -> Option<&(Format, Kind)> {
        self.formats.get(usize::from(number))
    }
}

/// What the packet before a hole was; `Nothing` also for one that could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    Audio,
    ComfortNoise,
    Event,
}

/// The samples of one run, produced as far as they are asked for.
pub(super) struct Source {
    queue: BTreeMap<(i64, u16), Queued>,
    waiting: usize,
    /// Source sample at which `pcm` begins.
    base: i64,
    pcm: Vec<i16>,
    rate: u32,
    decoder: Option<(u16, Option<Box<dyn Decoder>>)>,
    scratch: Vec<i16>,
    before: Before,
    sequence: u16,
    /// Source samples in the last packet with audio.
    packet: i64,
    loss: Option<Concealment>,
    /// Up to where the loss lasts, in source samples.
    loss_end: i64,
    /// Has the hole at the end of `pcm` been judged?
    in_hole: bool,
    level: Option<comfort_noise::Level>,
    noise: comfort_noise::Noise,
}

impl Source {
    /// For a run of `ssrc`, played at `rate` samples per second.
    pub(super) fn new(ssrc: u32, rate: u32) -> Source {
        Source {
            queue: BTreeMap::new(),
            waiting: 0,
            // A curve through the first sample looks at the one before it.
            base: -(LEAD as i64),
            pcm: vec![0; LEAD],
            rate,
            decoder: None,
            scratch: Vec::new(),
            before: Before::Nothing,
            sequence: 0,
            packet: i64::from(rate / 50),
            loss: None,
            loss_end: 0,
            in_hole: false,
            level: None,
            noise: comfort_noise::Noise::new(ssrc),
        }
    }

    /// Queues a packet whose first sample is source sample `place`. False when it was not taken: a copy, or the queue
    /// is full.
    pub(super) fn push(&mut self, place: i64, sequence: u16, format: u16, payload: &[u8]) -> bool {
        if self.queue.len() >= QUEUE_MAX || self.queue.contains_key(&(place, sequence)) {
            return false;
        }
        self.waiting = self.waiting.saturating_add(payload.len());
        self.queue.insert((place, sequence), Queued { format, payload: payload.into() });
        true
    }

    /// Payload bytes in the queue.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Gives the samples of `wanted`, producing what is missing of them. Nothing in front of `wanted.start`, but for
    /// a little, can be asked for again.
    pub(super) fn read(&mut self, wanted: Range<i64>, formats: &Formats) -> &[i16] {
        self.skip_to(wanted.start);
        // A loss may still change the last few samples, so those are not given out yet.
        let tail = conceal::tail_samples(self.rate) as i64;
        self.produce(wanted.end.saturating_add(tail), formats);
        let from = usize::try_from(wanted.start.saturating_sub(self.base)).unwrap_or(0);
        let count = usize::try_from(wanted.end.saturating_sub(wanted.start)).unwrap_or(0);
        self.pcm.get(from..from.saturating_add(count)).unwrap_or_default()
    }

    fn end(&self) -> i64 {
        self.base.saturating_add(self.pcm.len() as i64)
    }

    /// Lets go of what lies well before `start`; jumps when nothing up to there was ever asked for.
    fn skip_to(&mut self, start: i64) {
        let keep = (KEEP_MS * self.rate as usize) / 1000;
        let oldest = start.saturating_sub(keep as i64);
        if self.end() < oldest {
            self.pcm.clear();
            self.base = oldest;
            (self.loss, self.in_hole) = (None, false);
            return;
        }
        let spent = usize::try_from(oldest.saturating_sub(self.base)).unwrap_or(0);
        if spent >= DRAIN {
            self.pcm.drain(..spent.min(self.pcm.len()));
            self.base = self.base.saturating_add(spent as i64);
        }
    }

    fn produce(&mut self, to: i64, formats: &Formats) {
        while self.end() < to {
            let next = self.queue.first_key_value().map(|(&key, _)| key);
            match next {
                Some((place, _)) if place <= self.end() => {
                    if let Some(((place, sequence), packet)) = self.queue.pop_first() {
                        self.waiting = self.waiting.saturating_sub(packet.payload.len());
                        self.play(place, sequence, &packet, formats);
                    }
                }
                Some((place, sequence)) => self.fill_hole(place, to, Some(sequence)),
                None => self.fill_hole(to, to, None),
            }
        }
    }

    /// Plays a packet that is due: its samples from the end of what there is.
    fn play(&mut self, place: i64, sequence: u16, packet: &Queued, formats: &Formats) {
        let Some((format, kind)) = formats.get(packet.format) else { return };
        self.advance_sequence(sequence);
        match kind {
            Kind::Event => (self.before, self.loss) = (Before::Event, None),
            Kind::ComfortNoise => {
                (self.before, self.loss) = (Before::ComfortNoise, None);
                self.level = comfort_noise::Level::parse(&packet.payload).or(self.level);
            }
            Kind::Audio => {
                self.decode(packet, format);
                if self.scratch.is_empty() {
                    (self.before, self.loss) = (Before::Nothing, None);
                    return;
                }
                self.before = Before::Audio;
                self.packet = self.scratch.len() as i64;
                let overlap = usize::try_from(self.end().saturating_sub(place)).unwrap_or(0);
                let Some(fresh) = self.scratch.get_mut(overlap..).filter(|fresh| !fresh.is_empty()) else {
                    return;
                };
                if let Some(mut loss) = self.loss.take() {
                    loss.blend_into(fresh);
                }
                self.pcm.extend_from_slice(fresh);
            }
        }
        self.in_hole = false;
    }

    /// Remembers the newest sequence number; an older one, of a packet that came too late, does not count back.
    fn advance_sequence(&mut self, sequence: u16) {
        let older = self.sequence.wrapping_sub(sequence);
        if self.before == Before::Nothing || older == 0 || older > MISSING_MAX {
            self.sequence = sequence;
        }
    }

    /// Decodes a payload into `scratch`, at the timeline's rate; leaves it empty when it cannot be decoded.
    fn decode(&mut self, packet: &Queued, format: &Format) {
        self.scratch.clear();
        if self.decoder.as_ref().is_none_or(|(number, _)| *number != packet.format) {
            self.decoder = Some((packet.format, codec::decoder(format)));
        }
        let Some((_, Some(decoder))) = &mut self.decoder else { return };
        decoder.decode(&packet.payload, &mut self.scratch);
        if decoder.sample_rate() != self.rate {
            self.scratch = stretch(&self.scratch, decoder.sample_rate(), self.rate);
        }
    }

    /// Fills from the end of what there is towards the packet at `place` with `sequence`, not beyond `to`.
    fn fill_hole(&mut self, place: i64, to: i64, sequence: Option<u16>) {
        if !self.in_hole {
            self.in_hole = true;
            self.judge_hole(place, sequence);
        }
        let end = self.end();
        let stop = place.min(to);
        let count = |from: i64, to: i64| usize::try_from(to.saturating_sub(from)).unwrap_or(0);
        if end < self.loss_end {
            let stop = stop.min(self.loss_end);
            match &mut self.loss {
                Some(loss) => loss.fill(count(end, stop), &mut self.pcm),
                None => self.pcm.resize(self.pcm.len() + count(end, stop), 0),
            }
            return;
        }
        match self.level {
            Some(level) if matches!(self.before, Before::Audio | Before::ComfortNoise) => {
                self.loss = None;
                self.noise.fill(level, count(end, stop), &mut self.pcm);
            }
            _ => self.pcm.resize(self.pcm.len() + count(end, stop), 0),
        }
    }

    /// Is the hole that begins here loss, and how much of it?
    fn judge_hole(&mut self, place: i64, sequence: Option<u16>) {
        let end = self.end();
        let step = sequence.map_or(1, |sequence| sequence.wrapping_sub(self.sequence));
        let missing = if (2..MISSING_MAX).contains(&step) { i64::from(step) - 1 } else { 0 };
        self.loss_end = end;
        if missing == 0 || self.before != Before::Audio {
            return;
        }
        self.loss_end = end.saturating_add(missing.saturating_mul(self.packet)).min(place);
        self.loss = Some(Concealment::begin(&mut self.pcm, self.rate));
    }
}

/// Straight lines between samples, for a packet of another rate than the timeline's. Each packet by itself: its place
/// on the timeline is what counts, and a seam of one sample cannot be heard.
fn stretch(samples: &[i16], from: u32, to: u32) -> Vec<i16> {
    let (from, to) = (u64::from(from.max(1)), u64::from(to));
    let count = samples.len() as u64 * to / from;
    (0..count)
        .map(|i| {
            let place = i * from;
            let (whole, part) = ((place / to) as usize, (place % to) as i64);
            let here = samples.get(whole).copied().unwrap_or_default();
            let next = samples.get(whole + 1).copied().unwrap_or(here);
            let step = i64::from(next) - i64::from(here);
            (i64::from(here) + step * part / to as i64) as i16
        })
        .collect()
}
