//! `/calls`: the balance sheet. Every call that was seen, by what became of it, and those that were not recorded with the reason.

use std::collections::BTreeMap;

use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use decode::Timestamp;
use store::{Archive, CallRow, Counters, Outcome, RecordingId};

use super::App;
use super::caller::Asker;
use super::escape::brief;
use super::frame::{Frame, Page, page};
use super::recordings::columns::short_length;
use super::refusal::Refusal;
use super::zone::{Moment, Range};
use crate::words;

/// Calls on the page.
const LISTED_MAX: usize = 200;
/// Calls in a file.
const FILE_MAX: usize = 100_000;
/// Recordings named of one call.
const RECORDINGS_MAX: usize = 20;

struct Line {
    outcome: &'static str,
    words: String,
    count: u64,
    share: String,
    href: String,
    /// Something that somebody should look at.
    is_trouble: bool,
    is_current: bool,
}

struct Seen {
    started: Moment,
    from: String,
    to: String,
    length: String,
    outcome: String,
    is_trouble: bool,
    reason: String,
    why: Vec<String>,
    recordings: Vec<RecordingId>,
}

struct Preset {
    label: &'static str,
    href: String,
    is_current: bool,
}

/// Something to look at.
struct Trouble {
    what: String,
    advice: &'static str,
    href: String,
}

#[derive(askama::Template)]
#[template(path = "calls.html")]
struct Shown {
    frame: Frame,
    presets: Vec<Preset>,
    lines: Vec<Line>,
    seen: u64,
    troubles: Vec<Trouble>,
    counters: String,
    unreadable: u64,
    heading: String,
    calls: Vec<Seen>,
    more: usize,
    csv: String,
}

/// What an address asks for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    range: Range,
    outcome: Option<Outcome>,
}

impl Asked {
    fn parse(query: &str) -> Asked {
        let mut asked = Asked { range: Range::Today, outcome: None };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "range" => asked.range = Range::of_key(&value).unwrap_or(Range::Today),
                "outcome" => asked.outcome = Outcome::ALL.into_iter().find(|outcome| outcome.key() == value),
                _ => {}
            }
        }
        asked
    }

    fn address(self, path: &str) -> String {
        let outcome = self.outcome.map_or(String::new(), |outcome| format!("&outcome={}", outcome.key()));
        format!("{path}?range={}{outcome}", self.range)
    }
}

/// The sums, and some of the calls.
#[derive(Default)]
pub(super) struct Sheet {
    pub(super) outcomes: BTreeMap<Outcome, u64>,
    pub(super) counters: Counters,
    /// Those that began last, by their start and their line in the ledger's file of that month.
    pub(super) latest: BTreeMap<(Timestamp, u64), CallRow>,
    meant: usize,
    pub(super) unreadable: u64,
}

/// Which calls are listed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed {
    /// So many, those that began last.
    pub(super) most: usize,
    /// That stand before this place.
    pub(super) before: Option<(Timestamp, u64)>,
    /// That ended so.
    pub(super) outcome: Option<Outcome>,
    /// Where no outcome is asked for: those of which there is a recording, too.
    pub(super) with_recorded: bool,
}

impl Listed {
    fn means(&self, place: (Timestamp, u64), row: &CallRow) -> bool {
        let is_asked = match self.outcome {
            Some(outcome) => outcome == row.outcome,
            None => self.with_recorded || row.recordings.is_empty(),
        };
        is_asked && self.before.is_none_or(|before| place < before)
    }
}

/// Its numbers are those of all calls: for whoever may see all of them.
fn need_all(asker: &Asker) -> Result<(), Refusal> {
    if asker.sees_all_calls() { Ok(()) } else { Err(Refusal::NoPage) }
}

impl Asker {
    /// Is no call kept from them, with a recording or without?
    pub(super) fn sees_all_calls(&self) -> bool {
        self.caller.sees_all()
    }
}

/// `GET /calls`.
pub(super) async fn calls(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    need_all(&asker)?;
    let asked = Asked::parse(&query.unwrap_or_default());
    let sheet = asked_sheet(&app, asked, LISTED_MAX).await?;
    let seen: u64 = sheet.outcomes.values().sum();
    let line = |(outcome, count): (&Outcome, &u64)| Line {
        outcome: outcome.key(),
        words: words::outcome(*outcome),
        count: *count,
        share: format!("{:.1} %", 100.0 * *count as f64 / seen.max(1) as f64),
        href: Asked { outcome: Some(*outcome), ..asked }.address("/calls"),
        is_trouble: advice(*outcome).is_some(),
        is_current: asked.outcome == Some(*outcome),
    };
    let trouble = |(outcome, count): (&Outcome, &u64)| {
        Some(Trouble {
            what: format!("{count} calls: {}", words::outcome(*outcome)),
            advice: advice(*outcome)?,
            href: Asked { outcome: Some(*outcome), ..asked }.address("/calls"),
        })
    };
    let shown = Shown {
        frame: app.frame(&asker, Page::Calls, "Calls"),
        presets: Range::ALL
            .into_iter()
            .filter(|range| *range != Range::Custom)
            .map(|range| Preset {
                label: range.label(),
                href: Asked { range, ..asked }.address("/calls"),
                is_current: range == asked.range,
            })
            .collect(),
        lines: sheet.outcomes.iter().map(line).collect(),
        seen,
        troubles: sheet.outcomes.iter().filter_map(trouble).collect(),
        counters: words::counters(&sheet.counters),
        unreadable: sheet.unreadable,
        heading: match asked.outcome {
            Some(outcome) => format!("Calls: {}", words::outcome(outcome)),
            None => "Not recorded".to_owned(),
        },
        more: sheet.meant.saturating_sub(sheet.latest.len()),
        calls: sheet.latest.values().rev().map(|row| line_of(&app, row)).collect(),
        csv: asked.address("/calls.csv"),
    };
    page(&shown)
}

fn line_of(app: &App, row: &CallRow) -> Seen {
    let length = row.ended.map_or(0, |ended| ended.millis_since(row.started));
    Seen {
        started: app.zone().moment(row.started),
        from: brief(&row.from).into_owned(),
        to: brief(&row.to).into_owned(),
        length: short_length(length),
        outcome: words::outcome(row.outcome),
        is_trouble: advice(row.outcome).is_some(),
        reason: brief(&row.reason).into_owned(),
        why: row.why.iter().map(|step| brief(&step.to_string()).into_owned()).collect(),
        recordings: row.recordings.iter().take(RECORDINGS_MAX).copied().collect(),
    }
}

/// What to do about calls that should have been recorded; none where all is as it was wanted.
pub(super) fn advice(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::NoMedia => Some("They were answered, and no audio came by: is that network mirrored, too?"),
        Outcome::Undecryptable => Some(
            "The phones encrypt with keys that were not seen: give the recorder the key log, or have the PBX offer keys in SDP.",
        ),
        Outcome::Malformed => {
            Some("Their signalling could not be followed: “earwitness replay” of a capture tells more.")
        }
        Outcome::NoChannel => Some("More calls than channels: raise the limit, or leave devices out."),
        _ => None,
    }
}

async fn asked_sheet(app: &App, asked: Asked, most: usize) -> Result<Sheet, Refusal> {
    let (since, until) = asked.range.bounds(app.now(), app.zone());
    sheet(app, since, until, Listed { most, before: None, outcome: asked.outcome, with_recorded: false })
        .await
}

/// Adds up the calls that began in a stretch of time.
pub(super) async fn sheet(
    app: &App,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    listed: Listed,
) -> Result<Sheet, Refusal> {
    app.read(move |archive| add_up(archive, since, until, listed)).await
}

fn add_up(
    archive: &Archive,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    listed: Listed,
) -> Result<Sheet, Refusal> {
    let mut sheet = Sheet::default();
    for row in archive.calls_begun(since, until)? {
        let Ok((place, row)) = row else {
            sheet.unreadable += 1;
            continue;
        };
        *sheet.outcomes.entry(row.outcome).or_default() += 1;
        let place = (row.started, place);
        if listed.means(place, &row) {
            sheet.meant += 1;
            sheet.latest.insert(place, row);
            if sheet.latest.len() > listed.most {
                sheet.latest.pop_first();
            }
        }
    }
    for run in archive.runs()? {
        match run {
            Ok(run) => sheet.counters.add(&run.counters),
            Err(_) => sheet.unreadable += 1,
        }
    }
    Ok(sheet)
}

/// `GET /calls.csv`: the same calls for a spreadsheet (RFC 4180). A text that a spreadsheet would take for a formula is quoted away.
pub(super) async fn csv(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    need_all(&asker)?;
    let asked = Asked::parse(&query.unwrap_or_default());
    let sheet = asked_sheet(&app, asked, FILE_MAX).await?;
    app.note_table(&asker, "calls.csv", sheet.latest.len() as u64).await?;
    let mut text = "started,ended,from,to,outcome,reason,recordings\r\n".to_owned();
    for row in sheet.latest.values().rev() {
        let ended = row.ended.map_or(String::new(), |at| at.to_string());
        let recordings = row.recordings.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let cells = [
            row.started.to_string(),
            ended,
            row.from.clone(),
            row.to.clone(),
            row.outcome.key().to_owned(),
            row.reason.clone(),
            recordings,
        ];
        text.push_str(&cells.map(|text| quoted(&text)).join(","));
        text.push_str("\r\n");
    }
    let fields = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"calls.csv\""),
    ];
    Ok((fields, text).into_response())
}

/// A cell that is text and nothing else, also for a spreadsheet.
pub(super) fn quoted(text: &str) -> String {
    let is_number = text.strip_prefix('+').unwrap_or(text).bytes().all(|b| b.is_ascii_digit());
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number { "'" } else { "" };
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_no_formula_and_leaves_its_quotes_never() {
        assert_eq!(quoted("=cmd|' /C calc'!A0"), "\"'=cmd|' /C calc'!A0\"");
        assert_eq!(quoted("a\"b\r\nc"), "\"a\"\"b  c\"");
        assert_eq!(quoted("+441632960000"), "\"+441632960000\"");
        assert_eq!(quoted("+1+1"), "\"'+1+1\"");
    }

    #[test]
    fn an_address_reads_back() {
        let asked = Asked::parse("range=week&outcome=no_media");
        assert_eq!(asked.address("/calls"), "/calls?range=week&outcome=no_media");
        assert_eq!(Asked::parse("range=x&outcome=y").address("/calls"), "/calls?range=today");
    }
}
