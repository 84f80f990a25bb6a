//! The extensions that calls have shown, out of the balance sheet.

use std::collections::BTreeMap;

use decode::Timestamp;
use policy::PastPart;
use store::{Archive, CallRow, Outcome};
use web::rules::{SeenExtension, SeenExtensions};

use crate::config::RecordSection;

/// Extensions that are told of; more are counted together.
const SEEN_MAX: usize = 100_000;
/// Addresses told of one extension.
const ADDRESSES_MAX: usize = 8;

/// The extensions of the balance sheet, by number; and parts of calls by those that are too many.
pub(crate) fn extensions(
    archive: &Archive,
    record: &RecordSection,
    since: Option<Timestamp>,
) -> Result<SeenExtensions, store::Error> {
    let (mut all, mut left_out) = (BTreeMap::<String, SeenExtension>::new(), 0);
    for row in archive.calls_begun(since, None)? {
        let (_, row): (_, CallRow) = row?;
        for (extension, part) in parts(&row) {
            if all.len() >= SEEN_MAX && !all.contains_key(&extension) {
                left_out += 1;
                continue;
            }
            let new = || SeenExtension { extension: extension.clone(), ..SeenExtension::default() };
            let seen = all.entry(extension.clone()).or_insert_with(new);
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
    let is_list = !record.entries.is_empty() || record.devices.is_some();
    let mut list: Vec<SeenExtension> = all.into_values().collect();
    for seen in &mut list {
        let patterns = record.entries.iter().map(|entry| &entry.number).chain(&record.devices);
        let entry = patterns.into_iter().find(|numbers| numbers.matches(&seen.extension));
        (seen.entry, seen.listed) = (entry.map(ToString::to_string), entry.is_some() || !is_list);
    }
    Ok(SeenExtensions { list, left_out })
}

/// One more address; of too many the one that was seen longest ago goes.
fn note<T: PartialEq>(address: Option<T>, all: &mut Vec<T>) {
    let Some(address) = address else { return };
    all.retain(|other| *other != address);
    if all.len() >= ADDRESSES_MAX {
        all.remove(0);
    }
    all.push(address);
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
