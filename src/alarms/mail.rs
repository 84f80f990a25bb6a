//! Alarms by mail: to whom, how often, and whether the server would take it (RFC 5321, TLS by RFC 3207 and 8314).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use decode::Timestamp;
use lettre::message::Mailbox;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Message, SmtpTransport, Transport};
use serde::{Deserialize, Serialize};

use super::sinks::{BETWEEN_TRIES, TRIES, host};
use super::{Kind, Notice, Turn};
use crate::failure::Failure;
use crate::secrets;

/// The longest that the server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most that are told.
const RECIPIENTS_MAX: usize = 20;

/// How the connection is kept from others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Security {
    /// Begun in clear and made TLS before anything is said (port 587); a server that cannot is refused.
    #[default]
    Starttls,
    /// TLS from the first byte (port 465).
    Tls,
    /// In clear: for a server on this machine. No password is sent that way.
    None,
}

/// `[alarms.mail]`: whom to write to, through which server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MailSection {
    /// The server's name; with `:port` where it is not 587, 465 or 25, as `security` has it.
    pub(crate) server: String,
    /// `starttls`, `tls` or `none`. Default `starttls`.
    #[serde(default)]
    pub(crate) security: Security,
    /// Who writes.
    pub(crate) from: String,
    /// Who is written to.
    pub(crate) to: Vec<String>,
    /// Name at the server; none is said when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// File with the password, for its owner alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password_file: Option<PathBuf>,
    /// PEM file with the authority that the server's certificate is from; those of this machine when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Minutes that lie between two mails of one alarm, at least. Default 60.
    #[serde(default = "an_hour")]
    pub(crate) interval_min: u32,
    /// Minutes between two looks whether the server would take mail; 0 for never. Default 60.
    #[serde(default = "an_hour")]
    pub(crate) check_min: u32,
}

const fn an_hour() -> u32 {
    60
}

impl MailSection {
    /// What is wrong with it, as far as that shows without its files.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.place()?;
        self.mailboxes()?;
        match (&self.user, &self.password_file) {
            (Some(_), None) => Err("user: there is no password_file".into()),
            (None, Some(_)) => Err("password_file: there is no user".into()),
            (Some(_), Some(_)) if self.security == Security::None => {
                Err("security: a password would go over the network in clear".into())
            }
            _ => Ok(()),
        }
    }

    fn place(&self) -> Result<(String, u16), String> {
        let usual = match self.security {
            Security::Starttls => 587,
            Security::Tls => 465,
            Security::None => 25,
        };
        let is_v6 = self.server.contains("]") || self.server.matches(':').count() > 1;
        let (host, port) = match self.server.rsplit_once(':') {
            Some((host, port)) if !is_v6 || host.ends_with(']') => (host, port.parse().ok()),
            _ => (self.server.as_str(), Some(usual)),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port.filter(|_| !host.is_empty() && !host.contains(char::is_whitespace));
        let port =
            port.ok_or_else(|| format!("server: {:?} is no server as mail.example.net:587", self.server))?;
        Ok((host.to_owned(), port))
    }

    fn mailboxes(&self) -> Result<(Mailbox, Vec<Mailbox>), String> {
        let mailbox = |key: &str, text: &String| {
            text.parse::<Mailbox>()
                .map_err(|error| format!("{key}: {text:?}: {error}; write it as ops@example.net"))
        };
        if !(1..=RECIPIENTS_MAX).contains(&self.to.len()) {
            return Err(format!("to: 1 to {RECIPIENTS_MAX} addresses"));
        }
        let to = self.to.iter().map(|text| mailbox("to", text)).collect::<Result<_, _>>()?;
        Ok((mailbox("from", &self.from)?, to))
    }

    /// Reads its files: whom to tell of alarms, and how.
    ///
    /// # Errors
    /// When one of them cannot be read, or holds something else.
    pub(crate) fn open(&self) -> Result<Mail, Failure> {
        let wrong = |why: String| Failure::config(format!("alarms.mail.{why}"));
        let (_, to) = self.mailboxes().map_err(wrong)?;
        Ok(Mail {
            server: self.server()?,
            to,
            spacing: Spacing::new(u64::from(self.interval_min) * 60_000),
            check_every: (self.check_min > 0).then(|| Duration::from_secs(u64::from(self.check_min) * 60)),
        })
    }

    /// Reads its files: the server alone.
    ///
    /// # Errors
    /// As [`MailSection::open`].
    pub(crate) fn server(&self) -> Result<Server, Failure> {
        let wrong = |why: String| Failure::config(format!("alarms.mail.{why}"));
        let (host, port) = self.place().map_err(wrong)?;
        let (from, _) = self.mailboxes().map_err(wrong)?;
        let mut builder =
            SmtpTransport::builder_dangerous(&host).port(port).timeout(Some(PATIENCE)).hello_name(hello());
        builder = builder.tls(match self.security {
            Security::Starttls => Tls::Required(self.trust(&host)?),
            Security::Tls => Tls::Wrapper(self.trust(&host)?),
            Security::None => Tls::None,
        });
        if let (Some(user), Some(path)) = (&self.user, &self.password_file) {
            let password = secrets::read("alarms.mail.password_file", path)?;
            builder = builder.credentials(Credentials::new(user.clone(), password.to_string()));
        }
        Ok(Server { transport: builder.build(), name: self.server.clone(), from })
    }

    fn trust(&self, host: &str) -> Result<TlsParameters, Failure> {
        let mut trust = TlsParameters::builder(host.to_owned());
        if let Some(path) = &self.ca_file {
            let wrong = |why: &dyn std::fmt::Display| {
                Failure::config(format!("alarms.mail.ca_file: {}: {why}", path.display()))
            };
            let pem = std::fs::read(path).map_err(|error| wrong(&error))?;
            let authority = Certificate::from_pem(&pem).map_err(|error| wrong(&error))?;
            trust = trust.certificate_store(CertificateStore::None).add_root_certificate(authority);
        }
        trust.build_rustls().map_err(|error| Failure::config(format!("alarms.mail: TLS: {error}")))
    }
}

/// A mail server, ready to be used, and who writes.
pub(crate) struct Server {
    pub(crate) transport: SmtpTransport,
    pub(crate) name: String,
    pub(crate) from: Mailbox,
}

/// Alarms that are told by a mail server.
pub(crate) struct Mail {
    server: Server,
    to: Vec<Mailbox>,
    spacing: Spacing,
    check_every: Option<Duration>,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("server", &self.server.name).finish_non_exhaustive()
    }
}

/// Why mail is not taken; none while it is.
pub(crate) type Trouble = Arc<Mutex<Option<String>>>;

impl Mail {
    /// Mails what comes through the queue until it ends, and looks in between whether the server would take more.
    pub(crate) fn run(mut self, queue: &Receiver<Notice>, trouble: &Trouble) {
        let server = self.server.name.clone();
        let tell = |result: Result<(), String>| {
            if let Err(error) = &result {
                tracing::error!(server, error, "alarms cannot be mailed");
            }
            *trouble.lock().unwrap_or_else(PoisonError::into_inner) = result.err();
        };
        if self.check_every.is_some() {
            tell(self.check());
        }
        // Far away where it is not looked at all.
        let check_every = self.check_every.unwrap_or(Duration::from_secs(365 * 24 * 3_600));
        loop {
            let is_behind = !self.spacing.unsent.is_empty();
            match queue.recv_timeout(if is_behind { AGAIN_EVERY.min(check_every) } else { check_every }) {
                Ok(notice) => {
                    if let Some(notice) = self.spacing.due(notice) {
                        tell(self.mail(notice));
                    }
                }
                Err(RecvTimeoutError::Timeout) if is_behind => {
                    let unsent = std::mem::take(&mut self.spacing.unsent);
                    // One is enough to find out whether the server takes mail again.
                    let mut result = Ok(());
                    for notice in unsent.into_values() {
                        match result {
                            Ok(()) => result = self.mail(notice),
                            Err(_) => self.spacing.failed(notice),
                        }
                    }
                    tell(result);
                }
                Err(RecvTimeoutError::Timeout) => tell(self.check()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Mails one; it is tried again later when that fails.
    fn mail(&mut self, notice: Notice) -> Result<(), String> {
        let result = send_surely(&self.server.transport, &self.letter(&notice));
        match result {
            Ok(()) => self.spacing.sent(&notice),
            Err(_) => self.spacing.failed(notice),
        }
        result
    }

    /// Connects, makes sure of TLS, says who we are, and sends nothing.
    fn check(&self) -> Result<(), String> {
        match self.server.transport.test_connection() {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("{} does not answer as a mail server", self.server.name)),
            Err(error) => Err(words(&error)),
        }
    }

    fn letter(&self, notice: &Notice) -> Result<Message, String> {
        let Notice { at, alarm, turn, place, words } = notice;
        let turn = match turn {
            Turn::Raised => "began",
            Turn::Lasts => "lasts",
            Turn::Cleared => "is over",
        };
        let (host, key) = (host(), alarm.key());
        let about = if place.is_empty() { String::new() } else { format!(" ({place})") };
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let mut letter = Message::builder()
            .from(self.server.from.clone())
            .subject(format!("[earwitness {host}] {key}{about} {turn}"))
            // RFC 3834: nobody's absence note answers it.
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()));
        for to in &self.to {
            letter = letter.to(to.clone());
        }
        let text = format!(
            "The alarm {key}{about} {turn}.\n\n{words}\n\nAt {at} on {host}. What each alarm means stands in docs/appliance.md.\n"
        );
        letter.body(text).map_err(|error| error.to_string())
    }
}

fn send_surely(transport: &SmtpTransport, letter: &Result<Message, String>) -> Result<(), String> {
    let letter = letter.as_ref().map_err(String::clone)?;
    let mut tried = 0;
    loop {
        let Err(error) = transport.send(letter) else { return Ok(()) };
        tried += 1;
        // What the server will not take today it will not take in a moment (RFC 5321, 4.2.1).
        if tried == TRIES || error.is_permanent() {
            return Err(words(&error));
        }
        std::thread::sleep(BETWEEN_TRIES);
    }
}

/// The error with what is behind it: "Connection error" alone helps nobody.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}

fn hello() -> ClientId {
    let host = host();
    if host == "-" { ClientId::default() } else { ClientId::Domain(host) }
}

/// Between two tries of what the server did not take.
const AGAIN_EVERY: Duration = Duration::from_secs(60);

/// An alarm, and where.
type Key = (Kind, String);

/// How often one alarm is mailed, and what could not be mailed yet.
#[derive(Debug)]
struct Spacing {
    every_ms: u64,
    /// When each alarm was mailed last, as begun or lasting.
    told: BTreeMap<Key, Timestamp>,
    /// Alarms whose beginning was mailed, and whose end is to be.
    open: BTreeSet<Key>,
    /// The latest of each alarm that the server did not take: at most one for each alarm and place.
    unsent: BTreeMap<Key, Notice>,
}

impl Spacing {
    fn new(every_ms: u64) -> Spacing {
        Spacing { every_ms, told: BTreeMap::new(), open: BTreeSet::new(), unsent: BTreeMap::new() }
    }

    /// The notice, if it is to be mailed. That an alarm is over is, when its beginning was: then nobody is left to wonder. What is not
    /// mailed by then is never.
    fn due(&mut self, notice: Notice) -> Option<Notice> {
        if notice.alarm == Kind::MailFailed {
            return None;
        }
        let key = (notice.alarm, notice.place.clone());
        self.unsent.remove(&key);
        if notice.turn == Turn::Cleared {
            return self.open.contains(&key).then_some(notice);
        }
        let last = self.told.get(&key).copied();
        let is_due =
            last.is_none_or(|last| notice.at < last || notice.at.millis_since(last) >= self.every_ms);
        is_due.then_some(notice)
    }

    fn sent(&mut self, notice: &Notice) {
        let key = (notice.alarm, notice.place.clone());
        if notice.turn == Turn::Cleared {
            self.open.remove(&key);
        } else {
            self.told.insert(key.clone(), notice.at);
            self.open.insert(key);
        }
    }

    fn failed(&mut self, notice: Notice) {
        self.unsent.insert((notice.alarm, notice.place.clone()), notice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(turn: Turn, minute: i64) -> Notice {
        let at = Timestamp::from_parts(1_795_392_000 + minute * 60, 0);
        Notice { at, alarm: Kind::PortDown, turn, place: "eth1".into(), words: "eth1 is down".into() }
    }

    #[test]
    fn an_alarm_that_comes_and_goes_is_mailed_once_an_interval_and_its_end_after_its_beginning() {
        let mut spacing = Spacing::new(3_600_000);
        for (turn, minute, due) in [
            (Turn::Raised, 0, true),
            (Turn::Cleared, 1, true),
            (Turn::Raised, 2, false),
            (Turn::Cleared, 3, false),
            (Turn::Raised, 30, false),
            (Turn::Lasts, 90, true),
            (Turn::Lasts, 149, false),
            (Turn::Lasts, 150, true),
            (Turn::Cleared, 151, true),
            (Turn::Cleared, 152, false),
        ] {
            let mailed = spacing.due(notice(turn, minute));
            mailed.iter().for_each(|notice| spacing.sent(notice));
            assert_eq!(mailed.is_some(), due, "{turn:?} at {minute}");
        }
        let other = || Notice { place: "eth2".into(), ..notice(Turn::Raised, 151) };
        assert!(spacing.due(other()).is_some(), "another adapter's is another alarm");
        let of_mail = Notice { alarm: Kind::MailFailed, ..other() };
        assert!(spacing.due(of_mail).is_none(), "it could not be mailed");
    }

    #[test]
    fn what_the_server_did_not_take_counts_as_not_mailed_and_is_kept_while_it_holds() {
        let mut spacing = Spacing::new(3_600_000);
        let begun = spacing.due(notice(Turn::Raised, 0)).expect("due");
        spacing.failed(begun);
        assert_eq!(spacing.unsent.len(), 1);
        assert!(spacing.due(notice(Turn::Cleared, 1)).is_none(), "nobody knows that it began");
        assert!(spacing.unsent.is_empty());
        let begun = spacing.due(notice(Turn::Raised, 2)).expect("not mailed yet, so due at once");
        spacing.sent(&begun);
        let over = spacing.due(notice(Turn::Cleared, 3)).expect("its beginning was mailed");
        spacing.failed(over);
        let unsent = std::mem::take(&mut spacing.unsent);
        unsent.values().for_each(|notice| spacing.sent(notice));
        assert!(spacing.due(notice(Turn::Cleared, 4)).is_none(), "it has been mailed now");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_key() {
        let read = |more: &str| {
            let text = format!("server = \"mail.example.net\"\nfrom = \"box@example.net\"\n{more}");
            let section: MailSection = toml::from_str(&text).expect("TOML");
            section.check()
        };
        let to = "to = [\"Ops <ops@example.net>\"]\n";
        assert_eq!(read(to), Ok(()));
        assert_eq!(read(&format!("{to}security = \"tls\"\nuser = \"box\"\npassword_file = \"p\"\n")), Ok(()));
        for (more, why) in [
            ("to = []\n".to_owned(), "to: 1 to"),
            ("to = [\"nobody\"]\n".to_owned(), "to: \"nobody\""),
            (format!("{to}user = \"box\"\n"), "password_file"),
            (format!("{to}password_file = \"p\"\n"), "no user"),
            (format!("{to}security = \"none\"\nuser = \"box\"\npassword_file = \"p\"\n"), "in clear"),
        ] {
            let told = read(&more).expect_err(&more);
            assert!(told.contains(why), "{told}");
        }
        let section = |server: &str, security| MailSection {
            server: server.into(),
            security,
            ..toml::from_str("server = \"\"\nfrom = \"a@b.example\"\nto = [\"a@b.example\"]\n").expect("TOML")
        };
        for (server, security, place) in [
            ("mail.example.net", Security::Starttls, Some(("mail.example.net", 587))),
            ("mail.example.net", Security::Tls, Some(("mail.example.net", 465))),
            ("mail.example.net:2525", Security::None, Some(("mail.example.net", 2525))),
            ("[2001:db8::1]:25", Security::None, Some(("2001:db8::1", 25))),
            ("2001:db8::1", Security::None, Some(("2001:db8::1", 25))),
            ("", Security::Tls, None),
            ("mail.example.net:smtp", Security::Tls, None),
        ] {
            let found = section(server, security).place().ok();
            assert_eq!(found.as_ref().map(|(host, port)| (host.as_str(), *port)), place, "{server}");
        }
    }
}
