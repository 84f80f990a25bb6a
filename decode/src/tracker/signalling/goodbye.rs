//! Calls of which nothing was seen but their audio and, at last, a BYE.
//!
//! A BYE names the parties and says when the call ended, but not where its audio ran. It is waited for a moment: when of all the
//! audio that nobody announced and that has an end at one of the BYE's hosts only one call's stopped with it, that was
//! the call's. When others stopped too, or it goes on, or another unknown call ended in the same moments, nothing tells, and the
//! audio stays unannounced.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::{Heard, Signalling, Tables, bye, keep};
use crate::media::Side;
use crate::net::Flow;
use crate::signal::Carrier;
use crate::sip::{self, Address, StartLine};
use crate::time::{NS_PER_MS, Timestamp};
use crate::tracker::leg::Digest;
use crate::tracker::trace::Received;

/// BYEs of unknown calls that are waited with; the oldest makes room.
const GOODBYES_MAX: usize = 64;
/// The longest that is kept, in bytes.
const GOODBYE_BYTES_MAX: usize = 4_096;
/// Hops of one BYE that are remembered.
const HOPS_MAX: usize = 4;
/// When a BYE is settled: audio that stops with it has stopped by then.
const SETTLE_MS: i64 = 1_500;
/// How long it is remembered after that, as one more call that ended at that time.
const REMEMBERED_MS: i64 = 3_000;

struct Goodbye {
    call_id: Digest,
    at: Timestamp,
    hops: Vec<Flow>,
    carrier: Carrier,
    bytes: Vec<u8>,
    is_settled: bool,
}

impl Goodbye {
    fn hosts(&self) -> Vec<IpAddr> {
        self.hops.iter().flat_map(|hop| [hop.src.ip(), hop.dst.ip()]).collect()
    }
}

/// BYEs that no leg is known for, oldest first.
#[derive(Default)]
pub(super) struct Goodbyes(VecDeque<Goodbye>);

impl Goodbyes {
    pub(super) fn keep(&mut self, heard: &Heard<'_, '_>, received: &Received<'_>) {
        let &Received { carrier, bytes, .. } = received;
        if heard.to.tag().is_none() || bytes.len() > GOODBYE_BYTES_MAX {
            return;
        }
        if let Some(known) = self.0.iter_mut().find(|known| known.call_id == heard.call_id) {
            if known.hops.len() < HOPS_MAX && !known.hops.contains(&heard.flow) {
                known.hops.push(heard.flow);
            }
            return;
        }
        if self.0.len() >= GOODBYES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Goodbye {
            call_id: heard.call_id,
            at: heard.at,
            hops: vec![heard.flow],
            carrier,
            bytes: bytes.to_vec(),
            is_settled: false,
        });
    }
}

impl Signalling {
    /// Makes calls of the BYEs whose audio can be told; all that wait when the input `is_over`.
    pub(in crate::tracker) fn settle_goodbyes(
        &mut self,
        now: Timestamp,
        is_over: bool,
        tables: &mut Tables<'_>,
    ) {
        let is_past = |at: Timestamp, ms: i64| is_over || now.nanos_since(at) >= ms * NS_PER_MS;
        while let Some(due) = self.goodbyes.0.iter().position(|g| !g.is_settled && is_past(g.at, SETTLE_MS)) {
            let audio = self.audio_of(due, now, tables);
            let Some(goodbye) = self.goodbyes.0.get_mut(due) else { return };
            goodbye.is_settled = true;
            let (at, carrier, hop) = (goodbye.at, goodbye.carrier, goodbye.hops.first().copied());
            let bytes = &std::mem::take(&mut goodbye.bytes);
            if let (Some(audio), Some(flow)) = (audio, hop) {
                self.begin_at_its_end(&Received { at, flow, carrier, bytes }, audio, tables);
            }
        }
        self.goodbyes.0.retain(|goodbye| !is_past(goodbye.at, SETTLE_MS + REMEMBERED_MS));
    }

    /// The one flow, of one or two directions, that stopped with this BYE and with no other.
    fn audio_of(&self, due: usize, now: Timestamp, tables: &Tables<'_>) -> Option<Flow> {
        let goodbye = self.goodbyes.0.get(due)?;
        let audio = tables.media.stopped_with(&goodbye.hosts(), goodbye.at, now)?;
        let others = self.goodbyes.0.iter().filter(|other| other.call_id != goodbye.call_id);
        let is_anothers = |other: &Goodbye| {
            let hosts = other.hosts();
            let near = other.at.nanos_since(goodbye.at).abs() < REMEMBERED_MS * NS_PER_MS;
            near && [audio.src.ip(), audio.dst.ip()].iter().any(|ip| hosts.contains(ip))
        };
        (!others.into_iter().any(is_anothers)).then_some(audio)
    }

    fn begin_at_its_end(&mut self, received: &Received<'_>, audio: Flow, tables: &mut Tables<'_>) {
        let &Received { at, flow: hop, bytes, .. } = received;
        let Ok(message) = sip::parse(bytes) else { return };
        let StartLine::Request { uri, .. } = message.start else { return };
        let empty = Address::parse(b"");
        let heard = Heard::of(&message, hop, at, empty);
        // The BYE's sender stands as the caller.
        let is_turned = [audio.dst.ip() == hop.src.ip(), audio.src.ip() == hop.dst.ip()].contains(&true)
            && audio.src.ip() != hop.src.ip();
        let ends = if is_turned { [audio.dst, audio.src] } else { [audio.src, audio.dst] };
        let Some(leg) = self.begin(&heard, uri, true, tables) else { return };
        if let Some(leg) = tables.legs.leg_mut(leg) {
            leg.facts.known_by_end = true;
        }
        keep::keep(received, &heard, leg, tables);
        tables.media.claim_stopped(leg, ends, at, tables.legs, tables.out);
        bye(&heard, leg, Side::Caller, tables);
    }
}
