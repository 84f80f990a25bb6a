//! Calls of which there is no recording: lists of them, as there are of recordings, with the same questions.
//!
//! Their lines stand in the balance sheet, in the order in which the calls ended. The index has a search record of each extension's part in
//! such a call, or of a call that has none, named by when it began and where its line stands. These are taken in as lines come, a
//! bounded stretch at a time, and what is missing when somebody asks before the answer: so nothing waits for them when an archive opens,
//! and a crash costs nothing but taking some in twice.

pub(crate) mod held;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use decode::Timestamp;
use policy::{CustomField, Direction, Field, Segment};

use crate::disk::{Disk, locked};
use crate::id::IdError;
use crate::ledger::{self, Lines};
use crate::scribe::Command;
use crate::search::calls;
use crate::search::record::Recorded;
use crate::shared::Shared;
use crate::{Archive, CallRow, Error, Outcome, PastPart, Query, RecordingId, Source, Step};

/// Bytes of the balance sheet taken in when a line has come.
const BEHIND_MAX: u64 = 1 << 20;
/// Calls put into the index at once.
const AT_ONCE: usize = 128;
/// A line without recordings says so with these bytes. In a text there would be a backslash before each quote.
const NO_RECORDINGS: &[u8] = b"\"recordings\":[]";

/// Where a call without a recording stands, or an extension's part in one: the list's order is that of places, the newest first, and
/// a place stays where it is. `Display` and [`FromStr`] write and read it as 26 characters.
///
/// Ten bytes behind the start: six of where the line begins in its month's file, two of which part it is from 1, 0 without one; the outcome
/// by its place in [`Outcome::ALL`]; and whether all of the part is known that access can be judged by. The index keeps them: another order is
/// another format of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallPlace(RecordingId);

impl CallPlace {
    /// None of a line that stands farther behind than any does.
    fn new(call: &CallRow, at: u64, nth: Option<usize>, outcome: Outcome, is_known: bool) -> Option<Self> {
        let mut rest = [0; 10];
        let [0, 0, at @ ..] = at.to_be_bytes() else { return None };
        let nth = nth.map_or(Some(0), |nth| u16::try_from(nth + 1).ok())?.to_be_bytes();
        let outcome = Outcome::ALL.iter().position(|other| *other == outcome)? as u8;
        for (to, byte) in rest.iter_mut().zip(at.into_iter().chain(nth).chain([outcome, u8::from(is_known)]))
        {
            *to = byte;
        }
        Some(CallPlace(RecordingId::from_parts(call.started, rest)))
    }

    pub(crate) fn name(self) -> RecordingId {
        self.0
    }

    /// Behind the start.
    fn rest(self) -> [u8; 10] {
        *self.0.as_bytes().last_chunk().expect("a name has sixteen bytes")
    }

    /// Where the line begins.
    fn at(self) -> u64 {
        let rest = self.rest();
        rest.iter().take(6).fold(0, |at, byte| at << 8 | u64::from(*byte))
    }

    /// Which part it is, from 0.
    fn nth(self) -> Option<usize> {
        let [.., high, low, _, _] = self.rest();
        usize::from(u16::from_be_bytes([high, low])).checked_sub(1)
    }

    /// What became of it.
    pub(crate) fn outcome(self) -> Option<Outcome> {
        let [.., outcome, _] = self.rest();
        Outcome::ALL.get(usize::from(outcome)).copied()
    }

    /// Is all known of it that access is judged by?
    pub(crate) fn is_known(self) -> bool {
        let [.., is_known] = self.rest();
        is_known == 1
    }
}

impl From<RecordingId> for CallPlace {
    fn from(name: RecordingId) -> Self {
        CallPlace(name)
    }
}

impl fmt::Display for CallPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CallPlace {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(CallPlace)
    }
}

/// A call of which there is no recording, or an extension's part in one.
#[derive(Clone, Debug, PartialEq)]
pub struct Unrecorded {
    /// Where it stands.
    pub place: CallPlace,
    /// Its line of the balance sheet.
    pub call: Arc<CallRow>,
}

impl Unrecorded {
    /// What a line of the balance sheet that begins at this place tells of; nothing where there is a recording. What was destroyed after
    /// the call is told of by its recording.
    fn of_line(at: u64, call: CallRow) -> Vec<Unrecorded> {
        if !call.recordings.is_empty() {
            return Vec::new();
        }
        let call = Arc::new(call);
        let place = |nth: Option<usize>, part: Option<&PastPart>| {
            let is_known = part.is_some_and(|part| part.names.is_some());
            CallPlace::new(&call, at, nth, outcome_of(&call, part), is_known)
        };
        let places: Vec<_> = match call.parts.as_slice() {
            [] => vec![place(None, None)],
            parts => parts.iter().enumerate().map(|(nth, part)| place(Some(nth), Some(part))).collect(),
        };
        places.into_iter().flatten().map(|place| Unrecorded { place, call: Arc::clone(&call) }).collect()
    }

    /// The extension's part in it, where one took part.
    #[must_use]
    pub fn part(&self) -> Option<&PastPart> {
        self.call.parts.get(self.place.nth()?)
    }

    /// What became of it.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        outcome_of(&self.call, self.part())
    }

    /// Why, in words, where that is not said of another extension's part.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        (self.call.parts.len() <= 1).then_some(self.call.reason.as_str())
    }

    /// How its part was judged.
    pub fn why(&self) -> impl Iterator<Item = &Step> {
        let extension = self.part().map(|part| &part.facts.extension);
        self.call.why.iter().filter(move |step| extension.is_none_or(|own| step.extension == *own))
    }
}

/// A part that was to be recorded, and is not, has come to what the line says: the archive could not take it.
fn outcome_of(call: &CallRow, part: Option<&PastPart>) -> Outcome {
    part.map(|part| part.outcome).filter(|outcome| *outcome != Outcome::Recorded).unwrap_or(call.outcome)
}

/// As its recording would say it; of a call without an extension's part, who called whom.
impl Segment for Unrecorded {
    fn value(&self, field: Field) -> &str {
        fn known(text: &Option<String>) -> &str {
            text.as_deref().unwrap_or_default()
        }
        let own = match field {
            Field::Call => return &self.call.call,
            Field::Held | Field::Deleted => return "no",
            Field::State | Field::Rating | Field::Tag | Field::BusinessUnit => return "",
            own => own,
        };
        let Some(part) = self.part() else {
            return match own {
                Field::Extension => &self.call.to,
                Field::OtherParty => &self.call.from,
                Field::Direction => Direction::Unknown.key(),
                Field::Source => Source::Mirror.key(),
                _ => "",
            };
        };
        let (facts, names) = (&part.facts, part.names.as_ref());
        let custom = |field| facts.fields.of(field).unwrap_or_default();
        let user = facts.who.user.as_ref();
        match own {
            Field::Extension => &facts.extension,
            Field::ExtensionName => names.map_or("", |names| &names.extension_name),
            Field::OutsideNumber => {
                known(facts.outside_e164.as_ref().map_or(&facts.outside_number, |_| &facts.outside_e164))
            }
            Field::OtherParty => &facts.other_party,
            Field::OtherPartyName => facts
                .other_party_name
                .as_deref()
                .or(names.map(|names| &*names.other_party_name))
                .unwrap_or(""),
            Field::User => user.map_or("", |user| &user.id),
            Field::UserName => user.map_or("", |user| &user.name),
            Field::Agent => known(&facts.agent),
            Field::AccountCode => known(&facts.account_code),
            Field::HuntGroup => known(&facts.hunt_group),
            Field::Trunk => known(&facts.trunk),
            Field::Ddi => known(&facts.ddi),
            Field::Site => names.map_or("", |names| known(&names.site)),
            Field::Tag1 => custom(CustomField::Tag1),
            Field::Tag2 => custom(CustomField::Tag2),
            Field::Tag3 => custom(CustomField::Tag3),
            Field::Tag4 => custom(CustomField::Tag4),
            Field::Tag5 => custom(CustomField::Tag5),
            Field::DdiName => known(&facts.ddi_name),
            Field::Contact => known(&facts.contact),
            Field::TransferredFrom => known(&facts.transferred_from),
            Field::Direction => facts.direction.key(),
            Field::Source => facts.source.key(),
            _ => "",
        }
    }

    fn tags(&self) -> impl Iterator<Item = &str> + Clone {
        self.part().into_iter().flat_map(|part| part.facts.tags.iter().map(String::as_str))
    }

    fn units(&self) -> impl Iterator<Item = &str> + Clone {
        let who = self.part().map(|part| &part.facts.who);
        who.into_iter().flat_map(|who| who.unit.iter().chain(&who.units_above).map(String::as_str))
    }

    /// How long its audio would be: from the answer on.
    fn duration_ms(&self) -> u64 {
        self.call.answered.zip(self.call.ended).map_or(0, |(answered, ended)| ended.millis_since(answered))
    }
}

impl Recorded for Unrecorded {
    fn name(&self) -> RecordingId {
        self.place.0
    }

    fn started(&self) -> Timestamp {
        self.call.started
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn sip_call_ids(&self) -> &[String] {
        &self.call.sip_call_ids
    }
}

impl Archive {
    /// The calls without a recording that are asked for, newest first, of those behind a place: up to `limit` of them, and whether there
    /// are more. What is asked of recordings alone (a state, stars, notes) no call has; `before` and `limit` of the query are not looked at.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Damaged`] for a damaged index.
    pub fn unrecorded(
        &self,
        query: &Query,
        outcome: Option<Outcome>,
        before: Option<CallPlace>,
        limit: usize,
    ) -> Result<(Vec<Unrecorded>, bool), Error> {
        let mut places = Vec::new();
        self.each_unrecorded(query, before, |place| {
            if outcome.is_none() || outcome == place.outcome() {
                places.push(place);
            }
            places.len() <= limit
        })?;
        let is_more = places.len() > limit;
        places.truncate(limit);
        // One that is erased between being found and being read is left out.
        let read = |place| read(&self.shared.disk, place).map_err(|e| e.under(self.dir())).transpose();
        Ok((places.into_iter().filter_map(read).collect::<Result<_, _>>()?, is_more))
    }

    /// How many of them there are, by what became of them.
    ///
    /// # Errors
    /// As there.
    pub fn unrecorded_outcomes(&self, query: &Query) -> Result<BTreeMap<Outcome, u64>, Error> {
        let mut outcomes = BTreeMap::new();
        self.each_unrecorded(query, None, |place| {
            place.outcome().into_iter().for_each(|outcome| *outcomes.entry(outcome).or_default() += 1);
            true
        })?;
        Ok(outcomes)
    }

    fn each_unrecorded(
        &self,
        query: &Query,
        before: Option<CallPlace>,
        take: impl FnMut(CallPlace) -> bool,
    ) -> Result<(), Error> {
        self.ask(Command::Flush)?;
        let shared = &self.shared;
        let mut query = query.clone();
        query.before = None;
        let [first, last] =
            [query.since, query.until].map(|at| at.map(|at| ledger::month(ledger::CALLS, at)));
        let all = || {
            for file in ledger::months(&*shared.disk, ledger::CALLS)? {
                let is_before = first.as_ref().is_some_and(|first| file < *first);
                if !is_before && last.as_ref().is_none_or(|last| file <= *last) {
                    take_in(shared, &file, u64::MAX)?;
                }
            }
            calls::each(&shared.index, &shared.disk, &query, before, take)
        };
        all().map_err(|e| e.under(self.dir()))
    }
}

/// The call that stands at a place; none whose line was erased.
pub(crate) fn read(disk: &Arc<dyn Disk>, place: CallPlace) -> Result<Option<Unrecorded>, Error> {
    let path = ledger::month(ledger::CALLS, place.0.started());
    let mut lines = Lines::<CallRow>::new(Arc::clone(disk), path.clone(), place.at());
    let Some((_, line)) = lines.next_raw()? else { return Ok(None) };
    if ledger::is_blank(line) {
        return Ok(None);
    }
    let call =
        serde_json::from_slice(line).map_err(|e| Error::damaged(&path, format!("a call's line: {e}")))?;
    Ok(Unrecorded::of_line(place.at(), call).into_iter().find(|call| call.place == place))
}

/// Takes in what came since, when a line has come: what was left behind, a stretch at a time.
pub(crate) fn take_in_some(shared: &Shared, file: &str) -> Result<(), Error> {
    take_in(shared, file, BEHIND_MAX)
}

/// Takes lines of a month into the index that it does not have yet: of so many bytes, and the line in which they end.
fn take_in(shared: &Shared, file: &str, most: u64) -> Result<(), Error> {
    let (disk, index) = (&shared.disk, &shared.index);
    let _one_at_a_time = locked(&index.calls_turn);
    let len = disk.len(file).map_err(|e| Error::io(file, e))?.unwrap_or_default();
    let cursor = index.cursor(file)?;
    // A ledger that is shorter than it was: somebody put an older one there.
    let begin = if cursor > len { 0 } else { cursor };
    if begin == len {
        return Ok(());
    }
    let (mut end, mut calls) = (begin, Vec::new());
    let mut lines = Lines::<CallRow>::new(Arc::clone(disk), file.to_owned(), begin);
    while let Some((at, line)) = lines.next_raw()? {
        let behind = at + line.len() as u64 + 1;
        // One that is being written is taken in when it is whole.
        if behind > len {
            break;
        }
        if memchr::memmem::find(line, NO_RECORDINGS).is_some() {
            match serde_json::from_slice(line) {
                Ok(call) => calls.extend(Unrecorded::of_line(at, call)),
                Err(e) => tracing::warn!(file, at, error = %e, "a line of the balance sheet is not readable"),
            }
        }
        end = behind;
        if calls.len() >= AT_ONCE {
            index.put_calls(&calls)?;
            calls.clear();
        }
        if end - begin >= most {
            break;
        }
    }
    index.put_calls(&calls)?;
    // Behind the records: a cursor that is there says that they are.
    index.set_cursor(file, end)
}

/// What the index has of a line that begins at this place.
pub(crate) fn names_of(at: u64, line: &[u8]) -> BTreeSet<RecordingId> {
    let call = serde_json::from_slice(line).map(|call| Unrecorded::of_line(at, call));
    call.unwrap_or_default().into_iter().map(|call| call.place.0).collect()
}
