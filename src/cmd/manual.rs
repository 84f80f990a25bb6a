//! `manual`: manual pages and completions, from the definitions of the command line.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::{Done, Failure};

pub(crate) fn run(folder: &Path) -> Result<Done, Failure> {
    let command = Cli::command();
    clap_mangen::generate_to(command.clone(), folder)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command.clone(), "earwitness", folder)?;
    }
    Ok(Done::All)
}
