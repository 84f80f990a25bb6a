//! The site's rules: which devices are recorded, and which calls are not.
//!
//! The order is that of the PBX manuals: the list of recorded devices is a gate in front, then the exclusion of
//! internal calls. Inclusion and exclusion lists, channels and modes have their place behind these in [`Rules::judge`].

use decode::Side;
use decode::tracker::LegFacts;

use crate::outcome::Direction;
use crate::pattern::Pattern;
use crate::site::{Roles, Site};

/// Everything that decides what is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Who is an extension.
    pub site: Site,
    /// The extensions that are recorded; all of them when nothing is said.
    pub devices: Option<Pattern>,
    /// Calls between two extensions are not recorded.
    pub exclude_internal: bool,
    /// Audio before an answer that never came is kept: announcements, voice menus.
    pub keep_unanswered: bool,
}

impl Default for Rules {
    /// Record everything.
    fn default() -> Self {
        Rules { site: Site::default(), devices: None, exclude_internal: false, keep_unanswered: true }
    }
}

/// What the rules say of one extension's part in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Keep it.
    Record {
        /// The rule that says so, in words.
        rule: String,
    },
    /// The device is not on the list.
    DeviceNotRecorded,
    /// Internal calls are excluded.
    InternalExcluded,
}

impl Verdict {
    /// The one that counts for the whole call: a recording outweighs what was not recorded.
    #[must_use]
    pub(crate) fn or(self, other: Verdict) -> Verdict {
        match self {
            Verdict::Record { .. } => self,
            Verdict::InternalExcluded if !matches!(other, Verdict::Record { .. }) => self,
            _ => other,
        }
    }
}

impl Rules {
    /// Who is who on a leg. A side that the list of recorded devices names is an extension even where the evidence speaks for
    /// the other one.
    #[must_use]
    pub fn roles(&self, facts: &LegFacts) -> Roles {
        let roles = self.site.roles(facts);
        let Some(devices) = &self.devices else { return roles };
        let is_listed = |side: Side| devices.matches(&self.site.number(facts, side));
        if facts.is_stream_only()
            || self.site.extensions.is_some()
            || roles.extensions.iter().any(|&side| is_listed(side))
        {
            return roles;
        }
        let device = |&side: &Side| is_listed(side) && !self.site.is_pbx(facts.party(side));
        match [Side::Caller, Side::Callee].into_iter().find(device) {
            Some(side) => Roles { direction: self.site.direction(facts, &[side]), extensions: vec![side] },
            None => roles,
        }
    }

    /// Judges one extension's part in a call.
    #[must_use]
    pub fn judge(&self, extension: &str, direction: Direction) -> Verdict {
        let rule = match &self.devices {
            Some(devices) if !devices.matches(extension) => return Verdict::DeviceNotRecorded,
            Some(devices) => format!("recorded devices {devices}"),
            None => "every extension is recorded".into(),
        };
        if self.exclude_internal && direction == Direction::Internal {
            return Verdict::InternalExcluded;
        }
        Verdict::Record { rule }
    }
}
