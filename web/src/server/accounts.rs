//! Signing in and out, and what people set about themselves. Accounts, passwords and their rules are `store`'s.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use decode::Timestamp;
use policy::{Caller, Permission};
use serde::Deserialize;
use store::{AccessEvent, AccountChange, AccountEdit, Password, SignInRefused, Strength, TotpSecret};

use super::App;
use super::caller::{Asker, First};
use super::form::Form;
use super::frame::{Frame, Page, page, page_with};
use super::guard::From;
use super::refusal::Refusal;
use super::session::{Secret, Who};
use super::zone::Moment;

/// Passwords that were right and wait for a code of the second factor.
const PENDING_MAX: usize = 200;
/// For so long.
const PENDING_FOR: Duration = Duration::from_secs(180);
/// Codes that may be tried meanwhile.
const CODES_MAX: u32 = 5;
/// As whom authenticator apps know us.
const ISSUER: &str = "earwitness";

/// Sign-ins that are half done.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<BTreeMap<u64, Half>>);

#[derive(Debug)]
struct Half {
    step: Secret,
    name: String,
    password: Password,
    since: Instant,
    tries: u32,
}

impl Pending {
    fn keep(&self, name: &str, password: Password, now: Instant) -> String {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.retain(|_, half| now.saturating_duration_since(half.since) <= PENDING_FOR);
        if pending.len() >= PENDING_MAX {
            pending.pop_first();
        }
        let step = Secret::new();
        let text = step.text().to_owned();
        let number = pending.last_key_value().map_or(0, |(number, _)| number + 1);
        pending.insert(number, Half { step, name: name.to_owned(), password, since: now, tries: 0 });
        text
    }

    /// What was kept under this step, for one more try.
    fn take(&self, step: &str, now: Instant) -> Option<(u64, String, Password)> {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, half) = pending.iter_mut().find(|(_, half)| half.step.is(step))?;
        let number = *number;
        half.tries += 1;
        if half.tries > CODES_MAX || now.saturating_duration_since(half.since) > PENDING_FOR {
            pending.remove(&number);
            return None;
        }
        Some((number, half.name.clone(), half.password.clone()))
    }

    fn done(&self, number: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }
}

#[derive(askama::Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    title: &'static str,
    why: Option<String>,
    to: String,
    name: String,
    host: String,
    version: &'static str,
}

#[derive(askama::Template)]
#[template(path = "sign_in_code.html")]
struct Code {
    title: &'static str,
    why: Option<String>,
    to: String,
    step: String,
    name: String,
    now: Moment,
}

#[derive(Deserialize)]
pub(super) struct To {
    #[serde(default)]
    to: String,
}

/// Where somebody goes on: a path of ours and nothing else.
fn onward(to: &str) -> &str {
    let is_path = to.starts_with('/')
        && !to.starts_with("//")
        && !to.contains('\\')
        && !to.chars().any(char::is_control);
    if is_path { to } else { "/" }
}

impl App {
    pub(super) fn has_accounts(&self) -> bool {
        self.archive().has_accounts()
    }

    /// What an account may now, in a session that began at `since`, and what must be done first; none when it is gone or disabled, or
    /// sessions from then have been ended.
    pub(super) fn account(&self, name: &str, since: Timestamp) -> Option<(Caller, Option<First>)> {
        let now = self.now();
        let caller = self.archive().caller(name, now).filter(|caller| caller.may(Permission::WebAccess))?;
        let accounts = self.archive().accounts();
        let account = accounts.account(name).filter(|account| account.sessions_since <= since)?;
        let first = if accounts.must_change(account, now) {
            Some(First::Password)
        } else {
            (accounts.password_policy().second_factor && !account.has_totp()).then_some(First::SecondFactor)
        };
        Some((caller, first))
    }

    fn sign_in_page(
        &self,
        status: StatusCode,
        why: Option<String>,
        to: &str,
        name: &str,
    ) -> Result<Response, Refusal> {
        let host = self.reached().host();
        let (to, name) = (onward(to).to_owned(), name.to_owned());
        page_with(
            status,
            &SignIn { title: "Sign in", why, to, name, host, version: env!("CARGO_PKG_VERSION") },
        )
    }

    async fn try_in(
        &self,
        name: &str,
        password: Password,
        code: Option<String>,
        from: IpAddr,
    ) -> Result<Result<String, SignInRefused>, Refusal> {
        let (app, name) = (self.clone(), name.to_owned());
        let tried = tokio::task::spawn_blocking(move || {
            let at = app.now();
            app.archive()
                .sign_in(&name, &password, code.as_deref(), from, at)
                .map(|signed_in| signed_in.account)
        });
        tried.await.map_err(|_| Refusal::BrokeOff)
    }

    /// The session begins: the cookie, and where to go on.
    fn let_in(&self, account: &str, to: &str) -> Result<Response, Refusal> {
        let cookie = self.door().open(account, self.now(), Instant::now());
        let mut response = Redirect::to(onward(to)).into_response();
        response.headers_mut().insert(header::SET_COOKIE, self.cookie(Some(&cookie))?);
        Ok(response)
    }
}

/// `GET /sign-in`.
pub(super) async fn sign_in(
    State(app): State<App>,
    Query(To { to }): Query<To>,
) -> Result<Response, Refusal> {
    if !app.has_accounts() {
        return Err(Refusal::NotLetIn);
    }
    app.sign_in_page(StatusCode::OK, None, &to, "")
}

/// `POST /sign-in`.
pub(super) async fn try_sign_in(
    State(app): State<App>,
    From(peer): From,
    form: Form,
) -> Result<Response, Refusal> {
    let (name, to, password) = (form.text("name"), form.text("to"), Password::new(form.raw("password")));
    match app.try_in(name, password.clone(), None, peer).await? {
        Ok(account) => app.let_in(&account, to),
        Err(SignInRefused::CodeNeeded) => {
            let step = app.pending().keep(name, password, Instant::now());
            let (to, name, now) = (onward(to).to_owned(), name.to_owned(), app.zone().moment(app.now()));
            page(&Code { title: "Second factor", why: None, to, step, name, now })
        }
        Err(refused) => {
            let status = if refused == SignInRefused::Busy {
                StatusCode::SERVICE_UNAVAILABLE
            } else {
                StatusCode::FORBIDDEN
            };
            app.sign_in_page(status, Some(sentence(&refused.to_string())), to, name)
        }
    }
}

/// `POST /sign-in/code`.
pub(super) async fn try_code(
    State(app): State<App>,
    From(peer): From,
    form: Form,
) -> Result<Response, Refusal> {
    let (step, to, code) = (form.text("step"), form.text("to"), form.text("code"));
    let Some((number, name, password)) = app.pending().take(step, Instant::now()) else {
        let why = "That took too long, or too many codes were wrong. Sign in again.".to_owned();
        return app.sign_in_page(StatusCode::FORBIDDEN, Some(why), to, "");
    };
    match app.try_in(&name, password, Some(code.to_owned()), peer).await? {
        Ok(account) => {
            app.pending().done(number);
            app.let_in(&account, to)
        }
        Err(refused) => {
            let (to, step, now) = (onward(to).to_owned(), step.to_owned(), app.zone().moment(app.now()));
            let why = match refused {
                SignInRefused::Busy => refused.to_string(),
                _ => "that code did not let you in: enter the one that the app shows now".to_owned(),
            };
            page_with(
                StatusCode::FORBIDDEN,
                &Code { title: "Second factor", why: Some(sentence(&why)), to, step, name, now },
            )
        }
    }
}

/// `POST /sign-out`.
pub(super) async fn sign_out(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    app.door().leave(&asker.cookie);
    app.note(&asker, AccessEvent::SignedOut { by: "user".to_owned() }).await?;
    let mut response = Redirect::to(if app.has_accounts() { "/sign-in" } else { "/" }).into_response();
    let fields = response.headers_mut();
    fields.insert(header::SET_COOKIE, app.cookie(None)?);
    // What the browser has of us goes, too.
    fields.insert("clear-site-data", header::HeaderValue::from_static("\"cache\", \"storage\""));
    Ok(response)
}

/// A sentence of a page, of words that were made to stand in a line.
pub(super) fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}{}", letters.as_str(), if words.ends_with('.') { "" } else { "." })
}

#[derive(askama::Template)]
#[template(path = "me.html")]
struct Me {
    frame: Frame,
    name: String,
    display_name: String,
    email: String,
    role: String,
    must_change: bool,
    must_enroll: bool,
    has_totp: bool,
    /// Shown once, while it is being set up.
    secret: Option<String>,
    uri: String,
    said: &'static str,
    wrong: Option<String>,
    hint: String,
}

/// The name of the account that asks; the console has none.
fn own(asker: &Asker) -> Result<String, Refusal> {
    match &asker.who {
        Who::Account(name) => Ok(name.clone()),
        Who::Console => Err(Refusal::NoPage),
    }
}

impl App {
    fn me(
        &self,
        asker: &Asker,
        said: &'static str,
        wrong: Option<String>,
        secret: Option<TotpSecret>,
    ) -> Result<Response, Refusal> {
        let name = own(asker)?;
        let accounts = self.archive().accounts();
        let account = accounts.account(&name).ok_or(Refusal::NotLetIn)?;
        let status = if wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        page_with(
            status,
            &Me {
                frame: self.frame(asker, Page::Other, "My settings"),
                display_name: account.display_name.clone(),
                email: account.email.clone(),
                role: account.role.clone().unwrap_or_else(|| "none".to_owned()),
                must_change: accounts.must_change(account, self.now()),
                must_enroll: accounts.password_policy().second_factor && !account.has_totp(),
                has_totp: account.has_totp(),
                uri: secret.as_ref().map_or(String::new(), |secret| secret.uri(ISSUER, &name).to_string()),
                secret: secret.map(|secret| in_fours(&secret.base32())),
                said,
                wrong,
                hint: hint(accounts.password_policy().strength),
                name,
            },
        )
    }

    /// All sessions of the account have ended with what it signs in by: a new one for who has changed that.
    fn anew(&self, mut asker: Asker, name: &str, said: &'static str) -> Result<Response, Refusal> {
        self.door().turn_out(name, None);
        let cookie = self.door().open(name, self.now(), Instant::now());
        asker.cookie = Arc::from(cookie.as_str());
        let mut response = self.me(&asker, said, None, None)?;
        response.headers_mut().insert(header::SET_COOKIE, self.cookie(Some(&cookie))?);
        Ok(response)
    }

    /// Changes something of accounts, as somebody; what is refused is said on a page.
    pub(super) async fn change(
        &self,
        asker: &Asker,
        change: AccountChange,
    ) -> Result<Result<(), String>, Refusal> {
        let (who, at) = (asker.caller.name().to_owned(), self.now());
        let changed = self.read(move |archive| match archive.change_accounts(&who, at, change) {
            Err(store::Error::Refused { what }) => Ok(Err(sentence(&what))),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(Ok(())),
        });
        changed.await
    }

    /// Is it really the one whose session it is?
    async fn is_really(&self, asker: &Asker, name: &str, password: Password) -> Result<bool, Refusal> {
        let (app, name, from) = (self.clone(), name.to_owned(), asker.peer);
        let verify = move || app.archive().verify_password(&name, &password, from, app.now());
        let verified = tokio::task::spawn_blocking(verify);
        verified.await.map_err(|_| Refusal::BrokeOff)
    }
}

const WRONG_PASSWORD: &str = "That is not your password now. Nothing was changed.";

/// `GET /me`.
pub(super) async fn me(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    app.me(&asker, "", None, None)
}

/// `POST /me`: name and address for mail.
pub(super) async fn set_me(State(app): State<App>, asker: Asker, form: Form) -> Result<Response, Refusal> {
    let name = own(&asker)?;
    if !app.is_really(&asker, &name, Password::new(form.raw("password"))).await? {
        return app.me(&asker, "", Some(WRONG_PASSWORD.to_owned()), None);
    }
    let text = |field| Some(form.text(field).to_owned());
    let edit =
        AccountEdit { display_name: text("display_name"), email: text("email"), ..AccountEdit::default() };
    match app.change(&asker, AccountChange::Edit { name, edit }).await? {
        Ok(()) => app.me(&asker, "Saved.", None, None),
        Err(why) => app.me(&asker, "", Some(why), None),
    }
}

/// `GET /me/password`.
pub(super) async fn password(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    app.me(&asker, "", None, None)
}

/// `POST /me/password`: ends all other sessions of the account.
pub(super) async fn set_password(
    State(app): State<App>,
    asker: Asker,
    form: Form,
) -> Result<Response, Refusal> {
    let name = own(&asker)?;
    if !app.is_really(&asker, &name, Password::new(form.raw("password"))).await? {
        return app.me(&asker, "", Some(WRONG_PASSWORD.to_owned()), None);
    }
    let password = Password::new(form.raw("new"));
    match app
        .change(&asker, AccountChange::SetPassword { name: name.clone(), password, must_change: false })
        .await?
    {
        Ok(()) => app.anew(asker, &name, "The password was changed. Your other sessions have ended."),
        Err(why) => app.me(&asker, "", Some(why), None),
    }
}

/// `POST /me/totp`: begins, confirms or takes off the second factor.
pub(super) async fn set_totp(State(app): State<App>, asker: Asker, form: Form) -> Result<Response, Refusal> {
    let name = own(&asker)?;
    let own_name = name.clone();
    match form.text("do") {
        "confirm" => {
            let code = form.text("code").to_owned();
            match app.change(&asker, AccountChange::ConfirmTotp { name, code }).await? {
                Ok(()) => app.anew(
                    asker,
                    &own_name,
                    "The second factor is on: from now on you sign in with a code, too.",
                ),
                Err(why) => app.me(&asker, "", Some(why), None),
            }
        }
        what => {
            if !app.is_really(&asker, &name, Password::new(form.raw("password"))).await? {
                return app.me(&asker, "", Some(WRONG_PASSWORD.to_owned()), None);
            }
            if what == "remove" {
                return match app.change(&asker, AccountChange::RemoveTotp { name }).await? {
                    Ok(()) => app.me(&asker, "The second factor is off.", None, None),
                    Err(why) => app.me(&asker, "", Some(why), None),
                };
            }
            let secret = TotpSecret::new()?;
            match app.change(&asker, AccountChange::BeginTotp { name, secret: secret.clone() }).await? {
                Ok(()) => app.me(&asker, "", None, Some(secret)),
                Err(why) => app.me(&asker, "", Some(why), None),
            }
        }
    }
}

/// What a password must be, in words.
pub(super) fn hint(strength: Strength) -> String {
    let length = strength.length_min();
    match strength {
        Strength::Low => format!("{length} characters or more"),
        Strength::Secure => {
            format!("{length} characters or more, small and capital letters and digits among them")
        }
        Strength::High => {
            format!(
                "{length} characters or more, small and capital letters, digits and one of #@?!£$%^&*-=+ among them"
            )
        }
        Strength::Modern => format!("{length} characters or more; a sentence is good"),
    }
}

/// In groups of four, to be typed by hand.
fn in_fours(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(4).map(|four| four.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_on_to_a_path_of_ours_and_nowhere_else() {
        for (to, goes) in [
            ("/recordings?range=all", "/recordings?range=all"),
            ("//evil.example/", "/"),
            ("https://evil.example/", "/"),
            ("/\\evil.example", "/"),
            ("", "/"),
            ("/a\r\nSet-Cookie: x", "/"),
            ("/\t/evil.example", "/"),
        ] {
            assert_eq!(onward(to), goes, "{to:?}");
        }
    }

    #[test]
    fn a_half_sign_in_lasts_minutes_and_few_codes() {
        let (pending, start) = (Pending::default(), Instant::now());
        let step = pending.keep("ann", Password::new("right"), start);
        for _ in 0..CODES_MAX {
            assert!(pending.take(&step, start + PENDING_FOR).is_some());
        }
        assert!(pending.take(&step, start).is_none(), "one code too many");
        let step = pending.keep("ann", Password::new("right"), start);
        assert!(pending.take(&step, start + PENDING_FOR + Duration::from_millis(1)).is_none(), "too late");
        for _ in 0..=PENDING_MAX {
            pending.keep("bob", Password::new("x"), start);
        }
        assert_eq!(pending.0.lock().expect("no panic").len(), PENDING_MAX);
    }

    #[test]
    fn words_become_sentences() {
        assert_eq!(sentence("too many are signing in"), "Too many are signing in.");
        assert_eq!(in_fours("ABCDEFGHIJ"), "ABCD EFGH IJ");
    }
}
