//! `/logs`: the recorder's own log, as far as it is remembered, and what goes to whoever helps.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use policy::Permission;
use tokio::sync::Semaphore;

use super::App;
use super::caller::Asker;
use super::escape::brief;
use super::form::Form;
use super::frame::{Frame, Page, page};
use super::refusal::Refusal;
use super::zone::Moment;
use crate::machine::{LogLine, Machinery, Severity};

/// Lines on the page.
const ROWS: usize = 500;

struct Line {
    at: Moment,
    severity: &'static str,
    light: &'static str,
    part: String,
    what: String,
    more: String,
}

/// It looks through all names: one at a time, whoever asks, and however often.
static ONE_BUNDLE: Semaphore = Semaphore::const_new(1);

#[derive(askama::Template)]
#[template(path = "logs.html")]
struct Logs {
    frame: Frame,
    lines: Vec<Line>,
    levels: Vec<(&'static str, &'static str, bool)>,
    count: usize,
}

impl App {
    /// The program's side.
    ///
    /// # Errors
    /// [`Refusal::NoPage`] where there is none.
    pub(super) fn machinery(&self) -> Result<&Arc<dyn Machinery>, Refusal> {
        self.0.machinery.as_ref().ok_or(Refusal::NoPage)
    }

    /// The support bundle: in the audit trail before it leaves.
    pub(super) async fn support_bundle(&self, asker: &Asker) -> Result<Vec<u8>, Refusal> {
        let machinery = Arc::clone(self.machinery()?);
        let turn = ONE_BUNDLE.try_acquire().map_err(|_| {
            Refusal::Declined(
                "A support bundle is being made already: take that one, or try again.".to_owned(),
            )
        })?;
        let bundle = self.read(move |_| {
            let bundle = machinery.support_bundle();
            drop(turn);
            Ok(bundle?)
        });
        let bundle = bundle.await?;
        self.note_table(asker, "support bundle", 0).await?;
        Ok(bundle)
    }
}

/// The lines of this severity and worse, the newest first.
pub(super) fn lines(machinery: &dyn Machinery, level: Severity) -> impl Iterator<Item = LogLine> {
    machinery.log().into_iter().rev().filter(move |line| line.severity <= level)
}

/// The severity that a query names; the finest where it names none.
pub(super) fn level(text: &str) -> Severity {
    Severity::ALL.into_iter().find(|severity| severity.key() == text).unwrap_or(Severity::Notice)
}

/// `GET /logs`.
pub(super) async fn logs(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    asker.need(Permission::Servers)?;
    let machinery = Arc::clone(app.machinery()?);
    let chosen = level(Form::parse(&query.unwrap_or_default()).text("level"));
    let line = |line: LogLine| Line {
        at: app.zone().moment(line.at),
        severity: line.severity.key(),
        light: match line.severity {
            Severity::Error => "bad",
            Severity::Warning => "warn",
            Severity::Notice => "",
        },
        more: brief(&line.more()).into_owned(),
        part: line.part,
        what: brief(&line.what).into_owned(),
    };
    let all: Vec<LogLine> = lines(&*machinery, chosen).collect();
    let levels = [("notice", "Everything"), ("warning", "Warnings and errors"), ("error", "Errors")]
        .map(|(key, label)| (key, label, key == chosen.key()));
    page(&Logs {
        frame: app.frame(&asker, Page::At("/logs"), "Log"),
        count: all.len(),
        lines: all.into_iter().take(ROWS).map(line).collect(),
        levels: levels.to_vec(),
    })
}

/// `GET /support-bundle.zip`.
pub(super) async fn bundle(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    asker.need(Permission::Servers)?;
    let bundle = app.support_bundle(&asker).await?;
    let fields = [
        (header::CONTENT_TYPE, "application/zip"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"earwitness-support.zip\""),
    ];
    Ok((fields, bundle).into_response())
}
