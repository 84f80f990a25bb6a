//! `/webhooks`: programs that are told what happens, whose rights each has, and how it does. What messages are signed with is shown once.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use policy::Permission;
use store::{AccountChange, NewWebhook, Topic, WEBHOOK_ADDRESS_MAX, Webhook, WebhookSecret};

use super::App;
use super::caller::Asker;
use super::escape::brief;
use super::form::Form;
use super::frame::{Frame, Page, page_with};
use super::programs::{Choice, Said, accounts_for_programs, need, own_account};
use super::refusal::Refusal;
use crate::webhooks::{WebhookState, Webhooks, check_address};

struct Line {
    name: String,
    address: String,
    account: String,
    topics: String,
    made: String,
    by: String,
    told: String,
    state: String,
    light: &'static str,
}

#[derive(askama::Template)]
#[template(path = "webhooks.html")]
struct WebhooksPage {
    frame: Frame,
    said: Said,
    lines: Vec<Line>,
    /// Somebody tells them here.
    is_told: bool,
    name: String,
    address: String,
    address_max: usize,
    account: String,
    accounts: Vec<String>,
    topics: Vec<Choice>,
}

/// How a webhook does, in words, and the light of that.
fn state(app: &App, webhook: &Webhook, state: Option<&WebhookState>) -> (String, &'static str) {
    let caller = app.archive().caller(&webhook.account, app.now());
    if !caller.is_some_and(|caller| caller.may(Permission::WebAccess)) {
        return ("its account is out: it is told nothing".to_owned(), "warn");
    }
    let Some(state) = state else {
        return ("told by the recorder, which does not run here".to_owned(), "off");
    };
    if state.is_gone {
        return ("said that it is gone (410): told nothing more".to_owned(), "bad");
    }
    match (&state.waiting_since, &state.last_failed) {
        (Some(since), Some((_, why))) => {
            (format!("not heard since {}: {}", app.zone().moment(*since).short, brief(why)), "bad")
        }
        _ if state.given_up > 0 => (format!("{} given up", state.given_up), "warn"),
        _ => ("all is told".to_owned(), "good"),
    }
}

/// `GET /webhooks`.
pub(super) async fn webhooks(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    need(&asker)?;
    app.webhooks_page(&asker, &Form::parse(""), Said::default())
}

/// `POST /webhooks`: one is made, tried, or taken away.
pub(super) async fn change(State(app): State<App>, asker: Asker, form: Form) -> Result<Response, Refusal> {
    need(&asker)?;
    let empty = Form::parse("");
    match form.text("do") {
        "add" => {
            let asked = match asked_webhook(&form) {
                Ok(asked) => asked,
                Err(wrong) => return app.webhooks_page(&asker, &form, Said::wrong(wrong)),
            };
            let said = format!("The webhook {} is made: it is told of what happens from now on.", asked.name);
            match app.make_webhook(&asker, asked).await? {
                Err(why) => app.webhooks_page(&asker, &form, Said::wrong(why)),
                Ok(secret) => app.webhooks_page(&asker, &empty, Said::made(said, &secret.text())),
            }
        }
        "test" => {
            let name = form.raw("name").to_owned();
            let webhooks = Arc::clone(app.webhooks()?);
            if app.archive().accounts().webhook(&name).is_none() {
                return app.webhooks_page(
                    &asker,
                    &empty,
                    Said::wrong("There is no such webhook.".to_owned()),
                );
            }
            let tried = name.clone();
            let said = match app.read(move |_| Ok(webhooks.test(&tried))).await? {
                Ok(status) => Said::done(format!("{name} has taken a test message: it answered {status}.")),
                Err(why) => Said::wrong(format!("{name} has not taken the test message: {why}.")),
            };
            app.webhooks_page(&asker, &empty, said)
        }
        "remove" => {
            let name = form.raw("name").to_owned();
            if form.text("confirm") != name {
                let why = "Type the webhook’s name to remove it. Nothing was changed.".to_owned();
                return app.webhooks_page(&asker, &empty, Said::wrong(why));
            }
            let said = Said::done(format!("The webhook {name} is told nothing more."));
            match app.change(&asker, AccountChange::RemoveWebhook { name }).await? {
                Err(why) => app.webhooks_page(&asker, &empty, Said::wrong(why)),
                Ok(()) => app.webhooks_page(&asker, &empty, said),
            }
        }
        _ => Err(Refusal::WrongQuery),
    }
}

/// A webhook that somebody asks for.
pub(super) struct AskedWebhook {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) account: String,
    pub(super) topics: BTreeSet<Topic>,
}

fn asked_webhook(form: &Form) -> Result<AskedWebhook, String> {
    let topics = form.all("topic").map(str::parse).collect::<Result<_, _>>();
    Ok(AskedWebhook {
        name: form.text("name").to_owned(),
        address: form.text("address").to_owned(),
        account: form.text("account").to_owned(),
        topics: topics.map_err(|error| format!("There is {error}."))?,
    })
}

impl App {
    /// Whoever tells them; nobody does where nothing records.
    ///
    /// # Errors
    /// [`Refusal::NoRecorder`].
    pub(super) fn webhooks(&self) -> Result<&Arc<dyn Webhooks>, Refusal> {
        self.0.webhooks.as_ref().ok_or(Refusal::NoRecorder)
    }

    /// Makes a webhook; gives what its messages are signed with, for this once.
    pub(super) async fn make_webhook(
        &self,
        asker: &Asker,
        asked: AskedWebhook,
    ) -> Result<Result<WebhookSecret, String>, Refusal> {
        let AskedWebhook { name, address, account, topics } = asked;
        if let Err(why) = check_address(&address) {
            return Ok(Err(why));
        }
        let secret = WebhookSecret::new()?;
        let new = NewWebhook { name, address, account, topics, secret: secret.clone() };
        Ok(self.change(asker, AccountChange::AddWebhook(new)).await?.map(|()| secret))
    }

    fn webhooks_page(&self, asker: &Asker, form: &Form, said: Said) -> Result<Response, Refusal> {
        let accounts = self.archive().accounts();
        let is_fresh = form.text("do").is_empty();
        let is_chosen = |topic: Topic| match is_fresh {
            true => topic == Topic::RecordingFinished,
            false => form.all("topic").any(|key| key == topic.key()),
        };
        let account = if is_fresh { own_account(asker) } else { form.text("account") };
        page_with(
            said.status(),
            &WebhooksPage {
                frame: self.frame(asker, Page::At("/webhooks"), "Webhooks"),
                said,
                lines: accounts.webhooks().iter().map(|webhook| self.webhook_line(webhook)).collect(),
                is_told: self.webhooks().is_ok(),
                name: form.text("name").to_owned(),
                address: form.text("address").to_owned(),
                address_max: WEBHOOK_ADDRESS_MAX,
                account: account.to_owned(),
                accounts: accounts_for_programs(&accounts),
                topics: Topic::ALL
                    .map(|topic| Choice {
                        key: topic.key(),
                        words: topic.words(),
                        is_chosen: is_chosen(topic),
                    })
                    .into(),
            },
        )
    }

    fn webhook_line(&self, webhook: &Webhook) -> Line {
        let now = self.webhooks().ok().map(|webhooks| webhooks.state(&webhook.name));
        let (state, light) = state(self, webhook, now.as_ref());
        let topics: Vec<&str> = webhook.topics.iter().map(|topic| topic.key()).collect();
        let last = now.as_ref().and_then(|now| Some((now.told, now.last_told?)));
        Line {
            name: webhook.name.clone(),
            address: brief(&webhook.address).into_owned(),
            account: webhook.account.clone(),
            topics: topics.join(", "),
            made: self.zone().zoned(webhook.made).strftime("%Y-%m-%d").to_string(),
            by: brief(&webhook.by).into_owned(),
            told: last.map_or("nothing yet".to_owned(), |(told, at)| {
                format!("{told}, the last {}", self.zone().moment(at).short)
            }),
            state,
            light,
        }
    }
}
