//! `[record]` and what belongs to it: recorded devices, lists of inclusion and exclusion, channels, the dial plan.

use std::net::IpAddr;

use decode::tracker::STREAM_IDLE_MS;
use jiff::tz::TimeZone;
use policy::devices::DEVICES_MAX;
use policy::numbers::{DialPlanError, EXTENSION_DIGITS};
use policy::rules::RULES_MAX;
use policy::{
    DialPlan, ListRule, Mode, Overload, Pattern, Priority, RecordedDevice, RecordedDevices, RuleType, Rules,
    Site,
};
use serde::{Deserialize, Serialize};
use store::Source;

use super::{DeviceEntry, Wrong};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RecordSection {
    /// Extensions that are recorded, always and with middle priority; every one when neither this nor an entry is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) devices: Option<Pattern>,
    /// Calls between extensions are not recorded. Default false.
    pub(crate) exclude_internal: bool,
    /// Audio of a call that is never answered is kept. Default true.
    pub(crate) unanswered: bool,
    /// The SIP messages of a recorded call are kept with it. Default true.
    pub(crate) sip: bool,
    /// Seconds of silence after which a call without signalling is over. Default 30.
    pub(crate) stream_idle_s: u32,
    /// Recordings at the same moment; any number when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) channels: Option<u32>,
    /// What happens to a call that finds no channel free. Default refuse.
    pub(crate) overload: OverloadWord,
    /// Recorded devices one by one; the first that names a number decides.
    #[serde(rename = "device", skip_serializing_if = "Vec::is_empty")]
    pub(crate) entries: Vec<RecordedEntry>,
    /// What is recorded whatever the exclusions say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) include: Vec<RuleEntry>,
    /// What is not recorded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) exclude: Vec<RuleEntry>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OverloadWord {
    #[default]
    Refuse,
    TakeFromLeastImportant,
}

/// A recorded device, or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordedEntry {
    /// Their numbers: one, ranges, wildcards.
    pub(crate) number: Pattern,
    /// The entry's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    /// The phone's IP address, if no SIP names it; with a single number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ip: Option<IpAddr>,
    /// The phone's Ethernet address, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mac: Option<String>,
    /// `mirror` or `record-a-call`; either when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<Source>,
    /// What is recorded by itself. Default always.
    #[serde(default)]
    pub(crate) mode: Mode,
    /// 1 the most important, 9 the least. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) priority: Option<u8>,
}

/// A rule of inclusion or exclusion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleEntry {
    /// What it is about.
    #[serde(rename = "type")]
    pub(crate) kind: RuleType,
    /// Which values.
    pub(crate) value: String,
    /// Why it is there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
}

/// How numbers are dialled at the site; nothing is cleaned without any of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DialPlanSection {
    /// Two letters of the country whose rules apply to numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) country: Option<String>,
    /// The own area code, for numbers that are dialled without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) area_code: Option<String>,
    /// What stands before a DDI that the trunk cuts short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ddi_prefix: Option<String>,
    /// What is dialled before an outside number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) outbound_prefixes: Vec<String>,
    /// Longest extension, in digits. Default 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extension_digits: Option<usize>,
    /// Length of a national number, in digits, area code and toll digit included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) national_digits: Option<usize>,
}

impl Default for RecordSection {
    fn default() -> Self {
        RecordSection {
            devices: None,
            exclude_internal: false,
            unanswered: true,
            sip: true,
            stream_idle_s: (STREAM_IDLE_MS / 1_000) as u32,
            channels: None,
            overload: OverloadWord::Refuse,
            entries: Vec::new(),
            include: Vec::new(),
            exclude: Vec::new(),
        }
    }
}

impl RecordSection {
    /// The rules that follow from it.
    pub(super) fn resolve(self, site: Site, zone: TimeZone) -> Result<Rules, Wrong> {
        let mut entries: Vec<RecordedDevice> =
            self.entries.iter().map(RecordedEntry::resolve).collect::<Result<_, _>>()?;
        entries.extend(self.devices.map(RecordedDevice::new));
        if entries.len() > DEVICES_MAX {
            return Err(Wrong(format!("record.device: more than {DEVICES_MAX} entries")));
        }
        Ok(Rules {
            site,
            devices: RecordedDevices::new(entries),
            exclude_internal: self.exclude_internal,
            include: list("include", &self.include)?,
            exclude: list("exclude", &self.exclude)?,
            channels: self.channels.map(|channels| channels as usize),
            overload: match self.overload {
                OverloadWord::Refuse => Overload::Refuse,
                OverloadWord::TakeFromLeastImportant => Overload::TakeFromLeastImportant,
            },
            keep_unanswered: self.unanswered,
            zone,
            ..Rules::default()
        })
    }

    /// The recorded devices whose address is given: phones that no SIP names.
    pub(super) fn addressed(&self) -> impl Iterator<Item = DeviceEntry> {
        let addressed = self.entries.iter().filter(|entry| entry.ip.is_some() || entry.mac.is_some());
        addressed.map(|entry| DeviceEntry {
            number: entry.number.to_string(),
            name: entry.name.clone(),
            ip: entry.ip,
            mac: entry.mac.clone(),
        })
    }
}

impl RecordedEntry {
    /// Always recorded, of middle importance.
    pub(crate) fn new(number: Pattern) -> RecordedEntry {
        let (name, ip, mac, source, priority) = (String::new(), None, None, None, None);
        RecordedEntry { number, name, ip, mac, source, mode: Mode::Always, priority }
    }

    fn resolve(&self) -> Result<RecordedDevice, Wrong> {
        let number = self.number.to_string();
        let wrong = |what: String| Wrong(format!("record.device {number:?}: {what}"));
        let is_one = number.bytes().all(|b| b.is_ascii_alphanumeric() || b"*#.".contains(&b));
        if (self.ip.is_some() || self.mac.is_some()) && !is_one {
            return Err(wrong("an address belongs to a single number".into()));
        }
        if self.source == Some(Source::Import) {
            return Err(wrong("source is mirror or record-a-call".into()));
        }
        let priority = match self.priority {
            None => Priority::default(),
            Some(level) => Priority::new(level).ok_or_else(|| wrong("priority is 1 to 9".into()))?,
        };
        let (numbers, name) = (self.number.clone(), self.name.clone());
        Ok(RecordedDevice { numbers, name, source: self.source, mode: self.mode, priority })
    }
}

fn list(which: &str, entries: &[RuleEntry]) -> Result<Vec<ListRule>, Wrong> {
    if entries.len() > RULES_MAX {
        return Err(Wrong(format!("record.{which}: more than {RULES_MAX} rules")));
    }
    let rule = |(entry, n): (&RuleEntry, usize)| {
        ListRule::new(entry.kind, &entry.value, &entry.description)
            .map_err(|error| Wrong(format!("record.{which}, rule {n}: {error}")))
    };
    entries.iter().zip(1..).map(rule).collect()
}

impl DialPlanSection {
    pub(super) fn resolve(&self) -> Result<Option<DialPlan>, Wrong> {
        if *self == DialPlanSection::default() {
            return Ok(None);
        }
        let wrong =
            |key: &'static str| move |error: DialPlanError| Wrong(format!("site.dial_plan.{key}: {error}"));
        let mut plan = DialPlan::default()
            .with_ddi_prefix(self.ddi_prefix.as_deref().unwrap_or_default())
            .map_err(wrong("ddi_prefix"))?
            .with_outbound_prefixes(&self.outbound_prefixes)
            .map_err(wrong("outbound_prefixes"))?;
        plan.extension_digits = self.extension_digits.unwrap_or(EXTENSION_DIGITS);
        plan.national_digits = self.national_digits;
        let area_code = self.area_code.as_deref().unwrap_or_default();
        match &self.country {
            Some(country) => plan.in_country(country, area_code).map(Some).map_err(wrong("country")),
            None if area_code.is_empty() => Ok(Some(plan)),
            None => Err(Wrong("site.dial_plan.area_code: say the country, too".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::rules;
    use super::*;

    #[test]
    fn entries_go_before_the_plain_list_and_keep_their_order() {
        let rules = rules(
            "[record]\ndevices = \"1000-1999\"\nchannels = 8\noverload = \"take_from_least_important\"\n\
             [[record.device]]\nnumber = \"1003\"\nmode = \"never\"\n\
             [[record.device]]\nnumber = \"18%5,2000+\"\nname = \"Board\"\nmode = \"on_demand\"\npriority = 1\n\
             source = \"record-a-call\"\n\
             [[record.include]]\ntype = \"ddi\"\nvalue = \"0163296%\"\n\
             [[record.exclude]]\ntype = \"time\"\nvalue = \"Sat-Sun 00:00-24:00\"\ndescription = \"weekend\"\n",
        )
        .expect("rules");
        let modes: Vec<Mode> = rules.devices.entries().iter().map(|entry| entry.mode).collect();
        assert_eq!(modes, [Mode::Never, Mode::OnDemand, Mode::Always]);
        assert_eq!((rules.channels, rules.overload), (Some(8), Overload::TakeFromLeastImportant));
        assert_eq!(rules.include[0].to_string(), "DDI 0163296%");
        assert_eq!(rules.exclude[0].to_string(), "time Sat-Sun 00:00-24:00 (weekend)");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        for (text, why) in [
            ("[[record.device]]\nnumber = \"2000-2009\"\nip = \"192.0.2.20\"\n", "single number"),
            ("[[record.device]]\nnumber = \"2000\"\npriority = 0\n", "priority is 1 to 9"),
            ("[[record.device]]\nnumber = \"2000\"\nsource = \"import\"\n", "mirror or record-a-call"),
            ("[[record.device]]\nnumber = \"2003-1005\"\n", "backwards"),
            ("[[record.device]]\nnumber = \"2000\"\nmode = \"sometimes\"\n", "sometimes"),
            (
                "[[record.exclude]]\ntype = \"agent\"\nvalue = \"1,,2\"\n",
                "record.exclude, rule 1: a rule on agent",
            ),
            ("[[record.exclude]]\ntype = \"colour\"\nvalue = \"red\"\n", "colour"),
            ("[site]\ntime_zone = \"Atlantis/Poseidonis\"\n", "site.time_zone"),
            ("[site.dial_plan]\ncountry = \"XQ\"\n", "no country \"XQ\""),
            ("[site.dial_plan]\narea_code = \"01632\"\n", "country"),
            ("[site.dial_plan]\noutbound_prefixes = [\"8\", \"9x\"]\n", "outbound_prefixes: \"9x\""),
        ] {
            let told = rules(text).expect_err(text);
            assert!(told.contains(why), "{text}: {told}");
        }
    }

    #[test]
    fn a_recorded_device_with_an_address_is_a_known_phone() {
        let text = "[[record.device]]\nnumber = \"2001\"\nname = \"Desk\"\nmac = \"02:00:5e:10:00:01\"\n";
        assert!(rules(text).is_ok());
        let both = format!("{text}[[device]]\nnumber = \"2002\"\nmac = \"02:00:5e:10:00:01\"\n");
        assert!(rules(&both).expect_err("one phone, two numbers").starts_with("device"));
    }

    #[test]
    fn the_dial_plan_is_none_unless_something_is_said() {
        let plan = |text: &str| rules(text).expect("rules").site.dial_plan;
        assert_eq!(plan("[site.dial_plan]\n"), None);
        let plan = plan("[site.dial_plan]\ncountry = \"GB\"\noutbound_prefixes = [\"8\", \"8141\"]\n");
        let plan = plan.expect("a dial plan");
        assert_eq!(plan.clean_dialled("814101632960001"), "01632960001");
        assert_eq!(plan.extension_digits, 4);
    }
}
