//! Which recordings are asked for: the one description of it that lists, exports, sums and pages share, and the one place
//! where it is decided whether a recording is meant.
//!
//! What is looked at is a [search record](record): some hundred bytes for each recording, kept in the index in the order of
//! names. Rows are read only of what is shown. Patterns have the grammar of [`policy::Pattern`].

pub(crate) mod blocks;
pub(crate) mod calls;
pub(crate) mod hits;
pub(crate) mod record;
mod segment;
pub(crate) mod sorted;
#[cfg(test)]
mod tests;

use decode::Timestamp;
use policy::{Caller, FieldError, Pattern};

pub use policy::Field;

use crate::{Note, RecordingId};
use record::{CALL_START_DIGITS, CallDigest, Recorded, View, call_started_ms};

/// What was asked for cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The field, or what is asked for of it.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A call is named by nothing.
    #[error("call: is empty")]
    EmptyCall,
}

/// Which recordings are asked for. The default asks for all. Whatever is set must hold at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Started at or after, to the millisecond.
    pub since: Option<Timestamp>,
    /// Started before.
    pub until: Option<Timestamp>,
    /// Behind this one in the list, newest first: where the next page begins. A place stays where it is whatever comes or
    /// goes meanwhile.
    pub before: Option<RecordingId>,
    /// At most so many.
    pub limit: Option<usize>,
    /// At least so much audio, in milliseconds.
    pub at_least_ms: Option<u64>,
    /// At most so much.
    pub at_most_ms: Option<u64>,
    /// Only what this caller's scope and filters admit; without one, everything. What may be done with it is not looked at.
    pub seen_by: Option<Caller>,
    call: Option<Call>,
    /// What must stand in their notes: all of it.
    pub(crate) notes: Vec<NoteWords>,
    texts: Vec<(Field, Pattern)>,
    /// For each field with few words, the ones that are not meant, as bits.
    excluded: [u8; Field::ALL.len() - Field::Direction as usize],
}

/// What is looked for in notes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoteWords {
    /// Any note.
    Any,
    /// All of these, in small letters, in one note.
    All(Vec<String>),
}

impl NoteWords {
    /// Does one of these notes say it?
    pub(crate) fn are_in<'a>(&self, mut notes: impl Iterator<Item = &'a Note>) -> bool {
        match self {
            NoteWords::Any => notes.next().is_some(),
            NoteWords::All(words) => notes.any(|note| {
                let text = note.text.to_lowercase();
                words.iter().all(|word| text.contains(word.as_str()))
            }),
        }
    }

    /// Is all of this said by these notes, each by one?
    pub(crate) fn all_in<'a>(asked: &[NoteWords], notes: impl Iterator<Item = &'a Note> + Clone) -> bool {
        asked.iter().all(|words| words.are_in(notes.clone()))
    }
}

/// A call, as people name it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Call {
    /// A logical call that began at this millisecond, or several: the name, or its beginning.
    Logical { name: String, started_ms: i64 },
    /// The beginning of a logical call's name, or a SIP Call-ID.
    Either { name: String, digest: CallDigest },
}

/// How far names may be from what is asked for by another time than theirs: the widest that the index has met, in
/// milliseconds. It turns a time into a stretch of names without leaving anything out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// From the start that a name carries to the start of the timeline, either way.
    pub(crate) start_ms: u64,
    /// From the start of a logical call back to the name of one of its recordings.
    pub(crate) call_before_ms: u64,
    /// From the start of a logical call to the name of its last recording.
    pub(crate) call_after_ms: u64,
}

impl Reach {
    /// Widens it to a recording's, or to that of a call without one.
    pub(crate) fn take_in(&mut self, row: &impl Recorded) {
        let named = row.name().started().as_millis();
        self.start_ms = self.start_ms.max(row.started().as_millis().abs_diff(named));
        // A name of 12 digits and a hyphen is looked for by its time, whatever stands behind.
        let call = row.value(Field::Call).get(..=CALL_START_DIGITS).and_then(call_started_ms);
        if let Some(began) = call {
            let distance = named.abs_diff(began);
            let widest = if named < began { &mut self.call_before_ms } else { &mut self.call_after_ms };
            *widest = distance.max(*widest);
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let numbers = [self.start_ms, self.call_before_ms, self.call_after_ms];
        for (to, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            to.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Reach> {
        let (&[start_ms, call_before_ms, call_after_ms], []) = bytes.as_chunks() else { return None };
        let number = u64::from_le_bytes;
        Some(Reach {
            start_ms: number(start_ms),
            call_before_ms: number(call_before_ms),
            call_after_ms: number(call_after_ms),
        })
    }
}

impl Query {
    /// Asks for a value of a field, besides what is asked for already.
    ///
    /// # Errors
    /// [`QueryError::Field`].
    pub fn filter(&mut self, field: Field, written: &str) -> Result<(), QueryError> {
        let (words, pattern) = (field.words(), field.pattern(written)?);
        match field.word_place().and_then(|place| self.excluded.get_mut(place)) {
            Some(excluded) => {
                // Behind the last word: that it has none of them.
                let all = words.iter().chain([&""]).enumerate();
                for (i, _) in all.filter(|(_, word)| !pattern.matches(word)) {
                    *excluded |= 1 << i;
                }
            }
            None => self.texts.push((field, pattern)),
        }
        Ok(())
    }

    /// Asks for the recordings of one call: by the name of the logical call, the beginning of that, or a SIP Call-ID. What
    /// looks like a logical call's name up to its hyphen is taken for one, and only recordings of about that time are
    /// looked at; for anything else, all are.
    ///
    /// # Errors
    /// [`QueryError::EmptyCall`].
    pub fn call(&mut self, name: &str) -> Result<(), QueryError> {
        if name.is_empty() {
            return Err(QueryError::EmptyCall);
        }
        let name = name.to_owned();
        self.call = Some(match call_started_ms(&name) {
            Some(started_ms) => Call::Logical { name, started_ms },
            None => Call::Either { digest: record::call_digest(&name), name },
        });
        Ok(())
    }

    /// Asks for recordings with a note in which all of these words stand, anywhere and in either case, besides what is asked for
    /// already; `%` alone asks for any note. Nothing asks for nothing.
    pub fn note_words(&mut self, written: &str) {
        let words: Vec<String> = written.split_whitespace().map(str::to_lowercase).collect();
        match words.as_slice() {
            [] => {}
            [any] if any == "%" => self.notes.push(NoteWords::Any),
            _ => self.notes.push(NoteWords::All(words)),
        }
    }

    /// Is the recording meant? Its place in the list (`before`) and its notes are not looked at.
    pub(crate) fn admits(&self, view: &View<'_>) -> bool {
        // Last: whoever asks for little pays for little.
        self.means(view) && self.seen_by.as_ref().is_none_or(|caller| caller.admits(view))
    }

    /// The same of a call without a recording, of which an extension's part is known or not.
    pub(crate) fn admits_unrecorded(&self, view: &View<'_>, is_part: bool) -> bool {
        let is_seen = |caller: &Caller| caller.admits_unrecorded(is_part.then_some(view));
        self.means(view) && self.seen_by.as_ref().is_none_or(is_seen)
    }

    /// Is it meant, whoever asks?
    fn means(&self, view: &View<'_>) -> bool {
        let started = view.started();
        self.since.is_none_or(|since| started >= since)
            && self.until.is_none_or(|until| started < until)
            && self.at_least_ms.is_none_or(|least| view.duration_ms >= least)
            && self.at_most_ms.is_none_or(|most| view.duration_ms <= most)
            && self.excluded.iter().zip(view.words()).all(|(excluded, word)| excluded >> word & 1 == 0)
            && self.call.as_ref().is_none_or(|call| match call {
                Call::Logical { name, .. } => view.text(Field::Call).starts_with(name.as_str()),
                Call::Either { name, digest } => {
                    view.sip_calls().contains(digest) || view.text(Field::Call).starts_with(name.as_str())
                }
            })
            && self.texts.iter().all(|(field, pattern)| field.matches(pattern, view))
    }

    /// The names among which all that are meant are found: from the first one on, up to before the second one.
    pub(crate) fn names(&self, reach: Reach) -> (RecordingId, Option<RecordingId>) {
        let back = |ms: i64, by: u64| ms.saturating_sub_unsigned(by);
        let mut low = self.since.map_or(0, |since| back(since.as_millis(), reach.start_ms));
        // One more: a time between two milliseconds, and the bound itself stays out.
        let mut below = self.until.map(|until| until.as_millis().saturating_add_unsigned(reach.start_ms) + 2);
        if let Some(Call::Logical { started_ms, .. }) = &self.call {
            low = low.max(back(*started_ms, reach.call_before_ms));
            let end = started_ms.saturating_add_unsigned(reach.call_after_ms) + 1;
            below = Some(below.map_or(end, |below| below.min(end)));
        }
        let first_of = |ms| RecordingId::from_parts(Timestamp::from_millis(ms), [0; 10]);
        let below = below.filter(|&ms| ms <= RecordingId::START_MS_MAX).map(first_of);
        let below = [below, self.before].into_iter().flatten().min();
        (first_of(low), below)
    }
}
