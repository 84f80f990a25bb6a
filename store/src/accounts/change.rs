//! Changes of accounts, roles, profiles, filters, tokens, webhooks and the password policy: what can be asked for, and what is refused.
//!
//! A change is worked out on a copy; nothing of a refused one stays.

use std::collections::BTreeMap;

use decode::Timestamp;
use policy::access::{AccessFilter, Profile, Role, is_built_in};
use policy::people::check_name;

use super::document::{
    ACCOUNTS_MAX, Account, Accounts, FILTERS_MAX, PROFILES_MAX, ROLE_FILTERS_MAX, ROLES_MAX, same,
};
use super::password::{Hash, Password, PasswordPolicy, REUSE_MAX};
use super::token::{self, NewToken};
use super::totp::TotpSecret;
use super::webhook::{self, NewWebhook};

/// The longest user name, in characters.
pub const USER_NAME_MAX: usize = 64;
/// Minutes of a lock-out, tries, days of expiry: a hundred years of anything is a mistake.
const MINUTES_MAX: u32 = 7 * 24 * 60;
const TRIES_MAX: u32 = 100;
const DAYS_MAX: u32 = 3_650;

/// What of an account is to be another; what is none stays. An empty text takes the person, unit or role away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountEdit {
    /// How the person is called.
    pub display_name: Option<String>,
    /// Where mail goes.
    pub email: Option<String>,
    /// The person's id.
    pub person: Option<String>,
    /// The business unit, where it is no person's.
    pub unit: Option<String>,
    /// The role, by name.
    pub role: Option<String>,
}

/// A change that is asked for.
#[derive(Clone, Debug)]
pub enum AccountChange {
    /// A new account. Without a password nobody signs in with it yet.
    Add {
        /// The user name.
        name: String,
        /// All else.
        edit: AccountEdit,
        /// The first password.
        password: Option<Password>,
        /// It must be changed at the first sign-in.
        must_change: bool,
    },
    /// Another name, role and so on.
    Edit {
        /// The user name.
        name: String,
        /// What is to be another.
        edit: AccountEdit,
    },
    /// Nobody gets in any more, at once; or again.
    Disable {
        /// The user name.
        name: String,
        /// Or enabled.
        disabled: bool,
    },
    /// Locks it until somebody unlocks it, or unlocks it and forgets failed tries.
    Lock {
        /// The user name.
        name: String,
        /// Or unlocked.
        locked: bool,
    },
    /// Removes it with its tokens and webhooks; recordings and the audit trail keep its name.
    Remove {
        /// The user name.
        name: String,
    },
    /// A new password. Ends all its sessions, and a lock that failed tries made.
    SetPassword {
        /// The user name.
        name: String,
        /// The password.
        password: Password,
        /// It must be changed at the next sign-in.
        must_change: bool,
    },
    /// Everybody must change the password at the next sign-in.
    MustChangeAll,
    /// Begins a second factor, which counts once a code of it has come.
    BeginTotp {
        /// The user name.
        name: String,
        /// The secret, to be shown once.
        secret: TotpSecret,
    },
    /// Puts the second factor that was begun in force.
    ConfirmTotp {
        /// The user name.
        name: String,
        /// A code of it.
        code: String,
    },
    /// Takes the second factor off, one that was begun, too.
    RemoveTotp {
        /// The user name.
        name: String,
    },
    /// A role of a new name, or other contents for one that is there.
    PutRole(Role),
    /// The same, with the filters that a role of this name has at that moment; none for a new one.
    PutRoleWithItsFilters(Role),
    /// Removes a role that nobody has.
    RemoveRole {
        /// Its name.
        name: String,
    },
    /// A profile of a new name, or other contents for one that is there.
    PutProfile(Profile),
    /// Removes a profile that no role has.
    RemoveProfile {
        /// Its name.
        name: String,
    },
    /// A filter of a new name, or other contents for one that is there.
    PutFilter(AccessFilter),
    /// Removes a filter that no role has.
    RemoveFilter {
        /// Its name.
        name: String,
    },
    /// A token of a new name.
    AddToken(NewToken),
    /// Takes a token away: it counts no more.
    RemoveToken {
        /// Its name.
        name: String,
    },
    /// A webhook of a new name.
    AddWebhook(NewWebhook),
    /// Takes a webhook away: it is told nothing more.
    RemoveWebhook {
        /// Its name.
        name: String,
    },
    /// What passwords must be from now on.
    SetPolicy(PasswordPolicy),
}

/// Why a change is not made.
pub(super) type Refused = String;

/// What has changed, for the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Changed {
    /// What was done, in words.
    pub(super) what: &'static str,
    /// To which account, role, profile, filter, token or webhook; empty for the policy.
    pub(super) name: String,
    /// What of it is another now, as it was.
    pub(super) before: BTreeMap<String, String>,
    /// The same as it is.
    pub(super) after: BTreeMap<String, String>,
}

pub(super) type Shown = BTreeMap<String, String>;

/// What differs alone.
pub(super) fn changed(what: &'static str, name: &str, mut before: Shown, mut after: Shown) -> Changed {
    let alike: Vec<String> = before
        .iter()
        .filter(|(key, value)| after.get(*key) == Some(value))
        .map(|(key, _)| key.clone())
        .collect();
    for key in alike {
        before.remove(&key);
        after.remove(&key);
    }
    Changed { what, name: name.to_owned(), before, after }
}

/// A document as a map of texts.
fn shown(of: &impl serde::Serialize) -> Shown {
    let json = serde_json::to_value(of).unwrap_or_default();
    let fields = json.as_object().cloned().unwrap_or_default();
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    fields.into_iter().map(|(key, value)| (key, text(value))).collect()
}

impl AccountChange {
    /// The user name and the password that it sets, if it sets one.
    pub(super) fn password(&self) -> Option<(&str, &Password)> {
        match self {
            AccountChange::Add { name, password, .. } => Some((name, password.as_ref()?)),
            AccountChange::SetPassword { name, password, .. } => Some((name, password)),
            _ => None,
        }
    }

    /// Makes the change, for `who`. `hash` is of the password that it sets.
    pub(super) fn apply(
        self,
        to: &mut Accounts,
        hash: Option<Hash>,
        who: &str,
        at: Timestamp,
    ) -> Result<Changed, Refused> {
        let before = to.clone();
        let done = self.make(to, hash, who, at)?;
        let administers =
            |accounts: &Accounts| accounts.accounts().any(|account| accounts.administers(account));
        if administers(&before) && !administers(to) {
            return Err("nobody could administer accounts any more; give another account a role with the \
                        permissions \"Security\" and \"Allow web access\" first"
                .into());
        }
        Ok(done)
    }

    fn make(
        self,
        to: &mut Accounts,
        hash: Option<Hash>,
        who: &str,
        at: Timestamp,
    ) -> Result<Changed, Refused> {
        match self {
            AccountChange::Add { name, edit, must_change, .. } => {
                check_user_name(&name)?;
                if to.account(&name).is_some() {
                    return Err(format!("the user name {name:?} is taken; take another one"));
                }
                if to.accounts.len() >= ACCOUNTS_MAX {
                    return Err(format!("there are {ACCOUNTS_MAX} accounts; remove some first"));
                }
                let mut account = Account::new(&name, at);
                take_edit(to, &mut account, edit)?;
                account.must_change = must_change;
                account.password_set = hash.as_ref().map(|_| at);
                account.hash = hash;
                let after = account.shown();
                to.accounts.insert(name.to_lowercase(), account);
                Ok(changed("account added", &name, Shown::new(), after))
            }
            AccountChange::Remove { name } => {
                let gone = to.accounts.remove(&name.to_lowercase()).ok_or_else(|| no_account(&name))?;
                let mut before = gone.shown();
                // Somebody else may be given the name: programs of the one who had it are not theirs.
                let tokens = token::remove_of(to, &gone.name);
                let webhooks = webhook::remove_of(to, &gone.name);
                for (what, names) in [("tokens", tokens), ("webhooks", webhooks)] {
                    if !names.is_empty() {
                        before.insert(what.to_owned(), names.join(", "));
                    }
                }
                Ok(changed("account removed", &gone.name, before, Shown::new()))
            }
            AccountChange::MustChangeAll => {
                to.accounts.values_mut().for_each(|account| account.must_change = true);
                Ok(changed("all passwords must be changed", "", Shown::new(), Shown::new()))
            }
            AccountChange::PutRole(role) => put_role(to, role),
            AccountChange::PutRoleWithItsFilters(role) => {
                let filters = to.role(&role.name).map_or(Vec::new(), |role| role.filters.clone());
                put_role(to, Role { filters, ..role })
            }
            AccountChange::RemoveRole { name } => {
                if let Some(account) = to
                    .accounts()
                    .find(|account| account.role.as_deref().is_some_and(|role| same(role, &name)))
                {
                    let holder = &account.name;
                    return Err(format!(
                        "the account {holder:?} has the role {name:?}; give it another one first"
                    ));
                }
                let place = to.roles.iter().position(|role| same(&role.name, &name));
                let gone = to.roles.remove(place.ok_or_else(|| format!("there is no role {name:?}"))?);
                Ok(changed("role removed", &gone.name, shown(&gone), Shown::new()))
            }
            AccountChange::PutProfile(profile) => put_profile(to, profile),
            AccountChange::RemoveProfile { name } => {
                if let Some(role) = to.roles.iter().find(|role| same(&role.profile, &name)) {
                    return Err(format!(
                        "the role {:?} has the profile {name:?}; give it another one first",
                        role.name
                    ));
                }
                if is_built_in(&name) {
                    return Err(format!("the profile {name:?} is built in and stays"));
                }
                let place = to.profiles.iter().position(|profile| same(&profile.name, &name));
                let gone = to.profiles.remove(place.ok_or_else(|| format!("there is no profile {name:?}"))?);
                Ok(changed("profile removed", &gone.name, shown(&gone), Shown::new()))
            }
            AccountChange::PutFilter(filter) => {
                let name = filter.name().to_owned();
                let place = to.filters.iter().position(|other| same(other.name(), &name));
                let before = place.and_then(|place| to.filters.get(place)).map(shown).unwrap_or_default();
                let after = shown(&filter);
                let count = to.filters.len();
                match place.and_then(|place| to.filters.get_mut(place)) {
                    Some(there) => *there = filter,
                    None if count >= FILTERS_MAX => {
                        return Err(format!("there are {FILTERS_MAX} access filters; remove some first"));
                    }
                    None => to.filters.push(filter),
                }
                Ok(changed("access filter changed", &name, before, after))
            }
            AccountChange::RemoveFilter { name } => {
                let has = |role: &&Role| role.filters.iter().any(|filter| same(filter, &name));
                if let Some(role) = to.roles.iter().find(has) {
                    return Err(format!(
                        "the role {:?} has the access filter {name:?}; take it off first",
                        role.name
                    ));
                }
                let place = to.filters.iter().position(|filter| same(filter.name(), &name));
                let gone =
                    to.filters.remove(place.ok_or_else(|| format!("there is no access filter {name:?}"))?);
                Ok(changed("access filter removed", &name, shown(&gone), Shown::new()))
            }
            AccountChange::AddToken(new) => new.add(to, who, at),
            AccountChange::RemoveToken { name } => token::remove(to, &name),
            AccountChange::AddWebhook(new) => new.add(to, who, at),
            AccountChange::RemoveWebhook { name } => webhook::remove(to, &name),
            AccountChange::SetPolicy(policy) => {
                if policy.reuse > REUSE_MAX
                    || policy.tries > TRIES_MAX
                    || policy.locked_minutes > MINUTES_MAX
                    || policy.expires_days.is_some_and(|days| days == 0 || days > DAYS_MAX)
                    || (policy.tries > 0 && policy.locked_minutes == 0)
                {
                    return Err(format!(
                        "a password policy has at most {REUSE_MAX} passwords to compare, {TRIES_MAX} tries, {MINUTES_MAX} minutes \
                         and {DAYS_MAX} days, and a lock-out of a minute at least"
                    ));
                }
                let done = changed("password policy changed", "", shown(&to.policy), shown(&policy));
                to.policy = policy;
                Ok(done)
            }
            AccountChange::Edit { ref name, .. }
            | AccountChange::Disable { ref name, .. }
            | AccountChange::Lock { ref name, .. }
            | AccountChange::SetPassword { ref name, .. }
            | AccountChange::BeginTotp { ref name, .. }
            | AccountChange::ConfirmTotp { ref name, .. }
            | AccountChange::RemoveTotp { ref name } => {
                let mut account = to.account(name).ok_or_else(|| no_account(name))?.clone();
                let before = account.shown();
                let what = self.make_of_account(to, &mut account, hash, at)?;
                let done = changed(what, &account.name, before, account.shown());
                to.accounts.insert(account.name.to_lowercase(), account);
                Ok(done)
            }
        }
    }

    /// A change of one account that is there.
    fn make_of_account(
        self,
        of: &Accounts,
        account: &mut Account,
        hash: Option<Hash>,
        at: Timestamp,
    ) -> Result<&'static str, Refused> {
        Ok(match self {
            AccountChange::Edit { edit, .. } => {
                take_edit(of, account, edit)?;
                "account changed"
            }
            AccountChange::Disable { disabled, .. } => {
                account.disabled = disabled;
                // One that is enabled again begins anew: what was signed in then stays out.
                account.sessions_since = at;
                if disabled { "account disabled" } else { "account enabled" }
            }
            AccountChange::Lock { locked: true, .. } => {
                account.locked_by_hand = true;
                "account locked"
            }
            AccountChange::Lock { locked: false, .. } => {
                (account.failed, account.locked_until, account.locked_by_hand) = (0, None, false);
                "account unlocked"
            }
            AccountChange::SetPassword { must_change, .. } => {
                let keep = (of.policy.reuse.saturating_sub(1)) as usize;
                account.old_hashes.splice(0..0, account.hash.take());
                account.old_hashes.truncate(keep);
                (account.hash, account.password_set) = (hash, Some(at));
                (account.must_change, account.sessions_since) = (must_change, at);
                (account.failed, account.locked_until) = (0, None);
                "password set"
            }
            AccountChange::BeginTotp { secret, .. } => {
                account.totp_pending = Some(secret);
                "second factor begun"
            }
            AccountChange::ConfirmTotp { code, .. } => {
                let pending = account.totp_pending.take().ok_or_else(|| {
                    format!("no second factor of {:?} was begun; begin one first", account.name)
                })?;
                let step = pending.step_of_code(&code, at, None).ok_or(
                    "the code is none of this second factor now; look whether the clocks of both sides are right",
                )?;
                (account.totp, account.totp_last) = (Some(pending), Some(step));
                account.sessions_since = at;
                "second factor put in force"
            }
            AccountChange::RemoveTotp { .. } => {
                (account.totp, account.totp_pending, account.totp_last) = (None, None, None);
                "second factor removed"
            }
            _ => return Err("that is no change of an account".into()),
        })
    }
}

fn no_account(name: &str) -> Refused {
    format!("there is no account {:?}; `earwitness user list` lists them", shortened(name))
}

/// A name as messages repeat it.
fn shortened(name: &str) -> String {
    name.chars().take(USER_NAME_MAX).collect()
}

/// User names: letters and digits of any script, and `? / < > - + * # = . , _ @`, with spaces inside; 1 to 64 characters.
fn check_user_name(name: &str) -> Result<(), Refused> {
    let fits = |c: char| c.is_alphanumeric() || "?/<>-+*#=.,_@ ".contains(c);
    let length = name.chars().count();
    if !(1..=USER_NAME_MAX).contains(&length) || name.trim() != name || !name.chars().all(fits) {
        return Err(format!(
            "{:?} is no user name; take 1 to {USER_NAME_MAX} letters and digits, also ? / < > - + * # = . , _ @ and spaces inside",
            shortened(name)
        ));
    }
    // Lines of the trail have these for others, and a page's address would mean something else.
    if RESERVED.contains(&name.to_lowercase().as_str()) {
        return Err(format!("the user name {name:?} stands for something else; take another one"));
    }
    Ok(())
}

/// Names that nobody can have.
const RESERVED: [&str; 6] = ["console", "earwitness", "?", "new", ".", ".."];

/// An empty text is none.
fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn take_edit(of: &Accounts, account: &mut Account, edit: AccountEdit) -> Result<(), Refused> {
    let AccountEdit { display_name, email, person, unit, role } = edit;
    for (what, text) in
        [("display name", &display_name), ("e-mail address", &email), ("person", &person), ("unit", &unit)]
    {
        if let Some(text) = text.as_ref().filter(|text| !text.is_empty()) {
            check_name(what, text).map_err(|error| error.to_string())?;
        }
    }
    if let Some(email) = email.as_ref().filter(|email| !email.is_empty() && !email.contains('@')) {
        return Err(format!("{email:?} is no e-mail address"));
    }
    if let Some(name) = role.as_ref().filter(|name| !name.is_empty()) {
        let role = of.role(name).ok_or_else(|| {
            let names: Vec<&str> = of.roles.iter().map(|role| role.name.as_str()).collect();
            format!("there is no role {name:?}; there are {}", names.join(", "))
        })?;
        account.role = Some(role.name.clone());
    } else if role.is_some() {
        account.role = None;
    }
    if let Some(text) = display_name {
        account.display_name = text;
    }
    if let Some(text) = email {
        account.email = text;
    }
    if let Some(text) = person {
        account.person = some(text);
    }
    if let Some(text) = unit {
        account.unit = some(text);
    }
    Ok(())
}

fn put_role(to: &mut Accounts, mut role: Role) -> Result<Changed, Refused> {
    check_name("role", &role.name).map_err(|error| error.to_string())?;
    check_description(&role.description)?;
    let profile = to.profile(&role.profile).ok_or_else(|| {
        let names: Vec<String> = to.profiles().into_iter().map(|profile| profile.name).collect();
        format!("there is no profile {:?}; there are {}", role.profile, names.join(", "))
    })?;
    role.profile = profile.name;
    if role.filters.len() > ROLE_FILTERS_MAX {
        return Err(format!("a role has {ROLE_FILTERS_MAX} access filters at most"));
    }
    for name in &mut role.filters {
        let filter =
            to.filter(name).ok_or_else(|| format!("there is no access filter {name:?}; add it first"))?;
        *name = filter.name().to_owned();
    }
    let place = to.roles.iter().position(|other| same(&other.name, &role.name));
    let before = place.and_then(|place| to.roles.get(place)).map(shown).unwrap_or_default();
    let count = to.roles.len();
    match place.and_then(|place| to.roles.get_mut(place)) {
        // Accounts and the trail name it as it was made.
        Some(there) => {
            role.name.clone_from(&there.name);
            *there = role.clone();
        }
        None if count >= ROLES_MAX => {
            return Err(format!("there are {ROLES_MAX} roles; remove some first"));
        }
        None => to.roles.push(role.clone()),
    }
    Ok(changed("role changed", &role.name, before, shown(&role)))
}

fn put_profile(to: &mut Accounts, mut profile: Profile) -> Result<Changed, Refused> {
    check_name("profile", &profile.name).map_err(|error| error.to_string())?;
    check_description(&profile.description)?;
    if is_built_in(&profile.name) {
        return Err(format!(
            "the profile {:?} is built in and stays as it is; make one of another name",
            profile.name
        ));
    }
    let place = to.profiles.iter().position(|other| same(&other.name, &profile.name));
    let before = place.and_then(|place| to.profiles.get(place)).map(shown).unwrap_or_default();
    let count = to.profiles.len();
    match place.and_then(|place| to.profiles.get_mut(place)) {
        Some(there) => {
            profile.name.clone_from(&there.name);
            *there = profile.clone();
        }
        None if count >= PROFILES_MAX => {
            return Err(format!("there are {PROFILES_MAX} profiles; remove some first"));
        }
        None => to.profiles.push(profile.clone()),
    }
    Ok(changed("profile changed", &profile.name, before, shown(&profile)))
}

fn check_description(text: &str) -> Result<(), Refused> {
    if text.is_empty() { Ok(()) } else { check_name("description", text).map_err(|error| error.to_string()) }
}
