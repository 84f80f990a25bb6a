//! `/rules/text` and `/rules/review`: what a change would mean, and putting it in force.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use decode::Timestamp;
use store::{Archive, BOOK_WHY_MAX, BookChange};

use super::draft::{Change, Draft, Field, text_of};
use super::{InForce, Made, rights, words_of};
use crate::rules::{Difference, RuleBook, RulesError, Trial, TriedCall, Wrong};
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::form::Form;
use crate::server::frame::{Frame, Page, page_with};
use crate::server::refusal::Refusal;
use crate::server::zone::Moment;
use crate::words;

/// Days that a change is tried on, first those that nobody has chosen.
const DAYS: [u32; 4] = [7, 1, 30, 90];
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Differences shown; the text has all.
const LINES_MAX: usize = 500;

/// A line of a comparison: what came, went, or is another.
pub(super) struct Line {
    pub(super) sign: char,
    pub(super) text: String,
}

pub(super) fn lines(differences: &[Difference]) -> Vec<Line> {
    let line = |difference: &Difference| {
        let (sign, text) = difference.line.split_once(' ').unwrap_or(("~", &difference.line));
        Line { sign: sign.chars().next().unwrap_or('~'), text: text.to_owned() }
    };
    differences.iter().take(LINES_MAX).map(line).collect()
}

/// From when on calls are tried, of the last days.
fn days_before(now: Timestamp, days: u32) -> Timestamp {
    now.plus_millis(-i64::from(days) * DAY_MS)
}

/// The same for who chooses none.
pub(in crate::server) fn since(now: Timestamp) -> Timestamp {
    days_before(now, DAYS[0])
}

/// Somebody else has put a version in force meanwhile.
struct Meanwhile {
    made: Option<Made>,
    from: u64,
    /// What they changed, as far as it is for these eyes.
    theirs: Vec<Line>,
    /// What was to be changed, where it cannot be made any more.
    yours: Vec<Line>,
}

struct Turn {
    was: String,
    would: String,
    count: u64,
}

struct Call {
    started: Moment,
    who: String,
    was: String,
    was_reason: String,
    would: String,
    would_reason: String,
    by_channels: bool,
}

struct Tried {
    calls: u64,
    changed: u64,
    not_judged: u64,
    not_known: Vec<(&'static str, u64)>,
    turns: Vec<Turn>,
    /// For who may see all calls.
    list: Vec<Call>,
    more: u64,
    due_then: u64,
    kept_then: u64,
    due_otherwise: u64,
}

struct Days {
    days: u32,
    is_chosen: bool,
}

#[derive(askama::Template)]
#[template(path = "rules_review.html")]
struct Review {
    frame: Frame,
    from: u64,
    next: u64,
    /// What is wrong; nothing can be put in force.
    wrong: String,
    /// The line that is to blame, as it stands.
    wrong_line: String,
    meanwhile: Option<Meanwhile>,
    changes: Vec<Line>,
    more_changes: usize,
    tried: Option<Tried>,
    /// Why nothing was tried.
    untried: String,
    days: Vec<Days>,
    day: u32,
    fields: Vec<Field>,
    /// The whole text, where that is what is edited.
    text: Option<String>,
    is_first_look: bool,
    why: String,
    why_missing: bool,
    /// Where it came from, and where leaving it leads.
    page: &'static str,
}

/// `GET /rules/text`: the whole text, to be changed.
pub(in crate::server) async fn text(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    let rules = app.rules()?.clone();
    if !rights::may_whole(&asker) {
        return Err(Refusal::NoPage);
    }
    let in_force = app.read(move |archive| Ok(InForce::of(archive, &*rules)?)).await?;
    let review = Review {
        text: Some(in_force.text),
        is_first_look: true,
        ..Review::new(app.frame(&asker, Page::At("/rules"), "Rule book"), in_force.version, DAYS[0])
    };
    page_with(StatusCode::OK, &review)
}

/// `GET /rules/review`: nothing is under review.
pub(in crate::server) async fn back(_: Asker) -> Redirect {
    Redirect::to("/rules")
}

/// `POST /rules/review`: shows what a change would mean; with `do=put` it is put in force.
pub(in crate::server) async fn review(
    State(app): State<App>,
    asker: Asker,
    form: Form,
) -> Result<Response, Refusal> {
    let rules = app.rules()?.clone();
    if !rights::may_any(&asker) {
        return Err(Refusal::NoPage);
    }
    let day = form.text("days").parse().ok().filter(|days| DAYS.contains(days)).unwrap_or(DAYS[0]);
    let frame = app.frame(&asker, Page::At("/rules"), "Review");
    let why: String = form.text("why").to_owned();
    let draft = match Draft::of(&form, &rules.presets()) {
        Ok(draft) => draft,
        Err((fields, from, wrong)) => {
            let review = Review { fields, wrong: wrong.what, why, ..Review::new(frame, from, day) };
            return page_with(StatusCode::UNPROCESSABLE_ENTITY, &review);
        }
    };
    draft.need(&asker)?;
    let asked = Asked {
        is_put: form.text("do") == "put",
        since: days_before(app.now(), day),
        now: app.now(),
        why: why.clone(),
        asker: asker.clone(),
    };
    let whole = matches!(draft.change, Change::Text(_)).then(|| text_of(&form));
    let (draft, done) = app
        .read(move |archive| {
            let done = asked.done(archive, &rules, &draft)?;
            Ok((draft, done))
        })
        .await?;
    let looked = match done {
        Done::Put => return Ok(Redirect::to(draft.page()).into_response()),
        Done::Looked(looked) => *looked,
    };
    let is_well = looked.wrong.is_none() && looked.meanwhile.is_none() && !looked.why_missing;
    let status = if is_well { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let review = Review {
        wrong: looked.wrong.as_ref().map(words_of).unwrap_or_default(),
        wrong_line: looked.wrong.as_ref().map(|wrong| blamed(wrong, whole.as_deref())).unwrap_or_default(),
        meanwhile: looked.meanwhile.map(|meanwhile| Meanwhile {
            made: meanwhile.by.as_ref().map(|book| Made::of(book, app.zone())),
            from: draft.from,
            theirs: lines(&meanwhile.theirs),
            yours: lines(&meanwhile.yours),
        }),
        changes: lines(&looked.changes),
        more_changes: looked.changes.len().saturating_sub(LINES_MAX),
        tried: looked.trial.map(|trial| tried(&app, trial)),
        untried: looked.untried,
        page: draft.page(),
        fields: draft.fields,
        text: whole,
        why,
        why_missing: looked.why_missing,
        ..Review::new(frame, looked.version, day)
    };
    page_with(status, &review)
}

impl Review {
    fn new(frame: Frame, from: u64, day: u32) -> Review {
        let days = DAYS.map(|days| Days { days, is_chosen: days == day });
        Review {
            frame,
            from,
            next: from.saturating_add(1),
            wrong: String::new(),
            wrong_line: String::new(),
            meanwhile: None,
            changes: Vec::new(),
            more_changes: 0,
            tried: None,
            untried: String::new(),
            days: days.into(),
            day,
            fields: Vec::new(),
            text: None,
            is_first_look: false,
            why: String::new(),
            why_missing: false,
            page: "/rules",
        }
    }

    /// May it be put in force as it is?
    fn is_ready(&self) -> bool {
        self.wrong.is_empty() && (!self.changes.is_empty() || self.from == 0) && !self.is_first_look
    }
}

/// The line of a text that is to blame.
fn blamed(wrong: &Wrong, text: Option<&str>) -> String {
    let line = wrong.place.zip(text).and_then(|((line, _), text)| text.lines().nth(line.checked_sub(1)?));
    line.unwrap_or_default().trim().to_owned()
}

/// What is asked for, on a thread that may wait.
#[derive(Clone)]
struct Asked {
    is_put: bool,
    since: Timestamp,
    now: Timestamp,
    why: String,
    asker: Asker,
}

enum Done {
    Put,
    Looked(Box<Looked>),
}

#[derive(Default)]
struct Looked {
    /// The version in force.
    version: u64,
    wrong: Option<Wrong>,
    meanwhile: Option<Changed>,
    changes: Vec<Difference>,
    trial: Option<Trial>,
    /// Why there is none.
    untried: String,
    why_missing: bool,
}

/// What somebody else has changed meanwhile.
struct Changed {
    by: Option<store::BookVersion>,
    theirs: Vec<Difference>,
    yours: Vec<Difference>,
}

impl Asked {
    fn done(&self, archive: &Archive, rules: &Arc<dyn RuleBook>, draft: &Draft) -> Result<Done, Refusal> {
        let in_force = InForce::of(archive, &**rules)?;
        let mut looked = Looked { version: in_force.version, ..Looked::default() };
        if in_force.version != draft.from {
            looked.meanwhile = Some(self.meanwhile(archive, &**rules, draft, &in_force)?);
        }
        let text = draft.text(&**rules, archive, &in_force.text);
        let text = match text.and_then(|text| rules.check(&text)) {
            Ok(text) => text,
            Err(RulesError::Wrong(wrong)) => {
                looked.wrong = Some(wrong);
                return Ok(Done::Looked(Box::new(looked)));
            }
            Err(error) => return Err(error.into()),
        };
        // A book that cannot be read any more can be replaced all the same, by whoever may have all of it.
        let changes = match rules.compare(&in_force.text, &text) {
            Ok(changes) => changes,
            Err(RulesError::Wrong(_)) if rights::may_whole(&self.asker) => rules.compare("", &text)?,
            Err(error) => return Err(error.into()),
        };
        if !changes.iter().all(|difference| rights::may(&self.asker, difference)) {
            return Err(Refusal::NoPage);
        }
        if self.is_put && looked.meanwhile.is_none() {
            if !self.why.is_empty() && self.why.len() <= BOOK_WHY_MAX {
                return self.put(archive, rules, draft, text);
            }
            looked.why_missing = true;
        }
        looked.changes = changes;
        if self.asker.sees_all_calls() {
            match rules.try_on(archive, &text, self.since, None) {
                Ok(trial) => looked.trial = Some(trial),
                Err(RulesError::Wrong(wrong)) => looked.untried = format!("Not tried: {wrong}."),
                Err(RulesError::Busy) => looked.untried = format!("Not tried: {}.", RulesError::Busy),
                Err(error) => return Err(error.into()),
            }
        } else {
            // Its figures tell of calls, whoever they are of.
            looked.untried = "What it would have changed is shown to who may see all calls.".to_owned();
        }
        Ok(Done::Looked(Box::new(looked)))
    }

    fn put(
        &self,
        archive: &Archive,
        rules: &Arc<dyn RuleBook>,
        draft: &Draft,
        text: String,
    ) -> Result<Done, Refusal> {
        let change = BookChange {
            from: draft.from,
            at: self.now,
            who: self.asker.caller.name().to_owned(),
            why: self.why.clone(),
            restores: draft.restores(),
            text,
        };
        match rules.put(archive, change) {
            Ok(_) => Ok(Done::Put),
            // Somebody was quicker by a moment.
            Err(RulesError::Store(store::Error::Refused { .. })) if archive.book_version()? != draft.from => {
                Asked { is_put: false, ..self.clone() }.done(archive, rules, draft)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What was changed since the draft was begun, and what it was to change.
    fn meanwhile(
        &self,
        archive: &Archive,
        rules: &dyn RuleBook,
        draft: &Draft,
        in_force: &InForce,
    ) -> Result<Changed, Refusal> {
        let base = match draft.from {
            0 => Some(rules.configured()?),
            from => archive.book_versions()?.into_iter().find(|old| old.version == from).map(|old| old.text),
        };
        let compared = |new: Result<String, RulesError>| {
            let differences =
                base.as_ref().zip(new.ok()).and_then(|(base, new)| rules.compare(base, &new).ok());
            let seen = differences.unwrap_or_default().into_iter();
            seen.filter(|difference| rights::may(&self.asker, difference)).collect::<Vec<_>>()
        };
        let yours = base.as_ref().map(|base| compared(draft.text(rules, archive, base)));
        Ok(Changed {
            by: in_force.book.clone(),
            theirs: compared(Ok(in_force.text.clone())),
            yours: yours.unwrap_or_default(),
        })
    }
}

fn tried(app: &App, trial: Trial) -> Tried {
    let changed = trial.changed();
    let turn = |(was, would, count): &(policy::Outcome, policy::Outcome, u64)| Turn {
        was: words::outcome(*was),
        would: words::outcome(*would),
        count: *count,
    };
    let call = |call: &TriedCall| Call {
        started: app.zone().moment(call.started),
        who: format!("{} → {}", call.from, call.to),
        was: words::outcome(call.was),
        was_reason: call.was_reason.clone(),
        would: words::outcome(call.would),
        would_reason: call.would_reason.clone(),
        by_channels: call.by_channels,
    };
    let list: Vec<Call> = trial.list.iter().map(call).collect();
    Tried {
        calls: trial.calls,
        changed,
        not_judged: trial.not_judged,
        not_known: trial.not_known.clone(),
        turns: trial.turns.iter().map(turn).collect(),
        more: changed.saturating_sub(list.len() as u64),
        list,
        due_then: trial.due_then,
        kept_then: trial.kept_then,
        due_otherwise: trial.due_otherwise,
    }
}
