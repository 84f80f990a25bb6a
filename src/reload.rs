//! SIGHUP: what the configuration file says now is taken up, as far as that goes while it records.
//!
//! All of it is read and resolved first: a file that is wrong changes nothing. What was changed and needs a restart is named.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use store::{Archive, Take};
use toml::{Table, Value};
use web::server::Tokens;

use crate::alarms::sinks::Changer;
use crate::appliance::{Keeping, tell_supervisor};
use crate::cli::ArchiveDir;
use crate::config::{self, Ruling, Settings};
use crate::control::Control;
use crate::failure::Failure;
use crate::post::PostOffice;
use crate::rules::Standing;
use crate::sources::Sources;

/// How often the signal is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What becomes of a setting that says something else than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is in force.
    Now,
    /// It is in force with the next start.
    WithRestart,
    /// The archive's rule book decides, and no file.
    OfRuleBook,
}

/// By section and key; `key` is empty for a section that is a list.
fn fate(section: &str, key: &str, has_book: bool) -> Fate {
    let of_rules = if has_book { Fate::OfRuleBook } else { Fate::Now };
    match (section, key) {
        ("site", "extensions" | "pbx" | "rtp_ports" | "trunks" | "dial_plan") => of_rules,
        ("record" | "pause" | "retention" | "device", _) => of_rules,
        ("site", "name" | "lan" | "time_zone") | ("user" | "unit" | "alarms" | "api" | "tags", _) => {
            Fate::Now
        }
        // Each command reads it anew.
        ("cold", _) => Fate::Now,
        _ => Fate::WithRestart,
    }
}

/// The settings in which two files differ, as `section.key`, by what becomes of them.
fn differences(before: &Table, now: &Table, has_book: bool) -> Vec<(String, Fate)> {
    let mut sections: Vec<&String> = before.keys().chain(now.keys()).collect();
    sections.sort_unstable();
    sections.dedup();
    let mut found = Vec::new();
    for section in sections {
        match (before.get(section), now.get(section)) {
            (before, now) if before == now => {}
            (Some(Value::Table(before)), Some(Value::Table(now))) => {
                let mut keys: Vec<&String> = before.keys().chain(now.keys()).collect();
                keys.sort_unstable();
                keys.dedup();
                for key in keys.into_iter().filter(|&key| before.get(key) != now.get(key)) {
                    found.push((format!("{section}.{key}"), fate(section, key, has_book)));
                }
            }
            _ => found.push((section.clone(), fate(section, "", has_book))),
        }
    }
    found
}

/// What is changed when the file is.
pub(crate) struct Reload {
    pub(crate) dir: ArchiveDir,
    /// The file as it was taken last.
    pub(crate) taken: Table,
    pub(crate) archive: Arc<Archive>,
    pub(crate) control: Control,
    pub(crate) alarms: Changer,
    pub(crate) sources: Sources,
    pub(crate) keeping: Keeping,
    pub(crate) standing: Standing,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) post: Arc<PostOffice>,
}

/// The thread that waits for the signal.
pub(crate) struct Waiting {
    thread: JoinHandle<()>,
    /// Dropped to end it.
    awake: Sender<()>,
}

impl Waiting {
    pub(crate) fn stop(self) {
        drop(self.awake);
        if self.thread.join().is_err() {
            tracing::error!("the thread that takes up the configuration broke off");
        }
    }
}

/// Set by each SIGHUP; from now on one does not end the process.
pub(crate) fn reload_flag() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&flag))?;
    Ok(flag)
}

impl Reload {
    /// Waits for the signal.
    pub(crate) fn wait(mut self, asked: Arc<AtomicBool>) -> Result<Waiting, Failure> {
        let (awake, asleep): (_, Receiver<()>) = bounded(0);
        let run = move || {
            // Nobody sends: each wait ends by its time, or for good.
            while asleep.recv_timeout(LOOK_EVERY).is_err_and(|error| error.is_timeout()) {
                if asked.swap(false, Ordering::Relaxed) {
                    let mut what = vec![sd_notify::NotifyState::Reloading];
                    what.extend(sd_notify::NotifyState::monotonic_usec_now());
                    tell_supervisor(&what);
                    if let Err(error) = self.take_up() {
                        tracing::error!(%error, "the configuration is not taken up: all stays as it was");
                    }
                    tell_supervisor(&[sd_notify::NotifyState::Ready]);
                }
            }
        };
        let thread = std::thread::Builder::new().name("reload".into()).spawn(run)?;
        Ok(Waiting { thread, awake })
    }

    fn take_up(&mut self) -> Result<(), Failure> {
        let (file, settings) = config::read_again(&self.dir)?;
        let Settings {
            rules, sip, devices, ports, retention, machine, alarms, api, book, field_names, ..
        } = settings;
        // What may fail comes before what is changed.
        let (tokens, sinks, mail) = (api.tokens()?, alarms.sinks()?, alarms.mail_server()?);
        let of_book = Ruling::in_force(&self.archive, &machine)?;
        let has_book = of_book.is_some();
        let ruling = of_book.unwrap_or(Ruling { rules, sip, devices, ports, retention });
        let retention = ruling.retention.clone();
        crate::cmd::know_site(&self.archive, &ruling.rules);
        // First what may not answer in time: then nothing else has changed.
        let of_recorder = machine.clone();
        self.control.ask(move |recorder, _| recorder.renew(ruling, of_recorder)).map_err(|error| {
            Failure::new(format!("the recorder does not answer ({error}); it may follow later: reload again"))
        })?;
        retention.take_up(&self.archive, Take::InForce)?;
        self.standing.change(book, machine.clone());
        self.keeping.change(retention, machine);
        self.sources.use_limits(alarms.facts);
        self.alarms.change(alarms.limits, sinks);
        self.tokens.replace(tokens);
        self.post.change(mail);
        web::words::name_fields(field_names);
        tell(&differences(&self.taken, &file, has_book));
        self.taken = file;
        Ok(())
    }
}

fn tell(differences: &[(String, Fate)]) {
    let of = |fate: Fate| {
        let names = differences.iter().filter(|(_, its)| *its == fate).map(|(name, _)| name.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    let (now, later, unused) = (of(Fate::Now), of(Fate::WithRestart), of(Fate::OfRuleBook));
    tracing::info!(changed = now, "the configuration is taken up");
    if !later.is_empty() {
        tracing::warn!(
            settings = later,
            "these are in force with the next start: systemctl restart earwitness"
        );
    }
    if !unused.is_empty() {
        tracing::warn!(settings = unused, "these are not used: the archive's rule book decides");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differ(before: &str, now: &str, has_book: bool) -> Vec<(String, Fate)> {
        let table = |text: &str| text.parse::<Table>().expect("TOML");
        differences(&table(before), &table(now), has_book)
    }

    #[test]
    fn each_setting_that_differs_is_named_with_what_becomes_of_it() {
        let before = "[capture]\nring_mb = 64\nkernel_mb = 64\n[alarms]\nsilent_min = 10\n[site]\nname = \"a\"\npbx = []\n";
        let now = "[capture]\nring_mb = 65\nkernel_mb = 64\n[alarms]\nsilent_min = 5\n[site]\nname = \"b\"\n[[user]]\nname = \"x\"\n\
                   [record]\nsip = false\n";
        let named = |list: &[(&str, Fate)]| {
            list.iter().map(|&(name, fate)| (name.to_owned(), fate)).collect::<Vec<_>>()
        };
        let with_book = named(&[
            ("alarms.silent_min", Fate::Now),
            ("capture.ring_mb", Fate::WithRestart),
            ("record", Fate::OfRuleBook),
            ("site.name", Fate::Now),
            ("site.pbx", Fate::OfRuleBook),
            ("user", Fate::Now),
        ]);
        assert_eq!(differ(before, now, true), with_book);
        assert_eq!(differ(before, now, false)[2], ("record".to_owned(), Fate::Now));
        assert_eq!(differ(now, now, false), []);
    }

    #[test]
    fn every_section_of_the_commented_file_has_a_fate() {
        // A section that is added later needs a restart until somebody says otherwise.
        for (section, key, expected) in [
            ("web", "listen", Fate::WithRestart),
            ("location", "", Fate::WithRestart),
            ("canary", "every", Fate::WithRestart),
            ("retention", "rule", Fate::Now),
            ("site", "call_headers", Fate::WithRestart),
            ("api", "token", Fate::Now),
            ("tags", "names", Fate::Now),
        ] {
            assert_eq!(fate(section, key, false), expected, "{section}.{key}");
        }
    }
}
