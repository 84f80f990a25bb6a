//! `/rules`: the rule book in force, section by section, its versions, and what leads to a new one.

mod ask;
mod draft;
mod review;
mod rights;
mod seen;
mod values;
mod versions;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use policy::{Mode, Permission, RuleType};
use store::{Archive, BookVersion, Source};

pub(super) use self::ask::{OF_ASKING, ask};
pub(super) use self::draft::text_of_version;
pub(super) use self::review::{back, review, since, text};
pub(super) use self::rights::{OF_BOOK, may_all};
pub(super) use self::seen::extensions;
pub(super) use self::values::{entry, values};
pub(super) use self::versions::{compared, version, versions};
use super::App;
use super::caller::Asker;
use super::escape::brief;
use super::form::Form;
use super::frame::{Frame, Page, page};
use super::refusal::Refusal;
use super::zone::{Moment, Zone};
use crate::rules::{List, Preset, RuleBook, RuleLine, RulesError, Sections, Words};

/// Entries of recorded devices on the page; a field finds others.
const DEVICES_SHOWN_MAX: usize = 500;

impl From<RulesError> for Refusal {
    fn from(error: RulesError) -> Refusal {
        match error {
            RulesError::Wrong(wrong) => Refusal::Wrong(wrong.what),
            RulesError::Store(error) => error.into(),
            RulesError::Busy => Refusal::Busy,
            RulesError::Failed(what) => {
                tracing::error!(error = what, "the rules");
                Refusal::BrokeOff
            }
        }
    }
}

/// What is in force.
pub(super) struct InForce {
    /// 0 without a book: the configuration decides then.
    pub(super) version: u64,
    pub(super) book: Option<BookVersion>,
    pub(super) text: String,
}

impl InForce {
    pub(super) fn of(archive: &Archive, rules: &dyn RuleBook) -> Result<InForce, RulesError> {
        Ok(match archive.book()? {
            Some(book) => InForce { version: book.version, text: book.text.clone(), book: Some(book) },
            None => InForce { version: 0, text: rules.configured()?, book: None },
        })
    }
}

/// Who put a version in force, when and why.
struct Made {
    version: u64,
    who: String,
    at: Moment,
    why: String,
    restores: Option<u64>,
}

impl Made {
    fn of(book: &BookVersion, zone: &Zone) -> Made {
        Made {
            version: book.version,
            who: brief(&book.who).into_owned(),
            at: zone.moment(book.at),
            why: brief(&book.why).into_owned(),
            restores: book.restores,
        }
    }
}

/// A word of the book, and what it is called.
struct Choice {
    key: String,
    label: String,
    is_chosen: bool,
}

/// The words that a type is written by, as the book has them.
fn kinds(chosen: &str) -> Vec<Choice> {
    let choice = |kind: RuleType| {
        let key = key_of(&kind);
        Choice { label: kind.words().to_owned(), is_chosen: key == chosen, key }
    };
    RuleType::ALL.into_iter().map(choice).collect()
}

pub(super) fn key_of(word: &impl serde::Serialize) -> String {
    serde_json::to_value(word).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

/// One of the two lists, with what may be done to it.
struct RuleTable {
    /// As forms name it.
    key: &'static str,
    title: &'static str,
    hint: &'static str,
    rows: Vec<RuleRow>,
}

struct RuleRow {
    /// As forms name it.
    was: String,
    kind: &'static str,
    value: String,
    description: String,
    is_first: bool,
    is_last: bool,
}

impl RuleTable {
    fn of(which: List, rules: &[RuleLine]) -> RuleTable {
        let last = rules.len().saturating_sub(1);
        let row = |(place, rule): (usize, &RuleLine)| RuleRow {
            was: rule.named(),
            kind: rule.kind.words(),
            value: rule.value.clone(),
            description: rule.description.clone(),
            is_first: place == 0,
            is_last: place == last,
        };
        let (key, title, hint) = match which {
            List::Exclude => ("exclude", "Exclusions", "What is not recorded, unless an inclusion names it."),
            List::Include => (
                "include",
                "Inclusions",
                "What is recorded whatever the exclusions say. A device that is not recorded stays so.",
            ),
        };
        RuleTable { key, title, hint, rows: rules.iter().enumerate().map(row).collect() }
    }
}

struct DeviceRow {
    place: usize,
    number: String,
    name: String,
    mode: String,
    priority: String,
    source: &'static str,
    address: String,
    is_first: bool,
    is_last: bool,
}

/// A list of words that a form changes as a whole.
struct WordsForm {
    key: &'static str,
    label: &'static str,
    words: String,
    /// What an empty list means.
    none: &'static str,
}

#[derive(askama::Template)]
#[template(path = "rules.html")]
struct Shown {
    frame: Frame,
    from: u64,
    made: Option<Made>,
    /// Why it cannot be read.
    wrong: String,
    may_all: bool,
    may_ask: bool,
    sees_devices: bool,
    sees_pauses: bool,
    sees_dial_plan: bool,
    sees_retention: bool,
    sees_exclusions: bool,
    lists: Vec<RuleTable>,
    kinds: Vec<Choice>,
    places: Vec<WordsForm>,
    presets: Vec<Preset>,
    devices: Vec<DeviceRow>,
    more_devices: usize,
    find: String,
    sections: Sections,
}

/// `GET /rules`.
pub(super) async fn rules(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let rules = app.rules()?.clone();
    if !rights::may_any(&asker) {
        return Err(Refusal::NoPage);
    }
    let presets = rules.presets();
    let (in_force, sections) = app
        .read(move |archive| {
            let in_force = InForce::of(archive, &*rules)?;
            let sections = rules.read(&in_force.text);
            Ok((in_force, sections))
        })
        .await?;
    let (sections, wrong) = match sections {
        Ok(sections) => (sections, String::new()),
        Err(RulesError::Wrong(wrong)) => (Sections::default(), words_of(&wrong)),
        Err(error) => return Err(error.into()),
    };
    let find = Form::parse(&query.unwrap_or_default()).text("find").to_owned();
    let may = |permission| asker.caller.may(permission);
    let mut lists = Vec::new();
    if may(Permission::Exclusions) {
        lists.push(RuleTable::of(List::Exclude, &sections.exclude));
    }
    if may(Permission::Inclusions) {
        lists.push(RuleTable::of(List::Include, &sections.include));
    }
    let (devices, more_devices) = devices(&sections, &find);
    page(&Shown {
        frame: app.frame(&asker, Page::At("/rules"), "Rules"),
        from: in_force.version,
        made: in_force.book.as_ref().map(|book| Made::of(book, app.zone())),
        wrong,
        may_all: rights::may_whole(&asker),
        may_ask: ask::may(&asker),
        sees_devices: may(Permission::PhoneSystems),
        sees_pauses: may(Permission::PauseRules),
        sees_dial_plan: may(Permission::DialPlan),
        sees_retention: may(Permission::Retention),
        sees_exclusions: may(Permission::Exclusions),
        lists,
        kinds: kinds(""),
        places: places(&sections),
        presets,
        devices,
        more_devices,
        find,
        sections,
    })
}

/// What is wrong with a text, with its place.
pub(super) fn words_of(wrong: &crate::rules::Wrong) -> String {
    match wrong.place {
        Some((line, column)) => format!("Line {line}, column {column}: {}", wrong.what),
        None => wrong.what.clone(),
    }
}

/// Those that a word finds, and how many more there are.
fn devices(sections: &Sections, find: &str) -> (Vec<DeviceRow>, usize) {
    let all = &sections.devices;
    let wanted = find.to_lowercase();
    let last = all.len().saturating_sub(1);
    let found = all.iter().enumerate().filter(|(_, device)| {
        wanted.is_empty() || device.number.contains(&wanted) || device.name.to_lowercase().contains(&wanted)
    });
    let count = found.clone().count();
    let row = |(place, device): (usize, &crate::rules::DeviceLine)| DeviceRow {
        place,
        number: device.number.clone(),
        name: device.name.clone(),
        mode: mode_words(device.mode),
        priority: device.priority.map_or(String::new(), |priority| priority.to_string()),
        source: device.source.map_or("", Source::key),
        address: if device.ip.is_empty() { device.mac.clone() } else { device.ip.clone() },
        is_first: place == 0,
        is_last: place == last,
    };
    (found.take(DEVICES_SHOWN_MAX).map(row).collect(), count.saturating_sub(DEVICES_SHOWN_MAX))
}

pub(super) fn mode_words(mode: Mode) -> String {
    mode.key().replace('_', " ")
}

fn places(sections: &Sections) -> Vec<WordsForm> {
    let form = |which: Words, words: String| {
        let (key, label, none) = match which {
            Words::Extensions => (
                "extensions",
                "Numbers of extensions",
                "Told by evidence: who registers, and how long numbers are.",
            ),
            Words::Pbx => ("pbx", "Addresses of the PBX", "Told by who registers where."),
            Words::RtpPorts => ("rtp_ports", "Ports that carry audio", "Audio is looked for on every port."),
            Words::Trunks => ("trunks", "Addresses of the public network’s side", "None is named."),
        };
        WordsForm { key, label, words, none }
    };
    vec![
        form(Words::Extensions, sections.extensions.clone()),
        form(Words::Pbx, sections.pbx.join(", ")),
        form(Words::RtpPorts, sections.rtp_ports.join(", ")),
        form(Words::Trunks, sections.trunks.join(", ")),
    ]
}

#[derive(askama::Template)]
#[template(path = "rules_device.html")]
struct Device {
    frame: Frame,
    from: u64,
    /// Of one that is there.
    place: Option<usize>,
    was: String,
    number: String,
    name: String,
    ip: String,
    mac: String,
    modes: Vec<Choice>,
    sources: Vec<Choice>,
    priority: String,
}

/// `GET /rules/device`: the form of an entry of recorded devices; `?place=` names one that is there, `?number=` is what a new one begins with.
pub(super) async fn device(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    asker.need(Permission::PhoneSystems)?;
    let rules = app.rules()?.clone();
    let (version, mut sections) = app
        .read(move |archive| {
            let in_force = InForce::of(archive, &*rules)?;
            Ok((in_force.version, rules.read(&in_force.text)?))
        })
        .await?;
    let form = Form::parse(&query.unwrap_or_default());
    let place: Option<usize> = form.text("place").parse().ok();
    let entry = match place {
        Some(place) if place < sections.devices.len() => Some(sections.devices.swap_remove(place)),
        Some(_) => return Err(Refusal::NoPage),
        None => None,
    };
    let mode = entry.as_ref().map_or(Mode::Always, |entry| entry.mode);
    let source = entry.as_ref().and_then(|entry| entry.source);
    let modes = Mode::ALL.map(|each| Choice {
        key: each.key().to_owned(),
        label: mode_words(each),
        is_chosen: each == mode,
    });
    let sources = [Source::Mirror, Source::RecordACall].map(|each| Choice {
        key: key_of(&each),
        label: each.key().to_owned(),
        is_chosen: source == Some(each),
    });
    let text =
        |of: fn(&crate::rules::DeviceLine) -> &String| entry.as_ref().map(of).cloned().unwrap_or_default();
    page(&Device {
        frame: app.frame(&asker, Page::At("/rules"), "Recorded device"),
        from: version,
        place,
        was: text(|entry| &entry.number),
        number: entry.as_ref().map_or_else(|| form.text("number").to_owned(), |entry| entry.number.clone()),
        name: text(|entry| &entry.name),
        ip: text(|entry| &entry.ip),
        mac: text(|entry| &entry.mac),
        modes: modes.into(),
        sources: sources.into(),
        priority: entry
            .as_ref()
            .and_then(|entry| entry.priority)
            .map_or(String::new(), |level| level.to_string()),
    })
}
