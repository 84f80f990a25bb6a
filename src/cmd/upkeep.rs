//! `archive hold, release, delete, log, checkpoint`: what people do to recordings, and the record of it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use policy::CustomField;
use serde_json::json;
use store::locations::Duty;
use store::{AccessEvent, Archive, Deletion, Event, RecordingId, What};
use web::words;

use super::{archive::resolve_ids, copies, open_archive, print_json, print_line, warn};
use crate::cli::{ArchiveDir, Edit, Log};
use crate::clock;
use crate::config::{self, Settings, Stamping};
use crate::console::{self, Opened, who};
use crate::failure::{Done, Failure};
use crate::filters::time_option;
use crate::tables::{cell, plain};
use crate::timestamp;

/// What to do to recordings.
pub(crate) enum Change {
    Tag { tag: String, remove: bool },
    Field { field: CustomField, value: String },
    Rating { stars: u8 },
    Note { text: String, at_ms: Option<u64> },
    Hold { name: String, why: String },
    Release { name: String, why: String },
}

/// Opens the archive to write to it: checkpoints are copied where the configuration says.
pub(crate) fn open(dir: &ArchiveDir) -> Result<(Opened, Settings), Failure> {
    let settings = config::resolve(dir)?;
    let archive = open_archive(&settings.archive)?;
    copy_checkpoints(&archive, &settings)?;
    copies::use_locations(&archive, &settings, Duty::Read)?;
    Ok((archive, settings))
}

/// From now on checkpoints go to the places that the configuration names.
pub(crate) fn copy_checkpoints(archive: &Archive, settings: &Settings) -> Result<(), Failure> {
    if console::is_guest() {
        return Ok(());
    }
    settings.checkpoints.iter().try_for_each(|folder| archive.copy_checkpoints_to(folder))?;
    Ok(())
}

/// From now on checkpoints are stamped by the authority that the configuration names.
pub(crate) fn have_stamped(archive: &Archive, settings: &Settings) -> Result<(), Failure> {
    let Some(Stamping { authority, every }) = settings.stamping.clone() else { return Ok(()) };
    Ok(archive.stamp_every(every, Box::new(timestamp::ask(authority)))?)
}

/// Does it to each recording; one that cannot be changed does not keep the others.
pub(crate) fn change(edit: &Edit, change: &Change) -> Result<Done, Failure> {
    let (archive, _) = open(&edit.dir)?;
    let ids = resolve_ids(&archive, &edit.id)?;
    for &id in &ids {
        archive.edit(Event { at: clock::now(), who: who(), what: change.of(id) })?;
    }
    if edit.json.json {
        ids.iter().try_for_each(|id| print_json(&archive.row(*id)?))?;
    } else {
        print_line(&format!("{} {}", count(ids.len()), change.done()))?;
    }
    archive.close()?;
    Ok(Done::All)
}

fn count(recordings: usize) -> String {
    format!("{recordings} recording{}", if recordings == 1 { "" } else { "s" })
}

impl Change {
    fn of(&self, id: RecordingId) -> What {
        match self {
            Change::Tag { tag, remove: false } => What::Tagged { id, tag: tag.clone() },
            Change::Tag { tag, remove: true } => What::Untagged { id, tag: tag.clone() },
            Change::Field { field, value } => {
                let (field, value, before) = (*field, value.clone(), String::new());
                What::FieldSet { id, field, value, before }
            }
            Change::Rating { stars } => What::Rated { id, stars: *stars, before: 0 },
            Change::Note { text, at_ms } => What::Noted { id, text: text.clone(), at_ms: *at_ms },
            Change::Hold { name, why } => What::Held { id, hold: name.clone(), why: why.clone() },
            Change::Release { name, why } => What::Released { id, hold: name.clone(), why: why.clone() },
        }
    }

    fn done(&self) -> String {
        match self {
            Change::Tag { tag, remove: false } => format!("tagged {tag}"),
            Change::Tag { tag, remove: true } => format!("without the tag {tag}"),
            Change::Field { field, value } if value.is_empty() => {
                format!("with nothing in {}", words::field(*field))
            }
            Change::Field { field, value } => format!("with {value} in {}", words::field(*field)),
            Change::Rating { stars: 0 } => "without a rating".into(),
            Change::Rating { stars } => format!("rated {}", words::stars(*stars)),
            Change::Note { .. } => "noted".into(),
            Change::Hold { name, .. } => format!("under the hold {name}: nothing deletes what is held"),
            Change::Release { name, .. } => format!("released from the hold {name}"),
        }
    }
}

/// `archive delete`: shows what would go; with `yes` it goes.
pub(crate) fn delete(edit: &Edit, why: &str, keep_facts: bool, yes: bool) -> Result<Done, Failure> {
    let (archive, settings) = open(&edit.dir)?;
    let ids = resolve_ids(&archive, &edit.id)?;
    if yes {
        copies::use_locations(&archive, &settings, Duty::Copy)?;
    }
    let mut failed = 0;
    for &id in &ids {
        let row = archive.row(id)?;
        let what = format!(
            "{id}, extension {}, {}, {}",
            row.facts.extension,
            row.facts.started,
            words::length(row.facts.duration_ms)
        );
        if !yes {
            print_line(&format!("would delete {what}"))?;
            continue;
        }
        let deletion = Deletion { at: clock::now(), who: who(), rule: "by hand".into(), why: why.to_owned() };
        match archive.delete(id, deletion, keep_facts) {
            Ok(()) if edit.json.json => {
                print_json(&json!({ "id": id, "deleted": true, "facts_kept": keep_facts }))?;
            }
            Ok(()) => print_line(&format!("deleted {what}"))?,
            // The only one: its reason and its exit code are the command's.
            Err(e) if ids.len() == 1 => return Err(e.into()),
            Err(e) => {
                failed += 1;
                warn(&e.to_string());
            }
        }
    }
    if !yes {
        print_line("nothing was deleted: --yes does it, and cannot be undone")?;
    } else {
        copies::wait_for_removal(&archive, &settings)?;
    }
    archive.close()?;
    Ok(if failed == 0 { Done::All } else { Done::InPart })
}

/// `archive log`: who did what.
pub(crate) fn log(args: &Log) -> Result<Done, Failure> {
    let archive = open_archive(&config::resolve(&args.dir)?.archive)?;
    let since = time_option(args.since.as_deref(), clock::now())?;
    let wanted = |at| since.is_none_or(|since| at >= since);
    let mut lines = Vec::new();
    for event in archive.events()? {
        let event = event?;
        if wanted(event.at) {
            let text = (event.who.clone(), describe(&event.what));
            lines.push((event.at, text, serde_json::to_value(&event)?));
        }
    }
    for deletion in archive.deletions()? {
        let (id, deletion) = deletion?;
        if wanted(deletion.at) {
            let Deletion { at, who, rule, why } = deletion;
            let json =
                json!({ "at": at, "who": who, "event": "deleted", "id": id, "rule": rule, "why": why });
            lines.push((at, (who, format!("deleted {id}, rule {rule}: {why}")), json));
        }
    }
    lines.sort_by_key(|(at, ..)| *at);
    for (at, (who, what), json) in lines {
        if args.json.json {
            print_json(&json)?;
        } else {
            print_line(&format!("{at}  {:<12}  {}", cell(&who), plain(&what)))?;
        }
    }
    Ok(Done::All)
}

fn describe(what: &What) -> String {
    let at = |at_ms: &Option<u64>| at_ms.map(|ms| format!(" at {}", words::length(ms))).unwrap_or_default();
    match what {
        What::LogBegun { adopted, .. } if adopted.is_empty() => "the log began".into(),
        What::LogBegun { adopted, .. } => format!("the log began, with {} files from before", adopted.len()),
        What::Imported { id, file, bytes, sha256 } => {
            format!("imported {id} from {file}, {bytes} bytes, SHA-256 {sha256}")
        }
        What::Tagged { id, tag } => format!("tagged {id}: {tag}"),
        What::Untagged { id, tag } => format!("took a tag off {id}: {tag}"),
        What::Learned { id, facts } => {
            let facts: Vec<String> = facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
            format!("said of {id}: {}", facts.join(", "))
        }
        What::Noted { id, text, at_ms } => format!("noted on {id}{}: {text}", at(at_ms)),
        What::FieldSet { id, field, value, before } => {
            format!("put {value:?} into {} of {id}, before {before:?}", words::field(*field))
        }
        What::Reassigned { id, to, before } => {
            let name = |who: &policy::Who| {
                let user = who.user.as_ref().map_or("nobody", |user| user.id.as_str());
                who.unit.as_ref().map_or_else(|| user.to_owned(), |unit| format!("{user} of {unit}"))
            };
            let to = to.as_ref().map_or("whom the telephone system named".to_owned(), name);
            format!("gave {id} to {to}, before {}", name(before))
        }
        What::Rated { id, stars, before } => {
            format!("rated {id}: {}, before {}", words::stars(*stars), words::stars(*before))
        }
        What::Held { id, hold, why } => format!("put {id} under the hold {hold}: {why}"),
        What::Released { id, hold, why } => format!("released {id} from the hold {hold}: {why}"),
        What::RetentionSet { rules } => format!("put {} rules of retention in force", rules.rules().len()),
        What::BookChanged { version, why, restores, .. } => {
            let old = restores.map(|old| format!(", which is version {old} again")).unwrap_or_default();
            format!("put version {version} of the rule book in force{old}: {why}")
        }
        What::ClockConfirmed { ended } => format!("confirmed the time; before: {ended}"),
        What::Erased { leaves, rule, why, .. } => {
            format!("blanked {} lines of the ledger, rule {rule}: {why}", leaves.len())
        }
        What::Copied { location, copies } => format!("copied {} recordings to {location}", copies.len()),
        What::CopiesRemoved { location, ids } => format!("removed {} copies from {location}", ids.len()),
        What::Moved { recordings, why } => {
            format!("removed the originals of {} recordings: {why}", recordings.len())
        }
        What::CopyOpened { lines, recordings, of_two_moments, taken_in, removed, ended, .. } => {
            let lines: u64 = lines.iter().map(|(first, last)| last - first + 1).sum();
            format!(
                "opened a copy of the archive: {lines} lines of the ledger and {} recordings are not in it, {} are of another \
                 moment than their lines; {taken_in} recordings entered that the ledger did not name yet, {ended} ended where they were cut, {removed} removed that were deleted",
                recordings.len(),
                of_two_moments.len()
            )
        }
        What::Repaired { id, location } => format!("brought {id} back from {location}"),
        What::ScrubFound { id, what } => format!("found {id} wrong: {what}"),
        What::Stamped { lines, time, .. } => {
            format!("got a time stamp of {time} on the first {lines} lines of the ledger")
        }
        What::SignedIn { from, second_factor } => {
            format!("signed in from {from}{}", if *second_factor { ", with a second factor" } else { "" })
        }
        What::SignInRefused { from, why, untold } => {
            let more = if *untold > 0 { format!("; {untold} more before") } else { String::new() };
            format!("was not let in from {from}: {}{more}", why.words())
        }
        What::AccountsChanged { what, name, before, after } => {
            let of = if name.is_empty() { String::new() } else { format!(" {name}") };
            format!("{what}{of}: {}, before {}", pairs(after), pairs(before))
        }
        What::Accessed { from, access } => {
            let from = if from.is_empty() { String::new() } else { format!(" from {from}") };
            format!("{}{from}", describe_access(access))
        }
        _ => "did what a later version knows".into(),
    }
}

fn pairs(facts: &BTreeMap<String, String>) -> String {
    if facts.is_empty() {
        return "nothing".into();
    }
    facts.iter().map(|(key, value)| format!("{key} {value:?}")).collect::<Vec<_>>().join(", ")
}

fn named(ids: &[RecordingId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn describe_access(access: &AccessEvent) -> String {
    match access {
        AccessEvent::SignedOut { by } => format!("signed out ({by})"),
        AccessEvent::Viewed { id } => format!("looked at {id}"),
        AccessEvent::Played { id, .. } => format!("played {id}"),
        AccessEvent::Listened { id, .. } => format!("listened in on {id}"),
        AccessEvent::Exported { ids, count, format } if ids.is_empty() => {
            format!("took a table of {count} lines along, {format}")
        }
        AccessEvent::Exported { ids, count, format } => {
            format!("took {count} recordings along as {format}: {}", named(ids))
        }
        AccessEvent::Mailed { ids, count, to, how, .. } => {
            format!("mails {count} recordings to {to:?}, {how}: {}", named(ids))
        }
        AccessEvent::NotMailed { ids, count, to, how, why } => {
            format!("could not mail {count} recordings to {to:?}, {how} ({why:?}): {}", named(ids))
        }
        AccessEvent::LinkUsed { ids, count, to, format, .. } => {
            format!(
                "had mailed to {to:?} a link that is used for {count} recordings as {format}: {}",
                named(ids)
            )
        }
        AccessEvent::SipDownloaded { id } => format!("took the SIP messages of {id} along"),
        AccessEvent::Controlled { id, action } => {
            format!("asked for {action}{}", id.map(|id| format!(" of {id}")).unwrap_or_default())
        }
        AccessEvent::Deleted { id } => format!("asked for {id} to be deleted by hand"),
        AccessEvent::Pruned { deletions, more_than_half } => {
            let half = if *more_than_half { ", more than half" } else { "" };
            format!("asked for {deletions} deletions that are due{half}")
        }
        AccessEvent::Acknowledged { alarm, note } if note.is_empty() => {
            format!("acknowledged the alert {alarm}")
        }
        AccessEvent::Acknowledged { alarm, note } => format!("acknowledged the alert {alarm}: {note}"),
        AccessEvent::SettingsChanged { what, before, after } => {
            format!("changed {what} to {after:?}, before {before:?}")
        }
        _ => "did what a later version knows".into(),
    }
}

/// `archive checkpoint`: the signed state of the ledger, to be kept elsewhere.
pub(crate) fn checkpoint(dir: &ArchiveDir, output: Option<&PathBuf>, stamp: bool) -> Result<Done, Failure> {
    let (archive, settings) = open(dir)?;
    let write = |path: &Path, bytes: &[u8]| {
        console::may_write(path)?;
        std::fs::write(path, bytes).map_err(|e| Failure::new(format!("{}: {e}", path.display())))
    };
    let (note, reply) = if stamp {
        let stamping = settings.stamping.ok_or_else(|| {
            Failure::usage(
                "--stamp: no authority is named; set `timestamp` in [evidence] of the configuration (-c)",
            )
        })?;
        let stamp = archive.stamp(&mut timestamp::ask(stamping.authority))?;
        warn(&format!("stamped at {} by the authority's clock", stamp.at));
        (stamp.note, Some(stamp.reply))
    } else {
        (archive.checkpoint()?, None)
    };
    match output {
        Some(path) => write(path, note.as_bytes())?,
        None => console::out().write_all(note.as_bytes())?,
    }
    if let (Some(path), Some(reply)) = (output, reply) {
        write(&path.with_extension("tsr"), &reply)?;
    }
    archive.close()?;
    Ok(Done::All)
}
