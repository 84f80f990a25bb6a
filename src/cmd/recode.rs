//! `archive recode`: what the rule of the cold tier would have re-encoded, and doing it.

use std::collections::BTreeMap;
use std::io::Write;

use decode::Timestamp;
use policy::Cold;
use serde_json::json;
use store::locations::Duty;
use store::{Archive, ByWhom, ColdItem, ColdPlan, Error as E, RecordingId, Take};
use web::cold::estimate;
use web::words::size;

use super::rule::follow_book;
use super::upkeep::open;
use super::{copies, print_json, print_line, warn};
use crate::cli::Recode;
use crate::clock;
use crate::config::Settings;
use crate::console::{self, who};
use crate::failure::{Done, Failure};
use crate::tables::plain;

/// Why a recording is not even tried: so short, or so quiet, that its file is mostly facts.
const SMALL: &str = "it would hardly become shorter";

pub(crate) fn run(args: &Recode) -> Result<Done, Failure> {
    let (archive, mut settings) = open(&args.dir)?;
    follow_book(&mut settings, &archive)?;
    let Some(rule) = settings.cold.clone() else {
        if args.json.json {
            print_json(&json!({ "rule": null }))?;
        } else {
            print_line("no rule: nothing is re-encoded ([cold] in the configuration)")?;
        }
        return Ok(Done::All);
    };
    let now = clock::now();
    let wanted = Wanted::plan(&archive, &rule, now)?;
    wanted.show(&rule, args.json.json)?;
    let done = if args.yes {
        refuse_in_doubt(&archive, &settings)?;
        // Copies are made again, and the old ones with the old keys go.
        copies::use_locations(&archive, &settings, Duty::Copy)?;
        let recoded = carry_out(&archive, &wanted.due, now)?;
        recoded.tell(args.json.json)?;
        copies::wait_for_removal(&archive, &settings)?;
        recoded.done()
    } else {
        if !args.json.json && !wanted.due.is_empty() {
            print_line("nothing was re-encoded: --yes does it, and cannot be undone")?;
        }
        Done::All
    };
    archive.close()?;
    Ok(done)
}

/// What is due, less what is not worth it.
struct Wanted {
    due: Vec<ColdItem>,
    stays: BTreeMap<&'static str, u64>,
    bytes: u64,
    estimate: u64,
    audio_ms: u64,
}

impl Wanted {
    fn plan(archive: &Archive, rule: &Cold, now: Timestamp) -> Result<Wanted, Failure> {
        let ColdPlan { due, stays } = archive.cold_plan(rule, now)?;
        let stays = stays.into_iter().map(|(why, count)| (why.words(), count)).collect();
        let mut wanted = Wanted { due: Vec::new(), stays, bytes: 0, estimate: 0, audio_ms: 0 };
        for item in due {
            let estimate = estimate(rule.codec, item.duration_ms);
            if estimate >= item.bytes {
                *wanted.stays.entry(SMALL).or_default() += 1;
                continue;
            }
            wanted.bytes += item.bytes;
            wanted.estimate += estimate;
            wanted.audio_ms += item.duration_ms;
            wanted.due.push(item);
        }
        Ok(wanted)
    }

    fn show(&self, rule: &Cold, json: bool) -> Result<(), Failure> {
        if json {
            return print_json(&json!({
                "rule": rule.to_string(),
                "codec": rule.codec,
                "due": {
                    "recordings": self.due.len(), "audio_ms": self.audio_ms, "bytes": self.bytes,
                    "estimate": self.estimate,
                },
                "stays": self.stays,
            }));
        }
        print_line(&format!("rule: {}", plain(&rule.to_string())))?;
        for (why, count) in &self.stays {
            print_line(&format!("{count} stay as they are: {why}"))?;
        }
        print_line(&format!(
            "{} recordings are due: {} of files, about {} afterwards",
            self.due.len(),
            size(self.bytes),
            size(self.estimate)
        ))
    }
}

/// Ages mean nothing while the clock is in doubt; the watch is retention's.
fn refuse_in_doubt(archive: &Archive, settings: &Settings) -> Result<(), Failure> {
    let rules = settings.retention.clone();
    let reading = clock::reading()?;
    let retention = archive.retention(rules.rules, rules.grace, rules.off_max, reading, Take::Look)?;
    match retention.freeze() {
        Some(freeze) => {
            Err(Failure::guarded(format!("{freeze}: `archive prune --confirm-clock` says that it is right")))
        }
        None => Ok(()),
    }
}

/// What was done.
#[derive(Default)]
struct Recoded {
    recordings: u64,
    bytes_before: u64,
    bytes_after: u64,
    /// What stays after all, counted by why.
    stays: BTreeMap<String, u64>,
    /// What does not verify; named on stderr.
    changed: u64,
    failed: u64,
}

fn carry_out(archive: &Archive, due: &[ColdItem], now: Timestamp) -> Result<Recoded, Failure> {
    let (mut recoded, terminal) = (Recoded::default(), console::err().is_terminal());
    for (i, item) in due.iter().enumerate() {
        let by = ByWhom { at: now, who: who() };
        match web::cold::recode(archive, item.id, &item.pass, by) {
            Ok(_) => {
                recoded.recordings += 1;
                recoded.bytes_before += item.bytes;
                recoded.bytes_after += archive.row(item.id)?.bytes;
            }
            Err(error) => recoded.take(item.id, error)?,
        }
        if terminal {
            let end = if i + 1 == due.len() { "\n" } else { "" };
            // Progress that cannot be shown is no failure.
            let _ = write!(console::err(), "\r{} of {}{end}", i + 1, due.len());
        }
    }
    Ok(recoded)
}

impl Recoded {
    /// Counts what could not be re-encoded; an error that all others would meet too ends it.
    fn take(&mut self, id: RecordingId, error: web::Error) -> Result<(), Failure> {
        match error {
            web::Error::Store(E::Stays { why, .. }) => *self.stays.entry(why).or_default() += 1,
            web::Error::Store(E::NotFound { .. }) => {
                *self.stays.entry("it was deleted meanwhile".to_owned()).or_default() += 1;
            }
            web::Error::Store(error @ (E::Tampered { .. } | E::Damaged { .. } | E::KeyUnknown { .. })) => {
                self.changed += 1;
                warn(&error.to_string());
            }
            web::Error::Store(
                error @ (E::Full { .. }
                | E::Io { .. }
                | E::Closed
                | E::KeyMissing { .. }
                | E::KeyLocked { .. }
                | E::WrongKey { .. }),
            ) => return Err(error.into()),
            error => {
                self.failed += 1;
                warn(&format!("{id}: {error}"));
            }
        }
        Ok(())
    }

    fn tell(&self, json: bool) -> Result<(), Failure> {
        let Recoded { recordings, bytes_before, bytes_after, stays, changed, failed } = self;
        if json {
            return print_json(&json!({
                "recoded": recordings, "bytes_before": bytes_before, "bytes_after": bytes_after, "stays": stays,
                "changed": changed, "failed": failed,
            }));
        }
        print_line(&format!(
            "re-encoded {recordings} recordings: {} before, {} now",
            size(*bytes_before),
            size(*bytes_after)
        ))?;
        for (why, count) in stays {
            print_line(&format!("{count} stay as they are: {}", plain(why)))?;
        }
        if *changed > 0 {
            print_line(&format!(
                "{changed} are not what was sealed and were not touched; stderr names them"
            ))?;
        }
        if *failed > 0 {
            print_line(&format!("{failed} could not be re-encoded; the messages on stderr say why"))?;
        }
        Ok(())
    }

    fn done(&self) -> Done {
        match self {
            Recoded { changed: 1.., .. } => Done::IntegrityBroken,
            Recoded { failed: 1.., .. } => Done::InPart,
            _ => Done::All,
        }
    }
}
