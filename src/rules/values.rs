//! Values of a book by their keys: how forms write them, and what a section or an entry becomes by what was written.
//!
//! A section goes through its own text: what may stand there, and what is missing, is said by the very types that read the book.

use policy::{Direction, Outcome};
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::{Source, State};
use web::rules::Wrong;
use web::rules::forms::{Entries, Entry, Forms, Input, Part, Value, Written, words};

use super::edit::{move_to, stands};
use crate::config::{Book, CodeEntry, OverloadWord, WindowEntry, WindowKind};

fn value(key: &'static str, label: &'static str, hint: &'static str, input: Input) -> Value {
    Value { key, label, hint, input, written: String::new() }
}

fn words_of<T: Serialize>(of: impl IntoIterator<Item = (T, &'static str)>) -> Vec<(String, String)> {
    let pair = |(word, words): (T, &str)| {
        let key = serde_json::to_value(word).ok().and_then(|key| key.as_str().map(str::to_owned));
        Some((key?, words.replace('_', " ")))
    };
    of.into_iter().filter_map(pair).collect()
}

/// The values of a section, nothing written.
fn of_part(part: Part) -> Vec<Value> {
    match part {
        Part::Record => vec![
            value("channels", "Recordings at the same moment", "Any number when empty", Input::Number),
            value(
                "overload",
                "A call that finds no channel free",
                "",
                Input::OneOf(words_of([
                    (OverloadWord::Refuse, "is not recorded"),
                    (OverloadWord::TakeFromLeastImportant, "takes it from the least important one"),
                ])),
            ),
            value("unanswered", "Audio of unanswered calls is kept", "", Input::Yes),
            value("sip", "SIP messages are kept with their call", "", Input::Yes),
            value(
                "stream_idle_s",
                "A call without signalling is over after",
                "Seconds without a packet, 1 to 86400",
                Input::Number,
            ),
        ],
        Part::Pause => vec![
            value(
                "forgotten_min",
                "Reported as perhaps forgotten after",
                "Minutes; 0 for never",
                Input::Number,
            ),
            value("max_min", "Ends by itself after", "Minutes; never when empty", Input::Number),
            value("inter_digit_ms", "Longest time between two digits", "Milliseconds", Input::Number),
        ],
        Part::DialPlan => vec![
            value("country", "Country", "Two letters, as GB; none when empty", Input::Text),
            value("area_code", "Own area code", "For numbers that are dialled without one", Input::Text),
            value("ddi_prefix", "Stands before a DDI that is cut short", "As 01617", Input::Text),
            value(
                "outbound_prefixes",
                "Dialled before an outside number",
                "With commas between, as 8, 8141; the longest counts first",
                Input::Words,
            ),
            value("extension_digits", "Longest extension, in digits", "4 when empty", Input::Number),
            value(
                "national_digits",
                "Length of a national number",
                "In digits, with area code and toll digit",
                Input::Number,
            ),
        ],
        Part::Retention => vec![
            value("grace", "Tightened rules wait", "1h to 30d, or immediate", Input::Text),
            value(
                "off_max",
                "Time off that needs no confirmation",
                "How long the machine may have been off before a person has to confirm its clock",
                Input::Text,
            ),
        ],
    }
}

/// The values of an entry, nothing written.
fn of_entry(entries: Entries) -> Vec<Value> {
    match entries {
        Entries::Codes => vec![
            value("name", "Name", "Stands in the pause’s events", Input::Text),
            value("pause", "Pauses", "Digits, * and #, as *71", Input::Text),
            value("resume", "Resumes", "Other ones, as *72", Input::Text),
        ],
        Entries::Windows => vec![
            value(
                "type",
                "How it is meant",
                "",
                Input::OneOf(words_of([
                    (WindowKind::Prefix, "begins with, in capitals or not"),
                    (WindowKind::Regex, "regular expression"),
                ])),
            ),
            value("value", "Value", "Of a heading, an address or a tab’s name", Input::Text),
            value("active", "It counts", "", Input::Yes),
        ],
        Entries::Keeping => vec![
            value("name", "Name", "For the ledger; no two rules share one", Input::Text),
            value("audio", "Audio is kept", "90d, 12w, 18m, 7y, or forever", Input::Text),
            value("data", "Call data are kept", "Likewise, and never shorter", Input::Text),
            value("extension", "Of extensions", "A pattern, as 1000-1999,!1003; any when empty", Input::Text),
            value("site", "Of sites", "By name, with commas between; any when empty", Input::Words),
            value("business_unit", "Of units", "Likewise, with those below them", Input::Words),
            value("tag", "With one of these tags", "With commas between", Input::Words),
            value(
                "direction",
                "Of calls that went",
                "Any when none is ticked",
                Input::AnyOf(words_of(Direction::ALL.map(|direction| (direction, direction.key())))),
            ),
            value(
                "outcome",
                "Of calls that ended",
                "Likewise; of recordings it is “recorded”",
                Input::AnyOf(words_of(
                    Outcome::ALL
                        .into_iter()
                        .filter(|outcome| *outcome != Outcome::Running)
                        .map(|outcome| (outcome, outcome.key())),
                )),
            ),
            value(
                "source",
                "From",
                "Likewise",
                Input::AnyOf(words_of(
                    [Source::Mirror, Source::RecordACall, Source::Import]
                        .map(|source| (source, source.key())),
                )),
            ),
            value(
                "state",
                "That are",
                "Likewise",
                Input::AnyOf(words_of([(State::Complete, "complete"), (State::Interrupted, "interrupted")])),
            ),
        ],
    }
}

/// What forms show of a book.
pub(super) fn of(book: &Book) -> Forms {
    let part = |part| {
        let values = of_part(part);
        let written = match part {
            Part::Record => written(values, &book.record),
            Part::Pause => written(values, &book.pause),
            Part::DialPlan => written(values, &book.site.dial_plan),
            Part::Retention => written(values, &book.retention),
        };
        (part, written)
    };
    fn entries<T: Serialize>(
        which: Entries,
        list: &[T],
        named: impl Fn(&T) -> String,
    ) -> (Entries, Vec<Entry>) {
        let entry = |one: &T| Entry { name: named(one), values: written(of_entry(which), one) };
        (which, list.iter().map(entry).collect())
    }
    Forms {
        parts: Part::ALL.map(part).into(),
        entries: vec![
            entries(Entries::Codes, &book.pause.codes, code_named),
            entries(Entries::Windows, &book.pause.windows, window_named),
            entries(Entries::Keeping, &book.retention.rules, |rule| rule.name.clone()),
        ],
        fresh: Entries::ALL.map(|which| (which, fresh(which))).into(),
    }
}

fn fresh(which: Entries) -> Vec<Value> {
    let mut values = of_entry(which);
    // One that is made is meant to count.
    for value in values.iter_mut().filter(|value| value.key == "active") {
        value.written = "yes".to_owned();
    }
    values
}

fn code_named(code: &CodeEntry) -> String {
    code.name.clone()
}

fn window_named(window: &WindowEntry) -> String {
    window.value.clone()
}

fn written<T: Serialize>(mut values: Vec<Value>, of: &T) -> Vec<Value> {
    let table = toml::Table::try_from(of).unwrap_or_default();
    for value in &mut values {
        value.written = match table.get(value.key) {
            None | Some(toml::Value::Boolean(false)) => String::new(),
            Some(toml::Value::Boolean(true)) => "yes".to_owned(),
            Some(toml::Value::String(text)) => text.clone(),
            Some(toml::Value::Array(list)) => {
                let words = list.iter().map(|word| word.as_str().map_or(word.to_string(), str::to_owned));
                words.collect::<Vec<_>>().join(", ")
            }
            Some(other) => other.to_string(),
        };
    }
    values
}

/// A section or an entry with what was written in place of what it had; keys that no form has stay.
fn with<T: Serialize + DeserializeOwned>(
    place: &str,
    of: toml::Table,
    values: &[Value],
    asked: &Written,
) -> Result<T, Wrong> {
    let mut table = of;
    for value in values {
        let Some((_, text)) = asked.iter().find(|(key, _)| key == value.key) else { continue };
        let text = text.trim();
        let new = match &value.input {
            Input::Yes => Some(toml::Value::Boolean(text == "yes")),
            _ if text.is_empty() => None,
            Input::Number => {
                let number: i64 = text
                    .parse()
                    .map_err(|_| Wrong::new(format!("{}: {text:?} is no number.", value.label)))?;
                Some(toml::Value::Integer(number))
            }
            Input::Words | Input::AnyOf(_) => Some(toml::Value::Array(
                words(text).map(|word| toml::Value::String(word.to_owned())).collect(),
            )),
            Input::Text | Input::OneOf(_) => Some(toml::Value::String(text.to_owned())),
        };
        match new {
            Some(new) => table.insert(value.key.to_owned(), new),
            None => table.remove(value.key),
        };
    }
    table.try_into().map_err(|error: toml::de::Error| Wrong::new(format!("{place}: {}", error.message())))
}

fn table<T: Serialize>(of: &T) -> Result<toml::Table, Wrong> {
    toml::Table::try_from(of).map_err(|error| Wrong::new(error.to_string()))
}

/// Puts what was written into a section.
pub(super) fn set(book: &mut Book, part: Part, asked: &Written) -> Result<(), Wrong> {
    let values = of_part(part);
    match part {
        Part::Record => book.record = with("record", table(&book.record)?, &values, asked)?,
        Part::Pause => book.pause = with("pause", table(&book.pause)?, &values, asked)?,
        Part::DialPlan => {
            book.site.dial_plan = with("site.dial_plan", table(&book.site.dial_plan)?, &values, asked)?;
        }
        Part::Retention => book.retention = with("retention", table(&book.retention)?, &values, asked)?,
    }
    Ok(())
}

/// What is done to a list of entries.
pub(super) enum Doing<'w> {
    /// One comes behind the others.
    Add(&'w Written),
    /// One is another.
    Set(usize, &'w str, &'w Written),
    /// One goes.
    Remove(usize, &'w str),
    /// One goes to another place.
    Move(usize, &'w str, usize),
}

/// Does it.
pub(super) fn edit(book: &mut Book, which: Entries, doing: &Doing<'_>) -> Result<(), Wrong> {
    match which {
        Entries::Codes => done("pause.code", &mut book.pause.codes, which, doing, code_named),
        Entries::Windows => done("pause.window", &mut book.pause.windows, which, doing, window_named),
        Entries::Keeping => {
            done("retention.rule", &mut book.retention.rules, which, doing, |rule| rule.name.clone())
        }
    }
}

fn done<T: Serialize + DeserializeOwned>(
    place: &str,
    list: &mut Vec<T>,
    which: Entries,
    doing: &Doing<'_>,
    named: impl Fn(&T) -> String,
) -> Result<(), Wrong> {
    let values = of_entry(which);
    match *doing {
        Doing::Add(asked) => list.push(with(place, toml::Table::new(), &values, asked)?),
        Doing::Set(at, was, asked) => {
            let at = stands(list, at, was, named)?;
            if let Some(entry) = list.get_mut(at) {
                *entry = with(place, table(entry)?, &values, asked)?;
            }
        }
        Doing::Remove(at, was) => {
            list.remove(stands(list, at, was, named)?);
        }
        Doing::Move(at, was, to) => {
            let at = stands(list, at, was, named)?;
            move_to(list, at, to);
        }
    }
    Ok(())
}
