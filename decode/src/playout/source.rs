//! One run's packets turned into its own unbroken line of samples.
//!
//! Owns the reorder queue, decoding in sequence, and what fills the holes: concealment where packets are missing by
//! sequence number, comfort noise or silence where nothing was sent. Samples of another rate than the timeline's go through
//! a resampler that keeps its state from packet to packet. Works on the run's *source* scale (see [`super::timeline`]):
//! whether its clock has to be stretched is the renderer's affair.

use std::collections::BTreeMap;
use std::ops::Range;

use super::batch::{Batch, Key};
use super::conceal::{self, Concealment};
use crate::codec::external::{Abilities, External, Framing};
use crate::codec::resample::Resampler;
use crate::codec::{self, Decoder, comfort_noise};
use crate::media::{Codec, Format};

/// Packets waiting for their turn; more are dropped. Half a minute of 5 ms packets.
const QUEUE_MAX: usize = 8_192;
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

/// What all sources of a recording play with.
#[derive(Default)]
pub(super) struct Tools {
    pub(super) formats: Formats,
    /// Decodes what this crate cannot.
    pub(super) external: Option<Box<dyn External>>,
    /// Packets that it could not decode either.
    pub(super) undecoded: u64,
}

impl Tools {
    fn abilities(&self) -> Abilities {
        self.external.as_ref().map_or(Abilities::NONE, |external| external.abilities())
    }
}

/// How payloads of one format become samples.
struct Voice {
    format: u16,
    way: Way,
    /// To the timeline's rate, where it is not the decoder's.
    resampler: Option<Box<Resampler>>,
}

enum Way {
    Own(Box<dyn Decoder>),
    External(Framing, Box<Batch>),
    /// Nobody can decode it.
    Kept,
}

impl Voice {
    /// At the start of a stream of this format, to be played at `rate`.
    fn new(number: u16, format: &Format, abilities: Abilities, rate: u32) -> Voice {
        let within = |framing: &Framing| framing.is_within(abilities);
        let (way, own_rate) = if let Some(decoder) = codec::decoder(format) {
            let own_rate = decoder.sample_rate();
            (Way::Own(decoder), own_rate)
        } else if let Some(framing) = Framing::of(format).filter(within) {
            (Way::External(framing, Box::default()), framing.sample_rate())
        } else {
            (Way::Kept, rate)
        };
        let resampler = (own_rate != rate).then(|| Box::new(Resampler::new(own_rate, rate)));
        Voice { format: number, way, resampler }
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
    voice: Option<Voice>,
    /// The packet in hand: as decoded, and at the timeline's rate.
    decoded: Vec<i16>,
    scratch: Vec<i16>,
    /// The last samples of `pcm` that the resampler will give once more, and where they end.
    provisional: (usize, i64),
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
            voice: None,
            decoded: Vec::new(),
            scratch: Vec::new(),
            provisional: (0, i64::MIN),
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
    pub(super) fn read(&mut self, wanted: Range<i64>, tools: &mut Tools) -> &[i16] {
        self.skip_to(wanted.start);
        // A loss may still change the last few samples, so those are not given out yet.
        let tail = conceal::tail_samples(self.rate) as i64;
        self.produce(wanted.end.saturating_add(tail), tools);
        let from = usize::try_from(wanted.start.saturating_sub(self.base)).unwrap_or(0);
        let count = usize::try_from(wanted.end.saturating_sub(wanted.start)).unwrap_or(0);
        self.pcm.get(from..from.saturating_add(count)).unwrap_or_default()
    }

    /// What waits, by place and sequence number; the queue is empty then.
    pub(super) fn take_queue(&mut self) -> impl Iterator<Item = (i64, u16, u16, Box<[u8]>)> + use<> {
        self.waiting = 0;
        let queue = std::mem::take(&mut self.queue);
        queue.into_iter().map(|((place, sequence), queued)| (place, sequence, queued.format, queued.payload))
    }

    /// The sample after the last one that there is.
    pub(super) fn end(&self) -> i64 {
        self.base.saturating_add(self.pcm.len() as i64)
    }

    /// Lets go of what lies well before `start`; jumps when nothing up to there was ever asked for.
    fn skip_to(&mut self, start: i64) {
        let keep = (KEEP_MS * self.rate as usize) / 1000;
        let oldest = start.saturating_sub(keep as i64);
        if self.end() < oldest {
            self.pcm.clear();
            self.base = oldest;
            self.provisional = (0, i64::MIN);
            (self.loss, self.in_hole) = (None, false);
            return;
        }
        let spent = usize::try_from(oldest.saturating_sub(self.base)).unwrap_or(0);
        if spent >= DRAIN {
            self.pcm.drain(..spent.min(self.pcm.len()));
            self.base = self.base.saturating_add(spent as i64);
        }
    }

    fn produce(&mut self, to: i64, tools: &mut Tools) {
        while self.end() < to {
            let next = self.queue.first_key_value().map(|(&key, _)| key);
            match next {
                Some((place, _)) if place <= self.end().saturating_add(self.slack()) => {
                    if let Some(((place, sequence), packet)) = self.queue.pop_first() {
                        self.waiting = self.waiting.saturating_sub(packet.payload.len());
                        self.play(place, sequence, &packet, tools);
                    }
                }
                Some((place, sequence)) => self.fill_hole(place, to, Some(sequence)),
                None => self.fill_hole(to, to, None),
            }
        }
    }

    /// How far behind the end a packet may lie and still follow without a hole: after a change of rate, where one packet ends
    /// and the next begins falls between two samples.
    fn slack(&self) -> i64 {
        i64::from(self.provisional.1 == self.end())
    }

    /// Plays a packet that is due: its samples from the end of what there is.
    fn play(&mut self, place: i64, sequence: u16, packet: &Queued, tools: &mut Tools) {
        let Some(&(_, kind)) = tools.formats.get(packet.format) else { return };
        self.advance_sequence(sequence);
        match kind {
            Kind::Event => (self.before, self.loss) = (Before::Event, None),
            Kind::ComfortNoise => {
                (self.before, self.loss) = (Before::ComfortNoise, None);
                self.level = comfort_noise::Level::parse(&packet.payload).or(self.level);
            }
            Kind::Audio => {
                self.decode((place, sequence), packet, tools);
                if self.decoded.is_empty() {
                    (self.before, self.loss) = (Before::Nothing, None);
                    return;
                }
                self.before = Before::Audio;
                if !self.lay_down(place) {
                    return;
                }
            }
        }
        self.in_hole = false;
    }

    /// Appends the decoded packet at the timeline's rate. False when all of it lies before the end.
    fn lay_down(&mut self, place: i64) -> bool {
        let (again, end) = self.provisional;
        let follows = end == self.end() && place >= end;
        self.provisional = (0, i64::MIN);
        self.scratch.clear();
        let mut tail = 0;
        match self.voice.as_mut().and_then(|voice| voice.resampler.as_mut()) {
            None => std::mem::swap(&mut self.decoded, &mut self.scratch),
            Some(resampler) => {
                if follows {
                    self.pcm.truncate(self.pcm.len().saturating_sub(again));
                } else {
                    resampler.restart();
                }
                resampler.push(&self.decoded, &mut self.scratch);
                let fixed = self.scratch.len();
                resampler.tail(&mut self.scratch);
                tail = self.scratch.len() - fixed;
                self.packet =
                    i64::try_from(resampler.length(self.decoded.len() as u64)).unwrap_or(self.packet);
                if follows {
                    self.pcm.extend_from_slice(&self.scratch);
                    self.provisional = (tail, self.end());
                    self.loss = None;
                    return true;
                }
            }
        }
        if tail == 0 {
            self.packet = self.scratch.len() as i64;
        }
        let overlap = usize::try_from(self.end().saturating_sub(place)).unwrap_or(0);
        let Some(fresh) = self.scratch.get_mut(overlap..).filter(|fresh| !fresh.is_empty()) else {
            return false;
        };
        if let Some(mut loss) = self.loss.take() {
            loss.blend_into(fresh);
        }
        self.pcm.extend_from_slice(fresh);
        if tail > 0 {
            self.provisional = (tail.min(fresh.len()), self.end());
        }
        true
    }

    /// Remembers the newest sequence number; an older one, of a packet that came too late, does not count back.
    fn advance_sequence(&mut self, sequence: u16) {
        let older = self.sequence.wrapping_sub(sequence);
        if self.before == Before::Nothing || older == 0 || older > MISSING_MAX {
            self.sequence = sequence;
        }
    }

    /// Decodes a payload into `decoded`; leaves it empty when it cannot be decoded.
    fn decode(&mut self, key: Key, packet: &Queued, tools: &mut Tools) {
        self.decoded.clear();
        let abilities = tools.abilities();
        let Some((format, _)) = tools.formats.get(packet.format) else { return };
        if self.voice.as_ref().is_none_or(|voice| voice.format != packet.format) {
            self.voice = Some(Voice::new(packet.format, format, abilities, self.rate));
            self.provisional = (0, i64::MIN);
        }
        let Some(voice) = &mut self.voice else { return };
        match &mut voice.way {
            Way::Own(decoder) => decoder.decode(&packet.payload, &mut self.decoded),
            Way::External(framing, batch) => {
                let Some(program) = &mut tools.external else { return };
                let later = self.queue.iter().filter(|(_, queued)| queued.format == packet.format);
                let later = later.map(|(&key, queued)| (key, &*queued.payload));
                match batch.take(*framing, (key, &packet.payload), later, program.as_mut()) {
                    Some(samples) => self.decoded = samples,
                    None => tools.undecoded = tools.undecoded.saturating_add(1),
                }
            }
            Way::Kept => {}
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
