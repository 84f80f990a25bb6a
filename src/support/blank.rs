//! What is blanked before it leaves the machine: numbers, names and secrets, in texts that should have none in the first place.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value as Json;
use store::Accounts;
use toml::{Table, Value};

/// In place of a name, and of what looks as a secret.
const NAME: &str = "[name]";
const SECRET: &str = "[secret]";
/// So many digits in a row are a number; of fewer no subscriber has one.
const DIGITS_MIN: usize = 3;
/// A word of a name is blanked by itself if it has so many letters.
const WORD_MIN: usize = 3;
/// So many signs in a row without a space may be a key, a token or a password.
const SECRET_MIN: usize = 20;
/// Settings whose text is one of a few words, a duration or a zone: what is written there is kept.
const PLAIN_KEYS: [&str; 24] = [
    "after",
    "audio",
    "channel",
    "data",
    "direction",
    "every",
    "grace",
    "keep",
    "keep_local",
    "kind",
    "listen",
    "mode",
    "off_max",
    "office_hours",
    "overload",
    "rate",
    "rtp_ports",
    "security",
    "time_stamps",
    "time_zone",
    "timestamp_every",
    "transport",
    "type",
    "when_full",
];

/// Knows what people and things are called here.
#[derive(Debug, Default)]
pub(super) struct Blank {
    /// In lower case by their first two letters, the longest first.
    names: HashMap<[char; 2], Vec<String>>,
}

impl Blank {
    /// Whatever accounts, roles and tokens are called, and whatever text these documents have that is not one of a few words.
    pub(super) fn new<'t>(accounts: &Accounts, documents: impl IntoIterator<Item = &'t Table>) -> Blank {
        let some = |text: &Option<String>| text.clone().unwrap_or_default();
        let mut of_people: Vec<String> = accounts
            .accounts()
            .flat_map(|one| {
                let named = [one.name.clone(), one.display_name.clone(), one.email.clone()];
                named.into_iter().chain([some(&one.person), some(&one.unit)])
            })
            .collect();
        of_people.extend(accounts.tokens().iter().flat_map(|token| [token.name.clone(), token.by.clone()]));
        let mut others = Vec::new();
        for document in documents {
            collect(document, false, &mut of_people, &mut others);
        }
        Blank::of(of_people.iter().map(String::as_str), others.iter().map(String::as_str))
    }

    /// `of_people` are blanked word by word, the others as a whole.
    fn of<'n>(
        of_people: impl IntoIterator<Item = &'n str>,
        others: impl IntoIterator<Item = &'n str>,
    ) -> Blank {
        let words = |name: &'n str| {
            let words =
                name.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() >= WORD_MIN);
            std::iter::once(name).chain(words)
        };
        let all = of_people.into_iter().flat_map(words).chain(others);
        let all: BTreeSet<String> = all.map(|name| name.trim().to_lowercase()).collect();
        let mut names: HashMap<[char; 2], Vec<String>> = HashMap::new();
        for name in all {
            if let Some(start) = start_of(&name) {
                names.entry(start).or_default().push(name);
            }
        }
        names.values_mut().for_each(|names| names.sort_by_key(|name| std::cmp::Reverse(name.len())));
        Blank { names }
    }

    /// A text without names, numbers and what looks as a secret.
    pub(super) fn text(&self, text: &str) -> String {
        numbers(&secrets(&self.without_names(text)))
    }

    /// The same in every text of a document.
    pub(super) fn json(&self, value: Json) -> Json {
        match value {
            Json::String(text) => Json::String(self.text(&text)),
            Json::Array(all) => all.into_iter().map(|one| self.json(one)).collect(),
            Json::Object(members) => members.into_iter().map(|(key, one)| (key, self.json(one))).collect(),
            other => other,
        }
    }

    /// Figures for a monitoring system, without the names of places.
    pub(super) fn labels(&self, text: &str) -> String {
        // What stands in quotes is a label's.
        text.split('"')
            .enumerate()
            .map(|(i, part)| if i % 2 == 1 { self.without_names(part) } else { part.to_owned() })
            .collect::<Vec<_>>()
            .join("\"")
    }

    fn without_names(&self, text: &str) -> String {
        let (mut out, mut rest, mut before) = (String::with_capacity(text.len()), text, None);
        while let Some(first) = rest.chars().next() {
            let named = if is_word(before) { None } else { self.name_at(rest) };
            let (shown, len) = match named {
                Some(len) => (NAME, len),
                None => {
                    rest.split_at_checked(first.len_utf8()).map_or((rest, rest.len()), |(c, _)| (c, c.len()))
                }
            };
            out.push_str(shown);
            let (taken, left) = rest.split_at_checked(len).unwrap_or((rest, ""));
            (before, rest) = (taken.chars().next_back(), left);
        }
        out
    }

    /// The length of the longest name that this begins with, as words of their own, capitals or not.
    fn name_at(&self, text: &str) -> Option<usize> {
        let names = self.names.get(&start_of(text)?)?;
        names.iter().find_map(|name| length_of(text, name))
    }

    /// What a document has, without what it says: texts become their length, lists of entries their number, except where few words are possible.
    pub(super) fn table(&self, table: &Table) -> Table {
        table.iter().map(|(key, value)| (self.key(key), self.value(key, value))).collect()
    }

    fn key(&self, key: &str) -> String {
        let is_ours = key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit());
        if is_ours { key.to_owned() } else { "[key]".to_owned() }
    }

    fn value(&self, key: &str, value: &Value) -> Value {
        match value {
            Value::Table(table) => Value::Table(self.table(table)),
            Value::Array(all) if all.iter().all(Value::is_table) && is_of_people(key) => {
                count(all.len(), "entries")
            }
            Value::Array(all) => Value::Array(all.iter().map(|one| self.value(key, one)).collect()),
            Value::String(text) if PLAIN_KEYS.contains(&key) || is_address(text) => {
                Value::String(self.without_names(&secrets(text)))
            }
            Value::String(text) => count(text.chars().count(), "characters"),
            Value::Integer(number) if number.unsigned_abs() > 9_999_999_999 => count(1, "number"),
            other => other.clone(),
        }
    }
}

/// The texts of a document.
fn collect(table: &Table, is_of_people: bool, people: &mut Vec<String>, others: &mut Vec<String>) {
    for (key, value) in table {
        take(key, value, is_of_people || self::is_of_people(key), people, others);
    }
}

fn take(key: &str, value: &Value, is_theirs: bool, people: &mut Vec<String>, others: &mut Vec<String>) {
    match value {
        Value::Table(table) => collect(table, is_theirs, people, others),
        Value::Array(all) => all.iter().for_each(|one| take(key, one, is_theirs, people, others)),
        Value::String(text) if PLAIN_KEYS.contains(&key) || key == "interfaces" || is_address(text) => {}
        Value::String(text) if is_theirs || key == "name" || key == "names" => people.push(text.clone()),
        Value::String(text) => others.push(text.clone()),
        _ => {}
    }
}

/// Entries about people and their telephones: how many there are says enough.
fn is_of_people(key: &str) -> bool {
    matches!(
        key,
        "user"
            | "unit"
            | "device"
            | "token"
            | "exclude"
            | "include"
            | "recorded"
            | "rule"
            | "code"
            | "window"
    )
}

fn count(number: usize, of: &str) -> Value {
    Value::String(format!("[{number} {of}]"))
}

fn is_address(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok() || text.parse::<std::net::SocketAddr>().is_ok()
}

fn is_word(c: Option<char>) -> bool {
    c.is_some_and(char::is_alphanumeric)
}

/// The first two letters in lower case.
fn start_of(text: &str) -> Option<[char; 2]> {
    let mut lower = text.chars().flat_map(char::to_lowercase);
    Some([lower.next()?, lower.next()?])
}

/// How much of a text is this name, if it begins with it and ends as a word there.
fn length_of(text: &str, name: &str) -> Option<usize> {
    let (mut left, mut len) = (name.chars(), 0);
    for c in text.chars() {
        if left.as_str().is_empty() {
            break;
        }
        // Lower case may have another length.
        if !c.to_lowercase().all(|lower| left.next() == Some(lower)) {
            return None;
        }
        len += c.len_utf8();
    }
    let is_end = !is_word(text.get(len..)?.chars().next());
    (left.as_str().is_empty() && is_end).then_some(len)
}

/// Rows of digits, blanked.
fn numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut digits = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_numeric() {
            digits.push(c);
            continue;
        }
        let is_number = digits.chars().count() >= DIGITS_MIN;
        out.extend(digits.drain(..).map(|digit| if is_number { '#' } else { digit }));
        out.push(c);
    }
    out.pop();
    out
}

/// Long rows of signs that are no words, blanked.
fn secrets(text: &str) -> String {
    let is_sign = |c: char| c.is_ascii_alphanumeric() || "_+/=-".contains(c);
    let looks_secret = |row: &str| {
        let has = |is: fn(&u8) -> bool| row.as_bytes().iter().any(is);
        let mixed = [u8::is_ascii_digit as fn(&u8) -> bool, u8::is_ascii_uppercase, u8::is_ascii_lowercase];
        let is_marked = ["ewk_", "whsec_"].iter().any(|mark| row.contains(mark));
        is_marked || (row.len() >= SECRET_MIN && mixed.into_iter().filter(|is| has(*is)).count() >= 2)
    };
    let mut out = String::with_capacity(text.len());
    let mut row = String::new();
    for c in text.chars().chain(['\0']) {
        if is_sign(c) {
            row.push(c);
            continue;
        }
        out.push_str(if looks_secret(&row) { SECRET } else { &row });
        row.clear();
        out.push(c);
    }
    out.pop();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_secrets_go_and_the_rest_stays() {
        let blank = Blank::of(["Anna Müller", "crm", "İz"], []);
        for (text, expected) in [
            ("the location anna müller failed 3 times in 45 s", "the location [name] failed 3 times in 45 s"),
            ("ANNA said Müllerin, crm-2, scrm", "[name] said Müllerin, [name]-2, scrm"),
            ("call of +44 1632 960101 to 2041", "call of +44 #### ###### to ####"),
            ("ewk_AbC took 0123456789abcdef0123456789abcdef", "[secret] took [secret]"),
            ("a/long/path/without/anything/secret", "a/long/path/without/anything/secret"),
            ("٢٠٤١", "####"),
            ("", ""),
        ] {
            assert_eq!(blank.text(text), expected, "{text}");
        }
    }

    #[test]
    fn of_a_document_its_shape_is_left() {
        let text = "archive = \"/srv/anna\"\n[web]\nlisten = \"0.0.0.0:8443\"\nnames = [\"anna.example\"]\nhttps = true\n[[user]]\nid = \"anna\"\n\
                    [copies]\nafter = \"1h\"\n[tags]\n\"Anna 2041\" = 5\n[alarms]\nsilent_min = 10\n";
        let shown =
            toml::to_string(&Blank::of(["anna"], []).table(&text.parse().expect("TOML"))).expect("TOML");
        assert!(!shown.to_lowercase().contains("anna") && !shown.contains("2041"), "{shown}");
        for line in [
            "listen = \"0.0.0.0:8443\"",
            "https = true",
            "after = \"1h\"",
            "silent_min = 10",
            "user = \"[1 entries]\"",
        ] {
            assert!(shown.contains(line), "{line}\n{shown}");
        }
    }
}
