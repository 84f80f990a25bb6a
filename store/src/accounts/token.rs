//! Tokens of the API that are data: what a program shows in place of a password, whose rights it has and until when.
//!
//! A token is `ewk_` and 32 random bytes in base 64 for addresses (RFC 4648, 5). It is told once; what is kept is its SHA-256, which is enough for a
//! secret that nobody can guess. Whoever compares does it in constant time (`web`). A token belongs to an account and goes with it.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decode::Timestamp;
use policy::access::Right;
use policy::modes;
use policy::people::check_name;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::change::{Changed, Refused, Shown, changed};
use super::document::{Accounts, same};
use crate::bytes::{from_hex, hex};
use crate::disk::locked;
use crate::{Archive, Error};

/// Tokens of an archive.
pub const TOKENS_MAX: usize = 200;
/// The longest name of a token, in characters.
pub const TOKEN_NAME_MAX: usize = 64;
/// What each begins with, so that programs that look for lost secrets know one.
const PREFIX: &str = "ewk_";
/// Random bytes of one.
const SECRET_LEN: usize = 32;
/// How exactly it is kept when a token was used.
const DAY_MS: i64 = 86_400_000;

/// What a program shows. Blank in `Debug`.
#[derive(Clone)]
pub struct TokenSecret(Zeroizing<String>);

impl std::fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenSecret")
    }
}

impl TokenSecret {
    /// A new one.
    ///
    /// # Errors
    /// [`Error::Refused`]: the operating system gives no random bytes.
    pub fn new() -> Result<TokenSecret, Error> {
        let mut bytes = Zeroizing::new([0; SECRET_LEN]);
        getrandom::fill(&mut bytes[..])
            .map_err(|e| Error::Refused { what: format!("a token: no random bytes: {e}") })?;
        Ok(TokenSecret(Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes[..])))))
    }

    /// As it is shown to whoever will use it, once.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    fn digest(&self) -> TokenDigest {
        TokenDigest(Sha256::digest(self.0.as_bytes()).into())
    }
}

/// The SHA-256 of a secret. Blank in `Debug`, in JSON hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct TokenDigest([u8; 32]);

impl std::fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenDigest")
    }
}

impl From<TokenDigest> for String {
    fn from(digest: TokenDigest) -> String {
        hex(&digest.0)
    }
}

impl TryFrom<String> for TokenDigest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        from_hex(&text).map(TokenDigest).ok_or("the digest of a token has 64 hexadecimal digits")
    }
}

/// A token as the archive knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiToken {
    /// Its name, in the trail and in lists; capitals do not tell names apart.
    pub name: String,
    /// The account whose rights it has, and never more.
    pub account: String,
    /// What it lets its program do, as far as the account may.
    pub rights: BTreeSet<Right>,
    /// As whom its program asks (recording modes).
    pub asks_as: modes::Role,
    /// When it was made.
    pub made: Timestamp,
    /// By whom.
    pub by: String,
    /// From when on it counts no more; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The beginning of the day (UTC) on which it was last used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
    digest: TokenDigest,
}

impl ApiToken {
    /// The SHA-256 of its secret, to be compared in constant time.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest.0
    }

    /// Is it over at this moment?
    #[must_use]
    pub fn has_expired(&self, at: Timestamp) -> bool {
        self.expires.is_some_and(|expires| at >= expires)
    }

    /// Is it kept that it was used on the day (UTC) of this moment?
    #[must_use]
    pub fn was_used_on_day_of(&self, at: Timestamp) -> bool {
        self.last_used.is_some_and(|known| known >= day_of(at))
    }

    fn shown(&self) -> Shown {
        let rights: Vec<&str> = self.rights.iter().map(|right| right.key()).collect();
        let mut shown = BTreeMap::from([
            ("account".to_owned(), self.account.clone()),
            ("rights".to_owned(), rights.join(", ")),
            ("asks_as".to_owned(), self.asks_as.key().to_owned()),
        ]);
        shown.extend(self.expires.map(|expires| ("expires".to_owned(), expires.to_string())));
        shown
    }
}

/// A token that is to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its name: 1 to [`TOKEN_NAME_MAX`] characters.
    pub name: String,
    /// The account whose rights it will have.
    pub account: String,
    /// What it will let its program do; at least one thing.
    pub rights: BTreeSet<Right>,
    /// As whom its program will ask.
    pub asks_as: modes::Role,
    /// From when on it will count no more; never when absent.
    pub expires: Option<Timestamp>,
    /// What the program will show.
    pub secret: TokenSecret,
}

impl NewToken {
    pub(super) fn add(self, to: &mut Accounts, who: &str, at: Timestamp) -> Result<Changed, Refused> {
        let NewToken { name, account, rights, asks_as, expires, secret } = self;
        check_program_name("token", &name)?;
        if to.token(&name).is_some() {
            return Err(format!("there is a token {name:?} already; take another name, or remove it first"));
        }
        if to.tokens.len() >= TOKENS_MAX {
            return Err(format!("there are {TOKENS_MAX} tokens; remove some first"));
        }
        let Some(account) = to.account(&account).map(|account| account.name.clone()) else {
            return Err(format!(
                "there is no account {account:?} whose rights the token could have; `earwitness user accounts` lists them"
            ));
        };
        if rights.is_empty() {
            let all = Right::ALL.map(Right::key).join(", ");
            return Err(format!("a token without any right lets a program do nothing; there are {all}"));
        }
        if expires.is_some_and(|expires| expires <= at) {
            return Err("the token would have expired already; take a later moment".into());
        }
        let (made, by, digest) = (at, who.to_owned(), secret.digest());
        let token = ApiToken { name, account, rights, asks_as, made, by, expires, last_used: None, digest };
        let done = changed("token made", &token.name, Shown::new(), token.shown());
        to.tokens.push(token);
        Ok(done)
    }
}

/// Names of tokens and webhooks: 1 to [`TOKEN_NAME_MAX`] characters.
pub(super) fn check_program_name(what: &'static str, name: &str) -> Result<(), Refused> {
    check_name(what, name).map_err(|error| error.to_string())?;
    if name.chars().count() > TOKEN_NAME_MAX || name.trim() != name {
        return Err(format!(
            "a {what}'s name has 1 to {TOKEN_NAME_MAX} characters, with spaces inside alone"
        ));
    }
    Ok(())
}

/// Takes one away.
pub(super) fn remove(to: &mut Accounts, name: &str) -> Result<Changed, Refused> {
    let place = to.tokens.iter().position(|token| same(&token.name, name));
    let gone = to.tokens.remove(
        place.ok_or_else(|| format!("there is no token {name:?}; `earwitness token list` lists them"))?,
    );
    Ok(changed("token removed", &gone.name, gone.shown(), Shown::new()))
}

fn day_of(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis() - at.as_millis().rem_euclid(DAY_MS))
}

/// Takes those of an account away, which is going; gives their names.
pub(super) fn remove_of(to: &mut Accounts, account: &str) -> Vec<String> {
    to.tokens.extract_if(.., |token| same(&token.account, account)).map(|token| token.name).collect()
}

impl Archive {
    /// A token was used: the day is kept. Cheap on a day on which that is known already; else the document is written, which waits for the
    /// disk. What cannot be written is known as long as the program runs.
    pub fn note_token_used(&self, name: &str, at: Timestamp) {
        let is_known =
            |accounts: &Accounts| accounts.token(name).is_none_or(|token| token.was_used_on_day_of(at));
        if is_known(&self.accounts()) {
            return;
        }
        let _one_at_a_time = locked(&self.shared.accounts.changes);
        let mut accounts = (*self.accounts()).clone();
        if is_known(&accounts) {
            return;
        }
        if let Some(token) = accounts.tokens.iter_mut().find(|token| same(&token.name, name)) {
            token.last_used = Some(day_of(at));
        }
        if let Err(error) = self.keep_accounts(accounts.clone()) {
            tracing::error!(%error, "when a token was used is not kept");
            self.keep_in_memory(accounts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_long_random_and_never_printed() {
        let (one, two) = (TokenSecret::new().expect("made"), TokenSecret::new().expect("made"));
        assert_eq!((one.text().len(), one.text().starts_with("ewk_")), (47, true));
        assert_ne!(one.text(), two.text());
        assert!(one.text().bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        let shown = format!("{one:?} {:?}", one.digest());
        assert!(!shown.contains(one.text()) && !shown.contains(&String::from(one.digest())), "{shown}");
        let text = String::from(one.digest());
        assert_eq!(TokenDigest::try_from(text), Ok(one.digest()));
        assert!(TokenDigest::try_from("00".to_owned()).is_err());
    }
}
