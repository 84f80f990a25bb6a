//! What two rule books differ in, entry by entry.
//!
//! Works on any document of tables and lists of tables: a section that is added to the book is compared without a word here. The entries of
//! a list go by what names them; a list whose common entries stand in another order is told as such, since the first that matches
//! decides.

use std::collections::BTreeMap;

use serde::Serialize;
use toml::{Table, Value};

use crate::config::Book;
use crate::failure::Failure;

/// Keys that name an entry of a list, those that there are.
const NAMES: [&str; 5] = ["id", "number", "name", "type", "value"];

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Added,
    Removed,
    Changed,
    Moved,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    change: Kind,
    /// As `record.device`.
    section: String,
    /// What names the entry; empty for a section's own keys.
    #[serde(skip_serializing_if = "String::is_empty")]
    entry: String,
    /// Before and after, by key.
    fields: BTreeMap<String, Field>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Field {
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
}

/// A section and the name of an entry in it.
type Place = (String, String);

/// A document as entries: each with its keys.
#[derive(Default)]
struct Entries {
    fields: BTreeMap<Place, BTreeMap<String, String>>,
    /// The entries of each list, in order.
    order: BTreeMap<String, Vec<String>>,
}

impl Entries {
    fn of(book: &Book) -> Result<Entries, Failure> {
        let mut entries = Entries::default();
        entries.section("", &Table::try_from(book).map_err(Failure::new)?);
        Ok(entries)
    }

    fn section(&mut self, path: &str, table: &Table) {
        for (key, value) in table {
            let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match value {
                Value::Table(table) => self.section(&below, table),
                Value::Array(list) if list.iter().any(Value::is_table) => {
                    list.iter().filter_map(Value::as_table).for_each(|entry| self.entry(&below, entry));
                }
                value => self.set((path.to_owned(), String::new()), key, value),
            }
        }
    }

    fn entry(&mut self, section: &str, entry: &Table) {
        let names = || NAMES.iter().filter(|&&name| entry.contains_key(name));
        // Of a device the number says which one it is, and its name is a setting.
        let by_number = entry.contains_key("number");
        let is_name = |key: &str| if by_number { key == "number" } else { NAMES.contains(&key) };
        let parts: Vec<String> =
            names().filter(|name| is_name(name)).map(|&name| written(&entry[name])).collect();
        let mut name = parts.join(" ");
        let known = self.order.entry(section.to_owned()).or_default();
        // A second one of the same name is another entry.
        let again =
            known.iter().filter(|other| **other == name || other.starts_with(&format!("{name} #"))).count();
        if again > 0 {
            name = format!("{name} #{}", again + 1);
        }
        known.push(name.clone());
        let place = (section.to_owned(), name);
        self.fields.entry(place.clone()).or_default();
        for (key, value) in entry.iter().filter(|(key, _)| !is_name(key)) {
            self.set(place.clone(), key, value);
        }
    }

    fn set(&mut self, place: Place, key: &str, value: &Value) {
        self.fields.entry(place).or_default().insert(key.to_owned(), written(value));
    }
}

/// A value without the quotes of a text; a list within an entry in words, as `extension 2001, until 2026-07-01; agent 77`.
fn written(value: &Value) -> String {
    let inner = |(key, value): (&String, &Value)| match value {
        Value::Boolean(true) => key.clone(),
        value => format!("{key} {}", written(value)),
    };
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) if list.iter().any(Value::is_table) => {
            let tables = list.iter().filter_map(Value::as_table);
            let tables = tables.map(|table| table.iter().map(inner).collect::<Vec<_>>().join(", "));
            tables.collect::<Vec<_>>().join("; ")
        }
        value => value.to_string(),
    }
}

/// Everything that has changed, section by section.
pub(crate) fn differences(old: &Book, new: &Book) -> Result<Vec<Difference>, Failure> {
    let (old, new) = (Entries::of(old)?, Entries::of(new)?);
    let mut places: Vec<&Place> = old.fields.keys().chain(new.fields.keys()).collect();
    places.sort();
    places.dedup();
    let none = BTreeMap::new();
    let mut found = Vec::new();
    for place in places {
        let (before, after) = (old.fields.get(place), new.fields.get(place));
        let change = match (before, after) {
            // A section's own keys are set and unset; entries come and go.
            _ if place.1.is_empty() => Kind::Changed,
            (None, _) => Kind::Added,
            (_, None) => Kind::Removed,
            _ => Kind::Changed,
        };
        let fields = fields(before.unwrap_or(&none), after.unwrap_or(&none));
        if !fields.is_empty() || change != Kind::Changed {
            let (section, entry) = place.clone();
            found.push(Difference { change, section, entry, fields });
        }
    }
    for (section, after) in &new.order {
        let before = old.order.get(section).map_or(&[][..], Vec::as_slice);
        let common = |list: &[String], other: &[String]| -> Vec<String> {
            list.iter().filter(|name| other.contains(name)).cloned().collect()
        };
        let (from, to) = (common(before, after), common(after, before));
        if from != to {
            let order = Field { from: Some(from.join(", ")), to: Some(to.join(", ")) };
            let (fields, section) = (BTreeMap::from([("order".to_owned(), order)]), section.clone());
            found.push(Difference { change: Kind::Moved, section, entry: String::new(), fields });
        }
    }
    Ok(found)
}

fn fields(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> BTreeMap<String, Field> {
    let keys = before.keys().chain(after.keys());
    let field = |key: &String| Field { from: before.get(key).cloned(), to: after.get(key).cloned() };
    keys.map(|key| (key.clone(), field(key))).filter(|(_, field)| field.from != field.to).collect()
}

impl From<Difference> for web::rules::Difference {
    fn from(difference: Difference) -> Self {
        let line = difference.to_string();
        let Difference { section, fields, .. } = difference;
        web::rules::Difference { section, keys: fields.into_keys().collect(), line }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Difference { change, section, entry, fields } = self;
        let sign = match change {
            Kind::Added => '+',
            Kind::Removed => '-',
            Kind::Changed | Kind::Moved => '~',
        };
        write!(f, "{sign} {section}")?;
        if !entry.is_empty() {
            write!(f, " {entry}")?;
        }
        for (n, (key, Field { from, to })) in fields.iter().enumerate() {
            f.write_str(if n == 0 { ": " } else { ", " })?;
            match (change, from, to) {
                (Kind::Added, _, Some(value)) | (Kind::Removed, Some(value), _) => {
                    write!(f, "{key} {value}")?
                }
                (_, from, to) => {
                    let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".into());
                    write!(f, "{key} {} -> {}", word(from), word(to))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(old: &str, new: &str) -> Vec<String> {
        let book = |text: &str| toml::from_str::<Book>(text).expect("a book");
        differences(&book(old), &book(new)).expect("compared").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn entries_are_compared_by_what_names_them_and_not_by_their_lines() {
        let old = "[record]\nchannels = 8\n[[record.device]]\nnumber = \"2001\"\nname = \"Desk\"\n\
                   [[record.device]]\nnumber = \"2002\"\n[[record.exclude]]\ntype = \"ddi\"\nvalue = \"0163%\"\n";
        let new = "[record]\nexclude_internal = true\n[[record.device]]\nnumber = \"2003\"\npriority = 1\n\
                   [[record.device]]\nnumber = \"2001\"\nname = \"Front desk\"\nmode = \"never\"\n";
        assert_eq!(
            lines(old, new),
            [
                "~ record: channels 8 -> nothing, exclude_internal false -> true",
                "~ record.device 2001: mode always -> never, name Desk -> Front desk",
                "- record.device 2002: mode always",
                "+ record.device 2003: mode always, priority 1",
                "- record.exclude ddi 0163%",
            ]
        );
        assert_eq!(lines(old, old), [""; 0]);
    }

    #[test]
    fn users_go_by_their_id_and_their_devices_read_as_words() {
        let user =
            |device: &str| format!("[[user]]\nid = \"ann\"\n[[user.device]]\nextension = \"2001\"\n{device}");
        let unit = "[[unit]]\nname = \"Claims\"\nparent = \"Insurance\"\n";
        assert_eq!(
            lines(
                &user(""),
                &format!(
                    "{unit}{}",
                    user("until = \"2026-07-01\"\nsecondary = true\n[[user.device]]\nagent = \"7\"\n")
                )
            ),
            [
                "+ unit Claims: parent Insurance",
                "~ user ann: device extension 2001 -> extension 2001, secondary, until 2026-07-01; agent 7",
            ]
        );
        assert_eq!(lines(&user(""), ""), ["- user ann: device extension 2001"]);
    }

    #[test]
    fn another_order_is_a_difference_and_two_entries_of_one_name_are_two() {
        let entry = |number: &str, mode: &str| {
            format!("[[record.device]]\nnumber = \"{number}\"\nmode = \"{mode}\"\n")
        };
        let (a, b, again) = (entry("2001", "never"), entry("20%", "always"), entry("2001", "always"));
        assert_eq!(
            lines(&format!("{a}{b}"), &format!("{b}{a}")),
            ["~ record.device: order 2001, 20% -> 20%, 2001"]
        );
        assert_eq!(
            lines(&format!("{a}{b}"), &format!("{a}{b}{again}")),
            ["+ record.device 2001 #2: mode always"]
        );
    }
}
