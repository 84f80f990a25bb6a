//! What a mirror port costs: made-up calls sent over a veth pair out of a network namespace of their own, to the least that any sealing
//! recorder does ([`yardstick`]) and to `earwitness run`, one after the other.
//!
//! `cargo bench --bench live` (options: `-- --calls N --seconds N --ramp MS --runs N`; `--playable`, `--heard` or `--soak MINUTES` measure that instead). As root,
//! with `ip` of iproute2; elsewhere it says what is missing. Sender and recorder share the machine. A run is right when every call is
//! recorded, right by its tones, and no packet was dropped. CPU time is the kernel's own accounting; machines differ, so the ratio is the
//! figure to quote. `--playable` measures from each BYE to the whole recording being offered by the pages, as a browser asks for it.
//! `--heard` has browsers listen in and play while it records ([`heard`]).
//! `--soak MINUTES` makes calls one after the other for so long, and says what grew meanwhile ([`soak`]).

#[path = "../../tests/common/mod.rs"]
mod common;
mod heard;
#[path = "../million/mod.rs"]
mod million;
mod sender;
mod soak;
mod yardstick;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::Bench;
use common::appliance::Appliance;
use decode::Timestamp;
use store::Archive;
use web::{FileFormat, Shape};
use xtask::check::{Limits, Report, check};
use xtask::load::{EPOCH_NS, Scenario, Truth};
use xtask::pcap::Container;

/// How long a recorder may take to work off what it has taken.
const SETTLE: Duration = Duration::from_secs(2);
/// Bytes a second of an exported recording: two channels of 16 bits at 8 kHz.
const WAV_BYTES: f64 = 32_000.0;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    match words.get(1..).unwrap_or_default() {
        [role, interface, file] if role == "send" => return sender::send(interface, Path::new(file)),
        [role, interface, folder] if role == "yardstick" => {
            let stop = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&stop)).expect("a handler");
            return yardstick::record(interface, Path::new(folder), &stop);
        }
        _ => {}
    }
    let option = |name: &str, default: u32| -> u32 {
        let at = words.iter().position(|word| word == name);
        at.and_then(|at| words.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let (calls, seconds, runs) = (option("--calls", 1000), option("--seconds", 20), option("--runs", 1));
    let Some(wire) = Wire::lay() else {
        println!("skipped: a veth pair and a network namespace take root and `ip` of iproute2");
        return;
    };
    let bench = Bench::new();
    let minutes = option("--soak", 0);
    if minutes > 0 {
        return soak::run(wire, &bench, option("--calls", 250), minutes.max(soak::MINUTES_MIN));
    }
    let capture = bench.path("load.pcap");
    let ramp_ms = option("--ramp", 2000);
    let scenario = Scenario { calls, talk_ms: seconds * 1000, ramp_ms, ..Scenario::default() };
    let file = BufWriter::new(File::create(&capture).expect("a file"));
    let truth = scenario.write(file, Container::Pcap).expect("a capture");
    let load = Load { wire, capture, truth };
    println!("{calls} calls of {seconds} s, G.711, 20 ms, {runs} runs each in turn");
    if words.iter().any(|word| word == "--playable") {
        return load.playable(&Bench::new());
    }
    if words.iter().any(|word| word == "--heard") {
        return heard::run(&load, &Bench::new());
    }

    let mut ratios = Vec::new();
    for run in 0..runs {
        let floor = load.yardstick(&bench.path(&format!("floor{run}")));
        let ours = load.earwitness(&Bench::new());
        ratios.push(ours.cpu_s / floor.cpu_s);
        println!("earwitness   {:.2} times the yardstick's CPU", ours.cpu_s / floor.cpu_s);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median of {runs}: {:.2} times the yardstick's CPU", ratios[ratios.len() / 2]);
}

/// A veth pair whose one end, the sender's, is in a namespace of its own.
struct Wire {
    namespace: String,
    near: String,
    far: String,
}

impl Wire {
    fn lay() -> Option<Wire> {
        let id = std::process::id();
        let wire =
            Wire { namespace: format!("earwitness{id}"), near: format!("ewn{id}"), far: format!("ewf{id}") };
        let Wire { namespace, near, far } = &wire;
        let commands = [
            format!("netns add {namespace}"),
            format!("link add {near} type veth peer name {far}"),
            format!("link set {far} netns {namespace}"),
            // Nothing of the machine's own on the wire.
            format!("link set {near} addrgenmode none arp off up"),
            format!("-n {namespace} link set {far} addrgenmode none arp off up"),
        ];
        commands.iter().all(|command| ip(command)).then_some(wire)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        ip(&format!("link del {}", self.near));
        ip(&format!("netns del {}", self.namespace));
    }
}

fn ip(words: &str) -> bool {
    let run = Command::new("ip").args(words.split(' ')).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

struct Load {
    wire: Wire,
    capture: PathBuf,
    truth: Vec<Truth>,
}

/// What a recorder took for the load.
struct Figures {
    cpu_s: f64,
}

/// What the sender did.
struct Sent {
    packets: u64,
    seconds: f64,
    late_ms: u64,
}

impl Load {
    fn send(&self, beside: impl FnOnce(i64)) -> Sent {
        let own = std::env::current_exe().expect("a path");
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.wire.namespace])
            .arg(own)
            .args(["send", &self.wire.far])
            .arg(&self.capture)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the sender runs");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut line = || lines.next().expect("a line").expect("text");
        let numbers = |line: String| -> Vec<i64> {
            line.split(' ').skip(1).map(|word| word.parse().expect("a number")).collect()
        };
        let began_ns = numbers(line())[0];
        beside(began_ns);
        let sent = numbers(line());
        assert!(child.wait().expect("it ends").success(), "the sender failed");
        Sent { packets: sent[0] as u64, seconds: sent[1] as f64 / 1000.0, late_ms: sent[2] as u64 }
    }

    fn yardstick(&self, folder: &Path) -> Figures {
        fs::create_dir(folder).expect("a folder");
        let own = std::env::current_exe().expect("a path");
        let mut child = Command::new(own)
            .args(["yardstick", &self.wire.near])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the yardstick runs");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        assert_eq!(lines.next().expect("a line").expect("text"), "ready");
        let sent = self.send(|_| {});
        std::thread::sleep(SETTLE);
        let cpu_s = cpu_s(&child);
        terminate(&child);
        let told = lines.next().expect("a line").expect("text");
        child.wait().expect("it ends");
        let told: Vec<u64> = told.split(' ').skip(1).map(|word| word.parse().expect("a number")).collect();
        println!(
            "yardstick    {cpu_s:6.2} CPU s, {} packets at {:.0}/s, {} dropped by the kernel, {} gaps in {} streams (sender at most {} ms late)",
            told[0],
            sent.packets as f64 / sent.seconds,
            told[2],
            told[1],
            told[3],
            sent.late_ms
        );
        fs::remove_dir_all(folder).expect("removed");
        Figures { cpu_s }
    }

    fn earwitness(&self, bench: &Bench) -> Figures {
        let running = Appliance::start_on(bench, &format!("\"{}\"", self.wire.near), "");
        let idle = anonymous_kib(&running.child);
        let mut peak = idle;
        let sent = self.send(|_| {
            // Each call runs in the middle of the load.
            let middle =
                self.truth.iter().filter_map(|call| call.end_ns).min().unwrap_or_default() - EPOCH_NS;
            std::thread::sleep(Duration::from_nanos(middle.max(0) as u64 * 9 / 10));
            peak = anonymous_kib(&running.child);
        });
        let sending_cpu_s = cpu_s(&running.child);
        std::thread::sleep(SETTLE);
        let cpu_s = cpu_s(&running.child);
        let dropped = dropped(&running);
        running.stop();
        let report = listen(&bench.archive(), Timestamp::from_millis(0), &self.truth);
        println!(
            "earwitness   {cpu_s:6.2} CPU s ({sending_cpu_s:.2} while sending), {} packets at {:.0}/s, {dropped} dropped, {} of {} calls right, {:.1} KiB a call (sender at most {} ms late)",
            sent.packets,
            sent.packets as f64 / sent.seconds,
            report.right,
            report.calls,
            (peak - idle) / self.truth.len() as f64,
            sent.late_ms
        );
        report.faulty.iter().take(5).for_each(|(call, fault)| println!("  {call}: {fault:?}"));
        Figures { cpu_s }
    }
}

impl Load {
    /// From each BYE to the whole recording, as the pages offer it.
    fn playable(&self, bench: &Bench) {
        let mut running = Appliance::start_on(bench, &format!("\"{}\"", self.wire.near), "");
        let cookie = enter(&mut running);
        let mut took: Vec<f64> = Vec::new();
        let sent = self.send(|began_ns| {
            let first_ns = self.truth.iter().map(|call| call.invite_ns).min().expect("a call");
            let mut calls: Vec<(i64, &Truth)> = self
                .truth
                .iter()
                .filter_map(|call| Some((began_ns + call.end_ns? - first_ns, call)))
                .collect();
            calls.sort_by_key(|(end, _)| *end);
            let first_end = calls.first().expect("a call").0;
            sleep_until(first_end - 1_000_000_000);
            let ids = ids(&running);
            let mut waiting: Vec<(i64, &Truth, String)> = calls
                .into_iter()
                .map(|(end, call)| {
                    let parties = (call.extension.number.clone(), call.remote.number.clone());
                    (end, call, ids.get(&parties).expect("it is running").clone())
                })
                .collect();
            while let Some(&(next, ..)) = waiting.first() {
                sleep_until(next);
                waiting.retain(|(end, call, id)| {
                    if *end > now_ns() {
                        return true;
                    }
                    let is_whole = length(&running, &cookie, id) + 0.25 >= spoken_s(call);
                    if is_whole {
                        took.push((now_ns() - end) as f64 / 1e6);
                    }
                    !is_whole
                });
            }
        });
        running.stop();
        took.sort_by(f64::total_cmp);
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
        println!(
            "BYE to playable, {} calls: median {:.0} ms, p99 {:.0} ms, longest {:.0} ms (sender at most {} ms late)",
            took.len(),
            at(0.5),
            at(0.99),
            at(1.0),
            sent.late_ms
        );
    }
}

/// Frames that the recorder knows it has not seen.
fn dropped(running: &Appliance) -> f64 {
    let figures = running.get(running.metrics, "/metrics").1;
    let lines = figures.lines().filter(|line| line.starts_with("earwitness_port_dropped_frames_total{"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Every recording of an archive from this moment on, as it is heard.
fn listen(archive: &Path, since: Timestamp, truth: &[Truth]) -> Report {
    let archive = Archive::open(archive).expect("the archive opens");
    let facts = archive.rows().map(|row| row.expect("a row").facts);
    let exports = facts.filter(|facts| facts.started >= since).map(|facts| {
        let id = facts.id;
        let mut wav = Vec::new();
        web::export(&archive, id, FileFormat::Wav, Shape::Stereo, &mut wav).expect("an export");
        (id.to_string(), xtask::wav::parse(&wav).expect("a WAV file"))
    });
    check(truth, exports, Limits::default())
}

/// The session cookie of the link that was printed.
fn enter(running: &mut Appliance) -> String {
    let mut link = String::new();
    BufReader::new(running.child.stdout.take().expect("a pipe")).read_line(&mut link).expect("a link");
    let path = link.trim().strip_prefix(&format!("http://{}", running.web)).expect("our address");
    let reply = exchange(running.web, &format!("GET {path} HTTP/1.1\r\n"));
    let field = reply.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    field.split(';').next().expect("a value").to_owned()
}

fn exchange(at: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(at).expect("it listens");
    write!(stream, "{head}Host: {at}\r\nConnection: close\r\n\r\n").expect("it listens");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("a reply");
    reply
}

/// The recordings that run, by the numbers of their two parties: no two of the load's calls have both the same.
fn ids(running: &Appliance) -> HashMap<(String, String), String> {
    let (status, calls) = running.api("GET", "/calls", "");
    assert_eq!(status, 200, "{calls}");
    let text = |call: &serde_json::Value, name: &str| call[name].as_str().expect("text").to_owned();
    let calls = calls["calls"].as_array().expect("a list");
    let parties = |call| (text(call, "extension"), text(call, "other_party"));
    calls.iter().map(|call| (parties(call), text(call, "recording"))).collect()
}

/// Seconds of audio that the pages offer of a recording; none while they offer nothing.
fn length(running: &Appliance, cookie: &str, id: &str) -> f64 {
    let head = format!("HEAD /recordings/{id}/audio.wav HTTP/1.1\r\nCookie: {cookie}\r\n");
    let reply = exchange(running.web, &head);
    let length = reply.lines().find_map(|line| line.strip_prefix("content-length: "));
    let is_there = reply.starts_with("HTTP/1.1 200");
    length.filter(|_| is_there).map_or(0.0, |bytes| bytes.parse::<f64>().expect("a number") / WAV_BYTES)
}

/// From the first packet of either party to the end of the last one.
fn spoken_s(call: &Truth) -> f64 {
    let spans = || [&call.near, &call.far].into_iter().filter_map(|sent| sent.sent_ns);
    let from = spans().map(|(first, _)| first).min().unwrap_or_default();
    let until = spans().map(|(_, last)| last).max().unwrap_or_default();
    (until - from) as f64 / 1e9
}

fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_nanos() as i64
}

fn sleep_until(ns: i64) {
    std::thread::sleep(Duration::from_nanos((ns - now_ns()).max(10_000_000) as u64));
}

fn terminate(child: &Child) {
    let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(told.expect("kill runs").success());
}

/// Memory of its own that a process has, in KiB: what it shares with the kernel, as the ring, is not in it.
fn anonymous_kib(child: &Child) -> f64 {
    let text = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// User and system time of a process so far (proc(5), /proc/PID/stat).
fn cpu_s(child: &Child) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("it runs");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    let ticks: f64 = [11, 12].iter().map(|&at| fields[at].parse::<f64>().expect("a number")).sum();
    ticks / 100.0
}
