//! Who a party turns out to be once the dialog runs: connected identity (RFC 4916), and what a network asserts then (RFC 3325).
//!
//! A request within the dialog says it of its sender. An answer says it too, but of whom the caller has dialled; that counts where the
//! caller has dialled nobody with a number.

use super::{Heard, Tables, shown};
use crate::media::Side;
use crate::sip::{self, Address};
use crate::tracker::event::{Identity, LegId};
use crate::tracker::outbox::Queued;

/// A request within the dialog, of the party on that side.
pub(super) fn tell_sender(heard: &Heard<'_, '_>, id: LegId, side: Side, tables: &mut Tables<'_>) {
    if heard.to.tag().is_none() {
        return;
    }
    let asserted = asserted(heard);
    tell(heard, id, side, asserted.as_ref().unwrap_or(&heard.from), tables);
}

/// A response of 200 to 299, of the party on that side.
pub(super) fn tell_responder(heard: &Heard<'_, '_>, id: LegId, side: Side, tables: &mut Tables<'_>) {
    let is_open = tables.legs.leg(id).is_some_and(|leg| leg.facts.party(side).is_withheld());
    if let Some(asserted) = asserted(heard).filter(|_| is_open) {
        tell(heard, id, side, &asserted, tables);
    }
}

/// Whom the network says that it comes from.
fn asserted<'a>(heard: &Heard<'_, 'a>) -> Option<Address<'a>> {
    let of = |name| {
        let values = sip::values(heard.message, name).into_iter().map(Address::parse);
        values.into_iter().find(|address| !address.uri.user.is_empty())
    };
    ["P-Asserted-Identity", "Remote-Party-ID"].into_iter().find_map(of)
}

fn tell(heard: &Heard<'_, '_>, id: LegId, side: Side, who: &Address<'_>, tables: &mut Tables<'_>) {
    let Some(leg) = tables.legs.leg_mut(id) else { return };
    let first = leg.facts.party(side);
    let now = Identity {
        number: shown(who.uri.user),
        name: shown(who.display),
        host: shown(who.uri.host),
        ..first.clone()
    };
    // A number is what can be judged; whom the recorder hears in a conference is told in its own way.
    let is_number = now.number.bytes().any(|b| b.is_ascii_digit())
        && now.number.bytes().all(|b| b.is_ascii_digit() || b"+*#-.()".contains(&b));
    if !is_number || now.is_withheld() || leg.is_over() || leg.facts.conferenced.is_some() {
        return;
    }
    let first = first.number.clone();
    let known = leg.connected.get_or_insert_default();
    let Some(known) = known.get_mut(side.index()) else { return };
    if *known.get_or_insert(first) == now.number {
        return;
    }
    *known = Some(now.number.clone());
    tables.out.push(Queued::Identified {
        leg: id,
        side,
        at: heard.at,
        who: Box::new([now.number, now.name]),
    });
}
