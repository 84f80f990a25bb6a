//! `record --hep`: agents on this machine send a call as it happens; it is recorded as if it had been seen on a wire.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::Bench;
use common::agent::{free_port, pace};
use xtask::load::{Scenario, Traffic};

/// A recorder that listens at this address.
fn start(bench: &Bench, address: SocketAddr, words: &[&str]) -> (Child, TcpStream) {
    let mut child = common::earwitness()
        .args(["record", "--json", "--hep", &address.to_string(), "-a"])
        .arg(bench.archive())
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    loop {
        if let Ok(stream) = TcpStream::connect(address) {
            return (child, stream);
        }
        assert!(child.try_wait().expect("it can be asked").is_none(), "the program has ended");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Waits until the connection is taken to its end, then until the recorder has worked off its ring, and interrupts it.
fn stop(mut child: Child, mut stream: TcpStream) -> (String, String) {
    stream.shutdown(std::net::Shutdown::Write).expect("closes");
    // The recorder closes its side once it has handed the last packet on.
    assert_eq!(stream.read(&mut [0; 1]).expect("an end"), 0);
    let busy = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        fields.get(11..13).map(|times| times.join(" "))
    };
    let (mut last, mut quiet) = (busy(), 0);
    while quiet < 10 {
        std::thread::park_timeout(Duration::from_millis(30));
        let now = busy();
        quiet = if now == last { quiet + 1 } else { 0 };
        last = now;
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupted.expect("kill runs").success());
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().expect("a pipe").read_to_string(&mut out).expect("text");
    child.stderr.take().expect("a pipe").read_to_string(&mut err).expect("text");
    child.wait().expect("is gone");
    (out, err)
}

#[track_caller]
fn recorded_in_full(bench: &Bench, traffic: &Traffic) {
    let rows = bench.run(&["archive", "list", "--json"]).expect_code(0).json();
    assert_eq!(rows.len(), 1, "{rows:?}");
    let [truth] = &traffic.truth[..] else { panic!("one call") };
    assert_eq!(rows[0]["sip_call_ids"][0], truth.call_id.as_str());
    let packets: u64 =
        rows[0]["tracks"].as_array().expect("tracks").iter().filter_map(|t| t["packets"].as_u64()).sum();
    assert_eq!(packets, truth.near.packets + truth.far.packets);
}

#[test]
fn a_call_that_an_agent_tells_over_tcp_is_recorded() {
    let (bench, address) = (Bench::new(), free_port());
    let traffic = Scenario { talk_ms: 1_000, ramp_ms: 0, ring_ms: 200, ..Scenario::default() }.traffic();
    let (child, mut stream) = start(&bench, address, &[]);
    pace(&traffic, |packet| stream.write_all(packet).expect("sent"));
    stop(child, stream);
    recorded_in_full(&bench, &traffic);
}

#[test]
fn a_call_over_udp_needs_the_key_that_the_configuration_names() {
    let (bench, address) = (Bench::new(), free_port());
    std::fs::write(bench.path("hep.key"), "secret\n").expect("writes");
    let config = format!("[hep]\nkey_file = {:?}\n", bench.path("hep.key"));
    std::fs::write(bench.path("earwitness.toml"), config).expect("writes");
    let config = bench.path("earwitness.toml");
    let traffic = Scenario { talk_ms: 1_000, ramp_ms: 0, ring_ms: 200, ..Scenario::default() }.traffic();
    let (child, stream) = start(&bench, address, &["-c", config.to_str().expect("a plain path")]);
    let agent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    pace(&traffic, |packet| {
        // With the key once, and without it once: the second one is refused.
        let mut keyed = packet.to_vec();
        keyed.extend([0, 0, 0, 14, 0, 12]);
        keyed.extend(b"secret");
        let length = (keyed.len() as u16).to_be_bytes();
        keyed[4..6].copy_from_slice(&length);
        agent.send_to(&keyed, address).expect("sent");
        agent.send_to(packet, address).expect("sent");
    });
    let (_, err) = stop(child, stream);
    assert!(err.contains("were refused"), "{err}");
    recorded_in_full(&bench, &traffic);
}

#[test]
fn words_about_hep_that_do_not_fit_are_refused() {
    let bench = Bench::new();
    let said = |words: &[&str]| {
        let run = bench.run(words);
        (run.0.status.code(), run.stderr())
    };
    let (code, text) = said(&["record", "--hep", "127.0.0.1:9", "-r", "a.pcap"]);
    assert_eq!(code, Some(2), "{text}");
    let (code, text) = said(&["record", "-i", "lo", "--hep-from", "192.0.2.1"]);
    assert_eq!(code, Some(2), "{text}");
    let (code, text) = said(&["record", "--hep", "127.0.0.1:0", "--", "port 5060"]);
    assert_eq!((code, text.contains("HEP is taken whole")), (Some(2), true), "{text}");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let (code, text) = said(&["record", "--hep", &address]);
    assert_eq!((code, text.contains("cannot listen for HEP")), (Some(1), true), "{text}");
}
