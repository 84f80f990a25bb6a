//! `archive tag, rate, note`: what people say of recordings, and reading their notes.

use policy::CustomField;
use serde_json::json;
use store::Note;
use web::words;

use super::archive::resolve_ids;
use super::upkeep::{Change, change};
use super::{open_archive, print_json, print_line};
use crate::cli::{Edit, marks};
use crate::config;
use crate::failure::{Done, Failure};
use crate::tables::{cell, plain};

/// `archive tag`.
pub(crate) fn tag(args: &marks::Tag) -> Result<Done, Failure> {
    let asked = match (&args.tag, args.field.as_deref()) {
        (Some(tag), _) => Change::Tag { tag: tag.clone(), remove: args.remove },
        (None, Some([field, value])) => {
            // Names of fields stand in the configuration.
            config::resolve(&args.edit.dir)?;
            Change::Field { field: custom_field(field)?, value: value.clone() }
        }
        _ => return Err(Failure::usage("--tag or --field: say which")),
    };
    change(&args.edit, &asked)
}

fn custom_field(word: &str) -> Result<CustomField, Failure> {
    let number = word.parse().ok().and_then(CustomField::numbered);
    number.or_else(|| words::field_named(word)).ok_or_else(|| {
        let names: Vec<String> = CustomField::ALL.into_iter().map(words::field).collect();
        Failure::usage(format!("--field {word:?}: there are the fields 1 to 5, {}", names.join(", ")))
    })
}

/// `archive rate`.
pub(crate) fn rate(args: marks::Rate) -> Result<Done, Failure> {
    let marks::Rate { id, stars, dir, json } = args;
    change(&Edit { id: vec![id], dir, json }, &Change::Rating { stars })
}

/// `archive note`: adds one, or lists them.
pub(crate) fn note(args: &marks::Note) -> Result<Done, Failure> {
    let Some(text) = &args.text else { return notes(&args.edit) };
    let at_ms = match &args.at {
        Some(at) => Some(place(at).ok_or_else(|| {
            Failure::usage(format!("--at {at:?}: write seconds as 61.5, or 1:01.5, or 1:02:05"))
        })?),
        None => args.at_ms,
    };
    change(&args.edit, &Change::Note { text: text.clone(), at_ms })
}

/// A place in a recording, in milliseconds: `61.5`, `1:01.5`, `1:02:05`.
fn place(text: &str) -> Option<u64> {
    let mut parts = text.rsplit(':');
    let last = parts.next()?;
    let (seconds, decimals) = last.split_once('.').map_or((last, "0"), |split| split);
    let number = |digits: &str| -> Option<u64> {
        let is_number = (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if is_number { digits.parse().ok() } else { None }
    };
    let (minutes, hours) = (parts.next(), parts.next());
    // Below a larger unit there are sixty at most.
    let below = |digits: &str, is_below: bool| number(digits).filter(|n| !is_below || *n < 60);
    let seconds = below(seconds, minutes.is_some())?;
    let hours_s = hours.map_or(Some(0), |hours| Some(number(hours)? * 3_600))?;
    let minutes_s = minutes.map_or(Some(0), |minutes| Some(below(minutes, hours.is_some())? * 60))?;
    let ms = Some(decimals).filter(|decimals| (1..=3).contains(&decimals.len()))?;
    let ms = number(&format!("{ms:0<3}"))?;
    (parts.next().is_none()).then_some((hours_s + minutes_s + seconds) * 1_000 + ms)
}

/// The notes of recordings, those about a place in its order, behind those about the whole.
fn notes(edit: &Edit) -> Result<Done, Failure> {
    let archive = open_archive(&config::resolve(&edit.dir)?.archive)?;
    let mut any = false;
    for id in resolve_ids(&archive, &edit.id)? {
        let mut notes = archive.row(id)?.notes;
        notes.sort_by_key(|note| (note.at_ms, note.at));
        for Note { at, who, at_ms, text } in notes {
            any = true;
            if edit.json.json {
                print_json(&json!({ "id": id, "at_ms": at_ms, "text": text, "who": who, "at": at }))?;
            } else {
                let place = at_ms.map_or_else(|| "-".to_owned(), words::length);
                print_line(&format!("{id}  {place:>9}  {}  ({}, {at})", plain(&text), cell(&who)))?;
            }
        }
    }
    if !any && !edit.json.json {
        print_line("no notes")?;
    }
    Ok(Done::All)
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn a_place_is_seconds_minutes_and_hours_as_players_show_it() {
        for (text, ms) in [
            ("0", 0),
            ("61.5", 61_500),
            ("1:01.5", 61_500),
            ("1:02:05", 3_725_000),
            ("0:07.250", 7_250),
            ("90:00", 5_400_000),
        ] {
            assert_eq!(place(text), Some(ms), "{text}");
        }
        for wrong in [
            "",
            ":",
            "1:",
            ":1",
            "1:60",
            "1:60:00",
            "1:2:3:4",
            "-1",
            "1.",
            "1.2345",
            "1,5",
            "9999999999",
            "é",
        ] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }
}
