//! What `earwitness run` needs beside rules and archive: ways in, pages, metrics, programs that use the API.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::tz::TimeZone;
use policy::modes::Role;
use policy::retention::Period;
use policy::rules::Hours;
use policy::smdr::PADDING;
use serde::{Deserialize, Serialize};
use web::machine::Setting;
use web::server::{Right, Token};
use zeroize::Zeroizing;

use super::Wrong;
use crate::alarms::Limits;
use crate::alarms::mail::{MailSection, Server};
use crate::alarms::sinks::{Sinks, Webhook};
use crate::canary;
use crate::failure::Failure;
use crate::feed::Admission;
use crate::http::Address;
use crate::secrets;
use crate::smdr::Ways;
use crate::sources;

/// Megabytes that a kernel buffer or the ring may have.
const BUFFER_MB: std::ops::RangeInclusive<u32> = 1..=2_000;

/// `[capture]`: adapters and agents that frames come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CaptureSection {
    /// Network adapters to record from.
    pub(crate) interfaces: Vec<String>,
    /// A BPF filter for the kernel. A filter on ports loses fragments.
    #[serde(alias = "filter")]
    pub(crate) kernel_filter: String,
    /// Bytes kept of each frame; all of them when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) snap_len: Option<u32>,
    /// The kernel's buffer of each adapter, in MB. Default 64.
    pub(crate) kernel_mb: u32,
    /// Frames that may wait for the recorder, of all adapters, in MB. Default 64.
    pub(crate) ring_mb: u32,
    /// Whose clock stamps the frames. Default `host`.
    pub(crate) time_stamps: Stamps,
    /// Addresses that HEP is taken at, over UDP and TCP.
    pub(crate) hep: Vec<SocketAddr>,
}

/// Whose clock stamps frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stamps {
    /// The kernel's.
    Host,
    /// The adapter's, where it has one that is right.
    Adapter,
}

impl Default for CaptureSection {
    fn default() -> Self {
        CaptureSection {
            interfaces: Vec::new(),
            kernel_filter: String::new(),
            snap_len: None,
            kernel_mb: 64,
            ring_mb: 64,
            time_stamps: Stamps::Host,
            hep: Vec::new(),
        }
    }
}

impl CaptureSection {
    /// Calls are captured from the loopback adapter, where the canary goes, too.
    pub(crate) fn hears_loopback(&self) -> bool {
        self.interfaces.iter().any(|name| name == canary::ADAPTER || name == "any")
    }

    pub(super) fn check(&self) -> Result<(), Wrong> {
        for (name, mb) in [("kernel_mb", self.kernel_mb), ("ring_mb", self.ring_mb)] {
            if !BUFFER_MB.contains(&mb) {
                return Err(Wrong(format!("capture.{name}: {} to {}", BUFFER_MB.start(), BUFFER_MB.end())));
            }
        }
        if self.snap_len.is_some_and(|bytes| bytes < 128) {
            return Err(Wrong("capture.snap_len: at least 128; a call's audio has to fit".into()));
        }
        Ok(())
    }
}

/// `[web]`: pages and API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WebSection {
    /// Where they are. Default `127.0.0.1:8480`, this machine alone; anywhere else they are served over HTTPS.
    pub(crate) listen: SocketAddr,
    /// HTTPS on this machine's own addresses too. Default false.
    pub(crate) https: bool,
    /// A certificate (PEM, with those between it and its authority behind it); without one the archive's folder has one that is made at
    /// the first start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<PathBuf>,
    /// Its private key: a file for its owner alone, or `credential:NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<PathBuf>,
    /// Names by which browsers reach them, besides addresses and `localhost`. The machine's own name when absent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) names: Vec<String>,
}

impl Default for WebSection {
    fn default() -> Self {
        WebSection {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8480)),
            https: false,
            certificate: None,
            key: None,
            names: Vec::new(),
        }
    }
}

impl WebSection {
    /// Are pages served over HTTPS when they are at this address?
    pub(crate) fn is_secure(&self, listen: SocketAddr) -> bool {
        self.https || self.certificate.is_some() || !listen.ip().to_canonical().is_loopback()
    }

    /// What of it a page tells.
    pub(crate) fn told(&self) -> Vec<Setting> {
        let setting = |label, key, value: String| Setting { label, value, key, with_restart: true };
        let certificate = match &self.certificate {
            Some(_) => "the site's own, from a file",
            None if self.is_secure(self.listen) => {
                "made by the recorder at its first start, kept in the archive's folder"
            }
            None => "none: served over HTTP, to this machine alone",
        };
        let names =
            if self.names.is_empty() { "this machine's own name".to_owned() } else { self.names.join(", ") };
        vec![
            setting("Address", "web.listen", self.listen.to_string()),
            setting("HTTPS", "web.https", if self.is_secure(self.listen) { "on" } else { "off" }.to_owned()),
            setting("Names by which browsers reach it", "web.names", names),
            setting("Certificate", "web.certificate", certificate.to_owned()),
        ]
    }

    pub(super) fn check(&self) -> Result<(), Wrong> {
        if self.certificate.is_some() != self.key.is_some() {
            return Err(Wrong("web.certificate and web.key go together".into()));
        }
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
        match self.names.iter().find(|name| name.is_empty() || !name.bytes().all(is_plain)) {
            Some(name) => Err(Wrong(format!(
                "web.names: {name:?} is no host name; write it as recorder.example, without scheme and port"
            ))),
            None => Ok(()),
        }
    }
}

/// `[metrics]`: figures for Prometheus, health and readiness.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MetricsSection {
    /// Where they are; nowhere when absent. They name no call and no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<SocketAddr>,
}

/// `[alarms]`: what somebody is told of, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AlarmSection {
    /// Minutes without a frame after which a way in counts as silent; 0 for never. Default 10.
    pub(crate) silent_min: u32,
    /// Minutes without a word after which what a source of facts has said is stale (`[feed]`, `[smdr]`); 0 for never. Default 60.
    pub(crate) facts_silent_min: u32,
    /// Hours in which silence counts; always when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) office_hours: Option<String>,
    /// Minutes after which a condition that lasts is told again. Default 60.
    pub(crate) repeat_min: u32,
    /// A syslog server (RFC 5424 over UDP), as `host:514`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) syslog: Option<String>,
    /// Address that each notice is posted to, as Standard Webhooks has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) webhook: Option<String>,
    /// File with the secret that notices are signed with (`whsec_` and base 64).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) webhook_secret_file: Option<PathBuf>,
    /// A drive is low when less than this is free, in percent. Default 20.
    pub(crate) disk_low_percent: u32,
    /// Whom to write to; nobody when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mail: Option<MailSection>,
}

impl Default for AlarmSection {
    fn default() -> Self {
        AlarmSection {
            silent_min: 10,
            facts_silent_min: 60,
            office_hours: None,
            repeat_min: 60,
            syslog: None,
            webhook: None,
            webhook_secret_file: None,
            disk_low_percent: 20,
            mail: None,
        }
    }
}

/// What follows from it.
#[derive(Clone, Debug)]
pub(crate) struct Alarms {
    pub(crate) limits: Limits,
    /// When what other systems have said of calls is stale.
    pub(crate) facts: sources::Limits,
    syslog: Option<String>,
    webhook: Option<Address>,
    secret_file: Option<PathBuf>,
    mail: Option<MailSection>,
}

impl AlarmSection {
    pub(super) fn resolve(self, zone: TimeZone) -> Result<Alarms, Wrong> {
        let wrong = |name: &str, why: String| Wrong(format!("alarms.{name}: {why}"));
        if self.repeat_min == 0 {
            return Err(wrong("repeat_min", "at least 1".into()));
        }
        if let Some(server) = &self.syslog
            && !server
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        {
            return Err(wrong("syslog", format!("{server:?} is no server as log.example.net:514")));
        }
        if self.webhook.is_none() && self.webhook_secret_file.is_some() {
            return Err(wrong("webhook_secret_file", "there is no webhook".into()));
        }
        if !(1..=90).contains(&self.disk_low_percent) {
            return Err(wrong("disk_low_percent", "1 to 90".into()));
        }
        if let Some(mail) = &self.mail {
            mail.check().map_err(|why| Wrong(format!("alarms.mail.{why}")))?;
        }
        let hours = self.office_hours.as_deref().map(Hours::new).transpose();
        let office_hours = hours.map_err(|why| wrong("office_hours", why))?;
        let milliseconds = |minutes: u32| u64::from(minutes) * 60_000;
        let unless_0 = |minutes: u32| Some(minutes).filter(|&minutes| minutes > 0).map(milliseconds);
        Ok(Alarms {
            facts: sources::Limits {
                silent_ms: unless_0(self.facts_silent_min),
                office_hours: office_hours.clone(),
                zone: Some(zone.clone()),
            },
            limits: Limits {
                of_canary: None,
                silent_ms: unless_0(self.silent_min),
                office_hours,
                zone,
                repeat_ms: milliseconds(self.repeat_min),
                disk_low_percent: u64::from(self.disk_low_percent),
            },
            syslog: self.syslog,
            webhook: self
                .webhook
                .map(|text| text.parse())
                .transpose()
                .map_err(|why| wrong("webhook", why))?,
            secret_file: self.webhook_secret_file,
            mail: self.mail,
        })
    }
}

impl Alarms {
    /// Where notices go; secrets are read from their files.
    pub(crate) fn sinks(&self) -> Result<Sinks, Failure> {
        let secret = |path: &PathBuf| {
            let what = "alarms.webhook_secret_file";
            let text = secrets::read(what, path)?;
            let text = text.strip_prefix("whsec_").unwrap_or(&text);
            let bytes = STANDARD.decode(text).map_err(|_| {
                Failure::config(format!("{what}: {}: whsec_ and base 64 are expected", path.display()))
            })?;
            Ok::<_, Failure>(Zeroizing::new(bytes))
        };
        let secret = self.secret_file.as_ref().map(secret).transpose()?;
        let webhook = self.webhook.clone().map(|address| Webhook { address, secret });
        let mail = self.mail.as_ref().map(MailSection::open).transpose()?;
        Ok(Sinks { syslog: self.syslog.clone(), webhook, mail })
    }

    /// The mail server, for letters that are no alarms; secrets are read from their files.
    pub(crate) fn mail_server(&self) -> Result<Option<Server>, Failure> {
        self.mail.as_ref().map(MailSection::server).transpose()
    }
}

/// `[canary]`: the call that the recorder makes to itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CanarySection {
    /// How often; never when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) every: Option<Period>,
    /// The number that it is recorded under; nobody else's. Default `0000`.
    pub(crate) extension: String,
}

impl Default for CanarySection {
    fn default() -> Self {
        CanarySection { every: None, extension: "0000".into() }
    }
}

impl CanarySection {
    pub(super) fn check(&self) -> Result<(), Wrong> {
        let is_plain =
            (1..=16).contains(&self.extension.len()) && self.extension.bytes().all(|b| b.is_ascii_digit());
        if !is_plain {
            return Err(Wrong(format!(
                "canary.extension: {:?} is no number of 1 to 16 digits",
                self.extension
            )));
        }
        Ok(())
    }

    /// Its number, if it sings at all.
    pub(super) fn number(&self) -> Option<String> {
        self.every.is_some().then(|| self.extension.clone())
    }
}

/// `[feed]`: what other systems report of calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FeedSection {
    /// Where lines are taken; nowhere when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<SocketAddr>,
    /// Who may connect; this machine alone when empty.
    pub(crate) from: Vec<IpAddr>,
    /// File with the key that a connection must begin with, for its owner alone; none is asked for when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<PathBuf>,
}

impl FeedSection {
    /// Who may report; nobody when it listens nowhere.
    pub(crate) fn admission(&self) -> Result<Option<Admission>, Failure> {
        let Some(listen) = self.listen else { return Ok(None) };
        let key = self.key_file.as_deref().map(|path| secrets::read("feed.key_file", path)).transpose()?;
        Ok(Some(Admission { listen, from: self.from.clone(), key }))
    }
}

/// `[smdr]`: call records of telephone systems, both ways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SmdrSection {
    /// Telephone systems whose records are read: we connect to them.
    pub(crate) connect: Vec<SocketAddr>,
    /// Where telephone systems connect to us; nowhere when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) take: Option<SocketAddr>,
    /// Where call loggers connect to us; nowhere when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<SocketAddr>,
    /// The call logger that we connect to; none when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) push: Option<SocketAddr>,
    /// Who may connect; this machine alone when empty.
    pub(crate) from: Vec<IpAddr>,
    /// The character that fills blank fields. Default `0`.
    pub(crate) padding: char,
}

impl Default for SmdrSection {
    fn default() -> Self {
        SmdrSection {
            connect: Vec::new(),
            take: None,
            listen: None,
            push: None,
            from: Vec::new(),
            padding: char::from(PADDING),
        }
    }
}

impl SmdrSection {
    pub(super) fn resolve(self, zone: &TimeZone) -> Result<Ways, Wrong> {
        let SmdrSection { connect, take, listen, push, from, padding } = self;
        let is_plain = (padding.is_ascii_graphic() && padding != '|') || padding == ' ';
        let padding = u8::try_from(padding).ok().filter(|_| is_plain);
        let padding =
            padding.ok_or_else(|| Wrong("smdr.padding: one character of ASCII, but no pipe".into()))?;
        Ok(Ways { connect, take, listen, push, from, padding, zone: zone.clone() })
    }
}

/// `[api]`: programs that use the API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ApiSection {
    /// A token for each.
    #[serde(rename = "token", skip_serializing_if = "Vec::is_empty")]
    pub(crate) tokens: Vec<TokenEntry>,
}

/// A program, its secret and its rights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenEntry {
    /// Its name, in events and logs.
    pub(crate) name: String,
    /// File with the token, for its owner alone.
    pub(crate) file: PathBuf,
    /// As whom it asks. Default agent.
    #[serde(default = "agent")]
    pub(crate) role: Role,
    /// What it may: `status`, `requests`, `events`, `recordings`, `calls`, `accounts`, `audit`, `rules`,
    /// `servers`.
    pub(crate) rights: Vec<Right>,
    /// The account as which it acts, where a right takes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
}

fn agent() -> Role {
    Role::Agent
}

impl ApiSection {
    /// The tokens, read from their files.
    pub(crate) fn tokens(&self) -> Result<Vec<Token>, Failure> {
        let mut names = BTreeSet::new();
        let mut read = |entry: &TokenEntry| {
            let what = format!("api.token {:?}", entry.name);
            if !names.insert(entry.name.clone()) {
                return Err(Failure::config(format!(
                    "{what}: two tokens have this name; events and logs could not tell them apart"
                )));
            }
            let secret = secrets::read(&what, &entry.file)?;
            let as_account = entry.rights.iter().find(|right| right.takes_account());
            if let (Some(right), None) = (as_account, &entry.account) {
                return Err(Failure::config(format!(
                    "{what}: the right {right} takes account = \"NAME\": whose rights it has"
                )));
            }
            let token = Token::new(&entry.name, &secret, entry.role, entry.rights.iter().copied())
                .map_err(|error| Failure::config(format!("{what}: {error}")))?;
            Ok(token.of_account(entry.account.clone()))
        };
        self.tokens.iter().map(&mut read).collect()
    }
}
