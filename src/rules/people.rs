//! Users and units of a book, as forms change them. Whether they can be meant is asked of the book as a whole.

use policy::Mode;
use web::rules::{HeldLine, UnitLine, UserLine, Wrong};

use crate::config::{AssignmentEntry, Book, UnitEntry, UserEntry};

fn some(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

pub(super) fn user(line: &UserLine) -> UserEntry {
    let held = |line: &HeldLine| {
        let number = some(&line.number);
        let (extension, agent) = if line.is_agent { (None, number) } else { (number, None) };
        let (from, until) = (some(&line.from), some(&line.until));
        AssignmentEntry { extension, agent, secondary: line.is_secondary, from, until }
    };
    UserEntry {
        id: line.id.clone(),
        first_name: line.first_name.clone(),
        last_name: line.last_name.clone(),
        email: line.email.clone(),
        unit: some(&line.unit),
        hidden: line.is_hidden,
        mode: line.mode,
        mode_from: some(&line.mode_from),
        deleted: some(&line.deleted),
        devices: line.devices.iter().map(held).collect(),
    }
}

pub(super) fn unit(line: &UnitLine) -> UnitEntry {
    UnitEntry { name: line.name.clone(), parent: some(&line.parent) }
}

/// The entry of a user.
pub(super) fn user_at<'b>(book: &'b mut Book, id: &str) -> Result<&'b mut UserEntry, Wrong> {
    let found = book.users.iter_mut().find(|user| user.id == id);
    found.ok_or_else(|| Wrong::new(format!("There is no user {id:?} any more: look at the list anew.")))
}

/// The mode of several users' own, or none of them.
pub(super) fn set_modes(
    book: &mut Book,
    ids: &[String],
    mode: Option<Mode>,
    from: &str,
) -> Result<(), Wrong> {
    if ids.is_empty() {
        return Err(Wrong::new("Nobody is named: choose users first."));
    }
    for id in ids {
        let user = user_at(book, id)?;
        (user.mode, user.mode_from) = (mode, some(from));
    }
    Ok(())
}

fn unit_at<'b>(book: &'b mut Book, name: &str) -> Result<&'b mut UnitEntry, Wrong> {
    let found = book.units.iter_mut().find(|unit| unit.name == name);
    found.ok_or_else(|| Wrong::new(format!("There is no unit {name:?} any more: look at the list anew.")))
}

/// Another name, or another place; its users and the units below it come along.
pub(super) fn set_unit(book: &mut Book, was: &str, line: &UnitLine) -> Result<(), Wrong> {
    *unit_at(book, was)? = unit(line);
    let parents = book.units.iter_mut().map(|unit| &mut unit.parent);
    let places = parents.chain(book.users.iter_mut().map(|user| &mut user.unit));
    for place in places.flatten().filter(|place| *place == was) {
        place.clone_from(&line.name);
    }
    Ok(())
}

/// Nothing may be in it: whoever was would be nowhere.
pub(super) fn remove_unit(book: &mut Book, name: &str) -> Result<(), Wrong> {
    unit_at(book, name)?;
    let is_in = |of: &Option<String>| of.as_deref() == Some(name);
    let users = book.users.iter().filter(|user| is_in(&user.unit)).count();
    let units = book.units.iter().filter(|unit| is_in(&unit.parent)).count();
    if users + units > 0 {
        return Err(Wrong::new(format!(
            "The unit {name:?} holds {users} users (deleted ones among them) and {units} units: move them first."
        )));
    }
    book.units.retain(|unit| unit.name != name);
    Ok(())
}
