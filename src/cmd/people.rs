//! `user` and `unit`: users with their devices, and the tree of business units, as the archive's rule book has them, or the configuration
//! where there is none.

use std::collections::BTreeMap;

use decode::Timestamp;
use policy::People;
use policy::people::{Assignment, User};
use serde_json::{Value, json};
use web::words;

use super::rule::InForce;
use super::{print_json, print_line};
use crate::cli::people::{Listed, UnitCommand, UserCommand};
use crate::clock;
use crate::config;
use crate::console;
use crate::failure::{Done, Failure};
use crate::tables::{self, cell};

/// `user list`, `user show`.
pub(crate) fn user(command: &UserCommand) -> Result<Done, Failure> {
    match command {
        UserCommand::List { text, deleted, of } => {
            list(&people(of)?, text.as_deref(), *deleted, of.json.json)
        }
        UserCommand::Show { id, of } => show(&people(of)?, id, of.json.json),
        UserCommand::Account(command) => super::accounts::account(command),
    }
}

/// `unit list`.
pub(crate) fn unit(command: &UnitCommand) -> Result<Done, Failure> {
    let UnitCommand::List { of } = command;
    let (people, now) = (people(of)?, clock::now());
    let mut users: BTreeMap<&str, usize> = BTreeMap::new();
    for user in people.users() {
        *users.entry(people.unit_of(user, now)).or_default() += 1;
    }
    for (name, level) in people.units().tree() {
        let count = users.get(name).copied().unwrap_or_default();
        if of.json.json {
            let above: Vec<&str> = people.units().above(name).collect();
            print_json(&json!({ "unit": name, "units_above": above, "users": count }))?;
        } else {
            let s = if count == 1 { "" } else { "s" };
            print_line(&format!("{:indent$}{}  ({count} user{s})", "", cell(name), indent = 2 * level))?;
        }
    }
    Ok(Done::All)
}

/// Those in force: of the archive's rule book; of the configuration without one, and where there is no archive yet.
fn people(of: &Listed) -> Result<People, Failure> {
    let settings = config::resolve(&of.dir)?;
    if !console::is_guest() && !store::Archive::is_in(&settings.archive) {
        return Ok(settings.rules.people);
    }
    let InForce { archive, mut settings, .. } = InForce::open(&of.dir)?;
    settings.follow_book(&archive)?;
    archive.close()?;
    Ok(settings.rules.people)
}

fn list(people: &People, text: Option<&str>, deleted: bool, json: bool) -> Result<Done, Failure> {
    let now = clock::now();
    let mut users: Vec<&User> = people.find(text.unwrap_or_default(), now).collect();
    if deleted {
        users.extend(people.users().filter(|user| user.deleted.is_some()));
    }
    if json {
        users.iter().try_for_each(|user| print_json(&user_json(people, user, now)))?;
        return Ok(Done::All);
    }
    if users.is_empty() {
        print_line(if text.is_some() {
            "no such users"
        } else {
            "no users: [[user]] in the rule book, or in the configuration without one, lists them"
        })?;
        return Ok(Done::All);
    }
    let rows = users.iter().map(|user| {
        let numbers: Vec<String> = people
            .devices_of(&user.id)
            .filter(|assignment| assignment.tenure.contains(now))
            .map(|assignment| assignment.device.to_string())
            .collect();
        let mode = user.mode.map(|own| own.mode.key().to_owned()).unwrap_or_default();
        let from = user.mode.and_then(|own| own.from).map(words::moment).unwrap_or_default();
        let unit = people.unit_of(user, now).to_owned();
        [user.id.clone(), user.display_name(), unit, numbers.join(", "), mode, from].map(|text| cell(&text))
    });
    print_line(&tables::of(["USER", "NAME", "UNIT", "NOW AT", "MODE", "MODE FROM (UTC)"], rows))?;
    Ok(Done::All)
}

fn show(people: &People, id: &str, json: bool) -> Result<Done, Failure> {
    let user = people
        .user(id)
        .ok_or_else(|| Failure::new(format!("there is no user {id:?}; `earwitness user list` lists them")))?;
    let now = clock::now();
    if json {
        print_json(&user_json(people, user, now))?;
        return Ok(Done::All);
    }
    let unit = people.unit_of(user, now);
    let units: Vec<String> = std::iter::once(unit).chain(people.units().above(unit)).map(cell).collect();
    for (name, value) in [
        ("user", cell(&user.id)),
        ("name", cell(&user.display_name())),
        ("e-mail", cell(&user.email)),
        ("unit", units.join(", below ")),
        ("mode", user.mode.map_or_else(|| "that of the device".to_owned(), |mode| mode.to_string())),
        ("hidden", if user.hidden { "yes" } else { "no" }.to_owned()),
        ("deleted", user.deleted.map_or_else(|| "no".to_owned(), |at| at.to_string())),
    ] {
        print_line(&format!("{name:<14} {value}"))?;
    }
    for Assignment { device, primary, tenure } in people.devices_of(id) {
        let rank = if primary { "primary" } else { "secondary" };
        print_line(&format!("{:<14} {device}, {rank}, {tenure}", "device"))?;
    }
    Ok(Done::All)
}

fn user_json(people: &People, user: &User, now: Timestamp) -> Value {
    let unit = people.unit_of(user, now);
    let devices: Vec<Value> = people
        .devices_of(&user.id)
        .map(|Assignment { device, primary, tenure }| {
            json!({ device.kind.key(): device.number, "primary": primary, "from": tenure.from, "until": tenure.until })
        })
        .collect();
    json!({
        "user": user.id, "user_name": user.display_name(), "first_name": user.first_name, "last_name": user.last_name,
        "email": user.email, "business_unit": unit, "units_above": people.units().above(unit).collect::<Vec<_>>(),
        "mode": user.mode.map(|own| own.mode), "mode_from": user.mode.and_then(|own| own.from),
        "hidden": user.hidden, "deleted": user.deleted, "devices": devices,
    })
}
