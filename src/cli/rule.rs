//! The words of `rule` and `device`: what an administrator edits, for scripts.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use decode::ports::PortRange;

use super::{ArchiveDir, Json};

/// Why, and where.
#[derive(Debug, Args)]
pub(crate) struct Change {
    /// Why: kept with the version
    #[arg(long)]
    pub(crate) why: Option<String>,
    #[command(flatten)]
    pub(crate) dir: ArchiveDir,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// A change of everything: shown first.
#[derive(Debug, Args)]
pub(crate) struct Replacement {
    /// Why: kept with the version
    #[arg(long)]
    pub(crate) why: String,
    /// Do it
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) dir: ArchiveDir,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Rule {
    #[command(subcommand)]
    pub(crate) command: RuleCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RuleCommand {
    /// Print the rules in force: the archive's rule book, or the configuration's sections while it has none
    #[command(
        disable_version_flag = true,
        after_help = "Examples:\n  earwitness rule show\n  earwitness rule show --version 3"
    )]
    Show {
        /// An older version
        #[arg(long, value_name = "N")]
        version: Option<u64>,
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        json: Json,
    },
    /// List the versions: when, who, why
    #[command(after_help = "Example:\n  earwitness rule log")]
    Log {
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        json: Json,
    },
    /// Show what two versions differ in, entry by entry
    #[command(after_help = "Examples:\n  earwitness rule diff        what the newest version changed\n  \
        earwitness rule diff 3      what has changed since version 3\n  earwitness rule diff 3 5")]
    Diff {
        /// The older version [default: the one before the newest]
        a: Option<u64>,
        /// The newer version [default: the newest]
        b: Option<u64>,
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        json: Json,
    },
    /// Put the rules of a file in force, as a new version
    #[command(
        after_help = "Examples:\n  earwitness rule import rules.toml --why 'desks of the new office'          what would change\n  \
        earwitness rule import rules.toml --why 'desks of the new office' --yes    it does\n  \
        earwitness rule import -c earwitness.toml --why 'first book' --yes         the configuration's own sections\n\n\
        `earwitness rule test FILE` shows first what it would have meant for past calls."
    )]
    Import {
        /// TOML as `rule export` prints it; without it, the rule sections of the configuration file (-c)
        file: Option<PathBuf>,
        #[command(flatten)]
        how: Replacement,
    },
    /// Print the rules as TOML, for `rule import`
    #[command(disable_version_flag = true, after_help = "Example:\n  earwitness rule export > rules.toml")]
    Export {
        /// An older version
        #[arg(long, value_name = "N")]
        version: Option<u64>,
        #[command(flatten)]
        dir: ArchiveDir,
    },
    /// Put an older version in force again, as a new one
    #[command(
        after_help = "Example:\n  earwitness rule rollback 3 --why 'version 4 missed the desks' --yes\n\n\
        Without --yes shows what would change. No version is ever removed."
    )]
    Rollback {
        /// The version
        #[arg(value_name = "N")]
        number: u64,
        #[command(flatten)]
        how: Replacement,
    },
    /// Calls that are recorded whatever the exclusions say
    #[command(after_help = "Example:\n  earwitness rule include add --type ddi --value '0163296%'")]
    Include {
        #[command(subcommand)]
        command: ListCommand,
    },
    /// Calls that are not recorded
    #[command(
        after_help = "Example:\n  earwitness rule exclude add --type endpoint --value 2007 --description 'works council'"
    )]
    Exclude {
        #[command(subcommand)]
        command: ListCommand,
    },
    /// UDP ports that carry audio: all of them, unless some are listed
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Examples:\n  earwitness rule ports                  the ranges in force\n  \
        earwitness rule ports presets          what well-known telephone systems use\n  \
        earwitness rule ports set --preset asterisk --why 'the new PBX'\n\n\
        A flow with neither end on a listed port is left out, and counted with its call (docs/ports.md). Running calls follow at once."
    )]
    Ports {
        #[command(subcommand)]
        command: Option<PortsCommand>,
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        json: Json,
    },
    /// Addresses of the telephone system
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Examples:\n  earwitness rule pbx\n  earwitness rule pbx add 192.0.2.10 192.0.2.11 --why 'second node'"
    )]
    Pbx {
        #[command(subcommand)]
        command: Option<PbxCommand>,
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        json: Json,
    },
    /// Replay a change of rules or retention over past calls: what would have been different
    #[command(
        disable_version_flag = true,
        after_help = "Examples:\n  earwitness rule test rules.toml --since -30d\n  \
        earwitness rule test --version 3 --since 2026-01-01 --until 2026-02-01 --json\n\n\
        Nothing is changed. Each call whose outcome would be another one is listed with both outcomes and the rules that decide, then\n\
        what retention would have due that is kept now, and the reverse. docs/rule-book.md says what cannot be known."
    )]
    Test {
        /// The rules to try: TOML as `rule export` prints it
        #[arg(required_unless_present = "version", conflicts_with = "version")]
        file: Option<PathBuf>,
        /// The rules to try: this version
        #[arg(long, value_name = "N")]
        version: Option<u64>,
        /// Calls started at or after: RFC 3339, a date, -15m, -2h, -7d, today, yesterday
        #[arg(long, value_name = "TIME", allow_hyphen_values = true, default_value = "-30d")]
        since: String,
        /// Calls started before
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        until: Option<String>,
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PortsCommand {
    /// List the ranges that well-known telephone systems use
    Presets {
        #[command(flatten)]
        json: Json,
    },
    /// Look for audio on these ports alone, in place of those before
    Set {
        /// Ports and ranges, as 10000-20000
        #[arg(required_unless_present = "preset")]
        ranges: Vec<PortRange>,
        /// The ranges of a preset; several may be joined
        #[arg(long, value_name = "NAME")]
        preset: Vec<String>,
        #[command(flatten)]
        change: Change,
    },
    /// Look for audio on every port
    Clear {
        #[command(flatten)]
        change: Change,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PbxCommand {
    /// Add addresses
    Add {
        #[arg(required = true)]
        addresses: Vec<IpAddr>,
        #[command(flatten)]
        change: Change,
    },
    /// Take addresses off the list
    Remove {
        #[arg(required = true)]
        addresses: Vec<IpAddr>,
        #[command(flatten)]
        change: Change,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ListCommand {
    /// Add a rule at the end of the list
    Add {
        /// account_code, agent, ddi, outside_number, endpoint, other_party, hunt_group, trunk, direction, business_unit, tag, time
        #[arg(long = "type", value_name = "TYPE")]
        kind: String,
        /// Which values, in the grammar of the type (docs/rules.md)
        #[arg(long)]
        value: String,
        /// What the rule is for
        #[arg(long, default_value = "")]
        description: String,
        #[command(flatten)]
        change: Change,
    },
    /// Take a rule off the list
    Remove {
        /// Its place in the list, from 1, as `rule show` and `calls --why` count
        place: usize,
        #[command(flatten)]
        change: Change,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Device {
    #[command(subcommand)]
    pub(crate) command: DeviceCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// List the recorded devices, or the extensions that the archive has seen
    #[command(after_help = "Examples:\n  earwitness device list\n  \
        earwitness device list --seen --since -7d     extensions seen, with their calls, and which entry names them")]
    List {
        /// The extensions that took part in calls, with counts and addresses, and whether an entry names them
        #[arg(long)]
        seen: bool,
        /// Seen at or after: RFC 3339, a date, -15m, -2h, -7d, today, yesterday
        #[arg(long, value_name = "TIME", allow_hyphen_values = true, requires = "seen")]
        since: Option<String>,
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        json: Json,
    },
    /// Record a device, or several by range or wildcard
    #[command(after_help = "Examples:\n  earwitness device add 2001 --name 'Front desk'\n  \
        earwitness device add 1100-1109 --mode on_demand --priority 1 --first\n\n\
        The first entry that names a number decides; a new one comes last. Calls that run are recorded from now on.")]
    Add {
        /// Number, ranges, wildcards: 1000-1005,!1003,18%5
        number: String,
        /// In front of the other entries
        #[arg(long)]
        first: bool,
        #[command(flatten)]
        settings: DeviceSettings,
        #[command(flatten)]
        change: Change,
    },
    /// Change an entry; what is not named stays
    #[command(after_help = "Example:\n  earwitness device set 2001 --mode save_by_default --priority 3\n\n\
        An empty word takes a setting away: --name ''.")]
    Set {
        /// The entry's number, as it is written
        number: String,
        #[command(flatten)]
        settings: DeviceSettings,
        #[command(flatten)]
        change: Change,
    },
    /// Take an entry off the list: its devices are not recorded any more, running calls among that
    #[command(after_help = "Example:\n  earwitness device remove 2001 --why 'left'\n\n\
        Without any entry every extension is recorded: the last one is not removed without --last.")]
    Remove {
        /// The entry's number, as it is written
        number: String,
        /// Also when it is the last one, after which every extension is recorded
        #[arg(long)]
        last: bool,
        #[command(flatten)]
        change: Change,
    },
}

/// What an entry says.
#[derive(Debug, Default, Args)]
pub(crate) struct DeviceSettings {
    /// Its name
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// always, never, on_demand, always_with_stop, save_by_default or discard_by_default (docs/recording-modes.md)
    #[arg(long)]
    pub(crate) mode: Option<String>,
    /// 1 the most important, 9 the least; 5 without it
    #[arg(long, value_name = "1-9")]
    pub(crate) priority: Option<String>,
    /// mirror or record-a-call; either without it
    #[arg(long)]
    pub(crate) source: Option<String>,
    /// The phone's IP address, if no SIP names it
    #[arg(long, conflicts_with = "mac")]
    pub(crate) ip: Option<IpAddr>,
    /// The phone's Ethernet address, likewise
    #[arg(long)]
    pub(crate) mac: Option<String>,
}
