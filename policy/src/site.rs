//! Who at a leg is an extension of the site, and which way the call goes.
//!
//! Where the administrator has said which numbers are extensions, that decides. Otherwise the leg's own evidence does: a
//! user who was seen to register is a device of the site; an address where devices register is the PBX, so the other end is
//! the device; a short number is internal and a long one is not.

use std::collections::BTreeSet;
use std::net::IpAddr;

use decode::Side;
use decode::tracker::{Identity, LegFacts, Named, NamedBy, OtherLeg};

use crate::custom::CustomFields;
use crate::feed::Alike;
use crate::numbers::DialPlan;
use crate::outcome::{Direction, Source};
use crate::pattern::Pattern;
use crate::people::Who;
use crate::rules::SegmentFacts;

/// Numbers of up to so many digits look internal.
const INTERNAL_DIGITS_MAX: usize = 6;

/// What the administrator has said about the site.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Site {
    /// Its name, which its recordings carry; none where there is but one site.
    pub name: Option<String>,
    /// Numbers of its extensions; without it they are told by evidence.
    pub extensions: Option<Pattern>,
    /// Addresses of the PBX.
    pub pbx: Vec<IpAddr>,
    /// Addresses that calls of the public network come from and go to: whoever calls from there is outside, whatever the number.
    pub trunks: Vec<IpAddr>,
    /// How numbers are dialled; without it none is cleaned, and up to 6 digits look internal.
    pub dial_plan: Option<DialPlan>,
}

/// Who is who on a leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    /// The sides that are extensions of the site: none, one, or both on an internal call without a PBX between.
    pub extensions: Vec<Side>,
    /// Which way the call goes.
    pub direction: Direction,
}

impl Site {
    /// Decides who is who.
    #[must_use]
    pub fn roles(&self, facts: &LegFacts) -> Roles {
        let sides = [Side::Caller, Side::Callee];
        if facts.is_stream_only() {
            return stream_roles(facts);
        }
        if let Some(named) = self.conferenced(facts) {
            return Roles {
                extensions: vec![heard_side(named)],
                direction: self.conference_direction(facts, named),
            };
        }
        let mut extensions: Vec<Side> = if self.extensions.is_some() {
            let is_own = |&side: &Side| self.is_listed(facts, side) && !self.is_trunk(facts.party(side));
            let listed: Vec<Side> = sides.into_iter().filter(is_own).collect();
            // On a leg between the PBX and a device, the PBX speaks for the other extension: that one has a leg of its own.
            let device =
                listed.iter().copied().filter(|&side| !self.is_pbx(facts.party(side))).collect::<Vec<_>>();
            if device.is_empty() { listed } else { device }
        } else if sides.iter().all(|&side| is_registered(facts, side) && !self.is_pbx(facts.party(side))) {
            sides.to_vec()
        } else if self.is_between_systems(facts) {
            Vec::new()
        } else {
            let (caller, callee) = (self.evidence(facts, Side::Caller), self.evidence(facts, Side::Callee));
            vec![if callee > caller { Side::Callee } else { Side::Caller }]
        };
        extensions.retain(|&side| !self.has_leg_of_its_own(facts, side));
        let direction = self.direction(facts, &extensions);
        Roles { extensions, direction }
    }

    /// Of a call that the PBX conferenced the recorder into: whom it is recorded for, the first of those that the signalling names who
    /// is an extension of the site, else the first of all. None of other calls, and where nobody is named.
    #[must_use]
    pub fn conferenced<'f>(&self, facts: &'f LegFacts) -> Option<&'f Named> {
        let named = facts.conferenced.as_deref()?;
        let is_own = |named: &&Named| self.extensions.as_ref().is_some_and(|own| own.matches(&named.number));
        named.iter().find(is_own).or_else(|| named.first())
    }

    /// Who that is and what else was named, in words; none of other calls.
    #[must_use]
    pub fn named_by(&self, facts: &LegFacts) -> Option<String> {
        if facts.conferenced.as_ref().is_some_and(|named| named.is_empty()) {
            return Some("SIPREC metadata".to_owned());
        }
        let by = &self.conferenced(facts)?.by;
        let all: Vec<String> = facts
            .conferenced
            .iter()
            .flatten()
            .map(|named| format!("{} {}", named.by, named.number))
            .collect();
        Some(format!("{by} ({})", all.join(", ")))
    }

    /// What is known of the way of such a call: who was diverted had called the extension.
    fn conference_direction(&self, facts: &LegFacts, named: &Named) -> Direction {
        match other_of(facts, named) {
            Some(other) if matches!(named.by, NamedBy::Diversion | NamedBy::HistoryInfo) => {
                let is_own = match &self.extensions {
                    Some(own) => own.matches(&other.number),
                    None => self.looks_internal(&other.number),
                };
                if is_own { Direction::Internal } else { Direction::Inbound }
            }
            _ => Direction::Unknown,
        }
    }

    /// Which way a call with these extensions goes.
    pub(crate) fn direction(&self, facts: &LegFacts, extensions: &[Side]) -> Direction {
        match *extensions {
            [one] if !self.is_internal(facts, one.other()) => match one {
                _ if !facts.caller_known => Direction::Unknown,
                Side::Caller => Direction::Outbound,
                Side::Callee => Direction::Inbound,
            },
            [] => Direction::Inbound,
            _ => Direction::Internal,
        }
    }

    /// The number by which the extension on that side is known.
    #[must_use]
    pub fn number(&self, facts: &LegFacts, side: Side) -> String {
        if let Some(named) = self.conferenced(facts) {
            let other = other_of(facts, named).map(|other| other.number.as_str());
            if side == heard_side(named) {
                return named.number.clone();
            }
            // Of a call that names one party, what was called stands for the other: the recorder, or the conversation.
            return other.unwrap_or(&facts.party(Side::Callee).number).to_owned();
        }
        self.number_of(facts.party(side), side, &facts.request_user, facts.request_registered)
    }

    fn number_of(&self, party: &Identity, side: Side, by_request: &String, is_registered: bool) -> String {
        let number = match side {
            Side::Caller => &party.number,
            Side::Callee => match &self.extensions {
                Some(pattern) if !pattern.matches(&party.number) && pattern.matches(by_request) => by_request,
                Some(_) => &party.number,
                // To names what was dialled, a group perhaps; the device that rings is the one that registered.
                None if !party.registered && is_registered => by_request,
                // The PBX calls the device by the user part of its contact, while To may still name the number dialled.
                None if !party.registered
                    && !self.looks_internal(&party.number)
                    && self.looks_internal(by_request) =>
                {
                    by_request
                }
                None => &party.number,
            },
        };
        if number.is_empty() { party.host.clone() } else { number.clone() }
    }

    /// What the signalling says of one extension's part in a call.
    #[must_use]
    pub fn segment(
        &self,
        facts: &LegFacts,
        near: Side,
        direction: Direction,
        source: Source,
    ) -> SegmentFacts {
        let (extension, other_party) = (self.number(facts, near), self.number(facts, near.other()));
        let conferenced = self.conferenced(facts);
        let has_ddi = direction == Direction::Inbound && conferenced.is_none();
        let ddi = has_ddi.then(|| self.ddi(facts, &extension)).flatten();
        // Of a stream without signalling the other party is an address; of a conference that names one party it is the recorder.
        let is_known = conferenced.is_none_or(|named| other_of(facts, named).is_some());
        let is_outside = direction != Direction::Internal && !facts.is_stream_only() && is_known;
        let outside_number = is_outside.then(|| self.clean_outside(&other_party, direction));
        SegmentFacts {
            outside_e164: outside_number.as_deref().and_then(|number| self.e164(number)),
            outside_number,
            direction,
            ddi,
            account_code: None,
            agent: None,
            hunt_group: None,
            trunk: None,
            who: Who::default(),
            named_unit: None,
            ddi_name: None,
            contact: None,
            transferred_from: None,
            other_party_name: None,
            tags: BTreeSet::new(),
            fields: CustomFields::default(),
            source,
            started: facts.first_audio.unwrap_or(facts.started),
            extension,
            other_party,
        }
    }

    fn is_listed(&self, facts: &LegFacts, side: Side) -> bool {
        let Some(pattern) = &self.extensions else { return false };
        pattern.matches(&facts.party(side).number)
            || (side == Side::Callee && pattern.matches(&facts.request_user))
    }

    pub(crate) fn is_pbx(&self, party: &Identity) -> bool {
        party.is_registrar || self.pbx.contains(&party.signalling.ip())
    }

    fn is_trunk(&self, party: &Identity) -> bool {
        self.trunks.contains(&party.signalling.ip())
    }

    /// Is that party no device of the site: the PBX, or somebody at the end of a trunk?
    pub(crate) fn is_outside_device(&self, party: &Identity) -> bool {
        self.is_pbx(party) || self.is_trunk(party)
    }

    /// Does the leg run between the PBX and a trunk, or two PBXs? The device has a leg of its own. Where one machine is all of them,
    /// its address tells nothing.
    fn is_between_systems(&self, facts: &LegFacts) -> bool {
        let [caller, callee] = &facts.parties;
        let is_device = |side| is_registered(facts, side);
        caller.signalling.ip() != callee.signalling.ip()
            && facts.parties.iter().all(|party| self.is_outside_device(party))
            && ![Side::Caller, Side::Callee].into_iter().any(is_device)
    }

    /// Does the party on that side stand for an extension whose device has a leg of its own in the call? To the trunk, and to another
    /// PBX, the PBX names the extension that calls. Where only the trunk's side is seen, its leg is all there is of the extension.
    fn has_leg_of_its_own(&self, facts: &LegFacts, side: Side) -> bool {
        if facts.others.is_empty() || !self.is_outside_device(facts.party(side)) {
            return false;
        }
        let extension = self.number(facts, side);
        let is_own = |other: &OtherLeg, there: Side| {
            let party = other.party(there);
            !self.is_outside_device(party)
                && self.number_of(party, there, &other.request_user, other.request_registered) == extension
        };
        facts.others.iter().any(|other| is_own(other, Side::Caller) || is_own(other, Side::Callee))
    }

    /// The number that was dialled from outside, where it is not the extension's: as the trunk's leg names it, else this one.
    fn ddi(&self, facts: &LegFacts, extension: &str) -> Option<String> {
        let of_trunk = self.dialled_at_trunk(facts);
        let dialled = of_trunk.unwrap_or(&facts.party(Side::Callee).number);
        (dialled != extension && !dialled.is_empty()).then(|| self.clean_ddi(dialled))
    }

    /// What the leg of an inbound call between trunk and PBX says that was dialled: a PBX calls the extension by another number. Of several
    /// such legs (calls were joined) it is that of the caller with whom this one is.
    fn dialled_at_trunk<'f>(&self, facts: &'f LegFacts) -> Option<&'f str> {
        let is_from_outside = |party: &Identity| {
            self.is_trunk(party)
                || !self.is_pbx(party)
                    && !party.registered
                    && (party.is_withheld() || !self.is_own_number(&party.number))
        };
        let trunks = facts.others.iter().filter_map(|other| {
            let (caller, callee) = (other.party(Side::Caller), other.party(Side::Callee));
            let dialled = if is_number(&callee.number) { &callee.number } else { &other.request_user };
            let is_inbound = is_from_outside(caller) && self.is_pbx(callee);
            (is_inbound && is_number(dialled)).then_some((caller.number.as_str(), dialled.as_str()))
        });
        let trunks: Vec<(&str, &str)> = trunks.collect();
        let caller = &facts.party(Side::Caller).number;
        match trunks[..] {
            [(_, dialled)] => Some(dialled),
            _ => trunks.iter().find(|(number, _)| number == caller).map(|&(_, dialled)| dialled),
        }
    }

    /// A number of the outside, without what the site dials before it.
    #[must_use]
    pub fn clean_outside(&self, number: &str, direction: Direction) -> String {
        match &self.dial_plan {
            Some(plan) if direction == Direction::Outbound => plan.clean_dialled(number),
            _ => number.to_owned(),
        }
    }

    /// A number of the outside in E.164, where the dial plan knows the country.
    #[must_use]
    pub fn e164(&self, number: &str) -> Option<String> {
        self.dial_plan.as_ref()?.e164(number)
    }

    /// A number that was dialled from outside, completed when the trunk cut it short. A number of the site's own list is one.
    #[must_use]
    pub fn clean_ddi(&self, number: &str) -> String {
        let is_own = self.extensions.as_ref().is_some_and(|own| own.matches(number));
        match &self.dial_plan {
            Some(plan) if !is_own => plan.clean_ddi(number),
            _ => number.to_owned(),
        }
    }

    /// Is it an extension's, as far as a number tells?
    pub(crate) fn is_own_number(&self, number: &str) -> bool {
        match &self.extensions {
            Some(own) => own.matches(number),
            None => self.looks_internal(number),
        }
    }

    /// Is this number, which signalling says of a segment's other party, another one's outside? One of the site's own is not; and the known number
    /// with other digits before it is no news: a rule may ask for these.
    pub(crate) fn is_another_outside(&self, number: &str, known: &SegmentFacts) -> bool {
        let alike = Alike { call: String::new(), number: number.to_owned(), direction: known.direction };
        !self.is_own_number(number)
            && !known.outside_number.as_deref().is_some_and(|outside| alike.has(outside))
    }

    /// A short number, or a name.
    fn looks_internal(&self, number: &str) -> bool {
        let digits_max = self.dial_plan.as_ref().map_or(INTERNAL_DIGITS_MAX, |plan| plan.extension_digits);
        looks_internal(number, digits_max)
    }

    /// How much speaks for a device of the site on that side.
    fn evidence(&self, facts: &LegFacts, side: Side) -> i32 {
        let (own, other) = (facts.party(side), facts.party(side.other()));
        let mut points = 0;
        if own.is_withheld() {
            points -= 3;
        }
        if is_registered(facts, side) {
            points += 4;
        }
        if self.is_pbx(other) {
            points += 2;
        }
        if self.is_pbx(own) {
            points -= 2;
        }
        if self.is_trunk(own) {
            points -= 8;
        }
        points + self.likeness(&self.number(facts, side))
    }

    /// How much a number looks like an extension's: a short number more than a word, a long number not at all.
    fn likeness(&self, number: &str) -> i32 {
        let is_number = number.bytes().all(|b| b.is_ascii_digit() || b"*#".contains(&b));
        match self.looks_internal(number) {
            true if is_number => 2,
            true => 1,
            false => 0,
        }
    }

    /// Is the party on that side one of the site's own, although it is not the recorded one?
    fn is_internal(&self, facts: &LegFacts, side: Side) -> bool {
        if self.is_trunk(facts.party(side)) {
            return false;
        }
        match &self.extensions {
            Some(_) => self.is_listed(facts, side),
            None => {
                let party = facts.party(side);
                is_registered(facts, side)
                    || (!party.is_withheld() && self.looks_internal(&self.number(facts, side)))
            }
        }
    }
}

/// Whose side is heard: who called the recorder, or whom it has called to join a conversation.
fn heard_side(named: &Named) -> Side {
    if named.by == NamedBy::Joined { Side::Callee } else { Side::Caller }
}

/// The other party of a call that the recorder was conferenced into: whom From names, when that is not the extension itself. Of a
/// conversation that it has joined nobody is named: the feed may.
pub(crate) fn other_of<'f>(facts: &'f LegFacts, named: &Named) -> Option<&'f Identity> {
    if named.by == NamedBy::Joined {
        return None;
    }
    let from = facts.party(Side::Caller);
    (!from.is_withheld() && from.number != named.number).then_some(from)
}

/// Was the party on that side seen to register: by its own number, or by the one that its device was called by?
fn is_registered(facts: &LegFacts, side: Side) -> bool {
    facts.party(side).registered || (side == Side::Callee && facts.request_registered)
}

/// A call without signalling: its extensions are the phones that are known by their addresses; of two, neither is outside. Who
/// called cannot be told.
fn stream_roles(facts: &LegFacts) -> Roles {
    let known = |&side: &Side| facts.party(side).registered;
    let extensions: Vec<Side> = [Side::Caller, Side::Callee].into_iter().filter(known).collect();
    let direction = if extensions.len() == 2 { Direction::Internal } else { Direction::Unknown };
    Roles { extensions, direction }
}

/// Digits, as far as a number may have anything else.
fn is_number(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b"+*#-.()".contains(&b))
}

/// A short number, or a name.
fn looks_internal(number: &str, digits_max: usize) -> bool {
    let digits = number.trim_start_matches(['+', '*', '#']);
    let is_number =
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b"-.()*#".contains(&b));
    if is_number { !number.starts_with('+') && digits.len() <= digits_max } else { !number.is_empty() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{facts, legs_between};

    const PHONE: u8 = 20;
    const PBX: u8 = 10;
    const PROVIDER: u8 = 30;

    /// A PBX between its telephones and a provider.
    fn behind_a_pbx(extensions: Option<&str>) -> Site {
        let address = |host| IpAddr::from([192, 0, 2, host]);
        Site {
            extensions: extensions.map(|numbers| numbers.parse().expect("a pattern")),
            pbx: vec![address(PBX)],
            trunks: vec![address(PROVIDER)],
            ..Site::default()
        }
    }

    #[test]
    fn the_short_number_is_the_extension() {
        let roles = Site::default().roles(&facts("2000", "01632960001"));
        assert_eq!((roles.extensions, roles.direction), (vec![Side::Caller], Direction::Outbound));
        let roles = Site::default().roles(&facts("01632960001", "2000"));
        assert_eq!((roles.extensions, roles.direction), (vec![Side::Callee], Direction::Inbound));
        let roles = Site::default().roles(&facts("2000", "2001"));
        assert_eq!((roles.extensions, roles.direction), (vec![Side::Caller], Direction::Internal));
    }

    #[test]
    fn a_caller_without_a_number_is_not_the_extension() {
        for withheld in ["anonymous", "Unavailable", ""] {
            let roles = Site::default().roles(&facts(withheld, "2001"));
            assert_eq!(
                (roles.extensions, roles.direction),
                (vec![Side::Callee], Direction::Inbound),
                "{withheld:?}"
            );
        }
        // A short number before a word.
        assert_eq!(Site::default().roles(&facts("reception", "2001")).extensions, [Side::Callee]);
    }

    #[test]
    fn on_a_leg_of_the_pbx_only_the_device_is_an_extension() {
        let pbx = "192.0.2.10".parse().expect("an address");
        let site = Site {
            extensions: Some("2000-2999".parse().expect("pattern")),
            pbx: vec![pbx],
            ..Site::default()
        };
        assert_eq!(site.roles(&facts("2000", "2001")).extensions, [Side::Caller]);
    }

    #[test]
    fn a_registered_user_is_an_extension_whatever_the_number() {
        let mut facts = facts("2000", "4416329600");
        facts.parties[1].registered = true;
        facts.parties[0].is_registrar = true;
        let roles = Site::default().roles(&facts);
        assert_eq!((roles.extensions, roles.direction), (vec![Side::Callee], Direction::Internal));
    }

    #[test]
    fn two_registered_users_without_a_pbx_between_are_two_extensions() {
        let mut facts = facts("2000", "2001");
        facts.parties.iter_mut().for_each(|party| party.registered = true);
        assert_eq!(Site::default().roles(&facts).extensions, [Side::Caller, Side::Callee]);
    }

    #[test]
    fn of_a_group_the_device_that_rings_is_the_extension() {
        let mut facts = facts("01632960001", "2500");
        facts.request_user = "2002".into();
        facts.request_registered = true;
        assert_eq!(Site::default().number(&facts, Side::Callee), "2002");
    }

    #[test]
    fn of_a_call_that_ran_already_it_is_not_known_who_called_whom() {
        let mut facts = facts("2000", "01632960001");
        facts.joined_late = true;
        facts.caller_known = false;
        let roles = Site::default().roles(&facts);
        assert_eq!((roles.extensions, roles.direction), (vec![Side::Caller], Direction::Unknown));
        // That both are extensions is known all the same.
        facts.parties.iter_mut().for_each(|party| party.registered = true);
        assert_eq!(Site::default().roles(&facts).direction, Direction::Internal);
    }

    #[test]
    fn of_a_conversation_that_it_has_joined_the_other_side_is_the_extensions() {
        let mut facts = facts("earwitness", "conf-17");
        facts.conferenced =
            Some([Named { by: NamedBy::Joined, number: "2001".into(), name: String::new() }].into());
        let site = Site::default();
        let roles = site.roles(&facts);
        assert_eq!((&roles.extensions[..], roles.direction), (&[Side::Callee][..], Direction::Unknown));
        let known = site.segment(&facts, Side::Callee, roles.direction, Source::RecordACall);
        assert_eq!((known.extension.as_str(), known.outside_number), ("2001", None));
        assert_eq!(site.named_by(&facts).as_deref(), Some("feed (feed 2001)"));
    }

    #[test]
    fn the_recorder_records_for_whom_the_pbx_names() {
        let mut facts = facts("01632960001", "5999");
        let named = |by, number: &str| Named { by, number: number.into(), name: "Ann".into() };
        facts.conferenced =
            Some([named(NamedBy::Diversion, "2001"), named(NamedBy::From, "01632960001")].into());
        let site = Site::default();
        let roles = site.roles(&facts);
        assert_eq!((&roles.extensions[..], roles.direction), (&[Side::Caller][..], Direction::Inbound));
        let known = site.segment(&facts, Side::Caller, roles.direction, Source::RecordACall);
        assert_eq!((known.extension.as_str(), known.other_party.as_str()), ("2001", "01632960001"));
        assert_eq!((known.outside_number.as_deref(), known.ddi), (Some("01632960001"), None));
        assert_eq!(site.named_by(&facts).as_deref(), Some("Diversion (Diversion 2001, From 01632960001)"));
        // Where extensions are listed, the first of these.
        let listed = Site { extensions: Some("5%".parse().expect("a pattern")), ..Site::default() };
        facts.conferenced = Some([named(NamedBy::From, "2001"), named(NamedBy::Application, "5999")].into());
        assert_eq!(listed.number(&facts, Side::Caller), "5999");
        assert_eq!(site.number(&facts, Side::Caller), "2001");
        // From is the extension itself: nobody else is named.
        facts.parties[0].number = "2001".into();
        let roles = site.roles(&facts);
        assert_eq!(roles.direction, Direction::Unknown);
        let known = site.segment(&facts, Side::Caller, roles.direction, Source::RecordACall);
        assert_eq!((known.other_party.as_str(), known.outside_number), ("5999", None));
    }

    #[test]
    fn without_signalling_the_listed_phones_are_the_extensions() {
        let mut facts = facts("2000", "");
        facts.sip_call_id.clear();
        facts.parties[0].registered = true;
        let listed = Site { extensions: Some("7000-7999".parse().expect("pattern")), ..Site::default() };
        for site in [Site::default(), listed] {
            let roles = site.roles(&facts);
            assert_eq!((roles.extensions, roles.direction), (vec![Side::Caller], Direction::Unknown));
        }
        facts.parties[1].registered = true;
        let roles = Site::default().roles(&facts);
        assert_eq!(
            (roles.extensions, roles.direction),
            (vec![Side::Caller, Side::Callee], Direction::Internal)
        );
    }

    #[test]
    fn who_calls_from_a_trunk_is_outside_whatever_the_number() {
        let trunk = "192.0.2.20".parse().expect("an address");
        let listed = Some("2000-2999".parse().expect("pattern"));
        for extensions in [None, listed] {
            let site = Site { extensions, trunks: vec![trunk], ..Site::default() };
            let roles = site.roles(&facts("2000", "2001"));
            assert_eq!((roles.extensions, roles.direction), (vec![Side::Callee], Direction::Inbound));
        }
    }

    #[test]
    fn a_leg_between_the_pbx_and_a_trunk_has_no_extension() {
        let address = |text: &str| text.parse().expect("an address");
        let site =
            Site { pbx: vec![address("192.0.2.20")], trunks: vec![address("192.0.2.10")], ..Site::default() };
        for (caller, callee) in [("2000", "01632960001"), ("01632960001", "2000")] {
            assert_eq!(site.roles(&facts(caller, callee)).extensions, []);
        }
        // The PBX is known by who registers there, and the provider's address is not told.
        let mut by_evidence = facts("2000", "01632960001");
        by_evidence.parties.iter_mut().for_each(|party| party.is_registrar = true);
        assert_eq!(Site::default().roles(&by_evidence).extensions, []);
        // A device that registers is one, and a machine that is everything does not tell.
        by_evidence.parties[0].registered = true;
        assert_eq!(Site::default().roles(&by_evidence).extensions, [Side::Caller]);
        let mut alone = facts("2000", "01632960001");
        alone.parties[1].signalling = alone.parties[0].signalling;
        assert_eq!(site.roles(&alone).extensions, [Side::Caller]);
    }

    #[test]
    fn an_extension_that_the_pbx_names_to_the_trunk_has_its_own_leg_and_no_second_one() {
        let [phone, trunk] =
            legs_between(&[([PHONE, PBX], "2000", "01632960001"), ([PBX, PROVIDER], "2000", "01632960001")])
                .try_into()
                .expect("two legs");
        assert_eq!((phone.call, trunk.others.len()), (trunk.call, 1));
        for site in [behind_a_pbx(Some("2000-2999")), behind_a_pbx(None)] {
            assert_eq!(site.roles(&phone).extensions, [Side::Caller]);
            assert_eq!(site.roles(&trunk).extensions, []);
        }
        // Nobody has said where the provider is: that the PBX is one shows by what it passes on.
        let unaware = Site { pbx: vec![], trunks: vec![], ..behind_a_pbx(Some("2000-2999")) };
        assert_eq!(unaware.roles(&trunk).extensions, []);
        // A number that goes to the trunk in another call has no leg of its own in this one.
        let other =
            legs_between(&[([PHONE, PBX], "2001", "01632960002"), ([PBX, PROVIDER], "2000", "01632960001")]);
        assert_eq!(behind_a_pbx(Some("2000-2999")).roles(&other[1]).extensions, [Side::Caller]);
    }

    #[test]
    fn where_only_the_trunks_side_is_seen_its_leg_is_the_extensions() {
        for (way, caller, callee, side) in [
            ([PBX, PROVIDER], "2000", "01632960001", Side::Caller),
            ([PROVIDER, PBX], "01632960001", "2000", Side::Callee),
        ] {
            let [trunk] = legs_between(&[(way, caller, callee)]).try_into().expect("a leg");
            assert_eq!(behind_a_pbx(Some("2000-2999")).roles(&trunk).extensions, [side]);
        }
    }

    #[test]
    fn what_was_dialled_from_outside_is_known_by_the_trunks_leg() {
        let caller = "01632960001";
        let ddi = |site: &Site, legs: &[LegFacts]| {
            let phone = legs.last().expect("a leg");
            let roles = site.roles(phone);
            assert_eq!(roles, Roles { extensions: vec![Side::Callee], direction: Direction::Inbound });
            site.segment(phone, Side::Callee, roles.direction, Source::Mirror).ddi
        };
        let (trunk, phone) = (([PROVIDER, PBX], caller, "960500"), ([PBX, PHONE], caller, "2001"));
        let legs = legs_between(&[trunk, phone]);
        let plan = DialPlan::default().with_ddi_prefix("01632").expect("digits");
        for site in [behind_a_pbx(Some("2000-2999")), behind_a_pbx(None), Site::default()] {
            let site = Site { dial_plan: Some(plan.clone()), ..site };
            assert_eq!(ddi(&site, &legs).as_deref(), Some("01632960500"), "{site:?}");
        }
        let site = behind_a_pbx(Some("2000-2999"));
        // The phone's own leg names a group: it is not what was dialled.
        let mut of_group = legs.clone();
        of_group[1].parties[1].number = "2500".into();
        of_group[1].request_user = "2001".into();
        assert_eq!(
            ddi(&Site { extensions: Some("2001".parse().expect("a pattern")), ..site.clone() }, &of_group)
                .as_deref(),
            Some("960500")
        );
        // To names no number, the request does.
        let mut by_request = legs.clone();
        by_request[1].others[0].parties[1].number = "pbx".into();
        by_request[1].others[0].request_user = "960501".into();
        assert_eq!(ddi(&site, &by_request).as_deref(), Some("960501"));
        // The trunk dials the extension itself.
        assert_eq!(ddi(&site, &legs_between(&[([PROVIDER, PBX], caller, "2001"), phone])), None);
        // Two calls were joined: the one of this caller, and none where that cannot be told.
        let mut joined = legs.clone();
        let other = joined[1].others[0].clone();
        joined[1].others.insert(0, other);
        joined[1].others[0].parties[0].number = "02079460018".into();
        joined[1].others[0].parties[1].number = "960777".into();
        assert_eq!(ddi(&site, &joined).as_deref(), Some("960500"));
        joined[1].others[1].parties[0].number = "02079460019".into();
        assert_eq!(ddi(&site, &joined), None);
    }

    #[test]
    fn the_dial_plan_says_how_long_an_extension_is() {
        let site = Site { dial_plan: Some(DialPlan::default()), ..Site::default() };
        assert_eq!(site.roles(&facts("2000", "960001")).direction, Direction::Outbound);
        assert_eq!(Site::default().roles(&facts("2000", "960001")).direction, Direction::Internal);
    }

    #[test]
    fn what_the_administrator_says_decides() {
        let site = Site { extensions: Some("7000-7999".parse().expect("pattern")), ..Site::default() };
        assert_eq!(site.roles(&facts("2000", "01632960001")).extensions, []);
        let mut by_request = facts("01632960001", "01632960500");
        by_request.request_user = "7001".into();
        assert_eq!(site.roles(&by_request).extensions, [Side::Callee]);
        assert_eq!(site.number(&by_request, Side::Callee), "7001");
    }
}
