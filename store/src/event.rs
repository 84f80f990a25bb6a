//! What people and the archive itself did: lines of `ledger/events-YYYY-MM.jsonl`, and what they make of a recording.
//!
//! Tags, fields, ratings, notes and holds are no part of a recording's file, which never changes; they are events about it. The last one
//! counts. An index that is lost is built anew from files and events.

use std::collections::BTreeMap;

use decode::Timestamp;
use policy::retention::{Freeze, RuleSet};
use policy::{Person, Who};
use serde::{Deserialize, Serialize};

use crate::locations::copies::{CopyLine, MovedLine};
use crate::log::begin::Adopted;
use crate::trail::AccessEvent;
use crate::{CustomField, Direction, Error, RecordingFacts, RecordingId, Row};

/// The longest text of a note, in bytes.
pub const NOTE_TEXT_MAX: usize = 4096;
/// The most stars.
pub const STARS_MAX: u8 = 5;
/// Who did what the archive does by itself.
pub(crate) const BY_ITSELF: &str = "earwitness";

/// Something that was done, and by whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, by the machine's clock.
    pub at: Timestamp,
    /// The user, or `earwitness` for what nobody asked for.
    pub who: String,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum What {
    /// The first line of the log.
    LogBegun {
        /// The archive's id.
        archive: String,
        /// Ledger files from the time before there was a log.
        adopted: Vec<Adopted>,
    },
    /// A recording got a tag.
    Tagged {
        /// The recording.
        id: RecordingId,
        /// The tag.
        tag: String,
    },
    /// A tag was taken off.
    Untagged {
        /// The recording.
        id: RecordingId,
        /// The tag.
        tag: String,
    },
    /// Facts of a recording became known after it was finished, or turned out to be others.
    Learned {
        /// The recording.
        id: RecordingId,
        /// What each fact is now, by its name in the facts of a recording; empty when it is not known any more.
        facts: BTreeMap<String, String>,
    },
    /// A note was added.
    Noted {
        /// The recording.
        id: RecordingId,
        /// What it says.
        text: String,
        /// The place in the recording that it is about, in milliseconds from its start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_ms: Option<u64>,
    },
    /// One of the five fields of a recording was filled or emptied.
    FieldSet {
        /// The recording.
        id: RecordingId,
        /// Which field.
        field: CustomField,
        /// What stands in it now; nothing when empty.
        value: String,
        /// What stood in it before; [`Archive::edit`](crate::Archive::edit) fills it in.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        before: String,
    },
    /// A recording was given to another user than the telephone system's facts name, or that was taken back.
    Reassigned {
        /// The recording.
        id: RecordingId,
        /// Whom it counts for now; none where that is again whom the facts name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Who>,
        /// Whom it counted for before; [`Archive::edit`](crate::Archive::edit) fills it in.
        #[serde(default)]
        before: Who,
    },
    /// A recording was rated.
    Rated {
        /// The recording.
        id: RecordingId,
        /// Stars, 1 to 5; 0 takes the rating back.
        stars: u8,
        /// The stars before; [`Archive::edit`](crate::Archive::edit) fills them in.
        #[serde(default, skip_serializing_if = "is_none")]
        before: u8,
    },
    /// A legal hold was put on a recording.
    Held {
        /// The recording.
        id: RecordingId,
        /// The hold's name: a case, an inquiry.
        hold: String,
        /// Why.
        why: String,
    },
    /// A hold was lifted.
    Released {
        /// The recording.
        id: RecordingId,
        /// The hold's name.
        hold: String,
        /// Why.
        why: String,
    },
    /// Rules of retention were put in force.
    RetentionSet {
        /// The rules; without any nothing is ever due.
        rules: RuleSet,
    },
    /// The rule book has a new version.
    BookChanged {
        /// Its number, from 1.
        version: u64,
        /// Why.
        why: String,
        /// The version whose text it brings back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restores: Option<u64>,
        /// SHA-256 of the text, in hexadecimal.
        sha256: String,
        /// The whole text.
        text: String,
    },
    /// A person has confirmed the time after a jump of the clock: the grace of the rules runs anew from here.
    ClockConfirmed {
        /// What froze deletion until then.
        ended: Freeze,
    },
    /// Lines of the ledger whose time was over were blanked.
    Erased {
        /// Their numbers.
        leaves: Vec<u64>,
        /// The rule of retention, or `by hand`.
        rule: String,
        /// Why.
        why: String,
        /// Ed25519 over time, numbers, rule, who and why (`docs/format.md`), in hexadecimal.
        receipt: String,
    },
    /// The scrub has found a recording that is not what was sealed. Told once for each recording and finding.
    ScrubFound {
        /// The recording.
        id: RecordingId,
        /// What is wrong with it.
        what: String,
    },
    /// A copy of the archive was opened that had been made file by file while calls were recorded. What it lacks is named.
    CopyOpened {
        /// Lines that the log of the copy had. What the original wrote after these is not in the copy.
        log: u64,
        /// Numbers of the log whose lines are not in the copy, in runs: first and last.
        lines: Vec<(u64, u64)>,
        /// Recordings that the ledger names and that are not in the copy.
        recordings: Vec<RecordingId>,
        /// Recordings of which the copy has the file of one moment and the lines of another: moved or re-encoded in between.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        of_two_moments: Vec<RecordingId>,
        /// Recordings finished after the ledger was copied, which were entered now.
        taken_in: u64,
        /// Recordings destroyed before the ledger was copied, which were removed now.
        removed: u64,
        /// Recordings that were running, which were ended at what was copied of them.
        ended: u64,
        /// Runs and recordings that are not named, because there were too many.
        left_out: u64,
    },
    /// A time-stamp authority has stamped a checkpoint.
    Stamped {
        /// Lines of the ledger that the checkpoint covers.
        lines: u64,
        /// The checkpoint: a signed note, to the byte as it was stamped.
        checkpoint: String,
        /// The authority's time.
        time: Timestamp,
        /// Its token (RFC 3161, a ContentInfo in DER), in base 64.
        token: String,
    },
    /// A recording was made of a file that somebody brought in.
    Imported {
        /// The recording.
        id: RecordingId,
        /// The file's name, without its folder.
        file: String,
        /// Its length.
        bytes: u64,
        /// SHA-256 of it, in hexadecimal.
        sha256: String,
    },
    /// Recordings have copies in an archive location: each was read back and compared.
    Copied {
        /// The location's name.
        location: String,
        /// Them.
        copies: Vec<CopyLine>,
    },
    /// Copies were removed from an archive location, because their recordings are deleted.
    CopiesRemoved {
        /// The location's name.
        location: String,
        /// The recordings.
        ids: Vec<RecordingId>,
    },
    /// The audio of recordings is no longer in the archive's folder: it lies in archive locations alone.
    Moved {
        /// Them.
        recordings: Vec<MovedLine>,
        /// Why.
        why: String,
    },
    /// A recording whose file was gone or changed was brought back from its copy.
    Repaired {
        /// The recording.
        id: RecordingId,
        /// The archive location that had it.
        location: String,
    },
    /// Somebody signed in; who is the event's.
    SignedIn {
        /// The address that it was done from.
        from: String,
        /// A code of a second factor was given.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        second_factor: bool,
    },
    /// Somebody was not let in. Who is the account, and `?` where there is none of the name that was given.
    SignInRefused {
        /// The address that it was tried from.
        from: String,
        /// Why.
        why: RefusedTry,
        /// So many more were refused before it, in a minute that had too many lines.
        #[serde(default, skip_serializing_if = "is_nought")]
        untold: u64,
    },
    /// An account, a role, a profile, a filter, a token, a webhook or the password policy was changed.
    AccountsChanged {
        /// What was done, in words.
        what: String,
        /// To which one; empty for the policy.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        name: String,
        /// What of it is another now, as it was; no hashes and secrets.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        before: BTreeMap<String, String>,
        /// The same as it is.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        after: BTreeMap<String, String>,
    },
    /// Somebody did something with recordings, calls or settings.
    Accessed {
        /// The address that it was done from; empty at the machine itself.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        from: String,
        /// What.
        #[serde(flatten)]
        access: AccessEvent,
    },
    /// An event of a later version.
    #[serde(other)]
    Unknown,
}

/// Why somebody was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusedTry {
    /// No account has the name.
    NoAccount,
    /// The password is another one.
    Password,
    /// The code of the second factor is none of now, or has counted already.
    Code,
    /// The account is locked.
    Locked,
    /// The account is disabled, has no role, or its role has no access to the pages.
    NoAccess,
    /// One of a later version.
    #[serde(other)]
    Unknown,
}

impl RefusedTry {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            RefusedTry::NoAccount => "no such account",
            RefusedTry::Password => "wrong password",
            RefusedTry::Code => "wrong code",
            RefusedTry::Locked => "the account is locked",
            RefusedTry::NoAccess => "the account has no access",
            RefusedTry::Unknown => "for a reason of a later version",
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes what it would write")]
fn is_nought(count: &u64) -> bool {
    *count == 0
}

impl Event {
    /// What the archive does by itself.
    pub(crate) fn by_itself(at: Timestamp, what: What) -> Event {
        Event { at, who: BY_ITSELF.into(), what }
    }

    /// The recording that it is about.
    #[must_use]
    pub fn recording(&self) -> Option<RecordingId> {
        match &self.what {
            What::Tagged { id, .. }
            | What::Untagged { id, .. }
            | What::Learned { id, .. }
            | What::Noted { id, .. }
            | What::FieldSet { id, .. }
            | What::Rated { id, .. }
            | What::Reassigned { id, .. }
            | What::Held { id, .. }
            | What::Released { id, .. }
            | What::Imported { id, .. } => Some(*id),
            What::LogBegun { .. }
            | What::RetentionSet { .. }
            | What::BookChanged { .. }
            | What::ClockConfirmed { .. }
            | What::Erased { .. }
            | What::Copied { .. }
            | What::CopiesRemoved { .. }
            | What::Moved { .. }
            | What::Repaired { .. }
            // Nothing that anybody added to the recording.
            | What::ScrubFound { .. }
            | What::Stamped { .. }
            | What::CopyOpened { .. }
            | What::SignedIn { .. }
            | What::SignInRefused { .. }
            | What::AccountsChanged { .. }
            | What::Accessed { .. }
            | What::Unknown => None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes what it would write")]
fn is_none(stars: &u8) -> bool {
    *stars == 0
}

/// What the receipt of an erasure signs.
pub(crate) fn erasure_text(
    at: Timestamp,
    who: &str,
    leaves: &[u64],
    rule: &str,
    why: &str,
) -> Result<Vec<u8>, Error> {
    let text = ("earwitness erasure v1", at, leaves, rule, who, why);
    serde_json::to_vec(&text).map_err(|e| Error::Refused { what: e.to_string() })
}

/// A note on a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When it was made.
    pub at: Timestamp,
    /// By whom.
    pub who: String,
    /// The place that it is about, in milliseconds from the start; none for the whole recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
    /// What it says.
    pub text: String,
}

/// A legal hold on a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its name.
    pub hold: String,
    /// Why it was put.
    pub why: String,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub who: String,
}

/// That a recording was given to another user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reassigned {
    /// Whom it counts for by what the telephone system said.
    pub reported: Who,
    /// When it was given.
    pub at: Timestamp,
    /// By whom.
    pub who: String,
}

/// Whom facts name.
fn named_in(facts: &RecordingFacts) -> Who {
    let name = facts.user_name.clone().unwrap_or_default();
    Who {
        user: facts.user.clone().map(|id| Person { id, name }),
        unit: facts.business_unit.clone(),
        units_above: facts.units_above.clone(),
    }
}

/// Has facts name somebody else.
fn name_in(facts: &mut RecordingFacts, who: Who) {
    let name = who.user.as_ref().map(|user| user.name.clone()).filter(|name| !name.is_empty());
    (facts.user_name, facts.user) = (name, who.user.map(|user| user.id));
    (facts.business_unit, facts.units_above) = (who.unit, who.units_above);
}

impl Row {
    /// Whom it counts for.
    #[must_use]
    pub fn counts_for(&self) -> Who {
        named_in(&self.facts)
    }

    /// Whom it counts for by what the telephone system said, whomever it was given to since.
    #[must_use]
    pub fn reported_for(&self) -> Who {
        self.reassigned.as_ref().map_or_else(|| self.counts_for(), |given| given.reported.clone())
    }

    /// As it would be if it counted for somebody else.
    #[must_use]
    pub fn counting_for(mut self, who: Who) -> Row {
        name_in(&mut self.facts, who);
        self
    }

    /// The facts without what people said of whom it counts for: rules judge by these.
    #[must_use]
    pub fn reported_facts(&self) -> RecordingFacts {
        self.clone().counting_for(self.reported_for()).facts
    }
}

/// Keeps what was done last.
fn newest<N: Ord, T>(all: &mut BTreeMap<N, (u64, T)>, name: N, leaf: u64, what: T) {
    if all.get(&name).is_none_or(|(last, _)| *last <= leaf) {
        all.insert(name, (leaf, what));
    }
}

/// The names of facts that may become known late, each with its place; the direction is no text.
fn late_text<'a>(facts: &'a mut RecordingFacts, name: &str) -> Option<&'a mut Option<String>> {
    Some(match name {
        "account_code" => &mut facts.account_code,
        "agent" => &mut facts.agent,
        "business_unit" => &mut facts.business_unit,
        "contact" => &mut facts.contact,
        "ddi" => &mut facts.ddi,
        "ddi_name" => &mut facts.ddi_name,
        "hunt_group" => &mut facts.hunt_group,
        "outside_number" => &mut facts.outside_number,
        "transferred_from" => &mut facts.transferred_from,
        "trunk" => &mut facts.trunk,
        "user" => &mut facts.user,
        "user_name" => &mut facts.user_name,
        _ => return None,
    })
}

/// Changes one fact. A name of a later version changes nothing.
fn learn(facts: &mut RecordingFacts, name: &str, value: &str) {
    if name == DIRECTION {
        let known = Direction::ALL.into_iter().find(|direction| direction.key() == value);
        facts.direction = known.unwrap_or(facts.direction);
    } else if name == UNITS_ABOVE {
        facts.units_above = value.lines().map(str::to_owned).collect();
    } else if let Some(place) = late_text(facts, name) {
        *place = Some(value.to_owned()).filter(|value| !value.is_empty());
    }
}

const DIRECTION: &str = "direction";
/// A line for each unit.
const UNITS_ABOVE: &str = "units_above";
/// The other facts that may become known late.
const LATE_TEXTS: [&str; 12] = [
    "account_code",
    "agent",
    "business_unit",
    "contact",
    "ddi",
    "ddi_name",
    "hunt_group",
    "outside_number",
    "transferred_from",
    "trunk",
    "user",
    "user_name",
];

impl RecordingFacts {
    /// These facts with what was known later, in JSON as [`Writer::know`](crate::Writer::know) has journaled it: what can become known late, and
    /// nothing else of it. What cannot be read, or is about another recording, changes nothing.
    pub(crate) fn knowing(mut self, later: &[u8]) -> RecordingFacts {
        let later = serde_json::from_slice::<RecordingFacts>(later).ok().filter(|later| later.id == self.id);
        let Some(mut later) = later else { return self };
        for name in LATE_TEXTS {
            if let Some((place, known)) = late_text(&mut self, name).zip(late_text(&mut later, name)) {
                place.clone_from(known);
            }
        }
        self.direction = later.direction;
        (self.units_above, self.tags, self.fields) = (later.units_above, later.tags, later.fields);
        self
    }
}

impl What {
    /// What has become known of a recording: everything in which `now` differs from `before`, tags left out. None when nothing does.
    #[must_use]
    pub fn learned(before: &RecordingFacts, now: &RecordingFacts) -> Option<What> {
        let (mut before, mut now) = (before.clone(), now.clone());
        let mut facts = BTreeMap::new();
        for name in LATE_TEXTS {
            let (was, is) = (late_text(&mut before, name).cloned(), late_text(&mut now, name).cloned());
            if was != is {
                facts.insert(name.to_owned(), is.flatten().unwrap_or_default());
            }
        }
        if before.direction != now.direction {
            facts.insert(DIRECTION.to_owned(), now.direction.key().to_owned());
        }
        if before.units_above != now.units_above {
            facts.insert(UNITS_ABOVE.to_owned(), now.units_above.join("\n"));
        }
        (!facts.is_empty()).then_some(What::Learned { id: now.id, facts })
    }
}

/// What all events about one recording come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Edits {
    /// Tags put on (true) and taken off (false), with the number of the line that says so: files of the ledger are by the
    /// clock, numbers by the order in which it was done.
    tags: BTreeMap<String, (u64, bool)>,
    /// What facts are since, by name, likewise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    facts: BTreeMap<String, (u64, String)>,
    /// Notes by the number of their line, so that none is taken in twice.
    notes: BTreeMap<u64, Note>,
    /// Holds by name, likewise; none where one was lifted.
    holds: BTreeMap<String, (u64, Option<Hold>)>,
    /// Values of the five fields, likewise; an empty one where a field was emptied.
    #[serde(default)]
    fields: BTreeMap<CustomField, (u64, String)>,
    /// Stars, likewise; 0 where the rating was taken back.
    #[serde(default)]
    rating: Option<(u64, u8)>,
    /// Whom it was given to, when and by whom, likewise; none where that was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    given: Option<(u64, Given)>,
}

/// Somebody, when and by whom; none where it was taken back.
type Given = Option<(Who, Timestamp, String)>;

impl Edits {
    /// The notes, oldest line first.
    pub(crate) fn notes(&self) -> impl Iterator<Item = &Note> + Clone {
        self.notes.values()
    }

    /// Takes one event in; `leaf` is the number of its line. Events may come in any order, and again.
    pub(crate) fn take(&mut self, leaf: u64, event: &Event) {
        let (at, who) = (event.at, event.who.clone());
        match event.what.clone() {
            What::Tagged { tag, .. } => newest(&mut self.tags, tag, leaf, true),
            What::Untagged { tag, .. } => newest(&mut self.tags, tag, leaf, false),
            What::Learned { facts, .. } => {
                for (name, value) in facts {
                    newest(&mut self.facts, name, leaf, value);
                }
            }
            What::Noted { text, at_ms, .. } => drop(self.notes.insert(leaf, Note { at, who, at_ms, text })),
            What::Held { hold, why, .. } => {
                newest(&mut self.holds, hold.clone(), leaf, Some(Hold { hold, why, at, who }));
            }
            What::Released { hold, .. } => newest(&mut self.holds, hold, leaf, None),
            What::FieldSet { field, value, .. } => newest(&mut self.fields, field, leaf, value),
            What::Rated { stars, .. } if self.rating.is_none_or(|(last, _)| last <= leaf) => {
                self.rating = Some((leaf, stars));
            }
            What::Reassigned { to, .. } if self.given.as_ref().is_none_or(|(last, _)| *last <= leaf) => {
                self.given = Some((leaf, to.map(|to| (to, at, who))));
            }
            // These are about no recording, or change nothing of it.
            _ => {}
        }
    }

    /// Shows them on the recording's row.
    pub(crate) fn apply(&self, row: &mut Row) {
        for (name, (_, value)) in &self.facts {
            learn(&mut row.facts, name, value);
        }
        for (tag, (_, on)) in &self.tags {
            row.facts.tags.retain(|other| other != tag);
            if *on {
                row.facts.tags.push(tag.clone());
            }
        }
        for (field, (_, value)) in &self.fields {
            row.facts.fields.set(*field, value);
        }
        row.rating = self.rating.map(|(_, stars)| stars).filter(|stars| (1..=STARS_MAX).contains(stars));
        row.notes = self.notes.values().cloned().collect();
        row.legal_holds = self.holds.values().filter_map(|(_, hold)| hold.clone()).collect();
        row.facts.held = !row.legal_holds.is_empty();
        // Behind what became known late: what somebody has said goes before what the telephone system says.
        if let Some((_, Some((to, at, who)))) = &self.given {
            row.reassigned =
                Some(Box::new(Reassigned { reported: named_in(&row.facts), at: *at, who: who.clone() }));
            name_in(&mut row.facts, to.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_a_field_and_on_the_stars_counts() {
        let (id, field) = (RecordingId::from_bytes([1; 16]), CustomField::Tag3);
        let event = |what| Event { at: Timestamp::from_millis(0), who: "eve".into(), what };
        let set =
            |value: &str| event(What::FieldSet { id, field, value: value.into(), before: String::new() });
        let rated = |stars| event(What::Rated { id, stars, before: 0 });
        let mut edits = Edits::default();
        for (leaf, event) in [(3, set("C-1")), (2, set("")), (5, rated(4)), (4, rated(2)), (1, set("A"))] {
            edits.take(leaf, &event);
        }
        assert_eq!((edits.fields.get(&field), edits.rating), (Some(&(3, "C-1".into())), Some((5, 4))));
        edits.take(6, &rated(0));
        assert_eq!(edits.rating, Some((6, 0)));
        let written = serde_json::to_string(&set("C-1").what).expect("JSON");
        assert_eq!(written, format!(r#"{{"event":"field-set","id":"{id}","field":"tag3","value":"C-1"}}"#));
    }

    #[test]
    fn facts_that_come_late_are_shown_and_the_last_word_counts() {
        let before = crate::crash::facts(1);
        let mut now = crate::RecordingFacts { account_code: Some("77".into()), ..before.clone() };
        (now.direction, now.outside_number) = (Direction::Internal, None);
        let event = |what| Event { at: Timestamp::from_millis(0), who: "pbx".into(), what };
        let first = event(What::learned(&before, &now).expect("something"));
        let json = serde_json::to_string(&first).expect("JSON");
        assert!(json.contains(r#""event":"learned""#) && json.contains(r#""account_code":"77""#), "{json}");
        assert_eq!(serde_json::from_str::<Event>(&json).expect("an event"), first);
        let second = event(What::learned(&now, &before).expect("something"));
        assert_eq!(What::learned(&now, &now), None);
        for order in [[(1, &first), (2, &second)], [(2, &second), (1, &first)]] {
            let mut edits = Edits::default();
            let mut row = Row::of(before.clone(), 0, crate::SignatureState::Valid);
            edits.take(order[0].0, order[0].1);
            edits.take(order[1].0, order[1].1);
            edits.apply(&mut row);
            assert_eq!(row.facts, before, "the first was taken back");
        }
        let mut edits = Edits::default();
        edits.take(1, &first);
        let mut row = Row::of(before, 0, crate::SignatureState::Valid);
        edits.apply(&mut row);
        assert_eq!(row.facts, now);
    }

    #[test]
    fn a_recording_that_is_given_to_somebody_counts_for_them_whatever_is_said_later_until_it_is_taken_back() {
        let id = crate::crash::facts(1).id;
        let who = |user: &str, unit: &str| Who {
            user: Some(Person { id: user.into(), name: user.to_uppercase() }),
            unit: Some(unit.into()),
            units_above: vec!["Insurance".into()],
        };
        let event = |what| Event { at: Timestamp::from_millis(7), who: "eve".into(), what };
        let given = |to| event(What::Reassigned { id, to, before: Who::default() });
        let mut before = crate::crash::facts(1);
        name_in(&mut before, who("ann", "Claims"));
        let mut later = before.clone();
        name_in(&mut later, who("bob", "Motor"));
        let learned = event(What::learned(&before, &later).expect("something"));
        let shown = |events: &[(u64, &Event)]| {
            let (mut edits, mut row) =
                (Edits::default(), Row::of(before.clone(), 0, crate::SignatureState::Valid));
            events.iter().for_each(|(leaf, event)| edits.take(*leaf, event));
            // As the index keeps them.
            let json = serde_json::to_vec(&edits).expect("JSON");
            let edits: Edits = serde_json::from_slice(&json).expect("reads back");
            edits.apply(&mut row);
            row
        };
        let (first, second, back) =
            (given(Some(who("cid", "Sales"))), given(Some(Who::default())), given(None));
        let row = shown(&[(1, &first)]);
        assert_eq!((row.counts_for(), row.reported_for()), (who("cid", "Sales"), who("ann", "Claims")));
        assert_eq!(row.reported_facts(), before);
        assert_eq!(
            row.reassigned.as_ref().map(|given| (given.who.as_str(), given.at)),
            Some(("eve", event(What::Unknown).at))
        );
        for order in [[(1, &first), (2, &learned)], [(2, &learned), (1, &first)]] {
            let row = shown(&order);
            assert_eq!((row.counts_for(), row.reported_for()), (who("cid", "Sales"), who("bob", "Motor")));
        }
        assert_eq!(shown(&[(2, &second), (1, &first)]).counts_for(), Who::default(), "to nobody");
        let row = shown(&[(1, &first), (3, &back), (2, &second)]);
        assert_eq!((row.counts_for(), row.reassigned), (who("ann", "Claims"), None));
        let json = serde_json::to_string(&first).expect("JSON");
        assert!(json.contains(r#""event":"reassigned""#), "{json}");
        assert_eq!(serde_json::from_str::<Event>(&json).expect("an event"), first);
    }

    #[test]
    fn what_was_done_last_counts_in_whatever_order_it_is_read() {
        let id = RecordingId::from_bytes([1; 16]);
        let (hold, why) = ("case".to_owned(), "inquiry".to_owned());
        let at = Timestamp::from_millis(0);
        let event = |what| Event { at, who: "eve".into(), what };
        // Put, lifted while the clock was a month ahead, and put again after it was set right.
        let events = [
            (1, event(What::Held { id, hold: hold.clone(), why: why.clone() })),
            (3, event(What::Held { id, hold: hold.clone(), why: why.clone() })),
            (2, event(What::Released { id, hold, why })),
        ];
        let mut edits = Edits::default();
        events.iter().for_each(|(leaf, event)| edits.take(*leaf, event));
        assert!(edits.holds.values().all(|(_, hold)| hold.is_some()));
        edits.take(4, &event(What::Released { id, hold: "case".into(), why: String::new() }));
        assert!(edits.holds.values().all(|(_, hold)| hold.is_none()));
    }
}
