//! `archive key`: its words, its help, its examples.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ArchiveDir, Json};

#[derive(Debug, Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Show the archive's keys, who can open them, and what is the matter with them
    #[command(after_help = "Example:\n  earwitness archive key status --json")]
    Status {
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        json: Json,
    },
    /// Print the public keys, which may be given to anybody
    #[command(after_help = "Example:\n  earwitness archive key export-public > box.pub")]
    ExportPublic {
        #[command(flatten)]
        dir: ArchiveDir,
    },
    /// Make a key pair for an escrow officer: FILE is the private key, FILE.pub the public one
    #[command(after_help = "Example:\n  earwitness archive key new officer.key")]
    New {
        /// Where the private key goes; must not be there yet
        file: PathBuf,
    },
    /// Let one more key open everything that is and will be recorded
    #[command(
        after_help = "Example:\n  earwitness archive key add officer.key.pub --name 'M. Weber, escrow'\n\n\
        FILE is what `key new` or `key export-public` wrote; needs the private key, to open the months that there are."
    )]
    Add {
        /// The public key; `-` is the standard input
        file: PathBuf,
        /// Whose it is [default: the name of the file]
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        dir: ArchiveDir,
    },
    /// Close the archive to a recipient
    #[command(after_help = "Example:\n  earwitness archive key remove 4df8e2 --yes\n\n\
        Without --yes shows what it would do. Rotate the keys afterwards: the recipient may have kept copies.")]
    Remove {
        /// The beginning of the recipient's key id
        id: String,
        /// Do it
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        dir: ArchiveDir,
    },
    /// Replace all keys that open recordings, and destroy the old ones
    #[command(after_help = "Example:\n  earwitness archive key rotate --yes\n\n\
        Without --yes shows what it would do. No audio is written. What was erased before is then gone from backups too,\n\
        as long as they hold no private key. An interrupted rotation goes on when it is asked for again.")]
    Rotate {
        /// Do it
        #[arg(long)]
        yes: bool,
        /// Give up recordings whose key does not open, instead of keeping the old keys for them
        #[arg(long)]
        leave_damaged: bool,
        #[command(flatten)]
        dir: ArchiveDir,
        #[command(flatten)]
        json: Json,
    },
    /// Seal the private key with a passphrase, change it, or remove it
    #[command(
        after_help = "Examples:\n  earwitness archive key passphrase\n  earwitness archive key passphrase --remove\n\n\
        Asked for at the terminal. For scripts: EARWITNESS_PASSPHRASE_FILE names a file with the passphrase,\n\
        EARWITNESS_NEW_PASSPHRASE_FILE one with its successor."
    )]
    Passphrase {
        /// Put the key into a file without a passphrase again
        #[arg(long)]
        remove: bool,
        #[command(flatten)]
        dir: ArchiveDir,
    },
    /// Write the private key as a sheet of text, to be printed and put into a safe
    #[command(after_help = "Example:\n  earwitness archive key recovery-sheet -o sheet.txt")]
    RecoverySheet {
        /// Where it goes; must not be there yet
        #[arg(short = 'o', long, value_name = "FILE")]
        output: PathBuf,
        #[command(flatten)]
        dir: ArchiveDir,
    },
    /// Put the private key back from a recovery sheet
    #[command(after_help = "Example:\n  earwitness archive key restore typed.txt\n\n\
        Spaces and case do not matter; a line that is mistyped is named.")]
    Restore {
        /// What was typed; `-` is the standard input
        file: PathBuf,
        #[command(flatten)]
        dir: ArchiveDir,
    },
}
