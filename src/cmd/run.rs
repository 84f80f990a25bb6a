//! `run`: the appliance. Ways in, recorder, archive, retention, pages, API and metrics in one process.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use capture::{HepListener, MirrorPort, PortOptions, Ring};
use store::locations::Duty;
use store::{Archive, Created};
use web::metrics::Machine;
use web::server::{Beside, Monitoring, Running, Server};

use super::record::{listeners, tell_of_keys};
use super::rule::follow_book;
use super::serve::close;
use super::upkeep::{copy_checkpoints, have_stamped};
use super::{copies, print_line, progress, settle_recovery, warn};
use crate::alarms::Watch;
use crate::alarms::sinks::{Alarms, Shown};
use crate::appliance::{Appliance, Keeper, tell_supervisor};
use crate::beside::Door;
use crate::cli;
use crate::clock;
use crate::config::{self, Settings};
use crate::console;
use crate::control::{Control, control};
use crate::failure::{Done, Failure};
use crate::feed::{Admission, Feed};
use crate::harden;
use crate::keylog::KeyLogs;
use crate::late;
use crate::live::{stop_flag, walk};
use crate::machine;
use crate::passphrase;
use crate::recorder::Recorder;
use crate::smdr::{Logger, Outlets, Smdr, Ways};

pub(crate) fn run(args: &cli::Run) -> Result<Done, Failure> {
    let mut settings = config::resolve(&args.dir)?;
    if settings.capture.interfaces.is_empty() && settings.capture.hep.is_empty() {
        return Err(Failure::config(
            "nothing to record from: name adapters in [capture] interfaces (`earwitness interfaces` lists them), or hep",
        ));
    }
    let mut keys = KeyLogs::open(&args.tls.key_logs)?;
    let (tokens, sinks) = (settings.api.tokens()?, settings.alarms.sinks()?);
    let stop = stop_flag()?;
    let admission = settings.feed.admission()?;
    let mut ring = open_ring(&settings)?;
    // The threads that capture run by now; all others are started from here on.
    harden::give_up_privileges()
        .map_err(|error| Failure::new(format!("privileges cannot be given up (capset, prctl): {error}")))?;
    let archive = Arc::new(open_archive(&settings)?);
    let version = follow_book(&mut settings, &archive)?;
    let (control, desk) = control();
    let beside = Beside { live: Some(Arc::new(control.clone())), tokens };
    let pages = Server::bind(Arc::clone(&archive), settings.web.listen, beside, announce)?.spawn()?;
    let feed = admission.map(|admission| open_feed(admission, control.clone())).transpose()?;
    let (smdr, outlets) = open_smdr(&settings.smdr, control.clone())?;
    let alarms = Alarms::start(
        Watch::new(settings.alarms.limits.clone()),
        sinks,
        control.clone(),
        Arc::clone(&archive),
    )?;
    let metrics = monitoring(&settings, &archive, control, alarms.shown())?;
    let door = Door::open(&archive, args.dir.config.clone())?;
    let (late, amender) = late::start(Arc::clone(&archive), settings.rules.clone())?;
    let keeper = Keeper::start(Arc::clone(&archive), settings.retention.clone(), settings.machine.clone())?;
    let mut recorder =
        Recorder::new(&archive, settings.rules, settings.call_headers.as_deref(), settings.devices)
            .keeping_sip(settings.sip)
            .with_late_reports(late)
            .following_book(settings.machine, version);
    if outlets.is_any() {
        recorder = recorder.with_logger(Logger::new(settings.smdr.zone.clone(), outlets.clone()));
    }
    let mut appliance = Appliance::new(desk, ring.gauges());
    tell_supervisor(&[sd_notify::NotifyState::Ready]);
    tracing::info!(interfaces = ?settings.capture.interfaces, hep = ?settings.capture.hep, "recording");
    walk(&mut ring, &mut recorder, &mut keys, true, &stop, &mut appliance);

    tell_supervisor(&[sd_notify::NotifyState::Stopping]);
    let counters = capture::FrameSource::counters(&ring);
    let report = recorder.finish(counters);
    // The recorder's end of it is gone: what was handed over is carried out.
    amender.stop();
    // Those who could still ask go first; the archive is closed when nobody has it any more.
    drop((appliance, ring, door));
    if let Some(feed) = feed {
        feed.stop();
    }
    smdr.stop(&outlets);
    keeper.stop();
    alarms.stop();
    let served: Vec<_> = [Some(pages), metrics].into_iter().flatten().map(Running::stop).collect();
    // Whatever went wrong before, the archive is closed in order; then it is said.
    close(archive)?;
    served.into_iter().collect::<Result<(), _>>()?;
    report.failure.into_result()?;
    Ok(if stop.load(Ordering::Relaxed) { Done::Stopped } else { Done::All })
}

fn keep_link(path: &Path, link: &str) -> std::io::Result<()> {
    let mut new = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new("/")))?;
    writeln!(new, "{link}")?;
    new.persist(path)?;
    Ok(())
}

fn open_ring(settings: &Settings) -> Result<Ring, Failure> {
    let capture = &settings.capture;
    let open = |name: &String| {
        let options = PortOptions {
            filter: capture.filter.clone(),
            buffer_bytes: megabytes(capture.kernel_mb) as u32,
            ..PortOptions::new(name)
        };
        let snap_len = capture.snap_len.unwrap_or(options.snap_len);
        MirrorPort::open(PortOptions { snap_len, ..options }).map_err(Failure::new)
    };
    let ports: Vec<MirrorPort> = capture.interfaces.iter().map(open).collect::<Result<_, _>>()?;
    let listeners: Vec<HepListener> = listeners(&capture.hep, &[], &settings.hep)?;
    Ring::start_with(ports, listeners, megabytes(capture.ring_mb)).map_err(Failure::new)
}

fn open_feed(admission: Admission, control: Control) -> Result<Feed, Failure> {
    if admission.from.is_empty() && !admission.listen.ip().to_canonical().is_loopback() {
        warn("nobody is named who may report (feed.from): reports are taken from this machine alone");
    }
    let feed = Feed::start(admission, control)?;
    tracing::info!(address = %feed.address(), "taking reports");
    Ok(feed)
}

fn open_smdr(ways: &Ways, control: Control) -> Result<(Smdr, Outlets), Failure> {
    let bound = [ways.take, ways.listen];
    if ways.from.is_empty()
        && bound.into_iter().flatten().any(|listen| !listen.ip().to_canonical().is_loopback())
    {
        warn("nobody is named who may connect for SMDR (smdr.from): only this machine may");
    }
    let (smdr, outlets, bound) = Smdr::start(ways, control)?;
    if !bound.is_empty() {
        tracing::info!(?bound, "SMDR");
    }
    Ok((smdr, outlets))
}

fn megabytes(mb: u32) -> usize {
    mb as usize * 1_000_000
}

/// The archive, new or old, with all that it does by itself.
fn open_archive(settings: &Settings) -> Result<Archive, Failure> {
    let (archive, created) = Archive::open_or_create_watched(&settings.archive, &mut progress("indexing"))?;
    match created {
        Created::New { keys_dir } => tell_of_keys(&settings.archive, &keys_dir),
        Created::Existing => settle_recovery(&archive)?,
    }
    copy_checkpoints(&archive, settings)?;
    copies::use_locations(&archive, settings, Duty::Copy)?;
    have_stamped(&archive, settings)?;
    if let Some(rate) = settings.scrub {
        archive.scrub(rate.bytes_per_s())?;
    }
    passphrase::unlock(&archive, true)?;
    if !archive.can_read() {
        let why = if archive.is_locked() { "is sealed with a passphrase" } else { "is not here" };
        warn(&format!("the private key {why}: it records, and what is recorded cannot be played here"));
    }
    Ok(archive)
}

fn monitoring(
    settings: &Settings,
    archive: &Arc<Archive>,
    control: Control,
    alarms: Shown,
) -> Result<Option<Running>, Failure> {
    let Some(listen) = settings.metrics.listen else { return Ok(None) };
    let archive = Arc::clone(archive);
    let look = move || Machine {
        space: archive.space(),
        resident_bytes: machine::resident_bytes(),
        open_fds: machine::open_fds(),
        cpu_seconds: machine::cpu_seconds(),
        alarms: alarms.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|kind| kind.key()).collect(),
    };
    let monitoring = Monitoring { live: Arc::new(control), machine: Box::new(look), now: clock::now };
    Ok(Some(monitoring.spawn(listen)?))
}

/// The link, for one browser. A service's standard output goes into a log, which is no place for it: it stands in a file of the
/// service's own folder then.
fn announce(link: &str) {
    if let Some(folder) = std::env::var_os("RUNTIME_DIRECTORY").filter(|_| !console::out().is_terminal()) {
        let path = PathBuf::from(folder).join("link");
        return match keep_link(&path, link) {
            Ok(()) => warn(&format!("the link that lets one browser in is in {}", path.display())),
            Err(error) => warn(&format!("{}: {error}: nobody can get in", path.display())),
        };
    }
    warn("open this link in a browser; it works once:");
    if print_line(link).is_err() {
        warn("the link could not be written: nobody can get in");
    }
}
