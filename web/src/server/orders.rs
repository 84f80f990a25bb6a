//! Standing orders on the page of what runs: who asked what for whose calls, since when, how it ended, to end it, and to give one. They are
//! shown whether a call runs or not, to whoever would see the calls; given by who sees all, since nobody knows whose calls will come.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use policy::Permission;
use policy::modes::Role;
use policy::modes::orders::{Lasting, Whose};
use store::AccessEvent;

use super::App;
use super::caller::{Asker, may_about_all};
use super::escape::brief;
use super::form::Form;
use super::live::status;
use super::refusal::Refusal;
use super::token::Right;
use super::zone::Moment;
use crate::live::{LiveOrder, NotTaken, Status};

/// Orders that have ended on the page; the API has more.
const ENDED_SHOWN_MAX: usize = 10;
/// Characters of a number, an agent or a name.
pub(super) const NAME_MAX: usize = 128;

/// All that can be ordered.
const LASTING: [Lasting; 3] = [Lasting::Start, Lasting::Stop, Lasting::Pause];

/// `start`, `stop` or `pause`.
pub(super) fn lasting_of(key: &str) -> Option<Lasting> {
    LASTING.into_iter().find(|what| what.ask().key() == key)
}

/// What is wrong with a number or a name: they are not empty, not endless, and have no control characters.
pub(super) fn wrong_name(what: &str, text: &str) -> Option<String> {
    let is_one = (1..=NAME_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    (!is_one).then(|| format!("{what}: 1 to {NAME_MAX} characters, and no control characters"))
}

/// The form of a new one, for who may give it.
pub(super) struct OrderForm {
    pub(super) wrong: Option<String>,
    pub(super) number: String,
    pub(super) number_max: usize,
    /// Key, what people see, and whether it is chosen.
    pub(super) kinds: Vec<(&'static str, &'static str, bool)>,
    pub(super) whats: Vec<(&'static str, &'static str, bool)>,
}

impl OrderForm {
    fn new(form: &Form, wrong: Option<String>) -> OrderForm {
        let kinds = [("extension", "Extension"), ("agent", "Agent")];
        OrderForm {
            wrong,
            number: form.text("number").to_owned(),
            number_max: NAME_MAX,
            kinds: kinds.map(|(key, label)| (key, label, key == form.text("kind"))).into(),
            whats: LASTING
                .map(|what| (what.ask().key(), words_of(what), what.ask().key() == form.text("what")))
                .into(),
        }
    }
}

pub(super) struct OrderRow {
    /// As the form names it: `extension` or `agent`.
    pub(super) kind: &'static str,
    pub(super) number: String,
    pub(super) what: &'static str,
    pub(super) person: String,
    pub(super) by: String,
    pub(super) since: Moment,
    /// How and when it ended; none while it stands.
    pub(super) end: Option<(String, Moment)>,
    pub(super) may_end: bool,
}

/// The orders alone, as events carry them.
#[derive(askama::Template)]
#[template(path = "live_orders.html")]
pub(super) struct Orders {
    pub(super) orders: Vec<OrderRow>,
}

/// As people see it.
fn words_of(what: Lasting) -> &'static str {
    match what {
        Lasting::Start => "record",
        Lasting::Stop => "do not record",
        Lasting::Pause => "pause",
    }
}

/// `extension` or `agent`, and the number.
pub(super) fn named(whose: &Whose) -> (&'static str, &str) {
    match whose {
        Whose::Extension(extension) => ("extension", extension),
        Whose::Agent(agent) => ("agent", agent),
    }
}

/// May somebody end it? Else why not.
fn may_end(order: &LiveOrder, asker: &Asker) -> Result<(), Refusal> {
    asker.need(if order.order.what == Lasting::Pause { Permission::Pause } else { Permission::Control })?;
    let is_own = asker.caller.person().is_some_and(|person| order.who.user.as_deref() == Some(person));
    if is_own && order.order.role == Role::Supervisor {
        let why = "A supervisor has given this order for your calls: ask one to end it.";
        return Err(Refusal::Declined(why.to_owned()));
    }
    Ok(())
}

impl App {
    /// Those that somebody sees, ended ones behind.
    pub(super) fn seen_orders<'o>(
        &self,
        orders: &'o [LiveOrder],
        asker: &Asker,
    ) -> impl Iterator<Item = &'o LiveOrder> {
        orders.iter().filter(|order| asker.caller.admits(*order))
    }

    pub(super) fn live_orders(&self, asker: &Asker, status: &Status) -> Orders {
        let mut ended = 0;
        let seen = self.seen_orders(&status.orders, asker).filter(|order| {
            ended += usize::from(order.end.is_some());
            ended <= ENDED_SHOWN_MAX
        });
        Orders { orders: seen.map(|order| self.order_row(order, asker)).collect() }
    }

    fn order_row(&self, order: &LiveOrder, asker: &Asker) -> OrderRow {
        let (kind, number) = named(&order.whose);
        let name = order.who.user_name.as_deref().or(order.who.user.as_deref()).unwrap_or_default();
        OrderRow {
            kind,
            number: number.to_owned(),
            what: words_of(order.order.what),
            person: brief(name).into_owned(),
            by: brief(&order.order.name).into_owned(),
            since: self.zone().moment(order.order.at),
            end: order.end.as_ref().map(|(how, at)| (brief(how).into_owned(), self.zone().moment(*at))),
            may_end: order.end.is_none() && may_end(order, asker).is_ok(),
        }
    }

    /// The form of a new order; none for who may not give one.
    pub(super) fn order_form(&self, asker: &Asker, form: &Form, wrong: Option<String>) -> Option<OrderForm> {
        may_about_all(&asker.caller, Right::Requests).then(|| OrderForm::new(form, wrong))
    }

    /// Gives an order, as a program with the right to ask does.
    ///
    /// # Errors
    /// [`Refusal::NoPage`] for who may not; [`Refusal::Wrong`], [`Refusal::Declined`]: why it is not in force.
    async fn give_order(&self, asker: &Asker, whose: Whose, what: Lasting) -> Result<(), Refusal> {
        status(self, asker)?;
        if !may_about_all(&asker.caller, Right::Requests) {
            return Err(Refusal::NoPage);
        }
        let (kind, number) = named(&whose);
        if let Some(why) = wrong_name(kind, number) {
            return Err(Refusal::Wrong(format!("{why}. Nothing was ordered.")));
        }
        let action = format!("order {} {kind} {number}", what.ask().key());
        self.note(asker, AccessEvent::Controlled { id: None, action }).await?;
        let (role, name) = (self.role_about(asker, &whose), asker.caller.name().to_owned());
        let live = Arc::clone(self.live().map_err(|_| Refusal::NoRecorder)?);
        let given = tokio::task::spawn_blocking(move || live.order(whose, what, role, name)).await;
        given.map_err(|_| Refusal::BrokeOff)?.map_err(|error| match error {
            NotTaken::Unavailable(_) => Refusal::Unavailable,
            NotTaken::Wrong(why) => Refusal::Wrong(why),
            NotTaken::Full(why) => Refusal::Declined(why),
        })
    }

    /// As whom somebody orders: whose own calls these are at this moment asks as an agent, and may take it back.
    fn role_about(&self, asker: &Asker, whose: &Whose) -> Role {
        let people = self.archive().people();
        let who = match whose {
            Whose::Extension(extension) => people.who(extension, None, self.now()),
            Whose::Agent(agent) => people.who("", Some(agent), self.now()),
        };
        let is_own =
            asker.caller.person().is_some_and(|person| who.user.is_some_and(|user| user.id == person));
        if is_own { Role::Agent } else { Role::Supervisor }
    }

    /// Ends an order that somebody sees; says whether there was one.
    ///
    /// # Errors
    /// [`Refusal::NoPage`] without the permission; [`Refusal::Declined`] for a supervisor's order about the own calls.
    pub(super) async fn end_order(&self, asker: &Asker, whose: Whose) -> Result<bool, Refusal> {
        status(self, asker)?;
        let live = Arc::clone(self.live().map_err(|_| Refusal::NoRecorder)?);
        let asked = tokio::task::spawn_blocking({
            let live = Arc::clone(&live);
            move || live.orders()
        });
        let orders = asked.await.map_err(|_| Refusal::BrokeOff)?.map_err(|_| Refusal::Unavailable)?;
        let is_it = |order: &&LiveOrder| order.end.is_none() && order.whose == whose;
        let Some(order) = self.seen_orders(&orders, asker).find(is_it) else { return Ok(false) };
        may_end(order, asker)?;
        let action = format!("end_order {}", order.order.what.ask().key());
        self.note(asker, AccessEvent::Controlled { id: None, action }).await?;
        let by = asker.caller.name().to_owned();
        let ended = tokio::task::spawn_blocking(move || live.withdraw(whose, by)).await;
        ended.map_err(|_| Refusal::BrokeOff)?.map_err(|_| Refusal::Unavailable)
    }
}

/// `POST /live/orders`: gives one, or ends one.
pub(super) async fn change(State(app): State<App>, asker: Asker, form: Form) -> Result<Response, Refusal> {
    let is_new = form.text("do") == "give";
    let number = if is_new { form.text("number") } else { form.raw("number") }.to_owned();
    let whose = match form.text("kind") {
        "extension" => Whose::Extension(number),
        "agent" => Whose::Agent(number),
        _ => return Err(Refusal::WrongQuery),
    };
    if is_new {
        let what = lasting_of(form.text("what")).ok_or(Refusal::WrongQuery)?;
        return match app.give_order(&asker, whose, what).await {
            Ok(()) => Ok(Redirect::to("/live").into_response()),
            Err(Refusal::Wrong(why) | Refusal::Declined(why)) => app.live_page(&asker, &form, Some(why)),
            Err(refusal) => Err(refusal),
        };
    }
    // One that is over already is not there any more: the page shows it.
    app.end_order(&asker, whose).await?;
    Ok(Redirect::to("/live").into_response())
}
