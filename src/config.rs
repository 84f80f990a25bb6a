//! The configuration: a file as written, and the settings that follow from it.
//!
//! [`ConfigFile`] is what TOML holds, unknown keys refused. [`Settings`] is resolved and cannot be wrong.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use policy::{Pattern, Rules, Site};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// A commented file with every setting at its default.
pub(crate) const COMMENTED: &str = include_str!("config.toml");

/// The file as written.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ConfigFile {
    /// Where recordings go.
    pub(crate) archive: ArchiveSection,
    /// What is known of the site.
    pub(crate) site: SiteSection,
    /// Which calls are recorded.
    pub(crate) record: RecordSection,
    /// Who may send HEP.
    pub(crate) hep: HepSection,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ArchiveSection {
    /// Folder of the archive; `./earwitness-archive` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SiteSection {
    /// Numbers of the site's extensions; told by evidence when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extensions: Option<Pattern>,
    /// Addresses of the PBX.
    pub(crate) pbx: Vec<IpAddr>,
    /// Header fields whose value names a call across the legs that the PBX gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) call_headers: Option<Vec<String>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RecordSection {
    /// Extensions that are recorded; every one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) devices: Option<Pattern>,
    /// Calls between extensions are not recorded. Default false.
    pub(crate) exclude_internal: bool,
    /// Audio of a call that is never answered is kept. Default true.
    pub(crate) unanswered: bool,
}

impl Default for RecordSection {
    fn default() -> Self {
        RecordSection { devices: None, exclude_internal: false, unanswered: true }
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HepSection {
    /// Addresses of agents, besides those of the command line.
    pub(crate) from: Vec<IpAddr>,
    /// File with the key that their packets must carry; none is asked for when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<PathBuf>,
}

impl HepSection {
    /// The key, without the line end that editors leave.
    pub(crate) fn key(&self) -> Result<Option<Vec<u8>>, Failure> {
        let Some(path) = &self.key_file else { return Ok(None) };
        let wrong = |why: String| Failure::config(format!("[hep] key_file {}: {why}", path.display()));
        let key = std::fs::read(path).map_err(|error| wrong(error.to_string()))?.trim_ascii_end().to_vec();
        if key.is_empty() { Err(wrong("it is empty".to_owned())) } else { Ok(Some(key)) }
    }
}

/// What follows from it.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) archive: PathBuf,
    pub(crate) rules: Rules,
    /// Header fields that tie legs; the tracker's own choice when absent.
    pub(crate) call_headers: Option<Vec<String>>,
    pub(crate) hep: HepSection,
}

impl ConfigFile {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<ConfigFile, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::config(format!("{}: {error}", path.display())))?;
        ConfigFile::parse(&text).map_err(|(line, column, message)| {
            Failure::config(format!("{}, line {line}, column {column}: {message}", path.display()))
        })
    }

    /// Reads TOML; an error comes with its line and column, from 1.
    fn parse(text: &str) -> Result<ConfigFile, (usize, usize, String)> {
        toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start).min(text.len());
            let before = text.get(..offset).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            (line, column, error.message().replace('\n', " "))
        })
    }

    /// Resolves it; `archive` comes from the command line or the environment and goes first.
    pub(crate) fn settings(self, archive: Option<PathBuf>) -> Settings {
        let archive = archive.or(self.archive.dir).unwrap_or_else(|| PathBuf::from("earwitness-archive"));
        let site = Site { extensions: self.site.extensions, pbx: self.site.pbx };
        let rules = Rules {
            site,
            devices: self.record.devices,
            exclude_internal: self.record.exclude_internal,
            keep_unanswered: self.record.unanswered,
        };
        Settings { archive, rules, call_headers: self.site.call_headers, hep: self.hep }
    }
}

/// The settings of a command with `--archive` and `--config`.
pub(crate) fn resolve(dir: &crate::cli::ArchiveDir) -> Result<Settings, Failure> {
    let file = match &dir.config {
        Some(path) => ConfigFile::read(path)?,
        None => ConfigFile::default(),
    };
    let from_environment =
        || std::env::var_os("EARWITNESS_ARCHIVE").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    Ok(file.settings(dir.archive.clone().or_else(from_environment)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commented_file_is_the_default() {
        assert_eq!(ConfigFile::parse(COMMENTED).expect("reads"), ConfigFile::default());
        // Every commented-out setting must be one: with its comment sign off, the file still reads.
        let all: String = COMMENTED
            .lines()
            .map(|line| {
                line.strip_prefix("# ").filter(|l| l.contains(" = ")).unwrap_or(line).to_owned() + "\n"
            })
            .collect();
        assert_ne!(ConfigFile::parse(&all).expect("reads"), ConfigFile::default());
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        let (line, column, message) =
            ConfigFile::parse("[record]\nexclude_internel = true\n").expect_err("refused");
        assert_eq!((line, column), (2, 1));
        assert!(message.contains("exclude_internel"), "{message}");
        let (line, _, message) = ConfigFile::parse("[record]\n\ndevices = \"5-1\"\n").expect_err("refused");
        assert_eq!(line, 3);
        assert!(message.contains("backwards"), "{message}");
    }
}
