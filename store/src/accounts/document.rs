//! What `accounts.json` holds: accounts, roles, profiles, access filters, tokens, webhooks, the password policy.
//!
//! A document of a version, read and written whole. What it may hold is bounded, and checked when it is read.

use std::collections::BTreeMap;

use decode::Timestamp;
use policy::access::{
    ADMIN, AccessFilter, Permission, Permissions, Profile, Role, Scope, Standing, built_in_profiles,
    is_built_in,
};
use policy::{Caller, People};
use serde::{Deserialize, Serialize};

use super::password::{Hash, PasswordPolicy};
use super::token::{ApiToken, TOKENS_MAX};
use super::totp::TotpSecret;
use super::webhook::{WEBHOOKS_MAX, Webhook};
use crate::Event;

/// The version of the document that this program writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 1;
/// Accounts.
pub const ACCOUNTS_MAX: usize = 5_000;
/// Roles.
pub const ROLES_MAX: usize = 200;
/// Profiles, the built-in ones left out.
pub const PROFILES_MAX: usize = 200;
/// Access filters.
pub const FILTERS_MAX: usize = 500;
/// Filters of one role.
pub const ROLE_FILTERS_MAX: usize = 20;

/// Somebody who can sign in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// The user name, as it was written; capitals do not tell names apart.
    pub name: String,
    /// How the person is called; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Where mail goes; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// The id in [`People`] of the person whose account it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// The business unit, where it is no person's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The role, by name; without one nobody signs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Nobody signs in with it, and whoever is signed in is cut off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// The password must be changed before anything else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub must_change: bool,
    /// When it was added.
    pub added: Timestamp,
    /// When the password was set; never without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_set: Option<Timestamp>,
    /// Sessions that began before this are over: the password was changed, or a second factor.
    pub sessions_since: Timestamp,
    /// Failed tries in a row.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u32,
    /// Locked until then, by failed tries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<Timestamp>,
    /// Locked by somebody, so that no time unlocks it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub locked_by_hand: bool,
    /// When somebody last signed in with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sign_in: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hash: Option<Hash>,
    /// Those before, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) old_hashes: Vec<Hash>,
    /// The second factor in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) totp: Option<TotpSecret>,
    /// One that was begun, and that no code has confirmed yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) totp_pending: Option<TotpSecret>,
    /// The step of the last code that counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) totp_last: Option<i64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes what it would write")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Account {
    pub(super) fn new(name: &str, at: Timestamp) -> Account {
        Account {
            name: name.to_owned(),
            display_name: String::new(),
            email: String::new(),
            person: None,
            unit: None,
            role: None,
            disabled: false,
            must_change: false,
            added: at,
            password_set: None,
            sessions_since: at,
            failed: 0,
            locked_until: None,
            locked_by_hand: false,
            last_sign_in: None,
            hash: None,
            old_hashes: Vec::new(),
            totp: None,
            totp_pending: None,
            totp_last: None,
        }
    }

    /// Is there a second factor in force?
    #[must_use]
    pub fn has_totp(&self) -> bool {
        self.totp.is_some()
    }

    /// Is there a password?
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.hash.is_some()
    }

    /// Does nobody get in with it at this moment, because of failed tries or by hand?
    #[must_use]
    pub fn is_locked(&self, at: Timestamp) -> bool {
        self.locked_by_hand || self.locked_until.is_some_and(|until| at < until)
    }

    /// What people may see of it, for the ledger: no hash, no secret.
    pub(super) fn shown(&self) -> BTreeMap<String, String> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let yes = |yes: bool| if yes { "yes".to_owned() } else { String::new() };
        let all = [
            ("name", self.name.clone()),
            ("display_name", self.display_name.clone()),
            ("email", self.email.clone()),
            ("person", text(&self.person)),
            ("unit", text(&self.unit)),
            ("role", text(&self.role)),
            ("disabled", yes(self.disabled)),
            ("must_change", yes(self.must_change)),
            ("locked_until", self.locked_until.map(|until| until.to_string()).unwrap_or_default()),
            ("locked_by_hand", yes(self.locked_by_hand)),
            ("password_set", self.password_set.map(|at| at.to_string()).unwrap_or_default()),
            ("second_factor", yes(self.has_totp())),
        ];
        all.into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }
}

/// All of it at one moment; never changed in place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accounts {
    pub(super) format: u32,
    #[serde(default)]
    pub(super) policy: PasswordPolicy,
    /// By user name in lower case.
    #[serde(default)]
    pub(super) accounts: BTreeMap<String, Account>,
    #[serde(default)]
    pub(super) roles: Vec<Role>,
    /// Those that are not built in.
    #[serde(default)]
    pub(super) profiles: Vec<Profile>,
    #[serde(default)]
    pub(super) filters: Vec<AccessFilter>,
    /// What programs show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tokens: Vec<ApiToken>,
    /// Programs that are told what happens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) webhooks: Vec<Webhook>,
    /// A change that the ledger may not have yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) untold: Option<Box<Event>>,
}

impl Default for Accounts {
    fn default() -> Self {
        let role = |name: &str, description: &str, profile: &str, scope| Role {
            name: name.into(),
            description: description.into(),
            profile: profile.into(),
            scope,
            filters: Vec::new(),
        };
        Accounts {
            format: FORMAT,
            policy: PasswordPolicy::default(),
            accounts: BTreeMap::new(),
            roles: vec![
                role("Administrator", "Administers, and hears nothing.", ADMIN, Scope::Organization),
                role(
                    "Supervisor",
                    "Hears and manages the calls of a unit.",
                    "Supervisor",
                    Scope::UnitAndBelow,
                ),
                role("User", "Hears the own calls.", "User", Scope::Own),
            ],
            profiles: Vec::new(),
            filters: Vec::new(),
            tokens: Vec::new(),
            webhooks: Vec::new(),
            untold: None,
        }
    }
}

/// Names are told apart without regard to capitals.
pub(super) fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

impl Accounts {
    /// The account of this user name, capitals or not.
    #[must_use]
    pub fn account(&self, name: &str) -> Option<&Account> {
        self.accounts.get(&name.to_lowercase())
    }

    /// All accounts, by user name.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values()
    }

    /// Roles, in the order in which they were made.
    #[must_use]
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// The role of this name.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| same(&role.name, name))
    }

    /// All profiles, the built-in ones first.
    #[must_use]
    pub fn profiles(&self) -> Vec<Profile> {
        let mut all = built_in_profiles();
        all.extend(self.profiles.iter().cloned());
        all
    }

    /// The profile of this name, built in or not.
    #[must_use]
    pub fn profile(&self, name: &str) -> Option<Profile> {
        if is_built_in(name) {
            return built_in_profiles().into_iter().find(|profile| same(&profile.name, name));
        }
        self.profiles.iter().find(|profile| same(&profile.name, name)).cloned()
    }

    /// Access filters, in the order in which they were made.
    #[must_use]
    pub fn filters(&self) -> &[AccessFilter] {
        &self.filters
    }

    /// The filter of this name.
    #[must_use]
    pub fn filter(&self, name: &str) -> Option<&AccessFilter> {
        self.filters.iter().find(|filter| same(filter.name(), name))
    }

    /// Tokens of programs, in the order in which they were made.
    #[must_use]
    pub fn tokens(&self) -> &[ApiToken] {
        &self.tokens
    }

    /// The token of this name.
    #[must_use]
    pub fn token(&self, name: &str) -> Option<&ApiToken> {
        self.tokens.iter().find(|token| same(&token.name, name))
    }

    /// Webhooks, in the order in which they were made.
    #[must_use]
    pub fn webhooks(&self) -> &[Webhook] {
        &self.webhooks
    }

    /// The webhook of this name.
    #[must_use]
    pub fn webhook(&self, name: &str) -> Option<&Webhook> {
        self.webhooks.iter().find(|webhook| same(&webhook.name, name))
    }

    /// What passwords must be.
    #[must_use]
    pub fn password_policy(&self) -> PasswordPolicy {
        self.policy
    }

    /// What the account's role lets it do; nothing without a role.
    #[must_use]
    pub fn permissions_of(&self, account: &Account) -> Permissions {
        let role = account.role.as_deref().and_then(|role| self.role(role));
        let profile = role.and_then(|role| self.profile(&role.profile));
        profile.map_or(Permissions::NONE, |profile| profile.permissions)
    }

    /// Can somebody administer accounts with it: sign in, and change roles?
    pub(super) fn administers(&self, account: &Account) -> bool {
        let permissions = self.permissions_of(account);
        let may = permissions.has(Permission::Security) && permissions.has(Permission::WebAccess);
        may && account.has_password() && !account.disabled && !account.locked_by_hand
    }

    /// Has the password to be changed, because somebody said so or because it is too old?
    #[must_use]
    pub fn must_change(&self, account: &Account, at: Timestamp) -> bool {
        const DAY_MS: i64 = 86_400_000;
        let is_old = |days: u32| {
            account.password_set.is_none_or(|set| at >= set.plus_millis(i64::from(days) * DAY_MS))
        };
        account.must_change || self.policy.expires_days.is_some_and(is_old)
    }

    /// What somebody may do and see at this moment. None for an account that is not there, disabled, locked by hand, without a role, or
    /// of a person who was deleted, or of whom nothing is known where people are listed; and where its role's filters are not all
    /// there, for then it is not known what is denied.
    #[must_use]
    pub fn caller(&self, name: &str, people: &People, site: Option<&str>, at: Timestamp) -> Option<Caller> {
        let account = self.account(name).filter(|account| !account.disabled && !account.locked_by_hand)?;
        let role = self.role(account.role.as_deref()?)?;
        let profile = self.profile(&role.profile)?;
        let filters: Option<Vec<_>> = role.filters.iter().map(|name| self.filter(name).cloned()).collect();
        let user = account.person.as_deref().and_then(|id| people.user(id));
        let is_gone = match user {
            Some(user) => user.deleted.is_some_and(|deleted| deleted <= at),
            // Whoever was removed for good does not come back by it, and nobody stands for whoever has the id next.
            None => account.person.is_some() && people.users().next().is_some(),
        };
        if is_gone {
            return None;
        }
        let unit = user.map(|user| people.unit_of(user, at)).or(account.unit.as_deref());
        let standing = Standing {
            person: account.person.clone(),
            unit: unit.map(str::to_owned),
            site: site.map(str::to_owned),
            hidden: people.hidden(),
        };
        Some(Caller::new(&account.name, profile.permissions, role.scope, filters?, standing))
    }

    /// Why it cannot be what this program wrote; none when it can.
    pub(super) fn objection(&self) -> Option<String> {
        let too_many = [
            (self.accounts.len() > ACCOUNTS_MAX, "accounts"),
            (self.roles.len() > ROLES_MAX, "roles"),
            (self.profiles.len() > PROFILES_MAX, "profiles"),
            (self.filters.len() > FILTERS_MAX, "access filters"),
            (self.tokens.len() > TOKENS_MAX, "tokens"),
            (self.webhooks.len() > WEBHOOKS_MAX, "webhooks"),
            (self.roles.iter().any(|role| role.filters.len() > ROLE_FILTERS_MAX), "filters of a role"),
        ];
        if let Some((_, what)) = too_many.into_iter().find(|(is_so, _)| *is_so) {
            return Some(format!("it has too many {what}"));
        }
        let misnamed = self.accounts.iter().find(|(key, account)| **key != account.name.to_lowercase());
        misnamed.map(|(key, _)| format!("the account {key:?} has another name inside"))
    }
}
