//! Retention: what is due, carrying that out, confirming the clock. A deletion names what was shown, as on the page: the moment, the
//! version of the rule book and the number; what became due since waits.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use policy::Permission;
use policy::retention::{HeldBack, MoreThanHalf, Tally};
use serde::Deserialize;
use serde_json::{Value, json};
use store::Row;

use super::operation::{Needs, Operation};
use super::problem::{Kind, Problem};
use super::rules::nowhere;
use super::schema::{count, list, maybe_moment, maybe_text, moment, object, of, open, short, text, yes};
use super::{moment as moment_of, read};
use crate::rules::{NotPruned, Planned, Seen, digest};
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::token::Right;

/// An operation of retention.
fn retains(operation: Operation) -> Operation {
    operation.right(Right::Rules).needs(Needs::Permission(Permission::Retention))
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        retains(Operation::get(
            ["getRetention", "/retention", "What is due by the rules, and what is held back"],
            get,
        ))
        .gives(of("Retention")),
        retains(Operation::post(
            ["pruneRetention", "/retention/prune", "Deletes what getRetention has shown, and no more"],
            prune,
        ))
        .takes(object([
            ("at", moment("`at` of what was shown")),
            ("version", count("`version` of what was shown")),
            ("count", count("`count` of what was shown: so much may go")),
            ("digest", short("`digest` of what was shown: this, and nothing else", 1, 64)),
            ("more_than_half?", yes("More than half of what is there may go")),
        ]))
        .or(&[Kind::Refused])
        .gives(open([
            ("audio", count("Recordings whose audio is gone")),
            ("data", count("Recordings and calls whose data are gone")),
            ("lines", count("Lines of the ledger that were blanked")),
            ("failed", count("What could not be deleted; the recorder's log says why")),
            ("spared", count("What was due and was not any more at its turn")),
        ])),
        retains(Operation::post(
            ["confirmClock", "/retention/clock", "Says that the clock is right, when it is in doubt"],
            clock,
        ))
        .takes(object([("at", moment("What the clock shows: `at` of getRetention"))]))
        .or(&[Kind::Refused])
        .gives_nothing(),
    ]
}

pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    let tally = || of("Tally");
    let share = || open([("takes", count("What goes")), ("of", count("Of what is there"))]);
    let half = open([("recordings", share()), ("bytes", share()), ("data", share())]);
    vec![
        (
            "Tally",
            open([
                ("audio", count("Recordings, by their audio")),
                ("bytes", count("Bytes of their files")),
                ("copies", count("Copies of them in archive locations")),
                ("data", count("Call data of recordings, and of calls without one")),
            ]),
        ),
        (
            "Retention",
            open([
                ("at", moment("The moment of the plan, which a deletion names")),
                ("version", count("The version of the rule book, which a deletion names; 0 without a book")),
                ("count", count("How many deletions there are, which a deletion names")),
                ("digest", text("Which ones, in 64 hexadecimal digits, which a deletion names")),
                ("more_than_half", json!({ "anyOf": [half, { "type": "null" }] })),
                ("frozen", maybe_text("Why the clock is in doubt: nothing goes then")),
                ("grace", text("How long tightened rules wait")),
                ("left_over", count("Deletions that come with the next plan")),
                ("takes", tally()),
                ("seen", tally()),
                ("running", count("Calls that still run")),
                (
                    "rules",
                    list(open([
                        ("name", text("Its name")),
                        ("of", text("What it is about")),
                        ("audio", text("How long audio is kept")),
                        ("data", text("How long call data are kept")),
                        ("takes", tally()),
                    ])),
                ),
                (
                    "held_back",
                    open([
                        ("holds", tally()),
                        ("freeze", tally()),
                        ("grace", tally()),
                        ("grace_first", maybe_moment("When the first of these is due, if no rule changes")),
                        ("grace_last", maybe_moment("When the last of these is due")),
                    ]),
                ),
                (
                    "list",
                    list(open([
                        (
                            "recording",
                            text("A recording that is due, of the first ones that the account sees"),
                        ),
                        ("started", moment("When it began")),
                        ("audio", yes("Its audio goes")),
                        ("data", yes("Its call data go")),
                        ("rule", text("By which rule")),
                        ("due_since", moment("Since when")),
                    ])),
                ),
            ]),
        ),
    ]
}

/// `GET /retention`.
async fn get(State(app): State<App>, asker: Asker) -> Result<Json<Value>, Problem> {
    let (planned, rows) = app.due(&asker).await.map_err(nowhere)??;
    Ok(Json(told(&planned, &rows)))
}

fn told(planned: &Planned, rows: &[(usize, Row)]) -> Value {
    let Planned { rules, grace, version, plan } = planned;
    let HeldBack { holds, freeze, grace: waits, grace_first, grace_last } = &plan.held_back;
    let rules = rules.iter().enumerate().map(|(place, rule)| {
        let takes = plan.by_rule.get(place).map_or(Tally::default(), |by| by.takes);
        json!({ "name": rule.name, "of": rule.of, "audio": rule.audio, "data": rule.data, "takes": takes })
    });
    let list = rows.iter().filter_map(|(place, row)| {
        let item = plan.items.get(*place)?;
        let rule = plan.by_rule.get(usize::from(item.rule)).map_or("", |rule| rule.name.as_str());
        Some(json!({
            "recording": row.facts.id, "started": row.facts.started, "audio": item.decision.takes_audio(),
            "data": item.decision.takes_data(), "rule": rule, "due_since": item.due_since,
        }))
    });
    let half: Option<MoreThanHalf> = plan.more_than_half();
    json!({
        "at": plan.at, "version": version, "count": plan.items.len(), "digest": digest(plan), "more_than_half": half,
        "frozen": plan.freeze.map(|freeze| freeze.to_string()), "grace": grace, "left_over": plan.left_over,
        "takes": plan.takes, "seen": plan.seen, "running": plan.running, "rules": rules.collect::<Vec<_>>(),
        "held_back": {
            "holds": holds, "freeze": freeze, "grace": waits, "grace_first": grace_first, "grace_last": grace_last,
        },
        "list": list.collect::<Vec<_>>(),
    })
}

#[derive(Deserialize)]
struct Shown {
    at: String,
    version: u64,
    count: u64,
    digest: String,
    #[serde(default)]
    more_than_half: bool,
}

/// `POST /retention/prune`.
async fn prune(State(app): State<App>, asker: Asker, body: Bytes) -> Result<Json<Value>, Problem> {
    let Shown { at, version, count, digest, more_than_half } = read(&body)?;
    let at = moment_of(&app, "at", &at)?.ok_or_else(|| Problem::Wrong("at: is missing".to_owned()))?;
    let deletions = usize::try_from(count).unwrap_or(usize::MAX);
    let seen = Seen { at, version, deletions, digest, more_than_half };
    match app.prune(&asker, seen).await.map_err(nowhere)? {
        Ok(pruned) => Ok(Json(json!(pruned))),
        Err(NotPruned::Rules(error)) => Err(error.into()),
        Err(refused) => {
            Err(Problem::Refused(format!("nothing was deleted: {refused}; look at what is due now")))
        }
    }
}

#[derive(Deserialize)]
struct Clock {
    at: String,
}

/// `POST /retention/clock`.
async fn clock(State(app): State<App>, asker: Asker, body: Bytes) -> Result<StatusCode, Problem> {
    let Clock { at } = read(&body)?;
    let at = moment_of(&app, "at", &at)?.ok_or_else(|| Problem::Wrong("at: is missing".to_owned()))?;
    app.confirm_clock(&asker, at).await.map_err(nowhere)??;
    Ok(StatusCode::NO_CONTENT)
}
