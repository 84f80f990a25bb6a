//! `/set-up`: from the link that works once to the first recording, step by step. For whoever holds that link, and nobody else.

mod heard;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use store::{AccessEvent, AccountChange, AccountEdit, Password, Query};

pub(super) use self::heard::{begin, events, heard};
use super::App;
use super::accounts::hint;
use super::caller::Asker;
use super::form::Form;
use super::frame::page_with;
use super::keys::SHEET;
use super::recordings::columns::short_length;
use super::refusal::Refusal;
use super::session::Who;
use super::users::ADMINISTRATOR;
use super::zone::Moment;
use crate::words;

/// The line of the sheet that is asked for, to know that it is on paper.
const PROOF: &str = "K3";

/// What is done one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Administrator,
    Connection,
    Key,
    Heard,
    First,
}

impl Step {
    const ALL: [Step; 5] = [Step::Administrator, Step::Connection, Step::Key, Step::Heard, Step::First];

    const fn label(self) -> &'static str {
        match self {
            Step::Administrator => "Administrator",
            Step::Connection => "Connection",
            Step::Key => "Key on paper",
            Step::Heard => "What is heard",
            Step::First => "First recording",
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Step::Administrator => "/set-up/administrator",
            Step::Connection => "/set-up/connection",
            Step::Key => "/set-up/key",
            Step::Heard => "/set-up/heard",
            Step::First => "/set-up/first",
        }
    }
}

/// A step as the list above shows it.
struct Stage {
    label: &'static str,
    path: &'static str,
    is_done: bool,
    is_current: bool,
}

/// What stands around each step.
struct Around {
    title: String,
    stages: Vec<Stage>,
    /// What was off with what was sent.
    wrong: Option<String>,
}

#[derive(askama::Template)]
#[template(path = "set_up_administrator.html")]
struct Administrator {
    around: Around,
    is_done: bool,
    name: String,
    hint: String,
}

#[derive(askama::Template)]
#[template(path = "set_up_connection.html")]
struct Connection {
    around: Around,
    is_secure: bool,
    origin: String,
    names: Vec<String>,
    fingerprint: String,
}

#[derive(askama::Template)]
#[template(path = "set_up_key.html")]
struct Key {
    around: Around,
    /// Why there is no sheet.
    none: String,
    sheet: String,
    is_done: bool,
    proof: &'static str,
}

#[derive(askama::Template)]
#[template(path = "set_up_first.html")]
struct First {
    around: Around,
    is_waiting: bool,
    running: usize,
    newest: Option<Newest>,
}

/// What changes while the first recording is waited for.
#[derive(askama::Template)]
#[template(path = "set_up_first_part.html")]
struct FirstPart {
    /// It does not record yet.
    is_waiting: bool,
    running: usize,
    newest: Option<Newest>,
}

struct Newest {
    href: String,
    words: String,
    length: String,
    at: Moment,
}

/// # Errors
/// [`Refusal::NoPage`] for everybody but the holder of the link.
fn need_console(asker: &Asker) -> Result<(), Refusal> {
    if asker.who == Who::Console { Ok(()) } else { Err(Refusal::NoPage) }
}

impl App {
    /// There is a recorder, and something is still to be done that nothing works without.
    pub(super) fn wants_set_up(&self) -> bool {
        self.live().is_ok() && (!self.has_accounts() || self.waiting().is_some())
    }

    fn is_done(&self, step: Step) -> bool {
        match step {
            Step::Administrator => self.has_accounts(),
            // Nothing has to be done there; it is behind who goes on.
            Step::Connection => self.has_accounts(),
            Step::Key => self.is_on_paper(),
            Step::Heard => self.waiting().is_none(),
            Step::First => self.newest().is_some(),
        }
    }

    fn around(&self, current: Step, wrong: Option<String>) -> Around {
        let stage = |step: Step| Stage {
            label: step.label(),
            path: step.path(),
            is_done: self.is_done(step),
            is_current: step == current,
        };
        Around { title: current.label().to_owned(), stages: Step::ALL.map(stage).into(), wrong }
    }

    fn newest(&self) -> Option<Newest> {
        let mut query = Query::default();
        query.limit = Some(1);
        let row = self.archive().search(&query).next()?.ok()?;
        let facts = &row.facts;
        Some(Newest {
            href: format!("/recordings/{}", facts.id),
            words: format!(
                "{} and {}",
                words::named(&facts.extension, facts.extension_name.as_deref()),
                facts.other_party.as_deref().unwrap_or("somebody")
            ),
            length: short_length(facts.duration_ms),
            at: self.zone().moment(facts.started),
        })
    }

    fn first_part(&self) -> FirstPart {
        FirstPart {
            is_waiting: self.waiting().is_some(),
            running: self.live().map_or(0, |live| live.status().calls.len()),
            newest: self.newest(),
        }
    }
}

/// `GET /set-up`: what is to be done next.
pub(super) async fn set_up(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    need_console(&asker)?;
    let step = app.clone().read(move |_| Ok(Step::ALL.into_iter().find(|step| !app.is_done(*step)))).await?;
    Ok(Redirect::to(step.unwrap_or(Step::First).path()).into_response())
}

/// `GET /set-up/administrator`.
pub(super) async fn administrator(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    need_console(&asker)?;
    app.show_administrator("", None)
}

/// `POST /set-up/administrator`: the first account.
pub(super) async fn add_administrator(
    State(app): State<App>,
    asker: Asker,
    form: Form,
) -> Result<Response, Refusal> {
    need_console(&asker)?;
    let (name, password) = (form.text("name").to_owned(), form.raw("new"));
    if app.has_accounts() {
        return Ok(Redirect::to(Step::Connection.path()).into_response());
    }
    if password != form.raw("again") {
        return app.show_administrator(&name, Some("The two passwords are not the same.".into()));
    }
    let edit = AccountEdit { role: Some(ADMINISTRATOR.into()), ..AccountEdit::default() };
    let password = Some(Password::new(password));
    let change = AccountChange::Add { name: name.clone(), edit, password, must_change: false };
    match app.change(&asker, change).await? {
        Err(why) => app.show_administrator(&name, Some(why)),
        Ok(()) => Ok(Redirect::to(Step::Connection.path()).into_response()),
    }
}

/// `GET /set-up/connection`: how browsers reach these pages, and how they know that they do.
pub(super) async fn connection(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    need_console(&asker)?;
    let reached = app.reached();
    show(
        None,
        &Connection {
            around: app.around(Step::Connection, None),
            is_secure: reached.is_secure,
            origin: reached.origin(),
            names: reached.names().to_vec(),
            fingerprint: reached.fingerprint().to_owned(),
        },
    )
}

/// `GET /set-up/key`.
pub(super) async fn key(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    need_console(&asker)?;
    app.show_key(String::new(), None)
}

/// `POST /set-up/key`: shows the sheet, or is told a line of it.
pub(super) async fn prove_key(State(app): State<App>, asker: Asker, form: Form) -> Result<Response, Refusal> {
    need_console(&asker)?;
    if form.text("do") == "show" {
        let shown =
            AccessEvent::SettingsChanged { what: SHEET.into(), before: String::new(), after: "shown".into() };
        // Who has seen the key stands in the trail before it is seen.
        app.note(&asker, shown).await?;
        let sheet = app.read(|archive| Ok(archive.recovery_sheet()?)).await?;
        return app.show_key(sheet.to_string(), None);
    }
    let typed = form.raw("proof").to_owned();
    if app.read(move |archive| Ok(archive.is_line_of_sheet(PROOF, &typed)?)).await? {
        app.sheet_is_proven(&asker).await?;
        app.put_on_paper();
        return Ok(Redirect::to(Step::Heard.path()).into_response());
    }
    let wrong = format!("That is not line {PROOF}. Compare it with the paper, group by group.");
    app.show_key(String::new(), Some(wrong))
}

/// `GET /set-up/first`.
pub(super) async fn first(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    need_console(&asker)?;
    let of = app.clone();
    let part = app.read(move |_| Ok(of.first_part())).await?;
    let FirstPart { is_waiting, running, newest } = part;
    show(None, &First { around: app.around(Step::First, None), is_waiting, running, newest })
}

/// A page; one that says what was wrong has a status of its own.
fn show(wrong: Option<StatusCode>, template: &impl askama::Template) -> Result<Response, Refusal> {
    page_with(wrong.unwrap_or(StatusCode::OK), template)
}

/// The status of a page that says what was wrong with what was sent.
fn status_of(wrong: &Option<String>) -> Option<StatusCode> {
    wrong.as_ref().map(|_| StatusCode::UNPROCESSABLE_ENTITY)
}

impl App {
    fn show_administrator(&self, name: &str, wrong: Option<String>) -> Result<Response, Refusal> {
        let status = status_of(&wrong);
        show(
            status,
            &Administrator {
                around: self.around(Step::Administrator, wrong),
                is_done: self.has_accounts(),
                name: name.to_owned(),
                hint: hint(self.archive().accounts().password_policy().strength),
            },
        )
    }

    fn show_key(&self, sheet: String, wrong: Option<String>) -> Result<Response, Refusal> {
        let status = status_of(&wrong);
        let none = if self.archive().can_read() {
            ""
        } else if self.archive().is_locked() {
            "The private key is sealed with a passphrase that was not given. The sheet is printed by `earwitness archive key \
             recovery-sheet`."
        } else {
            "The private key is not on this machine: who made it keeps it, and its sheet."
        };
        show(
            status,
            &Key {
                around: self.around(Step::Key, wrong),
                none: none.to_owned(),
                sheet,
                is_done: self.is_on_paper(),
                proof: PROOF,
            },
        )
    }
}
