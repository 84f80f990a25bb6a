//! Retention at work: what the rules of [`policy::retention`] judge, and carrying out what they say.
//!
//! Rules and confirmations are events of the ledger, so that nobody can take their grace away by editing a file. The watch
//! over the clock is kept in [`WATCH`], written whenever it was asked.

use std::collections::BTreeSet;

use decode::Timestamp;
use policy::retention::{
    Approved, ClockWatch, Decision, Freeze, Grace, History, Item, Now, Period, Plan, Planner, Reading,
    RuleSet, Subject,
};
use policy::{Direction, Outcome};

use crate::disk::{locked, read_whole};
use crate::event::{BY_ITSELF, Event, What};
use crate::ledger::{self, DeletionLine, Fate, Logged, RecordingLine};
use crate::scribe::Command;
use crate::{Archive, CallRow, Deletion, Error, RecordingId, Row};

/// The state of the watch over the clock.
pub(crate) const WATCH: &str = "clock.json";
/// It holds two readings and a confirmation.
const WATCH_MAX: u64 = 64 * 1024;
/// Recordings deleted with one sync.
const BATCH: usize = 256;

/// Something that retention judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// A recording.
    Recording(RecordingId),
    /// A call without a recording, by the number of its line in the log.
    Call(u64),
}

/// How rules are taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// They are in force from now on, if they are new.
    InForce,
    /// To look at what they would do: nothing is kept.
    Look,
}

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Pruned {
    /// Recordings whose audio is gone.
    pub audio: u64,
    /// Recordings and calls whose data are gone.
    pub data: u64,
    /// Lines of the ledger that were blanked.
    pub lines: u64,
    /// What could not be deleted; the log of the process says why.
    pub failed: u64,
    /// What was due at the plan and no longer at its turn: a hold came, or it was gone already.
    pub spared: u64,
}

/// Something that other rules would treat in another way.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Differs {
    /// What it is about.
    pub what: Kept,
    /// The recorded extension; none of a call without a recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// What the rules in force have due now.
    pub now: Decision,
    /// The rule that says so; none where none matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What the other rules would have due.
    pub would: Decision,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_rule: Option<String>,
}

/// Rules in force, the watch over the clock, and the archive that they are about.
#[derive(Debug)]
pub struct Retention<'a> {
    archive: &'a Archive,
    history: History,
    watch: ClockWatch,
    grace: Grace,
    /// The look at the clocks that `now` follows from.
    reading: (Reading, Period),
    now: Now,
}

impl Archive {
    /// Takes up retention: puts `rules` in force if they are new (the ledger keeps that) and looks at the clock.
    /// `off_max` is the longest time off after which the clock is believed.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Damaged`] when the events cannot be read: what the rules were must be known.
    pub fn retention(
        &self,
        rules: RuleSet,
        grace: Grace,
        off_max: Period,
        reading: Reading,
        how: Take,
    ) -> Result<Retention<'_>, Error> {
        let (mut history, mut newest, mut turns) = (History::new(), None, Vec::new());
        for event in self.numbered_events()? {
            let (leaf, event) = event?;
            newest = newest.max(Some(event.at));
            if matches!(event.what, What::RetentionSet { .. } | What::ClockConfirmed { .. }) {
                turns.push((leaf, event));
            }
        }
        // In the order in which it was done, whatever the clock showed.
        turns.sort_by_key(|(leaf, _)| *leaf);
        for (_, event) in turns {
            match event.what {
                What::RetentionSet { rules } => drop(history.replace(rules, event.at)),
                _ => history.begin_anew(event.at),
            }
        }
        let mut watch = self.read_watch(newest)?;
        let now = watch.observe(reading.clone(), off_max);
        let unruled = history.current().is_none() && rules.rules().is_empty();
        if !unruled && history.replace(rules.clone(), now.at()) && how == Take::InForce {
            self.append_event(Event::by_itself(now.at(), What::RetentionSet { rules }))?;
        }
        let retention = Retention { archive: self, history, watch, grace, reading: (reading, off_max), now };
        if how == Take::InForce {
            retention.keep_watch()?;
        }
        Ok(retention)
    }

    /// The watch as it was kept; one that is lost or unreadable is held against the newest event.
    fn read_watch(&self, newest: Option<Timestamp>) -> Result<ClockWatch, Error> {
        let json = read_whole(&*self.shared.disk, WATCH, WATCH_MAX);
        let json = json.map_err(|e| Error::io(self.dir().join(WATCH), e))?;
        let kept = json.and_then(|json| serde_json::from_slice(&json).ok());
        Ok(kept.or(newest.map(ClockWatch::since)).unwrap_or_default())
    }

    fn numbered_events(&self) -> Result<impl Iterator<Item = Result<(u64, Event), Error>> + '_, Error> {
        let months = self.months(ledger::EVENTS)?;
        let lines = months.into_iter().flat_map(|path| self.lines::<Logged<Event>>(path));
        Ok(lines.map(|line| line.map(|Logged { leaf, value }| (leaf.unwrap_or_default(), value))))
    }

    fn append_event(&self, event: Event) -> Result<(), Error> {
        self.ask(|answer| Command::Event { event: Box::new(event), answer })
    }
}

impl Retention<'_> {
    /// Looks at the clocks again. At least hourly while something runs for long: the time off is counted from the last look that
    /// was kept.
    ///
    /// # Errors
    /// [`Error::Io`] when the look cannot be kept.
    pub fn look(&mut self, reading: Reading) -> Result<(), Error> {
        self.reading.0 = reading;
        let (reading, off_max) = self.reading.clone();
        self.now = self.watch.observe(reading, off_max);
        self.keep_watch()
    }

    /// Why nothing is deleted, while the clock is in doubt.
    #[must_use]
    pub fn freeze(&self) -> Option<Freeze> {
        self.watch.freeze()
    }

    /// A person says that the clock was right when it showed `at`, a moment ago. The grace of the rules runs anew.
    ///
    /// # Errors
    /// [`Error::Refused`] when nothing is frozen, without a name, and for a time that the clock does not show; [`Error::Io`].
    pub fn confirm_clock(&mut self, who: &str, at: Timestamp) -> Result<(), Error> {
        let confirmed = self.watch.confirm(who, at, &mut self.history);
        let ended = confirmed.map_err(|e| Error::Refused { what: e.to_string() })?.ended;
        let (at, what) = (at.max(self.now.at()), What::ClockConfirmed { ended });
        self.archive.append_event(Event { at, who: who.to_owned(), what })?;
        self.look(self.reading.0.clone())
    }

    fn keep_watch(&self) -> Result<(), Error> {
        let json =
            serde_json::to_vec_pretty(&self.watch).map_err(|e| Error::damaged(WATCH, e.to_string()))?;
        // Two that replace the same file take each other's new one away.
        let _one_at_a_time = locked(&self.archive.shared.clock_watch);
        let kept = self.archive.shared.disk.replace(WATCH, &json, false);
        kept.map_err(|e| Error::io(self.archive.dir().join(WATCH), e))
    }

    /// What a pass would delete now.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Damaged`] when something cannot be read: a plan that does not see all proves nothing.
    pub fn plan(&self) -> Result<Plan<Kept>, Error> {
        let mut planner = Planner::new(&self.history, self.grace, self.now);
        self.archive.sync()?;
        for row in self.archive.rows() {
            let row = row?;
            planner.add(Kept::Recording(row.facts.id), &subject_of(&row));
        }
        for call in self.archive.calls_without_recording()? {
            let (leaf, row) = call?;
            planner.add(Kept::Call(leaf), &subject_of_call(&row));
        }
        Ok(planner.finish())
    }

    /// What these rules would have due now that those in force have not, and the reverse: each set judged as if it had always been in
    /// force, without grace. A clock in doubt or a hold keeps under both. Told one by one; what is shown is up to `tell`.
    ///
    /// # Errors
    /// As [`Retention::plan`], and what `tell` says.
    pub fn differences<E: From<Error>>(
        &self,
        rules: &RuleSet,
        mut tell: impl FnMut(Differs) -> Result<(), E>,
    ) -> Result<(), E> {
        let always = |rules: RuleSet| {
            let mut history = History::new();
            history.replace(rules, Timestamp::from_millis(0));
            history
        };
        let (now, would) =
            (always(self.history.current().cloned().unwrap_or_default()), always(rules.clone()));
        let mut compare = |what, subject: &Subject| {
            let judge = |history: &History| {
                let judged = history.judge(subject, &self.now, Grace::Immediate);
                (judged.decision, judged.rule.map(|rule| rule.name.clone()))
            };
            let ((now, rule), (would, would_rule)) = (judge(&now), judge(&would));
            if now == would {
                return Ok(());
            }
            let (extension, started) = (subject.extension.clone(), subject.started);
            tell(Differs { what, extension, started, now, rule, would, would_rule })
        };
        self.archive.sync()?;
        for row in self.archive.rows() {
            let row = row?;
            compare(Kept::Recording(row.facts.id), &subject_of(&row))?;
        }
        for call in self.archive.calls_without_recording()? {
            let (leaf, row) = call?;
            compare(Kept::Call(leaf), &subject_of_call(&row))?;
        }
        Ok(())
    }

    /// Deletes what an approved plan lists, each judged once more at its turn. `progress` is told how many of how many are
    /// done.
    ///
    /// # Errors
    /// As [`Archive::delete`]; what was deleted until then is.
    pub fn carry_out(
        &self,
        approved: &Approved<Kept>,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Pruned, Error> {
        let (plan, mut pruned) = (approved.plan(), Pruned::default());
        let total = plan.items.len();
        for (i, items) in plan.items.chunks(BATCH).enumerate() {
            progress(i * BATCH, total);
            self.delete(plan, items, &mut pruned)?;
        }
        // Lines go last and all at once: they are looked for in the whole ledger.
        for (place, rule) in plan.by_rule.iter().enumerate() {
            let of_rule = || plan.items.iter().filter(move |item| usize::from(item.rule) == place);
            let with_data = || of_rule().filter(|item| item.decision.takes_data());
            let ids = with_data().filter_map(|item| match item.id {
                Kept::Recording(id) if self.is_forgotten(id) => Some(id),
                _ => None,
            });
            let calls = with_data().filter_map(|item| match item.id {
                Kept::Call(leaf) => Some(leaf),
                Kept::Recording(_) => None,
            });
            let (ids, calls) = (ids.collect::<BTreeSet<_>>(), calls.collect::<BTreeSet<_>>());
            let why = format!("data are kept for {}", rule.data);
            let by = Deletion { at: plan.at, who: BY_ITSELF.into(), rule: rule.name.clone(), why };
            if !ids.is_empty() {
                pruned.lines += self.archive.erase_about(&ids, &by)?;
            }
            if !calls.is_empty() {
                let lines = self.archive.erase_calls(&calls, &by)?;
                pruned.lines += lines;
                pruned.data += lines;
            }
        }
        pruned.lines += self.archive.erase_left_over(plan.at)?;
        progress(total, total);
        self.archive.sync()?;
        Ok(pruned)
    }

    fn is_forgotten(&self, id: RecordingId) -> bool {
        matches!(self.archive.row(id), Err(Error::NotFound { .. }))
    }

    /// Deletes the recordings of a few items with one sync.
    fn delete(&self, plan: &Plan<Kept>, items: &[Item<Kept>], pruned: &mut Pruned) -> Result<(), Error> {
        let archive = self.archive;
        let _one_at_a_time = locked(&archive.shared.decisions);
        // Holds that were put before this are in the index then.
        archive.ask(Command::Sync)?;
        let ids = items.iter().filter_map(|item| match item.id {
            Kept::Recording(id) => Some(id),
            Kept::Call(_) => None,
        });
        let signed = crate::verify::signed_lines(&archive.shared, &ids.collect());
        let signed = signed.map_err(|e| e.under(archive.dir()))?;
        let (mut deleted, mut forgotten) = (Vec::new(), Vec::new());
        for item in items {
            let Kept::Recording(id) = item.id else { continue };
            let row = match archive.row(id) {
                Err(Error::NotFound { .. }) => None,
                row => Some(row?),
            };
            let judged =
                row.as_ref().map(|row| self.history.judge(&subject_of(row), &self.now, self.grace).decision);
            let Some((row, decision)) = row.zip(judged).filter(|(_, decision)| *decision == item.decision)
            else {
                pruned.spared += 1;
                continue;
            };
            let rule = plan.by_rule.get(usize::from(item.rule)).map(|rule| rule.name.clone());
            let (rule, why) = (rule.unwrap_or_default(), plan.why(item));
            let deletion = Deletion { at: plan.at, who: BY_ITSELF.into(), rule, why };
            if decision.takes_audio() {
                let keep_facts = !decision.takes_data();
                let line = archive.deletion_line(row.reported_facts(), deletion, keep_facts, &signed);
                if let Err(e) = line.and_then(|line| ledger::line(&line).map(|_| deleted.push(line))) {
                    tracing::error!(recording = %id, error = %e, "a recording that is due cannot be deleted");
                    pruned.failed += 1;
                    continue;
                }
                pruned.audio += 1;
            } else {
                forgotten.push(archive.forgetting_line(id, deletion).map_err(|e| e.under(archive.dir()))?);
            }
            pruned.data += u64::from(decision.takes_data());
        }
        if !deleted.is_empty() {
            archive.ask(|answer| Command::Delete { lines: deleted, answer })?;
        }
        if !forgotten.is_empty() {
            archive.ask(|answer| Command::Forget { lines: forgotten, answer })?;
        }
        archive.ask(Command::Sync)
    }
}

impl Archive {
    /// The line after which a deleted recording is not listed any more.
    pub(crate) fn forgetting_line(
        &self,
        id: RecordingId,
        deletion: Deletion,
    ) -> Result<RecordingLine, Error> {
        let Deletion { at, who, rule, why } = deletion;
        let (bytes, signed) = (0, String::new());
        let mut entry = DeletionLine { rule, who, receipt: String::new(), facts: None, excluded: None };
        let (deletion, recoded) = (None, None);
        let mut line = RecordingLine { id, fate: Fate::Deleted, at, bytes, signed, why, deletion, recoded };
        entry.receipt = self.shared.keys.sign_receipt(&line.receipt_text(&entry)?)?;
        line.deletion = Some(Box::new(entry));
        Ok(line)
    }
}

/// What the rules look at of a recording.
pub(crate) fn subject_of(row: &Row) -> Subject {
    let facts = &row.facts;
    Subject {
        site: facts.site.clone(),
        extension: Some(facts.extension.clone()),
        business_units: facts.units().map(str::to_owned).collect(),
        direction: facts.direction,
        tags: facts.tags.clone(),
        outcome: Outcome::Recorded,
        source: Some(facts.source),
        state: Some(facts.state),
        started: facts.started,
        ended: facts.ended,
        bytes: row.bytes,
        holds: u32::try_from(row.legal_holds.len()).unwrap_or(u32::MAX),
        has_audio: row.deleted.is_none(),
        has_data: true,
        archived_copies: 0,
    }
}

/// The same of a call without a recording: it is of all units that its extensions' parts count for, and has the tags of all; its extension and
/// direction are the first part's. Lines of earlier versions may have none.
fn subject_of_call(row: &CallRow) -> Subject {
    let parts = || row.parts.iter().map(|part| &part.facts);
    let mut business_units: Vec<String> =
        parts().flat_map(|facts| facts.who.units()).map(str::to_owned).collect();
    let mut tags: Vec<String> = parts().flat_map(|facts| &facts.tags).cloned().collect();
    for list in [&mut business_units, &mut tags] {
        list.sort_unstable();
        list.dedup();
    }
    Subject {
        site: None,
        extension: parts().next().map(|facts| facts.extension.clone()),
        business_units,
        direction: parts().next().map_or(Direction::Unknown, |facts| facts.direction),
        tags,
        // Nobody will ever write its end.
        outcome: if row.outcome == Outcome::Running { Outcome::NotAnswered } else { row.outcome },
        source: None,
        state: None,
        started: row.started,
        ended: row.ended,
        bytes: 0,
        holds: 0,
        has_audio: false,
        has_data: true,
        archived_copies: 0,
    }
}
