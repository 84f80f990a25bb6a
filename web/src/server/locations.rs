//! `/locations`: how the archive locations do, and what waits to be copied.

use axum::extract::State;
use axum::response::Response;
use policy::Permission;
use store::CopyStatus;
use store::locations::{LocationState, LocationStatus};

use super::App;
use super::caller::Asker;
use super::escape::brief;
use super::frame::{Frame, Page, page};
use super::recordings::columns::short_length;
use super::refusal::Refusal;
use super::zone::Moment;
use crate::words::size;

/// Refused recordings that are named of one location.
const TROUBLES_SHOWN: usize = 10;

struct Line {
    name: String,
    place: String,
    light: &'static str,
    state: String,
    space: String,
    copies: String,
    missing: u64,
    stale: u64,
    last_copied: Option<Moment>,
    last_failed: Option<Moment>,
    why: String,
    troubles: Vec<(String, String)>,
    more_troubles: usize,
}

#[derive(askama::Template)]
#[template(path = "locations.html")]
struct Locations {
    frame: Frame,
    lines: Vec<Line>,
    recordings: u64,
    moved: u64,
}

/// How a location does: a light, and words.
pub(super) fn state(status: &LocationStatus) -> (&'static str, String) {
    match &status.state {
        LocationState::Starting => ("off", "not asked yet".to_owned()),
        LocationState::UpToDate => ("good", "has all that is due".to_owned()),
        LocationState::Copying => ("good", "is being copied to".to_owned()),
        LocationState::Reachable => ("good", "answers; nothing is copied while no recorder runs".to_owned()),
        LocationState::Failing(why) => {
            ("bad", format!("takes no copies, and is tried again: {}", brief(why)))
        }
        LocationState::Hanging(seconds) => {
            ("bad", format!("has not answered for {}", short_length(seconds.saturating_mul(1_000))))
        }
    }
}

impl App {
    /// How the locations do; counts over all recordings.
    pub(super) async fn copies(&self) -> Result<CopyStatus, Refusal> {
        self.read(|archive| Ok(archive.copy_status()?)).await
    }
}

/// `GET /locations`.
pub(super) async fn locations(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    asker.need(Permission::Servers)?;
    let CopyStatus { locations, recordings, moved } = app.copies().await?;
    let line = |status: &LocationStatus| {
        let (light, state) = state(status);
        let troubles = status.troubles.iter().take(TROUBLES_SHOWN);
        Line {
            name: status.name.clone(),
            place: brief(&status.place).into_owned(),
            light,
            state,
            space: status.space.map_or("not told".to_owned(), |space| {
                format!("{} of {} free", size(space.free), size(space.total))
            }),
            copies: format!("{} ({})", status.copies, size(status.bytes)),
            missing: status.missing,
            stale: status.stale,
            last_copied: status.last_copied.map(|at| app.zone().moment(at)),
            last_failed: status.last_failed.as_ref().map(|(at, _)| app.zone().moment(*at)),
            why: status.last_failed.as_ref().map_or(String::new(), |(_, why)| brief(why).into_owned()),
            troubles: troubles.map(|(id, why)| (id.to_string(), brief(why).into_owned())).collect(),
            more_troubles: status.troubles.len().saturating_sub(TROUBLES_SHOWN),
        }
    };
    page(&Locations {
        frame: app.frame(&asker, Page::At("/locations"), "Archive locations"),
        lines: locations.iter().map(line).collect(),
        recordings,
        moved,
    })
}
