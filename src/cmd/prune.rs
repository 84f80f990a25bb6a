//! `archive prune`: what the rules of retention would delete, and doing it.

use std::io::Write;

use policy::retention::{Consent, HeldBack, Plan, Tally};
use store::locations::Duty;
use store::{Kept, Pruned, Take};
use web::words::size;

use super::rule::follow_book;
use super::upkeep::open;
use super::{copies, print_json, print_line};
use crate::cli::Prune;
use crate::clock;
use crate::console::{self, who};
use crate::failure::{Done, Failure};
use crate::tables::plain;

pub(crate) fn run(args: &Prune) -> Result<Done, Failure> {
    let (archive, mut settings) = open(&args.dir)?;
    follow_book(&mut settings, &archive)?;
    if args.yes {
        copies::use_locations(&archive, &settings, Duty::Copy)?;
    }
    let how = if args.yes || args.confirm_clock { Take::InForce } else { Take::Look };
    let mut retention = settings.retention.take_up(&archive, how)?;
    if args.confirm_clock {
        let now = clock::now();
        retention.confirm_clock(&who(), now)?;
        print_line(&format!("the time is confirmed: {now}; the grace of the rules runs anew"))?;
    }
    let plan = retention.plan()?;
    if args.json.json {
        print_json(&plan)?;
    } else {
        show(&plan)?;
    }
    let done = if args.yes {
        if let Some(freeze) = plan.freeze {
            return Err(Failure::guarded(format!(
                "{freeze}: `archive prune --confirm-clock` says that it is right"
            )));
        }
        let consent = if args.more_than_half { Consent::MoreThanHalf } else { Consent::Ordinary };
        let approved = plan
            .approve(consent)
            .map_err(|refusal| Failure::guarded(format!("{refusal} (--more-than-half)")))?;
        let terminal = console::err().is_terminal();
        let pruned = retention.carry_out(&approved, |done, total| {
            if terminal && total > 0 {
                let _ =
                    write!(console::err(), "\r{done} of {total}{}", if done == total { "\n" } else { "" });
            }
        })?;
        tell(&pruned, args.json.json)?;
        copies::wait_for_removal(&archive, &settings)?;
        if pruned.spared + pruned.failed > 0 { Done::InPart } else { Done::All }
    } else {
        if !args.json.json && plan.takes != Tally::default() {
            print_line("nothing was deleted: --yes does it, and cannot be undone")?;
        }
        Done::All
    };
    archive.close()?;
    Ok(done)
}

fn show(plan: &Plan<Kept>) -> Result<(), Failure> {
    if plan.by_rule.is_empty() {
        return print_line(
            "no rules of retention: nothing is ever deleted ([[retention.rule]] in the rule book or the configuration)",
        );
    }
    for rule in &plan.by_rule {
        print_line(&format!("rule {:?}: {}", plain(&rule.name), words(&rule.takes)))?;
    }
    let HeldBack { holds, freeze, grace, grace_first, grace_last } = &plan.held_back;
    for (tally, by) in [
        (holds, "legal holds".to_owned()),
        (freeze, plan.freeze.map_or_else(String::new, |freeze| freeze.to_string())),
        (
            grace,
            match (grace_first, grace_last) {
                (Some(first), Some(last)) if first == last => {
                    format!("the grace of new rules, until {first}")
                }
                (Some(first), Some(last)) => format!("the grace of new rules, until {first} to {last}"),
                _ => "the grace of new rules".to_owned(),
            },
        ),
    ] {
        if *tally != Tally::default() {
            print_line(&format!("held back by {by}: {}", words(tally)))?;
        }
    }
    if plan.left_over > 0 {
        print_line(&format!("{} deletions come with the next pass", plan.left_over))?;
    }
    print_line(&format!("would delete {} of {}", words(&plan.takes), words(&plan.seen)))
}

fn words(tally: &Tally) -> String {
    format!("audio of {} recordings ({}), data of {}", tally.audio, size(tally.bytes), tally.data)
}

fn tell(pruned: &Pruned, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(pruned);
    }
    let Pruned { audio, data, lines, spared, failed } = pruned;
    print_line(&format!(
        "deleted the audio of {audio} recordings and the data of {data}; {lines} lines of the ledger blanked"
    ))?;
    if *failed > 0 {
        print_line(&format!("{failed} could not be deleted; the messages on stderr say why"))?;
    }
    if *spared > 0 {
        print_line(&format!("{spared} were spared: something came up since the plan"))?;
    }
    Ok(())
}
