//! Orders that outlive a call: start, stop or pause for all calls of an agent or an extension, until withdrawn or, of an
//! agent, until the agent logs off (requirement rows ODM-08, TRP-38).

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use decode::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Ask, Role};

/// Orders in force at one time.
pub const ORDERS_MAX: usize = 10_000;
/// Orders that are over and can still be asked for; of more the oldest are forgotten.
pub const ENDED_MAX: usize = 100;

/// Whose calls.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// Of this agent, at whatever extension.
    Agent(String),
    /// Of this extension, whoever sits there.
    Extension(String),
}

/// What is asked for every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lasting {
    /// Take, where the mode lets it be asked for.
    Start,
    /// Do not take, where the mode lets it be stopped.
    Stop,
    /// Take nothing for a while.
    Pause,
}

impl Lasting {
    /// As it is asked of each call.
    #[must_use]
    pub const fn ask(self) -> Ask {
        match self {
            Lasting::Start => Ask::Start,
            Lasting::Stop => Ask::Stop,
            Lasting::Pause => Ask::Pause,
        }
    }
}

/// An order in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// What.
    pub what: Lasting,
    /// As whom it was given.
    pub role: Role,
    /// By whom.
    pub name: String,
    /// When.
    pub at: Timestamp,
}

/// How an order ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Somebody took it back.
    Withdrawn(String),
    /// Somebody gave another one for the same calls.
    Replaced(String),
    /// Its agent logged off, or somebody else logged on where the agent was.
    LoggedOff,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Withdrawn(by) => write!(f, "withdrawn by {by}"),
            End::Replaced(by) => write!(f, "replaced by an order of {by}"),
            End::LoggedOff => f.write_str("the agent logged off"),
        }
    }
}

/// An order that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedOrder {
    /// Whose calls it was for.
    pub whose: Whose,
    /// What it said.
    pub order: Order,
    /// How it ended.
    pub how: End,
    /// When.
    pub at: Timestamp,
}

/// There are too many orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{ORDERS_MAX} orders are in force, the most there may be; withdraw one")]
pub struct OrdersFull;

/// The orders in force, one for each agent and each extension.
#[derive(Debug, Default)]
pub struct Orders {
    orders: BTreeMap<Whose, Order>,
    /// The last ones that ended, the latest at the end.
    ended: VecDeque<EndedOrder>,
}

impl Orders {
    /// Puts an order in force; gives the one whose place it takes.
    ///
    /// # Errors
    /// [`OrdersFull`]: it is not in force.
    pub fn give(&mut self, whose: Whose, order: Order) -> Result<Option<Order>, OrdersFull> {
        if self.orders.len() >= ORDERS_MAX && !self.orders.contains_key(&whose) {
            return Err(OrdersFull);
        }
        let (by, at) = (order.name.clone(), order.at);
        let old = self.orders.insert(whose.clone(), order);
        if let Some(old) = &old {
            self.note_end(whose, old.clone(), End::Replaced(by), at);
        }
        Ok(old)
    }

    /// Ends an order.
    pub fn end(&mut self, whose: &Whose, how: End, at: Timestamp) -> Option<Order> {
        let order = self.orders.remove(whose)?;
        self.note_end(whose.clone(), order.clone(), how, at);
        Some(order)
    }

    fn note_end(&mut self, whose: Whose, order: Order, how: End, at: Timestamp) {
        if self.ended.len() >= ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(EndedOrder { whose, order, how, at });
    }

    /// Those that have ended, the latest first; of this run of the program, and the last [`ENDED_MAX`].
    pub fn ended(&self) -> impl Iterator<Item = &EndedOrder> {
        self.ended.iter().rev()
    }

    /// The order for a segment: the agent's goes before the extension's.
    #[must_use]
    pub fn of(&self, extension: &str, agent: Option<&str>) -> Option<(Whose, &Order)> {
        let by_agent = agent.map(|agent| Whose::Agent(agent.to_owned()));
        let all = by_agent.into_iter().chain([Whose::Extension(extension.to_owned())]);
        all.into_iter().find_map(|whose| self.orders.get(&whose).map(|order| (whose, order)))
    }

    /// All of them, for whoever wants to see what goes on.
    pub fn iter(&self) -> impl Iterator<Item = (&Whose, &Order)> {
        self.orders.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(what: Lasting) -> Order {
        Order { what, role: Role::Supervisor, name: "eve".into(), at: Timestamp::from_millis(0) }
    }

    #[test]
    fn the_agents_order_goes_before_the_extensions() {
        let mut orders = Orders::default();
        let extension = Whose::Extension("2000".into());
        orders.give(extension.clone(), order(Lasting::Stop)).expect("room");
        orders.give(Whose::Agent("1021".into()), order(Lasting::Start)).expect("room");
        let of = |orders: &Orders, agent| orders.of("2000", agent).map(|(_, order)| order.what);
        assert_eq!(of(&orders, Some("1021")), Some(Lasting::Start));
        assert_eq!(of(&orders, Some("1022")), Some(Lasting::Stop));
        assert_eq!(of(&orders, None), Some(Lasting::Stop));
        let mut end = |n| orders.end(&extension, End::Withdrawn("bob".into()), Timestamp::from_millis(n));
        assert!(end(1).is_some() && end(2).is_none());
        assert_eq!(of(&orders, None), None);
    }

    #[test]
    fn how_orders_ended_is_known_of_the_last_ones() {
        let mut orders = Orders::default();
        let whose = |n: usize| Whose::Agent(n.to_string());
        let at = Timestamp::from_millis(7);
        orders.give(whose(0), order(Lasting::Start)).expect("room");
        orders
            .give(whose(0), Order { name: "bob".into(), at, ..order(Lasting::Stop) })
            .expect("its own place");
        orders.end(&whose(0), End::LoggedOff, at);
        let ended: Vec<(Lasting, String)> =
            orders.ended().map(|ended| (ended.order.what, ended.how.to_string())).collect();
        assert_eq!(
            ended,
            [
                (Lasting::Stop, "the agent logged off".to_owned()),
                (Lasting::Start, "replaced by an order of bob".to_owned())
            ]
        );
        for n in 1..=ENDED_MAX {
            orders.give(whose(n), order(Lasting::Start)).expect("room");
            orders.end(&whose(n), End::Withdrawn("eve".into()), at);
        }
        let last = orders.ended().next().map(|ended| ended.whose.clone());
        assert_eq!((orders.ended().count(), last), (ENDED_MAX, Some(whose(ENDED_MAX))));
        assert!(orders.ended().all(|ended| ended.how == End::Withdrawn("eve".into())));
    }

    #[test]
    fn orders_are_bounded_and_a_new_one_takes_the_old_ones_place() {
        let mut orders = Orders::default();
        for n in 0..ORDERS_MAX {
            orders.give(Whose::Extension(n.to_string()), order(Lasting::Start)).expect("room");
        }
        assert_eq!(orders.give(Whose::Extension("x".into()), order(Lasting::Start)), Err(OrdersFull));
        let replaced =
            orders.give(Whose::Extension("7".into()), order(Lasting::Stop)).expect("its own place");
        assert_eq!(replaced.map(|order| order.what), Some(Lasting::Start));
    }
}
