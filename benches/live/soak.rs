//! Months in an hour: lines on which one call follows the other, and what of memory, descriptors and processor time grows meanwhile.
//!
//! The load is made while it is sent, so it may last as long as the disk has room for its recordings: 18 KB a second of a call. The archive has
//! [`OLDER`] recordings before, all of which are listed once, so that the index has much of them in memory before (not all that it may keep: `docs/design/scale.md`). Right is: every call
//! right by its tones, nothing dropped, memory in the last quarter at most [`DRIFT_MAX_PCT`] above that in the second, no more descriptors,
//! and less than [`CPU_MAX_PCT`] of one processor.

use std::fs::{self, File};
use std::io::BufWriter;
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use decode::Timestamp;
use store::{Archive, Row};
use xtask::load::Scenario;
use xtask::pcap::Container;

use crate::common::Bench;
use crate::common::appliance::Appliance;
use crate::{Load, SETTLE, Wire, anonymous_kib, cpu_s, dropped, listen, million};

/// What is measured begins when all lines speak, a minute in.
pub(crate) const MINUTES_MIN: u32 = 3;
const TALK_MS: u32 = 60_000;
/// Recordings of earlier days, without files.
const OLDER: u64 = 100_000;
/// Between two looks at the process.
const LOOK: Duration = Duration::from_secs(5);
const DRIFT_MAX_PCT: f64 = 2.0;
const CPU_MAX_PCT: f64 = 10.0;

/// What a process has at one moment.
struct Look {
    kib: f64,
    descriptors: f64,
    cpu_s: f64,
    at: Instant,
}

impl Look {
    fn at(child: &Child) -> Look {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", child.id())).expect("it runs").count() as f64;
        Look { kib: anonymous_kib(child), descriptors, cpu_s: cpu_s(child), at: Instant::now() }
    }
}

/// An archive in which much was recorded before.
fn fill(archive: &Bench) {
    let (archive, _) = Archive::open_or_create(&archive.archive()).expect("an archive");
    // Of the year's first half.
    let rows: Vec<Row> = (0..OLDER).map(|n| million::row(n, 2 * OLDER)).collect();
    rows.chunks(128).for_each(|rows| archive.put_rows(rows).expect("put"));
    archive.close().expect("closed");
}

/// `calls` lines, for so many minutes.
pub(crate) fn run(wire: Wire, bench: &Bench, calls: u32, minutes: u32) {
    let pipe = bench.path("load.pcap");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let scenario = Scenario {
        calls,
        calls_per_line: minutes,
        talk_ms: TALK_MS,
        ramp_ms: TALK_MS,
        ..Scenario::default()
    };
    let path = pipe.clone();
    let made = std::thread::spawn(move || {
        let file = BufWriter::with_capacity(1 << 20, File::create(path).expect("a pipe"));
        scenario.write(file, Container::Pcap).expect("a capture")
    });
    println!("{calls} lines with a call of {} s after the other, for {minutes} minutes", TALK_MS / 1000);
    let load = Load { wire, capture: pipe, truth: Vec::new() };
    let archive = Bench::new();
    fill(&archive);
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let begun = Timestamp::from_millis(begun.as_millis() as i64);
    let running = Appliance::start_on(&archive, &format!("\"{}\"", load.wire.near), "");
    let listed = archive.run(&["archive", "list", "--json"]).expect_code(0).stdout().lines().count();
    assert_eq!(listed, OLDER as usize);
    println!("{OLDER} older recordings listed: {:.1} MiB", anonymous_kib(&running.child) / 1024.0);
    let mut looks = Vec::new();
    let sent = load.send(|_| {
        // All lines speak from the end of the first minute to the end of the last one.
        std::thread::sleep(Duration::from_millis(TALK_MS.into()));
        let until = Instant::now() + Duration::from_millis(u64::from(minutes - 1) * u64::from(TALK_MS));
        while Instant::now() < until {
            looks.push(Look::at(&running.child));
            std::thread::sleep(LOOK);
        }
    });
    std::thread::sleep(SETTLE);
    let dropped = dropped(&running);
    running.stop();
    let truth = made.join().expect("the load was made");
    let report = listen(&archive.archive(), begun, &truth);

    let (first, last) = looks.first().zip(looks.last()).expect("it lasts long enough");
    let cpu_pct = (last.cpu_s - first.cpu_s) / (last.at - first.at).as_secs_f64() * 100.0;
    let quarter = looks.len() / 4;
    let mean = |of: fn(&Look) -> f64, looks: &[Look]| looks.iter().map(of).sum::<f64>() / looks.len() as f64;
    let (early, late) = (&looks[quarter..=2 * quarter], &looks[looks.len() - 1 - quarter..]);
    let [memory, descriptors] =
        [|look: &Look| look.kib, |look: &Look| look.descriptors].map(|of| (mean(of, early), mean(of, late)));
    let drift_pct = (memory.1 / memory.0 - 1.0) * 100.0;
    println!(
        "{} packets, {dropped} dropped, {} of {} calls right (sender at most {} ms late)",
        sent.packets, report.right, report.calls, sent.late_ms
    );
    report.faulty.iter().take(5).for_each(|(call, fault)| println!("  {call}: {fault:?}"));
    println!(
        "memory {:.1} MiB in the second quarter, {:.1} in the last: {drift_pct:+.1} % (at most {DRIFT_MAX_PCT})",
        memory.0 / 1024.0,
        memory.1 / 1024.0
    );
    println!("descriptors {:.0}, then {:.0}", descriptors.0, descriptors.1);
    println!("{cpu_pct:.1} % of one processor (less than {CPU_MAX_PCT})");
}
