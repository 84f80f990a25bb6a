//! The rule book: the part of the configuration that an administrator edits, as a document of its own.
//!
//! An archive without a book is ruled by the same sections of the configuration file; one with a book by that alone. What the
//! machine is (folders, adapters, keys, its clock) stays in the file.

use std::path::Path;

use decode::ports::{PortRange, Ports};
use decode::tracker::{Device, Devices, Subnet};
use jiff::tz::TimeZone;
use policy::{Pattern, Rules, Site};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use store::{Archive, BookVersion};

use super::pause::PauseSection;
use super::people::{UnitEntry, UserEntry};
use super::record::{DialPlanSection, RecordSection, RecordedEntry};
use super::{ConfigFile, DeviceEntry, Retention, RetentionSection, Settings, Wrong, read_toml};
use crate::failure::Failure;

/// The document. Its canonical text is what it serializes to. A section that is added here is kept, compared, exported, imported and
/// rolled back with the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Book {
    /// Who is an extension, and how numbers are dialled.
    pub(crate) site: SiteRules,
    /// Which calls are recorded.
    pub(crate) record: RecordSection,
    /// What is left out of a recording.
    pub(crate) pause: PauseSection,
    /// How long recordings and call data are kept.
    pub(crate) retention: RetentionSection,
    /// Phones that no signalling names.
    #[serde(rename = "device", skip_serializing_if = "Vec::is_empty")]
    pub(crate) devices: Vec<DeviceEntry>,
    /// The tree of business units.
    #[serde(rename = "unit", skip_serializing_if = "Vec::is_empty")]
    pub(crate) units: Vec<UnitEntry>,
    /// Users, with their extensions and agents over time.
    #[serde(rename = "user", skip_serializing_if = "Vec::is_empty")]
    pub(crate) users: Vec<UserEntry>,
}

/// What an administrator edits of `[site]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SiteRules {
    /// Numbers of the site's extensions; told by evidence when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extensions: Option<Pattern>,
    /// Addresses of the PBX.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) pbx: Vec<IpAddr>,
    /// UDP ports that carry audio; all of them when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rtp_ports: Vec<PortRange>,
    /// Addresses that calls of the public network come from and go to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) trunks: Vec<IpAddr>,
    /// How numbers are dialled.
    pub(crate) dial_plan: DialPlanSection,
}

/// What of the machine the book is resolved with; stays in the configuration file.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// The clock on the wall, for rules on time and the days of people's devices.
    pub(crate) zone: TimeZone,
    /// The site's name.
    pub(crate) name: Option<String>,
    /// Subnets that the PBX reaches without a router.
    pub(crate) lans: Vec<Subnet>,
    /// The number of the call that the recorder makes to itself, if it does: an extension, and recorded, whatever the book says.
    pub(crate) canary: Option<String>,
}

/// What follows from a book.
#[derive(Debug)]
pub(crate) struct Ruling {
    pub(crate) rules: Rules,
    /// Are the SIP messages of recorded calls kept?
    pub(crate) sip: bool,
    pub(crate) devices: Devices,
    /// Where audio is looked for.
    pub(crate) ports: Ports,
    pub(crate) retention: Retention,
}

impl Book {
    /// The sections of a configuration file.
    pub(crate) fn of(file: &ConfigFile) -> Book {
        let site = &file.site;
        Book {
            site: SiteRules {
                extensions: site.extensions.clone(),
                pbx: site.pbx.clone(),
                rtp_ports: site.rtp_ports.clone(),
                trunks: site.trunks.clone(),
                dial_plan: site.dial_plan.clone(),
            },
            record: file.record.clone(),
            pause: file.pause.clone(),
            retention: file.retention.clone(),
            devices: file.devices.clone(),
            units: file.units.clone(),
            users: file.users.clone(),
        }
    }

    /// Reads a file that holds a book and nothing else.
    pub(crate) fn read(path: &Path) -> Result<Book, Failure> {
        let text = crate::console::read_to_string(path)
            .map_err(|error| Failure::config(format!("{}: {error}", path.display())))?;
        Book::parse(&text, &path.display().to_string())
    }

    /// Reads TOML that stands in this place.
    fn parse(text: &str, place: &str) -> Result<Book, Failure> {
        Book::of_text(text).map_err(|(line, column, message)| {
            Failure::config(format!("{place}, line {line}, column {column}: {message}"))
        })
    }

    /// Reads TOML; an error comes with its line and column, from 1.
    pub(crate) fn of_text(text: &str) -> Result<Book, (usize, usize, String)> {
        read_toml(text)
    }

    /// A version of the archive's book.
    pub(crate) fn of_version(version: &BookVersion) -> Result<Book, Failure> {
        Book::parse(&version.text, &format!("rule book, version {}", version.version))
    }

    /// As it is kept: every key that is set, in one order, without comments.
    pub(crate) fn text(&self) -> Result<String, Failure> {
        toml::to_string(self).map_err(Failure::new)
    }

    /// The sections that say something else than what holds without them.
    pub(crate) fn sections(&self) -> Vec<&'static str> {
        let fresh = Book::default();
        let told = [
            ("[site] extensions, pbx, rtp_ports, trunks", self.site.is_about_lines()),
            ("[site.dial_plan]", self.site.dial_plan != fresh.site.dial_plan),
            ("[record]", self.record != fresh.record),
            ("[pause]", self.pause != fresh.pause),
            ("[retention]", self.retention != fresh.retention),
            ("[[device]]", self.devices != fresh.devices),
            ("[[unit]]", self.units != fresh.units),
            ("[[user]]", self.users != fresh.users),
        ];
        told.into_iter().filter(|(_, is_told)| *is_told).map(|(name, _)| name).collect()
    }

    /// Resolves it.
    pub(crate) fn resolve(mut self, machine: &Machine) -> Result<Ruling, Wrong> {
        if let Some(number) = &machine.canary {
            self.admit_canary(number)?;
        }
        let devices = self.known_devices(machine)?;
        let SiteRules { extensions, pbx, rtp_ports, trunks, dial_plan } = self.site;
        let ports = Ports::new(rtp_ports).map_err(|error| Wrong(format!("site.rtp_ports: {error}")))?;
        let name = machine.name.clone();
        let site = Site { name, extensions, pbx, trunks, dial_plan: dial_plan.resolve()? };
        let sip = self.record.sip;
        let mut rules = self.record.resolve(site, machine.zone.clone())?;
        rules.people = super::people::resolve(&self.units, &self.users, &machine.zone)?;
        self.pause.resolve(&mut rules)?;
        Ok(Ruling { rules, sip, devices, ports, retention: self.retention.resolve()? })
    }

    /// The number of the recorder's own calls is an extension, and recorded with the least priority.
    fn admit_canary(&mut self, number: &str) -> Result<(), Wrong> {
        let wrong = |error| Wrong(format!("canary.extension: {error}"));
        if let Some(extensions) = &mut self.site.extensions
            && !extensions.matches(number)
        {
            *extensions = format!("{extensions},{number}").parse().map_err(wrong)?;
        }
        if !self.record.entries.is_empty() || self.record.devices.is_some() {
            let entry = RecordedEntry::new(number.parse().map_err(wrong)?);
            self.record
                .entries
                .insert(0, RecordedEntry { name: "canary".into(), priority: Some(9), ..entry });
        }
        Ok(())
    }

    fn known_devices(&self, machine: &Machine) -> Result<Devices, Wrong> {
        let mut list: Vec<Device> =
            self.devices.iter().map(DeviceEntry::resolve).collect::<Result<_, _>>()?;
        for entry in self.record.addressed() {
            list.push(entry.resolve()?);
        }
        if !(1..=86_400).contains(&self.record.stream_idle_s) {
            return Err(Wrong("record.stream_idle_s: 1 to 86400 seconds".into()));
        }
        let devices =
            Devices::new(list, self.site.pbx.clone()).map_err(|error| Wrong(format!("device: {error}")))?;
        let idle_ms = i64::from(self.record.stream_idle_s) * 1_000;
        Ok(devices.with_lans(machine.lans.clone()).with_idle_ms(idle_ms))
    }
}

impl SiteRules {
    fn is_about_lines(&self) -> bool {
        self.extensions.is_some()
            || !self.pbx.is_empty()
            || !self.rtp_ports.is_empty()
            || !self.trunks.is_empty()
    }
}

impl Settings {
    /// From now on the archive's book decides, if it has one, and no section of the file. Says whether it has.
    pub(crate) fn follow_book(&mut self, archive: &Archive) -> Result<bool, Failure> {
        let Some(ruling) = Ruling::in_force(archive, &self.machine)? else { return Ok(false) };
        let Ruling { rules, sip, devices, ports, retention } = ruling;
        (self.rules, self.sip, self.devices, self.retention) = (rules, sip, devices, retention);
        self.ports = ports;
        Ok(true)
    }
}

impl Ruling {
    /// What the archive's book says now; none without one.
    pub(crate) fn in_force(archive: &Archive, machine: &Machine) -> Result<Option<Ruling>, Failure> {
        let Some(version) = archive.book()? else { return Ok(None) };
        Book::of_version(&version)?.ruling(machine, version.version).map(Some)
    }
}

impl Book {
    /// Resolves what is or becomes this version of the book.
    pub(crate) fn ruling(self, machine: &Machine, version: u64) -> Result<Ruling, Failure> {
        self.resolve(machine)
            .map_err(|wrong| wrong.within(Path::new(&format!("rule book, version {version}"))))
    }
}
