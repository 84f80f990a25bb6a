//! Which permission a part of the rule book takes. What somebody may see of it is what they may change of it.

use policy::Permission;

use crate::rules::Difference;
use crate::server::caller::Asker;

/// The permissions that the parts of the book take; who has all of them may have its text.
pub(in crate::server) const OF_BOOK: [Permission; 7] = [
    Permission::Exclusions,
    Permission::Inclusions,
    Permission::PauseRules,
    Permission::PhoneSystems,
    Permission::DialPlan,
    Permission::Retention,
    Permission::People,
];

/// Those that a section takes when these of its keys change. A section of a later version takes all.
fn of_section(section: &str, keys: &[String]) -> &'static [Permission] {
    use Permission as P;
    let begins = |name: &str| section == name || section.starts_with(&format!("{name}."));
    let is_internal = |key: &String| key == "exclude_internal";
    match section {
        "record.exclude" => &[P::Exclusions],
        "record.include" => &[P::Inclusions],
        "record" if !keys.is_empty() && keys.iter().all(is_internal) => &[P::Exclusions],
        "record" if keys.iter().any(is_internal) => &[P::Exclusions, P::PhoneSystems],
        "record" | "record.device" | "device" | "site" => &[P::PhoneSystems],
        "user" | "unit" => &[P::People],
        _ if begins("site.dial_plan") => &[P::DialPlan],
        _ if begins("pause") => &[P::PauseRules],
        _ if begins("retention") => &[P::Retention],
        _ => &OF_BOOK,
    }
}

/// May they see and make this difference?
pub(super) fn may(asker: &Asker, difference: &Difference) -> bool {
    of_section(&difference.section, &difference.keys).iter().all(|permission| asker.caller.may(*permission))
}

/// May they have the whole text?
pub(super) fn may_whole(asker: &Asker) -> bool {
    may_all(asker, &OF_BOOK)
}

/// Have they all of these?
pub(in crate::server) fn may_all(asker: &Asker, all: &[Permission]) -> bool {
    all.iter().all(|permission| asker.caller.may(*permission))
}

/// May they have any part of it?
pub(super) fn may_any(asker: &Asker) -> bool {
    OF_BOOK.iter().any(|permission| asker.caller.may(*permission))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_section_takes_its_permission_and_one_that_is_not_known_takes_all() {
        use Permission as P;
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        for (section, changed, takes) in [
            ("record.exclude", &[][..], &[P::Exclusions][..]),
            ("record.include", &[], &[P::Inclusions]),
            ("record", &["exclude_internal"], &[P::Exclusions]),
            ("record", &["channels", "exclude_internal"], &[P::Exclusions, P::PhoneSystems]),
            ("record", &["channels"], &[P::PhoneSystems]),
            ("record.device", &["mode"], &[P::PhoneSystems]),
            ("site", &["pbx"], &[P::PhoneSystems]),
            ("site.dial_plan", &["country"], &[P::DialPlan]),
            ("pause.code", &[], &[P::PauseRules]),
            ("retention", &["grace"], &[P::Retention]),
            ("retention.rule", &[], &[P::Retention]),
            ("user", &["device"], &[P::People]),
            ("unit", &[], &[P::People]),
            ("users", &[], &OF_BOOK),
            ("retentions", &[], &OF_BOOK),
            ("", &[], &OF_BOOK),
        ] {
            assert_eq!(of_section(section, &keys(changed)), takes, "{section}");
        }
    }
}
