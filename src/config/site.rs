//! `[site]` and `[tags]`: what is known of the site, and how its people call the five fields of a recording.

use std::net::IpAddr;

use decode::ports::PortRange;
use decode::tracker::Subnet;
use jiff::tz::TimeZone;
use policy::people::check_name;
use policy::{CustomField, CustomNames, Pattern};
use serde::{Deserialize, Serialize};

use super::Wrong;
use super::record::DialPlanSection;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SiteSection {
    /// Its name, for its recordings; none when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Numbers of the site's extensions; told by evidence when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extensions: Option<Pattern>,
    /// Addresses of the PBX.
    pub(crate) pbx: Vec<IpAddr>,
    /// UDP ports that carry audio; all of them when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rtp_ports: Vec<PortRange>,
    /// Header fields whose value names a call across the legs that the PBX gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) call_headers: Option<Vec<String>>,
    /// Subnets that the PBX reaches without a router: Ethernet addresses of devices count in these only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) lan: Vec<String>,
    /// Addresses that calls of the public network come from and go to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) trunks: Vec<IpAddr>,
    /// The clock on the wall, for rules on time; UTC when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time_zone: Option<String>,
    /// How numbers are dialled.
    pub(crate) dial_plan: DialPlanSection,
}

impl SiteSection {
    pub(super) fn lans(&self) -> Result<Vec<Subnet>, Wrong> {
        let wrong = |net: &String| Wrong(format!("site.lan: {net:?} is no subnet as 192.0.2.0/24"));
        self.lan.iter().map(|net| net.parse().map_err(|_| wrong(net))).collect()
    }

    /// As retention and filters can name it.
    pub(super) fn name(&self) -> Result<Option<String>, Wrong> {
        match &self.name {
            Some(name) if check_name("site", name).is_err() => {
                Err(Wrong(format!("site.name: {name:?}: write 1 to 100 printable characters")))
            }
            name => Ok(name.clone()),
        }
    }

    pub(super) fn zone(&self) -> Result<TimeZone, Wrong> {
        let Some(name) = &self.time_zone else { return Ok(TimeZone::UTC) };
        TimeZone::get(name).map_err(|error| {
            Wrong(format!(
                "site.time_zone: {error}; write it as Europe/London (zones come from the package tzdata)"
            ))
        })
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TagsSection {
    /// How people see the fields, at most five names; `tag1` to `tag5` when absent.
    pub(crate) names: Vec<String>,
}

impl TagsSection {
    pub(super) fn resolve(&self) -> Result<CustomNames, Wrong> {
        let fields = store::Field::ALL.map(store::Field::name);
        let own = |field: &&str| !CustomField::ALL.iter().any(|custom| custom.key() == *field);
        let taken: Vec<&str> = fields.into_iter().filter(own).chain(["unit"]).collect();
        CustomNames::new(&self.names, &taken).map_err(|error| Wrong(format!("tags.names: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ConfigFile;
    use super::*;

    #[test]
    fn fields_have_names_that_no_other_field_has() {
        let names = |list: &str| {
            let file = ConfigFile::parse(&format!("[tags]\nnames = {list}\n")).expect("TOML");
            file.settings(None).map(|settings| settings.field_names).map_err(|Wrong(why)| why)
        };
        assert_eq!(names("[\"Claim\", \"tag2\"]").expect("right").of(CustomField::Tag1), "Claim");
        for wrong in ["[\"Agent\"]", "[\"unit\"]", "[\"a\", \"A\"]", "[\"\", \"\", \"\", \"\", \"\", \"\"]"] {
            assert!(names(wrong).expect_err(wrong).starts_with("tags.names: "), "{wrong}");
        }
    }
}
