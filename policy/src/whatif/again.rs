//! The facts of a past call, read again: by other extensions and another dial plan, for other users and units.
//!
//! What is kept of a call says whose numbers took part, and not from which addresses; what follows from the rest is told, and where nothing does,
//! that it is not known. What the two rules say alike stays as it was, whatever has become of it since.

use std::collections::BTreeSet;

use serde::Serialize;

use super::PastPart;
use crate::numbers::DialPlan;
use crate::outcome::{Direction, Source};
use crate::rules::{Fact, RuleType, Rules};
use crate::site::Site;

/// Why it cannot be told what other rules would have made of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotKnown {
    /// Which of its parties would have been the extension.
    Extension,
    /// Whether it would have been an internal call.
    Direction,
    /// Addresses of PBX or trunks are others, and those of its parties are not kept.
    Addresses,
    /// The number that was dialled from outside is kept as it was completed.
    Ddi,
    /// What other codes, windows and limits would have left out.
    Pauses,
}

impl NotKnown {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            NotKnown::Extension => "which party would have been the extension",
            NotKnown::Direction => "whether it would have been an internal call",
            NotKnown::Addresses => "which party would have been the PBX or a trunk: addresses are not kept",
            NotKnown::Ddi => "what was dialled from outside, before it was completed",
            NotKnown::Pauses => "what other pauses would have left out",
        }
    }
}

/// What came of reading a part again.
pub(super) struct Again {
    pub(super) part: PastPart,
    /// Its extension would be one.
    pub(super) is_extension: bool,
    pub(super) not_known: BTreeSet<NotKnown>,
}

/// Reads a part of a call again; `caller` is who called, as signalled.
pub(super) fn read(part: &PastPart, caller: &str, before: &Rules, now: &Rules) -> Again {
    let mut again = Again { part: part.clone(), is_extension: true, not_known: BTreeSet::new() };
    if before.site != now.site {
        again.number(&before.site, now);
        again.place(&before.site, &now.site);
        again.turn(caller, &before.site, &now.site);
    }
    let facts = &mut again.part.facts;
    let who = |rules: &Rules| rules.people.who(&facts.extension, facts.agent.as_deref(), facts.started);
    let (was, is) = (who(before), who(now));
    if was != is {
        now.people.tell(facts, facts.started);
    }
    again
}

impl Again {
    /// Numbers by another dial plan.
    fn number(&mut self, before: &Site, now: &Rules) {
        let site = &now.site;
        if before.dial_plan == site.dial_plan {
            return;
        }
        let facts = &mut self.part.facts;
        let signalled = |site: &Site| site.clean_outside(&facts.other_party, facts.direction);
        let (was, is) = (signalled(before), signalled(site));
        if facts.outside_number == Some(was) {
            facts.outside_number = Some(is);
        }
        facts.outside_e164 = facts.outside_number.as_deref().and_then(|number| site.e164(number));
        let is_asked =
            [&now.include, &now.exclude].into_iter().flatten().any(|rule| rule.kind() == RuleType::Ddi);
        let [was, is] = [before, site].map(|site| site.dial_plan.as_ref().map(DialPlan::ddi_rules));
        if facts.ddi.is_some() && is_asked && was != is {
            self.not_known.insert(NotKnown::Ddi);
        }
    }

    /// Who is an extension, by the list and by the addresses of PBX and trunks.
    fn place(&mut self, before: &Site, now: &Site) {
        let PastPart { facts, phone, .. } = &self.part;
        if before.extensions != now.extensions {
            match &now.extensions {
                Some(list) if list.matches(&facts.extension) => {}
                Some(list) if facts.source == Source::Mirror && !list.matches(&facts.other_party) => {
                    self.is_extension = false;
                }
                _ => {
                    self.not_known.insert(NotKnown::Extension);
                }
            }
        }
        let differs = |address| {
            before.pbx.contains(&address) != now.pbx.contains(&address)
                || before.trunks.contains(&address) != now.trunks.contains(&address)
        };
        let are_others = (&before.pbx, &before.trunks) != (&now.pbx, &now.trunks);
        // Where its number is none of the site's, the other party is outside from wherever it calls.
        let may_matter = phone.is_none_or(differs) || now.is_own_number(&facts.other_party);
        if are_others && may_matter && facts.source == Source::Mirror {
            self.not_known.insert(NotKnown::Addresses);
        }
    }

    /// Which way it goes, by whose number the other party's is.
    fn turn(&mut self, caller: &str, before: &Site, now: &Site) {
        let facts = &mut self.part.facts;
        let (was, is) = (before.is_own_number(&facts.other_party), now.is_own_number(&facts.other_party));
        let outside = if caller == facts.extension { Direction::Outbound } else { Direction::Inbound };
        let turned = match (facts.direction, is) {
            (Direction::Internal, false) if was => outside,
            (Direction::Inbound | Direction::Outbound, true) if !was && now.trunks.is_empty() => {
                Direction::Internal
            }
            // From a trunk, or from a desk; or it was internal for more than its number.
            (Direction::Internal, false) | (Direction::Inbound | Direction::Outbound, true) if !was => {
                self.not_known.insert(NotKnown::Direction);
                return;
            }
            // It was outside for more than its number, and is so still.
            _ => return,
        };
        // A direction is never refused.
        let _ = facts.take(Fact::Direction(turned), now);
    }
}

/// May pauses have been others?
pub(super) fn are_other_pauses(before: &Rules, now: &Rules) -> bool {
    (&before.codes, &before.windows, before.pauses.resume_ms)
        != (&now.codes, &now.windows, now.pauses.resume_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Outcome;
    use crate::people::{Assignment, Device, DeviceKind, People, Tenure, User};
    use crate::rules::ListRule;
    use crate::testing::segment;

    const PHONE: [u8; 4] = [192, 0, 2, 20];

    fn part(extension: &str, other: &str, direction: Direction) -> PastPart {
        let facts = segment(extension, other, direction);
        let phone = Some(PHONE.into());
        PastPart {
            facts,
            outcome: Outcome::Recorded,
            mode: None,
            by_people: false,
            phone,
            mac: None,
            names: None,
        }
    }

    fn on(site: Site) -> Rules {
        Rules { site, ..Rules::default() }
    }

    fn extensions(numbers: &str) -> Site {
        Site { extensions: Some(numbers.parse().expect("a pattern")), ..Site::default() }
    }

    fn not_known(again: &Again) -> Vec<NotKnown> {
        again.not_known.iter().copied().collect()
    }

    #[test]
    fn a_number_that_becomes_an_extensions_makes_an_internal_call_and_the_reverse() {
        let (two, both) = (on(extensions("2000-2999")), on(extensions("2000-3999")));
        let outside = part("2000", "3000", Direction::Outbound);
        let again = read(&outside, "2000", &two, &both);
        let facts = &again.part.facts;
        assert_eq!((facts.direction, facts.outside_number.as_deref()), (Direction::Internal, None));
        assert!(again.is_extension && again.not_known.is_empty());
        for (caller, direction) in [("2000", Direction::Outbound), ("3000", Direction::Inbound)] {
            let again = read(&part("2000", "3000", Direction::Internal), caller, &both, &two);
            let facts = &again.part.facts;
            assert_eq!((facts.direction, facts.outside_number.as_deref()), (direction, Some("3000")));
        }
        // It was outside although its number is an extension's: it called from a trunk, and would again.
        let by_trunk = part("2000", "3000", Direction::Inbound);
        assert_eq!(read(&by_trunk, "3000", &both, &on(extensions("2000-4999"))).part, by_trunk);
        // From a trunk, or from a desk: that is not kept.
        let trunks = vec!["192.0.2.30".parse().expect("an address")];
        let with_trunk = |site: Site| on(Site { trunks: trunks.clone(), ..site });
        let again = read(
            &outside,
            "2000",
            &with_trunk(extensions("2000-2999")),
            &with_trunk(extensions("2000-3999")),
        );
        assert_eq!(
            (not_known(&again), again.part.facts.direction),
            (vec![NotKnown::Direction], Direction::Outbound)
        );
    }

    #[test]
    fn who_is_not_listed_any_more_is_no_extension_and_where_the_other_one_is_it_is_not_known() {
        let before = on(extensions("2000-2999"));
        let call = part("2000", "01632960001", Direction::Outbound);
        assert!(!read(&call, "2000", &before, &on(extensions("2001"))).is_extension);
        let again = read(&call, "2000", &before, &on(extensions("01632960001")));
        assert_eq!((again.is_extension, not_known(&again)), (true, vec![NotKnown::Extension]));
        assert_eq!(not_known(&read(&call, "2000", &before, &on(Site::default()))), [NotKnown::Extension]);
    }

    #[test]
    fn addresses_matter_where_the_phone_has_one_or_the_other_number_is_the_sites() {
        let before = on(extensions("2000-2999"));
        let at = |address: [u8; 4], trunk: bool| {
            let addresses = vec![address.into()];
            let site = extensions("2000-2999");
            on(if trunk { Site { trunks: addresses, ..site } } else { Site { pbx: addresses, ..site } })
        };
        let outside = part("2000", "01632960001", Direction::Outbound);
        let internal = part("2000", "2001", Direction::Internal);
        for trunk in [true, false] {
            let now = at([192, 0, 2, 30], trunk);
            assert_eq!(not_known(&read(&outside, "2000", &before, &now)), []);
            assert_eq!(not_known(&read(&internal, "2000", &before, &now)), [NotKnown::Addresses]);
            assert_eq!(not_known(&read(&outside, "2000", &before, &at(PHONE, trunk))), [NotKnown::Addresses]);
        }
    }

    #[test]
    fn numbers_read_by_another_dial_plan_but_what_was_dialled_from_outside_is_not_kept() {
        let plan = |prefix: &str, ddi: &str| {
            let plan = DialPlan::default().with_outbound_prefixes(&[prefix.to_owned()]).expect("digits");
            on(Site { dial_plan: Some(plan.with_ddi_prefix(ddi).expect("digits")), ..Site::default() })
        };
        let (before, now) = (plan("8", "01617"), plan("9", "01632"));
        let mut call = part("2000", "901632960001", Direction::Outbound);
        let again = read(&call, "2000", &before, &now);
        assert_eq!(again.part.facts.outside_number.as_deref(), Some("01632960001"));
        // What another system has told stays.
        call.facts.outside_number = Some("02079460018".into());
        assert_eq!(read(&call, "2000", &before, &now).part, call);
        call.facts.ddi = Some("01617123456".into());
        assert_eq!(not_known(&read(&call, "2000", &before, &now)), [], "no rule asks for it");
        let exclude = vec![ListRule::new(RuleType::Ddi, "01632%", "").expect("a rule")];
        let asking = Rules { exclude, ..now };
        assert_eq!(not_known(&read(&call, "2000", &before, &asking)), [NotKnown::Ddi]);
    }

    #[test]
    fn a_call_counts_for_other_users_only_where_these_say_something_else() {
        let with = |unit: &str| {
            let mut people = People::default();
            people.add_unit(unit, None).expect("new");
            people
                .add_user(User { id: "ann".into(), unit: Some(unit.into()), ..User::default() })
                .expect("new");
            let device = Device { kind: DeviceKind::Extension, number: "2000".into() };
            let assignment = Assignment { device, primary: false, tenure: Tenure::default() };
            people.assign("ann", assignment).expect("free");
            Rules { people, ..Rules::default() }
        };
        let (sales, claims) = (with("Sales"), with("Claims"));
        let mut call = part("2000", "01632960001", Direction::Outbound);
        call.facts.who.unit = Some("A unit of before".into());
        assert_eq!(read(&call, "2000", &sales, &sales).part, call, "history stays as it was");
        let again = read(&call, "2000", &sales, &claims);
        assert_eq!(again.part.facts.who.unit.as_deref(), Some("Claims"));
        call.facts.named_unit = Some("Trading".into());
        call.facts.who.unit = call.facts.named_unit.clone();
        assert_eq!(read(&call, "2000", &sales, &claims).part.facts.who.unit.as_deref(), Some("Trading"));
    }
}
