//! The rules of an archive, for whoever shows or changes them: the command line and the pages do it here, so that they do the same.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use decode::Timestamp;
use policy::SegmentFacts;
use policy::retention::Consent;
use store::{Archive, BookChange, BookVersion, Pruned, Take};
use web::rules::{
    Answer, Difference, Edit, NotPruned, Planned, Preset, Question, RuleBook, RulesError, Sections, Seen,
    SeenExtensions, TRIAL_CALLS_MAX, Trial, TriedCall, Wrong, digest,
};

use crate::config::{Book, Machine, Retention, Ruling};
use crate::failure::Failure;
use crate::presets::PRESETS;

pub(crate) mod compare;
mod edit;
mod people;
mod place;
mod sections;
pub(crate) mod seen;
#[cfg(test)]
mod tests;
pub(crate) mod trial;
mod values;

/// Calls that a page's trial takes: what they need lies in the recorder's own memory, half a kilobyte and more for each.
const TRIED_MAX: usize = 50_000;

/// What follows from rules that are not in force yet.
pub(crate) fn checked(book: Book, machine: &Machine) -> Result<Ruling, Failure> {
    book.resolve(machine).map_err(|wrong| wrong.within(Path::new("the new rules")))
}

/// Puts what follows from a text in force, as a new version of the book. Its rules of retention at once, so that their grace runs, and its
/// people, so that whoever signs in stands where they say.
pub(crate) fn put(archive: &Archive, ruling: &Ruling, change: BookChange) -> Result<BookVersion, RulesError> {
    let new = archive.change_book(change)?;
    crate::cmd::know_site(archive, &ruling.rules);
    ruling.retention.take_up(archive, Take::InForce).map_err(|error| {
        let version = new.version;
        failed(format!(
            "version {version} is in force, and its rules of retention are not taken up yet: {error}"
        ))
    })?;
    Ok(new)
}

/// What the configuration says now: the rules that count while an archive has no book, and what one is resolved with. Shared with
/// whoever reads the configuration again.
#[derive(Clone)]
pub(crate) struct Standing {
    says: Arc<Mutex<(Book, Machine)>>,
    /// Whoever looks through the whole archive has this: one at a time, so that pages leave the recorder its disk.
    looking: Arc<Mutex<()>>,
}

impl Standing {
    pub(crate) fn new(book: Book, machine: Machine) -> Standing {
        Standing { says: Arc::new(Mutex::new((book, machine))), looking: Arc::default() }
    }

    /// Others count from now on.
    pub(crate) fn change(&self, book: Book, machine: Machine) {
        *self.says.lock().unwrap_or_else(PoisonError::into_inner) = (book, machine);
    }

    fn now(&self) -> (Book, Machine) {
        self.says.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Nobody waits for it: those who would are threads that others need.
    fn look(&self) -> Result<MutexGuard<'_, ()>, RulesError> {
        match self.looking.try_lock() {
            Ok(looking) => Ok(looking),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(RulesError::Busy),
        }
    }

    /// What is in force in an archive: its book, or the configuration's.
    fn in_force(&self, archive: &Archive) -> Result<Ruling, Failure> {
        let (book, machine) = self.now();
        match Ruling::in_force(archive, &machine)? {
            Some(ruling) => Ok(ruling),
            None => checked(book, &machine),
        }
    }

    /// A text that may be in force on this machine, and what follows from it.
    fn meant(&self, text: &str) -> Result<(Book, Ruling), RulesError> {
        let book = parsed(text)?;
        let ruling = book.clone().resolve(&self.now().1);
        let ruling = ruling.map_err(|wrong| Wrong {
            place: place::of(text, wrong.words()),
            what: wrong.words().to_owned(),
        })?;
        Ok((book, ruling))
    }
}

fn parsed(text: &str) -> Result<Book, RulesError> {
    Book::of_text(text)
        .map_err(|(line, column, what)| RulesError::Wrong(Wrong { place: Some((line, column)), what }))
}

/// Words that are for the log.
fn failed(error: impl std::fmt::Display) -> RulesError {
    RulesError::Failed(error.to_string())
}

impl RuleBook for Standing {
    fn configured(&self) -> Result<String, RulesError> {
        self.now().0.text().map_err(failed)
    }

    fn read(&self, text: &str) -> Result<Sections, RulesError> {
        Ok(sections::of(&parsed(text)?))
    }

    fn check(&self, text: &str) -> Result<String, RulesError> {
        self.meant(text)?.0.text().map_err(failed)
    }

    fn edit(&self, text: &str, edit: &Edit) -> Result<String, RulesError> {
        let mut book = parsed(text)?;
        edit::apply(&mut book, edit)?;
        book.text().map_err(failed)
    }

    fn compare(&self, old: &str, new: &str) -> Result<Vec<Difference>, RulesError> {
        let differences = compare::differences(&parsed(old)?, &parsed(new)?).map_err(failed)?;
        Ok(differences.into_iter().map(Into::into).collect())
    }

    fn try_on(
        &self,
        archive: &Archive,
        text: &str,
        since: Timestamp,
        until: Option<Timestamp>,
    ) -> Result<Trial, RulesError> {
        let candidate = self.meant(text)?.1;
        let _one_at_a_time = self.look()?;
        let in_force = self.in_force(archive).map_err(failed)?;
        let mut list = Vec::new();
        let mut keep = |call: &trial::Difference<'_>| {
            if list.len() < TRIAL_CALLS_MAX {
                list.push(tried(call));
            }
            Ok(())
        };
        let range = (Some(since), until);
        let sums = trial::calls(archive, &in_force.rules, candidate.rules, range, TRIED_MAX, &mut keep);
        let sums = sums.map_err(|failure| match failure.is_usage() {
            true => RulesError::Wrong(Wrong::new(failure.to_string())),
            false => failed(failure),
        })?;
        // Everything is judged for it: only where it can differ.
        let due = if in_force.retention.rules == candidate.retention.rules {
            trial::DueSums::default()
        } else {
            let due = trial::due(
                archive,
                &in_force.retention,
                &candidate.retention,
                |_| {},
                |_| Ok::<(), Failure>(()),
            );
            due.map_err(failed)?
        };
        let trial::DueSums { due_then, kept_then, due_otherwise } = due;
        let turns = sums.turns.into_iter().map(|((was, would), count)| (was, would, count)).collect();
        let (calls, not_judged) = (sums.calls, sums.not_judged);
        let not_known = sums.not_known.into_iter().map(|(what, count)| (what.words(), count)).collect();
        Ok(Trial { calls, not_judged, not_known, turns, list, due_then, kept_then, due_otherwise })
    }

    fn ask(&self, text: &str, question: &Question) -> Result<Answer, RulesError> {
        let rules = self.meant(text)?.1.rules;
        let judgement = rules.judge(&facts(&rules, question));
        let verdict = match &judgement.verdict {
            policy::Verdict::Record { rule, mode, .. } => format!("{rule}; mode {}", mode.key()),
            policy::Verdict::DeviceNotRecorded { why } => why.clone(),
            policy::Verdict::InternalExcluded => "internal calls are excluded".to_owned(),
            policy::Verdict::Excluded { rule } => rule.clone(),
        };
        let steps = judgement.asked().map(|(rule, fact, answer)| (rule.into(), fact.into(), answer.into()));
        Ok(Answer { is_recorded: judgement.verdict.is_record(), verdict, steps: steps.collect() })
    }

    fn seen(&self, archive: &Archive, since: Option<Timestamp>) -> Result<SeenExtensions, RulesError> {
        let book = match archive.book()? {
            Some(book) => parsed(&book.text)?,
            None => self.now().0,
        };
        let _one_at_a_time = self.look()?;
        Ok(seen::extensions(archive, &book.record, since)?)
    }

    fn put(&self, archive: &Archive, change: BookChange) -> Result<BookVersion, RulesError> {
        let (book, ruling) = self.meant(&change.text)?;
        let text = book.text().map_err(failed)?;
        put(archive, &ruling, BookChange { text, ..change })
    }

    fn presets(&self) -> Vec<Preset> {
        let preset = |preset: crate::presets::Preset| Preset {
            name: preset.name,
            of: preset.of,
            ranges: preset.ranges,
        };
        PRESETS.map(preset).into()
    }

    fn plan(&self, archive: &Archive) -> Result<Planned, RulesError> {
        let _one_at_a_time = self.look()?;
        let version = archive.book_version()?;
        let in_force = self.in_force(archive).map_err(failed)?.retention;
        let plan = in_force.take_up(archive, Take::Look).map_err(failed)?.plan()?;
        let rules = in_force.rules.rules().iter().map(sections::keep_line).collect();
        Ok(Planned { rules, grace: in_force.grace.to_string(), version, plan })
    }

    fn prune(&self, archive: &Archive, seen: Seen) -> Result<Pruned, NotPruned> {
        let _one_at_a_time = self.look()?;
        let in_force = self.in_force(archive).map_err(failed)?.retention;
        prune(archive, &in_force, seen)
    }

    fn confirm_clock(&self, archive: &Archive, who: &str, at: Timestamp) -> Result<(), RulesError> {
        let in_force = self.in_force(archive).map_err(failed)?.retention;
        let mut retention = in_force.take_up(archive, Take::InForce).map_err(failed)?;
        Ok(retention.confirm_clock(who, at)?)
    }
}

/// Carries out what was seen, and nothing else: what became due since then waits, and anything else that is not as it was asks for a new
/// look.
fn prune(archive: &Archive, in_force: &Retention, seen: Seen) -> Result<Pruned, NotPruned> {
    if archive.book_version()? != seen.version {
        return Err(NotPruned::Changed);
    }
    let retention = in_force.take_up(archive, Take::InForce).map_err(failed)?;
    let mut plan = retention.plan()?;
    if let Some(freeze) = plan.freeze {
        return Err(NotPruned::Frozen(freeze));
    }
    plan.items.retain(|item| item.due_since <= seen.at);
    if plan.items.len() != seen.deletions || digest(&plan) != seen.digest {
        return Err(NotPruned::Changed);
    }
    let consent = if seen.more_than_half { Consent::MoreThanHalf } else { Consent::Ordinary };
    let approved = plan.approve(consent).map_err(NotPruned::MoreThanHalf)?;
    Ok(retention.carry_out(&approved, |_, _| {})?)
}

fn tried(call: &trial::Difference<'_>) -> TriedCall {
    TriedCall {
        call: call.call.to_owned(),
        started: call.started,
        from: call.from.to_owned(),
        to: call.to.to_owned(),
        was: call.outcome,
        was_reason: call.reason.to_owned(),
        would: call.would,
        would_reason: call.would_reason.to_owned(),
        by_channels: call.by_channels,
        not_known: call.not_known.iter().map(|what| what.words()).collect(),
        recordings: call.recordings.to_vec(),
    }
}

/// What rules can ask of a call that was not seen.
fn facts(rules: &policy::Rules, question: &Question) -> SegmentFacts {
    let Question { extension, other, direction, ddi, source, at } = question;
    let site = &rules.site;
    let outside = (*direction != policy::Direction::Internal && !other.is_empty())
        .then(|| site.clean_outside(other, *direction));
    let mut facts = SegmentFacts {
        extension: extension.clone(),
        other_party: other.clone(),
        outside_e164: outside.as_deref().and_then(|number| site.e164(number)),
        outside_number: outside,
        direction: *direction,
        ddi: (!ddi.is_empty()).then(|| site.clean_ddi(ddi)),
        account_code: None,
        agent: None,
        hunt_group: None,
        trunk: None,
        who: policy::Who::default(),
        named_unit: None,
        ddi_name: None,
        contact: None,
        transferred_from: None,
        other_party_name: None,
        tags: Default::default(),
        fields: Default::default(),
        source: *source,
        started: *at,
    };
    rules.people.tell(&mut facts, *at);
    facts
}
