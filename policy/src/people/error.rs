//! Why people, units and devices are not taken as they were given.

use std::fmt;

use super::devices::{Device, Tenure};
use super::units::{DELETED, UNASSIGNED};
use super::{NAME_MAX, units::DEPTH_MAX};

/// What was asked of [`People`](super::People) cannot be; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeopleError {
    /// A name or an id is no fit one.
    #[error("{what} {name:?} {problem}")]
    Unfit {
        /// What it is of.
        what: &'static str,
        /// As it was written.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Somebody has that id already.
    #[error("user {id:?}: the id is taken; give each user its own (capitals do not tell ids apart)")]
    UserTaken {
        /// The id.
        id: String,
    },
    /// Somebody had that id and was deleted.
    #[error(
        "user {id:?}: a deleted user has that id; remove that one for good first, or give this one another id"
    )]
    UserDeleted {
        /// The id.
        id: String,
    },
    /// There is no such user.
    #[error("there is no user {id:?}")]
    NoUser {
        /// The id.
        id: String,
    },
    /// A unit has that name already.
    #[error("unit {name:?}: the name is taken; give each unit its own (capitals do not tell names apart)")]
    UnitTaken {
        /// The name.
        name: String,
    },
    /// There is no such unit.
    #[error("there is no unit {name:?}")]
    NoUnit {
        /// The name.
        name: String,
    },
    /// The unit is one of the system's.
    #[error(
        "unit {name:?} is the system's: \"{UNASSIGNED}\" and \"{DELETED}\" stay as they are, alone and on top"
    )]
    SystemUnit {
        /// The name.
        name: String,
    },
    /// The unit would be below itself.
    #[error("unit {name:?} cannot be below {parent:?}: that one is below it")]
    Cycle {
        /// The unit that is moved.
        name: String,
        /// Where it was to go.
        parent: String,
    },
    /// The tree would be too deep.
    #[error("unit {name:?}: the tree would have more than {DEPTH_MAX} levels")]
    TooDeep {
        /// The unit that is moved.
        name: String,
    },
    /// The unit holds something.
    #[error("unit {name:?} holds {users} users and {units} units: move them first")]
    NotEmpty {
        /// The unit.
        name: String,
        /// Users in it.
        users: usize,
        /// Units right below it.
        units: usize,
    },
    /// A device belongs to one user at a time.
    #[error("{0}; end the one before the other begins")]
    Overlap(Box<Clash>),
    /// A user has one primary extension and one primary agent at a time.
    #[error("{0}; make one of them secondary")]
    TwoPrimary(Box<Clash>),
    /// The time ends before it begins.
    #[error("user {user}, {device}: it would end before it begins ({tenure})")]
    Backwards {
        /// The user.
        user: String,
        /// The device.
        device: Device,
        /// When.
        tenure: Tenure,
    },
    /// Nobody has the device then.
    #[error("{device} belongs to nobody at that time")]
    NotHeld {
        /// The device.
        device: Device,
    },
    /// There are too many.
    #[error("there are more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
}

/// What was to be, and what it meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// Who was to get ..
    pub user: String,
    /// .. this ..
    pub device: Device,
    /// .. and when.
    pub wanted: Tenure,
    /// Who has ..
    pub holder: String,
    /// .. the same device, or another primary one ..
    pub has: Device,
    /// .. and when.
    pub held: Tenure,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Clash { user, device, wanted, holder, has, held } = self;
        if device == has {
            write!(f, "{has} belongs to {holder} {held}, so {user} cannot have it {wanted}")
        } else {
            write!(f, "{has} is the primary one of {holder} {held}, so {device} cannot be that {wanted}")
        }
    }
}

/// Refuses a name that is empty, blank at an end, longer than [`NAME_MAX`] characters, or not printable.
///
/// # Errors
/// [`PeopleError::Unfit`].
pub fn check_name(what: &'static str, name: &str) -> Result<(), PeopleError> {
    let problem = if name.trim().is_empty() {
        "is empty"
    } else if name.trim() != name {
        "begins or ends with a space"
    } else if name.chars().count() > NAME_MAX {
        "is longer than 100 characters"
    } else if name.chars().any(char::is_control) {
        "holds a character that cannot be printed"
    } else {
        return Ok(());
    };
    Err(PeopleError::Unfit { what, name: name.chars().take(NAME_MAX).collect(), problem })
}
