//! `/rules/versions`: who changed the rule book when and why, what a version changed, and bringing one back.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use store::{Archive, BookVersion};

use super::review::{Line, lines};
use super::{Made, rights};
use crate::rules::{Difference, RuleBook, RulesError};
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::form::Form;
use crate::server::frame::{Frame, Page, page};
use crate::server::refusal::Refusal;

/// Versions on one page.
const ROWS: usize = 200;

#[derive(askama::Template)]
#[template(path = "rules_versions.html")]
struct Versions {
    frame: Frame,
    versions: Vec<Made>,
    newest: u64,
    older: Option<u64>,
}

/// `GET /rules/versions`.
pub(in crate::server) async fn versions(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    need(&app, &asker)?;
    let before = Form::parse(&query.unwrap_or_default()).text("before").parse().unwrap_or(u64::MAX);
    let all = app.read(move |archive| Ok(archive.book_versions()?)).await?;
    let newest = all.last().map_or(0, |newest| newest.version);
    let mut found = all.iter().rev().filter(|version| version.version < before);
    let versions: Vec<Made> =
        found.by_ref().take(ROWS).map(|version| Made::of(version, app.zone())).collect();
    let older = found.next().and(versions.last()).map(|last| last.version);
    page(&Versions {
        frame: app.frame(&asker, Page::At("/rules"), "Versions of the rules"),
        versions,
        newest,
        older,
    })
}

fn need(app: &App, asker: &Asker) -> Result<(), Refusal> {
    app.rules()?;
    if rights::may_whole(asker) { Ok(()) } else { Err(Refusal::NoPage) }
}

/// What two texts differ in, where both can be read.
pub(in crate::server) type Compared = Result<Vec<Difference>, RulesError>;

/// All versions, and what one differs in from another.
///
/// # Errors
/// [`Refusal::NoPage`] where there is no such version.
pub(in crate::server) fn compared(
    archive: &Archive,
    rules: &dyn RuleBook,
    number: u64,
    with: u64,
) -> Result<(Vec<BookVersion>, Compared), Refusal> {
    let all = archive.book_versions()?;
    // Before the first version there is nothing at all.
    let text = |number: u64| match number {
        0 => Some(""),
        number => all.iter().find(|version| version.version == number).map(|version| version.text.as_str()),
    };
    let (Some(old), Some(new)) = (text(with), text(number)) else { return Err(Refusal::NoPage) };
    let compared = rules.compare(old, new);
    Ok((all, compared))
}

#[derive(askama::Template)]
#[template(path = "rules_version.html")]
struct Version {
    frame: Frame,
    made: Made,
    newest: u64,
    with: u64,
    others: Vec<u64>,
    /// What it differs in from that one.
    lines: Vec<Line>,
    wrong: String,
    text: String,
    sha256: String,
}

/// `GET /rules/versions/{n}`: what it changed, or what it differs in from `?with=`.
pub(in crate::server) async fn version(
    State(app): State<App>,
    asker: Asker,
    number: Result<Path<u64>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    need(&app, &asker)?;
    let rules = app.rules()?.clone();
    let Path(number) = number.map_err(|_| Refusal::NoPage)?;
    let form = Form::parse(&query.unwrap_or_default());
    let with = form.text("with").parse().unwrap_or(number.saturating_sub(1));
    let (all, compared) = app.read(move |archive| compared(archive, &*rules, number, with)).await?;
    let newest = all.last().map_or(0, |newest| newest.version);
    let others =
        all.iter().rev().map(|other| other.version).filter(|other| *other != number).take(ROWS).collect();
    let (lines, wrong) = match compared {
        Ok(differences) => (lines(&differences), String::new()),
        Err(RulesError::Wrong(wrong)) => (Vec::new(), super::words_of(&wrong)),
        Err(error) => return Err(error.into()),
    };
    let shown = all.into_iter().find(|version| version.version == number).ok_or(Refusal::NoPage)?;
    page(&Version {
        frame: app.frame(&asker, Page::At("/rules"), format!("Rules, version {number}")),
        made: Made::of(&shown, app.zone()),
        newest,
        with,
        others,
        lines,
        wrong,
        text: shown.text,
        sha256: shown.sha256,
    })
}
