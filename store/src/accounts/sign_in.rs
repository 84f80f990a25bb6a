//! Signing in: one answer for everything that is wrong, the same work for names that are not there, and a count of tries.

use std::net::IpAddr;

use decode::Timestamp;
use policy::access::Permission;

use super::document::{Account, Accounts};
use super::password::{Hash, Password};
use crate::Archive;
use crate::disk::locked;
use crate::event::{Event, RefusedTry, What};
use crate::scribe::Command;

/// Lines of refused tries that the ledger gets in one minute; the next line says how many more there were.
const REFUSALS_TOLD: u32 = 30;
const MINUTE_MS: i64 = 60_000;

/// Somebody has signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// The user name, as it was written when the account was made.
    pub account: String,
    /// The password must be changed before anything else.
    pub must_change: bool,
    /// A second factor must be set up before anything else: the policy wants one, and the account has none.
    pub must_enroll: bool,
}

/// Somebody has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInRefused {
    /// Name, password or code is wrong, or the account is locked, disabled or without access: one answer for all of these.
    #[error(
        "that did not let you in: check name, password and code; after too many tries an account stays locked for a while, then ask whoever administers accounts"
    )]
    Wrong,
    /// The password is right, and a code of the second factor is needed beside it. Not a failed try.
    #[error("enter the code that your app shows now")]
    CodeNeeded,
    /// Too many are being checked.
    #[error("too many are signing in; try again in a minute")]
    Busy,
}

/// How many refused tries were told in this minute.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    since: Option<Timestamp>,
    told: u32,
    untold: u64,
}

impl Refusals {
    /// May one more be told now? If so, with so many that were not.
    fn take(&mut self, at: Timestamp) -> Option<u64> {
        let is_new = self.since.is_none_or(|since| at < since || at >= since.plus_millis(MINUTE_MS));
        if is_new {
            (self.since, self.told) = (Some(at), 0);
        }
        if self.told >= REFUSALS_TOLD {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

/// What a try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Try {
    Failed,
    /// The password was right, of somebody who is in already.
    Confirmed,
    /// In, with this step of the second factor.
    SignedIn {
        step: Option<i64>,
    },
}

impl Archive {
    /// Lets somebody in, or not. Takes some tenths of a second of a processor, and 64 MiB, whatever comes of it. The ledger has it
    /// afterwards, with the address; a name that no account has is not written down, for it may be a password in the wrong field.
    ///
    /// # Errors
    /// [`SignInRefused`].
    pub fn sign_in(
        &self,
        name: &str,
        password: &Password,
        totp: Option<&str>,
        from: IpAddr,
        at: Timestamp,
    ) -> Result<SignedIn, SignInRefused> {
        let refuse = |account: Option<&str>, why| {
            self.tell_refused(account, why, from, at);
            Err(SignInRefused::Wrong)
        };
        let (account, is_right) = {
            let Some(_turn) = self.shared.accounts.turns.take() else { return Err(SignInRefused::Busy) };
            let account = self.accounts().account(name).cloned();
            let is_right = compare(account.as_ref(), password);
            (account, is_right)
        };
        let Some(account) = account else {
            self.count_no_try();
            return refuse(None, RefusedTry::NoAccount);
        };
        let name = account.name.as_str();
        // As it is now: others may have tried while this was computed.
        let accounts = self.accounts();
        let Some(now) = accounts.account(name) else { return refuse(Some(name), RefusedTry::NoAccount) };
        if now.is_locked(at) {
            self.count_no_try();
            return refuse(Some(name), RefusedTry::Locked);
        }
        if !is_right || now.hash != account.hash {
            self.count_try(name, Try::Failed, at);
            return refuse(Some(name), RefusedTry::Password);
        }
        if now.disabled || self.caller(name, at).is_none_or(|caller| !caller.may(Permission::WebAccess)) {
            self.count_no_try();
            return refuse(Some(name), RefusedTry::NoAccess);
        }
        let mut step = None;
        if let Some(secret) = &now.totp {
            let Some(code) = totp else { return Err(SignInRefused::CodeNeeded) };
            step = secret.step_of_code(code, at, now.totp_last);
            if step.is_none() {
                self.count_try(name, Try::Failed, at);
                return refuse(Some(name), RefusedTry::Code);
            }
        }
        // The code counts now, once, even when two come with it at the same moment.
        if !self.count_try(name, Try::SignedIn { step }, at) {
            return refuse(Some(name), RefusedTry::Code);
        }
        let what = What::SignedIn { from: from.to_string(), second_factor: step.is_some() };
        self.tell(Event { at, who: name.to_owned(), what });
        let must_enroll = accounts.password_policy().second_factor && !now.has_totp();
        Ok(SignedIn { account: name.to_owned(), must_change: accounts.must_change(now, at), must_enroll })
    }

    /// The account, if this is its password. Locked ones are nobody's.
    pub(super) fn check_password(&self, name: &str, password: &Password, at: Timestamp) -> Option<Account> {
        let _turn = self.shared.accounts.turns.take()?;
        let account = self.accounts().account(name).cloned();
        let is_right = compare(account.as_ref(), password);
        let account = account.filter(|account| !account.disabled && !account.is_locked(at))?;
        if !is_right {
            self.count_try(&account.name, Try::Failed, at);
            return None;
        }
        Some(account)
    }

    /// Keeps what a try came to. One with a step of the second factor says whether that step had not counted yet. What
    /// cannot be brought to disk counts as long as the program runs.
    pub(super) fn count_try(&self, name: &str, what: Try, at: Timestamp) -> bool {
        let kept = &self.shared.accounts;
        let _one_at_a_time = locked(&kept.changes);
        let mut accounts = (*self.accounts()).clone();
        let policy = accounts.password_policy();
        let Some(account) = accounts.accounts.get_mut(&name.to_lowercase()) else { return false };
        // What was so when the password was compared may be so no more.
        if what != Try::Failed && (account.disabled || account.is_locked(at)) {
            return false;
        }
        if let Try::SignedIn { step } = what {
            if step.is_some() && account.totp_last >= step {
                return false;
            }
            account.totp_last = account.totp_last.max(step);
            account.last_sign_in = Some(at);
        }
        if what != Try::Failed {
            (account.failed, account.locked_until) = (0, None);
        } else {
            // When a lock has ended, counting begins anew: one slip more must not lock out again whoever has waited.
            if account.locked_until.is_some_and(|until| at >= until) {
                (account.failed, account.locked_until) = (0, None);
            }
            account.failed = account.failed.saturating_add(1);
            if policy.tries > 0 && account.failed >= policy.tries {
                account.locked_until = Some(at.plus_millis(i64::from(policy.locked_minutes) * MINUTE_MS));
            }
        }
        if let Err(error) = self.keep_accounts(accounts.clone()) {
            tracing::error!(%error, "a sign-in was not counted on disk");
            self.keep_in_memory(accounts);
        }
        true
    }

    /// As long as counting takes, where a try counts for nobody: how long a refusal takes must not tell why.
    fn count_no_try(&self) {
        let _one_at_a_time = locked(&self.shared.accounts.changes);
        if let Err(error) = self.keep_accounts((*self.accounts()).clone()) {
            tracing::error!(%error, "a sign-in was not counted on disk");
        }
    }

    /// The document counts, and is not on disk.
    pub(super) fn keep_in_memory(&self, accounts: Accounts) {
        locked(&self.shared.accounts.state).accounts = std::sync::Arc::new(accounts);
    }

    pub(super) fn tell_refused(&self, account: Option<&str>, why: RefusedTry, from: IpAddr, at: Timestamp) {
        let Some(untold) = locked(&self.shared.accounts.refusals).take(at) else { return };
        let who = account.unwrap_or(UNKNOWN_NAME).to_owned();
        self.tell(Event { at, who, what: What::SignInRefused { from: from.to_string(), why, untold } });
    }

    /// The ledger gets a line. That it cannot have it keeps nobody out: somebody must be able to come and free the disk.
    pub(super) fn tell(&self, event: Event) {
        let event = Box::new(event);
        if let Err(error) = self.ask(|answer| Command::Event { event, answer }) {
            tracing::error!(%error, "the audit trail lacks a sign-in");
        }
    }
}

/// Who tried, where no account has the name.
const UNKNOWN_NAME: &str = "?";

/// Is it the account's password? The same work for an account that is not there.
fn compare(account: Option<&Account>, password: &Password) -> bool {
    match account.and_then(|account| account.hash.as_ref()) {
        Some(hash) => hash.is_of(password),
        None => {
            Hash::of_nobody(password);
            false
        }
    }
}
