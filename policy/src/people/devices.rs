//! Which extension or agent is whose, and when (requirement rows USR-02, USR-05).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use decode::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::{Clash, PeopleError};

/// Assignments of one site, those of the past counted.
pub const ASSIGNMENTS_MAX: usize = 100_000;
/// Longest number of a device, in bytes.
const NUMBER_MAX: usize = 64;

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// An agent's id, at whatever extension that agent is logged in.
    Agent,
    /// An extension.
    Extension,
}

impl DeviceKind {
    /// As configuration and lists write it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            DeviceKind::Agent => "agent",
            DeviceKind::Extension => "extension",
        }
    }
}

/// An extension or an agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device {
    /// Which of them.
    pub kind: DeviceKind,
    /// Its number.
    pub number: String,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.key(), self.number)
    }
}

/// From when to when; the end is not included. Open where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tenure {
    /// Its first moment; since ever without it.
    pub from: Option<Timestamp>,
    /// The first moment behind it; without end without it.
    pub until: Option<Timestamp>,
}

impl Tenure {
    /// Is the moment in it?
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }

    /// Is there a moment in both?
    #[must_use]
    pub fn overlaps(&self, other: &Tenure) -> bool {
        let begins_in_time = |a: &Tenure, b: &Tenure| match (a.from, b.until) {
            (Some(from), Some(until)) => from < until,
            _ => true,
        };
        begins_in_time(self, other) && begins_in_time(other, self)
    }

    fn is_backwards(&self) -> bool {
        self.from.zip(self.until).is_some_and(|(from, until)| from >= until)
    }
}

/// `from 2026-01-01T00:00:00.000Z until 2026-03-01T00:00:00.000Z`, `always`.
impl fmt::Display for Tenure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.until) {
            (None, None) => f.write_str("always"),
            (Some(from), None) => write!(f, "from {from} on"),
            (None, Some(until)) => write!(f, "until {until}"),
            (Some(from), Some(until)) => write!(f, "from {from} until {until}"),
        }
    }
}

/// A device is a user's for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The device.
    pub device: Device,
    /// It is the user's first one of its kind.
    pub primary: bool,
    /// When it is the user's.
    pub tenure: Tenure,
}

/// One user's time with a device.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    user: String,
    primary: bool,
    tenure: Tenure,
}

/// All assignments, by device, in the order of time: of one device no two overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Assignments {
    held: BTreeMap<Device, Vec<Held>>,
    /// The devices that each user has had, or will have.
    by_user: BTreeMap<String, BTreeSet<Device>>,
    /// How many there are.
    count: usize,
}

impl Assignments {
    /// Adds one.
    pub(super) fn add(&mut self, user: &str, new: Assignment) -> Result<(), PeopleError> {
        let Assignment { device, primary, tenure } = new;
        let fits = |c: char| c.is_ascii_graphic() && !"!%,".contains(c);
        if device.number.is_empty() || device.number.len() > NUMBER_MAX || !device.number.chars().all(fits) {
            let (what, name) = (device.kind.key(), device.number);
            return Err(PeopleError::Unfit { what, name, problem: "is no number of one device" });
        }
        if tenure.is_backwards() {
            return Err(PeopleError::Backwards { user: user.to_owned(), device, tenure });
        }
        if self.count >= ASSIGNMENTS_MAX {
            return Err(PeopleError::TooMany { what: "assignments", max: ASSIGNMENTS_MAX });
        }
        let clash = |holder: &str, has: &Device, held: Tenure| {
            let (user, holder) = (user.to_owned(), holder.to_owned());
            Box::new(Clash { user, device: device.clone(), wanted: tenure, holder, has: has.clone(), held })
        };
        if let Some(held) = self.held.get(&device).into_iter().flatten().find(|h| h.tenure.overlaps(&tenure))
        {
            return Err(PeopleError::Overlap(clash(&held.user, &device, held.tenure)));
        }
        let first = self.of(user).find(|other| {
            primary && other.primary && other.device.kind == device.kind && other.tenure.overlaps(&tenure)
        });
        if let Some(first) = first {
            return Err(PeopleError::TwoPrimary(clash(user, &first.device, first.tenure)));
        }
        self.count += 1;
        self.by_user.entry(user.to_owned()).or_default().insert(device.clone());
        let all = self.held.entry(device).or_default();
        // None (since ever) comes first.
        let place = all.partition_point(|held| held.tenure.from < tenure.from);
        all.insert(place, Held { user: user.to_owned(), primary, tenure });
        Ok(())
    }

    /// Whose the device is at this time.
    pub(super) fn holder(&self, device: &Device, at: Timestamp) -> Option<&str> {
        let all = self.held.get(device)?;
        let begun = all.partition_point(|held| held.tenure.from.is_none_or(|from| from <= at));
        let last = all.get(begun.checked_sub(1)?)?;
        last.tenure.contains(at).then_some(last.user.as_str())
    }

    /// Ends whoever's time it is with the device; what was to come of it stays.
    pub(super) fn release(&mut self, device: &Device, at: Timestamp) -> Result<(), PeopleError> {
        let all = self.held.get_mut(device).map(Vec::as_mut_slice).unwrap_or_default();
        let held = all.iter_mut().find(|held| held.tenure.contains(at));
        let held = held.ok_or_else(|| PeopleError::NotHeld { device: device.clone() })?;
        held.tenure.until = Some(at);
        let user = held.user.clone();
        self.drop_empty(&user, device);
        Ok(())
    }

    /// Ends all of a user's time, that to come too.
    pub(super) fn release_all(&mut self, user: &str, at: Timestamp) {
        for device in self.by_user.get(user).cloned().unwrap_or_default() {
            let all = self.held.get_mut(&device).map(Vec::as_mut_slice).unwrap_or_default();
            for held in all.iter_mut().filter(|held| held.user == user) {
                held.tenure.until = Some(held.tenure.until.map_or(at, |until| until.min(at)));
            }
            self.drop_empty(user, &device);
        }
    }

    /// Forgets a user's devices of all times.
    pub(super) fn forget(&mut self, user: &str) {
        for device in self.by_user.remove(user).unwrap_or_default() {
            self.keep_of(&device, |held| held.user != user);
        }
    }

    /// A user's times with a device that have no moment in them go; so does the device that is no user's then.
    fn drop_empty(&mut self, user: &str, device: &Device) {
        self.keep_of(device, |held| !held.tenure.is_backwards());
        let is_had = self.held.get(device).is_some_and(|all| all.iter().any(|held| held.user == user));
        if !is_had && let Some(devices) = self.by_user.get_mut(user) {
            devices.remove(device);
            if devices.is_empty() {
                self.by_user.remove(user);
            }
        }
    }

    fn keep_of(&mut self, device: &Device, is_kept: impl Fn(&Held) -> bool) {
        let Some(all) = self.held.get_mut(device) else { return };
        let before = all.len();
        all.retain(is_kept);
        self.count -= before - all.len();
        if all.is_empty() {
            self.held.remove(device);
        }
    }

    /// A user's, agents first, each device in the order of time.
    pub(super) fn of(&self, user: &str) -> impl Iterator<Item = Assignment> {
        let devices = self.by_user.get(user).into_iter().flatten();
        devices.filter_map(|device| self.held.get_key_value(device)).flat_map(move |(device, all)| {
            all.iter().filter(move |held| held.user == user).map(|held| Assignment {
                device: device.clone(),
                primary: held.primary,
                tenure: held.tenure,
            })
        })
    }
}
