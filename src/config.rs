//! The configuration: a file as written, and the settings that follow from it.
//!
//! [`ConfigFile`] is what TOML holds, unknown keys refused. [`Settings`] is resolved and cannot be wrong.

pub(crate) mod appliance;
mod book;
mod pause;
mod people;
mod record;
mod record_a_call;
mod site;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use decode::net::Mac;
use decode::ports::Ports;
use decode::tracker::{Address, Device, Devices};
use policy::retention::{Grace, OFF_MAX_DEFAULT, Period, Rule, RuleSet};
use policy::{Cold, CustomNames, Rules};
use serde::{Deserialize, Serialize};
use store::{Archive, Take};
use web::ffmpeg::Choice;

use crate::canary;
use crate::clock;
use crate::failure::Failure;
use crate::http;
use crate::smdr::Ways;
use appliance::{
    AlarmSection, Alarms, ApiSection, CanarySection, CaptureSection, FeedSection, MetricsSection,
    SmdrSection, WebSection,
};
use pause::PauseSection;
pub(crate) use people::{AssignmentEntry, UnitEntry, UserEntry};
use record_a_call::RecordACallSection;
use site::{SiteSection, TagsSection};

pub(crate) use book::{Book, Machine, Ruling};
pub(crate) use pause::{CodeEntry, WindowEntry, WindowKind};
pub(crate) use record::{OverloadWord, RecordSection, RecordedEntry, RuleEntry};
pub(crate) use record_a_call::RecordACall;

/// A commented file with every setting at its default.
pub(crate) const COMMENTED: &str = include_str!("config.toml");

/// The file as written.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ConfigFile {
    /// Where recordings go.
    pub(crate) archive: ArchiveSection,
    /// What is known of the site.
    pub(crate) site: SiteSection,
    /// Which calls are recorded.
    pub(crate) record: RecordSection,
    /// What is left out of a recording.
    pub(crate) pause: PauseSection,
    /// What proves later that nothing was changed.
    pub(crate) evidence: EvidenceSection,
    /// Reading recordings again.
    pub(crate) scrub: ScrubSection,
    /// What `run` records from.
    pub(crate) capture: CaptureSection,
    /// Calls that a PBX sends.
    pub(crate) record_a_call: RecordACallSection,
    /// Who may send HEP.
    pub(crate) hep: HepSection,
    /// Who may report facts of calls.
    pub(crate) feed: FeedSection,
    /// Call records, in and out.
    pub(crate) smdr: SmdrSection,
    /// Pages and API.
    pub(crate) web: WebSection,
    /// Programs that use the API.
    pub(crate) api: ApiSection,
    /// Figures for a monitoring system.
    pub(crate) metrics: MetricsSection,
    /// What somebody is told of, and how.
    pub(crate) alarms: AlarmSection,
    /// The call that the recorder makes to itself.
    pub(crate) canary: CanarySection,
    /// How recordings are decoded.
    pub(crate) playback: PlaybackSection,
    /// How long recordings and call data are kept.
    pub(crate) retention: RetentionSection,
    /// What is copied to archive locations, and when.
    pub(crate) copies: CopiesSection,
    /// Archive locations, the nearest first.
    #[serde(rename = "location", skip_serializing_if = "Vec::is_empty")]
    pub(crate) locations: Vec<LocationEntry>,
    /// Which recordings are re-encoded, and to what; none when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cold: Option<Cold>,
    /// Phones that no signalling names.
    #[serde(rename = "device", skip_serializing_if = "Vec::is_empty")]
    pub(crate) devices: Vec<DeviceEntry>,
    /// Business units.
    #[serde(rename = "unit", skip_serializing_if = "Vec::is_empty")]
    pub(crate) units: Vec<UnitEntry>,
    /// The five fields of a recording that the site fills as it likes.
    pub(crate) tags: TagsSection,
    /// Users, with their extensions and agents.
    #[serde(rename = "user", skip_serializing_if = "Vec::is_empty")]
    pub(crate) users: Vec<UserEntry>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ArchiveSection {
    /// Folder of the archive; `./earwitness-archive` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dir: Option<PathBuf>,
    /// Threads that seal what is recorded. Where absent, one on a machine with processors to spare, and else none: the recorder's
    /// own thread does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sealing_threads: Option<usize>,
}

/// As many as can be meant.
const SEALING_THREADS_MAX: usize = 64;
/// Capture, recorder and disk have one processor each before sealing gets one.
const PROCESSORS_TO_SPARE: usize = 4;

impl ArchiveSection {
    fn sealing_threads(&self) -> Result<usize, Wrong> {
        match self.sealing_threads {
            Some(threads) if threads > SEALING_THREADS_MAX => {
                Err(Wrong(format!("archive.sealing_threads: at most {SEALING_THREADS_MAX}")))
            }
            Some(threads) => Ok(threads),
            None => {
                let processors = std::thread::available_parallelism().map_or(1, usize::from);
                Ok(usize::from(processors >= PROCESSORS_TO_SPARE))
            }
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EvidenceSection {
    /// Folders, best on other machines, that get a copy of each checkpoint of the ledger.
    pub(crate) checkpoints: Vec<PathBuf>,
    /// Address of a time-stamp authority; nobody is asked when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timestamp: Option<String>,
    /// How often it is asked. Default 24h.
    pub(crate) timestamp_every: Period,
}

impl Default for EvidenceSection {
    fn default() -> Self {
        let timestamp_every = Period::from_hours(24).expect("a day");
        EvidenceSection { checkpoints: Vec::new(), timestamp: None, timestamp_every }
    }
}

impl EvidenceSection {
    fn authority(&self) -> Result<Option<Stamping>, Wrong> {
        let Some(address) = &self.timestamp else { return Ok(None) };
        let authority = address.parse().map_err(|why| Wrong(format!("evidence.timestamp: {why}")))?;
        let every = Duration::from_nanos(self.timestamp_every.as_nanos().unsigned_abs());
        Ok(Some(Stamping { authority, every }))
    }
}

/// Who stamps checkpoints, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Stamping {
    pub(crate) authority: http::Address,
    pub(crate) every: Duration,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CopiesSection {
    /// Recordings are copied so long after their end; at once when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<Period>,
    /// Originals are removed so long after their end, once every location has a copy; never when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_local: Option<Period>,
    /// What is done when the archive's disk is nearly full. Default `stop`.
    pub(crate) when_full: WhenFull,
}

/// What is done when the archive's disk is nearly full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WhenFull {
    /// Nothing is removed; on a full disk recording stops until there is room.
    #[default]
    Stop,
    /// The oldest originals that every location has are removed.
    MoveOldest,
}

/// A place that copies go to: a folder or a bucket.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LocationEntry {
    /// Its name in the ledger.
    pub(crate) name: String,
    /// A folder that is there, most often a mount; this or `bucket`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) folder: Option<PathBuf>,
    /// A bucket of S3-compatible storage; this or `folder`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bucket: Option<String>,
    /// What the names of all objects in the bucket begin with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) prefix: String,
    /// The server's address; AWS when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    /// The region; `us-east-1` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// File with the access key's id and its secret, a line each; `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` in the
    /// environment when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<PathBuf>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ScrubSection {
    /// How fast, or `off`. Default 4MB/s.
    pub(crate) rate: Scrub,
}

/// Is everything read again, and how fast?
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Scrub {
    Off,
    At(Rate),
}

/// Kilobytes a second; at least 1, at most 10 GB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    kilobytes: u64,
}

impl Rate {
    pub(crate) fn bytes_per_s(self) -> u64 {
        self.kilobytes * 1000
    }
}

/// Units of a [`Rate`], in kilobytes a second.
const RATE_UNITS: [(&str, u64); 3] = [("GB/s", 1_000_000), ("MB/s", 1000), ("kB/s", 1)];
const RATE_MAX_KB: u64 = 10_000_000;

impl Default for Scrub {
    fn default() -> Self {
        Scrub::At(Rate { kilobytes: 4000 })
    }
}

impl TryFrom<String> for Scrub {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "off" {
            return Ok(Scrub::Off);
        }
        let kilobytes = RATE_UNITS.iter().find_map(|(unit, size)| {
            let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
            number.checked_mul(*size)
        });
        let kilobytes = kilobytes.filter(|kilobytes| (1..=RATE_MAX_KB).contains(kilobytes));
        let wrong = || format!("{text:?} is no rate as \"4MB/s\" (1kB/s to 10GB/s), nor \"off\"");
        kilobytes.map(|kilobytes| Scrub::At(Rate { kilobytes })).ok_or_else(wrong)
    }
}

impl From<Scrub> for String {
    fn from(scrub: Scrub) -> Self {
        let Scrub::At(Rate { kilobytes }) = scrub else { return "off".into() };
        let unit = RATE_UNITS.iter().find(|(_, size)| kilobytes.is_multiple_of(*size));
        unit.map_or_else(String::new, |(unit, size)| format!("{}{unit}", kilobytes / size))
    }
}

/// A phone that is known by its address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceEntry {
    /// Its extension's number.
    pub(crate) number: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    /// Its IP address; this or `mac`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ip: Option<IpAddr>,
    /// Its Ethernet address; this or `ip`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mac: Option<String>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PlaybackSection {
    /// The program that decodes what earwitness cannot, or `off`; the first `ffmpeg` on the path when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ffmpeg: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetentionSection {
    /// How long tightened rules wait before they delete: `1h` to `30d`, or `immediate`. Default 24h.
    pub(crate) grace: Grace,
    /// How long the machine may have been off before a person has to confirm its clock. Default 7d.
    pub(crate) off_max: Period,
    /// The rules; the first that matches decides. What none matches is kept for ever.
    #[serde(rename = "rule", skip_serializing_if = "Vec::is_empty")]
    pub(crate) rules: Vec<Rule>,
}

impl Default for RetentionSection {
    fn default() -> Self {
        RetentionSection { grace: Grace::default(), off_max: OFF_MAX_DEFAULT, rules: Vec::new() }
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HepSection {
    /// Addresses of agents, besides those of the command line.
    pub(crate) from: Vec<IpAddr>,
    /// File with the key that their packets must carry; none is asked for when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<PathBuf>,
}

impl HepSection {
    /// The key, without the line end that editors leave.
    pub(crate) fn key(&self) -> Result<Option<Vec<u8>>, Failure> {
        let Some(path) = &self.key_file else { return Ok(None) };
        let path = &crate::secrets::locate("[hep] key_file", path)?.path;
        let wrong = |why: String| Failure::config(format!("[hep] key_file {}: {why}", path.display()));
        let key = std::fs::read(path).map_err(|error| wrong(error.to_string()))?.trim_ascii_end().to_vec();
        if key.is_empty() { Err(wrong("it is empty".to_owned())) } else { Ok(Some(key)) }
    }
}

/// What follows from it.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) archive: PathBuf,
    /// Threads that seal what is recorded.
    pub(crate) sealing_threads: usize,
    pub(crate) rules: Rules,
    /// Are the SIP messages of recorded calls kept?
    pub(crate) sip: bool,
    /// Header fields that tie legs; the tracker's own choice when absent.
    pub(crate) call_headers: Option<Vec<String>>,
    /// Where checkpoints are copied.
    pub(crate) checkpoints: Vec<PathBuf>,
    /// Who stamps them.
    pub(crate) stamping: Option<Stamping>,
    /// How fast recordings are read again while it records live.
    pub(crate) scrub: Option<Rate>,
    pub(crate) hep: HepSection,
    pub(crate) capture: CaptureSection,
    /// The Record-A-Call endpoint, where there is one.
    pub(crate) record_a_call: Option<RecordACall>,
    pub(crate) feed: FeedSection,
    pub(crate) smdr: Ways,
    pub(crate) web: WebSection,
    pub(crate) api: ApiSection,
    pub(crate) metrics: MetricsSection,
    pub(crate) alarms: Alarms,
    pub(crate) canary: CanarySection,
    pub(crate) devices: Devices,
    /// Where audio is looked for.
    pub(crate) ports: Ports,
    pub(crate) ffmpeg: Choice,
    /// How people see the five fields.
    pub(crate) field_names: CustomNames,
    pub(crate) retention: Retention,
    pub(crate) cold: Option<Cold>,
    pub(crate) copies: Copies,
    /// The sections of the file that an archive's rule book takes the place of.
    pub(crate) book: Book,
    /// What the book is resolved with.
    pub(crate) machine: Machine,
}

/// Archive locations, and what is done with them. Keys of buckets are read when they are needed.
#[derive(Debug)]
pub(crate) struct Copies {
    pub(crate) rules: CopiesSection,
    pub(crate) locations: Vec<LocationEntry>,
}

/// How long recordings and call data are kept.
#[derive(Clone, Debug)]
pub(crate) struct Retention {
    pub(crate) rules: RuleSet,
    pub(crate) grace: Grace,
    /// The longest time off after which the clock is believed.
    pub(crate) off_max: Period,
}

impl Retention {
    /// Takes these rules up in the archive, with a look at the clocks.
    pub(crate) fn take_up<'a>(
        &self,
        archive: &'a Archive,
        how: Take,
    ) -> Result<store::Retention<'a>, Failure> {
        let Retention { rules, grace, off_max } = self.clone();
        Ok(archive.retention(rules, grace, off_max, clock::reading()?, how)?)
    }
}

impl RetentionSection {
    fn resolve(self) -> Result<Retention, Wrong> {
        let rules = RuleSet::new(self.rules).map_err(|error| Wrong(error.to_string()))?;
        Ok(Retention { rules, grace: self.grace, off_max: self.off_max })
    }
}

/// The rules in words, a line for each; nothing without rules.
impl std::fmt::Display for Retention {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.rules.rules().is_empty() {
            return Ok(());
        }
        writeln!(f, "retention, the first rule that matches decides:")?;
        for rule in self.rules.rules() {
            writeln!(f, "  {rule}")?;
        }
        let Retention { grace, off_max, .. } = self;
        write!(f, "  what no rule matches is kept for ever; grace {grace}, off_max {off_max}")
    }
}

/// What is wrong with a setting that TOML alone does not show.
#[derive(Debug, PartialEq)]
pub(crate) struct Wrong(String);

impl Wrong {
    /// What it is, with the key that it is about.
    pub(crate) fn words(&self) -> &str {
        &self.0
    }

    /// Where it stands.
    pub(crate) fn within(self, path: &Path) -> Failure {
        Failure::config(format!("{}: {}", path.display(), self.0))
    }
}

impl ConfigFile {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<ConfigFile, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::config(format!("{}: {error}", path.display())))?;
        ConfigFile::parse(&text).map_err(|(line, column, message)| {
            Failure::config(format!("{}, line {line}, column {column}: {message}", path.display()))
        })
    }

    /// Reads TOML; an error comes with its line and column, from 1.
    fn parse(text: &str) -> Result<ConfigFile, (usize, usize, String)> {
        read_toml(text)
    }

    /// Resolves it; `archive` comes from the command line or the environment and goes first. Rules are the file's own: an
    /// archive that has a book is ruled by that, see [`Settings::follow_book`].
    pub(crate) fn settings(self, archive: Option<PathBuf>) -> Result<Settings, Wrong> {
        let book = Book::of(&self);
        let (zone, name) = (self.site.zone()?, self.site.name()?);
        self.capture.check()?;
        self.web.check()?;
        self.canary.check()?;
        let machine = Machine { zone, name, lans: self.site.lans()?, canary: self.canary.number() };
        let Ruling { rules, sip, devices, ports, retention } = book.clone().resolve(&machine)?;
        let sealing_threads = self.archive.sealing_threads()?;
        let archive = archive.or(self.archive.dir).unwrap_or_else(|| PathBuf::from("earwitness-archive"));
        let mut alarms = self.alarms.resolve(self.site.zone()?)?;
        if self.canary.every.is_some() && !self.capture.hears_loopback() {
            alarms.limits.of_canary = Some(canary::ADAPTER.to_owned());
        }
        let smdr = self.smdr.resolve(&rules.zone)?;
        let field_names = self.tags.resolve()?;
        let ffmpeg = self.playback.ffmpeg.map_or(Choice::OnPath, |word| Choice::from_word(word.as_os_str()));
        let (call_headers, hep) = (self.site.call_headers, self.hep);
        let stamping = self.evidence.authority()?;
        let scrub = if let Scrub::At(rate) = self.scrub.rate { Some(rate) } else { None };
        let checkpoints = self.evidence.checkpoints;
        self.locations.iter().try_for_each(LocationEntry::check)?;
        let copies = Copies { rules: self.copies, locations: self.locations };
        let record_a_call = self.record_a_call.resolve()?;
        let cold = self.cold;
        Ok(Settings {
            archive,
            sealing_threads,
            rules,
            sip,
            call_headers,
            checkpoints,
            stamping,
            scrub,
            hep,
            capture: self.capture,
            record_a_call,
            feed: self.feed,
            smdr,
            web: self.web,
            api: self.api,
            metrics: self.metrics,
            alarms,
            canary: self.canary,
            devices,
            ports,
            ffmpeg,
            field_names,
            retention,
            cold,
            copies,
            book,
            machine,
        })
    }
}

/// Reads TOML; an error comes with its line and column, from 1.
fn read_toml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, (usize, usize, String)> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start).min(text.len());
        let before = text.get(..offset).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column, error.message().replace('\n', " "))
    })
}

impl LocationEntry {
    fn check(&self) -> Result<(), Wrong> {
        let wrong = |what: &str| Err(Wrong(format!("location {:?}: {what}", self.name)));
        let for_buckets = !self.prefix.is_empty()
            || self.endpoint.is_some()
            || self.region.is_some()
            || self.key_file.is_some();
        match (&self.folder, &self.bucket) {
            (Some(_), Some(_)) | (None, None) => wrong("takes either folder or bucket"),
            (Some(folder), None) if !folder.is_absolute() => wrong("its folder is no absolute path"),
            (Some(_), None) if for_buckets => wrong("prefix, endpoint, region and key_file are for buckets"),
            _ => Ok(()),
        }
    }
}

impl DeviceEntry {
    fn resolve(&self) -> Result<Device, Wrong> {
        let wrong = |what: &str| Wrong(format!("device {:?}: {what}", self.number));
        if self.number.is_empty() {
            return Err(wrong("has no number"));
        }
        let address = match (self.ip, &self.mac) {
            (Some(ip), None) => Address::Ip(ip.to_canonical()),
            (None, Some(mac)) => {
                Address::Mac(mac.parse::<Mac>().map_err(|_| wrong("its mac is no Ethernet address"))?)
            }
            _ => return Err(wrong("takes either ip or mac")),
        };
        Ok(Device { number: self.number.clone(), name: self.name.clone(), address })
    }
}

/// The settings of a configuration file, or the default ones.
pub(crate) fn settings_of(path: Option<&Path>, archive: Option<PathBuf>) -> Result<Settings, Failure> {
    match path {
        Some(path) => ConfigFile::read(path)?.settings(archive).map_err(|wrong| wrong.within(path)),
        None => ConfigFile::default().settings(archive).map_err(|wrong| wrong.within(Path::new("defaults"))),
    }
}

/// The configuration of a process that runs, as it is written now, and what follows from it.
pub(crate) fn read_again(dir: &crate::cli::ArchiveDir) -> Result<(toml::Table, Settings), Failure> {
    let file = || dir.config.as_deref().map_or_else(|| Ok(ConfigFile::default()), ConfigFile::read);
    let table = toml::Table::try_from(file()?).map_err(Failure::new)?;
    Ok((table, settings_of(dir.config.as_deref(), dir.archive.clone())?))
}

/// The settings of a command with `--archive` and `--config`. From here on, playback uses the `ffmpeg` that they name, and fields have
/// their names.
pub(crate) fn resolve(dir: &crate::cli::ArchiveDir) -> Result<Settings, Failure> {
    let from_environment =
        || std::env::var_os("EARWITNESS_ARCHIVE").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let config = crate::console::appliances_config().unwrap_or_else(|| dir.config.clone());
    let settings = settings_of(config.as_deref(), dir.archive.clone().or_else(from_environment))?;
    web::ffmpeg::choose(settings.ffmpeg.clone());
    // Beside a running recorder fields have the names that it has taken up.
    if !crate::console::is_guest() {
        web::words::name_fields(settings.field_names.clone());
    }
    Ok(settings)
}

#[cfg(test)]
mod commented;

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules that follow from a file, or what is wrong with it.
    pub(super) fn rules(text: &str) -> Result<Rules, String> {
        let file = ConfigFile::parse(text).map_err(|(_, _, message)| message)?;
        file.settings(None).map(|settings| settings.rules).map_err(|wrong| wrong.0)
    }

    #[test]
    fn a_device_has_a_number_and_one_address_that_is_no_others() {
        let read = |text: &str| ConfigFile::parse(text).expect("TOML").settings(None).map(|_| ());
        assert_eq!(read("[[device]]\nnumber = \"2001\"\nmac = \"02:00:5e:10:00:01\"\n"), Ok(()));
        for (wrong, why) in [
            ("[[device]]\nnumber = \"2001\"\n", "either ip or mac"),
            ("[[device]]\nnumber = \"\"\nip = \"192.0.2.20\"\n", "no number"),
            ("[[device]]\nnumber = \"2001\"\nmac = \"02:00\"\n", "Ethernet"),
            ("[[location]]\nname = \"nas\"\n", "either folder or bucket"),
            ("[[location]]\nname = \"nas\"\nfolder = \"mnt\"\n", "absolute"),
            ("[[location]]\nname = \"nas\"\nfolder = \"/mnt\"\nregion = \"x\"\n", "for buckets"),
            ("[site]\nlan = [\"192.0.2.0\"]\n", "subnet"),
            ("[record]\nstream_idle_s = 0\n", "stream_idle_s"),
            ("[archive]\nsealing_threads = 65\n", "at most 64"),
            ("[evidence]\ntimestamp = \"tsa.example\"\n", "evidence.timestamp"),
            ("[site]\npbx = [\"192.0.2.10\"]\n[[device]]\nnumber = \"2001\"\nip = \"192.0.2.10\"\n", "PBX"),
        ] {
            let Err(Wrong(told)) = read(wrong) else { panic!("{wrong} is taken") };
            assert!(told.contains(why), "{told}");
        }
    }

    #[test]
    fn a_scrub_rate_is_read_and_written_in_its_largest_unit() {
        let read = |text: &str| Scrub::try_from(text.to_owned());
        for (text, kilobytes) in [("4MB/s", 4000), ("500kB/s", 500), ("1 GB/s", 1_000_000)] {
            let rate = read(text).expect("a rate");
            assert_eq!(rate, Scrub::At(Rate { kilobytes }));
            assert_eq!(String::from(rate), text.replace(' ', ""));
        }
        assert_eq!(read("off"), Ok(Scrub::Off));
        for wrong in ["", "4", "4Mb/s", "0MB/s", "11GB/s", "-1MB/s", "99999999999999999999GB/s"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn retention_rules_are_read_and_what_cannot_be_meant_is_refused() {
        let read = |text: &str| ConfigFile::parse(text).expect("TOML").settings(None).map(|s| s.retention);
        let cards = "[[retention.rule]]\nname = \"cards\"\ntag = [\"card\"]\nextension = \"1000-1999\"\n\
                     direction = [\"inbound\"]\nsource = [\"record-a-call\"]\nstate = [\"interrupted\"]\n\
                     outcome = [\"no_media\"]\naudio = \"90d\"\ndata = \"7y\"\n";
        let settings = read(cards).expect("right");
        assert_eq!(
            settings.to_string(),
            "retention, the first rule that matches decides:\n  \"cards\": audio 90d, data 7y, of extension 1000-1999 and \
             direction inbound and tag card and outcome no_media and source record-a-call and state interrupted\n  \
             what no rule matches is kept for ever; grace 24h, off_max 7d"
        );
        let shown = toml::to_string(&ConfigFile::parse(cards).expect("TOML")).expect("writes");
        assert_eq!(ConfigFile::parse(&shown), ConfigFile::parse(cards));
        assert_eq!(read("").expect("right").to_string(), "");
        let immediate = read("[retention]\ngrace = \"immediate\"\noff_max = \"30d\"\n").expect("right");
        assert_eq!((immediate.grace, immediate.off_max.to_string()), (Grace::Immediate, "30d".into()));
        let Err(Wrong(told)) = read(&format!("{cards}{cards}")) else {
            panic!("two rules of one name are taken")
        };
        assert!(told.contains("\"cards\" has the name of another"), "{told}");
        let placed = cards.replace("tag = ", "site = [\"Leeds\"]\nbusiness_unit = ");
        let told = read(&placed).expect("right").to_string();
        assert!(told.contains("of site Leeds and extension 1000-1999 and business unit card and"), "{told}");
        let Err(Wrong(told)) = read(&cards.replace("7y", "89d")) else { panic!("data end before the audio") };
        assert!(told.contains("raise data"), "{told}");
        for (text, at, why) in [
            (cards.replace("90d", "90"), 9, "no number with a unit"),
            (cards.replace("inbound", "incoming"), 5, "incoming"),
            (cards.replace("tag = ", "tags = "), 3, "tags"),
            (cards.replace("data = \"7y\"\n", ""), 1, "data"),
            ("[retention]\ngrace = \"0h\"\n".into(), 2, "immediate"),
            ("[retention]\naudio = \"90d\"\n".into(), 2, "audio"),
        ] {
            let (line, _, message) = ConfigFile::parse(&text).expect_err(why);
            assert!(line == at && message.contains(why), "line {line}: {message}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        let (line, column, message) =
            ConfigFile::parse("[record]\nexclude_internel = true\n").expect_err("refused");
        assert_eq!((line, column), (2, 1));
        assert!(message.contains("exclude_internel"), "{message}");
        let (line, _, message) = ConfigFile::parse("[record]\n\ndevices = \"5-1\"\n").expect_err("refused");
        assert_eq!(line, 3);
        assert!(message.contains("backwards"), "{message}");
    }
}
