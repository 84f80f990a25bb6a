//! What a token of the API lets its program do. Rights are the upper limit: what is done as an account is decided by that account, too.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Permission;

/// What a token lets its program do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// See what the recorder is doing.
    Status,
    /// Start, stop, pause, resume, keep and discard, as far as modes allow.
    Requests,
    /// Say what is known of calls, and what windows show.
    Events,
    /// Find, take along and mark recordings, as far as the token's account may.
    Recordings,
    /// See the balance sheet, as far as the token's account may.
    Calls,
    /// See and change accounts and roles, as far as the token's account may.
    Accounts,
    /// See the audit trail, as far as the token's account may.
    Audit,
    /// See and change the rule book, and have retention carried out, as far as the token's account may.
    Rules,
    /// Look after the machine, as far as the token's account may.
    Servers,
}

impl Right {
    /// All of them.
    pub const ALL: [Right; 9] = [
        Right::Status,
        Right::Requests,
        Right::Events,
        Right::Recordings,
        Right::Calls,
        Right::Accounts,
        Right::Audit,
        Right::Rules,
        Right::Servers,
    ];

    /// As configuration and document write it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Right::Status => "status",
            Right::Requests => "requests",
            Right::Events => "events",
            Right::Recordings => "recordings",
            Right::Calls => "calls",
            Right::Accounts => "accounts",
            Right::Audit => "audit",
            Right::Rules => "rules",
            Right::Servers => "servers",
        }
    }

    /// What it lets a program do.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Right::Status => "see what the recorder is doing, and which calls run",
            Right::Requests => "start, stop, pause, resume, keep and discard",
            Right::Events => "say what is known of calls, and what windows desks show",
            Right::Recordings => {
                "find, take along and mark recordings, hold and delete them, and see running ones, as far as the account may"
            }
            Right::Calls => "see the balance sheet, as far as the account may",
            Right::Accounts => "see and change users, roles and profiles, as far as the account may",
            Right::Audit => "see the audit trail, as far as the account may",
            Right::Rules => {
                "see and change the rule book, and have retention carried out, as far as the account may"
            }
            Right::Servers => {
                "look after the machine: alerts, its log, what is wrong with it, locations and keys, as far as the account may"
            }
        }
    }

    /// What an account must be able to do, beside seeing all calls, for a program of its to do what goes by this right and is not done as an
    /// account. Nothing where all of it is: there each request is judged by itself.
    #[must_use]
    pub const fn of_account(self) -> &'static [Permission] {
        match self {
            Right::Status => &[Permission::Dashboard],
            Right::Requests => &[Permission::Control, Permission::Pause],
            Right::Events => &[Permission::ModifyDetails],
            Right::Recordings
            | Right::Calls
            | Right::Accounts
            | Right::Audit
            | Right::Rules
            | Right::Servers => &[],
        }
    }

    /// Is all that it lets a program do done as an account?
    #[must_use]
    pub const fn takes_account(self) -> bool {
        !matches!(self, Right::Status | Right::Requests | Right::Events)
    }
}

/// There is no such right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no right {name:?}; there are {}", Right::ALL.map(Right::key).join(", "))]
pub struct NoRight {
    /// As it was written.
    pub name: String,
}

impl FromStr for Right {
    type Err = NoRight;

    fn from_str(name: &str) -> Result<Self, NoRight> {
        let found = Right::ALL.into_iter().find(|right| right.key() == name);
        found.ok_or_else(|| NoRight { name: name.to_owned() })
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}
