//! Tables and the balance sheet as people read them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};
use policy::Outcome;
use serde_json::{Map, Value};
use store::{CallRow, Counters, Row, SignatureState};
use web::rules::SeenExtension;
use web::words;

use crate::config::RecordedEntry;

/// Widest text of a cell that comes from a wire.
const CELL_MAX: usize = 32;

/// A table without lines, as wide as its content.
fn table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// A table of texts below their heading.
pub(crate) fn of<const N: usize>(heading: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = table();
    table.set_header(heading);
    table.add_rows(rows);
    finish(&table)
}

/// Rows of recordings that are laid out together, and columns that can then be told.
pub(crate) const ROWS_AT_ONCE: usize = 1000;

/// A table of recordings.
pub(crate) fn recordings(rows: &[Row]) -> String {
    Recordings::default().rows(rows)
}

/// A table of recordings of any length, laid out in parts: a column is as wide as any part so far needed it.
#[derive(Default)]
pub(crate) struct Recordings {
    widths: Vec<u16>,
}

impl Recordings {
    /// Has any part been laid out?
    pub(crate) fn is_begun(&self) -> bool {
        !self.widths.is_empty()
    }

    /// The next part; the first has the heading.
    pub(crate) fn rows(&mut self, rows: &[Row]) -> String {
        let mut table = table();
        if !self.is_begun() {
            let heading = [
                "RECORDING",
                "STARTED (UTC)",
                "",
                "EXTENSION",
                "OTHER PARTY",
                "LENGTH",
                "CODEC",
                "LOST",
                "STATE",
                "SIGNED",
            ];
            let named = words::named_fields().map(|field| cell(&words::field(field)));
            table.set_header(heading.into_iter().map(str::to_owned).chain(named));
        }
        table.add_rows(rows.iter().map(recording_cells));
        for (column, &width) in table.column_iter_mut().zip(&self.widths) {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
        }
        right_align(&mut table, &[5, 7]);
        let needed = table.column_max_content_widths();
        // Two more: the space at either side.
        let wider = |i: usize, needed: u16| self.widths.get(i).copied().unwrap_or(0).max(needed + 2);
        self.widths = needed.into_iter().enumerate().map(|(i, needed)| wider(i, needed)).collect();
        finish(&table)
    }
}

fn recording_cells(row: &Row) -> Vec<String> {
    let facts = &row.facts;
    let lost: u64 = facts.tracks.iter().map(|t| t.lost_network + t.lost_capture).sum();
    let mut codecs: Vec<&str> = facts.tracks.iter().map(|t| t.codec.name()).collect();
    codecs.dedup();
    let named = words::named_fields().map(|field| cell(facts.fields.of(field).unwrap_or_default()));
    let cells = [
        facts.id.to_string(),
        words::moment(facts.started),
        words::direction(facts.direction).0.to_owned(),
        cell(&words::named(&facts.extension, facts.extension_name.as_deref())),
        cell(&words::named(
            facts.other_party.as_deref().unwrap_or_default(),
            facts.other_party_name.as_deref(),
        )),
        words::length(facts.duration_ms),
        cell(&codecs.join("/")),
        // Of an interrupted recording nothing was counted; `archive show` counts.
        if facts.tracks.is_empty() { "-".to_owned() } else { lost.to_string() },
        row.deleted.as_ref().map_or(words::state(facts.state), |_| "deleted").to_owned(),
        row.deleted.as_ref().map_or(signature(row.signature), |_| "-").to_owned(),
    ];
    cells.into_iter().chain(named).collect()
}

/// A table of calls.
pub(crate) fn calls(rows: &[CallRow]) -> String {
    let mut table = table();
    table.set_header(["CALL", "STARTED (UTC)", "FROM", "TO", "OUTCOME", "REASON", "RECORDINGS"]);
    for row in rows {
        let recordings: Vec<String> = row.recordings.iter().map(ToString::to_string).collect();
        table.add_row(vec![
            row.call.clone(),
            words::moment(row.started),
            cell(&row.from),
            cell(&row.to),
            words::outcome(row.outcome),
            cell(&row.reason),
            recordings.join(" "),
        ]);
    }
    finish(&table)
}

/// How a call was judged, a line for each step.
pub(crate) fn why(row: &CallRow) -> String {
    let mut text = format!(
        "{}  {}  {} to {}: {}\n",
        row.call,
        words::moment(row.started),
        cell(&row.from),
        cell(&row.to),
        words::outcome(row.outcome)
    );
    for step in &row.why {
        let _ = writeln!(text, "{}", plain(&step.to_string()));
    }
    if row.why.is_empty() {
        text.push_str("  no steps are kept: no audio of it was judged, or an earlier version recorded it\n");
    }
    let _ = write!(text, "  because: {}", plain(&row.reason));
    text
}

/// The list of recorded devices.
pub(crate) fn devices(entries: &[&RecordedEntry]) -> String {
    let mut table = table();
    table.set_header(["NUMBER", "NAME", "MODE", "PRIORITY", "SOURCE", "ADDRESS"]);
    for entry in entries {
        let address = entry.ip.map(|ip| ip.to_string()).or_else(|| entry.mac.clone());
        table.add_row(vec![
            plain(&entry.number.to_string()),
            cell(&entry.name),
            entry.mode.key().to_owned(),
            entry.priority.map_or("5".to_owned(), |priority| priority.to_string()),
            entry.source.map_or("any", |source| source.key()).to_owned(),
            cell(&address.unwrap_or_default()),
        ]);
    }
    finish(&table)
}

/// Extensions that took part in calls.
pub(crate) fn seen(all: &[SeenExtension]) -> String {
    let mut table = table();
    table.set_header(["EXTENSION", "CALLS", "RECORDED", "LAST (UTC)", "ADDRESS", "ETHERNET", "LISTED"]);
    for seen in all {
        let addresses: Vec<String> = seen.ip.iter().map(ToString::to_string).collect();
        let listed = match &seen.entry {
            Some(entry) => plain(entry),
            None if seen.listed => "every extension is".to_owned(),
            None => "no".to_owned(),
        };
        table.add_row(vec![
            cell(&seen.extension),
            seen.calls.to_string(),
            seen.recorded.to_string(),
            seen.last.map(words::moment).unwrap_or_default(),
            addresses.join(" "),
            seen.mac.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            listed,
        ]);
    }
    right_align(&mut table, &[1, 2]);
    finish(&table)
}

/// The balance sheet: every outcome that occurred, their sum, and what was counted beside.
pub(crate) fn balance_sheet(outcomes: &BTreeMap<Outcome, u64>, counters: &Counters) -> String {
    let mut table = table();
    let seen: u64 = outcomes.values().sum();
    for outcome in Outcome::ALL {
        if let Some(&count) = outcomes.get(&outcome).filter(|&&count| count > 0) {
            table.add_row(vec![words::outcome(outcome), count.to_string()]);
        }
    }
    table.add_row(vec!["calls seen".to_owned(), seen.to_string()]);
    right_align(&mut table, &[1]);
    let mut text = String::from("Balance sheet\n");
    let rows = finish(&table);
    let width = rows.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    let (body, sum) = rows.rsplit_once('\n').unwrap_or(("", &rows));
    if !body.is_empty() {
        let _ = writeln!(text, "{body}");
    }
    let _ = writeln!(text, " {}\n{sum}", "─".repeat(width.saturating_sub(1)));
    text.push_str(&words::counters(counters));
    text
}

/// The balance sheet as one JSON object: outcomes add up to `seen`.
pub(crate) fn balance_json(outcomes: &BTreeMap<Outcome, u64>, counters: &Counters) -> Value {
    let mut object = Map::new();
    object.insert("seen".into(), outcomes.values().sum::<u64>().into());
    for outcome in Outcome::ALL {
        object.insert(outcome.key().into(), outcomes.get(&outcome).copied().unwrap_or(0).into());
    }
    if let Ok(Value::Object(counters)) = serde_json::to_value(counters) {
        object.extend(counters);
    }
    Value::Object(object)
}

pub(crate) fn signature(signature: SignatureState) -> &'static str {
    match signature {
        SignatureState::Valid => "valid",
        SignatureState::Invalid => "INVALID",
        SignatureState::Missing => "missing",
    }
}

/// Text of a wire, made fit for a terminal: no control characters, not too long.
pub(crate) fn cell(text: &str) -> String {
    let mut safe = plain(text);
    if let Some((cut, _)) = safe.char_indices().nth(CELL_MAX) {
        safe.truncate(cut);
        safe.push('…');
    }
    safe
}

/// Text of any length, made fit for a terminal: nothing in it moves the cursor, and nothing turns the reading direction of what stands
/// around it (Unicode TR 36, 3.5).
pub(crate) fn plain(text: &str) -> String {
    let is_unfit = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if is_unfit(c) { '\u{fffd}' } else { c }).collect()
}

fn right_align(table: &mut Table, columns: &[usize]) {
    for &column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// Without the spaces that fill up the last column.
fn finish(table: &Table) -> String {
    let lines: Vec<String> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_add_up_to_the_calls_seen() {
        let outcomes = BTreeMap::from([(Outcome::Recorded, 3), (Outcome::NotAnswered, 2)]);
        let json = balance_json(&outcomes, &Counters::default());
        let sum: u64 = Outcome::ALL.iter().filter_map(|o| json.get(o.key())?.as_u64()).sum();
        assert_eq!(json["seen"], sum);
        let text = balance_sheet(&outcomes, &Counters::default());
        assert!(
            text.contains("recorded") && text.contains("calls seen") && !text.contains("malformed"),
            "{text}"
        );
    }

    #[test]
    fn parts_of_a_long_table_stand_in_the_same_columns() {
        let row = |extension: &str| -> Row {
            let facts = serde_json::json!({
                "id": "01KAB2Q6ZT4V9XN3M7R8W5Y0EC", "call": "c", "segment": 1, "state": "complete", "source": "mirror",
                "extension": extension, "direction": "inbound", "started": "2026-11-20T10:00:00Z", "duration_ms": 1000,
                "ring_ms": 0, "hold_ms": 0, "talk_ms": 0, "tracks": [], "pauses": [], "holds": [], "dtmf": [], "tags": [],
                "held": false, "sip_call_ids": [], "rule": "all", "bytes": 1, "sha256": "", "signature": "valid",
            });
            serde_json::from_value(facts).expect("a row")
        };
        let mut table = Recordings::default();
        let parts = [row("a long extension"), row("20"), row("2000")].map(|row| table.rows(&[row]));
        let place = |text: &str| text.lines().last().and_then(|line| line.find("complete"));
        assert!(place(&parts[0]).is_some());
        assert_eq!(place(&parts[1]), place(&parts[0]), "{parts:#?}");
        assert_eq!(place(&parts[2]), place(&parts[0]));
        assert_eq!(parts.map(|part| part.lines().count()), [2, 1, 1], "one heading");
    }

    #[test]
    fn a_hostile_name_cannot_drive_the_terminal() {
        assert_eq!(cell("a\u{1b}[2Jb\r\n"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}");
        assert_eq!(cell(&"x".repeat(100)).chars().count(), CELL_MAX + 1);
    }
}
