//! A change that a form makes, done to a book.

use policy::Pattern;
use serde::de::DeserializeOwned;
use web::rules::{DeviceLine, Edit, List, RuleLine, UserLine, Words, Wrong};

use super::values::{self, Doing};
use super::{people, sections};
use crate::config::{Book, RecordedEntry, RuleEntry};

/// Makes the change.
pub(super) fn apply(book: &mut Book, edit: &Edit) -> Result<(), Wrong> {
    match edit {
        Edit::AddRule(which, rule) => list(book, *which).push(entry(rule)),
        Edit::RemoveRule(which, place, was) => {
            let list = list(book, *which);
            list.remove(stands(list, *place, was, |rule| sections::rule_line(rule).named())?);
        }
        Edit::MoveRule(which, place, was, to) => {
            let list = list(book, *which);
            let place = stands(list, *place, was, |rule| sections::rule_line(rule).named())?;
            move_to(list, place, *to);
        }
        Edit::AddDevice(device) => book.record.entries.push(recorded(device)?),
        Edit::SetDevice(place, was, device) => {
            let list = &mut book.record.entries;
            let place = stands(list, *place, was, |entry| entry.number.to_string())?;
            let new = recorded(device)?;
            if let Some(entry) = list.get_mut(place) {
                *entry = new;
            }
        }
        Edit::RemoveDevice(place, was) => {
            let list = &mut book.record.entries;
            list.remove(stands(list, *place, was, |entry| entry.number.to_string())?);
        }
        Edit::MoveDevice(place, was, to) => {
            let list = &mut book.record.entries;
            let place = stands(list, *place, was, |entry| entry.number.to_string())?;
            move_to(list, place, *to);
        }
        Edit::ExcludeInternal(excluded) => book.record.exclude_internal = *excluded,
        Edit::Set(which, words) => set(book, *which, words)?,
        Edit::AddUser(user) => book.users.push(people::user(user)),
        Edit::SetUser(id, user) => {
            let place = people::user_at(book, id)?;
            // The id names the user in recordings: it stays.
            *place = people::user(&UserLine { id: id.clone(), ..user.clone() });
        }
        Edit::SetModes(ids, mode, from) => people::set_modes(book, ids, *mode, from)?,
        Edit::DeleteUser(id, when) => people::user_at(book, id)?.deleted = Some(when.clone()),
        Edit::RemoveUser(id) => {
            if people::user_at(book, id)?.hidden {
                return Err(Wrong::new(format!(
                    "The user {id:?} is hidden: without the entry, the calls would be shown to others. Take “hidden” off first, if that is meant."
                )));
            }
            book.users.retain(|user| user.id != *id);
        }
        Edit::AddUnit(unit) => book.units.push(people::unit(unit)),
        Edit::SetUnit(was, unit) => people::set_unit(book, was, unit)?,
        Edit::RemoveUnit(name) => people::remove_unit(book, name)?,
        Edit::SetValues(part, written) => values::set(book, *part, written)?,
        Edit::AddEntry(which, written) => values::edit(book, *which, &Doing::Add(written))?,
        Edit::SetEntry(which, place, was, written) => {
            values::edit(book, *which, &Doing::Set(*place, was, written))?;
        }
        Edit::RemoveEntry(which, place, was) => values::edit(book, *which, &Doing::Remove(*place, was))?,
        Edit::MoveEntry(which, place, was, to) => {
            values::edit(book, *which, &Doing::Move(*place, was, *to))?;
        }
    }
    Ok(())
}

fn list(book: &mut Book, which: List) -> &mut Vec<RuleEntry> {
    match which {
        List::Exclude => &mut book.record.exclude,
        List::Include => &mut book.record.include,
    }
}

/// The place, if what was seen there stands there still.
pub(super) fn stands<T>(
    list: &[T],
    place: usize,
    was: &str,
    named: impl Fn(&T) -> String,
) -> Result<usize, Wrong> {
    match list.get(place) {
        Some(entry) if named(entry) == was => Ok(place),
        _ => Err(Wrong::new(format!("{was:?} does not stand there any more: look at the list anew"))),
    }
}

pub(super) fn move_to<T>(list: &mut Vec<T>, place: usize, to: usize) {
    let entry = list.remove(place);
    list.insert(to.min(list.len()), entry);
}

fn entry(rule: &RuleLine) -> RuleEntry {
    let RuleLine { kind, value, description } = rule.clone();
    RuleEntry { kind, value, description }
}

fn recorded(line: &DeviceLine) -> Result<RecordedEntry, Wrong> {
    let number: Pattern = line.number.parse().map_err(|error| Wrong::new(format!("number: {error}")))?;
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let ip = some(&line.ip).map(|text| read("ip", &text)).transpose()?;
    Ok(RecordedEntry {
        name: line.name.clone(),
        ip,
        mac: some(&line.mac),
        source: line.source,
        mode: line.mode,
        priority: line.priority,
        ..RecordedEntry::new(number)
    })
}

fn set(book: &mut Book, which: Words, words: &[String]) -> Result<(), Wrong> {
    let site = &mut book.site;
    match which {
        Words::Extensions => {
            site.extensions = match words.join(",").as_str() {
                "" => None,
                pattern => {
                    Some(pattern.parse().map_err(|error| Wrong::new(format!("site.extensions: {error}")))?)
                }
            }
        }
        Words::Pbx => site.pbx = all("site.pbx", words)?,
        Words::Trunks => site.trunks = all("site.trunks", words)?,
        Words::RtpPorts => {
            site.rtp_ports = all("site.rtp_ports", words)?;
            site.rtp_ports.sort_unstable();
            site.rtp_ports.dedup();
        }
    }
    Ok(())
}

fn all<T: DeserializeOwned>(key: &str, words: &[String]) -> Result<Vec<T>, Wrong> {
    words.iter().map(|word| read(key, word)).collect()
}

/// A word, as the text of a book has it.
fn read<T: DeserializeOwned>(key: &str, word: &str) -> Result<T, Wrong> {
    serde_json::from_value(serde_json::json!(word))
        .map_err(|error| Wrong::new(format!("{key}: {word:?} is not taken: {error}")))
}
