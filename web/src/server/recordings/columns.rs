//! The columns of the list (requirement rows GRD-04 to 07), and what stands in them.

use std::borrow::Cow;
use std::cmp::Ordering;

use policy::CustomField;
use store::{Direction, Field, OrderBy, Row, Source, State};

use crate::numbers;
use crate::server::escape::brief;
use crate::server::zone::{Moment, Zone};
use crate::words;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Started,
    Answered,
    Ended,
    Direction,
    OtherParty,
    Extension,
    Agent,
    User,
    Unit,
    Site,
    Ddi,
    HuntGroup,
    Trunk,
    AccountCode,
    Contact,
    Duration,
    RingTime,
    TalkTime,
    HoldTime,
    Rating,
    Tags,
    Codec,
    Lost,
    Source,
    CallId,
    Field(CustomField),
    Flags,
}

/// What stands in a cell.
pub(super) enum Cell {
    Nothing,
    /// The row's link.
    Lead(Moment),
    Time(Moment),
    Way {
        icon: &'static str,
        word: &'static str,
    },
    /// A number, and the name that goes with it.
    Named {
        number: String,
        /// As it is stored.
        stored: String,
        name: String,
    },
    Text(String),
    Number(String),
    Flags(Vec<Flag>),
}

/// Something worth a sign.
pub(super) struct Flag {
    /// Empty for one that is told by its text alone.
    pub(super) icon: &'static str,
    pub(super) text: String,
    pub(super) words: String,
}

/// Shown until somebody chooses (GRD-07).
const DEFAULT: [Column; 9] = [
    Column::Started,
    Column::Direction,
    Column::OtherParty,
    Column::Extension,
    Column::Agent,
    Column::User,
    Column::Ddi,
    Column::Duration,
    Column::Flags,
];

const FIXED: [Column; 26] = [
    Column::Started,
    Column::Answered,
    Column::Ended,
    Column::Direction,
    Column::OtherParty,
    Column::Extension,
    Column::Agent,
    Column::User,
    Column::Unit,
    Column::Site,
    Column::Ddi,
    Column::HuntGroup,
    Column::Trunk,
    Column::AccountCode,
    Column::Contact,
    Column::Duration,
    Column::RingTime,
    Column::TalkTime,
    Column::HoldTime,
    Column::Rating,
    Column::Tags,
    Column::Codec,
    Column::Lost,
    Column::Source,
    Column::CallId,
    Column::Flags,
];

impl Column {
    /// All that there are, the site's own fields among them, in the order in which they are shown.
    pub(super) fn all() -> impl Iterator<Item = Column> {
        let (flags, before) = (Column::Flags, FIXED.into_iter().filter(|column| *column != Column::Flags));
        before.chain(words::named_fields().map(Column::Field)).chain([flags])
    }

    /// As addresses and cookies have it.
    pub(super) fn key(self) -> &'static str {
        match self {
            Column::Started => "started",
            Column::Answered => "answered",
            Column::Ended => "ended",
            Column::Direction => "direction",
            Column::OtherParty => "other_party",
            Column::Extension => "extension",
            Column::Agent => "agent",
            Column::User => "user",
            Column::Unit => "unit",
            Column::Site => "site",
            Column::Ddi => "ddi",
            Column::HuntGroup => "hunt_group",
            Column::Trunk => "trunk",
            Column::AccountCode => "account_code",
            Column::Contact => "contact",
            Column::Duration => "duration",
            Column::RingTime => "ring",
            Column::TalkTime => "talk",
            Column::HoldTime => "hold",
            Column::Rating => "rating",
            Column::Tags => "tags",
            Column::Codec => "codec",
            Column::Lost => "lost",
            Column::Source => "source",
            Column::CallId => "call_id",
            Column::Field(field) => Field::from(field).name(),
            Column::Flags => "flags",
        }
    }

    /// As people see it.
    pub(super) fn label(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Column::Started => "Started",
            Column::Answered => "Answered",
            Column::Ended => "Ended",
            Column::Direction => "Direction",
            Column::OtherParty => "Other party",
            Column::Extension => "Extension",
            Column::Agent => "Agent",
            Column::User => "User",
            Column::Unit => "Business unit",
            Column::Site => "Site",
            Column::Ddi => "DDI",
            Column::HuntGroup => "Hunt group",
            Column::Trunk => "Trunk",
            Column::AccountCode => "Account code",
            Column::Contact => "Contact",
            Column::Duration => "Duration",
            Column::RingTime => "Ring time",
            Column::TalkTime => "Talk time",
            Column::HoldTime => "Hold time",
            Column::Rating => "Rating",
            Column::Tags => "Tags",
            Column::Codec => "Codec",
            Column::Lost => "Packets lost",
            Column::Source => "Source",
            Column::CallId => "SIP Call-ID",
            Column::Field(field) => return words::field(field).into(),
            Column::Flags => "Flags",
        })
    }

    /// Figures stand at the right.
    pub(super) fn is_figure(self) -> bool {
        use Column::{Duration, HoldTime, Lost, RingTime, TalkTime};
        matches!(self, Duration | RingTime | TalkTime | HoldTime | Lost)
    }

    /// By what a click on its heading sorts.
    pub(super) fn order(self) -> Option<OrderBy> {
        Some(match self {
            Column::Started => OrderBy::Started,
            Column::Duration => OrderBy::Duration,
            Column::Direction => OrderBy::Field(Field::Direction),
            Column::OtherParty => OrderBy::Field(Field::OtherParty),
            Column::Extension => OrderBy::Field(Field::Extension),
            Column::Agent => OrderBy::Field(Field::Agent),
            Column::User => OrderBy::Field(Field::User),
            Column::Unit => OrderBy::Field(Field::BusinessUnit),
            Column::Site => OrderBy::Field(Field::Site),
            Column::Ddi => OrderBy::Field(Field::Ddi),
            Column::HuntGroup => OrderBy::Field(Field::HuntGroup),
            Column::Trunk => OrderBy::Field(Field::Trunk),
            Column::AccountCode => OrderBy::Field(Field::AccountCode),
            Column::Contact => OrderBy::Field(Field::Contact),
            Column::Rating => OrderBy::Field(Field::Rating),
            Column::Tags => OrderBy::Field(Field::Tag),
            Column::Source => OrderBy::Field(Field::Source),
            Column::Field(field) => OrderBy::Field(field.into()),
            _ => return None,
        })
    }

    /// What stands in it of a recording.
    pub(super) fn cell(self, row: &Row, zone: &Zone) -> Cell {
        let facts = &row.facts;
        let text = |text: &Option<String>| {
            text.as_deref().map_or(Cell::Nothing, |text| Cell::Text(brief(text).into_owned()))
        };
        let named = |number: &str, name: Option<&str>| Cell::Named {
            number: brief(number).into_owned(),
            stored: brief(number).into_owned(),
            name: brief(name.filter(|name| *name != number).unwrap_or_default()).into_owned(),
        };
        // As the country writes it; what is stored, for whoever copies it, is in the title.
        let numbered = |number: &str, name: Option<&str>| Cell::Named {
            number: brief(&numbers::shown(number)).into_owned(),
            stored: brief(number).into_owned(),
            name: brief(name.filter(|name| *name != number).unwrap_or_default()).into_owned(),
        };
        let length = |ms: u64| Cell::Number(short_length(ms));
        match self {
            Column::Started => Cell::Lead(zone.moment(facts.started)),
            Column::Answered => facts.answered.map_or(Cell::Nothing, |at| Cell::Time(zone.moment(at))),
            Column::Ended => facts.ended.map_or(Cell::Nothing, |at| Cell::Time(zone.moment(at))),
            Column::Direction => way(facts.direction),
            Column::OtherParty => numbered(
                numbers::other_party(facts),
                facts.other_party_name.as_deref().or(facts.contact.as_deref()),
            ),
            Column::Extension => named(&facts.extension, facts.extension_name.as_deref()),
            Column::Agent => text(&facts.agent),
            Column::User => match (facts.user_name.as_ref().or(facts.user.as_ref()), &row.reassigned) {
                (None, None) => Cell::Nothing,
                (Some(name), None) => Cell::Text(brief(name).into_owned()),
                // Whom the telephone system named is in the title.
                (name, Some(given)) => {
                    let reported = given.reported.user.as_ref().map_or("nobody", |user| user.name.as_str());
                    Cell::Named {
                        number: name.map_or("nobody".into(), |name| brief(name).into_owned()),
                        stored: format!("by the telephone system: {}", brief(reported)),
                        name: String::new(),
                    }
                }
            },
            Column::Unit => text(&facts.business_unit),
            Column::Site => text(&facts.site),
            Column::Ddi => {
                facts.ddi.as_ref().map_or(Cell::Nothing, |ddi| numbered(ddi, facts.ddi_name.as_deref()))
            }
            Column::HuntGroup => text(&facts.hunt_group),
            Column::Trunk => text(&facts.trunk),
            Column::AccountCode => text(&facts.account_code),
            Column::Contact => text(&facts.contact),
            Column::Duration => length(facts.duration_ms),
            Column::RingTime => length(facts.ring_ms),
            Column::TalkTime => length(facts.talk_ms),
            Column::HoldTime => length(facts.hold_ms),
            Column::Rating => row.rating.map_or(Cell::Nothing, |stars| Cell::Text(words::stars(stars))),
            Column::Tags if facts.tags.is_empty() => Cell::Nothing,
            Column::Tags => Cell::Text(brief(&facts.tags.join(", ")).into_owned()),
            Column::Codec => {
                let mut names: Vec<&str> = facts.tracks.iter().map(|track| track.codec.name()).collect();
                names.dedup();
                Cell::Text(brief(&names.join("/")).into_owned())
            }
            Column::Lost => Cell::Number(lost(row).to_string()),
            Column::Source => Cell::Text(source(facts.source).to_owned()),
            Column::CallId => {
                facts.sip_call_ids.first().map_or(Cell::Nothing, |id| Cell::Text(brief(id).into_owned()))
            }
            Column::Field(field) => {
                facts.fields.of(field).map_or(Cell::Nothing, |value| Cell::Text(brief(value).into_owned()))
            }
            Column::Flags => Cell::Flags(flags(row)),
        }
    }
}

/// The columns that somebody has chosen, in their order, by the value of their cookie.
pub(super) fn chosen(cookie: Option<&str>) -> Vec<Column> {
    let mut chosen: Vec<Column> = Vec::new();
    for key in cookie.unwrap_or_default().split('.').take(FIXED.len() + CustomField::ALL.len()) {
        chosen.extend(Column::all().find(|column| column.key() == key && !chosen.contains(column)));
    }
    if chosen.is_empty() { DEFAULT.to_vec() } else { chosen }
}

/// What a column is sorted by that was the `was`th, from 1, and is to be the `written`th: one that moves up comes before the one that is
/// there, one that moves down behind it.
pub(super) fn place(written: &str, was: usize) -> usize {
    let place: usize = written.parse().unwrap_or(was).clamp(1, 1_000);
    match place.cmp(&was) {
        Ordering::Less => 3 * place - 1,
        Ordering::Equal => 3 * place,
        Ordering::Greater => 3 * place + 1,
    }
}

/// Minutes and seconds; hours when there are some.
pub(in crate::server) fn short_length(ms: u64) -> String {
    let s = ms.saturating_add(500) / 1_000;
    let (h, m, s) = (s / 3_600, s / 60 % 60, s % 60);
    if h > 0 { format!("{h}:{m:02}:{s:02}") } else { format!("{m}:{s:02}") }
}

/// Which way, as a sign with its word.
pub(in crate::server) fn way_of(direction: Direction) -> (&'static str, &'static str) {
    match direction {
        Direction::Inbound => ("i-in", "Inbound"),
        Direction::Outbound => ("i-out", "Outbound"),
        Direction::Internal => ("i-internal", "Internal"),
        Direction::Unknown => ("", "Unknown"),
    }
}

fn way(direction: Direction) -> Cell {
    let (icon, word) = way_of(direction);
    Cell::Way { icon, word }
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Mirror => "mirror port",
        Source::RecordACall => "Record-A-Call",
        Source::Import => "import",
    }
}

fn lost(row: &Row) -> u64 {
    let lost = |track: &store::Track| track.lost_network.saturating_add(track.lost_capture);
    row.facts.tracks.iter().map(lost).fold(0, u64::saturating_add)
}

fn flags(row: &Row) -> Vec<Flag> {
    let facts = &row.facts;
    let mut flags = Vec::new();
    let mut flag = |icon, words: String| flags.push(Flag { icon, text: String::new(), words });
    if facts.state == State::Interrupted {
        flag("i-warning", "the recording was cut off".into());
    }
    if !facts.pauses.is_empty() {
        flag("i-pause", "the recording was paused".into());
    }
    if !facts.holds.is_empty() {
        flag("i-hold", "was on hold".into());
    }
    let lost = lost(row);
    if lost > 0 {
        flag("i-gap", format!("{lost} packets were lost"));
    }
    if !facts.one_way.is_empty() {
        flag("i-warning", "only one side was heard for a time".into());
    }
    if facts.held {
        flag("i-lock", "under legal hold".into());
    }
    match row.notes.len() {
        0 => {}
        1 => flag("i-note", "a note".into()),
        notes => flag("i-note", format!("{notes} notes")),
    }
    if !facts.tags.is_empty() {
        flag("i-tag", format!("tags: {}", brief(&facts.tags.join(", "))));
    }
    if let Some(deletion) = &row.deleted {
        flag("i-trash", format!("the audio was deleted, rule {}", brief(&deletion.rule)));
    }
    if let Some(stars) = row.rating.filter(|stars| *stars > 0) {
        flags.push(Flag { icon: "", text: format!("★{stars}"), words: words::stars(stars) + " stars" });
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_has_a_key_of_its_own_and_choices_are_kept_in_their_order() {
        let keys: Vec<&str> = Column::all().map(Column::key).collect();
        let mut sorted = keys.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), keys.len());
        assert_eq!(chosen(Some("flags.started.nonsense.flags")), [Column::Flags, Column::Started]);
        assert_eq!(chosen(Some("nonsense")), DEFAULT);
        assert_eq!(chosen(None), DEFAULT);
    }

    #[test]
    fn a_column_that_is_moved_comes_to_where_it_is_to_be() {
        let moved = |written: [&str; 4]| {
            let mut order: Vec<(usize, char)> = written
                .iter()
                .zip(1..)
                .zip('a'..)
                .map(|((written, was), name)| (place(written, was), name))
                .collect();
            order.sort();
            order.into_iter().map(|(_, name)| name).collect::<String>()
        };
        assert_eq!(moved(["1", "2", "3", "4"]), "abcd");
        assert_eq!(moved(["1", "2", "3", "1"]), "dabc");
        assert_eq!(moved(["3", "2", "3", "4"]), "bcad");
        assert_eq!(moved(["1", "x", "", "99"]), "abcd");
    }

    #[test]
    fn lengths_are_short() {
        assert_eq!([0, 65_400, 3_725_600].map(short_length), ["0:00", "1:05", "1:02:06"]);
    }
}
