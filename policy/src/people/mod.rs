//! Users, their extensions and agents over time, and the tree of business units (requirement rows USR and BUN).
//!
//! What a segment is tagged with is asked once for the moment at which it begins, and again when its agent changes, and is then
//! a fact of the recording: whoever gets the extension later changes nothing of it. An id or number belongs to one user at a
//! time; overlaps are refused. Log-in, roles and permissions are not here.

mod devices;
mod error;
#[cfg(test)]
mod tests;
pub mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use decode::Timestamp;
use serde::{Deserialize, Serialize};

use crate::modes::Mode;
use crate::rules::SegmentFacts;
use devices::Assignments;
pub use devices::{ASSIGNMENTS_MAX, Assignment, Device, DeviceKind, Tenure};
pub use error::check_name;
pub use error::{Clash, PeopleError};
pub use units::{DELETED, DEPTH_MAX, UNASSIGNED, UNITS_MAX, Units};

/// Users of one site, deleted ones counted.
pub const USERS_MAX: usize = 10_000;
/// The longest name, in characters.
pub const NAME_MAX: usize = 100;
/// The longest id and e-mail address, in bytes.
const ID_MAX: usize = 100;

/// A person whose calls are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Names the user for ever, as `ann.b`: in recordings, filters and rules.
    pub id: String,
    /// First name; may be empty.
    pub first_name: String,
    /// Last name; may be empty.
    pub last_name: String,
    /// E-mail address; may be empty.
    pub email: String,
    /// The unit; `Unassigned Users` without one.
    pub unit: Option<String>,
    /// The user's calls are shown to no other user, but by a filter that grants them ([`crate::access`]).
    pub hidden: bool,
    /// What is recorded of the user's calls by itself, at whatever device; the device's mode counts without it.
    pub mode: Option<OwnMode>,
    /// When the user was deleted; only [`People::remove_user`] sets it.
    pub deleted: Option<Timestamp>,
}

impl User {
    /// First and last name, or the id where there is none.
    #[must_use]
    pub fn display_name(&self) -> String {
        let names = [self.first_name.as_str(), self.last_name.as_str()];
        let names = names.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" ");
        if names.is_empty() { self.id.clone() } else { names }
    }
}

/// A recording mode of a user's own (requirement row ODM-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnMode {
    /// The mode.
    pub mode: Mode,
    /// Calls that begin then or later are in it; all of them without it.
    pub from: Option<Timestamp>,
}

impl OwnMode {
    /// Does it count for a call that began at this time?
    #[must_use]
    pub fn counts(&self, began: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= began)
    }
}

/// `on_demand`, `always since 2026-12-24T08:00:00.000Z`.
impl fmt::Display for OwnMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mode.key())?;
        self.from.map_or(Ok(()), |from| write!(f, " since {from}"))
    }
}

/// A user as a recording names one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The id.
    pub id: String,
    /// The name that is shown, as it was then.
    pub name: String,
}

/// Whom a segment counts for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The user; none where the devices are nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Person>,
    /// The user's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The units above that one, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units_above: Vec<String>,
}

impl Who {
    /// Does it name nobody, and no unit?
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        *self == Who::default()
    }

    /// The unit and those above it, the nearest first.
    pub fn units(&self) -> impl Iterator<Item = &str> + Clone {
        self.unit.iter().chain(&self.units_above).map(String::as_str)
    }
}

/// What became of a user that was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// Moved to `Deleted Users`; the devices are free, the calls stay the user's.
    Deleted,
    /// Gone for good; the id is free.
    ForGood,
}

/// All of them. Empty, it says nothing of anybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct People {
    users: BTreeMap<String, User>,
    /// The ids, by how they read in small letters: no two are alike.
    ids: BTreeMap<String, String>,
    /// Those whose calls no scope shows to others.
    hidden: Arc<BTreeSet<String>>,
    assignments: Assignments,
    units: Units,
}

impl People {
    /// Nobody is listed, and no unit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.units.is_empty()
    }

    /// Whom a segment at this extension counts for, with this agent logged in, at this moment.
    ///
    /// The agent goes first; one that is nobody's says nothing, and the extension decides. Where neither is anybody's there is no
    /// user, and the segment counts for `Unassigned Users`; while no people are listed at all, for no unit.
    #[must_use]
    pub fn who(&self, extension: &str, agent: Option<&str>, at: Timestamp) -> Who {
        if self.is_empty() {
            return Who::default();
        }
        let holder = |kind, number: &str| {
            let id = self.assignments.holder(&Device { kind, number: number.to_owned() }, at)?;
            self.users.get(id)
        };
        let user = agent
            .and_then(|agent| holder(DeviceKind::Agent, agent))
            .or_else(|| holder(DeviceKind::Extension, extension));
        self.counting_for(user, at)
    }

    /// What counts for a user, or for nobody, at this moment.
    #[must_use]
    pub fn counting_for(&self, user: Option<&User>, at: Timestamp) -> Who {
        let unit = user.map_or(UNASSIGNED, |user| self.unit_of(user, at));
        Who {
            user: user.map(|user| Person { id: user.id.clone(), name: user.display_name() }),
            unit: Some(unit.to_owned()),
            units_above: self.units.above(unit).map(str::to_owned).collect(),
        }
    }

    /// The recording mode of a user's own; none where there is no such user.
    #[must_use]
    pub fn mode_of(&self, id: &str) -> Option<OwnMode> {
        self.users.get(id)?.mode
    }

    /// Tells a segment whom it counts for, as of this moment. A unit that somebody outside has named stays.
    pub fn tell(&self, facts: &mut SegmentFacts, at: Timestamp) {
        let who = self.who(&facts.extension, facts.agent.as_deref(), at);
        match &facts.named_unit {
            None => facts.who = who,
            Some(unit) => {
                let units_above = self.units.above(unit).map(str::to_owned).collect();
                facts.who = Who { user: who.user, unit: Some(unit.clone()), units_above };
            }
        }
    }

    /// The unit that a user was in at this moment, as far as the tree of today tells.
    #[must_use]
    pub fn unit_of<'p>(&'p self, user: &'p User, at: Timestamp) -> &'p str {
        match &user.unit {
            _ if user.deleted.is_some_and(|deleted| deleted <= at) => DELETED,
            Some(unit) if self.units.has(unit) => unit,
            _ => UNASSIGNED,
        }
    }

    /// The units.
    #[must_use]
    pub fn units(&self) -> &Units {
        &self.units
    }

    /// Adds a unit, below another one or on top.
    ///
    /// # Errors
    /// As [`Units::add`] and [`Units::put_under`].
    pub fn add_unit(&mut self, name: &str, parent: Option<&str>) -> Result<(), PeopleError> {
        let mut units = self.units.clone();
        units.add(name)?;
        units.put_under(name, parent)?;
        self.units = units;
        Ok(())
    }

    /// Puts a unit with all below it under another one, or on top.
    ///
    /// # Errors
    /// As [`Units::put_under`].
    pub fn put_unit_under(&mut self, name: &str, parent: Option<&str>) -> Result<(), PeopleError> {
        self.units.put_under(name, parent)
    }

    /// Removes a unit that holds neither users nor units.
    ///
    /// # Errors
    /// [`PeopleError::NoUnit`], [`PeopleError::SystemUnit`], [`PeopleError::NotEmpty`].
    pub fn remove_unit(&mut self, name: &str) -> Result<(), PeopleError> {
        let is_in = |user: &&User| user.deleted.is_none() && user.unit.as_deref() == Some(name);
        self.units.remove(name, self.users.values().filter(is_in).count())
    }

    /// Adds a user, without devices.
    ///
    /// # Errors
    /// [`PeopleError::Unfit`] for an id or name that cannot be one; [`PeopleError::UserTaken`]; [`PeopleError::UserDeleted`]: a
    /// deleted user keeps the id until removed for good; [`PeopleError::NoUnit`], [`PeopleError::SystemUnit`] for a unit that
    /// nobody can be put into; [`PeopleError::TooMany`].
    pub fn add_user(&mut self, user: User) -> Result<(), PeopleError> {
        let id = user.id.clone();
        let fits = |c: char| c.is_alphanumeric() || ".-_@+".contains(c);
        if id.is_empty() || id.len() > ID_MAX || !id.chars().all(fits) {
            let problem = "is no id: write letters, digits and .-_@+, as ann.b";
            return Err(PeopleError::Unfit { what: "user", name: id, problem });
        }
        for (what, name) in [("first name", &user.first_name), ("last name", &user.last_name)] {
            if !name.is_empty() {
                check_name(what, name)?;
            }
        }
        if !user.email.is_empty() {
            check_name("e-mail address", &user.email)?;
        }
        if let Some(unit) = &user.unit {
            if units::is_system(unit) {
                return Err(PeopleError::SystemUnit { name: unit.clone() });
            }
            if !self.units.has(unit) {
                return Err(PeopleError::NoUnit { name: unit.clone() });
            }
        }
        let lower = id.to_lowercase();
        if let Some(other) = self.ids.get(&lower).and_then(|other| self.users.get(other)) {
            return Err(match other.deleted {
                Some(_) => PeopleError::UserDeleted { id },
                None => PeopleError::UserTaken { id },
            });
        }
        if self.users.len() >= USERS_MAX {
            return Err(PeopleError::TooMany { what: "users", max: USERS_MAX });
        }
        self.ids.insert(lower, id.clone());
        if user.hidden {
            Arc::make_mut(&mut self.hidden).insert(id.clone());
        }
        self.users.insert(id, User { deleted: None, ..user });
        Ok(())
    }

    /// Removes a user: the first time to `Deleted Users`, from this moment on; the second time for good.
    ///
    /// # Errors
    /// [`PeopleError::NoUser`].
    pub fn remove_user(&mut self, id: &str, at: Timestamp) -> Result<Removed, PeopleError> {
        let no_user = || PeopleError::NoUser { id: id.to_owned() };
        let user = self.users.get_mut(id).ok_or_else(no_user)?;
        if user.deleted.is_none() {
            user.deleted = Some(at);
            self.assignments.release_all(id, at);
            return Ok(Removed::Deleted);
        }
        self.users.remove(id);
        self.ids.remove(&id.to_lowercase());
        Arc::make_mut(&mut self.hidden).remove(id);
        self.assignments.forget(id);
        Ok(Removed::ForGood)
    }

    /// Gives a user a device for a time.
    ///
    /// # Errors
    /// [`PeopleError::Overlap`] when it is anybody's at any moment of that, [`PeopleError::TwoPrimary`],
    /// [`PeopleError::Backwards`], [`PeopleError::NoUser`] also of a deleted one, [`PeopleError::Unfit`],
    /// [`PeopleError::TooMany`].
    pub fn assign(&mut self, id: &str, assignment: Assignment) -> Result<(), PeopleError> {
        if self.users.get(id).is_none_or(|user| user.deleted.is_some()) {
            return Err(PeopleError::NoUser { id: id.to_owned() });
        }
        self.assignments.add(id, assignment)
    }

    /// Ends whoever's time it is with the device. Until then it stays that user's.
    ///
    /// # Errors
    /// [`PeopleError::NotHeld`].
    pub fn release(&mut self, device: &Device, at: Timestamp) -> Result<(), PeopleError> {
        self.assignments.release(device, at)
    }

    /// A user, deleted or not.
    #[must_use]
    pub fn user(&self, id: &str) -> Option<&User> {
        self.users.get(id)
    }

    /// The ids of the users whose calls no scope shows to others, deleted ones too.
    #[must_use]
    pub fn hidden(&self) -> Arc<BTreeSet<String>> {
        Arc::clone(&self.hidden)
    }

    /// All users by id, deleted ones too.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// A user's devices of all times, agents first, each in the order of time.
    pub fn devices_of(&self, id: &str) -> impl Iterator<Item = Assignment> {
        self.assignments.of(id)
    }

    /// The users in whose name, or in whose extension or agent of this moment, the text stands, capitals or not. Deleted ones are
    /// never found.
    pub fn find<'p>(&'p self, text: &str, at: Timestamp) -> impl Iterator<Item = &'p User> + use<'p> {
        let wanted = text.to_lowercase();
        self.users.values().filter(move |user| {
            let names = [&user.first_name, &user.last_name, &user.id];
            let is_in = |text: &str| text.to_lowercase().contains(&wanted);
            let has_device = || {
                let now = self.devices_of(&user.id).filter(|a| a.tenure.contains(at));
                now.into_iter().any(|a| is_in(&a.device.number))
            };
            user.deleted.is_none() && (names.into_iter().any(|name| is_in(name)) || has_device())
        })
    }
}
