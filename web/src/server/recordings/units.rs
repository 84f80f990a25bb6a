//! The tree of business units beside the list of recordings: choosing one shows its calls and those of all units below it.

use policy::people::units::is_system;
use policy::{Pattern, Permission};
use store::{Archive, Field};

use super::search::Search;
use crate::server::caller::Asker;
use crate::server::escape::brief;

/// A tree of no more is shown whole; of a larger one the way to the unit that is chosen, what stands beside it, and what is below.
const WHOLE_MAX: usize = 40;

/// A unit whose calls somebody may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) struct Unit {
    pub(in crate::server) name: String,
    /// How many units that they may see stand above it.
    pub(in crate::server) level: usize,
}

/// A unit on the page.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) href: String,
    pub(super) is_chosen: bool,
    /// The first below the one before.
    pub(super) opens: bool,
    /// Nothing below it comes behind it.
    pub(super) is_last: bool,
    /// So many levels end with it.
    pub(super) closes: usize,
}

/// The units whose calls somebody may see, each behind the one above it. Those of the system take a permission of their own.
pub(in crate::server) fn seen(archive: &Archive, asker: &Asker) -> Vec<Unit> {
    let people = archive.people();
    if people.is_empty() {
        return Vec::new();
    }
    let (units, caller) = (people.units(), &asker.caller);
    let may_see = |name: &str| {
        let path: Vec<&str> = std::iter::once(name).chain(units.above(name)).collect();
        (!is_system(name) || caller.may(Permission::SystemUnits)) && caller.sees_unit(&path)
    };
    let tree = units.tree().into_iter().filter(|(name, _)| may_see(name));
    let level = |name: &str| units.above(name).filter(|name| may_see(name)).count();
    tree.map(|(name, _)| Unit { name: name.to_owned(), level: level(name) }).collect()
}

/// The tree with what is chosen in it.
pub(super) fn tree(archive: &Archive, asker: &Asker, search: &Search) -> Vec<Node> {
    let units = opened(seen(archive, asker), |unit| is_chosen(search, &unit.name));
    let level_of = |place: usize| units.get(place).map_or(0, |unit| unit.level);
    let node = |(place, unit): (usize, &Unit)| {
        let next = level_of(place + 1);
        let is_chosen = is_chosen(search, &unit.name);
        let pattern = Pattern::written_for(&unit.name);
        Node {
            name: brief(&unit.name).into_owned(),
            href: search.but(|search| search.set(Field::BusinessUnit, if is_chosen { "" } else { &pattern })),
            is_chosen,
            opens: place > 0 && unit.level > level_of(place - 1),
            is_last: next <= unit.level,
            closes: unit.level.saturating_sub(next),
        }
    };
    units.iter().enumerate().map(node).collect()
}

fn is_chosen(search: &Search, name: &str) -> bool {
    search.value(Field::BusinessUnit) == Pattern::written_for(name)
}

/// What is shown of the units: all of few; of many those without one above them, and those below each that is chosen or above the chosen one.
fn opened(units: Vec<Unit>, is_chosen: impl Fn(&Unit) -> bool) -> Vec<Unit> {
    if units.len() <= WHOLE_MAX {
        return units;
    }
    // The places of the units above each, the nearest last.
    let mut above: Vec<usize> = Vec::new();
    let mut ways: Vec<Vec<usize>> = Vec::with_capacity(units.len());
    for (place, unit) in units.iter().enumerate() {
        above.truncate(unit.level);
        ways.push(above.clone());
        above.push(place);
    }
    let chosen = units.iter().position(is_chosen);
    let open: Vec<usize> = match chosen {
        Some(place) => ways[place].iter().copied().chain([place]).collect(),
        None => Vec::new(),
    };
    let is_shown = |place: &usize| ways[*place].iter().all(|above| open.contains(above));
    let shown: Vec<usize> = (0..units.len()).filter(is_shown).collect();
    shown.into_iter().map(|place| units[place].clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_large_tree_the_way_to_what_is_chosen_is_shown_and_what_is_below_it() {
        let unit = |name: String, level| Unit { name, level };
        // Ten on top, each with five below, each of these with one.
        let mut units = Vec::new();
        for top in 0..10 {
            units.push(unit(format!("{top}"), 0));
            for mid in 0..5 {
                units.push(unit(format!("{top}.{mid}"), 1));
                units.push(unit(format!("{top}.{mid}.0"), 2));
            }
        }
        let shown = |chosen: &str| {
            let shown = opened(units.clone(), |unit| unit.name == chosen);
            shown.into_iter().map(|unit| unit.name).collect::<Vec<_>>()
        };
        assert_eq!(shown("").len(), 10);
        assert_eq!(shown("3").len(), 15);
        assert_eq!(shown("3.1").len(), 16);
        assert_eq!(shown("3.1")[3..9], ["3", "3.0", "3.1", "3.1.0", "3.2", "3.3"]);
        assert_eq!(shown("3.1.0").len(), 16);
        assert_eq!(opened(units[..11].to_vec(), |_| false).len(), 11, "few are all shown");
    }
}
