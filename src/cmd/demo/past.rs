//! What the demonstration's archive has from before it began: rounds of the same calls, recorded by the same recorder with the times of
//! earlier today, and what people said of some of them.

use decode::net::LINK_HEP;
use decode::{Frame, Timestamp};
use policy::gate::{Request, Whom};
use policy::modes::{Ask, Role};
use store::{Archive, Event, RecordingId, What};

use super::office::{Calls, OFFICES, ROUND_MS};
use crate::config::Settings;
use crate::failure::Failure;
use crate::recorder::Recorder;

/// How long ago rounds began, in minutes: three days, most of it today.
const ROUNDS_AGO_MIN: [i64; 15] =
    [4_410, 3_020, 2_890, 1_740, 1_610, 610, 480, 355, 240, 165, 110, 58, 31, 12, 4];
/// When Callum pauses in his first call of a round, and when he goes on, in milliseconds of the round: a card number is given.
const PAUSED_MS: (i64, i64) = (13_000, 16_500);

/// Records the rounds. Gives the recordings, oldest first.
///
/// # Errors
/// When the archive cannot take them.
pub(super) fn record(
    archive: &Archive,
    settings: Settings,
    calls: &Calls,
    now: Timestamp,
) -> Result<Vec<RecordingId>, Failure> {
    let mut recorder =
        Recorder::new(archive, settings.rules, settings.call_headers.as_deref(), settings.devices)
            .keeping_sip(settings.sip)
            .reading_files();
    for (round, minutes) in ROUNDS_AGO_MIN.into_iter().enumerate() {
        let began = now.plus_millis(-minutes * 60_000);
        for (office, later_ms) in OFFICES.into_iter().zip([0, ROUND_MS]) {
            let mut asks = [(PAUSED_MS.0, Ask::Pause), (PAUSED_MS.1, Ask::Resume)].into_iter().peekable();
            for due in calls.round(office, round) {
                let at = began.plus_millis(later_ms + due.at_ms);
                if let Some((_, ask)) = asks.next_if(|(at_ms, _)| *at_ms <= due.at_ms) {
                    let [_, (number, _), _] = office.people;
                    let whom = Whom::Extension(number.to_owned());
                    let name = "callum".to_owned();
                    recorder.handle_request(&Request { whom, ask, role: Role::Agent, name }, at);
                }
                let wire_len = u32::try_from(due.packet.len()).unwrap_or(u32::MAX);
                recorder.handle_frame(&Frame { at, link: LINK_HEP, source: 0, wire_len, data: &due.packet });
            }
        }
    }
    let report = recorder.finish(capture::Counters::default());
    report.failure.into_result()?;
    Ok(report.recordings)
}

/// What people said of the newest recordings.
///
/// # Errors
/// When the archive cannot take it.
pub(super) fn mark(archive: &Archive, recordings: &[RecordingId]) -> Result<(), Failure> {
    let mut newest = recordings.iter().rev().copied();
    let mut said = Vec::new();
    if let (Some(first), Some(second), Some(third)) = (newest.next(), newest.next(), newest.next()) {
        said.extend([
            ("priya", What::Tagged { id: first, tag: "order".into() }),
            ("supervisor", What::Rated { id: first, stars: 4, before: 0 }),
            (
                "supervisor",
                What::Noted {
                    id: first,
                    text: "Reads the order back. Well done.".into(),
                    at_ms: Some(6_000),
                },
            ),
            ("tess", What::Tagged { id: second, tag: "call back".into() }),
            (
                "supervisor",
                What::Held {
                    id: third,
                    hold: "Brightwater 2026-4".into(),
                    why: "the price is disputed".into(),
                },
            ),
        ]);
    }
    for (who, what) in said {
        let row = what_about(&what).map(|id| archive.row(id)).transpose()?;
        let at = row.and_then(|row| row.facts.ended).unwrap_or_else(crate::clock::now);
        archive.edit(Event { at, who: who.into(), what })?;
    }
    Ok(archive.sync()?)
}

fn what_about(what: &What) -> Option<RecordingId> {
    Event { at: Timestamp::MIN, who: String::new(), what: what.clone() }.recording()
}
