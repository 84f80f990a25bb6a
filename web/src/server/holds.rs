//! `/holds`: legal holds by name, on which recordings they lie, and putting and releasing them. A hold counts from when it is on disk.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use decode::Timestamp;
use policy::Permission;
use store::{Archive, Event, Field, Hold, RecordingId, Row, What};

use super::App;
use super::caller::Asker;
use super::escape::brief;
use super::form::Form;
use super::frame::{Frame, Page, page_with};
use super::recordings::title;
use super::refusal::Refusal;
use super::zone::Moment;

/// Recordings that one form puts under a hold, or releases: each is on disk before the next.
const AT_ONCE_MAX: usize = 2_000;
/// Recordings of a hold that its page names.
const LISTED_MAX: usize = 200;
/// Bytes of a hold's name.
pub(super) const NAME_MAX: usize = 100;
/// Bytes of a reason.
pub(super) const WHY_MAX: usize = 1_000;

struct Line {
    name: String,
    href: String,
    why: String,
    who: String,
    since: Moment,
    recordings: u64,
}

struct Held {
    id: RecordingId,
    started: Moment,
    title: String,
    why: String,
    who: String,
    at: Moment,
}

#[derive(askama::Template)]
#[template(path = "holds.html")]
struct Holds {
    frame: Frame,
    said: String,
    wrong: String,
    lines: Vec<Line>,
    /// What a form had.
    name: String,
    why: String,
    ids: String,
    is_begun: bool,
}

#[derive(askama::Template)]
#[template(path = "hold.html")]
struct One {
    frame: Frame,
    wrong: String,
    name: String,
    list: Vec<Held>,
    count: u64,
    more: u64,
    at_once: bool,
}

/// A hold as its lines tell.
pub(super) struct Sum {
    pub(super) why: String,
    pub(super) who: String,
    pub(super) since: Timestamp,
    pub(super) recordings: u64,
}

fn need(asker: &Asker) -> Result<(), Refusal> {
    asker.need(Permission::Holds)
}

/// The recordings under any hold that somebody sees.
fn held<'a>(
    archive: &'a Archive,
    asker: &Asker,
) -> Result<impl Iterator<Item = Result<Row, store::Error>> + use<'a>, Refusal> {
    let mut query = store::Query::default();
    query.seen_by = Some(asker.caller.clone());
    query.filter(Field::Held, "yes").map_err(|_| Refusal::WrongQuery)?;
    Ok(archive.search(&query))
}

/// The holds that lie on what somebody sees, by name.
pub(super) fn sums(archive: &Archive, asker: &Asker) -> Result<BTreeMap<String, Sum>, Refusal> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for row in held(archive, asker)? {
        for hold in row?.legal_holds {
            add(&mut sums, hold);
        }
    }
    Ok(sums)
}

/// The first recordings under a hold, and how many there are.
pub(super) fn under(archive: &Archive, asker: &Asker, hold: &str) -> Result<(Vec<Row>, u64), Refusal> {
    let (mut rows, mut count) = (Vec::new(), 0_u64);
    for row in held(archive, asker)? {
        let row = row?;
        if lies_on(&row, hold) {
            count += 1;
            if rows.len() < LISTED_MAX {
                rows.push(row);
            }
        }
    }
    Ok((rows, count))
}

/// `GET /holds`; `?name=` shows one of them.
pub(super) async fn holds(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    need(&asker)?;
    let form = Form::parse(&query.unwrap_or_default());
    match form.raw("name") {
        "" => app.holds(&asker, &Form::parse(""), String::new(), String::new()).await,
        name => app.hold(&asker, name.to_owned(), String::new()).await,
    }
}

/// `POST /holds`: a hold is put on recordings, or released from those that it lies on.
pub(super) async fn change(State(app): State<App>, asker: Asker, form: Form) -> Result<Response, Refusal> {
    need(&asker)?;
    let is_new = form.text("do") == "hold";
    let name = if is_new { form.text("name") } else { form.raw("name") }.to_owned();
    match form.text("do") {
        "hold" => {
            let put = app.put_hold(&asker, &form).await?;
            match put {
                Ok(count) => {
                    let said =
                        format!("{count} recordings under the hold {name}: nothing deletes what is held.");
                    app.holds(&asker, &Form::parse(""), said, String::new()).await
                }
                Err(wrong) => app.holds(&asker, &form, String::new(), wrong).await,
            }
        }
        "release" => {
            if let Some(wrong) = wrong_why(form.text("why")) {
                return app.hold(&asker, name, wrong).await;
            }
            let (who, why, hold, now) = (asker.clone(), form.text("why").to_owned(), name.clone(), app.now());
            let left = app
                .read(move |archive| {
                    let rows = held(archive, &who)?
                        .filter(|row| row.as_ref().map_or(true, |row| lies_on(row, &hold)));
                    let ids: Vec<RecordingId> =
                        rows.map(|row| row.map(|row| row.facts.id)).collect::<Result<_, _>>()?;
                    if ids.is_empty() {
                        return Err(Refusal::NoPage);
                    }
                    for &id in ids.iter().take(AT_ONCE_MAX) {
                        let what = What::Released { id, hold: hold.clone(), why: why.clone() };
                        archive.edit(Event { at: now, who: who.caller.name().to_owned(), what })?;
                    }
                    archive.sync()?;
                    Ok(ids.len().saturating_sub(AT_ONCE_MAX))
                })
                .await?;
            if left > 0 {
                let more = format!("{AT_ONCE_MAX} were released, {left} are left: once more.");
                return app.hold(&asker, name, more).await;
            }
            let said = format!("The hold {name} is released. The rules of retention decide again.");
            app.holds(&asker, &Form::parse(""), said, String::new()).await
        }
        _ => Err(Refusal::WrongQuery),
    }
}

fn lies_on(row: &Row, hold: &str) -> bool {
    row.legal_holds.iter().any(|held| held.hold == hold)
}

/// What is wrong with a reason.
pub(super) fn wrong_why(why: &str) -> Option<String> {
    (why.is_empty() || why.len() > WHY_MAX)
        .then(|| format!("Say why, in at most {WHY_MAX} bytes: it is kept. Nothing was changed."))
}

/// What is wrong with the name of a new hold.
pub(super) fn wrong_name(name: &str) -> Option<String> {
    (name.is_empty() || name.len() > NAME_MAX || name.chars().any(char::is_control))
        .then(|| format!("A hold needs a name of at most {NAME_MAX} bytes. Nothing was changed."))
}

impl App {
    /// Puts a hold on the recordings that a form names; says on how many, or what is wrong.
    async fn put_hold(&self, asker: &Asker, form: &Form) -> Result<Result<usize, String>, Refusal> {
        if let Some(wrong) = wrong_name(form.text("name")).or_else(|| wrong_why(form.text("why"))) {
            return Ok(Err(wrong));
        }
        let words = form.text("ids").split([',', ' ', '\n', '\r', '\t']).filter(|word| !word.is_empty());
        let words: BTreeSet<String> = words.map(str::to_owned).collect();
        if words.is_empty() || words.len() > AT_ONCE_MAX {
            return Ok(Err(format!("Name 1 to {AT_ONCE_MAX} recordings. Nothing was changed.")));
        }
        let (who, now) = (asker.clone(), self.now());
        let (hold, why) = (form.text("name").to_owned(), form.text("why").to_owned());
        self.read(move |archive| {
            let mut ids = BTreeSet::new();
            for word in &words {
                match seen(archive, &who, word)? {
                    Some(id) => ids.insert(id),
                    None => {
                        return Ok(Err(format!(
                            "There is no recording {}. Nothing was changed.",
                            brief(word)
                        )));
                    }
                };
            }
            for &id in &ids {
                let what = What::Held { id, hold: hold.clone(), why: why.clone() };
                archive.edit(Event { at: now, who: who.caller.name().to_owned(), what })?;
            }
            archive.sync()?;
            Ok(Ok(ids.len()))
        })
        .await
    }

    /// Puts a hold on a recording, or releases it: on disk when this returns. False where the one to be released does not lie on it.
    pub(super) async fn hold_or_release(
        &self,
        asker: &Asker,
        id: RecordingId,
        what: What,
    ) -> Result<bool, Refusal> {
        let (who, now) = (asker.clone(), self.now());
        self.read(move |archive| {
            let row = who.permitted(archive, id, Permission::Holds)?;
            let wrong = match &what {
                What::Held { hold, why, .. } => wrong_name(hold).or_else(|| wrong_why(why)),
                What::Released { why, .. } => wrong_why(why),
                _ => return Err(Refusal::WrongQuery),
            };
            if let Some(wrong) = wrong {
                return Err(Refusal::Wrong(wrong));
            }
            if matches!(&what, What::Released { hold, .. } if !lies_on(&row, hold)) {
                return Ok(false);
            }
            archive.edit(Event { at: now, who: who.caller.name().to_owned(), what })?;
            archive.sync()?;
            Ok(true)
        })
        .await
    }

    async fn holds(
        &self,
        asker: &Asker,
        form: &Form,
        said: String,
        wrong: String,
    ) -> Result<Response, Refusal> {
        let who = asker.clone();
        let sums = self.read(move |archive| sums(archive, &who)).await?;
        let line = |(name, sum): (String, Sum)| Line {
            href: href(&name),
            why: brief(&sum.why).into_owned(),
            who: brief(&sum.who).into_owned(),
            since: self.zone().moment(sum.since),
            recordings: sum.recordings,
            name,
        };
        let status = if wrong.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
        let text = |name: &str| form.text(name).to_owned();
        page_with(
            status,
            &Holds {
                frame: self.frame(asker, Page::At("/holds"), "Legal holds"),
                said,
                wrong,
                lines: sums.into_iter().map(line).collect(),
                name: text("name"),
                why: text("why"),
                ids: text("ids").replace('\r', ""),
                is_begun: !form.text("ids").is_empty(),
            },
        )
    }

    async fn hold(&self, asker: &Asker, name: String, wrong: String) -> Result<Response, Refusal> {
        let (who, hold) = (asker.clone(), name.clone());
        let (rows, count) = self.read(move |archive| under(archive, &who, &hold)).await?;
        if count == 0 {
            return Err(Refusal::NoPage);
        }
        let list: Vec<Held> = rows
            .iter()
            .filter_map(|row| {
                let hold = row.legal_holds.iter().find(|held| held.hold == name)?;
                Some(Held {
                    id: row.facts.id,
                    started: self.zone().moment(row.facts.started),
                    title: title(row),
                    why: brief(&hold.why).into_owned(),
                    who: brief(&hold.who).into_owned(),
                    at: self.zone().moment(hold.at),
                })
            })
            .collect();
        let status = if wrong.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
        page_with(
            status,
            &One {
                frame: self.frame(asker, Page::At("/holds"), format!("Hold {name}")),
                wrong,
                more: count.saturating_sub(list.len() as u64),
                at_once: count <= AT_ONCE_MAX as u64,
                name,
                list,
                count,
            },
        )
    }

    /// The form of a new hold, for recordings that were picked elsewhere.
    pub(super) async fn begin_hold(&self, asker: &Asker, ids: &[RecordingId]) -> Result<Response, Refusal> {
        need(asker)?;
        if ids.is_empty() || ids.len() > AT_ONCE_MAX {
            return Err(Refusal::Wrong(format!("Pick 1 to {AT_ONCE_MAX} recordings for a hold.")));
        }
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let form =
            form_urlencoded::Serializer::new(String::new()).append_pair("ids", &ids.join("\n")).finish();
        self.holds(asker, &Form::parse(&form), String::new(), String::new()).await
    }
}

/// The recording that a name, or its beginning, means to somebody.
fn seen(archive: &Archive, asker: &Asker, word: &str) -> Result<Option<RecordingId>, Refusal> {
    match archive.resolve(word) {
        Ok(id) => match asker.row(archive, id) {
            Ok(_) => Ok(Some(id)),
            Err(Refusal::NoPage) => Ok(None),
            Err(error) => Err(error),
        },
        Err(store::Error::NotFound { .. } | store::Error::Ambiguous { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn add(sums: &mut BTreeMap<String, Sum>, hold: Hold) {
    let Hold { hold, why, at, who } = hold;
    let sum = sums.entry(hold).or_insert_with(|| Sum {
        why: String::new(),
        who: String::new(),
        since: at,
        recordings: 0,
    });
    sum.recordings += 1;
    // What was said first stands for it.
    if sum.who.is_empty() || at < sum.since {
        (sum.why, sum.who, sum.since) = (why, who, at);
    }
}

fn href(name: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("name", name).finish();
    format!("/holds?{query}")
}

/// What keeps a recording and what ends it, for its page.
pub(super) struct Keeping {
    pub(super) may_hold: bool,
    pub(super) may_delete: bool,
    pub(super) holds: Vec<String>,
    /// What is typed to delete it.
    pub(super) word: String,
    pub(super) is_running: bool,
    /// Its audio is gone.
    pub(super) is_gone: bool,
}

impl Keeping {
    pub(super) fn of(asker: &Asker, row: &Row) -> Keeping {
        let facts = &row.facts;
        Keeping {
            may_hold: asker.caller.may(Permission::Holds),
            may_delete: asker.caller.may(Permission::Delete),
            holds: row.legal_holds.iter().map(|hold| hold.hold.clone()).collect(),
            word: word_of(facts.id),
            is_running: facts.state == store::State::Recording,
            is_gone: row.deleted.is_some(),
        }
    }
}

/// The end of a recording's number.
pub(super) fn word_of(id: RecordingId) -> String {
    let id = id.to_string();
    id.get(id.len().saturating_sub(6)..).unwrap_or_default().to_owned()
}

/// `POST /recordings/{id}/holds`.
pub(super) async fn change_of(
    State(app): State<App>,
    asker: Asker,
    id: Result<Path<RecordingId>, PathRejection>,
    form: Form,
) -> Result<Response, Refusal> {
    let Path(id) = id.map_err(|_| Refusal::NoPage)?;
    let who = asker.clone();
    // What one may not see comes before what a form has wrong.
    app.read(move |archive| who.permitted(archive, id, Permission::Holds)).await?;
    // One that is there is named as it is, whatever another door has let in.
    let hold = if form.text("do") == "hold" { form.text("name") } else { form.raw("name") }.to_owned();
    let why = form.text("why").to_owned();
    let what = match form.text("do") {
        "hold" => What::Held { id, hold, why },
        "release" => What::Released { id, hold, why },
        _ => return Err(Refusal::WrongQuery),
    };
    if !app.hold_or_release(&asker, id, what).await? {
        return Err(Refusal::Wrong("That hold does not lie on it any more.".to_owned()));
    }
    Ok(Redirect::to(&format!("/recordings/{id}")).into_response())
}
