//! Payloads that an outside program decodes: many at a time, because starting it costs more than decoding.
//!
//! Owns the samples that came back until their packets are played, and what the program hears first: a decoder that starts in
//! the middle of a voice needs some of what went before. Bounded by [`BATCH_MS`] of audio.

use std::collections::BTreeMap;

use crate::codec::external::{Coding, External, Framing, Piece};

/// Audio decoded in one go, in milliseconds.
const BATCH_MS: usize = 30_000;
/// Audio that is decoded once more in front of it and thrown away, in milliseconds.
const WARM_MS: usize = 1_000;

/// Place in the run and sequence number.
pub(super) type Key = (i64, u16);

/// What one run has had decoded.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// By packet; none for one that could not be decoded.
    done: BTreeMap<Key, Option<Vec<i16>>>,
    /// The last frames handed over, with their coding.
    heard: Option<(Coding, Vec<Box<[u8]>>)>,
}

impl Batch {
    /// The samples of the packet `first`, whose turn it is. When they are not there yet, it is decoded together with packets of
    /// the same format that wait behind it. Nothing when it could not be decoded.
    pub(super) fn take<'a>(
        &mut self,
        framing: Framing,
        first: (Key, &'a [u8]),
        later: impl Iterator<Item = (Key, &'a [u8])>,
        program: &mut dyn External,
    ) -> Option<Vec<i16>> {
        let (key, payload) = first;
        if !self.done.contains_key(&key) {
            let coding = framing.coding(payload);
            let waiting = later.take_while(|&(key, payload)| {
                framing.coding(payload) == coding && !self.done.contains_key(&key)
            });
            let packets: Vec<_> = std::iter::once(first)
                .chain(waiting)
                .scan(0, |samples, packet| {
                    let fits = *samples * 1_000 <= BATCH_MS * coding.sample_rate() as usize;
                    *samples += framing.samples(packet.1);
                    fits.then_some(packet)
                })
                .collect();
            self.decode(framing, coding, &packets, program);
        }
        // What lies before was never played and never will be.
        self.done = self.done.split_off(&key);
        self.done.remove(&key).flatten()
    }

    fn decode(
        &mut self,
        framing: Framing,
        coding: Coding,
        packets: &[(Key, &[u8])],
        program: &mut dyn External,
    ) {
        let mut frames = match self.heard.take() {
            Some((before, frames)) if before == coding => frames,
            _ => Vec::new(),
        };
        let warm = frames.len();
        // For each packet: is each of its pieces speech?
        let mut plan: Vec<(Key, Vec<bool>)> = Vec::with_capacity(packets.len());
        for &(key, payload) in packets {
            let mut pieces = Vec::new();
            framing.cut(payload, &mut |piece| {
                pieces.push(matches!(piece, Piece::Speech(_)));
                if let Piece::Speech(frame) = piece {
                    frames.push(frame.into());
                }
            });
            plan.push((key, pieces));
        }
        let length = coding.frame_samples();
        let samples = if frames.len() == warm { Some(Vec::new()) } else { program.decode(coding, &frames) };
        let samples =
            samples.filter(|samples| frames.len() == warm || samples.len() == length * frames.len());
        let mut speech = samples.as_deref().map(|samples| samples.chunks_exact(length).skip(warm));
        for (key, pieces) in plan {
            let decoded = speech.as_mut().map(|speech| {
                let mut out = Vec::with_capacity(length * pieces.len());
                // Silence between the frames of a packet is filled in; a packet that is all silence is a hole.
                if pieces.contains(&true) {
                    for is_speech in pieces {
                        match is_speech.then(|| speech.next()).flatten() {
                            Some(frame) => out.extend_from_slice(frame),
                            None => out.resize(out.len() + length, 0),
                        }
                    }
                }
                out
            });
            self.done.insert(key, decoded);
        }
        let warm_frames = WARM_MS * coding.sample_rate() as usize / 1_000 / length;
        let surplus = frames.len().saturating_sub(warm_frames);
        frames.drain(..surplus);
        self.heard = Some((coding, frames));
    }
}
