//! Session descriptions in their places: offers and answers (RFC 3264), hold and retrieve (RFC 6337, 5.3), SRTP asked for or not.

use super::{Heard, Tables};
use crate::media::Side;
use crate::sdp;
use crate::sip;
use crate::time::Timestamp;
use crate::tracker::event::{LegId, TieReason};
use crate::tracker::leg::{Digest, Leg, PendingHold};
use crate::tracker::outbox::{Outbox, Queued};

/// Takes the message's session description, if it has one, as `side`'s.
pub(super) fn describe(heard: &Heard<'_, '_>, id: LegId, side: Side, tables: &mut Tables<'_>) {
    let Some(body) = sip::sdp_body(heard.message) else { return };
    let Some(leg) = tables.legs.leg_mut(id) else { return };
    let is_request = heard.message.method().is_some();
    let is_offer = match leg.offer {
        _ if is_request => heard.message.method() != Some(b"ACK"),
        // A response answers the offer of its request; without one it is an offer itself (late offer).
        Some((offerer, cseq)) => !(offerer == side.other() && cseq == heard.cseq),
        None => true,
    };
    if is_request && is_offer {
        leg.offer = Some((side, heard.cseq));
        leg.invite_offers |= heard.message.method() == Some(b"INVITE") && leg.is_set_up_by(heard.cseq);
    }
    let description = Digest::of(body);
    let hops = leg.hops_of(heard.flow);
    if leg.side(side).description == Some(description) {
        let known = &mut leg.side_mut(side).description_hops;
        if !known.hold(hops) {
            *known = known.with(hops);
            tables.media.heard_at(id, side, &sdp::parse(body), hops);
        }
        return;
    }
    let session = sdp::parse(body);
    if session.media.is_empty() {
        return;
    }
    apply_description(leg, side, &session, description, is_offer);
    leg.side_mut(side).description_hops = hops;
    if is_offer && leg.facts.answered.is_some() && is_request {
        offer_hold(leg, side, &session, heard.cseq);
    }
    tables.media.apply((id, side, hops), &session, heard.at, tables.legs, tables.out);
    if let Some(with) = tables.media.announced_by_another(id, side, &session, tables.legs) {
        tables.calls.join(id, with, TieReason::Media, tables.legs, tables.out);
    }
    let (at, session) = (heard.at, Box::new(session));
    tables.out.push(Queued::Described { leg: id, side, at, is_offer, session });
}

fn apply_description(leg: &mut Leg, side: Side, session: &sdp::Session, description: Digest, is_offer: bool) {
    let used: Vec<&sdp::Media> =
        session.audio().filter(|m| m.receives_at.is_some() || m.held_by_address).collect();
    let state = leg.side_mut(side);
    state.description = Some(description);
    leg.facts.audio_announced |= !used.is_empty();
    let Some(first) = used.first() else { return };
    let state = leg.side_mut(side);
    state.ptime_ms = first.ptime_ms.or(state.ptime_ms);
    state.quiet = first.held_by_address
        || matches!(first.direction, sdp::Direction::SendOnly | sdp::Direction::Inactive);
    state.sends_nothing = matches!(first.direction, sdp::Direction::RecvOnly | sdp::Direction::Inactive);
    state.has_listened |= !first.held_by_address
        && matches!(first.direction, sdp::Direction::SendRecv | sdp::Direction::RecvOnly);
    let mut formats: Vec<crate::media::Format> = Vec::new();
    // Formats of earlier descriptions stay readable behind the new ones: packets sent before the change are still on the way.
    for format in used.iter().flat_map(|media| &media.formats).chain(&state.formats) {
        if !formats.iter().any(|f| f.payload_type == format.payload_type) {
            formats.push(format.clone());
        }
    }
    formats.truncate(2 * sdp::FORMATS_MAX);
    state.formats = formats;
    leg.secrecy.describe(side, &used, is_offer);
    leg.settle_encryption();
}

impl Leg {
    /// Is this the CSeq of the INVITE that sets the leg up?
    pub(super) fn is_set_up_by(&self, cseq: u32) -> bool {
        cseq == self.invite_cseq && !self.facts.joined_late
    }
}

/// An offer of `sendonly`, `inactive` or the address 0.0.0.0 asks to put the other side on hold (RFC 3264, 8.4; RFC 6337, 5.3);
/// it counts once it is accepted. Who has only ever sent to a recorder, as the client of a recording session does, holds nobody by
/// sending: after a pause it so goes on (RFC 7866, 7.1.1).
fn offer_hold(leg: &mut Leg, by: Side, session: &sdp::Session, cseq: u32) {
    let Some(audio) = session.audio().find(|m| m.receives_at.is_some() || m.held_by_address) else { return };
    let only_sends = leg.facts.conferenced.is_some() && !leg.side(by).has_listened;
    let holding = match audio.direction {
        _ if audio.held_by_address => true,
        sdp::Direction::Inactive => true,
        sdp::Direction::SendOnly => !only_sends,
        sdp::Direction::SendRecv | sdp::Direction::RecvOnly => false,
    };
    leg.side_mut(by).pending_hold = Some(PendingHold { cseq, holding });
}

/// The final response to an offer of hold or retrieve has come.
pub(super) fn settle_hold(
    leg: &mut Leg,
    offerer: Side,
    heard: &Heard<'_, '_>,
    accepted: bool,
    out: &mut Outbox,
) {
    let id = leg.facts.leg;
    let state = leg.side_mut(offerer);
    let Some(pending) = state.pending_hold.take_if(|pending| pending.cseq == heard.cseq) else { return };
    if !accepted {
        // As before: the next offer may say the same again and mean it.
        state.quiet = state.holding;
        state.description = None;
        return;
    }
    if state.holding == pending.holding {
        return;
    }
    state.holding = pending.holding;
    let (by, at) = (offerer, heard.at);
    out.push(if pending.holding {
        Queued::Hold { leg: id, by, at }
    } else {
        Queued::Retrieve { leg: id, by, at }
    });
    note_hold(leg, at);
}

/// Keeps the stretches in which at least one side holds.
fn note_hold(leg: &mut Leg, at: Timestamp) {
    let holding = leg.sides.iter().any(|side| side.holding);
    match (holding, leg.hold_since) {
        (true, None) => leg.hold_since = Some(at),
        (false, Some(since)) => {
            leg.hold_since = None;
            if leg.holds.len() < crate::tracker::HOLDS_MAX {
                leg.holds.push((since, at));
            }
        }
        _ => {}
    }
}
