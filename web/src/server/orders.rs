//! Standing orders on the page of what runs: who asked what for whose calls, since when, how it ended, and to end it. They are shown
//! whether a call runs or not, to whoever would see the calls.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use policy::Permission;
use policy::modes::Role;
use policy::modes::orders::{Lasting, Whose};
use store::AccessEvent;

use super::App;
use super::caller::Asker;
use super::escape::brief;
use super::form::Form;
use super::live::status;
use super::refusal::Refusal;
use super::zone::Moment;
use crate::live::{LiveOrder, Status};

/// Orders that have ended on the page; the API has more.
const ENDED_SHOWN_MAX: usize = 10;

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

/// `POST /live/orders`: ends one.
pub(super) async fn end(State(app): State<App>, asker: Asker, form: Form) -> Result<Response, Refusal> {
    let number = form.raw("number").to_owned();
    let whose = match form.text("kind") {
        "extension" => Whose::Extension(number),
        "agent" => Whose::Agent(number),
        _ => return Err(Refusal::WrongQuery),
    };
    // One that is over already is not there any more: the page shows it.
    app.end_order(&asker, whose).await?;
    Ok(Redirect::to("/live").into_response())
}
