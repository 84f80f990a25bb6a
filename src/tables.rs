//! Tables and the balance sheet as people read them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use policy::{Direction, Outcome};
use serde_json::{Map, Value};
use store::{CallRow, Counters, Row, SignatureState, State};

/// Widest text of a cell that comes from a wire.
const CELL_MAX: usize = 32;

/// A table without vertical lines, as wide as its terminal at most.
fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    table
}

/// A table of recordings.
pub(crate) fn recordings(rows: &[Row]) -> String {
    let mut table = table(&[
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
    ]);
    for row in rows {
        let facts = &row.facts;
        let lost: u64 = facts.tracks.iter().map(|t| t.lost_network + t.lost_capture).sum();
        let mut codecs: Vec<&str> = facts.tracks.iter().map(|t| t.codec.name()).collect();
        codecs.dedup();
        table.add_row(vec![
            facts.id.to_string(),
            started(facts.started),
            arrow(facts.direction).to_owned(),
            cell(&named(&facts.extension, facts.extension_name.as_deref())),
            cell(&named(facts.other_party.as_deref().unwrap_or_default(), facts.other_party_name.as_deref())),
            length(facts.duration_ms),
            cell(&codecs.join("/")),
            // Of an interrupted recording nothing was counted; `archive show` counts.
            if facts.tracks.is_empty() { "-".to_owned() } else { lost.to_string() },
            state(facts.state).to_owned(),
            signature(row.signature).to_owned(),
        ]);
    }
    right_align(&mut table, &[5, 7]);
    finish(&table)
}

/// A table of calls.
pub(crate) fn calls(rows: &[CallRow]) -> String {
    let mut table = table(&["CALL", "STARTED (UTC)", "FROM", "TO", "OUTCOME", "REASON", "RECORDINGS"]);
    for row in rows {
        let recordings: Vec<String> = row.recordings.iter().map(ToString::to_string).collect();
        table.add_row(vec![
            row.call.clone(),
            started(row.started),
            cell(&row.from),
            cell(&row.to),
            words(row.outcome),
            cell(&row.reason),
            recordings.join(" "),
        ]);
    }
    finish(&table)
}

/// The balance sheet: every outcome that occurred, their sum, and what was counted beside.
pub(crate) fn balance_sheet(outcomes: &BTreeMap<Outcome, u64>, counters: &Counters) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let seen: u64 = outcomes.values().sum();
    for outcome in Outcome::ALL {
        if let Some(&count) = outcomes.get(&outcome).filter(|&&count| count > 0) {
            let name = if outcome == Outcome::Running { "still running".to_owned() } else { words(outcome) };
            table.add_row(vec![name, count.to_string()]);
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
    let _ = write!(
        text,
        "{} packets, {} SIP messages, {} RTP packets; dropped: kernel {}, ring {}; unannounced RTP flows {}; oddities {}",
        counters.packets_seen,
        counters.sip_messages,
        counters.rtp_packets,
        counters.packets_dropped_kernel,
        counters.packets_dropped_ring,
        counters.unannounced_rtp,
        counters.oddities
    );
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

/// Minutes and seconds, with tenths; hours when there are some.
pub(crate) fn length(ms: u64) -> String {
    let tenths = (ms + 50) / 100;
    let (h, m, s, t) = (tenths / 36_000, tenths / 600 % 60, tenths / 10 % 60, tenths % 10);
    if h > 0 { format!("{h}:{m:02}:{s:02}.{t}") } else { format!("{m}:{s:02}.{t}") }
}

/// Bytes with a unit.
pub(crate) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

pub(crate) fn state(state: State) -> &'static str {
    match state {
        State::Recording => "recording",
        State::Complete => "complete",
        State::Interrupted => "interrupted",
    }
}

pub(crate) fn signature(signature: SignatureState) -> &'static str {
    match signature {
        SignatureState::Valid => "valid",
        SignatureState::Invalid => "INVALID",
        SignatureState::Missing => "missing",
    }
}

/// A number with its name, when it has one that says more.
pub(crate) fn named(number: &str, name: Option<&str>) -> String {
    match name {
        Some(name) if !name.is_empty() && name != number => format!("{number} {name}"),
        _ => number.to_owned(),
    }
}

/// Text of a wire, made fit for a terminal: no control characters, not too long.
pub(crate) fn cell(text: &str) -> String {
    let mut safe: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if let Some((cut, _)) = safe.char_indices().nth(CELL_MAX) {
        safe.truncate(cut);
        safe.push('…');
    }
    safe
}

fn words(outcome: Outcome) -> String {
    outcome.key().replace('_', " ")
}

fn started(at: decode::Timestamp) -> String {
    at.to_string().get(..19).unwrap_or_default().replace('T', " ")
}

fn arrow(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "←",
        Direction::Outbound => "→",
        Direction::Internal => "↔",
    }
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
    fn lengths_and_sizes_read_well() {
        assert_eq!(
            (length(0), length(12_340), length(3_725_060)),
            ("0:00.0".into(), "0:12.3".into(), "1:02:05.1".into())
        );
        assert_eq!(
            (size(512), size(1536), size(3 << 30)),
            ("512 B".into(), "1.5 KiB".into(), "3.0 GiB".into())
        );
    }

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
    fn a_hostile_name_cannot_drive_the_terminal() {
        assert_eq!(cell("a\u{1b}[2Jb\r\n"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}");
        assert_eq!(cell(&"x".repeat(100)).chars().count(), CELL_MAX + 1);
    }
}
