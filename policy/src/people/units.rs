//! The tree of business units (requirement rows BUN-01 to BUN-03).
//!
//! A unit is known by its name, which no other has: rules, filters and recordings name it so, wherever in the tree it stands.

use std::collections::BTreeMap;

use super::error::{PeopleError, check_name};

/// Where users are whom nobody has put into a unit.
pub const UNASSIGNED: &str = "Unassigned Users";
/// Where users are who were deleted.
pub const DELETED: &str = "Deleted Users";
/// Units of one site, those of the system left out.
pub const UNITS_MAX: usize = 1_000;
/// Levels of the tree.
pub const DEPTH_MAX: usize = 16;

/// The tree; the units of the system are always there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// The unit above, by name; none on top.
    parents: BTreeMap<String, Option<String>>,
}

/// Is it one of the system's own?
#[must_use]
pub fn is_system(name: &str) -> bool {
    [UNASSIGNED, DELETED].iter().any(|own| own.eq_ignore_ascii_case(name))
}

impl Units {
    /// Adds a unit on top of the tree.
    ///
    /// # Errors
    /// [`PeopleError::Unfit`], [`PeopleError::UnitTaken`], [`PeopleError::SystemUnit`], [`PeopleError::TooMany`].
    pub fn add(&mut self, name: &str) -> Result<(), PeopleError> {
        check_name("unit", name)?;
        if is_system(name) {
            return Err(PeopleError::SystemUnit { name: name.to_owned() });
        }
        if self.parents.len() >= UNITS_MAX {
            return Err(PeopleError::TooMany { what: "units", max: UNITS_MAX });
        }
        let lower = name.to_lowercase();
        if self.parents.keys().any(|other| other.to_lowercase() == lower) {
            return Err(PeopleError::UnitTaken { name: name.to_owned() });
        }
        self.parents.insert(name.to_owned(), None);
        Ok(())
    }

    /// Puts a unit with all below it under another one, or on top.
    ///
    /// # Errors
    /// [`PeopleError::NoUnit`], [`PeopleError::SystemUnit`], [`PeopleError::Cycle`], [`PeopleError::TooDeep`].
    pub fn put_under(&mut self, name: &str, parent: Option<&str>) -> Result<(), PeopleError> {
        if let Some(system) = [Some(name), parent].into_iter().flatten().find(|name| is_system(name)) {
            return Err(PeopleError::SystemUnit { name: system.to_owned() });
        }
        for name in [Some(name), parent].into_iter().flatten() {
            if !self.parents.contains_key(name) {
                return Err(PeopleError::NoUnit { name: name.to_owned() });
            }
        }
        if let Some(parent) =
            parent.filter(|parent| *parent == name || self.above(parent).any(|up| up == name))
        {
            return Err(PeopleError::Cycle { name: name.to_owned(), parent: parent.to_owned() });
        }
        let before = self.parents.insert(name.to_owned(), parent.map(str::to_owned)).flatten();
        let is_deep = |unit: &str| self.above(unit).count() >= DEPTH_MAX;
        // One without any below it, as all are when a tree is built from the top, is looked at alone.
        let holds_others = self.parents.values().any(|above| above.as_deref() == Some(name));
        let too_deep =
            if holds_others { self.parents.keys().any(|unit| is_deep(unit)) } else { is_deep(name) };
        if too_deep {
            self.parents.insert(name.to_owned(), before);
            return Err(PeopleError::TooDeep { name: name.to_owned() });
        }
        Ok(())
    }

    /// Removes a unit; that nobody is in it is the caller's to know.
    ///
    /// # Errors
    /// [`PeopleError::NoUnit`], [`PeopleError::SystemUnit`], [`PeopleError::NotEmpty`].
    pub(super) fn remove(&mut self, name: &str, users: usize) -> Result<(), PeopleError> {
        if is_system(name) {
            return Err(PeopleError::SystemUnit { name: name.to_owned() });
        }
        if !self.parents.contains_key(name) {
            return Err(PeopleError::NoUnit { name: name.to_owned() });
        }
        let units = self.parents.values().filter(|parent| parent.as_deref() == Some(name)).count();
        if users + units > 0 {
            return Err(PeopleError::NotEmpty { name: name.to_owned(), users, units });
        }
        self.parents.remove(name);
        Ok(())
    }

    /// Is there a unit of this name? Those of the system are.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        name == UNASSIGNED || name == DELETED || self.parents.contains_key(name)
    }

    /// There is none but the system's.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parents.is_empty()
    }

    /// The units above one, the nearest first.
    pub fn above<'u>(&'u self, name: &str) -> impl Iterator<Item = &'u str> + use<'u> {
        let parent = |name: &str| self.parents.get(name).and_then(Option::as_deref);
        // No unit is below itself: this ends.
        std::iter::successors(parent(name), move |name| parent(name))
    }

    /// All units with their level, from 0, each behind the one above it, those of the system last.
    #[must_use]
    pub fn tree(&self) -> Vec<(&str, usize)> {
        let mut tree = Vec::with_capacity(self.parents.len() + 2);
        self.branch(None, 0, &mut tree);
        tree.extend([(UNASSIGNED, 0), (DELETED, 0)]);
        tree
    }

    fn branch<'u>(&'u self, parent: Option<&str>, level: usize, tree: &mut Vec<(&'u str, usize)>) {
        for (name, _) in self.parents.iter().filter(|(_, up)| up.as_deref() == parent) {
            tree.push((name, level));
            self.branch(Some(name), level + 1, tree);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units() -> Units {
        let mut units = Units::default();
        for name in ["Insurance", "Claims", "Motor", "Banking"] {
            units.add(name).expect("new");
        }
        units.put_under("Claims", Some("Insurance")).expect("below");
        units.put_under("Motor", Some("Claims")).expect("below");
        units
    }

    #[test]
    fn a_unit_knows_those_above_it_and_the_tree_has_each_behind_its_parent() {
        let units = units();
        assert_eq!(units.above("Motor").collect::<Vec<_>>(), ["Claims", "Insurance"]);
        assert_eq!(units.above("Nowhere").count(), 0);
        let tree = units.tree();
        assert_eq!(
            tree,
            [("Banking", 0), ("Insurance", 0), ("Claims", 1), ("Motor", 2), (UNASSIGNED, 0), (DELETED, 0)]
        );
    }

    #[test]
    fn a_unit_cannot_be_below_itself() {
        let mut units = units();
        for parent in ["Motor", "Claims", "Insurance"] {
            let told = units.put_under("Insurance", Some(parent)).expect_err("a cycle").to_string();
            assert!(told.contains("that one is below it"), "{told}");
        }
        assert_eq!(units.put_under("Motor", Some("Banking")), Ok(()));
        assert_eq!(units.put_under("Insurance", Some("Motor")), Ok(()));
    }

    #[test]
    fn the_tree_has_so_many_levels_and_no_more() {
        let mut units = Units::default();
        for n in 0..=DEPTH_MAX {
            units.add(&format!("level {n}")).expect("new");
            if let (Some(above), true) = (n.checked_sub(1), n < DEPTH_MAX) {
                units.put_under(&format!("level {n}"), Some(&format!("level {above}"))).expect("deep enough");
            }
        }
        let (last, above) = (format!("level {DEPTH_MAX}"), format!("level {}", DEPTH_MAX - 1));
        let before = units.clone();
        assert!(matches!(units.put_under(&last, Some(&above)), Err(PeopleError::TooDeep { .. })));
        assert_eq!(units, before);
        // Also when it is the branch that is deep.
        assert!(matches!(units.put_under("level 0", Some(&last)), Err(PeopleError::TooDeep { .. })));
    }

    #[test]
    fn the_units_of_the_system_stay_and_names_are_taken_once() {
        let mut units = units();
        for name in [UNASSIGNED, DELETED, "deleted users"] {
            assert!(matches!(units.add(name), Err(PeopleError::SystemUnit { .. })), "{name}");
            assert!(matches!(units.remove(name, 0), Err(PeopleError::SystemUnit { .. })), "{name}");
            assert!(matches!(units.put_under("Motor", Some(name)), Err(PeopleError::SystemUnit { .. })));
        }
        assert!(matches!(units.add("claims"), Err(PeopleError::UnitTaken { .. })));
        for unfit in ["", " ", "a\nb", " Claims", &"x".repeat(101)] {
            assert!(matches!(units.add(unfit), Err(PeopleError::Unfit { .. })), "{unfit:?}");
        }
        assert!(matches!(units.put_under("Motor", Some("Sales")), Err(PeopleError::NoUnit { .. })));
    }

    #[test]
    fn a_unit_that_holds_users_or_units_stays() {
        let mut units = units();
        let told = units.remove("Claims", 0).expect_err("Motor is below it").to_string();
        assert!(told.contains("holds 0 users and 1 units"), "{told}");
        assert!(matches!(units.remove("Motor", 2), Err(PeopleError::NotEmpty { users: 2, .. })));
        assert_eq!(units.remove("Motor", 0), Ok(()));
        assert_eq!(units.remove("Claims", 0), Ok(()));
    }
}
