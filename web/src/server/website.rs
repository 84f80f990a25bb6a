//! `/website`: what passwords must be and what failed tries come to, which is data; and how these pages are reached and how long a session lasts, which
//! is set elsewhere and told from where.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use policy::Permission;
use store::{AccountChange, PasswordPolicy, Strength};

use super::App;
use super::accounts::hint;
use super::caller::Asker;
use super::form::Form;
use super::frame::{Frame, Page, page_with};
use super::refusal::Refusal;
use super::session::{AGE_MAX, IDLE_MAX, SESSIONS_OF_ONE_MAX};
use crate::machine::Setting;

struct Choice {
    key: &'static str,
    words: String,
    is_chosen: bool,
}

#[derive(askama::Template)]
#[template(path = "website.html")]
struct Website {
    frame: Frame,
    said: &'static str,
    wrong: Option<String>,
    strengths: Vec<Choice>,
    expires_days: String,
    reuse: String,
    tries: String,
    locked_minutes: String,
    second_factor: bool,
    idle_min: u64,
    age_h: u64,
    sessions: usize,
    settings: Vec<Setting>,
    fingerprint: String,
}

impl App {
    fn website(
        &self,
        asker: &Asker,
        said: &'static str,
        wrong: Option<String>,
        form: Option<&Form>,
    ) -> Result<Response, Refusal> {
        let policy = self.archive().accounts().password_policy();
        let text = |name: &str, now: String| form.map_or(now, |form| form.text(name).to_owned());
        let strength = text("strength", policy.strength.key().to_owned());
        let choice = |one: Strength| Choice {
            key: one.key(),
            words: format!("{}: {}", one.key(), hint(one)),
            is_chosen: one.key() == strength,
        };
        let status = if wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        page_with(
            status,
            &Website {
                frame: self.frame(asker, Page::At("/website"), "Sign-in and website"),
                said,
                wrong,
                strengths: Strength::ALL.map(choice).into(),
                expires_days: text(
                    "expires_days",
                    policy.expires_days.map_or(String::new(), |days| days.to_string()),
                ),
                reuse: text("reuse", policy.reuse.to_string()),
                tries: text("tries", policy.tries.to_string()),
                locked_minutes: text("locked_minutes", policy.locked_minutes.to_string()),
                second_factor: form
                    .map_or(policy.second_factor, |form| !form.text("second_factor").is_empty()),
                idle_min: IDLE_MAX.as_secs() / 60,
                age_h: AGE_MAX.as_secs() / 3_600,
                sessions: SESSIONS_OF_ONE_MAX,
                settings: self.machinery().map_or(Vec::new(), |machinery| machinery.website()),
                fingerprint: self.reached().fingerprint().to_owned(),
            },
        )
    }
}

/// The policy that a form describes.
fn asked(form: &Form) -> Result<PasswordPolicy, String> {
    let number = |name: &str, label: &str| {
        form.text(name)
            .parse::<u32>()
            .map_err(|_| format!("{label}: a number is needed. Nothing was changed."))
    };
    let strength = Strength::ALL.into_iter().find(|strength| strength.key() == form.text("strength"));
    Ok(PasswordPolicy {
        strength: strength.ok_or("Choose what passwords must be. Nothing was changed.")?,
        expires_days: match form.text("expires_days") {
            "" => None,
            _ => Some(number("expires_days", "Days")?),
        },
        reuse: number("reuse", "Passwords to compare")?,
        tries: number("tries", "Tries")?,
        locked_minutes: number("locked_minutes", "Minutes")?,
        second_factor: !form.text("second_factor").is_empty(),
    })
}

/// `GET /website`.
pub(super) async fn website(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    asker.need(Permission::Security)?;
    app.website(&asker, "", None, None)
}

/// `POST /website`: another policy, or everybody's password must be changed.
pub(super) async fn change(State(app): State<App>, asker: Asker, form: Form) -> Result<Response, Refusal> {
    asker.need(Permission::Security)?;
    let (change, said) = match form.text("do") {
        "policy" => match asked(&form) {
            Err(why) => return app.website(&asker, "", Some(why), Some(&form)),
            Ok(policy) => (
                AccountChange::SetPolicy(policy),
                "Saved. Passwords that are there are tested when they are changed next.",
            ),
        },
        "renew" if form.text("confirm") != "everybody" => {
            let why = "Type everybody to go on. Nothing was changed.".to_owned();
            return app.website(&asker, "", Some(why), None);
        }
        "renew" => (AccountChange::MustChangeAll, "Everybody must change the password at the next sign-in."),
        _ => return Err(Refusal::WrongQuery),
    };
    match app.change(&asker, change).await? {
        Ok(()) => app.website(&asker, said, None, None),
        Err(why) => app.website(&asker, "", Some(why), Some(&form)),
    }
}
