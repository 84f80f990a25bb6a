//! `archive recode`: what the rule of the cold tier would have re-encoded, and doing it.

use std::io::Write;
use std::sync::atomic::AtomicBool;

use policy::Cold;
use serde_json::json;
use store::locations::Duty;
use web::words::size;

use super::rule::follow_book;
use super::upkeep::open;
use super::{copies, print_json, print_line};
use crate::cli::Recode;
use crate::clock;
use crate::cold::{Recoded, Wanted, carry_out, refuse_in_doubt};
use crate::console::{self, who};
use crate::failure::{Done, Failure};
use crate::tables::plain;

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
        refuse_in_doubt(&archive, &settings.retention)?;
        // Copies are made again, and the old ones with the old keys go.
        copies::use_locations(&archive, &settings, Duty::Copy)?;
        let terminal = console::err().is_terminal();
        let shown = |done: usize, total: usize| {
            if terminal {
                let end = if done == total { "\n" } else { "" };
                // Progress that cannot be shown is no failure.
                let _ = write!(console::err(), "\r{done} of {total}{end}");
            }
        };
        let never = AtomicBool::new(false);
        let recoded = carry_out(&archive, &wanted.due, now, &who(), &never, shown)?;
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

impl Wanted {
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

impl Recoded {
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
