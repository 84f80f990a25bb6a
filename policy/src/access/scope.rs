//! Access scopes (requirement rows SCP): whose segments somebody sees, relative to where the person stands now.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whose segments are seen. Each is relative to the person: who moves to another unit sees that unit's from then on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Nobody's.
    #[default]
    None,
    /// The person's own segments.
    Own,
    /// Those of the person's unit; units below it not.
    Unit,
    /// Those of the person's unit and of all units below it.
    UnitAndBelow,
    /// Those of the person's site.
    Site,
    /// All.
    Organization,
}

impl Scope {
    /// All of them, the narrowest first.
    pub const ALL: [Scope; 6] =
        [Scope::None, Scope::Own, Scope::Unit, Scope::UnitAndBelow, Scope::Site, Scope::Organization];

    /// As files and commands write it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Scope::None => "none",
            Scope::Own => "own",
            Scope::Unit => "unit",
            Scope::UnitAndBelow => "unit-and-below",
            Scope::Site => "site",
            Scope::Organization => "organization",
        }
    }

    /// As people see it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Scope::None => "None",
            Scope::Own => "Own calls",
            Scope::Unit => "Business unit",
            Scope::UnitAndBelow => "Business unit and all below it",
            Scope::Site => "Site",
            Scope::Organization => "Organization",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// There is no such scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no scope {name:?}; there are {}", Scope::ALL.map(Scope::key).join(", "))]
pub struct NoScope {
    /// As it was written.
    pub name: String,
}

impl FromStr for Scope {
    type Err = NoScope;

    fn from_str(name: &str) -> Result<Self, NoScope> {
        let found = Scope::ALL.into_iter().find(|scope| scope.key() == name);
        found.ok_or_else(|| NoScope { name: name.to_owned() })
    }
}
