//! What an INVITE carries that ties its leg to others: headers, tags, transfers, numbers. Which legs are one call then is
//! [`super::calls`]'s.

use super::calls::{self, Calls, Newcomer};
use super::{Heard, Signalling, Tables};
use crate::sip;
use crate::tracker::event::{CallId, LegId, Tie, TieReason};
use crate::tracker::leg::{Digest, Leg, Legs};

/// Correlation header fields that are looked at.
pub const CALL_HEADERS_MAX: usize = 16;
/// A correlation value is at least so long: a shorter one could be anybody's.
const CALL_HEADER_VALUE_MIN: usize = 8;
/// A tag of at least so many characters is nobody else's by chance.
const TAG_MIN: usize = 8;

/// Names of header fields; see [`crate::tracker::Tracker::with_call_headers`].
pub(super) struct CallHeaders(Vec<String>);

impl Default for CallHeaders {
    /// What gateways and PBXs write without being told to.
    fn default() -> Self {
        CallHeaders(["X-Call-ID", "X-CID"].map(str::to_owned).to_vec())
    }
}

impl Signalling {
    /// Header fields whose value names a call across its legs.
    pub(in crate::tracker) fn set_call_headers(&mut self, names: &[String]) {
        self.call_headers = CallHeaders(names.iter().take(CALL_HEADERS_MAX).cloned().collect());
    }

    /// What ties a new leg to legs that are there, the surest first: its call is that of the first one, and the others' calls
    /// are the same call then (an attended transfer replaces one leg and was asked for in another). The leg is listed under
    /// what it carries, so that later ones find it.
    pub(super) fn related(
        &self,
        heard: &Heard<'_, '_>,
        leg: LegId,
        [caller, callee]: [&str; 2],
        target: &str,
        tables: &mut Tables<'_>,
    ) -> Vec<(CallId, Tie)> {
        let by_header = self.meet_headers(heard, leg, tables);
        let by_session = meet_sessions(heard, leg, tables.calls);
        let by_tag = self.meet_tag(heard, leg, tables);
        let legs = &*tables.legs;
        let tie = |leg: &Leg, why: TieReason| {
            (leg.facts.call, Tie { leg: leg.facts.leg, sip_call_id: leg.facts.sip_call_id.clone(), why })
        };
        let replaced = heard.message.header("Replaces").and_then(|value| replaced_leg(value, legs));
        let new = Newcomer {
            at: heard.at,
            src: heard.flow.src,
            dst: heard.flow.dst,
            caller,
            callee,
            target,
            is_referred: heard.message.header("Referred-By").is_some(),
        };
        let known = [
            replaced.map(|leg| tie(leg, TieReason::Replaces)),
            // One Call-ID under two tags at the same time: the next hop of a gateway that changes tags only.
            legs.running(heard.call_id).map(|leg| tie(leg, TieReason::CallId)),
            tables.calls.referred(&new),
            by_session.and_then(|id| Some(tie(legs.leg(id)?, TieReason::SessionId))),
            by_header.and_then(|(id, name)| Some(tie(legs.leg(id)?, TieReason::Header(name)))),
            by_tag.and_then(|id| Some(tie(legs.leg(id)?, TieReason::Tag))),
        ];
        let mut ties: Vec<(CallId, Tie)> = known.into_iter().flatten().collect();
        if ties.is_empty() {
            let continued = tables.calls.continued(&new, legs).and_then(|id| legs.leg(id));
            ties.extend(continued.map(|leg| tie(leg, TieReason::Numbers)));
        }
        ties
    }

    /// A leg under another Call-ID whose caller has the same tag: a proxy that hides the topology changes the one and keeps the
    /// other.
    fn meet_tag(&self, heard: &Heard<'_, '_>, leg: LegId, tables: &mut Tables<'_>) -> Option<LegId> {
        let tag = heard.from.tag().filter(|tag| tag.len() >= TAG_MIN)?;
        let met = tables.calls.meet_tag(leg, Digest::of(tag))?;
        let first_hop = tables.legs.leg(met)?.first_hop;
        (first_hop.dst.host() == heard.flow.src.host()).then_some(met)
    }

    /// A leg with the same value in a correlation header, or whose Call-ID is that value.
    fn meet_headers(
        &self,
        heard: &Heard<'_, '_>,
        leg: LegId,
        tables: &mut Tables<'_>,
    ) -> Option<(LegId, String)> {
        let mut found = None;
        for name in &self.call_headers.0 {
            let Some(value) = heard.message.header(name).filter(|v| v.len() >= CALL_HEADER_VALUE_MIN) else {
                continue;
            };
            let met = tables.calls.meet_header(leg, name, value);
            let named = || tables.legs.running(Digest::of(value)).map(|leg| leg.facts.leg);
            found = found.or_else(|| Some((met.or_else(named)?, name.clone())));
        }
        found
    }
}

/// Legs met by the session identifiers of a message.
fn meet_sessions(heard: &Heard<'_, '_>, leg: LegId, calls: &mut Calls) -> Option<LegId> {
    let value = heard.message.header("Session-ID")?;
    let mut met = None;
    for uuid in calls::session_uuids(value) {
        let found = calls.meet_session(leg, uuid);
        met = met.or(found);
    }
    met
}

/// A later message of a leg may carry the session identifier of another one.
pub(super) fn tie_by_session(heard: &Heard<'_, '_>, leg: LegId, tables: &mut Tables<'_>) {
    if let Some(with) = meet_sessions(heard, leg, tables.calls) {
        tables.calls.join(leg, with, TieReason::SessionId, tables.legs, tables.out);
    }
}

/// The leg whose dialog a Replaces value names (RFC 3891, 6.1).
pub(super) fn replaced_leg<'l>(value: &[u8], legs: &'l Legs) -> Option<&'l Leg> {
    let end = value.iter().position(|&b| b == b';').unwrap_or(value.len());
    let (call_id, parameters) = value.split_at_checked(end)?;
    let tag = |name| Digest::of(sip::parameter(parameters, name).unwrap_or_default());
    legs.find_dialog(Digest::of(sip::trim(call_id)), tag("from-tag"), tag("to-tag"))
}
