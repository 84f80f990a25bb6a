//! Which legs a SIP message is kept with.

use super::{Heard, Tables};
use crate::tracker::event::LegId;
use crate::tracker::trace::{self, About, Received};

/// Keeps a message with the leg that it was found to be about. What names no callee concerns every device that the INVITE is
/// forked to: the INVITE itself at each hop, its CANCEL, the responses before any device has answered.
pub(super) fn keep(received: &Received<'_>, heard: &Heard<'_, '_>, id: LegId, tables: &mut Tables<'_>) {
    if !tables.out.traces.wanted {
        return;
    }
    let Some(leg) = tables.legs.leg(id) else { return };
    let is_shared = heard.to.tag().is_none();
    let about = About { is_shared, ends: matches!(heard.cseq_method, b"BYE" | b"CANCEL") };
    if !is_shared {
        if let Some(leg) = tables.legs.leg_mut(id) {
            trace::note(leg, received, about, tables.out);
        }
        return;
    }
    for fork in tables.legs.forks(heard.call_id, leg.caller_tag) {
        // An earlier call under the same Call-ID may still linger.
        if let Some(leg) = tables.legs.leg_mut(fork).filter(|leg| fork == id || !leg.is_over()) {
            trace::note(leg, received, about, tables.out);
        }
    }
}
