//! `device`: the list of recorded devices, and the extensions that calls have shown.

use policy::Pattern;
use serde::de::DeserializeOwned;
use serde_json::json;
use web::rules::SeenExtensions;

use super::rule::InForce;
use super::{print_json, print_line};
use crate::cli::{ArchiveDir, DeviceCommand, DeviceSettings};
use crate::clock;
use crate::config::{Book, RecordedEntry};
use crate::failure::{Done, Failure};
use crate::filters::time_option;
use crate::rules::seen::extensions;
use crate::tables;

pub(crate) fn run(command: DeviceCommand) -> Result<Done, Failure> {
    match command {
        DeviceCommand::List { seen: false, dir, json, .. } => list(&dir, json.json),
        DeviceCommand::List { seen: true, since, dir, json } => seen(&dir, since.as_deref(), json.json),
        DeviceCommand::Add { number, first, settings, change } => {
            let in_force = InForce::open(&change.dir)?;
            let mut book = in_force.book.clone();
            if place_of(&book, &number).is_some() {
                return Err(Failure::usage(format!(
                    "{number} is listed already: `earwitness device set` changes it"
                )));
            }
            let mut entry = RecordedEntry::new(numbers(&number)?);
            apply(&mut entry, &settings)?;
            let place = if first { 0 } else { book.record.entries.len() };
            book.record.entries.insert(place, entry);
            in_force.change(book, &format!("device {number} added"), &change)
        }
        DeviceCommand::Set { number, settings, change } => {
            let in_force = InForce::open(&change.dir)?;
            let mut book = in_force.book.clone();
            let place = listed(&book, &number)?;
            if let Some(entry) = book.record.entries.get_mut(place) {
                apply(entry, &settings)?;
            }
            in_force.change(book, &format!("device {number} changed"), &change)
        }
        DeviceCommand::Remove { number, last, change } => {
            let in_force = InForce::open(&change.dir)?;
            let mut book = in_force.book.clone();
            book.record.entries.remove(listed(&book, &number)?);
            if book.record.entries.is_empty() && book.record.devices.is_none() && !last {
                let all = "without any entry every extension is recorded; --last says that this is meant";
                return Err(Failure::guarded(format!("{number} is the last entry: {all}")));
            }
            in_force.change(book, &format!("device {number} removed"), &change)
        }
    }
}

fn numbers(written: &str) -> Result<Pattern, Failure> {
    written.parse().map_err(|error| Failure::usage(format!("{written:?}: {error}")))
}

fn place_of(book: &Book, number: &str) -> Option<usize> {
    book.record.entries.iter().position(|entry| entry.number.to_string() == number)
}

fn listed(book: &Book, number: &str) -> Result<usize, Failure> {
    place_of(book, number).ok_or_else(|| {
        Failure::usage(format!("no entry is written {number}: `earwitness device list` shows how they are"))
    })
}

/// Puts what was named into an entry; an empty word takes a setting away.
fn apply(entry: &mut RecordedEntry, settings: &DeviceSettings) -> Result<(), Failure> {
    let DeviceSettings { name, mode, priority, source, ip, mac } = settings;
    if let Some(name) = name {
        entry.name.clone_from(name);
    }
    if let Some(mode) = mode {
        entry.mode = word("--mode", mode)?.unwrap_or_default();
    }
    if let Some(priority) = priority {
        let level = priority.parse().ok().filter(|level| (1..=9).contains(level));
        if level.is_none() && !priority.is_empty() {
            return Err(Failure::usage(format!("--priority: {priority:?} is not 1 to 9")));
        }
        entry.priority = level;
    }
    if let Some(source) = source {
        entry.source = word("--source", source)?;
    }
    if let Some(ip) = ip {
        (entry.ip, entry.mac) = (Some(*ip), None);
    }
    if let Some(mac) = mac {
        (entry.ip, entry.mac) = (None, Some(mac.clone()).filter(|mac| !mac.is_empty()));
    }
    Ok(())
}

/// A word of the configuration; none where it is empty.
fn word<T: DeserializeOwned>(option: &str, written: &str) -> Result<Option<T>, Failure> {
    if written.is_empty() {
        return Ok(None);
    }
    serde_json::from_value(json!(written))
        .map(Some)
        .map_err(|error| Failure::usage(format!("{option}: {error}")))
}

fn list(dir: &ArchiveDir, json: bool) -> Result<Done, Failure> {
    let in_force = InForce::open(dir)?;
    let record = &in_force.book.record;
    // The plain list comes last, as it is judged.
    let plain = record.devices.clone().map(RecordedEntry::new);
    let entries: Vec<&RecordedEntry> = record.entries.iter().chain(plain.iter()).collect();
    if json {
        entries.iter().try_for_each(print_json)?;
    } else if entries.is_empty() {
        print_line("no device is listed: every extension is recorded")?;
    } else {
        print_line(&tables::devices(&entries))?;
    }
    in_force.archive.close()?;
    Ok(Done::All)
}

fn seen(dir: &ArchiveDir, since: Option<&str>, json: bool) -> Result<Done, Failure> {
    let in_force = InForce::open(dir)?;
    let since = time_option(since, clock::now())?;
    let SeenExtensions { list: all, left_out } = extensions(&in_force.archive, &in_force.book.record, since)?;
    if json {
        all.iter().try_for_each(print_json)?;
    } else if all.is_empty() {
        print_line("no extension has taken part in a call")?;
    } else {
        print_line(&tables::seen(&all))?;
        if left_out > 0 {
            print_line(&format!("and parts of {left_out} calls by more extensions"))?;
        }
    }
    in_force.archive.close()?;
    Ok(Done::All)
}
