//! A recording as a WAVE file by HTTP: decrypted and decoded while it is sent, whole or one range of it (RFC 9110, 14).
//!
//! A range is cut out of the whole file, which is rendered from its beginning each time: decoders and clock maps carry
//! state from packet to packet, and rendering runs some thousand times faster than listening (some hundred times where an
//! outside program decodes). Memory holds
//! [`CHUNKS_WAITING`] pieces per playback, whatever the length of the call: a listener who does not read makes the
//! renderer wait. Who listens is written down once, not for each range.
//!
//! A recording that still runs is served up to now. A player asks for its file in several ranges and must be given the same file each
//! time: `?until_ms=N` cuts it off there, so that its length stays while the call goes on and after it has ended.

use std::io::{self, Write};

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use policy::Permission;
use serde::Deserialize;
use store::{Archive, RecordingId};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::App;
use super::body::{Exactly, Use};
use super::caller::Asker;
use super::range::{Selection, select};
use super::refusal::Refusal;
use crate::export::{Export, FileFormat, Shape};

/// Pieces that may wait for the listener; each is what the export writes at once, at most 64 KiB.
const CHUNKS_WAITING: usize = 4;
/// What browsers play.
const FORMAT: FileFormat = FileFormat::Wav;
const SHAPE: Shape = Shape::Stereo;

/// `GET /recordings/{id}/audio.wav`.
pub(super) async fn audio(
    State(app): State<App>,
    asker: Asker,
    method: Method,
    headers: HeaderMap,
    id: Result<Path<RecordingId>, axum::extract::rejection::PathRejection>,
    cut: Result<Query<Cut>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Refusal> {
    let Path(id) = id.map_err(|_| Refusal::NoPage)?;
    let Query(Cut { until_ms }) = cut.map_err(|_| Refusal::WrongQuery)?;
    let who = asker.clone();
    app.read(move |archive| who.permitted(archive, id, Permission::Play).map(drop)).await?;
    app.note_played(&asker, id).await?;
    let permit = app.playback_permit()?;
    // Ranges are defined for GET. `If-Range` names a version of the file and we give none out, so it cannot match.
    let wanted = headers
        .get(header::RANGE)
        .filter(|_| method == Method::GET && !headers.contains_key(header::IF_RANGE))
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let (ready, opened) = oneshot::channel();
    let (sender, chunks) = mpsc::channel(CHUNKS_WAITING);
    let wants_body = method == Method::GET;
    let work = Work { id, until_ms, wanted, wants_body, sender, _permit: permit };
    let archive = app.clone();
    tokio::task::spawn_blocking(move || work.run(archive.archive(), ready));
    let Opened { selection, total } = opened.await.map_err(|_| Refusal::BrokeOff)??;

    let (status, range) = match selection {
        Selection::Whole => (StatusCode::OK, 0..total),
        Selection::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Selection::Unsatisfiable => return Err(Refusal::WrongRange { total }),
    };
    let length = range.end - range.start;
    let body = if wants_body {
        Body::new(Exactly::new(chunks, length, Use::new(&app, &asker)))
    } else {
        Body::empty()
    };
    let fields = [
        (header::CONTENT_TYPE, "audio/wav".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CONTENT_DISPOSITION, format!("inline; filename=\"{id}.wav\"")),
    ];
    let mut response = (status, fields, body).into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        let field = format!("bytes {}-{}/{total}", range.start, range.end - 1);
        let value = field.try_into().map_err(|_| Refusal::BrokeOff)?;
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    Ok(response)
}

/// Where the file is cut off, in milliseconds from the recording's start.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cut {
    until_ms: Option<u64>,
}

/// What is known before the first byte leaves.
struct Opened {
    selection: Selection,
    /// Length of the whole file in bytes.
    total: u64,
}

/// One playback, on a thread that may wait.
struct Work {
    id: RecordingId,
    until_ms: Option<u64>,
    wanted: Option<String>,
    wants_body: bool,
    sender: mpsc::Sender<Bytes>,
    /// Given back when the work ends.
    _permit: OwnedSemaphorePermit,
}

impl Work {
    fn run(self, archive: &Archive, ready: oneshot::Sender<Result<Opened, Refusal>>) {
        let measured = Export::prepare_until(archive, self.id, self.until_ms)
            .and_then(|export| export.bytes(FORMAT, SHAPE).map(|total| (export, total)));
        let (export, total) = match measured {
            Ok(measured) => measured,
            // Who asked may have gone away meanwhile; then nobody needs the answer.
            Err(error) => return drop(ready.send(Err(error.into()))),
        };
        let selection = select(self.wanted.as_deref(), total);
        let range = match &selection {
            Selection::Whole => 0..total,
            Selection::Part(range) => range.clone(),
            Selection::Unsatisfiable => 0..0,
        };
        if ready.send(Ok(Opened { selection, total })).is_err() || !self.wants_body || range.is_empty() {
            return;
        }
        let mut window = Window { skip: range.start, left: range.end - range.start, listener: self.sender };
        if let Err(error) = export.write(FORMAT, SHAPE, &mut window)
            && window.left > 0
            && !window.listener.is_closed()
        {
            // The listener's connection breaks off short of the length that was announced: nobody takes it for whole.
            tracing::error!(id = %self.id, %error, "a playback broke off");
        }
    }
}

/// Takes the whole file and passes a stretch of it on.
#[derive(Debug)]
struct Window {
    /// Bytes still to come before the stretch.
    skip: u64,
    /// Bytes of the stretch still to come.
    left: u64,
    listener: mpsc::Sender<Bytes>,
}

impl Write for Window {
    /// Fails when the stretch is complete or nobody listens any more: the rest need not be rendered.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        let rest = bytes.get(skipped..).unwrap_or_default();
        let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
        let part = rest.get(..taken).unwrap_or_default();
        self.skip -= skipped as u64;
        self.left -= taken as u64;
        if !part.is_empty() {
            let sent = self.listener.blocking_send(Bytes::copy_from_slice(part));
            sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        } else if self.listener.is_closed() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes through a window of `skip` and `left` when 1000 bytes are written in pieces of `piece`.
    fn through(skip: u64, left: u64, piece: usize) -> Vec<u8> {
        let file: Vec<u8> = (0..1_000_u32).map(|i| (i % 251) as u8).collect();
        let (listener, mut chunks) = mpsc::channel(1_000);
        let mut window = Window { skip, left, listener };
        for piece in file.chunks(piece) {
            if window.write_all(piece).is_err() {
                break;
            }
        }
        assert_eq!(window.left, 0);
        drop(window);
        let mut out = Vec::new();
        while let Ok(chunk) = chunks.try_recv() {
            out.extend_from_slice(&chunk);
        }
        assert_eq!(out, file[skip as usize..(skip + left) as usize]);
        out
    }

    #[test]
    fn a_window_passes_its_stretch_and_nothing_else_however_the_file_is_written() {
        for piece in [1, 7, 64, 1_000] {
            for (skip, left) in [(0, 1_000), (0, 1), (999, 1), (63, 2), (64, 64), (100, 333)] {
                assert_eq!(through(skip, left, piece).len() as u64, left);
            }
        }
    }

    #[test]
    fn rendering_ends_when_nobody_listens() {
        let (listener, chunks) = mpsc::channel(1);
        drop(chunks);
        let mut window = Window { skip: 1_000_000, left: 1, listener };
        assert!(window.write(&[0; 100]).is_err(), "before the stretch begins, too");
    }
}
