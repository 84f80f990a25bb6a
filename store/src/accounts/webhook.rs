//! Webhooks: programs that are told what happens, at an address of theirs, by Standard Webhooks 1.0. Here is who they are; who tells them is the
//! program's, and what they may be told is their account's.
//!
//! A secret is told once, as `whsec_` and base 64. It is kept as it is, because each message is signed with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use decode::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::change::{Changed, Refused, Shown, changed};
use super::document::{Accounts, same};
use super::token::check_program_name;
use crate::{Error, Topic};

/// Webhooks of an archive.
pub const WEBHOOKS_MAX: usize = 20;
/// The longest address, in bytes.
pub const WEBHOOK_ADDRESS_MAX: usize = 500;
/// What a secret begins with where it is told.
const PREFIX: &str = "whsec_";
/// Random bytes of a new one; the standard has 24 to 64.
const SECRET_LEN: usize = 32;

/// What messages are signed with. Blank in `Debug`, in JSON base 64.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Zeroizing<Vec<u8>>);

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret")
    }
}

impl WebhookSecret {
    /// A new one.
    ///
    /// # Errors
    /// [`Error::Refused`]: the operating system gives no random bytes.
    pub fn new() -> Result<WebhookSecret, Error> {
        let mut bytes = Zeroizing::new(vec![0; SECRET_LEN]);
        getrandom::fill(&mut bytes)
            .map_err(|e| Error::Refused { what: format!("a webhook's secret: no random bytes: {e}") })?;
        Ok(WebhookSecret(bytes))
    }

    /// As it is shown to whoever reads the messages, once.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", STANDARD.encode(&*self.0)))
    }

    /// The key of HMAC-SHA-256.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for WebhookSecret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(&*self.0)))
    }
}

impl<'de> Deserialize<'de> for WebhookSecret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<WebhookSecret, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = STANDARD.decode(text.as_bytes()).map_err(|_| serde::de::Error::custom("no base 64"))?;
        Ok(WebhookSecret(Zeroizing::new(bytes)))
    }
}

/// A program that is told what happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Webhook {
    /// Its name, in the trail and in lists; capitals do not tell names apart.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// The account whose rights it has: it is told of what the account may see, and of nothing else.
    pub account: String,
    /// What it is told of.
    pub topics: BTreeSet<Topic>,
    /// When it was made.
    pub made: Timestamp,
    /// By whom.
    pub by: String,
    /// What its messages are signed with.
    pub secret: WebhookSecret,
}

impl Webhook {
    fn shown(&self) -> Shown {
        let topics: Vec<&str> = self.topics.iter().map(|topic| topic.key()).collect();
        BTreeMap::from([
            ("account".to_owned(), self.account.clone()),
            ("address".to_owned(), self.address.clone()),
            ("topics".to_owned(), topics.join(", ")),
        ])
    }
}

/// A webhook that is to be made.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// Its name: 1 to [`TOKEN_NAME_MAX`](crate::TOKEN_NAME_MAX) characters.
    pub name: String,
    /// Where it listens. Whether that is an address is looked at before.
    pub address: String,
    /// The account whose rights it will have.
    pub account: String,
    /// What it will be told of; at least one thing.
    pub topics: BTreeSet<Topic>,
    /// What its messages will be signed with.
    pub secret: WebhookSecret,
}

impl NewWebhook {
    pub(super) fn add(self, to: &mut Accounts, who: &str, at: Timestamp) -> Result<Changed, Refused> {
        let NewWebhook { name, address, account, topics, secret } = self;
        check_program_name("webhook", &name)?;
        if to.webhook(&name).is_some() {
            return Err(format!(
                "there is a webhook {name:?} already; take another name, or remove it first"
            ));
        }
        if to.webhooks.len() >= WEBHOOKS_MAX {
            return Err(format!("there are {WEBHOOKS_MAX} webhooks; remove some first"));
        }
        if address.is_empty() || address.len() > WEBHOOK_ADDRESS_MAX {
            return Err(format!("a webhook's address has 1 to {WEBHOOK_ADDRESS_MAX} bytes"));
        }
        let Some(account) = to.account(&account).map(|account| account.name.clone()) else {
            return Err(format!(
                "there is no account {account:?} whose rights the webhook could have; `earwitness user accounts` lists them"
            ));
        };
        if topics.is_empty() {
            let all = Topic::ALL.map(Topic::key).join(", ");
            return Err(format!("a webhook that is told of nothing is none; there are {all}"));
        }
        let webhook = Webhook { name, address, account, topics, made: at, by: who.to_owned(), secret };
        let done = changed("webhook made", &webhook.name, Shown::new(), webhook.shown());
        to.webhooks.push(webhook);
        Ok(done)
    }
}

/// Takes one away.
pub(super) fn remove(to: &mut Accounts, name: &str) -> Result<Changed, Refused> {
    let place = to.webhooks.iter().position(|webhook| same(&webhook.name, name));
    let gone = to.webhooks.remove(place.ok_or_else(|| format!("there is no webhook {name:?}"))?);
    Ok(changed("webhook removed", &gone.name, gone.shown(), Shown::new()))
}

/// Takes those of an account away, which is going; gives their names.
pub(super) fn remove_of(to: &mut Accounts, account: &str) -> Vec<String> {
    to.webhooks
        .extract_if(.., |webhook| same(&webhook.account, account))
        .map(|webhook| webhook.name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_told_as_the_standard_has_it_kept_and_never_printed() {
        let secret = WebhookSecret::new().expect("made");
        let text = secret.text();
        let coded = text.strip_prefix("whsec_").expect("its prefix");
        assert_eq!(STANDARD.decode(coded).as_deref(), Ok(secret.bytes()));
        assert_eq!(secret.bytes().len(), 32);
        let json = serde_json::to_string(&secret).expect("json");
        assert_eq!(serde_json::from_str::<WebhookSecret>(&json).expect("reads"), secret);
        assert!(!format!("{secret:?}").contains(coded));
    }
}
