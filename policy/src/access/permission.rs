//! What somebody may do: the permissions, their groups, and who has which by default.
//!
//! The rows are those of the manuals' permission matrix that mean something for a call recorder, and six of our own that the
//! matrix lacks. `docs/permissions.md` has them as a table, which a test reads; what was left out stands there too.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Under which heading a permission is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Being there at all, and what is not about single recordings.
    General,
    /// What can be done with recordings and running calls. Each needs a scope or a filter that admits the segment, too.
    Recordings,
    /// Reports.
    Reporting,
    /// What an administrator sets.
    Configuration,
}

impl Group {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Group; 4] = [Group::General, Group::Recordings, Group::Reporting, Group::Configuration];

    /// As people see it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Group::General => "General",
            Group::Recordings => "Recordings",
            Group::Reporting => "Reporting",
            Group::Configuration => "Configuration Area",
        }
    }
}

/// The built-in profiles, in the order of the columns of [`TABLE`].
pub(super) const BUILT_IN: [&str; 7] = [
    "Admin",
    "Supervisor",
    "User",
    "Phone Manager Only",
    "Phone Manager with Playback",
    "Recording Only",
    "Reporting Only",
];

/// One permission as it is known.
struct Entry {
    permission: Permission,
    key: &'static str,
    label: &'static str,
    group: Group,
    /// A letter for each built-in profile that has it, see [`LETTERS`].
    by_default: &'static str,
}

/// Admin, Supervisor, User, phone manager Only, phone manager with Playback, Recording only, rePorting only.
const LETTERS: [char; 7] = ['A', 'S', 'U', 'o', 'p', 'r', 'R'];

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident $key:literal $label:literal $group:ident $by_default:literal,)*) => {
        /// Something that somebody may do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Permission {
            $($(#[$doc])* $name,)*
        }

        /// All that is known of them, in the order of the enumeration.
        const TABLE: &[Entry] = &[
            $(Entry {
                permission: Permission::$name,
                key: $key,
                label: $label,
                group: Group::$group,
                by_default: $by_default,
            },)*
        ];

        impl Permission {
            /// All of them, in the order in which they are shown.
            pub const ALL: [Permission; TABLE.len()] = [$(Permission::$name,)*];
        }
    };
}

permissions! {
    /// To sign in to the pages and the API.
    WebAccess "web_access" "Allow web access" General "ASUrR",
    /// To see the dashboard.
    Dashboard "dashboard" "View Dashboard" General "AS",
    /// To see who did what.
    AuditTrail "audit_trail" "View Audit Trail" General "AS",
    /// To see the units of the system: `Unassigned Users`, `Deleted Users`.
    SystemUnits "system_units" "View system Business Units" General "AS",
    /// To see filters that are shared.
    ViewSharedFilters "view_shared_filters" "View shared filters" General "ASrR",
    /// To change and delete filters that are shared, and to share one.
    ModifySharedFilters "modify_shared_filters" "Modify shared filters" General "ASrR",
    /// To hear recordings.
    Play "play" "Play recorded calls" Recordings "SUpr",
    /// To take recordings along as files.
    Save "save" "Save" Recordings "SUr",
    /// To send recordings by mail.
    Email "email" "Email" Recordings "SUr",
    /// To hear calls that run.
    Monitor "monitor" "Silent Monitor" Recordings "SUr",
    /// To change tags, fields, notes and ratings.
    ModifyDetails "modify_details" "Modify Call Details" Recordings "SU",
    /// To see calls that run.
    LiveView "live_view" "Live View" Recordings "SUr",
    /// To start, stop, keep and discard recordings of running calls.
    Control "control" "Control recordings" Recordings "S",
    /// To pause and resume recordings of running calls.
    Pause "pause" "Pause recordings" Recordings "SU",
    /// To see a call's signalling: its ladder, its SIP messages, its quality packet by packet.
    Signalling "signalling" "View signalling" Recordings "AS",
    /// To destroy recordings by hand.
    Delete "delete" "Delete recordings" Recordings "",
    /// To put legal holds on recordings, and to lift them.
    Holds "holds" "Legal holds" Recordings "A",
    /// To run reports.
    RunReports "run_reports" "Run reports" Reporting "ASR",
    /// To have reports run at times.
    ScheduleReports "schedule_reports" "Schedule reports" Reporting "ASR",
    /// Whose an outside number is.
    Contacts "contacts" "Contact Directories" Configuration "A",
    /// PBXs, mirror ports and recorded devices.
    PhoneSystems "phone_systems" "Phone Systems" Configuration "A",
    /// Rules of exclusion.
    Exclusions "exclusions" "Exclusion List" Configuration "A",
    /// Rules of inclusion.
    Inclusions "inclusions" "Inclusion List" Configuration "A",
    /// Settings of reports, which are the same for all.
    ReportSettings "report_settings" "Call Reporting" Configuration "AR",
    /// The dial plan.
    DialPlan "dial_plan" "Dial Plan" Configuration "A",
    /// Names of the five fields.
    CustomTags "custom_tags" "Custom Tags" Configuration "A",
    /// How mail is sent.
    EmailSettings "email_settings" "Email settings" Configuration "A",
    /// The archive's upkeep: check, rebuild, verify.
    Maintenance "maintenance" "Database Maintenance" Configuration "A",
    /// Accounts, roles, profiles, filters of access, the password policy. Whoever has it can give itself any other one.
    Security "security" "Security" Configuration "A",
    /// Users, their devices, and business units.
    People "people" "Users & Business Units" Configuration "A",
    /// When recordings pause by themselves.
    PauseRules "pause_rules" "Pause rules" Configuration "A",
    /// The box: network, archive locations, keys, alarms, log.
    Servers "servers" "Servers" Configuration "A",
    /// How long recordings are kept.
    Retention "retention" "Retention" Configuration "A",
}

impl Permission {
    fn entry(self) -> &'static Entry {
        let entry = TABLE.get(self as usize);
        entry.filter(|entry| entry.permission == self).expect("the table has one for each, in their order")
    }

    /// As files, commands and the API name it.
    #[must_use]
    pub fn key(self) -> &'static str {
        self.entry().key
    }

    /// As people see it: the manuals' words where they have the permission.
    #[must_use]
    pub fn label(self) -> &'static str {
        self.entry().label
    }

    /// Its heading.
    #[must_use]
    pub fn group(self) -> Group {
        self.entry().group
    }

    /// Is it about a single segment, so that scope and filters are asked, too?
    #[must_use]
    pub fn is_about_a_segment(self) -> bool {
        self.group() == Group::Recordings
    }

    /// What the built-in profile of this place has.
    pub(super) fn of_built_in(place: usize) -> Permissions {
        let letter = LETTERS.get(place).copied();
        let has = |entry: &&Entry| letter.is_some_and(|letter| entry.by_default.contains(letter));
        TABLE.iter().filter(has).map(|entry| entry.permission).collect()
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// There is no such permission.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no permission {name:?}; there are {}", Permission::ALL.map(Permission::key).join(", "))]
pub struct NoPermission {
    /// As it was written.
    pub name: String,
}

impl FromStr for Permission {
    type Err = NoPermission;

    fn from_str(name: &str) -> Result<Self, NoPermission> {
        let found = Permission::ALL.into_iter().find(|permission| permission.key() == name);
        found.ok_or_else(|| NoPermission { name: name.to_owned() })
    }
}

/// A set of permissions; in JSON a list of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<&'static str>")]
pub struct Permissions(u64);

impl Permissions {
    /// None of them.
    pub const NONE: Permissions = Permissions(0);

    /// Every one.
    #[must_use]
    pub fn all() -> Permissions {
        Permission::ALL.into_iter().collect()
    }

    /// Is it among them?
    #[must_use]
    pub const fn has(self, permission: Permission) -> bool {
        self.0 >> permission as u32 & 1 != 0
    }

    /// Them, in the order in which they are shown.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |permission| self.has(*permission))
    }
}

const _: () = assert!(TABLE.len() <= u64::BITS as usize, "a bit for each permission");

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(all: I) -> Self {
        Permissions(all.into_iter().fold(0, |bits, permission| bits | 1 << permission as u32))
    }
}

impl TryFrom<Vec<String>> for Permissions {
    type Error = NoPermission;

    fn try_from(keys: Vec<String>) -> Result<Self, NoPermission> {
        keys.iter().map(|key| key.parse::<Permission>()).collect()
    }
}

impl From<Permissions> for Vec<&'static str> {
    fn from(permissions: Permissions) -> Self {
        permissions.iter().map(Permission::key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_key_that_is_read_again() {
        for permission in Permission::ALL {
            assert_eq!(permission.key().parse(), Ok(permission));
        }
        let told = "listen".parse::<Permission>().expect_err("no such one").to_string();
        assert!(told.contains("monitor"), "{told}");
    }

    /// The rows of the table in the documentation: key, label, group, and a mark for each profile.
    #[test]
    fn the_documentation_has_each_permission_with_its_defaults() {
        let text = include_str!("../../../docs/permissions.md");
        let heading = format!("| permission | as shown | {} |", BUILT_IN.join(" | "));
        let (_, table) = text.split_once(&heading).expect("the table");
        let mut rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        let mut group = None;
        for permission in Permission::ALL {
            let mut line = rows.next().expect("a row for each");
            if group != Some(permission.group()) {
                group = Some(permission.group());
                let label = permission.group().label();
                assert!(line.starts_with(&format!("| **{label}** |")), "{label}: {line}");
                line = rows.next().expect("a row for each");
            }
            let marks = (0..BUILT_IN.len())
                .map(|place| if Permission::of_built_in(place).has(permission) { "Y" } else { "-" });
            let marks = marks.collect::<Vec<_>>().join(" | ");
            assert_eq!(line, format!("| `{}` | {} | {marks} |", permission.key(), permission.label()));
        }
        assert_eq!(rows.next(), None);
    }

    /// The other table: all of the manuals' permissions, and what each is here.
    #[test]
    fn the_documentation_says_what_each_of_the_manuals_permissions_is_here() {
        let text = include_str!("../../../docs/permissions.md");
        let (_, table) = text.split_once("| the manuals' | here |").expect("the second table");
        let (mut rows, mut ours) = (0, Permission::ALL.to_vec());
        for line in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let &[_, here] = &cells[..] else { panic!("two cells: {line}") };
            rows += 1;
            if !here.starts_with("none: ") {
                let permission: Permission = here.trim_matches('`').parse().expect(line);
                ours.retain(|other| *other != permission);
            }
        }
        use Permission::{Control, Delete, Holds, Pause, Retention, Signalling};
        assert_eq!((rows, ours), (44, vec![Control, Pause, Signalling, Delete, Holds, Retention]));
    }

    #[test]
    fn the_admin_profile_hears_nothing() {
        let admin = Permission::of_built_in(0);
        use Permission::{Control, Delete, Email, LiveView, ModifyDetails, Monitor, Pause, Play, Save};
        for deaf in [Play, Save, Email, Monitor, LiveView, ModifyDetails, Control, Pause, Delete] {
            assert!(!admin.has(deaf), "{deaf}");
        }
    }

    #[test]
    fn in_json_they_are_a_list_of_keys_and_an_unknown_one_is_refused() {
        let some: Permissions = [Permission::Save, Permission::Play].into_iter().collect();
        let json = serde_json::to_string(&some).expect("JSON");
        assert_eq!(json, r#"["play","save"]"#);
        assert_eq!(serde_json::from_str::<Permissions>(&json).expect("read"), some);
        assert!(serde_json::from_str::<Permissions>(r#"["fly"]"#).is_err());
    }
}
