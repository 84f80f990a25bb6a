//! The SIP of a recording: as a capture file, and as the part of its page that says who sent what to whom.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use store::RecordingId;

use super::App;
use super::html::Html;
use super::refusal::Refusal;
use crate::trace::Trace;

/// Messages listed on the page; the capture file has all.
const LISTED_MAX: usize = 200;

/// `GET /recordings/{id}/sip.pcapng`. What is kept of one call fits into memory.
pub(super) async fn capture(
    State(app): State<App>,
    id: Result<Path<RecordingId>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path(id) = id.map_err(|_| Refusal::NoPage)?;
    let _permit = app.playback_permit()?;
    let file = app
        .read(move |archive| {
            let trace = Trace::read(archive, id)?;
            if trace.is_empty() {
                return Err(Refusal::NoPage);
            }
            let mut file = Vec::new();
            trace.write_pcapng(&mut file)?;
            Ok(file)
        })
        .await?;
    let fields = [
        (header::CONTENT_TYPE, "application/x-pcapng".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{id}.sip.pcapng\"")),
    ];
    Ok((fields, file).into_response())
}

/// The part of a recording's page; nothing where no SIP is kept.
pub(super) fn part(html: &mut Html, id: RecordingId, trace: &Trace) {
    if trace.is_empty() {
        return;
    }
    html.raw("<h2>SIP</h2>\n<p><a href=\"/recordings/")
        .text(id)
        .raw("/sip.pcapng\" download>Capture file</a> of ");
    html.text(trace.len()).raw(
        " messages, for Wireshark or sngrep. Keys, credentials and texts are not kept: x stands for them.</p>\n<table>\n<thead><tr>",
    );
    for name in ["Time", "From", "To", "Message", "CSeq", "Over", "Note"] {
        html.raw("<th scope=\"col\">").raw(name).raw("</th>");
    }
    html.raw("</tr></thead>\n<tbody>\n");
    for step in trace.steps().iter().take(LISTED_MAX) {
        let mut note: Vec<String> = Vec::new();
        if step.repeated {
            note.push("sent again".to_owned());
        }
        if !step.redacted.is_empty() {
            note.push(format!("replaced: {}", step.redacted.join(", ")));
        }
        let sdp = if step.has_sdp { " (SDP)" } else { "" };
        html.raw("<tr>")
            .cell("Time", step.time_of_day())
            .cell("From", &step.from)
            .cell("To", &step.to)
            .cell("Message", format_args!("{}{sdp}", step.what))
            .cell("CSeq", &step.cseq)
            .cell("Over", step.transport)
            .cell("Note", note.join("; "))
            .raw("</tr>\n");
    }
    html.raw("</tbody>\n</table>\n");
    if trace.len() > LISTED_MAX {
        html.raw("<p class=\"sub\">The capture file has ").text(trace.len() - LISTED_MAX).raw(" more.</p>\n");
    }
    for warning in trace.warnings() {
        html.raw("<p class=\"notice\">").sentence(warning).raw(".</p>\n");
    }
}
