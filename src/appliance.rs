//! What goes on beside the recorder while the appliance runs: signs of life, retention, and the jobs that others hand in.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use capture::{EndpointGauges, FrameSource, Gauges};
use crossbeam_channel::{Receiver, Sender, bounded};
use decode::Timestamp;
use policy::retention::Consent;
use store::{Archive, Pruned, Take, Trouble};
use web::live::Port;

use crate::alarms::archive::Halted;
use crate::config::{Machine, Retention, Ruling};
use crate::control::Desk;
use crate::failure::Failure;
use crate::live::Beside;
use crate::recorder::Recorder;
use crate::sources::Sources;

/// How often the recorder tells what it is doing.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// How often the clock is looked at, and what is due by the rules of retention is deleted.
const RETENTION_EVERY: Duration = Duration::from_secs(3_600);

/// The recorder's side of what goes on beside it.
pub(crate) struct Appliance {
    desk: Desk,
    gauges: Gauges,
    endpoint: Option<EndpointGauges>,
    sources: Sources,
    archive: Arc<Archive>,
    /// Set when the archive takes nothing any more.
    stop: Arc<AtomicBool>,
    next_status: Instant,
    /// The supervisor that started us is told that we live.
    watched: bool,
}

impl Appliance {
    pub(crate) fn new(
        desk: Desk,
        gauges: Gauges,
        endpoint: Option<EndpointGauges>,
        sources: Sources,
        archive: Arc<Archive>,
        stop: Arc<AtomicBool>,
    ) -> Appliance {
        let watched = sd_notify::watchdog_enabled().is_some();
        Appliance { desk, gauges, endpoint, sources, archive, stop, next_status: Instant::now(), watched }
    }
}

impl Beside for Appliance {
    fn look(&mut self, recorder: &mut Recorder<'_>, _: &dyn FrameSource, now: Timestamp) {
        let instant = Instant::now();
        if self.desk.serve(recorder, now) {
            // Who changed something sees it changed.
            self.next_status = instant;
        }
        if instant < self.next_status {
            return;
        }
        self.next_status = instant + STATUS_EVERY;
        recorder.go_on();
        let mut status = recorder.status(now);
        status.ports = self.gauges.ports().into_iter().map(port).collect();
        status.record_a_call = self.endpoint.as_ref().map(EndpointGauges::counts);
        status.facts = self.sources.look(now);
        status.calls.iter_mut().for_each(|call| call.mark_stale(&status.facts));
        self.desk.show(status);
        if let Some(Trouble::Failed(why)) = self.archive.troubles().first() {
            tracing::error!(
                why,
                "the archive takes nothing any more: this ends, and the next start mends it from the journal"
            );
            self.stop.store(true, Ordering::Relaxed);
        }
        if self.watched {
            tell_supervisor(&[sd_notify::NotifyState::Watchdog]);
        }
    }

    fn trouble(&mut self, what: String) {
        tracing::error!(what, "capture");
    }
}

fn port(status: capture::PortStatus) -> Port {
    let capture::PortStatus { interface, up, last_frame, counters, outages, away_ms } = status;
    Port {
        name: interface,
        up,
        frames: counters.frames,
        bytes: counters.bytes,
        dropped_kernel: counters.dropped_kernel,
        dropped_interface: counters.dropped_interface,
        dropped_ring: counters.dropped_ring,
        refused: counters.refused,
        last_frame,
        outages,
        away_ms,
    }
}

/// Tells the supervisor that watches us that we live.
pub(crate) fn is_alive() {
    if sd_notify::watchdog_enabled().is_some() {
        tell_supervisor(&[sd_notify::NotifyState::Watchdog]);
    }
}

/// Tells systemd, or whoever else started us and wants to know.
pub(crate) fn tell_supervisor(what: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        tracing::debug!(%error, "the supervisor is not told");
    }
}

/// The rules of retention that count while the archive has no rule book, and what one is resolved with.
#[derive(Clone)]
pub(crate) struct Keeping(Arc<Mutex<(Retention, Machine)>>);

impl Keeping {
    /// Others count from now on.
    pub(crate) fn change(&self, rules: Retention, machine: Machine) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (rules, machine);
    }

    fn now(&self) -> (Retention, Machine) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The thread that looks at the clock and deletes what is due.
pub(crate) struct Keeper {
    thread: JoinHandle<()>,
    keeping: Keeping,
    /// Dropped to end it.
    awake: Sender<()>,
    stop: Arc<AtomicBool>,
}

impl Keeper {
    /// Takes the rules up and starts. From now on they are in force, until the archive's rule book has others; `machine` is what
    /// that is resolved with.
    pub(crate) fn start(
        archive: Arc<Archive>,
        rules: Retention,
        machine: Machine,
        halted: Halted,
    ) -> Result<Keeper, Failure> {
        let (awake, asleep) = bounded(0);
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        // Here, so that a clock or an archive that cannot be read is told before the first call.
        rules.take_up(&archive, Take::InForce)?;
        let keeping = Keeping(Arc::new(Mutex::new((rules, machine))));
        let kept = keeping.clone();
        let thread = std::thread::Builder::new()
            .name("retention".into())
            .spawn(move || keep(&archive, &kept, &asleep, &seen, &halted))?;
        Ok(Keeper { thread, keeping, awake, stop })
    }

    /// To change what it keeps by.
    pub(crate) fn keeping(&self) -> Keeping {
        self.keeping.clone()
    }

    /// Ends it; a deletion that is under way is brought to its end.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.awake);
        if self.thread.join().is_err() {
            tracing::error!("retention broke off");
        }
    }
}

fn keep(archive: &Archive, keeping: &Keeping, asleep: &Receiver<()>, stop: &AtomicBool, halted: &Halted) {
    // Nobody sends: each wait ends by its time, or for good.
    while asleep.recv_timeout(RETENTION_EVERY).is_err() && !stop.load(Ordering::Relaxed) {
        let (rules, machine) = keeping.now();
        let passed = pass(archive, &rules, &machine);
        let why = passed.as_ref().err().map(|error| format!("retention: {error}"));
        *halted.lock().unwrap_or_else(PoisonError::into_inner) = why;
        match passed {
            Ok(Pruned { audio: 0, data: 0, failed: 0, .. }) => {}
            Ok(pruned) => tracing::info!(?pruned, "retention"),
            Err(error) => tracing::error!(%error, "retention"),
        }
    }
}

/// Looks at the clock, and deletes what is due. What a person must say first (that the clock is right, that more than half may
/// go) is not done here: `archive prune` is where it is said.
fn pass(archive: &Archive, rules: &Retention, machine: &Machine) -> Result<Pruned, Failure> {
    let of_book = Ruling::in_force(archive, machine)?.map(|ruling| ruling.retention);
    let retention = of_book.as_ref().unwrap_or(rules).take_up(archive, Take::InForce)?;
    let plan = retention.plan()?;
    if let Some(freeze) = plan.freeze {
        return Err(Failure::guarded(format!(
            "nothing is deleted, {freeze}: `archive prune --confirm-clock` says that it is right"
        )));
    }
    let approved = plan.approve(Consent::Ordinary).map_err(|refusal| {
        Failure::guarded(format!("nothing is deleted: {refusal}; `archive prune` shows it"))
    })?;
    Ok(retention.carry_out(&approved, |_, _| {})?)
}
