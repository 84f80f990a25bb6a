//! The cold tier as it is carried out, by a person's word or by the recorder itself: what is due, less what is not worth it, one recording
//! after the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use decode::Timestamp;
use policy::Cold;
use store::{Archive, ByWhom, ColdItem, ColdPlan, Error as E, RecordingId, Take};
use web::cold::estimate;

use crate::clock;
use crate::cmd::warn;
use crate::config::Retention;
use crate::failure::Failure;

/// When the recorder looks for the first time after its start, and how often then.
const FIRST_LOOK: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_secs(3_600);
/// Less than everything else that this machine does: calls come first (`nice`).
const NICE: i32 = 10;
/// Who did it, where nobody asked for it.
const BY_ITSELF: &str = "earwitness";

/// Why a recording is not even tried: so short, or so quiet, that its file is mostly facts.
const SMALL: &str = "it would hardly become shorter";

/// What is due, less what is not worth it.
pub(crate) struct Wanted {
    pub(crate) due: Vec<ColdItem>,
    pub(crate) stays: BTreeMap<&'static str, u64>,
    pub(crate) bytes: u64,
    pub(crate) estimate: u64,
    pub(crate) audio_ms: u64,
}

impl Wanted {
    pub(crate) fn plan(archive: &Archive, rule: &Cold, now: Timestamp) -> Result<Wanted, Failure> {
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
}

/// Ages mean nothing while the clock is in doubt; the watch is retention's.
pub(crate) fn refuse_in_doubt(archive: &Archive, retention: &Retention) -> Result<(), Failure> {
    let rules = retention.clone();
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
pub(crate) struct Recoded {
    pub(crate) recordings: u64,
    pub(crate) bytes_before: u64,
    pub(crate) bytes_after: u64,
    /// What stays after all, counted by why.
    pub(crate) stays: BTreeMap<String, u64>,
    /// What does not verify; named on stderr.
    pub(crate) changed: u64,
    pub(crate) failed: u64,
}

/// Re-encodes what is due until `stop`; `shown` is told how many of it are done.
pub(crate) fn carry_out(
    archive: &Archive,
    due: &[ColdItem],
    now: Timestamp,
    who: &str,
    stop: &AtomicBool,
    mut shown: impl FnMut(usize, usize),
) -> Result<Recoded, Failure> {
    let mut recoded = Recoded::default();
    for (i, item) in due.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let by = ByWhom { at: now, who: who.to_owned() };
        match web::cold::recode(archive, item.id, &item.pass, by) {
            Ok(_) => {
                recoded.recordings += 1;
                recoded.bytes_before += item.bytes;
                recoded.bytes_after += archive.row(item.id)?.bytes;
            }
            Err(error) => recoded.take(item.id, error)?,
        }
        shown(i + 1, due.len());
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
}

/// The thread by which the recorder re-encodes what is due.
pub(crate) struct Recoder {
    thread: JoinHandle<()>,
    /// Dropped to end it.
    awake: Sender<()>,
    stop: Arc<AtomicBool>,
}

impl Recoder {
    /// Starts it; none where no rule asks for it.
    pub(crate) fn start(
        archive: &Arc<Archive>,
        rule: Option<&Cold>,
        retention: &Retention,
    ) -> Result<Option<Recoder>, Failure> {
        let Some(rule) = rule.filter(|rule| rule.automatic) else { return Ok(None) };
        let (awake, asleep) = bounded(0);
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, archive) = (Arc::clone(&stop), Arc::clone(archive));
        let (rule, retention) = (rule.clone(), retention.clone());
        let run = move || keep_at_it(&archive, &rule, &retention, &asleep, &seen);
        let thread = std::thread::Builder::new().name("cold".into()).spawn(run)?;
        Ok(Some(Recoder { thread, awake, stop }))
    }

    /// Ends it, once the recording that is being re-encoded is done.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.awake);
        if self.thread.join().is_err() {
            tracing::error!("re-encoding broke off");
        }
    }
}

fn keep_at_it(
    archive: &Archive,
    rule: &Cold,
    retention: &Retention,
    asleep: &Receiver<()>,
    stop: &AtomicBool,
) {
    // Refused, it competes for the processor like everything else.
    let _ = rustix::process::setpriority_process(None, NICE);
    let mut wait = FIRST_LOOK;
    // Nobody sends: each wait ends by its time, or for good.
    while asleep.recv_timeout(wait).is_err() && !stop.load(Ordering::Relaxed) {
        wait = LOOK_EVERY;
        match pass(archive, rule, retention, stop) {
            Ok(Recoded { recordings: 0, changed: 0, failed: 0, .. }) => {}
            Ok(Recoded { recordings, bytes_before, bytes_after, changed, failed, .. }) => {
                tracing::info!(recordings, bytes_before, bytes_after, changed, failed, "re-encoded");
            }
            Err(error) => tracing::error!(%error, "re-encoding"),
        }
    }
}

fn pass(
    archive: &Archive,
    rule: &Cold,
    retention: &Retention,
    stop: &AtomicBool,
) -> Result<Recoded, Failure> {
    refuse_in_doubt(archive, retention)?;
    let now = clock::now();
    let wanted = Wanted::plan(archive, rule, now)?;
    carry_out(archive, &wanted.due, now, BY_ITSELF, stop, |_, _| {})
}
