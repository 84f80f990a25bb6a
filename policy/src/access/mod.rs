//! Who may see, hear and do what (requirement rows ROL, SCP, ACF).
//!
//! An account has one role; a role is a profile, which is a set of permissions, a scope, and filters. All that is asked of it is
//! asked of a [`Caller`]: one person with all of that at this moment. Each segment is judged by itself, by this order:
//!
//! 1. a filter that **denies** it wins over everything;
//! 2. else a filter that **grants** it admits it;
//! 3. else the **scope** decides; it shows nobody a hidden user's segments but that user.
//!
//! Not here: who somebody is (accounts and passwords are `store`'s), and where somebody stands (see [`crate::people`]).

mod caller;
mod filter;
#[cfg(test)]
mod model;
mod permission;
mod profile;
mod right;
mod scope;

pub use crate::field::Segment;
pub use caller::{Caller, Refusal, Standing};
pub use filter::{AccessFilter, AccessFilterError, CONDITIONS_MAX, FilterMode, Lengths};
pub use permission::{Group, NoPermission, Permission, Permissions};
pub use profile::{ADMIN, Profile, Role, built_in_profiles, is_built_in};
pub use right::{NoRight, Right};
pub use scope::{NoScope, Scope};
