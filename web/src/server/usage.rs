//! `/usage`: how many recordings ran at the same moment, of those that somebody sees (requirement row LIV-04).

use axum::extract::{RawQuery, State};
use axum::response::Response;
use decode::Timestamp;
use policy::Permission;

use super::App;
use super::caller::Asker;
use super::form::Form;
use super::frame::{Frame, Page, page};
use super::refusal::Refusal;
use super::zone::Moment;

/// Bars of a graph.
const STEPS: usize = 144;
/// Recordings that are counted for one graph; of more, the newest are.
const COUNTED_MAX: usize = 50_000;
/// Longer ones do not count at their end: what began before that is not looked for.
const LONGEST_MS: i64 = 12 * 3_600_000;
/// Height of the tallest bar, and width of one with the gap of 1 behind it, in units of the drawing.
const TALL: u64 = 100;
const WIDE: usize = 5;

/// How far a graph reaches back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Day,
    Week,
}

impl Span {
    pub(super) const ALL: [Span; 2] = [Span::Day, Span::Week];

    pub(super) const fn key(self) -> &'static str {
        match self {
            Span::Day => "day",
            Span::Week => "week",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Span::Day => "24 hours",
            Span::Week => "7 days",
        }
    }

    const fn step_ms(self) -> i64 {
        match self {
            Span::Day => 10 * 60_000,
            Span::Week => 70 * 60_000,
        }
    }

    /// The span that a query names; a day where it names none.
    pub(super) fn of(form: &Form) -> Option<Span> {
        match form.text("span") {
            "" => Some(Span::Day),
            key => Span::ALL.into_iter().find(|span| span.key() == key),
        }
    }
}

/// A graph.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) since: Timestamp,
    pub(super) step_ms: i64,
    /// The most at the same moment, in each step.
    pub(super) most: Vec<u32>,
    /// Recordings that were counted.
    pub(super) recordings: usize,
    /// There were more, which began before these.
    pub(super) is_cut: bool,
}

/// The most spans at the same moment, step by step. A span is its first moment and the first one behind it, in milliseconds.
fn most(spans: &[(i64, i64)], since: i64, step_ms: i64, steps: usize) -> Vec<u32> {
    let turns = spans.iter().flat_map(|&(from, to)| [(from, 1_i32), (to.max(from.saturating_add(1)), -1)]);
    let mut turns: Vec<(i64, i32)> = turns.collect();
    // At the same moment ends come first.
    turns.sort_unstable();
    let mut turns = turns.into_iter().peekable();
    let mut now = 0_i32;
    let mut begin = since;
    let mut step = || {
        // What ends as the step begins is none of it.
        while let Some((_, turn)) = turns.next_if(|&(at, turn)| at < begin || (at == begin && turn < 0)) {
            now += turn;
        }
        let mut most = now;
        begin = begin.saturating_add(step_ms);
        while let Some((_, turn)) = turns.next_if(|&(at, _)| at < begin) {
            now += turn;
            most = most.max(now);
        }
        u32::try_from(most).unwrap_or_default()
    };
    (0..steps).map(|_| step()).collect()
}

impl App {
    /// Counts.
    pub(super) async fn usage(&self, asker: &Asker, span: Span) -> Result<Usage, Refusal> {
        let now = self.now();
        let step_ms = span.step_ms();
        // Steps begin with the hour, as far as they can.
        let until = (now.as_millis() / step_ms + 1) * step_ms;
        let since = until - step_ms * STEPS as i64;
        let mut query = store::Query::default();
        query.seen_by = Some(asker.caller.clone());
        query.since = Some(Timestamp::from_millis(since - LONGEST_MS));
        query.until = Some(now);
        query.limit = Some(COUNTED_MAX + 1);
        self.read(move |archive| {
            let spans = archive.search(&query).map(|row| {
                let facts = row?.facts;
                let ended = facts.ended.unwrap_or(now);
                Ok((facts.started.as_millis(), ended.as_millis()))
            });
            let mut spans: Vec<(i64, i64)> = spans.collect::<Result<_, store::Error>>()?;
            let is_cut = spans.len() > COUNTED_MAX;
            spans.truncate(COUNTED_MAX);
            let recordings = spans.iter().filter(|(_, to)| *to >= since).count();
            let most = most(&spans, since, step_ms, STEPS);
            Ok(Usage { since: Timestamp::from_millis(since), step_ms, most, recordings, is_cut })
        })
        .await
    }
}

/// A bar, in units of the drawing.
#[derive(Debug, PartialEq, Eq)]
struct Bar {
    x: usize,
    y: u64,
    height: u64,
    /// When it is pointed at.
    says: String,
}

struct Hour {
    from: Moment,
    most: u32,
}

struct Choice {
    key: &'static str,
    label: &'static str,
    is_chosen: bool,
}

#[derive(askama::Template)]
#[template(path = "usage.html")]
struct Shown {
    frame: Frame,
    spans: Vec<Choice>,
    recordings: usize,
    is_cut: bool,
    counted_max: usize,
    /// The most of all.
    top: u32,
    top_at: Option<Moment>,
    bars: Vec<Bar>,
    width: usize,
    from: Moment,
    until: Moment,
    table: Vec<Hour>,
}

/// The bars of a graph.
fn bars(usage: &Usage, at: impl Fn(Timestamp) -> String) -> Vec<Bar> {
    let top = u64::from(usage.most.iter().copied().max().unwrap_or_default().max(1));
    let bar = |(step, (&most, from)): (usize, (&u32, Timestamp))| {
        let height = (u64::from(most) * TALL).div_ceil(top);
        Bar { x: step * WIDE, y: TALL - height, height, says: format!("{}: {most}", at(from)) }
    };
    usage.most.iter().zip(begins(usage)).enumerate().map(bar).collect()
}

/// When each step begins.
fn begins(usage: &Usage) -> impl Iterator<Item = Timestamp> + '_ {
    (0..).map(|step: i64| usage.since.plus_millis(step * usage.step_ms))
}

/// `GET /usage`.
pub(super) async fn usage(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    asker.need(Permission::LiveView)?;
    let span = Span::of(&Form::parse(&query.unwrap_or_default())).ok_or(Refusal::WrongQuery)?;
    let usage = app.usage(&asker, span).await?;
    let moment = |at| app.zone().moment(at);
    let top = usage.most.iter().copied().max().unwrap_or_default();
    let top_at = usage.most.iter().zip(begins(&usage)).find(|(most, _)| **most == top && top > 0);
    // As many rows as somebody reads: of each six steps the most.
    let table = usage.most.chunks(6).zip(begins(&usage).step_by(6)).map(|(steps, from)| Hour {
        from: moment(from),
        most: steps.iter().copied().max().unwrap_or_default(),
    });
    page(&Shown {
        frame: app.frame(&asker, Page::Live, "Usage"),
        spans: Span::ALL
            .map(|one| Choice { key: one.key(), label: one.label(), is_chosen: one == span })
            .into(),
        recordings: usage.recordings,
        is_cut: usage.is_cut,
        counted_max: COUNTED_MAX,
        top,
        top_at: top_at.map(|(_, at)| moment(at)),
        bars: bars(&usage, |at| app.zone().moment(at).short),
        width: STEPS * WIDE,
        from: moment(usage.since),
        until: moment(usage.since.plus_millis(usage.step_ms * STEPS as i64)),
        table: table.filter(|hour| hour.most > 0).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_of_a_step_counts_what_runs_into_it_and_nothing_twice() {
        let all = |spans: &[(i64, i64)]| most(spans, 100, 10, 4);
        assert_eq!(all(&[]), [0; 4]);
        assert_eq!(all(&[(0, 50)]), [0; 4], "over before it begins");
        assert_eq!(all(&[(0, 1_000)]), [1; 4]);
        assert_eq!(all(&[(105, 115)]), [1, 1, 0, 0]);
        // One ends as the next begins: never two.
        assert_eq!(all(&[(100, 110), (110, 120)]), [1, 1, 0, 0]);
        assert_eq!(all(&[(101, 109), (102, 105), (104, 106), (125, 125)]), [3, 0, 1, 0]);
        // What runs at the end of a step runs at the beginning of the next.
        assert_eq!(all(&[(100, 111), (105, 111)]), [2, 2, 0, 0]);
    }

    #[test]
    fn a_bar_is_as_tall_as_its_share_and_one_of_anything_is_seen() {
        let most = vec![0, 1, 300];
        let usage =
            Usage { since: Timestamp::from_millis(0), step_ms: 1, most, recordings: 0, is_cut: false };
        let drawn = bars(&usage, |at| at.as_millis().to_string());
        let bar = |x, height, says: &str| Bar { x, y: TALL - height, height, says: says.into() };
        assert_eq!(drawn, [bar(0, 0, "0: 0"), bar(5, 1, "1: 1"), bar(10, 100, "2: 300")]);
    }
}
