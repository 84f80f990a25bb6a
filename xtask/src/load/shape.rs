//! Puts the calls' frames in order of capture, and does to them what a mirror port or a capture tool would.

use std::io;
use std::sync::Arc;

use super::media::{self, Stream};
use super::plan::{self, Call};
use super::{Party, Scenario, Transport, Truth, dialog, spray, tcp};
use crate::pcap::Frame;
use crate::rng::Rng;
use crate::wire::{self, Path};

/// Frames are made and sorted in slices of this length, so that memory does not grow with the length of the capture.
const SLICE_NS: i64 = 250_000_000;
/// A mirrored copy comes this much later.
const SPAN_DELAY_NS: i64 = 2000;
const SIP_PORT: u16 = 5060;

/// Makes every frame, in order of capture.
pub(super) fn run(s: &Scenario, mut sink: impl FnMut(Frame) -> io::Result<()>) -> io::Result<Vec<Truth>> {
    let calls = plan::calls(s);
    let (Some(first), Some(last)) = (calls.iter().map(|c| c.invite).min(), calls.iter().map(|c| c.end).max())
    else {
        return Ok(Vec::new());
    };
    let tables = media::tone_tables(s.law);
    let voices = s.voices.as_ref().map(|voices| {
        voices.each_ref().map(|samples| samples.iter().map(|&x| s.law.encode(x)).collect::<Arc<[u8]>>())
    });
    // Only a call that is answered, or that has early audio, has streams at all.
    let speaks = |c: &Call, party: Party| c.answer.is_some() || (s.early_media && party != c.caller);
    let mut streams: Vec<(Stream<'_>, bool)> = calls
        .iter()
        .flat_map(|c| [Party::Near, Party::Far].map(|party| (c, party)))
        .map(|(c, party)| (Stream::new(s, c, party, &tables, voices.as_ref()), speaks(c, party)))
        .collect();
    let mut prepared = if s.rtp_only { Vec::new() } else { signalling(s, &calls) };
    if s.spray {
        prepared.extend(calls.iter().flat_map(|call| spray::frames(s, call)));
        prepared.sort_by_key(|(at, _)| *at);
    }
    let mut signalling = prepared.into_iter().peekable();

    let mut shaper = Shaper::new(s, first, last);
    let mut pending: Vec<(i64, Vec<u8>)> = Vec::new();
    let mut until = first;
    while until <= last || signalling.peek().is_some() || !pending.is_empty() {
        until += SLICE_NS;
        while let Some(frame) = signalling.next_if(|(at, _)| *at < until) {
            pending.push(frame);
        }
        for (stream, speaks) in &mut streams {
            if *speaks {
                stream.run(until, &mut pending);
            }
        }
        // The network only delays: nothing that comes in a later slice can arrive before `until`.
        pending.sort_by_key(|(at, _)| *at);
        let due = pending.partition_point(|(at, _)| *at < until);
        for (at, bytes) in pending.drain(..due) {
            shaper.pass(at, bytes, &mut sink)?;
        }
    }
    shaper.flush(&mut sink)?;

    let mut sent = streams.into_iter().map(|(stream, _)| stream.into_sent());
    Ok(calls
        .iter()
        .map(|c| {
            let mut next = || sent.next().expect("each call has two streams");
            Truth {
                call_id: c.call_id.clone(),
                extension: c.near.person.clone(),
                remote: c.far.person.clone(),
                direction: c.direction,
                law: s.law,
                invite_ns: c.invite,
                answer_ns: c.answer,
                end_ns: (s.ending != super::Ending::NoBye).then_some(c.end),
                hold_ns: c.hold.map(|(hold, retrieve)| (Call::in_force(hold), Call::in_force(retrieve))),
                digits: s.digits.clone(),
                near: next(),
                far: next(),
            }
        })
        .collect())
}

/// All frames of all calls' signalling, in order of time.
fn signalling(s: &Scenario, calls: &[Call]) -> Vec<(i64, Vec<u8>)> {
    let mut frames = Vec::new();
    for call in calls {
        let messages = dialog::messages(s, call);
        if s.transport != Transport::Udp {
            let mut rng = Rng::new(s.seed, 0x2_0000_0000 + u64::from(call.index));
            frames.extend(tcp::frames(s, call, &messages, &mut rng));
            continue;
        }
        for (n, message) in messages.iter().enumerate() {
            let path = Path { from: (message.from, SIP_PORT), to: (message.to, SIP_PORT), vlans: &s.vlans };
            let ident = (call.index as u16).wrapping_mul(32).wrapping_add(n as u16);
            // Fragments follow each other at the speed of the wire.
            let parts = wire::udp(path, ident, &message.bytes).into_iter().zip(0..);
            frames.extend(parts.map(|(bytes, n)| (message.at + n * 12_000, bytes)));
        }
    }
    frames.sort_by_key(|(at, _)| *at);
    frames
}

/// What lies between the wire and the file.
struct Shaper<'a> {
    scenario: &'a Scenario,
    from: i64,
    step_at: i64,
    copy: Option<Frame>,
}

impl<'a> Shaper<'a> {
    fn new(scenario: &'a Scenario, first: i64, last: i64) -> Self {
        let from = first + i64::from(scenario.skip_ms) * 1_000_000;
        Shaper {
            scenario,
            from: if scenario.skip_ms == 0 { i64::MIN } else { from },
            step_at: first + (last - first) / 2,
            copy: None,
        }
    }

    fn pass(
        &mut self,
        at: i64,
        mut bytes: Vec<u8>,
        sink: &mut impl FnMut(Frame) -> io::Result<()>,
    ) -> io::Result<()> {
        if at < self.from {
            return Ok(());
        }
        // A mirrored copy may have to wait for a frame that came in between.
        if self.copy.as_ref().is_some_and(|copy| copy.at_ns <= at) {
            self.flush(sink)?;
        }
        let wire_len = bytes.len() as u32;
        if self.scenario.snaplen != 0 {
            bytes.truncate(self.scenario.snaplen as usize);
        }
        let frame = Frame { at_ns: at, bytes, wire_len };
        if self.scenario.span_copies {
            self.flush(sink)?;
            self.copy = Some(Frame { at_ns: at + SPAN_DELAY_NS, ..frame.clone() });
        }
        self.emit(frame, sink)
    }

    fn flush(&mut self, sink: &mut impl FnMut(Frame) -> io::Result<()>) -> io::Result<()> {
        match self.copy.take() {
            Some(copy) => self.emit(copy, sink),
            None => Ok(()),
        }
    }

    fn emit(&self, mut frame: Frame, sink: &mut impl FnMut(Frame) -> io::Result<()>) -> io::Result<()> {
        if self.scenario.step_back_ms != 0 && frame.at_ns >= self.step_at {
            frame.at_ns -= i64::from(self.scenario.step_back_ms) * 1_000_000;
        }
        sink(frame)
    }
}
