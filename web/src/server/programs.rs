//! What the pages of programs share, of those that show a token and of those that are told: whose rights they have, and what was made for
//! them, shown once.

use axum::http::StatusCode;
use policy::Permission;
use store::Accounts;

use super::caller::Asker;
use super::refusal::Refusal;
use super::session::Who;

/// A right, or a topic, that can be chosen.
pub(super) struct Choice {
    pub(super) key: &'static str,
    pub(super) words: &'static str,
    pub(super) is_chosen: bool,
}

/// What a page says beside its list.
#[derive(Default)]
pub(super) struct Said {
    /// What was done; empty if nothing.
    pub(super) done: String,
    pub(super) wrong: Option<String>,
    /// What was made for a program, shown once; else empty.
    pub(super) secret: String,
}

impl Said {
    pub(super) fn done(done: String) -> Said {
        Said { done, ..Said::default() }
    }

    pub(super) fn wrong(why: String) -> Said {
        Said { wrong: Some(why), ..Said::default() }
    }

    pub(super) fn made(done: String, secret: &str) -> Said {
        Said { secret: secret.to_owned(), ..Said::done(done) }
    }

    pub(super) fn status(&self) -> StatusCode {
        if self.wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }
    }
}

pub(super) fn need(asker: &Asker) -> Result<(), Refusal> {
    asker.need(Permission::Security)
}

/// The accounts whose rights a program may have.
pub(super) fn accounts_for_programs(accounts: &Accounts) -> Vec<String> {
    let can_have_one = accounts.accounts().filter(|account| account.role.is_some() && !account.disabled);
    can_have_one.map(|account| account.name.clone()).collect()
}

/// The account of whoever asks; empty where they have none.
pub(super) fn own_account(asker: &Asker) -> &str {
    match &asker.who {
        Who::Account(name) => name,
        Who::Console => "",
    }
}
