//! What the pages see of the rule book and of retention: text goes in, plain data comes out.
//!
//! What the text means is the recorder's business, as it is on its command line: these are its words, and one trait by which pages
//! ask.

pub mod forms;
mod people;

use std::net::IpAddr;

use decode::Timestamp;
use decode::net::Mac;
use policy::retention::{Freeze, Plan};
use policy::{Direction, Mode, Outcome, RuleType};
use serde::Serialize;
use sha2::{Digest, Sha256};
use store::{Archive, BookChange, BookVersion, Kept, Pruned, RecordingId, Source};

use self::forms::{Entries, Forms, Part, Written};
pub use people::{HeldLine, UnitLine, UserLine};

/// Calls that a trial names one by one.
pub const TRIAL_CALLS_MAX: usize = 100;

/// Something could not be done with the rules.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// A text, or what was asked for, cannot be meant.
    #[error(transparent)]
    Wrong(#[from] Wrong),
    /// The archive.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Somebody else looks through the archive already.
    #[error("somebody else looks through the archive at this moment; try again")]
    Busy,
    /// Something of this machine; its words are for the log.
    #[error("{0}")]
    Failed(String),
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Wrong {
    /// Line and column, from 1; none where no place of the text is to blame.
    pub place: Option<(usize, usize)>,
    /// What, in words.
    pub what: String,
}

impl Wrong {
    /// No place is to blame.
    pub fn new(what: impl Into<String>) -> Wrong {
        Wrong { place: None, what: what.into() }
    }
}

/// A key and what it is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// As the text has it.
    pub key: &'static str,
    /// What it is about, for people.
    pub label: &'static str,
    /// In words.
    pub value: String,
}

/// One of the two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// What is not recorded.
    Exclude,
    /// What is recorded whatever the exclusions say.
    Include,
}

/// A rule of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleLine {
    /// What it is about.
    pub kind: RuleType,
    /// Which values.
    pub value: String,
    /// Why it is there.
    pub description: String,
}

/// A recorded device, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceLine {
    /// One number, ranges, wildcards.
    pub number: String,
    /// The entry's name.
    pub name: String,
    /// The phone's address, where no SIP names it.
    pub ip: String,
    /// The same by its Ethernet address.
    pub mac: String,
    /// From where alone; from either when none.
    pub source: Option<Source>,
    /// What is recorded by itself.
    pub mode: Mode,
    /// 1 the most important, 9 the least; the middle when none.
    pub priority: Option<u8>,
}

/// An extension that took part in calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SeenExtension {
    /// Its number.
    pub extension: String,
    /// Calls with audio that it took part in.
    pub calls: u64,
    /// Of these, recorded ones.
    pub recorded: u64,
    /// When the last of them began.
    pub last: Option<Timestamp>,
    /// Where its phone's signalling was seen; empty for calls of earlier versions.
    pub ip: Vec<IpAddr>,
    /// Its Ethernet addresses, where no router stood between.
    pub mac: Vec<Mac>,
    /// The entry that names it, as it is written.
    pub entry: Option<String>,
    /// It is recorded as the list stands, whatever other rules say.
    pub listed: bool,
}

/// All of a time, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenExtensions {
    /// Each once.
    pub list: Vec<SeenExtension>,
    /// Parts of calls by extensions that were too many to be told.
    pub left_out: u64,
}

/// A pair of digit strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeLine {
    /// What it is called.
    pub name: String,
    /// Pauses.
    pub pause: String,
    /// Resumes.
    pub resume: String,
}

/// What pauses while a desk shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowLine {
    /// How the value is meant.
    pub kind: &'static str,
    /// What it matches.
    pub value: String,
    /// It counts.
    pub is_active: bool,
}

/// A rule of retention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepLine {
    /// Its name.
    pub name: String,
    /// What it is about, in words.
    pub of: String,
    /// How long audio is kept.
    pub audio: String,
    /// How long call data are kept.
    pub data: String,
}

/// A rule book as people read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sections {
    /// Numbers of extensions; told by evidence when empty.
    pub extensions: String,
    /// Addresses of the PBX.
    pub pbx: Vec<String>,
    /// Ports that carry audio; every one when empty.
    pub rtp_ports: Vec<String>,
    /// Addresses of the public network's side.
    pub trunks: Vec<String>,
    /// Calls between extensions are not recorded.
    pub exclude_internal: bool,
    /// What else says which calls are recorded.
    pub record: Vec<Setting>,
    /// Recorded devices, in their order.
    pub devices: Vec<DeviceLine>,
    /// Phones that no signalling names: number, name, address.
    pub phones: Vec<(String, String, String)>,
    /// Exclusions, in their order.
    pub exclude: Vec<RuleLine>,
    /// Inclusions, in their order.
    pub include: Vec<RuleLine>,
    /// Lengths of pauses.
    pub pause: Vec<Setting>,
    /// Digits that pause and resume.
    pub codes: Vec<CodeLine>,
    /// Windows that pause.
    pub windows: Vec<WindowLine>,
    /// How numbers are dialled.
    pub dial_plan: Vec<Setting>,
    /// What rules of retention have in common.
    pub retention: Vec<Setting>,
    /// Rules of retention, in their order.
    pub keeping: Vec<KeepLine>,
    /// Business units.
    pub units: Vec<UnitLine>,
    /// Users.
    pub users: Vec<UserLine>,
    /// Values by their keys, as forms have them.
    pub forms: Forms,
}

/// A list of words that a form changes as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// Numbers of extensions, one pattern.
    Extensions,
    /// Addresses of the PBX.
    Pbx,
    /// Ports that carry audio.
    RtpPorts,
    /// Addresses of the public network's side.
    Trunks,
}

/// A change that a form makes. Places count from 0; what stands there is named beside, so that a list that somebody else has changed
/// meanwhile is not changed at another place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A rule comes behind the others.
    AddRule(List, RuleLine),
    /// A rule goes.
    RemoveRule(List, usize, String),
    /// A rule goes to another place of its list.
    MoveRule(List, usize, String, usize),
    /// A device comes behind the others.
    AddDevice(DeviceLine),
    /// A device's entry is another one.
    SetDevice(usize, String, DeviceLine),
    /// A device goes.
    RemoveDevice(usize, String),
    /// A device goes to another place.
    MoveDevice(usize, String, usize),
    /// Calls between extensions are excluded, or not.
    ExcludeInternal(bool),
    /// A list of words is another one.
    Set(Words, Vec<String>),
    /// A user comes.
    AddUser(UserLine),
    /// What is said of the user of this id is another; the id stays.
    SetUser(String, UserLine),
    /// The users of these ids have this recording mode of their own, or none, for calls from this moment on, as it is written.
    SetModes(Vec<String>, Option<Mode>, String),
    /// A user is deleted from this moment on, as it is written; the id stays taken.
    DeleteUser(String, String),
    /// A user's entry goes; the id is free.
    RemoveUser(String),
    /// A unit comes.
    AddUnit(UnitLine),
    /// The unit of this name has another one, or stands below another unit; what is in it comes along.
    SetUnit(String, UnitLine),
    /// A unit that nothing is in goes.
    RemoveUnit(String),
    /// Values of a section are others; those that are not named stay.
    SetValues(Part, Written),
    /// An entry comes behind the others.
    AddEntry(Entries, Written),
    /// Values of an entry are others.
    SetEntry(Entries, usize, String, Written),
    /// An entry goes.
    RemoveEntry(Entries, usize, String),
    /// An entry goes to another place of its list.
    MoveEntry(Entries, usize, String, usize),
}

impl RuleLine {
    /// What names it in its list.
    #[must_use]
    pub fn named(&self) -> String {
        format!("{} {}", self.kind.words(), self.value)
    }
}

/// One thing that two texts differ in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// As `record.device`.
    pub section: String,
    /// The keys that differ.
    pub keys: Vec<String>,
    /// In words.
    pub line: String,
}

/// A call that other rules would have treated in another way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriedCall {
    /// The logical call.
    pub call: String,
    /// When it began.
    pub started: Timestamp,
    /// Who called.
    pub from: String,
    /// Who was called.
    pub to: String,
    /// What became of it.
    pub was: Outcome,
    /// Why.
    pub was_reason: String,
    /// What would have become of it.
    pub would: Outcome,
    /// Why.
    pub would_reason: String,
    /// The number of channels alone makes the difference, which is simulated.
    pub by_channels: bool,
    /// What cannot be told of it, in words: by the rest it would be so.
    pub not_known: Vec<&'static str>,
    /// Its recordings.
    pub recordings: Vec<RecordingId>,
}

/// What came of trying rules on past calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trial {
    /// Calls in the range.
    pub calls: u64,
    /// Of these, calls that no rule was asked about.
    pub not_judged: u64,
    /// What cannot be told, in words, and of how many calls, with another outcome or not.
    pub not_known: Vec<(&'static str, u64)>,
    /// Calls with another outcome: what it was, what it would be, how many.
    pub turns: Vec<(Outcome, Outcome, u64)>,
    /// The first of these, at most [`TRIAL_CALLS_MAX`].
    pub list: Vec<TriedCall>,
    /// What retention would have due that is kept now.
    pub due_then: u64,
    /// What is due now and would be kept.
    pub kept_then: u64,
    /// What is due under both, and differs in how much goes.
    pub due_otherwise: u64,
}

impl Trial {
    /// Calls with another outcome.
    #[must_use]
    pub fn changed(&self) -> u64 {
        self.turns.iter().map(|(_, _, count)| count).sum()
    }
}

/// A call that somebody asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The recorded device's number.
    pub extension: String,
    /// The other side's, as it would be signalled.
    pub other: String,
    /// Which way it goes.
    pub direction: Direction,
    /// The number that was dialled from outside; empty without.
    pub ddi: String,
    /// How its audio comes.
    pub source: Source,
    /// When it begins.
    pub at: Timestamp,
}

/// What the rules say of such a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// It is recorded, as far as its mode goes.
    pub is_recorded: bool,
    /// What is decided, in words.
    pub verdict: String,
    /// What was asked on the way: rule, fact, answer.
    pub steps: Vec<(String, String, String)>,
}

/// Ports of a well-known telephone system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Its short name.
    pub name: &'static str,
    /// Of what it is.
    pub of: &'static str,
    /// Its ranges.
    pub ranges: &'static [&'static str],
}

/// What a pass of retention would do now, and by which rules.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The rules, in their order.
    pub rules: Vec<KeepLine>,
    /// How long tightened ones wait, in words.
    pub grace: String,
    /// The version of the rule book that they stand in, 0 without a book.
    pub version: u64,
    /// The plan.
    pub plan: Plan<Kept>,
}

/// Which deletions are due, in 64 hexadecimal digits: SHA-256 of what goes, and how much of it. A plan in which something else is due, or
/// less, has another one.
#[must_use]
pub fn digest(plan: &Plan<Kept>) -> String {
    let mut due: Vec<String> =
        plan.items.iter().map(|item| format!("{:?} {:?}", item.id, item.decision)).collect();
    due.sort_unstable();
    let digest = due.iter().fold(Sha256::new(), |digest, item| digest.chain_update(item).chain_update([0]));
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What somebody has seen and says yes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The moment of the plan that was shown.
    pub at: Timestamp,
    /// The version of the rule book that it followed from.
    pub version: u64,
    /// How many deletions it listed.
    pub deletions: usize,
    /// Which ones, as [`digest`] tells.
    pub digest: String,
    /// Somebody has said that more than half may go.
    pub more_than_half: bool,
}

/// Why a plan is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum NotPruned {
    /// The clock is in doubt.
    #[error("{0}")]
    Frozen(Freeze),
    /// More than half would go, and nobody has said that it may.
    #[error("{0}")]
    MoreThanHalf(policy::retention::MoreThanHalf),
    /// It is not what was shown any more.
    #[error("something has changed since the plan was shown")]
    Changed,
    /// As elsewhere.
    #[error(transparent)]
    Rules(#[from] RulesError),
}

impl From<store::Error> for NotPruned {
    fn from(error: store::Error) -> NotPruned {
        NotPruned::Rules(error.into())
    }
}

/// The rules of an archive, as its recorder or whoever serves it has them. Each of these may wait for a disk.
pub trait RuleBook: Send + Sync {
    /// The text that the configuration file comes to: it counts while an archive has no book.
    ///
    /// # Errors
    /// [`RulesError`]; so with all others.
    fn configured(&self) -> Result<String, RulesError>;

    /// Reads a text, without asking whether it can be in force on this machine.
    ///
    /// # Errors
    /// [`RulesError::Wrong`] with the place.
    fn read(&self, text: &str) -> Result<Sections, RulesError>;

    /// Checks a text as a whole, as before it is put in force. Gives it in the one form in which it is kept.
    ///
    /// # Errors
    /// [`RulesError::Wrong`], with the place where there is one to blame.
    fn check(&self, text: &str) -> Result<String, RulesError>;

    /// Makes a change in a text. What comes of it is not checked yet.
    ///
    /// # Errors
    /// [`RulesError::Wrong`] for what cannot be meant, and for an entry that does not stand there.
    fn edit(&self, text: &str, edit: &Edit) -> Result<String, RulesError>;

    /// What two texts differ in, entry by entry.
    ///
    /// # Errors
    /// [`RulesError::Wrong`] for a text that cannot be read.
    fn compare(&self, old: &str, new: &str) -> Result<Vec<Difference>, RulesError>;

    /// What a text would have meant for the calls that began in this time.
    ///
    /// # Errors
    /// [`RulesError`].
    fn try_on(
        &self,
        archive: &Archive,
        text: &str,
        since: Timestamp,
        until: Option<Timestamp>,
    ) -> Result<Trial, RulesError>;

    /// What a text says of one call.
    ///
    /// # Errors
    /// [`RulesError::Wrong`].
    fn ask(&self, text: &str, question: &Question) -> Result<Answer, RulesError>;

    /// The extensions that took part in calls that began then or later, against the list that is in force.
    ///
    /// # Errors
    /// [`RulesError`].
    fn seen(&self, archive: &Archive, since: Option<Timestamp>) -> Result<SeenExtensions, RulesError>;

    /// Puts a text in force, with its rules of retention.
    ///
    /// # Errors
    /// [`RulesError`]; [`store::Error::Refused`] also when another version is in force than the one that it was made from.
    fn put(&self, archive: &Archive, change: BookChange) -> Result<BookVersion, RulesError>;

    /// Ports of well-known telephone systems.
    fn presets(&self) -> Vec<Preset>;

    /// What retention would delete now. Changes nothing.
    ///
    /// # Errors
    /// [`RulesError`].
    fn plan(&self, archive: &Archive) -> Result<Planned, RulesError>;

    /// Deletes what a plan has shown, as far as it is due still; what became due since waits for the next plan.
    ///
    /// # Errors
    /// [`NotPruned`]: nothing was deleted, but by [`RulesError::Store`], which may come on the way.
    fn prune(&self, archive: &Archive, seen: Seen) -> Result<Pruned, NotPruned>;

    /// Somebody says that the clock was right when it showed this.
    ///
    /// # Errors
    /// [`store::Error::Refused`] when nothing is frozen, and for a time that the clock does not show.
    fn confirm_clock(&self, archive: &Archive, who: &str, at: Timestamp) -> Result<(), RulesError>;
}
