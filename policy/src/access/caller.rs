//! The one place where it is decided what somebody may do, and with which segments.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{AccessFilter, FilterMode, Permission, Permissions, Scope};
use crate::field::{Field, Segment};
use crate::people::units;

/// Where somebody stands at this moment: what scopes are relative to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The id of the person in [`crate::People`].
    pub person: Option<String>,
    /// The person's unit. A unit of the system is nobody's own.
    pub unit: Option<String>,
    /// The site's name; none where it has none.
    pub site: Option<String>,
    /// The ids of the users whose calls no scope shows to others.
    pub hidden: Arc<BTreeSet<String>>,
}

/// Somebody who asks for something, with all that may be asked for, as of one moment. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(Arc<Inner>);

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    name: String,
    permissions: Permissions,
    /// Holds the archive itself: no filter and no scope stands before it.
    is_console: bool,
    scope: Scope,
    standing: Standing,
    /// Those that deny first, in the order in which they were given.
    filters: Vec<AccessFilter>,
    /// How many of them deny.
    denying: usize,
}

/// Why somebody is refused something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The profile lacks it.
    #[error("your role has no permission {:?}; ask whoever administers accounts for it", .0.label())]
    NoPermission(Permission),
    /// There is nothing that the caller could do it with: permissions alone show no recording.
    #[error(
        "your role has no access scope and no granting filter, so that it sees no calls; ask whoever administers accounts"
    )]
    SeesNone,
    /// Scope and filters do not admit this segment.
    #[error("this call is not among those that your role sees; ask whoever administers accounts")]
    NotAdmitted,
}

impl Caller {
    /// Somebody with these permissions, this scope, relative to where the person stands, and these filters.
    #[must_use]
    pub fn new(
        name: &str,
        permissions: Permissions,
        scope: Scope,
        mut filters: Vec<AccessFilter>,
        mut standing: Standing,
    ) -> Caller {
        filters.sort_by_key(|filter| filter.mode() == FilterMode::Grant);
        let denying = filters.partition_point(|filter| filter.mode() == FilterMode::Deny);
        standing.unit = standing.unit.filter(|unit| !units::is_system(unit));
        let name = name.to_owned();
        Caller(Arc::new(Inner { name, permissions, is_console: false, scope, standing, filters, denying }))
    }

    /// Whoever holds the archive at the machine itself: everything. What is read from the archive's folder nobody can refuse.
    #[must_use]
    pub fn console(name: &str) -> Caller {
        Caller(Arc::new(Inner {
            name: name.to_owned(),
            permissions: Permissions::all(),
            is_console: true,
            scope: Scope::Organization,
            standing: Standing::default(),
            filters: Vec::new(),
            denying: 0,
        }))
    }

    /// The user name, as the audit trail has it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The id of the person, where the account is a person's.
    #[must_use]
    pub fn person(&self) -> Option<&str> {
        self.0.standing.person.as_deref()
    }

    /// Whose segments are seen, by the role.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.0.scope
    }

    /// What may be done at all.
    #[must_use]
    pub fn permissions(&self) -> Permissions {
        self.0.permissions
    }

    /// May this be done at all? Of what is about segments, with those that are admitted.
    #[must_use]
    pub fn may(&self, permission: Permission) -> bool {
        self.0.permissions.has(permission)
    }

    /// Could there be a segment that is admitted: is there a scope, and what it is relative to, or a filter that grants? Without,
    /// there is no page of recordings.
    #[must_use]
    pub fn sees_any(&self) -> bool {
        let Inner { scope, standing, filters, denying, .. } = &*self.0;
        let has_scope = match scope {
            Scope::None => false,
            Scope::Own => standing.person.is_some(),
            Scope::Unit | Scope::UnitAndBelow => standing.unit.is_some(),
            Scope::Site | Scope::Organization => true,
        };
        has_scope || filters.len() > *denying
    }

    /// Is there no call that is kept from them: a scope of all, nothing that denies, and of each hidden user a filter that grants the calls
    /// whatever else is known of them? For what tells of all calls, of some of which nothing is known that a filter could be asked about.
    #[must_use]
    pub fn sees_all(&self) -> bool {
        let Inner { is_console, scope, standing, filters, denying, .. } = &*self.0;
        let grants = filters.get(*denying..).unwrap_or_default();
        let is_shown = |user: &String| {
            standing.person.as_ref() == Some(user) || grants.iter().any(|filter| filter.matches_all_of(user))
        };
        *is_console
            || (*scope == Scope::Organization && *denying == 0 && standing.hidden.iter().all(is_shown))
    }

    /// May this be done with this segment?
    ///
    /// # Errors
    /// [`Refusal`]: why not. To somebody who must not know that the segment exists all of them are to look the same.
    pub fn permit(&self, permission: Permission, segment: &impl Segment) -> Result<(), Refusal> {
        if !self.may(permission) {
            return Err(Refusal::NoPermission(permission));
        }
        if self.admits(segment) {
            return Ok(());
        }
        Err(if self.sees_any() { Refusal::NotAdmitted } else { Refusal::SeesNone })
    }

    /// Do scope and filters admit this segment? Deny wins, then grant, then the scope, which reaches no hidden user but oneself.
    #[must_use]
    pub fn admits(&self, segment: &impl Segment) -> bool {
        let Inner { is_console, filters, denying, .. } = &*self.0;
        if *is_console {
            return true;
        }
        let (deny, grant) = filters.split_at_checked(*denying).unwrap_or((filters, &[]));
        let any = |filters: &[AccessFilter]| filters.iter().any(|filter| filter.matches(segment));
        !any(deny) && (any(grant) || self.is_in_scope(segment))
    }

    /// Do scope and filters admit a call without a recording? `part` is the extension's part in it, where all is known of that which
    /// they may ask; a call of which it is not could be anybody's, and is for whom no call is kept from.
    #[must_use]
    pub fn admits_unrecorded(&self, part: Option<&impl Segment>) -> bool {
        part.map_or_else(|| self.sees_all(), |part| self.admits(part))
    }

    /// Could there be a call of this business unit, named with those above it, the nearest first, that is admitted? As far as the unit says it:
    /// a filter that grants calls of the unit counts, one that grants what it does not tell by the unit does not.
    #[must_use]
    pub fn sees_unit(&self, units: &[&str]) -> bool {
        let Inner { is_console, scope, standing, filters, denying, .. } = &*self.0;
        let (deny, grant) = filters.split_at_checked(*denying).unwrap_or((filters, &[]));
        let own = |unit: &&str| standing.unit.as_deref() == Some(*unit);
        let is_in_scope = match scope {
            Scope::None | Scope::Own => false,
            Scope::Unit => units.first().is_some_and(own),
            Scope::UnitAndBelow => units.iter().any(own),
            Scope::Site | Scope::Organization => true,
        };
        let is_denied = deny.iter().any(|filter| filter.is_of_units_alone() && filter.names_unit(units));
        *is_console || !is_denied && (is_in_scope || grant.iter().any(|filter| filter.names_unit(units)))
    }

    fn is_in_scope(&self, segment: &impl Segment) -> bool {
        let Inner { scope, standing, .. } = &*self.0;
        let is = |own: &Option<String>, value: &str| own.as_deref().is_some_and(|own| own == value);
        let user = segment.value(Field::User);
        if standing.hidden.contains(user) && !is(&standing.person, user) {
            return false;
        }
        match scope {
            Scope::None => false,
            Scope::Own => is(&standing.person, user),
            Scope::Unit => segment.units().next().is_some_and(|unit| is(&standing.unit, unit)),
            Scope::UnitAndBelow => segment.units().any(|unit| is(&standing.unit, unit)),
            // A recording of a box without a name is of the site without a name.
            Scope::Site => standing.site.as_deref().unwrap_or_default() == segment.value(Field::Site),
            Scope::Organization => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(mode: FilterMode, conditions: &[(Field, &str)]) -> AccessFilter {
        AccessFilter::new("f", mode, conditions, None).expect("a filter")
    }

    #[test]
    fn a_unit_is_seen_by_scope_or_by_a_filter_that_names_it_and_not_if_one_denies_all_of_it() {
        let sees = |scope: Scope, filters: Vec<AccessFilter>| {
            let standing = Standing { unit: Some("Insurance".into()), ..Standing::default() };
            let caller = Caller::new("ann", Permissions::default(), scope, filters, standing);
            [&["Insurance"][..], &["Claims", "Insurance"], &["Sales"]].map(|path| caller.sees_unit(path))
        };
        assert_eq!(sees(Scope::None, vec![]), [false; 3]);
        assert_eq!(sees(Scope::Own, vec![]), [false; 3]);
        assert_eq!(sees(Scope::Unit, vec![]), [true, false, false]);
        assert_eq!(sees(Scope::UnitAndBelow, vec![]), [true, true, false]);
        assert_eq!(sees(Scope::Site, vec![]), [true; 3]);
        let (grant, deny) = (FilterMode::Grant, FilterMode::Deny);
        let unit = |pattern| (Field::BusinessUnit, pattern);
        assert_eq!(sees(Scope::None, vec![filter(grant, &[unit("Claims")])]), [false, true, false]);
        let some_of_it = filter(grant, &[unit("Sales"), (Field::Extension, "2001")]);
        assert_eq!(sees(Scope::None, vec![some_of_it]), [false, false, true]);
        assert_eq!(sees(Scope::None, vec![filter(grant, &[(Field::Extension, "2001")])]), [false; 3]);
        assert_eq!(sees(Scope::Organization, vec![filter(deny, &[unit("Claims")])]), [true, false, true]);
        assert_eq!(sees(Scope::Organization, vec![filter(deny, &[unit("Insurance")])]), [false, false, true]);
        let some_of_it = filter(deny, &[unit("Sales"), (Field::Extension, "2001")]);
        assert_eq!(sees(Scope::Organization, vec![some_of_it]), [true; 3]);
    }
}
