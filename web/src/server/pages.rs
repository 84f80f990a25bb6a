//! The three pages: recordings, one recording, calls. They read the archive and write HTML; nothing else.

use std::collections::BTreeMap;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html as HtmlBody, IntoResponse, Response};
use decode::Timestamp;
use decode::playout::Timeline;
use serde::Deserialize;
use store::{
    Archive, CallRow, Counters, Outcome, RecordingFacts, RecordingId, Row, Signalling, SignatureState,
    State as Progress, Track,
};

use super::App;
use super::html::{Frame, Html, page};
use super::refusal::Refusal;
use super::sip;
use crate::export::{Export, FileFormat, Shape};
use crate::trace::Trace;
use crate::words;

/// Recordings on one page.
const ROWS: usize = 50;
/// Calls on the page of calls.
const CALLS: usize = 200;
/// Gaps, digits and imperfect seconds shown of one recording; a damaged capture has very many.
const LISTED_MAX: usize = 50;
/// Shorter gaps are not worth a line: the edges of two parties never fall on the same packet.
const GAP_MS_MIN: u64 = 100;

/// Where in the list: the recordings older than this one.
#[derive(Debug, Deserialize)]
pub(super) struct Place {
    before: Option<RecordingId>,
}

/// `GET /`: recordings, newest first. The next page begins behind the last row of this one, so that recordings that
/// come meanwhile move nothing.
pub(super) async fn recordings(
    State(app): State<App>,
    place: Result<Query<Place>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(Place { before }) = place.map_err(|_| Refusal::WrongQuery)?;
    let rows = app.read(move |archive| list(archive, before)).await?;
    let (shown, more) = (rows.get(..ROWS).unwrap_or(&rows), rows.len() > ROWS);
    let mut html = Html::default();
    html.raw("<h1>Recordings</h1>\n");
    match (shown.last(), before) {
        (None, None) => {
            html.raw("<p>There are none yet. <code>earwitness record</code> makes them; <a href=\"/calls\">Calls</a> \
                says what became of each call that was seen.</p>\n");
        }
        (None, Some(_)) => {
            html.raw("<p>There are no older ones. <a href=\"/\">Newest</a></p>\n");
        }
        (Some(last), _) => {
            recordings_table(&mut html, shown);
            html.raw("<p class=\"pages\">");
            if before.is_some() {
                html.raw("<a href=\"/\">Newest</a> ");
            }
            if more {
                html.raw("<a href=\"/?before=").text(last.facts.id).raw("\">Older</a>");
            }
            html.raw("</p>\n");
        }
    }
    Ok(whole(StatusCode::OK, "Recordings", &html))
}

/// One row more than a page has, to know whether there is a next one.
fn list(archive: &Archive, before: Option<RecordingId>) -> Result<Vec<Row>, Refusal> {
    let mut query = store::Query::default();
    (query.before, query.limit) = (before, Some(ROWS + 1));
    Ok(archive.search(&query).collect::<Result<_, _>>()?)
}

fn recordings_table(html: &mut Html, rows: &[Row]) {
    html.raw("<table class=\"list\">\n<thead><tr>");
    for name in ["Recording", "Started", "", "Extension", "Other party"] {
        html.raw("<th scope=\"col\">").raw(name).raw("</th>");
    }
    html.raw("<th scope=\"col\" class=\"n\">Length</th><th scope=\"col\">Codec</th>").raw(
        "<th scope=\"col\" class=\"n\">Lost</th><th scope=\"col\">State</th><th scope=\"col\">Signed</th>",
    );
    for field in words::named_fields() {
        html.raw("<th scope=\"col\">").text(words::field(field)).raw("</th>");
    }
    html.raw("</tr></thead>\n<tbody>\n");
    for row in rows {
        recordings_row(html, row);
    }
    html.raw("</tbody>\n</table>\n");
}

fn recordings_row(html: &mut Html, row: &Row) {
    let facts = &row.facts;
    let lost: u64 = facts.tracks.iter().map(|t| t.lost_network.saturating_add(t.lost_capture)).sum();
    let mut codecs: Vec<&str> = facts.tracks.iter().map(|track| track.codec.name()).collect();
    codecs.dedup();
    html.raw("<tr><td class=\"id\">");
    link(html, facts.id);
    html.raw("</td>").cell("Started", words::moment(facts.started)).raw("<td class=\"way\">");
    way(html, facts);
    html.raw("</td>");
    html.cell("Extension", words::named(&facts.extension, facts.extension_name.as_deref()));
    html.cell("Other party", other_party(facts));
    html.raw("<td class=\"n\" data-label=\"Length\">").text(words::length(facts.duration_ms)).raw("</td>");
    html.cell("Codec", codecs.join("/"));
    html.raw("<td class=\"n\" data-label=\"Lost\">").text(lost).raw("</td><td data-label=\"State\">");
    if row.deleted.is_some() {
        html.raw("deleted</td><td data-label=\"Signed\">–</td>");
        fields_cells(html, facts);
        return;
    }
    mark(html, words::state(facts.state), facts.state == Progress::Interrupted);
    html.raw("</td><td data-label=\"Signed\">");
    match row.signature {
        SignatureState::Valid => html.raw("valid"),
        SignatureState::Invalid => html.raw("<strong class=\"bad\">INVALID</strong>"),
        SignatureState::Missing => html.raw("<span class=\"warn\">missing</span>"),
    };
    html.raw("</td>");
    fields_cells(html, facts);
}

/// The end of a row: what stands in the fields that have a name.
fn fields_cells(html: &mut Html, facts: &RecordingFacts) {
    for field in words::named_fields() {
        html.raw("<td>").isolated(facts.fields.of(field).unwrap_or_default()).raw("</td>");
    }
    html.raw("</tr>\n");
}

/// What the page of one recording shows.
struct Shown {
    row: Row,
    /// What verification has to say against it.
    problem: Option<String>,
    /// The measured timeline, or why it cannot be played.
    timeline: Result<Timeline, String>,
    warnings: Vec<String>,
    /// Its SIP, where it can be read.
    trace: Option<Trace>,
}

/// `GET /recordings/{id}`: everything about one recording, verified now, and its player.
pub(super) async fn recording(
    State(app): State<App>,
    id: Result<Path<RecordingId>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path(id) = id.map_err(|_| Refusal::NoPage)?;
    let shown = app.read(move |archive| look(archive, id)).await?;
    let facts = &shown.row.facts;
    let mut html = Html::default();
    html.raw("<h1>");
    html.isolated(words::named(&facts.extension, facts.extension_name.as_deref())).raw(" ");
    way(&mut html, facts);
    html.raw(" ").isolated(other_party(facts)).raw("</h1>\n<p class=\"sub\">");
    html.text(words::moment(facts.started))
        .raw(" UTC, ")
        .text(words::length(facts.duration_ms))
        .raw("</p>\n");
    player(&mut html, &shown);
    facts_list(&mut html, &shown);
    tracks_table(&mut html, facts);
    // Of a re-encoded one, packets tell of gaps no more.
    if let (Ok(timeline), None) = (&shown.timeline, &facts.recoded) {
        gaps_table(&mut html, timeline);
    }
    if let Some(trace) = &shown.trace {
        sip::part(&mut html, id, trace);
    }
    // The page is there, but the recording is not what it should be: the same status as its audio gets.
    let status = if shown.problem.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
    Ok(whole(status, format_args!("Recording {id}"), &html))
}

fn look(archive: &Archive, id: RecordingId) -> Result<Shown, Refusal> {
    let row = archive.row(id)?;
    let problem = archive.verify(Some(&[id])).find_map(|finding| words::problem(&finding));
    let (timeline, warnings) = match Export::prepare(archive, id) {
        // A file that would be refused needs no player.
        Ok(export) => match export.bytes(FileFormat::Wav, Shape::Stereo) {
            Ok(_) => (Ok(export.timeline().clone()), export.warnings(Shape::Stereo)),
            Err(error) => (Err(Refusal::from(error).words()), Vec::new()),
        },
        Err(error) => (Err(Refusal::from(error).words()), Vec::new()),
    };
    // Nothing of a changed recording is shown; why it cannot be read stands where the player would be.
    let trace = Trace::read(archive, id).ok();
    Ok(Shown { row, problem, timeline, warnings, trace })
}

fn player(html: &mut Html, shown: &Shown) {
    if let Some(problem) = &shown.problem {
        html.raw("<p class=\"alarm\" role=\"alert\"><strong>Do not rely on this recording:</strong> ");
        html.sentence(problem).raw(".</p>\n");
    }
    if let Some(deletion) = &shown.row.deleted {
        html.raw("<p class=\"notice\">The audio was deleted at ")
            .text(deletion.at)
            .raw(" by ")
            .isolated(&deletion.who);
        html.raw(", rule ").isolated(&deletion.rule).raw(": ").sentence(&deletion.why).raw(".</p>\n");
        return;
    }
    match &shown.timeline {
        Ok(_) => {
            html.raw("<audio controls preload=\"none\" src=\"/recordings/").text(shown.row.facts.id);
            html.raw(
                "/audio.wav\"></audio>\n<p class=\"sub\">Left: the extension. Right: the other side.</p>\n",
            );
        }
        Err(_) if shown.problem.is_some() => {
            html.raw("<p class=\"notice\">Nothing of it is played. Restore its file from a copy.</p>\n");
        }
        Err(why) => {
            html.raw("<p class=\"notice\">No player: ").sentence(why).raw("</p>\n");
        }
    }
    for warning in &shown.warnings {
        html.raw("<p class=\"notice\">").sentence(warning).raw("</p>\n");
    }
}

fn facts_list(html: &mut Html, shown: &Shown) {
    let (row, facts) = (&shown.row, &shown.row.facts);
    html.raw("<h2>Facts</h2>\n<dl>");
    html.raw("<dt>Signature</dt><dd>");
    match &shown.problem {
        None if row.deleted.is_some() => html.raw("of the deletion: <span class=\"good\">✓ valid</span>"),
        None if facts.state == Progress::Recording => html.raw("none yet: the call is running"),
        None => html.raw("<span class=\"good\">✓ valid</span>, verified just now"),
        Some(_) => html.raw("<strong class=\"bad\">✗ see above</strong>"),
    };
    html.raw("</dd>");
    match (&shown.timeline, &facts.recoded) {
        (Ok(_), Some(recoded)) => drop(html.fact("Kept as", words::recoded(recoded))),
        (Ok(timeline), None) => drop(html.fact("Completeness", completeness(timeline))),
        (Err(_), _) => {}
    }
    let time = |at: Option<Timestamp>| at.map_or_else(|| "–".to_owned(), |at| at.to_string());
    let rang = [facts.ring_ms, facts.talk_ms, facts.hold_ms].map(words::length).join(" / ");
    html.fact("Recording", facts.id)
        .fact("Call", format_args!("{}, segment {}", facts.call, facts.segment))
        .fact("Direction", words::direction(facts.direction).1)
        .fact("Started", facts.started)
        .fact("Answered", time(facts.answered))
        .fact("Ended", time(facts.ended))
        .fact("Ring / talk / hold", rang)
        .fact("State", words::state(facts.state))
        .fact("Kept because", &facts.rule);
    for (name, value) in [
        ("Dialled number", &facts.ddi),
        ("Name of that", &facts.ddi_name),
        ("Contact", &facts.contact),
        ("Site", &facts.site),
        ("Agent", &facts.agent),
        ("Account code", &facts.account_code),
        ("Hunt group", &facts.hunt_group),
        ("Trunk", &facts.trunk),
        ("Passed on by", &facts.transferred_from),
        ("Business unit", &facts.business_unit),
    ] {
        if let Some(value) = value {
            html.fact(name, value);
        }
    }
    if let Some(user) = &facts.user {
        html.fact("User", words::named(user, facts.user_name.as_deref()));
    }
    if facts.business_unit.is_some() {
        html.fact("Business unit", words::units(facts));
    }
    for (field, value) in facts.fields.iter() {
        html.raw("<dt>").text(words::field(field)).raw("</dt><dd>").isolated(value).raw("</dd>");
    }
    if let Some(stars) = row.rating {
        html.fact("Rating", words::stars(stars));
    }
    if !facts.tags.is_empty() {
        html.fact("Tags", facts.tags.join(", "));
    }
    for hold in row.legal_holds.iter().take(LISTED_MAX) {
        html.fact("Legal hold", format_args!("{}: {} ({}, {})", hold.hold, hold.why, hold.who, hold.at));
    }
    for note in row.notes.iter().take(LISTED_MAX) {
        let place = note.at_ms.map(|ms| format!(" at {}", words::length(ms))).unwrap_or_default();
        html.fact("Note", format_args!("{} ({}, {}{place})", note.text, note.who, note.at));
    }
    for tie in facts.ties.iter().take(LISTED_MAX) {
        html.fact("Part of the call by", format_args!("{} as {}", tie.why, tie.sip_call_id));
    }
    if facts.signalling == Signalling::None {
        html.fact("Signalling", "none: the phone is known by its address");
    }
    if facts.foreign_packets > 0 {
        html.fact("Kept out", format_args!("{} RTP packets of strangers", facts.foreign_packets));
    }
    if facts.joined_late {
        html.fact("Begun earlier", "the call was running when it was first seen");
    }
    if facts.shares_media {
        html.fact("Shared", "another call announced the same addresses and ports at the same time");
    }
    for pause in facts.pauses.iter().take(LISTED_MAX) {
        html.fact("Paused", span(pause.start_ms, pause.end_ms));
    }
    for hold in facts.holds.iter().take(LISTED_MAX) {
        html.fact("On hold", span(hold.start_ms, hold.end_ms));
    }
    if !facts.dtmf.is_empty() {
        let at: Vec<String> =
            facts.dtmf.iter().take(LISTED_MAX).map(|key| words::length(key.at_ms)).collect();
        html.raw("<dt>Digits</dt><dd>")
            .text(facts.dtmf.len())
            .raw(" keyed, at ")
            .sentence(at.join(", "))
            .raw("</dd>");
    }
    for id in facts.sip_call_ids.iter().take(LISTED_MAX) {
        html.fact("SIP Call-ID", id);
    }
    if row.deleted.is_none() {
        html.fact("File", words::size(row.bytes)).fact("SHA-256", &row.sha256);
    }
    html.raw("</dl>\n");
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

fn tracks_table(html: &mut Html, facts: &RecordingFacts) {
    if facts.tracks.is_empty() {
        return;
    }
    html.raw("<h2>Tracks</h2>\n<table>\n<thead><tr>");
    for name in [
        "Party",
        "Codec",
        "Audio",
        "Packets",
        "Lost in the network",
        "Lost by the capture",
        "Out of order",
        "Too late",
        "Copies",
        "Jitter",
        "Clock",
        "MOS",
    ] {
        html.raw("<th scope=\"col\">").raw(name).raw("</th>");
    }
    html.raw("</tr></thead>\n<tbody>\n");
    for track in &facts.tracks {
        html.raw("<tr>")
            .cell("Party", words::party(track.party))
            .cell("Codec", format_args!("{} {} Hz{}", track.codec.name(), track.clock_rate, kept_as(track)))
            .cell("Audio", words::length(track.audio_ms))
            .cell("Packets", track.packets)
            .cell("Lost in the network", track.lost_network)
            .cell("Lost by the capture", track.lost_capture)
            .cell("Out of order", track.reordered)
            .cell("Too late", track.quality.late)
            .cell("Copies", track.duplicates)
            .cell("Jitter", format_args!("{:.1} ms", track.jitter_ms))
            .cell("Clock", format_args!("{:+.1} ppm", track.skew_ppm))
            .cell("MOS", track.mos.map_or_else(|| "–".to_owned(), |mos| format!("{mos:.2}")))
            .raw("</tr>\n");
    }
    html.raw("</tbody>\n</table>\n");
    for track in &facts.tracks {
        for what in words::secrecy(track) {
            html.raw("<p>").text(format_args!("{}: {what}.", words::party(track.party))).raw("</p>\n");
        }
    }
}

fn gaps_table(html: &mut Html, timeline: &Timeline) {
    let gaps: Vec<_> =
        timeline.gaps.iter().filter(|gap| gap.end_ms.saturating_sub(gap.start_ms) >= GAP_MS_MIN).collect();
    if gaps.is_empty() {
        return;
    }
    html.raw("<h2>Gaps</h2>\n<table>\n<thead><tr><th scope=\"col\">Party</th><th scope=\"col\">From</th>")
        .raw("<th scope=\"col\">To</th><th scope=\"col\">Why there is no sound</th></tr></thead>\n<tbody>\n");
    for gap in gaps.iter().take(LISTED_MAX) {
        html.raw("<tr>")
            .cell("Party", words::party(gap.party))
            .cell("From", words::length(gap.start_ms))
            .cell("To", words::length(gap.end_ms))
            .cell("Why", words::gap(gap.kind))
            .raw("</tr>\n");
    }
    html.raw("</tbody>\n</table>\n");
    let more = (gaps.len().saturating_sub(LISTED_MAX) as u64).saturating_add(timeline.gaps_left_out);
    if more > 0 {
        html.raw("<p class=\"sub\">and ")
            .text(more)
            .raw(" more: <code>earwitness archive show --json</code> lists them</p>\n");
    }
}

/// The balance sheet.
#[derive(Default)]
struct Sheet {
    outcomes: BTreeMap<Outcome, u64>,
    counters: Counters,
    /// The calls that began last, by their start and their place in the ledger.
    latest: BTreeMap<(Timestamp, u64), CallRow>,
    /// Lines that could not be read.
    unreadable: u64,
}

/// `GET /calls`: how many calls were seen, what became of them, and the last of them with the reason.
pub(super) async fn calls(State(app): State<App>) -> Result<Response, Refusal> {
    let sheet = app.read(add_up).await?;
    let mut html = Html::default();
    html.raw("<h1>Calls</h1>\n<table class=\"sheet\">\n<tbody>\n");
    for outcome in Outcome::ALL {
        if let Some(count) = sheet.outcomes.get(&outcome) {
            html.raw("<tr><td>")
                .text(words::outcome(outcome))
                .raw("</td><td class=\"n\">")
                .text(count)
                .raw("</td></tr>\n");
        }
    }
    let seen: u64 = sheet.outcomes.values().sum();
    html.raw("</tbody>\n<tfoot><tr><td>calls seen</td><td class=\"n\">")
        .text(seen)
        .raw("</td></tr></tfoot>\n</table>\n");
    counters(&mut html, &sheet.counters);
    if sheet.unreadable > 0 {
        html.raw("<p class=\"alarm\" role=\"alert\">").text(sheet.unreadable);
        html.raw(
            " lines of the ledger could not be read: <code>earwitness archive check</code> tells more.</p>\n",
        );
    }
    calls_table(&mut html, &sheet, seen);
    Ok(whole(StatusCode::OK, "Calls", &html))
}

fn add_up(archive: &Archive) -> Result<Sheet, Refusal> {
    let mut sheet = Sheet::default();
    for (place, row) in (0..).zip(archive.calls()?) {
        let Ok(row) = row else {
            sheet.unreadable += 1;
            continue;
        };
        *sheet.outcomes.entry(row.outcome).or_default() += 1;
        sheet.latest.insert((row.started, place), row);
        if sheet.latest.len() > CALLS {
            sheet.latest.pop_first();
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

fn counters(html: &mut Html, counters: &Counters) {
    html.raw("<p class=\"sub\">").sentence(words::counters(counters));
    html.raw("</p>\n");
}

fn calls_table(html: &mut Html, sheet: &Sheet, seen: u64) {
    if sheet.latest.is_empty() {
        return;
    }
    if seen > CALLS as u64 {
        html.raw("<h2>The last ").text(CALLS).raw("</h2>\n");
    }
    html.raw("<table class=\"list\">\n<thead><tr>");
    for name in ["Started", "From", "To", "Outcome", "Reason", "Recordings"] {
        html.raw("<th scope=\"col\">").raw(name).raw("</th>");
    }
    html.raw("</tr></thead>\n<tbody>\n");
    for row in sheet.latest.values().rev() {
        html.raw("<tr>")
            .cell("Started", words::moment(row.started))
            .cell("From", &row.from)
            .cell("To", &row.to)
            .cell("Outcome", words::outcome(row.outcome))
            .cell("Reason", &row.reason)
            .raw("<td class=\"id\" data-label=\"Recordings\">");
        for id in row.recordings.iter().take(LISTED_MAX) {
            link(html, *id);
            html.raw(" ");
        }
        html.raw("</td></tr>\n");
    }
    html.raw("</tbody>\n</table>\n");
}

fn link(html: &mut Html, id: RecordingId) {
    html.raw("<a href=\"/recordings/").text(id).raw("\">").text(id).raw("</a>");
}

fn way(html: &mut Html, facts: &RecordingFacts) {
    let (sign, word) = words::direction(facts.direction);
    html.raw("<span title=\"").raw(word).raw("\"><span aria-hidden=\"true\">").raw(sign);
    html.raw("</span><span class=\"unseen\">").raw(word).raw("</span></span>");
}

fn mark(html: &mut Html, word: &'static str, stands_out: bool) {
    if stands_out {
        html.raw("<span class=\"warn\">").raw(word).raw("</span>");
    } else {
        html.raw(word);
    }
}

fn other_party(facts: &RecordingFacts) -> String {
    words::named(facts.other_party.as_deref().unwrap_or("unknown"), facts.other_party_name.as_deref())
}

fn whole(status: StatusCode, title: impl std::fmt::Display, body: &Html) -> Response {
    (status, HtmlBody(page(Frame::Inside, title, body))).into_response()
}
