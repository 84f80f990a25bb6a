//! `kill -9` in the middle of recording, many times, at moments spread over the capture: the archive opens by itself and
//! each recording plays up to within a fifth of a second of the kill.

mod common;

use std::io::Write;
use std::process::Stdio;

use common::Bench;
use xtask::load::Scenario;
use xtask::pcap::{Container, Writer};

/// Kills per run of the test; `EARWITNESS_KILLS` asks for more.
const KILLS: usize = 12;
/// Calls at once; `EARWITNESS_CALLS` asks for more.
const CALLS: u32 = 20;
/// Calls whose sound is looked at after each kill; of all the others the length.
const HEARD_MAX: usize = 20;
/// A recording may end so long before the last frame that the recorder was given: what is not sealed, and one packet.
const LOST_MS_MAX: i64 = 220;

/// Feeds frames up to a moment into a recorder with so many sealing threads over its standard input, waits until they are taken, and
/// kills it.
fn record_and_kill(bench: &Bench, frames: &[xtask::pcap::Frame], until_ns: i64, sealing_threads: usize) {
    let config = bench.path("record.toml");
    std::fs::write(&config, format!("[archive]\nsealing_threads = {sealing_threads}\n")).expect("written");
    let mut child = common::earwitness()
        .args(["record", "-r", "-", "-c"])
        .arg(config)
        .arg("-a")
        .arg(bench.archive())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut writer = Writer::new(Vec::new(), Container::Pcap).expect("a header");
    for frame in frames.iter().filter(|frame| frame.at_ns <= until_ns) {
        writer.write(frame).expect("memory takes it");
    }
    stdin.write_all(&writer.finish().expect("memory takes it")).expect("the pipe takes it");
    stdin.flush().expect("the pipe takes it");
    wait_until_taken(child.id());
    child.kill().expect("kills");
    child.wait().expect("is gone");
}

/// The recorder has read its pipe when it sleeps in a read of it; its disk thread then has what was sealed, and hands it
/// to the system within its batch time. Watched through /proc, so that nothing depends on how fast the machine is.
fn wait_until_taken(pid: u32) {
    let mut quiet = 0;
    let mut last = String::new();
    // What counts is the stillness: CPU time and bytes written that no longer change over several looks.
    while quiet < 15 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
        let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let now = format!("{:?} {io}", fields.get(11..13));
        quiet = if now == last { quiet + 1 } else { 0 };
        last = now;
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_kill_costs_at_most_a_fifth_of_a_second_of_each_call() {
    let asked = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let kills = asked("EARWITNESS_KILLS").map_or(KILLS, |kills: u32| kills as usize);
    let calls_at_once = asked("EARWITNESS_CALLS").unwrap_or(CALLS);
    let traffic = Scenario { calls: calls_at_once, talk_ms: 6_000, ..Scenario::default() }.traffic();
    let (mut killed, mut checked, mut worst_ms) = (0, 0, 0);
    let (first, last) = (traffic.frames[0].at_ns, traffic.frames[traffic.frames.len() - 1].at_ns);
    for kill in 0..kills {
        let bench = Bench::new();
        // Odd steps, so that kills fall everywhere in chunk and packet time.
        let until_ns = first + (last - first) * (2 * kill as i64 + 1) / (2 * kills as i64);
        record_and_kill(&bench, &traffic.frames, until_ns, kill % 3);
        if !bench.archive().join("archive.json").exists() {
            continue;
        }
        let rows = bench.run(&["archive", "list", "--json"]).expect_code(0).json();
        bench.run(&["archive", "verify"]).expect_code(0);
        assert_eq!(bench.run(&["archive", "check"]).expect_code(0).stdout().trim(), "no problems");
        // Each call whose INVITE the recorder was given has a line of the balance sheet, ringing ones too.
        let calls = bench.run(&["calls", "--json"]).expect_code(0).json();
        for sent in traffic.truth.iter().filter(|sent| sent.invite_ns + LOST_MS_MAX * 1_000_000 < until_ns) {
            let lines = calls.iter().filter(|row| row["sip_call_ids"][0] == sent.call_id.as_str()).count();
            assert_eq!(lines, 1, "kill {kill}: {}", sent.call_id);
        }
        let counted = bench.run(&["calls", "--summary", "--json"]).expect_code(0).json().remove(0);
        let given =
            traffic.frames.iter().filter(|frame| frame.at_ns + 2_000_000_000 < until_ns).count() as u64;
        assert!(counted["packets_seen"].as_u64() >= Some(given), "kill {kill}: {counted} of {given}");
        killed += 1;
        let exports = bench.exports_of(HEARD_MAX);
        for sent in &traffic.truth {
            let Some(answer_ns) = sent.answer_ns.filter(|&ns| until_ns - ns > LOST_MS_MAX * 1_000_000) else {
                continue;
            };
            let row = rows
                .iter()
                .find(|row| row["sip_call_ids"][0] == sent.call_id.as_str())
                .unwrap_or_else(|| panic!("kill {kill}: no recording of {}", sent.call_id));
            let heard = exports.iter().find(|(id, _)| row["id"] == id.as_str()).map(|(_, audio)| audio);
            let length_ms = match heard {
                Some(audio) => (audio.channels[0].len() * 1000 / audio.rate as usize) as i64,
                None => row["duration_ms"].as_i64().expect("a length"),
            };
            let audio_start_ns = sent.near.sent_ns.map_or(answer_ns, |(first, _)| first);
            let ended_ns = sent.end_ns.map_or(until_ns, |end| end.min(until_ns));
            let had_ms = (ended_ns - audio_start_ns) / 1_000_000;
            (checked, worst_ms) = (checked + 1, worst_ms.max(had_ms - length_ms));
            assert!(
                length_ms >= had_ms - LOST_MS_MAX,
                "kill {kill}: {} ms of {had_ms} ms play of {}",
                length_ms,
                sent.call_id
            );
            let Some(audio) = heard else { continue };
            let purity = xtask::tones::purity(&audio.channels[0], 8000, f64::from(sent.near.tone_hz));
            // Its loudness changes by the second, which costs a pure tone up to a tenth of its share.
            assert!(
                length_ms < 500 || purity > 0.8,
                "kill {kill}: {length_ms} ms of {had_ms} ms, purity {purity}"
            );
        }
    }
    println!(
        "{killed} kills while {calls_at_once} calls ran, {checked} recordings looked at, at most {worst_ms} ms lost"
    );
}

#[test]
fn after_a_kill_the_same_archive_goes_on() {
    let bench = Bench::new();
    let scenario = Scenario { calls: 3, talk_ms: 4_000, ..Scenario::default() };
    let traffic = scenario.traffic();
    let middle = traffic.frames[traffic.frames.len() / 2].at_ns;
    record_and_kill(&bench, &traffic.frames, middle, 0);
    let (capture, _) = bench.capture("calls.pcap", &scenario);
    bench.record(&capture);
    let rows = bench.run(&["archive", "list", "--json"]).expect_code(0).json();
    let count = |state: &str| rows.iter().filter(|row| row["state"] == state).count();
    assert_eq!((count("interrupted"), count("complete")), (3, 3));
    // The balance sheet knows the interrupted calls too.
    let summary = bench.run(&["calls", "--summary", "--json"]).expect_code(0).json().remove(0);
    assert_eq!((&summary["recorded"], &summary["seen"]), (&6.into(), &6.into()));
    bench.run(&["archive", "verify"]).expect_code(0);
}

#[test]
fn an_interrupt_closes_the_recordings_first() {
    let bench = Bench::new();
    let traffic = Scenario { calls: 3, talk_ms: 4_000, ..Scenario::default() }.traffic();
    let mut child = common::earwitness()
        .args(["record", "--json", "-r", "-", "-a"])
        .arg(bench.archive())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let frames = &traffic.frames[..traffic.frames.len() / 2];
    stdin.write_all(&xtask::pcap::file_bytes(frames, Container::Pcap)).expect("the pipe takes it");
    wait_until_taken(child.id());
    let interrupt = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupt.expect("kill runs").success());
    // It is asleep in the read of its pipe; the next frame wakes it.
    let _ = stdin.write_all(&xtask::pcap::file_bytes(&traffic.frames[frames.len()..], Container::Pcap)[24..]);
    drop(stdin);
    assert_eq!(child.wait().expect("ends").code(), Some(130));
    let rows = bench.run(&["archive", "list", "--json"]).expect_code(0).json();
    assert_eq!(rows.iter().filter(|row| row["state"] == "complete").count(), 3);
}
