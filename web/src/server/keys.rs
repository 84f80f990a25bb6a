//! `/keys`: who can open the archive and with which keys, whether the recovery sheet is on paper, and what to keep elsewhere.
//!
//! Nothing secret is shown here. Rotating, printing the sheet and letting others in stay at the machine: they need the private key, and what
//! they leave to be done (a new sheet, a new backup of keys) is done there.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use decode::Timestamp;
use policy::Permission;
use store::{AccessEvent, Archive, AuditFilter, KeyStatus, Protection, What};

use super::App;
use super::caller::Asker;
use super::escape::brief;
use super::form::Form;
use super::frame::{Frame, Page, page_with};
use super::refusal::Refusal;
use super::zone::Moment;

/// The line of the sheet that somebody types.
const PROOF: &str = "K2";
/// The setting by whose lines the trail knows of the sheet.
pub(super) const SHEET: &str = "recovery sheet";

struct Month {
    month: String,
    key_id: String,
    remarks: String,
}

struct Recipient {
    name: String,
    key_id: String,
    since: Moment,
}

#[derive(askama::Template)]
#[template(path = "keys.html")]
struct Keys {
    frame: Frame,
    said: &'static str,
    wrong: &'static str,
    key_id: String,
    sign_key_id: String,
    signs: bool,
    light: &'static str,
    private: &'static str,
    recipients: Vec<Recipient>,
    months: Vec<Month>,
    former: usize,
    is_rotating: bool,
    troubles: Vec<(String, String)>,
    proven: Option<Moment>,
    /// Somebody can prove it here.
    can_prove: bool,
    proof: &'static str,
    checkpoint: String,
}

/// How the private key is kept: a light, and words.
pub(super) fn private(status: &KeyStatus) -> (&'static str, &'static str) {
    match (status.private, status.open.is_empty()) {
        (Protection::Absent, _) => {
            ("off", "not on this machine: it records, and cannot play what it recorded")
        }
        (Protection::File, true) => ("bad", "in a file, of another archive"),
        (Protection::File, false) => ("good", "in a file"),
        (Protection::Passphrase, true) => ("warn", "sealed with a passphrase, closed: nothing can be played"),
        (Protection::Passphrase, false) => ("good", "sealed with a passphrase, open"),
    }
}

/// What the trail says of a sheet that is on paper.
fn proof_of(key_id: &str) -> String {
    format!("proven {key_id}")
}

/// When somebody last showed that the sheet of this key is on paper; none where nobody has.
fn proven(archive: &Archive, key_id: &str) -> Result<Option<Timestamp>, store::Error> {
    let filter = AuditFilter { kinds: vec!["settings-changed".to_owned()], ..AuditFilter::default() };
    let wanted = proof_of(key_id);
    // A line that cannot be read is told by verification.
    let found = archive.audit_trail(&filter)?.filter_map(Result::ok).find(|(_, event)| match &event.what {
        What::Accessed { access: AccessEvent::SettingsChanged { what, after, .. }, .. } => {
            what == SHEET && *after == wanted
        }
        _ => false,
    });
    Ok(found.map(|(_, event)| event.at))
}

impl App {
    /// How the keys are, and when the sheet of the archive key was last shown to be on paper.
    pub(super) async fn key_status(&self) -> Result<(KeyStatus, Option<Timestamp>), Refusal> {
        let app = self.clone();
        self.read(move |archive| {
            let status = archive.key_status()?;
            let mut known = app.0.proven.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let at = match &*known {
                Some((key_id, at)) if *key_id == status.key_id => *at,
                _ => {
                    let at = proven(archive, &status.key_id)?;
                    *known = Some((status.key_id.clone(), at));
                    at
                }
            };
            Ok((status, at))
        })
        .await
    }

    /// Somebody has typed a line of the sheet as it is: it is on paper.
    pub(super) async fn sheet_is_proven(&self, asker: &Asker) -> Result<(), Refusal> {
        let (status, before) = self.key_status().await?;
        let what = AccessEvent::SettingsChanged {
            what: SHEET.to_owned(),
            before: before.map_or(String::new(), |_| proof_of(&status.key_id)),
            after: proof_of(&status.key_id),
        };
        self.note(asker, what).await?;
        *self.0.proven.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Some((status.key_id, Some(self.now())));
        Ok(())
    }

    async fn keys_page(
        &self,
        asker: &Asker,
        said: &'static str,
        wrong: &'static str,
    ) -> Result<Response, Refusal> {
        let (status, at) = self.key_status().await?;
        let checkpoint = self.read(|archive| Ok(archive.checkpoint().unwrap_or_default())).await?;
        let (light, private) = private(&status);
        let month = |file: &store::KeyFileStatus| {
            let mut remarks = Vec::new();
            if file.opens == Some(false) {
                remarks.push("cannot be opened here");
            }
            if file.retired {
                remarks.push("retired, to be destroyed");
            }
            Month { month: file.month.clone(), key_id: file.key_id.clone(), remarks: remarks.join(", ") }
        };
        let recipient = |one: &store::Recipient| Recipient {
            name: brief(&one.name).into_owned(),
            key_id: one.key_id.clone(),
            since: self.zone().moment(one.added),
        };
        let code = if wrong.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
        page_with(
            code,
            &Keys {
                frame: self.frame(asker, Page::At("/keys"), "Keys"),
                said,
                wrong,
                light,
                private,
                recipients: status.recipients.iter().map(recipient).collect(),
                months: status.months.iter().rev().map(month).collect(),
                former: status.former.len(),
                is_rotating: status.rotating,
                troubles: status
                    .troubles
                    .iter()
                    .map(|(file, why)| (brief(file).into_owned(), brief(why).into_owned()))
                    .collect(),
                proven: at.map(|at| self.zone().moment(at)),
                can_prove: status.open.contains(&status.key_id),
                proof: PROOF,
                checkpoint,
                signs: status.signs,
                key_id: status.key_id,
                sign_key_id: status.sign_key_id,
            },
        )
    }
}

/// `GET /keys`.
pub(super) async fn keys(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    asker.need(Permission::Servers)?;
    app.keys_page(&asker, "", "").await
}

/// `POST /keys`: somebody has the recovery sheet before them, and types a line of it.
pub(super) async fn prove(State(app): State<App>, asker: Asker, form: Form) -> Result<Response, Refusal> {
    asker.need(Permission::Servers)?;
    let typed = form.raw("proof").to_owned();
    if app.read(move |archive| Ok(archive.is_line_of_sheet(PROOF, &typed)?)).await? {
        app.sheet_is_proven(&asker).await?;
        return app.keys_page(&asker, "That is the line: the sheet of this key is on paper.", "").await;
    }
    let wrong = "That is not the line. Is it the sheet of this archive, printed after the last rotation?";
    app.keys_page(&asker, "", wrong).await
}

/// A file that anybody may keep.
fn file(name: &'static str, kind: &'static str, text: String) -> Response {
    let shown = format!("attachment; filename=\"{name}\"");
    ([(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, shown)], text).into_response()
}

/// `GET /keys/public.json`: what signatures are verified by, and what a recorder without the private key seals to.
pub(super) async fn public(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    asker.need(Permission::Servers)?;
    let text = app.read(|archive| Ok(archive.public_keys()?)).await?;
    Ok(file("earwitness-public.json", "application/json", text))
}

/// `GET /keys/checkpoint`: the signed state of the log.
pub(super) async fn checkpoint(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    asker.need(Permission::Servers)?;
    let text = app.read(|archive| Ok(archive.checkpoint()?)).await?;
    Ok(file("earwitness.checkpoint", "text/plain; charset=utf-8", text))
}
