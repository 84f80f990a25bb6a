//! `/recordings/{id}`: everything about one recording, verified now, its player, and what people add to it.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use decode::playout::Timeline;
use policy::{CustomField, Permission};
use store::{
    Archive, Event, Reassigned, RecordingFacts, RecordingId, Row, STARS_MAX, Signalling, State as Progress,
    Track, What,
};

use super::App;
use super::assign;
use super::caller::Asker;
use super::escape::brief;
use super::frame::{Frame, Page, page_with};
use super::holds::Keeping;
use super::recordings::columns::{short_length, way_of};
use super::recordings::title;
use super::refusal::Refusal;
use super::zone::{Moment, Zone};
use crate::export::{Export, FileFormat, Shape};
use crate::numbers;
use crate::trace::{Step, Trace};
use crate::words;

/// Gaps, notes and holds shown of one recording; a damaged capture has very many.
const LISTED_MAX: usize = 50;
/// SIP messages listed; the capture file has all.
const MESSAGES_MAX: usize = 200;
/// Shorter gaps are not worth a line: the edges of two parties never fall on the same packet.
const GAP_MS_MIN: u64 = 100;
/// Bytes of a tag.
pub(super) const TAG_MAX: usize = 200;
/// Tags that a form sets.
const TAGS_MAX: usize = 50;

/// A name and what is known.
struct Fact {
    name: &'static str,
    value: String,
}

/// One step of why it is there.
pub(super) struct Why {
    icon: &'static str,
    pub(super) what: String,
    pub(super) by: String,
}

struct Note {
    at: String,
    seconds: String,
    text: String,
    who: String,
    when: Moment,
}

struct Gap {
    party: &'static str,
    from: String,
    to: String,
    why: &'static str,
}

struct TrackLine {
    party: &'static str,
    codec: String,
    track: Track,
}

struct FieldInput {
    name: &'static str,
    label: String,
    value: String,
}

/// A step of the ladder, between the two sides that the first message names.
struct Rung {
    time: String,
    to_right: bool,
    what: String,
    note: String,
    over: String,
}

struct Ladder {
    left: String,
    right: String,
    rungs: Vec<Rung>,
    more: usize,
    warnings: Vec<String>,
}

#[derive(askama::Template)]
#[template(path = "recording.html")]
struct Shown {
    frame: Frame,
    id: RecordingId,
    title: String,
    extension: String,
    other: String,
    icon: &'static str,
    way: &'static str,
    started: Moment,
    length: String,
    is_running: bool,
    problem: Option<String>,
    notices: Vec<String>,
    has_player: bool,
    may_save: bool,
    may_mail: bool,
    may_change: bool,
    /// Whom it counts for can be changed: the users to choose from, and whom it counts for now.
    may_give: bool,
    users: Vec<assign::Choice>,
    user: String,
    /// By whom it was given, when, and whom the telephone system named; empty where that is still so.
    reassigned: String,
    sees_signalling: bool,
    tags: String,
    fields: Vec<FieldInput>,
    stars: Vec<(u8, bool)>,
    notes: Vec<Note>,
    why: Vec<Why>,
    facts: Vec<Fact>,
    integrity: Vec<Fact>,
    sha256: String,
    tracks: Vec<TrackLine>,
    secrecy: Vec<String>,
    gaps: Vec<Gap>,
    more_gaps: u64,
    ladder: Option<Ladder>,
    keeping: Keeping,
}

/// What the archive says of it.
pub(super) struct Looked {
    row: Row,
    /// What verification has to say against it.
    pub(super) problem: Option<String>,
    /// The measured timeline, or why it cannot be played.
    pub(super) timeline: Result<Timeline, String>,
    pub(super) warnings: Vec<String>,
    /// Its SIP, where it can be read.
    trace: Option<Trace>,
}

/// `GET /recordings/{id}`.
pub(super) async fn recording(
    State(app): State<App>,
    asker: Asker,
    id: Result<Path<RecordingId>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path(id) = id.map_err(|_| Refusal::NoPage)?;
    let who = asker.clone();
    let looked = app.read(move |archive| look(archive, &who, id)).await?;
    app.note_viewed(&asker, id).await?;
    // The page is there, but the recording is not what it should be: the same status as its audio gets.
    let status = if looked.problem.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
    page_with(status, &shown(&app, &asker, looked))
}

/// Looks at a recording that somebody sees: reads the whole of its file.
pub(super) fn look(archive: &Archive, asker: &Asker, id: RecordingId) -> Result<Looked, Refusal> {
    let row = asker.row(archive, id)?;
    // Both read the whole file: side by side.
    let (problem, (timeline, warnings)) = std::thread::scope(|scope| {
        let verified =
            scope.spawn(|| archive.verify(Some(&[id])).find_map(|finding| words::problem(&finding)));
        let measured = measure(archive, id);
        let problem = verified.join().unwrap_or_else(|_| Some("it could not be verified".to_owned()));
        (problem, measured)
    });
    // Nothing of a changed recording is shown; why it cannot be read stands where the player would be.
    let trace = asker.caller.may(Permission::Signalling).then(|| Trace::read(archive, id).ok()).flatten();
    Ok(Looked { row, problem, timeline, warnings, trace })
}

/// Its timeline, or why it cannot be played; and what a listener must know.
fn measure(archive: &Archive, id: RecordingId) -> (Result<Timeline, String>, Vec<String>) {
    match Export::prepare(archive, id) {
        // A file that would be refused needs no player.
        Ok(export) => match export.bytes(FileFormat::Wav, Shape::Stereo) {
            Ok(_) => (Ok(export.timeline().clone()), export.warnings(Shape::Stereo)),
            Err(error) => (Err(Refusal::from(error).words()), Vec::new()),
        },
        Err(error) => (Err(Refusal::from(error).words()), Vec::new()),
    }
}

fn shown(app: &App, asker: &Asker, looked: Looked) -> Shown {
    let (row, zone) = (&looked.row, app.zone());
    let facts = &row.facts;
    let (icon, way) = way_of(facts.direction);
    let named = |number: &str, name: Option<&str>| brief(&words::named(number, name)).into_owned();
    let is_gone = row.deleted.is_some();
    let field = |field: CustomField| FieldInput {
        name: store::Field::from(field).name(),
        label: words::field(field),
        value: facts.fields.of(field).unwrap_or_default().to_owned(),
    };
    // The five fields are shown where they have a name, or something in them.
    let is_used = |field: &CustomField| {
        words::named_fields().any(|named| named == *field) || facts.fields.of(*field).is_some()
    };
    let gaps = gaps(&looked, facts);
    let may_give = asker.caller.may(Permission::ModifyDetails)
        && facts.state != Progress::Recording
        && !app.archive().people().is_empty();
    Shown {
        frame: app.frame(asker, Page::Recordings, format!("Recording {}", facts.id)),
        id: facts.id,
        title: title(row),
        extension: named(&facts.extension, facts.extension_name.as_deref()),
        other: named(&numbers::shown(numbers::other_party(facts)), facts.other_party_name.as_deref()),
        icon,
        way,
        started: zone.moment(facts.started),
        length: short_length(facts.duration_ms),
        is_running: facts.state == Progress::Recording,
        notices: notices(&looked, asker),
        has_player: looked.timeline.is_ok() && !is_gone && asker.caller.may(Permission::Play),
        may_save: asker.caller.may(Permission::Save)
            && !is_gone
            && looked.timeline.is_ok()
            && facts.state != Progress::Recording,
        may_mail: app.may_mail(asker) && !is_gone && facts.state != Progress::Recording,
        may_change: asker.caller.may(Permission::ModifyDetails) && !is_gone,
        may_give,
        users: if may_give { assign::choices(app.archive(), asker, app.now()) } else { Vec::new() },
        user: facts.user.clone().unwrap_or_default(),
        reassigned: row.reassigned.as_ref().map_or(String::new(), |given| given_words(given, zone)),
        sees_signalling: asker.caller.may(Permission::Signalling),
        tags: facts.tags.join(", "),
        fields: CustomField::ALL.into_iter().filter(is_used).map(field).collect(),
        stars: (0..=STARS_MAX).map(|stars| (stars, stars == row.rating.unwrap_or(0))).collect(),
        notes: row.notes.iter().take(LISTED_MAX).map(|note| note_of(note, zone)).collect(),
        why: why(row, zone),
        facts: known(row, zone),
        integrity: integrity(&looked),
        keeping: Keeping::of(asker, row),
        sha256: row.sha256.clone(),
        tracks: facts
            .tracks
            .iter()
            .map(|track| TrackLine {
                party: words::party(track.party),
                codec: format!("{} {} Hz{}", brief(track.codec.name()), track.clock_rate, kept_as(track)),
                track: track.clone(),
            })
            .collect(),
        secrecy: facts
            .tracks
            .iter()
            .flat_map(|track| {
                words::secrecy(track)
                    .into_iter()
                    .map(|what| format!("{}: {what}.", words::party(track.party)))
            })
            .collect(),
        more_gaps: gaps.1,
        gaps: gaps.0,
        ladder: looked.trace.as_ref().filter(|trace| !trace.is_empty()).map(ladder),
        problem: looked.problem,
    }
}

/// Who gave it to whom it counts for, and whom the telephone system named.
fn given_words(given: &Reassigned, zone: &Zone) -> String {
    let reported = given.reported.user.as_ref();
    let reported = reported.map_or("nobody".to_owned(), |user| words::named(&user.id, Some(&user.name)));
    format!(
        "set by {} ({}); by the telephone system: {}",
        brief(&given.who),
        zone.moment(given.at).full,
        brief(&reported)
    )
}

fn notices(looked: &Looked, asker: &Asker) -> Vec<String> {
    let mut notices = Vec::new();
    if let Some(deletion) = &looked.row.deleted {
        notices.push(format!(
            "The audio was deleted at {} by {}, rule {}: {}.",
            deletion.at,
            brief(&deletion.who),
            brief(&deletion.rule),
            brief(&deletion.why)
        ));
        return notices;
    }
    match &looked.timeline {
        Err(_) if looked.problem.is_some() => {
            notices.push("Nothing of it is played. Restore its file from a copy.".to_owned());
        }
        Err(why) => notices.push(format!("No player: {why}")),
        Ok(_) if !asker.caller.may(Permission::Play) => {
            notices.push("Your role does not let you hear recordings.".to_owned());
        }
        Ok(_) => {}
    }
    notices.extend(looked.warnings.iter().cloned());
    notices
}

fn note_of(note: &store::Note, zone: &Zone) -> Note {
    let place = |ms: u64| (short_length(ms), format!("{}.{}", ms / 1_000, ms % 1_000 / 100));
    let (at, seconds) = note.at_ms.map(place).unwrap_or_default();
    Note {
        at,
        seconds,
        text: note.text.clone(),
        who: brief(&note.who).into_owned(),
        when: zone.moment(note.at),
    }
}

/// Why it was recorded, not recorded for a while, and is kept.
pub(super) fn why(row: &Row, zone: &Zone) -> Vec<Why> {
    let facts = &row.facts;
    let mut why = Vec::new();
    let mut step = |icon, what: String, by: String| why.push(Why { icon, what, by });
    step("i-record", "Recorded".into(), format!("rule {}", brief(&facts.rule)));
    if let Some(named_by) = &facts.named_by {
        step(
            "i-user",
            format!("Extension {}", brief(&facts.extension)),
            format!("named by {}", brief(&named_by.to_string())),
        );
    }
    for pause in facts.pauses.iter().take(LISTED_MAX) {
        step(
            "i-pause",
            format!("Paused {}", span(pause.start_ms, pause.end_ms)),
            "nothing was kept of it".into(),
        );
    }
    for hold in row.legal_holds.iter().take(LISTED_MAX) {
        step(
            "i-lock",
            format!("Kept under the legal hold {}", brief(&hold.hold)),
            format!("{} ({}, {})", brief(&hold.why), brief(&hold.who), zone.moment(hold.at).full),
        );
    }
    if let Some(recoded) = &facts.recoded {
        step("i-keep", words::recoded(recoded), String::new());
    }
    if let Some(deletion) = &row.deleted {
        step(
            "i-trash",
            format!("Deleted by {}", brief(&deletion.who)),
            format!("rule {}: {}", brief(&deletion.rule), brief(&deletion.why)),
        );
    }
    why
}

fn known(row: &Row, zone: &Zone) -> Vec<Fact> {
    let facts = &row.facts;
    let mut known = Vec::new();
    let mut fact = |name, value: String| {
        if !value.is_empty() {
            known.push(Fact { name, value });
        }
    };
    let short = |text: &Option<String>| text.as_deref().map(brief).unwrap_or_default().into_owned();
    let moment = |at: Option<decode::Timestamp>| at.map_or(String::new(), |at| zone.moment(at).full);
    fact("Call", format!("{}, segment {}", brief(&facts.call), facts.segment));
    fact("State", words::state(facts.state).to_owned());
    fact("Answered", moment(facts.answered));
    fact("Ended", moment(facts.ended));
    fact("Ring, talk, hold", [facts.ring_ms, facts.talk_ms, facts.hold_ms].map(short_length).join(" / "));
    // As it is stored: what is above is how the country writes it.
    fact("Other party’s number", short(&facts.outside_number));
    let ddi = facts.ddi.as_deref().map(numbers::shown);
    fact("Dialled number", words::named(&short(&ddi), facts.ddi_name.as_deref().map(brief).as_deref()));
    fact("Contact", short(&facts.contact));
    fact("Agent", short(&facts.agent));
    if let Some(user) = &facts.user {
        fact("User", brief(&words::named(user, facts.user_name.as_deref())).into_owned());
    }
    if let Some(given) = &row.reassigned {
        fact("User’s change", given_words(given, zone));
    }
    fact("Business unit", brief(&words::units(facts)).into_owned());
    fact("Site", short(&facts.site));
    fact("Hunt group", short(&facts.hunt_group));
    fact("Trunk", short(&facts.trunk));
    fact("Account code", short(&facts.account_code));
    fact("Passed on by", short(&facts.transferred_from));
    for hold in facts.holds.iter().take(LISTED_MAX) {
        fact("On hold", span(hold.start_ms, hold.end_ms));
    }
    if !facts.dtmf.is_empty() {
        let at: Vec<String> = facts.dtmf.iter().take(LISTED_MAX).map(|key| short_length(key.at_ms)).collect();
        fact("Digits", format!("{} keyed, at {}", facts.dtmf.len(), at.join(", ")));
    }
    for tie in facts.ties.iter().take(LISTED_MAX) {
        fact("Part of the call by", format!("{} as {}", tie.why, brief(&tie.sip_call_id)));
    }
    if facts.signalling == Signalling::None {
        fact("Signalling", "none: the phone is known by its address".to_owned());
    }
    if facts.foreign_packets > 0 {
        fact("Kept out", format!("{} RTP packets of strangers", facts.foreign_packets));
    }
    if facts.joined_late {
        fact("Begun earlier", "the call was running when it was first seen".to_owned());
    }
    if facts.shares_media {
        fact("Shared", "another call announced the same addresses and ports at the same time".to_owned());
    }
    for id in facts.sip_call_ids.iter().take(LISTED_MAX) {
        fact("SIP Call-ID", brief(id).into_owned());
    }
    if row.deleted.is_none() {
        fact("File", words::size(row.bytes));
    }
    known
}

fn integrity(looked: &Looked) -> Vec<Fact> {
    let (row, facts) = (&looked.row, &looked.row.facts);
    let signature = match &looked.problem {
        None if row.deleted.is_some() => "of the deletion: valid",
        None if facts.state == Progress::Recording => "none yet: the call is running",
        None => "valid, verified just now",
        Some(_) => "does not hold, see above",
    };
    let mut integrity = vec![Fact { name: "Signature", value: signature.to_owned() }];
    if let (Ok(timeline), None) = (&looked.timeline, &facts.recoded) {
        integrity.push(Fact { name: "Completeness", value: completeness(timeline) });
    }
    integrity
}

fn completeness(timeline: &Timeline) -> String {
    let seconds = timeline.tracks.iter().flat_map(|track| &track.seconds);
    let imperfect = seconds.filter(|second| second.received < second.expected).count();
    let missing = timeline.tracks.iter().fold(0_u64, |sum, track| sum.saturating_add(track.lost));
    match imperfect {
        0 => "every packet that was sent is here".to_owned(),
        seconds => format!("{missing} packets missing, in {seconds} seconds of a party"),
    }
}

fn span(start_ms: u64, end_ms: u64) -> String {
    format!("{} to {}", words::length(start_ms), words::length(end_ms))
}

/// What its audio was re-encoded to.
fn kept_as(track: &Track) -> String {
    track.stored.as_ref().map_or_else(String::new, |stored| format!(", kept as {}", stored.name()))
}

/// The gaps that are worth a line, and how many more there are. Of a re-encoded one, packets tell of gaps no more.
fn gaps(looked: &Looked, facts: &RecordingFacts) -> (Vec<Gap>, u64) {
    let (Ok(timeline), None) = (&looked.timeline, &facts.recoded) else { return (Vec::new(), 0) };
    let long = |gap: &&decode::playout::Gap| gap.end_ms.saturating_sub(gap.start_ms) >= GAP_MS_MIN;
    let all = timeline.gaps.iter().filter(long);
    let count = all.clone().count() as u64;
    let shown: Vec<Gap> = all
        .take(LISTED_MAX)
        .map(|gap| Gap {
            party: words::party(gap.party),
            from: words::length(gap.start_ms),
            to: words::length(gap.end_ms),
            why: words::gap(gap.kind),
        })
        .collect();
    let more = count.saturating_sub(shown.len() as u64).saturating_add(timeline.gaps_left_out);
    (shown, more)
}

fn ladder(trace: &Trace) -> Ladder {
    let steps = trace.steps();
    let first = steps.first();
    let (left, right) = first.map(|step| (step.from.clone(), step.to.clone())).unwrap_or_default();
    let began = first.map_or(0, |step| step.at_us);
    let rung = |step: &Step| {
        let mut note: Vec<String> = Vec::new();
        if step.repeated {
            note.push("sent again".to_owned());
        }
        if !step.redacted.is_empty() {
            note.push(format!("replaced: {}", step.redacted.join(", ")));
        }
        if step.from != left && step.from != right || step.to != left && step.to != right {
            note.push(format!("{} → {}", brief(&step.from), brief(&step.to)));
        }
        let ms = step.at_us.saturating_sub(began) / 1_000;
        Rung {
            time: format!("+{}.{:03}", ms / 1_000, ms % 1_000),
            to_right: step.from == left || step.to == right,
            what: format!("{}{}", brief(&step.what), if step.has_sdp { " (SDP)" } else { "" }),
            note: note.join("; "),
            over: step.transport.to_owned(),
        }
    };
    let rungs: Vec<Rung> = steps.iter().take(MESSAGES_MAX).map(rung).collect();
    Ladder {
        more: trace.len().saturating_sub(rungs.len()),
        rungs,
        warnings: trace.warnings(),
        left: brief(&left).into_owned(),
        right: brief(&right).into_owned(),
    }
}

/// `POST /recordings/{id}/facts`: tags, the five fields and the stars, as a form has them.
pub(super) async fn set_facts(
    State(app): State<App>,
    asker: Asker,
    id: Result<Path<RecordingId>, PathRejection>,
    body: String,
) -> Result<Response, Refusal> {
    let Path(id) = id.map_err(|_| Refusal::NoPage)?;
    let now = app.now();
    app.read(move |archive| {
        let row = asker.permitted(archive, id, Permission::ModifyDetails)?;
        for what in changes(&row, &body)? {
            archive.edit(Event { at: now, who: asker.caller.name().to_owned(), what })?;
        }
        // The page that follows shows it.
        Ok(archive.sync()?)
    })
    .await?;
    Ok(Redirect::to(&format!("/recordings/{id}")).into_response())
}

/// What a form changes of what stands there: nothing that is as it was.
fn changes(row: &Row, body: &str) -> Result<Vec<What>, Refusal> {
    let (id, facts) = (row.facts.id, &row.facts);
    let mut changes = Vec::new();
    for (name, value) in form_urlencoded::parse(body.as_bytes()) {
        let value = value.trim();
        match &*name {
            "tags" => changes.extend(tag_changes(row, value)?),
            "stars" => {
                let stars: u8 = value.parse().map_err(|_| Refusal::WrongQuery)?;
                if stars != row.rating.unwrap_or(0) {
                    changes.push(What::Rated { id, stars, before: 0 });
                }
            }
            name => {
                let field =
                    CustomField::ALL.into_iter().find(|field| store::Field::from(*field).name() == name);
                if let Some(field) =
                    field.filter(|field| facts.fields.of(*field).unwrap_or_default() != value)
                {
                    changes.push(What::FieldSet {
                        id,
                        field,
                        value: value.to_owned(),
                        before: String::new(),
                    });
                }
            }
        }
    }
    Ok(changes)
}

fn tag_changes(row: &Row, written: &str) -> Result<Vec<What>, Refusal> {
    let id = row.facts.id;
    let wanted: Vec<&str> = written.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect();
    if wanted.len() > TAGS_MAX {
        return Err(Refusal::Wrong(format!("A recording has at most {TAGS_MAX} tags.")));
    }
    if wanted.iter().any(|tag| tag.len() > TAG_MAX) {
        return Err(Refusal::Wrong(format!("A tag has at most {TAG_MAX} bytes.")));
    }
    let is_new = |tag: &&&str| !row.facts.tags.iter().any(|old| old == **tag);
    let gone = row.facts.tags.iter().filter(|old| !wanted.contains(&old.as_str()));
    let tagged = wanted.iter().filter(is_new).map(|tag| What::Tagged { id, tag: (*tag).to_owned() });
    let untagged = gone.map(|tag| What::Untagged { id, tag: tag.clone() });
    Ok(tagged.chain(untagged).collect())
}

/// `POST /recordings/{id}/notes`.
pub(super) async fn add_note(
    State(app): State<App>,
    asker: Asker,
    id: Result<Path<RecordingId>, PathRejection>,
    body: String,
) -> Result<Response, Refusal> {
    let Path(id) = id.map_err(|_| Refusal::NoPage)?;
    let (mut text, mut at) = (String::new(), String::new());
    for (name, value) in form_urlencoded::parse(body.as_bytes()) {
        match &*name {
            "text" => text = value.trim().replace("\r\n", "\n"),
            "at" => at = value.trim().to_owned(),
            _ => {}
        }
    }
    if text.is_empty() {
        return Err(Refusal::Wrong("A note needs some text.".to_owned()));
    }
    let at_ms = match at.as_str() {
        "" => None,
        at => Some(place(at).ok_or_else(|| {
            Refusal::Wrong(format!("{at:?} is no place in a recording: write it as 2:10 or 130."))
        })?),
    };
    let now = app.now();
    app.read(move |archive| {
        asker.permitted(archive, id, Permission::ModifyDetails)?;
        let who = asker.caller.name().to_owned();
        archive.edit(Event { at: now, who, what: What::Noted { id, text, at_ms } })?;
        Ok(archive.sync()?)
    })
    .await?;
    Ok(Redirect::to(&format!("/recordings/{id}")).into_response())
}

/// A place as people write it: seconds, or minutes and seconds, or hours too.
pub(super) fn place(text: &str) -> Option<u64> {
    let (whole, tenths) = text.split_once('.').unwrap_or((text, "0"));
    let parts: Vec<u64> = whole.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
    if parts.is_empty() || parts.len() > 3 {
        return None;
    }
    let seconds = parts.iter().try_fold(0_u64, |sum, part| sum.checked_mul(60)?.checked_add(*part))?;
    let tenths: u64 = tenths.get(..1)?.parse().ok()?;
    seconds.checked_mul(1_000)?.checked_add(tenths * 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_people_write_them() {
        let read = ["0:43", "130", "1:00:05.5", "", "x", "1:2:3:4", "5.", "99999999999999999999"].map(place);
        assert_eq!(read, [Some(43_000), Some(130_000), Some(3_605_500), None, None, None, None, None]);
    }
}
