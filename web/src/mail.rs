//! Letters with recordings: what is handed to whoever brings them to a mail server, and to whom they may go.
//!
//! Nothing here speaks to a server ([`Post`] is the program's side). An address is looked at before anything is made for it, and has nothing in it
//! that could end a line of a letter's header.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Bytes of an address (RFC 5321, 4.5.3.1.3, without its brackets).
const ADDRESS_MAX: usize = 254;
/// Bytes of what stands before its sign (4.5.3.1.1).
const LOCAL_MAX: usize = 64;
/// Bytes of a part of a domain (RFC 1035, 2.3.4).
const LABEL_MAX: usize = 63;

/// Where a letter goes: a plain address (RFC 5321, 4.1.2), without a name and without quotes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(String);

/// It is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write an address as ann@example.net, without a name")]
pub struct NoAddress;

impl Address {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Address, NoAddress> {
        let (local, domain) = text.rsplit_once('@').ok_or(NoAddress)?;
        let is_atom = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
        };
        let is_label = |part: &str| {
            (1..=LABEL_MAX).contains(&part.len())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !part.starts_with('-')
                && !part.ends_with('-')
        };
        let is_one = text.len() <= ADDRESS_MAX
            && local.len() <= LOCAL_MAX
            && local.split('.').all(is_atom)
            && domain.split('.').all(is_label);
        is_one.then(|| Address(text.to_owned())).ok_or(NoAddress)
    }
}

/// A file that goes with a letter.
#[derive(Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its name: letters, digits and dots.
    pub name: String,
    /// Its media type.
    pub media_type: &'static str,
    /// What is in it; letters to several share it.
    pub bytes: Arc<[u8]>,
}

/// A letter to one addressee.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// To whom.
    pub to: Address,
    /// To whom an answer goes: the person who sends it, where their address is known.
    pub reply_to: Option<Address>,
    /// What it is about, on one line.
    pub subject: String,
    /// Plain text. A link in it lets its holder fetch recordings: it goes nowhere else.
    pub text: String,
    /// A file.
    pub attachment: Option<Attachment>,
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attachment { name, media_type, bytes } = self;
        f.debug_struct("Attachment")
            .field("name", name)
            .field("media_type", media_type)
            .field("len", &bytes.len())
            .finish()
    }
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letter")
            .field("to", &self.to)
            .field("attachment", &self.attachment)
            .finish_non_exhaustive()
    }
}

/// Why a letter was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct NotTaken {
    /// In words.
    pub why: String,
    /// It is the server that does not answer, and not this letter that it refuses: others need not be tried.
    pub of_server: bool,
}

/// The program's side.
pub trait Post: Send + Sync {
    /// Is there a server that letters could go to?
    fn is_open(&self) -> bool;

    /// Brings a letter to the server; returns when the server has taken it.
    ///
    /// # Errors
    /// [`NotTaken`].
    fn send(&self, letter: &Letter) -> Result<(), NotTaken>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_plain_and_nothing_in_it_ends_a_line() {
        for right in [
            "ann@example.net",
            "ann.b+calls@mail.example.co.uk",
            "o'neill@example.net",
            "root@localhost",
            "x@xn--bcher-kva.example",
        ] {
            assert_eq!(right.parse::<Address>().map(|address| address.to_string()), Ok(right.to_owned()));
        }
        let long = format!("{}@example.net", "x".repeat(65));
        for wrong in [
            "",
            "ann",
            "@example.net",
            "ann@",
            "Ann <ann@example.net>",
            "ann@example.net, bob@example.net",
            "ann@example.net\r\nBcc: all@example.net",
            "ann\n@example.net",
            "ann@example.net\n",
            "a b@example.net",
            "\"a\"@example.net",
            ".ann@example.net",
            "ann..b@example.net",
            "ann@-example.net",
            "ann@example..net",
            "ann@example.net.",
            "ann@[127.0.0.1]",
            "ann@b\u{fc}cher.example",
            "ann@example.net>",
            &long,
            &format!("ann@{}.net", "x".repeat(64)),
            &format!("ann@{}net", "x.".repeat(130)),
        ] {
            assert_eq!(wrong.parse::<Address>(), Err(NoAddress), "{wrong:?}");
        }
    }

    #[test]
    fn what_a_letter_says_is_in_no_log() {
        let letter = Letter {
            to: "ann@example.net".parse().expect("an address"),
            reply_to: None,
            subject: "hidden".into(),
            text: "hidden".into(),
            attachment: None,
        };
        assert!(!format!("{letter:?}").contains("hidden"));
    }
}
