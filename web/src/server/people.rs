//! `/people`: the users and units of the rule book in force, and the forms that change them. What a form asks for goes through the review of
//! the rules, as any other change of the book.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use decode::Timestamp;
use form_urlencoded::Serializer;
use policy::people::{DEPTH_MAX, UNASSIGNED};
use policy::{Mode, Permission};

use super::App;
use super::caller::Asker;
use super::form::Form;
use super::frame::{Frame, Page, page};
use super::refusal::Refusal;
use super::rules::{InForce, mode_words, words_of};
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
    /// The mode of the user's own, in words; empty without one.
    mode: String,
    mode_from: String,
    is_hidden: bool,
    deleted: String,
}

/// A unit or a mode to be chosen.
struct Choice {
    name: String,
    /// A unit's is shown behind as many steps as there are units above it.
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
    /// Only those with a mode of their own are shown.
    own_mode: bool,
    modes: Vec<Choice>,
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

/// Modes to choose from.
fn modes(chosen: Option<Mode>) -> Vec<Choice> {
    let choice = |mode: Mode| Choice {
        name: mode.key().to_owned(),
        label: mode_words(mode),
        is_chosen: chosen == Some(mode),
    };
    Mode::ALL.map(choice).into()
}

/// Is the user deleted by now? A time that cannot be read says that somebody wanted it.
fn is_deleted(user: &UserLine, zone: &Zone, now: Timestamp) -> bool {
    !user.deleted.is_empty() && zone.read(&user.deleted).is_none_or(|at| at <= now)
}

/// The users that are found by a text, and by having a mode of their own if that is asked for, in the order of their names. Deleted users are in
/// the whole list alone.
pub(super) fn found<'u>(
    users: &'u [UserLine],
    text: &str,
    own_mode: bool,
    zone: &Zone,
    now: Timestamp,
) -> Vec<&'u UserLine> {
    let wanted = text.to_lowercase();
    let is_asked = !wanted.is_empty() || own_mode;
    let is_found = |user: &&UserLine| {
        user.holds(&wanted)
            && !(own_mode && user.mode.is_none())
            && !(is_asked && is_deleted(user, zone, now))
    };
    let mut found: Vec<&UserLine> = users.iter().filter(is_found).collect();
    found.sort_by_cached_key(|user| user.sort_key());
    found
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
    let form = Form::parse(&query.unwrap_or_default());
    let (find, own_mode) = (form.text("find").to_owned(), form.text("own_mode") == "yes");
    let found = found(&users, &find, own_mode, app.zone(), app.now());
    let more = found.len().saturating_sub(USERS_SHOWN_MAX);
    let row = |user: &&UserLine| UserRow {
        href: format!("/people/user?{}", Serializer::new(String::new()).append_pair("id", &user.id).finish()),
        id: user.id.clone(),
        name: user.display_name(),
        unit: if user.unit.is_empty() { UNASSIGNED.to_owned() } else { user.unit.clone() },
        devices: user.devices.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        mode: user.mode.map(mode_words).unwrap_or_default(),
        mode_from: user.mode_from.clone(),
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
        own_mode,
        modes: modes(None),
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
    modes: Vec<Choice>,
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
        modes: modes(user.mode),
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
    fn users_are_found_by_a_part_of_name_id_extension_agent_or_mode_and_stand_by_last_name() {
        let held = "agent 4711".parse().expect("a line");
        let user = UserLine {
            id: "ann.b".into(),
            first_name: "Ann".into(),
            last_name: "Bell".into(),
            devices: vec![held],
            mode: Some(Mode::OnDemand),
            ..UserLine::default()
        };
        let zone = Zone::new(jiff::tz::TimeZone::UTC);
        let now: Timestamp = "2026-07-01T12:00:00Z".parse().expect("a time");
        let gone = UserLine { id: "gone.ann".into(), deleted: "2026-01-01".into(), ..user.clone() };
        let other = UserLine { id: "cas".into(), last_name: "Able".into(), ..UserLine::default() };
        let all = [user.clone(), gone, other];
        for (text, own_mode, ids) in [
            ("", false, &["cas", "ann.b", "gone.ann"][..]),
            ("", true, &["ann.b"]),
            ("N B", false, &["ann.b"]),
            ("ann.", false, &["ann.b"]),
            ("471", false, &["ann.b"]),
            ("on demand", false, &["ann.b"]),
            ("on_demand", false, &["ann.b"]),
            ("able", false, &["cas"]),
            ("able", true, &[]),
            ("bob", false, &[]),
        ] {
            let found: Vec<&str> =
                found(&all, text, own_mode, &zone, now).iter().map(|user| user.id.as_str()).collect();
            assert_eq!(found, ids, "{text} {own_mode}");
        }
        for (deleted, is_so) in [("", false), ("2026-07-01", true), ("2026-07-02", false), ("soon", true)] {
            let user = UserLine { deleted: deleted.into(), ..user.clone() };
            assert_eq!(is_deleted(&user, &zone, now), is_so, "{deleted}");
        }
    }
}
