//! `/retention`: what the rules would delete now and what holds it back, carrying that out, and confirming the clock.
//!
//! Nothing is deleted without a word that somebody typed: the number of deletions that were shown, and where more than half would go,
//! that it may. What became due since the page was made waits.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use decode::Timestamp;
use policy::Permission;
use policy::retention::{HeldBack, Plan, Tally};
use store::{AccessEvent, Archive, Kept, Pruned, RecordingId, Row};

use super::App;
use super::caller::Asker;
use super::escape::brief;
use super::form::Form;
use super::frame::{Frame, Page, page_with};
use super::recordings::columns::short_length;
use super::recordings::title;
use super::refusal::Refusal;
use super::zone::{Moment, Zone};
use crate::rules::{KeepLine, NotPruned, Planned, RulesError, Seen, digest};
use crate::words;

/// Recordings that are due, named one by one; more are counted.
const LISTED_MAX: usize = 100;
/// What is typed where more than half would go.
const MORE_THAN_HALF: &str = "more than half";

struct RuleRow {
    rule: KeepLine,
    recordings: u64,
    size: String,
    data: u64,
}

/// What something keeps that is due by the rules.
struct Back {
    by: &'static str,
    until: String,
    recordings: u64,
    size: String,
    data: u64,
}

/// A recording that is due.
struct Due {
    id: RecordingId,
    started: Moment,
    title: String,
    length: String,
    what: String,
    why: String,
    since: Moment,
}

#[derive(askama::Template)]
#[template(path = "retention.html")]
struct Shown {
    frame: Frame,
    said: String,
    wrong: String,
    rules: Vec<RuleRow>,
    grace: String,
    version: u64,
    frozen: String,
    /// What the clock shows, for programs and people, and the day that is typed.
    at: Moment,
    at_ns: i64,
    today: String,
    deletions: usize,
    digest: String,
    left_over: u64,
    takes: (u64, String, u64),
    seen: (u64, String, u64),
    running: u64,
    back: Vec<Back>,
    list: Vec<Due>,
    more: usize,
    half: String,
}

/// `GET /retention`.
pub(super) async fn retention(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    app.retention(&asker, String::new(), String::new()).await
}

/// `POST /retention`: what its buttons say.
pub(super) async fn act(State(app): State<App>, asker: Asker, form: Form) -> Result<Response, Refusal> {
    asker.need(Permission::Retention)?;
    app.rules()?;
    let at = form.text("at").parse().map(Timestamp::from_nanos).map_err(|_| Refusal::WrongQuery)?;
    match form.text("do") {
        "clock" => {
            if form.text("confirm") != day(app.zone(), at) {
                let why = "Type the day as it is shown, if that and the time are right. Nothing was changed.";
                return app.retention(&asker, String::new(), why.to_owned()).await;
            }
            app.confirm_clock(&asker, at).await??;
            let said = "The time is confirmed. The grace of the rules runs anew.".to_owned();
            app.retention(&asker, said, String::new()).await
        }
        "prune" => {
            let seen = match seen(&form, at) {
                Ok(seen) => seen,
                Err(why) => return app.retention(&asker, String::new(), why).await,
            };
            let (said, wrong) = match app.prune(&asker, seen).await? {
                Ok(pruned) => (done(&pruned), String::new()),
                Err(NotPruned::Rules(error)) => return Err(error.into()),
                Err(refused) => {
                    (String::new(), format!("Nothing was deleted: {refused}. Look at what is shown now."))
                }
            };
            app.retention(&asker, said, wrong).await
        }
        _ => Err(Refusal::WrongQuery),
    }
}

/// What somebody has seen, if they typed what says so.
fn seen(form: &Form, at: Timestamp) -> Result<Seen, String> {
    let number = |name: &str| form.text(name).parse::<u64>().ok();
    let (Some(deletions), Some(version)) = (number("deletions"), number("version")) else {
        return Err("The form is not one of ours. Nothing was deleted.".to_owned());
    };
    if form.text("confirm") != deletions.to_string() {
        return Err(format!("Type the number {deletions} to go on. Nothing was deleted."));
    }
    let more_than_half = form.text("half").to_lowercase() == MORE_THAN_HALF;
    let deletions = usize::try_from(deletions).unwrap_or(usize::MAX);
    let digest = form.text("digest").to_owned();
    Ok(Seen { at, version, deletions, digest, more_than_half })
}

fn done(pruned: &Pruned) -> String {
    let Pruned { audio, data, lines, failed, spared } = pruned;
    let mut said = format!(
        "Deleted: the audio of {audio} recordings, the data of {data}; {lines} lines of the ledger were blanked."
    );
    if *spared > 0 {
        said.push_str(&format!(" {spared} were spared: something came up since."));
    }
    if *failed > 0 {
        said.push_str(&format!(" {failed} could not be deleted: the recorder’s log says why."));
    }
    said
}

/// The day that a clock shows.
fn day(zone: &Zone, at: Timestamp) -> String {
    zone.zoned(at).strftime("%Y-%m-%d").to_string()
}

impl App {
    /// Deletes what somebody has seen and says yes to; the trail has it before.
    pub(super) async fn prune(
        &self,
        asker: &Asker,
        seen: Seen,
    ) -> Result<Result<Pruned, NotPruned>, Refusal> {
        let rules = self.rules()?.clone();
        let deletions = u64::try_from(seen.deletions).unwrap_or(u64::MAX);
        let more_than_half = seen.more_than_half;
        self.note(asker, AccessEvent::Pruned { deletions, more_than_half }).await?;
        self.read(move |archive| Ok(rules.prune(archive, seen))).await
    }

    /// Somebody says that the clock is right.
    pub(super) async fn confirm_clock(
        &self,
        asker: &Asker,
        at: Timestamp,
    ) -> Result<Result<(), RulesError>, Refusal> {
        let (rules, who) = (self.rules()?.clone(), asker.caller.name().to_owned());
        self.read(move |archive| Ok(rules.confirm_clock(archive, &who, at))).await
    }

    /// What is due, and the rows of the first that are for these eyes, each with its place in the plan.
    pub(super) async fn due(
        &self,
        asker: &Asker,
    ) -> Result<Result<(Planned, Vec<(usize, Row)>), RulesError>, Refusal> {
        let (rules, who) = (self.rules()?.clone(), asker.clone());
        self.read(move |archive| {
            let planned = match rules.plan(archive) {
                Ok(planned) => planned,
                Err(error) => return Ok(Err(error)),
            };
            let rows = named(archive, &who, &planned.plan)?;
            Ok(Ok((planned, rows)))
        })
        .await
    }

    async fn retention(&self, asker: &Asker, said: String, wrong: String) -> Result<Response, Refusal> {
        asker.need(Permission::Retention)?;
        let (planned, rows) = self.due(asker).await??;
        let status = if wrong.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
        page_with(status, &self.planned(asker, planned, &rows, said, wrong))
    }

    fn planned(
        &self,
        asker: &Asker,
        planned: Planned,
        rows: &[(usize, Row)],
        said: String,
        wrong: String,
    ) -> Shown {
        let Planned { rules, grace, version, plan } = planned;
        let zone = self.zone();
        let figures = |tally: &Tally| (tally.audio, words::size(tally.bytes), tally.data);
        let rules = rules.into_iter().enumerate().map(|(place, rule)| {
            let takes = plan.by_rule.get(place).map(|by| by.takes).unwrap_or_default();
            RuleRow { rule, recordings: takes.audio, size: words::size(takes.bytes), data: takes.data }
        });
        let list: Vec<Due> = rows.iter().filter_map(|(place, row)| due(zone, &plan, *place, row)).collect();
        Shown {
            frame: self.frame(asker, Page::At("/retention"), "Retention"),
            said,
            wrong,
            rules: rules.collect(),
            grace,
            version,
            frozen: plan.freeze.map_or(String::new(), |freeze| freeze.to_string()),
            at: zone.moment(plan.at),
            at_ns: plan.at.as_nanos(),
            today: day(zone, plan.at),
            deletions: plan.items.len(),
            digest: digest(&plan),
            left_over: plan.left_over,
            takes: figures(&plan.takes),
            seen: figures(&plan.seen),
            running: plan.running,
            back: back(zone, &plan.held_back),
            more: plan.items.len().saturating_sub(list.len()),
            list,
            half: plan.more_than_half().map_or(String::new(), |half| {
                format!("{} of the recordings, {} of the call data", half.recordings, half.data)
            }),
        }
    }
}

/// The first that are due, as far as they are for these eyes: with their place in the plan.
fn named(archive: &Archive, asker: &Asker, plan: &Plan<Kept>) -> Result<Vec<(usize, Row)>, Refusal> {
    let mut rows = Vec::new();
    for (place, item) in plan.items.iter().enumerate().take(LISTED_MAX) {
        let Kept::Recording(id) = item.id else { continue };
        match archive.row(id) {
            Ok(row) if asker.caller.admits(&row) => rows.push((place, row)),
            Ok(_) | Err(store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(rows)
}

fn due(zone: &Zone, plan: &Plan<Kept>, place: usize, row: &Row) -> Option<Due> {
    let item = plan.items.get(place)?;
    let rule = plan.by_rule.get(usize::from(item.rule)).map(|rule| rule.name.as_str());
    Some(Due {
        id: row.facts.id,
        started: zone.moment(row.facts.started),
        title: title(row),
        length: short_length(row.facts.duration_ms),
        what: match (item.decision.takes_audio(), item.decision.takes_data()) {
            (true, true) => "audio and data",
            (true, false) => "audio",
            _ => "data",
        }
        .to_owned(),
        why: brief(rule.unwrap_or_default()).into_owned(),
        since: zone.moment(item.due_since),
    })
}

fn back(zone: &Zone, held: &HeldBack) -> Vec<Back> {
    let HeldBack { holds, freeze, grace, grace_first, grace_last } = held;
    let until = match (grace_first, grace_last) {
        (Some(first), Some(last)) if first == last => zone.moment(*first).full,
        (Some(first), Some(last)) => format!("{} to {}", zone.moment(*first).full, zone.moment(*last).full),
        _ => String::new(),
    };
    let all = [
        ("Legal holds", holds, "released".to_owned()),
        ("The clock, which is in doubt", freeze, "somebody confirms the time".to_owned()),
        ("The grace of new rules", grace, until),
    ];
    let is_any = |tally: &Tally| *tally != Tally::default();
    let kept = all.into_iter().filter(|(_, tally, _)| is_any(tally));
    kept.map(|(by, tally, until)| Back {
        by,
        until,
        recordings: tally.audio,
        size: words::size(tally.bytes),
        data: tally.data,
    })
    .collect()
}
