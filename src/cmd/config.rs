//! `config`: check, show, init.

use std::fs::OpenOptions;
use std::io::Write;

use super::{print_line, warn};
use crate::cli::ConfigCommand;
use crate::config::{COMMENTED, ConfigFile};
use crate::failure::{Done, Failure};

pub(crate) fn run(command: ConfigCommand) -> Result<Done, Failure> {
    match command {
        ConfigCommand::Check { file } => {
            let settings = ConfigFile::read(&file)?.settings(None).map_err(|why| why.within(&file))?;
            print_line(&format!("{} is right", file.display()))?;
            let rules = settings.retention.to_string();
            if !rules.is_empty() {
                print_line(&rules)?;
            }
            let sections = settings.book.sections().join(", ");
            if !sections.is_empty() && store::Archive::has_book(&settings.archive)? {
                warn(&format!(
                    "{sections} are not used: the archive {} has a rule book, which decides (`earwitness rule show`). Take them out",
                    settings.archive.display()
                ));
            }
        }
        ConfigCommand::Show { file } => {
            let config = match file {
                Some(file) => ConfigFile::read(&file)?,
                None => ConfigFile::default(),
            };
            let text = toml::to_string(&config).map_err(Failure::new)?;
            print_line(text.trim_end())?;
        }
        ConfigCommand::Init { file } => {
            let mut new = OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&file)
                .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
            new.write_all(COMMENTED.as_bytes())?;
            print_line(&format!("wrote {}", file.display()))?;
        }
    }
    Ok(Done::All)
}
