//! Keyed digits of media streams: telephone events (RFC 4733), also inside redundant audio data (RFC 2198).
//!
//! Of redundant data the packet's own payload is the packet: it is counted, kept and played as if it had come alone, and what it carries of
//! earlier packets is not kept, so that none of it comes in after a pause. Only digits are looked for there, those whose own packet was lost.

use super::Media;
use super::source::{Known, Payload, Source, known_format};
use crate::media::{Codec, Format, Side};
use crate::rtp::{Packet, red};
use crate::time::Timestamp;
use crate::tracker::leg::Leg;
use crate::tracker::outbox::{Outbox, Queued};

/// The packet's own payload out of redundant data, and how it is read. None where it cannot be read: it is counted, and nothing of it kept.
#[cold]
pub(super) fn unpack<'p>(
    source: &mut Source,
    leg: &mut Leg,
    packet: &Packet<'p>,
    at: Timestamp,
    out: &mut Outbox,
) -> Option<(Known, Packet<'p>)> {
    let Some(blocks) = red::parse(packet.payload) else {
        out.oddity(at, Some(source.flow), "redundant audio data (RFC 2198) that cannot be read");
        return None;
    };
    for block in blocks.earlier() {
        let Some(format) = event_format(leg, source.side, block.payload_type) else { continue };
        let (clock_rate, timestamp) = (format.clock_rate, packet.timestamp.wrapping_sub(block.offset));
        // It was keyed before what carries it: a pause that is over by now may not have been then.
        let earlier_ms = i64::from(block.offset).saturating_mul(1_000) / i64::from(clock_rate.max(1));
        let keyed = at.plus_millis(-earlier_ms);
        if source.dtmf.is_news(timestamp)
            && let Some(digit) = source.dtmf.push(block.payload, timestamp, clock_rate, keyed)
        {
            out.push(Queued::Digit { leg: source.leg, side: source.side, digit });
        }
    }
    let own = blocks.own();
    let known = known_format(source, leg, own.payload_type, &mut out.formats);
    if known.kind == Payload::Redundant {
        out.oddity(at, Some(source.flow), "redundant audio data (RFC 2198) inside such data");
        return None;
    }
    let clock_rate = out.formats.by_id(known.format).clock_rate;
    if known.kind != Payload::Event && source.timing.push(packet.timestamp, clock_rate, at) {
        source.watch.note_late();
    }
    Some((known, Packet { payload_type: own.payload_type, payload: own.payload, ..*packet }))
}

/// The format of a payload type that the descriptions say is of telephone events.
fn event_format(leg: &Leg, side: Side, payload_type: u8) -> Option<&Format> {
    let announced = [leg.side(side.other()), leg.side(side)].into_iter().flat_map(|side| &side.formats);
    let format = announced.into_iter().find(|format| format.payload_type == payload_type)?;
    (format.codec == Codec::TelephoneEvent).then_some(format)
}

impl Media {
    /// Digits whose end never came; for the sources of one leg.
    pub(in crate::tracker) fn open_digits(&mut self, leg: &Leg, now: Timestamp, out: &mut Outbox) {
        for &index in leg.sides.iter().flat_map(|side| &side.sources) {
            let Some(source) = self.sources.get_mut(index as usize).and_then(Option::as_mut) else {
                continue;
            };
            source.look_again(now);
            if let Some(digit) = source.dtmf.poll(source.clock_rate, now) {
                out.push(Queued::Digit { leg: source.leg, side: source.side, digit });
            }
        }
    }
}
