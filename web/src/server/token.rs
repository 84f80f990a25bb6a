//! Who may use the API: programs, each with a token of its own and only the rights that it needs.
//!
//! A token is kept as its SHA-256 alone. It is a long random secret, so that no slow hash is needed, and digests are compared
//! in constant time.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use policy::modes::Role;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A shorter token could be guessed.
const TOKEN_LEN_MIN: usize = 32;
/// A longer one is none.
const TOKEN_LEN_MAX: usize = 256;

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
}

impl Right {
    /// All of them.
    pub const ALL: [Right; 8] = [
        Right::Status,
        Right::Requests,
        Right::Events,
        Right::Recordings,
        Right::Calls,
        Right::Accounts,
        Right::Audit,
        Right::Rules,
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
        }
    }

    /// Is all that it lets a program do done as an account?
    #[must_use]
    pub const fn takes_account(self) -> bool {
        matches!(self, Right::Recordings | Right::Calls | Right::Accounts | Right::Audit | Right::Rules)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// A program that may use the API.
#[derive(Clone)]
pub struct Token {
    name: String,
    digest: [u8; 32],
    role: Role,
    rights: BTreeSet<Right>,
    account: Option<String>,
}

/// Why a token is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It has no name, or a very long one.
    #[error("a token has a name of 1 to 64 characters")]
    Name,
    /// It is too short, too long, or has characters that no header carries.
    #[error(
        "a token has {TOKEN_LEN_MIN} to {TOKEN_LEN_MAX} letters, digits and -._~+/= (`openssl rand -hex 32` makes one)"
    )]
    Secret,
}

impl Token {
    /// A program's token, by its secret. `role` is as whom it asks; `rights` is what it may.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn new(
        name: &str,
        secret: &str,
        role: Role,
        rights: impl IntoIterator<Item = Right>,
    ) -> Result<Token, TokenError> {
        if !(1..=64).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            return Err(TokenError::Name);
        }
        // RFC 6750, 2.1: what a header may carry as a token.
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        if !(TOKEN_LEN_MIN..=TOKEN_LEN_MAX).contains(&secret.len()) || !secret.bytes().all(is_plain) {
            return Err(TokenError::Secret);
        }
        let digest = Sha256::digest(secret).into();
        Ok(Token { name: name.to_owned(), digest, role, rights: rights.into_iter().collect(), account: None })
    }

    /// With the rights of this account, for what is done as one.
    #[must_use]
    pub fn of_account(mut self, account: Option<String>) -> Token {
        self.account = account;
        self
    }

    /// The account whose rights it has.
    pub(super) fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Whose it is.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As whom its program asks.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// May its program do this?
    #[must_use]
    pub fn may(&self, right: Right) -> bool {
        self.rights.contains(&right)
    }

    /// The token with this secret. All are compared, so that the time tells nothing.
    pub(super) fn find<'a>(tokens: &'a [Token], secret: &str) -> Option<&'a Token> {
        let digest: [u8; 32] = Sha256::digest(secret).into();
        tokens
            .iter()
            .fold(None, |found, token| if token.digest.ct_eq(&digest).into() { Some(token) } else { found })
    }
}

/// The tokens that count now.
#[derive(Default)]
pub struct Tokens(RwLock<Arc<[Token]>>);

impl Tokens {
    /// These.
    #[must_use]
    pub fn new(tokens: Vec<Token>) -> Tokens {
        Tokens(RwLock::new(tokens.into()))
    }

    /// Others count from now on; a request that is under way is still answered.
    pub fn replace(&self, tokens: Vec<Token>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = tokens.into();
    }

    /// The token with this secret.
    pub(super) fn find(&self, secret: &str) -> Option<Token> {
        let tokens = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        Token::find(&tokens, secret).cloned()
    }

    /// The same token as it counts now.
    pub(super) fn now(&self, token: &Token) -> Option<Token> {
        let tokens = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        tokens.iter().find(|now| now.digest.ct_eq(&token.digest).into()).cloned()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.read().unwrap_or_else(PoisonError::into_inner).iter()).finish()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Token { name, role, rights, account, .. } = self;
        f.debug_struct("Token")
            .field("name", name)
            .field("role", role)
            .field("rights", rights)
            .field("account", account)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_token_is_found_by_its_whole_secret_and_by_nothing_else() {
        let new = |name: &str, secret: &str| Token::new(name, secret, Role::Agent, [Right::Status]);
        let tokens = [new("a", SECRET).expect("a token"), new("b", &"b".repeat(40)).expect("a token")];
        assert_eq!(Token::find(&tokens, SECRET).map(Token::name), Some("a"));
        for wrong in ["", "0", &SECRET[1..], &SECRET.to_uppercase(), &format!("{SECRET} ")] {
            assert!(Token::find(&tokens, wrong).is_none(), "{wrong}");
        }
        assert!(tokens[0].may(Right::Status) && !tokens[0].may(Right::Requests));
        assert!(!format!("{tokens:?}").contains("0123"));
    }

    #[test]
    fn what_could_be_guessed_or_not_be_sent_is_no_token() {
        let new = |name: &str, secret: &str| Token::new(name, secret, Role::Agent, []).map(|_| ());
        assert_eq!(new("crm", SECRET), Ok(()));
        assert_eq!(new("crm", &SECRET[1..]), Err(TokenError::Secret));
        assert_eq!(new("crm", &format!("{SECRET} x")), Err(TokenError::Secret));
        assert_eq!(new("crm", &"x".repeat(257)), Err(TokenError::Secret));
        assert_eq!(new("", SECRET), Err(TokenError::Name));
    }
}
