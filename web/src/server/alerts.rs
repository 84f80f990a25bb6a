//! `/alerts`: a light for each alarm, what was up since when and whom it was told, and taking note of it. What the drives will be like stands beside.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use policy::Permission;
use store::AccessEvent;

use super::App;
use super::caller::Asker;
use super::dashboard::{Drive, drive, look};
use super::escape::brief;
use super::form::Form;
use super::frame::{Frame, Page, page_with};
use super::recordings::columns::short_length;
use super::refusal::Refusal;
use super::zone::Moment;
use crate::alerts::{ALERT_NOTE_MAX, Acknowledged, Alert, Alerts, NotAcknowledged, Watched};

/// Alerts that are over, on the page.
const OVER_MAX: usize = 100;

/// A light for a kind of alarm (requirement row DSH-05).
pub(super) struct Light {
    pub(super) light: &'static str,
    pub(super) watched: Watched,
    pub(super) state: String,
}

struct Line {
    number: u64,
    label: &'static str,
    light: &'static str,
    words: String,
    raised: Moment,
    lasted: String,
    told: Moment,
    told_to: String,
    cleared: Option<Moment>,
    /// Who took note, and when.
    noted: String,
    note: String,
    /// It can be acknowledged: it was not, or reads otherwise since.
    is_open: bool,
}

#[derive(askama::Template)]
#[template(path = "alerts.html")]
struct AlertsPage {
    frame: Frame,
    said: &'static str,
    wrong: String,
    lights: Vec<Light>,
    up: Vec<Line>,
    over: Vec<Line>,
    drives: Vec<Drive>,
    may_acknowledge: bool,
    note_max: usize,
}

/// How each alarm stands.
pub(super) fn lights(alerts: &dyn Alerts, all: &[Alert]) -> Vec<Light> {
    let light = |watched: Watched| {
        let up: Vec<&Alert> =
            all.iter().filter(|alert| alert.cleared.is_none() && alert.alarm == watched.key).collect();
        let light = match (up.is_empty(), watched.is_on, watched.is_critical) {
            (false, _, true) => "bad",
            (false, _, false) => "warn",
            (true, true, _) => "good",
            (true, false, _) => "off",
        };
        let state = match (light, up.len()) {
            ("off", _) => "not looked for: it is not set up".to_owned(),
            ("good", _) => "all is well".to_owned(),
            (_, 1) => "up".to_owned(),
            (_, count) => format!("up in {count} places"),
        };
        Light { light, watched, state }
    };
    alerts.watched().into_iter().map(light).collect()
}

impl App {
    /// What is kept of alarms; there is none where nothing records.
    ///
    /// # Errors
    /// [`Refusal::NoRecorder`].
    pub(super) fn alerts(&self) -> Result<&Arc<dyn Alerts>, Refusal> {
        self.0.alerts.as_ref().ok_or(Refusal::NoRecorder)
    }

    /// Somebody takes note of an alert: in the audit trail before it is done.
    pub(super) async fn acknowledge(
        &self,
        asker: &Asker,
        number: u64,
        note: &str,
    ) -> Result<Result<(), NotAcknowledged>, Refusal> {
        let alerts = Arc::clone(self.alerts()?);
        let Some(alert) = alerts.all().into_iter().find(|alert| alert.number == number) else {
            return Ok(Err(NotAcknowledged::NoSuch));
        };
        // What will be refused is no line of the trail.
        let is_done = |noted: &&Acknowledged| alert.cleared.is_some() || !noted.has_changed;
        if let Some(noted) = alert.acknowledged.as_ref().filter(is_done) {
            return Ok(Err(NotAcknowledged::Already(noted.who.clone())));
        }
        let alarm = format!("{} {}", alert.alarm, alert.place).trim_end().to_owned();
        self.note(asker, AccessEvent::Acknowledged { alarm, note: note.to_owned() }).await?;
        let (who, note, at) = (asker.caller.name().to_owned(), note.to_owned(), self.now());
        self.read(move |_| Ok(alerts.acknowledge(number, &who, &note, at))).await
    }

    async fn alerts_page(
        &self,
        asker: &Asker,
        said: &'static str,
        wrong: String,
    ) -> Result<Response, Refusal> {
        let alerts = Arc::clone(self.alerts()?);
        let machine = look(self).await?;
        let all = alerts.all();
        let watched = alerts.watched();
        let label = |alert: &Alert| {
            let kind = watched.iter().find(|kind| kind.key == alert.alarm);
            kind.map_or(alert.alarm, |kind| kind.label)
        };
        let line = |alert: &Alert| self.alert_line(alert, label(alert));
        let (up, over): (Vec<&Alert>, Vec<&Alert>) = all.iter().partition(|alert| alert.cleared.is_none());
        let status = if wrong.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
        page_with(
            status,
            &AlertsPage {
                frame: self.frame(asker, Page::At("/alerts"), "Alerts"),
                said,
                wrong,
                lights: lights(&*alerts, &all),
                up: up.into_iter().map(line).collect(),
                over: over.into_iter().take(OVER_MAX).map(line).collect(),
                drives: machine.map_or(Vec::new(), |machine| machine.drives.iter().map(drive).collect()),
                may_acknowledge: asker.caller.may(Permission::Servers),
                note_max: ALERT_NOTE_MAX,
            },
        )
    }

    fn alert_line(&self, alert: &Alert, label: &'static str) -> Line {
        let moment = |at| self.zone().moment(at);
        let until = alert.cleared.unwrap_or(self.now());
        let noted = alert.acknowledged.as_ref();
        Line {
            number: alert.number,
            label,
            light: match (alert.cleared.is_some(), alert.critical) {
                (true, _) => "off",
                (false, true) => "bad",
                (false, false) => "warn",
            },
            words: brief(&alert.words).into_owned(),
            raised: moment(alert.raised),
            lasted: short_length(until.millis_since(alert.raised)),
            told: moment(alert.told),
            told_to: alert.told_to.join(", "),
            cleared: alert.cleared.map(moment),
            noted: noted.map_or(String::new(), |noted| {
                let changed = if noted.has_changed { "; it has changed since" } else { "" };
                format!("{}, {}{changed}", brief(&noted.who), moment(noted.at).short)
            }),
            note: noted.map_or(String::new(), |noted| noted.note.clone()),
            is_open: noted.is_none_or(|noted| noted.has_changed),
        }
    }
}

/// What is wrong with a note.
pub(super) fn wrong_note(note: &str) -> Option<String> {
    (note.chars().count() > ALERT_NOTE_MAX)
        .then(|| format!("A note has at most {ALERT_NOTE_MAX} characters. Nothing was changed."))
}

/// `GET /alerts`.
pub(super) async fn alerts(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    asker.need(Permission::Dashboard)?;
    app.alerts_page(&asker, "", String::new()).await
}

/// `POST /alerts`: somebody takes note of one.
pub(super) async fn acknowledge(
    State(app): State<App>,
    asker: Asker,
    form: Form,
) -> Result<Response, Refusal> {
    asker.need(Permission::Dashboard)?;
    asker.need(Permission::Servers)?;
    let number = form.text("alert").parse().map_err(|_| Refusal::WrongQuery)?;
    let note = form.text("note");
    if let Some(wrong) = wrong_note(note) {
        return app.alerts_page(&asker, "", wrong).await;
    }
    match app.acknowledge(&asker, number, note).await? {
        Ok(()) => {
            let said = "Acknowledged: it is not told again while it reads the same, figures in it too.";
            app.alerts_page(&asker, said, String::new()).await
        }
        Err(why) => app.alerts_page(&asker, "", format!("It was not acknowledged: {why}.")).await,
    }
}
