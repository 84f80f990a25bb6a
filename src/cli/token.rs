//! `token`: programs that use the API.

use clap::{Args, Subcommand, ValueEnum};

use super::{ArchiveDir, Json};

#[derive(Debug, Args)]
pub(crate) struct Token {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

/// As whom a program asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum AsksAs {
    /// For the own calls
    #[default]
    Agent,
    /// For the calls of others
    Supervisor,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// List the tokens that were made, with their rights, accounts and last use
    #[command(
        after_help = "Example:\n  earwitness token list\n\nTokens of the configuration ([[api.token]]) stand there."
    )]
    List {
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        json: Json,
    },
    /// Make a token and print it, this once: its SHA-256 alone is kept
    #[command(
        after_help = "Examples:\n  earwitness token add crm --account crm --right recordings --right status\n  \
        earwitness token add board --account board --right status --expires 2027-12-31 > board.token\n\n\
        A token never can more than its account at the time of each request (docs/api.md)."
    )]
    Add {
        /// Its name, in lists and in the audit trail
        name: String,
        /// The account whose rights it has
        #[arg(long, value_name = "NAME")]
        account: String,
        /// What it lets its program do: status, requests, events, recordings, calls, accounts, audit, rules, servers; may be given several times
        #[arg(long = "right", value_name = "RIGHT", required = true)]
        rights: Vec<policy::access::Right>,
        /// As whom its program asks (docs/recording-modes.md)
        #[arg(long = "as", value_enum, default_value_t)]
        asks_as: AsksAs,
        /// The moment from which on it counts no more, as 2027-12-31 or 2027-12-31T18:00:00Z; never without
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        #[command(flatten)]
        dir: ArchiveDir,
    },
    /// Take a token away: its program is out at once
    #[command(after_help = "Example:\n  earwitness token remove crm")]
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        dir: ArchiveDir,
    },
}
