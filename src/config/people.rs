//! `[[unit]]` and `[[user]]`: the tree of business units, users, and whose which extension and agent was when.

use decode::Timestamp;
use jiff::tz::TimeZone;
use policy::people::{Assignment, Device, DeviceKind, OwnMode, PeopleError, Tenure, User};
use policy::{Mode, People};
use serde::{Deserialize, Serialize};

use super::Wrong;
use crate::filters::read_moment;

/// A business unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnitEntry {
    /// Its name.
    pub(crate) name: String,
    /// The unit above it; on top when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<String>,
}

/// A user with the devices of all times.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserEntry {
    /// Names the user for ever.
    pub(crate) id: String,
    /// First name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) first_name: String,
    /// Last name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) last_name: String,
    /// E-mail address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) email: String,
    /// The business unit; `Unassigned Users` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unit: Option<String>,
    /// Calls are not to be shown to other users. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) hidden: bool,
    /// What is recorded of the user's calls by itself, whatever the device's mode; the device's counts when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<Mode>,
    /// Calls that begin then or later are in that mode: a date, or RFC 3339; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mode_from: Option<String>,
    /// When the user was deleted: the devices are free from then on, the calls stay the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deleted: Option<String>,
    /// Extensions and agents, each with its time.
    #[serde(rename = "device", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) devices: Vec<AssignmentEntry>,
}

/// An extension or an agent that is a user's for a time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssignmentEntry {
    /// The extension; this or `agent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) extension: Option<String>,
    /// The agent's id; this or `extension`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<String>,
    /// It is one of several, and not the first one. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) secondary: bool,
    /// Its first moment: a date, or RFC 3339; since ever when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    /// The first moment behind it, likewise; without end when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<String>,
}

/// All people of a site. Dates are days of the clock in `zone`.
pub(super) fn resolve(units: &[UnitEntry], users: &[UserEntry], zone: &TimeZone) -> Result<People, Wrong> {
    let of_unit = |error: PeopleError| Wrong(error.to_string());
    let mut people = People::default();
    units.iter().try_for_each(|unit| people.add_unit(&unit.name, None)).map_err(of_unit)?;
    // A unit may stand before the one above it.
    for unit in units.iter().filter(|unit| unit.parent.is_some()) {
        people.put_unit_under(&unit.name, unit.parent.as_deref()).map_err(of_unit)?;
    }
    for entry in users {
        let wrong = |error: PeopleError| Wrong(format!("user {:?}: {error}", entry.id));
        let user = entry.user(zone).map_err(|what| Wrong(format!("user {:?}: {what}", entry.id)))?;
        people.add_user(user).map_err(|error| Wrong(error.to_string()))?;
        for (device, n) in entry.devices.iter().zip(1..) {
            let assignment = device
                .resolve(zone)
                .map_err(|what| Wrong(format!("user {:?}, device {n}: {what}", entry.id)))?;
            people.assign(&entry.id, assignment).map_err(wrong)?;
        }
        if let Some(at) = moment("deleted", entry.deleted.as_ref(), zone)
            .map_err(|what| Wrong(format!("user {:?}: {what}", entry.id)))?
        {
            people.remove_user(&entry.id, at).map_err(wrong)?;
        }
    }
    Ok(people)
}

impl UserEntry {
    fn user(&self, zone: &TimeZone) -> Result<User, String> {
        let from = moment("mode_from", self.mode_from.as_ref(), zone)?;
        if self.mode.is_none() && from.is_some() {
            return Err("mode_from says since when, and there is no mode".into());
        }
        Ok(User {
            id: self.id.clone(),
            first_name: self.first_name.clone(),
            last_name: self.last_name.clone(),
            email: self.email.clone(),
            unit: self.unit.clone(),
            hidden: self.hidden,
            mode: self.mode.map(|mode| OwnMode { mode, from }),
            deleted: None,
        })
    }
}

impl AssignmentEntry {
    fn resolve(&self, zone: &TimeZone) -> Result<Assignment, String> {
        let (kind, number) = match (&self.extension, &self.agent) {
            (Some(number), None) => (DeviceKind::Extension, number),
            (None, Some(number)) => (DeviceKind::Agent, number),
            _ => return Err("takes either extension or agent".into()),
        };
        let tenure = Tenure {
            from: moment("from", self.from.as_ref(), zone)?,
            until: moment("until", self.until.as_ref(), zone)?,
        };
        Ok(Assignment { device: Device { kind, number: number.clone() }, primary: !self.secondary, tenure })
    }
}

fn moment(key: &str, written: Option<&String>, zone: &TimeZone) -> Result<Option<Timestamp>, String> {
    let Some(text) = written else { return Ok(None) };
    let at = read_moment(text, zone)
        .ok_or_else(|| format!("{key}: {text:?} is no time: write 2026-01-31 or 2026-01-31T09:00:00Z"))?;
    Ok(Some(at))
}

#[cfg(test)]
mod tests {
    use super::super::tests::rules;

    const SITE: &str = "[site]\nname = \"Leeds\"\ntime_zone = \"Europe/London\"\n\
        [[unit]]\nname = \"Claims\"\nparent = \"Insurance\"\n[[unit]]\nname = \"Insurance\"\n\
        [[user]]\nid = \"ann\"\nfirst_name = \"Ann\"\nlast_name = \"Bell\"\nunit = \"Claims\"\n\
        [[user.device]]\nextension = \"2001\"\nuntil = \"2026-07-01\"\n\
        [[user.device]]\nagent = \"77\"\n\
        [[user]]\nid = \"bob\"\nmode = \"on_demand\"\nmode_from = \"2026-07-02\"\n\
        [[user.device]]\nextension = \"2001\"\nfrom = \"2026-07-01\"\n\
        [[user]]\nid = \"cas\"\ndeleted = \"2026-01-01T00:00:00Z\"\n[[user.device]]\nextension = \"2003\"\n";

    #[test]
    fn dates_are_days_of_the_sites_clock_and_a_unit_may_stand_before_the_one_above_it() {
        let rules = rules(SITE).expect("people");
        assert_eq!(rules.site.name.as_deref(), Some("Leeds"));
        // Summer time: the day begins at 23:00 UTC.
        let who = |extension, at: &str| rules.people.who(extension, None, at.parse().expect("a time"));
        let before = who("2001", "2026-06-30T22:59:59.999Z");
        assert_eq!(before.user.as_ref().map(|user| user.name.as_str()), Some("Ann Bell"));
        assert_eq!(before.units().collect::<Vec<_>>(), ["Claims", "Insurance"]);
        assert_eq!(who("2001", "2026-06-30T23:00:00.000Z").user.map(|user| user.id).as_deref(), Some("bob"));
        let of_cas = |at| who("2003", at).user.map(|user| user.id);
        assert_eq!(of_cas("2025-12-31T23:59:59.000Z").as_deref(), Some("cas"));
        assert_eq!(of_cas("2026-01-01T00:00:00.000Z"), None);
        let own = rules.people.mode_of("bob").expect("a mode");
        assert_eq!(own.to_string(), "on_demand since 2026-07-01T23:00:00.000Z");
        assert_eq!(rules.people.mode_of("ann"), None);
    }

    #[test]
    fn what_cannot_be_is_refused_and_says_of_whom() {
        let also = |text: &str| rules(&format!("{SITE}{text}")).map(|_| ()).expect_err(text);
        for (text, why) in [
            (
                "[[user]]\nid = \"eve\"\n[[user.device]]\nagent = \"77\"\n",
                "agent 77 belongs to ann always, so eve",
            ),
            ("[[user]]\nid = \"Ann\"\n", "the id is taken"),
            ("[[user]]\nid = \"eve\"\nunit = \"Sales\"\n", "there is no unit \"Sales\""),
            (
                "[[user]]\nid = \"eve\"\n[[user.device]]\n",
                "user \"eve\", device 1: takes either extension or agent",
            ),
            ("[[user]]\nid = \"eve\"\ndeleted = \"soon\"\n", "deleted: \"soon\" is no time"),
            (
                "[[user]]\nid = \"eve\"\n[[user.device]]\nagent = \"7\"\nfrom = \"-15m\"\n",
                "\"-15m\" is no time",
            ),
            ("[[user]]\nid = \"eve\"\nphone = \"7\"\n", "phone"),
            ("[[user]]\nid = \"eve\"\nmode = \"sometimes\"\n", "sometimes"),
            (
                "[[user]]\nid = \"eve\"\nmode_from = \"2026-07-01\"\n",
                "user \"eve\": mode_from says since when",
            ),
            (
                "[[user]]\nid = \"eve\"\nmode = \"always\"\nmode_from = \"soon\"\n",
                "user \"eve\": mode_from: \"soon\" is no time",
            ),
            ("[[unit]]\nname = \"Sales\"\nparent = \"Trade\"\n", "there is no unit \"Trade\""),
            ("[[unit]]\nname = \"Deleted Users\"\n", "is the system's"),
        ] {
            let told = also(text);
            assert!(told.contains(why), "{text}: {told}");
        }
        let cycle = rules("[[unit]]\nname = \"a\"\nparent = \"b\"\n[[unit]]\nname = \"b\"\nparent = \"a\"\n");
        assert!(cycle.expect_err("a cycle").contains("that one is below it"));
    }

    #[test]
    fn the_sections_are_written_as_they_were_read() {
        let file = super::super::ConfigFile::parse(SITE).expect("reads");
        let written = toml::to_string(&file).expect("writes");
        assert_eq!(super::super::ConfigFile::parse(&written), Ok(file));
    }
}
