//! Calls without a recording, on the page of recordings: found by the same questions, shown by the same rule, with why.

use policy::access::Segment;
use store::{Archive, CallPlace, Direction, Field, Outcome, Unrecorded};

use super::columns::{short_length, way_of};
use super::search::{Search, Wrong};
use super::{Found, ROWS};
use crate::numbers;
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::calls::advice;
use crate::server::escape::brief;
use crate::server::refusal::Refusal;
use crate::server::zone::{Moment, Range};
use crate::words;

/// What stands in place of the recordings.
#[derive(Default)]
pub(super) struct Listed {
    /// How many came to what, each with the address of these alone.
    pub(super) outcomes: Vec<Sum>,
    pub(super) calls: Vec<Line>,
}

pub(super) struct Sum {
    pub(super) words: String,
    pub(super) count: u64,
    pub(super) href: String,
    pub(super) is_current: bool,
}

pub(super) struct Line {
    pub(super) started: Moment,
    pub(super) icon: &'static str,
    pub(super) way: &'static str,
    pub(super) extension: String,
    pub(super) extension_name: String,
    pub(super) other: String,
    /// As it is stored, for whoever copies it.
    pub(super) stored: String,
    pub(super) other_name: String,
    pub(super) user: String,
    pub(super) unit: String,
    pub(super) length: String,
    pub(super) outcome: String,
    /// Something that somebody should look at.
    pub(super) is_trouble: bool,
    /// Empty where it is not said of this part.
    pub(super) reason: String,
    pub(super) why: Vec<String>,
}

/// What the page shows, or what is wrong with what is asked for.
pub(super) async fn find(app: &App, asker: &Asker, search: &Search) -> Result<Result<Found, Wrong>, Refusal> {
    let asked = app.query(asker, search).and_then(|query| {
        let before = search.before.as_deref().map(str::parse::<CallPlace>).transpose();
        let wrong = |_| Wrong { name: "before".to_owned(), why: "no place in this list".to_owned() };
        Ok((query, before.map_err(wrong)?))
    });
    let (query, before) = match asked {
        Ok(asked) => asked,
        Err(wrong) => return Ok(Err(wrong)),
    };
    let outcome = search.outcome;
    let is_bounded = search.range != Range::All;
    let look = move |archive: &Archive| {
        let (calls, is_more) = archive.unrecorded(&query, outcome, before, ROWS)?;
        // Sums look through the whole search: not through all that there is for each page of it.
        let has_sums = before.is_none() && (is_bounded || !is_more);
        let sums = has_sums.then(|| archive.unrecorded_outcomes(&query)).transpose()?;
        Ok((calls, is_more, sums))
    };
    let (calls, is_more, sums) = app.read(look).await?;
    let next = calls.last().filter(|_| is_more).map(|call| call.place.to_string());
    let listed = Listed {
        outcomes: sums.iter().flatten().map(|(outcome, count)| sum(search, *outcome, *count)).collect(),
        calls: calls.iter().map(|call| line(app, asker, call)).collect(),
    };
    let sums = sums.map(|sums| {
        let all: u64 = sums.values().sum();
        format!("{all} call{} without a recording", if all == 1 { "" } else { "s" })
    });
    Ok(Ok(Found { unrecorded: Some(listed), next, sums, ..Found::default() }))
}

fn sum(search: &Search, outcome: Outcome, count: u64) -> Sum {
    let is_current = search.outcome == Some(outcome);
    let href = search.but(|search| search.outcome = Some(outcome).filter(|_| !is_current));
    Sum { words: words::outcome(outcome), count, href, is_current }
}

impl Asker {
    /// Why there is no recording, where what the call's line says is not of another extension's part, or none is kept from them.
    pub(in crate::server) fn reason_of<'c>(&self, call: &'c Unrecorded) -> Option<&'c str> {
        call.reason().or_else(|| self.sees_all_calls().then_some(call.call.reason.as_str()))
    }
}

fn line(app: &App, asker: &Asker, call: &Unrecorded) -> Line {
    let text = |field: Field| brief(call.value(field)).into_owned();
    let direction = call.part().map_or(Direction::Unknown, |part| part.facts.direction);
    let (icon, way) = way_of(direction);
    let other = match call.value(Field::OutsideNumber) {
        "" => call.value(Field::OtherParty),
        number => number,
    };
    let first =
        |fields: [Field; 2]| fields.into_iter().map(text).find(|text| !text.is_empty()).unwrap_or_default();
    let outcome = call.outcome();
    Line {
        started: app.zone().moment(call.call.started),
        icon,
        way,
        extension: text(Field::Extension),
        extension_name: text(Field::ExtensionName),
        other: brief(&numbers::shown(other)).into_owned(),
        stored: brief(other).into_owned(),
        other_name: first([Field::OtherPartyName, Field::Contact]),
        user: first([Field::UserName, Field::User]),
        unit: brief(call.units().next().unwrap_or_default()).into_owned(),
        length: short_length(call.duration_ms()),
        outcome: words::outcome(outcome),
        is_trouble: advice(outcome).is_some(),
        reason: brief(asker.reason_of(call).unwrap_or_default()).into_owned(),
        why: call.why().map(|step| brief(&step.to_string()).into_owned()).collect(),
    }
}
