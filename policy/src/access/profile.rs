//! Security profiles and roles (requirement rows ROL): names for what somebody may do, and for what somebody sees.

use serde::{Deserialize, Serialize};

use super::permission::{BUILT_IN, Permission};
use super::{Permissions, Scope};

/// The profile that administers. Like all built-in ones it cannot be edited.
pub const ADMIN: &str = "Admin";

/// A security profile: a set of permissions with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Its name, which no other has.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it lets people do.
    #[serde(default)]
    pub permissions: Permissions,
}

/// What an account is given: one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its name, which no other has.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The profile, by name.
    pub profile: String,
    /// Whose segments are seen.
    #[serde(default)]
    pub scope: Scope,
    /// Filters, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
}

/// What the built-in profiles are for, in their order.
const DESCRIPTIONS: [&str; BUILT_IN.len()] = [
    "Administers the recorder and hears nothing.",
    "Finds, hears and manages the calls of others.",
    "Finds and hears calls.",
    "Has no access to the pages.",
    "Has no access to the pages; a client may play recordings.",
    "Finds and hears calls, and changes nothing of them.",
    "Runs reports and hears nothing.",
];

/// The seven profiles that are always there, with the manuals' defaults.
#[must_use]
pub fn built_in_profiles() -> Vec<Profile> {
    let profile = |(place, (name, description)): (usize, (&str, &str))| Profile {
        name: name.to_owned(),
        description: description.to_owned(),
        permissions: Permission::of_built_in(place),
    };
    BUILT_IN.into_iter().zip(DESCRIPTIONS).enumerate().map(profile).collect()
}

/// Is it the name of a built-in profile, capitals or not?
#[must_use]
pub fn is_built_in(name: &str) -> bool {
    BUILT_IN.iter().any(|own| own.eq_ignore_ascii_case(name))
}
