//! `[record_a_call]`: the endpoint that a PBX conferences the recorder in at (docs/record-a-call.md).

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use capture::{EndpointOptions, EndpointTls, RTP_PAIRS_MAX};
use decode::endpoint::{
    Account, Algorithm, Announcement, Demand, Options, RecordFrom, Registration, Secret, Sends,
};
use decode::tracker::{NAMED_BY_MAX, NamedBy, Subnet};
use decode::{Carrier, Codec, Endpoint};
use serde::{Deserialize, Serialize};

use super::Wrong;
use crate::clock;
use crate::failure::Failure;
use crate::secrets;

/// Largest file of an announcement, in bytes.
const ANNOUNCEMENT_BYTES_MAX: u64 = 64 << 20;
/// Names of files that an error lists.
const LISTED_MAX: usize = 20;
/// Largest file of certificates, in bytes.
const CERTIFICATE_BYTES_MAX: u64 = 1 << 20;
/// Longest name of a user, realm or domain, in bytes.
const WORD_BYTES_MAX: usize = 128;

/// As it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RecordACallSection {
    /// Where SIP is taken, over UDP and TCP; nowhere when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<SocketAddr>,
    /// Addresses or subnets of PBXs; this machine alone when empty.
    pub(crate) from: Vec<String>,
    /// Calls at the same time, for each entry of `from`. Default 8.
    pub(crate) channels: usize,
    /// Ports of RTP and RTCP. Default 12000-12100.
    pub(crate) rtp_ports: String,
    /// The address that PBXs are told to send audio to; the one that their SIP comes in at when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<IpAddr>,
    /// Encodings that are taken, by their names in SDP; all that are known when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) codecs: Option<Vec<String>>,
    /// What is sent to the parties: `nothing` or `silence`.
    pub(crate) sends: Word,
    /// It rings for so long before it answers, in milliseconds. Default 0.
    pub(crate) ring_ms: u32,
    /// A call of which nothing is heard for so long is hung up, in seconds. Default 60.
    pub(crate) silence_s: u32,
    /// Where the recorded extension is looked for in the INVITE, in this order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extension_from: Option<Vec<String>>,
    /// Folder of announcements, WAV files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) announcements: Option<PathBuf>,
    /// The file in it that is played to the parties at the beginning; none when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) announcement: Option<String>,
    /// When the recording begins: `start` or `announcement-end`.
    pub(crate) record_from: Begins,
    /// Where SIP is taken over TLS; nowhere when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_listen: Option<SocketAddr>,
    /// The certificate that is shown there, with those above it (PEM): a file or `credential:NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<PathBuf>,
    /// Its key (PEM): a file or `credential:NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<PathBuf>,
    /// Authorities (PEM) of the PBXs' certificates, for connections that we open; the system's when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) authorities: Option<PathBuf>,
    /// Addresses or subnets where conversations may be joined; none when empty.
    pub(crate) join: Vec<String>,
    /// What callers must say to be let in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<DigestSection>,
    /// Where the recorder registers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) register: Option<RegisterSection>,
}

/// `[record_a_call.digest]`: who calls must say who he is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DigestSection {
    /// What PBXs show with the question. Default `earwitness`.
    #[serde(default = "realm")]
    pub(crate) realm: String,
    /// With which hashes callers may answer, in the order in which they are asked: `sha-256`, `md5`. Default both.
    #[serde(default = "algorithms")]
    pub(crate) algorithms: Vec<Hash>,
    /// The user.
    pub(crate) user: String,
    /// The file with the password, or `credential:NAME`.
    pub(crate) password_file: PathBuf,
}

/// A hash of digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Hash {
    /// SHA-256.
    #[serde(rename = "sha-256")]
    Sha256,
    /// MD5.
    #[serde(rename = "md5")]
    Md5,
}

fn algorithms() -> Vec<Hash> {
    vec![Hash::Sha256, Hash::Md5]
}

fn realm() -> String {
    "earwitness".into()
}

/// `[record_a_call.register]`: the recorder registers at a PBX.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegisterSection {
    /// The PBX's address and port.
    pub(crate) registrar: SocketAddr,
    /// `udp`, `tcp` or `tls`. Default `udp`.
    #[serde(default)]
    pub(crate) transport: Transport,
    /// The domain of the address of record; the PBX's address when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) domain: Option<String>,
    /// The user of the address of record: the number that is called.
    pub(crate) user: String,
    /// The name beside the password, when that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) login: Option<String>,
    /// The file with the password, or `credential:NAME`; without it no question is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password_file: Option<PathBuf>,
    /// For how long, in seconds. Default 3600.
    #[serde(default = "expires_s")]
    pub(crate) expires_s: u32,
}

fn expires_s() -> u32 {
    3_600
}

/// By what a registration goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// UDP.
    #[default]
    Udp,
    /// TCP.
    Tcp,
    /// TLS.
    Tls,
}

/// What is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Word {
    /// Nothing.
    #[default]
    Nothing,
    /// Digital silence.
    Silence,
}

/// When the recording begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Begins {
    /// With the call.
    #[default]
    Start,
    /// Behind the announcement.
    AnnouncementEnd,
}

impl Default for RecordACallSection {
    fn default() -> Self {
        RecordACallSection {
            listen: None,
            from: Vec::new(),
            channels: 8,
            rtp_ports: "12000-12100".into(),
            address: None,
            codecs: None,
            sends: Word::default(),
            ring_ms: 0,
            silence_s: 60,
            extension_from: None,
            announcements: None,
            announcement: None,
            record_from: Begins::default(),
            tls_listen: None,
            certificate: None,
            key: None,
            authorities: None,
            join: Vec::new(),
            digest: None,
            register: None,
        }
    }
}

/// Files of TLS.
#[derive(Clone, Debug)]
struct TlsFiles {
    listen: SocketAddr,
    certificate: PathBuf,
    key: PathBuf,
    authorities: Option<PathBuf>,
}

/// What follows from it.
#[derive(Clone, Debug)]
pub(crate) struct RecordACall {
    listen: SocketAddr,
    rtp_ports: RangeInclusive<u16>,
    agent: Options,
    announcement: Option<PathBuf>,
    tls: Option<TlsFiles>,
    digest: Option<DigestSection>,
    register: Option<RegisterSection>,
    /// Nobody but this machine may call.
    pub(crate) is_local_only: bool,
    /// Where the recorded extension is looked for.
    pub(crate) order: Vec<NamedBy>,
}

impl RecordACallSection {
    pub(super) fn resolve(self) -> Result<Option<RecordACall>, Wrong> {
        let wrong = |name: &str, why: String| Wrong(format!("record_a_call.{name}: {why}"));
        let subnets = |name: &str, texts: &[String]| -> Result<Vec<Subnet>, Wrong> {
            let read = |text: &String| {
                subnet(text).ok_or_else(|| wrong(name, format!("{text:?} is no address or subnet")))
            };
            texts.iter().map(read).collect()
        };
        let (peers, joins) = (subnets("from", &self.from)?, subnets("join", &self.join)?);
        // What is said by somebody who is not listed is not heard, an answer neither.
        let is_peer = |ip: IpAddr| match peers.is_empty() {
            true => ip.to_canonical().is_loopback(),
            false => peers.iter().any(|subnet| subnet.contains(ip.to_canonical())),
        };
        for (text, first) in self.join.iter().filter_map(|text| Some((text, first_of(text)?))) {
            if !is_peer(first) {
                return Err(wrong("join", format!("{text}: name it in record_a_call.from as well")));
            }
        }
        let tls = self.tls(&wrong)?;
        check_words(&self, is_peer, tls.is_some(), &wrong)?;
        let rtp_ports = ports(&self.rtp_ports)
            .ok_or_else(|| wrong("rtp_ports", format!("{:?} is no range as 12000-12100", self.rtp_ports)))?;
        let pairs = usize::from(rtp_ports.end() - rtp_ports.start()).div_ceil(2);
        if pairs == 0 || pairs > RTP_PAIRS_MAX {
            return Err(wrong("rtp_ports", format!("from 2 to {} ports", 2 * RTP_PAIRS_MAX)));
        }
        if self.channels == 0 || self.channels > pairs {
            return Err(wrong(
                "channels",
                format!("1 to {pairs}, a pair of rtp_ports for each: widen rtp_ports for more"),
            ));
        }
        if !(5..=3_600).contains(&self.silence_s) {
            return Err(wrong("silence_s", "5 to 3600".into()));
        }
        if self.ring_ms > 30_000 {
            return Err(wrong("ring_ms", "at most 30000".into()));
        }
        let known = Options::all_codecs();
        let codecs = match &self.codecs {
            None => known,
            Some(names) => names
                .iter()
                .map(|name| {
                    let codec = Codec::from_name(name);
                    let words = || known.iter().map(Codec::name).collect::<Vec<_>>().join(", ");
                    let is_known = known.contains(&codec);
                    is_known
                        .then_some(codec)
                        .ok_or_else(|| wrong("codecs", format!("{name:?} is none of {}", words())))
                })
                .collect::<Result<_, _>>()?,
        };
        if codecs.is_empty() {
            return Err(wrong("codecs", "name one at least".into()));
        }
        let order = match &self.extension_from {
            None => NamedBy::default_order(),
            Some(names) => names
                .iter()
                .map(|name| {
                    NamedBy::from_name(name).ok_or_else(|| {
                        wrong("extension_from", format!("{name:?} is neither application nor a header field"))
                    })
                })
                .collect::<Result<_, _>>()?,
        };
        if order.is_empty() || order.len() > NAMED_BY_MAX {
            return Err(wrong("extension_from", format!("1 to {NAMED_BY_MAX} places")));
        }
        let announcement = match (self.announcements, self.announcement) {
            (Some(folder), Some(file)) if Path::new(&file).file_name() == Some(file.as_ref()) => {
                Some(folder.join(file))
            }
            (_, Some(file)) => {
                let why = format!(
                    "{file:?}: the name of a file in the folder that record_a_call.announcements names"
                );
                return Err(wrong("announcement", why));
            }
            (_, None) => None,
        };
        if announcement.is_none() && self.record_from == Begins::AnnouncementEnd {
            return Err(wrong(
                "record_from",
                "there is no announcement whose end could be waited for".into(),
            ));
        }
        let Some(listen) = self.listen else { return Ok(None) };
        let is_local_only = peers.is_empty();
        let agent = Options {
            peers,
            joins,
            channels: self.channels,
            codecs,
            sends: match self.sends {
                Word::Nothing => Sends::Nothing,
                Word::Silence => Sends::Silence,
            },
            record_from: match self.record_from {
                Begins::Start => RecordFrom::Start,
                Begins::AnnouncementEnd => RecordFrom::AnnouncementEnd,
            },
            ring_ms: self.ring_ms,
            silence_s: self.silence_s,
            address: self.address,
            // The ports and the seed come when it starts.
            ..Options::new(Vec::new(), [0; 32])
        };
        let (digest, register) = (self.digest, self.register);
        Ok(Some(RecordACall {
            listen,
            rtp_ports,
            agent,
            announcement,
            tls,
            digest,
            register,
            is_local_only,
            order,
        }))
    }

    fn tls(&self, wrong: &impl Fn(&str, String) -> Wrong) -> Result<Option<TlsFiles>, Wrong> {
        let (certificate, key, authorities) =
            (self.certificate.clone(), self.key.clone(), self.authorities.clone());
        match (self.tls_listen, certificate, key) {
            (Some(listen), Some(certificate), Some(key)) => {
                Ok(Some(TlsFiles { listen, certificate, key, authorities }))
            }
            (None, None, None) if authorities.is_none() => Ok(None),
            (None, ..) => Err(wrong("tls_listen", "an address and port, as 0.0.0.0:5061, is missing".into())),
            (_, None, _) => Err(wrong("certificate", "tls_listen needs a certificate".into())),
            (_, _, None) => Err(wrong("key", "tls_listen needs the certificate's key".into())),
        }
    }
}

/// Are the words of digests and of a registration such as can stand in SIP?
fn check_words(
    section: &RecordACallSection,
    is_peer: impl Fn(IpAddr) -> bool,
    has_tls: bool,
    wrong: &impl Fn(&str, String) -> Wrong,
) -> Result<(), Wrong> {
    let is_text =
        |text: &str| !text.is_empty() && text.len() <= WORD_BYTES_MAX && !text.contains(char::is_control);
    let is_word = |text: &str| {
        is_text(text)
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.!~*'&=+$,;?/%:[]".contains(&b))
    };
    if let Some(DigestSection { realm, algorithms, user, .. }) = &section.digest {
        let is_once = |hash: &Hash| algorithms.iter().filter(|other| *other == hash).count() == 1;
        if algorithms.is_empty() || !algorithms.iter().all(is_once) {
            return Err(wrong("digest.algorithms", "one or both of \"sha-256\" and \"md5\"".into()));
        }
        for (name, text) in [("digest.realm", realm), ("digest.user", user)] {
            if !is_text(text) {
                return Err(wrong(name, format!("1 to {WORD_BYTES_MAX} bytes without control characters")));
            }
        }
    }
    let Some(register) = &section.register else { return Ok(()) };
    if !is_peer(register.registrar.ip()) {
        let why = format!("{}: name it in record_a_call.from as well", register.registrar.ip());
        return Err(wrong("register.registrar", why));
    }
    if register.transport == Transport::Tls && !has_tls {
        return Err(wrong("register.transport", "tls needs tls_listen, certificate and key".into()));
    }
    for (name, text) in
        [("register.user", Some(&register.user)), ("register.domain", register.domain.as_ref())]
    {
        if text.is_some_and(|text| !is_word(text)) {
            return Err(wrong(name, "not a word that can stand in a SIP URI".into()));
        }
    }
    if register.login.as_ref().is_some_and(|login| !is_text(login)) {
        return Err(wrong(
            "register.login",
            format!("1 to {WORD_BYTES_MAX} bytes without control characters"),
        ));
    }
    if !(60..=86_400).contains(&register.expires_s) {
        return Err(wrong("register.expires_s", "60 to 86400".into()));
    }
    Ok(())
}

impl RecordACall {
    /// Address and port of SIP.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// How the endpoint starts; the announcement is read and coded here.
    pub(crate) fn options(&self) -> Result<EndpointOptions, Failure> {
        let mut agent = self.agent.clone();
        agent.announcement = self.announcement.as_deref().map(read).transpose()?.map(Arc::new);
        if let Some(DigestSection { realm, algorithms, user, password_file }) = &self.digest {
            let password = Secret::new(secrets::read("record_a_call.digest.password_file", password_file)?);
            let account = Account { user: user.clone(), password };
            let algorithm = |hash: &Hash| match hash {
                Hash::Sha256 => Algorithm::Sha256,
                Hash::Md5 => Algorithm::Md5,
            };
            let algorithms = algorithms.iter().map(algorithm).collect();
            agent.demand = Some(Demand { realm: realm.clone(), algorithms, account });
        }
        if let Some(register) = &self.register {
            let own = |registrar: SocketAddr| Endpoint::new(registrar.ip().to_canonical(), registrar.port());
            let carrier = match register.transport {
                Transport::Udp => Carrier::Udp,
                Transport::Tcp => Carrier::Tcp,
                Transport::Tls => Carrier::Tls,
            };
            let (registrar, user, expires_s) =
                (own(register.registrar), register.user.clone(), register.expires_s);
            let domain = register.domain.clone().unwrap_or_else(|| host_of(register.registrar.ip()));
            agent.registration = Some(Registration { registrar, carrier, domain, user, expires_s });
            if let Some(file) = &register.password_file {
                let password = Secret::new(secrets::read("record_a_call.register.password_file", file)?);
                let user = register.login.clone().unwrap_or_else(|| register.user.clone());
                agent.account = Some(Account { user, password });
            }
        }
        let tls = self.tls.as_ref().map(TlsFiles::read).transpose()?;
        getrandom::fill(&mut agent.seed)
            .map_err(|error| Failure::new(format!("the system gives no random numbers: {error}")))?;
        let (listen, rtp_ports) = (self.listen, self.rtp_ports.clone());
        Ok(EndpointOptions { listen, tls, rtp_ports, agent, now: clock::now })
    }
}

impl TlsFiles {
    fn read(&self) -> Result<EndpointTls, Failure> {
        let certificate = read_certificates("record_a_call.certificate", &self.certificate)?;
        let key = secrets::read("record_a_call.key", &self.key)?;
        let authorities = match &self.authorities {
            Some(path) => {
                let pem = read_certificates("record_a_call.authorities", path)?;
                EndpointTls::authorities(&pem).map_err(|why| {
                    Failure::config(format!("record_a_call.authorities: {}: {why}", path.display()))
                })?
            }
            None => rustls_native_certs::load_native_certs().certs.iter().map(|one| one.to_vec()).collect(),
        };
        EndpointTls::new(self.listen, &certificate, key.as_bytes(), &authorities)
            .map_err(|why| Failure::config(format!("record_a_call.certificate: {why}")))
    }
}

fn read_certificates(what: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    let path = secrets::locate(what, path)?.path;
    let wrong = |why: String| Failure::config(format!("{what}: {}: {why}", path.display()));
    let length = std::fs::metadata(&path).map_err(|error| wrong(error.to_string()))?.len();
    if length > CERTIFICATE_BYTES_MAX {
        return Err(wrong(format!("it is larger than {} MB", CERTIFICATE_BYTES_MAX >> 20)));
    }
    std::fs::read(&path).map_err(|error| wrong(error.to_string()))
}

/// An address as a URI has it.
fn host_of(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// The address that a text of an address or subnet begins with.
fn first_of(text: &str) -> Option<IpAddr> {
    text.trim().split('/').next()?.parse().ok()
}

/// One address, or a subnet.
fn subnet(text: &str) -> Option<Subnet> {
    let text = text.trim();
    match text.parse::<IpAddr>() {
        Ok(ip) => {
            let ip = ip.to_canonical();
            format!("{ip}/{}", if ip.is_ipv4() { 32 } else { 128 }).parse().ok()
        }
        Err(_) => text.parse().ok(),
    }
}

/// `12000-12100`.
fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-')?;
    let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    // A pair begins with an even port.
    let first = first.checked_next_multiple_of(2).filter(|&first| first > 0)?;
    (first < last).then_some(first..=last)
}

/// An announcement; where it is not there, the error names those that are.
fn read(path: &Path) -> Result<Announcement, Failure> {
    let wrong =
        |why: String| Failure::config(format!("record_a_call.announcement: {}: {why}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| wrong(format!("{error}{}", beside(path))))?.len();
    if length > ANNOUNCEMENT_BYTES_MAX {
        return Err(wrong(format!("it is larger than {} MB", ANNOUNCEMENT_BYTES_MAX >> 20)));
    }
    let file = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    Announcement::from_wav(&file).map_err(|error| wrong(error.to_string()))
}

fn beside(path: &Path) -> String {
    let entries = path.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    let mut names: Vec<String> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.to_ascii_lowercase().ends_with(".wav"))
        .collect();
    names.sort();
    names.truncate(LISTED_MAX);
    if names.is_empty() { String::new() } else { format!("; there are {}", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::super::ConfigFile;
    use super::*;

    fn resolved(text: &str) -> Result<Option<RecordACall>, String> {
        let file = ConfigFile::parse(&format!("[record_a_call]\n{text}\n")).expect("TOML");
        file.settings(None).map(|settings| settings.record_a_call).map_err(|Wrong(why)| why)
    }

    #[test]
    fn it_is_off_unless_it_is_told_where_to_listen() {
        assert!(resolved("").expect("right").is_none());
        let on = resolved("listen = \"0.0.0.0:5060\"").expect("right").expect("on");
        assert!(on.is_local_only);
        assert_eq!((on.agent.channels, on.rtp_ports.clone()), (8, 12_000..=12_100));
        let listed = "listen = \"0.0.0.0:5060\"\nfrom = [\"192.0.2.10\", \"2001:db8::/32\"]\nchannels = 50";
        let on = resolved(listed).expect("right").expect("on");
        assert!(!on.is_local_only && on.agent.peers.len() == 2);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_name() {
        for (text, why) in [
            ("from = [\"pbx.example\"]", "record_a_call.from: \"pbx.example\""),
            ("rtp_ports = \"12100-12000\"", "record_a_call.rtp_ports"),
            ("rtp_ports = \"10000-60000\"", "record_a_call.rtp_ports"),
            ("channels = 0", "record_a_call.channels"),
            ("channels = 51", "widen rtp_ports"),
            ("silence_s = 1", "record_a_call.silence_s"),
            ("ring_ms = 60000", "record_a_call.ring_ms"),
            ("codecs = [\"PCMA\", \"MP3\"]", "\"MP3\" is none of PCMA"),
            ("codecs = []", "record_a_call.codecs"),
            ("extension_from = [\"a b\"]", "record_a_call.extension_from"),
            ("extension_from = []", "record_a_call.extension_from"),
            ("announcement = \"a.wav\"", "record_a_call.announcement"),
            ("announcements = \"/x\"\nannouncement = \"../a.wav\"", "record_a_call.announcement"),
            ("record_from = \"announcement-end\"", "record_a_call.record_from"),
            ("tls_listen = \"0.0.0.0:5061\"", "record_a_call.certificate"),
            ("tls_listen = \"0.0.0.0:5061\"\ncertificate = \"a.pem\"", "record_a_call.key"),
            ("certificate = \"a.pem\"\nkey = \"b.pem\"", "record_a_call.tls_listen"),
            ("join = [\"192.0.2.20\"]", "record_a_call.join: 192.0.2.20: name it in record_a_call.from"),
            ("join = [\"media.example\"]", "record_a_call.join: \"media.example\""),
            ("[record_a_call.digest]\nuser = \"\"\npassword_file = \"p\"", "record_a_call.digest.user"),
            (
                "[record_a_call.digest]\nuser = \"a\"\npassword_file = \"p\"\nalgorithms = []",
                "record_a_call.digest.algorithms",
            ),
            (
                "[record_a_call.digest]\nuser = \"a\"\npassword_file = \"p\"\nalgorithms = [\"md5\", \"md5\"]",
                "record_a_call.digest.algorithms",
            ),
            (
                "[record_a_call.register]\nregistrar = \"192.0.2.10:5060\"\nuser = \"5999\"",
                "record_a_call.register.registrar: 192.0.2.10: name it",
            ),
            (
                "[record_a_call.register]\nregistrar = \"127.0.0.1:5060\"\nuser = \"a b\"",
                "record_a_call.register.user",
            ),
            (
                "[record_a_call.register]\nregistrar = \"127.0.0.1:5060\"\nuser = \"a\"\ntransport = \"tls\"",
                "record_a_call.register.transport",
            ),
            (
                "[record_a_call.register]\nregistrar = \"127.0.0.1:5060\"\nuser = \"a\"\nexpires_s = 5",
                "record_a_call.register.expires_s",
            ),
        ] {
            let told = resolved(text).expect_err(text);
            assert!(told.contains(why), "{text}: {told}");
        }
    }

    #[test]
    fn an_announcement_that_is_not_there_or_wrong_is_told_with_what_there_is() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("other.wav"), b"RIFF").expect("written");
        let told = |file: &str| {
            let text = format!(
                "listen = \"127.0.0.1:5060\"\nannouncements = {:?}\nannouncement = {file:?}",
                folder.path()
            );
            resolved(&text).expect("right").expect("on").options().expect_err("refused").to_string()
        };
        assert!(told("recorded.wav").contains("there are other.wav"), "{}", told("recorded.wav"));
        assert!(told("other.wav").contains("it is no WAV file"), "{}", told("other.wav"));
    }
}
