//! How fast captures become recordings, against the least that any sealing recorder must do, in the same run.
//!
//! `cargo bench --bench throughput` (options: `-- --calls N --seconds N --runs N`). The yardstick walks the same file in
//! memory, finds the stream of each packet by its addresses, appends its payload to the call's buffer, seals each second with
//! AES-256-GCM and writes one file per call: it follows no signalling, judges nothing, checks nothing, keeps no time.
//! CPU time is the kernel's own accounting (10 ms steps); machines differ, so the ratio is the figure to quote.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use xtask::load::Scenario;
use xtask::pcap::Container;

/// Bytes of an Ethernet, IPv4 and UDP header, and of an RTP header behind them.
const HEADERS: usize = 14 + 20 + 8;
const RTP_HEADER: usize = 12;
/// Sealed at once by the yardstick: a second of G.711.
const SECOND: usize = 8_000;

struct Figures {
    cpu_s: f64,
    wall_s: f64,
    peak_mib: f64,
}

fn main() {
    let option = |name: &str, default: u32| -> u32 {
        let words: Vec<String> = std::env::args().collect();
        let at = words.iter().position(|word| word == name);
        at.and_then(|at| words.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let (calls, seconds, runs) = (option("--calls", 250), option("--seconds", 30), option("--runs", 3));
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch folder");
    let capture = scratch.path().join("load.pcap");
    let scenario = Scenario { calls, talk_ms: seconds * 1000, ..Scenario::default() };
    let file = BufWriter::new(File::create(&capture).expect("a file"));
    let truth = scenario.write(file, Container::Pcap).expect("a capture");
    let packets: u64 = truth.iter().map(|call| call.near.packets + call.far.packets).sum();
    let call_hours = f64::from(calls) * f64::from(seconds) / 3600.0;
    println!("{calls} calls of {seconds} s, {packets} RTP packets, G.711, {runs} runs each in turn");

    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for run in 0..runs {
        let folder = scratch.path().join(format!("floor{run}"));
        floors.push(yardstick(&capture, &folder));
        ours.push(record(&capture, &scratch.path().join(format!("archive{run}"))));
    }
    let (ours, floor) = (median(ours), median(floors));
    println!("yardstick   {:6.2} CPU s, {:6.2} s", floor.cpu_s, floor.wall_s);
    println!("earwitness  {:6.2} CPU s, {:6.2} s, peak {:.0} MiB", ours.cpu_s, ours.wall_s, ours.peak_mib);
    println!(
        "earwitness  {:.0} packets/s, {:.2} CPU s per call-hour, {:.2} times the yardstick's CPU",
        packets as f64 / ours.wall_s,
        ours.cpu_s / call_hours,
        ours.cpu_s / floor.cpu_s
    );
}

/// The program itself, as a process of its own.
fn record(capture: &Path, archive: &Path) -> Figures {
    let (cpu, wall) = (cpu_s(Whose::Children), Instant::now());
    let mut child = Command::new(env!("CARGO_BIN_EXE_earwitness"))
        .args(["record", "--json", "-r"])
        .arg(capture)
        .arg("-a")
        .arg(archive)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let mut peak_kib = 0.0_f64;
    let status = loop {
        let text = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0);
        peak_kib = peak_kib.max(now);
        match child.try_wait().expect("it can be asked") {
            Some(status) => break status,
            None => std::thread::park_timeout(Duration::from_millis(10)),
        }
    };
    assert!(status.success(), "recording failed");
    Figures {
        cpu_s: cpu_s(Whose::Children) - cpu,
        wall_s: wall.elapsed().as_secs_f64(),
        peak_mib: peak_kib / 1024.0,
    }
}

/// See the module's text.
fn yardstick(capture: &Path, folder: &Path) -> Figures {
    let (cpu, wall) = (cpu_s(Whose::Own), Instant::now());
    fs::create_dir(folder).expect("a folder");
    let bytes = fs::read(capture).expect("the capture");
    let mut streams: HashMap<[u8; 12], usize> = HashMap::new();
    let mut open: Vec<(File, Aes256Gcm, Vec<u8>, u64)> = Vec::new();
    let mut at = 24;
    while let Some(header) = bytes.get(at..at + 16) {
        let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
        let frame = bytes.get(at + 16..at + 16 + length).unwrap_or_default();
        at += 16 + length;
        let Some(payload) = frame.get(HEADERS + RTP_HEADER..).filter(|_| frame[HEADERS] == 0x80) else {
            continue;
        };
        // Addresses and ports, the lower end first, so that both directions are one call.
        let (a, b) = ([&frame[26..30], &frame[34..36]].concat(), [&frame[30..34], &frame[36..38]].concat());
        let key: [u8; 12] =
            if a < b { [a, b].concat() } else { [b, a].concat() }.try_into().expect("12 bytes");
        let next = open.len();
        let stream = *streams.entry(key).or_insert(next);
        if stream == next {
            let file = File::create(folder.join(next.to_string())).expect("a file");
            let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from([7; 32]));
            open.push((file, cipher, Vec::with_capacity(2 * SECOND), 0));
        }
        let (file, cipher, buffer, count) = &mut open[stream];
        buffer.extend_from_slice(payload);
        if buffer.len() >= 2 * SECOND {
            seal(file, cipher, buffer, count);
        }
    }
    for (file, cipher, buffer, count) in &mut open {
        seal(file, cipher, buffer, count);
    }
    Figures { cpu_s: cpu_s(Whose::Own) - cpu, wall_s: wall.elapsed().as_secs_f64(), peak_mib: 0.0 }
}

fn seal(file: &mut File, cipher: &Aes256Gcm, buffer: &mut Vec<u8>, count: &mut u64) {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&count.to_be_bytes());
    *count += 1;
    cipher.encrypt_in_place(&Nonce::from(nonce), b"", buffer).expect("seals");
    file.write_all(buffer).expect("writes");
    buffer.clear();
}

enum Whose {
    Own,
    Children,
}

/// User and system time so far, of this process or of the children that have ended (proc(5), /proc/self/stat).
fn cpu_s(whose: Whose) -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let first = match whose {
        Whose::Own => 11,
        Whose::Children => 13,
    };
    let ticks: f64 =
        fields[first..first + 2].iter().map(|field| field.parse::<f64>().expect("a number")).sum();
    ticks / 100.0
}

/// The run in the middle by CPU time.
fn median(mut figures: Vec<Figures>) -> Figures {
    figures.sort_by(|a, b| a.cpu_s.total_cmp(&b.cpu_s));
    figures.swap_remove(figures.len() / 2)
}
