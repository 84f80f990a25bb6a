//! The balance sheet: every call that was seen, by what became of it.

use axum::Json;
use axum::extract::{RawQuery, State};
use decode::Timestamp;
use serde_json::{Map, Value, json};
use store::{CallRow, Outcome};

use super::operation::{Needs, Operation};
use super::paging::{address, before, cut, limit};
use super::problem::Problem;
use super::schema::{count, list, maybe_moment, maybe_text, moment, object, of, one_of, open, text, up_to};
use crate::server::App;
use crate::server::calls::{Listed, sheet};
use crate::server::form::Form;
use crate::server::token::Right;
use crate::server::zone::Range;

/// Calls in one answer, unless fewer are asked for.
const LIMIT: usize = 200;
const PATH: &str = "/balance-sheet";

pub(super) fn operations() -> Vec<Operation> {
    let ranges = Range::ALL.into_iter().filter(|range| *range != Range::Custom).map(Range::key);
    vec![
        Operation::get(["getBalanceSheet", PATH, "What became of the calls, and the calls with why"], get)
            .right(Right::Calls)
            .needs(Needs::AllCalls)
            .query("range", one_of("Which time; today unless it is said", ranges))
            .query("from", text("Calls that began at this moment or later; in place of range"))
            .query("to", text("Calls that began before this moment"))
            .query("outcome", one_of("Only the calls that ended so", Outcome::ALL.map(Outcome::key)))
            .query("limit", up_to("Calls in one answer", 1, LIMIT as u64))
            .query("before", text("Where the page begins, as `next` has it"))
            .gives(object([
                ("outcomes", json!({ "type": "object", "additionalProperties": count("Calls that ended so") })),
                ("seen", count("Calls that were seen: the sum of the outcomes")),
                ("unreadable", count("Lines of the ledger that cannot be read; `archive verify` tells more")),
                ("counters", json!({ "type": "object", "additionalProperties": count("What was counted in all runs") })),
                ("calls", list(of("SeenCall"))),
                ("next", maybe_text("The address of what comes behind; null at the end")),
            ])),
    ]
}

pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    vec![(
        "SeenCall",
        open([
            ("call", text("The call")),
            ("from", text("The calling party, as signalled")),
            ("to", text("The called party, as signalled")),
            ("started", moment("First seen")),
            ("answered", maybe_moment("Answered")),
            ("ended", maybe_moment("Ended")),
            ("outcome", one_of("What became of it", Outcome::ALL.map(Outcome::key))),
            ("reason", text("Why, in words")),
            ("recordings", list(text("A recording of it"))),
            ("why", list(text("A step of how it was judged"))),
        ]),
    )]
}

/// A call as programs are told of it.
pub(crate) fn told(row: &CallRow) -> Value {
    json!({
        "call": row.call, "sip_call_ids": row.sip_call_ids, "from": row.from, "to": row.to, "started": row.started,
        "answered": row.answered, "ended": row.ended, "outcome": row.outcome, "reason": row.reason,
        "recordings": row.recordings, "why": row.why.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// `GET /balance-sheet`.
async fn get(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let form = Form::parse(&query.unwrap_or_default());
    let moment =
        |name: &str| -> Result<Option<Timestamp>, Problem> { super::moment(&app, name, form.text(name)) };
    let (since, until) = match (moment("from")?, moment("to")?) {
        (None, None) => {
            Range::of_key(form.text("range")).unwrap_or(Range::Today).bounds(app.now(), app.zone())
        }
        custom => custom,
    };
    let outcome = super::outcome(&form)?;
    let (limit, before) = (limit(&form, LIMIT), before::<Place>(&form)?);
    let listed = Listed {
        most: limit + 1,
        before: before.map(|Place(started, place)| (started, place)),
        outcome,
        with_recorded: true,
    };
    let sheet = sheet(&app, since, until, listed).await?;
    let mut calls: Vec<(&(Timestamp, u64), &CallRow)> = sheet.latest.iter().rev().collect();
    let is_more = cut(&mut calls, limit);
    let next = calls
        .last()
        .filter(|_| is_more)
        .map(|((started, place), _)| address(PATH, &form, &Place(*started, *place).to_string()));
    let outcomes: Map<String, Value> =
        sheet.outcomes.iter().map(|(outcome, count)| (outcome.key().to_owned(), json!(count))).collect();
    let told = calls.iter().map(|(_, row)| told(row));
    Ok(Json(json!({
        "outcomes": outcomes,
        "seen": sheet.outcomes.values().sum::<u64>(),
        "unreadable": sheet.unreadable,
        "counters": sheet.counters,
        "calls": told.collect::<Vec<_>>(),
        "next": next,
    })))
}

/// Where a page ends: the call's start, and its line of the ledger.
struct Place(Timestamp, u64);

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0.as_nanos(), self.1)
    }
}

impl std::str::FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Place, ()> {
        let (started, place) = text.split_once('.').ok_or(())?;
        let started = Timestamp::from_nanos(started.parse().map_err(|_| ())?);
        Ok(Place(started, place.parse().map_err(|_| ())?))
    }
}
