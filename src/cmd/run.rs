//! `run`: the appliance. Ways in, recorder, archive, retention, pages, API and metrics in one process.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use capture::{
    Adapter, EndpointControl, EndpointGauges, EndpointListener, Interface, Listener, PortOptions, Ring,
    TimeStamps,
};
use store::locations::Duty;
use store::{Archive, Created};
use web::ffmpeg::Choice;
use web::metrics::Machine;
use web::server::{Beside, Look, Monitoring, Running, Server, Tokens};
use web::set_up::SetUp;

use super::record::{listeners, tell_of_keys};
use super::rule::follow_book;
use super::serve::close;
use super::upkeep::{copy_checkpoints, have_stamped};
use super::{copies, know_site, print_line, progress, settle_recovery, warn};
use crate::alarms::archive::{Halted, OfArchive};
use crate::alarms::drives::Drives;
use crate::alarms::history::Kept;
use crate::alarms::sinks::{Alarms, Shown};
use crate::alarms::{Kind, Watch};
use crate::appliance::{Appliance, Keeper, is_alive, tell_supervisor};
use crate::beside::Door;
use crate::canary::{self, Canary};
use crate::carried::Luggage;
use crate::cli;
use crate::clock;
use crate::cold::Recoder;
use crate::config::appliance::CaptureSection;
use crate::config::{self, RecordACall, Settings};
use crate::console;
use crate::control::{Control, control};
use crate::failure::{Done, Failure};
use crate::feed::{Admission, Feed};
use crate::harden::{self, Outside, Walls};
use crate::keylog::KeyLogs;
use crate::late;
use crate::live::{stop_flag, walk};
use crate::machine;
use crate::pages;
use crate::passphrase;
use crate::post::PostOffice;
use crate::recorder::Recorder;
use crate::reload::{Reload, reload_flag};
use crate::rules::Standing;
use crate::set_up::{self, Ears};
use crate::smdr::{Logger, Outlets, Smdr, Ways};
use crate::sources::Sources;
use crate::support::{self, Workshop};
use crate::webhooks::Tellers;

pub(crate) fn run(args: &cli::Run) -> Result<Done, Failure> {
    let mut settings = config::resolve(&args.dir)?;
    let is_named = !settings.capture.interfaces.is_empty()
        || !settings.capture.hep.is_empty()
        || settings.record_a_call.is_some();
    if !is_named {
        settings.capture.interfaces = set_up::chosen(&settings.archive)?;
    }
    if settings.canary.every.is_some() && settings.capture.interfaces.is_empty() {
        return Err(Failure::config(
            "canary.every: it goes over an adapter, and [capture] interfaces names none",
        ));
    }
    let mut keys = KeyLogs::open(&args.tls.key_logs)?;
    let (tokens, sinks) = (Arc::new(Tokens::new(settings.api.tokens()?)), settings.alarms.sinks()?);
    let post = Arc::new(PostOffice::new(settings.alarms.mail_server()?));
    let (stop, reload_asked) = (stop_flag()?, reload_flag()?);
    let taken = config::read_again(&args.dir)?.0;
    let admission = settings.feed.admission()?;
    let (adapters, heard) = match &settings.capture.interfaces[..] {
        [] if !is_named => at_all_adapters(&settings.capture)?,
        names => (
            names.iter().map(|name| open_adapter(&settings.capture, name)).collect::<Result<_, _>>()?,
            Vec::new(),
        ),
    };
    harden::tell_of_swap();
    let (mut ring, endpoint) = open_ring(&settings, adapters)?;
    // The threads that capture run by now; all others are started from here on.
    harden::give_up_privileges()
        .map_err(|error| Failure::new(format!("privileges cannot be given up (capset, prctl): {error}")))?;
    let archive = Arc::new(open_archive(&settings, &stop)?);
    let (control, desk) = control();
    let door = Door::open(&archive, control.clone(), args.dir.config.clone())?;
    let outside = Outside::start()?;
    // The archive's own threads, which get what is sealed and go to locations that are mounted as they come, run by now, and so does
    // the door of root's commands.
    harden::wall_in(&walls(&settings, args))?;
    archive.seal_on_threads(settings.sealing_threads)?;
    let mut version = follow_book(&mut settings, &archive)?;
    know_site(&archive, &settings.rules);
    let control = control.joining(endpoint.as_ref().map(|endpoint| endpoint.control.clone()));
    let sources = Sources::new(settings.alarms.facts.clone());
    let feed =
        admission.map(|admission| open_feed(admission, control.clone(), sources.clone())).transpose()?;
    let (smdr, outlets) = open_smdr(&settings.smdr, control.clone(), &sources)?;
    let (canary, sung) = start_canary(&settings, &archive, control.clone())?.unzip();
    let watch = Watch::new(settings.alarms.limits.clone());
    let alerts = Arc::new(Kept::open(&settings.archive));
    let halted = Halted::default();
    let not_set_up = not_set_up(&settings);
    let of_archive = OfArchive { archive: Arc::clone(&archive), halted: Arc::clone(&halted), not_set_up };
    let alarms = Alarms::start(
        watch,
        sinks,
        control.clone(),
        drives(&settings),
        sung.clone(),
        Arc::clone(&alerts),
        of_archive,
    )?;
    let look = look(&archive, alarms.shown(), sung);
    let is_listening = !heard.is_empty();
    let ears = is_listening
        .then(|| Ears::new(Arc::clone(&archive), settings.book.clone(), settings.machine.clone()));
    let standing = Standing::new(settings.book.clone(), settings.machine.clone());
    support::know(Arc::new(control.clone()), Arc::clone(&look));
    let workshop = Workshop::new(&archive, args.dir.clone(), settings.web.told());
    let tellers = Tellers::start(&archive)?;
    let beside = Beside {
        live: Some(Arc::new(control.clone())),
        tokens: Arc::clone(&tokens),
        zone: settings.machine.zone.clone(),
        machine: Some(Arc::clone(&look)),
        set_up: ears.clone().map(|ears| ears as Arc<dyn SetUp>),
        rules: Some(Arc::new(standing.clone())),
        alerts: Some(alerts),
        machinery: Some(Arc::new(workshop)),
        webhooks: Some(Arc::new(tellers.shown())),
        mail: Some(Arc::clone(&post) as Arc<dyn web::mail::Post>),
        ..Beside::new(clock::now)
    };
    let place = pages::place(&settings, settings.web.listen)?;
    let pages = Server::bind(Arc::clone(&archive), place, beside, announce)?.spawn()?;
    let metrics =
        settings.metrics.listen.map(|listen| monitoring(control.clone(), look).spawn(listen)).transpose()?;
    if let Some(ears) = ears {
        warn(
            "nothing is named to record from: that link leads to what is heard here, and asks. Nothing is recorded until then",
        );
        tell_supervisor(&[sd_notify::NotifyState::Ready]);
        if let Some(chosen) = ears.listen(&mut ring, &heard, &stop, is_alive) {
            settings.capture.interfaces = chosen;
            version = follow_book(&mut settings, &archive)?;
        }
    }
    let (late, amender) = late::start(Arc::clone(&archive), settings.rules.clone())?;
    let keeper =
        Keeper::start(Arc::clone(&archive), settings.retention.clone(), settings.machine.clone(), halted)?;
    let recoder = Recoder::start(&archive, settings.cold.as_ref(), &settings.retention)?;
    let reload = Reload {
        dir: args.dir.clone(),
        taken,
        archive: Arc::clone(&archive),
        control,
        alarms: alarms.changer(),
        sources: sources.clone(),
        keeping: keeper.keeping(),
        standing,
        tokens,
        post,
    };
    let reload = outside.ask(move || reload.wait(reload_asked))?;
    drop(outside);
    let (carried, luggage, porter) = Luggage::open(&settings.archive)?;
    let mut recorder =
        Recorder::new(&archive, settings.rules, settings.call_headers.as_deref(), settings.devices)
            .keeping_sip(settings.sip)
            .on_ports(settings.ports)
            .with_late_reports(late)
            .carrying_on(carried, luggage, clock::now())
            .following_book(settings.machine, version);
    if let (Some(record_a_call), Some(endpoint)) = (&settings.record_a_call, &endpoint) {
        recorder = recorder.conferenced(endpoint.source, record_a_call.order.clone());
    }
    if let Some(endpoint) = &endpoint
        && endpoint.control.open().is_err()
    {
        return Err(Failure::new("the Record-A-Call endpoint takes no orders"));
    }
    if outlets.is_any() {
        recorder = recorder.with_logger(Logger::new(settings.smdr.zone.clone(), outlets.clone()));
    }
    let gauges = endpoint.map(|endpoint| endpoint.gauges);
    let mut appliance =
        Appliance::new(desk, ring.gauges(), gauges, sources, Arc::clone(&archive), Arc::clone(&stop));
    tell_supervisor(&[sd_notify::NotifyState::Ready]);
    tracing::info!(interfaces = ?settings.capture.interfaces, hep = ?settings.capture.hep, "recording");
    walk(&mut ring, &mut recorder, &mut keys, true, &stop, &mut appliance);

    tell_supervisor(&[sd_notify::NotifyState::Stopping]);
    let counters = capture::FrameSource::counters(&ring);
    let report = recorder.finish(counters);
    // The recorder's end of it is gone: what was handed over is carried out.
    amender.stop();
    porter.stop();
    // Those who could still ask go first; the archive is closed when nobody has it any more.
    reload.stop();
    drop((appliance, ring, door));
    if let Some(canary) = canary {
        canary.stop();
    }
    if let Some(feed) = feed {
        feed.stop();
    }
    smdr.stop(&outlets);
    keeper.stop();
    if let Some(recoder) = recoder {
        recoder.stop();
    }
    alarms.stop();
    tellers.stop();
    let served: Vec<_> = [Some(pages), metrics].into_iter().flatten().map(Running::stop).collect();
    support::forget();
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

/// The Record-A-Call endpoint, which the ring has.
struct Endpoint {
    /// Its place among the sources of the ring.
    source: u16,
    gauges: EndpointGauges,
    control: EndpointControl,
}

fn port_options(capture: &CaptureSection, name: &str) -> PortOptions {
    let options = PortOptions {
        filter: capture.kernel_filter.clone(),
        buffer_bytes: megabytes(capture.kernel_mb) as u32,
        time_stamps: match capture.time_stamps {
            config::appliance::Stamps::Host => TimeStamps::Host,
            config::appliance::Stamps::Adapter => TimeStamps::Adapter { clock: clock::now },
        },
        ..PortOptions::new(name)
    };
    PortOptions { snap_len: capture.snap_len.unwrap_or(options.snap_len), ..options }
}

fn open_adapter(capture: &CaptureSection, name: &str) -> Result<Adapter, Failure> {
    let adapter = Adapter::open(port_options(capture, name)).map_err(Failure::new)?;
    if let Adapter::Awaited(_, why) = &adapter {
        warn(&format!("{why}: it is opened as soon as it can be, until then nothing is recorded from it"));
    }
    Ok(adapter)
}

/// An adapter that is listened at, or why it is not.
type AtAdapter = (Interface, Option<String>);

/// Nobody has said what to record from: every adapter that could be a mirror port, to listen at; behind those that could be opened stand the
/// others, with the reason.
fn at_all_adapters(capture: &CaptureSection) -> Result<(Vec<Adapter>, Vec<AtAdapter>), Failure> {
    let (mut open, mut heard, mut closed) = (Vec::new(), Vec::new(), Vec::new());
    for interface in set_up::adapters()? {
        match Adapter::open(port_options(capture, &interface.name)) {
            Ok(adapter @ Adapter::Open(_)) => {
                open.push(adapter);
                heard.push((interface, None));
            }
            Ok(Adapter::Awaited(_, why)) => closed.push((interface, Some(why.to_string()))),
            Err(why) => closed.push((interface, Some(why.to_string()))),
        }
    }
    if open.is_empty() {
        let why = closed.first().and_then(|(_, why)| why.as_deref()).unwrap_or("no adapter is up");
        return Err(Failure::config(format!(
            "nothing to record from, and nothing to listen at ({why}): name adapters in [capture] interfaces (`earwitness interfaces` \
             lists them), hep, or [record_a_call] listen"
        )));
    }
    heard.append(&mut closed);
    Ok((open, heard))
}

fn open_ring(settings: &Settings, mut adapters: Vec<Adapter>) -> Result<(Ring, Option<Endpoint>), Failure> {
    let capture = &settings.capture;
    if settings.canary.every.is_some() && !capture.hears_loopback() {
        let options = PortOptions { filter: canary::FILTER.into(), ..PortOptions::new(canary::ADAPTER) };
        adapters.push(Adapter::open(options).map_err(Failure::new)?);
    }
    let hep = listeners(&capture.hep, &[], &settings.hep)?;
    let listener = settings.record_a_call.as_ref().map(open_endpoint).transpose()?;
    // Sockets stand behind the adapters, this one behind HEP.
    let source = u16::try_from(adapters.len() + hep.len()).unwrap_or(u16::MAX);
    let endpoint = listener.as_ref().map(|listener| {
        let (gauges, control) = (listener.gauges(), listener.control());
        Endpoint { source, gauges, control }
    });
    let listeners: Vec<Listener> =
        hep.into_iter().map(Listener::from).chain(listener.map(Listener::from)).collect();
    let ring = Ring::start_with(adapters, listeners, megabytes(capture.ring_mb)).map_err(Failure::new)?;
    Ok((ring, endpoint))
}

fn open_endpoint(record_a_call: &RecordACall) -> Result<EndpointListener, Failure> {
    if record_a_call.is_local_only && !record_a_call.listen().ip().to_canonical().is_loopback() {
        warn("no PBX is named (record_a_call.from): calls are taken from this machine alone");
    }
    let mut options = record_a_call.options()?;
    // A call that is answered must be recorded, and an archive may take long to open.
    options.agent.opens_later = true;
    let endpoint = EndpointListener::bind(options).map_err(Failure::new)?;
    let tls = endpoint.tls_address();
    tracing::info!(address = %endpoint.address(), ?tls, port_pairs = endpoint.pairs(), "taking calls of PBXs");
    Ok(endpoint)
}

fn open_feed(admission: Admission, control: Control, sources: Sources) -> Result<Feed, Failure> {
    if admission.from.is_empty() && !admission.listen.ip().to_canonical().is_loopback() {
        warn("nobody is named who may report (feed.from): reports are taken from this machine alone");
    }
    let feed = Feed::start(admission, control, sources)?;
    tracing::info!(address = %feed.address(), "taking reports");
    Ok(feed)
}

fn open_smdr(ways: &Ways, control: Control, sources: &Sources) -> Result<(Smdr, Outlets), Failure> {
    let bound = [ways.take, ways.listen];
    if ways.from.is_empty()
        && bound.into_iter().flatten().any(|listen| !listen.ip().to_canonical().is_loopback())
    {
        warn("nobody is named who may connect for SMDR (smdr.from): only this machine may");
    }
    let (smdr, outlets, bound) = Smdr::start(ways, control, sources)?;
    if !bound.is_empty() {
        tracing::info!(?bound, "SMDR");
    }
    Ok((smdr, outlets))
}

fn start_canary(
    settings: &Settings,
    archive: &Arc<Archive>,
    control: Control,
) -> Result<Option<(canary::Running, canary::Shown)>, Failure> {
    let Some(every) = settings.canary.every else { return Ok(None) };
    let canary = Canary {
        archive: Arc::clone(archive),
        control,
        extension: settings.canary.extension.clone(),
        every: Duration::from_nanos(every.as_nanos().unsigned_abs()),
        rtp_ports: settings.book.site.rtp_ports.clone(),
    };
    canary.start().map(Some)
}

fn sung_so_far(shown: &canary::Shown) -> web::metrics::Canary {
    let state = shown.lock().unwrap_or_else(PoisonError::into_inner);
    web::metrics::Canary {
        calls: state.tried,
        failures: state.failed,
        last_good: state.last_good,
        playable_ms: state.playable_ms,
    }
}

/// What the threads that decode, write and answer may reach of this machine's files.
fn walls(settings: &Settings, args: &cli::Run) -> Walls {
    let folder = |path: &Path| path.parent().map(Path::to_owned);
    let mut walls = Walls::default();
    walls.write.push(settings.archive.clone());
    for place in settings.copies.locations.iter().filter_map(|place| place.folder.as_deref()) {
        // What is mounted anew is found by what is above it.
        let above = place.ancestors().take(3).filter(|path| path.parent().is_some());
        walls.read.extend(above.map(Path::to_owned));
    }
    walls.write.extend(std::env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from));
    walls.read.extend(std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from));
    let keys = settings.copies.locations.iter().filter_map(|place| place.key_file.as_deref());
    let pages = settings.web.certificate.as_deref().into_iter().chain(settings.web.key.as_deref());
    let named = args.tls.key_logs.iter().map(PathBuf::as_path).chain(keys).chain(args.dir.config.as_deref());
    walls.read.extend(named.chain(pages).filter_map(folder));
    if let Choice::At(program) = &settings.ffmpeg {
        walls.run.extend(folder(program));
    }
    walls
}

/// The drives that fill while it records.
fn drives(settings: &Settings) -> Drives {
    let folders = settings.copies.locations.iter();
    let folders = folders.filter_map(|place| Some((place.name.clone(), place.folder.clone()?)));
    Drives::new(&settings.archive, folders)
}

/// What the archive cannot raise an alarm of.
fn not_set_up(settings: &Settings) -> BTreeSet<Kind> {
    let kinds = [
        (Kind::LocationFailed, settings.copies.locations.is_empty()),
        (Kind::CheckpointFailed, settings.checkpoints.is_empty()),
        (Kind::StampFailed, settings.stamping.is_none()),
        (Kind::ScrubFound, settings.scrub.is_none()),
        (Kind::FactsStale, settings.feed.listen.is_none() && !settings.smdr.is_read()),
    ];
    kinds.into_iter().filter(|(_, is_not)| *is_not).map(|(kind, _)| kind).collect()
}

fn megabytes(mb: u32) -> usize {
    mb as usize * 1_000_000
}

/// The archive, new or old, with all that it does by itself.
fn open_archive(settings: &Settings, stop: &AtomicBool) -> Result<Archive, Failure> {
    let mut shown = progress("indexing");
    let mut watched = |done, total| {
        shown(done, total);
        if stop.load(Ordering::Relaxed) {
            tell_supervisor(&[sd_notify::NotifyState::Stopping]);
            warn("stopped while the index was built anew: the next start begins with it again");
            // Nothing is lost: the index counts as built when all of it is, and what the journal held is in the files by now.
            std::process::exit(0);
        }
    };
    let (archive, created) = Archive::open_or_create_watched(&settings.archive, &mut watched)?;
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

fn monitoring(control: Control, look: Look) -> Monitoring {
    Monitoring { live: Arc::new(control), machine: Box::new(move || look()), now: clock::now }
}

/// A look at the machine, for metrics and dashboard.
fn look(archive: &Arc<Archive>, alarms: Shown, canary: Option<canary::Shown>) -> Look {
    let archive = Arc::clone(archive);
    Arc::new(move || {
        let state = alarms.lock().unwrap_or_else(PoisonError::into_inner);
        let drives =
            state.drives.iter().map(|drive| (drive.name.clone(), drive.space, drive.full_in_h)).collect();
        let alarms = state.kinds.iter().map(|kind| kind.key()).collect();
        drop(state);
        Machine {
            space: archive.space(),
            drives,
            canary: canary.as_ref().map(sung_so_far),
            alarms,
            resident_bytes: machine::resident_bytes(),
            open_fds: machine::open_fds(),
            cpu_seconds: machine::cpu_seconds(),
        }
    })
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
