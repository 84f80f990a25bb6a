//! `user add …` and `role`: who can sign in, and what they may do.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ArchiveDir, Json};

/// Which account, and where.
#[derive(Debug, Args)]
pub(crate) struct OfAccount {
    /// The user name, capitals or not
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) dir: ArchiveDir,
}

/// Where a password comes from; asked for at the terminal, twice, without any of these.
#[derive(Debug, Args)]
pub(crate) struct PasswordFrom {
    /// Read the password from standard input
    #[arg(long, conflicts_with = "password_file")]
    pub(crate) password_stdin: bool,
    /// Read the password from this file
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// It must be changed at the next sign-in
    #[arg(long)]
    pub(crate) must_change: bool,
}

/// What an account has beside its name; an empty value takes it away.
#[derive(Debug, Args)]
pub(crate) struct AccountFacts {
    /// How the person is called
    #[arg(long, value_name = "NAME")]
    pub(crate) display_name: Option<String>,
    /// E-mail address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) email: Option<String>,
    /// The id of the user in the configuration whose account it is
    #[arg(long, value_name = "ID")]
    pub(crate) person: Option<String>,
    /// Business unit, where it is no such user's
    #[arg(long, value_name = "UNIT")]
    pub(crate) unit: Option<String>,
    /// The role; `role list` lists them
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// List the accounts that can sign in, or show one
    #[command(after_help = "Examples:\n  earwitness user accounts\n  earwitness user accounts ann --json")]
    Accounts {
        /// The user name
        name: Option<String>,
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        json: Json,
    },
    /// Add an account; its password is asked for
    #[command(after_help = "Examples:\n  earwitness user add ann --role Administrator\n  \
        earwitness user add bob --role User --person bob --password-stdin --must-change < first-password")]
    Add {
        #[command(flatten)]
        account: OfAccount,
        #[command(flatten)]
        facts: AccountFacts,
        #[command(flatten)]
        password: PasswordFrom,
    },
    /// Change an account
    #[command(after_help = "Example:\n  earwitness user set bob --role Supervisor --unit Claims")]
    Set {
        #[command(flatten)]
        account: OfAccount,
        #[command(flatten)]
        facts: AccountFacts,
    },
    /// Set a password; whoever is signed in with the account has to sign in again
    #[command(
        after_help = "Examples:\n  earwitness user password ann\n  earwitness user password ann --password-file new"
    )]
    Password {
        #[command(flatten)]
        account: OfAccount,
        #[command(flatten)]
        password: PasswordFrom,
    },
    /// Begin a second factor and print its secret; with --code, put it in force
    #[command(
        after_help = "Examples:\n  earwitness user totp ann                  (prints the secret, to be put into an app)\n  \
        earwitness user totp ann --code 123456    (what the app shows: from now on it is asked for)\n  \
        earwitness user totp ann --off"
    )]
    Totp {
        #[command(flatten)]
        account: OfAccount,
        /// A code of the secret that was begun
        #[arg(long, conflicts_with = "off")]
        code: Option<String>,
        /// Take the second factor off
        #[arg(long)]
        off: bool,
    },
    /// Lock an account: nobody gets in until it is unlocked
    #[command(after_help = "Example:\n  earwitness user lock bob")]
    Lock(OfAccount),
    /// Unlock an account, and forget failed tries
    #[command(after_help = "Example:\n  earwitness user unlock bob")]
    Unlock(OfAccount),
    /// Disable an account: whoever is signed in with it is cut off
    #[command(after_help = "Example:\n  earwitness user disable bob")]
    Disable(OfAccount),
    /// Enable an account again
    #[command(after_help = "Example:\n  earwitness user enable bob")]
    Enable(OfAccount),
    /// Remove an account; the audit trail keeps its name
    #[command(after_help = "Example:\n  earwitness user remove bob")]
    Remove(OfAccount),
}

#[derive(Debug, Args)]
pub(crate) struct Role {
    #[command(subcommand)]
    pub(crate) command: RoleCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// List roles with their profile, scope and access filters
    #[command(after_help = "Example:\n  earwitness role list")]
    List {
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        json: Json,
    },
    /// List profiles with their permissions
    #[command(after_help = "Example:\n  earwitness role profiles --json")]
    Profiles {
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        json: Json,
    },
    /// Make a role, or change one
    #[command(
        after_help = "Example:\n  earwitness role set Auditor --profile 'Recording Only' --scope none --filter 'VIP calls'"
    )]
    Set {
        /// Its name
        name: String,
        /// Its profile
        #[arg(long, value_name = "PROFILE")]
        profile: String,
        /// Whose calls it sees: none, own, unit, unit-and-below, site, organization
        #[arg(long, value_name = "SCOPE")]
        scope: policy::access::Scope,
        /// An access filter; may be given several times
        #[arg(long, value_name = "FILTER")]
        filter: Vec<String>,
        /// What it is for
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
        #[command(flatten)]
        dir: ArchiveDir,
    },
    /// Remove a role that nobody has
    #[command(after_help = "Example:\n  earwitness role remove Auditor")]
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        dir: ArchiveDir,
    },
    /// Make a profile, or change one that is not built in
    #[command(
        after_help = "Example:\n  earwitness role profile Listener --permission web_access --permission play"
    )]
    Profile {
        /// Its name
        name: String,
        /// A permission; may be given several times
        #[arg(long = "permission", value_name = "KEY", required = true)]
        permissions: Vec<policy::Permission>,
        /// What it is for
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
        #[command(flatten)]
        dir: ArchiveDir,
    },
    /// Make an access filter, or change one; list them without a name
    #[command(
        after_help = "Examples:\n  earwitness role filter\n  earwitness role filter 'VIP calls' --mode grant --where tag=vip\n  \
        earwitness role filter 'No board' --mode deny --where extension=1000-1005"
    )]
    Filter {
        /// Its name
        #[arg(requires = "mode", requires = "conditions")]
        name: Option<String>,
        /// grant or deny
        #[arg(long, requires = "name")]
        mode: Option<policy::access::FilterMode>,
        /// FIELD=PATTERN, as searches have them; all that are given must hold
        #[arg(long = "where", value_name = "FIELD=PATTERN", requires = "name")]
        conditions: Vec<String>,
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        json: Json,
    },
}
