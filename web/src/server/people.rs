//! `/people`: the users and units of the rule book in force, and the forms that change them. What a form asks for goes through the review of
//! the rules, as any other change of the book.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use decode::Timestamp;
use form_urlencoded::Serializer;
use policy::Permission;
use policy::people::{DEPTH_MAX, UNASSIGNED};

use super::App;
use super::caller::Asker;
use super::form::Form;
use super::frame::{Frame, Page, page};
use super::refusal::Refusal;
use super::rules::{InForce, words_of};
use super::zone::Zone;
use crate::rules::{RulesError, Sections, UnitLine, UserLine};

/// Users on the page; a field finds others.
const USERS_SHOWN_MAX: usize = 500;
/// How far a unit stands behind the one above it.
const STEP: &str = "\u{2003}";

/// A unit in its place of the tree.
struct UnitRow {
    name: String,
    parent: String,
    /// A step for each unit above it.
    steps: String,
    users: usize,
    /// Nothing is in it.
    is_empty: bool,
    /// Where it may stand, with what is chosen.
    places: Vec<Choice>,
}

struct UserRow {
    id: String,
    /// Its form.
    href: String,
    name: String,
    unit: String,
    devices: String,
    is_hidden: bool,
    deleted: String,
}

/// A unit to be chosen.
struct Choice {
    name: String,
    /// Shown behind as many steps as there are units above it.
    label: String,
    is_chosen: bool,
}

#[derive(askama::Template)]
#[template(path = "people.html")]
struct Shown {
    frame: Frame,
    from: u64,
    /// Why the book cannot be read.
    wrong: String,
    units: Vec<UnitRow>,
    places: Vec<Choice>,
    users: Vec<UserRow>,
    count: usize,
    more: usize,
    find: String,
}

/// Each unit with its level, from 0: those on top by name, each followed by what is below it. One whose place cannot be, as a text may have it
/// that was not checked, stands on top.
fn tree(units: &[UnitLine]) -> Vec<(&UnitLine, usize)> {
    let by_name = |name: &str| units.iter().find(|unit| unit.name == name);
    let path = |unit: &UnitLine| {
        let mut path = vec![unit.name.clone()];
        let mut above = by_name(&unit.parent);
        while let Some(unit) = above.filter(|_| path.len() < DEPTH_MAX) {
            path.push(unit.name.clone());
            above = by_name(&unit.parent);
        }
        path.reverse();
        path
    };
    let mut all: Vec<(Vec<String>, &UnitLine)> = units.iter().map(|unit| (path(unit), unit)).collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all.into_iter().map(|(path, unit)| (unit, path.len() - 1)).collect()
}

/// Units to choose from; `but` may not be chosen.
fn choices(units: &[UnitLine], chosen: &str, but: &str) -> Vec<Choice> {
    let choice = |(unit, level): (&UnitLine, usize)| Choice {
        name: unit.name.clone(),
        label: format!("{}{}", STEP.repeat(level), unit.name),
        is_chosen: unit.name == chosen,
    };
    tree(units).into_iter().filter(|(unit, _)| unit.name != but).map(choice).collect()
}

/// Is the user deleted by now? A time that cannot be read says that somebody wanted it.
fn is_deleted(user: &UserLine, zone: &Zone, now: Timestamp) -> bool {
    !user.deleted.is_empty() && zone.read(&user.deleted).is_none_or(|at| at <= now)
}

/// Is the text in a name, id, extension or agent of the user? Deleted users are in the whole list alone.
fn is_found(user: &UserLine, wanted: &str, is_deleted: bool) -> bool {
    if is_deleted && !wanted.is_empty() {
        return false;
    }
    let is_in = |text: &str| text.to_lowercase().contains(wanted);
    is_in(&user.id) || is_in(&user.display_name()) || user.devices.iter().any(|held| is_in(&held.number))
}

impl App {
    /// The rules in force, read, for whoever may see users and units.
    async fn people_in_force(&self, asker: &Asker) -> Result<(u64, Result<Sections, RulesError>), Refusal> {
        let rules = self.rules()?.clone();
        asker.need(Permission::People)?;
        self.read(move |archive| {
            let in_force = InForce::of(archive, &*rules)?;
            let sections = rules.read(&in_force.text);
            Ok((in_force.version, sections))
        })
        .await
    }
}

/// `GET /people`.
pub(super) async fn people(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let (from, sections) = app.people_in_force(&asker).await?;
    let (Sections { units, users, .. }, wrong) = match sections {
        Ok(sections) => (sections, String::new()),
        Err(RulesError::Wrong(wrong)) => (Sections::default(), words_of(&wrong)),
        Err(error) => return Err(error.into()),
    };
    let find = Form::parse(&query.unwrap_or_default()).text("find").to_owned();
    let wanted = find.to_lowercase();
    let is_shown = |user: &&UserLine| is_found(user, &wanted, is_deleted(user, app.zone(), app.now()));
    let found: Vec<&UserLine> = users.iter().filter(is_shown).collect();
    let more = found.len().saturating_sub(USERS_SHOWN_MAX);
    let row = |user: &&UserLine| UserRow {
        href: format!("/people/user?{}", Serializer::new(String::new()).append_pair("id", &user.id).finish()),
        id: user.id.clone(),
        name: user.display_name(),
        unit: if user.unit.is_empty() { UNASSIGNED.to_owned() } else { user.unit.clone() },
        devices: user.devices.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        is_hidden: user.is_hidden,
        deleted: user.deleted.clone(),
    };
    let unit = |(unit, level): (&UnitLine, usize)| {
        let users = users.iter().filter(|user| user.unit == unit.name).count();
        UnitRow {
            name: unit.name.clone(),
            parent: unit.parent.clone(),
            steps: STEP.repeat(level),
            users,
            is_empty: users == 0 && !units.iter().any(|other| other.parent == unit.name),
            places: choices(&units, &unit.parent, &unit.name),
        }
    };
    page(&Shown {
        frame: app.frame(&asker, Page::At("/people"), "Users and units"),
        from,
        wrong,
        units: tree(&units).into_iter().map(unit).collect(),
        places: choices(&units, "", ""),
        users: found.iter().take(USERS_SHOWN_MAX).map(row).collect(),
        count: users.len(),
        more,
        find,
    })
}

#[derive(askama::Template)]
#[template(path = "people_user.html")]
struct User {
    frame: Frame,
    from: u64,
    /// Of one that is there.
    is_there: bool,
    user: UserLine,
    devices: String,
    units: Vec<Choice>,
    /// Today, as a date of the site's clock.
    today: String,
}

/// `GET /people/user`: the form of a user; `?id=` names one who is there.
pub(super) async fn user(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let (from, sections) = app.people_in_force(&asker).await?;
    let Sections { units, users, .. } = sections?;
    let query = query.unwrap_or_default();
    let form = Form::parse(&query);
    let is_there = form.iter().any(|(name, _)| name == "id");
    let user = match users.into_iter().find(|user| is_there && user.id == form.raw("id")) {
        Some(user) => user,
        None if is_there => return Err(Refusal::NoPage),
        None => UserLine::default(),
    };
    let devices = user.devices.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    page(&User {
        frame: app.frame(&asker, Page::At("/people"), "User"),
        from,
        is_there,
        units: choices(&units, &user.unit, ""),
        devices,
        user,
        today: app.zone().zoned(app.now()).date().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str, parent: &str) -> UnitLine {
        UnitLine { name: name.into(), parent: parent.into() }
    }

    #[test]
    fn units_stand_below_those_they_belong_to_and_one_without_a_place_does_no_harm() {
        let units = [
            unit("Motor", "Claims"),
            unit("Banking", ""),
            unit("Claims", "Insurance"),
            unit("Insurance", ""),
            unit("Lost", "Nowhere"),
        ];
        let shown: Vec<(&str, usize)> =
            tree(&units).into_iter().map(|(unit, level)| (unit.name.as_str(), level)).collect();
        assert_eq!(shown, [("Banking", 0), ("Insurance", 0), ("Claims", 1), ("Motor", 2), ("Lost", 0)]);
        let round = [unit("a", "b"), unit("b", "a")];
        assert_eq!(tree(&round).len(), 2);
    }

    #[test]
    fn users_are_found_by_a_part_of_name_id_extension_or_agent() {
        let held = "agent 4711".parse().expect("a line");
        let user = UserLine {
            id: "ann.b".into(),
            first_name: "Ann".into(),
            last_name: "Bell".into(),
            devices: vec![held],
            ..UserLine::default()
        };
        for (text, is_so) in [("", true), ("n b", true), ("ann.", true), ("471", true), ("bob", false)] {
            assert_eq!(is_found(&user, text, false), is_so, "{text}");
            assert_eq!(is_found(&user, text, true), text.is_empty(), "{text}");
        }
        let zone = Zone::new(jiff::tz::TimeZone::UTC);
        let now: Timestamp = "2026-07-01T12:00:00Z".parse().expect("a time");
        for (deleted, is_so) in [("", false), ("2026-07-01", true), ("2026-07-02", false), ("soon", true)] {
            let user = UserLine { deleted: deleted.into(), ..user.clone() };
            assert_eq!(is_deleted(&user, &zone, now), is_so, "{deleted}");
        }
    }
}
