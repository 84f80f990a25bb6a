//! `record`: capture files, network adapters or HEP agents into an archive.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use capture::{
    Advance, Filter, Filtered, FrameSource, HepListener, HepOptions, MergedFiles, MirrorPort, PortOptions,
    Ring,
};
use decode::Timestamp;
use store::locations::Duty;
use store::{Archive, Created, Take};

use super::upkeep::{copy_checkpoints, have_stamped};
use super::{copies, print_json, print_line, progress, settle_recovery, warn};
use crate::cli;
use crate::clock;
use crate::config;
use crate::failure::{Done, Failure};
use crate::keylog::KeyLogs;
use crate::recorder::{Recorder, Report};
use crate::tables;

/// How long a live source is waited for before time is told to go on.
const PATIENCE: Duration = Duration::from_millis(100);
/// Bytes of frames that may wait between the capture threads and the recorder: 0.7 s of a full gigabit port.
const RING_BYTES: usize = 64 * 1024 * 1024;
/// How often a busy source is asked what it dropped, in frames; one that is less busy is asked by capture time, so that a drop is
/// charged to the second it belongs to.
const DROPS_CHECK_FRAMES: u64 = 4096;
/// The same in capture time.
const DROPS_CHECK_MS: i64 = 200;
/// How often a busy source lets the key logs be looked at: a look costs as much as a few frames.
const KEYS_CHECK_FRAMES: u64 = 256;
/// How often the clock is looked at for retention.
const CLOCK_LOOK: Duration = Duration::from_secs(3_600);
/// Recordings listed at the end; more are told as a number.
const LISTED_MAX: usize = 40;

pub(crate) fn run(args: &cli::Record) -> Result<Done, Failure> {
    let settings = config::resolve(&args.archive)?;
    let mut source = open_source(args, &settings.hep)?;
    let mut keys = KeyLogs::open(&args.tls.key_logs)?;
    let stop = stop_flag()?;
    let (archive, created) = Archive::open_or_create_watched(&settings.archive, &mut progress("indexing"))?;
    match created {
        Created::New { keys_dir } => warn(&format!(
            "new archive {}: its keys are in {}; back them up, without them no recording can be opened",
            settings.archive.display(),
            keys_dir.display()
        )),
        Created::Existing => settle_recovery(&archive)?,
    }
    copy_checkpoints(&archive, &settings)?;
    copies::use_locations(&archive, &settings, Duty::Copy)?;
    have_stamped(&archive, &settings)?;
    if let (Some(rate), true) = (settings.scrub, !args.interface.is_empty() || !args.hep.is_empty()) {
        archive.scrub(rate.bytes_per_s())?;
    }
    // New rules are in force from now on, so that their grace runs while it records.
    let rules = &settings.retention;
    let mut retention = archive.retention(
        rules.rules.clone(),
        rules.grace,
        rules.off_max,
        clock::reading()?,
        Take::InForce,
    )?;
    let mut recorder =
        Recorder::new(&archive, settings.rules, settings.call_headers.as_deref(), settings.devices)
            .keeping_sip(settings.sip);
    if !args.read.is_empty() && args.read.iter().all(|path| path.is_file()) {
        recorder = recorder.reading_files();
    }
    // Of capture files all is written; behind a live source a key log still grows.
    let is_live = !args.interface.is_empty() || !args.hep.is_empty();
    keys.read_on(!is_live, |lines| recorder.add_tls_secrets(lines)).map_err(Failure::new)?;
    let mut hourly = || {
        if let Err(error) =
            clock::reading().and_then(|reading| retention.look(reading).map_err(Failure::from))
        {
            tracing::error!(?error, "the look at the clock is not kept");
        }
    };
    let troubles = walk(&mut *source, &mut recorder, &mut keys, &stop, &mut hourly);
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
    open_ports(&args.interface, &filter_text, open_listeners(args, hep)?)
}

fn open_listeners(args: &cli::Record, hep: &config::HepSection) -> Result<Vec<HepListener>, Failure> {
    let key = if args.hep.is_empty() { None } else { hep.key()? };
    let from: Vec<_> = args.hep_from.iter().chain(&hep.from).map(|address| address.to_canonical()).collect();
    if from.is_empty() && args.hep.iter().any(|listen| !listen.ip().to_canonical().is_loopback()) {
        warn("nobody is named by --hep-from: HEP is taken from this machine alone");
    }
    let listen = |&listen: &_| {
        let options =
            HepOptions { from: from.clone(), key: key.clone(), ..HepOptions::new(listen, clock::now) };
        HepListener::bind(options).map_err(Failure::new)
    };
    args.hep.iter().map(listen).collect()
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
    let ports: Vec<MirrorPort> = names.iter().map(open).collect::<Result<_, _>>()?;
    Ok(Box::new(Ring::start_with(ports, listeners, RING_BYTES).map_err(Failure::new)?))
}

/// Set by the first SIGINT or SIGTERM: recordings are closed first. The second one ends the process at once.
fn stop_flag() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// Frames until the end or a signal. Gives what could not be read.
fn walk(
    source: &mut dyn FrameSource,
    recorder: &mut Recorder<'_>,
    keys: &mut KeyLogs,
    stop: &AtomicBool,
    hourly: &mut dyn FnMut(),
) -> Vec<String> {
    let mut troubles = Vec::new();
    let mut next_hour = Instant::now() + CLOCK_LOOK;
    let mut dropped = 0;
    let mut frames: u64 = 0;
    let mut next_check = Timestamp::MIN;
    while !stop.load(Ordering::Relaxed) {
        let advanced = source.advance_within(PATIENCE);
        if let Some(lines) = source.take_tls_secrets() {
            recorder.add_tls_secrets(&lines);
        }
        match advanced {
            Ok(Advance::Frame) => {
                // Not moved out: a copy would wait for all of its fields to be written.
                let frame = source.frame();
                let Some(frame) = &frame else { continue };
                let at = frame.at;
                recorder.handle_frame(frame);
                frames += 1;
                if frames.is_multiple_of(KEYS_CHECK_FRAMES) {
                    read_keys(keys, recorder, &mut troubles);
                }
                if at >= next_check || frames.is_multiple_of(DROPS_CHECK_FRAMES) {
                    next_check = at.plus_millis(DROPS_CHECK_MS);
                    charge_drops(source, recorder, &mut dropped);
                    look_at_clock(&mut next_hour, hourly);
                }
            }
            Ok(Advance::Idle) => {
                look_at_clock(&mut next_hour, hourly);
                charge_drops(source, recorder, &mut dropped);
                read_keys(keys, recorder, &mut troubles);
                recorder.handle_timeout(clock::now());
            }
            Ok(Advance::End) => break,
            Err(error) => troubles.push(error.to_string()),
        }
    }
    troubles
}

/// Calls `hourly` when its time has come.
fn look_at_clock(next: &mut Instant, hourly: &mut dyn FnMut()) {
    let now = Instant::now();
    if now >= *next {
        *next = now + CLOCK_LOOK;
        hourly();
    }
}

/// What a key log has new. One that fails is told, and not asked again.
fn read_keys(keys: &mut KeyLogs, recorder: &mut Recorder<'_>, troubles: &mut Vec<String>) {
    if let Err(failure) = keys.read_on(false, |lines| recorder.add_tls_secrets(lines)) {
        troubles.push(failure);
    }
}

/// Frames that the kernel, the adapter or the ring dropped since the last look are charged to the calls that run now.
fn charge_drops(source: &dyn FrameSource, recorder: &mut Recorder<'_>, before: &mut u64) {
    let counters = source.counters();
    let dropped = counters.dropped_kernel + counters.dropped_interface + counters.dropped_ring;
    if dropped > *before {
        recorder.note_drops(dropped - *before, counters);
        *before = dropped;
    }
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
