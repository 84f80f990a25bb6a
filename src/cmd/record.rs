//! `record`: capture files, network adapters or HEP agents into an archive.

use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use capture::{
    Adapter, Filter, Filtered, FrameSource, HepListener, HepOptions, MergedFiles, MirrorPort, PortOptions,
    Ring,
};
use decode::Timestamp;
use store::locations::Duty;
use store::{Archive, Created, Retention, Take};

use super::rule::follow_book;
use super::upkeep::{copy_checkpoints, have_stamped};
use super::{copies, print_json, print_line, progress, settle_recovery, warn};
use crate::cli;
use crate::clock;
use crate::config;
use crate::failure::{Done, Failure};
use crate::keylog::KeyLogs;
use crate::live::{Beside, stop_flag, walk};
use crate::recorder::{Recorder, Report};
use crate::tables;

/// Bytes of frames that may wait between the capture threads and the recorder: 0.7 s of a full gigabit port.
const RING_BYTES: usize = 64 * 1024 * 1024;
/// How often the clock is looked at for retention.
const CLOCK_LOOK: Duration = Duration::from_secs(3_600);
/// Troubles told at the end; a port that comes and goes for months has very many.
const TROUBLES_MAX: usize = 100;
/// Recordings listed at the end; more are told as a number.
const LISTED_MAX: usize = 40;

pub(crate) fn run(args: &cli::Record) -> Result<Done, Failure> {
    let mut settings = config::resolve(&args.archive)?;
    let mut source = open_source(args, &settings.hep)?;
    let mut keys = KeyLogs::open(&args.tls.key_logs)?;
    let stop = stop_flag()?;
    let (archive, created) = Archive::open_or_create_watched(&settings.archive, &mut progress("indexing"))?;
    match created {
        Created::New { keys_dir } => tell_of_keys(&settings.archive, &keys_dir),
        Created::Existing => settle_recovery(&archive)?,
    }
    archive.seal_on_threads(settings.sealing_threads)?;
    let version = follow_book(&mut settings, &archive)?;
    copy_checkpoints(&archive, &settings)?;
    copies::use_locations(&archive, &settings, Duty::Copy)?;
    have_stamped(&archive, &settings)?;
    if let (Some(rate), true) = (settings.scrub, !args.interface.is_empty() || !args.hep.is_empty()) {
        archive.scrub(rate.bytes_per_s())?;
    }
    // New rules are in force from now on, so that their grace runs while it records.
    let retention = settings.retention.take_up(&archive, Take::InForce)?;
    let mut recorder =
        Recorder::new(&archive, settings.rules, settings.call_headers.as_deref(), settings.devices)
            .keeping_sip(settings.sip)
            .on_ports(settings.ports)
            .following_book(settings.machine, version);
    if !args.read.is_empty() && args.read.iter().all(|path| path.is_file()) {
        recorder = recorder.reading_files();
    }
    // Of capture files all is written; behind a live source a key log still grows.
    let is_live = !args.interface.is_empty() || !args.hep.is_empty();
    keys.read_on(!is_live, |lines| recorder.add_tls_secrets(lines)).map_err(Failure::new)?;
    let mut beside = Chores { retention, next_clock_look: Instant::now() + CLOCK_LOOK, troubles: Vec::new() };
    walk(&mut *source, &mut recorder, &mut keys, is_live, &stop, &mut beside);
    let troubles = beside.troubles;
    let counters = source.counters();
    if counters.refused > 0 {
        warn(&format!(
            "{} HEP packets or connections were refused: not from an address of --hep-from, without the key, or no HEP",
            counters.refused
        ));
    }
    let report = recorder.finish(counters);
    print_report(args, &archive, &report)?;
    report.failure.into_result()?;
    archive.close()?;
    if stop.load(Ordering::Relaxed) {
        return Ok(Done::Interrupted);
    }
    if troubles.is_empty() {
        return Ok(Done::All);
    }
    if report.counters.packets_seen == 0 && troubles.len() >= args.read.len() {
        return Err(Failure::new(troubles.join("; ")));
    }
    troubles.iter().for_each(|trouble| warn(trouble));
    Ok(Done::InPart)
}

/// What is due beside the frames: the clock is looked at for retention.
struct Chores<'a> {
    retention: Retention<'a>,
    next_clock_look: Instant,
    troubles: Vec<String>,
}

impl Beside for Chores<'_> {
    fn look(&mut self, _: &mut Recorder<'_>, _: &dyn FrameSource, _: Timestamp) {
        let now = Instant::now();
        if now < self.next_clock_look {
            return;
        }
        self.next_clock_look = now + CLOCK_LOOK;
        let looked = clock::reading().and_then(|reading| Ok(self.retention.look(reading)?));
        if let Err(error) = looked {
            tracing::error!(?error, "the look at the clock is not kept");
        }
    }

    fn trouble(&mut self, what: String) {
        if self.troubles.len() < TROUBLES_MAX {
            self.troubles.push(what);
        }
    }
}

/// The files, adapters and sockets that the words name, behind their filter.
fn open_source(args: &cli::Record, hep: &config::HepSection) -> Result<Box<dyn FrameSource>, Failure> {
    let filter_text = args.filter.join(" ");
    let filter =
        if filter_text.is_empty() { None } else { Some(Filter::new(&filter_text).map_err(Failure::usage)?) };
    if args.interface.is_empty() && args.hep.is_empty() {
        let files = open_files(&args.read)?;
        return Ok(match filter {
            Some(filter) => Box::new(Filtered::new(files, filter)),
            None => Box::new(files),
        });
    }
    if args.interface.is_empty() && filter.is_some() {
        return Err(Failure::usage("a filter is for files and adapters: HEP is taken whole"));
    }
    open_ports(&args.interface, &filter_text, listeners(&args.hep, &args.hep_from, hep)?)
}

/// Says where the keys of a new archive are.
pub(super) fn tell_of_keys(archive: &Path, keys_dir: &Path) {
    warn(&format!(
        "new archive {}: its keys are in {}; back them up, without them no recording can be opened",
        archive.display(),
        keys_dir.display()
    ));
}

/// Sockets for HEP at these addresses, which `from` and the configuration's agents may send to.
pub(super) fn listeners(
    addresses: &[SocketAddr],
    from: &[IpAddr],
    hep: &config::HepSection,
) -> Result<Vec<HepListener>, Failure> {
    let key = if addresses.is_empty() { None } else { hep.key()? };
    let from: Vec<_> = from.iter().chain(&hep.from).map(|address| address.to_canonical()).collect();
    if from.is_empty() && addresses.iter().any(|listen| !listen.ip().to_canonical().is_loopback()) {
        warn("nobody is named who may send HEP (hep.from, --hep-from): it is taken from this machine alone");
    }
    let bind = |&listen: &_| {
        let options =
            HepOptions { from: from.clone(), key: key.clone(), ..HepOptions::new(listen, clock::now) };
        HepListener::bind(options).map_err(Failure::new)
    };
    addresses.iter().map(bind).collect()
}

fn open_files(paths: &[PathBuf]) -> Result<MergedFiles, Failure> {
    if paths.iter().any(|path| path.as_os_str() == "-") && std::io::stdin().is_terminal() {
        return Err(Failure::usage("-r -: the standard input is a terminal; send a capture through a pipe"));
    }
    MergedFiles::open(paths).map_err(Failure::new)
}

fn open_ports(
    names: &[String],
    filter: &str,
    listeners: Vec<HepListener>,
) -> Result<Box<dyn FrameSource>, Failure> {
    let open = |name: &String| {
        MirrorPort::open(PortOptions { filter: filter.to_owned(), ..PortOptions::new(name) })
            .map_err(Failure::new)
    };
    let ports: Vec<_> = names.iter().map(|name| open(name).map(Adapter::Open)).collect::<Result<_, _>>()?;
    Ok(Box::new(Ring::start_with(ports, listeners, RING_BYTES).map_err(Failure::new)?))
}

fn print_report(args: &cli::Record, archive: &Archive, report: &Report) -> Result<(), Failure> {
    if args.json.json {
        return print_json(&tables::balance_json(&report.outcomes, &report.counters));
    }
    let mut rows = Vec::new();
    for &id in report.recordings.iter().take(LISTED_MAX) {
        // One that could not be finished for want of space has no row before the archive is opened again.
        rows.extend(archive.row(id).ok());
    }
    if !rows.is_empty() {
        print_line(&tables::recordings(&rows))?;
        let more = report.recordings.len() - rows.len();
        if more > 0 {
            print_line(&format!("and {more} more: `earwitness archive list` shows them"))?;
        }
        print_line("")?;
    }
    print_line(&tables::balance_sheet(&report.outcomes, &report.counters))?;
    for (what, count) in &report.oddities {
        print_line(&format!("  oddity: {what} ({count})"))?;
    }
    if report.outcomes.is_empty() && std::io::stdout().is_terminal() {
        print_line("No call was seen. `earwitness replay` shows what is in a capture.")?;
    }
    Ok(())
}
