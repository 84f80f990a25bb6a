//! `/tokens`: programs that use the API, whose rights each has, and until when. A token that is made is shown once.

use axum::extract::State;
use axum::response::Response;
use policy::Permission;
use policy::access::Right;
use policy::modes;
use store::{AccountChange, ApiToken, NewToken, TokenSecret};

use super::App;
use super::caller::Asker;
use super::escape::brief;
use super::form::Form;
use super::frame::{Frame, Page, page_with};
use super::programs::{Choice, Said, accounts_for_programs, need, own_account};
use super::refusal::Refusal;
use super::token::Token;

struct Line {
    name: String,
    account: String,
    rights: String,
    made: String,
    by: String,
    expires: String,
    used: String,
    state: &'static str,
    light: &'static str,
}

#[derive(askama::Template)]
#[template(path = "tokens.html")]
struct Tokens {
    frame: Frame,
    said: Said,
    lines: Vec<Line>,
    /// Those of the configuration.
    configured: Vec<Line>,
    name: String,
    account: String,
    accounts: Vec<String>,
    rights: Vec<Choice>,
    is_supervisor: bool,
    expires: String,
}

/// The rights in one line.
fn told<'r>(rights: impl IntoIterator<Item = &'r Right>) -> String {
    rights.into_iter().map(|right| right.key()).collect::<Vec<_>>().join(", ")
}

/// How a token stands, in words, and the light of that.
pub(super) fn state(app: &App, token: &ApiToken) -> (&'static str, &'static str) {
    let can_sign_in = |account: &str| {
        let caller = app.archive().caller(account, app.now());
        caller.is_some_and(|caller| caller.may(Permission::WebAccess))
    };
    if token.has_expired(app.now()) {
        ("has expired", "warn")
    } else if !can_sign_in(&token.account) {
        ("its account is out", "warn")
    } else {
        ("counts", "good")
    }
}

/// `GET /tokens`.
pub(super) async fn tokens(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    need(&asker)?;
    app.tokens(&asker, &Form::parse(""), Said::default())
}

/// `POST /tokens`: one is made, or taken away.
pub(super) async fn change(State(app): State<App>, asker: Asker, form: Form) -> Result<Response, Refusal> {
    need(&asker)?;
    let empty = Form::parse("");
    match form.text("do") {
        "add" => {
            let asked = match app.asked_token(&form) {
                Ok(asked) => asked,
                Err(wrong) => return app.tokens(&asker, &form, Said::wrong(wrong)),
            };
            let said = format!("The token {} is made, and counts from now on.", asked.name);
            match app.make_token(&asker, asked).await? {
                Err(why) => app.tokens(&asker, &form, Said::wrong(why)),
                Ok(secret) => app.tokens(&asker, &empty, Said::made(said, secret.text())),
            }
        }
        "remove" => {
            let name = form.raw("name").to_owned();
            if form.text("confirm") != name {
                let why = "Type the token’s name to remove it. Nothing was changed.".to_owned();
                return app.tokens(&asker, &empty, Said::wrong(why));
            }
            let said = format!("The token {name} counts no more.");
            match app.change(&asker, AccountChange::RemoveToken { name }).await? {
                Err(why) => app.tokens(&asker, &empty, Said::wrong(why)),
                Ok(()) => app.tokens(&asker, &empty, Said::done(said)),
            }
        }
        _ => Err(Refusal::WrongQuery),
    }
}

/// A token that somebody asks for.
pub(super) struct AskedToken {
    pub(super) name: String,
    pub(super) account: String,
    pub(super) rights: Vec<Right>,
    pub(super) asks_as: modes::Role,
    pub(super) expires: Option<decode::Timestamp>,
}

impl App {
    fn asked_token(&self, form: &Form) -> Result<AskedToken, String> {
        let rights = form.all("right").map(str::parse).collect::<Result<Vec<Right>, _>>();
        let expires = match form.text("expires") {
            "" => None,
            text => Some(self.zone().read_local(text).ok_or_else(|| {
                format!("{} is no day: write it as 2027-11-30. Nothing was changed.", brief(text))
            })?),
        };
        Ok(AskedToken {
            name: form.text("name").to_owned(),
            account: form.text("account").to_owned(),
            rights: rights.map_err(|error| format!("There is {error}."))?,
            asks_as: match form.text("as") {
                "supervisor" => modes::Role::Supervisor,
                _ => modes::Role::Agent,
            },
            expires,
        })
    }

    /// Makes a token; gives what its program shows, for this once.
    pub(super) async fn make_token(
        &self,
        asker: &Asker,
        asked: AskedToken,
    ) -> Result<Result<TokenSecret, String>, Refusal> {
        let AskedToken { name, account, rights, asks_as, expires } = asked;
        let is_configured = |token: &Token| token.name().to_lowercase() == name.to_lowercase();
        if self.0.tokens.all().iter().any(is_configured) {
            return Ok(Err(format!(
                "The configuration has a token {} ([[api.token]]): lists and the trail could not tell them apart. Take another name.",
                brief(&name)
            )));
        }
        let secret = TokenSecret::new()?;
        let rights = rights.into_iter().collect();
        let new = NewToken { name, account, rights, asks_as, expires, secret: secret.clone() };
        Ok(self.change(asker, AccountChange::AddToken(new)).await?.map(|()| secret))
    }

    fn tokens(&self, asker: &Asker, form: &Form, said: Said) -> Result<Response, Refusal> {
        let accounts = self.archive().accounts();
        let account = if form.text("do").is_empty() { own_account(asker) } else { form.text("account") };
        let is_chosen = |right: &Right| form.all("right").any(|key| key == right.key());
        let rights = Right::ALL.iter().map(|right| Choice {
            key: right.key(),
            words: right.words(),
            is_chosen: is_chosen(right),
        });
        page_with(
            said.status(),
            &Tokens {
                frame: self.frame(asker, Page::At("/tokens"), "API tokens"),
                said,
                lines: accounts.tokens().iter().map(|token| self.token_line(token)).collect(),
                configured: self.0.tokens.all().iter().map(configured).collect(),
                name: form.text("name").to_owned(),
                account: account.to_owned(),
                accounts: accounts_for_programs(&accounts),
                rights: rights.collect(),
                is_supervisor: form.text("as") == "supervisor",
                expires: form.text("expires").to_owned(),
            },
        )
    }

    fn token_line(&self, token: &ApiToken) -> Line {
        let day = |at| self.zone().zoned(at).strftime("%Y-%m-%d").to_string();
        let (state, light) = state(self, token);
        Line {
            name: token.name.clone(),
            account: token.account.clone(),
            rights: told(&token.rights),
            made: day(token.made),
            by: brief(&token.by).into_owned(),
            expires: token.expires.map_or("never".to_owned(), |at| self.zone().moment(at).full),
            // A day of UTC, and no moment.
            used: token.last_used.map_or("never".to_owned(), |at| {
                let (year, month, day) = at.date();
                format!("{year:04}-{month:02}-{day:02}")
            }),
            state,
            light,
        }
    }
}

fn configured(token: &Token) -> Line {
    Line {
        name: brief(token.name()).into_owned(),
        account: brief(token.account().unwrap_or_default()).into_owned(),
        rights: told(token.rights()),
        made: String::new(),
        by: String::new(),
        expires: String::new(),
        used: String::new(),
        state: "",
        light: "",
    }
}
