//! Reports that come after their calls: finished recordings learn what was said of them, and are judged again.
//!
//! A thread of its own: the ledger is written and synced for each, which must not keep frames waiting. What is learned is an event of
//! the ledger, with who said it; a recording's file never changes. A recording that the rules exclude by it is destroyed, key
//! first, and the call's line in the balance sheet says so.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use decode::Timestamp;
use policy::feed::{Alike, Report, Whose, Word};
use policy::gate::{Gate, Late};
use policy::{CustomField, Fact, FactRefusal, Outcome, Rules, SegmentFacts, Step, Verdict};
use store::{Archive, Deletion, Event, Field, Query, RecordingFacts, RecordingId, Row, Source, State, What};

use crate::clock;
use crate::facts::{known_of, with_known};
use crate::failure::Failure;

#[cfg(test)]
pub(crate) mod tests;

/// Late reports that may wait for the disk. One more is dropped, counted and logged, and its sender told where that can be.
const WAITING_MAX: usize = 1_000;
/// The longest call that a report by extension or agent is looked for in, in milliseconds.
const CALL_MS_MAX: i64 = 86_400_000;
/// How far the sender's clock may be from the capture's, in milliseconds.
const SLACK_MS: i64 = 2_000;

/// The step of a judgement that says that a recording was destroyed for what became known after its call.
pub(crate) const LATE_FACT: &str = "late fact";

/// The recorder's end.
#[derive(Clone)]
pub(crate) struct LateReports {
    reports: Sender<Late>,
    dropped: Arc<AtomicU64>,
    rules: Arc<Mutex<Arc<Rules>>>,
}

/// The thread, until it has worked off what was handed to it.
pub(crate) struct Amender {
    thread: JoinHandle<Amended>,
}

/// What the thread did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amended {
    /// Recordings of which more is known.
    pub(crate) learned: u64,
    /// Recordings that were destroyed by it.
    pub(crate) excluded: u64,
    /// Recordings that ought to have been destroyed and are under a hold.
    pub(crate) held: u64,
    /// Reports that were about no recording.
    pub(crate) unclaimed: u64,
    /// Reports that could not be carried out.
    pub(crate) failed: u64,
    /// Reports that there was no room for.
    pub(crate) dropped: u64,
}

/// Starts the thread. It ends when the last [`LateReports`] is gone.
///
/// # Errors
/// When there is no thread to be had.
pub(crate) fn start(archive: Arc<Archive>, rules: Rules) -> Result<(LateReports, Amender), Failure> {
    let (reports, receiver) = bounded(WAITING_MAX);
    let rules = Arc::new(Mutex::new(Arc::new(rules)));
    let dropped = Arc::new(AtomicU64::new(0));
    let (seen, lost) = (Arc::clone(&rules), Arc::clone(&dropped));
    let run = move || run(&archive, &seen, &receiver, &lost);
    let thread = std::thread::Builder::new().name("late-reports".into()).spawn(run)?;
    Ok((LateReports { reports, dropped, rules }, Amender { thread }))
}

impl LateReports {
    /// These rules are in force from now on.
    pub(crate) fn use_rules(&self, rules: Rules) {
        *self.rules.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// Hands a report on.
    pub(crate) fn send(&self, late: Late) {
        if let Err(TrySendError::Full(late)) = self.reports.try_send(late) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            let who = late.report.who;
            tracing::error!(source = who, waiting = WAITING_MAX, "a report about a finished call is dropped");
        }
    }
}

/// Tells the gate how many reports can be handed on now.
pub(crate) fn tell_room(late: Option<&LateReports>, gate: &mut Gate) {
    if let Some(late) = late {
        gate.allow_late(WAITING_MAX.saturating_sub(late.reports.len()));
    }
}

impl Amender {
    /// Waits until everything is done.
    pub(crate) fn stop(self) -> Amended {
        self.thread.join().unwrap_or_default()
    }
}

fn run(
    archive: &Archive,
    in_force: &Mutex<Arc<Rules>>,
    reports: &Receiver<Late>,
    dropped: &AtomicU64,
) -> Amended {
    let mut done = Amended::default();
    for late in reports {
        let rules = &Arc::clone(&in_force.lock().unwrap_or_else(PoisonError::into_inner));
        if let Err(error) = amend(archive, rules, &late, &mut done) {
            done.failed += 1;
            tracing::error!(source = late.report.who, %error, "a report about a finished call is not kept");
        }
    }
    done.dropped = dropped.load(Ordering::Relaxed);
    if done != Amended::default() {
        let Amended { learned, excluded, held, unclaimed, failed, dropped } = done;
        tracing::info!(learned, excluded, held, unclaimed, failed, dropped, "reports about finished calls");
    }
    done
}

/// Carries one report out.
pub(crate) fn amend(
    archive: &Archive,
    rules: &Rules,
    late: &Late,
    done: &mut Amended,
) -> Result<(), store::Error> {
    let said = match &late.report.word {
        Word::Facts(_, facts) => facts.clone(),
        Word::LogOn { agent, .. } => vec![Fact::Agent(agent.clone())],
        Word::LogOff { .. } | Word::Join { .. } | Word::Leave { .. } => return Ok(()),
    };
    let ids = find(archive, late)?;
    if ids.is_empty() {
        done.unclaimed += 1;
        tracing::info!(source = late.report.who, "a report is about no call that is known");
    }
    for id in ids {
        // What cannot be done for one recording is done for the others all the same.
        if let Err(error) = learn(archive, rules, id, &said, &late.report, done) {
            done.failed += 1;
            tracing::error!(recording = %id, source = late.report.who, %error, "a late report is not carried out");
        }
    }
    Ok(())
}

/// The finished recordings that a report is about.
fn find(archive: &Archive, late: &Late) -> Result<BTreeSet<RecordingId>, store::Error> {
    let mut ids = BTreeSet::new();
    let mut of_call = |call: &str, extension: Option<&str>| {
        let mut query = Query::default();
        let Ok(()) = query.call(call) else { return Ok(()) };
        for row in archive.search(&query) {
            let row = row?;
            let is_meant = extension.is_none_or(|extension| row.facts.extension == extension);
            if row.facts.call == call && is_meant && may_learn(&row) {
                ids.insert(row.facts.id);
            }
        }
        Ok::<_, store::Error>(())
    };
    for (call, extension) in &late.calls {
        of_call(&call.to_string(), extension.as_deref())?;
    }
    if !late.calls.is_empty() {
        return Ok(ids);
    }
    // The gate knows of no such call: an earlier run may have recorded it.
    let at = late.report.at;
    match &late.report.word {
        Word::Facts(Whose::CallId { call_id, extension }, _) => {
            let mut query = window(at);
            if query.call(call_id).is_ok() {
                let rows = archive.search(&query).collect::<Result<Vec<Row>, _>>()?;
                // The query takes the beginning of a call's name here for a Call-ID, too.
                let named = rows.iter().filter(|row| row.facts.sip_call_ids.contains(call_id));
                let calls: BTreeSet<&str> = named.map(|row| row.facts.call.as_str()).collect();
                calls.into_iter().try_for_each(|call| of_call(call, extension.as_deref()))?;
            }
        }
        Word::Facts(Whose::Extension(extension), _) => {
            ids.extend(had(archive, Field::Extension, extension, at, None)?);
        }
        Word::Facts(Whose::Recorded { extension, alike }, _) => {
            ids.extend(had(archive, Field::Extension, extension, at, Some(alike))?);
        }
        Word::Facts(Whose::Agent(agent), _) => ids.extend(had(archive, Field::Agent, agent, at, None)?),
        Word::LogOn { .. } | Word::LogOff { .. } | Word::Join { .. } | Word::Leave { .. } => {}
    }
    Ok(ids)
}

/// Recordings that began at most a day before that time.
fn window(at: Timestamp) -> Query {
    let mut query = Query::default();
    query.since = Some(at.plus_millis(-CALL_MS_MAX));
    query.until = Some(at.plus_millis(SLACK_MS + 1));
    query
}

/// It is finished, still there, and was a call here: reports are not about audio that somebody brought in.
fn may_learn(row: &Row) -> bool {
    row.facts.state != State::Recording && row.deleted.is_none() && row.facts.source != Source::Import
}

/// The recording that an extension or agent had at that time; of several the one with the number of the call record, if it is one that
/// asks, and of these the one begun last.
fn had(
    archive: &Archive,
    field: Field,
    name: &str,
    at: Timestamp,
    alike: Option<&Alike>,
) -> Result<Option<RecordingId>, store::Error> {
    let mut query = window(at);
    // What is no plain number could be read as a pattern; then each is looked at.
    if name.bytes().all(|b| b.is_ascii_alphanumeric()) {
        let _ = query.filter(field, name);
    }
    let rank = |facts: &RecordingFacts| {
        let numbers = facts.outside_number.iter().chain(&facts.other_party);
        let is_alike = alike.is_some_and(|alike| numbers.into_iter().any(|number| alike.has(number)));
        (is_alike, facts.started)
    };
    let mut last: Option<RecordingFacts> = None;
    for row in archive.search(&query) {
        let row = row?;
        let facts = &row.facts;
        let is_own = match field {
            Field::Agent => facts.agent.as_deref() == Some(name),
            _ => facts.extension == name,
        };
        let rang = i64::try_from(facts.ring_ms).unwrap_or(i64::MAX);
        let from = facts.started.plus_millis(rang.saturating_neg()).plus_millis(-SLACK_MS);
        let was_there = facts.ended.is_some_and(|ended| (from..=ended.plus_millis(SLACK_MS)).contains(&at));
        if is_own && was_there && may_learn(&row) && last.as_ref().is_none_or(|l| rank(l) < rank(facts)) {
            last = Some(row.facts);
        }
    }
    Ok(last.map(|facts| facts.id))
}

/// Keeps what was said of one recording, and judges it again.
fn learn(
    archive: &Archive,
    rules: &Rules,
    id: RecordingId,
    said: &[Fact],
    report: &Report,
    done: &mut Amended,
) -> Result<(), store::Error> {
    let (row, who) = (archive.row(id)?, &report.who);
    // Whom somebody has given it to is nothing that the telephone system said.
    let row = store::Row { facts: row.reported_facts(), ..row };
    let said: Vec<Fact> = said.iter().filter(|fact| is_about(report, fact, &row.facts)).cloned().collect();
    let before = known_of(&row.facts, rules);
    let now = with_said(rules, &before, &said, |refusal| {
        tracing::warn!(recording = %id, source = who, %refusal, "a late fact is not taken");
    });
    let facts = with_known(row.facts.clone(), &now);
    let tag = |tag: &String| What::Tagged { id, tag: tag.clone() };
    let untag = |tag: &String| What::Untagged { id, tag: tag.clone() };
    let on = now.tags.difference(&before.tags).map(tag);
    let off = before.tags.difference(&now.tags).map(untag);
    // Against what the same rules make of the row: how a number reads today is nothing that was said.
    let learned = What::learned(&with_known(row.facts, &before), &facts);
    let filled = CustomField::ALL.into_iter().filter_map(|field| {
        let (was, value) = (before.fields.of(field), now.fields.of(field).unwrap_or_default().to_owned());
        // What was there before is filled in where it is kept.
        let before = String::new();
        (was.unwrap_or_default() != value).then_some(What::FieldSet { id, field, value, before })
    });
    let events: Vec<What> = learned.into_iter().chain(on).chain(off).chain(filled).collect();
    done.learned += u64::from(!events.is_empty());
    for what in events {
        archive.edit(Event { at: clock::now(), who: source(who), what })?;
    }
    let judgement = rules.judge(&now);
    let (rule, outcome) = match &judgement.verdict {
        Verdict::Record { .. } => return Ok(()),
        Verdict::Excluded { rule } => (rule.clone(), Outcome::Excluded),
        Verdict::InternalExcluded => ("internal calls are excluded".to_owned(), Outcome::InternalExcluded),
        Verdict::DeviceNotRecorded { why } => (why.clone(), Outcome::DeviceNotRecorded),
    };
    if !is_its_doing(archive, rules, id, &before, &said) {
        return Ok(());
    }
    let names: Vec<&str> = said.iter().map(Fact::key).collect();
    let why = format!("{} became known after the call, by {}", names.join(", "), source(who));
    let deletion = Deletion { at: clock::now(), who: source(who), rule, why };
    let at_ms = clock::now().millis_since(facts.started);
    let step = |rule: &str, fact: String, verdict: &str| Step {
        at_ms,
        extension: facts.extension.clone(),
        rule: rule.into(),
        fact,
        verdict: verdict.into(),
    };
    let told = format!("{} says so after the call: judged again", source(who));
    let mut steps: Vec<Step> = said.iter().map(|fact| step("fact", fact.to_string(), &told)).collect();
    steps.extend(judgement.last_step(&facts.extension, at_ms));
    steps.push(step(LATE_FACT, String::new(), "what had been recorded is destroyed"));
    match archive.exclude(id, deletion, outcome, steps) {
        Err(error @ store::Error::Guarded { .. }) => {
            done.held += 1;
            tracing::warn!(recording = %id, %error, "a recording that is excluded now is kept");
            Ok(())
        }
        result => result.map(|()| done.excluded += 1),
    }
}

/// Who sat at a phone is said of the leg that a Call-ID names, everything else of the whole call, as while it runs.
fn is_about(report: &Report, fact: &Fact, facts: &RecordingFacts) -> bool {
    match (&report.word, fact) {
        (Word::Facts(Whose::CallId { call_id, extension: None }, _), Fact::Agent(_)) => {
            facts.sip_call_ids.contains(call_id)
        }
        _ => true,
    }
}

/// What is known with what was said. The person is asked for anew when the agent is another one, the unit when it does not stay the
/// one that was named.
fn with_said(
    rules: &Rules,
    before: &SegmentFacts,
    said: &[Fact],
    mut refused: impl FnMut(FactRefusal),
) -> SegmentFacts {
    let mut now = before.clone();
    for fact in said {
        if let Err(refusal) = now.take(fact.clone(), &rules.site) {
            refused(refusal);
        }
    }
    let (is_other_agent, is_other_unit) = (now.agent != before.agent, now.named_unit != before.named_unit);
    if is_other_agent || is_other_unit {
        let began = now.started;
        rules.people.tell(&mut now, began);
        if !is_other_agent {
            now.who.user.clone_from(&before.who.user);
        }
        if !is_other_unit && now.named_unit.is_some() {
            now.who.units_above.clone_from(&before.who.units_above);
        }
    }
    now
}

/// Is a recording against the rules because of what was said? What was recorded against today's rules before is not. A report whose
/// facts are kept already, but which was not carried out, is looked at beside the facts that the recording was made with.
fn is_its_doing(
    archive: &Archive,
    rules: &Rules,
    id: RecordingId,
    before: &SegmentFacts,
    said: &[Fact],
) -> bool {
    let is_kept = |known: &SegmentFacts| rules.judge(known).verdict.is_record();
    if is_kept(before) {
        return true;
    }
    match archive.sealed_facts(id) {
        Ok(made) => {
            let made = known_of(&made, rules);
            is_kept(&made) && !is_kept(&with_said(rules, &made, said, |_| ()))
        }
        Err(error) => {
            tracing::error!(recording = %id, %error, "what a recording was made with cannot be read");
            false
        }
    }
}

/// Who says it, for the ledger.
fn source(who: &str) -> String {
    if who.is_empty() { "feed".to_owned() } else { who.to_owned() }
}
