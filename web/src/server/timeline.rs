//! What lies on a recording's timeline, for a player: `GET /recordings/{id}/timeline.json`.
//!
//! Measured on the packets when it is asked for, so that a recording which still runs has one up to now. Of a pause there is
//! that it was and who asked for it, nothing from inside it. The fields are in `docs/live.md`.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use decode::playout::GapKind;
use decode::{Party, Timestamp};
use policy::Permission;
use serde::Serialize;
use serde_json::{Value, json};
use store::{Mark, RecordingFacts, RecordingId, Row};

use super::App;
use super::caller::Asker;
use super::refusal::Refusal;
use crate::export::Export;
use crate::numbers;

/// Gaps, and imperfect seconds, that are told of one recording, each; further ones are not.
const LISTED_MAX: usize = 10_000;
/// A pause has few who ask for it.
const ASKING_MAX: usize = 16;

/// `GET /recordings/{id}/timeline.json`.
pub(super) async fn timeline(
    State(app): State<App>,
    asker: Asker,
    id: Result<Path<RecordingId>, axum::extract::rejection::PathRejection>,
) -> Result<Response, Refusal> {
    let Path(id) = id.map_err(|_| Refusal::NoPage)?;
    let permit = app.playback_permit()?;
    let told = app.read(move |archive| {
        let _permit = permit;
        let row = asker.permitted(archive, id, Permission::Play)?;
        Ok(tell(&row, &Export::prepare(archive, id)?))
    });
    Ok(Json(told.await?).into_response())
}

/// A stretch, in milliseconds from the recording's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Stretch {
    start_ms: u64,
    end_ms: u64,
}

impl Stretch {
    fn holds(self, ms: u64) -> bool {
        (self.start_ms..self.end_ms).contains(&ms)
    }
}

fn tell(row: &Row, export: &Export<'_>) -> Value {
    let timeline = export.timeline();
    let facts = &row.facts;
    let running = facts.state == store::State::Recording;
    let length = timeline.duration_ms();
    let pauses = pauses(export.moments(), facts, length);
    let kept = |ms: &u64| !pauses.iter().any(|(pause, _)| pause.holds(*ms));
    let notes =
        row.notes.iter().map(|note| json!({ "at_ms": note.at_ms, "text": note.text, "who": note.who }));
    json!({
        "id": facts.id,
        "started": facts.started,
        "duration_ms": length,
        "running": running,
        "lanes": [lane(facts, export, Party::Near), lane(facts, export, Party::Far)],
        "pauses": pauses.iter().map(|(pause, by)| json!({
            "start_ms": pause.start_ms, "end_ms": pause.end_ms, "by": by,
        })).collect::<Vec<_>>(),
        "holds": holds(export.moments(), facts, length),
        "gaps": gaps(facts, export),
        "dtmf": digits(export.moments(), facts, kept),
        "notes": notes.collect::<Vec<_>>(),
        "loss": loss(export, facts.started),
    })
}

/// Whose lane it is, and how its voice was coded.
fn lane(facts: &RecordingFacts, export: &Export<'_>, party: Party) -> Value {
    let of = |name: &Option<String>, number: Option<&str>| match (name, number) {
        (Some(name), Some(number)) => format!("{name} ({number})"),
        (Some(name), None) => name.clone(),
        (None, number) => number.unwrap_or_default().to_owned(),
    };
    let (key, label) = match party {
        Party::Near => ("near", of(&facts.extension_name, Some(&facts.extension))),
        Party::Far => {
            let number = facts.outside_number.as_deref().or(facts.other_party.as_deref()).map(numbers::shown);
            ("far", of(&facts.other_party_name, number.as_deref()))
        }
    };
    let voices = export.voices().filter(|voice| voice.party == party);
    let codec = voices.max_by_key(|voice| voice.packets).map_or("", |voice| voice.format.codec.name());
    json!({ "party": key, "label": label, "codec": codec })
}

/// Milliseconds from the start, within the recording.
fn place(at: Timestamp, facts: &RecordingFacts, length: u64) -> u64 {
    if at > facts.started { at.millis_since(facts.started).min(length) } else { 0 }
}

/// The pauses, and who asked for each.
fn pauses(moments: &[(Timestamp, Mark)], facts: &RecordingFacts, length: u64) -> Vec<(Stretch, Vec<String>)> {
    let mut pauses: Vec<(Stretch, Vec<String>)> = Vec::new();
    let mut open: Option<(u64, Vec<String>)> = None;
    for (at, mark) in moments {
        match mark {
            Mark::PauseStart { source } => {
                let (_, by) = open.get_or_insert_with(|| (place(*at, facts, length), Vec::new()));
                if by.len() < ASKING_MAX && !by.contains(source) {
                    by.push(source.clone());
                }
            }
            Mark::PauseEnd { .. } => {
                let Some((start_ms, by)) = open.take() else { continue };
                pauses.push((Stretch { start_ms, end_ms: place(*at, facts, length) }, by));
            }
            _ => {}
        }
    }
    pauses.extend(open.map(|(start_ms, by)| (Stretch { start_ms, end_ms: length }, by)));
    // What was re-encoded has no marks any more; its facts have the stretches.
    if pauses.is_empty() {
        let of = |span: &store::Span| (Stretch { start_ms: span.start_ms, end_ms: span.end_ms }, Vec::new());
        pauses = facts.pauses.iter().map(of).collect();
    }
    pauses
}

/// The stretches in which either party had put the other on hold.
fn holds(moments: &[(Timestamp, Mark)], facts: &RecordingFacts, length: u64) -> Vec<Stretch> {
    let mut holds = Vec::new();
    let (mut held, mut since) = ([false; 2], None);
    for (at, mark) in moments {
        let (by, is_held) = match mark {
            Mark::Hold { by } => (by, true),
            Mark::Retrieve { by } => (by, false),
            _ => continue,
        };
        if let Some(held) = held.get_mut(by.index()) {
            *held = is_held;
        }
        match (held.contains(&true), since) {
            (true, None) => since = Some(place(*at, facts, length)),
            (false, Some(start_ms)) => {
                holds.push(Stretch { start_ms, end_ms: place(*at, facts, length) });
                since = None;
            }
            _ => {}
        }
    }
    holds.extend(since.map(|start_ms| Stretch { start_ms, end_ms: length }));
    if holds.is_empty() {
        holds =
            facts.holds.iter().map(|span| Stretch { start_ms: span.start_ms, end_ms: span.end_ms }).collect();
    }
    holds
}

/// What is missing: lost, not decodable here, and one party not heard for long.
fn gaps(facts: &RecordingFacts, export: &Export<'_>) -> Vec<Value> {
    let gap = |party: Party, start_ms: u64, end_ms: u64, kind: &str| json!({ "lane": party.index(), "start_ms": start_ms, "end_ms": end_ms, "kind": kind });
    let measured = export.timeline().gaps.iter().filter_map(|missing| {
        let kind = match missing.kind {
            GapKind::Loss => "loss",
            GapKind::NotDecodable => "not-decodable",
            // These have lists of their own, or are as it should be.
            GapKind::Silence | GapKind::Hold | GapKind::Pause => return None,
        };
        Some(gap(missing.party, missing.start_ms, missing.end_ms, kind))
    });
    let absences =
        facts.one_way.iter().map(|absence| gap(absence.party, absence.start_ms, absence.end_ms, "absence"));
    measured.chain(absences).take(LISTED_MAX).collect()
}

/// Keyed digits as they are kept; those of which only the place is kept have none. Of a pause there are none at all.
fn digits(moments: &[(Timestamp, Mark)], facts: &RecordingFacts, kept: impl Fn(&u64) -> bool) -> Vec<Value> {
    let mut keyed: Vec<(u64, usize, Option<char>)> = Vec::new();
    for (at, mark) in moments {
        if let Mark::Digit { party, digit, .. } = mark {
            keyed.push((place(*at, facts, u64::MAX), party.index(), Some(*digit)));
        }
    }
    if keyed.is_empty() {
        keyed = facts.dtmf.iter().map(|key| (key.at_ms, key.party.index(), None)).collect();
    }
    keyed.retain(|(at_ms, ..)| kept(at_ms));
    let told = keyed.into_iter().take(LISTED_MAX);
    told.map(|(at_ms, lane, digit)| json!({ "at_ms": at_ms, "lane": lane, "digit": digit })).collect()
}

/// The seconds in which packets are missing. Rows are seconds of the capture's clock; told is the recording's second in which such
/// a row begins.
fn loss(export: &Export<'_>, started: Timestamp) -> Vec<Value> {
    let timeline = export.timeline();
    let first = timeline.seconds_start;
    let tracks = timeline.tracks.iter().flat_map(|track| {
        let rows = track.seconds.iter().enumerate();
        rows.filter(|(_, row)| row.received < row.expected).map(move |(index, row)| {
            let at = first.plus_millis(i64::try_from(index).unwrap_or(i64::MAX).saturating_mul(1_000));
            let second = if at > started { at.millis_since(started) / 1_000 } else { 0 };
            json!({
                "lane": track.party.index(), "second": second, "expected": row.expected, "received": row.received,
            })
        })
    });
    tracks.take(LISTED_MAX).collect()
}
