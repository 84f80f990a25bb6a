//! What the pages, the API and the metrics see of a recorder that runs beside them.
//!
//! Data alone, and one trait by which they ask: the recorder itself, its threads and its clock are somebody else's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use decode::Timestamp;
use policy::gate::{Reply, Request, Told};
use policy::modes::orders::{Lasting, Order, Whose};
use policy::modes::{Machine, Role};
use policy::{CustomField, CustomFields, Field, Segment};
use serde::Serialize;
use store::{Counters, Direction, RecordingId, Source, State};

/// A call that runs, as one extension has it: one that is recorded, or that would be if somebody asked for it or a channel were free.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LiveCall {
    /// Its recording; none where nothing is recorded of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording: Option<RecordingId>,
    /// The logical call.
    pub call: String,
    /// Which segment of it, from 1.
    pub segment: u32,
    /// The recorded extension.
    pub extension: String,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension_name: Option<String>,
    /// The other side's number.
    pub other_party: String,
    /// Which way the call goes.
    pub direction: Direction,
    /// Who is logged in at the extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Whom it counts for, as is known now.
    #[serde(flatten)]
    pub who: LiveWho,
    /// The number outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outside_number: Option<String>,
    /// The other side's name, as signalled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_party_name: Option<String>,
    /// Account code entered on the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_code: Option<String>,
    /// Hunt group that the call came through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hunt_group: Option<String>,
    /// Trunk that the call uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trunk: Option<String>,
    /// The number that the outside party dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ddi: Option<String>,
    /// What that number is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ddi_name: Option<String>,
    /// Who the outside number belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// The extension that passed the call on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transferred_from: Option<String>,
    /// Tags that were reported of it. What people put on by hand stands in its row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The five fields, likewise.
    #[serde(skip_serializing_if = "CustomFields::is_empty")]
    pub fields: CustomFields,
    /// Which other system has said which of these, by their names; not told to programs.
    #[serde(skip)]
    pub told_by: BTreeMap<&'static str, String>,
    /// Those of them that may not be so any more: who has said them is not heard.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stale: Vec<&'static str>,
    /// Where the audio comes from.
    pub source: Source,
    /// When the recording began; without one, when the call's audio did.
    pub started: Timestamp,
    /// Nothing is kept at this moment: since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_since: Option<Timestamp>,
    /// Who or what holds the pause.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paused_by: Vec<String>,
    /// Nothing is kept because it was stopped, or has no channel, and not because of a pause.
    pub stopped: bool,
    /// Its pause may have been forgotten: it has lasted for as long as the rules allow.
    pub pause_forgotten: bool,
    /// When its pause ends by itself, where the rules have it end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_ends: Option<Timestamp>,
    /// It would be recorded, and no channel was free.
    pub no_channel: bool,
    /// Its mode, what of it is taken now, and whether it is kept at its end.
    #[serde(flatten)]
    pub machine: Machine,
}

impl LiveCall {
    /// Marks what sources have said that are stale.
    pub fn mark_stale(&mut self, sources: &[FactSource]) {
        let is_stale =
            |who: &str| sources.iter().any(|source| source.name == who && source.stale_since.is_some());
        self.stale = self.told_by.iter().filter(|(_, who)| is_stale(who)).map(|(&fact, _)| fact).collect();
    }

    /// Who the other party is: the number outside where there is one, which may be another one than was signalled at the beginning.
    #[must_use]
    pub fn other(&self) -> &str {
        self.outside_number.as_deref().unwrap_or(&self.other_party)
    }

    /// Is it in a pause, which ends and has it go on?
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused_since.is_some() && !self.stopped
    }
}

/// Whom a running recording counts for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LiveWho {
    /// The user's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// The business unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub business_unit: Option<String>,
    /// The units above that one, the nearest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub units_above: Vec<String>,
    /// The site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
}

impl LiveWho {
    /// The unit and those above it, the nearest first.
    fn units(&self) -> impl Iterator<Item = &str> + Clone {
        self.business_unit.iter().chain(&self.units_above).map(String::as_str)
    }
}

/// What scope and filters ask of it. Like its row, it has no length before its end, and no rating or hold here.
impl Segment for LiveCall {
    fn value(&self, field: Field) -> &str {
        fn known(text: &Option<String>) -> &str {
            text.as_deref().unwrap_or_default()
        }
        let custom = |field| self.fields.of(field).unwrap_or_default();
        match field {
            Field::Extension => &self.extension,
            Field::ExtensionName => known(&self.extension_name),
            Field::OutsideNumber => known(&self.outside_number),
            Field::OtherParty => &self.other_party,
            Field::OtherPartyName => known(&self.other_party_name),
            Field::User => known(&self.who.user),
            Field::Agent => known(&self.agent),
            Field::AccountCode => known(&self.account_code),
            Field::HuntGroup => known(&self.hunt_group),
            Field::Trunk => known(&self.trunk),
            Field::Ddi => known(&self.ddi),
            Field::Call => &self.call,
            Field::UserName => known(&self.who.user_name),
            Field::Site => known(&self.who.site),
            Field::Tag1 => custom(CustomField::Tag1),
            Field::Tag2 => custom(CustomField::Tag2),
            Field::Tag3 => custom(CustomField::Tag3),
            Field::Tag4 => custom(CustomField::Tag4),
            Field::Tag5 => custom(CustomField::Tag5),
            Field::DdiName => known(&self.ddi_name),
            Field::Contact => known(&self.contact),
            Field::TransferredFrom => known(&self.transferred_from),
            Field::Direction => self.direction.key(),
            Field::State => State::Recording.key(),
            Field::Source => self.source.key(),
            Field::Held | Field::Deleted => "no",
            Field::Tag | Field::BusinessUnit | Field::Rating => "",
        }
    }

    fn tags(&self) -> impl Iterator<Item = &str> + Clone {
        self.tags.iter().map(String::as_str)
    }

    fn units(&self) -> impl Iterator<Item = &str> + Clone {
        self.who.units()
    }

    fn duration_ms(&self) -> u64 {
        0
    }
}

/// An order for all calls of an extension or an agent: one that stands, or that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveOrder {
    /// Whose calls it is for.
    pub whose: Whose,
    /// What it says, who gave it, and when.
    pub order: Order,
    /// The extension, or the one that its agent is at now; empty where the agent is at none.
    pub extension: String,
    /// The agent, or the one who is at its extension now.
    pub agent: Option<String>,
    /// Whom calls of these count for now.
    pub who: LiveWho,
    /// How it ended, in words, and when; none while it stands.
    pub end: Option<(String, Timestamp)>,
}

/// What scope and filters ask of it: as of a call of whoever it is about, of which nothing else is known.
impl Segment for LiveOrder {
    fn value(&self, field: Field) -> &str {
        fn known(text: &Option<String>) -> &str {
            text.as_deref().unwrap_or_default()
        }
        match field {
            Field::Extension => &self.extension,
            Field::Agent => known(&self.agent),
            Field::User => known(&self.who.user),
            Field::UserName => known(&self.who.user_name),
            Field::Site => known(&self.who.site),
            Field::Held | Field::Deleted => "no",
            _ => "",
        }
    }

    fn tags(&self) -> impl Iterator<Item = &str> + Clone {
        std::iter::empty()
    }

    fn units(&self) -> impl Iterator<Item = &str> + Clone {
        self.who.units()
    }

    fn duration_ms(&self) -> u64 {
        0
    }
}

/// How a way by which frames come in is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Port {
    /// The adapter, or the address that HEP or Record-A-Call comes to.
    pub name: String,
    /// It is open.
    pub up: bool,
    /// Frames taken from it.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that the kernel dropped: its buffer was full.
    pub dropped_kernel: u64,
    /// Frames that the adapter or its driver dropped.
    pub dropped_interface: u64,
    /// Frames dropped on their way to the recorder.
    pub dropped_ring: u64,
    /// What was not let in: of somebody who is not named, or no HEP, SIP or RTP of a call.
    pub refused: u64,
    /// When the last frame was taken from it; none before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_frame: Option<Timestamp>,
    /// How often it was lost or not there, outages that last left out.
    pub outages: u64,
    /// For how long in all, in milliseconds.
    pub away_ms: u64,
}

/// A system that says facts of calls, and whether it is still there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FactSource {
    /// As facts have it that it said: `feed NAME`, `smdr ADDRESS`; `feed` and `smdr` where nobody has connected yet.
    pub name: String,
    /// It is connected.
    pub up: bool,
    /// When it was last heard; none before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_heard: Option<Timestamp>,
    /// Its connection is lost, or it has said nothing for too long: since when what it has said may not be so any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_since: Option<Timestamp>,
}

/// What a recorder is doing. A new one is made about every second.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    /// When this was so; none before the first look.
    pub at: Option<Timestamp>,
    /// When the recorder was started.
    pub since: Option<Timestamp>,
    /// The recordings that run, oldest first.
    pub calls: Vec<LiveCall>,
    /// Calls that run and of which nothing is recorded although the rules want them, likewise.
    pub waiting: Vec<LiveCall>,
    /// Orders as [`Live::orders`] tells them.
    #[serde(skip)]
    pub orders: Vec<LiveOrder>,
    /// Extensions that have a call of which nothing is recorded, whatever the reason.
    #[serde(skip)]
    pub speaking: BTreeSet<String>,
    /// Calls that have ended, by outcome's key.
    pub outcomes: Vec<(&'static str, u64)>,
    /// What was counted.
    pub counters: Counters,
    /// The ways in.
    pub ports: Vec<Port>,
    /// The systems that say facts of calls.
    pub facts: Vec<FactSource>,
    /// What the Record-A-Call endpoint counts, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_a_call: Option<decode::endpoint::Counts>,
    /// Channels in use.
    pub channels_in_use: u64,
    /// Channels there are; none without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<u64>,
    /// The archive does not take what is recorded: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl Status {
    /// The systems whose facts are stale, each with since when.
    pub fn stale(&self) -> impl Iterator<Item = (&FactSource, Timestamp)> {
        self.facts.iter().filter_map(|source| Some((source, source.stale_since?)))
    }

    /// Frames lost on this machine, on any way in.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.counters.packets_dropped_kernel.saturating_add(self.counters.packets_dropped_ring)
    }
}

/// The recorder does not answer: it is ending, or has more to do than it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the recorder does not answer now; try again")]
pub struct Unavailable;

/// Something was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The recorder does not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Its words are off: how.
    #[error("{0}")]
    Wrong(String),
    /// There is no room for it: of what.
    #[error("{0}")]
    Full(String),
}

/// A recorder that runs beside, as the pages and the API reach it. Each of these may wait for a moment.
pub trait Live: Send + Sync {
    /// What it was doing at its last look.
    fn status(&self) -> Arc<Status>;

    /// Asks something about running calls, from now on.
    ///
    /// # Errors
    /// [`Unavailable`]: nothing was asked.
    fn request(&self, request: Request) -> Result<Reply, Unavailable>;

    /// The standing orders in force, and behind them those that have ended, the latest first.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn orders(&self) -> Result<Vec<LiveOrder>, Unavailable>;

    /// Puts an order in force, from now on; its time is the recorder's.
    ///
    /// # Errors
    /// [`NotTaken`].
    fn order(&self, whose: Whose, what: Lasting, role: Role, name: String) -> Result<(), NotTaken>;

    /// Somebody takes an order back; says whether there was one.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn withdraw(&self, whose: Whose, by: String) -> Result<bool, Unavailable>;

    /// Another system, of this name, says something of calls: one report or several, as JSON ([`policy::feed`]).
    ///
    /// # Errors
    /// [`NotTaken`]: none of it was taken.
    fn report(&self, json: &[u8], source: &str) -> Result<Vec<Told>, NotTaken>;

    /// A client says what is shown at the desk of this extension now, in place of what it said before.
    ///
    /// # Errors
    /// [`NotTaken`].
    fn windows(&self, client: String, extension: String, texts: Vec<String>) -> Result<(), NotTaken>;

    /// A client is gone.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn client_gone(&self, client: String) -> Result<(), Unavailable>;
}
