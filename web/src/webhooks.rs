//! Webhooks: what a program is told, as JSON, and the side of whoever tells it.
//!
//! A message is of one line of the ledger and made when it is sent, of what its account may see at that moment. Who sends it, and how often it is tried,
//! is the program's ([`Webhooks`] is its side).

use std::net::IpAddr;

use axum::http::Uri;
use decode::Timestamp;
use policy::Caller;
use serde::Serialize;
use serde_json::{Value, json};
use store::{Archive, News, NewsLine, WEBHOOK_ADDRESS_MAX};

use crate::server::told_call;

/// What a test of a webhook is about.
pub const TEST_TOPIC: &str = "webhook.test";

/// Something that a program is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its number: the same each time that it is told, and no other message's.
    pub id: String,
    /// The body: `type`, `timestamp`, `data`.
    pub body: Value,
}

impl Message {
    /// What a webhook with these rights is told of a line of the ledger; nothing of what its account may not see.
    ///
    /// # Errors
    /// When the archive cannot be read.
    pub fn of(archive: &Archive, caller: &Caller, line: &NewsLine) -> Result<Option<Message>, store::Error> {
        let row = |id| match archive.row(id) {
            Ok(row) => Ok(Some(row).filter(|row| caller.admits(row))),
            // Destroyed since: that is told, too.
            Err(store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        };
        let (at, data) = match &line.news {
            News::Finished { id } => {
                let Some(row) = row(*id)? else { return Ok(None) };
                (row.facts.ended.unwrap_or(row.facts.started), json!({ "recording": row }))
            }
            News::Changed { id, event } => {
                let Some(row) = row(*id)? else { return Ok(None) };
                (event.at, json!({ "change": event, "recording": row }))
            }
            News::Deleted { id, deletion, row } => {
                // Of one of which nothing is known any more nobody can say whose it was.
                let is_theirs = row.as_deref().map_or(caller.sees_all(), |row| caller.admits(row));
                if !is_theirs {
                    return Ok(None);
                }
                (deletion.at, json!({ "id": id, "deletion": deletion }))
            }
            News::Discarded { .. } | News::Ended(_) if !caller.sees_all() => return Ok(None),
            News::Discarded { id, at, why } => (*at, json!({ "id": id, "why": why })),
            News::Ended(row) => (row.ended.unwrap_or(row.started), json!({ "call": told_call(row) })),
        };
        let id = format!("{}_{}", archive.id(), line.leaf);
        Ok(Some(Message::new(id, line.news.topic().key(), at, data)))
    }

    /// Is all of it known that a message of this line says? The hash of a file that was just finished comes a moment later.
    #[must_use]
    pub fn is_whole(archive: &Archive, line: &NewsLine) -> bool {
        let News::Finished { id } = line.news else { return true };
        archive.row(id).map_or(true, |row| !row.sha256.is_empty())
    }

    /// One by which somebody tries whether a webhook is heard.
    #[must_use]
    pub fn test(archive: &Archive, name: &str, at: Timestamp) -> Message {
        let id = format!("{}_test_{}", archive.id(), at.as_nanos());
        Message::new(id, TEST_TOPIC, at, json!({ "webhook": name }))
    }

    fn new(id: String, topic: &str, at: Timestamp, data: Value) -> Message {
        Message { id, body: json!({ "type": topic, "timestamp": at, "data": data }) }
    }
}

/// Looks at an address at which a program is to be told of calls.
///
/// # Errors
/// Why it is none, in words.
pub fn check_address(text: &str) -> Result<(), String> {
    let uri: Uri = text.parse().map_err(|e| format!("the address is none: {e}"))?;
    if text.len() > WEBHOOK_ADDRESS_MAX {
        return Err(format!("an address has {WEBHOOK_ADDRESS_MAX} bytes at most"));
    }
    let place = uri.authority().map(|place| place.as_str()).unwrap_or_default();
    if place.contains('@') {
        return Err("a name and password in the address would stand in lists and in the trail: the program knows us by the signature".into());
    }
    let host = uri.host().unwrap_or_default();
    match uri.scheme_str() {
        Some("https") if !host.is_empty() => Ok(()),
        Some("http") if is_this_machine(host) => Ok(()),
        Some("http") => Err("over http everybody on the way reads who called whom: take https, or http to this machine itself (localhost)".into()),
        _ => Err("write the address as https://crm.example.net/hooks".into()),
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// How a webhook does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WebhookState {
    /// Messages that were taken since the start.
    pub told: u64,
    /// Messages that were given up since the start, a day after the first try.
    pub given_up: u64,
    /// When one was last taken, since the start.
    pub last_told: Option<Timestamp>,
    /// When one was last not taken, and why, since the start.
    pub last_failed: Option<(Timestamp, String)>,
    /// Since when the message that is being tried is tried; none when all is told.
    pub waiting_since: Option<Timestamp>,
    /// It said that it is gone for good (410), and is told nothing until it is made anew.
    pub is_gone: bool,
}

/// The program's side.
pub trait Webhooks: Send + Sync {
    /// How the webhook of this name does.
    fn state(&self, name: &str) -> WebhookState;

    /// Tells a webhook a message of no call, once; gives the status with which it was taken.
    ///
    /// # Errors
    /// Why it was not taken, in words.
    fn test(&self, name: &str) -> Result<u16, String>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_or_this_machine_and_has_no_password() {
        for right in [
            "https://crm.example/hooks?x=1",
            "https://192.0.2.1:8443/",
            "http://localhost:9000/h",
            "http://127.0.0.1/",
            "http://[::1]:80/",
        ] {
            assert_eq!(check_address(right), Ok(()), "{right}");
        }
        for wrong in [
            "",
            "crm.example/hooks",
            "ftp://crm.example/",
            "http://crm.example/",
            "http://localhost.example/",
            "https://",
            "/hooks",
        ] {
            assert!(check_address(wrong).is_err(), "{wrong}");
        }
        let told = check_address("https://me:hidden@crm.example/").expect_err("a password");
        assert!(!told.contains("hidden"));
        assert!(check_address(&format!("https://crm.example/{}", "x".repeat(WEBHOOK_ADDRESS_MAX))).is_err());
    }
}
