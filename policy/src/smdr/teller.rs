//! What the tracker tells of trunk calls, as SMDR records.
//!
//! A call keeps its name over transfers. Its first leg to answer is `ANSWERED`, every later one `CONNECTED`; another extension's
//! leg in a call that was answered is a transfer from the one before; one whose INVITE says who sent the call on is a diversion. That a call waits at
//! a hunt group is told by whoever knows it. Calls between extensions have no records.

use std::collections::{BTreeMap, VecDeque};

use decode::tracker::{CallId, Event, LegFacts, LegId};
use decode::{Side, Timestamp};
use jiff::tz::TimeZone;

use super::{Record, SmdrEvent};
use crate::outcome::{Direction, Source};
use crate::rules::{Fact, Rules, SegmentFacts};

/// Width of the call's name in a record.
const CALL_LEN: usize = 22;
/// Width of an extension in a record: whoever has a longer number is none.
const EXTENSION_LEN: usize = 7;

/// Legs and calls that run, and records that are not told yet.
#[derive(Debug)]
pub struct Teller {
    zone: TimeZone,
    legs: BTreeMap<LegId, Leg>,
    calls: BTreeMap<CallId, Call>,
    records: VecDeque<Record>,
}

#[derive(Debug)]
struct Leg {
    call: CallId,
    near: Side,
    facts: SegmentFacts,
    /// Who sent the call on to it; empty when nobody did.
    diverted_by: String,
    rang: bool,
    connected: bool,
    held: bool,
}

/// A trunk call.
#[derive(Debug)]
struct Call {
    legs: u32,
    direction: Direction,
    answered: bool,
    /// What the last record said.
    last: Option<Record>,
}

impl Teller {
    /// For records on the clock of this zone.
    #[must_use]
    pub fn new(zone: TimeZone) -> Teller {
        Teller { zone, legs: BTreeMap::new(), calls: BTreeMap::new(), records: VecDeque::new() }
    }

    /// Takes an event; then [`poll_record`](Self::poll_record) until it gives `None`.
    pub fn handle_event(&mut self, event: &Event<'_>, rules: &Rules) {
        match event {
            Event::LegStarted(facts) | Event::Tied(facts) => self.meet(facts, rules),
            Event::Ringing(facts) => {
                self.meet(facts, rules);
                self.ring(facts.leg, facts.ringing.unwrap_or(facts.started));
            }
            Event::Answered(facts) => {
                self.meet(facts, rules);
                let at = facts.answered.unwrap_or(facts.started);
                self.ring(facts.leg, at);
                self.connect(facts.leg, at);
            }
            Event::Identified { facts, side, at, number, .. } => {
                self.identify(facts.leg, *side, number, *at, rules);
            }
            Event::Hold { leg, by, at } => self.hold(*leg, *by, *at, true),
            Event::Retrieve { leg, by, at } => self.hold(*leg, *by, *at, false),
            Event::LegEnded(end) => self.end(end.facts.leg, end.facts.ended.unwrap_or(end.facts.started)),
            _ => {}
        }
    }

    /// More is known of a leg's part: a record says so, if it is account code, number or contact.
    pub fn handle_known(&mut self, leg: LegId, known: &SegmentFacts, at: Timestamp) {
        let Some(own) = self.legs.get_mut(&leg).filter(|own| own.facts.extension == known.extension) else {
            return;
        };
        let said = |facts: &SegmentFacts| {
            (facts.account_code.clone(), facts.outside_number.clone(), facts.contact.clone())
        };
        // A leg to whom a call was passed on knows of it what the call knew before.
        let before = said(&own.facts);
        let own_facts = std::mem::replace(&mut own.facts, known.clone());
        let facts = &mut own.facts;
        for (now, then) in [
            (&mut facts.account_code, own_facts.account_code),
            (&mut facts.outside_number, own_facts.outside_number),
            (&mut facts.contact, own_facts.contact),
            (&mut facts.ddi, own_facts.ddi),
            (&mut facts.ddi_name, own_facts.ddi_name),
            (&mut facts.trunk, own_facts.trunk),
        ] {
            *now = now.take().or(then);
        }
        let is_modified = own.rang && said(&own.facts) != before;
        if is_modified {
            self.tell(leg, SmdrEvent::Modified, "", at);
        }
    }

    /// The other party is named by another number than before; of recordings the same is known by what is known of them.
    fn identify(&mut self, leg: LegId, side: Side, number: &str, at: Timestamp, rules: &Rules) {
        let Some(own) = self.legs.get_mut(&leg).filter(|own| own.near != side) else { return };
        if !rules.site.is_another_outside(number, &own.facts) {
            return;
        }
        let is_new = own.facts.take(Fact::OutsideNumber(number.to_owned()), &rules.site);
        if is_new == Ok(true) && own.rang {
            self.tell(leg, SmdrEvent::Modified, "", at);
        }
    }

    /// A leg's call waits at a hunt group, somebody says. Told while nobody has answered it, and once for each group in a row.
    pub fn handle_queue(&mut self, leg: LegId, group: &str, at: Timestamp) {
        let Some(own) = self.legs.get_mut(&leg).filter(|_| !group.is_empty()) else { return };
        let waits = self.calls.get(&own.call).is_some_and(|call| {
            let is_again = |last: &Record| last.event == SmdrEvent::Queued && last.endpoint == group;
            !call.answered && !call.last.as_ref().is_some_and(is_again)
        });
        if waits {
            let extension = std::mem::replace(&mut own.facts.extension, group.to_owned());
            self.tell(leg, SmdrEvent::Queued, "", at);
            if let Some(own) = self.legs.get_mut(&leg) {
                own.facts.extension = extension;
            }
        }
    }

    /// The next record.
    pub fn poll_record(&mut self) -> Option<Record> {
        self.records.pop_front()
    }

    /// A leg has begun, or more is known of it.
    fn meet(&mut self, facts: &LegFacts, rules: &Rules) {
        let roles = rules.roles(facts);
        let of_call = self.calls.get(&facts.call);
        let is_trunk = matches!(roles.direction, Direction::Inbound | Direction::Outbound);
        // The leg to whom a trunk call is passed on may look like one between two extensions.
        let direction = match of_call {
            Some(call) => call.direction,
            None if is_trunk => roles.direction,
            None => return,
        };
        let last = of_call.and_then(|call| call.last.as_ref()).map(|record| record.endpoint.clone());
        // Whom it was passed on to, where it looks like one between two extensions.
        let sides = if is_trunk { &[][..] } else { &[Side::Caller, Side::Callee][..] };
        let is_new = |&&side: &&Side| last.as_ref() != Some(&rules.site.number(facts, side));
        let near = roles.extensions.iter().chain(sides).find(is_new).or(roles.extensions.first());
        let Some(&near) = near else { return };
        if let Some(own) = self.legs.get_mut(&facts.leg) {
            let before = std::mem::replace(&mut own.call, facts.call);
            if before != facts.call {
                self.join(facts.call, direction);
                self.leave(before);
            }
            return;
        }
        let mut segment = rules.site.segment(facts, near, roles.direction, Source::Mirror);
        if !is_trunk && let Some(last) = self.calls.get(&facts.call).and_then(|call| call.last.as_ref()) {
            segment.outside_number = Some(last.caller.clone());
            segment.ddi = Some(last.ddi.clone());
            segment.contact = Some(last.contact.clone());
            segment.account_code = Some(last.account_code.clone());
            segment.trunk = Some(last.trunk.clone());
        }
        let diverted_by = facts.diverted_by.clone();
        let (call, rang, connected, held) = (facts.call, false, false, false);
        let leg = Leg { call, near, facts: segment, diverted_by, rang, connected, held };
        self.legs.insert(facts.leg, leg);
        self.join(facts.call, direction);
    }

    fn join(&mut self, call: CallId, direction: Direction) {
        let new = Call { legs: 0, direction, answered: false, last: None };
        self.calls.entry(call).or_insert(new).legs += 1;
    }

    /// A leg is out of a call; gives the call when it was the last one.
    fn leave(&mut self, call: CallId) -> Option<Call> {
        let known = self.calls.get_mut(&call)?;
        known.legs = known.legs.saturating_sub(1);
        if known.legs == 0 { self.calls.remove(&call) } else { None }
    }

    fn ring(&mut self, leg: LegId, at: Timestamp) {
        let Some(own) = self.legs.get_mut(&leg) else { return };
        if std::mem::replace(&mut own.rang, true) {
            return;
        }
        let Some(call) = self.calls.get(&own.call) else { return };
        let from = call.last.as_ref().map(|record| record.endpoint.clone()).unwrap_or_default();
        let is_another = from != own.facts.extension;
        if call.answered && is_another {
            self.tell(leg, SmdrEvent::Transferred, &from, at);
        } else if !call.answered && is_another {
            let by = own.diverted_by.clone();
            if !by.is_empty() && by.len() <= EXTENSION_LEN && by != own.facts.extension {
                self.tell(leg, SmdrEvent::Diverted, &by, at);
            }
        }
        self.tell(leg, SmdrEvent::Ringing, "", at);
    }

    fn connect(&mut self, leg: LegId, at: Timestamp) {
        let Some(own) = self.legs.get_mut(&leg) else { return };
        if std::mem::replace(&mut own.connected, true) {
            return;
        }
        let Some(call) = self.calls.get_mut(&own.call) else { return };
        let is_later = std::mem::replace(&mut call.answered, true);
        self.tell(leg, if is_later { SmdrEvent::Connected } else { SmdrEvent::Answered }, "", at);
    }

    fn hold(&mut self, leg: LegId, by: Side, at: Timestamp, held: bool) {
        let Some(own) = self.legs.get_mut(&leg) else { return };
        if by != own.near || !own.connected || std::mem::replace(&mut own.held, held) == held {
            return;
        }
        self.tell(leg, if held { SmdrEvent::Hold } else { SmdrEvent::Connected }, "", at);
    }

    fn end(&mut self, leg: LegId, at: Timestamp) {
        let Some(own) = self.legs.remove(&leg) else { return };
        let Some(Call { last: Some(last), .. }) = self.leave(own.call) else { return };
        let at = self.wall(at);
        self.records.push_back(Record { at, source: String::new(), event: SmdrEvent::Disconnected, ..last });
    }

    fn tell(&mut self, leg: LegId, event: SmdrEvent, source: &str, at: Timestamp) {
        let at = self.wall(at);
        let Some(own) = self.legs.get(&leg) else { return };
        let Some(call) = self.calls.get_mut(&own.call) else { return };
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let facts = &own.facts;
        let record = Record {
            at,
            is_inbound: call.direction == Direction::Inbound,
            call: own.call.to_string().chars().filter(|c| *c != '-').take(CALL_LEN).collect(),
            trunk: text(&facts.trunk),
            endpoint: facts.extension.clone(),
            source: source.to_owned(),
            caller: text(&facts.outside_number).trim_start_matches('+').to_owned(),
            contact: text(&facts.contact),
            ddi: text(&facts.ddi).trim_start_matches('+').to_owned(),
            dnis: text(&facts.ddi_name),
            account_code: text(&facts.account_code),
            event,
        };
        // The same is seen before and behind a PBX, and at each of several phones of one number.
        let is_again = call.last.as_ref().is_some_and(|last| {
            use SmdrEvent::{Answered, Connected, Ringing};
            let again = matches!(
                (last.event, event),
                (Ringing, Ringing) | (Answered | Connected, Answered | Connected | Ringing)
            );
            again && last.endpoint == record.endpoint
        });
        if is_again {
            return;
        }
        call.last = Some(record.clone());
        self.records.push_back(record);
    }

    fn wall(&self, at: Timestamp) -> jiff::civil::DateTime {
        let at = jiff::Timestamp::from_nanosecond(i128::from(at.as_nanos())).unwrap_or_default();
        self.zone.to_datetime(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::legs;

    fn end(facts: &LegFacts) -> Event<'static> {
        Event::LegEnded(Box::new(crate::testing::over(facts.clone())))
    }

    /// What was told: event, endpoint, source.
    fn told(teller: &mut Teller) -> Vec<String> {
        let records = std::iter::from_fn(|| teller.poll_record());
        let line = |record: Record| {
            let from =
                if record.source.is_empty() { String::new() } else { format!(" from {}", record.source) };
            format!("{} {}{from}", record.event.word(), record.endpoint)
        };
        records.map(line).collect()
    }

    fn handle(teller: &mut Teller, events: &[Event<'_>]) -> Vec<String> {
        events.iter().for_each(|event| teller.handle_event(event, &Rules::default()));
        told(teller)
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn a_call_rings_is_answered_modified_held_and_over() {
        let [leg] = legs(&[("01632960001", "2000")]).try_into().expect("a leg");
        let mut teller = Teller::new(TimeZone::UTC);
        let begins = [Event::LegStarted(&leg), Event::Ringing(&leg), Event::Answered(&leg)];
        assert_eq!(handle(&mut teller, &begins), ["RINGING 2000", "ANSWERED 2000"]);
        let mut known = Rules::default().site.segment(&leg, Side::Callee, Direction::Inbound, Source::Mirror);
        known.trunk = Some("801".into());
        teller.handle_known(leg.leg, &known, at(5_000));
        assert_eq!(told(&mut teller), [] as [String; 0], "a trunk is no news");
        known.account_code = Some("77".into());
        teller.handle_known(leg.leg, &known, at(5_000));
        let record = teller.poll_record().expect("a record");
        assert_eq!((record.event, record.account_code.as_str()), (SmdrEvent::Modified, "77"));
        assert_eq!((record.trunk.as_str(), record.caller.as_str()), ("801", "01632960001"));
        assert_eq!(record.at.to_string(), "1970-01-01T00:00:05");
        let id = leg.leg;
        let held = [
            Event::Hold { leg: id, by: Side::Caller, at: at(6_000) },
            Event::Hold { leg: id, by: Side::Callee, at: at(6_000) },
            Event::Hold { leg: id, by: Side::Callee, at: at(6_100) },
            Event::Retrieve { leg: id, by: Side::Callee, at: at(7_000) },
            end(&leg),
        ];
        assert_eq!(handle(&mut teller, &held), ["HOLD 2000", "CONNECTED 2000", "DISCONNECTED 2000"]);
        assert!(teller.legs.is_empty() && teller.calls.is_empty());
    }

    #[test]
    fn another_party_on_the_line_is_told_of_calls_that_nobody_records_too() {
        let [leg] = legs(&[("anonymous", "2000")]).try_into().expect("a leg");
        let mut teller = Teller::new(TimeZone::UTC);
        let named = |side, number: &str| Event::Identified {
            facts: &leg,
            side,
            at: at(3_000),
            number: number.into(),
            name: "Ann Bee".into(),
        };
        let begins = [Event::LegStarted(&leg), Event::Answered(&leg)];
        assert_eq!(handle(&mut teller, &begins), ["RINGING 2000", "ANSWERED 2000"]);
        // The extension itself by another number, and somebody of the site, are not who is outside.
        let others = [named(Side::Callee, "01632960500"), named(Side::Caller, "2003")];
        assert_eq!(handle(&mut teller, &others), [] as [&str; 0]);
        teller.handle_event(&named(Side::Caller, "01632960001"), &Rules::default());
        let record = teller.poll_record().expect("a record");
        assert_eq!((record.event, record.caller.as_str()), (SmdrEvent::Modified, "01632960001"));
        // The same as the network writes it, and what a recording knows of it by then, say nothing new.
        assert_eq!(handle(&mut teller, &[named(Side::Caller, "+441632960001")]), [] as [&str; 0]);
        let mut known = Rules::default().site.segment(&leg, Side::Callee, Direction::Inbound, Source::Mirror);
        known.outside_number = Some("01632960001".into());
        teller.handle_known(leg.leg, &known, at(3_000));
        assert_eq!(told(&mut teller), [] as [&str; 0]);
    }

    #[test]
    fn a_transfer_keeps_the_calls_name_and_says_who_passed_it_on() {
        let [first, mut second] =
            legs(&[("01632960001", "2000"), ("2000", "2001")]).try_into().expect("two legs");
        let mut teller = Teller::new(TimeZone::UTC);
        let id = first.leg;
        let begins = [
            Event::LegStarted(&first),
            Event::Answered(&first),
            Event::Hold { leg: id, by: Side::Callee, at: at(2_000) },
        ];
        assert_eq!(handle(&mut teller, &begins), ["RINGING 2000", "ANSWERED 2000", "HOLD 2000"]);
        // It begins as a call between two extensions, and turns out to be part of the first.
        assert_eq!(handle(&mut teller, &[Event::LegStarted(&second)]), [] as [String; 0]);
        second.call = first.call;
        teller.handle_event(&Event::Tied(&second), &Rules::default());
        teller.handle_event(&Event::Ringing(&second), &Rules::default());
        teller.handle_event(&end(&first), &Rules::default());
        teller.handle_event(&Event::Answered(&second), &Rules::default());
        teller.handle_event(&end(&second), &Rules::default());
        let records: Vec<Record> = std::iter::from_fn(|| teller.poll_record()).collect();
        let words: Vec<&str> = records.iter().map(|record| record.event.word()).collect();
        assert_eq!(words, ["TRANSFERRED", "RINGING", "CONNECTED", "DISCONNECTED"]);
        assert_eq!((records[0].source.as_str(), records[0].endpoint.as_str()), ("2000", "2001"));
        let is_same = |record: &Record| record.call == records[0].call && record.caller == "01632960001";
        assert!(records.iter().all(is_same) && records[0].call.len() == CALL_LEN);
    }

    #[test]
    fn what_is_seen_before_and_behind_a_pbx_is_told_once() {
        let [first, mut second] =
            legs(&[("01632960001", "2000"), ("01632960001", "2000")]).try_into().expect("two legs");
        second.call = first.call;
        let mut teller = Teller::new(TimeZone::UTC);
        let all = [
            Event::LegStarted(&first),
            Event::LegStarted(&second),
            Event::Ringing(&second),
            Event::Ringing(&first),
            Event::Answered(&second),
            Event::Answered(&first),
            end(&first),
            end(&second),
        ];
        assert_eq!(handle(&mut teller, &all), ["RINGING 2000", "ANSWERED 2000", "DISCONNECTED 2000"]);
    }

    #[test]
    fn a_call_between_extensions_has_no_records() {
        let [leg] = legs(&[("2000", "2001")]).try_into().expect("a leg");
        let mut teller = Teller::new(TimeZone::UTC);
        let all = [Event::LegStarted(&leg), Event::Ringing(&leg), Event::Answered(&leg), end(&leg)];
        assert_eq!(handle(&mut teller, &all), [] as [String; 0]);
        let [leg] = legs(&[("2000", "01632960001")]).try_into().expect("a leg");
        let all = [Event::LegStarted(&leg), Event::Ringing(&leg), Event::Answered(&leg), end(&leg)];
        assert_eq!(handle(&mut teller, &all), ["RINGING 2000", "ANSWERED 2000", "DISCONNECTED 2000"]);
    }

    #[test]
    fn a_diversion_has_who_sent_the_call_on_and_a_hunt_group_is_told_once_while_the_call_waits() {
        let [mut facts]: [LegFacts; 1] = legs(&[("01632960001", "2002")]).try_into().expect("one");
        facts.diverted_by = "2001".into();
        let (rules, mut teller) = (Rules::default(), Teller::new(TimeZone::UTC));
        teller.handle_event(&Event::LegStarted(&facts), &rules);
        for _ in 0..2 {
            teller.handle_queue(facts.leg, "2500", facts.started);
        }
        teller.handle_event(&Event::Ringing(&facts), &rules);
        facts.answered = Some(facts.started);
        teller.handle_event(&Event::Answered(&facts), &rules);
        teller.handle_queue(facts.leg, "2500", facts.started);
        teller.handle_event(&end(&facts), &rules);
        assert_eq!(
            told(&mut teller),
            ["QUEUED 2500", "DIVERTED 2002 from 2001", "RINGING 2002", "ANSWERED 2002", "DISCONNECTED 2002"]
        );
        // Somebody outside has sent it on: no extension did.
        facts.diverted_by = "01632960555".into();
        facts.answered = None;
        teller.handle_event(&Event::Ringing(&facts), &rules);
        assert_eq!(told(&mut teller), ["RINGING 2002"]);
    }
}
