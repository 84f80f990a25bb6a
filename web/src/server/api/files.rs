//! What a recording's page shows and plays, for programs: its audio, waveform and timeline, its files, its SIP, why it is there, and
//! whether it is as it was sealed.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, RawQuery, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use policy::Permission;
use serde::Deserialize;
use serde_json::{Value, json};
use store::RecordingId;

use super::operation::{Id, Needs, Operation};
use super::problem::{Kind, Problem};
use super::read;
use super::recordings::of_one;
use super::schema::{count, list, list_up_to, maybe_text, moment, object, one_of, open, text, yes};
use crate::bundle::RECORDINGS_MAX;
use crate::server::audio::{Cut, audio};
use crate::server::caller::Asker;
use crate::server::form::Form;
use crate::server::recording::{look, why};
use crate::server::recordings::search::Search;
use crate::server::save::{As, picked, send_one, send_zip};
use crate::server::token::Right;
use crate::server::{App, peaks, sip, timeline};

/// Recordings that one request names: more would not fit into its body.
const NAMED_MAX: usize = 10_000;

pub(super) fn operations() -> Vec<Operation> {
    let may = Needs::Permission;
    let milliseconds = || count("Milliseconds from the recording's start");
    let stretch = || open([("start_ms", milliseconds()), ("end_ms", milliseconds())]);
    let file = one_of("As what", As::WORDS);
    let saved = of_one(
        Operation::get(["getFile", "/recordings/{id}/file", "Takes it along as a file"], save),
        may(Permission::Save),
    )
    .query("as", file)
    .query("from_ms", count("Only from there on, as audio; milliseconds from the start"))
    .query("to_ms", count("Only up to there, as audio"));
    let all = Operation::post(
        ["zipRecordings", "/recordings/zip", "Takes several along as a ZIP with proofs"],
        zip,
    )
    .right(Right::Recordings)
    .needs(may(Permission::Save))
    .hides(Kind::NoSuchRecording)
    .takes(json!({ "anyOf": [
            object([("ids", list_up_to(text("A recording"), 1, NAMED_MAX))]),
            object([("search", text("What the query of listRecordings says: those that it finds"))]),
        ] }));
    vec![
        ["application/zip", "audio/wav", "audio/flac", "audio/ogg", "application/vcon+json"]
            .into_iter()
            .fold(saved, |saved, kind| saved.gives_as(200, kind, json!({}))),
        all.gives_as(200, "application/zip", json!({})),
        of_one(
            Operation::get(
                ["getAudio", "/recordings/{id}/audio", "Its audio as WAVE, or one range of its bytes"],
                play,
            ),
            may(Permission::Play),
        )
        .query("until_ms", count("Cuts a running one off there, so that its length stays"))
        .gives_as(200, "audio/wav", json!({}))
        .gives_as(206, "audio/wav", json!({}))
        .or(&[Kind::WrongRange]),
        of_one(
            Operation::get(["getPeaks", "/recordings/{id}/peaks", "Its waveform (docs/live.md)"], waveform),
            may(Permission::Play),
        )
        .gives_as(200, "application/octet-stream", json!({})),
        of_one(
            Operation::get(
                ["getTimeline", "/recordings/{id}/timeline", "What lies on its timeline (docs/live.md)"],
                events,
            ),
            may(Permission::Play),
        )
        .gives(open([
            ("id", text("The recording")),
            ("started", moment("When it began")),
            ("duration_ms", milliseconds()),
            ("running", yes("It still runs")),
            (
                "lanes",
                list(open([
                    ("party", text("near or far")),
                    ("label", text("Who")),
                    ("codec", text("How it was coded")),
                ])),
            ),
            ("pauses", list(stretch())),
            ("holds", list(stretch())),
            ("gaps", list(stretch())),
            ("dtmf", list(open([("at_ms", milliseconds()), ("lane", count("Of which party"))]))),
            ("notes", list(open([("text", text("What it says")), ("who", text("Who"))]))),
            ("loss", list(open([("lane", count("Of which party")), ("second", count("In which second"))]))),
        ])),
        of_one(
            Operation::get(["getSip", "/recordings/{id}/sip", "Its SIP messages as a capture file"], capture),
            may(Permission::Signalling),
        )
        .gives_as(200, "application/x-pcapng", json!({})),
        of_one(
            Operation::get(["getWhy", "/recordings/{id}/why", "Why it is there, step by step"], explain),
            Needs::Account,
        )
        .gives(object([(
            "steps",
            list(object([("what", text("What was done")), ("by", text("By what or whom"))])),
        )])),
        of_one(
            Operation::get(
                [
                    "verifyRecording",
                    "/recordings/{id}/verification",
                    "Verifies it now: is it as it was sealed?",
                ],
                verify,
            ),
            Needs::Account,
        )
        .gives(object([
            ("intact", yes("Nothing stands against it")),
            ("problem", maybe_text("What does")),
            ("playable", yes("It can be decoded here")),
            ("not_playable", maybe_text("Why it cannot")),
            ("warnings", list(text("What whoever hears it must know"))),
            ("packets_missing", count("Packets that were sent and are not there")),
        ])),
    ]
}

/// As pages' handlers take the name of a recording.
fn named(id: RecordingId) -> Result<Path<RecordingId>, PathRejection> {
    Ok(Path(id))
}

/// `GET /recordings/{id}/file?as=FORMAT`.
async fn save(
    State(app): State<App>,
    asker: Asker,
    Id(id): Id,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = query.unwrap_or_default();
    let kind =
        As::of(&query).ok_or_else(|| Problem::Wrong("as: zip, wav, flac, ogg, gsm or vcon".to_owned()))?;
    let form = Form::parse(&query);
    // Numbers, as the table has seen.
    let place = |name: &str| form.text(name).parse::<u64>().ok();
    let part = match (place("from_ms"), place("to_ms")) {
        (None, None) => None,
        (from, to) => Some(from.unwrap_or(0)..to.unwrap_or(u64::MAX)),
    };
    app.with_row(asker.clone(), id, |_, _| Ok(())).await?;
    Ok(send_one(&app, &asker, id, kind, part).await?)
}

/// Which recordings; the table has seen to it that it is one of both.
#[derive(Deserialize)]
struct Which {
    #[serde(default)]
    ids: Vec<String>,
    search: Option<String>,
}

/// `POST /recordings/zip`.
async fn zip(State(app): State<App>, asker: Asker, body: Bytes) -> Result<Response, Problem> {
    let Which { ids, search } = read(&body)?;
    let ids = match search {
        Some(search) => app.meant(&asker, &Search::parse(&search), RECORDINGS_MAX + 1).await?,
        None => {
            let ids: Result<Vec<RecordingId>, _> = ids.iter().map(|id| id.parse()).collect();
            let (ids, who) = (ids.map_err(|_| Problem::Nothing(Kind::NoSuchRecording))?, asker.clone());
            app.read(move |archive| picked(archive, &who, Permission::Save, ids, &[])).await?
        }
    };
    Ok(send_zip(&app, &asker, ids).await?)
}

/// `GET /recordings/{id}/audio`.
async fn play(
    State(app): State<App>,
    asker: Asker,
    method: Method,
    headers: HeaderMap,
    Id(id): Id,
    cut: Result<Query<Cut>, QueryRejection>,
) -> Result<Response, Problem> {
    Ok(audio(State(app), asker, method, headers, named(id), cut).await?)
}

/// `GET /recordings/{id}/peaks`.
async fn waveform(State(app): State<App>, asker: Asker, Id(id): Id) -> Result<Response, Problem> {
    Ok(peaks::peaks(State(app), asker, named(id)).await?)
}

/// `GET /recordings/{id}/timeline`.
async fn events(State(app): State<App>, asker: Asker, Id(id): Id) -> Result<Response, Problem> {
    Ok(timeline::timeline(State(app), asker, named(id)).await?)
}

/// `GET /recordings/{id}/sip`.
async fn capture(State(app): State<App>, asker: Asker, Id(id): Id) -> Result<Response, Problem> {
    Ok(sip::capture(State(app), asker, named(id)).await?)
}

/// `GET /recordings/{id}/why`.
async fn explain(State(app): State<App>, asker: Asker, Id(id): Id) -> Result<Json<Value>, Problem> {
    let row = app.with_row(asker, id, |_, row| Ok(row)).await?;
    let steps = why(&row, app.zone()).into_iter().map(|step| json!({ "what": step.what, "by": step.by }));
    Ok(Json(json!({ "steps": steps.collect::<Vec<_>>() })))
}

/// `GET /recordings/{id}/verification`: looked at as its page does, and written down likewise.
async fn verify(State(app): State<App>, asker: Asker, Id(id): Id) -> Result<Json<Value>, Problem> {
    let who = asker.clone();
    let looked = app.read(move |archive| look(archive, &who, id)).await?;
    app.note_viewed(&asker, id).await?;
    let missing = looked.timeline.as_ref().map_or(0, |timeline| {
        timeline.tracks.iter().fold(0_u64, |sum, track| sum.saturating_add(track.lost))
    });
    Ok(Json(json!({
        "intact": looked.problem.is_none(),
        "problem": looked.problem,
        "playable": looked.timeline.is_ok(),
        "not_playable": looked.timeline.as_ref().err(),
        "warnings": looked.warnings,
        "packets_missing": missing,
    })))
}
