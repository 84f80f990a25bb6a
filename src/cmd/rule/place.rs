//! `rule ports` and `rule pbx`: where a recorder looks.

use serde_json::json;

use super::InForce;
use crate::cli::{ArchiveDir, PbxCommand, PortsCommand};
use crate::cmd::{print_json, print_line};
use crate::failure::{Done, Failure};
use crate::presets::{self, PRESETS};

/// What a list says where it is empty.
const EVERY_PORT: &str = "audio is looked for on every port";

pub(super) fn ports(command: Option<PortsCommand>, dir: &ArchiveDir, json: bool) -> Result<Done, Failure> {
    match command {
        None => {
            let in_force = InForce::open(dir)?;
            list(&in_force.book.site.rtp_ports, EVERY_PORT, json)?;
            in_force.archive.close()?;
            Ok(Done::All)
        }
        Some(PortsCommand::Presets { json }) => {
            for preset in PRESETS {
                if json.json {
                    print_json(&json!({ "name": preset.name, "of": preset.of, "rtp_ports": preset.ranges }))?;
                } else {
                    print_line(&format!(
                        "{:<28} {:<44} {}",
                        preset.name,
                        preset.of,
                        preset.ranges.join(" ")
                    ))?;
                }
            }
            Ok(Done::All)
        }
        Some(PortsCommand::Set { mut ranges, preset, change }) => {
            for name in &preset {
                let preset = presets::named(name).ok_or_else(|| {
                    Failure::usage(format!(
                        "there is no preset {name:?}: `earwitness rule ports presets` lists them"
                    ))
                })?;
                for text in preset.ranges {
                    ranges.push(text.parse().map_err(Failure::new)?);
                }
            }
            ranges.sort_unstable();
            ranges.dedup();
            let in_force = InForce::open(&change.dir)?;
            let mut book = in_force.book.clone();
            let written: Vec<String> = ranges.iter().map(ToString::to_string).collect();
            book.site.rtp_ports = ranges;
            in_force.change(book, &format!("audio is looked for on ports {}", written.join(", ")), &change)
        }
        Some(PortsCommand::Clear { change }) => {
            let in_force = InForce::open(&change.dir)?;
            let mut book = in_force.book.clone();
            book.site.rtp_ports.clear();
            in_force.change(book, EVERY_PORT, &change)
        }
    }
}

pub(super) fn pbx(command: Option<PbxCommand>, dir: &ArchiveDir, json: bool) -> Result<Done, Failure> {
    match command {
        None => {
            let in_force = InForce::open(dir)?;
            list(
                &in_force.book.site.pbx,
                "no address of the PBX is listed: it is told by who registers where",
                json,
            )?;
            in_force.archive.close()?;
            Ok(Done::All)
        }
        Some(PbxCommand::Add { addresses, change }) => {
            let in_force = InForce::open(&change.dir)?;
            let mut book = in_force.book.clone();
            let new: Vec<_> = addresses.into_iter().filter(|ip| !book.site.pbx.contains(ip)).collect();
            let done = format!("PBX added: {}", joined(&new));
            book.site.pbx.extend(new);
            in_force.change(book, &done, &change)
        }
        Some(PbxCommand::Remove { addresses, change }) => {
            let in_force = InForce::open(&change.dir)?;
            let mut book = in_force.book.clone();
            if let Some(unknown) = addresses.iter().find(|ip| !book.site.pbx.contains(ip)) {
                return Err(Failure::usage(format!(
                    "{unknown} is not listed: `earwitness rule pbx` shows what is"
                )));
            }
            book.site.pbx.retain(|ip| !addresses.contains(ip));
            in_force.change(book, &format!("PBX removed: {}", joined(&addresses)), &change)
        }
    }
}

fn joined(list: &[impl ToString]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The entries, a line each; `none` where there is none.
fn list(entries: &[impl ToString], none: &str, json: bool) -> Result<(), Failure> {
    if json {
        let entries: Vec<String> = entries.iter().map(ToString::to_string).collect();
        return print_json(&json!(entries));
    }
    if entries.is_empty() {
        return print_line(none);
    }
    entries.iter().try_for_each(|entry| print_line(&entry.to_string()))
}
