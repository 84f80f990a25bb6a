//! Giving recordings to another user: whom they count for in lists, searches, scopes and filters. The facts that were signed stay as they
//! were; that it was given stands beside them.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use decode::Timestamp;
use policy::people::User;
use policy::{People, Permission, Who};
use store::{Archive, Event, RecordingId, Row, State as Progress, What};

use super::App;
use super::caller::Asker;
use super::escape::brief;
use super::form::Form;
use super::refusal::Refusal;

/// Users that a form names; of more, none: an id is written by hand.
const NAMED_MAX: usize = 500;

/// A user to be chosen.
pub(super) struct Choice {
    pub(super) id: String,
    pub(super) name: String,
}

/// To whom a recording is to be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// A user, by id, or by a name that nobody else has.
    User(String),
    Nobody,
    /// Back to whom the telephone system named.
    Reported,
}

impl To {
    /// What a form asks for.
    pub(super) fn of(form: &Form) -> Result<To, Refusal> {
        match form.text("do") {
            "nobody" => Ok(To::Nobody),
            "back" => Ok(To::Reported),
            "give" => Ok(To::User(form.text("user").to_owned())),
            _ => Err(Refusal::WrongQuery),
        }
    }
}

fn is_there(user: &User, now: Timestamp) -> bool {
    user.deleted.is_none_or(|deleted| now < deleted)
}

/// Does this caller see what counts for a user, as far as user and unit tell it?
fn is_seen(people: &People, asker: &Asker, user: &User, now: Timestamp) -> bool {
    let unit = people.unit_of(user, now);
    let path: Vec<&str> = std::iter::once(unit).chain(people.units().above(unit)).collect();
    let is_own = asker.caller.person() == Some(user.id.as_str());
    is_own || !people.hidden().contains(&user.id) && asker.caller.sees_unit(&path)
}

/// The users whom a form offers.
pub(super) fn choices(archive: &Archive, asker: &Asker, now: Timestamp) -> Vec<Choice> {
    let people = archive.people();
    let offered = |user: &&User| is_there(user, now) && is_seen(&people, asker, user, now);
    let choice = |user: &User| Choice { id: user.id.clone(), name: brief(&user.display_name()).into_owned() };
    let choices: Vec<Choice> = people.users().filter(offered).take(NAMED_MAX + 1).map(choice).collect();
    if choices.len() > NAMED_MAX { Vec::new() } else { choices }
}

/// Who that is, of the people of today; none for whom the telephone system named.
fn resolve(people: &People, to: &To, now: Timestamp) -> Result<Option<Who>, Refusal> {
    let written = match to {
        To::Reported => return Ok(None),
        To::Nobody => return Ok(Some(people.counting_for(None, now))),
        To::User(written) if written.is_empty() => {
            return Err(Refusal::Wrong("Name a user before the button.".to_owned()));
        }
        To::User(written) => written,
    };
    let mut named = people.users().filter(|user| is_there(user, now) && user.display_name() == *written);
    let user = match people.user(written).filter(|user| is_there(user, now)) {
        Some(user) => Some(user),
        None => named.next().filter(|_| named.next().is_none()),
    };
    let user = user.ok_or_else(|| {
        Refusal::Wrong(format!("{} is no user, or the name of several: write the id.", brief(written)))
    })?;
    Ok(Some(people.counting_for(Some(user), now)))
}

/// Gives recordings to somebody. Nothing is done where one of them may not be.
pub(super) fn give(
    archive: &Archive,
    asker: &Asker,
    ids: &[RecordingId],
    to: &To,
    now: Timestamp,
) -> Result<(), Refusal> {
    // First: of what is not theirs nothing is told.
    let rows: Vec<Row> = ids
        .iter()
        .map(|id| asker.permitted(archive, *id, Permission::ModifyDetails))
        .collect::<Result<_, _>>()?;
    let people = archive.people();
    if people.is_empty() && *to != To::Reported {
        return Err(Refusal::Wrong(
            "No users are listed: there is nobody to give a recording to.".to_owned(),
        ));
    }
    let to = resolve(&people, to, now)?;
    let mut changes = Vec::new();
    for row in rows {
        let id = row.facts.id;
        if row.facts.state == Progress::Recording {
            let why = "It still runs: whom it counts for can be changed when it has ended.";
            return Err(Refusal::Declined(why.to_owned()));
        }
        let named = |who: &Who| (who.user.as_ref().map(|user| user.id.clone()), who.unit.clone());
        let is_so = match &to {
            Some(to) => named(to) == named(&row.counts_for()),
            None => row.reassigned.is_none(),
        };
        if is_so {
            continue;
        }
        // Nobody takes a recording out of their own sight, or out of the sight of those who watch them.
        let after = to.clone().unwrap_or_else(|| row.reported_for());
        if !asker.caller.admits(&row.counting_for(after)) {
            let why = "You would not see it any more. Somebody who sees the calls of both can do that.";
            return Err(Refusal::Declined(why.to_owned()));
        }
        changes.push(What::Reassigned { id, to: to.clone(), before: Who::default() });
    }
    for what in changes {
        archive.edit(Event { at: now, who: asker.caller.name().to_owned(), what })?;
    }
    // Whoever asks next gets it as it is now.
    Ok(archive.sync()?)
}

/// `POST /recordings/{id}/user`.
pub(super) async fn set(
    State(app): State<App>,
    asker: Asker,
    id: Result<Path<RecordingId>, PathRejection>,
    form: Form,
) -> Result<Response, Refusal> {
    let Path(id) = id.map_err(|_| Refusal::NoPage)?;
    let (to, now) = (To::of(&form), app.now());
    app.read(move |archive| {
        asker.permitted(archive, id, Permission::ModifyDetails)?;
        give(archive, &asker, &[id], &to?, now)
    })
    .await?;
    Ok(Redirect::to(&format!("/recordings/{id}")).into_response())
}
