//! `user` and `unit`: whom recordings are tagged with.

use clap::{Args, Subcommand};

use super::accounts::AccountCommand;
use super::{ArchiveDir, Json};

#[derive(Debug, Args)]
pub(crate) struct User {
    #[command(subcommand)]
    pub(crate) command: UserCommand,
}

/// Where people are listed: in the archive's rule book, or in the configuration where there is none.
#[derive(Debug, Args)]
pub(crate) struct Listed {
    #[command(flatten)]
    pub(crate) dir: ArchiveDir,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// List users with their unit and the extensions and agents that they have now
    #[command(after_help = "Examples:\n  earwitness user list -c earwitness.toml\n  \
        earwitness user list bell                  whose name, extension or agent holds `bell`\n\n\
        They stand in the archive's rule book (`earwitness rule export`, `rule import`), or in the configuration of a recorder without \
        one. Deleted users are listed with --deleted only, and are never found by a text.")]
    List {
        /// A part of the name, extension or agent, capitals or not
        text: Option<String>,
        /// Deleted users too
        #[arg(long, conflicts_with = "text")]
        deleted: bool,
        #[command(flatten)]
        of: Listed,
    },
    /// Show one user with the extensions and agents of all times
    #[command(after_help = "Example:\n  earwitness user show ann.b")]
    Show {
        /// The user's id
        id: String,
        #[command(flatten)]
        of: Listed,
    },
    /// Accounts.
    #[command(flatten)]
    Account(AccountCommand),
}

#[derive(Debug, Args)]
pub(crate) struct Unit {
    #[command(subcommand)]
    pub(crate) command: UnitCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UnitCommand {
    /// List business units as a tree, with the number of users in each
    #[command(after_help = "Example:\n  earwitness unit list")]
    List {
        #[command(flatten)]
        of: Listed,
    },
}
