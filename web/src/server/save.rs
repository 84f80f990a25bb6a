//! Recordings as files for whoever may take them along: one as one file, several as a ZIP. They are decrypted while they are sent;
//! nothing of them is kept on the way.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::ops::Range;

use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use policy::Permission;
use store::{Archive, Event, RecordingId, What};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::App;
use super::assign::{self, To};
use super::body::{Chunks, Use};
use super::caller::Asker;
use super::escape::brief;
use super::form::Form;
use super::recording::{TAG_MAX, place};
use super::recordings::Selected;
use super::recordings::search::{Search, leave_running_out};
use super::refusal::Refusal;
use crate::Error;
use crate::bundle::{RECORDINGS_MAX, Selection, bundle};
use crate::export::{Export, FileFormat, Shape};
use crate::manifest::Exporter;
use crate::vcon;
use crate::words::length;

/// Pieces that may wait for whoever takes them.
const CHUNKS_WAITING: usize = 4;
/// Calls of several segments that are picked at once: a page has no more.
const CALLS_MAX: usize = 200;
/// Bytes of a piece.
const CHUNK: usize = 64 * 1024;

/// What a file is saved as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum As {
    Audio(FileFormat),
    Zip,
    Vcon,
}

impl As {
    /// What a file may be saved as, as addresses and forms have it.
    pub(super) const WORDS: [&str; 6] = ["zip", "wav", "flac", "ogg", "gsm", "vcon"];

    pub(super) fn of(query: &str) -> Option<As> {
        let word =
            form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "as").map(|(_, value)| value);
        word.as_deref().map_or(Some(As::Zip), As::named)
    }

    /// By one of [`As::WORDS`].
    pub(super) fn named(word: &str) -> Option<As> {
        Some(match word {
            "zip" => As::Zip,
            "vcon" => As::Vcon,
            "wav" => As::Audio(FileFormat::Wav),
            "flac" => As::Audio(FileFormat::Flac),
            "ogg" => As::Audio(FileFormat::Ogg),
            "gsm" => As::Audio(FileFormat::Gsm),
            _ => return None,
        })
    }

    /// The end of the file's name, and its media type.
    pub(super) fn kind(self) -> (&'static str, &'static str) {
        match self {
            As::Zip => ("zip", "application/zip"),
            As::Vcon => ("vcon.json", "application/vcon+json"),
            As::Audio(FileFormat::Flac) => ("flac", "audio/flac"),
            As::Audio(FileFormat::Ogg) => ("ogg", "audio/ogg"),
            As::Audio(_) => ("wav", "audio/wav"),
        }
    }
}

/// A part of one recording, in milliseconds from its start.
pub(super) type Part = Range<u64>;

/// The part that a page asks for: `from` and `to` as people write them, either of them left out for the recording's own end. None where both are.
fn part(query: &str) -> Result<Option<Part>, Refusal> {
    let form = Form::parse(query);
    let place_of = |name: &str| match form.text(name) {
        "" => Ok(None),
        text => place(text).map(Some).ok_or_else(|| {
            Refusal::Wrong(format!("{} is no place in a recording: write it as 2:10 or 130.", brief(text)))
        }),
    };
    Ok(match (place_of("from")?, place_of("to")?) {
        (None, None) => None,
        (from, to) => Some(from.unwrap_or(0)..to.unwrap_or(u64::MAX)),
    })
}

/// `GET /recordings/{id}/save?as=FORMAT`, or of a part, `&from=1:30&to=2:10`.
pub(super) async fn save(
    State(app): State<App>,
    asker: Asker,
    id: Result<Path<RecordingId>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let Path(id) = id.map_err(|_| Refusal::NoPage)?;
    let query = query.unwrap_or_default();
    let kind = As::of(&query).ok_or(Refusal::WrongQuery)?;
    let part = part(&query)?;
    let who = asker.clone();
    app.read(move |archive| who.permitted(archive, id, Permission::Save).map(drop)).await?;
    send_one(&app, &asker, id, kind, part).await
}

/// Sends one recording, or a part of it.
pub(super) async fn send_one(
    app: &App,
    asker: &Asker,
    id: RecordingId,
    kind: As,
    part: Option<Part>,
) -> Result<Response, Refusal> {
    if part.is_some() && !matches!(kind, As::Audio(_)) {
        let why =
            "A part is saved as audio: WAV, FLAC, Opus or GSM. What proves a recording proves it whole.";
        return Err(Refusal::Wrong(why.to_owned()));
    }
    let name = match &part {
        Some(part) => format!("{id}-from-{}", length(part.start).replace(':', ".")),
        None => id.to_string(),
    };
    send(app, asker, vec![id], (kind, part), &name).await
}

/// `POST /recordings/zip`: all that a search means.
pub(super) async fn zip(State(app): State<App>, asker: Asker, body: String) -> Result<Response, Refusal> {
    asker.need(Permission::Save)?;
    let address = form_urlencoded::parse(body.as_bytes())
        .find(|(name, _)| name == "search")
        .map(|(_, value)| value.into_owned());
    let query = address.as_deref().and_then(|address| address.split_once('?')).map_or("", |(_, query)| query);
    let ids = app.meant(&asker, &Search::parse(query), RECORDINGS_MAX + 1).await?;
    send_zip(&app, &asker, ids).await
}

/// `POST /recordings/selected`: what is done with those that somebody has picked.
pub(super) async fn selected(
    State(app): State<App>,
    asker: Asker,
    body: String,
) -> Result<Response, Refusal> {
    let selected = Selected::parse(&body);
    let permission = match selected.what.as_str() {
        "zip" => Permission::Save,
        "email" => Permission::Email,
        "tag" | "give" | "nobody" | "back" => Permission::ModifyDetails,
        "hold" => Permission::Holds,
        _ => return Err(Refusal::WrongQuery),
    };
    let (ids, calls, who) = (selected.ids, selected.calls, asker.clone());
    let ids = app.read(move |archive| picked(archive, &who, permission, ids, &calls)).await?;
    match permission {
        Permission::Save => return send_zip(&app, &asker, ids).await,
        Permission::Email => return app.begin_mail(asker, ids).await,
        Permission::Holds => return app.begin_hold(&asker, &ids).await,
        _ => {}
    }
    let back = app.last_search(asker.caller.name()).unwrap_or_else(|| "/recordings".to_owned());
    if selected.what != "tag" {
        let (to, now) = (To::of(&Form::parse(&body))?, app.now());
        app.read(move |archive| assign::give(archive, &asker, &ids, &to, now)).await?;
        return Ok(Redirect::to(&back).into_response());
    }
    let tag = form_urlencoded::parse(body.as_bytes())
        .find(|(name, _)| name == "tag")
        .map(|(_, value)| value.trim().to_owned());
    let tag = tag.unwrap_or_default();
    check_tag(&tag)?;
    let (now, name) = (app.now(), asker.caller.name().to_owned());
    app.read(move |archive| {
        for id in ids {
            archive.edit(Event {
                at: now,
                who: name.clone(),
                what: What::Tagged { id, tag: tag.clone() },
            })?;
        }
        Ok(archive.sync()?)
    })
    .await?;
    Ok(Redirect::to(&back).into_response())
}

/// Looks at a tag that somebody has written.
pub(super) fn check_tag(tag: &str) -> Result<(), Refusal> {
    if tag.is_empty() {
        return Err(Refusal::Wrong("Write a tag before the button.".to_owned()));
    }
    if tag.len() > TAG_MAX || tag.contains(',') || tag.chars().any(char::is_control) {
        return Err(Refusal::Wrong(format!("A tag has at most {TAG_MAX} bytes, and no comma.")));
    }
    Ok(())
}

/// Those of them that one may do this with, and the segments of whole calls likewise.
pub(super) fn picked(
    archive: &Archive,
    asker: &Asker,
    permission: Permission,
    ids: Vec<RecordingId>,
    calls: &[String],
) -> Result<Vec<RecordingId>, Refusal> {
    asker.need(permission)?;
    let mut all = BTreeSet::new();
    for id in ids.into_iter().take(RECORDINGS_MAX) {
        asker.row(archive, id)?;
        all.insert(id);
    }
    let calls: BTreeSet<&String> = calls.iter().filter(|call| !call.is_empty()).collect();
    if calls.len() > CALLS_MAX {
        return Err(Refusal::Wrong(format!("At most {CALLS_MAX} calls of several segments at once.")));
    }
    for call in calls {
        let mut query = store::Query::default();
        query.seen_by = Some(asker.caller.clone());
        query.call(call).map_err(|_| Refusal::WrongQuery)?;
        leave_running_out(&mut query);
        query.limit = Some(RECORDINGS_MAX);
        for row in archive.search(&query) {
            let row = row?;
            // A name may be the beginning of another call's.
            if row.facts.call == *call {
                all.insert(row.facts.id);
            }
        }
    }
    Ok(all.into_iter().collect())
}

/// Sends them as one ZIP.
pub(super) async fn send_zip(app: &App, asker: &Asker, ids: Vec<RecordingId>) -> Result<Response, Refusal> {
    match ids.len() {
        0 => Err(Refusal::Wrong("Pick at least one recording.".to_owned())),
        n if n > RECORDINGS_MAX => Err(Refusal::Wrong(format!(
            "One ZIP holds {RECORDINGS_MAX} recordings. Take a shorter time, and make several."
        ))),
        _ => {
            let name = format!("recordings-{}", app.zone().zoned(app.now()).strftime("%Y%m%d-%H%M%S"));
            send(app, asker, ids, (As::Zip, None), &name).await
        }
    }
}

/// Writes them while they are sent. Who saved what is written down before the first byte leaves.
pub(super) async fn send(
    app: &App,
    asker: &Asker,
    ids: Vec<RecordingId>,
    (kind, part): (As, Option<Part>),
    name: &str,
) -> Result<Response, Refusal> {
    let permit = app.playback_permit()?;
    let (ending, _) = kind.kind();
    let noted = match &part {
        Some(Range { start, end: u64::MAX }) => format!("{ending}, from {}", length(*start)),
        Some(part) => format!("{ending}, {} to {}", length(part.start), length(part.end)),
        None => ending.to_owned(),
    };
    app.note_saved(asker, &ids, &noted).await?;
    Making { part, ..Making::new(app, asker, ids, kind) }.send(app, asker, name, permit).await
}

/// One file, of one or several recordings.
pub(super) struct Making {
    ids: Vec<RecordingId>,
    kind: As,
    /// Only this of it.
    part: Option<Part>,
    exporter: Exporter,
    /// SIP messages are for who may see signalling.
    without_sip: bool,
}

/// One of which all is known that could keep it from being made.
enum Opened<'a> {
    Audio(Box<Export<'a>>, FileFormat),
    /// Made already, and held in memory.
    Whole(Vec<u8>),
    Zip,
}

impl Making {
    /// The whole of each of these, for whoever asks.
    pub(super) fn new(app: &App, asker: &Asker, ids: Vec<RecordingId>, kind: As) -> Making {
        Making {
            ids,
            kind,
            part: None,
            exporter: Exporter::new(asker.caller.name(), app.now()),
            without_sip: !asker.caller.may(Permission::Signalling),
        }
    }

    /// What keeps it from being made, as far as that is known before.
    ///
    /// # Errors
    /// That.
    pub(super) fn check(&self, archive: &Archive) -> Result<(), Refusal> {
        Ok(self.open(archive).map(drop)?)
    }

    /// All of it; none where it has more than `most` bytes.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn whole(&self, archive: &Archive, most: usize) -> Result<Option<Vec<u8>>, Refusal> {
        let mut bounded = Bounded { bytes: Vec::new(), most, is_over: false };
        match self.open(archive)?.write(self, archive, &mut bounded) {
            _ if bounded.is_over => Ok(None),
            Ok(()) => Ok(Some(bounded.bytes)),
            Err(error) => Err(error.into()),
        }
    }

    fn open<'a>(&self, archive: &'a Archive) -> Result<Opened<'a>, Error> {
        match (self.kind, self.ids.as_slice()) {
            (As::Audio(format), &[id]) => {
                let export = Export::prepare(archive, id)?;
                let export = match &self.part {
                    Some(part) => export.cut(part.clone())?,
                    None => export,
                };
                export.check(format, Shape::Stereo)?;
                Ok(Opened::Audio(Box::new(export), format))
            }
            (As::Vcon, &[id]) => {
                // It is held in memory whole: what cannot be made is told before anything leaves.
                let selection = Selection { format: FileFormat::Ogg, ..Selection::default() };
                let mut whole = Vec::new();
                vcon::export(archive, id, selection, &self.exporter, &mut whole)?;
                Ok(Opened::Whole(whole))
            }
            _ => Ok(Opened::Zip),
        }
    }

    /// Sends what was written down already that it is taken.
    ///
    /// # Errors
    /// What keeps it from being made; nothing has left then.
    pub(super) async fn send(
        self,
        app: &App,
        asker: &Asker,
        name: &str,
        permit: OwnedSemaphorePermit,
    ) -> Result<Response, Refusal> {
        let (ending, media_type) = self.kind.kind();
        let (sender, chunks) = mpsc::channel(CHUNKS_WAITING);
        let (ready, opened) = oneshot::channel();
        let job = Job { making: self, _permit: permit };
        let archive = app.clone();
        tokio::task::spawn_blocking(move || {
            job.run(archive.archive(), Sink { sender, waiting: Vec::new() }, ready)
        });
        opened.await.map_err(|_| Refusal::BrokeOff)??;
        let fields = [
            (header::CONTENT_TYPE, media_type.to_owned()),
            (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.{ending}\"")),
        ];
        Ok((fields, Body::new(Chunks::new(chunks, Use::new(app, asker)))).into_response())
    }
}

impl Opened<'_> {
    fn write(self, making: &Making, archive: &Archive, out: &mut impl Write) -> Result<(), Error> {
        match self {
            Opened::Audio(export, format) => export.write(format, Shape::Stereo, out).map(drop),
            Opened::Whole(whole) => out.write_all(&whole).map_err(Into::into),
            Opened::Zip => {
                let selection = Selection { without_sip: making.without_sip, ..Selection::default() };
                bundle(archive, &making.ids, selection, &making.exporter, out, |_, _| ()).map(drop)
            }
        }
    }
}

/// One file on its way, on a thread that may wait.
struct Job {
    making: Making,
    /// Given back when the work ends.
    _permit: OwnedSemaphorePermit,
}

impl Job {
    fn run(self, archive: &Archive, mut sink: Sink, ready: oneshot::Sender<Result<(), Refusal>>) {
        let opened = match self.making.open(archive) {
            Ok(opened) => opened,
            Err(error) => return drop(ready.send(Err(error.into()))),
        };
        let _ = ready.send(Ok(()));
        let written = opened.write(&self.making, archive, &mut sink);
        let written = written.and_then(|()| sink.flush().map_err(Into::into));
        if let Err(error) = written
            && !sink.sender.is_closed()
        {
            // The connection breaks off without an end: nobody takes the file for whole.
            tracing::error!(%error, "a file that was being saved broke off");
            sink.break_off();
        }
    }
}

/// So many bytes and no more.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
    is_over: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(bytes.len()) > self.most {
            self.is_over = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hands over what is written, in pieces.
struct Sink {
    sender: mpsc::Sender<Result<Bytes, io::Error>>,
    waiting: Vec<u8>,
}

impl Sink {
    fn hand_over(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.waiting));
        self.sender.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn break_off(&self) {
        let _ = self.sender.blocking_send(Err(io::Error::other("the file broke off")));
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= CHUNK {
            self.hand_over()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_over()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_one_of_ours_or_none() {
        assert_eq!(As::of(""), Some(As::Zip));
        assert_eq!(As::of("as=flac"), Some(As::Audio(FileFormat::Flac)));
        assert_eq!(As::of("as=exe"), None);
    }

    #[test]
    fn a_part_has_a_beginning_or_an_end_as_people_write_them() {
        let part = |query| part(query).ok();
        assert_eq!(part("as=wav"), Some(None));
        assert_eq!(part("as=wav&from=&to="), Some(None));
        assert_eq!(part("from=1:30&to=2:10.5"), Some(Some(90_000..130_500)));
        assert_eq!(part("to=5"), Some(Some(0..5_000)));
        assert_eq!(part("from=5"), Some(Some(5_000..u64::MAX)));
        assert_eq!(part("from=soon"), None);
    }
}
