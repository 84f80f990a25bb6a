//! `archive copy, locations`: copies in archive locations, and how these do.

use std::time::Duration;

use serde_json::json;
use store::Archive;
use store::locations::{Bucket, CopyRules, Duty, Location, LocationState, LocationStatus, PlaceConfig};
use web::words::size;
use zeroize::Zeroizing;

use super::{open_archive, print_json, print_line, warn};
use crate::cli::ArchiveDir;
use crate::config::{self, Copies, LocationEntry, Settings, WhenFull};
use crate::console;
use crate::failure::{Done, Failure};
use crate::secrets;

/// How long a deletion waits for its copies to go: what is not done then is done when copies are made.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(30);

/// Takes the configured locations into use.
pub(crate) fn use_locations(archive: &Archive, settings: &Settings, duty: Duty) -> Result<(), Failure> {
    if console::is_guest() {
        return Ok(());
    }
    Ok(archive.use_locations(&rules(&settings.copies)?, duty)?)
}

/// Waits until the copies of what was deleted are gone too, as far as their locations answer. The locations must have been in
/// use before the deletion, so that they are told.
pub(crate) fn wait_for_removal(archive: &Archive, settings: &Settings) -> Result<(), Failure> {
    if settings.copies.locations.is_empty() {
        return Ok(());
    }
    if archive.wait_for_copies(REMOVAL_PATIENCE) {
        return Ok(());
    }
    for status in archive.locations()?.iter().filter(|status| status.stale > 0) {
        warn(&format!(
            "{}: {} copies are not removed yet ({}); `earwitness archive copy` or the next recording does it",
            status.name,
            status.stale,
            words(&status.state)
        ));
    }
    Ok(())
}

fn rules(copies: &Copies) -> Result<CopyRules, Failure> {
    let ms = |period: policy::retention::Period| period.as_nanos() / 1_000_000;
    let Copies { rules, locations } = copies;
    Ok(CopyRules {
        locations: locations.iter().map(location).collect::<Result<_, _>>()?,
        after_ms: rules.after.map_or(0, ms),
        keep_local_ms: rules.keep_local.map(ms),
        make_room: rules.when_full == WhenFull::MoveOldest,
    })
}

fn location(entry: &LocationEntry) -> Result<Location, Failure> {
    let place = match (&entry.folder, &entry.bucket) {
        (Some(folder), _) => PlaceConfig::Folder(folder.clone()),
        (None, bucket) => PlaceConfig::Bucket(Bucket {
            bucket: bucket.clone().unwrap_or_default(),
            prefix: entry.prefix.clone(),
            endpoint: entry.endpoint.clone(),
            region: entry.region.clone(),
            key: key(entry)?,
        }),
    };
    Ok(Location { name: entry.name.clone(), place })
}

/// The access key of a bucket.
fn key(entry: &LocationEntry) -> Result<(String, Zeroizing<String>), Failure> {
    let wrong = |what: String| Failure::config(format!("location {:?}: {what}", entry.name));
    let Some(path) = &entry.key_file else {
        let named = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        return named("AWS_ACCESS_KEY_ID")
            .zip(named("AWS_SECRET_ACCESS_KEY").map(Zeroizing::new))
            .ok_or_else(|| {
                wrong("name a key_file, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".into())
            });
    };
    let text = secrets::read(&format!("location {:?}: key_file", entry.name), path)?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match (lines.next(), lines.next(), lines.next()) {
        (Some(id), Some(secret), None) => Ok((id.to_owned(), Zeroizing::new(secret.to_owned()))),
        _ => Err(wrong(format!(
            "key_file {}: it takes two lines, the key's id and its secret",
            path.display()
        ))),
    }
}

/// `archive locations`: how the locations do.
pub(crate) fn locations(dir: &ArchiveDir, json: bool) -> Result<Done, Failure> {
    let settings = config::resolve(dir)?;
    let archive = open_archive(&settings.archive)?;
    use_locations(&archive, &settings, Duty::Read)?;
    let all = archive.locations()?;
    if all.is_empty() && !json {
        print_line("no archive locations: [[location]] in the configuration names them")?;
    }
    all.iter().try_for_each(|status| tell(status, json))?;
    archive.close()?;
    Ok(if all.iter().any(fails) { Done::InPart } else { Done::All })
}

/// `archive copy`: brings every location what is due, and removes the originals that may go.
pub(crate) fn copy(dir: &ArchiveDir, patience: Duration, json: bool) -> Result<Done, Failure> {
    let settings = config::resolve(dir)?;
    let archive = open_archive(&settings.archive)?;
    if settings.copies.locations.is_empty() {
        return Err(Failure::config("no archive locations: [[location]] in the configuration names them"));
    }
    use_locations(&archive, &settings, Duty::Copy)?;
    let done = archive.wait_for_copies(patience);
    let moved = archive.move_out()?;
    let all = archive.locations()?;
    if json {
        print_json(&json!({ "done": done, "moved": moved, "locations": all }))?;
    } else {
        all.iter().try_for_each(|status| tell(status, false))?;
        if moved > 0 {
            print_line(&format!("{moved} originals removed here: every location has them"))?;
        }
        if !done {
            print_line("not all is done: what is missing is copied the next time")?;
        }
    }
    let troubled = all.iter().any(|status| fails(status) || !status.troubles.is_empty());
    archive.close()?;
    Ok(if done && !troubled { Done::All } else { Done::InPart })
}

fn fails(status: &LocationStatus) -> bool {
    matches!(status.state, LocationState::Failing(_) | LocationState::Hanging(_))
}

fn words(state: &LocationState) -> String {
    match state {
        LocationState::Starting => "not asked yet".into(),
        LocationState::UpToDate => "up to date".into(),
        LocationState::Copying => "copying".into(),
        LocationState::Reachable => "reachable".into(),
        LocationState::Failing(why) => format!("failing: {why}"),
        LocationState::Hanging(seconds) => format!("no answer for {seconds} s"),
    }
}

fn tell(status: &LocationStatus, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(status);
    }
    let LocationStatus { name, place, state, space, copies, bytes, missing, stale, troubles, .. } = status;
    let space = space
        .map_or(String::new(), |space| format!(", {} of {} free there", size(space.free), size(space.total)));
    let stale = if *stale > 0 { format!(", {stale} to be removed or made again") } else { String::new() };
    let missing = if *missing > 0 { format!(", {missing} without a copy") } else { String::new() };
    print_line(&format!(
        "{name} ({place}): {}; {copies} copies ({}){missing}{stale}{space}",
        words(state),
        size(*bytes)
    ))?;
    troubles.iter().try_for_each(|(id, why)| print_line(&format!("  {id} is not copied: {why}")))
}
