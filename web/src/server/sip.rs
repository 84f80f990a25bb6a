//! The SIP of a recording as a capture file.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use policy::Permission;
use store::{AccessEvent, RecordingId};

use super::App;
use super::caller::Asker;
use super::refusal::Refusal;
use crate::trace::Trace;

/// `GET /recordings/{id}/sip.pcapng`. What is kept of one call fits into memory.
pub(super) async fn capture(
    State(app): State<App>,
    asker: Asker,
    id: Result<Path<RecordingId>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path(id) = id.map_err(|_| Refusal::NoPage)?;
    let _permit = app.playback_permit()?;
    let who = asker.clone();
    let file = app
        .read(move |archive| {
            asker.permitted(archive, id, Permission::Signalling)?;
            let trace = Trace::read(archive, id)?;
            if trace.is_empty() {
                return Err(Refusal::NoPage);
            }
            let mut file = Vec::new();
            trace.write_pcapng(&mut file)?;
            Ok(file)
        })
        .await?;
    app.note(&who, AccessEvent::SipDownloaded { id }).await?;
    let fields = [
        (header::CONTENT_TYPE, "application/x-pcapng".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{id}.sip.pcapng\"")),
    ];
    Ok((fields, file).into_response())
}
