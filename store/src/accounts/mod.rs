//! Accounts: who signs in, with which role, and how tries are counted.
//!
//! All of it is one document, `accounts.json`, which only its owner can read and which is put in place as a whole. Hashes and
//! secrets stand there and nowhere else: the ledger, which is only ever added to, has each change and each sign-in without them. A change
//! stands in the document together with the line that the ledger is to have of it, until the ledger has it: so after a cut at any
//! moment both have it, or neither.
//!
//! A document that cannot be read locks everybody out and stops no recording; whoever holds the machine puts it back or moves it away.
//!
//! Not here: sessions (`web`), what a role may do (`policy::access`).

mod change;
mod document;
mod password;
mod sign_in;
#[cfg(test)]
mod tests;
mod token;
mod totp;
mod webhook;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use decode::Timestamp;
use policy::{Caller, People};

use crate::disk::{Disk, locked, read_whole};
use crate::event::{Event, RefusedTry, What};
use crate::scribe::Command;
use crate::{Archive, Error};

use change::Changed;
pub use change::{AccountChange, AccountEdit, USER_NAME_MAX};
use document::FORMAT;
pub use document::{ACCOUNTS_MAX, Account, Accounts, FILTERS_MAX, PROFILES_MAX, ROLE_FILTERS_MAX, ROLES_MAX};
use password::Hash;
pub(crate) use password::Turns;
pub use password::{PASSWORD_MAX, Password, PasswordPolicy, REUSE_MAX, Strength};
pub use sign_in::{SignInRefused, SignedIn};
pub use token::{ApiToken, NewToken, TOKEN_NAME_MAX, TOKENS_MAX, TokenSecret};
pub use totp::TotpSecret;
pub use webhook::{NewWebhook, WEBHOOK_ADDRESS_MAX, WEBHOOKS_MAX, Webhook, WebhookSecret};

/// The document.
pub(crate) const ACCOUNTS: &str = "accounts.json";
/// Its longest, in bytes.
const DOCUMENT_MAX: u64 = 64 << 20;

/// The document as it is now, and what goes with it.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    state: Mutex<State>,
    /// Who changes it, one at a time. Not taken by whoever only asks.
    changes: Mutex<()>,
    pub(crate) turns: Turns,
    /// Whose extension is whose, and the site's name: what callers are resolved by.
    places: Mutex<(Arc<People>, Option<String>)>,
    /// Refused tries, so that nobody fills the ledger with them.
    pub(crate) refusals: Mutex<sign_in::Refusals>,
}

#[derive(Debug, Default)]
struct State {
    accounts: Arc<Accounts>,
    /// Why the document cannot be read.
    broken: Option<String>,
}

impl Kept {
    /// Reads the document of an archive.
    pub(crate) fn open(disk: &dyn Disk) -> Kept {
        let (accounts, broken) = match read(disk) {
            Ok(accounts) => (accounts.unwrap_or_default(), None),
            Err(what) => {
                tracing::error!(file = ACCOUNTS, error = %what, "nobody can sign in: the accounts cannot be read");
                (Accounts::default(), Some(what))
            }
        };
        let state = Mutex::new(State { accounts: Arc::new(accounts), broken });
        Kept { state, ..Kept::default() }
    }
}

fn read(disk: &dyn Disk) -> Result<Option<Accounts>, String> {
    let Some(json) = read_whole(disk, ACCOUNTS, DOCUMENT_MAX).map_err(|e| e.to_string())? else {
        return Ok(None);
    };
    #[derive(serde::Deserialize)]
    struct FormatOnly {
        format: u32,
    }
    let FormatOnly { format } = serde_json::from_slice(&json).map_err(|e| e.to_string())?;
    if format > FORMAT {
        return Err(format!(
            "it has format {format}, this program knows formats up to {FORMAT}: use a newer version"
        ));
    }
    let accounts: Accounts = serde_json::from_slice(&json).map_err(|e| e.to_string())?;
    accounts.objection().map_or(Ok(Some(accounts)), Err)
}

/// Whether the ledger may have a line already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Untold {
    /// The event is of this moment.
    Surely,
    /// It was left by a failure or a cut.
    Perhaps,
}

/// What the ledger says of a change.
fn told(who: &str, at: Timestamp, changed: Changed) -> Event {
    let Changed { what, name, before, after } = changed;
    Event {
        at,
        who: who.to_owned(),
        what: What::AccountsChanged { what: what.to_owned(), name, before, after },
    }
}

impl Archive {
    /// Accounts, roles, profiles, filters, tokens, webhooks and the password policy as they are now. Cheap. Empty where the document cannot be read.
    #[must_use]
    pub fn accounts(&self) -> Arc<Accounts> {
        Arc::clone(&locked(&self.shared.accounts.state).accounts)
    }

    /// Is there an account, or a document that cannot be read? If not, the first one is to be made.
    #[must_use]
    pub fn has_accounts(&self) -> bool {
        let state = locked(&self.shared.accounts.state);
        state.broken.is_some() || state.accounts.accounts().next().is_some()
    }

    /// From now on callers are resolved by these people and this name of the site; nobody and none before. Cheap to call again
    /// whenever they change.
    pub fn know_people(&self, people: Arc<People>, site: Option<String>) {
        *locked(&self.shared.accounts.places) = (people, site);
    }

    /// The people by whom callers are resolved.
    #[must_use]
    pub fn people(&self) -> Arc<People> {
        Arc::clone(&locked(&self.shared.accounts.places).0)
    }

    /// Who asks, with all that may be done and seen at this moment; none for somebody who may not be here any more. To be asked
    /// anew for each request, so that whoever is disabled is cut off at once.
    #[must_use]
    pub fn caller(&self, name: &str, at: Timestamp) -> Option<Caller> {
        let (people, site) = locked(&self.shared.accounts.places).clone();
        self.accounts().caller(name, &people, site.as_deref(), at)
    }

    /// Changes accounts, roles, profiles, filters, tokens, webhooks or the password policy, for somebody whose right to it the caller has looked at.
    /// On disk, and in the ledger, when this returns. The first account is made so by whoever holds the machine.
    ///
    /// # Errors
    /// [`Error::Refused`]: what stands against it and what to do, also when nobody could administer any more;
    /// [`Error::Damaged`] while the document cannot be read; [`Error::Full`], [`Error::Io`].
    pub fn change_accounts(&self, who: &str, at: Timestamp, change: AccountChange) -> Result<(), Error> {
        self.try_change_accounts(who, at, change).map_err(|e| e.under(self.dir()))
    }

    fn try_change_accounts(&self, who: &str, at: Timestamp, change: AccountChange) -> Result<(), Error> {
        let kept = &self.shared.accounts;
        let refused = |what: String| Error::Refused { what };
        // Hashing takes a while, and is done before anybody is kept waiting.
        let hash = match change.password() {
            Some((name, password)) => Some(self.new_hash(name, password, &change)?),
            None => None,
        };
        // To the millisecond, as files have it: the event must be known again.
        let at = Timestamp::from_millis(at.as_millis());
        let removed = match &change {
            AccountChange::Remove { name } => Some(name.clone()),
            _ => None,
        };
        let _one_at_a_time = locked(&kept.changes);
        self.tell_untold(Untold::Perhaps)?;
        let mut accounts = (*self.accounts()).clone();
        let event = told(who, at, change.apply(&mut accounts, hash, who, at).map_err(refused)?);
        accounts.untold = Some(Box::new(event));
        self.keep_accounts(accounts)?;
        if let Some(name) = removed
            && let Err(error) = self.forget_filters_of(&name)
        {
            tracing::error!(%error, "the saved filters of an account that was removed are still there");
        }
        // It is in force; its line waits in the document until the ledger has it.
        if let Err(error) = self.tell_untold(Untold::Surely) {
            tracing::error!(%error, "the ledger has the line of a change of accounts not yet");
        }
        Ok(())
    }

    /// The hash of a new password, if the policy takes it.
    fn new_hash(&self, name: &str, password: &Password, change: &AccountChange) -> Result<Hash, Error> {
        let refused = |what: &str| Error::Refused { what: format!("the password: {what}") };
        let accounts = self.accounts();
        let account = accounts.account(name);
        let edit = match change {
            AccountChange::Add { edit, .. } => Some(edit),
            _ => None,
        };
        let of_edit = |text: fn(&AccountEdit) -> &Option<String>| edit.and_then(|edit| text(edit).as_deref());
        let display_name =
            of_edit(|edit| &edit.display_name).or(account.map(|account| account.display_name.as_str()));
        let email = of_edit(|edit| &edit.email).or(account.map(|account| account.email.as_str()));
        let names: Vec<&str> = [display_name, email].into_iter().flatten().collect();
        let policy = accounts.password_policy();
        if let Some(what) = policy.objection(password, name, &names) {
            return Err(refused(&what));
        }
        let _turn = self.shared.accounts.turns.take().ok_or_else(|| Error::Refused {
            what: "a password now: too many are being checked; try again in a minute".into(),
        })?;
        // A name that is taken is told of by the change itself.
        let is_new = matches!(change, AccountChange::Add { .. });
        if let Some(account) = account.filter(|_| !is_new) {
            let kept = account.hash.iter().chain(&account.old_hashes).take(policy.reuse as usize);
            if kept.into_iter().any(|old| old.is_of(password)) {
                return Err(refused("it is one of the last ones; take another"));
            }
        }
        Hash::of(password)
    }

    /// Puts a document in place, on disk and then here. Under the lock of changes.
    fn keep_accounts(&self, accounts: Accounts) -> Result<(), Error> {
        let kept = &self.shared.accounts;
        if let Some(what) = &locked(&kept.state).broken {
            return Err(Error::damaged(
                ACCOUNTS,
                format!("{what}; put a copy of it back, or move it away to begin anew, and start again"),
            ));
        }
        let json =
            serde_json::to_vec_pretty(&accounts).map_err(|e| Error::Refused { what: e.to_string() })?;
        let json = zeroize::Zeroizing::new(json);
        if json.len() as u64 > DOCUMENT_MAX {
            return Err(Error::Refused { what: format!("accounts of more than {DOCUMENT_MAX} bytes") });
        }
        self.shared.disk.replace(ACCOUNTS, &json, true).map_err(|e| Error::io(ACCOUNTS, e))?;
        locked(&kept.state).accounts = Arc::new(accounts);
        Ok(())
    }

    /// Sees to it that the ledger has the line of the last change, and forgets it then. Under the lock of changes, or while the
    /// archive is being opened.
    pub(crate) fn tell_untold(&self, how: Untold) -> Result<(), Error> {
        let accounts = self.accounts();
        let Some(event) = accounts.untold.as_deref() else { return Ok(()) };
        if how == Untold::Surely || !self.ledger_has(event)? {
            let event = Box::new(event.clone());
            self.ask(|answer| Command::Event { event, answer })?;
        }
        self.keep_accounts(Accounts { untold: None, ..(*accounts).clone() })
    }

    /// Is the very event in the ledger? The newest lines are looked at, for it can only be among these.
    fn ledger_has(&self, event: &Event) -> Result<bool, Error> {
        let filter = crate::AuditFilter { since: Some(event.at), ..crate::AuditFilter::default() };
        for line in self.audit_trail(&filter)? {
            // One that cannot be read is told by verification.
            if line.is_ok_and(|(_, there)| there == *event) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Is it this account's password, from somebody at this address who is signed in? For confirming what must not be done at a table that
    /// somebody left. A wrong one counts as a failed try, and is a line of the audit trail like one.
    pub fn verify_password(&self, name: &str, password: &Password, from: IpAddr, at: Timestamp) -> bool {
        match self.check_password(name, password, at) {
            Some(account) => {
                self.count_try(&account.name, sign_in::Try::Confirmed, at);
                true
            }
            None => {
                let accounts = self.accounts();
                let account = accounts.account(name);
                let why = match account {
                    None => RefusedTry::NoAccount,
                    Some(account) if account.disabled => RefusedTry::NoAccess,
                    Some(account) if account.is_locked(at) => RefusedTry::Locked,
                    Some(_) => RefusedTry::Password,
                };
                self.tell_refused(account.map(|account| account.name.as_str()), why, from, at);
                false
            }
        }
    }

    /// Somebody at this address has come in by the link that works once, as `who`. The ledger gets a line; that it cannot have it keeps
    /// nobody out.
    pub fn note_entered(&self, who: &str, from: IpAddr, at: Timestamp) {
        let what = What::SignedIn { from: from.to_string(), second_factor: false };
        self.tell(Event { at, who: who.to_owned(), what });
    }
}
