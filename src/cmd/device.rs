//! `device`: the list of recorded devices, and the extensions that calls have shown.

use std::collections::BTreeMap;
use std::net::IpAddr;

use decode::Timestamp;
use decode::net::Mac;
use policy::{PastPart, Pattern};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use store::{Archive, CallRow, Outcome};

use super::rule::InForce;
use super::{print_json, print_line};
use crate::cli::{ArchiveDir, DeviceCommand, DeviceSettings};
use crate::clock;
use crate::config::{Book, RecordedEntry};
use crate::failure::{Done, Failure};
use crate::filters::time_option;
use crate::tables;

/// Extensions that `--seen` tells of; more are counted together.
const SEEN_MAX: usize = 100_000;
/// Addresses told of one extension.
const ADDRESSES_MAX: usize = 8;

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

/// An extension that took part in calls.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Seen {
    pub(crate) extension: String,
    /// Calls with audio that it took part in.
    pub(crate) calls: u64,
    /// Of these, recorded ones.
    pub(crate) recorded: u64,
    pub(crate) last: Option<Timestamp>,
    /// Where its phone's signalling was seen; empty for calls of earlier versions.
    pub(crate) ip: Vec<IpAddr>,
    /// Its Ethernet addresses, where no router stood between.
    pub(crate) mac: Vec<Mac>,
    /// The entry that names it, as it is written.
    pub(crate) entry: Option<String>,
    /// It is recorded as the list stands, whatever other rules say.
    pub(crate) listed: bool,
}

fn seen(dir: &ArchiveDir, since: Option<&str>, json: bool) -> Result<Done, Failure> {
    let in_force = InForce::open(dir)?;
    let since = time_option(since, clock::now())?;
    let (mut all, left_out) = extensions(&in_force.archive, since)?;
    let record = &in_force.book.record;
    let is_list = !record.entries.is_empty() || record.devices.is_some();
    for seen in &mut all {
        let patterns = record.entries.iter().map(|entry| &entry.number).chain(&record.devices);
        let entry = patterns.into_iter().find(|numbers| numbers.matches(&seen.extension));
        (seen.entry, seen.listed) = (entry.map(ToString::to_string), entry.is_some() || !is_list);
    }
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

/// The extensions of the balance sheet, by number; and parts of calls by those that are too many.
fn extensions(archive: &Archive, since: Option<Timestamp>) -> Result<(Vec<Seen>, u64), Failure> {
    let (mut all, mut left_out) = (BTreeMap::<String, Seen>::new(), 0);
    for row in archive.calls_begun(since, None)? {
        let (_, row): (_, CallRow) = row?;
        for (extension, part) in parts(&row) {
            if all.len() >= SEEN_MAX && !all.contains_key(&extension) {
                left_out += 1;
                continue;
            }
            let seen = all.entry(extension.clone()).or_insert_with(|| Seen { extension, ..Seen::default() });
            note(part.and_then(|part| part.phone), &mut seen.ip);
            note(part.and_then(|part| part.mac), &mut seen.mac);
            // Of a call without audio no rule was asked: it tells where the phone is, and no more.
            if row.why.is_empty() {
                continue;
            }
            seen.calls += 1;
            seen.last = seen.last.max(Some(row.started));
            let outcome = part.map_or(row.outcome, |part| part.outcome);
            seen.recorded += u64::from(outcome == Outcome::Recorded);
        }
    }
    Ok((all.into_values().collect(), left_out))
}

/// One more address, while there is room for it.
fn note<T: PartialEq>(address: Option<T>, all: &mut Vec<T>) {
    let new = address.filter(|address| all.len() < ADDRESSES_MAX && !all.contains(address));
    all.extend(new);
}

/// The extensions of a call; a line of an earlier version names them in its steps alone.
fn parts(row: &CallRow) -> Vec<(String, Option<&PastPart>)> {
    if !row.parts.is_empty() {
        return row.parts.iter().map(|part| (part.facts.extension.clone(), Some(part))).collect();
    }
    let mut named: Vec<String> = row.why.iter().map(|step| step.extension.clone()).collect();
    named.sort();
    named.dedup();
    named.into_iter().map(|extension| (extension, None)).collect()
}
