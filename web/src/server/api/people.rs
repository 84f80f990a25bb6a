//! Users of the rule book and their recording modes: found, changed and taken back, several at once.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use policy::{Mode, Permission};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{BOOK_WHY_MAX, BookChange};

use super::operation::{Needs, Operation};
use super::paging::{address, before, cut, limit};
use super::problem::{Kind, Problem};
use super::read;
use super::rules::{reason, told};
use super::schema::{count, list, list_up_to, maybe_text, object, of, one_of, open, short, text, up_to, yes};
use crate::rules::{Edit, UserLine};
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::form::Form;
use crate::server::people::found;
use crate::server::rules::InForce;
use crate::server::token::Right;

/// Users in one answer, unless fewer are asked for.
const LIMIT: usize = 500;
/// Users whose mode is set at once.
const AT_ONCE_MAX: usize = 1_000;
const PEOPLE: &str = "/people";

pub(super) fn operations() -> Vec<Operation> {
    let people =
        |operation: Operation| operation.right(Right::Rules).needs(Needs::Permission(Permission::People));
    let modes = || Mode::ALL.map(Mode::key);
    vec![
        people(Operation::get(["listPeople", PEOPLE, "Users, their extensions and agents, and their recording modes"], users))
            .query("find", text("A part of a name, id, extension, agent or mode; deleted users are found by none"))
            .query("mode", one_of("Only users with this mode of their own, or with any", ["any"].into_iter().chain(modes())))
            .query("limit", up_to("Users in one answer", 1, LIMIT as u64))
            .query("before", text("Where the page begins, as `next` has it"))
            .gives(object([
                ("version", count("Of the rule book that they stand in; 0 without a book")),
                ("people", list(of("Person"))),
                ("next", maybe_text("The address of what comes behind; null at the end")),
            ])),
        people(Operation::put(["setModes", "/people/modes", "Gives several users a recording mode of their own, or takes it off"], set_modes))
            .takes(object([
                ("users", list_up_to(short("A user's id", 1, 100), 1, AT_ONCE_MAX)),
                ("mode", json!({ "anyOf": [one_of("The mode", modes()), { "type": "null" }], "description": "null: the device's counts again" })),
                ("mode_from?", short("Calls that begin then or later are in it: RFC 3339, or a date of the site's clock; all of them unless it is said", 1, 40)),
                ("why", short("Why: it is kept with the version", 1, BOOK_WHY_MAX)),
            ]))
            .or(&[Kind::Refused])
            .gives(of("RulesVersion")),
    ]
}

pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    let person = open([
        ("id", text("Names the user for ever")),
        ("name", text("First and last name, or the id where there is none")),
        ("first_name", text("First name")),
        ("last_name", text("Last name")),
        ("email", text("E-mail address")),
        ("unit", maybe_text("The business unit")),
        ("hidden", yes("The calls are shown to no other user")),
        ("deleted", maybe_text("Since when the user is deleted, as it is written")),
        (
            "mode",
            json!({ "anyOf": [one_of("The mode", Mode::ALL.map(Mode::key)), { "type": "null" }], "description": "A recording mode of the user's own; null: the device's counts" }),
        ),
        ("mode_from", maybe_text("Since when it counts, as it is written; null: for all calls")),
        (
            "devices",
            list(open([
                ("extension?", text("The extension; this or `agent`")),
                ("agent?", text("The agent's id")),
                ("primary", yes("The first one of its kind")),
                ("from", maybe_text("Its first moment, as it is written; null: since ever")),
                ("until", maybe_text("The first moment behind it, likewise; null: without end")),
            ])),
        ),
    ]);
    vec![("Person", person)]
}

fn person(user: &UserLine) -> Value {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let devices = user.devices.iter().map(|held| {
        let kind = if held.is_agent { "agent" } else { "extension" };
        json!({
            kind: held.number, "primary": !held.is_secondary, "from": some(&held.from), "until": some(&held.until),
        })
    });
    json!({
        "id": user.id, "name": user.display_name(), "first_name": user.first_name, "last_name": user.last_name,
        "email": user.email, "unit": some(&user.unit), "hidden": user.is_hidden, "deleted": some(&user.deleted),
        "mode": user.mode, "mode_from": some(&user.mode_from), "devices": devices.collect::<Vec<_>>(),
    })
}

/// `GET /people`, by last and first name.
async fn users(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let form = Form::parse(&query.unwrap_or_default());
    let (limit, first) = (limit(&form, LIMIT), before::<usize>(&form)?.unwrap_or(0));
    let (version, sections) = app
        .with_rules(|archive, rules| {
            let in_force = InForce::of(archive, rules)?;
            Ok((in_force.version, rules.read(&in_force.text)?))
        })
        .await?;
    let wanted = form.text("mode");
    let found = found(&sections.users, form.text("find"), !wanted.is_empty(), app.zone(), app.now());
    let is_wanted = |user: &&UserLine| {
        ["", "any"].contains(&wanted) || user.mode.is_some_and(|mode| mode.key() == wanted)
    };
    let mut shown: Vec<&UserLine> = found.into_iter().filter(is_wanted).skip(first).take(limit + 1).collect();
    let is_more = cut(&mut shown, limit);
    let next = is_more.then(|| address(PEOPLE, &form, &first.saturating_add(limit).to_string()));
    let people: Vec<Value> = shown.into_iter().map(person).collect();
    Ok(Json(json!({ "version": version, "people": people, "next": next })))
}

#[derive(Deserialize)]
struct Modes {
    users: Vec<String>,
    mode: Option<Mode>,
    #[serde(default)]
    mode_from: String,
    why: String,
}

/// `PUT /people/modes`: made on the version that is in force, all of them or none.
async fn set_modes(State(app): State<App>, asker: Asker, body: Bytes) -> Result<Json<Value>, Problem> {
    let Modes { users, mode, mode_from, why } = read(&body)?;
    if mode.is_none() && !mode_from.is_empty() {
        return Err(Problem::Wrong("mode_from: says since when, and there is no mode".to_owned()));
    }
    let why = reason(&why)?;
    let (at, who) = (app.now(), asker.caller.name().to_owned());
    app.with_rules(move |archive, rules| {
        let in_force = InForce::of(archive, rules)?;
        let text = rules.edit(&in_force.text, &Edit::SetModes(users, mode, mode_from))?;
        let text = rules.check(&text)?;
        // The archive looks once more which version is in force.
        let change = BookChange { from: in_force.version, at, who, why, restores: None, text };
        Ok(Json(told(&rules.put(archive, change)?)))
    })
    .await
}
