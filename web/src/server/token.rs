//! Who may use the API: programs, each with a token of its own and only the rights that it needs.
//!
//! A token is kept as its SHA-256 alone. It is a long random secret, so that no slow hash is needed, and digests are compared
//! in constant time. Some stand in the configuration, whose holder has the machine; others are the archive's, and never can more than
//! their account.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use decode::Timestamp;
pub use policy::access::Right;
use policy::modes::Role;
use sha2::{Digest, Sha256};
use store::{Accounts, ApiToken};
use subtle::ConstantTimeEq;

/// A shorter token could be guessed.
const TOKEN_LEN_MIN: usize = 32;
/// A longer one is none.
const TOKEN_LEN_MAX: usize = 256;

/// A program that may use the API.
#[derive(Clone)]
pub struct Token {
    /// It is the archive's, and no more than its account may.
    is_kept: bool,
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
        let rights = rights.into_iter().collect();
        Ok(Token { is_kept: false, name: name.to_owned(), digest, role, rights, account: None })
    }

    /// One that the archive keeps.
    pub(super) fn kept(token: &ApiToken) -> Token {
        Token {
            is_kept: true,
            name: token.name.clone(),
            digest: *token.digest(),
            role: token.asks_as,
            rights: token.rights.clone(),
            account: Some(token.account.clone()),
        }
    }

    /// Is it the archive's?
    pub(super) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// What it may.
    pub(super) fn rights(&self) -> &BTreeSet<Right> {
        &self.rights
    }

    /// What tells it from all others, and opens nothing.
    pub(super) fn key(&self) -> String {
        self.digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
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

    /// The token with this secret.
    fn find<'a>(tokens: &'a [Token], secret: &str) -> Option<&'a Token> {
        with_digest(tokens, |token| &token.digest, &Sha256::digest(secret).into())
    }
}

/// The one of this digest. All are compared, so that the time tells nothing.
fn with_digest<'t, T>(
    tokens: &'t [T],
    digest_of: impl Fn(&T) -> &[u8; 32],
    digest: &[u8; 32],
) -> Option<&'t T> {
    tokens.iter().fold(
        None,
        |found, token| {
            if digest_of(token).ct_eq(digest).into() { Some(token) } else { found }
        },
    )
}

/// The token that the archive has of this secret, at this moment; none for one that is over.
pub(super) fn kept(accounts: &Accounts, secret: &str, at: Timestamp) -> Option<Token> {
    with_digest(accounts.tokens(), ApiToken::digest, &Sha256::digest(secret).into())
        .filter(|token| !token.has_expired(at))
        .map(Token::kept)
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
        Token::find(&self.all(), secret).cloned()
    }

    /// The same token as it counts now: one of these, or of the archive's.
    pub(super) fn now(&self, token: &Token, accounts: &Accounts, at: Timestamp) -> Option<Token> {
        if token.is_kept {
            let now = with_digest(accounts.tokens(), ApiToken::digest, &token.digest);
            return now.filter(|now| !now.has_expired(at)).map(Token::kept);
        }
        with_digest(&self.all(), |token| &token.digest, &token.digest).cloned()
    }

    /// All of them.
    pub(super) fn all(&self) -> Arc<[Token]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.read().unwrap_or_else(PoisonError::into_inner).iter()).finish()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Token { is_kept, name, role, rights, account, digest: _ } = self;
        f.debug_struct("Token")
            .field("is_kept", is_kept)
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
