//! What an address of the list asks for, and the address of what is asked for: the whole state of the page is in it.
//!
//! Pure: text in, a [`Query`] or words for people out.

use std::borrow::Cow;

use decode::Timestamp;
use form_urlencoded::Serializer;
use policy::Caller;
use store::{Cursor, CustomField, Field, Order, OrderBy, Outcome, Query, State};

use super::saved::Named;
use crate::numbers;
use crate::server::zone::{Range, Zone};
use crate::words;

/// Characters of one value in an address.
const VALUE_MAX: usize = 500;
/// Filters of one search.
const FILTERS_MAX: usize = 30;
/// How an address asks for calls without a recording.
pub(super) const UNRECORDED: &str = "unrecorded";

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::server) struct Search {
    pub(super) range: Range,
    /// As written, with [`Range::Custom`].
    pub(super) from: String,
    pub(super) to: String,
    /// A recording's or a call's name, or its beginning; then nothing else counts.
    pub(in crate::server) id: String,
    /// A saved filter, as [`Named`](super::saved::Named) writes it. What it asks for must hold besides everything else.
    pub(in crate::server) filter: String,
    /// Patterns by field, in the order of the address.
    pub(super) fields: Vec<(Field, String)>,
    /// Seconds, as written.
    pub(super) least: String,
    pub(super) most: String,
    /// Words in their notes, or `%` for any note.
    pub(super) notes: String,
    /// Running ones are shown, too.
    pub(in crate::server) live: bool,
    /// Calls without a recording are shown, in place of recordings: newest first, and no running ones.
    pub(in crate::server) unrecorded: bool,
    /// Of these, those that came to this.
    pub(in crate::server) outcome: Option<Outcome>,
    pub(in crate::server) order: Option<Order>,
    /// Where the page begins, in the order of names or in another.
    pub(in crate::server) before: Option<String>,
}

/// Something in it cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) struct Wrong {
    /// The name of what is off.
    pub(in crate::server) name: String,
    /// What is off, and what would be right.
    pub(in crate::server) why: String,
}

/// A filter that is in force, for the chips above the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chip {
    pub(super) words: String,
    /// The address without it.
    pub(super) without: String,
}

impl Search {
    /// Reads the part of an address behind the question mark. What is not ours is passed over: bookmarks live longer than programs.
    pub(in crate::server) fn parse(query: &str) -> Search {
        let mut search = Search::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value: String = value.trim().chars().take(VALUE_MAX).collect();
            if value.is_empty() {
                continue;
            }
            match &*name {
                "range" => search.range = Range::of_key(&value).unwrap_or_default(),
                "from" => search.from = value,
                "to" => search.to = value,
                "id" => search.id = value,
                "filter" => search.filter = value,
                "least" => search.least = value,
                "most" => search.most = value,
                "notes" => search.notes = value,
                "show" => {
                    search.live |= value == "live";
                    search.unrecorded |= value == UNRECORDED;
                }
                "outcome" => search.outcome = Outcome::ALL.into_iter().find(|one| one.key() == value),
                "before" => search.before = Some(value),
                "sort" => search.order = read_order(&value),
                name => search.add(name, value),
            }
        }
        if !(search.from.is_empty() && search.to.is_empty()) {
            search.range = Range::Custom;
        } else if search.range == Range::Custom {
            search.range = Range::default();
        }
        match search.unrecorded {
            true => (search.live, search.order) = (false, None),
            false => search.outcome = None,
        }
        search
    }

    fn add(&mut self, name: &str, value: String) {
        let Ok(field) = name.parse::<Field>() else { return };
        if self.fields.len() < FILTERS_MAX && self.value(field).is_empty() {
            self.fields.push((field, value));
        }
    }

    /// What is asked for of a field; empty for nothing.
    pub(super) fn value(&self, field: Field) -> &str {
        self.fields.iter().find(|(other, _)| *other == field).map_or("", |(_, value)| value)
    }

    /// Asks for this of a field, and for nothing else of it; for nothing when it is empty.
    pub(super) fn set(&mut self, field: Field, value: &str) {
        self.fields.retain(|(other, _)| *other != field);
        self.add(field.name(), value.to_owned());
        self.fields.retain(|(_, value)| !value.is_empty());
    }

    /// The address of it, and of nothing else.
    pub(in crate::server) fn address(&self) -> String {
        let mut written = Serializer::new(String::new());
        if self.range == Range::Custom {
            for (name, value) in [("from", &self.from), ("to", &self.to)] {
                if !value.is_empty() {
                    written.append_pair(name, value);
                }
            }
        } else {
            written.append_pair("range", self.range.key());
        }
        for (name, value) in [("id", &self.id), ("filter", &self.filter)] {
            if !value.is_empty() {
                written.append_pair(name, value);
            }
        }
        self.write_conditions(&mut written);
        if self.live {
            written.append_pair("show", "live");
        }
        if self.unrecorded {
            written.append_pair("show", UNRECORDED);
        }
        if let Some(outcome) = self.outcome {
            written.append_pair("outcome", outcome.key());
        }
        if let Some(order) = self.order {
            written.append_pair("sort", &write_order(order));
        }
        if let Some(before) = &self.before {
            written.append_pair("before", before);
        }
        format!("/recordings?{}", written.finish())
    }

    /// The part of the address that a saved filter keeps: what recordings must be like, whenever they were.
    pub(super) fn conditions(&self) -> String {
        let mut written = Serializer::new(String::new());
        self.write_conditions(&mut written);
        written.finish()
    }

    fn write_conditions(&self, written: &mut Serializer<'_, String>) {
        for (name, value) in [("least", &self.least), ("most", &self.most), ("notes", &self.notes)] {
            if !value.is_empty() {
                written.append_pair(name, value);
            }
        }
        for (field, value) in &self.fields {
            written.append_pair(field.name(), value);
        }
    }

    /// The same search with something else: its address, from the first page on.
    pub(super) fn but(&self, change: impl FnOnce(&mut Search)) -> String {
        let mut other = Search { before: None, ..self.clone() };
        change(&mut other);
        other.address()
    }

    /// The same asked of calls without a recording, or of recordings again.
    pub(super) fn of_unrecorded(&self, unrecorded: bool) -> String {
        self.but(|search| {
            (search.unrecorded, search.outcome) = (unrecorded, None);
            (search.live, search.order) = (false, None);
        })
    }

    pub(super) fn with_range(&self, range: Range) -> String {
        self.but(|search| {
            (search.range, search.from, search.to) = (range, String::new(), String::new());
            search.id = String::new();
        })
    }

    /// Sorted by this: the other way round where it is already.
    pub(super) fn sorted_by(&self, by: OrderBy) -> String {
        let descending = match self.order() {
            Order { by: now, descending } if now == by => !descending,
            _ => matches!(by, OrderBy::Started | OrderBy::Duration | OrderBy::Bytes),
        };
        self.but(|search| {
            search.order = Some(Order { by, descending }).filter(|order| *order != NEWEST_FIRST)
        })
    }

    pub(in crate::server) fn behind(&self, before: String) -> String {
        self.but(|search| search.before = Some(before))
    }

    /// The order in force.
    pub(super) fn order(&self) -> Order {
        self.order.unwrap_or(NEWEST_FIRST)
    }

    /// What is in force, each with the address without it.
    pub(super) fn chips(&self) -> Vec<Chip> {
        let mut chips = Vec::new();
        if !self.filter.is_empty() {
            let name = Named::parse(&self.filter).map_or(self.filter.as_str(), |named| named.label());
            let words = format!("Filter “{name}”");
            chips.push(Chip { words, without: self.but(|search| search.filter = String::new()) });
        }
        if !self.id.is_empty() {
            let words = format!("Number {}, at all times", self.id);
            chips.push(Chip { words, without: self.but(|search| search.id = String::new()) });
        }
        if self.range == Range::Custom {
            let words = match (self.from.as_str(), self.to.as_str()) {
                (from, "") => format!("From {}", said(from)),
                ("", to) => format!("Up to {}", said(to)),
                (from, to) => format!("{} to {}", said(from), said(to)),
            };
            chips.push(Chip { words, without: self.with_range(Range::default()) });
        }
        for (place, (field, value)) in self.fields.iter().enumerate() {
            let without = self.but(|search| drop(search.fields.remove(place)));
            chips.push(Chip { words: format!("{} {value}", label(*field)), without });
        }
        for (name, value, is_least) in [("At least", &self.least, true), ("At most", &self.most, false)] {
            if !value.is_empty() {
                let words = format!("{name} {value} s");
                let without =
                    self.but(|search| if is_least { search.least.clear() } else { search.most.clear() });
                chips.push(Chip { words, without });
            }
        }
        if let Some(outcome) = self.outcome {
            let without = self.but(|search| search.outcome = None);
            chips.push(Chip { words: format!("Outcome: {}", words::outcome(outcome)), without });
        }
        if !self.notes.is_empty() {
            let words = match self.notes.as_str() {
                "%" => "With a note".to_owned(),
                words => format!("Noted: {words}"),
            };
            chips.push(Chip { words, without: self.but(|search| search.notes.clear()) });
        }
        chips
    }

    /// The query, for what this caller sees; `saved` is what the saved filter asks for, which `App::query` looks up.
    pub(super) fn query(
        &self,
        saved: Option<&Search>,
        caller: &Caller,
        now: Timestamp,
        zone: &Zone,
    ) -> Result<Query, Wrong> {
        let mut query = Query::default();
        query.seen_by = Some(caller.clone());
        if !self.id.is_empty() {
            query.call(&self.id).map_err(|error| wrong("id", error))?;
            return Ok(query);
        }
        (query.since, query.until) = match self.range {
            Range::Custom => (self.moment("from", &self.from, zone)?, self.moment("to", &self.to, zone)?),
            range => range.bounds(now, zone),
        };
        self.narrow(&mut query)?;
        if let Some(saved) = saved {
            // What the panel cannot point at is told of the filter.
            saved.narrow(&mut query).map_err(|wrong| Wrong {
                name: "filter".to_owned(),
                why: format!("the saved filter, {}: {}", wrong.name, wrong.why),
            })?;
        }
        Ok(query)
    }

    /// Adds what recordings must be like to a query.
    fn narrow(&self, query: &mut Query) -> Result<(), Wrong> {
        for (field, value) in &self.fields {
            // What is wrong with it is told of what was written.
            field.pattern(value).map_err(|error| wrong(field.name(), error))?;
            let value = numbers::searched(*field, value);
            query.filter(*field, &value).map_err(|error| wrong(field.name(), error))?;
        }
        query.note_words(&self.notes);
        let (least, most) = (length("least", &self.least)?, length("most", &self.most)?);
        query.at_least_ms = query.at_least_ms.max(least);
        query.at_most_ms = [query.at_most_ms, most].into_iter().flatten().min();
        Ok(())
    }

    /// Can all of it be read?
    pub(super) fn check(&self) -> Result<(), Wrong> {
        self.narrow(&mut Query::default())
    }

    fn moment(&self, name: &str, text: &str, zone: &Zone) -> Result<Option<Timestamp>, Wrong> {
        if text.is_empty() {
            return Ok(None);
        }
        let read = zone.read(text);
        read.map(Some).ok_or_else(|| wrong(name, "write it as 2026-11-30 09:00 or 2026-11-30"))
    }
}

/// What lists begin with, and the only order in which a page does not look through the whole search.
pub(super) const NEWEST_FIRST: Order = Order { by: OrderBy::Started, descending: true };

fn read_order(text: &str) -> Option<Order> {
    let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
    let order = Order { by: name.parse().ok()?, descending };
    Some(order).filter(|order| *order != NEWEST_FIRST)
}

fn write_order(order: Order) -> String {
    format!("{}{}", if order.descending { "-" } else { "" }, order.by)
}

/// A cursor of the sorted list.
pub(in crate::server) fn cursor(text: &str) -> Result<Cursor, Wrong> {
    text.parse().map_err(|error| wrong("before", error))
}

fn length(name: &str, text: &str) -> Result<Option<u64>, Wrong> {
    if text.is_empty() {
        return Ok(None);
    }
    let seconds: Result<u64, _> = text.parse();
    seconds.map(|s| Some(s.saturating_mul(1_000))).map_err(|_| wrong(name, "whole seconds, as 90"))
}

fn wrong(name: &str, why: impl ToString) -> Wrong {
    Wrong { name: name.to_owned(), why: why.to_string() }
}

fn said(moment: &str) -> Cow<'_, str> {
    if moment.contains('T') { Cow::Owned(moment.replacen('T', " ", 1)) } else { Cow::Borrowed(moment) }
}

/// A field as people see it.
pub(super) fn label(field: Field) -> Cow<'static, str> {
    Cow::Borrowed(match field {
        Field::Extension => "Extension",
        Field::ExtensionName => "Extension name",
        Field::OutsideNumber => "Outside number",
        Field::OtherParty => "Other party",
        Field::OtherPartyName => "Other party’s name",
        Field::User => "User",
        Field::Agent => "Agent",
        Field::AccountCode => "Account code",
        Field::HuntGroup => "Hunt group",
        Field::Trunk => "Trunk",
        Field::Ddi => "DDI",
        Field::Call => "Call",
        Field::UserName => "User’s name",
        Field::Site => "Site",
        Field::Tag1 => return words::field(CustomField::Tag1).into(),
        Field::Tag2 => return words::field(CustomField::Tag2).into(),
        Field::Tag3 => return words::field(CustomField::Tag3).into(),
        Field::Tag4 => return words::field(CustomField::Tag4).into(),
        Field::Tag5 => return words::field(CustomField::Tag5).into(),
        Field::DdiName => "DDI name",
        Field::Contact => "Contact",
        Field::TransferredFrom => "Passed on by",
        Field::Tag => "Tag",
        Field::BusinessUnit => "Business unit",
        Field::Rating => "Stars",
        Field::Direction => "Direction",
        Field::State => "State",
        Field::Source => "Source",
        Field::Held => "Under legal hold",
        Field::Deleted => "Deleted",
    })
}

/// Does the query leave running recordings out unless it is told otherwise (GRD-09)?
pub(in crate::server) fn leave_running_out(query: &mut Query) {
    // The words of a state are ours: they can be read.
    let _ = query.filter(Field::State, &format!("!{}", words::state(State::Recording)));
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn query(address: &str) -> Result<Query, Wrong> {
        let now = "2026-11-30T09:00:00Z".parse().expect("a time");
        Search::parse(address).query(None, &Caller::console("test"), now, &Zone::new(TimeZone::UTC))
    }

    #[test]
    fn an_address_reads_back_as_what_it_was_made_of() {
        for address in [
            "range=15m",
            "range=today&extension=1000-1005%2C%211003&direction=inbound&show=live",
            "from=2026-11-01T09%3A00&to=2026-11-02&least=10&most=600&tag=vip",
            "range=all&sort=-duration&before=01",
            "range=all&id=01ABC",
            "range=today&filter=shared%3ALate+ones&least=10&notes=call+back&extension=1000",
            "range=week&extension=1000&show=unrecorded&outcome=no_channel&before=01",
        ] {
            assert_eq!(Search::parse(address).address(), format!("/recordings?{address}"));
        }
        assert_eq!(Search::parse("colour=red&range=never&x").address(), "/recordings?range=15m");
        assert_eq!(
            Search::parse("range=all&show=live&show=unrecorded&sort=duration&outcome=x").address(),
            "/recordings?range=all&show=unrecorded",
            "of calls without a recording none run, and they stand newest first"
        );
        assert_eq!(Search::parse("outcome=excluded").outcome, None, "recordings have no such");
        assert_eq!(Search::parse("sort=-started").order, None, "the default is not said");
        assert_eq!(
            Search::parse("range=custom&from=&to=").address(),
            "/recordings?range=15m",
            "no stretch is the default"
        );
    }

    #[test]
    fn what_cannot_be_read_is_named_with_what_would_be_right() {
        for (address, name, hint) in [
            ("extension=5-1", "extension", "backwards"),
            ("direction=sideways", "direction", "inbound"),
            ("from=soon", "from", "2026"),
            ("least=long", "least", "seconds"),
        ] {
            let Err(wrong) = query(address) else { panic!("{address}") };
            assert!(wrong.name == name && wrong.why.contains(hint), "{wrong:?}");
        }
    }

    #[test]
    fn a_number_is_looked_for_at_all_times_whatever_else_is_asked() {
        let query = query("range=15m&id=01A&extension=5-1").expect("right");
        assert_eq!((query.since, query.until), (None, None));
    }

    #[test]
    fn each_chip_leads_to_the_search_without_it() {
        let search = Search::parse("from=2026-11-01&extension=1000&tag=vip&least=5&before=x");
        let chips = search.chips();
        let words: Vec<&str> = chips.iter().map(|chip| chip.words.as_str()).collect();
        assert_eq!(words, ["From 2026-11-01", "Extension 1000", "Tag vip", "At least 5 s"]);
        assert_eq!(chips[1].without, "/recordings?from=2026-11-01&least=5&tag=vip");
        assert_eq!(chips[0].without, "/recordings?range=15m&least=5&extension=1000&tag=vip");
    }

    #[test]
    fn a_heading_sorts_and_turns_round() {
        let search = Search::parse("range=today&sort=extension");
        assert_eq!(
            search.sorted_by(OrderBy::Field(Field::Extension)),
            "/recordings?range=today&sort=-extension"
        );
        assert_eq!(search.sorted_by(OrderBy::Duration), "/recordings?range=today&sort=-duration");
        assert_eq!(search.sorted_by(OrderBy::Started), "/recordings?range=today");
    }
}
