//! `user` and `unit`: whom recordings are tagged with.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Json;
use super::accounts::AccountCommand;

#[derive(Debug, Args)]
pub(crate) struct User {
    #[command(subcommand)]
    pub(crate) command: UserCommand,
}

/// Where people are listed.
#[derive(Debug, Args)]
pub(crate) struct PeopleFile {
    /// Configuration file, which lists users and units
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// List users with their unit and the extensions and agents that they have now
    #[command(after_help = "Examples:\n  earwitness user list -c earwitness.toml\n  \
        earwitness user list bell -c earwitness.toml      whose name, extension or agent holds `bell`\n\n\
        Deleted users are listed with --deleted only, and are never found by a text.")]
    List {
        /// A part of the name, extension or agent, capitals or not
        text: Option<String>,
        /// Deleted users too
        #[arg(long, conflicts_with = "text")]
        deleted: bool,
        #[command(flatten)]
        file: PeopleFile,
    },
    /// Show one user with the extensions and agents of all times
    #[command(after_help = "Example:\n  earwitness user show ann.b -c earwitness.toml")]
    Show {
        /// The user's id
        id: String,
        #[command(flatten)]
        file: PeopleFile,
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
    #[command(after_help = "Example:\n  earwitness unit list -c earwitness.toml")]
    List {
        #[command(flatten)]
        file: PeopleFile,
    },
}
